//! Late data, row by row, at a county with a database of its own.

mod cost;
mod limits;
mod patients;

use super::*;
use crate::{
    alerts::{
        self,
        act::{self, Deed},
    },
    intake::{Delivery, Taken, take},
    query,
    store::Store,
};
use model::{
    alarm::{AlarmKind, AlarmPhase, DeviceAlarm},
    device::{DeviceKind, DeviceState, DeviceStatus},
    id::{Channel, Seq},
    metric::Metric,
    reading::{Occurrence, Reading, ReadingGroup},
    record::Record,
    time::{ClockQuality, DeviceTime, Observed},
    units::Unit,
};
use rules::{alert::AckReason, engine::Action, rule::RuleSet};
use std::{path::Path, sync::Arc};
use uplink_proto::{
    envelope::Envelope,
    state::{SiteState, Upkeep},
};

const BASE_MS: i64 = 1_795_335_300_000;
const OUTBOX: OutboxId = OutboxId::from_bytes([1; 16]);
const MINUTE: i64 = 60;
const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;

fn at(second: i64) -> WallTime {
    WallTime::from_unix_ms(BASE_MS + second * 1000)
}

fn time(second: i64) -> Value {
    json!(rfc3339(at(second).unix_ms()))
}

/// A county and the one site it hears of.
struct County {
    runtime: tokio::runtime::Runtime,
    store: Store,
    rules: Arc<RuleSet>,
    folder: tempfile::TempDir,
    seq: [u64; 3],
    connection: u64,
}

impl County {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let rules = include_str!("../../../configs/rules/default.json");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let store = Store::open(&folder.path().join("county.sqlite")).unwrap();
        let rules = Arc::new(RuleSet::from_json(rules).unwrap());
        let mut county = Self { runtime, store, rules, folder, seq: [0; 3], connection: 0 };
        let said = [("ecg-01", DeviceKind::Monitor), ("glu-01", DeviceKind::GlucoseMeter)];
        let statuses = said.map(|(device, kind)| status(device, kind));
        county.hear(0, statuses.into());
        county
    }

    fn path(&self) -> std::path::PathBuf {
        self.folder.path().join("county.sqlite")
    }

    /// The county starts anew.
    fn restart(&mut self) {
        self.store = Store::open(&self.path()).unwrap();
    }

    fn envelope(&mut self, lane: Lane, records: Vec<Record>) -> Delivery {
        let place = Lane::ALL.iter().position(|known| *known == lane).unwrap();
        self.seq[place] += 1;
        envelope(lane, self.seq[place], records)
    }

    fn take(&self, now: i64, deliveries: Vec<Delivery>) -> Taken {
        let rules = Arc::clone(&self.rules);
        let taking =
            self.store.write(move |transaction| take(transaction, &deliveries, at(now), &rules));
        self.runtime.block_on(taking).unwrap()
    }

    /// Records that come at that moment, each in the lane of its kind; the alerts that changed.
    fn hear(&mut self, now: i64, records: Vec<Record>) -> Vec<Value> {
        let is_trend = |record: &Record| match record {
            Record::Readings(group) => group.occurrence == Occurrence::Stream,
            _ => false,
        };
        let (trend, urgent): (Vec<_>, Vec<_>) = records.into_iter().partition(is_trend);
        let mut deliveries = Vec::new();
        for (lane, records) in [(Lane::Urgent, urgent), (Lane::Trend, trend)] {
            for part in records.chunks(200) {
                let delivery = self.envelope(lane, part.to_vec());
                deliveries.push(delivery);
            }
        }
        self.take(now, deliveries).alerts
    }

    fn state(&mut self, now: i64, online: bool, backlog: [u64; 3]) -> Vec<Value> {
        self.connection += u64::from(online);
        let state = SiteState {
            online,
            connection: self.connection,
            agent_version: "0.1.0".into(),
            policy: None,
            upkeep: Upkeep::default(),
            outbox: OUTBOX,
            backlog,
            holds_s: None,
            clock: ClockQuality::Synchronised,
            clock_evidence: String::new(),
            at: at(now),
            uptime: None,
        };
        let delivery = Delivery::State { site: site(), bytes: state.encode(), retained: false };
        self.take(now, vec![delivery]).sites
    }

    fn due(&self, now: i64) -> Vec<String> {
        let due = self.store.read(move |connection| due(connection, at(now)));
        let due = self.runtime.block_on(due).unwrap();
        due.into_iter().map(|(_, device)| device.to_string()).collect()
    }

    /// Goes over everything that is due at that moment; the alerts that changed.
    fn pass(&self, now: i64) -> Vec<Value> {
        let mut told = Vec::new();
        for device in self.due(now) {
            let device = DeviceId::new(&device).unwrap();
            let (rules, moment) = (Arc::clone(&self.rules), at(now));
            let passed = pass::pass(&self.store, rules, site(), device, move || moment);
            told.extend(self.runtime.block_on(passed).unwrap().alerts);
        }
        told
    }

    fn alerts(&self) -> Vec<Value> {
        let filter = query::AlertFilter::default();
        let asking =
            self.store.read(move |connection| query::alerts(connection, &filter, &BTreeMap::new()));
        let answer = self.runtime.block_on(asking).unwrap();
        answer["alerts"].as_array().unwrap().clone()
    }

    /// The one alert of a family.
    #[track_caller]
    fn of(&self, family: &str) -> Value {
        let mut alerts = self.alerts();
        alerts.retain(|alert| alert["family"] == family);
        assert_eq!(alerts.len(), 1, "{alerts:#?}");
        alerts.remove(0)
    }

    fn site(&self) -> Value {
        let asking =
            self.store.read(|connection| query::sites(connection, &BTreeMap::new(), at(0)));
        self.runtime.block_on(asking).unwrap()["sites"][0].clone()
    }

    fn acknowledge(&self, now: i64, alert: &Value) -> Value {
        let id = rules::alert::AlertId::from_hex(alert["id"].as_str().unwrap()).unwrap();
        let (rules, by) = (Arc::clone(&self.rules), "nurse.li".to_owned());
        let (reason, note) = (AckReason::AtBedside, String::new());
        let deed = Deed::Alert(Action::Acknowledge { reason, note });
        let done = act::act(&self.store, rules, id, by, deed, at(now));
        self.runtime.block_on(done).unwrap().unwrap().alert
    }
}

fn site() -> SiteId {
    SiteId::new("heping").unwrap()
}

fn envelope(lane: Lane, seq: u64, records: Vec<Record>) -> Delivery {
    let seq = Seq::new(seq).unwrap();
    let envelope = Envelope { outbox: OUTBOX, lane, seq, opened_at: at(0), uptime: None, records };
    Delivery::Envelope(site(), lane, envelope.encode())
}

fn observed(second: i64) -> Observed {
    Observed { at: at(second), quality: ClockQuality::Synchronised }
}

fn status(device: &str, kind: DeviceKind) -> Record {
    Record::Status(DeviceStatus {
        device: DeviceId::new(device).unwrap(),
        kind,
        driver: "test".into(),
        state: DeviceState::Online,
        reason: String::new(),
        about: BTreeMap::new(),
        expected_interval_ms: None,
        observed: observed(0),
    })
}

fn of_monitor(second: i64, metric: Metric, value: i32, unit: Unit) -> Record {
    let reading = Reading::number(metric, value, unit);
    let device = DeviceId::new("ecg-01").unwrap();
    Record::Readings(ReadingGroup::new(device, observed(second), vec![reading]))
}

fn spo2(seconds: std::ops::Range<i64>, value: i32) -> Vec<Record> {
    seconds.map(|second| of_monitor(second, Metric::SPO2, value, Unit::PERCENT)).collect()
}

fn heart_rate(seconds: std::ops::Range<i64>, value: i32) -> Vec<Record> {
    seconds.map(|second| of_monitor(second, Metric::HR, value, Unit::PER_MINUTE)).collect()
}

/// What a meter that was read out at that moment remembers of another one, in mg/dL.
fn glucose(heard: i64, measured: i64, value: i32) -> Record {
    let reading = Reading::number(Metric::GLU_CAP_PL, value, Unit::MG_PER_DL);
    let civil_ms = at(measured).unix_ms();
    let device = DeviceId::new("glu-01").unwrap();
    let group = ReadingGroup::new(device, observed(heard), vec![reading]);
    Record::Readings(group.at_device_time(Some(DeviceTime::Zoned { civil_ms, offset_s: 0 })))
}

fn alarm(second: i64, kind: AlarmKind, phase: AlarmPhase) -> Record {
    Record::Alarm(DeviceAlarm {
        device: DeviceId::new("ecg-01").unwrap(),
        channel: Channel::default(),
        phase,
        kind,
        code: kind.rule_id().to_owned(),
        text: String::new(),
        priority: None,
        latched: false,
        source: None,
        device_time: None,
        observed: observed(second),
    })
}

/// What happened to an alert.
fn story(alert: &Value) -> Vec<&str> {
    alert["timeline"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["what"].as_str().unwrap())
        .collect()
}

/// A county whose site was out of reach for 20 minutes from the second minute on, and in them the
/// saturation of 82 for five minutes from minute 10 on; since then `later`, and at the end what
/// comes fresh.
fn after_an_outage(later: i32) -> (County, i64) {
    let mut county = County::new();
    for second in 0..2 * MINUTE {
        county.hear(second, spo2(second..second + 1, 97));
    }
    let until = 22 * MINUTE;
    let kept = [
        spo2(2 * MINUTE..10 * MINUTE, 97),
        spo2(10 * MINUTE..15 * MINUTE, 82),
        spo2(15 * MINUTE..until, later),
    ];
    let kept: Vec<Record> = kept.into_iter().flatten().collect();
    // The last five minutes come first.
    let (older, newest) = kept.split_at(kept.len() - 300);
    county.hear(until, newest.to_vec());
    county.hear(until + 1, older.to_vec());
    (county, until)
}

#[test]
fn row_1_what_is_fresh_is_judged_as_ever_and_waits_for_no_pass() {
    let mut county = County::new();
    for second in 0..12 {
        county.hear(second + 60, heart_rate(second..second + 1, 36));
    }
    let alert = county.of("hr_low");
    assert_eq!((&alert["state"], &alert["late_row"]), (&json!("active_unack"), &Value::Null));
    assert!(county.due(DAY).is_empty());
    assert_eq!(county.site_told()["late"], Value::Null);
}

impl County {
    /// Its entry in the list of sites.
    fn site_told(&mut self) -> Value {
        self.state(0, true, [0; 3]);
        self.site()
    }
}

#[test]
fn row_2_late_hits_are_told_without_a_sound() {
    let mut county = County::new();
    county.hear(0, heart_rate(0..1, 72));
    // Nobody heard it for two minutes, and the rate is low still: medium does not sound.
    let mut late = heart_rate(1..60, 72);
    late.extend(heart_rate(60..120, 45));
    county.hear(180, late);
    county.hear(181, heart_rate(181..182, 45));
    assert!(county.alerts().is_empty());
    let told = county.pass(200);
    assert_eq!(told.len(), 1);
    let alert = county.of("hr_low");
    let expected = json!(["cleared_unack", "medium", true, 2, time(60), "45"]);
    let found = ["state", "priority", "retro", "late_row", "started_at", "value"];
    assert_eq!(json!(found.map(|key| &alert[key])), expected);
    assert_eq!(story(&alert), ["raised_late"]);
    assert_eq!(alert["message_zh"], "心率低,补传数据,发生于 16:16");
    assert_eq!(alert["message_en"], "Heart rate low, sent late, occurred at 16:16");
    // Fresh values complete it: it is the same alert, and sounds.
    for second in 182..220 {
        county.hear(second, heart_rate(second..second + 1, 45));
    }
    let alert = county.of("hr_low");
    assert_eq!(
        (&alert["state"], story(&alert)),
        (&json!("active_unack"), vec!["raised_late", "recurred"])
    );
    assert_eq!(alert["started_at"], time(60));
}

#[test]
fn row_3_of_what_is_backfilled_only_the_worst_of_a_rule_is_told() {
    let mut county = County::new();
    let results = [50, 46, 52, 100, 44, 48, 90, 95];
    let old = |(hours, value): (i64, &i32)| glucose(DAY * 4, DAY + hours * HOUR, *value);
    county.hear(DAY * 4, (0..).zip(&results).map(old).collect());
    assert!(county.alerts().is_empty());
    county.pass(DAY * 4 + 10);
    let alert = county.of("glucose_low");
    let found = ["state", "late_row", "value", "started_at", "retro"];
    // 44 mg/dL are 2.4 mmol/L.
    let expected = json!(["cleared_unack", 3, "2.4", time(DAY + 4 * HOUR), true]);
    assert_eq!(json!(found.map(|key| &alert[key])), expected);
    let late = county.site_told()["late"].clone();
    assert_eq!(json!([late["readings"], late["alerts"], late["left_out"]]), json!([8, 1, 1]));
}

#[test]
fn row_4_what_is_high_and_holds_still_sounds_from_its_begin() {
    let mut county = County::new();
    county.hear(0, heart_rate(0..1, 72));
    county.hear(180, heart_rate(60..120, 36));
    county.hear(181, heart_rate(180..182, 36));
    assert!(county.alerts().is_empty());
    county.pass(200);
    let alert = county.of("hr_low");
    let found = ["state", "late_row", "started_at", "retro", "priority"];
    let expected = json!(["active_unack", 4, time(60), false, "high"]);
    assert_eq!(json!(found.map(|key| &alert[key])), expected);
    assert_eq!(story(&alert), ["raised"]);
    // And it lives on as any other.
    for second in 182..230 {
        county.hear(second, heart_rate(second..second + 1, 72));
    }
    let alert = county.of("hr_low");
    assert_eq!(
        (&alert["state"], story(&alert)),
        (&json!("cleared_unack"), vec!["raised", "cleared"])
    );
}

#[test]
fn row_5_a_late_result_that_is_the_newest_sounds_once_and_asks_for_another() {
    let mut county = County::new();
    let now = 3 * HOUR;
    let told = county.hear(now, vec![glucose(now, now - 137 * MINUTE, 53)]);
    assert_eq!((told.len(), &told[0]["late_row"]), (1, &json!(5)));
    assert_eq!(told[0]["message_zh"], "低血糖2级,测于 2小时17分前,请立即复测");
    assert_eq!(
        told[0]["message_en"],
        "Hypoglycaemia level 2, measured 2 h 17 min ago, measure again now"
    );
    assert_eq!(told[0]["raised_at"], time(now));
    // The pass finds the same, and says nothing.
    assert!(county.pass(now + 20).is_empty());
    assert_eq!(story(&county.of("glucose_low")), ["raised"]);
    // One that is older than four hours does not sound.
    let mut county = County::new();
    let now = DAY;
    assert!(county.hear(now, vec![glucose(now, now - 5 * HOUR, 53)]).is_empty());
    county.pass(now + 20);
    let alert = county.of("glucose_low");
    assert_eq!((&alert["late_row"], story(&alert)), (&json!(2), vec!["raised_late"]));
}

#[test]
fn row_6_what_is_over_waits_for_a_person_without_a_sound() {
    let (county, until) = after_an_outage(97);
    let told = county.pass(until + 20);
    assert_eq!(told.len(), 1);
    let alert = county.of("spo2_low");
    let found = ["state", "late_row", "priority"];
    assert_eq!(json!(found.map(|key| &alert[key])), json!(["cleared_unack", 6, "high"]));
    // A medium one does too, and does not close by itself.
    let mut county = County::new();
    county.hear(0, heart_rate(0..1, 72));
    let mut late = heart_rate(1..60, 45);
    late.extend(heart_rate(60..120, 72));
    county.hear(180, late);
    county.hear(181, heart_rate(181..182, 72));
    county.pass(200);
    let passing = alerts::pass_time(&county.store, Arc::clone(&county.rules), at(DAY), None);
    assert!(county.runtime.block_on(passing).unwrap().0.is_empty());
    let alert = county.of("hr_low");
    assert_eq!((&alert["state"], &alert["late_row"]), (&json!("cleared_unack"), &json!(6)));
    // Of what repeats also where nothing fresh is known.
    let mut county = County::new();
    county.hear(HOUR, heart_rate(1..60, 36));
    county.pass(HOUR + 20);
    let alert = county.of("hr_low");
    assert_eq!((&alert["state"], &alert["late_row"]), (&json!("cleared_unack"), &json!(6)));
}

#[test]
fn row_7_late_values_clear_nothing() {
    let mut county = County::new();
    for second in 0..12 {
        county.hear(second, heart_rate(second..second + 1, 36));
    }
    county.hear(200, heart_rate(200..201, 36));
    assert_eq!(county.of("hr_low")["state"], "active_unack");
    // It was normal for two minutes, and is low again.
    assert!(county.hear(202, heart_rate(12..130, 72)).is_empty());
    let told = county.pass(220);
    assert!(told.is_empty(), "{told:#?}");
    let alert = county.of("hr_low");
    assert_eq!((&alert["state"], story(&alert)), (&json!("active_unack"), vec!["raised"]));
}

#[test]
fn row_8_late_values_change_no_live_alert() {
    let mut county = County::new();
    for second in 0..12 {
        county.hear(second, heart_rate(second..second + 1, 36));
    }
    let acknowledged = county.acknowledge(12, &county.of("hr_low"));
    for second in 12..60 {
        county.hear(second, heart_rate(second..second + 1, 72));
    }
    assert_eq!(county.of("hr_low")["state"], "closed");
    county.hear(60, heart_rate(60..61, 72));
    // A fast heart that nobody heard: another alert, the closed one stays what it was.
    let mut late = heart_rate(100..140, 160);
    late.extend(heart_rate(140..180, 72));
    county.hear(300, late);
    county.hear(301, heart_rate(301..302, 72));
    county.pass(320);
    let low = county.of("hr_low");
    assert_eq!(
        (&low["state"], &low["acknowledged_by"]),
        (&json!("closed"), &acknowledged["acknowledged_by"])
    );
    assert_eq!(county.of("hr_high")["late_row"], 6);
}

#[test]
fn row_9_what_is_said_again_counts_once() {
    let mut county = County::new();
    let now = DAY;
    for _ in 0..3 {
        county.hear(now, vec![glucose(now, now - 5 * HOUR, 53)]);
    }
    county.pass(now + 20);
    assert_eq!(county.of("glucose_low")["recurrences"], 0);
    assert_eq!(county.site_told()["late"]["readings"], 1);
    // Told after the pass, it needs none.
    county.hear(now + HOUR, vec![glucose(now + HOUR, now - 5 * HOUR, 53)]);
    assert!(county.due(2 * DAY).is_empty());
}

#[test]
fn row_10_what_a_wrong_clock_stamped_is_told_so() {
    let mut county = County::new();
    // The meter's clock was reset to the year 2000.
    let reset = -26 * 8766 * HOUR;
    county.hear(DAY, vec![glucose(DAY, reset, 53)]);
    county.pass(DAY + 20);
    let alert = county.of("glucose_low");
    assert_eq!(alert["time_suspect"], true);
    assert!(alert["message_zh"].as_str().unwrap().contains(",时间存疑,补传数据"));
}

#[test]
fn row_11_a_late_alarm_of_which_the_end_is_known_is_history() {
    let mut county = County::new();
    county.hear(HOUR, vec![alarm(60, AlarmKind::OcclusionDownstream, AlarmPhase::Start)]);
    let alert = county.alerts().remove(0);
    assert_eq!((&alert["state"], &alert["late_row"]), (&json!("unknown"), &json!(11)));
    county.hear(HOUR, vec![alarm(90, AlarmKind::OcclusionDownstream, AlarmPhase::End)]);
    let alert = county.alerts().remove(0);
    assert_eq!((&alert["state"], &alert["retro"]), (&json!("closed"), &json!(true)));
}

#[test]
fn section_9_test_7_a_desaturation_in_an_outage_is_one_silent_entry() {
    let (county, until) = after_an_outage(97);
    assert!(county.alerts().is_empty());
    county.pass(until + 20);
    let alert = county.of("spo2_low");
    assert_eq!((&alert["state"], story(&alert)), (&json!("cleared_unack"), vec!["raised_late"]));
    assert_eq!((&alert["started_at"], &alert["cleared_at"]), (&time(600), &time(915)));
    let acknowledged = county.acknowledge(until + HOUR, &alert);
    assert_eq!(acknowledged["state"], "closed");
}

#[test]
fn section_9_test_8_a_desaturation_that_holds_still_sounds_and_began_in_the_outage() {
    let (mut county, until) = after_an_outage(82);
    for second in until + 1..until + 20 {
        county.hear(second, spo2(second..second + 1, 82));
    }
    // It sounds before the pass, with the begin that is known then.
    let live = county.of("spo2_low");
    assert_eq!(live["state"], "active_unack");
    county.pass(until + 20);
    let alert = county.of("spo2_low");
    assert_eq!(
        json!([alert["state"], alert["started_at"], alert["id"]]),
        json!(["active_unack", time(600), live["id"]])
    );
    assert_eq!(story(&alert), ["raised"]);
    // It is known by the id too that it has where nothing was late.
    let device = "ecg-01";
    let id = rules::alert::AlertId::new(&site(), device, "spo2_low", at(600)).to_string();
    assert_ne!(alert["id"], id.as_str());
    let asking =
        county.store.read(move |connection| query::alert(connection, &id, &BTreeMap::new()));
    assert_eq!(county.runtime.block_on(asking).unwrap().unwrap()["id"], alert["id"]);
}

#[test]
fn section_9_test_12_a_low_glucose_of_this_morning_sounds_once_until_it_is_measured_again() {
    let mut county = County::new();
    let (measured, uploaded) = (HOUR, HOUR + 137 * MINUTE);
    let told = county.hear(uploaded, vec![glucose(uploaded, measured, 53)]);
    assert_eq!(
        json!([told[0]["rules"][0], told[0]["state"]]),
        json!(["GLU-AD-LL", "active_unack"])
    );
    county.pass(uploaded + 20);
    let again = uploaded + 8 * MINUTE;
    let told = county.hear(again, vec![glucose(again, again, 110)]);
    assert_eq!((told.len(), &told[0]["state"]), (1, &json!("cleared_unack")));
    county.pass(again + 20);
    assert_eq!(story(&county.of("glucose_low")), ["raised", "cleared"]);
}

#[test]
fn a_pass_is_due_when_the_gap_is_filled_or_nothing_comes_any_more() {
    let mut county = County::new();
    county.state(0, true, [0; 3]);
    let whole: Vec<Record> = heart_rate(0..60, 72);
    county.take(HOUR, vec![envelope(Lane::Trend, 1, whole[..20].to_vec())]);
    assert!(county.due(HOUR + 9).is_empty());
    assert_eq!(county.due(HOUR + 10), ["ecg-01"]);
    // One is missing: it is waited for, and given up after ten minutes.
    county.take(HOUR + 5, vec![envelope(Lane::Trend, 3, whole[40..].to_vec())]);
    assert!(county.due(HOUR + 604).is_empty());
    assert_eq!(county.due(HOUR + 605), ["ecg-01"]);
    county.take(HOUR + 6, vec![envelope(Lane::Trend, 2, whole[20..40].to_vec())]);
    assert_eq!(county.due(HOUR + 16), ["ecg-01"]);
    county.pass(HOUR + 16);
    assert!(county.due(DAY).is_empty());
    // Ever more comes late: after half an hour it is judged all the same.
    for minute in 0..30 {
        let record = heart_rate(HOUR + minute * 60..HOUR + minute * 60 + 1, 72);
        county.take(
            2 * HOUR + minute * 60,
            vec![envelope(Lane::Trend, 5 + 2 * u64::try_from(minute).unwrap(), record)],
        );
        assert!(county.due(2 * HOUR + minute * 60 + 59).is_empty());
    }
    assert_eq!(county.due(2 * HOUR + 30 * 60), ["ecg-01"]);
}

#[test]
fn a_county_that_stops_in_the_middle_of_a_pass_does_it_again_and_leaves_nothing_twice() {
    let results = |broken_off: bool| {
        let (mut county, until) = after_an_outage(97);
        if broken_off {
            let path = county.path();
            let connection = Store::connection(Path::new(&path)).unwrap();
            let device = DeviceId::new("ecg-01").unwrap();
            let devices = pass::take(&connection, &site(), &device).unwrap();
            let part = pass::parts(&connection, &site(), &devices).unwrap().remove(0);
            let (rules, now) = (&county.rules, at(until));
            let context = alerts::Context { connection: &connection, rules, now };
            let mut work = pass::begin(context, &site(), part).unwrap();
            work.step(&connection, rules).unwrap();
            drop(work);
            county.restart();
            // What comes meanwhile waits for the next pass.
            assert_eq!(county.due(until + 1), ["ecg-01"]);
        }
        county.pass(until + 20);
        assert!(county.due(DAY).is_empty());
        county.pass(until + 40);
        (county.alerts(), county.site_told()["late"].clone())
    };
    assert_eq!(results(true), results(false));
}

#[test]
fn however_late_readings_come_the_alerts_are_the_same() {
    let mut kept = spo2(120..600, 97);
    kept.extend(spo2(600..900, 82));
    kept.extend(spo2(900..1320, 97));
    let alerts = |pieces: usize, backwards: bool| {
        let mut county = County::new();
        county.hear(0, spo2(0..120, 97));
        let mut pieces: Vec<_> = kept.chunks(pieces).map(<[Record]>::to_vec).collect();
        if backwards {
            pieces.reverse();
        }
        for piece in pieces {
            county.hear(1320, piece);
        }
        county.hear(1321, spo2(1321..1322, 97));
        county.pass(1340);
        county.alerts().into_iter().map(|alert| alert["id"].clone()).collect::<Vec<_>>()
    };
    let expected = alerts(1000, false);
    assert_eq!(expected.len(), 1);
    for (pieces, backwards) in [(1000, true), (100, false), (100, true), (7, true)] {
        assert_eq!(alerts(pieces, backwards), expected, "{pieces} {backwards}");
    }
}

#[test]
fn leads_that_were_off_keep_the_pass_from_judging() {
    let mut county = County::new();
    county.hear(0, heart_rate(0..1, 72));
    let mut late = vec![alarm(50, AlarmKind::LeadOff, AlarmPhase::Start)];
    late.extend(heart_rate(50..100, 20));
    late.push(alarm(100, AlarmKind::LeadOff, AlarmPhase::End));
    late.extend(heart_rate(100..200, 72));
    county.hear(300, late);
    county.hear(301, heart_rate(301..302, 72));
    county.pass(320);
    assert!(!county.alerts().iter().any(|alert| alert["family"] == "hr_low"));
}

#[test]
fn when_a_box_reported_what_is_forgotten_when_nothing_of_that_time_comes_any_more() {
    let county = County::new();
    let row = |alert: &str, from: i64, until: Option<i64>| {
        let (from, until) = (at(from).unix_ms(), until.map(|until| at(until).unix_ms()));
        (alert.to_owned(), from, until)
    };
    let rows = [
        row("old", -401 * DAY, Some(-401 * DAY + 60)),
        row("old and open", -401 * DAY, None),
        row("long", -401 * DAY, Some(-399 * DAY)),
        row("open", -DAY, None),
    ];
    let insert = county.store.write(move |transaction| {
        for (alert, from_ms, until_ms) in &rows {
            transaction.execute(
                "INSERT INTO edge_period VALUES ('heping', 'ecg-01', 'hr_low', ?1, ?1, ?2, ?3)",
                params![alert, from_ms, until_ms],
            )?;
        }
        // More words than go at once, and those of the last 400 days.
        let words =
            "WITH RECURSIVE n (i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < ?1)
            INSERT INTO edge_alert (site, device, family, alert, at_ms, received_ms, what, body)
            SELECT 'heping', 'ecg-01', 'hr_low', 'long', 0, ?2, 'raised', '{}' FROM n";
        for (count, second) in [(2500, -401 * DAY), (2, -399 * DAY)] {
            transaction.execute(words, params![count, at(second).unix_ms()])?;
        }
        Ok(())
    });
    county.runtime.block_on(insert).unwrap();
    county.runtime.block_on(forget_told(&county.store, at(0))).unwrap();
    let words = county.store.read(|connection| {
        connection.query_row("SELECT count(*) FROM edge_alert", [], |row| row.get::<_, u32>(0))
    });
    assert_eq!(county.runtime.block_on(words).unwrap(), 2);
    let left = county.store.read(|connection| {
        let mut statement = connection.prepare("SELECT alert FROM edge_period ORDER BY alert")?;
        statement.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<Vec<String>>>()
    });
    assert_eq!(county.runtime.block_on(left).unwrap(), ["long", "open"]);
}

#[test]
fn a_site_says_that_it_sends_what_waited_and_what_that_was() {
    let mut county = County::new();
    let told = county.state(0, true, [0, 3, 900]);
    assert_eq!(told[0]["replay"], Value::Null);
    let told = county.state(30, true, [1, 400, 900]);
    assert_eq!(told[0]["replay"], json!({"rule": "TECH-REPLAY", "waiting": 401}));
    // Fewer wait, and something is missing still.
    county.take(31, vec![envelope(Lane::Trend, 9, heart_rate(31..32, 72))]);
    assert_eq!(county.state(60, true, [0, 2, 900])[0]["replay"]["waiting"], 2);
    let told = county.state(61, false, [0, 400, 900]);
    assert_eq!(told[0]["replay"], Value::Null);

    let (mut county, until) = after_an_outage(97);
    county.state(until, true, [0; 3]);
    let late = county.site()["late"].clone();
    assert_eq!(json!([late["judged"], late["alerts"]]), json!([false, 0]));
    county.pass(until + 20);
    let late = county.site()["late"].clone();
    let found = ["judged", "alerts", "left_out", "from", "until", "readings"];
    // Those of the last minute were fresh.
    let expected = json!([true, 1, 0, time(120), time(1259), 1140]);
    assert_eq!(json!(found.map(|key| &late[key])), expected);
    let worst = json!([{"device": "ecg-01", "rule": "SPO2-AD-LL", "priority": "high", "metric": "spo2",
        "value": "82", "comparator": null, "unit": "%", "at": time(610)}]);
    assert_eq!(late["worst"], worst);
    // What comes late another time is told by itself.
    county.hear(DAY, heart_rate(DAY - HOUR..DAY - HOUR + 3, 72));
    assert_eq!(county.site()["late"]["readings"], 3);
}

#[test]
fn of_what_several_passes_find_the_worst_is_told() {
    let (mut county, until) = after_an_outage(97);
    county.state(until, true, [0; 3]);
    county.hear(until + 15, vec![glucose(until + 15, until - 5 * HOUR, 100)]);
    // The meter is waited for still.
    assert_eq!(county.due(until + 20), ["ecg-01"]);
    county.pass(until + 20);
    county.hear(until + 22, spo2(-1000..-970, 84));
    county.pass(until + 40);
    let late = county.site()["late"].clone();
    assert_eq!(json!([late["alerts"], late["worst"][0]["value"]]), json!([2, "82"]));
}

#[test]
fn what_was_outside_before_the_county_heard_it_again_is_an_alert_when_its_sustain_is_over() {
    let mut county = County::new();
    county.hear(0, heart_rate(0..140, 72));
    // The newest comes first, what was said before it behind it.
    county.hear(161, heart_rate(161..162, 47));
    county.hear(161, heart_rate(140..161, 47));
    for second in 162..176 {
        county.hear(second, heart_rate(second..second + 1, 47));
    }
    county.pass(175);
    county.hear(176, heart_rate(176..177, 47));
    let alerts = county.alerts();
    assert_eq!(alerts.len(), 1, "{alerts:#?}");
    let found = ["started_at", "state", "priority"].map(|key| &alerts[0][key]);
    assert_eq!(json!(found), json!([time(140), "active_unack", "medium"]));
}
