//! A pass over what came late of one device: reads it in steps, without the writer, and leaves in one
//! small transaction what it found.
//!
//! # Invariants
//! - what a pass found is committed together with the end of its waiting: a pass that was broken off
//!   is done again and leaves nothing twice

use super::Span;
use crate::{
    alerts::{self, Context, Evaluation},
    clock, query,
    reading::{self, listed},
    store::{Store, StoreError},
};
use model::{
    alarm::{AlarmKind, AlarmPhase, DeviceAlarm, Priority},
    id::{Channel, DeviceId, Lane, SiteId},
    metric::{Kind, Metric},
    reading::{Occurrence, ReadingGroup},
    time::{ClockQuality, Observed, WallTime},
};
use rules::{
    alert::AlertId,
    freshness::{Freshness, Moment},
    retro::{KnownAlert, LateEpisode, Pass, RUN_OUT_MS, Settled, WARM_UP_MS, Worst},
    rule::RuleSet,
};
use rusqlite::{Connection, OptionalExtension as _, Row, Transaction, params};
use serde_json::{Map, Value, json};
use std::{collections::VecDeque, sync::Arc, time::Duration};

/// Reading groups that are judged in one step: it takes some tens of milliseconds.
const STEP_GROUPS: usize = 2000;
/// Between two steps the processor belongs to what comes in.
pub(crate) const PAUSE: Duration = Duration::from_millis(10);
/// Results of a device that are judged at once: a meter remembers some thousand at most.
pub(crate) const STAMPED_MAX: u32 = 20_000;
/// An alert that began so long before what came late may be a part of it.
const KNOWN_MS: i64 = 7 * 86_400_000;

/// What a pass has changed, as the API tells it.
#[derive(Debug, Default)]
pub(super) struct Told {
    pub(super) alerts: Vec<Value>,
    pub(super) sites: Vec<Value>,
}

/// Something that was said, to be judged at its moment.
#[derive(Debug)]
pub(crate) enum Said {
    Group(ReadingGroup, Freshness),
    Alarm(DeviceAlarm),
}

/// With its place in the order: its moment, and at that its place in the outbox.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) order: (i64, String, Option<Lane>, i64, i64),
    pub(crate) suspect: bool,
    pub(crate) said: Said,
}

/// A pass that is under way.
#[derive(Debug)]
pub(super) struct Work {
    site: SiteId,
    device: DeviceId,
    source: i64,
    pass: Pass,
    /// What is in memory already, in order.
    apart: VecDeque<Entry>,
    /// What is read step by step; `None` where nothing is left.
    rest: Option<Span>,
}

/// Goes over what came late of a device.
pub(super) async fn pass(
    store: &Store,
    rules: Arc<RuleSet>,
    site: SiteId,
    device: DeviceId,
    now: impl FnOnce() -> WallTime,
) -> Result<Told, StoreError> {
    let (of_site, of_device) = (site.clone(), device.clone());
    let take = move |transaction: &Transaction<'_>| take(transaction, &of_site, &of_device);
    store.write(take).await?;
    let begin = move |connection: &Connection| begin(connection, &site, &device);
    let Some(mut work) = store.read(begin).await? else { return Ok(Told::default()) };
    while work.is_under_way() {
        let rules = Arc::clone(&rules);
        work = store
            .read(move |connection| {
                work.step(connection, &rules)?;
                Ok(work)
            })
            .await?;
        tokio::time::sleep(PAUSE).await;
    }
    let now = now();
    store.write(move |transaction| end(transaction, work, &rules, now)).await
}

/// Takes what waits of a device in hand: what comes from now on waits for the next pass.
pub(super) fn take(
    connection: &Connection,
    site: &SiteId,
    device: &DeviceId,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "UPDATE OR IGNORE late_device SET judged = 1 WHERE site = ?1 AND device = ?2",
        )?
        .execute(params![site.as_str(), device.as_str()])
        .map(drop)
}

/// Begins a pass over what was taken in hand.
pub(super) fn begin(
    connection: &Connection,
    site: &SiteId,
    device: &DeviceId,
) -> rusqlite::Result<Option<Work>> {
    let of_device = params![site.as_str(), device.as_str()];
    let waiting: Option<(Option<i64>, Option<i64>, Option<i64>)> = connection
        .prepare_cached(
            "SELECT from_ms, until_ms, stamped_from_ms FROM late_device
             WHERE site = ?1 AND device = ?2 AND judged = 1",
        )?
        .query_row(of_device, |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .optional()?;
    let source: Option<i64> = connection
        .prepare_cached("SELECT id FROM source WHERE site = ?1 AND device = ?2")?
        .query_row(of_device, |row| row.get(0))
        .optional()?;
    let Some(((from_ms, until_ms, stamped_ms), source)) = waiting.zip(source) else {
        return Ok(None);
    };
    let since_ms = [from_ms, stamped_ms].into_iter().flatten().min().unwrap_or_default();
    let warm_ms = since_ms.saturating_sub(WARM_UP_MS);
    let mut apart = stamped(connection, source, device, warm_ms)?;
    apart.extend(suppressing(connection, site, device, warm_ms)?);
    apart.sort_by(|a, b| a.order.cmp(&b.order));
    let rest = from_ms.zip(until_ms).map(|(_, until_ms)| Span {
        from_ms: warm_ms,
        until_ms: until_ms.saturating_add(RUN_OUT_MS),
    });
    let since = WallTime::from_unix_ms(since_ms);
    let subject = alerts::subject_at(connection, site, device, since)?;
    let live = alerts::load(connection, site, &subject)?;
    let pass = Pass::new(&live, since);
    let (site, device) = (site.clone(), device.clone());
    Ok(Some(Work { site, device, source, pass, apart: apart.into(), rest }))
}

impl Work {
    pub(super) fn is_under_way(&self) -> bool {
        self.rest.is_some() || !self.apart.is_empty()
    }

    /// Judges the next groups.
    pub(super) fn step(
        &mut self,
        connection: &Connection,
        rules: &RuleSet,
    ) -> rusqlite::Result<()> {
        let mut page = match self.rest {
            Some(rest) => placed(connection, self.source, &self.device, rest)?,
            None => Vec::new(),
        };
        let whole = page.len() < STEP_GROUPS;
        let last_ms = page.last().map_or(i64::MAX, |last| last.order.0);
        if !whole && page.first().is_some_and(|first| first.order.0 < last_ms) {
            // What else is of that moment may be on the next page.
            page.retain(|entry| entry.order.0 < last_ms);
        }
        let next_ms = page.last().map_or(i64::MAX, |last| last.order.0.saturating_add(1));
        page.sort_by(|a, b| a.order.cmp(&b.order));
        for entry in page {
            while let Some(earlier) = self.apart.pop_front_if(|apart| apart.order < entry.order) {
                self.judge(rules, &earlier);
            }
            self.judge(rules, &entry);
        }
        self.rest = self.rest.filter(|_| !whole).map(|rest| Span { from_ms: next_ms, ..rest });
        if self.rest.is_none() {
            let rest = self.apart.len().min(STEP_GROUPS);
            for entry in self.apart.drain(..rest).collect::<Vec<_>>() {
                self.judge(rules, &entry);
            }
        }
        Ok(())
    }

    fn judge(&mut self, rules: &RuleSet, entry: &Entry) {
        let at = WallTime::from_unix_ms(entry.order.0);
        match &entry.said {
            Said::Group(group, freshness) => {
                let t_meas = Moment { suspect: entry.suspect, ..Moment::sure(at) };
                self.pass.on_readings(rules, group, t_meas, *freshness);
            }
            Said::Alarm(alarm) => self.pass.on_alarm(rules, at, alarm),
        }
    }
}

/// Leaves what was found, and ends the waiting.
pub(super) fn end(
    connection: &Connection,
    work: Work,
    rules: &RuleSet,
    now: WallTime,
) -> rusqlite::Result<Told> {
    let Work { site, device, mut pass, .. } = work;
    let told_by_the_box = told_by_the_box(connection, &site, &device)?;
    pass.leave_out(told_by_the_box);
    let known = known(connection, &site, &device, pass.since())?;
    let mut evaluation = Evaluation::default();
    let subject = alerts::subject_at(connection, &site, &device, pass.since())?;
    let live = evaluation.engine(connection, &site, &subject)?;
    let local = |at| clock::local(at, query::TIME_ZONE, now);
    let settled = pass.settle(rules, live, &known, now, local);
    for (id, alert) in &settled.joined {
        connection
            .prepare_cached("INSERT OR REPLACE INTO alert_joined VALUES (?1, ?2)")?
            .execute(params![id.to_string(), alert.to_string()])?;
    }
    add_to_summary(connection, &site, &device, &settled)?;
    connection
        .prepare_cached("DELETE FROM late_device WHERE site = ?1 AND device = ?2 AND judged = 1")?
        .execute(params![site.as_str(), device.as_str()])?;
    tracing::info!(%site, %device, alerts = settled.made, joined = settled.joined.len(),
        left_out = settled.left_out, "What came late was judged.");
    evaluation.note(settled.changed);
    let alerts = alerts::store(Context { connection, rules, now }, evaluation)?;
    let sites = Vec::from_iter(query::site(connection, &site)?);
    Ok(Told { alerts, sites })
}

/// What the box of a site told of its own alerts while it was out of reach: the pass does not speak
/// for that. Of an alert that went on when the county was back, what the box told of it ends with
/// the last that came.
fn told_by_the_box(
    connection: &Connection,
    site: &SiteId,
    device: &DeviceId,
) -> rusqlite::Result<impl Fn(&LateEpisode) -> bool + use<>> {
    let periods: Vec<(String, i64, i64)> = connection
        .prepare_cached(
            "SELECT family, from_ms, coalesce(until_ms, (SELECT max(received_ms) FROM edge_alert AS told
               WHERE told.site = edge_period.site AND told.alert = edge_period.alert), from_ms)
             FROM edge_period WHERE site = ?1 AND device = ?2",
        )?
        .query_map(params![site.as_str(), device.as_str()], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })?
        .collect::<Result<_, _>>()?;
    Ok(move |episode: &LateEpisode| {
        let (from, until) = episode.period();
        periods.iter().any(|(family, begin, end)| {
            *family == episode.alert.family && *begin <= until.unix_ms() && from.unix_ms() <= *end
        })
    })
}

/// The alerts of a device that may be a part of what came late.
fn known(
    connection: &Connection,
    site: &SiteId,
    device: &DeviceId,
    since: WallTime,
) -> rusqlite::Result<Vec<KnownAlert>> {
    let mut statement = connection.prepare_cached(
        "SELECT id, started_ms, body FROM alert WHERE site = ?1 AND device = ?2 AND state <> 'closed'
         UNION SELECT id, started_ms, body FROM alert
         WHERE started_ms >= ?3 AND site = ?1 AND device = ?2 AND state = 'closed'",
    )?;
    let from_ms = since.unix_ms().saturating_sub(KNOWN_MS);
    let mut rows = statement.query(params![site.as_str(), device.as_str(), from_ms])?;
    let mut known = Vec::new();
    while let Some(row) = rows.next()? {
        let (id, body): (String, String) = (row.get("id")?, row.get("body")?);
        let Some(id) = AlertId::from_hex(&id) else { continue };
        let body: Value = serde_json::from_str(&body).unwrap_or_default();
        let text = |key| body.get(key).and_then(Value::as_str);
        let cleared_ms = text("cleared_at").and_then(clock::parse_rfc3339);
        known.push(KnownAlert {
            id,
            family: text("family").unwrap_or_default().to_owned(),
            started_at: WallTime::from_unix_ms(row.get("started_ms")?),
            cleared_at: cleared_ms.map(WallTime::from_unix_ms),
            retro: body.get("retro").and_then(Value::as_bool) == Some(true),
        });
    }
    Ok(known)
}

fn add_to_summary(
    connection: &Connection,
    site: &SiteId,
    device: &DeviceId,
    settled: &Settled,
) -> rusqlite::Result<()> {
    let before: Option<String> = connection
        .prepare_cached("SELECT worst FROM late_site WHERE site = ?1")?
        .query_row([site.as_str()], |row| row.get(0))
        .optional()?;
    let Some(before) = before else { return Ok(()) };
    let mut worst: Map<String, Value> = serde_json::from_str(&before).unwrap_or_default();
    for value in &settled.worst {
        let place = format!("{device}|{}", value.rule);
        let known = worst.get(&place).and_then(|known| known.get("value")?.as_str());
        if known.is_none_or(|known| value.is_beyond(known)) {
            worst.insert(place, worst_told(device, value));
        }
    }
    connection
        .prepare_cached(
            "UPDATE late_site SET alerts = alerts + ?2, left_out = left_out + ?3, worst = ?4
             WHERE site = ?1",
        )?
        .execute(params![
            site.as_str(),
            settled.made,
            settled.left_out,
            Value::Object(worst).to_string()
        ])
        .map(drop)
}

fn worst_told(device: &DeviceId, worst: &Worst) -> Value {
    let Worst { rule, priority, metric, value, comparator, at, .. } = worst;
    json!({
        "device": device.as_str(), "rule": rule, "priority": priority.name(),
        "metric": metric.map(Metric::name), "value": value, "comparator": comparator,
        "unit": metric.and_then(reading::usual_unit), "at": clock::rfc3339(at.unix_ms()),
    })
}

/// What a stored group needs to be judged.
pub(crate) const JUDGED: &str =
    "SELECT channel, metrics, said, measured_ms, time_suspect, freshness, outbox, lane, seq, idx
     FROM reading_group";
pub(crate) const NAMES: &str =
    "CROSS JOIN outbox_lane ON outbox_lane.id = reading_group.outbox_lane
     CROSS JOIN metric_list ON metric_list.id = reading_group.metric_list";

/// The next groups of what the box stamped, by when it was measured.
fn placed(
    connection: &Connection,
    source: i64,
    device: &DeviceId,
    rest: Span,
) -> rusqlite::Result<Vec<Entry>> {
    let mut statement = connection.prepare_cached(&format!(
        "{JUDGED} {NAMES} WHERE source = ?1 AND observed_ms BETWEEN ?2 AND ?3 AND identity IS NULL
         ORDER BY observed_ms, reading_group.id LIMIT {STEP_GROUPS}"
    ))?;
    let rows = statement
        .query_map(params![source, rest.from_ms, rest.until_ms], |row| entry(row, device))?;
    rows.collect()
}

/// What the device stamped itself, by when it was measured: it may have been told in any order.
fn stamped(
    connection: &Connection,
    source: i64,
    device: &DeviceId,
    from_ms: i64,
) -> rusqlite::Result<Vec<Entry>> {
    let mut statement = connection.prepare_cached(&format!(
        "{JUDGED} INDEXED BY reading_group_identity {NAMES}
         WHERE source = ?1 AND identity IS NOT NULL AND duplicate_of IS NULL AND measured_ms >= ?2
         ORDER BY measured_ms DESC LIMIT {STAMPED_MAX}"
    ))?;
    let rows = statement.query_map(params![source, from_ms], |row| entry(row, device))?;
    rows.collect()
}

/// A stored group, from what [`JUDGED`] has of it.
pub(crate) fn entry(row: &Row<'_>, device: &DeviceId) -> rusqlite::Result<Entry> {
    let (metrics, said): (String, String) = (row.get("metrics")?, row.get("said")?);
    let (channel, lane): (String, String) = (row.get("channel")?, row.get("lane")?);
    let freshness: Option<String> = row.get("freshness")?;
    let measured_ms = row.get("measured_ms")?;
    let readings = reading::readings(&metrics, &said);
    let is_spot =
        listed(&metrics).next().flatten().is_some_and(|first| first.row().kind == Kind::Spot);
    let group = ReadingGroup {
        device: device.clone(),
        channel: Channel::new(&channel).unwrap_or_default(),
        group: None,
        occurrence: if is_spot { Occurrence::Spot } else { Occurrence::Stream },
        device_time: None,
        observed: observed(measured_ms),
        device_seq: None,
        context: std::collections::BTreeMap::new(),
        readings,
    };
    let named = |class: &Freshness| freshness.as_deref() == Some(class.name());
    let freshness = Freshness::ALL.into_iter().find(named).unwrap_or(Freshness::Fresh);
    let order =
        (measured_ms, row.get("outbox")?, Lane::from_name(&lane), row.get("seq")?, row.get("idx")?);
    Ok(Entry { order, suspect: row.get("time_suspect")?, said: Said::Group(group, freshness) })
}

/// The device's own alarms that keep rules from judging.
fn suppressing(
    connection: &Connection,
    site: &SiteId,
    device: &DeviceId,
    from_ms: i64,
) -> rusqlite::Result<Vec<Entry>> {
    let mut statement = connection.prepare_cached(
        "SELECT phase, kind, code, text, priority, channel, source, placed_ms, id FROM device_alarm
         WHERE site = ?1 AND device = ?2 AND placed_ms >= ?3
         AND kind IN ('TECH-LEADOFF', 'TECH-PROBEOFF') ORDER BY placed_ms, id",
    )?;
    let mut rows = statement.query(params![site.as_str(), device.as_str(), from_ms])?;
    let mut alarms = Vec::new();
    while let Some(row) = rows.next()? {
        alarms.extend(alarm(row, device)?);
    }
    Ok(alarms)
}

/// A stored device alarm; `None` of what no driver of this version says.
pub(crate) fn alarm(row: &Row<'_>, device: &DeviceId) -> rusqlite::Result<Option<Entry>> {
    let (phase, kind): (String, String) = (row.get("phase")?, row.get("kind")?);
    let (channel, source): (String, Option<String>) = (row.get("channel")?, row.get("source")?);
    let priority: Option<String> = row.get("priority")?;
    let phase = AlarmPhase::ALL.into_iter().find(|known| known.name() == phase);
    let kind = AlarmKind::ALL.iter().find(|known| known.rule_id() == kind);
    let Some((phase, kind)) = phase.zip(kind) else { return Ok(None) };
    let placed_ms = row.get("placed_ms")?;
    let alarm = DeviceAlarm {
        device: device.clone(),
        channel: Channel::new(&channel).unwrap_or_default(),
        phase,
        kind: *kind,
        code: row.get("code")?,
        text: row.get("text")?,
        priority: priority.as_deref().and_then(Priority::from_name),
        source: source.as_deref().and_then(Metric::from_name),
        device_time: None,
        observed: observed(placed_ms),
    };
    let order = (placed_ms, String::new(), None, row.get("id")?, 0);
    Ok(Some(Entry { order, suspect: false, said: Said::Alarm(alarm) }))
}

fn observed(ms: i64) -> Observed {
    Observed { at: WallTime::from_unix_ms(ms), quality: ClockQuality::Unknown }
}
