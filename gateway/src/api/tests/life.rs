//! What persons do with alerts, who is on duty, and what the alerts of a time came to.

use super::*;

const DEEDS: [(&str, &str); 9] = [
    ("acknowledge", r#"{"reason": "at_bedside"}"#),
    ("shelve", r#"{"reason": "flushed", "until": "2000-01-01T00:00:00Z"}"#),
    ("unshelve", ""),
    ("assign", r#"{"to": "wang", "reason": "nearer"}"#),
    ("escalate", r#"{"reason": "worse"}"#),
    ("note", r#"{"note": "vein is difficult"}"#),
    ("danger-signs", r#"{"signs": []}"#),
    ("undo", ""),
    ("out-of-service", r#"{"reason": "being cleaned"}"#),
];

#[tokio::test]
async fn only_a_named_nurse_or_doctor_does_anything_with_an_alert() {
    let desk = Desk::new();
    let id = desk.alert().await;
    let kiosk = desk.log_in("hall").await;
    let bearer = format!("Bearer {}", desk.token);
    for (deed, body) in DEEDS {
        let path = format!("/api/v1/alerts/{id}/{deed}");
        for (header, wanted) in [
            (None, StatusCode::UNAUTHORIZED),
            (Some(("authorization", bearer.as_str())), StatusCode::FORBIDDEN),
            (Some(("cookie", kiosk.as_str())), StatusCode::FORBIDDEN),
        ] {
            let headers: Vec<_> = [JSON].into_iter().chain(header).collect();
            let (status, answer) = told(desk.post(&path, &headers, body).await).await;
            assert_eq!(status, wanted, "{deed}: {answer}");
        }
    }
    let (_, alert) = desk.get(&format!("/api/v1/alerts/{id}")).await;
    assert_eq!(alert["revision"], 1, "nothing was done");
}

#[tokio::test]
async fn what_a_nurse_does_is_answered_as_the_document_says() {
    let desk = Desk::new();
    let document = document();
    let (id, cookie) = (desk.alert().await, desk.log_in("wang").await);
    let cookie = ("cookie", cookie.as_str());
    let soon = clock::rfc3339(clock::now().unix_ms() + 120_000);
    let shelve = json!({"reason": "flushed", "until": soon}).to_string();
    let late = clock::rfc3339(clock::now().unix_ms() + 3_600_000);
    let too_long = json!({"reason": "flushed", "until": late}).to_string();
    let nobody = r#"{"to": "nobody", "reason": "nearer"}"#;
    for (deed, body, wanted, told_in) in [
        ("note", r#"{"note": " "}"#, 400, "detail"),
        ("note", r#"{"note": "vein is difficult"}"#, 200, "timeline"),
        ("assign", nobody, 400, "detail"),
        ("assign", r#"{"to": "wang", "reason": "nearer"}"#, 200, "assigned_to"),
        ("escalate", r#"{"reason": "worse"}"#, 200, "escalation_level"),
        ("unshelve", "", 409, "detail"),
        ("shelve", too_long.as_str(), 400, "detail"),
        ("shelve", shelve.as_str(), 200, "shelved_until"),
        ("shelve", shelve.as_str(), 409, "by"),
        ("undo", "", 200, "timeline"),
        ("undo", "", 409, "detail"),
        ("acknowledge", r#"{"reason": "at_bedside"}"#, 200, "owner"),
        ("out-of-service", r#"{"reason": "being cleaned"}"#, 200, "condition"),
        ("acknowledge", r#"{"reason": "at_bedside"}"#, 409, "by"),
    ] {
        let path = format!("/api/v1/alerts/{id}/{deed}");
        let (status, answer) = told(desk.post(&path, &[JSON, cookie], body).await).await;
        assert_eq!(status.as_u16(), wanted, "{deed}: {answer}");
        check_schema(&document, if wanted == 200 { "Alert" } else { "Problem" }, &answer);
        assert!(!answer[told_in].is_null(), "{deed}: {answer}");
    }
    let path = format!("/api/v1/alerts/{id}/out-of-service");
    let back = Request::delete(&path).header(cookie.0, cookie.1).body(Body::empty()).unwrap();
    let (status, answer) = told(desk.send(back).await).await;
    assert_eq!((status, &answer["state"]), (StatusCode::OK, &json!("active_ack")));
    let (_, alerts) = desk.get("/api/v1/alerts?state=shelved").await;
    assert_eq!(alerts["alerts"], json!([]));
}

/// What is done with an alert is done by a named person with a reason; that of a note is its words.
#[tokio::test]
async fn nothing_is_done_with_an_alert_without_saying_why() {
    let desk = Desk::new();
    let (id, cookie) = (desk.alert().await, desk.log_in("wang").await);
    let soon = clock::rfc3339(clock::now().unix_ms() + 120_000);
    for (deed, with, why, kept_as) in [
        ("acknowledge", json!({}), "reason", "reason"),
        ("assign", json!({"to": "zhang"}), "reason", "note"),
        ("escalate", json!({}), "reason", "note"),
        ("note", json!({}), "note", "note"),
        ("shelve", json!({"until": soon}), "reason", "note"),
        ("out-of-service", json!({}), "reason", "note"),
    ] {
        let path = format!("/alerts/{id}/{deed}");
        let entries = desk.audit().await.len();
        let said = |words: &str| {
            let mut body = with.clone();
            body[why] = json!(words);
            body
        };
        for without in [with.clone(), said(""), said(" ")] {
            let (status, problem) =
                desk.refused(&cookie, Method::POST, &path, without.clone()).await;
            assert!([400, 422].contains(&status), "{deed} {without}: {status}");
            assert!(problem.contains(why), "{deed} {without}: {problem}");
        }
        assert_eq!(desk.audit().await.len(), entries, "{deed}");
        let words = if deed == "acknowledge" { "rechecking" } else { "turned to the side" };
        let told = desk.do_it(&cookie, Method::POST, &path, said(words)).await;
        let last = told["timeline"].as_array().unwrap().last().unwrap().clone();
        assert_eq!((&last["by"], &last[kept_as]), (&json!("wang"), &json!(words)), "{deed}");
        let chain = desk.last_entry().await;
        assert_eq!((&chain[3], &chain[6][why]), (&json!("wang"), &json!(words)), "{deed}");
    }
}

#[tokio::test]
async fn a_board_that_stayed_open_over_an_upgrade_says_why_in_its_word() {
    let desk = Desk::new();
    let (id, cookie) = (desk.alert().await, desk.log_in("wang").await);
    for (deed, body) in [
        ("assign", json!({"to": "zhang", "note": "nearer"})),
        ("escalate", json!({"note": "worse"})),
    ] {
        let path = format!("/alerts/{id}/{deed}");
        desk.do_it(&cookie, Method::POST, &path, body.clone()).await;
        assert_eq!(desk.last_entry().await[6]["reason"], body["note"], "{deed}");
    }
}

impl Desk {
    /// The newest entry of the chain, as it stands there.
    async fn last_entry(&self) -> Value {
        let read = |connection: &rusqlite::Connection| {
            let last = "SELECT body FROM audit ORDER BY id DESC LIMIT 1";
            connection.query_row(last, [], |row| row.get::<_, String>(0))
        };
        serde_json::from_str(&self.app.store.read(read).await.unwrap()).unwrap()
    }
}

#[tokio::test]
async fn a_nurse_says_which_danger_signs_are_there_and_any_makes_the_alert_high() {
    let desk = Desk::with_clinic();
    let (pump, cookie) = (desk.alert().await, desk.log_in("wang").await);
    desk.hear(1, vec![patients::inflation("cuff-01", 190, 1)]).await;
    let (_, alerts) = desk.get("/api/v1/alerts").await;
    check_schema(&document(), "Alerts", &alerts);
    let all = alerts["alerts"].as_array().unwrap();
    let alert = all.iter().find(|alert| alert["family"] == "bp_high").unwrap();
    assert_eq!(
        (&alert["priority"], &alert["asks_danger_signs"], &alert["danger_signs"]),
        (&json!("medium"), &json!(true), &Value::Null)
    );
    let path = format!("/alerts/{}/danger-signs", alert["id"].as_str().unwrap());
    for wrong in [json!({"signs": ["hiccups"]}), json!({})] {
        let (status, _) = desk.refused(&cookie, Method::POST, &path, wrong.clone()).await;
        assert!([400, 422].contains(&status), "{wrong}: {status}");
    }
    let none = desk.do_it(&cookie, Method::POST, &path, json!({"signs": []})).await;
    check_schema(&document(), "Alert", &none);
    assert_eq!((&none["priority"], &none["danger_signs"]), (&json!("medium"), &json!([])));
    let said = json!({"signs": ["vomiting", "chest_pain", "vomiting"]});
    let risen = desk.do_it(&cookie, Method::POST, &path, said).await;
    check_schema(&document(), "Alert", &risen);
    let signs = json!(["vomiting", "chest_pain"]);
    assert_eq!((&risen["priority"], &risen["danger_signs"]), (&json!("high"), &signs));
    let id = alert["id"].as_str().unwrap();
    let audit = desk.audit().await;
    let told = |entry: &&String| **entry == format!("wang danger_signs {id}");
    assert_eq!(audit.iter().filter(told).count(), 2, "{audit:?}");
    // An occlusion asks for none.
    let path = format!("/alerts/{pump}/danger-signs");
    let refused = desk.refused(&cookie, Method::POST, &path, json!({"signs": []})).await;
    assert_eq!(refused.0, 409, "{}", refused.1);
}

#[tokio::test]
async fn a_device_is_taken_off_and_put_back_without_an_alert() {
    let desk = Desk::new();
    let document = document();
    let (alert, cookie) = (desk.alert().await, desk.log_in("wang").await);
    let cookie = ("cookie", cookie.as_str());
    let later = clock::rfc3339(clock::now().unix_ms() + 3_600_000);
    let until = json!({"reason": "being cleaned", "until": later}).to_string();
    let over = r#"{"reason": "being cleaned", "until": "2020-01-01T00:00:00Z"}"#;
    for (device, body, wanted) in [
        ("heping/pump-01", r#"{"reason": " "}"#, 400),
        ("heping/pump-01", over, 400),
        ("heping/pump-99", until.as_str(), 404),
        ("heping/heping", until.as_str(), 404),
        ("heping/a|b", until.as_str(), 404),
        ("nowhere/pump-01", until.as_str(), 404),
        ("heping/pump-01", until.as_str(), 200),
        ("heping/pump-01", until.as_str(), 409),
    ] {
        let path = format!("/api/v1/devices/{}/out-of-service", device.replace('|', "%7C"));
        let (status, answer) = told(desk.post(&path, &[JSON, cookie], body).await).await;
        assert_eq!(status.as_u16(), wanted, "{device}: {answer}");
        let schema = if wanted == 200 { "DeviceChanged" } else { "Problem" };
        check_schema(&document, schema, &answer);
        if wanted == 200 {
            let out = &answer["out_of_service"];
            let expected = json!(["wang", "being cleaned", later]);
            assert_eq!(json!([out["by"], out["reason"], out["until"]]), expected);
        }
    }
    let (_, devices) = desk.get("/api/v1/devices").await;
    check_schema(&document, "Devices", &devices);
    assert_eq!(devices["devices"][0]["out_of_service"]["by"], "wang");
    assert_eq!(devices["devices"][0]["expected_interval_ms"], 5_000);
    let (_, told_alert) = desk.get(&format!("/api/v1/alerts/{alert}")).await;
    assert_eq!(told_alert["state"], "out_of_service");
    let path = "/api/v1/devices/heping/pump-01/out-of-service";
    for wanted in [200, 409] {
        let back = Request::delete(path).header(cookie.0, cookie.1).body(Body::empty()).unwrap();
        let (status, answer) = told(desk.send(back).await).await;
        assert_eq!(status.as_u16(), wanted, "{answer}");
        assert_eq!(answer["out_of_service"], Value::Null);
    }
    let entries = |connection: &rusqlite::Connection| {
        let mut statement =
            connection.prepare("SELECT (body ->> 4) || ' ' || (body ->> 5) FROM audit")?;
        statement.query_map([], |row| row.get(0))?.collect::<Result<Vec<String>, _>>()
    };
    let entries = desk.app.store.read(entries).await.unwrap();
    let expected = ["out_of_service heping/pump-01", "in_service heping/pump-01"];
    let served = entries.iter().filter(|entry| entry.contains("_service "));
    assert_eq!(served.collect::<Vec<_>>(), expected);
}

#[tokio::test]
async fn a_doctor_says_who_is_on_duty_and_a_board_on_the_wall_does_not() {
    let desk = Desk::new();
    let document = document();
    let add = |transaction: &rusqlite::Transaction<'_>| {
        people::add_person(transaction, "zhao", Role::Doctor, PASSWORD).unwrap();
        Ok(())
    };
    desk.app.store.write(add).await.unwrap();
    let put = async |name: &str, body: &Value| {
        let cookie = desk.log_in(name).await;
        let request = Request::put("/api/v1/duty").header("cookie", cookie).header(JSON.0, JSON.1);
        told(desk.send(request.body(Body::from(body.to_string())).unwrap()).await).await
    };
    let shift = |from: i64| json!({"level": "township_doctor", "from_hour": from, "until_hour": 168, "person": "zhao"});
    let plan = json!({"township": null, "shifts": [shift(0)]});
    assert_eq!(put("hall", &plan).await.0, StatusCode::FORBIDDEN);
    for wrong in [
        json!({"township": null, "shifts": [shift(0), shift(100)]}),
        json!({"township": "nowhere", "shifts": []}),
    ] {
        let (status, problem) = put("zhao", &wrong).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{problem}");
        check_schema(&document, "Problem", &problem);
    }
    let (status, answer) = put("zhao", &plan).await;
    assert_eq!((status, &answer["plans"][0]), (StatusCode::OK, &plan));
    check_schema(&document, "Duty", &answer);
    assert_eq!(desk.get("/api/v1/duty").await.1, answer);
}

#[tokio::test]
async fn an_open_alert_names_as_the_next_whoever_the_newest_plan_has() {
    let desk = Desk::new();
    let add = |transaction: &rusqlite::Transaction<'_>| {
        people::add_person(transaction, "zhao", Role::Doctor, PASSWORD).unwrap();
        Ok(())
    };
    desk.app.store.write(add).await.unwrap();
    let cookie = desk.log_in("zhao").await;
    let put = async |shifts: Value| {
        let body = json!({"township": null, "shifts": shifts});
        desk.do_it(&cookie, Method::PUT, "/duty", body).await
    };
    let second = |person: &str| json!({"level": "second", "from_hour": 0, "until_hour": 168, "person": person});
    put(json!([second("wang")])).await;
    let path = format!("/api/v1/alerts/{}", desk.alert().await);
    let named = async || desk.get(&path).await.1;
    let first = named().await;
    assert_eq!(
        (&first["next_step"]["level"], &first["next_step"]["person"]),
        (&json!("second"), &json!("wang"))
    );
    let mut heard = desk.app.events.follow();
    for (shifts, person) in [(json!([second("li")]), json!("li")), (json!([]), Value::Null)] {
        put(shifts.clone()).await;
        let alert = named().await;
        check_schema(&document(), "Alert", &alert);
        assert_eq!(alert["next_step"]["person"], person);
        assert_eq!(alert["next_step"]["at"], first["next_step"]["at"]);
        let event = heard.try_recv().unwrap();
        assert_eq!(event.name, "alert", "boards hear of it");
        assert_eq!(serde_json::from_str::<Value>(&event.data).unwrap(), alert);
        put(shifts).await;
        assert!(heard.try_recv().is_err(), "the same plan says nothing new");
    }
    assert_eq!(named().await["revision"], first["revision"].as_i64().unwrap() + 2);
}

#[tokio::test]
async fn the_figures_of_a_week_count_what_became_of_its_alerts() {
    let desk = Desk::new();
    let (id, cookie) = (desk.alert().await, desk.log_in("wang").await);
    let path = format!("/api/v1/alerts/{id}/acknowledge");
    let body = r#"{"reason": "at_bedside"}"#;
    let done = desk.post(&path, &[JSON, ("cookie", &cookie)], body).await;
    assert_eq!(done.status(), StatusCode::OK);
    let after = clock::rfc3339(clock::now().unix_ms() + 1000);
    let (_, figures) = desk.get(&format!("/api/v1/figures?to={after}")).await;
    check_schema(&document(), "Figures", &figures);
    let township = &figures["townships"][0];
    assert_eq!((&township["township"], &township["alerts"]["high"]), (&json!("heping"), &json!(1)));
    assert_eq!((&township["device_days"], &township["to_answer"]), (&json!(1), &json!(1)));
    assert_eq!(township["acknowledged_in_time_percent"], 100);
    assert_eq!(township["acted_on_percent"], 100);
    assert_eq!(township["noisy_rules"], json!([{"rule": "DEV-OCCL-DOWN", "alerts": 1}]));
    // What the county says of its own service is no ward's.
    let own = |transaction: &rusqlite::Transaction<'_>| {
        transaction.execute_batch(
            "INSERT INTO alert SELECT printf('%032x', 1), 'county', 'county', state, priority,
               started_ms, json_set(body, '$.id', printf('%032x', 1), '$.site', 'county')
             FROM alert",
        )
    };
    desk.app.store.write(own).await.unwrap();
    let (_, with_own) = desk.get(&format!("/api/v1/figures?to={after}")).await;
    assert_eq!(with_own, figures);
    // Before there was anything: nothing of nothing is no number.
    let (_, before) =
        desk.get("/api/v1/figures?from=2020-01-01T00:00:00Z&to=2020-01-08T00:00:00Z").await;
    check_schema(&document(), "Figures", &before);
    assert_eq!(before["townships"][0]["alerts_per_device_day"], Value::Null);
    let (status, _) = desk.get("/api/v1/figures?from=2020-01-01T00:00:00Z").await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_flood_is_told_with_the_list_of_alerts() {
    let desk = Desk::new();
    let (_, quiet) = desk.get("/api/v1/alerts").await;
    assert_eq!((&quiet["flood"], &quiet["offers"]), (&Value::Null, &json!([])));
    // Twelve more, of which eleven are low.
    let copy = |transaction: &rusqlite::Transaction<'_>| {
        transaction.execute_batch(
            "WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n LIMIT 12)
             INSERT INTO alert SELECT printf('%032x', n), site, device, state, priority, started_ms,
               json_set(body, '$.id', printf('%032x', n), '$.priority', iif(n = 12, 'high', 'low'))
             FROM alert, n;",
        )
    };
    desk.app.store.write(copy).await.unwrap();
    let (_, flooded) = desk.get("/api/v1/alerts").await;
    check_schema(&document(), "Alerts", &flooded);
    assert_eq!(flooded["flood"]["new"], 13);
    assert_eq!(flooded["flood"]["collapsed"].as_array().unwrap().len(), 11);
    assert_eq!(flooded["truncated"], false);
    // Three of one patient alike, the last from another device; and three of nobody.
    let alike = |transaction: &rusqlite::Transaction<'_>| {
        transaction.execute_batch(
            "WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n LIMIT 6)
             INSERT INTO alert SELECT printf('%032x', 100 + n), site, iif(n = 3, 'b', device), state,
               'medium', started_ms, json_set(body, '$.id', printf('%032x', 100 + n),
                 '$.priority', 'medium', '$.value', '8' || n, '$.device', iif(n = 3, 'b', device),
                 '$.patient', iif(n > 3, NULL, 'p-7'))
             FROM (SELECT * FROM alert LIMIT 1), n;",
        )
    };
    desk.app.store.write(alike).await.unwrap();
    let (_, offering) = desk.get("/api/v1/alerts").await;
    check_schema(&document(), "Alerts", &offering);
    let [ref offer] = offering["offers"].as_array().unwrap()[..] else { panic!("{offering}") };
    assert_eq!((&offer["patient"], &offer["values"]), (&json!("p-7"), &json!(["81", "82", "83"])));
    let (_, elsewhere) = desk.get("/api/v1/alerts?site=dongfeng").await;
    assert_eq!(elsewhere["flood"], Value::Null);
}

#[tokio::test]
async fn a_list_of_alerts_that_is_cut_says_so() {
    let desk = Desk::new();
    let copy = |transaction: &rusqlite::Transaction<'_>| {
        transaction.execute_batch(
            "WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n LIMIT 5000)
             INSERT INTO alert SELECT printf('%032x', n), site, device, state, priority,
               started_ms - n, json_set(body, '$.id', printf('%032x', n))
             FROM alert, n;",
        )
    };
    let newest = desk.alert().await;
    desk.app.store.write(copy).await.unwrap();
    let (_, cut) = desk.get("/api/v1/alerts").await;
    let alerts = cut["alerts"].as_array().unwrap();
    assert_eq!((alerts.len(), &cut["truncated"]), (5000, &json!(true)));
    assert_eq!(alerts[4999]["id"], newest, "the oldest are left out");
}
