//! Records as positional arrays; the first position is the kind.
//!
//! Times are milliseconds after the envelope was opened (they may be negative).

use super::{lane_number, lane_of, outbox_bytes, read_outbox};
use crate::{
    samples,
    wire::{DecodeError, Positions, field, int, number, text},
};
use ciborium::Value;
use model::{
    alarm::{AlarmKind, AlarmPhase, DeviceAlarm, Priority},
    decimal::Decimal,
    device::{DeviceAction, DeviceKind, DeviceState, DeviceStatus},
    id::{Channel, DeviceId, OutboxId, Seq},
    metric::Metric,
    reading::{
        CONTEXT_LEN_MAX, Comparator, GROUP_LEN_MAX, NoData, Occurrence, Reading, ReadingGroup,
        Validity, Value as Said, shortened,
    },
    record::{AgentStarted, ClockChange, DropCause, DropRecord, Record},
    time::{ClockQuality, DeviceTime, Observed, WallTime},
    units::Unit,
    waveform::{SamplePeriod, Scale, WaveformBlock, WaveformFlags},
};
use std::collections::BTreeMap;

/// First positions.
mod kind {
    pub(super) const READINGS: u8 = 1;
    pub(super) const WAVEFORM: u8 = 2;
    pub(super) const ALARM: u8 = 3;
    pub(super) const STATUS: u8 = 4;
    pub(super) const STARTED: u8 = 5;
    pub(super) const DROPPED: u8 = 6;
    pub(super) const ACTION: u8 = 7;
    pub(super) const CLOCK: u8 = 8;
}

/// Bits of a waveform block's flags.
mod flag {
    pub(super) const LEAD_OFF: u8 = 1;
    pub(super) const SATURATION: u8 = 2;
    pub(super) const PACER: u8 = 4;
}

/// Place of the outbox id in a drop record: behind everything else, and often not there.
const DROP_OUTBOX: usize = 9;

const COMPARATORS: [Comparator; 3] = [Comparator::Equal, Comparator::Below, Comparator::Above];

/// Devices and metrics of one envelope, named once.
#[derive(Debug, Default)]
pub(crate) struct Names {
    pub(crate) devices: Vec<DeviceId>,
    pub(crate) metrics: Vec<Metric>,
    /// While decoding: place in the envelope's list → metric, where this version knows it.
    known: BTreeMap<u64, Metric>,
}

/// The index of an item in a list, which gets it if it is not there.
fn index<T: Clone + PartialEq>(list: &mut Vec<T>, item: &T) -> Value {
    let place = list.iter().position(|known| known == item).unwrap_or_else(|| {
        list.push(item.clone());
        list.len() - 1
    });
    // An envelope of 64 KiB has fewer than 2^32 names.
    number(u32::try_from(place).unwrap_or(u32::MAX))
}

/// The number of an item in a closed list.
fn place<T: PartialEq>(list: &[T], item: &T) -> Value {
    let place = list.iter().position(|known| known == item).unwrap_or_default();
    number(u8::try_from(place).unwrap_or_default())
}

fn pick<T: Copy>(list: &[T], place: Option<usize>) -> Option<T> {
    list.get(place?).copied()
}

impl Names {
    pub(crate) fn decode(map: &Value) -> Result<(Self, u32), DecodeError> {
        let list = |key| field(map, key)?.as_array().ok_or(DecodeError::Shape(key));
        let devices = list("d")?
            .iter()
            .map(|name| DeviceId::new(name.as_text()?).ok())
            .collect::<Option<Vec<_>>>()
            .ok_or(DecodeError::Shape("d"))?;
        let mut known = BTreeMap::new();
        let mut unknown = 0_u32;
        for (place, name) in (0..).zip(list("m")?) {
            match Metric::from_name(name.as_text().ok_or(DecodeError::Shape("m"))?) {
                Some(metric) => drop(known.insert(place, metric)),
                None => unknown = unknown.saturating_add(1),
            }
        }
        Ok((Self { devices, metrics: Vec::new(), known }, unknown))
    }

    pub(crate) fn encode(&mut self, record: &Record, base: WallTime) -> Value {
        Value::Array(match record {
            Record::Readings(group) => self.encode_group(group, base),
            Record::Waveform(block) => self.encode_block(block, base),
            Record::Alarm(alarm) => self.encode_alarm(alarm, base),
            Record::Status(status) => vec![
                number(kind::STATUS),
                index(&mut self.devices, &status.device),
                text(status.kind.name()),
                text(&status.driver),
                text(status.state.name()),
                text(&status.reason),
                texts(&status.about),
                after(base, status.observed.at),
                place(&ClockQuality::ALL, &status.observed.quality),
            ],
            Record::Started(started) => vec![
                number(kind::STARTED),
                text(&started.version),
                after(base, started.observed.at),
                place(&ClockQuality::ALL, &started.observed.quality),
            ],
            Record::Dropped(dropped) => encode_drop(dropped, base),
            Record::Action(action) => vec![
                number(kind::ACTION),
                index(&mut self.devices, &action.device),
                text(&action.action),
                text(&action.text),
                after(base, action.observed.at),
                place(&ClockQuality::ALL, &action.observed.quality),
            ],
            Record::Clock(change) => vec![
                number(kind::CLOCK),
                after(base, change.before),
                text(&change.evidence),
                after(base, change.observed.at),
                place(&ClockQuality::ALL, &change.observed.quality),
            ],
        })
    }

    fn encode_group(&mut self, group: &ReadingGroup, base: WallTime) -> Vec<Value> {
        let readings = group.readings.iter().map(|reading| self.encode_reading(reading)).collect();
        vec![
            number(kind::READINGS),
            index(&mut self.devices, &group.device),
            text(group.channel.as_str()),
            self.metric_or_null(group.group),
            number(u8::from(group.occurrence == Occurrence::Spot)),
            device_time(group.device_time),
            after(base, group.observed.at),
            place(&ClockQuality::ALL, &group.observed.quality),
            group.device_seq.map_or(Value::Null, number),
            texts(&group.context),
            Value::Array(readings),
        ]
    }

    fn encode_reading(&mut self, reading: &Reading) -> Value {
        let value = match &reading.value {
            Ok(Said::Number { number: decimal, comparator }) => Value::Array(vec![
                number(decimal.mantissa()),
                number(decimal.exponent()),
                place(&COMPARATORS, comparator),
            ]),
            Ok(Said::Text(said)) => text(said),
            Err(reason) => {
                let detail = reason.detail().map_or(Value::Null, text);
                Value::Array(vec![text(reason.name()), detail])
            }
        };
        let unit = match &reading.unit {
            None => Value::Bool(false),
            unit if *unit == reading.metric.row().canonical_unit => Value::Null,
            Some(unit) => text(unit.as_str()),
        };
        Value::Array(vec![
            index(&mut self.metrics, &reading.metric),
            value,
            unit,
            place(&Validity::ALL, &reading.validity),
        ])
    }

    fn encode_block(&mut self, block: &WaveformBlock, base: WallTime) -> Vec<Value> {
        let WaveformFlags { lead_off, saturation, pacer } = block.flags;
        let bits =
            [(lead_off, flag::LEAD_OFF), (saturation, flag::SATURATION), (pacer, flag::PACER)];
        let flags = bits.into_iter().fold(0, |all, (set, bit)| if set { all | bit } else { all });
        let scale = block.scale.as_ref().map_or(Value::Null, |scale| {
            Value::Array(vec![
                number(scale.per_count.mantissa()),
                number(scale.per_count.exponent()),
                number(scale.offset),
                text(scale.unit.as_str()),
            ])
        });
        vec![
            number(kind::WAVEFORM),
            index(&mut self.devices, &block.device),
            text(block.channel.as_str()),
            index(&mut self.metrics, &block.metric),
            after(base, block.start.at),
            place(&ClockQuality::ALL, &block.start.quality),
            number(block.period.numerator()),
            number(block.period.denominator()),
            scale,
            number(flags),
            number(samples::CODEC_PREDICTIVE),
            Value::Bytes(samples::encode(&block.samples)),
        ]
    }

    fn encode_alarm(&mut self, alarm: &DeviceAlarm, base: WallTime) -> Vec<Value> {
        vec![
            number(kind::ALARM),
            index(&mut self.devices, &alarm.device),
            text(alarm.channel.as_str()),
            text(alarm.phase.name()),
            text(alarm.kind.rule_id()),
            text(&alarm.code),
            text(&alarm.text),
            alarm.priority.map_or(Value::Null, |priority| text(priority.name())),
            self.metric_or_null(alarm.source),
            device_time(alarm.device_time),
            after(base, alarm.observed.at),
            place(&ClockQuality::ALL, &alarm.observed.quality),
        ]
    }

    fn metric_or_null(&mut self, metric: Option<Metric>) -> Value {
        metric.map_or(Value::Null, |metric| index(&mut self.metrics, &metric))
    }

    pub(crate) fn decode_record(&self, value: &Value, base: WallTime) -> Option<Record> {
        let mut at = Positions::of(value)?;
        Some(match at.int::<u8>()? {
            kind::READINGS => Record::Readings(self.group(&mut at, base)?),
            kind::WAVEFORM => Record::Waveform(self.block(&mut at, base)?),
            kind::ALARM => Record::Alarm(self.alarm(&mut at, base)?),
            kind::STATUS => Record::Status(DeviceStatus {
                device: self.device(&mut at)?,
                kind: DeviceKind::from_name(at.text()?)?,
                driver: shortened(at.text()?),
                state: named(&DeviceState::ALL, DeviceState::name, at.text()?)?,
                reason: shortened(at.text()?),
                about: read_texts(at.next()?)?,
                observed: observed(&mut at, base)?,
            }),
            kind::STARTED => Record::Started(AgentStarted {
                version: shortened(at.text()?),
                observed: observed(&mut at, base)?,
            }),
            kind::DROPPED => Record::Dropped(decode_drop(&mut at, base)?),
            kind::ACTION => Record::Action(DeviceAction {
                device: self.device(&mut at)?,
                action: shortened(at.text()?),
                text: shortened(at.text()?),
                observed: observed(&mut at, base)?,
            }),
            kind::CLOCK => Record::Clock(ClockChange {
                before: read_after(&mut at, base)?,
                evidence: shortened(at.text()?),
                observed: observed(&mut at, base)?,
            }),
            _ => return None,
        })
    }

    fn group(&self, at: &mut Positions<'_>, base: WallTime) -> Option<ReadingGroup> {
        let device = self.device(at)?;
        let channel = Channel::new(at.text()?)?;
        let group = self.optional_metric(at)?;
        let occurrence = match at.int::<u8>()? {
            0 => Occurrence::Stream,
            1 => Occurrence::Spot,
            _ => return None,
        };
        let device_time = read_device_time(at.next()?)?;
        let observed = observed(at, base)?;
        let device_seq = match at.next()? {
            Value::Null => None,
            value => Some(int(value)?),
        };
        let context = read_texts(at.next()?)?;
        let readings = at.next()?.as_array()?;
        let readings: Vec<Reading> =
            readings.iter().filter_map(|value| self.reading(value)).take(GROUP_LEN_MAX).collect();
        (!readings.is_empty()).then_some(ReadingGroup {
            device,
            channel,
            group,
            occurrence,
            device_time,
            observed,
            device_seq,
            context,
            readings,
        })
    }

    fn reading(&self, value: &Value) -> Option<Reading> {
        let mut at = Positions::of(value)?;
        let metric = *self.known.get(&at.int()?)?;
        let value = match at.next()? {
            Value::Text(said) => Ok(Said::Text(shortened(said))),
            value => {
                let mut parts = Positions::of(value)?;
                match parts.next()? {
                    Value::Text(reason) => {
                        Err(NoData::from_name(reason, parts.next().and_then(Value::as_text))?)
                    }
                    mantissa => Ok(Said::Number {
                        number: Decimal::new(int(mantissa)?, parts.int()?)?,
                        comparator: pick(&COMPARATORS, parts.int())?,
                    }),
                }
            }
        };
        let unit = match at.next()? {
            Value::Null => metric.row().canonical_unit.clone(),
            Value::Bool(false) => None,
            unit => Some(Unit::new(unit.as_text()?)?),
        };
        let validity = pick(&Validity::ALL, at.int())?;
        Some(Reading { metric, value, unit, validity })
    }

    fn block(&self, at: &mut Positions<'_>, base: WallTime) -> Option<WaveformBlock> {
        let device = self.device(at)?;
        let channel = Channel::new(at.text()?)?;
        let metric = *self.known.get(&at.int()?)?;
        let start = observed(at, base)?;
        let period = SamplePeriod::new(at.int()?, at.int()?)?;
        let scale = match at.next()? {
            Value::Null => None,
            value => {
                let mut parts = Positions::of(value)?;
                Some(Scale {
                    per_count: Decimal::new(parts.int()?, parts.int()?)?,
                    offset: parts.int()?,
                    unit: Unit::new(parts.text()?)?,
                })
            }
        };
        let flags: u8 = at.int()?;
        if at.int::<u8>()? != samples::CODEC_PREDICTIVE {
            return None;
        }
        let samples = samples::decode(at.next()?.as_bytes()?)?;
        let flags = WaveformFlags {
            lead_off: flags & flag::LEAD_OFF != 0,
            saturation: flags & flag::SATURATION != 0,
            pacer: flags & flag::PACER != 0,
        };
        (!samples.is_empty()).then_some(WaveformBlock {
            device,
            channel,
            metric,
            start,
            period,
            scale,
            samples,
            flags,
        })
    }

    fn alarm(&self, at: &mut Positions<'_>, base: WallTime) -> Option<DeviceAlarm> {
        Some(DeviceAlarm {
            device: self.device(at)?,
            channel: Channel::new(at.text()?)?,
            phase: named(&AlarmPhase::ALL, AlarmPhase::name, at.text()?)?,
            // A kind of the future is shown as sent.
            kind: AlarmKind::from_rule_id(at.text()?).unwrap_or(AlarmKind::Other),
            code: shortened(at.text()?),
            text: shortened(at.text()?),
            priority: match at.next()? {
                Value::Null => None,
                name => Some(Priority::from_name(name.as_text()?)?),
            },
            source: self.optional_metric(at)?,
            device_time: read_device_time(at.next()?)?,
            observed: observed(at, base)?,
        })
    }

    fn device(&self, at: &mut Positions<'_>) -> Option<DeviceId> {
        self.devices.get(at.int::<usize>()?).cloned()
    }

    fn optional_metric(&self, at: &mut Positions<'_>) -> Option<Option<Metric>> {
        match at.next()? {
            Value::Null => Some(None),
            value => Some(self.known.get(&int(value)?).copied()),
        }
    }
}

fn encode_drop(dropped: &DropRecord, base: WallTime) -> Vec<Value> {
    let mut positions = vec![
        number(kind::DROPPED),
        number(lane_number(dropped.lane)),
        number(dropped.first.get()),
        number(dropped.last.get()),
        number(dropped.from.unix_ms()),
        number(dropped.until.unix_ms()),
        text(dropped.cause.name()),
        after(base, dropped.observed.at),
        place(&ClockQuality::ALL, &dropped.observed.quality),
    ];
    debug_assert_eq!(positions.len(), DROP_OUTBOX);
    positions.extend(dropped.outbox.map(outbox_bytes));
    positions
}

fn decode_drop(at: &mut Positions<'_>, base: WallTime) -> Option<DropRecord> {
    Some(DropRecord {
        lane: lane_of(at.int()?)?,
        first: Seq::new(at.int()?)?,
        last: Seq::new(at.int()?)?,
        from: WallTime::from_unix_ms(at.int()?),
        until: WallTime::from_unix_ms(at.int()?),
        cause: named(&DropCause::ALL, DropCause::name, at.text()?)?,
        observed: observed(at, base)?,
        outbox: match at.next() {
            None => None,
            Some(id) => Some(read_outbox(id)?),
        },
    })
}

/// A drop record that names no outbox counts envelopes of the one it is in. Before it moves to
/// another, it has to say which one that was.
pub(super) fn name_outbox(record: &mut Value, outbox: OutboxId) {
    let Some(positions) = record.as_array_mut() else { return };
    let is_drop = positions.first().and_then(int) == Some(kind::DROPPED);
    if is_drop && positions.len() == DROP_OUTBOX {
        positions.push(outbox_bytes(outbox));
    }
}

fn named<T: Copy>(all: &[T], name: impl Fn(T) -> &'static str, wanted: &str) -> Option<T> {
    all.iter().copied().find(|item| name(*item) == wanted)
}

/// Milliseconds after the envelope was opened.
fn after(base: WallTime, at: WallTime) -> Value {
    number(at.unix_ms().saturating_sub(base.unix_ms()))
}

fn read_after(at: &mut Positions<'_>, base: WallTime) -> Option<WallTime> {
    Some(WallTime::from_unix_ms(base.unix_ms().checked_add(at.int()?)?))
}

fn observed(at: &mut Positions<'_>, base: WallTime) -> Option<Observed> {
    let moment = read_after(at, base)?;
    Some(Observed { at: moment, quality: pick(&ClockQuality::ALL, at.int())? })
}

fn device_time(time: Option<DeviceTime>) -> Value {
    match time {
        None => Value::Null,
        Some(DeviceTime::Local { civil_ms }) => Value::Array(vec![number(civil_ms)]),
        Some(DeviceTime::Zoned { civil_ms, offset_s }) => {
            Value::Array(vec![number(civil_ms), number(offset_s)])
        }
    }
}

fn read_device_time(value: &Value) -> Option<Option<DeviceTime>> {
    if value.is_null() {
        return Some(None);
    }
    let mut at = Positions::of(value)?;
    let civil_ms = at.int()?;
    Some(Some(match at.next() {
        None => DeviceTime::Local { civil_ms },
        Some(offset) => DeviceTime::Zoned { civil_ms, offset_s: int(offset)? },
    }))
}

fn texts(map: &BTreeMap<String, String>) -> Value {
    Value::Map(map.iter().map(|(key, value)| (text(key), text(value))).collect())
}

fn read_texts(value: &Value) -> Option<BTreeMap<String, String>> {
    let entries = value.as_map()?.iter().take(CONTEXT_LEN_MAX);
    entries
        .map(|(key, value)| Some((shortened(key.as_text()?), shortened(value.as_text()?))))
        .collect()
}
