//! Who may do what: each cell of the table in the README, asked of the running API.

use super::*;
use crate::{
    alerts::{self as told_alerts, Context, Evaluation},
    people::Scope,
    query::Clinics,
};
use model::time::WallTime;

const TABLE: &str = include_str!("../README.md");
const HEPING: &str = "和平镇卫生院";
const DONGFENG: &str = "东风镇卫生院";

/// A row of the table: an action, what asks for it, and of each role whether it may.
struct Row {
    action: String,
    requests: Vec<(Method, String)>,
    cells: Vec<(Role, bool)>,
}

fn rows() -> Vec<Row> {
    let lines = TABLE.lines().skip_while(|line| !line.starts_with("| action |"));
    let mut lines = lines.take_while(|line| line.starts_with('|')).map(|line| {
        let cells = line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned());
        cells.collect::<Vec<_>>()
    });
    let heads = lines.next().unwrap();
    let roles: Vec<Role> = heads[2..].iter().map(|name| Role::from_name(name).unwrap()).collect();
    assert_eq!(roles, Role::ALL);
    let row = |cells: Vec<String>| {
        let may = |cell: &String| match cell.as_str() {
            "✓" => true,
            "–" => false,
            other => panic!("{other:?} in the row of {}", cells[0]),
        };
        let request = |request: &str| {
            let (method, path) = request.trim().trim_matches('`').split_once(' ').unwrap();
            (method.parse().unwrap(), path.to_owned())
        };
        let asked = cells[1].split(',').filter(|request| !request.trim().is_empty());
        Row {
            requests: asked.map(request).collect(),
            cells: roles.iter().copied().zip(cells[2..].iter().map(may)).collect(),
            action: cells[0].clone(),
        }
    };
    lines.skip(1).map(row).collect()
}

/// A county with somebody of each role, and an alert about its own service.
pub(super) struct Staffed {
    pub(super) desk: Desk,
    alert: String,
    service: String,
}

impl Staffed {
    pub(super) async fn new() -> Self {
        let mut desk = Desk::new();
        let [heping, dongfeng] = ["heping", "dongfeng"].map(|site| SiteId::new(site).unwrap());
        let clinics = [(heping, HEPING.to_owned()), (dongfeng, DONGFENG.to_owned())];
        desk.app.clinics = Arc::new(Clinics::from(clinics));
        let alert = desk.alert().await;
        let hash = people::hashed(PASSWORD).unwrap();
        let rules = desk.app.rules.rules();
        let write = move |transaction: &rusqlite::Transaction<'_>| {
            for role in Role::ALL {
                let (role, scope) = (Some(role), Scope::County);
                let name = role.map(Role::name).unwrap_or_default();
                let hash = hash.clone();
                let add = people::Change::Add { hash, given: false, role, scope };
                people::change(transaction, clock::now(), "console:test", name, &add).unwrap();
            }
            let mut evaluation = Evaluation::default();
            let context = Context { connection: transaction, rules: &rules, now: clock::now() };
            evaluation.audit_checked(context, true)?;
            told_alerts::store(context, evaluation)
        };
        let raised = desk.app.store.write(write).await.unwrap();
        assert_eq!((raised.len(), &raised[0]["priority"]), (1, &json!("high")));
        let service = raised[0]["id"].as_str().unwrap().to_owned();
        Self { desk, alert, service }
    }

    /// The cookie of somebody, without the time that a password takes.
    pub(super) async fn cookie(&self, name: &str) -> String {
        let name = name.to_owned();
        let now_ms = clock::now().unix_ms();
        let open = move |transaction: &rusqlite::Transaction<'_>| {
            Ok(people::open_session(transaction, &name, now_ms))
        };
        let secret = self.desk.app.store.write(open).await.unwrap().unwrap();
        format!("clinic_session={secret}")
    }

    pub(super) async fn ask(
        &self,
        cookie: &str,
        method: Method,
        path: &str,
        body: &str,
    ) -> (StatusCode, Value) {
        let path = path.replace("{alert}", &self.alert).replace("{service}", &self.service);
        let request = Request::builder().method(method).uri(with_id(&path));
        let request = request.header(header::COOKIE, cookie).header(JSON.0, JSON.1);
        let answer = self.desk.send(request.body(Body::from(body.to_owned())).unwrap()).await;
        if answer
            .headers()
            .get(header::CONTENT_TYPE)
            .is_some_and(|kind| kind == "text/event-stream")
        {
            return (answer.status(), Value::Null);
        }
        told(answer).await
    }

    /// Gives somebody these clinics and no others.
    pub(super) async fn limit(&self, name: &'static str, clinic: &str) {
        let scope = Scope::of_clinics([clinic.to_owned()].into(), &self.desk.app.clinics);
        let change = people::Change::Scope(scope);
        let write = move |transaction: &rusqlite::Transaction<'_>| {
            Ok(people::change(transaction, clock::now(), "console:test", name, &change))
        };
        self.desk.app.store.write(write).await.unwrap().unwrap();
    }
}

/// What a request must send so that it is refused for nothing else.
fn body_of(path: &str) -> &'static str {
    match path {
        "/api/v1/people" => r#"{"name": "new", "password": "correct horse"}"#,
        "/api/v1/people/{name}" => r#"{"role": "nurse"}"#,
        "/api/v1/people/{name}/password" => r#"{"password": "correct horse"}"#,
        "/api/v1/people/{name}/confirm" | "/api/v1/people/{name}/password/confirm" => "{}",
        "/api/v1/boards/sound" => r#"{"board": "1", "name": "desk", "sound": "on"}"#,
        "/api/v1/tokens" => r#"{"name": "export", "role": "engineer"}"#,
        "/api/v1/rules/preview" => r#"{"version": 99}"#,
        "/api/v1/duty" => r#"{"township": null, "shifts": []}"#,
        path if path.ends_with("/shelve") => r#"{"reason": "x", "until": "2000-01-01T00:00:00Z"}"#,
        path if path.ends_with("/assign") => r#"{"to": "nurse", "reason": "x"}"#,
        path if path.ends_with("/escalate") => r#"{"reason": "x"}"#,
        path if path.ends_with("/note") => r#"{"note": "x"}"#,
        path if path.ends_with("/danger-signs") => r#"{"signs": []}"#,
        path if path.ends_with("/out-of-service") => r#"{"reason": "x"}"#,
        path if path.ends_with("/acknowledge") => r#"{"reason": "at_bedside"}"#,
        path if path.ends_with("/after-meal") => r#"{"two_hours": true}"#,
        path if path.ends_with("/limits") => r#"{"rule": "HR-AD-H"}"#,
        "/api/v1/bindings" => r#"{"site": "a", "device": "b"}"#,
        path if ["/patients", "/bindings/", "/reassign"].iter().any(|part| path.contains(part)) => {
            "{}"
        }
        _ => "",
    }
}

/// What is in no row of the table, and why.
const IN_NO_ROW: [(&str, &str); 11] = [
    ("GET /healthz", "says that the service answers, to whoever watches it"),
    ("GET /readyz", "the same"),
    ("POST /api/v1/session", "who asks is not known yet"),
    ("GET /api/v1/session", "one's own"),
    ("DELETE /api/v1/session", "one's own"),
    ("POST /api/v1/session/password", "one's own"),
    ("POST /api/v1/session/pin", "one's own"),
    ("POST /api/v1/session/confirm", "one's own"),
    ("GET /api/v1/openapi.json", "nothing in it is of a patient"),
    ("GET /api/v1/metrics-catalogue", "nothing in it is of a patient"),
    ("GET /api/v1/alerts", "of two rows: each role has the alerts that it may see one by one"),
];

/// Whoever adds a path says in the table who may ask it, and so has it asked by each role below.
#[test]
fn every_path_of_the_document_is_in_the_table() {
    let mut documented = BTreeSet::new();
    for (path, answers) in document()["paths"].as_object().unwrap() {
        for method in METHODS {
            if answers.get(method.as_str().to_lowercase()).is_some() {
                documented.insert(format!("{method} {path}"));
            }
        }
    }
    let of_path = |(method, path): (Method, String)| {
        let path = path.split('?').next().unwrap_or_default();
        format!("{method} {}", path.replace("{alert}", "{id}").replace("{service}", "{id}"))
    };
    let in_rows: BTreeSet<String> =
        rows().into_iter().flat_map(|row| row.requests).map(of_path).collect();
    let in_none = IN_NO_ROW.map(|(asked, why)| {
        assert!(!why.is_empty() && !in_rows.contains(asked), "{asked} is in a row");
        asked.to_owned()
    });
    assert_eq!(in_rows.into_iter().chain(in_none).collect::<BTreeSet<_>>(), documented);
}

#[tokio::test]
async fn each_role_does_what_the_readme_says_and_nothing_else() {
    let staffed = Staffed::new().await;
    let rows = rows();
    let named: Vec<&str> = rows.iter().map(|row| row.action.as_str()).collect();
    assert_eq!(named, Action::ALL.map(Action::name));
    for role in Role::ALL {
        let cookie = staffed.cookie(role.name()).await;
        for Row { action, requests, cells } in &rows {
            let may = cells.iter().any(|(other, may)| *other == role && *may);
            let mut answers = Vec::new();
            for (method, path) in requests {
                let answer = staffed.ask(&cookie, method.clone(), path, body_of(path)).await;
                answers.push((format!("{method} {path}"), answer));
            }
            assert!(!answers.is_empty(), "nothing asks for {action}");
            let roles: Vec<_> =
                cells.iter().filter(|(_, may)| *may).map(|(role, _)| role.name()).collect();
            for (asked, (status, answer)) in answers {
                let about = format!("{} {action} {asked}: {status} {answer}", role.name());
                assert!(status != StatusCode::UNAUTHORIZED && status.as_u16() < 500, "{about}");
                assert_eq!(status != StatusCode::FORBIDDEN, may, "{about}");
                if !may {
                    check_schema(&document(), "Problem", &answer);
                    assert_eq!(
                        (&answer["action"], &answer["roles"]),
                        (&json!(action), &json!(roles))
                    );
                    let detail = answer["detail"].as_str().unwrap();
                    assert!(roles.iter().all(|role| detail.contains(role)), "{about}");
                }
            }
        }
    }
}

/// What the county has to say of a box is an alert of its own service, and in somebody's hands.
#[tokio::test]
async fn an_alert_of_the_county_about_a_box_is_acknowledged() {
    let staffed = Staffed::new().await;
    let rules = staffed.desk.app.rules.rules();
    let write = move |transaction: &rusqlite::Transaction<'_>| {
        let (mut evaluation, now) = (Evaluation::default(), clock::now());
        let context = Context { connection: transaction, rules: &rules, now };
        let certificate_until = Some(WallTime::from_unix_ms(now.unix_ms() + 1000));
        let told = Upkeep { free_pct: Some(1), certificate_until };
        evaluation.upkeep(context, &SiteId::new("heping").unwrap(), told)?;
        told_alerts::store(context, evaluation)
    };
    let raised = staffed.desk.app.store.write(write).await.unwrap();
    let rules: BTreeSet<_> = raised.iter().map(|it| it["rules"][0].as_str().unwrap()).collect();
    assert_eq!(rules, ["TECH-CERT", "TECH-STORAGE"].into());
    let cookie = staffed.cookie("system_admin").await;
    for alert in &raised {
        assert_eq!((&alert["site"], &alert["device"]), (&json!("county"), &json!("heping")));
        let path = format!("/api/v1/alerts/{}", alert["id"].as_str().unwrap());
        // Nobody takes the whole county off in the place of one box.
        let off = format!("{path}/out-of-service");
        let (status, _) = staffed.ask(&cookie, Method::POST, &off, body_of(&off)).await;
        assert_eq!(status, StatusCode::NOT_FOUND);
        let done = format!("{path}/acknowledge");
        let (status, answer) = staffed.ask(&cookie, Method::POST, &done, body_of(&done)).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        assert_eq!(answer["acknowledged_by"], "system_admin");
    }
}

/// Whoever adds a path and forgets to ask who may is told here.
#[tokio::test]
async fn who_reads_the_audit_reads_nothing_else() {
    const OPEN: [&str; 13] = [
        "/api/v1/session",
        "/api/v1/people",
        "/api/v1/people/{name}/confirm",
        "/api/v1/people/{name}/password/confirm",
        "/api/v1/tokens",
        "/api/v1/tokens/{id}/confirm",
        "/api/v1/openapi.json",
        "/api/v1/metrics-catalogue",
        "/api/v1/audit",
        "/api/v1/audit/head",
        "/api/v1/alerts",
        "/healthz",
        "/readyz",
    ];
    let staffed = Staffed::new().await;
    let cookie = staffed.cookie("audit_admin").await;
    for (path, answers) in document()["paths"].as_object().unwrap() {
        for method in METHODS {
            let documented = answers.get(method.as_str().to_lowercase());
            if OPEN.contains(&path.as_str()) || documented.is_none() {
                continue;
            }
            let asked = path.replace("alerts/{id}", "alerts/{alert}");
            let asked = match asked.as_str() {
                "/api/v1/waveforms" => "/api/v1/waveforms?device=a&metric=b".to_owned(),
                _ => asked,
            };
            let (status, answer) =
                staffed.ask(&cookie, method.clone(), &asked, body_of(path)).await;
            // A body that nobody can read tells nothing either.
            let unread = [StatusCode::BAD_REQUEST, StatusCode::UNPROCESSABLE_ENTITY];
            let refused = status == StatusCode::FORBIDDEN
                || (method != Method::GET && unread.contains(&status));
            assert!(refused, "{method} {path}: {status} {answer}");
        }
    }
    let (_, alerts) = staffed.ask(&cookie, Method::GET, "/api/v1/alerts", "").await;
    let sites: Vec<_> =
        alerts["alerts"].as_array().unwrap().iter().map(|alert| &alert["site"]).collect();
    assert_eq!(sites, ["county"]);
    check_schema(&document(), "Alerts", &alerts);
}

#[tokio::test]
async fn a_township_has_its_own_and_nothing_of_another() {
    const LISTS: [(&str, &str); 6] = [
        ("sites", "sites"),
        ("devices", "devices"),
        ("readings", "readings"),
        ("readings?device=pump-01", "readings"),
        ("alerts", "alerts"),
        ("ledger", "outboxes"),
    ];
    let staffed = Staffed::new().await;
    let wave = format!("waveforms?device=pump-01&metric={}", first_wave());
    let lists = || LISTS.into_iter().chain([(wave.as_str(), "blocks"), ("ledger", "aside")]);
    for (name, clinic, own) in [
        ("kiosk", HEPING, true),
        ("engineer", HEPING, true),
        ("nurse", HEPING, true),
        ("doctor", DONGFENG, false),
        ("engineer", DONGFENG, false),
        ("kiosk", DONGFENG, false),
    ] {
        staffed.limit(name, clinic).await;
        let cookie = staffed.cookie(name).await;
        for (path, list) in lists() {
            let path = format!("/api/v1/{path}");
            let (status, answer) = staffed.ask(&cookie, Method::GET, &path, "").await;
            assert_eq!(status, StatusCode::OK, "{path}");
            let found = answer[list].as_array().unwrap();
            let expected = if own { "heping" } else { "dongfeng" };
            let named = |one: &Value| one.get("site").is_none_or(|site| *site == expected);
            assert!(found.iter().all(named), "{name} {path}: {answer}");
            // Dongfeng is configured and has said nothing.
            assert_eq!(!found.is_empty(), own || list == "sites", "{name} {path}: {answer}");
        }
        let path = "/api/v1/alerts/{alert}";
        let seen = staffed.ask(&cookie, Method::GET, path, "").await.0;
        let done = staffed
            .ask(
                &cookie,
                Method::POST,
                &format!("{path}/acknowledge"),
                r#"{"reason": "at_bedside"}"#,
            )
            .await
            .0;
        let expected = if own { StatusCode::OK } else { StatusCode::NOT_FOUND };
        assert_eq!(seen, expected, "{name}");
        let acts = ["nurse", "doctor"].contains(&name);
        let expected = if acts { expected } else { StatusCode::FORBIDDEN };
        assert_eq!(done, expected, "{name}");
        // Nothing of one township is decided for the county.
        let (_, user) = staffed.ask(&cookie, Method::GET, "/api/v1/session", "").await;
        check_schema(&document(), "User", &user);
        assert_eq!(user["clinics"], json!([clinic]));
        assert!(!user["may"].as_array().unwrap().contains(&json!("approve_rules")));
    }
}

/// Who is on duty, boards, notifications and figures: of each township one, and whose nurse asks has
/// one.
#[tokio::test]
async fn a_nurse_of_one_township_is_told_nothing_of_another() {
    let staffed = Staffed::new().await;
    let app = staffed.desk.app.clone();
    let Delivery::Envelope(_, lane, bytes) = delivery(Lane::Urgent, urgent()) else {
        unreachable!()
    };
    let there = Delivery::Envelope(SiteId::new("dongfeng").unwrap(), lane, bytes);
    let rules = app.rules.rules();
    let take = move |transaction: &rusqlite::Transaction<'_>| {
        intake::take(transaction, &[there], clock::now(), &rules)
    };
    assert_eq!(app.store.write(take).await.unwrap().alerts.len(), 1);
    let townships = [(HEPING, "heping", "zhao-h"), (DONGFENG, "dongfeng", "zhao-d")];
    for (clinic, site, person) in townships {
        staffed.limit("doctor", clinic).await;
        let doctor = staffed.cookie("doctor").await;
        let shift = json!({"level": "first", "from_hour": 0, "until_hour": 168, "person": person});
        for (township, wanted) in townships
            .map(|(other, ..)| (Some(other), if other == clinic { 200 } else { 403 }))
            .into_iter()
            .chain([(None, 403)])
        {
            let plan = json!({"township": township, "shifts": [shift]}).to_string();
            let (status, answer) = staffed.ask(&doctor, Method::PUT, "/api/v1/duty", &plan).await;
            assert_eq!(status.as_u16(), wanted, "{clinic} {township:?}: {answer}");
        }
        let board = json!({"board": "1", "name": format!("desk of {site}"), "sound": "blocked"});
        let (path, board) = ("/api/v1/boards/sound", board.to_string());
        assert_eq!(staffed.ask(&doctor, Method::POST, path, &board).await.0, 204);
    }
    let to = clock::rfc3339(clock::now().unix_ms() + 1000);
    let figures = format!("/api/v1/figures?to={to}");
    let all = [
        (figures.as_str(), "Figures", [HEPING, DONGFENG]),
        ("/api/v1/duty", "Duty", ["zhao-h", "zhao-d"]),
        ("/api/v1/notifications", "Notifications", ["heping", "dongfeng"]),
        ("/api/v1/boards", "Boards", ["desk of heping", "desk of dongfeng"]),
    ];
    let county = staffed.cookie("nurse").await;
    for (path, schema, told) in all {
        let (status, answer) = staffed.ask(&county, Method::GET, path, "").await;
        assert_eq!(status, StatusCode::OK, "{path}");
        check_schema(&document(), schema, &answer);
        assert!(told.iter().all(|own| answer.to_string().contains(own)), "{path}: {answer}");
    }
    for (own, (clinic, ..)) in townships.into_iter().enumerate() {
        staffed.limit("nurse", clinic).await;
        let nurse = staffed.cookie("nurse").await;
        for (path, schema, told) in all {
            let (_, answer) = staffed.ask(&nurse, Method::GET, path, "").await;
            check_schema(&document(), schema, &answer);
            let answer = answer.to_string();
            assert!(answer.contains(told[own]), "{clinic} {path}: {answer}");
            let (other, site, person) = townships[1 - own];
            for word in [other, site, person] {
                assert!(!answer.contains(word), "{clinic} {path}: {answer}");
            }
        }
    }
}

#[tokio::test]
async fn a_new_nurse_takes_two_administrators_and_nobody_helps_themselves() {
    let staffed = Staffed::new().await;
    let desk = &staffed.desk;
    let [system, security, audit] = ["system_admin", "security_admin", "audit_admin"];
    let [system, security, audit] =
        [staffed.cookie(system).await, staffed.cookie(security).await, staffed.cookie(audit).await];
    let log_in = async |password: &str| {
        let body = json!({"name": "zhao", "password": password}).to_string();
        desk.post("/api/v1/session", &[JSON], &body).await.status()
    };
    let add = r#"{"name": "zhao", "password": "correct horse"}"#;
    let (status, added) = staffed.ask(&system, Method::POST, "/api/v1/people", add).await;
    assert_eq!(status, StatusCode::CREATED);
    check_schema(&document(), "Person", &added);
    assert_eq!(staffed.ask(&system, Method::POST, "/api/v1/people", add).await.0, 409);
    assert_eq!(log_in(PASSWORD).await, StatusCode::UNAUTHORIZED);
    let set = async |cookie: &str, name: &str, body: Value| {
        let path = format!("/api/v1/people/{name}");
        staffed.ask(cookie, Method::PATCH, &path, &body.to_string()).await.0.as_u16()
    };
    assert_eq!(set(&security, "zhao", json!({"role": "nurse", "clinics": ["nowhere"]})).await, 400);
    assert_eq!(set(&security, "zhao", json!({})).await, 400);
    assert_eq!(set(&security, "nobody", json!({"role": "nurse"})).await, 404);
    assert_eq!(set(&security, "security_admin", json!({"role": "doctor"})).await, 403);
    assert_eq!(set(&security, "zhao", json!({"clinics": [HEPING]})).await, 400, "no role");
    assert_eq!(set(&security, "zhao", json!({"role": "nurse", "clinics": [HEPING]})).await, 202);
    assert_eq!(log_in(PASSWORD).await, StatusCode::UNAUTHORIZED, "nobody has confirmed it");
    let (_, waiting) = staffed.ask(&audit, Method::GET, "/api/v1/people", "").await;
    check_schema(&document(), "People", &waiting);
    let zhao = waiting["people"].as_array().unwrap().last().unwrap();
    assert_eq!(
        (&zhao["role"], &zhao["pending"]["role"], &zhao["pending"]["asked_by"]),
        (&Value::Null, &json!("nurse"), &json!("security_admin"))
    );
    let confirm = async |cookie: &str, of: &str| {
        let read = json!({"request": zhao["pending"]["request"]}).to_string();
        staffed.ask(cookie, Method::POST, &format!("/api/v1/{of}/confirm"), &read).await
    };
    assert_eq!(confirm(&security, "people/zhao").await.0, 403);
    let (status, confirmed) = confirm(&audit, "people/zhao").await;
    check_schema(&document(), "Person", &confirmed);
    assert_eq!((status, &confirmed["role"]), (StatusCode::OK, &json!("nurse")));
    assert_eq!(confirm(&system, "people/zhao").await.0, 404);
    let tries = [log_in("wrong horse").await, log_in(PASSWORD).await];
    assert_eq!(tries, [StatusCode::UNAUTHORIZED, StatusCode::OK]);
    assert_eq!(set(&security, "zhao", json!({"disabled": true})).await, 204);
    assert_eq!(log_in(PASSWORD).await, StatusCode::UNAUTHORIZED);

    let issue = r#"{"name": "export", "role": "engineer", "clinics": null}"#;
    let (_, issued) = staffed.ask(&security, Method::POST, "/api/v1/tokens", issue).await;
    check_schema(&document(), "IssuedToken", &issued);
    let bearer = format!("Bearer {}", issued["token"].as_str().unwrap());
    let with_token = async || {
        let request = Request::get("/api/v1/sites").header(header::AUTHORIZATION, &bearer);
        desk.send(request.body(Body::empty()).unwrap()).await.status()
    };
    assert_eq!(with_token().await, StatusCode::UNAUTHORIZED, "nobody has confirmed it");
    let token = format!("tokens/{}", issued["id"].as_str().unwrap());
    assert_eq!(confirm(&security, &token).await.0, 403);
    assert_eq!(confirm(&system, &token).await.0, 204);
    assert_eq!(with_token().await, StatusCode::OK);
    let path = format!("/api/v1/{token}");
    let (_, tokens) = staffed.ask(&system, Method::GET, "/api/v1/tokens", "").await;
    check_schema(&document(), "Tokens", &tokens);
    assert!(tokens["tokens"][1]["last_used_at"].is_string(), "{tokens}");
    assert_eq!(staffed.ask(&security, Method::DELETE, &path, "").await.0, 204);
    assert_eq!(staffed.ask(&security, Method::DELETE, &path, "").await.0, 404);
    assert_eq!(with_token().await, StatusCode::UNAUTHORIZED);
    let (_, people) = staffed.ask(&system, Method::GET, "/api/v1/people", "").await;
    check_schema(&document(), "People", &people);

    let (_, told) = staffed.ask(&audit, Method::GET, "/api/v1/audit?limit=10000", "").await;
    let entries = told["entries"].as_array().unwrap();
    let said: Vec<String> = entries
        .iter()
        .filter(|entry| entry["who"] != "console:test")
        .map(|entry| {
            let part = |name: &str| entry[name].as_str().unwrap().to_owned();
            format!("{} {} by {}", part("action"), part("what"), part("who"))
        })
        .collect();
    let id = issued["id"].as_str().unwrap();
    assert_eq!(
        said,
        [
            "take_over_rules 1 by county".to_owned(),
            "user_add zhao by system_admin".to_owned(),
            "log_in_failed zhao by county".to_owned(),
            "user_rights_asked zhao by security_admin".to_owned(),
            "log_in_failed zhao by county".to_owned(),
            "user_rights zhao by audit_admin".to_owned(),
            "log_in_failed zhao by county".to_owned(),
            "log_in zhao by zhao".to_owned(),
            "user_disable zhao by security_admin".to_owned(),
            "log_in_failed zhao by county".to_owned(),
            format!("token_create {id} by security_admin"),
            format!("token_confirm {id} by system_admin"),
            format!("token_revoke {id} by security_admin"),
        ]
    );
    let secrets = [PASSWORD, "wrong horse", issued["token"].as_str().unwrap(), "argon2"];
    assert!(secrets.iter().all(|secret| !told.to_string().contains(secret)));
    head_and_pages(&staffed, &audit, entries).await;
}

async fn head_and_pages(staffed: &Staffed, audit: &str, entries: &[Value]) {
    let get = async |path: &str| staffed.ask(audit, Method::GET, path, "").await.1;
    let head = get("/api/v1/audit/head").await;
    check_schema(&document(), "AuditHead", &head);
    let last = entries.last().unwrap();
    assert_eq!((&head["id"], &head["hash"]), (&last["id"], &last["hash"]));
    let first = get("/api/v1/audit?limit=3").await;
    let cursor = first["next_cursor"].as_str().unwrap();
    let rest = get(&format!("/api/v1/audit?cursor={cursor}")).await;
    check_schema(&document(), "Audit", &rest);
    let both = [&first, &rest].map(|page| page["entries"].as_array().unwrap().clone()).concat();
    assert_eq!(both, entries);
    let begin = WallTime::from_unix_ms(clock::now().unix_ms() - 3_600_000);
    let (before, after) = (clock::rfc3339(begin.unix_ms()), last["at"].as_str().unwrap());
    let none = get(&format!("/api/v1/audit?to={before}")).await;
    assert_eq!(none["entries"], json!([]));
    let some = get(&format!("/api/v1/audit?from={before}&to={after}")).await;
    let count = some["entries"].as_array().unwrap().len();
    assert!(count > 0 && count < entries.len());
}

#[tokio::test]
async fn names_that_nobody_has_are_no_part_of_the_audit() {
    let staffed = Staffed::new().await;
    let desk = &staffed.desk;
    for name in ["my-password-by-mistake", "another"] {
        let body = json!({"name": name, "password": "correct horse"}).to_string();
        let status = desk.post("/api/v1/session", &[JSON], &body).await.status();
        assert_eq!(status, StatusCode::UNAUTHORIZED);
    }
    let audit = staffed.cookie("audit_admin").await;
    let (_, told) = staffed.ask(&audit, Method::GET, "/api/v1/audit", "").await;
    let entries = told["entries"].as_array().unwrap();
    let failed: Vec<_> =
        entries.iter().filter(|entry| entry["action"] == "log_in_failed").collect();
    assert_eq!(failed.len(), 1);
    assert_eq!(
        (&failed[0]["what"], &failed[0]["detail"]),
        (&json!(""), &json!({"unknown_names": 1}))
    );
    assert!(!told.to_string().contains("my-password-by-mistake"));
}

/// Whoever asks, asks for something else while the other reads.
#[tokio::test]
async fn what_is_confirmed_is_what_was_read() {
    let staffed = Staffed::new().await;
    let [security, audit] =
        [staffed.cookie("security_admin").await, staffed.cookie("audit_admin").await];
    let nurse = async |field: &str| {
        let (_, answer) = staffed.ask(&audit, Method::GET, "/api/v1/people", "").await;
        let mut people = answer["people"].as_array().unwrap().iter();
        people.find(|person| person["name"] == "nurse").unwrap()[field].clone()
    };
    let password = |password: &str| json!({"password": password});
    for (asked, way, waits, first, second) in [
        (
            Method::PATCH,
            "",
            "pending",
            json!({"role": "nurse", "clinics": [HEPING]}),
            json!({"role": "doctor", "clinics": null}),
        ),
        (
            Method::POST,
            "/password",
            "pending_password",
            password("correct horse"),
            password("battery staple"),
        ),
    ] {
        let path = format!("/api/v1/people/nurse{way}");
        let ask = async |body: &Value| {
            let body = body.to_string();
            let (status, _) = staffed.ask(&security, asked.clone(), &path, &body).await;
            assert_eq!(status, StatusCode::ACCEPTED);
            nurse(waits).await["request"].clone()
        };
        let confirm = async |body: Value| {
            let path = format!("{path}/confirm");
            staffed.ask(&audit, Method::POST, &path, &body.to_string()).await
        };
        let before = nurse("role").await;
        let read = ask(&first).await;
        let newer = ask(&second).await;
        for wrong in [json!({"request": read}), json!({})] {
            let (status, problem) = confirm(wrong).await;
            assert_eq!(status, StatusCode::CONFLICT, "{way} {problem}");
            assert_eq!(problem["code"], "request_changed");
            check_schema(&document(), "Problem", &problem);
        }
        assert_eq!(nurse("role").await, before, "{way}");
        assert!(confirm(json!({"request": newer})).await.0.is_success(), "{way}");
        assert_eq!(nurse(waits).await, Value::Null);
    }
    assert_eq!(nurse("role").await, "doctor");
}

#[tokio::test]
async fn a_forgotten_password_takes_two_administrators_and_then_its_owner() {
    let staffed = Staffed::new().await;
    let [system, security, audit] = ["system_admin", "security_admin", "audit_admin"];
    let [system, security, audit] =
        [staffed.cookie(system).await, staffed.cookie(security).await, staffed.cookie(audit).await];
    let nurse = staffed.cookie("nurse").await;
    let log_in = async |password: &str| {
        let body = json!({"name": "nurse", "password": password}).to_string();
        told(staffed.desk.post("/api/v1/session", &[JSON], &body).await).await
    };
    let give = async |cookie: &str, name: &str, password: &str| {
        let path = format!("/api/v1/people/{name}/password");
        let body = json!({"password": password}).to_string();
        staffed.ask(cookie, Method::POST, &path, &body).await.0.as_u16()
    };
    let new = "given by somebody";
    for (cookie, name, password, wanted) in [
        (&system, "nurse", new, 403),
        (&audit, "nurse", new, 403),
        (&nurse, "nurse", new, 403),
        (&security, "nurse", "short", 400),
        (&security, "nobody", new, 404),
        (&security, "security_admin", new, 403),
        (&security, "nurse", new, 202),
        (&security, "audit_admin", new, 202),
    ] {
        assert_eq!(give(cookie, name, password).await, wanted, "{name} {password}");
    }
    // Nobody has confirmed it: what holds is what held.
    assert_eq!(log_in(new).await.0, 401);
    assert_eq!(log_in(PASSWORD).await.0, 200);
    let (_, people) = staffed.ask(&audit, Method::GET, "/api/v1/people", "").await;
    check_schema(&document(), "People", &people);
    let of = |name: &str| {
        let mut people = people["people"].as_array().unwrap().iter();
        people.find(|person| person["name"] == name).unwrap()
    };
    let confirm = async |cookie: &str, name: &str| {
        let path = format!("/api/v1/people/{name}/password/confirm");
        let read = json!({"request": of(name)["pending_password"]["request"]}).to_string();
        staffed.ask(cookie, Method::POST, &path, &read).await.0.as_u16()
    };
    let waits = &of("nurse")["pending_password"]["asked_by"];
    assert_eq!((waits, &of("nurse")["sessions"]), (&json!("security_admin"), &json!(2)));
    assert_eq!(confirm(&security, "nurse").await, 403);
    assert_eq!(confirm(&audit, "audit_admin").await, 403, "their own");
    // Five wrong ones: who forgot it has tried.
    while log_in("wrong horse").await.0 != 429 {}
    assert_eq!(confirm(&system, "nurse").await, 204);
    assert_eq!(confirm(&system, "nurse").await, 404);
    assert_eq!(staffed.ask(&nurse, Method::GET, "/api/v1/session", "").await.0, 401);
    assert_eq!(log_in(PASSWORD).await.0, 401);
    let (status, user) = log_in(new).await;
    assert_eq!((status, &user["must_set_password"]), (StatusCode::OK, &json!(true)));
    assert_eq!((&user["may"], &user["has_pin"]), (&json!([]), &json!(false)));
    // What waited for somebody who was changed since is forgotten.
    let (path, set) = ("/api/v1/people/audit_admin", r#"{"disabled": true}"#);
    assert_eq!(staffed.ask(&security, Method::PATCH, path, set).await.0, 204);
    assert_eq!(confirm(&system, "audit_admin").await, 404);
    let entries = |transaction: &rusqlite::Transaction<'_>| {
        let query = "SELECT body FROM audit WHERE body LIKE '%user_password%' ORDER BY id";
        let mut statement = transaction.prepare(query)?;
        statement.query_map([], |row| row.get(0))?.collect()
    };
    let entries: Vec<String> = staffed.desk.app.store.write(entries).await.unwrap();
    assert_eq!(entries.len(), 3, "{entries:?}");
    assert!(entries[2].contains(r#""user_password","nurse""#), "{entries:?}");
    assert!(entries.iter().all(|entry| !entry.contains(new) && !entry.contains("argon2")));
}

#[tokio::test]
async fn a_board_on_the_wall_stays_until_it_is_away_or_somebody_ends_it() {
    let staffed = Staffed::new().await;
    let desk = &staffed.desk;
    let [wall, nurse, security] = ["kiosk", "nurse", "security_admin"];
    let [wall, nurse, security] =
        [staffed.cookie(wall).await, staffed.cookie(nurse).await, staffed.cookie(security).await];
    let pass = async |hours: i64| {
        let sql = "UPDATE session SET opened_ms = opened_ms - ?1, used_ms = used_ms - ?1
                   WHERE name IN ('kiosk', 'nurse')";
        let pass = move |transaction: &rusqlite::Transaction<'_>| {
            transaction.execute(sql, [hours * 3_600_000])
        };
        desk.app.store.write(pass).await.unwrap();
    };
    let sees = async |cookie: &str| staffed.ask(cookie, Method::GET, "/api/v1/sites", "").await.0;
    pass(11).await;
    assert_eq!((sees(&wall).await, sees(&nurse).await), (StatusCode::OK, StatusCode::OK));
    pass(2).await;
    assert_eq!((sees(&wall).await, sees(&nurse).await), (StatusCode::OK, StatusCode::UNAUTHORIZED));
    // Half a year: it is used each fortnight. Others who log in do not end it.
    for _ in 0..12 {
        pass(15 * 24).await;
        staffed.cookie("doctor").await;
        assert_eq!(sees(&wall).await, StatusCode::OK);
    }
    let request = Request::get("/api/v1/session").header(header::COOKIE, &wall);
    let answer = desk.send(request.body(Body::empty()).unwrap()).await;
    let kept = answer.headers()[header::SET_COOKIE].to_str().unwrap();
    assert!(kept.starts_with(&wall) && kept.contains("Max-Age=2592000"), "{kept}");
    // It sees and does nothing, as on the first day.
    let path = "/api/v1/alerts/{alert}/acknowledge";
    let body = r#"{"reason": "at_bedside"}"#;
    assert_eq!(staffed.ask(&wall, Method::POST, path, body).await.0, StatusCode::FORBIDDEN);
    let end = "/api/v1/people/kiosk/sessions";
    assert_eq!(staffed.ask(&wall, Method::DELETE, end, "").await.0, StatusCode::FORBIDDEN);
    assert_eq!(staffed.ask(&security, Method::DELETE, end, "").await.0, StatusCode::NO_CONTENT);
    assert_eq!(sees(&wall).await, StatusCode::UNAUTHORIZED);
    let away = staffed.cookie("kiosk").await;
    pass(31 * 24).await;
    assert_eq!(sees(&away).await, StatusCode::UNAUTHORIZED);
}
