//! Trends: what is told of a day; which rules somebody has; boards hear of changes.

use super::*;
use model::time::WallTime;

const MINUTE_MS: i64 = 60_000;

/// One heart rate, measured at that moment.
fn beat(at_ms: i64, rate: u32) -> ReadingGroup {
    let at = Observed { at: WallTime::from_unix_ms(at_ms), quality: ClockQuality::Synchronised };
    let rate = Reading::number(Metric::HR, rate, Unit::PER_MINUTE);
    ReadingGroup::new(DeviceId::new("pump-01").unwrap(), at, vec![rate])
}

/// The begin of a minute that is over.
fn minutes_ago(count: i64) -> i64 {
    let now_ms = clock::now().unix_ms();
    now_ms - now_ms.rem_euclid(MINUTE_MS) - count * MINUTE_MS
}

impl Desk {
    async fn trend(&self, of: &str, from_ms: i64) -> Value {
        let path = format!("/api/v1/trends?{of}&from={}", clock::rfc3339(from_ms));
        let (status, answer) = self.get(&path).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        check_schema(&document(), "Trends", &answer);
        answer
    }
}

/// Of each point when it begins, the three numbers and how many there were.
fn points(trend: &Value) -> Vec<(String, String, i64)> {
    let points = trend["series"][0]["points"].as_array().cloned().unwrap_or_default();
    let told = points.iter().map(|point| {
        let number = |name: &str| point[name].as_str().unwrap().to_owned();
        let numbers = ["min", "median", "max"].map(number).join(" ");
        (number("at"), numbers, point["count"].as_i64().unwrap())
    });
    told.collect()
}

#[tokio::test]
async fn every_number_of_a_trend_was_measured_and_a_gap_stays_one() {
    let desk = Desk::with_clinic();
    let first = minutes_ago(5);
    let last = first + 3 * MINUTE_MS;
    let groups = [(first, 90), (first + 1000, 60), (first + 2000, 80), (first + 59_999, 70)];
    let groups = groups.into_iter().chain([(last, 71)]).map(|(at, rate)| beat(at, rate));
    desk.hear(1, groups.collect()).await;
    let trend = desk.trend("site=heping&device=pump-01", first).await;
    let expected = [
        (clock::rfc3339(first), "60 70 90".to_owned(), 4),
        (clock::rfc3339(last), "71 71 71".to_owned(), 1),
    ];
    assert_eq!(points(&trend), expected);
    assert_eq!(trend["series"][0]["metric"], "hr");
    assert_eq!(points(&desk.trend("site=heping&device=pump-01", last).await), expected[1..]);
    let other = desk.trend("site=heping&device=pump-01&metric=spo2", first).await;
    assert_eq!(other["series"], json!([]));
}

#[tokio::test]
async fn the_trend_of_a_patient_goes_with_bindings_and_moved_results() {
    let desk = Desk::with_clinic();
    let cookie = desk.log_in("wang").await;
    let patient = desk.patient(&cookie).await;
    let (before, bound) = (minutes_ago(6), minutes_ago(4));
    desk.hear(1, vec![beat(before, 50), beat(bound + 1000, 75)]).await;
    let body = json!({"site": "heping", "device": "pump-01", "patient": patient,
        "from": clock::rfc3339(bound), "reason": "put on", "move_readings": true});
    desk.do_it(&cookie, Method::POST, "/bindings", body).await;
    let place = desk.hear(2, vec![inflation("pump-01", 150, 1)]).await;
    let of = format!("patient={patient}");
    let trend = desk.trend(&of, before).await;
    assert_eq!(points(&trend), [(clock::rfc3339(bound), "75 75 75".to_owned(), 1)]);
    assert_eq!(trend["results"][0]["readings"][0]["value"], "150");

    let other = desk.patient(&cookie).await;
    let moved = json!({"from": patient, "patient": other, "reason": "wrong_patient"});
    desk.do_it(&cookie, Method::POST, &place, moved).await;
    // With the one it stays, as one that was moved away; with the other it is.
    for (of, whose) in [(of, &patient), (format!("patient={other}"), &other)] {
        let results = desk.trend(&of, before).await["results"].clone();
        let (result, moves) = (&results[0]["readings"][0], &results[0]["moves"]);
        assert_eq!(
            (&result["value"], &result["patient"]),
            (&json!("150"), &json!(other)),
            "{whose}"
        );
        assert_eq!((&moves[0]["by"], &moves[0]["to"]), (&json!("wang"), &json!(other)));
    }
}

#[tokio::test]
async fn a_trend_is_bounded() {
    let desk = Desk::with_clinic();
    let path = |query: &str| format!("/api/v1/trends?{query}");
    let day = "from=2026-11-22T00:00:00Z&to=2026-11-23T00:00:00Z";
    for (query, begin) in [
        (format!("{day}&site=heping"), "patient: "),
        (format!("{day}&site=heping&device=a&patient=p-0"), "patient: "),
        (format!("{day}&site=heping&device=a&step=1"), "from: "),
        ("site=heping&device=a&from=2026-11-20T00:00:00Z&to=2026-11-23T00:00:00Z".into(), "from: "),
        ("site=heping&device=a&from=2026-11-20T00:00:00Z&to=2026-11-19T00:00:00Z".into(), "from: "),
    ] {
        let (status, answer) = desk.get(&path(&query)).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{query}");
        check_schema(&document(), "Problem", &answer);
        assert!(answer["detail"].as_str().unwrap().starts_with(begin), "{answer}");
    }
    let (status, _) = desk.get(&path(&format!("{day}&patient=p-0"))).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn it_is_told_which_values_no_rule_looks_at() {
    let desk = Desk::with_clinic();
    let cookie = desk.log_in("wang").await;
    let patient = desk.patient(&cookie).await;
    let child = json!({"clinic": CLINIC, "bed": "4", "age_months": 60});
    desk.do_it(&cookie, Method::POST, "/patients", child).await;
    desk.do_it(&cookie, Method::POST, "/patients", json!({"clinic": CLINIC})).await;
    let (_, told) = desk.get("/api/v1/patients").await;
    let looked_at = |ruled: &Value, class: &str| {
        ruled["classes"].as_array().unwrap().iter().any(|name| name == class)
    };
    let of_bed = |bed: &str| {
        let patients = told["patients"].as_array().unwrap();
        patients.iter().find(|one| one["bed"] == *bed).unwrap()["ruled"].clone()
    };
    let adult = &told["ruled_without_patient"];
    assert!(looked_at(adult, "hr") && looked_at(&of_bed("3"), "hr"));
    assert!(!looked_at(adult, "weight"), "{adult}");
    assert_ne!(of_bed("4")["populations"], adult["populations"]);
    // Of who has neither bed nor device nothing is asked.
    let patients = told["patients"].as_array().unwrap();
    assert!(patients.iter().any(|one| one["bed"].is_null() && one.get("ruled").is_none()));
    assert_eq!(
        told["beds"],
        json!([{"clinic": CLINIC, "bed": "3"}, {"clinic": CLINIC, "bed": "4"}])
    );
    // Who is in a programme only is not here.
    let (_, here) = desk.get("/api/v1/patients?here=true").await;
    let beds: Vec<&Value> =
        here["patients"].as_array().unwrap().iter().map(|one| &one["bed"]).collect();
    assert_eq!(beds, [&json!("3"), &json!("4")]);
    let (_, one) = desk.get(&format!("/api/v1/patients/{patient}")).await;
    let limits = one["limits_in_force"].as_array().unwrap();
    assert!(limits.iter().any(|limit| limit["class"] == "hr" && limit["priority"] == "high"));
    // A glucose that is not enough alone says what else has to be so.
    let also = |rule| &limits.iter().find(|limit| limit["rule"] == rule).unwrap()["also"];
    assert_eq!(
        *also("GLU-AD-DKA"),
        json!({"class": "ketone", "op": "≥", "value": "3", "within_s": 3600})
    );
    assert_eq!(*also("GLU-AD-HH"), Value::Null);
}

#[tokio::test]
async fn boards_hear_of_a_change_of_patients_and_not_of_a_name_that_is_shown() {
    let desk = Desk::with_clinic();
    let cookie = desk.log_in("wang").await;
    let mut live = desk.app.events.follow();
    let mut heard = || {
        let all = std::iter::from_fn(|| live.try_recv().ok());
        all.filter(|event| event.name == "patients").count()
    };
    let patient = desk.patient(&cookie).await;
    assert_eq!(heard(), 1);
    desk.bind(&cookie, &patient).await;
    assert_eq!(heard(), 1);
    desk.do_it(&cookie, Method::POST, &format!("/patients/{patient}/unmask"), json!({})).await;
    desk.refused(&cookie, Method::POST, "/patients", json!({"clinic": "nowhere"})).await;
    assert_eq!(heard(), 0);
}
