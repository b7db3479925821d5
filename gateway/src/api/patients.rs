//! Patients, their limits, what nurses enter, who is to be referred.

use super::{
    App, Problem, Route,
    extract::{JsonBody, Path, Query},
    large,
};
use crate::{
    alerts::{self, Context, Evaluation},
    clock,
    code::Code,
    patients::{
        self, Body, PatientFilter, Refused, about,
        entry::{self, NewEntry},
        followup::{self, FollowUpFilter},
        limit::{self, NewLimit},
    },
    people::{Action, Caller},
    query::with_clinic,
};
use axum::{
    Json,
    extract::State,
    http::StatusCode,
    routing::{delete, get, post},
};
use model::time::WallTime;
use rules::population::{LIMITS_MAX, LimitError};
use rusqlite::{Connection, Transaction};
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;

pub(super) fn routes() -> Vec<Route> {
    vec![
        ("/patients", get(list).post(add)),
        ("/patients/{id}", get(one).patch(change)),
        ("/patients/{id}/unmask", post(unmask)),
        ("/patients/{id}/limits", get(limits).post(set_limit)),
        ("/patients/{id}/limits/{limit}", delete(withdraw_limit)),
        ("/patients/{id}/entries", get(entries).post(enter)),
        ("/followup", get(follow_up)),
    ]
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::NotFound(detail) => Self::not_found(detail),
            Refused::Wrong(detail) => Self::bad_request(detail),
            Refused::Because(code, detail) => Self::new(code, detail),
            Refused::Limit(mistake) => limit_refused(mistake),
            Refused::Named(detail) => Self::new(Code::Named, detail),
            Refused::Taken { code, detail, by } => Self::new(code, detail).with("by", by),
            Refused::Database(error) => crate::store::StoreError::from(error).into(),
        }
    }
}

fn limit_refused(mistake: LimitError) -> Problem {
    let text = mistake.to_string();
    match mistake {
        LimitError::Implausible { low, high, .. } => {
            Problem::new(Code::LimitRange, text).with("low", low).with("high", high)
        }
        LimitError::TooManyLimits => Problem::new(Code::LimitsMax, text).with("max", LIMITS_MAX),
        LimitError::NoSuchRule(rule) => Problem::new(Code::NoRule, text).with("rule", rule),
        LimitError::OfOthers(rule) => Problem::new(Code::RuleOfOthers, text).with("rule", rule),
        _ => Problem::new(Code::LimitRefused, text),
    }
}

/// Runs a change of patients, bindings or results, and tells boards that there was one.
pub(super) async fn write<T: Send + 'static>(
    app: &App,
    now: WallTime,
    change: impl FnOnce(Context<'_>, &mut Evaluation) -> Result<T, Refused> + Send + 'static,
) -> Result<T, Problem> {
    let done = write_unsaid(app, now, change).await?;
    app.events.publish("patients", &json!({}), None);
    Ok(done)
}

/// Runs a change in a transaction of its own, and tells boards which alerts it changed. A change
/// that is refused has changed nothing.
async fn write_unsaid<T: Send + 'static>(
    app: &App,
    now: WallTime,
    change: impl FnOnce(Context<'_>, &mut Evaluation) -> Result<T, Refused> + Send + 'static,
) -> Result<T, Problem> {
    let rules = app.rules.rules();
    let change = move |transaction: &Transaction<'_>| {
        let context = Context { connection: transaction, rules: &rules, now };
        let mut evaluation = Evaluation::default();
        transaction.execute_batch("SAVEPOINT change")?;
        match refused_or_failed(change(context, &mut evaluation))? {
            Ok(done) => Ok((Ok(done), alerts::store(context, evaluation)?)),
            Err(refused) => {
                transaction.execute_batch("ROLLBACK TO change")?;
                Ok((Err(refused), Vec::new()))
            }
        }
    };
    let (done, changed) = app.store.write(change).await?;
    if done.is_ok() {
        app.rules.tell();
    }
    for alert in changed {
        app.events.publish("alert", &with_clinic(alert, &app.clinics), None);
    }
    Ok(done?)
}

/// Asks a question about somebody who may not be there.
pub(super) async fn read<T: Send + 'static>(
    app: &App,
    question: impl FnOnce(&Connection) -> Result<T, Refused> + Send + 'static,
) -> Result<T, Problem> {
    Ok(app.store.read(move |connection| refused_or_failed(question(connection))).await??)
}

/// A database that fails is no refusal.
pub(super) fn refused_or_failed<T>(
    done: Result<T, Refused>,
) -> rusqlite::Result<Result<T, Refused>> {
    match done {
        Err(Refused::Database(error)) => Err(error),
        done => Ok(done),
    }
}

#[derive(Deserialize)]
struct PatientQuery {
    clinic: Option<String>,
    #[serde(default)]
    all: bool,
    #[serde(default)]
    here: bool,
}

async fn list(
    State(app): State<App>,
    caller: Caller,
    Query(PatientQuery { clinic, all, here }): Query<PatientQuery>,
) -> Result<Json<Value>, Problem> {
    caller.may(Action::SeeReadings)?;
    let filter = PatientFilter { clinic, all, here, scope: caller.scope };
    let (rules, now) = (app.rules.rules(), clock::now());
    let told = app.store.read(move |connection| patients::list(connection, &rules, &filter, now));
    Ok(Json(told.await?))
}

async fn one(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<Value>, Problem> {
    caller.may(Action::SeeReadings)?;
    let (rules, now) = (app.rules.rules(), clock::now());
    let one =
        move |connection: &Connection| patients::one(connection, &rules, &caller.scope, &id, now);
    Ok(Json(read(&app, one).await?))
}

async fn add(
    State(app): State<App>,
    caller: Caller,
    JsonBody(body): JsonBody<Body>,
) -> Result<(StatusCode, Json<Value>), Problem> {
    caller.may(Action::WritePatients)?;
    may_care(&caller, &about::ordered(&body))?;
    let (clinics, now) = (Arc::clone(&app.clinics), clock::now());
    let add = move |Context { connection, .. }: Context<'_>, _: &mut Evaluation| {
        patients::add(connection, &clinics, body, &caller, now)
    };
    Ok((StatusCode::CREATED, Json(write(&app, now, add).await?)))
}

/// Whether the caller stands for what these fields say; who does not learns which they are.
fn may_care(caller: &Caller, fields: &[&str]) -> Result<(), Problem> {
    if fields.is_empty() {
        return Ok(());
    }
    let allowed = caller.may(Action::CareForPatients);
    allowed.map_err(|refusal| Problem::from(refusal).in_field(&fields.join(", ")))
}

async fn change(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
    JsonBody(body): JsonBody<Body>,
) -> Result<Json<Value>, Problem> {
    caller.may(Action::WritePatients)?;
    may_care(&caller, &about::cared_for(&body))?;
    let (clinics, now) = (Arc::clone(&app.clinics), clock::now());
    let change = move |context: Context<'_>, evaluation: &mut Evaluation| {
        let Context { connection, rules, .. } = context;
        let done = patients::change(connection, rules, &clinics, &id, body, &caller, now)?;
        for ended in &done.ended {
            evaluation.ended(context, ended)?;
        }
        match &done.left {
            Some(reason) => evaluation.patient_left(context, &id, reason)?,
            None => evaluation.patient_changed(context, &id)?,
        }
        Ok(done.told)
    };
    Ok(Json(write(&app, now, change).await?))
}

async fn unmask(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<Value>, Problem> {
    caller.may(Action::SeeNames)?;
    let now = clock::now();
    let unmask = move |Context { connection, .. }: Context<'_>, _: &mut Evaluation| {
        patients::unmasked(connection, &id, &caller, now)
    };
    Ok(Json(write_unsaid(&app, now, unmask).await?))
}

async fn limits(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<Value>, Problem> {
    caller.may(Action::SeeReadings)?;
    let (now, rules) = (clock::now(), app.rules.rules());
    let asked =
        move |connection: &Connection| limit::told(connection, &rules, &caller.scope, &id, now);
    Ok(Json(read(&app, asked).await?))
}

async fn set_limit(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
    JsonBody(body): JsonBody<NewLimit>,
) -> Result<Json<Value>, Problem> {
    caller.may(Action::SetLimits)?;
    let now = clock::now();
    let set = move |context: Context<'_>, evaluation: &mut Evaluation| {
        let Context { connection, rules, .. } = context;
        limit::set(connection, rules, &id, &body, &caller, now)?;
        evaluation.patient_changed(context, &id)?;
        limit::told(connection, rules, &caller.scope, &id, now)
    };
    Ok(Json(write(&app, now, set).await?))
}

async fn withdraw_limit(
    State(app): State<App>,
    caller: Caller,
    Path((id, limit)): Path<(String, i64)>,
) -> Result<Json<Value>, Problem> {
    caller.may(Action::SetLimits)?;
    let now = clock::now();
    let withdraw = move |context: Context<'_>, evaluation: &mut Evaluation| {
        let Context { connection, rules, .. } = context;
        limit::withdraw(connection, &id, limit, &caller, now)?;
        evaluation.patient_changed(context, &id)?;
        limit::told(connection, rules, &caller.scope, &id, now)
    };
    Ok(Json(write(&app, now, withdraw).await?))
}

async fn entries(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<Value>, Problem> {
    caller.may(Action::SeeReadings)?;
    let asked = move |connection: &Connection| {
        patients::find_own(connection, &caller.scope, &id)?;
        Ok(json!({"entries": entry::entries(connection, &id)?}))
    };
    Ok(Json(read(&app, asked).await?))
}

async fn enter(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
    JsonBody(body): JsonBody<NewEntry>,
) -> Result<Json<Value>, Problem> {
    caller.may(Action::CareForPatients)?;
    let now = clock::now();
    let enter = move |context: Context<'_>, evaluation: &mut Evaluation| {
        let connection = context.connection;
        entry::enter(connection, &id, &body, &caller, now)?;
        evaluation.patient_changed(context, &id)?;
        evaluation.observe(context, &id)?;
        Ok(json!({"entries": entry::entries(connection, &id)?}))
    };
    Ok(Json(write(&app, now, enter).await?))
}

#[derive(Deserialize)]
struct FollowUpQuery {
    clinic: Option<String>,
    programme: Option<String>,
    group: Option<String>,
}

async fn follow_up(
    State(app): State<App>,
    caller: Caller,
    Query(query): Query<FollowUpQuery>,
) -> Result<Json<Value>, Problem> {
    caller.may(Action::SeeReadings)?;
    let FollowUpQuery { clinic, programme, group } = query;
    let filter = FollowUpFilter { clinic, programme, group, scope: caller.scope };
    let (rules, now) = (app.rules.rules(), clock::now());
    let list = move |connection: &Connection| {
        refused_or_failed(followup::list(connection, &rules, &filter, now))
    };
    Ok(Json(large::ask(&app, &caller.name, list).await??))
}
