//! Limits of one patient, when the patient is another than they were set for and when they run out.

use super::*;

/// A limit of a rule that is the patient's no more would be looked at by nobody, unsaid.
#[tokio::test]
async fn a_limit_that_applies_no_more_is_told() {
    let desk = Desk::with_clinic();
    let cookie = desk.log_in("wang").await;
    let patient = desk.patient(&cookie).await;
    let path = format!("/patients/{patient}");
    let limits = format!("{path}/limits");
    let until = clock::rfc3339(clock::now().unix_ms() + 3_600_000);
    for (rule, value) in [("SPO2-AD-L", "88"), ("HR-AD-H", "130")] {
        let limit = json!({"rule": rule, "value": value, "until": until, "reason": "known"});
        desk.do_it(&cookie, Method::POST, &limits, limit).await;
    }
    let applying = async || {
        let (_, listed) = desk.get(&format!("/api/v1{limits}")).await;
        check_schema(&document(), "Limits", &listed);
        let (_, whole) = desk.get(&format!("/api/v1{path}")).await;
        check_schema(&document(), "PatientWhole", &whole);
        assert_eq!(whole["limits"], listed["limits"]);
        let listed = listed["limits"].as_array().unwrap().iter();
        let told = listed.map(|it| format!("{} {}", it["rule"].as_str().unwrap(), it["applies"]));
        told.collect::<Vec<_>>()
    };
    let change = async |body: Value| {
        let told = desk.do_it(&cookie, Method::PATCH, &path, body).await;
        check_schema(&document(), "Patient", &told);
        told["limits_stopped"].clone()
    };
    assert_eq!(change(json!({"version": 1, "bed": "4"})).await, json!([]));
    assert_eq!(applying().await, ["HR-AD-H true", "SPO2-AD-L true"]);
    let order = json!({"doctor": "li", "until": until});
    assert_eq!(change(json!({"version": 2, "scale2": order})).await, json!(["SPO2-AD-L"]));
    assert_eq!(applying().await, ["HR-AD-H true", "SPO2-AD-L false"]);
    // She is a child now, who has no order.
    let child = json!({"version": 3, "born": "2017-03", "scale2": null});
    assert_eq!(change(child).await, json!(["HR-AD-H"]));
    assert_eq!(applying().await, ["HR-AD-H false", "SPO2-AD-L false"]);
    assert_eq!(change(json!({"version": 4, "born": "1956-03"})).await, json!([]));
    assert_eq!(applying().await, ["HR-AD-H true", "SPO2-AD-L true"]);
    let in_chain = |connection: &rusqlite::Connection| {
        let mut statement = connection.prepare(
            "SELECT body -> '$[6].limits_stopped' FROM audit
             WHERE json_array_length(body, '$[6].limits_stopped') > 0",
        )?;
        statement.query_map([], |row| row.get::<_, String>(0))?.collect::<Result<Vec<_>, _>>()
    };
    let told = desk.app.store.read(in_chain).await.unwrap();
    assert_eq!(told, [r#"["SPO2-AD-L"]"#, r#"["HR-AD-H"]"#]);
}

/// Nobody ends it, and from then on the rule's own limit is in force again.
#[tokio::test]
async fn that_a_limit_ran_out_stands_in_the_chain_once() {
    let desk = Desk::with_clinic();
    let cookie = desk.log_in("wang").await;
    let patient = desk.patient(&cookie).await;
    let limits = format!("/patients/{patient}/limits");
    let begin = clock::now().unix_ms();
    let hour = |hours: i64| begin + hours * 3_600_000;
    for (rule, value, hours) in
        [("SPO2-AD-L", "88", 2), ("HR-AD-H", "130", 1), ("RR-AD-H", "28", 1)]
    {
        let until = clock::rfc3339(hour(hours));
        let limit = json!({"rule": rule, "value": value, "until": until, "reason": "known"});
        desk.do_it(&cookie, Method::POST, &limits, limit).await;
    }
    // What somebody ended before its time did not run out.
    desk.do_it(&cookie, Method::DELETE, &format!("{limits}/3"), json!({})).await;
    let told = async |at_ms: i64| {
        let rules = desk.app.rules.rules();
        let pass = move |transaction: &rusqlite::Transaction<'_>| {
            crate::patients::limit::run_out(
                transaction,
                &rules,
                model::time::WallTime::from_unix_ms(at_ms),
            )
        };
        desk.app.store.write(pass).await.unwrap();
        let in_chain = |connection: &rusqlite::Connection| {
            let mut walk = crate::audit::verify::Walk::default();
            while !walk.step(connection, 100)? {}
            assert!(walk.finish().good);
            let mut statement = connection.prepare(
                "SELECT body -> '$[3]', body -> '$[5]', body -> '$[6]' FROM audit
                 WHERE body ->> '$[4]' = 'limits_stopped' ORDER BY id",
            )?;
            let entry = |row: &rusqlite::Row<'_>| {
                let part = |place| {
                    serde_json::from_str(&row.get::<_, String>(place)?)
                        .map_err(|_| rusqlite::Error::InvalidQuery)
                };
                Ok([part(0)?, part(1)?, part(2)?])
            };
            statement.query_map([], entry)?.collect::<Result<Vec<[Value; 3]>, _>>()
        };
        desk.app.store.read(in_chain).await.unwrap()
    };
    let entry = |rule: &str, value: &str, hours: i64| {
        let until = clock::rfc3339(hour(hours));
        let detail = json!({"rule": rule, "value": value, "why": "ran_out", "until": until});
        [json!("county"), json!(patient), detail]
    };
    assert!(told(hour(1) - 1).await.is_empty());
    let first = entry("HR-AD-H", "130", 1);
    assert_eq!(told(hour(1)).await, std::slice::from_ref(&first));
    // A gateway that starts again looks again.
    assert_eq!(told(hour(1)).await, std::slice::from_ref(&first));
    assert_eq!(told(hour(30)).await, [first, entry("SPO2-AD-L", "88", 2)]);
}
