//! What a notification says.
//!
//! # Invariants
//! - no name of a patient, nothing that a person wrote freely
//! - how old the news is stands in it, by the moment at which it is sent

use super::sink::{Language, Sink, Step};
use crate::{
    clock::rfc3339,
    query::{Clinics, TIME_ZONE},
};
use model::{id::SiteId, metric::Metric, time::WallTime};
use rules::alert::{Alert, TimelineEntry, TimelineEvent};
use serde_json::{Value, json};

/// Version of the message.
const VERSION: u32 = 1;
/// Name of a summary where a step has its own.
pub(super) const SUMMARY: &str = "summary";
/// Steps that a summary tells one by one; of the rest it tells how many there are.
pub(super) const LISTED_MAX: usize = 100;
/// News of less than this is present.
const PRESENT_MS: i64 = 60_000;

/// A notification that waits.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) id: i64,
    pub(super) alert: String,
    pub(super) step: String,
    pub(super) number: u32,
    pub(super) priority: String,
    pub(super) at_ms: i64,
    pub(super) attempts: u32,
    pub(super) body: Value,
    /// Where the alert stands by now.
    pub(super) state: Option<String>,
    /// Of a summary: how many of its alerts sound by now, and nobody has answered.
    pub(super) unanswered: u32,
}

/// What every message needs.
#[derive(Clone, Copy)]
pub(super) struct About<'a> {
    pub(super) sink: &'a Sink,
    pub(super) clinics: &'a Clinics,
    /// Address of the board.
    pub(super) board: Option<&'a str>,
    pub(super) now: WallTime,
}

/// Names a step, or a summary, wherever and however often it is told.
pub(super) fn key(sink: &str, alert: &str, step: &str, number: u32, at_ms: i64) -> String {
    match step {
        // A restored county begins to count anew.
        SUMMARY => format!("{sink}.{at_ms}.{SUMMARY}.{number}"),
        step => format!("{sink}.{alert}.{step}.{number}"),
    }
}

/// What of an alert is kept with a step: as it was then. Why a person ended it is their words.
pub(super) fn kept(alert: &Alert, entry: &TimelineEntry) -> Value {
    let detail = if entry.what == TimelineEvent::Closed { "" } else { &entry.detail };
    json!({
        "id": alert.id.to_string(), "family": alert.family, "rules": alert.rules,
        "priority": alert.priority.name(), "site": alert.site.as_str(),
        "device": alert.device.as_str(), "metric": alert.metric.map(Metric::name),
        "comparator": alert.comparator, "value": alert.value, "unit": alert.unit,
        "limit": alert.limit, "started_at": rfc3339(alert.started_at.unix_ms()),
        "time_suspect": alert.time_suspect, "late_row": alert.late_row,
        "message_zh": alert.message_zh, "message_en": alert.message_en,
        "by": entry.by, "to": entry.to, "detail": detail,
    })
}

/// The message as it is sent now.
pub(super) fn told(waiting: &Waiting, about: About<'_>) -> Value {
    let Waiting { alert, step, number, at_ms, body, .. } = waiting;
    let age_ms = about.now.unix_ms().saturating_sub(*at_ms).max(0);
    let mut message = json!({
        "version": VERSION,
        "key": key(&about.sink.name, alert, step, *number, *at_ms),
        "sink": about.sink.name,
        "language": about.sink.language.name(),
        "step": step, "number": number,
        "at": rfc3339(*at_ms), "age_s": age_ms / 1000,
        "attempt": waiting.attempts.saturating_add(1),
        "priority": waiting.priority,
        "link": about.board,
    });
    let (text, more) = match step.as_str() {
        SUMMARY => {
            let mut summary = summary(body, about);
            if let Some(fields) = summary.as_object_mut() {
                fields.insert("unanswered".to_owned(), json!(waiting.unanswered));
            }
            (summary_text(body, waiting.unanswered, about, age_ms), ("summary", summary))
        }
        step => {
            let mut alert = in_language(body, about);
            if let Some(fields) = alert.as_object_mut() {
                fields.insert("state".to_owned(), json!(waiting.state));
            }
            (step_text(step, body, about, age_ms), ("alert", alert))
        }
    };
    if let Some(fields) = message.as_object_mut() {
        fields.insert("text".to_owned(), json!(text));
        fields.insert(more.0.to_owned(), more.1);
    }
    message
}

/// An alert with the message in one language and the name of its clinic.
fn in_language(body: &Value, about: About<'_>) -> Value {
    let mut told = body.clone();
    let [zh, en] = ["message_zh", "message_en"].map(|key| {
        let fields = told.as_object_mut();
        fields.and_then(|fields| fields.remove(key)).unwrap_or_default()
    });
    let clinic = clinic(body, about.clinics);
    if let Some(fields) = told.as_object_mut() {
        let message = match about.sink.language {
            Language::Chinese => zh,
            Language::English => en,
        };
        fields.insert("message".to_owned(), message);
        fields.insert("clinic".to_owned(), json!(clinic));
    }
    told
}

fn summary(body: &Value, about: About<'_>) -> Value {
    let mut told = body.clone();
    for step in told.get_mut("steps").and_then(Value::as_array_mut).into_iter().flatten() {
        *step = in_language(step, about);
    }
    told
}

fn clinic<'c>(body: &Value, clinics: &'c Clinics) -> Option<&'c str> {
    let site = SiteId::new(text(body, "site")).ok()?;
    clinics.get(&site).map(String::as_str)
}

fn text<'v>(body: &'v Value, key: &str) -> &'v str {
    body.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// One line for a person.
fn step_text(step: &str, body: &Value, about: About<'_>, age_ms: i64) -> String {
    let language = about.sink.language;
    let step = Step::from_name(step).map_or("", |step| step.said(language));
    let site = text(body, "site");
    let clinic = clinic(body, about.clinics).unwrap_or(site);
    let device = text(body, "device");
    let value = ["comparator", "value", "unit"].map(|key| text(body, key));
    let [comparator, value, unit] = value;
    let (limit, began) = (text(body, "limit"), local(text(body, "started_at")));
    let age = age(age_ms, language);
    match language {
        Language::Chinese => {
            let value = match value {
                "" => String::new(),
                value => format!(" {comparator}{value} {unit}"),
            };
            let limit = if limit.is_empty() { String::new() } else { format!("(限值 {limit})") };
            let priority = priority(text(body, "priority"), language);
            let message = text(body, "message_zh");
            format!(
                "【{priority}】{step}:{clinic} {device} {message}{value}{limit},始于 {began}{age}"
            )
        }
        Language::English => {
            let value = match value {
                "" => String::new(),
                value => format!(" {comparator}{value} {unit}"),
            };
            let limit = if limit.is_empty() { String::new() } else { format!(" (limit {limit})") };
            let priority = priority(text(body, "priority"), language);
            let message = text(body, "message_en");
            format!(
                "[{priority}] {step}: {clinic} {device} {message}{value}{limit}, since {began}{age}"
            )
        }
    }
}

fn summary_text(body: &Value, unanswered: u32, about: About<'_>, age_ms: i64) -> String {
    let language = about.sink.language;
    let count = |priority: &str| {
        let found = body.get("counts").and_then(|counts| counts.get(priority));
        found.and_then(Value::as_u64).unwrap_or_default()
    };
    let [high, medium, low] = ["high", "medium", "low"].map(count);
    let (first, last) = (local(text(body, "first_at")), local(text(body, "last_at")));
    let age = age(age_ms, language);
    let now = match (language, unanswered) {
        (Language::Chinese, 0) => "这些不是新预警,请在看板上查看当前状态".to_owned(),
        (Language::Chinese, _) => format!("其中 {unanswered} 条预警现在仍无人确认,请立即查看看板"),
        (Language::English, 0) => {
            "These are not new alerts; see the board for how things stand".to_owned()
        }
        (Language::English, _) => {
            format!(
                "Nobody has answered {unanswered} of these alerts, and they hold: see the board now"
            )
        }
    };
    match language {
        Language::Chinese => format!(
            "【汇总】{first} 至 {last} 的通知未能送达:高 {high} 条,中 {medium} 条,低 {low} 条{age}。{now}"
        ),
        Language::English => format!(
            "[summary] could not be told from {first} to {last}: {high} high, {medium} medium, \
             {low} low{age}. {now}"
        ),
    }
}

fn priority(name: &str, language: Language) -> &str {
    match (name, language) {
        ("high", Language::Chinese) => "高",
        ("medium", Language::Chinese) => "中",
        ("low", Language::Chinese) => "低",
        (name, _) => name,
    }
}

/// How old it is, where it is not of the present.
fn age(age_ms: i64, language: Language) -> String {
    if age_ms < PRESENT_MS {
        return String::new();
    }
    let minutes = age_ms / 60_000;
    let (hours, minutes) = (minutes / 60, minutes % 60);
    match language {
        Language::Chinese if hours > 0 => format!("({hours}小时{minutes}分前的消息)"),
        Language::Chinese => format!("({minutes}分钟前的消息)"),
        Language::English if hours > 0 => format!(" (news of {hours} h {minutes} min ago)"),
        Language::English => format!(" (news of {minutes} min ago)"),
    }
}

/// A moment as clinics read it.
fn local(rfc3339: &str) -> String {
    let moment = rfc3339.parse::<jiff::Timestamp>().ok();
    let there = moment.and_then(|moment| moment.in_tz(TIME_ZONE).ok());
    there.map_or_else(|| rfc3339.to_owned(), |there| there.strftime("%m-%d %H:%M").to_string())
}
