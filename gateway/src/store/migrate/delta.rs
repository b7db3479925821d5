//! Codec 1 of samples, as databases of schema 1 may have it: first difference, zigzag, LEB128.
//!
//! Not here: how samples are written today (`uplink_proto::samples`).

use model::waveform::SAMPLES_MAX;

/// The samples of `bytes`; `None` when they are not of this codec or too many.
pub(super) fn decode(bytes: &[u8]) -> Option<Vec<i32>> {
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
        before += if zigzag & 1 == 0 { magnitude } else { -magnitude - 1 };
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

    #[test]
    fn samples_of_codec_1_are_read_and_other_bytes_are_not() {
        assert_eq!(decode(&[0x80, 0x02, 0x00, 0x01]), Some(vec![128, 128, 127]));
        assert_eq!(decode(&[0xfe, 0xff, 0xff, 0xff, 0x0f]), Some(vec![i32::MAX]));
        assert_eq!(decode(&[0xff, 0xff, 0xff, 0xff, 0x0f]), Some(vec![i32::MIN]));
        for wrong in [&[0x80][..], &[0xff; 6], &[0xfe, 0xff, 0xff, 0xff, 0x1f]] {
            assert_eq!(decode(wrong), None, "{wrong:?}");
        }
        assert_eq!(decode(&vec![0; SAMPLES_MAX + 1]), None);
    }
}
