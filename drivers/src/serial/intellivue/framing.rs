//! Bytes to frames on the MIB/RS-232 port, nothing more.
//!
//! Read first: the protocol sheet of the IntelliVue serial export, §3 (framing) and §4 (FCS).
//!
//! # Invariants
//! - a frame is handed out only if its check sequence, its header and its length agree
//! - at most one longest frame stays buffered between calls

use std::collections::VecDeque;
use thiserror::Error;

/// Facts from the sheet. No number of the framing stands anywhere else.
mod spec {
    /// "BOF 0xC0", "EOF 0xC1", §3.
    pub(super) const BOF: u8 = 0xC0;
    pub(super) const EOF: u8 = 0xC1;
    /// "0xC0, 0xC1 and 0x7D are sent as 0x7D followed by (byte XOR 0x20)", §3.
    pub(super) const ESCAPE: u8 = 0x7D;
    pub(super) const FLIP: u8 = 0x20;
    /// "protocol-id 0x11, msg-type 0x01", §3.
    pub(super) const PROTOCOL: [u8; 2] = [0x11, 0x01];
    /// Protocol, type and length.
    pub(super) const HEADER_LEN: usize = 4;
    pub(super) const FCS_LEN: usize = 2;
    /// "Cap frame size at 8 KiB; treat more as a lost EOF", §10.
    pub(super) const FRAME_LEN_MAX: usize = 8 * 1024;
    /// "Polynomial 0x1021 reflected (0x8408), initial 0xFFFF", §4.
    pub(super) const POLYNOMIAL: u16 = 0x8408;
    pub(super) const INITIAL: u16 = 0xFFFF;
    /// "Over data plus the two FCS bytes leaves the residue 0xF0B8", §4.
    pub(super) const RESIDUE: u16 = 0xF0B8;

    const _: () = assert!(PROTOCOL.len() + size_of::<u16>() == HEADER_LEN);
}

/// Why bytes did not become a frame.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum FrameError {
    /// Wrong check sequence.
    #[error(
        "a frame of {len} bytes has a wrong check sequence; check cable and speed if this repeats"
    )]
    Checksum {
        /// Unescaped, check sequence included.
        len: usize,
    },
    /// The check sequence is right, the header is not ours.
    #[error("a frame is of protocol {protocol:#04x}, type {kind:#04x}; it is skipped")]
    Protocol {
        /// First byte.
        protocol: u8,
        /// Second byte.
        kind: u8,
    },
    /// The check sequence is right, the length is not.
    #[error("a frame says {said} bytes and has {found}; it is skipped")]
    Length {
        /// By the header.
        said: u16,
        /// Between header and check sequence.
        found: usize,
    },
    /// The end of a frame never came.
    #[error("a frame has no end within 8 KiB; check the cable")]
    TooLong,
    /// A new frame began inside a frame.
    #[error("a frame broke off after {len} bytes; check the cable if this repeats")]
    CutOff {
        /// Bytes until then.
        len: usize,
    },
    /// The monitor gave the frame up.
    #[error("the monitor aborted a frame")]
    Aborted,
    /// Bytes outside of frames.
    #[error(
        "{count} bytes make no frame; check speed and cable if this repeats (115200 8N1 expected)"
    )]
    Noise {
        /// How many were skipped.
        count: usize,
    },
}

/// Cuts a byte stream into the user data of frames.
///
/// Invariant: once `decode` is drained, at most one longest frame stays buffered.
#[derive(Debug, Default)]
pub struct Decoder {
    incoming: VecDeque<u8>,
    /// The open frame without its escapes.
    frame: Vec<u8>,
    inside: bool,
    escaped: bool,
    noise: usize,
}

impl Decoder {
    /// Takes `bytes` in and yields every frame or error they complete.
    ///
    /// An iterator dropped early loses nothing: what it did not yield comes out of the next call.
    pub fn decode(&mut self, bytes: &[u8]) -> impl Iterator<Item = Result<Vec<u8>, FrameError>> {
        self.incoming.extend(bytes);
        std::iter::from_fn(|| self.next_frame())
    }

    fn next_frame(&mut self) -> Option<Result<Vec<u8>, FrameError>> {
        while let Some(byte) = self.incoming.pop_front() {
            match byte {
                spec::BOF => {
                    let error = match (self.inside, self.frame.len()) {
                        (true, len) if len > 0 => Some(FrameError::CutOff { len }),
                        _ => self.take_noise(),
                    };
                    self.leave();
                    self.inside = true;
                    if let Some(error) = error {
                        return Some(Err(error));
                    }
                }
                _ if !self.inside => self.noise += 1,
                // "The sequence 7D C1 cancels the frame in progress", §3.
                spec::EOF if self.escaped => {
                    self.leave();
                    return Some(Err(FrameError::Aborted));
                }
                spec::EOF => {
                    let user_data = user_data(&self.frame).map(<[u8]>::to_vec);
                    self.leave();
                    return Some(user_data);
                }
                spec::ESCAPE if !self.escaped => self.escaped = true,
                byte => {
                    let flip = if self.escaped { spec::FLIP } else { 0 };
                    self.escaped = false;
                    self.frame.push(byte ^ flip);
                    if self.frame.len() > spec::FRAME_LEN_MAX {
                        self.leave();
                        return Some(Err(FrameError::TooLong));
                    }
                }
            }
        }
        self.take_noise().map(Err)
    }

    fn take_noise(&mut self) -> Option<FrameError> {
        let count = std::mem::take(&mut self.noise);
        (count > 0).then_some(FrameError::Noise { count })
    }

    fn leave(&mut self) {
        self.frame.clear();
        (self.inside, self.escaped) = (false, false);
    }
}

/// What bytes begin with and how long it is: the user data of a good frame, or `None` for what is
/// none. Cut as the decoder cuts; `None` at all if a frame goes on.
pub(super) fn first_frame(bytes: &[u8]) -> Option<(usize, Option<Vec<u8>>)> {
    if bytes.first() != Some(&spec::BOF) {
        let noise = bytes.iter().position(|byte| *byte == spec::BOF);
        return Some((noise.unwrap_or(bytes.len()), None));
    }
    let (mut frame, mut escaped) = (Vec::new(), false);
    for (at, &byte) in bytes.iter().enumerate().skip(1) {
        match byte {
            spec::BOF => return Some((at, None)),
            spec::EOF if escaped => return Some((at + 1, None)),
            spec::EOF => return Some((at + 1, user_data(&frame).ok().map(<[u8]>::to_vec))),
            spec::ESCAPE if !escaped => escaped = true,
            byte => {
                frame.push(if escaped { byte ^ spec::FLIP } else { byte });
                escaped = false;
                if frame.len() > spec::FRAME_LEN_MAX {
                    return Some((at + 1, None));
                }
            }
        }
    }
    None
}

/// What stands for a frame, or for a part of one, that is hidden: it begins and ends as before.
pub(super) fn hidden(bytes: &[u8], by: u8) -> Vec<u8> {
    let hide = |byte: &u8| if matches!(*byte, spec::BOF | spec::EOF) { *byte } else { by };
    bytes.iter().map(hide).collect()
}

/// The user data of a whole frame without its escapes.
fn user_data(frame: &[u8]) -> Result<&[u8], FrameError> {
    let bad = FrameError::Checksum { len: frame.len() };
    if register(frame) != spec::RESIDUE {
        return Err(bad);
    }
    let (&[protocol, kind, high, low], rest) = frame.split_first_chunk().ok_or(bad)?;
    if [protocol, kind] != spec::PROTOCOL {
        return Err(FrameError::Protocol { protocol, kind });
    }
    let (user_data, _) = rest.split_last_chunk::<{ spec::FCS_LEN }>().ok_or(bad)?;
    let said = u16::from_be_bytes([high, low]);
    match usize::from(said) == user_data.len() {
        true => Ok(user_data),
        false => Err(FrameError::Length { said, found: user_data.len() }),
    }
}

/// A frame as it goes onto the wire.
///
/// # Panics
/// If the user data is longer than a frame: we send messages of at most 300 bytes.
#[must_use]
pub fn frame(user_data: &[u8]) -> Vec<u8> {
    assert!(user_data.len() + spec::HEADER_LEN + spec::FCS_LEN <= spec::FRAME_LEN_MAX);
    let len = u16::try_from(user_data.len()).unwrap_or_default();
    let mut plain = [&spec::PROTOCOL[..], &len.to_be_bytes(), user_data].concat();
    // "Only the FCS is little-endian", §2.
    plain.extend((!register(&plain)).to_le_bytes());
    let mut wire = vec![spec::BOF];
    for byte in plain {
        match byte {
            spec::BOF | spec::EOF | spec::ESCAPE => {
                wire.extend([spec::ESCAPE, byte ^ spec::FLIP]);
            }
            byte => wire.push(byte),
        }
    }
    wire.push(spec::EOF);
    wire
}

/// The register of CRC-16/X-25 after these bytes, without the final inversion.
fn register(bytes: &[u8]) -> u16 {
    bytes.iter().fold(spec::INITIAL, |register, &byte| {
        (0..8).fold(register ^ u16::from(byte), |register, _| match register & 1 {
            1 => register >> 1 ^ spec::POLYNOMIAL,
            _ => register >> 1,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::{collection::vec, prelude::*};

    fn frames(chunks: &[&[u8]]) -> Vec<Result<Vec<u8>, FrameError>> {
        let mut decoder = Decoder::default();
        chunks.iter().flat_map(|chunk| decoder.decode(chunk).collect::<Vec<_>>()).collect()
    }

    fn good(chunks: &[&[u8]]) -> Vec<Vec<u8>> {
        frames(chunks).into_iter().flatten().collect()
    }

    /// Sheet §4, check values.
    #[test]
    fn the_check_sequence_is_that_of_the_published_examples() {
        for (bytes, expected) in [
            (&b"123456789"[..], [0x6E, 0x90]),
            (&[0x3A, 0x71], [0x9B, 0x26]),
            (&[0x3A, 0x91], [0x95, 0xC1]),
            (&[0x11, 0x01, 0x00, 0x04, 0xC0, 0x7D, 0xC1, 0x01], [0xF4, 0x6D]),
        ] {
            assert_eq!((!register(bytes)).to_le_bytes(), expected, "{bytes:02x?}");
            assert_eq!(register(&[bytes, &expected].concat()), spec::RESIDUE);
        }
    }

    #[test]
    fn what_framing_uses_is_escaped_in_data() {
        let wire = frame(&[0xC0, 0x7D, 0xC1, 0x01]);
        let torture = [
            0xC0, 0x11, 0x01, 0x00, 0x04, 0x7D, 0xE0, 0x7D, 0x5D, 0x7D, 0xE1, 0x01, 0xF4, 0x6D,
            0xC1,
        ];
        assert_eq!(wire, torture);
        assert_eq!(good(&[&wire]), [[0xC0, 0x7D, 0xC1, 0x01]]);
    }

    #[test]
    fn a_frame_that_is_aborted_or_cut_off_is_dropped_and_the_next_is_found() {
        let wire = frame(&[1, 2, 3]);
        let aborted = [&wire[..6], &[0x7D, 0xC1], &wire].concat();
        assert_eq!(frames(&[&aborted]), [Err(FrameError::Aborted), Ok(vec![1, 2, 3])]);
        let cut = [&wire[..6], &wire].concat();
        assert_eq!(frames(&[&cut]), [Err(FrameError::CutOff { len: 5 }), Ok(vec![1, 2, 3])]);
        let noise = [&[0xC1, 0x7D, 0x11][..], &wire].concat();
        assert_eq!(frames(&[&noise]), [Err(FrameError::Noise { count: 3 }), Ok(vec![1, 2, 3])]);
    }

    #[test]
    fn a_length_that_does_not_reach_the_end_is_refused() {
        // The check sequence is right: 11 01 00 03 with two bytes of user data.
        let mut plain = vec![0x11, 0x01, 0x00, 0x03, 0x0A, 0x0B];
        plain.extend((!register(&plain)).to_le_bytes());
        let wire = [&[0xC0][..], &plain, &[0xC1]].concat();
        assert_eq!(frames(&[&wire]), [Err(FrameError::Length { said: 3, found: 2 })]);
        assert_eq!(frames(&[&[0xC0, 0xC1]]), [Err(FrameError::Checksum { len: 0 })]);
    }

    fn likely_byte() -> impl Strategy<Value = u8> {
        let framing = vec![0xC0, 0xC1, 0x7D, 0x11, 0x01, 0x00, 0x04];
        prop_oneof![prop::sample::select(framing), any::<u8>()]
    }

    proptest! {
        #[test]
        fn cutting_does_not_matter(
            user_data in vec(likely_byte(), 0..60),
            noise in vec(likely_byte(), 0..20),
            cut in 0usize..200,
        ) {
            let bytes = [&frame(&user_data), &noise[..], &frame(&user_data)].concat();
            let cut = cut.min(bytes.len());
            prop_assert_eq!(good(&[&bytes]), good(&[&bytes[..cut], &bytes[cut..]]));
        }

        #[test]
        fn a_good_frame_after_any_noise_is_found(
            noise in vec(likely_byte(), 0..60),
            user_data in vec(likely_byte(), 0..60),
        ) {
            let bytes = [&noise[..], &frame(&user_data)].concat();
            prop_assert_eq!(good(&[&bytes]).pop(), Some(user_data));
        }

        #[test]
        fn a_damaged_byte_never_gives_another_message(
            user_data in vec(likely_byte(), 0..60),
            at in any::<prop::sample::Index>(),
            damage in 1u8..,
        ) {
            let mut bytes = frame(&user_data);
            let at = at.index(bytes.len());
            bytes[at] ^= damage;
            let mut other = good(&[&bytes]);
            other.retain(|found| *found != user_data);
            prop_assert!(other.is_empty(), "{:?}", other);
        }

        #[test]
        fn what_stays_buffered_is_bounded(
            bytes in vec(prop_oneof![10 => any::<u8>(), 1 => Just(0xC0u8)], 0..2_000),
        ) {
            let mut decoder = Decoder::default();
            decoder.decode(&bytes).for_each(drop);
            prop_assert!(decoder.incoming.is_empty());
            prop_assert!(decoder.frame.len() <= spec::FRAME_LEN_MAX);
        }
    }

    #[test]
    fn a_frame_without_an_end_is_given_up() {
        let mut decoder = Decoder::default();
        for _ in 0..100 {
            decoder.decode(&[0xC0, 0x11]).for_each(drop);
            decoder.decode(&[0x11; 1000]).for_each(drop);
            assert!(decoder.frame.len() <= spec::FRAME_LEN_MAX);
        }
        let endless = [&[0xC0][..], &vec![0x11; 9000], &frame(&[7])].concat();
        let found = frames(&[&endless]);
        assert_eq!(found.first(), Some(&Err(FrameError::TooLong)));
        assert_eq!(found.last(), Some(&Ok(vec![7])));
    }
}
