//! What people do: who was first, what can be taken back, who is told.

use super::*;
use crate::ladder::{Level, Times};

fn occluded() -> (Ward, AlertId) {
    let mut ward = Ward::new("pump-01");
    ward.alarm(0.0, AlarmKind::OcclusionDownstream, AlarmPhase::Start);
    let id = ward.only().id;
    (ward, id)
}

fn act(
    ward: &mut Ward,
    id: AlertId,
    now: f64,
    by: &str,
    action: Action,
) -> Result<Alert, ActionError> {
    ward.store_and_load();
    ward.engine.act(&Times::default(), id, by, &action, at(now))
}

fn acknowledge() -> Action {
    Action::Acknowledge { reason: AckReason::FalseAlarm, note: String::new() }
}

fn shelve(until: f64) -> Action {
    Action::Shelve { reason: "flushing".into(), until: at(until), second: None }
}

#[test]
fn the_first_of_two_who_shelve_has_it_and_the_second_learns_who() {
    let (mut ward, id) = occluded();
    act(&mut ward, id, 1.0, "wang", shelve(200.0)).unwrap();
    let first = ActionError::AlreadyShelved { by: "wang".into(), until: at(200.0) };
    assert_eq!(act(&mut ward, id, 1.0, "li", shelve(100.0)), Err(first.clone()));
    assert_eq!(act(&mut ward, id, 1.0, "li", acknowledge()), Err(first));
    act(&mut ward, id, 9.0, "li", Action::Unshelve).unwrap();
    assert_eq!(act(&mut ward, id, 9.0, "wang", Action::Unshelve), Err(ActionError::NotShelved));
    act(&mut ward, id, 9.0, "li", acknowledge()).unwrap();
}

#[test]
fn who_acknowledged_takes_it_back_within_a_minute_and_nothing_is_erased() {
    let (mut ward, id) = occluded();
    act(&mut ward, id, 20.0, "wang", acknowledge()).unwrap();
    let not_hers = ActionError::NotYours { by: "wang".into() };
    assert_eq!(act(&mut ward, id, 30.0, "li", Action::Undo), Err(not_hers));
    let alert = act(&mut ward, id, 80.0, "wang", Action::Undo).unwrap();
    assert_eq!((alert.state, alert.owner()), (AlertState::ActiveUnack, None));
    let story: Vec<_> = alert.timeline.iter().map(|entry| entry.what).collect();
    let undone = [TimelineEvent::Raised, TimelineEvent::Acknowledged, TimelineEvent::Undone];
    assert_eq!(story, undone);
    // As if it had not been done: the second person was due after a minute.
    ward.pass_time(80.0);
    assert_eq!(ward.only().people.level, Level::Second);
    let nothing = ActionError::NothingToUndo { within_s: 60 };
    assert_eq!(act(&mut ward, id, 80.0, "wang", Action::Undo), Err(nothing.clone()));
    act(&mut ward, id, 90.0, "wang", acknowledge()).unwrap();
    assert_eq!(act(&mut ward, id, 150.001, "wang", Action::Undo), Err(nothing));
}

#[test]
fn what_an_acknowledgement_closed_comes_back_when_it_is_taken_back() {
    // It was over before she acknowledged, or is over since; it may be an earlier one.
    for cleared_first in [true, false] {
        let (mut ward, id) = occluded();
        let clear =
            |ward: &mut Ward| ward.alarm(5.0, AlarmKind::OcclusionDownstream, AlarmPhase::End);
        if cleared_first {
            clear(&mut ward);
        }
        act(&mut ward, id, 6.0, "wang", acknowledge()).unwrap();
        if !cleared_first {
            clear(&mut ward);
        }
        assert_eq!(ward.engine.alerts().count(), 0);
        act(&mut ward, id, 30.0, "wang", Action::Undo).unwrap();
        assert_eq!(ward.only().state, AlertState::ClearedUnack);
    }
    let (mut ward, first) = occluded();
    ward.alarm(5.0, AlarmKind::OcclusionDownstream, AlarmPhase::End);
    ward.alarm(900.0, AlarmKind::OcclusionDownstream, AlarmPhase::Start);
    assert_eq!(ward.engine.alerts().count(), 2);
    act(&mut ward, first, 910.0, "wang", acknowledge()).unwrap();
    assert_eq!(ward.engine.alerts().count(), 1);
    act(&mut ward, first, 920.0, "wang", Action::Undo).unwrap();
    assert_eq!(ward.engine.alerts().count(), 2);
    act(&mut ward, first, 930.0, "wang", acknowledge()).unwrap();
    ward.pass_time(2000.0);
    assert_eq!(act(&mut ward, first, 2000.0, "wang", Action::Undo), Err(ActionError::NotFound));
}

#[test]
fn a_shelf_taken_back_is_as_if_it_had_not_been() {
    let (mut ward, id) = occluded();
    act(&mut ward, id, 10.0, "wang", shelve(200.0)).unwrap();
    assert_eq!(ward.engine.next_deadline(ward.rules), Some(at(200.0)));
    let alert = act(&mut ward, id, 40.0, "wang", Action::Undo).unwrap();
    assert_eq!(alert.state, AlertState::ActiveUnack);
    assert_eq!(ward.engine.next_deadline(ward.rules), Some(at(60.0)));
}

#[test]
fn what_rose_meanwhile_cannot_be_taken_back() {
    let mut ward = Ward::new("ecg-01");
    ward.stream(0, 31, Metric::HR, "45");
    let id = ward.only().id;
    act(&mut ward, id, 31.0, "wang", acknowledge()).unwrap();
    ward.stream(31, 43, Metric::HR, "36");
    let nothing = ActionError::NothingToUndo { within_s: 60 };
    assert_eq!(act(&mut ward, id, 43.0, "wang", Action::Undo), Err(nothing));
    assert_eq!(ward.only().state, AlertState::ActiveUnack);
}

#[test]
fn whoever_it_was_handed_to_owns_it_until_another_has_it_in_hand() {
    let (mut ward, id) = occluded();
    let to = |name: &str| Action::Assign { to: name.into(), reason: "your bed".into() };
    act(&mut ward, id, 1.0, "wang", acknowledge()).unwrap();
    let alert = act(&mut ward, id, 2.0, "wang", to("li")).unwrap();
    assert_eq!((alert.owner(), alert.state), (Some("li"), AlertState::ActiveAck));
    let entry = alert.timeline.last().unwrap();
    assert_eq!((entry.by.as_deref(), entry.to.as_deref()), (Some("wang"), Some("li")));
    ward.pass_time(121.0);
    assert_eq!((ward.only().state, ward.only().owner()), (AlertState::ActiveUnack, Some("li")));
    let alert = act(&mut ward, id, 130.0, "zhao", acknowledge()).unwrap();
    assert_eq!(alert.owner(), Some("zhao"));
}

#[test]
fn a_person_has_the_next_one_told_and_the_ladder_goes_on_from_there() {
    let (mut ward, id) = occluded();
    let escalate = || Action::Escalate { reason: "no vein".into() };
    act(&mut ward, id, 5.0, "wang", escalate()).unwrap();
    let alert = act(&mut ward, id, 6.0, "wang", escalate()).unwrap();
    assert_eq!(alert.people.level, Level::TownshipDoctor);
    // Who was told is not told again.
    assert_eq!(ward.engine.next_deadline(ward.rules), Some(at(300.0)));
    act(&mut ward, id, 7.0, "wang", escalate()).unwrap();
    assert_eq!(act(&mut ward, id, 8.0, "wang", escalate()), Err(ActionError::AtTheTop));
}

#[test]
fn who_was_told_is_written_down_when_it_happens_and_not_later() {
    let (mut ward, _) = occluded();
    ward.pass_time(60.0);
    let who = |level: Level| (level == Level::Second).then(|| "li".to_owned());
    let named = ward.engine.name_steps(at(60.0), who);
    assert_eq!(named[0].timeline.last().unwrap().to.as_deref(), Some("li"));
    ward.pass_time(120.0);
    assert!(ward.engine.name_steps(at(120.0), who).is_empty(), "nobody is on duty");
    let later = ward.engine.name_steps(at(180.0), |_| Some("zhao".to_owned()));
    assert!(later.is_empty(), "whoever is on duty later was not told");
}

#[test]
fn nothing_can_be_done_with_what_is_closed() {
    let (mut ward, id) = occluded();
    act(&mut ward, id, 1.0, "wang", acknowledge()).unwrap();
    ward.alarm(100.0, AlarmKind::OcclusionDownstream, AlarmPhase::End);
    let first = ActionError::AlreadyAcknowledged { by: "wang".into() };
    assert_eq!(act(&mut ward, id, 101.0, "li", acknowledge()), Err(first));
    for action in [
        shelve(200.0),
        Action::Note { text: "x".into() },
        Action::Assign { to: "li".into(), reason: String::new() },
        Action::Escalate { reason: String::new() },
    ] {
        assert_eq!(act(&mut ward, id, 101.0, "li", action), Err(ActionError::NotActive));
    }
}

#[test]
fn the_silence_of_a_device_stands_behind_that_of_its_box() {
    let mut ward = Ward::new("ecg-01");
    ward.stream(0, 11, Metric::HR, "36");
    ward.status(20.0, DeviceKind::Monitor, DeviceState::Silent);
    ward.pass_time(50.0);
    assert_eq!(ward.alert("tech_silent").state, AlertState::ActiveUnack);
    ward.engine.box_lost(at(60.0));
    ward.pass_time(120.0);
    let silent = ward.alert("tech_silent");
    assert_eq!(silent.state, AlertState::Suppressed);
    assert_eq!(silent.people.suppressed_by.as_deref(), Some("EDGE-OFFLINE"));
    assert_eq!(ward.alert("hr_low").state, AlertState::Unknown);
    let back = ward.engine.box_back(ward.rules, at(900.0));
    assert_eq!((back.len(), back[0].state), (1, AlertState::ActiveUnack));
    ward.number(901.0, Metric::HR, "36");
    assert!(!ward.has("tech_silent"));
    assert_eq!(ward.alert("hr_low").state, AlertState::ActiveUnack);
}

#[test]
fn what_stood_behind_its_box_and_is_over_waits_for_a_person_when_the_box_is_back() {
    for (silent_s, ends) in [(50.0, AlertState::Closed), (220.0, AlertState::ClearedUnack)] {
        let mut ward = Ward::new("ecg-01");
        ward.stream(0, 11, Metric::HR, "72");
        ward.status(20.0, DeviceKind::Monitor, DeviceState::Silent);
        ward.pass_time(silent_s);
        let id = ward.alert("tech_silent").id;
        ward.engine.box_lost(at(230.0));
        ward.pass_time(300.0);
        assert_eq!(ward.alert("tech_silent").state, AlertState::Suppressed);
        // Its word was under way while the box was taken for lost.
        ward.number(301.0, Metric::HR, "72");
        ward.engine.box_back(ward.rules, at(302.0));
        let state = ward.engine.alerts().find(|alert| alert.id == id).map(|alert| alert.state);
        assert_eq!(state.unwrap_or(AlertState::Closed), ends, "{silent_s}");
        // It comes back as the same alert, and sounds.
        ward.status(310.0, DeviceKind::Monitor, DeviceState::Silent);
        ward.pass_time(341.0);
        let again = ward.alert("tech_silent");
        assert_eq!((again.id, again.state), (id, AlertState::ActiveUnack), "{silent_s}");
        assert_eq!(again.people.suppressed_by, None);
    }
}

#[test]
fn a_danger_sign_makes_an_alert_high_whoever_has_it_in_hand_and_keeps_it_so() {
    use crate::danger::DangerSign::{self, ChestPain, Headache};
    let mut ward = Ward::new("bp-01");
    ward.feed(0.0, 0.0, pressure(184, 100));
    let id = ward.only().id;
    assert!(ward.only().asks_danger_signs());
    act(&mut ward, id, 10.0, "wang", acknowledge()).unwrap();
    let told = |signs: &[DangerSign]| Action::TellDangerSigns { signs: signs.to_vec() };
    let alert = act(&mut ward, id, 20.0, "wang", told(&[])).unwrap();
    assert_eq!((alert.priority, alert.state), (Priority::Medium, AlertState::ActiveAck));
    let alert = act(&mut ward, id, 30.0, "wang", told(&[Headache, ChestPain])).unwrap();
    assert_eq!((alert.priority, alert.state), (Priority::High, AlertState::ActiveUnack));
    let story = alert.timeline.iter().rev().take(3);
    let story: Vec<_> = story.map(|entry| (entry.what, &*entry.detail)).collect();
    let risen = (TimelineEvent::PriorityRose, "danger_signs");
    let asked = |detail| (TimelineEvent::DangerSigns, detail);
    assert_eq!(story, [risen, asked("headache,chest_pain"), asked("none")]);
    // No lower value takes it back, nor does whoever has it in hand then; and none confirmed it.
    ward.feed(40.0, 40.0, pressure(181, 95));
    act(&mut ward, id, 45.0, "li", acknowledge()).unwrap();
    assert_eq!((ward.only().priority, ward.only().state), (Priority::High, AlertState::ActiveAck));
    ward.feed(50.0, 50.0, pressure(180, 95));
    assert_eq!((ward.only().priority, ward.only().state), (Priority::High, AlertState::ActiveAck));
    // The ladder begins with the rise.
    let mut ward = Ward::new("bp-01");
    ward.feed(0.0, 0.0, pressure(184, 100));
    let id = ward.only().id;
    act(&mut ward, id, 30.0, "wang", told(&[ChestPain])).unwrap();
    ward.pass_time(89.0);
    assert_eq!(ward.only().people.level, Level::First);
    ward.pass_time(90.0);
    assert_eq!(ward.only().people.level, Level::Second);
    // It is over while somebody asks: it is high, and waits for a person.
    let mut ward = Ward::new("bp-01");
    ward.feed(0.0, 0.0, pressure(184, 100));
    ward.feed(300.0, 300.0, pressure(150, 90));
    let id = ward.only().id;
    let alert = act(&mut ward, id, 310.0, "wang", told(&[ChestPain])).unwrap();
    assert_eq!((alert.priority, alert.state), (Priority::High, AlertState::ClearedUnack));
    let (mut ward, id) = occluded();
    assert_eq!(act(&mut ward, id, 1.0, "wang", told(&[])), Err(ActionError::NotAsked));
}

#[test]
fn in_pregnancy_danger_signs_are_asked_from_the_severe_lines_on() {
    for (value, asked) in [((159, 109), false), ((160, 90), true), ((140, 110), true)] {
        let pregnant = Profile { pregnant_until: Some(at(1e6)), ..Profile::default() };
        let mut ward = Ward::of(pregnant);
        ward.feed(0.0, 0.0, pressure(value.0, value.1));
        assert_eq!(ward.alert("bp_high").asks_danger_signs(), asked, "{value:?}");
    }
}
