//! What is made, when, and how often.

use super::{
    command::run_within,
    message::{self, About, Waiting},
    webhook::{Poster, signature},
    *,
};
use crate::{clock, events::Events, query::Clinics};
use aws_lc_rs::hmac;
use axum::{Router, http::StatusCode, response::Redirect, routing::post};
use model::{
    id::{DeviceId, SiteId},
    time::WallTime,
};
use rules::alert::{AlertId, TimelineEvent};
use serde_json::Value;
use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

const SECRET: &str = "correct horse battery staple";

fn sink(name: &str, via: Via) -> Sink {
    Sink {
        name: name.to_owned(),
        via,
        priorities: vec![Priority::High],
        steps: Step::ASKED.to_vec(),
        sites: None,
        language: Language::English,
    }
}

fn command(program: impl Into<PathBuf>) -> Via {
    Via::Command(Command { program: program.into(), arguments: Vec::new() })
}

/// An alert raised at `at`.
fn alert(device: &str, at: WallTime) -> Alert {
    let site = SiteId::new("heping").unwrap();
    let mut alert = Alert {
        id: AlertId::new(&site, device, "hr_low", at),
        site,
        device: DeviceId::new(device).unwrap(),
        patient: None,
        family: "hr_low".into(),
        rules: vec!["HR-AD-LL".into()],
        priority: Priority::High,
        state: AlertState::ActiveUnack,
        metric: None,
        value: Some("38".into()),
        comparator: None,
        unit: Some("/min".into()),
        limit: Some("< 40".into()),
        message_zh: "心率极低".into(),
        message_en: "Heart rate very low".into(),
        started_at: at,
        raised_at: at,
        cleared_at: None,
        acknowledged: None,
        retro: false,
        latched: false,
        quiet: false,
        late_row: None,
        people: rules::alert::People::default(),
        time_suspect: false,
        recheck_at: None,
        not_rechecked: false,
        recurrences: 0,
        timeline: Vec::new(),
    };
    happened(&mut alert, TimelineEvent::Raised, at);
    alert
}

fn happened(alert: &mut Alert, what: TimelineEvent, at: WallTime) {
    let number = u32::try_from(alert.timeline.len()).unwrap() + 1;
    alert.timeline.push(TimelineEntry { number, ..TimelineEntry::new(at, what) });
}

struct County {
    store: Store,
    folder: TempDir,
}

impl County {
    async fn with(sinks: &[Sink]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("county.sqlite")).unwrap();
        set_up(&store, sinks).await.unwrap();
        Self { store, folder }
    }

    async fn note(&self, alert: &Alert) {
        let (alert, now) = (alert.clone(), clock::now());
        self.store.write(move |transaction| note(transaction, now, &alert)).await.unwrap();
    }

    async fn rows(&self, question: &'static str) -> Vec<String> {
        let rows = move |connection: &Connection| {
            connection.prepare(question)?.query_map([], |row| row.get(0))?.collect()
        };
        self.store.read(rows).await.unwrap()
    }

    async fn made(&self) -> Vec<String> {
        let key = "SELECT sink || ' ' || step || ' ' || number FROM notification ORDER BY id";
        self.rows(key).await
    }

    async fn change(&self, change: &'static str) {
        self.store.write(move |transaction| transaction.execute(change, [])).await.unwrap();
    }

    /// Delivers until nothing is left that can be.
    async fn deliver(&self, sink: Sink) {
        let stopped = CancellationToken::new();
        let office = Office {
            store: self.store.clone(),
            events: Events::new(1),
            clinics: Arc::new(Clinics::new()),
            board: Some("https://county.example:8443/".into()),
            stopped: stopped.clone(),
        };
        let running = tokio::spawn(Delivery { sink, office }.run());
        let open = "SELECT state FROM notification WHERE state IN ('waiting', 'in_summary')";
        let emptied = async {
            while !self.rows(open).await.is_empty() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), emptied).await.expect("all is delivered");
        stopped.cancel();
        running.await.unwrap();
    }

    /// A program that writes down what it is handed.
    fn program(&self, script: &str) -> PathBuf {
        let path = self.folder.path().join("told.sh");
        fs::write(&path, format!("#!/bin/sh\ncd {}\n{script}\n", self.folder.path().display()))
            .unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    fn said(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.folder.path().join("told")).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

#[tokio::test]
async fn each_step_is_told_once_to_each_sink_that_wants_it() {
    let mut township = sink("township", command("/bin/true"));
    township.sites = Some([SiteId::new("dongfeng").unwrap()].into());
    let mut first = sink("first", command("/bin/true"));
    first.steps = vec![Step::Raised];
    let mut low = sink("low", command("/bin/true"));
    low.priorities = vec![Priority::Low];
    let county = County::with(&[sink("all", command("/bin/true")), first, low, township]).await;

    let mut alert = alert("ecg-01", clock::now());
    county.note(&alert).await;
    county.note(&alert).await;
    assert_eq!(county.made().await, ["all raised 1", "first raised 1"]);
    happened(&mut alert, TimelineEvent::Acknowledged, clock::now());
    county.note(&alert).await;
    happened(&mut alert, TimelineEvent::Recurred, clock::now());
    happened(&mut alert, TimelineEvent::PriorityRose, clock::now());
    county.note(&alert).await;
    county.note(&alert).await;
    let rest = ["all recurred 3", "all priority_rose 4"];
    assert_eq!(county.made().await[2..], rest);
}

#[tokio::test]
async fn what_does_not_sound_is_told_when_it_does_and_history_never() {
    let county = County::with(&[sink("all", command("/bin/true"))]).await;
    let now = clock::now();
    // The county heard of it late: nobody knows whether it is still so.
    let mut late = alert("ecg-01", now);
    late.state = AlertState::Unknown;
    county.note(&late).await;
    let mut over = alert("ecg-02", now);
    (over.retro, over.state) = (true, AlertState::Closed);
    county.note(&over).await;
    // It was raised where it was, and acknowledged there.
    let mut adopted = alert("ecg-03", WallTime::from_unix_ms(now.unix_ms() - 10 * 60_000));
    county.note(&adopted).await;
    assert!(county.made().await.is_empty());

    late.state = AlertState::ActiveUnack;
    happened(&mut late, TimelineEvent::Known, now);
    county.note(&late).await;
    happened(&mut adopted, TimelineEvent::Recurred, now);
    county.note(&adopted).await;
    county.note(&over).await;
    assert_eq!(county.made().await, ["all raised 1", "all recurred 2"]);

    // Somebody wants it quiet; what is over before it may sound is told to nobody.
    for (device, after) in [("ecg-04", AlertState::Closed), ("ecg-05", AlertState::ActiveUnack)] {
        assert_eq!(county.made().await.len(), 2);
        let mut shelved = alert(device, now);
        shelved.state = AlertState::Shelved;
        county.note(&shelved).await;
        assert_eq!(county.made().await.len(), 2);
        shelved.state = after;
        happened(&mut shelved, TimelineEvent::Known, now);
        county.note(&shelved).await;
    }
    assert_eq!(county.made().await.len(), 3);
}

#[tokio::test]
async fn what_comes_off_the_shelf_and_sounds_is_told_once_also_over_restarts() {
    let mut county = County::with(&[sink("all", command("/bin/true"))]).await;
    let now = clock::now();
    let mut shelved = Vec::new();
    for (number, state) in [
        AlertState::ActiveUnack,
        AlertState::ActiveAck,
        AlertState::ClearedUnack,
        AlertState::Suppressed,
    ]
    .into_iter()
    .enumerate()
    {
        let mut alert = alert(&format!("ecg-0{number}"), now);
        county.note(&alert).await;
        happened(&mut alert, TimelineEvent::Shelved, now);
        alert.state = AlertState::Shelved;
        county.note(&alert).await;
        shelved.push((alert, state));
    }
    let before = county.made().await.len();
    for (alert, state) in &mut shelved {
        happened(alert, TimelineEvent::Unshelved, now);
        alert.state = *state;
        county.note(alert).await;
        county.store = Store::open(&county.folder.path().join("county.sqlite")).unwrap();
        county.note(alert).await;
    }
    assert_eq!(county.made().await[before..], ["all unshelved 3"]);
    // What rises is off the shelf with that: it is told as what it is.
    let (alert, _) = &mut shelved[1];
    happened(alert, TimelineEvent::PriorityRose, now);
    happened(alert, TimelineEvent::Unshelved, now);
    alert.state = AlertState::ActiveUnack;
    county.note(alert).await;
    assert_eq!(county.made().await[before..], ["all unshelved 3", "all priority_rose 4"]);
}

#[tokio::test]
async fn whoever_heard_of_an_alert_hears_that_it_stands_for_itself_or_is_in_service_again() {
    let mut county = County::with(&[sink("all", command("/bin/true"))]).await;
    let now = clock::now();
    let ways = [
        (AlertState::Suppressed, TimelineEvent::Suppressed, TimelineEvent::Unsuppressed),
        (AlertState::OutOfService, TimelineEvent::OutOfService, TimelineEvent::InService),
    ];
    let mut aside = Vec::new();
    for (state, begins, ends) in ways {
        for (place, after) in
            [AlertState::ActiveUnack, AlertState::ActiveAck, AlertState::Shelved].iter().enumerate()
        {
            let mut alert = alert(&format!("{}-{place}", begins.name().replace('_', "-")), now);
            county.note(&alert).await;
            happened(&mut alert, begins, now);
            alert.state = state;
            county.note(&alert).await;
            aside.push((alert, ends, *after));
        }
    }
    let before = county.made().await.len();
    for (alert, ends, after) in &mut aside {
        happened(alert, *ends, now);
        alert.state = *after;
        county.note(alert).await;
        county.store = Store::open(&county.folder.path().join("county.sqlite")).unwrap();
        county.note(alert).await;
    }
    assert_eq!(county.made().await[before..], ["all unsuppressed 3", "all in_service 3"]);
    // What was raised meanwhile is told as what it is.
    let mut new = alert("ecg-09", now);
    new.state = AlertState::OutOfService;
    county.note(&new).await;
    // Off the shelf, and back: of one moment, one word.
    let (shelved, ..) = &mut aside[2];
    for alert in [&mut new, shelved] {
        happened(alert, TimelineEvent::InService, now);
        happened(alert, TimelineEvent::Unshelved, now);
        alert.state = AlertState::ActiveUnack;
        county.note(alert).await;
    }
    assert_eq!(county.made().await[before + 2..], ["all raised 1", "all unshelved 5"]);
}

#[tokio::test]
async fn whoever_heard_of_an_alert_hears_that_it_is_over_though_it_was_set_aside() {
    let county = County::with(&[sink("all", command("/bin/true"))]).await;
    let now = clock::now();
    let [heard, unheard] = ["ecg-01", "ecg-02"].map(|device| alert(device, now));
    county.note(&heard).await;
    for mut alert in [heard, unheard] {
        alert.state = AlertState::OutOfService;
        county.note(&alert).await;
        happened(&mut alert, TimelineEvent::Cleared, now);
        county.note(&alert).await;
        happened(&mut alert, TimelineEvent::Closed, now);
        alert.state = AlertState::Closed;
        county.note(&alert).await;
        county.note(&alert).await;
    }
    assert_eq!(county.made().await, ["all raised 1", "all cleared 2"]);
}

/// The news of what happened behind a box that was away comes late.
#[tokio::test]
async fn whoever_heard_of_an_alert_hears_that_it_ended_in_an_outage_and_nobody_of_what_is_old() {
    let county = County::with(&[sink("lamp", command("/bin/true"))]).await;
    let now = clock::now();
    let ago = |ms: i64| WallTime::from_unix_ms(now.unix_ms() - ms);
    let mut heard = alert("ecg-01", now);
    county.note(&heard).await;
    happened(&mut heard, TimelineEvent::Cleared, ago(20 * 60_000));
    (heard.state, heard.cleared_at) = (AlertState::ClearedUnack, Some(ago(20 * 60_000)));
    county.note(&heard).await;
    // It was over and came back there: nobody is told of either before it is known again.
    let mut back = alert("ecg-04", now);
    county.note(&back).await;
    happened(&mut back, TimelineEvent::Cleared, ago(20 * 60_000));
    happened(&mut back, TimelineEvent::Recurred, ago(10 * 60_000));
    back.state = AlertState::Unknown;
    county.note(&back).await;
    happened(&mut back, TimelineEvent::Known, now);
    back.state = AlertState::ActiveUnack;
    county.note(&back).await;
    // It was in hand, over and back there, and its words come one after the other.
    let mut words = alert("ecg-05", ago(20 * 60_000));
    words.state = AlertState::Unknown;
    county.note(&words).await;
    happened(&mut words, TimelineEvent::Cleared, ago(10 * 60_000));
    (words.state, words.cleared_at) = (AlertState::Closed, Some(ago(10 * 60_000)));
    county.note(&words).await;
    happened(&mut words, TimelineEvent::Recurred, now);
    (words.state, words.cleared_at) = (AlertState::Unknown, None);
    county.note(&words).await;
    happened(&mut words, TimelineEvent::Closed, ago(10 * 60_000));
    happened(&mut words, TimelineEvent::Recurred, ago(10 * 60_000));
    county.note(&words).await;
    // The county made of it now what was over before.
    let mut old = alert("ecg-02", now);
    (old.state, old.cleared_at) = (AlertState::ClearedUnack, Some(ago(20 * 60_000)));
    happened(&mut old, TimelineEvent::Cleared, ago(20 * 60_000));
    county.note(&old).await;
    // Somebody at the box had it in hand before the county heard of it; then it sounded again there.
    let mut seen = alert("ecg-03", ago(20 * 60_000));
    seen.state = AlertState::Unknown;
    county.note(&seen).await;
    happened(&mut seen, TimelineEvent::Acknowledged, ago(15 * 60_000));
    seen.state = AlertState::ActiveAck;
    county.note(&seen).await;
    happened(&mut seen, TimelineEvent::Realarmed, ago(10 * 60_000));
    seen.state = AlertState::Unknown;
    county.note(&seen).await;
    assert_eq!(county.made().await, ["lamp raised 1", "lamp cleared 2", "lamp raised 1"]);
}

#[tokio::test]
async fn whoever_heard_of_a_high_alert_hears_that_it_is_over_though_it_is_medium_by_then() {
    let county = County::with(&[sink("lamp", command("/bin/true"))]).await;
    let now = clock::now();
    for (device, heard) in [("ecg-01", true), ("ecg-02", false)] {
        let before = county.made().await.len();
        let mut alert = alert(device, now);
        alert.priority = if heard { Priority::High } else { Priority::Medium };
        county.note(&alert).await;
        alert.priority = Priority::Medium;
        happened(&mut alert, TimelineEvent::PriorityFell, now);
        happened(&mut alert, TimelineEvent::Cleared, now);
        alert.state = AlertState::Closed;
        county.note(&alert).await;
        // It comes back and is over again, which that sink hears nothing of.
        happened(&mut alert, TimelineEvent::Recurred, now);
        happened(&mut alert, TimelineEvent::Cleared, now);
        county.note(&alert).await;
        let told: &[&str] = if heard { &["lamp raised 1", "lamp cleared 3"] } else { &[] };
        assert_eq!(county.made().await[before..], *told);
    }
}

#[tokio::test]
async fn whoever_heard_of_an_alert_hears_that_it_ended_with_its_patient_or_device() {
    let lamp =
        Sink { steps: vec![Step::Raised, Step::Cleared], ..sink("lamp", command("/bin/true")) };
    let first = Sink { steps: vec![Step::Raised], ..sink("first", command("/bin/true")) };
    let county = County::with(&[lamp, first]).await;
    let ended = async |name: &str, before: &[TimelineEvent], state: AlertState| {
        let told = county.made().await.len();
        let now = clock::now();
        let mut alert = alert(name, now);
        alert.state = state;
        county.note(&alert).await;
        before.iter().for_each(|what| happened(&mut alert, *what, now));
        county.note(&alert).await;
        happened(&mut alert, TimelineEvent::Closed, now);
        alert.timeline.last_mut().unwrap().detail = "went home with his son".into();
        alert.state = AlertState::Closed;
        county.note(&alert).await;
        county.note(&alert).await;
        county.made().await.split_off(told)
    };
    let raised = ["first raised 1", "lamp raised 1"];
    let all = [raised[0], raised[1], "lamp closed 2"];
    assert_eq!(ended("ecg-01", &[], AlertState::ActiveUnack).await, all);
    // It was over before, and told so.
    let cleared = [raised[0], raised[1], "lamp cleared 2"];
    assert_eq!(ended("ecg-02", &[TimelineEvent::Cleared], AlertState::ActiveUnack).await, cleared);
    // It came back, and held.
    let story = [TimelineEvent::Cleared, TimelineEvent::Recurred];
    let back = [raised[0], raised[1], "lamp cleared 2", "lamp closed 4"];
    assert_eq!(ended("ecg-03", &story, AlertState::ActiveUnack).await, back);
    // Nobody ever heard of it.
    assert_eq!(ended("ecg-04", &[], AlertState::Shelved).await, [""; 0]);
    // It goes on in another.
    let now = clock::now();
    let mut same = alert("ecg-05", now);
    county.note(&same).await;
    let told = county.made().await.len();
    happened(&mut same, TimelineEvent::Closed, now);
    same.timeline.last_mut().unwrap().detail = "it is a part of what the box told".into();
    same.state = AlertState::Closed;
    county.note(&same).await;
    // Old news was told to nobody.
    let mut late = alert("ecg-06", now);
    late.timeline.first_mut().unwrap().what = TimelineEvent::RaisedLate;
    late.retro = true;
    county.note(&late).await;
    happened(&mut late, TimelineEvent::Closed, now);
    late.state = AlertState::Closed;
    county.note(&late).await;
    assert_eq!(county.made().await[told..], [""; 0]);
    // A box tells more of whom its device has left.
    let mut gone = alert("ecg-07", now);
    county.note(&gone).await;
    let told = county.made().await.len();
    happened(&mut gone, TimelineEvent::Closed, now);
    gone.state = AlertState::Closed;
    county.note(&gone).await;
    for what in [TimelineEvent::Realarmed, TimelineEvent::BecameUnknown, TimelineEvent::Closed] {
        happened(&mut gone, what, now);
    }
    county.note(&gone).await;
    assert_eq!(county.made().await[told..], ["lamp closed 2"]);
    // What a person wrote stays at the county.
    let bodies = county.rows("SELECT body FROM notification WHERE step = 'closed'").await;
    assert!(bodies.iter().all(|body| !body.contains("went home")), "{bodies:?}");
}

#[tokio::test]
async fn after_weeks_old_news_is_told_in_summaries_of_a_bounded_size() {
    let county = County::with(&[]).await;
    let script = "read -r line; printf '%s\\n' \"$line\" >> told";
    let sink = sink("phone", command(county.program(script)));
    set_up(&county.store, std::slice::from_ref(&sink)).await.unwrap();
    county.note(&alert("ecg-01", clock::now())).await;
    county.change("UPDATE notification SET old_ms = 0").await;
    let many = "WITH RECURSIVE n(i) AS (SELECT 2 UNION ALL SELECT i + 1 FROM n WHERE i < 4500)
        INSERT INTO notification (sink, alert, step, number, priority, site, at_ms, made_ms, due_ms,
          old_ms, body)
        SELECT sink, alert, step, i, priority, site, at_ms, made_ms, due_ms, old_ms, body
        FROM notification, n";
    county.change(many).await;
    county.deliver(sink).await;
    let said = county.said();
    let counts: Vec<_> = said.iter().map(|told| &told["summary"]["counts"]["high"]).collect();
    assert_eq!(json!(counts), json!([2000, 2000, 500]));
}

#[tokio::test]
async fn what_was_before_there_were_notifications_is_told_to_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("county.sqlite");
    drop(Store::connection(&path).unwrap());
    let now = clock::now();
    let mut old = alert("ecg-01", now);
    // As schema 4 had it.
    let tables = "DROP TABLE notification_attempt; DROP TABLE notification; DROP TABLE alert_told;
                  DROP TABLE sink;";
    let connection = Connection::open(&path).unwrap();
    connection.execute_batch(tables).unwrap();
    let body = json!({"timeline": [{"what": "raised"}]}).to_string();
    let row = "INSERT INTO alert VALUES (?1, 'heping', 'ecg-01', 'active_unack', 'high', 0, ?2)";
    connection.execute(row, params![old.id.to_string(), body]).unwrap();
    let step = include_str!("../../migrations/0010_notifications.sql");
    connection.execute_batch(step).unwrap();
    drop(connection);
    let store = Store::open(&path).unwrap();
    set_up(&store, &[sink("all", command("/bin/true"))]).await.unwrap();
    let county = County { store, folder };
    old.timeline[0].number = 0;
    county.note(&old).await;
    assert!(county.made().await.is_empty());
    happened(&mut old, TimelineEvent::Recurred, now);
    county.note(&old).await;
    assert_eq!(county.made().await, ["all recurred 2"]);
}

#[tokio::test]
async fn a_message_is_delivered_in_order_and_again_until_it_is() {
    let county = County::with(&[]).await;
    // Fails the first time it is asked for each.
    let script = r#"read -r line; step=${line#*'"step":"'}; step=${step%%'"'*}
        if [ ! -e "$step" ]; then touch "$step"; echo busy >&2; exit 7; fi
        printf '%s\n' "$line" >> told"#;
    let sink = sink("lamp", command(county.program(script)));
    set_up(&county.store, std::slice::from_ref(&sink)).await.unwrap();
    let mut alert = alert("ecg-01", clock::now());
    // What a device says is data wherever it goes.
    alert.message_en = "\"; rm -rf / #\n$(reboot) \u{0}".into();
    happened(&mut alert, TimelineEvent::Recurred, clock::now());
    county.note(&alert).await;
    county.deliver(sink).await;
    let said = county.said();
    let told: Vec<_> = said.iter().map(|told| (told["step"].as_str(), &told["attempt"])).collect();
    assert_eq!(told, [(Some("raised"), &json!(2)), (Some("recurred"), &json!(2))]);
    assert_eq!(said[0]["key"], format!("lamp.{}.raised.1", alert.id));
    assert_eq!(said[0]["alert"]["message"], alert.message_en);
    assert_eq!(said[0]["link"], "https://county.example:8443/");
    let attempts = "SELECT detail FROM notification_attempt ORDER BY id";
    assert_eq!(
        county.rows(attempts).await,
        ["exit code 7: busy", "exit code 0", "exit code 7: busy", "exit code 0"]
    );
}

#[tokio::test]
async fn old_news_is_told_in_one_summary_before_what_follows_it() {
    let county = County::with(&[]).await;
    let script = "read -r line; printf '%s\\n' \"$line\" >> told";
    let sink = sink("phone", command(county.program(script)));
    set_up(&county.store, std::slice::from_ref(&sink)).await.unwrap();
    let mut alerts = Vec::new();
    for number in 0..150 {
        let alert = alert(&format!("ecg-{number}"), clock::now());
        county.note(&alert).await;
        alerts.push(alert);
    }
    county.change("UPDATE notification SET old_ms = 0, at_ms = at_ms - 7500000").await;
    // Three of them sound by now, and one is in somebody's hand.
    let rows = "INSERT INTO alert SELECT alert, 'heping', 'ecg-01',
        iif(id = 1, 'active_ack', 'active_unack'), 'high', 0, '{}' FROM notification WHERE id < 5";
    county.change(rows).await;
    happened(&mut alerts[7], TimelineEvent::Recurred, clock::now());
    county.note(&alerts[7]).await;
    county.deliver(sink).await;
    let said = county.said();
    let steps: Vec<_> = said.iter().map(|told| told["step"].as_str().unwrap()).collect();
    assert_eq!(steps, ["summary", "recurred"]);
    let summary = &said[0]["summary"];
    assert_eq!(summary["counts"], json!({"high": 150, "medium": 0, "low": 0}));
    assert_eq!(summary["left_out"], 50);
    assert_eq!(summary["steps"].as_array().unwrap().len(), 100);
    assert_eq!(summary["steps"][0]["key"], format!("phone.{}.raised.1", alerts[50].id));
    let text = said[0]["text"].as_str().unwrap();
    assert!(text.contains("150 high") && text.contains("2 h 5 min ago"), "{text}");
    assert!(
        text.ends_with("Nobody has answered 3 of these alerts, and they hold: see the board now"),
        "{text}"
    );
    assert_eq!(summary["unanswered"], 3);
    let left = "SELECT state FROM notification WHERE state <> 'delivered'";
    assert!(county.rows(left).await.is_empty());
}

#[tokio::test]
async fn a_clock_that_is_set_back_holds_nothing_up() {
    let county = County::with(&[sink("phone", command("/bin/true"))]).await;
    county.note(&alert("ecg-01", clock::now())).await;
    county.change("UPDATE notification SET due_ms = due_ms + 86400000").await;
    county.deliver(sink("phone", command("/bin/true"))).await;
}

#[tokio::test]
async fn a_sink_that_is_gone_gets_nothing_and_one_that_fails_is_told() {
    let county = County::with(&[sink("gone", command("/bin/true"))]).await;
    county.note(&alert("ecg-01", clock::now())).await;
    set_up(&county.store, &[sink("phone", command("/bin/true"))]).await.unwrap();
    county.note(&alert("ecg-02", clock::now())).await;
    let states = "SELECT sink || ' ' || state FROM notification ORDER BY id";
    assert_eq!(county.rows(states).await, ["gone withdrawn", "phone waiting"]);
    let now = clock::now();
    let asked = move |connection: &Connection| standings(connection, now);
    let found = county.store.read(asked).await.unwrap();
    assert_eq!((found.len(), found[0].waiting, found[0].failing_since), (1, 1, None));
    county.change("UPDATE notification SET attempts = 3, made_ms = made_ms - 60000").await;
    let found = county.store.read(asked).await.unwrap();
    assert!(found[0].failing_since.is_some(), "{found:?}");
}

/// By somebody else's hand: the recipe of the README.
#[test]
fn a_signature_is_what_openssl_says() {
    let body = r#"{"text":"心率极低"}"#;
    let ours =
        signature(&hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes()), 1_795_335_300, body);
    let script = "printf '%s.%s' \"$1\" \"$2\" | openssl dgst -sha256 -hmac \"$3\" -r";
    let theirs = std::process::Command::new("sh")
        .args(["-c", script, "sh", "1795335300", body, SECRET])
        .output()
        .unwrap();
    let theirs = String::from_utf8(theirs.stdout).unwrap();
    assert_eq!(ours, format!("v1={}", theirs.split(' ').next().unwrap()));
    let example = include_str!("../../README.md");
    let ours =
        signature(&hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes()), 1_795_335_300, "{}");
    assert!(example.contains(&ours) && example.contains(SECRET), "{ours}");
}

/// A receiver with a certificate of its own CA.
async fn receiver(folder: &Path) -> String {
    let mut ca = rcgen::CertificateParams::new(Vec::new()).unwrap();
    ca.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let ca_key = rcgen::KeyPair::generate().unwrap();
    let issuer = rcgen::Issuer::from_params(&ca, &ca_key);
    let key = rcgen::KeyPair::generate().unwrap();
    let leaf = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    let leaf = leaf.signed_by(&key, &issuer).unwrap();
    fs::write(folder.join("ca.crt"), ca.self_signed(&ca_key).unwrap().pem()).unwrap();
    let other = rcgen::KeyPair::generate().unwrap();
    fs::write(folder.join("other.crt"), ca.self_signed(&other).unwrap().pem()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let key = rustls::pki_types::PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![leaf.der().clone()], key)
        .unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    let router = Router::new()
        .route("/", post(|| async { StatusCode::NO_CONTENT }))
        .route("/moved", post(|| async { Redirect::temporary("/") }))
        .route("/busy", post(|| async { StatusCode::SERVICE_UNAVAILABLE }));
    let tls = axum_server::tls_rustls::RustlsConfig::from_config(Arc::new(tls));
    let server = axum_server::from_tcp_rustls(listener, tls).unwrap();
    tokio::spawn(server.serve(router.into_make_service()));
    format!("https://{address}")
}

#[tokio::test]
async fn a_webhook_trusts_its_ca_only_and_follows_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    fs::write(folder.join("secret"), format!("{SECRET}\n")).unwrap();
    let url = receiver(folder).await;
    let posted = async |path: &str, ca: &str| {
        let webhook = Webhook {
            url: format!("{url}{path}").parse().unwrap(),
            secret_file: folder.join("secret"),
            ca_file: folder.join(ca),
        };
        let poster = Poster::new(&webhook).unwrap();
        poster.post(&webhook, "key", clock::now(), "{}".into()).await
    };
    let good = posted("/", "ca.crt").await;
    assert!(good.delivered && good.detail == "HTTP 204", "{good:?}");
    let moved = posted("/moved", "ca.crt").await;
    assert!(!moved.delivered && moved.detail == "HTTP 307", "{moved:?}");
    let busy = posted("/busy", "ca.crt").await;
    assert!(!busy.delivered && busy.detail == "HTTP 503", "{busy:?}");
    let stranger = posted("/", "other.crt").await;
    assert!(!stranger.delivered && stranger.detail.contains("certificate"), "{stranger:?}");
    fs::write(folder.join("secret"), "short").unwrap();
    let webhook = Webhook {
        url: url.parse().unwrap(),
        secret_file: folder.join("secret"),
        ca_file: folder.join("ca.crt"),
    };
    assert!(Poster::new(&webhook).is_err());
}

#[tokio::test]
async fn a_program_that_does_not_end_is_ended_with_all_it_started() {
    let county = County::with(&[]).await;
    let script = "sleep 600 & echo $! > child; echo started; wait";
    let program = Command { program: county.program(script), arguments: Vec::new() };
    let outcome = run_within(Duration::from_secs(2), &program, String::new()).await;
    assert!(!outcome.delivered && outcome.detail.contains("not done in 2 s"), "{outcome:?}");
    let child = fs::read_to_string(county.folder.path().join("child")).unwrap();
    let ended = async {
        // A process that was killed may be seen until its parent has heard of it.
        while let Ok(status) = fs::read_to_string(format!("/proc/{}/stat", child.trim())) {
            if status.contains(") Z ") {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), ended).await.expect("its child is gone");

    // What it says is bounded, and a message that it does not read holds nobody up.
    let script = "yes | head -c 300000; exit 3";
    let program = Command { program: county.program(script), arguments: Vec::new() };
    let large = "x".repeat(300_000);
    let outcome = run_within(Duration::from_secs(20), &program, large).await;
    assert!(outcome.detail.starts_with("exit code 3: y y"), "{outcome:?}");
    assert!(outcome.detail.len() < 1100, "{}", outcome.detail.len());
    let nothing = Command { program: "/nowhere/at-all".into(), arguments: Vec::new() };
    let outcome = run_within(Duration::from_secs(1), &nothing, String::new()).await;
    assert!(outcome.detail.contains("/nowhere/at-all"), "{outcome:?}");
}

#[test]
fn a_text_says_what_where_since_when_and_how_old_it_is() {
    let at = WallTime::from_unix_ms(1_795_335_300_000);
    let alert = alert("ecg-01", at);
    let waiting = Waiting {
        id: 1,
        alert: alert.id.to_string(),
        step: "raised".into(),
        number: 1,
        priority: "high".into(),
        at_ms: at.unix_ms(),
        attempts: 0,
        body: message::kept(&alert, &alert.timeline[0]),
        state: Some("active_ack".into()),
        unanswered: 0,
    };
    let clinics: Clinics = [(alert.site.clone(), "和平镇卫生院".to_owned())].into();
    let told = |language, age_ms| {
        let sink = Sink { language, ..sink("phone", command("/bin/true")) };
        let now = WallTime::from_unix_ms(at.unix_ms() + age_ms);
        message::told(&waiting, About { sink: &sink, clinics: &clinics, board: None, now })
    };
    let fresh = told(Language::Chinese, 2500);
    assert_eq!(
        fresh["text"],
        "【高】触发:和平镇卫生院 ecg-01 心率极低 38 /min(限值 < 40),始于 11-22 16:15"
    );
    assert_eq!((&fresh["age_s"], &fresh["alert"]["state"]), (&json!(2), &json!("active_ack")));
    assert_eq!(
        told(Language::English, 3_840_000)["text"],
        "[high] raised: 和平镇卫生院 ecg-01 Heart rate very low 38 /min (limit < 40), \
         since 11-22 16:15 (news of 1 h 4 min ago)"
    );
}

/// The county raised it by live values, and then the word of its box came, of the same.
#[tokio::test]
async fn nobody_is_told_of_an_alert_and_of_its_part() {
    let county = County::with(&[sink("first", command("/bin/true"))]).await;
    let now = clock::now();
    let mut part = alert("ecg-01", now);
    county.note(&part).await;
    let mut whole = alert("ecg-01", WallTime::from_unix_ms(now.unix_ms() - 3000));
    let (of, into) = (part.id, whole.id);
    let join = move |transaction: &Transaction<'_>| crate::alerts::join(transaction, of, into);
    county.store.write(join).await.unwrap();
    happened(&mut part, TimelineEvent::Closed, now);
    part.timeline.last_mut().unwrap().detail = "it is a part of what the box told".into();
    part.state = AlertState::Closed;
    county.note(&part).await;
    county.note(&whole).await;
    assert_eq!(county.made().await, ["first raised 1"]);
    // What becomes of it then is told.
    happened(&mut whole, TimelineEvent::Cleared, now);
    whole.state = AlertState::ClearedUnack;
    county.note(&whole).await;
    assert_eq!(county.made().await, ["first raised 1", "first cleared 2"]);
    // Of another that began then somebody is told.
    county.note(&alert("ecg-02", now)).await;
    assert_eq!(county.made().await.len(), 3);
}
