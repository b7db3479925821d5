//! Runs the sending half of the uplink on MQTT 5 with mutual TLS.
//!
//! Not here: what goes out when (`uplink_proto::sender`), MQTT itself ([`connection`]), what happens
//! while a connection is up ([`session`]), what makes it try again at once ([`route`]).
//!
//! # Invariants
//! - the outbox is the only queue: each connection starts from it, nothing is kept in the client
//! - a PUBACK changes nothing in the outbox

mod certificate;
mod connection;
mod in_flight;
mod refusal;
mod route;
mod session;

use crate::{
    clock::Clock,
    config::UplinkConfig,
    outbox::{AskOutboxError, News, Outbox, OutboxClosed, OutboxStats},
    policy::PolicyKeeper,
    reach::ReachWatch,
    run::VERSION,
    status::Board,
};
use connection::{Connection, ConnectionError, Plan};
use model::{
    id::{Lane, Seq, SiteId},
    time::MonoTime,
};
use session::Session;
use std::{
    collections::{BTreeSet, VecDeque},
    sync::{Arc, MutexGuard, PoisonError},
    time::Duration,
};
use thiserror::Error;
use tokio::sync::{Mutex, mpsc};
use tokio_util::sync::CancellationToken;
use uplink_proto::{
    state::{SiteState, Upkeep},
    topics::Topic,
};

/// Back-off with full jitter: at most this in the first minutes of an outage.
const BACK_OFF_FIRST: Duration = Duration::from_secs(2);
/// At most this later.
const BACK_OFF_LATER: Duration = Duration::from_secs(30);
/// How long the first minutes are.
const FIRST_MINUTES: Duration = Duration::from_secs(120);
/// A connection that lasted this long was good: an outage after it is a new one.
const GOOD_AFTER: Duration = Duration::from_secs(60);
/// Another box that takes the connection away so often in that time has the same certificate; one
/// that took the place of this one does it once.
const TAKEN_OVER_MAX: usize = 1;
const TAKEN_OVER_WITHIN: Duration = Duration::from_secs(30 * 60);
/// Then each waits for half of this at least, so that both get their turn and neither fights.
const STAND_BACK: Duration = Duration::from_secs(10 * 60);
/// Causes of one outage that are told apart in the log.
const CAUSES_MAX: usize = 16;
/// The last words of an agent that stops.
const GOODBYE_LIMIT: Duration = Duration::from_secs(2);

/// A row of the outbox.
type Row = (Lane, Seq);

/// The uplink and all it needs.
#[derive(Clone)]
pub(crate) struct Uplink {
    pub(crate) config: UplinkConfig,
    pub(crate) site: SiteId,
    pub(crate) outbox: Outbox,
    pub(crate) news: Arc<Mutex<mpsc::Receiver<News>>>,
    pub(crate) policy: Arc<std::sync::Mutex<PolicyKeeper>>,
    pub(crate) board: Arc<Board>,
    pub(crate) reach: ReachWatch,
    pub(crate) clock: Clock,
    pub(crate) stopped: CancellationToken,
}

/// Why a connection ended.
#[derive(Debug, Error)]
enum UplinkError {
    #[error("{0}")]
    Connection(#[from] ConnectionError),
    #[error("the outbox file failed: {0}; check the disk")]
    File(#[from] rusqlite::Error),
    #[error(transparent)]
    Closed(#[from] OutboxClosed),
    #[error("the outbox goes on under a new id")]
    StartedAnew,
}

impl From<AskOutboxError> for UplinkError {
    fn from(error: AskOutboxError) -> Self {
        match error {
            AskOutboxError::Closed(closed) => Self::Closed(closed),
            AskOutboxError::File(error) => Self::File(error),
        }
    }
}

/// Serves the county until the agent stops.
pub(crate) async fn run(uplink: Uplink) {
    let news = Arc::clone(&uplink.news);
    let mut news = news.lock().await;
    let mut outage = Outage::new(uplink.clock.mono());
    loop {
        let ways = route::ways();
        let mut up_since = None;
        let ended = uplink.session(&mut news, &mut up_since).await;
        let error = match ended {
            Ok(()) | Err(UplinkError::Closed(_)) => return,
            Err(error) => error,
        };
        let now = uplink.clock.now();
        uplink.reach.lost(now);
        let text = error.to_string();
        let mut wait = Wait::Jittered(outage.wait_max(now.mono, up_since));
        if let UplinkError::Connection(ConnectionError::TakenOver) = error {
            wait = outage.taken_over(now.mono);
        }
        uplink.board.uplink(&format!("{text}{}", wait.text()));
        match outage.is_news(&text) {
            true => tracing::warn!(error = text, "Uplink is down."),
            false => tracing::debug!(error = text, "Uplink is down."),
        }
        tokio::select! {
            () = tokio::time::sleep(wait.time()) => {}
            () = route::changed(ways), if wait.ends_with_a_route() => {
                tracing::info!("A route or address changed.");
            }
            () = uplink.stopped.cancelled() => return,
        }
    }
}

/// How long to wait before the next connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Wait {
    /// Anything up to this.
    Jittered(Duration),
    /// Between half of this and all of it, whatever becomes of the routes.
    StandBack(Duration),
}

impl Wait {
    fn time(self) -> Duration {
        match self {
            Self::Jittered(cap) => jittered(cap),
            Self::StandBack(cap) => cap / 2 + jittered(cap / 2),
        }
    }

    /// What a person hears of it, if it is long.
    fn text(self) -> String {
        match self {
            Self::Jittered(_) => String::new(),
            Self::StandBack(cap) => format!("; tried again within {} min", cap.as_secs() / 60),
        }
    }

    /// Whether a change of route or address may bring the county into reach.
    fn ends_with_a_route(self) -> bool {
        matches!(self, Self::Jittered(_))
    }
}

/// How long the county has been out of reach, and why. A connection that breaks at once does not end
/// an outage.
struct Outage {
    since: MonoTime,
    /// Causes that were told.
    told: BTreeSet<String>,
    /// When another box took the connection away.
    taken_over: VecDeque<MonoTime>,
}

impl Outage {
    fn new(since: MonoTime) -> Self {
        Self { since, told: BTreeSet::new(), taken_over: VecDeque::new() }
    }

    /// A connection or an attempt ended: how long to wait at most.
    fn wait_max(&mut self, now: MonoTime, up_since: Option<MonoTime>) -> Duration {
        if up_since.is_some_and(|since| now.since(since) >= GOOD_AFTER) {
            self.since = now;
            self.told.clear();
        }
        match now.since(self.since) < FIRST_MINUTES {
            true => BACK_OFF_FIRST,
            false => BACK_OFF_LATER,
        }
    }

    /// Another box took the connection: who comes back at once each time takes it from that one,
    /// and so on for ever.
    fn taken_over(&mut self, now: MonoTime) -> Wait {
        self.taken_over.retain(|at| now.since(*at) < TAKEN_OVER_WITHIN);
        let before = self.taken_over.len();
        self.taken_over.push_back(now);
        match before < TAKEN_OVER_MAX {
            true => Wait::Jittered(BACK_OFF_FIRST),
            false => Wait::StandBack(STAND_BACK),
        }
    }

    /// Whether that cause has not been told in this outage: it is tried again every second.
    fn is_news(&mut self, cause: &str) -> bool {
        if self.told.len() >= CAUSES_MAX {
            self.told.clear();
        }
        self.told.insert(cause.to_owned())
    }
}

/// Anything up to `cap`, so that a county's boxes do not come back in step.
fn jittered(cap: Duration) -> Duration {
    let mut byte = [0; 1];
    // Without random bytes the full time is as good.
    let share = aws_lc_rs::rand::fill(&mut byte).map_or(u8::MAX, |()| byte[0]);
    cap * u32::from(share) / u32::from(u8::MAX)
}

impl Uplink {
    fn policy(&self) -> MutexGuard<'_, PolicyKeeper> {
        // A policy in force is whole even if a writer panicked.
        self.policy.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One connection, from CONNECT to its end; `Ok` when the agent stops.
    async fn session(
        &self,
        news: &mut mpsc::Receiver<News>,
        up_since: &mut Option<MonoTime>,
    ) -> Result<(), UplinkError> {
        self.board.uplink("connecting");
        let number = self.outbox.next_connection().await?;
        let before = self.outbox.stock().await?;
        let outbox = before.outbox;
        let state = |online, backlog, stats: &OutboxStats| {
            let (trust, now) = (self.clock.trust(), self.clock.now());
            SiteState {
                online,
                connection: number,
                agent_version: VERSION.to_owned(),
                outbox,
                backlog,
                holds_s: stats.holds_s,
                clock: trust.quality,
                clock_evidence: trust.evidence,
                at: now.wall,
                uptime: Some(now.uptime),
                policy: Some(self.policy().held()),
                upkeep: Upkeep {
                    free_pct: stats.free_pct,
                    certificate_until: certificate::until(&self.config.cert),
                },
            }
        };
        let backlog = before.lanes.map(|lane| lane.unacked.count());
        let plan = Plan {
            config: &self.config,
            site: &self.site,
            will: state(false, backlog, &self.outbox.stats().await?).encode(),
            clock: self.clock,
        };
        let mut connection = tokio::select! {
            connection = Connection::open(plan) => connection?,
            () = self.stopped.cancelled() => return Ok(()),
        };
        *up_since = Some(self.clock.mono());
        // News up to here is in the stock.
        while news.try_recv().is_ok() {}
        let stock = self.outbox.stock().await?;
        if stock.outbox != outbox {
            return Err(UplinkError::StartedAnew);
        }
        let mut session = Session::new(self, stock, &mut connection).await?;
        let mut ended = session.serve(news, &state).await;
        match ended {
            // Of the brokers we know none says why it closes the connection of a rival.
            Err(UplinkError::Connection(ConnectionError::Closed)) if session.by_turns => {
                ended = Err(ConnectionError::TakenOver.into());
            }
            Err(UplinkError::Connection(ConnectionError::TakenOver)) => {
                self.board.rival(self.clock.now());
            }
            _ => {}
        }
        if ended.is_ok() {
            let stats = self.outbox.stats().await?;
            let last_words = state(false, session.sender.backlog(), &stats).encode();
            let topic = Topic::State(self.site.clone()).name();
            let goodbye = connection.goodbye(topic, last_words);
            // The will says the same if there is no time for it.
            drop(tokio::time::timeout(GOODBYE_LIMIT, goodbye).await);
        }
        ended
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_connection_that_held_ends_an_outage() {
        let at = |seconds| MonoTime::from_start(Duration::from_secs(seconds));
        let mut outage = Outage::new(at(0));
        assert_eq!(outage.wait_max(at(10), None), BACK_OFF_FIRST);
        assert_eq!(outage.wait_max(at(119), Some(at(115))), BACK_OFF_FIRST);
        // It breaks each time as soon as it is up.
        assert_eq!(outage.wait_max(at(121), Some(at(120))), BACK_OFF_LATER);
        assert_eq!(outage.wait_max(at(300), Some(at(240))), BACK_OFF_FIRST);
        assert_eq!(outage.wait_max(at(419), None), BACK_OFF_FIRST);
        assert_eq!(outage.wait_max(at(420), None), BACK_OFF_LATER);
    }

    #[test]
    fn a_cause_is_told_once_in_an_outage() {
        let at = |seconds| MonoTime::from_start(Duration::from_secs(seconds));
        let mut outage = Outage::new(at(0));
        let told = ["away", "away", "refused", "away"].map(|cause| outage.is_news(cause));
        assert_eq!(told, [true, false, true, false]);
        outage.wait_max(at(10), Some(at(8)));
        assert!(!outage.is_news("away"), "it broke as soon as it was up");
        outage.wait_max(at(100), Some(at(20)));
        assert!(outage.is_news("away"));
    }

    #[test]
    fn a_box_that_took_the_place_of_this_one_is_no_fight_and_one_that_comes_again_is() {
        let at = |seconds| MonoTime::from_start(Duration::from_secs(seconds));
        let mut outage = Outage::new(at(0));
        assert_eq!(outage.taken_over(at(100)), Wait::Jittered(BACK_OFF_FIRST));
        for again in [101, 800, 1600, 2400] {
            let wait = outage.taken_over(at(again));
            assert_eq!(wait, Wait::StandBack(STAND_BACK));
            assert!(!wait.ends_with_a_route());
            assert!((STAND_BACK / 2..=STAND_BACK).contains(&wait.time()));
        }
        assert_eq!(outage.taken_over(at(2400 + 1800)), Wait::Jittered(BACK_OFF_FIRST));
    }
}
