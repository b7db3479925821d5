//! Patients, and what nurses enter.

use super::{
    App, Problem, Route,
    extract::{JsonBody, Path, Query},
};
use crate::{
    clock,
    patients::{
        self, Body, PatientFilter, Refused,
        entry::{self, NewEntry},
    },
    people::{Action, Caller},
};
use axum::{
    Json,
    extract::State,
    http::StatusCode,
    routing::{get, post},
};
use rusqlite::{Connection, Transaction};
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;

pub(super) fn routes() -> Vec<Route> {
    vec![
        ("/patients", get(list).post(add)),
        ("/patients/{id}", get(one).patch(change)),
        ("/patients/{id}/unmask", post(unmask)),
        ("/patients/{id}/entries", get(entries).post(enter)),
    ]
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::NotFound(detail) => Self::not_found(detail),
            Refused::Wrong(detail) => Self::bad_request(detail),
            Refused::Taken { detail, by } => {
                Self::new(StatusCode::CONFLICT, "Somebody was first", detail).with("by", by)
            }
            Refused::Database(error) => crate::store::StoreError::from(error).into(),
        }
    }
}

/// Runs a change in a transaction of its own; one that is refused has changed nothing.
pub(super) async fn write<T: Send + 'static>(
    app: &App,
    change: impl FnOnce(&Connection) -> Result<T, Refused> + Send + 'static,
) -> Result<T, Problem> {
    let change = move |transaction: &Transaction<'_>| {
        transaction.execute_batch("SAVEPOINT change")?;
        let done = asked(change(transaction))?;
        if done.is_err() {
            transaction.execute_batch("ROLLBACK TO change")?;
        }
        Ok(done)
    };
    Ok(app.store.write(change).await??)
}

/// Asks a question about somebody who may not be there.
async fn read<T: Send + 'static>(
    app: &App,
    question: impl FnOnce(&Connection) -> Result<T, Refused> + Send + 'static,
) -> Result<T, Problem> {
    Ok(app.store.read(move |connection| asked(question(connection))).await??)
}

/// A database that fails is no refusal.
fn asked<T>(done: Result<T, Refused>) -> rusqlite::Result<Result<T, Refused>> {
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
}

async fn list(
    State(app): State<App>,
    caller: Caller,
    Query(PatientQuery { clinic, all }): Query<PatientQuery>,
) -> Result<Json<Value>, Problem> {
    caller.may(Action::SeeReadings)?;
    let filter = PatientFilter { clinic, all, scope: caller.scope };
    let now = clock::now();
    let told = app.store.read(move |connection| patients::list(connection, &filter, now));
    Ok(Json(told.await?))
}

async fn one(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<Value>, Problem> {
    caller.may(Action::SeeReadings)?;
    let now = clock::now();
    Ok(Json(
        read(&app, move |connection| patients::one(connection, &caller.scope, &id, now)).await?,
    ))
}

async fn add(
    State(app): State<App>,
    caller: Caller,
    JsonBody(body): JsonBody<Body>,
) -> Result<(StatusCode, Json<Value>), Problem> {
    caller.may(Action::WritePatients)?;
    let (clinics, now) = (Arc::clone(&app.clinics), clock::now());
    let add =
        move |connection: &Connection| patients::add(connection, &clinics, body, &caller, now);
    Ok((StatusCode::CREATED, Json(write(&app, add).await?)))
}

async fn change(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
    JsonBody(body): JsonBody<Body>,
) -> Result<Json<Value>, Problem> {
    caller.may(Action::WritePatients)?;
    let (clinics, now) = (Arc::clone(&app.clinics), clock::now());
    let change = move |connection: &Connection| {
        patients::change(connection, &clinics, &id, body, &caller, now)
    };
    Ok(Json(write(&app, change).await?))
}

async fn unmask(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<Value>, Problem> {
    caller.may(Action::SeeNames)?;
    let now = clock::now();
    let unmask = move |connection: &Connection| patients::unmasked(connection, &id, &caller, now);
    Ok(Json(write(&app, unmask).await?))
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
    caller.may(Action::WritePatients)?;
    let now = clock::now();
    let enter = move |connection: &Connection| {
        entry::enter(connection, &id, &body, &caller, now)?;
        Ok(json!({"entries": entry::entries(connection, &id)?}))
    };
    Ok(Json(write(&app, enter).await?))
}
