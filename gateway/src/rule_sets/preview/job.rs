//! The preview of a county: begun by somebody, judged site by site beside everything else, and asked
//! how far it is until it has ended.
//!
//! # Invariants
//! - one is under way at a time; the last stays to be asked until another begins
//! - its threads give way to everything else that has to run

use super::{BACK_MS, Work, sites, told, township};
use crate::{
    figures,
    query::Clinics,
    store::{Store, StoreError},
};
use model::{id::SiteId, time::WallTime};
use rules::rule::RuleSet;
use rusqlite::Connection;
use serde_json::Value;
use std::{
    collections::{BTreeSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
};
use tokio_util::sync::CancellationToken;
use told::Tally;

/// Sites at once: a county has two cores, or the disk is the limit.
const AT_ONCE: usize = 2;
/// The least that a thread can claim of a processor.
const NICE: i32 = 19;

/// How a preview stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum State {
    Running,
    Done,
    Stopped,
    Failed,
}

impl State {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Done => "done",
            Self::Stopped => "stopped",
            Self::Failed => "failed",
        }
    }
}

/// The preview that is under way, or the last one.
#[derive(Debug, Default)]
pub(crate) struct Previews(Mutex<Option<Arc<Job>>>);

impl Previews {
    pub(crate) fn last(&self) -> Option<Arc<Job>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Puts another in the place of the last, unless that is still under way.
    pub(crate) fn begin(&self, job: Job) -> Result<Arc<Job>, Arc<Job>> {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &*last {
            Some(running) if running.state() == State::Running => Err(Arc::clone(running)),
            _ => {
                let job = Arc::new(job);
                *last = Some(Arc::clone(&job));
                Ok(job)
            }
        }
    }
}

/// One preview.
#[derive(Debug)]
pub(crate) struct Job {
    by: String,
    /// Of what is asked for, where it is kept.
    version: Option<i64>,
    /// What is asked for, and what is live.
    sets: [Arc<RuleSet>; 2],
    clinics: Arc<Clinics>,
    from: WallTime,
    until: WallTime,
    progress: Mutex<Progress>,
    /// Somebody wants no more of it.
    stop: CancellationToken,
    ended: CancellationToken,
}

/// How far it is.
#[derive(Debug, Default)]
struct Progress {
    /// Sites that nobody has begun.
    waiting: VecDeque<SiteId>,
    all: usize,
    judged: BTreeSet<String>,
    tallies: [Tally; 2],
    readings: usize,
    why: Option<String>,
}

impl Job {
    /// `stopped`: the gateway stops.
    pub(crate) fn new(
        (by, version): (&str, Option<i64>),
        sets: [Arc<RuleSet>; 2],
        clinics: Arc<Clinics>,
        now: WallTime,
        stopped: &CancellationToken,
    ) -> Self {
        Self {
            by: by.to_owned(),
            version,
            sets,
            clinics,
            from: WallTime::from_unix_ms(now.unix_ms().saturating_sub(BACK_MS)),
            until: now,
            progress: Mutex::default(),
            stop: stopped.child_token(),
            ended: CancellationToken::new(),
        }
    }

    /// Judges all sites, until it is stopped; returns when it has ended.
    pub(crate) async fn run(self: Arc<Self>, store: Store) {
        let ends = self.ended.clone().drop_guard();
        match store.read(sites).await {
            Ok(sites) => {
                let mut progress = self.progress();
                (progress.all, progress.waiting) = (sites.len(), sites.into());
            }
            Err(error) => self.fail(&error),
        }
        let job = Arc::clone(&self);
        // Whoever has less to claim gets it back never: these threads are its own.
        let judging = thread::Builder::new().name("previews".to_owned()).spawn(move || {
            job.give_way();
            thread::scope(|threads| {
                for _ in 1..AT_ONCE {
                    threads.spawn(|| job.judge_next(&store));
                }
                job.judge_next(&store);
            });
            drop(ends);
        });
        if let Err(error) = judging {
            self.fail(&error);
        }
        self.ended.cancelled().await;
    }

    /// No thread begins with less claim than the one it comes from.
    fn give_way(&self) {
        if let Err(error) = rustix::process::nice(NICE) {
            tracing::warn!(%error, by = self.by, "A preview runs beside the rest as its equal.");
        }
    }

    fn judge_next(&self, store: &Store) {
        let judged = store.own_reader().and_then(|connection| {
            while let Some(site) = self.next() {
                self.judge(&connection, &site)?;
            }
            Ok(())
        });
        if let Err(error) = judged {
            self.fail(&error);
        }
    }

    fn next(&self) -> Option<SiteId> {
        let mut progress = self.progress();
        let goes_on = progress.why.is_none() && !self.stop.is_cancelled();
        if goes_on { progress.waiting.pop_front() } else { None }
    }

    fn judge(&self, connection: &Connection, site: &SiteId) -> rusqlite::Result<()> {
        let sets = self.sets.clone();
        let mut work = Work::begin(connection, site, sets, (self.from, self.until))?;
        while work.is_under_way() {
            if self.stop.is_cancelled() {
                return Ok(());
            }
            work.step(connection)?;
        }
        let raised = work.trials.raised_since(self.from);
        let township = township(&self.clinics, site.as_str());
        let mut progress = self.progress();
        progress.readings += work.readings;
        progress.judged.insert(site.to_string());
        for (tally, raised) in progress.tallies.iter_mut().zip(raised) {
            tally.add(&township, raised.into_iter());
        }
        Ok(())
    }

    fn fail(&self, error: &dyn std::error::Error) {
        tracing::error!(%error, by = self.by, "Rules could not be previewed.");
        self.progress().why.get_or_insert(error.to_string());
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends it: what was judged stays to be asked for.
    pub(crate) fn stop(&self) {
        self.stop.cancel();
    }

    /// For tests: somebody wants no more of it.
    #[cfg(test)]
    pub(crate) async fn stopping(&self) {
        self.stop.cancelled().await;
    }

    pub(crate) async fn ended(&self) {
        self.ended.cancelled().await;
    }

    pub(crate) fn state(&self) -> State {
        let progress = self.progress();
        let is_whole = progress.judged.len() == progress.all;
        match (self.ended.is_cancelled(), &progress.why) {
            (false, _) => State::Running,
            (true, Some(_)) => State::Failed,
            (true, None) if is_whole => State::Done,
            (true, None) if self.stop.is_cancelled() => State::Stopped,
            (true, None) => State::Failed,
        }
    }

    /// Who asked, and how many of how many sites are judged.
    pub(crate) fn standing(&self) -> (String, usize, usize) {
        let progress = self.progress();
        (self.by.clone(), progress.judged.len(), progress.all)
    }

    /// What it has found so far, as the API tells it.
    pub(crate) async fn told(&self, store: &Store) -> Result<Value, StoreError> {
        let (from, until, clinics) = (self.from, self.until, Arc::clone(&self.clinics));
        let state = self.state();
        let judged = self.progress().judged.clone();
        let days = move |connection: &Connection| {
            let township = |site: &str| judged.contains(site).then(|| township(&clinics, site));
            let monitored = figures::monitored(connection)?;
            figures::days(connection, &monitored, from.unix_ms(), until.unix_ms(), township)
        };
        let days = store.read(days).await?.into_values().sum();
        let progress = self.progress();
        let sites = (progress.judged.len(), progress.all.saturating_sub(progress.judged.len()));
        let [asked, live] = &self.sets;
        Ok(told::answer(
            (state.name(), &self.by, self.version),
            [asked, live],
            &progress.tallies,
            (progress.readings, sites, days),
            (from, until),
        ))
    }
}

/// A preview from its begin to its end, for tests.
#[cfg(test)]
pub(crate) async fn preview(
    store: &Store,
    sets: [Arc<RuleSet>; 2],
    clinics: Arc<Clinics>,
    now: WallTime,
) -> Result<Value, StoreError> {
    let job = Arc::new(Job::new(("bench", None), sets, clinics, now, &CancellationToken::new()));
    Arc::clone(&job).run(store.clone()).await;
    job.told(store).await
}
