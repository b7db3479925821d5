//! Records that wait for their commit, gathered into envelopes-to-be.
//!
//! # Invariants
//! - what is given up for want of room on the disk is due to be counted in the file at once, or, if
//!   that was done less than [`GIVEN_UP_EVERY`] ago, when that time is over

use super::Origin;
use crate::clock::SET_MS;
use model::{
    id::Lane,
    record::Record,
    time::{MonoTime, Now, WallTime},
};
use std::{collections::VecDeque, mem, time::Duration};
use uplink_proto::envelope::{Builder, ENVELOPE_LEN_MAX, MOVED_LEN, TREND_LEN_MAX};

/// Waveforms are on disk within a second of being decoded (P2); the commit itself takes time too.
const WAVE_AFTER: Duration = Duration::from_millis(900);
/// A lane that is due so soon is committed together with another: one sync instead of two. A wave
/// that has waited as long as trend does may not get another chance before it is due.
const TOGETHER: Duration = Duration::from_millis(50);
/// What is given up as it comes is counted so often: each record of a drop is an urgent row. Until
/// then it is known in memory only, and a kill would be silent about it.
const GIVEN_UP_EVERY: Duration = Duration::from_secs(10);

/// Records that become one envelope.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) envelope: Builder,
    pub(super) origins: Vec<Origin>,
    pub(super) opened: Now,
}

/// One lane's records that wait.
#[derive(Debug)]
pub(super) struct LanePending {
    pub(super) lane: Lane,
    /// Full ones first, the open one last.
    batches: VecDeque<Batch>,
    given_up: Option<GivenUp>,
    due: Option<MonoTime>,
    /// When is counted what was given up as it came, and when that was done last.
    count_at: Option<MonoTime>,
    counted_at: Option<MonoTime>,
    after: Duration,
    together: Duration,
    len_max: usize,
}

/// Envelopes-to-be that were given up before they were written, older than those that wait.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct GivenUp {
    pub(super) count: u32,
    pub(super) from: WallTime,
    pub(super) until: WallTime,
}

impl LanePending {
    pub(super) fn new(lane: Lane, commit_after: Duration) -> Self {
        let (after, len_max) = match lane {
            // Salvaged or under a new number it is longer.
            Lane::Urgent => (Duration::ZERO, ENVELOPE_LEN_MAX - MOVED_LEN),
            // An urgent envelope may wait for one of these beyond the sender's window.
            Lane::Trend => (commit_after, TREND_LEN_MAX),
            Lane::Wave => (WAVE_AFTER, TREND_LEN_MAX),
        };
        let together = after.saturating_sub(commit_after).max(TOGETHER);
        Self {
            lane,
            batches: VecDeque::new(),
            given_up: None,
            due: None,
            count_at: None,
            counted_at: None,
            after,
            together,
            len_max,
        }
    }

    pub(super) fn add(&mut self, now: Now, origin: Origin, record: &Record) {
        // The times in an envelope are all by one setting of the clock.
        let is_open = |batch: &&mut Batch| now.set_since(batch.opened).unsigned_abs() <= SET_MS;
        if let Some(batch) = self.batches.back_mut().filter(is_open)
            && batch.envelope.push(record, self.len_max)
        {
            batch.origins.push(origin);
        } else {
            let mut envelope = Builder::new(now.wall, Some(now.uptime));
            envelope.push(record, self.len_max);
            self.batches.push_back(Batch { envelope, origins: vec![origin], opened: now });
        }
        let due = now.mono + self.after;
        self.due = Some(self.due.map_or(due, |earlier| earlier.min(due)));
    }

    pub(super) fn due(&self) -> Option<MonoTime> {
        self.due
    }

    /// Whether it is committed now, together with a lane that is due.
    pub(super) fn ripe(&self, now: MonoTime) -> bool {
        self.due.is_some_and(|due| due <= now + self.together)
    }

    /// Commit what is there as soon as possible.
    pub(super) fn hurry(&mut self, now: MonoTime) {
        if self.due.is_some() {
            self.due = Some(now);
        }
    }

    /// Gives up the oldest envelope-to-be; whether there was one.
    pub(super) fn give_up_oldest(&mut self) -> bool {
        let Some(batch) = self.batches.pop_front() else { return false };
        let before = self.given_up.take();
        self.given_up = Some(GivenUp {
            count: before.map_or(0, |before| before.count).saturating_add(1),
            from: before.map_or(batch.opened.wall, |before| before.from),
            until: batch.opened.wall,
        });
        true
    }

    /// Gives up all that waits: there is no room on the disk for this lane.
    pub(super) fn give_up_all(&mut self, now: MonoTime) {
        if !self.batches.is_empty() {
            while self.give_up_oldest() {}
            let count_at = self.counted_at.map_or(now, |last| now.max(last + GIVEN_UP_EVERY));
            self.due = Some(*self.count_at.get_or_insert(count_at));
        }
    }

    pub(super) fn given_up(&self) -> Option<GivenUp> {
        self.given_up
    }

    pub(super) fn batches(&self) -> impl Iterator<Item = &Batch> {
        self.batches.iter()
    }

    /// Bytes that wait, about.
    pub(super) fn len(&self) -> usize {
        self.batches.iter().map(|batch| batch.envelope.len_max()).sum()
    }

    /// Everything was committed.
    pub(super) fn clear(&mut self, now: MonoTime) {
        if self.given_up.is_some() {
            self.counted_at = Some(now);
        }
        (self.due, self.count_at, self.given_up) = (None, None, None);
        drop(mem::take(&mut self.batches));
    }
}
