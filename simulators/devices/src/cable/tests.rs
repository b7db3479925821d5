//! A device that says a number every 100 ms, on a cable of which everything goes wrong.

use super::*;
use crate::{EcgSource, Patient, StageClock};

struct Counter {
    is_text: bool,
    said: u64,
    heard: Vec<u8>,
    out: Vec<u8>,
    notes: Notebook,
    jumps: usize,
}

/// Eight bytes with a checksum, or a line.
fn frame(number: u64, is_text: bool) -> Vec<u8> {
    if is_text {
        return format!("v={number:04}\n").into_bytes();
    }
    let digits = &number.to_be_bytes()[3..];
    let check = digits.iter().fold(0xA5, |check, byte| check ^ byte);
    [b"fr", digits, &[check]].concat()
}

impl VirtualDevice for Counter {
    fn receive(&mut self, _: SimTime, bytes: &[u8]) {
        self.heard.extend(bytes);
    }

    fn advance(&mut self, now: SimTime) {
        while self.said < now.millis() / 100 {
            self.said += 1;
            self.out.extend(frame(self.said, self.is_text));
            let number = Ok(self.said.to_string());
            self.notes.value(SimTime::from_millis(self.said * 100), "hr", "", "/min", number);
        }
    }

    fn next_due(&self) -> Option<SimTime> {
        Some(SimTime::from_millis((self.said + 1) * 100))
    }

    fn take_output(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.out)
    }

    fn take_truth(&mut self) -> Vec<Truth> {
        self.notes.take()
    }

    fn switch_off(&mut self, _: SimTime) {}

    fn jump_clock(&mut self, _: SimTime, _: ClockJump) -> bool {
        self.jumps += 1;
        true
    }
}

fn setup() -> Setup {
    Setup {
        device: "dev-01".into(),
        seed: 0,
        clock: StageClock { wall_start_ms: 0, utc_offset_s: 0 },
        patient: Patient::new(
            0,
            Scenario { repeat_s: 1_000, ..Scenario::default() },
            EcgSource::Synthetic,
        ),
    }
}

fn cable(name: &str, plan: Option<FaultPlan>) -> Cable {
    let is_text = name == "json-lines";
    let notes = Notebook::new("dev-01", setup().clock);
    let counter = Counter { is_text, said: 0, heard: vec![], out: vec![], notes, jumps: 0 };
    Cable::new(Box::new(counter), name, &setup(), plan)
}

fn plan(seed: u64) -> Option<FaultPlan> {
    Some(FaultPlan { seed, every_ms: 3_000, until: Some(SimTime::from_millis(380_000)) })
}

/// What comes out in so many seconds, driven as a stage drives it.
fn play(cable: &mut Cable, seconds: u64) -> (Vec<u8>, Vec<Truth>) {
    let (mut bytes, mut facts) = (Vec::new(), Vec::new());
    let mut now = cable.now;
    while let Some(due) = cable.next_due().filter(|due| due.0 <= seconds * 1_000_000) {
        assert!(due > now, "time stands still at {now:?}");
        now = due;
        cable.advance(now);
        bytes.extend(cable.take_output());
        facts.extend(cable.take_truth());
    }
    (bytes, facts)
}

fn number(fact: &Truth) -> Option<u64> {
    fact.value.as_ref().map(|value| value.parse().unwrap())
}

#[test]
fn every_fault_happens_in_every_round_and_is_a_line_of_the_truth() {
    for seed in 0..8 {
        let (_, facts) = play(&mut cable("tm2655", plan(seed)), 400);
        let count =
            |fault: Fault| facts.iter().filter(|fact| fact.fault == Some(fault.name())).count();
        let counts = Fault::ALL.map(count);
        let (most, least) = (counts.iter().max().unwrap(), counts.iter().min().unwrap());
        assert!(*least >= 5 && most - least <= 1, "seed {seed}: {counts:?}");
        let of_bytes = facts.iter().filter(|fact| fact.bytes.is_some());
        assert!(of_bytes.clone().all(|fact| fact.metric.is_none() && fact.bytes > Some(0)));
    }
}

#[test]
fn what_is_not_marked_comes_out_whole_and_in_order() {
    for seed in 0..32 {
        let (bytes, facts) = play(&mut cable("tm2655", plan(seed)), 400);
        let spared: Vec<u64> =
            facts.iter().filter(|fact| fact.faulted.is_none()).filter_map(number).collect();
        assert!(spared.len() > 400, "seed {seed}: nearly everything may be hidden");
        let mut rest = bytes.as_slice();
        for number in spared {
            let frame = frame(number, false);
            let at = rest.windows(frame.len()).position(|there| there == frame);
            let at = at.unwrap_or_else(|| panic!("seed {seed}: {number} is not there"));
            rest = &rest[at + frame.len()..];
        }
    }
}

#[test]
fn what_is_said_twice_may_be_heard_twice_and_is_true_as_often() {
    for seed in 0..32 {
        let (bytes, facts) = play(&mut cable("tm2655", plan(seed)), 400);
        let mut left: BTreeMap<Vec<u8>, usize> = BTreeMap::new();
        for number in facts.iter().filter_map(number) {
            *left.entry(frame(number, false)).or_default() += 1;
        }
        let mut heard = bytes.windows(8).filter(|there| there.starts_with(b"fr"));
        let too_often = heard.find(|there| {
            left.get_mut(*there)
                .is_some_and(|left| left.checked_sub(1).map(|less| *left = less).is_none())
        });
        assert_eq!(too_often, None, "seed {seed}");
    }
}

#[test]
fn a_line_of_text_that_was_hit_is_no_other_line() {
    for seed in 0..32 {
        let (bytes, facts) = play(&mut cable("json-lines", plan(seed)), 400);
        let said: Vec<u64> = facts.iter().filter_map(number).collect();
        let mut from = 0;
        for line in bytes.split(|byte| *byte == b'\n') {
            let Some(digits) = line.strip_prefix(b"v=").filter(|digits| digits.len() == 4) else {
                continue;
            };
            let Ok(number) = String::from_utf8_lossy(digits).parse::<u64>() else { continue };
            let at = said[from..].iter().position(|said| *said == number);
            from += 1 + at.unwrap_or_else(|| panic!("seed {seed}: nobody said {number} there"));
        }
        assert!(from > 1_000, "seed {seed}: {from} lines can be read");
    }
}

#[test]
fn a_cable_without_faults_changes_nothing() {
    let (bytes, facts) = play(&mut cable("tm2655", None), 10);
    let all: Vec<u8> = (1..=100).flat_map(|number| frame(number, false)).collect();
    assert_eq!(bytes, all);
    assert!(facts.len() == 100 && facts.iter().all(|fact| fact.faulted.is_none()));
}

#[test]
fn the_same_seed_has_the_same_faults() {
    let [one, same, other] = [3, 3, 4].map(|seed| play(&mut cable("tm2655", plan(seed)), 100));
    assert_eq!(one, same);
    assert_ne!(one.0, other.0);
}

#[test]
fn a_story_may_pull_the_cable_and_the_last_word_is_heard() {
    let mut cable = cable("tm2655", None);
    cable.unplugged = vec![(5, 10)];
    let (_, before) = play(&mut cable, 5);
    assert!(!cable.is_unplugged() && before.iter().all(|fact| fact.faulted.is_none()));
    cable.receive(SimTime::from_millis(5_050), b"last word");
    play(&mut cable, 6);
    assert!(cable.is_unplugged());
    cable.receive(SimTime::from_millis(6_050), b"too late");
    let (bytes, facts) = play(&mut cable, 10);
    assert!(!cable.is_unplugged() && (1..6).contains(&bytes.len()), "noise: {bytes:?}");
    let unplug = facts.iter().find(|fact| fact.fault.is_some()).unwrap();
    // Frames of 100 ms from 5.1 s to 10 s, and the host's word that came too late.
    assert_eq!((unplug.fault, unplug.ms), (Some("unplug"), Some(5_000)));
    assert_eq!(unplug.bytes, Some(50 * 8 + 8));
    let (_, later) = play(&mut cable, 40);
    let spared = later.iter().position(|fact| fact.faulted.is_none()).unwrap();
    assert_eq!(later[spared].t, "1970-01-01T00:00:22.000Z");
}
