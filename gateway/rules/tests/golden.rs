//! Stories in `golden/`: what was said, second by second, and what became of the alerts.
//!
//! A story is a text: lines of what happens, a line `=>`, and what the rules told. `UPDATE_GOLDEN=1`
//! writes the second half anew; the difference is reviewed as code.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test stops where a story is wrong"
)]

use model::{
    alarm::{AlarmKind, AlarmPhase, DeviceAlarm},
    decimal::Decimal,
    device::{DeviceKind, DeviceState, DeviceStatus},
    id::{Channel, DeviceId, Lane, OutboxId, Seq, SiteId},
    metric::Metric,
    reading::{Comparator, Reading, ReadingGroup},
    time::{ClockQuality, Observed, WallTime},
};
use rules::{
    alert::{AckReason, Alert, AlertId},
    binding::{PatientKey, Subject},
    engine::{Engine, ReadingInput},
    freshness::{Freshness, Moment, Position},
    population::{Birth, Profile},
    rule::RuleSet,
};
use std::{collections::BTreeMap, fmt::Write as _, fs, path::Path};

const BASE_MS: i64 = 1_795_335_300_000;

fn at(seconds: i64) -> WallTime {
    WallTime::from_unix_ms(BASE_MS + seconds * 1000)
}

fn observed(seconds: i64) -> Observed {
    Observed { at: at(seconds), quality: ClockQuality::Synchronised }
}

struct Story<'r> {
    rules: &'r RuleSet,
    engine: Engine,
    told: String,
    /// Alert → entries of its timeline that were told.
    entries: BTreeMap<AlertId, usize>,
    fed: u64,
}

impl<'r> Story<'r> {
    fn new(rules: &'r RuleSet) -> Self {
        let site = SiteId::new("heping").unwrap();
        let patient = PatientKey::new("p-7").unwrap();
        let engine = Engine::new(site, Subject::Patient(patient));
        Self { rules, engine, told: String::new(), entries: BTreeMap::new(), fed: 0 }
    }

    fn line(&mut self, line: &str) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (when, words) = words.split_first().unwrap();
        let (from, to) = when.split_once("..").unwrap_or((when, when));
        for second in from.parse::<i64>().unwrap()..=to.parse().unwrap() {
            // Time passes between any two moments.
            while let Some(due) =
                self.engine.next_deadline(self.rules).filter(|due| *due <= at(second))
            {
                let changed = self.engine.on_time(self.rules, due);
                self.tell((due.unix_ms() - BASE_MS).div_euclid(1000), &changed);
            }
            let changed = self.happens(second, words);
            self.tell(second, &changed);
        }
    }

    fn happens(&mut self, second: i64, words: &[&str]) -> Vec<Alert> {
        let (rules, now) = (self.rules, at(second));
        match words {
            ["patient", rest @ ..] => self.engine.set_profile(rules, now, profile(rest)),
            ["time"] => self.engine.on_time(rules, now),
            ["acknowledge", family, by] => {
                let open = self.engine.alerts().find(|alert| alert.family == *family).unwrap();
                let id = open.id;
                let taken = self.engine.acknowledge(id, by, AckReason::AtBedside, "", now);
                vec![taken.unwrap()]
            }
            [device, "leaves", reason] => {
                let device = DeviceId::new(device).unwrap();
                self.engine.device_left(rules, now, now, &device, reason).1
            }
            [device, "alarm", kind, phase] => {
                let kind = AlarmKind::ALL.iter().copied().find(|it| it.rule_id() == *kind).unwrap();
                let phase = match *phase {
                    "start" => AlarmPhase::Start,
                    "end" => AlarmPhase::End,
                    other => panic!("{other}"),
                };
                let alarm = DeviceAlarm {
                    device: DeviceId::new(device).unwrap(),
                    channel: Channel::default(),
                    phase,
                    kind,
                    code: kind.rule_id().to_owned(),
                    text: String::new(),
                    priority: None,
                    latched: false,
                    source: None,
                    device_time: None,
                    observed: observed(second),
                };
                self.engine.on_alarm(rules, now, Moment::sure(now), &alarm)
            }
            [device, "is", kind, state] => self.status(second, device, kind, state),
            [device, readings @ ..] => {
                let device = DeviceId::new(device).unwrap();
                let readings = readings.chunks(2).map(reading).collect();
                let group = ReadingGroup::new(device, observed(second), readings);
                let t_meas = Moment::sure(now);
                let freshness = Freshness::of(&group, t_meas, now);
                let input = ReadingInput { group: &group, t_meas, freshness };
                self.engine.on_readings(rules, now, input)
            }
            [] => panic!("a moment at which nothing happens"),
        }
    }

    fn status(&mut self, second: i64, device: &str, kind: &str, state: &str) -> Vec<Alert> {
        self.fed += 1;
        let status = DeviceStatus {
            device: DeviceId::new(device).unwrap(),
            kind: DeviceKind::from_name(kind).unwrap(),
            driver: "story".into(),
            state: match state {
                "online" => DeviceState::Online,
                "silent" => DeviceState::Silent,
                other => panic!("{other}"),
            },
            reason: String::new(),
            about: BTreeMap::new(),
            expected_interval_ms: None,
            observed: observed(second),
        };
        let position = Position {
            outbox: OutboxId::from_bytes([1; 16]),
            lane: Lane::Urgent,
            seq: Seq::new(self.fed).unwrap(),
            index: 0,
        };
        let said = Moment::sure(at(second));
        self.engine.on_status(self.rules, at(second), said, position, &status).unwrap()
    }

    fn tell(&mut self, second: i64, changed: &[Alert]) {
        for alert in changed {
            let limit = alert.limit.as_deref().unwrap_or("-");
            let before = self.entries.insert(alert.id, alert.timeline.len()).unwrap_or_default();
            let new = alert.timeline.iter().skip(before).map(|entry| entry.what.name());
            let what = Vec::from_iter(new).join(", ");
            let what = if what.is_empty() { "goes on" } else { &what };
            let (comparator, value) =
                (alert.comparator.as_deref().unwrap_or(""), alert.value.as_deref().unwrap_or("-"));
            let metric = alert.metric.map_or("-", Metric::name);
            writeln!(
                self.told,
                "{second} {what}: {} {} {} {} {} [{}] {metric} {comparator}{value} ({limit}) {} / {}",
                alert.family,
                alert.id,
                alert.device,
                alert.priority.name(),
                alert.state.name(),
                alert.rules.join(" "),
                alert.message_zh,
                alert.message_en,
            )
            .unwrap();
        }
    }
}

/// `<metric> <value>`, the value with `<` or `>` for a meter's LO and HI.
fn reading(words: &[&str]) -> Reading {
    let metric = Metric::from_name(words[0]).unwrap();
    let unit = metric.row().canonical_unit.clone().unwrap();
    let comparator = match words[1].chars().next() {
        Some('<') => Comparator::Below,
        Some('>') => Comparator::Above,
        _ => Comparator::Equal,
    };
    let number: Decimal = words[1].trim_start_matches(['<', '>']).parse().unwrap();
    Reading::new(metric, number, comparator, unit)
}

/// `aged <months>`, `pregnant`, `scale2`, `monitored`.
fn profile(words: &[&str]) -> Profile {
    let ever = Some(at(1_000_000));
    let mut profile = Profile::default();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        match *word {
            "aged" => {
                let months = words.next().unwrap().parse().unwrap();
                profile.birth = Birth::of_age(months, at(0));
            }
            "pregnant" => profile.pregnant_until = ever,
            "scale2" => profile.scale2_until = ever,
            "monitored" => profile.monitored = true,
            other => panic!("{other}"),
        }
    }
    profile
}

#[test]
fn stories_go_as_they_are_written() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden");
    let text = include_str!("../../../configs/rules/default.json");
    let rules = RuleSet::from_json(text).unwrap();
    let mut stories: Vec<_> =
        fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    stories.sort();
    assert!(stories.len() >= 10, "{stories:?}");
    let mut wrong = Vec::new();
    for path in stories {
        let text = fs::read_to_string(&path).unwrap();
        let (said, expected) = text.split_once("=>\n").unwrap();
        let mut story = Story::new(&rules);
        let lines = said.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        lines.for_each(|line| story.line(line));
        if story.told != expected {
            if std::env::var_os("UPDATE_GOLDEN").is_some() {
                fs::write(&path, format!("{said}=>\n{}", story.told)).unwrap();
            } else {
                wrong.push(format!("{}:\n{}", path.display(), story.told));
            }
        }
    }
    assert!(wrong.is_empty(), "UPDATE_GOLDEN=1 writes them anew:\n{}", wrong.join("\n"));
}
