//! Rules are written by one person, approved by another, and live at once.

use super::*;

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
    assert_eq!(told["live"]["newest"][0]["rules"], json!(["DEV-OCCL-DOWN"]));
    assert_eq!(told["text_en"], "would have raised 1 alerts, 1 high; the live set 1, 1 high");
    let (_, list) = desk.get("/api/v1/rules").await;
    assert_eq!(list["versions"].as_array().unwrap().len(), 1);

    let put = desk.as_somebody(Method::PUT, "/api/v1/rules", "zhang", &ours).await;
    assert_eq!(put.1["version"], 2, "{put:?}");
    let (_, kept) = desk.as_somebody(Method::POST, path, "li", r#"{"version": 2}"#).await;
    assert_eq!(kept["asked"]["rules"], "county-1");
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
async fn one_previews_at_a_time_and_whoever_hangs_up_ends_it() {
    let desk = Desk::new();
    let cookie = desk.log_in("zhang").await;
    let headers = [JSON, ("cookie", cookie.as_str())];
    let ask = || desk.post("/api/v1/rules/preview", &headers, r#"{"version": 1}"#);
    let held = desk.app.previews.lock().await;
    let (status, answer) = told(ask().await).await;
    assert_eq!(status, StatusCode::TOO_MANY_REQUESTS, "{answer}");
    check_schema(&document(), "Problem", &answer);
    drop(held);
    // It is asked until it is under way, and dropped.
    let mut asking = Box::pin(ask());
    let is_under_way = async {
        while desk.app.previews.try_lock().is_ok() {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        biased;
        answer = &mut asking => panic!("it was answered at once: {:?}", answer.status()),
        () = is_under_way => {}
    }
    drop(asking);
    assert_eq!(ask().await.status(), StatusCode::OK);
}
