//! Frames of the line: start, header, user data, check and end, and the escapes between (§3, §4).
//!
//! Not here: what user data mean.
//!
//! # Invariants
//! - never more than one longest frame is kept
//! - only a frame whose length and check are right comes out

use super::spec;

/// User data as a frame on the wire.
pub(super) fn encode(user_data: &[u8]) -> Vec<u8> {
    let len = u16::try_from(user_data.len()).unwrap_or(u16::MAX);
    wrap(&[&spec::HEADER, len.to_be_bytes().as_slice(), user_data].concat())
}

/// Check, escapes, start and end around what they cover.
fn wrap(covered: &[u8]) -> Vec<u8> {
    let check = fcs(covered).to_le_bytes();
    let mut frame = vec![spec::BOF];
    for byte in covered.iter().copied().chain(check) {
        match byte {
            spec::BOF | spec::EOF | spec::ESCAPE => {
                frame.extend([spec::ESCAPE, byte ^ spec::FLIP]);
            }
            byte => frame.push(byte),
        }
    }
    frame.push(spec::EOF);
    frame
}

/// CRC-16/X-25, §4.
fn fcs(bytes: &[u8]) -> u16 {
    !bytes.iter().fold(0xFFFF, |crc, byte| {
        (0..8).fold(crc ^ u16::from(*byte), |crc, _| match crc & 1 {
            0 => crc >> 1,
            _ => (crc >> 1) ^ spec::CRC_POLYNOMIAL,
        })
    })
}

/// Finds frames among bytes.
#[derive(Debug, Default)]
pub(super) struct Deframer {
    place: Place,
    /// Header, user data and check of the frame in progress, unescaped.
    inside: Vec<u8>,
}

#[derive(Clone, Copy, Debug, Default)]
enum Place {
    #[default]
    Outside,
    Inside,
    AfterEscape,
}

impl Deframer {
    /// Takes one byte in; the user data of a frame that it completes.
    pub(super) fn push(&mut self, byte: u8) -> Option<Vec<u8>> {
        match (self.place, byte) {
            // "A bare 0xC0 inside a frame also means: previous frame lost, new one starts."
            (_, spec::BOF) => {
                self.place = Place::Inside;
                self.inside.clear();
            }
            (Place::Outside, _) => {}
            (Place::Inside, spec::ESCAPE) => self.place = Place::AfterEscape,
            (Place::Inside, spec::EOF) => {
                self.place = Place::Outside;
                return user_data(&self.inside);
            }
            // "The sequence 7D C1 cancels the frame in progress."
            (Place::AfterEscape, spec::EOF) => self.place = Place::Outside,
            (Place::AfterEscape, _) => {
                self.place = Place::Inside;
                self.keep(byte ^ spec::FLIP);
            }
            (Place::Inside, _) => self.keep(byte),
        }
        None
    }

    fn keep(&mut self, byte: u8) {
        if self.inside.len() < spec::FRAME_MAX {
            self.inside.push(byte);
        } else {
            self.place = Place::Outside;
        }
    }
}

/// User data of a frame whose header, length and check are right.
fn user_data(inside: &[u8]) -> Option<Vec<u8>> {
    let (covered, check) = inside.split_last_chunk::<2>()?;
    let (&[one, two, high, low], user_data) = covered.split_first_chunk::<4>()?;
    let good = [one, two] == spec::HEADER
        && usize::from(u16::from_be_bytes([high, low])) == user_data.len()
        && u16::from_le_bytes(*check) == fcs(covered);
    good.then(|| user_data.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(hex: &str) -> Vec<u8> {
        hex.split_whitespace().map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect()
    }

    fn frames(bytes: &[u8]) -> Vec<Vec<u8>> {
        let mut deframer = Deframer::default();
        bytes.iter().filter_map(|byte| deframer.push(*byte)).collect()
    }

    #[test]
    fn checks_are_those_of_the_sheet() {
        assert_eq!(fcs(b"123456789"), 0x906E);
        assert_eq!(wrap(&[0x3A, 0x71]), bytes("C0 3A 71 9B 26 C1"));
        assert_eq!(wrap(&[0x3A, 0x91]), bytes("C0 3A 91 95 7D E1 C1"));
        let torture = bytes("C0 11 01 00 04 7D E0 7D 5D 7D E1 01 F4 6D C1");
        assert_eq!(encode(&[0xC0, 0x7D, 0xC1, 0x01]), torture);
        assert_eq!(frames(&torture), [[0xC0, 0x7D, 0xC1, 0x01]]);
    }

    #[test]
    fn a_cancelled_or_interrupted_frame_is_forgotten_and_the_next_one_found() {
        let good = encode(&[1, 2, 3]);
        for before in ["C0 11 01 7D C1", "C0 11 01 00", "00 7D C1", "C0 11 01 00 7D"] {
            assert_eq!(frames(&[bytes(before), good.clone()].concat()), [[1, 2, 3]], "{before}");
        }
    }

    #[test]
    fn a_frame_with_a_wrong_length_check_or_header_is_dropped() {
        for place in 1..5 {
            let mut frame = encode(&[1, 2, 3]);
            frame[place] ^= 1;
            assert!(frames(&frame).is_empty(), "byte {place}");
        }
        assert!(frames(&bytes("C0 C1 C0 3A 71 9B 26 C1")).is_empty());
    }

    #[test]
    fn a_frame_without_an_end_is_given_up() {
        let mut deframer = Deframer::default();
        deframer.push(spec::BOF);
        for _ in 0..3 * spec::FRAME_MAX {
            deframer.push(0x55);
        }
        assert!(deframer.inside.len() <= spec::FRAME_MAX);
        assert_eq!(encode(&[7]).iter().find_map(|byte| deframer.push(*byte)), Some(vec![7]));
    }
}
