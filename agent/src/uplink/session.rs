//! One connection that is up: carries the sender's wishes to the broker and back.
//!
//! # Invariants
//! - a row that cannot be read or sent is told, and holds up no other row
//! - while nobody listens, one row goes out at a time

use super::{
    Row, Uplink, UplinkError,
    connection::{Connection, Heard},
};
use crate::outbox::{News, OutboxClosed, OutboxStats, Reader, Stock, blames_file, is_damage};
use aws_lc_rs::digest::{SHA256, digest};
use model::{
    id::{OutboxId, Seq},
    time::MonoTime,
};
use std::time::Duration;
use tokio::sync::mpsc;
use uplink_proto::{
    ack::{Ack, Proof},
    envelope,
    receiver::EnvelopeHash,
    sender::{Sender, SenderEvent, SenderOutput},
    state::SiteState,
    topics::Topic,
};

/// The retained state tells the backlog this often; rows that were set aside are tried again.
const STATE_EVERY: Duration = Duration::from_secs(30);
/// While the county is away one row goes out this often, to see whether it is back.
const PROBE_EVERY: Duration = Duration::from_secs(1);
/// So many rows in a row that cannot be read: it is not the rows.
const UNREADABLE_MAX: u32 = 8;

/// One connection that is up.
pub(super) struct Session<'a> {
    uplink: &'a Uplink,
    outbox: OutboxId,
    pub(super) sender: Sender,
    reader: Reader,
    connection: &'a mut Connection,
    /// The county is away or the broker refuses: until then nothing goes out, then one row.
    held_until: Option<MonoTime>,
    /// How many of the last rows could not be read.
    unreadable: u32,
    /// The last word was that nobody listens.
    county_away: bool,
    /// The county hears this box and another one by turns.
    pub(super) by_turns: bool,
}

impl<'a> Session<'a> {
    pub(super) async fn new(
        uplink: &'a Uplink,
        stock: Stock,
        connection: &'a mut Connection,
    ) -> Result<Self, UplinkError> {
        let Stock { outbox, path, lanes } = stock;
        let reader = match Reader::open(&path) {
            Err(error) if blames_file(&error) => {
                uplink.outbox.broken(outbox, error).await?;
                return Err(UplinkError::StartedAnew);
            }
            reader => reader?,
        };
        Ok(Self {
            uplink,
            outbox,
            sender: Sender::new(outbox, lanes),
            reader,
            connection,
            held_until: None,
            unreadable: 0,
            county_away: false,
            by_turns: false,
        })
    }

    pub(super) async fn serve(
        &mut self,
        news: &mut mpsc::Receiver<News>,
        state: &(dyn Fn(bool, [u64; 3], &OutboxStats) -> SiteState + Sync),
    ) -> Result<(), UplinkError> {
        let clock = self.uplink.clock;
        self.uplink.board.uplink("online");
        tracing::info!(outbox = %self.outbox, "Uplink is up.");
        let mut tell_state = tokio::time::interval(STATE_EVERY);
        loop {
            self.carry_out().await?;
            let waits = self.sender.backlog().iter().any(|lane| *lane > 0);
            self.uplink.reach.waits(clock.now(), waits);
            let now = clock.mono();
            let probe_at = self.held_until.filter(|until| *until > now);
            let wake_at = self.sender.next_timeout().into_iter().chain(probe_at).min();
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
                () = clock.sleep_until(wake_at) => {
                    self.sender.handle(clock.mono(), SenderEvent::TimedOut);
                }
                _ = tell_state.tick() => {
                    self.retry_aside();
                    let topic = Topic::State(self.uplink.site.clone()).name();
                    let stats = self.uplink.outbox.stats().await?;
                    let state = state(true, self.sender.backlog(), &stats);
                    self.connection.publish_retained(topic, state.encode())?;
                }
                () = self.uplink.stopped.cancelled() => return Ok(()),
            }
        }
    }

    /// More changed than news could tell: start from the file again.
    async fn look_again(&mut self) -> Result<(), UplinkError> {
        let Stock { outbox, lanes, .. } = self.uplink.outbox.stock().await?;
        if outbox != self.outbox {
            return Err(UplinkError::StartedAnew);
        }
        self.sender.restock(lanes);
        Ok(())
    }

    async fn carry_out(&mut self) -> Result<(), UplinkError> {
        loop {
            let now = self.uplink.clock.mono();
            if self.held_until.is_some_and(|until| now < until) {
                return Ok(());
            }
            let Some(output) = self.sender.poll_output() else { return Ok(()) };
            match output {
                SenderOutput::Publish(lane, seq) => {
                    self.publish((lane, seq)).await?;
                    // The rest waits for the answer to this one.
                    self.held_until = self.held_until.map(|_| now + PROBE_EVERY);
                }
                SenderOutput::Forget { lane, first, last } => {
                    self.uplink.outbox.forget(self.outbox, lane, (first, last)).await?;
                }
                SenderOutput::LostAtCounty { lane, first, last } => {
                    tracing::warn!(%lane, %first, %last,
                        "The county was restored from a backup without rows it had acked; what is kept of them goes out again.");
                    self.uplink.outbox.lost_at_county(self.outbox, lane, (first, last)).await?;
                    self.look_again().await?;
                }
                SenderOutput::StartNewOutbox => {
                    self.uplink.outbox.start_anew().await?;
                    return Err(UplinkError::StartedAnew);
                }
            }
        }
    }

    async fn publish(&mut self, row: Row) -> Result<(), UplinkError> {
        let (lane, seq) = row;
        let bytes = match self.reader.row(lane, seq) {
            Ok(Some(bytes)) => bytes,
            // Mostly it was dropped meanwhile, and the news of it is on its way.
            Ok(None) => return self.give_up(row).await,
            Err(error) => return self.cannot_read(row, error).await,
        };
        self.unreadable = 0;
        let Some(bytes) = self.numbered(seq, bytes) else {
            tracing::error!(%lane, %seq, "A row is no envelope and given up.");
            return self.give_up(row).await;
        };
        let topic = Topic::Up(self.uplink.site.clone(), lane).name();
        if !self.connection.fits(&topic, bytes.len()) {
            self.set_aside(row, "it is longer than the broker allows; raise max_packet_size there");
            return Ok(());
        }
        let (len, proof) = (bytes.len(), Proof::of(&hash(&bytes)));
        self.connection.publish(topic, row, bytes)?;
        self.sender.handle(self.uplink.clock.mono(), SenderEvent::Sent { lane, seq, len, proof });
        Ok(())
    }

    /// The envelope under the id and number it has now: an outbox that started anew keeps the bytes
    /// of before. The same bytes each time, so that a resend is a duplicate and no conflict; they
    /// say what they were, because the county may have them as that.
    fn numbered(&self, seq: Seq, bytes: Vec<u8>) -> Option<Vec<u8>> {
        let header = envelope::peek(&bytes).ok()?;
        if (header.outbox, header.seq) == (self.outbox, seq) {
            return Some(bytes);
        }
        envelope::moved(&bytes, &hash(&bytes), self.outbox, seq).ok()
    }

    /// One broken row is given up and counted; a file that gives no row at all ends the session.
    async fn cannot_read(&mut self, row: Row, error: rusqlite::Error) -> Result<(), UplinkError> {
        let (lane, seq) = row;
        tracing::error!(%lane, %seq, %error, "A row cannot be read; check the disk.");
        self.unreadable += 1;
        if self.unreadable >= UNREADABLE_MAX {
            return Err(error.into());
        }
        if is_damage(&error) {
            return self.give_up(row).await;
        }
        self.set_aside(row, "it cannot be read; check the disk");
        Ok(())
    }

    async fn give_up(&mut self, row: Row) -> Result<(), UplinkError> {
        self.uplink.outbox.damaged(self.outbox, row.0, row.1).await?;
        self.leave_out(row);
        Ok(())
    }

    /// The sender thinks no more of this row.
    fn leave_out(&mut self, (lane, seq): Row) {
        let event = SenderEvent::Dropped { lane, first: seq, last: seq };
        self.sender.handle(self.uplink.clock.mono(), event);
    }

    /// The row stays in the outbox; others go first.
    fn set_aside(&mut self, row: Row, why: &str) {
        let (lane, seq) = row;
        if self.sender.aside() == 0 {
            tracing::error!(%lane, %seq, why, "A row cannot be sent; it is tried again.");
        }
        self.sender.handle(self.uplink.clock.mono(), SenderEvent::SetAside(lane, seq));
        self.uplink.board.set_aside(self.sender.aside(), why);
    }

    /// Also what an earlier connection set aside: this one's sender has it among the others.
    fn retry_aside(&mut self) {
        self.sender.handle(self.uplink.clock.mono(), SenderEvent::RetryAside);
        self.uplink.board.set_aside(0, "");
    }

    /// The broker threw the row away, and would do so with the next: it goes out again when one
    /// row was taken.
    fn give_back(&mut self, row: Option<Row>) {
        let Some((lane, seq)) = row else { return };
        self.sender.handle(self.uplink.clock.mono(), SenderEvent::Returned(lane, seq));
        self.hold();
    }

    fn hold(&mut self) {
        self.held_until = Some(self.uplink.clock.mono() + PROBE_EVERY);
    }

    fn take(&mut self, heard: Heard) -> Result<(), UplinkError> {
        match heard {
            Heard::Config(bytes) => self.uplink.policy().take(&bytes),
            Heard::Ack(bytes) => match Ack::decode(&bytes) {
                Ok(ack) => {
                    for error in &ack.errors {
                        tracing::error!(lane = %error.lane, seq = %error.seq, reason = error.reason,
                            "The county kept an envelope aside.");
                    }
                    if ack.by_turns {
                        self.by_turns = true;
                        self.uplink.board.rival(self.uplink.clock.now());
                    }
                    self.county_away = false;
                    self.uplink.reach.heard();
                    self.uplink.board.uplink("online");
                    self.uplink.board.acked(self.uplink.clock.now());
                    self.sender.handle(self.uplink.clock.mono(), SenderEvent::Acked(&ack));
                }
                Err(error) => tracing::warn!(%error, "An ack could not be read."),
            },
            Heard::CountyAway(row) => {
                self.uplink.board.uplink(
                    "connected to the broker, but the county service is away; readings are kept, \
                     and the county has to start clinic-gateway if this lasts",
                );
                self.county_away = true;
                self.uplink.reach.lost(self.uplink.clock.now());
                self.give_back(row);
            }
            Heard::Refused(row, reason) => {
                self.county_away = false;
                self.uplink.board.uplink(&format!("the broker refuses readings: {reason}"));
                if let Some(row) = row {
                    self.set_aside(row, &format!("the broker refuses it: {reason}"));
                    self.hold();
                }
            }
            Heard::Accepted(row) => {
                self.uplink.reach.taken();
                if row.is_some() {
                    self.held_until = None;
                }
                // A box with nothing to send hears of the county only by what becomes of its state.
                if std::mem::take(&mut self.county_away) {
                    self.uplink.board.uplink("online");
                }
            }
        }
        Ok(())
    }
}

fn hash(bytes: &[u8]) -> EnvelopeHash {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, bytes).as_ref());
    hash
}

#[cfg(test)]
mod tests;
