//! Each row of the table of transitions (alert rules, "Life of an alert"), by its name, and what
//! time alone does.

use super::*;
use crate::ladder::{Level, Times};

const MINUTE: f64 = 60.0;

/// A ward with one alert that holds, and its family.
pub(super) fn with(priority: Priority) -> (Ward, &'static str) {
    match priority {
        Priority::High => {
            let mut ward = Ward::new("ecg-01");
            ward.stream(0, 11, Metric::HR, "36");
            (ward, "hr_low")
        }
        Priority::Medium => {
            let mut ward = Ward::new("ecg-01");
            ward.stream(0, 31, Metric::HR, "45");
            (ward, "hr_low")
        }
        Priority::Low => {
            let mut ward = Ward::new("ecg-01");
            ward.alarm(0.0, AlarmKind::LeadOff, AlarmPhase::Start);
            (ward, "tech_lead_off")
        }
    }
}

/// Says that what `with` raised is over, from that second on.
fn clear(ward: &mut Ward, family: &str, from: u32) {
    match family {
        "hr_low" => ward.stream(from, from + 31, Metric::HR, "72"),
        _ => ward.alarm(f64::from(from), AlarmKind::LeadOff, AlarmPhase::End),
    }
}

fn raised_s(priority: Priority) -> f64 {
    match priority {
        Priority::High => 10.0,
        Priority::Medium => 30.0,
        Priority::Low => 0.0,
    }
}

pub(super) fn acknowledge() -> Action {
    Action::Acknowledge { reason: AckReason::AtBedside, note: String::new() }
}

fn shelve(until: f64) -> Action {
    Action::Shelve { reason: "moved".into(), until: at(until), second: None }
}

impl Ward {
    fn act(&mut self, seconds: f64, by: &str, action: &Action) -> Result<Alert, ActionError> {
        let id = self.only().id;
        self.act_on(id, seconds, by, action)
    }

    pub(super) fn act_on(
        &mut self,
        id: AlertId,
        seconds: f64,
        by: &str,
        action: &Action,
    ) -> Result<Alert, ActionError> {
        self.store_and_load();
        let done = self.engine.act(&Times::default(), id, by, action, at(seconds));
        self.told.extend(done.clone());
        done
    }

    /// When time alone does something next, in seconds.
    pub(super) fn due_s(&self) -> Option<i64> {
        let due = self.engine.next_deadline(self.rules)?;
        Some((due.unix_ms() - BASE_MS) / 1000)
    }

    /// What happened to the only alert so far.
    fn story(&self) -> Vec<TimelineEvent> {
        self.told.last().unwrap().timeline.iter().map(|entry| entry.what).collect()
    }
}

#[test]
fn normal_condition_true_is_pending_without_an_alert_or_active_at_once_without_a_sustain() {
    let mut ward = Ward::new("ecg-01");
    ward.stream(0, 10, Metric::HR, "36");
    assert_eq!(ward.engine.alerts().count(), 0);
    ward.stream(10, 11, Metric::HR, "36");
    assert_eq!((ward.only().state, ward.only().started_at), (AlertState::ActiveUnack, at(0.0)));
    let mut ward = Ward::new("glu-01");
    ward.number(3.0, Metric::GLU_CAP_PL, "2.9");
    assert_eq!((ward.only().state, ward.only().started_at), (AlertState::ActiveUnack, at(3.0)));
}

#[test]
fn pending_condition_false_before_the_sustain_leaves_no_record() {
    let mut ward = Ward::new("ecg-01");
    ward.stream(0, 9, Metric::HR, "36");
    ward.stream(9, 60, Metric::HR, "72");
    ward.stream(60, 69, Metric::HR, "36");
    assert!(ward.told.is_empty());
    assert_eq!(ward.due_s(), None);
}

#[test]
fn active_unack_acknowledged_is_active_ack_and_goes_on_at_the_present_priority() {
    let (mut ward, _) = with(Priority::High);
    ward.stream(11, 60, Metric::HR, "47");
    assert_eq!(ward.only().priority, Priority::High, "the highest until somebody comes");
    let alert = ward.act(60.0, "wang", &acknowledge()).unwrap();
    assert_eq!((alert.state, alert.priority), (AlertState::ActiveAck, Priority::Medium));
    assert_eq!((alert.owner(), alert.cleared_at), (Some("wang"), None));
}

#[test]
fn active_unack_condition_cleared_goes_by_the_priority() {
    for (priority, state) in [
        (Priority::High, AlertState::ClearedUnack),
        (Priority::Medium, AlertState::ClearedUnack),
        (Priority::Low, AlertState::Closed),
    ] {
        let (mut ward, family) = with(priority);
        clear(&mut ward, family, 40);
        let alert = ward.told.last().unwrap();
        assert_eq!((alert.state, alert.priority), (state, priority));
        // A medium one closes by itself, a high one waits for ever.
        ward.pass_time(12.0 * 3600.0);
        let waits = priority == Priority::High;
        assert_eq!(ward.engine.alerts().count(), usize::from(waits), "{priority:?}");
    }
}

#[test]
fn active_ack_condition_cleared_is_closed() {
    for priority in Priority::ALL {
        let (mut ward, family) = with(priority);
        ward.act(35.0, "wang", &acknowledge()).unwrap();
        clear(&mut ward, family, 40);
        assert_eq!(ward.told.last().unwrap().state, AlertState::Closed);
        assert_eq!(ward.due_s(), None);
    }
}

#[test]
fn active_ack_that_still_holds_when_its_time_has_passed_sounds_again() {
    for (priority, minutes) in
        [(Priority::High, 2.0), (Priority::Medium, 10.0), (Priority::Low, 60.0)]
    {
        let (mut ward, _) = with(priority);
        ward.act(40.0, "wang", &acknowledge()).unwrap();
        let due = 40.0 + minutes * MINUTE;
        ward.pass_time(due - 0.001);
        assert_eq!(ward.only().state, AlertState::ActiveAck);
        for count in 1..=2 {
            let due = 40.0 + minutes * MINUTE + f64::from(count - 1) * (5.0 + minutes * MINUTE);
            ward.pass_time(due);
            let alert = ward.only().clone();
            assert_eq!((alert.state, alert.people.realarms), (AlertState::ActiveUnack, count));
            assert_eq!((alert.acknowledged, alert.people.level), (None, Level::First));
            ward.act(due + 5.0, "wang", &acknowledge()).unwrap();
        }
        let names = ward.only().timeline.iter().filter(|entry| entry.by.is_some()).count();
        assert_eq!(names, 3, "the story keeps who had it in hand");
    }
}

#[test]
fn what_is_in_hand_and_known_again_waits_before_it_sounds_again() {
    let (mut ward, _) = with(Priority::High);
    ward.act(40.0, "wang", &acknowledge()).unwrap();
    ward.status(90.0, DeviceKind::Monitor, DeviceState::Silent);
    ward.pass_time(120.0);
    assert_eq!(ward.alert("hr_low").state, AlertState::Unknown);
    ward.status(400.0, DeviceKind::Monitor, DeviceState::Online);
    ward.store_and_load();
    for (second, state) in [(429.9, AlertState::ActiveAck), (430.0, AlertState::ActiveUnack)] {
        ward.pass_time(second);
        assert_eq!(ward.alert("hr_low").state, state, "at {second} s");
    }
}

#[test]
fn active_ack_priority_rises_is_active_unack_and_the_story_keeps_who_had_it() {
    let (mut ward, _) = with(Priority::Medium);
    ward.act(31.0, "wang", &acknowledge()).unwrap();
    ward.stream(31, 43, Metric::HR, "36");
    let alert = ward.only();
    assert_eq!((alert.state, alert.priority), (AlertState::ActiveUnack, Priority::High));
    assert!(alert.timeline.iter().any(|entry| entry.by.as_deref() == Some("wang")));
    // It is another danger from when it rose on.
    assert_eq!(ward.due_s(), Some(41 + 60));
}

#[test]
fn active_unack_priority_falls_stays_at_the_highest_and_active_ack_goes_to_the_present() {
    let (mut ward, _) = with(Priority::High);
    ward.stream(11, 60, Metric::HR, "47");
    assert_eq!((ward.only().priority, ward.only().value.as_deref()), (Priority::High, Some("47")));
    let (mut ward, _) = with(Priority::High);
    ward.act(11.0, "wang", &acknowledge()).unwrap();
    ward.stream(11, 60, Metric::HR, "47");
    let alert = ward.only();
    assert_eq!((alert.state, alert.priority), (AlertState::ActiveAck, Priority::Medium));
    assert_eq!(ward.due_s(), Some(11 + 600), "it sounds again as a medium one does");
}

#[test]
fn any_active_is_unknown_in_silence_and_returns_to_where_it_was() {
    for acknowledged in [false, true] {
        let (mut ward, _) = with(Priority::High);
        if acknowledged {
            ward.act(12.0, "wang", &acknowledge()).unwrap();
        }
        let before = ward.only().state;
        ward.status(12.0, DeviceKind::Monitor, DeviceState::Silent);
        ward.pass_time(42.0);
        assert_eq!(ward.alert("hr_low").state, AlertState::Unknown);
        // Nobody is called by what is not known.
        ward.pass_time(3000.0);
        assert_eq!(ward.alert("hr_low").people.level, Level::First);
        ward.number(3010.0, Metric::HR, "36");
        assert_eq!(ward.alert("hr_low").state, before);
        if !acknowledged {
            // It had sounded for 32 s.
            assert_eq!(ward.due_s(), Some(3010 + 60 - 32));
        }
    }
}

#[test]
fn cleared_unack_acknowledged_is_closed() {
    for priority in [Priority::High, Priority::Medium] {
        let (mut ward, family) = with(priority);
        clear(&mut ward, family, 31);
        let alert = ward.act(70.0, "wang", &acknowledge()).unwrap();
        assert_eq!(alert.state, AlertState::Closed);
    }
}

#[test]
fn cleared_unack_or_closed_condition_true_again_within_five_minutes_is_the_same_alert() {
    for acknowledged in [false, true] {
        let (mut ward, family) = with(Priority::High);
        let id = ward.only().id;
        ward.pass_time(71.0);
        assert_eq!(ward.only().people.level, Level::Second);
        clear(&mut ward, family, 71);
        if acknowledged {
            ward.act(110.0, "wang", &acknowledge()).unwrap();
        }
        ward.stream(390, 401, Metric::HR, "36");
        let alert = ward.only();
        assert_eq!((alert.id, alert.recurrences), (id, 1));
        assert_eq!((alert.state, alert.owner()), (AlertState::ActiveUnack, None));
        // It had sounded for 91 s when it was over: where nobody answered, the doctor is told 120 s
        // after it sounded first.
        let next = match acknowledged {
            true => (Level::First, Some(400 + 60)),
            false => (Level::Second, Some(400 + 120 - 91)),
        };
        assert_eq!((alert.people.level, ward.due_s()), next);
    }
}

#[test]
fn what_comes_and_goes_and_nobody_answers_reaches_the_next_persons() {
    let mut ward = Ward::new("ecg-01");
    let mut told = Vec::new();
    // Ten seconds until it is raised and thirty until it is over: it sounds for half a minute of
    // every two.
    for spell in 0..12 {
        let from = spell * 120;
        ward.stream(from, from + 11, Metric::HR, "36");
        ward.stream(from + 11, from + 41, Metric::HR, "72");
        ward.pass_time(f64::from(from) + 40.0);
        ward.stream(from + 41, from + 42, Metric::HR, "72");
        assert_eq!(ward.only().state, AlertState::ClearedUnack);
        told.push(ward.only().people.level);
    }
    let spells = |level: Level| told.iter().filter(|told| **told == level).count();
    assert_eq!(Level::ALL.iter().map(|level| spells(*level)).collect::<Vec<_>>(), [1, 2, 6, 3]);
    assert_eq!(ward.only().recurrences, 11);
}

#[test]
fn what_comes_back_more_urgent_begins_the_ladder_of_that() {
    let (mut ward, family) = with(Priority::Medium);
    ward.pass_time(280.0);
    clear(&mut ward, family, 281);
    ward.stream(400, 411, Metric::HR, "36");
    let alert = ward.only();
    assert_eq!((alert.priority, alert.recurrences), (Priority::High, 1));
    assert_eq!((alert.people.level, ward.due_s()), (Level::First, Some(410 + 60)));
}

#[test]
fn cleared_unack_that_comes_back_less_urgent_keeps_the_highest_until_it_is_acknowledged() {
    for (acknowledged, expected) in [(false, Priority::High), (true, Priority::Medium)] {
        let (mut ward, family) = with(Priority::High);
        clear(&mut ward, family, 11);
        if acknowledged {
            ward.act(50.0, "wang", &acknowledge()).unwrap();
        }
        ward.stream(60, 91, Metric::HR, "45");
        let alert = ward.only();
        assert_eq!((alert.state, alert.recurrences), (AlertState::ActiveUnack, 1));
        assert_eq!((alert.priority, alert.rules[0].as_str()), (expected, "HR-AD-L"));
        // And so it never closes by itself.
        clear(&mut ward, family, 91);
        ward.pass_time(4000.0);
        let is_open = ward.engine.alerts().next().is_some();
        assert_eq!(is_open, !acknowledged);
    }
}

#[test]
fn any_shelved_is_quiet_within_the_limits_of_its_priority() {
    for (priority, max_min) in
        [(Priority::High, 15), (Priority::Medium, 120), (Priority::Low, 24 * 60)]
    {
        let (mut ward, _) = with(priority);
        let until = |minutes: i64| 60.0 + f64::from(i32::try_from(minutes).unwrap()) * MINUTE;
        let agreed = |minutes| Action::Shelve {
            reason: "new probe".into(),
            until: at(until(minutes) + 0.001),
            second: Some("li".into()),
        };
        let mut try_it = |action: &Action| ward.act(60.001, "wang", action);
        assert_eq!(try_it(&agreed(max_min + 1)), Err(ActionError::ShelfTooLong { max_min }));
        assert_eq!(try_it(&agreed(-1)), Err(ActionError::ShelfOver));
        let alert = try_it(&agreed(max_min)).unwrap();
        assert_eq!(
            (alert.state, alert.condition()),
            (AlertState::Shelved, AlertState::ActiveUnack)
        );
        let entry = alert.timeline.last().unwrap();
        assert_eq!((entry.what, entry.by.as_deref()), (TimelineEvent::Shelved, Some("wang")));
        assert_eq!((entry.note.as_str(), entry.to.as_deref()), ("new probe", Some("li")));
        let taken = try_it(&shelve(120.0));
        assert!(matches!(taken, Err(ActionError::AlreadyShelved { by, .. }) if by == "wang"));
        let taken = try_it(&acknowledge());
        assert!(matches!(taken, Err(ActionError::AlreadyShelved { by, .. }) if by == "wang"));
        assert_eq!(ward.due_s(), Some(60 + max_min * 60), "nothing sounds before");
    }
}

#[test]
fn a_high_alert_is_shelved_for_more_than_five_minutes_by_two_only() {
    let shelved = |second: Option<&str>, minutes: f64| {
        let (mut ward, _) = with(Priority::High);
        let second = second.map(str::to_owned);
        let until = at(20.0 + minutes * MINUTE);
        ward.act(20.0, "wang", &Action::Shelve { reason: "x".into(), until, second })
    };
    let needed = Err(ActionError::SecondNeeded { alone_min: 5 });
    assert!(shelved(None, 5.0).is_ok());
    assert_eq!(shelved(None, 5.1), needed);
    assert_eq!(shelved(Some("wang"), 5.1), needed, "nobody is two");
    assert!(shelved(Some("li"), 5.1).is_ok());
}

#[test]
fn shelved_time_over_is_what_the_condition_says() {
    let over = |acknowledged: bool, cleared: bool| {
        let (mut ward, family) = with(Priority::High);
        if acknowledged {
            ward.act(20.0, "wang", &acknowledge()).unwrap();
        }
        ward.act(30.0, "li", &shelve(100.0)).unwrap();
        if cleared {
            clear(&mut ward, family, 40);
        } else {
            ward.stream(40, 100, Metric::HR, "36");
        }
        assert_eq!(ward.only().state, AlertState::Shelved);
        ward.pass_time(99.0);
        assert_eq!(ward.only().state, AlertState::Shelved);
        ward.pass_time(100.0);
        (ward.told.last().unwrap().state, ward.due_s())
    };
    assert_eq!(over(false, false), (AlertState::ActiveUnack, Some(100 + 60)));
    assert_eq!(over(true, false), (AlertState::ActiveAck, Some(20 + 120)));
    // A shelf is not a pair of eyes: that it was over somebody is still to see.
    assert_eq!(over(false, true).0, AlertState::ClearedUnack);
    assert_eq!(over(true, true), (AlertState::Closed, None));
}

#[test]
fn what_rises_is_not_quiet_on_a_shelf() {
    let (mut ward, _) = with(Priority::Medium);
    ward.act(35.0, "wang", &shelve(3600.0)).unwrap();
    ward.stream(36, 48, Metric::HR, "36");
    let alert = ward.only();
    assert_eq!((alert.state, alert.priority), (AlertState::ActiveUnack, Priority::High));
    assert_eq!(alert.people.shelf, None);
    // Neither is what comes back as something worse.
    let (mut ward, family) = with(Priority::Medium);
    ward.act(35.0, "wang", &shelve(3600.0)).unwrap();
    clear(&mut ward, family, 36);
    ward.stream(100, 112, Metric::HR, "36");
    assert_eq!((ward.only().state, ward.only().recurrences), (AlertState::ActiveUnack, 1));
}

#[test]
fn any_but_closed_is_closed_with_the_reason_when_the_device_is_unbound() {
    type Prepare = fn(&mut Ward);
    let prepare: [(AlertState, Prepare); 7] = [
        (AlertState::ActiveUnack, |_| {}),
        (AlertState::ActiveAck, |ward| drop(ward.act(31.0, "wang", &acknowledge()).unwrap())),
        (AlertState::ClearedUnack, |ward| clear(ward, "hr_low", 31)),
        (AlertState::Shelved, |ward| drop(ward.act(31.0, "wang", &shelve(90.0)).unwrap())),
        (AlertState::Unknown, |ward| {
            ward.engine.episodes.values_mut().for_each(|episode| {
                episode.become_unknown(at(31.0), |_| true);
            });
        }),
        (AlertState::Suppressed, |ward| {
            ward.engine.episodes.values_mut().for_each(|episode| {
                episode.stand_behind(at(31.0), "EDGE-OFFLINE");
            });
        }),
        (AlertState::OutOfService, |ward| {
            let device = ward.device.clone();
            ward.engine.take_out_of_service(&device, "wang", "broken", None, at(31.0)).unwrap();
        }),
    ];
    for (state, prepare) in prepare {
        let (mut ward, _) = with(Priority::High);
        prepare(&mut ward);
        assert_eq!(ward.only().state, state);
        let ended = ward.engine.close(at(80.0), "discharged");
        assert_eq!((ended.len(), ended[0].state), (1, AlertState::Closed));
        let last = ended[0].timeline.last().unwrap();
        assert_eq!((last.what, last.detail.as_str()), (TimelineEvent::Closed, "discharged"));
        assert_eq!((ward.engine.alerts().count(), ward.due_s()), (0, None));
        assert!(ward.engine.close(at(81.0), "discharged").is_empty());
    }
}

#[test]
fn nobody_answers_and_the_next_person_is_told_when_it_is_time() {
    let steps = [
        (Priority::High, [Some(1.0), Some(2.0), Some(5.0)]),
        (Priority::Medium, [Some(5.0), Some(15.0), Some(30.0)]),
        (Priority::Low, [None, Some(8.0 * 60.0), None]),
    ];
    for (priority, minutes) in steps {
        let (mut ward, _) = with(priority);
        let levels = [Level::Second, Level::TownshipDoctor, Level::CountyOnCall];
        for (level, minutes) in levels.into_iter().zip(minutes) {
            let Some(minutes) = minutes else { continue };
            let due = raised_s(priority) + minutes * MINUTE;
            assert_eq!(ward.engine.next_deadline(ward.rules), Some(at(due)));
            let told = ward.told.len();
            ward.pass_time(due - 0.001);
            assert_eq!(ward.told.len(), told);
            ward.pass_time(due);
            let alert = ward.only();
            assert_eq!((alert.people.level, alert.state), (level, AlertState::ActiveUnack));
            let last = alert.timeline.last().unwrap();
            assert_eq!((last.what, last.detail.as_str()), (TimelineEvent::Escalated, level.name()));
        }
        assert_eq!(ward.due_s(), None, "everybody was told");
    }
}

#[test]
fn a_county_that_was_away_for_ten_minutes_tells_the_last_step_once_and_now() {
    let (mut ward, _) = with(Priority::High);
    ward.pass_time(70.0);
    ward.pass_time(670.0);
    let mut story = vec![TimelineEvent::Raised, TimelineEvent::Escalated, TimelineEvent::Escalated];
    assert_eq!(ward.story(), story);
    let last = ward.only().timeline.last().unwrap();
    assert_eq!((last.at, last.detail.as_str()), (at(670.0), "county_on_call"));
    ward.pass_time(671.0);
    assert_eq!(ward.story(), story, "nobody is told twice");

    // What was in hand sounds again, once, and the ladder begins then.
    let (mut ward, _) = with(Priority::High);
    ward.act(20.0, "wang", &acknowledge()).unwrap();
    ward.pass_time(620.0);
    story = vec![TimelineEvent::Raised, TimelineEvent::Acknowledged, TimelineEvent::Realarmed];
    assert_eq!(ward.story(), story);
    assert_eq!((ward.only().people.realarms, ward.due_s()), (1, Some(680)));

    // A shelf that ended meanwhile, of what had been in hand before.
    let (mut ward, _) = with(Priority::High);
    ward.act(20.0, "wang", &acknowledge()).unwrap();
    ward.act(30.0, "wang", &shelve(60.0)).unwrap();
    ward.pass_time(660.0);
    assert_eq!(ward.story()[3..], [TimelineEvent::Unshelved, TimelineEvent::Realarmed]);
    assert_eq!((ward.only().state, ward.due_s()), (AlertState::ActiveUnack, Some(720)));

    // Two reminders fell due: one is told, and the next comes when it would have.
    let (mut ward, family) = with(Priority::High);
    clear(&mut ward, family, 11);
    let cleared = at(41.0);
    assert_eq!(ward.only().cleared_at, Some(cleared));
    ward.pass_time(41.0 + 11.0 * MINUTE);
    assert_eq!(ward.story()[2..], [TimelineEvent::Reminded]);
    assert_eq!(ward.due_s(), Some(41 + 15 * 60));
}

#[test]
fn a_high_one_that_is_over_unseen_is_reminded_of_every_five_minutes_and_a_medium_one_is_not() {
    let (mut ward, family) = with(Priority::High);
    clear(&mut ward, family, 11);
    for count in 1..=200_u32 {
        let due = 41.0 + f64::from(count) * 5.0 * MINUTE;
        assert_eq!(ward.engine.next_deadline(ward.rules), Some(at(due)));
        ward.pass_time(due + 0.7);
    }
    assert_eq!(ward.only().timeline.len(), 64);
    assert_eq!(ward.story()[..2], [TimelineEvent::Raised, TimelineEvent::Cleared]);
    let (mut ward, family) = with(Priority::Medium);
    clear(&mut ward, family, 31);
    assert_eq!(ward.due_s(), Some(61 + 30 * 60));
}

#[test]
fn what_began_late_never_escalates_in_the_past() {
    // An alarm that began in an outage: unknown until the pump is heard, and then it begins.
    let mut ward = Ward::new("pump-01");
    let alarm = ward.an_alarm(10.0, AlarmKind::OcclusionDownstream, AlarmPhase::Start);
    ward.alarm_at(1210.0, &alarm);
    assert_eq!((ward.only().state, ward.due_s()), (AlertState::Unknown, None));
    ward.in_unit(1300.0, Metric::PUMP_RATE, "5", Unit::ML_PER_HOUR);
    assert_eq!((ward.only().state, ward.due_s()), (AlertState::ActiveUnack, Some(1300 + 60)));
    // One that was over before anybody could see it is history: no reminder, no ladder.
    let mut ward = Ward::new("pump-01");
    ward.alarm_at(1210.0, &alarm);
    let ended = ward.an_alarm(100.0, AlarmKind::OcclusionDownstream, AlarmPhase::End);
    ward.alarm_at(1210.0, &ended);
    assert_eq!(ward.due_s(), None);
}

#[test]
fn test_12_a_late_spot_value_escalates_from_now_on_and_the_next_clears_it() {
    let mut ward = Ward::new("glu-01");
    let uploaded = 137.0 * MINUTE;
    ward.feed(0.0, uploaded, vec![Reading::number(Metric::GLU_CAP_PL, 53, Unit::MG_PER_DL)]);
    let alert = ward.only();
    assert_eq!((alert.state, alert.started_at), (AlertState::ActiveUnack, at(0.0)));
    assert_eq!(alert.people.level, Level::First);
    // That nobody measured again is due; that nobody answers is not.
    ward.pass_time(uploaded);
    assert_eq!(ward.engine.next_deadline(ward.rules), Some(at(uploaded + MINUTE)));
    ward.number(uploaded + 8.0 * MINUTE, Metric::GLU_CAP_PL, "6.1");
    assert_eq!(ward.only().state, AlertState::ClearedUnack);
}

#[test]
fn where_the_clock_was_set_what_is_due_is_as_far_away_as_before() {
    let is_moved = |mut ward: Ward| {
        let due_s = ward.due_s().unwrap();
        for (by_s, moved_s) in [(-10_000, -10_000), (10_000, 0), (700, 700)] {
            ward.engine.set_clock_by(by_s * 1000);
            assert_eq!(ward.due_s(), Some(due_s + moved_s), "{:?}", ward.only().state);
        }
    };
    for priority in [Priority::High, Priority::Medium] {
        let (mut ward, family) = with(priority);
        clear(&mut ward, family, 32);
        assert_eq!(ward.only().state, AlertState::ClearedUnack);
        is_moved(ward);
    }
    let (mut ward, _) = with(Priority::High);
    ward.act(20.0, "li", &acknowledge()).unwrap();
    is_moved(ward);
}

#[test]
fn what_comes_back_before_it_began_was_seen_by_nobody() {
    let mut ward = Ward::new("ecg-01");
    ward.stream(1000, 1012, Metric::HR, "36");
    ward.act(1012.0, "li", &acknowledge()).unwrap();
    let (id, state) = (ward.only().id, serde_json::to_string(&ward.engine).unwrap());
    let (site, subject) = (ward.engine.site.clone(), ward.engine.subject.clone());
    ward.engine = Engine::rescued(site, subject, &state);
    ward.engine.set_clock_by(-1_012_000);
    ward.stream(0, 12, Metric::HR, "36");
    assert_eq!((ward.only().id, ward.only().state), (id, AlertState::ActiveAck));
    ward.stream(12, 50, Metric::HR, "72");
    assert_eq!(ward.engine.alerts().count(), 0, "somebody had it in hand");
    ward.stream(50, 62, Metric::HR, "36");
    assert_eq!((ward.only().id, ward.only().state), (id, AlertState::ActiveUnack));
}
