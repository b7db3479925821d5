//! The proof of the stories: what the agent committed against the rows the county has.
//!
//! Acked rows stay in the outbox for a day: it is the record of all that was ever committed. Where a
//! story lets the day pass, a copy that was made before is. Every envelope is decoded again here,
//! and its records are compared with the rows of the county, value by value; what the county works
//! out itself (freshness, canonical values) is not compared.

mod witness;

pub use witness::{Witness, Witnessed};

use crate::read_only;
use anyhow::{Context as _, bail, ensure};
use aws_lc_rs::digest::{SHA256, digest};
use model::{
    alarm::DeviceAlarm,
    id::{Lane, Seq},
    metric::Metric,
    reading::{Comparator, Reading, ReadingGroup, Value},
    record::{DropRecord, Record},
    time::{DeviceTime, WallTime},
    units::Unit,
    waveform::WaveformBlock,
};
use rusqlite::{Connection, OptionalExtension as _, Row, params};
use serde_json::json;
use std::{collections::BTreeMap, fs, path::Path};
use uplink_proto::{envelope::Envelope, ranges::RangeSet, samples};

/// What was compared.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Proof {
    /// Envelopes the agent has committed and the county has.
    pub envelopes: u64,
    /// Records in them.
    pub records: u64,
    /// Readings in them.
    pub readings: usize,
    /// Waveform blocks in them.
    pub blocks: usize,
    /// Device alarms in them.
    pub alarms: usize,
    /// Envelopes of the agent's last moment, committed and not yet sent: the next run sends them.
    pub waiting: u64,
    /// Envelopes the county does not have, and has a drop record of.
    pub dropped: u64,
}

/// A row of the outbox.
struct OutboxRow {
    bytes: Vec<u8>,
    unacked: bool,
}

/// What the rows of the county must be, each as one line of text.
#[derive(Default)]
struct Rows {
    readings: Vec<String>,
    blocks: Vec<String>,
    alarms: Vec<String>,
    drops: Vec<String>,
}

/// Compares every row of the outbox with what the county has. `copy` is one of the outbox before
/// rows were pruned.
pub(crate) fn prove(outbox: &Path, copy: Option<&Path>, county: &Path) -> anyhow::Result<Proof> {
    let (outbox, county) = (read_only(outbox)?, read_only(county)?);
    let copy = copy.map(read_only).transpose()?;
    let id = id_of(&outbox)?;
    if let Some(copy) = &copy {
        ensure!(id_of(copy)? == id, "the copy is of another outbox");
    }
    let dropped = drops_in(&rows_of(&outbox, copy.as_ref(), Lane::Urgent)?)?;
    let mut proof = Proof::default();
    let mut expected = Rows::default();
    for lane in Lane::ALL {
        let rows = rows_of(&outbox, copy.as_ref(), lane)?;
        let last = settled_last(&outbox, lane)?;
        ensure!(
            rows.last_key_value().is_none_or(|(seq, _)| *seq >= last),
            "{lane}: rows up to {last} were committed and are gone"
        );
        let of = (id.as_str(), lane, lane.of(&dropped));
        prove_lane(&rows, &county, of, &mut proof, &mut expected)?;
    }
    agree(&county, &mut proof, expected)?;
    Ok(proof)
}

/// The rows of the county are what was committed, and no more.
fn agree(county: &Connection, proof: &mut Proof, expected: Rows) -> anyhow::Result<()> {
    let stored: i64 = county.query_row("SELECT count(*) FROM envelope", [], |row| row.get(0))?;
    let aside: i64 = county.query_row("SELECT count(*) FROM quarantine", [], |row| row.get(0))?;
    ensure!(
        u64::try_from(stored)? == proof.envelopes && aside == 0,
        "the county has {stored} envelopes and {aside} aside, {} were committed",
        proof.envelopes
    );
    (proof.readings, proof.blocks) = (expected.readings.len(), expected.blocks.len());
    proof.alarms = expected.alarms.len();
    compare("reading", expected.readings, stored_readings(county)?)?;
    compare("waveform", expected.blocks, rows(county, "waveform", stored_block)?)?;
    compare("device_alarm", expected.alarms, rows(county, "device_alarm", stored_alarm)?)?;
    compare("drop_record", expected.drops, rows(county, "drop_record", stored_drop)?)?;
    Ok(())
}

/// Whether the county has every row of the outbox, or its drop.
pub(crate) fn has_all(outbox: &Path, county: &Path) -> anyhow::Result<bool> {
    let (outbox, county) = (read_only(outbox)?, read_only(county)?);
    let id = id_of(&outbox)?;
    for lane in Lane::ALL {
        let last = format!("SELECT coalesce(max(place), 0) FROM {}", lane.name());
        let last: i64 = outbox.query_row(&last, [], |row| row.get(0))?;
        let mut settled: RangeSet = told(&county, &id, lane, "received")?;
        settled.extend(&told(&county, &id, lane, "dropped")?);
        let through = settled.watermark().map_or(0, Seq::get);
        if through < u64::try_from(last)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn id_of(outbox: &Connection) -> anyhow::Result<String> {
    let id: [u8; 16] =
        outbox.query_row("SELECT value FROM meta WHERE key = 'outbox_id'", [], |row| row.get(0))?;
    Ok(id.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// What the ledger says of a lane.
fn told(county: &Connection, id: &str, lane: Lane, column: &str) -> anyhow::Result<RangeSet> {
    let told: Option<String> = county
        .query_row(
            &format!("SELECT {column} FROM ledger WHERE outbox = ?1 AND lane = ?2"),
            [id, lane.name()],
            |row| row.get(0),
        )
        .optional()?;
    Ok(told.unwrap_or_default().parse()?)
}

/// The rows of a lane by their seq. An outbox that has not started anew has each at the place of its
/// number.
fn rows_of(
    outbox: &Connection,
    copy: Option<&Connection>,
    lane: Lane,
) -> anyhow::Result<BTreeMap<i64, OutboxRow>> {
    let name = lane.name();
    let mut found: BTreeMap<i64, OutboxRow> = BTreeMap::new();
    for file in copy.into_iter().chain([outbox]) {
        let mut statement = file.prepare(&format!(
            "SELECT place, bytes, NOT EXISTS
               (SELECT 1 FROM settled WHERE lane = ?1 AND place BETWEEN first AND last)
             FROM {name} ORDER BY place"
        ))?;
        let mut rows = statement.query([name])?;
        while let Some(row) = rows.next()? {
            let (seq, bytes) = (row.get(0)?, row.get(1)?);
            let before = found.insert(seq, OutboxRow { bytes, unacked: row.get(2)? });
            let same =
                before.is_none_or(|it| Some(&it.bytes) == found.get(&seq).map(|it| &it.bytes));
            ensure!(same, "{lane} {seq} was changed in the outbox");
        }
    }
    Ok(found)
}

/// The highest that was acked or given up.
fn settled_last(outbox: &Connection, lane: Lane) -> anyhow::Result<i64> {
    let question = "SELECT coalesce(max(last), 0) FROM settled WHERE lane = ?1";
    Ok(outbox.query_row(question, [lane.name()], |row| row.get(0))?)
}

/// What the drop records of the urgent rows are about: urgent, trend, wave.
fn drops_in(urgent: &BTreeMap<i64, OutboxRow>) -> anyhow::Result<[RangeSet; 3]> {
    let mut dropped: [RangeSet; 3] = Default::default();
    for row in urgent.values() {
        for record in Envelope::decode(&row.bytes)?.envelope.records {
            if let Record::Dropped(DropRecord { outbox: None, lane, first, last, .. }) = record {
                lane.of_mut(&mut dropped).insert_range(first, last);
            }
        }
    }
    Ok(dropped)
}

fn prove_lane(
    rows: &BTreeMap<i64, OutboxRow>,
    county: &Connection,
    (id, lane, dropped): (&str, Lane, &RangeSet),
    proof: &mut Proof,
    expected: &mut Rows,
) -> anyhow::Result<()> {
    let mut received = RangeSet::default();
    for (wanted, (seq, row)) in (1_i64..).zip(rows) {
        ensure!(*seq == wanted, "{lane} {wanted} is not in the outbox");
        let hash: Option<Vec<u8>> = county
            .query_row(
                "SELECT hash FROM envelope WHERE outbox = ?1 AND lane = ?2 AND seq = ?3",
                params![id, lane.name(), seq],
                |row| row.get(0),
            )
            .optional()?;
        let number = Seq::new(u64::try_from(*seq)?).context("seq 0")?;
        match hash {
            None if row.unacked => proof.waiting += 1,
            None if dropped.contains(number) => proof.dropped += 1,
            None => bail!("{lane} {seq} is lost"),
            Some(hash) if hash != digest(&SHA256, &row.bytes).as_ref() => {
                bail!("{lane} {seq} is altered")
            }
            Some(_) => {
                let envelope = Envelope::decode(&row.bytes)?.envelope;
                proof.envelopes += 1;
                proof.records += u64::try_from(envelope.records.len())?;
                received.insert(number);
                expect(expected, id, &envelope);
            }
        }
    }
    let told = told(county, id, lane, "received")?;
    ensure!(told == received, "{lane}: the ledger says {told}, it is {received}");
    Ok(())
}

/// The rows an envelope must have become.
fn expect(rows: &mut Rows, outbox: &str, envelope: &Envelope) {
    let (lane, seq) = (envelope.lane.name(), envelope.seq.get());
    let mut index = 0;
    let mut place = || {
        index += 1;
        format!("{outbox}/{lane}/{seq}/{}", index - 1)
    };
    for record in &envelope.records {
        match record {
            Record::Readings(group) => {
                let lines = group.readings.iter().map(|one| reading_line(&place(), group, one));
                rows.readings.extend(lines);
            }
            Record::Waveform(block) => rows.blocks.push(block_line(&place(), block)),
            Record::Alarm(alarm) => rows.alarms.push(alarm_line(alarm)),
            Record::Dropped(dropped) => rows.drops.push(drop_line(outbox, dropped)),
            Record::Status(_)
            | Record::Started(_)
            | Record::Action(_)
            | Record::Clock(_)
            | Record::Alert(_) => {}
        }
    }
}

fn reading_line(place: &str, group: &ReadingGroup, reading: &Reading) -> String {
    let (value, comparator) = match &reading.value {
        Ok(Value::Number { number, comparator }) => (Some(number.to_string()), *comparator),
        Ok(Value::Text(text)) => (Some(text.clone()), Comparator::Equal),
        Err(_) => (None, Comparator::Equal),
    };
    let sign = match comparator {
        Comparator::Equal => None,
        Comparator::Below => Some("<"),
        Comparator::Above => Some(">"),
    };
    json!([
        place,
        group.device.as_str(),
        group.channel.as_str(),
        reading.metric.name(),
        value,
        sign,
        reading.unit.as_ref().map(Unit::as_str),
        reading.value.as_ref().err().map(ToString::to_string),
        reading.validity.name(),
        group.context,
        group.device_time.and_then(DeviceTime::utc).map(WallTime::unix_ms),
        group.observed.at.unix_ms(),
        group.device_seq,
    ])
    .to_string()
}

/// Every reading of the county's groups.
fn stored_readings(county: &Connection) -> anyhow::Result<Vec<String>> {
    let mut statement = county.prepare(
        "SELECT reading_group.*, outbox, lane, device, metrics FROM reading_group
         JOIN source ON source.id = reading_group.source
         JOIN outbox_lane ON outbox_lane.id = reading_group.outbox_lane
         JOIN metric_list ON metric_list.id = reading_group.metric_list",
    )?;
    let mut rows = statement.query([])?;
    let mut lines = Vec::new();
    while let Some(row) = rows.next()? {
        let (said, metrics): (String, String) = (row.get("said")?, row.get("metrics")?);
        let said: Vec<serde_json::Value> = serde_json::from_str(&said)?;
        let metrics: Vec<&str> = metrics.split(',').collect();
        ensure!(said.len() == metrics.len(), "{metrics:?} said {said:?}");
        for ((after, metric), said) in (0..).zip(metrics).zip(&said) {
            lines.push(stored_reading(row, after, metric, said)?);
        }
    }
    Ok(lines)
}

/// What is usual of a metric is not written.
fn stored_reading(
    row: &Row<'_>,
    after: i64,
    metric: &str,
    said: &serde_json::Value,
) -> anyhow::Result<String> {
    let text = |name| row.get::<_, Option<String>>(name);
    let known = Metric::from_name(metric).context("an unknown metric is stored")?;
    let usual = json!({
        "value": said, "validity": "valid",
        "unit": known.row().canonical_unit.as_ref().map(Unit::as_str),
    });
    let said = if said.is_string() { &usual } else { said };
    let context = text("context")?.unwrap_or_else(|| "{}".to_owned());
    Ok(json!([
        stored_place(row, after)?,
        text("device")?,
        text("channel")?,
        metric,
        said.get("value"),
        said.get("comparator"),
        said.get("unit"),
        said.get("no_data"),
        said.get("validity"),
        serde_json::from_str::<serde_json::Value>(&context)?,
        row.get::<_, Option<i64>>("device_ms")?,
        said_by_box(row, "observed_ms")?,
        row.get::<_, Option<i64>>("device_seq")?,
    ])
    .to_string())
}

/// The county keeps what the box's clock said beside when it was.
fn said_by_box(row: &Row<'_>, placed: &str) -> rusqlite::Result<i64> {
    row.get::<_, Option<i64>>("box_ms")?.map_or_else(|| row.get(placed), Ok)
}

fn stored_place(row: &Row<'_>, after: i64) -> rusqlite::Result<String> {
    let (outbox, lane): (String, String) = (row.get("outbox")?, row.get("lane")?);
    let (seq, index): (i64, i64) = (row.get("seq")?, row.get("idx")?);
    Ok(format!("{outbox}/{lane}/{seq}/{}", index + after))
}

fn block_line(place: &str, block: &WaveformBlock) -> String {
    let scale = block.scale.as_ref();
    json!([
        place,
        block.device.as_str(),
        block.channel.as_str(),
        block.metric.name(),
        block.start.at.unix_ms(),
        [block.period.numerator(), block.period.denominator()],
        scale.map(|scale| scale.per_count.to_string()),
        scale.map(|scale| scale.offset),
        scale.map(|scale| scale.unit.as_str()),
        block.samples,
    ])
    .to_string()
}

fn stored_block(row: &Row<'_>) -> rusqlite::Result<String> {
    let text = |name| row.get::<_, Option<String>>(name);
    let bytes: Vec<u8> = row.get("samples")?;
    Ok(json!([
        stored_place(row, 0)?,
        text("device")?,
        text("channel")?,
        text("metric")?,
        said_by_box(row, "start_ms")?,
        [row.get::<_, i64>("period_num")?, row.get::<_, i64>("period_den")?],
        text("scale")?,
        row.get::<_, Option<i64>>("zero")?,
        text("unit")?,
        samples::decode(&bytes),
    ])
    .to_string())
}

fn alarm_line(alarm: &DeviceAlarm) -> String {
    json!([
        alarm.observed.at.unix_ms(),
        alarm.device.as_str(),
        alarm.code,
        alarm.phase.name(),
        alarm.kind.rule_id(),
        alarm.text,
        alarm.priority.map(model::alarm::Priority::name),
    ])
    .to_string()
}

fn stored_alarm(row: &Row<'_>) -> rusqlite::Result<String> {
    let text = |name| row.get::<_, Option<String>>(name);
    Ok(json!([
        row.get::<_, i64>("observed_ms")?,
        text("device")?,
        text("code")?,
        text("phase")?,
        text("kind")?,
        text("text")?,
        text("priority")?,
    ])
    .to_string())
}

fn drop_line(outbox: &str, dropped: &DropRecord) -> String {
    let (first, last) = (dropped.first.get(), dropped.last.get());
    let outbox = dropped.outbox.map_or_else(|| outbox.to_owned(), |other| other.to_string());
    json!([outbox, dropped.lane.name(), first, last, dropped.cause.name()]).to_string()
}

fn stored_drop(row: &Row<'_>) -> rusqlite::Result<String> {
    let text = |name| row.get::<_, String>(name);
    let (first, last): (i64, i64) = (row.get("first")?, row.get("last")?);
    Ok(json!([text("outbox")?, text("lane")?, first, last, text("cause")?]).to_string())
}

fn rows(
    county: &Connection,
    table: &str,
    line: fn(&Row<'_>) -> rusqlite::Result<String>,
) -> anyhow::Result<Vec<String>> {
    let mut statement = county.prepare(&format!("SELECT * FROM {table}"))?;
    let lines = statement.query_map([], line)?.collect::<Result<_, _>>();
    lines.with_context(|| format!("reading the table {table}"))
}

/// The same lines, as often, in any order.
fn compare(table: &str, mut expected: Vec<String>, mut stored: Vec<String>) -> anyhow::Result<()> {
    expected.sort_unstable();
    stored.sort_unstable();
    let different = expected.iter().zip(&stored).find(|(one, other)| one != other);
    ensure!(
        expected.len() == stored.len() && different.is_none(),
        "{table}: {} rows were committed, {} are stored; the first that differ: {different:?}",
        expected.len(),
        stored.len()
    );
    Ok(())
}

/// Device alarms by device and code: their phases in order.
type Alarms = BTreeMap<(String, String), Vec<String>>;

/// Compares the alarms a device said with those the county has.
///
/// Only alarms the truth knows by name are looked at: a driver makes some of its own.
pub(crate) fn prove_alarms(truth: &Path, county: &Path) -> anyhow::Result<usize> {
    let mut said = Alarms::new();
    for line in fs::read_to_string(truth).context("reading the truth")?.lines() {
        let fact: serde_json::Value = serde_json::from_str(line)?;
        let text = |key: &str| fact.get(key).and_then(serde_json::Value::as_str);
        if let (Some(device), Some(code), Some(phase)) =
            (text("device"), text("alarm"), text("phase"))
        {
            said.entry((device.to_owned(), code.to_owned())).or_default().push(phase.to_owned());
        }
    }
    let county = read_only(county)?;
    let mut statement =
        county.prepare("SELECT device, code, phase FROM device_alarm ORDER BY observed_ms, id")?;
    let mut stored = Alarms::new();
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let key: (String, String) = (row.get(0)?, row.get(1)?);
        if said.contains_key(&key) {
            stored.entry(key).or_default().push(row.get(2)?);
        }
    }
    ensure!(said == stored, "said {said:?}, stored {stored:?}");
    Ok(said.values().map(Vec::len).sum())
}
