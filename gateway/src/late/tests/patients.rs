//! What came late is judged for whom it was measured on.

use super::*;
use crate::patients::tests::desk::Desk;
use model::{alarm::Priority, alert::EdgeAlert};
use rules::alert::AlertId;

impl County {
    pub(super) fn desk(&self, now: i64) -> Desk<'_> {
        Desk { runtime: &self.runtime, store: &self.store, rules: &self.rules, now: at(now) }
    }

    /// Patient, begin and state of every alert of a family, the first first.
    pub(super) fn each_of(&self, family: &str) -> Value {
        let mut alerts = self.alerts();
        alerts.retain(|alert| alert["family"] == family);
        alerts.sort_by_key(|alert| alert["started_at"].to_string());
        let parts = ["patient", "started_at", "state"];
        alerts
            .iter()
            .map(|alert| parts.map(|part| alert[part].clone()))
            .map(Value::from_iter)
            .collect()
    }
}

/// What another device of a patient says: an oximeter with its own pulse.
fn pulse(seconds: std::ops::Range<i64>, value: i32) -> Vec<Record> {
    let device = DeviceId::new("oxi-01").unwrap();
    let said = |second| {
        let reading = Reading::number(Metric::PULSE_OXIM, value, Unit::PER_MINUTE);
        Record::Readings(ReadingGroup::new(device.clone(), observed(second), vec![reading]))
    };
    seconds.map(said).collect()
}

/// A county with an oximeter beside the monitor, and two patients.
fn two_patients() -> (County, String, String) {
    let mut county = County::new();
    county.hear(0, vec![status("oxi-01", DeviceKind::Oximeter)]);
    let keys = ["1956-03", "1961-03"].map(|born| county.desk(0).admit(json!({"born": born})));
    let [first, second] = keys;
    (county, first, second)
}

#[test]
fn a_device_that_changed_patients_in_an_outage_is_judged_for_each_of_them() {
    let (mut county, first, second) = two_patients();
    let binding = county.desk(0).bind("ecg-01", &first);
    county.hear(1, heart_rate(1..2, 72));
    // Out of reach; the monitor goes from the one to the other.
    county.desk(600).unbind(binding);
    county.desk(660).bind("ecg-01", &second);
    let kept = [
        heart_rate(2..300, 72),
        heart_rate(300..330, 36),
        heart_rate(330..580, 72),
        // It lies there on nobody, and is put on.
        heart_rate(590..800, 72),
        heart_rate(800..830, 36),
        heart_rate(830..1199, 72),
    ];
    county.hear(1200, kept.into_iter().flatten().collect());
    county.hear(1201, heart_rate(1200..1202, 72));
    county.pass(1220);
    let expected =
        json!([[first, time(300), "cleared_unack"], [second, time(800), "cleared_unack"],]);
    assert_eq!(county.each_of("hr_low"), expected);
    assert!(county.due(DAY).is_empty());
    let late = county.site_told()["late"].clone();
    assert_eq!(json!([late["judged"], late["alerts"]]), json!([true, 2]));
}

/// What the box told of a low rate that began at `300`, of a device that it believed to be that
/// patient's.
fn told(patient: &str, (what, second): (&str, i64), over: Option<i64>) -> Record {
    let id = AlertId::new(&site(), patient, "hr_low", at(300));
    Record::Alert(Box::new(EdgeAlert {
        id: *id.as_bytes(),
        subject: patient.to_owned(),
        device: DeviceId::new("ecg-01").unwrap(),
        family: "hr_low".into(),
        rules: vec!["HR-AD-LL".into()],
        priority: Priority::High,
        state: if over.is_some() { "cleared_unack" } else { "active_unack" }.into(),
        metric: Some(Metric::HR),
        value: Some("36".into()),
        comparator: None,
        unit: None,
        limit: None,
        message_zh: String::new(),
        message_en: String::new(),
        started_at: at(300),
        cleared_at: over.map(at),
        what: what.into(),
        by: None,
        reason: None,
        note: String::new(),
        rule_set: 1,
        bindings: 1,
        observed: observed(second),
        latched: false,
    }))
}

#[test]
fn what_a_box_told_of_the_first_patient_speaks_for_no_other_on_whom_the_device_was_since() {
    let (mut county, first, second) = two_patients();
    let binding = county.desk(0).bind("ecg-01", &first);
    county.hear(1, heart_rate(1..2, 72));
    county.desk(600).unbind(binding);
    county.desk(600).bind("ecg-01", &second);
    // The box does not know of that: the low rate of the second is a return of the first's to it.
    let words = [
        told(&first, ("raised", 310), None),
        told(&first, ("cleared", 360), Some(360)),
        told(&first, ("recurred", 810), None),
        told(&first, ("cleared", 860), Some(860)),
    ];
    let kept = [
        heart_rate(2..300, 72),
        heart_rate(300..330, 36),
        heart_rate(330..800, 72),
        heart_rate(800..830, 36),
        heart_rate(830..1199, 72),
    ];
    let late = kept.into_iter().flatten();
    county.hear(1200, words.into_iter().chain(late).collect());
    county.hear(1201, heart_rate(1200..1202, 72));
    county.pass(1220);
    let alerts = county.each_of("hr_low");
    assert_eq!(alerts[0], json!([first, time(300), "cleared_unack"]));
    assert_eq!(alerts[1], json!([second, time(800), "cleared_unack"]));
}

#[test]
fn what_a_box_judged_by_the_limits_of_another_is_judged_here_by_those_of_whose_it_is() {
    let (mut county, first, second) = two_patients();
    let binding = county.desk(0).bind("ecg-01", &first);
    county.hear(1, heart_rate(1..2, 72));
    county.desk(200).unbind(binding);
    county.desk(200).bind("ecg-01", &second);
    // The box does not know of that.
    let words = [told(&first, ("raised", 310), None), told(&first, ("cleared", 340), Some(340))];
    county.hear(1200, words.into_iter().chain(heart_rate(2..1199, 72)).collect());
    county.hear(1201, heart_rate(1200..1202, 72));
    county.pass(1220);
    assert_eq!(county.each_of("hr_low"), json!([]));
    // What it heard was normal for both; what was low here is found in what was measured.
    let mut late = heart_rate(1202..1300, 72);
    late.extend(heart_rate(1300..1330, 36));
    late.extend(heart_rate(1330..2199, 72));
    county.hear(2200, late);
    county.hear(2201, heart_rate(2200..2202, 72));
    county.pass(2220);
    assert_eq!(county.each_of("hr_low"), json!([[second, time(1300), "cleared_unack"]]));
}

#[test]
fn what_comes_back_on_another_device_of_a_patient_is_a_return_of_theirs() {
    let (mut county, first, _) = two_patients();
    county.desk(0).bind("ecg-01", &first);
    county.hear(1, heart_rate(1..2, 72));
    county.desk(350).bind("oxi-01", &first);
    let Record::Alert(mut back) = told(&first, ("recurred", 400), None) else { unreachable!() };
    back.device = DeviceId::new("oxi-01").unwrap();
    back.metric = Some(Metric::PULSE_OXIM);
    let words = [
        told(&first, ("raised", 310), None),
        told(&first, ("cleared", 360), Some(360)),
        Record::Alert(back),
    ];
    county.hear(450, words.into_iter().collect());
    let alert = county.of("hr_low");
    let parts = ["patient", "state", "device"].map(|part| alert[part].clone());
    assert_eq!(json!(parts), json!([first, "unknown", "oxi-01"]));
    let story = alert["timeline"].as_array().unwrap().iter().map(|step| step["what"].clone());
    assert_eq!(Value::from_iter(story), json!(["raised", "cleared", "recurred"]));
}

#[test]
fn that_it_is_over_is_of_all_devices_also_where_a_box_names_one_that_has_left() {
    let (mut county, first, _) = two_patients();
    let monitor = county.desk(0).bind("ecg-01", &first);
    county.desk(0).bind("oxi-01", &first);
    county.hear(30, heart_rate(1..30, 36));
    county.hear(31, vec![alarm(30, AlarmKind::LeadOff, AlarmPhase::Start)]);
    // Inside the limit, and not yet where it clears.
    county.hear(60, pulse(31..60, 43));
    county.desk(60).unbind(monitor);
    let known = county.of("hr_low");
    let parts = ["state", "device"].map(|part| known[part].clone());
    assert_eq!(json!(parts), json!(["active_unack", "ecg-01"]), "the monitor measured 36");
    let Record::Alert(mut over) = told(&first, ("cleared", 100), Some(100)) else { unreachable!() };
    over.id = *AlertId::from_hex(known["id"].as_str().unwrap()).unwrap().as_bytes();
    over.started_at = at(1);
    county.hear(120, vec![Record::Alert(over)]);
    let over = county.of("hr_low");
    let parts = ["state", "cleared_at"].map(|part| over[part].clone());
    assert_eq!(json!(parts), json!(["cleared_unack", time(100)]));
}

#[test]
fn an_alarm_of_before_begins_at_the_earliest_when_its_device_came() {
    let said = |second, phase| vec![alarm(second, AlarmKind::OcclusionDownstream, phase)];
    let (mut county, first, second) = two_patients();
    let other = county.desk(0).bind("ecg-01", &second);
    county.hear(1, said(1, AlarmPhase::Start));
    county.desk(5).unbind(other);
    let binding = county.desk(5).bind("ecg-01", &first);
    county.desk(20).unbind(binding);
    // The driver says it again there, and it ends.
    let late = [said(10, AlarmPhase::Start), said(15, AlarmPhase::End)];
    county.hear(30, late.into_iter().flatten().collect());
    let of_first: Vec<Value> = county.alerts();
    let of_first = of_first.iter().find(|alert| alert["patient"] == json!(first)).unwrap();
    let parts = ["started_at", "cleared_at"].map(|part| of_first[part].clone());
    assert_eq!(json!(parts), json!([time(10), time(15)]));
}

#[test]
fn what_a_low_rate_of_one_patient_begins_the_next_one_does_not_complete() {
    let (mut county, first, second) = two_patients();
    let binding = county.desk(0).bind("ecg-01", &first);
    county.hear(1, heart_rate(1..2, 72));
    county.desk(600).unbind(binding);
    county.desk(600).bind("ecg-01", &second);
    // Six seconds with the one and six with the other: neither has ten.
    let kept = [heart_rate(2..594, 72), heart_rate(594..606, 36), heart_rate(606..1199, 72)];
    county.hear(1200, kept.into_iter().flatten().collect());
    county.hear(1201, heart_rate(1200..1202, 72));
    county.pass(1220);
    assert_eq!(county.each_of("hr_low"), json!([]));
}

#[test]
fn two_devices_of_one_patient_make_one_late_alert_of_a_family() {
    let (mut county, first, _) = two_patients();
    county.desk(0).bind("ecg-01", &first);
    county.desk(0).bind("oxi-01", &first);
    county.hear(1, heart_rate(1..2, 72));
    // Both see the same low rate, the oximeter a little later and longer.
    let ecg = [heart_rate(2..300, 72), heart_rate(300..330, 36), heart_rate(330..1199, 72)];
    let oxi = [pulse(2..303, 72), pulse(303..335, 36), pulse(335..1199, 72)];
    county.hear(1200, ecg.into_iter().flatten().collect());
    county.hear(1205, oxi.into_iter().flatten().collect());
    county.hear(1206, heart_rate(1200..1206, 72));
    county.pass(1220);
    let expected = json!([[first, time(300), "cleared_unack"]]);
    assert_eq!(county.each_of("hr_low"), expected);
    assert_eq!(county.site_told()["late"]["alerts"], 1);
}

#[test]
fn while_the_leads_say_a_normal_rate_the_late_pulse_of_the_oximeter_is_not_read() {
    let (mut county, first, _) = two_patients();
    county.desk(0).bind("ecg-01", &first);
    county.desk(0).bind("oxi-01", &first);
    county.hear(1, heart_rate(1..2, 72));
    let mut late = pulse(2..300, 72);
    late.extend(pulse(300..330, 36));
    late.extend(pulse(330..1199, 72));
    late.extend(heart_rate(2..1199, 72));
    county.hear(1200, late);
    county.hear(1201, heart_rate(1200..1202, 72));
    county.pass(1220);
    assert_eq!(county.each_of("hr_low"), json!([]));
}

#[test]
fn the_pass_judges_a_new_patient_by_their_own_age() {
    let mut county = County::new();
    // Of nobody anything was heard before the outage; at two months 150 is a rate as any other.
    let infant = county.desk(0).admit(json!({"born": "2026-09-20"}));
    county.desk(0).bind("ecg-01", &infant);
    county.hear(1200, heart_rate(1..1199, 150));
    county.pass(1220);
    assert_eq!(county.each_of("hr_high"), json!([]));
}

#[test]
fn the_pass_judges_who_was_discharged_meanwhile_by_their_own_age() {
    let mut county = County::new();
    let infant = county.desk(0).admit(json!({"born": "2026-09-20"}));
    county.desk(0).bind("ecg-01", &infant);
    county.desk(1100).discharge(&infant);
    let mut late = heart_rate(1..600, 150);
    late.extend(heart_rate(600..640, 60));
    late.extend(heart_rate(640..1050, 150));
    county.hear(1200, late);
    county.pass(1220);
    assert_eq!(county.each_of("hr_high"), json!([]));
    assert_eq!(county.each_of("hr_low"), json!([[infant, time(600), "cleared_unack"]]));
}

#[test]
fn what_was_said_before_a_device_changed_patients_sounds_for_nobody_and_is_history_of_the_first() {
    let (mut county, first, second) = two_patients();
    let binding = county.desk(0).bind("ecg-01", &first);
    county.hear(1, heart_rate(1..5, 72));
    county.desk(20).unbind(binding);
    county.desk(20).bind("ecg-01", &second);
    // It was on its way; all of it is fresh.
    let told = county.hear(21, heart_rate(5..20, 36));
    assert_eq!(json!([told, county.alerts()]), json!([[], []]));
    county.hear(22, heart_rate(20..22, 72));
    assert_eq!(county.due(40), ["ecg-01"]);
    county.pass(40);
    assert_eq!(county.each_of("hr_low"), json!([[first, time(5), "cleared_unack"]]));
    let alert = county.of("hr_low");
    assert_eq!((&alert["retro"], story(&alert)), (&json!(true), vec!["raised_late"]));
    // It is the alert that there would have been in time.
    let id = AlertId::new(&site(), &first, "hr_low", at(5)).to_string();
    assert_eq!(alert["id"], id.as_str());
}

#[test]
fn what_had_begun_before_a_device_left_is_not_raised_again_by_what_was_on_its_way() {
    let (mut county, first, _) = two_patients();
    let binding = county.desk(0).bind("ecg-01", &first);
    for second in 1..13 {
        county.hear(second, heart_rate(second..second + 1, 36));
    }
    county.desk(16).unbind(binding);
    let told = county.hear(17, heart_rate(13..16, 36));
    assert_eq!(json!(told), json!([]));
    county.pass(40);
    let alert = county.of("hr_low");
    assert_eq!((&alert["state"], story(&alert)), (&json!("closed"), vec!["raised", "closed"]));
}

#[test]
fn a_result_sounds_for_whom_it_was_measured_on_while_they_are_there() {
    let (mut county, first, second) = two_patients();
    let binding = county.desk(0).bind("glu-01", &first);
    county.desk(600).unbind(binding);
    county.desk(600).bind("glu-01", &second);
    county.hear(700, vec![glucose(700, 500, 40)]);
    let expected = json!([[first, time(500), "active_unack"]]);
    assert_eq!(county.each_of("glucose_low"), expected);
    county.pass(800);
    assert_eq!(county.each_of("glucose_low"), expected);
}

#[test]
fn a_result_of_who_has_gone_home_is_history() {
    let (mut county, first, _) = two_patients();
    county.desk(0).bind("glu-01", &first);
    county.desk(600).discharge(&first);
    assert!(county.hear(700, vec![glucose(700, 500, 40)]).is_empty());
    county.pass(720);
    assert_eq!(county.each_of("glucose_low"), json!([[first, time(500), "cleared_unack"]]));
    assert_eq!(county.of("glucose_low")["retro"], true);
}

#[test]
fn a_result_is_given_to_who_has_gone_home_as_history_and_only_of_before() {
    let (mut county, first, _) = two_patients();
    county.desk(600).discharge(&first);
    let mut give = |heard, measured| {
        county.hear(heard, vec![glucose(heard, measured, 40)]);
        let urgent = Lane::ALL.iter().position(|lane| *lane == Lane::Urgent).unwrap();
        let place = json!({"outbox": "01".repeat(16), "lane": "urgent", "index": 0,
            "seq": county.seq[urgent]});
        county.desk(heard + 1).give(place, &first)
    };
    assert_eq!(give(700, 599), Ok(()));
    for measured in [600, 690] {
        let refused = give(800, measured).unwrap_err();
        assert!(refused.starts_with("Because(Discharged, "), "{refused}");
    }
    let alerts = county.each_of("glucose_low");
    let of_first = |alert: &Value| alert[0] == first.as_str();
    assert!(!alerts.as_array().unwrap().iter().any(of_first), "{alerts}");
}

#[test]
fn an_alarm_of_before_a_device_changed_patients_is_history_of_the_first_and_nothing_at_the_second()
{
    let said = |second, phase| vec![alarm(second, AlarmKind::OcclusionDownstream, phase)];
    let (mut county, first, second) = two_patients();
    let binding = county.desk(0).bind("ecg-01", &first);
    county.hear(1, heart_rate(1..2, 72));
    county.desk(20).unbind(binding);
    county.desk(25).bind("ecg-01", &second);
    county.hear(30, said(10, AlarmPhase::Start));
    let family = county.alerts()[0]["family"].as_str().unwrap().to_owned();
    let history = json!([first, time(10), "closed"]);
    assert_eq!(county.each_of(&family), json!([history]));
    assert_eq!(county.alerts()[0]["retro"], true);
    // It sounds for nobody with the first reading, before the news that it was over.
    county.hear(31, heart_rate(31..32, 72));
    county.hear(32, said(15, AlarmPhase::End));
    assert_eq!(county.each_of(&family), json!([history]));
    assert_eq!(county.alerts()[0]["cleared_at"], time(15));
    // The device says so here.
    county.hear(33, said(33, AlarmPhase::Start));
    let active = json!([second, time(33), "active_unack"]);
    assert_eq!(county.each_of(&family), json!([history, active]));
    county.hear(34, said(16, AlarmPhase::End));
    assert_eq!(county.each_of(&family), json!([history, active]));
    county.hear(40, said(40, AlarmPhase::End));
    let cleared = json!([second, time(33), "cleared_unack"]);
    assert_eq!(county.each_of(&family), json!([history, cleared]));
}

#[test]
fn an_alarm_that_is_up_when_its_device_changes_patients_closes_and_begins_when_it_is_said_again() {
    let said = |second, phase| vec![alarm(second, AlarmKind::OcclusionDownstream, phase)];
    let (mut county, first, second) = two_patients();
    let binding = county.desk(0).bind("ecg-01", &first);
    county.hear(10, said(10, AlarmPhase::Start));
    county.desk(20).unbind(binding);
    county.desk(25).bind("ecg-01", &second);
    county.hear(31, heart_rate(31..32, 72));
    let family = "dev_occl_down";
    let over = [json!([first, time(10), "closed"]), json!([null, time(20), "closed"])];
    assert_eq!(county.each_of(family), json!(over));
    county.hear(40, said(40, AlarmPhase::Update));
    assert_eq!(county.each_of(family)[2], json!([second, time(40), "active_unack"]));
}

#[test]
fn a_late_technical_alert_of_a_patients_device_is_one_of_that_device() {
    let (mut county, first, _) = two_patients();
    county.desk(0).bind("ecg-01", &first);
    county.desk(0).bind("oxi-01", &first);
    county.hear(1, heart_rate(1..2, 72));
    let battery = |device: &str, second, value: i32| {
        let reading = Reading::number(Metric::BATT_PCT, value, Unit::PERCENT);
        let device = DeviceId::new(device).unwrap();
        Record::Readings(ReadingGroup::new(device, observed(second), vec![reading]))
    };
    let mut late = heart_rate(2..1199, 72);
    for second in (60..1190).step_by(60) {
        late.push(battery("ecg-01", second, if (300..600).contains(&second) { 9 } else { 80 }));
        late.push(battery("oxi-01", second, 70));
    }
    county.hear(1200, late);
    county.hear(1201, heart_rate(1200..1202, 72));
    county.pass(1220);
    assert_eq!(county.each_of("batt_low"), json!([[first, time(300), "cleared_unack"]]));
    let alert = county.of("batt_low");
    assert_eq!((&alert["device"], &alert["retro"]), (&json!("ecg-01"), &json!(true)));
    assert_eq!(alert["cleared_at"], time(600));
    // It is low again and ends: that is another one of the same device.
    county.hear(2000, vec![battery("ecg-01", 2000, 15), battery("oxi-01", 2000, 70)]);
    county.hear(2100, vec![battery("ecg-01", 2100, 80)]);
    let states = json!([[first, time(300), "cleared_unack"], [first, time(2000), "closed"]]);
    assert_eq!(county.each_of("batt_low"), states);
}

#[test]
fn a_value_whose_scale_cannot_be_meant_is_a_low_alert_of_its_device() {
    let (mut county, first, _) = two_patients();
    county.desk(0).bind("ecg-01", &first);
    let temperature = |second, value| of_monitor(second, Metric::TEMP, value, Unit::CELSIUS);
    county.hear(10, vec![temperature(10, 370)]);
    let alert = county.of("tech_unit");
    let parts = ["rules", "priority", "state", "metric", "value"].map(|part| alert[part].clone());
    assert_eq!(json!(parts), json!([["TECH-UNIT"], "low", "active_unack", "temp", null]));
    county.hear(11, vec![temperature(11, 37)]);
    assert_eq!(county.each_of("tech_unit"), json!([[first, time(10), "closed"]]));
}
