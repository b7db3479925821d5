//! Sending half of the uplink: which envelopes go out, which may be forgotten.
//!
//! Not here: the rows (the agent's outbox), the connection (the agent's uplink). Time comes in.
//! A sender lives as long as one connection: the next one starts from the outbox again.
//!
//! # Invariants
//! - an envelope is forgotten only when the county has named its bytes, not only its number: a
//!   restored outbox gives numbers to other bytes than those the county knows
//! - what is assigned, waits no more and is not at the county has to be sent again
//! - trend and wave together have the window of [`Pace`] unacked on the wire, urgent has
//!   [`URGENT_LEN_MAX`], neither more than one envelope above it; each lane has at most
//!   64 envelopes there
//! - urgent goes first; of the rest every fourth turn is that of the oldest

mod lane;

pub use lane::LaneStock;

use crate::{
    ack::{Ack, CONFLICT, Proof, Proven},
    pace::Pace,
    ranges::RangeSet,
};
use lane::{Flight, LaneQueue};
use model::{
    id::{Lane, OutboxId, Seq},
    time::MonoTime,
};
use std::collections::VecDeque;

/// Unacked bytes of the urgent lane on the wire: hundreds of alarms and spot readings.
const URGENT_LEN_MAX: usize = 64 * 1024;
/// What MQTT, TLS, TCP and the answers add to an envelope on the wire, about.
const OVERHEAD: usize = 128;
/// Of four envelopes that are not urgent, one is the oldest, so that no gap is left behind.
const OLDEST_TURN: u8 = 4;

/// What happened.
#[derive(Clone, Copy, Debug)]
pub enum SenderEvent<'a> {
    /// A row was committed.
    Stored(Lane, Seq),
    /// A row was handed to the connection.
    Sent {
        /// Its lane.
        lane: Lane,
        /// Its number.
        seq: Seq,
        /// Its length.
        len: usize,
        /// Its bytes.
        proof: Proof,
    },
    /// A row was handed to the connection and nobody took it, because the county is away. It is
    /// handed out again; the caller decides when to ask.
    Returned(Lane, Seq),
    /// A row that cannot go out as things are: it stays in the outbox, others go first.
    SetAside(Lane, Seq),
    /// What was set aside is tried again.
    RetryAside,
    /// Rows are no longer in the outbox: given up, and counted in a drop record.
    Dropped {
        /// Their lane.
        lane: Lane,
        /// The first.
        first: Seq,
        /// The last.
        last: Seq,
    },
    /// The county has committed.
    Acked(&'a Ack),
    /// The time asked for by [`Sender::next_timeout`] has come.
    TimedOut,
}

/// What to do.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SenderOutput {
    /// Hand this row to the connection, then report [`SenderEvent::Sent`].
    Publish(Lane, Seq),
    /// These rows are committed at the county.
    Forget {
        /// Their lane.
        lane: Lane,
        /// The first.
        first: Seq,
        /// The last.
        last: Seq,
    },
    /// The county has these rows no more: it was restored from a backup. In one transaction what is
    /// kept of them waits again, and what is not is counted as dropped (cause "county restored").
    /// Then comes [`Sender::restock`], before the next ack.
    LostAtCounty {
        /// Their lane.
        lane: Lane,
        /// The first.
        first: Seq,
        /// The last.
        last: Seq,
    },
    /// The county knows a seq this outbox never assigned, or other bytes under one of its seqs: it
    /// was restored or copied.
    StartNewOutbox,
}

/// Sending half of the uplink, for one connection.
#[derive(Debug)]
pub struct Sender {
    outbox: OutboxId,
    lanes: [LaneQueue; 3],
    pace: Pace,
    /// What acks make necessary.
    due: VecDeque<SenderOutput>,
    turn: u8,
    restored: bool,
}

impl Sender {
    /// A sender for a connection that has just come up, and an outbox with that stock (urgent,
    /// trend, wave).
    #[must_use]
    pub fn new(outbox: OutboxId, stock: [LaneStock; 3]) -> Self {
        let lanes = stock.map(LaneQueue::new);
        Self { outbox, lanes, pace: Pace::new(), due: VecDeque::new(), turn: 1, restored: false }
    }

    /// Takes in what happened. Afterwards: drain [`Sender::poll_output`], then ask
    /// [`Sender::next_timeout`] again.
    pub fn handle(&mut self, now: MonoTime, event: SenderEvent<'_>) {
        match event {
            SenderEvent::Stored(lane, seq) => self.lane(lane).store(seq),
            SenderEvent::Sent { lane, seq, len, proof } => {
                let again_at = now + self.pace.patience();
                let lane = self.lane(lane);
                if let Some(flight) = lane.in_flight.get_mut(&seq) {
                    *flight = Flight::Sent { at: now, len: len + OVERHEAD, again_at };
                    lane.sent.insert(seq, proof);
                }
            }
            SenderEvent::Returned(lane, seq) => {
                self.lane(lane).in_flight.remove(&seq);
            }
            SenderEvent::SetAside(lane, seq) => self.lane(lane).set_aside(seq),
            SenderEvent::RetryAside => {
                self.lanes.iter_mut().for_each(|lane| lane.aside = RangeSet::default());
            }
            SenderEvent::Dropped { lane, first, last } => self.lane(lane).drop_range(first, last),
            SenderEvent::Acked(ack) => self.on_ack(now, ack),
            SenderEvent::TimedOut => self.time_out(now),
        }
    }

    /// Starts from the outbox again, on the same connection: more was stored or dropped than
    /// events could tell.
    pub fn restock(&mut self, stock: [LaneStock; 3]) {
        self.lanes.iter_mut().zip(stock).for_each(|(lane, stock)| lane.restock(stock));
    }

    /// Hands out what to do, until `None`.
    pub fn poll_output(&mut self) -> Option<SenderOutput> {
        if let Some(output) = self.due.pop_front() {
            return Some(output);
        }
        if self.restored {
            return None;
        }
        let (lane, seq) = self.pick()?;
        self.lane(lane).in_flight.insert(seq, Flight::HandedOut);
        Some(SenderOutput::Publish(lane, seq))
    }

    /// When to call `handle` with `TimedOut`, if nothing else happens first.
    #[must_use]
    pub fn next_timeout(&self) -> Option<MonoTime> {
        self.lanes
            .iter()
            .flat_map(|lane| lane.in_flight.values())
            .filter_map(Flight::again_at)
            .min()
    }

    /// Envelopes not acked: urgent, trend, wave.
    #[must_use]
    pub fn backlog(&self) -> [u64; 3] {
        let [urgent, trend, wave] = &self.lanes;
        [urgent, trend, wave].map(|lane| lane.stock.unacked.count())
    }

    /// Envelopes that were set aside.
    #[must_use]
    pub fn aside(&self) -> u64 {
        self.lanes.iter().map(|lane| lane.aside.count()).sum()
    }

    fn lane(&mut self, lane: Lane) -> &mut LaneQueue {
        lane.of_mut(&mut self.lanes)
    }

    fn on_ack(&mut self, now: MonoTime, ack: &Ack) {
        if ack.outbox != self.outbox || self.restored {
            return; // Of an earlier outbox, or this one is given up already.
        }
        if ack.takes_in_again() {
            self.lanes.iter_mut().for_each(LaneQueue::send_again);
            self.pace.start_again();
            return;
        }
        self.forget(now, &ack.proven);
        let never_assigned = ack.lanes.iter().any(|(lane, settled)| {
            settled.highest().is_some_and(|highest| highest >= self.lane(*lane).stock.next)
        });
        let conflict = ack.errors.iter().any(|error| error.reason == CONFLICT);
        if never_assigned || conflict {
            self.restored = true;
            self.due.push_back(SenderOutput::StartNewOutbox);
            return;
        }
        self.find_lost(ack);
    }

    /// What the county lacks. An urgent row that waits may be the record of a drop, and what is
    /// dropped is lost to nobody: all of them come first.
    fn find_lost(&mut self, ack: &Ack) {
        for lane in Lane::ALL {
            let [urgent, _, _] = &self.lanes;
            let told = ack.lanes.iter().find(|(of, _)| *of == lane);
            let Some((_, settled)) = told.filter(|_| urgent.stock.unacked.is_empty()) else {
                return;
            };
            let lost = self.lane(lane).find_lost(settled);
            let ranges = lost.ranges();
            let told = ranges.map(|(first, last)| SenderOutput::LostAtCounty { lane, first, last });
            self.due.extend(told);
            if lane == Lane::Urgent && !lost.is_empty() {
                return;
            }
        }
    }

    /// Forgets what is settled with the bytes that were sent.
    fn forget(&mut self, now: MonoTime, proven: &[Proven]) {
        let in_flight = self.bulk_bytes();
        let mut forgotten: [RangeSet; 3] = Default::default();
        for Proven { lane, seq, proof } in proven {
            if self.lane(*lane).sent.get(seq) != Some(proof) {
                continue; // Of another connection, or not these bytes.
            }
            let (there, flight) = self.lane(*lane).settle(*seq);
            if there {
                lane.of_mut(&mut forgotten).insert(*seq);
            }
            if let Some(Flight::Sent { at, len, .. }) = flight.filter(|_| *lane != Lane::Urgent) {
                self.pace.on_ack(now, at, len, in_flight);
            }
        }
        for (lane, forgotten) in Lane::ALL.into_iter().zip(&forgotten) {
            let ranges = forgotten.ranges();
            self.due.extend(ranges.map(|(first, last)| SenderOutput::Forget { lane, first, last }));
        }
    }

    fn time_out(&mut self, now: MonoTime) {
        let late = self.lanes.iter_mut().filter_map(|lane| lane.time_out(now)).max();
        if let Some(sent) = late {
            self.pace.on_time_out(now, sent);
        }
    }

    /// The next envelope on the wire: urgent, then the newest of the present, with the oldest in
    /// between.
    fn pick(&mut self) -> Option<(Lane, Seq)> {
        let [urgent, trend, wave] = &self.lanes;
        if urgent.has_room()
            && urgent.bytes() < URGENT_LEN_MAX
            && let Some(seq) = urgent.oldest()
        {
            return Some((Lane::Urgent, seq));
        }
        if self.bulk_bytes() >= self.pace.window() {
            return None;
        }
        let [trend, wave] = [(Lane::Trend, trend), (Lane::Wave, wave)].map(|(lane, queue)| {
            move |pick: fn(&LaneQueue) -> Option<Seq>| {
                let seq = queue.has_room().then(|| pick(queue)).flatten()?;
                Some((lane, seq))
            }
        });
        let newest = || trend(LaneQueue::newest_live).or_else(|| wave(LaneQueue::newest_live));
        let oldest = || trend(LaneQueue::oldest).or_else(|| wave(LaneQueue::oldest));
        let picked = match self.turn {
            0 => oldest(),
            _ => newest().or_else(oldest),
        };
        if picked.is_some() {
            self.turn = (self.turn + 1) % OLDEST_TURN;
        }
        picked
    }

    fn bulk_bytes(&self) -> usize {
        let [_, trend, wave] = &self.lanes;
        trend.bytes() + wave.bytes()
    }
}

#[cfg(test)]
mod tests;
