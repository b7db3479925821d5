//! What one reading of a series says, as the difference to what was said before.
//!
//! ```text
//! lowest bit 0   a number; the other bits: zigzag of the mantissa minus the one before, everything
//!                else is as before
//! lowest bit 1   bits 1 and 2: 0 as before, 1 number, 2 text, 3 no data
//!                not as before: bits 3 and 4 validity; bits 5 and 6 unit (0 canonical, 1 none, 2 text)
//!                then the unit's text if that is said, and
//!                number    comparator plus 3 × (exponent plus 9), zigzag of the mantissa
//!                text      the text
//!                no data   twice the reason, plus 1 if the device's code (a text) follows
//! ```

use super::{
    super::record::{COMPARATORS, pick, place_of},
    bytes::{Reader, Writer},
};
use model::{
    decimal::Decimal,
    metric::Metric,
    reading::{Comparator, NoData, Reading, Validity, Value},
    units::Unit,
};

/// Places in the first number.
mod spec {
    pub(super) const TOLD: u64 = 1;
    pub(super) const KIND_SHIFT: u32 = 1;
    pub(super) const NUMBER: u64 = 1;
    pub(super) const TEXT: u64 = 2;
    pub(super) const NO_DATA: u64 = 3;
    pub(super) const VALIDITY_SHIFT: u32 = 3;
    pub(super) const UNIT_SHIFT: u32 = 5;
    pub(super) const UNIT_CANONICAL: u64 = 0;
    pub(super) const UNIT_NONE: u64 = 1;
    pub(super) const UNIT_TEXT: u64 = 2;
    /// Exponents begin at -9.
    pub(super) const EXPONENT_ZERO: i8 = 9;
    pub(super) const COMPARATORS: u64 = 3;
}

/// What a reading says; texts are numbers of the series' texts.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Said {
    what: What,
    unit: UnitSaid,
    validity: Validity,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum What {
    Number {
        mantissa: i64,
        exponent: i8,
        comparator: Comparator,
    },
    Text(u64),
    /// A reason of the future has a number too.
    NoData {
        reason: u64,
        detail: Option<u64>,
    },
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum UnitSaid {
    Canonical,
    None,
    Text(u64),
}

impl Said {
    /// Before anything was said of a metric.
    pub(super) const NOTHING: Self = Self {
        what: What::Number { mantissa: 0, exponent: 0, comparator: Comparator::Equal },
        unit: UnitSaid::Canonical,
        validity: Validity::Valid,
    };

    /// What the reading says. Its texts have to be written before those of the next one.
    pub(super) fn of(reading: &Reading, texts: &mut Writer) -> Self {
        let unit = match &reading.unit {
            None => UnitSaid::None,
            unit if *unit == reading.metric.row().canonical_unit => UnitSaid::Canonical,
            Some(unit) => UnitSaid::Text(texts.number_of(unit.as_str())),
        };
        let what = match &reading.value {
            Ok(Value::Number { number, comparator }) => What::Number {
                mantissa: number.mantissa(),
                exponent: number.exponent(),
                comparator: *comparator,
            },
            Ok(Value::Text(text)) => What::Text(texts.number_of(text)),
            Err(reason) => What::NoData {
                reason: number_of(reason),
                detail: reason.detail().map(|detail| texts.number_of(detail)),
            },
        };
        Self { what, unit, validity: reading.validity }
    }

    pub(super) fn write(self, before: Self, out: &mut Writer) {
        if let Some(step) = self.step_from(before) {
            return out.number(step << 1);
        }
        if self == before {
            return out.number(spec::TOLD);
        }
        let kind = match self.what {
            What::Number { .. } => spec::NUMBER,
            What::Text(_) => spec::TEXT,
            What::NoData { .. } => spec::NO_DATA,
        };
        let unit = match self.unit {
            UnitSaid::Canonical => spec::UNIT_CANONICAL,
            UnitSaid::None => spec::UNIT_NONE,
            UnitSaid::Text(_) => spec::UNIT_TEXT,
        };
        let validity = place_of(&Validity::ALL, &self.validity);
        out.number(
            spec::TOLD
                | kind << spec::KIND_SHIFT
                | validity << spec::VALIDITY_SHIFT
                | unit << spec::UNIT_SHIFT,
        );
        if let UnitSaid::Text(text) = self.unit {
            out.text(text);
        }
        match self.what {
            What::Number { mantissa, exponent, comparator } => {
                let exponent = exponent.saturating_add(spec::EXPONENT_ZERO).unsigned_abs();
                let comparator = place_of(&COMPARATORS, &comparator);
                out.number(comparator + spec::COMPARATORS * u64::from(exponent));
                out.signed(mantissa);
            }
            What::Text(text) => out.text(text),
            What::NoData { reason, detail } => {
                out.number(reason << 1 | u64::from(detail.is_some()));
                if let Some(text) = detail {
                    out.text(text);
                }
            }
        }
    }

    pub(super) fn read(before: Self, bytes: &mut Reader<'_>) -> Option<Self> {
        let first = bytes.number()?;
        if first & spec::TOLD == 0 {
            return before.stepped(first >> 1);
        }
        let kind = first >> spec::KIND_SHIFT & 3;
        if first == spec::TOLD {
            return Some(before);
        }
        let validity = usize::try_from(first >> spec::VALIDITY_SHIFT & 3).ok();
        let validity = pick(&Validity::ALL, validity)?;
        let unit = match first >> spec::UNIT_SHIFT {
            spec::UNIT_CANONICAL => UnitSaid::Canonical,
            spec::UNIT_NONE => UnitSaid::None,
            spec::UNIT_TEXT => UnitSaid::Text(bytes.text()?),
            _ => return None,
        };
        let what = match kind {
            spec::NUMBER => {
                let number = bytes.number()?;
                let comparator = usize::try_from(number % spec::COMPARATORS).ok();
                let exponent = i8::try_from(number / spec::COMPARATORS).ok()?;
                What::Number {
                    comparator: pick(&COMPARATORS, comparator)?,
                    exponent: exponent.checked_sub(spec::EXPONENT_ZERO)?,
                    mantissa: bytes.signed()?,
                }
            }
            spec::TEXT => What::Text(bytes.text()?),
            spec::NO_DATA => {
                let number = bytes.number()?;
                let detail = if number & 1 == 1 { Some(bytes.text()?) } else { None };
                What::NoData { reason: number >> 1, detail }
            }
            _ => return None,
        };
        Some(Self { what, unit, validity })
    }

    /// The reading, unless it says what this version does not know.
    pub(super) fn reading(self, metric: Metric, texts: &Reader<'_>) -> Option<Reading> {
        let value = match self.what {
            What::Number { mantissa, exponent, comparator } => {
                Ok(Value::Number { number: Decimal::new(mantissa, exponent)?, comparator })
            }
            What::Text(text) => Ok(Value::Text(texts.told(text)?.to_owned())),
            What::NoData { reason, detail } => {
                let detail = match detail {
                    Some(text) => Some(texts.told(text)?),
                    None => None,
                };
                Err(NoData::from_name(name_of(reason)?, detail)?)
            }
        };
        let unit = match self.unit {
            UnitSaid::Canonical => metric.row().canonical_unit.clone(),
            UnitSaid::None => None,
            UnitSaid::Text(text) => Some(Unit::new(texts.told(text)?)?),
        };
        Some(Reading { metric, value, unit, validity: self.validity })
    }

    /// Zigzag of the difference, where both are numbers that differ in nothing else.
    fn step_from(self, before: Self) -> Option<u64> {
        let What::Number { mantissa, .. } = self.what else { return None };
        let What::Number { mantissa: from, .. } = before.what else { return None };
        let same = before.with_mantissa(mantissa)? == self;
        same.then(|| crate::samples::zigzag(mantissa.wrapping_sub(from)))
    }

    fn stepped(self, step: u64) -> Option<Self> {
        let What::Number { mantissa, .. } = self.what else { return None };
        self.with_mantissa(mantissa.checked_add(crate::samples::unzigzag(step))?)
    }

    fn with_mantissa(self, mantissa: i64) -> Option<Self> {
        let What::Number { exponent, comparator, .. } = self.what else { return None };
        Some(Self { what: What::Number { mantissa, exponent, comparator }, ..self })
    }
}

/// Numbers of the reasons; they never change.
fn number_of(reason: &NoData) -> u64 {
    match reason {
        NoData::SensorOff => 0,
        NoData::LeadOff => 1,
        NoData::Searching => 2,
        NoData::Silent => 3,
        NoData::NotAvailable => 4,
        NoData::Calibrating => 5,
        NoData::Motion => 6,
        NoData::DeviceError(_) => 7,
        NoData::Rejected(_) => 8,
        NoData::Off => 9,
        NoData::LowSignal => 10,
    }
}

pub(super) fn name_of(number: u64) -> Option<&'static str> {
    const NAMES: [&str; 11] = [
        "sensor_off",
        "lead_off",
        "searching",
        "silent",
        "not_available",
        "calibrating",
        "motion",
        "device_error",
        "rejected",
        "off",
        "low_signal",
    ];
    NAMES.get(usize::try_from(number).ok()?).copied()
}
