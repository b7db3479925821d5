//! What an alert became at the edge comes back as it was, and what is no alert is skipped.

use super::*;
use model::alert::{EdgeAlert, RULES_MAX};

const GOLDEN_ALERT: &str = include_str!("../../../golden/v1/alert.hex");

/// A nurse has the low oxygen saturation of a bound device in hand, 95 s after it began.
fn acknowledged() -> EdgeAlert {
    EdgeAlert {
        id: *b"an alert's id 16",
        subject: "p-7f3a".into(),
        device: DeviceId::new("mon-01").unwrap(),
        family: "spo2_low".into(),
        rules: vec!["SPO2-AD-LL".into(), "SPO2-AD-L".into()],
        priority: Priority::High,
        state: "active_ack".into(),
        metric: Some(Metric::SPO2),
        value: Some("84".into()),
        comparator: None,
        unit: Some("%".into()),
        limit: Some("< 85".into()),
        message_zh: "血氧饱和度过低".into(),
        message_en: "SpO2 very low".into(),
        started_at: WallTime::from_unix_ms(1_795_306_405_250),
        cleared_at: None,
        what: "acknowledged".into(),
        by: Some("王护士".into()),
        reason: Some("at_bedside".into()),
        note: "氧气面罩".into(),
        rule_set: 3,
        bindings: 12,
        observed: Observed {
            at: WallTime::from_unix_ms(1_795_306_500_250),
            quality: ClockQuality::HoldingOver,
        },
        latched: false,
    }
}

fn carrying(alert: EdgeAlert) -> Envelope {
    Envelope { records: vec![Record::Alert(Box::new(alert))], ..cuff() }
}

/// What becomes of an alert with that in one of its positions; the rest of the envelope stays.
fn with_position(place: usize, value: Value) -> Decoded {
    let mut envelope = carrying(acknowledged());
    envelope.records.extend(cuff().records);
    let mut map = wire::from_bytes(&envelope.encode(), ENVELOPE_LEN_MAX).unwrap();
    let entries = map.as_map_mut().unwrap();
    let records = entries.iter_mut().find(|(key, _)| key.as_text() == Some("r")).unwrap();
    let alert = records.1.as_array_mut().unwrap()[0].as_array_mut().unwrap();
    match place < alert.len() {
        true => alert[place] = value,
        false => alert.push(value),
    }
    Envelope::decode(&wire::to_bytes(&map)).unwrap()
}

pub(super) fn edge_alert() -> impl Strategy<Value = Record> {
    let said = || option::of("\\PC{0,30}");
    let moment = || (0i64..4_000_000_000_000).prop_map(WallTime::from_unix_ms);
    (
        (any::<[u8; 16]>(), device(), "[a-z0-9-]{1,40}", vec("[A-Z0-9-]{1,18}", 0..RULES_MAX)),
        (select(Priority::ALL.to_vec()), option::of(select(vec![Metric::HR, Metric::SPO2]))),
        (said(), said(), said(), said(), "\\PC{0,60}", "\\PC{0,60}"),
        (moment(), option::of(moment()), said(), said(), "\\PC{0,400}"),
        (any::<u64>(), any::<u64>(), observed(), any::<bool>()),
    )
        .prop_map(
            |(
                (id, device, subject, rules),
                (priority, metric),
                (value, comparator, unit, limit, message_zh, message_en),
                (started_at, cleared_at, by, reason, note),
                (rule_set, bindings, observed, latched),
            )| {
                let (family, state, what) =
                    ("hr_low".into(), "active_unack".into(), "raised".into());
                Record::Alert(Box::new(EdgeAlert {
                    id,
                    subject,
                    device,
                    family,
                    rules,
                    priority,
                    state,
                    metric,
                    value,
                    comparator,
                    unit,
                    limit,
                    message_zh,
                    message_en,
                    started_at,
                    cleared_at,
                    what,
                    by,
                    reason,
                    note,
                    rule_set,
                    bindings,
                    observed,
                    latched,
                }))
            },
        )
}

#[test]
fn an_edge_alert_is_the_bytes_that_must_decode_for_ever() {
    let bytes = carrying(acknowledged()).encode();
    let shown: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex(GOLDEN_ALERT), bytes, "{shown}");
    assert_eq!(Envelope::decode(&bytes).unwrap().envelope, carrying(acknowledged()));
    cddl_cat::validate_cbor_bytes("envelope", SCHEMA, &bytes).unwrap();
}

#[test]
fn that_a_device_latched_it_is_a_position_that_a_county_of_before_reads_over() {
    let latched = EdgeAlert { latched: true, ..acknowledged() };
    let bytes = carrying(latched.clone()).encode();
    cddl_cat::validate_cbor_bytes("envelope", SCHEMA, &bytes).unwrap();
    let decoded = Envelope::decode(&bytes).unwrap();
    assert_eq!(decoded.envelope.records[0], Record::Alert(Box::new(latched.clone())));
    let pushed = with_position(usize::MAX, Value::Bool(true));
    assert_eq!(pushed.envelope.records[0], Record::Alert(Box::new(latched)));
}

#[test]
fn an_edge_alert_goes_before_what_can_wait() {
    assert_eq!(Record::Alert(Box::new(acknowledged())).lane(), Lane::Urgent);
}

#[test]
fn positions_of_the_future_and_metrics_of_the_future_do_not_lose_an_alert() {
    let decoded = with_position(usize::MAX, text("new"));
    assert_eq!(decoded.envelope.records[0], Record::Alert(Box::new(acknowledged())));
    let decoded = with_position(8, number(99));
    let unnamed = EdgeAlert { metric: None, ..acknowledged() };
    assert_eq!(
        (&decoded.envelope.records[0], decoded.skipped),
        (&Record::Alert(Box::new(unnamed)), 0)
    );
}

#[test]
fn what_is_no_alert_is_skipped_and_the_rest_is_not() {
    for (place, value) in [
        (0, number(200)),
        (1, Value::Bytes(vec![0; 15])),
        (2, number(99)),
        (3, number(1)),
        (5, Value::Array(vec![number(1)])),
        (6, text("urgent")),
        (9, number(84)),
        (15, number(i64::MAX)),
        (16, text("never")),
        (21, number(-1)),
        (24, number(9)),
    ] {
        let decoded = with_position(place, value);
        assert_eq!((decoded.envelope.records, decoded.skipped), (cuff().records, 1), "{place}");
    }
}

#[test]
fn what_an_alert_says_is_bounded() {
    let long = "长".repeat(5000);
    let envelope = carrying(EdgeAlert {
        rules: vec!["R".into(); 99],
        subject: long.clone(),
        value: Some(long.clone()),
        message_zh: long.clone(),
        note: format!("a\n{long}"),
        ..acknowledged()
    });
    let Record::Alert(read) = &Envelope::decode(&envelope.encode()).unwrap().envelope.records[0]
    else {
        panic!()
    };
    assert_eq!(read.rules.len(), RULES_MAX);
    assert!(read.subject.len() <= 128 && read.value.as_ref().unwrap().len() <= 128);
    assert!(read.message_zh.len() <= 512 && read.note.len() <= 2000);
    assert!(read.note.starts_with("a长") && read.message_zh.ends_with('长'));
}
