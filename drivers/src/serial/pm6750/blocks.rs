//! Gathers samples that come one by one into waveform blocks of a second.
//!
//! The device sends no time: packets are the clock. A block begins where the one before ended,
//! unless count and arrival have run apart.

use super::spec::RAIL;
use model::{
    id::{Channel, DeviceId},
    metric::{Class, Metric},
    time::{MonoTime, Now, Observed, WallTime},
    waveform::{SamplePeriod, Scale, WaveformBlock, WaveformFlags},
};
use std::{mem, time::Duration};

/// A stream that stops this long hands out what it has.
const FLUSH_AFTER: Duration = Duration::from_secs(1);
/// Count and arrival may differ by this much before the block's start is taken from the clock.
const DRIFT_MAX_MS: u64 = 500;

/// One stream of samples; the leads of an ECG come together.
#[derive(Debug)]
pub(super) struct Stream {
    metrics: &'static [Metric],
    /// Whether lead-off, saturation and a scale mean anything.
    ecg: bool,
    per_block: usize,
    period: SamplePeriod,
    /// Per metric.
    samples: Vec<Vec<i32>>,
    /// Start of the open block.
    start: Option<Observed>,
    /// Where the next block begins by count.
    next_start: Option<WallTime>,
    last: MonoTime,
    lead_off: bool,
}

impl Stream {
    /// A stream of `rate` samples a second, in blocks of a second.
    pub(super) fn new(metrics: &'static [Metric], rate: u16) -> Self {
        let ecg = metrics.iter().all(|metric| metric.row().class == Class::EcgWave);
        let per_block = usize::from(rate);
        Self {
            metrics,
            ecg,
            per_block,
            period: SamplePeriod::per_second(rate.into()),
            samples: metrics.iter().map(|_| Vec::with_capacity(per_block)).collect(),
            start: None,
            next_start: None,
            last: MonoTime::START,
            lead_off: false,
        }
    }

    /// Takes one sample per metric; whether the block is full.
    pub(super) fn push(&mut self, now: Now, sample: &[u8], lead_off: bool) -> bool {
        if self.start.is_none() {
            let by_count = self
                .next_start
                .filter(|by_count| by_count.unix_ms().abs_diff(now.wall.unix_ms()) <= DRIFT_MAX_MS);
            let at = by_count.unwrap_or(now.wall);
            self.start = Some(Observed { at, quality: now.quality });
        }
        for (samples, &value) in self.samples.iter_mut().zip(sample) {
            samples.push(i32::from(value));
        }
        self.lead_off |= lead_off;
        self.last = now.mono;
        self.len() >= self.per_block
    }

    /// Hands out what is there as one block per metric.
    pub(super) fn take(&mut self, device: &DeviceId, scale: Option<&Scale>) -> Vec<WaveformBlock> {
        let Some(start) = self.start.take() else { return Vec::new() };
        let count = u32::try_from(self.len()).unwrap_or(u32::MAX);
        let span_ms = i64::try_from(self.period.span_us(count) / 1000).unwrap_or_default();
        self.next_start = Some(WallTime::from_unix_ms(start.at.unix_ms().saturating_add(span_ms)));
        let lead_off = mem::take(&mut self.lead_off);
        let ecg = self.ecg;
        let leads = self.metrics.iter().zip(&mut self.samples);
        leads
            .map(|(metric, samples)| {
                let samples = mem::take(samples);
                let rail = |sample: &i32| !RAIL.contains(sample);
                WaveformBlock {
                    device: device.clone(),
                    channel: Channel::default(),
                    metric: *metric,
                    start,
                    period: self.period,
                    scale: scale.filter(|_| ecg).cloned(),
                    flags: WaveformFlags {
                        lead_off: ecg && lead_off,
                        saturation: ecg && samples.iter().any(rail),
                        pacer: false,
                    },
                    samples,
                }
            })
            .collect()
    }

    /// Forgets what is there and begins to count anew.
    pub(super) fn reset(&mut self) {
        self.samples.iter_mut().for_each(Vec::clear);
        (self.start, self.next_start, self.lead_off) = (None, None, false);
    }

    /// The stream stopped: begin to count anew with the next sample.
    pub(super) fn restart(&mut self) {
        self.next_start = None;
    }

    pub(super) fn flush_at(&self) -> Option<MonoTime> {
        self.start.map(|_| self.last + FLUSH_AFTER)
    }

    fn len(&self) -> usize {
        self.samples.iter().map(Vec::len).max().unwrap_or_default()
    }
}
