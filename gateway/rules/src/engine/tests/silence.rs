//! Silence of a device, of the box before it, and what is taken away.

use super::{patient::set, *};
use crate::news2::Consciousness;

fn in_minutes(minutes: f64) -> f64 {
    minutes * 60.0
}

#[test]
fn what_a_device_said_before_it_fell_silent_does_not_end_the_silence() {
    let mut ward = Ward::new("ecg-01");
    ward.stream(0, 10, Metric::HR, "72");
    ward.status(10.2, DeviceKind::Monitor, DeviceState::LinkDown);
    ward.feed(10.0, 10.4, vec![Reading::number(Metric::HR, 72, Unit::PER_MINUTE)]);
    ward.pass_time(41.0);
    assert_eq!(ward.only().rules, ["TECH-SILENT"]);
    ward.number(50.0, Metric::HR, "72");
    assert_eq!(ward.engine.alerts().count(), 0);
}

#[test]
fn an_older_status_changes_nothing() {
    let mut ward = Ward::new("ecg-01");
    let old = ward.next_position();
    ward.status(10.0, DeviceKind::Monitor, DeviceState::LinkDown);
    let status = DeviceStatus {
        device: ward.device.clone(),
        kind: DeviceKind::Monitor,
        driver: "test".into(),
        state: DeviceState::Online,
        reason: String::new(),
        about: BTreeMap::new(),
        expected_interval_ms: None,
        observed: Ward::observed(9.0),
    };
    let said = Moment::sure(at(9.0));
    assert_eq!(ward.engine.on_status(ward.rules, at(11.0), said, old, &status), None);
    ward.pass_time(41.0);
    assert_eq!(ward.only().rules, ["TECH-SILENT"]);
}

#[test]
fn a_silence_that_is_told_late_waits_for_its_end_to_arrive() {
    let mut ward = Ward::new("ecg-01");
    ward.status_at(60.0, 1260.0, DeviceKind::Monitor, DeviceState::Silent);
    ward.pass_time(1261.0);
    ward.status_at(120.0, 1262.0, DeviceKind::Monitor, DeviceState::Online);
    ward.pass_time(1300.0);
    assert!(ward.told.is_empty());
    ward.status_at(130.0, 1300.0, DeviceKind::Monitor, DeviceState::Silent);
    ward.pass_time(1331.0);
    assert_eq!((ward.only().rules[0].as_str(), ward.only().started_at), ("TECH-SILENT", at(130.0)));
}

#[test]
fn a_device_that_speaks_only_when_it_measures_is_never_silent() {
    for kind in [DeviceKind::Cuff, DeviceKind::GlucoseMeter] {
        let mut ward = Ward::new("spot-01");
        ward.status(0.0, kind, DeviceState::Online);
        ward.number(1.0, Metric::GLU_CAP_PL, "2.5");
        ward.status(10.0, kind, DeviceState::LinkDown);
        ward.pass_time(in_minutes(20.0));
        assert_eq!(
            (ward.only().rules[0].as_str(), ward.only().state),
            ("GLU-AD-LL", AlertState::ActiveUnack)
        );
    }
}

#[test]
fn what_a_pump_said_holds_no_more_when_it_is_taken_away() {
    let mut ward = Ward::new("pump-01");
    ward.alarm(0.0, AlarmKind::OcclusionDownstream, AlarmPhase::Start);
    ward.alarm(0.0, AlarmKind::BatteryLow, AlarmPhase::Start);
    ward.in_unit(1.0, Metric::PUMP_TIME_REM, "1500", Unit::SECOND);
    ward.status(5.0, DeviceKind::Pump, DeviceState::Removed);
    ward.pass_time(in_minutes(60.0));
    // Nobody saw that it was occluded: this one waits for a person.
    let alert = ward.only();
    assert_eq!((alert.rules[0].as_str(), alert.state), ("DEV-OCCL-DOWN", AlertState::ClearedUnack));
    assert!(alert.timeline.iter().any(|entry| entry.detail == "test"));
    let reminder = ward.engine.next_deadline(ward.rules);
    assert_eq!(reminder, Some(at(5.0 + in_minutes(60.0))));
}

#[test]
fn alerts_behind_a_box_that_is_out_of_reach_are_unknown_until_the_device_is_heard() {
    let mut ward = Ward::new("ecg-01");
    ward.stream(0, 12, Metric::HR, "36");
    ward.engine.box_lost(at(15.0));
    ward.pass_time(74.0);
    assert_eq!(ward.engine.next_deadline(ward.rules), Some(at(75.0)));
    assert_eq!(ward.only().state, AlertState::ActiveUnack);
    ward.pass_time(75.0);
    assert_eq!(ward.only().state, AlertState::Unknown);
    assert_eq!(ward.engine.next_deadline(ward.rules), None);
    ward.engine.box_back(ward.rules, at(900.0));
    assert_eq!(ward.only().state, AlertState::Unknown);
    ward.number(901.0, Metric::HR, "36");
    assert_eq!(ward.only().state, AlertState::ActiveUnack);
}

#[test]
fn what_a_score_raised_is_unknown_behind_a_lost_box_until_a_set_is_whole() {
    let mut ward = Ward::of(aged(700));
    let high = set("135", true, Some(Consciousness::Voice));
    ward.engine.on_observations(ward.rules, at(1.0), at(1.0), &high);
    ward.engine.box_lost(at(5.0));
    ward.pass_time(64.0);
    assert!(!ward.engine.is_cut_off());
    ward.pass_time(65.0);
    assert!(ward.engine.is_cut_off());
    let told = ward.engine.know_score(ward.rules, at(65.0), false);
    assert_eq!((told.len(), told[0].state), (1, AlertState::Unknown));
    assert_eq!(ward.engine.know_score(ward.rules, at(66.0), false), []);
    // Nobody is called meanwhile.
    assert_eq!(ward.engine.next_deadline(ward.rules), None);
    ward.engine.box_back(ward.rules, at(900.0));
    assert!(!ward.engine.is_cut_off());
    // One device that is heard is no set.
    ward.number(901.0, Metric::HR, "135");
    assert_eq!(ward.only().state, AlertState::Unknown);
    let told = ward.engine.know_score(ward.rules, at(960.0), true);
    assert_eq!((told.len(), told[0].state), (1, AlertState::ActiveUnack));
    // The next persons have the seconds that were left before nobody knew.
    let told = ward.engine.on_time(ward.rules, at(961.0));
    assert_eq!(told.len(), 0, "{told:?}");
}

#[test]
fn a_box_that_is_back_soon_changes_no_alert() {
    let mut ward = Ward::new("ecg-01");
    ward.stream(0, 12, Metric::HR, "36");
    let before = ward.only().clone();
    ward.engine.box_lost(at(15.0));
    ward.engine.box_back(ward.rules, at(17.0));
    ward.pass_time(69.0);
    assert_eq!(*ward.only(), before);
}

#[test]
fn a_cuff_has_said_all_there_is_when_its_box_is_back() {
    let mut ward = Ward::new("bp-01");
    ward.status(0.0, DeviceKind::Cuff, DeviceState::Online);
    ward.number(1.0, Metric::NIBP_SYS, "78");
    ward.engine.box_lost(at(2.0));
    ward.pass_time(62.0);
    assert_eq!(ward.only().state, AlertState::Unknown);
    ward.engine.box_back(ward.rules, at(900.0));
    assert_eq!(ward.only().state, AlertState::ActiveUnack);
}

#[test]
fn a_box_out_of_reach_is_one_alert_and_stands_for_its_devices() {
    let mut edge = Ward::new("heping");
    edge.engine.box_lost(at(0.0));
    edge.pass_time(59.0);
    assert!(edge.told.is_empty());
    edge.pass_time(60.0);
    assert_eq!(edge.only().rules, ["EDGE-OFFLINE"]);
    assert_eq!((edge.only().priority, edge.only().started_at), (Priority::Medium, at(0.0)));
    let told = edge.engine.box_back(edge.rules, at(300.0));
    assert_eq!(told[0].state, AlertState::ClearedUnack);

    let mut ward = Ward::new("ecg-01");
    ward.status(0.0, DeviceKind::Monitor, DeviceState::Silent);
    ward.engine.box_lost(at(1.0));
    ward.pass_time(in_minutes(20.0));
    assert!(ward.told.is_empty());
}

#[test]
fn a_device_that_is_configured_to_speak_seldom_completes_a_sustain_and_is_silent_later() {
    let status = |ward: &mut Ward, seconds: f64, state, expected_interval_ms| {
        let status = DeviceStatus {
            device: ward.device.clone(),
            kind: DeviceKind::Monitor,
            driver: "json-lines".into(),
            state,
            reason: String::new(),
            about: BTreeMap::new(),
            expected_interval_ms,
            observed: Ward::observed(seconds),
        };
        let (said, position) = (Moment::sure(at(seconds)), ward.next_position());
        drop(ward.engine.on_status(ward.rules, at(seconds), said, position, &status));
    };
    let speak = |ward: &mut Ward, from: u32| {
        for place in 0..4_u32 {
            ward.number(f64::from(from + 12 * place), Metric::HR, "38");
        }
    };
    // By its kind each of its readings is a gap.
    let mut ward = Ward::new("ecg-01");
    speak(&mut ward, 0);
    assert_eq!(ward.engine.alerts().count(), 0);
    status(&mut ward, 50.0, DeviceState::Online, Some(12_000));
    speak(&mut ward, 100);
    assert_eq!((ward.only().rules[0].as_str(), ward.only().started_at), ("HR-AD-LL", at(100.0)));
    // Three of 12 s are more than half a minute.
    status(&mut ward, 140.0, DeviceState::Silent, Some(12_000));
    ward.pass_time(175.0);
    assert_ne!(ward.only().state, AlertState::Unknown);
    ward.pass_time(176.0);
    assert_eq!(ward.alert("tech_silent").rules, ["TECH-SILENT"]);
    // A cuff that is expected to speak by itself can be silent.
    let mut cuff = Ward::new("bp-01");
    cuff.status(0.0, DeviceKind::Cuff, DeviceState::Online);
    assert!(!RULES.repeats(cuff.engine.pace_of(&cuff.device)));
    status(&mut cuff, 1.0, DeviceState::Online, Some(900_000));
    assert!(RULES.repeats(cuff.engine.pace_of(&cuff.device)));
}
