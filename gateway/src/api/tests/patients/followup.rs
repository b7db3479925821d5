//! Who is to be referred: by glucose as by pressure, and among the old, the young and the pregnant.

use super::*;

const RULES: &str = include_str!("../../../../../configs/rules/default.json");
/// Whom the programme for glucose is for: from 18 years on, and from 6.
const ADULTS: &str = r#""followup_diabetes", "age_months": [216, null]"#;
const CHILDREN: &str = r#""followup_diabetes", "age_months": [72, null]"#;

/// A clinic whose patients come to be measured.
struct Visits {
    desk: Desk,
    cookie: String,
    count: u64,
    /// Of the last result.
    place: String,
}

impl Visits {
    async fn new() -> Self {
        let desk = Desk::with_clinic();
        let cookie = desk.log_in("wang").await;
        Self { desk, cookie, count: 0, place: String::new() }
    }

    async fn patient(&self, about: Value) -> String {
        let mut body = json!({"clinic": CLINIC});
        body.as_object_mut().unwrap().extend(about.as_object().unwrap().clone());
        let told = self.desk.do_it(&self.cookie, Method::POST, "/patients", body).await;
        told["patient"].as_str().unwrap().to_owned()
    }

    /// What was measured that many days ago is that patient's; the place of the result.
    async fn measured(&mut self, patient: &str, days_ago: i64, group: ReadingGroup) {
        self.count += 1;
        let mut group = group;
        let at = clock::now().unix_ms() - days_ago * 24 * 3_600_000;
        group.device_time = Some(DeviceTime::Zoned { civil_ms: at, offset_s: 0 });
        group.device_seq = Some(self.count);
        let place = self.desk.hear(self.count, vec![group]).await;
        let hers = json!({"patient": patient, "reason": "claimed"});
        self.desk.do_it(&self.cookie, Method::POST, &place, hers).await;
        self.place = place;
    }

    async fn pressure(&mut self, patient: &str, days_ago: i64, sys: u32) {
        self.measured(patient, days_ago, inflation("cuff-01", sys, 0)).await;
    }

    async fn glucose(&mut self, patient: &str, days_ago: i64, (value, meal): (&str, &str)) {
        let value: model::decimal::Decimal = value.parse().unwrap();
        let reading = Reading::number(Metric::GLU_CAP_PL, value, Unit::MMOL_PER_L);
        let device = DeviceId::new("meter-01").unwrap();
        let group = ReadingGroup::new(device, observed(), vec![reading]);
        self.measured(patient, days_ago, group.with_context("meal", meal)).await;
    }

    /// Who is on the list, each with the programme, and who was out of target once.
    async fn listed(&self, query: &str) -> (Vec<(String, String)>, Vec<(String, String)>) {
        let (status, answer) = self.desk.get(&format!("/api/v1/followup{query}")).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        check_schema(&document(), "FollowUp", &answer);
        let of = |list: &str| {
            let people = answer[list].as_array().unwrap().iter();
            let text = |value: &Value| value.as_str().unwrap().to_owned();
            people.map(|one| (text(&one["patient"]), text(&one["programme"]))).collect()
        };
        (of("people"), of("once"))
    }
}

#[tokio::test]
async fn two_visits_of_a_diabetic_out_of_target_put_them_on_the_list() {
    let mut visits = Visits::new().await;
    let diabetic = visits.patient(json!({"born": "1976-03", "diabetes": true})).await;
    let on_it = || vec![(diabetic.clone(), "diabetes".to_owned())];
    visits.glucose(&diabetic, 40, ("7.0", "meal_fast")).await;
    assert_eq!(visits.listed("").await, (vec![], on_it()), "once is no reason to refer");
    // In target in between: it begins anew.
    visits.glucose(&diabetic, 30, ("6.9", "meal_fast")).await;
    assert_eq!(visits.listed("").await, (vec![], vec![]));
    visits.glucose(&diabetic, 20, ("8.2", "meal_fast")).await;
    // The target is that of fasting: what was measured after a meal says nothing to it.
    visits.glucose(&diabetic, 19, ("9.9", "meal_post")).await;
    assert_eq!(visits.listed("").await, (vec![], on_it()));
    visits.glucose(&diabetic, 6, ("7.1", "meal_fast")).await;
    assert_eq!(visits.listed("").await, (on_it(), vec![]));
    assert_eq!(visits.listed("?programme=diabetes").await.0, on_it());
    assert_eq!(visits.listed("?programme=hypertension").await, (vec![], vec![]));
    let (_, answer) = visits.desk.get("/api/v1/followup").await;
    let person = &answer["people"][0];
    let told = person["visits"].as_array().unwrap().iter();
    let told: Vec<_> =
        told.map(|one| json!([one["missed"], one["readings"][0]["value"]])).collect();
    assert_eq!(json!(told), json!([[["FU-GLU-F"], "7.1"], [["FU-GLU-F"], "8.2"]]));
    assert_eq!((&person["groups"], &person["overdue"]), (&json!([]), &json!(false)));
    // Many have one masked name.
    let (_, patients) = visits.desk.get("/api/v1/patients").await;
    let mut patients = patients["patients"].as_array().unwrap().iter();
    let known = patients.find(|one| one["patient"] == json!(diabetic)).unwrap();
    assert!(person["age_months"].is_u64(), "{person}");
    for field in ["age_months", "sex"] {
        assert_eq!(person[field], known[field], "{field}");
    }
    visits.glucose(&diabetic, 0, ("6.2", "meal_fast")).await;
    assert_eq!(visits.listed("").await, (vec![], vec![]));

    // Who is in no programme has no target.
    let neither = visits.patient(json!({"born": "1976-03"})).await;
    for days_ago in [9, 2] {
        visits.glucose(&neither, days_ago, ("9.0", "meal_fast")).await;
        visits.pressure(&neither, days_ago, 165).await;
    }
    assert_eq!(visits.listed("").await, (vec![], vec![]));
}

#[tokio::test]
async fn what_was_in_target_after_a_meal_says_nothing_of_the_fasting_value() {
    let mut visits = Visits::new().await;
    let year = clock::local_date(clock::now()).year();
    let pregnant = json!({"born": format!("{}-01", year - 30), "sex": "female",
        "pregnancy": {"registered": clock::local_date(clock::now()).to_string()}});
    let pregnant = visits.patient(pregnant).await;
    let on_it = vec![(pregnant.clone(), "diabetes".to_owned())];
    visits.glucose(&pregnant, 1, ("5.9", "meal_fast")).await;
    for days_ago in [1, 0] {
        visits.glucose(&pregnant, days_ago, ("6.2", "meal_post")).await;
        let confirmed = json!({"two_hours": true});
        let place = visits.place.replace("/reassign", "/after-meal");
        visits.desk.do_it(&visits.cookie, Method::POST, &place, confirmed).await;
        assert_eq!(visits.listed("").await, (on_it.clone(), vec![]), "{days_ago} days ago");
    }
    visits.glucose(&pregnant, 0, ("5.2", "meal_fast")).await;
    assert_eq!(visits.listed("").await, (vec![], vec![]));
}

#[tokio::test]
async fn the_old_the_young_and_the_pregnant_are_each_a_list_of_their_own() {
    let mut visits = Visits::new().await;
    let year = clock::local_date(clock::now()).year();
    let child = json!({"born": format!("{}-01", year - 12), "diabetes": true});
    let young = json!({"born": format!("{}-02", year - 16), "sex": "female",
        "pregnancy": {"registered": clock::local_date(clock::now()).to_string()}});
    let grown = json!({"born": format!("{}-01", year - 40), "hypertension": true});
    let pregnant = json!({"born": format!("{}-01", year - 30), "sex": "female",
        "pregnancy": {"registered": clock::local_date(clock::now()).to_string()}});
    let old = json!({"born": format!("{}-01", year - 70), "hypertension": true});
    let [child, young] = [visits.patient(child).await, visits.patient(young).await];
    let grown = visits.patient(grown).await;
    let pregnant = visits.patient(pregnant).await;
    let old = visits.patient(old).await;
    for days_ago in [9, 2] {
        visits.glucose(&child, days_ago, ("8.0", "meal_fast")).await;
        visits.pressure(&grown, days_ago, 145).await;
        visits.pressure(&old, days_ago, 155).await;
    }
    for patient in [&pregnant, &young] {
        visits.glucose(patient, 0, ("5.4", "meal_fast")).await;
    }
    let listed = async |query: &str| {
        let (people, once) = visits.listed(query).await;
        assert_eq!(once, vec![], "{query}");
        people.into_iter().collect::<BTreeSet<_>>()
    };
    let of = |patient: &String, programme: &str| (patient.clone(), programme.to_owned());
    let [child, grown] = [of(&child, "diabetes"), of(&grown, "hypertension")];
    let [pregnant, old] = [of(&pregnant, "diabetes"), of(&old, "hypertension")];
    let young = of(&young, "diabetes");
    // The programmes of the default rules are for adults: of children the pregnant have a target.
    let all = [grown.clone(), pregnant.clone(), young.clone(), old.clone()];
    assert_eq!(listed("").await, all.into());
    assert_eq!(listed("?group=child").await, [young.clone()].into());
    assert_eq!(listed("?group=pregnant").await, [pregnant.clone(), young.clone()].into());
    assert_eq!(listed("?group=elderly").await, [old.clone()].into());
    assert_eq!(listed("?programme=diabetes").await, [pregnant, young.clone()].into());
    assert_eq!(listed("?programme=hypertension").await, [grown, old].into());
    assert_eq!(listed("?group=child&programme=hypertension").await, [].into());
    // A county that follows up diabetic children too.
    let ours = RULES.replace("0.2-draft", "county-1").replace(ADULTS, CHILDREN);
    assert!(ours.contains(CHILDREN));
    let [zhang, li] = [visits.desk.log_in("zhang").await, visits.desk.log_in("li").await];
    let put = Request::put("/api/v1/rules").header(header::COOKIE, zhang).header(JSON.0, JSON.1);
    let (status, told) = told(visits.desk.send(put.body(Body::from(ours)).unwrap()).await).await;
    assert_eq!(status, StatusCode::CREATED, "{told}");
    visits.desk.do_it(&li, Method::POST, "/rules/2/approve", json!({})).await;
    assert_eq!(listed("?group=child").await, [child, young].into());
}
