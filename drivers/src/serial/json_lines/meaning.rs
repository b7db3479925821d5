//! What a line means: its words as readings, waveform blocks and device alarms.
//!
//! Not here: lines and their numbers, acknowledgement, silence.
//!
//! # Invariants
//! - a line is taken as a whole or refused as a whole
//! - what is refused says what to write instead; nothing is guessed: no unit, no metric, no zone
//! - limits of values are those of the catalogue, as for every other driver

use super::{
    codec::{AlarmLine, Part, ReadingsLine, ScaleField, Texts, WaveLine},
    value::{decimal, device_time, period, period_of_ms},
};
use model::{
    alarm::{AlarmKind, AlarmPhase, DeviceAlarm, Priority},
    decimal::{Decimal, ParseDecimalError},
    id::{Channel, DeviceId},
    metric::{Class, Kind, Metric},
    reading::{
        CONTEXT_LEN_MAX, Comparator, GROUP_LEN_MAX, NoData, Occurrence, Reading, ReadingGroup,
        Validity, shortened,
    },
    time::{DeviceTime, Observed},
    units::{Unit, canonical},
    waveform::{SAMPLES_MAX, SamplePeriod, Scale, WaveformFlags},
};
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use thiserror::Error;

/// Facts of the description and of the catalogue.
mod spec {
    use super::Metric;

    /// The parts of one inflation, in the order in which missing ones are added.
    pub(super) const INFLATION: [Metric; 4] =
        [Metric::NIBP_SYS, Metric::NIBP_MEAN, Metric::NIBP_DIA, Metric::PULSE_NIBP];
    /// "A waveform block has at most a second" (model).
    pub(super) const BLOCK_US_MAX: u64 = 1_000_000;
    /// What a device says of itself: serial number, version, model, options.
    pub(super) const ABOUT_LEN_MAX: usize = 16;
    /// "MDC_EVT_APNEA" (metric catalogue, "Event codes").
    pub(super) const APNOEA: [&str; 2] = ["199680", "MDC_EVT_APNEA"];
}

/// Why a line is refused: what is wrong; what to write instead.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub(super) enum Refusal {
    #[error("\"{0}\" is no metric; use a name of the metric catalogue (drivers/model/metrics.csv)")]
    UnknownMetric(String),
    #[error("{metric} is no reading of its own; {instead}")]
    NoReading { metric: Metric, instead: &'static str },
    #[error("{0} is no waveform; send it as \"metric\" with a \"value\"")]
    NoWave(Metric),
    #[error("{0} has neither value nor reason; add \"value\", or \"no_data\" with a reason")]
    NoValue(Metric),
    #[error("{0} has a value and \"no_data\"; send one of the two")]
    ValueAndNoData(Metric),
    #[error("the value of {metric} is {text}; send {wanted}")]
    WrongValue { metric: Metric, text: String, wanted: &'static str },
    #[error("\"{text}\" of {metric}: {source}")]
    Number { metric: Metric, text: String, source: ParseDecimalError },
    #[error("{metric} has no unit; add \"unit\":\"{unit}\"")]
    NoUnit { metric: Metric, unit: String },
    #[error("\"{unit}\" is no unit of {metric}; use \"{wanted}\" or what converts to it")]
    WrongUnit { metric: Metric, unit: String, wanted: String },
    #[error("\"{word}\" is no {field}; use one of: {known}")]
    Word { field: &'static str, word: String, known: String },
    #[error("\"{0}\" needs \"no_data\":\"device_error\"")]
    NeedsDeviceError(&'static str),
    #[error("device_error has no code; add \"detail\" with the device's own code")]
    NoDetail,
    #[error("a comparator belongs to a number; leave it out")]
    StrayComparator,
    #[error("\"{0}\" is no group; the only one is nibp, others are sent without \"group\"")]
    NoGroup(String),
    #[error("{0} is no part of nibp; send it in a line of its own")]
    NotOfNibp(Metric),
    #[error("the line has {0} parts; send 1 to {GROUP_LEN_MAX}")]
    Parts(usize),
    #[error("{0} is there twice; send a part once, or use \"channel\" in two lines")]
    Twice(Metric),
    #[error(
        "{event} is measured once and {stream} repeats; send two lines, or \"spot\":true if the \
         device measured both once"
    )]
    Mixed { event: Metric, stream: Metric },
    #[error("\"{0}\" is no channel; use up to 16 printable ASCII characters without a space")]
    Channel(String),
    #[error(
        "\"{0}\" is no time; send it as 2026-11-22T08:30:00+08:00, without zone if it is local"
    )]
    Time(String),
    #[error("seq {0} is too big; use numbers below 2^63")]
    Seq(u64),
    #[error("\"{field}\" has {count} entries; send at most {most}")]
    Entries { field: &'static str, count: usize, most: usize },
    #[error("\"{0}\" is too long or has control characters; send at most 128 bytes of text")]
    Text(String),
    #[error("{0} is no alarm code; send the MDC event code, or the device's own in quotes")]
    NoCode(String),
    #[error("the block has {0} samples; send 1 to {SAMPLES_MAX}")]
    Samples(usize),
    #[error("the block is longer than a second; send shorter blocks")]
    BlockTooLong,
    #[error(
        "the period is missing or none; send \"period_ms\":4 or \"period\":{{\"num\":1,\"den\":250}}"
    )]
    Period,
}

/// What the alarms that are up say about a zero.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Zeros {
    /// The heart stands still: a heart rate of 0 is one.
    pub(super) heart: bool,
    /// No breath: a respiration rate of 0 is one.
    pub(super) breath: bool,
}

impl Zeros {
    /// What that alarm says about a zero.
    pub(super) fn of(alarm: &DeviceAlarm) -> Self {
        Self {
            heart: matches!(alarm.kind, AlarmKind::Asystole | AlarmKind::VentricularFibrillation),
            breath: spec::APNOEA.contains(&alarm.code.as_str()),
        }
    }
}

/// What the device says of itself.
pub(super) fn about(texts: Texts) -> Result<BTreeMap<String, String>, Refusal> {
    checked("about", texts, spec::ABOUT_LEN_MAX)
}

/// The reading group of a line.
pub(super) fn group(
    line: ReadingsLine,
    zeros: Zeros,
    device: &DeviceId,
    observed: Observed,
) -> Result<ReadingGroup, Refusal> {
    if !(1..=GROUP_LEN_MAX).contains(&line.parts.len()) {
        return Err(Refusal::Parts(line.parts.len()));
    }
    let inflation = match line.group.as_deref() {
        None => false,
        Some(name) if Metric::from_name(name) == Some(Metric::NIBP) => true,
        Some(name) => return Err(Refusal::NoGroup(shortened(name))),
    };
    let mut readings: Vec<Reading> = Vec::with_capacity(line.parts.len());
    for part in line.parts {
        let metric = metric(&part.metric)?;
        if readings.iter().any(|reading| reading.metric == metric) {
            return Err(Refusal::Twice(metric));
        }
        match spec::INFLATION.contains(&metric) {
            false if inflation => return Err(Refusal::NotOfNibp(metric)),
            true if !inflation && metric != Metric::PULSE_NIBP => {
                let instead =
                    "send {\"group\":\"nibp\",\"parts\":[…]} with all parts of the inflation";
                return Err(Refusal::NoReading { metric, instead });
            }
            _ => readings.push(reading(metric, part, zeros)?),
        }
    }
    if inflation {
        let sent: Vec<_> = readings.iter().map(|reading| reading.metric).collect();
        let missing = spec::INFLATION.iter().filter(|part| !sent.contains(part));
        readings.extend(missing.map(|part| Reading::no_data(*part, NoData::NotAvailable)));
    }
    let occurrence = occurrence(&readings, line.spot)?;
    let context = checked("context", line.context, CONTEXT_LEN_MAX)?;
    let seq = line.seq.filter(|seq| i64::try_from(*seq).is_err());
    if let Some(seq) = seq {
        return Err(Refusal::Seq(seq));
    }
    let time = time(line.device_time.as_deref())?;
    let mut group = ReadingGroup::new(device.clone(), observed, readings)
        .on_channel(channel(line.channel.as_deref())?)
        .at_device_time(time);
    if inflation {
        group = group.as_group(Metric::NIBP);
    }
    (group.occurrence, group.device_seq, group.context) = (occurrence, line.seq, context);
    Ok(group)
}

/// A block of a line, without its place in time.
pub(super) struct Samples {
    pub(super) metric: Metric,
    pub(super) channel: Channel,
    pub(super) period: SamplePeriod,
    pub(super) span_us: u64,
    pub(super) scale: Option<Scale>,
    pub(super) samples: Vec<i32>,
    pub(super) flags: WaveformFlags,
}

/// The samples of a line.
pub(super) fn samples(line: WaveLine) -> Result<Samples, Refusal> {
    let metric = known(&line.wave)?;
    if metric.row().kind != Kind::Wave {
        return Err(Refusal::NoWave(metric));
    }
    let period = match (&line.period_ms, line.period) {
        (Some(ms), None) => {
            decimal(unquoted(ms).as_deref().unwrap_or(ms.get())).ok().and_then(period_of_ms)
        }
        (None, Some(ratio)) => period(ratio.num, ratio.den),
        _ => None,
    };
    let period = period.ok_or(Refusal::Period)?;
    let count = line.samples.len();
    if !(1..=SAMPLES_MAX).contains(&count) {
        return Err(Refusal::Samples(count));
    }
    let span_us = period.span_us(u32::try_from(count).unwrap_or(u32::MAX));
    if span_us > spec::BLOCK_US_MAX {
        return Err(Refusal::BlockTooLong);
    }
    let scale = line.scale.map(|scale| self::scale(metric, &scale)).transpose()?;
    let WaveLine { lead_off, saturation, pacer, samples, .. } = line;
    let flags = WaveformFlags { lead_off, saturation, pacer };
    let channel = channel(line.channel.as_deref())?;
    Ok(Samples { metric, channel, period, span_us, scale, samples, flags })
}

/// The device alarm of a line.
pub(super) fn alarm(
    line: AlarmLine,
    device: &DeviceId,
    observed: Observed,
) -> Result<DeviceAlarm, Refusal> {
    let number = line.alarm.get();
    let code = match unquoted(&line.alarm) {
        Some(text) if !text.is_empty() => whole(&text)?,
        None if number.bytes().all(|byte| byte.is_ascii_digit()) => whole(number)?,
        _ => return Err(Refusal::NoCode(shortened(number))),
    };
    let phase = word("phase", &line.phase, AlarmPhase::ALL, AlarmPhase::name)?;
    let of_code = |code: &str| {
        let number = code.parse().ok()?;
        AlarmKind::ALL.iter().copied().find(|kind| kind.mdc_code32() == Some(number))
    };
    let kind = match &line.kind {
        Some(name) => word("kind", name, AlarmKind::ALL.iter().copied(), AlarmKind::rule_id)?,
        None => of_code(&code).unwrap_or(AlarmKind::Other),
    };
    let priority = line.priority.as_deref();
    let priority =
        priority.map(|name| word("priority", name, Priority::ALL, Priority::name)).transpose()?;
    Ok(DeviceAlarm {
        device: device.clone(),
        channel: channel(line.channel.as_deref())?,
        phase,
        kind,
        code,
        text: whole(line.text.as_deref().unwrap_or_default())?,
        priority,
        latched: false,
        source: line.source.as_deref().map(known).transpose()?,
        device_time: time(line.device_time.as_deref())?,
        observed,
    })
}

fn known(name: &str) -> Result<Metric, Refusal> {
    Metric::from_name(name).ok_or_else(|| Refusal::UnknownMetric(shortened(name)))
}

/// A metric that can be a reading.
fn metric(name: &str) -> Result<Metric, Refusal> {
    let metric = known(name)?;
    let instead = match (metric, metric.row().kind) {
        (Metric::NIBP, _) => "send {\"group\":\"nibp\",\"parts\":[…]}",
        (Metric::CUFF_PRESSURE, _) => "leave it out: it is never stored",
        (Metric::LINK_STATE, _) => "leave it out: the agent decides it",
        (_, Kind::Wave) => "send it as \"wave\" with \"samples\"",
        (_, Kind::Event) => "send it as \"alarm\" with a \"phase\"",
        _ if metric.row().class == Class::GlucoseContext => {
            "put it into \"context\" of the glucose reading"
        }
        _ => return Ok(metric),
    };
    Err(Refusal::NoReading { metric, instead })
}

fn reading(metric: Metric, part: Part, zeros: Zeros) -> Result<Reading, Refusal> {
    let validity = part.validity.as_deref();
    let validity =
        validity.map(|name| word("validity", name, Validity::ALL, Validity::name)).transpose()?;
    let mut reading = match (&part.value, &part.no_data) {
        (None, None) => return Err(Refusal::NoValue(metric)),
        (Some(_), Some(_)) => return Err(Refusal::ValueAndNoData(metric)),
        (_, None) if part.detail.is_some() => return Err(Refusal::NeedsDeviceError("detail")),
        (None, Some(_)) if part.comparator.is_some() => return Err(Refusal::StrayComparator),
        (None, Some(reason)) => {
            Reading::no_data(metric, reason_of(reason, part.detail.as_deref())?)
        }
        (Some(value), None) => valued(metric, value, &part, zeros)?,
    };
    // The worse of what the catalogue and the device say.
    reading.validity = reading.validity.max(validity.unwrap_or(Validity::Valid));
    Ok(reading)
}

/// "Reasons of no_data"; silence is the driver's word, rejection the catalogue's.
fn reason_of(name: &str, detail: Option<&str>) -> Result<NoData, Refusal> {
    let reasons = [
        NoData::SensorOff,
        NoData::LeadOff,
        NoData::Searching,
        NoData::NotAvailable,
        NoData::Calibrating,
        NoData::Motion,
        NoData::Off,
        NoData::LowSignal,
        NoData::DeviceError(String::new()),
    ];
    let known: Vec<_> = reasons.iter().map(NoData::name).collect();
    let found = reasons.into_iter().find(|reason| reason.name() == name);
    match (found, detail) {
        (Some(NoData::DeviceError(_)), Some(code)) => Ok(NoData::DeviceError(whole(code)?)),
        (Some(NoData::DeviceError(_)), None) => Err(Refusal::NoDetail),
        (Some(_), Some(_)) => Err(Refusal::NeedsDeviceError("detail")),
        (Some(reason), None) => Ok(reason),
        (None, _) => {
            Err(Refusal::Word { field: "no_data", word: shortened(name), known: known.join(", ") })
        }
    }
}

fn valued(metric: Metric, value: &RawValue, part: &Part, zeros: Zeros) -> Result<Reading, Refusal> {
    let row = metric.row();
    let text = unquoted(value);
    // An entry of a nurse may be a word (yes) or a number (2 L/min): the unit tells.
    let word_or_number = row.kind == Kind::Spot && row.canonical_unit.is_none();
    let takes_text = row.kind == Kind::State || word_or_number && part.unit.is_none();
    match (text, takes_text) {
        (Some(text), true) if part.comparator.is_some() || part.unit.is_some() => {
            let wanted = "it without unit and comparator";
            Err(Refusal::WrongValue { metric, text: shortened(&text), wanted })
        }
        (Some(text), true) => Ok(Reading::text(metric, &whole(&text)?)),
        (None, true) if row.kind == Kind::State => {
            let text = shortened(value.get());
            Err(Refusal::WrongValue { metric, text, wanted: "a text in quotes" })
        }
        (text, _) => number(metric, text.as_deref().unwrap_or(value.get()), part, zeros),
    }
}

fn number(metric: Metric, text: &str, part: &Part, zeros: Zeros) -> Result<Reading, Refusal> {
    let number = decimal(text).map_err(|source| {
        let text = shortened(text);
        Refusal::Number { metric, text, source }
    })?;
    let unit = unit(metric, part.unit.as_deref())?;
    let comparator = match part.comparator.as_deref() {
        None => Comparator::Equal,
        Some("<") => Comparator::Below,
        Some(">") => Comparator::Above,
        Some(other) => {
            let (word, known) = (shortened(other), "<, >".to_owned());
            return Err(Refusal::Word { field: "comparator", word, known });
        }
    };
    let zero = comparator == Comparator::Equal && number == Decimal::ZERO;
    let no_value = match metric.row().class {
        Class::Hr => !zeros.heart,
        Class::Rr => !zeros.breath,
        Class::Spo2 | Class::NibpSys | Class::NibpDia | Class::NibpMean => true,
        _ => false,
    };
    // "`0` is no value for HR, RR, SpO2 and NIBP unless the device also flags asystole, apnoea"
    // (metric catalogue, "No value markers").
    if zero && no_value {
        return Ok(Reading::no_data(metric, NoData::NotAvailable));
    }
    // Without a canonical value no limit could be applied: more digits than any patient has.
    if metric.row().canonical_unit.is_some() && !any_unit(metric) {
        let judged = canonical(metric, number, &unit);
        if judged.is_none() {
            return Ok(Reading::no_data(metric, NoData::Rejected(number.to_string())));
        }
    }
    Ok(Reading::new(metric, number, comparator, unit))
}

/// Drug amounts and concentrations are printed as sent: whatever the pump's unit is.
fn any_unit(metric: Metric) -> bool {
    metric.row().canonical_unit.is_none() || metric.row().decimals.is_none()
}

fn unit(metric: Metric, sent: Option<&str>) -> Result<Unit, Refusal> {
    let wanted = metric.row().canonical_unit.as_ref();
    let wanted = wanted.map_or_else(|| "its unit in UCUM".to_owned(), ToString::to_string);
    let Some(sent) = sent else { return Err(Refusal::NoUnit { metric, unit: wanted }) };
    let converts =
        |unit: &Unit| any_unit(metric) || canonical(metric, Decimal::ZERO, unit).is_some();
    let unit = shortened(sent);
    Unit::new(sent).filter(converts).ok_or(Refusal::WrongUnit { metric, unit, wanted })
}

fn scale(metric: Metric, sent: &ScaleField) -> Result<Scale, Refusal> {
    let text = unquoted(&sent.per_count);
    let text = text.as_deref().unwrap_or(sent.per_count.get());
    let per_count = decimal(text).map_err(|source| {
        let text = shortened(text);
        Refusal::Number { metric, text, source }
    })?;
    if per_count == Decimal::ZERO {
        let text = shortened(text);
        return Err(Refusal::WrongValue { metric, text, wanted: "a scale that is not 0" });
    }
    Ok(Scale { per_count, offset: sent.offset, unit: unit(metric, Some(&sent.unit))? })
}

/// Spot if a part is an event of its own, or the source says that it measured once.
fn occurrence(readings: &[Reading], spot: bool) -> Result<Occurrence, Refusal> {
    let first = |kind| {
        let mut metrics = readings.iter().map(|reading| reading.metric);
        metrics.find(|metric| metric.row().kind == kind)
    };
    match (first(Kind::Spot), first(Kind::Stream)) {
        _ if spot => Ok(Occurrence::Spot),
        (Some(event), Some(stream)) => Err(Refusal::Mixed { event, stream }),
        (Some(_), None) => Ok(Occurrence::Spot),
        (None, _) => Ok(Occurrence::Stream),
    }
}

fn word<T: Copy>(
    field: &'static str,
    sent: &str,
    all: impl IntoIterator<Item = T>,
    name: impl Fn(T) -> &'static str,
) -> Result<T, Refusal> {
    let all: Vec<_> = all.into_iter().collect();
    let found = all.iter().copied().find(|known| name(*known) == sent);
    found.ok_or_else(|| {
        let known: Vec<_> = all.into_iter().map(name).collect();
        Refusal::Word { field, word: shortened(sent), known: known.join(", ") }
    })
}

fn channel(name: Option<&str>) -> Result<Channel, Refusal> {
    let name = name.unwrap_or_default();
    Channel::new(name).ok_or_else(|| Refusal::Channel(shortened(name)))
}

fn time(text: Option<&str>) -> Result<Option<DeviceTime>, Refusal> {
    let parsed = |text| device_time(text).ok_or_else(|| Refusal::Time(shortened(text)));
    text.map(parsed).transpose()
}

fn checked(
    field: &'static str,
    texts: Texts,
    most: usize,
) -> Result<BTreeMap<String, String>, Refusal> {
    let Texts(texts) = texts;
    if texts.len() > most {
        return Err(Refusal::Entries { field, count: texts.len(), most });
    }
    texts.iter().flat_map(|(key, text)| [key, text]).try_for_each(|text| whole(text).map(drop))?;
    Ok(texts)
}

/// The text, if a record can carry all of it.
fn whole(text: &str) -> Result<String, Refusal> {
    let short = shortened(text);
    if short == text { Ok(short) } else { Err(Refusal::Text(short)) }
}

/// The text of a JSON string; `None` for a number, an object or whatever else.
fn unquoted(value: &RawValue) -> Option<String> {
    serde_json::from_str(value.get()).ok()
}
