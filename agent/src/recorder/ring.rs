//! The last of what happened on a link, in memory, and how its session began.
//!
//! Not here: redaction and files. What is in a ring is as the link said it, and is written nowhere.
//!
//! # Invariants
//! - what is held are the newest events, whole and in order; and the first since the port was opened
//! - what they cost never exceeds the limits, however they are cut
//! - an event has a number, counted from 0, that no other event gets

use model::time::MonoTime;
use std::{collections::VecDeque, time::Duration};
use trace::{Entry, Event};

/// What an event costs beside its bytes.
const MARK_LEN: usize = size_of::<Mark>();
/// A monitor is asked for, says who it is, and what its numbers and waves are: 6 kB of the largest
/// of them, then seconds of what it measures.
const OPENING_BYTES: usize = 16 * 1024;

/// What happened on a link.
#[derive(Clone, Copy)]
pub(crate) enum Happened<'a> {
    /// The port was opened, or the driver begins anew on it.
    Opened,
    /// Bytes of the device.
    Received(&'a [u8]),
    /// Bytes for the device.
    Sent(&'a [u8]),
    /// The port is gone, or the driver ends on it.
    Closed,
}

/// The newest events of one link.
pub(super) struct Ring {
    max_bytes: usize,
    max_age: Duration,
    /// Number of the oldest event that is held.
    first: u64,
    marks: VecDeque<Mark>,
    bytes: VecDeque<u8>,
    opening: Opening,
}

/// The first events since the port was opened: what comes later can mean nothing without them.
#[derive(Default)]
struct Opening {
    /// Number of the first.
    first: u64,
    entries: Vec<Entry>,
    cost: usize,
}

/// What a ring holds now.
#[derive(Debug, Default)]
pub(super) struct Held {
    /// How the session began, where the newest events do not reach back so far.
    pub(super) opening: Vec<Entry>,
    /// Whether something is missing between that and the newest events.
    pub(super) has_gap: bool,
    /// Number of the oldest of the newest events.
    pub(super) next: u64,
    /// When the first of all of them happened.
    pub(super) since: Option<MonoTime>,
}

/// An event without its bytes: 16 bytes, so that a device that is read byte by byte has room too.
#[derive(Clone, Copy)]
struct Mark {
    at_us: u64,
    len: u32,
    kind: Kind,
}

#[derive(Clone, Copy)]
enum Kind {
    Opened,
    Received,
    Sent,
    Closed,
}

/// Some of a ring's events.
#[derive(Debug, Default)]
pub(super) struct Heard {
    /// Events that are held no longer.
    pub(super) missed: u64,
    /// With times since the start of the program.
    pub(super) entries: Vec<Entry>,
    /// Number of the event behind them.
    pub(super) next: u64,
}

impl Ring {
    pub(super) fn new(max_bytes: usize, max_age: Duration) -> Self {
        let (marks, bytes) = (VecDeque::new(), VecDeque::new());
        Self { max_bytes, max_age, first: 0, marks, bytes, opening: Opening::default() }
    }

    /// Takes what happened now.
    pub(super) fn push(&mut self, at: MonoTime, happened: Happened<'_>) {
        let (kind, bytes) = match happened {
            Happened::Opened => (Kind::Opened, &[][..]),
            Happened::Received(bytes) => (Kind::Received, bytes),
            Happened::Sent(bytes) => (Kind::Sent, bytes),
            Happened::Closed => (Kind::Closed, &[][..]),
        };
        self.forget_old(at);
        let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let mark = Mark { at_us: micros(at), len, kind };
        self.opening.take(self.next(), mark, bytes);
        self.marks.push_back(mark);
        self.bytes.extend(bytes);
        while self.cost() > self.max_bytes && self.forget_first() {}
        assert!(self.cost() <= self.max_bytes, "a ring holds no more than it may");
    }

    /// Forgets what is too old by now.
    pub(super) fn forget_old(&mut self, now: MonoTime) {
        let oldest = micros(now).saturating_sub(micros(MonoTime::from_start(self.max_age)));
        while self.marks.front().is_some_and(|mark| mark.at_us < oldest) && self.forget_first() {}
    }

    /// Hands out events from that number on: at least one where there is one, and no more than
    /// about `bytes`.
    pub(super) fn read(&self, from: u64, bytes: usize) -> Heard {
        let missed = self.first.saturating_sub(from);
        let skipped = usize::try_from(from.saturating_sub(self.first)).unwrap_or(usize::MAX);
        let before: usize = self.marks.iter().take(skipped).map(|mark| len(*mark)).sum();
        let (mut place, mut entries) = (before, Vec::new());
        for mark in self.marks.iter().skip(skipped) {
            if place - before > bytes {
                break;
            }
            let said: Vec<u8> = self.bytes.range(place..place + len(*mark)).copied().collect();
            place += said.len();
            entries.push(mark.entry(said));
        }
        let count = u64::try_from(entries.len()).unwrap_or(u64::MAX);
        Heard { missed, entries, next: from.max(self.first) + count }
    }

    /// How the session began, and from where on everything is held.
    pub(super) fn held(&self) -> Held {
        let Opening { first, entries, .. } = &self.opening;
        let forgotten = usize::try_from(self.first.saturating_sub(*first)).unwrap_or(usize::MAX);
        let opening: Vec<_> = entries.iter().take(forgotten).cloned().collect();
        let oldest = self.marks.front().map(|mark| Duration::from_micros(mark.at_us));
        let since = opening.first().map(|entry| entry.at).or(oldest).map(MonoTime::from_start);
        Held { has_gap: opening.len() < forgotten, opening, next: self.first, since }
    }

    /// Number of the event that is still to come.
    pub(super) fn next(&self) -> u64 {
        self.first + u64::try_from(self.marks.len()).unwrap_or(u64::MAX)
    }

    fn cost(&self) -> usize {
        self.marks.len() * MARK_LEN + self.bytes.len()
    }

    fn forget_first(&mut self) -> bool {
        let Some(mark) = self.marks.pop_front() else { return false };
        self.bytes.drain(..len(mark));
        self.first += 1;
        true
    }
}

impl Opening {
    fn take(&mut self, number: u64, mark: Mark, bytes: &[u8]) {
        if matches!(mark.kind, Kind::Opened) {
            *self = Self { first: number, ..Self::default() };
        }
        let cost = self.cost + size_of::<Entry>() + bytes.len();
        let count = u64::try_from(self.entries.len()).unwrap_or(u64::MAX);
        // What comes after one that was too much is no beginning.
        if number == self.first + count && cost <= OPENING_BYTES {
            self.cost = cost;
            self.entries.push(mark.entry(bytes.to_vec()));
        }
    }
}

impl Mark {
    fn entry(self, said: Vec<u8>) -> Entry {
        let event = match self.kind {
            Kind::Opened => Event::Opened,
            Kind::Received => Event::Received(said),
            Kind::Sent => Event::Sent(said),
            Kind::Closed => Event::Closed,
        };
        Entry { at: Duration::from_micros(self.at_us), event }
    }
}

fn len(mark: Mark) -> usize {
    usize::try_from(mark.len).unwrap_or(usize::MAX)
}

fn micros(time: MonoTime) -> u64 {
    u64::try_from(time.since_start().as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: usize = 4096;

    fn at(ms: u64) -> MonoTime {
        MonoTime::from_start(Duration::from_millis(ms))
    }

    fn ring() -> Ring {
        Ring::new(MAX, Duration::from_secs(600))
    }

    fn received(heard: &Heard) -> Vec<u8> {
        let bytes = heard.entries.iter().filter_map(|entry| match &entry.event {
            Event::Received(bytes) => Some(bytes.clone()),
            _ => None,
        });
        bytes.flatten().collect()
    }

    #[test]
    fn what_is_pushed_reads_back_with_its_time() {
        let mut ring = ring();
        ring.push(at(1), Happened::Opened);
        ring.push(at(2), Happened::Sent(b"who"));
        ring.push(at(3), Happened::Received(b"me"));
        ring.push(at(4), Happened::Closed);
        let heard = ring.read(0, MAX);
        let expect = [
            (1, Event::Opened),
            (2, Event::Sent(b"who".to_vec())),
            (3, Event::Received(b"me".to_vec())),
            (4, Event::Closed),
        ];
        let expect = expect.map(|(ms, event)| Entry { at: Duration::from_millis(ms), event });
        assert_eq!(heard.entries, expect);
        assert_eq!((heard.missed, heard.next, ring.next()), (0, 4, 4));
        assert_eq!(received(&ring.read(2, MAX)), b"me");
        assert!(ring.read(4, MAX).entries.is_empty());
    }

    #[test]
    fn however_bytes_are_cut_the_newest_are_held_within_the_limit() {
        for chunk in [1, 7, 100, 4000] {
            let mut ring = ring();
            let all: Vec<u8> = (0..=250).cycle().take(20_000).collect();
            for (bytes, ms) in all.chunks(chunk).zip(0..) {
                ring.push(at(ms), Happened::Received(bytes));
                assert!(ring.cost() <= MAX, "{chunk}: {}", ring.cost());
            }
            let held = received(&ring.read(0, MAX));
            assert!(all.ends_with(&held), "{chunk}: the newest");
            assert!((held.len() + 2 * chunk) * (chunk + MARK_LEN) > MAX * chunk, "{chunk}: full");
            // Deques double their room when they grow.
            let room = ring.marks.capacity() * MARK_LEN + ring.bytes.capacity();
            assert!(room <= 3 * MAX, "{chunk}: {room}");
        }
    }

    #[test]
    fn an_event_longer_than_the_ring_is_let_go() {
        let mut ring = ring();
        ring.push(at(0), Happened::Received(&[0; MAX]));
        assert_eq!((ring.first, ring.next(), ring.cost()), (1, 1, 0));
    }

    #[test]
    fn what_is_older_than_ten_minutes_is_forgotten_and_told_as_missed() {
        let mut ring = ring();
        ring.push(at(0), Happened::Opened);
        ring.push(at(1000), Happened::Received(b"a"));
        ring.push(at(601_000), Happened::Received(b"b"));
        assert_eq!(ring.first, 1);
        ring.forget_old(at(601_001));
        assert_eq!(ring.first, 2);
        let heard = ring.read(0, MAX);
        assert_eq!((heard.missed, heard.next, received(&heard)), (2, 3, b"b".to_vec()));
    }

    #[test]
    fn how_the_session_began_is_held_as_long_as_it_lasts() {
        let mut ring = ring();
        for ms in [0, 5_000_000] {
            ring.push(at(ms), Happened::Closed);
            ring.push(at(ms), Happened::Opened);
            let begin = ring.next() - 1;
            ring.push(at(ms + 1), Happened::Sent(b"who"));
            ring.push(at(ms + 2), Happened::Received(b"me"));
            let held = ring.held();
            assert!(held.next <= begin, "the newest events reach back to it");
            assert_eq!((held.opening.len(), held.has_gap), (0, false));
            for later in 0..100 {
                ring.push(at(ms + 600_001 + later), Happened::Received(&[7; 1000]));
                let held = ring.held();
                assert_eq!(held.since, Some(at(ms)));
                let said: Vec<_> = held.opening.iter().map(|entry| &entry.event).collect();
                assert_eq!(said[0], &Event::Opened);
                let kept = begin + u64::try_from(said.len()).unwrap();
                assert_eq!((kept < held.next, kept > held.next), (held.has_gap, false));
                assert!(ring.opening.cost <= OPENING_BYTES);
            }
            assert!(ring.held().has_gap);
            let held = received(&Heard { entries: ring.held().opening, ..Heard::default() });
            assert!(held.starts_with(b"me\x07") && held.len() > OPENING_BYTES / 2, "{held:?}");
        }
    }

    #[test]
    fn a_long_ring_is_read_in_parts() {
        let mut ring = ring();
        for number in 0..100_u8 {
            ring.push(at(number.into()), Happened::Received(&[number; 10]));
        }
        let (mut from, mut all, mut parts) = (0, Vec::new(), 0);
        while from < ring.next() {
            let heard = ring.read(from, 200);
            assert!(heard.entries.len() <= 21, "{}", heard.entries.len());
            all.extend(received(&heard));
            (from, parts) = (heard.next, parts + 1);
        }
        assert_eq!((all.len(), parts), (1000, 5));
    }
}
