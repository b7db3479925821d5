//! The source in sessions with an agent that acknowledges, and with one that does not.

use super::*;
use crate::{EcgSource, Patient, Scenario, StageClock};
use proptest::{collection::vec, prelude::*};
use std::collections::{BTreeMap, BTreeSet};

fn source(seed: u64, change: impl FnOnce(&mut Scenario)) -> Source {
    let mut scenario = Scenario::built_in("clinic-day").unwrap();
    change(&mut scenario);
    Source::new(Setup {
        device: "home-01".into(),
        seed,
        clock: StageClock { wall_start_ms: 1_795_335_300_000, utc_offset_s: 28_800 },
        patient: Patient::new(1, scenario, EcgSource::Synthetic),
    })
}

/// An agent with `acknowledge = true`.
struct Agent {
    source: Source,
    now: SimTime,
    /// Whether it has the port open.
    is_there: bool,
    read: u64,
    unread: Vec<u8>,
    /// Lines it has on its disk, with how often.
    stored: BTreeMap<String, u64>,
}

impl Agent {
    fn new(seed: u64, change: impl FnOnce(&mut Scenario)) -> Self {
        let source = source(seed, change);
        let unread = Vec::new();
        Self { source, now: SimTime(0), is_there: false, read: 0, unread, stored: BTreeMap::new() }
    }

    fn answer(&mut self, text: &str) {
        self.source.receive(self.now, format!("{text}\n").as_bytes());
    }

    /// Opens the port; what waits there is read afterwards, or was lost.
    fn open(&mut self, keeps: bool) {
        (self.is_there, self.read) = (true, 0);
        if !keeps {
            self.unread.clear();
        }
        self.answer(r#"{"ack":0}"#);
    }

    fn pass(&mut self, ms: u64) {
        let end = self.now.plus_millis(ms);
        while self.now < end {
            self.now = end.min(self.now.plus_millis(20));
            self.source.advance(self.now);
            self.unread.extend(self.source.take_output());
            if self.is_there {
                self.read_all();
            }
        }
    }

    fn read_all(&mut self) {
        let before = self.read;
        while let Some(end) = self.unread.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.unread.drain(..=end).collect();
            let text = String::from_utf8_lossy(&line).trim_end().to_owned();
            if text == r#"{"hello":1}"# {
                self.read = 0;
                self.answer(r#"{"ack":0}"#);
                continue;
            }
            self.read += 1;
            *self.stored.entry(text).or_default() += 1;
        }
        if self.read > before {
            self.answer(&format!(r#"{{"ack":{}}}"#, self.read));
        }
    }

    /// How often a line with these words was stored.
    fn count(&self, words: &str) -> u64 {
        let lines = self.stored.iter().filter(|(line, _)| line.contains(words));
        lines.map(|(_, times)| times).sum()
    }
}

fn metric(truth: &[Truth], metric: &str) -> usize {
    truth.iter().filter(|fact| fact.metric == Some(metric)).count()
}

/// Everything a source says alone in so many seconds.
fn alone(source: &mut Source, seconds: u64) -> (Vec<u8>, Vec<Truth>) {
    let (mut heard, mut truth) = (Vec::new(), Vec::new());
    while let Some(due) = source.next_due().filter(|due| due.0 <= seconds * 1_000_000) {
        source.advance(due);
        heard.extend(source.take_output());
        truth.extend(source.take_truth());
    }
    (heard, truth)
}

#[test]
fn a_source_that_nobody_answers_talks_alone() {
    let mut source = source(0, |_| {});
    let (heard, truth) = alone(&mut source, 181);
    let heard = String::from_utf8(heard).unwrap();
    let (greeting, rest) = heard.split_at(GREETING.len());
    assert_eq!(greeting.as_bytes(), GREETING);
    for line in rest.lines() {
        let object: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(object.is_object() && line.len() <= 16_384, "{line}");
    }
    assert_eq!(metric(&truth, "hr"), 180);
    assert_eq!(metric(&truth, "spo2"), 180);
    assert_eq!(metric(&truth, "ecg_wave_ii"), 180);
    assert_eq!(metric(&truth, "temp"), 36);
    assert_eq!(metric(&truth, "nibp_mean"), 1);
    assert_eq!(metric(&truth, "glu_cap_pl"), 2);
    let alarms = truth.iter().filter(|fact| fact.alarm.is_some()).count();
    assert_eq!(alarms, 6, "leads off, a rhythm and an occlusion begin and end");
    assert_eq!(truth.iter().filter(|fact| fact.no_data == Some("lead_off")).count(), 15);
}

#[test]
fn what_is_counted_is_truth_when_it_is_acknowledged() {
    let mut agent = Agent::new(0, |_| {});
    agent.open(true);
    agent.pass(20_500);
    let truth = agent.source.take_truth();
    assert_eq!(u64::try_from(metric(&truth, "hr")).unwrap(), agent.count(r#""metric":"hr""#));
    assert!(metric(&truth, "hr") >= 18, "{truth:?}");
    agent.is_there = false;
    agent.pass(5_000);
    assert_eq!(agent.source.take_truth(), []);
    let unread = String::from_utf8_lossy(&agent.unread).into_owned();
    assert_eq!(unread, "\n", "it asks whether anybody is there, and says nothing more");
}

#[test]
fn results_that_were_not_acknowledged_come_again_after_the_port_came_back() {
    for keeps in [true, false] {
        let mut agent = Agent::new(0, |_| {});
        agent.open(true);
        agent.pass(62_500);
        agent.is_there = false;
        // A cuff result at 70 s, after 8 s without an answer; an occlusion since 50 s.
        agent.pass(8_000);
        assert!(String::from_utf8_lossy(&agent.unread).contains("nibp_sys"));
        agent.open(keeps);
        agent.pass(8_000);
        let truth = agent.source.take_truth();
        assert_eq!((metric(&truth, "nibp_sys"), metric(&truth, "glu_cap_pl")), (1, 1));
        assert_eq!(agent.count("nibp_sys"), if keeps { 2 } else { 1 });
        assert_eq!(agent.count(r#""alarm":"196940""#), 2, "said again to a new listener");
        assert_eq!(u64::try_from(metric(&truth, "hr")).unwrap(), agent.count(r#""metric":"hr""#));
        let starts = truth.iter().filter(|fact| fact.phase == Some("start")).count();
        assert_eq!(starts, 1);
    }
}

#[test]
fn an_alarm_that_is_up_is_said_again_to_a_new_listener() {
    let mut agent = Agent::new(0, |_| {});
    agent.open(true);
    agent.pass(60_000);
    assert_eq!(agent.count(r#""alarm":"196940""#), 1);
    agent.open(true);
    agent.pass(5_000);
    assert_eq!(agent.count(r#""alarm":"196940""#), 2);
    agent.pass(30_000);
    assert_eq!(agent.count(r#""alarm":"196940","phase":"end""#), 1);
    let truth = agent.source.take_truth();
    let occlusion = truth.iter().filter(|fact| fact.alarm.as_deref() == Some("196940"));
    assert_eq!(occlusion.count(), 2);
}

#[test]
fn an_agent_that_comes_late_gets_the_results_of_before() {
    let mut agent = Agent::new(0, |_| {});
    agent.pass(75_000);
    assert_eq!(metric(&agent.source.take_truth(), "nibp_sys"), 1);
    agent.open(false);
    agent.pass(5_000);
    assert_eq!((agent.count("nibp_sys"), agent.count("glu_cap_pl")), (1, 1));
    assert_eq!(metric(&agent.source.take_truth(), "nibp_sys"), 0, "it was said before");
}

#[test]
fn a_lost_answer_does_not_silence_the_source() {
    let mut agent = Agent::new(0, |_| {});
    agent.open(true);
    agent.pass(10_000);
    agent.is_there = false;
    agent.pass(1_500);
    agent.unread.clear();
    agent.is_there = true;
    agent.pass(20_000);
    let mut truth = agent.source.take_truth();
    // Of what it will not say again it does not know whether it was heard.
    truth.retain(|fact| fact.faulted.is_none());
    assert!(metric(&truth, "hr") >= 15, "{}", metric(&truth, "hr"));
    assert_eq!(u64::try_from(metric(&truth, "hr")).unwrap(), agent.count(r#""metric":"hr""#));
}

#[test]
fn what_is_on_the_wire_when_the_power_goes_is_said() {
    let mut agent = Agent::new(0, |_| {});
    agent.open(true);
    agent.pass(65_500);
    agent.is_there = false;
    agent.pass(8_000);
    agent.source.switch_off(agent.now);
    let truth = agent.source.take_truth();
    assert_eq!(metric(&truth, "nibp_sys"), 1);
    assert_eq!(agent.source.next_due(), None);
}

#[test]
fn rude_sources_do_what_the_document_refuses() {
    let (mut heard, mut truth) = (Vec::new(), Vec::new());
    for seed in (0..40).filter(|seed| seed % 4 > 1) {
        let (bytes, facts) = alone(&mut source(seed, |_| {}), 360);
        assert!(facts.iter().all(|fact| fact.metric != Some("heart_rate")));
        heard.extend(bytes);
        truth.extend(facts);
    }
    let heard = String::from_utf8_lossy(&heard).into_owned();
    for mistake in report::MISTAKES.into_iter().filter(|mistake| mistake.is_ascii()) {
        assert!(heard.contains(std::str::from_utf8(mistake).unwrap()));
    }
    assert!(heard.starts_with("lue\":") || heard.contains("\nlue\":"), "a line is cut off");
    let reasons: BTreeSet<_> = truth.iter().filter_map(|fact| fact.no_data).collect();
    let expected = ["device_error", "lead_off", "motion", "not_available", "rejected"];
    assert_eq!(reasons, expected.into());
    let units: BTreeSet<_> = truth.iter().filter_map(|fact| fact.unit).collect();
    assert!(["kPa", "[degF]", "mmol/L"].iter().all(|unit| units.contains(unit)), "{units:?}");
    assert!(truth.iter().any(|fact| fact.device_seq.is_some() && fact.device_time.is_none()));
    assert!(truth.iter().any(|fact| fact.device_seq.is_none() && fact.device_time.is_some()));
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    assert_eq!(alone(&mut source(7, |_| {}), 60), alone(&mut source(7, |_| {}), 60));
    assert_ne!(alone(&mut source(7, |_| {}), 60).0, alone(&mut source(6, |_| {}), 60).0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever a host sends, nothing panics and nothing grows without end.
    #[test]
    fn no_bytes_of_a_host_upset_the_source(
        parts in vec((0_u64..12, vec(any::<u8>(), 0..300), 0_u64..4_000), 0..40),
        seed in 0_u64..8,
    ) {
        let mut agent = Agent::new(seed, |_| {});
        for (number, noise, ms) in parts {
            match number {
                0..8 => agent.answer(&format!(r#"{{"ack":{number}}}"#)),
                8 => agent.answer(r#"{"refused":3,"error":"no"}"#),
                _ => agent.source.receive(agent.now, &noise),
            }
            agent.pass(ms);
            prop_assert!(agent.source.input.len() <= INPUT_MAX);
            prop_assert!(agent.source.kept.len() <= KEPT_MAX);
            prop_assert!(agent.source.streams.len() < 100);
            prop_assert!(agent.source.next_due().is_none_or(|due| due > agent.now));
        }
    }

    /// However often the port goes and comes, every result is stored, and is truth once.
    #[test]
    fn every_result_arrives(
        pauses in vec((500_u64..20_000, 500_u64..20_000, any::<bool>()), 1..8),
        seed in 0_u64..8,
    ) {
        let mut agent = Agent::new(seed, |_| {});
        for (there, gone, keeps) in pauses {
            agent.open(keeps);
            agent.pass(there);
            agent.is_there = false;
            agent.pass(gone);
        }
        agent.open(true);
        agent.pass(20_000);
        let results = |fact: &Truth| matches!(fact.metric, Some("nibp_sys" | "glu_cap_pl"));
        let truth = agent.source.take_truth();
        let said = truth.iter().filter(|fact| results(fact)).count();
        // Each has a stamp of its own, so that a line stands for one; a line without its beginning
        // is none.
        let whole = agent.stored.keys().filter(|line| line.starts_with('{'));
        let stored = whole
            .filter(|line| line.contains("\"nibp_sys\"") || line.contains("\"glu_cap_pl\""))
            .filter(|line| line.contains("\"seq\":") || line.contains("device_time"));
        prop_assert_eq!(said, stored.count());
    }
}
