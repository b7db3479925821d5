//! From what a nurse enters to the alert: NEWS2.

use super::{patients::*, *};
use crate::alerts::{observe_all, pass_time};
use model::time::WallTime;

fn of_monitor(metric: Metric, value: &str, unit: Unit) -> Record {
    let monitor = DeviceId::new("mon-01").unwrap();
    let value = value.parse::<model::decimal::Decimal>().unwrap();
    let readings = vec![Reading::number(metric, value, unit)];
    Record::Readings(ReadingGroup::new(monitor, observed(), readings))
}

/// What is worth six points before a nurse has said anything: pulse 135 (3), respiration 26 (3).
async fn values(desk: &Desk) {
    values_of(desk, "heping").await;
}

async fn values_of(desk: &Desk, site: &str) {
    let number = |metric, value: &str, unit| {
        Reading::number(metric, value.parse::<model::decimal::Decimal>().unwrap(), unit)
    };
    let streams = vec![
        number(Metric::HR, "135", Unit::PER_MINUTE),
        number(Metric::RR_IMP, "26", Unit::PER_MINUTE),
        number(Metric::SPO2, "97", Unit::PERCENT),
    ];
    let monitor = DeviceId::new("mon-01").unwrap();
    let group = ReadingGroup::new(monitor.clone(), observed(), streams);
    let taken = desk.take_of(site, Lane::Trend, vec![Record::Readings(group)]).await;
    assert_eq!(taken.counts.new, 1);
    let pressure = vec![number(Metric::NIBP_SYS, "120", Unit::MM_HG)];
    let ear = vec![number(Metric::TEMP_EAR, "36.8", Unit::CELSIUS)];
    let results = [pressure, ear];
    let results =
        results.map(|of| Record::Readings(ReadingGroup::new(monitor.clone(), observed(), of)));
    let taken = desk.take_of(site, Lane::Urgent, results.into()).await;
    assert_eq!(taken.counts.new, 1);
}

impl Desk {
    /// The box of the site sends something.
    async fn take(&self, lane: Lane, records: Vec<Record>) -> intake::Taken {
        self.take_of("heping", lane, records).await
    }

    async fn take_of(&self, site: &str, lane: Lane, records: Vec<Record>) -> intake::Taken {
        let asking = |connection: &rusqlite::Connection| {
            let next = "SELECT count(*) + 1 FROM reading_group";
            connection.query_row(next, [], |row| row.get::<_, i64>(0))
        };
        let seq = self.app.store.read(asking).await.unwrap();
        let envelope = Envelope {
            outbox: OutboxId::from_bytes([10; 16]),
            lane,
            seq: Seq::new(u64::try_from(seq).unwrap()).unwrap(),
            opened_at: clock::now(),
            uptime: None,
            records,
        };
        let delivery = Delivery::Envelope(SiteId::new(site).unwrap(), lane, envelope.encode());
        let rules = self.app.rules.rules();
        let take = move |transaction: &rusqlite::Transaction<'_>| {
            intake::take(transaction, &[delivery], clock::now(), &rules)
        };
        self.app.store.write(take).await.unwrap()
    }

    /// Somebody of 70 with a monitor on them.
    async fn monitored(&self, cookie: &str) -> String {
        let patient = self.patient(cookie).await;
        values(self).await;
        let body = json!({"site": "heping", "device": "mon-01", "patient": patient,
            "reason": "put on"});
        self.do_it(cookie, Method::POST, "/bindings", body).await;
        values(self).await;
        patient
    }

    async fn score(&self, cookie: &str, patient: &str) -> Value {
        let path = format!("/patients/{patient}");
        let told = self.do_it(cookie, Method::GET, &path, Value::Null).await;
        check_schema(&document(), "PatientWhole", &told);
        told["news2"].clone()
    }

    async fn news2_alerts(&self) -> Vec<Value> {
        let (_, told) = self.get("/api/v1/alerts").await;
        let alerts = told["alerts"].as_array().unwrap().iter();
        alerts.filter(|alert| alert["family"] == "news2").cloned().collect()
    }
}

#[tokio::test]
async fn what_a_nurse_enters_completes_the_score_and_seven_points_are_a_high_alert() {
    let mut desk = Desk::with_clinic();
    let cookie = desk.log_in("wang").await;
    let patient = desk.monitored(&cookie).await;
    let before = desk.score(&cookie, &patient).await;
    assert_eq!((&before["complete"], &before["score"]), (&json!(false), &Value::Null));
    assert_eq!(
        (&before["at_least"], &before["text_en"]),
        (&json!(6), &json!("NEWS2 incomplete ≥ 6"))
    );
    assert_eq!(before["parts"]["consciousness"], Value::Null);
    let entries = format!("/patients/{patient}/entries");
    // One of the two is not enough.
    desk.do_it(&cookie, Method::POST, &entries, json!({"oxygen": true})).await;
    assert_eq!(desk.score(&cookie, &patient).await["at_least"], 8);
    assert!(desk.news2_alerts().await.is_empty());
    desk.do_it(&cookie, Method::POST, &entries, json!({"consciousness": "A"})).await;
    let score = desk.score(&cookie, &patient).await;
    assert_eq!((&score["complete"], &score["score"]), (&json!(true), &json!(8)));
    assert_eq!(
        score["parts"],
        json!({"respiration": 3, "spo2": 0, "oxygen": 2, "systolic": 0,
        "pulse": 3, "consciousness": 0, "temperature": 0})
    );
    let alerts = desk.news2_alerts().await;
    assert_eq!(alerts.len(), 1);
    assert_eq!(alerts[0]["rules"], json!(["NEWS2-H", "NEWS2-3IN1"]));
    assert_eq!((&alerts[0]["priority"], &alerts[0]["value"]), (&json!("high"), &json!("8")));
    assert_eq!(
        (&alerts[0]["patient"], &alerts[0]["state"]),
        (&json!(patient), &json!("active_unack"))
    );

    // A county that starts anew knows what the nurse saw, and raises it no second time.
    desk.app.store = Store::open(&desk.folder.path().join("county.sqlite")).unwrap();
    let later = |seconds: i64| WallTime::from_unix_ms(clock::now().unix_ms() + seconds * 1000);
    let changed = observe_all(&desk.app.store, desk.app.rules.rules(), later(2)).await.unwrap();
    assert_eq!(changed, Vec::<Value>::new());
    assert_eq!(desk.news2_alerts().await, alerts);
    // An hour later nobody knows how awake she is: that ends nothing.
    let changed = observe_all(&desk.app.store, desk.app.rules.rules(), later(3700)).await.unwrap();
    assert_eq!(changed, Vec::<Value>::new());
    assert_eq!(desk.news2_alerts().await, alerts);
}

#[tokio::test]
async fn a_score_that_rises_between_two_entries_is_noticed_within_a_minute() {
    let desk = Desk::with_clinic();
    let cookie = desk.log_in("wang").await;
    let patient = desk.patient(&cookie).await;
    let monitor = DeviceId::new("mon-01").unwrap();
    let group =
        |readings| Record::Readings(ReadingGroup::new(monitor.clone(), observed(), readings));
    let heart_rate = vec![Reading::number(Metric::HR, 72, Unit::PER_MINUTE)];
    desk.take(Lane::Trend, vec![group(heart_rate)]).await;
    let body =
        json!({"site": "heping", "device": "mon-01", "patient": patient, "reason": "put on"});
    desk.do_it(&cookie, Method::POST, "/bindings", body).await;
    let entry = json!({"consciousness": "A", "oxygen": true});
    desk.do_it(&cookie, Method::POST, &format!("/patients/{patient}/entries"), entry).await;
    assert!(desk.news2_alerts().await.is_empty());
    values(&desk).await;
    let soon = WallTime::from_unix_ms(clock::now().unix_ms() + 1000);
    let changed = observe_all(&desk.app.store, desk.app.rules.rules(), soon).await.unwrap();
    assert_eq!((changed.len(), &changed[0]["rules"][0]), (1, &json!("NEWS2-H")));
}

#[tokio::test]
async fn an_implausible_pressure_counts_and_the_score_says_that_it_is_to_be_checked() {
    let desk = Desk::with_clinic();
    let cookie = desk.log_in("wang").await;
    let patient = desk.monitored(&cookie).await;
    desk.see(&cookie, &patient).await;
    let before = desk.score(&cookie, &patient).await;
    assert_eq!((&before["parts"]["systolic"], &before["text_en"]), (&json!(0), &json!("NEWS2 8")));
    desk.take(Lane::Urgent, vec![of_monitor(Metric::NIBP_SYS, "45", Unit::MM_HG)]).await;
    let score = desk.score(&cookie, &patient).await;
    assert_eq!((&score["complete"], &score["parts"]["systolic"]), (&json!(true), &json!(3)));
    let texts = (&score["text_zh"], &score["text_en"]);
    assert_eq!(texts, (&json!("NEWS2 11,请核对"), &json!("NEWS2 11, check")));
    desk.score_all().await;
    let alerts = desk.news2_alerts().await;
    assert_eq!((alerts.len(), &alerts[0]["value"]), (1, &json!("11")));
    let says = |lang: &str| alerts[0][lang].as_str().unwrap().to_owned();
    assert!(says("message_zh").ends_with(",请核对"), "{alerts:?}");
    assert!(says("message_en").ends_with(", check"), "{alerts:?}");
    // The next one that is plausible ends the doubt.
    desk.take(Lane::Urgent, vec![of_monitor(Metric::NIBP_SYS, "85", Unit::MM_HG)]).await;
    desk.score_all().await;
    assert_eq!(desk.score(&cookie, &patient).await["text_en"], "NEWS2 11");
    let message = desk.news2_alerts().await[0]["message_en"].clone();
    assert!(!message.as_str().unwrap().contains("check"), "{message}");
}

#[tokio::test]
async fn a_minute_of_implausible_saturations_is_not_the_few_good_seconds_of_it() {
    let desk = Desk::with_clinic();
    let cookie = desk.log_in("wang").await;
    let patient = desk.monitored(&cookie).await;
    desk.see(&cookie, &patient).await;
    let low = (0..10).map(|_| of_monitor(Metric::SPO2, "45", Unit::PERCENT)).collect();
    desk.take(Lane::Trend, low).await;
    let score = desk.score(&cookie, &patient).await;
    assert_eq!(
        (&score["parts"]["spo2"], &score["text_en"]),
        (&json!(3), &json!("NEWS2 11, check"))
    );
    // Of a minute that is mostly plausible the median is, and nothing is to be checked.
    let good = (0..12).map(|_| of_monitor(Metric::SPO2, "97", Unit::PERCENT)).collect();
    desk.take(Lane::Trend, good).await;
    let score = desk.score(&cookie, &patient).await;
    assert_eq!((&score["parts"]["spo2"], &score["text_en"]), (&json!(0), &json!("NEWS2 8")));
}

#[tokio::test]
async fn what_a_nurse_saw_an_hour_ago_is_not_what_is() {
    let desk = Desk::with_clinic();
    let cookie = desk.log_in("wang").await;
    let patient = desk.monitored(&cookie).await;
    let ago = |minutes: i64| clock::rfc3339(clock::now().unix_ms() - minutes * 60_000);
    let entries = format!("/patients/{patient}/entries");
    let entry = json!({"consciousness": "A", "oxygen": true, "taken_at": ago(61)});
    desk.do_it(&cookie, Method::POST, &entries, entry).await;
    let score = desk.score(&cookie, &patient).await;
    // Oxygen counts for a day.
    assert_eq!((&score["parts"]["oxygen"], &score["at_least"]), (&json!(2), &json!(8)));
    assert_eq!(score["parts"]["consciousness"], Value::Null);
    let entry = json!({"consciousness": "C", "taken_at": ago(59)});
    desk.do_it(&cookie, Method::POST, &entries, entry).await;
    assert_eq!(desk.score(&cookie, &patient).await["score"], 11);
}

#[tokio::test]
async fn the_score_is_none_of_a_child() {
    let desk = Desk::with_clinic();
    let cookie = desk.log_in("wang").await;
    let body = json!({"clinic": CLINIC, "born": "2012-03"});
    let told = desk.do_it(&cookie, Method::POST, "/patients", body).await;
    let patient = told["patient"].as_str().unwrap();
    assert_eq!(desk.score(&cookie, patient).await, Value::Null);
}

/// What is worth no point.
async fn quiet(desk: &Desk) {
    let streams = [
        (Metric::HR, "72", Unit::PER_MINUTE),
        (Metric::RR_IMP, "16", Unit::PER_MINUTE),
        (Metric::SPO2, "97", Unit::PERCENT),
    ];
    let streams = streams.map(|(metric, value, unit)| of_monitor(metric, value, unit));
    desk.take(Lane::Trend, streams.into()).await;
}

impl Desk {
    /// Somebody whom a quiet monitor and a temperature are known of.
    async fn quiet_patient(&self, cookie: &str) -> String {
        let patient = self.patient(cookie).await;
        quiet(self).await;
        let body = json!({"site": "heping", "device": "mon-01", "patient": patient,
            "reason": "put on"});
        self.do_it(cookie, Method::POST, "/bindings", body).await;
        quiet(self).await;
        self.take(Lane::Urgent, vec![of_monitor(Metric::TEMP_EAR, "36.8", Unit::CELSIUS)]).await;
        patient
    }

    async fn awake_on_air(&self, cookie: &str, patient: &str) {
        let entry = json!({"consciousness": "A", "oxygen": false});
        self.do_it(cookie, Method::POST, &format!("/patients/{patient}/entries"), entry).await;
    }

    /// The result at that place was taken for one's, and is the other's.
    async fn move_result(&self, cookie: &str, place: &str, from: Option<&str>, to: Option<&str>) {
        let body = json!({"from": from, "patient": to, "reason": "wrong_patient"});
        self.do_it(cookie, Method::POST, place, body).await;
    }
}

#[tokio::test]
async fn a_score_that_rests_on_a_result_that_is_moved_away_ends_with_it() {
    let desk = Desk::with_clinic();
    let cookie = desk.log_in("wang").await;
    let patient = desk.quiet_patient(&cookie).await;
    let place = desk.hear(1, vec![inflation("cuff-01", 85, 1)]).await;
    desk.move_result(&cookie, &place, None, Some(&patient)).await;
    desk.awake_on_air(&cookie, &patient).await;
    let alerts = desk.news2_alerts().await;
    assert_eq!((alerts.len(), &alerts[0]["rules"]), (1, &json!(["NEWS2-3IN1"])));
    desk.move_result(&cookie, &place, Some(&patient), None).await;
    assert_eq!(desk.scored().await, [json!(["heping", "closed", "wrong_patient"])]);
    assert_eq!(desk.score_all().await, Vec::<Value>::new());
    // It was hers after all: it is the same alert.
    desk.move_result(&cookie, &place, None, Some(&patient)).await;
    desk.score_all().await;
    let again = desk.news2_alerts().await;
    assert_eq!((&again[0]["id"], &again[0]["state"]), (&alerts[0]["id"], &json!("active_unack")));
}

#[tokio::test]
async fn a_score_is_made_anew_at_once_of_what_is_left_when_a_result_is_moved_away() {
    let desk = Desk::with_clinic();
    let cookie = desk.log_in("wang").await;
    let patient = desk.quiet_patient(&cookie).await;
    desk.take(Lane::Urgent, vec![of_monitor(Metric::NIBP_SYS, "120", Unit::MM_HG)]).await;
    let place = desk.hear(1, vec![inflation("cuff-01", 85, 1)]).await;
    desk.move_result(&cookie, &place, None, Some(&patient)).await;
    desk.awake_on_air(&cookie, &patient).await;
    assert_eq!(desk.scored().await, [json!(["heping", "active_unack", "NEWS2-3IN1"])]);
    desk.move_result(&cookie, &place, Some(&patient), None).await;
    assert_eq!(desk.news2_alerts().await[0]["state"], "cleared_unack");
    assert_eq!(desk.score(&cookie, &patient).await["text_en"], "NEWS2 0");
}

#[tokio::test]
async fn a_score_goes_on_when_a_result_that_it_did_not_rest_on_is_moved_away() {
    let desk = Desk::with_clinic();
    let cookie = desk.log_in("wang").await;
    let patient = desk.quiet_patient(&cookie).await;
    let place = desk.hear(1, vec![inflation("cuff-01", 120, 1)]).await;
    desk.move_result(&cookie, &place, None, Some(&patient)).await;
    desk.take(Lane::Urgent, vec![of_monitor(Metric::NIBP_SYS, "85", Unit::MM_HG)]).await;
    desk.awake_on_air(&cookie, &patient).await;
    let active = json!(["heping", "active_unack", "NEWS2-3IN1"]);
    assert_eq!(desk.scored().await, std::slice::from_ref(&active));
    // Since then nobody can be scored, and what the nurse saw last is newer than the score.
    desk.age_temperature().await;
    desk.awake_on_air(&cookie, &patient).await;
    assert_eq!(desk.score(&cookie, &patient).await["complete"], false);
    desk.move_result(&cookie, &place, Some(&patient), None).await;
    assert_eq!(desk.scored().await, [active]);
}

/// A clinic to which patients are sent.
const OTHER: &str = "永宁镇卫生院";

impl Desk {
    /// A county with two clinics, of which the first has two boxes.
    fn with_clinics() -> Self {
        let mut desk = Self::new();
        let clinics = [("heping", CLINIC), ("heping-2", CLINIC), ("yongning", OTHER)];
        let clinics = clinics.map(|(site, name)| (SiteId::new(site).unwrap(), name.to_owned()));
        desk.app.clinics = Arc::new(clinics.into());
        desk
    }

    /// A monitor at that site is on the patient; the binding.
    async fn put_on(&self, cookie: &str, site: &str, patient: &str) -> i64 {
        values_of(self, site).await;
        let body = json!({"site": site, "device": "mon-01", "patient": patient,
            "reason": "put on"});
        let told = self.do_it(cookie, Method::POST, "/bindings", body).await;
        values_of(self, site).await;
        told["id"].as_i64().unwrap()
    }

    async fn take_off(&self, cookie: &str, binding: i64, reason: &str) {
        let path = format!("/bindings/{binding}");
        self.do_it(cookie, Method::DELETE, &path, json!({"reason": reason})).await;
    }

    async fn see(&self, cookie: &str, patient: &str) {
        let entry = json!({"consciousness": "A", "oxygen": true});
        self.do_it(cookie, Method::POST, &format!("/patients/{patient}/entries"), entry).await;
    }

    /// The temperature was as old as it may be when it was scored.
    async fn age_temperature(&self) {
        let age = |transaction: &rusqlite::Transaction<'_>| {
            let oldest = clock::now().unix_ms() - 4 * 3_600_000;
            transaction.execute(
                "UPDATE reading_group SET measured_ms = ?1 WHERE metric_list IN
                 (SELECT id FROM metric_list WHERE metrics LIKE '%temp_ear%')",
                [oldest],
            )
        };
        assert!(self.app.store.write(age).await.unwrap() > 0);
    }

    /// Scores everybody, a second from now.
    async fn score_all(&self) -> Vec<Value> {
        let soon = WallTime::from_unix_ms(clock::now().unix_ms() + 1000);
        observe_all(&self.app.store, self.app.rules.rules(), soon).await.unwrap()
    }

    /// Site and state of each alert of the score, and why it was closed.
    async fn scored(&self) -> Vec<Value> {
        let told = self.get("/api/v1/alerts").await.1;
        let alerts = told["alerts"].as_array().unwrap().iter();
        let mut scored: Vec<Value> = alerts
            .filter(|alert| alert["family"] == "news2")
            .map(|alert| {
                let last = alert["timeline"].as_array().unwrap().last().unwrap();
                json!([alert["site"], alert["state"], last["detail"]])
            })
            .collect();
        scored.sort_by_key(Value::to_string);
        scored
    }
}

#[tokio::test]
async fn a_score_ends_with_the_last_device_and_begins_at_the_next_clinic_alone() {
    let desk = Desk::with_clinics();
    let cookie = desk.log_in("wang").await;
    let patient = desk.patient(&cookie).await;
    let binding = desk.put_on(&cookie, "heping", &patient).await;
    desk.see(&cookie, &patient).await;
    let active = json!(["heping", "active_unack", "NEWS2-H"]);
    assert_eq!(desk.scored().await, [active]);
    desk.take_off(&cookie, binding, "transfer").await;
    let closed = json!(["heping", "closed", "transfer"]);
    assert_eq!(desk.scored().await, std::slice::from_ref(&closed));
    // What the monitor said a moment ago scores nobody any more.
    assert_eq!(desk.score_all().await, Vec::<Value>::new());
    let path = format!("/patients/{patient}");
    let version = desk.do_it(&cookie, Method::GET, &path, Value::Null).await["version"].clone();
    let body = json!({"clinic": OTHER, "version": version});
    desk.do_it(&cookie, Method::PATCH, &path, body).await;
    desk.put_on(&cookie, "yongning", &patient).await;
    desk.see(&cookie, &patient).await;
    let active = json!(["yongning", "active_unack", "NEWS2-H"]);
    assert_eq!(desk.scored().await, [closed, active]);
}

#[tokio::test]
async fn a_score_that_is_old_does_not_end_with_a_device_that_it_did_not_rest_on() {
    let desk = Desk::with_clinics();
    let cookie = desk.log_in("wang").await;
    let patient = desk.patient(&cookie).await;
    desk.put_on(&cookie, "heping", &patient).await;
    let body = json!({"site": "heping", "device": "meter-01", "patient": patient,
        "reason": "put on"});
    let meter = Reading::number(Metric::GLU_CAP_PL, 6, Unit::MMOL_PER_L);
    let meter = ReadingGroup::new(DeviceId::new("meter-01").unwrap(), observed(), vec![meter]);
    desk.take(Lane::Urgent, vec![Record::Readings(meter)]).await;
    let told = desk.do_it(&cookie, Method::POST, "/bindings", body).await;
    desk.see(&cookie, &patient).await;
    let active = json!(["heping", "active_unack", "NEWS2-H"]);
    assert_eq!(desk.scored().await, std::slice::from_ref(&active));
    desk.age_temperature().await;
    let past = desk.score(&cookie, &patient).await;
    assert_eq!(past["complete"], false);
    desk.take_off(&cookie, told["id"].as_i64().unwrap(), "read out").await;
    assert_eq!(desk.scored().await, [active]);
}

#[tokio::test]
async fn with_devices_of_two_boxes_a_patient_has_one_alert_of_the_score() {
    let desk = Desk::with_clinics();
    let cookie = desk.log_in("wang").await;
    let patient = desk.patient(&cookie).await;
    let first = desk.put_on(&cookie, "heping", &patient).await;
    desk.see(&cookie, &patient).await;
    let second = desk.put_on(&cookie, "heping-2", &patient).await;
    // The score goes on where it was, whatever was put on since.
    desk.score_all().await;
    let active = json!(["heping", "active_unack", "NEWS2-H"]);
    assert_eq!(desk.scored().await, std::slice::from_ref(&active));
    // The rest of the set is there: it goes on until it is scored where the devices are.
    desk.take_off(&cookie, first, "off").await;
    assert_eq!(desk.scored().await, [active]);
    let changed = desk.score_all().await;
    assert_eq!(changed.len(), 2);
    let moved = [
        json!(["heping", "closed", "scored at another site"]),
        json!(["heping-2", "active_unack", "NEWS2-H"]),
    ];
    assert_eq!(desk.scored().await, moved);
    desk.take_off(&cookie, second, "off").await;
    assert_eq!(desk.scored().await[1], json!(["heping-2", "closed", "off"]));
}

impl Desk {
    /// The link of a site's box is up or down since so many seconds; then time passes.
    async fn link(&self, site: &str, online: bool, seconds: i64) {
        let at = WallTime::from_unix_ms(clock::now().unix_ms() - seconds * 1000);
        let state = SiteState {
            online,
            connection: 1,
            agent_version: "0.1.0".into(),
            policy: None,
            upkeep: Upkeep::default(),
            outbox: OutboxId::from_bytes([10; 16]),
            backlog: [0; 3],
            holds_s: None,
            clock: ClockQuality::Synchronised,
            clock_evidence: String::new(),
            at,
            uptime: None,
        };
        let site = SiteId::new(site).unwrap();
        let delivery = Delivery::State { site, bytes: state.encode(), retained: false };
        let rules = self.app.rules.rules();
        let take = move |transaction: &rusqlite::Transaction<'_>| {
            intake::take(transaction, &[delivery], at, &rules)
        };
        self.app.store.write(take).await.unwrap();
        pass_time(&self.app.store, self.app.rules.rules(), clock::now(), None).await.unwrap();
    }

    /// What the devices of a site said was two minutes ago.
    async fn say_nothing(&self, site: &'static str) {
        let age = move |transaction: &rusqlite::Transaction<'_>| {
            transaction.execute(
                "UPDATE reading_group SET observed_ms = observed_ms - 120000,
                   measured_ms = measured_ms - 120000
                 WHERE source IN (SELECT id FROM source WHERE site = ?1)",
                [site],
            )
        };
        assert!(self.app.store.write(age).await.unwrap() > 0);
    }
}

#[tokio::test]
async fn a_score_behind_a_lost_box_is_unknown_until_a_set_is_whole() {
    let desk = Desk::with_clinics();
    let cookie = desk.log_in("wang").await;
    let patient = desk.patient(&cookie).await;
    desk.link("heping", true, 300).await;
    desk.put_on(&cookie, "heping", &patient).await;
    desk.see(&cookie, &patient).await;
    desk.say_nothing("heping").await;
    desk.link("heping", false, 59).await;
    let active = json!(["heping", "active_unack", "NEWS2-H"]);
    assert_eq!(desk.scored().await, [active]);
    desk.link("heping", true, 0).await;
    desk.link("heping", false, 61).await;
    assert_eq!(desk.scored().await, [json!(["heping", "unknown", ""])]);
    assert_eq!(desk.score_all().await, Vec::<Value>::new());
    desk.link("heping", true, 0).await;
    assert_eq!(desk.score_all().await, Vec::<Value>::new());
    values(&desk).await;
    desk.score_all().await;
    assert_eq!(desk.scored().await, [json!(["heping", "active_unack", ""])]);
}

#[tokio::test]
async fn with_devices_of_two_boxes_a_score_is_known_as_long_as_a_set_is_whole() {
    for (lost, other) in [("heping", "heping-2"), ("heping-2", "heping")] {
        let desk = Desk::with_clinics();
        let cookie = desk.log_in("wang").await;
        let patient = desk.patient(&cookie).await;
        desk.link(lost, true, 300).await;
        desk.put_on(&cookie, "heping", &patient).await;
        desk.see(&cookie, &patient).await;
        desk.put_on(&cookie, "heping-2", &patient).await;
        desk.say_nothing(lost).await;
        desk.link(lost, false, 61).await;
        desk.score_all().await;
        let active = json!(["heping", "active_unack", "NEWS2-H"]);
        assert_eq!(desk.scored().await, [active], "{lost}");
        desk.say_nothing(other).await;
        desk.score_all().await;
        assert_eq!(desk.scored().await, [json!(["heping", "unknown", ""])], "{lost}");
    }
}

#[tokio::test]
async fn with_devices_of_two_boxes_nobody_is_told_twice_that_an_age_is_unknown() {
    let desk = Desk::with_clinics();
    let cookie = desk.log_in("wang").await;
    let body = json!({"clinic": "和平镇卫生院", "name": "王秀英", "bed": "3", "sex": "female"});
    let told = desk.do_it(&cookie, Method::POST, "/patients", body).await;
    let patient = told["patient"].as_str().unwrap().to_owned();
    let open = async || -> Vec<String> {
        let told = desk.get("/api/v1/alerts?state=open").await.1;
        let alerts = told["alerts"].as_array().unwrap().iter();
        let of_age = alerts.filter(|alert| alert["family"] == "tech_age_unknown");
        of_age.map(|alert| alert["site"].as_str().unwrap().to_owned()).collect()
    };
    let first = desk.put_on(&cookie, "heping", &patient).await;
    assert_eq!(open().await, ["heping"]);
    let second = desk.put_on(&cookie, "heping-2", &patient).await;
    assert_eq!(open().await, ["heping"]);
    // It goes where the devices are.
    desk.take_off(&cookie, first, "off").await;
    assert_eq!(open().await, ["heping-2"]);
    let first = desk.put_on(&cookie, "heping", &patient).await;
    assert_eq!(open().await, ["heping-2"]);
    for binding in [first, second] {
        desk.take_off(&cookie, binding, "off").await;
        assert_eq!(open().await.len(), 1);
    }
    let path = format!("/patients/{patient}");
    let known = desk.do_it(&cookie, Method::GET, &path, Value::Null).await;
    let body = json!({"version": known["version"], "born": "1956-03"});
    desk.do_it(&cookie, Method::PATCH, &path, body).await;
    assert_eq!(open().await, Vec::<String>::new());
}

/// What a test waits for at most.
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn a_score_that_changes_nothing_waits_for_no_writer() {
    let desk = Desk::with_clinic();
    let cookie = desk.log_in("wang").await;
    let patient = desk.monitored(&cookie).await;
    desk.see(&cookie, &patient).await;
    assert_eq!(desk.news2_alerts().await.len(), 1);
    let (done, wait) = std::sync::mpsc::channel::<()>();
    let store = desk.app.store.clone();
    let writing = tokio::spawn(async move {
        store
            .write(move |_| {
                assert!(wait.recv().is_err(), "nobody sends");
                Ok(())
            })
            .await
    });
    let has_begun = async {
        while !desk.app.store.is_writing() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, has_begun).await.unwrap();
    let changed = tokio::time::timeout(PATIENCE, desk.score_all()).await.unwrap();
    assert_eq!(changed, Vec::<Value>::new());
    drop(done);
    writing.await.unwrap().unwrap();
}
