//! How many bytes a reading is on the link, and which: envelopes taken apart by the README of
//! `uplink-proto`, without its code.

use super::{MONITORS, OTHERS, Usage, figure, plan, rounded, switch_off, village};
use anyhow::{Context as _, ensure};
use ciborium::Value;
use e2e::envelopes_in;
use model::{
    decimal::Decimal,
    id::{DeviceId, Lane, OutboxId, Seq},
    metric::Metric,
    reading::{Reading, ReadingGroup},
    record::Record,
    time::{ClockQuality, Observed, WallTime},
    units::Unit,
};
use serde_json::json;
use std::{collections::BTreeMap, path::Path, time::Duration};
use tokio::time::sleep;
use uplink_proto::envelope::{Builder, Envelope, TREND_LEN_MAX};

/// Readings a second, and how long those of one envelope are gathered.
const RATE: usize = 1000;
const GROUP_MS: i64 = 250;
/// How many devices say them, and how many each says at once.
const CASES: [(usize, usize); 4] = [(50, 5), (20, 5), (20, 1), (4, 1)];
/// Enough for the kernel's account of CPU, in hundredths of a second.
const READINGS: usize = 1_000_000;

/// Where the bytes of envelopes are.
#[derive(Debug, Default)]
struct Parts {
    envelopes: usize,
    bytes: usize,
    readings: usize,
    blocks: usize,
    samples: usize,
    by_name: BTreeMap<&'static str, usize>,
}

/// Any number of devices at 1000 readings a second.
pub(super) fn many_readings() -> anyhow::Result<()> {
    for (devices, at_once) in CASES {
        let records = records(devices, at_once)?;
        let before = Usage::of(std::process::id())?;
        let envelopes = written(&records)?;
        let cpu_s = Usage::of(std::process::id())?.cpu_s - before.cpu_s;
        let mut parts = Parts::default();
        for bytes in envelopes.iter().take(1000) {
            parts.take(bytes)?;
        }
        let mut values = parts.shown("readings", parts.readings)?;
        values.insert("devices".into(), json!(devices));
        values.insert("readings_at_once".into(), json!(at_once));
        let hundred_thousands = f64::from(u32::try_from(READINGS)?) / 100_000.0;
        let cpu_s = rounded(cpu_s / hundred_thousands, 4);
        values.insert("encoding_cpu_s_per_100_000".into(), json!(cpu_s));
        figure("size at 1000 readings a second", &values.into())?;
    }
    Ok(())
}

/// The site with 20 devices, for so long.
pub(super) async fn site(run_for: Duration) -> anyhow::Result<()> {
    let mut devices = Vec::new();
    let others = OTHERS.into_iter().zip(0..).map(|(name, number)| (name, number % 2));
    for ((name, seed), number) in others.chain(MONITORS).zip(0..) {
        devices.push(plan(name, number, seed)?);
    }
    let mut village = village(devices).await?;
    let mut performances = village.start().await?;
    sleep(run_for).await;
    switch_off(&mut performances).await?;
    village.drained().await?;
    village.site.stop().await?;
    outbox(&village.site.outbox())?;
    village.county.stop().await
}

/// What is in an outbox.
pub(super) fn outbox(path: &Path) -> anyhow::Result<()> {
    let mut lanes: BTreeMap<&str, Parts> = BTreeMap::new();
    for bytes in envelopes_in(path)? {
        let lane = Envelope::decode(&bytes)?.envelope.lane.name();
        lanes.entry(lane).or_default().take(&bytes)?;
    }
    for (lane, parts) in lanes {
        let (unit, count) = match lane {
            "wave" => ("samples", parts.samples),
            _ => ("readings", parts.readings),
        };
        let mut values = parts.shown(unit, count)?;
        values.insert("lane".into(), json!(lane));
        values.insert("blocks".into(), json!(parts.blocks));
        figure("size of an outbox", &values.into())?;
    }
    Ok(())
}

/// Monitors that take turns, with values that walk.
fn records(devices: usize, at_once: usize) -> anyhow::Result<Vec<Record>> {
    let mut metrics = [
        (Metric::HR, 72, 0, Unit::PER_MINUTE),
        (Metric::SPO2, 97, 0, Unit::PERCENT),
        (Metric::RR, 16, 0, Unit::PER_MINUTE),
        (Metric::PULSE_OXIM, 71, 0, Unit::PER_MINUTE),
        (Metric::TEMP, 365, -1, Unit::CELSIUS),
    ];
    let mut seed = 1_u64;
    let mut records = Vec::new();
    for number in 0..READINGS / at_once {
        let device = DeviceId::new(&format!("heping-monitor-{:02}", number % devices))?;
        let mut readings = Vec::new();
        for (metric, mantissa, exponent, unit) in metrics.iter_mut().take(at_once) {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            *mantissa += i64::try_from((seed >> 40) % 3)? - 1;
            let start = if *exponent == 0 { 60 } else { 365 };
            *mantissa = (*mantissa).clamp(start - 10, start + 40);
            let value = Decimal::new(*mantissa, *exponent).context("a value")?;
            readings.push(Reading::number(*metric, value, unit.clone()));
        }
        let at = WallTime::from_unix_ms(
            1_795_306_500_000 + i64::try_from(number * at_once * 1000 / RATE)?,
        );
        let observed = Observed { at, quality: ClockQuality::Synchronised };
        records.push(Record::Readings(ReadingGroup::new(device, observed, readings)));
    }
    Ok(records)
}

/// Rows as the agent's outbox writes them.
fn written(records: &[Record]) -> anyhow::Result<Vec<Vec<u8>>> {
    let mut envelopes = Vec::new();
    let mut open: Option<Builder> = None;
    let mut finish = |envelope: Builder| {
        let seq = u64::try_from(envelopes.len() + 1).ok().and_then(Seq::new).context("a seq")?;
        envelopes.push(envelope.finish(OutboxId::from_bytes([7; 16]), Lane::Trend, seq));
        anyhow::Ok(())
    };
    for record in records {
        let Record::Readings(group) = record else { continue };
        let now = group.observed.at;
        let fits = open.as_mut().is_some_and(|envelope| {
            now.unix_ms() - envelope.opened_at().unix_ms() < GROUP_MS
                && envelope.push(record, TREND_LEN_MAX)
        });
        if !fits {
            open.take().map_or(Ok(()), &mut finish)?;
            open.insert(Builder::new(now, None)).push(record, TREND_LEN_MAX);
        }
    }
    open.take().map_or(Ok(()), &mut finish)?;
    Ok(envelopes)
}

impl Parts {
    fn take(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        let envelope: Value = ciborium::from_reader(bytes).context("reading an envelope")?;
        let mut rest = bytes.len();
        for (key, value) in envelope.as_map().context("no map")? {
            match key.as_text() {
                Some("d") => rest -= self.add("device_names", len(value)?),
                Some("m") => rest -= self.add("metric_names", len(value)?),
                Some("r") => {
                    for record in value.as_array().context("records")? {
                        rest -= len(record)?;
                        self.record(record)?;
                    }
                }
                _ => {}
            }
        }
        self.add("head", rest);
        self.envelopes += 1;
        self.bytes += bytes.len();
        Ok(())
    }

    fn record(&mut self, record: &Value) -> anyhow::Result<()> {
        let whole = len(record)?;
        let positions = record.as_array().context("a record")?;
        let kind = positions.first().and_then(Value::as_integer).context("a kind")?;
        match i128::from(kind) {
            1 => {
                let readings = positions.get(10).and_then(Value::as_array).context("readings")?;
                self.readings += readings.len();
                self.add("groups_of_their_own", whole);
            }
            2 | 10 => {
                let coded = positions.iter().find_map(Value::as_bytes).context("samples")?;
                self.samples += uplink_proto::samples::decode(coded).context("samples")?.len();
                self.blocks += 1;
                self.add("samples", coded.len());
                self.add("block_heads", whole - coded.len());
            }
            9 => {
                let bytes = positions.get(1).and_then(Value::as_bytes).context("a series")?;
                self.add("series_heads", whole - bytes.len());
                Series { rest: bytes, shapes: Vec::new() }.take_apart(self)?;
            }
            _ => drop(self.add("other_records", whole)),
        }
        Ok(())
    }

    fn add(&mut self, name: &'static str, len: usize) -> usize {
        *self.by_name.entry(name).or_default() += len;
        len
    }

    fn shown(
        &self,
        unit: &str,
        count: usize,
    ) -> anyhow::Result<serde_json::Map<String, serde_json::Value>> {
        let each = |bytes: usize| -> anyhow::Result<f64> {
            let count = f64::from(u32::try_from(count.max(1))?);
            Ok(rounded(f64::from(u32::try_from(bytes)?) / count, 3))
        };
        let sum: usize = self.by_name.values().sum();
        ensure!(sum == self.bytes, "{sum} bytes in parts of {}", self.bytes);
        let mut parts = serde_json::Map::new();
        for (name, bytes) in &self.by_name {
            parts.insert((*name).to_owned(), json!(each(*bytes)?));
        }
        let values = json!({
            "envelopes": self.envelopes, "bytes": self.bytes, (unit): count,
            "bytes_each": each(self.bytes)?, "of_them": parts,
        });
        values.as_object().cloned().context("a figure")
    }
}

fn len(value: &Value) -> anyhow::Result<usize> {
    let mut bytes = Vec::new();
    ciborium::into_writer(value, &mut bytes)?;
    Ok(bytes.len())
}

/// The bytes of a series, read a second time.
struct Series<'a> {
    rest: &'a [u8],
    /// Of each shape: numbers between the time and the readings, and readings.
    shapes: Vec<(usize, usize)>,
}

impl Series<'_> {
    fn take_apart(mut self, parts: &mut Parts) -> anyhow::Result<()> {
        while !self.rest.is_empty() {
            let start = self.rest.len();
            let place = usize::try_from(self.number()?)?;
            if place == self.shapes.len() {
                let shape = self.shape()?;
                self.shapes.push(shape);
            }
            let &(stamps, readings) = self.shapes.get(place).context("a shape")?;
            let shaped = self.rest.len();
            for _ in 0..=stamps {
                self.number()?;
            }
            let timed = self.rest.len();
            for _ in 0..readings {
                let before = self.rest.len();
                let name = self.reading()?;
                parts.add(name, before - self.rest.len());
            }
            parts.add("shapes", start - shaped);
            parts.add("times", shaped - timed);
            parts.readings += readings;
        }
        Ok(())
    }

    fn shape(&mut self) -> anyhow::Result<(usize, usize)> {
        self.number()?;
        self.text()?;
        let bits = self.number()?;
        // Zone, compound metric.
        for bit in [8, 32] {
            if bits & bit != 0 {
                self.number()?;
            }
        }
        for _ in 0..2 * self.number()? {
            self.text()?;
        }
        let readings = self.number()?;
        for _ in 0..readings {
            self.number()?;
        }
        let stamps = usize::from(bits & 12 != 0) + usize::from(bits & 16 != 0);
        Ok((stamps, usize::try_from(readings)?))
    }

    /// What it is part of.
    fn reading(&mut self) -> anyhow::Result<&'static str> {
        let first = self.number()?;
        if first & 1 == 0 {
            return Ok("values_near_the_last");
        }
        if first == 1 {
            return Ok("texts_and_no_data");
        }
        if first >> 5 == 2 {
            self.text()?;
        }
        match first >> 1 & 3 {
            1 => {
                self.number()?;
                self.number()?;
                return Ok("values_with_all_digits");
            }
            2 => self.text()?,
            _ => {
                if self.number()? & 1 == 1 {
                    self.text()?;
                }
            }
        }
        Ok("texts_and_no_data")
    }

    fn text(&mut self) -> anyhow::Result<()> {
        if self.number()? == 0 {
            let len = usize::try_from(self.number()?)?;
            self.rest = self.rest.get(len..).context("a text")?;
        }
        Ok(())
    }

    fn number(&mut self) -> anyhow::Result<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.rest.split_first().context("a number")?;
            self.rest = rest;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                break;
            }
        }
        Ok(number)
    }
}
