//! A result that is somebody else's: what it began alone ends, and nothing else.

use super::*;

const WHY: &str = "wrong_patient";

impl Ward {
    fn take_back(&mut self, measured: f64, now: f64) -> Vec<Alert> {
        let device = self.device.clone();
        self.engine.result_left(at(now), at(measured), &device, WHY)
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

#[test]
fn what_another_result_says_as_well_goes_on() {
    for moved in [0.0, 300.0] {
        let mut ward = Ward::new("bp-01");
        ward.feed(0.0, 0.0, pressure(184, 80));
        ward.feed(300.0, 300.0, pressure(186, 80));
        assert_eq!(ward.take_back(moved, 400.0), [], "{moved}");
        assert_eq!(ward.engine.alerts().next().unwrap().state, AlertState::ActiveUnack);
    }
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
