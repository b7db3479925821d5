//! Who is logged in, and for how long.
//!
//! # Invariants
//! - a session ends with its shift, but that of a board on a wall, which lasts while it is used

use super::{Caller, CallerKind, PersonError, caller, is_known, secret, sha256};
use crate::{
    audit::{self, Entry},
    query::Clinics,
};
use model::time::WallTime;
use rusqlite::{Connection, OptionalExtension as _, params, types::Null};
use serde_json::json;
use std::collections::BTreeSet;

/// A session lasts a long shift, whether anybody touches the board or not.
pub(super) const SESSION_MS: i64 = 12 * 3600 * 1000;
/// A board on a wall that logged itself out would warn nobody. It sees masked names and does nothing,
/// and stays while it is used: it ends when it was away for so long, or an administrator ends it.
pub(crate) const KIOSK_SESSION_MS: i64 = 30 * 24 * 3600 * 1000;
/// That it is used is written down no more often than this.
const KIOSK_USED_EVERY_MS: i64 = 3600 * 1000;
/// Whether a session is good, where ?2 is a shift ago and ?3 is when a wall was away too long.
const IS_GOOD: &str = "person.disabled = 0 AND CASE person.role WHEN 'kiosk'
    THEN session.used_ms >= ?3 ELSE session.opened_ms >= ?2 END";

/// What [`IS_GOOD`] compares with.
const fn good_since(now_ms: i64) -> (i64, i64) {
    (now_ms - SESSION_MS, now_ms - KIOSK_SESSION_MS)
}

/// Opens a session; the secret goes into the person's cookie.
pub(crate) fn open_session(
    connection: &Connection,
    name: &str,
    now_ms: i64,
) -> Result<String, PersonError> {
    let secret = secret()?;
    connection.execute(
        "DELETE FROM session WHERE opened_ms < ?1 AND (used_ms < ?2
         OR name NOT IN (SELECT name FROM person WHERE role = 'kiosk'))",
        params![now_ms - SESSION_MS, now_ms - KIOSK_SESSION_MS],
    )?;
    connection.execute(
        "INSERT INTO session (hash, name, opened_ms, confirmed_ms, used_ms)
         VALUES (?1, ?2, ?3, ?3, ?3)",
        params![sha256(&secret), name, now_ms],
    )?;
    Ok(secret)
}

/// Ends a session; whose it was.
pub(crate) fn close_session(
    connection: &Connection,
    secret: &str,
) -> rusqlite::Result<Option<String>> {
    connection
        .query_row("DELETE FROM session WHERE hash = ?1 RETURNING name", [sha256(secret)], |row| {
            row.get(0)
        })
        .optional()
}

/// Whose session it is, if it is still good.
pub(crate) fn session(
    connection: &Connection,
    secret: &str,
    now_ms: i64,
    clinics: &Clinics,
) -> rusqlite::Result<Option<Caller>> {
    let query = format!(
        "SELECT person.name, person.role, person.scope, person.given_password
         FROM session JOIN person USING (name) WHERE session.hash = ?1 AND {IS_GOOD}"
    );
    let (shift, wall) = good_since(now_ms);
    let parameters = params![sha256(secret), shift, wall];
    caller(connection, CallerKind::Person, (&query, parameters), clinics)
}

/// The sessions that are good, by the hashes that name them.
pub(crate) fn open_sessions(
    connection: &Connection,
    now_ms: i64,
) -> rusqlite::Result<BTreeSet<String>> {
    let query =
        format!("SELECT session.hash FROM session JOIN person USING (name) WHERE {IS_GOOD}");
    let (shift, wall) = good_since(now_ms);
    // ?1 is who, where one is asked for.
    let parameters = params![Null, shift, wall];
    connection.prepare_cached(&query)?.query_map(parameters, |row| row.get(0))?.collect()
}

/// Whether it is time to write down that a session is in use.
pub(crate) fn is_session_due(
    connection: &Connection,
    secret: &str,
    now_ms: i64,
) -> rusqlite::Result<bool> {
    let query = "SELECT 1 FROM session WHERE hash = ?1 AND abs(?2 - used_ms) >= ?3";
    let parameters = params![sha256(secret), now_ms, KIOSK_USED_EVERY_MS];
    connection.prepare_cached(query)?.exists(parameters)
}

/// A session is in use.
pub(crate) fn session_used(
    connection: &Connection,
    secret: &str,
    now_ms: i64,
) -> rusqlite::Result<()> {
    let query = "UPDATE session SET used_ms = ?2 WHERE hash = ?1";
    connection.execute(query, params![sha256(secret), now_ms]).map(drop)
}

/// How often somebody is logged in.
pub(super) fn count(connection: &Connection, now: WallTime, name: &str) -> rusqlite::Result<u32> {
    let query = format!(
        "SELECT COUNT(*) FROM session JOIN person USING (name) WHERE name = ?1 AND {IS_GOOD}"
    );
    let (shift, wall) = good_since(now.unix_ms());
    let parameters = params![name, shift, wall];
    connection.prepare_cached(&query)?.query_row(parameters, |row| row.get(0))
}

/// Ends every session of somebody, and writes down who did it. The caller owns the transaction.
pub(crate) fn end_sessions(
    connection: &Connection,
    now: WallTime,
    by: &str,
    name: &str,
) -> Result<(), PersonError> {
    if !is_known(connection, name)? {
        return Err(PersonError::Unknown(name.to_owned()));
    }
    let ended = connection.execute("DELETE FROM session WHERE name = ?1", [name])?;
    let detail = json!({"sessions_ended": ended});
    let action = "user_sessions_ended";
    audit::append(connection, now, &Entry { who: by, action, what: name, detail })?;
    Ok(())
}
