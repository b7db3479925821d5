//! Wave objects to waveform blocks: one for each array, as the monitor sent it.
//!
//! Read first: the protocol sheet, §6.9 (sample arrays), §8 (scaling) and §10 (gaps).
//!
//! An array holds the samples up to the moment in its answer. A block begins where the one before
//! ended; it begins anew where the answers' numbers or ticks leave something out. How much is told by
//! the ticks, after a pulled cable too, as long as they agree with the agent's clock: what is missing
//! between two blocks is as many samples as the monitor measured meanwhile.
//!
//! # Invariants
//! - no block is longer than a second or goes over the border between signal and no signal
//! - test and demo waves are never a patient's
//! - at most [`OBJECTS_MAX`] objects are kept, without their samples

use super::{
    attributes::{
        AttributeError, Attributes, FixedValue, Float, Label, SampleArray, SampleSpec, ScaleRange,
    },
    clock::TICKS_A_MS,
    data_export::{Observation, PollReply, Source},
    nomenclature::{UnknownIds, is_usual_label, unit, wave_metric},
    numerics::spec::{CALIBRATING, DEMO, INVALID, TEST, UNAVAILABLE},
};
use crate::reporter::Reporter;
use model::{
    decimal::Decimal,
    id::Channel,
    metric::{Class, Metric},
    record::Record,
    time::{Now, Observed, WallTime},
    waveform::{SAMPLES_MAX, SamplePeriod, Scale, WaveformBlock, WaveformFlags},
};
use std::collections::{BTreeMap, btree_map::Entry};

/// Facts from the sheet. No number of the waves stands anywhere else.
mod spec {
    /// "Unit 125 µs (8000 per second)", §5.
    pub(super) const TICKS_A_SECOND: u32 = 8000;
    /// "Id 1 invalid, 2 pacer, … 4 saturation", §6.9.
    pub(super) const INVALID: u16 = 1;
    pub(super) const PACER: u16 = 2;
    pub(super) const SATURATION: u16 = 4;
    /// "If the monitor never sends the scale attribute", §8: lower, upper, highest sample.
    pub(super) const ECG: (i64, i64, u16) = (-40_960, 40_955, 0x3FFF);
    pub(super) const RESP: (i64, i64, u16) = (-600, 1_900, 0x0FFF);
}

/// "60 waves" are the most that the association offers room for.
const OBJECTS_MAX: usize = 60;
/// Ticks and samples may run apart by this much (half an array of 256 ms): more is a gap.
const GAP_TICKS: u64 = 1024;
/// An answer is never early, but for one that was late when the count began: more than this is a
/// clock that was set.
const EARLY_MAX_MS: i64 = 500;
/// How late an answer is at most: the line is full, or the agent gets no turn and bytes wait.
const LATE_MAX_MS: i64 = 5_000;
/// Answers that are late by this much for so long are not: the clocks run apart.
const DRIFT_MAX_MS: i64 = 500;
const DRIFT_TICKS: i64 = 10_000 * TICKS_A_MS;

/// What a wave object said of itself.
#[derive(Clone, Debug, Default)]
struct Context {
    spec: Option<SampleSpec>,
    scale: Option<ScaleRange>,
    fixed: Vec<FixedValue>,
    period: Option<u32>,
    unit: Option<u16>,
    label: Option<Label>,
}

impl Context {
    /// Takes over what the object says of itself; what it leaves out stays as it was.
    fn learn(&mut self, attributes: &Attributes) -> Result<(), AttributeError> {
        self.period = attributes.sample_period().or(self.period);
        self.unit = attributes.unit().or(self.unit);
        self.label = attributes.label().or(self.label.take());
        self.spec = attributes.sample_spec()?.or(self.spec);
        self.scale = attributes.scale()?.or(self.scale);
        if let Some(fixed) = attributes.fixed_values()? {
            self.fixed = fixed;
        }
        Ok(())
    }
}

/// The agent's clock at a tick of the monitor.
#[derive(Clone, Copy, Debug)]
struct Anchor {
    observed: Observed,
    tick: i64,
}

impl Anchor {
    /// The agent's clock at another tick.
    fn at(&self, tick: i64) -> Observed {
        let Observed { at, quality } = self.observed;
        let since_ms = (tick - self.tick).div_euclid(TICKS_A_MS);
        Observed { at: WallTime::from_unix_ms(at.unix_ms() + since_ms), quality }
    }

    /// How late the answer came with which `heard` was made.
    fn late_ms(&self, heard: &Self) -> i64 {
        heard.observed.at.unix_ms() - self.at(heard.tick).at.unix_ms()
    }

    /// Whether that is no more than it takes an answer to come.
    fn agrees_with(&self, heard: &Self) -> bool {
        (-EARLY_MAX_MS..=LATE_MAX_MS).contains(&self.late_ms(heard))
    }
}

/// Where a wave goes on.
#[derive(Clone, Debug)]
struct Stream {
    channel: Channel,
    period: u32,
    anchor: Anchor,
    /// The tick at which the next sample is due.
    next_tick: i64,
    /// The tick since when every answer was late.
    late_since: Option<i64>,
    /// Number of the last answer and its tick.
    last: (u16, i64),
}

/// What is known of the waves of a monitor.
#[derive(Debug, Default)]
pub(super) struct Waves {
    contexts: BTreeMap<Source, Context>,
    streams: BTreeMap<(Source, Metric), Stream>,
    /// Number of the last answer.
    sequence: Option<u16>,
    /// Of the stream that began last, of this association or of one before.
    anchor: Option<Anchor>,
}

impl Waves {
    /// A new association.
    pub(super) fn begin(&mut self) {
        *self = Self { anchor: self.anchor, ..Self::default() };
    }

    /// Takes an answer in; whether it holds waves whose packing was never told.
    pub(super) fn take(
        &mut self,
        now: Now,
        reply: &PollReply,
        tick: i64,
        unknown: &mut UnknownIds,
        reporter: &mut Reporter,
    ) -> bool {
        let mut unpackable = false;
        let jumped = reply.sequence.is_some_and(|sequence| self.jumps(now, sequence, reporter));
        for object in &reply.observations {
            self.learn(now, object, reporter);
            // A single poll tells how samples are packed; its samples have no number.
            let Some(sequence) = reply.sequence else { continue };
            let arrays = match object.attributes.sample_arrays() {
                Ok(arrays) => arrays,
                Err(error) => {
                    reporter.note(now, "malformed", error);
                    continue;
                }
            };
            for array in arrays {
                let Some(metric) = wave_metric(array.physio_id) else {
                    unknown.count(array.physio_id);
                    continue;
                };
                if array.state & (TEST | DEMO) != 0 {
                    let text = "the monitor sends test or demo waves; they are left out";
                    reporter.note(now, "test_data", text);
                    continue;
                }
                let context = self.contexts.get(&object.source).cloned().unwrap_or_default();
                let Some(run) = Run::new(&context, &array) else {
                    unpackable = true;
                    let text = "a wave comes without its packing or period; it is left out";
                    reporter.note(now, "no_sample_spec", text);
                    continue;
                };
                let channel = channel(&context, array.physio_id);
                let heard = Anchor { observed: now.observed(), tick };
                let known = self.anchor.filter(|known| known.agrees_with(&heard));
                let anchor = known.unwrap_or(heard);
                let fresh = Stream::new(anchor, channel, &run, (sequence, tick));
                let place = (object.source, metric);
                if let Some(stream) = self.follow(place, fresh, &heard, jumped) {
                    stream.hand_out(metric, scale(metric, &context).as_ref(), &run, reporter);
                }
            }
        }
        unpackable
    }

    /// Whether answers are missing before the one of that number.
    fn jumps(&mut self, now: Now, sequence: u16, reporter: &mut Reporter) -> bool {
        let before = self.sequence.replace(sequence);
        // "0 for the immediate answer, then counts up", §6.7.
        let jumped = before.is_some_and(|before| {
            sequence != 0 && sequence != before && sequence != before.wrapping_add(1)
        });
        if jumped {
            let before = before.unwrap_or_default();
            let text = format!("waves between the answers {before} and {sequence} are missing");
            reporter.note(now, "gap", text);
        }
        jumped
    }

    fn learn(&mut self, now: Now, object: &Observation, reporter: &mut Reporter) {
        let room = self.contexts.len() < OBJECTS_MAX || self.contexts.contains_key(&object.source);
        if !room {
            let text = format!("more than {OBJECTS_MAX} waves; the rest is left out");
            return reporter.note(now, "too_many", text);
        }
        let context = self.contexts.entry(object.source).or_default();
        if let Err(error) = context.learn(&object.attributes) {
            reporter.note(now, "malformed", error);
        }
    }

    /// The stream that the samples of `fresh` belong to; `None` if they came before.
    fn follow(
        &mut self,
        key: (Source, Metric),
        fresh: Stream,
        heard: &Anchor,
        jumped: bool,
    ) -> Option<&mut Stream> {
        match self.streams.entry(key) {
            Entry::Vacant(place) => {
                self.anchor = Some(fresh.anchor);
                Some(place.insert(fresh))
            }
            Entry::Occupied(place) => {
                let stream = place.into_mut();
                if stream.last == fresh.last || stream.is_repeated_by(&fresh) {
                    return None;
                }
                if stream.runs_apart(heard) {
                    self.anchor = Some(*heard);
                    *stream = Stream { anchor: *heard, ..fresh };
                } else if jumped || !stream.goes_on_with(&fresh) {
                    self.anchor = Some(fresh.anchor);
                    *stream = fresh;
                } else {
                    stream.last = fresh.last;
                }
                Some(stream)
            }
        }
    }
}

/// A sample and what is marked in it.
#[derive(Clone, Copy, Debug)]
struct Sample {
    value: i32,
    /// The monitor says that it is no signal.
    no_signal: bool,
    saturation: bool,
    pacer: bool,
}

/// The samples of an array.
#[derive(Debug)]
struct Run {
    samples: Vec<Sample>,
    period: u32,
}

impl Run {
    /// `None` if nobody knows how the samples are packed, or a sample takes over a second.
    fn new(context: &Context, array: &SampleArray) -> Option<Self> {
        let (spec, period) = (context.spec?, context.period?);
        let packed = spec.significant_bits > 0 && spec.significant_bits <= spec.bits;
        if !packed || !(1..=spec::TICKS_A_SECOND).contains(&period) {
            return None;
        }
        let raw: Vec<u16> = match spec.bits {
            8 => array.bytes.iter().map(|&byte| byte.into()).collect(),
            16 => {
                let (pairs, _) = array.bytes.as_chunks::<2>();
                pairs.iter().map(|pair| u16::from_be_bytes(*pair)).collect()
            }
            _ => return None,
        };
        let mask = u16::MAX >> (16 - spec.significant_bits);
        // "Test the fixed-value masks on the unmasked sample first", §8.
        let marked = |raw: u16, id: u16| {
            let fixed = context.fixed.iter();
            fixed
                .filter(|mark| mark.mask != 0)
                .any(|mark| mark.id == id && raw & mark.mask == mark.mask)
        };
        let no_signal = array.state & (INVALID | UNAVAILABLE | CALIBRATING) != 0;
        let samples = raw.iter().map(|&raw| Sample {
            value: i32::from(raw & mask),
            no_signal: no_signal || marked(raw, spec::INVALID),
            saturation: marked(raw, spec::SATURATION),
            pacer: marked(raw, spec::PACER),
        });
        Some(Self { samples: samples.collect(), period })
    }

    /// The samples of each block: all of them, but for an array that is long or only partly signal.
    fn parts(&self) -> impl Iterator<Item = &[Sample]> {
        let alike = self.samples.chunk_by(|one, next| one.no_signal == next.no_signal);
        alike.flat_map(|part| part.chunks(per_block(self.period)))
    }

    fn ticks(&self) -> i64 {
        ticks(self.samples.len(), self.period)
    }
}

impl Stream {
    /// A stream that begins with that run.
    fn new(anchor: Anchor, channel: Channel, run: &Run, last: (u16, i64)) -> Self {
        let next_tick = last.1 - run.ticks();
        Self { channel, period: run.period, anchor, next_tick, late_since: None, last }
    }

    /// Whether the agent's clock and the monitor's ticks do not belong together any more.
    fn runs_apart(&mut self, heard: &Anchor) -> bool {
        let late = self.anchor.late_ms(heard) > DRIFT_MAX_MS;
        self.late_since = late.then(|| self.late_since.unwrap_or(heard.tick));
        let apart = self.late_since.is_some_and(|since| heard.tick - since > DRIFT_TICKS);
        apart || !self.anchor.agrees_with(heard)
    }

    /// Whether the samples of `fresh` come right after those that are there.
    fn goes_on_with(&self, fresh: &Self) -> bool {
        self.period == fresh.period
            && self.channel == fresh.channel
            && self.next_tick.abs_diff(fresh.next_tick) <= GAP_TICKS
    }

    /// The answer to a poll that is renewed comes at once, number 0: its samples may be those that
    /// came a moment ago.
    fn is_repeated_by(&self, fresh: &Self) -> bool {
        let overlap = u64::try_from(self.next_tick - fresh.next_tick).unwrap_or_default();
        fresh.last.0 == 0 && overlap > GAP_TICKS
    }

    /// Hands out the samples of an array; each block begins where the one before ended.
    fn hand_out(
        &mut self,
        metric: Metric,
        scale: Option<&Scale>,
        run: &Run,
        reporter: &mut Reporter,
    ) {
        let Some(period) = sample_period(run.period) else { return };
        for part in run.parts() {
            reporter.emit(Record::Waveform(WaveformBlock {
                device: reporter.device().clone(),
                channel: self.channel.clone(),
                metric,
                start: self.next(),
                period,
                scale: scale.cloned(),
                samples: part.iter().map(|sample| sample.value).collect(),
                flags: WaveformFlags {
                    lead_off: part.iter().any(|sample| sample.no_signal),
                    saturation: part.iter().any(|sample| sample.saturation),
                    pacer: part.iter().any(|sample| sample.pacer),
                },
            }));
            self.next_tick += ticks(part.len(), run.period);
        }
    }

    /// The agent's clock at the next sample.
    fn next(&self) -> Observed {
        self.anchor.at(self.next_tick)
    }
}

fn ticks(samples: usize, period: u32) -> i64 {
    i64::try_from(samples).unwrap_or_default() * i64::from(period)
}

/// Samples of a block of at most a second.
fn per_block(period: u32) -> usize {
    let count = spec::TICKS_A_SECOND.checked_div(period).unwrap_or_default();
    usize::try_from(count).unwrap_or_default().clamp(1, SAMPLES_MAX)
}

/// The period as a ratio in lowest terms: 16 ticks are 1/500 s.
fn sample_period(ticks: u32) -> Option<SamplePeriod> {
    let (mut divisor, mut rest) = (spec::TICKS_A_SECOND, ticks);
    while rest > 0 {
        (divisor, rest) = (rest, divisor % rest);
    }
    SamplePeriod::new(ticks / divisor, spec::TICKS_A_SECOND / divisor)
}

fn channel(context: &Context, physio_id: u16) -> Channel {
    let label = context.label.as_ref().filter(|label| !is_usual_label(label.code, physio_id));
    let named = label.map(|label| {
        let text = Channel::new(&label.text).filter(|_| !label.text.is_empty());
        text.or_else(|| Channel::new(&format!("{:08x}", label.code))).unwrap_or_default()
    });
    named.unwrap_or_default()
}

/// "Lower + (raw − rawLower) × (upper − lower) / (rawUpper − rawLower)", §8.
fn scale(metric: Metric, context: &Context) -> Option<Scale> {
    let usual = |(lower, upper, raw_upper): (i64, i64, u16)| {
        let value = |thousandths| Float::Number(Decimal::fixed(thousandths, -3));
        ScaleRange { lower: value(lower), upper: value(upper), raw_lower: 0, raw_upper }
    };
    let bits = context.spec?.significant_bits;
    let range = match metric.row().class {
        _ if context.scale.is_some() => context.scale?,
        Class::EcgWave if bits == 14 => usual(spec::ECG),
        Class::RespWave if bits == 12 => usual(spec::RESP),
        _ => return None,
    };
    let unit = match context.unit {
        Some(code) => unit(code)?,
        None => metric.row().canonical_unit.clone()?,
    };
    let (per_count, offset) = line(range)?;
    Some(Scale { per_count, offset, unit })
}

/// Unit per count, to nine decimals, and the count that means zero.
fn line(range: ScaleRange) -> Option<(Decimal, i32)> {
    const DECIMALS: i8 = 9;
    let (lower, upper) = (billionths(range.lower)?, billionths(range.upper)?);
    let counts = i128::from(range.raw_upper) - i128::from(range.raw_lower);
    let height = upper - lower;
    if counts == 0 || height == 0 {
        return None;
    }
    // The count where the value is zero: rawLower − lower × counts / height.
    let zero = i128::from(range.raw_lower) - rounded(lower * counts, height)?;
    let mut mantissa = i64::try_from(rounded(height, counts)?).ok()?;
    let mut exponent = -DECIMALS;
    while mantissa != 0 && mantissa % 10 == 0 && exponent < 0 {
        (mantissa, exponent) = (mantissa / 10, exponent + 1);
    }
    if mantissa == 0 {
        return None;
    }
    Some((Decimal::new(mantissa, exponent)?, i32::try_from(zero).ok()?))
}

fn billionths(value: Float) -> Option<i128> {
    let number = value.number()?;
    let power = u32::try_from(i32::from(number.exponent()) + 9).ok()?;
    Some(i128::from(number.mantissa()) * 10_i128.checked_pow(power)?)
}

/// The quotient, half away from zero.
fn rounded(numerator: i128, denominator: i128) -> Option<i128> {
    let (twice, whole) = (numerator.abs() * 2 + denominator.abs(), denominator.abs() * 2);
    Some(twice.checked_div(whole)? * numerator.signum() * denominator.signum())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(lower: &str, upper: &str, raw: (u16, u16)) -> ScaleRange {
        let float = |text: &str| Float::Number(text.parse().unwrap());
        let (raw_lower, raw_upper) = raw;
        ScaleRange { lower: float(lower), upper: float(upper), raw_lower, raw_upper }
    }

    #[track_caller]
    fn check_line(range: ScaleRange, per_count: &str, zero: i32) {
        let (found, offset) = line(range).unwrap();
        assert_eq!((found.to_string().as_str(), offset), (per_count, zero));
    }

    #[test]
    fn two_points_of_a_scale_give_the_line() {
        check_line(range("-40.96", "40.955", (0, 0x3FFF)), "0.005", 8192);
        check_line(range("-0.6", "1.9", (0, 0x0FFF)), "0.000610501", 983);
        check_line(range("0", "1", (1000, 1200)), "0.005", 1000);
        check_line(range("10", "-10", (0, 20)), "-1", 10);
        check_line(range("0", "4000", (0, 4)), "1000", 0);
    }

    #[test]
    fn a_scale_that_is_no_line_is_none() {
        assert_eq!(line(range("1", "1", (0, 10))), None);
        assert_eq!(line(range("0", "1", (10, 10))), None);
        let absent = ScaleRange { lower: Float::Absent, ..range("0", "1", (0, 10)) };
        assert_eq!(line(absent), None);
    }

    #[test]
    fn ticks_become_a_ratio_in_lowest_terms() {
        assert_eq!(sample_period(16), Some(SamplePeriod::per_second(500)));
        assert_eq!(sample_period(128), SamplePeriod::new(2, 125));
        assert_eq!((per_block(16), per_block(128), per_block(8000)), (500, 62, 1));
        assert_eq!(per_block(1), SAMPLES_MAX);
    }

    #[test]
    fn marks_are_tested_before_the_sample_is_masked() {
        let fixed = [(1, 0x8000), (2, 0x4000), (4, 0x3FFF)]
            .map(|(id, mask)| FixedValue { id, mask })
            .into();
        let spec = SampleSpec { array_len: 3, bits: 16, significant_bits: 14, flags: 0 };
        let context = Context { spec: Some(spec), period: Some(16), fixed, ..Context::default() };
        let run = |bytes: &[u8]| {
            let array = SampleArray { physio_id: 0x0102, state: 0, bytes: bytes.to_vec() };
            Run::new(&context, &array).unwrap()
        };
        let paced = run(&[0x20, 0x00, 0x60, 0x0A, 0x3F, 0xFF]);
        let values: Vec<_> = paced.samples.iter().map(|sample| sample.value).collect();
        assert_eq!((values, paced.parts().count()), (vec![0x2000, 0x200A, 0x3FFF], 1));
        assert!(paced.samples[1].pacer && !paced.samples[0].pacer && paced.samples[2].saturation);
        // The border between signal and no signal is one between blocks.
        let cut_off = run(&[0x20, 0x00, 0xA0, 0x00, 0xA0, 0x00]);
        let parts: Vec<_> = cut_off.parts().map(|part| (part.len(), part[0].no_signal)).collect();
        assert_eq!(parts, [(1, false), (2, true)]);
    }
}
