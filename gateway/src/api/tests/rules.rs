//! Rules are written by one person, approved by another, and live at once.

use super::*;
use crate::rule_sets::preview::job::Job;

const DEFAULT: &str = include_str!("../../../../configs/rules/default.json");

impl Desk {
    async fn as_somebody(
        &self,
        method: Method,
        path: &str,
        who: &str,
        body: &str,
    ) -> (StatusCode, Value) {
        let cookie = self.log_in(who).await;
        let request = Request::builder().method(method).uri(path);
        let request = request.header(header::COOKIE, cookie).header(JSON.0, JSON.1);
        told(self.send(request.body(Body::from(body.to_owned())).unwrap()).await).await
    }
}

#[tokio::test]
async fn a_draft_is_live_when_another_doctor_has_approved_it() {
    let desk = Desk::new();
    let document = document();
    let ours = DEFAULT.replace("0.2-draft", "county-1");
    let put = desk.as_somebody(Method::PUT, "/api/v1/rules?note=first", "zhang", &ours).await;
    assert_eq!(put.0, StatusCode::CREATED, "{put:?}");
    check_schema(&document, "RuleSetVersion", &put.1);
    assert_eq!((&put.1["version"], &put.1["live"]), (&json!(2), &json!(false)));
    assert_eq!(desk.app.rules.rules().version(), "0.2-draft");

    let path = "/api/v1/rules/2/approve";
    let own = desk.as_somebody(Method::POST, path, "zhang", "").await;
    assert_eq!(own.0, StatusCode::CONFLICT, "{own:?}");
    let nurse = desk.as_somebody(Method::POST, path, "wang", "").await;
    assert_eq!(nurse.0, StatusCode::FORBIDDEN, "{nurse:?}");
    assert_eq!(desk.app.rules.live().number, 1);
    let other = desk.as_somebody(Method::POST, path, "li", "").await;
    assert_eq!((other.0, &other.1["approved_by"]), (StatusCode::OK, &json!("li")), "{other:?}");
    // Without a restart.
    assert_eq!(desk.app.rules.rules().version(), "county-1");
    let again = desk.as_somebody(Method::POST, path, "li", "").await;
    assert_eq!(again.0, StatusCode::CONFLICT, "{again:?}");

    let (_, list) = desk.get("/api/v1/rules").await;
    check_schema(&document, "Rules", &list);
    assert_eq!((&list["live"], &list["rules"]["meta"]["version"]), (&json!(2), &json!("county-1")));
    let (_, first) = desk.get("/api/v1/rules/1").await;
    check_schema(&document, "RuleSetVersion", &first);
    assert_eq!((&first["author"], &first["live"]), (&json!("program"), &json!(false)));
    assert_eq!(desk.get("/api/v1/rules/3").await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_set_with_mistakes_is_no_draft_and_a_nurse_writes_none() {
    let desk = Desk::new();
    let wrong = DEFAULT.replacen("\"HR-AD-LL\"", "\"hr ad ll\"", 1).replacen("/min", "/h", 1);
    let put = desk.as_somebody(Method::PUT, "/api/v1/rules", "zhang", &wrong).await;
    assert_eq!(put.0, StatusCode::UNPROCESSABLE_ENTITY, "{put:?}");
    let mistakes = put.1["mistakes"].as_array().unwrap();
    assert!(mistakes.len() > 1 && mistakes.iter().all(|one| one["line"].as_u64() > Some(1)));
    // In words that the board says in the reader's language.
    let unit = mistakes.iter().find(|one| one["code"] == "unit").unwrap();
    assert_eq!((&unit["unit"], &unit["canonical"]), (&json!("/h"), &json!("/min")));
    let id = mistakes.iter().find(|one| one["place"] == "/rules/0/id").unwrap();
    assert_eq!((&id["code"], &id["keyword"]), (&json!("schema"), &json!("pattern")));
    let nurse = desk.as_somebody(Method::PUT, "/api/v1/rules", "wang", DEFAULT).await;
    assert_eq!(nurse.0, StatusCode::FORBIDDEN, "{nurse:?}");
    let (_, list) = desk.get("/api/v1/rules").await;
    assert_eq!(list["versions"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_set_is_previewed_as_it_is_written_or_as_it_is_kept_and_becomes_no_draft() {
    let desk = Desk::new();
    let document = document();
    let path = "/api/v1/rules/preview";
    let ours = DEFAULT.replace("0.2-draft", "county-1");
    let (status, told) = desk.as_somebody(Method::POST, path, "zhang", &ours).await;
    assert_eq!(status, StatusCode::OK, "{told}");
    check_schema(&document, "RulePreview", &told);
    // The one alarm of the one pump.
    assert_eq!(
        (&told["asked"]["rules"], &told["asked"]["alerts"]["high"]),
        (&json!("county-1"), &json!(1))
    );
    assert_eq!(told["version"], Value::Null, "it is not kept");
    assert_eq!(told["live"]["newest"][0]["rules"], json!(["DEV-OCCL-DOWN"]));
    assert_eq!(told["text_en"], "would have raised 1 alert, 1 high; the live set 1, 1 high");
    let (_, list) = desk.get("/api/v1/rules").await;
    assert_eq!(list["versions"].as_array().unwrap().len(), 1);

    let put = desk.as_somebody(Method::PUT, "/api/v1/rules", "zhang", &ours).await;
    assert_eq!(put.1["version"], 2, "{put:?}");
    let (_, kept) = desk.as_somebody(Method::POST, path, "li", r#"{"version": 2}"#).await;
    assert_eq!((&kept["asked"]["rules"], &kept["version"]), (&json!("county-1"), &json!(2)));
    for (body, wanted) in [
        (r#"{"version": 9}"#, StatusCode::NOT_FOUND),
        (r#"{"version": "2"}"#, StatusCode::UNPROCESSABLE_ENTITY),
        ("no rules", StatusCode::UNPROCESSABLE_ENTITY),
    ] {
        let (status, answer) = desk.as_somebody(Method::POST, path, "li", body).await;
        assert_eq!(status, wanted, "{body}: {answer}");
        check_schema(&document, "Problem", &answer);
    }
}

#[tokio::test]
async fn a_preview_under_way_says_how_far_it_is_and_can_be_stopped() {
    let desk = Desk::new();
    let document = document();
    let path = "/api/v1/rules/preview";
    let zhang = async |method: Method, body: &str| {
        let (status, told) = desk.as_somebody(method, path, "zhang", body).await;
        if status.as_u16() >= 400 {
            check_schema(&document, "Problem", &told);
        } else if status != StatusCode::NO_CONTENT {
            check_schema(&document, "RulePreview", &told);
        }
        (status.as_u16(), told)
    };
    assert_eq!(zhang(Method::GET, "").await.0, 404);
    assert_eq!(zhang(Method::DELETE, "").await.0, 404);
    // One that somebody has begun and no thread has taken up.
    let sets = [desk.app.rules.rules(), desk.app.rules.rules()];
    let job = Job::new(("li", Some(1)), sets, Arc::default(), clock::now(), &desk.app.stopped);
    let job = desk.app.previews.begin(job).unwrap();
    let (status, problem) = zhang(Method::POST, r#"{"version": 1}"#).await;
    assert_eq!(status, 429);
    assert!(problem["detail"].as_str().unwrap().starts_with("li previews rules"), "{problem}");
    let (status, told) = zhang(Method::GET, "").await;
    let of =
        |told: &Value| json!([told["state"], told["asked_by"], told["version"], told["sites"]]);
    assert_eq!((status, of(&told)), (202, json!(["running", "li", 1, 0])));
    let running = tokio::spawn(Arc::clone(&job).run(desk.app.store.clone()));
    job.ended().await;
    running.await.unwrap();
    let (status, told) = zhang(Method::GET, "").await;
    assert_eq!((status, of(&told)), (200, json!(["done", "li", 1, 1])));
    assert_eq!(zhang(Method::DELETE, "").await.0, 404, "it has ended");
    let (status, told) = zhang(Method::POST, r#"{"version": 1}"#).await;
    assert_eq!((status, of(&told)), (200, json!(["done", "zhang", 1, 1])));
    let nurse = desk.as_somebody(Method::DELETE, path, "wang", "").await;
    assert_eq!(nurse.0, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn whoever_stops_a_preview_is_answered_when_it_has_ended() {
    let desk = Desk::new();
    let sets = [desk.app.rules.rules(), desk.app.rules.rules()];
    let job = Job::new(("li", Some(1)), sets, Arc::default(), clock::now(), &desk.app.stopped);
    let job = desk.app.previews.begin(job).unwrap();
    let stop = desk.as_somebody(Method::DELETE, "/api/v1/rules/preview", "zhang", "");
    let run = async {
        job.stopping().await;
        Arc::clone(&job).run(desk.app.store.clone()).await;
    };
    let ((status, _), ()) = tokio::join!(stop, run);
    assert_eq!((status, job.state()), (StatusCode::NO_CONTENT, PreviewState::Stopped));
}
