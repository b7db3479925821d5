//! Sites, devices, readings, waveforms, the ledger, the catalogue.

use super::{App, Problem, Route, extract::Query};
use crate::{
    clock,
    ledger::{self, Ledger},
    people::{Action, Caller, Scope},
    query::{self, Place, ReadingFilter, WaveformFilter},
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

pub(super) fn routes() -> Vec<Route> {
    vec![
        ("/sites", get(sites)),
        ("/devices", get(devices)),
        ("/readings", get(readings)),
        ("/waveforms", get(waveforms)),
        ("/ledger", get(account)),
        ("/metrics-catalogue", get(catalogue)),
    ]
}

async fn sites(State(app): State<App>, caller: Caller) -> Result<Json<Value>, Problem> {
    caller.may(Action::SeeSites)?;
    let clinics = Arc::clone(&app.clinics);
    let mut answer = app.store.read(move |connection| query::sites(connection, &clinics)).await?;
    leave(&mut answer, "sites", &caller.scope);
    if let Some(fields) = answer.as_object_mut() {
        fields.insert("broker".to_owned(), json!({"up": *app.broker_up.borrow()}));
        fields.insert("disk".to_owned(), app.store.disk().found().json());
    }
    Ok(Json(answer))
}

async fn devices(State(app): State<App>, caller: Caller) -> Result<Json<Value>, Problem> {
    caller.may(Action::SeeReadings)?;
    let clinics = Arc::clone(&app.clinics);
    let asked = move |connection: &Connection| query::devices(connection, &clinics);
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
        metric: asked.metric,
        from_ms: moment("from", asked.from.as_deref())?,
        to_ms: moment("to", asked.to.as_deref())?,
        after: after(asked.cursor.as_deref())?,
        limit: asked.limit.unwrap_or(LIMIT).clamp(1, LIMIT_MAX),
        scope: caller.scope,
    };
    if asked.patient.is_some() {
        // No device is bound to a patient yet: nobody has readings, rather than everybody's.
        return Ok(Json(json!({"readings": [], "next_cursor": null})));
    }
    Ok(Json(app.store.read(move |connection| query::readings(connection, &filter)).await?))
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
    Ok(Json(app.store.read(move |connection| query::waveforms(connection, &filter)).await?))
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
