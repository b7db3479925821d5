//! Where an ECG comes from: a real recording, or a drawn beat at the scenario's heart rate.
//!
//! The recording is the first minute of record 100 of the MIT-BIH Arrhythmia Database, resampled
//! to 250 Hz at 40 counts per millivolt (see `ecg/README.md`). The drawn beat is the sum of five
//! Gaussians in phase (after McSharry et al. 2003), as a table of integers: the same bytes on
//! every machine.

use serde::{Deserialize, Serialize};

/// Counts that mean zero.
const BASELINE: i32 = 128;
/// Two leads, interleaved: MLII and V5.
const RECORDING: &[u8] = include_bytes!("../ecg/mitdb-100.bin");
/// One beat at 40 counts per millivolt, lead II.
const BEAT: [i8; 256] = [
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 2,
    2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 5, 5, 5, 4, 4, 4, 4, 4, 3, 3, 3, 2, 2, 2, 2, 1, 1,
    1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, -1, -1, -1, -2, -3, -3, -4, -4, -4, -3, -1, 3, 7, 12,
    19, 26, 33, 38, 42, 44, 42, 38, 32, 25, 17, 10, 4, -1, -4, -7, -8, -8, -7, -6, -5, -4, -3, -2,
    -1, -1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 3, 3, 3, 4, 4, 4, 5,
    5, 6, 6, 6, 7, 7, 8, 8, 9, 9, 10, 10, 10, 11, 11, 11, 11, 12, 12, 12, 12, 12, 12, 12, 12, 12,
    11, 11, 11, 11, 10, 10, 10, 9, 9, 8, 8, 7, 7, 7, 6, 6, 5, 5, 4, 4, 4, 3, 3, 3, 2, 2, 2, 2, 2,
    1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
];

/// Where an ECG comes from.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum EcgSource {
    /// Record 100 of the MIT-BIH Arrhythmia Database, over and over.
    Recording,
    /// A drawn beat.
    Synthetic,
}

/// Plays samples of seven leads: I, II, III, aVR, aVL, aVF, V.
#[derive(Debug)]
pub(crate) struct EcgPlayer {
    source: EcgSource,
    sample: usize,
    /// Phase of the drawn beat; the upper 8 of 24 bits are the place in the table.
    phase: u32,
}

impl EcgPlayer {
    pub(crate) fn new(source: EcgSource) -> Self {
        Self { source, sample: 0, phase: 0 }
    }

    /// The next sample at 250 Hz; whether a beat (R wave) lies on it.
    pub(crate) fn next(&mut self, hr: u8, leads_off: bool) -> ([u8; 7], bool) {
        let (two, chest, beat) = match self.source {
            EcgSource::Recording => {
                let place = (self.sample * 2) % RECORDING.len();
                let at = |place: usize| {
                    i32::from(RECORDING.get(place).copied().unwrap_or(128)) - BASELINE
                };
                (at(place), at(place + 1), false)
            }
            EcgSource::Synthetic => {
                let before = self.phase;
                // hr beats a minute, 15 000 samples a minute, 2^24 to a beat.
                self.phase = (self.phase + u32::from(hr) * 0x0100_0000 / 15_000) % 0x0100_0000;
                let place = usize::try_from(self.phase >> 16).unwrap_or_default();
                let two = i32::from(BEAT.get(place).copied().unwrap_or_default());
                (two, two * 3 / 4, before < 0x0080_0000 && self.phase >= 0x0080_0000)
            }
        };
        self.sample += 1;
        if leads_off {
            return ([128; 7], false);
        }
        // Lead I is drawn, for play: the identities of Einthoven and Goldberger hold.
        let one = two * 2 / 5;
        let three = two - one;
        let leads =
            [one, two, three, -(one + two) / 2, (one - three) / 2, (two + three) / 2, chest];
        (leads.map(|lead| u8::try_from((BASELINE + lead).clamp(0, 250)).unwrap_or(128)), beat)
    }
}
