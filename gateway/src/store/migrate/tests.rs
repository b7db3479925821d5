//! What a county has from before is told as before.

use super::*;
use crate::{clock::rfc3339, links, query, store::Store};
use model::time::WallTime;
use rusqlite::Row;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use tempfile::TempDir;

/// A county of that schema with what the statements put into it, opened by the program of today.
fn of_schema(version: u8, statements: &str) -> (Connection, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("county.sqlite");
    let mut old = Connection::open(&path).unwrap();
    let transaction = old.transaction().unwrap();
    for step in &STEPS[..usize::from(version)] {
        step(&transaction).unwrap();
    }
    transaction.execute_batch(statements).unwrap();
    transaction.pragma_update(None, "user_version", version).unwrap();
    transaction.commit().unwrap();
    drop(old);
    (Store::connection(&path).unwrap(), folder)
}

/// As the gateways of schema 1 and 2 told a reading.
fn told_before(row: &Row<'_>) -> rusqlite::Result<Value> {
    let moment = |ms: Option<i64>| ms.map(rfc3339);
    let text = |name| row.get::<_, Option<String>>(name);
    let metric: String = row.get("metric")?;
    let canonical = text("canonical")?;
    let known = model::metric::Metric::from_name(&metric);
    let canonical_unit = known.and_then(|metric| metric.row().canonical_unit.clone());
    let freshness: String = row.get("freshness")?;
    let context: String = row.get("context")?;
    Ok(json!({
        "site": text("site")?, "device": text("device")?, "channel": text("channel")?,
        "group": text("grp")?, "metric": metric, "value": text("value")?,
        "comparator": text("comparator")?, "unit": text("unit")?,
        "canonical_unit": canonical.as_ref().and(canonical_unit).map(|unit| unit.to_string()),
        "canonical_value": canonical,
        "no_data": text("no_data")?, "validity": text("validity")?,
        "context": serde_json::from_str::<Value>(&context).unwrap_or_default(),
        "device_time": moment(row.get("device_ms")?), "observed_time": moment(row.get("observed_ms")?),
        "received_time": moment(row.get("received_ms")?),
        "measured_time": moment(row.get("measured_ms")?),
        "time_suspect": row.get::<_, bool>("time_suspect")?,
        "backfilled": freshness != "fresh", "freshness": freshness,
        "device_seq": row.get::<_, Option<i64>>("device_seq")?,
        "duplicate_of": text("copy_of")?,
        "outbox": text("outbox")?, "lane": text("lane")?, "seq": row.get::<_, i64>("seq")?,
        "index": row.get::<_, i64>("idx")?,
    }))
}

const TOLD_BEFORE: &str = "SELECT *,
    (SELECT first.outbox || '/' || first.lane || '/' || first.seq || '/' || first.idx
     FROM reading AS first WHERE first.id = reading.duplicate_of) AS copy_of
    FROM reading ORDER BY observed_ms, id";

/// Rows of schema 2: id, lane, seq, idx, device, channel, grp, metric, value, comparator, unit,
/// canonical, no_data, validity, context, device_ms, observed_ms, suspect, clock, freshness,
/// device_seq, identity, duplicate_of.
const READINGS: &str = r#"
  (1, 'trend', 1, 0, 'm', '', NULL, 'hr', '72', NULL, '/min', '72', NULL, 'valid', '{}', NULL, 1000, 0, 'synchronised', 'fresh', NULL, NULL, NULL),
  (2, 'trend', 1, 1, 'm', '', NULL, 'spo2', '9.80e1', NULL, '%', NULL, NULL, 'valid', '{}', NULL, 1000, 0, 'synchronised', 'fresh', NULL, NULL, NULL),
  (3, 'trend', 1, 2, 'm', 't1', NULL, 'temp', '98.60', NULL, '[degF]', '37.0', NULL, 'questionable', '{}', NULL, 1000, 0, 'synchronised', 'fresh', NULL, NULL, NULL),
  (4, 'trend', 1, 3, 'm', '', NULL, 'hr', NULL, NULL, '/min', NULL, 'device_error:a:b "', 'valid', '{}', NULL, 1000, 0, 'unknown', 'fresh', NULL, NULL, NULL),
  (5, 'trend', 1, 4, 'm', '', NULL, 'hr', '-71.0', NULL, '/min', '-71', NULL, 'valid', '{}', NULL, 1250, 1, 'unknown', 'late', 7, NULL, NULL),
  (6, 'trend', 2, 0, 'm', '', NULL, 'hr', '71', NULL, '/min', '71', NULL, 'valid', '{}', NULL, 1250, 1, 'unknown', 'late', 7, NULL, NULL),
  (7, 'urgent', 1, 0, 'c', '', 'nibp/0', 'nibp_sys', '120', NULL, 'mm[Hg]', '120', NULL, 'valid', '{"arm":"left"}', 500, 900, 0, 'synchronised', 'fresh', 3, 'one', NULL),
  (8, 'urgent', 1, 1, 'c', '', 'nibp/0', 'nibp_dia', '80', NULL, 'mm[Hg]', '80', NULL, 'valid', '{"arm":"left"}', 500, 900, 0, 'synchronised', 'fresh', 3, NULL, NULL),
  (9, 'urgent', 1, 2, 'g', '', NULL, 'glu_cap_pl', '33.3', '>', 'mmol/L', '33.3', NULL, 'valid', '{}', 500, 900, 0, 'synchronised', 'backfill', 4, 'two', NULL),
  (10, 'urgent', 2, 0, 'c', '', 'nibp/0', 'nibp_sys', '120', NULL, 'mm[Hg]', '120', NULL, 'valid', '{"arm":"left"}', 500, 990, 0, 'synchronised', 'fresh', 3, 'one', 7),
  (11, 'urgent', 2, 1, 'c', '', 'nibp/0', 'nibp_dia', '80', NULL, 'mm[Hg]', '80', NULL, 'valid', '{"arm":"left"}', 500, 990, 0, 'synchronised', 'fresh', 3, NULL, 7),
  (12, 'urgent', 3, 0, 'g', '', NULL, 'glu_cap_pl', 'LO "1"', NULL, NULL, NULL, NULL, 'invalid', '{}', 400, 991, 0, 'synchronised', 'fresh', 5, 'three', 6000),
  (13, 'urgent', 4, 0, 'g', '', NULL, 'glu_cap_pl', 'LO "1"', NULL, NULL, NULL, NULL, 'invalid', '{}', 400, 992, 0, 'synchronised', 'fresh', 5, 'three', 6000)
"#;

#[test]
fn readings_of_schema_2_are_told_as_before() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("county.sqlite");
    let mut old = Connection::open(&path).unwrap();
    let transaction = old.transaction().unwrap();
    county(&transaction).unwrap();
    evidence(&transaction).unwrap();
    transaction
        .execute_batch(&format!(
            "INSERT INTO reading SELECT column1, 'heping', '07', column2, column3, column4, column5,
               column6, column7, column8, column9, column10, column11, column12, column13, column14,
               column15, column16, column17, column17 + 50, column17 + 5, column18, column19,
               column20, column21, column22, column23 FROM (VALUES {READINGS});
             INSERT INTO latest VALUES ('heping', 'm', '', 'hr', 1250, 1255, 1255, 6),
               ('heping', 'm', '', 'spo2', 1000, 1005, 1005, 2),
               ('heping', 'm', 't1', 'temp', 1000, 1005, 1005, 3),
               ('heping', 'c', '', 'nibp_sys', 900, 905, 905, 7),
               ('heping', 'c', '', 'nibp_dia', 900, 905, 905, 8);
             INSERT INTO device VALUES ('heping', 'm', 'monitor', 'd', 'online', '', '{{}}', 1),
               ('heping', 'c', 'cuff', 'd', 'online', '', '{{}}', 1);"
        ))
        .unwrap();
    transaction.pragma_update(None, "user_version", 2).unwrap();
    transaction.commit().unwrap();
    let mut before: Vec<Value> = old
        .prepare(TOLD_BEFORE)
        .unwrap()
        .query_map([], told_before)
        .unwrap()
        .map(Result::unwrap)
        .collect();
    drop(old);
    // The first copy was removed by age: of the others the oldest is the first now.
    let place = |told: &Value| told["seq"] == 4 && told["device"] == "g";
    before.iter_mut().find(|told| place(told)).unwrap()["duplicate_of"] = json!("07/urgent/3/0");

    // New in schema 4: where the clock of the box was right, it heard it when it says.
    for told in &mut before {
        told["placed_time"] = told["observed_time"].clone();
        // New in schema 6: nobody was bound to anything.
        told["patient"] = json!(null);
        told["bound_patient"] = json!(null);
    }
    let connection = Store::connection(&path).unwrap();
    let filter = query::ReadingFilter { limit: 100, ..query::ReadingFilter::default() };
    let now = query::readings(&connection, &filter).unwrap();
    assert_eq!(now["readings"], json!(before));
    let groups = "SELECT count(*) FROM reading_group";
    let groups: i64 = connection.query_row(groups, [], |row| row.get(0)).unwrap();
    assert_eq!(groups, 10);
    let devices =
        query::devices(&connection, &BTreeMap::new(), WallTime::from_unix_ms(2000)).unwrap();
    let latest: Vec<Vec<&Value>> = devices["devices"]
        .as_array()
        .unwrap()
        .iter()
        .map(|device| {
            device["latest"].as_array().unwrap().iter().map(|told| &told["value"]).collect()
        })
        .collect();
    assert_eq!(json!(latest), json!([["120", "80"], ["9.80e1", "98.60", "71"]]));
    let left = "SELECT count(*) FROM sqlite_schema WHERE name IN ('reading', 'latest')";
    assert_eq!(connection.query_row(left, [], |row| row.get::<_, i64>(0)).unwrap(), 0);
}

#[test]
fn device_alarms_of_schema_4_are_kept_and_nothing_of_then_waits_to_be_judged() {
    let (connection, _folder) = of_schema(
        4,
        "INSERT INTO device_alarm VALUES (1, 'heping', 'm', 'start', 'TECH-LEADOFF', 'x', '',
               NULL, 1000, 1005)",
    );
    let kept = "SELECT code || channel || observed_ms || (placed_ms IS NULL) FROM device_alarm";
    let kept: String = connection.query_row(kept, [], |row| row.get(0)).unwrap();
    assert_eq!(kept, "x10001");
    let waits = "SELECT count(*) FROM late_device";
    assert_eq!(connection.query_row(waits, [], |row| row.get::<_, i64>(0)).unwrap(), 0);
}

#[test]
fn people_tokens_sessions_and_results_of_schema_10_are_as_they_were() {
    let (connection, _folder) = of_schema(
        10,
        "INSERT INTO person VALUES ('wang', 'nurse', 'hash', 0, NULL);
             INSERT INTO token VALUES ('t', 'export', 'engineer', 1, NULL, NULL, NULL);
             INSERT INTO session VALUES ('s', 'wang', 1000);
             INSERT INTO source VALUES (1, 'heping', 'bp-01');
             INSERT INTO outbox_lane VALUES (1, 'heping', '07', 'urgent');
             INSERT INTO metric_list VALUES (1, 'nibp_sys');
             INSERT INTO reading_group (id, source, outbox_lane, seq, idx, channel, metric_list,
               said, observed_ms, received_ms, measured_ms, time_suspect)
             VALUES (1, 1, 1, 1, 0, '', 1, '[\"120\"]', 5, 5, 5, 0);
             INSERT INTO spot (reading_group, outbox_lane, seq, idx) VALUES (1, 1, 1, 0);",
    );
    let told =
        |query: &str| -> String { connection.query_row(query, [], |row| row.get(0)).unwrap() };
    // Nobody has to set another password, and every token stays in force.
    assert_eq!(told("SELECT name || given_password || ifnull(pin, '-') FROM person"), "wang0-");
    assert_eq!(told("SELECT name || ifnull(pending_until_ms, '-') FROM token"), "export-");
    assert_eq!(told("SELECT name || confirmed_ms FROM session"), "wang1000");
    assert_eq!(
        told(
            "SELECT site FROM spot INDEXED BY spot_tray WHERE site = 'heping' AND patient IS NULL"
        ),
        "heping"
    );
}

#[test]
fn a_wall_of_schema_11_stays_and_no_password_waits() {
    let (connection, _folder) = of_schema(
        11,
        "INSERT INTO person (name, role, password) VALUES ('hall', 'kiosk', 'hash');
             INSERT INTO session VALUES ('s', 'hall', 1000, 2000);",
    );
    let told = "SELECT name || '/' || opened_ms || '/' || used_ms FROM session";
    let told: String = connection.query_row(told, [], |row| row.get(0)).unwrap();
    assert_eq!(told, "hall/1000/1000");
    let waits = "SELECT count(*) FROM pending_password";
    assert_eq!(connection.query_row(waits, [], |row| row.get::<_, i64>(0)).unwrap(), 0);
}

#[test]
fn what_was_lost_when_the_counting_began_is_lost_since_then() {
    let site =
        "INSERT INTO site (site, online, connection, changed_ms, agent_version, outbox, clock,
      backlog, clock_evidence) VALUES";
    let device = "INSERT INTO device (site, device, kind, driver, state, reason, about, changed_ms)
      VALUES ('away', ";
    let statements = format!(
        "{site} ('away', 0, 1, 5000, '', '', '', '{{}}', ''), ('here', 1, 1, 6000, '', '', '', '{{}}', '');
             {device} 'cuff', 'cuff', '', 'link_down', '', '{{}}', 2000);
             {device} 'ecg', 'monitor', '', 'waiting', '', '{{}}', 3000);"
    );
    let (connection, _folder) = of_schema(15, &statements);
    let now = WallTime::from_unix_ms(10_000);
    let lost = |times, seconds| json!({"times": times, "seconds": seconds, "at_least": false});
    let of_box = |site| links::of_box(&connection, site, now).unwrap();
    assert_eq!((of_box("away"), of_box("here")), (lost(1, 5), lost(0, 0)));
    let of_device = |device| links::of_device(&connection, "away", device, now).unwrap();
    assert_eq!((of_device("cuff"), of_device("ecg")), (lost(1, 8), lost(0, 0)));
}

#[test]
fn strips_of_schema_16_are_those_of_its_alarms_and_alerts_as_wide_as_any_rules_had_them() {
    let alarm = "INSERT INTO device_alarm (site, device, phase, kind, code, text, observed_ms,
      received_ms, placed_ms) VALUES ('heping', ";
    let set = "INSERT INTO rule_set (version, text, sha256, author, created_ms, note) VALUES";
    let wide = json!({"rules": [
        {"id": "DEV-PAUSE", "strip": {"before_s": 5, "after_s": 900}},
        {"id": "DEV-VT", "strip": {"before_s": 1, "after_s": 30}}]});
    let without = json!({"rules": [{"id": "DEV-PAUSE"}, {"id": "DEV-VT"}]});
    let asystole = json!({"rules": ["DEV-ASYSTOLE"], "patient": "p-1", "timeline": [
        {"at": rfc3339(5_000_000), "what": "raised", "detail": "DEV-ASYSTOLE"},
        {"at": rfc3339(5_100_500), "what": "recurred", "detail": "DEV-ASYSTOLE"},
        {"at": rfc3339(5_200_000), "what": "acknowledged", "detail": ""}]});
    let statements = format!(
        "{alarm} 'a', 'start', 'DEV-VT', '', '', 9, 9, 1000000);
             {alarm} 'a', 'end', 'DEV-VT', '', '', 9, 9, 2000000);
             {alarm} 'b', 'start', 'DEV-PAUSE', '', '', 3000000, 9, NULL);
             {alarm} 'b', 'start', 'DEV-AF', '', '', 9, 9, 4000000);
             {set} (1, '{wide}', '', 'li', 0, ''), (2, '{without}', '', 'li', 0, ''),
               (3, 'no rules', '', 'li', 0, ''), (4, '{{\"rules\": [\"none\"]}}', '', 'li', 0, '');
             INSERT INTO alert VALUES ('1', 'heping', 'c', 'closed', 'high', 5000000, '{asystole}'),
               ('2', 'heping', 'c', 'closed', 'high', 6000000, '{{}}');
             INSERT INTO binding (site, device, patient, from_ms, until_ms, version, made_by, made_ms,
               reason) VALUES ('heping', 'd', 'p-1', 5050000, NULL, 1, 'li', 0, ''),
               ('heping', 'e', 'p-1', 0, 5000000, 1, 'li', 0, '');"
    );
    let (connection, _folder) = of_schema(16, &statements);
    let strips =
        "SELECT group_concat(device || ' ' || from_ms || '..' || until_ms, ', ') FROM strip";
    let strips: String = connection.query_row(strips, [], |row| row.get(0)).unwrap();
    let alert = "c 4990000..5020000, c 5090500..5120500, d 5090500..5120500";
    assert_eq!(strips, format!("a 990000..1030000, b 2995000..3600000, {alert}"));
}
