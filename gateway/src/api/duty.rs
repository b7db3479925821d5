//! Who is on duty, and what the alerts of a time came to.

use super::{
    App, Problem, Route,
    data::moment,
    extract::{JsonBody, Query},
};
use crate::{
    audit::{self, Entry},
    clock,
    duty::{self, Shift},
    figures,
    people::{Caller, CallerKind, Role},
};
use axum::{Json, extract::State, http::StatusCode, routing::get};
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;

/// A week: figures are asked for as reports are.
const WEEK_MS: i64 = 7 * 24 * 3_600_000;
/// A quarter; each day of each device is looked at.
const FIGURES_MAX_MS: i64 = 93 * 24 * 3_600_000;

pub(super) fn routes() -> Vec<Route> {
    vec![("/duty", get(plans).put(replace)), ("/figures", get(told))]
}

async fn plans(State(app): State<App>, _: Caller) -> Result<Json<Value>, Problem> {
    Ok(Json(app.store.read(duty::plans).await?))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Plan {
    /// `null` is the county.
    township: Option<String>,
    shifts: Vec<Shift>,
}

async fn replace(
    State(app): State<App>,
    caller: Caller,
    JsonBody(Plan { township, shifts }): JsonBody<Plan>,
) -> Result<Json<Value>, Problem> {
    let may = matches!(caller.role, Role::Doctor | Role::Engineer);
    if caller.kind == CallerKind::Program || !may {
        let title = "This role does not say who is on duty";
        return Err(Problem::new(StatusCode::FORBIDDEN, title, "log in as a doctor or engineer"));
    }
    duty::check(&shifts).map_err(|error| Problem::bad_request(error.to_string()))?;
    let is_known = |name: &String| app.clinics.values().any(|clinic| clinic == name);
    if township.as_ref().is_some_and(|name| !is_known(name)) {
        let text = "township: no clinic of gateway.toml has this name; see clinic in /api/v1/sites";
        return Err(Problem::bad_request(text));
    }
    let now = clock::now();
    let change = move |transaction: &rusqlite::Transaction<'_>| {
        let township = township.as_deref();
        duty::replace(transaction, township, &shifts)?;
        let (who, what) = (caller.name.as_str(), township.unwrap_or("county"));
        let detail = json!({"shifts": shifts});
        audit::append(transaction, now, &Entry { who, action: "duty", what, detail })?;
        duty::plans(transaction)
    };
    Ok(Json(app.store.write(change).await?))
}

#[derive(Deserialize)]
struct Period {
    from: Option<String>,
    to: Option<String>,
}

async fn told(
    State(app): State<App>,
    _: Caller,
    Query(Period { from, to }): Query<Period>,
) -> Result<Json<Value>, Problem> {
    let to_ms = moment("to", to.as_deref())?.unwrap_or_else(|| clock::now().unix_ms());
    let from_ms = moment("from", from.as_deref())?.unwrap_or(to_ms.saturating_sub(WEEK_MS));
    if !(1..=FIGURES_MAX_MS).contains(&to_ms.saturating_sub(from_ms)) {
        return Err(Problem::bad_request("from, to: from is before to, by 93 days at most"));
    }
    let (clinics, rules) = (Arc::clone(&app.clinics), Arc::clone(&app.rules));
    let figures = move |connection: &rusqlite::Connection| {
        figures::figures(connection, &clinics, rules.times(), from_ms, to_ms)
    };
    Ok(Json(app.store.read(figures).await?))
}
