//! The box goes on warning when the county is out of reach: the rules hear all that is committed,
//! all the time; while nobody is reached what they say is signalled here, and told to the county
//! later.
//!
//! - [`rows`]: what was committed
//! - [`evaluation`]: the rules and what they know of each device
//! - [`signal`]: which alerts want somebody at the box
//! - [`hook`]: the command for a lamp or a buzzer
//! - [`report`]: what the county is told later
//! - [`county_clock`]: what it is by the county's clock
//! - [`kept`]: what outlives a restart
//! - [`newest`], [`told`]: values and alerts as a person reads them
//! - [`proof`]: the rules as a proof drives them
//!
//! Not here: when an alert is raised (`rules`), the page ([`crate::local_page`]).
//!
//! # Invariants
//! - while the county is in reach the rules run and nothing signals
//! - a transition is told to the county and then written down: a kill in between may repeat a record
//!   and loses none
//! - the hook is told what is so until it takes it: a call that failed, waited or was broken off by a
//!   kill is made again, as it is by then

mod county_clock;
mod evaluation;
pub(crate) mod hook;
mod kept;
mod newest;
pub mod proof;
mod report;
mod rows;
mod signal;
mod told;

use crate::{
    clock::Clock,
    outbox::{Origin, Outbox},
    policy::InForce,
    reach::{Reach, ReachWatch},
};
use evaluation::Evaluation;
use hook::Caller;
use kept::{Kept, KeptAt, KeptFile};
use model::{
    alarm::Priority,
    alert::EdgeAlert,
    id::SiteId,
    record::Record,
    time::{MonoTime, WallTime},
};
use rows::{Place, Rows, RowsError};
use rules::{
    alert::{AckReason, Alert, AlertId, AlertState, TimelineEntry},
    binding::BindingList,
    engine::ActionError,
    rule::{RuleSet, RuleSetError},
};
use serde::{Serialize, de::DeserializeOwned};
use signal::{Call, Signals, What};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use thiserror::Error;
use tokio::sync::{Mutex, mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

pub(crate) use newest::Shown as NewestValue;
pub(crate) use told::{Told, rfc3339};

/// Until the county has sent another one.
const DEFAULT_RULES: &str = include_str!("../../configs/rules/default.json");
/// Questions that may wait.
const ORDERS_MAX: usize = 32;
/// Rules that go by time do so in seconds.
const TICK: Duration = Duration::from_secs(1);
/// Without a transition the states are written this often. A restart goes on in the outbox where
/// they end, so that more would only wear the flash: 60 kB of a busy site are 100 bytes a second so.
const KEEP_EVERY: Duration = Duration::from_secs(600);
/// A disk that took nothing is asked again after this.
const KEEP_AGAIN: Duration = Duration::from_secs(10);
/// Alerts of a ward whose devices all speak at once, told together.
const HELD_MAX: usize = 256;
/// An urgent record is committed at once, where the disk takes it.
const COMMIT_LIMIT: Duration = Duration::from_secs(2);
/// Of which link the outbox says how far it has committed what the county is told.
const LINK: usize = usize::MAX - 1;

/// What the task is asked.
#[derive(Debug)]
pub(crate) enum Order {
    Show(oneshot::Sender<Picture>),
    Acknowledge(Acknowledge, oneshot::Sender<Result<Told, AcknowledgeHereError>>),
}

/// A person has an alert in hand.
#[derive(Clone, Debug)]
pub(crate) struct Acknowledge {
    pub(crate) id: AlertId,
    pub(crate) by: String,
    pub(crate) reason: AckReason,
    pub(crate) note: String,
}

/// Why it cannot be acknowledged at the box.
#[derive(Debug, Error)]
pub(crate) enum AcknowledgeHereError {
    #[error(transparent)]
    Rules(#[from] ActionError),
    #[error("the county is in reach: acknowledge it on the nurses' board")]
    InReach,
    #[error("the agent is stopping")]
    Closed,
}

/// What is so at this moment.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Picture {
    /// Whether alerts are signalled here.
    pub(crate) signals: bool,
    /// Since when nothing was heard of the county, once that counts.
    pub(crate) out_of_reach_since: Option<String>,
    /// Which rule set.
    pub(crate) rules: String,
    /// Why nothing is evaluated, while that is so.
    pub(crate) failing: Option<String>,
    /// Alerts that are not closed.
    pub(crate) alerts: Vec<Told>,
    pub(crate) newest: Vec<NewestValue>,
    /// Kind of each device that said so.
    pub(crate) kinds: BTreeMap<String, &'static str>,
}

/// A way to the task.
#[derive(Clone, Debug)]
pub(crate) struct Alerts(mpsc::Sender<Order>);

/// What a task that may be begun again takes orders from.
pub(crate) type Orders = Arc<Mutex<mpsc::Receiver<Order>>>;

/// What the task needs.
#[derive(Clone)]
pub(crate) struct Lookout {
    pub(crate) site: SiteId,
    pub(crate) data_dir: PathBuf,
    pub(crate) outbox: Outbox,
    pub(crate) reach: ReachWatch,
    /// What the county told this box to go by.
    pub(crate) policy: watch::Receiver<Option<Arc<InForce>>>,
    /// None: no command is configured.
    pub(crate) hook: Option<mpsc::Sender<hook::Call>>,
    pub(crate) clock: Clock,
    pub(crate) stopped: CancellationToken,
    pub(crate) orders: Orders,
}

impl Alerts {
    /// The way to a task that is still to be run, and what that takes orders from.
    pub(crate) fn prepare() -> (Self, Orders) {
        let (sender, orders) = mpsc::channel(ORDERS_MAX);
        (Self(sender), Arc::new(Mutex::new(orders)))
    }

    /// What is so; none when the agent stops.
    pub(crate) async fn show(&self) -> Option<Picture> {
        let (reply, answer) = oneshot::channel();
        self.0.send(Order::Show(reply)).await.ok()?;
        answer.await.ok()
    }

    /// A person has an alert in hand; the alert as it is now, once that is on disk.
    pub(crate) async fn acknowledge(
        &self,
        acknowledge: Acknowledge,
    ) -> Result<Told, AcknowledgeHereError> {
        let (reply, answer) = oneshot::channel();
        let order = Order::Acknowledge(acknowledge, reply);
        self.0.send(order).await.map_err(|_| AcknowledgeHereError::Closed)?;
        answer.await.map_err(|_| AcknowledgeHereError::Closed)?
    }
}

/// Runs the rules until the agent stops.
pub(crate) async fn run(lookout: Lookout) {
    let orders = Arc::clone(&lookout.orders);
    let mut orders = orders.lock().await;
    let mut commits = lookout.outbox.commits();
    let mut reach = lookout.reach.look();
    let mut policy = lookout.policy.clone();
    let first = in_force(policy.borrow_and_update().as_deref());
    let mut warden = match first {
        Ok(first) => Warden::new(&lookout, first),
        Err(error) => {
            tracing::error!(%error, "No alerts: the built-in rules cannot be read; install another agent.");
            return;
        }
    };
    loop {
        let more = warden.catch_up(&mut commits).await;
        let known = *reach.borrow_and_update();
        warden.look_at_reach(known, lookout.clock.mono());
        warden.pass_time(more);
        warden.call_hook();
        warden.keep_if_due().await;
        let wake_at = warden.wake_at(known, more);
        tokio::select! {
            // The outbox ends with the agent.
            Ok(()) = commits.changed() => {}
            Ok(()) = reach.changed() => {}
            Ok(()) = policy.changed() => {
                let told = policy.borrow_and_update().clone();
                if let Ok(told) = in_force(told.as_deref()) {
                    warden.go_by(told);
                }
            }
            () = lookout.clock.sleep_until(Some(wake_at)) => {}
            taken = warden.caller.answered() => warden.hook_took(taken),
            order = orders.recv() => match order {
                Some(Order::Show(reply)) => drop(reply.send(warden.picture())),
                Some(Order::Acknowledge(acknowledge, reply)) => {
                    let done = warden.acknowledge(acknowledge).await;
                    // Whoever asked may have gone away.
                    drop(reply.send(done));
                }
                None => return,
            },
            () = lookout.stopped.cancelled() => {
                warden.stop().await;
                return;
            }
        }
    }
}

/// What the county told this box to go by; all 0 where that is what came with the agent.
#[derive(Clone, Copy)]
struct GoesBy {
    /// Number of the rule set.
    rule_set: u64,
    /// Version of the binding list.
    bindings: u64,
    /// Whether this box signals by itself.
    signals: bool,
}

/// By what this box warns: what the county signed, else the rules that came with the agent.
fn in_force(policy: Option<&InForce>) -> Result<(GoesBy, evaluation::Order), RuleSetError> {
    let Some(InForce { policy, rules, .. }) = policy else {
        let rules = Arc::new(RuleSet::from_json(DEFAULT_RULES)?.at_the_box());
        let (bindings, profiles) = (BindingList::default(), BTreeMap::new());
        let told = GoesBy { rule_set: 0, bindings: 0, signals: true };
        let (in_hand, made_at) = (BTreeMap::new(), None);
        return Ok((told, evaluation::Order { rules, bindings, profiles, in_hand, made_at }));
    };
    let bindings: BindingList = read(&policy.bindings, "bindings");
    let profiles = read(&policy.patients, "patients");
    let told =
        GoesBy { rule_set: policy.rule_set, bindings: bindings.version(), signals: policy.signals };
    let in_hand = policy.in_hand.iter().cloned();
    let in_hand = in_hand.map(|alert| (AlertId::from_bytes(alert.id), alert)).collect();
    let (rules, made_at) = (Arc::clone(rules), Some(policy.made_at));
    Ok((told, evaluation::Order { rules, bindings, profiles, in_hand, made_at }))
}

/// A part of the policy; one that is not understood counts as empty: the devices are judged as
/// nobody's, by the rules of adults.
fn read<T: DeserializeOwned + Default>(text: &str, what: &str) -> T {
    serde_json::from_str(text).unwrap_or_else(|error| {
        tracing::error!(%error, what, "A part of the county's policy is not understood; install the newer agent.");
        T::default()
    })
}

/// What makes one standing of an alert another one than before: a value that is still outside does
/// not, and on the shelf what becomes of it does.
#[derive(Eq, PartialEq)]
struct Standing {
    states: [AlertState; 2],
    priority: Priority,
    recurrences: u32,
    by: Option<String>,
    rules: Vec<String>,
}

impl Standing {
    fn of(alert: &Alert) -> Self {
        Self {
            states: [alert.state, alert.condition()],
            priority: alert.priority,
            recurrences: alert.recurrences,
            by: alert.acknowledged.as_ref().map(|by| by.by.clone()),
            rules: alert.rules.clone(),
        }
    }
}

/// An alert as it was when it was looked at last.
struct Known {
    standing: Standing,
    last: Option<TimelineEntry>,
}

impl Known {
    fn of(alert: &Alert) -> Self {
        Self { standing: Standing::of(alert), last: alert.timeline.last().cloned() }
    }
}

/// The rules at work.
struct Warden<'a> {
    lookout: &'a Lookout,
    file: KeptFile,
    rows: Option<Rows>,
    place: Place,
    evaluation: Evaluation,
    goes_by: GoesBy,
    /// What was looked at of each alert; of one that is closed too, because it may come back.
    standings: BTreeMap<AlertId, Known>,
    signals: Signals,
    caller: Caller,
    out_of_reach: bool,
    /// Since when, by the box's clock.
    lost_since: Option<WallTime>,
    /// What changed while something may be wrong with the link and does not count yet.
    held: VecDeque<(MonoTime, EdgeAlert)>,
    /// What the county is told and nobody has handed over yet.
    reports: Vec<EdgeAlert>,
    /// How many were handed over, and how many of them are committed.
    handed: u64,
    committed: Option<watch::Receiver<u64>>,
    failing: Option<String>,
    tick_at: MonoTime,
    keep_at: MonoTime,
}

impl<'a> Warden<'a> {
    fn new(lookout: &'a Lookout, (goes_by, order): (GoesBy, evaluation::Order)) -> Self {
        let file = KeptFile::in_folder(&lookout.data_dir);
        let kept = file.read();
        let evaluation = Evaluation::new(lookout.site.clone(), order, &kept);
        let Kept { place, out_of_reach, lost_since, mut signals, .. } = kept;
        signals.begin(evaluation.alerts());
        let standings = evaluation.remembered().map(|alert| (alert.id, Known::of(alert))).collect();
        let now = lookout.clock.now();
        let mut warden = Self {
            lookout,
            file,
            rows: None,
            place,
            evaluation,
            goes_by,
            standings,
            signals,
            caller: Caller::new(lookout.hook.clone()),
            out_of_reach,
            lost_since,
            held: VecDeque::new(),
            reports: Vec::new(),
            handed: 0,
            committed: None,
            failing: None,
            tick_at: now.mono,
            keep_at: now.mono + KEEP_EVERY,
        };
        // Nobody else tells it while the link is dead.
        let changed = warden.evaluation.begin(now);
        warden.note(changed);
        match out_of_reach && goes_by.signals {
            true => warden.signal_all(),
            false => warden.signals.stop(),
        }
        warden
    }

    /// Lets the rules hear some of what was committed; whether there may be more. After a long outage
    /// of the agent there is much, and so there is while more comes than rules can hear: everything
    /// else has its turn in between.
    async fn catch_up(&mut self, commits: &mut watch::Receiver<Option<Arc<Path>>>) -> bool {
        let path = commits.borrow_and_update().clone();
        let Some(path) = path else { return false };
        match self.next_rows(&path) {
            Ok(more) => {
                self.failing = None;
                tokio::task::yield_now().await;
                more
            }
            Err(error) => {
                let why = error.to_string();
                if self.failing.as_ref() != Some(&why) {
                    tracing::error!(error = why, "The rules hear nothing; it is tried again.");
                }
                self.failing = Some(why);
                self.rows = None;
                false
            }
        }
    }

    /// Whether there was something.
    fn next_rows(&mut self, path: &Path) -> Result<bool, RowsError> {
        let now = self.lookout.clock.now();
        let rows = match self.rows.take() {
            Some(rows) if rows.is_of(path)? => rows,
            _ => Rows::open(path, self.place, now)?,
        };
        let rows = self.rows.insert(rows);
        let envelopes = rows.next(self.lookout.clock.now())?;
        let more = rows.place() != self.place;
        self.place = rows.place();
        for envelope in envelopes {
            let changed = self.evaluation.take(now, &envelope);
            self.note(changed);
        }
        Ok(more)
    }

    /// The county sent another policy.
    fn go_by(&mut self, (goes_by, order): (GoesBy, evaluation::Order)) {
        self.goes_by = goes_by;
        if !goes_by.signals {
            self.signals.stop();
        }
        let now = self.lookout.clock.now();
        self.evaluation.hear_clock(now, order.made_at);
        let changed = self.evaluation.go_by(now.wall, order);
        self.note(changed);
    }

    /// Rules that are behind hear of the time by what they take in.
    fn pass_time(&mut self, is_behind: bool) {
        let now = self.lookout.clock.now();
        if self.tick_at <= now.mono && !is_behind {
            self.tick_at = now.mono + TICK;
            let changed = self.evaluation.pass_time(now);
            self.note(changed);
        }
    }

    fn wake_at(&self, reach: Reach, is_behind: bool) -> MonoTime {
        if is_behind {
            return MonoTime::START;
        }
        let lost_at = reach.lost_at().filter(|_| !self.out_of_reach);
        let keep_at = self.held.is_empty().then_some(self.keep_at);
        let call_at = self.caller.free_at().filter(|_| self.signals.has_news());
        lost_at.into_iter().chain(keep_at).chain(call_at).fold(self.tick_at, MonoTime::min)
    }

    /// Alerts changed: whoever has to know hears of it.
    fn note(&mut self, changed: Vec<Alert>) {
        let observed = self.lookout.clock.now();
        for alert in changed {
            let before = self.standings.insert(alert.id, Known::of(&alert));
            if before.as_ref().is_some_and(|known| known.standing == Standing::of(&alert)) {
                continue;
            }
            tracing::info!(alert = %alert.id, device = %alert.device, family = alert.family,
                state = alert.state.name(), priority = alert.priority.name(),
                "An alert changed.");
            let reports = report::Reporter {
                rule_set: self.goes_by.rule_set,
                bindings: self.goes_by.bindings,
                observed: observed.observed(),
            };
            let reports = reports.since(&alert, before.as_ref());
            if self.out_of_reach {
                self.signal(&alert);
                self.reports.extend(reports);
                // What signalled must not do so again. In reach nothing does: the outbox tells it anew.
                self.keep_at = MonoTime::START;
                continue;
            }
            self.held.extend(reports.into_iter().map(|report| (observed.mono, report)));
            while self.held.len() > HELD_MAX {
                // Before what happened goes what only says which rules held, where a later word of
                // the same alert says which do.
                let is_said_later = |place: usize, id| {
                    self.held.iter().skip(place + 1).any(|(_, later)| later.id == id)
                };
                let mut held = self.held.iter().enumerate();
                let least = held.position(|(place, (_, it))| {
                    it.what == report::RULES_CHANGED && is_said_later(place, it.id)
                });
                self.held.remove(least.unwrap_or(0));
            }
        }
    }

    /// Decides whether the county is out of reach.
    fn look_at_reach(&mut self, reach: Reach, now: MonoTime) {
        let lost = reach.lost_at();
        let since = reach.since().map_or(now, |(mono, _)| mono);
        self.held.retain(|(at, _)| *at >= since);
        if lost.is_some_and(|at| at <= now) && !self.out_of_reach {
            self.out_of_reach = true;
            self.lost_since = reach.since().map(|(_, wall)| wall);
            tracing::warn!("The county is out of reach: alerts are signalled here.");
            let held = std::mem::take(&mut self.held);
            self.reports.extend(held.into_iter().map(|(_, report)| report));
            self.signal_all();
            self.keep_at = MonoTime::START;
        } else if self.out_of_reach && reach.is_good() && lost.is_none_or(|at| at > now) {
            self.out_of_reach = false;
            self.lost_since = None;
            tracing::warn!("The county is in reach again: alerts are signalled there.");
            self.signals.stop();
            self.keep_at = MonoTime::START;
        }
    }

    fn signal(&mut self, alert: &Alert) {
        if self.goes_by.signals {
            self.signals.take(alert);
        }
    }

    fn signal_all(&mut self) {
        if self.goes_by.signals {
            self.evaluation.alerts().for_each(|alert| self.signals.take(alert));
        }
    }

    /// Tells the hook what it does not know yet, if it is free.
    fn call_hook(&mut self) {
        #[derive(Serialize)]
        struct Said<'a> {
            what: What,
            /// How many alerts want somebody: a lamp is on while there are any.
            signals: usize,
            site: &'a str,
            alert: Option<Told>,
        }
        let now = self.lookout.clock.now();
        if self.caller.free_at().is_none_or(|at| at > now.mono) {
            return;
        }
        let Some(call) = self.signals.next_call() else { return };
        let (what, alert) = match call {
            Call::Raise(id) => {
                let alert = self.evaluation.alerts().find(|alert| alert.id == id);
                (What::Raise, alert.map(|alert| self.told(alert, now.wall)))
            }
            Call::End(what, alert) => (what, Some(self.told(&alert, now.wall))),
            Call::Stands(what) => (what, None),
        };
        let (signals, site) = (self.signals.count(), self.lookout.site.as_str());
        let said = Said { what, signals, site, alert };
        self.caller.call(serde_json::to_vec(&said).unwrap_or_default());
    }

    fn hook_took(&mut self, taken: bool) {
        self.caller.over(self.lookout.clock.mono(), taken);
        self.signals.called(taken);
        if taken {
            // A kill from here on repeats nothing.
            self.keep_at = MonoTime::START;
        }
    }

    /// Hands over what the county is told, and waits until it is on disk: what is written down as
    /// told has to be. Whether it is.
    async fn report(&mut self) -> bool {
        if self.reports.is_empty() && self.handed == 0 {
            return true;
        }
        let outbox = &self.lookout.outbox;
        if self.committed.is_none() {
            self.committed = outbox.committed(LINK).await.ok();
        }
        for report in std::mem::take(&mut self.reports) {
            self.handed += 1;
            let origin = Origin { link: LINK, number: self.handed };
            if outbox.enqueue(origin, Record::Alert(Box::new(report))).await.is_err() {
                return false; // The agent stops.
            }
        }
        let Some(committed) = &mut self.committed else { return false };
        let handed = self.handed;
        let written = committed.wait_for(|committed| *committed >= handed);
        // While the disk takes nothing the rules go on.
        matches!(tokio::time::timeout(COMMIT_LIMIT, written).await, Ok(Ok(_)))
    }

    async fn acknowledge(&mut self, said: Acknowledge) -> Result<Told, AcknowledgeHereError> {
        if !self.out_of_reach {
            return Err(AcknowledgeHereError::InReach);
        }
        let Acknowledge { id, by, reason, note } = said;
        let now = self.lookout.clock.now().wall;
        let alert = self.evaluation.acknowledge(id, &by, reason, &note, now)?;
        tracing::info!(alert = %id, by, reason = reason.name(), "An alert was acknowledged here.");
        self.note(vec![alert.clone()]);
        self.keep_if_due().await;
        Ok(self.told(&alert, now))
    }

    /// What is held is in memory alone: until it is decided, the place before it stands.
    async fn keep_if_due(&mut self) {
        if self.held.is_empty() && self.keep_at <= self.lookout.clock.mono() {
            self.keep().await;
        }
    }

    /// What is held at the end is heard and told anew by the next start, from the place before it.
    async fn stop(&mut self) {
        if self.held.is_empty() {
            self.keep().await;
        }
    }

    async fn keep(&mut self) {
        // Of what cannot come back nothing more is told.
        let remembered: BTreeSet<AlertId> =
            self.evaluation.remembered().map(|alert| alert.id).collect();
        self.standings.retain(|id, _| remembered.contains(id));
        if !self.report().await {
            self.keep_at = self.lookout.clock.mono() + KEEP_AGAIN;
            return;
        }
        let now = self.lookout.clock.now();
        let kept = Kept {
            place: self.place,
            kept_at: Some(KeptAt::of(now)),
            out_of_reach: self.out_of_reach,
            lost_since: self.lost_since,
            signals: self.signals.kept(),
            kinds: self.evaluation.kinds().clone(),
            whose: self.evaluation.whose().clone(),
            county: self.evaluation.county(now),
            engines: self.evaluation.states(),
        };
        let written = tokio::task::block_in_place(|| self.file.write(&kept));
        let wait = match written {
            Ok(()) => KEEP_EVERY,
            Err(error) => {
                tracing::error!(%error, "Alert states cannot be written; a restart would signal again what was signalled. Check the disk.");
                KEEP_AGAIN
            }
        };
        self.keep_at = self.lookout.clock.mono() + wait;
    }

    fn picture(&self) -> Picture {
        let now = self.lookout.clock.now();
        let kinds = self.evaluation.kinds().iter();
        Picture {
            signals: self.out_of_reach,
            out_of_reach_since: self.lost_since.map(rfc3339),
            rules: self.evaluation.rules_version().to_owned(),
            failing: self.failing.clone(),
            alerts: self.evaluation.alerts().map(|alert| self.told(alert, now.wall)).collect(),
            newest: self.evaluation.newest().shown(now.mono),
            kinds: kinds.map(|(device, kind)| (device.to_string(), kind.name())).collect(),
        }
    }

    fn told(&self, alert: &Alert, now: WallTime) -> Told {
        Told::of(alert, self.evaluation.bed_of(alert, now), self.signals.is_on(alert.id))
    }
}

#[cfg(test)]
mod tests;
