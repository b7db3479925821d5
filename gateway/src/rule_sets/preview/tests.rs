//! A ward of which every alert was counted by hand.

use super::{
    job::{Job, Previews, State},
    *,
};
use crate::{
    clock,
    intake::{Delivery, take},
    query,
    store::Store,
};
use model::{
    alarm::{AlarmKind, AlarmPhase, DeviceAlarm},
    device::{DeviceState, DeviceStatus},
    id::{Channel, Lane, OutboxId, Seq},
    metric::Metric,
    reading::{Occurrence, Reading},
    record::Record,
    time::{ClockQuality, Observed},
    units::Unit,
};
use rusqlite::types::Value as Cell;
use serde_json::{Value, json};
use std::{collections::BTreeSet, sync::mpsc};
use tokio_util::sync::CancellationToken;
use uplink_proto::envelope::Envelope;

const DEFAULT: &str = include_str!("../../../../configs/rules/default.json");
const BASE_MS: i64 = 1_795_335_300_000;
const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;
const HEPING: &str = "和平镇卫生院";
/// Somebody of 70 years.
const PATIENT: &str = "p-00000000000000000000000000000001";

fn at(second: i64) -> WallTime {
    WallTime::from_unix_ms(BASE_MS + second * 1000)
}

fn device(name: &str) -> DeviceId {
    DeviceId::new(name).unwrap()
}

fn site() -> SiteId {
    SiteId::new("heping").unwrap()
}

fn observed(second: i64) -> Observed {
    Observed { at: at(second), quality: ClockQuality::Synchronised }
}

fn rules(text: &str) -> Arc<RuleSet> {
    Arc::new(RuleSet::from_json(text).unwrap())
}

/// A county that hears everything in time.
struct County {
    runtime: tokio::runtime::Runtime,
    store: Store,
    live: Arc<RuleSet>,
    seq: [u64; 2],
    _folder: tempfile::TempDir,
}

impl County {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let store = Store::open(&folder.path().join("county.sqlite")).unwrap();
        Self { runtime, store, live: rules(DEFAULT), seq: [0; 2], _folder: folder }
    }

    /// The same county, to be asked under other rules.
    fn again(&self) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let (store, live) = (self.store.clone(), Arc::clone(&self.live));
        Self { runtime, store, live, seq: self.seq, _folder: tempfile::tempdir().unwrap() }
    }

    fn sql(&self, text: &str) {
        let text = text.to_owned();
        let write = self.store.write(move |transaction| transaction.execute_batch(&text));
        self.runtime.block_on(write).unwrap();
    }

    fn hear(&mut self, now: i64, record: Record) {
        let streams = |group: &ReadingGroup| group.occurrence == Occurrence::Stream;
        let is_trend = matches!(&record, Record::Readings(group) if streams(group));
        let (place, lane) = if is_trend { (1, Lane::Trend) } else { (0, Lane::Urgent) };
        self.seq[place] += 1;
        let envelope = Envelope {
            outbox: OutboxId::from_bytes([1; 16]),
            lane,
            seq: Seq::new(self.seq[place]).unwrap(),
            opened_at: at(now),
            uptime: None,
            records: vec![record],
        };
        let delivery = Delivery::Envelope(site(), lane, envelope.encode());
        let live = Arc::clone(&self.live);
        let taking =
            self.store.write(move |transaction| take(transaction, &[delivery], at(now), &live));
        assert_eq!(self.runtime.block_on(taking).unwrap().counts.new, 1);
    }

    fn status(&mut self, second: i64, name: &str, kind: DeviceKind) {
        self.status_of(second, name, kind, None);
    }

    fn status_of(&mut self, second: i64, name: &str, kind: DeviceKind, interval_ms: Option<u32>) {
        let status = DeviceStatus {
            device: device(name),
            kind,
            driver: "test".into(),
            state: DeviceState::Online,
            reason: String::new(),
            about: BTreeMap::new(),
            expected_interval_ms: interval_ms,
            observed: observed(second),
        };
        self.hear(second, Record::Status(status));
    }

    fn say(&mut self, second: i64, name: &str, readings: &[(Metric, &str, Unit)]) {
        let reading = |(metric, value, unit): &(Metric, &str, Unit)| {
            Reading::number(
                *metric,
                value.parse::<model::decimal::Decimal>().unwrap(),
                unit.clone(),
            )
        };
        let readings = readings.iter().map(reading).collect();
        let group = ReadingGroup::new(device(name), observed(second), readings);
        self.hear(second, Record::Readings(group));
    }

    /// A heart rate for some seconds, and a minute of a good one.
    fn heart_rate(&mut self, from: i64, seconds: i64, name: &str, value: &str) {
        for second in from..from + seconds {
            self.say(second, name, &[(Metric::HR, value, Unit::PER_MINUTE)]);
        }
        for second in from + seconds..from + seconds + 60 {
            self.say(second, name, &[(Metric::HR, "72", Unit::PER_MINUTE)]);
        }
    }

    fn alarm(&mut self, second: i64, name: &str, kind: AlarmKind, phase: AlarmPhase) {
        let alarm = DeviceAlarm {
            device: device(name),
            channel: Channel::default(),
            phase,
            kind,
            code: "5".into(),
            text: String::new(),
            priority: None,
            latched: false,
            source: None,
            device_time: None,
            observed: observed(second),
        };
        self.hear(second, Record::Alarm(alarm));
    }

    fn job(&self, text: &str) -> Job {
        let clinics = Arc::new(Clinics::from([(site(), HEPING.to_owned())]));
        let sets = [rules(text), Arc::clone(&self.live)];
        Job::new(("zhang", None), sets, clinics, at(DAY), &CancellationToken::new())
    }

    fn preview(&self, text: &str) -> Value {
        let job = Arc::new(self.job(text));
        self.runtime.block_on(Arc::clone(&job).run(self.store.clone()));
        assert_eq!(job.state(), State::Done);
        self.runtime.block_on(job.told(&self.store)).unwrap()
    }

    /// Every row of every table.
    fn everything(&self) -> BTreeSet<String> {
        let read = |connection: &Connection| {
            let tables: Vec<String> = connection
                .prepare("SELECT name FROM sqlite_master WHERE type = 'table'")?
                .query_map([], |row| row.get(0))?
                .collect::<Result<_, _>>()?;
            let mut found = BTreeSet::new();
            for table in tables {
                let mut rows = connection.prepare(&format!("SELECT * FROM {table}"))?;
                let columns = rows.column_count();
                let mut rows = rows.query([])?;
                while let Some(row) = rows.next()? {
                    let cells: Vec<Cell> =
                        (0..columns).map(|column| row.get(column)).collect::<Result<_, _>>()?;
                    found.insert(format!("{table} {cells:?}"));
                }
            }
            Ok(found)
        };
        self.runtime.block_on(self.store.read(read)).unwrap()
    }

    fn alerts(&self) -> Value {
        let filter = query::AlertFilter::default();
        let read =
            self.store.read(move |connection| query::alerts(connection, &filter, &BTreeMap::new()));
        self.runtime.block_on(read).unwrap()
    }
}

/// What was said in a day, and beside each the alert that the default set makes of it. `mon-01` is
/// on somebody of 70, whose heart rate is low below 45; the others are on nobody.
fn ward() -> County {
    let mut county = County::new();
    for (name, kind) in [
        ("mon-01", DeviceKind::Monitor),
        ("mon-02", DeviceKind::Monitor),
        ("pump-01", DeviceKind::Pump),
        ("glu-01", DeviceKind::GlucoseMeter),
        ("bp-01", DeviceKind::Cuff),
    ] {
        county.status(-HOUR, name, kind);
    }
    county.sql(&format!(
        "INSERT INTO patient VALUES ('{PATIENT}', '{HEPING}',
           '{{\"clinic\": \"{HEPING}\", \"born\": \"1956-03\"}}', NULL, 1, 'wang', 0);
         INSERT INTO binding (site, device, patient, bed, from_ms, version, made_by, made_ms, reason)
           VALUES ('heping', 'mon-01', '{PATIENT}', '3', {}, 1, 'wang', 0, 'put on');",
        at(-HOUR).unix_ms()
    ));
    // Before the day: HR-AD-LL, and nobody's of it.
    county.heart_rate(-HOUR / 2, 12, "mon-02", "36");
    // High: HR-AD-LL.
    county.heart_rate(HOUR, 12, "mon-01", "36");
    // Medium: HR-EL-L.
    county.heart_rate(2 * HOUR, 31, "mon-01", "44");
    // Medium: HR-AD-L; it would be none of an old patient.
    county.heart_rate(2 * HOUR + 600, 31, "mon-02", "47");
    // High: DEV-OCCL-DOWN.
    county.alarm(3 * HOUR, "pump-01", AlarmKind::OcclusionDownstream, AlarmPhase::Start);
    county.alarm(3 * HOUR + 60, "pump-01", AlarmKind::OcclusionDownstream, AlarmPhase::End);
    // High: GLU-AD-LL and GLU-AD-L, one alert.
    county.say(4 * HOUR, "glu-01", &[(Metric::GLU_CAP_PL, "2.9", Unit::MMOL_PER_L)]);
    // Medium: BP-AD-SH.
    let cuff = [(Metric::NIBP_SYS, "184", Unit::MM_HG), (Metric::NIBP_DIA, "100", Unit::MM_HG)];
    county.say(5 * HOUR, "bp-01", &cuff);
    county
}

fn counts(set: &Value) -> [u64; 4] {
    ["all", "high", "medium", "low"].map(|name| set["alerts"][name].as_u64().unwrap())
}

fn by_rule_of(set: &Value) -> BTreeMap<String, u64> {
    by_rule(set).into_iter().map(|(rule, alerts)| (rule.to_owned(), alerts)).collect()
}

fn by_rule(set: &Value) -> BTreeMap<&str, u64> {
    let rules = set["by_rule"].as_array().unwrap().iter();
    rules.map(|one| (one["rule"].as_str().unwrap(), one["alerts"].as_u64().unwrap())).collect()
}

/// The default set with other limits.
fn with_limits(limits: &[(&str, f64)]) -> String {
    let mut set: Value = serde_json::from_str(DEFAULT).unwrap();
    for rule in set["rules"].as_array_mut().unwrap() {
        let limit = limits.iter().find(|(id, _)| rule["id"] == *id);
        if let Some((_, limit)) = limit {
            rule["threshold"]["base"] = json!(limit);
        }
    }
    set["meta"]["version"] = json!("quieter");
    set.to_string()
}

#[test]
fn a_ward_counted_by_hand_is_counted_alike() {
    let county = ward();
    let quieter = with_limits(&[("HR-AD-LL", 35.0), ("HR-AD-L", 46.0)]);
    let told = county.preview(&quieter);
    assert_eq!(told["text_en"], "would have raised 4 alerts, 2 high; the live set 6, 3 high");
    let (asked, live) = (&told["asked"], &told["live"]);
    assert_eq!((&asked["rules"], &live["rules"]), (&json!("quieter"), &json!("0.2-draft")));
    assert_eq!((counts(asked), counts(live)), ([4, 2, 2, 0], [6, 3, 3, 0]));
    let both = ["DEV-OCCL-DOWN", "GLU-AD-LL", "GLU-AD-L", "BP-AD-SH", "HR-EL-L"].map(|id| (id, 1));
    assert_eq!(by_rule(asked), BTreeMap::from(both));
    let more = [("HR-AD-LL", 1), ("HR-AD-L", 1)];
    assert_eq!(by_rule(live), both.into_iter().chain(more).collect());
    assert_eq!(live["by_township"], json!([{"township": HEPING, "alerts": live["alerts"]}]));
    // The pump said no reading, and the monitor on nobody, the meter and the cuff did.
    assert_eq!((&told["patient_days"], &told["device_days"]), (&json!(1), &json!(3)));
    assert_eq!((&live["of_patients"], &live["alerts_per_patient_day"]), (&json!(2), &json!(2.0)));
    assert_eq!((&live["of_devices"], &live["alerts_per_device_day"]), (&json!(4), &json!(1.33)));
    // 72 + 72 + 91 + 91 heart rates, one glucose, two pressures.
    assert_eq!(told["readings"], 329);
    let newest = &live["newest"];
    assert_eq!((newest.as_array().unwrap().len(), &newest[0]["device"]), (6, &json!("bp-01")));
    let low = &newest[5];
    assert_eq!((&low["patient"], &low["value"]), (&json!(PATIENT), &json!("36")));
    assert_eq!(low["started_at"], clock::rfc3339(at(HOUR).unix_ms()));
}

#[test]
fn a_preview_knows_how_often_a_device_was_configured_to_speak() {
    let mut county = County::new();
    for (name, interval_ms) in [("mon-01", None), ("mon-02", Some(12_000))] {
        county.status_of(-HOUR, name, DeviceKind::Monitor, interval_ms);
        for place in 0..4 {
            county.say(HOUR + 12 * place, name, &[(Metric::HR, "36", Unit::PER_MINUTE)]);
        }
    }
    let told = county.preview(DEFAULT);
    let newest = told["live"]["newest"].as_array().unwrap();
    assert_eq!(newest.len(), 1, "{newest:?}");
    assert_eq!(newest[0]["device"], "mon-02");
}

#[test]
fn a_set_that_is_live_raises_in_a_preview_what_it_raised() {
    let county = ward();
    let told = county.preview(DEFAULT);
    assert_eq!(told["asked"], told["live"]);
    let alerts = county.alerts();
    let key = |alert: &Value| (alert["family"].to_string(), alert["started_at"].to_string());
    let mut raised: Vec<_> = alerts["alerts"].as_array().unwrap().iter().map(key).collect();
    let begin = clock::rfc3339(at(0).unix_ms());
    raised.retain(|(_, started)| *started >= format!("\"{begin}\""));
    let mut told: Vec<_> = told["live"]["newest"].as_array().unwrap().iter().map(key).collect();
    raised.sort();
    told.sort();
    assert_eq!(told, raised);
}

#[test]
fn bindings_limits_and_oxygen_are_those_of_their_time() {
    let mut county = ward();
    // A limit of this patient that was withdrawn at half past one, and oxygen from the fourth hour.
    let ms = |second| at(second).unix_ms();
    county.sql(&format!(
        "UPDATE patient SET changed_ms = {}, about = '{{\"clinic\": \"{HEPING}\", \"born\": \"1956-03\",
           \"scale2\": {{\"doctor\": \"li\", \"until\": \"2027-01-01T00:00:00Z\"}}}}';
         INSERT INTO patient_limit VALUES (1, '{PATIENT}', 'HR-AD-LL', '30', {}, 'athlete', 'li', {},
           'li', {});
         INSERT INTO nurse_entry VALUES (1, '{PATIENT}', NULL, 1, {}, 'wang', {});
         INSERT INTO binding (site, device, patient, from_ms, until_ms, version, made_by, made_ms,
           reason) VALUES ('heping', 'mon-02', '{PATIENT}', {}, {}, 1, 'wang', 0, 'put on');",
        ms(0),
        ms(DAY),
        ms(0),
        ms(HOUR + HOUR / 2),
        ms(4 * HOUR),
        ms(4 * HOUR),
        ms(2 * HOUR),
        ms(3 * HOUR),
    ));
    for (from, _why) in [(2 * HOUR + 1800, "no oxygen yet"), (6 * HOUR, "on oxygen")] {
        for second in from..from + 125 {
            county.say(second, "mon-01", &[(Metric::SPO2, "98", Unit::PERCENT)]);
        }
    }
    let told = county.preview(DEFAULT);
    let rules = by_rule(&told["asked"]);
    assert_eq!(rules.get("HR-AD-LL"), None, "30 was the limit at that time");
    assert_eq!(rules.get("HR-AD-L"), None, "the second monitor was on the old patient");
    assert_eq!(rules.get("HR-EL-L"), Some(&1));
    assert_eq!(rules.get("SPO2-COPD-O2H"), Some(&1));
    let over = &told["asked"]["newest"][0];
    assert_eq!(over["started_at"], clock::rfc3339(ms(6 * HOUR)));
}

#[test]
fn nothing_is_stored_and_whoever_writes_is_not_waited_for() {
    let county = ward();
    let before = (county.everything(), county.alerts());
    // Somebody holds the only connection that writes for as long as it takes.
    let (release, held) = mpsc::channel::<()>();
    let (begun, begins) = mpsc::channel();
    let store = county.store.clone();
    let writer = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let write = store.write(move |_| {
            begun.send(()).unwrap();
            held.recv().unwrap();
            Ok(())
        });
        runtime.block_on(write).unwrap();
    });
    begins.recv().unwrap();
    let told = county.preview(&with_limits(&[("BP-AD-SL", 190.0)]));
    assert_eq!((counts(&told["asked"])[0], counts(&told["live"])[0]), (7, 6), "{told}");
    release.send(()).unwrap();
    writer.join().unwrap();
    assert_eq!((county.everything(), county.alerts()), before);
}

#[test]
fn one_is_under_way_at_a_time_and_one_that_is_stopped_says_of_how_much_it_speaks() {
    let county = ward();
    county.sql("INSERT INTO source VALUES (900, 'dongfeng', 'mon-09')");
    let previews = Previews::default();
    let job = previews.begin(county.job(DEFAULT)).unwrap();
    let running = previews.begin(county.job(DEFAULT)).unwrap_err();
    assert_eq!((running.state(), running.standing()), (State::Running, ("zhang".to_owned(), 0, 0)));
    job.stop();
    county.runtime.block_on(Arc::clone(&job).run(county.store.clone()));
    assert_eq!((job.state(), job.standing()), (State::Stopped, ("zhang".to_owned(), 0, 2)));
    let told = county.runtime.block_on(job.told(&county.store)).unwrap();
    let text = "of 0 of 2 sites: would have raised 0 alerts, 0 high; the live set 0, 0 high";
    assert_eq!((&told["text_en"], &told["left_out"]), (&json!(text), &json!(2)));
    // It makes room for another, and stays until then.
    assert!(Arc::ptr_eq(&previews.last().unwrap(), &job));
    let next = previews.begin(county.job(DEFAULT)).unwrap();
    county.runtime.block_on(Arc::clone(&next).run(county.store.clone()));
    assert_eq!((next.state(), next.standing().1), (State::Done, 2));
}

/// Whatever of two sets is judged once, the second says what it would say alone.
#[test]
fn of_two_sets_each_is_told_as_if_it_were_the_only_one() {
    let mut county = ward();
    // Leads that are off, and a cuff on the limb of the oximeter, keep rules from judging.
    county.alarm(6 * HOUR, "mon-02", AlarmKind::LeadOff, AlarmPhase::Start);
    county.heart_rate(6 * HOUR, 31, "mon-02", "47");
    county.alarm(6 * HOUR + 300, "mon-02", AlarmKind::LeadOff, AlarmPhase::End);
    county.say(7 * HOUR, "mon-02", &[(Metric::NIBP_SYS, "120", Unit::MM_HG)]);
    for second in 0..30 {
        let low = [(Metric::SPO2, "80", Unit::PERCENT), (Metric::RR_IMP, "7", Unit::PER_MINUTE)];
        county.say(7 * HOUR + 1 + second, "mon-02", &low);
        county.say(8 * HOUR + second, "mon-02", &low);
    }
    let alone = |county: &County, text: &str| {
        let live = County { live: rules(text), ..county.again() };
        live.preview(text)["live"].clone()
    };
    let with = |change: fn(&mut Value)| {
        let mut set: Value = serde_json::from_str(DEFAULT).unwrap();
        change(&mut set);
        set.to_string()
    };
    let event = with(|set| {
        let rules = set["rules"].as_array_mut().unwrap().iter_mut();
        let occluded = rules.filter(|rule| rule["id"] == "DEV-OCCL-DOWN");
        occluded.for_each(|rule| rule["priority"] = json!("medium"));
    });
    let fewer = with(|set| {
        let rules = set["rules"].as_array_mut().unwrap();
        rules.retain(|rule| rule["id"] != "RR-AD-LL" && rule["id"] != "HR-EL-L");
    });
    for text in [
        DEFAULT.to_owned(),
        with_limits(&[("HR-AD-LL", 35.0)]),
        with_limits(&[("SPO2-AD-L", 79.0), ("GLU-AD-LL", 2.0)]),
        with_limits(&[("RR-AD-LL", 5.0), ("BP-AD-SH", 200.0)]),
        event,
        fewer,
    ] {
        let told = county.preview(&text);
        assert_eq!(told["live"], alone(&county, DEFAULT));
        assert_eq!(told["asked"], alone(&county, &text));
    }
    let all = by_rule_of(&county.preview(DEFAULT)["live"]);
    for rule in ["SPO2-AD-LL", "RR-AD-LL", "TECH-LEADOFF", "HR-AD-L"] {
        assert_eq!(all.get(rule), Some(&1), "{rule}: {all:?}");
    }
}

/// However many there are of one device, each is judged once and in order.
#[test]
fn steps_leave_nothing_out_and_judge_nothing_twice() {
    let mut county = County::new();
    county.status(-HOUR, "mon-01", DeviceKind::Monitor);
    county.status(-HOUR, "mon-02", DeviceKind::Monitor);
    let many = i64::try_from(STEP_GROUPS).unwrap() * 2 + 7;
    for second in 0..many {
        county.say(second, "mon-01", &[(Metric::HR, "45", Unit::PER_MINUTE)]);
        if second % 100 == 0 {
            county.say(second, "mon-02", &[(Metric::HR, "72", Unit::PER_MINUTE)]);
        }
    }
    let told = county.preview(DEFAULT);
    let expected = many + (many + 99) / 100;
    assert_eq!(told["readings"], expected);
    // A gap in what is judged would begin the sustain anew, and end nothing.
    assert_eq!(by_rule(&told["live"]), BTreeMap::from([("HR-AD-L", 1)]));
}
