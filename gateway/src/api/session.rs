//! Who asks: a person's session cookie or a program's token.

use super::{App, Problem};
use crate::{
    clock,
    people::{self, Caller},
};
use axum::{
    Json, Router,
    extract::{FromRequestParts, State},
    http::{HeaderMap, StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
    routing::post,
};
use serde::Deserialize;
use serde_json::json;
use std::{
    collections::BTreeMap,
    sync::{LazyLock, Mutex, PoisonError},
};

const COOKIE: &str = "clinic_session";
/// Wrong passwords for one name before it has to wait.
const FAILURES_MAX: u32 = 5;
/// How long it has to wait.
const WAIT_MS: i64 = 60_000;
/// Names whose failures are remembered.
const NAMES_MAX: usize = 10_000;

/// Failures by name: count and time of the last.
static FAILURES: LazyLock<Mutex<BTreeMap<String, (u32, i64)>>> = LazyLock::new(Mutex::default);

pub(super) fn routes() -> Router<App> {
    Router::new().route("/session", post(log_in).get(who).delete(log_out))
}

impl FromRequestParts<App> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let bearer = parts
            .headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "))
            .map(ToOwned::to_owned);
        let cookie = cookie(&parts.headers);
        let now_ms = clock::now().unix_ms();
        let found = app
            .store
            .read(move |connection| match (bearer, cookie) {
                (Some(token), _) => people::token(connection, &token),
                (None, Some(secret)) => people::session(connection, &secret, now_ms),
                (None, None) => Ok(None),
            })
            .await?;
        found.ok_or_else(|| {
            let title = "Nobody is logged in";
            Problem::new(StatusCode::UNAUTHORIZED, title, "log in, or send a token as Bearer")
        })
    }
}

fn cookie(headers: &HeaderMap) -> Option<String> {
    let cookies = headers.get(header::COOKIE)?.to_str().ok()?;
    let pairs = cookies.split(';').filter_map(|pair| pair.trim().split_once('='));
    pairs.into_iter().find(|(name, _)| *name == COOKIE).map(|(_, value)| value.to_owned())
}

#[derive(Deserialize)]
struct LogIn {
    name: String,
    password: String,
}

async fn log_in(State(app): State<App>, Json(log_in): Json<LogIn>) -> Result<Response, Problem> {
    let LogIn { name, password } = log_in;
    let now_ms = clock::now().unix_ms();
    if has_to_wait(&name, now_ms) {
        let title = "Too many wrong passwords";
        return Err(Problem::new(
            StatusCode::TOO_MANY_REQUESTS,
            title,
            "wait a minute and try again",
        ));
    }
    let wanted = name.clone();
    let person = app.store.read(move |connection| people::find_person(connection, &wanted)).await?;
    let hash = person.as_ref().map(|(hash, _)| hash.clone());
    let fits =
        tokio::task::spawn_blocking(move || people::password_fits(&password, hash.as_deref()))
            .await;
    let Some((_, role)) = person.filter(|_| matches!(fits, Ok(true))) else {
        note_failure(&name, now_ms);
        let title = "Name or password is wrong";
        return Err(Problem::new(
            StatusCode::UNAUTHORIZED,
            title,
            "try again, or ask the administrator",
        ));
    };
    FAILURES.lock().unwrap_or_else(PoisonError::into_inner).remove(&name);
    let wanted = name.clone();
    let opened = app
        .store
        .write(move |transaction| Ok(people::open_session(transaction, &wanted, now_ms)))
        .await?;
    let secret = opened.map_err(|error| {
        Problem::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "The session could not be opened",
            error.to_string(),
        )
    })?;
    let cookie = format!("{COOKIE}={secret}; Path=/; HttpOnly; SameSite=Strict");
    Ok(([(header::SET_COOKIE, cookie)], Json(json!({"name": name, "role": role.name()})))
        .into_response())
}

async fn who(caller: Caller) -> Json<serde_json::Value> {
    Json(json!({"name": caller.name, "role": caller.role.name()}))
}

async fn log_out(State(app): State<App>, headers: HeaderMap) -> Result<Response, Problem> {
    if let Some(secret) = cookie(&headers) {
        app.store.write(move |transaction| people::close_session(transaction, &secret)).await?;
    }
    let gone = format!("{COOKIE}=; Path=/; HttpOnly; SameSite=Strict; Max-Age=0");
    Ok((StatusCode::NO_CONTENT, [(header::SET_COOKIE, gone)]).into_response())
}

fn has_to_wait(name: &str, now_ms: i64) -> bool {
    let failures = FAILURES.lock().unwrap_or_else(PoisonError::into_inner);
    failures
        .get(name)
        .is_some_and(|(count, last)| *count >= FAILURES_MAX && now_ms - last < WAIT_MS)
}

fn note_failure(name: &str, now_ms: i64) {
    let mut failures = FAILURES.lock().unwrap_or_else(PoisonError::into_inner);
    failures.retain(|_, (_, last)| now_ms - *last < WAIT_MS);
    if failures.len() < NAMES_MAX {
        let entry = failures.entry(name.to_owned()).or_insert((0, now_ms));
        *entry = (entry.0 + 1, now_ms);
    }
}
