//! Runs the rules on what came in, and keeps alerts and rule states in the database.
//!
//! Not here: when an alert is raised (`rules`); what somebody does with one ([`act`]).
//!
//! # Invariants
//! - rule states are loaded and stored in the transaction that stores the records they were fed
//! - an alert in the database is the newest word of the rules about it
//! - a stored rule state says when time alone has something to do with it: until then nobody loads it

pub(crate) mod act;
mod score;
mod subject;
pub(crate) mod told;

pub(crate) use score::{OBSERVE_EVERY_MS, observe_all};
pub(crate) use subject::subject;

use crate::{
    clock::{self, rfc3339},
    duty, notify,
    patients::binding::Bound,
    query,
    rule_sets::Live,
    store::{Store, StoreError},
};
use model::{
    alarm::DeviceAlarm,
    device::DeviceStatus,
    id::{DeviceId, OutboxId, SiteId},
    reading::ReadingGroup,
    time::{Uptime, WallTime},
};
use rules::{
    alert::{AckReason, Alert, AlertId, AlertState, TimelineEntry, TimelineEvent},
    binding::{PatientKey, Subject},
    engine::{Engine, Pending, ReadingInput},
    freshness::{BootClock, BoxTime, Clocks, Position},
    rule::RuleSet,
};
use rusqlite::{Connection, OptionalExtension as _, Transaction, params};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};
use uplink_proto::{envelope::Envelope, state::Upkeep};

/// Subjects whose time has come that are looked at in one transaction; the rest a second later.
const DUE_MAX: u32 = 500;
/// Subjects whose deadline is said anew each second.
const RECOUNTED_MAX: u32 = 500;
/// So long the writer is held for that at once: what comes in waits no longer for it.
const RECOUNT_HELD: Duration = Duration::from_millis(20);
/// And so long it is free in between.
const RECOUNT_PAUSE: Duration = Duration::from_millis(10);

/// What every evaluation needs.
#[derive(Clone, Copy)]
pub(crate) struct Context<'t> {
    pub(crate) connection: &'t Connection,
    pub(crate) rules: &'t RuleSet,
    pub(crate) now: WallTime,
}

/// Engines and alerts touched by one transaction.
#[derive(Debug, Default)]
pub(crate) struct Evaluation {
    /// How far the box of a site is ahead of the county.
    ahead_ms: BTreeMap<SiteId, i64>,
    /// When its boots were; `None` for one of which nothing was heard while it lasted.
    boots: BTreeMap<(SiteId, u32), Option<BootClock>>,
    engines: BTreeMap<(SiteId, Subject), Engine>,
    bound: Bound,
    changed: BTreeMap<AlertId, Alert>,
    /// What the readings of a site left pending.
    pub(crate) pending: BTreeMap<SiteId, Pending>,
}

impl Evaluation {
    pub(crate) fn readings(
        &mut self,
        context: Context<'_>,
        site: &SiteId,
        input: ReadingInput<'_>,
        heard: WallTime,
    ) -> rusqlite::Result<()> {
        let at = input.t_meas.at;
        if self.is_history(context, site, input.group, at)? {
            return Ok(());
        }
        if let Some(engine) = self.device(context, site, &input.group.device, at)? {
            let changed = engine.on_readings_heard(context.rules, context.now, input, heard);
            let mut pending = engine.take_pending();
            pending.numbers.values_mut().for_each(|at| *at = (*at).min(context.now));
            self.note(changed);
            if !pending.is_empty() {
                self.pending.entry(site.clone()).or_default().add(pending);
            }
        }
        Ok(())
    }

    /// Whether an alert began with it or came back.
    pub(crate) fn alarm(
        &mut self,
        context: Context<'_>,
        site: &SiteId,
        of_box: Clocks,
        alarm: &DeviceAlarm,
    ) -> rusqlite::Result<bool> {
        let said = of_box.observed(alarm.observed.at, context.now);
        let before = self.alarm_of_before(context, site, said, alarm)?;
        let before = before.as_ref();
        let Some(engine) = self.device(context, site, &alarm.device, context.now)? else {
            return Ok(false);
        };
        if let Some(left_out) = engine.left_out_for(alarm) {
            tracing::warn!(%site, device = %alarm.device, code = alarm.code, left_out,
                "A device has more alarms up than are held; one makes room that is told by others.");
        }
        let changed = engine.on_alarm_of(context.rules, context.now, said, before, alarm);
        let begins = |it: &TimelineEntry| {
            use TimelineEvent::{Raised, RaisedLate, Recurred};
            it.at == context.now && matches!(it.what, Raised | RaisedLate | Recurred)
        };
        let has_begun = changed.iter().any(|alert| alert.timeline.iter().any(begins));
        self.note(changed);
        Ok(has_begun)
    }

    /// When it was, by the county's clock; `None` where a newer status is known.
    pub(crate) fn status(
        &mut self,
        context: Context<'_>,
        site: &SiteId,
        of_box: Clocks,
        position: Position,
        status: &DeviceStatus,
    ) -> rusqlite::Result<Option<WallTime>> {
        let said = of_box.observed(status.observed.at, context.now);
        let changed = match self.device(context, site, &status.device, context.now)? {
            Some(engine) => engine.on_status(context.rules, context.now, said, position, status),
            None => {
                tracing::error!(%site, "A device has the name of its site and no rule watches it; \
                    give it another name in the agent.toml of its box.");
                Some(Vec::new())
            }
        };
        Ok(changed.map(|changed| {
            self.note(changed);
            said.at.min(context.now)
        }))
    }

    /// What is known of the clocks between a device and the county.
    pub(crate) fn clocks(
        &mut self,
        context: Context<'_>,
        site: &SiteId,
        of_box: Clocks,
        group: &ReadingGroup,
    ) -> rusqlite::Result<Clocks> {
        let engine = self.device(context, site, &group.device, context.now)?;
        Ok(engine.map_or(of_box, |engine| engine.clocks(group, of_box, context.now)))
    }

    /// What is known of the clock of a site's box when it opened an envelope.
    pub(crate) fn box_clock(
        &mut self,
        context: Context<'_>,
        site: &SiteId,
        envelope: &Envelope,
    ) -> rusqlite::Result<Clocks> {
        if let Some(uptime) = envelope.uptime {
            if let Some(boot) = self.boot(context.connection, site, uptime.boot)? {
                let (said, was) = (envelope.opened_at, boot.at(uptime));
                return Ok(Clocks::of_box(BoxTime::Opened { said, was }));
            }
            let newest: Option<i64> = context
                .connection
                .prepare_cached("SELECT max(zero_ms) FROM boot WHERE site = ?1")?
                .query_row([site.as_str()], |row| row.get(0))?;
            if let Some(newest) = newest {
                let newest = WallTime::from_unix_ms(newest);
                return Ok(Clocks::of_box(BoxTime::Before(newest)));
            }
        }
        if !self.ahead_ms.contains_key(site) {
            let edge = load(context.connection, site, &Subject::Box)?;
            self.ahead_ms.insert(site.clone(), edge.box_ahead_ms());
        }
        let ms = self.ahead_ms.get(site).copied().unwrap_or_default();
        Ok(Clocks::of_box(BoxTime::Ahead { ms }))
    }

    /// The box of a site said at that moment how long it had been running; `hear` takes it in.
    pub(crate) fn hear_uptime(
        &mut self,
        connection: &Connection,
        site: &SiteId,
        uptime: Uptime,
        at: WallTime,
        hear: fn(&mut BootClock, Uptime, WallTime),
    ) -> rusqlite::Result<()> {
        let known = self.boot(connection, site, uptime.boot)?;
        let mut boot = known.unwrap_or_else(|| BootClock::new(uptime, at));
        hear(&mut boot, uptime, at);
        if known != Some(boot) {
            connection
                .prepare_cached("INSERT OR REPLACE INTO boot VALUES (?1, ?2, ?3, ?4)")?
                .execute(params![
                    site.as_str(),
                    uptime.boot,
                    boot.zero.unix_ms(),
                    boot.heard.unix_ms()
                ])?;
            self.boots.insert((site.clone(), uptime.boot), Some(boot));
        }
        Ok(())
    }

    fn boot(
        &mut self,
        connection: &Connection,
        site: &SiteId,
        boot: u32,
    ) -> rusqlite::Result<Option<BootClock>> {
        let key = (site.clone(), boot);
        if let Some(known) = self.boots.get(&key) {
            return Ok(*known);
        }
        let moment = |row: &rusqlite::Row<'_>, name| row.get(name).map(WallTime::from_unix_ms);
        let stored = connection
            .prepare_cached("SELECT zero_ms, heard_ms FROM boot WHERE site = ?1 AND boot = ?2")?
            .query_row(params![site.as_str(), boot], |row| {
                Ok(BootClock { zero: moment(row, "zero_ms")?, heard: moment(row, "heard_ms")? })
            })
            .optional()?;
        self.boots.insert(key, stored);
        Ok(stored)
    }

    /// The box of a site said just now that it is `at`.
    pub(crate) fn hear_box_clock(
        &mut self,
        context: Context<'_>,
        site: &SiteId,
        at: WallTime,
    ) -> rusqlite::Result<()> {
        let engine = self.engine(context.connection, site, &Subject::Box)?;
        let changed = engine.hear_box_clock(context.rules, context.now, at);
        let ahead_ms = engine.box_ahead_ms();
        self.ahead_ms.insert(site.clone(), ahead_ms);
        self.note(changed);
        Ok(())
    }

    /// The box of a site said just now which outbox it works with; whether it is another box than
    /// the one before.
    pub(crate) fn hear_box_identity(
        &mut self,
        context: Context<'_>,
        site: &SiteId,
        outbox: OutboxId,
        connection: u64,
    ) -> rusqlite::Result<bool> {
        let engine = self.engine(context.connection, site, &Subject::Box)?;
        let (turned, changed) =
            engine.hear_box_identity(context.rules, context.now, outbox, connection);
        self.note(changed);
        Ok(turned)
    }

    /// The chain of what people did was looked at; whether it is broken.
    pub(crate) fn audit_checked(
        &mut self,
        context: Context<'_>,
        is_broken: bool,
    ) -> rusqlite::Result<()> {
        let county = SiteId::county();
        let engine = self.engine(context.connection, &county, &Subject::Box)?;
        let changed = engine.hear_audit(context.rules, context.now, is_broken);
        self.note(changed);
        Ok(())
    }

    /// What somebody has to look after at a box, or at the county itself.
    pub(crate) fn upkeep(
        &mut self,
        context: Context<'_>,
        of: &SiteId,
        Upkeep { free_pct, certificate_until }: Upkeep,
    ) -> rusqlite::Result<()> {
        let county = SiteId::county();
        let engine = self.engine(context.connection, &county, &Subject::Box)?;
        let changed =
            engine.hear_upkeep(context.rules, context.now, of, free_pct, certificate_until);
        self.note(changed);
        Ok(())
    }

    /// A box was taken out of service, for that reason: nothing of it is looked after.
    pub(crate) fn upkeep_over(
        &mut self,
        context: Context<'_>,
        of: &SiteId,
        why: &str,
    ) -> rusqlite::Result<()> {
        let engine = self.engine(context.connection, &SiteId::county(), &Subject::Box)?;
        let changed = engine.end_upkeep(context.rules, context.now, of, why);
        self.note(changed);
        Ok(())
    }

    /// A site's box went out of reach or is back: all that is behind it hears of it.
    pub(crate) fn box_changed(
        &mut self,
        context: Context<'_>,
        site: &SiteId,
        online: bool,
    ) -> rusqlite::Result<()> {
        let mut subjects = self.subjects(context, site)?;
        subjects.insert(Subject::Box);
        for subject in subjects {
            let engine = self.engine(context.connection, site, &subject)?;
            if online {
                let changed = engine.box_back(context.rules, context.now);
                self.note(changed);
            } else {
                engine.box_lost(context.now);
            }
        }
        self.tell_box(context, site)
    }

    /// Everything of a site that rules know, stored or not yet.
    fn subjects(&self, context: Context<'_>, site: &SiteId) -> rusqlite::Result<BTreeSet<Subject>> {
        let stored: Vec<String> = context
            .connection
            .prepare_cached("SELECT device FROM engine WHERE site = ?1")?
            .query_map([site.as_str()], |row| row.get(0))?
            .collect::<Result<_, _>>()?;
        let stored = stored.iter().filter_map(|name| Subject::from_name(site, name));
        let known = self.engines.keys().filter(|(of, _)| of == site);
        Ok(stored.chain(known.map(|(_, subject)| subject.clone())).collect())
    }

    /// The agent of a site starts anew: alarms of its devices may have ended unheard.
    pub(crate) fn agent_started(
        &mut self,
        context: Context<'_>,
        site: &SiteId,
    ) -> rusqlite::Result<()> {
        for subject in self.subjects(context, site)? {
            self.engine(context.connection, site, &subject)?.doubt_alarms(context.now);
        }
        Ok(())
    }

    /// What the rules know of whom that device was about at that moment; of a device that has the
    /// name of its site they know nothing, for under that name they know the box.
    fn device(
        &mut self,
        context: Context<'_>,
        site: &SiteId,
        device: &DeviceId,
        at: WallTime,
    ) -> rusqlite::Result<Option<&mut Engine>> {
        match self.subject_at(context, site, device, at)? {
            Subject::Box => Ok(None),
            subject => self.known(context, site, &subject).map(Some),
        }
    }

    pub(crate) fn engine(
        &mut self,
        connection: &Connection,
        site: &SiteId,
        subject: &Subject,
    ) -> rusqlite::Result<&mut Engine> {
        let key = (site.clone(), subject.clone());
        if !self.engines.contains_key(&key) {
            let engine = match stored(connection, site, subject)? {
                Some(engine) => engine,
                None => self.new_engine(connection, site, subject)?,
            };
            self.engines.insert(key.clone(), engine);
        }
        Ok(self.engines.entry(key).or_insert_with(|| Engine::new(site.clone(), subject.clone())))
    }

    /// Whoever is met while the box is out of reach is behind it like all others.
    fn new_engine(
        &self,
        connection: &Connection,
        site: &SiteId,
        subject: &Subject,
    ) -> rusqlite::Result<Engine> {
        let mut engine = Engine::new(site.clone(), subject.clone());
        let lost_since = match self.engines.get(&(site.clone(), Subject::Box)) {
            Some(of_box) => of_box.box_lost_since(),
            None => load(connection, site, &Subject::Box)?.box_lost_since(),
        };
        if let Some(since) = lost_since {
            engine.box_lost(since);
        }
        Ok(engine)
    }

    /// Names those who are told by what was escalated just now.
    fn name_steps(&mut self, Context { connection, now, .. }: Context<'_>) -> rusqlite::Result<()> {
        let is_escalated = |alert: &&Alert| {
            let mut steps = alert.timeline.iter().rev();
            steps.any(|entry| entry.what == TimelineEvent::Escalated && entry.at == now)
        };
        let escalated = self.changed.values().filter(is_escalated);
        let sites: BTreeSet<SiteId> = escalated.map(|alert| alert.site.clone()).collect();
        for site in sites {
            let on_duty = duty::on_duty(connection, &site, now)?;
            let engines = self.engines.iter_mut().filter(|((of, _), _)| *of == site);
            for (_, engine) in engines {
                let named = engine.name_steps(now, |level| on_duty.get(&level).cloned());
                self.changed.extend(named.into_iter().map(|alert| (alert.id, alert)));
            }
        }
        Ok(())
    }

    /// Whether no alert changed.
    pub(crate) fn is_quiet(&self) -> bool {
        self.changed.is_empty()
    }

    pub(crate) fn note(&mut self, changed: Vec<Alert>) {
        self.changed.extend(changed.into_iter().map(|alert| (alert.id, alert)));
    }
}

pub(crate) fn load(
    connection: &Connection,
    site: &SiteId,
    subject: &Subject,
) -> rusqlite::Result<Engine> {
    let stored = stored(connection, site, subject)?;
    Ok(stored.unwrap_or_else(|| Engine::new(site.clone(), subject.clone())))
}

fn stored(
    connection: &Connection,
    site: &SiteId,
    subject: &Subject,
) -> rusqlite::Result<Option<Engine>> {
    let name = subject.name(site);
    let stored: Option<String> = connection
        .prepare_cached("SELECT state FROM engine WHERE site = ?1 AND device = ?2")?
        .query_row(params![site.as_str(), name], |row| row.get(0))
        .optional()?;
    Ok(stored.map(|stored| read(site, subject, &stored)))
}

/// A rule state as it was stored.
fn read(site: &SiteId, subject: &Subject, stored: &str) -> Engine {
    serde_json::from_str(stored).unwrap_or_else(|error| {
        tracing::error!(%site, subject = %subject.name(site), %error,
            "Rule states cannot be read; they begin anew with the open alerts.");
        Engine::rescued(site.clone(), subject.clone(), stored)
    })
}

/// Stores engines and alerts; the alerts as the API tells them.
pub(crate) fn store(
    context: Context<'_>,
    mut evaluation: Evaluation,
) -> rusqlite::Result<Vec<Value>> {
    let Context { connection, rules, now } = context;
    evaluation.name_steps(context)?;
    for ((site, subject), engine) in &evaluation.engines {
        // Engines are plain data: writing them as JSON cannot fail.
        let state = serde_json::to_string(engine).map_err(|_| rusqlite::Error::InvalidQuery)?;
        connection
            .prepare_cached("INSERT OR REPLACE INTO engine VALUES (?1, ?2, ?3, ?4)")?
            .execute(params![
                site.as_str(),
                subject.name(site),
                engine.next_deadline(rules).map(WallTime::unix_ms),
                state
            ])?;
    }
    let mut told = Vec::new();
    for alert in evaluation.changed.values() {
        // Whatever a box says of it, an alert stays with its site.
        let next_step = next_step(context, alert)?;
        let body = json(alert, revision(connection, alert.id)? + 1, &next_step);
        connection
            .prepare_cached(
                "INSERT INTO alert VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
                 ON CONFLICT DO UPDATE SET device = ?3, state = ?4, priority = ?5,
                   started_ms = ?6, body = ?7 WHERE site = ?2",
            )?
            .execute(params![
                alert.id.to_string(),
                alert.site.as_str(),
                alert.device.as_str(),
                alert.state.name(),
                alert.priority.name(),
                alert.started_at.unix_ms(),
                body.to_string()
            ])?;
        if alert.state != AlertState::Closed {
            // What was a part of another is one of its own after all.
            connection
                .prepare_cached("DELETE FROM alert_joined WHERE id = ?1")?
                .execute([alert.id.to_string()])?;
        }
        notify::note(connection, now, alert)?;
        told.push(body);
    }
    Ok(told)
}

/// The first is a part of the second from now on.
pub(crate) fn join(connection: &Connection, part: AlertId, of: AlertId) -> rusqlite::Result<()> {
    connection
        .prepare_cached("INSERT OR REPLACE INTO alert_joined VALUES (?1, ?2)")?
        .execute(params![part.to_string(), of.to_string()])
        .map(drop)
}

/// How often an alert has been told; events may overtake each other, a revision does not.
fn revision(connection: &Connection, id: AlertId) -> rusqlite::Result<i64> {
    let told = connection
        .prepare_cached("SELECT json_extract(body, '$.revision') FROM alert WHERE id = ?1")?
        .query_row([id.to_string()], |row| row.get::<_, Option<i64>>(0))
        .optional()?;
    Ok(told.flatten().unwrap_or_default())
}

fn is_closed(connection: &Connection, id: AlertId) -> rusqlite::Result<bool> {
    connection
        .prepare_cached("SELECT 1 FROM alert WHERE id = ?1 AND state = 'closed'")?
        .exists([id.to_string()])
}

/// Who is told next if nobody answers, and when; as the duty plan has it now.
fn next_step(context: Context<'_>, alert: &Alert) -> rusqlite::Result<Value> {
    let Some((level, at)) = alert.next_level(context.rules.times(&alert.site)) else {
        return Ok(Value::Null);
    };
    let on_duty = duty::on_duty(context.connection, &alert.site, at)?;
    Ok(json!({"level": level.name(), "at": rfc3339(at.unix_ms()), "person": on_duty.get(&level)}))
}

/// An alert as the API tells it; the clinic's name is added where it is asked for.
fn json(alert: &Alert, revision: i64, next_step: &Value) -> Value {
    let moment = |at: WallTime| rfc3339(at.unix_ms());
    let timeline: Vec<Value> = alert
        .timeline
        .iter()
        .map(|entry| {
            json!({"at": moment(entry.at), "what": entry.what.name(), "by": entry.by,
                "detail": entry.detail, "reason": entry.reason.map(AckReason::name),
                "note": entry.note, "to": entry.to, "until": entry.until.map(moment),
                "board": entry.board})
        })
        .collect();
    let acknowledged = alert.acknowledged.as_ref();
    let shelf = alert.people.shelf.as_ref();
    let mut told = json!({
        "id": alert.id.to_string(),
        "revision": revision,
        "family": alert.family,
        "rules": alert.rules,
        "priority": alert.priority.name(),
        "state": alert.state.name(),
        "condition": alert.condition().name(),
        "site": alert.site.as_str(),
        "device": alert.device.as_str(),
        "patient": alert.patient.as_ref().map(PatientKey::as_str),
        "metric": alert.metric.map(model::metric::Metric::name),
        "value": alert.value,
        "comparator": alert.comparator,
        "unit": alert.unit,
        "limit": alert.limit,
        "message_zh": alert.message_zh,
        "message_en": alert.message_en,
        "started_at": moment(alert.started_at),
        "raised_at": moment(alert.raised_at),
        "cleared_at": alert.cleared_at.map(moment),
        "acknowledged_by": acknowledged.map(|by| by.by.clone()),
        "acknowledged_at": acknowledged.map(|by| moment(by.at)),
        "reason": acknowledged.map(|by| by.reason.name()),
        "owner": alert.owner(),
        "assigned_to": alert.people.assigned_to,
        "shelved_by": shelf.map(|shelf| shelf.by.clone()),
        "shelved_until": shelf.map(|shelf| moment(shelf.until)),
        "shelf_reason": shelf.map(|shelf| shelf.reason.clone()),
        "suppressed_by": alert.people.suppressed_by,
        "escalation_level": alert.people.level.name(),
        "next_step": next_step,
        "realarm_count": alert.people.realarms,
        "retro": alert.retro,
        "quiet": alert.quiet,
        "late_row": alert.late_row,
        "time_suspect": alert.time_suspect,
        "recheck_at": alert.recheck_at.map(moment),
        "not_rechecked": alert.not_rechecked,
        "recurrences": alert.recurrences,
        "timeline": timeline,
    });
    // The macro takes no more fields.
    if let Some(fields) = told.as_object_mut() {
        fields.insert("asks_danger_signs".to_owned(), json!(alert.asks_danger_signs()));
        fields.insert("danger_signs".to_owned(), json!(alert.people.danger_signs));
    }
    told
}

/// Whose rules have an alert. What the county looks after for a box is of the county's own.
fn subject_of(site: &SiteId, device: &str, body: &str) -> Option<Subject> {
    // The county has what is of each box under the name of that.
    if *site == SiteId::county() {
        return Some(Subject::Box);
    }
    let body: Value = serde_json::from_str(body).unwrap_or_default();
    match body.get("patient").and_then(Value::as_str) {
        Some(key) => PatientKey::new(key).ok().map(Subject::Patient),
        None => DeviceId::new(device).ok().map(|device| Subject::unbound(site, &device)),
    }
}

/// A look at every stored rule state, part by part: the rules may be others than those by which it
/// was said when it is due. Until it is looked at, what was said then holds.
#[derive(Debug, Default)]
pub(crate) struct Recount {
    /// The version of the rules by which the last one ended or is under way.
    by: Option<u64>,
    /// Where it is: after that site and name.
    after: Option<Name>,
}

impl Recount {
    /// Says anew when time has something to do, for the next rule states. They are read beside the
    /// writer, which is held for those alone that differ.
    pub(crate) async fn go_on(&mut self, store: &Store, live: &Live) -> Result<(), StoreError> {
        if self.by != Some(live.number) {
            (self.by, self.after) = (Some(live.number), Some(Default::default()));
        }
        let Some(after) = self.after.clone() else { return Ok(()) };
        let rules = Arc::clone(&live.rules);
        let part = move |connection: &Connection| recount_part(connection, &rules, &after);
        let (mut differ, next) = store.read(part).await?;
        while !differ.is_empty() {
            let put = move |transaction: &Transaction<'_>| put_due(transaction, differ);
            differ = store.write(put).await?;
            tokio::time::sleep(RECOUNT_PAUSE).await;
        }
        self.after = next;
        Ok(())
    }
}

/// Site and name of a rule state.
type Name = (String, String);

/// A rule state as it was read, and when it is due by the rules in force.
struct Due {
    site: String,
    name: String,
    state: String,
    due_ms: Option<i64>,
}

/// Rule states of the next part that say another moment, and where the part after it begins, where
/// there is one.
fn recount_part(
    connection: &Connection,
    rules: &RuleSet,
    after: &Name,
) -> rusqlite::Result<(VecDeque<Due>, Option<Name>)> {
    let mut statement = connection.prepare_cached(
        "SELECT site, device, state, due_ms FROM engine WHERE (site, device) > (?1, ?2)
         ORDER BY site, device LIMIT ?3",
    )?;
    let mut rows = statement.query(params![after.0, after.1, RECOUNTED_MAX])?;
    let (mut differ, mut count, mut last) = (VecDeque::new(), 0, None);
    while let Some(row) = rows.next()? {
        let (site, name, state): (String, String, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
        (count, last) = (count + 1, Some((site.clone(), name.clone())));
        let Ok(id) = SiteId::stored(&site) else { continue };
        let Some(subject) = Subject::from_name(&id, &name) else { continue };
        let engine = read(&id, &subject, &state);
        let due_ms = engine.next_deadline(rules).map(WallTime::unix_ms);
        if due_ms != row.get(3)? {
            differ.push_back(Due { site, name, state, due_ms });
        }
    }
    Ok((differ, last.filter(|_| count == RECOUNTED_MAX)))
}

/// Puts right what is still as it was read, until the writer was held for long enough; the rest.
fn put_due(connection: &Connection, mut differ: VecDeque<Due>) -> rusqlite::Result<VecDeque<Due>> {
    let began = clock::instant();
    let mut put = connection.prepare_cached(
        "UPDATE engine SET due_ms = ?4 WHERE site = ?1 AND device = ?2 AND state = ?3",
    )?;
    while let Some(Due { site, name, state, due_ms }) = differ.pop_front() {
        put.execute(params![site, name, state, due_ms])?;
        if began.elapsed() >= RECOUNT_HELD {
            break;
        }
    }
    Ok(differ)
}

/// Lets time pass for every device: what waits for a deadline. Returns the alerts that changed.
///
/// A site that has not told its state since `unheard_since` is out of reach, whoever forgot to say
/// so: its will is lost with a broker that starts anew.
pub(crate) async fn pass_time(
    store: &Store,
    rules: Arc<RuleSet>,
    now: WallTime,
    unheard_since: Option<WallTime>,
) -> Result<(Vec<Value>, Vec<Value>), StoreError> {
    store
        .write(move |transaction| {
            let mut due = Evaluation::default();
            let context = Context { connection: transaction, rules: &rules, now };
            let mut sites = Vec::new();
            if let Some(since) = unheard_since {
                for (site, told) in query::give_up_sites(transaction, since)? {
                    due.box_changed(context, &site, false)?;
                    sites.push(told);
                }
            }
            let subjects: Vec<(String, String)> = transaction
                .prepare_cached(&format!(
                    "SELECT site, device FROM engine WHERE due_ms <= ?1
                     ORDER BY due_ms LIMIT {DUE_MAX}"
                ))?
                .query_map([now.unix_ms()], |row| Ok((row.get(0)?, row.get(1)?)))?
                .collect::<Result<_, _>>()?;
            for (site, name) in subjects {
                let Ok(site) = SiteId::stored(&site) else { continue };
                let Some(subject) = Subject::from_name(&site, &name) else { continue };
                if due.engines.contains_key(&(site.clone(), subject.clone())) {
                    continue; // Its box was just lost; its deadline is still to come.
                }
                if subject == Subject::Box {
                    due.tell_box(context, &site)?;
                }
                let engine = due.engine(transaction, &site, &subject)?;
                if engine.next_deadline(&rules).is_some_and(|deadline| deadline <= now) {
                    let was_cut_off = engine.is_cut_off();
                    let changed = engine.on_time(&rules, now);
                    let is_lost = !was_cut_off && engine.is_cut_off();
                    due.note(changed);
                    if let Some(key) = subject.patient().filter(|_| is_lost) {
                        due.observe(context, key.as_str())?;
                    }
                }
            }
            Ok((super::alerts::store(context, due)?, sites))
        })
        .await
}
