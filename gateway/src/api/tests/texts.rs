//! What people write freely: bounded, and without the name of the patient it is about.

use super::{
    patients::{CLINIC, NAME},
    *,
};

impl Desk {
    /// Refused for the name in it, which the answer does not repeat.
    async fn names_somebody(&self, cookie: &str, method: Method, path: &str, body: Value) {
        let (status, detail) = self.refused(cookie, method, path, body).await;
        assert_eq!(status, 422, "{path}: {detail}");
        assert!(detail.contains("leave the patient's name out"), "{path}: {detail}");
        assert!(!detail.contains(NAME), "{path}: {detail}");
    }
}

#[tokio::test]
async fn what_a_board_can_send_and_is_refused_has_a_word_and_its_values() {
    let desk = Desk::with_clinic();
    let cookie = desk.log_in("wang").await;
    let limits = format!("/patients/{}/limits", desk.patient(&cookie).await);
    let soon = clock::rfc3339(clock::now().unix_ms() + 3_600_000);
    let limit = |rule: &str, value: &str| {
        json!({"rule": rule, "value": value, "until": soon,
        "reason": "arrhythmia"})
    };
    let shift = |from: u8, until: u8, person: &str| {
        json!({"level": "first", "from_hour": from,
        "until_hour": until, "person": person})
    };
    let plan = |shifts: Vec<Value>| json!({"township": CLINIC, "shifts": shifts});
    let doctor = desk.log_in("zhang").await;
    for (who, method, path, body, values) in [
        (
            &cookie,
            Method::POST,
            &*limits,
            limit("HR-AD-LL", "4000"),
            json!({"code": "limit_range", "low": "20", "high": "250"}),
        ),
        (
            &cookie,
            Method::POST,
            &limits,
            limit("HR-OF-BEFORE", "40"),
            json!({"code": "no_rule", "rule": "HR-OF-BEFORE"}),
        ),
        // She is 70: another is in its place.
        (
            &cookie,
            Method::POST,
            &limits,
            limit("HR-AD-L", "40"),
            json!({"code": "rule_of_others", "rule": "HR-AD-L"}),
        ),
        (
            &doctor,
            Method::PUT,
            "/duty",
            plan(vec![shift(20, 8, "li")]),
            json!({"code": "plan_hours"}),
        ),
        (
            &doctor,
            Method::PUT,
            "/duty",
            plan(vec![shift(8, 20, "")]),
            json!({"code": "plan_person", "max": 64}),
        ),
        (
            &doctor,
            Method::PUT,
            "/duty",
            plan(vec![shift(8, 20, "li"), shift(19, 22, "sun")]),
            json!({"code": "plan_overlap"}),
        ),
        (
            &doctor,
            Method::PUT,
            "/duty",
            plan(vec![shift(8, 20, "li"); 169]),
            json!({"code": "plan_long", "max": 168}),
        ),
    ] {
        let (status, told) = desk.ask(who, method, path, &body).await;
        check_schema(&document(), "Problem", &told);
        assert_eq!(status, StatusCode::BAD_REQUEST, "{told}");
        for (name, value) in values.as_object().unwrap() {
            assert_eq!(&told[name], value, "{told}");
        }
    }
}

#[tokio::test]
async fn no_act_on_an_alert_tells_who_the_patient_is() {
    let desk = Desk::with_clinic();
    let cookie = desk.log_in("wang").await;
    desk.patient(&cookie).await;
    let path = format!("/alerts/{}", desk.alert().await);
    let soon = clock::rfc3339(clock::now().unix_ms() + 60_000);
    for (deed, body) in [
        ("acknowledge", json!({"reason": "at_bedside", "note": format!("with {NAME}")})),
        ("assign", json!({"to": "zhang", "reason": NAME})),
        ("escalate", json!({"reason": format!("{NAME}家属")})),
        ("note", json!({"note": "测试 甲乙 sleeps"})),
        ("shelve", json!({"reason": NAME, "until": soon})),
        ("out-of-service", json!({"reason": format!("was on {NAME}")})),
    ] {
        desk.names_somebody(&cookie, Method::POST, &format!("{path}/{deed}"), body).await;
    }
    let off = json!({"reason": format!("was on {NAME}")});
    desk.names_somebody(&cookie, Method::POST, "/devices/heping/pump-01/out-of-service", off).await;
    let (_, alert) = desk.get(&format!("/api/v1{path}")).await;
    assert_eq!(alert["revision"], 1, "nothing was done");
    let note = json!({"note": "vein of 测试甲丙 is difficult"});
    desk.do_it(&cookie, Method::POST, &format!("{path}/note"), note).await;
}

#[tokio::test]
async fn a_note_about_one_patient_may_have_the_word_that_another_is_called_by() {
    let desk = Desk::with_clinic();
    let cookie = desk.log_in("wang").await;
    let patient = desk.patient(&cookie).await;
    let other = json!({"clinic": CLINIC, "name": "张力"});
    desk.do_it(&cookie, Method::POST, "/patients", other).await;
    let path = format!("/alerts/{}/note", desk.alert().await);
    // The device is on nobody: it may be about anybody who is there.
    desk.names_somebody(&cookie, Method::POST, &path, json!({"note": "肌张力高"})).await;
    let key = patient.clone();
    let of_patient = move |transaction: &rusqlite::Transaction<'_>| {
        let set = "UPDATE alert SET body = json_set(body, '$.patient', ?1)";
        transaction.execute(set, [key])
    };
    desk.app.store.write(of_patient).await.unwrap();
    desk.names_somebody(&cookie, Method::POST, &path, json!({"note": NAME})).await;
    // What the rules make of an alert whose patient they do not know is another matter.
    let (status, answer) =
        desk.ask(&cookie, Method::POST, &path, &json!({"note": "肌张力高"})).await;
    assert_ne!(status, StatusCode::UNPROCESSABLE_ENTITY, "{answer}");
}

#[tokio::test]
async fn no_bed_and_no_reason_tells_who_the_patient_is() {
    let desk = Desk::with_clinic();
    let cookie = desk.log_in("wang").await;
    let patient = desk.patient(&cookie).await;
    let path = format!("/patients/{patient}");
    let named = |more: Value| {
        let mut body = json!({"clinic": CLINIC, "name": NAME});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    let bed = json!({"bed": format!("3 {NAME}")});
    desk.names_somebody(&cookie, Method::POST, "/patients", named(bed.clone())).await;
    let mut changed = bed;
    changed["version"] = json!(1);
    desk.names_somebody(&cookie, Method::PATCH, &path, changed).await;
    let until = clock::rfc3339(clock::now().unix_ms() + 3_600_000);
    let order = json!({"version": 1, "scale2": {"doctor": NAME, "until": until}});
    desk.names_somebody(&cookie, Method::PATCH, &path, order).await;
    let renamed = json!({"version": 1, "name": "测试三", "bed": "测试三"});
    desk.names_somebody(&cookie, Method::PATCH, &path, renamed).await;
    let limit = json!({"rule": "HR-AD-H", "value": "130", "reason": NAME, "until": until});
    desk.names_somebody(&cookie, Method::POST, &format!("{path}/limits"), limit).await;
    let at_bed = |bed: &str, reason: &str| json!({"site": "heping", "device": "pump-01", "bed": bed, "reason": reason});
    for body in [at_bed(NAME, "x"), at_bed("3", NAME)] {
        desk.names_somebody(&cookie, Method::POST, "/bindings", body).await;
    }
    let bound = desk.do_it(&cookie, Method::POST, "/bindings", at_bed("3", "x")).await;
    let end = format!("/bindings/{}", bound["id"]);
    desk.names_somebody(&cookie, Method::DELETE, &end, json!({"reason": NAME})).await;
    let home = json!({"version": 1, "discharged": true, "reason": format!("{NAME} went home")});
    desk.names_somebody(&cookie, Method::PATCH, &path, home).await;

    let whole = "SELECT count(*) FROM audit WHERE instr(body, ?1) > 0";
    let read = move |connection: &rusqlite::Connection| {
        connection.query_row(whole, [NAME], |row| row.get::<_, i64>(0))
    };
    assert_eq!(desk.app.store.read(read).await.unwrap(), 0);
}

#[tokio::test]
async fn a_text_that_is_too_long_is_told_so() {
    let desk = Desk::with_clinic();
    let cookie = desk.log_in("wang").await;
    let patient = desk.patient(&cookie).await;
    let alert = format!("/alerts/{}", desk.alert().await);
    let (note, reason) = ("备".repeat(501), "因".repeat(201));
    let soon = clock::rfc3339(clock::now().unix_ms() + 60_000);
    let acknowledge = json!({"reason": "at_bedside", "note": note});
    for (method, path, body, says) in [
        (Method::POST, format!("{alert}/acknowledge"), acknowledge, "500"),
        (Method::POST, format!("{alert}/assign"), json!({"to": "li", "reason": reason}), "200"),
        (Method::POST, format!("{alert}/escalate"), json!({"reason": reason}), "200"),
        (Method::POST, format!("{alert}/note"), json!({"note": note}), "500"),
        (Method::POST, format!("{alert}/out-of-service"), json!({"reason": reason}), "200"),
        (Method::POST, format!("{alert}/shelve"), json!({"reason": reason, "until": soon}), "200"),
        (
            Method::PATCH,
            format!("/patients/{patient}"),
            json!({"version": 1, "bed": "床".repeat(33)}),
            "32",
        ),
        (
            Method::POST,
            "/bindings".to_owned(),
            json!({"site": "heping", "device": "pump-01", "patient": patient, "reason": reason}),
            "200",
        ),
    ] {
        let (status, detail) = desk.refused(&cookie, method, &path, body).await;
        assert!(status == 400 && detail.contains(says), "{path}: {status} {detail}");
    }
    let longest = json!({"note": "备".repeat(500)});
    desk.do_it(&cookie, Method::POST, &format!("{alert}/note"), longest).await;
    let zhang = desk.log_in("zhang").await;
    let path = format!("/rules?note={}", "x".repeat(501));
    let rules = include_str!("../../../../configs/rules/default.json");
    let draft: Value = serde_json::from_str(rules).unwrap();
    let (status, detail) = desk.refused(&zhang, Method::PUT, &path, draft).await;
    assert!(status == 400 && detail.contains("500"), "{status} {detail}");
}
