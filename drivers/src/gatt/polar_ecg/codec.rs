//! Values of the Polar Measurement Data service: bytes to meaning.
//!
//! Source: the protocol sheet of the PMD service, §3 and §4.

use crate::gatt::fields::Fields;
use model::waveform::SAMPLES_MAX;
use thiserror::Error;

/// Numbers of the sheet.
mod spec {
    pub(super) const FEATURES: u8 = 0x0F;
    pub(super) const ECG_BIT: u8 = 1 << 0;
    pub(super) const ECG: u8 = 0;
    pub(super) const TYPE_MASK: u8 = 0x3F;
    pub(super) const RESPONSE: u8 = 0xF0;
    pub(super) const SUCCESS: u8 = 0;
    pub(super) const ALREADY_IN_STATE: u8 = 6;
    pub(super) const INVALID_MTU: u8 = 10;
    pub(super) const SAMPLE_RATE: u8 = 0;
    pub(super) const RATE: [u8; 2] = 130_u16.to_le_bytes();
}

/// What is written to the control point.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Command {
    /// "Get settings."
    Settings,
    /// "Start stream": 130 Hz, 14 bit.
    Start,
    /// "Stop stream."
    Stop,
}

impl Command {
    /// The value to write, §5.
    #[must_use]
    pub const fn bytes(self) -> &'static [u8] {
        match self {
            Self::Settings => &[0x01, 0x00],
            Self::Start => &[0x02, 0x00, 0x00, 0x01, 0x82, 0x00, 0x01, 0x01, 0x0E, 0x00],
            Self::Stop => &[0x03, 0x00],
        }
    }

    const fn op(self) -> u8 {
        match self {
            Self::Settings => 1,
            Self::Start => 2,
            Self::Stop => 3,
        }
    }
}

/// Whether the value read from the control point says that the strap has an ECG.
#[must_use]
pub fn offers_ecg(value: &[u8]) -> bool {
    matches!(value, [spec::FEATURES, bits, ..] if bits & spec::ECG_BIT != 0)
}

/// A good answer of the control point.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Response {
    /// The settings have 130 Hz.
    OffersRate,
    /// The stream runs.
    Started,
    /// The stream stands.
    Stopped,
}

/// Why the control point's answer leads nowhere.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum ResponseError {
    /// It is no answer to what was asked.
    #[error("the strap answers something else than was asked; put it on again")]
    Other,
    /// "Request MTU ≥ 232 before any PMD write", §5.
    #[error("the strap wants larger packets than the Bluetooth adapter makes; use another adapter")]
    Mtu,
    /// Any other status.
    #[error("the strap refuses with status {0}; put it on again")]
    Status(u8),
    /// "Settings response without 130 Hz: refuse to start rather than assume", §7.6.
    #[error("the strap does not offer an ECG at 130 Hz; it is not read")]
    Rate,
}

impl Response {
    /// The answer to `asked` in an indication.
    ///
    /// # Errors
    /// When it does not answer it, or says no.
    pub fn decode(asked: Command, value: &[u8]) -> Result<Self, ResponseError> {
        let [spec::RESPONSE, op, spec::ECG, status, rest @ ..] = value else {
            return Err(ResponseError::Other);
        };
        match (*op == asked.op(), *status) {
            (false, _) => return Err(ResponseError::Other),
            (true, spec::SUCCESS) => {}
            (true, spec::ALREADY_IN_STATE) if asked != Command::Settings => {}
            (true, spec::INVALID_MTU) => return Err(ResponseError::Mtu),
            (true, status) => return Err(ResponseError::Status(status)),
        }
        match asked {
            Command::Start => Ok(Self::Started),
            Command::Stop => Ok(Self::Stopped),
            Command::Settings if has_rate(rest.get(1..).unwrap_or_default()) => {
                Ok(Self::OffersRate)
            }
            Command::Settings => Err(ResponseError::Rate),
        }
    }
}

/// "Repeated id(1), count(1), count values of the id's width"; "unknown setting id: stop parsing".
fn has_rate(parameters: &[u8]) -> bool {
    let mut fields = Fields(parameters);
    while let (Some(id), Some(count)) = (fields.u8(), fields.u8()) {
        let width = match id {
            spec::SAMPLE_RATE | 1 | 2 => 2,
            3 | 5 => 4,
            4 => 1,
            _ => return false,
        };
        let Some((values, rest)) = fields.0.split_at_checked(usize::from(count) * width) else {
            return false;
        };
        if id == spec::SAMPLE_RATE && values.chunks(width).any(|value| value == spec::RATE) {
            return true;
        }
        fields = Fields(rest);
    }
    false
}

/// A data frame of an ECG.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Frame {
    /// Nanoseconds since 2000-01-01 by the strap's clock, of the last sample.
    pub device_ns: u64,
    /// Microvolts, oldest first.
    pub samples: Vec<i32>,
}

/// Why a value is no frame, §7.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum FrameError {
    /// "Frame < 13 bytes, or (length − 10) not a multiple of 3."
    #[error("a frame of {0} byte(s) has no whole samples; it is skipped")]
    Length(usize),
    /// "Type not 0, frame type not 00", or a time stamp of 0.
    #[error("a frame of another type or without a time is skipped")]
    Type,
}

impl Frame {
    /// The frame.
    ///
    /// # Errors
    /// When it is no ECG frame of type 0.
    pub fn decode(value: &[u8]) -> Result<Self, FrameError> {
        let mut fields = Fields(value);
        let (Some(kind), Some(time), Some(frame_type)) = (fields.u8(), fields.take(), fields.u8())
        else {
            return Err(FrameError::Length(value.len()));
        };
        let (samples, left) = fields.0.as_chunks::<3>();
        if samples.is_empty() || !left.is_empty() || samples.len() > SAMPLES_MAX {
            return Err(FrameError::Length(value.len()));
        }
        let device_ns = u64::from_le_bytes(time);
        if kind & spec::TYPE_MASK != spec::ECG || frame_type != 0 || device_ns == 0 {
            return Err(FrameError::Type);
        }
        // "Signed 24-bit": its sign is shifted down from the top.
        let sample =
            |[low, middle, high]: &[u8; 3]| i32::from_le_bytes([0, *low, *middle, *high]) >> 8;
        Ok(Self { device_ns, samples: samples.iter().map(sample).collect() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::{collection::vec, prelude::*};

    /// A capture of an H10 (phdiethelm/h10_ecg: exploration/gatttool.md; protocol sheet, §6).
    #[test]
    fn answers_are_those_of_the_capture() {
        assert!(offers_ecg(&[0x0F, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]));
        assert!(!offers_ecg(&[0x0F, 4]) && !offers_ecg(&[0xF0, 1]) && !offers_ecg(&[0x0F]));
        let settings = [0xF0, 1, 0, 0, 0, 0, 1, 0x82, 0, 1, 1, 0x0E, 0];
        assert_eq!(Response::decode(Command::Settings, &settings), Ok(Response::OffersRate));
        let start = |bytes: &[u8]| Response::decode(Command::Start, bytes);
        assert_eq!(start(&[0xF0, 2, 0, 0, 0, 0]), Ok(Response::Started));
        assert_eq!(start(&[0xF0, 2, 0, 5, 0]), Err(ResponseError::Status(5)));
        assert_eq!(start(&[0xF0, 2, 0, 6]), Ok(Response::Started));
        assert_eq!(start(&settings), Err(ResponseError::Other));
        assert_eq!(start(&[0xF0, 2, 0]), Err(ResponseError::Other));
        let mtu = [0xF0, 1, 0, 0x0A];
        assert_eq!(Response::decode(Command::Settings, &mtu), Err(ResponseError::Mtu));
    }

    #[test]
    fn settings_without_the_rate_are_refused() {
        for parameters in [
            &[0, 1, 0xF4, 1][..],
            // An unknown id before it, and a list that runs past the end.
            &[9, 1, 0, 0, 1, 0x82, 0],
            &[0, 2, 0x82, 0],
            &[],
        ] {
            let value = [&[0xF0, 1, 0, 0, 0], parameters].concat();
            let response = Response::decode(Command::Settings, &value);
            assert_eq!(response, Err(ResponseError::Rate), "{parameters:?}");
        }
    }

    #[test]
    fn what_is_no_ecg_frame_is_refused() {
        let good = [0, 0, 0x94, 0x35, 0x77, 0, 0, 0, 0, 0, 2, 0x80, 0xFF, 2, 0x80, 0];
        assert_eq!(Frame::decode(&good).unwrap().samples, [-32_766, 32_770]);
        for len in 0..good.len() {
            let whole = len == 13;
            assert_eq!(Frame::decode(&good[..len]).is_ok(), whole, "{len}");
        }
        for (place, value) in [(0, 2), (9, 0x80), (9, 1)] {
            let mut other = good;
            other[place] = value;
            assert_eq!(Frame::decode(&other), Err(FrameError::Type));
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(value in vec(any::<u8>(), 0..300)) {
            for command in [Command::Settings, Command::Start, Command::Stop] {
                let answer = Response::decode(command, &value);
                prop_assert!(answer.is_err() || value.len() >= 4);
            }
            if let Ok(frame) = Frame::decode(&value) {
                prop_assert_eq!(frame.samples.len() * 3 + 10, value.len());
            }
        }
    }
}
