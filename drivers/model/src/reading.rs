//! Readings and reading groups: what a device said, judged by the catalogue's limits.
//!
//! # Invariants
//! - a [`Reading`] that exists went through [`Reading::new`], [`Reading::text`] or
//!   [`Reading::no_data`], or was decoded from one that did: limits were applied exactly once
//! - a value that the catalogue rejects is `NoData::Rejected` with the raw text, never a number

use crate::{
    check,
    decimal::Decimal,
    id::{Channel, DeviceId},
    metric::{Kind, Metric},
    time::{DeviceTime, Observed},
    units::{Unit, canonical, converts},
};
use std::{collections::BTreeMap, fmt};

/// Longest text a reading carries: B. Braun drug names have 25 characters of up to 4 bytes.
pub const TEXT_LEN_MAX: usize = 128;
/// A cuff's group has 4 readings; the widest group of any sheet has 8.
pub const GROUP_LEN_MAX: usize = 16;
/// Meal, sample site, slot and the like; no sheet has more than 5.
pub const CONTEXT_LEN_MAX: usize = 8;

/// Whether a meter named a value or a limit.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Comparator {
    /// The value itself.
    Equal,
    /// Below the value: a meter's LO, the value being the meter's limit.
    Below,
    /// Above the value: a meter's HI.
    Above,
}

impl Comparator {
    /// `<` and `>` for a meter's LO and HI, as in the API and in truth files.
    #[must_use]
    pub const fn sign(self) -> Option<&'static str> {
        match self {
            Self::Equal => None,
            Self::Below => Some("<"),
            Self::Above => Some(">"),
        }
    }
}

/// What a reading says when it says something.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Value {
    /// A decimal number with the digits as sent.
    Number {
        /// Digits and point as sent.
        number: Decimal,
        /// Whether it is the value or a limit.
        comparator: Comparator,
    },
    /// An enumeration or a text (pump state, drug name).
    Text(String),
}

/// Why a metric has no value. Absence is reported, never skipped.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum NoData {
    /// The sensor is not on the patient, or not plugged in.
    SensorOff,
    /// An ECG lead is off.
    LeadOff,
    /// The device looks for a signal.
    Searching,
    /// Nothing was heard from the device.
    Silent,
    /// The device says that it has none.
    NotAvailable,
    /// The device calibrates.
    Calibrating,
    /// The patient moved.
    Motion,
    /// The device failed; its own code.
    DeviceError(String),
    /// The value is physically impossible; as sent.
    Rejected(String),
    /// The device or the function is switched off.
    Off,
    /// The signal is too weak.
    LowSignal,
}

impl NoData {
    /// The reason's name in records and in the API.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::SensorOff => "sensor_off",
            Self::LeadOff => "lead_off",
            Self::Searching => "searching",
            Self::Silent => "silent",
            Self::NotAvailable => "not_available",
            Self::Calibrating => "calibrating",
            Self::Motion => "motion",
            Self::DeviceError(_) => "device_error",
            Self::Rejected(_) => "rejected",
            Self::Off => "off",
            Self::LowSignal => "low_signal",
        }
    }

    /// The device's code, or the rejected value as sent.
    #[must_use]
    pub fn detail(&self) -> Option<&str> {
        match self {
            Self::DeviceError(code) => Some(code),
            Self::Rejected(raw) => Some(raw),
            _ => None,
        }
    }

    /// The reason of that name; `detail` is used where the reason has one.
    #[must_use]
    pub fn from_name(name: &str, detail: Option<&str>) -> Option<Self> {
        let detail = || shortened(detail.unwrap_or_default());
        Some(match name {
            "sensor_off" => Self::SensorOff,
            "lead_off" => Self::LeadOff,
            "searching" => Self::Searching,
            "silent" => Self::Silent,
            "not_available" => Self::NotAvailable,
            "calibrating" => Self::Calibrating,
            "motion" => Self::Motion,
            "device_error" => Self::DeviceError(detail()),
            "rejected" => Self::Rejected(detail()),
            "off" => Self::Off,
            "low_signal" => Self::LowSignal,
            _ => return None,
        })
    }
}

impl fmt::Display for NoData {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())?;
        self.detail().map_or(Ok(()), |detail| write!(out, ":{detail}"))
    }
}

/// What the device says of its own value, and what the catalogue adds (BICEPS `MeasurementValidity`).
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Validity {
    /// Nothing against it.
    Valid,
    /// Doubted by the device, or implausible by the catalogue: shown with a mark, rules still run.
    Questionable,
    /// Measured while the device calibrated.
    Calibrating,
    /// No clinical value: no rule runs on it.
    Invalid,
}

impl Validity {
    /// Every validity.
    pub const ALL: [Self; 4] = [Self::Valid, Self::Questionable, Self::Calibrating, Self::Invalid];

    /// The name in records and in the API.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Valid => "valid",
            Self::Questionable => "questionable",
            Self::Calibrating => "calibrating",
            Self::Invalid => "invalid",
        }
    }
}

/// One value (or `NoData`) of one metric.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Reading {
    /// What was measured.
    pub metric: Metric,
    /// The value as sent, or why there is none.
    pub value: Result<Value, NoData>,
    /// The unit as sent; `None` for texts and for absent values of unknown unit.
    pub unit: Option<Unit>,
    /// What device and catalogue say of it.
    pub validity: Validity,
}

impl Reading {
    /// A number as sent, judged by the catalogue: rejected, doubted or good.
    ///
    /// Limits do not apply to a value with a comparator.
    #[must_use]
    pub fn new(metric: Metric, number: Decimal, comparator: Comparator, unit: Unit) -> Self {
        let metric = metric.row().alias_of.unwrap_or(metric);
        let row = metric.row();
        let value = canonical(metric, number, &unit);
        // Too many digits to be compared are outside of all limits, not inside.
        let beyond = value.is_none() && converts(metric, &unit);
        let outside = |(low, high): (Option<Decimal>, Option<Decimal>)| {
            let below = low.is_some_and(|low| value.is_some_and(|value| value < low));
            let above = high.is_some_and(|high| value.is_some_and(|value| value > high));
            below || above || (beyond && low.or(high).is_some())
        };
        let odd = || value.is_some_and(|value| check::is_odd(metric, value));
        let (value, validity) = match comparator {
            Comparator::Equal if outside(row.reject) => {
                (Err(NoData::Rejected(number.to_string())), Validity::Invalid)
            }
            Comparator::Equal if outside(row.implausible) || odd() => {
                (Ok(Value::Number { number, comparator }), Validity::Questionable)
            }
            _ => (Ok(Value::Number { number, comparator }), Validity::Valid),
        };
        Self { metric, value, unit: Some(unit), validity }
    }

    /// A number that is just a number: [`Reading::new`] with [`Comparator::Equal`].
    #[must_use]
    pub fn number(metric: Metric, number: impl Into<Decimal>, unit: Unit) -> Self {
        Self::new(metric, number.into(), Comparator::Equal, unit)
    }

    /// A text or enumeration, cut to [`TEXT_LEN_MAX`] bytes, without control characters.
    #[must_use]
    pub fn text(metric: Metric, text: &str) -> Self {
        let value = Ok(Value::Text(shortened(text)));
        Self { metric, value, unit: None, validity: Validity::Valid }
    }

    /// No value, and why.
    #[must_use]
    pub fn no_data(metric: Metric, reason: NoData) -> Self {
        let (reason, validity) = match reason {
            NoData::Rejected(raw) => (NoData::Rejected(shortened(&raw)), Validity::Invalid),
            NoData::DeviceError(code) => (NoData::DeviceError(shortened(&code)), Validity::Valid),
            reason => (reason, Validity::Valid),
        };
        Self { metric, value: Err(reason), unit: None, validity }
    }

    /// The same reading, doubted by the device.
    #[must_use]
    pub fn doubted(mut self) -> Self {
        if self.validity == Validity::Valid {
            self.validity = Validity::Questionable;
        }
        self
    }

    /// The number in the metric's canonical unit as it is printed and compared, with its comparator.
    #[must_use]
    pub fn canonical(&self) -> Option<(Decimal, Comparator)> {
        match (&self.value, &self.unit) {
            (Ok(Value::Number { number, comparator }), Some(unit)) => {
                Some((canonical(self.metric, *number, unit)?, *comparator))
            }
            _ => None,
        }
    }
}

/// Whether the device repeats this by itself or measured it once.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Occurrence {
    /// Repeats by itself: trend lane.
    Stream,
    /// An event of its own: urgent lane, with identity.
    Spot,
}

/// What a device said as one thing: one inflation, one glucose result, the numbers of one frame.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ReadingGroup {
    /// The device.
    pub device: DeviceId,
    /// Which of several like sources; mostly empty.
    pub channel: Channel,
    /// The compound metric (`nibp`) when the readings belong to one measurement.
    pub group: Option<Metric>,
    /// Stream or spot.
    pub occurrence: Occurrence,
    /// Device time, as the device said it.
    pub device_time: Option<DeviceTime>,
    /// The agent's clock when it was decoded.
    pub observed: Observed,
    /// The device's own number for it.
    pub device_seq: Option<u64>,
    /// Meal, sample site, slot, irregular beats…
    pub context: BTreeMap<String, String>,
    /// 1 to [`GROUP_LEN_MAX`] readings.
    pub readings: Vec<Reading>,
}

impl ReadingGroup {
    /// A group of one device at one moment. It is spot if the first reading's metric is.
    ///
    /// What the catalogue says of values against each other is judged here (see `check`).
    #[must_use]
    pub fn new(device: DeviceId, observed: Observed, readings: Vec<Reading>) -> Self {
        let spot = readings.first().is_some_and(|reading| reading.metric.row().kind == Kind::Spot);
        let mut group = Self {
            device,
            channel: Channel::default(),
            group: None,
            occurrence: if spot { Occurrence::Spot } else { Occurrence::Stream },
            device_time: None,
            observed,
            device_seq: None,
            context: BTreeMap::new(),
            readings,
        };
        check::judge_group(&mut group.readings);
        group
    }

    /// The same group under a compound metric (`nibp`).
    #[must_use]
    pub fn as_group(mut self, metric: Metric) -> Self {
        self.group = Some(metric);
        self
    }

    /// The same group with device time.
    #[must_use]
    pub fn at_device_time(mut self, time: Option<DeviceTime>) -> Self {
        self.device_time = time;
        self
    }

    /// The same group on a channel.
    #[must_use]
    pub fn on_channel(mut self, channel: Channel) -> Self {
        self.channel = channel;
        self
    }

    /// The same group with one more context entry, as long as there is room for it.
    #[must_use]
    pub fn with_context(mut self, key: &str, value: &str) -> Self {
        if self.context.len() < CONTEXT_LEN_MAX {
            self.context.insert(shortened(key), shortened(value));
        }
        self
    }

    /// What tells a spot reading that its device stamped from the other ones of that device:
    /// channel, device time, device number, metrics and values, as sent. Without a stamp nobody can
    /// tell a repeat from a second reading.
    ///
    /// Kept in the databases of edge and county: it must not change.
    #[must_use]
    pub fn identity(&self) -> Option<String> {
        let stamped = self.device_time.is_some() || self.device_seq.is_some();
        if self.occurrence != Occurrence::Spot || !stamped {
            return None;
        }
        let readings: Vec<_> = self
            .readings
            .iter()
            .map(|reading| (reading.metric, &reading.value, &reading.unit))
            .collect();
        let stamp = (self.device_time.map(DeviceTime::civil_ms), self.device_seq);
        Some(format!("{}|{stamp:?}|{readings:?}", self.channel.as_str()))
    }
}

/// The text without control characters, cut at a character boundary to [`TEXT_LEN_MAX`] bytes.
#[must_use]
pub fn shortened(text: &str) -> String {
    cut(text, TEXT_LEN_MAX)
}

/// The same with another limit.
pub(crate) fn cut(text: &str, len_max: usize) -> String {
    let mut short = String::new();
    for letter in text.chars().filter(|letter| !letter.is_control()) {
        if short.len() + letter.len_utf8() > len_max {
            break;
        }
        short.push(letter);
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::{ClockQuality, WallTime};

    fn pressure(metric: Metric, value: i32) -> Reading {
        Reading::number(metric, value, Unit::MM_HG)
    }

    fn inflation(sys: i32, mean: i32, dia: i32) -> ReadingGroup {
        let observed = Observed { at: WallTime::from_unix_ms(0), quality: ClockQuality::Unknown };
        ReadingGroup::new(
            DeviceId::new("bp-01").unwrap(),
            observed,
            vec![
                pressure(Metric::NIBP_SYS, sys),
                pressure(Metric::NIBP_MEAN, mean),
                pressure(Metric::NIBP_DIA, dia),
            ],
        )
    }

    #[test]
    fn an_impossible_value_is_kept_as_rejected() {
        let reading = pressure(Metric::NIBP_SYS, 400);
        assert_eq!(reading.value, Err(NoData::Rejected("400".to_owned())));
        assert_eq!(reading.validity, Validity::Invalid);
    }

    #[test]
    fn a_value_with_too_many_digits_to_be_compared_is_rejected() {
        let rate = Decimal::fixed(999_999_999_999_999, 0);
        assert_eq!(canonical(Metric::PUMP_RATE, rate, &Unit::ML_PER_HOUR), None);
        let reading = Reading::number(Metric::PUMP_RATE, rate, Unit::ML_PER_HOUR);
        assert_eq!(reading.value, Err(NoData::Rejected("999999999999999".to_owned())));
        // Where there is no common unit there is nothing to compare.
        assert!(Reading::number(Metric::PUMP_RATE, rate, Unit::MM_HG).value.is_ok());
    }

    #[test]
    fn a_doubtful_value_keeps_its_number_and_gets_a_mark() {
        let reading = pressure(Metric::NIBP_SYS, 45);
        assert!(reading.value.is_ok());
        assert_eq!(reading.validity, Validity::Questionable);
        assert_eq!(pressure(Metric::NIBP_SYS, 120).validity, Validity::Valid);
    }

    #[test]
    fn the_limits_themselves_are_good() {
        assert!(pressure(Metric::NIBP_SYS, 320).value.is_ok());
        assert!(pressure(Metric::NIBP_SYS, 20).value.is_ok());
    }

    #[test]
    fn a_meters_low_is_a_value_with_a_comparator() {
        let low = Reading::new(
            Metric::GLU_CAP_PL,
            Decimal::fixed(2, 0),
            Comparator::Below,
            Unit::MG_PER_DL,
        );
        assert_eq!(low.canonical(), Some((Decimal::fixed(1, -1), Comparator::Below)));
        assert_eq!(low.validity, Validity::Valid);
    }

    #[test]
    fn systolic_not_above_diastolic_rejects_the_whole_inflation() {
        let group = inflation(80, 80, 80);
        assert!(
            group.readings.iter().all(|reading| matches!(reading.value, Err(NoData::Rejected(_))))
        );
        assert_eq!(group.occurrence, Occurrence::Spot);
    }

    #[test]
    fn a_mean_outside_the_pressures_is_doubted() {
        let group = inflation(120, 130, 80);
        assert_eq!(group.readings[1].validity, Validity::Questionable);
        assert_eq!(group.readings[0].validity, Validity::Valid);
    }

    #[test]
    fn texts_are_bounded_and_clean() {
        let long = "多巴胺".repeat(50) + "\n";
        let Ok(Value::Text(text)) = Reading::text(Metric::PUMP_DRUG, &long).value else { panic!() };
        assert!(text.len() <= TEXT_LEN_MAX && !text.contains('\n'));
        let reading = Reading::no_data(Metric::HR, NoData::DeviceError(long));
        let Err(NoData::DeviceError(code)) = reading.value else { panic!() };
        assert_eq!(code, text);
    }

    #[test]
    fn what_has_a_stamp_has_an_identity_that_databases_know() {
        let device = || DeviceId::new("glu-01").unwrap();
        let observed = Observed { at: WallTime::from_unix_ms(7), quality: ClockQuality::Unknown };
        let reading = |metric| Reading::number(metric, 50_u32, Unit::MG_PER_DL);
        let group = |metric| ReadingGroup::new(device(), observed, vec![reading(metric)]);
        let mut spot = group(Metric::GLU_CAP_PL);
        assert_eq!(spot.identity(), None);
        spot.device_seq = Some(21);
        spot.device_time = Some(DeviceTime::Local { civil_ms: 1000 });
        let identity = spot.identity().unwrap();
        assert!(identity.starts_with("|(Some(1000), Some(21))|[("), "{identity}");
        // When it was observed, and in which zone, makes it no other.
        spot.observed.at = WallTime::from_unix_ms(9);
        spot.device_time = Some(DeviceTime::Local { civil_ms: 1000 }.in_zone(3600));
        assert_eq!(spot.identity(), Some(identity));
        let mut stream = group(Metric::HR);
        stream.device_seq = Some(21);
        assert_eq!(stream.identity(), None);
    }

    #[test]
    fn reasons_lead_back_from_their_names() {
        for reason in
            [NoData::LeadOff, NoData::DeviceError("E43".into()), NoData::Rejected("7".into())]
        {
            assert_eq!(NoData::from_name(reason.name(), reason.detail()), Some(reason));
        }
        assert_eq!(NoData::from_name("unheard_of", None), None);
    }
}
