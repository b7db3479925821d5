//! What is somebody's own: password, PIN, and whether they are still there.
//!
//! # Invariants
//! - a password that somebody else gave opens nothing but the way to set another
//! - a PIN opens no session: it says of an open one that its person is there
//! - who was logged out while they changed their password or PIN has not changed it

use super::{PersonError, hash_of, sessions::SESSION_MS, sha256};
use crate::audit::{self, Entry};
use model::time::WallTime;
use rusqlite::{Connection, OptionalExtension as _, params};
use serde_json::json;

/// Who has not acted for so long says first that it is still they (nurse board, section 4).
const PRESENT_MS: i64 = 10 * 60_000;
/// Digits of a PIN, at least.
pub(super) const PIN_LEN_MIN: usize = 4;
/// Digits of a PIN, at most.
pub(super) const PIN_LEN_MAX: usize = 8;

/// How a session stands, beside whose it is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Presence {
    pub(crate) has_pin: bool,
    /// Until when its person counts as being there.
    pub(crate) until_ms: i64,
    /// When it ends, whoever uses it; that of a wall lasts while it is used.
    pub(crate) ends_ms: Option<i64>,
}

impl Presence {
    pub(crate) const fn holds_at(self, now_ms: i64) -> bool {
        // Also what a clock that was set back has left in the future.
        now_ms < self.until_ms && self.until_ms <= now_ms.saturating_add(PRESENT_MS)
    }
}

/// What is kept of a new PIN.
pub(crate) fn hashed_pin(pin: &str) -> Result<String, PersonError> {
    let good = (PIN_LEN_MIN..=PIN_LEN_MAX).contains(&pin.len())
        && pin.bytes().all(|digit| digit.is_ascii_digit());
    if good { hash_of(pin) } else { Err(PersonError::Pin) }
}

/// Sets a password of one's own, if the session has not ended meanwhile; the other sessions of the
/// person end. Whether it was set. The caller owns the transaction.
pub(crate) fn set_password(
    connection: &Connection,
    now: WallTime,
    (who, session): (&str, &str),
    hash: &str,
) -> rusqlite::Result<bool> {
    if !is_open(connection, (who, session))? {
        return Ok(false);
    }
    // With a password that somebody gave comes no PIN that somebody set.
    let set = "UPDATE person SET password = ?2, given_password = 0,
               pin = CASE given_password WHEN 1 THEN NULL ELSE pin END WHERE name = ?1";
    connection.execute(set, [who, hash])?;
    // Nobody needs the one that somebody asked for.
    connection.execute("DELETE FROM pending_password WHERE name = ?1", [who])?;
    let others = "DELETE FROM session WHERE name = ?1 AND hash <> ?2";
    let ended = connection.execute(others, [who, &sha256(session)])?;
    let detail = json!({"sessions_ended": ended});
    audit::append(connection, now, &Entry { who, action: "set_password", what: who, detail })?;
    Ok(true)
}

/// Whether a session of somebody goes on: while a password was looked at and hashed, another may
/// have been put in its place by somebody who must win, and ended it.
fn is_open(connection: &Connection, (who, session): (&str, &str)) -> rusqlite::Result<bool> {
    let query = "SELECT 1 FROM session WHERE name = ?1 AND hash = ?2";
    connection.prepare_cached(query)?.exists([who, &sha256(session)])
}

/// Sets a PIN, or takes it away, if the session has not ended meanwhile. Whether it was done. The
/// caller owns the transaction.
pub(crate) fn set_pin(
    connection: &Connection,
    now: WallTime,
    (who, session): (&str, &str),
    hash: Option<&str>,
) -> rusqlite::Result<bool> {
    if !is_open(connection, (who, session))? {
        return Ok(false);
    }
    connection.execute("UPDATE person SET pin = ?2 WHERE name = ?1", params![who, hash])?;
    let detail = json!({"has_pin": hash.is_some()});
    audit::append(connection, now, &Entry { who, action: "set_pin", what: who, detail })?;
    Ok(true)
}

/// The stored hash of an enabled person's PIN.
pub(crate) fn pin(connection: &Connection, name: &str) -> rusqlite::Result<Option<String>> {
    let query = "SELECT pin FROM person WHERE name = ?1 AND disabled = 0";
    connection.query_row(query, [name], |row| row.get(0)).optional().map(Option::flatten)
}

/// How a session stands; `None` for one that has ended.
pub(crate) fn presence(
    connection: &Connection,
    secret: &str,
) -> rusqlite::Result<Option<Presence>> {
    let query = "SELECT pin IS NOT NULL, confirmed_ms,
                   CASE person.role WHEN 'kiosk' THEN NULL ELSE opened_ms END
                 FROM session JOIN person USING (name) WHERE session.hash = ?1";
    connection
        .prepare_cached(query)?
        .query_row([sha256(secret)], |row| {
            let confirmed_ms: i64 = row.get(1)?;
            let opened_ms: Option<i64> = row.get(2)?;
            Ok(Presence {
                has_pin: row.get(0)?,
                until_ms: confirmed_ms + PRESENT_MS,
                ends_ms: opened_ms.map(|opened_ms| opened_ms + SESSION_MS),
            })
        })
        .optional()
}

/// The person of a session is there.
pub(crate) fn is_there(connection: &Connection, secret: &str, now_ms: i64) -> rusqlite::Result<()> {
    let query = "UPDATE session SET confirmed_ms = ?2 WHERE hash = ?1";
    connection.execute(query, params![sha256(secret), now_ms]).map(drop)
}

/// A wrong password or PIN in an open session, which may have to end with it. The caller owns the
/// transaction.
pub(crate) fn tell_wrong(
    connection: &Connection,
    now: WallTime,
    (who, session): (&str, &str),
    ends: bool,
) -> rusqlite::Result<()> {
    if ends {
        super::close_session(connection, session)?;
    }
    let detail = json!({"session_ended": ends});
    audit::append(connection, now, &Entry { who, action: "confirm_failed", what: who, detail })
}
