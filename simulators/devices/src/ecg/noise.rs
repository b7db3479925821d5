//! What is on an ECG beside the ventricles: electrodes that move, atria that fibrillate.
//!
//! # Invariants
//! - what moves is an electrode, so that leads still add up
//! - no electrode is off by more than three sines and the muscles under it: 0.42 mV

use super::tone::{Tone, chance};

/// Movement of an electrode on the skin: 0.3 to 6 Hz, three sines of so many microvolts.
const WANDER_UHZ: [u64; 2] = [300_000, 6_000_000];
const WANDER_UV: f64 = 120.0;
/// Muscles under it: another value each tick, up to so many microvolts.
const MUSCLE_UV: f64 = 60.0;

/// Fibrillatory waves: 4 to 9 Hz (Bollmann et al. 2006, Europace 8:911–926), three sines of so many
/// microvolts in lead II.
const FIBRILLATION_UHZ: [u64; 2] = [4_000_000, 9_000_000];
const FIBRILLATION_UV: f64 = 25.0;

const SALT_WANDER: u64 = 70;
const SALT_MUSCLE: u64 = 90;
const SALT_FIBRILLATION: u64 = 95;

/// Noise of one patient.
#[derive(Debug)]
pub(super) struct Noise {
    seed: u64,
    /// Right arm, left arm, left leg, chest.
    electrodes: [[Tone; 3]; 4],
    atria: [Tone; 3],
}

impl Noise {
    pub(super) fn new(seed: u64) -> Self {
        let tones = |salt: u64, [lowest, highest]: [u64; 2]| {
            [0, 1, 2].map(|tone| Tone::between(seed, salt + tone, lowest, highest))
        };
        Self {
            seed,
            electrodes: [0, 3, 6, 9].map(|salt| tones(SALT_WANDER + salt, WANDER_UHZ)),
            atria: tones(SALT_FIBRILLATION, FIBRILLATION_UHZ),
        }
    }

    /// Microvolts that motion adds to leads I, II and V.
    pub(super) fn motion_uv(&self, at_us: u64) -> [f64; 3] {
        let mut salt = SALT_MUSCLE;
        let [right, left, leg, chest] = self.electrodes.each_ref().map(|tones| {
            salt += 1;
            let wander: f64 = tones.iter().map(|tone| tone.sine(at_us)).sum();
            let muscle = 2.0 * chance(self.seed, at_us, salt) - 1.0;
            WANDER_UV * wander + MUSCLE_UV * muscle
        });
        // Chest leads are against Wilson's mean of the limbs.
        [left - right, leg - right, chest - (right + left + leg) / 3.0]
    }

    /// Microvolts of fibrillating atria in lead II.
    pub(super) fn fibrillation_uv(&self, at_us: u64) -> f64 {
        FIBRILLATION_UV * self.atria.iter().map(|tone| tone.sine(at_us)).sum::<f64>()
    }
}
