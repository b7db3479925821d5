//! What was measured is judged by the limits and the entries of when it was measured, whatever has
//! come into their place since.

use super::*;

const SYSTOLIC: &str = "BP-AD-SH";
const LOW_RATE: &str = "HR-EL-L";

/// A county with a patient of seventy on the monitor.
fn with_patient() -> (County, String) {
    let county = County::new();
    let key = county.desk(0).admit(json!({"born": "1956-03"}));
    county.desk(0).bind("ecg-01", &key);
    (county, key)
}

/// Rules, values and state of the alerts of a family.
fn found(county: &County, family: &str) -> Value {
    let mut alerts = county.alerts();
    alerts.retain(|alert| alert["family"] == family);
    let parts = ["rules", "limit", "state"];
    alerts.iter().map(|alert| json!(parts.map(|part| alert[part].clone()))).collect()
}

fn cuff(second: i64, value: i32) -> Vec<Record> {
    let Record::Readings(group) = of_monitor(second, Metric::NIBP_SYS, value, Unit::MM_HG) else {
        unreachable!()
    };
    vec![Record::Readings(ReadingGroup { occurrence: Occurrence::Spot, ..group })]
}

/// An outage with that heart rate, and a normal one since.
fn heart_rate_in_an_outage(county: &mut County, value: i32) {
    let mut late = heart_rate(2..300, 72);
    late.extend(heart_rate(300..400, value));
    late.extend(heart_rate(400..1199, 72));
    county.hear(1200, late);
    county.hear(1201, heart_rate(1200..1202, 72));
    county.pass(1220);
}

#[test]
fn a_result_of_before_a_limit_was_renewed_is_judged_by_the_one_that_held() {
    let (mut county, key) = with_patient();
    county.desk(0).limit(&key, (SYSTOLIC, "200"), at(HOUR));
    county.hear(1, cuff(1, 150));
    county.desk(900).limit(&key, (SYSTOLIC, "200"), at(2 * HOUR));
    county.hear(1000, cuff(880, 185));
    assert_eq!(found(&county, "bp_high"), json!([]));
    county.hear(1010, cuff(1010, 201));
    assert_eq!(found(&county, "bp_high"), json!([[[SYSTOLIC], "≥ 200", "active_unack"]]));
}

#[test]
fn a_rate_of_before_a_limit_was_renewed_is_judged_by_the_one_that_held() {
    let (mut county, key) = with_patient();
    county.desk(0).limit(&key, (LOW_RATE, "40"), at(HOUR));
    county.hear(1, heart_rate(1..2, 72));
    county.desk(155).limit(&key, (LOW_RATE, "40"), at(2 * HOUR));
    county.hear(156, heart_rate(100..156, 43));
    assert_eq!(found(&county, "hr_low"), json!([]));
}

#[test]
fn what_came_late_is_judged_by_a_limit_that_was_renewed_since() {
    let (mut county, key) = with_patient();
    county.desk(0).limit(&key, (LOW_RATE, "60"), at(HOUR));
    county.hear(1, heart_rate(1..2, 72));
    county.desk(900).limit(&key, (LOW_RATE, "60"), at(2 * HOUR));
    heart_rate_in_an_outage(&mut county, 55);
    assert_eq!(found(&county, "hr_low"), json!([[[LOW_RATE], "< 60", "cleared_unack"]]));
}

#[test]
fn what_came_late_is_judged_by_a_limit_that_has_ended_since() {
    for end in ["withdrawn", "replaced", "over"] {
        let (mut county, key) = with_patient();
        let until = if end == "over" { 900 } else { HOUR };
        county.desk(0).limit(&key, (LOW_RATE, "40"), at(until));
        county.hear(1, heart_rate(1..2, 72));
        match end {
            "withdrawn" => county.desk(900).withdraw_limit(&key),
            "replaced" => county.desk(900).limit(&key, (LOW_RATE, "50"), at(HOUR)),
            _ => county.desk(1000).oxygen(&key, false),
        }
        heart_rate_in_an_outage(&mut county, 43);
        assert_eq!(found(&county, "hr_low"), json!([]), "{end}");
    }
}

#[test]
fn a_limit_that_has_ended_days_ago_judges_what_was_measured_while_it_held() {
    let (mut county, key) = with_patient();
    county.desk(0).limit(&key, (LOW_RATE, "60"), at(900));
    county.hear(1, heart_rate(1..2, 72));
    county.desk(3 * DAY).oxygen(&key, false);
    county.hear(3 * DAY, heart_rate(300..400, 55));
    county.hear(3 * DAY + 1, heart_rate(3 * DAY..3 * DAY + 2, 72));
    county.pass(3 * DAY + 700);
    assert_eq!(found(&county, "hr_low"), json!([[[LOW_RATE], "< 60", "cleared_unack"]]));
}

#[test]
fn what_came_late_is_judged_by_the_entry_about_oxygen_of_then() {
    for (first, expected) in
        [(true, json!([[["SPO2-COPD-O2H"], "> 96", "cleared_unack"]])), (false, json!([]))]
    {
        let county = &mut County::new();
        let key = county.desk(0).admit(json!({"born": "1956-03"}));
        let order = json!({"doctor": "x", "until": rfc3339(at(30 * DAY).unix_ms())});
        let (of, set) = (
            key.clone(),
            "UPDATE patient SET about = json_set(about, '$.scale2', json(?2))
             WHERE patient = ?1",
        );
        let ordered = county
            .store
            .write(move |transaction| transaction.execute(set, [of, order.to_string()]));
        assert_eq!(county.runtime.block_on(ordered).unwrap(), 1);
        county.desk(0).bind("ecg-01", &key);
        county.desk(1).oxygen(&key, first);
        county.hear(1, spo2(1..2, 90));
        county.desk(900).oxygen(&key, true);
        let mut late = spo2(2..300, 90);
        late.extend(spo2(300..500, 98));
        late.extend(spo2(500..1199, 90));
        county.hear(1200, late);
        county.hear(1201, spo2(1200..1202, 90));
        county.pass(1220);
        assert_eq!(found(county, "spo2_high"), expected, "oxygen at first: {first}");
    }
}
