//! What alerts became at a box is kept as told, once, with the time for which it was reported.

use super::*;
use model::{alarm::Priority, alert::EdgeAlert};

/// An alert of a box that was alone, `ago_ms` before now; it began ten minutes before.
pub(super) fn changed(what: &str, state: &str, ago_ms: i64) -> Record {
    let alert = EdgeAlert {
        id: [0xab; 16],
        subject: "mon-01".into(),
        device: DeviceId::new("mon-01").unwrap(),
        family: "spo2_low".into(),
        rules: vec!["SPO2-AD-LL".into()],
        priority: Priority::High,
        state: state.into(),
        metric: Some(Metric::SPO2),
        value: Some("84".into()),
        comparator: None,
        unit: Some("%".into()),
        limit: Some("< 85".into()),
        message_zh: "血氧饱和度过低".into(),
        message_en: "SpO2 very low".into(),
        started_at: observed(600_000).at,
        cleared_at: (state == "closed").then(|| observed(ago_ms).at),
        what: what.into(),
        by: (what == "acknowledged").then(|| "王护士".into()),
        reason: (what == "acknowledged").then(|| "at_bedside".into()),
        note: String::new(),
        rule_set: 3,
        bindings: 12,
        observed: observed(ago_ms),
        latched: false,
    };
    Record::Alert(Box::new(alert))
}

const PERIOD: &str = "SELECT alert || ' ' || device || ' ' || family || ' ' || from_ms || ' '
    || ifnull(until_ms, 'goes on') FROM edge_period";

#[test]
fn what_became_of_an_alert_at_a_box_is_kept_as_told_and_once() {
    let mut county = County::new();
    let changes = vec![
        changed("raised", "active_unack", 590_000),
        changed("acknowledged", "active_ack", 500_000),
    ];
    let first = envelope(Lane::Urgent, 1, changes);
    county.take(std::slice::from_ref(&first));
    county.take(&[first]);
    let told = county.texts(
        "SELECT what || ' ' || json_extract(body, '$.state') || ' '
           || ifnull(json_extract(body, '$.by'), '-') FROM edge_alert ORDER BY id",
    );
    assert_eq!(told, ["raised active_unack -", "acknowledged active_ack 王护士"]);
    let (id, from) = ("ab".repeat(16), observed(600_000).at.unix_ms());
    assert_eq!(county.texts(PERIOD), [format!("{id} mon-01 spo2_low {from} goes on")]);

    let over = changed("closed", "closed", 60_000);
    county.take(&[envelope(Lane::Urgent, 2, vec![over])]);
    let until = observed(60_000).at.unix_ms();
    assert_eq!(county.texts(PERIOD), [format!("{id} mon-01 spo2_low {from} {until}")]);
    assert_eq!(county.count("edge_alert"), 3);
}

#[test]
fn what_a_person_did_at_a_box_is_one_entry_of_the_chain_however_often_it_is_told() {
    let mut county = County::new();
    let acts = "SELECT body ->> 6 FROM audit WHERE body ->> 4 = 'edge_alert'";
    let told = |ago_ms| changed("acknowledged", "active_ack", ago_ms);
    county.take(&[envelope(Lane::Urgent, 1, vec![told(500_000)])]);
    assert_eq!(county.texts(acts).len(), 1);
    // The agent was killed, or the alert came back: it is in another envelope.
    county.take(&[envelope(Lane::Urgent, 2, vec![told(500_000)])]);
    assert_eq!(county.texts(acts).len(), 1);
    // What they do later is another act.
    county.take(&[envelope(Lane::Urgent, 3, vec![told(400_000)])]);
    assert_eq!(county.texts(acts).len(), 2);
}
