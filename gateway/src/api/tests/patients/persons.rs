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
