//! What a sample is expected to be, from those before it.
//!
//! A polynomial through the last samples is good where a wave is smooth or coarse; weights fitted
//! to the block are better where a monitor samples faster than its filter lets pass. They weigh
//! differences, so that the level of the wave, which is often far from 0, needs no exact weights.
//!
//! # Invariants
//! - the prediction is made of integers: encoder and decoder expect the same on every machine; only
//!   how weights are found uses fractions, and they are written down

use super::bits::{BitReader, BitWriter};

/// Highest degree of a polynomial.
const DEGREE_MAX: u8 = 3;
/// Most weights.
const WEIGHTS_MAX: usize = 12;
/// Bits of the shift.
const SHIFT_BITS: u32 = 4;

/// How the next sample is predicted.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Predictor {
    /// A polynomial of one degree less goes through so many last samples; without any, 0.
    Polynomial(u8),
    /// The last sample, and the weighted sum of the last differences, newest first, divided by two
    /// to the power of `shift`.
    Linear { shift: u32, weights: Vec<i8> },
}

impl Default for Predictor {
    fn default() -> Self {
        Self::Polynomial(1)
    }
}

impl Predictor {
    /// What may be good for these samples.
    pub(super) fn candidates(samples: &[i32]) -> Vec<Self> {
        let linear = linear(&fitted(samples));
        (0..=DEGREE_MAX).map(Self::Polynomial).chain(linear).collect()
    }

    pub(super) fn read(bits: &mut BitReader<'_>) -> Option<Self> {
        let number = u8::try_from(bits.read(u8::BITS)?).ok()?;
        let Some(count) = number.checked_sub(DEGREE_MAX).filter(|count| *count > 0) else {
            return Some(Self::Polynomial(number));
        };
        if usize::from(count) > WEIGHTS_MAX {
            return None;
        }
        let shift = u32::try_from(bits.read(SHIFT_BITS)?).ok()?;
        let weights = (0..count)
            .map(|_| Some(u8::try_from(bits.read(u8::BITS)?).ok()?.cast_signed()))
            .collect::<Option<_>>()?;
        Some(Self::Linear { shift, weights })
    }

    pub(super) fn write(&self, bits: &mut BitWriter) {
        match self {
            Self::Polynomial(count) => bits.write(u64::from(*count), u8::BITS),
            Self::Linear { shift, weights } => {
                let count = u8::try_from(weights.len()).unwrap_or_default();
                bits.write(u64::from(DEGREE_MAX + count), u8::BITS);
                bits.write(u64::from(*shift), SHIFT_BITS);
                for weight in weights {
                    bits.write(u64::from(weight.cast_unsigned()), u8::BITS);
                }
            }
        }
    }

    /// Bits that it takes more than one without weights.
    pub(super) fn extra_bits(&self) -> u64 {
        match self {
            Self::Polynomial(_) => 0,
            Self::Linear { weights, .. } => weights.iter().map(|_| 8).sum::<u64>() + 4,
        }
    }

    /// The next sample, if it went on as before. Where there are too few samples yet, the last one.
    ///
    /// Samples have 32 bits and weights 8: nothing overflows.
    pub(super) fn expects(&self, samples: &[i32]) -> i64 {
        let mut newest_first = samples.iter().rev().map(|sample| i64::from(*sample));
        let last = newest_first.next().unwrap_or_default();
        match (self, newest_first.next(), newest_first.next()) {
            (Self::Polynomial(0), ..) => 0,
            (Self::Polynomial(2), Some(b), _) => 2 * last - b,
            (Self::Polynomial(3), Some(b), Some(c)) => 3 * last - 3 * b + c,
            (Self::Linear { shift, weights }, ..) if samples.len() > weights.len() => {
                let pairs = samples.iter().rev().zip(samples.iter().rev().skip(1));
                let differences = pairs.map(|(new, old)| i64::from(*new) - i64::from(*old));
                let weighted = weights.iter().zip(differences).map(|(w, d)| i64::from(*w) * d);
                last + (weighted.sum::<i64>() >> shift)
            }
            _ => last,
        }
    }
}

/// Weights of the differences by the method of Burg (1967): those whose errors, forwards and
/// backwards, have the smallest squares. As many as are worth their bits.
fn fitted(samples: &[i32]) -> Vec<f64> {
    let pairs = samples.iter().zip(samples.iter().skip(1));
    let differences: Vec<f64> = pairs.map(|(old, new)| f64::from(*new) - f64::from(*old)).collect();
    let (mut forwards, mut backwards) = (differences.clone(), differences);
    let (mut weights, mut best, mut least) = (Vec::new(), Vec::new(), f64::INFINITY);
    let mut bits = 0.0;
    for _ in 0..WEIGHTS_MAX {
        let errors: Vec<(f64, f64)> =
            forwards.iter().skip(1).copied().zip(backwards.iter().copied()).collect();
        let power: f64 = errors.iter().map(|(f, b)| f * f + b * b).sum();
        if power <= 0.0 {
            break;
        }
        let reflection = 2.0 * errors.iter().map(|(f, b)| f * b).sum::<f64>() / power;
        let turned: Vec<f64> = weights.iter().rev().copied().collect();
        for (weight, turned) in weights.iter_mut().zip(turned) {
            *weight -= reflection * turned;
        }
        weights.push(reflection);
        // Half as large an error saves a bit of each sample; a weight takes eight.
        let count = f64::from(u32::try_from(errors.len()).unwrap_or(u32::MAX));
        bits += 8.0 + count * (1.0 - reflection * reflection).log2() / 2.0;
        if bits < least {
            (least, best) = (bits, weights.clone());
        }
        forwards = errors.iter().map(|(f, b)| f - reflection * b).collect();
        backwards = errors.iter().map(|(f, b)| b - reflection * f).collect();
    }
    best
}

/// Weights as they are written, as exact as they can be.
fn linear(exact: &[f64]) -> Option<Predictor> {
    if exact.is_empty() {
        return None;
    }
    let largest = exact.iter().fold(0.0_f64, |largest, weight| largest.max(weight.abs()));
    let shifted = |weight: f64, shift: u32| weight * f64::from(1_u32 << shift);
    let fits = |shift: &u32| shifted(largest, *shift) < f64::from(i8::MAX);
    let shift = (0..1 << SHIFT_BITS).rev().find(fits)?;
    let weights = exact.iter().map(|weight| rounded(shifted(*weight, shift))).collect();
    Some(Predictor::Linear { shift, weights })
}

/// The nearest whole number.
#[expect(
    clippy::as_conversions,
    reason = "the standard library has no other way; `as` saturates and makes NaN 0"
)]
fn rounded(weight: f64) -> i8 {
    weight.round() as i8
}
