//! What single readings do: gaps, ranks, probes, second values.

use super::*;

fn glucose(ward: &mut Ward, second: f64, value: &str) {
    ward.number(second, Metric::GLU_CAP_PL, value);
}

fn pressure(ward: &mut Ward, second: f64, sys: u32) {
    ward.feed(second, second, vec![Reading::number(Metric::NIBP_SYS, sys, Unit::MM_HG)]);
}

#[test]
fn a_gap_without_values_begins_a_sustain_anew_even_when_the_device_says_why() {
    let mut ward = Ward::new("ecg-01");
    ward.number(0.0, Metric::HR, "39");
    for second in 1..12_u32 {
        ward.absent(f64::from(second), Metric::HR, NoData::Searching);
    }
    ward.number(12.0, Metric::HR, "39");
    assert!(ward.told.is_empty(), "two readings twelve seconds apart are no sustain");
}

#[test]
fn a_gap_without_values_begins_a_hold_anew() {
    let mut ward = Ward::new("ecg-01");
    ward.stream(0, 12, Metric::HR, "36");
    ward.number(12.0, Metric::HR, "72");
    for second in 13..50_u32 {
        ward.absent(f64::from(second), Metric::HR, NoData::Motion);
    }
    ward.number(50.0, Metric::HR, "72");
    assert_eq!(ward.only().state, AlertState::ActiveUnack);
}

#[test]
fn a_heart_rate_that_is_missing_for_a_moment_keeps_its_turn() {
    let mut ward = Ward::new("ecg-01");
    for second in 0..15_u32 {
        match second % 3 {
            1 => ward.absent(f64::from(second), Metric::HR, NoData::Searching),
            _ => ward.number(f64::from(second), Metric::HR, "36"),
        }
        ward.number(f64::from(second) + 0.1, Metric::PULSE_OXIM, "72");
    }
    assert_eq!(ward.alert("hr_low").metric, Some(Metric::HR));
}

#[test]
fn an_alert_tells_how_the_value_it_shows_was_measured() {
    let mut ward = Ward::new("ecg-01");
    for second in 0..12_u32 {
        ward.absent(f64::from(second), Metric::HR, NoData::LeadOff);
        ward.number(f64::from(second) + 0.1, Metric::PULSE_OXIM, "38");
    }
    ward.stream(12, 20, Metric::HR, "72");
    let alert = ward.only();
    assert_eq!((alert.metric, alert.value.as_deref()), (Some(Metric::PULSE_OXIM), Some("38")));
}

#[test]
fn a_heart_rate_without_values_for_ten_seconds_gives_its_turn_away() {
    let mut ward = Ward::new("ecg-01");
    ward.stream(0, 5, Metric::HR, "72");
    for second in 5..30_u32 {
        ward.absent(f64::from(second), Metric::HR, NoData::NotAvailable);
        ward.number(f64::from(second) + 0.1, Metric::PULSE_OXIM, "36");
    }
    let alert = ward.alert("hr_low");
    assert_eq!((alert.metric, alert.started_at), (Some(Metric::PULSE_OXIM), at(14.1)));
}

#[test]
fn a_probe_off_stops_only_rules_of_what_it_measures() {
    let mut ward = Ward::new("ecg-01");
    let mut alarm = ward.an_alarm(0.0, AlarmKind::ProbeOff, AlarmPhase::Start);
    alarm.source = Some(Metric::SPO2);
    ward.alarm_at(0.0, &alarm);
    for second in 1..70_u32 {
        ward.number(f64::from(second), Metric::TEMP, "41.5");
        ward.number(f64::from(second), Metric::SPO2, "80");
    }
    assert!(ward.has("temp_high") && !ward.has("spo2_low"));
}

#[test]
fn a_second_probe_that_is_off_does_not_hide_the_fever_of_the_first() {
    let mut ward = Ward::new("ecg-01");
    let mut alarm = ward.an_alarm(0.0, AlarmKind::ProbeOff, AlarmPhase::Start);
    (alarm.source, alarm.channel) = (Some(Metric::TEMP), Channel::new("t2").unwrap());
    ward.alarm_at(0.0, &alarm);
    ward.stream(1, 70, Metric::TEMP, "41.5");
    assert!(ward.has("temp_high"));
}

#[test]
fn a_temperature_probe_on_the_bed_is_a_probe_off_and_no_hypothermia() {
    let mut ward = Ward::new("ecg-01");
    for second in 0..70_u32 {
        ward.number(f64::from(second), Metric::TEMP, "22.4");
    }
    assert_eq!(ward.only().rules, ["TECH-PROBEOFF"]);
    assert_eq!(ward.only().value.as_deref(), Some("22.4"));
    ward.stream(70, 140, Metric::TEMP, "34.2");
    assert!(!ward.has("tech_probe_off"));
    assert_eq!(ward.only().rules, ["T-AD-L"]);
}

#[test]
fn a_temperature_probe_on_the_bed_does_not_end_a_fever() {
    let mut ward = Ward::new("ecg-01");
    ward.stream(0, 70, Metric::TEMP, "41.2");
    ward.stream(70, 200, Metric::TEMP, "22.0");
    assert_eq!(ward.alert("temp_high").state, AlertState::ActiveUnack);
}

#[test]
fn a_pump_that_is_switched_off_is_not_near_its_end() {
    for reason in [NoData::Off, NoData::NotAvailable] {
        let mut ward = Ward::new("pump-01");
        ward.in_unit(0.0, Metric::PUMP_TIME_REM, "500", Unit::SECOND);
        assert_eq!(ward.only().rules, ["PUMP-NEAR-END"]);
        ward.absent(5.0, Metric::PUMP_TIME_REM, reason);
        assert!(!ward.has("pump_near_end") || ward.only().state == AlertState::ClearedUnack);
    }
}

#[test]
fn an_episode_begins_with_the_first_reading_outside_any_of_its_rules() {
    let mut ward = Ward::new("ecg-01");
    ward.stream(0, 12, Metric::HR, "45");
    ward.stream(12, 24, Metric::HR, "36");
    let alert = ward.only();
    assert_eq!((alert.rules[0].as_str(), alert.started_at), ("HR-AD-LL", at(0.0)));
    let (site, device) = (&alert.site, alert.device.as_str());
    assert_eq!(alert.id, AlertId::new(site, device, "hr_low", at(0.0)));
}

#[test]
fn what_a_gap_broke_off_is_not_the_begin_of_an_episode() {
    let mut ward = Ward::new("ecg-01");
    for second in 0..5_u32 {
        ward.number(f64::from(second), Metric::RR, "7");
    }
    for second in 600..625_u32 {
        ward.number(f64::from(second), Metric::RR_IMP, "7");
    }
    assert_eq!(ward.only().started_at, at(600.0));
}

#[test]
fn any_two_cuff_values_near_enough_confirm_each_other() {
    let mut ward = Ward::new("bp-01");
    for second in [0.0, 3600.0] {
        pressure(&mut ward, second, 184);
        assert_eq!(ward.only().priority, Priority::Medium);
    }
    pressure(&mut ward, 3600.0 + 140.0, 186);
    assert_eq!((ward.only().priority, ward.only().started_at), (Priority::High, at(0.0)));
}

#[test]
fn glucose_and_ketones_raise_their_alert_in_either_order() {
    for order in [[0, 1], [1, 0]] {
        let mut ward = Ward::new("glu-01");
        for (second, part) in [(0.0, order[0]), (600.0, order[1])] {
            match part {
                0 => glucose(&mut ward, second, "14.0"),
                _ => ward.number(second, Metric::KETONE, "3.2"),
            }
        }
        let alert = ward.alert("glucose_high");
        assert!(alert.rules.contains(&"GLU-AD-DKA".to_owned()), "{alert:?}");
        assert_eq!(alert.metric, Some(Metric::GLU_CAP_PL));
    }
}

#[test]
fn ketones_say_something_about_the_glucose_of_one_hour() {
    for (second, together) in [(3600.0, true), (3601.0, false)] {
        let mut ward = Ward::new("glu-01");
        glucose(&mut ward, 0.0, "14.0");
        ward.number(second, Metric::KETONE, "3.2");
        assert_eq!(ward.has("glucose_high"), together, "after {second} s");
        let mut ward = Ward::new("glu-01");
        ward.number(0.0, Metric::KETONE, "3.2");
        glucose(&mut ward, second, "14.0");
        assert_eq!(ward.has("glucose_high"), together, "after {second} s, ketones first");
    }
}

#[test]
fn a_clock_that_is_wrong_is_told_with_the_alert() {
    let mut ward = Ward::new("glu-01");
    ward.status(0.0, DeviceKind::GlucoseMeter, DeviceState::Online);
    let ahead = vec![Reading::number(Metric::CLOCK_OFFSET, -40_000, Unit::SECOND)];
    ward.feed(0.0, 0.0, ahead);
    let value = vec![Reading::number(Metric::GLU_CAP_PL, 53, Unit::MG_PER_DL)];
    let stamp = at(10.0).unix_ms() - 40_000_000;
    let stamp = Some(DeviceTime::Zoned { civil_ms: stamp, offset_s: 0 });
    let group = ReadingGroup::new(ward.device.clone(), Ward::observed(15.0), value);
    ward.feed_group(&group.at_device_time(stamp), 15.0);
    let alert = ward.alert("glucose_low");
    assert_eq!((alert.started_at, alert.time_suspect), (at(10.0), true));
    let doubts = |alert: &Alert| alert.message_zh.matches("时间存疑").count();
    assert_eq!(doubts(alert), 1);
    assert_eq!(ward.alert("tech_clock").priority, Priority::Medium);
    // Once, also where the state had to be rescued.
    let mut state = serde_json::to_value(&ward.engine).unwrap();
    state["alarms"] = "none".into();
    let (site, subject) = (ward.engine.site.clone(), ward.engine.subject.clone());
    ward.engine = Engine::rescued(site, subject, &state.to_string());
    ward.status(20.0, DeviceKind::Monitor, DeviceState::Silent);
    ward.status(25.0, DeviceKind::Monitor, DeviceState::Online);
    let alert = ward.alert("glucose_low");
    assert_eq!((alert.state, doubts(alert)), (AlertState::ActiveUnack, 1));
}

#[test]
fn what_a_device_says_of_its_clock_in_a_boot_that_nobody_heard_moves_nothing() {
    let mut ward = Ward::new("glu-01");
    let said = |ward: &Ward, observed: WallTime| {
        let ahead = vec![Reading::number(Metric::CLOCK_OFFSET, 1_795_335_300, Unit::SECOND)];
        let observed = Observed { at: observed, quality: ClockQuality::Unknown };
        ReadingGroup::new(ward.device.clone(), observed, ahead)
    };
    // The box is in 1970, or in a future: its meter, which is right, seems to be far ahead.
    for observed in [WallTime::from_unix_ms(5000), at(86_400.0)] {
        let of_box = Clocks::of_box(BoxTime::Before(at(0.0)));
        let group = said(&ward, observed);
        let clocks = ward.engine.clocks(&group, of_box, at(10.0));
        assert_eq!(clocks.device_ahead_ms, None);
    }
}

#[test]
fn a_box_whose_clock_is_wrong_is_told() {
    let mut edge = Ward::new("heping");
    let hear = |edge: &mut Ward, seconds: f64, now: f64| {
        edge.engine.hear_box_clock(edge.rules, at(now), at(seconds))
    };
    assert!(hear(&mut edge, 1.0, 0.0).is_empty());
    let told = hear(&mut edge, 35.0, 30.0);
    assert_eq!((told[0].rules[0].as_str(), told[0].priority), ("TECH-CLOCK", Priority::Low));
    assert_eq!((told[0].value.as_deref(), edge.engine.box_ahead_ms()), (Some("5.000"), 5000));
    hear(&mut edge, 60.0, 60.0);
    assert_eq!(hear(&mut edge, 90.0, 90.0)[0].state, AlertState::Closed);
}

#[test]
fn a_number_is_pending_from_its_first_value_outside_until_it_is_an_alert_or_inside() {
    let mut ward = Ward::new("ecg-01");
    let mut feed = |second: f64, value: &str| {
        ward.number(second, Metric::HR, value);
        let pending = ward.engine.take_pending();
        let told = pending.numbers.into_iter().map(|((_, _, metric), at)| (metric, at));
        (told.collect::<Vec<_>>(), pending.over)
    };
    assert_eq!(feed(0.0, "72"), (vec![], 0));
    // 39 is outside two rules, of 10 s and of 30 s; it is one number.
    for second in 1..11_u32 {
        let second = f64::from(second);
        assert_eq!(feed(second, "39"), (vec![(Metric::HR, at(second))], 0), "{second}");
    }
    // It is an alert: what else of its family is waiting is no news of it.
    assert_eq!(feed(11.0, "39"), (vec![], 0));
    assert_eq!(feed(12.0, "72"), (vec![], 1), "the one of 30 s never held");
}

#[test]
fn what_is_over_before_its_time_leaves_a_count_and_nothing_else() {
    let mut ward = Ward::new("ecg-01");
    ward.stream(0, 5, Metric::HR, "39");
    ward.number(5.0, Metric::HR, "72");
    let pending = ward.engine.take_pending();
    assert_eq!((pending.numbers.len(), pending.over), (0, 2));
    // A gap begins it again.
    ward.number(6.0, Metric::HR, "45");
    ward.number(16.0, Metric::HR, "45");
    let pending = ward.engine.take_pending();
    assert_eq!((pending.numbers.len(), pending.over), (1, 1));
    // A spot value is an alert at once.
    ward.number(17.0, Metric::NIBP_SYS, "70");
    assert!(ward.engine.take_pending().numbers.is_empty());
    assert!(ward.told.iter().all(|alert| alert.family != "hr_low"));
}
