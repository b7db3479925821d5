//! Runs the sending half of the uplink on MQTT 5 with mutual TLS.
//!
//! Not here: what goes out when (`uplink_proto::sender`), MQTT itself ([`connection`]).
//!
//! # Invariants
//! - the outbox is the only queue: each connection starts from it, nothing is kept in the client
//! - a PUBACK changes nothing in the outbox

mod connection;

use crate::{
    clock::Clock,
    config::UplinkConfig,
    outbox::{AskOutboxError, News, Outbox, OutboxClosed, Reader, Stock},
    run::VERSION,
    status::Board,
};
use connection::{Connection, Heard, Plan};
use model::id::{Lane, OutboxId, Seq, SiteId};
use std::{sync::Arc, time::Duration};
use thiserror::Error;
use tokio::sync::{Mutex, mpsc};
use tokio_util::sync::CancellationToken;
use uplink_proto::{
    ack::Ack,
    envelope,
    sender::{Sender, SenderEvent, SenderOutput},
    state::SiteState,
    topics::Topic,
};

/// Back-off with full jitter: at most this in the first minutes of an outage.
const BACK_OFF_FIRST: Duration = Duration::from_secs(2);
/// At most this later.
const BACK_OFF_LATER: Duration = Duration::from_secs(30);
/// How long the first minutes are.
const FIRST_MINUTES: Duration = Duration::from_secs(120);
/// The retained state tells the backlog this often.
const STATE_EVERY: Duration = Duration::from_secs(30);
/// The last words of an agent that stops.
const GOODBYE_LIMIT: Duration = Duration::from_secs(2);

/// The uplink and all it needs.
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
    let mut down_since = uplink.clock.mono();
    loop {
        let ended = uplink.session(&mut news).await;
        let error = match ended {
            Ok(()) | Err(UplinkError::Closed(_)) => return,
            Err(error) => error,
        };
        let now = uplink.clock.mono();
        uplink.board.uplink(&error.to_string());
        tracing::warn!(%error, "Uplink is down.");
        let was_up = matches!(&error, UplinkError::Connection(error) if error.was_connected());
        if was_up {
            down_since = now;
        }
        let cap = match now.since(down_since) < FIRST_MINUTES {
            true => BACK_OFF_FIRST,
            false => BACK_OFF_LATER,
        };
        tokio::select! {
            () = tokio::time::sleep(jittered(cap)) => {}
            () = uplink.stopped.cancelled() => return,
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
    async fn session(&self, news: &mut mpsc::Receiver<News>) -> Result<(), UplinkError> {
        self.board.uplink("connecting");
        let number = self.outbox.next_connection().await?;
        // News up to here is in the stock.
        while news.try_recv().is_ok() {}
        let Stock { outbox, path, lanes, live_from } = self.outbox.stock().await?;
        tracing::debug!(%outbox, ?live_from, "Starting from the outbox.");
        let reader = Reader::open(&path)?;
        let sender = Sender::new(outbox, lanes);
        let state = |online, backlog| SiteState {
            online,
            connection: number,
            agent_version: VERSION.to_owned(),
            outbox,
            backlog,
            clock: self.clock.quality(),
            at: self.clock.now().wall,
        };
        let plan = Plan {
            config: &self.config,
            site: &self.site,
            will: state(false, sender.backlog()).encode(),
        };
        let mut connection = tokio::select! {
            connection = Connection::open(plan) => connection?,
            () = self.stopped.cancelled() => return Ok(()),
        };
        let mut session =
            Session { uplink: self, outbox, sender, reader, connection: &mut connection };
        let ended = session.serve(news, &state).await;
        if ended.is_ok() {
            let last_words = state(false, session.sender.backlog()).encode();
            let topic = Topic::State(self.site.clone()).name();
            let goodbye = connection.goodbye(topic, last_words);
            // The will says the same if there is no time for it.
            drop(tokio::time::timeout(GOODBYE_LIMIT, goodbye).await);
        }
        ended
    }
}

/// One connection that is up.
struct Session<'a> {
    uplink: &'a Uplink,
    outbox: OutboxId,
    sender: Sender,
    reader: Reader,
    connection: &'a mut Connection,
}

impl Session<'_> {
    async fn serve(
        &mut self,
        news: &mut mpsc::Receiver<News>,
        state: &(dyn Fn(bool, [u64; 3]) -> SiteState + Sync),
    ) -> Result<(), UplinkError> {
        let clock = self.uplink.clock;
        self.uplink.board.uplink("online");
        tracing::info!(outbox = %self.outbox, "Uplink is up.");
        self.sender.handle(clock.mono(), SenderEvent::Connected);
        let mut tell_state = tokio::time::interval(STATE_EVERY);
        loop {
            self.carry_out().await?;
            tokio::select! {
                heard = self.connection.next() => self.take(heard?)?,
                told = news.recv() => match told {
                    None => return Err(OutboxClosed.into()),
                    Some(News::Stored(lane, seq)) => {
                        self.sender.handle(clock.mono(), SenderEvent::Stored(lane, seq));
                    }
                    Some(News::Dropped { lane, first, last }) => {
                        let event = SenderEvent::Dropped { lane, first, last };
                        self.sender.handle(clock.mono(), event);
                    }
                    Some(News::Overflow) => self.look_again().await?,
                },
                () = clock.sleep_until(self.sender.next_timeout()) => {
                    self.sender.handle(clock.mono(), SenderEvent::TimedOut);
                }
                _ = tell_state.tick() => {
                    let topic = Topic::State(self.uplink.site.clone()).name();
                    self.connection.publish_retained(topic, state(true, self.sender.backlog()).encode())?;
                }
                () = self.uplink.stopped.cancelled() => return Ok(()),
            }
        }
    }

    /// More was committed than news could tell: start from the file again.
    async fn look_again(&mut self) -> Result<(), UplinkError> {
        let Stock { outbox, lanes, .. } = self.uplink.outbox.stock().await?;
        if outbox != self.outbox {
            return Err(UplinkError::StartedAnew);
        }
        self.sender = Sender::new(outbox, lanes);
        self.sender.handle(self.uplink.clock.mono(), SenderEvent::Connected);
        Ok(())
    }

    async fn carry_out(&mut self) -> Result<(), UplinkError> {
        while let Some(output) = self.sender.poll_output() {
            match output {
                SenderOutput::Publish(lane, seq) => self.publish(lane, seq).await?,
                SenderOutput::Forget { lane, first, last } => {
                    self.uplink.outbox.forget(lane, first, last).await?;
                }
                SenderOutput::StartNewOutbox => {
                    self.uplink.outbox.start_anew().await?;
                    return Err(UplinkError::StartedAnew);
                }
            }
        }
        Ok(())
    }

    async fn publish(&mut self, lane: Lane, seq: Seq) -> Result<(), UplinkError> {
        let now = self.uplink.clock.mono();
        let Some(bytes) = self.reader.row(lane, seq)? else {
            // Dropped meanwhile: the news of it is on its way.
            self.sender.handle(now, SenderEvent::Dropped { lane, first: seq, last: seq });
            return Ok(());
        };
        let Some(bytes) = self.numbered(seq, bytes) else {
            self.uplink.outbox.damaged(lane, seq).await?;
            self.sender.handle(now, SenderEvent::Dropped { lane, first: seq, last: seq });
            return Ok(());
        };
        let len = bytes.len();
        self.connection.publish(Topic::Up(self.uplink.site.clone(), lane).name(), bytes)?;
        self.sender.handle(now, SenderEvent::Sent { lane, seq, len });
        Ok(())
    }

    /// The envelope under the id and number it has now: an outbox that started anew keeps the bytes
    /// of before. The same bytes each time, so that a resend is a duplicate and no conflict.
    fn numbered(&self, seq: Seq, bytes: Vec<u8>) -> Option<Vec<u8>> {
        let header = envelope::peek(&bytes).ok()?;
        if (header.outbox, header.seq) == (self.outbox, seq) {
            return Some(bytes);
        }
        envelope::renumbered(&bytes, self.outbox, seq).ok()
    }

    fn take(&mut self, heard: Heard) -> Result<(), UplinkError> {
        match heard {
            Heard::Message(bytes) => match Ack::decode(&bytes) {
                Ok(ack) => {
                    for error in &ack.errors {
                        tracing::error!(lane = %error.lane, seq = %error.seq, reason = error.reason,
                            "The county kept an envelope aside.");
                    }
                    self.uplink.board.uplink("online");
                    self.uplink.board.acked(self.uplink.clock.now());
                    self.sender.handle(self.uplink.clock.mono(), SenderEvent::Acked(&ack));
                }
                Err(error) => tracing::warn!(%error, "An ack could not be read."),
            },
            Heard::CountyAway => self.uplink.board.uplink(
                "connected to the broker, but the county service is away; readings are kept",
            ),
            Heard::Refused(reason) => {
                self.uplink.board.uplink(&format!("the broker refuses readings: {reason}"));
            }
            Heard::Accepted => {}
        }
        Ok(())
    }
}
