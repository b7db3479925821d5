//! A pass over what came late: reads what was said of each patient in steps, without the writer,
//! and leaves in one small transaction what it found.
//!
//! - [`whose`]: whom what came late was measured on
//! - [`said`]: what was said, as it is stored
//!
//! # Invariants
//! - what a pass found is committed together with the end of its waiting: a pass that was broken off
//!   is done again and leaves nothing twice
//! - what several devices said of one patient is judged as a whole, and nothing of another

mod said;
mod whose;

use super::Span;
use crate::{
    alerts::{self, Context, Evaluation, subject},
    clock,
    patients::{
        self,
        binding::{Owned, owned},
        profile::{oxygen, profile},
    },
    query, reading,
    store::{Store, StoreError},
};
use model::{
    device::DeviceKind,
    id::{DeviceId, SiteId},
    metric::Metric,
    time::WallTime,
};
use rules::{
    alert::AlertId,
    binding::{PatientKey, Subject},
    freshness::Moment,
    population::{Entry as Typed, Profile},
    retro::{KnownAlert, LateEpisode, Pass, RUN_OUT_MS, Settled, WARM_UP_MS, Worst},
    rule::{Pace, RuleSet},
};
use rusqlite::{Connection, OptionalExtension as _, Transaction, params};
pub(crate) use said::{Entry, JUDGED, NAMES, STAMPED_MAX, Said, alarm, entry};
use said::{Of, Order, What};
use serde_json::{Map, Value, json};
use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};
pub(super) use whose::{Part, parts, take};
use whose::{Source, left_at, sources};

/// Reading groups that are judged in one step: it takes some tens of milliseconds.
const STEP_GROUPS: usize = 2000;
/// Between two steps the processor belongs to what comes in.
pub(crate) const PAUSE: Duration = Duration::from_millis(10);
/// An alert that began so long before what came late may be a part of it.
const KNOWN_MS: i64 = 7 * 86_400_000;
/// An alert that is made and closed while a pass is under way began at most so long before.
const LATELY_MS: i64 = 3_600_000;

/// What a pass has changed, as the API tells it.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// The devices whose waiting it ended.
    pub(super) devices: Vec<DeviceId>,
    pub(super) alerts: Vec<Value>,
    pub(super) sites: Vec<Value>,
}

/// A pass over what came late of one subject that is under way.
#[derive(Debug)]
pub(super) struct Work {
    site: SiteId,
    subject: Subject,
    /// Of which it is or may be.
    sources: Vec<Source>,
    pass: Pass,
    span: Span,
    /// Ids of the alerts that there were when it began, and when that was: to look for them among
    /// all of the county's takes longer than the writer may be held.
    known: Vec<String>,
    began_ms: i64,
    /// What nurses entered about oxygen and was not reached yet.
    typed: VecDeque<Typed<bool>>,
    /// What is in memory already, in order.
    waiting: BTreeMap<Order, What>,
    /// Of each source what is read step by step; how far that goes, and how far it has come.
    rest: Vec<(Source, Span)>,
    placed_until_ms: Option<i64>,
    judged_ms: i64,
}

/// Goes over what came late of a device, and of those that had to do with the same patients.
pub(super) async fn pass(
    store: &Store,
    rules: Arc<RuleSet>,
    site: SiteId,
    device: DeviceId,
    now: impl Fn() -> WallTime,
) -> Result<Told, StoreError> {
    let of_site = site.clone();
    let take = move |transaction: &Transaction<'_>| take(transaction, &of_site, &device);
    let devices = store.write(take).await?;
    if devices.is_empty() {
        return Ok(Told::default());
    }
    let (of_site, of_devices) = (site.clone(), devices.clone());
    let parts = move |connection: &Connection| parts(connection, &of_site, &of_devices);
    let mut done = Vec::new();
    for part in store.read(parts).await? {
        let (of_site, of_rules, now) = (site.clone(), Arc::clone(&rules), now());
        let begin = move |connection: &Connection| {
            begin(Context { connection, rules: &of_rules, now }, &of_site, part)
        };
        let mut work = store.read(begin).await?;
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
        done.push(work);
    }
    let now = now();
    store
        .write(move |transaction| {
            end(Context { connection: transaction, rules: &rules, now }, &site, devices, done)
        })
        .await
}

/// Begins a pass over what was taken in hand of one subject.
pub(super) fn begin(context: Context<'_>, site: &SiteId, part: Part) -> rusqlite::Result<Work> {
    let Context { connection, now, .. } = context;
    let begins_ms = part.placed.map(|span| span.from_ms);
    let since_ms = begins_ms.into_iter().chain(part.stamped_from_ms).min().unwrap_or_default();
    let ends_ms = part.placed.map(|span| span.until_ms.saturating_add(RUN_OUT_MS));
    let stamped_ms = part.stamped_from_ms.map(|_| now.unix_ms());
    let until_ms = ends_ms.into_iter().chain(stamped_ms).max().unwrap_or_default();
    let span = Span { from_ms: since_ms.saturating_sub(WARM_UP_MS), until_ms };
    let sources = sources(connection, site, &part, span)?;
    let mut live = Evaluation::default().known(context, site, &part.subject)?.clone();
    let mut typed = VecDeque::new();
    if let Some(key) = part.subject.patient().map(PatientKey::as_str)
        && let Some(patient) = patients::known(connection, key)?
    {
        let then = profile(connection, &patient, WallTime::from_unix_ms(span.from_ms))?;
        live.meet_profile(Profile { oxygen: None, ..then });
        typed = oxygen(connection, key)?.into();
    }
    // What a device stamped itself may be of any time until now.
    let late_end_ms = stamped_ms.or(part.placed.map(|span| span.until_ms)).unwrap_or(since_ms);
    let [since, late_end] = [since_ms, late_end_ms].map(WallTime::from_unix_ms);
    let mut pass = Pass::new(&live, since, late_end);
    let mut waiting = BTreeMap::new();
    for (place, source) in (0_i64..).zip(&sources) {
        let Source { device, .. } = source;
        pass.on_pace(device, pace(connection, site, device)?);
        let of = Of { site, source, subject: &part.subject };
        waiting.extend(said::stamped(connection, of, span.from_ms)?);
        waiting.extend(said::suppressing(connection, site, device, span.from_ms)?);
        for at_ms in left_at(connection, site, device, &part.subject, span)? {
            // What is measured at that moment is another one's.
            let order = (at_ms, String::new(), None, i64::MIN, place);
            waiting.insert(order, What::Left(device.clone()));
        }
    }
    let placed = ends_ms.map(|until_ms| Span { from_ms: span.from_ms, until_ms });
    let rest = placed.map(|placed| sources.iter().map(|of| (of.clone(), placed)).collect());
    let known = connection
        .prepare_cached("SELECT id FROM alert WHERE started_ms >= ?2 AND site = ?1")?
        .query_map(params![site.as_str(), since_ms.saturating_sub(KNOWN_MS)], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    Ok(Work {
        site: site.clone(),
        subject: part.subject,
        sources,
        pass,
        span,
        known,
        began_ms: now.unix_ms(),
        typed,
        waiting,
        rest: rest.unwrap_or_default(),
        placed_until_ms: ends_ms,
        judged_ms: span.from_ms,
    })
}

fn pace(connection: &Connection, site: &SiteId, device: &DeviceId) -> rusqlite::Result<Pace> {
    let known = connection
        .prepare_cached(
            "SELECT kind, expected_interval_ms FROM device WHERE site = ?1 AND device = ?2",
        )?
        .query_row(params![site.as_str(), device.as_str()], |row| {
            let kind: String = row.get(0)?;
            Ok(Pace { kind: DeviceKind::from_name(&kind), interval_ms: row.get(1)? })
        })
        .optional()?;
    Ok(known.unwrap_or_default())
}

impl Work {
    pub(super) fn is_under_way(&self) -> bool {
        !self.rest.is_empty() || !self.waiting.is_empty()
    }

    /// Judges what comes next, as far as it is known of every source.
    pub(super) fn step(
        &mut self,
        connection: &Connection,
        rules: &RuleSet,
    ) -> rusqlite::Result<()> {
        // The source that is furthest behind holds up the others.
        let behind = self.rest.iter().enumerate().min_by_key(|(_, (_, rest))| rest.from_ms);
        let behind = behind.map(|(place, (source, rest))| (place, source.clone(), *rest));
        let is_behind = |rest: Span| {
            let next = self.waiting.first_key_value();
            next.is_none_or(|(order, _)| order.0 >= rest.from_ms)
        };
        if let Some((place, source, rest)) = behind.filter(|(_, _, rest)| is_behind(*rest)) {
            let of = Of { site: &self.site, source: &source, subject: &self.subject };
            let (page, next_ms) = said::placed(connection, of, rest)?;
            self.waiting.extend(page);
            self.rest.swap_remove(place);
            self.rest.extend(next_ms.map(|from_ms| (source, Span { from_ms, ..rest })));
        }
        let known_ms = self.rest.iter().map(|(_, rest)| rest.from_ms).min().unwrap_or(i64::MAX);
        for _ in 0..STEP_GROUPS {
            let next = self.waiting.first_entry();
            let Some(next) = next.filter(|next| next.key().0 < known_ms) else { break };
            let entry = next.remove_entry();
            self.judge(rules, entry);
        }
        Ok(())
    }

    /// Judges what was committed while the others were being judged.
    fn catch_up(&mut self, connection: &Connection, rules: &RuleSet) -> rusqlite::Result<()> {
        let from_ms = self.judged_ms.saturating_add(1);
        let Some(until_ms) = self.placed_until_ms.filter(|until_ms| from_ms <= *until_ms) else {
            return Ok(());
        };
        let span = Span { from_ms, until_ms };
        self.rest = self.sources.iter().map(|of| (of.clone(), span)).collect();
        while self.is_under_way() {
            self.step(connection, rules)?;
        }
        Ok(())
    }

    fn judge(&mut self, rules: &RuleSet, (order, what): (Order, What)) {
        let at = WallTime::from_unix_ms(order.0);
        self.judged_ms = self.judged_ms.max(order.0);
        while let Some(typed) = self.typed.pop_front_if(|typed| typed.at <= at) {
            self.pass.on_oxygen(typed);
        }
        match what {
            What::Said(Said::Group(group, freshness), suspect) => {
                let t_meas = Moment { suspect, ..Moment::sure(at) };
                self.pass.on_readings(rules, &group, t_meas, freshness);
            }
            What::Said(Said::Alarm(alarm), _) => self.pass.on_alarm(rules, at, &alarm),
            What::Left(device) => self.pass.on_left(rules, at, &device),
        }
    }

    fn has(&self, device: &str) -> bool {
        self.sources.iter().any(|source| source.device.as_str() == device)
    }
}

/// Leaves what was found, and ends the waiting.
pub(super) fn end(
    context: Context<'_>,
    site: &SiteId,
    devices: Vec<DeviceId>,
    done: Vec<Work>,
) -> rusqlite::Result<Told> {
    let Context { connection, rules, now } = context;
    let mut evaluation = Evaluation::default();
    for mut work in done {
        work.catch_up(connection, rules)?;
        let told_by_the_box = told_by_the_box(context, &work)?;
        work.pass.leave_out(told_by_the_box);
        let known = known(connection, &work)?;
        let live = evaluation.known(context, site, &work.subject)?;
        let local = |at| clock::local(at, query::TIME_ZONE, now);
        let settled = work.pass.settle(rules, live, &known, now, local);
        for (id, alert) in &settled.joined {
            alerts::join(connection, *id, *alert)?;
        }
        add_to_summary(connection, site, &settled)?;
        tracing::info!(%site, alerts = settled.made, joined = settled.joined.len(),
            left_out = settled.left_out, "What came late was judged.");
        evaluation.note(settled.changed);
    }
    for device in &devices {
        connection
            .prepare_cached(
                "DELETE FROM late_device WHERE site = ?1 AND device = ?2 AND judged = 1",
            )?
            .execute(params![site.as_str(), device.as_str()])?;
    }
    let alerts = alerts::store(context, evaluation)?;
    let sites = Vec::from_iter(query::site(connection, site)?);
    Ok(Told { devices, alerts, sites })
}

/// Until when the box of a site told of its own alerts while it was out of reach: the pass does not
/// speak for that. Of an alert that went on when the county was back, what the box told of it ends with
/// the last that came.
fn told_by_the_box<'r>(
    Context { connection, rules, .. }: Context<'r>,
    work: &Work,
) -> rusqlite::Result<impl Fn(&LateEpisode) -> Option<WallTime> + use<'r>> {
    let mut periods: Vec<(DeviceId, String, i64, i64)> = Vec::new();
    for Source { device, .. } in &work.sources {
        let of_device =
            params![work.site.as_str(), device.as_str(), work.span.from_ms, work.span.until_ms];
        let found = connection
            .prepare_cached(
                "SELECT family, from_ms, coalesce(until_ms, (SELECT max(received_ms)
                   FROM edge_alert AS told WHERE told.site = edge_period.site
                   AND told.alert = edge_period.alert), from_ms)
                 FROM edge_period WHERE site = ?1 AND device = ?2 AND from_ms <= ?4
                 AND coalesce(until_ms, ?3) >= ?3",
            )?
            .query_map(of_device, |row| {
                Ok((device.clone(), row.get(0)?, row.get(1)?, row.get(2)?))
            })?
            .collect::<Result<Vec<(DeviceId, String, i64, i64)>, _>>()?;
        for (device, family, from_ms, until_ms) in found {
            let until_ms = match rules.is_technical(&family) {
                true => Some(until_ms),
                false => of_subject_until(connection, work, &device, (from_ms, until_ms))?,
            };
            periods.extend(until_ms.map(|until_ms| (device, family, from_ms, until_ms)));
        }
    }
    Ok(move |episode: &LateEpisode| {
        let (from, until) = episode.period();
        let technical = rules.is_technical(&episode.alert.family);
        let told = periods.iter().filter(|(device, family, begin, end)| {
            let is_own = *device == episode.alert.device || !technical;
            is_own
                && *family == episode.alert.family
                && *begin <= until.unix_ms()
                && from.unix_ms() <= *end
        });
        told.map(|(.., end)| WallTime::from_unix_ms(*end)).max()
    })
}

/// Until when what a box told of a device within that time speaks for the subject: until the device
/// was taken off, of which the box may not have known; not at all where it was on another then.
fn of_subject_until(
    connection: &Connection,
    work: &Work,
    device: &DeviceId,
    (from_ms, until_ms): (i64, i64),
) -> rusqlite::Result<Option<i64>> {
    let owned = owned(connection, &work.site, device, from_ms, until_ms)?;
    let first = owned.first();
    let is_own = |of: &&Owned| subject(&work.site, device, of.patient.as_deref()) == work.subject;
    Ok(first.filter(is_own).map(|of| until_ms.min(of.until_ms)))
}

/// The alerts of a subject that may be a part of what came late.
fn known(connection: &Connection, work: &Work) -> rusqlite::Result<Vec<KnownAlert>> {
    let mut statement = connection.prepare_cached(
        "SELECT id, device, started_ms, body FROM alert WHERE site = ?1 AND state <> 'closed'
         UNION SELECT id, device, started_ms, body FROM alert
         WHERE id IN (SELECT value FROM json_each(?2))
         UNION SELECT id, device, started_ms, body FROM alert WHERE started_ms >= ?3 AND site = ?1",
    )?;
    let lately_ms = work.began_ms.saturating_sub(LATELY_MS);
    let mut rows =
        statement.query(params![work.site.as_str(), json!(work.known).to_string(), lately_ms])?;
    let mut known = Vec::new();
    let of_subject = work.subject.patient().map(PatientKey::as_str);
    while let Some(row) = rows.next()? {
        let (id, device): (String, String) = (row.get("id")?, row.get("device")?);
        let Some(id) = AlertId::from_hex(&id).filter(|_| work.has(&device)) else { continue };
        let Ok(device) = DeviceId::new(&device) else { continue };
        let body: String = row.get("body")?;
        let body: Value = serde_json::from_str(&body).unwrap_or_default();
        let text = |key| body.get(key).and_then(Value::as_str);
        if text("patient") != of_subject {
            continue;
        }
        let cleared_ms = text("cleared_at").and_then(clock::parse_rfc3339);
        known.push(KnownAlert {
            id,
            family: text("family").unwrap_or_default().to_owned(),
            device,
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
    settled: &Settled,
) -> rusqlite::Result<()> {
    let before: Option<String> = connection
        .prepare_cached("SELECT worst FROM late_site WHERE site = ?1")?
        .query_row([site.as_str()], |row| row.get(0))
        .optional()?;
    let Some(before) = before else { return Ok(()) };
    let mut worst: Map<String, Value> = serde_json::from_str(&before).unwrap_or_default();
    for value in &settled.worst {
        let place = format!("{}|{}", value.device, value.rule);
        let known = worst.get(&place).and_then(|known| known.get("value")?.as_str());
        if known.is_none_or(|known| value.is_beyond(known)) {
            worst.insert(place, worst_told(value));
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

fn worst_told(worst: &Worst) -> Value {
    let Worst { device, rule, priority, metric, value, comparator, at, .. } = worst;
    json!({
        "device": device.as_str(), "rule": rule, "priority": priority.name(),
        "metric": metric.map(Metric::name), "value": value, "comparator": comparator,
        "unit": metric.and_then(reading::usual_unit), "at": clock::rfc3339(at.unix_ms()),
    })
}
