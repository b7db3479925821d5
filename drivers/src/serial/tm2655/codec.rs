//! Codec of the TM-2655 family ("RB" format): bytes to frames, texts to records, nothing more.
//!
//! Read first: the protocol sheet of the TM-2655P; the vendor's manual is not public.

use model::time::civil_ms;
use std::{collections::VecDeque, iter};
use thiserror::Error;

/// Facts from the protocol sheet. No number of the protocol stands anywhere else.
mod spec {
    /// "SYN SYN SOH A A STX text ETX BCC", §3.
    pub(super) const SYN: u8 = 0x16;
    pub(super) const SOH: u8 = 0x01;
    pub(super) const STX: u8 = 0x02;
    pub(super) const ETX: u8 = 0x03;
    pub(super) const ACK: u8 = 0x06;
    pub(super) const NAK: u8 = 0x15;
    /// "Fields each terminated by RS = 1E", §3.
    pub(super) const RS: u8 = 0x1E;
    pub(super) const HEADER: [u8; 3] = [SYN, SYN, SOH];
    /// "Two ASCII address bytes", §3.
    pub(super) const ADDRESS_LEN: usize = 2;
    /// "Text > 600 bytes (RP with 60 points is about 500)", §8.2.
    pub(super) const TEXT_LEN_MAX: usize = 600;
    /// "Embedded byte < 20 other than RS inside text", §8.2.
    pub(super) const CONTROL_MAX: u8 = 0x1F;
    /// "RB: send last result", §4. The commands that inflate a cuff are not here.
    pub(super) const SEND_LAST: &[u8] = b"RB";
    /// "Fewer than 9 fields", §8.3.
    pub(super) const FIELDS_MIN: usize = 9;
    /// "Not [space|digit]{3} after its letter", §8.4.
    pub(super) const NUMBER_LEN: usize = 3;
}

/// One frame.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Frame {
    /// "Command understood."
    Ack,
    /// "Command not understood."
    Nak,
    /// A record, or a command of the other side: its fields without their terminators.
    Text(Vec<String>),
}

/// Why bytes gave no frame.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum FrameError {
    /// Wrong BCC.
    #[error(
        "check byte is {got:#04x}, computed {want:#04x}; check cable and speed if this repeats"
    )]
    Checksum {
        /// As received.
        got: u8,
        /// As computed.
        want: u8,
    },
    /// Bytes that begin no frame, or the beginning of one that broke off.
    #[error("{count} bytes make no frame; check speed (2400 or 9600) and output format (RB)")]
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

/// What bytes begin with.
pub(super) enum Beginning {
    /// So many bytes can be the beginning of no frame.
    Noise(usize),
    /// A frame that goes on.
    Unfinished,
    /// A frame of so many bytes.
    Whole(usize, Frame),
    /// A frame with another check byte.
    BadSum { got: u8, want: u8 },
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

    /// Whether a frame has begun and is not whole.
    #[must_use]
    pub fn is_inside(&self) -> bool {
        !self.buffer.is_empty()
    }

    fn next_frame(&mut self) -> Option<Result<Frame, FrameError>> {
        match beginning(self.buffer.make_contiguous()) {
            Beginning::Unfinished => None,
            Beginning::Noise(count) => {
                self.buffer.drain(..count);
                Some(Err(FrameError::Noise { count }))
            }
            Beginning::BadSum { got, want } => {
                self.buffer.pop_front();
                Some(Err(FrameError::Checksum { got, want }))
            }
            Beginning::Whole(len, frame) => {
                self.buffer.drain(..len);
                Some(Ok(frame))
            }
        }
    }
}

/// Says what the bytes begin with.
pub(super) fn beginning(bytes: &[u8]) -> Beginning {
    let starts_here = |rest: &[u8]| rest.iter().zip(spec::HEADER).all(|(got, want)| *got == want);
    let noise = (0..bytes.len()).find(|&at| bytes.get(at..).is_some_and(starts_here));
    match noise.unwrap_or(bytes.len()) {
        0 if bytes.is_empty() => return Beginning::Unfinished,
        0 => {}
        noise => return Beginning::Noise(noise),
    }
    let after = |count| bytes.get(count..).unwrap_or_default();
    let start = spec::HEADER.len() + spec::ADDRESS_LEN;
    match after(start).first() {
        None => return Beginning::Unfinished,
        Some(&spec::ACK) => return Beginning::Whole(start + 1, Frame::Ack),
        Some(&spec::NAK) => return Beginning::Whole(start + 1, Frame::Nak),
        Some(&spec::STX) => {}
        // "SYN inside a running frame: restart frame", §8.7: the search goes on behind this SYN.
        Some(_) => return Beginning::Noise(1),
    }
    let text = after(start + 1);
    let ends = |byte: &u8| *byte <= spec::CONTROL_MAX && *byte != spec::RS;
    let Some(len) = text.iter().take(spec::TEXT_LEN_MAX + 1).position(ends) else {
        return if text.len() > spec::TEXT_LEN_MAX {
            Beginning::Noise(1)
        } else {
            Beginning::Unfinished
        };
    };
    match after(start + 1 + len) {
        [spec::ETX] => Beginning::Unfinished,
        // "BCC can be any byte value: take exactly one byte after ETX", §3.
        [spec::ETX, got, ..] => {
            let covered = bytes.get(2..start + len + 2).unwrap_or_default();
            let want = check_byte(covered);
            if *got != want {
                return Beginning::BadSum { got: *got, want };
            }
            let text = text.get(..len).unwrap_or_default();
            Beginning::Whole(start + len + 3, Frame::Text(fields(text)))
        }
        _ => Beginning::Noise(1),
    }
}

/// "BCC = XOR of all bytes from SOH to ETX inclusive", §3.
fn check_byte(covered: &[u8]) -> u8 {
    covered.iter().fold(0, |sum, byte| sum ^ byte)
}

fn fields(text: &[u8]) -> Vec<String> {
    let text = text.strip_suffix(&[spec::RS]).unwrap_or(text);
    text.split(|byte| *byte == spec::RS)
        .map(|field| field.iter().map(|&byte| char::from(byte)).collect())
        .collect()
}

/// Where the text of a frame is, behind an address of any bytes.
const TEXT_AT: usize = spec::HEADER.len() + spec::ADDRESS_LEN + 1;

/// The text of a whole frame; `None` if it has none.
pub(super) fn text(frame: &[u8]) -> Option<&[u8]> {
    frame.get(TEXT_AT..frame.len().checked_sub(2)?)
}

/// The frame with that text in place of its own, which must be as long and have no control
/// character but RS; `None` if the frame has no text.
pub(super) fn with_text(frame: &[u8], text: &[u8]) -> Option<Vec<u8>> {
    let mut changed = frame.to_vec();
    changed.get_mut(TEXT_AT..TEXT_AT + text.len())?.copy_from_slice(text);
    let check = check_byte(changed.get(2..TEXT_AT + text.len() + 1)?);
    *changed.last_mut()? = check;
    Some(changed)
}

/// Asks for the last result.
#[must_use]
pub fn ask_for_last() -> Vec<u8> {
    let covered = [&[spec::SOH, b'0', b'0', spec::STX], spec::SEND_LAST, &[spec::ETX]].concat();
    [&[spec::SYN, spec::SYN], &covered[..], &[check_byte(&covered)]].concat()
}

/// One measurement.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Measurement {
    /// Model as the device names itself.
    pub model: String,
    /// Civil milliseconds of its local clock; `None` if its date does not exist.
    pub civil_ms: Option<i64>,
    /// `E00`: good.
    pub error: String,
    /// mmHg; `None`: blank or not sent.
    pub systolic: Option<u16>,
    /// mmHg.
    pub mean: Option<u16>,
    /// mmHg.
    pub diastolic: Option<u16>,
    /// Beats per minute.
    pub pulse: Option<u16>,
    /// TM-2657: irregular heart beats.
    pub irregular: Option<u16>,
    /// TM-2657: movements.
    pub movement: Option<u16>,
    /// TM-2657: retests.
    pub retest: Option<u16>,
    /// TM-2657: duration of the measurement in seconds.
    pub seconds: Option<u16>,
}

/// Why a text is no measurement.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum RecordError {
    /// Pulse oscillation table or a command: nothing to store.
    #[error("a \"{0}\" text is no measurement; it is skipped")]
    Other(String),
    /// Too few fields, or not those of a record.
    #[error("a record of {0} fields is not in RB format; set the device's output format to RB")]
    Form(usize),
    /// A number field without a number, or one that came twice.
    #[error("the field \"{0}\" is damaged or came twice; the record is not used")]
    Field(String),
}

impl Measurement {
    /// Reads the fields of a record.
    ///
    /// # Errors
    /// [`RecordError`] says why they are none.
    pub fn from_fields(fields: &[String]) -> Result<Self, RecordError> {
        let field = |index: usize| fields.get(index).map(String::as_str).unwrap_or_default();
        match (fields.len(), field(0), field(2)) {
            (1, command, _) => return Err(RecordError::Other(command.to_owned())),
            (_, _, "RP") => return Err(RecordError::Other("RP".to_owned())),
            (spec::FIELDS_MIN.., _, "RB" | "AB") => {}
            (count, ..) => return Err(RecordError::Form(count)),
        }
        let error = field(4);
        let digits = error.strip_prefix('E').unwrap_or_default();
        if digits.len() != 2 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(RecordError::Field(error.to_owned()));
        }
        let mut measurement = Self {
            model: field(0).trim().to_owned(),
            civil_ms: time(field(1)),
            error: error.to_owned(),
            ..Self::default()
        };
        let mut seen = String::new();
        for field in fields.iter().skip(5) {
            let Some(letter) = field.chars().next() else { continue };
            if seen.contains(letter) {
                return Err(RecordError::Field(field.clone()));
            }
            seen.push(letter);
            // Case tells the fields apart: "M" is the mean, "m" a movement.
            let (slot, len) = match letter {
                'S' => (&mut measurement.systolic, Some(spec::NUMBER_LEN)),
                'M' => (&mut measurement.mean, Some(spec::NUMBER_LEN)),
                'D' => (&mut measurement.diastolic, Some(spec::NUMBER_LEN)),
                'P' => (&mut measurement.pulse, Some(spec::NUMBER_LEN)),
                'i' => (&mut measurement.irregular, None),
                'm' => (&mut measurement.movement, None),
                'r' => (&mut measurement.retest, None),
                't' => (&mut measurement.seconds, None),
                _ => continue,
            };
            let text = field.get(letter.len_utf8()..).unwrap_or_default();
            *slot = number(text, len).ok_or_else(|| RecordError::Field(field.clone()))?;
        }
        Ok(measurement)
    }
}

/// A padded number: `Some(None)` when blank, `None` when it is none.
fn number(text: &str, len: Option<usize>) -> Option<Option<u16>> {
    let digits = text.trim_matches(' ');
    match digits {
        _ if len.is_some_and(|len| len != text.len()) => None,
        "" => Some(None),
        _ if digits.bytes().all(|byte| byte.is_ascii_digit()) => digits.parse().ok().map(Some),
        _ => None,
    }
}

/// "YYMMDDhhmm local, year 2000+YY", §5.
fn time(text: &str) -> Option<i64> {
    if text.len() != 10 || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let pair = |at: usize| text.get(at..at + 2)?.parse::<u32>().ok();
    let year = 2000 + i32::try_from(pair(0)?).ok()?;
    civil_ms(year, pair(2)?, pair(4)?, pair(6)?, pair(8)?, 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::{collection::vec, prelude::*};

    fn good(chunks: &[&[u8]]) -> Vec<Frame> {
        let mut decoder = Decoder::default();
        let found = chunks.iter().flat_map(|chunk| decoder.decode(chunk).collect::<Vec<_>>());
        found.flatten().collect()
    }

    fn framed(text: &str) -> Vec<u8> {
        let covered = [&[1, b'0', b'0', 2], text.as_bytes(), &[3]].concat();
        [&[0x16, 0x16], &covered[..], &[check_byte(&covered)]].concat()
    }

    fn fields_of(text: &str) -> Vec<String> {
        text.split('/').map(str::to_owned).collect()
    }

    fn parsed(text: &str) -> Result<Measurement, RecordError> {
        Measurement::from_fields(&fields_of(text))
    }

    const GOOD: &str = "TM2655/2611220815/RB/M/E00/S138/M103/D 86/P 72/I18/L 92";

    #[test]
    fn a_check_byte_may_look_like_a_control_byte() {
        // XOR of the text alone is the check byte: 53 ^ 45 = 16.
        assert_eq!(framed("SE").last(), Some(&0x16));
        let bytes = [framed("SE"), framed("RB")].concat();
        let texts = ["SE", "RB"].map(|text| Frame::Text(vec![text.to_owned()]));
        assert_eq!(good(&[&bytes]), texts);
    }

    #[test]
    fn a_frame_that_breaks_off_is_dropped_when_the_next_begins() {
        let bytes = [&framed("RB\x1eM\x1e")[..9], &framed("RB")].concat();
        assert_eq!(good(&[&bytes]), [Frame::Text(vec!["RB".to_owned()])]);
    }

    #[test]
    fn a_good_record_is_read_by_letters() {
        let read = parsed(GOOD).unwrap();
        assert_eq!((read.systolic, read.mean, read.diastolic), (Some(138), Some(103), Some(86)));
        assert_eq!((read.pulse, read.error.as_str()), (Some(72), "E00"));
        assert_eq!(read.civil_ms, civil_ms(2026, 11, 22, 8, 15, 0));
    }

    #[test]
    fn movement_is_not_confused_with_the_mean() {
        let read = parsed(&GOOD.replace("L 92", "i 2/m  1/r0/t 38")).unwrap();
        assert_eq!((read.mean, read.movement), (Some(103), Some(1)));
        assert_eq!((read.irregular, read.retest, read.seconds), (Some(2), Some(0), Some(38)));
    }

    #[test]
    fn a_blank_part_is_missing_and_a_zero_is_a_zero() {
        let read = parsed(&GOOD.replace("M103", "M   ").replace("P 72", "P  0")).unwrap();
        assert_eq!((read.mean, read.pulse), (None, Some(0)));
    }

    #[test]
    fn a_date_that_does_not_exist_leaves_the_time_unknown() {
        for date in ["2602300815", "26112208", "26112208xx", "0000000000"] {
            let read = parsed(&GOOD.replace("2611220815", date)).unwrap();
            assert_eq!((read.civil_ms, read.systolic), (None, Some(138)), "{date}");
        }
    }

    #[test]
    fn damaged_records_are_refused() {
        let field = |text: &str| Err(RecordError::Field(text.to_owned()));
        assert_eq!(parsed(&GOOD.replace("S138", "S1x8")), field("S1x8"));
        assert_eq!(parsed(&GOOD.replace("S138", "S38")), field("S38"));
        assert_eq!(parsed(&GOOD.replace("S138", "S1 8")), field("S1 8"));
        assert_eq!(parsed(&GOOD.replace("L 92", "S139")), field("S139"));
        assert_eq!(parsed(&GOOD.replace("E00", "F00")), field("F00"));
        assert_eq!(parsed("TM2655/2611220815/RB/M/E00/S138"), Err(RecordError::Form(6)));
        assert_eq!(parsed(&GOOD.replace("RB", "XX")), Err(RecordError::Form(11)));
        assert_eq!(parsed("RC"), Err(RecordError::Other("RC".to_owned())));
    }

    /// A byte that becomes ETX ends the record there: the next byte is then its check byte.
    #[test]
    fn a_damaged_byte_never_gives_other_pressures() {
        let whole = framed(&GOOD.replace('/', "\x1e"));
        let sound = parsed(GOOD).unwrap();
        for at in 0..whole.len() {
            for flip in 1..=255 {
                let mut bytes = [&whole[..], &[0; 700]].concat();
                bytes[at] ^= flip;
                for frame in good(&[&bytes]) {
                    let Frame::Text(fields) = frame else { continue };
                    let Ok(read) = Measurement::from_fields(&fields) else { continue };
                    assert_eq!(read, sound, "byte {at} ^ {flip:#04x}");
                }
            }
        }
    }

    proptest! {
        #[test]
        fn cutting_does_not_matter(
            bytes in vec(prop_oneof![
                Just(0x16_u8), Just(1), Just(2), Just(3), Just(6), Just(b'0'), any::<u8>()
            ], 0..200),
            cut in 0_usize..200,
        ) {
            let (head, tail) = bytes.split_at(cut.min(bytes.len()));
            prop_assert_eq!(good(&[&bytes]), good(&[head, tail]));
        }

        #[test]
        fn what_stays_buffered_is_bounded(
            head in Just(framed("TM2655").split_at(8).0.to_vec()),
            bytes in vec(prop_oneof![Just(0x1E_u8), 0x20_u8..], 0..2000),
        ) {
            let mut decoder = Decoder::default();
            decoder.decode(&[head, bytes].concat()).for_each(drop);
            let longest = spec::HEADER.len() + spec::ADDRESS_LEN + 1 + spec::TEXT_LEN_MAX + 2;
            prop_assert!(decoder.buffer.len() < longest);
        }

        #[test]
        fn no_bytes_are_a_measurement_by_chance(bytes in vec(any::<u8>(), 0..300)) {
            for frame in good(&[&bytes]) {
                let Frame::Text(fields) = frame else { continue };
                prop_assert!(Measurement::from_fields(&fields).is_err());
            }
        }

        #[test]
        fn a_good_frame_after_noise_is_found(noise in vec(any::<u8>(), 0..40)) {
            let bytes = [noise, framed(&GOOD.replace('/', "\x1e")), vec![0; 700]].concat();
            let record = Frame::Text(fields_of(GOOD));
            prop_assert!(good(&[&bytes]).contains(&record));
        }
    }
}
