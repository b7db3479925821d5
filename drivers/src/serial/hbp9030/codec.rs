//! Codec of the Omron HBP-9030 (output "format 5"): bytes to lines, lines to measurements, nothing
//! more.
//!
//! Read first: the protocol sheet of the HBP-9030, which goes back to Omron's manual 2873643-0F,
//! page 20. There is no checksum: a line is taken whole and exactly as laid out, or not at all.
//!
//! # Invariants
//! - who was measured stays in here: the subject ID is checked and dropped, and no type and no
//!   error that leaves this file carries text of a line; of recordings `redaction.rs` takes it out

use model::time::civil_ms;
use std::{collections::VecDeque, fmt, iter};
use thiserror::Error;

/// Facts from the protocol sheet. No number of the protocol stands anywhere else.
mod spec {
    /// "Exactly 53 bytes", §2.
    pub(super) const LINE_LEN: usize = 53;
    /// "+ CR LF (0D 0A) = 55 bytes on the wire", §2.
    pub(super) const CR: u8 = 0x0D;
    pub(super) const LF: u8 = 0x0A;
    pub(super) const WIRE_LEN: usize = LINE_LEN + 2;
    /// "Commas at offsets 4, 7, 10, 13, 16, 37, 39, 43, 47, 51", §2.
    pub(super) const SEPARATOR: u8 = b',';
    /// Year, month, day, hour, minute, subject ID, error, systolic, diastolic, pulse, movements: §2.
    pub(super) const WIDTHS: [usize; 11] = [4, 2, 2, 2, 2, 20, 1, 3, 3, 3, 1];
    /// Its place among them.
    pub(super) const SUBJECT: usize = 5;
    /// "Subject ID, printable ASCII without comma", §2.
    pub(super) const PRINTABLE: std::ops::RangeInclusive<u8> = 0x20..=0x7E;
    /// "Error number, 0 = good", §2.
    pub(super) const GOOD: &str = "0";
    /// "If error is not 0 the three values are three spaces each", §2.
    pub(super) const BLANK: u8 = b' ';
    /// "Other formats (1-4) exist and must be refused by signature", §1.
    pub(super) const OTHER_FORMATS: [&[u8]; 3] = [b"MMBP203N", b"ID", b"bp,"];

    const fn sum(widths: &[usize]) -> usize {
        match widths {
            [] => 0,
            [first, rest @ ..] => *first + sum(rest),
        }
    }
    const _: () = assert!(sum(&WIDTHS) + WIDTHS.len() - 1 == LINE_LEN);
}

/// One line.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Measurement {
    /// Civil milliseconds of its local clock; `None` if its date or time does not exist.
    pub civil_ms: Option<i64>,
    /// The values, or the kiosk's error number (never "0").
    pub outcome: Result<Values, String>,
    /// Body movements during the measurement.
    pub movement: u16,
}

/// What a good line says, as sent.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Values {
    /// mmHg.
    pub systolic: u16,
    /// mmHg.
    pub diastolic: u16,
    /// Beats per minute.
    pub pulse: u16,
}

/// Why bytes gave no measurement.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum LineError {
    /// No line end where the longest line has one.
    #[error(
        "more than {} bytes without a line end are skipped; check the output format (5)",
        spec::WIRE_LEN
    )]
    TooLong,
    /// A line of another length, or without CR.
    #[error("a line of {len} bytes instead of {} is not used; check the cable", spec::WIRE_LEN)]
    Length {
        /// With its line end.
        len: usize,
    },
    /// The beginning of another output format.
    #[error("the kiosk sends another output format; set its function item 32 to 5")]
    OtherFormat,
    /// A comma is missing, or is where none belongs.
    #[error("a line with other fields than format 5 is not used; set function item 32 to 5")]
    Layout,
    /// A field that is not what stands there.
    #[error("a line with a damaged field ({0}) is not used; measure again")]
    Field(&'static str),
}

/// Cuts a byte stream into lines.
///
/// Invariant: once `decode` is drained, fewer than `WIRE_LEN` bytes stay buffered.
#[derive(Default)]
pub struct Decoder {
    buffer: VecDeque<u8>,
    /// Up to the next line end nothing is taken.
    skipping: bool,
}

/// The buffer may hold a subject ID: only its length is shown.
impl fmt::Debug for Decoder {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Decoder({} bytes, skipping: {})", self.buffer.len(), self.skipping)
    }
}

impl Decoder {
    /// Takes `bytes` in and yields every measurement or error they complete.
    ///
    /// An iterator dropped early loses nothing: what it did not yield comes out of the next call.
    pub fn decode(&mut self, bytes: &[u8]) -> impl Iterator<Item = Result<Measurement, LineError>> {
        self.buffer.extend(bytes);
        iter::from_fn(|| self.next_line())
    }

    fn next_line(&mut self) -> Option<Result<Measurement, LineError>> {
        if self.skipping {
            let Some(end) = self.line_end() else {
                self.buffer.clear();
                return None;
            };
            self.buffer.drain(..=end);
            self.skipping = false;
        }
        let bytes = self.buffer.make_contiguous();
        if spec::OTHER_FORMATS.iter().any(|signature| bytes.starts_with(signature)) {
            self.skipping = true;
            return Some(Err(LineError::OtherFormat));
        }
        match self.line_end() {
            Some(end) if end < spec::WIRE_LEN => {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                Some(Measurement::from_line(&line))
            }
            None if self.buffer.len() < spec::WIRE_LEN => None,
            _ => {
                self.skipping = true;
                Some(Err(LineError::TooLong))
            }
        }
    }

    fn line_end(&self) -> Option<usize> {
        self.buffer.iter().position(|byte| *byte == spec::LF)
    }
}

impl Measurement {
    /// Reads a line with its line end.
    pub(super) fn from_line(line: &[u8]) -> Result<Self, LineError> {
        let text = match line {
            [text @ .., spec::CR, spec::LF] if text.len() == spec::LINE_LEN => text,
            _ => return Err(LineError::Length { len: line.len() }),
        };
        let fields: Vec<_> = text.split(|byte| *byte == spec::SEPARATOR).collect();
        if !fields.iter().map(|field| field.len()).eq(spec::WIDTHS) {
            return Err(LineError::Layout);
        }
        let [time @ .., subject, error, systolic, diastolic, pulse, movement] = fields.as_slice()
        else {
            return Err(LineError::Layout);
        };
        let time: Vec<u16> =
            time.iter().map(|field| number(field, "time")).collect::<Result<_, _>>()?;
        if !subject.iter().all(|byte| spec::PRINTABLE.contains(byte)) {
            return Err(LineError::Field("subject ID"));
        }
        let movement = number(movement, "movements")?;
        let error = number(error, "error number")?.to_string();
        let values = [systolic, diastolic, pulse];
        let blank = values.iter().all(|field| field.iter().all(|byte| *byte == spec::BLANK));
        let outcome = if error != spec::GOOD && blank {
            Err(error)
        } else {
            let values = Values {
                systolic: number(systolic, "systolic")?,
                diastolic: number(diastolic, "diastolic")?,
                pulse: number(pulse, "pulse")?,
            };
            // "Or digits; still an error", §2.
            if error == spec::GOOD { Ok(values) } else { Err(error) }
        };
        Ok(Self { civil_ms: civil(&time), outcome, movement })
    }
}

/// What bytes begin with, as far as that can be told: a line with its line end, or so many bytes
/// that are longer than one.
pub(super) fn first_line(bytes: &[u8]) -> Option<&[u8]> {
    match bytes.iter().position(|byte| *byte == spec::LF) {
        Some(end) => bytes.get(..=end),
        None => Some(bytes).filter(|bytes| bytes.len() >= spec::WIRE_LEN),
    }
}

/// The line with another subject ID; it must be a good one.
pub(super) fn with_subject(line: &[u8], byte: u8) -> Vec<u8> {
    let mut fields: Vec<_> = line.split(|byte| *byte == spec::SEPARATOR).collect();
    let hidden = fields.get(spec::SUBJECT).map_or(0, |subject| subject.len());
    let hidden = vec![byte; hidden];
    if let Some(subject) = fields.get_mut(spec::SUBJECT) {
        *subject = &hidden;
    }
    fields.join(&spec::SEPARATOR)
}

/// "Numbers are zero padded digits", §2.
fn number(field: &[u8], name: &'static str) -> Result<u16, LineError> {
    if !field.iter().all(u8::is_ascii_digit) {
        return Err(LineError::Field(name));
    }
    Ok(field.iter().fold(0, |number, digit| number * 10 + u16::from(digit - b'0')))
}

fn civil(time: &[u16]) -> Option<i64> {
    let [year, month, day, hour, minute] = *time else { return None };
    civil_ms(year.into(), month.into(), day.into(), hour.into(), minute.into(), 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::{collection::vec, prelude::*};

    const GOOD: &str = "2026,07,11,09,05,12345678901234567890,0,120,080,072,0";

    fn decoded(chunks: &[&[u8]]) -> Vec<Result<Measurement, LineError>> {
        let mut decoder = Decoder::default();
        chunks.iter().flat_map(|chunk| decoder.decode(chunk).collect::<Vec<_>>()).collect()
    }

    /// What one line means.
    #[track_caller]
    fn check(text: &str, expected: Result<Measurement, LineError>) {
        assert_eq!(decoded(&[format!("{text}\r\n").as_bytes()]), [expected], "{text}");
    }

    fn good() -> Measurement {
        Measurement {
            civil_ms: civil_ms(2026, 7, 11, 9, 5, 0),
            outcome: Ok(Values { systolic: 120, diastolic: 80, pulse: 72 }),
            movement: 0,
        }
    }

    fn field(name: &'static str) -> Result<Measurement, LineError> {
        Err(LineError::Field(name))
    }

    #[test]
    fn a_good_line_is_read_by_its_places() {
        check(GOOD, Ok(good()));
        check(&GOOD.replace(",072,0", ",072,3"), Ok(Measurement { movement: 3, ..good() }));
        check(&GOOD.replace("12345678901234567890", &" ".repeat(20)), Ok(good()));
    }

    #[test]
    fn an_error_has_no_values_whether_blank_or_digits() {
        let failed = Ok(Measurement { outcome: Err("7".to_owned()), ..good() });
        check(&GOOD.replace("0,120,080,072", "7,   ,   ,   "), failed.clone());
        check(&GOOD.replace("0,120,080,072", "7,120,080,072"), failed);
        check(&GOOD.replace("0,120,080,072", "7,120,   ,072"), field("diastolic"));
        check(&GOOD.replace("0,120,080,072", "7, 20,   ,   "), field("systolic"));
    }

    #[test]
    fn a_date_or_time_that_does_not_exist_leaves_the_time_unknown() {
        for time in ["2025,02,29,09,05", "2026,13,11,09,05", "2026,00,00,00,00", "0000,01,01,00,00"]
        {
            let unknown = Measurement { civil_ms: None, ..good() };
            check(&GOOD.replace("2026,07,11,09,05", time), Ok(unknown));
        }
        for time in ["2026,07,11,24,05", "2026,07,11,09,60"] {
            let unknown = Measurement { civil_ms: None, ..good() };
            check(&GOOD.replace("2026,07,11,09,05", time), Ok(unknown));
        }
    }

    #[test]
    fn damaged_lines_are_refused() {
        let length = |len| Err(LineError::Length { len });
        check(GOOD.strip_suffix(",0").unwrap(), length(53));
        check("", length(2));
        check(&format!("{GOOD}9"), Err(LineError::TooLong));
        check(&GOOD.replace("2026,07", "2026;07"), Err(LineError::Layout));
        check(&GOOD.replace("1234567890,0", "12345678,9,0"), Err(LineError::Layout));
        check(&GOOD.replace("120", "+20"), field("systolic"));
        check(&GOOD.replace("080", " 80"), field("diastolic"));
        check(&GOOD.replace("072", "0x7"), field("pulse"));
        check(&GOOD.replace("072", "   "), field("pulse"));
        check(&GOOD.replace("2026", "    "), field("time"));
        check(&GOOD.replace(",0,120", ",E,120"), field("error number"));
        check(&GOOD.replace("072,0", "072,-"), field("movements"));
        check(&GOOD.replace("1234567890,0", "123456789\0,0"), field("subject ID"));
        check(&GOOD.replace("1234567890,0", "12345678é,0"), field("subject ID"));
        // LF without CR, and CR without LF.
        let bare = format!("{GOOD}\n{GOOD}\r{GOOD}\r\n");
        assert_eq!(decoded(&[bare.as_bytes()]), [length(54), Err(LineError::TooLong)]);
    }

    #[test]
    fn other_formats_are_refused_by_their_beginning() {
        for text in ["MMBP203N\r2026.07.11\r", "ID99999999B26/07/11", "bp,12345678901234567890,"] {
            let twice = [text, text].concat();
            assert_eq!(decoded(&[twice.as_bytes()]), [Err(LineError::OtherFormat)], "{text}");
        }
    }

    #[test]
    fn too_long_a_line_is_dropped_to_its_end_and_the_next_one_read() {
        let bytes = format!("{}{GOOD}\r\n{GOOD}\r\n", "x".repeat(500));
        assert_eq!(decoded(&[bytes.as_bytes()]), [Err(LineError::TooLong), Ok(good())]);
    }

    #[test]
    fn a_line_without_an_end_is_no_measurement() {
        assert_eq!(decoded(&[GOOD.as_bytes()]), []);
        assert_eq!(decoded(&[GOOD.as_bytes(), b"\r"]), []);
        assert_eq!(decoded(&[GOOD.as_bytes(), b"\r", b"\n"]), [Ok(good())]);
    }

    #[test]
    fn the_subject_is_shown_nowhere() {
        let mut decoder = Decoder::default();
        let told: Vec<_> = decoder.decode(format!("{GOOD}\r\n").as_bytes()).collect();
        let damaged = format!("{}\r\n", GOOD.replace("2026,", "2026;"));
        let refused: Vec<_> = decoder.decode(damaged.as_bytes()).collect();
        decoder.decode(GOOD.as_bytes()).for_each(drop);
        assert!(!format!("{told:?} {refused:?} {decoder:?}").contains("1234567890"));
    }

    proptest! {
        #[test]
        fn cutting_does_not_matter(
            bytes in vec(prop_oneof![
                Just(b','), Just(0x0D_u8), Just(0x0A), Just(b'0'), Just(b'I'), Just(b'D'), any::<u8>()
            ], 0..200),
            cut in 0_usize..200,
        ) {
            let bytes = [GOOD.as_bytes(), b"\r\n", &bytes].concat();
            let (head, tail) = bytes.split_at(cut.min(bytes.len()));
            prop_assert_eq!(decoded(&[&bytes]), decoded(&[head, tail]));
        }

        #[test]
        fn what_stays_buffered_is_bounded(bytes in vec(any::<u8>(), 0..2000)) {
            let mut decoder = Decoder::default();
            decoder.decode(&bytes).for_each(drop);
            prop_assert!(decoder.buffer.len() < spec::WIRE_LEN);
        }

        #[test]
        fn no_bytes_are_a_measurement_by_chance(
            bytes in vec(prop_oneof![b'0'..=b'9', Just(b','), Just(0x0D_u8), Just(0x0A)], 0..500),
        ) {
            prop_assert!(decoded(&[&bytes]).iter().all(Result::is_err));
        }

        #[test]
        fn a_good_line_after_noise_is_found(noise in vec(any::<u8>(), 0..200)) {
            let bytes = [&noise[..], b"\n", GOOD.as_bytes(), b"\r\n"].concat();
            prop_assert_eq!(decoded(&[&bytes]).pop(), Some(Ok(good())));
        }

        /// Without a checksum a damaged digit is another digit; it must not become more than that.
        #[test]
        fn a_damaged_byte_changes_nothing_beside_it(at in 0_usize..55, byte in any::<u8>()) {
            let mut bytes = format!("{GOOD}\r\n").into_bytes();
            bytes[at] = byte;
            for found in decoded(&[&bytes]).into_iter().flatten() {
                let (read, sent) = (found.outcome.clone(), good());
                prop_assert!(at < 16 || found.civil_ms == sent.civil_ms);
                prop_assert!(at == 52 || found.movement == sent.movement);
                match read {
                    Ok(values) => {
                        prop_assert!((40..43).contains(&at) || values.systolic == 120);
                        prop_assert!((44..47).contains(&at) || values.diastolic == 80);
                        prop_assert!((48..51).contains(&at) || values.pulse == 72);
                    }
                    Err(_) => prop_assert_eq!(at, 38),
                }
            }
        }
    }
}
