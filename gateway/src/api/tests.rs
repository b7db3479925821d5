//! The API against its own document, and its errors.

mod boards;
mod chain;
mod events;
mod hung_up;
mod large;
mod life;
mod own;
mod patients;
mod roles;
mod rules;
mod score;
mod service;
mod texts;

use super::*;
use crate::{
    boards::Sound,
    clock,
    code::Code,
    intake::{self, Delivery},
    notify::{STATES, Step},
    people::{self, Action, Role},
    query,
    rule_sets::{self, preview::job::State as PreviewState},
};
use ::rules::{
    alert::{AckReason, AlertState, TimelineEvent},
    danger::DangerSign,
    freshness::Freshness,
    ladder::{Level, TimesBySite},
    rule::RuleSet,
};
use axum::{
    body::{Body, to_bytes},
    http::{Method, Request, Response, StatusCode},
};
use metrics_exporter_prometheus::PrometheusBuilder;
use model::{
    alarm::{AlarmKind, AlarmPhase, DeviceAlarm, Priority},
    device::{DeviceKind, DeviceState, DeviceStatus},
    id::{Channel, DeviceId, Lane, OutboxId, Seq, SiteId},
    metric::Metric,
    reading::{Comparator, Reading, ReadingGroup, Validity},
    record::Record,
    time::{ClockQuality, Observed},
    units::Unit,
    waveform::{SamplePeriod, WaveformBlock, WaveformFlags},
};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use tempfile::TempDir;
use tower::ServiceExt as _;
use uplink_proto::{
    envelope::Envelope,
    state::{SiteState, Upkeep},
};

const METHODS: [Method; 5] =
    [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE];
const PASSWORD: &str = "correct horse";
/// Of one that failed nothing is told but that.
const PREVIEW_STATES: [PreviewState; 3] =
    [PreviewState::Running, PreviewState::Done, PreviewState::Stopped];

/// A county with one device, one alert, one nurse and one program.
struct Desk {
    app: App,
    token: String,
    folder: TempDir,
}

impl Desk {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("county.sqlite");
        let connection = Store::connection(&path).unwrap();
        people::add_person(&connection, "wang", Role::Nurse, PASSWORD).unwrap();
        people::add_person(&connection, "hall", Role::Kiosk, PASSWORD).unwrap();
        people::add_person(&connection, "zhang", Role::Doctor, PASSWORD).unwrap();
        people::add_person(&connection, "li", Role::Doctor, PASSWORD).unwrap();
        let token = people::create_token(&connection, "bench", Role::Nurse, 0).unwrap();
        let phone = "INSERT INTO sink VALUES ('phone', '[\"high\"]', '[\"raised\"]', NULL)";
        connection.execute(phone, []).unwrap();
        let rules = include_str!("../../../configs/rules/default.json");
        let rules = RuleSet::from_json(rules).unwrap();
        let deliveries = [delivery(Lane::Urgent, urgent()), delivery(Lane::Wave, wave())];
        let taken = intake::take(&connection, &deliveries, clock::now(), &rules).unwrap();
        assert_eq!((taken.counts.new, taken.alerts.len()), (2, 1));
        let attempt = "INSERT INTO notification_attempt VALUES (1, 1, 0, 12, 0, 'HTTP 500')";
        connection.execute(attempt, []).unwrap();
        // Something is missing, and something is kept aside.
        let noise = Delivery::Envelope(SiteId::new("heping").unwrap(), Lane::Trend, vec![0; 9]);
        let beyond = Envelope {
            outbox: OutboxId::from_bytes([7; 16]),
            lane: Lane::Trend,
            seq: Seq::new(3).unwrap(),
            opened_at: clock::now(),
            uptime: None,
            records: Vec::new(),
        };
        let beyond =
            Delivery::Envelope(SiteId::new("heping").unwrap(), Lane::Trend, beyond.encode());
        intake::take(&connection, &[noise, beyond], clock::now(), &rules).unwrap();
        let text = include_str!("../../../configs/rules/default.json");
        let live = rule_sets::at_start(&connection, clock::now(), text, rules).unwrap();
        let (_, broker_up) = watch::channel(true);
        let app = App {
            store: Store::open(&path).unwrap(),
            rules: LiveRules::new(live, TimesBySite::default()),
            events: Events::new(1),
            boards: Arc::default(),
            clinics: Arc::default(),
            broker_up,
            metrics: PrometheusBuilder::new().build_recorder().handle(),
            attempts: Arc::default(),
            confirmations: Arc::default(),
            previews: Arc::default(),
            large: LargeQuestions::default(),
            https: true,
            stopped: CancellationToken::new(),
        };
        Self { app, token, folder }
    }

    async fn send(&self, request: Request<Body>) -> Response<Body> {
        router(self.app.clone()).oneshot(request).await.unwrap()
    }

    async fn get(&self, path: &str) -> (StatusCode, Value) {
        let bearer = format!("Bearer {}", self.token);
        let request = Request::get(path).header(header::AUTHORIZATION, bearer);
        told(self.send(request.body(Body::empty()).unwrap()).await).await
    }

    async fn post(&self, path: &str, headers: &[(&str, &str)], body: &str) -> Response<Body> {
        let mut request = Request::post(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(request.body(Body::from(body.to_owned())).unwrap()).await
    }

    /// The cookie of a person who has logged in.
    async fn log_in(&self, name: &str) -> String {
        let body = json!({"name": name, "password": PASSWORD}).to_string();
        let answer = self.post("/api/v1/session", &[JSON], &body).await;
        assert_eq!(answer.status(), StatusCode::OK);
        let cookie = answer.headers()[header::SET_COOKIE].to_str().unwrap();
        for part in ["HttpOnly", "SameSite=Strict", "Secure", "Path=/"] {
            assert!(cookie.split("; ").any(|found| found == part), "{cookie}");
        }
        cookie.split(';').next().unwrap().to_owned()
    }

    async fn alert(&self) -> String {
        let (_, answer) = self.get("/api/v1/alerts").await;
        answer["alerts"][0]["id"].as_str().unwrap().to_owned()
    }
}

const JSON: (&str, &str) = ("content-type", "application/json");

async fn told(answer: Response<Body>) -> (StatusCode, Value) {
    let status = answer.status();
    let body = to_bytes(answer.into_body(), 1 << 24).await.unwrap();
    (status, serde_json::from_slice(&body).unwrap_or_default())
}

fn delivery(lane: Lane, records: Vec<Record>) -> Delivery {
    let envelope = Envelope {
        outbox: OutboxId::from_bytes([7; 16]),
        lane,
        seq: Seq::new(1).unwrap(),
        opened_at: clock::now(),
        uptime: None,
        records,
    };
    Delivery::Envelope(SiteId::new("heping").unwrap(), lane, envelope.encode())
}

fn observed() -> Observed {
    Observed { at: clock::now(), quality: ClockQuality::Synchronised }
}

fn urgent() -> Vec<Record> {
    let device = DeviceId::new("pump-01").unwrap();
    let status = DeviceStatus {
        device: device.clone(),
        kind: DeviceKind::Pump,
        driver: "bcc".into(),
        state: DeviceState::Online,
        reason: String::new(),
        about: [("serial".to_owned(), "1".to_owned())].into(),
        expected_interval_ms: Some(5_000),
        observed: observed(),
    };
    let alarm = DeviceAlarm {
        device: device.clone(),
        channel: Channel::default(),
        phase: AlarmPhase::Start,
        kind: AlarmKind::OcclusionDownstream,
        code: "5".into(),
        text: String::new(),
        priority: None,
        latched: false,
        source: None,
        device_time: None,
        observed: observed(),
    };
    let rate = Reading::number(Metric::NIBP_SYS, 120, Unit::MM_HG);
    let group = ReadingGroup::new(device, observed(), vec![rate]);
    vec![
        Record::Status(status),
        Record::Alarm(alarm),
        Record::Readings(group.clone()),
        Record::Readings(group),
    ]
}

fn wave() -> Vec<Record> {
    let block = || WaveformBlock {
        device: DeviceId::new("pump-01").unwrap(),
        channel: Channel::default(),
        metric: Metric::all()
            .find(|metric| metric.row().kind == model::metric::Kind::Wave)
            .unwrap(),
        start: observed(),
        period: SamplePeriod::new(1, 250).unwrap(),
        scale: None,
        samples: vec![1, -2, 3],
        flags: WaveformFlags::default(),
    };
    vec![Record::Waveform(block()), Record::Waveform(block()), Record::Waveform(block())]
}

fn document() -> Value {
    serde_json::from_str(OPENAPI).unwrap()
}

fn with_id(path: &str) -> String {
    let zeros = "00000000000000000000000000000000";
    let path = path.replace("{id}", zeros).replace("{outbox}", zeros);
    let path = path.replace("{site}", "heping").replace("{device}", "pump-01");
    let path = path.replace("{lane}", "urgent").replace("{seq}", "1");
    let path = path.replace("{index}", "0").replace("{limit}", "0");
    path.replace("{name}", "nobody").replace("{version}", "99").replace("{board}", "0")
}

#[tokio::test]
async fn every_route_is_in_the_document_and_everything_in_it_is_routed() {
    let desk = Desk::new();
    let document = document();
    let documented: BTreeSet<String> =
        document["paths"].as_object().unwrap().keys().cloned().collect();
    let below = api_routes().into_iter().map(|(path, _)| format!("/api/v1{path}"));
    let beside = service_routes().into_iter().map(|(path, _)| path.to_owned());
    assert_eq!(documented, below.chain(beside).collect());
    for (path, answers) in document["paths"].as_object().unwrap() {
        for method in METHODS {
            let request =
                Request::builder().method(method.clone()).uri(with_id(path)).body(Body::empty());
            let status = desk.send(request.unwrap()).await.status();
            let documented = answers.get(method.as_str().to_lowercase());
            match documented {
                None => assert_eq!(status, StatusCode::METHOD_NOT_ALLOWED, "{method} {path}"),
                Some(answer) => {
                    let open = answer.get("security").is_some_and(|ways| *ways == json!([]));
                    assert_eq!(status != StatusCode::UNAUTHORIZED, open, "{method} {path}");
                    let told = answer["responses"].get(status.as_str());
                    assert!(told.is_some(), "{method} {path} answered {status}");
                }
            }
        }
    }
}

#[test]
fn every_refusal_has_a_word_of_its_own_that_is_in_the_document() {
    let names: Vec<&str> = Code::ALL.iter().map(|code| code.name()).collect();
    let document = document();
    assert_eq!(
        document["components"]["schemas"]["Problem"]["properties"]["code"]["enum"],
        json!(names)
    );
    assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len());
}

#[tokio::test]
async fn answers_are_as_the_document_says() {
    let desk = Desk::new();
    let id = desk.alert().await;
    let document = document();
    let device = "device=pump-01&metric=";
    let wave = format!("/api/v1/waveforms?{device}{}", first_wave());
    let asked = [
        ("/api/v1/sites".to_owned(), "Sites"),
        ("/api/v1/devices".to_owned(), "Devices"),
        ("/api/v1/readings".to_owned(), "Readings"),
        (wave, "Waveforms"),
        ("/api/v1/ledger".to_owned(), "Ledger"),
        ("/api/v1/alerts".to_owned(), "Alerts"),
        ("/api/v1/notifications?state=waiting&sink=phone".to_owned(), "Notifications"),
        (format!("/api/v1/alerts/{id}"), "Alert"),
        ("/api/v1/metrics-catalogue".to_owned(), "MetricsCatalogue"),
        ("/api/v1/session".to_owned(), "User"),
        ("/api/v1/alerts/0".to_owned(), "Problem"),
    ];
    for (path, schema) in asked {
        let (_, answer) = desk.get(&path).await;
        check_schema(&document, schema, &answer);
        let empty = answer.as_object().unwrap().values().any(|list| *list == json!([]));
        let may_be = path.ends_with("sites") || path.ends_with("alerts");
        assert!(!empty || may_be, "{path}: {answer}");
    }
}

#[track_caller]
fn check_schema(document: &Value, name: &str, answer: &Value) {
    let schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$ref": format!("#/components/schemas/{name}"),
        "components": document["components"].clone(),
    });
    let validator = jsonschema::validator_for(&schema).unwrap();
    let mistakes: Vec<String> = validator
        .iter_errors(answer)
        .map(|error| format!("{}: {error}", error.instance_path))
        .collect();
    assert!(mistakes.is_empty(), "{name}: {mistakes:#?}");
}

#[tokio::test]
async fn events_tell_things_as_the_lists_do() {
    let desk = Desk::new();
    let state = SiteState {
        online: true,
        connection: 1,
        agent_version: "0.1.0".into(),
        policy: None,
        upkeep: Upkeep::default(),
        outbox: OutboxId::from_bytes([8; 16]),
        backlog: [1, 2, 3],
        holds_s: Some(90_000),
        clock: ClockQuality::Unknown,
        clock_evidence: String::new(),
        at: clock::now(),
        uptime: None,
    };
    let site = SiteId::new("dongfeng").unwrap();
    let [urgent, wave] = [(Lane::Urgent, urgent()), (Lane::Wave, wave())].map(|(lane, records)| {
        let Delivery::Envelope(_, lane, bytes) = delivery(lane, records) else { unreachable!() };
        Delivery::Envelope(site.clone(), lane, bytes)
    });
    let state = Delivery::State { site: site.clone(), bytes: state.encode(), retained: false };
    let rules = desk.app.rules.rules();
    let take = move |transaction: &rusqlite::Transaction<'_>| {
        intake::take(transaction, &[state, urgent, wave], clock::now(), &rules)
    };
    let taken = desk.app.store.write(take).await.unwrap();
    let mut document = document();
    // The newest readings of a device are told as readings.
    let device = &mut document["components"]["schemas"]["Device"];
    for listed in ["last_observed", "latest", "actions", "lost_24h"] {
        device["properties"].as_object_mut().unwrap().remove(listed);
        device["required"].as_array_mut().unwrap().retain(|name| *name != listed);
    }
    let groups: Vec<_> = taken.readings.iter().map(intake::Gathered::stored).collect();
    let readings: Vec<Value> =
        groups.iter().flat_map(|group| group.told()).map(|(.., told)| told).collect();
    let blocks = taken
        .blocks
        .iter()
        .map(|(site, start, block)| query::block_told(site, *start, block))
        .collect();
    let clinics = Clinics::new();
    let clinic = |told: Vec<Value>| {
        told.into_iter().map(|told| query::with_clinic(told, &clinics)).collect()
    };
    for (schema, told) in [
        ("Reading", readings),
        ("Block", blocks),
        ("Site", clinic(taken.sites)),
        ("Device", clinic(taken.devices)),
        ("Alert", clinic(taken.alerts)),
    ] {
        assert!(!told.is_empty(), "{schema}");
        told.iter().for_each(|one| check_schema(&document, schema, one));
    }
}

/// Every enumeration of the document, by its place in it.
fn enumerations(of: &Value, place: &str, found: &mut BTreeMap<String, BTreeSet<String>>) {
    let members: Vec<(String, &Value)> = match of {
        Value::Object(members) => members.iter().map(|(key, of)| (key.clone(), of)).collect(),
        Value::Array(members) => (0..).map(|n: u8| n.to_string()).zip(members).collect(),
        _ => return,
    };
    for (key, member) in members {
        if let Some(values) = member.as_array().filter(|_| key == "enum") {
            let values = values.iter().filter_map(Value::as_str).map(str::to_owned);
            found.insert(place.replace("properties.", ""), values.collect());
        }
        enumerations(member, format!("{place}.{key}").trim_start_matches('.'), found);
    }
}

#[test]
fn enumerations_are_those_of_the_code() {
    fn names<T: Copy>(all: &[T], name: fn(T) -> &'static str) -> BTreeSet<String> {
        all.iter().map(|one| name(*one).to_owned()).collect()
    }
    let signs = [Comparator::Below, Comparator::Above].iter();
    let signs: BTreeSet<_> = signs.filter_map(|one| one.sign()).map(str::to_owned).collect();
    let states = names(AlertState::ALL, AlertState::name);
    let conditions = AlertState::ALL.iter().filter(|state| !state.is_set_aside());
    let conditions = conditions.map(|state| state.name().to_owned()).collect();
    let levels = names(Level::ALL, Level::name);
    let reasons = names(AckReason::ALL, AckReason::name);
    let lanes = names(&Lane::ALL, Lane::name);
    let able = [Action::ActOnAlerts, Action::ActOnServiceAlerts].map(Action::roles).concat();
    let sounds = [Sound::On, Sound::Paused, Sound::Off, Sound::Blocked];
    let sounds: BTreeSet<String> =
        sounds.iter().filter_map(|one| json!(one).as_str().map(str::to_owned)).collect();
    let kinds = Metric::all().map(|metric| data::kind_name(metric.row().kind).to_owned());
    let expected = [
        ("Acknowledge.reason", reasons.clone()),
        ("AlertPeople.people.items.on_duty", levels.clone()),
        ("AlertPeople.people.items.role", names(&able, Role::name)),
        ("BoardSound.sound", sounds.clone()),
        ("Boards.boards.items.sound", sounds),
        ("Alert.comparator", signs.clone()),
        ("Alert.condition", conditions),
        ("Alert.danger_signs.items", names(DangerSign::ALL, DangerSign::name)),
        ("DangerSigns.signs.items", names(DangerSign::ALL, DangerSign::name)),
        ("Alert.escalation_level", levels.clone()),
        ("Alert.priority", names(&Priority::ALL, Priority::name)),
        ("RulePreview.state", names(&PREVIEW_STATES, PreviewState::name)),
        ("RulePreviewAlert.priority", names(&Priority::ALL, Priority::name)),
        ("Alert.reason", reasons.clone()),
        ("Alert.state", states.clone()),
        ("Aside.lane", lanes.clone()),
        ("Block.flags.items", ["lead_off", "pacer", "saturation"].map(str::to_owned).into()),
        ("Device.kind", names(&DeviceKind::ALL, DeviceKind::name)),
        ("Device.state", names(&DeviceState::ALL, DeviceState::name)),
        ("DeviceChanged.kind", names(&DeviceKind::ALL, DeviceKind::name)),
        ("DeviceChanged.state", names(&DeviceState::ALL, DeviceState::name)),
        ("LateValue.comparator", signs.clone()),
        ("LateValue.priority", names(&Priority::ALL, Priority::name)),
        ("LedgerLane.lane", lanes.clone()),
        ("RulePreviewAlert.priority", names(&Priority::ALL, Priority::name)),
        ("Metric.kind", kinds.collect()),
        ("NewEntry.consciousness", ["A", "C", "P", "U", "V"].map(str::to_owned).into()),
        ("Missing.state", ["dropped", "gap", "quarantined"].map(str::to_owned).into()),
        ("Notification.priority", names(&Priority::ALL, Priority::name)),
        ("Notification.state", STATES.map(str::to_owned).into()),
        (
            "Notification.step",
            Step::all().map(Step::name).chain(["summary"]).map(str::to_owned).collect(),
        ),
        ("Problem.code", names(Code::ALL, Code::name)),
        ("Reading.comparator", signs),
        ("Reading.freshness", names(&Freshness::ALL, Freshness::name)),
        ("Reading.lane", lanes),
        ("Reading.validity", names(&Validity::ALL, Validity::name)),
        ("Sex", ["female", "male", "unknown"].map(str::to_owned).into()),
        ("NextStep.level", levels.clone()),
        ("Shift.level", levels),
        ("Site.clock", names(&ClockQuality::ALL, ClockQuality::name)),
        ("Sites.disk.state", names(&DiskState::ALL, DiskState::name)),
        ("Sites.sinks.items.state", ["failing", "good"].map(str::to_owned).into()),
        ("TimelineEntry.reason", reasons),
        ("TimelineEntry.what", names(TimelineEvent::ALL, TimelineEvent::name)),
        ("IssueToken.role", names(&Role::ALL, Role::name)),
        ("PendingRights.role", names(&Role::ALL, Role::name)),
        ("Person.role", names(&Role::ALL, Role::name)),
        ("SetPerson.role", names(&Role::ALL, Role::name)),
        ("Token.role", names(&Role::ALL, Role::name)),
        ("User.may.items", names(&Action::ALL, Action::name)),
        ("User.role", names(&Role::ALL, Role::name)),
    ];
    let document = document();
    let mut found = BTreeMap::new();
    enumerations(&document["components"]["schemas"], "", &mut found);
    assert_eq!(found, expected.map(|(place, names)| (place.to_owned(), names)).into());
    let mut asked = BTreeMap::new();
    enumerations(&document["paths"], "", &mut asked);
    let or_open = states.into_iter().chain([query::OPEN_ALERTS.to_owned()]).collect();
    assert_eq!(asked.into_values().collect::<Vec<BTreeSet<_>>>(), [or_open]);
}

#[tokio::test]
async fn a_database_that_fails_is_told_as_the_document_says() {
    let desk = Desk::new();
    let cookie = desk.log_in("wang").await;
    let break_it = |transaction: &rusqlite::Transaction<'_>| {
        transaction.execute_batch("DROP TABLE token; DROP TABLE session; DROP TABLE person;")
    };
    desk.app.store.write(break_it).await.unwrap();
    for (path, answers) in document()["paths"].as_object().unwrap() {
        for method in METHODS {
            let Some(answer) = answers.get(method.as_str().to_lowercase()) else { continue };
            let request = Request::builder()
                .method(method.clone())
                .uri(with_id(path))
                .header(JSON.0, JSON.1)
                .header(header::COOKIE, &cookie)
                .body(Body::from(r#"{"name": "wang", "password": "wrong horse"}"#));
            let status = desk.send(request.unwrap()).await.status();
            let asks_nothing = ["/healthz", "/readyz"].contains(&path.as_str());
            let failed = status == StatusCode::INTERNAL_SERVER_ERROR;
            assert_eq!(failed, !asks_nothing, "{method} {path} answered {status}");
            let told = answer["responses"].get("500").is_some();
            assert!(told || path == "/healthz", "{method} {path}");
        }
    }
}

#[tokio::test]
async fn a_full_disk_is_told_and_the_board_goes_on() {
    let mut desk = Desk::new();
    let (broker, up) = watch::channel(true);
    desk.app.broker_up = up;
    let cookie = desk.log_in("wang").await;
    let ready = async |desk: &Desk| told(desk.send(request("/readyz")).await).await;
    assert_eq!(ready(&desk).await.0, StatusCode::OK);
    // A disk of which everything is kept free.
    desk.app.store = desk.app.store.clone().with_free_min(u64::MAX);
    desk.app.store.disk().look();
    let (status, problem) = ready(&desk).await;
    assert_eq!((status, &problem["title"]), (503.try_into().unwrap(), &json!("The disk is full")));
    check_schema(&document(), "Problem", &problem);
    let (_, sites) = desk.get("/api/v1/sites").await;
    check_schema(&document(), "Sites", &sites);
    assert_eq!(sites["disk"]["state"], "full");
    // The room that is kept free is for this.
    let path = format!("/api/v1/alerts/{}/acknowledge", desk.alert().await);
    let body = json!({"reason": "at_bedside"}).to_string();
    let done = desk.post(&path, &[JSON, ("cookie", &cookie)], &body).await;
    assert_eq!(done.status(), StatusCode::OK);
    desk.log_in("hall").await;

    desk.app.store = desk.app.store.clone().with_free_min(1);
    desk.app.store.disk().look();
    assert_eq!(ready(&desk).await.0, StatusCode::OK);
    broker.send_replace(false);
    assert_eq!(ready(&desk).await.1["title"], "The broker is out of reach");
}

fn request(path: &str) -> Request<Body> {
    Request::get(path).body(Body::empty()).unwrap()
}

fn first_wave() -> String {
    let Some(Record::Waveform(block)) = wave().pop() else { panic!("no block") };
    block.metric.name().to_owned()
}

#[tokio::test]
async fn what_does_not_fit_is_a_problem_that_says_what_to_do() {
    let desk = Desk::new();
    let cookie = desk.log_in("wang").await;
    let cookie = ("cookie", cookie.as_str());
    let acknowledge = format!("/api/v1/alerts/{}/acknowledge", desk.alert().await);
    let large = format!("{{\"reason\": \"{}\"}}", "x".repeat(BODY_MAX));
    let plain = ("content-type", "text/plain");
    let cases = [
        (desk.post("/api/v1/session", &[JSON], "{").await, StatusCode::BAD_REQUEST),
        (desk.post("/api/v1/session", &[JSON], "{}").await, StatusCode::UNPROCESSABLE_ENTITY),
        (desk.post("/api/v1/session", &[plain], "{}").await, StatusCode::UNSUPPORTED_MEDIA_TYPE),
        (desk.post(&acknowledge, &[JSON, cookie], &large).await, StatusCode::PAYLOAD_TOO_LARGE),
        (desk.post(&acknowledge, &[JSON, cookie], "{}").await, StatusCode::BAD_REQUEST),
        (desk.post("/api/v1/nowhere", &[], "").await, StatusCode::NOT_FOUND),
        (desk.post("/api/v1/alerts", &[], "").await, StatusCode::METHOD_NOT_ALLOWED),
    ];
    for (answer, wanted) in cases {
        assert_eq!(answer.headers()[header::CONTENT_TYPE], "application/problem+json");
        let (status, problem) = told(answer).await;
        assert_eq!((status, &problem["status"]), (wanted, &json!(wanted.as_u16())), "{problem}");
        assert!(!problem["detail"].as_str().unwrap().is_empty(), "{problem}");
    }
    for query in [
        "readings?limit=many",
        "waveforms?device=a",
        "readings?from=then",
        "readings?cursor=x",
        "alerts?state=opne",
    ] {
        let (status, problem) = desk.get(&format!("/api/v1/{query}")).await;
        assert_eq!((status, &problem["status"]), (StatusCode::BAD_REQUEST, &json!(400)), "{query}");
    }
}

#[tokio::test]
async fn only_a_named_person_acknowledges_and_the_second_learns_who_was_first() {
    let desk = Desk::new();
    let path = format!("/api/v1/alerts/{}/acknowledge", desk.alert().await);
    let (nurse, kiosk) = (desk.log_in("wang").await, desk.log_in("hall").await);
    let bearer = format!("Bearer {}", desk.token);
    let body = json!({"reason": "at_bedside"}).to_string();
    for (header, wanted) in [
        (None, StatusCode::UNAUTHORIZED),
        (Some(("authorization", bearer.as_str())), StatusCode::FORBIDDEN),
        (Some(("cookie", kiosk.as_str())), StatusCode::FORBIDDEN),
        (Some(("cookie", nurse.as_str())), StatusCode::OK),
        (Some(("cookie", nurse.as_str())), StatusCode::CONFLICT),
    ] {
        let headers: Vec<_> = [JSON].into_iter().chain(header).collect();
        let (status, answer) = told(desk.post(&path, &headers, &body).await).await;
        assert_eq!(status, wanted, "{answer}");
        if [StatusCode::OK, StatusCode::CONFLICT].contains(&wanted) {
            assert_eq!(answer["acknowledged_by"], "wang");
        }
    }
}

/// Check 12 of the nurse board, at the county itself: both ask before either is answered.
#[tokio::test]
async fn of_two_nurses_at_one_moment_one_has_it_and_the_other_is_told_who() {
    let desk = Desk::new();
    let path = format!("/api/v1/alerts/{}/acknowledge", desk.alert().await);
    let cookies = [desk.log_in("wang").await, desk.log_in("li").await];
    let body = json!({"reason": "at_bedside"}).to_string();
    let ask =
        async |cookie: &str| told(desk.post(&path, &[JSON, ("cookie", cookie)], &body).await).await;
    let (first, second) = tokio::join!(ask(&cookies[0]), ask(&cookies[1]));
    let mut statuses = [first.0, second.0];
    statuses.sort();
    assert_eq!(statuses, [StatusCode::OK, StatusCode::CONFLICT]);
    assert_eq!(first.1["acknowledged_by"], second.1["acknowledged_by"]);
    let owner = if first.0 == StatusCode::OK { "wang" } else { "li" };
    assert_eq!(first.1["acknowledged_by"], owner);
}

#[tokio::test]
async fn pages_put_together_are_the_whole() {
    let desk = Desk::new();
    let wave = format!("waveforms?device=pump-01&metric={}", first_wave());
    for (path, list, count) in [("readings?", "readings", 2), (wave.as_str(), "blocks", 3)] {
        let (_, whole) = desk.get(&format!("/api/v1/{path}")).await;
        assert_eq!(
            (whole[list].as_array().unwrap().len(), &whole["next_cursor"]),
            (count, &Value::Null)
        );
        let mut put_together = Vec::new();
        let mut cursor = String::new();
        for left in (0..count).rev() {
            let (_, page) = desk.get(&format!("/api/v1/{path}&limit=1{cursor}")).await;
            put_together.extend(page[list].as_array().unwrap().clone());
            let next = page["next_cursor"].as_str();
            assert_eq!(next.is_some(), left > 0);
            cursor = next.map(|next| format!("&cursor={next}")).unwrap_or_default();
        }
        assert_eq!(Value::Array(put_together), whole[list]);
    }
}

#[tokio::test]
async fn a_patient_nobody_is_bound_to_has_no_readings() {
    let desk = Desk::new();
    let (status, answer) = desk.get("/api/v1/readings?patient=p-7f3c").await;
    assert_eq!((status, answer), (StatusCode::OK, json!({"readings": [], "next_cursor": null})));
}

#[tokio::test]
async fn wrong_passwords_end_in_waiting_and_long_ones_cost_no_hash() {
    let desk = Desk::new();
    let try_in = async |name: &str, password: &str| {
        let body = json!({"name": name, "password": password}).to_string();
        desk.post("/api/v1/session", &[JSON], &body).await.status()
    };
    let long = "x".repeat(257);
    for _ in 0..10 {
        assert_eq!(try_in("wang", &long).await, StatusCode::UNAUTHORIZED);
        assert_eq!(try_in(&long, PASSWORD).await, StatusCode::UNAUTHORIZED);
    }
    for _ in 0..5 {
        assert_eq!(try_in("wang", "wrong horse").await, StatusCode::UNAUTHORIZED);
    }
    assert_eq!(try_in("wang", PASSWORD).await, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(try_in("hall", PASSWORD).await, StatusCode::OK);
}
