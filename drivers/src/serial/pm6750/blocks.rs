//! Gathers samples that come one by one into waveform blocks of a second.
//!
//! The device sends no time: packets are the clock. A block begins where the one before ended,
//! brought a little nearer to the edge's clock each time, because no device keeps its rate exactly.
//!
//! # Invariants
//! - what came late is no gap: blocks are counted on as if it had come in time
//! - what was lost is a gap: no block goes over it

use super::spec::RAIL;
use model::{
    id::{Channel, DeviceId},
    metric::{Class, Metric},
    time::{ClockQuality, MonoTime, Now, Observed, WallTime},
    waveform::{SamplePeriod, Scale, WaveformBlock, WaveformFlags},
};
use std::{mem, time::Duration, vec::Drain};

/// A stream that stops this long hands out what it has.
const FLUSH_AFTER: Duration = Duration::from_secs(1);
/// Count and arrival may differ by this much before the block's start is taken from the clock.
const DRIFT_MAX_US: i64 = 500_000;
/// The slowest wave has a sample each 25 ms: after this long without one, samples were lost or come
/// late.
const PAUSE: Duration = Duration::from_millis(100);
/// What came late comes at once, as fast as the edge can read it; what has not come this long after
/// the pause was lost.
const SETTLE: Duration = Duration::from_millis(250);
/// This much missing is a loss; less is the port's own jitter.
const LOST_MIN_US: i64 = 50_000;
/// 250.7 samples a second instead of 250 are 2.8 ms a block (§6, measured).
const SLEW_MAX_US: i64 = 5_000;
/// A rate is told from the other one after this long: 100 ms of jitter are 3 % of it.
const MEASURED_MIN_US: i64 = 3_000_000;

/// A moment by count, on both clocks.
#[derive(Clone, Copy, Debug)]
struct Moment {
    mono_us: i64,
    wall_us: i64,
}

impl Moment {
    fn of(now: Now) -> Self {
        let mono_us = i64::try_from(now.mono.since_start().as_micros()).unwrap_or(i64::MAX);
        Self { mono_us, wall_us: now.wall.unix_ms().saturating_mul(1000) }
    }

    fn later(self, us: i64) -> Self {
        let Self { mono_us, wall_us } = self;
        Self { mono_us: mono_us.saturating_add(us), wall_us: wall_us.saturating_add(us) }
    }
}

/// A time without samples that is not yet understood.
#[derive(Clone, Copy, Debug)]
struct Pause {
    /// The first sample after it, in the open block.
    at: usize,
    since: MonoTime,
    lag_before_us: i64,
    /// The least lag of a sample since.
    lag_us: i64,
}

impl Pause {
    /// What is missing since, as far as it has not come late.
    fn lost_us(&self) -> i64 {
        self.lag_us.saturating_sub(self.lag_before_us)
    }
}

/// One stream of samples; the leads of an ECG come together.
#[derive(Debug)]
pub(super) struct Stream {
    device: DeviceId,
    metrics: &'static [Metric],
    /// Whether lead-off, saturation and a scale mean anything.
    ecg: bool,
    per_block: usize,
    /// Samples a second that are documented, the likely one first.
    rates: &'static [u16],
    rate: u16,
    scale: Option<Scale>,
    /// Per metric.
    samples: Vec<Vec<i32>>,
    /// The first sample of the open block.
    start: Option<(Moment, ClockQuality)>,
    /// Where the next block begins by count.
    next: Option<Moment>,
    /// Bytes were damaged: nobody knows what is missing between the blocks.
    broken: bool,
    /// Since when samples are counted to tell the rate, and how many came.
    counted: Option<(i64, i64)>,
    last: MonoTime,
    /// How late the last sample came by count, and the least late one of the open block.
    lag_us: i64,
    lag_min_us: i64,
    pause: Option<Pause>,
    lead_off: bool,
    done: Vec<WaveformBlock>,
}

impl Stream {
    /// A stream in blocks of as many samples as the likely rate has in a second.
    pub(super) fn new(
        device: DeviceId,
        metrics: &'static [Metric],
        rates: &'static [u16],
        scale: Option<Scale>,
    ) -> Self {
        let ecg = metrics.iter().all(|metric| metric.row().class == Class::EcgWave);
        let rate = rates.first().copied().unwrap_or(1);
        Self {
            device,
            metrics,
            ecg,
            per_block: usize::from(rate),
            rates,
            rate,
            scale,
            samples: metrics.iter().map(|_| Vec::new()).collect(),
            start: None,
            next: None,
            broken: false,
            counted: None,
            last: MonoTime::START,
            lag_us: 0,
            lag_min_us: i64::MAX,
            pause: None,
            lead_off: false,
            done: Vec::new(),
        }
    }

    /// Takes one sample per metric. Afterwards: drain [`blocks`](Self::blocks).
    pub(super) fn push(&mut self, now: Now, sample: &[u8], lead_off: bool) {
        let going_on = self.start.is_some() || self.next.is_some();
        let paused = going_on && now.mono.since(self.last) > PAUSE;
        if paused {
            self.settle();
        }
        let at = self.len();
        let start = self.begin(now, paused);
        for (samples, &value) in self.samples.iter_mut().zip(sample) {
            samples.push(i32::from(value));
        }
        self.lead_off |= lead_off;
        let arrived_us = Moment::of(now).mono_us;
        self.counted = match self.counted {
            None => Some((arrived_us, 0)),
            Some((since, count)) => Some((since, count.saturating_add(1))),
        };
        let lag_us = arrived_us.saturating_sub(start.mono_us).saturating_sub(self.span_us(at));
        match &mut self.pause {
            Some(pause) => pause.lag_us = pause.lag_us.min(lag_us),
            None if paused => {
                let lag_before_us = self.lag_us;
                self.pause = Some(Pause { at, since: now.mono, lag_before_us, lag_us });
            }
            None => {}
        }
        (self.lag_us, self.lag_min_us) = (lag_us, self.lag_min_us.min(lag_us));
        self.last = now.mono;
        let understood =
            |pause: &Pause| pause.lost_us() < LOST_MIN_US || now.mono.since(pause.since) >= SETTLE;
        // What came late at once is a few blocks at most.
        if self.pause.as_ref().is_some_and(understood) || self.len() >= 4 * self.per_block {
            self.settle();
        }
        while self.pause.is_none() && self.len() >= self.per_block {
            self.cut(self.per_block);
        }
    }

    /// Hands out what is there, and counts on.
    pub(super) fn finish(&mut self) {
        self.settle();
        while self.start.is_some() {
            self.cut(self.len().min(self.per_block));
        }
    }

    /// The stream stopped: hands out what is there and begins to count anew with the next sample.
    pub(super) fn stop(&mut self) {
        self.finish();
        (self.next, self.counted) = (None, None);
    }

    /// Bytes were damaged: a sample may be missing here.
    pub(super) fn interrupt(&mut self) {
        self.finish();
        self.broken = true;
    }

    /// The scale from the next sample on. What is in the open block may have either.
    pub(super) fn set_scale(&mut self, scale: Option<Scale>) {
        if scale != self.scale {
            self.scale = None;
            self.finish();
            self.scale = scale;
        }
    }

    /// Forgets what is there and begins to count anew.
    pub(super) fn reset(&mut self) {
        let (device, scale) = (self.device.clone(), self.scale.take());
        *self = Self::new(device, self.metrics, self.rates, scale);
    }

    /// Blocks that are finished.
    pub(super) fn blocks(&mut self) -> Drain<'_, WaveformBlock> {
        self.done.drain(..)
    }

    pub(super) fn flush_at(&self) -> Option<MonoTime> {
        self.start.map(|_| self.last + FLUSH_AFTER)
    }

    /// Start of the open block; opens one if there is none.
    fn begin(&mut self, now: Now, paused: bool) -> Moment {
        if let Some((start, _)) = self.start {
            return start;
        }
        let arrived = Moment::of(now);
        let by_count = self.next.filter(|next| {
            let late = arrived.mono_us.saturating_sub(next.mono_us);
            let jump = arrived.wall_us.saturating_sub(next.wall_us).saturating_sub(late);
            let drifted = late < -DRIFT_MAX_US || late > DRIFT_MAX_US && !paused;
            !drifted && jump.saturating_abs() <= DRIFT_MAX_US
        });
        let start = match by_count {
            Some(next) if mem::take(&mut self.broken) && arrived.mono_us > next.mono_us => arrived,
            Some(next) => next,
            None => arrived,
        };
        self.broken = false;
        self.start = Some((start, now.quality));
        start
    }

    /// Judges a pause by what came after it: if samples were lost, a block ends where they are
    /// missing.
    fn settle(&mut self) {
        let Some(pause) = self.pause.take() else { return };
        let lost_us = pause.lost_us();
        if lost_us < LOST_MIN_US {
            return;
        }
        if pause.at > 0 {
            self.cut(pause.at);
        }
        if let Some((start, quality)) = self.start {
            self.start = Some((start.later(lost_us), quality));
        }
        self.lag_us = self.lag_us.saturating_sub(lost_us);
        self.lag_min_us = self.lag_us;
        self.counted = None;
    }

    /// Hands out the first `count` samples of the open block as one block per metric.
    fn cut(&mut self, count: usize) {
        let Some((start, quality)) = self.start.take() else { return };
        self.measure_rate();
        let slew = self.lag_min_us.clamp(-SLEW_MAX_US, SLEW_MAX_US);
        let next = start.later(self.span_us(count).saturating_add(slew));
        let at = WallTime::from_unix_ms(start.wall_us.div_euclid(1000));
        let leads = self.metrics.iter().zip(&mut self.samples);
        self.done.extend(leads.map(|(metric, samples)| {
            let later = samples.split_off(count.min(samples.len()));
            let samples = mem::replace(samples, later);
            let rail = |sample: &i32| !RAIL.contains(sample);
            WaveformBlock {
                device: self.device.clone(),
                channel: Channel::default(),
                metric: *metric,
                start: Observed { at, quality },
                period: SamplePeriod::per_second(self.rate.into()),
                scale: self.scale.clone(),
                flags: WaveformFlags {
                    lead_off: self.ecg && self.lead_off,
                    saturation: self.ecg && samples.iter().any(rail),
                    pacer: false,
                },
                samples,
            }
        }));
        self.next = Some(next);
        if self.len() > 0 {
            self.start = Some((next, quality));
            self.lag_min_us = self.lag_us.saturating_sub(slew);
        } else {
            (self.lag_min_us, self.lead_off) = (i64::MAX, false);
        }
    }

    /// Takes the documented rate that is nearest to what came.
    fn measure_rate(&mut self) {
        let Some((since, count)) = self.counted else { return };
        let last_us = i64::try_from(self.last.since_start().as_micros()).unwrap_or(i64::MAX);
        let elapsed_us = last_us.saturating_sub(since);
        if self.rates.len() < 2 || elapsed_us < MEASURED_MIN_US {
            return;
        }
        let measured = count.saturating_mul(1_000_000) / elapsed_us;
        let nearest = self.rates.iter().min_by_key(|rate| measured.abs_diff(i64::from(**rate)));
        let rate = nearest.copied().unwrap_or(self.rate);
        if mem::replace(&mut self.rate, rate) != rate {
            // The lags were those of the other rate.
            self.lag_min_us = 0;
        }
    }

    fn span_us(&self, count: usize) -> i64 {
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        count.saturating_mul(1_000_000) / i64::from(self.rate.max(1))
    }

    fn len(&self) -> usize {
        self.samples.iter().map(Vec::len).max().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::now_at;

    fn stream(rates: &'static [u16]) -> Stream {
        Stream::new(DeviceId::new("ecg-01").unwrap(), &[Metric::PLETH], rates, None)
    }

    /// Start after the beginning and end of each block, in milliseconds.
    fn spans(stream: &mut Stream) -> Vec<(i64, i64)> {
        let begin = now_at(0).wall.unix_ms();
        let span = |block: WaveformBlock| {
            let start = block.start.at.unix_ms() - begin;
            let count = u32::try_from(block.samples.len()).unwrap();
            (start, start + i64::try_from(block.period.span_us(count) / 1000).unwrap())
        };
        stream.blocks().map(span).collect()
    }

    #[test]
    fn samples_that_come_late_at_once_are_counted_on() {
        let mut stream = stream(&[50]);
        for sample in 0..150_u64 {
            // What was due from 0.4 to 1.2 s comes from 1.2 s on, as fast as it can be read.
            let due = 20 * sample;
            let ms = if (400..1400).contains(&due) { 1200 + (due - 400) / 5 } else { due };
            stream.push(now_at(ms), &[100], false);
        }
        assert_eq!(spans(&mut stream), [(0, 1000), (1000, 2000), (2000, 3000)]);
    }

    #[test]
    fn no_block_goes_over_samples_that_were_lost() {
        for lost_ms in [120, 300, 980] {
            let mut stream = stream(&[50]);
            for sample in 0..100_u64 {
                let ms = 20 * sample + if sample < 30 { 0 } else { lost_ms };
                stream.push(now_at(ms), &[100], false);
            }
            stream.finish();
            let lost = i64::try_from(lost_ms).unwrap();
            let expected = [(0, 600), (600 + lost, 1600 + lost), (1600 + lost, 2000 + lost)];
            assert_eq!(spans(&mut stream), expected, "{lost_ms} ms");
        }
    }

    #[test]
    fn a_loss_between_two_blocks_moves_the_second() {
        let mut stream = stream(&[50]);
        for sample in 0..100_u64 {
            let ms = 20 * sample + if sample < 50 { 0 } else { 300 };
            stream.push(now_at(ms), &[100], false);
        }
        assert_eq!(spans(&mut stream), [(0, 1000), (1300, 2300)]);
    }

    #[test]
    fn a_device_that_is_a_little_fast_never_runs_away() {
        let mut stream = stream(&[250]);
        let mut before = 0;
        for sample in 0..250_700_u64 {
            stream.push(now_at(sample * 10_000 / 2_507), &[100], false);
            for (start, end) in spans(&mut stream) {
                let now = i64::try_from(sample * 10_000 / 2_507).unwrap();
                assert!((end - now).abs() <= 8, "block of {start} ends at {end}, now {now}");
                assert!((start - before).abs() <= 8, "{start} after {before}");
                before = end;
            }
        }
    }

    #[test]
    fn the_rate_is_the_documented_one_that_is_nearest() {
        for (period_ms, rate) in [(25, 40), (20, 50)] {
            let mut stream = stream(&[50, 40]);
            for sample in 0..1_000_u64 {
                stream.push(now_at(sample * period_ms), &[100], false);
            }
            let blocks: Vec<_> = stream.blocks().collect();
            let late = &blocks[blocks.len() - 5..];
            assert!(late.iter().all(|block| block.period == SamplePeriod::per_second(rate)));
            let starts: Vec<_> = late.iter().map(|block| block.start.at.unix_ms()).collect();
            let step = i64::try_from(50 * period_ms).unwrap();
            assert!(starts.windows(2).all(|pair| (pair[1] - pair[0] - step).abs() <= 5));
        }
    }

    #[test]
    fn damaged_bytes_end_a_block_and_the_next_never_begins_before_it() {
        let mut stream = stream(&[50]);
        for sample in 0..30_u64 {
            stream.push(now_at(20 * sample), &[100], false);
        }
        stream.interrupt();
        stream.push(now_at(625), &[100], false);
        stream.interrupt();
        stream.push(now_at(630), &[100], false);
        stream.finish();
        assert_eq!(spans(&mut stream), [(0, 600), (625, 645), (645, 665)]);
    }
}
