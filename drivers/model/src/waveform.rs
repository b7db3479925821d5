//! Waveform blocks: runs of equally spaced samples of one metric, at most a second long.

use crate::{
    decimal::Decimal,
    id::{Channel, DeviceId},
    metric::Metric,
    time::Observed,
    units::Unit,
};

/// One second at 4 kHz; the fastest sheet has 500 Hz.
pub const SAMPLES_MAX: usize = 4096;

/// Time between two samples as an exact ratio of seconds: 1/250.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct SamplePeriod {
    numerator: u32,
    denominator: u32,
}

impl SamplePeriod {
    /// `numerator / denominator` seconds; both above 0.
    #[must_use]
    pub const fn new(numerator: u32, denominator: u32) -> Option<Self> {
        if numerator > 0 && denominator > 0 { Some(Self { numerator, denominator }) } else { None }
    }

    /// That many samples a second, known when the program is built.
    #[must_use]
    pub const fn per_second(rate: u32) -> Self {
        assert!(rate > 0);
        Self { numerator: 1, denominator: rate }
    }

    /// Upper part of the ratio.
    #[must_use]
    pub const fn numerator(self) -> u32 {
        self.numerator
    }

    /// Lower part of the ratio.
    #[must_use]
    pub const fn denominator(self) -> u32 {
        self.denominator
    }

    /// Time that `count` samples take, in microseconds, rounded down.
    #[must_use]
    pub fn span_us(self, count: u32) -> u64 {
        u64::from(count) * u64::from(self.numerator) * 1_000_000 / u64::from(self.denominator)
    }
}

/// What holds for a whole block.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct WaveformFlags {
    /// A lead was off: the samples are no signal.
    pub lead_off: bool,
    /// Samples touch the amplifier's rails.
    pub saturation: bool,
    /// A pacemaker pulse was marked.
    pub pacer: bool,
}

/// Millivolts (or another unit) per count: `value = (sample - offset) × scale`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Scale {
    /// Unit per count.
    pub per_count: Decimal,
    /// The count that means zero.
    pub offset: i32,
    /// The unit, `mV` for an ECG.
    pub unit: Unit,
}

/// A run of equally spaced samples of one metric.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct WaveformBlock {
    /// The device.
    pub device: DeviceId,
    /// Which of several like sources; mostly empty.
    pub channel: Channel,
    /// The lead.
    pub metric: Metric,
    /// The agent's clock at the first sample.
    pub start: Observed,
    /// Time between samples.
    pub period: SamplePeriod,
    /// Absent where the device's scale is not known.
    pub scale: Option<Scale>,
    /// 1 to [`SAMPLES_MAX`] samples in device units.
    pub samples: Vec<i32>,
    /// What holds for the whole block.
    pub flags: WaveformFlags,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_of_samples_spans_a_second() {
        assert_eq!(SamplePeriod::per_second(250).span_us(250), 1_000_000);
        assert_eq!(SamplePeriod::new(1, 0), None);
    }
}
