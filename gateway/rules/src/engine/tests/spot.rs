//! Spot values: at once, by the next of their class, and asked for again.

use super::*;

#[test]
fn a_spot_reading_does_not_wait_for_the_sustain_of_its_rule() {
    for (metric, value, family) in [
        (Metric::TEMP_EAR, "39.2", "temp_high"),
        (Metric::PULSE_NIBP, "38", "hr_low"),
        (Metric::TEMP_ORAL, "34.9", "temp_low"),
    ] {
        let mut ward = Ward::new("spot-01");
        ward.number(5.0, metric, value);
        assert_eq!(ward.alert(family).started_at, at(5.0));
    }
}

#[test]
fn a_spot_check_oximeter_alerts_at_once_and_the_next_good_value_clears() {
    let mut ward = Ward::new("oxi-01");
    let check = |ward: &mut Ward, second: f64, value: u32| {
        let reading = Reading::number(Metric::SPO2, value, Unit::PERCENT);
        let mut group =
            ReadingGroup::new(ward.device.clone(), Ward::observed(second), vec![reading]);
        group.occurrence = Occurrence::Spot;
        ward.feed_group(&group, second);
    };
    check(&mut ward, 0.0, 84);
    assert_eq!(ward.only().rules, ["SPO2-AD-LL", "SPO2-AD-L"]);
    check(&mut ward, 60.0, 91);
    assert_eq!(ward.only().state, AlertState::ClearedUnack);
}

#[test]
fn a_spot_value_asks_to_be_measured_again_and_says_when_nobody_did() {
    let mut ward = Ward::new("bp-01");
    ward.feed(0.0, 0.0, vec![Reading::number(Metric::NIBP_SYS, 184, Unit::MM_HG)]);
    assert_eq!((ward.only().recheck_at, ward.only().not_rechecked), (Some(at(300.0)), false));
    ward.pass_time(899.9);
    assert_eq!(ward.engine.next_deadline(ward.rules), Some(at(900.0)));
    assert!(!ward.only().not_rechecked);
    ward.pass_time(900.0);
    let alert = ward.only();
    assert!(alert.not_rechecked && alert.message_zh.ends_with(",未复测"));
    assert!(alert.message_en.ends_with(", not rechecked"));
    // What is next is that nobody comes.
    assert_eq!(ward.engine.next_deadline(ward.rules), Some(at(1800.0)));
    // Somebody did, and it is as high.
    ward.feed(960.0, 960.0, vec![Reading::number(Metric::NIBP_SYS, 184, Unit::MM_HG)]);
    let alert = ward.only();
    assert!(!alert.not_rechecked && !alert.message_zh.contains("未复测"));
    assert_eq!((alert.recheck_at, alert.priority), (Some(at(1260.0)), Priority::High));
    ward.pass_time(2000.0);
    assert!(ward.only().not_rechecked);
    ward.feed(2001.0, 2001.0, vec![Reading::number(Metric::NIBP_SYS, 130, Unit::MM_HG)]);
    let alert = ward.only();
    assert!(!alert.not_rechecked && !alert.message_en.contains("not rechecked"));
}

#[test]
fn what_a_rule_does_not_say_of_its_recheck_the_file_does() {
    let mut ward = Ward::new("glu-01");
    ward.number(0.0, Metric::KETONE, "3.1");
    ward.number(1.0, Metric::GLU_CAP_PL, "12.0");
    assert_eq!(ward.only().rules, ["GLU-AD-DKA"]);
    assert_eq!(ward.only().recheck_at, Some(at(301.0)));
}

#[test]
fn the_next_value_of_the_class_clears_however_it_was_measured() {
    let mut ward = Ward::new("any-01");
    ward.number(0.0, Metric::TEMP_EAR, "39.2");
    ward.number(60.0, Metric::TEMP_AXILLA, "37.0");
    assert_eq!(ward.only().state, AlertState::ClearedUnack);
    // Two of one moment: none of them is the next.
    let mut ward = Ward::new("any-01");
    let of = |metric, tenths| Reading::number(metric, Decimal::fixed(tenths, -1), Unit::CELSIUS);
    ward.feed(0.0, 0.0, vec![of(Metric::TEMP_EAR, 392), of(Metric::TEMP_AXILLA, 370)]);
    assert_eq!(ward.only().state, AlertState::ActiveUnack);
}

#[test]
fn an_implausible_value_runs_its_rules_and_asks_to_check() {
    let mut ward = Ward::new("ecg-01");
    ward.stream(0, 12, Metric::HR, "18");
    let alert = ward.only();
    assert_eq!(alert.priority, Priority::High);
    assert!(alert.message_zh.ends_with(",请核对"), "{}", alert.message_zh);
    assert!(alert.message_en.ends_with(", check"), "{}", alert.message_en);
    ward.stream(12, 14, Metric::HR, "72");
    assert_eq!(ward.only().value.as_deref(), Some("18"));
    assert!(ward.only().message_zh.ends_with(",请核对"));
    ward.stream(14, 16, Metric::HR, "36");
    assert!(!ward.only().message_zh.contains("请核对"));
    // What cannot be is no value and runs no rule.
    let mut ward = Ward::new("ecg-01");
    ward.stream(0, 60, Metric::HR, "360");
    assert!(ward.told.is_empty());
}

#[test]
fn a_cuff_on_the_same_limb_stops_new_saturation_alerts_and_clears_none() {
    let cuffed = |profile: Profile| {
        let mut ward = Ward::of(profile);
        ward.stream(0, 5, Metric::SPO2, "97");
        ward.feed(5.0, 5.0, pressure(120, 80));
        ward.stream(5, 66, Metric::SPO2, "80");
        ward
    };
    let mut ward = cuffed(aged(600));
    assert!(ward.told.is_empty());
    ward.stream(66, 78, Metric::SPO2, "80");
    assert_eq!(ward.only().started_at, at(66.0));
    ward.feed(78.0, 78.0, pressure(120, 80));
    ward.stream(78, 130, Metric::SPO2, "97");
    assert_eq!(ward.only().state, AlertState::ActiveUnack);
    let ward = cuffed(Profile { cuff_on_other_limb: true, ..aged(600) });
    assert_eq!(ward.only().started_at, at(5.0));
    // It says that it measures: its result comes when it is over.
    let mut ward = Ward::of(aged(600));
    ward.cuff(0.0, true);
    ward.stream(0, 40, Metric::SPO2, "80");
    ward.cuff(40.0, false);
    ward.store_and_load();
    ward.stream(40, 101, Metric::SPO2, "80");
    assert!(ward.told.is_empty());
    ward.stream(101, 113, Metric::SPO2, "80");
    assert_eq!(ward.only().started_at, at(101.0));
    // It never says that it is over.
    let mut ward = Ward::of(aged(600));
    ward.cuff(0.0, true);
    ward.stream(0, 193, Metric::SPO2, "80");
    assert_eq!(ward.only().started_at, at(181.0));
    // The cuff of another device is on nobody knows which limb.
    let mut ward = Ward::of(aged(600));
    ward.hand_to("bp-01", DeviceKind::Cuff, 0.0);
    ward.feed(0.0, 0.0, pressure(120, 80));
    ward.hand_to("ecg-01", DeviceKind::Monitor, 0.0);
    ward.stream(0, 12, Metric::SPO2, "80");
    assert!(ward.has("spo2_low"));
}

#[test]
fn a_late_result_asks_to_be_measured_again_and_the_battery_it_tells_of_does_not() {
    for patient in [false, true] {
        let mut ward = if patient { Ward::of(aged(40 * 12)) } else { Ward::new("ecg-01") };
        ward.hand_to("glu-01", DeviceKind::GlucoseMeter, 0.0);
        let readings = vec![
            Reading::number(Metric::GLU_CAP_PL, 53, Unit::MG_PER_DL),
            Reading::number(Metric::BATT_PCT, 5, Unit::PERCENT),
        ];
        let group = ReadingGroup {
            occurrence: Occurrence::Spot,
            ..ReadingGroup::new(ward.device.clone(), Ward::observed(10.0), readings)
        };
        ward.feed_group(&group, 10.0 + 2.0 * 3600.0);
        let asks = |family| {
            let alert = ward.alert(family);
            (alert.late_row, alert.message_en.contains("measure again now"))
        };
        assert_eq!((asks("glucose_low"), asks("batt_low")), ((Some(5), true), (None, false)));
    }
}

#[test]
fn a_late_result_that_a_fresh_value_confirms_is_late_no_more() {
    let mut ward = Ward::new("glu-01");
    ward.hand_to("glu-01", DeviceKind::GlucoseMeter, 0.0);
    let asks = |ward: &Ward| {
        let alert = ward.only();
        let asks = alert.message_en.contains("measure again now");
        (alert.late_row, asks, alert.message_zh.contains("复测"), alert.state)
    };
    let result = |seconds: f64, value: u32| {
        let reading = Reading::number(Metric::GLU_CAP_PL, value, Unit::MG_PER_DL);
        let group = ReadingGroup::new(
            DeviceId::new("glu-01").unwrap(),
            Ward::observed(seconds),
            vec![reading],
        );
        ReadingGroup { occurrence: Occurrence::Spot, ..group }
    };
    ward.feed_group(&result(10.0, 53), 10.0 + 2.0 * 3600.0);
    let id = ward.only().id;
    assert_eq!(asks(&ward), (Some(5), true, true, AlertState::ActiveUnack));
    // Nobody has measured while time passes.
    ward.pass_time(10.0 + 2.5 * 3600.0);
    assert_eq!(asks(&ward), (Some(5), true, true, AlertState::ActiveUnack));
    let says = "低血糖2级,测于 2小时0分前,请立即复测,未复测";
    assert_eq!(ward.only().message_zh, says);
    ward.feed_group(&result(3.0 * 3600.0, 52), 3.0 * 3600.0);
    assert_eq!(ward.only().id, id);
    assert_eq!(asks(&ward), (None, false, false, AlertState::ActiveUnack));
}

/// A patient whose heart was slow by the monitor, of which the leads came off.
fn slow_until_leads_came_off() -> Ward {
    let mut ward = Ward::of(aged(600));
    ward.stream(0, 12, Metric::HR, "36");
    ward.absent(12.0, Metric::HR, NoData::LeadOff);
    ward
}

#[test]
fn one_pulse_of_a_cuff_does_not_end_what_a_stream_began() {
    let low = |ward: &Ward| {
        let alert = ward.alert("hr_low");
        (alert.state, alert.cleared_at)
    };
    for device in ["bp-01", "ecg-01"] {
        let mut ward = slow_until_leads_came_off();
        ward.hand_to(device, DeviceKind::Cuff, 12.0);
        // One, one that is too soon after it, and one between the limit and what clears.
        for (second, pulse) in [(30.0, "64"), (59.0, "64"), (300.0, "43"), (600.0, "64")] {
            ward.number(second, Metric::PULSE_NIBP, pulse);
            assert_eq!(low(&ward), (AlertState::ActiveUnack, None), "{device} {second}");
        }
        // Nor does one after one that is outside.
        ward.number(700.0, Metric::PULSE_NIBP, "38");
        ward.number(1000.0, Metric::PULSE_NIBP, "64");
        assert_eq!(low(&ward), (AlertState::ActiveUnack, None), "{device}");
        // It is over when the next, after the time for which a value has to hold, says so too.
        ward.number(1030.0, Metric::PULSE_NIBP, "64");
        assert_eq!(low(&ward), (AlertState::ClearedUnack, Some(at(1030.0))), "{device}");
    }
    // The stream ends it as before: the pulse of a cuff is no part of its hold.
    let mut ward = slow_until_leads_came_off();
    ward.number(30.0, Metric::PULSE_NIBP, "64");
    ward.stream(40, 70, Metric::HR, "72");
    assert_eq!(low(&ward), (AlertState::ActiveUnack, None));
    ward.number(70.0, Metric::HR, "72");
    assert_eq!(low(&ward), (AlertState::ClearedUnack, Some(at(70.0))));
}

#[test]
fn one_pulse_of_a_cuff_ends_what_a_pulse_of_a_cuff_began() {
    let mut ward = Ward::of(aged(600));
    ward.hand_to("bp-01", DeviceKind::Cuff, 0.0);
    ward.number(0.0, Metric::PULSE_NIBP, "38");
    assert_eq!(ward.only().state, AlertState::ActiveUnack);
    ward.number(300.0, Metric::PULSE_NIBP, "64");
    assert_eq!(
        (ward.only().state, ward.only().cleared_at),
        (AlertState::ClearedUnack, Some(at(300.0)))
    );
}

#[test]
fn one_pulse_of_a_cuff_does_not_end_what_a_stream_began_before_the_clock_was_set() {
    let mut ward = slow_until_leads_came_off();
    let (site, subject) = (ward.engine.site.clone(), ward.engine.subject.clone());
    let state = serde_json::to_string(&ward.engine).unwrap();
    let profile = ward.engine.profile().clone();
    ward.engine = Engine::rescued(site, subject, &state);
    ward.change(13.0, profile);
    ward.number(30.0, Metric::PULSE_NIBP, "64");
    assert_eq!(ward.alert("hr_low").cleared_at, None);
    ward.number(60.0, Metric::PULSE_NIBP, "64");
    assert_eq!(ward.alert("hr_low").cleared_at, Some(at(60.0)));
}

#[test]
fn device_metric_and_value_of_an_alert_are_of_one_reading() {
    let mut ward = slow_until_leads_came_off();
    let says = |ward: &Ward| {
        let alert = ward.alert("hr_low");
        let metric = alert.metric.map(Metric::name);
        (alert.device.to_string(), metric, alert.value.clone())
    };
    let of_monitor = ("ecg-01".to_owned(), Some("hr"), Some("36".to_owned()));
    ward.hand_to("oxi-01", DeviceKind::Oximeter, 12.0);
    ward.stream(13, 16, Metric::PULSE_OXIM, "43");
    assert_eq!(says(&ward), of_monitor);
    ward.number(16.0, Metric::PULSE_OXIM, "39");
    assert_eq!(says(&ward), ("oxi-01".to_owned(), Some("pulse_oxim"), Some("39".to_owned())));
    // It goes on without whoever measured it first.
    let mut ward = slow_until_leads_came_off();
    ward.hand_to("oxi-01", DeviceKind::Oximeter, 12.0);
    ward.stream(13, 16, Metric::PULSE_OXIM, "43");
    let monitor = DeviceId::new("ecg-01").unwrap();
    let (_, told) = ward.engine.device_left(ward.rules, at(16.0), at(16.0), &monitor, "rebound");
    assert!(told.iter().all(|alert| alert.family != "hr_low"), "{told:#?}");
    assert_eq!(ward.alert("hr_low").state, AlertState::ActiveUnack);
}
