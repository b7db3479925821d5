//! What the monitor says, as user data: encodings of §5 and messages of §6.
//!
//! Not here: what is in the observations, and when which message is sent.

use super::spec;

/// Session header of request and accept, §6.1.
const SESSION: [u8; 14] =
    [0x05, 0x08, 0x13, 0x01, 0x00, 0x16, 0x01, 0x02, 0x80, 0x00, 0x14, 0x02, 0x00, 0x02];
/// "Fixed presentation header, 101 bytes in the accept": bytes of §9.2.
const ACCEPT_HEADER: [u8; 101] = [
    0x31, 0x80, 0xA0, 0x80, 0x80, 0x01, 0x01, 0x00, 0x00, 0xA2, 0x80, 0xA0, 0x03, 0x00, 0x00, 0x01,
    0xA5, 0x80, 0x30, 0x80, 0x80, 0x01, 0x00, 0x81, 0x02, 0x51, 0x01, 0x00, 0x00, 0x30, 0x80, 0x80,
    0x01, 0x00, 0x81, 0x0C, 0x2A, 0x86, 0x48, 0xCE, 0x14, 0x02, 0x01, 0x00, 0x00, 0x00, 0x02, 0x01,
    0x00, 0x00, 0x00, 0x00, 0x61, 0x80, 0x30, 0x80, 0x02, 0x01, 0x01, 0xA0, 0x80, 0x61, 0x80, 0xA1,
    0x80, 0x06, 0x0C, 0x2A, 0x86, 0x48, 0xCE, 0x14, 0x02, 0x01, 0x00, 0x00, 0x00, 0x03, 0x01, 0x00,
    0x00, 0xA2, 0x03, 0x02, 0x01, 0x00, 0xA3, 0x05, 0xA1, 0x03, 0x02, 0x01, 0x00, 0xBE, 0x80, 0x28,
    0x80, 0x02, 0x01, 0x02, 0x81,
];
/// Protocol and nomenclature version, functional units, "0x00800000 server", startup mode of §9.2.
const USER_INFO: [u32; 5] = [0x8000_0000, 0x4000_0000, 0, 0x0080_0000, 0x2000_0000];
/// "Refuse is `0C 03 32 01 00`", §6.2.
pub(super) const REFUSE: &[u8] = &[0x0C, 0x03, 0x32, 0x01, 0x00];
/// Release response of §9.9.
pub(super) const RELEASE_RESPONSE: &[u8] = &[
    0x0A, 0x18, 0xC1, 0x16, 0x61, 0x80, 0x30, 0x80, 0x02, 0x01, 0x01, 0xA0, 0x80, 0x63, 0x80, 0x80,
    0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
];
/// Abort of §9.9.
pub(super) const ABORT: &[u8] = &[
    0x19, 0x2E, 0x11, 0x01, 0x03, 0xC1, 0x29, 0xA0, 0x80, 0xA0, 0x80, 0x30, 0x80, 0x02, 0x01, 0x01,
    0x06, 0x02, 0x51, 0x01, 0x00, 0x00, 0x00, 0x00, 0x61, 0x80, 0x30, 0x80, 0x02, 0x01, 0x01, 0xA0,
    0x80, 0x64, 0x80, 0x80, 0x01, 0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
];
/// Class, context and handle of the monitor itself.
const MONITOR: [u16; 3] = [spec::MDS, 0, 0];

/// What an association was granted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Granted {
    /// Minimum poll period in ticks.
    pub(super) period: u32,
    /// Longest user data to the host.
    pub(super) mtu: u32,
    /// Bits of the extended poll profile.
    pub(super) options: u32,
}

/// Association accept, §6.2.
pub(super) fn accept(granted: Granted) -> Vec<u8> {
    let packages = attributes(&[attribute(
        spec::EXTENDED_POLL_PROFILE,
        &[granted.options.to_be_bytes().as_slice(), &attributes(&[])].concat(),
    )]);
    let words = [
        0x8000_0000,
        granted.period,
        granted.mtu,
        granted.mtu,
        0xFFFF_FFFF,
        0x6000_0000_u32, // "dynamic create 0x40000000 + delete 0x20000000"
    ];
    let profile = [words.map(u32::to_be_bytes).concat(), packages].concat();
    let info = [
        USER_INFO.map(u32::to_be_bytes).concat(),
        attributes(&[]),
        attributes(&[attribute(spec::POLL_PROFILE, &profile)]),
    ]
    .concat();
    // ASNLength below 128 is one byte, and this user info always has 72.
    let info = [&ACCEPT_HEADER, length(&info).as_slice(), &info, &[0; 16]].concat();
    let presentation = [&[0xC1], length(&info).as_slice(), &info].concat();
    let session = [SESSION.as_slice(), &presentation].concat();
    [&[spec::ASSOCIATION_ACCEPT], length(&session).as_slice(), &session].concat()
}

/// LI of §5: "1 byte if < 255, else 0xFF + u16".
fn length(content: &[u8]) -> Vec<u8> {
    match u8::try_from(content.len()) {
        Ok(short) if short < 255 => vec![short],
        _ => [&[0xFF], count(content.len()).as_slice()].concat(),
    }
}

/// MDS create event, §6.4.
pub(super) fn create_event(invoke: u16, ticks: u32, about: &[Vec<u8>]) -> Vec<u8> {
    let event = sized(&[words(&MONITOR), attributes(about)].concat());
    let body = [
        words(&MONITOR),
        ticks.to_be_bytes().to_vec(),
        spec::MDS_CREATE.to_be_bytes().to_vec(),
        event,
    ];
    operation(spec::INVOKE, &called(invoke, spec::CONFIRMED_EVENT, &body.concat()))
}

/// The answer to a get or a set: the monitor itself and attributes, §6.8.
pub(super) fn attribute_result(invoke: u16, command: u16, found: &[Vec<u8>]) -> Vec<u8> {
    let body = [words(&MONITOR), attributes(found)].concat();
    operation(spec::RESULT, &called(invoke, command, &body))
}

/// ROER of §6.3.
pub(super) fn error(invoke: u16, error: u16) -> Vec<u8> {
    operation(spec::ERROR, &called(invoke, error, &[]))
}

/// Head of a poll result, §6.7.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reply {
    pub(super) invoke: u16,
    /// The host's own number of the poll.
    pub(super) number: u16,
    /// Of an extended poll.
    pub(super) sequence: Option<u16>,
    pub(super) ticks: u32,
    /// "Normally all FF on serial."
    pub(super) absolute: [u8; 8],
    pub(super) object: u16,
    pub(super) group: u16,
}

/// How a series of linked results ends. §6.7 does not say whether the closing result has
/// observations of its own.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Closing {
    /// It only closes.
    Empty,
    /// It carries the last observation, where enough others are left for a first and a last part.
    Observation,
}

impl Reply {
    /// The result as one message, or as linked results where one is longer than `mtu`.
    pub(super) fn messages(
        &self,
        observations: &[Vec<u8>],
        mtu: u32,
        closing: Closing,
    ) -> Vec<Vec<u8>> {
        let whole = self.result(observations);
        let fits = |message: &[u8]| u32::try_from(message.len()).is_ok_and(|len| len <= mtu);
        let (Some((last, others)), false) = (observations.split_last(), fits(&whole)) else {
            return vec![whole];
        };
        let (linked, closing) = match closing {
            Closing::Observation if others.len() > 1 => {
                (others, self.result(std::slice::from_ref(last)))
            }
            _ => (observations, self.result(&[])),
        };
        let mut parts: Vec<&[Vec<u8>]> = Vec::new();
        let mut rest = linked;
        while !rest.is_empty() {
            let mut taken = 1;
            while let Some(more) = rest.get(..taken + 1)
                && fits(&self.linked(spec::MIDDLE, 0, more))
            {
                taken += 1;
            }
            // A series has a first and a last.
            if parts.is_empty() && taken == rest.len() {
                taken = rest.len().div_ceil(2);
            }
            let (part, others) = rest.split_at(taken);
            parts.push(part);
            rest = others;
        }
        let ends = parts.len();
        let states = (1..=ends).map(|number| match number {
            1 => spec::FIRST,
            number if number == ends => spec::LAST,
            _ => spec::MIDDLE,
        });
        let series = parts.into_iter().zip(states).zip(1..);
        series
            .map(|((part, state), number)| self.linked(state, number, part))
            .chain([closing])
            .collect()
    }

    fn result(&self, observations: &[Vec<u8>]) -> Vec<u8> {
        operation(spec::RESULT, &self.called(observations))
    }

    fn linked(&self, state: u8, number: u8, observations: &[Vec<u8>]) -> Vec<u8> {
        let body = [&[state, number], self.called(observations).as_slice()].concat();
        operation(spec::LINKED, &body)
    }

    fn called(&self, observations: &[Vec<u8>]) -> Vec<u8> {
        let action = match self.sequence {
            Some(_) => spec::EXTENDED_POLL,
            None => spec::SINGLE_POLL,
        };
        let contexts = match observations {
            [] => list(&[]),
            observations => list(&[[words(&[0]), list(observations)].concat()]),
        };
        let reply = [
            words(&[self.number]),
            self.sequence.map(|sequence| words(&[sequence])).unwrap_or_default(),
            self.ticks.to_be_bytes().to_vec(),
            self.absolute.to_vec(),
            words(&[spec::OBJECTS, self.object, self.group]),
            contexts,
        ];
        let body = [words(&MONITOR), words(&[action]), sized(&reply.concat())].concat();
        called(self.invoke, spec::ACTION, &body)
    }
}

/// An observation: handle and attributes, §6.7.
pub(super) fn observation(handle: u16, found: &[Vec<u8>]) -> Vec<u8> {
    let handle_again = attribute(spec::HANDLE, &words(&[handle]));
    let found: Vec<Vec<u8>> = std::iter::once(handle_again).chain(found.iter().cloned()).collect();
    [words(&[handle]), attributes(&found)].concat()
}

/// Invoke id, command or error, and sized argument.
fn called(invoke: u16, command: u16, argument: &[u8]) -> Vec<u8> {
    [words(&[invoke, command]), sized(argument)].concat()
}

fn operation(kind: u16, body: &[u8]) -> Vec<u8> {
    [spec::DATA_EXPORT.to_vec(), words(&[kind]), sized(body)].concat()
}

/// AVA of §5.
pub(super) fn attribute(id: u16, value: &[u8]) -> Vec<u8> {
    [words(&[id]), sized(value)].concat()
}

/// A list of AVAs.
pub(super) fn attributes(found: &[Vec<u8>]) -> Vec<u8> {
    list(found)
}

/// "Count u16, byte-length u16, then items", §5.
pub(super) fn list(items: &[Vec<u8>]) -> Vec<u8> {
    [count(items.len()).to_vec(), sized(&items.concat())].concat()
}

/// Length u16 and content.
pub(super) fn sized(content: &[u8]) -> Vec<u8> {
    [count(content.len()).as_slice(), content].concat()
}

/// Every count of this device is far below 65536.
fn count(len: usize) -> [u8; 2] {
    u16::try_from(len).unwrap_or(u16::MAX).to_be_bytes()
}

/// 16-bit words in network order.
pub(super) fn words(words: &[u16]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_be_bytes()).collect()
}

/// FLOAT of §5: `mantissa × 10^exponent`.
pub(super) fn float(mantissa: i32, exponent: i8) -> [u8; 4] {
    let [_, high, middle, low] = mantissa.to_be_bytes();
    [exponent.cast_unsigned(), high, middle, low]
}

/// String of §5: "u16 byte length, then UTF-16BE characters, usually NUL-terminated".
pub(super) fn string(text: &str) -> Vec<u8> {
    sized(&text.encode_utf16().chain([0]).flat_map(u16::to_be_bytes).collect::<Vec<_>>())
}

/// VariableLabel of §5, filled up to an even length as in §9.3.
pub(super) fn variable_label(text: &str) -> Vec<u8> {
    let mut bytes = text.as_bytes().to_vec();
    bytes.push(0);
    if bytes.len() % 2 == 1 {
        bytes.push(0);
    }
    sized(&bytes)
}

/// "AbsoluteTime: 8 BCD bytes: century, year, month, day, hour, minute, second, fraction", §5; of
/// civil milliseconds, without a fraction.
pub(super) fn absolute(civil_ms: i64) -> [u8; 8] {
    let civil = jiff::Timestamp::from_millisecond(civil_ms).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    let civil = jiff::tz::TimeZone::UTC.to_datetime(civil);
    let year = civil.year().clamp(0, 9999);
    let bcd = |two_digits: i16| u8::try_from(two_digits / 10 * 16 + two_digits % 10).unwrap_or(0);
    [
        bcd(year / 100),
        bcd(year % 100),
        bcd(i16::from(civil.month())),
        bcd(i16::from(civil.day())),
        bcd(i16::from(civil.hour())),
        bcd(i16::from(civil.minute())),
        bcd(i16::from(civil.second())),
        0,
    ]
}

/// "All 0xFF = not available", §5.
pub(super) const NO_ABSOLUTE: [u8; 8] = [0xFF; 8];
