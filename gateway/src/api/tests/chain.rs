//! What people do is an entry of the chain: each route that writes, asked, and what it left there.

use super::{
    patients::{CLINIC, NAME, inflation},
    roles::Staffed,
    *,
};
use crate::rule_sets::preview::job::Job;

/// Routes that leave nothing in the chain, and why not.
const LEAVES_NOTHING: [(&str, &str); 5] = [
    ("POST /session/confirm", "somebody is still there and did nothing; who fails is an entry"),
    ("POST /boards/sound", "a page says by itself whether it is heard, nobody does that"),
    ("DELETE /boards/{board}", "a page says by itself that it is closed"),
    ("POST /rules/preview", "asks what rules would raise: nothing changes and nothing is kept"),
    ("DELETE /rules/preview", "ends such a question"),
];
const RULES: &str = include_str!("../../../../configs/rules/default.json");
const BOARD_TEXTS: [&str; 2] =
    [include_str!("../../../board/texts/zh-CN.json"), include_str!("../../../board/texts/en.json")];

/// A county in which everything is done once.
struct Story {
    staffed: Staffed,
    done: BTreeSet<String>,
    /// Entries that were read.
    read: usize,
}

impl Story {
    async fn new() -> Self {
        let staffed = Staffed::new().await;
        let read = staffed.desk.audit().await.len();
        Self { staffed, done: BTreeSet::new(), read }
    }

    /// Asks a route, with these in the places of its parameters; the entry that it leaves says this,
    /// or there is none.
    async fn does(
        &mut self,
        cookie: &str,
        route: &str,
        of: &[&str],
        body: impl ToString,
        left: &str,
    ) -> Value {
        let (method, path) = route.split_once(' ').unwrap();
        let mut of = of.iter();
        let mut filled = |part: &str| match part.starts_with('{') {
            true => (*of.next().expect("a parameter")).to_owned(),
            false => part.to_owned(),
        };
        let path: Vec<String> = path.split('/').map(&mut filled).collect();
        let (path, body) = (format!("/api/v1{}", path.join("/")), body.to_string());
        let asking = self.staffed.ask(cookie, method.parse().unwrap(), &path, &body);
        let (status, answer) = asking.await;
        assert!(status.is_success(), "{route}: {status} {answer}");
        self.left(route, left).await;
        answer
    }

    /// What confirms that which waits for zhao.
    async fn waits(&self, cookie: &str, field: &str) -> Value {
        let (_, answer) = self.staffed.ask(cookie, Method::GET, "/api/v1/people", "").await;
        let mut people = answer["people"].as_array().unwrap().iter();
        let zhao = people.find(|person| person["name"] == "zhao").unwrap();
        json!({"request": zhao[field]["request"]})
    }

    /// What a route has left since the last one.
    async fn left(&mut self, route: &str, left: &str) {
        let entries = self.staffed.desk.audit().await;
        let expected: Vec<&str> = [left].into_iter().filter(|left| !left.is_empty()).collect();
        assert_eq!(entries[self.read..], expected, "{route}");
        let is_told = LEAVES_NOTHING.iter().any(|(told, _)| *told == route);
        assert_eq!(is_told, left.is_empty(), "{route}: an entry, or the reason why there is none");
        self.read = entries.len();
        self.done.insert(route.to_owned());
    }

    async fn own_affairs(&mut self) {
        let log_in = json!({"name": "wang", "password": PASSWORD});
        self.does("", "POST /session", &[], log_in, "wang log_in wang").await;
        let wang = self.staffed.cookie("wang").await;
        let pin = json!({"password": PASSWORD, "pin": "2468"});
        self.does(&wang, "POST /session/pin", &[], pin, "wang set_pin wang").await;
        self.does(&wang, "POST /session/confirm", &[], json!({"pin": "2468"}), "").await;
        let new = json!({"old": PASSWORD, "new": "battery staple"});
        let left = "wang set_password wang";
        self.does(&wang, "POST /session/password", &[], new, left).await;
        let sound = json!({"board": "1", "name": "desk", "sound": "on"});
        self.does(&wang, "POST /boards/sound", &[], sound, "").await;
        self.does(&wang, "DELETE /boards/{board}", &["1"], "", "").await;
        self.does(&wang, "DELETE /session", &[], "", "wang log_out wang").await;
    }

    async fn people(&mut self) {
        let [system, security, audit] = ["system_admin", "security_admin", "audit_admin"];
        let [system, security, audit] = [
            self.staffed.cookie(system).await,
            self.staffed.cookie(security).await,
            self.staffed.cookie(audit).await,
        ];
        let zhao = json!({"name": "zhao", "password": PASSWORD});
        self.does(&system, "POST /people", &[], zhao, "system_admin user_add zhao").await;
        let (route, left) = ("PATCH /people/{name}", "security_admin user_rights_asked zhao");
        let role = json!({"role": "nurse", "clinics": [CLINIC]});
        self.does(&security, route, &["zhao"], role, left).await;
        let (route, left) = ("POST /people/{name}/confirm", "audit_admin user_rights zhao");
        let read = self.waits(&audit, "pending").await;
        self.does(&audit, route, &["zhao"], read, left).await;
        let (route, left) =
            ("POST /people/{name}/password", "security_admin user_password_asked zhao");
        self.does(&security, route, &["zhao"], json!({"password": "battery staple"}), left).await;
        let (route, left) =
            ("POST /people/{name}/password/confirm", "system_admin user_password zhao");
        let read = self.waits(&audit, "pending_password").await;
        self.does(&system, route, &["zhao"], read, left).await;
        let (route, left) =
            ("DELETE /people/{name}/sessions", "security_admin user_sessions_ended kiosk");
        self.does(&security, route, &["kiosk"], "", left).await;

        let export = json!({"name": "export", "role": "engineer"}).to_string();
        let (status, token) =
            self.staffed.ask(&security, Method::POST, "/api/v1/tokens", &export).await;
        assert_eq!(status, StatusCode::CREATED, "{token}");
        let id = token["id"].as_str().unwrap();
        self.left("POST /tokens", &format!("security_admin token_create {id}")).await;
        let left = format!("system_admin token_confirm {id}");
        self.does(&system, "POST /tokens/{id}/confirm", &[id], "", &left).await;
        let left = format!("security_admin token_revoke {id}");
        self.does(&security, "DELETE /tokens/{id}", &[id], "", &left).await;
    }

    async fn alerts(&mut self, nurse: &str) {
        let soon = clock::rfc3339(clock::now().unix_ms() + 120_000);
        let pump = self.staffed.desk.alert().await;
        for (route, body, action) in [
            ("POST /alerts/{id}/note", json!({"note": "vein is difficult"}), "note"),
            ("POST /alerts/{id}/assign", json!({"to": "doctor", "reason": "busy"}), "assign"),
            ("POST /alerts/{id}/escalate", json!({"reason": "worse"}), "escalate"),
            ("POST /alerts/{id}/acknowledge", json!({"reason": "at_bedside"}), "acknowledge"),
            ("POST /alerts/{id}/undo", json!({}), "undo"),
            ("POST /alerts/{id}/shelve", json!({"reason": "flushed", "until": soon}), "shelve"),
            ("POST /alerts/{id}/unshelve", json!({}), "unshelve"),
            ("POST /alerts/{id}/out-of-service", json!({"reason": "cleaned"}), "out_of_service"),
            ("DELETE /alerts/{id}/out-of-service", json!({}), "in_service"),
        ] {
            self.does(nurse, route, &[&pump], body, &format!("nurse {action} {pump}")).await;
        }
        let route = "devices/{site}/{device}/out-of-service";
        for (method, action) in [("POST", "out_of_service"), ("DELETE", "in_service")] {
            let (route, of) = (format!("{method} /{route}"), ["heping", "pump-01"]);
            let left = format!("nurse {action} heping/pump-01");
            self.does(nurse, &route, &of, json!({"reason": "cleaned"}), &left).await;
        }
        self.staffed.desk.hear(1, vec![inflation("cuff-01", 190, 1)]).await;
        let (_, alerts) = self.staffed.desk.get("/api/v1/alerts").await;
        let mut alerts = alerts["alerts"].as_array().unwrap().iter();
        let pressure = alerts.find(|alert| alert["family"] == "bp_high").unwrap()["id"].clone();
        let pressure = pressure.as_str().unwrap();
        let left = format!("nurse danger_signs {pressure}");
        let route = "POST /alerts/{id}/danger-signs";
        self.does(nurse, route, &[pressure], json!({"signs": []}), &left).await;
    }

    async fn patients(&mut self, nurse: &str) {
        let about = json!({"clinic": CLINIC, "name": NAME, "born": "1956-03", "sex": "female"});
        let (_, patient) =
            self.staffed.ask(nurse, Method::POST, "/api/v1/patients", &about.to_string()).await;
        let id = patient["patient"].as_str().unwrap();
        self.left("POST /patients", &format!("nurse add_patient {id}")).await;
        let tomorrow = clock::rfc3339(clock::now().unix_ms() + 86_400_000);
        let limit =
            json!({"rule": "BP-AD-SH", "value": "190", "until": tomorrow, "reason": "known"});
        let bed = json!({"version": 1, "bed": "4"});
        for (route, body, action) in [
            ("PATCH /patients/{id}", bed, "change_patient"),
            ("POST /patients/{id}/unmask", json!({}), "unmask"),
            ("POST /patients/{id}/entries", json!({"oxygen": true}), "enter"),
        ] {
            self.does(nurse, route, &[id], body, &format!("nurse {action} {id}")).await;
        }
        let (route, left) = ("POST /patients/{id}/limits", format!("nurse set_limit {id}"));
        let told = self.does(nurse, route, &[id], limit, &left).await;
        let limit = told["limits"][0]["id"].to_string();
        let (route, left) =
            ("DELETE /patients/{id}/limits/{limit}", format!("nurse end_limit {id}"));
        self.does(nurse, route, &[id, &limit], "", &left).await;

        let bound =
            json!({"site": "heping", "device": "pump-01", "patient": id, "reason": "put on"});
        let told =
            self.does(nurse, "POST /bindings", &[], bound, "nurse bind heping/pump-01").await;
        let (route, binding) = ("DELETE /bindings/{id}", told["id"].to_string());
        let off = json!({"reason": "taken off"});
        self.does(nurse, route, &[&binding], off, "nurse unbind heping/pump-01").await;

        let glucose = Reading::number(Metric::GLU_CAP_PL, 7, Unit::MMOL_PER_L);
        let meter = DeviceId::new("meter-01").unwrap();
        let group = ReadingGroup::new(meter, observed(), vec![glucose]);
        let outbox = OutboxId::from_bytes([9; 16]).to_string();
        self.staffed.desk.hear(2, vec![group.with_context("meal", "meal_post")]).await;
        let of = [outbox.as_str(), "urgent", "2", "0"];
        let place = of.join("/");
        let route = "POST /readings/{outbox}/{lane}/{seq}/{index}";
        let hers = json!({"patient": id, "reason": "claimed"});
        let left = format!("nurse reassign {place}");
        self.does(nurse, &format!("{route}/reassign"), &of, hers, &left).await;
        let yes = json!({"two_hours": true});
        let left = format!("nurse after_meal {place}");
        self.does(nurse, &format!("{route}/after-meal"), &of, yes, &left).await;

        let home = json!({"version": 2, "discharged": true, "reason": "went home"});
        let (route, left) = ("PATCH /patients/{id}", format!("nurse discharge {id}"));
        self.does(nurse, route, &[id], home, &left).await;
    }

    async fn duty_and_rules(&mut self) {
        let [doctor, zhang] =
            [self.staffed.cookie("doctor").await, self.staffed.cookie("zhang").await];
        let plan = json!({"township": CLINIC, "shifts": []});
        self.does(&doctor, "PUT /duty", &[], plan, &format!("doctor duty {CLINIC}")).await;
        let ours = RULES.replace("0.2-draft", "county-1");
        self.does(&doctor, "PUT /rules", &[], ours, "doctor draft_rules 2").await;
        let kept = json!({"version": 2});
        self.does(&doctor, "POST /rules/preview", &[], kept, "").await;
        let (route, left) = ("POST /rules/{version}/approve", "zhang approve_rules 2");
        self.does(&zhang, route, &["2"], "", left).await;

        let app = self.staffed.desk.app.clone();
        let sets = [app.rules.rules(), app.rules.rules()];
        let job = Job::new(("li", Some(1)), sets, Arc::default(), clock::now(), &app.stopped);
        let job = app.previews.begin(job).unwrap();
        let run = async {
            job.stopping().await;
            Arc::clone(&job).run(app.store.clone()).await;
        };
        tokio::join!(self.does(&doctor, "DELETE /rules/preview", &[], "", ""), run);
    }
}

#[tokio::test]
async fn whatever_somebody_does_is_an_entry_of_the_chain() {
    let mut story = Story::new().await;
    story.own_affairs().await;
    story.people().await;
    let nurse = story.staffed.cookie("nurse").await;
    story.alerts(&nurse).await;
    story.patients(&nurse).await;
    story.duty_and_rules().await;

    // Nothing that writes was left out: the router has what the document has, and no more.
    let mut writing = BTreeSet::new();
    for (path, answers) in document()["paths"].as_object().unwrap() {
        for method in METHODS.iter().filter(|method| **method != Method::GET) {
            if answers.get(method.as_str().to_lowercase()).is_some() {
                writing.insert(format!("{method} {}", path.trim_start_matches("/api/v1")));
            }
        }
    }
    assert_eq!(story.done, writing);
    assert!(LEAVES_NOTHING.iter().all(|(route, why)| writing.contains(*route) && !why.is_empty()));
    // And who reads the chain at the board reads words.
    for texts in BOARD_TEXTS {
        let texts: Value = serde_json::from_str(texts).unwrap();
        for entry in story.staffed.desk.audit().await {
            let action = entry.split(' ').nth(1).unwrap();
            let word = &texts[format!("audit.did.{action}")];
            assert!(word.is_string(), "no word for {action}");
        }
    }
}
