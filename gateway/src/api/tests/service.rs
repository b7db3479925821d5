//! A device that is taken off, beside others of the same patient.

use super::{
    patients::{CLINIC, NAME},
    *,
};

fn alarm(device: &str, kind: AlarmKind) -> Record {
    Record::Alarm(DeviceAlarm {
        device: DeviceId::new(device).unwrap(),
        channel: Channel::default(),
        phase: AlarmPhase::Start,
        kind,
        code: kind.rule_id().to_owned(),
        text: String::new(),
        priority: None,
        latched: false,
        source: None,
        device_time: None,
        observed: observed(),
    })
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
        observed: observed(),
    })
}

/// A patient with a monitor and an oximeter whose probe is off.
struct Bed {
    desk: Desk,
    cookie: String,
    seq: u64,
    patient: String,
    bindings: Vec<i64>,
}

impl Bed {
    async fn new() -> Self {
        let desk = Desk::with_clinic();
        let cookie = desk.log_in("wang").await;
        let mut bed = Self { desk, cookie, seq: 0, patient: String::new(), bindings: Vec::new() };
        bed.hear(vec![
            status("ecg-01", DeviceKind::Monitor),
            status("oxi-01", DeviceKind::Oximeter),
            status("ecg-02", DeviceKind::Monitor),
        ])
        .await;
        bed.patient = bed.patient("3").await;
        for device in ["ecg-01", "oxi-01"] {
            let binding = bed.bind(device, &bed.patient).await;
            bed.bindings.push(binding);
        }
        bed.hear(vec![alarm("oxi-01", AlarmKind::ProbeOff)]).await;
        bed
    }

    async fn patient(&self, bed: &str) -> String {
        let body = json!({"clinic": CLINIC, "name": NAME, "bed": bed, "born": "1956-03",
            "sex": "female"});
        let told = self.desk.do_it(&self.cookie, Method::POST, "/patients", body).await;
        told["patient"].as_str().unwrap().to_owned()
    }

    async fn bind(&self, device: &str, patient: &str) -> i64 {
        let body = json!({"site": "heping", "device": device, "patient": patient,
            "reason": "put on"});
        let told = self.desk.do_it(&self.cookie, Method::POST, "/bindings", body).await;
        told["id"].as_i64().unwrap()
    }

    async fn hear(&mut self, records: Vec<Record>) {
        self.seq += 1;
        let envelope = Envelope {
            outbox: OutboxId::from_bytes([9; 16]),
            lane: Lane::Urgent,
            seq: Seq::new(self.seq).unwrap(),
            opened_at: clock::now(),
            uptime: None,
            records,
        };
        let site = SiteId::new("heping").unwrap();
        let delivery = Delivery::Envelope(site, Lane::Urgent, envelope.encode());
        let rules = self.desk.app.rules.rules();
        let take = move |transaction: &rusqlite::Transaction<'_>| {
            intake::take(transaction, &[delivery], clock::now(), &rules)
        };
        assert_eq!(self.desk.app.store.write(take).await.unwrap().counts.new, 1);
    }

    async fn alert(&self, family: &str) -> Value {
        let (_, alerts) = self.desk.get("/api/v1/alerts?state=open").await;
        let mut alerts = alerts["alerts"].as_array().unwrap().iter();
        alerts.find(|alert| alert["family"] == family).unwrap().clone()
    }

    /// Does it with the oximeter's alert.
    async fn serve(&self, method: Method, body: Value) -> Value {
        let id = self.alert("tech_probe_off").await["id"].as_str().unwrap().to_owned();
        self.desk.do_it(&self.cookie, method, &format!("/alerts/{id}/out-of-service"), body).await
    }

    /// Of each device who took it off.
    async fn off(&self) -> BTreeMap<String, Value> {
        let (_, devices) = self.desk.get("/api/v1/devices").await;
        let devices = devices["devices"].as_array().unwrap().iter();
        let of = |device: &Value| {
            let by = device["out_of_service"]["by"].clone();
            (device["device"].as_str().unwrap().to_owned(), by)
        };
        devices.map(of).filter(|(_, by)| !by.is_null()).collect()
    }

    /// How often somebody's telephone was told of an alert.
    async fn notified(&self, alert: &Value) -> i64 {
        let id = alert["id"].as_str().unwrap().to_owned();
        let count = move |connection: &rusqlite::Connection| {
            let of = "SELECT count(*) FROM notification WHERE alert = ?1";
            connection.query_row(of, [id], |row| row.get(0))
        };
        self.desk.app.store.read(count).await.unwrap()
    }
}

#[tokio::test]
async fn of_two_devices_of_a_patient_the_one_that_is_not_off_sounds_and_tells() {
    let mut bed = Bed::new().await;
    let mut heard = bed.desk.app.events.follow();
    let told = bed.serve(Method::POST, json!({"reason": "broken"})).await;
    assert_eq!(told["state"], "out_of_service");
    assert_eq!(bed.off().await, [("oxi-01".to_owned(), json!("wang"))].into());
    let news: Vec<_> = std::iter::from_fn(|| heard.try_recv().ok()).collect();
    let device = news.iter().find(|event| event.name == "device").unwrap();
    assert!(device.data.contains("broken"), "other boards hear of it: {device:?}");

    bed.hear(vec![alarm("ecg-01", AlarmKind::Asystole)]).await;
    let asystole = bed.alert("dev_asystole").await;
    assert_eq!(asystole["state"], "active_unack");
    assert!(!asystole["next_step"].is_null(), "the next person is told");
    assert_eq!(bed.notified(&asystole).await, 1);

    let back = bed.serve(Method::DELETE, json!({})).await;
    assert_eq!(back["state"], "active_unack");
    assert!(bed.off().await.is_empty());
}

#[tokio::test]
async fn a_device_that_was_off_when_it_left_silences_nobody() {
    let mut bed = Bed::new().await;
    bed.serve(Method::POST, json!({"reason": "broken"})).await;
    for binding in bed.bindings.clone() {
        let path = format!("/bindings/{binding}");
        bed.desk.do_it(&bed.cookie, Method::DELETE, &path, json!({"reason": "went home"})).await;
    }
    assert_eq!(bed.off().await, [("oxi-01".to_owned(), json!("wang"))].into());
    // The next monitor of that patient is heard, and whoever gets the oximeter too.
    bed.bind("ecg-02", &bed.patient).await;
    bed.bind("oxi-01", &bed.patient("4").await).await;
    assert!(bed.off().await.is_empty());
    bed.hear(vec![alarm("ecg-02", AlarmKind::Asystole)]).await;
    assert_eq!(bed.alert("dev_asystole").await["state"], "active_unack");
    assert_eq!(bed.alert("tech_probe_off").await["state"], "active_unack");
    let path = "/devices/heping/oxi-01/out-of-service";
    assert_eq!(bed.desk.refused(&bed.cookie, Method::DELETE, path, json!({})).await.0, 409);
}

#[tokio::test]
async fn what_no_device_alone_says_takes_none_off() {
    let bed = Bed::new().await;
    let body = json!({"clinic": CLINIC, "name": NAME, "bed": "5", "sex": "female"});
    let told = bed.desk.do_it(&bed.cookie, Method::POST, "/patients", body).await;
    bed.bind("ecg-02", told["patient"].as_str().unwrap()).await;
    let age = bed.alert("tech_age_unknown").await;
    let path = format!("/alerts/{}/out-of-service", age["id"].as_str().unwrap());
    let reason = json!({"reason": "broken"});
    assert_eq!(bed.desk.refused(&bed.cookie, Method::POST, &path, reason).await.0, 409);
    assert!(bed.off().await.is_empty());
}

#[tokio::test]
async fn of_a_patient_whom_an_earlier_version_took_off_each_device_is_off() {
    let bed = Bed::new().await;
    let earlier = |transaction: &rusqlite::Transaction<'_>| {
        transaction.execute(
            "UPDATE engine SET state = json_set(state, '$.out_of_service',
               json('{\"by\": \"wang\", \"at\": 0, \"reason\": \"broken\"}'))
             WHERE device LIKE 'patient:%'",
            [],
        )
    };
    assert_eq!(bed.desk.app.store.write(earlier).await.unwrap(), 1);
    let off = |devices: &[&str]| -> BTreeMap<String, Value> {
        devices.iter().map(|device| ((*device).to_owned(), json!("wang"))).collect()
    };
    assert_eq!(bed.off().await, off(&["ecg-01", "oxi-01"]));
    let path = "/devices/heping/ecg-01/out-of-service";
    bed.desk.do_it(&bed.cookie, Method::DELETE, path, json!({})).await;
    assert_eq!(bed.off().await, off(&["oxi-01"]));
}
