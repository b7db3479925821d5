//! Sites, devices, readings, waveforms, the ledger, the catalogue.

use super::{App, Problem};
use crate::{
    clock,
    people::Caller,
    query::{self, ReadingFilter},
};
use axum::{
    Json, Router,
    extract::{Query, State},
    routing::get,
};
use model::metric::{Kind, Metric};
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;

/// Readings in one answer, where nobody says how many.
const LIMIT: u32 = 1000;
/// Readings in one answer at most.
const LIMIT_MAX: u32 = 10_000;

pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/sites", get(sites))
        .route("/devices", get(devices))
        .route("/readings", get(readings))
        .route("/waveforms", get(waveforms))
        .route("/ledger", get(ledger))
        .route("/metrics-catalogue", get(catalogue))
}

async fn sites(State(app): State<App>, _: Caller) -> Result<Json<Value>, Problem> {
    let clinics = Arc::clone(&app.clinics);
    let mut answer = app.store.read(move |connection| query::sites(connection, &clinics)).await?;
    if let Some(fields) = answer.as_object_mut() {
        fields.insert("broker".to_owned(), json!({"up": *app.broker_up.borrow()}));
    }
    Ok(Json(answer))
}

async fn devices(State(app): State<App>, _: Caller) -> Result<Json<Value>, Problem> {
    let clinics = Arc::clone(&app.clinics);
    Ok(Json(app.store.read(move |connection| query::devices(connection, &clinics)).await?))
}

#[derive(Deserialize)]
struct ReadingQuery {
    site: Option<String>,
    device: Option<String>,
    metric: Option<String>,
    from: Option<String>,
    to: Option<String>,
    limit: Option<u32>,
    cursor: Option<String>,
}

async fn readings(
    State(app): State<App>,
    _: Caller,
    Query(asked): Query<ReadingQuery>,
) -> Result<Json<Value>, Problem> {
    let after = asked.cursor.map(|cursor| {
        let parts = cursor
            .split_once('.')
            .and_then(|(observed, id)| Some((observed.parse().ok()?, id.parse().ok()?)));
        parts.ok_or_else(|| Problem::bad_request("cursor: send back next_cursor as it was"))
    });
    let filter = ReadingFilter {
        site: asked.site,
        device: asked.device,
        metric: asked.metric,
        from_ms: moment("from", asked.from.as_deref())?,
        to_ms: moment("to", asked.to.as_deref())?,
        after: after.transpose()?,
        limit: asked.limit.unwrap_or(LIMIT).clamp(1, LIMIT_MAX),
    };
    Ok(Json(app.store.read(move |connection| query::readings(connection, &filter)).await?))
}

#[derive(Deserialize)]
struct WaveformQuery {
    site: Option<String>,
    device: String,
    metric: String,
    from: Option<String>,
    to: Option<String>,
}

async fn waveforms(
    State(app): State<App>,
    _: Caller,
    Query(asked): Query<WaveformQuery>,
) -> Result<Json<Value>, Problem> {
    let from = moment("from", asked.from.as_deref())?.unwrap_or(0);
    let to = moment("to", asked.to.as_deref())?.unwrap_or(i64::MAX);
    let answer = app
        .store
        .read(move |connection| {
            query::waveforms(
                connection,
                asked.site.as_deref(),
                &asked.device,
                &asked.metric,
                from,
                to,
            )
        })
        .await?;
    Ok(Json(answer))
}

#[derive(Deserialize)]
struct LedgerQuery {
    site: Option<String>,
}

async fn ledger(
    State(app): State<App>,
    _: Caller,
    Query(asked): Query<LedgerQuery>,
) -> Result<Json<Value>, Problem> {
    Ok(Json(
        app.store.read(move |connection| query::ledger(connection, asked.site.as_deref())).await?,
    ))
}

async fn catalogue(_: Caller) -> Json<Value> {
    let kind = |kind| match kind {
        Kind::Stream => "stream",
        Kind::Spot => "spot",
        Kind::Wave => "wave",
        Kind::State => "state",
        Kind::Event => "event",
    };
    let metrics: Vec<Value> = Metric::all()
        .map(|metric| {
            let row = metric.row();
            json!({
                "metric": row.name, "name_zh": row.name_zh, "name_en": row.name_en,
                "class": row.class.name(), "kind": kind(row.kind), "decimals": row.decimals,
                "canonical_unit": row.canonical_unit.as_ref().map(ToString::to_string),
            })
        })
        .collect();
    Json(json!({"metrics": metrics}))
}

/// A moment of a query, as milliseconds.
pub(super) fn moment(name: &str, text: Option<&str>) -> Result<Option<i64>, Problem> {
    let wrong =
        || Problem::bad_request(format!("{name}: write a moment such as 2026-11-22T08:30:00Z"));
    text.map(|text| clock::parse_rfc3339(text).ok_or_else(wrong)).transpose()
}
