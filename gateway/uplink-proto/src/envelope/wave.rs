//! Waveform blocks. The first of a stream in an envelope says all of it (record kind 2), the others
//! name it and say the rest (kind 10).

use super::record::{Names, after, kind, observed, place};
use crate::{
    samples,
    wire::{Positions, number, text},
};
use ciborium::Value;
use model::{
    decimal::Decimal,
    id::Channel,
    time::{ClockQuality, WallTime},
    units::Unit,
    waveform::{SamplePeriod, Scale, WaveformBlock, WaveformFlags},
};

/// Bits of a block's flags.
mod flag {
    pub(super) const LEAD_OFF: u8 = 1;
    pub(super) const SATURATION: u8 = 2;
    pub(super) const PACER: u8 = 4;
}

/// What the blocks of a stream have in common, as it is written: a scale of 5.0 is not one of 5.00.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Stream {
    /// Device, channel and metric.
    source: [Value; 3],
    /// Clock, period and scale.
    time_and_scale: [Value; 4],
}

pub(super) fn encode(block: &WaveformBlock, names: &mut Names, base: WallTime) -> Vec<Value> {
    let scale = block.scale.as_ref().map_or(Value::Null, |scale| {
        Value::Array(vec![
            number(scale.per_count.mantissa()),
            number(scale.per_count.exponent()),
            number(scale.offset),
            text(scale.unit.as_str()),
        ])
    });
    let stream = Stream {
        source: [
            number(names.device(&block.device)),
            text(block.channel.as_str()),
            number(names.metric(block.metric)),
        ],
        time_and_scale: [
            place(&ClockQuality::ALL, &block.start.quality),
            number(block.period.numerator()),
            number(block.period.denominator()),
            scale,
        ],
    };
    let start = after(base, block.start.at);
    let flags = number(bits_of(block.flags));
    let bytes = Value::Bytes(samples::encode(&block.samples));
    match names.streams.iter().position(|known| *known == stream) {
        Some(known) => {
            let known = number(u64::try_from(known).unwrap_or(u64::MAX));
            vec![number(kind::MORE_WAVEFORM), known, start, flags, bytes]
        }
        None => {
            names.streams.push(stream.clone());
            let mut positions = vec![number(kind::WAVEFORM)];
            positions.extend(stream.source);
            positions.push(start);
            positions.extend(stream.time_and_scale);
            positions.extend([flags, number(samples::CODEC_PREDICTIVE), bytes]);
            positions
        }
    }
}

/// The first block of a stream, which is a stream of the envelope even if this version cannot take
/// its block.
pub(super) fn first(
    at: &mut Positions<'_>,
    names: &Names,
    base: WallTime,
    streams: &mut Vec<Option<WaveformBlock>>,
) -> Option<WaveformBlock> {
    let block = head(at, names, base);
    streams.push(block.clone());
    with_samples(block?, at)
}

/// A block of a stream that was there before.
pub(super) fn more(
    at: &mut Positions<'_>,
    base: WallTime,
    streams: &[Option<WaveformBlock>],
) -> Option<WaveformBlock> {
    let mut block = streams.get(at.int::<usize>()?)?.clone()?;
    block.start.at = WallTime::from_unix_ms(base.unix_ms().checked_add(at.int()?)?);
    block.flags = flags_of(at.int()?);
    with_samples(block, at)
}

/// A block without its samples.
fn head(at: &mut Positions<'_>, names: &Names, base: WallTime) -> Option<WaveformBlock> {
    let device = names.read_device(at)?;
    let channel = Channel::new(at.text()?)?;
    let metric = names.known(at.int()?)?;
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
    let flags = flags_of(at.int()?);
    let samples = Vec::new();
    let is_known = at.int::<u8>()? == samples::CODEC_PREDICTIVE;
    let block = WaveformBlock { device, channel, metric, start, period, scale, samples, flags };
    is_known.then_some(block)
}

fn with_samples(block: WaveformBlock, at: &mut Positions<'_>) -> Option<WaveformBlock> {
    let samples = samples::decode(at.next()?.as_bytes()?)?;
    (!samples.is_empty()).then_some(WaveformBlock { samples, ..block })
}

fn bits_of(flags: WaveformFlags) -> u8 {
    let WaveformFlags { lead_off, saturation, pacer } = flags;
    let bits = [(lead_off, flag::LEAD_OFF), (saturation, flag::SATURATION), (pacer, flag::PACER)];
    bits.into_iter().fold(0, |all, (set, bit)| if set { all | bit } else { all })
}

fn flags_of(bits: u8) -> WaveformFlags {
    WaveformFlags {
        lead_off: bits & flag::LEAD_OFF != 0,
        saturation: bits & flag::SATURATION != 0,
        pacer: bits & flag::PACER != 0,
    }
}
