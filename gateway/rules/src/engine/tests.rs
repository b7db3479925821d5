//! The tests that must exist (alert rules, §9), and a ward for all others.

mod alarm;
mod audit;
mod boundaries;
mod county;
mod edge;
mod identity;
mod leads;
mod life;
mod moved;
mod order;
mod patient;
mod people;
mod pump;
mod reading;
mod service;
mod silence;
mod spot;
mod technical;
mod told;
mod upkeep;

use super::*;
use crate::{
    alert::{AckReason, AlertId, TimelineEvent},
    binding::PatientKey,
    freshness::Position,
    population::{Birth, Entry, Limit},
};
use model::{
    alarm::{AlarmKind, AlarmPhase, DeviceAlarm},
    device::{CUFF, CUFF_MEASURES, DeviceState, DeviceStatus},
    id::{Channel, Lane, OutboxId, Seq},
    reading::Comparator,
    time::DeviceTime,
};
use std::sync::LazyLock;

const BASE_MS: i64 = 1_795_335_300_000;

static RULES: LazyLock<RuleSet> = LazyLock::new(|| {
    RuleSet::from_json(include_str!("../../../../configs/rules/default.json")).unwrap()
});

/// One subject. `device` is who speaks.
struct Ward {
    rules: &'static RuleSet,
    engine: Engine,
    device: DeviceId,
    told: Vec<Alert>,
    fed: u64,
    /// The state is stored and loaded between any two readings, as the county does.
    is_stored: bool,
}

fn at(seconds: f64) -> WallTime {
    let ms = std::time::Duration::from_secs_f64(seconds.abs()).as_millis();
    let ms = i64::try_from(ms).unwrap();
    WallTime::from_unix_ms(BASE_MS + if seconds < 0.0 { -ms } else { ms })
}

/// Somebody that many months old.
fn aged(months: u32) -> Profile {
    Profile { birth: Birth::of_age(months, at(0.0)), ..Profile::default() }
}

fn pressure(sys: u32, dia: u32) -> Vec<Reading> {
    let reading = |metric, value: u32| Reading::number(metric, value, Unit::MM_HG);
    vec![reading(Metric::NIBP_SYS, sys), reading(Metric::NIBP_DIA, dia)]
}

impl Ward {
    fn new(device: &str) -> Self {
        let site = SiteId::new("heping").unwrap();
        let id = DeviceId::new(device).unwrap();
        let engine = Engine::new(site.clone(), Subject::unbound(&site, &id));
        let mut ward =
            Self { rules: &RULES, engine, device: id, told: vec![], fed: 0, is_stored: true };
        let kind = if device.starts_with("pump") { DeviceKind::Pump } else { DeviceKind::Monitor };
        ward.status(0.0, kind, DeviceState::Online);
        ward.told.clear();
        ward
    }

    /// A patient with a monitor, `ecg-01`.
    fn of(profile: Profile) -> Self {
        let mut ward = Self::new("ecg-01");
        let patient = PatientKey::new("p-7").unwrap();
        ward.engine = Engine::new(ward.engine.site.clone(), Subject::Patient(patient));
        ward.change(-1.0, profile);
        ward.status(0.0, DeviceKind::Monitor, DeviceState::Online);
        ward.told.clear();
        ward
    }

    /// Another device of the subject speaks.
    fn hand_to(&mut self, device: &str, kind: DeviceKind, seconds: f64) {
        self.device = DeviceId::new(device).unwrap();
        if !self.engine.devices.contains_key(&self.device) {
            self.status(seconds, kind, DeviceState::Online);
        }
    }

    fn change(&mut self, seconds: f64, profile: Profile) {
        let told = self.engine.set_profile(self.rules, at(seconds), profile);
        self.told.extend(told);
    }

    fn observed(seconds: f64) -> Observed {
        Observed { at: at(seconds), quality: ClockQuality::Synchronised }
    }

    fn feed(&mut self, seconds: f64, now: f64, readings: Vec<Reading>) {
        let group = ReadingGroup::new(self.device.clone(), Self::observed(seconds), readings);
        self.feed_group(&group, now);
    }

    fn feed_group(&mut self, group: &ReadingGroup, now: f64) {
        let right = Clocks::of_box(BoxTime::Ahead { ms: 0 });
        let t_meas = self.engine.clocks(group, right, at(now)).measured(group, at(now));
        let freshness = Freshness::of(group, t_meas, at(now));
        let input = ReadingInput { group, t_meas, freshness };
        if self.is_stored {
            self.store_and_load();
        }
        let heard = group.observed.at;
        let told = self.engine.on_readings_heard(self.rules, at(now), input, heard);
        self.told.extend(told);
    }

    fn store_and_load(&mut self) {
        self.engine = serde_json::from_str(&serde_json::to_string(&self.engine).unwrap()).unwrap();
    }

    fn next_position(&mut self) -> Position {
        self.fed += 1;
        let seq = Seq::new(self.fed).unwrap();
        Position { outbox: OutboxId::from_bytes([1; 16]), lane: Lane::Trend, seq, index: 0 }
    }

    fn number(&mut self, seconds: f64, metric: Metric, value: &str) {
        let unit = metric.row().canonical_unit.clone().unwrap();
        self.in_unit(seconds, metric, value, unit);
    }

    fn in_unit(&mut self, seconds: f64, metric: Metric, value: &str, unit: Unit) {
        let reading = Reading::new(metric, value.parse().unwrap(), Comparator::Equal, unit);
        self.feed(seconds, seconds, vec![reading]);
    }

    fn stream(&mut self, from: u32, to: u32, metric: Metric, value: &str) {
        for second in from..to {
            self.number(f64::from(second), metric, value);
        }
    }

    fn absent(&mut self, seconds: f64, metric: Metric, reason: NoData) {
        self.feed(seconds, seconds, vec![Reading::no_data(metric, reason)]);
    }

    fn alarm(&mut self, seconds: f64, kind: AlarmKind, phase: AlarmPhase) {
        let alarm = self.an_alarm(seconds, kind, phase);
        self.alarm_at(seconds, &alarm);
    }

    /// Takes an alarm in at that moment.
    fn alarm_at(&mut self, now: f64, alarm: &DeviceAlarm) {
        let said = Moment::sure(alarm.observed.at);
        let told = self.engine.on_alarm(self.rules, at(now), said, alarm);
        self.told.extend(told);
    }

    fn an_alarm(&self, seconds: f64, kind: AlarmKind, phase: AlarmPhase) -> DeviceAlarm {
        DeviceAlarm {
            device: self.device.clone(),
            channel: Channel::default(),
            phase,
            kind,
            code: kind.rule_id().to_owned(),
            text: String::new(),
            priority: None,
            latched: false,
            source: None,
            device_time: None,
            observed: Self::observed(seconds),
        }
    }

    fn status(&mut self, seconds: f64, kind: DeviceKind, state: DeviceState) {
        self.status_at(seconds, seconds, kind, state);
    }

    /// What a monitor says of its cuff.
    fn cuff(&mut self, seconds: f64, measures: bool) {
        let says = (CUFF.to_owned(), CUFF_MEASURES.to_owned());
        let about = measures.then_some(says).into_iter().collect();
        self.say(seconds, about, DeviceKind::Monitor, DeviceState::Online, seconds);
    }

    /// Takes a status in at that moment.
    fn status_at(&mut self, seconds: f64, now: f64, kind: DeviceKind, state: DeviceState) {
        self.say(seconds, BTreeMap::new(), kind, state, now);
    }

    fn say(
        &mut self,
        seconds: f64,
        about: BTreeMap<String, String>,
        kind: DeviceKind,
        state: DeviceState,
        now: f64,
    ) {
        let status = DeviceStatus {
            device: self.device.clone(),
            kind,
            driver: "test".into(),
            state,
            reason: "test".into(),
            about,
            expected_interval_ms: None,
            observed: Self::observed(seconds),
        };
        let (said, position) = (Moment::sure(at(seconds)), self.next_position());
        let told = self.engine.on_status(self.rules, at(now), said, position, &status);
        self.told.extend(told.unwrap());
    }

    fn pass_time(&mut self, now: f64) {
        if self.is_stored {
            self.store_and_load();
        }
        let told = self.engine.on_time(self.rules, at(now));
        self.told.extend(told);
    }

    /// Rules of every alert that was told, each alert once.
    fn raised(&self) -> Vec<String> {
        let mut seen: BTreeMap<AlertId, String> = BTreeMap::new();
        for alert in &self.told {
            seen.insert(alert.id, alert.rules.join("+"));
        }
        seen.into_values().collect()
    }

    /// The open alert of a family.
    #[track_caller]
    fn alert(&self, family: &str) -> &Alert {
        self.engine.alerts().find(|alert| alert.family == family).unwrap()
    }

    fn has(&self, family: &str) -> bool {
        self.engine.alerts().any(|alert| alert.family == family)
    }

    fn only(&self) -> &Alert {
        let open: Vec<_> = self.engine.alerts().collect();
        assert_eq!(open.len(), 1, "{open:#?}");
        open[0]
    }
}

#[test]
fn test_01_nine_seconds_of_bradycardia_are_no_alert_and_ten_are_one() {
    let mut ward = Ward::new("ecg-01");
    ward.stream(0, 9, Metric::HR, "39");
    ward.stream(9, 60, Metric::HR, "72");
    assert!(ward.told.is_empty());
    ward.stream(60, 71, Metric::HR, "39");
    assert_eq!(ward.raised(), ["HR-AD-LL"]);
    let alert = ward.only();
    assert_eq!((alert.state, alert.priority), (AlertState::ActiveUnack, Priority::High));
    assert_eq!(
        (alert.started_at, alert.limit.as_deref(), alert.value.as_deref()),
        (at(60.0), Some("< 40"), Some("39"))
    );
}

#[test]
fn test_01_silence_never_completes_a_sustain() {
    let mut ward = Ward::new("ecg-01");
    ward.stream(0, 9, Metric::HR, "39");
    ward.status(12.0, DeviceKind::Monitor, DeviceState::Silent);
    assert!(ward.told.is_empty());
    assert_eq!(ward.engine.next_deadline(ward.rules), Some(at(42.0)));
    let told = ward.engine.on_time(ward.rules, at(42.0));
    assert_eq!(
        told.iter().map(|alert| alert.rules[0].as_str()).collect::<Vec<_>>(),
        ["TECH-SILENT"]
    );
    assert_eq!(told[0].priority, Priority::Low);
    let told = ward.engine.on_time(ward.rules, at(192.0));
    assert_eq!(told[0].priority, Priority::Medium);
}

#[test]
fn test_02_a_value_that_swings_around_its_limit_is_at_most_one_alert() {
    let mut ward = Ward::new("ecg-01");
    for second in 0..600_u32 {
        let value = if second / 5 % 2 == 0 { "89" } else { "91" };
        ward.number(f64::from(second), Metric::SPO2, value);
    }
    assert!(ward.raised().len() <= 1);
}

#[test]
fn test_03_glucose_is_compared_as_it_is_printed() {
    let rule_of = |value: &str| {
        let mut ward = Ward::new("glu-01");
        ward.in_unit(0.0, Metric::GLU_CAP_PL, value, Unit::MG_PER_DL);
        ward.raised().pop()
    };
    assert_eq!(rule_of("54").as_deref(), Some("GLU-AD-L"));
    assert_eq!(rule_of("53").as_deref(), Some("GLU-AD-LL+GLU-AD-L"));
    assert_eq!(rule_of("70"), None);
    assert_eq!(rule_of("69").as_deref(), Some("GLU-AD-L"));
}

#[test]
fn test_03_a_meters_low_and_high_raise_alerts_and_high_ends_a_low_one() {
    let mut ward = Ward::new("glu-01");
    let limit = |value: i32, comparator| {
        vec![Reading::new(Metric::GLU_CAP_PL, value.into(), comparator, Unit::MG_PER_DL)]
    };
    ward.feed(0.0, 0.0, limit(20, Comparator::Below));
    assert_eq!(ward.only().rules[0], "GLU-AD-LL");
    assert_eq!(ward.only().comparator.as_deref(), Some("<"));
    ward.feed(60.0, 60.0, limit(600, Comparator::Above));
    let states: BTreeMap<_, _> =
        ward.engine.alerts().map(|alert| (alert.family.as_str(), alert.state)).collect();
    assert_eq!(states["glucose_low"], AlertState::ClearedUnack);
    assert_eq!(states["glucose_high"], AlertState::ActiveUnack);
    assert!(ward.engine.alerts().any(|alert| alert.rules.contains(&"GLU-AD-HHS".to_owned())));
}

#[test]
fn test_04_kilopascals_are_compared_as_printed_millimetres() {
    for (sys, dia) in [("24.0", "14.7"), ("24.0", "14.6")] {
        let mut ward = Ward::new("bp-01");
        let reading = |metric, text: &str| {
            Reading::number(metric, text.parse::<Decimal>().unwrap(), Unit::KILOPASCAL)
        };
        ward.feed(0.0, 0.0, vec![reading(Metric::NIBP_SYS, sys), reading(Metric::NIBP_DIA, dia)]);
        assert_eq!(ward.raised(), ["BP-AD-DH+BP-AD-SH"]);
    }
}

#[test]
fn test_09_leads_off_is_a_technical_alert_and_no_asystole() {
    let mut ward = Ward::new("ecg-01");
    ward.stream(0, 20, Metric::HR, "72");
    ward.alarm(20.0, AlarmKind::LeadOff, AlarmPhase::Start);
    // Monitors differ in what they send then: nothing with a reason, or a heart rate of 0.
    for second in 20..60_u32 {
        ward.absent(f64::from(second), Metric::HR, NoData::LeadOff);
    }
    ward.stream(60, 120, Metric::HR, "0");
    assert_eq!(ward.raised(), ["TECH-LEADOFF"]);
    ward.alarm(120.0, AlarmKind::LeadOff, AlarmPhase::End);
    ward.number(121.0, Metric::HR, "72");
    assert_eq!(ward.engine.alerts().count(), 0);
    // With the leads on the same heart rate is one.
    ward.stream(122, 133, Metric::HR, "0");
    assert_eq!(ward.only().rules, ["HR-AD-LL"]);
}

#[test]
fn test_17_with_leads_off_the_oximeters_pulse_is_read_and_named() {
    let mut ward = Ward::new("ecg-01");
    ward.stream(0, 5, Metric::HR, "72");
    ward.alarm(5.0, AlarmKind::LeadOff, AlarmPhase::Start);
    for second in 5..16_u32 {
        ward.absent(f64::from(second), Metric::HR, NoData::LeadOff);
        ward.number(f64::from(second) + 0.1, Metric::PULSE_OXIM, "38");
    }
    let alert = ward.engine.alerts().find(|alert| alert.family == "hr_low").unwrap();
    assert_eq!((alert.rules[0].as_str(), alert.metric), ("HR-AD-LL", Some(Metric::PULSE_OXIM)));
    assert!(ward.engine.alerts().any(|alert| alert.rules[0] == "TECH-LEADOFF"));
}

#[test]
fn test_13_an_adult_heart_rate_of_150_is_medium() {
    let mut ward = Ward::new("ecg-01");
    ward.stream(0, 60, Metric::HR, "150");
    assert_eq!(ward.only().priority, Priority::Medium);
}

#[test]
fn test_16_every_way_of_measuring_raises_its_alert_and_control_solution_raises_none() {
    let mut ward = Ward::new("any-01");
    ward.number(0.0, Metric::GLU_CAP_PL, "2.9");
    ward.number(1.0, Metric::TEMP_EAR, "39.2");
    for second in 2..23_u32 {
        ward.number(f64::from(second), Metric::RR_IMP, "7");
    }
    ward.number(30.0, Metric::PULSE_NIBP, "38");
    let metrics: BTreeSet<_> = ward.engine.alerts().filter_map(|alert| alert.metric).collect();
    assert_eq!(
        metrics,
        [Metric::GLU_CAP_PL, Metric::TEMP_EAR, Metric::RR_IMP, Metric::PULSE_NIBP].into()
    );
    let mut control = Ward::new("glu-01");
    control.number(0.0, Metric::GLU_CONTROL, "2.0");
    assert!(control.told.is_empty());
}

#[test]
fn test_19_a_second_cuff_value_promotes_only_after_a_minute() {
    let mut ward = Ward::new("bp-01");
    ward.feed(0.0, 0.0, pressure(184, 100));
    ward.feed(20.0, 20.0, pressure(186, 98));
    assert_eq!(ward.only().priority, Priority::Medium);
    ward.feed(140.0, 140.0, pressure(186, 98));
    assert_eq!(ward.only().priority, Priority::High);
}

#[test]
fn a_second_cuff_value_counts_from_a_minute_to_thirty() {
    for (second, confirmed) in [(59.0, false), (60.0, true), (1800.0, true), (1801.0, false)] {
        let mut ward = Ward::new("bp-01");
        ward.feed(0.0, 0.0, pressure(184, 100));
        ward.feed(second, second, pressure(186, 98));
        let expected = if confirmed { Priority::High } else { Priority::Medium };
        assert_eq!(ward.only().priority, expected, "after {second} s");
    }
}

#[test]
fn the_same_alarm_delivered_again_is_one_alert() {
    let mut ward = Ward::new("pump-01");
    for _ in 0..5 {
        ward.alarm(3.0, AlarmKind::OcclusionDownstream, AlarmPhase::Start);
    }
    assert_eq!(ward.raised(), ["DEV-OCCL-DOWN"]);
    assert_eq!(ward.told.len(), 1);
    assert_eq!(ward.only().priority, Priority::High);
}

#[test]
fn a_late_stream_reading_raises_nothing() {
    let mut ward = Ward::new("ecg-01");
    for second in 0..300_u32 {
        ward.feed(
            f64::from(second),
            1200.0,
            vec![Reading::number(Metric::SPO2, 82, Unit::PERCENT)],
        );
    }
    assert!(ward.told.is_empty());
}

#[test]
fn a_late_spot_value_that_is_still_the_newest_raises_its_alert() {
    let mut ward = Ward::new("glu-01");
    let measured_ago = 137.0 * 60.0;
    ward.feed(0.0, measured_ago, vec![Reading::number(Metric::GLU_CAP_PL, 53, Unit::MG_PER_DL)]);
    assert_eq!((ward.only().state, ward.only().started_at), (AlertState::ActiveUnack, at(0.0)));
    ward.number(measured_ago + 480.0, Metric::GLU_CAP_PL, "6.1");
    assert_eq!(ward.only().state, AlertState::ClearedUnack);
}

#[test]
fn a_high_alert_that_cleared_unseen_waits_for_a_person() {
    let mut ward = Ward::new("ecg-01");
    ward.stream(0, 12, Metric::HR, "36");
    ward.stream(12, 60, Metric::HR, "72");
    let alert = ward.only().clone();
    assert_eq!(alert.state, AlertState::ClearedUnack);
    let closed =
        ward.engine.acknowledge(alert.id, "wang", AckReason::AtBedside, "", at(70.0)).unwrap();
    assert_eq!(closed.state, AlertState::Closed);
    // What comes back within five minutes is the same alert.
    ward.stream(100, 112, Metric::HR, "36");
    assert_eq!(
        (ward.only().id, ward.only().recurrences, ward.only().state),
        (alert.id, 1, AlertState::ActiveUnack)
    );
}

#[test]
fn the_first_of_two_nurses_has_it() {
    let mut ward = Ward::new("ecg-01");
    ward.stream(0, 12, Metric::HR, "36");
    let id = ward.only().id;
    ward.engine.acknowledge(id, "wang", AckReason::AtBedside, "", at(13.0)).unwrap();
    let second = ward.engine.acknowledge(id, "li", AckReason::DoctorCalled, "", at(13.0));
    assert_eq!(second, Err(ActionError::AlreadyAcknowledged { by: "wang".into() }));
    let unheard_of = AlertId::from_hex(&"0".repeat(32)).unwrap();
    assert_eq!(
        ward.engine.acknowledge(unheard_of, "li", AckReason::Referred, "", at(13.0)),
        Err(ActionError::NotFound)
    );
}

#[test]
fn the_second_nurse_learns_who_was_first_even_when_it_is_over() {
    let mut ward = Ward::new("ecg-01");
    ward.stream(0, 12, Metric::HR, "36");
    ward.stream(12, 60, Metric::HR, "72");
    let id = ward.only().id;
    ward.engine.acknowledge(id, "wang", AckReason::AtBedside, "", at(70.0)).unwrap();
    let second = ward.engine.acknowledge(id, "li", AckReason::AtBedside, "", at(71.0));
    assert_eq!(second, Err(ActionError::AlreadyAcknowledged { by: "wang".into() }));
}

#[test]
fn an_alert_nobody_saw_is_kept_when_the_next_one_of_its_kind_begins() {
    let mut ward = Ward::new("ecg-01");
    ward.stream(0, 12, Metric::HR, "36");
    ward.stream(12, 400, Metric::HR, "72");
    let first = ward.only().clone();
    ward.stream(400, 412, Metric::HR, "36");
    let open: Vec<_> =
        ward.engine.alerts().map(|alert| (alert.id == first.id, alert.state)).collect();
    assert_eq!(open, [(true, AlertState::ClearedUnack), (false, AlertState::ActiveUnack)]);
    let acknowledge = |ward: &mut Ward, by: &str| {
        ward.engine.acknowledge(first.id, by, AckReason::AtBedside, "", at(420.0))
    };
    let closed = acknowledge(&mut ward, "wang").unwrap();
    assert_eq!((closed.id, closed.state), (first.id, AlertState::Closed));
    assert_eq!(ward.only().state, AlertState::ActiveUnack);
}

#[test]
fn a_medium_alert_closes_in_its_time_though_another_took_its_place() {
    let mut ward = Ward::new("ecg-01");
    ward.stream(0, 31, Metric::HR, "45");
    ward.stream(31, 500, Metric::HR, "72");
    let first = ward.only().clone();
    ward.stream(500, 531, Metric::HR, "45");
    assert_eq!(ward.engine.alerts().count(), 2);
    let told = ward.engine.on_time(ward.rules, at(31.0 + 40.0 * 60.0));
    let closed = told.iter().filter(|alert| alert.state == AlertState::Closed);
    assert_eq!(closed.map(|alert| alert.id).collect::<Vec<_>>(), [first.id]);
    assert_eq!(ward.only().state, AlertState::ActiveUnack);
}

#[test]
fn a_night_that_nobody_watched_is_bounded_and_what_it_closed_is_told() {
    let mut ward = Ward::new("ecg-01");
    for hour in 0..40_u32 {
        ward.stream(hour * 3600, hour * 3600 + 12, Metric::HR, "36");
        ward.stream(hour * 3600 + 12, hour * 3600 + 60, Metric::HR, "72");
    }
    assert_eq!(ward.engine.alerts().count(), 33);
    let closed: BTreeSet<AlertId> = ward
        .told
        .iter()
        .filter(|alert| alert.state == AlertState::Closed)
        .map(|alert| alert.id)
        .collect();
    assert_eq!(closed.len(), 7);
}

#[test]
fn an_alert_that_somebody_closed_is_not_one_of_too_many_that_wait() {
    let mut ward = Ward::new("ecg-01");
    for hour in 0..33_u32 {
        ward.stream(hour * 3600, hour * 3600 + 12, Metric::HR, "36");
        ward.stream(hour * 3600 + 12, hour * 3600 + 60, Metric::HR, "72");
    }
    let oldest = ward.engine.alerts().next().unwrap().id;
    let next = 33 * 3600;
    ward.stream(next, next + 9, Metric::HR, "36");
    let seen = at(f64::from(next + 8));
    ward.engine.acknowledge(oldest, "wang", AckReason::AtBedside, "", seen).unwrap();
    ward.told.clear();
    // While that may still be taken back another begins.
    ward.stream(next + 9, next + 12, Metric::HR, "36");
    let changed: BTreeSet<AlertId> = ward.told.iter().map(|alert| alert.id).collect();
    assert_eq!((changed.len(), changed.contains(&oldest)), (1, false));
    assert_eq!(ward.engine.alerts().filter(|alert| alert.state != AlertState::Closed).count(), 33);
}

#[test]
fn what_the_pass_finds_beside_too_many_that_wait_is_never_told_as_one_that_nobody_has() {
    for (among, is_closed) in [(5, false), (0, true)] {
        let mut ward = Ward::new("ecg-01");
        for hour in 1..34_u32 {
            ward.stream(hour * 3600, hour * 3600 + 12, Metric::HR, "36");
            ward.stream(hour * 3600 + 12, hour * 3600 + 60, Metric::HR, "72");
        }
        let waiting: Vec<Alert> = ward.engine.alerts().cloned().collect();
        assert_eq!(waiting.len(), 33);
        let begins = at(f64::from(among) * 3600.0 + 1800.0);
        let site = &ward.engine.site;
        let found = Alert {
            id: AlertId::new(site, ward.device.as_str(), "hr_low", begins),
            started_at: begins,
            ..waiting[0].clone()
        };
        let told = ward.engine.adopt_late(ward.rules, found.clone(), at(36.0 * 3600.0));
        let closed = if is_closed { found.id } else { waiting[0].id };
        let states = told.iter().map(|alert| (alert.id, alert.state));
        let closed = (closed, AlertState::Closed);
        let open = (found.id, AlertState::ClearedUnack);
        let expected = if is_closed { vec![closed] } else { vec![closed, open] };
        assert_eq!(states.collect::<Vec<_>>(), expected);
        // Whoever is told of it can act on it.
        assert_eq!(ward.engine.alerts().any(|alert| alert.id == found.id), !is_closed);
        assert_eq!(ward.engine.alerts().count(), 33);
    }
}

#[test]
fn a_rising_priority_is_the_same_alert_and_needs_somebody_again() {
    let mut ward = Ward::new("ecg-01");
    ward.stream(0, 31, Metric::HR, "45");
    let id = ward.only().id;
    assert_eq!(ward.only().priority, Priority::Medium);
    ward.engine.acknowledge(id, "wang", AckReason::Rechecking, "", at(31.0)).unwrap();
    ward.stream(31, 43, Metric::HR, "36");
    assert_eq!((ward.only().id, ward.only().priority), (id, Priority::High));
    assert_eq!((ward.only().state, ward.only().started_at), (AlertState::ActiveUnack, at(0.0)));
}

#[test]
fn an_alert_of_a_device_that_fell_silent_is_unknown_and_not_over() {
    let mut ward = Ward::new("ecg-01");
    ward.stream(0, 12, Metric::HR, "36");
    ward.status(15.0, DeviceKind::Monitor, DeviceState::Silent);
    let told = ward.engine.on_time(ward.rules, at(46.0));
    assert!(
        told.iter().any(|alert| alert.family == "hr_low" && alert.state == AlertState::Unknown)
    );
    ward.number(60.0, Metric::HR, "36");
    let alert = ward.engine.alerts().find(|alert| alert.family == "hr_low").unwrap();
    assert_eq!(alert.state, AlertState::ActiveUnack);
    assert!(!ward.engine.alerts().any(|alert| alert.family == "tech_silent"));
}

#[test]
fn a_medium_alert_closes_by_itself_half_an_hour_after_clearing() {
    let mut ward = Ward::new("ecg-01");
    ward.stream(0, 31, Metric::HR, "45");
    ward.stream(31, 70, Metric::HR, "72");
    let cleared = ward.only().cleared_at.unwrap();
    let deadline = ward.engine.next_deadline(ward.rules).unwrap();
    assert_eq!(deadline.unix_ms() - cleared.unix_ms(), 30 * 60_000);
    let told = ward.engine.on_time(ward.rules, deadline);
    assert_eq!(told[0].state, AlertState::Closed);
}

#[test]
fn a_pump_near_its_end_is_told_in_steps() {
    let mut ward = Ward::new("pump-01");
    let minutes = |ward: &mut Ward, second: f64, left: &str| {
        ward.in_unit(second, Metric::PUMP_TIME_REM, left, Unit::SECOND);
    };
    minutes(&mut ward, 0.0, "2400");
    assert!(ward.told.is_empty());
    minutes(&mut ward, 5.0, "1800");
    assert_eq!(ward.only().priority, Priority::Low);
    minutes(&mut ward, 10.0, "600");
    assert_eq!(ward.only().priority, Priority::Medium);
}

#[test]
fn a_reading_older_than_the_last_never_touches_a_live_alert() {
    let mut ward = Ward::new("ecg-01");
    ward.stream(0, 12, Metric::HR, "36");
    let before = ward.only().clone();
    ward.number(3.0, Metric::HR, "72");
    assert_eq!(*ward.only(), before);
}

#[test]
fn an_alarm_that_ended_unheard_is_over_a_minute_after_the_device_is_heard_again() {
    let mut ward = Ward::new("pump-01");
    ward.alarm(0.0, AlarmKind::OcclusionDownstream, AlarmPhase::Start);
    ward.alarm(0.0, AlarmKind::AirInLine, AlarmPhase::Start);
    ward.status(10.0, DeviceKind::Pump, DeviceState::LinkDown);
    ward.status(100.0, DeviceKind::Pump, DeviceState::Online);
    ward.alarm(101.0, AlarmKind::AirInLine, AlarmPhase::Start);
    ward.pass_time(120.0);
    assert_eq!(ward.engine.next_deadline(ward.rules), Some(at(160.0)));
    ward.engine.on_time(ward.rules, at(160.0));
    let states: BTreeMap<_, _> =
        ward.engine.alerts().map(|alert| (alert.rules[0].as_str(), alert.state)).collect();
    assert_eq!(states["DEV-OCCL-DOWN"], AlertState::ClearedUnack);
    assert_eq!(states["DEV-AIR"], AlertState::ActiveUnack);
}

#[test]
fn an_alarm_survives_an_agent_that_starts_anew_while_it_is_said_again() {
    let mut ward = Ward::new("pump-01");
    ward.alarm(0.0, AlarmKind::OcclusionDownstream, AlarmPhase::Start);
    let id = ward.only().id;
    ward.engine.doubt_alarms(at(5.0));
    ward.alarm(8.0, AlarmKind::OcclusionDownstream, AlarmPhase::Start);
    ward.engine.on_time(ward.rules, at(70.0));
    assert_eq!((ward.only().id, ward.only().state), (id, AlertState::ActiveUnack));
}

/// Engines are kept as JSON, and kinds in them by the name they have everywhere.
#[test]
fn a_kind_is_kept_under_its_name() {
    for kind in DeviceKind::ALL {
        assert_eq!(serde_json::to_value(kind).unwrap(), kind.name());
    }
}
