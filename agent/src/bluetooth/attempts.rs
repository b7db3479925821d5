//! An adapter that connects nobody any more, though devices advertise.
//!
//! Linux can come to this by itself: an attempt that was given up while another was under way stays
//! in the kernel as one that connects, and no other is begun until the adapter is switched off ("do
//! not leak an `hci_conn` when a second LE connect is rejected", linux-bluetooth, August 2026).

use model::time::MonoTime;
use std::time::Duration;

/// So many attempts without a device that told its services …
const ATTEMPTS: u32 = 4;
/// … within at least this time: a device that went to sleep fails as often, and faster.
const FOR: Duration = Duration::from_secs(90);
/// Devices that cannot be reached look the same: an adapter is not switched off more often.
const PAUSE: Duration = Duration::from_secs(600);

/// What became of connecting by one adapter.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Attempts {
    /// Since the last that went well.
    failed: u32,
    since: Option<MonoTime>,
    is_unanswered: bool,
    switched_off: Option<MonoTime>,
}

impl Attempts {
    /// A device is being connected.
    pub(super) fn began(&mut self, now: MonoTime) {
        self.failed = self.failed.saturating_add(1);
        self.since.get_or_insert(now);
    }

    /// Not even a failure was told, and it is still under way for all that is known.
    pub(super) const fn was_never_answered(&mut self) {
        self.is_unanswered = true;
    }

    /// A device told its services.
    pub(super) const fn went_well(&mut self) {
        (self.failed, self.since, self.is_unanswered) = (0, None, false);
    }

    /// Whether it is time to switch the adapter off and on; that counts as done.
    pub(super) fn is_stuck(&mut self, now: MonoTime) -> bool {
        let is_over = |since: MonoTime, limit| now >= since + limit;
        let has_failed =
            self.failed >= ATTEMPTS && self.since.is_some_and(|since| is_over(since, FOR));
        let is_stuck = (has_failed || self.is_unanswered)
            && self.switched_off.is_none_or(|at| is_over(at, PAUSE));
        if is_stuck {
            self.went_well();
            self.switched_off = Some(now);
        }
        is_stuck
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> MonoTime {
        MonoTime::START + Duration::from_secs(seconds)
    }

    #[test]
    fn an_adapter_is_stuck_when_nothing_goes_well_for_long() {
        let mut attempts = Attempts::default();
        for second in [0, 1, 2, 3] {
            attempts.began(at(second));
        }
        assert!(!attempts.is_stuck(at(89)), "a device that went to sleep");
        assert!(attempts.is_stuck(at(90)));
        assert!(!attempts.is_stuck(at(91)), "it begins anew");
    }

    #[test]
    fn an_attempt_that_is_never_answered_is_enough() {
        let mut attempts = Attempts::default();
        attempts.began(at(0));
        attempts.was_never_answered();
        assert!(attempts.is_stuck(at(45)));
        attempts.was_never_answered();
        assert!(!attempts.is_stuck(at(100)), "not again and again");
        attempts.went_well();
        assert!(!attempts.is_stuck(at(1000)));
    }

    #[test]
    fn one_that_goes_well_counts_more_than_all_before() {
        let mut attempts = Attempts::default();
        for second in [0, 30, 60] {
            attempts.began(at(second));
        }
        attempts.went_well();
        attempts.began(at(90));
        assert!(!attempts.is_stuck(at(300)), "one attempt proves nothing");
    }

    #[test]
    fn a_device_out_of_reach_does_not_switch_the_adapter_off_again_and_again() {
        let mut attempts = Attempts::default();
        let times = (0..3600_u64).step_by(15).filter(|second| {
            attempts.began(at(*second));
            attempts.is_stuck(at(*second))
        });
        assert_eq!(times.collect::<Vec<_>>(), [90, 690, 1290, 1890, 2490, 3090]);
    }
}
