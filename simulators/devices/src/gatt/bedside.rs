//! What a device sees of its patient. Nothing else of this room asks the [`Setup`] for it.

use crate::{Patient, Scenario, Setup, SimTime, ecg::EcgPlayer, scenario::Vitals};

/// Whom a device measures.
pub(super) fn patient(setup: &Setup) -> &Patient {
    &setup.patient
}

/// What happens to the patient.
pub(super) fn scenario(setup: &Setup) -> &Scenario {
    &setup.patient.scenario
}

/// Seconds since the start of the stage.
pub(super) fn elapsed_s(now: SimTime) -> u64 {
    now.0 / 1_000_000
}

/// Vital signs at that moment.
pub(super) fn vitals(setup: &Setup, now: SimTime) -> Vitals {
    setup.patient.vitals(scenario(setup).second(elapsed_s(now)))
}

/// Beats per minute at that moment.
pub(super) fn heart_rate(setup: &Setup, now: SimTime) -> u8 {
    setup.patient.heart_rate(elapsed_s(now))
}

/// Whether that moment lies in one of the spans of the story.
pub(super) fn during(setup: &Setup, spans: &[(u64, u64)], now: SimTime) -> bool {
    Scenario::during(spans, scenario(setup).second(elapsed_s(now)))
}

/// The patient's heart.
pub(super) fn ecg(setup: &Setup) -> EcgPlayer {
    EcgPlayer::new(&setup.patient)
}
