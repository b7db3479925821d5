//! One lane of the outbox, as the sender sees it: what waits, what is on its way, what is lost.
//!
//! # Invariants
//! - an envelope that was set aside is still stored and not acked; it holds up no other

use crate::{
    ack::{Proof, told_until},
    ranges::RangeSet,
};
use model::{id::Seq, time::MonoTime};
use std::collections::{BTreeMap, BTreeSet};

/// Unacked envelopes of a lane on the wire: fewer than the MQTT client's own window.
pub(super) const IN_FLIGHT_MAX: usize = 64;
/// Envelopes handed out and not yet reported as sent, per lane.
const OUTSTANDING_MAX: usize = 8;

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
pub(super) struct LaneQueue {
    pub(super) stock: LaneStock,
    pub(super) in_flight: BTreeMap<Seq, Flight>,
    /// Rows that cannot go out as things are.
    pub(super) aside: RangeSet,
    /// Not acked in time and handed out again: their acks measure nothing.
    late: BTreeSet<Seq>,
    /// The bytes of what was sent on this connection and is not acked.
    pub(super) sent: BTreeMap<Seq, Proof>,
    /// What is not at the county and was told, or dropped.
    lost: RangeSet,
}

/// Where an envelope is.
#[derive(Clone, Copy, Debug)]
pub(super) enum Flight {
    /// On its way to the connection.
    HandedOut,
    /// On the wire.
    Sent { at: MonoTime, len: usize, again_at: MonoTime },
}

impl Flight {
    pub(super) fn again_at(&self) -> Option<MonoTime> {
        match self {
            Self::HandedOut => None,
            Self::Sent { again_at, .. } => Some(*again_at),
        }
    }

    fn sent_at(&self) -> Option<MonoTime> {
        match self {
            Self::HandedOut => None,
            Self::Sent { at, .. } => Some(*at),
        }
    }
}

impl LaneQueue {
    pub(super) fn new(stock: LaneStock) -> Self {
        Self {
            stock,
            in_flight: BTreeMap::new(),
            aside: RangeSet::default(),
            late: BTreeSet::new(),
            sent: BTreeMap::new(),
            lost: RangeSet::default(),
        }
    }

    /// Starts from the outbox again.
    pub(super) fn restock(&mut self, stock: LaneStock) {
        self.in_flight.retain(|seq, _| stock.unacked.contains(*seq));
        self.late.retain(|seq| stock.unacked.contains(*seq));
        self.sent.retain(|seq, _| stock.unacked.contains(*seq));
        for (first, last) in stock.unacked.ranges() {
            self.lost.remove_range(first, last);
        }
        let aside = self.aside.ranges();
        self.aside = aside.flat_map(|(first, last)| stock.unacked.within(first, last)).collect();
        self.stock = stock;
    }

    pub(super) fn store(&mut self, seq: Seq) {
        self.stock.unacked.insert(seq);
        self.stock.next = self.stock.next.max(seq.next());
    }

    pub(super) fn set_aside(&mut self, seq: Seq) {
        self.in_flight.remove(&seq);
        if self.stock.unacked.contains(seq) {
            self.aside.insert(seq);
        }
    }

    /// The row waits no more: whether it did, and where it was, if for the first time.
    pub(super) fn settle(&mut self, seq: Seq) -> (bool, Option<Flight>) {
        let there = self.stock.unacked.contains(seq);
        self.stock.unacked.remove_range(seq, seq);
        self.aside.remove_range(seq, seq);
        self.sent.remove(&seq);
        let flight = self.in_flight.remove(&seq);
        let was_late = self.late.remove(&seq);
        (there, flight.filter(|_| !was_late))
    }

    /// The rows are gone; their numbers are used up, also of those that were never told of.
    pub(super) fn drop_range(&mut self, first: Seq, last: Seq) {
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
    pub(super) fn find_lost(&mut self, settled: &RangeSet) -> RangeSet {
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

    /// What is due goes out again; when the last of those was sent that do so for the first time.
    pub(super) fn time_out(&mut self, now: MonoTime) -> Option<MonoTime> {
        let due = |_: &Seq, flight: &mut Flight| flight.again_at().is_some_and(|at| now >= at);
        let due = self.in_flight.extract_if(.., due);
        let first = due.filter(|(seq, _)| self.late.insert(*seq));
        first.filter_map(|(_, flight)| flight.sent_at()).max()
    }

    /// What is on the wire goes out again: it was not taken in.
    pub(super) fn send_again(&mut self) {
        let sent = self.in_flight.extract_if(.., |_, flight| flight.again_at().is_some());
        self.late.extend(sent.map(|(seq, _)| seq));
    }

    pub(super) fn has_room(&self) -> bool {
        let handed_out = |flight: &&Flight| matches!(flight, Flight::HandedOut);
        self.in_flight.len() < IN_FLIGHT_MAX
            && self.in_flight.values().filter(handed_out).count() < OUTSTANDING_MAX
    }

    pub(super) fn bytes(&self) -> usize {
        let sent = |flight: &Flight| match flight {
            Flight::Sent { len, .. } => *len,
            Flight::HandedOut => 0,
        };
        self.in_flight.values().map(sent).sum()
    }

    /// The oldest that is neither on its way nor set aside.
    pub(super) fn oldest(&self) -> Option<Seq> {
        let mut candidate = self.stock.unacked.first_from(Seq::FIRST)?;
        while let Some((_, last)) = self.taken(candidate) {
            candidate = self.stock.unacked.first_from(last.next())?;
        }
        Some(candidate)
    }

    /// The newest of the present that is neither on its way nor set aside.
    pub(super) fn newest_live(&self) -> Option<Seq> {
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
