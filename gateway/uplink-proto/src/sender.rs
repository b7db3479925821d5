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
//!   [`IN_FLIGHT_MAX`] envelopes there
//! - urgent goes first; of the rest every fourth turn is that of the oldest
//! - an envelope that was set aside is still stored and not acked; it holds up no other

use crate::{
    ack::{Ack, CONFLICT, Proof, Proven, told_until},
    pace::Pace,
    ranges::RangeSet,
};
use model::{
    id::{Lane, OutboxId, Seq},
    time::MonoTime,
};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Unacked envelopes of a lane on the wire: fewer than the MQTT client's own window.
const IN_FLIGHT_MAX: usize = 64;
/// Unacked bytes of the urgent lane on the wire: hundreds of alarms and spot readings.
const URGENT_LEN_MAX: usize = 64 * 1024;
/// Envelopes handed out and not yet reported as sent, per lane.
const OUTSTANDING_MAX: usize = 8;
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

/// One lane of the outbox, as the sender sees it.
#[derive(Clone, Debug)]
pub struct LaneStock {
    /// Rows that are stored and not acked.
    pub unacked: RangeSet,
    /// The number the next row will get.
    pub next: Seq,
    /// From here on it is the present: stored since the link came up or in the five minutes before.
    pub live_from: Seq,
}

#[derive(Debug)]
struct LaneQueue {
    stock: LaneStock,
    in_flight: BTreeMap<Seq, Flight>,
    /// Rows that cannot go out as things are.
    aside: RangeSet,
    /// Not acked in time and handed out again: their acks measure nothing.
    late: BTreeSet<Seq>,
    /// The bytes of what was sent on this connection and is not acked.
    sent: BTreeMap<Seq, Proof>,
    /// What is not at the county and was told, or dropped.
    lost: RangeSet,
}

/// Where an envelope is.
#[derive(Clone, Copy, Debug)]
enum Flight {
    /// On its way to the connection.
    HandedOut,
    /// On the wire.
    Sent { at: MonoTime, len: usize, again_at: MonoTime },
}

impl Sender {
    /// A sender for a connection that has just come up, and an outbox with that stock (urgent,
    /// trend, wave).
    #[must_use]
    pub fn new(outbox: OutboxId, stock: [LaneStock; 3]) -> Self {
        let lanes = stock.map(|stock| LaneQueue {
            stock,
            in_flight: BTreeMap::new(),
            aside: RangeSet::default(),
            late: BTreeSet::new(),
            sent: BTreeMap::new(),
            lost: RangeSet::default(),
        });
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
        for (lane, stock) in self.lanes.iter_mut().zip(stock) {
            lane.in_flight.retain(|seq, _| stock.unacked.contains(*seq));
            lane.late.retain(|seq| stock.unacked.contains(*seq));
            lane.sent.retain(|seq, _| stock.unacked.contains(*seq));
            for (first, last) in stock.unacked.ranges() {
                lane.lost.remove_range(first, last);
            }
            let aside = lane.aside.ranges();
            lane.aside =
                aside.flat_map(|(first, last)| stock.unacked.within(first, last)).collect();
            lane.stock = stock;
        }
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
        let late: usize = self.lanes.iter_mut().map(|lane| lane.time_out(now)).sum();
        if late > 0 {
            self.pace.on_time_out();
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

impl Flight {
    fn again_at(&self) -> Option<MonoTime> {
        match self {
            Self::HandedOut => None,
            Self::Sent { again_at, .. } => Some(*again_at),
        }
    }
}

impl LaneQueue {
    fn store(&mut self, seq: Seq) {
        self.stock.unacked.insert(seq);
        self.stock.next = self.stock.next.max(seq.next());
    }

    fn set_aside(&mut self, seq: Seq) {
        self.in_flight.remove(&seq);
        if self.stock.unacked.contains(seq) {
            self.aside.insert(seq);
        }
    }

    /// The row waits no more: whether it did, and where it was, if for the first time.
    fn settle(&mut self, seq: Seq) -> (bool, Option<Flight>) {
        let there = self.stock.unacked.contains(seq);
        self.stock.unacked.remove_range(seq, seq);
        self.aside.remove_range(seq, seq);
        self.sent.remove(&seq);
        let flight = self.in_flight.remove(&seq);
        (there, flight.filter(|_| !self.late.remove(&seq)))
    }

    /// The rows are gone; their numbers are used up, also of those that were never told of.
    fn drop_range(&mut self, first: Seq, last: Seq) {
        self.stock.unacked.remove_range(first, last);
        self.stock.next = self.stock.next.max(last.next());
        self.aside.remove_range(first, last);
        self.in_flight.retain(|seq, _| *seq < first || *seq > last);
        self.late.retain(|seq| *seq < first || *seq > last);
        self.sent.retain(|seq, _| *seq < first || *seq > last);
        self.lost.insert_range(first, last);
    }

    /// What neither waits nor is settled at the county, as far as an ack tells it, and was not told
    /// before.
    fn find_lost(&mut self, settled: &RangeSet) -> RangeSet {
        for (first, last) in settled.ranges() {
            self.lost.remove_range(first, last);
        }
        let Some(assigned) = Seq::new(self.stock.next.get() - 1) else {
            return RangeSet::default();
        };
        let until = told_until(settled).map_or(assigned, |told| told.min(assigned));
        let mut lost = settled.missing(Seq::FIRST, until);
        for known in [&self.stock.unacked, &self.lost] {
            for (first, last) in known.within(Seq::FIRST, until) {
                lost.remove_range(first, last);
            }
        }
        self.lost.extend(&lost);
        lost
    }

    /// What is due goes out again; how many of them for the first time.
    fn time_out(&mut self, now: MonoTime) -> usize {
        let due = |_: &Seq, flight: &mut Flight| flight.again_at().is_some_and(|at| now >= at);
        let due = self.in_flight.extract_if(.., due);
        due.filter(|(seq, _)| self.late.insert(*seq)).count()
    }

    fn has_room(&self) -> bool {
        let handed_out = |flight: &&Flight| matches!(flight, Flight::HandedOut);
        self.in_flight.len() < IN_FLIGHT_MAX
            && self.in_flight.values().filter(handed_out).count() < OUTSTANDING_MAX
    }

    fn bytes(&self) -> usize {
        let sent = |flight: &Flight| match flight {
            Flight::Sent { len, .. } => *len,
            Flight::HandedOut => 0,
        };
        self.in_flight.values().map(sent).sum()
    }

    /// The oldest that is neither on its way nor set aside.
    fn oldest(&self) -> Option<Seq> {
        let mut candidate = self.stock.unacked.first_from(Seq::FIRST)?;
        while let Some((_, last)) = self.taken(candidate) {
            candidate = self.stock.unacked.first_from(last.next())?;
        }
        Some(candidate)
    }

    /// The newest of the present that is neither on its way nor set aside.
    fn newest_live(&self) -> Option<Seq> {
        let mut candidate = self.stock.unacked.highest()?;
        while let Some((first, _)) = self.taken(candidate) {
            candidate = self.stock.unacked.last_until(Seq::new(first.get() - 1)?)?;
        }
        (candidate >= self.stock.live_from).then_some(candidate)
    }

    /// Rows around this one that must not be handed out, if it is one of them.
    fn taken(&self, seq: Seq) -> Option<(Seq, Seq)> {
        if self.in_flight.contains_key(&seq) {
            return Some((seq, seq));
        }
        self.aside.around(seq)
    }
}

#[cfg(test)]
mod tests;
