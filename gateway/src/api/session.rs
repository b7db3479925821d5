//! Who asks: a person's session cookie or a program's token.

use super::{App, Problem, Route, attempts::NotNow, extract::JsonBody, own};
use crate::{
    audit::{self, Entry},
    boards, clock,
    code::Code,
    people::{self, Action, Caller, Refusal, Role},
    store::StoreError,
};
use axum::{
    Json,
    extract::{FromRequestParts, State},
    http::{HeaderMap, StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
    routing::post,
};
use model::time::WallTime;
use rusqlite::{Connection, Transaction};
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;

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
    pub(super) async fn caller(&self, app: &App) -> Result<Option<Caller>, StoreError> {
        let (credential, clinics) = (self.clone(), Arc::clone(&app.clinics));
        let now_ms = clock::now().unix_ms();
        let ask = move |connection: &Connection| match &credential {
            Self::Token(token) => people::token(connection, token, &clinics),
            Self::Session(secret) => people::session(connection, secret, now_ms, &clinics),
        };
        app.store.read(ask).await
    }

    /// That a token or the board on a wall is used is worth a line now and then, and no answer waits
    /// for a disk that fails.
    async fn used(self, app: &App, role: Role) {
        let now_ms = clock::now().unix_ms();
        let (secret, is_due, used): (String, IsDue, Used) = match self {
            Self::Token(token) => (token, people::is_use_due, people::token_used),
            Self::Session(secret) if role == Role::Kiosk => {
                (secret, people::is_session_due, people::session_used)
            }
            Self::Session(_) => return,
        };
        let asked = secret.clone();
        let is_due = move |connection: &Connection| is_due(connection, &asked, now_ms);
        if app.store.read(is_due).await.is_ok_and(|is_due| is_due) {
            let used = move |transaction: &Transaction<'_>| used(transaction, &secret, now_ms);
            if let Err(error) = app.store.write(used).await {
                tracing::debug!(%error, "When a log-in was used could not be written down.");
            }
        }
    }
}

/// Whether it is time to write down that a secret is in use, and that.
type IsDue = fn(&Connection, &str, i64) -> rusqlite::Result<bool>;
type Used = fn(&Connection, &str, i64) -> rusqlite::Result<()>;

impl FromRequestParts<App> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let credential = Credential::of(&parts.headers).ok_or_else(nobody)?;
        let caller = credential.caller(app).await?.ok_or_else(nobody)?;
        credential.used(app, caller.role).await;
        Ok(caller)
    }
}

fn nobody() -> Problem {
    Problem::new(Code::NotLoggedIn, "log in, or send a token as Bearer")
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let forbidden = |code, detail: &str, action: Action| {
            let roles: Vec<_> = action.roles().iter().copied().map(Role::name).collect();
            Self::new(code, detail).with("action", action.name()).with("roles", roles)
        };
        match refusal {
            Refusal::GivenPassword => Self::new(
                Code::GivenPassword,
                "whoever gave you the one you have knows it; send old and new to \
                 /api/v1/session/password, or log in at the board, which asks for it",
            )
            .with("must_set_password", true),
            Refusal::Role(action) => {
                let roles: Vec<_> = action.roles().iter().copied().map(Role::name).collect();
                let detail = format!("log in as {}", roles.join(" or "));
                forbidden(Code::Role, &detail, action)
            }
            // Alert rules, "Life of an alert": only a named person can acknowledge.
            Refusal::Program(action) => {
                forbidden(Code::Program, "log in under your own name", action)
            }
            Refusal::Scope(action) => {
                let detail = "ask somebody who has the whole county and not some clinics";
                forbidden(Code::WholeCounty, detail, action)
            }
        }
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
    let now = clock::now();
    if !people::may_be(&name, &password) {
        return Err(wrong());
    }
    let turn = app.attempts.begin(&name, now.unix_ms()).await?;
    let wanted = name.clone();
    let person = app.store.read(move |connection| people::find_person(connection, &wanted)).await?;
    let hash = person.map(|(hash, _)| hash);
    let fitted = hash.clone();
    let fits = tokio::task::spawn_blocking(move || {
        let fits = people::password_fits(&password, hash.as_deref());
        // Kept until here: whoever hangs up does not make room for the next.
        drop(turn);
        fits
    })
    .await;
    if !matches!(fits, Ok(true)) {
        tell_failure(&app, now, name).await;
        return Err(wrong());
    }
    app.attempts.succeeded(&name);
    let open = move |transaction: &Transaction<'_>| {
        // Somebody may have been given another password meanwhile.
        if people::find_person(transaction, &name)?.map(|(hash, _)| hash) != fitted {
            return Ok(None);
        }
        let opened = people::open_session(transaction, &name, now.unix_ms());
        if opened.is_ok() {
            let entry = Entry { who: &name, action: "log_in", what: &name, detail: json!({}) };
            audit::append(transaction, now, &entry)?;
        }
        Ok(Some(opened))
    };
    let secret = app
        .store
        .write(open)
        .await?
        .ok_or_else(wrong)?
        .map_err(|error| Problem::new(Code::NoSessionOpened, error.to_string()))?;
    // Somebody may have been shut out meanwhile.
    let credential = Credential::Session(secret);
    let caller = credential.caller(&app).await?.ok_or_else(wrong)?;
    let cookie = session_cookie(&app, &caller, &credential);
    let told = user(&app, &caller, &credential).await?;
    Ok((cookie.map(|cookie| [(header::SET_COOKIE, cookie)]), Json(told)).into_response())
}

/// Writes down that somebody did not get in; of names that nobody has, only how many there were.
async fn tell_failure(app: &App, now: WallTime, name: String) {
    let asked = name.clone();
    let is_known = move |connection: &Connection| people::is_known(connection, &asked);
    let (what, detail) = match app.store.read(is_known).await {
        Ok(true) => (name, json!({})),
        Ok(false) | Err(_) => match app.attempts.stranger(now.unix_ms()) {
            Some(strangers) => (String::new(), json!({"unknown_names": strangers})),
            None => return,
        },
    };
    let write = move |transaction: &Transaction<'_>| {
        let entry = Entry { who: "county", action: "log_in_failed", what: &what, detail };
        audit::append(transaction, now, &entry)
    };
    if let Err(error) = app.store.write(write).await {
        tracing::error!(%error, "A log-in that failed could not be written down.");
    }
}

/// The same for everybody: who exists is nobody's business.
fn wrong() -> Problem {
    Problem::new(Code::WrongLogin, "try again, or ask the administrator")
}

impl From<NotNow> for Problem {
    fn from(why: NotNow) -> Self {
        let (code, detail) = match why {
            NotNow::Wait => (Code::TooManyLogins, "wait 15 minutes and try again"),
            NotNow::Busy => (Code::LoginsBusy, "try again in a moment"),
        };
        Self::new(code, detail)
    }
}

async fn who(
    State(app): State<App>,
    caller: Caller,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let credential = Credential::of(&headers).ok_or_else(nobody)?;
    let told = user(&app, &caller, &credential).await?;
    // The browser of a wall forgets it no sooner than the county.
    let anew = match caller.role {
        Role::Kiosk => session_cookie(&app, &caller, &credential),
        _ => None,
    };
    Ok((anew.map(|cookie| [(header::SET_COOKIE, cookie)]), Json(told)).into_response())
}

/// The cookie of a session. That of a board on a wall outlives its browser: after a cut of the mains
/// nobody may be there to log it in.
fn session_cookie(app: &App, caller: &Caller, credential: &Credential) -> Option<String> {
    let Credential::Session(secret) = credential else { return None };
    let lasts = match caller.role {
        Role::Kiosk => format!("; Max-Age={}", people::KIOSK_SESSION_MS / 1000),
        _ => String::new(),
    };
    Some(set_cookie(app, &format!("{COOKIE}={secret}{lasts}")))
}

/// Somebody, as they are told who they are.
pub(super) async fn user(
    app: &App,
    caller: &Caller,
    credential: &Credential,
) -> Result<Value, Problem> {
    let may = Action::ALL.into_iter().filter(|action| caller.may(*action).is_ok());
    let presence = own::presence(app, credential).await?;
    Ok(json!({
        "name": caller.name, "role": caller.role.name(), "clinics": caller.scope.names(),
        "may": may.map(Action::name).collect::<Vec<_>>(),
        "must_set_password": caller.given_password,
        "has_pin": presence.is_some_and(|found| found.has_pin),
        "confirmed_until": presence.map(|found| clock::rfc3339(found.until_ms)),
        "ends_at": presence.and_then(|found| found.ends_ms).map(clock::rfc3339),
    }))
}

async fn log_out(State(app): State<App>, headers: HeaderMap) -> Result<Response, Problem> {
    if let Some(secret) = cookie(&headers) {
        if app.boards.left(&people::sha256(&secret), None) {
            boards::tell(&app.events);
        }
        let now = clock::now();
        let close = move |transaction: &Transaction<'_>| {
            let Some(name) = people::close_session(transaction, &secret)? else { return Ok(()) };
            let entry = Entry { who: &name, action: "log_out", what: &name, detail: json!({}) };
            audit::append(transaction, now, &entry)
        };
        app.store.write(close).await?;
    }
    let gone = set_cookie(&app, &format!("{COOKIE}=; Max-Age=0"));
    Ok((StatusCode::NO_CONTENT, [(header::SET_COOKIE, gone)]).into_response())
}

/// No script reads it, no other site sends it, and over HTTPS it never goes in plain.
fn set_cookie(app: &App, value: &str) -> String {
    let secure = if app.https { "; Secure" } else { "" };
    format!("{value}; Path=/; HttpOnly; SameSite=Strict{secure}")
}
