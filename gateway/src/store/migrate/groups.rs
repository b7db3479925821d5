//! Step to schema 3: readings that were a row each become groups.

use crate::reading::{KEEP_NEWEST, OneSaid, usual_unit};
use model::metric::Metric;
use rusqlite::{Connection, OptionalExtension as _, Row, Transaction, params};
use std::collections::{BTreeMap, BTreeSet};

/// What all readings of a group have in common. `grp` names the first of them.
#[derive(Debug, PartialEq)]
struct Common {
    site: String,
    outbox: String,
    lane: String,
    seq: i64,
    device: String,
    channel: String,
    grp: Option<String>,
    context: String,
    device_ms: Option<i64>,
    /// Observed, received, measured.
    times_ms: [i64; 3],
    time_suspect: bool,
    clock: String,
    freshness: String,
    device_seq: Option<i64>,
    duplicate_of: Option<i64>,
}

/// A group that is being put together.
struct Gathering {
    common: Common,
    identity: Option<String>,
    idx: i64,
    count: i64,
    metrics: Vec<String>,
    said: String,
    /// Ids its readings had.
    ids: Vec<i64>,
}

/// Puts the groups together again: the readings of one stand beside each other.
pub(super) fn gather(transaction: &Transaction<'_>) -> rusqlite::Result<()> {
    let mut moved = Moved { wanted: wanted(transaction)?, to: BTreeMap::new() };
    let mut statement = transaction.prepare("SELECT * FROM reading ORDER BY id")?;
    let mut rows = statement.query([])?;
    let mut gathering: Option<Gathering> = None;
    while let Some(row) = rows.next()? {
        let (common, identity) = (common(row)?, row.get::<_, Option<String>>("identity")?);
        let idx: i64 = row.get("idx")?;
        let goes_on = gathering.as_ref().is_some_and(|group| {
            identity.is_none() && group.common == common && group.idx + group.count == idx
        });
        if !goes_on {
            store(transaction, gathering.take(), &mut moved)?;
        }
        gathering.get_or_insert_with(|| Gathering::new(common, identity, idx)).add(row)?;
    }
    store(transaction, gathering, &mut moved)?;
    latest(transaction, &moved)
}

impl Gathering {
    fn new(common: Common, identity: Option<String>, idx: i64) -> Self {
        let (metrics, ids) = (Vec::new(), Vec::new());
        Self { common, identity, idx, count: 0, metrics, said: String::new(), ids }
    }

    fn add(&mut self, row: &Row<'_>) -> rusqlite::Result<()> {
        let text = |name| row.get::<_, Option<String>>(name);
        let metric: String = row.get("metric")?;
        let (comparator, unit) = (text("comparator")?, text("unit")?);
        let validity: String = row.get("validity")?;
        let said = OneSaid {
            value: text("value")?.map(Into::into),
            comparator: comparator.as_deref(),
            unit: unit.as_deref(),
            no_data: text("no_data")?.map(Into::into),
            validity: &validity,
        };
        said.write(&mut self.said, Metric::from_name(&metric).and_then(usual_unit));
        self.metrics.push(metric);
        self.ids.push(row.get("id")?);
        self.count += 1;
        Ok(())
    }
}

/// Where readings went that others refer to.
struct Moved {
    wanted: BTreeSet<i64>,
    to: BTreeMap<i64, i64>,
}

fn wanted(connection: &Connection) -> rusqlite::Result<BTreeSet<i64>> {
    connection
        .prepare(
            "SELECT reading FROM latest
             UNION SELECT duplicate_of FROM reading WHERE duplicate_of NOT NULL",
        )?
        .query_map([], |row| row.get(0))?
        .collect()
}

fn common(row: &Row<'_>) -> rusqlite::Result<Common> {
    Ok(Common {
        site: row.get("site")?,
        outbox: row.get("outbox")?,
        lane: row.get("lane")?,
        seq: row.get("seq")?,
        device: row.get("device")?,
        channel: row.get("channel")?,
        grp: row.get("grp")?,
        context: row.get("context")?,
        device_ms: row.get("device_ms")?,
        times_ms: [row.get("observed_ms")?, row.get("received_ms")?, row.get("measured_ms")?],
        time_suspect: row.get("time_suspect")?,
        clock: row.get("clock")?,
        freshness: row.get("freshness")?,
        device_seq: row.get("device_seq")?,
        duplicate_of: row.get("duplicate_of")?,
    })
}

fn store(
    connection: &Connection,
    gathering: Option<Gathering>,
    moved: &mut Moved,
) -> rusqlite::Result<()> {
    let Some(Gathering { common, identity, idx, metrics, said, ids, .. }) = gathering else {
        return Ok(());
    };
    // Of those whose first copy was removed by age the oldest takes its place.
    let duplicate_of = common.duplicate_of.and_then(|first| moved.to.get(&first).copied());
    let compound = common.grp.as_ref().and_then(|name| name.split('/').next());
    let [observed_ms, received_ms, measured_ms] = common.times_ms;
    let Common { site, device, outbox, lane, .. } = &common;
    let metrics = metrics.join(",");
    connection
        .prepare_cached("INSERT OR IGNORE INTO source (site, device) VALUES (?1, ?2)")?
        .execute([site, device])?;
    connection
        .prepare_cached(
            "INSERT OR IGNORE INTO outbox_lane (site, outbox, lane) VALUES (?1, ?2, ?3)",
        )?
        .execute([site, outbox, lane])?;
    connection
        .prepare_cached("INSERT OR IGNORE INTO metric_list (metrics) VALUES (?1)")?
        .execute([&metrics])?;
    let id = connection
        .prepare_cached(
            "INSERT INTO reading_group (source, outbox_lane, seq, idx, channel, compound,
               metric_list, said, context, device_ms, observed_ms, received_ms, measured_ms,
               time_suspect, clock, freshness, device_seq, identity, duplicate_of)
             VALUES ((SELECT id FROM source WHERE site = ?1 AND device = ?2),
               (SELECT id FROM outbox_lane WHERE site = ?1 AND outbox = ?3 AND lane = ?4),
               ?5, ?6, ?7, ?8, (SELECT id FROM metric_list WHERE metrics = ?9),
               ?10 || ']', nullif(?11, '{}'), ?12, ?13, ?14, ?15, ?16,
               nullif(?17, 'synchronised'), nullif(?18, 'fresh'), ?19, ?20, ?21)",
        )?
        .insert(params![
            site,
            device,
            outbox,
            lane,
            common.seq,
            idx,
            common.channel,
            compound,
            metrics,
            said,
            common.context,
            common.device_ms,
            observed_ms,
            received_ms,
            measured_ms,
            common.time_suspect,
            common.clock,
            common.freshness,
            common.device_seq,
            identity,
            duplicate_of
        ])?;
    if let Some(first) = common.duplicate_of {
        moved.to.entry(first).or_insert(id);
    }
    moved.to.extend(ids.into_iter().filter(|old| moved.wanted.contains(old)).map(|old| (old, id)));
    Ok(())
}

/// The newest group of each kind, of what was the newest reading of each series.
fn latest(connection: &Connection, moved: &Moved) -> rusqlite::Result<()> {
    let mut statement = connection.prepare(
        "SELECT channel, heard_ms, measured_ms, place_ms, reading FROM latest ORDER BY reading",
    )?;
    let mut group =
        connection.prepare("SELECT source, metric_list FROM reading_group WHERE id = ?1")?;
    let mut newest = connection.prepare(&format!(
        "INSERT INTO latest_group VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) {KEEP_NEWEST}"
    ))?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let channel: String = row.get(0)?;
        let times: [i64; 3] = [row.get(1)?, row.get(2)?, row.get(3)?];
        let Some(id) = moved.to.get(&row.get(4)?) else { continue };
        let found: Option<(i64, i64)> =
            group.query_row([id], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
        let Some((source, metrics)) = found else { continue };
        newest.execute(params![source, channel, metrics, times[0], times[1], times[2], id])?;
    }
    Ok(())
}
