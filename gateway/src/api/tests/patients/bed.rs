//! At which bed a box says that a patient is.

use super::*;

#[tokio::test]
async fn a_box_is_told_at_which_bed_its_patient_is_by_now() {
    let desk = Desk::with_clinic();
    let cookie = desk.log_in("wang").await;
    let patient = desk.patient(&cookie).await;
    let told = async || {
        let site = SiteId::new("heping").unwrap();
        let ward = move |connection: &_| ward(connection, &site, clock::now());
        let (list, _) = desk.app.store.read(ward).await.unwrap();
        (list.version(), list.bindings()[0].bed.clone())
    };
    let binding = desk.bind(&cookie, &patient).await;
    let mut heard = desk.app.rules.follow();
    heard.mark_unchanged();
    let (mut version, bed) = told().await;
    assert_eq!(bed.as_deref(), Some("3"));
    let path = format!("/patients/{patient}");
    for (seen, bed, expected) in [(1, json!("5"), "5"), (2, json!(null), "3"), (3, json!("6"), "6")]
    {
        let body = json!({"version": seen, "bed": bed});
        desk.do_it(&cookie, Method::PATCH, &path, body).await;
        assert!(heard.has_changed().unwrap());
        let (later, bed) = told().await;
        assert_eq!((later, bed.as_deref()), (version + 1, Some(expected)));
        version = later;
    }
    let body = json!({"version": 4, "elderly": true});
    desk.do_it(&cookie, Method::PATCH, &path, body).await;
    assert_eq!(told().await.0, version, "of whom is where this says nothing");
    // What is over says where it was.
    let end = format!("/bindings/{binding}");
    desk.do_it(&cookie, Method::DELETE, &end, json!({"reason": "went home"})).await;
    assert_eq!(told().await.1.as_deref(), Some("3"));
}
