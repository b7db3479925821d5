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
    /// "Bits 5–2 test state", §6.3.
    pub(crate) const NIBP_STATE_SHIFT: u8 = 2;
    pub(crate) const NIBP_STATE_MASK: u8 = 0x0F;
    /// "SpO2 0–100 %, 127 = invalid. Pulse 0–250 bpm, 255 = invalid", §6.4.
    pub(crate) const SPO2_INVALID: u8 = 127;
    pub(crate) const PULSE_INVALID: u8 = 255;
    /// "Always 55 AA 04 A1 A2 SUM", §5.
    pub(crate) const COMMAND_LEN: u8 = 4;
    /// What a command sets, §5. Those that inflate, calibrate or test are not here.
    pub(crate) const SET_ECG: u8 = 0x01;
    pub(crate) const SET_SPO2: u8 = 0x03;
    pub(crate) const SET_TEMPERATURE: u8 = 0x04;
    pub(crate) const SET_ECG_GAIN: u8 = 0x07;
    pub(crate) const SET_ECG_FILTER: u8 = 0x08;
    pub(crate) const SET_RESPIRATION_GAIN: u8 = 0x0F;
    /// "3 ×1 (default)", "2 monitor 0.5–75 Hz (default)", §5.
    pub(crate) const GAIN_ONE: u8 = 3;
    pub(crate) const FILTER_MONITOR: u8 = 2;
    const _: () = assert!(FRAME_LEN_MAX == HEADER.len() + 255);
}

/// One packet, in the device's own terms.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Frame {
    /// I, II, III, aVR, aVL, aVF, V of the same instant; baseline 128.
    EcgWave([u8; spec::LEADS]),
    /// A 3-lead firmware sends one sample: lead II. Any other number of leads is unknown.
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
        /// Percent, if the module has it.
        saturation: Option<u8>,
        /// Beats per minute, if the module has them.
        pulse: Option<u8>,
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
    /// Firmware version text.
    Firmware(String),
    /// Hardware version text.
    Hardware(String),
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
        spec::ECG_WAVE => match data {
            // Two to six leads have no names: nobody knows which are left out.
            [sample] => Some(Frame::EcgWaveSingle(*sample)),
            leads => leads.first_chunk().map(|leads| Frame::EcgWave(*leads)),
        },
        spec::ECG_PARAMETERS => data.first_chunk().map(|&[status, hr, rr]| Frame::EcgParameters {
            status,
            hr,
            rr,
            st: data.get(3).map(|&raw| raw.cast_signed()),
            arrhythmia: data.get(4).copied(),
        }),
        spec::NIBP => data.first_chunk().map(|&[status, cuff_half, systolic, mean, diastolic]| {
            let state = status >> spec::NIBP_STATE_SHIFT & spec::NIBP_STATE_MASK;
            Frame::Nibp { state, cuff_half, systolic, mean, diastolic }
        }),
        spec::SPO2 => data.first_chunk().map(|&[status, saturation, pulse]| Frame::Spo2 {
            status,
            saturation: (saturation != spec::SPO2_INVALID).then_some(saturation),
            pulse: (pulse != spec::PULSE_INVALID).then_some(pulse),
        }),
        spec::TEMPERATURE => data.first_chunk().map(|&[status, whole, tenth]| Frame::Temperature {
            status,
            t1: (whole, tenth),
            t2: data.get(3).copied().zip(data.get(4).copied()),
        }),
        spec::BEAT => Some(Frame::Beat),
        spec::PULSE => Some(Frame::Pulse),
        spec::FIRMWARE => Some(Frame::Firmware(printable(data))),
        spec::HARDWARE => Some(Frame::Hardware(printable(data))),
        spec::PLETH => data.first().map(|&sample| Frame::Pleth(sample)),
        spec::RESPIRATION => data.first().map(|&sample| Frame::Respiration(sample)),
        _ => None,
    };
    parsed.unwrap_or(Frame::Unknown(kind))
}

fn printable(data: &[u8]) -> String {
    let letters = data.iter().filter(|byte| byte.is_ascii_graphic() || **byte == b' ');
    letters.map(|&byte| char::from(byte)).collect()
}

/// Whether a stream is wanted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Switch {
    /// Its packets are not wanted.
    Off,
    /// Its packets are wanted.
    On,
}

/// Everything that is ever sent to the module; nothing else can be built.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Command {
    /// ECG stream: waves, parameters, beats.
    Ecg(Switch),
    /// Oximeter numbers.
    Spo2(Switch),
    /// Temperatures.
    Temperature(Switch),
    /// Pleth wave.
    Pleth(Switch),
    /// Respiration wave.
    Respiration(Switch),
    /// ECG gain ×1, the default.
    EcgGainOne,
    /// ECG filter 0.5–75 Hz, the default.
    EcgFilterMonitor,
    /// Respiration gain ×1, the default.
    RespirationGainOne,
    /// What firmware is it?
    AskFirmware,
    /// What hardware is it?
    AskHardware,
}

impl Command {
    /// Every command.
    pub const ALL: [Self; 15] = [
        Self::Ecg(Switch::Off),
        Self::Ecg(Switch::On),
        Self::Spo2(Switch::Off),
        Self::Spo2(Switch::On),
        Self::Temperature(Switch::Off),
        Self::Temperature(Switch::On),
        Self::Pleth(Switch::Off),
        Self::Pleth(Switch::On),
        Self::Respiration(Switch::Off),
        Self::Respiration(Switch::On),
        Self::EcgGainOne,
        Self::EcgFilterMonitor,
        Self::RespirationGainOne,
        Self::AskFirmware,
        Self::AskHardware,
    ];

    /// The packet: "always 55 AA 04 A1 A2 SUM", §5.
    #[must_use]
    pub fn bytes(self) -> Vec<u8> {
        let on = |switch| if switch == Switch::On { 1 } else { 0 };
        let (function, argument) = match self {
            Self::Ecg(switch) => (spec::SET_ECG, on(switch)),
            Self::Spo2(switch) => (spec::SET_SPO2, on(switch)),
            Self::Temperature(switch) => (spec::SET_TEMPERATURE, on(switch)),
            Self::Pleth(switch) => (spec::PLETH, on(switch)),
            Self::Respiration(switch) => (spec::RESPIRATION, on(switch)),
            Self::EcgGainOne => (spec::SET_ECG_GAIN, spec::GAIN_ONE),
            Self::EcgFilterMonitor => (spec::SET_ECG_FILTER, spec::FILTER_MONITOR),
            Self::RespirationGainOne => (spec::SET_RESPIRATION_GAIN, spec::GAIN_ONE),
            Self::AskFirmware => (spec::FIRMWARE, 0),
            Self::AskHardware => (spec::HARDWARE, 0),
        };
        let [first, second] = spec::HEADER;
        let sum = checksum(spec::COMMAND_LEN, &[function, argument]);
        vec![first, second, spec::COMMAND_LEN, function, argument, sum]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::{collection::vec, prelude::*};

    /// Sheet §9: SpO2 98 %, pulse 75.
    const GOOD_BYTES: [u8; 8] = [0x55, 0xAA, 0x06, 0x04, 0x00, 0x62, 0x4B, 0x48];
    const GOOD: Frame = Frame::Spo2 { status: 0, saturation: Some(98), pulse: Some(75) };

    fn frames(chunks: &[&[u8]]) -> Vec<Result<Frame, FrameError>> {
        let mut decoder = Decoder::default();
        chunks.iter().flat_map(|chunk| decoder.decode(chunk).collect::<Vec<_>>()).collect()
    }

    #[test]
    fn resynchronises_inside_a_damaged_frame() {
        let damaged = [0x55, 0xAA, 0xFF, 0x01];
        let bytes = [&damaged[..], &GOOD_BYTES, &[0; 300]].concat();
        let found = frames(&[&bytes]);
        assert!(found.contains(&Ok(GOOD)), "{found:?}");
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
            // A false header may claim 255 bytes more: they come, then its sum is wrong.
            let bytes = [&noise[..], &GOOD_BYTES, &[0; 300]].concat();
            let found = frames(&[&bytes]);
            prop_assert!(found.contains(&Ok(GOOD)), "{:?}", found);
        }
    }

    #[test]
    fn a_damaged_byte_never_gives_another_frame() {
        for at in 0..GOOD_BYTES.len() {
            for flip in 1..=255 {
                let mut bytes = [&GOOD_BYTES[..], &[0; 300]].concat();
                bytes[at] ^= flip;
                let found: Vec<_> = frames(&[&bytes]).into_iter().flatten().collect();
                assert_eq!(found, [], "byte {at} ^ {flip:#04x}");
            }
        }
    }

    #[test]
    fn some_leads_without_a_name_are_no_lead() {
        for (leads, expected) in [
            (&[130][..], Frame::EcgWaveSingle(130)),
            (&[130, 131], Frame::Unknown(1)),
            (&[130; 6], Frame::Unknown(1)),
            (&[130; 7], Frame::EcgWave([130; 7])),
            (&[130; 8], Frame::EcgWave([130; 7])),
        ] {
            assert_eq!(frame(&[&[0x01], leads].concat()), expected);
        }
    }

    #[test]
    fn no_command_inflates_calibrates_or_tests() {
        let forbidden = [0x02, 0x05, 0x09, 0x0A, 0x0B, 0x0C, 0x0D, 0x0E, 0x10];
        assert!(Command::ALL.iter().all(|command| !forbidden.contains(&command.bytes()[3])));
    }
}
