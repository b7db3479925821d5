//! What devices said against what the agent has, and what a kill explains.

use super::outbox_watch::Commits;
use crate::{Proof, envelopes_in};
use anyhow::Context as _;
use model::{
    reading::{Comparator, Reading, ReadingGroup, Value},
    record::Record,
    time::{DeviceTime, WallTime},
};
use serde_json::json;
use simulators::{
    stage::bluez::{Bluez, Said},
    verify::unix_ms,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};
use uplink_proto::envelope::Envelope;
use virtual_devices::{
    SimTime,
    gatt::{Uuid, faults::AirFault},
};

/// Blood Pressure Measurement: deleted when it is confirmed.
const RESULT: Uuid = Uuid::short(0x2A35);

/// What was said, and to whom.
pub(super) struct Heard {
    pub(super) said: Vec<Said>,
    /// Programs that listened, by name on the bus, with when they were killed.
    pub(super) killed: BTreeMap<String, SimTime>,
}

impl Heard {
    /// What the stage has said so far, with the kills there were. bluetoothd hears of a kill a
    /// little later, and confirms until then.
    pub(super) async fn of(stage: &Bluez, kills: &[SimTime]) -> anyhow::Result<Self> {
        let mut killed = BTreeMap::new();
        for (name, noticed) in stage.gone().await? {
            let kill = kills.iter().rev().find(|kill| **kill <= noticed);
            killed.extend(kill.map(|kill| (name, *kill)));
        }
        let said = stage.said().await?;
        // Who was killed while bluetoothd was away itself: by the first kill since it was heard of.
        for one in &said {
            let Some(name) = &one.listener else { continue };
            let kill = kills.iter().find(|kill| **kill >= one.at);
            if let (Some(kill), false) = (kill, killed.contains_key(name)) {
                killed.insert(name.clone(), *kill);
            }
        }
        Ok(Self { said, killed })
    }

    /// Results of cuffs that were confirmed.
    fn results(&self) -> Vec<&Said> {
        self.said.iter().filter(|one| one.uuid == RESULT && one.is_confirmed).collect()
    }
}

/// A result that was confirmed and is not on the disk.
#[derive(Clone, Debug)]
pub struct Gone {
    /// What it was.
    pub key: String,
    /// Milliseconds from its confirmation to the kill that came next; below 0 if the kill was first
    /// and bluetoothd did not know yet.
    pub before_kill_ms: f64,
}

/// Milliseconds, sorted out.
#[derive(Clone, Copy, Debug, Default)]
pub struct Spread {
    /// How many.
    pub count: usize,
    /// Half were faster.
    pub p50: f64,
    /// One in a hundred was slower.
    pub p99: f64,
    /// None was slower.
    pub max: f64,
}

/// The comparison.
#[derive(Clone, Debug, Default)]
pub struct Account {
    /// Links there were.
    pub links: u64,
    /// How often the agent was killed.
    pub kills: usize,
    /// Faults that happened, by name.
    pub faults: BTreeMap<String, usize>,
    /// Readings that devices handed over.
    pub emitted: usize,
    /// Indications of results that were confirmed, and deleted for that.
    pub confirmed: usize,
    /// Readings on the agent's disk.
    pub stored: usize,
    /// Results of cuffs that are nowhere, with the kill that may explain it.
    pub gone: Vec<Gone>,
    /// Readings of devices that keep theirs, or without any kill: these are lost.
    pub lost: Vec<String>,
    /// Readings on the disk more often than they were said.
    pub doubled: Vec<String>,
    /// Readings on the disk that nobody said.
    pub altered: Vec<String>,
    /// From bluetoothd's confirmation to the agent's commit.
    pub to_commit: Spread,
    /// Between agent and county.
    pub county: Proof,
}

/// A reading of the truth: its key, and the device.
struct Spoken {
    key: String,
    device: String,
    metric: String,
}

impl Account {
    /// Compares; `devices` are ids and addresses.
    pub(super) fn of(
        truth: &Path,
        outbox: &Path,
        heard: &Heard,
        devices: &[(String, String)],
    ) -> anyhow::Result<Self> {
        let (spoken, faults) = read_truth(truth)?;
        let stored = read_outbox(outbox)?;
        let results = heard.results();
        let mut account = Self {
            kills: heard.killed.len(),
            faults,
            emitted: spoken.len(),
            confirmed: results.len(),
            stored: stored.values().sum(),
            ..Self::default()
        };
        let confirmed = confirmations(&spoken, &results, devices);
        let mut told: BTreeMap<&str, usize> = BTreeMap::new();
        for one in &spoken {
            *told.entry(&one.key).or_default() += 1;
            if stored.contains_key(&one.key) {
                continue;
            }
            let result = confirmed.get(one.key.as_str());
            match result.and_then(|result| before_kill_ms(result, &heard.killed)) {
                Some(before_kill_ms) => {
                    account.gone.push(Gone { key: one.key.clone(), before_kill_ms });
                }
                None => account.lost.push(one.key.clone()),
            }
        }
        for (key, count) in &stored {
            match told.get(key.as_str()) {
                None => account.altered.push(key.clone()),
                Some(said) if count > said => account.doubled.push(key.clone()),
                Some(_) => {}
            }
        }
        Ok(account)
    }

    /// Whether everything of the catalogue has happened.
    pub(super) fn has_all_faults(truth: &Path) -> anyhow::Result<bool> {
        let (_, faults) = read_truth(truth)?;
        Ok(AirFault::ALL.into_iter().all(|fault| faults.contains_key(fault.name())))
    }

    /// What was confirmed so long before a kill may be gone: twice what the slowest commit of this run
    /// took, and 100 ms for a commit that the kill kept from being the slowest.
    #[must_use]
    pub fn window_ms(&self) -> f64 {
        2.0 * self.to_commit.max + 100.0
    }

    /// Results that are gone although nothing explains it.
    #[must_use]
    pub fn unexplained(&self) -> Vec<&Gone> {
        self.gone.iter().filter(|gone| gone.before_kill_ms > self.window_ms()).collect()
    }

    /// The figures, for whoever runs it.
    #[must_use]
    pub fn shown(&self) -> serde_json::Value {
        let results = self.gone.iter().filter(|gone| gone.key.contains("nibp_sys"));
        let mut before: Vec<f64> = results.map(|gone| gone.before_kill_ms).collect();
        before.sort_by(f64::total_cmp);
        let after_kill = before.iter().filter(|ms| **ms < 0.0).count();
        let spread = self.to_commit;
        json!({
            "links": self.links,
            "kills": self.kills,
            "faults": self.faults,
            "emitted": self.emitted,
            "results_confirmed": self.confirmed,
            "stored": self.stored,
            "lost": self.lost.len(),
            "doubled": self.doubled.len(),
            "altered": self.altered.len(),
            "results_confirmed_and_gone": before.len(),
            "of_them_after_the_kill": after_kill,
            "their_ms_before_the_kill": {
                "first": rounded(before.last().copied()),
                "last": rounded(before.first().copied()),
            },
            "confirmation_to_commit_ms": {
                "count": spread.count,
                "p50": spread.p50,
                "p99": spread.p99,
                "max": spread.max,
            },
            "envelopes_proven_at_county": self.county.envelopes,
        })
    }
}

/// The confirmed result in which each reading of a cuff was: its results come in one order on both sides.
fn confirmations<'a>(
    spoken: &'a [Spoken],
    results: &[&'a Said],
    devices: &[(String, String)],
) -> BTreeMap<&'a str, &'a Said> {
    let mut at = BTreeMap::new();
    for (id, address) in devices {
        let mut confirmed = results.iter().copied().filter(|one| one.address == *address);
        let mut newest = None;
        for one in spoken.iter().filter(|one| one.device == *id) {
            // The first part of each result.
            if one.metric == "nibp_sys" {
                newest = confirmed.next();
            }
            at.extend(newest.map(|result| (one.key.as_str(), result)));
        }
    }
    at
}

/// From a confirmation to the kill of the only one who heard it.
fn before_kill_ms(result: &Said, killed: &BTreeMap<String, SimTime>) -> Option<f64> {
    let kill = killed.get(result.listener.as_ref()?)?;
    Some((micros(*kill) - micros(result.at)) / super::SPEED / 1000.0)
}

/// In tenths.
fn rounded(ms: Option<f64>) -> f64 {
    ms.map_or(0.0, |ms| (ms * 10.0).round() / 10.0)
}

fn micros(at: SimTime) -> f64 {
    std::time::Duration::from_micros(at.0).as_secs_f64() * 1e6
}

/// From the confirmation of each result to its commit.
pub(super) fn to_commit(
    truth: &Path,
    heard: &Heard,
    commits: &Commits,
    devices: &[(String, String)],
) -> anyhow::Result<Spread> {
    let (spoken, _) = read_truth(truth)?;
    let results = heard.results();
    let confirmed = confirmations(&spoken, &results, devices);
    let systolic: BTreeSet<&str> =
        spoken.iter().filter(|one| one.metric == "nibp_sys").map(|one| one.key.as_str()).collect();
    let mut took: Vec<f64> = Vec::new();
    for (key, at) in commits.iter().filter(|(key, _)| systolic.contains(key.as_str())) {
        let Some(result) = confirmed.get(key.as_str()) else { continue };
        // A result whose first confirmation was lost is on the disk before it is confirmed.
        let ms = (micros(*at) - micros(result.at)) / super::SPEED / 1000.0;
        took.push(ms.max(0.0));
    }
    took.sort_by(f64::total_cmp);
    let at = |percent: usize| {
        let place = took.len().saturating_sub(1) * percent / 100;
        rounded(took.get(place).copied())
    };
    Ok(Spread { count: took.len(), p50: at(50), p99: at(99), max: at(100) })
}

fn read_truth(path: &Path) -> anyhow::Result<(Vec<Spoken>, BTreeMap<String, usize>)> {
    let (mut spoken, mut faults) = (Vec::new(), BTreeMap::new());
    for line in fs::read_to_string(path).context("reading the truth")?.lines() {
        let fact: serde_json::Value = serde_json::from_str(line).context("a truth line")?;
        let text = |name: &str| fact.get(name).and_then(serde_json::Value::as_str);
        if let Some(fault) = text("fault") {
            *faults.entry(fault.to_owned()).or_default() += 1;
        }
        let (Some(metric), Some(device), Some(time)) =
            (text("metric"), text("device"), text("device_time"))
        else {
            continue;
        };
        let device_seq = fact.get("device_seq").and_then(serde_json::Value::as_u64);
        let value = text("value").map(|value| (value, text("unit"), text("comparator")));
        let key = key(device, metric, Some(unix_ms(time)?), device_seq, value, text("no_data"));
        spoken.push(Spoken { key, device: device.to_owned(), metric: metric.to_owned() });
    }
    Ok((spoken, faults))
}

/// Readings with a time of their device, by key, with how often they are there.
fn read_outbox(path: &Path) -> anyhow::Result<BTreeMap<String, usize>> {
    let mut stored = BTreeMap::new();
    for bytes in envelopes_in(path)? {
        for key in readings_of(&bytes)? {
            *stored.entry(key).or_default() += 1;
        }
    }
    Ok(stored)
}

/// Keys of the readings of an envelope.
pub(super) fn readings_of(bytes: &[u8]) -> anyhow::Result<Vec<String>> {
    let envelope = Envelope::decode(bytes)?.envelope;
    let groups = envelope.records.iter().filter_map(|record| match record {
        Record::Readings(group) if group.device_time.is_some() => Some(group),
        _ => None,
    });
    Ok(groups.flat_map(|group| group.readings.iter().map(|one| stored_key(group, one))).collect())
}

fn stored_key(group: &ReadingGroup, reading: &Reading) -> String {
    let time = group.device_time.and_then(DeviceTime::utc).map(WallTime::unix_ms);
    let number;
    let (value, comparator) = match &reading.value {
        Ok(Value::Number { number: value, comparator }) => {
            number = value.to_string();
            (Some(number.as_str()), *comparator)
        }
        Ok(Value::Text(text)) => (Some(text.as_str()), Comparator::Equal),
        Err(_) => (None, Comparator::Equal),
    };
    let comparator = match comparator {
        Comparator::Equal => None,
        Comparator::Below => Some("<"),
        Comparator::Above => Some(">"),
    };
    let unit = reading.unit.as_ref().map(model::units::Unit::as_str);
    let value = value.map(|value| (value, unit, comparator));
    let reason = reading.value.as_ref().err().map(ToString::to_string);
    let reason = reason.as_deref().and_then(|text| text.split(':').next());
    key(group.device.as_str(), reading.metric.name(), time, group.device_seq, value, reason)
}

fn key(
    device: &str,
    metric: &str,
    device_ms: Option<i64>,
    device_seq: Option<u64>,
    value: Option<(&str, Option<&str>, Option<&str>)>,
    no_data: Option<&str>,
) -> String {
    json!([device, metric, device_ms, device_seq, value, no_data]).to_string()
}
