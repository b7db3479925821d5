//! Codec of the PM6750 family: bytes to frames, nothing more.
//!
//! Read first: Berry "PM6750 Patient Monitor Protocol V3.2" (frame format and command list).

use std::collections::VecDeque;
use thiserror::Error;

/// Facts from the protocol sheet. No number of the protocol stands anywhere else.
pub(super) mod spec {
    /// "Header 0x55 0xAA", §3.
    pub(crate) const HEADER: [u8; 2] = [0x55, 0xAA];
    /// "N: number of bytes that follow the header; valid 3…255", §3.
    pub(crate) const LEN_MIN: u8 = 3;
    /// Packet types, §6.
    pub(crate) const ECG_WAVE: u8 = 0x01;
    pub(crate) const ECG_PARAMETERS: u8 = 0x02;
    pub(crate) const NIBP: u8 = 0x03;
    pub(crate) const SPO2: u8 = 0x04;
    pub(crate) const TEMPERATURE: u8 = 0x05;
    pub(crate) const BEAT: u8 = 0x30;
    pub(crate) const PULSE: u8 = 0x31;
    pub(crate) const FIRMWARE: u8 = 0xFC;
    pub(crate) const HARDWARE: u8 = 0xFD;
    pub(crate) const PLETH: u8 = 0xFE;
    pub(crate) const RESPIRATION: u8 = 0xFF;
    /// "N 0x0A: 7 ECG leads of the same instant", §6.
    pub(crate) const LEADS: usize = 7;
    /// Header, length, 253 bytes of payload and sum.
    pub(crate) const FRAME_LEN_MAX: usize = 257;
    const _: () = assert!(FRAME_LEN_MAX == HEADER.len() + 255);
}

/// One packet, in the device's own terms.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Frame {
    /// I, II, III, aVR, aVL, aVF, V of the same instant; baseline 128.
    EcgWave([u8; spec::LEADS]),
    /// A 3-lead firmware sends one sample: lead II.
    EcgWaveSingle(u8),
    /// Rates, ST and arrhythmia.
    EcgParameters {
        /// Bits: 0 weak signal, 1 lead off, 2–3 gain, 4–5 mode.
        status: u8,
        /// Beats per minute; 0 none.
        hr: u8,
        /// Breaths per minute; 0 none.
        rr: u8,
        /// Hundredths of a millivolt, if sent.
        st: Option<i8>,
        /// Arrhythmia code, if sent.
        arrhythmia: Option<u8>,
    },
    /// Cuff.
    Nibp {
        /// Bits 2–5 of the status: test state.
        state: u8,
        /// mmHg ÷ 2.
        cuff_half: u8,
        /// mmHg; 0 none.
        systolic: u8,
        /// mmHg; 0 none.
        mean: u8,
        /// mmHg; 0 none.
        diastolic: u8,
    },
    /// Oximeter numbers.
    Spo2 {
        /// 0 normal, 1 probe off, 2 no finger, 3 searching, 4 search too long.
        status: u8,
        /// Percent; 127 invalid.
        saturation: u8,
        /// Beats per minute; 255 invalid.
        pulse: u8,
    },
    /// Temperatures as (whole, tenth) degrees Celsius.
    Temperature {
        /// 0 normal, 1 T1 off, 2 T2 off, 3 both off.
        status: u8,
        /// First probe.
        t1: (u8, u8),
        /// Second probe; the short form has none.
        t2: Option<(u8, u8)>,
    },
    /// A heart beat was detected.
    Beat,
    /// A pulse was detected.
    Pulse,
    /// Firmware or hardware version text.
    Version(String),
    /// One pleth sample.
    Pleth(u8),
    /// One respiration sample.
    Respiration(u8),
    /// A type nobody has described, or one that is too short.
    Unknown(u8),
}

/// Why bytes gave no frame.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum FrameError {
    /// Wrong sum.
    #[error(
        "checksum is {got:#04x}, computed {want:#04x}; check baud rate and cable if this repeats"
    )]
    Checksum {
        /// As received.
        got: u8,
        /// As computed.
        want: u8,
    },
    /// Bytes before a header.
    #[error(
        "{count} bytes make no packet; check speed and cable if this repeats (115200 8N1 expected)"
    )]
    Noise {
        /// How many were skipped.
        count: usize,
    },
}

/// Cuts a byte stream into frames.
///
/// Invariant: once `decode` is drained, fewer than one longest frame of bytes stays buffered.
#[derive(Debug, Default)]
pub struct Decoder {
    buffer: VecDeque<u8>,
}

impl Decoder {
    /// Takes `bytes` in and yields every frame or error they complete.
    ///
    /// An iterator dropped early loses nothing: what it did not yield comes out of the next call.
    pub fn decode(&mut self, bytes: &[u8]) -> impl Iterator<Item = Result<Frame, FrameError>> {
        self.buffer.extend(bytes);
        std::iter::from_fn(|| self.next_frame())
    }

    fn next_frame(&mut self) -> Option<Result<Frame, FrameError>> {
        let noise = self.noise();
        if noise > 0 {
            self.buffer.drain(..noise);
            return Some(Err(FrameError::Noise { count: noise }));
        }
        let bytes = self.buffer.make_contiguous();
        let (_, rest) = bytes.split_at_checked(spec::HEADER.len())?;
        let (&len, rest) = rest.split_first()?;
        // After the length: N - 2 bytes of payload, then the sum.
        let (payload, rest) = rest.split_at_checked(usize::from(len) - 2)?;
        let &got = rest.first()?;
        let want = checksum(len, payload);
        if got != want {
            self.buffer.pop_front();
            return Some(Err(FrameError::Checksum { got, want }));
        }
        let frame = frame(payload);
        let whole = usize::from(len) + spec::HEADER.len();
        self.buffer.drain(..whole);
        Some(Ok(frame))
    }

    /// Bytes before what may become a header with a valid length.
    fn noise(&self) -> usize {
        let len = self.buffer.len();
        (0..len)
            .find(|&start| {
                let byte = |offset: usize| self.buffer.get(start + offset);
                let [first, second] = spec::HEADER;
                byte(0) == Some(&first)
                    && byte(1).is_none_or(|&byte| byte == second)
                    && byte(2).is_none_or(|&len| len >= spec::LEN_MIN)
            })
            .unwrap_or(len)
    }
}

/// "SUM = bitwise NOT of (N + A1 + … + An), low 8 bits", §4.
fn checksum(len: u8, payload: &[u8]) -> u8 {
    !payload.iter().fold(len, |sum, &byte| sum.wrapping_add(byte))
}

/// "Accept any N ≥ 3 and read only the bytes that are present", §6.
fn frame(payload: &[u8]) -> Frame {
    let Some((&kind, data)) = payload.split_first() else { return Frame::Unknown(0) };
    let parsed = match kind {
        spec::ECG_WAVE => match data.first_chunk() {
            Some(leads) => Some(Frame::EcgWave(*leads)),
            None => data.first().map(|&sample| Frame::EcgWaveSingle(sample)),
        },
        spec::ECG_PARAMETERS => data.first_chunk().map(|&[status, hr, rr]| Frame::EcgParameters {
            status,
            hr,
            rr,
            st: data.get(3).map(|&raw| raw.cast_signed()),
            arrhythmia: data.get(4).copied(),
        }),
        spec::NIBP => data.first_chunk().map(|&[status, cuff_half, systolic, mean, diastolic]| {
            Frame::Nibp { state: status >> 2 & 0x0F, cuff_half, systolic, mean, diastolic }
        }),
        spec::SPO2 => data.first_chunk().map(|&[status, saturation, pulse]| Frame::Spo2 {
            status,
            saturation,
            pulse,
        }),
        spec::TEMPERATURE => data.first_chunk().map(|&[status, whole, tenth]| Frame::Temperature {
            status,
            t1: (whole, tenth),
            t2: data.get(3).copied().zip(data.get(4).copied()),
        }),
        spec::BEAT => Some(Frame::Beat),
        spec::PULSE => Some(Frame::Pulse),
        spec::FIRMWARE | spec::HARDWARE => {
            let printable = data.iter().filter(|byte| byte.is_ascii_graphic() || **byte == b' ');
            Some(Frame::Version(printable.map(|&byte| char::from(byte)).collect()))
        }
        spec::PLETH => data.first().map(|&sample| Frame::Pleth(sample)),
        spec::RESPIRATION => data.first().map(|&sample| Frame::Respiration(sample)),
        _ => None,
    };
    parsed.unwrap_or(Frame::Unknown(kind))
}

/// A command to the module: "always 55 AA 04 A1 A2 SUM", §5.
#[must_use]
pub fn command(function: u8, argument: u8) -> Vec<u8> {
    const LEN: u8 = 4;
    let [first, second] = spec::HEADER;
    vec![first, second, LEN, function, argument, checksum(LEN, &[function, argument])]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::{collection::vec, prelude::*};

    fn frames(chunks: &[&[u8]]) -> Vec<Result<Frame, FrameError>> {
        let mut decoder = Decoder::default();
        chunks.iter().flat_map(|chunk| decoder.decode(chunk).collect::<Vec<_>>()).collect()
    }

    #[test]
    fn resynchronises_inside_a_damaged_frame() {
        let damaged = [0x55, 0xAA, 0xFF, 0x01];
        let good = [0x55, 0xAA, 0x06, 0x04, 0x00, 0x62, 0x4B, 0x48];
        let bytes = [&damaged[..], &good, &[0; 300]].concat();
        let found = frames(&[&bytes]);
        assert!(
            found.contains(&Ok(Frame::Spo2 { status: 0, saturation: 98, pulse: 75 })),
            "{found:?}"
        );
    }

    #[test]
    fn a_header_inside_a_frame_is_data() {
        // Leads 55 AA 04 …: the sum decides.
        let payload = [0x01, 0x55, 0xAA, 0x04, 0x01, 0x01, 0xF9, 0x80];
        let frame = [&[0x55, 0xAA, 0x0A][..], &payload, &[checksum(0x0A, &payload)]].concat();
        let expected = Frame::EcgWave([0x55, 0xAA, 0x04, 0x01, 0x01, 0xF9, 0x80]);
        assert_eq!(frames(&[&frame]), [Ok(expected)]);
    }

    proptest! {
        #[test]
        fn cutting_does_not_matter(
            bytes in vec(prop_oneof![Just(0x55u8), Just(0xAA), Just(4), any::<u8>()], 0..200),
            cut in 0usize..200,
        ) {
            let cut = cut.min(bytes.len());
            let good = |chunks: &[&[u8]]| frames(chunks).into_iter().flatten().collect::<Vec<_>>();
            prop_assert_eq!(good(&[&bytes]), good(&[&bytes[..cut], &bytes[cut..]]));
        }

        #[test]
        fn what_stays_buffered_is_bounded(
            bytes in vec(prop_oneof![Just(0x55u8), Just(0xAA), any::<u8>()], 0..2000),
        ) {
            let mut decoder = Decoder::default();
            decoder.decode(&bytes).for_each(drop);
            prop_assert!(decoder.buffer.len() < spec::FRAME_LEN_MAX);
        }

        #[test]
        fn a_good_frame_after_noise_is_found(noise in vec(any::<u8>(), 0..40)) {
            let good = command(spec::SPO2, 7);
            let bytes = [&noise[..], &good, &[0; 300]].concat();
            let found = frames(&[&bytes]);
            prop_assert!(found.iter().flatten().count() >= 1, "{:?}", found);
        }
    }
}
