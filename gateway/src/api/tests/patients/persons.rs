//! What a person has to stand for: a doctor's order, and what ends or lessens a warning.

use super::*;

/// Runs SQL at the county.
async fn at_county(desk: &Desk, sql: &'static str) {
    let write = move |transaction: &rusqlite::Transaction<'_>| transaction.execute_batch(sql);
    desk.app.store.write(write).await.unwrap();
}

/// Alert rules, section 2: "only with a doctor's order", which ends.
#[tokio::test]
async fn an_order_is_of_a_doctor_of_the_clinic_and_ends() {
    let desk = Desk::with_clinic();
    let cookie = desk.log_in("wang").await;
    let path = format!("/patients/{}", desk.patient(&cookie).await);
    let day = 24 * 3_600_000;
    let order = |doctor: &str, days: i64| {
        let until = clock::rfc3339(clock::now().unix_ms() + days * day);
        json!({"version": 1, "scale2": {"doctor": doctor, "until": until}})
    };
    at_county(
        &desk,
        "INSERT INTO person (name, password, role, disabled, scope)
         SELECT 'gone', password, role, 1, NULL FROM person WHERE name = 'li';
         INSERT INTO person (name, password, role, scope)
         SELECT 'afar', password, role, '[\"东风镇卫生院\"]' FROM person WHERE name = 'li';
         INSERT INTO person (name, password, role, scope)
         SELECT 'near', password, role, '[\"和平镇卫生院\"]' FROM person WHERE name = 'li';",
    )
    .await;
    let whose = "scale2: doctor is no doctor of 和平镇卫生院; write the name";
    for (body, says) in [
        (order("x", 30), whose),
        (order("", 30), whose),
        // A nurse, a program, who was shut out, and a doctor of elsewhere.
        (order("wang", 30), whose),
        (order("bench", 30), whose),
        (order("gone", 30), whose),
        (order("afar", 30), whose),
        (order("li", 367), "scale2: until is when the order ends"),
        (order("li", -1), "scale2: until is when the order ends"),
    ] {
        let (status, detail) = desk.refused(&cookie, Method::PATCH, &path, body.clone()).await;
        assert!(status == 400 && detail.starts_with(says), "{body}: {status} {detail}");
    }
    let mut new = order("x", 30);
    new.as_object_mut().unwrap().remove("version");
    new["clinic"] = json!(CLINIC);
    let (status, detail) = desk.refused(&cookie, Method::POST, "/patients", new).await;
    assert!(status == 400 && detail.starts_with(whose), "{status} {detail}");
    let told = desk.do_it(&cookie, Method::PATCH, &path, order("near", 365)).await;
    assert_eq!(told["scale2"]["doctor"], "near");
    // What was ordered stays ordered, whatever becomes of the doctor.
    at_county(&desk, "UPDATE person SET disabled = 1 WHERE name = 'near'").await;
    let same = json!({"version": 2, "bed": "4", "scale2": told["scale2"]});
    let told = desk.do_it(&cookie, Method::PATCH, &path, same).await;
    assert_eq!(told["bed"], "4");
}

/// A program writes down what other systems know. What ends or lessens a warning has a name.
#[tokio::test]
async fn a_program_registers_and_stands_for_nobody() {
    let desk = Desk::with_clinic();
    let cookie = desk.log_in("wang").await;
    let ask = async |method: Method, path: &str, body: &Value| {
        let request = Request::builder()
            .method(method)
            .uri(format!("/api/v1{path}"))
            .header(JSON.0, JSON.1)
            .header(header::AUTHORIZATION, format!("Bearer {}", desk.token));
        told(desk.send(request.body(Body::from(body.to_string())).unwrap()).await).await
    };
    let known = json!({"clinic": CLINIC, "name": NAME, "bed": "3", "born": "1996-03",
        "sex": "female", "monitored": true, "scale2": null,
        "cuff_on_other_limb": false, "pregnancy": {"registered": "2026-08-01"}});
    let (status, told) = ask(Method::POST, "/patients", &known).await;
    assert_eq!(status, StatusCode::CREATED, "{told}");
    let patient = told["patient"].as_str().unwrap();
    let path = format!("/patients/{patient}");
    let renamed = json!({"version": 1, "name": "测试甲丙", "bed": "4", "sex": "female"});
    let (status, told) = ask(Method::PATCH, &path, &renamed).await;
    assert_eq!(status, StatusCode::OK, "{told}");
    let put_on = |more: Value| {
        let mut body = json!({"site": "heping", "device": "pump-01", "patient": patient,
            "reason": "put on"});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    let (status, bound) = ask(Method::POST, "/bindings", &put_on(json!({}))).await;
    assert_eq!(status, StatusCode::CREATED, "{bound}");

    let until = clock::rfc3339(clock::now().unix_ms() + 3_600_000);
    let order = json!({"doctor": "li", "until": until});
    let off = format!("/bindings/{}", bound["id"]);
    let refused = [
        (
            Method::POST,
            "/patients",
            json!({"clinic": CLINIC, "scale2": order}),
            "care_for_patients",
        ),
        (Method::PATCH, &*path, json!({"version": 2, "monitored": false}), "care_for_patients"),
        (Method::PATCH, &path, json!({"version": 2, "born": "1956-03"}), "care_for_patients"),
        (Method::PATCH, &path, json!({"version": 2, "age_months": 846}), "care_for_patients"),
        (
            Method::PATCH,
            &path,
            json!({"version": 2, "cuff_on_other_limb": true}),
            "care_for_patients",
        ),
        (Method::PATCH, &path, json!({"version": 2, "pregnancy": null}), "care_for_patients"),
        (Method::PATCH, &path, json!({"version": 2, "scale2": order}), "care_for_patients"),
        (Method::PATCH, &path, json!({"version": 2, "scale2": null}), "care_for_patients"),
        (
            Method::PATCH,
            &path,
            json!({"version": 2, "discharged": true, "reason": "went home"}),
            "care_for_patients",
        ),
        (Method::DELETE, &off, json!({"reason": "taken off"}), "care_for_patients"),
        (
            Method::POST,
            &format!("{path}/entries"),
            json!({"consciousness": "A"}),
            "care_for_patients",
        ),
        (Method::POST, "/bindings", put_on(json!({"move_readings": true})), "reassign_readings"),
    ];
    let before = (desk.audit().await, desk.get(&format!("/api/v1{path}")).await.1);
    for (method, path, body, action) in &refused {
        let (status, told) = ask(method.clone(), path, body).await;
        check_schema(&document(), "Problem", &told);
        assert_eq!(status, StatusCode::FORBIDDEN, "{method} {path} {body}: {told}");
        assert_eq!((&told["code"], &told["action"]), (&json!("program"), &json!(action)));
    }
    // It learns which of what it sent is a person's.
    let mixed = json!({"version": 2, "bed": "5", "monitored": true, "born": "1956-03"});
    let (_, told) = ask(Method::PATCH, &path, &mixed).await;
    assert_eq!(told["detail"], "born, monitored: log in under your own name");
    assert_eq!((desk.audit().await, desk.get(&format!("/api/v1{path}")).await.1), before);

    // Somebody who is logged in does what of it can be meant.
    for (method, path, body) in [
        (
            Method::PATCH,
            &path,
            json!({"version": 2, "monitored": false, "pregnancy": null,
            "born": "1956-03", "cuff_on_other_limb": true}),
        ),
        (Method::POST, &format!("{path}/entries"), json!({"consciousness": "A"})),
        (Method::DELETE, &off, json!({"reason": "taken off"})),
        (Method::PATCH, &path, json!({"version": 3, "discharged": true, "reason": "went home"})),
    ] {
        desk.do_it(&cookie, method, path, body).await;
    }
}
