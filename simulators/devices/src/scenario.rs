//! What happens to the patient: slow values and events, all integers, so that what is on the wire
//! is exact.

use crate::SimTime;
use serde::{Deserialize, Serialize};

/// What happens to a patient; it begins anew after `repeat_s`.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// Length of the story in seconds; above 0.
    pub repeat_s: u64,
    /// Vital signs from a moment on; the first is at 0.
    pub vitals: Vec<Vitals>,
    /// ECG leads off, from and until (seconds).
    #[serde(default)]
    pub leads_off: Vec<(u64, u64)>,
    /// Oximeter probe off.
    #[serde(default)]
    pub probe_off: Vec<(u64, u64)>,
    /// ECG signal weak.
    #[serde(default)]
    pub weak_signal: Vec<(u64, u64)>,
    /// ECG amplifier at its rails.
    #[serde(default)]
    pub saturation: Vec<(u64, u64)>,
    /// Oximeter status other than normal or probe off, from and until: 2 no finger, 3 searching,
    /// 4 searching for too long.
    #[serde(default)]
    pub oximeter: Vec<(u64, u64, u8)>,
    /// Temperature probes off, from and until: 1 the first, 2 the second, 3 both.
    #[serde(default)]
    pub temperature_off: Vec<(u64, u64, u8)>,
    /// The heart's rhythm, from and until (seconds); elsewhere it is sinus rhythm.
    #[serde(default)]
    pub rhythm: Vec<(u64, u64, Rhythm)>,
    /// Premature ventricular beats: from, until, and how many a minute.
    #[serde(default)]
    pub ectopic_beats: Vec<(u64, u64, u8)>,
    /// The patient moves: noise of the electrodes on the ECG, from and until (seconds).
    #[serde(default)]
    pub motion: Vec<(u64, u64)>,
    /// Infusion line blocked.
    #[serde(default)]
    pub occlusion: Vec<(u64, u64)>,
    /// Arrhythmia code of the monitor, from and until.
    #[serde(default)]
    pub arrhythmia: Vec<(u64, u64, u8)>,
    /// Measurements at the kiosk.
    #[serde(default)]
    pub kiosk: Vec<Cuff>,
    /// Measurements at the kiosk that fail: when, and the number of its E-code.
    #[serde(default)]
    pub kiosk_failed: Vec<(u64, u8)>,
    /// Movements in the measurement at the kiosk that ends then.
    #[serde(default)]
    pub kiosk_moved: Vec<(u64, u16)>,
    /// Measurements with the monitor's own cuff.
    #[serde(default)]
    pub monitor_cuff: Vec<Cuff>,
    /// A bedside monitor refuses every association, from and until (seconds).
    #[serde(default)]
    pub monitor_busy: Vec<(u64, u64)>,
    /// Measurements with the monitor's own cuff that fail: when, and the state that says why.
    #[serde(default)]
    pub monitor_cuff_failed: Vec<(u64, u8)>,
    /// Glucose tests.
    #[serde(default)]
    pub glucose: Vec<Glucose>,
    /// A pump is taken away, from and until (seconds): the last one of a station, or the only one of
    /// a link.
    #[serde(default)]
    pub pump_away: Vec<(u64, u64)>,
    /// How a pump station is configured; without it, the seed decides.
    #[serde(default)]
    pub station: Option<Station>,
}

/// What the heart does.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Rhythm {
    /// Every beat begins in the sinus node; its rate breathes.
    #[default]
    Sinus,
    /// No P waves, beats without order.
    AtrialFibrillation,
    /// Sinus rhythm in which a beat is missing now and then, for two seconds and more.
    SinusPauses,
    /// No beats.
    Asystole,
}

/// What is chosen on the web page of a pump station, and what stands in it.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Station {
    /// How many pumps stand in it, 0 to 3.
    pub pumps: u8,
    /// Alarms and states as bit fields instead of flags.
    #[serde(default)]
    pub bit_fields: bool,
    /// The letters d and D never appear on the wire.
    #[serde(default)]
    pub stuffing: bool,
    /// Seconds between two cycles that are pushed; without it, the station waits to be asked.
    #[serde(default)]
    pub cycle_s: Option<u64>,
}

/// Vital signs from a moment on.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Vitals {
    /// Seconds.
    pub at_s: u64,
    /// Beats per minute.
    pub hr: u8,
    /// Breaths per minute.
    pub rr: u8,
    /// Percent.
    pub spo2: u8,
    /// Tenths of a degree Celsius, two probes.
    pub temperature: [u16; 2],
    /// Hundredths of a millivolt.
    pub st: i8,
}

/// A cuff measurement in mmHg and beats per minute.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Cuff {
    /// Seconds at which it is finished.
    pub at_s: u64,
    /// Systolic, mean, diastolic.
    pub pressure: [u8; 3],
    /// Pulse.
    pub pulse: u8,
}

/// A glucose test.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Glucose {
    /// Seconds.
    pub at_s: u64,
    /// mg/dL; 0 for LO, 65535 for HI; above 600 a code that no meter has.
    pub mg_per_dl: u16,
}

impl Scenario {
    /// Names of the built-in scenarios and what they tell.
    pub const BUILT_IN: &[(&str, &str)] = &[
        ("steady", "nothing is wrong; a cuff and a glucose result now and then"),
        (
            "clinic-day",
            "three minutes: hypertension, hypoglycaemia, pump occlusion, leads off, bradycardia",
        ),
        (
            "faults",
            "three minutes: probes and leads off, weak and clipped ECG, asystole, failed cuffs, LO and HI",
        ),
    ];

    /// The built-in scenario of that name.
    #[must_use]
    pub fn built_in(name: &str) -> Option<Self> {
        match name {
            "steady" => Some(steady()),
            "clinic-day" => Some(clinic_day()),
            "faults" => Some(faults()),
            _ => None,
        }
    }

    /// Seconds into the story.
    #[must_use]
    pub fn second(&self, elapsed_s: u64) -> u64 {
        elapsed_s % self.repeat_s.max(1)
    }

    /// Vital signs at that second of the story.
    #[must_use]
    pub fn vitals(&self, second: u64) -> Vitals {
        const RESTING: Vitals =
            Vitals { at_s: 0, hr: 75, rr: 16, spo2: 98, temperature: [365, 371], st: 6 };
        self.vitals.iter().rfind(|vitals| vitals.at_s <= second).copied().unwrap_or(RESTING)
    }

    /// Whether that second lies in one of the spans.
    #[must_use]
    pub fn during(spans: &[(u64, u64)], second: u64) -> bool {
        spans.iter().any(|(from, until)| (*from..*until).contains(&second))
    }

    /// The first of these events that happens after `now`, and when.
    pub(crate) fn next<T: Copy>(
        &self,
        events: &[T],
        at_s: impl Fn(&T) -> u64,
        now: SimTime,
    ) -> Option<(SimTime, T)> {
        let repeat_s = self.repeat_s.max(1);
        let round = now.0 / 1_000_000 / repeat_s;
        let all = (round..round + 2)
            .flat_map(|round| events.iter().map(move |event| (round * repeat_s, *event)));
        all.map(|(begin_s, event)| (SimTime((begin_s + at_s(&event)) * 1_000_000), event))
            .filter(|(at, _)| *at > now)
            .min_by_key(|(at, _)| *at)
    }

    /// The heart's rhythm.
    #[must_use]
    pub fn rhythm(&self, second: u64) -> Rhythm {
        code(&self.rhythm, second).unwrap_or_default()
    }

    /// Premature ventricular beats a minute.
    #[must_use]
    pub fn ectopic_beats(&self, second: u64) -> u8 {
        code(&self.ectopic_beats, second).unwrap_or(0)
    }

    /// The monitor's arrhythmia code: 1 is normal.
    #[must_use]
    pub fn arrhythmia(&self, second: u64) -> u8 {
        code(&self.arrhythmia, second).unwrap_or(1)
    }

    /// The oximeter's status: 0 is normal, 1 probe off.
    #[must_use]
    pub fn oximeter(&self, second: u64) -> u8 {
        let probe_off = u8::from(Self::during(&self.probe_off, second));
        code(&self.oximeter, second).unwrap_or(probe_off)
    }

    /// The status of the temperature probes: 0 is normal.
    #[must_use]
    pub fn temperature_off(&self, second: u64) -> u8 {
        code(&self.temperature_off, second).unwrap_or(0)
    }
}

/// The code of the span in which that second lies.
fn code<T: Copy>(spans: &[(u64, u64, T)], second: u64) -> Option<T> {
    let span = spans.iter().find(|(from, until, _)| (*from..*until).contains(&second));
    span.map(|(_, _, code)| *code)
}

fn vitals(at_s: u64, hr: u8, rr: u8, spo2: u8) -> Vitals {
    Vitals { at_s, hr, rr, spo2, temperature: [365, 371], st: 6 }
}

fn steady() -> Scenario {
    Scenario {
        repeat_s: 600,
        vitals: vec![vitals(0, 72, 15, 98), vitals(120, 76, 16, 97), vitals(300, 70, 14, 98)],
        probe_off: vec![(200, 212)],
        kiosk: vec![
            Cuff { at_s: 15, pressure: [124, 96, 82], pulse: 72 },
            Cuff { at_s: 240, pressure: [128, 98, 84], pulse: 74 },
        ],
        monitor_cuff: vec![Cuff { at_s: 60, pressure: [121, 93, 80], pulse: 72 }],
        glucose: vec![Glucose { at_s: 10, mg_per_dl: 98 }, Glucose { at_s: 180, mg_per_dl: 126 }],
        ..Scenario::default()
    }
}

/// A clinic's story in three minutes.
fn clinic_day() -> Scenario {
    Scenario {
        repeat_s: 180,
        vitals: vec![
            vitals(0, 75, 16, 98),
            vitals(40, 82, 18, 97),
            vitals(110, 36, 12, 94),
            vitals(140, 68, 15, 97),
            vitals(160, 74, 16, 98),
        ],
        leads_off: vec![(90, 105)],
        occlusion: vec![(50, 80)],
        arrhythmia: vec![(110, 140, 0x0B)],
        kiosk: vec![
            Cuff { at_s: 20, pressure: [186, 137, 112], pulse: 84 },
            Cuff { at_s: 85, pressure: [188, 138, 113], pulse: 86 },
            Cuff { at_s: 165, pressure: [138, 103, 86], pulse: 74 },
        ],
        monitor_cuff: vec![Cuff { at_s: 70, pressure: [134, 101, 84], pulse: 80 }],
        glucose: vec![Glucose { at_s: 35, mg_per_dl: 50 }, Glucose { at_s: 150, mg_per_dl: 110 }],
        ..Scenario::default()
    }
}

/// Everything that can go wrong in three minutes.
fn faults() -> Scenario {
    let glucose = |at_s, mg_per_dl| Glucose { at_s, mg_per_dl };
    Scenario {
        repeat_s: 180,
        vitals: vec![
            vitals(0, 75, 16, 98),
            vitals(60, 0, 16, 97),
            vitals(72, 88, 20, 95),
            // The first probe lies on the bed.
            Vitals { temperature: [221, 371], ..vitals(100, 80, 18, 96) },
            vitals(120, 78, 17, 97),
        ],
        leads_off: vec![(20, 28)],
        weak_signal: vec![(32, 42)],
        saturation: vec![(80, 90)],
        probe_off: vec![(10, 18)],
        oximeter: vec![(20, 26, 2), (26, 32, 3), (32, 40, 4), (60, 72, 3)],
        temperature_off: vec![(130, 140, 1), (140, 150, 3)],
        occlusion: vec![(50, 80)],
        arrhythmia: vec![(60, 72, 0x02), (80, 90, 0x03), (90, 95, 0x08)],
        kiosk: vec![
            Cuff { at_s: 50, pressure: [142, 110, 94], pulse: 0 },
            Cuff { at_s: 130, pressure: [151, 116, 99], pulse: 71 },
        ],
        kiosk_failed: vec![(20, 43), (85, 44)],
        kiosk_moved: vec![(130, 2)],
        monitor_cuff: vec![Cuff { at_s: 140, pressure: [134, 101, 84], pulse: 80 }],
        monitor_cuff_failed: vec![(50, 4), (100, 7)],
        glucose: vec![glucose(15, 0), glucose(45, u16::MAX), glucose(75, 601), glucose(150, 110)],
        ..Scenario::default()
    }
}

/// A small seeded variation: the same for the same seed, second and salt.
pub(crate) fn variation(seed: u64, second: u64, salt: u64, span: u64) -> u64 {
    let mut mixed = seed ^ second.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ (salt << 48);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (mixed ^ (mixed >> 31)) % (span + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_before_is_still_a_scenario_and_a_station_may_be_configured() {
        let parse = |text: &str| serde_json::from_str::<Scenario>(text).map_err(|e| e.to_string());
        let before = parse(r#"{"repeat_s":60,"vitals":[],"occlusion":[[5,9]]}"#).unwrap();
        assert_eq!((before.pump_away, before.station), (vec![], None));
        let text = r#"{"repeat_s":60,"vitals":[],"pump_away":[[10,20]],
            "station":{"pumps":2,"bit_fields":true}}"#;
        let station = parse(text).unwrap().station.unwrap();
        let expected = Station { pumps: 2, bit_fields: true, stuffing: false, cycle_s: None };
        assert_eq!(station, expected);
        assert!(parse(r#"{"repeat_s":60,"vitals":[],"pump_gone":[]}"#).is_err());
    }

    #[test]
    fn the_next_event_is_found_across_the_end_of_the_story() {
        let story = Scenario { repeat_s: 100, ..Scenario::built_in("steady").unwrap() };
        let next = |now_s: u64| story.next(&[10, 90], |at| *at, SimTime(now_s * 1_000_000));
        let at = |second: u64, event| Some((SimTime(second * 1_000_000), event));
        assert_eq!((next(0), next(10), next(90)), (at(10, 10), at(90, 90), at(110, 10)));
        assert_eq!(story.next(&[], |at| *at, SimTime(0)), None);
    }
}
