//! Download of a meter's memory: which record is asked for, which were read, which of them hold.
//!
//! Not here: time, retries, and what a value means.
//!
//! A record comes in two replies, its time and its value, and neither says which record it is of. A
//! measurement in between shifts all places, and a value would be taken for that of the next record.
//! So records are held back until the newest one was read again and is still the newest. The count
//! alone does not show it: in a full memory it stays the same.
//!
//! # Invariants
//! - a record is handed out only if the newest record was the same before and after it was read
//! - at most [`RECORDS_MAX`] records are read

use super::codec::{DateTime, Reply, Request};

/// As many as the cursor remembers, with a mark for the gap.
pub(super) const RECORDS_MAX: u16 = 1000;
/// What a meter that is pulled out loses at most: two replies a record, about a second.
const CHECK_EVERY: u16 = 25;
/// Places shift when somebody measures during a download: it begins again so often at most.
const RESTARTS_MAX: u8 = 3;

/// A stored record, as the meter sends it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Stored {
    pub(super) time: DateTime,
    pub(super) value: [u8; 4],
}

impl Stored {
    /// What tells it from other records: "identity: device + metric + device time + value", §5.
    pub(super) fn key(self) -> Vec<u8> {
        [self.time.0, self.value].concat()
    }
}

/// What is known of a record.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Known {
    /// It was not taken over yet.
    New,
    /// It was taken over, but what is behind it may be new.
    Alone,
    /// It was taken over, and all behind it were.
    WithAllBehind,
}

/// How the download stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Progress {
    /// The next request is out.
    Asking,
    /// All that is new was read.
    Complete,
    /// Somebody measured again and again meanwhile.
    GaveUp,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Ask {
    Count,
    Time(u16),
    Value(u16, DateTime),
    /// "Re-read the count at the end", §5.
    CountAgain,
    /// The newest record again; then on at that place, or the end.
    NewestTime(Option<u16>),
    NewestValue(Option<u16>, DateTime),
}

/// A download.
#[derive(Debug)]
pub(super) struct Download {
    ask: Ask,
    /// As the meter said it.
    count: u16,
    newest: Option<Stored>,
    /// Records that are new, the newest first.
    fresh: Vec<Stored>,
    /// So many of them hold.
    confirmed: usize,
    restarts: u8,
}

impl Download {
    pub(super) fn new() -> Self {
        Self {
            ask: Ask::Count,
            count: 0,
            newest: None,
            fresh: Vec::new(),
            confirmed: 0,
            restarts: 0,
        }
    }

    /// Takes the reply to [`request`](Self::request) in; `known` says what is known of a record.
    pub(super) fn take(&mut self, reply: Reply, known: impl Fn(Stored) -> Known) -> Progress {
        let ask = match (self.ask, reply) {
            (Ask::Count, Reply::Count(0)) => return Progress::Complete,
            (Ask::Count, Reply::Count(count)) => {
                self.count = count;
                Ask::Time(0)
            }
            (Ask::Time(place), Reply::Time(time)) => Ask::Value(place, time),
            (Ask::Value(place, time), Reply::Value(value)) => {
                let record = Stored { time, value };
                match self.keep(place, record, known(record)) {
                    Some(ask) => ask,
                    None => return Progress::Complete,
                }
            }
            (Ask::CountAgain, Reply::Count(count)) if count == self.count => Ask::NewestTime(None),
            (Ask::NewestTime(next), Reply::Time(time)) => Ask::NewestValue(next, time),
            (Ask::NewestValue(next, time), Reply::Value(value))
                if self.newest == Some(Stored { time, value }) =>
            {
                self.confirmed = self.fresh.len();
                match next {
                    Some(place) => Ask::Time(place),
                    None => return Progress::Complete,
                }
            }
            // All places shifted: from the newest again.
            _ if self.restarts < RESTARTS_MAX => {
                *self = Self { restarts: self.restarts + 1, ..Self::new() };
                Ask::Count
            }
            _ => return Progress::GaveUp,
        };
        self.ask = ask;
        Progress::Asking
    }

    pub(super) fn request(&self) -> Request {
        match self.ask {
            Ask::Count | Ask::CountAgain => Request::Count,
            Ask::Time(place) => Request::Time(place),
            Ask::Value(place, _) => Request::Value(place),
            Ask::NewestTime(_) => Request::Time(0),
            Ask::NewestValue(..) => Request::Value(0),
        }
    }

    pub(super) fn count(&self) -> u16 {
        self.count
    }

    /// The new records that hold, the oldest first.
    pub(super) fn confirmed(&self) -> impl Iterator<Item = Stored> {
        self.fresh.iter().take(self.confirmed).rev().copied()
    }

    /// Keeps a record if it is new; what to ask then, unless everything is done.
    fn keep(&mut self, place: u16, record: Stored, known: Known) -> Option<Ask> {
        if place == 0 {
            self.newest = Some(record);
        }
        if known == Known::New && !self.fresh.contains(&record) {
            self.fresh.push(record);
        }
        let next = place + 1;
        let unconfirmed = self.fresh.len() > self.confirmed;
        if known == Known::WithAllBehind || next >= self.count.min(RECORDS_MAX) {
            return unconfirmed.then_some(Ask::CountAgain);
        }
        if unconfirmed && next.is_multiple_of(CHECK_EVERY) {
            return Some(Ask::NewestTime(Some(next)));
        }
        Some(Ask::Time(next))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::ENTRIES_MAX;
    use proptest::{collection::vec, prelude::*};

    fn stored(number: u16) -> Stored {
        let [low, high] = number.to_le_bytes();
        Stored { time: DateTime([0x76, 0x35, low, high]), value: [low, high, 0, 0] }
    }

    /// A memory, newest first.
    fn answer(memory: &[Stored], request: Request) -> Reply {
        let at = |place: u16| memory[usize::from(place)];
        match request {
            Request::Count => Reply::Count(u16::try_from(memory.len()).unwrap()),
            Request::Time(place) => Reply::Time(at(place).time),
            Request::Value(place) => Reply::Value(at(place).value),
            other => panic!("a download does not ask {other:?}"),
        }
    }

    #[test]
    fn the_cursor_holds_a_whole_memory_and_the_mark_of_a_gap() {
        assert!(usize::from(RECORDS_MAX) < ENTRIES_MAX);
    }

    #[test]
    fn no_more_than_the_cursor_holds_is_read_of_a_memory() {
        let memory: Vec<_> = (0..1500).map(stored).collect();
        let mut download = Download::new();
        while download.take(answer(&memory, download.request()), |_| Known::New) == Progress::Asking
        {
        }
        assert_eq!(download.confirmed().count(), usize::from(RECORDS_MAX));
        assert_eq!(download.count(), 1500);
    }

    #[test]
    fn nothing_holds_before_it_was_checked() {
        let memory: Vec<_> = (0..100).map(stored).collect();
        let mut download = Download::new();
        // The count, 25 times and values, the newest again.
        for _ in 0..1 + 2 * CHECK_EVERY + 2 {
            assert_eq!(download.confirmed().count(), 0);
            download.take(answer(&memory, download.request()), |_| Known::New);
        }
        assert_eq!(download.confirmed().count(), usize::from(CHECK_EVERY));
    }

    #[test]
    fn somebody_who_measures_all_the_time_is_waited_for_a_few_times_only() {
        let mut memory: Vec<_> = (0..10).map(stored).collect();
        let mut download = Download::new();
        for number in 1..1000 {
            memory.insert(0, stored(1000 + number));
            match download.take(answer(&memory, download.request()), |_| Known::New) {
                Progress::Asking => {}
                progress => {
                    assert_eq!((progress, download.confirmed().count()), (Progress::GaveUp, 0));
                    return;
                }
            }
        }
        panic!("the download never ends");
    }

    proptest! {
        /// Measurements at any moment of the download, into a memory that is full or not.
        #[test]
        fn a_value_is_never_taken_for_that_of_another_record(
            len in 1_u16..80, full in any::<bool>(), moments in vec(0_usize..200, 0..4),
        ) {
            let mut memory: Vec<_> = (0..len).map(|age| stored(1000 - age)).collect();
            let mut download = Download::new();
            for step in 0..2000 {
                for _ in moments.iter().filter(|moment| **moment == step) {
                    memory.insert(0, stored(2000 + u16::try_from(step).unwrap()));
                    if full {
                        memory.pop();
                    }
                }
                let progress = download.take(answer(&memory, download.request()), |_| Known::New);
                let whole = |record: Stored| record.time.0[2..] == record.value[..2];
                prop_assert!(download.confirmed().all(whole));
                if progress != Progress::Asking {
                    prop_assert!(progress == Progress::GaveUp || download.confirmed().count() > 0);
                    return Ok(());
                }
            }
            prop_assert!(false, "the download never ends");
        }
    }
}
