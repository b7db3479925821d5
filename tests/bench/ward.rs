//! A day of a ward of forty: the virtual patients' vital signs, with what goes wrong at a bed, by
//! the rules alone; how many alerts that are, and what the measures against too many are worth.
//!
//! Who lies there and how often an electrode comes off are assumptions of ours, all in this file;
//! nothing here says how a real ward is. What the measures do to the same day is the figure.

use super::figure;
use anyhow::{Context as _, ensure};
use model::{
    alarm::{AlarmKind, AlarmPhase, DeviceAlarm, Priority},
    decimal::Decimal,
    device::{DeviceKind, DeviceState, DeviceStatus},
    id::{Channel, DeviceId, Lane, OutboxId, Seq, SiteId},
    metric::Metric,
    reading::{NoData, Occurrence, Reading, ReadingGroup},
    time::{ClockQuality, Observed, WallTime},
    units::Unit,
};
use rules::{
    alert::{AckReason, Alert, AlertId, AlertState, TimelineEvent},
    binding::{PatientKey, Subject},
    engine::{Engine, ReadingInput},
    freshness::{Freshness, Moment, Position},
    population::{Birth, Profile},
    rule::RuleSet,
};
use serde_json::{Value, json};
use simulators::usage::rounded;
use std::collections::{BTreeMap, BTreeSet};
use virtual_devices::{EcgSource, Patient, Scenario};

const RULES: &str = include_str!("../../configs/rules/default.json");
/// The ward's day begins at eight in the morning of a day in November, in China.
const BEGIN_MS: i64 = 1_795_305_600_000;
const HOUR_S: u64 = 3600;
/// A cuff measures so often, and of a patient in an acute story more often.
const CUFF_S: u64 = 3600;
const CUFF_ACUTE_S: u64 = 900;
/// One of so many measurements fails.
const CUFF_FAILS: u64 = 12;
/// A number on a monitor is an average over about so long, and moves by one meanwhile.
const AVERAGE_S: u64 = 8;
/// Somebody comes to an alert after so long, by its priority.
const COMES_MS: [(Priority, i64); 3] =
    [(Priority::High, 45_000), (Priority::Medium, 180_000), (Priority::Low, 1_200_000)];

/// Who lies in so many of the beds.
struct Beds {
    count: u64,
    /// Youngest and oldest, in months.
    months: (u32, u32),
    who: Who,
    /// Beside an ordinary day: a story that happens once, and in which hour of the day it begins.
    story: Option<(&'static str, u64)>,
}

#[derive(Clone, Copy, Eq, PartialEq)]
enum Who {
    Any,
    Pregnant,
    /// Their doctor wants a saturation of 88 to 92 %.
    Scale2,
}

const ADULT: (u32, u32) = (20 * 12, 64 * 12);
const OLD: (u32, u32) = (66 * 12, 88 * 12);
const CHILD: (u32, u32) = (12, 15 * 12);
const FERTILE: (u32, u32) = (20 * 12, 38 * 12);
/// Forty beds.
const WARD: [Beds; 10] = [
    Beds { count: 10, months: OLD, who: Who::Any, story: None },
    Beds { count: 4, months: OLD, who: Who::Scale2, story: None },
    Beds { count: 8, months: ADULT, who: Who::Any, story: None },
    Beds { count: 4, months: FERTILE, who: Who::Pregnant, story: None },
    Beds { count: 5, months: CHILD, who: Who::Any, story: None },
    Beds { count: 4, months: OLD, who: Who::Any, story: Some(("busy-ward", 1)) },
    Beds { count: 1, months: OLD, who: Who::Any, story: Some(("deteriorating", 0)) },
    Beds { count: 2, months: OLD, who: Who::Any, story: Some(("af-onset", 2)) },
    Beds { count: 1, months: OLD, who: Who::Any, story: Some(("occluded-vasopressor", 7)) },
    Beds { count: 1, months: ADULT, who: Who::Any, story: Some(("night-hypoglycaemia", 13)) },
];

/// What goes wrong at a bed: how often in ten hours, how long in seconds, at least and at most.
#[derive(Clone, Copy)]
struct Trouble {
    salt: u64,
    in_ten_hours: u64,
    lasts_s: (u64, u64),
}

const LEADS_OFF: Trouble = Trouble { salt: 1, in_ten_hours: 3, lasts_s: (10, 300) };
const PROBE_OFF: Trouble = Trouble { salt: 2, in_ten_hours: 4, lasts_s: (10, 240) };
/// The hand moves: most of these are short.
const SHORT_DIP: Trouble = Trouble { salt: 3, in_ten_hours: 12, lasts_s: (3, 12) };
const LONG_DIP: Trouble = Trouble { salt: 4, in_ten_hours: 4, lasts_s: (12, 45) };
/// Movement is counted as beats, and as breaths.
const DOUBLED: Trouble = Trouble { salt: 5, in_ten_hours: 5, lasts_s: (4, 25) };
const FALSE_BREATHS: Trouble = Trouble { salt: 6, in_ten_hours: 10, lasts_s: (10, 40) };
/// One patient of so many is restless, and has so many times the trouble.
const RESTLESS_ONE_OF: u64 = 8;
const RESTLESS_TIMES: u64 = 6;

/// The same for the same bed, moment and salt.
fn thrown(seed: u64, when: u64, salt: u64, end: u64) -> u64 {
    let mut mixed = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15)
        ^ when.wrapping_mul(0xd6e8_feb8_6659_fd93)
        ^ salt.wrapping_mul(0xa076_1d64_78bd_642f);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (mixed ^ (mixed >> 31)) % end.max(1)
}

/// A patient of the ward.
struct Bed {
    seed: u64,
    months: u32,
    who: Who,
    is_restless: bool,
    day: Patient,
    /// When a story begins, and its patient.
    story: Option<(u64, Patient)>,
}

impl Bed {
    fn ward() -> anyhow::Result<Vec<Self>> {
        let patient = |seed, name| {
            let scenario = Scenario::built_in(name).context("a scenario is missing")?;
            anyhow::Ok(Patient::new(seed, scenario, EcgSource::Synthetic))
        };
        let mut ward = Vec::new();
        let all = WARD.iter().flat_map(|beds| (0..beds.count).map(move |_| beds));
        for (beds, seed) in all.zip(1..) {
            let (youngest, oldest) = beds.months;
            let months = thrown(seed, 0, 20, u64::from(oldest - youngest));
            // Two of a kind do not begin at once.
            let late_s = thrown(seed, 0, 21, HOUR_S);
            let story = beds
                .story
                .map(|(name, hour)| anyhow::Ok((hour * HOUR_S + late_s, patient(seed, name)?)));
            ward.push(Self {
                seed,
                months: youngest + u32::try_from(months)?,
                who: beds.who,
                is_restless: seed % RESTLESS_ONE_OF == 3,
                day: patient(seed, "quiet-ward")?,
                story: story.transpose()?,
            });
        }
        Ok(ward)
    }

    fn profile(&self) -> Profile {
        let at = WallTime::from_unix_ms(BEGIN_MS);
        let ever = Some(WallTime::from_unix_ms(i64::MAX));
        Profile {
            birth: Birth::of_age(self.months, at),
            pregnant_until: ever.filter(|_| self.who == Who::Pregnant),
            scale2_until: ever.filter(|_| self.who == Who::Scale2),
            monitored: true,
            ..Profile::default()
        }
    }

    /// The patient of that second, and the second of that patient's story.
    fn present(&self, second: u64) -> (&Patient, u64, bool) {
        let story = self.story.as_ref().and_then(|(begin_s, patient)| {
            let passed = second.checked_sub(*begin_s)?;
            (passed < patient.scenario.repeat_s).then_some((patient, passed, true))
        });
        story.unwrap_or((&self.day, self.day.scenario.second(second), false))
    }

    /// Whether that trouble is there.
    fn has(&self, trouble: Trouble, second: u64) -> bool {
        let times = if self.is_restless { RESTLESS_TIMES } else { 1 };
        let Trouble { salt, in_ten_hours, lasts_s: (least, most) } = trouble;
        let begins = |minute: u64| {
            // Ten hours have 600 minutes, in each of which it may begin.
            thrown(self.seed, minute, salt, 600) < in_ten_hours * times
        };
        let minute = second / 60;
        (minute.saturating_sub(most / 60 + 1)..=minute).any(|minute| {
            let begin = minute * 60 + thrown(self.seed, minute, salt + 100, 60);
            let lasts = least + thrown(self.seed, minute, salt + 200, most - least + 1);
            begins(minute) && (begin..begin + lasts).contains(&second)
        })
    }

    /// How this patient differs from the one of the scenario: beats, breaths, percent.
    fn differs(&self) -> (i64, i64, i64) {
        let own = |salt, span| i64::try_from(thrown(self.seed, 0, salt, span)).unwrap_or(0);
        let spo2 = match (self.who, self.months) {
            // In the middle of what the doctor wants.
            (Who::Scale2, _) => -9 + own(32, 3),
            (Who::Any, OLD_FROM..) => -own(32, 6),
            _ => -own(32, 2),
        };
        let (beats, breaths) = match self.months {
            // The middle between the limits of the age.
            ..24 => (52, 20),
            24..72 => (32, 8),
            72..144 => (18, 5),
            _ if self.who == Who::Pregnant => (12, 2),
            // One old person of five has a slow heart by a drug.
            OLD_FROM.. if own(33, 5) == 0 => (-15, 0),
            _ => (0, 0),
        };
        (beats + own(30, 17) - 6, breaths + own(31, 4) - 1, spo2)
    }
}

const OLD_FROM: u32 = 780;

/// One bed by the rules, second by second.
struct Round<'r> {
    rules: &'r RuleSet,
    bed: &'r Bed,
    engine: Engine,
    devices: [DeviceId; 3],
    fed: u64,
    /// Alarms of devices that are up.
    up: BTreeSet<&'static str>,
    /// When somebody comes to which alert.
    coming: BTreeSet<(i64, AlertId)>,
    raised: BTreeMap<AlertId, Raised>,
    /// Entries of each timeline that were counted.
    counted: BTreeMap<AlertId, u32>,
    /// Times at which it sounds: raised, back, more urgent, still there.
    calls: Vec<u64>,
    readings: u64,
}

/// What was raised.
struct Raised {
    priority: Priority,
    rule: String,
}

const MONITOR: usize = 0;
const PUMP: usize = 1;
const METER: usize = 2;

impl<'r> Round<'r> {
    fn begin(rules: &'r RuleSet, bed: &'r Bed) -> anyhow::Result<Self> {
        let site = SiteId::new("ward")?;
        let key = PatientKey::new(&format!("p-{:02}", bed.seed))?;
        let name = |what| DeviceId::new(&format!("{what}-{:02}", bed.seed));
        let mut round = Self {
            rules,
            bed,
            engine: Engine::new(site, Subject::Patient(key)),
            devices: [name("monitor")?, name("pump")?, name("meter")?],
            fed: 0,
            up: BTreeSet::new(),
            coming: BTreeSet::new(),
            raised: BTreeMap::new(),
            counted: BTreeMap::new(),
            calls: Vec::new(),
            readings: 0,
        };
        let changed = round.engine.set_profile(rules, at(0), bed.profile());
        round.note(0, &changed);
        let kinds = [DeviceKind::Monitor, DeviceKind::Pump, DeviceKind::GlucoseMeter];
        for (place, kind) in kinds.into_iter().enumerate() {
            round.online(place, kind)?;
        }
        Ok(round)
    }

    fn online(&mut self, place: usize, kind: DeviceKind) -> anyhow::Result<()> {
        self.fed += 1;
        let status = DeviceStatus {
            device: self.device(place)?,
            kind,
            driver: "bench".into(),
            state: DeviceState::Online,
            reason: String::new(),
            about: BTreeMap::new(),
            expected_interval_ms: None,
            observed: observed(0),
        };
        let position = Position {
            outbox: OutboxId::from_bytes([1; 16]),
            lane: Lane::Urgent,
            seq: Seq::new(self.fed).context("a seq")?,
            index: 0,
        };
        let said = Moment::sure(at(0));
        let changed = self.engine.on_status(self.rules, at(0), said, position, &status);
        self.note(0, &changed.unwrap_or_default());
        Ok(())
    }

    fn device(&self, place: usize) -> anyhow::Result<DeviceId> {
        self.devices.get(place).cloned().context("a device is missing")
    }

    /// One second: time passes, people come, devices speak.
    fn pass(&mut self, second: u64) -> anyhow::Result<()> {
        let now = at(second);
        if self.engine.next_deadline(self.rules).is_some_and(|due| due <= now) {
            let changed = self.engine.on_time(self.rules, now);
            self.note(second, &changed);
        }
        while let Some((due_ms, id)) = self.coming.first().copied() {
            if due_ms > now.unix_ms() {
                break;
            }
            self.coming.pop_first();
            // It may have closed meanwhile.
            let came = self.engine.acknowledge(id, "nurse", AckReason::AtBedside, "", now);
            self.note(second, &came.map(|alert| vec![alert]).unwrap_or_default());
        }
        self.alarms(second)?;
        let stream = self.vitals(second);
        self.say(second, MONITOR, Occurrence::Stream, stream)?;
        self.results(second)
    }

    /// What a monitor says each second.
    fn vitals(&self, second: u64) -> Vec<Reading> {
        let bed = self.bed;
        let (patient, of_story, _) = bed.present(second);
        let vitals = patient.vitals(of_story);
        let (beats, breaths, percent) = bed.differs();
        let moves = |salt| {
            let moved = thrown(bed.seed, second / AVERAGE_S, salt, 3);
            i64::try_from(moved).unwrap_or(1) - 1
        };
        let leads_off = bed.has(LEADS_OFF, second);
        let probe_off = bed.has(PROBE_OFF, second);
        let heart = i64::from(patient.heart_rate(of_story)) + beats;
        let doubled = if bed.has(DOUBLED, second) { heart * 9 / 10 } else { 0 };
        let deeper = i64::try_from(thrown(bed.seed, second / 60, 40, 9)).unwrap_or(0);
        let dips = bed.has(SHORT_DIP, second) || bed.has(LONG_DIP, second);
        let dip = if dips { 5 + deeper } else { 0 };
        let spo2 = (i64::from(vitals.spo2) + percent + moves(41) - dip).min(100);
        let false_breaths = if bed.has(FALSE_BREATHS, second) { 14 } else { 0 };
        let breaths = i64::from(vitals.rr) + breaths + moves(42) + false_breaths;
        let value = |metric, is_off, why, value: i64, unit| match is_off {
            true => Reading::no_data(metric, why),
            false => Reading::number(metric, i32::try_from(value).unwrap_or(0), unit),
        };
        let per_minute = || Unit::PER_MINUTE;
        let [skin, _] = vitals.temperature;
        let mut said = vec![
            value(Metric::HR, leads_off, NoData::LeadOff, heart + doubled, per_minute()),
            value(Metric::RR_IMP, leads_off, NoData::LeadOff, breaths, per_minute()),
            value(Metric::SPO2, probe_off, NoData::SensorOff, spo2, Unit::PERCENT),
            value(Metric::PULSE_OXIM, probe_off, NoData::SensorOff, heart, per_minute()),
        ];
        let tenths = Decimal::new(i64::from(skin), -1);
        said.extend(tenths.map(|value| Reading::number(Metric::TEMP, value, Unit::CELSIUS)));
        said
    }

    /// Cuff and meter.
    fn results(&mut self, second: u64) -> anyhow::Result<()> {
        let bed = self.bed;
        let (patient, of_story, is_acute) = bed.present(second);
        let every_s = if is_acute { CUFF_ACUTE_S } else { CUFF_S };
        let own_s = thrown(bed.seed, 0, 50, every_s);
        if second % every_s == own_s && thrown(bed.seed, second, 51, CUFF_FAILS) > 0 {
            let [systolic, diastolic] = patient.pressure(of_story).map(i32::from);
            let around = |salt| i32::try_from(thrown(bed.seed, second, salt, 9)).unwrap_or(4) - 4;
            let (systolic, diastolic) = (systolic + around(52), diastolic + around(53) / 2);
            let mean = diastolic + (systolic - diastolic) / 3;
            let values = [
                (Metric::NIBP_SYS, systolic),
                (Metric::NIBP_MEAN, mean),
                (Metric::NIBP_DIA, diastolic),
            ];
            let said = values.map(|(metric, value)| Reading::number(metric, value, Unit::MM_HG));
            self.say(second, MONITOR, Occurrence::Spot, said.to_vec())?;
        }
        let tests = patient.scenario.glucose.iter().filter(|_| is_acute);
        for test in tests.filter(|test| test.at_s == of_story) {
            let shown = i32::from(test.mg_per_dl);
            let said = Reading::number(Metric::GLU_CAP_PL, shown, Unit::MG_PER_DL);
            self.say(second, METER, Occurrence::Spot, vec![said])?;
        }
        Ok(())
    }

    fn say(
        &mut self,
        second: u64,
        place: usize,
        occurrence: Occurrence,
        readings: Vec<Reading>,
    ) -> anyhow::Result<()> {
        self.readings += u64::try_from(readings.len())?;
        let mut group = ReadingGroup::new(self.device(place)?, observed(second), readings);
        group.occurrence = occurrence;
        let t_meas = Moment::sure(at(second));
        let input = ReadingInput { group: &group, t_meas, freshness: Freshness::Fresh };
        let changed = self.engine.on_readings(self.rules, at(second), input);
        self.note(second, &changed);
        Ok(())
    }

    /// What devices signal themselves: begins, and ends.
    fn alarms(&mut self, second: u64) -> anyhow::Result<()> {
        let (patient, of_story, _) = self.bed.present(second);
        let arrhythmia = patient.scenario.arrhythmia(of_story);
        let blocked = Scenario::during(&patient.scenario.occlusion, of_story);
        for (kind, place, source, holds) in [
            (AlarmKind::LeadOff, MONITOR, Some(Metric::HR), self.bed.has(LEADS_OFF, second)),
            (AlarmKind::ProbeOff, MONITOR, Some(Metric::SPO2), self.bed.has(PROBE_OFF, second)),
            // The monitor's own words for a fast and a slow heart.
            (AlarmKind::High, MONITOR, Some(Metric::HR), arrhythmia == 0x0A),
            (AlarmKind::Low, MONITOR, Some(Metric::HR), arrhythmia == 0x0B),
            (AlarmKind::OcclusionDownstream, PUMP, None, blocked),
        ] {
            let phase = match (holds, self.up.contains(kind.rule_id())) {
                (true, false) => AlarmPhase::Start,
                (false, true) => AlarmPhase::End,
                _ => continue,
            };
            match holds {
                true => self.up.insert(kind.rule_id()),
                false => self.up.remove(kind.rule_id()),
            };
            let alarm = DeviceAlarm {
                device: self.device(place)?,
                channel: Channel::default(),
                phase,
                kind,
                code: kind.rule_id().into(),
                text: String::new(),
                priority: None,
                latched: false,
                source,
                device_time: None,
                observed: observed(second),
            };
            let now = at(second);
            let changed = self.engine.on_alarm(self.rules, now, Moment::sure(now), &alarm);
            self.note(second, &changed);
        }
        Ok(())
    }

    /// Counts what became of alerts.
    fn note(&mut self, second: u64, changed: &[Alert]) {
        for alert in changed {
            let rule = || alert.rules.first().cloned().unwrap_or_default();
            let known = self
                .raised
                .entry(alert.id)
                .or_insert_with(|| Raised { priority: alert.priority, rule: rule() });
            if alert.priority > known.priority {
                (known.priority, known.rule) = (alert.priority, rule());
            }
            let counted = self.counted.entry(alert.id).or_default();
            for entry in alert.timeline.iter().filter(|entry| entry.number > *counted) {
                self.calls.extend(is_call(entry.what).then_some(second));
            }
            *counted = alert.timeline.last().map_or(0, |entry| entry.number);
            let waits = [AlertState::ActiveUnack, AlertState::ClearedUnack].contains(&alert.state);
            if waits && !self.coming.iter().any(|(_, id)| *id == alert.id) {
                let comes = COMES_MS.into_iter().find(|(of, _)| *of == alert.priority);
                let comes_ms = comes.map_or(0, |(_, ms)| ms);
                self.coming.insert((at(second).unix_ms() + comes_ms, alert.id));
            }
        }
    }
}

/// Whether somebody hears it.
fn is_call(what: TimelineEvent) -> bool {
    matches!(
        what,
        TimelineEvent::Raised
            | TimelineEvent::Recurred
            | TimelineEvent::PriorityRose
            | TimelineEvent::Realarmed
    )
}

fn at(second: u64) -> WallTime {
    let ms = second.saturating_mul(1000);
    WallTime::from_unix_ms(BEGIN_MS.saturating_add_unsigned(ms))
}

fn observed(second: u64) -> Observed {
    Observed { at: at(second), quality: ClockQuality::Synchronised }
}

/// The rule set without one of the measures against too many alerts, or without all.
const VARIANTS: [(&str, [bool; 3]); 5] = [
    ("as shipped", [true, true, true]),
    ("without sustain", [false, true, true]),
    ("without hysteresis", [true, false, true]),
    ("without families", [true, true, false]),
    ("without all three", [false, false, false]),
];

fn variant([sustain, hysteresis, families]: [bool; 3]) -> anyhow::Result<RuleSet> {
    let mut file: Value = serde_json::from_str(RULES)?;
    let rules = file.get_mut("rules").and_then(Value::as_array_mut).context("no rules")?;
    for rule in rules {
        let text = |key: &str| rule.get(key).and_then(Value::as_str).map(str::to_owned);
        let id = text("id").context("a rule without an id")?;
        let clears = match text("op").as_deref() {
            Some("<") => ">=",
            Some("<=") => ">",
            Some(">") => "<=",
            _ => "<",
        };
        let limit = rule.pointer("/threshold/base").cloned();
        let fields = rule.as_object_mut().context("a rule is no object")?;
        if !sustain && fields.contains_key("sustain_s") {
            fields.insert("sustain_s".into(), 0.into());
        }
        let has_hold = fields.get("clear").is_some_and(|clear| clear.get("hold_s").is_some());
        if !hysteresis && has_hold {
            let clear = json!({"op": clears, "value": limit, "hold_s": 0});
            fields.insert("clear".into(), clear);
        }
        if !families {
            fields.insert("family".into(), id.to_lowercase().replace('-', "_").into());
        }
    }
    Ok(RuleSet::from_json(&file.to_string())?)
}

/// That many hours of the ward, once for each variant.
pub(crate) fn ward(hours: u64) -> anyhow::Result<()> {
    ensure!((1..=24).contains(&hours), "write 1 to 24 hours");
    let beds = Bed::ward()?;
    for (name, measures) in VARIANTS {
        let rules = variant(measures)?;
        let mut rounds = Vec::new();
        for bed in &beds {
            let mut round = Round::begin(&rules, bed)?;
            for second in 0..hours * HOUR_S {
                round.pass(second)?;
            }
            rounds.push(round);
        }
        figure("ward", &told(name, hours, &rounds)?)?;
    }
    Ok(())
}

fn told(name: &str, hours: u64, rounds: &[Round<'_>]) -> anyhow::Result<Value> {
    let count = |number: usize| u32::try_from(number).map(f64::from);
    let days = count(rounds.len())? * f64::from(u32::try_from(hours)?) / 24.0;
    let a_day = |number: usize| Ok::<f64, anyhow::Error>(rounded(count(number)? / days, 2));
    let all = || rounds.iter().flat_map(|round| round.raised.values());
    let mut by_priority = BTreeMap::new();
    for priority in [Priority::High, Priority::Medium, Priority::Low] {
        let of_it = all().filter(|raised| raised.priority == priority).count();
        by_priority.insert(priority.name(), a_day(of_it)?);
    }
    let mut rules: BTreeMap<&str, usize> = BTreeMap::new();
    let mut in_hour: BTreeMap<u64, usize> = BTreeMap::new();
    for raised in all() {
        *rules.entry(&raised.rule).or_default() += 1;
    }
    for second in rounds.iter().flat_map(|round| &round.calls) {
        *in_hour.entry(second / HOUR_S).or_default() += 1;
    }
    let mut by_rule: Vec<(&str, usize)> = rules.into_iter().collect();
    by_rule.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let mut shown = Vec::new();
    for (rule, count) in by_rule.into_iter().take(15) {
        shown.push(json!([rule, a_day(count)?]));
    }
    let mut calls: Vec<usize> = rounds.iter().map(|round| round.calls.len()).collect();
    calls.sort_unstable_by_key(|calls| std::cmp::Reverse(*calls));
    let (sum, worst) = (calls.iter().sum::<usize>(), calls.iter().take(4).sum::<usize>());
    Ok(json!({
        "rules": name, "hours": hours, "beds": rounds.len(),
        "readings": rounds.iter().map(|round| round.readings).sum::<u64>(),
        "alerts_a_patient_day": a_day(all().count())?, "by_priority": by_priority,
        "by_rule": shown, "calls_a_patient_day": a_day(sum)?,
        "calls_in_the_worst_hour": in_hour.values().max(),
        "calls_in_the_best_hour": in_hour.values().min(),
        "percent_of_calls_at_four_beds": rounded(100.0 * count(worst)? / count(sum)?.max(1.0), 0),
    }))
}
