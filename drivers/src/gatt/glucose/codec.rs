//! Values of the Glucose Service: bytes to meaning.
//!
//! Source: the protocol sheet of the Glucose Service, §3 and §4.

use crate::{
    gatt::{
        date_time::{DATE_TIME_LEN, civil_ms_of},
        fields::Fields,
    },
    medfloat::{Medfloat, sfloat},
};
use model::{decimal::Decimal, metric::Metric, units::Unit};
use thiserror::Error;

/// Numbers of the sheet.
mod spec {
    pub(super) const TIME_OFFSET: u8 = 1 << 0;
    pub(super) const CONCENTRATION: u8 = 1 << 1;
    pub(super) const MOLAR: u8 = 1 << 2;
    pub(super) const STATUS: u8 = 1 << 3;
    pub(super) const CONTEXT: u8 = 1 << 4;
    /// "Offset 0x7FFF = overrun and 0x8000 = underrun."
    pub(super) const OVERRUN: i16 = 0x7FFF;
    pub(super) const UNDERRUN: i16 = -0x8000;
    /// "kg/L × 100000 = mg/dL", "mol/L × 1000 = mmol/L".
    pub(super) const MG_PER_DL_EXPONENT: i8 = 5;
    pub(super) const MMOL_PER_L_EXPONENT: i8 = 3;
    /// "Type 10 or location 4 = quality-control sample."
    pub(super) const CONTROL_TYPE: u8 = 10;
    pub(super) const CONTROL_LOCATION: u8 = 4;

    pub(super) const CARBOHYDRATE: u8 = 1 << 0;
    pub(super) const MEAL: u8 = 1 << 1;
    pub(super) const TESTER_HEALTH: u8 = 1 << 2;
    pub(super) const EXERCISE: u8 = 1 << 3;
    pub(super) const MEDICATION: u8 = 1 << 4;
    pub(super) const HBA1C: u8 = 1 << 6;
    pub(super) const EXTENDED: u8 = 1 << 7;
}

/// A value is shorter than its own flags ask for.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[error("a value of {len} byte(s) breaks off; it is skipped")]
pub struct Short {
    /// Length of the whole value.
    pub len: usize,
}

/// A Glucose Measurement (0x2A18).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Measurement {
    /// The meter's number of the record.
    pub sequence: u16,
    /// Civil time by the clock that nobody sets; `None` where it is unknown or does not exist.
    pub base_civil_ms: Option<i64>,
    /// What the user's clock is ahead of it.
    pub offset: TimeOffset,
    /// What was measured, where there is a result.
    pub concentration: Option<Concentration>,
    /// Status bits, where the field is there.
    pub status: Status,
    /// Whether a context of the same number follows.
    pub has_context: bool,
}

/// How far the user's clock is ahead of the base time.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum TimeOffset {
    /// Minutes; 0 where there is no such field.
    Minutes(i16),
    /// More than the field holds.
    Unknown,
}

/// A concentration, with what it is of.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Concentration {
    /// In kg/L or mol/L.
    pub value: Medfloat,
    /// Whether it is in mol/L.
    pub molar: bool,
    /// 1 capillary whole blood, …
    pub sample: u8,
    /// 1 finger, …
    pub location: u8,
}

impl Measurement {
    /// The measurement; what stands behind it is ignored.
    ///
    /// # Errors
    /// When it is shorter than its flags say.
    pub fn decode(value: &[u8]) -> Result<Self, Short> {
        Self::take(&mut Fields(value)).ok_or(Short { len: value.len() })
    }

    fn take(fields: &mut Fields<'_>) -> Option<Self> {
        let flags = fields.u8()?;
        let has = |flag| flags & flag != 0;
        let sequence = fields.u16()?;
        let base = fields.take::<DATE_TIME_LEN>()?;
        let offset = match has(spec::TIME_OFFSET) {
            false => TimeOffset::Minutes(0),
            true => match fields.u16()?.cast_signed() {
                spec::OVERRUN | spec::UNDERRUN => TimeOffset::Unknown,
                minutes => TimeOffset::Minutes(minutes),
            },
        };
        let concentration = match has(spec::CONCENTRATION) {
            false => None,
            true => {
                let value = sfloat(fields.u16()?);
                let kinds = fields.u8()?;
                let (sample, location) = (kinds & 0x0F, kinds >> 4);
                Some(Concentration { value, molar: has(spec::MOLAR), sample, location })
            }
        };
        let status = if has(spec::STATUS) { fields.u16()? } else { 0 };
        let has_context = has(spec::CONTEXT);
        let base_civil_ms = civil_ms_of(base);
        let status = Status(status);
        Some(Self { sequence, base_civil_ms, offset, concentration, status, has_context })
    }

    /// The user's civil time: "base time + offset minutes"; the base time where the offset is
    /// unknown. "Status bit 11 (time fault): mark time unknown", §8.9.
    #[must_use]
    pub fn civil_ms(&self) -> Option<i64> {
        let base = self.base_civil_ms.filter(|_| !self.status.has_time_fault())?;
        match self.offset {
            TimeOffset::Minutes(minutes) => base.checked_add(i64::from(minutes) * 60_000),
            TimeOffset::Unknown => Some(base),
        }
    }

    /// What is measured, by sample type and location ("Our metrics").
    #[must_use]
    pub fn metric(&self) -> Metric {
        let Some(Concentration { sample, location, .. }) = self.concentration else {
            return Metric::GLU_UND_PL;
        };
        match sample {
            _ if location == spec::CONTROL_LOCATION => Metric::GLU_CONTROL,
            1 => Metric::GLU_CAP_WB,
            2 => Metric::GLU_CAP_PL,
            3 => Metric::GLU_VEN_WB,
            4 => Metric::GLU_VEN_PL,
            5 => Metric::GLU_ART_WB,
            6 => Metric::GLU_ART_PL,
            9 => Metric::GLU_ISF,
            spec::CONTROL_TYPE => Metric::GLU_CONTROL,
            _ => Metric::GLU_UND_PL,
        }
    }
}

impl Concentration {
    /// The number in mg/dL or mmol/L, with its unit; the digits stay as sent.
    #[must_use]
    pub fn number(self) -> Option<(Decimal, Unit)> {
        let number = self.value.number()?;
        let (shift, unit) = match self.molar {
            true => (spec::MMOL_PER_L_EXPONENT, Unit::MMOL_PER_L),
            false => (spec::MG_PER_DL_EXPONENT, Unit::MG_PER_DL),
        };
        // An SFLOAT's exponent is at most 7; a number that does not fit is far outside any limit.
        let scaled = Decimal::new(number.mantissa(), number.exponent() + shift);
        Some((scaled.unwrap_or(number), unit))
    }

    /// "0, 11–15: reserved type."
    #[must_use]
    pub const fn has_reserved_sample(self) -> bool {
        matches!(self.sample, 0 | 11..)
    }
}

/// Sensor status annunciation. The Bluetooth SIG's order of bits 5 and 6 holds: too high, too low.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Status(u16);

impl Status {
    /// Names of the bits, from bit 0.
    const NAMES: [&str; 12] = [
        "battery_low",
        "sensor_malfunction",
        "sample_insufficient",
        "strip_inserted_wrongly",
        "wrong_strip",
        "result_too_high",
        "result_too_low",
        "temperature_too_high",
        "temperature_too_low",
        "read_interrupted",
        "device_fault",
        "time_fault",
    ];
    /// "`device_error(status)` when a status bit 1–4 or 7–10 is set."
    const FAULTS: u16 = 0b0111_1001_1110;

    /// Bit 0.
    #[must_use]
    pub const fn is_battery_low(self) -> bool {
        self.0 & 1 != 0
    }

    /// Bit 5: "result too high for device".
    #[must_use]
    pub const fn is_above(self) -> bool {
        self.0 & 1 << 5 != 0
    }

    /// Bit 6: "result too low for device".
    #[must_use]
    pub const fn is_below(self) -> bool {
        self.0 & 1 << 6 != 0
    }

    /// Bit 11.
    #[must_use]
    pub const fn has_time_fault(self) -> bool {
        self.0 & 1 << 11 != 0
    }

    /// The bits in hexadecimal, where one of them says that the test failed.
    #[must_use]
    pub fn fault(self) -> Option<String> {
        (self.0 & Self::FAULTS != 0).then(|| self.raw())
    }

    /// The bits in hexadecimal.
    #[must_use]
    pub fn raw(self) -> String {
        format!("{:#06x}", self.0)
    }

    /// Names of the bits that are set, and the rest in hexadecimal; empty where none is.
    #[must_use]
    pub fn text(self) -> String {
        let set = |bit: &usize| self.0 & 1 << bit != 0;
        let named = (0..Self::NAMES.len()).filter(set).filter_map(|bit| Self::NAMES.get(bit));
        let mut names: Vec<String> = named.map(ToString::to_string).collect();
        let rest = self.0 & 0xF000;
        if rest != 0 {
            names.push(format!("{rest:#06x}"));
        }
        names.join(" ")
    }
}

/// A Glucose Measurement Context (0x2A34), as far as it is stored.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Context {
    /// The number of the measurement it belongs to.
    pub sequence: u16,
    /// 1 before a meal, …
    pub meal: Option<u8>,
    /// 1 self, 2 professional, 3 laboratory, …
    pub tester: Option<u8>,
}

impl Context {
    /// The context; carbohydrate, exercise, medication, health and HbA1c are read over.
    ///
    /// # Errors
    /// When it is shorter than its flags say.
    pub fn decode(value: &[u8]) -> Result<Self, Short> {
        Self::take(&mut Fields(value)).ok_or(Short { len: value.len() })
    }

    fn take(fields: &mut Fields<'_>) -> Option<Self> {
        let flags = fields.u8()?;
        let has = |flag| flags & flag != 0;
        let sequence = fields.u16()?;
        if has(spec::EXTENDED) {
            fields.take::<1>()?;
        }
        if has(spec::CARBOHYDRATE) {
            fields.take::<3>()?;
        }
        let meal = if has(spec::MEAL) { Some(fields.u8()?) } else { None };
        let tester = if has(spec::TESTER_HEALTH) { Some(fields.u8()? & 0x0F) } else { None };
        for flag in [spec::EXERCISE, spec::MEDICATION] {
            if has(flag) {
                fields.take::<3>()?;
            }
        }
        if has(spec::HBA1C) {
            fields.take::<2>()?;
        }
        Some(Self { sequence, meal, tester })
    }

    /// The meal in the catalogue's words.
    #[must_use]
    pub const fn meal_name(self) -> Option<&'static str> {
        match self.meal {
            Some(1) => Some("meal_pre"),
            Some(2) => Some("meal_post"),
            Some(3) => Some("meal_fast"),
            Some(4) => Some("meal_casual"),
            Some(5) => Some("meal_bed"),
            _ => None,
        }
    }

    /// The tester in the catalogue's words.
    #[must_use]
    pub const fn tester_name(self) -> Option<&'static str> {
        match self.tester {
            Some(1) => Some("tester_self"),
            Some(2) => Some("tester_hcp"),
            Some(3) => Some("tester_lab"),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::{collection::vec, prelude::*};

    #[test]
    fn every_cut_is_told() {
        // The longest example of a measurement, and all fields of a context at once.
        let whole =
            [0x1F, 0x16, 0, 0xEA, 7, 0x0B, 0x16, 7, 0x23, 0, 0xE2, 0xFF, 0x3A, 0xC0, 0x11, 1, 0];
        assert!(Measurement::decode(&whole).is_ok());
        let context = [0xDF, 1, 0, 0, 1, 0x3C, 0xD0, 2, 0x12, 60, 0, 50, 1, 5, 0, 0x41, 0xF0];
        let decoded = Context { sequence: 1, meal: Some(2), tester: Some(2) };
        assert_eq!(Context::decode(&context), Ok(decoded));
        for len in 0..17 {
            assert_eq!(Measurement::decode(&whole[..len]), Err(Short { len }));
            assert_eq!(Context::decode(&context[..len]), Err(Short { len }));
        }
    }

    #[test]
    fn status_bits_have_names() {
        assert_eq!(Status(0x0021).text(), "battery_low result_too_high");
        assert_eq!(Status(0x8800).text(), "time_fault 0x8000");
        assert_eq!((Status(0).text(), Status(0x0861).fault()), (String::new(), None));
        assert_eq!(Status(0x0400).fault().as_deref(), Some("0x0400"));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(value in vec(any::<u8>(), 0..24)) {
            if let Ok(measured) = Measurement::decode(&value) {
                let numbers = measured.concentration.and_then(Concentration::number);
                prop_assert!(value.len() >= 10 && measured.status.text().len() < 250);
                prop_assert!(numbers.is_none_or(|(number, _)| number.to_string().len() < 40));
            }
            if let Ok(context) = Context::decode(&value) {
                prop_assert!(value.len() >= 3 && context.meal_name() != Some(""));
            }
        }
    }
}
