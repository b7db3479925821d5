//! Boards that are open, and whether each can be heard.

use super::{
    App, Problem, Route,
    extract::{JsonBody, Path},
    own::Session,
};
use crate::{
    boards::{self, Sound, Word},
    clock,
    patients::{Refused, name::check_of_board},
    people::{Action, Caller, Scope},
    store::StoreError,
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
use std::collections::BTreeSet;

/// Longest name, in letters.
const NAME_MAX: usize = 32;
/// Digits of the number that a page gives itself, at most.
const BOARD_MAX: usize = 32;

pub(super) fn routes() -> Vec<Route> {
    vec![("/boards", get(list)), ("/boards/sound", post(tell)), ("/boards/{board}", delete(leave))]
}

async fn list(State(app): State<App>, caller: Caller) -> Result<Json<Value>, Problem> {
    caller.may(Action::SeeAlerts)?;
    let own = app.store.read(boards::own_clinics).await?;
    Ok(Json(app.boards.told(&caller.scope, &app.clinics, &own)))
}

#[derive(Deserialize)]
struct Told {
    board: String,
    name: String,
    sound: Sound,
}

async fn tell(
    State(app): State<App>,
    caller: Caller,
    session: Session,
    JsonBody(Told { board, name, sound }): JsonBody<Told>,
) -> Result<StatusCode, Problem> {
    caller.may(Action::SeeAlerts)?;
    let name = board_name(&name)?;
    let is_number = |letter: char| letter.is_ascii_hexdigit() || letter == '-';
    if board.is_empty() || board.len() > BOARD_MAX || !board.chars().all(is_number) {
        let text = format!("board: 1 to {BOARD_MAX} hex digits, the same while the page is open");
        return Err(Problem::bad_request(text));
    }
    let checked = match app.boards.is_named(&session.hash(), &name) {
        true => Ok(()),
        false => check_name(&app, &caller.scope, &name).await?,
    };
    // A clinic is heard under whatever name.
    let name = if checked.is_ok() { name } else { NAMELESS.to_owned() };
    let word = Word { session: session.hash(), board, name, sound, scope: caller.scope };
    if app.boards.heard(word, clock::now()) {
        boards::tell(&app.events);
    }
    Ok(checked.map(|()| StatusCode::NO_CONTENT)?)
}

/// What a board is called that says a patient's name.
const NAMELESS: &str = "–";

/// What a board may be called; no other is written into a story.
fn board_name(name: &str) -> Result<String, Problem> {
    let name = name.trim();
    let letters = name.chars().count();
    if !(1..=NAME_MAX).contains(&letters) || name.chars().any(char::is_control) {
        return Err(Problem::bad_request(format!("board's name: 1 to {NAME_MAX} letters")));
    }
    Ok(name.to_owned())
}

/// Whether a board may be called so: its name stands in the stories of alerts and in the audit.
async fn check_name(
    app: &App,
    scope: &Scope,
    name: &str,
) -> Result<Result<(), Refused>, StoreError> {
    let clinics: BTreeSet<String> = match scope.names() {
        Some(names) => names.clone(),
        None => app.clinics.values().cloned().collect(),
    };
    let name = name.to_owned();
    let check = move |connection: &Connection| {
        Ok(check_of_board(connection, clinics.iter().map(String::as_str), &name))
    };
    app.store.read(check).await
}

/// The name of the board at which somebody acts, as it is written into a story: without one where it
/// is a patient's, because no act waits for another name.
pub(super) async fn named_board(
    app: &App,
    (session, scope): (&Session, &Scope),
    name: &str,
) -> Result<Option<String>, Problem> {
    let name = board_name(name)?;
    let is_known = app.boards.is_named(&session.hash(), &name);
    let is_good = is_known || matches!(check_name(app, scope, &name).await, Ok(Ok(())));
    Ok(is_good.then_some(name))
}

async fn leave(
    State(app): State<App>,
    caller: Caller,
    session: Session,
    Path(board): Path<String>,
) -> Result<StatusCode, Problem> {
    caller.may(Action::SeeAlerts)?;
    if app.boards.left(&session.hash(), Some(&board)) {
        boards::tell(&app.events);
    }
    Ok(StatusCode::NO_CONTENT)
}
