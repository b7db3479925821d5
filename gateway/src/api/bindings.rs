//! Which device is on whom; results that wait for a patient, and moving one.

use super::{
    App, Problem, Route,
    extract::{JsonBody, Path, Query},
    patients::write,
};
use crate::{
    alerts::{Context, Evaluation},
    clock,
    patients::{
        binding::{self, BindingEnd, BindingFilter, NewBinding},
        tray::{self, AfterMeal, PlaceOfReading, Reassign, TrayFilter, WAITING_MAX},
    },
    people::{Action, Caller},
};
use axum::{
    Json,
    extract::State,
    http::StatusCode,
    routing::{delete, get, post},
};
use rusqlite::Connection;
use serde::Deserialize;
use serde_json::Value;
use std::sync::Arc;

pub(super) fn routes() -> Vec<Route> {
    vec![
        ("/bindings", get(list).post(bind)),
        ("/bindings/{id}", delete(unbind)),
        ("/tray", get(waiting)),
        ("/readings/{outbox}/{lane}/{seq}/{index}/reassign", post(reassign)),
        ("/readings/{outbox}/{lane}/{seq}/{index}/after-meal", post(after_meal)),
    ]
}

#[derive(Deserialize)]
struct BindingQuery {
    site: Option<String>,
    device: Option<String>,
    patient: Option<String>,
    #[serde(default)]
    all: bool,
}

async fn list(
    State(app): State<App>,
    caller: Caller,
    Query(BindingQuery { site, device, patient, all }): Query<BindingQuery>,
) -> Result<Json<Value>, Problem> {
    caller.may(Action::SeeReadings)?;
    let filter = BindingFilter { site, device, patient, all, scope: caller.scope };
    Ok(Json(app.store.read(move |connection| binding::list(connection, &filter)).await?))
}

async fn bind(
    State(app): State<App>,
    caller: Caller,
    JsonBody(body): JsonBody<NewBinding>,
) -> Result<(StatusCode, Json<Value>), Problem> {
    caller.may(Action::WritePatients)?;
    if body.moves_readings() {
        caller.may(Action::ReassignReadings)?;
    }
    let (clinics, now) = (Arc::clone(&app.clinics), clock::now());
    let bind = move |context: Context<'_>, evaluation: &mut Evaluation| {
        let made = binding::bind(context.connection, &clinics, &body, &caller, now)?;
        evaluation.began(context, &made)?;
        Ok(made.told())
    };
    Ok((StatusCode::CREATED, Json(write(&app, now, bind).await?)))
}

async fn unbind(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<i64>,
    JsonBody(body): JsonBody<BindingEnd>,
) -> Result<Json<Value>, Problem> {
    caller.may(Action::CareForPatients)?;
    let (clinics, now) = (Arc::clone(&app.clinics), clock::now());
    let unbind = move |context: Context<'_>, evaluation: &mut Evaluation| {
        let ended = binding::unbind(context.connection, &clinics, id, &body, &caller, now)?;
        evaluation.ended(context, &ended)?;
        Ok(ended.binding.told())
    };
    Ok(Json(write(&app, now, unbind).await?))
}

#[derive(Deserialize)]
struct TrayQuery {
    clinic: Option<String>,
    limit: Option<usize>,
    cursor: Option<i64>,
}

async fn waiting(
    State(app): State<App>,
    caller: Caller,
    Query(TrayQuery { clinic, limit, cursor }): Query<TrayQuery>,
) -> Result<Json<Value>, Problem> {
    caller.may(Action::SeeReadings)?;
    let clinics = Arc::clone(&app.clinics);
    let limit = limit.unwrap_or(WAITING_MAX).clamp(1, WAITING_MAX);
    let filter = TrayFilter { clinic, before: cursor, limit, scope: caller.scope };
    let tray = move |connection: &Connection| tray::tray(connection, &clinics, &filter);
    Ok(Json(app.store.read(tray).await?))
}

async fn reassign(
    State(app): State<App>,
    caller: Caller,
    Path(place): Path<PlaceOfReading>,
    JsonBody(body): JsonBody<Reassign>,
) -> Result<Json<Value>, Problem> {
    caller.may(Action::ReassignReadings)?;
    let now = clock::now();
    let reassign = move |context: Context<'_>, evaluation: &mut Evaluation| {
        let moved = tray::reassign(context.connection, &place, &body, &caller, now)?;
        evaluation.moved(context, &moved)?;
        Ok(tray::told(context.connection, moved.group)?)
    };
    Ok(Json(write(&app, now, reassign).await?))
}

async fn after_meal(
    State(app): State<App>,
    caller: Caller,
    Path(place): Path<PlaceOfReading>,
    JsonBody(body): JsonBody<AfterMeal>,
) -> Result<Json<Value>, Problem> {
    caller.may(Action::ReassignReadings)?;
    let now = clock::now();
    let confirm = move |context: Context<'_>, _: &mut Evaluation| {
        let connection = context.connection;
        let group = tray::confirm_two_hours(connection, &place, &body, &caller, now)?;
        Ok(tray::told(connection, group)?)
    };
    Ok(Json(write(&app, now, confirm).await?))
}
