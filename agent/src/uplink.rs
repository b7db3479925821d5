//! Runs the sending half of the uplink on MQTT 5 with mutual TLS.
//!
//! Not here: what goes out when (`uplink_proto::sender`), MQTT itself ([`connection`]), what happens
//! while a connection is up ([`session`]), what makes it try again at once ([`route`]).
//!
//! # Invariants
//! - the outbox is the only queue: each connection starts from it, nothing is kept in the client
//! - a PUBACK changes nothing in the outbox

mod connection;
mod in_flight;
mod route;
mod session;

use crate::{
    clock::Clock,
    config::UplinkConfig,
    outbox::{AskOutboxError, News, Outbox, OutboxClosed},
    run::VERSION,
    status::Board,
};
use connection::{Connection, Plan};
use model::{
    id::{Lane, Seq, SiteId},
    time::MonoTime,
};
use session::Session;
use std::{sync::Arc, time::Duration};
use thiserror::Error;
use tokio::sync::{Mutex, mpsc};
use tokio_util::sync::CancellationToken;
use uplink_proto::{state::SiteState, topics::Topic};

/// Back-off with full jitter: at most this in the first minutes of an outage.
const BACK_OFF_FIRST: Duration = Duration::from_secs(2);
/// At most this later.
const BACK_OFF_LATER: Duration = Duration::from_secs(30);
/// How long the first minutes are.
const FIRST_MINUTES: Duration = Duration::from_secs(120);
/// A connection that lasted this long was good: an outage after it is a new one.
const GOOD_AFTER: Duration = Duration::from_secs(60);
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
    pub(crate) board: Arc<Board>,
    pub(crate) clock: Clock,
    pub(crate) stopped: CancellationToken,
}

/// Why a connection ended.
#[derive(Debug, Error)]
enum UplinkError {
    #[error("{0}")]
    Connection(#[from] connection::ConnectionError),
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
    let mut outage = Outage { since: uplink.clock.mono() };
    loop {
        let ways = route::ways();
        let mut up_since = None;
        let ended = uplink.session(&mut news, &mut up_since).await;
        let error = match ended {
            Ok(()) | Err(UplinkError::Closed(_)) => return,
            Err(error) => error,
        };
        uplink.board.uplink(&error.to_string());
        tracing::warn!(%error, "Uplink is down.");
        let cap = outage.wait_max(uplink.clock.mono(), up_since);
        tokio::select! {
            () = tokio::time::sleep(jittered(cap)) => {}
            () = route::changed(ways) => tracing::info!("A route or address changed."),
            () = uplink.stopped.cancelled() => return,
        }
    }
}

/// How long the county has been out of reach. A connection that breaks at once does not end an
/// outage.
struct Outage {
    since: MonoTime,
}

impl Outage {
    /// A connection or an attempt ended: how long to wait at most.
    fn wait_max(&mut self, now: MonoTime, up_since: Option<MonoTime>) -> Duration {
        if up_since.is_some_and(|since| now.since(since) >= GOOD_AFTER) {
            self.since = now;
        }
        match now.since(self.since) < FIRST_MINUTES {
            true => BACK_OFF_FIRST,
            false => BACK_OFF_LATER,
        }
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
        let state = |online, backlog, holds_s| SiteState {
            online,
            connection: number,
            agent_version: VERSION.to_owned(),
            outbox,
            backlog,
            holds_s,
            clock: self.clock.quality(),
            at: self.clock.now().wall,
        };
        let backlog = before.lanes.map(|lane| lane.unacked.count());
        let plan = Plan {
            config: &self.config,
            site: &self.site,
            will: state(false, backlog, self.outbox.stats().await?.holds_s).encode(),
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
        let mut session = Session::new(self, stock, &mut connection)?;
        let ended = session.serve(news, &state).await;
        if ended.is_ok() {
            let holds_s = self.outbox.stats().await?.holds_s;
            let last_words = state(false, session.sender.backlog(), holds_s).encode();
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
        let mut outage = Outage { since: at(0) };
        assert_eq!(outage.wait_max(at(10), None), BACK_OFF_FIRST);
        assert_eq!(outage.wait_max(at(119), Some(at(115))), BACK_OFF_FIRST);
        // It breaks each time as soon as it is up.
        assert_eq!(outage.wait_max(at(121), Some(at(120))), BACK_OFF_LATER);
        assert_eq!(outage.wait_max(at(300), Some(at(240))), BACK_OFF_FIRST);
        assert_eq!(outage.wait_max(at(419), None), BACK_OFF_FIRST);
        assert_eq!(outage.wait_max(at(420), None), BACK_OFF_LATER);
    }
}
