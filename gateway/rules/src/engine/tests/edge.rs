//! What a box tells of its alerts.

use super::*;
use model::alert::EdgeAlert;

/// What the box of a ward tells of an alert that began at `0`.
fn told_of(ward: &Ward, alert: &Alert, what: &str, second: f64) -> (EdgeAlert, EdgeTimes) {
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
    };
    (told, EdgeTimes { at: at(second), started: at(0.0), cleared })
}

#[test]
fn an_alarm_that_its_box_told_of_ends_when_its_device_says_so() {
    let mut ward = Ward::new("pump-01");
    let start = ward.an_alarm(0.0, AlarmKind::OcclusionDownstream, AlarmPhase::Start);
    ward.alarm_at(44.0, &start);
    let alert = ward.only().clone();
    // The box called for it while the county was out of reach, and stopped when it was back.
    let (told, times) = told_of(&ward, &alert, "raised", 0.0);
    ward.engine.adopt_edge(ward.rules, at(45.0), &told, times);
    assert_eq!((ward.only().id, ward.only().state), (alert.id, AlertState::Unknown));
    ward.in_unit(50.0, Metric::PUMP_RATE, "5", Unit::ML_PER_HOUR);
    assert_eq!((ward.only().id, ward.only().state), (alert.id, AlertState::ActiveUnack));
    ward.alarm(370.0, AlarmKind::OcclusionDownstream, AlarmPhase::End);
    let over = ward.only();
    assert_eq!((over.state, over.cleared_at), (AlertState::ClearedUnack, Some(at(370.0))));
}

#[test]
fn what_a_box_says_is_over_does_not_come_back_with_the_first_values_that_are_heard() {
    let mut ward = Ward::new("ecg-01");
    ward.stream(0, 11, Metric::HR, "36");
    let alert = ward.only();
    // Nothing was heard of it any more, and the box saw it end.
    let (told, times) = told_of(&ward, alert, "cleared", 60.0);
    ward.engine.adopt_edge(ward.rules, at(200.0), &told, times);
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
