//! Whose a device is at the box, as the county says.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_bound_device_warns_for_its_patient_and_the_county_is_told_by_which_list() {
    let edge = Edge::new();
    let mut warden = edge.warden();
    let (bad, now) = lost();
    warden.look_at_reach(bad, now);
    warden.go_by(bound_from(0));
    beats(&mut warden, 0..12, 38);
    let id = AlertId::new(&edge.lookout.site, "p-7", "hr_low", at(0).wall);
    let alert = warden.evaluation.alerts().find(|alert| alert.family == "hr_low").cloned();
    let alert = alert.unwrap();
    assert_eq!((alert.id, alert.device.as_str()), (id, "ecg-01"));
    let bed = warden.told(&alert, at(12).wall).bed;
    assert_eq!(bed.as_deref(), Some("3"), "where the page sends somebody");
    let told = warden.reports.iter().find(|report| report.family == "hr_low").unwrap();
    assert_eq!((told.subject.as_str(), told.what.as_str()), ("p-7", "raised"));
    assert_eq!((told.rule_set, told.bindings), (2, 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_is_bound_leaves_its_own_alerts_with_a_reason() {
    let edge = Edge::new();
    let mut warden = edge.warden();
    beats(&mut warden, 0..12, 38);
    let before = only(&warden);
    warden.go_by(bound_from(12));
    let own = warden.evaluation.alerts().find(|alert| alert.id == before.id);
    assert!(own.is_none_or(|own| !own.state.is_active()), "{own:?}");
    beats(&mut warden, 12..26, 38);
    let id = AlertId::new(&edge.lookout.site, "p-7", "hr_low", at(12).wall);
    assert!(warden.evaluation.alerts().any(|alert| alert.id == id));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alarm_that_is_judged_when_its_device_has_left_is_not_of_who_was_left() {
    let edge = Edge::new();
    let mut warden = edge.warden();
    warden.go_by(bound_from(0));
    beats(&mut warden, 0..12, 72);
    let list = serde_json::json!({"version": 4, "bindings": [
        {"device": "ecg-01", "patient": "p-7", "from": at(0).wall.unix_ms(),
         "until": at(11).wall.unix_ms()}]});
    let (told, order) = bound_from(0);
    let bindings = read(&list.to_string(), "bindings");
    warden.go_by((GoesBy { bindings: 4, ..told }, evaluation::Order { bindings, ..order }));
    let alarm = DeviceAlarm {
        device: device(),
        channel: Channel::default(),
        phase: AlarmPhase::Start,
        kind: AlarmKind::LeadOff,
        code: "TECH-LEADOFF".to_owned(),
        text: String::new(),
        priority: None,
        latched: false,
        source: None,
        device_time: None,
        observed: at(10).observed(),
    };
    warden.evaluation.take(at(13), &envelope(13, vec![Record::Alarm(alarm)]));
    beats(&mut warden, 13..60, 72);
    let of: Vec<_> = warden
        .evaluation
        .alerts()
        .filter(|alert| alert.family == "tech_lead_off")
        .map(|alert| alert.patient.clone())
        .collect();
    assert_eq!(of, [None], "it is the device's own, where that is");
}
