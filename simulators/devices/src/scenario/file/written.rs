//! The fields of a scenario file, as they stand there.

use super::{
    course::Changes,
    values::{Hundredths, Time, TimeOfDay},
};
use crate::scenario::{Insulin, Measure, Rhythm, Station, Text, Vitals};
use serde::Deserialize;
use toml::Spanned;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Written {
    pub(super) about: Text,
    pub(super) length: Spanned<Time>,
    #[serde(default)]
    pub(super) starts_at: TimeOfDay,
    #[serde(default)]
    pub(super) exact: bool,
    pub(super) patient: Option<Spanned<Base>>,
    pub(super) station: Option<Spanned<Station>>,
    pub(super) infusion: Option<Spanned<Programme>>,
    #[serde(default)]
    pub(super) event: Vec<Spanned<Event>>,
    #[serde(default)]
    pub(super) crowd: Vec<Spanned<People>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Base {
    pub(super) hr: u8,
    pub(super) rr: u8,
    pub(super) spo2: u8,
    pub(super) temperature: [Hundredths; 2],
    pub(super) st: Hundredths,
    pub(super) pressure: [u8; 2],
    pub(super) night_dip: u8,
    pub(super) glucose: u16,
    pub(super) diabetic: bool,
}

impl Default for Base {
    fn default() -> Self {
        let resting = Vitals::RESTING;
        Self {
            hr: resting.hr,
            rr: resting.rr,
            spo2: resting.spo2,
            temperature: resting.temperature.map(|tenths| Hundredths(i64::from(tenths) * 10)),
            st: Hundredths(i64::from(resting.st)),
            pressure: resting.pressure,
            night_dip: 13,
            glucose: 95,
            diabetic: false,
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Programme {
    pub(super) drug: Text,
    pub(super) syringe: Hundredths,
    pub(super) rate: Hundredths,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct People {
    pub(super) from: Time,
    pub(super) until: Time,
    pub(super) people: u16,
    #[serde(default)]
    pub(super) failed: u16,
}

/// One of the first block, with what belongs to it of the second.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Event {
    pub(super) at: Time,
    pub(super) set: Option<Changes>,
    pub(super) what: Option<Happening>,
    pub(super) rhythm: Option<Rhythm>,
    pub(super) measure: Option<Measure>,
    pub(super) meal: Option<u16>,
    pub(super) insulin: Option<Dose>,
    pub(super) pump: Option<Pump>,

    pub(super) over: Option<Time>,
    pub(super) lasts: Option<Time>,
    pub(super) code: Option<u8>,
    pub(super) pressure: Option<[u8; 3]>,
    pub(super) pulse: Option<u8>,
    pub(super) moved: Option<u16>,
    pub(super) failed: Option<u8>,
    pub(super) mg_per_dl: Option<u16>,
    pub(super) reads: Option<Limit>,
}

/// What happens for a while.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "snake_case")]
pub(super) enum Happening {
    LeadsOff,
    ProbeOff,
    WeakSignal,
    Saturation,
    Motion,
    Oximeter,
    TemperatureOff,
    Arrhythmia,
    EctopicBeats,
    Occlusion,
    PumpAway,
    MonitorBusy,
    Unplugged,
    Off,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Dose {
    pub(super) units: u16,
    pub(super) kind: Insulin,
}

/// What somebody changes at the pump: one of these.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Pump {
    pub(super) rate: Option<Hundredths>,
    pub(super) bolus: Option<Hundredths>,
    pub(super) syringe: Option<Hundredths>,
}

#[derive(Clone, Copy, Deserialize)]
pub(super) enum Limit {
    #[serde(rename = "LO")]
    Lo,
    #[serde(rename = "HI")]
    Hi,
}

impl Event {
    /// An event says one thing, and nothing that belongs to another.
    pub(super) fn has_one_action(&self) -> Result<(), String> {
        let actions: [(&str, bool, &[&str]); 7] = [
            ("set", self.set.is_some(), &["over"]),
            ("what", self.what.is_some(), &["lasts", "code"]),
            ("rhythm", self.rhythm.is_some(), &["lasts"]),
            (
                "measure",
                self.measure.is_some(),
                &["pressure", "pulse", "moved", "failed", "mg_per_dl", "reads"],
            ),
            ("meal", self.meal.is_some(), &[]),
            ("insulin", self.insulin.is_some(), &[]),
            ("pump", self.pump.is_some(), &["over"]),
        ];
        let mut told = actions.iter().filter(|(_, is_told, _)| *is_told);
        let (Some((action, _, own)), None) = (told.next(), told.next()) else {
            let all = actions.map(|(name, ..)| name).join(", ");
            return Err(format!("an event has exactly one of {all}"));
        };
        let details = [
            ("over", self.over.is_some()),
            ("lasts", self.lasts.is_some()),
            ("code", self.code.is_some()),
            ("pressure", self.pressure.is_some()),
            ("pulse", self.pulse.is_some()),
            ("moved", self.moved.is_some()),
            ("failed", self.failed.is_some()),
            ("mg_per_dl", self.mg_per_dl.is_some()),
            ("reads", self.reads.is_some()),
        ];
        let stray = details.iter().find(|(name, is_told)| *is_told && !own.contains(name));
        stray.map_or(Ok(()), |(name, _)| Err(format!("{name} does not belong to {action}")))
    }
}
