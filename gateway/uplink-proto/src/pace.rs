//! How much of the bulk lanes may be on the wire: what the link moves in half a second, measured
//! by the time from handing an envelope over to its ack. The last envelope may reach beyond that.
//!
//! # Invariants
//! - the window is between [`WINDOW_LEN_MIN`] and [`WINDOW_LEN_MAX`]
//! - one slow round trip shrinks it once; only a window that was in use grows
//! - the wait before an envelope is sent again is longer than acks take: a queue somewhere on the
//!   way must not be filled with copies

use model::time::MonoTime;
use std::time::Duration;

/// Unacked bytes of trend and wave on the wire, at most (system design, "Limits").
const WINDOW_LEN_MAX: usize = 256 * 1024;
/// Half a second of a 64 kbit/s link, and where a connection begins. An urgent envelope may wait
/// for one envelope more: what is above the window when it was not yet full.
const WINDOW_LEN_MIN: usize = 4 * 1024;
/// "Never more than the measured ack rate moves in 0.5 s" (system design, "Limits").
const ACKED_WITHIN_MS: u128 = 500;
/// Growth in a round trip, once the link's speed is known; at most by half, so that a small window
/// does not overshoot.
const STEP: usize = 4 * 1024;
/// An ack comes within 100 ms of the commit; a busy county takes seconds.
const PATIENCE_MIN: Duration = Duration::from_secs(10);
/// A connection that takes longer is as good as none.
const PATIENCE_MAX: Duration = Duration::from_secs(300);

/// The window of one connection.
#[derive(Debug)]
pub(crate) struct Pace {
    window: usize,
    /// What was handed over before this tells nothing of the present window.
    shrunk_at: Option<MonoTime>,
    patience: Duration,
    /// What was handed over before this tells nothing of the present patience.
    doubled_at: Option<MonoTime>,
}

impl Pace {
    pub(crate) const fn new() -> Self {
        Self { window: WINDOW_LEN_MIN, shrunk_at: None, patience: PATIENCE_MIN, doubled_at: None }
    }

    /// Bytes of trend and wave that may be on the wire.
    pub(crate) const fn window(&self) -> usize {
        self.window
    }

    /// How long an ack is waited for.
    pub(crate) const fn patience(&self) -> Duration {
        self.patience
    }

    /// No ack came in that time for what was handed over at `sent`. A window that is late as a whole
    /// is one sign, not many: else an outage of half a minute would be followed by minutes of waiting.
    pub(crate) fn on_time_out(&mut self, now: MonoTime, sent: MonoTime) {
        if self.doubled_at.is_none_or(|at| sent >= at) {
            self.patience = (self.patience * 2).min(PATIENCE_MAX);
            self.doubled_at = Some(now);
        }
    }

    /// Nobody knew how long to wait, and now nobody has to.
    pub(crate) fn start_again(&mut self) {
        self.patience = PATIENCE_MIN;
    }

    /// An envelope of `len` bytes that was handed over once, at `sent`, is acked, while `in_flight`
    /// bytes were on the wire.
    pub(crate) fn on_ack(&mut self, now: MonoTime, sent: MonoTime, len: usize, in_flight: usize) {
        self.patience = (now.since(sent) * 4).clamp(PATIENCE_MIN, PATIENCE_MAX);
        let took_ms = now.since(sent).as_millis();
        if took_ms <= ACKED_WITHIN_MS {
            if in_flight >= self.window / 2 {
                // Doubles in a round trip until the first sign of a queue.
                let more =
                    self.shrunk_at.map_or(len, |_| (len * STEP / self.window).min(len / 2).max(1));
                self.window = (self.window + more).min(WINDOW_LEN_MAX);
            }
        } else if self.shrunk_at.is_none_or(|at| sent >= at) {
            // At most halved: one stall of the network is no measurement.
            let quarters = if took_ms >= 2 * ACKED_WITHIN_MS { 2 } else { 3 };
            self.window = (self.window / 4 * quarters).max(WINDOW_LEN_MIN);
            self.shrunk_at = Some(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{collections::VecDeque, time::Duration};

    /// What a link that moves so many bytes a second makes of the window in a minute, and the
    /// longest an urgent envelope would have waited behind it in the second half.
    fn on_a_link(bytes_per_s: usize, delay_ms: u64, envelope: usize) -> (usize, Duration) {
        let mut pace = Pace::new();
        let (mut on_wire, mut free_at, mut longest) = (VecDeque::new(), 0, Duration::ZERO);
        for ms in 0..60_000_u64 {
            let now = MonoTime::from_start(Duration::from_millis(ms));
            while on_wire.front().is_some_and(|(acked_ms, _)| *acked_ms <= ms) {
                let in_flight = on_wire.len() * envelope;
                let (_, sent) = on_wire.pop_front().unwrap();
                pace.on_ack(now, sent, envelope, in_flight);
            }
            while on_wire.is_empty() || on_wire.len() * envelope < pace.window() {
                let takes = u64::try_from(envelope * 1000 / bytes_per_s).unwrap().max(1);
                free_at = ms.max(free_at) + takes;
                on_wire.push_back((free_at + delay_ms, now));
            }
            if ms > 30_000 {
                longest = longest.max(Duration::from_millis(free_at.saturating_sub(ms)));
            }
        }
        (pace.window(), longest)
    }

    #[test]
    fn behind_envelopes_of_one_length_nothing_waits_much_longer_than_a_second_from_64_kbit_on() {
        for kbit in [64, 128, 512, 2_000, 10_000] {
            for delay_ms in [20, 100, 300] {
                for envelope in [800, 4_000, 8_000] {
                    let (_, longest) = on_a_link(kbit * 1000 / 8, delay_ms, envelope);
                    assert!(
                        longest <= Duration::from_millis(1100),
                        "{kbit} kbit/s, {delay_ms} ms, {envelope} bytes: {longest:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_window_that_is_late_doubles_the_wait_once() {
        let at = |ms| MonoTime::from_start(Duration::from_millis(ms));
        let mut pace = Pace::new();
        for sent in [0, 250, 500, 750] {
            pace.on_time_out(at(sent + 10_000), at(sent));
        }
        assert_eq!(pace.patience(), PATIENCE_MIN * 2);
        // What was handed over since then and is late as well.
        pace.on_time_out(at(40_000), at(20_000));
        assert_eq!(pace.patience(), PATIENCE_MIN * 4);
    }

    #[test]
    fn a_fast_link_gets_the_whole_window() {
        assert_eq!(on_a_link(10_000_000 / 8, 50, 4_000).0, WINDOW_LEN_MAX);
    }

    #[test]
    fn a_window_that_is_not_used_does_not_grow() {
        let mut pace = Pace::new();
        for second in 1..100 {
            let now = MonoTime::from_start(Duration::from_secs(second));
            pace.on_ack(now, now, 1000, 1000);
        }
        assert_eq!(pace.window(), WINDOW_LEN_MIN);
    }
}
