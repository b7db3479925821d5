//! Boards that are open, what is done at them, and who may be handed an alert.

use super::{roles::Staffed, *};
use crate::duty;

const HEPING: &str = "和平镇卫生院";
const DONGFENG: &str = "东风镇卫生院";

impl Staffed {
    async fn says(&self, cookie: &str, board: &str, name: &str, sound: &str) -> u16 {
        let body = json!({"board": board, "name": name, "sound": sound}).to_string();
        let path = "/api/v1/boards/sound";
        self.ask(cookie, Method::POST, path, &body).await.0.as_u16()
    }

    /// Boards that somebody is told, with their sound; and clinics in which none is heard.
    async fn boards(&self, cookie: &str) -> (Vec<String>, Value) {
        let (status, told) = self.ask(cookie, Method::GET, "/api/v1/boards", "").await;
        assert_eq!(status, StatusCode::OK);
        check_schema(&document(), "Boards", &told);
        let boards = told["boards"].as_array().unwrap().iter();
        let text = |of: &Value| of.as_str().unwrap().to_owned();
        let boards =
            boards.map(|board| format!("{} {}", text(&board["name"]), text(&board["sound"])));
        (boards.collect(), told["clinics_without_sound"].clone())
    }

    async fn delete(&self, cookie: &str, path: &str) -> u16 {
        self.ask(cookie, Method::DELETE, path, "").await.0.as_u16()
    }

    /// Whom somebody may hand the alert to, and as what they are on duty.
    async fn people(&self, cookie: &str) -> Vec<String> {
        let path = "/api/v1/alerts/{alert}/people";
        let (status, told) = self.ask(cookie, Method::GET, path, "").await;
        assert_eq!(status, StatusCode::OK, "{told}");
        check_schema(&document(), "AlertPeople", &told);
        let people = told["people"].as_array().unwrap().iter();
        people.map(|one| format!("{} {}", one["name"], one["on_duty"]).replace('"', "")).collect()
    }
}

#[tokio::test]
async fn a_board_without_sound_is_told_to_the_others_of_its_township() {
    let staffed = Staffed::new().await;
    staffed.limit("nurse", HEPING).await;
    staffed.limit("kiosk", HEPING).await;
    staffed.limit("engineer", DONGFENG).await;
    let mut heard = staffed.desk.app.events.follow();
    let mut news = || std::iter::from_fn(|| heard.try_recv().ok()).count();
    let [nurse, wall, away, county] = [
        staffed.cookie("nurse"),
        staffed.cookie("kiosk"),
        staffed.cookie("engineer"),
        staffed.cookie("doctor"),
    ];
    let (nurse, wall, away, county) = (nurse.await, wall.await, away.await, county.await);
    assert_eq!(staffed.says(&nurse, "1a", "护士站1", "on").await, 204);
    assert_eq!(staffed.says(&wall, "2b", "走廊", "paused").await, 204);
    assert_eq!((news(), staffed.says(&wall, "2b", "走廊", "on").await), (2, 204));
    assert_eq!(news(), 0, "a pause is over");
    let both = vec!["护士站1 on".to_owned(), "走廊 on".to_owned()];
    assert_eq!(staffed.boards(&nurse).await.1, json!([]));
    let (mut told, silent) = staffed.boards(&county).await;
    told.sort();
    // The other township has nobody of its own, and the doctor of the county has no board open.
    assert_eq!((told, silent), (both, json!([DONGFENG])));
    assert_eq!(staffed.says(&nurse, "1a", "护士站1", "blocked").await, 204);
    assert_eq!(news(), 1);
    assert_eq!(staffed.boards(&wall).await.1, json!([]));
    assert_eq!(staffed.delete(&nurse, "/api/v1/boards/2b").await, 204);
    assert_eq!(news(), 0, "it is another's");
    assert_eq!(staffed.delete(&wall, "/api/v1/boards/2b").await, 204);
    assert_eq!(news(), 1);
    let silent = (vec!["护士站1 blocked".to_owned()], json!([HEPING]));
    assert_eq!(staffed.boards(&wall).await, silent);
    assert_eq!(staffed.boards(&away).await, (vec![], json!([DONGFENG])));
    // Who logs out takes their boards along.
    assert_eq!(staffed.delete(&nurse, "/api/v1/session").await, 204);
    assert_eq!((news(), staffed.boards(&wall).await.0), (1, vec![]));
    for (board, name, sound, wanted) in [
        ("", "a", "on", 400),
        ("x", "a", "on", 400),
        ("1", " ", "on", 400),
        ("1", &"长".repeat(33), "on", 400),
        ("1", "a\nb", "on", 400),
        ("1", "a", "loud", 422),
        ("1", &"长".repeat(32), "off", 204),
    ] {
        assert_eq!(staffed.says(&wall, board, name, sound).await, wanted, "{board} {name}");
    }
    let bearer = format!("Bearer {}", staffed.desk.token);
    let program = [JSON, ("authorization", bearer.as_str())];
    let body = r#"{"board": "1", "name": "a", "sound": "on"}"#;
    let answer = staffed.desk.post("/api/v1/boards/sound", &program, body).await;
    assert_eq!(answer.status(), StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn a_board_is_not_called_after_a_patient_and_no_act_waits_for_that() {
    let staffed = Staffed::new().await;
    staffed.limit("nurse", HEPING).await;
    let admit = |transaction: &rusqlite::Transaction<'_>| {
        transaction.execute_batch(
            "INSERT INTO patient VALUES ('p-7', '和平镇卫生院', '{\"clinic\": \"和平镇卫生院\"}', NULL, 1,
               'wang', 0);
             INSERT INTO patient_name VALUES ('p-7', '测试甲乙');",
        )
    };
    staffed.desk.app.store.write(admit).await.unwrap();
    let app = &staffed.desk.app;
    let (nurse, doctor) = (staffed.cookie("nurse").await, staffed.cookie("doctor").await);
    for cookie in [&nurse, &doctor] {
        let body = json!({"board": "1a", "name": "测试 甲乙的床旁", "sound": "on"}).to_string();
        let path = "/api/v1/boards/sound";
        let (status, problem) = staffed.ask(cookie, Method::POST, path, &body).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{problem}");
        check_schema(&document(), "Problem", &problem);
        assert_eq!(problem["detail"], "board's name: leave the patient's name out");
        // The sound is heard all the same.
        app.boards.look(&app.store, &app.events).await;
        assert!(staffed.boards(cookie).await.0.contains(&"– on".to_owned()));
        assert_eq!(staffed.says(cookie, "1a", "护士站1", "on").await, 204);
    }
    // 测试甲乙
    let path = "/api/v1/alerts/{alert}/note?board=%E6%B5%8B%E8%AF%95%E7%94%B2%E4%B9%99";
    let (status, answer) = staffed.ask(&nurse, Method::POST, path, r#"{"note": "x"}"#).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    let noted = answer["timeline"].as_array().unwrap().last().unwrap();
    assert_eq!((&noted["what"], &noted["board"]), (&json!("noted"), &Value::Null));
}

#[tokio::test]
async fn a_board_that_others_logged_out_is_heard_no_more() {
    let staffed = Staffed::new().await;
    let (app, mut heard) = (&staffed.desk.app, staffed.desk.app.events.follow());
    staffed.limit("nurse", HEPING).await;
    let (nurse, doctor) = (staffed.cookie("nurse").await, staffed.cookie("doctor").await);
    assert_eq!(staffed.says(&nurse, "1a", "护士站1", "on").await, 204);
    app.boards.look(&app.store, &app.events).await;
    assert_eq!(staffed.boards(&doctor).await.0, ["护士站1 on"]);
    let admin = staffed.cookie("security_admin").await;
    assert_eq!(staffed.delete(&admin, "/api/v1/people/nurse/sessions").await, 204);
    while heard.try_recv().is_ok() {}
    app.boards.look(&app.store, &app.events).await;
    assert_eq!(staffed.boards(&doctor).await.0, [""; 0]);
    assert!(heard.try_recv().is_ok(), "the others are told");
}

#[tokio::test]
async fn a_story_says_at_which_board_each_thing_was_done() {
    let staffed = Staffed::new().await;
    let nurse = staffed.cookie("nurse").await;
    let desk = "board=%E6%8A%A4%E5%A3%AB%E7%AB%991";
    let act = async |deed: &str, body: &str| {
        let path = format!("/api/v1/alerts/{{alert}}/{deed}");
        staffed.ask(&nurse, Method::POST, &path, body).await
    };
    let (status, answer) = act("note?board=%20", r#"{"note": "x"}"#).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{answer}");
    assert_eq!(act("note", r#"{"note": "x"}"#).await.0, StatusCode::OK);
    let at_bedside = r#"{"reason": "at_bedside"}"#;
    assert_eq!(act(&format!("acknowledge?{desk}"), at_bedside).await.0, StatusCode::OK);
    let path = format!("/api/v1/devices/heping/pump-01/out-of-service?{desk}");
    let (status, answer) = staffed.ask(&nurse, Method::POST, &path, r#"{"reason": "x"}"#).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    assert_eq!(
        act("assign?board=hall", r#"{"to": "doctor", "reason": "x"}"#).await.0,
        StatusCode::OK
    );
    let (_, alert) = staffed.ask(&nurse, Method::GET, "/api/v1/alerts/{alert}", "").await;
    check_schema(&document(), "Alert", &alert);
    let story = alert["timeline"].as_array().unwrap().iter();
    let story: Vec<_> = story.map(|entry| json!([entry["what"], entry["board"]])).collect();
    assert_eq!(
        json!(story),
        json!([
            ["raised", null],
            ["noted", null],
            ["acknowledged", "护士站1"],
            ["out_of_service", "护士站1"],
            ["assigned", "hall"]
        ])
    );
    let audit = staffed.cookie("audit_admin").await;
    let (_, told) = staffed.ask(&audit, Method::GET, "/api/v1/audit?limit=10000", "").await;
    let entries = told["entries"].as_array().unwrap().iter();
    let own = entries.filter(|entry| entry["who"] == "nurse");
    let own: Vec<_> = own.map(|entry| json!([entry["action"], entry["detail"]["board"]])).collect();
    assert_eq!(
        json!(own),
        json!([
            ["note", null],
            ["acknowledge", "护士站1"],
            ["out_of_service", "护士站1"],
            ["assign", "hall"]
        ])
    );
}

#[tokio::test]
async fn an_alert_goes_to_somebody_who_may_act_on_it_there() {
    let staffed = Staffed::new().await;
    duty::know_townships(&staffed.desk.app.store, &staffed.desk.app.clinics).await;
    let doctor = staffed.cookie("doctor").await;
    assert_eq!(
        staffed.people(&doctor).await,
        ["doctor null", "li null", "nurse null", "wang null", "zhang null"]
    );
    staffed.limit("nurse", HEPING).await;
    staffed.limit("wang", DONGFENG).await;
    let away = |transaction: &rusqlite::Transaction<'_>| {
        transaction.execute("UPDATE person SET disabled = 1 WHERE name = 'zhang'", [])?;
        transaction.execute("UPDATE person SET given_password = 1 WHERE name = 'li'", [])
    };
    staffed.desk.app.store.write(away).await.unwrap();
    let plan = json!({"township": HEPING, "shifts": [
        {"level": "second", "from_hour": 0, "until_hour": 168, "person": "doctor"},
        {"level": "first", "from_hour": 0, "until_hour": 168, "person": "nurse"}]});
    let plan = plan.to_string();
    let answer = staffed.ask(&doctor, Method::PUT, "/api/v1/duty", &plan).await;
    assert_eq!(answer.0, StatusCode::OK);
    assert_eq!(staffed.people(&doctor).await, ["nurse first", "doctor second"]);
    for (to, wanted) in [
        ("wang", 400),
        ("zhang", 400),
        ("li", 400),
        ("engineer", 400),
        ("nobody", 400),
        ("nurse", 200),
    ] {
        let (path, body) =
            ("/api/v1/alerts/{alert}/assign", json!({"to": to, "reason": "x"}).to_string());
        let (status, answer) = staffed.ask(&doctor, Method::POST, path, &body).await;
        assert_eq!(status.as_u16(), wanted, "{to}: {answer}");
    }
    // The second who agrees is one of them too.
    let until = clock::rfc3339(clock::now().unix_ms() + 600_000);
    for (second, wanted) in [("wang", 400), ("nurse", 200)] {
        let body = json!({"reason": "x", "until": until, "second": second}).to_string();
        let path = "/api/v1/alerts/{alert}/shelve";
        let (status, answer) = staffed.ask(&doctor, Method::POST, path, &body).await;
        assert_eq!(status.as_u16(), wanted, "{second}: {answer}");
    }
    // Of the county's own service administrators take care.
    let admin = staffed.cookie("system_admin").await;
    let path = "/api/v1/alerts/{service}/people";
    let (_, told) = staffed.ask(&admin, Method::GET, path, "").await;
    let names: Vec<_> = told["people"].as_array().unwrap().iter().map(|one| &one["name"]).collect();
    assert_eq!(names, ["audit_admin", "security_admin", "system_admin"]);
}
