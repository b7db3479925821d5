//! What a pass and a preview cost: figures of `tests/bench/RESULTS.md`.
//!
//! ```sh
//! LATE_HOURS=24 cargo test --release -p gateway --lib what_a_pass -- --nocapture
//! LATE_HOURS=24 LATE_SITES=10 cargo test --release -p gateway --lib what_a_preview -- --nocapture
//! ```

#![expect(clippy::print_stdout, reason = "figures for whoever runs it with --nocapture")]

use super::*;
use crate::rule_sets::preview::job::preview;
use std::{env, fs};

/// The site of the budgets: 20 devices, of which four repeat each second.
const MONITORS: i64 = 4;
const METERS: i64 = 16;

/// What the site says in a second, with an episode of a minute each hour.
fn second(second: i64) -> Vec<Record> {
    let low = second % HOUR < MINUTE;
    let mut said = Vec::new();
    for monitor in 0..MONITORS {
        let device = DeviceId::new(&format!("monitor-{monitor:02}")).unwrap();
        let of = |metric, value: i32, unit| Reading::number(metric, value, unit);
        let readings = vec![
            of(Metric::HR, if low { 36 } else { 72 }, Unit::PER_MINUTE),
            of(Metric::SPO2, 97, Unit::PERCENT),
            of(Metric::RR_IMP, 15, Unit::PER_MINUTE),
        ];
        said.push(Record::Readings(ReadingGroup::new(device, observed(second), readings)));
    }
    if second % (15 * MINUTE) == 0 {
        for meter in 0..METERS {
            let device = DeviceId::new(&format!("meter-{meter:02}")).unwrap();
            let reading = Reading::number(Metric::GLU_CAP_PL, 100, Unit::MG_PER_DL);
            let group = ReadingGroup::new(device, observed(second), vec![reading]);
            let civil_ms = at(second).unix_ms();
            let stamp = Some(DeviceTime::Zoned { civil_ms, offset_s: 0 });
            said.push(Record::Readings(group.at_device_time(stamp)));
        }
    }
    said
}

/// CPU milliseconds of this process.
fn spent_ms() -> u64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    // utime and stime stand behind the name, which is in brackets, the state and ten other fields.
    let fields = stat.rsplit(')').next().unwrap().split_whitespace();
    fields.skip(11).take(2).map(|ticks| ticks.parse::<u64>().unwrap() * 10).sum()
}

fn of_environment(name: &str) -> i64 {
    env::var(name).map_or(1, |text| text.parse().unwrap())
}

/// What is stored of one site, once more under another name.
fn copy_site(connection: &Connection, number: i64) {
    let far = number * 100_000_000;
    let copy = |table: &str, change: String| {
        let statements = format!(
            "CREATE TEMP TABLE copy AS SELECT * FROM {table} WHERE {change}
             INSERT INTO main.{table} SELECT * FROM copy; DROP TABLE copy;"
        );
        connection.execute_batch(&statements).unwrap();
    };
    let name = format!("site = 'heping'; UPDATE copy SET site = 'heping-{number}'");
    copy("device", format!("{name};"));
    copy("source", format!("{name}, id = id + {far};"));
    copy("outbox_lane", format!("{name}, id = id + {far};"));
    copy(
        "reading_group",
        format!(
            "id < 100000000; UPDATE copy SET id = id + {far}, source = source + {far},
               outbox_lane = outbox_lane + {far};"
        ),
    );
    copy(
        "spot",
        format!(
            "reading_group < 100000000; UPDATE copy SET reading_group = reading_group + {far},
               outbox_lane = outbox_lane + {far};"
        ),
    );
}

#[test]
fn what_a_pass_costs() {
    let hours = of_environment("LATE_HOURS");
    let mut county = County::new();
    let now = hours * HOUR + 2 * MINUTE;
    let mut groups = 0;
    for part in 0..hours * HOUR / MINUTE {
        let records: Vec<Record> = (part * MINUTE..(part + 1) * MINUTE).flat_map(second).collect();
        groups += records.len();
        county.hear(now, records);
    }
    county.hear(now + 1, second(now + 1));
    let due: Vec<_> = county.due(now + DAY);
    let (mut steps_ms, mut writes_ms) = (Vec::new(), Vec::new());
    let (began, before_ms) = (clock::instant(), spent_ms());
    let mut connection = Store::connection(&county.path()).unwrap();
    for device in &due {
        let device = DeviceId::new(device).unwrap();
        let mut measured = |work: &mut dyn FnMut(&mut Connection), into: &mut Vec<u128>| {
            let began = clock::instant();
            work(&mut connection);
            into.push(began.elapsed().as_millis());
        };
        let mut devices = Vec::new();
        measured(
            &mut |connection| {
                let transaction = connection.transaction().unwrap();
                devices = pass::take(&transaction, &site(), &device).unwrap();
                transaction.commit().unwrap();
            },
            &mut writes_ms,
        );
        let (rules, now) = (&county.rules, at(now + 20));
        let mut done = Vec::new();
        let mut parts = Vec::new();
        measured(
            &mut |connection| parts = pass::parts(connection, &site(), &devices).unwrap(),
            &mut steps_ms,
        );
        for part in parts {
            let mut work = None;
            measured(
                &mut |connection| {
                    let context = alerts::Context { connection, rules, now };
                    work = Some(pass::begin(context, &site(), part.clone()).unwrap());
                },
                &mut steps_ms,
            );
            let mut work = work.unwrap();
            while work.is_under_way() {
                measured(&mut |connection| work.step(connection, rules).unwrap(), &mut steps_ms);
            }
            done.push(work);
        }
        measured(
            &mut |connection| {
                let transaction = connection.transaction().unwrap();
                let context = alerts::Context { connection: &transaction, rules, now };
                let (devices, done) = (std::mem::take(&mut devices), std::mem::take(&mut done));
                pass::end(context, &site(), devices, done).unwrap();
                transaction.commit().unwrap();
            },
            &mut writes_ms,
        );
    }
    let took = began.elapsed();
    let largest = |times: &[u128]| times.iter().copied().max().unwrap_or_default();
    let figures = json!({
        "hours": hours, "devices": due.len(), "groups": groups,
        "whole_ms": took.as_millis(), "cpu_ms": spent_ms() - before_ms,
        "step_ms_max": largest(&steps_ms), "writer_held_ms_max": largest(&writes_ms),
        "alerts": county.alerts().len(),
    });
    println!("{figures}");
    // Of each monitor the worst episode.
    assert_eq!((due.len(), county.alerts().len()), (20, 4));
}

#[test]
fn what_a_preview_costs() {
    let (hours, sites) = (of_environment("LATE_HOURS"), of_environment("LATE_SITES"));
    let mut county = County::new();
    for part in 0..hours * HOUR / MINUTE {
        let records: Vec<Record> = (part * MINUTE..(part + 1) * MINUTE).flat_map(second).collect();
        county.hear((part + 1) * MINUTE, records);
    }
    let connection = Store::connection(&county.path()).unwrap();
    (1..sites).for_each(|number| copy_site(&connection, number));
    drop(connection);
    let mut asked: Value =
        serde_json::from_str(include_str!("../../../../configs/rules/default.json")).unwrap();
    let rules = asked["rules"].as_array_mut().unwrap().iter_mut();
    let lowest = rules.filter(|rule| rule["id"] == "HR-AD-LL");
    lowest.for_each(|rule| rule["threshold"]["base"] = json!(38));
    let asked = RuleSet::from_json(&asked.to_string()).unwrap();
    let sets = [Arc::new(asked), Arc::clone(&county.rules)];
    let (began, before_ms) = (clock::instant(), spent_ms());
    let now = at(hours * HOUR);
    let told = preview(&county.store, sets, Arc::default(), now);
    let told = county.runtime.block_on(told).unwrap();
    let took_ms = began.elapsed().as_millis();
    let readings = told["readings"].as_u64().unwrap();
    let figures = json!({
        "hours": hours, "sites": sites, "readings": readings, "whole_ms": took_ms,
        "cpu_ms": spent_ms() - before_ms,
        "readings_per_s": u128::from(readings) * 1000 / took_ms.max(1),
        "alerts": told["live"]["alerts"]["all"],
    });
    println!("{figures}");
    // Each monitor tells three values a second, each meter one a quarter of an hour; of each monitor
    // an episode each hour.
    let expected = sites * (hours * HOUR * MONITORS * 3 + hours * 4 * METERS);
    assert_eq!(
        (readings, &told["live"]["alerts"]["all"]),
        (expected.unsigned_abs(), &json!(sites * hours * MONITORS))
    );
    assert_eq!(told["asked"]["alerts"], told["live"]["alerts"]);
}
