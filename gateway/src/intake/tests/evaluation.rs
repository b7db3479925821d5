//! What the county makes of what comes in, on a database of its own.

mod edge;

use crate::intake::*;
use crate::{clock::rfc3339, query, rule_sets::Live, store::Store};
use model::{
    device::{DeviceKind, DeviceState, DeviceStatus},
    id::DeviceId,
    metric::Metric,
    reading::Reading,
    record::Record,
    time::{ClockQuality, DeviceTime, Observed},
    units::Unit,
};
use rules::engine::Engine;
use std::sync::Arc;
use uplink_proto::state::Upkeep;

const BASE_MS: i64 = 1_795_335_300_000;
const OUTBOX: OutboxId = OutboxId::from_bytes([1; 16]);

pub(super) fn at(seconds: i64) -> WallTime {
    WallTime::from_unix_ms(BASE_MS + seconds * 1000)
}

/// A county and the one site it hears of.
pub(super) struct County {
    pub(super) runtime: tokio::runtime::Runtime,
    pub(super) store: Store,
    pub(super) rules: Arc<RuleSet>,
    connection: u64,
    pub(super) folder: tempfile::TempDir,
}

impl County {
    pub(super) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let rules = include_str!("../../../../configs/rules/default.json");
        Self {
            runtime: tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap(),
            store: Store::open(&folder.path().join("county.sqlite")).unwrap(),
            rules: Arc::new(RuleSet::from_json(rules).unwrap()),
            connection: 0,
            folder,
        }
    }

    pub(super) fn take(&self, now: WallTime, deliveries: Vec<Delivery>) -> Taken {
        let rules = Arc::clone(&self.rules);
        let taking =
            self.store.write(move |transaction| take(transaction, &deliveries, now, &rules));
        let taken = self.runtime.block_on(taking).unwrap();
        self.check_deadlines();
        taken
    }

    pub(super) fn pass_time(
        &self,
        now: WallTime,
        unheard_since: Option<WallTime>,
    ) -> (Vec<Value>, Vec<Value>) {
        let rules = Arc::clone(&self.rules);
        let passing = alerts::pass_time(&self.store, rules, now, unheard_since);
        let told = self.runtime.block_on(passing).unwrap();
        self.check_deadlines();
        told
    }

    /// As a gateway does that has just started, or whose rules have changed.
    pub(super) fn recount(&self, parts: usize) {
        let (rules, text) = (Arc::clone(&self.rules), "".into());
        let live = Live { number: 1, rules, text, hash: [0; 32], entry: 0 };
        let mut recount = alerts::Recount::default();
        for _ in 0..parts {
            self.runtime.block_on(recount.go_on(&self.store, &live)).unwrap();
        }
    }

    /// Every rule state is looked at when it says, and not before.
    pub(super) fn check_deadlines(&self) {
        let stored = self.store.read(|connection| {
            let mut statement = connection.prepare("SELECT due_ms, state FROM engine")?;
            let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
            rows.collect::<Result<Vec<(Option<i64>, String)>, _>>()
        });
        for (due_ms, state) in self.runtime.block_on(stored).unwrap() {
            let engine: Engine = serde_json::from_str(&state).unwrap();
            assert_eq!(due_ms, engine.next_deadline(&self.rules).map(WallTime::unix_ms));
        }
    }

    /// The site tells its state, its own clock being at `said`.
    pub(super) fn state(&mut self, now: WallTime, said: WallTime, online: bool) -> Taken {
        self.connection += u64::from(online);
        self.state_of_connection(now, said, online, false)
    }

    /// What the broker remembers of the site's last connection, or of the one before.
    fn remembered(&mut self, now: WallTime) -> Taken {
        self.state_of_connection(now, now, true, true)
    }

    fn state_of_connection(
        &mut self,
        now: WallTime,
        said: WallTime,
        online: bool,
        retained: bool,
    ) -> Taken {
        let state = SiteState {
            online,
            connection: self.connection,
            agent_version: "0.1.0".into(),
            policy: None,
            upkeep: Upkeep::default(),
            outbox: OUTBOX,
            backlog: [0; 3],
            holds_s: None,
            clock: ClockQuality::Unknown,
            clock_evidence: String::new(),
            at: said,
            uptime: None,
        };
        let delivery = Delivery::State { site: site(), bytes: state.encode(), retained };
        self.take(now, vec![delivery])
    }

    /// Every alert by id, with what must not depend on when it was told.
    pub(super) fn alerts(&self) -> BTreeMap<String, Value> {
        let filter = query::AlertFilter::default();
        let asking =
            self.store.read(move |connection| query::alerts(connection, &filter, &BTreeMap::new()));
        let answer = self.runtime.block_on(asking).unwrap();
        let alerts = answer["alerts"].as_array().unwrap().iter();
        alerts
            .map(|alert| {
                let told: BTreeMap<_, _> =
                    ["family", "state", "priority", "rules", "started_at", "cleared_at", "value"]
                        .into_iter()
                        .map(|key| (key, alert[key].clone()))
                        .collect();
                (alert["id"].as_str().unwrap().to_owned(), json!(told))
            })
            .collect()
    }

    fn device(&self) -> Value {
        self.device_at(at(0))
    }

    pub(super) fn device_at(&self, now: WallTime) -> Value {
        let asking =
            self.store.read(move |connection| query::devices(connection, &BTreeMap::new(), now));
        self.runtime.block_on(asking).unwrap()["devices"][0].clone()
    }

    pub(super) fn site_at(&self, now: WallTime) -> Value {
        let asking =
            self.store.read(move |connection| query::sites(connection, &BTreeMap::new(), now));
        self.runtime.block_on(asking).unwrap()["sites"][0].clone()
    }
}

pub(super) fn site() -> SiteId {
    SiteId::new("heping").unwrap()
}

fn monitor() -> DeviceId {
    DeviceId::new("ecg-01").unwrap()
}

pub(super) fn envelope(lane: Lane, seq: u64, records: Vec<Record>) -> Delivery {
    let envelope = Envelope {
        outbox: OUTBOX,
        lane,
        seq: Seq::new(seq).unwrap(),
        opened_at: at(0),
        uptime: None,
        records,
    };
    Delivery::Envelope(site(), lane, envelope.encode())
}

fn observed(at: WallTime) -> Observed {
    Observed { at, quality: ClockQuality::Unknown }
}

pub(super) fn heart_rate(seq: u64, seen: WallTime, value: u32) -> Delivery {
    let reading = Reading::number(Metric::HR, value, Unit::PER_MINUTE);
    let group = ReadingGroup::new(monitor(), observed(seen), vec![reading]);
    envelope(Lane::Trend, seq, vec![Record::Readings(group)])
}

pub(super) fn online(seq: u64, seen: WallTime) -> Delivery {
    status(seq, seen, DeviceState::Online)
}

pub(super) fn status(seq: u64, seen: WallTime, state: DeviceState) -> Delivery {
    status_of(DeviceKind::Monitor, seq, seen, state)
}

/// What a meter read out of its memory: when it says that it was, and the value.
fn glucose(seq: u64, seen: WallTime, results: &[(WallTime, u32)]) -> Delivery {
    let groups = results.iter().map(|(at, value)| {
        let reading = Reading::number(Metric::GLU_CAP_PL, *value, Unit::MG_PER_DL);
        let time = DeviceTime::Zoned { civil_ms: at.unix_ms(), offset_s: 0 };
        let group = ReadingGroup::new(monitor(), observed(seen), vec![reading]);
        Record::Readings(group.at_device_time(Some(time)))
    });
    envelope(Lane::Urgent, seq, groups.collect())
}

fn status_of(kind: DeviceKind, seq: u64, seen: WallTime, state: DeviceState) -> Delivery {
    let status = DeviceStatus {
        device: monitor(),
        kind,
        driver: "test".into(),
        state,
        reason: String::new(),
        about: BTreeMap::new(),
        expected_interval_ms: None,
        observed: observed(seen),
    };
    envelope(Lane::Urgent, seq, vec![Record::Status(status)])
}

/// A minute with a bradycardia in it, second by second.
fn minute() -> Vec<Delivery> {
    let value = |second| if (5..18).contains(&second) { 37 } else { 72 };
    (0..60_u32)
        .map(|second| heart_rate(u64::from(second) + 1, at(second.into()), value(second)))
        .collect()
}

#[test]
fn however_batches_are_cut_the_alerts_are_the_same() {
    let alerts_of = |size: usize, newest_first: bool| {
        let county = County::new();
        let mut minute = minute();
        if newest_first {
            minute.chunks_mut(size).for_each(<[Delivery]>::reverse);
        }
        while !minute.is_empty() {
            let rest = minute.split_off(size.min(minute.len()));
            county.take(at(60), std::mem::replace(&mut minute, rest));
        }
        county.alerts()
    };
    let expected = alerts_of(1, false);
    assert_eq!(expected.values().map(|alert| &alert["family"]).collect::<Vec<_>>(), ["hr_low"]);
    for size in [2, 3, 7, 13, 31, 60] {
        assert_eq!(alerts_of(size, false), expected, "{size}");
        assert_eq!(alerts_of(size, true), expected, "{size} newest first");
    }
}

#[test]
fn a_box_that_was_ahead_for_a_while_holds_no_place_in_the_latest_numbers() {
    let county = County::new();
    county.take(at(0), vec![online(1, at(3600)), heart_rate(1, at(3600), 70)]);
    county.take(at(10), vec![heart_rate(2, at(10), 36)]);
    assert_eq!(county.device()["latest"][0]["value"], "36");
}

#[test]
fn the_latest_number_is_the_one_measured_last_whatever_came_last() {
    let county = County::new();
    county.take(at(0), vec![status_of(DeviceKind::GlucoseMeter, 1, at(0), DeviceState::Online)]);
    let latest = |now: i64, seq, results: &[(WallTime, u32)]| {
        county.take(at(now), vec![glucose(seq, at(now), results)]);
        county.device()["latest"][0]["value"].as_str().unwrap().to_owned()
    };
    let (hour, day) = (3600, 86_400);
    // A memory read out from its newest to its oldest.
    assert_eq!(latest(0, 2, &[(at(-60), 100), (at(-hour), 90), (at(-800 * day), 80)]), "100");
    // Told again: a marked copy is nothing new.
    assert_eq!(latest(hour, 3, &[(at(-60), 100)]), "100");
    assert_eq!(county.device()["latest"][0]["seq"], 2);
    assert_eq!(latest(hour + 60, 4, &[(at(hour), 54)]), "54");
    assert_eq!(latest(hour + 120, 5, &[(at(-60), 100)]), "54");
    assert_eq!(latest(2 * hour, 6, &[(at(-day), 110)]), "54");
    // Its battery was changed: nobody remembers that long, it was heard last.
    let reset = at(-9_000 * day);
    assert_eq!(latest(3 * hour, 7, &[(reset, 60)]), "60");
    let marked = county.device()["latest"][0].clone();
    assert_eq!(marked["measured_time"], rfc3339(reset.unix_ms()));
    assert_eq!(marked["time_suspect"], true);
    assert_eq!(latest(5 * hour, 8, &[(at(4 * hour), 70)]), "70");
}

#[test]
fn the_number_of_a_box_whose_clock_is_behind_is_as_old_as_it_is() {
    let mut county = County::new();
    county.state(at(0), at(-3600), true);
    county.take(at(0), vec![online(1, at(-3600)), heart_rate(1, at(-3600), 70)]);
    let latest = county.device()["latest"][0].clone();
    assert_eq!(latest["observed_time"], rfc3339(at(-3600).unix_ms()));
    assert_eq!(latest["measured_time"], rfc3339(at(0).unix_ms()));
    assert_eq!(latest["time_suspect"], true);
}

#[test]
fn a_tile_and_the_rules_take_the_same_status_whatever_the_clock_of_the_box() {
    let county = County::new();
    county.take(at(100), vec![online(1, at(100))]);
    // The clock of the box was set back between the two.
    let told = county.take(at(101), vec![status(2, at(40), DeviceState::Silent)]);
    assert_eq!(told.devices[0]["state"], "silent");
    let (alerts, _) = county.pass_time(at(140), None);
    assert_eq!(alerts[0]["rules"], json!(["TECH-SILENT"]));
    // One that was overtaken changes neither.
    let county = County::new();
    county.take(at(100), vec![status(3, at(90), DeviceState::Silent)]);
    let told = county.take(at(101), vec![online(2, at(95))]);
    assert!(told.devices.is_empty());
    assert_eq!(county.device()["state"], "silent");
}

#[test]
fn a_box_whose_clock_is_wrong_raises_its_alerts_all_the_same() {
    for wrong_s in [-3600, 3600] {
        let mut county = County::new();
        let told = county.state(at(0), at(wrong_s), true);
        assert_eq!(told.alerts[0]["rules"], json!(["TECH-CLOCK"]));
        county.take(at(0), vec![online(1, at(wrong_s))]);
        for second in 0..12_u32 {
            let now = i64::from(second);
            let delivery = heart_rate(u64::from(second) + 1, at(now + wrong_s), 36);
            county.take(at(now), vec![delivery]);
        }
        let alerts = county.alerts();
        let low = alerts.values().find(|alert| alert["family"] == "hr_low").unwrap();
        assert_eq!(
            (&low["state"], &low["started_at"]),
            (&json!("active_unack"), &json!(rfc3339(at(0).unix_ms())))
        );
    }
}

#[test]
fn a_box_out_of_reach_is_told_and_makes_its_alerts_unknown() {
    let mut county = County::new();
    county.state(at(0), at(0), true);
    county.take(at(0), vec![online(1, at(0))]);
    for second in 0..12_u32 {
        let delivery = heart_rate(u64::from(second) + 1, at(second.into()), 36);
        county.take(at(second.into()), vec![delivery]);
    }
    county.state(at(20), at(0), false);
    let told = county.pass_time(at(79), None).0;
    assert!(told.iter().all(|alert| alert["state"] == "active_unack"));
    let told = county.pass_time(at(80), None).0;
    let mut told: Vec<_> = told.iter().map(|alert| (&alert["family"], &alert["state"])).collect();
    told.sort_by_key(|(family, _)| family.to_string());
    assert_eq!(json!(told), json!([["edge_offline", "active_unack"], ["hr_low", "unknown"]]));
    county.state(at(100), at(100), true);
    county.take(at(101), vec![heart_rate(13, at(101), 36)]);
    let alerts = county.alerts();
    let states: BTreeMap<_, _> =
        alerts.values().map(|alert| (alert["family"].as_str().unwrap(), &alert["state"])).collect();
    assert_eq!(states["edge_offline"], "cleared_unack");
    assert_eq!(states["hr_low"], "active_unack");
}

#[test]
fn a_device_with_the_name_of_its_site_does_not_speak_for_the_box() {
    let mut county = County::new();
    let named = DeviceId::new(site().as_str()).unwrap();
    let renamed = |delivery: Delivery| {
        let Delivery::Envelope(site, lane, bytes) = delivery else { unreachable!() };
        let mut envelope = Envelope::decode(&bytes).unwrap().envelope;
        for record in &mut envelope.records {
            match record {
                Record::Status(status) => status.device = named.clone(),
                Record::Readings(group) => group.device = named.clone(),
                _ => unreachable!(),
            }
        }
        Delivery::Envelope(site, lane, envelope.encode())
    };
    county.state(at(0), at(0), true);
    county.take(at(0), vec![renamed(online(1, at(0)))]);
    county.state(at(1), at(0), false);
    let (alerts, _) = county.pass_time(at(61), None);
    assert_eq!(alerts[0]["rules"], json!(["EDGE-OFFLINE"]));
    for second in 62..80_u32 {
        let seen = at(second.into());
        county.take(seen, vec![renamed(heart_rate(second.into(), seen, 36))]);
    }
    county.take(at(80), vec![renamed(online(2, at(80)))]);
    // It is stored and shown; the alert of the box goes on, and there is no other.
    assert_eq!(county.device()["latest"][0]["value"], "36");
    let alerts: Vec<Value> = county.alerts().into_values().collect();
    assert_eq!((alerts.len(), &alerts[0]["state"]), (1, &json!("active_unack")));
}

#[test]
fn deadlines_are_those_of_the_rules_in_force() {
    let mut county = County::new();
    county.take(at(0), vec![status(1, at(0), DeviceState::Silent)]);
    assert!(county.pass_time(at(29), None).0.is_empty());
    // More of them than are looked at in one part.
    let more = |transaction: &Transaction<'_>| {
        let copies = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 600)
            INSERT INTO engine SELECT site, device || '-' || i, due_ms, state FROM engine, n";
        transaction.execute(copies, [])
    };
    county.runtime.block_on(county.store.write(more)).unwrap();
    // The gateway starts anew with rules that wait less long.
    let default = include_str!("../../../../configs/rules/default.json");
    let mut rules: Value = serde_json::from_str(default).unwrap();
    let silent = rules["rules"].as_array_mut().unwrap().iter_mut();
    let silent = silent.filter(|rule| rule["id"] == "TECH-SILENT");
    silent.for_each(|rule| rule["steps"][0]["after_s"] = json!(10));
    county.rules = Arc::new(RuleSet::from_json(&rules.to_string()).unwrap());
    county.recount(2);
    county.check_deadlines();
    let (alerts, _) = county.pass_time(at(29), None);
    assert_eq!(alerts[0]["rules"], json!(["TECH-SILENT"]));
}

#[test]
fn a_site_that_tells_nothing_any_more_is_out_of_reach() {
    let mut county = County::new();
    county.state(at(0), at(0), true);
    let (_, sites) = county.pass_time(at(80), Some(at(-10)));
    assert!(sites.is_empty());
    let (_, sites) = county.pass_time(at(100), Some(at(10)));
    assert_eq!((&sites[0]["site"], &sites[0]["online"]), (&json!("heping"), &json!(false)));
    let (alerts, _) = county.pass_time(at(160), Some(at(70)));
    assert_eq!(alerts[0]["rules"], json!(["EDGE-OFFLINE"]));
}

#[test]
fn what_a_broker_remembers_of_a_box_that_was_given_up_does_not_bring_it_back() {
    let mut county = County::new();
    county.state(at(0), at(0), true);
    // The county connects anew again and again: nobody has heard the box for that.
    assert!(county.remembered(at(80)).sites.is_empty());
    county.pass_time(at(100), Some(at(10)));
    county.pass_time(at(160), Some(at(70)));
    let told = county.remembered(at(170));
    assert!(told.sites.is_empty() && told.alerts.is_empty(), "{told:?}");
    assert_eq!(county.alerts().into_values().next().unwrap()["state"], "active_unack");
    // A connection of which the county has not heard is news, and so is the box's own word.
    county.connection += 1;
    assert_eq!(county.remembered(at(180)).sites[0]["online"], json!(true));
    assert_eq!(county.alerts().into_values().next().unwrap()["state"], "cleared_unack");
}

#[test]
fn every_change_of_an_alert_has_its_revision() {
    let county = County::new();
    let mut revisions = Vec::new();
    for delivery in minute() {
        let told = county.take(at(60), vec![delivery]);
        revisions.extend(told.alerts.iter().map(|alert| alert["revision"].as_u64().unwrap()));
    }
    assert_eq!(revisions, [1, 2], "raised, cleared");
}
