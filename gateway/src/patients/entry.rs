//! What nurses see and no device measures.

use super::{Refused, find_own, moment_of};
use crate::{
    audit::{self, Entry},
    clock::rfc3339,
    people::Caller,
};
use model::time::WallTime;
use rules::news2::Consciousness;
use rusqlite::{Connection, Row, params};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// Entries of one patient in an answer.
const ENTRIES_MAX: u32 = 50;

/// What a nurse saw.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewEntry {
    consciousness: Option<String>,
    oxygen: Option<bool>,
    taken_at: Option<String>,
}

/// Keeps what a nurse saw.
pub(crate) fn enter(
    connection: &Connection,
    key: &str,
    asked: &NewEntry,
    caller: &Caller,
    now: WallTime,
) -> Result<(), Refused> {
    let who = caller.name.as_str();
    find_own(connection, &caller.scope, key)?;
    let known = |letter: &String| Consciousness::from_letter(letter).is_some();
    if asked.consciousness.as_ref().is_some_and(|letter| !known(letter)) {
        let letters = Consciousness::LETTERS.map(|(letter, _)| letter);
        let text = format!("consciousness: one of {}", letters.join(", "));
        return Err(Refused::Wrong(text));
    }
    if asked.consciousness.is_none() && asked.oxygen.is_none() {
        let text = "consciousness or oxygen: say at least one of the two";
        return Err(Refused::Wrong(text.to_owned()));
    }
    let taken = moment_of("taken_at", asked.taken_at.as_deref(), now)?;
    connection.execute(
        "INSERT INTO nurse_entry (patient, consciousness, oxygen, taken_ms, made_by, made_ms)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        params![key, asked.consciousness, asked.oxygen, taken.unix_ms(), who, now.unix_ms()],
    )?;
    let detail = json!({"consciousness": asked.consciousness, "oxygen": asked.oxygen,
        "taken_at": rfc3339(taken.unix_ms())});
    audit::append(connection, now, &Entry { who, action: "enter", what: key, detail })?;
    Ok(())
}

/// Patients of whom a nurse said since that moment how awake they are.
pub(crate) fn seen_since(
    connection: &Connection,
    since: WallTime,
) -> rusqlite::Result<Vec<String>> {
    // Nobody writes down what is still to come: what was written before is of before.
    let mut statement = connection.prepare_cached(
        "SELECT patient, made_ms, taken_ms FROM nurse_entry WHERE consciousness IS NOT NULL
         ORDER BY id DESC",
    )?;
    let mut rows = statement.query([])?;
    let mut seen = BTreeSet::new();
    while let Some(row) = rows.next()? {
        if row.get::<_, i64>("made_ms")? < since.unix_ms() {
            break;
        }
        if row.get::<_, i64>("taken_ms")? >= since.unix_ms() {
            seen.insert(row.get("patient")?);
        }
    }
    Ok(seen.into_iter().collect())
}

/// What nurses saw, the newest first.
pub(crate) fn entries(connection: &Connection, key: &str) -> rusqlite::Result<Vec<Value>> {
    let told = |row: &Row<'_>| {
        Ok(json!({"consciousness": row.get::<_, Option<String>>("consciousness")?,
            "oxygen": row.get::<_, Option<bool>>("oxygen")?,
            "taken_at": rfc3339(row.get("taken_ms")?),
            "made_by": row.get::<_, String>("made_by")?,
            "made_at": rfc3339(row.get("made_ms")?)}))
    };
    connection
        .prepare_cached(&format!(
            "SELECT * FROM nurse_entry WHERE patient = ?1 ORDER BY taken_ms DESC, id DESC
             LIMIT {ENTRIES_MAX}"
        ))?
        .query_map([key], told)?
        .collect()
}
