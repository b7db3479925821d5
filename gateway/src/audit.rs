//! The chain of what people did: each entry holds the hash of the one before it.
//!
//! - [`verify`]: walks the chain and says what is wrong with it
//!
//! # Invariants
//! - an entry is in the transaction that does what it tells
//! - hashes are over what is stored, never over something written anew
//! - two who write at once write one after the other: an entry has a number of its own, and its
//!   transaction fails where somebody else took that number meanwhile

pub(crate) mod verify;

use crate::{
    alerts::{self, Context, Evaluation},
    clock::{self, rfc3339},
    events::Events,
    people::hex,
    query::with_clinic,
    rule_sets::LiveRules,
    store::{Store, StoreError},
};
use aws_lc_rs::digest::{Context as Hashing, SHA256};
use model::time::WallTime;
use rules::rule::RuleSet;
use rusqlite::{Connection, OptionalExtension as _, Row, Transaction, params, types::ValueRef};
use serde::Serialize;
use serde_json::{Value, json};
use std::{fmt, str::FromStr, sync::Arc, time::Duration};
use thiserror::Error;
use tokio_util::sync::CancellationToken;
use verify::{Report, Walk};

/// Version of an entry's form.
const VERSION: u32 = 1;
/// The chain is walked at the start and this often.
const WALK_EVERY: Duration = Duration::from_secs(24 * 3600);
/// Entries of one step of a walk, some 10 ms: the disk is others' in between.
const STEP: u32 = 5000;
/// Between two steps.
const PAUSE: Duration = Duration::from_millis(20);

/// What somebody did.
pub(crate) struct Entry<'a> {
    /// Name of the person or program; `county` where nobody did it; at a box the name that was said
    /// there.
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
        .execute(params![id, body, chained(&before, body.as_bytes()).as_ref()])?;
    Ok(())
}

/// The hash of an entry: over that of the entry before it (none before the first) and its body.
fn chained(before: &[u8], body: &[u8]) -> impl AsRef<[u8]> {
    let mut context = Hashing::new(&SHA256);
    context.update(before);
    context.update(body);
    context.finish()
}

/// The last entry of a chain. Whoever keeps it elsewhere can prove later that nothing before it was
/// changed: `17:5f3a…`.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub(crate) struct Head {
    pub(crate) id: i64,
    pub(crate) hash: String,
}

impl fmt::Display for Head {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}:{}", self.id, self.hash)
    }
}

/// It is no head.
#[derive(Clone, Debug, Error)]
#[error("\"{0}\" is no head of a chain; write what `clinic-gateway audit head` printed, ID:HASH")]
pub(crate) struct NoHead(String);

impl FromStr for Head {
    type Err = NoHead;

    fn from_str(text: &str) -> Result<Self, NoHead> {
        let no_head = || NoHead(text.to_owned());
        let (id, hash) = text.split_once(':').ok_or_else(no_head)?;
        let id = id.parse().ok().filter(|id| *id > 0).ok_or_else(no_head)?;
        let good = hash.len() == 64 && hash.bytes().all(|digit| digit.is_ascii_hexdigit());
        good.then(|| Self { id, hash: hash.to_ascii_lowercase() }).ok_or_else(no_head)
    }
}

/// The head; `None` of a chain without entries.
pub(crate) fn head(connection: &Connection) -> rusqlite::Result<Option<Head>> {
    connection
        .query_row("SELECT id, hash FROM audit ORDER BY id DESC LIMIT 1", [], |row| {
            Ok(Head { id: row.get(0)?, hash: hex(&bytes(row, "hash")?) })
        })
        .optional()
}

/// What is asked of entries.
#[derive(Debug, Default)]
pub(crate) struct EntryFilter {
    pub(crate) from_ms: Option<i64>,
    pub(crate) to_ms: Option<i64>,
    /// The entry after which to go on.
    pub(crate) after: Option<i64>,
    pub(crate) limit: u32,
}

/// Entries in their order, with the one to go on from when there are more. One that cannot be read
/// belongs to every time.
pub(crate) fn entries(connection: &Connection, filter: &EntryFilter) -> rusqlite::Result<Value> {
    let mut statement = connection.prepare_cached(
        "SELECT * FROM (
           SELECT id, body, hash,
             CASE WHEN json_valid(body) THEN json_extract(body, '$[2]') END AS at_ms
           FROM audit WHERE ?1 IS NULL OR id > ?1)
         WHERE (at_ms IS NULL OR ?2 IS NULL OR at_ms >= ?2)
           AND (at_ms IS NULL OR ?3 IS NULL OR at_ms < ?3)
         ORDER BY id LIMIT ?4",
    )?;
    let asked = params![filter.after, filter.from_ms, filter.to_ms, i64::from(filter.limit) + 1];
    let mut found: Vec<(i64, Value)> = statement
        .query_map(asked, |row| Ok((row.get("id")?, entry_json(row)?)))?
        .collect::<Result<_, _>>()?;
    let limit = usize::try_from(filter.limit).unwrap_or(usize::MAX);
    let is_more = found.len() > limit;
    found.truncate(limit);
    let next = found.last().filter(|_| is_more).map(|(id, _)| id.to_string());
    let entries: Vec<Value> = found.into_iter().map(|(_, entry)| entry).collect();
    Ok(json!({"entries": entries, "next_cursor": next}))
}

/// An entry as it is told: what it says, and its very words, over which its hash is.
fn entry_json(row: &Row<'_>) -> rusqlite::Result<Value> {
    let body = String::from_utf8_lossy(&bytes(row, "body")?).into_owned();
    let said: Value = serde_json::from_str(&body).unwrap_or_default();
    let part = |place: usize| said.get(place).cloned().unwrap_or_default();
    Ok(json!({
        "id": row.get::<_, i64>("id")?,
        "at": part(2).as_i64().map(rfc3339),
        "who": part(3), "action": part(4), "what": part(5), "detail": part(6),
        "hash": hex(&bytes(row, "hash")?), "body": body,
    }))
}

/// A column as it is stored, whatever somebody made of it.
fn bytes(row: &Row<'_>, column: &str) -> rusqlite::Result<Vec<u8>> {
    Ok(match row.get_ref(column)? {
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => bytes.to_vec(),
        ValueRef::Null => Vec::new(),
        ValueRef::Integer(number) => number.to_string().into_bytes(),
        ValueRef::Real(number) => number.to_string().into_bytes(),
    })
}

/// The head up to which the gateway found the chain whole when it walked it last.
pub(crate) fn walked_head(connection: &Connection) -> rusqlite::Result<Option<Head>> {
    connection
        .prepare_cached("SELECT id, hash FROM audit_head")?
        .query_row([], |row| Ok(Head { id: row.get(0)?, hash: row.get(1)? }))
        .optional()
}

fn keep_walked_head(transaction: &Transaction<'_>, head: &Head) -> rusqlite::Result<()> {
    transaction.execute("DELETE FROM audit_head", [])?;
    let row = "INSERT INTO audit_head VALUES (?1, ?2)";
    transaction.execute(row, params![head.id, head.hash]).map(drop)
}

/// Walks the chain at the start and each day, and raises TECH-AUDIT where it is broken.
pub(crate) async fn watch(
    store: Store,
    rules: LiveRules,
    events: Events,
    stopped: CancellationToken,
) {
    let mut tick = tokio::time::interval(WALK_EVERY);
    loop {
        tokio::select! {
            _ = tick.tick() => {}
            () = stopped.cancelled() => return,
        }
        let looked = async {
            let report = walk(&store).await?;
            tell(&store, rules.rules(), report).await
        };
        let told = tokio::select! {
            told = looked => told,
            () = stopped.cancelled() => return,
        };
        match told {
            Ok(alerts) => alerts
                .into_iter()
                .for_each(|alert| events.publish("alert", &with_no_clinic(alert), None)),
            Err(error) => tracing::error!(%error, "The audit chain could not be walked."),
        }
    }
}

/// The county's own alerts are of no clinic.
pub(crate) fn with_no_clinic(alert: Value) -> Value {
    with_clinic(alert, &crate::query::Clinics::new())
}

async fn walk(store: &Store) -> Result<Report, StoreError> {
    let mut walk = Walk::against(store.read(walked_head).await?);
    loop {
        let step = move |connection: &Connection| {
            let is_over = walk.step(connection, STEP)?;
            Ok((walk, is_over))
        };
        let is_over;
        (walk, is_over) = store.read(step).await?;
        if is_over {
            return Ok(walk.finish());
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// The alerts that changed by it.
async fn tell(
    store: &Store,
    rules: Arc<RuleSet>,
    report: Report,
) -> Result<Vec<Value>, StoreError> {
    for finding in &report.findings {
        tracing::error!(entry = finding.entry, what = finding.what, "{}", finding.means);
    }
    metrics::gauge!("gateway_audit_broken").set(if report.good { 0.0 } else { 1.0 });
    // A log that is kept elsewhere keeps the head too.
    let head = report.head.as_ref().map(ToString::to_string);
    tracing::info!(
        entries = report.entries,
        good = report.good,
        head,
        "The audit chain was walked."
    );
    let now = clock::now();
    store
        .write(move |transaction: &Transaction<'_>| {
            if let Some(head) = report.head.as_ref().filter(|_| report.good) {
                keep_walked_head(transaction, head)?;
            }
            let context = Context { connection: transaction, rules: &rules, now };
            let mut evaluation = Evaluation::default();
            evaluation.audit_checked(context, !report.good)?;
            alerts::store(context, evaluation)
        })
        .await
}
