//! What happens to the patient: slow values and events, all integers, so that what is on the wire
//! is exact.
//!
//! - [`file`](self::file): how it is written, TOML with a timeline
//! - [`infusion`](self::infusion): what an infusion pump is programmed to

mod file;
mod infusion;

use crate::SimTime;
pub use file::ScenarioError;
pub use infusion::{Infusion, Step};
use serde::Deserialize;

/// What happens to a patient; it begins anew after `repeat_s`.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Scenario {
    /// What it tells.
    pub about: Text,
    /// Length of the story in seconds; above 0.
    pub repeat_s: u64,
    /// The second of the day at which it begins, in the story's own day.
    pub starts_at_s: u64,
    /// Values stay as they are told; else they change a little from minute to minute.
    pub is_exact: bool,
    /// What the patient's own course follows from.
    pub body: Body,
    /// Vital signs from a moment on; the first is at 0.
    pub vitals: Vec<Vitals>,
    /// ECG leads off, from and until (seconds).
    pub leads_off: Vec<(u64, u64)>,
    /// Oximeter probe off.
    pub probe_off: Vec<(u64, u64)>,
    /// ECG signal weak.
    pub weak_signal: Vec<(u64, u64)>,
    /// ECG amplifier at its rails.
    pub saturation: Vec<(u64, u64)>,
    /// Oximeter status other than normal or probe off, from and until: 2 no finger, 3 searching,
    /// 4 searching for too long.
    pub oximeter: Vec<(u64, u64, u8)>,
    /// Temperature probes off, from and until: 1 the first, 2 the second, 3 both.
    pub temperature_off: Vec<(u64, u64, u8)>,
    /// The heart's rhythm, from and until (seconds); elsewhere it is sinus rhythm.
    pub rhythm: Vec<(u64, u64, Rhythm)>,
    /// Premature ventricular beats: from, until, and how many a minute.
    pub ectopic_beats: Vec<(u64, u64, u8)>,
    /// The patient moves: noise of the electrodes on the ECG, from and until (seconds).
    pub motion: Vec<(u64, u64)>,
    /// Infusion line blocked.
    pub occlusion: Vec<(u64, u64)>,
    /// Arrhythmia code of the monitor, from and until.
    pub arrhythmia: Vec<(u64, u64, u8)>,
    /// Measurements at the kiosk.
    pub kiosk: Vec<Cuff>,
    /// Measurements at the kiosk that fail: when, and the number of its E-code.
    pub kiosk_failed: Vec<(u64, u8)>,
    /// Movements in the measurement at the kiosk that ends then.
    pub kiosk_moved: Vec<(u64, u16)>,
    /// Measurements with the monitor's own cuff.
    pub monitor_cuff: Vec<Cuff>,
    /// A bedside monitor refuses every association, from and until (seconds).
    pub monitor_busy: Vec<(u64, u64)>,
    /// Measurements with the monitor's own cuff that fail: when, and the state that says why.
    pub monitor_cuff_failed: Vec<(u64, u8)>,
    /// Glucose tests.
    pub glucose: Vec<Glucose>,
    /// A pump is taken away, from and until (seconds): the last one of a station, or the only one of
    /// a link.
    pub pump_away: Vec<(u64, u64)>,
    /// How a pump station is configured; without it, the seed decides.
    pub station: Option<Station>,
    /// What the first pump is programmed to; without it, the seed decides.
    pub infusion: Option<Infusion>,
    /// What is measured, and when; what it shows follows from the patient.
    pub measures: Vec<(u64, Measure)>,
    /// People who come to the kiosk.
    pub crowds: Vec<Crowd>,
    /// The cable is pulled, from and until (seconds); the device does not notice.
    pub unplugged: Vec<(u64, u64)>,
    /// The device is switched off.
    pub switched_off: Vec<(u64, u64)>,
}

/// A text for people.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Text {
    /// In Chinese.
    pub zh: String,
    /// In English.
    pub en: String,
}

/// What a patient's blood pressure and glucose follow from, beside what the story tells.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Body {
    /// How much lower the blood pressure is in the middle of the night, in percent.
    pub night_dip: u8,
    /// Fasting glucose in mg/dL.
    pub fasting: u16,
    /// Glucose goes back to it slowly.
    pub is_diabetic: bool,
    /// Meals: when, and grams of carbohydrate.
    pub meals: Vec<(u64, u16)>,
    /// Insulin under the skin: when, how many units, and which.
    pub insulin: Vec<(u64, u16, Insulin)>,
}

/// How fast insulin acts.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "snake_case")]
pub enum Insulin {
    /// Before a meal.
    Rapid,
    /// NPH, for the night.
    Intermediate,
}

/// Something that is measured of the patient.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "snake_case")]
pub enum Measure {
    /// Blood pressure at the kiosk.
    Kiosk,
    /// Blood pressure with the monitor's own cuff.
    MonitorCuff,
    /// Glucose with a meter.
    Glucose,
}

/// People who come to the kiosk, one after the other.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Crowd {
    /// When the first comes, and when all are done (seconds).
    pub span: (u64, u64),
    /// How many.
    pub people: u16,
    /// How many of them need a second try.
    pub failed: u16,
}

/// What the heart does.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
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
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
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
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
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
    /// Systolic and diastolic by day, in mmHg.
    pub pressure: [u8; 2],
}

impl Vitals {
    /// Nothing was told.
    pub(crate) const RESTING: Self = Self {
        at_s: 0,
        hr: 75,
        rr: 16,
        spo2: 98,
        temperature: [365, 371],
        st: 6,
        pressure: [122, 78],
    };
}

/// A cuff measurement in mmHg and beats per minute.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Cuff {
    /// Seconds at which it is finished.
    pub at_s: u64,
    /// Systolic, mean, diastolic.
    pub pressure: [u8; 3],
    /// Pulse.
    pub pulse: u8,
}

/// A glucose test.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Glucose {
    /// Seconds.
    pub at_s: u64,
    /// mg/dL; 0 for LO, 65535 for HI; above 600 a code that no meter has.
    pub mg_per_dl: u16,
}

impl Scenario {
    /// The scenarios that are shipped, each with its file.
    pub const SHIPPED: &[(&str, &str)] = &[
        ("steady", include_str!("../scenarios/steady.toml")),
        ("clinic-day", include_str!("../scenarios/clinic-day.toml")),
        ("faults", include_str!("../scenarios/faults.toml")),
        ("quiet-ward", include_str!("../scenarios/quiet-ward.toml")),
        ("busy-ward", include_str!("../scenarios/busy-ward.toml")),
        ("night-hypoglycaemia", include_str!("../scenarios/night-hypoglycaemia.toml")),
        ("occluded-vasopressor", include_str!("../scenarios/occluded-vasopressor.toml")),
        ("af-onset", include_str!("../scenarios/af-onset.toml")),
        ("deteriorating", include_str!("../scenarios/deteriorating.toml")),
        ("kiosk-morning", include_str!("../scenarios/kiosk-morning.toml")),
        ("link-failures", include_str!("../scenarios/link-failures.toml")),
    ];

    /// The shipped scenario of that name.
    #[must_use]
    pub fn built_in(name: &str) -> Option<Self> {
        let (_, text) = Self::SHIPPED.iter().find(|(shipped, _)| *shipped == name)?;
        Self::parse(text).ok()
    }

    /// Seconds into the story.
    #[must_use]
    pub fn second(&self, elapsed_s: u64) -> u64 {
        elapsed_s % self.repeat_s.max(1)
    }

    /// Vital signs at that second of the story.
    #[must_use]
    pub fn vitals(&self, second: u64) -> Vitals {
        let told = self.vitals.partition_point(|vitals| vitals.at_s <= second);
        let last = told.checked_sub(1).and_then(|place| self.vitals.get(place));
        last.copied().unwrap_or(Vitals::RESTING)
    }

    /// Whether that second lies in one of the spans.
    #[must_use]
    pub fn during(spans: &[(u64, u64)], second: u64) -> bool {
        spans.iter().any(|(from, until)| (*from..*until).contains(&second))
    }

    /// Whether the cable is out at that second.
    #[must_use]
    pub fn is_unplugged(&self, second: u64) -> bool {
        Self::during(&self.unplugged, second)
    }

    /// Whether the device is switched off at that second.
    #[must_use]
    pub fn is_switched_off(&self, second: u64) -> bool {
        Self::during(&self.switched_off, second)
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
    fn the_next_event_is_found_across_the_end_of_the_story() {
        let story = Scenario { repeat_s: 100, ..Scenario::built_in("steady").unwrap() };
        let next = |now_s: u64| story.next(&[10, 90], |at| *at, SimTime(now_s * 1_000_000));
        let at = |second: u64, event| Some((SimTime(second * 1_000_000), event));
        assert_eq!((next(0), next(10), next(90)), (at(10, 10), at(90, 90), at(110, 10)));
        assert_eq!(story.next(&[], |at| *at, SimTime(0)), None);
    }
}
