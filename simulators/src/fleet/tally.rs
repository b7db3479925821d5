//! What came of what a simulated box said: counts, and how long acks took.

use model::id::{OutboxId, Seq};
use serde::Serialize;
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

/// What came of what one box, or all of them, said.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// Readings that were to be said.
    pub(super) due: u64,
    /// Readings that were.
    pub(super) said: u64,
    pub(super) envelopes: u64,
    pub(super) bytes: u64,
    /// Envelopes handed to the connection, each time it happened.
    pub(super) published: u64,
    /// Readings that the county acked.
    pub(super) acked: u64,
    /// Readings that it did not.
    pub(super) lost: u64,
    pub(super) breaks: u64,
    pub(super) connections: u64,
    /// From the first envelope to the last ack.
    pub(super) began: Option<Instant>,
    pub(super) ended: Option<Instant>,
    /// From handing an envelope to the connection, the last time, to its ack.
    pub(super) ack: Spans,
    /// From closing an envelope to its ack.
    pub(super) delay: Spans,
    /// The outbox of one box, and the number its next envelope would get.
    pub(super) last: Option<(OutboxId, Seq)>,
}

impl Tally {
    pub(super) fn say(&mut self, readings: u64, len: usize) {
        self.began.get_or_insert_with(Instant::now);
        self.said += readings;
        self.envelopes += 1;
        self.bytes += u64::try_from(len).unwrap_or(0);
    }

    pub(super) fn ack(&mut self, readings: u64, closed_at: Instant, sent_at: Option<Instant>) {
        self.acked += readings;
        self.ended = Some(Instant::now());
        self.delay.note(closed_at.elapsed());
        if let Some(sent_at) = sent_at {
            self.ack.note(sent_at.elapsed());
        }
    }

    pub(super) fn add(&mut self, other: &Self) {
        let sums = [
            (&mut self.due, other.due),
            (&mut self.said, other.said),
            (&mut self.envelopes, other.envelopes),
            (&mut self.bytes, other.bytes),
            (&mut self.published, other.published),
            (&mut self.acked, other.acked),
            (&mut self.lost, other.lost),
            (&mut self.breaks, other.breaks),
            (&mut self.connections, other.connections),
        ];
        sums.into_iter().for_each(|(sum, more)| *sum += more);
        self.began = self.began.into_iter().chain(other.began).min();
        self.ended = self.ended.max(other.ended);
        self.ack.add(&other.ack);
        self.delay.add(&other.delay);
    }

    /// Seconds from the first envelope to the last ack.
    pub(super) fn seconds(&self) -> f64 {
        let span = self.began.zip(self.ended).map(|(began, ended)| ended.duration_since(began));
        span.unwrap_or_default().as_secs_f64()
    }
}

/// Spans of time, counted by the millisecond: as many entries as there are different ones.
#[derive(Debug, Default)]
pub(super) struct Spans(BTreeMap<u64, u64>);

/// Of many spans of time, in milliseconds: half, and all but one in a hundred, were no longer.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
pub struct Percentiles {
    /// Half of them.
    pub p50: u64,
    /// All but one in a hundred.
    pub p99: u64,
    /// All.
    pub max: u64,
}

impl Spans {
    fn note(&mut self, span: Duration) {
        let ms = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
        *self.0.entry(ms).or_default() += 1;
    }

    fn add(&mut self, other: &Self) {
        other.0.iter().for_each(|(ms, count)| *self.0.entry(*ms).or_default() += count);
    }

    /// `None` where there was none.
    pub(super) fn percentiles(&self) -> Option<Percentiles> {
        let count: u64 = self.0.values().sum();
        let at = |percent: u64| {
            let mut left = count.saturating_mul(percent).div_ceil(100);
            self.0.iter().find(|(_, here)| {
                left = left.saturating_sub(**here);
                left == 0
            })
        };
        let ms = |percent| at(percent).map(|(ms, _)| *ms);
        Some(Percentiles { p50: ms(50)?, p99: ms(99)?, max: *self.0.last_key_value()?.0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_all_spans_of_all_boxes() {
        let (mut one, mut other) = (Spans::default(), Spans::default());
        assert_eq!(one.percentiles(), None);
        (1..=50).for_each(|ms| one.note(Duration::from_millis(ms)));
        (51..=100).for_each(|ms| other.note(Duration::from_millis(ms)));
        other.note(Duration::from_millis(100));
        one.add(&other);
        let percentiles = one.percentiles();
        assert_eq!(percentiles, Some(Percentiles { p50: 51, p99: 100, max: 100 }));
    }
}
