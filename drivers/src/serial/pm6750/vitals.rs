//! Numbers of the module as readings, each absence with its reason (sheet, "Our metrics").

use super::spec;
use model::{
    decimal::Decimal,
    metric::Metric,
    reading::{NoData, Reading},
    units::Unit,
};

/// A number in a byte that says "none" by 0, as the catalogue has it for rates, saturation and
/// pressures.
pub(super) fn number(metric: Metric, raw: u8, unit: Unit) -> Reading {
    match raw {
        0 => Reading::no_data(metric, NoData::NotAvailable),
        raw => Reading::number(metric, u32::from(raw), unit),
    }
}

/// Heart rate, respiration rate, ST.
pub(super) fn parameters(
    status: u8,
    (hr, rr, st): (u8, u8, Option<i8>),
    arrhythmia: Option<u8>,
) -> Vec<Reading> {
    let lead_off = status & spec::LEAD_OFF != 0;
    let absent = |metric, reason| Reading::no_data(metric, reason);
    let asystole = arrhythmia == Some(spec::ASYSTOLE) && !lead_off;
    let hr = match hr {
        0 if asystole => Reading::number(Metric::HR, 0, Unit::PER_MINUTE),
        0 if lead_off => absent(Metric::HR, NoData::LeadOff),
        0 if status & spec::WEAK_SIGNAL != 0 => absent(Metric::HR, NoData::LowSignal),
        0 if arrhythmia == Some(spec::LEARNING) => absent(Metric::HR, NoData::Searching),
        rate => number(Metric::HR, rate, Unit::PER_MINUTE),
    };
    let rr = match rr {
        0 if lead_off => absent(Metric::RR_IMP, NoData::LeadOff),
        rate => number(Metric::RR_IMP, rate, Unit::PER_MINUTE),
    };
    let st = match st {
        _ if lead_off => absent(Metric::ST, NoData::LeadOff),
        Some(raw) => {
            Reading::number(Metric::ST, Decimal::fixed(i64::from(raw), -2), Unit::MILLIVOLT)
        }
        None => absent(Metric::ST, NoData::NotAvailable),
    };
    vec![hr, rr, st]
}

/// Saturation and pulse.
pub(super) fn oximeter(status: u8, saturation: Option<u8>, pulse: Option<u8>) -> Vec<Reading> {
    let reason = match status {
        spec::PROBE_OFF | spec::NO_FINGER => Some(NoData::SensorOff),
        spec::SEARCHING | spec::SEARCH_TOO_LONG => Some(NoData::Searching),
        _ => None,
    };
    let reading = |metric, raw: Option<u8>, unit| match &reason {
        Some(reason) => Reading::no_data(metric, reason.clone()),
        None => number(metric, raw.unwrap_or_default(), unit),
    };
    vec![
        reading(Metric::SPO2, saturation, Unit::PERCENT),
        reading(Metric::PULSE_OXIM, pulse, Unit::PER_MINUTE),
    ]
}

/// What a temperature probe does.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Probe {
    /// It has a number, or none without a reason.
    Reads(Reading),
    /// The module says that it is off.
    Off,
    /// It lies on the bed and has the room's temperature.
    OnBed(Decimal),
}

/// One probe: whether its status bit says off, and whole and tenth degrees.
pub(super) fn temperature(off: bool, (whole, tenth): (u8, u8)) -> Probe {
    let tenths = i64::from(whole) * 10 + i64::from(tenth);
    match (off, tenths) {
        (true, _) => Probe::Off,
        (false, 0) => Probe::Reads(Reading::no_data(Metric::TEMP, NoData::NotAvailable)),
        // Not a tenth: nobody knows what the module means.
        (false, _) if tenth > spec::TENTH_MAX => {
            let raw = format!("{whole} + {tenth}/10");
            Probe::Reads(Reading::no_data(Metric::TEMP, NoData::Rejected(raw)))
        }
        (false, tenths) => match Decimal::fixed(tenths, -1) {
            value if spec::ON_BED_TENTHS.contains(&tenths) => Probe::OnBed(value),
            value => Probe::Reads(Reading::number(Metric::TEMP, value, Unit::CELSIUS)),
        },
    }
}
