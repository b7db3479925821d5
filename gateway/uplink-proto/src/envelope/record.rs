//! Records as positional arrays; the first position is the kind.
//!
//! Times are milliseconds after the envelope was opened (they may be negative).

use super::{
    lane_number, lane_of, outbox_bytes, read_outbox, series,
    wave::{self, Stream},
};
use crate::wire::{DecodeError, Positions, field, int, number, text};
use ciborium::Value;
use model::{
    alarm::{AlarmKind, AlarmPhase, DeviceAlarm, Priority},
    alert::{self, EdgeAlert},
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
    waveform::WaveformBlock,
};
use std::collections::BTreeMap;

/// First positions.
pub(super) mod kind {
    pub(in crate::envelope) const READINGS: u8 = 1;
    pub(in crate::envelope) const WAVEFORM: u8 = 2;
    pub(in crate::envelope) const ALARM: u8 = 3;
    pub(in crate::envelope) const STATUS: u8 = 4;
    pub(in crate::envelope) const STARTED: u8 = 5;
    pub(in crate::envelope) const DROPPED: u8 = 6;
    pub(in crate::envelope) const ACTION: u8 = 7;
    pub(in crate::envelope) const CLOCK: u8 = 8;
    pub(in crate::envelope) const SERIES: u8 = 9;
    pub(in crate::envelope) const MORE_WAVEFORM: u8 = 10;
    pub(in crate::envelope) const ALERT: u8 = 11;
}

/// Place of the outbox id in a drop record: behind everything else, and often not there.
const DROP_OUTBOX: usize = 9;

pub(super) const COMPARATORS: [Comparator; 3] =
    [Comparator::Equal, Comparator::Below, Comparator::Above];

/// Devices and metrics of one envelope, named once.
#[derive(Clone, Debug, Default)]
pub(super) struct Names {
    pub(super) devices: Vec<DeviceId>,
    pub(super) metrics: Vec<Metric>,
    /// While encoding: the streams of waveforms.
    pub(super) streams: Vec<Stream>,
    /// While decoding: place in the envelope's list → metric, where this version knows it.
    known: BTreeMap<u64, Metric>,
}

/// The place of an item in a list, which gets it if it is not there.
fn index<T: Clone + PartialEq>(list: &mut Vec<T>, item: &T) -> u64 {
    let place = list.iter().position(|known| known == item).unwrap_or_else(|| {
        list.push(item.clone());
        list.len() - 1
    });
    u64::try_from(place).unwrap_or(u64::MAX)
}

/// The number of an item in a closed list.
pub(super) fn place_of<T: PartialEq>(list: &[T], item: &T) -> u64 {
    let place = list.iter().position(|known| known == item).unwrap_or_default();
    u64::try_from(place).unwrap_or_default()
}

pub(super) fn place<T: PartialEq>(list: &[T], item: &T) -> Value {
    number(place_of(list, item))
}

pub(super) fn pick<T: Copy>(list: &[T], place: Option<usize>) -> Option<T> {
    list.get(place?).copied()
}

impl Names {
    pub(super) fn decode(map: &Value) -> Result<(Self, u32), DecodeError> {
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
        Ok((Self { devices, known, ..Self::default() }, unknown))
    }

    /// The place of a device in the list, which gets it if it is not there.
    pub(super) fn device(&mut self, device: &DeviceId) -> u64 {
        index(&mut self.devices, device)
    }

    /// The place of a metric in the list, which gets it if it is not there.
    pub(super) fn metric(&mut self, metric: Metric) -> u64 {
        index(&mut self.metrics, &metric)
    }

    pub(super) fn device_at(&self, place: u64) -> Option<&DeviceId> {
        self.devices.get(usize::try_from(place).ok()?)
    }

    /// The metric at that place of the envelope's list, if this version knows it.
    pub(super) fn known(&self, place: u64) -> Option<Metric> {
        self.known.get(&place).copied()
    }

    pub(super) fn encode(&mut self, record: &Record, base: WallTime) -> Value {
        Value::Array(match record {
            Record::Readings(group) => self.encode_group(group, base),
            Record::Waveform(block) => wave::encode(block, self, base),
            Record::Alarm(alarm) => self.encode_alarm(alarm, base),
            Record::Status(status) => [
                number(kind::STATUS),
                number(self.device(&status.device)),
                text(status.kind.name()),
                text(&status.driver),
                text(status.state.name()),
                text(&status.reason),
                texts(&status.about),
                after(base, status.observed.at),
                place(&ClockQuality::ALL, &status.observed.quality),
            ]
            .into_iter()
            .chain(status.expected_interval_ms.map(number))
            .collect(),
            Record::Started(started) => vec![
                number(kind::STARTED),
                text(&started.version),
                after(base, started.observed.at),
                place(&ClockQuality::ALL, &started.observed.quality),
            ],
            Record::Dropped(dropped) => encode_drop(dropped, base),
            Record::Action(action) => vec![
                number(kind::ACTION),
                number(self.device(&action.device)),
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
            Record::Alert(alert) => self.encode_alert(alert, base),
        })
    }

    fn encode_group(&mut self, group: &ReadingGroup, base: WallTime) -> Vec<Value> {
        let readings = group.readings.iter().map(|reading| self.encode_reading(reading)).collect();
        vec![
            number(kind::READINGS),
            number(self.device(&group.device)),
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
            number(self.metric(reading.metric)),
            value,
            unit,
            place(&Validity::ALL, &reading.validity),
        ])
    }

    fn encode_alarm(&mut self, alarm: &DeviceAlarm, base: WallTime) -> Vec<Value> {
        let mut positions = vec![
            number(kind::ALARM),
            number(self.device(&alarm.device)),
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
        ];
        positions.extend(alarm.latched.then_some(Value::Bool(true)));
        positions
    }

    fn encode_alert(&mut self, alert: &EdgeAlert, base: WallTime) -> Vec<Value> {
        let mut positions = vec![
            number(kind::ALERT),
            Value::Bytes(alert.id.to_vec()),
            number(self.device(&alert.device)),
            text(&alert.subject),
            text(&alert.family),
            Value::Array(alert.rules.iter().map(|rule| text(rule)).collect()),
            text(alert.priority.name()),
            text(&alert.state),
            self.metric_or_null(alert.metric),
            text_or_null(alert.value.as_deref()),
            text_or_null(alert.comparator.as_deref()),
            text_or_null(alert.unit.as_deref()),
            text_or_null(alert.limit.as_deref()),
            text(&alert.message_zh),
            text(&alert.message_en),
            after(base, alert.started_at),
            alert.cleared_at.map_or(Value::Null, |at| after(base, at)),
            text(&alert.what),
            text_or_null(alert.by.as_deref()),
            text_or_null(alert.reason.as_deref()),
            text(&alert.note),
            number(alert.rule_set),
            number(alert.bindings),
            after(base, alert.observed.at),
            place(&ClockQuality::ALL, &alert.observed.quality),
        ];
        positions.extend(alert.latched.then_some(Value::Bool(true)));
        positions
    }

    fn metric_or_null(&mut self, metric: Option<Metric>) -> Value {
        metric.map_or(Value::Null, |metric| number(self.metric(metric)))
    }

    /// The records, as far as this version knows them, and how many it does not.
    pub(super) fn decode_records(&self, items: &[Value], base: WallTime) -> (Vec<Record>, u32) {
        let (mut records, mut unknown) = (Vec::with_capacity(items.len()), 0_u32);
        let (mut streams, mut room) = (Vec::new(), series::UNPACKED_MAX);
        for item in items {
            let read = Positions::of(item).and_then(|mut at| match at.int::<u8>()? {
                kind::WAVEFORM => wave::first(&mut at, self, base, &mut streams).map(one_block),
                kind::MORE_WAVEFORM => wave::more(&mut at, base, &streams).map(one_block),
                kind::SERIES => {
                    let bytes = at.next()?.as_bytes()?;
                    let (groups, unknown) = series::read(bytes, self, base, &mut room)?;
                    Some((groups.into_iter().map(Record::Readings).collect(), unknown))
                }
                kind::READINGS => {
                    let (group, unknown) = self.group(&mut at, base)?;
                    Some((vec![Record::Readings(group)], unknown))
                }
                kind => Some((vec![self.decode_record(kind, &mut at, base)?], 0)),
            });
            let (mut read, more_unknown) = read.unwrap_or((Vec::new(), 1));
            records.append(&mut read);
            unknown = unknown.saturating_add(more_unknown);
        }
        (records, unknown)
    }

    fn decode_record(&self, kind: u8, at: &mut Positions<'_>, base: WallTime) -> Option<Record> {
        Some(match kind {
            kind::ALARM => Record::Alarm(self.alarm(at, base)?),
            kind::STATUS => Record::Status(DeviceStatus {
                device: self.read_device(at)?,
                kind: DeviceKind::from_name(at.text()?)?,
                driver: shortened(at.text()?),
                state: named(&DeviceState::ALL, DeviceState::name, at.text()?)?,
                reason: shortened(at.text()?),
                about: read_texts(at.next()?)?,
                observed: observed(at, base)?,
                expected_interval_ms: at.int::<u32>(),
            }),
            kind::STARTED => Record::Started(AgentStarted {
                version: shortened(at.text()?),
                observed: observed(at, base)?,
            }),
            kind::DROPPED => Record::Dropped(decode_drop(at, base)?),
            kind::ACTION => Record::Action(DeviceAction {
                device: self.read_device(at)?,
                action: shortened(at.text()?),
                text: shortened(at.text()?),
                observed: observed(at, base)?,
            }),
            kind::CLOCK => Record::Clock(ClockChange {
                before: read_after(at, base)?,
                evidence: shortened(at.text()?),
                observed: observed(at, base)?,
            }),
            kind::ALERT => Record::Alert(Box::new(self.alert(at, base)?)),
            _ => return None,
        })
    }

    /// A group, and how many of its readings this version does not know.
    fn group(&self, at: &mut Positions<'_>, base: WallTime) -> Option<(ReadingGroup, u32)> {
        let device = self.read_device(at)?;
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
        let told = at.next()?.as_array()?;
        let readings: Vec<Reading> =
            told.iter().filter_map(|value| self.reading(value)).take(GROUP_LEN_MAX).collect();
        let unknown = u32::try_from(told.len().saturating_sub(readings.len())).ok()?;
        let group = ReadingGroup {
            device,
            channel,
            group,
            occurrence,
            device_time,
            observed,
            device_seq,
            context,
            readings,
        };
        (!group.readings.is_empty()).then_some((group, unknown))
    }

    fn reading(&self, value: &Value) -> Option<Reading> {
        let mut at = Positions::of(value)?;
        let metric = self.known(at.int()?)?;
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

    fn alarm(&self, at: &mut Positions<'_>, base: WallTime) -> Option<DeviceAlarm> {
        Some(DeviceAlarm {
            device: self.read_device(at)?,
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
            // A box of before says nothing of it.
            latched: at.next().and_then(Value::as_bool).unwrap_or_default(),
        })
    }

    fn alert(&self, at: &mut Positions<'_>, base: WallTime) -> Option<EdgeAlert> {
        Some(EdgeAlert {
            id: at.next()?.as_bytes()?.as_slice().try_into().ok()?,
            device: self.read_device(at)?,
            subject: shortened(at.text()?),
            family: shortened(at.text()?),
            rules: at
                .next()?
                .as_array()?
                .iter()
                .take(alert::RULES_MAX)
                .map(|rule| rule.as_text().map(shortened))
                .collect::<Option<_>>()?,
            priority: Priority::from_name(at.text()?)?,
            state: shortened(at.text()?),
            // That it is of a metric of the future is no reason to lose an alert.
            metric: int(at.next()?).and_then(|place| self.known(place)),
            value: optional_text(at)?,
            comparator: optional_text(at)?,
            unit: optional_text(at)?,
            limit: optional_text(at)?,
            message_zh: alert::message(at.text()?),
            message_en: alert::message(at.text()?),
            started_at: read_after(at, base)?,
            cleared_at: match at.next()? {
                Value::Null => None,
                value => Some(moment_after(value, base)?),
            },
            what: shortened(at.text()?),
            by: optional_text(at)?,
            reason: optional_text(at)?,
            note: alert::note(at.text()?),
            rule_set: at.int()?,
            bindings: at.int()?,
            observed: observed(at, base)?,
            // A box of before says nothing of it.
            latched: at.next().and_then(Value::as_bool).unwrap_or_default(),
        })
    }

    pub(super) fn read_device(&self, at: &mut Positions<'_>) -> Option<DeviceId> {
        self.device_at(at.int()?).cloned()
    }

    fn optional_metric(&self, at: &mut Positions<'_>) -> Option<Option<Metric>> {
        match at.next()? {
            Value::Null => Some(None),
            value => Some(self.known(int(value)?)),
        }
    }
}

fn one_block(block: WaveformBlock) -> (Vec<Record>, u32) {
    (vec![Record::Waveform(block)], 0)
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
pub(super) fn after(base: WallTime, at: WallTime) -> Value {
    number(at.unix_ms().saturating_sub(base.unix_ms()))
}

fn read_after(at: &mut Positions<'_>, base: WallTime) -> Option<WallTime> {
    moment_after(at.next()?, base)
}

fn moment_after(value: &Value, base: WallTime) -> Option<WallTime> {
    Some(WallTime::from_unix_ms(base.unix_ms().checked_add(int(value)?)?))
}

fn text_or_null(said: Option<&str>) -> Value {
    said.map_or(Value::Null, text)
}

fn optional_text(at: &mut Positions<'_>) -> Option<Option<String>> {
    match at.next()? {
        Value::Null => Some(None),
        value => Some(Some(shortened(value.as_text()?))),
    }
}

pub(super) fn observed(at: &mut Positions<'_>, base: WallTime) -> Option<Observed> {
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
