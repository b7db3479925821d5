//! Whoever hangs up before the answer has done what they began, and everybody hears of it.

use super::*;
use std::time::Duration;

const DEFAULT: &str = include_str!("../../../../configs/rules/default.json");
const LIMIT: Duration = Duration::from_secs(20);

async fn until(what: &str, holds: impl Fn() -> bool) {
    let looking = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    assert!(tokio::time::timeout(LIMIT, looking).await.is_ok(), "{what}");
}

impl Desk {
    /// Asks, and is gone before the answer: while the change waits to be committed.
    async fn hang_up(&self, who: &str, method: Method, path: &str, body: &Value) {
        let cookie = self.log_in(who).await;
        let request = Request::builder().method(method).uri(format!("/api/v1{path}"));
        let request = request.header(header::COOKIE, cookie).header(JSON.0, JSON.1);
        let request = request.body(Body::from(body.to_string())).unwrap();
        let other = Store::connection(&self.folder.path().join("county.sqlite")).unwrap();
        other.execute_batch("BEGIN IMMEDIATE").unwrap();
        let begun = until("the change is begun", || self.app.store.is_writing());
        tokio::select! {
            answer = self.send(request) => panic!("{path} answered {}", answer.status()),
            () = begun => {}
        }
        other.execute_batch("COMMIT").unwrap();
    }
}

#[tokio::test]
async fn rules_that_were_approved_are_live() {
    let desk = Desk::new();
    let ours = DEFAULT.replace("0.2-draft", "county-1");
    let draft = move |transaction: &rusqlite::Transaction<'_>| {
        rule_sets::draft(transaction, clock::now(), "zhang", &ours, "")
    };
    let version = desk.app.store.write(draft).await.unwrap();
    desk.hang_up("li", Method::POST, &format!("/rules/{version}/approve"), &json!({})).await;
    until("it is live", || desk.app.rules.rules().version() == "county-1").await;
}

#[tokio::test]
async fn boards_hear_of_an_alert_that_was_acknowledged() {
    let desk = Desk::new();
    let mut heard = desk.app.events.follow();
    let path = format!("/alerts/{}/acknowledge", desk.alert().await);
    desk.hang_up("wang", Method::POST, &path, &json!({"reason": "at_bedside"})).await;
    let news = tokio::time::timeout(LIMIT, heard.recv()).await.expect("nobody is told").unwrap();
    assert_eq!(news.name, "alert");
    assert!(news.data.contains("active_ack"), "{}", news.data);
}

#[tokio::test]
async fn boxes_hear_of_a_patient_who_was_changed() {
    let mut desk = Desk::new();
    desk.app.clinics = Arc::new([(SiteId::new("heping").unwrap(), "heping".to_owned())].into());
    let heard = desk.app.rules.follow();
    let body = json!({"clinic": "heping", "bed": "3"});
    desk.hang_up("wang", Method::POST, "/patients", &body).await;
    until("boxes are told", || heard.has_changed().unwrap()).await;
}
