//! What a box tells of its alerts.

use super::*;
use crate::retro::{KnownAlert, Pass};
use model::alert::EdgeAlert;

/// What the box of a ward tells of an alert that began at `0`.
pub(super) fn told_of(
    ward: &Ward,
    alert: &Alert,
    what: &str,
    second: f64,
) -> (EdgeAlert, EdgeTimes) {
    let cleared = (what == "cleared").then(|| at(second));
    let told = EdgeAlert {
        id: *alert.id.as_bytes(),
        subject: ward.device.as_str().into(),
        device: ward.device.clone(),
        family: alert.family.clone(),
        rules: alert.rules.clone(),
        priority: alert.priority,
        state: if cleared.is_some() { "cleared_unack" } else { "active_unack" }.into(),
        metric: alert.metric,
        value: alert.value.clone(),
        comparator: None,
        unit: alert.unit.clone(),
        limit: alert.limit.clone(),
        message_zh: alert.message_zh.clone(),
        message_en: alert.message_en.clone(),
        started_at: alert.started_at,
        cleared_at: cleared,
        what: what.into(),
        by: None,
        reason: None,
        note: String::new(),
        rule_set: 0,
        bindings: 0,
        observed: Observed { at: at(second), quality: ClockQuality::Synchronised },
        latched: alert.latched,
    };
    (told, EdgeTimes { at: at(second), started: at(0.0), cleared })
}

pub(super) fn place(seq: u64) -> Position {
    let (outbox, seq) = (OutboxId::from_bytes([1; 16]), Seq::new(seq).unwrap());
    Position { outbox, lane: Lane::Urgent, seq, index: 0 }
}

#[test]
fn an_alarm_that_its_box_told_of_ends_when_its_device_says_so() {
    let mut ward = Ward::new("pump-01");
    let start = ward.an_alarm(0.0, AlarmKind::OcclusionDownstream, AlarmPhase::Start);
    ward.alarm_at(44.0, &start);
    let alert = ward.only().clone();
    // The box called for it while the county was out of reach, and stopped when it was back.
    let (told, times) = told_of(&ward, &alert, "raised", 0.0);
    ward.engine.adopt_edge(ward.rules, at(45.0), &told, times, place(1));
    assert_eq!((ward.only().id, ward.only().state), (alert.id, AlertState::Unknown));
    ward.in_unit(50.0, Metric::PUMP_RATE, "5", Unit::ML_PER_HOUR);
    assert_eq!((ward.only().id, ward.only().state), (alert.id, AlertState::ActiveUnack));
    ward.alarm(370.0, AlarmKind::OcclusionDownstream, AlarmPhase::End);
    let over = ward.only();
    assert_eq!((over.state, over.cleared_at), (AlertState::ClearedUnack, Some(at(370.0))));
}

/// A ward whose heart rate was low, of which nothing was heard any more; its box saw it end, and told
/// of that later.
fn low_until(second: f64, told: f64) -> Ward {
    let mut ward = Ward::new("ecg-01");
    ward.stream(0, 11, Metric::HR, "36");
    let (over, times) = told_of(&ward, ward.only(), "cleared", second);
    ward.engine.adopt_edge(ward.rules, at(told), &over, times, place(1));
    ward
}

#[test]
fn what_a_box_says_is_over_does_not_come_back_with_the_first_values_that_are_heard() {
    let mut ward = low_until(60.0, 200.0);
    ward.stream(200, 240, Metric::HR, "72");
    let told = ward.alert("hr_low");
    assert_eq!((told.state, told.recurrences), (AlertState::ClearedUnack, 0));
    // What is outside from now on is news, after its sustain.
    ward.stream(240, 250, Metric::HR, "36");
    assert_eq!(ward.alert("hr_low").recurrences, 0);
    ward.stream(250, 251, Metric::HR, "36");
    let told = ward.alert("hr_low");
    assert_eq!((told.state, told.recurrences), (AlertState::ActiveUnack, 1));
}

#[test]
fn what_a_box_saw_end_does_not_come_back_with_values_of_before_that_which_come_after_its_word() {
    let mut ward = low_until(230.0, 240.0);
    ward.stream(185, 200, Metric::HR, "36");
    ward.stream(200, 240, Metric::HR, "72");
    let told = ward.alert("hr_low");
    assert_eq!((told.state, told.recurrences), (AlertState::ClearedUnack, 0));
}

#[test]
fn what_the_box_saw_end_does_not_come_back_at_once_when_a_lead_that_was_off_is_on_again() {
    let mut ward = Ward::new("ecg-01");
    ward.stream(0, 11, Metric::HR, "36");
    let alert = ward.only();
    let mut county = Ward::new("ecg-01");
    // These came before the news that the lead was off.
    county.stream(60, 71, Metric::HR, "36");
    for (seq, what, second) in [(1, "raised", 10.0), (2, "cleared", 30.0)] {
        let (told, times) = told_of(&ward, alert, what, second);
        county.engine.adopt_edge(ward.rules, at(71.0), &told, times, place(seq));
    }
    county.alarm(72.0, AlarmKind::LeadOff, AlarmPhase::Start);
    county.stream(72, 80, Metric::HR, "36");
    county.alarm(80.0, AlarmKind::LeadOff, AlarmPhase::End);
    county.stream(90, 100, Metric::HR, "36");
    let told = county.alert("hr_low");
    assert_eq!((told.state, told.recurrences), (AlertState::ClearedUnack, 0));
    county.stream(100, 101, Metric::HR, "36");
    assert_eq!(county.alert("hr_low").recurrences, 1);
}

#[test]
fn an_older_word_of_a_box_behind_a_newer_one_is_its_story_and_no_more() {
    let mut ward = Ward::new("ecg-01");
    ward.stream(0, 11, Metric::HR, "36");
    let alert = ward.only().clone();
    let (cleared, at_end) = told_of(&ward, &alert, "cleared", 60.0);
    let (rose, before) = told_of(&ward, &alert, "priority_rose", 30.0);
    ward.engine.adopt_edge(ward.rules, at(200.0), &cleared, at_end, place(2));
    let (over, ended) = ward.engine.adopt_edge(ward.rules, at(201.0), &rose, before, place(1));
    assert_eq!((over.state, over.cleared_at), (AlertState::ClearedUnack, Some(at(60.0))));
    assert_eq!(over.timeline.last().unwrap().what, TimelineEvent::PriorityRose);
    assert!(ended.is_none());
    // A box with another outbox begins anew.
    let other = Position { outbox: OutboxId::from_bytes([2; 16]), ..place(1) };
    let (again, _) = ward.engine.adopt_edge(ward.rules, at(202.0), &rose, before, other);
    assert_eq!(again.state, AlertState::Unknown);
}

#[test]
fn every_rule_that_a_box_named_goes_on_at_the_county() {
    let mut ward = Ward::new("ecg-01");
    ward.stream(0, 31, Metric::HR, "36");
    let alert = ward.only().clone();
    assert_eq!(alert.rules, ["HR-AD-LL", "HR-AD-L"]);
    let mut county = Ward::new("ecg-01");
    // What began to be heard again before the word of the box came is no other episode.
    county.stream(95, 100, Metric::HR, "36");
    let (told, times) = told_of(&ward, &alert, "raised", 10.0);
    county.engine.adopt_edge(ward.rules, at(100.0), &told, times, place(1));
    // Enough for the more urgent rule to be over, and not for the other.
    county.stream(100, 200, Metric::HR, "52");
    let held = county.only();
    assert_eq!((held.state, &*held.rules), (AlertState::ActiveUnack, &["HR-AD-L".to_owned()][..]));
    county.stream(200, 231, Metric::HR, "53");
    assert_eq!(county.only().cleared_at, Some(at(230.0)));
}

#[test]
fn a_second_value_confirms_what_only_the_box_heard_first() {
    let mut ward = Ward::new("cuff-01");
    ward.number(0.0, Metric::NIBP_SYS, "184");
    let alert = ward.only().clone();
    let (told, times) = told_of(&ward, &alert, "raised", 0.0);
    let mut county = Ward::new("cuff-01");
    county.engine.adopt_edge(ward.rules, at(100.0), &told, times, place(1));
    county.number(120.0, Metric::NIBP_SYS, "186");
    assert_eq!(county.only().priority, Priority::High);
}

#[test]
fn what_somebody_at_the_county_had_in_hand_ends_as_they_had_it() {
    let mut ward = Ward::new("ecg-01");
    ward.stream(0, 11, Metric::HR, "36");
    let alert = ward.only().clone();
    let times = crate::ladder::Times::default();
    let action = Action::Acknowledge { reason: AckReason::AtBedside, note: String::new() };
    ward.engine.act(&times, alert.id, "nurse", &action, at(12.0)).unwrap();
    // The box did not hear of it, and kept the highest priority until the end.
    let (mut told, at_end) = told_of(&ward, &alert, "cleared", 200.0);
    told.rules = vec!["HR-AD-L".into()];
    let (over, _) = ward.engine.adopt_edge(ward.rules, at(300.0), &told, at_end, place(1));
    assert_eq!((over.state, over.priority), (AlertState::Closed, Priority::Medium));
    assert_eq!(over.acknowledged.unwrap().by, "nurse");
}

#[test]
fn what_sounded_again_at_the_box_is_nobodys_unless_somebody_came_since() {
    for (acknowledged_at, expected) in [(12.0, None), (150.0, Some("nurse"))] {
        let mut ward = Ward::new("ecg-01");
        ward.stream(0, 11, Metric::HR, "36");
        let alert = ward.only().clone();
        let reason = AckReason::AtBedside;
        ward.engine.acknowledge(alert.id, "nurse", reason, "", at(acknowledged_at)).unwrap();
        let (told, times) = told_of(&ward, &alert, "realarmed", 140.0);
        let (told, _) = ward.engine.adopt_edge(ward.rules, at(300.0), &told, times, place(1));
        assert_eq!(told.acknowledged.as_ref().map(|by| by.by.as_str()), expected);
    }
}

/// When somebody at the box has a low glucose in hand, which is the box's last word of it.
const IN_HAND: f64 = 1200.0;

/// A patient whose box has told that of a meter; the county has heard nothing else of it.
fn told_low() -> Ward {
    let mut ward = Ward::of(aged(600));
    ward.hand_to("glu-01", DeviceKind::GlucoseMeter, 0.0);
    ward.in_unit(0.0, Metric::GLU_CAP_PL, "3.5", Unit::MMOL_PER_L);
    let alert = ward.alert("glucose_low").clone();
    let (mut told, times) = told_of(&ward, &alert, "acknowledged", IN_HAND);
    (told.by, told.state) = (Some("nurse".into()), "active_ack".into());
    let mut county = Ward::of(aged(600));
    county.hand_to("glu-01", DeviceKind::GlucoseMeter, 0.0);
    county.engine.adopt_edge(county.rules, at(IN_HAND + 30.0), &told, times, place(1));
    assert_eq!(county.alert("glucose_low").state, AlertState::ActiveAck);
    county
}

/// What the meter of a ward measured at one moment, and its box heard at another.
fn result(ward: &Ward, metric: Metric, value: &str, measured: f64, heard: f64) -> ReadingGroup {
    let value = Reading::number(metric, value.parse::<Decimal>().unwrap(), Unit::MMOL_PER_L);
    let time = DeviceTime::Zoned { civil_ms: at(measured).unix_ms(), offset_s: 0 };
    ReadingGroup::new(ward.device.clone(), Ward::observed(heard), vec![value])
        .at_device_time(Some(time))
}

fn very_low(ward: &Ward, measured: f64, heard: f64) -> ReadingGroup {
    result(ward, Metric::GLU_CAP_PL, "2.0", measured, heard)
}

#[track_caller]
fn check_very_low(ward: &Ward, late_row: Option<u8>) {
    let alert = ward.alert("glucose_low");
    assert_eq!((alert.rules[0].as_str(), alert.priority), ("GLU-AD-LL", Priority::High));
    assert_eq!((alert.state, alert.late_row), (AlertState::ActiveUnack, late_row));
    assert_eq!((alert.value.as_deref(), &alert.acknowledged), (Some("2.0"), &None));
}

#[test]
fn a_result_that_a_person_gives_to_somebody_is_judged_though_a_box_told_of_them_since() {
    let mut ward = told_low();
    let group = very_low(&ward, IN_HAND - 600.0, IN_HAND - 600.0);
    let t_meas = Moment::sure(at(IN_HAND - 600.0));
    let input = ReadingInput { group: &group, t_meas, freshness: Freshness::Late };
    ward.engine.on_readings(ward.rules, at(IN_HAND + 1200.0), input);
    check_very_low(&ward, Some(5));
}

#[test]
fn what_a_meter_remembered_and_its_box_heard_after_its_last_word_is_judged_fresh() {
    let mut ward = told_low();
    ward.feed_group(&very_low(&ward, IN_HAND - 60.0, IN_HAND + 240.0), IN_HAND + 242.0);
    check_very_low(&ward, None);
}

#[test]
fn what_a_meter_remembered_and_its_box_heard_after_its_last_word_is_judged_late() {
    let mut ward = told_low();
    ward.feed_group(&very_low(&ward, IN_HAND - 60.0, IN_HAND + 1200.0), IN_HAND + 1202.0);
    check_very_low(&ward, Some(5));
}

#[test]
fn what_its_box_had_heard_before_its_last_word_is_in_that() {
    let mut ward = told_low();
    ward.feed_group(&very_low(&ward, IN_HAND - 600.0, IN_HAND - 300.0), IN_HAND + 60.0);
    let alert = ward.alert("glucose_low");
    assert_eq!((alert.state, alert.priority), (AlertState::ActiveAck, Priority::Medium));
}

#[test]
fn what_was_measured_before_the_last_word_of_a_box_ends_nothing() {
    let mut ward = told_low();
    let normal = |measured: f64, heard: f64, ward: &Ward| {
        result(ward, Metric::GLU_CAP_PL, "6.1", measured, heard)
    };
    let before = normal(IN_HAND - 60.0, IN_HAND + 240.0, &ward);
    ward.feed_group(&before, IN_HAND + 242.0);
    assert_eq!(ward.alert("glucose_low").state, AlertState::ActiveAck);
    let after = normal(IN_HAND + 300.0, IN_HAND + 300.0, &ward);
    ward.feed_group(&after, IN_HAND + 302.0);
    let over = ward.told.last().unwrap();
    assert_eq!((over.state, over.cleared_at), (AlertState::Closed, Some(at(IN_HAND + 300.0))));
}

#[test]
fn what_a_meter_remembered_is_over_by_a_newer_value_that_its_box_had_heard() {
    let mut ward = told_low();
    let alert = ward.alert("glucose_low").clone();
    let (mut told, times) = told_of(&ward, &alert, "cleared", IN_HAND + 60.0);
    told.state = "closed".into();
    ward.engine.adopt_edge(ward.rules, at(IN_HAND + 90.0), &told, times, place(2));
    for heard in [IN_HAND + 60.0, IN_HAND + 120.0] {
        let mut ward = Ward { engine: ward.engine.clone(), told: vec![], ..told_low() };
        // It comes before the value that had ended the alert at the box.
        let remembered = very_low(&ward, IN_HAND - 600.0, IN_HAND + 100.0);
        ward.feed_group(&remembered, IN_HAND + 240.0);
        check_very_low(&ward, Some(5));
        let normal = result(&ward, Metric::GLU_CAP_PL, "6.1", IN_HAND + 50.0, heard);
        ward.feed_group(&normal, IN_HAND + 242.0);
        let over = ward.alert("glucose_low");
        let cleared_at = Some(at(IN_HAND + 50.0));
        assert_eq!((over.state, over.cleared_at), (AlertState::ClearedUnack, cleared_at));
    }
}

#[test]
fn two_values_of_which_the_box_had_heard_one_are_judged_when_both_are_there() {
    let (before, after) = (IN_HAND - 300.0, IN_HAND + 60.0);
    for (glucose_heard, ketone_heard) in [(before, after), (after, before)] {
        let mut ward = told_low();
        let alert = ward.alert("glucose_low").clone();
        let (mut told, times) = told_of(&ward, &alert, "raised", IN_HAND);
        told.id = [9; 16];
        (told.family, told.rules) = ("glucose_high".into(), vec!["GLU-AD-H".into()]);
        ward.engine.adopt_edge(ward.rules, at(IN_HAND + 30.0), &told, times, place(2));
        let mut said = [
            result(&ward, Metric::GLU_CAP_PL, "12.0", before, glucose_heard),
            result(&ward, Metric::KETONE, "3.5", before, ketone_heard),
        ];
        // What the box has heard since comes first.
        said.sort_by_key(|group| std::cmp::Reverse(group.observed.at));
        said.iter().for_each(|group| ward.feed_group(group, IN_HAND + 62.0));
        let alert = ward.alert("glucose_high");
        assert_eq!((alert.rules[0].as_str(), alert.priority), ("GLU-AD-DKA", Priority::High));
    }
}

#[test]
fn what_a_box_told_of_one_oximeter_another_that_speaks_first_does_not_end() {
    let mut box_of = Ward::of(aged(600));
    box_of.stream(0, 16, Metric::SPO2, "88");
    let alert = box_of.alert("spo2_low").clone();
    let (mut told, times) = told_of(&box_of, &alert, "acknowledged", 60.0);
    (told.by, told.state) = (Some("nurse".into()), "active_ack".into());
    let mut ward = Ward::of(aged(600));
    ward.hand_to("oxi-02", DeviceKind::Monitor, 0.0);
    ward.engine.adopt_edge(ward.rules, at(99.0), &told, times, place(1));
    for second in 100..140_u32 {
        for (device, value) in [("oxi-02", "97"), ("ecg-01", "88")] {
            ward.hand_to(device, DeviceKind::Monitor, 0.0);
            ward.number(f64::from(second), Metric::SPO2, value);
        }
        let alert = ward.alert("spo2_low");
        assert_eq!((alert.state, alert.recurrences), (AlertState::ActiveAck, 0), "{second}");
    }
    // It ends by its own values.
    ward.stream(140, 156, Metric::SPO2, "97");
    let over = ward.told.last().unwrap();
    assert_eq!((over.state, over.cleared_at), (AlertState::Closed, Some(at(155.0))));
}

#[test]
fn what_a_danger_sign_raised_stays_high_when_its_box_tells_of_it() {
    use crate::danger::DangerSign::ChestPain;
    let mut ward = Ward::new("bp-01");
    ward.feed(0.0, 0.0, pressure(184, 100));
    let alert = ward.only().clone();
    let action = Action::TellDangerSigns { signs: vec![ChestPain] };
    ward.engine.act(&crate::ladder::Times::default(), alert.id, "wang", &action, at(10.0)).unwrap();
    // The box knows of no sign.
    let (told, times) = told_of(&ward, &alert, "raised", 0.0);
    assert_eq!(told.priority, Priority::Medium);
    ward.engine.adopt_edge(ward.rules, at(20.0), &told, times, place(1));
    assert_eq!(ward.only().priority, Priority::High);
}

/// An alert of the county that live values raised before the word of the box came.
#[test]
fn what_was_raised_before_the_word_of_the_box_is_a_part_of_that_and_goes_on() {
    let mut ward = Ward::new("ecg-01");
    ward.stream(0, 11, Metric::HR, "36");
    let alert = ward.only().clone();
    let (told, times) = told_of(&ward, &alert, "raised", 10.0);
    let mut county = Ward::new("ecg-01");
    county.stream(95, 120, Metric::HR, "36");
    let own = county.only().clone();
    let times_of = crate::ladder::Times::default();
    let action = Action::Acknowledge { reason: AckReason::AtBedside, note: "seen".into() };
    county.engine.act(&times_of, own.id, "nurse", &action, at(121.0)).unwrap();
    let (whole, part) = county.engine.adopt_edge(ward.rules, at(122.0), &told, times, place(1));
    let part = part.unwrap();
    assert_eq!((part.id, part.state), (own.id, AlertState::Closed));
    assert!(part.timeline.last().unwrap().goes_on_in_another());
    // It is heard, and who had the part in hand has the whole.
    assert_eq!((whole.id, whole.state), (alert.id, AlertState::ActiveAck));
    assert_eq!(whole.acknowledged.unwrap().by, "nurse");
    let told = whole.timeline.iter().find(|it| it.what == TimelineEvent::Acknowledged).unwrap();
    assert_eq!((told.at, &*told.note), (at(121.0), "seen"));
    county.stream(122, 160, Metric::HR, "72");
    let over = county.engine.episodes.get("hr_low").unwrap().alert.as_ref().unwrap();
    assert_eq!((over.id, over.state), (alert.id, AlertState::Closed));
}

#[test]
fn what_was_over_here_before_the_box_told_of_more_is_a_part_of_that() {
    let mut ward = Ward::new("ecg-01");
    ward.absent(0.0, Metric::HR, NoData::LeadOff);
    let alert = ward.only().clone();
    let mut county = Ward::new("ecg-01");
    county.absent(40.0, Metric::HR, NoData::LeadOff);
    let own = county.only().clone();
    county.number(42.0, Metric::HR, "72");
    // Its words come one by one: the lead was off before, and on again.
    let (raised, began) = told_of(&ward, &alert, "raised", 0.0);
    county.engine.adopt_edge(ward.rules, at(50.0), &raised, began, place(1));
    county.pass_time(55.0);
    let (cleared, over) = told_of(&ward, &alert, "cleared", 2.0);
    let cleared = EdgeAlert { state: "closed".into(), ..cleared };
    let (whole, part) = county.engine.adopt_edge(ward.rules, at(60.0), &cleared, over, place(2));
    let part = part.unwrap();
    assert_eq!((part.id, part.timeline.last().unwrap().goes_on_in_another()), (own.id, true));
    assert_eq!((whole.id, whole.state), (alert.id, AlertState::Closed));
    assert_eq!((whole.started_at, whole.cleared_at), (at(0.0), Some(at(42.0))));
}

#[test]
fn whoever_had_it_in_hand_had_it_to_its_end_though_it_sounded_again_where_nobody_heard_that() {
    let mut ward = Ward::new("ecg-01");
    ward.stream(0, 11, Metric::HR, "36");
    let alert = ward.only().clone();
    let times = crate::ladder::Times::default();
    let action = Action::Acknowledge { reason: AckReason::AtBedside, note: String::new() };
    ward.engine.act(&times, alert.id, "nurse", &action, at(12.0)).unwrap();
    ward.pass_time(700.0);
    assert!(ward.only().acknowledged.is_none(), "{:?}", ward.only().timeline);
    let (told, at_end) = told_of(&ward, &alert, "cleared", 60.0);
    let (over, _) = ward.engine.adopt_edge(ward.rules, at(800.0), &told, at_end, place(1));
    assert_eq!((over.state, over.acknowledged.unwrap().by.as_str()), (AlertState::Closed, "nurse"));
    // What came back before its end is nobody's.
    let (told, back) = told_of(&ward, &alert, "recurred", 900.0);
    ward.engine.adopt_edge(ward.rules, at(1000.0), &told, back, place(2));
    let (told, at_end) = told_of(&ward, &alert, "cleared", 960.0);
    let (over, _) = ward.engine.adopt_edge(ward.rules, at(1001.0), &told, at_end, place(3));
    assert_eq!((over.state, over.acknowledged), (AlertState::ClearedUnack, None));
}

/// It was over at 690 s, and the box heard that at 705 s: five seconds after it had sounded again.
#[test]
fn what_sounded_again_at_the_box_is_nobodys_whatever_a_pass_over_what_came_late_says_of_its_end() {
    let mut ward = Ward::new("ecg-01");
    ward.stream(0, 11, Metric::HR, "36");
    let alert = ward.only().clone();
    let times = crate::ladder::Times::default();
    let action = Action::Acknowledge { reason: AckReason::AtBedside, note: String::new() };
    ward.engine.act(&times, alert.id, "nurse", &action, at(12.0)).unwrap();
    ward.pass_time(700.0);
    let (told, at_end) = told_of(&ward, &alert, "cleared", 690.0);
    let at_end = EdgeTimes { at: at(705.0), ..at_end };
    let (over, _) = ward.engine.adopt_edge(ward.rules, at(800.0), &told, at_end, place(1));
    assert_eq!((over.state, over.acknowledged), (AlertState::ClearedUnack, None));
    let mut pass = Pass::new(&ward.engine, at(0.0), at(690.0));
    for second in (0..11).chain(660..691) {
        let value =
            Reading::number(Metric::HR, if second < 11 { 36 } else { 72 }, Unit::PER_MINUTE);
        let at = at(f64::from(second));
        let observed = Observed { at, quality: ClockQuality::Synchronised };
        let group = ReadingGroup::new(ward.device.clone(), observed, vec![value]);
        pass.on_readings(ward.rules, &group, Moment::sure(at), Freshness::Late);
    }
    let known = KnownAlert {
        id: alert.id,
        family: alert.family.clone(),
        device: alert.device.clone(),
        started_at: alert.started_at,
        cleared_at: over.cleared_at,
        retro: false,
    };
    pass.settle(ward.rules, &mut ward.engine, &[known], at(801.0), |_| String::new());
    let found = ward.alert("hr_low");
    assert_eq!((found.state, found.cleared_at), (AlertState::ClearedUnack, Some(at(690.0))));
}

#[test]
fn what_began_late_and_what_its_box_tells_of_that_is_one_return() {
    let mut ward = Ward::of(Profile { monitored: true, ..aged(600) });
    for (second, phase) in [(0.0, AlarmPhase::Start), (10.0, AlarmPhase::End)] {
        ward.alarm(second, AlarmKind::LeadOff, phase);
    }
    let mut alert = ward.told.last().unwrap().clone();
    assert_eq!((alert.state, alert.recurrences), (AlertState::Closed, 0));
    let back = ward.an_alarm(230.0, AlarmKind::LeadOff, AlarmPhase::Start);
    ward.alarm_at(300.0, &back);
    alert.rules = vec!["TECH-LEADOFF".into()];
    let (mut told, times) = told_of(&ward, &alert, "recurred", 232.0);
    told.note = "TECH-LEADOFF".into();
    let (mut seen, seen_at) = told_of(&ward, &alert, "acknowledged", 240.0);
    seen.by = Some("nurse".into());
    for (seq, (told, times)) in
        [(told, times), (seen.clone(), seen_at), (seen, seen_at)].into_iter().enumerate()
    {
        // An agent that was killed says the last of them again.
        let place = place(u64::try_from(seq + 1).unwrap());
        ward.engine.adopt_edge(ward.rules, at(301.0), &told, times, place);
    }
    // It came back for 80 s: nothing of it has held for 120 s.
    ward.number(311.0, Metric::HR, "72");
    ward.pass_time(311.0);
    let known = ward.only().clone();
    let count = |what| known.timeline.iter().filter(|it| it.what == what).count();
    assert_eq!((known.recurrences, count(TimelineEvent::Acknowledged)), (1, 1));
    assert_eq!((known.priority, known.state), (Priority::Low, AlertState::ActiveAck));
    ward.pass_time(361.0);
    assert_eq!(
        (ward.only().priority, ward.only().state),
        (Priority::Medium, AlertState::ActiveUnack)
    );
}

#[test]
fn what_a_box_told_of_a_stream_a_value_measured_once_elsewhere_does_not_end() {
    let spot = |ward: &mut Ward, second: f64, value: &str| {
        ward.hand_to("hand-01", DeviceKind::Oximeter, 0.0);
        let value = value.parse::<Decimal>().unwrap();
        let reading = Reading::number(Metric::SPO2, value, Unit::PERCENT);
        let observed = Ward::observed(second);
        let mut group = ReadingGroup::new(ward.device.clone(), observed, vec![reading]);
        group.occurrence = Occurrence::Spot;
        ward.feed_group(&group, second);
        ward.hand_to("ecg-01", DeviceKind::Monitor, 0.0);
    };
    let mut heard = Ward::of(aged(600));
    heard.stream(0, 16, Metric::SPO2, "88");
    let alert = heard.alert("spo2_low").clone();
    let (told, times) = told_of(&heard, &alert, "raised", 15.0);
    let mut ward = Ward::of(aged(600));
    ward.engine.adopt_edge(ward.rules, at(19.0), &told, times, place(1));
    for ward in [&mut heard, &mut ward] {
        // By one that is normal, and by one that is not and a normal one after it.
        for (second, value) in [(20.0, "97"), (60.0, "84"), (90.0, "97")] {
            spot(ward, second, value);
            assert_eq!(ward.alert("spo2_low").cleared_at, None, "{second}");
        }
        ward.stream(100, 116, Metric::SPO2, "97");
        assert_eq!(ward.alert("spo2_low").cleared_at, Some(at(115.0)));
    }
}

#[test]
fn an_alert_that_a_box_told_of_is_of_the_device_that_the_box_says() {
    let mut ward = Ward::of(aged(600));
    ward.stream(0, 11, Metric::HR, "36");
    let alert = ward.alert("hr_low").clone();
    let (mut told, times) = told_of(&ward, &alert, "priority_rose", 30.0);
    told.device = DeviceId::new("oxi-02").unwrap();
    let (told, _) = ward.engine.adopt_edge(ward.rules, at(60.0), &told, times, place(1));
    assert_eq!((told.id, told.device.as_str()), (alert.id, "oxi-02"));
}

#[test]
fn what_a_box_tells_of_a_device_that_has_left_ends_once_and_stays_so() {
    let mut ward = Ward::new("ecg-01");
    ward.stream(0, 11, Metric::HR, "36");
    let alert = ward.only().clone();
    let mut county = Ward::of(aged(600));
    let mut last = None;
    let words = [(1, "raised", 10.0), (2, "priority_rose", 30.0), (3, "cleared", 150.0)];
    for (seq, what, second) in words {
        let (told, times) = told_of(&ward, &alert, what, second);
        let left = (at(100.0), "went home");
        let (told, ended) =
            county.engine.adopt_left(ward.rules, at(200.0), &told, times, place(seq), left);
        assert_eq!((told.state, told.cleared_at), (AlertState::Closed, Some(at(100.0))), "{what}");
        assert!(ended.is_none());
        last = Some(told);
    }
    let story = last.unwrap().timeline;
    let closed = story.iter().filter(|entry| entry.what == TimelineEvent::Closed);
    assert_eq!(closed.map(|entry| entry.detail.as_str()).collect::<Vec<_>>(), ["went home"]);
    // What was over before it left waits for a person.
    let (mut told, times) = told_of(&ward, &alert, "cleared", 60.0);
    told.id = [9; 16];
    let mut county = Ward::of(aged(600));
    let left = (at(100.0), "went home");
    let (told, _) = county.engine.adopt_left(ward.rules, at(200.0), &told, times, place(9), left);
    assert_eq!((told.state, told.cleared_at), (AlertState::ClearedUnack, Some(at(60.0))));
}

#[test]
fn what_a_box_tells_of_a_device_that_has_left_does_not_end_what_another_says() {
    let mut ward = Ward::new("ecg-01");
    ward.stream(0, 11, Metric::HR, "36");
    let alert = ward.only().clone();
    // Before the first one left, and after it.
    for begins in [50, 120] {
        let mut county = Ward::of(aged(600));
        county.hand_to("oxi-02", DeviceKind::Monitor, 0.0);
        county.stream(begins, begins + 11, Metric::HR, "36");
        let holds = county.alert("hr_low").clone();
        for (seq, what, second) in [(1, "raised", 60.0), (2, "cleared", 150.0)] {
            let (told, times) = told_of(&ward, &alert, what, second);
            let left = (at(100.0), "went home");
            let (_, ended) =
                county.engine.adopt_left(ward.rules, at(200.0), &told, times, place(seq), left);
            assert!(ended.is_none());
            let goes_on = county.engine.alerts().find(|alert| alert.id == holds.id).unwrap();
            assert_eq!((goes_on.state, &goes_on.device), (AlertState::ActiveUnack, &county.device));
        }
        county.stream(200, 231, Metric::HR, "72");
        assert_eq!(county.alert("hr_low").cleared_at, Some(at(230.0)));
    }
}

#[test]
fn what_a_box_tells_of_an_earlier_alert_leaves_the_one_that_holds_to_its_values() {
    let mut ward = Ward::new("cuff-01");
    ward.number(0.0, Metric::NIBP_SYS, "185");
    let first = ward.only().clone();
    ward.number(360.0, Metric::NIBP_SYS, "150");
    ward.number(1200.0, Metric::NIBP_SYS, "225");
    let holds = ward.engine.alerts().find(|alert| alert.id != first.id).unwrap().id;
    // Its time closed the first at the box, while the link was away.
    let (mut told, mut times) = told_of(&ward, &first, "closed", 2160.0);
    told.state = "closed".into();
    told.cleared_at = Some(at(360.0));
    times.cleared = told.cleared_at;
    ward.engine.adopt_edge(ward.rules, at(2400.0), &told, times, place(1));
    let of = |ward: &Ward| ward.engine.alerts().find(|alert| alert.id == holds).unwrap().clone();
    assert_eq!((of(&ward).priority, of(&ward).state), (Priority::High, AlertState::ActiveUnack));
    ward.number(2700.0, Metric::NIBP_SYS, "140");
    assert_eq!(
        (of(&ward).cleared_at, of(&ward).state),
        (Some(at(2700.0)), AlertState::ClearedUnack)
    );
}

#[test]
fn what_a_box_tells_of_an_earlier_alert_leaves_the_one_that_may_come_back() {
    let mut ward = Ward::new("ecg-01");
    ward.stream(0, 11, Metric::HR, "36");
    let first = ward.only().clone();
    let mut county = Ward::new("ecg-01");
    county.stream(600, 611, Metric::HR, "36");
    county.stream(611, 660, Metric::HR, "72");
    let newer = county.only().id;
    // Its time closed the first at the box, while the link was away.
    let (mut told, mut times) = told_of(&ward, &first, "closed", 700.0);
    told.state = "closed".into();
    told.cleared_at = Some(at(41.0));
    times.cleared = told.cleared_at;
    county.engine.adopt_edge(ward.rules, at(702.0), &told, times, place(1));
    county.stream(710, 721, Metric::HR, "36");
    let back = county.only();
    assert_eq!((back.id, back.state, back.recurrences), (newer, AlertState::ActiveUnack, 1));
}

#[test]
fn who_has_it_in_hand_is_told_behind_a_newer_word_too() {
    let mut ward = Ward::new("ecg-01");
    ward.stream(0, 11, Metric::HR, "36");
    let alert = ward.only().clone();
    let (mut fell, newer) = told_of(&ward, &alert, "priority_fell", 40.0);
    fell.state = "active_ack".into();
    let (mut seen, older) = told_of(&ward, &alert, "acknowledged", 20.0);
    (seen.by, seen.state) = (Some("li".into()), "active_ack".into());
    ward.engine.adopt_edge(ward.rules, at(60.0), &fell, newer, place(3));
    ward.engine.adopt_edge(ward.rules, at(61.0), &seen, older, place(2));
    ward.number(62.0, Metric::HR, "36");
    assert_eq!(
        (ward.only().state, &*ward.only().acknowledged.clone().unwrap().by),
        (AlertState::ActiveAck, "li")
    );
}

#[test]
fn what_sounded_anew_before_a_newer_word_that_came_first_is_nobodys() {
    let mut ward = Ward::new("ecg-01");
    ward.stream(0, 31, Metric::HR, "45");
    let alert = ward.only().clone();
    let reason = AckReason::AtBedside;
    ward.engine.acknowledge(alert.id, "nurse", reason, "", at(32.0)).unwrap();
    // At the box it became high, which nobody had in hand, and then one of its rules was over.
    let high = |what, second| {
        let (told, times) = told_of(&ward, &alert, what, second);
        (EdgeAlert { priority: Priority::High, ..told }, times)
    };
    let ((rose, older), (changed, newer)) =
        (high("priority_rose", 60.0), high("rules_changed", 80.0));
    for is_heard in [false, true] {
        let mut ward = Ward { engine: ward.engine.clone(), told: vec![], ..Ward::new("ecg-01") };
        ward.engine.adopt_edge(ward.rules, at(100.0), &changed, newer, place(2));
        if is_heard {
            ward.number(100.5, Metric::HR, "45");
        }
        ward.engine.adopt_edge(ward.rules, at(101.0), &rose, older, place(1));
        ward.number(102.0, Metric::HR, "45");
        let alert = ward.only();
        assert_eq!(
            (alert.state, alert.priority, &alert.acknowledged),
            (AlertState::ActiveUnack, Priority::High, &None)
        );
        assert!(ward.engine.next_deadline(ward.rules).is_some(), "nobody is called for it");
    }
}

#[test]
fn who_saw_what_came_later_has_not_seen_what_was_over_before_it() {
    let mut ward = Ward::new("ecg-01");
    ward.stream(0, 11, Metric::HR, "36");
    let alert = ward.only().clone();
    let mut county = Ward::new("ecg-01");
    county.stream(600, 611, Metric::HR, "36");
    let own = county.only().id;
    let action = Action::Acknowledge { reason: AckReason::AtBedside, note: String::new() };
    let times = crate::ladder::Times::default();
    county.engine.act(&times, own, "nurse", &action, at(611.0)).unwrap();
    // The box tells of one that had begun and was over long before.
    for (seq, what, second) in [(1, "raised", 10.0), (2, "cleared", 60.0)] {
        let (told, times) = told_of(&ward, &alert, what, second);
        county.engine.adopt_edge(ward.rules, at(612.0), &told, times, place(seq));
    }
    let of = |ward: &Ward, id| ward.engine.alerts().find(|alert| alert.id == id).cloned();
    let over = of(&county, alert.id).unwrap();
    assert_eq!((over.state, over.acknowledged), (AlertState::ClearedUnack, None));
    // What holds goes on under its own name.
    county.stream(613, 614, Metric::HR, "36");
    assert_eq!(of(&county, own).unwrap().state, AlertState::ActiveUnack);
    assert_eq!(of(&county, alert.id).unwrap().state, AlertState::ClearedUnack);
}
