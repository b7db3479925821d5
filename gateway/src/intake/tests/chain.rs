//! What boxes tell that is an entry of the chain: what people did there, and what their clocks did.

use super::*;
use crate::{audit::verify::Walk, clock::rfc3339};
use model::{
    alarm::{AlarmKind, AlarmPhase, DeviceAlarm},
    device::{DeviceKind, DeviceState, DeviceStatus},
    id::Channel,
    record::{AgentStarted, ClockChange},
};

/// Who did what to what, as the chain has it of a record. Whoever adds a kind of record says it here.
fn left_by(record: &Record) -> Option<String> {
    match record {
        Record::Action(_) => Some("county device_action heping".to_owned()),
        Record::Clock(_) => Some("county clock_change heping".to_owned()),
        // What an alert becomes by itself nobody did. A name at a box is no user's.
        Record::Alert(alert) => {
            alert.by.as_deref().map(|by| format!("{by}@heping edge_alert heping"))
        }
        // What devices say, and what a box does by itself. With another `agent.toml` it starts with an
        // action; what it gave up the ledger has.
        Record::Readings(_)
        | Record::Waveform(_)
        | Record::Alarm(_)
        | Record::Status(_)
        | Record::Started(_)
        | Record::Dropped(_) => None,
    }
}

/// One of each kind.
fn all() -> Vec<Record> {
    let device = || DeviceId::new("any-01").unwrap();
    let status = DeviceStatus {
        device: device(),
        kind: DeviceKind::Monitor,
        driver: "json-lines".to_owned(),
        state: DeviceState::Online,
        reason: String::new(),
        about: BTreeMap::new(),
        expected_interval_ms: None,
        observed: observed(0),
    };
    let alarm = DeviceAlarm {
        device: device(),
        channel: Channel::default(),
        phase: AlarmPhase::Start,
        kind: AlarmKind::OcclusionDownstream,
        code: "5".to_owned(),
        text: String::new(),
        priority: None,
        source: None,
        device_time: None,
        latched: false,
        observed: observed(0),
    };
    let clock = ClockChange {
        before: observed(3_600_000).at,
        evidence: "chrony".to_owned(),
        observed: observed(1000),
    };
    let started = AgentStarted { version: "0.1.0".to_owned(), observed: observed(0) };
    vec![
        rate(72),
        block(),
        Record::Alarm(alarm),
        Record::Status(status),
        Record::Started(started),
        dropped(Lane::Trend, 3, 4),
        action(),
        Record::Clock(clock),
        edge::changed("raised", "active_unack", 590_000),
        edge::changed("acknowledged", "active_ack", 500_000),
    ]
}

#[test]
fn what_people_and_clocks_do_at_a_box_is_an_entry_of_the_chain() {
    let mut county = County::new();
    let entries = "SELECT body ->> 3 || ' ' || (body ->> 4) || ' ' || (body ->> 5) FROM audit";
    for (number, record) in (1..).zip(all()) {
        let before = county.texts(entries).len();
        let left = left_by(&record);
        let envelope = envelope(Lane::Urgent, number, vec![record.clone()]);
        // Told twice it happened once.
        county.take(&[envelope.clone(), envelope]);
        assert_eq!(county.texts(entries)[before..], Vec::from_iter(left), "{record:?}");
    }
    let details = county.texts("SELECT body ->> 6 FROM audit");
    let details: Vec<Value> =
        details.iter().map(|told| serde_json::from_str(told).unwrap()).collect();
    let at = |ago_ms| rfc3339(observed(ago_ms).at.unix_ms());
    let of_alert = json!({"alert": "ab".repeat(16), "what": "acknowledged",
        "reason": "at_bedside"});
    let expected = json!([
        {"device": "any-01", "action": "clock_set", "at": at(1000),
            "text": "set to 2026-11-22 16:15:00 local time"},
        {"before": at(3_600_000), "at": at(1000), "clock": "synchronised", "evidence": "chrony"},
        of_alert,
    ]);
    assert_eq!(json!(details), expected);
    let mut walk = Walk::default();
    while !walk.step(&county.connection, 100).unwrap() {}
    assert!(walk.finish().good);
    for texts in [
        include_str!("../../../board/texts/zh-CN.json"),
        include_str!("../../../board/texts/en.json"),
    ] {
        let texts: Value = serde_json::from_str(texts).unwrap();
        for action in county.texts("SELECT body ->> 4 FROM audit") {
            assert!(texts[format!("audit.did.{action}")].is_string(), "no word for {action}");
        }
    }
}
