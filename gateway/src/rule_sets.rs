//! Versions of the rules: drafted by one person, approved by another, one of them live.
//!
//! Not here: what a rule means (`rules`), how boxes hear of it ([`crate::policy`]).
//!
//! # Invariants
//! - exactly one version is live, and what evaluates reads it anew each time
//! - a version is never changed, and its number never used again
//! - what is written, approved or taken over is an entry of the audit, in the same transaction

mod check;
pub(crate) mod preview;

use check::silenced;
pub(crate) use check::{DEFAULT, check, read};

use crate::{
    audit::{self, Entry},
    clock::rfc3339,
    people::hex,
};
use aws_lc_rs::digest::{SHA256, digest};
use model::time::WallTime;
use rules::{
    ladder::TimesBySite,
    rule::{RuleSet, RuleSetError},
};
use rusqlite::{Connection, OptionalExtension as _, Row, params};
use serde_json::{Value, json};
use std::sync::Arc;
use thiserror::Error;
use tokio::sync::watch;
use uplink_proto::policy::RulesHash;

/// Author of what came with the program, or is named under `[rules]`.
pub(crate) const PROGRAM: &str = "program";
/// Versions that are listed: a change each week of two years.
const LISTED_MAX: u32 = 100;

/// The rule set that is live.
#[derive(Clone, Debug)]
pub(crate) struct Live {
    pub(crate) number: u64,
    pub(crate) rules: Arc<RuleSet>,
    /// As it was written.
    pub(crate) text: Arc<str>,
    /// SHA-256 of the text.
    pub(crate) hash: RulesHash,
    /// The entry of the audit by which it went live while this gateway runs: they are in the order
    /// in which that was kept.
    pub(crate) entry: i64,
}

impl Live {
    pub(crate) fn new(number: u64, rules: RuleSet, text: &str) -> Self {
        let (rules, text, hash) = (Arc::new(rules), text.into(), sha256(text));
        Self { number, rules, text, hash, entry: 0 }
    }

    fn with_times(self, times: Arc<TimesBySite>) -> Self {
        Self { rules: Arc::new(RuleSet::clone(&self.rules).with_times(times)), ..self }
    }
}

/// Where everybody who evaluates finds the live rule set, with the times that county and
/// townships give people.
#[derive(Clone, Debug)]
pub(crate) struct LiveRules(Arc<watch::Sender<Live>>, Arc<TimesBySite>);

impl LiveRules {
    pub(crate) fn new(live: Live, times: TimesBySite) -> Self {
        let times = Arc::new(times);
        Self(Arc::new(watch::channel(live.with_times(Arc::clone(&times))).0), times)
    }

    /// The rules of this moment.
    pub(crate) fn rules(&self) -> Arc<RuleSet> {
        Arc::clone(&self.0.borrow().rules)
    }

    pub(crate) fn live(&self) -> Live {
        self.0.borrow().clone()
    }

    /// Hears of every change.
    pub(crate) fn follow(&self) -> watch::Receiver<Live> {
        self.0.subscribe()
    }

    /// A version went live; of two at once the one is in force that is kept as the live one,
    /// whichever comes here first.
    pub(crate) fn put(&self, live: Live) {
        self.0.send_if_modified(|before| {
            let is_newer = live.entry > before.entry;
            if is_newer {
                *before = live.with_times(Arc::clone(&self.1));
            }
            is_newer
        });
    }

    /// What the rules go by has changed, a patient or a binding: boxes have to be told.
    pub(crate) fn tell(&self) {
        self.0.send_modify(|_| ());
    }
}

/// Why a version could not be approved.
#[derive(Debug, Error)]
pub(crate) enum ApproveError {
    #[error("there is no such version; fetch the list again")]
    NotFound,
    #[error("{0} wrote it; another person approves")]
    OwnDraft(String),
    #[error("it is live already")]
    Live,
    #[error("this gateway does not understand it: {0}")]
    NotUnderstood(RuleSetError),
}

/// The live set when the gateway starts. The program's own set, or that of the `[rules]` file,
/// becomes a version and goes live where nobody has approved another.
pub(crate) fn at_start(
    connection: &Connection,
    now: WallTime,
    text: &str,
    rules: RuleSet,
) -> rusqlite::Result<Live> {
    let live: Option<(i64, String, String)> = connection
        .query_row("SELECT version, author, text FROM rule_set WHERE live = 1", [], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })
        .optional()?;
    match live {
        Some((version, author, of_program)) if author == PROGRAM && of_program == text => {
            return Ok(Live::new(number(version), rules, text));
        }
        Some((version, author, approved)) if author != PROGRAM => {
            match RuleSet::from_json(&approved) {
                Ok(rules) => {
                    // Approved before that was looked at; it stays what people decided.
                    for mistake in silenced(&approved) {
                        tracing::error!(version, %mistake, "Approve another version of the rules.");
                    }
                    return Ok(Live::new(number(version), rules, &approved));
                }
                Err(error) => tracing::error!(version, %error,
                    "The approved rules are not understood; those of the program are live."),
            }
        }
        _ => {}
    }
    let version = insert(connection, now, PROGRAM, text, "")?;
    go_live(connection, version)?;
    let what = version.to_string();
    let detail = json!({"sha256": hex(&sha256(text))});
    let entry = Entry { who: "county", action: "take_over_rules", what: &what, detail };
    audit::append(connection, now, &entry)?;
    Ok(Live::new(number(version), rules, text))
}

/// Keeps a draft; its number.
pub(crate) fn draft(
    connection: &Connection,
    now: WallTime,
    author: &str,
    text: &str,
    note: &str,
) -> rusqlite::Result<i64> {
    let version = insert(connection, now, author, text, note)?;
    let detail = json!({"sha256": hex(&sha256(text)), "note": note});
    let entry = Entry { who: author, action: "draft_rules", what: &version.to_string(), detail };
    audit::append(connection, now, &entry)?;
    Ok(version)
}

/// Approves a version, which is live from then on.
pub(crate) fn approve(
    connection: &Connection,
    now: WallTime,
    approver: &str,
    version: i64,
) -> rusqlite::Result<Result<Live, ApproveError>> {
    let found: Option<(String, String, String, bool)> = connection
        .query_row(
            "SELECT author, text, sha256, live FROM rule_set WHERE version = ?1",
            [version],
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)),
        )
        .optional()?;
    let (author, text, hash) = match found {
        None => return Ok(Err(ApproveError::NotFound)),
        Some((_, _, _, true)) => return Ok(Err(ApproveError::Live)),
        Some((author, ..)) if author == approver => return Ok(Err(ApproveError::OwnDraft(author))),
        Some((author, text, hash, false)) => (author, text, hash),
    };
    // Another program may have kept it: what nobody can go by must not be live.
    let rules = match read(&text) {
        Ok(rules) => rules,
        Err(error) => return Ok(Err(ApproveError::NotUnderstood(error))),
    };
    connection.execute(
        "UPDATE rule_set SET approver = ?2, approved_ms = ?3 WHERE version = ?1",
        params![version, approver, now.unix_ms()],
    )?;
    go_live(connection, version)?;
    let detail = json!({"author": author, "sha256": hash});
    let entry =
        Entry { who: approver, action: "approve_rules", what: &version.to_string(), detail };
    audit::append(connection, now, &entry)?;
    let entry = connection.last_insert_rowid();
    Ok(Ok(Live { entry, ..Live::new(number(version), rules, &text) }))
}

/// The text of a version.
pub(crate) fn text(connection: &Connection, version: i64) -> rusqlite::Result<Option<String>> {
    let text = "SELECT text FROM rule_set WHERE version = ?1";
    connection.query_row(text, [version], |row| row.get(0)).optional()
}

/// The newest versions, without their texts.
pub(crate) fn list(connection: &Connection) -> rusqlite::Result<Vec<Value>> {
    connection
        .prepare_cached("SELECT * FROM rule_set ORDER BY version DESC LIMIT ?1")?
        .query_map([LISTED_MAX], told)?
        .collect()
}

/// A version as the API tells it.
pub(crate) fn version(connection: &Connection, version: i64) -> rusqlite::Result<Option<Value>> {
    connection.query_row("SELECT * FROM rule_set WHERE version = ?1", [version], told).optional()
}

fn told(row: &Row<'_>) -> rusqlite::Result<Value> {
    let moment = |name| row.get::<_, Option<i64>>(name).map(|ms| ms.map(rfc3339));
    Ok(json!({
        "version": row.get::<_, i64>("version")?,
        "live": row.get::<_, bool>("live")?,
        "sha256": row.get::<_, String>("sha256")?,
        "author": row.get::<_, String>("author")?,
        "created_at": moment("created_ms")?,
        "note": row.get::<_, String>("note")?,
        "approved_by": row.get::<_, Option<String>>("approver")?,
        "approved_at": moment("approved_ms")?,
    }))
}

fn insert(
    connection: &Connection,
    now: WallTime,
    author: &str,
    text: &str,
    note: &str,
) -> rusqlite::Result<i64> {
    connection.query_row(
        "INSERT INTO rule_set (version, text, sha256, author, created_ms, note)
         VALUES ((SELECT ifnull(max(version), 0) + 1 FROM rule_set), ?1, ?2, ?3, ?4, ?5)
         RETURNING version",
        params![text, hex(&sha256(text)), author, now.unix_ms(), note],
        |row| row.get(0),
    )
}

fn go_live(connection: &Connection, version: i64) -> rusqlite::Result<()> {
    connection.execute("UPDATE rule_set SET live = 0 WHERE live = 1", [])?;
    connection.execute("UPDATE rule_set SET live = 1 WHERE version = ?1", [version]).map(drop)
}

/// Versions count from 1.
fn number(version: i64) -> u64 {
    u64::try_from(version).unwrap_or_default()
}

fn sha256(text: &str) -> RulesHash {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, text.as_bytes()).as_ref());
    hash
}

#[cfg(test)]
mod tests;
