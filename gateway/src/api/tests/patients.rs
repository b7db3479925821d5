//! Patients, bindings, the tray: with good input and with hostile input.

use super::*;
use crate::patients::ward::ward;
use ::rules::binding::{BindingList, PatientKey, Subject};
use model::time::DeviceTime;

mod bed;
mod followup;
mod limits;
mod persons;
mod trends;

pub(super) const CLINIC: &str = "和平镇卫生院";
/// Made up, and in no answer but that of unmasking.
pub(super) const NAME: &str = "测试甲乙";

impl Desk {
    /// A county whose site has a clinic.
    pub(super) fn with_clinic() -> Self {
        let mut desk = Self::new();
        desk.app.clinics = Arc::new([(SiteId::new("heping").unwrap(), CLINIC.to_owned())].into());
        desk
    }

    /// Asks as somebody who has logged in.
    pub(super) async fn ask(
        &self,
        cookie: &str,
        method: Method,
        path: &str,
        body: &Value,
    ) -> (StatusCode, Value) {
        let request = Request::builder()
            .method(method)
            .uri(format!("/api/v1{path}"))
            .header(JSON.0, JSON.1)
            .header(header::COOKIE, cookie)
            .body(Body::from(body.to_string()));
        told(self.send(request.unwrap()).await).await
    }

    pub(super) async fn do_it(
        &self,
        cookie: &str,
        method: Method,
        path: &str,
        body: Value,
    ) -> Value {
        let (status, answer) = self.ask(cookie, method.clone(), path, &body).await;
        assert!(status.is_success(), "{method} {path} answered {status}: {answer}");
        answer
    }

    pub(super) async fn refused(
        &self,
        cookie: &str,
        method: Method,
        path: &str,
        body: Value,
    ) -> (u16, String) {
        let (status, answer) = self.ask(cookie, method.clone(), path, &body).await;
        check_schema(&document(), "Problem", &answer);
        (status.as_u16(), answer["detail"].as_str().unwrap().to_owned())
    }

    pub(super) async fn patient(&self, cookie: &str) -> String {
        let body = json!({"clinic": CLINIC, "name": NAME, "bed": "3", "born": "1956-03",
            "sex": "female", "hypertension": true, "cuff_on_other_limb": true});
        let told = self.do_it(cookie, Method::POST, "/patients", body).await;
        told["patient"].as_str().unwrap().to_owned()
    }

    pub(super) async fn bind(&self, cookie: &str, patient: &str) -> i64 {
        let body = json!({"site": "heping", "device": "pump-01", "patient": patient,
            "reason": "put on"});
        let told = self.do_it(cookie, Method::POST, "/bindings", body).await;
        told["id"].as_i64().unwrap()
    }

    /// The box sends these; hands out where the first reading is.
    pub(super) async fn hear(&self, seq: u64, groups: Vec<ReadingGroup>) -> String {
        let outbox = OutboxId::from_bytes([9; 16]);
        let envelope = Envelope {
            outbox,
            lane: Lane::Urgent,
            seq: Seq::new(seq).unwrap(),
            opened_at: clock::now(),
            uptime: None,
            records: groups.into_iter().map(Record::Readings).collect(),
        };
        let site = SiteId::new("heping").unwrap();
        let delivery = Delivery::Envelope(site, Lane::Urgent, envelope.encode());
        let rules = self.app.rules.rules();
        let take = move |transaction: &rusqlite::Transaction<'_>| {
            intake::take(transaction, &[delivery], clock::now(), &rules)
        };
        assert_eq!(self.app.store.write(take).await.unwrap().counts.new, 1);
        format!("/readings/{outbox}/urgent/{seq}/0/reassign")
    }

    async fn waiting(&self) -> Vec<Value> {
        let (_, tray) = self.get("/api/v1/tray").await;
        check_schema(&document(), "Tray", &tray);
        tray["waiting"].as_array().unwrap().clone()
    }

    /// Entries of the audit chain: who did what to what.
    pub(super) async fn audit(&self) -> Vec<String> {
        let read = |connection: &rusqlite::Connection| {
            let mut statement = connection.prepare(
                "SELECT body ->> 3 || ' ' || (body ->> 4) || ' ' || (body ->> 5) FROM audit",
            )?;
            statement.query_map([], |row| row.get(0))?.collect::<Result<Vec<String>, _>>()
        };
        self.app.store.read(read).await.unwrap()
    }
}

/// One inflation, as a kiosk says it.
pub(super) fn inflation(device: &str, sys: u32, number: u64) -> ReadingGroup {
    let parts = [(Metric::NIBP_SYS, sys), (Metric::NIBP_DIA, 70)];
    let parts = parts.map(|(metric, value)| Reading::number(metric, value, Unit::MM_HG));
    let mut group = ReadingGroup::new(DeviceId::new(device).unwrap(), observed(), parts.into());
    group.device_seq = Some(number);
    group
}

#[tokio::test]
async fn a_name_is_in_no_answer_but_that_of_unmasking() {
    let desk = Desk::with_clinic();
    let cookie = desk.log_in("wang").await;
    let patient = desk.patient(&cookie).await;
    let binding = desk.bind(&cookie, &patient).await;
    let place =
        desk.hear(1, vec![inflation("pump-01", 190, 1), inflation("cuff-01", 190, 2)]).await;
    let to_tray = json!({"from": patient, "reason": "wrong_patient"});
    let moved = desk.do_it(&cookie, Method::POST, &place, to_tray).await;
    check_schema(&document(), "Reassigned", &moved);
    let in_a_minute = clock::rfc3339(clock::now().unix_ms() + 60_000);
    let more = [
        (Method::PATCH, format!("/patients/{patient}"), json!({"version": 1, "bed": "4"})),
        (Method::POST, format!("/patients/{patient}/entries"), json!({"oxygen": true})),
        (
            Method::POST,
            format!("/patients/{patient}/limits"),
            json!({"rule": "HR-AD-H",
            "value": "130", "reason": "sport", "until": in_a_minute}),
        ),
        (Method::PATCH, format!("/patients/{patient}"), json!({"version": 1})),
        (
            Method::POST,
            "/bindings".to_owned(),
            json!({"site": "heping", "device": "pump-01",
            "patient": patient, "reason": format!("for {NAME}")}),
        ),
    ];
    let mut answers = vec![moved.to_string()];
    for (method, path, body) in more {
        answers.push(desk.ask(&cookie, method, &path, &body).await.1.to_string());
    }
    let document = document();
    for (path, methods) in document["paths"].as_object().unwrap() {
        if methods.get("get").is_none() || path.ends_with("/events") {
            continue;
        }
        let path = with_id(&path.replace("/patients/{id}", &format!("/patients/{patient}")));
        let request = Request::get(&path).header(header::COOKIE, &cookie).body(Body::empty());
        let answer = desk.send(request.unwrap()).await;
        answers.push(
            String::from_utf8(to_bytes(answer.into_body(), 1 << 24).await.unwrap().into()).unwrap(),
        );
    }
    for query in ["patients?all=true", "bindings?all=true", "readings?limit=9"] {
        answers.push(desk.get(&format!("/api/v1/{query}")).await.1.to_string());
    }
    let unbind = json!({"reason": "taken off"});
    let ended = desk.do_it(&cookie, Method::DELETE, &format!("/bindings/{binding}"), unbind).await;
    answers.push(ended.to_string());
    let told = answers.iter().filter(|answer| answer.contains("测**")).count();
    assert!(told >= 5, "{told} answers have the masked name");
    answers.iter().for_each(|answer| assert!(!answer.contains(NAME), "{answer}"));

    assert!(!desk.audit().await.iter().any(|entry| entry.contains("unmask")));
    let path = format!("/patients/{patient}/unmask");
    let hall = desk.log_in("hall").await;
    assert_eq!(desk.refused(&hall, Method::POST, &path, json!({})).await.0, 403);
    let bearer = format!("Bearer {}", desk.token);
    let program = desk.post(&format!("/api/v1{path}"), &[("authorization", &bearer)], "").await;
    assert_eq!(program.status(), StatusCode::FORBIDDEN);
    let told = desk.do_it(&cookie, Method::POST, &path, json!({})).await;
    check_schema(&document, "Patient", &told);
    assert_eq!(told["name"], NAME);
    let entries = desk.audit().await;
    assert_eq!(entries.last(), Some(&format!("wang unmask {patient}")), "{entries:?}");
    let whole = "SELECT count(*) FROM audit WHERE instr(body, ?1) > 0";
    let read = move |connection: &rusqlite::Connection| {
        connection.query_row(whole, [NAME], |row| row.get::<_, i64>(0))
    };
    assert_eq!(desk.app.store.read(read).await.unwrap(), 0);
}

#[tokio::test]
async fn answers_about_patients_are_as_the_document_says() {
    let desk = Desk::with_clinic();
    let cookie = desk.log_in("wang").await;
    let patient = desk.patient(&cookie).await;
    desk.bind(&cookie, &patient).await;
    desk.hear(1, vec![inflation("cuff-01", 190, 1)]).await;
    let entry = json!({"consciousness": "C", "oxygen": false});
    desk.do_it(&cookie, Method::POST, &format!("/patients/{patient}/entries"), entry).await;
    for (path, schema) in [
        ("/patients".to_owned(), "Patients"),
        (format!("/patients/{patient}"), "PatientWhole"),
        (format!("/patients/{patient}/limits"), "Limits"),
        (format!("/patients/{patient}/entries"), "Entries"),
        ("/bindings".to_owned(), "Bindings"),
        ("/tray".to_owned(), "Tray"),
        ("/followup".to_owned(), "FollowUp"),
        ("/readings".to_owned(), "Readings"),
        ("/patients/p-0".to_owned(), "Problem"),
    ] {
        let (_, answer) = desk.get(&format!("/api/v1{path}")).await;
        check_schema(&document(), schema, &answer);
    }
}

#[tokio::test]
async fn of_two_who_change_a_patient_the_second_is_told() {
    let desk = Desk::with_clinic();
    let cookie = desk.log_in("wang").await;
    let path = format!("/patients/{}", desk.patient(&cookie).await);
    let told = desk.do_it(&cookie, Method::PATCH, &path, json!({"version": 1, "bed": "5"})).await;
    assert_eq!((&told["bed"], &told["version"]), (&json!("5"), &json!(2)));
    assert_eq!(told["name"], "测**");
    let (status, detail) =
        desk.refused(&cookie, Method::PATCH, &path, json!({"version": 1, "bed": "6"})).await;
    assert_eq!(status, 409);
    assert!(detail.starts_with("wang changed this patient at"), "{detail}");
    for (wrong, begin) in [
        (json!({"bed": "6"}), "version: "),
        (json!({"version": 2, "clinic": "nowhere"}), "clinic: "),
        (json!({"version": 2, "monitored": "yes"}), "invalid type"),
        (json!({"version": 2, "identity_number": "1"}), "unknown field"),
        (json!({"version": 2, "name": "x1"}), "name: "),
        (json!({"version": 2, "discharged": true}), "reason: "),
    ] {
        let (status, detail) = desk.refused(&cookie, Method::PATCH, &path, wrong).await;
        assert!(status == 400 && detail.starts_with(begin), "{status} {detail}");
    }
    let nobody = "/patients/p-0";
    assert_eq!(desk.refused(&cookie, Method::PATCH, nobody, json!({"version": 1})).await.0, 404);
    let (status, _) = desk.ask(&cookie, Method::POST, "/patients", &json!([])).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
}

#[tokio::test]
async fn of_two_who_bind_a_device_the_second_learns_who_was_first() {
    let desk = Desk::with_clinic();
    let cookie = desk.log_in("wang").await;
    let (first, second) = (desk.patient(&cookie).await, desk.patient(&cookie).await);
    let bound = |patient: &str| {
        let (site, device) = ("heping", "pump-01");
        json!({"site": site, "device": device, "patient": patient, "reason": "put on"})
    };
    let path = "/bindings";
    let told = desk.do_it(&cookie, Method::POST, path, bound(&first)).await;
    assert_eq!((&told["version"], &told["bed"]), (&json!(1), &json!("3")));
    let (status, answer) = desk.ask(&cookie, Method::POST, path, &bound(&second)).await;
    assert_eq!((status, &answer["by"]), (StatusCode::CONFLICT, &json!("wang")), "{answer}");
    let end = format!("/bindings/{}", told["id"]);
    let ended = desk.do_it(&cookie, Method::DELETE, &end, json!({"reason": "taken off"})).await;
    assert_eq!((&ended["version"], &ended["ended_by"]), (&json!(2), &json!("wang")));
    let again = desk.refused(&cookie, Method::DELETE, &end, json!({"reason": "taken off"})).await;
    assert!(again.0 == 409 && again.1.starts_with("wang ended this binding"), "{again:?}");
    let told = desk.do_it(&cookie, Method::POST, path, bound(&second)).await;
    assert_eq!(told["version"], 3);
    let entries = desk.audit().await;
    let of_device: Vec<&String> =
        entries.iter().filter(|entry| entry.ends_with("heping/pump-01")).collect();
    assert_eq!(
        of_device,
        ["wang bind heping/pump-01", "wang unbind heping/pump-01", "wang bind heping/pump-01"]
    );

    let ago = |ms: i64| clock::rfc3339(clock::now().unix_ms() - ms);
    for (change, status, begin) in [
        (json!({"device": "pump-02"}), 404, "no device pump-02"),
        (json!({"device": "a|b"}), 400, "\"a|b\" is not a device id"),
        (json!({"patient": "p-0"}), 404, "no patient"),
        (json!({"patient": null}), 400, "patient: say on whom"),
        (json!({"reason": null}), 400, "reason: "),
        (json!({"from": ago(-3_600_000)}), 400, "from: "),
        (json!({"from": ago(25 * 3_600_000)}), 400, "from: "),
        (json!({"bed": "\u{7}"}), 400, "bed: "),
    ] {
        let mut body = bound(&first);
        body.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        let (found, detail) = desk.refused(&cookie, Method::POST, path, body).await;
        assert!(found == status && detail.starts_with(begin), "{found} {detail}");
    }
    assert_eq!(
        desk.refused(&cookie, Method::DELETE, "/bindings/99", json!({"reason": "x"})).await.0,
        404
    );
}

#[tokio::test]
async fn who_is_discharged_has_no_device_any_more() {
    let desk = Desk::with_clinic();
    let cookie = desk.log_in("wang").await;
    let patient = desk.patient(&cookie).await;
    desk.bind(&cookie, &patient).await;
    let path = format!("/patients/{patient}");
    let moves = json!({"version": 1, "clinic": "elsewhere"});
    assert_eq!(desk.refused(&cookie, Method::PATCH, &path, moves).await.0, 400);
    let home = json!({"version": 1, "discharged": true, "reason": "went home"});
    let told = desk.do_it(&cookie, Method::PATCH, &path, home).await;
    assert!(told["discharged_at"].is_string(), "{told}");
    let (_, bindings) = desk.get("/api/v1/bindings?all=true").await;
    assert_eq!(bindings["bindings"][0]["ended_reason"], "went home");
    assert_eq!(desk.get("/api/v1/bindings").await.1["bindings"], json!([]));
    assert_eq!(desk.get("/api/v1/patients").await.1["patients"], json!([]));
    let again = json!({"site": "heping", "device": "pump-01", "patient": patient, "reason": "x"});
    let (status, detail) = desk.refused(&cookie, Method::POST, "/bindings", again).await;
    assert!(status == 400 && detail.starts_with("patient: was discharged"), "{detail}");
    let back = json!({"version": 2, "discharged": false});
    let told = desk.do_it(&cookie, Method::PATCH, &path, back).await;
    assert_eq!(told["discharged_at"], json!(null));
}

#[tokio::test]
async fn a_result_of_a_kiosk_waits_until_a_person_says_whose_it_is() {
    let desk = Desk::with_clinic();
    let cookie = desk.log_in("wang").await;
    let (one, other) = (desk.patient(&cookie).await, desk.patient(&cookie).await);
    let day = clock::local_date(clock::now()).to_string();
    let expected = json!({"version": 1, "appointment": day});
    desk.do_it(&cookie, Method::PATCH, &format!("/patients/{one}"), expected).await;
    let before = desk.waiting().await.len();
    let place = desk.hear(1, vec![inflation("cuff-01", 190, 1)]).await;
    let waiting = desk.waiting().await;
    assert_eq!(waiting.len(), before + 1);
    let candidates = &waiting[0]["candidates"];
    assert_eq!(candidates[0]["patient"], json!(one), "{waiting:#?}");
    assert_eq!(candidates[0]["why"], json!(["appointment"]));
    // Offered is not assigned: neither when it comes again after a re-plug nor when another comes.
    desk.hear(2, vec![inflation("cuff-01", 190, 1), inflation("cuff-01", 150, 2)]).await;
    assert_eq!(desk.waiting().await.len(), before + 2);

    let reassign = |from: Option<&str>, to: Option<&str>| {
        let reason = "wrong_patient";
        json!({"from": from, "patient": to, "reason": reason})
    };
    let moved = desk.do_it(&cookie, Method::POST, &place, reassign(None, Some(&one))).await;
    assert_eq!(moved["readings"].as_array().unwrap().len(), 2);
    assert_eq!(moved["readings"][1]["patient"], json!(one));
    assert_eq!(moved["readings"][1]["bound_patient"], json!(null));
    assert_eq!(desk.waiting().await.len(), before + 1);
    // The copy is the same result.
    let of = async |patient: &str| {
        let (_, answer) = desk.get(&format!("/api/v1/readings?patient={patient}")).await;
        answer["readings"].as_array().unwrap().len()
    };
    assert_eq!((of(&one).await, of(&other).await), (4, 0));
    // And the next one of the same cuff waits all the same.
    desk.hear(3, vec![inflation("cuff-01", 151, 3), inflation("cuff-01", 190, 1)]).await;
    assert_eq!((desk.waiting().await.len(), of(&one).await), (before + 2, 6));
    let last = desk.waiting().await;
    assert_eq!(last[0]["candidates"][0]["why"], json!(["appointment", "last_reading"]));

    let (status, detail) =
        desk.refused(&cookie, Method::POST, &place, reassign(None, Some(&other))).await;
    assert!(status == 409 && detail.contains(&format!("is of {one} by wang")), "{detail}");
    let moved = desk.do_it(&cookie, Method::POST, &place, reassign(Some(&one), Some(&other))).await;
    assert_eq!(moved["moves"].as_array().unwrap().len(), 2);
    assert_eq!((of(&one).await, of(&other).await), (0, 6));
    let undone = desk.do_it(&cookie, Method::POST, &place, reassign(Some(&other), None)).await;
    assert_eq!(undone["moves"][2]["from"], json!(other));
    assert_eq!((of(&other).await, desk.waiting().await.len()), (0, before + 3));

    let second = place.replace("/1/0/", "/2/0/");
    let nowhere = place.replace("/1/0/", "/1/7/");
    let trend = place.replace("urgent", "trend");
    let odd = place.replace(&"09".repeat(16), "odd");
    for (path, body, status, begin) in [
        (&second, reassign(None, Some(&one)), 400, "this is a copy"),
        (&nowhere, reassign(None, Some(&one)), 404, "no result has this place"),
        (&trend, reassign(None, Some(&one)), 404, "no result has this place"),
        (&odd, reassign(None, Some(&one)), 404, "no result has this place"),
        (&place, reassign(None, Some("p-0")), 404, "no patient"),
        (&place, reassign(None, None), 400, "patient: it is there already"),
        (&place, json!({"patient": one}), 400, "reason: "),
        (&place, json!({"patient": one, "reason": format!("of {NAME}")}), 422, "reason: leave"),
    ] {
        let (found, detail) = desk.refused(&cookie, Method::POST, path, body).await;
        assert!(found == status && detail.starts_with(begin), "{path}: {found} {detail}");
    }
}

#[tokio::test]
async fn a_result_is_of_whom_the_device_was_on_when_it_was_measured() {
    let desk = Desk::with_clinic();
    let cookie = desk.log_in("wang").await;
    let patient = desk.patient(&cookie).await;
    let binding = desk.bind(&cookie, &patient).await;
    let place = desk.hear(1, vec![inflation("pump-01", 120, 1)]).await;
    let (_, answer) = desk.get(&format!("/api/v1/readings?patient={patient}")).await;
    assert_eq!(answer["readings"].as_array().unwrap().len(), 2);
    let end = format!("/bindings/{binding}");
    // It was taken off before that: nobody's past changes unsaid.
    let (_, bound) = desk.get("/api/v1/bindings").await;
    let until = &bound["bindings"][0]["from"];
    let taken_off = json!({"reason": "was off", "until": until});
    let (status, detail) = desk.refused(&cookie, Method::DELETE, &end, taken_off).await;
    assert!(status == 400 && detail.starts_with("until: 1 reading groups"), "{detail}");
    let before = desk.waiting().await.len();
    let taken_off = json!({"reason": "was off", "until": until, "move_readings": true});
    desk.do_it(&cookie, Method::DELETE, &end, taken_off).await;
    assert_eq!(desk.waiting().await.len(), before + 1);
    let (_, answer) = desk.get(&format!("/api/v1/readings?patient={patient}")).await;
    assert_eq!(answer["readings"], json!([]));
    // What was bound stays written.
    let back = json!({"patient": patient, "reason": "it was hers"});
    let moved = desk.do_it(&cookie, Method::POST, &place, back).await;
    assert_eq!(moved["readings"][0]["bound_patient"], json!(patient));
    assert_eq!(moved["moves"][0]["reason"], "was off");
}

#[tokio::test]
async fn whoever_is_no_nurse_and_no_doctor_changes_nothing() {
    let desk = Desk::with_clinic();
    let (wang, hall) = (desk.log_in("wang").await, desk.log_in("hall").await);
    let patient = desk.patient(&wang).await;
    let bearer = format!("Bearer {}", desk.token);
    let bind = json!({"reason": "x"});
    let limit = json!({"rule": "HR-AD-H", "off": true, "until": "soon", "reason": "x"});
    let before = desk.audit().await;
    for (path, body, program) in [
        ("/patients".to_owned(), json!({"clinic": "nowhere"}), StatusCode::BAD_REQUEST),
        ("/bindings".to_owned(), json!({"site": "x", "device": "y"}), StatusCode::NOT_FOUND),
        // Under one's own name only.
        (format!("/patients/{patient}/entries"), json!({}), StatusCode::FORBIDDEN),
        (format!("/patients/{patient}/limits"), limit, StatusCode::FORBIDDEN),
        (format!("/readings/{}/urgent/1/0/reassign", "09".repeat(16)), bind, StatusCode::FORBIDDEN),
    ] {
        let (status, _) = desk.ask(&hall, Method::POST, &path, &body).await;
        let misread = status == StatusCode::UNPROCESSABLE_ENTITY;
        assert!(status == StatusCode::FORBIDDEN || misread, "{path} {status}");
        let headers = [JSON, ("authorization", bearer.as_str())];
        let answer = desk.post(&format!("/api/v1{path}"), &headers, &body.to_string()).await;
        assert!(answer.status() == program || misread, "{path} {}", answer.status());
    }
    assert_eq!(desk.audit().await, before);
}

impl Desk {
    /// Alerts of that family, the oldest first.
    async fn alerts_of(&self, family: &str) -> Vec<Value> {
        let (_, answer) = self.get("/api/v1/alerts").await;
        check_schema(&document(), "Alerts", &answer);
        let alerts = answer["alerts"].as_array().unwrap().iter();
        alerts.filter(|alert| alert["family"] == family).cloned().collect()
    }
}

/// Where an alert stands, whose it is, and the last thing that is told of it.
fn stands(alert: &Value) -> (String, Value, String) {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let last = alert["timeline"].as_array().unwrap().last().unwrap().clone();
    (text(&alert["state"]), alert["patient"].clone(), text(&last["detail"]))
}

#[tokio::test]
async fn what_a_device_says_is_about_its_patient_until_it_is_taken_off() {
    let desk = Desk::with_clinic();
    let cookie = desk.log_in("wang").await;
    let patient = desk.patient(&cookie).await;
    let binding = desk.bind(&cookie, &patient).await;
    desk.hear(1, vec![inflation("pump-01", 185, 1)]).await;
    let alerts = desk.alerts_of("bp_high").await;
    assert_eq!(alerts.len(), 1);
    assert_eq!(stands(&alerts[0]).0, "active_unack");
    assert_eq!(alerts[0]["patient"], json!(patient));
    let off = json!({"reason": "taken off"});
    desk.do_it(&cookie, Method::DELETE, &format!("/bindings/{binding}"), off).await;
    let alerts = desk.alerts_of("bp_high").await;
    assert_eq!(alerts.len(), 1);
    let closed = ("closed".to_owned(), json!(patient), "taken off".to_owned());
    assert_eq!(stands(&alerts[0]), closed);
    // And the alarm of the pump goes on under its own name.
    let pump = desk.alerts_of("pump_occlusion").await;
    let pump: Vec<_> = pump.iter().filter(|alert| alert["state"] == "active_unack").collect();
    assert!(pump.iter().all(|alert| alert["patient"] == json!(null)), "{pump:#?}");
}

#[tokio::test]
async fn a_result_that_was_moved_is_judged_for_whom_it_is() {
    let desk = Desk::with_clinic();
    let cookie = desk.log_in("wang").await;
    let patient = desk.patient(&cookie).await;
    let place = desk.hear(1, vec![inflation("cuff-01", 185, 1)]).await;
    let raised = desk.alerts_of("bp_high").await;
    assert_eq!(stands(&raised[0]).0, "active_unack");
    assert_eq!(raised[0]["patient"], json!(null));
    let hers = json!({"patient": patient, "reason": "wrong_patient"});
    desk.do_it(&cookie, Method::POST, &place, hers).await;
    let alerts = desk.alerts_of("bp_high").await;
    let find = |patient: Value| alerts.iter().find(|alert| alert["patient"] == patient).unwrap();
    let closed = ("closed".to_owned(), json!(null), "wrong_patient".to_owned());
    assert_eq!(stands(find(json!(null))), closed);
    assert_eq!(stands(find(json!(patient))).0, "active_unack");
    // Undone by another move.
    let back = json!({"from": patient, "patient": null, "reason": "was not hers"});
    desk.do_it(&cookie, Method::POST, &place, back).await;
    let alerts = desk.alerts_of("bp_high").await;
    let find = |patient: Value| alerts.iter().find(|alert| alert["patient"] == patient).unwrap();
    assert_eq!(stands(find(json!(patient))).2, "was not hers");
    assert_eq!(stands(find(json!(null))).0, "active_unack");
    assert_eq!(find(json!(null))["id"], raised[0]["id"]);
}

/// Alert rules, section 9, test 6.
#[tokio::test]
async fn a_result_that_is_said_twenty_times_is_one_alert_and_waits_once() {
    let desk = Desk::with_clinic();
    let before = desk.waiting().await.len();
    for seq in 1..=20 {
        desk.hear(seq, vec![inflation("cuff-01", 185, 7)]).await;
    }
    let alerts = desk.alerts_of("bp_high").await;
    assert_eq!((alerts.len(), &alerts[0]["recurrences"]), (1, &json!(0)));
    assert_eq!(alerts[0]["timeline"].as_array().unwrap().len(), 1);
    assert_eq!(desk.waiting().await.len(), before + 1);
}

#[tokio::test]
async fn a_limit_of_a_patient_is_in_the_place_of_that_of_the_rule() {
    let desk = Desk::with_clinic();
    let cookie = desk.log_in("wang").await;
    let patient = desk.patient(&cookie).await;
    desk.bind(&cookie, &patient).await;
    let path = format!("/patients/{patient}/limits");
    let until = |ms: i64| clock::rfc3339(clock::now().unix_ms() + ms);
    let day = 24 * 3_600_000;
    let limit = |rule: &str, value: Value, until: String| {
        let (off, reason) = (value.is_null(), "known");
        json!({"rule": rule, "value": value, "off": off, "until": until, "reason": reason})
    };
    for (body, says) in [
        (limit("BP-XX", json!("190"), until(day)), "no rule"),
        (limit("BP-AD-SH", json!("999"), until(day)), "between"),
        (limit("BP-AD-SH", json!("much"), until(day)), "between"),
        (limit("BP-AD-SH", json!("190"), until(-day)), "until: "),
        (limit("BP-AD-SH", json!("190"), until(400 * day)), "until: "),
        (limit("BP-AD-SHH", json!(null), until(2 * day)), "24 h"),
        (json!({"rule": "BP-AD-SH", "value": "190", "until": until(day)}), "reason: "),
        (json!({"rule": "BP-AD-SH", "until": until(day), "reason": "x"}), "value: "),
    ] {
        let (status, detail) = desk.refused(&cookie, Method::POST, &path, body).await;
        assert!(status == 400 && detail.contains(says), "{status} {detail}");
    }
    let set = limit("BP-AD-SH", json!("190"), until(day));
    let told = desk.do_it(&cookie, Method::POST, &path, set).await;
    check_schema(&document(), "Limits", &told);
    desk.hear(1, vec![inflation("pump-01", 185, 1)]).await;
    assert_eq!(desk.alerts_of("bp_high").await.len(), 0);
    let id = told["limits"][0]["id"].as_i64().unwrap();
    let end = format!("{path}/{id}");
    let told = desk.do_it(&cookie, Method::DELETE, &end, json!({})).await;
    assert_eq!(told["limits"], json!([]));
    assert_eq!(desk.refused(&cookie, Method::DELETE, &end, json!({})).await.0, 404);
    desk.hear(2, vec![inflation("pump-01", 186, 2)]).await;
    assert_eq!(desk.alerts_of("bp_high").await.len(), 1);
}

#[tokio::test]
async fn a_box_is_told_whose_its_devices_are_and_not_who_that_is() {
    let desk = Desk::with_clinic();
    let cookie = desk.log_in("wang").await;
    let mut heard = desk.app.rules.follow();
    let patient = desk.patient(&cookie).await;
    let binding = desk.bind(&cookie, &patient).await;
    let until = clock::rfc3339(clock::now().unix_ms() + 3_600_000);
    let limit = json!({"rule": "BP-AD-SH", "value": "190", "until": until, "reason": "known"});
    desk.do_it(&cookie, Method::POST, &format!("/patients/{patient}/limits"), limit).await;
    assert!(heard.has_changed().unwrap());
    heard.mark_unchanged();
    let told = async |site: &str| {
        let site = SiteId::new(site).unwrap();
        desk.app.store.read(move |connection| ward(connection, &site, clock::now())).await.unwrap()
    };
    let (bindings, patients) = told("heping").await;
    let key = PatientKey::new(&patient).unwrap();
    let device = DeviceId::new("pump-01").unwrap();
    let of_the_patient = Subject::Patient(key.clone());
    assert_eq!(bindings.subject_at(&device, clock::now()), of_the_patient);
    assert!(bindings.version() > 0);
    assert!(patients[&key].cuff_on_other_limb);
    let [limit] = patients[&key].limits.as_slice() else { panic!("{patients:?}") };
    assert_eq!((limit.rule.as_str(), limit.limit.as_deref()), ("BP-AD-SH", Some("190")));
    let text = serde_json::to_string(&(&bindings, &patients)).unwrap();
    for word in [NAME, "wang", "known", "put on"] {
        assert!(!text.contains(word), "{text}");
    }
    assert_eq!(told("longmen").await, (BindingList::default(), BTreeMap::new()));

    let end = format!("/bindings/{binding}");
    desk.do_it(&cookie, Method::DELETE, &end, json!({"reason": "went home"})).await;
    assert!(heard.has_changed().unwrap());
    let (after, _) = told("heping").await;
    assert_eq!(after.subject_at(&device, clock::now()), Subject::Device(device));
    assert!(after.version() > bindings.version());
}

#[tokio::test]
async fn two_visits_out_of_target_put_somebody_on_the_list() {
    let desk = Desk::with_clinic();
    let cookie = desk.log_in("wang").await;
    let patient = desk.patient(&cookie).await;
    let visit = async |seq: u64, days_ago: i64, sys: u32| {
        let mut group = inflation("cuff-01", sys, seq);
        let at = clock::now().unix_ms() - days_ago * 24 * 3_600_000;
        group.device_time = Some(DeviceTime::Zoned { civil_ms: at, offset_s: 0 });
        let place = desk.hear(seq, vec![group]).await;
        let hers = json!({"patient": patient, "reason": "claimed"});
        desk.do_it(&cookie, Method::POST, &place, hers).await;
    };
    let listed = async |query: &str| {
        let (status, answer) = desk.get(&format!("/api/v1/followup{query}")).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        check_schema(&document(), "FollowUp", &answer);
        answer["people"].as_array().unwrap().clone()
    };
    let once = async || {
        let (_, answer) = desk.get("/api/v1/followup").await;
        check_schema(&document(), "FollowUp", &answer);
        answer["once"].as_array().unwrap().clone()
    };
    visit(1, 40, 155).await;
    assert_eq!(listed("").await.len(), 0);
    // One visit out of target is no reason to refer, and is told.
    let [ref told] = once().await[..] else { panic!("one patient was out of target once") };
    assert_eq!((&told["patient"], &told["since"]), (&json!(patient), &Value::Null));
    assert_eq!(told["visits"][0]["missed"], json!(["FU-BP-elderly65-S"]));
    // Measured again on the same day: the last one counts.
    visit(2, 20, 156).await;
    visit(3, 20, 149).await;
    assert_eq!(listed("").await.len(), 0);
    visit(4, 18, 150).await;
    visit(5, 17, 151).await;
    let people = listed("?group=elderly&programme=hypertension").await;
    assert_eq!(people.len(), 1);
    assert_eq!((&people[0]["overdue"], &people[0]["name"]), (&json!(true), &json!("测**")));
    assert_eq!(people[0]["visits"].as_array().unwrap().len(), 2);
    assert_eq!(once().await, Vec::<Value>::new());
    assert_eq!(people[0]["visits"][0]["missed"], json!(["FU-BP-elderly65-S"]));
    for nobody in ["?group=child", "?group=pregnant", "?programme=diabetes", "?clinic=nowhere"] {
        assert_eq!(listed(nobody).await.len(), 0, "{nobody}");
    }
    visit(6, 1, 140).await;
    assert_eq!(listed("").await.len(), 0);
    for wrong in ["?group=old", "?programme=heart"] {
        let (status, _) = desk.get(&format!("/api/v1/followup{wrong}")).await;
        assert_eq!(status, StatusCode::BAD_REQUEST);
    }
    let (_, answer) = desk.get("/api/v1/followup").await;
    assert_eq!(answer["target_set"], json!(desk.app.rules.rules().version()));
    assert!(answer["targets"].as_array().unwrap().len() >= 5, "{answer}");
}

#[tokio::test]
async fn two_hours_after_a_meal_count_once_a_person_confirms_them() {
    let desk = Desk::with_clinic();
    let cookie = desk.log_in("wang").await;
    let pregnant = json!({"clinic": CLINIC, "born": "1996-03", "sex": "female",
        "pregnancy": {"registered": "2026-08-01"}});
    let mother = desk.do_it(&cookie, Method::POST, "/patients", pregnant).await;
    let mother = mother["patient"].as_str().unwrap().to_owned();
    let glucose = |value: &str, meal: &str| {
        let value: model::decimal::Decimal = value.parse().unwrap();
        let reading = Reading::number(Metric::GLU_CAP_PL, value, Unit::MMOL_PER_L);
        let group =
            ReadingGroup::new(DeviceId::new("meter-01").unwrap(), observed(), vec![reading]);
        group.with_context("meal", meal)
    };
    let fasting = desk.hear(1, vec![glucose("5.0", "meal_fast")]).await;
    let after = desk.hear(2, vec![glucose("6.8", "meal_post")]).await;
    for place in [&fasting, &after] {
        let hers = json!({"patient": mother, "reason": "claimed"});
        desk.do_it(&cookie, Method::POST, place, hers).await;
    }
    let missed = async || {
        let path = format!("/api/v1/trends?patient={mother}");
        let (_, trends) = desk.get(&path).await;
        check_schema(&document(), "Trends", &trends);
        let (_, list) = desk.get("/api/v1/followup").await;
        let rules: Vec<String> = trends["results"]
            .as_array()
            .unwrap()
            .iter()
            .flat_map(|result| result["missed"].as_array().unwrap())
            .map(|target| target["rule"].as_str().unwrap().to_owned())
            .collect();
        (rules, list["people"].as_array().unwrap().len())
    };
    assert_eq!(missed().await, (vec![], 0));
    let confirm = |place: &str| place.replace("/reassign", "/after-meal");
    let yes = json!({"two_hours": true});
    let told = desk.do_it(&cookie, Method::POST, &confirm(&after), yes.clone()).await;
    check_schema(&document(), "Reassigned", &told);
    assert_eq!(told["two_hours"]["by"], "wang");
    // One is enough for the list: a target of pregnancy.
    assert_eq!(missed().await, (vec!["GLU-PR-2H".to_owned()], 1));
    let no = json!({"two_hours": false});
    let told = desk.do_it(&cookie, Method::POST, &confirm(&after), no).await;
    assert_eq!(told["two_hours"], Value::Null);
    assert_eq!(missed().await, (vec![], 0));
    let audit = desk.audit().await;
    let entries = audit.iter().filter(|entry| entry.starts_with("wang after_meal 0909"));
    assert_eq!(entries.count(), 2, "{audit:?}");
    // A meter that says "fasting" is not talked out of it.
    let (status, detail) =
        desk.refused(&cookie, Method::POST, &confirm(&fasting), yes.clone()).await;
    assert!(status == 400 && detail.starts_with("two_hours: "), "{detail}");
    let kiosk = desk.log_in("hall").await;
    let (status, _) = desk.refused(&kiosk, Method::POST, &confirm(&after), yes).await;
    assert_eq!(status, 403);
}

#[tokio::test]
async fn who_has_other_clinics_sees_nothing_of_these() {
    let desk = Desk::with_clinic();
    let cookie = desk.log_in("wang").await;
    let patient = desk.patient(&cookie).await;
    let binding = desk.bind(&cookie, &patient).await;
    let place = desk.hear(1, vec![inflation("cuff-01", 185, 1)]).await;
    let elsewhere = |transaction: &rusqlite::Transaction<'_>| {
        transaction
            .execute("UPDATE person SET scope = '[\"东风镇卫生院\"]' WHERE name = 'wang'", [])
    };
    desk.app.store.write(elsewhere).await.unwrap();
    for (path, list) in [
        ("/patients", "patients"),
        ("/bindings", "bindings"),
        ("/tray", "waiting"),
        ("/followup", "people"),
    ] {
        let (_, answer) = desk.ask(&cookie, Method::GET, path, &json!({})).await;
        assert_eq!(answer[list], json!([]), "{path}");
    }
    for (method, path, body) in [
        (Method::GET, format!("/patients/{patient}"), json!({})),
        (Method::PATCH, format!("/patients/{patient}"), json!({"version": 1})),
        (Method::POST, format!("/patients/{patient}/unmask"), json!({})),
        (Method::GET, format!("/patients/{patient}/limits"), json!({})),
        (Method::GET, format!("/patients/{patient}/entries"), json!({})),
        (
            Method::GET,
            format!(
                "/trends?patient={patient}&from={}",
                clock::rfc3339(clock::now().unix_ms() - 1)
            ),
            json!({}),
        ),
        (Method::DELETE, format!("/bindings/{binding}"), json!({"reason": "x"})),
        (Method::POST, place.replace("/reassign", "/after-meal"), json!({"two_hours": true})),
        (Method::POST, place, json!({"patient": patient, "reason": "x"})),
        (
            Method::POST,
            "/bindings".to_owned(),
            json!({"site": "heping", "device": "cuff-01",
            "patient": patient, "reason": "x"}),
        ),
    ] {
        let (status, _) = desk.refused(&cookie, method.clone(), &path, body).await;
        assert_eq!(status, 404, "{method} {path}");
    }
    let (status, detail) =
        desk.refused(&cookie, Method::POST, "/patients", json!({"clinic": CLINIC})).await;
    assert!(status == 400 && detail.starts_with("clinic: "), "{detail}");
}
