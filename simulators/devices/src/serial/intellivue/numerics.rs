//! The numerics: values, states and units of a moment, and what they say.
//!
//! Not here: when they are sent; that a cuff result which is repeated is one measurement.

use super::{
    alarms,
    messages::{absolute, attribute, float, list, observation, string, words},
    moment::{Moment, Observation, Parts, Sensor, label},
    spec,
};
use crate::{Truth, scenario::Cuff, truth::moment as rfc3339};
use std::fmt;

/// Units, §6.9, with their UCUM names.
const PERCENT: (u16, &str) = (0x0220, "%");
const BEATS: (u16, &str) = (0x0AA0, "/min");
const BREATHS: (u16, &str) = (0x0AE0, "/min");
const MMHG: (u16, &str) = (0x0F20, "mm[Hg]");
const MILLIVOLT: (u16, &str) = (0x10B2, "mV");
const CELSIUS: (u16, &str) = (0x17A0, "Cel");
const DIMENSIONLESS: (u16, &str) = (0x0200, "1");

/// A numeric object of the monitor: handles of §9.6 first, then our own.
struct Object {
    handle: u16,
    physio: u16,
    unit: (u16, &'static str),
    sensor: Sensor,
    /// None: an object that the catalogue does not know.
    metric: Option<&'static str>,
    /// Label and label string, where they are not those of the physio id.
    own_name: Option<(u32, &'static str)>,
}

const fn object(
    handle: u16,
    physio: u16,
    unit: (u16, &'static str),
    sensor: Sensor,
    metric: &'static str,
) -> Object {
    Object { handle, physio, unit, sensor, metric: Some(metric), own_name: None }
}

const HR: Object = object(0x0101, 0x4182, BEATS, Sensor::Ecg, "hr");
const SPO2: Object = object(0x0102, 0x4BB8, PERCENT, Sensor::Oximeter, "spo2");
/// Compound of systolic, diastolic and mean.
const NIBP: u16 = 0x4A04;
const NIBP_HANDLE: u16 = 0x0103;
const NIBP_SYS: Object = object(NIBP_HANDLE, 0x4A05, MMHG, Sensor::Other, "nibp_sys");
const NIBP_DIA: Object = object(NIBP_HANDLE, 0x4A06, MMHG, Sensor::Other, "nibp_dia");
const NIBP_MEAN: Object = object(NIBP_HANDLE, 0x4A07, MMHG, Sensor::Other, "nibp_mean");
const PULSE: Object = object(0x0104, 0x4822, BEATS, Sensor::Oximeter, "pulse_oxim");
const PERFUSION: Object = object(0x0105, 0x4BB0, PERCENT, Sensor::Oximeter, "perf_index");
const RESPIRATION: Object = object(0x0106, 0x500A, BREATHS, Sensor::Respiration, "rr");
const TEMPERATURE: Object = object(0x0107, 0x4B48, CELSIUS, Sensor::Other, "temp");
/// A second probe has a label of its own; the code is a placeholder, the sheet names none.
const TEMPERATURE_2: Object = Object {
    handle: 0x0108,
    own_name: Some((0x0002_FFF2, "T2")),
    ..object(0, 0x4B48, CELSIUS, Sensor::Other, "temp")
};
const ST_II: Object = object(0x0109, 0x0302, MILLIVOLT, Sensor::Ecg, "st_ii");
const PVC: Object = object(0x010A, 0x4261, DIMENSIONLESS, Sensor::Ecg, "pvc_count");
const CUFF_PULSE: Object = object(0x010B, 0xF0E5, BEATS, Sensor::Other, "pulse_nibp");
/// "Unknown physio ids must be skipped by length", §10: the code is a placeholder.
const UNKNOWN: Object =
    Object { metric: None, ..object(0x010C, 0xFFF1, DIMENSIONLESS, Sensor::Other, "") };

/// The second probe warms up for so long.
const CALIBRATING_S: u64 = 5;

/// Every numeric of the moment.
pub(super) fn observe(moment: &Moment<'_>, parts: Parts) -> Vec<Observation> {
    let vitals = moment.vitals();
    let hr = i32::from(moment.setup.patient.heart_rate(moment.elapsed_s()));
    let [probe_1, probe_2] = vitals.temperature.map(|tenths| Number::tenths(i32::from(tenths)));
    // Once in a while the monitor doubts a value itself.
    let now_and_then = |salt, state| if moment.vary(salt, 15) == 0 { state } else { 0 };
    let in_alarm = match alarms::hr_in_alarm(moment) {
        true => spec::IN_ALARM,
        false => 0,
    };
    let warming_up = match moment.elapsed_s() {
        0..CALIBRATING_S => spec::CALIBRATING,
        _ => 0,
    };
    let saturation = Number::tenths(i32::from(vitals.spo2) * 10 - moment.vary(2, 4));
    let values = [
        (HR, Number::whole(hr), in_alarm),
        (SPO2, saturation, now_and_then(3, spec::QUESTIONABLE)),
        (PULSE, Number::whole(i32::from(vitals.hr) + moment.vary(4, 1)), 0),
        (PERFUSION, Number::hundredths(150 + moment.vary(5, 80)), 0),
        (RESPIRATION, Number::whole(i32::from(vitals.rr)), now_and_then(6, spec::EARLY)),
        (TEMPERATURE, probe_1, 0),
        (TEMPERATURE_2, probe_2, warming_up),
        (ST_II, Number::hundredths(i32::from(vitals.st)), 0),
        (PVC, Number::whole(moment.vary(7, 3)), 0),
        (UNKNOWN, Number::whole(moment.vary(8, 9)), 0),
    ];
    let mut observed: Vec<Observation> = values
        .iter()
        .map(|(object, number, state)| object.observe(moment, parts, *number, *state))
        .collect();
    // Behind HR and SpO2, as in §9.6.
    observed.splice(2..2, cuff(moment, parts));
    observed
}

impl Object {
    fn observe(
        &self,
        moment: &Moment<'_>,
        parts: Parts,
        number: Number,
        state: u16,
    ) -> Observation {
        let state = if moment.is_off(self.sensor) { spec::INVALID } else { state };
        let mut found = self.context(parts);
        let mut facts = Vec::new();
        if parts.values() {
            found.push(attribute(spec::NUMERIC, &self.value(number, state)));
            facts.extend(self.fact(moment, number, state));
        }
        self.observation(&found, facts)
    }

    fn observation(&self, found: &[Vec<u8>], facts: Vec<Truth>) -> Observation {
        Observation { label: self.label(), bytes: observation(self.handle, found), facts }
    }

    fn label(&self) -> u32 {
        self.own_name.map_or(label(self.physio), |(label, _)| label)
    }

    fn context(&self, parts: Parts) -> Vec<Vec<u8>> {
        let mut found = vec![attribute(spec::LABEL, &self.label().to_be_bytes())];
        if let Some((_, name)) = self.own_name {
            found.push(attribute(spec::LABEL_STRING, &string(name)));
        }
        if parts.context() {
            let kind = words(&[spec::OBJECTS, spec::NUMERICS]);
            found.push(attribute(spec::OBJECT_TYPE, &kind));
        }
        found
    }

    /// "Physio-id u16, state u16, unit u16, FLOAT", §6.9.
    fn value(&self, number: Number, state: u16) -> Vec<u8> {
        let number = match state & (spec::INVALID | spec::UNAVAILABLE) {
            0 => float(number.mantissa, number.exponent),
            _ => float(spec::NAN, 0),
        };
        [words(&[self.physio, state, self.unit.0]), number.to_vec()].concat()
    }

    /// What the value says, by the second table of *Our metrics*, at the time of its answer: "pair
    /// (0x0987, 0x098F) gives the offset to convert every later RelativeTime to wall-clock", §6.4.
    /// The relative time counts 125 µs, so that the time is known to the millisecond.
    fn fact(&self, moment: &Moment<'_>, number: Number, state: u16) -> Option<Truth> {
        let mut fact = moment.notes.fact(moment.at);
        fact.metric = Some(self.metric?);
        fact.channel = self.own_name.map(|(_, name)| name).unwrap_or_default();
        fact.device_time = Some(rfc3339(moment.setup.clock.wall_ms(moment.at)));
        if state & spec::CALIBRATING != 0 {
            fact.no_data = Some("calibrating");
        } else if state & (spec::INVALID | spec::UNAVAILABLE) != 0 {
            fact.no_data = Some(moment.reason(self.sensor));
        } else if number.mantissa == 0 && ["hr", "rr"].contains(&self.metric?) {
            // The catalogue: 0 is a rate only with an asystole or apnoea alarm; the sheet names no
            // code of either, so that this monitor has none.
            fact.no_data = Some(moment.reason(self.sensor));
        } else {
            (fact.value, fact.unit) = (Some(number.to_string()), Some(self.unit.1));
        }
        Some(fact)
    }
}

/// Whether a metric is a measurement with a time stamp of its own, which is repeated.
pub(super) fn is_repeated(metric: &str) -> bool {
    let spots = [NIBP_SYS, NIBP_DIA, NIBP_MEAN, CUFF_PULSE];
    spots.iter().any(|object| object.metric == Some(metric))
}

/// The last result of the cuff, repeated with its time stamp, and its pulse.
fn cuff(moment: &Moment<'_>, parts: Parts) -> Vec<Observation> {
    let Some((finished_s, cuff)) = last_cuff(moment) else { return Vec::new() };
    let at = crate::SimTime(finished_s * 1_000_000);
    let civil_ms = moment.setup.clock.civil_ms(at).div_euclid(1000) * 1000;
    let device_time = rfc3339(civil_ms - i64::from(moment.setup.clock.utc_offset_s) * 1000);
    let stamp = attribute(spec::TIME_STAMP, &absolute(civil_ms));
    // Some inflations give no mean.
    let no_mean = crate::scenario::variation(moment.setup.seed, finished_s, 9, 3) == 0;
    let mean_state = if no_mean { spec::UNAVAILABLE } else { 0 };
    let [systolic, mean, diastolic] = cuff.pressure.map(|mmhg| Number::whole(i32::from(mmhg)));
    let group = [(NIBP_SYS, systolic, 0), (NIBP_DIA, diastolic, 0), (NIBP_MEAN, mean, mean_state)];
    let said = |object: &Object, number, state| {
        let mut fact = object.fact(moment, number, state);
        if let Some(fact) = &mut fact {
            fact.device_time = Some(device_time.clone());
        }
        fact
    };
    let (mut compound, mut pulse) = (Vec::new(), CUFF_PULSE.context(parts));
    let (mut pressures, mut beats) = (Vec::new(), Vec::new());
    if parts.values() {
        let number = Number::whole(i32::from(cuff.pulse));
        let values: Vec<Vec<u8>> =
            group.iter().map(|(object, number, state)| object.value(*number, *state)).collect();
        compound.extend([attribute(spec::COMPOUND_NUMERIC, &list(&values)), stamp.clone()]);
        pulse.extend([attribute(spec::NUMERIC, &CUFF_PULSE.value(number, 0)), stamp]);
        pressures.extend(
            group.iter().filter_map(|(object, number, state)| said(object, *number, *state)),
        );
        beats.extend(said(&CUFF_PULSE, number, 0));
    }
    vec![
        Observation {
            label: label(NIBP),
            bytes: observation(NIBP_HANDLE, &compound),
            facts: pressures,
        },
        CUFF_PULSE.observation(&pulse, beats),
    ]
}

/// The newest finished measurement, and when it was finished.
fn last_cuff(moment: &Moment<'_>) -> Option<(u64, Cuff)> {
    let scenario = &moment.setup.patient.scenario;
    let now = moment.elapsed_s();
    let repeat = scenario.repeat_s.max(1);
    let round = now / repeat;
    let finished = (round.saturating_sub(1)..=round).flat_map(|round| {
        scenario.monitor_cuff.iter().map(move |cuff| (round * repeat + cuff.at_s, *cuff))
    });
    finished.filter(|(at, _)| *at <= now).max_by_key(|(at, _)| *at)
}

/// A number as it is sent: mantissa and exponent.
#[derive(Clone, Copy, Debug)]
struct Number {
    mantissa: i32,
    exponent: i8,
}

impl Number {
    fn whole(mantissa: i32) -> Self {
        Self { mantissa, exponent: 0 }
    }

    fn tenths(mantissa: i32) -> Self {
        Self { mantissa, exponent: -1 }
    }

    fn hundredths(mantissa: i32) -> Self {
        Self { mantissa, exponent: -2 }
    }
}

impl fmt::Display for Number {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let decimals = usize::from(self.exponent.unsigned_abs());
        let one = 10_u32.pow(u32::from(self.exponent.unsigned_abs()));
        let (sign, digits) =
            (if self.mantissa < 0 { "-" } else { "" }, self.mantissa.unsigned_abs());
        match decimals {
            0 => write!(out, "{sign}{digits}"),
            _ => write!(out, "{sign}{}.{:0decimals$}", digits / one, digits % one),
        }
    }
}
