//! Sending half of the uplink: which envelopes go out, which may be forgotten.
//!
//! Not here: the rows (the agent's outbox), the connection (the agent's uplink). Time comes in.
//! A sender lives as long as one connection: the next one starts from the outbox again.
//!
//! # Invariants
//! - an envelope is forgotten only inside an acked range
//! - trend and wave together have the window of [`Pace`] unacked on the wire, urgent has
//!   [`URGENT_LEN_MAX`], neither more than one envelope above it; each lane has at most
//!   [`IN_FLIGHT_MAX`] envelopes there
//! - urgent goes first; of the rest every fourth turn is that of the oldest
//! - an envelope that was set aside is still stored and not acked; it holds up no other

use crate::{
    ack::{Ack, CONFLICT},
    pace::Pace,
    ranges::RangeSet,
};
use model::{
    id::{Lane, OutboxId, Seq},
    time::MonoTime,
};
use std::collections::{BTreeMap, BTreeSet};

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
    forget: Vec<SenderOutput>,
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
        });
        Self { outbox, lanes, pace: Pace::new(), forget: Vec::new(), turn: 1, restored: false }
    }

    /// Takes in what happened. Afterwards: drain [`Sender::poll_output`], then ask
    /// [`Sender::next_timeout`] again.
    pub fn handle(&mut self, now: MonoTime, event: SenderEvent<'_>) {
        match event {
            SenderEvent::Stored(lane, seq) => self.lane(lane).store(seq),
            SenderEvent::Sent { lane, seq, len } => {
                let again_at = now + self.pace.patience();
                if let Some(flight) = self.lane(lane).in_flight.get_mut(&seq) {
                    *flight = Flight::Sent { at: now, len: len + OVERHEAD, again_at };
                }
            }
            SenderEvent::Returned(lane, seq) => {
                self.lane(lane).in_flight.remove(&seq);
            }
            SenderEvent::SetAside(lane, seq) => self.lane(lane).set_aside(seq),
            SenderEvent::RetryAside => {
                self.lanes.iter_mut().for_each(|lane| lane.aside = RangeSet::default());
            }
            SenderEvent::Dropped { lane, first, last } => drop(self.lane(lane).settle(first, last)),
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
            let aside = lane.aside.ranges();
            lane.aside =
                aside.flat_map(|(first, last)| stock.unacked.within(first, last)).collect();
            lane.stock = stock;
        }
    }

    /// Hands out what to do, until `None`.
    pub fn poll_output(&mut self) -> Option<SenderOutput> {
        if let Some(output) = self.forget.pop() {
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
        let never_assigned = ack.lanes.iter().any(|(lane, settled)| {
            settled.highest().is_some_and(|highest| highest >= self.lane(*lane).stock.next)
        });
        let conflict = ack.errors.iter().any(|error| error.reason == CONFLICT);
        if never_assigned || conflict {
            self.restored = true;
            self.forget.push(SenderOutput::StartNewOutbox);
            return;
        }
        let in_flight = self.bulk_bytes();
        for (lane, settled) in &ack.lanes {
            for (first, last) in settled.ranges() {
                let (forgotten, flights) = self.lane(*lane).settle(first, last);
                for flight in flights.into_iter().filter(|_| *lane != Lane::Urgent) {
                    if let Flight::Sent { at, len, .. } = flight {
                        self.pace.on_ack(now, at, len, in_flight);
                    }
                }
                self.forget.extend(
                    forgotten.into_iter().map(|(first, last)| SenderOutput::Forget {
                        lane: *lane,
                        first,
                        last,
                    }),
                );
            }
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

    /// Takes a range out; what of it was there, and what was on its way for the first time.
    fn settle(&mut self, first: Seq, last: Seq) -> (Vec<(Seq, Seq)>, Vec<Flight>) {
        let there = self.stock.unacked.within(first, last);
        for (first, last) in &there {
            self.stock.unacked.remove_range(*first, *last);
            self.aside.remove_range(*first, *last);
        }
        let mut flights: BTreeMap<Seq, Flight> =
            self.in_flight.extract_if(first..=last, |_, _| true).collect();
        for late in self.late.extract_if(first..=last, |_| true) {
            flights.remove(&late);
        }
        (there, flights.into_values().collect())
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
mod tests {
    use super::*;
    use std::time::Duration;

    fn seq(number: u64) -> Seq {
        Seq::new(number).unwrap()
    }

    fn at_ms(ms: u64) -> MonoTime {
        MonoTime::from_start(Duration::from_millis(ms))
    }

    fn ids() -> OutboxId {
        OutboxId::from_bytes([1; 16])
    }

    /// A lane whose rows from `live_from` on are the present.
    fn lane(unacked: &str, live_from: u64) -> LaneStock {
        let unacked: RangeSet = unacked.parse().unwrap();
        let next = unacked.highest().map_or(Seq::FIRST, Seq::next);
        LaneStock { unacked, next, live_from: seq(live_from).min(next) }
    }

    fn stock(urgent: &str, trend: &str, wave: &str) -> [LaneStock; 3] {
        [urgent, trend, wave].map(|unacked| lane(unacked, u64::MAX >> 2))
    }

    fn stocked(urgent: &str, trend: &str, wave: &str) -> Sender {
        Sender::new(ids(), stock(urgent, trend, wave))
    }

    fn publish(sender: &mut Sender, now: MonoTime, len: usize) -> Vec<(Lane, u64)> {
        let mut published = Vec::new();
        while let Some(output) = sender.poll_output() {
            let SenderOutput::Publish(lane, seq) = output else { panic!("{output:?}") };
            sender.handle(now, SenderEvent::Sent { lane, seq, len });
            published.push((lane, seq.get()));
        }
        published
    }

    fn published(sender: &mut Sender) -> Vec<(Lane, u64)> {
        publish(sender, at_ms(0), 100)
    }

    fn ack(lane: Lane, settled: &str) -> Ack {
        Ack { outbox: ids(), lanes: vec![(lane, settled.parse().unwrap())], errors: vec![] }
    }

    #[test]
    fn urgent_goes_first_and_the_backlog_oldest_first() {
        let order = published(&mut stocked("1-2", "1-2", "1-1"));
        assert_eq!(order[..2], [(Lane::Urgent, 1), (Lane::Urgent, 2)]);
        assert_eq!(order[2..], [(Lane::Trend, 1), (Lane::Trend, 2), (Lane::Wave, 1)]);
    }

    #[test]
    fn the_present_goes_newest_first_and_the_oldest_gets_every_fourth_turn() {
        let mut sender = Sender::new(ids(), [lane("", 1), lane("1-104", 102), lane("", 1)]);
        sender.handle(at_ms(0), SenderEvent::Stored(Lane::Trend, seq(105)));
        sender.handle(at_ms(0), SenderEvent::Stored(Lane::Trend, seq(106)));
        let order: Vec<u64> =
            published(&mut sender).into_iter().map(|(_, seq)| seq).take(9).collect();
        assert_eq!(order, [106, 105, 104, 1, 103, 102, 2, 3, 4]);
    }

    #[test]
    fn what_is_not_acked_in_time_is_sent_again() {
        let mut sender = stocked("1-1", "", "");
        assert_eq!(published(&mut sender).len(), 1);
        assert_eq!(sender.next_timeout(), Some(at_ms(10_000)));
        sender.handle(at_ms(9_999), SenderEvent::TimedOut);
        assert_eq!(published(&mut sender), []);
        sender.handle(at_ms(10_000), SenderEvent::TimedOut);
        assert_eq!(publish(&mut sender, at_ms(10_000), 100), [(Lane::Urgent, 1)]);
        // A link this slow is given more time.
        assert_eq!(sender.next_timeout(), Some(at_ms(30_000)));
    }

    #[test]
    fn what_nobody_took_is_handed_out_again() {
        let mut sender = stocked("1-1", "", "");
        assert_eq!(published(&mut sender).len(), 1);
        sender.handle(at_ms(20), SenderEvent::Returned(Lane::Urgent, seq(1)));
        assert_eq!(published(&mut sender), [(Lane::Urgent, 1)]);
    }

    #[test]
    fn what_was_set_aside_is_still_stored_and_waits_until_it_is_tried_again() {
        let mut sender = stocked("", "1-5", "");
        assert_eq!(published(&mut sender).len(), 5);
        for number in [2, 3, 4] {
            sender.handle(at_ms(1), SenderEvent::SetAside(Lane::Trend, seq(number)));
        }
        assert_eq!((sender.aside(), sender.backlog()), (3, [0, 5, 0]));
        assert_eq!(published(&mut sender), []);
        // An ack that comes all the same, and a look at the file, change nothing else.
        sender.handle(at_ms(1), SenderEvent::Acked(&ack(Lane::Trend, "1-2")));
        assert!(matches!(sender.poll_output(), Some(SenderOutput::Forget { .. })));
        sender.restock(stock("", "4-6", ""));
        assert_eq!((sender.aside(), published(&mut sender)), (1, vec![(Lane::Trend, 6)]));
        sender.handle(at_ms(2), SenderEvent::RetryAside);
        assert_eq!((sender.aside(), published(&mut sender)), (0, vec![(Lane::Trend, 4)]));
    }

    #[test]
    fn the_window_is_bounded_in_bytes_and_in_count() {
        let mut sender = stocked("1-1000", "1-1000", "1-1000");
        let lanes: Vec<_> = publish(&mut sender, at_ms(0), 4096 - OVERHEAD)
            .into_iter()
            .map(|(lane, _)| lane)
            .collect();
        let count = |of| lanes.iter().filter(|lane| **lane == of).count();
        assert_eq!((count(Lane::Urgent), count(Lane::Trend), count(Lane::Wave)), (16, 1, 0));
        let mut sender = stocked("1-1000", "", "");
        assert_eq!(publish(&mut sender, at_ms(0), 1).len(), IN_FLIGHT_MAX);
        sender.handle(at_ms(1), SenderEvent::Acked(&ack(Lane::Urgent, "1-10")));
        assert!(matches!(sender.poll_output(), Some(SenderOutput::Forget { .. })));
        assert_eq!(publish(&mut sender, at_ms(1), 1).len(), 10);
    }

    #[test]
    fn one_envelope_larger_than_the_window_goes_alone() {
        let mut sender = stocked("", "1-1000", "");
        assert_eq!(publish(&mut sender, at_ms(0), 60_000).len(), 1);
    }

    #[test]
    fn acks_that_come_soon_open_the_window_and_late_ones_close_it() {
        let mut sender = stocked("", "1-1000", "");
        assert_eq!(publish(&mut sender, at_ms(0), 1024 - OVERHEAD).len(), 4);
        sender.handle(at_ms(50), SenderEvent::Acked(&ack(Lane::Trend, "1-4")));
        assert!(matches!(sender.poll_output(), Some(SenderOutput::Forget { .. })));
        assert_eq!(publish(&mut sender, at_ms(50), 1024 - OVERHEAD).len(), 8);
        sender.handle(at_ms(3050), SenderEvent::Acked(&ack(Lane::Trend, "1-12")));
        assert!(matches!(sender.poll_output(), Some(SenderOutput::Forget { .. })));
        assert_eq!(publish(&mut sender, at_ms(3050), 1024 - OVERHEAD).len(), 4);
    }

    #[test]
    fn an_ack_that_repeats_or_comes_late_forgets_nothing_twice() {
        let mut sender = stocked("", "1-5", "");
        sender.handle(at_ms(0), SenderEvent::Acked(&ack(Lane::Trend, "1-4")));
        assert!(matches!(sender.poll_output(), Some(SenderOutput::Forget { .. })));
        sender.handle(at_ms(0), SenderEvent::Acked(&ack(Lane::Trend, "1-3")));
        assert_eq!(published(&mut sender), [(Lane::Trend, 5)]);
        assert_eq!(sender.backlog(), [0, 1, 0]);
    }

    #[test]
    fn what_was_dropped_or_is_news_only_in_the_outbox_is_found_again() {
        let mut sender = stocked("", "1-5", "");
        assert_eq!(published(&mut sender).len(), 5);
        let (first, last) = (seq(1), seq(2));
        sender.handle(at_ms(1), SenderEvent::Dropped { lane: Lane::Trend, first, last });
        assert_eq!(sender.backlog(), [0, 3, 0]);
        sender.restock(stock("", "4-7", ""));
        assert_eq!(published(&mut sender), [(Lane::Trend, 6), (Lane::Trend, 7)]);
    }

    #[test]
    fn an_ack_of_a_seq_never_assigned_starts_a_new_outbox_and_forgets_nothing() {
        let mut sender = stocked("", "1-5", "");
        sender.handle(at_ms(0), SenderEvent::Acked(&ack(Lane::Trend, "1-6")));
        assert_eq!(sender.poll_output(), Some(SenderOutput::StartNewOutbox));
        assert_eq!(sender.poll_output(), None);
        assert_eq!(sender.backlog(), [0, 5, 0]);
    }

    #[test]
    fn an_ack_of_another_outbox_changes_nothing() {
        let mut sender = stocked("", "1-5", "");
        let mut foreign = ack(Lane::Trend, "1-5");
        foreign.outbox = OutboxId::from_bytes([9; 16]);
        sender.handle(at_ms(0), SenderEvent::Acked(&foreign));
        assert_eq!(sender.backlog(), [0, 5, 0]);
        assert_eq!(published(&mut sender).len(), 5);
    }
}
