//! The waves: blocks of 256 ms with masks for invalid and paced samples, and what they say.
//!
//! # Invariants
//! - block `n` covers `n × 256 ms` to `(n + 1) × 256 ms` after the start; none overlaps another
//! - a block is what the samples are without the bits above the significant ones
//! - in the truth, a block in which a sensor comes off or on is two: one is signal, one is none

use super::{
    messages::{attribute, attributes, float, observation, words},
    moment::{Moment, Observation, Parts, Sensor, is_off, label},
    spec,
};
use crate::{Setup, SimTime, ecg::EcgPlayer, scenario::variation, truth::moment as rfc3339};

/// "Waves about every 256 ms", §7.4.
pub(super) const BLOCK_US: u64 = 256_000;
/// ECG samples of a block, 500 a second, in steps of 5 µV.
const ECG_SAMPLES: u16 = 128;
const ECG_PERIOD_US: u64 = 2_000;
const ECG_STEP_UV: i32 = 5;
/// "Zero at 0x2000", §8.
const ECG_ZERO: i32 = 0x2000;
/// Masks above the significant bits; the sheet names the attribute, not the bits.
const MASK_INVALID: u16 = 0x8000;
const MASK_PACER: u16 = 0x4000;
/// Fixed values of §6.9.
const FIXED_INVALID: u16 = 1;
const FIXED_PACER: u16 = 2;
/// A paced beat in one of so many blocks.
const PACED_EVERY: u64 = 16;

/// A wave object: §9.7 has the handle of lead II.
#[derive(Clone, Copy, Debug)]
struct Wave {
    handle: u16,
    physio: u16,
    metric: &'static str,
    samples: u16,
    significant_bits: u8,
    /// Ticks from sample to sample.
    period: u32,
    /// What raw 0 and the highest raw value are.
    range: [[u8; 4]; 2],
    /// Place among the seven leads of the ECG source.
    lead: Option<usize>,
}

fn ecg(handle: u16, physio: u16, metric: &'static str, lead: usize) -> Wave {
    Wave {
        handle,
        physio,
        metric,
        samples: ECG_SAMPLES,
        significant_bits: 14,
        period: 16,
        // "−40.96…+40.955 mV for 0…0x3FFF", §8.
        range: [float(-4096, -2), float(40_955, -3)],
        lead: Some(lead),
    }
}

/// Most wanted first, as long as the host has not said otherwise.
fn waves() -> [Wave; 5] {
    [
        ecg(0x0201, 0x0102, "ecg_wave_ii", 1),
        Wave {
            handle: 0x0204,
            physio: 0x4BB4,
            metric: "pleth",
            samples: 32,
            significant_bits: 12,
            period: 64,
            range: [float(0, 0), float(1, 0)],
            lead: None,
        },
        Wave {
            handle: 0x0205,
            physio: 0x5000,
            metric: "resp_wave",
            samples: 16,
            significant_bits: 12,
            period: 128,
            // "Resp −0.6…1.9 for 0…0x0FFF", §8.
            range: [float(-6, -1), float(19, -1)],
            lead: None,
        },
        ecg(0x0202, 0x0101, "ecg_wave_i", 0),
        ecg(0x0203, 0x0143, "ecg_wave_v", 6),
    ]
}

/// Plays the waves block by block.
#[derive(Debug)]
pub(super) struct Waves {
    player: EcgPlayer,
}

impl Waves {
    pub(super) fn new(setup: &Setup) -> Self {
        Self { player: EcgPlayer::new(&setup.patient) }
    }

    /// Every wave of the block that ends at the moment.
    pub(super) fn block(&mut self, moment: &Moment<'_>) -> Vec<Observation> {
        let number = (moment.at.0 / BLOCK_US).saturating_sub(1);
        let (leads, off) = self.play(moment, number);
        let paced = (variation(moment.setup.seed, number, 10, PACED_EVERY - 1) == 0)
            .then(|| variation(moment.setup.seed, number, 11, 127));
        let observe = |wave: Wave| {
            let raw: Vec<u16> = match wave.lead.and_then(|lead| leads.get(lead)) {
                Some(samples) => {
                    let marks = (0..).zip(samples.iter().zip(&off)).map(|(place, (raw, off))| {
                        let invalid = if *off { MASK_INVALID } else { 0 };
                        raw | invalid | if paced == Some(place) { MASK_PACER } else { 0 }
                    });
                    marks.collect()
                }
                None => wave.drawn(moment, number),
            };
            wave.observe(moment, &raw)
        };
        waves().into_iter().map(observe).collect()
    }

    /// The seven leads of a block at 500 Hz, and where they are off.
    fn play(&mut self, moment: &Moment<'_>, number: u64) -> ([Vec<u16>; 7], Vec<bool>) {
        let patient = &moment.setup.patient;
        let mut leads: [Vec<u16>; 7] = Default::default();
        let mut off = Vec::new();
        for place in 0..u64::from(ECG_SAMPLES) {
            let at = SimTime(number * BLOCK_US + place * ECG_PERIOD_US);
            let now_off = is_off(&patient.scenario, Sensor::Ecg, at.0 / 1_000_000);
            let sample = self.player.sample(at, patient).leads(ECG_STEP_UV);
            for (lead, steps) in leads.iter_mut().zip(sample) {
                lead.push(raw(if now_off { ECG_ZERO } else { ECG_ZERO + steps }));
            }
            off.push(now_off);
        }
        (leads, off)
    }
}

/// Every wave without its samples.
pub(super) fn describe() -> Vec<Observation> {
    waves().iter().map(|wave| wave.observation(wave.context(), Vec::new())).collect()
}

impl Wave {
    /// A drawn curve: an upstroke and a run-off for pleth, in and out for respiration.
    fn drawn(&self, moment: &Moment<'_>, number: u64) -> Vec<u16> {
        let sensor = match self.metric {
            "pleth" => Sensor::Oximeter,
            _ => Sensor::Respiration,
        };
        let period_us = u64::from(self.period) * spec::TICK_US;
        (0..u64::from(self.samples))
            .map(|place| {
                let at_us = number * BLOCK_US + place * period_us;
                let off = is_off(&moment.setup.patient.scenario, sensor, at_us / 1_000_000);
                let phase = match sensor {
                    Sensor::Oximeter => at_us / 8_000 % 100,
                    _ => at_us / 40_000 % 100,
                };
                let height = if phase < 25 { phase * 80 } else { (100 - phase) * 26 };
                let invalid = if off { MASK_INVALID } else { 0 };
                let sample = if off { 0 } else { 1000 + height };
                u16::try_from(sample).unwrap_or(u16::MAX) | invalid
            })
            .collect()
    }

    fn observe(&self, moment: &Moment<'_>, raw: &[u16]) -> Observation {
        let mut found = self.context();
        found.push(attribute(spec::SAMPLE_ARRAY, &sample_array(self.physio, raw)));
        let significant = (1_u16 << self.significant_bits) - 1;
        let alike = raw.chunk_by(|one, next| (one ^ next) & MASK_INVALID == 0);
        let facts = alike.map(|part| {
            let samples: Vec<i32> =
                part.iter().map(|sample| i32::from(sample & significant)).collect();
            let mut fact = moment.notes.block_fact(moment.at, self.metric, &samples);
            // When the last of them was measured: on the wire they are later.
            fact.device_time = Some(rfc3339(moment.setup.clock.wall_ms(moment.at)));
            fact
        });
        self.observation(found, facts.collect())
    }

    fn observation(&self, found: Vec<Vec<u8>>, facts: Vec<crate::Truth>) -> Observation {
        let bytes = observation(self.handle, &found);
        Observation { label: label(self.physio), bytes, facts }
    }

    fn context(&self) -> Vec<Vec<u8>> {
        let [lower, upper] = self.range;
        let highest = (1_u16 << self.significant_bits) - 1;
        let fixed = |id, mask| words(&[id, mask]);
        let masks = match self.lead {
            Some(_) => vec![fixed(FIXED_INVALID, MASK_INVALID), fixed(FIXED_PACER, MASK_PACER)],
            None => vec![fixed(FIXED_INVALID, MASK_INVALID)],
        };
        vec![
            attribute(spec::LABEL, &label(self.physio).to_be_bytes()),
            attribute(spec::SAMPLE_SPEC, &sample_spec(self.samples, self.significant_bits)),
            attribute(spec::SCALE_AND_RANGE, &scale(lower, upper, highest)),
            attribute(spec::FIXED_VALUES, &attributes(&masks)),
            attribute(spec::SAMPLE_PERIOD, &self.period.to_be_bytes()),
        ]
    }
}

/// "Array size u16, bits per sample u8, significant bits u8, flags u16": 16-bit samples, static
/// scale and extended value range as in §9.7.
fn sample_spec(size: u16, significant_bits: u8) -> Vec<u8> {
    const BITS: u8 = 16;
    const FLAGS: u16 = 0x3000;
    [words(&[size]), vec![BITS, significant_bits], words(&[FLAGS])].concat()
}

/// "Lower FLOAT, upper FLOAT, lower raw u16, upper raw u16", §6.9.
fn scale(lower: [u8; 4], upper: [u8; 4], highest: u16) -> Vec<u8> {
    [lower.as_slice(), &upper, &words(&[0, highest])].concat()
}

/// "Physio-id u16, state u16, byte length u16, samples", §6.9.
fn sample_array(physio: u16, raw: &[u16]) -> Vec<u8> {
    [words(&[physio, 0]), super::messages::sized(&words(raw))].concat()
}

fn raw(steps: i32) -> u16 {
    u16::try_from(steps.clamp(0, 0x3FFF)).unwrap_or_default()
}

/// "Honour what arrives: on serial only a few waves fit", §6.8: never more than this. Half the
/// monitors send three; all five fit too, on less than half of the wire.
pub(super) const fn at_once(seed: u64) -> usize {
    if (seed / 4).is_multiple_of(2) { 3 } else { 5 }
}

/// The parts of a wave that a poll result has: the values come with what they mean.
pub(super) fn observe(waves: &mut Waves, moment: &Moment<'_>, parts: Parts) -> Vec<Observation> {
    if parts.values() { waves.block(moment) } else { describe() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::serial::intellivue::messages::{Closing, NO_ABSOLUTE, Reply};

    #[test]
    fn a_wave_result_is_that_of_the_sheet() {
        // §9.7 has no label and no masks.
        let lead_two = observation(
            0x0201,
            &[
                attribute(spec::SAMPLE_SPEC, &sample_spec(4, 14)),
                attribute(
                    spec::SCALE_AND_RANGE,
                    &scale(float(-4096, -2), float(40_955, -3), 0x3FFF),
                ),
                attribute(spec::SAMPLE_PERIOD, &16_u32.to_be_bytes()),
                attribute(spec::SAMPLE_ARRAY, &sample_array(0x0102, &[8192, 8202, 8392, 8192])),
            ],
        );
        let reply = Reply {
            invoke: 2,
            number: 2,
            sequence: Some(3),
            ticks: 0x0007_7240,
            absolute: NO_ABSOLUTE,
            object: spec::WAVES,
            group: spec::GROUP_VALUES,
        };
        crate::serial::intellivue::tests::check(
            &reply.messages(&[lead_two], spec::MTU, Closing::Empty)[0],
            "C0 11 01 00 78 E1 00 00 02 00 02 00 70 00 02 00 07 00 6A 00 21 00 00 00 00 F1 3B 00 \
             60 00 02 00 03 00 07 72 40 FF FF FF FF FF FF FF FF 00 01 00 09 08 03 00 01 00 46 00 \
             00 00 01 00 40 02 01 00 05 00 3A 09 21 00 02 02 01 09 6D 00 06 00 04 10 0E 30 00 09 \
             6F 00 0C FE FF F0 00 FD 00 9F FB 00 00 3F FF 09 8D 00 04 00 00 00 10 09 6E 00 0E 01 \
             02 00 00 00 08 20 00 20 0A 20 C8 20 00 51 12 C1",
        );
    }
}
