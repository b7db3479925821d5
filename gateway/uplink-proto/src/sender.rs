//! Sending half of the uplink: which envelopes go out, which may be forgotten.
//!
//! Not here: the rows (the agent's outbox), the connection (the agent's uplink). Time comes in.
//!
//! # Invariants
//! - an envelope is forgotten only inside an acked range
//! - at most [`WINDOW_LEN_MAX`] bytes and [`WINDOW_COUNT_MAX`] envelopes of a lane are unacked on
//!   the wire
//! - urgent goes first; the backlog gets at least every fourth turn of the rest

use crate::{
    ack::{Ack, CONFLICT},
    ranges::RangeSet,
};
use model::{
    id::{Lane, OutboxId, Seq},
    time::MonoTime,
};
use std::{collections::BTreeMap, time::Duration};

/// Unacked bytes of a lane on the wire (system design, "Limits"): 10 s of a 200 kbit/s link.
const WINDOW_LEN_MAX: usize = 256 * 1024;
/// Unacked envelopes of a lane on the wire: fewer than the MQTT client's own window.
const WINDOW_COUNT_MAX: usize = 64;
/// Envelopes handed out and not yet reported as sent, per lane.
const OUTSTANDING_MAX: usize = 8;
/// An ack comes within 100 ms of the commit; a poor link may take seconds.
const RESEND_AFTER: Duration = Duration::from_secs(30);
/// What was stored this long before the link came up is still the present.
const LIVE_BEFORE: Duration = Duration::from_secs(300);
/// Moments kept to find where the present begins: 5 min of 4 commits a second, three times over.
const MOMENTS_MAX: usize = 4096;
/// Of four envelopes that are not urgent, one is backlog as long as there is any.
const BACKLOG_TURN: u8 = 4;

/// What happened.
#[derive(Clone, Copy, Debug)]
pub enum SenderEvent<'a> {
    /// The link came up.
    Connected,
    /// The link went down; what was on the wire may be lost.
    Disconnected,
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

/// Sending half of the uplink.
#[derive(Debug)]
pub struct Sender {
    outbox: OutboxId,
    connected: bool,
    lanes: [LaneQueue; 3],
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
}

#[derive(Debug)]
struct LaneQueue {
    unacked: RangeSet,
    next: Seq,
    /// Handed out; with time and length once it was sent.
    in_flight: BTreeMap<Seq, Option<(MonoTime, usize)>>,
    /// When rows were stored, to find where the present begins.
    moments: BTreeMap<Seq, MonoTime>,
    /// From here on it is the present.
    live_from: Seq,
}

impl Sender {
    /// A sender for an outbox with that stock (urgent, trend, wave).
    #[must_use]
    pub fn new(outbox: OutboxId, stock: [LaneStock; 3]) -> Self {
        let lanes = stock.map(|LaneStock { unacked, next }| LaneQueue {
            unacked,
            next,
            in_flight: BTreeMap::new(),
            moments: BTreeMap::new(),
            live_from: next,
        });
        Self { outbox, connected: false, lanes, forget: Vec::new(), turn: 0, restored: false }
    }

    /// Takes in what happened. Afterwards: drain [`Sender::poll_output`], then ask
    /// [`Sender::next_timeout`] again.
    pub fn handle(&mut self, now: MonoTime, event: SenderEvent<'_>) {
        match event {
            SenderEvent::Connected => {
                self.connected = true;
                self.lanes.iter_mut().for_each(|lane| lane.start_live(now));
            }
            SenderEvent::Disconnected => {
                self.connected = false;
                self.lanes.iter_mut().for_each(|lane| lane.in_flight.clear());
            }
            SenderEvent::Stored(lane, seq) => self.lane(lane).store(now, seq),
            SenderEvent::Sent { lane, seq, len } => {
                if let Some(sent) = self.lane(lane).in_flight.get_mut(&seq) {
                    *sent = Some((now, len));
                }
            }
            SenderEvent::Dropped { lane, first, last } => drop(self.lane(lane).settle(first, last)),
            SenderEvent::Acked(ack) => self.on_ack(ack),
            SenderEvent::TimedOut => self.lanes.iter_mut().for_each(|lane| lane.time_out(now)),
        }
    }

    /// Hands out what to do, until `None`.
    pub fn poll_output(&mut self) -> Option<SenderOutput> {
        if let Some(output) = self.forget.pop() {
            return Some(output);
        }
        if !self.connected || self.restored {
            return None;
        }
        let (lane, seq) = self.pick()?;
        self.lane(lane).in_flight.insert(seq, None);
        Some(SenderOutput::Publish(lane, seq))
    }

    /// When to call `handle` with `TimedOut`, if nothing else happens first.
    #[must_use]
    pub fn next_timeout(&self) -> Option<MonoTime> {
        let sent = self.lanes.iter().flat_map(|lane| lane.in_flight.values().flatten());
        sent.map(|(at, _)| *at + RESEND_AFTER).min()
    }

    /// Envelopes not acked: urgent, trend, wave.
    #[must_use]
    pub fn backlog(&self) -> [u64; 3] {
        let [urgent, trend, wave] = &self.lanes;
        [urgent.unacked.count(), trend.unacked.count(), wave.unacked.count()]
    }

    fn lane(&mut self, lane: Lane) -> &mut LaneQueue {
        let [urgent, trend, wave] = &mut self.lanes;
        match lane {
            Lane::Urgent => urgent,
            Lane::Trend => trend,
            Lane::Wave => wave,
        }
    }

    fn on_ack(&mut self, ack: &Ack) {
        if ack.outbox != self.outbox || self.restored {
            return; // Of an earlier outbox, or this one is given up already.
        }
        let never_assigned = ack.lanes.iter().any(|(lane, settled)| {
            settled.highest().is_some_and(|highest| highest >= self.lane(*lane).next)
        });
        let conflict = ack.errors.iter().any(|error| error.reason == CONFLICT);
        if never_assigned || conflict {
            self.restored = true;
            self.forget.push(SenderOutput::StartNewOutbox);
            return;
        }
        for (lane, settled) in &ack.lanes {
            for (first, last) in settled.ranges() {
                let forgotten = self.lane(*lane).settle(first, last);
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

    /// The next envelope on the wire: urgent, then the present, with the backlog in between.
    fn pick(&mut self) -> Option<(Lane, Seq)> {
        let [urgent, trend, wave] = &self.lanes;
        if let Some(seq) = urgent.oldest(urgent.next) {
            return Some((Lane::Urgent, seq));
        }
        let live = || {
            let trend = trend.newest_live().map(|seq| (Lane::Trend, seq));
            trend.or_else(|| wave.newest_live().map(|seq| (Lane::Wave, seq)))
        };
        let backlog = || {
            let trend = trend.oldest(trend.live_from).map(|seq| (Lane::Trend, seq));
            trend.or_else(|| wave.oldest(wave.live_from).map(|seq| (Lane::Wave, seq)))
        };
        let backlogs_turn = self.turn == 0;
        let picked = if backlogs_turn { backlog().or_else(live) } else { live().or_else(backlog) };
        if picked.is_some() {
            self.turn = (self.turn + 1) % BACKLOG_TURN;
        }
        picked
    }
}

impl LaneQueue {
    fn store(&mut self, now: MonoTime, seq: Seq) {
        self.unacked.insert(seq);
        self.next = self.next.max(seq.next());
        self.moments.insert(seq, now);
        if self.moments.len() > MOMENTS_MAX {
            self.moments.pop_first();
        }
    }

    fn start_live(&mut self, now: MonoTime) {
        let recent = self.moments.iter().find(|(_, stored)| now.since(**stored) <= LIVE_BEFORE);
        self.live_from = recent.map_or(self.next, |(seq, _)| *seq);
    }

    /// Takes a range out; what of it was there.
    fn settle(&mut self, first: Seq, last: Seq) -> Vec<(Seq, Seq)> {
        let there = self.unacked.within(first, last);
        for (first, last) in &there {
            self.unacked.remove_range(*first, *last);
        }
        self.in_flight.retain(|seq, _| !(first..=last).contains(seq));
        there
    }

    fn time_out(&mut self, now: MonoTime) {
        self.in_flight.retain(|_, sent| sent.is_none_or(|(at, _)| now < at + RESEND_AFTER));
    }

    fn has_room(&self) -> bool {
        let outstanding = self.in_flight.values().filter(|sent| sent.is_none()).count();
        let bytes: usize = self.in_flight.values().flatten().map(|(_, len)| *len).sum();
        outstanding < OUTSTANDING_MAX
            && self.in_flight.len() < WINDOW_COUNT_MAX
            && bytes < WINDOW_LEN_MAX
    }

    /// The oldest that can go out and is below `end`.
    fn oldest(&self, end: Seq) -> Option<Seq> {
        let mut candidate = self.unacked.first_from(Seq::FIRST)?;
        while self.in_flight.contains_key(&candidate) {
            candidate = self.unacked.first_from(candidate.next())?;
        }
        (candidate < end && self.has_room()).then_some(candidate)
    }

    /// The newest of the present that can go out.
    fn newest_live(&self) -> Option<Seq> {
        let mut candidate = self.unacked.highest()?;
        while self.in_flight.contains_key(&candidate) {
            candidate = self.unacked.last_until(Seq::new(candidate.get() - 1)?)?;
        }
        (candidate >= self.live_from && self.has_room()).then_some(candidate)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seq(number: u64) -> Seq {
        Seq::new(number).unwrap()
    }

    fn at(seconds: u64) -> MonoTime {
        MonoTime::from_start(Duration::from_secs(seconds))
    }

    fn ids() -> OutboxId {
        OutboxId::from_bytes([1; 16])
    }

    fn stocked(urgent: &str, trend: &str, wave: &str) -> Sender {
        let stock = |text: &str| {
            let unacked: RangeSet = text.parse().unwrap();
            let next = unacked.highest().map_or(Seq::FIRST, Seq::next);
            LaneStock { unacked, next }
        };
        Sender::new(ids(), [stock(urgent), stock(trend), stock(wave)])
    }

    fn published(sender: &mut Sender) -> Vec<(Lane, u64)> {
        let mut published = Vec::new();
        while let Some(output) = sender.poll_output() {
            let SenderOutput::Publish(lane, seq) = output else { panic!("{output:?}") };
            sender.handle(at(1), SenderEvent::Sent { lane, seq, len: 1000 });
            published.push((lane, seq.get()));
        }
        published
    }

    fn ack(lane: Lane, settled: &str) -> Ack {
        Ack { outbox: ids(), lanes: vec![(lane, settled.parse().unwrap())], errors: vec![] }
    }

    #[test]
    fn urgent_goes_first_and_the_backlog_oldest_first() {
        let mut sender = stocked("1-2", "1-2", "1-1");
        assert_eq!(published(&mut sender), []);
        sender.handle(at(0), SenderEvent::Connected);
        let order = published(&mut sender);
        assert_eq!(order[..2], [(Lane::Urgent, 1), (Lane::Urgent, 2)]);
        assert_eq!(order[2..], [(Lane::Trend, 1), (Lane::Trend, 2), (Lane::Wave, 1)]);
    }

    #[test]
    fn the_present_goes_newest_first_and_the_backlog_gets_every_fourth_turn() {
        let mut sender = stocked("", "1-100", "");
        for number in 101..=106 {
            sender.handle(at(0), SenderEvent::Stored(Lane::Trend, seq(number)));
        }
        sender.handle(at(10), SenderEvent::Connected);
        let order: Vec<u64> =
            published(&mut sender).into_iter().map(|(_, seq)| seq).take(8).collect();
        assert_eq!(order, [1, 106, 105, 104, 2, 103, 102, 101]);
    }

    #[test]
    fn what_is_not_acked_in_time_is_sent_again() {
        let mut sender = stocked("1-1", "", "");
        sender.handle(at(0), SenderEvent::Connected);
        assert_eq!(published(&mut sender).len(), 1);
        assert_eq!(sender.next_timeout(), Some(at(31)));
        sender.handle(at(31), SenderEvent::TimedOut);
        assert_eq!(published(&mut sender), [(Lane::Urgent, 1)]);
    }

    #[test]
    fn a_reconnect_sends_everything_again_that_is_not_acked() {
        let mut sender = stocked("", "1-3", "");
        sender.handle(at(0), SenderEvent::Connected);
        assert_eq!(published(&mut sender).len(), 3);
        sender.handle(at(1), SenderEvent::Acked(&ack(Lane::Trend, "2-2")));
        assert_eq!(
            sender.poll_output(),
            Some(SenderOutput::Forget { lane: Lane::Trend, first: seq(2), last: seq(2) })
        );
        sender.handle(at(2), SenderEvent::Disconnected);
        sender.handle(at(3), SenderEvent::Connected);
        assert_eq!(published(&mut sender), [(Lane::Trend, 1), (Lane::Trend, 3)]);
    }

    #[test]
    fn the_window_is_bounded() {
        let mut sender = stocked("", "1-100000", "");
        sender.handle(at(0), SenderEvent::Connected);
        assert_eq!(published(&mut sender).len(), WINDOW_COUNT_MAX);
        sender.handle(at(1), SenderEvent::Acked(&ack(Lane::Trend, "1-10")));
        assert!(matches!(sender.poll_output(), Some(SenderOutput::Forget { .. })));
        assert_eq!(published(&mut sender).len(), 10);
    }

    #[test]
    fn an_ack_that_repeats_or_comes_late_forgets_nothing_twice() {
        let mut sender = stocked("", "1-5", "");
        sender.handle(at(0), SenderEvent::Acked(&ack(Lane::Trend, "1-4")));
        assert!(sender.poll_output().is_some());
        sender.handle(at(0), SenderEvent::Acked(&ack(Lane::Trend, "1-3")));
        assert_eq!(sender.poll_output(), None);
        assert_eq!(sender.backlog(), [0, 1, 0]);
    }

    #[test]
    fn an_ack_of_a_seq_never_assigned_starts_a_new_outbox_and_forgets_nothing() {
        let mut sender = stocked("", "1-5", "");
        sender.handle(at(0), SenderEvent::Connected);
        sender.handle(at(0), SenderEvent::Acked(&ack(Lane::Trend, "1-6")));
        assert_eq!(sender.poll_output(), Some(SenderOutput::StartNewOutbox));
        assert_eq!(sender.poll_output(), None);
        assert_eq!(sender.backlog(), [0, 5, 0]);
    }

    #[test]
    fn an_ack_of_another_outbox_changes_nothing() {
        let mut sender = stocked("", "1-5", "");
        let mut foreign = ack(Lane::Trend, "1-5");
        foreign.outbox = OutboxId::from_bytes([9; 16]);
        sender.handle(at(0), SenderEvent::Acked(&foreign));
        assert_eq!((sender.poll_output(), sender.backlog()), (None, [0, 5, 0]));
    }
}
