//! Device alarms: late ones, their priority, and what people do with their alerts.

use super::*;

const OCCLUSION: AlarmKind = AlarmKind::OcclusionDownstream;

fn said(ward: &mut Ward, seconds: f64, now: f64, phase: AlarmPhase) {
    let alarm = ward.an_alarm(seconds, OCCLUSION, phase);
    ward.alarm_at(now, &alarm);
}

#[test]
fn an_alarm_that_began_in_an_outage_is_unknown_until_the_device_is_heard() {
    let mut ward = Ward::new("pump-01");
    said(&mut ward, 10.0, 1210.0, AlarmPhase::Start);
    let alert = ward.only().clone();
    assert_eq!((alert.state, alert.started_at), (AlertState::Unknown, at(10.0)));
    assert_eq!(alert.priority, Priority::High);
    // That it is over may be on its way behind it.
    ward.in_unit(1219.0, Metric::PUMP_RATE, "5", Unit::ML_PER_HOUR);
    assert_eq!(ward.only().state, AlertState::Unknown);
    ward.in_unit(1220.0, Metric::PUMP_RATE, "5", Unit::ML_PER_HOUR);
    assert_eq!((ward.only().id, ward.only().state), (alert.id, AlertState::ActiveUnack));
    said(&mut ward, 1230.0, 1230.0, AlarmPhase::End);
    assert_eq!(ward.only().state, AlertState::ClearedUnack);
}

#[test]
fn what_was_counted_while_a_lead_was_off_raises_nothing_when_it_comes_after_its_end() {
    let mut ward = Ward::new("ecg-01");
    ward.stream(0, 10, Metric::HR, "72");
    ward.alarm(10.0, AlarmKind::LeadOff, AlarmPhase::Start);
    ward.alarm(40.0, AlarmKind::LeadOff, AlarmPhase::End);
    for second in 10..40_u32 {
        let reading = Reading::number(Metric::HR, 30, Unit::PER_MINUTE);
        ward.feed(f64::from(second), 41.0, vec![reading]);
    }
    assert_eq!(ward.raised(), ["TECH-LEADOFF"]);
    // It counts from there on.
    for second in 41..52_u32 {
        ward.number(f64::from(second), Metric::HR, "30");
    }
    let low = ward.engine.alerts().find(|alert| alert.family == "hr_low").unwrap();
    assert_eq!(low.started_at, at(41.0));
}

#[test]
fn an_alarm_of_which_nobody_knows_when_it_was_is_unknown_until_the_device_is_heard() {
    let mut ward = Ward::new("pump-01");
    let alarm = ward.an_alarm(10.0, OCCLUSION, AlarmPhase::Start);
    let said = Moment { suspect: true, only_bounded: true, ..Moment::sure(at(10.0)) };
    let told = ward.engine.on_alarm(ward.rules, at(10.0), said, &alarm);
    assert_eq!(told[0].state, AlertState::Unknown);
    ward.in_unit(20.0, Metric::PUMP_RATE, "5", Unit::ML_PER_HOUR);
    assert_eq!(ward.only().state, AlertState::ActiveUnack);
}

#[test]
fn an_alarm_that_began_and_ended_in_an_outage_is_history() {
    for ended in [100.0, 900.0] {
        let mut ward = Ward::new("pump-01");
        said(&mut ward, 10.0, 1210.0, AlarmPhase::Start);
        said(&mut ward, ended, 1210.0, AlarmPhase::End);
        ward.in_unit(1212.0, Metric::PUMP_RATE, "5", Unit::ML_PER_HOUR);
        assert_eq!(ward.engine.alerts().count(), 0);
        let last = ward.told.last().unwrap();
        assert_eq!((last.state, last.retro), (AlertState::Closed, true));
        assert!(ward.told.iter().all(|alert| alert.state != AlertState::ActiveUnack));
    }
}

#[test]
fn an_alarm_that_was_history_and_comes_back_is_not_over() {
    let mut ward = Ward::new("pump-01");
    said(&mut ward, 1000.0, 1210.0, AlarmPhase::Start);
    said(&mut ward, 1100.0, 1210.0, AlarmPhase::End);
    let history = ward.told.last().unwrap().clone();
    assert_eq!((history.state, history.retro), (AlertState::Closed, true));
    said(&mut ward, 1220.0, 1220.0, AlarmPhase::Start);
    let again = ward.only();
    assert_eq!((again.id, again.recurrences), (history.id, 1));
    assert_eq!((again.state, again.retro), (AlertState::ActiveUnack, false));
}

#[test]
fn an_alarm_that_came_back_and_ended_in_an_outage_is_history_unless_nobody_saw_the_first() {
    for (seen, last) in [(true, AlertState::Closed), (false, AlertState::ClearedUnack)] {
        let mut ward = Ward::new("pump-01");
        said(&mut ward, 0.0, 0.0, AlarmPhase::Start);
        let id = ward.only().id;
        if seen {
            ward.engine.acknowledge(id, "wang", AckReason::AtBedside, "", at(5.0)).unwrap();
        }
        said(&mut ward, 10.0, 10.0, AlarmPhase::End);
        said(&mut ward, 60.0, 1210.0, AlarmPhase::Start);
        said(&mut ward, 90.0, 1210.0, AlarmPhase::End);
        let told = ward.told.last().unwrap();
        assert_eq!((told.id, told.recurrences), (id, 1));
        assert_eq!((told.state, told.retro), (last, seen));
    }
}

/// An alarm that begins, is over at 20 s and latched or not, and is no more at 30 s.
fn latched_alarm(ward: &Ward, kind: AlarmKind, latched: bool) -> [DeviceAlarm; 3] {
    [(0.0, AlarmPhase::Start), (20.0, AlarmPhase::Update), (30.0, AlarmPhase::End)].map(
        |(seconds, phase)| {
            let latched = latched && phase != AlarmPhase::Start;
            DeviceAlarm { latched, ..ward.an_alarm(seconds, kind, phase) }
        },
    )
}

#[test]
fn a_medium_alarm_that_its_device_latched_waits_for_a_person() {
    let over = 30.0 + 30.0 * 60.0;
    for latched in [false, true] {
        let mut ward = Ward::new("ecg-01");
        for alarm in latched_alarm(&ward, AlarmKind::PvcRun, latched) {
            ward.alarm_at(30.0, &alarm);
        }
        let alert = ward.only().clone();
        assert_eq!((alert.priority, alert.state), (Priority::Medium, AlertState::ClearedUnack));
        assert_eq!(ward.engine.next_deadline(ward.rules), (!latched).then(|| at(over)));
        ward.pass_time(over);
        assert_eq!(ward.engine.alerts().count(), usize::from(latched));
        if latched {
            let told =
                ward.engine.acknowledge(alert.id, "wang", AckReason::AtBedside, "", at(over));
            assert_eq!(told.unwrap().state, AlertState::Closed);
        }
    }
}

#[test]
fn a_low_alarm_that_its_device_latched_closes_when_it_is_over() {
    let mut ward = Ward::new("ecg-01");
    for alarm in latched_alarm(&ward, AlarmKind::PvcPair, true) {
        ward.alarm_at(30.0, &alarm);
    }
    assert_eq!(ward.engine.alerts().count(), 0);
    assert_eq!(ward.told.last().unwrap().state, AlertState::Closed);
}

#[test]
fn what_a_device_latched_waits_for_a_person_also_where_its_box_tells_of_the_end() {
    let mut ward = Ward::new("ecg-01");
    for alarm in latched_alarm(&ward, AlarmKind::PvcRun, true) {
        ward.alarm_at(200.0, &alarm);
    }
    let alert = ward.told.last().unwrap().clone();
    assert_eq!((alert.state, alert.retro), (AlertState::Closed, true));
    let (told, times) = edge::told_of(&ward, &alert, "cleared", 30.0);
    ward.engine.adopt_edge(ward.rules, at(201.0), &told, times, edge::place(1));
    assert_eq!(ward.only().state, AlertState::ClearedUnack);
    ward.pass_time(2.0 * 3600.0);
    assert_eq!((ward.only().id, ward.only().state), (alert.id, AlertState::ClearedUnack));
}

#[test]
fn what_a_device_latched_waits_for_a_person_where_its_own_record_is_lost() {
    let mut at_box = Ward::new("ecg-01");
    for alarm in latched_alarm(&at_box, AlarmKind::PvcRun, true) {
        at_box.alarm_at(30.0, &alarm);
    }
    let alert = at_box.only().clone();
    let mut ward = Ward::new("ecg-01");
    for (seq, what, second) in [(1, "raised", 0.0), (2, "cleared", 30.0)] {
        let (told, times) = edge::told_of(&at_box, &alert, what, second);
        ward.engine.adopt_edge(ward.rules, at(31.0), &told, times, edge::place(seq));
    }
    ward.pass_time(2.0 * 3600.0);
    assert_eq!((ward.only().id, ward.only().state), (alert.id, AlertState::ClearedUnack));
}

#[test]
fn an_alarm_that_began_late_and_ends_now_waits_for_a_person() {
    let mut ward = Ward::new("pump-01");
    said(&mut ward, 10.0, 1210.0, AlarmPhase::Start);
    said(&mut ward, 1215.0, 1215.0, AlarmPhase::End);
    assert_eq!(ward.only().state, AlertState::ClearedUnack);
}

#[test]
fn the_minute_in_which_an_alarm_is_said_again_begins_when_its_device_was_back() {
    for (heard, expected) in [(30.0, "active_unack"), (62.0, "cleared_unack")] {
        let mut ward = Ward::new("pump-01");
        said(&mut ward, 0.0, 0.0, AlarmPhase::Start);
        ward.status_at(1.0, 20.0, DeviceKind::Pump, DeviceState::Silent);
        ward.status_at(2.0, 20.0, DeviceKind::Pump, DeviceState::Online);
        ward.pass_time(heard);
        assert_eq!(ward.only().state.name(), expected, "{heard}");
    }
}

#[test]
fn an_alarm_said_again_late_is_no_longer_in_doubt() {
    let mut ward = Ward::new("pump-01");
    said(&mut ward, 0.0, 0.0, AlarmPhase::Start);
    let id = ward.only().id;
    ward.engine.doubt_alarms(at(1300.0));
    said(&mut ward, 30.0, 1300.0, AlarmPhase::Start);
    ward.pass_time(1400.0);
    assert_eq!((ward.only().id, ward.only().state), (id, AlertState::ActiveUnack));
}

#[test]
fn what_the_device_calls_high_is_never_lowered() {
    for kind in [AlarmKind::ROnT, AlarmKind::LeadOff, AlarmKind::High] {
        let mut ward = Ward::new("ecg-01");
        let mut alarm = ward.an_alarm(0.0, kind, AlarmPhase::Start);
        alarm.priority = Some(Priority::High);
        ward.alarm_at(0.0, &alarm);
        assert_eq!(ward.only().priority, Priority::High, "{kind:?}");
    }
}

#[test]
fn acknowledging_what_is_unknown_does_not_make_it_known() {
    let mut ward = Ward::new("ecg-01");
    ward.stream(0, 12, Metric::HR, "36");
    ward.status(12.0, DeviceKind::Monitor, DeviceState::Silent);
    ward.pass_time(43.0);
    let id = ward.alert("hr_low").id;
    let acknowledge = |ward: &mut Ward, by: &str| {
        ward.engine.acknowledge(id, by, AckReason::AtBedside, "on my way", at(50.0))
    };
    assert_eq!(acknowledge(&mut ward, "wang").unwrap().state, AlertState::Unknown);
    let second = acknowledge(&mut ward, "li");
    assert_eq!(second, Err(ActionError::AlreadyAcknowledged { by: "wang".into() }));
    ward.number(60.0, Metric::HR, "36");
    assert_eq!(ward.alert("hr_low").state, AlertState::ActiveAck);
    let entry = ward.alert("hr_low").timeline.iter().find(|entry| entry.by.is_some()).unwrap();
    assert_eq!((entry.reason, entry.note.as_str()), (Some(AckReason::AtBedside), "on my way"));
    assert_eq!(entry.detail, "high", "how urgent it was until then");
}

#[test]
fn an_acknowledged_alert_that_becomes_unknown_is_in_hand_already() {
    let mut ward = Ward::new("ecg-01");
    ward.stream(0, 12, Metric::HR, "36");
    let id = ward.only().id;
    ward.engine.acknowledge(id, "wang", AckReason::AtBedside, "", at(12.0)).unwrap();
    ward.status(13.0, DeviceKind::Monitor, DeviceState::Silent);
    ward.pass_time(44.0);
    let second = ward.engine.acknowledge(id, "li", AckReason::Referred, "", at(50.0));
    assert_eq!(second, Err(ActionError::AlreadyAcknowledged { by: "wang".into() }));
}

#[test]
fn a_rising_priority_takes_the_alert_out_of_everybodys_hand() {
    let mut ward = Ward::new("ecg-01");
    ward.stream(0, 31, Metric::HR, "45");
    let id = ward.only().id;
    ward.engine.acknowledge(id, "wang", AckReason::Rechecking, "", at(31.0)).unwrap();
    ward.stream(31, 43, Metric::HR, "36");
    assert_eq!(ward.only().acknowledged, None);
    assert!(ward.only().timeline.iter().any(|entry| entry.by.as_deref() == Some("wang")));
    ward.engine.acknowledge(id, "li", AckReason::AtBedside, "", at(44.0)).unwrap();
}

#[test]
fn a_state_that_cannot_be_read_keeps_its_open_alerts() {
    let stored = |damage: &dyn Fn(&mut serde_json::Value)| {
        let mut ward = Ward::new("pump-01");
        said(&mut ward, 0.0, 0.0, AlarmPhase::Start);
        let mut state = serde_json::to_value(&ward.engine).unwrap();
        damage(&mut state);
        let id = ward.only().id;
        let text = state.to_string();
        assert!(serde_json::from_str::<Engine>(&text).is_err());
        let (site, subject) = (ward.engine.site.clone(), ward.engine.subject.clone());
        ward.engine = Engine::rescued(site, subject, &text);
        (ward, id)
    };
    let of_the_future = |state: &mut serde_json::Value| state["alarms"] = "none".into();
    let (mut ward, id) = stored(&of_the_future);
    assert_eq!((ward.only().id, ward.only().state), (id, AlertState::Unknown));
    // The device is heard, and nothing says that it is over.
    ward.in_unit(5.0, Metric::PUMP_RATE, "5", Unit::ML_PER_HOUR);
    assert_eq!(ward.only().state, AlertState::ActiveUnack);
    let closed = ward.engine.acknowledge(id, "wang", AckReason::AtBedside, "", at(6.0)).unwrap();
    assert_eq!(closed.state, AlertState::Closed);

    let (mut ward, id) = stored(&of_the_future);
    said(&mut ward, 5.0, 5.0, AlarmPhase::Start);
    said(&mut ward, 9.0, 9.0, AlarmPhase::End);
    assert_eq!((ward.only().id, ward.only().state), (id, AlertState::ClearedUnack));
}

#[test]
fn a_state_of_the_first_version_can_be_read() {
    let text = r#"{"site":"heping","device":"ecg-01","kind":"monitor","series":{},
        "newest":{"hr|":1795335300000},"ranks":{"1":[1795335300000,true]},"rank":1,
        "latest":{"hr":[1795335300000,"72"]},
        "alarms":{"7|":["TECH-LEADOFF",1795335300000]},"silent_since":null,"episodes":{}}"#;
    let mut ward = Ward::new("ecg-01");
    ward.engine = serde_json::from_str(text).unwrap();
    ward.stream(1, 30, Metric::HR, "36");
    assert!(ward.told.is_empty(), "the lead is off");
}

#[test]
fn a_low_rhythm_alarm_is_one_alert_in_half_an_hour_and_another_kind_is_another() {
    let mut ward = Ward::of(aged(600));
    let flutter = |ward: &mut Ward, kind, minute: f64| {
        ward.alarm(minute * 60.0, kind, AlarmPhase::Start);
        ward.alarm(minute * 60.0 + 10.0, kind, AlarmPhase::End);
    };
    let fibrillation = AlarmKind::AtrialFibrillation;
    flutter(&mut ward, fibrillation, 0.0);
    let first = ward.told.last().unwrap().id;
    for minute in [7.0, 20.0, 29.9] {
        flutter(&mut ward, fibrillation, minute);
    }
    let last = ward.told.last().unwrap();
    assert_eq!((last.id, last.recurrences, last.state), (first, 3, AlertState::Closed));
    flutter(&mut ward, AlarmKind::PvcPair, 21.0);
    assert_eq!(ward.raised().len(), 2);
    // Long after it was over and half an hour after it began.
    flutter(&mut ward, fibrillation, 36.0);
    assert_eq!(ward.raised().len(), 3);
    // One that its device calls urgent is no repetition.
    let alarm = ward.an_alarm(45.0 * 60.0, fibrillation, AlarmPhase::Start);
    ward.alarm_at(45.0 * 60.0, &DeviceAlarm { priority: Some(Priority::High), ..alarm });
    assert_eq!((ward.raised().len(), ward.only().priority), (4, Priority::High));
    // What is not limited comes back as another alert after five minutes.
    let mut ward = Ward::of(aged(600));
    for minute in [0.0, 7.0] {
        flutter(&mut ward, AlarmKind::PvcRun, minute);
    }
    assert_eq!(ward.raised().len(), 2);
}

#[test]
fn whoever_has_a_rhythm_alarm_in_hand_is_not_asked_again_in_that_half_hour() {
    let mut ward = Ward::of(aged(600));
    let fibrillation = AlarmKind::AtrialFibrillation;
    ward.alarm(0.0, fibrillation, AlarmPhase::Start);
    let id = ward.only().id;
    ward.engine.acknowledge(id, "wang", AckReason::DoctorCalled, "", at(5.0)).unwrap();
    ward.alarm(10.0, fibrillation, AlarmPhase::End);
    ward.store_and_load();
    ward.alarm(600.0, fibrillation, AlarmPhase::Start);
    assert_eq!((ward.only().id, ward.only().state), (id, AlertState::ActiveAck));
    assert_eq!(ward.only().recurrences, 1);
    // It holds as long as it holds: after the time of its priority it sounds again.
    ward.pass_time(5.0 + 3600.0);
    assert_eq!(ward.only().state, AlertState::ActiveUnack);
}

#[test]
fn a_rhythm_alarm_that_nobody_has_in_hand_comes_back_in_that_half_hour_without_a_sound() {
    let mut ward = Ward::of(aged(600));
    let fibrillation = AlarmKind::AtrialFibrillation;
    let flutter = |ward: &mut Ward, second: f64, phase| {
        ward.alarm(second, fibrillation, phase);
        ward.told.last().map(|alert| (alert.state, alert.quiet, alert.recurrences))
    };
    let sounds = flutter(&mut ward, 0.0, AlarmPhase::Start);
    assert_eq!(sounds, Some((AlertState::ActiveUnack, false, 0)));
    let since = ward.only().unanswered_since();
    flutter(&mut ward, 10.0, AlarmPhase::End);
    let again = flutter(&mut ward, 600.0, AlarmPhase::Start);
    assert_eq!(again, Some((AlertState::ActiveUnack, true, 1)));
    assert_eq!(ward.only().unanswered_since(), since);
    // Its device calls it urgent, and after half an hour it is told again.
    let urgent = ward.an_alarm(620.0, fibrillation, AlarmPhase::Update);
    ward.alarm_at(620.0, &DeviceAlarm { priority: Some(Priority::High), ..urgent });
    assert_eq!((ward.only().priority, ward.only().quiet), (Priority::High, false));
    let mut ward = Ward::of(aged(600));
    for (second, phase) in [(0.0, AlarmPhase::Start), (1750.0, AlarmPhase::End)] {
        flutter(&mut ward, second, phase);
    }
    let again = flutter(&mut ward, 1810.0, AlarmPhase::Start);
    assert_eq!(again, Some((AlertState::ActiveUnack, false, 1)));
}

#[test]
fn an_occlusion_names_drug_and_rate_as_far_as_its_pump_has_said_them() {
    let says = |ward: &mut Ward, kind| {
        ward.store_and_load();
        ward.alarm(20.0, kind, AlarmPhase::Start);
        let alert = ward.told.last().unwrap();
        (alert.message_zh.clone(), alert.message_en.clone())
    };
    let rate = |ward: &mut Ward, second: f64, value: &str| {
        ward.in_unit(second, Metric::PUMP_RATE, value, Unit::ML_PER_HOUR);
    };
    let mut ward = Ward::new("pump-01");
    drug(&mut ward, 0.0, "去甲肾上腺素");
    rate(&mut ward, 1.0, "5.2");
    // It stands still when its line is blocked.
    rate(&mut ward, 15.0, "0");
    let (zh, en) = says(&mut ward, AlarmKind::OcclusionDownstream);
    assert_eq!(zh, "管路阻塞(下游):去甲肾上腺素 5.2 mL/h");
    assert_eq!(en, "Downstream occlusion: 去甲肾上腺素 5.2 mL/h");
    let mut ward = Ward::new("pump-01");
    rate(&mut ward, 1.0, "50");
    assert_eq!(ward.engine.infusion(&ward.device, ""), "50 mL/h");
    rate(&mut ward, 3.0, "5.0");
    let (zh, _) = says(&mut ward, AlarmKind::OcclusionUpstream);
    assert_eq!(zh, "管路阻塞(上游):5 mL/h");
    let mut ward = Ward::new("pump-01");
    assert_eq!(says(&mut ward, AlarmKind::OcclusionDownstream).1, "Downstream occlusion");
    // Another channel gives another drug, and another alarm is not about what flows.
    let mut ward = Ward::new("pump-01");
    drug(&mut ward, 0.0, "Dopamine");
    let alarm = ward.an_alarm(5.0, AlarmKind::OcclusionDownstream, AlarmPhase::Start);
    ward.alarm_at(5.0, &DeviceAlarm { channel: Channel::new("2").unwrap(), ..alarm });
    assert_eq!(ward.only().message_en, "Downstream occlusion");
    assert_eq!(says(&mut ward, AlarmKind::AirInLine).1, "Air in line");
}

fn drug(ward: &mut Ward, second: f64, name: &str) {
    ward.feed(second, second, vec![Reading::text(Metric::PUMP_DRUG, name)]);
}

#[test]
fn the_end_of_an_infusion_is_more_urgent_with_a_drug_of_the_site_list() {
    for (name, expected) in [
        (Some("NORADRENALINE 4mg/50"), Priority::High),
        (Some("盐酸去甲肾上腺素"), Priority::High),
        (Some("Insulin"), Priority::High),
        (Some("氯化钠 0.9%, 500 ml"), Priority::Medium),
        (None, Priority::Medium),
    ] {
        let mut ward = Ward::new("pump-01");
        name.iter().for_each(|name| drug(&mut ward, 0.0, name));
        ward.store_and_load();
        ward.alarm(5.0, AlarmKind::InfusionComplete, AlarmPhase::Start);
        assert_eq!(ward.only().priority, expected, "{name:?}");
    }
    // A pump that has none now had one.
    let mut ward = Ward::new("pump-01");
    drug(&mut ward, 0.0, "Dopamine");
    ward.absent(1.0, Metric::PUMP_DRUG, NoData::NotAvailable);
    ward.alarm(5.0, AlarmKind::InfusionComplete, AlarmPhase::Start);
    assert_eq!(ward.only().priority, Priority::Medium);
}

#[test]
fn near_its_end_a_pump_with_a_drug_of_the_site_list_is_one_step_more_urgent() {
    let left = |ward: &mut Ward, second: f64, minutes: &str| {
        ward.number(second, Metric::PUMP_TIME_REM, minutes);
        ward.engine.alerts().next().map(|alert| alert.priority)
    };
    let mut ward = Ward::new("pump-01");
    drug(&mut ward, 0.0, "多巴胺");
    assert_eq!(left(&mut ward, 1.0, "31"), None);
    assert_eq!(left(&mut ward, 2.0, "30"), Some(Priority::Medium));
    assert_eq!(left(&mut ward, 3.0, "10"), Some(Priority::High));
    // Told by the pump itself it is the first step.
    let mut ward = Ward::new("pump-01");
    drug(&mut ward, 0.0, "Midazolam");
    ward.alarm(1.0, AlarmKind::NearEnd, AlarmPhase::Start);
    assert_eq!(ward.only().priority, Priority::Medium);
}

#[test]
fn a_device_that_ends_none_of_its_alarms_hides_no_other() {
    let mut ward = Ward::new("mon-01");
    let says = |ward: &mut Ward, second: u32, code: &str, priority| {
        let seconds = f64::from(second);
        let alarm = ward.an_alarm(seconds, AlarmKind::Other, AlarmPhase::Start);
        ward.alarm_at(seconds, &DeviceAlarm { code: code.to_owned(), priority, ..alarm });
    };
    says(&mut ward, 0, "first", Some(Priority::High));
    for second in 1..100 {
        says(&mut ward, second, &second.to_string(), Some(Priority::Low));
    }
    ward.alarm(100.0, AlarmKind::LeadOff, AlarmPhase::Start);
    ward.alarm(101.0, AlarmKind::Asystole, AlarmPhase::Start);
    assert_eq!(ward.alert("dev_asystole").state, AlertState::ActiveUnack);
    for second in 102..300 {
        says(&mut ward, second, &second.to_string(), Some(Priority::Medium));
        assert!(ward.engine.devices[&ward.device].alarms.len() <= 64);
    }
    // What is alone in its family stays, and the most urgent one of a family.
    for family in ["dev_asystole", "tech_lead_off", "dev_other"] {
        assert_eq!(ward.alert(family).state, AlertState::ActiveUnack, "{family}");
    }
    let other = ward.alert("dev_other");
    assert_eq!((other.priority, other.recurrences), (Priority::High, 0));
    let another = ward.an_alarm(300.0, AlarmKind::Apnoea, AlarmPhase::Start);
    assert_eq!(ward.engine.left_out_for(&another), Some("239|"));
    ward.alarm(300.0, AlarmKind::Asystole, AlarmPhase::End);
    assert_eq!(ward.alert("dev_asystole").state, AlertState::ClearedUnack);
    assert_eq!(ward.engine.left_out_for(&another), None);
}

#[test]
fn a_pump_with_more_urgent_alarms_than_are_held_tells_of_a_low_one_too() {
    let mut ward = Ward::new("pump-01");
    for line in 0..64_u32 {
        let seconds = f64::from(line);
        let alarm = ward.an_alarm(seconds, OCCLUSION, AlarmPhase::Start);
        ward.alarm_at(seconds, &DeviceAlarm { code: line.to_string(), ..alarm });
    }
    ward.alarm(64.0, AlarmKind::Other, AlarmPhase::Start);
    assert_eq!(ward.alert("dev_other").priority, Priority::Low);
    assert_eq!(ward.alert("dev_occl_down").state, AlertState::ActiveUnack);
    // The last one of a family that is heard to end, ends it.
    for line in 1..64_u32 {
        let alarm = ward.an_alarm(65.0, OCCLUSION, AlarmPhase::End);
        ward.alarm_at(65.0, &DeviceAlarm { code: line.to_string(), ..alarm });
    }
    assert_eq!(ward.alert("dev_occl_down").state, AlertState::ClearedUnack);
}
