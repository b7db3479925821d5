//! What came late: what waits to be judged and when it is due, and what is told of it.
//!
//! Not here: the pass over it ([`pass`]), what it finds (`rules::retro`).
//!
//! # Invariants
//! - what came late is noted in the transaction that stores it, and waits until a pass is committed

pub(crate) mod pass;
#[cfg(test)]
mod tests;

use crate::{
    clock::{self, rfc3339},
    ingest::Ingest,
    query::{self, with_clinic},
    store::{Store, StoreError},
};
use model::{
    id::{DeviceId, Lane, OutboxId, SiteId},
    time::WallTime,
};
use rules::{freshness::Freshness, rule::RuleSet};
use rusqlite::{Connection, OptionalExtension as _, Transaction, params};
use serde_json::{Map, Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

/// Looks whether something is due this often.
const EVERY: Duration = Duration::from_secs(2);
/// After something failed.
const AFTER_FAILURE: Duration = Duration::from_secs(60);
/// Nothing more of a device comes late: the rest of an envelope is there.
const QUIET_MS: i64 = 10_000;
/// The gap is not filled, and nothing more comes to fill it.
const GIVEN_UP_MS: i64 = 10 * 60_000;
/// Ever more comes late: a backlog of days takes hours to come, and a link may be late for ever.
const PATIENCE_MS: i64 = 30 * 60_000;
/// Envelopes that wait at a box that sends what it was told: fewer are on their way anyhow.
const REPLAY_MIN: u64 = 20;
/// Worst values of a site that are told, the most urgent first.
const WORST_MAX: usize = 32;

/// What a box told of its alerts is kept for so long, to hold it against what comes late and against
/// what is told again: as a meter remembers. What became of the alerts is in their stories.
const TOLD_KEPT_MS: i64 = 400 * 86_400_000;
/// What a box told that is forgotten in one transaction.
const FORGOTTEN_MAX: u32 = 1000;
/// How often that is looked at.
const FORGET_EVERY: Duration = Duration::from_secs(3600);

/// What came late in one transaction, by device.
#[derive(Debug, Default)]
pub(crate) struct Came(BTreeMap<(SiteId, DeviceId), Late>);

/// What came late of a device.
#[derive(Debug, Default)]
struct Late {
    /// When it was measured, of what the box stamped.
    placed: Option<Span>,
    /// The first of what the device stamped itself.
    stamped_from_ms: Option<i64>,
    /// Of what is told as late, and how many readings that were.
    told: Option<Span>,
    readings: usize,
}

/// From when to when something was measured.
#[derive(Clone, Copy, Debug)]
struct Span {
    from_ms: i64,
    until_ms: i64,
}

/// A reading group that was stored.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stored {
    pub(crate) measured: WallTime,
    pub(crate) freshness: Freshness,
    /// Something of its kind is known that was measured later.
    pub(crate) overtaken: bool,
    /// Its device is with another since.
    pub(crate) is_history: bool,
    /// The device said itself when it was, and may say it in any order.
    pub(crate) stamped: bool,
    /// Nobody knows when it was.
    pub(crate) only_bounded: bool,
    pub(crate) readings: usize,
}

impl Came {
    /// Takes note of a group if it came late, if something overtook it, or if its device is with
    /// another since: rules do not go back.
    ///
    /// Of what nobody knows the time no rule could say when it held: it is told, and not judged.
    pub(crate) fn note(&mut self, site: &SiteId, device: &DeviceId, stored: Stored) {
        let is_late = stored.freshness != Freshness::Fresh;
        // Under the name of the site rules know the box.
        if !(is_late || stored.overtaken || stored.is_history) || device.as_str() == site.as_str() {
            return;
        }
        let late = self.0.entry((site.clone(), device.clone())).or_default();
        let at_ms = stored.measured.unix_ms();
        if is_late {
            late.told = Some(Span::with(late.told, at_ms));
            late.readings += stored.readings;
        }
        match (stored.only_bounded, stored.stamped) {
            (true, _) => {}
            (false, true) => {
                let from_ms = late.stamped_from_ms.unwrap_or(at_ms).min(at_ms);
                late.stamped_from_ms = Some(from_ms);
            }
            (false, false) => late.placed = Some(Span::with(late.placed, at_ms)),
        }
    }

    /// Keeps it until a pass has gone over it. The caller owns the transaction.
    pub(crate) fn remember(&self, connection: &Connection, now: WallTime) -> rusqlite::Result<()> {
        for ((site, device), late) in &self.0 {
            if let Some(span) = late.told {
                tell(connection, site, span, late.readings)?;
            }
            if late.placed.is_none() && late.stamped_from_ms.is_none() {
                continue;
            }
            connection
                .prepare_cached(
                    "INSERT INTO late_device VALUES (?1, ?2, 0, ?3, ?4, ?5, ?6, ?6)
                     ON CONFLICT DO UPDATE SET
                       from_ms = min(coalesce(from_ms, ?3), coalesce(?3, from_ms)),
                       until_ms = max(coalesce(until_ms, ?4), coalesce(?4, until_ms)),
                       stamped_from_ms =
                         min(coalesce(stamped_from_ms, ?5), coalesce(?5, stamped_from_ms)),
                       last_ms = ?6",
                )?
                .execute(params![
                    site.as_str(),
                    device.as_str(),
                    late.placed.map(|span| span.from_ms),
                    late.placed.map(|span| span.until_ms),
                    late.stamped_from_ms,
                    now.unix_ms()
                ])?;
        }
        Ok(())
    }
}

impl Span {
    /// From the first of both to the last.
    fn and(self, other: Self) -> Self {
        let (from_ms, until_ms) = (self.from_ms, self.until_ms);
        Self { from_ms: from_ms.min(other.from_ms), until_ms: until_ms.max(other.until_ms) }
    }

    fn with(span: Option<Self>, at_ms: i64) -> Self {
        let moment = Self { from_ms: at_ms, until_ms: at_ms };
        span.map_or(moment, |span| span.and(moment))
    }
}

/// What came late of a site is told together until all of it was judged.
fn tell(
    connection: &Connection,
    site: &SiteId,
    span: Span,
    readings: usize,
) -> rusqlite::Result<()> {
    if !waits(connection, site.as_str())? {
        connection
            .prepare_cached("DELETE FROM late_site WHERE site = ?1")?
            .execute([site.as_str()])?;
    }
    connection
        .prepare_cached(
            "INSERT INTO late_site VALUES (?1, ?2, ?3, ?4, 0, 0, '{}')
             ON CONFLICT DO UPDATE SET from_ms = min(from_ms, ?2), until_ms = max(until_ms, ?3),
               readings = readings + ?4",
        )?
        .execute(params![
            site.as_str(),
            span.from_ms,
            span.until_ms,
            i64::try_from(readings).unwrap_or(i64::MAX)
        ])
        .map(drop)
}

/// Whether something of a site waits to be judged.
fn waits(connection: &Connection, site: &str) -> rusqlite::Result<bool> {
    connection.prepare_cached("SELECT 1 FROM late_device WHERE site = ?1")?.exists([site])
}

/// The devices over which a pass should go, those first over which one had begun.
///
/// It is due when nothing is missing any more of what the box has told, or 10 minutes after the last
/// that came late, and at last when ever more comes.
fn due(connection: &Connection, now: WallTime) -> rusqlite::Result<Vec<(SiteId, DeviceId)>> {
    let mut statement = connection.prepare_cached(
        "SELECT site, device, max(judged), min(first_ms), max(last_ms) FROM late_device
         GROUP BY site, device ORDER BY 3 DESC, 4",
    )?;
    let mut rows = statement.query([])?;
    let mut gaps: BTreeMap<SiteId, bool> = BTreeMap::new();
    let mut due = Vec::new();
    while let Some(row) = rows.next()? {
        let (site, device): (String, String) = (row.get(0)?, row.get(1)?);
        let (Ok(site), Ok(device)) = (SiteId::new(&site), DeviceId::new(&device)) else { continue };
        let (has_begun, first_ms, last_ms): (bool, i64, i64) =
            (row.get(2)?, row.get(3)?, row.get(4)?);
        let since = |ms: i64| now.unix_ms().saturating_sub(ms);
        let is_due = if has_begun || since(last_ms) >= GIVEN_UP_MS || since(first_ms) >= PATIENCE_MS
        {
            true
        } else if since(last_ms) < QUIET_MS {
            false
        } else if let Some(known) = gaps.get(&site) {
            !known
        } else {
            let has_gap = has_gap(connection, &site)?;
            gaps.insert(site.clone(), has_gap);
            !has_gap
        };
        if is_due {
            due.push((site, device));
        }
    }
    Ok(due)
}

/// Whether something is missing of what the outbox has told with which a box works: what was
/// measured first comes last.
fn has_gap(connection: &Connection, site: &SiteId) -> rusqlite::Result<bool> {
    let outbox: Option<String> = connection
        .prepare_cached("SELECT outbox FROM site WHERE site = ?1")?
        .query_row([site.as_str()], |row| row.get(0))
        .optional()?;
    let Some(outbox) = outbox.as_deref().and_then(OutboxId::from_hex) else { return Ok(false) };
    for lane in [Lane::Urgent, Lane::Trend] {
        let ledger = query::lane_ledger(connection, site, outbox, lane)?;
        if !ledger.gaps().is_empty() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Goes over what came late whenever it is due, until the gateway stops.
pub(crate) async fn run(ingest: Ingest) {
    let mut pause = EVERY;
    let mut forget = tokio::time::interval(FORGET_EVERY);
    loop {
        let work = async {
            tokio::select! {
                () = tokio::time::sleep(pause) => pass_all(&ingest, clock::now()).await,
                _ = forget.tick() => forget_told(&ingest.store, clock::now()).await,
            }
        };
        let passed = tokio::select! {
            passed = work => passed,
            // What was begun is begun anew.
            () = ingest.stopped.cancelled() => return,
        };
        pause = match passed {
            Ok(()) => EVERY,
            // Told once, not with every look.
            Err(StoreError::Disk(_)) => AFTER_FAILURE,
            Err(error) => {
                let error = format!("{:#}", anyhow::Error::new(error));
                tracing::error!(error, "What came late could not be judged.");
                AFTER_FAILURE
            }
        };
    }
}

/// Forgets when a box reported which alert, and its words, where nothing of that time is waited for
/// any more.
async fn forget_told(store: &Store, now: WallTime) -> Result<(), StoreError> {
    let before_ms = now.unix_ms().saturating_sub(TOLD_KEPT_MS);
    let forget = move |transaction: &Transaction<'_>| {
        let periods = transaction
            .prepare_cached(&format!(
                "DELETE FROM edge_period WHERE (site, alert) IN (SELECT site, alert FROM edge_period
                   WHERE coalesce(until_ms, from_ms) < ?1 LIMIT {FORGOTTEN_MAX})"
            ))?
            .execute([before_ms])?;
        // What has a higher id came later.
        transaction
            .prepare_cached(&format!(
                "DELETE FROM edge_alert WHERE received_ms < ?1 AND id IN
                   (SELECT id FROM edge_alert ORDER BY id LIMIT {FORGOTTEN_MAX})"
            ))?
            .execute([before_ms])
            .map(|words| periods + words)
    };
    while store.write(forget).await? > 0 {
        tokio::time::sleep(EVERY).await;
    }
    Ok(())
}

async fn pass_all(ingest: &Ingest, now: WallTime) -> Result<(), StoreError> {
    let due = ingest.store.read(move |connection| due(connection, now)).await?;
    let mut done = BTreeSet::new();
    for (site, device) in due {
        if done.contains(&(site.clone(), device.clone())) {
            continue;
        }
        let rules = ingest.rules.rules();
        let told = pass::pass(&ingest.store, rules, site.clone(), device, clock::now).await?;
        done.extend(told.devices.into_iter().map(|device| (site.clone(), device)));
        for alert in told.alerts {
            ingest.events.publish("alert", &with_clinic(alert, &ingest.clinics), None);
        }
        for site in told.sites {
            ingest.events.publish("site", &with_clinic(site, &ingest.clinics), None);
        }
    }
    Ok(())
}

/// Goes over all that is due at that moment, and tells nobody.
pub(crate) async fn judge_due(
    store: &Store,
    rules: &Arc<RuleSet>,
    now: WallTime,
) -> Result<(), StoreError> {
    for (site, device) in store.read(move |connection| due(connection, now)).await? {
        pass::pass(store, Arc::clone(rules), site, device, move || now).await?;
    }
    Ok(())
}

/// Whether the box of a site sends what it had told while it was out of reach (TECH-REPLAY: a
/// banner, no alert), and what came late the last time, for its entry in the list of sites.
pub(crate) fn of_site(connection: &Connection, told: &mut Value) -> rusqlite::Result<()> {
    let Some(site) = told.get("site").and_then(Value::as_str).map(ToOwned::to_owned) else {
        return Ok(());
    };
    let replay = replay(connection, &site, told)?;
    let late = summary(connection, &site)?;
    if let Some(fields) = told.as_object_mut() {
        fields.insert("replay".to_owned(), replay);
        fields.insert("late".to_owned(), late);
    }
    Ok(())
}

fn replay(connection: &Connection, site: &str, told: &Value) -> rusqlite::Result<Value> {
    let waiting = ["urgent", "trend"].into_iter();
    let waiting = waiting.filter_map(|lane| told.get("backlog")?.get(lane)?.as_u64()).sum::<u64>();
    let is_online = told.get("online").and_then(Value::as_bool) == Some(true);
    if !is_online || waiting == 0 {
        return Ok(Value::Null);
    }
    let Ok(site) = SiteId::new(site) else { return Ok(Value::Null) };
    let drains = waiting >= REPLAY_MIN || has_gap(connection, &site)?;
    Ok(if drains { json!({"rule": "TECH-REPLAY", "waiting": waiting}) } else { Value::Null })
}

fn summary(connection: &Connection, site: &str) -> rusqlite::Result<Value> {
    let waits = waits(connection, site)?;
    let told = connection
        .prepare_cached("SELECT * FROM late_site WHERE site = ?1")?
        .query_row([site], |row| {
            let (from_ms, until_ms): (i64, i64) = (row.get("from_ms")?, row.get("until_ms")?);
            let worst: String = row.get("worst")?;
            let worst: Map<String, Value> = serde_json::from_str(&worst).unwrap_or_default();
            let mut worst: Vec<Value> = worst.into_iter().map(|(_, value)| value).collect();
            let rank = |value: &Value| match value.get("priority").and_then(Value::as_str) {
                Some("high") => 0,
                Some("medium") => 1,
                _ => 2,
            };
            worst.sort_by_key(rank);
            worst.truncate(WORST_MAX);
            Ok(json!({
                "from": rfc3339(from_ms), "until": rfc3339(until_ms),
                "readings": row.get::<_, i64>("readings")?,
                "judged": !waits,
                "alerts": row.get::<_, i64>("alerts")?,
                "left_out": row.get::<_, i64>("left_out")?,
                "worst": worst,
            }))
        })
        .optional()?;
    Ok(told.unwrap_or_default())
}
