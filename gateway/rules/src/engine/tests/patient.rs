//! Patients: which rules they have, several devices, and devices that come and go.

use super::*;
use crate::news2::{Consciousness, Measured, Observations};

const SECOND: &str = "oxi-01";

fn pregnant() -> Profile {
    Profile { pregnant_until: Some(at(1e6)), ..aged(360) }
}

fn heart_rate(ward: &mut Ward, from: u32, to: u32, value: &str) {
    ward.stream(from, to, Metric::HR, value);
}

#[test]
fn test_05_a_pregnant_womans_high_pressure_is_one_alert_that_falls_when_somebody_has_it() {
    let mut ward = Ward::of(pregnant());
    ward.feed(0.0, 0.0, pressure(162, 100));
    assert_eq!(ward.only().rules, ["BP-PR-SHH", "BP-PR-DH", "BP-PR-SH"]);
    ward.feed(840.0, 840.0, pressure(150, 98));
    let alert = ward.only().clone();
    assert_eq!((alert.family.as_str(), alert.priority), ("bp_high", Priority::High));
    assert_eq!(alert.rules, ["BP-PR-DH", "BP-PR-SH"]);
    let taken = ward.engine.acknowledge(alert.id, "wang", AckReason::AtBedside, "", at(850.0));
    assert_eq!(taken.unwrap().priority, Priority::Medium);
    assert_eq!((ward.only().state, ward.raised().len()), (AlertState::ActiveAck, 1));
}

#[test]
fn test_13_an_infant_of_two_months_with_a_heart_rate_of_150_is_no_alert() {
    let mut ward = Ward::of(aged(2));
    heart_rate(&mut ward, 0, 60, "150");
    assert!(ward.told.is_empty());
    heart_rate(&mut ward, 60, 120, "176");
    assert_eq!(ward.only().rules, ["HR-p00_03m-H"]);
}

#[test]
fn test_14_a_man_of_70_with_an_order_for_88_to_92_percent() {
    let profile = || Profile { scale2_until: Some(at(1e6)), ..aged(840) };
    let raised = |metric, value: &str| {
        let mut ward = Ward::of(profile());
        ward.stream(0, 60, metric, value);
        ward.raised().pop()
    };
    assert_eq!(raised(Metric::SPO2, "89"), None);
    assert_eq!(raised(Metric::SPO2, "83").as_deref(), Some("SPO2-COPD-LL+SPO2-COPD-L"));
    assert_eq!(raised(Metric::HR, "47"), None);
    assert_eq!(raised(Metric::HR, "38").as_deref(), Some("HR-AD-LL+HR-EL-L"));
}

#[test]
fn test_15_what_pregnancy_does_not_replace_goes_on() {
    let first = |metric, value: &str| {
        let mut ward = Ward::of(pregnant());
        ward.stream(0, 60, metric, value);
        ward.only().rules[0].clone()
    };
    assert_eq!(first(Metric::HR, "38"), "HR-AD-LL");
    assert_eq!(first(Metric::SPO2, "84"), "SPO2-AD-LL");
    assert_eq!(first(Metric::NIBP_SYS, "78"), "BP-AD-SLL");
}

#[test]
fn an_alert_of_a_patient_has_the_patients_id_and_names_the_device() {
    let mut ward = Ward::of(aged(600));
    heart_rate(&mut ward, 0, 12, "36");
    let alert = ward.only();
    assert_eq!(alert.id, AlertId::new(&alert.site, "p-7", "hr_low", at(0.0)));
    assert_eq!(alert.device.as_str(), "ecg-01");
    assert_eq!(alert.patient.as_ref().map(PatientKey::as_str), Some("p-7"));
}

#[test]
fn of_two_devices_the_alert_names_the_one_with_the_most_urgent_rule() {
    let mut ward = Ward::of(aged(600));
    ward.stream(0, 20, Metric::SPO2, "88");
    ward.hand_to(SECOND, DeviceKind::Oximeter, 0.0);
    ward.stream(20, 35, Metric::SPO2, "80");
    let alert = ward.only();
    assert_eq!((alert.device.as_str(), alert.priority), (SECOND, Priority::High));
    assert_eq!(alert.started_at, at(0.0));
    // The first is well again: the second still says so.
    ward.hand_to("ecg-01", DeviceKind::Monitor, 0.0);
    ward.stream(35, 60, Metric::SPO2, "97");
    assert_eq!(ward.only().state, AlertState::ActiveUnack);
}

#[test]
fn the_heart_rate_falls_back_to_another_device_and_what_fired_can_end_by_it() {
    let mut ward = Ward::of(aged(600));
    heart_rate(&mut ward, 0, 12, "36");
    ward.hand_to(SECOND, DeviceKind::Oximeter, 12.0);
    ward.stream(12, 21, Metric::PULSE_OXIM, "72");
    assert_eq!(ward.only().metric, Some(Metric::HR), "the heart rate is silent for under 10 s");
    ward.stream(21, 45, Metric::PULSE_OXIM, "72");
    assert_eq!(ward.only().state, AlertState::ActiveUnack, "its hold begins anew");
    ward.stream(45, 60, Metric::PULSE_OXIM, "72");
    assert_eq!(ward.only().state, AlertState::ClearedUnack);
}

#[test]
fn two_monitors_of_one_patient_are_judged_side_by_side() {
    let mut ward = Ward::of(aged(600));
    for second in 0..60_u32 {
        for (device, value) in [("ecg-01", "72"), ("ecg-02", "38")] {
            ward.hand_to(device, DeviceKind::Monitor, f64::from(second));
            ward.number(f64::from(second), Metric::HR, value);
        }
    }
    let alert = ward.only();
    assert_eq!((alert.device.as_str(), alert.state), ("ecg-02", AlertState::ActiveUnack));
}

#[test]
fn a_cuff_ends_what_another_cuff_said_and_confirms_it_too() {
    let mut ward = Ward::of(aged(600));
    ward.hand_to("bp-01", DeviceKind::Cuff, 0.0);
    ward.feed(0.0, 0.0, pressure(184, 100));
    ward.hand_to("bp-02", DeviceKind::Cuff, 0.0);
    ward.feed(120.0, 120.0, pressure(186, 100));
    assert_eq!(ward.only().priority, Priority::High);
    // What the first measured before and tells now is older than that.
    ward.hand_to("bp-01", DeviceKind::Cuff, 0.0);
    ward.feed(60.0, 125.0, pressure(120, 80));
    assert_eq!(ward.only().state, AlertState::ActiveUnack);
    ward.feed(300.0, 300.0, pressure(150, 90));
    assert_eq!(ward.only().state, AlertState::ClearedUnack);
}

#[test]
fn one_of_two_silent_devices_makes_only_its_own_alerts_unknown() {
    let mut ward = Ward::of(aged(600));
    heart_rate(&mut ward, 0, 12, "36");
    ward.hand_to(SECOND, DeviceKind::Oximeter, 0.0);
    ward.stream(0, 12, Metric::SPO2, "80");
    ward.status(12.0, DeviceKind::Oximeter, DeviceState::Silent);
    ward.pass_time(42.0);
    assert_eq!(ward.alert("spo2_low").state, AlertState::Unknown);
    assert_eq!(ward.alert("hr_low").state, AlertState::ActiveUnack);
    let silent = ward.alert("tech_silent");
    assert_eq!(silent.id, AlertId::new(&silent.site, SECOND, "tech_silent", at(12.0)));
    ward.hand_to("ecg-01", DeviceKind::Monitor, 0.0);
    ward.number(50.0, Metric::HR, "36");
    assert_eq!(ward.alert("spo2_low").state, AlertState::Unknown);
    ward.hand_to(SECOND, DeviceKind::Oximeter, 0.0);
    ward.number(51.0, Metric::SPO2, "80");
    assert_eq!(ward.alert("spo2_low").state, AlertState::ActiveUnack);
}

#[test]
fn a_device_that_leaves_ends_what_it_said_and_says_why() {
    let mut ward = Ward::of(aged(600));
    heart_rate(&mut ward, 0, 12, "36");
    ward.stream(0, 12, Metric::SPO2, "80");
    ward.hand_to(SECOND, DeviceKind::Oximeter, 0.0);
    ward.stream(12, 24, Metric::SPO2, "80");
    let ecg = DeviceId::new("ecg-01").unwrap();
    let (_, told) = ward.engine.device_left(ward.rules, at(30.0), at(30.0), &ecg, "transfer");
    let of = |family: &str| told.iter().find(|alert| alert.family == family).unwrap();
    let entry = of("hr_low").timeline.last().unwrap();
    assert_eq!(of("hr_low").state, AlertState::Closed);
    assert_eq!((entry.what.name(), entry.detail.as_str()), ("closed", "transfer"));
    // The other device still says so.
    let left = ward.only();
    assert_eq!((left.family.as_str(), left.device.as_str()), ("spo2_low", SECOND));
    assert_eq!(left.state, AlertState::ActiveUnack);
}

#[test]
fn an_alarm_of_a_pump_on_nobody_travels_with_it_and_begins_there() {
    let mut ward = Ward::new("pump-01");
    ward.alarm(10.0, AlarmKind::OcclusionDownstream, AlarmPhase::Start);
    ward.in_unit(11.0, Metric::BATT_PCT, "50", Unit::PERCENT);
    let pump = ward.device.clone();
    let (moved, told) = ward.engine.device_left(ward.rules, at(60.0), at(60.0), &pump, "bound");
    assert_eq!((told.len(), told[0].state), (1, AlertState::Closed));
    // It is kept between the two, as the county does.
    let moved: Moved = serde_json::from_str(&serde_json::to_string(&moved).unwrap()).unwrap();
    let mut bed = Ward::of(aged(600));
    bed.device = pump;
    bed.told = bed.engine.device_joined(at(60.0), at(60.0), moved);
    let alert = bed.only();
    assert_eq!(alert.id, AlertId::new(&alert.site, "p-7", "dev_occl_down", at(60.0)));
    assert_eq!((alert.rules[0].as_str(), alert.priority), ("DEV-OCCL-DOWN", Priority::High));
    bed.alarm(90.0, AlarmKind::OcclusionDownstream, AlarmPhase::End);
    assert_eq!(bed.only().state, AlertState::ClearedUnack);
}

fn other_bed() -> Ward {
    let mut bed = Ward::of(aged(600));
    bed.engine.subject = Subject::Patient(PatientKey::new("p-8").unwrap());
    bed
}

/// A pump with an occlusion is taken off `p-7`; what it takes along.
fn taken_off(bed: &mut Ward) -> Moved {
    let rule = bed.rules;
    let pump = DeviceId::new("pump-01").unwrap();
    bed.hand_to("pump-01", DeviceKind::Pump, 0.0);
    bed.alarm(10.0, AlarmKind::OcclusionDownstream, AlarmPhase::Start);
    let (moved, told) = bed.engine.device_left(rule, at(60.0), at(60.0), &pump, "transfer");
    let last = told[0].timeline.last().unwrap();
    assert_eq!((told.len(), told[0].state), (1, AlertState::Closed));
    assert_eq!(last.detail, "transfer");
    moved
}

#[test]
fn what_a_pump_signalled_at_one_patient_says_nothing_at_the_next_until_it_says_it_again() {
    for by_way_of_nobody in [false, true] {
        let mut moved = taken_off(&mut Ward::of(aged(600)));
        let pump = DeviceId::new("pump-01").unwrap();
        if by_way_of_nobody {
            let mut nobody = Ward::new("pump-01");
            // It alarms, on nobody.
            let told = nobody.engine.device_joined(at(60.0), at(60.0), moved);
            assert_eq!((told.len(), told[0].patient.as_ref()), (1, None));
            let left = nobody.engine.device_left(nobody.rules, at(61.0), at(61.0), &pump, "bound");
            assert_eq!(left.1[0].state, AlertState::Closed);
            moved = left.0;
        }
        let mut bed = other_bed();
        bed.device = pump;
        assert_eq!(bed.engine.device_joined(at(62.0), at(62.0), moved), []);
        bed.in_unit(63.0, Metric::PUMP_RATE, "5", Unit::ML_PER_HOUR);
        assert_eq!(bed.engine.alerts().count(), 0);
        bed.alarm(70.0, AlarmKind::OcclusionDownstream, AlarmPhase::Update);
        assert_eq!((bed.only().started_at, bed.only().state), (at(70.0), AlertState::ActiveUnack));
        assert_eq!(bed.only().patient.as_ref().map(PatientKey::as_str), Some("p-8"));
        bed.alarm(90.0, AlarmKind::OcclusionDownstream, AlarmPhase::End);
        assert_eq!(bed.only().state, AlertState::ClearedUnack);
    }
}

#[test]
fn a_pump_that_comes_back_to_its_patient_brings_its_alarm_back() {
    let mut bed = Ward::of(aged(600));
    let moved = taken_off(&mut bed);
    bed.told = bed.engine.device_joined(at(120.0), at(120.0), moved);
    assert_eq!((bed.only().recurrences, bed.only().state), (1, AlertState::ActiveUnack));
}

#[test]
fn what_comes_late_of_an_alarm_at_the_patient_before_says_nothing_here() {
    let mut bed = other_bed();
    bed.hand_to("pump-01", DeviceKind::Pump, 60.0);
    let of = PatientKey::new("p-7").ok();
    let before = Before { came: at(60.0), of };
    let late = |bed: &mut Ward, second: f64, phase| {
        let alarm = bed.an_alarm(second, AlarmKind::OcclusionDownstream, phase);
        let said = Moment::sure(at(second));
        bed.engine.on_alarm_of(bed.rules, at(80.0), said, Some(&before), &alarm)
    };
    assert_eq!(late(&mut bed, 10.0, AlarmPhase::Start), []);
    bed.in_unit(81.0, Metric::PUMP_RATE, "5", Unit::ML_PER_HOUR);
    assert_eq!(bed.engine.alerts().count(), 0);
    // It says so here: that it was over there changes nothing.
    bed.alarm(82.0, AlarmKind::OcclusionDownstream, AlarmPhase::Start);
    assert_eq!(bed.only().started_at, at(82.0));
    assert_eq!(late(&mut bed, 50.0, AlarmPhase::End), []);
    assert_eq!(bed.only().state, AlertState::ActiveUnack);
    bed.alarm(90.0, AlarmKind::OcclusionDownstream, AlarmPhase::End);
    assert_eq!(bed.only().state, AlertState::ClearedUnack);
}

#[test]
fn what_comes_late_of_a_pump_on_nobody_is_unknown_until_it_is_heard_and_ends() {
    let mut bed = other_bed();
    bed.hand_to("pump-01", DeviceKind::Pump, 60.0);
    let before = Before { came: at(60.0), of: None };
    let late = |bed: &mut Ward, second: f64, phase| {
        let alarm = bed.an_alarm(second, AlarmKind::OcclusionDownstream, phase);
        let said = Moment::sure(at(second));
        bed.engine.on_alarm_of(bed.rules, at(80.0), said, Some(&before), &alarm)
    };
    assert_eq!(late(&mut bed, 10.0, AlarmPhase::Start)[0].state, AlertState::Unknown);
    let told = late(&mut bed, 50.0, AlarmPhase::End);
    assert_eq!((told[0].state, told[0].retro), (AlertState::Closed, true));
}

#[test]
fn a_technical_alert_is_the_devices_and_stays_the_same_wherever_it_goes() {
    let mut ward = Ward::new("ecg-01");
    ward.alarm(0.0, AlarmKind::LeadOff, AlarmPhase::Start);
    let id = ward.only().id;
    ward.engine.acknowledge(id, "wang", AckReason::ProbeLoose, "", at(5.0)).unwrap();
    let device = ward.device.clone();
    let (moved, told) = ward.engine.device_left(ward.rules, at(9.0), at(9.0), &device, "bound");
    assert!(told.is_empty() && ward.engine.alerts().count() == 0);
    let mut bed = Ward::of(aged(600));
    let told = bed.engine.device_joined(at(9.0), at(9.0), moved);
    assert_eq!(told[0].patient.as_ref().map(PatientKey::as_str), Some("p-7"));
    assert_eq!((bed.only().id, bed.only().state), (id, AlertState::ActiveAck));
    bed.alarm(60.0, AlarmKind::LeadOff, AlarmPhase::End);
    assert_eq!(bed.engine.alerts().count(), 0);
    // And back.
    let (moved, _) = bed.engine.device_left(bed.rules, at(70.0), at(70.0), &device, "discharge");
    ward.engine.device_joined(at(70.0), at(70.0), moved);
    assert_eq!(ward.engine.devices[&device].kind, Some(DeviceKind::Monitor));
}

#[test]
fn of_two_technical_alerts_of_one_device_that_hold_one_goes_on_and_ends() {
    for is_up in [true, false] {
        let mut ward = Ward::new("ecg-01");
        ward.alarm(0.0, AlarmKind::LeadOff, AlarmPhase::Start);
        if !is_up {
            ward.alarm(2.0, AlarmKind::LeadOff, AlarmPhase::End);
        }
        let device = ward.device.clone();
        let moved = ward.engine.device_left(ward.rules, at(9.0), at(9.0), &device, "bound").0;
        // One is known here already.
        let mut bed = Ward::of(aged(600));
        bed.alarm(5.0, AlarmKind::LeadOff, AlarmPhase::Start);
        let told = bed.engine.device_joined(at(9.0), at(9.0), moved);
        assert_eq!(told.iter().any(|alert| alert.state == AlertState::Closed), is_up);
        assert_eq!(bed.only().state, AlertState::ActiveUnack);
        bed.alarm(60.0, AlarmKind::LeadOff, AlarmPhase::Start);
        bed.alarm(61.0, AlarmKind::LeadOff, AlarmPhase::End);
        assert_eq!(bed.engine.alerts().count(), 0);
    }
}

#[test]
fn a_discharge_closes_everything_and_says_why() {
    let mut ward = Ward::of(Profile::default());
    heart_rate(&mut ward, 0, 12, "36");
    heart_rate(&mut ward, 12, 400, "72");
    heart_rate(&mut ward, 400, 412, "36");
    let told = ward.engine.close(at(500.0), "discharge");
    assert_eq!((told.len(), ward.engine.alerts().count()), (3, 0));
    let why = |alert: &Alert| alert.timeline.last().unwrap().detail == "discharge";
    assert!(told.iter().all(|alert| alert.state == AlertState::Closed && why(alert)));
}

#[test]
fn a_patient_whose_age_nobody_knows_has_the_rules_of_adults_and_a_standing_notice() {
    let mut ward = Ward::of(Profile::default());
    let notice = ward.only().clone();
    assert_eq!((notice.rules[0].as_str(), notice.priority), ("TECH-AGE-UNKNOWN", Priority::Low));
    assert_eq!(notice.id, AlertId::new(&notice.site, "p-7", "tech_age_unknown", at(-1.0)));
    ward.status(1.0, DeviceKind::Monitor, DeviceState::Silent);
    ward.pass_time(3600.0);
    assert_eq!(ward.alert("tech_age_unknown").state, AlertState::ActiveUnack);
    ward.status(3601.0, DeviceKind::Monitor, DeviceState::Online);
    ward.change(3602.0, aged(600));
    assert!(!ward.has("tech_age_unknown"));
}

#[test]
fn another_profile_holds_from_then_on() {
    let mut ward = Ward::of(aged(600));
    heart_rate(&mut ward, 0, 40, "45");
    assert_eq!(ward.only().rules, ["HR-AD-L"]);
    ward.change(40.0, aged(800));
    assert_eq!(ward.only().state, AlertState::ClearedUnack);
    heart_rate(&mut ward, 41, 75, "44");
    assert_eq!(
        (ward.only().rules[0].as_str(), ward.only().state),
        ("HR-EL-L", AlertState::ActiveUnack)
    );
}

#[test]
fn a_limit_of_the_patient_is_what_the_alert_says_and_clears_by_its_own_distance() {
    let limit = Limit {
        rule: "HR-AD-L".into(),
        limit: Some("42".into()),
        by: "dr-li".into(),
        reason: "athlete".into(),
        from: at(0.0),
        until: at(3600.0),
    };
    let mut ward = Ward::of(Profile { limits: vec![limit], ..aged(300) });
    heart_rate(&mut ward, 0, 40, "42");
    assert!(ward.told.is_empty());
    heart_rate(&mut ward, 40, 75, "41");
    assert_eq!(
        (ward.only().rules[0].as_str(), ward.only().limit.as_deref()),
        ("HR-AD-L", Some("< 42"))
    );
    heart_rate(&mut ward, 75, 110, "44");
    assert_eq!(ward.only().state, AlertState::ActiveUnack, "clears three above its limit");
    heart_rate(&mut ward, 110, 145, "45");
    assert_eq!(ward.only().state, AlertState::ClearedUnack);
    ward.pass_time(2000.0);
    // When it is over the rule has its own limit.
    heart_rate(&mut ward, 3600, 3640, "49");
    assert_eq!(ward.only().limit.as_deref(), Some("< 50"));
}

#[test]
fn what_the_profile_says_holds_by_the_clock_by_which_it_was_written() {
    // That clock is thirty years ahead: an infant is not born yet by this one.
    let there_s = 950_000_000.0;
    let limit = Limit {
        rule: "HR-AD-L".into(),
        limit: Some("42".into()),
        by: "dr-li".into(),
        reason: "athlete".into(),
        from: at(there_s),
        until: at(there_s + 3600.0),
    };
    let birth = Birth::of_age(7, at(there_s));
    let infant = Profile { birth, ..Profile::default() };
    let athlete = Profile { limits: vec![limit], ..aged(300) };
    let oxygen = Some(Entry { value: true, at: at(there_s) });
    let given = Profile { scale2_until: Some(at(there_s + 3600.0)), oxygen, ..aged(840) };
    for (profile, metric, value, rules) in [
        (infant, Metric::HR, "70", vec!["HR-p06_12m-LL"]),
        (athlete, Metric::HR, "45", vec![]),
        (given, Metric::SPO2, "98", vec!["SPO2-COPD-O2H"]),
    ] {
        let mut ward = Ward::of(profile);
        ward.is_stored = false;
        ward.engine.set_profile_ahead(950_000_000_000);
        ward.stream(0, 160, metric, value);
        let told = ward.told.first().map(|alert| alert.rules.clone()).unwrap_or_default();
        assert_eq!(told, rules, "{value}");
    }
}

#[test]
fn what_is_for_those_on_oxygen_ends_when_the_entry_is_a_day_old() {
    let oxygen = Some(Entry { value: true, at: at(-86_250.0) });
    let mut ward = Ward::of(Profile { scale2_until: Some(at(1e6)), oxygen, ..aged(840) });
    ward.stream(0, 160, Metric::SPO2, "98");
    let ended = ward.told.last().unwrap();
    assert_eq!(ward.told[0].rules, ["SPO2-COPD-O2H"]);
    assert_eq!((ended.state, ended.cleared_at), (AlertState::ClearedUnack, Some(at(151.0))));
}

pub(super) fn set(pulse: &str, oxygen: bool, state: Option<Consciousness>) -> Observations {
    let measured = |metric, value: &str, spot| Measured {
        metric,
        value: value.parse().unwrap(),
        at: at(-1.0),
        spot,
        check: false,
    };
    let readings = [
        measured(Metric::HR, pulse, false),
        measured(Metric::RR, "18", false),
        measured(Metric::SPO2, "97", false),
        measured(Metric::NIBP_SYS, "125", true),
        measured(Metric::TEMP_EAR, "36.8", true),
    ];
    Observations::at(at(0.0), &readings, Some(oxygen), state)
}

#[test]
fn news2_is_one_alert_that_rises_and_an_incomplete_set_changes_nothing() {
    let mut ward = Ward::of(aged(700));
    let mut score = |seconds: f64, set: &Observations| {
        let scored = ward.engine.on_observations(ward.rules, at(seconds), at(seconds), set);
        let (score, told) = scored;
        (score.unwrap().total(), told.first().map(|alert| (alert.rules.clone(), alert.priority)))
    };
    let awake = Some(Consciousness::Alert);
    let rules = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>();
    assert_eq!(score(0.0, &set("135", true, None)), (5, None));
    assert_eq!(score(1.0, &set("80", false, awake)), (0, None));
    let three = (rules(&["NEWS2-3IN1"]), Priority::Medium);
    assert_eq!(score(2.0, &set("135", false, awake)), (3, Some(three)));
    let five = (rules(&["NEWS2-3IN1", "NEWS2-M"]), Priority::Medium);
    assert_eq!(score(3.0, &set("135", true, awake)), (5, Some(five)));
    let eight = (rules(&["NEWS2-H", "NEWS2-3IN1"]), Priority::High);
    assert_eq!(score(4.0, &set("135", true, Some(Consciousness::Voice))), (8, Some(eight)));
    assert_eq!(score(5.0, &set("80", false, None)), (0, None));
    assert_eq!(score(3.5, &set("80", false, awake)), (0, None), "it is older than the last");
    assert_eq!(ward.only().state, AlertState::ActiveUnack);
    let scored =
        ward.engine.on_observations(ward.rules, at(6.0), at(6.0), &set("80", false, awake));
    assert_eq!(scored.1[0].state, AlertState::ClearedUnack);
}

#[test]
fn a_score_that_is_not_valid_any_more_ends_what_it_raised() {
    // The profile is known before the next set, or it comes with it.
    for is_told in [true, false] {
        let mut ward = Ward::of(aged(400));
        let high = set("135", true, Some(Consciousness::Voice));
        let (_, told) = ward.engine.on_observations(ward.rules, at(1.0), at(1.0), &high);
        assert_eq!(told[0].state, AlertState::ActiveUnack);
        let told = match is_told {
            true => ward.engine.set_profile(ward.rules, at(2.0), pregnant()),
            false => {
                ward.engine.meet_profile(pregnant());
                let scored = ward.engine.on_observations(ward.rules, at(2.0), at(2.0), &high);
                assert_eq!(scored.0, None);
                scored.1
            }
        };
        assert_eq!((told.len(), told[0].state), (1, AlertState::ClearedUnack), "{is_told}");
    }
}

#[test]
fn a_limit_that_is_over_ends_its_alert_although_nobody_can_be_scored() {
    let limit = Limit {
        rule: "HR-AD-L".into(),
        limit: Some("60".into()),
        by: "dr-li".into(),
        reason: "after surgery".into(),
        from: at(0.0),
        until: at(100.0),
    };
    let mut ward = Ward::of(Profile { limits: vec![limit], ..pregnant() });
    ward.stream(0, 40, Metric::HR, "55");
    assert_eq!(ward.only().state, AlertState::ActiveUnack);
    ward.engine.meet_profile(aged(150));
    let none = Observations::default();
    let (score, told) = ward.engine.on_observations(ward.rules, at(50.0), at(50.0), &none);
    assert_eq!((score, told.len()), (None, 1));
    assert!(!ward.only().state.is_active());
}

#[test]
fn a_patient_who_is_scored_nowhere_has_no_alert_of_the_score() {
    let mut ward = Ward::of(aged(700));
    let high = set("135", true, Some(Consciousness::Voice));
    ward.engine.on_observations(ward.rules, at(1.0), at(1.0), &high);
    heart_rate(&mut ward, 2, 14, "36");
    let told = ward.engine.end_score(ward.rules, at(60.0), "transfer");
    let last = told[0].timeline.last().unwrap();
    assert_eq!((told.len(), told[0].state), (1, AlertState::Closed));
    assert_eq!((last.what.name(), last.detail.as_str()), ("closed", "transfer"));
    assert_eq!(ward.engine.scored_at(), None);
    // What else holds goes on.
    assert_eq!(ward.only().family, "hr_low");
    assert_eq!(ward.engine.end_score(ward.rules, at(61.0), "transfer"), []);
}

#[test]
fn news2_is_not_for_the_pregnant_nor_for_children() {
    for profile in [pregnant(), aged(191), Profile::default()] {
        let mut ward = Ward::of(profile);
        let set = set("135", true, Some(Consciousness::Pain));
        let scored = ward.engine.on_observations(ward.rules, at(1.0), at(1.0), &set);
        assert_eq!(scored, (None, vec![]));
    }
}

/// A birthday, or the end of an order for scale 2, is no recovery.
#[test]
fn what_holds_by_the_next_rule_too_goes_on_in_the_hands_that_have_it() {
    let goes_on = |ward: &Ward, family: &str, rule: &str| {
        let alert = ward.alert(family);
        let is_over = alert.timeline.iter().any(|it| it.what == TimelineEvent::Cleared);
        assert_eq!((alert.state, is_over), (AlertState::ActiveAck, false), "{:?}", alert.timeline);
        assert!(alert.rules.iter().any(|id| id == rule), "{:?}", alert.rules);
    };
    let mut ward = Ward::of(Profile { scale2_until: Some(at(60.0)), ..aged(840) });
    ward.stream(0, 30, Metric::SPO2, "80");
    let id = ward.only().id;
    ward.engine.acknowledge(id, "wang", AckReason::AtBedside, "", at(30.0)).unwrap();
    ward.stream(30, 100, Metric::SPO2, "80");
    goes_on(&ward, "spo2_low", "SPO2-AD-LL");
    // What no rule says any more is over with the next value.
    let oxygen = Some(Entry { value: true, at: at(0.0) });
    let mut ward = Ward::of(Profile { scale2_until: Some(at(300.0)), oxygen, ..aged(840) });
    ward.stream(0, 299, Metric::SPO2, "98");
    assert_eq!(ward.only().rules, ["SPO2-COPD-O2H"]);
    ward.stream(299, 302, Metric::SPO2, "98");
    assert!(!ward.engine.alerts().any(|alert| alert.condition().is_active()));
}
