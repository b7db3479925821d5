//! Waveform samples as bytes: codec 1 is first difference, zigzag, LEB128.
//!
//! The first difference is taken from 0. Bounded: decoding stops at [`SAMPLES_MAX`] samples.

use model::waveform::SAMPLES_MAX;

/// Number of this codec in a waveform record.
pub const CODEC_DELTA: u8 = 1;

/// The bytes of `samples`.
#[must_use]
pub fn encode(samples: &[i32]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(samples.len() * 2);
    let mut before = 0_i64;
    for &sample in samples {
        let difference = i64::from(sample) - before;
        before = i64::from(sample);
        // Zigzag: 0, -1, 1, -2 … become 0, 1, 2, 3 …; 33 bits at most.
        let mut rest = ((difference << 1) ^ (difference >> 63)).unsigned_abs();
        while let Some(low) = u8::try_from(rest & 0x7f).ok().filter(|_| rest > 0x7f) {
            bytes.push(low | 0x80);
            rest >>= 7;
        }
        bytes.extend(u8::try_from(rest));
    }
    bytes
}

/// The samples of `bytes`; `None` when they are not of this codec or too many.
#[must_use]
pub fn decode(bytes: &[u8]) -> Option<Vec<i32>> {
    let mut samples = Vec::new();
    let mut before = 0_i64;
    let mut rest = bytes.iter();
    while let Some(&first) = rest.next() {
        let mut byte = first;
        let mut zigzag = u64::from(byte & 0x7f);
        let mut shift = 7;
        while byte & 0x80 != 0 {
            byte = *rest.next()?;
            // 33 bits fit 5 bytes.
            if shift > 28 {
                return None;
            }
            zigzag |= u64::from(byte & 0x7f) << shift;
            shift += 7;
        }
        let magnitude = i64::try_from(zigzag >> 1).ok()?;
        let difference = if zigzag & 1 == 0 { magnitude } else { -magnitude - 1 };
        before += difference;
        samples.push(i32::try_from(before).ok()?);
        if samples.len() > SAMPLES_MAX {
            return None;
        }
    }
    Some(samples)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::{collection::vec, prelude::*};

    #[test]
    fn a_flat_line_costs_a_byte_a_sample() {
        assert_eq!(encode(&[128, 128, 127]), [0x80, 0x02, 0x00, 0x01]);
    }

    proptest! {
        #[test]
        fn samples_come_back_exactly(samples in vec(any::<i32>(), 0..300)) {
            prop_assert_eq!(decode(&encode(&samples)), Some(samples));
        }

        #[test]
        fn hostile_bytes_give_no_panic_and_no_flood(bytes in vec(any::<u8>(), 0..9000)) {
            prop_assert!(decode(&bytes).is_none_or(|samples| samples.len() <= SAMPLES_MAX));
        }
    }
}
