//! What a box told of, and what is heard of it since.

use super::{
    edge::{place, told_of},
    *,
};
use crate::ladder::Times;
use model::alert::EdgeAlert;

#[test]
fn what_a_box_told_makes_no_sound_while_all_that_is_heard_says_that_it_may_be_over() {
    let mut ward = Ward::new("ecg-01");
    ward.stream(0, 11, Metric::HR, "36");
    let alert = ward.only().clone();
    let (told, times) = told_of(&ward, &alert, "raised", 10.0);
    let mut county = Ward::new("ecg-01");
    county.engine.adopt_edge(ward.rules, at(100.0), &told, times, place(1));
    county.stream(100, 105, Metric::HR, "72");
    assert_eq!(county.only().state, AlertState::Unknown);
    // Between the limit and where it clears it holds.
    for (value, expected) in
        [("72", "cleared_unack"), ("42", "active_unack"), ("36", "active_unack")]
    {
        let engine = county.engine.clone();
        let mut county = Ward { engine, told: vec![], ..Ward::new("ecg-01") };
        county.stream(105, 106, Metric::HR, value);
        let first = if value == "72" { "unknown" } else { expected };
        assert_eq!(county.only().state.name(), first);
        county.stream(106, 131, Metric::HR, value);
        assert_eq!(county.only().state.name(), expected);
    }
}

#[test]
fn who_had_it_in_hand_has_it_though_it_sounded_again_in_the_moment_in_which_it_was_over() {
    let mut ward = Ward::new("ecg-01");
    ward.stream(0, 11, Metric::HR, "36");
    let alert = ward.only().clone();
    ward.engine.acknowledge(alert.id, "nurse", AckReason::AtBedside, "", at(12.0)).unwrap();
    // What was heard until then did not say that it was over.
    ward.pass_time(133.0);
    assert_eq!(ward.only().state, AlertState::ActiveUnack);
    let (told, times) = told_of(&ward, &alert, "cleared", 130.0);
    let times = EdgeTimes { at: at(132.0), ..times };
    let (over, _) = ward.engine.adopt_edge(ward.rules, at(150.0), &told, times, place(1));
    assert_eq!((over.state, &*over.acknowledged.unwrap().by), (AlertState::Closed, "nurse"));
}

#[test]
fn what_its_box_told_is_as_urgent_as_what_holds_once_somebody_has_it_in_hand() {
    let mut ward = Ward::new("cuff-01");
    ward.number(0.0, Metric::NIBP_SYS, "225");
    let alert = ward.only().clone();
    // After a minute a second value may have confirmed the first.
    for (second, expected) in [(59.0, Priority::Medium), (60.0, Priority::High)] {
        let (told, times) = told_of(&ward, &alert, "rules_changed", second);
        let told = EdgeAlert { rules: vec!["BP-AD-SH".into()], ..told };
        let mut county = Ward::new("cuff-01");
        county.engine.adopt_edge(ward.rules, at(100.0), &told, times, place(1));
        assert_eq!(county.only().priority, Priority::High);
        let reason = AckReason::AtBedside;
        let seen = county.engine.acknowledge(alert.id, "nurse", reason, "", at(101.0)).unwrap();
        assert_eq!(seen.priority, expected);
    }
}

#[test]
fn a_value_of_before_it_was_over_confirms_none_when_its_box_says_all_of_it_again() {
    let mut ward = Ward::new("cuff-01");
    ward.number(0.0, Metric::NIBP_SYS, "186");
    let alert = ward.only().clone();
    let mut county = Ward::new("cuff-01");
    let words = [("raised", 0.0), ("cleared", 300.0), ("raised", 0.0)];
    for (seq, (what, second)) in (1..).zip(words) {
        let (told, times) = told_of(&ward, &alert, what, second);
        county.engine.adopt_edge(ward.rules, at(400.0), &told, times, place(seq));
    }
    county.number(410.0, Metric::NIBP_SYS, "186");
    assert_eq!(county.only().priority, Priority::Medium);
    county.number(480.0, Metric::NIBP_SYS, "186");
    assert_eq!(county.only().priority, Priority::High);
}

#[test]
fn what_a_box_tells_of_a_device_that_was_taken_off_makes_no_sound_until_it_is_back() {
    let mut ward = Ward::new("ecg-01");
    ward.stream(0, 11, Metric::HR, "36");
    let mut county = Ward::new("ecg-01");
    county
        .engine
        .take_out_of_service(&county.device.clone(), "wang", "being cleaned", None, at(-60.0))
        .unwrap();
    let (told, times) = told_of(&ward, ward.only(), "raised", 10.0);
    let (told, _) = county.engine.adopt_edge(ward.rules, at(30.0), &told, times, place(1));
    assert_eq!(told.state, AlertState::OutOfService);
    let last = told.timeline.last().unwrap();
    assert_eq!((last.what, last.at), (TimelineEvent::OutOfService, at(30.0)));
    // It is heard again, and nobody is called.
    county.stream(31, 33, Metric::HR, "36");
    let known = county.only();
    let stands = (known.state, known.condition());
    assert_eq!(stands, (AlertState::OutOfService, AlertState::ActiveUnack));
    assert_eq!(county.engine.next_deadline(county.rules), None);
    let back = county.engine.put_back_in_service(&county.device.clone(), "li", at(90.0)).unwrap();
    assert_eq!((back.len(), back[0].state), (1, AlertState::ActiveUnack));
}

#[test]
fn what_a_box_told_is_known_again_though_no_value_says_more_than_that_it_may_be_over() {
    let mut ward = Ward::new("ecg-01");
    ward.stream(0, 11, Metric::HR, "36");
    let (told, times) = told_of(&ward, ward.only(), "raised", 10.0);
    let mut county = Ward::new("ecg-01");
    county.engine.adopt_edge(ward.rules, at(100.0), &told, times, place(1));
    county.number(100.0, Metric::HR, "72");
    // The lead is off: no hold ends, and its other values go on.
    for second in 101..=190 {
        county.number(f64::from(second), Metric::SPO2, "97");
        assert_eq!(county.alert("hr_low").state, AlertState::Unknown, "at {second} s");
    }
    county.number(191.0, Metric::SPO2, "97");
    assert_eq!(county.alert("hr_low").state, AlertState::ActiveUnack);
}

#[test]
fn a_stopped_pump_of_which_its_box_told_is_over_when_it_goes_again() {
    let says = |ward: &mut Ward, second: f64, state: &str| {
        let left: Decimal = "30".parse().unwrap();
        let left = Reading::number(Metric::PUMP_VTBI_REM, left, Unit::MILLILITRE);
        ward.feed(second, second, vec![left, Reading::text(Metric::PUMP_STATE, state)]);
    };
    let mut ward = Ward::new("pump-01");
    says(&mut ward, 0.0, "infusing");
    says(&mut ward, 5.0, "paused");
    let (told, times) = told_of(&ward, ward.only(), "raised", 5.0);
    let mut county = Ward::new("pump-01");
    county.engine.adopt_edge(ward.rules, at(20.0), &told, times, place(1));
    assert_eq!(county.only().state, AlertState::Unknown);
    says(&mut county, 30.0, "infusing");
    assert_eq!(county.engine.alerts().filter(|alert| alert.condition().is_active()).count(), 0);
}

#[test]
fn what_a_pump_said_before_its_box_told_that_it_is_over_begins_nothing() {
    let says = |ward: &mut Ward, (second, now): (f64, f64), state: &str, minutes: u32| {
        let left = Reading::number(Metric::PUMP_VTBI_REM, 90, Unit::MILLILITRE);
        let time = Reading::number(Metric::PUMP_TIME_REM, minutes, Unit::MINUTE);
        ward.feed(second, now, vec![Reading::text(Metric::PUMP_STATE, state), left, time]);
    };
    for (state, minutes, family) in
        [("infusing", 23, "pump_near_end"), ("paused", 60, "pump_stopped")]
    {
        let mut county = Ward::new("pump-01");
        says(&mut county, (0.0, 0.0), "infusing", 60);
        let mut ward = Ward::new("pump-01");
        says(&mut ward, (0.0, 0.0), "infusing", 60);
        says(&mut ward, (20.0, 20.0), state, minutes);
        let alert = ward.alert(family).clone();
        for (seq, what, second) in [(1, "raised", 20.0), (2, "cleared", 50.0)] {
            let (told, times) = told_of(&ward, &alert, what, second);
            let told = match what {
                "cleared" => EdgeAlert { state: "closed".into(), ..told },
                _ => told,
            };
            county.engine.adopt_edge(ward.rules, at(60.0), &told, times, place(seq));
        }
        says(&mut county, (45.0, 61.0), state, minutes);
        assert!(!county.has(family), "{family}");
        says(&mut county, (62.0, 62.0), state, minutes);
        assert!(county.has(family), "{family}");
    }
}

#[test]
fn a_pump_of_a_new_bag_that_stopped_while_its_box_was_alone_has_stopped() {
    let says = |ward: &mut Ward, second: f64, (state, left): (&str, &str)| {
        let left: Decimal = left.parse().unwrap();
        let left = Reading::number(Metric::PUMP_VTBI_REM, left, Unit::MILLILITRE);
        ward.feed(second, second, vec![Reading::text(Metric::PUMP_STATE, state), left]);
    };
    let mut ward = Ward::new("pump-01");
    says(&mut ward, 0.0, ("infusing", "35"));
    says(&mut ward, 50.0, ("paused", "300"));
    says(&mut ward, 60.0, ("infusing", "295"));
    says(&mut ward, 200.0, ("paused", "90"));
    let alert = ward.engine.alerts().find(|alert| alert.started_at == at(200.0)).unwrap();
    let (told, times) = told_of(&ward, alert, "raised", 200.0);
    let times = EdgeTimes { started: at(200.0), ..times };
    for heard_before_the_word in [false, true] {
        let mut county = Ward::new("pump-01");
        says(&mut county, 0.0, ("infusing", "35"));
        if heard_before_the_word {
            says(&mut county, 300.0, ("paused", "90"));
        }
        county.engine.adopt_edge(ward.rules, at(301.0), &told, times, place(1));
        says(&mut county, 305.0, ("paused", "90"));
        let alert = county.only();
        let is = (alert.state, alert.started_at, alert.value.as_deref());
        assert_eq!(is, (AlertState::ActiveUnack, at(200.0), Some("90.0")));
        // Time goes on from when it stopped, and another bag ends it.
        says(&mut county, 505.0, ("paused", "90"));
        assert_eq!(county.only().priority, Priority::Medium);
        says(&mut county, 510.0, ("paused", "300"));
        assert_eq!(county.engine.alerts().filter(|it| it.condition().is_active()).count(), 0);
    }
}

/// A pump whose lines each say how they stand, with volume left.
fn line_says(ward: &mut Ward, second: f64, line: &str, state: &str) {
    let left: Decimal = "30".parse().unwrap();
    let left = Reading::number(Metric::PUMP_VTBI_REM, left, Unit::MILLILITRE);
    let says = vec![left, Reading::text(Metric::PUMP_STATE, state)];
    let group = ReadingGroup::new(ward.device.clone(), Ward::observed(second), says);
    ward.feed_group(&group.on_channel(Channel::new(line).unwrap()), second);
}

/// A county whose pump had two lines that gave, one of which was stopped while it was away.
fn a_line_stopped() -> Ward {
    let mut ward = Ward::new("pump-01");
    let mut county = Ward::new("pump-01");
    for line in ["1", "2"] {
        line_says(&mut ward, 0.0, line, "infusing");
        line_says(&mut county, 0.0, line, "infusing");
    }
    line_says(&mut ward, 5.0, "2", "paused");
    let (told, times) = told_of(&ward, ward.only(), "raised", 5.0);
    county.engine.adopt_edge(ward.rules, at(20.0), &told, times, place(1));
    county
}

#[test]
fn what_a_box_told_of_one_line_of_a_pump_another_that_goes_does_not_end() {
    let active = |ward: &Ward| {
        let mut alerts = ward.engine.alerts().filter(|alert| alert.condition().is_active());
        alerts.next().map(|alert| alert.state)
    };
    let mut ward = a_line_stopped();
    line_says(&mut ward, 30.0, "1", "infusing");
    ward.store_and_load();
    assert_eq!(active(&ward), Some(AlertState::ActiveUnack));
    let mut stands = Ward { engine: ward.engine.clone(), told: vec![], ..Ward::new("pump-01") };
    // It goes again, and with that both do.
    line_says(&mut ward, 31.0, "2", "infusing");
    assert_eq!(active(&ward), None);
    // It says itself that it stands, and then by itself alone that it goes.
    line_says(&mut stands, 31.0, "2", "ready");
    line_says(&mut stands, 32.0, "1", "infusing");
    assert_eq!(active(&stands), Some(AlertState::ActiveUnack));
    line_says(&mut stands, 33.0, "2", "infusing");
    assert_eq!(active(&stands), None);
}

#[test]
fn a_line_that_is_heard_no_more_does_not_keep_what_a_box_told_for_ever() {
    let mut ward = a_line_stopped();
    for (second, expected) in [(30.0, 1), (120.0, 1), (121.0, 0)] {
        line_says(&mut ward, second, "1", "infusing");
        let active = ward.engine.alerts().filter(|alert| alert.condition().is_active());
        assert_eq!(active.count(), expected, "{second}");
    }
}

#[test]
fn of_a_probe_that_was_off_another_channel_that_is_off_now_has_not_been_so_long() {
    let says = |ward: &mut Ward, second: f64, channel: &str, off: bool| {
        let reading = match off {
            true => Reading::no_data(Metric::SPO2, NoData::SensorOff),
            false => Reading::number(Metric::SPO2, 97, Unit::PERCENT),
        };
        let group = ReadingGroup::new(ward.device.clone(), Ward::observed(second), vec![reading]);
        ward.feed_group(&group.on_channel(Channel::new(channel).unwrap()), second);
    };
    let profile = Profile { monitored: true, ..aged(600) };
    let mut ward = Ward::of(profile.clone());
    says(&mut ward, 0.0, "1", true);
    let (told, times) = told_of(&ward, ward.alert("tech_probe_off"), "raised", 0.0);
    let mut county = Ward::of(profile);
    for channel in ["1", "2"] {
        says(&mut county, -1.0, channel, false);
    }
    county.engine.adopt_edge(ward.rules, at(130.0), &told, times, place(1));
    says(&mut county, 131.0, "2", false);
    says(&mut county, 132.0, "2", true);
    assert_eq!(county.alert("tech_probe_off").priority, Priority::Low);
    county.pass_time(251.0);
    assert_eq!(county.alert("tech_probe_off").priority, Priority::Low);
    county.pass_time(252.0);
    assert_eq!(county.alert("tech_probe_off").priority, Priority::Medium);
}

#[test]
fn what_sounded_by_another_device_goes_on_by_what_a_box_told_and_does_not_fall_silent_again() {
    let mut box_of = Ward::of(aged(600));
    box_of.stream(0, 16, Metric::SPO2, "88");
    let (told, times) = told_of(&box_of, box_of.alert("spo2_low"), "raised", 15.0);
    let mut ward = Ward::of(aged(600));
    ward.engine.adopt_edge(ward.rules, at(99.0), &told, times, place(1));
    // Another oximeter says the same, and is well again; the one that the box named is not heard.
    ward.hand_to("oxi-02", DeviceKind::Monitor, 0.0);
    ward.stream(100, 117, Metric::SPO2, "88");
    assert_eq!(ward.alert("spo2_low").state, AlertState::ActiveUnack);
    ward.stream(117, 160, Metric::SPO2, "97");
    let goes_on = ward.alert("spo2_low");
    assert_eq!((goes_on.state, goes_on.late_row), (AlertState::ActiveUnack, None));
    // It ends by its own values.
    ward.hand_to("ecg-01", DeviceKind::Monitor, 0.0);
    ward.stream(160, 180, Metric::SPO2, "97");
    assert_eq!(ward.alert("spo2_low").state, AlertState::ClearedUnack);
}

/// What somebody at the box did, and what became of it: what, when, how urgent, in which state.
type Words<'a> = &'a [(&'a str, f64, Priority, &'a str)];

/// The words of a box in an order, each with its place; how the alert is then. Whatever is still on
/// its way, it sounds where the newest word says so and nowhere else.
fn in_order(of_box: &Ward, words: Words<'_>, order: &[usize]) -> Alert {
    let alert = of_box.alert("hr_low");
    let mut county = Ward::new("ecg-01");
    let mut newest = 0;
    for &index in order {
        let (what, second, priority, state) = words[index];
        let (mut told, times) = told_of(of_box, alert, what, second);
        (told.priority, told.state) = (priority, state.into());
        told.rules = rules_of(priority);
        if what == "acknowledged" {
            told.by = Some(format!("li at {second}"));
            told.reason = Some("doctor_called".into());
        }
        let turns = ["cleared", "recurred"];
        let mut until_then = words[..=index].iter();
        let turn = until_then.rfind(|(what, ..)| turns.contains(what));
        let cleared = turn.filter(|(what, ..)| *what == "cleared").map(|(_, over, ..)| at(*over));
        let times = EdgeTimes { cleared, ..times };
        told.cleared_at = cleared;
        let place = place(u64::try_from(index).unwrap() + 1);
        county.engine.adopt_edge(county.rules, at(300.0), &told, times, place);
        newest = newest.max(index);
        let mut heard = Ward { engine: county.engine.clone(), told: vec![], ..Ward::new("ecg-01") };
        hear(&mut heard, words[newest]);
        let sounds = hr_low(&heard).state == AlertState::ActiveUnack;
        let (_, _, _, state) = words[newest];
        assert_eq!(sounds, state == "active_unack", "{order:?} as far as {index}");
    }
    hear(&mut county, words[newest]);
    hr_low(&county).clone()
}

/// The alert, which may be over.
fn hr_low(county: &Ward) -> &Alert {
    county.engine.remembered().find(|alert| alert.family == "hr_low").unwrap()
}

/// The device is heard again, and says what goes with that word.
fn hear(county: &mut Ward, (_, _, priority, state): (&str, f64, Priority, &str)) {
    let value = match (state, priority) {
        ("closed" | "cleared_unack", _) => "72",
        (_, Priority::High) => "36",
        (_, Priority::Medium | Priority::Low) => "45",
    };
    county.number(301.0, Metric::HR, value);
}

fn rules_of(priority: Priority) -> Vec<String> {
    let rules = ["HR-AD-LL", "HR-AD-L"].map(str::to_owned);
    rules.into_iter().skip(usize::from(priority != Priority::High)).collect()
}

fn orders(count: usize) -> Vec<Vec<usize>> {
    match count.checked_sub(1) {
        None => vec![vec![]],
        Some(last) => {
            let shorter = orders(last).into_iter();
            let with = |order: Vec<usize>| {
                (0..=order.len()).map(move |place| {
                    let mut order = order.clone();
                    order.insert(place, last);
                    order
                })
            };
            shorter.flat_map(with).collect()
        }
    }
}

#[test]
fn the_words_of_a_box_say_the_same_in_whatever_order_they_come() {
    use Priority::{High, Medium};
    let mut of_box = Ward::new("ecg-01");
    of_box.stream(0, 11, Metric::HR, "36");
    let (active, in_hand) = ("active_unack", "active_ack");
    let stories: [Words<'_>; 8] = [
        &[("raised", 10.0, High, active), ("acknowledged", 30.0, High, in_hand)],
        &[
            ("raised", 10.0, Medium, active),
            ("priority_rose", 20.0, High, active),
            ("acknowledged", 40.0, High, in_hand),
            ("priority_fell", 60.0, Medium, in_hand),
        ],
        &[
            ("raised", 10.0, High, active),
            ("acknowledged", 30.0, High, in_hand),
            ("realarmed", 150.0, High, active),
            ("acknowledged", 170.0, High, in_hand),
        ],
        &[
            ("raised", 10.0, High, active),
            ("acknowledged", 30.0, High, in_hand),
            ("recurred", 90.0, High, active),
            ("acknowledged", 120.0, High, in_hand),
            ("priority_fell", 140.0, Medium, in_hand),
        ],
        &[
            ("raised", 10.0, Medium, active),
            ("acknowledged", 30.0, Medium, in_hand),
            ("priority_rose", 60.0, High, active),
        ],
        &[
            ("raised", 10.0, High, active),
            ("acknowledged", 30.0, High, in_hand),
            ("cleared", 60.0, High, "closed"),
            ("closed", 60.0, High, "closed"),
            ("recurred", 90.0, High, active),
            ("acknowledged", 120.0, High, in_hand),
        ],
        &[
            ("raised", 10.0, Medium, active),
            ("acknowledged", 30.0, Medium, in_hand),
            ("priority_rose", 60.0, High, active),
            ("acknowledged", 90.0, High, in_hand),
            ("realarmed", 210.0, High, active),
            ("rules_changed", 240.0, High, in_hand),
        ],
        &[
            ("raised", 10.0, High, active),
            ("acknowledged", 30.0, High, in_hand),
            ("realarmed", 150.0, High, active),
            ("cleared", 170.0, High, "cleared_unack"),
            ("acknowledged", 180.0, High, "closed"),
        ],
    ];
    for (number, words) in stories.into_iter().enumerate() {
        let says = |alert: &Alert| {
            let by = alert.acknowledged.as_ref().map(|by| (by.by.clone(), by.at, by.reason));
            (alert.state, by, alert.priority, alert.raised_at, alert.recurrences)
        };
        let all = orders(words.len());
        let expected = says(&in_order(&of_box, words, &(0..words.len()).collect::<Vec<_>>()));
        // Nobody has it in hand; who has it in hand is never said.
        assert_eq!(expected.1.is_some(), ![4, 6].contains(&number));
        for order in all {
            assert_eq!(says(&in_order(&of_box, words, &order)), expected, "{number}: {order:?}");
        }
    }
}

#[test]
fn what_somebody_at_the_box_has_in_hand_sounds_again_in_its_time_though_nobody_ever_says_who() {
    let mut of_box = Ward::new("ecg-01");
    of_box.stream(0, 11, Metric::HR, "36");
    let alert = of_box.only().clone();
    let (told, times) = told_of(&of_box, &alert, "rules_changed", 290.0);
    let told = EdgeAlert { state: "active_ack".into(), ..told };
    let mut county = Ward::new("ecg-01");
    county.engine.adopt_edge(county.rules, at(300.0), &told, times, place(3));
    county.number(301.0, Metric::HR, "36");
    let mut taken = county.engine.clone();
    // Somebody at the county may take it, and give it back.
    let seen = taken.acknowledge(alert.id, "wang", AckReason::AtBedside, "", at(302.0)).unwrap();
    assert_eq!((seen.state, &*seen.acknowledged.unwrap().by), (AlertState::ActiveAck, "wang"));
    let back = taken.act(&Times::default(), alert.id, "wang", &Action::Undo, at(303.0)).unwrap();
    assert_eq!(back.state, AlertState::ActiveUnack);
    county.pass_time(409.0);
    assert_eq!((county.only().state, county.only().owner()), (AlertState::ActiveAck, None));
    county.pass_time(410.0);
    assert_eq!(county.only().state, AlertState::ActiveUnack);
}

#[test]
fn what_somebody_took_back_at_the_county_is_nobodys_whatever_its_box_was_told_before() {
    let mut ward = Ward::new("ecg-01");
    ward.stream(0, 11, Metric::HR, "36");
    let alert = ward.only().clone();
    ward.engine.acknowledge(alert.id, "wang", AckReason::AtBedside, "", at(12.0)).unwrap();
    ward.engine.act(&Times::default(), alert.id, "wang", &Action::Undo, at(20.0)).unwrap();
    for second in [15.0, 30.0] {
        // The box still has it in the hand of whoever had it.
        let (told, times) = told_of(&ward, &alert, "rules_changed", second);
        let told = EdgeAlert { state: "active_ack".into(), ..told };
        let engine = ward.engine.clone();
        let mut ward = Ward { engine, told: vec![], ..Ward::new("ecg-01") };
        ward.engine.adopt_edge(ward.rules, at(40.0), &told, times, place(1));
        ward.number(41.0, Metric::HR, "36");
        assert_eq!(ward.only().state, AlertState::ActiveUnack, "told at {second} s");
    }
}

#[test]
fn an_alarm_that_was_up_again_before_its_box_told_of_its_end_ends_when_its_device_says_so() {
    for others in [false, true] {
        let mut ward = Ward::new("pump-01");
        let said = |ward: &Ward, second, phase| {
            ward.an_alarm(second, AlarmKind::OcclusionDownstream, phase)
        };
        let start = said(&ward, 0.0, AlarmPhase::Start);
        ward.alarm_at(100.0, &start);
        let alert = ward.only().clone();
        for (second, phase) in [(30.0, AlarmPhase::End), (30.0, AlarmPhase::Start)] {
            let alarm = said(&ward, second, phase);
            ward.alarm_at(101.0, &alarm);
        }
        if others {
            let second = DeviceAlarm { code: "another".into(), ..start };
            ward.alarm_at(102.0, &second);
        }
        for (seq, (what, second)) in (1..).zip([("cleared", 30.0), ("recurred", 31.0)]) {
            let (told, times) = told_of(&ward, &alert, what, second);
            ward.engine.adopt_edge(ward.rules, at(103.0), &told, times, place(seq));
        }
        ward.in_unit(113.0, Metric::PUMP_RATE, "5", Unit::ML_PER_HOUR);
        assert_eq!((ward.only().id, ward.only().state), (alert.id, AlertState::ActiveUnack));
        ward.alarm(120.0, AlarmKind::OcclusionDownstream, AlarmPhase::End);
        let state = if others { AlertState::ActiveUnack } else { AlertState::ClearedUnack };
        assert_eq!(ward.only().state, state);
    }
}

#[test]
fn what_is_low_and_comes_back_in_its_time_is_still_in_the_hand_of_whoever_had_it() {
    let mut ward = Ward::new("ecg-01");
    ward.alarm(0.0, AlarmKind::AtrialFibrillation, AlarmPhase::Start);
    let alert = ward.only().clone();
    assert_eq!(alert.priority, Priority::Low);
    ward.engine.acknowledge(alert.id, "wang", AckReason::AtBedside, "", at(5.0)).unwrap();
    ward.alarm(20.0, AlarmKind::AtrialFibrillation, AlarmPhase::End);
    let (told, times) = told_of(&ward, &alert, "recurred", 60.0);
    let told = EdgeAlert { state: "active_ack".into(), ..told };
    ward.engine.adopt_edge(ward.rules, at(90.0), &told, times, place(1));
    assert_eq!(ward.only().acknowledged.as_ref().map(|by| &*by.by), Some("wang"));
}
