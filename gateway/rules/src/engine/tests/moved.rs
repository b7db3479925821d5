//! A result that is somebody else's: what it began alone ends, and nothing else.

use super::*;

const WHY: &str = "wrong_patient";

impl Ward {
    fn take_back(&mut self, measured: f64, now: f64) -> Vec<Alert> {
        let device = self.device.clone();
        self.engine.result_left(self.rules, at(now), (&device, at(measured)), WHY)
    }
}

#[test]
fn what_a_moved_result_began_alone_is_closed_with_the_reason() {
    let mut ward = Ward::new("bp-01");
    ward.feed(0.0, 0.0, pressure(190, 112));
    let raised = ward.only().clone();
    let closed = ward.take_back(0.0, 60.0);
    assert_eq!((closed.len(), closed[0].id, closed[0].state), (1, raised.id, AlertState::Closed));
    assert_eq!(closed[0].timeline.last().unwrap().detail, WHY);
    assert_eq!(ward.engine.alerts().count(), 0);
    // Twice is once.
    assert_eq!(ward.take_back(0.0, 61.0), []);
    // The undo: it is the same episode.
    ward.feed(0.0, 62.0, pressure(190, 112));
    let again = ward.engine.alerts().next().unwrap();
    assert_eq!((again.id, again.state), (raised.id, AlertState::ActiveUnack));
    // The next result is judged by itself: nothing is left to confirm.
    ward.take_back(0.0, 63.0);
    ward.feed(900.0, 900.0, pressure(190, 90));
    let next = ward.engine.alerts().next().unwrap();
    assert_eq!((next.priority, next.started_at), (Priority::Medium, at(900.0)));
}

/// It rests on a result of which nothing is known here: of before an upgrade, or too old to be kept.
#[test]
fn what_rests_on_a_result_that_nobody_remembers_goes_on_until_a_value_ends_it() {
    let mut ward = Ward::new("bp-01");
    ward.feed(0.0, 0.0, pressure(186, 80));
    ward.engine.results.clear();
    ward.feed(300.0, 300.0, pressure(190, 80));
    ward.take_back(300.0, 400.0);
    assert_eq!(ward.only().state, AlertState::ActiveUnack);
    ward.feed(900.0, 900.0, pressure(130, 80));
    assert!(ward.engine.alerts().all(|alert| !alert.condition().is_active()));
}

/// Value, rules, priority and state of the only alert.
fn says(ward: &Ward) -> (&str, Vec<&str>, Priority, AlertState) {
    let alert = ward.only();
    let rules = alert.rules.iter().map(String::as_str).collect();
    (alert.value.as_deref().unwrap(), rules, alert.priority, alert.state)
}

#[test]
fn what_another_result_says_as_well_goes_on() {
    for (moved, left) in [(0.0, "186"), (300.0, "184")] {
        let mut ward = Ward::new("bp-01");
        ward.feed(0.0, 0.0, pressure(184, 80));
        let raised = ward.only().id;
        ward.feed(300.0, 300.0, pressure(186, 80));
        let both = ("186", vec!["BP-AD-SH"], Priority::High, AlertState::ActiveUnack);
        assert_eq!(says(&ward), both);
        // Nothing confirms the one that is left.
        let told = ward.take_back(moved, 400.0);
        assert_eq!(told.iter().map(|alert| alert.id).collect::<Vec<_>>(), [raised], "{moved}");
        let expected = (left, vec!["BP-AD-SH"], Priority::Medium, AlertState::ActiveUnack);
        assert_eq!(says(&ward), expected, "{moved}");
        let last = told[0].timeline.last().unwrap();
        assert_eq!((last.what, &*last.detail), (TimelineEvent::PriorityFell, WHY));
        // And the next does, where it is of the same half hour.
        ward.feed(600.0, 600.0, pressure(188, 80));
        assert_eq!(says(&ward), ("188", both.1, Priority::High, AlertState::ActiveUnack));
    }
}

#[test]
fn a_worse_result_of_somebody_else_leaves_neither_its_number_nor_its_urgency() {
    let mut ward = Ward::of(aged(600));
    ward.hand_to("glu-01", DeviceKind::GlucoseMeter, 0.0);
    ward.number(0.0, Metric::GLU_CAP_PL, "3.5");
    ward.hand_to("glu-02", DeviceKind::GlucoseMeter, 0.0);
    let own = ("3.5", vec!["GLU-AD-L"], Priority::Medium, AlertState::ActiveUnack);
    assert_eq!(says(&ward), own);
    ward.number(1200.0, Metric::GLU_CAP_PL, "2.5");
    let both = vec!["GLU-AD-LL", "GLU-AD-L"];
    assert_eq!(says(&ward), ("2.5", both, Priority::High, AlertState::ActiveUnack));
    let told = ward.take_back(1200.0, 1800.0);
    assert_eq!(told.len(), 1);
    assert_eq!(says(&ward), own);
    assert_eq!(ward.only().limit.as_deref(), Some("< 3.9"));
    // What was measured of the patient before that one is still heard when it comes.
    ward.number(900.0, Metric::GLU_CAP_PL, "5.5");
    assert_eq!(ward.only().state, AlertState::ClearedUnack);
}

#[test]
fn what_was_high_by_a_result_of_the_patients_own_stays_high() {
    let mut ward = Ward::new("bp-01");
    ward.feed(0.0, 0.0, pressure(225, 80));
    ward.feed(3000.0, 3000.0, pressure(184, 80));
    let own = ("184", vec!["BP-AD-SH"], Priority::High, AlertState::ActiveUnack);
    assert_eq!(says(&ward), own);
    ward.feed(9000.0, 9000.0, pressure(230, 80));
    ward.take_back(9000.0, 9060.0);
    assert_eq!(says(&ward), own);
}

#[test]
fn what_came_back_by_a_result_of_somebody_else_waits_as_it_did() {
    let mut ward = Ward::new("bp-01");
    ward.feed(0.0, 0.0, pressure(184, 80));
    ward.feed(60.0, 60.0, pressure(120, 80));
    ward.feed(240.0, 240.0, pressure(225, 80));
    assert_eq!((ward.only().recurrences, ward.only().priority), (1, Priority::High));
    let told = ward.take_back(240.0, 300.0);
    assert_eq!(told.len(), 1);
    let own = ("184", vec!["BP-AD-SH"], Priority::Medium, AlertState::ClearedUnack);
    assert_eq!(says(&ward), own);
    assert_eq!(ward.only().cleared_at, Some(at(60.0)));
}

#[test]
fn a_ketone_of_somebody_else_confirms_no_glucose() {
    let mut ward = Ward::new("glu-01");
    ward.number(0.0, Metric::GLU_CAP_PL, "17.0");
    let own = ward.only().clone();
    ward.number(60.0, Metric::KETONE, "3.4");
    let is_dka = |alert: &Alert| alert.rules.contains(&"GLU-AD-DKA".to_owned());
    assert!(is_dka(ward.alert("glucose_high")));
    ward.take_back(60.0, 120.0);
    let alert = ward.alert("glucose_high");
    assert_eq!((&alert.rules, alert.priority), (&own.rules, own.priority));
    assert_eq!(alert.value, own.value);
}

#[test]
fn what_was_over_before_still_waits_for_somebody() {
    let mut ward = Ward::new("bp-01");
    ward.feed(0.0, 0.0, pressure(225, 80));
    ward.feed(60.0, 60.0, pressure(120, 80));
    ward.feed(900.0, 900.0, pressure(190, 80));
    let closed = ward.take_back(900.0, 960.0);
    assert_eq!((closed.len(), closed[0].started_at), (1, at(900.0)));
    let waiting: Vec<_> = ward.engine.alerts().map(|alert| alert.state).collect();
    assert_eq!(waiting, [AlertState::ClearedUnack]);
}

#[test]
fn what_another_device_of_the_patient_says_goes_on() {
    let mut ward = Ward::of(aged(600));
    ward.hand_to("bp-01", DeviceKind::Cuff, 0.0);
    ward.feed(0.0, 0.0, pressure(184, 80));
    ward.hand_to("temp-01", DeviceKind::Thermometer, 0.0);
    ward.number(0.0, Metric::TEMP_EAR, "39.4");
    let closed = ward.take_back(0.0, 60.0);
    assert_eq!(closed.iter().map(|alert| &*alert.family).collect::<Vec<_>>(), ["temp_high"]);
    assert!(ward.engine.alerts().any(|alert| alert.family == "bp_high"));
}
