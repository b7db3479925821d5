//! Sums of slow sines, and chance: functions of the seed and the moment, with no memory.
//!
//! # Invariants
//! - the same seed and the same moment give the same value, in whatever order they are asked for
//! - sine is that of the `libm` crate: the platform's own differs from machine to machine

use crate::scenario::variation;

/// 2^32, and what one unit of the upper 32 bits of a phase is in turns.
const TURN: f64 = 4_294_967_296.0;

/// A sine without its amplitude.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tone {
    /// Turns a microsecond, in units of 2^-64.
    step: u64,
    /// Turns at the start, in the same units.
    phase: u64,
}

impl Tone {
    /// A tone between two frequencies in microhertz, chosen by the seed.
    pub(super) fn between(seed: u64, salt: u64, lowest_uhz: u64, highest_uhz: u64) -> Self {
        let span = highest_uhz.saturating_sub(lowest_uhz);
        let step = steps(lowest_uhz + variation(seed, 0, salt, span));
        Self { step, phase: variation(seed, 1, salt, u64::from(u32::MAX)) << 32 }
    }

    /// The same tone, so much lower; a negative frequency turns backwards.
    pub(super) fn lowered(self, by_uhz: u64) -> Self {
        Self { step: self.step.wrapping_sub(steps(by_uhz)), ..self }
    }

    /// How far it has turned, 0 to 1.
    pub(super) fn turns(&self, at_us: u64) -> f64 {
        let phase = self.phase.wrapping_add(self.step.wrapping_mul(at_us));
        f64::from(u32::try_from(phase >> 32).unwrap_or_default()) / TURN
    }

    /// Its sine.
    pub(super) fn sine(&self, at_us: u64) -> f64 {
        sine(self.turns(at_us))
    }
}

/// The sine of so many turns.
pub(super) fn sine(turns: f64) -> f64 {
    libm::sin(std::f64::consts::TAU * turns)
}

/// By chance, from 0 up to but without 1.
pub(super) fn chance(seed: u64, count: u64, salt: u64) -> f64 {
    let drawn = variation(seed, count, salt, u64::from(u32::MAX));
    f64::from(u32::try_from(drawn).unwrap_or_default()) / TURN
}

fn steps(uhz: u64) -> u64 {
    // Microhertz and microseconds: 10^12 of their product are a turn.
    u64::try_from((u128::from(uhz) << 64) / 1_000_000_000_000).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tone_turns_as_often_as_its_frequency_says() {
        let start = |tone: &Tone| tone.turns(0);
        let tone = Tone::between(3, 1, 250_000, 250_000);
        // After 4 s once around, after a day 21 600 times.
        for at_us in [4_000_000, 86_400_000_000] {
            assert!((tone.turns(at_us) - start(&tone)).abs() < 1e-5);
        }
        let still = tone.lowered(250_000);
        assert!((still.turns(1_234_567_890) - start(&tone)).abs() < 1e-5);
        let back = tone.lowered(500_000);
        let (forth, back) = (tone.turns(1_000_000), back.turns(1_000_000));
        assert!(((forth - back).abs() - 0.5).abs() < 1e-5, "{forth} {back}");
    }
}
