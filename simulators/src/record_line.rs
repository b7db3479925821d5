//! A record as a line of text or JSON, as an engineer wants to read it.
//!
//! Names of fields and values are those of the county's API where it has them.

use drivers::serial::LinkNote;
use jiff::{Timestamp, tz::Offset};
use model::{
    device::DeviceStatus,
    id::DeviceId,
    reading::{Reading, ReadingGroup, Validity, Value},
    record::Record,
    time::{DeviceTime, WallTime},
    waveform::WaveformBlock,
};
use serde::Serialize;
use std::{collections::BTreeMap, fmt, time::Duration};

use crate::verify::sha256;

/// Digits of a hash that a person compares.
const HASH_SHOWN: usize = 12;

/// One line: when, after how many bytes of the device, of which device, and what.
#[derive(Debug, Serialize)]
pub(crate) struct Line {
    t: String,
    at: f64,
    offset: u64,
    device: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    channel: String,
    #[serde(flatten)]
    what: What,
}

#[derive(Debug, Serialize)]
#[serde(tag = "record", rename_all = "lowercase")]
enum What {
    Reading(ReadingLine),
    Waveform(WaveLine),
    Alarm(AlarmLine),
    Status(StatusLine),
    Note(NoteLine),
}

#[derive(Debug, Serialize)]
struct ReadingLine {
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<String>,
    metric: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    comparator: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unit: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    canonical_value: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    canonical_unit: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    no_data: Option<String>,
    validity: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    device_time: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    device_seq: Option<u64>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    context: BTreeMap<String, String>,
}

#[derive(Debug, Serialize)]
struct WaveLine {
    metric: String,
    start: String,
    period: Ratio,
    samples: usize,
    sha256: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    scale: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scale_offset: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unit: Option<String>,
    flags: Vec<&'static str>,
}

#[derive(Debug, Serialize)]
struct Ratio {
    num: u32,
    den: u32,
}

#[derive(Debug, Serialize)]
struct AlarmLine {
    phase: &'static str,
    kind: &'static str,
    code: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    text: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    priority: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    device_time: Option<String>,
}

#[derive(Debug, Serialize)]
struct StatusLine {
    state: &'static str,
    #[serde(skip_serializing_if = "String::is_empty")]
    reason: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    about: BTreeMap<String, String>,
}

#[derive(Debug, Serialize)]
struct NoteLine {
    note: &'static str,
    text: String,
}

impl Line {
    /// The lines of a record of a driver.
    pub(crate) fn of_record(record: &Record) -> Vec<Self> {
        match record {
            Record::Readings(group) => {
                let line = |reading| What::Reading(ReadingLine::of(group, reading));
                let channel = group.channel.as_str();
                let lines = group.readings.iter().map(line);
                lines.map(|what| Self::new(&group.device, channel, what)).collect()
            }
            Record::Waveform(block) => {
                let what = What::Waveform(WaveLine::of(block));
                vec![Self::new(&block.device, block.channel.as_str(), what)]
            }
            Record::Alarm(alarm) => {
                let what = What::Alarm(AlarmLine {
                    phase: alarm.phase.name(),
                    kind: alarm.kind.rule_id(),
                    code: alarm.code.clone(),
                    text: alarm.text.clone(),
                    priority: alarm.priority.map(model::alarm::Priority::name),
                    source: alarm.source.map(|metric| metric.to_string()),
                    device_time: alarm.device_time.map(civil),
                });
                vec![Self::new(&alarm.device, alarm.channel.as_str(), what)]
            }
            Record::Status(status) => {
                let what = What::Status(StatusLine::of(status));
                vec![Self::new(&status.device, "", what)]
            }
            // Said by the agent, never by a driver.
            Record::Started(_)
            | Record::Dropped(_)
            | Record::Action(_)
            | Record::Clock(_)
            | Record::Alert(_) => vec![],
        }
    }

    /// What an engineer should know of the link.
    pub(crate) fn of_note(device: &DeviceId, note: &LinkNote) -> Self {
        Self::new(device, "", What::Note(NoteLine { note: note.kind, text: note.text.clone() }))
    }

    fn new(device: &DeviceId, channel: &str, what: What) -> Self {
        let (device, channel) = (device.to_string(), channel.to_owned());
        Self { t: String::new(), at: 0.0, offset: 0, device, channel, what }
    }

    /// The same, said then and there.
    pub(crate) fn said(mut self, wall: WallTime, at: Duration, offset: u64) -> Self {
        (self.t, self.at, self.offset) = (moment(wall), at.as_secs_f64(), offset);
        self
    }
}

impl ReadingLine {
    fn of(group: &ReadingGroup, reading: &Reading) -> Self {
        let (value, comparator, no_data) = match &reading.value {
            Ok(Value::Number { number, comparator }) => {
                (Some(number.to_string()), comparator.sign(), None)
            }
            Ok(Value::Text(text)) => (Some(text.clone()), None, None),
            Err(reason) => (None, None, Some(reason.to_string())),
        };
        let canonical = reading.canonical().map(|(number, _)| number.to_string());
        let canonical_unit = canonical.as_ref().and(reading.metric.row().canonical_unit.as_ref());
        Self {
            group: group.group.map(|metric| metric.to_string()),
            metric: reading.metric.to_string(),
            value,
            comparator,
            unit: reading.unit.as_ref().map(ToString::to_string),
            canonical_unit: canonical_unit.map(ToString::to_string),
            canonical_value: canonical,
            no_data,
            validity: reading.validity.name(),
            device_time: group.device_time.map(civil),
            device_seq: group.device_seq,
            context: group.context.clone(),
        }
    }
}

impl WaveLine {
    fn of(block: &WaveformBlock) -> Self {
        let flags = block.flags;
        let flags = [
            (flags.lead_off, "lead_off"),
            (flags.saturation, "saturation"),
            (flags.pacer, "pacer"),
        ];
        let scale = block.scale.as_ref();
        Self {
            metric: block.metric.to_string(),
            start: moment(block.start.at),
            period: Ratio { num: block.period.numerator(), den: block.period.denominator() },
            samples: block.samples.len(),
            sha256: sha256(&block.samples),
            scale: scale.map(|scale| scale.per_count.to_string()),
            scale_offset: scale.map(|scale| scale.offset),
            unit: scale.map(|scale| scale.unit.to_string()),
            flags: flags.into_iter().filter_map(|(up, name)| up.then_some(name)).collect(),
        }
    }
}

impl StatusLine {
    fn of(status: &DeviceStatus) -> Self {
        let about = status.about.clone();
        Self { state: status.state.name(), reason: status.reason.clone(), about }
    }
}

impl fmt::Display for Line {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let channel = if self.channel.is_empty() { "-" } else { &self.channel };
        write!(out, "{} {:>8}  {:<14} {channel:<3} ", self.t, self.offset, self.device)?;
        match &self.what {
            What::Reading(line) => line.fmt(out),
            What::Waveform(line) => line.fmt(out),
            What::Alarm(line) => line.fmt(out),
            What::Status(line) => line.fmt(out),
            What::Note(NoteLine { note, text }) => write!(out, "note {note}: {text}"),
        }
    }
}

impl fmt::Display for ReadingLine {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.value, &self.no_data) {
            (Some(value), _) => {
                write!(out, "{} {}{value}", self.metric, self.comparator.unwrap_or_default())?;
            }
            (None, reason) => {
                write!(out, "{} no data: {}", self.metric, reason.as_deref().unwrap_or_default())?;
            }
        }
        if let (Some(unit), Some(_)) = (&self.unit, &self.value) {
            write!(out, " {unit}")?;
        }
        if self.validity != Validity::Valid.name() {
            write!(out, " [{}]", self.validity)?;
        }
        if let Some(time) = &self.device_time {
            write!(out, " at {time}")?;
        }
        if let Some(seq) = self.device_seq {
            write!(out, " no {seq}")?;
        }
        words(out, &self.context)
    }
}

impl fmt::Display for WaveLine {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Ratio { num, den } = self.period;
        write!(out, "{} {} samples of {num}/{den} s", self.metric, self.samples)?;
        write!(out, " from {}, {}", self.start, self.sha256.get(..HASH_SHOWN).unwrap_or_default())?;
        if let (Some(scale), Some(offset), Some(unit)) =
            (&self.scale, self.scale_offset, &self.unit)
        {
            write!(out, ", {scale} {unit} a count from {offset}")?;
        }
        self.flags.iter().try_for_each(|flag| write!(out, " [{flag}]"))
    }
}

impl fmt::Display for AlarmLine {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "alarm {} {} {}", self.phase, self.kind, self.code)?;
        let details = [("text", Some(self.text.as_str()).filter(|text| !text.is_empty()))];
        let details = details.into_iter().chain([
            ("priority", self.priority),
            ("source", self.source.as_deref()),
            ("at", self.device_time.as_deref()),
        ]);
        let details = details.filter_map(|(name, text)| Some((name.to_owned(), text?.to_owned())));
        words(out, &details.collect())
    }
}

impl fmt::Display for StatusLine {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "status {}", self.state)?;
        if !self.reason.is_empty() {
            write!(out, ": {}", self.reason)?;
        }
        words(out, &self.about)
    }
}

/// ` (meal=meal_pre, site=finger)`
fn words(out: &mut fmt::Formatter<'_>, words: &BTreeMap<String, String>) -> fmt::Result {
    let words: Vec<_> = words.iter().map(|(name, text)| format!("{name}={text}")).collect();
    if words.is_empty() { Ok(()) } else { write!(out, " ({})", words.join(", ")) }
}

/// RFC 3339 in UTC, to the millisecond.
fn moment(wall: WallTime) -> String {
    let time = Timestamp::from_millisecond(wall.unix_ms()).unwrap_or(Timestamp::UNIX_EPOCH);
    format!("{time:.3}")
}

/// RFC 3339, with a zone where the device's is known.
fn civil(time: DeviceTime) -> String {
    let moment = Timestamp::from_millisecond(time.civil_ms()).unwrap_or(Timestamp::UNIX_EPOCH);
    let civil = Offset::UTC.to_datetime(moment);
    match time {
        DeviceTime::Local { .. } => civil.to_string(),
        DeviceTime::Zoned { offset_s, .. } => {
            let sign = if offset_s < 0 { '-' } else { '+' };
            let minutes = offset_s.unsigned_abs() / 60;
            format!("{civil}{sign}{:02}:{:02}", minutes / 60, minutes % 60)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_the_api_writes_them() {
        assert_eq!(moment(WallTime::from_unix_ms(1_795_335_300_000)), "2026-11-22T08:15:00.000Z");
        let civil_ms = 1_795_335_300_000;
        assert_eq!(civil(DeviceTime::Local { civil_ms }), "2026-11-22T08:15:00");
        let east = DeviceTime::Zoned { civil_ms, offset_s: 28_800 };
        assert_eq!(civil(east), "2026-11-22T08:15:00+08:00");
        let west = DeviceTime::Zoned { civil_ms, offset_s: -12_600 };
        assert_eq!(civil(west), "2026-11-22T08:15:00-03:30");
    }
}
