//! Who was told of which alert beside the board, and what came of it.

use super::{App, Problem, Route, extract::Query};
use crate::{
    notify::{self, Filter, STATES},
    people::Caller,
};
use axum::{Json, extract::State, routing::get};
use serde::Deserialize;
use serde_json::Value;

/// Notifications in one answer, where nobody says how many.
const LIMIT: u32 = 100;
/// Notifications in one answer at most.
const LIMIT_MAX: u32 = 1000;

pub(super) fn routes() -> Vec<Route> {
    vec![("/notifications", get(list))]
}

#[derive(Deserialize)]
struct NotificationQuery {
    sink: Option<String>,
    alert: Option<String>,
    state: Option<String>,
    limit: Option<u32>,
    cursor: Option<String>,
}

async fn list(
    State(app): State<App>,
    _: Caller,
    Query(asked): Query<NotificationQuery>,
) -> Result<Json<Value>, Problem> {
    // A misspelt state must not be answered with "nothing waits".
    if let Some(wrong) = asked.state.as_deref().filter(|state| !STATES.contains(state)) {
        let text = format!("state: \"{wrong}\" is none; use one of {}", STATES.join(", "));
        return Err(Problem::bad_request(text));
    }
    let wrong = |_| Problem::bad_request("cursor: send back next_cursor as it was");
    let filter = Filter {
        sink: asked.sink,
        alert: asked.alert,
        state: asked.state,
        before: asked.cursor.map(|cursor| cursor.parse().map_err(wrong)).transpose()?,
        limit: asked.limit.unwrap_or(LIMIT).clamp(1, LIMIT_MAX),
    };
    Ok(Json(app.store.read(move |connection| notify::list(connection, &filter)).await?))
}
