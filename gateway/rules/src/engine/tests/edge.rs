//! What a box tells of its alerts.

use super::*;
use model::alert::EdgeAlert;

#[test]
fn what_a_box_says_is_over_does_not_come_back_with_the_first_values_that_are_heard() {
    let mut ward = Ward::new("ecg-01");
    ward.stream(0, 11, Metric::HR, "36");
    let alert = ward.only();
    // Nothing was heard of it any more, and the box saw it end.
    let told = EdgeAlert {
        id: *alert.id.as_bytes(),
        subject: "ecg-01".into(),
        device: ward.device.clone(),
        family: alert.family.clone(),
        rules: alert.rules.clone(),
        priority: alert.priority,
        state: "cleared_unack".into(),
        metric: alert.metric,
        value: alert.value.clone(),
        comparator: None,
        unit: alert.unit.clone(),
        limit: alert.limit.clone(),
        message_zh: alert.message_zh.clone(),
        message_en: alert.message_en.clone(),
        started_at: alert.started_at,
        cleared_at: Some(at(60.0)),
        what: "cleared".into(),
        by: None,
        reason: None,
        note: String::new(),
        rule_set: 0,
        bindings: 0,
        observed: Observed { at: at(60.0), quality: ClockQuality::Synchronised },
    };
    let times = EdgeTimes { at: at(60.0), started: at(0.0), cleared: Some(at(60.0)) };
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
