//! Where an ECG comes from: a dynamical model of the scenario's heart, or a recording.
//!
//! - [`model`]: the model of McSharry et al. 2003; [`rhythm`]: when the heart beats
//! - [`noise`]: electrodes that move, atria that fibrillate
//! - [`wfdb`]: a recording from files. The built-in one is the first minute of record 100 of the
//!   MIT-BIH Arrhythmia Database (see `ecg/README.md`)
//!
//! Not here: leads that are off, an amplifier at its rails: each device shows these in its own way.
//!
//! # Invariants
//! - a sample follows from source, seed, scenario and moment: devices of one patient measure one
//!   heart, whenever each of them was switched on
//! - the same bytes on every machine: basic arithmetic, square roots and the `libm` crate only
//! - III = II − I holds for the numbers a device sends, as do Goldberger's leads up to halves of
//!   one

mod model;
mod noise;
mod rhythm;
pub(crate) mod rounding;
mod tone;
pub mod wfdb;

use crate::{
    SimTime,
    patient::Patient,
    scenario::{Rhythm, Scenario},
};
use model::{Model, TICK_US};
use noise::Noise;
use rhythm::Heart;
use rounding::whole_i32;
use std::sync::{Arc, LazyLock};
use wfdb::Record;

/// Two leads, interleaved: MLII and V5.
static RECORDING: LazyLock<Arc<Record>> = LazyLock::new(|| {
    Arc::new(Record::of_bytes(include_bytes!("../ecg/mitdb-100.bin"), ["MLII", "V5"]))
});
/// What is left of a signal that is weak.
const WEAK: f64 = 0.2;
/// For play: a heart whose axis makes leads I and V such parts of lead II.
const LEAD_ONE: f64 = 0.4;
const LEAD_CHEST: f64 = 0.75;
/// No ECG has more: 10 mV.
const VOLTAGE_UV_MAX: i32 = 10_000;
/// Half of what a microsecond clock can count to: later moments are this one.
const AT_US_MAX: u64 = u64::MAX / 2;

/// Where an ECG comes from.
#[derive(Clone, Debug, PartialEq)]
pub enum EcgSource {
    /// A minute of record 100 of the MIT-BIH Arrhythmia Database, over and over.
    Recording,
    /// A recording of one's own, over and over.
    Record(Arc<Record>),
    /// The dynamical model, from the scenario and the seed.
    Synthetic,
}

/// One sample of the ECG.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Sample {
    /// Microvolts of leads I, II and V.
    measured: [i32; 3],
    /// Whether an R wave came since the sample before; a recording does not say.
    pub(crate) beat: bool,
}

impl Sample {
    /// I, II, III, aVR, aVL, aVF and V, in steps of so many microvolts.
    pub(crate) fn leads(&self, step_uv: i32) -> [i32; 7] {
        let step_uv = step_uv.max(1);
        let [one, two, chest] = self.measured.map(|uv| {
            let half = step_uv / 2 * uv.signum();
            (uv + half) / step_uv
        });
        let three = two - one;
        [one, two, three, -(one + two) / 2, (one - three) / 2, (two + three) / 2, chest]
    }
}

/// Plays the ECG of one patient.
#[derive(Debug)]
pub(crate) struct EcgPlayer {
    source: Source,
    noise: Noise,
    now: Option<Moment>,
}

#[derive(Debug)]
enum Source {
    Model(Box<Model>),
    Record(Arc<Record>, Leads),
}

/// Which signals of a record are leads I, II and V.
#[derive(Clone, Copy, Debug)]
struct Leads {
    one: Option<usize>,
    two: usize,
    chest: Option<usize>,
}

/// What the story says of a second.
#[derive(Clone, Copy, Debug)]
struct Moment {
    second: u64,
    rhythm: Rhythm,
    motion: bool,
    weak: bool,
}

impl EcgPlayer {
    pub(crate) fn new(patient: &Patient) -> Self {
        let (seed, story) = (patient.seed, |second| Heart::of(patient, second));
        let record = |record: &Arc<Record>| Source::Record(record.clone(), Leads::of(record));
        let source = match &patient.ecg {
            EcgSource::Recording => record(&RECORDING),
            EcgSource::Record(own) => record(own),
            EcgSource::Synthetic => Source::Model(Box::new(Model::new(seed, &story))),
        };
        Self { source, noise: Noise::new(seed), now: None }
    }

    /// The sample at that moment, as 500 a second are; ask in the order of time.
    pub(crate) fn sample(&mut self, at: SimTime, patient: &Patient) -> Sample {
        let tick = at.0.min(AT_US_MAX) / TICK_US;
        let at_us = tick * TICK_US;
        let now = self.moment(at_us / 1_000_000, patient);
        let (one, two, chest, beat) = match &mut self.source {
            Source::Model(model) => {
                let (millivolts, beat) = model.at(tick, &|second| Heart::of(patient, second));
                let atria = match now.rhythm {
                    Rhythm::AtrialFibrillation => self.noise.fibrillation_uv(at_us),
                    _ => 0.0,
                };
                (None, millivolts * 1e3 + atria, None, beat)
            }
            Source::Record(record, leads) => {
                let lead = |lead: Option<usize>| lead.and_then(|lead| record.at(lead, at_us));
                let two = lead(Some(leads.two)).unwrap_or_default();
                (lead(leads.one), two, lead(leads.chest), false)
            }
        };
        let clean = [one.unwrap_or(LEAD_ONE * two), two, chest.unwrap_or(LEAD_CHEST * two)];
        let gain = if now.weak { WEAK } else { 1.0 };
        let motion = if now.motion { self.noise.motion_uv(at_us) } else { [0.0; 3] };
        let [one, two, chest] = clean.map(|uv| uv * gain);
        let [on_one, on_two, on_chest] = motion;
        let measured = [one + on_one, two + on_two, chest + on_chest]
            .map(|uv| whole_i32(uv).clamp(-VOLTAGE_UV_MAX, VOLTAGE_UV_MAX));
        Sample { measured, beat }
    }

    fn moment(&mut self, elapsed_s: u64, patient: &Patient) -> Moment {
        if let Some(now) = self.now.filter(|now| now.second == elapsed_s) {
            return now;
        }
        let scenario = &patient.scenario;
        let second = scenario.second(elapsed_s);
        let now = Moment {
            second: elapsed_s,
            rhythm: Heart::of(patient, elapsed_s).rhythm,
            motion: Scenario::during(&scenario.motion, second),
            weak: Scenario::during(&scenario.weak_signal, second),
        };
        self.now = Some(now);
        now
    }
}

impl Leads {
    /// By their names; where none is called so, the first is II and the second a chest lead.
    fn of(record: &Record) -> Self {
        let two = record.find(|name| ["II", "MLII"].contains(&name));
        let one = record.find(|name| name == "I");
        let chest = record.find(|name| name.starts_with('V'));
        let two = two.unwrap_or(0);
        let second = Some(1).filter(|second| *second != two && Some(*second) != one);
        Self { one, two, chest: chest.or(second).filter(|chest| *chest != two) }
    }
}

#[cfg(test)]
mod tests;
