//! Persons and tokens: one administrator makes somebody known, another says what they may do, and
//! one of another kind confirms it.

use super::{
    App, Problem, Route,
    extract::{JsonBody, Path},
    own::hashed,
};
use crate::{
    clock,
    code::Code,
    people::{
        self, Action, Caller, Change, Force, Person, PersonError, Role, Scope, Standing, pending,
    },
    store::StoreError,
};
use axum::{
    Json,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{delete, get, patch, post},
};
use rusqlite::Transaction;
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};
use std::collections::BTreeSet;

pub(super) fn routes() -> Vec<Route> {
    vec![
        ("/people", get(list).post(add)),
        ("/people/{name}", patch(set)),
        ("/people/{name}/confirm", post(confirm)),
        ("/people/{name}/password", post(give_password)),
        ("/people/{name}/password/confirm", post(confirm_password)),
        ("/people/{name}/sessions", delete(end_sessions)),
        ("/tokens", get(tokens).post(issue)),
        ("/tokens/{id}", delete(revoke)),
        ("/tokens/{id}/confirm", post(confirm_token)),
    ]
}

async fn list(State(app): State<App>, caller: Caller) -> Result<Json<Value>, Problem> {
    caller.may(Action::SeePeople)?;
    let now = clock::now();
    let people = app.store.read(move |connection| people::people(connection, now)).await?;
    let told: Vec<Value> =
        people.into_iter().map(|(person, stands)| told(&person, &stands)).collect();
    Ok(Json(json!({"people": told})))
}

fn told(person: &Person, standing: &Standing) -> Value {
    let mut told = json!(person);
    if let (Some(fields), Value::Object(stands)) = (told.as_object_mut(), json!(standing)) {
        fields.extend(stands);
    }
    told
}

#[derive(Deserialize)]
struct Add {
    name: String,
    password: String,
}

async fn add(
    State(app): State<App>,
    caller: Caller,
    JsonBody(Add { name, password }): JsonBody<Add>,
) -> Result<Response, Problem> {
    caller.may(Action::AddPeople)?;
    let hash = hashed(password).await?;
    let (now, wanted) = (clock::now(), name.clone());
    let change = Change::Add { hash, given: true, role: None, scope: Scope::County };
    write(&app, move |transaction| {
        people::change(transaction, now, &caller.name, &wanted, &change)
    })
    .await?;
    let added = Person { name, role: None, clinics: None, disabled: false };
    Ok((StatusCode::CREATED, Json(told(&added, &Standing::default()))).into_response())
}

#[derive(Deserialize)]
struct Set {
    role: Option<String>,
    /// Left out: as before; null: the whole county.
    #[serde(default, deserialize_with = "given")]
    clinics: Option<Option<BTreeSet<String>>>,
    disabled: Option<bool>,
}

/// Tells `null` from what is left out.
fn given<'d, T: Deserialize<'d>, D: Deserializer<'d>>(from: D) -> Result<Option<T>, D::Error> {
    T::deserialize(from).map(Some)
}

async fn set(
    State(app): State<App>,
    caller: Caller,
    Path(name): Path<String>,
    JsonBody(asked): JsonBody<Set>,
) -> Result<StatusCode, Problem> {
    caller.may(Action::ManagePeople)?;
    let role = asked.role.map(|role| role_of(&role)).transpose()?;
    let scope = asked.clinics.map(|clinics| scope_of(&app, clinics)).transpose()?;
    let waits = role.is_some() || scope.is_some();
    if !waits && asked.disabled.is_none() {
        return Err(Problem::bad_request(
            "nothing is to be changed; send role, clinics or disabled",
        ));
    }
    let (by, now) = (caller.name, clock::now());
    write(&app, move |transaction| {
        // First: rights that wait are forgotten with it.
        if let Some(disabled) = asked.disabled {
            let change = if disabled { Change::Disable } else { Change::Enable };
            people::change(transaction, now, &by, &name, &change)?;
        }
        match waits {
            true => pending::ask(transaction, now, &by, &name, (role, scope)),
            false => Ok(()),
        }
    })
    .await?;
    Ok(if waits { StatusCode::ACCEPTED } else { StatusCode::NO_CONTENT })
}

/// What somebody has read and confirms.
#[derive(Deserialize)]
struct Confirmed {
    #[serde(default)]
    request: String,
}

async fn confirm(
    State(app): State<App>,
    caller: Caller,
    Path(name): Path<String>,
    JsonBody(Confirmed { request }): JsonBody<Confirmed>,
) -> Result<Json<Value>, Problem> {
    caller.may(Action::ConfirmRights)?;
    let now = clock::now();
    let (person, standing) = write(&app, move |transaction| {
        let person = pending::confirm(transaction, now, &caller.name, (&name, &request))?;
        Ok((person, people::standing(transaction, now, &name)?))
    })
    .await?;
    Ok(Json(told(&person, &standing)))
}

#[derive(Deserialize)]
struct Password {
    password: String,
}

/// Somebody has forgotten theirs.
async fn give_password(
    State(app): State<App>,
    caller: Caller,
    Path(name): Path<String>,
    JsonBody(Password { password }): JsonBody<Password>,
) -> Result<StatusCode, Problem> {
    caller.may(Action::ManagePeople)?;
    let hash = hashed(password).await?;
    let now = clock::now();
    write(&app, move |transaction| {
        pending::ask_password(transaction, now, &caller.name, (&name, &hash))
    })
    .await?;
    Ok(StatusCode::ACCEPTED)
}

async fn confirm_password(
    State(app): State<App>,
    caller: Caller,
    Path(name): Path<String>,
    JsonBody(Confirmed { request }): JsonBody<Confirmed>,
) -> Result<StatusCode, Problem> {
    caller.may(Action::ConfirmRights)?;
    let (now, whose) = (clock::now(), name.clone());
    write(&app, move |transaction| {
        pending::confirm_password(transaction, now, &caller.name, (&whose, &request))
    })
    .await?;
    // Who has forgotten it has tried.
    app.attempts.succeeded(&name);
    Ok(StatusCode::NO_CONTENT)
}

async fn end_sessions(
    State(app): State<App>,
    caller: Caller,
    Path(name): Path<String>,
) -> Result<StatusCode, Problem> {
    caller.may(Action::ManagePeople)?;
    let now = clock::now();
    write(&app, move |transaction| people::end_sessions(transaction, now, &caller.name, &name))
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Changes people or tokens. What is refused leaves nothing behind, whatever was done before it was.
async fn write<T: Send + 'static>(
    app: &App,
    act: impl FnOnce(&Transaction<'_>) -> Result<T, PersonError> + Send + 'static,
) -> Result<T, Problem> {
    let undone = move |transaction: &Transaction<'_>| {
        transaction.execute_batch("SAVEPOINT change")?;
        let done = act(transaction);
        match &done {
            Ok(_) => transaction.execute_batch("RELEASE change")?,
            Err(_) => transaction.execute_batch("ROLLBACK TO change; RELEASE change")?,
        }
        Ok(done)
    };
    Ok(app.store.write(undone).await??)
}

async fn tokens(State(app): State<App>, caller: Caller) -> Result<Json<Value>, Problem> {
    caller.may(Action::SeePeople)?;
    Ok(Json(json!({"tokens": app.store.read(people::tokens).await?})))
}

#[derive(Deserialize)]
struct Issue {
    name: String,
    role: String,
    clinics: Option<BTreeSet<String>>,
}

async fn issue(
    State(app): State<App>,
    caller: Caller,
    JsonBody(Issue { name, role, clinics }): JsonBody<Issue>,
) -> Result<Response, Problem> {
    caller.may(Action::ManagePeople)?;
    let (role, scope, now) = (role_of(&role)?, scope_of(&app, clinics)?, clock::now());
    let (id, token) = write(&app, move |transaction| {
        let wanted = (name.as_str(), role, &scope);
        people::issue_token(transaction, now, &caller.name, wanted, Force::Confirmed)
    })
    .await?;
    Ok((StatusCode::CREATED, Json(json!({"id": id, "token": token}))).into_response())
}

async fn confirm_token(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    caller.may(Action::ConfirmRights)?;
    let now = clock::now();
    write(&app, move |transaction| pending::confirm_token(transaction, now, &caller.name, &id))
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn revoke(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    caller.may(Action::ManagePeople)?;
    let now = clock::now();
    write(&app, move |transaction| people::revoke_token(transaction, now, &caller.name, &id))
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

fn role_of(name: &str) -> Result<Role, Problem> {
    Role::from_name(name).ok_or_else(|| {
        let roles: Vec<_> = Role::ALL.into_iter().map(Role::name).collect();
        Problem::bad_request(format!("role: one of {}", roles.join(", ")))
    })
}

/// Clinics that `gateway.toml` has; none given: the whole county.
fn scope_of(app: &App, clinics: Option<BTreeSet<String>>) -> Result<Scope, Problem> {
    let Some(names) = clinics else { return Ok(Scope::County) };
    match names.iter().find(|name| !app.clinics.values().any(|known| known == *name)) {
        Some(unknown) => {
            let text = format!("clinics: no clinic of gateway.toml is called \"{unknown}\"");
            Err(Problem::bad_request(text))
        }
        None => Ok(Scope::of_clinics(names, &app.clinics)),
    }
}

impl From<PersonError> for Problem {
    fn from(error: PersonError) -> Self {
        let text = error.to_string();
        let code = match error {
            PersonError::Password { .. } => Code::PasswordLength,
            PersonError::Pin => Code::Pin,
            PersonError::Name(_) => Code::PersonName,
            PersonError::NoRole(_) => Code::NoRole,
            PersonError::Known(_) => Code::NameTaken,
            PersonError::Unknown(_) => Code::NoPerson,
            PersonError::NoToken(_) => Code::NotFound,
            PersonError::NothingPending(_) => Code::NothingPending,
            PersonError::RequestChanged => Code::RequestChanged,
            PersonError::Own => Code::Own,
            PersonError::Database(error) => return StoreError::from(error).into(),
            PersonError::Hash | PersonError::Random => Code::Failed,
        };
        Self::new(code, text)
    }
}
