//! What a device sees of its patient. Nothing else of this room asks the [`Setup`] for it.

use crate::{
    Scenario, Setup, SimTime,
    ecg::EcgPlayer,
    scenario::{Vitals, variation},
};

/// The dice of the beat, as the monitors throw them.
const BEAT: u64 = 1;
const BEAT_SPAN: u64 = 2;

/// What happens to the patient.
pub(super) fn scenario(setup: &Setup) -> &Scenario {
    &setup.scenario
}

/// Seconds since the start of the stage.
pub(super) fn elapsed_s(now: SimTime) -> u64 {
    now.0 / 1_000_000
}

/// Vital signs at that moment.
pub(super) fn vitals(setup: &Setup, now: SimTime) -> Vitals {
    let scenario = scenario(setup);
    scenario.vitals(scenario.second(elapsed_s(now)))
}

/// Beats per minute at that moment.
pub(super) fn heart_rate(setup: &Setup, now: SimTime) -> u8 {
    let rate = vitals(setup, now).hr;
    if rate == 0 {
        return 0;
    }
    let more = variation(setup.seed, elapsed_s(now), BEAT, BEAT_SPAN);
    rate.saturating_add(u8::try_from(more).unwrap_or_default())
}

/// Whether that moment lies in one of the spans of the story.
pub(super) fn during(setup: &Setup, spans: &[(u64, u64)], now: SimTime) -> bool {
    Scenario::during(spans, scenario(setup).second(elapsed_s(now)))
}

/// The patient's heart.
pub(super) fn ecg(setup: &Setup) -> EcgPlayer {
    EcgPlayer::new(&setup.ecg, setup.seed, scenario(setup))
}
