//! Compares what virtual devices emitted with what the county has: lost, doubled, altered.
//!
//! Not here: how either side works. The truth is a file of JSON lines, the county is its API.
//!
//! Readings of one device, channel and metric are compared in their order, waveform blocks by the
//! SHA-256 of their samples. What the edge itself adds (`silent`, a meter's clock offset) has no
//! truth and is left out; a copy that the county has marked is no doubling. Of a county that has
//! more than this, only the devices of the truth are looked at, from its first line on.
//!
//! What a fault of the catalogue has hit, the truth says with it: that may be stored or not, once
//! for each time it was said, and never as something else. What no fault has hit must be stored.
//!
//! Device alarms are not compared: the API tells alerts, and which alarm becomes one is for the
//! rules to decide. The story of a clinic's day compares them with the county's database.

mod align;
pub mod hits;

use crate::client::{ApiBlock, ApiReading, Client, LedgerLane};
use align::{Step, align};
use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io::{BufRead as _, BufReader},
    path::PathBuf,
};

/// Readings without a device behind them.
const EDGE_METRICS: [&str; 1] = ["clock_offset"];
/// Truth and county may disagree by this much on when the first thing was said.
const CLOCK_MARGIN: jiff::SignedDuration = jiff::SignedDuration::from_secs(60);

/// One truth line; unknown fields are other kinds of facts.
#[derive(Clone, Debug, Deserialize)]
struct Fact {
    t: String,
    device: String,
    metric: Option<String>,
    #[serde(default)]
    channel: String,
    value: Option<String>,
    comparator: Option<String>,
    unit: Option<String>,
    no_data: Option<String>,
    device_time: Option<String>,
    device_seq: Option<u64>,
    sha256: Option<String>,
    forbidden: Option<String>,
    #[serde(default)]
    wave: Vec<i32>,
    faulted: Option<String>,
    fault: Option<String>,
}

/// What the comparison found.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// Readings and waveform blocks that virtual devices emitted.
    pub emitted: usize,
    /// Readings and waveform blocks that the county has.
    pub stored: usize,
    /// Emitted and not stored.
    pub lost: usize,
    /// Stored twice and not marked.
    pub doubled: usize,
    /// Stored with another value, unit or time.
    pub altered: usize,
    /// Envelopes missing below the highest that arrived, in the outboxes of these readings.
    pub gaps: u64,
    /// Alerts the county has raised about these devices.
    pub alerts_raised: usize,
    /// Of those emitted: a fault may have hidden them.
    pub faulted: usize,
    /// Of those, readings that are stored all the same.
    pub faulted_stored: usize,
    /// Faults that happened, by kind.
    pub faults: BTreeMap<String, usize>,
    /// From the device's byte to the event on the board; absent where nobody listened.
    pub latency_ms: Option<Latency>,
    /// Envelopes the agent gave up.
    #[serde(skip)]
    pub dropped: u64,
    /// Envelopes the county could not take.
    #[serde(skip)]
    pub quarantined: u64,
    /// Waveform blocks among `emitted`.
    #[serde(skip)]
    pub emitted_blocks: usize,
    /// Commands for therapy, inflation, deletion or calibration that reached a device.
    #[serde(skip)]
    pub forbidden: Vec<String>,
    /// The first differences, for a person.
    #[serde(skip)]
    pub differences: Vec<String>,
    /// What differs of each device, if anything does.
    #[serde(skip)]
    pub devices: BTreeMap<String, Differences>,
    /// When each stored reading was emitted, by the reading's key.
    #[serde(skip)]
    pub emitted_at: BTreeMap<String, String>,
}

/// What differs of one device.
#[derive(Clone, Debug, Default)]
pub struct Differences {
    /// Emitted and not stored.
    pub lost: usize,
    /// Stored twice and not marked.
    pub doubled: usize,
    /// Stored with another value, unit or time.
    pub altered: usize,
    /// The first of them, for a person.
    pub first: String,
}

/// Milliseconds from the device's byte to the event on the board.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Latency {
    /// Half were faster.
    pub p50: i64,
    /// One in a hundred was slower.
    pub p99: i64,
}

impl Report {
    /// Whether the county has exactly what the devices said, no envelope is missing, given up or
    /// kept aside, and nobody was sent a forbidden command. Devices that said nothing prove nothing.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        let differences = self.lost + self.doubled + self.altered + self.forbidden.len();
        let missing = self.gaps + self.dropped + self.quarantined;
        self.emitted > 0 && differences == 0 && missing == 0
    }

    fn differ(&mut self, kind: Kind, count: usize, series: &Series, text: &str) {
        /// Of each kind: what is altered by the thousand hides nothing that is lost.
        const SHOWN: usize = 10;
        let of_device = self.devices.entry(series.0.clone()).or_default();
        let (all, of_this) = match kind {
            Kind::Lost => (&mut self.lost, &mut of_device.lost),
            Kind::Doubled => (&mut self.doubled, &mut of_device.doubled),
            Kind::Altered => (&mut self.altered, &mut of_device.altered),
        };
        *all += count;
        *of_this += count;
        let text = format!("{kind:?} {series:?}: {text}");
        let kind = format!("{kind:?} ");
        if self.differences.iter().filter(|shown| shown.starts_with(&kind)).count() < SHOWN {
            self.differences.push(text.clone());
        }
        if of_device.first.is_empty() {
            of_device.first = text;
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Lost,
    Doubled,
    Altered,
}

/// What readings of one series are compared by.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Said {
    value: Option<String>,
    comparator: Option<String>,
    unit: Option<String>,
    no_data: Option<String>,
    device_time: Option<jiff::Timestamp>,
    device_seq: Option<u64>,
}

type Series = (String, String, String);

/// A reading of the truth.
#[derive(Clone, Debug)]
struct Spoken {
    said: Said,
    t: String,
    /// A fault may have hidden it.
    is_hit: bool,
}

/// A block of the truth.
#[derive(Clone, Debug)]
struct SpokenBlock {
    hash: String,
    t: String,
    wave: Vec<i32>,
    is_hit: bool,
}

/// Compares the truth files with the county.
///
/// # Errors
/// When a file cannot be read or the county does not answer.
pub async fn compare(truth: &[PathBuf], county: &Client) -> anyhow::Result<Report> {
    let mut report = Report::default();
    let mut said: BTreeMap<Series, Vec<Spoken>> = BTreeMap::new();
    let mut blocks: BTreeMap<Series, Vec<SpokenBlock>> = BTreeMap::new();
    let mut devices: BTreeSet<String> = BTreeSet::new();
    let mut begin: Option<jiff::Timestamp> = None;
    for fact in read_truth(truth)? {
        let t = fact.t.parse().with_context(|| format!("{:?} is no time", fact.t))?;
        begin = Some(begin.map_or(t, |begin| begin.min(t)));
        devices.insert(fact.device.clone());
        report.forbidden.extend(fact.forbidden.clone());
        if let Some(fault) = fact.fault {
            *report.faults.entry(fault).or_default() += 1;
            continue;
        }
        let Some(metric) = fact.metric.clone() else { continue };
        let series = (fact.device.clone(), fact.channel.clone(), metric);
        let is_hit = fact.faulted.is_some();
        report.emitted += 1;
        report.faulted += usize::from(is_hit);
        if let Some(hash) = fact.sha256 {
            let block = SpokenBlock { hash, t: fact.t, wave: fact.wave, is_hit };
            blocks.entry(series).or_default().push(block);
        } else {
            let spoken = Spoken { said: fact.said()?, t: fact.t, is_hit };
            said.entry(series).or_default().push(spoken);
        }
    }
    let Some(begin) = begin else { return Ok(report) };
    let from = (begin - CLOCK_MARGIN).to_string();
    let mut stored: BTreeMap<Series, Vec<(Said, ApiReading)>> = BTreeMap::new();
    let mut outboxes = BTreeSet::new();
    for device in &devices {
        for reading in county.readings(device, &from).await? {
            outboxes.insert(reading.outbox.clone());
            let edge = EDGE_METRICS.contains(&reading.metric.as_str())
                || reading.no_data.as_deref() == Some("silent");
            if !edge && reading.duplicate_of.is_none() {
                let series =
                    (reading.device.clone(), reading.channel.clone(), reading.metric.clone());
                stored.entry(series).or_default().push((Said::of(&reading)?, reading));
            }
        }
    }
    compare_readings(&mut report, &said, &stored);
    compare_blocks(&mut report, &blocks, &from, county).await?;
    let ledger = county.ledger().await?;
    take_account(&mut report, ledger.iter().filter(|lane| outboxes.contains(&lane.outbox)));
    let alerts = county.alerts(&from).await?;
    let ours = |alert: &&serde_json::Value| {
        let device = alert.get("device").and_then(serde_json::Value::as_str);
        device.is_some_and(|device| devices.contains(device))
    };
    report.alerts_raised = alerts.iter().filter(ours).count();
    Ok(report)
}

/// What the ledger says of the outboxes from which the readings came.
fn take_account<'a>(report: &mut Report, lanes: impl Iterator<Item = &'a LedgerLane>) {
    let count = |ranges: &[[u64; 2]]| -> u64 {
        ranges.iter().map(|[first, last]| last.saturating_sub(*first) + 1).sum()
    };
    for lane in lanes {
        for (what, ranges, counted) in [
            ("missing", &lane.gaps, &mut report.gaps),
            ("given up", &lane.dropped, &mut report.dropped),
            ("kept aside", &lane.quarantined, &mut report.quarantined),
        ] {
            *counted += count(ranges);
            if !ranges.is_empty() {
                let (site, name) = (&lane.site, &lane.lane);
                report.differences.push(format!("{site} {name}: envelopes {ranges:?} are {what}"));
            }
        }
    }
}

fn compare_readings(
    report: &mut Report,
    said: &BTreeMap<Series, Vec<Spoken>>,
    stored: &BTreeMap<Series, Vec<(Said, ApiReading)>>,
) {
    let nothing = Vec::new();
    for (series, facts) in said {
        let readings = stored.get(series).unwrap_or(&nothing);
        report.stored += readings.len();
        if facts.iter().any(|fact| fact.is_hit) {
            compare_hit_readings(report, series, facts, readings);
            continue;
        }
        let steps = align(facts, readings, |fact, reading| fact.said.is_told_by(&reading.0));
        for step in steps {
            match step {
                Step::Same(fact, reading) => {
                    report.emitted_at.insert(reading.1.key(), fact.t.clone());
                }
                Step::Altered(fact, reading) => {
                    let text = format!("{fact:?} became {:?}", reading.0);
                    report.differ(Kind::Altered, 1, series, &text);
                }
                Step::OnlyLeft(fact) => {
                    report.differ(Kind::Lost, 1, series, &format!("{fact:?}"));
                }
                Step::OnlyRight(reading) => {
                    report.differ(Kind::Doubled, 1, series, &format!("{:?}", reading.0));
                }
            }
        }
    }
    for (series, readings) in stored.iter().filter(|(series, _)| !said.contains_key(*series)) {
        report.stored += readings.len();
        let text = format!("{} readings that nobody emitted", readings.len());
        report.differ(Kind::Altered, readings.len(), series, &text);
    }
}

fn compare_hit_readings(
    report: &mut Report,
    series: &Series,
    facts: &[Spoken],
    readings: &[(Said, ApiReading)],
) {
    // A download that broke off brings the rest later.
    let mut facts: Vec<&Spoken> = facts.iter().collect();
    facts.sort_by_key(|fact| fact.said.in_time());
    let mut readings: Vec<&(Said, ApiReading)> = readings.iter().collect();
    readings.sort_by_key(|reading| reading.0.in_time());
    // What has no stamp of its own is told from its like by when it was.
    let about = |fact: &Spoken, reading: &(Said, ApiReading)| {
        let apart = unix_ms(&fact.t).ok().zip(unix_ms(&reading.1.placed_time).ok());
        apart.is_some_and(|(said, seen)| (seen - said).abs() <= hits::ABOUT_MS)
    };
    let same = |fact: &&Spoken, reading: &&(Said, ApiReading)| {
        let is_stamped = fact.said.in_time().is_some();
        fact.said.is_told_by(&reading.0) && (is_stamped || about(fact, reading))
    };
    let judged = hits::judge(&facts, &readings, |fact| fact.is_hit, same);
    for fact in judged.lost.iter().filter_map(|place| facts.get(*place)) {
        report.differ(Kind::Lost, 1, series, &format!("{fact:?}"));
    }
    for reading in judged.invented.iter().filter_map(|place| readings.get(*place)) {
        let is_again = facts.iter().any(|fact| same(fact, reading));
        let kind = if is_again { Kind::Doubled } else { Kind::Altered };
        report.differ(kind, 1, series, &format!("{:?}", reading.0));
    }
    let spared = facts.iter().filter(|fact| !fact.is_hit).count();
    let unhidden = judged.same.len().saturating_sub(spared - judged.lost.len());
    report.faulted_stored += unhidden;
    let pairs = judged.same.iter().filter_map(|(said, is)| facts.get(*said).zip(readings.get(*is)));
    report.emitted_at.extend(pairs.map(|(fact, reading)| (reading.1.key(), fact.t.clone())));
}

fn compare_hit_blocks(
    report: &mut Report,
    series: &Series,
    facts: &[SpokenBlock],
    blocks: &[ApiBlock],
) -> anyhow::Result<()> {
    let said = facts.iter().map(|fact| {
        let (samples, is_hit) = (fact.wave.as_slice(), fact.is_hit);
        Ok(hits::Block { end_ms: unix_ms(&fact.t)?, samples, is_hit })
    });
    let said = said.collect::<anyhow::Result<Vec<_>>>()?;
    let stored = blocks.iter().map(|block| Ok((unix_ms(&block.start)?, block.samples.as_slice())));
    let judged = hits::judge_waves(&said, &stored.collect::<anyhow::Result<Vec<_>>>()?);
    for fact in judged.lost.iter().filter_map(|place| facts.get(*place)) {
        report.differ(Kind::Lost, 1, series, &format!("block at {}", fact.t));
    }
    for block in judged.invented.iter().filter_map(|place| blocks.get(*place)) {
        report.differ(Kind::Altered, 1, series, &format!("block from {}", block.start));
    }
    Ok(())
}

/// A moment as the truth and the county write it, in milliseconds since 1970.
///
/// # Errors
/// When that is no time.
pub fn unix_ms(text: &str) -> anyhow::Result<i64> {
    let moment: jiff::Timestamp = text.parse().with_context(|| format!("{text:?} is no time"))?;
    Ok(moment.as_millisecond())
}

async fn compare_blocks(
    report: &mut Report,
    emitted: &BTreeMap<Series, Vec<SpokenBlock>>,
    from: &str,
    county: &Client,
) -> anyhow::Result<()> {
    for (series, facts) in emitted {
        let (device, _, metric) = series;
        let blocks = county.blocks(device, metric, from).await?;
        report.emitted_blocks += facts.len();
        report.stored += blocks.len();
        if facts.iter().any(|fact| fact.is_hit) {
            compare_hit_blocks(report, series, facts, &blocks)?;
            continue;
        }
        let stored: Vec<String> = blocks.iter().map(|block| sha256(&block.samples)).collect();
        for step in align(facts, &stored, |fact, hash| fact.hash == *hash) {
            match step {
                Step::Same(..) => {}
                Step::Altered(fact, _) => {
                    report.differ(Kind::Altered, 1, series, &format!("block at {}", fact.t));
                }
                Step::OnlyLeft(fact) => {
                    report.differ(Kind::Lost, 1, series, &format!("block at {}", fact.t));
                }
                Step::OnlyRight(hash) => {
                    report.differ(Kind::Doubled, 1, series, &format!("block {hash}"));
                }
            }
        }
    }
    Ok(())
}

fn read_truth(files: &[PathBuf]) -> anyhow::Result<Vec<Fact>> {
    let mut facts = Vec::new();
    for path in files {
        let file = File::open(path).with_context(|| format!("opening {}", path.display()))?;
        for (number, line) in (1..).zip(BufReader::new(file).lines()) {
            let line = line.with_context(|| format!("reading {}", path.display()))?;
            let fact = serde_json::from_str(&line)
                .with_context(|| format!("{} line {number} is no truth line", path.display()))?;
            facts.push(fact);
        }
    }
    Ok(facts)
}

impl Fact {
    fn said(&self) -> anyhow::Result<Said> {
        Ok(Said {
            value: self.value.clone(),
            comparator: self.comparator.clone(),
            // A value that is absent has no unit that matters.
            unit: self.value.as_ref().and(self.unit.clone()),
            no_data: self.no_data.clone(),
            device_time: moment(self.device_time.as_deref())?,
            device_seq: self.device_seq,
        })
    }
}

impl Said {
    fn of(reading: &ApiReading) -> anyhow::Result<Self> {
        let reason = reading.no_data.as_deref();
        Ok(Self {
            value: reading.value.clone(),
            comparator: reading.comparator.clone(),
            unit: reading.value.as_ref().and(reading.unit.clone()),
            no_data: reason.map(|text| text.split(':').next().unwrap_or_default().to_owned()),
            device_time: moment(reading.device_time.as_deref())?,
            device_seq: reading.device_seq,
        })
    }

    /// Results that are stamped come in the order of their stamps.
    fn in_time(&self) -> Option<(jiff::Timestamp, Option<String>)> {
        self.device_time.map(|time| (time, self.value.clone()))
    }

    /// Whether the county tells this. A truth that names no number of the device is no judge of it.
    fn is_told_by(&self, stored: &Self) -> bool {
        let device_seq = self.device_seq.and(stored.device_seq);
        *self == Self { device_seq, ..stored.clone() }
    }
}

fn moment(text: Option<&str>) -> anyhow::Result<Option<jiff::Timestamp>> {
    text.map(|text| text.parse().with_context(|| format!("{text:?} is no time"))).transpose()
}

/// SHA-256 of samples as little-endian 32-bit integers, in hex.
#[must_use]
pub fn sha256(samples: &[i32]) -> String {
    let mut context = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
    for sample in samples {
        context.update(&sample.to_le_bytes());
    }
    context.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests;
