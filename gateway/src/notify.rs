//! Notifications: whoever is not at the board is told what becomes of an alert.
//!
//! The board needs none of this: it follows the alerts themselves.
//!
//! - [`sink`]: who wants to be told what, and the way there
//! - [`message`]: what is said
//! - [`delivery`]: what waits is delivered, in its order, until it is
//! - [`webhook`], [`command`]: the two ways
//! - [`standing`]: what waits at which sink, and whether it gets through
//!
//! # Invariants
//! - what is to be told is made in the transaction that changes the alert, once for each step and
//!   sink, whatever is delivered twice or killed
//! - of an alert a step is delivered when all before it are
//! - what is settled stays for [`KEPT_MS`], with what came of each attempt

mod command;
mod delivery;
mod message;
mod sink;
mod standing;
#[cfg(test)]
mod tests;
mod webhook;

use delivery::Delivery;
pub(crate) use sink::{Command, Language, Sink, Step, Via, Webhook};
pub(crate) use standing::{Filter, STATES, Standing, list, standings};

use crate::{
    events::Events,
    query::Clinics,
    store::{Store, StoreError},
};
use futures_util::future::join_all;
use model::{alarm::Priority, time::WallTime};
use rules::alert::{Alert, AlertState, TimelineEntry, TimelineEvent};
use rusqlite::{Connection, OptionalExtension as _, Transaction, params};
use serde_json::json;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// A step that readings made longer ago is not ours: it was told where it was made (an alert that
/// was raised at the clinic while the county was out of reach).
const OURS_MS: i64 = 60_000;
/// An alert that stands there makes no sound: nobody knows, or somebody wants it so.
const SILENT: [AlertState; 4] =
    [AlertState::Unknown, AlertState::Shelved, AlertState::Suppressed, AlertState::OutOfService];
/// How long notifications are kept: a month's account.
const KEPT_MS: i64 = 30 * 24 * 3600 * 1000;

/// When a step that nobody could be told becomes old news: by then the alert has reached the last
/// person of its ladder (alert rules, section 6).
const fn old_after_ms(priority: Priority) -> i64 {
    const MINUTE_MS: i64 = 60_000;
    match priority {
        Priority::High => 5 * MINUTE_MS,
        Priority::Medium => 30 * MINUTE_MS,
        Priority::Low => 8 * 60 * MINUTE_MS,
    }
}

/// What all deliveries need.
#[derive(Clone)]
pub(crate) struct Office {
    pub(crate) store: Store,
    pub(crate) events: Events,
    pub(crate) clinics: Arc<Clinics>,
    /// Address of the board, where it is known.
    pub(crate) board: Option<String>,
    pub(crate) stopped: CancellationToken,
}

/// Delivers to every sink, and forgets what is old, until the gateway stops.
pub(crate) async fn run(sinks: Vec<Sink>, office: Office) {
    let forgetting = delivery::forget_old(office.store.clone(), office.stopped.clone());
    let deliver = |sink| Delivery { sink, office: office.clone() }.run();
    tokio::join!(join_all(sinks.into_iter().map(deliver)), forgetting);
}

/// From now on these are the sinks. What waits for one that is gone is withdrawn.
pub(crate) async fn set_up(store: &Store, sinks: &[Sink]) -> Result<(), StoreError> {
    let sinks = sinks.to_vec();
    let set_up = move |transaction: &Transaction<'_>| {
        transaction.execute("DELETE FROM sink", [])?;
        for sink in &sinks {
            let priorities: Vec<_> = sink.priorities.iter().map(|one| one.name()).collect();
            let ends = sink.steps.contains(&Step::Cleared).then_some(Step::Closed);
            let steps: Vec<_> = sink.steps.iter().chain(&ends).map(|step| step.name()).collect();
            let sites = sink.sites.as_ref();
            let sites = sites.map(|sites| sites.iter().map(|site| site.as_str()).collect());
            transaction.execute(
                "INSERT INTO sink VALUES (?1, ?2, ?3, ?4)",
                params![
                    sink.name,
                    json!(priorities).to_string(),
                    json!(steps).to_string(),
                    sites.map(|sites: Vec<&str>| json!(sites).to_string())
                ],
            )?;
        }
        transaction.execute(
            "UPDATE notification SET state = 'withdrawn'
             WHERE state IN ('waiting', 'in_summary') AND sink NOT IN (SELECT name FROM sink)",
            [],
        )
    };
    let withdrawn = store.write(set_up).await?;
    if withdrawn > 0 {
        tracing::warn!(withdrawn, "Notifications waited for sinks that are no longer configured.");
    }
    Ok(())
}

/// Makes what is to be told of an alert that changed. The caller owns the transaction.
///
/// An alert that does not sound (late data, shelved, suppressed) is told when it does. One that came with a story of its
/// own is told from where that ends.
pub(crate) fn note(connection: &Connection, now: WallTime, alert: &Alert) -> rusqlite::Result<()> {
    let known: Option<(u32, u32)> = connection
        .prepare_cached("SELECT seen, told FROM alert_told WHERE alert = ?1")?
        .query_row([alert.id.to_string()], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let (seen, told) = known.unwrap_or_default();
    let is_heard = told > 0 && is_heard(connection, alert)?;
    let last = alert.timeline.last().map_or(0, |entry| entry.number);
    let is_over = matches!(alert.state, AlertState::ClearedUnack | AlertState::Closed);
    let age_ms = |entry: &TimelineEntry| now.unix_ms().saturating_sub(entry.at.unix_ms());
    let is_settled = is_over || alert.state == AlertState::ActiveAck;
    // It was over before the news of it came.
    let over_ms = alert.cleared_at.filter(|_| is_over);
    let is_past = over_ms.is_some_and(|at| now.unix_ms().saturating_sub(at.unix_ms()) > OURS_MS);
    let is_ours = |entry: &TimelineEntry, step: Step| match entry.number <= seen {
        // What ended before anybody heard of it is no news, nor is it where it came back since.
        _ if step == Step::Closed => {
            alert.state == AlertState::Closed && is_heard && is_the_end(&alert.timeline, entry)
        }
        // What people were to do about what is closed is nothing.
        _ if !step.is_of_the_condition() => {
            alert.state != AlertState::Closed && age_ms(entry) <= OURS_MS
        }
        // What waited until it sounds, and is over or in hand, is history; but whoever heard of it
        // hears that it is over, also where it ended in an outage.
        true if step == Step::Cleared => !is_settled || is_heard,
        true => !is_settled,
        false if step == Step::Cleared => is_over && is_heard || age_ms(entry) <= OURS_MS,
        false => age_ms(entry) <= OURS_MS && !is_past,
    };
    let mut news: Vec<(&TimelineEntry, Step)> = alert
        .timeline
        .iter()
        .filter(|entry| entry.number > told)
        .filter_map(|entry| Some((entry, Step::from_name(entry.what.name())?)))
        .filter(|(entry, step)| is_ours(entry, *step))
        .collect();
    // That nothing sets it aside any more is to be told where it sounds with that, and once: with
    // what is new of it, it is told as that.
    let is_said =
        alert.state != AlertState::ActiveUnack || news.iter().any(|(_, step)| step.sounds());
    let back = news.iter().rev().find(|(_, step)| step.takes_back()).filter(|_| !is_said);
    let back = back.map(|(entry, _)| entry.number);
    news.retain(|(entry, step)| !step.takes_back() || Some(entry.number) == back);
    let is_silent = alert.retro || alert.quiet || SILENT.contains(&alert.state);
    let waits = is_silent && news.iter().all(|(_, step)| step.is_of_the_condition());
    if !waits {
        for (entry, step) in &news {
            insert(connection, now, alert, entry, *step)?;
        }
    }
    let told = if waits && !news.is_empty() { told } else { last };
    if (last, told) != (seen, known.map_or(u32::MAX, |(_, told)| told)) {
        connection
            .prepare_cached("INSERT OR REPLACE INTO alert_told VALUES (?1, ?2, ?3)")?
            .execute(params![alert.id.to_string(), last, told])?;
    }
    Ok(())
}

/// Whether anybody was told of it, or of what is a part of it.
fn is_heard(connection: &Connection, alert: &Alert) -> rusqlite::Result<bool> {
    connection
        .prepare_cached(
            "SELECT 1 FROM sink CROSS JOIN notification ON notification.sink = sink.name
             WHERE notification.alert IN
               (SELECT ?1 UNION SELECT id FROM alert_joined WHERE alert_joined.alert = ?1)",
        )?
        .exists([alert.id.to_string()])
}

/// Whether what an alert was about is over for whoever heard of it because that closed it: not if it
/// had cleared, nor if it goes on in another alert, nor if it was old news.
fn is_the_end(story: &[TimelineEntry], closed: &TimelineEntry) -> bool {
    use TimelineEvent::{Cleared, Closed, Raised, RaisedLate, Recurred};
    let before = story.iter().rev().filter(|entry| entry.number < closed.number);
    let turn = before
        .map(|entry| entry.what)
        .find(|what| matches!(what, Cleared | Closed | Raised | RaisedLate | Recurred));
    // The begin of a long story may have been left out of it.
    matches!(turn, None | Some(Raised | Recurred)) && !closed.goes_on_in_another()
}

/// One notification for each sink that wants it; that it is over, for who heard of it, however urgent
/// it is by then, and that it was closed, for them alone; that it sounds, not for who heard just now
/// of what is a part of it.
fn insert(
    connection: &Connection,
    now: WallTime,
    alert: &Alert,
    entry: &TimelineEntry,
    step: Step,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT OR IGNORE INTO notification
               (sink, alert, step, number, priority, site, at_ms, made_ms, due_ms, old_ms, body)
             SELECT name, ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?7, ?8, ?9 FROM sink
             WHERE EXISTS (SELECT 1 FROM json_each(steps) WHERE value = ?2)
             AND (sites IS NULL OR EXISTS (SELECT 1 FROM json_each(sites) WHERE value = ?5))
             AND (?2 != 'closed' AND EXISTS (SELECT 1 FROM json_each(priorities) WHERE value = ?4)
                  OR ?2 IN ('cleared', 'closed')
                     AND (SELECT ?2 = 'closed' OR before.step <> 'cleared'
                          FROM notification AS before
                          WHERE before.sink = name AND before.alert IN
                            (SELECT ?1 UNION SELECT id FROM alert_joined WHERE alert = ?1)
                          ORDER BY before.id DESC LIMIT 1))
             AND NOT (?10 AND EXISTS (SELECT 1 FROM notification AS part
                                      CROSS JOIN alert_joined ON alert_joined.id = part.alert
                                      WHERE part.made_ms >= ?7 - ?11 AND part.sink = name
                                      AND part.priority = ?4 AND alert_joined.alert = ?1
                                      AND NOT EXISTS (SELECT 1 FROM notification AS own
                                                      WHERE own.sink = name AND own.alert = ?1
                                                      AND own.id > part.id)))",
        )?
        .execute(params![
            alert.id.to_string(),
            step.name(),
            entry.number,
            alert.priority.name(),
            alert.site.as_str(),
            entry.at.unix_ms(),
            now.unix_ms(),
            now.unix_ms().saturating_add(old_after_ms(alert.priority)),
            message::kept(alert, entry).to_string(),
            step.sounds(),
            OURS_MS
        ])
        .map(drop)
}
