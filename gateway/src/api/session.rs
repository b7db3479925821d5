//! Who asks: a person's session cookie or a program's token.

use super::{App, Problem, Route, attempts::NotNow, extract::JsonBody};
use crate::{
    clock,
    people::{self, Caller},
    store::{Store, StoreError},
};
use axum::{
    Json,
    extract::{FromRequestParts, State},
    http::{HeaderMap, StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
    routing::post,
};
use serde::Deserialize;
use serde_json::json;

const COOKIE: &str = "clinic_session";

pub(super) fn routes() -> Vec<Route> {
    vec![("/session", post(log_in).get(who).delete(log_out))]
}

/// What proves who asks.
#[derive(Clone)]
pub(super) enum Credential {
    Token(String),
    Session(String),
}

impl Credential {
    /// A token goes before a cookie.
    pub(super) fn of(headers: &HeaderMap) -> Option<Self> {
        let bearer = headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
        match bearer {
            Some(token) => Some(Self::Token(token.to_owned())),
            None => cookie(headers).map(Self::Session),
        }
    }

    /// Whose it is, if it is still good.
    pub(super) async fn caller(self, store: &Store) -> Result<Option<Caller>, StoreError> {
        let now_ms = clock::now().unix_ms();
        let ask = move |connection: &rusqlite::Connection| match &self {
            Self::Token(token) => people::token(connection, token),
            Self::Session(secret) => people::session(connection, secret, now_ms),
        };
        store.read(ask).await
    }
}

impl FromRequestParts<App> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let found = match Credential::of(&parts.headers) {
            Some(credential) => credential.caller(&app.store).await?,
            None => None,
        };
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

async fn log_in(
    State(app): State<App>,
    JsonBody(LogIn { name, password }): JsonBody<LogIn>,
) -> Result<Response, Problem> {
    let now_ms = clock::now().unix_ms();
    if !people::may_be(&name, &password) {
        return Err(wrong());
    }
    let turn = app.attempts.begin(&name, now_ms).await?;
    let wanted = name.clone();
    let person = app.store.read(move |connection| people::find_person(connection, &wanted)).await?;
    let hash = person.as_ref().map(|(hash, _)| hash.clone());
    let fits = tokio::task::spawn_blocking(move || {
        let fits = people::password_fits(&password, hash.as_deref());
        // Kept until here: whoever hangs up does not make room for the next.
        drop(turn);
        fits
    })
    .await;
    let (_, role) = person.filter(|_| matches!(fits, Ok(true))).ok_or_else(wrong)?;
    app.attempts.succeeded(&name);
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
    let cookie = set_cookie(&app, &format!("{COOKIE}={secret}"));
    Ok(([(header::SET_COOKIE, cookie)], Json(json!({"name": name, "role": role.name()})))
        .into_response())
}

/// The same for everybody: who exists is nobody's business.
fn wrong() -> Problem {
    let title = "Name or password is wrong";
    Problem::new(StatusCode::UNAUTHORIZED, title, "try again, or ask the administrator")
}

impl From<NotNow> for Problem {
    fn from(why: NotNow) -> Self {
        let (title, detail) = match why {
            NotNow::Wait => ("Too many wrong passwords", "wait 15 minutes and try again"),
            NotNow::Busy => ("Too many people log in at once", "try again in a moment"),
        };
        Self::new(StatusCode::TOO_MANY_REQUESTS, title, detail)
    }
}

async fn who(caller: Caller) -> Json<serde_json::Value> {
    Json(json!({"name": caller.name, "role": caller.role.name()}))
}

async fn log_out(State(app): State<App>, headers: HeaderMap) -> Result<Response, Problem> {
    if let Some(secret) = cookie(&headers) {
        app.store.write(move |transaction| people::close_session(transaction, &secret)).await?;
    }
    let gone = set_cookie(&app, &format!("{COOKIE}=; Max-Age=0"));
    Ok((StatusCode::NO_CONTENT, [(header::SET_COOKIE, gone)]).into_response())
}

/// No script reads it, no other site sends it, and over HTTPS it never goes in plain.
fn set_cookie(app: &App, value: &str) -> String {
    let secure = if app.https { "; Secure" } else { "" };
    format!("{value}; Path=/; HttpOnly; SameSite=Strict{secure}")
}
