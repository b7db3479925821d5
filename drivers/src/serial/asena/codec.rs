//! Codec of the Asena protocol: bytes to frames, requests to bytes, nothing more.
//!
//! Read first: the protocol sheet of Alaris / Asena, §3 (framing) and §4 (checksum); the vendor's
//! manual is not public.

use crate::checksum::crc16_ccitt_false;
use std::{collections::VecDeque, iter};
use thiserror::Error;

/// Facts from the protocol sheet. No number of the protocol stands anywhere else.
mod spec {
    /// "'!' body '|' CRC4 CR", §3.
    pub(super) const START: u8 = b'!';
    pub(super) const CRC_MARK: u8 = b'|';
    pub(super) const END: u8 = 0x0D;
    /// "ESC (0x1B) aborts the frame being received", §3.
    pub(super) const ABORT: u8 = 0x1B;
    /// "Fields separated by '^'; first field = command name", §3.
    pub(super) const SEPARATOR: char = '^';
    /// "Maximum length not published; cap at 512 bytes", §3.
    pub(super) const FRAME_LEN_MAX: usize = 512;
}

/// One frame: a question of the host or an answer of the pump.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Frame {
    /// Name of the command.
    pub name: String,
    /// What follows the name; empty fields keep their place.
    pub fields: Vec<String>,
}

/// Why bytes gave no frame.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum FrameError {
    /// Bytes that begin no frame, or the beginning of one that never ended.
    #[error("{count} bytes make no frame; check speed and cable if this repeats (38400 8N1)")]
    Noise {
        /// How many were skipped.
        count: usize,
    },
    /// The pump took a frame back.
    #[error("the pump broke a frame off after {count} bytes; it is asked again")]
    Aborted {
        /// How many were skipped.
        count: usize,
    },
    /// No CRC of four digits at the end.
    #[error("a frame of {size} bytes ends without a checksum; it is asked for again")]
    Form {
        /// As received.
        size: usize,
    },
    /// Wrong CRC.
    #[error("checksum is {got:04X}, computed {want:04X}; the frame is asked for again")]
    Checksum {
        /// As received.
        got: u16,
        /// As computed.
        want: u16,
    },
}

/// Cuts a byte stream into frames.
///
/// Invariant: once `decode` is drained, fewer than one longest frame of bytes stays buffered.
#[derive(Debug, Default)]
pub struct Decoder {
    buffer: VecDeque<u8>,
}

/// What the buffer begins with.
enum Beginning {
    Unfinished,
    Whole(usize, Frame),
    /// So many bytes are of no use.
    Bad(usize, FrameError),
}

impl Decoder {
    /// Takes `bytes` in and yields every frame or error they complete.
    ///
    /// An iterator dropped early loses nothing: what it did not yield comes out of the next call.
    pub fn decode(&mut self, bytes: &[u8]) -> impl Iterator<Item = Result<Frame, FrameError>> {
        self.buffer.extend(bytes);
        iter::from_fn(|| self.next_frame())
    }

    /// Drops a frame that never became whole; how many bytes of it had come.
    pub fn give_up(&mut self) -> usize {
        std::mem::take(&mut self.buffer).len()
    }

    fn next_frame(&mut self) -> Option<Result<Frame, FrameError>> {
        match beginning(self.buffer.make_contiguous()) {
            Beginning::Unfinished => None,
            Beginning::Whole(len, frame) => {
                self.buffer.drain(..len);
                Some(Ok(frame))
            }
            Beginning::Bad(len, error) => {
                self.buffer.drain(..len);
                Some(Err(error))
            }
        }
    }
}

fn beginning(bytes: &[u8]) -> Beginning {
    let noise = |count| Beginning::Bad(count, FrameError::Noise { count });
    match bytes.iter().position(|byte| *byte == spec::START) {
        None if bytes.is_empty() => return Beginning::Unfinished,
        None => return noise(bytes.len()),
        Some(0) => {}
        Some(count) => return noise(count),
    }
    let ends = |byte: &u8| matches!(*byte, spec::END | spec::ABORT);
    let Some(end) = bytes.iter().take(spec::FRAME_LEN_MAX).position(ends) else {
        return if bytes.len() < spec::FRAME_LEN_MAX { Beginning::Unfinished } else { noise(1) };
    };
    let size = end + 1;
    // What looks like the start of this frame may be noise before the start of a good one, so a
    // bad frame loses its first byte only.
    let (body, digits) = match bytes.get(1..size) {
        Some([.., spec::ABORT]) => {
            return Beginning::Bad(size, FrameError::Aborted { count: size });
        }
        Some([body @ .., spec::CRC_MARK, a, b, c, d, spec::END]) => (body, [*a, *b, *c, *d]),
        _ => return Beginning::Bad(1, FrameError::Form { size }),
    };
    let Some(got) = number(digits) else {
        return Beginning::Bad(1, FrameError::Form { size });
    };
    // "Over the body only (without '!' and '|')", §4.
    let want = crc16_ccitt_false(body);
    if got != want {
        return Beginning::Bad(1, FrameError::Checksum { got, want });
    }
    // A drug name that is not UTF-8 stays readable but for its bad letters.
    let text = String::from_utf8_lossy(body);
    let mut fields = text.split(spec::SEPARATOR).map(ToOwned::to_owned);
    let name = fields.next().unwrap_or_default();
    Beginning::Whole(size, Frame { name, fields: fields.collect() })
}

/// "Four upper-case hex digits", §3.
fn number(digits: [u8; 4]) -> Option<u16> {
    digits.iter().try_fold(0, |value, digit| {
        let digit = match digit {
            b'0'..=b'9' => digit - b'0',
            b'A'..=b'F' => digit - b'A' + 10,
            _ => return None,
        };
        Some(value << 4 | u16::from(digit))
    })
}

/// What we ask: none of it changes an infusion, and there is nothing else that can be asked.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Request {
    /// Serial number.
    Serial,
    /// Protocol and its revision.
    Protocol,
    /// Worst-case answer time.
    ResponseMax,
    /// Combined status of the infusion.
    Infusion,
    /// The alarm that is up.
    Alarm,
    /// Volume to be infused.
    Vtbi,
    /// Brand and size of the syringe.
    Syringe,
}

impl Request {
    /// Every request.
    pub const ALL: [Self; 7] = [
        Self::Serial,
        Self::Protocol,
        Self::ResponseMax,
        Self::Infusion,
        Self::Alarm,
        Self::Vtbi,
        Self::Syringe,
    ];

    /// "Queries (safe)", §5.1. A name with fields behind it may be a command: none is ever sent.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Serial => "INST_SERIALNO",
            Self::Protocol => "COMMS_PROTOCOL",
            Self::ResponseMax => "COMMS_RESPONSE_MAX",
            Self::Infusion => "INF",
            Self::Alarm => "ALARM",
            Self::Vtbi => "INF_VTBI",
            Self::Syringe => "SYRINGE_STATUS",
        }
    }
}

/// A request as it goes on the wire.
#[must_use]
pub fn request(request: Request) -> Vec<u8> {
    let body = request.name();
    format!("!{body}|{:04X}\r", crc16_ccitt_false(body.as_bytes())).into_bytes()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::{collection::vec, prelude::*};

    fn frames(chunks: &[&[u8]]) -> Vec<Result<Frame, FrameError>> {
        let mut decoder = Decoder::default();
        chunks.iter().flat_map(|chunk| decoder.decode(chunk).collect::<Vec<_>>()).collect()
    }

    fn good(chunks: &[&[u8]]) -> Vec<Frame> {
        frames(chunks).into_iter().flatten().collect()
    }

    /// A frame with that body.
    pub(in crate::serial::asena) fn framed(body: &str) -> Vec<u8> {
        format!("!{body}|{:04X}\r", crc16_ccitt_false(body.as_bytes())).into_bytes()
    }

    fn frame(body: &str) -> Frame {
        let mut fields = body.split('^').map(ToOwned::to_owned);
        Frame { name: fields.next().unwrap(), fields: fields.collect() }
    }

    #[test]
    fn empty_fields_keep_their_place() {
        let body = "ALARM^AL_NOALM^ ^ ";
        assert_eq!(good(&[&framed(body)])[0].fields, ["AL_NOALM", " ", " "]);
        assert_eq!(good(&[&framed("INF_VTBI^DEACT^^^")])[0].fields, ["DEACT", "", "", ""]);
    }

    #[test]
    fn an_escape_takes_back_what_came_before() {
        let bytes = [&b"!INF^8002-51733^A\x1b"[..], &framed("INF")].concat();
        assert_eq!(frames(&[&bytes]), [Err(FrameError::Aborted { count: 18 }), Ok(frame("INF"))]);
    }

    #[test]
    fn a_frame_that_breaks_off_does_not_take_the_next_with_it() {
        let bytes = [&b"!INF^8002-51733^A"[..], &framed("INF")].concat();
        assert_eq!(good(&[&bytes]), [frame("INF")]);
    }

    #[test]
    fn damaged_frames_are_refused() {
        let first = |bytes: &[u8]| frames(&[bytes])[0].clone().unwrap_err();
        assert_eq!(first(b"!INF|4962\r"), FrameError::Checksum { got: 0x4962, want: 0x4961 });
        assert_eq!(first(b"!INF4961\r"), FrameError::Form { size: 9 });
        assert_eq!(first(b"!INF|496\r"), FrameError::Form { size: 9 });
        assert_eq!(first(b"!ALARM|50b2\r"), FrameError::Form { size: 12 });
        assert_eq!(first(b"xx!"), FrameError::Noise { count: 2 });
        // Published with one '^' too few: the sheet, §4.
        assert!(matches!(first(b"!REMQUERY^DEACT^^^|E5C9\r"), FrameError::Checksum { .. }));
    }

    #[test]
    fn nothing_that_can_be_asked_changes_an_infusion() {
        let safe = ["INST_SERIALNO", "COMMS_PROTOCOL", "COMMS_RESPONSE_MAX", "INF", "ALARM"];
        for asked in Request::ALL {
            let sent = good(&[&request(asked)]);
            assert_eq!(sent, [frame(asked.name())], "no fields: a question, not a command");
            let name = asked.name();
            assert!(safe.contains(&name) || ["INF_VTBI", "SYRINGE_STATUS"].contains(&name));
        }
    }

    fn likely_byte() -> impl Strategy<Value = u8> {
        prop_oneof![prop::sample::select(b"!|^\r\x1b0AFI".to_vec()), any::<u8>()]
    }

    proptest! {
        #[test]
        fn cutting_does_not_matter(bytes in vec(likely_byte(), 0..200), cut in 0_usize..200) {
            let bytes = [bytes, framed("INF_VTBI^ACTIV^11.000^ml^STOP")].concat();
            let (head, tail) = bytes.split_at(cut.min(bytes.len()));
            prop_assert_eq!(good(&[&bytes]), good(&[head, tail]));
        }

        #[test]
        fn what_stays_buffered_is_bounded(bytes in vec(0x20_u8.., 0..2000)) {
            let mut decoder = Decoder::default();
            decoder.decode(&[&b"!"[..], &bytes].concat()).for_each(drop);
            prop_assert!(decoder.buffer.len() < spec::FRAME_LEN_MAX);
        }

        #[test]
        fn a_good_frame_after_noise_is_found(noise in vec(likely_byte(), 0..40)) {
            let bytes = [noise, framed("SYRINGE_STATUS^BD PLASTIPAK^ 50^CONF")].concat();
            prop_assert_eq!(
                good(&[&bytes]).pop(),
                Some(frame("SYRINGE_STATUS^BD PLASTIPAK^ 50^CONF"))
            );
        }

        #[test]
        fn a_damaged_byte_is_noticed(at in 1_usize..70, flip in 1_u8..) {
            let body = "INF^8002-51733^A^HLD^0.00^ml/h^^0.969^ml^530.15^mmHg^00:04:09^EVENT^214725";
            let mut bytes = framed(body);
            bytes[at] ^= flip;
            prop_assert!(good(&[&bytes]).iter().all(|found| found.name != "INF"));
        }
    }
}
