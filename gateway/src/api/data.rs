//! Sites, devices, readings, waveforms, trends, the ledger, the catalogue.

use super::{App, Problem, Route, extract::Query, large, patients::refused_or_failed};
use crate::{
    clock,
    ledger::{self, Ledger},
    notify::{Standing, standings},
    people::{Action, Caller, Scope},
    query::{self, Place, ReadingFilter, WaveformFilter},
    trends::{self, Of, SPAN_MAX_MS, STEPS_MAX, TrendFilter},
};
use axum::{Json, extract::State, routing::get};
use model::metric::{Kind, Metric};
use rusqlite::Connection;
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;

/// Readings in one answer, where nobody says how many.
const LIMIT: u32 = 1000;
/// Readings in one answer at most.
const LIMIT_MAX: u32 = 10_000;
/// Waveform blocks in one answer, where nobody says how many: 10 min of one lead.
const BLOCKS: u32 = 600;
/// Waveform blocks in one answer at most: an hour of one lead, some 10 MB.
const BLOCKS_MAX: u32 = 3600;
/// How far back a trend goes, where nobody says since when.
const DAY_MS: i64 = 24 * 3_600_000;
/// Seconds of a step of a trend, where nobody says how many.
const STEP_S: u32 = 60;

pub(super) fn routes() -> Vec<Route> {
    vec![
        ("/sites", get(sites)),
        ("/devices", get(devices)),
        ("/readings", get(readings)),
        ("/waveforms", get(waveforms)),
        ("/trends", get(trend)),
        ("/ledger", get(account)),
        ("/metrics-catalogue", get(catalogue)),
    ]
}

async fn sites(State(app): State<App>, caller: Caller) -> Result<Json<Value>, Problem> {
    caller.may(Action::SeeSites)?;
    let clinics = Arc::clone(&app.clinics);
    let asked = move |connection: &Connection| {
        let now = clock::now();
        Ok((query::sites(connection, &clinics, now)?, standings(connection, now)?))
    };
    let (mut answer, sinks) = app.store.read(asked).await?;
    leave(&mut answer, "sites", &caller.scope);
    let sinks: Vec<Value> = sinks.iter().map(Standing::json).collect();
    if let Some(fields) = answer.as_object_mut() {
        fields.insert("broker".to_owned(), json!({"up": *app.broker_up.borrow()}));
        fields.insert("disk".to_owned(), app.store.disk().found().json());
        fields.insert("sinks".to_owned(), json!(sinks));
    }
    Ok(Json(answer))
}

async fn devices(State(app): State<App>, caller: Caller) -> Result<Json<Value>, Problem> {
    caller.may(Action::SeeReadings)?;
    let clinics = Arc::clone(&app.clinics);
    let asked = move |connection: &Connection| query::devices(connection, &clinics, clock::now());
    let mut answer = app.store.read(asked).await?;
    leave(&mut answer, "devices", &caller.scope);
    Ok(Json(answer))
}

/// Leaves of a list what is at the sites of a scope.
fn leave(answer: &mut Value, list: &str, scope: &Scope) {
    if let Some(list) = answer.get_mut(list).and_then(Value::as_array_mut) {
        list.retain(|one| {
            one.get("site").and_then(Value::as_str).is_some_and(|site| scope.holds(site))
        });
    }
}

#[derive(Deserialize)]
struct ReadingQuery {
    site: Option<String>,
    device: Option<String>,
    patient: Option<String>,
    metric: Option<String>,
    from: Option<String>,
    to: Option<String>,
    limit: Option<u32>,
    cursor: Option<String>,
}

async fn readings(
    State(app): State<App>,
    caller: Caller,
    Query(asked): Query<ReadingQuery>,
) -> Result<Json<Value>, Problem> {
    caller.may(Action::SeeReadings)?;
    let filter = ReadingFilter {
        site: asked.site,
        device: asked.device,
        patient: asked.patient,
        metric: asked.metric,
        from_ms: moment("from", asked.from.as_deref())?,
        to_ms: moment("to", asked.to.as_deref())?,
        after: after(asked.cursor.as_deref())?,
        limit: asked.limit.unwrap_or(LIMIT).clamp(1, LIMIT_MAX),
        scope: caller.scope,
    };
    Ok(Json(
        large::ask(&app, &caller.name, move |connection| query::readings(connection, &filter))
            .await?,
    ))
}

#[derive(Deserialize)]
struct WaveformQuery {
    site: Option<String>,
    device: String,
    metric: String,
    from: Option<String>,
    to: Option<String>,
    limit: Option<u32>,
    cursor: Option<String>,
}

async fn waveforms(
    State(app): State<App>,
    caller: Caller,
    Query(asked): Query<WaveformQuery>,
) -> Result<Json<Value>, Problem> {
    caller.may(Action::SeeReadings)?;
    let filter = WaveformFilter {
        site: asked.site,
        device: asked.device,
        metric: asked.metric,
        from_ms: moment("from", asked.from.as_deref())?,
        to_ms: moment("to", asked.to.as_deref())?,
        after: after(asked.cursor.as_deref())?,
        limit: asked.limit.unwrap_or(BLOCKS).clamp(1, BLOCKS_MAX),
        scope: caller.scope,
    };
    Ok(Json(
        large::ask(&app, &caller.name, move |connection| query::waveforms(connection, &filter))
            .await?,
    ))
}

#[derive(Deserialize)]
struct TrendQuery {
    patient: Option<String>,
    site: Option<String>,
    device: Option<String>,
    metric: Option<String>,
    from: Option<String>,
    to: Option<String>,
    step: Option<u32>,
}

async fn trend(
    State(app): State<App>,
    caller: Caller,
    Query(asked): Query<TrendQuery>,
) -> Result<Json<Value>, Problem> {
    caller.may(Action::SeeReadings)?;
    let of = match (asked.patient, asked.site, asked.device) {
        (Some(key), None, None) => Of::Patient(key),
        (None, Some(site), Some(device)) => Of::Device { site, device },
        _ => return Err(Problem::bad_request("patient: name one, or a site and a device")),
    };
    let (rules, now) = (app.rules.rules(), clock::now());
    let now_ms = now.unix_ms();
    let to_ms = moment("to", asked.to.as_deref())?.unwrap_or(now_ms);
    let day_before_ms = to_ms.saturating_sub(DAY_MS);
    let from_ms = moment("from", asked.from.as_deref())?.unwrap_or(day_before_ms);
    let step_ms = i64::from(asked.step.unwrap_or(STEP_S).max(1)) * 1000;
    let span_ms = to_ms.saturating_sub(from_ms);
    if !(1..=SPAN_MAX_MS).contains(&span_ms) || span_ms / step_ms > STEPS_MAX {
        let hours = SPAN_MAX_MS / 3_600_000;
        let text = format!("from: ask for at most {hours} h and {STEPS_MAX} steps up to \"to\"");
        return Err(Problem::bad_request(text));
    }
    let (metric, scope) = (asked.metric, caller.scope);
    let filter = TrendFilter { of, metric, from_ms, to_ms, step_ms, scope };
    let question = move |connection: &Connection| {
        refused_or_failed(trends::trends(connection, &rules, &filter, now))
    };
    Ok(Json(large::ask(&app, &caller.name, question).await??))
}

#[derive(Deserialize)]
struct LedgerQuery {
    site: Option<String>,
}

async fn account(
    State(app): State<App>,
    caller: Caller,
    Query(asked): Query<LedgerQuery>,
) -> Result<Json<Ledger>, Problem> {
    caller.may(Action::ReadLedger)?;
    let asked = move |connection: &Connection| {
        ledger::ledger(connection, asked.site.as_deref(), &caller.scope)
    };
    Ok(Json(app.store.read(asked).await?))
}

async fn catalogue(_: Caller) -> Json<Value> {
    let metrics: Vec<Value> = Metric::all()
        .map(|metric| {
            let row = metric.row();
            json!({
                "metric": row.name, "name_zh": row.name_zh, "name_en": row.name_en,
                "class": row.class.name(), "kind": kind_name(row.kind), "decimals": row.decimals,
                "canonical_unit": row.canonical_unit.as_ref().map(ToString::to_string),
            })
        })
        .collect();
    Json(json!({"metrics": metrics}))
}

pub(super) const fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Stream => "stream",
        Kind::Spot => "spot",
        Kind::Wave => "wave",
        Kind::State => "state",
        Kind::Event => "event",
    }
}

/// The place of a cursor.
fn after(cursor: Option<&str>) -> Result<Option<Place>, Problem> {
    let wrong = || Problem::bad_request("cursor: send back next_cursor as it was");
    cursor.map(|cursor| Place::parse(cursor).ok_or_else(wrong)).transpose()
}

/// A moment of a query, as milliseconds.
pub(super) fn moment(name: &str, text: Option<&str>) -> Result<Option<i64>, Problem> {
    let wrong =
        || Problem::bad_request(format!("{name}: write a moment such as 2026-11-22T08:30:00Z"));
    text.map(|text| clock::parse_rfc3339(text).ok_or_else(wrong)).transpose()
}
