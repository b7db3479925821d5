//! Units as sent, and the one function that computes a canonical value from them.
//!
//! Nothing is converted in a record: it keeps value and unit as the device sent them.
//! Factors: metric catalogue, "Conversions".

use crate::{
    decimal::{Decimal, Ratio},
    metric::Metric,
};
use std::{borrow::Cow, fmt};

/// Longest UCUM unit we carry; the longest of the catalogue, `ug/kg/min`, has 9 characters.
const UNIT_LEN_MAX: usize = 24;

/// A unit of measure, in UCUM notation where the device's unit has one.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Unit(Cow<'static, str>);

impl Unit {
    /// Degrees Celsius.
    pub const CELSIUS: Self = Self::fixed("Cel");
    /// Degrees Fahrenheit.
    pub const FAHRENHEIT: Self = Self::fixed("[degF]");
    /// Inches.
    pub const INCH: Self = Self::fixed("[in_i]");
    /// Kilograms.
    pub const KILOGRAM: Self = Self::fixed("kg");
    /// Kilograms per square metre.
    pub const KG_PER_M2: Self = Self::fixed("kg/m2");
    /// Kilopascal.
    pub const KILOPASCAL: Self = Self::fixed("kPa");
    /// Metres.
    pub const METRE: Self = Self::fixed("m");
    /// Milligrams per decilitre.
    pub const MG_PER_DL: Self = Self::fixed("mg/dL");
    /// Millilitre.
    pub const MILLILITRE: Self = Self::fixed("mL");
    /// Millilitres per hour.
    pub const ML_PER_HOUR: Self = Self::fixed("mL/h");
    /// Millimetres of mercury.
    pub const MM_HG: Self = Self::fixed("mm[Hg]");
    /// Millimoles per litre.
    pub const MMOL_PER_L: Self = Self::fixed("mmol/L");
    /// Millivolt.
    pub const MILLIVOLT: Self = Self::fixed("mV");
    /// Minutes.
    pub const MINUTE: Self = Self::fixed("min");
    /// Percent.
    pub const PERCENT: Self = Self::fixed("%");
    /// Per minute (beats, breaths).
    pub const PER_MINUTE: Self = Self::fixed("/min");
    /// Pounds.
    pub const POUND: Self = Self::fixed("[lb_av]");
    /// Seconds.
    pub const SECOND: Self = Self::fixed("s");
    /// 1024ths of a second.
    pub const SECOND_1024: Self = Self::fixed("s/1024");

    /// A unit known when the program is built.
    #[must_use]
    pub const fn fixed(ucum: &'static str) -> Self {
        assert!(!ucum.is_empty() && ucum.len() <= UNIT_LEN_MAX);
        Self(Cow::Borrowed(ucum))
    }

    /// A unit from outside: 1 to 24 printable ASCII characters, no space.
    #[must_use]
    pub fn new(ucum: &str) -> Option<Self> {
        let good = !ucum.is_empty()
            && ucum.len() <= UNIT_LEN_MAX
            && ucum.bytes().all(|byte| byte.is_ascii_graphic());
        good.then(|| Self(Cow::Owned(ucum.to_owned())))
    }

    /// The UCUM text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

/// The value in the metric's canonical unit, rounded to the metric's decimals: what is printed,
/// charted, exported and compared.
///
/// `None` when the metric has no canonical unit or the unit does not convert to it; such a value is
/// printed as sent and no rule may use it. A metric without decimals keeps the digits as sent.
#[must_use]
pub fn canonical(metric: Metric, number: Decimal, unit: &Unit) -> Option<Decimal> {
    let row = metric.row();
    let target = row.canonical_unit.as_ref()?;
    if unit == target {
        return row.decimals.map_or(Some(number), |decimals| number.rounded(decimals));
    }
    let (ratio, offset) = factor(unit.as_str(), target.as_str())?;
    number.scaled(ratio, offset, row.decimals?)
}

/// `canonical = (value + offset) × ratio`.
fn factor(from: &str, to: &str) -> Option<(Ratio, Decimal)> {
    let ratio = |numerator, denominator| Some((Ratio { numerator, denominator }, Decimal::ZERO));
    match (from, to) {
        ("kPa", "mm[Hg]") => ratio(750_062, 100_000),
        ("mg/dL", "mmol/L") => ratio(10_000, 180_156),
        ("[degF]", "Cel") => Some((Ratio { numerator: 5, denominator: 9 }, Decimal::fixed(-32, 0))),
        ("[lb_av]", "kg") => ratio(45_359_237, 100_000_000),
        ("m", "cm") => ratio(100, 1),
        ("[in_i]", "cm") => ratio(254, 100),
        ("mm", "mV") => ratio(1, 10),
        ("s/1024", "ms") => ratio(1_000, 1_024),
        ("s", "min") => ratio(1, 60),
        ("h", "min") => ratio(60, 1),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(metric: Metric, value: &str, unit: &Unit, expected: &str) {
        let number = canonical(metric, value.parse().unwrap(), unit).unwrap();
        assert_eq!(number.to_string(), expected, "{value} {unit}");
    }

    /// The pairs of the guidelines (ADA, NEWS2, public health norm): compared after rounding.
    #[test]
    fn published_pairs_convert_as_printed() {
        check(Metric::GLU_CAP_PL, "54", &Unit::MG_PER_DL, "3.0");
        check(Metric::GLU_CAP_PL, "53", &Unit::MG_PER_DL, "2.9");
        check(Metric::GLU_CAP_PL, "70", &Unit::MG_PER_DL, "3.9");
        check(Metric::GLU_CAP_PL, "69", &Unit::MG_PER_DL, "3.8");
        check(Metric::NIBP_SYS, "24.0", &Unit::KILOPASCAL, "180");
        check(Metric::NIBP_DIA, "14.6", &Unit::KILOPASCAL, "110");
        check(Metric::NIBP_DIA, "14.7", &Unit::KILOPASCAL, "110");
    }

    #[test]
    fn other_conversions_of_the_catalogue_hold() {
        check(Metric::TEMP_EAR, "98.6", &Unit::fixed("[degF]"), "37.0");
        check(Metric::TEMP_EAR, "32", &Unit::fixed("[degF]"), "0.0");
        check(Metric::WEIGHT, "154.3", &Unit::fixed("[lb_av]"), "69.99");
        check(Metric::RR_INTERVAL, "1024", &Unit::SECOND_1024, "1000");
        check(Metric::PUMP_TIME_REM, "90", &Unit::SECOND, "2");
        check(Metric::ST_II, "1", &Unit::fixed("mm"), "0.10");
        check(Metric::SPO2, "89.6", &Unit::PERCENT, "90");
    }

    #[test]
    fn a_unit_that_does_not_convert_gives_no_canonical_value() {
        assert_eq!(canonical(Metric::HR, Decimal::fixed(72, 0), &Unit::PERCENT), None);
        assert_eq!(
            canonical(Metric::PUMP_DOSE_RATE, Decimal::fixed(5, 0), &Unit::fixed("ug/kg/min")),
            None
        );
    }

    #[test]
    fn units_from_outside_are_bounded() {
        assert!(Unit::new("mg/dL").is_some());
        for bad in ["", "m g", "µg", "x234567890123456789012345"] {
            assert!(Unit::new(bad).is_none(), "{bad}");
        }
    }
}
