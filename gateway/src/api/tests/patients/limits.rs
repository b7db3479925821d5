//! Limits of one patient, when the patient is another than they were set for.

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
