//! What a line of the HBP-9030 says about the person: the subject ID.

use super::codec::{Measurement, first_line, with_subject};
use crate::redaction::{HIDDEN, Mask};

/// Hides the subject ID, and every line that is not a good one: its ID may be anywhere.
pub(crate) struct Hbp9030Mask;

impl Mask for Hbp9030Mask {
    fn settle(&self, bytes: &[u8]) -> Option<(usize, Vec<u8>)> {
        let line = first_line(bytes)?;
        let kept = match Measurement::from_line(line) {
            Ok(_) => with_subject(line, HIDDEN),
            Err(_) => hidden(line),
        };
        Some((line.len(), kept))
    }
}

/// A bad line ends where it ended, so that the next one begins where it began.
fn hidden(line: &[u8]) -> Vec<u8> {
    let hide = |byte: &u8| if matches!(byte, b'\r' | b'\n') { *byte } else { HIDDEN };
    line.iter().map(hide).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{redaction::tests::check, registry::DriverName};
    use proptest::{collection::vec, prelude::*};

    #[test]
    fn the_subject_is_hidden_and_nothing_else() {
        let line = "2026,07,11,09,05,12345678901234567890,0,120,080,072,0\r\n";
        let kept = "2026,07,11,09,05,xxxxxxxxxxxxxxxxxxxx,0,120,080,072,0\r\n";
        let settled = Hbp9030Mask.settle(line.as_bytes());
        assert_eq!(settled, Some((55, kept.as_bytes().to_vec())));
    }

    #[test]
    fn a_line_that_is_not_a_good_one_is_hidden() {
        for line in ["bp,12345678901234567890,\r\n", "2026;07,11,09,05,1234567890\r\n"] {
            let (_, kept) = Hbp9030Mask.settle(line.as_bytes()).unwrap();
            assert_eq!(kept, [vec![b'x'; line.len() - 2], b"\r\n".to_vec()].concat());
        }
    }

    fn piece() -> impl Strategy<Value = Vec<u8>> {
        let line = (0_u8..3, "[A-Z]{4}", 60_u16..260).prop_map(|(error, name, sys)| {
            let subject = format!("WANG-31{name}");
            format!("2026,07,11,09,05,{subject:<20},{error},{sys:03},050,072,0\r\n").into_bytes()
        });
        prop_oneof![
            4 => line.clone(),
            1 => (line, 0_usize..55).prop_map(|(line, cut)| line[..cut].to_vec()),
            1 => vec(prop_oneof![any::<u8>(), Just(b'\n'), Just(b',')], 0..80),
        ]
    }

    proptest! {
        #[test]
        fn recordings_decode_to_the_same_readings_and_tell_no_one(
            pieces in vec(piece(), 0..12), cuts in vec(1_usize..40, 1..40),
        ) {
            check(DriverName::Hbp9030, &pieces.concat(), &cuts, b"WANG-31")?;
        }
    }
}
