//! One's own password and PIN, and who is still there.

use super::*;

impl Desk {
    async fn post_as(&self, cookie: &str, path: &str, body: Value) -> (u16, Value) {
        let headers = [JSON, ("cookie", cookie)];
        let path = format!("/api/v1{path}");
        let (status, answer) = told(self.post(&path, &headers, &body.to_string()).await).await;
        if status.as_u16() >= 400 {
            check_schema(&document(), "Problem", &answer);
        }
        (status.as_u16(), answer)
    }

    async fn get_as(&self, cookie: &str, path: &str) -> (u16, Value) {
        let request = Request::get(format!("/api/v1{path}")).header(header::COOKIE, cookie);
        let (status, answer) = told(self.send(request.body(Body::empty()).unwrap()).await).await;
        (status.as_u16(), answer)
    }

    async fn change(&self, sql: &'static str) {
        let change = move |transaction: &rusqlite::Transaction<'_>| transaction.execute(sql, []);
        assert!(self.app.store.write(change).await.unwrap() > 0, "{sql}");
    }

    /// Eleven minutes pass in which nobody does anything.
    async fn nothing_is_done(&self) {
        self.change("UPDATE session SET confirmed_ms = confirmed_ms - 11 * 60000").await;
    }
}

#[tokio::test]
async fn a_password_that_somebody_gave_opens_nothing_until_it_is_changed() {
    let desk = Desk::new();
    desk.change("UPDATE person SET given_password = 1 WHERE name = 'wang'").await;
    let alert = desk.alert().await;
    let (here, elsewhere) = (desk.log_in("wang").await, desk.log_in("wang").await);
    let (status, user) = desk.get_as(&here, "/session").await;
    check_schema(&document(), "User", &user);
    assert_eq!(status, 200);
    assert_eq!((&user["must_set_password"], &user["may"]), (&json!(true), &json!([])));
    for path in ["/sites", "/alerts", "/patients", "/events", "/rules", "/tray"] {
        let (status, answer) = desk.get_as(&here, path).await;
        assert_eq!((status, &answer["must_set_password"]), (403, &json!(true)), "{path}: {answer}");
    }
    let acknowledge = format!("/alerts/{alert}/acknowledge");
    let at_bedside = || json!({"reason": "at_bedside"});
    assert_eq!(desk.post_as(&here, &acknowledge, at_bedside()).await.0, 403);

    let path = "/session/password";
    let new = "battery staple";
    for (body, wanted) in [
        (json!({"old": PASSWORD, "new": "short"}), 400),
        (json!({"old": PASSWORD, "new": "x".repeat(257)}), 400),
        (json!({"old": PASSWORD, "new": PASSWORD}), 400),
        (json!({"old": PASSWORD}), 422),
        (json!({"old": "wrong horse", "new": new}), 403),
        (json!({"old": PASSWORD, "new": new}), 204),
        (json!({"old": PASSWORD, "new": "another one"}), 403),
    ] {
        let (status, answer) = desk.post_as(&here, path, body.clone()).await;
        assert_eq!(status, wanted, "{body}: {answer}");
    }
    assert_eq!(desk.get_as(&here, "/sites").await.0, 200);
    assert_eq!(desk.get_as(&elsewhere, "/session").await.0, 401);
    assert_eq!(desk.post_as(&here, &acknowledge, at_bedside()).await.0, 200);
    let entries = desk.audit().await;
    assert!(entries.contains(&"wang set_password wang".to_owned()), "{entries:?}");
    let log_in = json!({"name": "wang", "password": PASSWORD});
    assert_eq!(desk.post_as("", "/session", log_in).await.0, 401);
    let log_in = json!({"name": "wang", "password": new});
    assert_eq!(desk.post_as("", "/session", log_in).await.0, 200);
}

#[tokio::test]
async fn who_has_left_the_board_open_is_asked_before_the_next_act() {
    let desk = Desk::new();
    let path = format!("/alerts/{}/note", desk.alert().await);
    let cookie = desk.log_in("wang").await;
    let note = async || desk.post_as(&cookie, &path, json!({"note": "vein is difficult"})).await;
    assert_eq!(note().await.0, 200);
    desk.nothing_is_done().await;
    let (status, problem) = note().await;
    assert_eq!((status, &problem["confirm"]), (403, &json!(true)), "{problem}");
    // Looking on is no act.
    assert_eq!(desk.get_as(&cookie, "/alerts").await.0, 200);

    let confirm = async |body: Value| desk.post_as(&cookie, "/session/confirm", body).await;
    assert_eq!(confirm(json!({})).await.0, 400);
    assert_eq!(confirm(json!({"pin": "2468"})).await.0, 403, "there is none");
    assert_eq!(note().await.0, 403);
    let (status, user) = confirm(json!({"password": PASSWORD})).await;
    check_schema(&document(), "User", &user);
    assert_eq!(status, 200);
    assert!(
        user["confirmed_until"].as_str().unwrap() > clock::rfc3339(clock::now().unix_ms()).as_str()
    );
    assert_eq!(note().await.0, 200);
    // Saying that one is there lengthens nothing: a shift after the log-in it ends.
    let ends_at = desk.get_as(&cookie, "/session").await.1["ends_at"].clone();
    assert_eq!(user["ends_at"], ends_at);
    let ends_ms = clock::parse_rfc3339(ends_at.as_str().unwrap()).unwrap();
    let left_ms = ends_ms - clock::now().unix_ms();
    assert!((11 * 3_600_000..=12 * 3_600_000).contains(&left_ms), "{left_ms}");

    let set = async |pin: Value| {
        desk.post_as(&cookie, "/session/pin", json!({"password": PASSWORD, "pin": pin})).await.0
    };
    assert_eq!((set(json!("12")).await, set(json!("2468")).await), (400, 204));
    assert_eq!(desk.get_as(&cookie, "/session").await.1["has_pin"], true);
    desk.nothing_is_done().await;
    assert_eq!(confirm(json!({"pin": "8642"})).await.0, 403);
    assert_eq!(note().await.0, 403);
    assert_eq!(confirm(json!({"pin": "2468"})).await.0, 200);
    assert_eq!(note().await.0, 200);
    // An act shows it too.
    desk.change("UPDATE session SET confirmed_ms = confirmed_ms - 9 * 60000").await;
    assert_eq!(note().await.0, 200);
    desk.change("UPDATE session SET confirmed_ms = confirmed_ms - 9 * 60000").await;
    assert_eq!(note().await.0, 200);
    // A PIN opens no session.
    let log_in = json!({"name": "wang", "password": "2468"});
    assert_eq!(desk.post_as("", "/session", log_in).await.0, 401);
}

#[tokio::test]
async fn five_wrong_pins_end_the_session_and_nobody_outside_can_do_that() {
    let desk = Desk::new();
    let cookie = desk.log_in("wang").await;
    for _ in 0..6 {
        let log_in = json!({"name": "wang", "password": "wrong horse"});
        desk.post_as("", "/session", log_in).await;
    }
    let confirm =
        async |pin: &str| desk.post_as(&cookie, "/session/confirm", json!({"pin": pin})).await.0;
    let mut answers = Vec::new();
    for pin in ["1111", "2222", "3333", "4444", "5555", "6666"] {
        answers.push(confirm(pin).await);
    }
    assert_eq!(answers, [403, 403, 403, 403, 401, 401]);
    assert_eq!(desk.get_as(&cookie, "/session").await.0, 401);
    let entries = desk.audit().await;
    let wrong = entries.iter().filter(|entry| *entry == "wang confirm_failed wang").count();
    assert_eq!(wrong, 5, "{entries:?}");
}

#[tokio::test]
async fn a_program_has_no_password_and_no_pin() {
    let desk = Desk::new();
    let bearer = format!("Bearer {}", desk.token);
    for (path, body) in [
        ("password", json!({"old": PASSWORD, "new": "battery staple"})),
        ("pin", json!({"password": PASSWORD, "pin": "2468"})),
        ("confirm", json!({"pin": "2468"})),
    ] {
        let path = format!("/api/v1/session/{path}");
        let headers = [JSON, ("authorization", bearer.as_str())];
        let answer = desk.post(&path, &headers, &body.to_string()).await;
        assert_eq!(answer.status(), StatusCode::FORBIDDEN, "{path}");
    }
}
