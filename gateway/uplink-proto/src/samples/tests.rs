//! Exact for any samples, bounded for any bytes, and small for real ones.

use super::*;
use proptest::{collection::vec, prelude::*};

/// The first five seconds of record 100 of the MIT-BIH Arrhythmia Database, lead MLII: WFDB format
/// 212 holds two samples of 12 bits in three bytes, and the two leads take turns.
fn recorded() -> Vec<i32> {
    let bytes = include_bytes!("../../../../simulators/devices/ecg/mitdb-100-5s.dat");
    let (triples, _) = bytes.as_chunks::<3>();
    let lead = triples.iter().map(|[low, high, _]| {
        let sample = i32::from(*low) | i32::from(high & 0x0f) << 8;
        if sample >= 0x800 { sample - 0x1000 } else { sample }
    });
    lead.collect()
}

#[test]
fn the_example_of_the_readme_is_what_is_written() {
    let bytes = encode(&[128, 128, 127, 128, 128]);
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, "d0651b3101026014c0");
    assert!(include_str!("../../README.md").contains(&hex));
}

#[test]
fn a_real_ecg_is_smaller_than_with_flac() {
    let recorded = recorded();
    let blocks: Vec<_> = recorded.chunks(360).map(encode).collect();
    for (bytes, samples) in blocks.iter().zip(recorded.chunks(360)) {
        assert_eq!(decode(bytes).as_deref(), Some(samples));
    }
    let len: usize = blocks.iter().map(Vec::len).sum();
    // `flac -8 --lax -b 360`, version 1.4.2, a file for each block, without its metadata.
    let flac_len = 1006;
    assert!(len < flac_len, "{len}");
}

#[test]
fn no_flipped_bit_and_no_cut_makes_other_samples() {
    let samples = [7, 9, 12, 12];
    let bytes = encode(&samples);
    for bit in 0..8 * bytes.len() {
        let mut other = bytes.clone();
        other[bit / 8] ^= 0x80 >> (bit % 8);
        assert!(decode(&other).is_none_or(|found| found == samples), "bit {bit}");
    }
    for len in 1..bytes.len() {
        assert_eq!(decode(&bytes[..len]), None, "{len} bytes");
    }
    let long = encode(&[0; SAMPLES_MAX]);
    assert_eq!(decode(&long).map(|samples| samples.len()), Some(SAMPLES_MAX));
    assert_eq!(decode(&encode(&[0; SAMPLES_MAX + 1])), None);
}

#[test]
fn the_largest_steps_come_back() {
    let (low, high) = (i32::MIN, i32::MAX);
    for samples in [vec![low], vec![high, low, high, low], vec![low, low, high, high, low, 0, high]]
    {
        for turn in 1..50 {
            let samples = samples.repeat(turn);
            assert_eq!(decode(&encode(&samples)), Some(samples));
        }
    }
}

/// Something like a wave: steps of a size, with a jump now and then.
fn wave() -> impl Strategy<Value = Vec<i32>> {
    (1_i32..2000, any::<i16>(), vec((any::<i16>(), 0_u8..40), 1..300)).prop_map(
        |(size, first, steps)| {
            let mut level = i32::from(first);
            let step = |(step, kind): (i16, u8)| {
                level += if kind == 0 { i32::from(step) } else { i32::from(step) % size };
                level
            };
            steps.into_iter().map(step).collect()
        },
    )
}

proptest! {
    #[test]
    fn any_samples_come_back_exactly(samples in vec(any::<i32>(), 0..100)) {
        prop_assert_eq!(decode(&encode(&samples)), Some(samples));
    }

    #[test]
    fn waves_come_back_exactly_and_weights_are_worth_it(samples in wave()) {
        let bytes = encode(&samples);
        prop_assert!(bytes.len() <= 16 + 5 * samples.len());
        prop_assert_eq!(decode(&bytes), Some(samples));
    }

    #[test]
    fn hostile_bytes_give_no_panic_and_no_flood(bytes in vec(any::<u8>(), 0..1500)) {
        prop_assert!(decode(&bytes).is_none_or(|samples| samples.len() <= SAMPLES_MAX));
    }

    #[test]
    fn a_true_checksum_does_not_make_hostile_bits_dangerous(
        number in 0_u8..20,
        bits in vec(prop_oneof![any::<u8>(), Just(0xff), Just(0)], 0..1000),
    ) {
        let mut bytes = vec![0, 0, 0, 0, number];
        bytes.extend(bits);
        prop_assert!(decode(&bytes).is_none_or(|samples| samples.len() <= SAMPLES_MAX));
    }
}
