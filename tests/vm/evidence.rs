//! What a machine left: the devices' log of what was confirmed, and the agent's outbox.

use crate::machine::Ended;
use anyhow::{Context as _, ensure};
use e2e::envelopes_in;
use jiff::{Timestamp, tz::TimeZone};
use model::{
    reading::{Occurrence, ReadingGroup, Value},
    record::Record,
};
use serde::Deserialize;
use serde_json::json;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    time::Duration,
};
use uplink_proto::envelope::Envelope;

/// In these phases nobody has asked bluetoothd for what it has confirmed: no agent runs, or one ends
/// again and again, or bluetoothd has just begun, and tells no program of a device's services before
/// the device is there.
const UNATTENDED: [&str; 3] =
    ["no agent", "the agent ends again and again", "first visit to a bluetoothd that restarted"];

/// A line of the devices' log.
#[derive(Debug, Deserialize)]
struct Line {
    at_ns: u64,
    phase: String,
    what: String,
    #[serde(default)]
    device: String,
    /// Time, number if it has one, and values of a reading.
    #[serde(default)]
    said: String,
}

/// How many readings of one device were stored then.
#[derive(Debug, Deserialize)]
struct Commit {
    at_ns: u64,
    device: String,
    count: usize,
}

/// A reading: its device and what it said.
type Said = (String, String);

/// What one phase of a story brought.
#[derive(Debug, Default)]
struct Phase {
    connections: usize,
    confirmed: usize,
    /// Confirmed and not stored, and how long before the nearest end of the agent, in ms; below 0
    /// after it.
    lost: Vec<(Said, Option<f64>)>,
}

/// What one boot brought.
#[derive(Debug)]
pub(crate) struct Account {
    took: Duration,
    phases: BTreeMap<String, Phase>,
    stored: usize,
    /// How often the agent ended.
    ends: usize,
    doubled: Vec<Said>,
    /// Stored, and never confirmed to a device.
    unconfirmed: Vec<Said>,
    /// From the confirmation of a cuff's reading, as the cuff saw it, to the commit, in ms.
    commits_ms: Vec<f64>,
}

/// Compares both sides.
pub(crate) fn account(ended: &Ended) -> anyhow::Result<Account> {
    let folder = ended.folder.path();
    let lines: Vec<Line> = read_lines(&folder.join("out/devices.jsonl"))?;
    let commits: Vec<Commit> = read_lines(&folder.join("out/commits.jsonl"))?;
    let stored = stored(&folder.join("site/data/outbox.sqlite"))?;
    let ends = lines.iter().filter(|line| line.what == "agent ends").map(|line| line.at_ns);
    let ends: Vec<u64> = ends.collect();

    let mut phases: BTreeMap<String, Phase> = BTreeMap::new();
    let mut confirmed = BTreeSet::new();
    for line in &lines {
        let phase = phases.entry(line.phase.clone()).or_default();
        match line.what.as_str() {
            "connected" => phase.connections += 1,
            "confirmed" => {
                let said = (line.device.clone(), line.said.clone());
                phase.confirmed += 1;
                if !stored.contains_key(&said) {
                    let nearest = ends.iter().min_by_key(|end| end.abs_diff(line.at_ns));
                    let before = nearest.map(|end| ms_between(line.at_ns, *end));
                    phase.lost.push((said.clone(), before));
                }
                ensure!(confirmed.insert(said), "a device said {:?} twice", line.said);
            }
            _ => {}
        }
    }
    // A count of readings tells which they are only where none is missing.
    let is_whole = phases.values().all(|phase| phase.lost.is_empty());
    let commits_ms = if is_whole { commit_times(&lines, &commits) } else { Vec::new() };
    Ok(Account {
        took: ended.took,
        phases,
        stored: stored.values().sum(),
        ends: ends.len(),
        doubled: stored.iter().filter(|(_, n)| **n > 1).map(|(said, _)| said.clone()).collect(),
        unconfirmed: stored.keys().filter(|said| !confirmed.contains(said)).cloned().collect(),
        commits_ms,
    })
}

impl Account {
    /// One line for whoever reads figures.
    pub(crate) fn shown(&self, story: &str, boot: u32) -> serde_json::Value {
        let phases = self.phases.iter().map(|(name, phase)| {
            let lost: Vec<_> = phase.lost.iter().map(|(_, before)| before).collect();
            let shown = json!({
                "connections": phase.connections,
                "confirmed": phase.confirmed,
                "lost": lost.len(),
                "lost_ms_before_end": lost,
            });
            (name.clone(), shown)
        });
        json!({
            "story": story,
            "boot": boot,
            "seconds": self.took.as_secs(),
            "stored": self.stored,
            "ends": self.ends,
            "doubled": self.doubled.len(),
            "unconfirmed": self.unconfirmed.len(),
            "phases": phases.collect::<BTreeMap<_, _>>(),
            "commit_after_confirmation_ms": {
                "count": self.commits_ms.len(),
                "p50": self.commits_ms.get(self.commits_ms.len() / 2),
                "max": self.commits_ms.last(),
            },
        })
    }

    /// Whether all is as it must be.
    pub(crate) fn judge(&self) -> anyhow::Result<()> {
        for (name, phase) in &self.phases {
            let may_lose = UNATTENDED.contains(&name.as_str());
            ensure!(may_lose || phase.lost.is_empty(), "{name}: lost {:?}", phase.lost);
        }
        ensure!(self.doubled.is_empty(), "stored twice: {:?}", self.doubled);
        ensure!(self.unconfirmed.is_empty(), "never confirmed: {:?}", self.unconfirmed);
        let confirmed: usize = self.phases.values().map(|phase| phase.confirmed).sum();
        ensure!(confirmed > 0, "no device was ever there");
        Ok(())
    }
}

/// Every spot reading in the outbox, and how often it is there.
fn stored(outbox: &Path) -> anyhow::Result<BTreeMap<Said, usize>> {
    let mut stored = BTreeMap::new();
    for bytes in envelopes_in(outbox)? {
        for record in Envelope::decode(&bytes)?.envelope.records {
            if let Record::Readings(group) = record
                && group.occurrence == Occurrence::Spot
            {
                let said = (group.device.to_string(), said(&group)?);
                *stored.entry(said).or_default() += 1;
            }
        }
    }
    Ok(stored)
}

/// A reading in the words of the devices' log.
fn said(group: &ReadingGroup) -> anyhow::Result<String> {
    let time = group.device_time.context("a reading without a time")?.civil_ms();
    let time = Timestamp::from_millisecond(time)?.to_zoned(TimeZone::UTC).datetime();
    let values = group.readings.iter().map(|reading| match &reading.value {
        Ok(Value::Number { number, .. }) => number.to_string(),
        other => format!("{other:?}"),
    });
    let number = group.device_seq.map(|number| number.to_string());
    let words: Vec<_> = [time.to_string()].into_iter().chain(number).chain(values).collect();
    Ok(words.join(" "))
}

/// From each confirmation of a cuff's reading to the first commit that has as many of its readings.
fn commit_times(lines: &[Line], commits: &[Commit]) -> Vec<f64> {
    let mut times = Vec::new();
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    // A meter's records are confirmed all at once, at their end.
    for line in lines.iter().filter(|line| line.what == "confirmed" && line.device != "meter") {
        let count = counts.entry(&line.device).or_default();
        *count += 1;
        let holds = |commit: &&Commit| commit.device == line.device && commit.count >= *count;
        times.extend(commits.iter().find(holds).map(|commit| ms_between(line.at_ns, commit.at_ns)));
    }
    times.sort_by(f64::total_cmp);
    times
}

fn ms_between(from_ns: u64, to_ns: u64) -> f64 {
    let apart = Duration::from_nanos(from_ns.abs_diff(to_ns)).as_secs_f64() * 1000.0;
    let tenths = (apart * 10.0).round() / 10.0;
    if to_ns < from_ns { -tenths } else { tenths }
}

fn read_lines<T: for<'a> Deserialize<'a>>(path: &Path) -> anyhow::Result<Vec<T>> {
    let text = fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    text.lines().map(|line| serde_json::from_str(line).context("a line of a log")).collect()
}
