//! Alerts, and acknowledging them.

use super::{
    App, Problem, Route,
    data::moment,
    extract::{JsonBody, Path, Query},
};
use crate::{
    alerts, clock,
    people::{Action, Caller},
    query::{self, AlertFilter, with_clinic},
};
use axum::{
    Json,
    extract::State,
    http::StatusCode,
    routing::{get, post},
};
use model::id::SiteId;
use rules::alert::{AckReason, AcknowledgeError, AlertId, AlertState};
use rusqlite::Connection;
use serde::Deserialize;
use serde_json::Value;
use std::sync::Arc;

pub(super) fn routes() -> Vec<Route> {
    vec![
        ("/alerts", get(list)),
        ("/alerts/{id}", get(one)),
        ("/alerts/{id}/acknowledge", post(acknowledge)),
    ]
}

#[derive(Deserialize)]
struct AlertQuery {
    state: Option<String>,
    site: Option<String>,
    from: Option<String>,
    to: Option<String>,
}

async fn list(
    State(app): State<App>,
    caller: Caller,
    Query(asked): Query<AlertQuery>,
) -> Result<Json<Value>, Problem> {
    let service = sees_service(&caller)?;
    // A misspelt state must not be answered with "no alerts".
    let states = AlertState::ALL.iter().copied().map(AlertState::name);
    let states: Vec<_> = states.chain([query::OPEN_ALERTS]).collect();
    if let Some(wrong) = asked.state.as_deref().filter(|state| !states.contains(state)) {
        let text = format!("state: \"{wrong}\" is none; use one of {}", states.join(", "));
        return Err(Problem::bad_request(text));
    }
    let filter = AlertFilter {
        state: asked.state,
        site: asked.site,
        from_ms: moment("from", asked.from.as_deref())?,
        to_ms: moment("to", asked.to.as_deref())?,
        service: Some(service),
        scope: caller.scope,
    };
    let clinics = Arc::clone(&app.clinics);
    Ok(Json(app.store.read(move |connection| query::alerts(connection, &filter, &clinics)).await?))
}

/// Whether the caller sees alerts about the county's own service; if not, those of clinics.
fn sees_service(caller: &Caller) -> Result<bool, Problem> {
    if caller.may(Action::SeeServiceAlerts).is_ok() {
        return Ok(true);
    }
    caller.may(Action::SeeAlerts)?;
    Ok(false)
}

fn not_found() -> Problem {
    Problem::not_found("no alert has this id; fetch the list again")
}

/// Whether the caller does that with an alert of that site; `service` is what one does with those
/// about the county's own service.
fn check(caller: &Caller, site: &str, action: Action, service: Action) -> Result<(), Problem> {
    caller.may(if site == SiteId::county().as_str() { service } else { action })?;
    if caller.reaches(site) { Ok(()) } else { Err(not_found()) }
}

async fn one(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<Value>, Problem> {
    let clinics = Arc::clone(&app.clinics);
    let found = app.store.read(move |connection| query::alert(connection, &id, &clinics)).await?;
    let alert = found.ok_or_else(not_found)?;
    let site = alert.get("site").and_then(Value::as_str).unwrap_or_default();
    check(&caller, site, Action::SeeAlerts, Action::SeeServiceAlerts)?;
    Ok(Json(alert))
}

/// The id of an alert if it is there and the caller may act on it.
async fn actionable(app: &App, caller: &Caller, id: &str) -> Result<AlertId, Problem> {
    let id = AlertId::from_hex(id).ok_or_else(not_found)?;
    let ask = move |connection: &Connection| query::site_of_alert(connection, id);
    let site = app.store.read(ask).await?.ok_or_else(not_found)?;
    check(caller, &site, Action::ActOnAlerts, Action::ActOnServiceAlerts)?;
    Ok(id)
}

#[derive(Deserialize)]
struct Acknowledge {
    reason: Option<String>,
    #[serde(default)]
    note: String,
}

async fn acknowledge(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
    JsonBody(body): JsonBody<Acknowledge>,
) -> Result<Json<Value>, Problem> {
    let id = actionable(&app, &caller, &id).await?;
    let reason = body.reason.as_deref().and_then(AckReason::from_name).ok_or_else(|| {
        let reasons: Vec<_> = AckReason::ALL.iter().copied().map(AckReason::name).collect();
        Problem::bad_request(format!("reason: one of {}", reasons.join(", ")))
    })?;
    let rules = Arc::clone(&app.rules);
    let (by, note) = (caller.name, body.note);
    let done = alerts::acknowledge(&app.store, rules, id, by, reason, note, clock::now()).await?;
    match done {
        Ok(alert) => {
            let alert = with_clinic(alert, &app.clinics);
            app.events.publish("alert", &alert, None);
            Ok(Json(alert))
        }
        Err(AcknowledgeError::NotFound) => Err(not_found()),
        Err(error @ AcknowledgeError::AlreadyAcknowledged { .. }) => {
            let problem =
                Problem::new(StatusCode::CONFLICT, "Somebody was first", error.to_string());
            let AcknowledgeError::AlreadyAcknowledged { by } = error else { return Err(problem) };
            Err(problem.with("acknowledged_by", by))
        }
        Err(error @ AcknowledgeError::NotActive) => {
            Err(Problem::new(StatusCode::CONFLICT, "It is over", error.to_string()))
        }
    }
}
