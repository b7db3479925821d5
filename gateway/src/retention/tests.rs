//! What is removed, what stays, and what comes once more.

use super::*;
use crate::{
    intake::{Delivery, Taken, take},
    query::{self, ReadingFilter},
};
use model::{
    alarm::{AlarmKind, AlarmPhase, DeviceAlarm},
    id::{Channel, DeviceId, Lane, OutboxId, Seq, SiteId},
    metric::Metric,
    reading::{Reading, ReadingGroup},
    record::Record,
    time::{ClockQuality, Observed},
    units::Unit,
    waveform::{SamplePeriod, WaveformBlock, WaveformFlags},
};
use rules::rule::RuleSet;
use serde_json::Value;
use tempfile::TempDir;
use uplink_proto::envelope::Envelope;

const DAY_MS: i64 = 24 * 3600 * 1000;
/// 2026-11-22T08:15:00Z
const START: WallTime = WallTime::from_unix_ms(1_795_335_300_000);
/// Everything after ten days, results after thirty.
const RETENTION: Retention = Retention {
    waveforms_ms: Some(10 * DAY_MS),
    streams_ms: Some(10 * DAY_MS),
    spots_ms: Some(30 * DAY_MS),
    alarms_ms: Some(10 * DAY_MS),
};

struct County {
    connection: Connection,
    rules: RuleSet,
    folder: TempDir,
}

impl County {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let connection = Store::connection(&folder.path().join("county.sqlite")).unwrap();
        let rules = include_str!("../../../configs/rules/default.json");
        Self { connection, rules: RuleSet::from_json(rules).unwrap(), folder }
    }

    fn take(&self, day: i64, lane: Lane, seq: u64, records: Vec<Record>) -> Taken {
        self.take_at(at(day), lane, seq, records)
    }

    fn take_at(&self, now: WallTime, lane: Lane, seq: u64, records: Vec<Record>) -> Taken {
        let envelope = Envelope {
            outbox: OutboxId::from_bytes([7; 16]),
            lane,
            seq: Seq::new(seq).unwrap(),
            opened_at: START,
            uptime: None,
            records,
        };
        let delivery = Delivery::Envelope(SiteId::new("heping").unwrap(), lane, envelope.encode());
        take(&self.connection, &[delivery], now, &self.rules).unwrap()
    }

    /// Removes all that is old; how many rows of each table.
    fn remove(&self, retention: Retention, day: i64) -> [u64; 3] {
        Table::ALL.map(|table| {
            let (mut after, mut removed) = (Some(0), 0);
            while let Some(behind) = after {
                let step = retention.step(&self.connection, table, behind, at(day)).unwrap();
                assert!(step.after.is_none_or(|next| next > behind));
                (after, removed) = (step.after, removed + step.removed);
            }
            removed
        })
    }

    fn count(&self, table: &str) -> i64 {
        let query = format!("SELECT count(*) FROM {table}");
        self.connection.query_row(&query, [], |row| row.get(0)).unwrap()
    }
}

fn at(day: i64) -> WallTime {
    WallTime::from_unix_ms(START.unix_ms() + day * DAY_MS)
}

fn observed(day: i64) -> Observed {
    Observed { at: at(day), quality: ClockQuality::Synchronised }
}

fn device(name: &str) -> DeviceId {
    DeviceId::new(name).unwrap()
}

fn rate(of: &str, day: i64, value: u32) -> Record {
    let rate = Reading::number(Metric::PULSE_OXIM, value, Unit::PER_MINUTE);
    Record::Readings(ReadingGroup::new(device(of), observed(day), vec![rate]))
}

/// A result so low that an alert is raised and stays open.
fn glucose(of: &str, day: i64) -> Record {
    let result = Reading::number(Metric::GLU_CAP_PL, 50, Unit::MG_PER_DL);
    Record::Readings(ReadingGroup::new(device(of), observed(day), vec![result]))
}

fn block(of: &str, day: i64) -> Record {
    let wave = |metric: &Metric| metric.row().kind == Kind::Wave;
    Record::Waveform(WaveformBlock {
        device: device(of),
        channel: Channel::default(),
        metric: Metric::all().find(wave).unwrap(),
        start: observed(day),
        period: SamplePeriod::new(1, 250).unwrap(),
        scale: None,
        samples: vec![1, -2, 3],
        flags: WaveformFlags::default(),
    })
}

fn alarm(of: &str, day: i64) -> Record {
    Record::Alarm(DeviceAlarm {
        device: device(of),
        channel: Channel::default(),
        phase: AlarmPhase::End,
        kind: AlarmKind::OcclusionDownstream,
        code: "5".into(),
        text: String::new(),
        priority: None,
        latched: false,
        source: None,
        device_time: None,
        observed: observed(day),
    })
}

#[test]
fn what_is_old_goes_by_its_kind_and_the_newest_of_a_series_stays() {
    let county = County::new();
    county.take(0, Lane::Trend, 1, vec![rate("a", 0, 72), rate("a", 0, 73)]);
    county.take(0, Lane::Wave, 1, vec![block("a", 0)]);
    county.take(0, Lane::Urgent, 1, vec![alarm("a", 0)]);
    county.take(9, Lane::Trend, 2, vec![rate("b", 9, 74), rate("b", 9, 75)]);
    county.take(9, Lane::Wave, 2, vec![block("a", 9)]);
    assert_eq!(county.remove(Retention::default(), 1000), [0; 3]);
    assert!(Retention::default().keeps_all() && !RETENTION.keeps_all());
    assert_eq!(county.remove(RETENTION, 9), [0; 3]);
    // 73 is what the tile of a shows.
    assert_eq!(county.remove(RETENTION, 10), [1, 1, 1]);
    assert_eq!(county.remove(RETENTION, 10), [0; 3]);
    assert_eq!(county.remove(RETENTION, 19), [1, 1, 0]);
    let values = "SELECT group_concat(said) FROM reading_group";
    let values: String = county.connection.query_row(values, [], |row| row.get(0)).unwrap();
    assert_eq!(values, r#"["73"],["75"]"#);
}

#[test]
fn what_an_open_alert_may_refer_to_stays_until_it_is_closed() {
    let county = County::new();
    let readings = |of: &str, day| vec![rate(of, day, 72), rate(of, day, 73)];
    county.take(0, Lane::Trend, 1, readings("a", 0));
    county.take(2, Lane::Trend, 2, readings("a", 2));
    county.take(2, Lane::Trend, 3, readings("b", 2));
    county.take(2, Lane::Wave, 1, vec![block("a", 2)]);
    let taken = county.take(3, Lane::Urgent, 1, vec![glucose("a", 3)]);
    assert_eq!(taken.alerts.len(), 1);
    // Of a only what is older than a day before the alert; of b all but its newest.
    assert_eq!(county.remove(RETENTION, 100), [0, 3, 0]);
    assert_eq!(county.count("alert"), 1);
    county.connection.execute("UPDATE alert SET state = 'closed'", []).unwrap();
    assert_eq!(county.remove(RETENTION, 100), [1, 1, 0]);
    assert_eq!(county.count("alert"), 1);
}

/// So many seconds after a day begins.
fn second(day: i64, second: i64) -> WallTime {
    WallTime::from_unix_ms(at(day).unix_ms() + second * 1000)
}

/// A block of a second that begins so many seconds after a day's alarm.
fn block_at(of: &str, day: i64, from: i64) -> Record {
    let Record::Waveform(mut block) = block(of, day) else { unreachable!() };
    block.start.at = second(day, from);
    Record::Waveform(block)
}

fn begins(of: &str, day: i64, kind: AlarmKind) -> Record {
    let Record::Alarm(alarm) = alarm(of, day) else { unreachable!() };
    Record::Alarm(DeviceAlarm { phase: AlarmPhase::Start, kind, ..alarm })
}

/// That the age of the patient is unknown is another alert.
const OF_ASYSTOLE: &str = "alert WHERE body ->> '$.family' = 'dev_asystole'";

/// A county that hears that a monitor signals asystole, or does no longer, so many seconds after
/// the fifth day began.
fn asystole(said: &[(&str, i64, AlarmPhase)]) -> County {
    let county = County::new();
    county
        .connection
        .execute_batch(
            "INSERT INTO patient VALUES ('p-1', 'Heping', '{}', NULL, 1, 'li', 0);
             INSERT INTO binding (site, device, patient, from_ms, version, made_by, made_ms, reason)
             VALUES ('heping', 'a', 'p-1', 0, 1, 'li', 0, ''),
               ('heping', 'b', 'p-1', 0, 1, 'li', 0, '');",
        )
        .unwrap();
    for (seq, (of, after, phase)) in (1..).zip(said) {
        let Record::Alarm(mut alarm) = begins(of, 5, AlarmKind::Asystole) else { unreachable!() };
        (alarm.phase, alarm.observed.at) = (*phase, second(5, *after));
        county.take_at(second(5, after + 1), Lane::Urgent, seq, vec![Record::Alarm(alarm)]);
    }
    assert_eq!(county.count(OF_ASYSTOLE), i64::from(!said.is_empty()));
    county
}

/// What is kept for ever of two monitors and of one without an alarm: their seconds.
fn strips(county: &County) -> String {
    for (seq, of) in [(1, "a"), (2, "b"), (3, "c")] {
        let blocks = (-60..240).map(|from| block_at(of, 5, from)).collect();
        county.take(6, Lane::Wave, seq, blocks);
    }
    county.connection.execute("UPDATE alert SET state = 'closed'", []).unwrap();
    let removed = county.remove(RETENTION, 16);
    assert_eq!(county.remove(RETENTION, 5000)[0], 0, "{removed:?}");
    let kept = "SELECT group_concat(device || ' ' || first || '..' || last, ', '
        ORDER BY device, first) FROM (
          SELECT device, min(begins) AS first, max(begins) AS last FROM (
            SELECT device, (start_ms - ?1) / 1000 AS begins,
              row_number() OVER (PARTITION BY device ORDER BY start_ms) AS place FROM waveform
          ) GROUP BY device, begins - place)";
    county.connection.query_row(kept, [at(5).unix_ms()], |row| row.get(0)).unwrap()
}

#[test]
fn the_strip_of_an_alert_is_kept_as_the_alert_is_and_no_second_more() {
    let county = County::new();
    // Asystole keeps 10 s before and 20 s after; a pause has no strip, and another device no alert.
    county.take(5, Lane::Urgent, 1, vec![begins("a", 5, AlarmKind::Asystole)]);
    county.take(5, Lane::Urgent, 2, vec![begins("b", 5, AlarmKind::Pause)]);
    assert_eq!(county.count("alert"), 2);
    assert_eq!(strips(&county), "a -10..19");
}

#[test]
fn a_strip_stays_whatever_the_rules_become() {
    let mut county = asystole(&[("a", 0, AlarmPhase::Start)]);
    let rules = include_str!("../../../configs/rules/default.json");
    let without = rules.replace(r#""strip": {"before_s": 10, "after_s": 20}, "#, "");
    county.rules = RuleSet::from_json(&without).unwrap();
    assert_eq!(county.rules.strip("DEV-ASYSTOLE"), None);
    assert_eq!(strips(&county), "a -10..19");
}

#[test]
fn an_alert_that_does_not_say_its_rules_keeps_its_strip_and_nothing_else() {
    let county = asystole(&[("a", 0, AlarmPhase::Start)]);
    county.connection.execute("UPDATE alert SET body = '{}'", []).unwrap();
    assert_eq!(strips(&county), "a -10..19");
}

#[test]
fn each_monitor_that_signals_what_an_alert_is_about_has_a_strip() {
    use AlarmPhase::{End, Start};
    let county = asystole(&[("a", 0, Start), ("b", 60, Start), ("a", 70, End)]);
    let device = format!("SELECT device FROM {OF_ASYSTOLE}");
    let device: String = county.connection.query_row(&device, [], |row| row.get(0)).unwrap();
    assert_eq!(device, "b");
    assert_eq!(strips(&county), "a -10..19, b 50..79");
}

#[test]
fn an_alert_that_comes_back_has_a_strip_each_time() {
    use AlarmPhase::{End, Start};
    let county = asystole(&[("a", 0, Start), ("a", 30, End), ("a", 120, Start)]);
    assert_eq!(strips(&county), "a -10..19, a 110..139");
}

#[test]
fn an_alarm_that_stands_and_is_said_again_has_no_strip_each_time() {
    use AlarmPhase::Start;
    let county =
        asystole(&[("a", 0, Start), ("a", 40, Start), ("a", 100, Start), ("a", 200, Start)]);
    assert_eq!(strips(&county), "a -10..19");
}

#[test]
fn an_alarm_that_came_and_went_in_one_word_of_its_box_has_one_strip() {
    let county = asystole(&[]);
    let word = |after, phase| {
        let Record::Alarm(mut alarm) = begins("a", 5, AlarmKind::Asystole) else { unreachable!() };
        (alarm.phase, alarm.observed.at) = (phase, second(5, after));
        Record::Alarm(alarm)
    };
    let both = vec![word(0, AlarmPhase::Start), word(50, AlarmPhase::End)];
    county.take_at(second(5, 51), Lane::Urgent, 1, both);
    assert_eq!(strips(&county), "a -10..19");
}

#[test]
fn an_alarm_whose_begin_was_lost_has_a_strip() {
    use AlarmPhase::Update;
    let county = asystole(&[("a", 0, Update), ("a", 90, Update)]);
    assert_eq!(strips(&county), "a -10..19");
}

#[test]
fn results_are_kept_longer_than_what_repeats() {
    let county = County::new();
    county.take(0, Lane::Urgent, 1, vec![glucose("a", 0), glucose("b", 0)]);
    county.take(1, Lane::Urgent, 2, vec![glucose("a", 1), glucose("b", 1)]);
    county.connection.execute("UPDATE alert SET state = 'closed'", []).unwrap();
    assert_eq!(county.remove(RETENTION, 29), [0; 3]);
    assert_eq!(county.remove(RETENTION, 30), [0, 2, 0]);
    let forever = Retention { spots_ms: None, ..RETENTION };
    assert_eq!(county.remove(forever, 1000), [0; 3]);
}

#[test]
fn of_a_result_that_was_said_several_times_one_that_is_kept_has_no_mark() {
    let county = County::new();
    let result = |day, number| {
        let Record::Readings(mut group) = glucose("a", day) else { unreachable!() };
        group.device_seq = Some(number);
        vec![Record::Readings(group)]
    };
    for (day, seq, number) in [(0, 1, 21), (10, 2, 21), (20, 3, 21), (21, 4, 22)] {
        county.take(day, Lane::Urgent, seq, result(day, number));
    }
    county.connection.execute("UPDATE alert SET state = 'closed'", []).unwrap();
    let marks = || {
        let filter = ReadingFilter { limit: 10, ..ReadingFilter::default() };
        let told = query::readings(&county.connection, &filter).unwrap();
        let one = |told: &Value| (told["seq"].as_u64(), told["duplicate_of"].clone());
        let told: Vec<_> = told["readings"].as_array().unwrap().iter().map(one).collect();
        serde_json::to_string(&told).unwrap().replace(&"07".repeat(16), "o")
    };
    let first = r#"[1,null],[2,"o/urgent/1/0"],[3,"o/urgent/1/0"]"#;
    assert_eq!(marks(), format!("[{first},[4,null]]"));
    assert_eq!(county.remove(RETENTION, 30), [0, 1, 0]);
    assert_eq!(marks(), r#"[[2,null],[3,"o/urgent/2/0"],[4,null]]"#);
    assert_eq!(county.remove(RETENTION, 40), [0, 1, 0]);
    assert_eq!(marks(), "[[3,null],[4,null]]");
    // What comes once more repeats the one that is kept.
    county.take(41, Lane::Urgent, 5, result(41, 21));
    assert_eq!(marks(), r#"[[3,null],[4,null],[5,"o/urgent/3/0"]]"#);
}

#[test]
fn what_was_removed_and_comes_once_more_is_a_duplicate() {
    let county = County::new();
    let records = || vec![rate("a", 0, 72), rate("a", 0, 73), block("a", 0)];
    county.take(0, Lane::Trend, 1, records());
    assert_eq!(county.remove(RETENTION, 50), [1, 1, 0]);
    let again = county.take(50, Lane::Trend, 1, records());
    assert_eq!((again.counts.new, again.counts.duplicate), (0, 1));
    assert_eq!((county.count("reading_group"), county.count("waveform")), (1, 0));
    assert!(!again.acks.is_empty());
}

#[test]
fn a_step_is_bounded_and_the_next_goes_on_behind_it() {
    let county = County::new();
    let many = i64::from(STEP_ROWS) * 2 + 10;
    let readings = (0..many).map(|_| rate("a", 0, 72)).collect();
    county.take(0, Lane::Trend, 1, readings);
    let first = RETENTION.step(&county.connection, Table::Reading, 0, at(10)).unwrap();
    assert_eq!(first.after, Some(i64::from(STEP_ROWS)));
    assert_eq!(first.removed, u64::from(STEP_ROWS));
    assert_eq!(county.remove(RETENTION, 10), [0, u64::from(STEP_ROWS) + 9, 0]);
    assert_eq!(county.count("reading_group"), 1);
}

#[tokio::test]
async fn what_stays_for_ever_is_looked_at_once() {
    let county = County::new();
    county.take(-1000, Lane::Urgent, 1, vec![begins("a", -1000, AlarmKind::Asystole)]);
    for (seq, of) in [(1, "a"), (2, "b")] {
        let blocks = (-60..60).map(|from| block_at(of, -1000, from)).collect();
        county.take(-999, Lane::Wave, seq, blocks);
    }
    let store = Store::open(&county.folder.path().join("county.sqlite")).unwrap();
    let mut settled = 0;
    // The alert is open: all of its device stays, for now.
    assert_eq!(pass(&store, RETENTION, Table::Waveform, &mut settled).await.unwrap(), 120);
    assert_eq!(settled, 0);
    county.connection.execute("UPDATE alert SET state = 'closed'", []).unwrap();
    assert_eq!(pass(&store, RETENTION, Table::Waveform, &mut settled).await.unwrap(), 90);
    assert_eq!((settled, county.count("waveform")), (80, 30));
    // Whoever looked at it once more would remove it.
    county.connection.execute("DELETE FROM strip", []).unwrap();
    assert_eq!(pass(&store, RETENTION, Table::Waveform, &mut settled).await.unwrap(), 0);
    assert_eq!(pass(&store, RETENTION, Table::Waveform, &mut 0).await.unwrap(), 30);
}

#[tokio::test]
async fn it_runs_until_it_is_stopped() {
    let county = County::new();
    // Years before the county's clock says now.
    county.take(-1000, Lane::Trend, 1, vec![rate("a", -1000, 72), rate("a", -1000, 73)]);
    let store = Store::open(&county.folder.path().join("county.sqlite")).unwrap();
    assert_eq!(pass(&store, RETENTION, Table::Reading, &mut 0).await.unwrap(), 1);
    let stopped = CancellationToken::new();
    stopped.cancel();
    run(store, RETENTION, stopped).await;
}
