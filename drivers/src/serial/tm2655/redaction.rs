//! What a record of the TM-2655 family may say about the person.
//!
//! The published record has no place for a name. But models of the family and its copies send
//! other fields, from a barcode reader or a card, and nobody published which.

use super::{
    codec::{Beginning, Frame, Measurement, beginning, text, with_text},
    spec,
};
use crate::redaction::{HIDDEN, Mask};
use std::time::Duration;

/// Separates fields.
const RS: u8 = 0x1E;
/// Widths of the fields before the letters: model, time, command, mode, error, §5.
const WIDTHS: [usize; 5] = [6, 10, 2, 1, 3];
/// "Parse the rest by first letter", §5.
const LETTERS: &[u8] = b"SMDPILimrt";
/// Most digits behind a letter, §5.
const DIGITS: usize = 3;
/// Longest command, §4.
const COMMAND: usize = 2;

/// Hides every field that is not in the published record.
pub(crate) struct Tm2655Mask;

impl Mask for Tm2655Mask {
    fn settle(&self, bytes: &[u8]) -> Option<(usize, Vec<u8>)> {
        match beginning(bytes) {
            Beginning::Unfinished => None,
            Beginning::Noise(count) => Some((count, vec![HIDDEN; count])),
            Beginning::BadSum { .. } => Some((1, vec![HIDDEN])),
            Beginning::Whole(len, frame) => {
                let bytes = bytes.get(..len).unwrap_or_default();
                let kept = match frame {
                    Frame::Ack | Frame::Nak => Some(bytes.to_vec()),
                    Frame::Text(fields) => masked(bytes, &fields),
                };
                Some((len, kept.unwrap_or_else(|| vec![HIDDEN; len])))
            }
        }
    }

    /// As the driver itself: it may take what follows for a new frame.
    fn patience(&self) -> Duration {
        spec::BYTE_GAP
    }
}

/// The frame without what is not known of its text.
fn masked(frame: &[u8], fields: &[String]) -> Option<Vec<u8>> {
    let text = text(frame)?;
    // Every letter of a field was one byte; the last field may come without its end.
    let len: usize = fields.iter().map(|field| field.chars().count() + 1).sum();
    if text.len() != len && text.len() + 1 != len {
        return None;
    }
    let record = Measurement::from_fields(fields).is_ok();
    let hidden = text.split(|byte| *byte == RS).enumerate().map(|(place, field)| {
        let known = match WIDTHS.get(place) {
            Some(width) if record => field.len() <= *width,
            None if record => is_known(field),
            _ => fields.len() == 1 && field.len() <= COMMAND,
        };
        match field.split_first() {
            _ if known => field.to_vec(),
            // A letter may stand once: what told fields apart must go on doing so.
            Some((letter, rest)) if record => [&[*letter], &vec![HIDDEN; rest.len()][..]].concat(),
            _ => vec![HIDDEN; field.len()],
        }
    });
    with_text(frame, &hidden.collect::<Vec<_>>().join(&RS))
}

fn is_known(field: &[u8]) -> bool {
    let Some((letter, number)) = field.split_first() else { return true };
    let digit = |byte: &u8| matches!(byte, b' ' | b'0'..=b'9');
    LETTERS.contains(letter) && number.len() <= DIGITS && number.iter().all(digit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{redaction::tests::check, registry::DriverName};
    use proptest::{collection::vec, prelude::*};

    fn framed(text: &str) -> Vec<u8> {
        let covered = [&[1, b'0', b'0', 2], text.replace('/', "\x1e").as_bytes(), &[3]].concat();
        let sum = covered.iter().fold(0, |sum, byte| sum ^ byte);
        [&[0x16, 0x16], &covered[..], &[sum]].concat()
    }

    #[track_caller]
    fn kept(text: &str, expected: &str) {
        let frame = framed(text);
        assert_eq!(Tm2655Mask.settle(&frame), Some((frame.len(), framed(expected))), "{text}");
    }

    #[test]
    fn the_published_record_passes() {
        for text in [
            "TM2655/2611220815/RB/M/E00/S138/M103/D 86/P 72/I18/L 92/",
            "TM2655/2611220820/RB/M/E43/S   /M   /D   /P   /I18/i 2/m  1/r0/t 38/",
            "RB",
        ] {
            kept(text, text);
        }
    }

    #[test]
    fn an_address_may_be_any_bytes() {
        let covered = [&[1, 2, 1, 2][..], b"RB", &[3]].concat();
        let sum = covered.iter().fold(0, |sum, byte| sum ^ byte);
        let frame = [&[0x16, 0x16], &covered[..], &[sum]].concat();
        assert_eq!(Tm2655Mask.settle(&frame), Some((frame.len(), frame.clone())));
    }

    #[test]
    fn fields_nobody_published_are_hidden() {
        kept(
            "TM2655/2611220815/RB/M/E00/S138/M103/D 86/P 72/I18/L 92/W110101199003074514/",
            "TM2655/2611220815/RB/M/E00/S138/M103/D 86/P 72/I18/L 92/Wxxxxxxxxxxxxxxxxxx/",
        );
        kept(
            "TM2655/2611220815/RB/M/E00/S138/M103/D 86/P 72/I110101/Lwang/",
            "TM2655/2611220815/RB/M/E00/S138/M103/D 86/P 72/Ixxxxxx/Lxxxx/",
        );
    }

    #[test]
    fn a_record_of_another_kind_is_hidden() {
        // The InBody copy: 17 digits stand where model and time are.
        kept("11010119900307451/RB/00000/S113/M000/", "xxxxxxxxxxxxxxxxx/xx/xxxxx/xxxx/xxxx/");
    }

    fn piece() -> impl Strategy<Value = Vec<u8>> {
        let record = (60_u16..260, "[A-Z]{4}", any::<bool>()).prop_map(|(sys, name, known)| {
            let id = format!("NWANG-31{name}");
            let time = if known { "2611220815" } else { "2613990815" };
            framed(&format!("TM2655/{time}/RB/M/E00/S{sys:3}/M103/D 50/P 72/I18/L 92/{id}/"))
        });
        prop_oneof![
            4 => record.clone(),
            1 => (record, 0_usize..60).prop_map(|(frame, cut)| frame[..cut].to_vec()),
            1 => Just(framed("WANG-31/RB/00000/S113/")),
            1 => vec(prop_oneof![any::<u8>(), Just(0x16), Just(1), Just(2), Just(3)], 0..40),
        ]
    }

    proptest! {
        #[test]
        fn recordings_decode_to_the_same_readings_and_tell_no_one(
            pieces in vec(piece(), 0..12), cuts in vec(1_usize..40, 1..40),
        ) {
            check(DriverName::Tm2655, &pieces.concat(), &cuts, b"WANG-31")?;
        }
    }
}
