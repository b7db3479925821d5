//! Alert rules, section 9, test 18: an outage whose alerts were raised and acknowledged at the box.

use super::*;
use crate::alerts::act::{self, Deed};
use model::alert::{EdgeAlert, RULES_MAX};
use rules::{
    alert::{AckReason, Alert, TimelineEntry},
    engine::Action,
};

/// The box is alone from here to there.
const ALONE: Range<i64> = 10..700;
const END: i64 = 800;
const BY: &str = "王护士";
/// When somebody at the bed has the first alert in hand.
const SEEN: i64 = 60;

/// Two falls of the heart rate; the second goes on when the county is back.
fn heart_rate_at(second: i64) -> u32 {
    match second {
        20..120 | 600..720 => 37,
        _ => 72,
    }
}

fn reading_at(second: i64) -> ReadingGroup {
    let reading = Reading::number(Metric::HR, heart_rate_at(second), Unit::PER_MINUTE);
    ReadingGroup::new(monitor(), observed(at(second)), vec![reading])
}

/// The alerts of the heart rate, and who has them in hand.
fn told(county: &County) -> Vec<Value> {
    told_of(county, "hr_low")
}

fn told_of(county: &County, family: &str) -> Vec<Value> {
    let filter = query::AlertFilter::default();
    let asking =
        county.store.read(move |connection| query::alerts(connection, &filter, &BTreeMap::new()));
    let answer = county.runtime.block_on(asking).unwrap();
    let alerts = answer["alerts"].as_array().unwrap().iter();
    let mut alerts: Vec<Value> =
        alerts.filter(|alert| alert["family"] == family).cloned().collect();
    alerts.sort_by_key(|alert| alert["started_at"].to_string());
    alerts
}

/// What must be the same whether the county was away or not. Of the rules the one that explains the
/// alert: a less urgent one of the family joins it when its own sustain is over at the county.
fn same(alerts: &[Value]) -> Vec<Value> {
    let parts = [
        "/id",
        "/state",
        "/priority",
        "/rules/0",
        "/started_at",
        "/cleared_at",
        "/value",
        "/limit",
        "/acknowledged_by",
        "/acknowledged_at",
        "/reason",
        "/retro",
    ];
    let one = |alert: &Value| parts.iter().map(|part| alert.pointer(part).cloned()).collect();
    alerts.iter().map(one).collect()
}

fn record(alert: &Alert, entry: &TimelineEntry) -> Record {
    assert!(alert.rules.len() <= RULES_MAX);
    Record::Alert(Box::new(EdgeAlert {
        id: *alert.id.as_bytes(),
        subject: alert.device.to_string(),
        device: alert.device.clone(),
        family: alert.family.clone(),
        rules: alert.rules.clone(),
        priority: alert.priority,
        state: alert.state.name().to_owned(),
        metric: alert.metric,
        value: alert.value.clone(),
        comparator: alert.comparator.clone(),
        unit: alert.unit.clone(),
        limit: alert.limit.clone(),
        message_zh: alert.message_zh.clone(),
        message_en: alert.message_en.clone(),
        started_at: alert.started_at,
        cleared_at: alert.cleared_at,
        what: entry.what.name().to_owned(),
        by: entry.by.clone(),
        reason: entry.reason.map(|reason| reason.name().to_owned()),
        note: entry.note.clone(),
        rule_set: 1,
        bindings: 0,
        observed: observed(entry.at),
        latched: false,
    }))
}

/// What the box tells of the time in which it was alone.
fn changes_at_the_box(rules: &RuleSet) -> Vec<Record> {
    let mut engine = Engine::new(site(), rules::binding::Subject::Device(monitor()));
    let (mut records, mut told) = (Vec::new(), BTreeMap::new());
    for second in 0..ALONE.end {
        let group = reading_at(second);
        let input = ReadingInput {
            group: &group,
            t_meas: Moment::sure(at(second)),
            freshness: Freshness::Fresh,
        };
        let mut changed = engine.on_readings(rules, at(second), input);
        if second == SEEN {
            let id = engine.alerts().next().unwrap().id;
            let seen = engine.acknowledge(id, BY, AckReason::AtBedside, "氧气", at(second));
            changed.push(seen.unwrap());
        }
        for alert in changed {
            let known: &mut usize = told.entry(alert.id).or_default();
            let news = alert.timeline.iter().skip(*known);
            records.extend(news.map(|entry| record(&alert, entry)));
            *known = alert.timeline.len();
        }
    }
    records
}

/// A county that hears the monitor each second, but for the time in which its box is alone.
fn county(alone: Option<Range<i64>>) -> (County, Vec<Vec<Value>>) {
    let mut county = County::new();
    let mut seen = Vec::new();
    county.state(at(0), at(0), true);
    county.take(at(0), vec![online(1, at(0))]);
    for second in 1..END {
        let seq = u64::try_from(second).unwrap();
        let is_alone = alone.as_ref().is_some_and(|alone| alone.contains(&second));
        if alone.as_ref().is_some_and(|alone| alone.start == second) {
            county.state(at(second), at(second), false);
        }
        if alone.as_ref().is_some_and(|alone| alone.end == second) {
            county.state(at(second), at(second), true);
            let changes = changes_at_the_box(&county.rules);
            county.take(at(second), vec![envelope(Lane::Urgent, 2, changes)]);
        }
        if !is_alone {
            let group = vec![Record::Readings(reading_at(second))];
            county.take(at(second), vec![envelope(Lane::Trend, seq, group)]);
            if second == SEEN {
                let id = told(&county)[0]["id"].as_str().unwrap().to_owned();
                let id = rules::alert::AlertId::from_hex(&id).unwrap();
                let (rules, by) = (Arc::clone(&county.rules), BY.to_owned());
                let note = "氧气".to_owned();
                let action = Action::Acknowledge { reason: AckReason::AtBedside, note };
                let deed = Deed::Alert(action);
                let acting = act::act(&county.store, rules, id, by, deed, at(second));
                county.runtime.block_on(acting).unwrap().unwrap();
            }
        }
        county.pass_time(at(second), None);
        // What was told while the box was alone comes behind the present.
        if alone.as_ref().is_some_and(|alone| alone.end + 5 == second) {
            let late = (ALONE.start..ALONE.end).map(|second| {
                let group = vec![Record::Readings(reading_at(second))];
                envelope(Lane::Trend, u64::try_from(second).unwrap(), group)
            });
            county.take(at(second), late.collect());
        }
        if [ALONE.end + 2, ALONE.end + 10, END - 1].contains(&second) {
            seen.push(told(&county));
        }
    }
    (county, seen)
}

/// Somebody at the board has it in hand; its state then.
fn acknowledge(county: &County, alert: &Value, second: i64) -> Value {
    let id = rules::alert::AlertId::from_hex(alert["id"].as_str().unwrap()).unwrap();
    let (rules, by) = (Arc::clone(&county.rules), BY.to_owned());
    let action = Action::Acknowledge { reason: AckReason::AtBedside, note: String::new() };
    let acting = act::act(&county.store, rules, id, by, Deed::Alert(action), at(second));
    county.runtime.block_on(acting).unwrap().unwrap().alert["state"].clone()
}

/// What was told by the box only is acknowledged at the county, and goes on as long as it holds.
#[test]
fn an_alert_that_only_the_box_knew_goes_on_when_it_is_acknowledged_at_the_county() {
    let mut county = County::new();
    county.state(at(0), at(0), true);
    county.take(at(0), vec![online(1, at(0))]);
    county.state(at(10), at(10), false);
    county.state(at(700), at(700), true);
    let records: Vec<Record> = changes_at_the_box(&county.rules);
    county.take(at(700), vec![envelope(Lane::Urgent, 2, records)]);
    let open = |county: &County| told(county).pop().unwrap();
    let alert = open(&county);
    assert_eq!((&alert["state"], &alert["condition"]), (&json!("unknown"), &json!("unknown")));
    // Before its device is heard again.
    assert_eq!(acknowledge(&county, &alert, 701), "unknown");
    let said = |second: i64, value| heart_rate(u64::try_from(second).unwrap(), at(second), value);
    county.take(at(702), vec![said(702, 37)]);
    assert_eq!(open(&county)["state"], "active_ack");
    for second in 703..740 {
        county.take(at(second), vec![said(second, 72)]);
    }
    let alert = open(&county);
    assert_eq!((&alert["state"], &alert["acknowledged_by"]), (&json!("closed"), &json!(BY)));

    // And of a meter, which has said all there is.
    let county = County::new();
    county.take(at(0), vec![status_of(DeviceKind::GlucoseMeter, 1, at(0), DeviceState::Online)]);
    let mut engine = Engine::new(site(), rules::binding::Subject::Device(monitor()));
    let reading = Reading::number(Metric::GLU_CAP_PL, 50, Unit::MG_PER_DL);
    let group = ReadingGroup::new(monitor(), observed(at(20)), vec![reading]);
    let (t_meas, freshness) = (Moment::sure(at(20)), Freshness::Fresh);
    let input = ReadingInput { group: &group, t_meas, freshness };
    let raised = engine.on_readings(&county.rules, at(20), input);
    let told_by_the_box = record(&raised[0], &raised[0].timeline[0]);
    county.take(at(700), vec![envelope(Lane::Urgent, 2, vec![told_by_the_box])]);
    let low = |county: &County| told_of(county, "glucose_low").pop().unwrap();
    assert_eq!(low(&county)["state"], "active_unack");
    assert_eq!(acknowledge(&county, &low(&county), 701), "active_ack");
    county.take(at(900), vec![glucose(3, at(900), &[(at(900), 110)])]);
    assert_eq!(low(&county)["state"], "closed");
}

/// A box that was killed says again what it had not written down as said.
#[test]
fn the_story_of_what_is_over_and_forgotten_stands_whatever_its_box_says_again() {
    let mut county = County::new();
    county.state(at(0), at(0), true);
    county.take(at(0), vec![online(1, at(0))]);
    county.state(at(10), at(10), false);
    county.state(at(700), at(700), true);
    let records = changes_at_the_box(&county.rules);
    let over = |record: &&Record| matches!(record, Record::Alert(told) if told.state == "closed");
    let again: Vec<Record> = records.iter().filter(over).cloned().collect();
    assert!(!again.is_empty());
    county.take(at(700), vec![envelope(Lane::Urgent, 2, records)]);
    county.pass_time(at(800), None);
    let first = told(&county)[0].clone();
    assert_eq!((&first["state"], &first["acknowledged_by"]), (&json!("closed"), &json!(BY)));
    county.take(at(801), vec![envelope(Lane::Urgent, 3, again)]);
    assert_eq!(told(&county)[0], first);
}

#[test]
fn section_9_test_18_an_outage_with_alerts_at_the_edge_is_as_if_the_county_had_been_there() {
    let (_never_away, expected) = county(None);
    let (away, found) = county(Some(ALONE));
    assert_eq!(expected[2].len(), 2, "{expected:#?}");
    for (expected, found) in expected.iter().zip(&found) {
        assert_eq!(same(found), same(expected));
    }
    // Nothing sounds again: what begins an alert is as old as the alert.
    for alert in found.iter().flatten() {
        for entry in alert["timeline"].as_array().unwrap() {
            let begins =
                ["raised", "recurred", "priority_rose"].contains(&entry["what"].as_str().unwrap());
            let at_end = rfc3339(at(ALONE.end).unix_ms());
            assert!(!begins || entry["at"].as_str().unwrap() < at_end.as_str(), "{alert:#}");
        }
    }
    let periods = away.store.read(|connection| {
        let mut periods = connection
            .prepare("SELECT alert = joined, until_ms FROM edge_period ORDER BY from_ms")?;
        let rows = periods.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        rows.collect::<rusqlite::Result<Vec<(bool, Option<i64>)>>>()
    });
    let periods = away.runtime.block_on(periods).unwrap();
    assert_eq!(periods.len(), 2);
    assert!(periods[0].0 && periods[0].1.is_some() && periods[1].0 && periods[1].1.is_none());
}
