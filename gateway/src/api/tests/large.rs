//! What reads much of the database is asked a few at a time.

use super::*;

#[tokio::test]
async fn who_asks_much_while_others_do_is_told_to_ask_again_and_alerts_go_on() {
    let mut desk = Desk::new();
    let turns = desk.app.large.taken();
    let trend = "/api/v1/trends?site=heping&device=pump-01";
    let wave = format!("/api/v1/waveforms?device=pump-01&metric={}", first_wave());
    for path in [trend, &wave, "/api/v1/readings", "/api/v1/figures", "/api/v1/followup"] {
        let (status, problem) = desk.get(path).await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{path} {problem}");
        check_schema(&document(), "Problem", &problem);
        assert!(problem["detail"].as_str().unwrap().contains("ask again"), "{problem}");
    }
    for path in ["/api/v1/alerts", "/api/v1/patients", "/api/v1/sites", "/api/v1/devices"] {
        assert_eq!(desk.get(path).await.0, StatusCode::OK, "{path}");
    }
    drop(turns);
    assert_eq!(desk.get(trend).await.0, StatusCode::OK);
}
