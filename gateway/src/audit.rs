//! The chain of what people did: each entry holds the hash of the one before it.
//!
//! # Invariants
//! - an entry is in the transaction that does what it tells
//! - hashes are over what is stored, never over something written anew

use aws_lc_rs::digest::{Context, SHA256};
use model::time::WallTime;
use rusqlite::{Connection, OptionalExtension as _, params};
use serde_json::{Value, json};

/// Version of an entry's form.
const VERSION: u32 = 1;

/// What somebody did.
pub(crate) struct Entry<'a> {
    /// Name of the person or program; `county` where nobody did it.
    pub(crate) who: &'a str,
    /// What was done: `acknowledge`, `log_in`.
    pub(crate) action: &'a str,
    /// On what: the id of an alert, the name of a person.
    pub(crate) what: &'a str,
    /// What else there is to tell. No password, no token, no unmasked name.
    pub(crate) detail: Value,
}

/// Adds an entry. The caller owns the transaction.
pub(crate) fn append(
    connection: &Connection,
    now: WallTime,
    entry: &Entry<'_>,
) -> rusqlite::Result<()> {
    let last: Option<(i64, Vec<u8>)> = connection
        .prepare_cached("SELECT id, hash FROM audit ORDER BY id DESC LIMIT 1")?
        .query_row([], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let (id, before) = last.map_or((1, Vec::new()), |(id, hash)| (id + 1, hash));
    let Entry { who, action, what, detail } = entry;
    let body = json!([VERSION, id, now.unix_ms(), who, action, what, detail]).to_string();
    connection
        .prepare_cached("INSERT INTO audit (id, body, hash) VALUES (?1, ?2, ?3)")?
        .execute(params![id, body, chained(&before, &body).as_ref()])?;
    Ok(())
}

/// The hash of an entry: over that of the entry before it (none before the first) and its body.
fn chained(before: &[u8], body: &str) -> impl AsRef<[u8]> {
    let mut context = Context::new(&SHA256);
    context.update(before);
    context.update(body.as_bytes());
    context.finish()
}
