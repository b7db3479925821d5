//! Waveform samples as bytes, without loss: codec 2 is prediction and an adaptive Golomb-Rice code.
//!
//! ```text
//! checksum   32 bits  CRC-32 (IEEE 802.3) of the samples as little-endian 32-bit integers
//! predictor   8 bits  0 to 3: polynomial through so many samples; 4 to 15: 1 to 12 weights
//!             4 bits  weights only: how far their sum is shifted right
//!        each 8 bits  weights of the differences before, newest first, with sign
//! start       4 bits  the first parameter of the code
//! first       6 bits  length of the first sample's zigzag, then that many bits
//! each other sample   the code of the zigzag of sample minus prediction
//! zeros to the end of the byte
//! ```
//! Highest bits first.
//! A code is `zigzag >> k` zeros, a one, then the `k` low bits; after 20 zeros and a one, 48 bits of
//! the zigzag itself. `k` follows the mean of what came before ([`Mean`]). The zeros at the end are
//! no code, for every code has a one: so the bits need no length. No samples are no bytes.
//!
//! - [`bits`]: bits in bytes
//! - [`predictor`]: what a sample is expected to be
//!
//! # Invariants
//! - what is encoded decodes to the same samples, whatever they are
//! - decoding stops at [`SAMPLES_MAX`] samples and takes no more memory than they need

mod bits;
mod predictor;

use bits::{BitReader, BitWriter};
use model::waveform::SAMPLES_MAX;
use predictor::Predictor;

/// Number of this codec in a waveform record. Codec 1, a byte and more for each difference, was
/// never released.
pub const CODEC_PREDICTIVE: u8 = 2;

/// Bits of the first parameter.
const START_BITS: u32 = 4;
/// Bits of the length of the first sample's zigzag, which has 33 bits at most.
const FIRST_LEN_BITS: u32 = 6;
/// Zeros that mean: the value itself follows.
const ZEROS_MAX: u64 = 20;
/// Bits of a value itself: 12 weights of 8 bits times differences of 33 bits are 45, and a sign.
const VALUE_BITS: u32 = 48;
/// Values the first parameter is chosen from.
const TRIED: usize = 16;

/// The bytes of `samples`.
#[must_use]
pub fn encode(samples: &[i32]) -> Vec<u8> {
    let Some((&first, _)) = samples.split_first() else { return Vec::new() };
    let (_, predictor, values) = Predictor::candidates(samples)
        .into_iter()
        .map(|predictor| {
            let values: Vec<u64> = (1..samples.len())
                .filter_map(|at| {
                    let (before, rest) = samples.split_at_checked(at)?;
                    Some(zigzag(i64::from(*rest.first()?) - predictor.expects(before)))
                })
                .collect();
            (len_of(&values) + predictor.extra_bits(), predictor, values)
        })
        .min_by_key(|(len, ..)| *len)
        .unwrap_or_default();

    let mut bits = BitWriter::default();
    bits.write(u64::from(checksum(samples)), u32::BITS);
    predictor.write(&mut bits);
    let start = Mean::start(&values);
    bits.write(start, START_BITS);
    let first = zigzag(i64::from(first));
    let len = u64::BITS - first.leading_zeros();
    bits.write(u64::from(len), FIRST_LEN_BITS);
    bits.write(first, len);
    let mut mean = Mean::begin(start);
    for value in values {
        let k = mean.parameter();
        let zeros = value >> k;
        if zeros < ZEROS_MAX {
            bits.write_zeros(zeros);
            bits.write(1, 1);
            bits.write(value, k);
        } else {
            bits.write_zeros(ZEROS_MAX);
            bits.write(1, 1);
            bits.write(value, VALUE_BITS);
        }
        mean.take(value);
    }
    bits.into_bytes()
}

/// The samples of `bytes`; `None` when they are not of this codec, too many, or not those that
/// were encoded.
#[must_use]
pub fn decode(bytes: &[u8]) -> Option<Vec<i32>> {
    if bytes.is_empty() {
        return Some(Vec::new());
    }
    let mut bits = BitReader::new(bytes);
    let sum = bits.read(u32::BITS)?;
    let predictor = Predictor::read(&mut bits)?;
    let mut mean = Mean::begin(bits.read(START_BITS)?);
    let len = u32::try_from(bits.read(FIRST_LEN_BITS)?).ok()?;
    let mut samples = vec![i32::try_from(unzigzag(bits.read(len)?)).ok()?];
    loop {
        let k = mean.parameter();
        let value = match bits.read_zeros() {
            Ok(zeros @ 0..ZEROS_MAX) => (zeros << k) | bits.read(k)?,
            Ok(ZEROS_MAX) => bits.read(VALUE_BITS)?,
            Err(0..8) => break,
            Ok(_) | Err(_) => return None,
        };
        mean.take(value);
        let sample = predictor.expects(&samples).checked_add(unzigzag(value))?;
        if samples.len() == SAMPLES_MAX {
            return None;
        }
        samples.push(i32::try_from(sample).ok()?);
    }
    (u64::from(checksum(&samples)) == sum).then_some(samples)
}

/// How large values are, after the last eight or so.
#[derive(Clone, Copy, Debug)]
struct Mean {
    /// Eight times the mean.
    eightfold: u64,
}

impl Mean {
    fn begin(start: u64) -> Self {
        Self { eightfold: 8 << start }
    }

    /// With what the code of these values begins.
    fn start(values: &[u64]) -> u64 {
        let tried = values.get(..TRIED).unwrap_or(values);
        let sum = tried.iter().fold(0_u64, |sum, value| sum.saturating_add(*value));
        let count = u64::try_from(tried.len()).unwrap_or(1).max(1);
        u64::from((sum / count).checked_ilog2().unwrap_or_default()).min((1 << START_BITS) - 1)
    }

    /// Low bits that are written as they are: about half of the values have more.
    fn parameter(self) -> u32 {
        (self.eightfold / 8).saturating_sub(1).checked_ilog2().unwrap_or_default()
    }

    /// Values have 48 bits at most: nothing overflows.
    fn take(&mut self, value: u64) {
        self.eightfold = self.eightfold - self.eightfold / 8 + value;
    }
}

/// Bits of the codes of these values.
fn len_of(values: &[u64]) -> u64 {
    let mut mean = Mean::begin(Mean::start(values));
    let len_of = |value: &u64| {
        let k = mean.parameter();
        let zeros = value >> k;
        mean.take(*value);
        match zeros {
            0..ZEROS_MAX => zeros + 1 + u64::from(k),
            _ => ZEROS_MAX + 1 + u64::from(VALUE_BITS),
        }
    };
    values.iter().map(len_of).sum()
}

/// 0, -1, 1, -2 … become 0, 1, 2, 3 …
pub(crate) fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)).cast_unsigned()
}

pub(crate) fn unzigzag(value: u64) -> i64 {
    (value >> 1).cast_signed() ^ -(value & 1).cast_signed()
}

fn checksum(samples: &[i32]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    for sample in samples {
        hasher.update(&sample.to_le_bytes());
    }
    hasher.finalize()
}

#[cfg(test)]
mod tests;
