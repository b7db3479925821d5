//! Devices at one bed, each with a host that says what a real one said: they agree, and the same
//! seeds are the same bytes.

use crate::{
    EcgSource, NAMES, Patient, Scenario, Setup, SimTime, StageClock, Truth, VirtualDevice, create,
    patient::BEAT_SPAN,
};
use aws_lc_rs::digest::{Context, SHA256};
use std::{collections::BTreeMap, fmt::Write as _, fs, path::Path};

/// 2026-11-22 16:15 in China.
const CLOCK: StageClock = StageClock { wall_start_ms: 1_795_335_300_000, utc_offset_s: 28_800 };
const PATIENT: u64 = 42;
const PLAYED_S: u64 = 600;
/// A host waits so long before it says more.
const PAUSE_US: u64 = 100_000;

/// What a host says again and again: its part of the recording, and how long that is.
struct Host {
    said: Vec<(u64, Vec<u8>)>,
    length_us: u64,
}

impl Host {
    fn of(name: &str) -> Self {
        let path = format!("../../tests/traces/{name}.trace");
        let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap();
        let (mut said, mut length_us): (Vec<(u64, Vec<u8>)>, u64) = (Vec::new(), 0);
        for line in text.split("\n--\n").nth(1).unwrap().lines() {
            let (time, event) = line.split_once(' ').unwrap();
            length_us = length_us.max(time.replace('.', "").parse().unwrap());
            if let Some(hex) = event.strip_prefix("> ") {
                let bytes = hex.split(' ').map(|byte| u8::from_str_radix(byte, 16).unwrap());
                said.push((length_us, bytes.collect()));
                // Recorded with an answer at once, which not every device gives.
                length_us += PAUSE_US;
            }
        }
        Self { said, length_us }
    }

    /// Everything it says, in order.
    fn all(&self) -> impl Iterator<Item = (u64, &[u8])> {
        // Some devices talk by themselves.
        let rounds = if self.said.is_empty() { 0..0 } else { 0..u64::MAX };
        rounds.flat_map(move |round| {
            let begin_us = round * self.length_us;
            self.said.iter().map(move |(at_us, bytes)| (begin_us + at_us, bytes.as_slice()))
        })
    }
}

/// Plays the device for that long: every chunk of bytes at its time, and what it said.
fn play(
    name: &str,
    seed: u64,
    patient: &Patient,
    seconds: u64,
) -> (Vec<(u64, Vec<u8>)>, Vec<Truth>) {
    let setup = Setup { device: name.to_owned(), seed, clock: CLOCK, patient: patient.clone() };
    let mut device: Box<dyn VirtualDevice> = create(name, setup).unwrap();
    let (host, end_us) = (Host::of(name), seconds * 1_000_000);
    let mut said = host.all().peekable();
    let (mut heard, mut truth) = (Vec::new(), Vec::new());
    let mut now_us = 0;
    while now_us < end_us {
        let due_us = device.next_due().map_or(end_us, |due| due.0.max(now_us));
        let spoken_us = said.peek().map_or(end_us, |(at_us, _)| *at_us);
        now_us = due_us.min(spoken_us).min(end_us);
        device.advance(SimTime(now_us));
        while let Some((_, bytes)) = said.next_if(|(at_us, _)| *at_us <= now_us) {
            device.receive(SimTime(now_us), bytes);
        }
        let bytes = device.take_output();
        if !bytes.is_empty() {
            heard.push((now_us, bytes));
        }
        truth.extend(device.take_truth());
    }
    (heard, truth)
}

fn patient(story: &str, ecg: EcgSource) -> Patient {
    Patient::new(PATIENT, Scenario::built_in(story).unwrap(), ecg)
}

/// Values of the metric, by the second in which they were taken.
fn values(truth: &[Truth], metric: &str) -> BTreeMap<u64, u8> {
    let facts = truth.iter().filter(|fact| fact.metric == Some(metric));
    let values = facts.filter_map(|fact| {
        let time: jiff::Timestamp = fact.device_time.as_ref().unwrap_or(&fact.t).parse().unwrap();
        let ms = time.as_millisecond() - CLOCK.wall_start_ms;
        Some((u64::try_from(ms / 1000).ok()?, fact.value.as_ref()?.parse().ok()?))
    });
    values.collect()
}

/// Monitors show the heart rate of that second, a finger's pulse is no further away than a beat
/// varies, and a cuff counts what the monitor counts.
#[test]
fn devices_of_one_patient_agree() {
    for story in ["occluded-vasopressor", "af-onset"] {
        // Numbers are compared here, and no curves.
        let patient = patient(story, EcgSource::Recording);
        let mut rates: Vec<BTreeMap<u64, u8>> = Vec::new();
        for (seed, name) in [(3, "pm6750"), (4, "intellivue"), (5, "json-lines")] {
            let (_, truth) = play(name, seed, &patient, 900);
            let rate = values(&truth, "hr");
            assert!(rate.len() > 300, "{name}: {}", rate.len());
            for (second, hr) in &rate {
                assert_eq!(*hr, patient.heart_rate(*second), "{name} at {second} of {story}");
            }
            for (second, pulse) in values(&truth, "pulse_oxim") {
                let told = patient.vitals(second).hr;
                assert!((told..=told + BEAT_SPAN).contains(&pulse), "{name} at {second}");
            }
            for (second, spo2) in values(&truth, "spo2") {
                assert!(spo2.abs_diff(patient.vitals(second).spo2) <= 1, "{name} at {second}");
            }
            rates.push(rate);
        }
        let [pm6750, _, lines] = &rates[..] else { panic!("three were played") };
        assert!(pm6750.iter().filter(|(second, _)| lines.contains_key(second)).count() > 300);
        for cuff in &patient.scenario.monitor_cuff {
            assert_eq!(cuff.pulse, patient.heart_rate(cuff.at_s));
        }
    }
}

/// A pump that is blocked says so when the pressure is about to fall.
#[test]
fn the_pump_of_the_occluded_vasopressor_alarms() {
    let (_, truth) =
        play("asena", 0, &patient("occluded-vasopressor", EcgSource::Recording), 1_000);
    let alarms: Vec<_> = truth.iter().filter(|fact| fact.alarm.is_some()).collect();
    let [start, end] = alarms[..] else { panic!("{alarms:?}") };
    assert_eq!((start.alarm.as_deref(), start.phase), (Some("AL_OCCLU"), Some("start")));
    assert_eq!((end.alarm.as_deref(), end.phase), (Some("AL_OCCLU"), Some("end")));
    let drugs = truth.iter().filter(|fact| fact.metric == Some("pump_drug"));
    assert!(drugs.count() > 100);
}

/// Ten minutes of every device; `UPDATE_GOLDEN=1` rewrites what they must be.
#[test]
fn the_same_seeds_are_the_same_bytes_on_every_machine() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/bytes.txt");
    let mut hashes = String::new();
    for (name, _) in NAMES {
        let (heard, _) = play(name, 2, &patient("busy-ward", EcgSource::Synthetic), PLAYED_S);
        let mut context = Context::new(&SHA256);
        for (at_us, bytes) in &heard {
            context.update(&at_us.to_le_bytes());
            context.update(bytes);
        }
        let bytes: usize = heard.iter().map(|(_, bytes)| bytes.len()).sum();
        let hash = context.finish();
        let hash: String = hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        writeln!(hashes, "{name:<10} {bytes:>8} bytes, sha256 {hash}").unwrap();
    }
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, &hashes).unwrap();
    }
    assert_eq!(hashes, fs::read_to_string(&path).unwrap());
}
