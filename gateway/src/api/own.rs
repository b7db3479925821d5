//! What is somebody's own: their password, their PIN, and saying that they are still there.

use super::{
    App, Problem, Route,
    extract::JsonBody,
    session::{Credential, user},
};
use crate::{
    clock,
    code::Code,
    people::{self, Caller, CallerKind, PersonError, Refusal, own},
    store::StoreError,
};
use axum::{
    Json,
    extract::{FromRequestParts, State},
    http::{StatusCode, request::Parts},
    routing::post,
};
use rusqlite::{Connection, Transaction};
use serde::Deserialize;
use serde_json::Value;

pub(super) fn routes() -> Vec<Route> {
    vec![
        ("/session/password", post(set_password)),
        ("/session/pin", post(set_pin)),
        ("/session/confirm", post(confirm)),
    ]
}

/// Somebody who has logged in; a program has nothing of its own.
pub(super) struct Session {
    caller: Caller,
    secret: String,
}

impl FromRequestParts<App> for Session {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let caller = Caller::from_request_parts(parts, app).await?;
        match (Credential::of(&parts.headers), caller.kind) {
            (Some(Credential::Session(secret)), CallerKind::Person) => Ok(Self { caller, secret }),
            _ => Err(Problem::new(Code::NoSession, "log in under your own name")),
        }
    }
}

impl Session {
    /// Refuses an act of somebody who may have left their board open.
    pub(super) async fn is_present(&self, app: &App) -> Result<(), Problem> {
        let (secret, now_ms) = (self.secret.clone(), clock::now().unix_ms());
        let asked = move |connection: &Connection| own::presence(connection, &secret);
        match app.store.read(asked).await? {
            Some(presence) if presence.holds_at(now_ms) => Ok(()),
            _ => Err(Problem::new(
                Code::Confirm,
                "nothing was done under your name for 10 minutes; send your PIN, or your password \
                 where you have none, to /api/v1/session/confirm and do it again",
            )
            .with("confirm", true)),
        }
    }

    /// The person has acted. That it could not be written down undoes nothing.
    pub(super) async fn has_acted(&self, app: &App) {
        let (secret, now_ms) = (self.secret.clone(), clock::now().unix_ms());
        let seen = move |transaction: &Transaction<'_>| own::is_there(transaction, &secret, now_ms);
        if let Err(error) = app.store.write(seen).await {
            tracing::debug!(%error, "That somebody is there could not be written down.");
        }
    }

    /// Whose password somebody else knows is not surely the person.
    fn knows_alone(&self) -> Result<(), Problem> {
        if self.caller.given_password { Err(Refusal::GivenPassword.into()) } else { Ok(()) }
    }

    /// Names the session; opens nothing.
    pub(super) fn hash(&self) -> String {
        people::sha256(&self.secret)
    }

    pub(super) fn name(&self) -> &str {
        &self.caller.name
    }
}

/// What somebody proves to be themselves by.
enum Proof {
    Password(String),
    Pin(String),
}

/// Looks whether it is still the person of the session. After five wrong answers in a row the
/// session ends; whoever tries log-ins from elsewhere has no part in that.
async fn prove(app: &App, session: &Session, proof: Proof) -> Result<(), Problem> {
    let (who, now) = (session.caller.name.clone(), clock::now());
    let turn = app.confirmations.begin(&who, now.unix_ms()).await?;
    let (name, asked, is_pin) = (who.clone(), who.clone(), matches!(proof, Proof::Pin(_)));
    let stored = move |connection: &Connection| match is_pin {
        true => own::pin(connection, &asked),
        false => Ok(people::find_person(connection, &asked)?.map(|(hash, _)| hash)),
    };
    let hash = app.store.read(stored).await?;
    let (Proof::Password(given) | Proof::Pin(given)) = proof;
    let fits = tokio::task::spawn_blocking(move || {
        let fits = people::may_be("", &given) && people::password_fits(&given, hash.as_deref());
        drop(turn);
        fits
    })
    .await;
    if matches!(fits, Ok(true)) {
        app.confirmations.succeeded(&name);
        return Ok(());
    }
    let ends = app.confirmations.are_used_up(&name);
    let secret = session.secret.clone();
    let tell = move |transaction: &Transaction<'_>| {
        own::tell_wrong(transaction, now, (&who, &secret), ends)
    };
    let told = app.store.write(tell).await;
    if ends {
        // Whoever logs in again begins anew.
        app.confirmations.succeeded(&name);
    }
    told?;
    if ends {
        return Err(Problem::new(Code::TooManyProofs, "log in again"));
    }
    Err(Problem::new(Code::WrongProof, "try again; after five the session ends"))
}

#[derive(Deserialize)]
struct NewPassword {
    old: String,
    new: String,
}

/// Hashing takes a processor for a while: not one that answers others.
pub(super) async fn hashed(password: String) -> Result<String, PersonError> {
    let hashed = tokio::task::spawn_blocking(move || people::hashed(&password)).await;
    hashed.unwrap_or(Err(PersonError::Hash))
}

/// Somebody else was faster: a password that was forgotten, or a person shut out.
fn logged_out() -> Problem {
    let text =
        "nothing was changed; log in again, with the password you were given if there is one";
    Problem::new(Code::LoggedOut, text)
}

async fn set_password(
    State(app): State<App>,
    session: Session,
    JsonBody(NewPassword { old, new }): JsonBody<NewPassword>,
) -> Result<StatusCode, Problem> {
    people::check_password(&new)?;
    if old == new {
        let text = "new: choose another password than the one you have";
        return Err(Problem::new(Code::SamePassword, text));
    }
    prove(&app, &session, Proof::Password(old)).await?;
    let hash = hashed(new).await?;
    let set = move |transaction: &Transaction<'_>| {
        let whose = (session.caller.name.as_str(), session.secret.as_str());
        own::set_password(transaction, clock::now(), whose, &hash)
    };
    if app.store.write(set).await? { Ok(StatusCode::NO_CONTENT) } else { Err(logged_out()) }
}

#[derive(Deserialize)]
struct NewPin {
    password: String,
    /// `null`: none.
    pin: Option<String>,
}

async fn set_pin(
    State(app): State<App>,
    session: Session,
    JsonBody(NewPin { password, pin }): JsonBody<NewPin>,
) -> Result<StatusCode, Problem> {
    session.knows_alone()?;
    prove(&app, &session, Proof::Password(password)).await?;
    let hashed =
        tokio::task::spawn_blocking(move || pin.map(|pin| own::hashed_pin(&pin)).transpose());
    let hash = hashed.await.unwrap_or(Err(PersonError::Hash))?;
    let set = move |transaction: &Transaction<'_>| {
        let whose = (session.caller.name.as_str(), session.secret.as_str());
        own::set_pin(transaction, clock::now(), whose, hash.as_deref())
    };
    if app.store.write(set).await? { Ok(StatusCode::NO_CONTENT) } else { Err(logged_out()) }
}

#[derive(Deserialize)]
struct Confirm {
    pin: Option<String>,
    password: Option<String>,
}

async fn confirm(
    State(app): State<App>,
    session: Session,
    JsonBody(asked): JsonBody<Confirm>,
) -> Result<Json<Value>, Problem> {
    session.knows_alone()?;
    let proof = match (asked.pin, asked.password) {
        (Some(pin), None) => Proof::Pin(pin),
        (None, Some(password)) => Proof::Password(password),
        _ => return Err(Problem::bad_request("pin or password: send one of the two")),
    };
    prove(&app, &session, proof).await?;
    let (secret, now_ms) = (session.secret.clone(), clock::now().unix_ms());
    let there = move |transaction: &Transaction<'_>| own::is_there(transaction, &secret, now_ms);
    app.store.write(there).await?;
    let Session { caller, secret } = session;
    Ok(Json(user(&app, &caller, &Credential::Session(secret)).await?))
}

/// How a session stands; of a program there is nothing to tell.
pub(super) async fn presence(
    app: &App,
    credential: &Credential,
) -> Result<Option<own::Presence>, StoreError> {
    let Credential::Session(secret) = credential else { return Ok(None) };
    let secret = secret.clone();
    app.store.read(move |connection: &Connection| own::presence(connection, &secret)).await
}
