//! How rude a device is: as rude as its sheet allows, and that follows from the seed.
//!
//! Two seeds of four are polite: they answer at once, in one piece, with the right clock.

use crate::{ClockJump, SimTime, StageClock, scenario::variation};

/// Seeds that are polite, of four.
const POLITE: u64 = 2;
/// Where throws of the dice begin; below are properties.
const THROWN: u64 = 1 << 32;
/// 2000-01-01 00:00, where a clock begins after its battery was empty.
const RESET_CIVIL_MS: i64 = 946_684_800_000;
const MINUTE_MS: i64 = 60_000;

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
    /// Ahead by so many milliseconds.
    Ahead(i64),
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
            1 => DeviceClock::Ahead(37 * MINUTE_MS),
            2 => DeviceClock::Ahead(-3 * 24 * 60 * MINUTE_MS),
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
            Self::Ahead(ms) => right.saturating_add(ms),
            Self::Reset(second) if now >= SimTime(second * 1_000_000) => {
                let since = now.millis().saturating_sub(second * 1000);
                RESET_CIVIL_MS.saturating_add(i64::try_from(since).unwrap_or_default())
            }
            Self::Right | Self::Reset(_) => right,
        }
    }

    /// From `now` on it says another time.
    pub(crate) fn jump(&mut self, stage: StageClock, now: SimTime, jump: ClockJump) {
        let says = match jump {
            ClockJump::By { minutes } => {
                self.civil_ms(stage, now).saturating_add(minutes * MINUTE_MS)
            }
            ClockJump::To2000 => RESET_CIVIL_MS,
        };
        // No device knows an earlier year.
        *self = Self::Ahead(says.max(RESET_CIVIL_MS).saturating_sub(stage.civil_ms(now)));
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

    #[test]
    fn a_clock_that_jumps_goes_on_from_where_it_jumped_to() {
        let stage = StageClock { wall_start_ms: 1_795_335_300_000, utc_offset_s: 28_800 };
        let (at, later) = (SimTime::from_millis(5000), SimTime::from_millis(7000));
        let mut clock = DeviceClock::Right;
        clock.jump(stage, at, ClockJump::By { minutes: -30 });
        clock.jump(stage, at, ClockJump::By { minutes: 10 });
        assert_eq!(clock.civil_ms(stage, later), stage.civil_ms(later) - 20 * MINUTE_MS);
        clock.jump(stage, at, ClockJump::To2000);
        clock.jump(stage, at, ClockJump::By { minutes: -5 });
        assert_eq!(clock.civil_ms(stage, later), RESET_CIVIL_MS + 2000);
    }
}
