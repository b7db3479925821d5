//! What waits at which sink, whether it gets through, and what became of each notification.

use super::message;
use crate::{clock::rfc3339, people::Scope};
use model::time::WallTime;
use rusqlite::{Connection, OptionalExtension as _, Row, params};
use serde_json::{Value, json};

/// A sink fails when something waits for so long and was tried: a receiver may be restarted.
const FAILING_AFTER_MS: i64 = 60_000;
/// Attempts of one notification that are told, the newest.
const ATTEMPTS_MAX: u32 = 20;

/// How a sink is doing.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Standing {
    pub(crate) sink: String,
    /// Messages that wait.
    pub(crate) waiting: u32,
    /// Since when something waits that was tried in vain, where that is too long.
    pub(crate) failing_since: Option<WallTime>,
    /// What came of the last attempt, where it fails.
    pub(crate) why: Option<String>,
}

impl Standing {
    pub(crate) fn json(&self) -> Value {
        json!({
            "sink": self.sink,
            "state": if self.failing_since.is_some() { "failing" } else { "good" },
            "since": self.failing_since.map(|since| rfc3339(since.unix_ms())),
            "waiting": self.waiting,
        })
    }
}

/// How every sink of the configuration is doing.
pub(crate) fn standings(connection: &Connection, now: WallTime) -> rusqlite::Result<Vec<Standing>> {
    let sinks: Vec<String> = connection
        .prepare_cached("SELECT name FROM sink ORDER BY name")?
        .query_map([], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    sinks.iter().map(|sink| of(connection, sink, now)).collect()
}

/// How one sink is doing.
pub(super) fn of(connection: &Connection, sink: &str, now: WallTime) -> rusqlite::Result<Standing> {
    let (waiting, since): (u32, Option<i64>) = connection
        .prepare_cached(
            "SELECT count(*), min(CASE WHEN attempts > 0 THEN made_ms END) FROM notification
             WHERE sink = ?1 AND state = 'waiting'",
        )?
        .query_row([sink], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let since = since.filter(|since| now.unix_ms().saturating_sub(*since) >= FAILING_AFTER_MS);
    let why = match since {
        None => None,
        Some(_) => connection
            .prepare_cached(
                "SELECT detail FROM notification_attempt
                 JOIN notification ON notification.id = notification
                 WHERE sink = ?1 AND state = 'waiting'
                 ORDER BY notification_attempt.id DESC LIMIT 1",
            )?
            .query_row([sink], |row| row.get(0))
            .optional()?,
    };
    Ok(Standing {
        sink: sink.to_owned(),
        waiting,
        failing_since: since.map(WallTime::from_unix_ms),
        why,
    })
}

/// Which notifications are asked for.
#[derive(Debug, Default)]
pub(crate) struct Filter {
    pub(crate) sink: Option<String>,
    pub(crate) alert: Option<String>,
    pub(crate) state: Option<String>,
    /// Older than that one.
    pub(crate) before: Option<i64>,
    pub(crate) limit: u32,
    /// Whose they are; a summary may be of every site.
    pub(crate) scope: Scope,
}

/// States of a notification.
pub(crate) const STATES: [&str; 4] = ["waiting", "in_summary", "delivered", "withdrawn"];

/// Notifications, the newest first, each with what came of its attempts; and how to go on.
pub(crate) fn list(connection: &Connection, filter: &Filter) -> rusqlite::Result<Value> {
    let mut told: Vec<(i64, Value)> = connection
        .prepare_cached(
            "SELECT * FROM notification WHERE (?1 IS NULL OR sink = ?1)
             AND (?2 IS NULL OR alert = ?2) AND (?3 IS NULL OR state = ?3)
             AND (?4 IS NULL OR id < ?4)
             AND (?6 IS NULL OR site IN (SELECT value FROM json_each(?6)))
             ORDER BY id DESC LIMIT ?5",
        )?
        .query_map(
            params![
                filter.sink,
                filter.alert,
                filter.state,
                filter.before,
                filter.limit,
                filter.scope.sites()
            ],
            notification,
        )?
        .collect::<Result<_, _>>()?;
    let is_full = u32::try_from(told.len()).is_ok_and(|count| count >= filter.limit);
    let next = told.last().map(|(id, _)| id.to_string()).filter(|_| is_full);
    for (id, told) in &mut told {
        if let Some(fields) = told.as_object_mut() {
            fields.insert("attempts".to_owned(), attempts(connection, *id)?);
        }
    }
    let told: Vec<Value> = told.into_iter().map(|(_, told)| told).collect();
    Ok(json!({"notifications": told, "next_cursor": next}))
}

fn notification(row: &Row<'_>) -> rusqlite::Result<(i64, Value)> {
    let text = |name| row.get::<_, String>(name);
    let (alert, step, number) = (text("alert")?, text("step")?, row.get("number")?);
    let (id, at_ms, sink) = (row.get("id")?, row.get("at_ms")?, text("sink")?);
    let told = json!({
        "id": id, "key": message::key(&sink, &alert, &step, number, at_ms), "sink": sink,
        "alert": Some(&alert).filter(|alert| !alert.is_empty()), "step": step, "number": number,
        "priority": text("priority")?, "site": row.get::<_, Option<String>>("site")?,
        "at": rfc3339(at_ms), "made_at": rfc3339(row.get("made_ms")?),
        "state": text("state")?, "summary": row.get::<_, Option<i64>>("summary")?,
        "attempted": row.get::<_, i64>("attempts")?,
    });
    Ok((id, told))
}

fn attempts(connection: &Connection, notification: i64) -> rusqlite::Result<Value> {
    let mut statement = connection.prepare_cached(
        "SELECT at_ms, took_ms, delivered, detail FROM notification_attempt
         WHERE notification = ?1 ORDER BY id DESC LIMIT ?2",
    )?;
    let told = |row: &Row<'_>| {
        Ok(json!({
            "at": rfc3339(row.get("at_ms")?), "took_ms": row.get::<_, i64>("took_ms")?,
            "delivered": row.get::<_, bool>("delivered")?,
            "detail": row.get::<_, String>("detail")?,
        }))
    };
    let attempts = statement.query_map(params![notification, ATTEMPTS_MAX], told)?;
    Ok(Value::Array(attempts.collect::<Result<_, _>>()?))
}
