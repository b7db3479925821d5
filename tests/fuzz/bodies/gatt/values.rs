//! Numbers, times and answers that several drivers of Bluetooth LE decode, against a second way to
//! say the same: `f64` for medical floats, encoding again for times.
//!
//! The first byte of an input chooses which, the rest is the value.

use drivers::{
    gatt::{
        date_time::{civil_ms_of, civil_ms_of_current_time, current_time},
        polar_ecg::codec::{Command as PmdCommand, Frame, FrameError, Response, offers_ecg},
        racp::{Command, Outcome, Which},
    },
    medfloat::{Medfloat, float, sfloat},
};

/// Decodes one value; whether it meant something.
pub(in super::super) fn run(input: &[u8]) -> usize {
    let (kind, value) = input.split_first().unwrap_or((&0, &[]));
    let means = match kind % 6 {
        0 => value.first_chunk().is_some_and(|raw| short(u16::from_le_bytes(*raw))),
        1 => value.first_chunk().is_some_and(|raw| long(u32::from_le_bytes(*raw))),
        2 => time(value),
        3 => set_time(value),
        4 => records(value),
        _ => strap(value),
    };
    usize::from(means)
}

/// SFLOAT: 4 bits of exponent above 12 bits of mantissa.
fn short(raw: u16) -> bool {
    let mantissa = i32::from(raw & 0x0FFF) - if raw & 0x0800 == 0 { 0 } else { 0x1000 };
    let exponent = i32::from(raw >> 12) - if raw & 0x8000 == 0 { 0 } else { 16 };
    same(sfloat(raw), mantissa, exponent, 0x7FF)
}

/// FLOAT: 8 bits of exponent above 24 bits of mantissa.
fn long(raw: u32) -> bool {
    let bits = i32::try_from(raw & 0x00FF_FFFF).expect("24 bits");
    let mantissa = bits - if raw & 0x0080_0000 == 0 { 0 } else { 0x0100_0000 };
    let exponent = i32::try_from(raw >> 24).expect("8 bits");
    let exponent = exponent - if raw & 0x8000_0000 == 0 { 0 } else { 0x100 };
    same(float(raw), mantissa, exponent, 0x7F_FFFF)
}

/// Five mantissas around the ends are no numbers, whatever the exponent; the rest are what they say,
/// to the digit, or too large to be anything.
fn same(got: Medfloat, mantissa: i32, exponent: i32, largest: i32) -> bool {
    let is_special = mantissa >= largest - 1 || mantissa <= 1 - largest;
    let Some(number) = got.number() else {
        assert!(is_special || exponent.abs() > 9, "{mantissa}e{exponent} is a number");
        return false;
    };
    assert!(!is_special, "{mantissa}e{exponent} is no number");
    let shown = number.to_string();
    let (value, wanted): (f64, f64) =
        (shown.parse().expect("a number"), format!("{mantissa}e{exponent}").parse().expect("one"));
    assert!((value - wanted).abs() <= wanted.abs() * 1e-12, "{mantissa}e{exponent} is {shown}");
    let digits = shown.split_once('.').map_or(0, |(_, digits)| digits.len());
    assert_eq!(i32::try_from(digits), Ok((-exponent).max(0)), "{shown} has other digits");
    true
}

/// A time that is one says the same bytes again.
fn time(value: &[u8]) -> bool {
    let civil = civil_ms_of_current_time(value);
    let Some(bytes) = value.first_chunk() else {
        assert_eq!(civil, None);
        return false;
    };
    assert_eq!(civil_ms_of(*bytes), civil, "what stands behind a time changes it");
    let Some(civil) = civil else { return false };
    let again = current_time(civil);
    assert!(again.is_none_or(|again| again.starts_with(bytes)), "{value:?} reads {again:?}");
    let year = u16::from_le_bytes([bytes[0], bytes[1]]);
    assert_eq!(again.is_some(), (1970..2200).contains(&year), "{year}");
    true
}

/// What is set reads back, to the second.
fn set_time(value: &[u8]) -> bool {
    let civil = value.first_chunk().map(|bytes| i64::from_le_bytes(*bytes)).unwrap_or_default();
    let set = current_time(civil);
    let read = set.map(|set| civil_ms_of_current_time(&set));
    assert!(read.is_none_or(|read| read == Some(civil.div_euclid(1000) * 1000)), "{civil}");
    set.is_some()
}

/// An answer of the record access control point answers what was asked, and nothing else.
fn records(value: &[u8]) -> bool {
    let (which, value) = value.split_first().unwrap_or((&0, &[]));
    let asked = match which % 4 {
        0 => Command::Report(Which::All),
        1 => Command::Report(Which::Last),
        2 => Command::Count(Which::From(7)),
        _ => Command::Abort,
    };
    let written = asked.bytes();
    assert!(written[0] != 2, "op code 2 deletes");
    let outcome = Outcome::decode(asked, value);
    let is_answer = match value {
        [5, 0, _, _] => written[0] == 4,
        [6, 0, op_code, _] => *op_code == written[0],
        _ => false,
    };
    assert_eq!(outcome.is_ok(), is_answer, "{value:02x?} to {asked:?}");
    is_answer
}

/// A frame has as many samples as it has room for, each within 24 bits.
fn strap(value: &[u8]) -> bool {
    assert!(!offers_ecg(value) || value[0] == 0x0F && value[1] & 1 == 1, "{value:02x?}");
    for asked in [PmdCommand::Settings, PmdCommand::Start, PmdCommand::Stop] {
        let answer = Response::decode(asked, value);
        let is_answer = matches!(value, [0xF0, op, 0, 0 | 6, ..] if *op == asked.bytes()[0]);
        assert!(is_answer || answer.is_err(), "{value:02x?} to {asked:?}");
    }
    match Frame::decode(value) {
        Ok(frame) => {
            assert_eq!(frame.samples.len() * 3 + 10, value.len());
            assert!(value[0] & 0x3F == 0 && value[9] == 0 && frame.device_ns != 0);
            for (sample, bytes) in frame.samples.iter().zip(value[10..].chunks(3)) {
                assert!((-0x80_0000..=0x7F_FFFF).contains(sample));
                assert_eq!(sample.to_le_bytes()[..3], *bytes);
            }
            true
        }
        Err(FrameError::Length(len)) => {
            assert_eq!(len, value.len());
            false
        }
        Err(FrameError::Type) => false,
    }
}
