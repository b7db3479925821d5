//! What waits at a sink is delivered: in its order, again and again until it is.
//!
//! A sink that fails is tried with one message at a time, ever more rarely. What became old news
//! meanwhile is told by a summary: when a receiver comes back after days, nobody is paged for them.
//!
//! # Invariants
//! - of an alert a step is tried when all before it are delivered, by themselves or in a summary
//! - a message has the same key each time it is tried: one that was delivered and could not be
//!   written down is known by the receiver
//! - a summary is made of what it is made of once: what gets old later is in the next one

use super::{
    KEPT_MS, Office, command,
    message::{self, About, LISTED_MAX, SUMMARY, Waiting},
    sink::{Outcome, Sink, Via},
    standing::{self, Standing},
    webhook::Poster,
};
use crate::{
    clock::{self, rfc3339},
    store::{Store, StoreError},
};
use futures_util::future::join_all;
use model::{alarm::Priority, time::WallTime};
use rusqlite::{Connection, Row, Transaction, params};
use serde_json::{Value, json};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// What waits is looked at so often where nothing says that there is more: for what is due again.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// The second attempt comes after this, each further one after twice the time.
const AGAIN_AFTER: Duration = Duration::from_secs(1);
/// A receiver that is back is found within this.
const AGAIN_MAX: Duration = Duration::from_secs(30);
/// Messages posted at the same time: a receiver that takes a second each keeps up with a flood.
const POSTED_MAX: usize = 4;
/// Old news in one summary, and so in one transaction: a sink that was away for weeks gets several.
const SUMMED_MAX: usize = 2000;
/// How often old notifications are removed.
const TIDY_EVERY: Duration = Duration::from_secs(3600);
/// Notifications removed in one transaction.
const REMOVED_MAX: usize = 1000;

/// Delivers to one sink.
pub(super) struct Delivery {
    pub(super) sink: Sink,
    pub(super) office: Office,
}

/// What came of one message.
struct Tried {
    id: i64,
    /// How often it was before.
    attempts: u32,
    at: WallTime,
    took: Duration,
    outcome: Outcome,
}

impl Delivery {
    /// Delivers until the gateway stops.
    pub(super) async fn run(self) {
        let mut changes = self.office.events.alerts();
        let mut poster = None;
        let mut failures = 0;
        let mut standing = None;
        loop {
            let work = async {
                let done = self.turn(&mut poster, failures).await;
                self.tell_standing(&mut standing).await;
                done
            };
            let done = tokio::select! {
                done = work => done,
                // What is on its way may arrive; it is delivered again, under the same key.
                () = self.office.stopped.cancelled() => return,
            };
            let pause = match done {
                Ok(Turn::Delivered) => {
                    failures = 0;
                    continue;
                }
                Ok(Turn::Idle) => {
                    tokio::select! {
                        () = tokio::time::sleep(LOOK_EVERY) => {}
                        // The events are gone with the gateway.
                        _ = changes.changed() => {}
                        () = self.office.stopped.cancelled() => return,
                    }
                    continue;
                }
                Ok(Turn::Failed) => {
                    failures += 1;
                    again_after(failures)
                }
                Err(error) => {
                    if !matches!(error, StoreError::Disk(_)) {
                        tracing::error!(
                            sink = self.sink.name,
                            error = format!("{:#}", anyhow::Error::new(error)),
                            "Notifications cannot be looked at or written down."
                        );
                    }
                    AGAIN_MAX
                }
            };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.office.stopped.cancelled() => return,
            }
        }
    }

    /// Tries what is due, as much as may be at once, and writes down what came of it.
    async fn turn(&self, poster: &mut Option<Poster>, failures: u32) -> Result<Turn, StoreError> {
        let (name, now) = (self.sink.name.clone(), clock::now());
        let at_once = match (&self.sink.via, failures) {
            (Via::Webhook(_), 0) => POSTED_MAX,
            // A program may have one modem; a sink that fails is felt for.
            (Via::Webhook(_), _) | (Via::Command(_), _) => 1,
        };
        let found = {
            let name = name.clone();
            let look = move |connection: &Connection| {
                let old = has_old(connection, &name, now)?;
                Ok((old, due(connection, &name, now, at_once)?))
            };
            self.office.store.read(look).await?
        };
        let due = match found {
            (false, due) => due,
            (true, _) => {
                let sum_up = move |transaction: &Transaction<'_>| {
                    sum_up(transaction, &name, now)?;
                    due(transaction, &name, now, at_once)
                };
                self.office.store.write(sum_up).await?
            }
        };
        if due.is_empty() {
            return Ok(Turn::Idle);
        }
        let tried = self.try_all(due, poster).await;
        let delivered = tried.iter().any(|tried| tried.outcome.delivered);
        for Tried { outcome, .. } in &tried {
            let result = if outcome.delivered { "delivered" } else { "failed" };
            let sink = self.sink.name.clone();
            metrics::counter!("gateway_notification_attempts_total",
                "sink" => sink, "result" => result)
            .increment(1);
        }
        self.office.store.write(move |transaction| write_down(transaction, &tried)).await?;
        Ok(if delivered { Turn::Delivered } else { Turn::Failed })
    }

    async fn try_all(&self, due: Vec<Waiting>, poster: &mut Option<Poster>) -> Vec<Tried> {
        let unusable = match (&self.sink.via, &poster) {
            (Via::Webhook(webhook), None) => match Poster::new(webhook) {
                Ok(new) => {
                    *poster = Some(new);
                    None
                }
                Err(error) => Some(format!("{error:#}")),
            },
            _ => None,
        };
        let ready = poster.as_ref();
        let tries = due.iter().map(|waiting| {
            let why = unusable.clone();
            async move {
                let (at, began) = (clock::now(), clock::instant());
                let about = About {
                    sink: &self.sink,
                    clinics: &self.office.clinics,
                    board: self.office.board.as_deref(),
                    now: at,
                };
                let message = message::told(waiting, about).to_string();
                let outcome = match (&self.sink.via, ready, why) {
                    (_, _, Some(why)) => Outcome::failed(why),
                    (Via::Webhook(webhook), Some(poster), _) => {
                        let Waiting { alert, step, number, at_ms, .. } = waiting;
                        let key = message::key(&self.sink.name, alert, step, *number, *at_ms);
                        poster.post(webhook, &key, at, message).await
                    }
                    (Via::Webhook(_), None, _) => Outcome::failed(String::new()),
                    (Via::Command(program), ..) => command::run(program, message).await,
                };
                let (id, attempts) = (waiting.id, waiting.attempts);
                Tried { id, attempts, at, took: began.elapsed(), outcome }
            }
        });
        let tried = join_all(tries).await;
        if !tried.iter().all(|tried| tried.outcome.delivered) {
            *poster = None;
        }
        tried
    }

    /// Says once that the sink does not get through, and once that it does again.
    async fn tell_standing(&self, told: &mut Option<Standing>) {
        let (name, now) = (self.sink.name.clone(), clock::now());
        let asked = move |connection: &Connection| standing::of(connection, &name, now);
        // A database that does not answer is told by others.
        let Ok(found) = self.office.store.read(asked).await else { return };
        metrics::gauge!("gateway_notifications_waiting", "sink" => self.sink.name.clone())
            .set(f64::from(found.waiting));
        let failing = f64::from(u8::from(found.failing_since.is_some()));
        metrics::gauge!("gateway_sink_failing", "sink" => self.sink.name.clone()).set(failing);
        let before = told.as_ref().and_then(|told| told.failing_since);
        if found.failing_since.is_some() != before.is_some() {
            match &found.why {
                Some(why) => tracing::error!(
                    sink = self.sink.name,
                    why,
                    "A sink does not get notifications through; the board goes on."
                ),
                None => tracing::info!(sink = self.sink.name, "A sink gets notifications again."),
            }
            self.office.events.publish("sink", &found.json(), None);
        }
        *told = Some(found);
    }
}

/// What a turn did.
enum Turn {
    /// Nothing is due.
    Idle,
    /// Something got through.
    Delivered,
    /// Nothing did.
    Failed,
}

/// How long to wait after so many failures in a row: between half of it and all of it, so that not
/// everybody who waits for a receiver comes at the same moment.
fn again_after(failures: u32) -> Duration {
    let doubled = AGAIN_AFTER.saturating_mul(1 << failures.saturating_sub(1).min(16));
    let whole = doubled.min(AGAIN_MAX);
    let mut byte = [u8::MAX; 1];
    // Without random bytes the full time is as good.
    let _filled = aws_lc_rs::rand::fill(&mut byte);
    whole / 2 + whole / 2 * u32::from(byte[0]) / u32::from(u8::MAX)
}

/// Whether something is old news, and no summary is on its way.
fn has_old(connection: &Connection, sink: &str, now: WallTime) -> rusqlite::Result<bool> {
    connection
        .prepare_cached(
            "SELECT 1 FROM notification WHERE sink = ?1 AND state = 'waiting' AND old_ms <= ?2
             AND NOT EXISTS (SELECT 1 FROM notification
               WHERE sink = ?1 AND alert = '' AND state = 'waiting') LIMIT 1",
        )?
        .exists(params![sink, now.unix_ms()])
}

/// What may be tried now, a summary first, then by priority. Nothing of an alert goes before what
/// it has waiting already: that is looked up by the alert (the `+` keeps SQLite from going through
/// all that waits instead).
fn due(
    connection: &Connection,
    sink: &str,
    now: WallTime,
    limit: usize,
) -> rusqlite::Result<Vec<Waiting>> {
    // Nothing waits for longer: the clock was set back.
    let far_ms = i64::try_from(AGAIN_MAX.as_millis()).unwrap_or(i64::MAX);
    let far_ms = now.unix_ms().saturating_add(far_ms);
    connection
        .prepare_cached(
            "SELECT due.id, due.alert, step, number, due.priority, at_ms, attempts, due.body,
               alert.state,
               (SELECT count(DISTINCT told.alert) FROM notification AS told
                CROSS JOIN alert ON alert.id = told.alert
                WHERE told.summary = due.id AND alert.state = 'active_unack')
             FROM notification AS due LEFT JOIN alert ON alert.id = due.alert
             WHERE sink = ?1 AND due.state = 'waiting' AND old_ms > ?2
             AND (due_ms <= ?2 OR due_ms > ?4)
             AND NOT EXISTS (SELECT 1 FROM notification AS before
               WHERE before.sink = ?1 AND before.alert = due.alert AND +before.id < due.id
               AND +before.state IN ('waiting', 'in_summary'))
             ORDER BY due.alert <> '', CASE due.priority WHEN 'high' THEN 0 WHEN 'medium' THEN 1
               ELSE 2 END, due.id LIMIT ?3",
        )?
        .query_map(
            params![sink, now.unix_ms(), i64::try_from(limit).unwrap_or(1), far_ms],
            waiting,
        )?
        .collect()
}

fn waiting(row: &Row<'_>) -> rusqlite::Result<Waiting> {
    let body: String = row.get(7)?;
    Ok(Waiting {
        id: row.get(0)?,
        alert: row.get(1)?,
        step: row.get(2)?,
        number: row.get(3)?,
        priority: row.get(4)?,
        at_ms: row.get(5)?,
        attempts: row.get(6)?,
        body: serde_json::from_str(&body).unwrap_or_default(),
        state: row.get(8)?,
        unanswered: row.get(9)?,
    })
}

/// One summary of what is old news, the oldest of it where that is more than [`SUMMED_MAX`].
fn sum_up(connection: &Connection, sink: &str, now: WallTime) -> rusqlite::Result<()> {
    let old: Vec<Waiting> = connection
        .prepare_cached(&format!(
            "SELECT old.id, old.alert, step, number, old.priority, at_ms, attempts, old.body,
               alert.state, 0
             FROM notification AS old LEFT JOIN alert ON alert.id = old.alert
             WHERE sink = ?1 AND old.state = 'waiting' AND old_ms <= ?2 AND old.alert <> ''
             ORDER BY old.id LIMIT {SUMMED_MAX}"
        ))?
        .query_map(params![sink, now.unix_ms()], waiting)?
        .collect::<Result<_, _>>()?;
    let Some(last) = old.iter().map(|step| step.at_ms).max() else { return Ok(()) };
    let first = old.iter().map(|step| step.at_ms).min().unwrap_or(last);
    let count =
        |priority: Priority| old.iter().filter(|step| step.priority == priority.name()).count();
    let counts: serde_json::Map<String, Value> = Priority::ALL
        .into_iter()
        .map(|priority| (priority.name().to_owned(), json!(count(priority))))
        .collect();
    // The newest: they are the ones that may still matter.
    let left_out = old.len().saturating_sub(LISTED_MAX);
    let steps: Vec<Value> = old.iter().skip(left_out).map(|step| listed(sink, step)).collect();
    let priority = Priority::ALL.into_iter().rev().find(|priority| count(*priority) > 0);
    let body = json!({
        "counts": counts, "first_at": rfc3339(first), "last_at": rfc3339(last),
        "steps": steps, "left_out": left_out,
    });
    let number: u32 = connection
        .prepare_cached(
            "SELECT coalesce(max(number), 0) + 1 FROM notification WHERE sink = ?1 AND alert = ''",
        )?
        .query_row([sink], |row| row.get(0))?;
    connection.execute(
        "INSERT INTO notification
           (sink, alert, step, number, priority, at_ms, made_ms, due_ms, old_ms, body)
         VALUES (?1, '', ?2, ?3, ?4, ?5, ?6, ?6, ?7, ?8)",
        params![
            sink,
            SUMMARY,
            number,
            priority.map(Priority::name),
            last,
            now.unix_ms(),
            i64::MAX,
            body.to_string()
        ],
    )?;
    let summary = connection.last_insert_rowid();
    let mut told_by = connection.prepare_cached(
        "UPDATE notification SET state = 'in_summary', summary = ?2
                                   WHERE id = ?1",
    )?;
    for step in &old {
        told_by.execute([step.id, summary])?;
    }
    Ok(())
}

/// A step in a summary.
fn listed(sink: &str, waiting: &Waiting) -> Value {
    let Waiting { alert, step, number, at_ms, priority, body, state, .. } = waiting;
    let of_alert = |key| body.get(key).cloned().unwrap_or_default();
    json!({
        "key": message::key(sink, alert, step, *number, *at_ms), "alert": alert, "step": step,
        "number": number, "priority": priority, "at": rfc3339(*at_ms), "state": state,
        "site": of_alert("site"), "device": of_alert("device"),
        "message_zh": of_alert("message_zh"), "message_en": of_alert("message_en"),
    })
}

fn write_down(connection: &Connection, tried: &[Tried]) -> rusqlite::Result<()> {
    for Tried { id, attempts, at, took, outcome } in tried {
        let at_ms = at.unix_ms();
        let took_ms = i64::try_from(took.as_millis()).unwrap_or(i64::MAX);
        connection
            .prepare_cached(
                "INSERT INTO notification_attempt (notification, at_ms, took_ms, delivered, detail)
                 VALUES (?1, ?2, ?3, ?4, ?5)",
            )?
            .execute(params![id, at_ms, took_ms, outcome.delivered, outcome.detail])?;
        let again = again_after(attempts.saturating_add(1)).as_millis();
        let due_ms =
            at_ms.saturating_add(took_ms).saturating_add(i64::try_from(again).unwrap_or(i64::MAX));
        connection
            .prepare_cached(
                "UPDATE notification SET attempts = attempts + 1, due_ms = ?3,
                   state = CASE WHEN ?2 THEN 'delivered' ELSE state END WHERE id = ?1",
            )?
            .execute(params![id, outcome.delivered, due_ms])?;
        if outcome.delivered {
            connection
                .prepare_cached("UPDATE notification SET state = 'delivered' WHERE summary = ?1")?
                .execute([id])?;
        }
    }
    Ok(())
}

/// Removes what is old enough, until the gateway stops.
pub(super) async fn forget_old(store: Store, stopped: CancellationToken) {
    let mut tick = tokio::time::interval(TIDY_EVERY);
    loop {
        tokio::select! {
            _ = tick.tick() => {}
            () = stopped.cancelled() => return,
        }
        let before = clock::now().unix_ms().saturating_sub(KEPT_MS);
        loop {
            match store.write(move |transaction| forget(transaction, before)).await {
                Ok((removed, given_up)) => {
                    if given_up > 0 {
                        tracing::error!(
                            given_up,
                            "Notifications that a sink did not take for a month are given up."
                        );
                    }
                    metrics::counter!("gateway_notifications_given_up_total")
                        .increment(u64::from(given_up));
                    if removed < REMOVED_MAX || stopped.is_cancelled() {
                        break;
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "Old notifications could not be removed.");
                    break;
                }
            }
        }
    }
}

/// Removes some of what was made before then; how many, and how many of them nobody was told.
fn forget(connection: &Connection, before_ms: i64) -> rusqlite::Result<(usize, u32)> {
    let parameters = params![before_ms, i64::try_from(REMOVED_MAX).unwrap_or(1)];
    const OLD: &str = "SELECT id FROM notification WHERE made_ms < ?1 ORDER BY made_ms LIMIT ?2";
    let given_up: u32 = connection
        .prepare_cached(&format!(
            "SELECT count(*) FROM notification
             WHERE id IN ({OLD}) AND state IN ('waiting', 'in_summary') AND alert <> ''"
        ))?
        .query_row(parameters, |row| row.get(0))?;
    let removed = connection
        .prepare_cached(&format!("DELETE FROM notification WHERE id IN ({OLD})"))?
        .execute(parameters)?;
    Ok((removed, given_up))
}
