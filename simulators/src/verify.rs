//! Compares what virtual devices emitted with what the county has: lost, doubled, altered.
//!
//! Not here: how either side works. The truth is a file of JSON lines, the county is its API.
//!
//! Readings of one device, channel and metric are compared in their order, waveform blocks by the
//! SHA-256 of their samples. What the edge itself adds (`silent`, a meter's clock offset) has no
//! truth and is left out; a copy that the county has marked is no doubling.

use crate::client::{ApiReading, Client};
use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    fs::File,
    io::{BufRead as _, BufReader},
    path::PathBuf,
};

/// How far two series may run apart before the rest is called lost and doubled.
const LOOK_AHEAD: usize = 64;
/// Readings without a device behind them.
const EDGE_METRICS: [&str; 1] = ["clock_offset"];
/// Truth and county may disagree by this much on when a block began.
const BLOCK_MARGIN: jiff::SignedDuration = jiff::SignedDuration::from_secs(3600);

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
    sha256: Option<String>,
    forbidden: Option<String>,
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
    /// Envelopes missing below the highest that arrived.
    pub gaps: usize,
    /// Alerts the county has raised.
    pub alerts_raised: usize,
    /// From the device's byte to the event on the board; absent where nobody listened.
    pub latency_ms: Option<Latency>,
    /// Waveform blocks among `emitted`.
    #[serde(skip)]
    pub emitted_blocks: usize,
    /// Commands for therapy, inflation, deletion or calibration that reached a device.
    #[serde(skip)]
    pub forbidden: Vec<String>,
    /// The first differences, for a person.
    #[serde(skip)]
    pub differences: Vec<String>,
    /// When each stored reading was emitted, by the reading's key.
    #[serde(skip)]
    pub emitted_at: BTreeMap<String, String>,
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
    /// Whether the county has exactly what the devices said, and nobody was sent a forbidden command.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.lost == 0 && self.doubled == 0 && self.altered == 0 && self.forbidden.is_empty()
    }

    fn differ(&mut self, text: impl FnOnce() -> String) {
        const SHOWN: usize = 20;
        if self.differences.len() < SHOWN {
            self.differences.push(text());
        }
    }
}

/// What readings of one series are compared by.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Said {
    value: Option<String>,
    comparator: Option<String>,
    unit: Option<String>,
    no_data: Option<String>,
    device_time: Option<jiff::Timestamp>,
}

type Series = (String, String, String);

/// Compares the truth files with the county.
///
/// # Errors
/// When a file cannot be read or the county does not answer.
pub async fn compare(truth: &[PathBuf], county: &Client) -> anyhow::Result<Report> {
    let mut report = Report::default();
    let mut said: BTreeMap<Series, Vec<(Said, String)>> = BTreeMap::new();
    let mut blocks: BTreeMap<Series, Vec<(String, String)>> = BTreeMap::new();
    for fact in read_truth(truth)? {
        report.forbidden.extend(fact.forbidden.clone());
        let Some(metric) = fact.metric.clone() else { continue };
        let series = (fact.device.clone(), fact.channel.clone(), metric);
        report.emitted += 1;
        match &fact.sha256 {
            Some(hash) => blocks.entry(series).or_default().push((hash.clone(), fact.t.clone())),
            None => said.entry(series).or_default().push((fact.said()?, fact.t.clone())),
        }
    }
    let mut stored: BTreeMap<Series, Vec<(Said, ApiReading)>> = BTreeMap::new();
    for reading in county.readings().await? {
        let edge = EDGE_METRICS.contains(&reading.metric.as_str())
            || reading.no_data.as_deref() == Some("silent");
        if !edge && reading.duplicate_of.is_none() {
            let series = (reading.device.clone(), reading.channel.clone(), reading.metric.clone());
            stored.entry(series).or_default().push((Said::of(&reading)?, reading));
        }
    }
    compare_readings(&mut report, &said, &stored);
    compare_blocks(&mut report, &blocks, county).await?;
    report.gaps = county.ledger().await?.iter().map(|lane| lane.gaps.len()).sum();
    report.alerts_raised = county.alerts().await?.len();
    Ok(report)
}

fn compare_readings(
    report: &mut Report,
    said: &BTreeMap<Series, Vec<(Said, String)>>,
    stored: &BTreeMap<Series, Vec<(Said, ApiReading)>>,
) {
    let nothing = Vec::new();
    for (series, facts) in said {
        let readings = stored.get(series).unwrap_or(&nothing);
        report.stored += readings.len();
        let steps = align(facts, readings, |fact, reading| fact.0 == reading.0);
        for step in steps {
            match step {
                Step::Same(fact, reading) => {
                    report.emitted_at.insert(reading.1.key(), fact.1.clone());
                }
                Step::Altered(fact, reading) => {
                    report.altered += 1;
                    report
                        .differ(|| format!("altered {series:?}: {fact:?} became {:?}", reading.0));
                }
                Step::OnlyLeft(fact) => {
                    report.lost += 1;
                    report.differ(|| format!("lost {series:?}: {fact:?}"));
                }
                Step::OnlyRight(reading) => {
                    report.doubled += 1;
                    report.differ(|| format!("doubled {series:?}: {:?}", reading.0));
                }
            }
        }
    }
    for (series, readings) in stored.iter().filter(|(series, _)| !said.contains_key(*series)) {
        report.stored += readings.len();
        report.altered += readings.len();
        report.differ(|| format!("{} readings of {series:?} that nobody emitted", readings.len()));
    }
}

async fn compare_blocks(
    report: &mut Report,
    emitted: &BTreeMap<Series, Vec<(String, String)>>,
    county: &Client,
) -> anyhow::Result<()> {
    for (series, facts) in emitted {
        let (device, _, metric) = series;
        let moment = |fact: Option<&(String, String)>| {
            fact.map(|(_, t)| t.parse::<jiff::Timestamp>())
                .transpose()
                .context("a truth line's time")
        };
        let (Some(first), Some(last)) = (moment(facts.first())?, moment(facts.last())?) else {
            continue;
        };
        let (from, to) = (first - BLOCK_MARGIN, last + BLOCK_MARGIN);
        let blocks = county.blocks(device, metric, &from.to_string(), &to.to_string()).await?;
        let stored: Vec<String> = blocks.iter().map(|block| sha256(&block.samples)).collect();
        report.emitted_blocks += facts.len();
        report.stored += stored.len();
        for step in align(facts, &stored, |fact, hash| fact.0 == *hash) {
            match step {
                Step::Same(..) => {}
                Step::Altered(fact, _) => {
                    report.altered += 1;
                    report.differ(|| format!("altered block of {series:?} at {}", fact.1));
                }
                Step::OnlyLeft(fact) => {
                    report.lost += 1;
                    report.differ(|| format!("lost block of {series:?} at {}", fact.1));
                }
                Step::OnlyRight(hash) => {
                    report.doubled += 1;
                    report.differ(|| format!("doubled block of {series:?}: {hash}"));
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
        })
    }
}

fn moment(text: Option<&str>) -> anyhow::Result<Option<jiff::Timestamp>> {
    text.map(|text| text.parse().with_context(|| format!("{text:?} is no time"))).transpose()
}

/// SHA-256 of samples as little-endian 32-bit integers, in hex.
pub(crate) fn sha256(samples: &[i32]) -> String {
    let mut context = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
    for sample in samples {
        context.update(&sample.to_le_bytes());
    }
    context.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// One step of walking two series side by side.
enum Step<'a, L, R> {
    Same(&'a L, &'a R),
    Altered(&'a L, &'a R),
    OnlyLeft(&'a L),
    OnlyRight(&'a R),
}

/// Walks two series in order. Where they differ, the nearest place where they agree again decides
/// what was left out on either side; what both sides have in between was altered.
fn align<'a, L, R>(
    left: &'a [L],
    right: &'a [R],
    same: impl Fn(&L, &R) -> bool,
) -> Vec<Step<'a, L, R>> {
    let mut steps = Vec::with_capacity(left.len());
    let (mut left, mut right) = (left, right);
    loop {
        match (left.split_first(), right.split_first()) {
            (None, None) => return steps,
            (Some((fact, rest)), None) => {
                steps.push(Step::OnlyLeft(fact));
                left = rest;
            }
            (None, Some((stored, rest))) => {
                steps.push(Step::OnlyRight(stored));
                right = rest;
            }
            (Some((fact, rest)), Some((stored, others))) if same(fact, stored) => {
                steps.push(Step::Same(fact, stored));
                (left, right) = (rest, others);
            }
            (Some(_), Some(_)) => {
                let (skip_left, skip_right) = nearest_agreement(left, right, &same);
                let (passed_left, rest) = left.split_at(skip_left);
                let (passed_right, others) = right.split_at(skip_right);
                let both = skip_left.min(skip_right);
                let pairs = passed_left.iter().zip(passed_right);
                steps.extend(pairs.map(|(fact, stored)| Step::Altered(fact, stored)));
                steps.extend(passed_left.iter().skip(both).map(Step::OnlyLeft));
                steps.extend(passed_right.iter().skip(both).map(Step::OnlyRight));
                (left, right) = (rest, others);
            }
        }
    }
}

/// How much to skip on either side until they agree, as little as possible in all.
fn nearest_agreement<L, R>(
    left: &[L],
    right: &[R],
    same: impl Fn(&L, &R) -> bool,
) -> (usize, usize) {
    for distance in 1..=LOOK_AHEAD {
        for skip_left in 0..=distance {
            let skip_right = distance - skip_left;
            if let (Some(fact), Some(stored)) = (left.get(skip_left), right.get(skip_right))
                && same(fact, stored)
            {
                return (skip_left, skip_right);
            }
        }
    }
    (left.len().min(LOOK_AHEAD), right.len().min(LOOK_AHEAD))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(left: &[u32], right: &[u32]) -> (usize, usize, usize, usize) {
        let mut counts = (0, 0, 0, 0);
        for step in align(left, right, |one, other| one == other) {
            match step {
                Step::Same(..) => counts.0 += 1,
                Step::Altered(..) => counts.1 += 1,
                Step::OnlyLeft(_) => counts.2 += 1,
                Step::OnlyRight(_) => counts.3 += 1,
            }
        }
        counts
    }

    #[test]
    fn equal_series_have_no_difference() {
        assert_eq!(count(&[1, 2, 2, 3], &[1, 2, 2, 3]), (4, 0, 0, 0));
    }

    #[test]
    fn a_missing_reading_is_lost() {
        assert_eq!(count(&[1, 2, 3, 4], &[1, 3, 4]), (3, 0, 1, 0));
        assert_eq!(count(&[1, 2], &[]), (0, 0, 2, 0));
        assert_eq!(count(&[5, 5, 5], &[5, 5]), (2, 0, 1, 0));
    }

    #[test]
    fn a_reading_stored_twice_is_doubled() {
        assert_eq!(count(&[1, 2, 3], &[1, 2, 2, 3]), (3, 0, 0, 1));
    }

    #[test]
    fn another_value_in_its_place_is_altered() {
        assert_eq!(count(&[1, 2, 3], &[1, 9, 3]), (2, 1, 0, 0));
        assert_eq!(count(&[1], &[2]), (0, 1, 0, 0));
    }

    #[test]
    fn samples_are_hashed_as_little_endian_integers() {
        // printf '\x01\x00\x00\x00\xff\xff\xff\xff' | sha256sum
        assert_eq!(
            sha256(&[1, -1]),
            "b15348c8f462384c01e83b6d499c6faf3f96808f5aa07c6bab4b65b36b4445d4"
        );
    }
}
