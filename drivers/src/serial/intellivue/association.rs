//! Session messages: how the host asks for an association, what it is granted, how it ends.
//!
//! Read first: the protocol sheet, §6.1, §6.2 and §9.
//!
//! The presentation layer is a constant for this use; the host's bytes are those of the public
//! client xeonfusion/VSCaptureMP, which works with real monitors.

use super::{attributes::Attributes, reader::Reader};
use std::time::Duration;

/// Facts from the sheet. No number of the session messages stands anywhere else.
mod spec {
    /// First byte of a message, §6.
    pub(super) const REQUEST: u8 = 0x0D;
    pub(super) const ACCEPT: u8 = 0x0E;
    pub(super) const REFUSE: u8 = 0x0C;
    pub(super) const RELEASE_RESPONSE: u8 = 0x0A;
    pub(super) const ABORT: u8 = 0x19;
    pub(super) const DATA_EXPORT: u8 = 0xE1;
    /// Session header of a request, between its length and the presentation layer, §6.1.
    pub(super) const SESSION: [u8; 14] =
        [0x05, 0x08, 0x13, 0x01, 0x00, 0x16, 0x01, 0x02, 0x80, 0x00, 0x14, 0x02, 0x00, 0x02];
    pub(super) const PRESENTATION: u8 = 0xC1;
    /// "The presentation header is a constant (131 bytes)", §6.1; example 9.1.
    pub(super) const REQUEST_HEADER: [u8; 131] = [
        0x31, 0x80, 0xA0, 0x80, 0x80, 0x01, 0x01, 0x00, 0x00, 0xA2, 0x80, 0xA0, 0x03, 0x00, 0x00,
        0x01, 0xA4, 0x80, 0x30, 0x80, 0x02, 0x01, 0x01, 0x06, 0x04, 0x52, 0x01, 0x00, 0x01, 0x30,
        0x80, 0x06, 0x02, 0x51, 0x01, 0x00, 0x00, 0x00, 0x00, 0x30, 0x80, 0x02, 0x01, 0x02, 0x06,
        0x0C, 0x2A, 0x86, 0x48, 0xCE, 0x14, 0x02, 0x01, 0x00, 0x00, 0x00, 0x01, 0x01, 0x30, 0x80,
        0x06, 0x0C, 0x2A, 0x86, 0x48, 0xCE, 0x14, 0x02, 0x01, 0x00, 0x00, 0x00, 0x02, 0x01, 0x00,
        0x00, 0x00, 0x00, 0x00, 0x00, 0x61, 0x80, 0x30, 0x80, 0x02, 0x01, 0x01, 0xA0, 0x80, 0x60,
        0x80, 0xA1, 0x80, 0x06, 0x0C, 0x2A, 0x86, 0x48, 0xCE, 0x14, 0x02, 0x01, 0x00, 0x00, 0x00,
        0x03, 0x01, 0x00, 0x00, 0xBE, 0x80, 0x28, 0x80, 0x06, 0x0C, 0x2A, 0x86, 0x48, 0xCE, 0x14,
        0x02, 0x01, 0x00, 0x00, 0x00, 0x01, 0x01, 0x02, 0x01, 0x02, 0x81,
    ];
    /// "Locate the last 02 01 02 81 (or 28 80 81) of the presentation header", §6.2.
    pub(super) const HEADER_ENDS: [&[u8]; 2] = [&[0x02, 0x01, 0x02, 0x81], &[0x28, 0x80, 0x81]];
    /// "16 × 00" at the end, §6.1.
    pub(super) const TRAILER: [u8; 16] = [0; 16];
    /// MDSE user info, §6.1: protocol and nomenclature version, functional units, client, cold
    /// start; an empty option list.
    pub(super) const USER_INFO: [u32; 5] = [0x8000_0000, 0x4000_0000, 0, 0x8000_0000, 0x2000_0000];
    pub(super) const NO_OPTIONS: [u8; 4] = [0; 4];
    pub(super) const POLL_PROFILE: u16 = 0x0001;
    pub(super) const EXTENDED_POLL_PROFILE: u16 = 0xF001;
    pub(super) const OBJECT_SUPPORT: u16 = 0x0102;
    /// Poll profile, §6.1: revision, minimum poll period, MTU to receive and to send, bandwidth,
    /// dynamic create and delete. Example 9.1.
    pub(super) const POLL: [u32; 6] = [0x8000_0000, 4000, 1456, 1456, 0xFFFF_FFFF, 0x6000_0000];
    /// "Option bits": numerics every second, waves, enumerations, numeric priority list; 9.1.
    pub(super) const EXTENDED_OPTIONS: u32 = 0x8E00_0000;
    /// "0x08000000 real-time waves", §6.1.
    pub(super) const WAVES: u32 = 0x0800_0000;
    /// Objects and how many of each: MDS, numerics, waves, enumerations, demographics, alerts; 9.1.
    pub(super) const OBJECTS: [(u16, u32); 6] =
        [(0x21, 1), (0x06, 201), (0x09, 60), (0x05, 16), (0x2A, 1), (0x36, 1)];
    /// "Partition 1 = objects", §5.
    pub(super) const PARTITION: u16 = 1;
    /// Release request, §9.9.
    pub(super) const RELEASE_MESSAGE: [u8; 26] = [
        0x09, 0x18, 0xC1, 0x16, 0x61, 0x80, 0x30, 0x80, 0x02, 0x01, 0x01, 0xA0, 0x80, 0x62, 0x80,
        0x80, 0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    ];
    /// Abort, §9.9.
    pub(super) const ABORT_MESSAGE: [u8; 48] = [
        0x19, 0x2E, 0x11, 0x01, 0x03, 0xC1, 0x29, 0xA0, 0x80, 0xA0, 0x80, 0x30, 0x80, 0x02, 0x01,
        0x01, 0x06, 0x02, 0x51, 0x01, 0x00, 0x00, 0x00, 0x00, 0x61, 0x80, 0x30, 0x80, 0x02, 0x01,
        0x01, 0xA0, 0x80, 0x64, 0x80, 0x80, 0x01, 0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
        0x00, 0x00, 0x00,
    ];
    /// "P < 3.3 s → 10 s; P < 43 s → 3 × P; else 130 s", §7.5; ticks of 125 µs.
    pub(super) const TICKS_A_SECOND: u32 = 8000;
    pub(super) const SHORT_PERIOD: u32 = 26_400;
    pub(super) const LONG_PERIOD: u32 = 344_000;
}

/// What kind of message it is; what a data-export message says is in [`super::data_export`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Session {
    /// The association stands. `None` where the granted profile could not be read.
    Accept(Option<Granted>),
    /// The monitor wants no association now.
    Refuse,
    /// An association ended, as asked for.
    Released,
    /// The monitor ended the association.
    Abort,
    /// A data-export message.
    Data,
    /// Something else; its first byte.
    Unknown(u8),
}

/// What the monitor grants.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Granted {
    /// Shortest time between two polls, ticks of 125 µs.
    pub min_poll_ticks: u32,
    /// Longest message from the monitor in bytes; longer answers are split.
    pub mtu: u32,
    /// Option bits of the extended poll; 0 where it is not offered.
    pub extended_options: u32,
}

impl Granted {
    /// Whether waves may be asked for.
    #[must_use]
    pub const fn waves(self) -> bool {
        self.extended_options & spec::WAVES != 0
    }

    /// How long the monitor waits for a word from the host before it ends the association.
    #[must_use]
    pub fn time_limit(self) -> Duration {
        let period = Duration::from_millis(u64::from(self.min_poll_ticks) / 8);
        match self.min_poll_ticks {
            ..spec::SHORT_PERIOD => Duration::from_secs(10),
            spec::SHORT_PERIOD..spec::LONG_PERIOD => period * 3,
            _ => Duration::from_secs(130),
        }
    }
}

impl Default for Granted {
    /// What is assumed of a monitor that accepts and says no more: the shortest time limit.
    fn default() -> Self {
        let extended_options = spec::EXTENDED_OPTIONS;
        Self { min_poll_ticks: spec::TICKS_A_SECOND, mtu: 1000, extended_options }
    }
}

/// Says what kind of message the user data of a frame is.
#[must_use]
pub fn decode(user_data: &[u8]) -> Session {
    match user_data.first().copied().unwrap_or_default() {
        spec::ACCEPT => Session::Accept(granted(user_data)),
        spec::REFUSE => Session::Refuse,
        spec::RELEASE_RESPONSE => Session::Released,
        spec::ABORT => Session::Abort,
        spec::DATA_EXPORT => Session::Data,
        other => Session::Unknown(other),
    }
}

/// The profile in an accept message: the first place after what ends a presentation header where
/// one can be read.
fn granted(user_data: &[u8]) -> Option<Granted> {
    (0..user_data.len()).find_map(|start| {
        let rest = user_data.get(start..)?;
        let after = spec::HEADER_ENDS.iter().find_map(|end| rest.strip_prefix(*end))?;
        user_info(Reader::new(after))
    })
}

fn user_info(mut reader: Reader<'_>) -> Option<Granted> {
    let len = asn_length(&mut reader)?;
    let mut info = Reader::new(reader.take(len)?);
    let [version, ..] = spec::USER_INFO;
    if info.u32()? != version {
        return None;
    }
    info.take(4 * (spec::USER_INFO.len() - 1))?;
    Attributes::read(&mut info)?;
    let profiles = Attributes::read(&mut info)?;
    let mut poll = profiles.get(spec::POLL_PROFILE)?;
    let [_, min_poll_ticks, _, mtu, _, _] = [(); 6].map(|()| poll.u32());
    let packages = Attributes::read(&mut poll).unwrap_or_default();
    let options = packages.get(spec::EXTENDED_POLL_PROFILE).and_then(|mut option| option.u32());
    Some(Granted {
        min_poll_ticks: min_poll_ticks?,
        mtu: mtu?,
        extended_options: options.unwrap_or_default(),
    })
}

/// "1 byte if < 128, else 0x80+n followed by n length bytes", §5.
fn asn_length(reader: &mut Reader<'_>) -> Option<usize> {
    match reader.u8()? {
        0x81 => reader.u8().map(usize::from),
        0x82 => reader.u16().map(usize::from),
        short @ 0..=0x7F => Some(short.into()),
        _ => None,
    }
}

/// Asks for an association.
#[must_use]
pub fn request() -> Vec<u8> {
    let words =
        |words: &[u32]| words.iter().flat_map(|word| word.to_be_bytes()).collect::<Vec<_>>();
    let extended = [words(&[spec::EXTENDED_OPTIONS]), spec::NO_OPTIONS.to_vec()].concat();
    let packages = list(&[attribute(spec::EXTENDED_POLL_PROFILE, &extended)]);
    let poll = [words(&spec::POLL), packages].concat();
    let objects: Vec<Vec<u8>> = spec::OBJECTS
        .iter()
        .map(|(code, instances)| {
            let object = [spec::PARTITION, *code].map(u16::to_be_bytes).concat();
            [object, words(&[*instances])].concat()
        })
        .collect();
    let profiles = list(&[
        attribute(spec::POLL_PROFILE, &poll),
        attribute(spec::OBJECT_SUPPORT, &list(&objects)),
    ]);
    let info = [words(&spec::USER_INFO), spec::NO_OPTIONS.to_vec(), profiles].concat();
    // "ASNLength = 82 00 80", §9.1: always the long form.
    let info = [&[0x82][..], &len16(info.len()), &info].concat();
    let presentation = [&spec::REQUEST_HEADER[..], &info, &spec::TRAILER].concat();
    let head = [&spec::SESSION[..], &[spec::PRESENTATION]].concat();
    let session = [&head[..], &long_li(presentation.len()), &presentation].concat();
    [&[spec::REQUEST][..], &long_li(session.len()), &session].concat()
}

/// "1 byte if < 255, else 0xFF + u16", §5; ours are always longer.
fn long_li(len: usize) -> Vec<u8> {
    [&[0xFF][..], &len16(len)].concat()
}

fn len16(len: usize) -> [u8; 2] {
    // The request is 300 bytes long.
    u16::try_from(len).unwrap_or_default().to_be_bytes()
}

fn list(items: &[Vec<u8>]) -> Vec<u8> {
    let bytes = items.concat();
    [&len16(items.len())[..], &len16(bytes.len()), &bytes].concat()
}

fn attribute(id: u16, value: &[u8]) -> Vec<u8> {
    [&id.to_be_bytes()[..], &len16(value.len()), value].concat()
}

/// Ends an association, ours or the stale one of somebody before us.
#[must_use]
pub fn release() -> Vec<u8> {
    spec::RELEASE_MESSAGE.to_vec()
}

/// Ends an association after an error.
#[must_use]
pub fn abort() -> Vec<u8> {
    spec::ABORT_MESSAGE.to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_limit_follows_from_the_period() {
        for (min_poll_ticks, seconds) in
            [(4000, 10), (8000, 10), (26_399, 10), (80_000, 30), (344_000, 130), (u32::MAX, 130)]
        {
            let granted = Granted { min_poll_ticks, ..Granted::default() };
            assert_eq!(granted.time_limit(), Duration::from_secs(seconds), "{min_poll_ticks}");
        }
    }

    #[test]
    fn an_accept_without_a_profile_is_an_accept() {
        assert_eq!(decode(&[0x0E, 0x02, 0x05, 0x08]), Session::Accept(None));
        assert_eq!(decode(&[]), Session::Unknown(0));
    }

    #[test]
    fn the_other_end_of_a_presentation_header_is_known_too() {
        let poll = [&[0x80, 0, 0, 0, 0, 0, 0x1F, 0x40, 0, 0, 3, 0xE8][..], &[0; 12]].concat();
        let info = [
            &spec::USER_INFO.map(u32::to_be_bytes).concat()[..],
            &[0; 4],
            &list(&[attribute(spec::POLL_PROFILE, &poll)]),
        ]
        .concat();
        let len = u8::try_from(info.len()).unwrap();
        let accept = [&[0x0E, 0x00, 0x28, 0x80, 0x81, len][..], &info].concat();
        let Session::Accept(Some(granted)) = decode(&accept) else { panic!("no profile") };
        assert_eq!((granted.min_poll_ticks, granted.waves()), (8000, false));
    }
}
