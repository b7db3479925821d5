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
