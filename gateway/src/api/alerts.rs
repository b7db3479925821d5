//! Alerts, and what persons do with them.

use super::{
    App, Problem, Route,
    boards::named_board,
    data::moment,
    extract::{JsonBody, Path, Query},
    own::Session,
    patients::read,
};
use crate::{
    alerts::act::{self, Deed, Done, Refusal, Service, Who},
    clock,
    code::Code,
    figures,
    patients::name,
    people::{Action, Caller, Scope, able},
    query::{self, AlertFilter, with_clinic},
};
use axum::{
    Json,
    extract::{FromRequestParts, State},
    http::request::Parts,
    routing::{get, post},
};
use model::{
    id::{DeviceId, SiteId},
    time::WallTime,
};
use rules::{
    alert::{AckReason, AlertId, AlertState},
    danger::DangerSign,
    engine::{Action as Act, ActionError},
};
use rusqlite::Connection;
use serde::Deserialize;
use serde_json::{Value, json};
use std::{collections::BTreeSet, sync::Arc};

/// Longest note, in letters.
const NOTE_MAX: usize = 500;
/// Longest reason, in letters.
const REASON_MAX: usize = 200;

pub(super) fn routes() -> Vec<Route> {
    vec![
        ("/alerts", get(list)),
        ("/alerts/{id}", get(one)),
        ("/alerts/{id}/people", get(people)),
        ("/alerts/{id}/acknowledge", post(acknowledge)),
        ("/alerts/{id}/shelve", post(shelve)),
        ("/alerts/{id}/unshelve", post(unshelve)),
        ("/alerts/{id}/assign", post(assign)),
        ("/alerts/{id}/escalate", post(escalate)),
        ("/alerts/{id}/note", post(note)),
        ("/alerts/{id}/danger-signs", post(danger_signs)),
        ("/alerts/{id}/undo", post(undo)),
        ("/alerts/{id}/out-of-service", post(out_of_service).delete(in_service)),
        ("/devices/{site}/{device}/out-of-service", post(take_off).delete(put_back)),
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
    let now = clock::now();
    let asking = move |connection: &Connection| {
        let mut answer = query::alerts(connection, &filter, &clinics)?;
        let is_shown = |site: &str| {
            (site == SiteId::county().as_str()) == service
                && filter.scope.holds(site)
                && filter.site.as_deref().is_none_or(|of| of == site)
        };
        let fatigue = figures::fatigue(connection, is_shown, now)?;
        if let Some(members) = answer.as_object_mut() {
            members.extend(fatigue.map(|(name, value)| (name.to_owned(), value)));
        }
        Ok(answer)
    };
    Ok(Json(app.store.read(asking).await?))
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
    Problem::new(Code::NoAlert, "no alert has this id; fetch the list again")
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

/// Whom one may hand it to, or name as the second.
async fn people(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<Value>, Problem> {
    let (_, site) = of_alert(&app, &caller, &id).await?;
    let site = SiteId::stored(&site).map_err(|_| not_found())?;
    let now = clock::now();
    let ask = move |connection: &Connection| able::able(connection, &site, now);
    Ok(Json(json!({"people": app.store.read(ask).await?})))
}

#[derive(Deserialize)]
struct Acknowledge {
    reason: Option<String>,
    #[serde(default)]
    note: String,
}

async fn acknowledge(
    State(app): State<App>,
    actor: Actor,
    JsonBody(body): JsonBody<Acknowledge>,
) -> Result<Json<Value>, Problem> {
    let reason = body.reason.as_deref().and_then(AckReason::from_name).ok_or_else(|| {
        let reasons: Vec<_> = AckReason::ALL.iter().copied().map(AckReason::name).collect();
        Problem::bad_request(format!("reason: one of {}", reasons.join(", ")))
    })?;
    act(&app, actor, Deed::Alert(Act::Acknowledge { reason, note: body.note })).await
}

#[derive(Deserialize)]
struct Shelve {
    reason: String,
    until: String,
    second: Option<String>,
}

async fn shelve(
    State(app): State<App>,
    actor: Actor,
    JsonBody(Shelve { reason, until, second }): JsonBody<Shelve>,
) -> Result<Json<Value>, Problem> {
    let until_ms = moment("until", Some(&until))?.unwrap_or_default();
    let until = WallTime::from_unix_ms(until_ms);
    let reason = said("reason", reason)?;
    act(&app, actor, Deed::Alert(Act::Shelve { reason, until, second })).await
}

async fn unshelve(State(app): State<App>, actor: Actor) -> Result<Json<Value>, Problem> {
    act(&app, actor, Deed::Alert(Act::Unshelve)).await
}

#[derive(Deserialize)]
struct Assign {
    to: String,
    #[serde(alias = "note", default)]
    reason: String,
}

async fn assign(
    State(app): State<App>,
    actor: Actor,
    JsonBody(Assign { to, reason }): JsonBody<Assign>,
) -> Result<Json<Value>, Problem> {
    let reason = said("reason", reason)?;
    act(&app, actor, Deed::Alert(Act::Assign { to, reason })).await
}

#[derive(Deserialize)]
struct Escalate {
    #[serde(alias = "note", default)]
    reason: String,
}

async fn escalate(
    State(app): State<App>,
    actor: Actor,
    JsonBody(Escalate { reason }): JsonBody<Escalate>,
) -> Result<Json<Value>, Problem> {
    let reason = said("reason", reason)?;
    act(&app, actor, Deed::Alert(Act::Escalate { reason })).await
}

#[derive(Deserialize)]
struct Note {
    #[serde(default)]
    note: String,
}

async fn note(
    State(app): State<App>,
    actor: Actor,
    JsonBody(Note { note }): JsonBody<Note>,
) -> Result<Json<Value>, Problem> {
    let text = said("note", note)?;
    act(&app, actor, Deed::Alert(Act::Note { text })).await
}

#[derive(Deserialize)]
struct DangerSigns {
    signs: Vec<String>,
}

async fn danger_signs(
    State(app): State<App>,
    actor: Actor,
    JsonBody(DangerSigns { signs }): JsonBody<DangerSigns>,
) -> Result<Json<Value>, Problem> {
    let known = signs.iter().map(|sign| DangerSign::from_name(sign));
    let signs: Option<BTreeSet<DangerSign>> = known.collect();
    let signs = signs.ok_or_else(|| {
        let all: Vec<_> = DangerSign::ALL.iter().copied().map(DangerSign::name).collect();
        Problem::bad_request(format!("signs: those that are there, of {}", all.join(", ")))
    })?;
    let signs = signs.into_iter().collect();
    act(&app, actor, Deed::Alert(Act::TellDangerSigns { signs })).await
}

async fn undo(State(app): State<App>, actor: Actor) -> Result<Json<Value>, Problem> {
    act(&app, actor, Deed::Alert(Act::Undo)).await
}

#[derive(Deserialize)]
struct OutOfService {
    reason: String,
    until: Option<String>,
}

impl OutOfService {
    fn service(self) -> Result<Service, Problem> {
        let until = moment("until", self.until.as_deref())?.map(WallTime::from_unix_ms);
        if until.is_some_and(|until| until <= clock::now()) {
            let text = "until: that moment is over; name a later one";
            return Err(Problem::new(Code::MomentOver, text));
        }
        Ok(Service::Out { reason: said("reason", self.reason)?, until })
    }
}

async fn out_of_service(
    State(app): State<App>,
    actor: Actor,
    JsonBody(body): JsonBody<OutOfService>,
) -> Result<Json<Value>, Problem> {
    act(&app, actor, Deed::Service(body.service()?)).await
}

async fn in_service(State(app): State<App>, actor: Actor) -> Result<Json<Value>, Problem> {
    act(&app, actor, Deed::Service(Service::Back)).await
}

async fn take_off(
    State(app): State<App>,
    placed: Placed,
    JsonBody(body): JsonBody<OutOfService>,
) -> Result<Json<Value>, Problem> {
    serve(&app, placed, body.service()?).await
}

async fn put_back(State(app): State<App>, placed: Placed) -> Result<Json<Value>, Problem> {
    serve(&app, placed, Service::Back).await
}

async fn serve(app: &App, placed: Placed, service: Service) -> Result<Json<Value>, Problem> {
    let Placed { session, board, site, device } = placed;
    if let Service::Out { reason, .. } = &service {
        bounded("reason", reason, REASON_MAX)?;
        let (site, device, text) = (site.to_string(), device.to_string(), reason.clone());
        let clinic = query::clinic(&app.clinics, &site);
        read(app, move |connection| {
            let (place, said) = ((&*site, &*device), ("reason", &*text));
            name::check_of_device(connection, place, clinic.as_deref(), said)
        })
        .await?;
    }
    let (rules, now) = (app.rules.rules(), clock::now());
    let who = Who { name: session.name().to_owned(), board };
    let done = act::serve(&app.store, rules, (site, device), who, service, now).await?;
    let done = done.map_err(|error| refused(Refusal::Rules(error)))?;
    let (device, changed) = done.ok_or_else(no_device)?;
    for alert in changed {
        app.events.publish("alert", &with_clinic(alert, &app.clinics), None);
    }
    let device = with_clinic(device, &app.clinics);
    app.events.publish("device", &device, None);
    session.has_acted(app).await;
    Ok(Json(device))
}

fn no_device() -> Problem {
    Problem::new(Code::NoDevice, "no such device was heard of; fetch the list again")
}

/// Somebody who may act on the alerts of the device of the path.
struct Placed {
    session: Session,
    board: Option<String>,
    site: SiteId,
    device: DeviceId,
}

impl FromRequestParts<App> for Placed {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let caller = Caller::from_request_parts(parts, app).await?;
        caller.may(Action::ActOnAlerts)?;
        let Path((site, device)) = Path::<(String, String)>::from_request_parts(parts, app).await?;
        let place = SiteId::new(&site).ok().zip(DeviceId::new(&device).ok());
        let (site, device) = place.filter(|_| caller.reaches(&site)).ok_or_else(no_device)?;
        let session = Session::from_request_parts(parts, app).await?;
        session.is_present(app).await?;
        let board = at_board(parts, app, (&session, &caller.scope)).await?;
        Ok(Self { session, board, site, device })
    }
}

/// Somebody who may act on the alert of the path.
struct Actor {
    session: Session,
    board: Option<String>,
    id: AlertId,
    site: String,
}

impl FromRequestParts<App> for Actor {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let caller = Caller::from_request_parts(parts, app).await?;
        let Path(id) = Path::<String>::from_request_parts(parts, app).await?;
        let (id, site) = of_alert(app, &caller, &id).await?;
        let session = Session::from_request_parts(parts, app).await?;
        session.is_present(app).await?;
        let board = at_board(parts, app, (&session, &caller.scope)).await?;
        Ok(Self { session, board, id, site })
    }
}

/// The alert of a path, and its site, for somebody who may act on it.
async fn of_alert(app: &App, caller: &Caller, id: &str) -> Result<(AlertId, String), Problem> {
    let id = AlertId::from_hex(id).ok_or_else(not_found)?;
    let ask = move |connection: &Connection| query::site_of_alert(connection, id);
    let site = app.store.read(ask).await?.ok_or_else(not_found)?;
    check(caller, &site, Action::ActOnAlerts, Action::ActOnServiceAlerts)?;
    Ok((id, site))
}

#[derive(Deserialize)]
struct AtBoard {
    board: Option<String>,
}

/// The name of the board at which somebody acts, if it tells one.
async fn at_board(
    parts: &mut Parts,
    app: &App,
    of: (&Session, &Scope),
) -> Result<Option<String>, Problem> {
    let Query(AtBoard { board }) = Query::from_request_parts(parts, app).await?;
    match board {
        Some(name) => named_board(app, of, &name).await,
        None => Ok(None),
    }
}

/// Words that must be there.
fn said(what: &str, words: String) -> Result<String, Problem> {
    match words.trim().is_empty() {
        true => Err(Problem::new(Code::WordsMissing, format!("{what}: say it in a few words"))),
        false => Ok(words),
    }
}

/// What a person wrote freely: its name in the body, its words, and how many letters it may have.
fn text_of(deed: &Deed) -> Option<(&'static str, &str, usize)> {
    match deed {
        Deed::Alert(Act::Acknowledge { note, .. } | Act::Note { text: note }) => {
            Some(("note", note, NOTE_MAX))
        }
        Deed::Alert(
            Act::Shelve { reason, .. } | Act::Assign { reason, .. } | Act::Escalate { reason },
        )
        | Deed::Service(Service::Out { reason, .. }) => Some(("reason", reason, REASON_MAX)),
        Deed::Alert(Act::Unshelve | Act::Undo | Act::TellDangerSigns { .. })
        | Deed::Service(Service::Back) => None,
    }
}

fn bounded(what: &str, text: &str, max: usize) -> Result<(), Problem> {
    let letters = text.chars().count();
    if letters > max {
        let text = format!("{what}: it has {letters} letters; write {max} at most");
        return Err(Problem::new(Code::TextTooLong, text).with("max", max));
    }
    Ok(())
}

/// Refuses a text that is too long, or has a patient's name in it.
async fn check_text(app: &App, actor: &Actor, deed: &Deed) -> Result<(), Problem> {
    let Some((what, text, max)) = text_of(deed) else { return Ok(()) };
    bounded(what, text, max)?;
    if text.is_empty() {
        return Ok(());
    }
    let clinic = query::clinic(&app.clinics, &actor.site);
    let (id, text) = (actor.id.to_string(), text.to_owned());
    read(app, move |connection| {
        name::check_of_alert(connection, &id, clinic.as_deref(), (what, &text))
    })
    .await
}

async fn act(app: &App, actor: Actor, deed: Deed) -> Result<Json<Value>, Problem> {
    check_text(app, &actor, &deed).await?;
    let Actor { session, board, id, .. } = actor;
    let (rules, now) = (app.rules.rules(), clock::now());
    let who = Who { name: session.name().to_owned(), board };
    let done = act::act(&app.store, rules, id, who, deed, now).await?;
    let Done { alert, changed, device } = done.map_err(refused)?;
    for alert in changed {
        app.events.publish("alert", &with_clinic(alert, &app.clinics), None);
    }
    if let Some(device) = device {
        app.events.publish("device", &with_clinic(device, &app.clinics), None);
    }
    session.has_acted(app).await;
    Ok(Json(with_clinic(alert, &app.clinics)))
}

/// What happened instead, and what to do.
fn refused(refusal: Refusal) -> Problem {
    let error = match refusal {
        Refusal::Rules(ActionError::NotFound) => return not_found(),
        Refusal::Rules(error) => error,
        Refusal::Nobody { name } => {
            let text =
                format!("nobody called \"{name}\" may act on this alert; …/people lists who may");
            return Problem::new(Code::Nobody, text).with("name", name);
        }
    };
    let code = match &error {
        ActionError::AlreadyAcknowledged { .. } => Code::Acknowledged,
        ActionError::AlreadyShelved { .. } => Code::Shelved,
        ActionError::OutOfService { .. } => Code::OutOfService,
        ActionError::NotYours { .. } => Code::NotYours,
        ActionError::NotFound | ActionError::NotActive => Code::AlertOver,
        ActionError::NotShelved => Code::NotShelved,
        ActionError::NotAsked => Code::NotAsked,
        ActionError::NotOfDevice => Code::NotOfDevice,
        ActionError::InService => Code::InService,
        ActionError::AtTheTop => Code::AtTheTop,
        ActionError::NothingToUndo { .. } => Code::NothingToUndo,
        ActionError::ShelfOver => Code::ShelfOver,
        ActionError::ShelfTooLong { .. } => Code::ShelfTooLong,
        ActionError::SecondNeeded { .. } => Code::SecondNeeded,
    };
    let problem = Problem::new(code, error.to_string());
    match error {
        ActionError::AlreadyAcknowledged { by } => problem.with("acknowledged_by", by),
        ActionError::AlreadyShelved { by, .. }
        | ActionError::OutOfService { by }
        | ActionError::NotYours { by } => problem.with("by", by),
        ActionError::ShelfTooLong { max_min: minutes }
        | ActionError::SecondNeeded { alone_min: minutes } => problem.with("minutes", minutes),
        _ => problem,
    }
}
