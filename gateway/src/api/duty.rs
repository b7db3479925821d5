//! Who is on duty, and what the alerts of a time came to.

use super::{
    App, Problem, Route,
    data::moment,
    extract::{JsonBody, Query},
    large,
};
use crate::{
    audit::{self, Entry},
    clock,
    code::Code,
    duty::{self, PERSON_LEN_MAX, PlanError, SHIFTS_MAX, Shift},
    figures,
    people::{Action, Caller},
    query::with_clinic,
};
use axum::{Json, extract::State, routing::get};
use model::id::SiteId;
use rusqlite::Connection;
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

async fn plans(State(app): State<App>, caller: Caller) -> Result<Json<Value>, Problem> {
    caller.may(Action::SeeAlerts)?;
    let asking = move |connection: &Connection| duty::plans(connection, &caller.scope);
    Ok(Json(app.store.read(asking).await?))
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
    caller.may(Action::ChangeDuty)?;
    let is_theirs = match (caller.scope.names(), &township) {
        (None, _) => true,
        (Some(names), Some(township)) => names.contains(township),
        (Some(_), None) => false,
    };
    if !is_theirs {
        let text = "name one of your own clinics, or ask somebody of the county";
        return Err(Problem::new(Code::OtherTownship, text));
    }
    duty::check(&shifts)?;
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
        let named = duty::name_next(transaction)?;
        Ok((duty::plans(transaction, &caller.scope)?, named))
    };
    let (plans, named) = app.store.write(change).await?;
    for alert in named {
        app.events.publish("alert", &with_clinic(alert, &app.clinics), None);
    }
    Ok(Json(plans))
}

impl From<PlanError> for Problem {
    fn from(error: PlanError) -> Self {
        let text = error.to_string();
        match error {
            PlanError::TooMany(_) => Self::new(Code::PlanLong, text).with("max", SHIFTS_MAX),
            PlanError::Hours(_) => Self::new(Code::PlanHours, text),
            PlanError::Person(_) => Self::new(Code::PlanPerson, text).with("max", PERSON_LEN_MAX),
            PlanError::Overlap(_) => Self::new(Code::PlanOverlap, text),
        }
    }
}

#[derive(Deserialize)]
struct Period {
    from: Option<String>,
    to: Option<String>,
}

async fn told(
    State(app): State<App>,
    caller: Caller,
    Query(Period { from, to }): Query<Period>,
) -> Result<Json<Value>, Problem> {
    caller.may(Action::SeeAlerts)?;
    let asks = caller.name.clone();
    let to_ms = moment("to", to.as_deref())?.unwrap_or_else(|| clock::now().unix_ms());
    let from_ms = moment("from", from.as_deref())?.unwrap_or(to_ms.saturating_sub(WEEK_MS));
    if !(1..=FIGURES_MAX_MS).contains(&to_ms.saturating_sub(from_ms)) {
        return Err(Problem::bad_request("from, to: from is before to, by 93 days at most"));
    }
    let (clinics, rules) = (Arc::clone(&app.clinics), app.rules.rules());
    let figures = move |connection: &Connection| {
        // What the county says of its own service is for administrators, and is no ward's.
        let is_theirs = |site: &str| site != SiteId::county().as_str() && caller.reaches(site);
        figures::figures(connection, &clinics, is_theirs, &rules, from_ms, to_ms)
    };
    Ok(Json(large::ask(&app, &asks, figures).await?))
}
