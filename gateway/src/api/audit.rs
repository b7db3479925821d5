//! What people did, with its hashes, and the head of the chain for somebody else to keep.

use super::{App, Problem, Route, data::moment, extract::Query, large};
use crate::{
    audit::{self, EntryFilter, Head},
    people::{Action, Caller},
};
use axum::{Json, extract::State, routing::get};
use serde::Deserialize;
use serde_json::Value;

/// Entries in one answer, where nobody says how many.
const LIMIT: u32 = 1000;
/// Entries in one answer at most.
const LIMIT_MAX: u32 = 10_000;

pub(super) fn routes() -> Vec<Route> {
    vec![("/audit", get(entries)), ("/audit/head", get(head))]
}

#[derive(Deserialize)]
struct EntryQuery {
    from: Option<String>,
    to: Option<String>,
    limit: Option<u32>,
    cursor: Option<String>,
}

async fn entries(
    State(app): State<App>,
    caller: Caller,
    Query(asked): Query<EntryQuery>,
) -> Result<Json<Value>, Problem> {
    caller.may(Action::ReadAudit)?;
    let wrong = |_| Problem::bad_request("cursor: send back next_cursor as it was");
    let after = asked.cursor.map(|cursor| cursor.parse().map_err(wrong)).transpose()?;
    let filter = EntryFilter {
        from_ms: moment("from", asked.from.as_deref())?,
        to_ms: moment("to", asked.to.as_deref())?,
        after,
        limit: asked.limit.unwrap_or(LIMIT).clamp(1, LIMIT_MAX),
    };
    Ok(Json(
        large::ask(&app, &caller.name, move |connection| audit::entries(connection, &filter))
            .await?,
    ))
}

async fn head(State(app): State<App>, caller: Caller) -> Result<Json<Head>, Problem> {
    caller.may(Action::ReadAudit)?;
    let head = app.store.read(audit::head).await?;
    head.map(Json).ok_or_else(|| Problem::not_found("nothing was written down yet"))
}
