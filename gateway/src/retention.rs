//! What is old enough is removed: by kind and age, a few rows at a time, where the configuration
//! says so.
//!
//! Age counts from the moment it came, by the county's clock: a box that was set back loses
//! nothing. Alerts, the ledger, drop records and what is kept aside stay. A *strip* is the span of a
//! device's waveforms around the begin of an alarm; which spans these are is written down when the
//! alarm comes, by the rules of then, and its blocks stay whenever they come.
//!
//! # Invariants
//! - nothing is removed that an open alert may refer to, nor the newest reading of a series, nor the
//!   strip of an alert, open or not
//! - hashes and ranges of envelopes stay: what is removed and comes once more is a duplicate
//! - of a result that was said several times the oldest that is kept is no repetition

use crate::{
    clock,
    reading::listed,
    store::{Store, StoreError},
};
use model::{
    alarm::{AlarmKind, DeviceAlarm},
    id::SiteId,
    metric::Kind,
    time::WallTime,
};
use rules::rule::{RuleSet, STRIP_MAX_MS, Strip};
use rusqlite::{Connection, Row, params};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};
use tokio_util::sync::CancellationToken;

/// Rows that are looked at in one transaction: it takes some tens of milliseconds.
const STEP_ROWS: u32 = 1000;
/// Between two steps the database belongs to what comes in.
const PAUSE: Duration = Duration::from_millis(50);
/// An hour is short beside a day.
const EVERY: Duration = Duration::from_secs(3600);
/// What is kept of a device from before an open alert began: what a person looks at to judge it.
const BEFORE_ALERT_MS: i64 = 24 * 3600 * 1000;

/// What is said again of an alarm that stands has another strip after this.
const AGAIN_MS: i64 = 10 * 60_000;
/// Of a strip both sides together, as the question for blocks has it.
const _: () = assert!(2 * STRIP_MAX_MS == 1_200_000);

/// How long which kind is kept, in milliseconds; `None`: for ever.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Retention {
    pub(crate) waveforms_ms: Option<i64>,
    /// Readings that repeat by themselves.
    pub(crate) streams_ms: Option<i64>,
    /// Readings that are events of their own: results.
    pub(crate) spots_ms: Option<i64>,
    /// What devices signalled.
    pub(crate) alarms_ms: Option<i64>,
}

/// Where rows of that age are.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Table {
    Waveform,
    Reading,
    DeviceAlarm,
}

impl Table {
    const ALL: [Self; 3] = [Self::Waveform, Self::Reading, Self::DeviceAlarm];

    const fn name(self) -> &'static str {
        match self {
            Self::Waveform => "waveform",
            Self::Reading => "reading_group",
            Self::DeviceAlarm => "device_alarm",
        }
    }

    /// The next rows behind an id: id, site, device, metrics, when it came, whether it is of a strip.
    /// A block of a waveform is a second long at most.
    const fn next_rows(self) -> &'static str {
        match self {
            Self::Waveform => {
                "SELECT id, site, device, metric, (SELECT received_ms FROM envelope
                   WHERE envelope.site = waveform.site AND envelope.outbox = waveform.outbox
                   AND envelope.lane = waveform.lane AND envelope.seq = waveform.seq),
                   EXISTS (SELECT 1 FROM strip
                   WHERE strip.site = waveform.site AND strip.device = waveform.device
                   AND from_ms > start_ms - 1200000 AND from_ms < start_ms + 1000
                   AND until_ms > start_ms)
                 FROM waveform WHERE id > ?1 ORDER BY id LIMIT ?2"
            }
            Self::Reading => {
                "SELECT reading_group.id, site, device, metrics, received_ms, 0 FROM reading_group
                 CROSS JOIN source ON source.id = reading_group.source
                 CROSS JOIN metric_list ON metric_list.id = reading_group.metric_list
                 WHERE reading_group.id > ?1 ORDER BY reading_group.id LIMIT ?2"
            }
            Self::DeviceAlarm => {
                "SELECT id, site, device, '', received_ms, 0 FROM device_alarm WHERE id > ?1
                 ORDER BY id LIMIT ?2"
            }
        }
    }

    const fn removal(self) -> &'static str {
        match self {
            Self::Waveform => "DELETE FROM waveform WHERE id = ?1",
            Self::Reading => "DELETE FROM reading_group WHERE id = ?1",
            Self::DeviceAlarm => "DELETE FROM device_alarm WHERE id = ?1",
        }
    }
}

/// A row that may be old.
struct Aged {
    id: i64,
    site: String,
    device: String,
    /// Separated by commas.
    metrics: String,
    /// Unknown where nobody says when its envelope came: then it stays.
    received_ms: Option<i64>,
    is_strip: bool,
}

/// What one step did.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Step {
    /// Where to go on; `None` where the rest is too young.
    after: Option<i64>,
    removed: u64,
    /// The last row that stays for ever, where none before it may go one day.
    settled: Option<i64>,
    /// One stays for now.
    is_open: bool,
}

impl Step {
    /// A row stays for ever.
    fn settle(&mut self, id: i64) {
        self.after = Some(id);
        if !self.is_open {
            self.settled = Some(id);
        }
    }
}

impl Retention {
    /// Whether nothing is ever removed.
    pub(crate) fn keeps_all(&self) -> bool {
        *self == Self::default()
    }

    /// How long rows of that table and metrics are kept: a group as long as any part of it.
    fn kept_ms(&self, table: Table, metrics: &str) -> Option<i64> {
        match table {
            Table::Waveform => self.waveforms_ms,
            Table::DeviceAlarm => self.alarms_ms,
            Table::Reading => {
                let kept = listed(metrics).map(|metric| match metric?.row().kind {
                    Kind::Stream | Kind::State | Kind::Wave => self.streams_ms,
                    Kind::Spot | Kind::Event => self.spots_ms,
                });
                kept.collect::<Option<Vec<i64>>>()?.into_iter().max()
            }
        }
    }

    /// The shortest time anything of that table is kept.
    fn shortest_ms(&self, table: Table) -> Option<i64> {
        match table {
            Table::Waveform => self.waveforms_ms,
            Table::DeviceAlarm => self.alarms_ms,
            Table::Reading => [self.streams_ms, self.spots_ms].into_iter().flatten().min(),
        }
    }

    /// Looks at the rows behind `after`, and removes what is old.
    fn step(
        &self,
        connection: &Connection,
        table: Table,
        after: i64,
        now: WallTime,
    ) -> rusqlite::Result<Step> {
        let done = Step { after: None, removed: 0, settled: None, is_open: false };
        let Some(shortest_ms) = self.shortest_ms(table) else { return Ok(done) };
        let rows = connection
            .prepare_cached(table.next_rows())?
            .query_map(params![after, STEP_ROWS], aged)?
            .collect::<Result<Vec<Aged>, _>>()?;
        let referred = open_alerts(connection)?;
        let newest = newest_readings(connection, table)?;
        let mut removal = connection.prepare_cached(table.removal())?;
        let mut step = done;
        for row in &rows {
            let Some(received_ms) = row.received_ms else {
                step.settle(row.id);
                continue;
            };
            let age_ms = now.unix_ms().saturating_sub(received_ms);
            if age_ms < shortest_ms {
                // What has a higher id came later.
                return Ok(Step { after: None, ..step });
            }
            if row.is_strip {
                step.settle(row.id);
                continue;
            }
            step.after = Some(row.id);
            let is_old = self.kept_ms(table, &row.metrics).is_some_and(|kept| age_ms >= kept);
            let from_ms = referred.get(&(row.site.clone(), row.device.clone()));
            let is_referred = from_ms.is_some_and(|from_ms| received_ms >= *from_ms);
            if is_old && !is_referred && !newest.contains(&row.id) {
                removal.execute([row.id])?;
                if table == Table::Reading {
                    promote_copy(connection, row.id)?;
                }
                step.removed += 1;
            } else {
                step.is_open = true;
            }
        }
        Ok(step)
    }
}

/// The oldest copy of what was removed is the first from now on: of a result that is kept exactly
/// one is not marked as a repetition.
fn promote_copy(connection: &Connection, removed: i64) -> rusqlite::Result<()> {
    let next: Option<i64> = connection
        .prepare_cached("SELECT min(id) FROM reading_group WHERE duplicate_of = ?1")?
        .query_row([removed], |row| row.get(0))?;
    if let Some(next) = next {
        connection
            .prepare_cached(
                "UPDATE reading_group SET duplicate_of = nullif(?2, id) WHERE duplicate_of = ?1",
            )?
            .execute([removed, next])?;
    }
    Ok(())
}

fn aged(row: &Row<'_>) -> rusqlite::Result<Aged> {
    Ok(Aged {
        id: row.get(0)?,
        site: row.get(1)?,
        device: row.get(2)?,
        metrics: row.get(3)?,
        received_ms: row.get(4)?,
        is_strip: row.get(5)?,
    })
}

/// By site and device, from when on an open alert may refer to what came.
fn open_alerts(connection: &Connection) -> rusqlite::Result<BTreeMap<(String, String), i64>> {
    let mut statement = connection.prepare_cached(
        "SELECT site, device, min(started_ms) FROM alert WHERE state <> 'closed'
         GROUP BY site, device",
    )?;
    let alerts = statement.query_map([], |row| {
        let started_ms: i64 = row.get(2)?;
        Ok(((row.get(0)?, row.get(1)?), started_ms.saturating_sub(BEFORE_ALERT_MS)))
    })?;
    alerts.collect()
}

/// An alarm began, or is said as if it did though no alert is new: what the rules want of its device's
/// waveforms around that stays, whatever rules and alerts become.
pub(crate) fn keep_strip(
    connection: &Connection,
    rules: &RuleSet,
    site: &SiteId,
    alarm: &DeviceAlarm,
    (began, is_new): (WallTime, bool),
) -> rusqlite::Result<()> {
    // What no rule names is any other alarm of a device.
    let strip = rules.strip(alarm.kind.rule_id());
    let strip = strip.or_else(|| rules.strip(AlarmKind::Other.rule_id()));
    let Some(Strip { before_ms, after_ms }) = strip else { return Ok(()) };
    connection
        .prepare_cached(
            "INSERT INTO strip SELECT ?1, ?2, ?3, ?4
             WHERE ?5 OR NOT EXISTS (SELECT 1 FROM strip WHERE site = ?1 AND device = ?2
             AND from_ms BETWEEN ?3 - ?6 AND ?3)
             ON CONFLICT DO UPDATE SET until_ms = max(until_ms, excluded.until_ms)",
        )?
        .execute(params![
            site.as_str(),
            alarm.device.as_str(),
            began.unix_ms().saturating_sub(before_ms),
            began.unix_ms().saturating_add(after_ms),
            is_new,
            AGAIN_MS
        ])
        .map(drop)
}

/// What tiles show, however old it is.
fn newest_readings(connection: &Connection, table: Table) -> rusqlite::Result<BTreeSet<i64>> {
    if table != Table::Reading {
        return Ok(BTreeSet::new());
    }
    let mut statement = connection.prepare_cached("SELECT reading_group FROM latest_group")?;
    statement.query_map([], |row| row.get(0))?.collect()
}

/// Removes what is old, again and again, until the gateway stops.
pub(crate) async fn run(store: Store, retention: Retention, stopped: CancellationToken) {
    let mut tables = Table::ALL.map(|table| (table, 0));
    loop {
        for (table, settled) in &mut tables {
            tokio::select! {
                removed = pass(&store, retention, *table, settled) => match removed {
                    Ok(0) | Err(StoreError::Disk(_)) => {}
                    Ok(removed) => {
                        tracing::info!(table = table.name(), removed, "What is old was removed.");
                    }
                    Err(error) => {
                        let error = format!("{:#}", anyhow::Error::new(error));
                        tracing::error!(table = table.name(), error, "Old rows stay for now.");
                    }
                },
                () = stopped.cancelled() => return,
            }
        }
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            () = stopped.cancelled() => return,
        }
    }
}

/// Goes once through a table, from behind the rows that are `settled`, which stay for ever, to the
/// first that is too young.
async fn pass(
    store: &Store,
    retention: Retention,
    table: Table,
    settled: &mut i64,
) -> Result<u64, StoreError> {
    let mut after = Some(*settled);
    let (mut removed, mut is_open) = (0, false);
    while let Some(behind) = after {
        let now = clock::now();
        let step =
            store.write(move |transaction| retention.step(transaction, table, behind, now)).await?;
        metrics::counter!("gateway_rows_removed_total", "table" => table.name())
            .increment(step.removed);
        removed += step.removed;
        if !is_open {
            *settled = step.settled.unwrap_or(*settled);
        }
        is_open |= step.is_open;
        after = step.after;
        tokio::time::sleep(PAUSE).await;
    }
    Ok(removed)
}

#[cfg(test)]
mod tests;
