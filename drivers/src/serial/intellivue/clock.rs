//! The monitor's ticks and its clock.
//!
//! "Pair (0x0987, 0x098F) gives the offset to convert every later RelativeTime to wall-clock. The
//! wall-clock is the monitor's local time without a zone", §6.4. "Relative time wraps after about
//! 6 days 5 h: extend it to 64 bits", §10.

use model::time::DeviceTime;

/// "Unit 125 µs (8000 per second)", §5.
pub(super) const TICKS_A_MS: i64 = 8;
const WRAP: i64 = 1 << 32;
/// The monitor's clock has whole seconds: a smaller step is rounding and not a clock that was set.
const STEP: u64 = 1500 * TICKS_A_MS.unsigned_abs();
/// A stamp may be a little ahead of the last answer.
const AHEAD: i64 = 2 * 1000 * TICKS_A_MS;

/// Time of the monitor, from one association to its end.
#[derive(Clone, Debug, Default)]
pub(super) struct Clock {
    /// The newest tick, without wrapping.
    latest: Option<i64>,
    /// Civil time at tick 0, in ticks: the pair may be any part of a millisecond after it.
    zero: Option<i64>,
}

impl Clock {
    /// The tick of a message that has just come, without wrapping.
    pub(super) fn tick(&mut self, raw: u32) -> i64 {
        let raw = i64::from(raw);
        let tick = self.latest.map_or(raw, |latest| {
            // The one of all ticks with these 32 bits that is nearest to the latest.
            latest + (raw - latest + WRAP / 2).rem_euclid(WRAP) - WRAP / 2
        });
        self.latest = self.latest.max(Some(tick));
        tick
    }

    /// The tick of a stamp: not after the newest message.
    pub(super) fn stamp(&self, raw: u32) -> i64 {
        let raw = i64::from(raw);
        self.latest.map_or(raw, |latest| {
            let newest = latest + AHEAD;
            newest - (newest - raw).rem_euclid(WRAP)
        })
    }

    /// The monitor's clock showed this at that tick.
    pub(super) fn pair(&mut self, civil_ms: i64, tick: i64) {
        let zero = civil_ms * TICKS_A_MS - tick;
        if self.zero.is_none_or(|known| known.abs_diff(zero) > STEP) {
            self.zero = Some(zero);
        }
    }

    /// What the monitor's clock showed at that tick, if it told.
    pub(super) fn device_time(&self, tick: i64) -> Option<DeviceTime> {
        let civil_ms = (self.zero? + tick).div_euclid(TICKS_A_MS);
        Some(DeviceTime::Local { civil_ms })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_go_on_after_they_wrap() {
        let mut clock = Clock::default();
        assert_eq!(clock.tick(0xFFFF_F000), 0xFFFF_F000);
        assert_eq!(clock.tick(0x0000_1000), 0x1_0000_1000);
        assert_eq!(clock.tick(0xFFFF_FF00), 0xFFFF_FF00, "a late one is not six days ahead");
        assert_eq!(clock.tick(0x0000_2000), 0x1_0000_2000);
        assert_eq!(clock.stamp(0xFFFF_0000), 0xFFFF_0000);
        assert_eq!(clock.stamp(0x0000_3000), 0x1_0000_3000);
        assert_eq!(clock.stamp(0x8000_0000), 0x8000_0000, "three days ago");
    }

    #[test]
    fn device_time_follows_the_pair_and_does_not_shake_with_it() {
        let mut clock = Clock::default();
        assert_eq!(clock.device_time(0), None);
        clock.pair(1_795_336_200_000, 480_000);
        let at = |clock: &Clock, tick| clock.device_time(tick).unwrap().civil_ms();
        assert_eq!(at(&clock, 488_000), 1_795_336_201_000);
        clock.pair(1_795_336_202_000, 495_000);
        assert_eq!(at(&clock, 488_000), 1_795_336_201_000);
        clock.pair(1_795_340_000_000, 480_000);
        assert_eq!(at(&clock, 488_000), 1_795_340_001_000, "the clock was set");
    }
    #[test]
    fn device_time_is_that_of_the_pair_to_the_millisecond() {
        let mut clock = Clock::default();
        // 7 ticks after a full millisecond: 1 tick later is not 1 ms later, 8 are.
        clock.pair(1_795_336_200_000, 80_007);
        let ms = |tick| clock.device_time(tick).unwrap().civil_ms() - 1_795_336_200_000;
        assert_eq!([80_006, 80_007, 80_008, 80_014, 80_015].map(ms), [-1, 0, 0, 0, 1]);
    }
}
