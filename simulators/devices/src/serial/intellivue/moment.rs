//! What the monitor knows at one moment, and an observation it makes of it.

use super::{alarms, spec};
use crate::{
    Setup, SimTime, Truth,
    scenario::{Scenario, Vitals, variation},
    truth::Notebook,
};
use std::collections::BTreeSet;

/// A moment, and all that what is observed then follows from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment<'a> {
    pub(super) setup: &'a Setup,
    pub(super) notes: &'a Notebook,
    pub(super) at: SimTime,
    /// Sources of the technical alarms that the host was told to stand.
    pub(super) told: &'a BTreeSet<u16>,
}

/// One object of an answer.
#[derive(Clone, Debug)]
pub(super) struct Observation {
    pub(super) label: u32,
    pub(super) bytes: Vec<u8>,
    /// What it says.
    pub(super) facts: Vec<Truth>,
}

/// Which attributes of an object are asked for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Parts {
    Values,
    Context,
    All,
}

impl Parts {
    pub(super) fn values(self) -> bool {
        self != Self::Context
    }

    pub(super) fn context(self) -> bool {
        self != Self::Values
    }
}

/// What is fixed to the patient.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Sensor {
    /// ECG electrodes, seen by the ECG.
    Ecg,
    /// ECG electrodes, seen by impedance respiration.
    Respiration,
    Oximeter,
    /// A probe, a cuff: never off here.
    Other,
}

impl Moment<'_> {
    /// Seconds since the start.
    pub(super) fn elapsed_s(&self) -> u64 {
        self.at.0 / 1_000_000
    }

    pub(super) fn vitals(&self) -> Vitals {
        let patient = &self.setup.patient;
        patient.vitals(patient.scenario.second(self.elapsed_s()))
    }

    /// A small variation of this second.
    pub(super) fn vary(&self, salt: u64, span: u64) -> i32 {
        i32::try_from(variation(self.setup.seed, self.elapsed_s(), salt, span)).unwrap_or_default()
    }

    /// Whether the sensor has fallen off.
    pub(super) fn is_off(&self, sensor: Sensor) -> bool {
        is_off(&self.setup.patient.scenario, sensor, self.elapsed_s())
    }

    /// Why a value is invalid: "lead_off on ECG metrics, or sensor_off on others, while a matching
    /// technical alarm stands; else not_available". The alarm matches what hangs on its sensor.
    pub(super) fn reason(&self, sensor: Sensor) -> &'static str {
        let told = |source| self.told.contains(&source);
        match sensor {
            Sensor::Ecg if told(alarms::ECG) => "lead_off",
            Sensor::Respiration if told(alarms::RESPIRATION) => "sensor_off",
            Sensor::Oximeter if told(alarms::OXIMETER) => "sensor_off",
            _ => "not_available",
        }
    }
}

/// Whether a sensor is off that many seconds after the start.
pub(super) fn is_off(scenario: &Scenario, sensor: Sensor, elapsed_s: u64) -> bool {
    let second = scenario.second(elapsed_s);
    match sensor {
        Sensor::Ecg | Sensor::Respiration => Scenario::during(&scenario.leads_off, second),
        Sensor::Oximeter => Scenario::during(&scenario.probe_off, second),
        Sensor::Other => false,
    }
}

/// Physio id's own label, section *Our metrics*.
pub(super) fn label(physio: u16) -> u32 {
    spec::LABEL_BASE + u32::from(physio)
}
