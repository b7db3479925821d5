//! Codec of the OneTouch UltraEasy: bytes to frames, messages to replies, nothing more.
//!
//! Read first: the commented capture of the vendor's program (daniel-thompson/ultraeasy,
//! `logs/otdms.log-commented`) and "shared binary protocol" in
//! glucometers-tech/glucometer-protocols.

use crate::checksum::crc16_ccitt_false;
use std::collections::VecDeque;
use thiserror::Error;

/// Facts from the protocol sheet. No number of the protocol stands anywhere else.
mod spec {
    /// "STX = 02", §3.
    pub(super) const STX: u8 = 0x02;
    /// "ETX = 03", §3.
    pub(super) const ETX: u8 = 0x03;
    /// "LEN = message length + 6", §3.
    pub(super) const OVERHEAD: usize = 6;
    /// "LEN < 6 or > 40 (longest legal reply is 26)", §8.2.
    pub(super) const LEN_MAX: usize = 40;
    /// Bits of the link control byte, §3.
    pub(super) const SEQUENCE: u8 = 1;
    pub(super) const EXPECTED: u8 = 1 << 1;
    pub(super) const ACK: u8 = 1 << 2;
    pub(super) const DISCONNECT: u8 = 1 << 3;
    /// "Bits 5–7 must be 0", §3.
    pub(super) const RESERVED: u8 = 0xE0;

    /// "Prefix 05 in both directions; 05 06 = success", §5.
    pub(super) const PREFIX: u8 = 0x05;
    pub(super) const SUCCESS: u8 = 0x06;
    /// "Record count: 05 0F", §5.
    pub(super) const COUNT: u8 = 0x0F;
    /// "Record count: an invalid index (501 = F5 01)", §5.
    pub(super) const COUNT_INDEX: u16 = 501;
    /// "Memory 500 records", §5.
    pub(super) const RECORDS_MAX: u16 = 500;
    /// "Serial number: 05 06, ASCII to end (9 chars)", §5.
    pub(super) const SERIAL_LEN: usize = 9;
    /// What is asked, after the prefix, §5. Those that set the clock or erase are not here.
    pub(super) const ASK_VERSION: &[u8] = &[0x0D, 0x02];
    pub(super) const ASK_SERIAL: &[u8] = &[0x0B, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    pub(super) const ASK_UNIT: &[u8] = &[0x09, 0x02, 0x09, 0, 0, 0, 0];
    pub(super) const ASK_CLOCK: &[u8] = &[0x20, 0x02, 0, 0, 0, 0];
    pub(super) const ASK_RECORD: u8 = 0x1F;
    /// "0x0000FFFE = LO (< 20 mg/dL), 0x0000FFFF = HI (> 600 mg/dL)", §5.
    pub(super) const LO: u32 = 0xFFFE;
    pub(super) const HI: u32 = 0xFFFF;
    pub(super) const LO_MG_PER_DL: u32 = 20;
    pub(super) const HI_MG_PER_DL: u32 = 600;

    const _: () = assert!(RECORDS_MAX < COUNT_INDEX);
}

/// One packet of the link layer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Frame {
    /// Acknowledges a data packet; `expects` is the sequence bit its sender wants next.
    Ack {
        /// The E bit.
        expects: bool,
    },
    /// Ends the link, or answers that.
    Disconnect {
        /// Whether it is the answer.
        ack: bool,
    },
    /// Carries a message.
    Data {
        /// The S bit.
        sequence: bool,
        /// The E bit.
        expects: bool,
        /// A request or a reply.
        message: Vec<u8>,
    },
}

/// Why bytes gave no frame.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum FrameError {
    /// Wrong CRC, or no ETX where the length says.
    #[error("checksum is {got:#06x}, computed {want:#06x}; check the plug if this repeats")]
    Checksum {
        /// As received.
        got: u16,
        /// As computed.
        want: u16,
    },
    /// Bytes that begin no packet.
    #[error("{count} bytes make no packet; check speed and cable if this repeats (9600 8N1)")]
    Noise {
        /// How many were skipped.
        count: usize,
    },
    /// A link control byte that no packet has.
    #[error("link control {link:#04x} with {len} bytes is no packet of this meter; it is skipped")]
    Link {
        /// The control byte.
        link: u8,
        /// Length of the packet.
        len: usize,
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

    /// Forgets what has come.
    pub fn clear(&mut self) {
        self.buffer.clear();
    }

    /// What has come will not become whole: how many bytes it is, and the packets in it. Noise may
    /// look like the beginning of a packet and hide good ones.
    pub fn give_up(&mut self) -> (usize, Vec<Frame>) {
        let (len, mut found) = (self.buffer.len(), Vec::new());
        while self.buffer.pop_front().is_some() {
            found.extend(std::iter::from_fn(|| self.next_frame()).flatten());
        }
        (len, found)
    }

    /// Whether a packet has begun and is not whole.
    #[must_use]
    pub fn is_inside(&self) -> bool {
        !self.buffer.is_empty()
    }

    fn next_frame(&mut self) -> Option<Result<Frame, FrameError>> {
        let noise = self.noise();
        if noise > 0 {
            self.buffer.drain(..noise);
            return Some(Err(FrameError::Noise { count: noise }));
        }
        let bytes = self.buffer.make_contiguous();
        let len = usize::from(*bytes.get(1)?);
        let (packet, _) = bytes.split_at_checked(len)?;
        let (covered, tail) = packet.split_last_chunk::<2>()?;
        // "CRC-16/CCITT-FALSE", §3.
        let (got, want) = (u16::from_le_bytes(*tail), crc16_ccitt_false(covered));
        if got != want || covered.last() != Some(&spec::ETX) {
            self.buffer.pop_front();
            return Some(Err(FrameError::Checksum { got, want }));
        }
        let frame = frame(covered, len);
        self.buffer.drain(..len);
        Some(frame)
    }

    /// Bytes before what may become a packet with a valid length.
    fn noise(&self) -> usize {
        let mut bytes = self.buffer.iter().zip(self.buffer.iter().skip(1).map(Some).chain([None]));
        let begins = bytes.position(|(first, len)| {
            let possible = |len: &u8| (spec::OVERHEAD..=spec::LEN_MAX).contains(&usize::from(*len));
            *first == spec::STX && len.is_none_or(possible)
        });
        begins.unwrap_or(self.buffer.len())
    }
}

/// What the bytes from STX to ETX say.
fn frame(covered: &[u8], len: usize) -> Result<Frame, FrameError> {
    let (link, message) = match covered {
        [_, _, link, message @ .., _] => (*link, message),
        _ => return Err(FrameError::Noise { count: len }),
    };
    let bit = |bit| link & bit != 0;
    let clean = link & spec::RESERVED == 0;
    match (bit(spec::DISCONNECT), bit(spec::ACK), message.is_empty()) {
        (true, ack, true) if clean => Ok(Frame::Disconnect { ack }),
        (false, true, true) if clean => Ok(Frame::Ack { expects: bit(spec::EXPECTED) }),
        (false, false, false) if clean => Ok(Frame::Data {
            sequence: bit(spec::SEQUENCE),
            expects: bit(spec::EXPECTED),
            message: message.to_vec(),
        }),
        _ => Err(FrameError::Link { link, len }),
    }
}

pub(super) fn packet(link: u8, message: &[u8]) -> Vec<u8> {
    let len = u8::try_from(message.len() + spec::OVERHEAD).unwrap_or(u8::MAX);
    let mut bytes = [&[spec::STX, len, link], message, &[spec::ETX]].concat();
    bytes.extend(crc16_ccitt_false(&bytes).to_le_bytes());
    bytes
}

/// "Reset: host sends DISC", §4.1.
#[must_use]
pub fn disconnect() -> Vec<u8> {
    packet(spec::DISCONNECT, &[])
}

/// "Host acks the data packet with LEN 6, ACK set", §4.3.
#[must_use]
pub fn ack(sequence: bool, expects: bool) -> Vec<u8> {
    packet(bits(sequence, expects) | spec::ACK, &[])
}

/// "Host command: link = (E<<1)|S", §4.2.
#[must_use]
pub fn command(sequence: bool, expects: bool, request: Request) -> Vec<u8> {
    packet(bits(sequence, expects), &request.message())
}

fn bits(sequence: bool, expects: bool) -> u8 {
    let bit = |set: bool, bit| if set { bit } else { 0 };
    bit(sequence, spec::SEQUENCE) | bit(expects, spec::EXPECTED)
}

/// What we ask the meter. The protocol's commands that set the clock or erase are not here.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Request {
    /// Software version and creation date.
    Version,
    /// Serial number.
    Serial,
    /// The unit on the display; results are always mg/dL.
    Unit,
    /// The meter's clock.
    Clock,
    /// How many records there are.
    Count,
    /// The record at that place in memory, 0 the newest.
    Record(u16),
}

impl Request {
    fn message(self) -> Vec<u8> {
        let ask = |what: &[u8]| [&[spec::PREFIX], what].concat();
        let record = |index: u16| {
            let [low, high] = index.to_le_bytes();
            ask(&[spec::ASK_RECORD, low, high])
        };
        match self {
            Self::Version => ask(spec::ASK_VERSION),
            Self::Serial => ask(spec::ASK_SERIAL),
            Self::Unit => ask(spec::ASK_UNIT),
            Self::Clock => ask(spec::ASK_CLOCK),
            Self::Count => record(spec::COUNT_INDEX),
            Self::Record(index) => record(index),
        }
    }
}

/// What the meter answers.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Reply {
    /// Software version and creation date.
    Version(String),
    /// Serial number.
    Serial(String),
    /// 0 mg/dL, 1 mmol/L.
    Unit(u8),
    /// Seconds since 1970-01-01 00:00:00 of the meter's local wall clock.
    Clock(u32),
    /// 0 to 500.
    Count(u16),
    /// A stored result.
    Record(Stored),
}

/// A stored result, as the meter sends it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Stored {
    /// Seconds since 1970-01-01 00:00:00 of the meter's local wall clock.
    pub time: u32,
    /// mg/dL, or a code for LO and HI.
    pub glucose: u32,
}

/// What a stored number says, in mg/dL.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Glucose {
    /// The value.
    Number(u32),
    /// LO: below the meter's limit.
    Below(u32),
    /// HI: above the meter's limit.
    Above(u32),
    /// "A code this meter cannot produce (it says HI above 600)", §8.9; as sent.
    Impossible(u32),
}

impl Stored {
    /// What tells it from other records: "identity: device + metric + device time + value", §6.
    pub(super) fn key(self) -> Vec<u8> {
        [self.time.to_le_bytes(), self.glucose.to_le_bytes()].concat()
    }

    /// What the number says.
    #[must_use]
    pub fn value(self) -> Glucose {
        match self.glucose {
            spec::LO => Glucose::Below(spec::LO_MG_PER_DL),
            spec::HI => Glucose::Above(spec::HI_MG_PER_DL),
            raw if raw > spec::HI_MG_PER_DL => Glucose::Impossible(raw),
            raw => Glucose::Number(raw),
        }
    }
}

/// Why a message is no reply to what was asked.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum ReplyError {
    /// The meter says no.
    #[error("the meter refused with status {status:#04x}; it is asked again in the next session")]
    Status {
        /// The byte after the prefix; 0 if there was none.
        status: u8,
    },
    /// The length or the content is not that of the reply.
    #[error("a reply of {len} bytes is not what was asked for; is this another meter model?")]
    Form {
        /// Length of the message.
        len: usize,
    },
}

impl Reply {
    /// Reads the message that answers `request`.
    ///
    /// # Errors
    /// [`ReplyError`] if it does not answer it.
    pub fn decode(request: Request, message: &[u8]) -> Result<Self, ReplyError> {
        let (status, content) = match message {
            [spec::PREFIX, status, content @ ..] => (*status, content),
            _ => return Err(ReplyError::Form { len: message.len() }),
        };
        let wanted = match request {
            Request::Count => spec::COUNT,
            _ => spec::SUCCESS,
        };
        if status != wanted {
            return Err(ReplyError::Status { status });
        }
        let reply = match (request, content) {
            (Request::Version, [len, text @ ..]) if usize::from(*len) == text.len() => {
                ascii(text).map(Self::Version)
            }
            (Request::Serial, text) if text.len() == spec::SERIAL_LEN => {
                ascii(text).map(Self::Serial)
            }
            (Request::Unit, [unit, _, _, _]) => Some(Self::Unit(*unit)),
            (Request::Clock, content) => {
                content.try_into().ok().map(|clock| Self::Clock(u32::from_le_bytes(clock)))
            }
            (Request::Count, content) => {
                let count = content.try_into().ok().map(u16::from_le_bytes);
                count.filter(|count| *count <= spec::RECORDS_MAX).map(Self::Count)
            }
            (Request::Record(_), content) => content.split_first_chunk().and_then(|parts| {
                let time = u32::from_le_bytes(*parts.0);
                let glucose = u32::from_le_bytes(parts.1.try_into().ok()?);
                Some(Self::Record(Stored { time, glucose }))
            }),
            _ => None,
        };
        reply.ok_or(ReplyError::Form { len: message.len() })
    }
}

fn ascii(text: &[u8]) -> Option<String> {
    let printable = text.iter().all(|byte| byte.is_ascii_graphic() || *byte == b' ');
    printable.then(|| text.iter().map(|&byte| char::from(byte)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::{collection::vec, prelude::*};

    fn frames(chunks: &[&[u8]]) -> Vec<Result<Frame, FrameError>> {
        let mut decoder = Decoder::default();
        chunks.iter().flat_map(|chunk| decoder.decode(chunk).collect::<Vec<_>>()).collect()
    }

    /// What is found until nothing more comes.
    fn good(chunks: &[&[u8]]) -> Vec<Frame> {
        let mut decoder = Decoder::default();
        let found = chunks.iter().flat_map(|chunk| decoder.decode(chunk).collect::<Vec<_>>());
        let mut found: Vec<_> = found.flatten().collect();
        found.extend(decoder.give_up().1);
        assert!(!decoder.is_inside());
        found
    }

    #[test]
    fn a_packet_inside_a_damaged_one_is_found() {
        let bytes = [&[0x02, 0x1A, 0x02][..], &ack(true, true)].concat();
        assert_eq!(good(&[&bytes]), [Frame::Ack { expects: true }]);
    }

    #[test]
    fn link_control_bytes_that_no_packet_has_are_refused() {
        for (link, message) in [(0x20, &[5_u8][..]), (0x04, &[5]), (0x00, &[]), (0x08, &[5])] {
            let found = frames(&[&packet(link, message)]);
            assert_eq!(found, [Err(FrameError::Link { link, len: message.len() + 6 })]);
        }
    }

    #[test]
    fn replies_that_do_not_fit_the_request_are_refused() {
        let refused = |request, message: &[u8]| Reply::decode(request, message).unwrap_err();
        assert_eq!(refused(Request::Clock, &[4, 6, 1, 2, 3, 4]), ReplyError::Form { len: 6 });
        assert_eq!(refused(Request::Clock, &[5, 7]), ReplyError::Status { status: 7 });
        assert_eq!(refused(Request::Record(3), &[5, 15, 3, 0]), ReplyError::Status { status: 15 });
        assert_eq!(refused(Request::Version, &[5, 6, 3, b'P']), ReplyError::Form { len: 4 });
        assert_eq!(refused(Request::Count, &[5, 15, 0xF5, 1]), ReplyError::Form { len: 4 });
        assert!(Reply::decode(Request::Record(0), &[5, 6, 1, 2, 3, 4, 5, 6, 7]).is_err());
    }

    proptest! {
        #[test]
        fn cutting_does_not_matter(
            bytes in vec(prop_oneof![Just(2_u8), Just(6), Just(3), any::<u8>()], 0..200),
            cut in 0_usize..200,
        ) {
            let (head, tail) = bytes.split_at(cut.min(bytes.len()));
            prop_assert_eq!(good(&[&bytes]), good(&[head, tail]));
        }

        #[test]
        fn what_stays_buffered_is_bounded(
            bytes in vec(prop_oneof![Just(2_u8), Just(40), any::<u8>()], 0..2000),
        ) {
            let mut decoder = Decoder::default();
            decoder.decode(&bytes).for_each(drop);
            prop_assert!(decoder.buffer.len() < spec::LEN_MAX);
        }

        #[test]
        fn a_damaged_byte_never_gives_another_frame(at in 0_usize..10, flip in 1_u8..=255) {
            let mut bytes = command(true, false, Request::Record(7));
            bytes[at] ^= flip;
            prop_assert_eq!(good(&[&bytes]), []);
        }

        #[test]
        fn a_good_frame_after_noise_is_found(noise in vec(any::<u8>(), 0..40)) {
            let good_frame = command(false, true, Request::Serial);
            let bytes = [&noise[..], &good_frame].concat();
            let found = good(&[&bytes]);
            let message = Request::Serial.message();
            let sent = Frame::Data { sequence: false, expects: true, message };
            prop_assert!(found.contains(&sent));
        }
    }
}
