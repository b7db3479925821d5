//! Codec of the B. Braun BCC protocol: bytes to frames, answers to entries, nothing more.
//!
//! Read first: B. Braun "Technical Interface Specification BCC", I0022_000030 issue 4.0.

use std::fmt;
use thiserror::Error;

/// Facts from the protocol sheet. No number of the protocol stands anywhere else.
mod spec {
    /// "SOH length STX bedId "/1/1>" information ETX|ETB check EOT", §3.
    pub(super) const SOH: u8 = 0x01;
    pub(super) const STX: u8 = 0x02;
    pub(super) const ETX: u8 = 0x03;
    pub(super) const EOT: u8 = 0x04;
    pub(super) const ETB: u8 = 0x17;
    /// "Records separated by RS 0x1E", §3.
    pub(super) const RS: char = '\u{1e}';
    /// "Bare bytes outside a frame: ACK 0x06 and NAK 0x15", §3.
    pub(super) const ACK: u8 = 0x06;
    pub(super) const NAK: u8 = 0x15;
    /// "Five decimal digits", §3.
    pub(super) const DIGITS: usize = 5;
    /// "Suffix "/1/1>" is constant and not part of" the bed-ID, §3.
    pub(super) const BED_SUFFIX: &str = "/1/1";
    pub(super) const BED_END: char = '>';
    /// "BedId: 1–15 ASCII characters", §3.
    pub(super) const BED_LEN_MAX: usize = 15;
    /// "length = 19 + len(bedId) + len(information)", §3.
    pub(super) const OVERHEAD: usize = 19;
    /// "Cap at 64 KiB", §10.
    pub(super) const FRAME_LEN_MAX: usize = 64 * 1024;
    /// "D→EX, E→EE, d→ex, e→ee", §3.1.
    pub(super) const STUFFING: [(u8, [u8; 2]); 4] =
        [(b'D', *b"EX"), (b'E', *b"EE"), (b'd', *b"ex"), (b'e', *b"ee")];
    /// "501xy: x pillar 0–3, y slot 1–9 then A–O", §5.1.
    pub(super) const ADDRESS_PREFIX: &str = "501";
    pub(super) const PLACES: &str = "123456789ABCDEFGHIJKLMNO";
}

/// "After each good block send ACK", §6.3.
pub const ACK: u8 = spec::ACK;
/// "Bad block → NAK: the same block is repeated", §6.4.
pub const NAK: u8 = spec::NAK;

/// One block.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Frame {
    /// Whose block it is; later requests must carry it.
    pub bed_id: String,
    /// More blocks of this answer follow.
    pub more: bool,
    /// A request, or entries of an answer.
    pub information: String,
    /// Whether the letters were stuffed, where a block shows it.
    pub stuffed: Option<bool>,
}

/// Why bytes gave no frame.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum FrameError {
    /// Bytes outside a block.
    #[error("{count} bytes are no block; check speed and cable if this repeats (9600 8N1)")]
    Noise {
        /// How many were skipped.
        count: usize,
    },
    /// A block that broke off, or grew over every limit.
    #[error("a block broke off after {count} bytes; it is asked for again")]
    CutOff {
        /// How many were skipped.
        count: usize,
    },
    /// Length and size differ, with and without stuffing.
    #[error("a block of {size} bytes says it has {length}; it is asked for again")]
    Length {
        /// As the block says.
        length: usize,
        /// As received.
        size: usize,
    },
    /// Wrong sum.
    #[error("checksum is {got}, computed {want}; the block is asked for again")]
    Checksum {
        /// As received.
        got: u8,
        /// As computed.
        want: u8,
    },
    /// Not built like a block.
    #[error("a block of {size} bytes is not built like one; it is asked for again")]
    Form {
        /// As received.
        size: usize,
    },
}

/// Cuts a byte stream into blocks, stuffed or not.
///
/// Invariant: never more than one longest block of bytes stays buffered.
#[derive(Debug, Default)]
pub struct Decoder {
    /// Empty, or SOH and what follows it.
    block: Vec<u8>,
    noise: usize,
}

impl Decoder {
    /// Takes `bytes` in and yields every frame or error they complete.
    ///
    /// An iterator dropped early loses the bytes it did not look at.
    pub fn decode(&mut self, bytes: &[u8]) -> impl Iterator<Item = Result<Frame, FrameError>> {
        let mut bytes = bytes.iter();
        let mut ended = false;
        std::iter::from_fn(move || {
            loop {
                match bytes.next() {
                    Some(&byte) => {
                        if let Some(found) = self.push(byte) {
                            return Some(found);
                        }
                    }
                    None if !ended => {
                        ended = true;
                        let count = std::mem::take(&mut self.noise);
                        if count > 0 {
                            return Some(Err(FrameError::Noise { count }));
                        }
                    }
                    None => return None,
                }
            }
        })
    }

    /// Drops a block that never became whole; how many bytes of it had come.
    pub fn give_up(&mut self) -> usize {
        std::mem::take(&mut self.block).len()
    }

    /// Whether a block has begun and is not whole.
    #[must_use]
    pub fn is_inside(&self) -> bool {
        !self.block.is_empty()
    }

    fn push(&mut self, byte: u8) -> Option<Result<Frame, FrameError>> {
        match byte {
            // "A new SOH before EOT aborts the old one", §10.
            spec::SOH => {
                let count = std::mem::replace(&mut self.block, vec![byte]).len();
                (count > 0).then_some(Err(FrameError::CutOff { count }))
            }
            _ if self.block.is_empty() => {
                self.noise += 1;
                None
            }
            spec::EOT => {
                self.block.push(byte);
                Some(frame(&std::mem::take(&mut self.block)))
            }
            _ => {
                self.block.push(byte);
                let full = self.block.len() >= spec::FRAME_LEN_MAX;
                full.then(|| Err(FrameError::CutOff { count: self.give_up() }))
            }
        }
    }
}

/// What bytes begin with.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Shape {
    /// A good block, stuffed or not.
    Block { stuffed: bool },
    /// Bytes that are no good block.
    Bad,
}

/// What the bytes begin with and how long it is, cut as the decoder cuts; `None` if a block goes on.
pub(super) fn first_block(bytes: &[u8]) -> Option<(usize, Shape)> {
    if bytes.first() != Some(&spec::SOH) {
        let noise = bytes.iter().position(|byte| *byte == spec::SOH);
        return Some((noise.unwrap_or(bytes.len()), Shape::Bad));
    }
    let ends = |byte: &u8| matches!(*byte, spec::SOH | spec::EOT);
    let end = bytes.iter().take(spec::FRAME_LEN_MAX).skip(1).position(ends).map(|at| at + 1);
    match end {
        None if bytes.len() < spec::FRAME_LEN_MAX => None,
        None => Some((spec::FRAME_LEN_MAX, Shape::Bad)),
        Some(end) if bytes.get(end) == Some(&spec::SOH) => Some((end, Shape::Bad)),
        Some(end) => {
            let found = frame(bytes.get(..=end)?);
            let good = |frame: Frame| Shape::Block { stuffed: frame.stuffed == Some(true) };
            Some((end + 1, found.map_or(Shape::Bad, good)))
        }
    }
}

/// A good block with what `change` makes of its information, which must be as long; `None` if it
/// is no good block.
pub(super) fn with_information(
    block: &[u8],
    stuffed: bool,
    change: impl FnOnce(&[u8]) -> Vec<u8>,
) -> Option<Vec<u8>> {
    let plain = if stuffed { destuff(block)? } else { block.to_vec() };
    let start = plain.iter().position(|byte| char::from(*byte) == spec::BED_END)? + 1;
    // The end of the text, the check digits, EOT.
    let end = plain.len().checked_sub(spec::DIGITS + 2)?;
    let information = change(plain.get(start..end)?);
    let mut changed = [plain.get(..start)?, &information, plain.get(end..=end)?].concat();
    assert_eq!(changed.len(), end + 1, "what is hidden has its length");
    changed.extend(format!("{:05}", sum(&changed)).into_bytes());
    changed.push(spec::EOT);
    Some(if stuffed { stuff(&changed) } else { changed })
}

/// "A receiver can auto-detect: if an answer fails unstuffed, try destuffed", §3.1.
fn frame(bytes: &[u8]) -> Result<Frame, FrameError> {
    match plain_frame(bytes) {
        Ok(mut frame) => {
            // A plain block with one of the letters cannot be a stuffed one.
            let letter = |byte: &u8| spec::STUFFING.iter().any(|(plain, _)| plain == byte);
            frame.stuffed = bytes.iter().any(letter).then_some(false);
            Ok(frame)
        }
        Err(error) => {
            let destuffed = destuff(bytes).filter(|plain| plain.len() < bytes.len());
            let mut frame = plain_frame(&destuffed.ok_or(error)?)?;
            frame.stuffed = Some(true);
            Ok(frame)
        }
    }
}

fn plain_frame(bytes: &[u8]) -> Result<Frame, FrameError> {
    let size = bytes.len();
    let form = FrameError::Form { size };
    let (covered, check) = match bytes {
        [covered @ .., a, b, c, d, e, spec::EOT] => (covered, [*a, *b, *c, *d, *e]),
        _ => return Err(form),
    };
    let (length, text, end) = match covered {
        [spec::SOH, a, b, c, d, e, spec::STX, text @ .., end] => ([*a, *b, *c, *d, *e], text, *end),
        _ => return Err(form),
    };
    let length = digits(length).ok_or(form)?;
    if length != size {
        return Err(FrameError::Length { length, size });
    }
    let got = digits(check).and_then(|check| u8::try_from(check).ok()).ok_or(form)?;
    let want = sum(covered);
    if got != want {
        return Err(FrameError::Checksum { got, want });
    }
    let more = match end {
        spec::ETX => false,
        spec::ETB => true,
        _ => return Err(form),
    };
    // Drug names are UTF-8; a name that is not stays readable but for its bad letters.
    let text = String::from_utf8_lossy(text);
    let (bed, information) = text.split_once(spec::BED_END).ok_or(form)?;
    let bed_id = bed.strip_suffix(spec::BED_SUFFIX).ok_or(form)?;
    let known = |byte: u8| matches!(byte, 0x2F..=0x39 | 0x41..=0x7A);
    if !(1..=spec::BED_LEN_MAX).contains(&bed_id.len()) || !bed_id.bytes().all(known) {
        return Err(form);
    }
    let (bed_id, information) = (bed_id.to_owned(), information.to_owned());
    Ok(Frame { bed_id, more, information, stuffed: None })
}

fn digits(bytes: [u8; spec::DIGITS]) -> Option<usize> {
    let all = bytes.iter().all(u8::is_ascii_digit);
    all.then(|| bytes.iter().fold(0, |value, byte| value * 10 + usize::from(byte - b'0')))
}

/// "Sum of all bytes from SOH to ETX/ETB inclusive, modulo 256", §4.
fn sum(covered: &[u8]) -> u8 {
    covered.iter().fold(0, |sum: u8, &byte| sum.wrapping_add(byte))
}

/// "In one left-to-right pass: EEX is EX, not ED", §3.1. `None` if a pair is none.
fn destuff(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut plain = Vec::with_capacity(bytes.len());
    let mut rest = bytes.iter().copied();
    while let Some(byte) = rest.next() {
        if !spec::STUFFING.iter().any(|(_, pair)| pair.first() == Some(&byte)) {
            plain.push(byte);
            continue;
        }
        let pair = [byte, rest.next()?];
        plain.push(spec::STUFFING.iter().find(|(_, stuffed)| *stuffed == pair)?.0);
    }
    Some(plain)
}

/// "Build, checksum, then stuff the complete frame", §3.1.
pub(super) fn stuff(bytes: &[u8]) -> Vec<u8> {
    let mut stuffed = Vec::with_capacity(bytes.len());
    for byte in bytes {
        match spec::STUFFING.iter().find(|(plain, _)| plain == byte) {
            Some((_, pair)) => stuffed.extend(pair),
            None => stuffed.push(*byte),
        }
    }
    stuffed
}

/// What we ask.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Request {
    /// Opens the session.
    Alive,
    /// Protocol version.
    Version,
    /// All parameters of all pumps.
    Get,
    /// All parameters of one pump.
    Slot(Slot),
}

/// A request as it goes on the wire.
#[must_use]
pub fn request(bed_id: &str, request: Request, stuffed: bool) -> Vec<u8> {
    let information = match request {
        Request::Alive => "ADMIN:ALIVE".to_owned(),
        Request::Version => "ADMIN:VERSION".to_owned(),
        Request::Get => "MEM:GET".to_owned(),
        Request::Slot(slot) => format!("MEM:GETSLOT#{slot}"),
    };
    let length = spec::OVERHEAD + bed_id.len() + information.len();
    let mut bytes = vec![spec::SOH];
    bytes.extend(format!("{length:05}").into_bytes());
    bytes.push(spec::STX);
    let text = format!("{bed_id}{}{}{information}", spec::BED_SUFFIX, spec::BED_END);
    bytes.extend(text.into_bytes());
    bytes.push(spec::ETX);
    bytes.extend(format!("{:05}", sum(&bytes)).into_bytes());
    bytes.push(spec::EOT);
    if stuffed { stuff(&bytes) } else { bytes }
}

/// One entry of an answer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Entry {
    /// Seconds since the station was switched on.
    pub time: u32,
    /// Which pump it is about; `None`: the whole system.
    pub slot: Option<Slot>,
    /// Name of the parameter.
    pub parameter: String,
    /// Its value; empty where there is none.
    pub value: String,
}

/// A place in the station: pillar and slot, `11` the lowest of the first pillar.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Slot {
    pillar: char,
    place: char,
}

impl Slot {
    /// The place with that name, as in an address: `11`, `3O`; with a decimal slot `112`.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        let mut letters = name.chars();
        let pillar = letters.next().filter(|pillar| ('0'..='3').contains(pillar))?;
        let place = match letters.as_str() {
            letter if letter.len() == 1 => {
                letters.next().filter(|place| spec::PLACES.contains(*place))?
            }
            // "A six-digit variant with a decimal slot (501112 = pillar 1 slot 12)", §5.1.
            number if number.len() == 2 && number.bytes().all(|byte| byte.is_ascii_digit()) => {
                let number: usize = number.parse().ok()?;
                spec::PLACES.chars().nth(number.checked_sub(1)?)?
            }
            _ => return None,
        };
        Some(Self { pillar, place })
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}{}", self.pillar, self.place)
    }
}

/// The entries of an answer; `None` for what is none.
pub fn entries(information: &str) -> impl Iterator<Item = Option<Entry>> {
    information.split(spec::RS).map(entry)
}

/// "Each `time,address,parameter,value`; split at the first three commas only", §5.1.
pub(super) fn entry(text: &str) -> Option<Entry> {
    let mut parts = text.splitn(4, ',');
    let time = parts.next()?.parse().ok()?;
    let slot = slot(parts.next()?)?;
    let parameter = parts.next()?.to_owned();
    // Pump models may end with CR.
    let value = parts.next().unwrap_or_default().trim_end_matches('\r').to_owned();
    Some(Entry { time, slot, parameter, value })
}

/// `Some(None)` for the whole system, `None` for what is no address.
fn slot(address: &str) -> Option<Option<Slot>> {
    match address.strip_prefix(spec::ADDRESS_PREFIX)? {
        "00" => Some(None),
        place => Slot::from_name(place).map(Some),
    }
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

    /// A block with that information, plain.
    pub(in crate::serial::bcc) fn block(bed_id: &str, information: &str, more: bool) -> Vec<u8> {
        let length = spec::OVERHEAD + bed_id.len() + information.len();
        let end = if more { '\u{17}' } else { '\u{3}' };
        let text = format!("\u{1}{length:05}\u{2}{bed_id}/1/1>{information}{end}");
        let check = sum(text.as_bytes());
        format!("{text}{check:05}\u{4}").into_bytes()
    }

    #[test]
    fn stuffing_is_undone_from_left_to_right() {
        assert_eq!(destuff(b"EEX"), Some(b"EX".to_vec()));
        assert_eq!(destuff(b"EXexeeX"), Some(b"DdeX".to_vec()));
        assert_eq!(destuff(b"EA"), None);
        assert_eq!(stuff(b"DEde"), b"EXEEexee");
    }

    #[test]
    fn a_block_shows_whether_it_is_stuffed() {
        let plain = block("WARD3BED2", "207,50100,GNACK,0", false);
        assert_eq!(good(&[&plain])[0].stuffed, Some(false));
        assert_eq!(good(&[&stuff(&plain)])[0].stuffed, Some(true));
        let letterless = block("7", "207,50100,GNACK,0", false);
        assert_eq!(good(&[&letterless])[0].stuffed, None);
    }

    #[test]
    fn plain_text_that_looks_stuffed_is_left_alone() {
        let bytes = block("1", "1,50111,INSOL,DEXTROSE EEX", false);
        assert!(good(&[&bytes])[0].information.ends_with("DEXTROSE EEX"));
        assert_eq!(good(&[&stuff(&bytes)])[0].information, good(&[&bytes])[0].information);
    }

    #[test]
    fn a_new_block_ends_one_that_broke_off() {
        let bytes = block("1", "1,50100,GNACK,0", false);
        let found = frames(&[&bytes[..20], &bytes]);
        assert_eq!(found[0], Err(FrameError::CutOff { count: 20 }));
        assert!(found[1].is_ok());
    }

    #[test]
    fn damaged_blocks_are_refused() {
        let bytes = block("1", "1,50100,GNACK,0", false);
        let damaged = |at: usize, byte: u8| {
            let mut bytes = bytes.clone();
            bytes[at] = byte;
            frames(&[&bytes])[0].clone().unwrap_err()
        };
        assert_eq!(damaged(5, b'6'), FrameError::Length { length: 36, size: 35 });
        assert!(matches!(damaged(20, b'x'), FrameError::Checksum { .. }));
        assert!(matches!(damaged(6, b' '), FrameError::Form { .. }));
        assert_eq!(frames(&[&[4, 6, 7]]), [Err(FrameError::Noise { count: 3 })]);
    }

    /// A sum modulo 256 over what was stuffed does not see this: Y and D weigh as much as E and X.
    #[test]
    fn one_damage_of_a_stuffed_block_in_many_stays_unseen() {
        let bytes = stuff(&block("1", "1,50111,INSOL,YD", false));
        let at = bytes.windows(3).position(|letters| letters == b"YEX").unwrap();
        let mut damaged = bytes.clone();
        damaged[at] = b'E';
        assert!(good(&[&damaged])[0].information.ends_with("EX"));
    }

    #[test]
    fn addresses_name_pillar_and_slot() {
        let named = |address: &str| {
            entry(&format!("1,{address},P,V")).map(|entry| entry.slot.map(|slot| slot.to_string()))
        };
        let place = |name: &str| Some(Some(name.to_owned()));
        assert_eq!(named("50100"), Some(None));
        assert_eq!(named("50111"), place("11"));
        assert_eq!(named("5013O"), place("3O"));
        assert_eq!(named("501112"), place("1C"));
        for bad in ["50110", "50141", "5011P", "501199", "501100", "50211", "501", "5011é"] {
            assert_eq!(named(bad), None, "{bad}");
        }
    }

    #[test]
    fn values_may_hold_commas_and_be_absent() {
        let read = |text: &str| entry(text).unwrap().value;
        assert_eq!(read("1,50111,INSOL,NaCl 0,9%"), "NaCl 0,9%");
        assert_eq!(read("1,50100,V3.30"), "");
        assert_eq!(read("1,50111,GNMODEL,688N\r"), "688N");
        assert_eq!(entry("x,50111,INRT,5"), None);
    }

    proptest! {
        #[test]
        fn stuffing_loses_nothing(
            bytes in vec(prop_oneof![Just(b'E'), Just(b'X'), Just(b'd'), any::<u8>()], 0..100),
        ) {
            prop_assert_eq!(destuff(&stuff(&bytes)), Some(bytes));
        }

        #[test]
        fn cutting_does_not_matter(
            information in "[ -~]{0,80}", stuffed in any::<bool>(), cut in 0_usize..100,
        ) {
            let plain = block("WARD3BED2", &information, false);
            let bytes = if stuffed { stuff(&plain) } else { plain };
            let (head, tail) = bytes.split_at(cut.min(bytes.len()));
            prop_assert_eq!(good(&[&bytes]), good(&[head, tail]));
            prop_assert_eq!(&good(&[&bytes])[0].information, &information);
        }

        #[test]
        fn a_good_block_after_any_noise_is_found(
            noise in vec(prop_oneof![Just(1_u8), Just(4), any::<u8>()], 0..100),
            stuffed in any::<bool>(),
        ) {
            let plain = block("WARD3BED2", "230,50111,INRT,5.00", false);
            let bytes = if stuffed { stuff(&plain) } else { plain.clone() };
            let found = good(&[&noise, &bytes]);
            prop_assert_eq!(found.last().cloned(), good(&[&bytes]).pop());
        }

        #[test]
        fn a_damaged_byte_gives_no_other_block_and_hides_no_good_one(
            information in "[ -~]{0,80}", at in 0_usize..100, flip in 1_u8..,
        ) {
            let bytes = block("WARD3BED2", &information, false);
            let mut damaged = bytes.clone();
            let at = at % damaged.len();
            damaged[at] ^= flip;
            prop_assert_eq!(good(&[&damaged, &bytes]), good(&[&bytes]));
        }

        #[test]
        fn what_stays_buffered_is_bounded(byte in 5_u8..) {
            let mut decoder = Decoder::default();
            let bytes = [vec![1], vec![byte; 70_000]].concat();
            decoder.decode(&bytes).for_each(drop);
            prop_assert!(decoder.block.len() < spec::FRAME_LEN_MAX);
        }

        #[test]
        fn no_bytes_make_it_panic(
            bytes in vec(prop_oneof![Just(1_u8), Just(4), Just(b'0'), any::<u8>()], 0..300),
        ) {
            for frame in good(&[&bytes]) {
                entries(&frame.information).for_each(drop);
            }
        }
    }
}
