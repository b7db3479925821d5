//! Rights, and passwords in the place of forgotten ones, that one administrator gives and one of
//! another kind confirms.
//!
//! # Invariants
//! - until they are confirmed the rights and the password of before hold, and a token opens nothing
//! - nobody confirms what they asked for themselves, nor what they would get
//! - what is confirmed is what was read: each request has an id, and another one another

use super::{Person, PersonError, Role, Scope, TOKEN_ID_LEN, clinics_of, person, sha256};
use crate::{
    audit::{self, Entry},
    clock::rfc3339,
};
use model::time::WallTime;
use rusqlite::{Connection, OptionalExtension as _, params};
use serde::Serialize;
use serde_json::{Value, json};

/// What nobody has confirmed within a day is forgotten: an administrator is there every working day.
pub(super) const PENDING_MS: i64 = 24 * 3600 * 1000;

/// Rights that wait, as lists tell them.
#[derive(Debug, Serialize)]
pub(crate) struct Pending {
    /// Its id: whoever confirms sends it back.
    pub(crate) request: String,
    pub(crate) role: Option<String>,
    /// `None`: the whole county.
    pub(crate) clinics: Option<Vec<String>>,
    pub(crate) asked_by: String,
    pub(crate) until: String,
}

/// Asks that somebody has another role, in other clinics, or both. What was asked before is
/// forgotten. The caller owns the transaction.
pub(crate) fn ask(
    connection: &Connection,
    now: WallTime,
    by: &str,
    name: &str,
    (role, scope): (Option<Role>, Option<Scope>),
) -> Result<(), PersonError> {
    if by == name {
        return Err(PersonError::Own);
    }
    let before = person(connection, name)?;
    let before = before.ok_or_else(|| PersonError::Unknown(name.to_owned()))?;
    let role = role.map(|role| role.name().to_owned()).or(before.role);
    let Some(role) = role else { return Err(PersonError::NoRole(name.to_owned())) };
    let clinics = before.clinics.map(|names| json!(names).to_string());
    let scope = scope.map_or(clinics, |scope| scope.stored());
    connection.execute(
        "INSERT OR REPLACE INTO pending_rights VALUES (?1, ?2, ?3, ?4, ?5)",
        params![name, role, scope, by, now.unix_ms() + PENDING_MS],
    )?;
    let detail = json!({"pending": of_person(connection, now, name)?});
    audit::append(
        connection,
        now,
        &Entry { who: by, action: "user_rights_asked", what: name, detail },
    )?;
    Ok(())
}

/// What waits for somebody.
pub(super) fn of_person(
    connection: &Connection,
    now: WallTime,
    name: &str,
) -> rusqlite::Result<Option<Pending>> {
    let query = "SELECT * FROM pending_rights WHERE name = ?1 AND until_ms > ?2";
    connection
        .prepare_cached(query)?
        .query_row(params![name, now.unix_ms()], |row| {
            let (role, clinics): (String, _) = (row.get("role")?, clinics_of(row)?);
            let (asked_by, until_ms): (String, i64) = (row.get("asked_by")?, row.get("until_ms")?);
            let scope: Option<String> = row.get("scope")?;
            let request = request_id(&json!([role, scope, asked_by, until_ms]));
            Ok(Pending { request, role: Some(role), clinics, asked_by, until: rfc3339(until_ms) })
        })
        .optional()
}

/// The id of what was asked for: of something else, or by somebody else, or again, it is another.
fn request_id(asked: &Value) -> String {
    sha256(&asked.to_string())
}

/// Puts in force what was asked for somebody. The caller owns the transaction.
pub(crate) fn confirm(
    connection: &Connection,
    now: WallTime,
    by: &str,
    (name, request): (&str, &str),
) -> Result<Person, PersonError> {
    let nothing = || PersonError::NothingPending(name.to_owned());
    let pending = of_person(connection, now, name)?.ok_or_else(nothing)?;
    if by == name || by == pending.asked_by {
        return Err(PersonError::Own);
    }
    if request != pending.request {
        return Err(PersonError::RequestChanged);
    }
    let before = person(connection, name)?;
    connection.execute(
        "UPDATE person SET (role, scope) =
           (SELECT role, scope FROM pending_rights WHERE name = ?1) WHERE name = ?1",
        [name],
    )?;
    connection.execute("DELETE FROM pending_rights WHERE name = ?1", [name])?;
    let after = person(connection, name)?.ok_or_else(nothing)?;
    let detail = json!({"asked_by": pending.asked_by, "before": before, "after": after});
    audit::append(connection, now, &Entry { who: by, action: "user_rights", what: name, detail })?;
    Ok(after)
}

/// Nothing waits for somebody any more.
pub(super) fn forget(connection: &Connection, name: &str) -> rusqlite::Result<()> {
    connection.execute("DELETE FROM pending_rights WHERE name = ?1", [name])?;
    connection.execute("DELETE FROM pending_password WHERE name = ?1", [name]).map(drop)
}

/// A password that waits, as lists tell it.
#[derive(Debug, Serialize)]
pub(crate) struct PendingPassword {
    /// Its id: whoever confirms sends it back.
    pub(crate) request: String,
    pub(crate) asked_by: String,
    pub(crate) until: String,
}

/// Asks that somebody who has forgotten theirs has this password, by its hash. What was asked
/// before is forgotten. The caller owns the transaction.
pub(crate) fn ask_password(
    connection: &Connection,
    now: WallTime,
    by: &str,
    (name, hash): (&str, &str),
) -> Result<(), PersonError> {
    if by == name {
        return Err(PersonError::Own);
    }
    person(connection, name)?.ok_or_else(|| PersonError::Unknown(name.to_owned()))?;
    connection.execute(
        "INSERT OR REPLACE INTO pending_password VALUES (?1, ?2, ?3, ?4)",
        params![name, hash, by, now.unix_ms() + PENDING_MS],
    )?;
    let detail = json!({"pending": password_of(connection, now, name)?});
    let action = "user_password_asked";
    audit::append(connection, now, &Entry { who: by, action, what: name, detail })?;
    Ok(())
}

/// The password that waits for somebody.
pub(super) fn password_of(
    connection: &Connection,
    now: WallTime,
    name: &str,
) -> rusqlite::Result<Option<PendingPassword>> {
    let query = "SELECT * FROM pending_password WHERE name = ?1 AND until_ms > ?2";
    connection
        .prepare_cached(query)?
        .query_row(params![name, now.unix_ms()], |row| {
            let (hash, until_ms): (String, i64) = (row.get("password")?, row.get("until_ms")?);
            let asked_by: String = row.get("asked_by")?;
            let request = request_id(&json!([hash, asked_by, until_ms]));
            Ok(PendingPassword { request, asked_by, until: rfc3339(until_ms) })
        })
        .optional()
}

/// Puts the password in force that was asked for somebody. The caller owns the transaction.
pub(crate) fn confirm_password(
    connection: &Connection,
    now: WallTime,
    by: &str,
    (name, request): (&str, &str),
) -> Result<(), PersonError> {
    let pending = password_of(connection, now, name)?;
    let pending = pending.ok_or_else(|| PersonError::NothingPending(name.to_owned()))?;
    if by == name || by == pending.asked_by {
        return Err(PersonError::Own);
    }
    if request != pending.request {
        return Err(PersonError::RequestChanged);
    }
    let query = "DELETE FROM pending_password WHERE name = ?1 RETURNING password";
    let hash: String = connection.query_row(query, [name], |row| row.get(0))?;
    give_password(connection, now, by, (name, &hash), Some(&pending.asked_by))
}

/// Somebody has another password, which somebody else knows: it opens nothing but the way to a
/// third. Their PIN is gone and their sessions end. The caller owns the transaction.
pub(crate) fn give_password(
    connection: &Connection,
    now: WallTime,
    by: &str,
    (name, hash): (&str, &str),
    asked_by: Option<&str>,
) -> Result<(), PersonError> {
    if by == name {
        return Err(PersonError::Own);
    }
    let set = "UPDATE person SET password = ?2, given_password = 1, pin = NULL WHERE name = ?1";
    if connection.execute(set, [name, hash])? == 0 {
        return Err(PersonError::Unknown(name.to_owned()));
    }
    connection.execute("DELETE FROM pending_password WHERE name = ?1", [name])?;
    let ended = connection.execute("DELETE FROM session WHERE name = ?1", [name])?;
    let detail = json!({"asked_by": asked_by, "sessions_ended": ended});
    let action = "user_password";
    audit::append(connection, now, &Entry { who: by, action, what: name, detail })?;
    Ok(())
}

/// Puts a token in force. The caller owns the transaction.
pub(crate) fn confirm_token(
    connection: &Connection,
    now: WallTime,
    by: &str,
    id: &str,
) -> Result<(), PersonError> {
    let query = format!(
        "SELECT hash, name, role, made_by FROM token WHERE substr(hash, 1, {TOKEN_ID_LEN}) = ?1
         AND revoked_ms IS NULL AND pending_until_ms > ?2"
    );
    let found: Option<(String, String, String, String)> = connection
        .query_row(&query, params![id, now.unix_ms()], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
        })
        .optional()?;
    let (hash, name, role, asked_by) =
        found.ok_or_else(|| PersonError::NothingPending(id.to_owned()))?;
    if by == asked_by {
        return Err(PersonError::Own);
    }
    connection.execute("UPDATE token SET pending_until_ms = NULL WHERE hash = ?1", [hash])?;
    let detail = json!({"asked_by": asked_by, "name": name, "role": role});
    audit::append(connection, now, &Entry { who: by, action: "token_confirm", what: id, detail })?;
    Ok(())
}
