//! Series: the reading groups of streams, one behind the other, in few bytes (record kind 9).
//!
//! A group names its shape, which is told once: device, channel, metrics and all else that stays.
//! Times and values are differences to those before. The bytes are described in this package's
//! README.
//!
//! - [`bytes`]: numbers and texts
//! - [`said`]: what one reading says
//!
//! # Invariants
//! - what is written reads back to the same groups in the same order, or is not taken
//! - a series needs nothing that is outside of its envelope
//! - each reading takes a byte, and the series of an envelope unpack to [`UNPACKED_MAX`] at most

use super::record::{Names, kind, pick, place_of};
use crate::wire::{self, number};
use bytes::{Reader, Writer};
use model::{
    id::Channel,
    reading::{CONTEXT_LEN_MAX, GROUP_LEN_MAX, Occurrence, ReadingGroup, TEXT_LEN_MAX, Value},
    time::{ClockQuality, DeviceTime, Observed, WallTime},
    units::Unit,
};
use said::Said;
use std::collections::BTreeMap;

mod bytes;
mod said;

/// Bytes of memory, about, that the series of one envelope unpack to: three times what numbers in a
/// full row of trend do. Groups beyond it are written as records of their own.
pub(super) const UNPACKED_MAX: usize = 1 << 20;
/// What a group and a reading take without their texts.
const GROUP_SIZE: usize = 256;
const READING_SIZE: usize = 128;

/// Bits of a shape.
mod bits {
    pub(super) const QUALITY: u64 = 3;
    pub(super) const LOCAL_TIME: u64 = 4;
    pub(super) const ZONED_TIME: u64 = 8;
    pub(super) const NUMBERED: u64 = 16;
    pub(super) const COMPOUND: u64 = 32;
    pub(super) const ALL: u64 = 63;
}

/// What groups have in common; texts are numbers of the series' texts, names are places in the
/// envelope's lists.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Shape {
    device: u64,
    channel: u64,
    quality: ClockQuality,
    clock: DeviceClock,
    numbered: bool,
    compound: Option<u64>,
    context: Vec<(u64, u64)>,
    metrics: Vec<u64>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum DeviceClock {
    None,
    Local,
    /// Seconds east of UTC.
    Zoned(i64),
}

/// A shape and what its groups have said.
#[derive(Clone, Debug)]
struct Told {
    shape: Shape,
    /// Device time minus observed time.
    ahead_ms: i64,
    device_seq: u64,
    said: Vec<Said>,
}

/// What is known after the groups before, the same for who writes and who reads.
#[derive(Clone, Debug)]
struct Past {
    shapes: Vec<Told>,
    /// Of each metric, whoever said it: what a new shape begins with.
    said: BTreeMap<u64, Said>,
    ahead_ms: i64,
    observed_ms: i64,
}

impl Past {
    fn new(base: WallTime) -> Self {
        let (shapes, said) = (Vec::new(), BTreeMap::new());
        Self { shapes, said, ahead_ms: 0, observed_ms: base.unix_ms() }
    }

    /// A shape that was not there before.
    fn tell(&mut self, shape: Shape) {
        let before = |metric| self.said.get(metric).copied().unwrap_or(Said::NOTHING);
        let said = shape.metrics.iter().map(before).collect();
        self.shapes.push(Told { shape, ahead_ms: self.ahead_ms, device_seq: 0, said });
    }
}

/// A series that grows.
#[derive(Clone, Debug)]
pub(super) struct Series {
    out: Writer,
    past: Past,
    /// Where the shape of the next group is looked for first: devices take turns.
    next: usize,
}

impl Series {
    pub(super) fn new(base: WallTime) -> Self {
        Self { out: Writer::new(), past: Past::new(base), next: 0 }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        self.out.bytes()
    }

    /// The record.
    pub(super) fn write(&self, bytes: &mut Vec<u8>) {
        wire::write_head(bytes, wire::ARRAY, 2);
        wire::write(bytes, &number(kind::SERIES));
        wire::write_head(bytes, wire::BYTES, self.bytes().len());
        bytes.extend_from_slice(self.bytes());
    }

    /// Takes the end off again. Nothing may be written behind it: what is known of the past is not
    /// what a reader would know.
    pub(super) fn truncate(&mut self, len: usize) {
        self.out.truncate(len);
    }

    /// Writes a group that [`unpacked`] takes.
    pub(super) fn push(&mut self, group: &ReadingGroup, names: &mut Names) {
        let Self { out, past, next } = self;
        let shape = Shape::of(group, names, out);
        let count = past.shapes.len();
        let known = (*next..count).chain(0..*next);
        let known = known
            .into_iter()
            .find(|place| past.shapes.get(*place).is_some_and(|told| told.shape == shape));
        let place = known.unwrap_or(count);
        out.number(u64::try_from(place).unwrap_or(u64::MAX));
        if known.is_none() {
            shape.write(out);
            past.tell(shape);
        }
        *next = place + 1;
        let Some(told) = past.shapes.get_mut(place) else { return };

        let observed_ms = group.observed.at.unix_ms();
        out.signed(observed_ms.wrapping_sub(past.observed_ms));
        past.observed_ms = observed_ms;
        if let Some(time) = group.device_time {
            let ahead_ms = time.civil_ms().wrapping_sub(observed_ms);
            out.signed(ahead_ms.wrapping_sub(told.ahead_ms));
            (past.ahead_ms, told.ahead_ms) = (ahead_ms, ahead_ms);
        }
        if let Some(number) = group.device_seq {
            out.signed(number.wrapping_sub(told.device_seq).cast_signed());
            told.device_seq = number;
        }
        let readings = group.readings.iter().zip(&told.shape.metrics);
        for ((reading, metric), before) in readings.zip(&mut told.said) {
            let said = Said::of(reading, out);
            said.write(*before, out);
            *before = said;
            past.said.insert(*metric, said);
        }
    }
}

impl Shape {
    /// Its texts are written next if they are new.
    fn of(group: &ReadingGroup, names: &mut Names, texts: &mut Writer) -> Self {
        Self {
            device: names.device(&group.device),
            channel: texts.number_of(group.channel.as_str()),
            quality: group.observed.quality,
            clock: match group.device_time {
                None => DeviceClock::None,
                Some(DeviceTime::Local { .. }) => DeviceClock::Local,
                Some(DeviceTime::Zoned { offset_s, .. }) => DeviceClock::Zoned(offset_s.into()),
            },
            numbered: group.device_seq.is_some(),
            compound: group.group.map(|metric| names.metric(metric)),
            context: group
                .context
                .iter()
                .map(|(key, value)| (texts.number_of(key), texts.number_of(value)))
                .collect(),
            metrics: group.readings.iter().map(|reading| names.metric(reading.metric)).collect(),
        }
    }

    fn write(&self, out: &mut Writer) {
        out.number(self.device);
        out.text(self.channel);
        let clock = match self.clock {
            DeviceClock::None => 0,
            DeviceClock::Local => bits::LOCAL_TIME,
            DeviceClock::Zoned(_) => bits::ZONED_TIME,
        };
        let numbered = if self.numbered { bits::NUMBERED } else { 0 };
        let compound = if self.compound.is_some() { bits::COMPOUND } else { 0 };
        out.number(place_of(&ClockQuality::ALL, &self.quality) | clock | numbered | compound);
        if let DeviceClock::Zoned(offset_s) = self.clock {
            out.signed(offset_s);
        }
        if let Some(metric) = self.compound {
            out.number(metric);
        }
        out.number(u64::try_from(self.context.len()).unwrap_or(u64::MAX));
        for (key, value) in &self.context {
            out.text(*key);
            out.text(*value);
        }
        out.number(u64::try_from(self.metrics.len()).unwrap_or(u64::MAX));
        for metric in &self.metrics {
            out.number(*metric);
        }
    }

    fn read(bytes: &mut Reader<'_>) -> Option<Self> {
        let (device, channel) = (bytes.number()?, bytes.text()?);
        let bits = bytes.number().filter(|bits| bits & !bits::ALL == 0)?;
        let quality = pick(&ClockQuality::ALL, usize::try_from(bits & bits::QUALITY).ok())?;
        let clock = match (bits & bits::LOCAL_TIME, bits & bits::ZONED_TIME) {
            (0, 0) => DeviceClock::None,
            (_, 0) => DeviceClock::Local,
            (0, _) => DeviceClock::Zoned(bytes.signed()?),
            _ => return None,
        };
        let compound = if bits & bits::COMPOUND == 0 { None } else { Some(bytes.number()?) };
        let count = bytes.count().filter(|count| *count <= CONTEXT_LEN_MAX)?;
        let context: Option<_> = (0..count).map(|_| Some((bytes.text()?, bytes.text()?))).collect();
        let count = bytes.count().filter(|count| (1..=GROUP_LEN_MAX).contains(count))?;
        let metrics: Option<_> = (0..count).map(|_| bytes.number()).collect();
        Some(Self {
            device,
            channel,
            quality,
            clock,
            numbered: bits & bits::NUMBERED != 0,
            compound,
            context: context?,
            metrics: metrics?,
        })
    }
}

/// The groups of a series, as far as this version knows them, and how many it does not.
/// `room` is what they may unpack to, and what is left of that.
pub(super) fn read(
    bytes: &[u8],
    names: &Names,
    base: WallTime,
    room: &mut usize,
) -> Option<(Vec<ReadingGroup>, u32)> {
    let mut bytes = Reader::new(bytes);
    let mut past = Past::new(base);
    let (mut groups, mut unknown) = (Vec::new(), 0_u32);
    while !bytes.is_empty() {
        let place = bytes.count()?;
        if place == past.shapes.len() {
            past.tell(Shape::read(&mut bytes)?);
        }
        let (group, more_unknown) = read_group(&mut bytes, &mut past, place, names)?;
        unknown = unknown.saturating_add(more_unknown);
        if group.readings.is_empty() {
            continue;
        }
        *room = room.checked_sub(unpacked(&group)?)?;
        groups.push(group);
    }
    Some((groups, unknown))
}

/// A group without the readings that this version does not know, and how many those are.
fn read_group(
    bytes: &mut Reader<'_>,
    past: &mut Past,
    place: usize,
    names: &Names,
) -> Option<(ReadingGroup, u32)> {
    let told = past.shapes.get_mut(place)?;
    let shape = &told.shape;
    let observed_ms = past.observed_ms.wrapping_add(bytes.signed()?);
    past.observed_ms = observed_ms;
    if shape.clock != DeviceClock::None {
        told.ahead_ms = told.ahead_ms.wrapping_add(bytes.signed()?);
        past.ahead_ms = told.ahead_ms;
    }
    let civil_ms = observed_ms.wrapping_add(told.ahead_ms);
    if shape.numbered {
        told.device_seq = told.device_seq.wrapping_add(bytes.signed()?.cast_unsigned());
    }
    let compound = shape.compound.map(|metric| names.known(metric));
    let (mut readings, mut unknown) = (Vec::new(), 0_u32);
    for (metric, said) in shape.metrics.iter().zip(&mut told.said) {
        *said = Said::read(*said, bytes)?;
        past.said.insert(*metric, *said);
        let known = names.known(*metric).filter(|_| compound != Some(None));
        match known.and_then(|metric| said.reading(metric, bytes)) {
            Some(reading) => readings.push(reading),
            None => unknown = unknown.saturating_add(1),
        }
    }
    let text = |number: u64| Some(bytes.told(number)?.to_owned());
    let context: Option<_> =
        shape.context.iter().map(|(key, value)| Some((text(*key)?, text(*value)?))).collect();
    let group = ReadingGroup {
        device: names.device_at(shape.device)?.clone(),
        channel: Channel::new(bytes.told(shape.channel)?)?,
        group: compound.flatten(),
        occurrence: Occurrence::Stream,
        device_time: match shape.clock {
            DeviceClock::None => None,
            DeviceClock::Local => Some(DeviceTime::Local { civil_ms }),
            DeviceClock::Zoned(offset_s) => {
                Some(DeviceTime::Zoned { civil_ms, offset_s: i32::try_from(offset_s).ok()? })
            }
        },
        observed: Observed { at: WallTime::from_unix_ms(observed_ms), quality: shape.quality },
        device_seq: shape.numbered.then_some(told.device_seq),
        context: context?,
        readings,
    };
    Some((group, unknown))
}

/// Bytes of memory that a group takes, about; `None` if a series cannot carry it.
pub(super) fn unpacked(group: &ReadingGroup) -> Option<usize> {
    let fits = group.occurrence == Occurrence::Stream
        && (1..=GROUP_LEN_MAX).contains(&group.readings.len())
        && group.context.len() <= CONTEXT_LEN_MAX;
    let readings = group.readings.iter().flat_map(|reading| {
        let said = match &reading.value {
            Ok(Value::Number { .. }) => None,
            Ok(Value::Text(text)) => Some(text.as_str()),
            Err(reason) => reason.detail(),
        };
        [said, reading.unit.as_ref().map(Unit::as_str)].into_iter().flatten()
    });
    let context = group.context.iter().flat_map(|(key, value)| [key.as_str(), value.as_str()]);
    let texts = readings.chain(context);
    let sizes = texts.map(|text| (text.len() <= TEXT_LEN_MAX).then_some(text.len()));
    let texts: usize = sizes.sum::<Option<usize>>().filter(|_| fits)?;
    Some(GROUP_SIZE + READING_SIZE * group.readings.len() + texts)
}

#[cfg(test)]
mod tests;
