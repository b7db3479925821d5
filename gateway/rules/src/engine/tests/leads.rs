//! What a box tells of a sensor that is off, and of other numbers of a device.

use super::{
    edge::{place, told_of},
    *,
};
use crate::retro::{KnownAlert, Pass};
use model::alert::EdgeAlert;

fn ward() -> Ward {
    Ward::of(Profile { monitored: true, ..aged(600) })
}

/// The alert of a lead that was off from the first second on, as its monitor's numbers tell it.
fn lead_off() -> Alert {
    let mut of_box = ward();
    of_box.absent(0.0, Metric::HR, NoData::LeadOff);
    of_box.only().clone()
}

/// A county that hears from the box alone what became of it, by then.
fn told(alert: &Alert, words: &[(&str, f64)], now: f64) -> Ward {
    let mut ward = ward();
    for (seq, (what, second)) in (1..).zip(words) {
        let (mut told, times) = told_of(&ward, alert, what, *second);
        told.note = if *what == "cleared" { String::new() } else { "TECH-LEADOFF".into() };
        if *what == "cleared" {
            told.state = "closed".into();
        }
        ward.engine.adopt_edge(ward.rules, at(now), &told, times, place(seq));
    }
    ward
}

#[test]
fn what_a_box_told_by_a_number_is_over_when_the_number_is_there_again() {
    let mut ward = told(&lead_off(), &[("raised", 50.0)], 60.0);
    assert_eq!(ward.only().state, AlertState::Unknown);
    // What was measured before the word, and what says nothing of the lead, end nothing.
    let before = Reading::number(Metric::HR, 72, Unit::PER_MINUTE);
    ward.feed(49.0, 61.0, vec![before]);
    ward.number(62.0, Metric::SPO2, "97");
    ward.absent(63.0, Metric::HR, NoData::LeadOff);
    assert_eq!(ward.only().state, AlertState::ActiveUnack);
    let mut ward = told(&lead_off(), &[("raised", 50.0)], 60.0);
    ward.number(61.0, Metric::HR, "72");
    let over = ward.told.last().unwrap();
    assert_eq!((over.state, over.cleared_at), (AlertState::Closed, Some(at(61.0))));
    // A lead that is off since then is news.
    ward.absent(62.0, Metric::HR, NoData::LeadOff);
    assert_eq!((ward.only().state, ward.only().recurrences), (AlertState::ActiveUnack, 1));
}

#[test]
fn a_lead_that_a_device_signals_stays_off_while_it_counts() {
    let mut ward = ward();
    let start = ward.an_alarm(0.0, AlarmKind::LeadOff, AlarmPhase::Start);
    ward.alarm_at(70.0, &DeviceAlarm { source: Some(Metric::HR), ..start });
    let (told, times) = told_of(&ward, ward.only(), "raised", 0.0);
    ward.engine.adopt_edge(ward.rules, at(71.0), &told, times, place(1));
    ward.number(81.0, Metric::HR, "72");
    assert_eq!(ward.only().state, AlertState::ActiveUnack);
    ward.alarm(82.0, AlarmKind::LeadOff, AlarmPhase::End);
    assert_eq!(ward.told.last().unwrap().state, AlertState::Closed);
}

/// A lead that a monitor has signalled to be off since the first second, and that its numbers have
/// said to be off as well; the box told of it, and the county heard all that after two minutes.
fn off_twice() -> Ward {
    let mut ward = ward();
    let start = ward.an_alarm(0.0, AlarmKind::LeadOff, AlarmPhase::Start);
    ward.alarm_at(125.0, &start);
    let alert = ward.only().clone();
    ward.absent(126.0, Metric::HR, NoData::LeadOff);
    let (told, times) = told_of(&ward, &alert, "raised", 0.0);
    ward.engine.adopt_edge(ward.rules, at(126.0), &told, times, place(1));
    ward.absent(127.0, Metric::HR, NoData::LeadOff);
    let (told, times) = told_of(&ward, &alert, "rules_changed", 1.0);
    ward.engine.adopt_edge(ward.rules, at(128.0), &told, times, place(2));
    ward
}

#[test]
fn a_lead_that_its_numbers_say_is_off_stays_off_when_its_alarm_ends() {
    let mut ward = off_twice();
    ward.alarm(130.0, AlarmKind::LeadOff, AlarmPhase::End);
    assert_eq!((ward.only().state, ward.only().recurrences), (AlertState::ActiveUnack, 0));
    ward.number(131.0, Metric::HR, "72");
    let over = ward.told.last().unwrap();
    assert_eq!((over.cleared_at, over.recurrences), (Some(at(131.0)), 0));
}

#[test]
fn what_was_off_for_long_had_risen_though_nobody_knew_it_in_time() {
    let mut ward = off_twice();
    ward.pass_time(129.0);
    assert_eq!(ward.only().priority, Priority::Low);
    ward.alarm(130.0, AlarmKind::LeadOff, AlarmPhase::End);
    assert_eq!(
        (ward.only().state, ward.only().priority),
        (AlertState::ActiveUnack, Priority::Medium)
    );
    let rose = |alert: &Alert| {
        alert.timeline.iter().filter(|it| it.what == TimelineEvent::PriorityRose).count()
    };
    assert_eq!(rose(ward.only()), 1);
}

#[test]
fn what_was_off_for_long_and_is_over_calls_nobody() {
    for (until, priority) in [(119.0, Priority::Low), (121.0, Priority::Medium)] {
        let mut ward = ward();
        let start = ward.an_alarm(0.0, AlarmKind::LeadOff, AlarmPhase::Start);
        ward.alarm_at(50.0, &start);
        let end = ward.an_alarm(until, AlarmKind::LeadOff, AlarmPhase::End);
        ward.alarm_at(125.0, &end);
        let over = ward.told.last().unwrap();
        assert_eq!((over.cleared_at, over.priority), (Some(at(until)), priority));
        assert!(over.timeline.iter().all(|it| it.what != TimelineEvent::PriorityRose));
    }
}

#[test]
fn a_battery_that_a_box_told_of_is_charged_again() {
    let mut of_box = ward();
    of_box.status(0.0, DeviceKind::Monitor, DeviceState::Online);
    of_box.number(0.0, Metric::BATT_PCT, "15");
    let mut ward = ward();
    ward.status(0.0, DeviceKind::Monitor, DeviceState::Online);
    let (told, times) = told_of(&ward, of_box.only(), "raised", 0.0);
    ward.engine.adopt_edge(ward.rules, at(60.0), &told, times, place(1));
    ward.number(61.0, Metric::BATT_PCT, "15");
    assert_eq!(ward.only().state, AlertState::ActiveUnack);
    let (told, times) = told_of(&ward, of_box.only(), "rules_changed", 62.0);
    ward.engine.adopt_edge(ward.rules, at(63.0), &told, times, place(2));
    ward.number(64.0, Metric::BATT_PCT, "80");
    assert_eq!(ward.told.last().unwrap().state, AlertState::Closed);
}

#[test]
fn a_lead_that_was_on_again_at_the_box_is_not_off_by_what_came_after_that_word() {
    let mut ward = told(&lead_off(), &[("raised", 0.0), ("cleared", 30.0)], 40.0);
    for (second, heard) in [(20.0, 41.0), (30.0, 41.5)] {
        ward.feed(second, heard, vec![Reading::no_data(Metric::HR, NoData::LeadOff)]);
    }
    assert!(!ward.has("tech_lead_off"));
    ward.feed(31.0, 42.0, vec![Reading::no_data(Metric::HR, NoData::LeadOff)]);
    assert_eq!((ward.only().state, ward.only().recurrences), (AlertState::ActiveUnack, 1));
}

#[test]
fn what_is_not_known_to_hold_rises_when_its_device_is_heard() {
    let mut ward = told(&lead_off(), &[("raised", 0.0)], 200.0);
    ward.pass_time(200.0);
    assert_eq!((ward.only().state, ward.only().priority), (AlertState::Unknown, Priority::Low));
    ward.absent(201.0, Metric::HR, NoData::LeadOff);
    ward.pass_time(201.0);
    assert_eq!(ward.only().state, AlertState::ActiveUnack);
    assert_eq!(ward.only().priority, Priority::Medium);
}

#[test]
fn what_began_late_rises_when_the_news_of_its_end_has_had_time_to_come() {
    let mut ward = ward();
    let start = ward.an_alarm(0.0, AlarmKind::LeadOff, AlarmPhase::Start);
    ward.alarm_at(200.0, &start);
    ward.number(210.0, Metric::HR, "72");
    ward.pass_time(210.0);
    assert_eq!((ward.only().state, ward.only().priority), (AlertState::ActiveUnack, Priority::Low));
    assert_eq!(ward.engine.next_deadline(ward.rules), Some(at(240.0)));
    ward.pass_time(240.0);
    assert_eq!(ward.only().priority, Priority::Medium);
}

#[test]
fn what_rose_after_somebody_had_it_in_hand_is_nobodys_though_their_word_comes_later() {
    for (by_county, is_seen) in [(None, false), (Some(125.0), true)] {
        let mut ward = ward();
        ward.alarm(0.0, AlarmKind::LeadOff, AlarmPhase::Start);
        let alert = ward.only().clone();
        ward.pass_time(120.0);
        if let Some(second) = by_county {
            let reason = AckReason::AtBedside;
            ward.engine.acknowledge(alert.id, "wang", reason, "", at(second)).unwrap();
        }
        let (seen, times) = told_of(&ward, &alert, "acknowledged", 60.0);
        let seen = EdgeAlert { by: Some("li".into()), state: "active_ack".into(), ..seen };
        ward.engine.adopt_edge(ward.rules, at(130.0), &seen, times, place(1));
        let (rose, times) = told_of(&ward, ward.only(), "priority_rose", 121.0);
        let (priority, note) = (Priority::Medium, "TECH-LEADOFF".to_owned());
        let rose = EdgeAlert { priority, note, ..rose };
        ward.engine.adopt_edge(ward.rules, at(131.0), &rose, times, place(2));
        ward.number(132.0, Metric::HR, "72");
        let state = if is_seen { AlertState::ActiveAck } else { AlertState::ActiveUnack };
        assert_eq!((ward.only().state, ward.only().priority), (state, Priority::Medium));
        assert_eq!(ward.only().acknowledged.is_some(), is_seen);
    }
}

#[test]
fn what_a_box_told_began_when_the_box_says() {
    let alert = lead_off();
    for is_told in [true, false] {
        let mut ward = ward();
        let start = ward.an_alarm(6.0, AlarmKind::LeadOff, AlarmPhase::Start);
        ward.alarm_at(6.0, &start);
        let id = ward.only().id;
        if is_told {
            let (told, times) = told_of(&ward, ward.only(), "rules_changed", 7.0);
            let times = EdgeTimes { started: at(6.0), ..times };
            ward.engine.adopt_edge(ward.rules, at(100.0), &told, times, place(1));
        }
        let mut pass = Pass::new(&ward.engine, at(3.0), at(9.0));
        for second in [3.0, 9.0] {
            let said = vec![Reading::no_data(Metric::HR, NoData::LeadOff)];
            let group = ReadingGroup::new(ward.device.clone(), Ward::observed(second), said);
            pass.on_readings(ward.rules, &group, Moment::sure(at(second)), Freshness::Late);
        }
        let known = KnownAlert {
            id,
            family: alert.family.clone(),
            device: ward.device.clone(),
            started_at: at(6.0),
            cleared_at: None,
            retro: false,
        };
        pass.settle(ward.rules, &mut ward.engine, &[known], at(101.0), |_| String::new());
        let began = if is_told { 6.0 } else { 3.0 };
        assert_eq!((ward.only().id, ward.only().started_at), (id, at(began)));
    }
}
