//! A truth against a county that answers what it is told to.

use super::*;
use crate::client::fake;
use serde_json::{Value, json};
use std::{fs, io::Write as _};

/// What a county tells of one reading of `device` at `observed`.
fn reading(device: &str, observed: &str, value: &str, index: u64) -> Value {
    json!({"device": device, "channel": "", "metric": "nibp_sys", "value": value,
        "comparator": null, "unit": "mm[Hg]", "no_data": null, "device_time": null,
        "device_seq": 21, "placed_time": observed, "duplicate_of": null, "outbox": "a1",
        "lane": "urgent", "seq": 1, "index": index})
}

fn lane(outbox: &str, gaps: Value, dropped: Value, quarantined: Value) -> Value {
    json!({"site": "heping", "outbox": outbox, "lane": "urgent", "watermark": 1,
        "gaps": gaps, "dropped": dropped, "quarantined": quarantined})
}

/// Two values of `bp-01` and one block, against a county with these readings and lanes.
async fn report(truth: &str, readings: Vec<Value>, lanes: Vec<Value>) -> Report {
    let county = fake::county(move |path, query| match path {
        "/api/v1/readings" => {
            // The county is a big one: only what is asked for is looked at.
            assert_eq!(query.get("from").map(String::as_str), Some("2026-11-22T08:29:00.5Z"));
            let wanted = query.get("device").cloned();
            let ours: Vec<&Value> = readings
                .iter()
                .filter(|reading| reading["device"].as_str() == wanted.as_deref())
                .collect();
            json!({"readings": ours, "next_cursor": null})
        }
        "/api/v1/waveforms" => {
            json!({"blocks": [{"start": "", "period": {"num": 1, "den": 250}, "samples": [1, -1]}]})
        }
        "/api/v1/ledger" => json!({"outboxes": lanes}),
        "/api/v1/alerts" => json!({"alerts": [{"device": "bp-01"}, {"device": "somebody else"}]}),
        other => json!({"unexpected": other}),
    });
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(truth.as_bytes()).unwrap();
    compare(&[file.path().to_owned()], &county.await).await.unwrap()
}

const TRUTH: &str = r#"{"t":"2026-11-22T08:30:00.500Z","device":"bp-01","metric":"nibp_sys","value":"120","unit":"mm[Hg]","device_seq":21}
{"t":"2026-11-22T08:30:01.500Z","device":"bp-01","metric":"nibp_sys","value":"130","unit":"mm[Hg]"}
{"t":"2026-11-22T08:30:01.500Z","device":"bp-01","metric":"ecg_ii","sha256":"b15348c8f462384c01e83b6d499c6faf3f96808f5aa07c6bab4b65b36b4445d4"}
{"t":"2026-11-22T08:30:01.500Z","device":"bp-01","alarm":"lead_off","phase":"start"}
"#;

fn two_readings() -> Vec<Value> {
    vec![
        reading("bp-01", "2026-11-22T08:30:00.600Z", "120", 0),
        reading("bp-01", "2026-11-22T08:30:01.600Z", "130", 1),
    ]
}

fn good_lane() -> Value {
    lane("a1", json!([]), json!([]), json!([]))
}

#[tokio::test]
async fn a_county_that_has_more_than_the_truth_is_clean() {
    let mut readings = two_readings();
    readings.push(reading("bp-99", "2026-11-22T08:30:00.700Z", "99", 2));
    let another = lane("b2", json!([[4, 5]]), json!([[1, 1]]), json!([[2, 2]]));
    let report = report(TRUTH, readings, vec![good_lane(), another]).await;
    assert!(report.is_clean(), "{report:#?}");
    assert_eq!((report.emitted, report.stored, report.alerts_raised), (3, 3, 1));
}

#[tokio::test]
async fn an_envelope_that_is_missing_given_up_or_kept_aside_is_not_clean() {
    for (gaps, dropped, quarantined, expected) in [
        (json!([[4, 6]]), json!([]), json!([]), (3, 0, 0)),
        (json!([]), json!([[4, 4]]), json!([]), (0, 1, 0)),
        (json!([]), json!([]), json!([[4, 4], [7, 8]]), (0, 0, 3)),
    ] {
        let lanes = vec![lane("a1", gaps, dropped, quarantined)];
        let report = report(TRUTH, two_readings(), lanes).await;
        assert_eq!((report.gaps, report.dropped, report.quarantined), expected);
        assert!(!report.is_clean(), "{report:#?}");
    }
}

#[tokio::test]
async fn another_device_number_is_altered() {
    let mut readings = two_readings();
    readings[0]["device_seq"] = json!(22);
    let report = report(TRUTH, readings, vec![good_lane()]).await;
    assert_eq!((report.altered, report.lost, report.doubled), (1, 0, 0), "{report:#?}");
    let of_devices: Vec<_> = report.devices.values().map(|of| (of.altered, &of.first)).collect();
    assert_eq!(of_devices, [(1, &report.differences[0])]);
}

#[tokio::test]
async fn what_a_fault_has_hit_may_be_missing_and_is_never_another_value() {
    let hit = TRUTH.replace(r#""value":"130""#, r#""value":"130","faulted":"drop""#)
        + r#"{"t":"2026-11-22T08:30:01.400Z","device":"bp-01","fault":"drop","bytes":12}"#;
    let whole = report(&hit, two_readings(), vec![good_lane()]).await;
    assert!(whole.is_clean(), "{whole:#?}");
    assert_eq!((whole.emitted, whole.faulted, whole.faulted_stored), (3, 1, 1));
    assert_eq!(whole.faults, [("drop".to_owned(), 1)].into());
    let hidden = report(&hit, two_readings()[..1].to_vec(), vec![good_lane()]).await;
    assert!(hidden.is_clean(), "{hidden:#?}");
    assert_eq!((hidden.faulted, hidden.faulted_stored), (1, 0));
    let mut other = two_readings();
    other[1]["value"] = json!("103");
    assert_eq!(report(&hit, other, vec![good_lane()]).await.altered, 1);
    let mut twice = two_readings();
    twice.push(reading("bp-01", "2026-11-22T08:30:01.700Z", "130", 2));
    assert_eq!(report(&hit, twice, vec![good_lane()]).await.doubled, 1);
    let spared_is_missing = two_readings()[1..].to_vec();
    assert_eq!(report(&hit, spared_is_missing, vec![good_lane()]).await.lost, 1);
}

#[tokio::test]
async fn devices_that_said_nothing_prove_nothing() {
    assert!(!report("", vec![], vec![]).await.is_clean());
}

#[test]
fn a_truth_that_is_not_there_is_told() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("there")).unwrap();
    assert!(read_truth(&[folder.path().join("not-there.jsonl")]).is_err());
}

#[test]
fn samples_are_hashed_as_little_endian_integers() {
    // printf '\x01\x00\x00\x00\xff\xff\xff\xff' | sha256sum
    assert_eq!(
        sha256(&[1, -1]),
        "b15348c8f462384c01e83b6d499c6faf3f96808f5aa07c6bab4b65b36b4445d4"
    );
}

#[test]
fn what_is_altered_by_the_thousand_hides_nothing_that_is_lost() {
    let mut report = Report::default();
    let series = ("heping-ecg-01".to_owned(), String::new(), "hr".to_owned());
    for _ in 0..1000 {
        report.differ(Kind::Altered, 1, &series, "another value");
    }
    report.differ(Kind::Lost, 1, &series, "at 08:15");
    assert!(report.differences.len() < 30);
    assert!(report.differences.iter().any(|shown| shown.starts_with("Lost ")));
}
