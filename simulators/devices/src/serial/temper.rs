//! How rude a device is: as rude as its sheet allows, and that follows from the seed.
//!
//! Two seeds of four are polite: they answer at once, in one piece, with the right clock.

use crate::{SimTime, StageClock, scenario::variation};

/// Seeds that are polite, of four.
const POLITE: u64 = 2;
/// Where throws of the dice begin; below are properties.
const THROWN: u64 = 1 << 32;
/// 2000-01-01 00:00, where a clock begins after its battery was empty.
const RESET_CIVIL_MS: i64 = 946_684_800_000;

/// How a device behaves.
#[derive(Clone, Debug)]
pub(crate) struct Temper {
    seed: u64,
    thrown: u64,
}

/// What the device's own clock says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum DeviceClock {
    Right,
    /// Wrong by so many minutes.
    Wrong(i64),
    /// It begins anew at that second of the stage.
    Reset(u64),
}

impl Temper {
    pub(crate) fn new(seed: u64) -> Self {
        Self { seed, thrown: THROWN }
    }

    pub(crate) fn is_polite(&self) -> bool {
        self.seed % 4 < POLITE
    }

    /// A property of the device that never changes, below `end`; 0 for a polite one.
    pub(crate) fn property(&self, salt: u64, end: u64) -> u64 {
        match self.is_polite() {
            true => 0,
            false => variation(self.seed, salt, 0x7E, end.saturating_sub(1)),
        }
    }

    /// A throw of the dice, below `end`.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.thrown += 1;
        variation(self.seed, self.thrown, 0x7E, end.saturating_sub(1))
    }

    /// Whether it happens this time, once in so many; never to a polite device.
    pub(crate) fn once_in(&mut self, times: u64) -> bool {
        !self.is_polite() && self.below(times) == 0
    }

    pub(crate) fn clock(&self) -> DeviceClock {
        match self.property(1, 4) {
            1 => DeviceClock::Wrong(37),
            2 => DeviceClock::Wrong(-3 * 24 * 60),
            3 => DeviceClock::Reset(60),
            _ => DeviceClock::Right,
        }
    }
}

impl DeviceClock {
    /// The device's own civil time, in milliseconds counted as if it were UTC.
    pub(crate) fn civil_ms(self, stage: StageClock, now: SimTime) -> i64 {
        let right = stage.civil_ms(now);
        match self {
            Self::Wrong(minutes) => right.saturating_add(minutes * 60_000),
            Self::Reset(second) if now >= SimTime(second * 1_000_000) => {
                let since = now.millis().saturating_sub(second * 1000);
                RESET_CIVIL_MS.saturating_add(i64::try_from(since).unwrap_or_default())
            }
            Self::Right | Self::Reset(_) => right,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_seeds_of_four_are_polite() {
        for seed in [0, 1, 4, 5] {
            let mut temper = Temper::new(seed);
            assert!((0..100).all(|_| !temper.once_in(1)) && temper.property(9, 100) == 0);
            assert_eq!(temper.clock(), DeviceClock::Right);
        }
        let mut rude = Temper::new(2);
        let happened = (0..1000).filter(|_| rude.once_in(4)).count();
        assert!((200..300).contains(&happened), "{happened}");
    }

    #[test]
    fn a_clock_that_was_reset_begins_in_2000() {
        let stage = StageClock { wall_start_ms: 1_795_335_300_000, utc_offset_s: 28_800 };
        let clock = DeviceClock::Reset(60);
        let right = stage.civil_ms(SimTime::from_millis(59_999));
        assert_eq!(clock.civil_ms(stage, SimTime::from_millis(59_999)), right);
        assert_eq!(clock.civil_ms(stage, SimTime::from_millis(61_000)), RESET_CIVIL_MS + 1000);
    }
}
