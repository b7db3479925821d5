//! What is known of each device here: its frames, and what may be said to it.
//!
//! Written from the protocols alone, without the codecs of the drivers.

use drivers::{
    registry::{DriverName, DriverOptions, create},
    serial::{Cursor, SerialDriver},
};
use model::{device::DeviceKind, id::DeviceId};
use std::time::Duration;

/// The driver with options that this byte chooses.
pub(super) fn driver(
    name: DriverName,
    options: u8,
    cursor: Option<Cursor>,
) -> Box<dyn SerialDriver> {
    let bit = |bit: u8| options >> bit & 1 == 1;
    let options = DriverOptions {
        counts_per_mv: bit(0).then(|| 40.into()),
        poll_interval: bit(1).then_some(Duration::from_secs(1)),
        zone_offset_s: bit(2).then_some(28_800),
        kind: DeviceKind::ALL.get(usize::from(options >> 3 & 3)).copied(),
        acknowledge: acknowledges(options),
        silent_after: bit(6).then_some(Duration::from_secs(5)),
    };
    let device = DeviceId::new("x-01").expect("it is a name");
    create(name, device, &options, cursor)
}

fn acknowledges(options: u8) -> bool {
    options >> 5 & 1 == 1
}

/// A good frame of the device with this content, or several.
pub(crate) fn frame(name: DriverName, content: &[u8]) -> Vec<u8> {
    match name {
        DriverName::Pm6750 => pm6750(content),
        DriverName::Bcc => {
            let (style, information) = content.split_first().unwrap_or((&0, &[]));
            bcc(*style, information)
        }
        DriverName::Tm2655 => tm2655(content),
        DriverName::Ultraeasy => {
            let (control, message) = content.split_first().unwrap_or((&0, &[]));
            ultraeasy(*control, message)
        }
        DriverName::Hbp9030 => hbp9030(content),
        DriverName::Td42xx => content.chunks(5).flat_map(|part| td42xx(part, 0xA5)).collect(),
        DriverName::Intellivue => intellivue(&intellivue_message(content)),
        DriverName::Asena => asena(content),
        DriverName::JsonLines => json_line(content),
    }
}

/// Whether these bytes are one of the few things that may be said to the device.
pub(super) fn may_be_sent(name: DriverName, options: u8, bytes: &[u8]) -> bool {
    match name {
        DriverName::Pm6750 => PM6750_COMMANDS.iter().any(|command| pm6750(command) == bytes),
        DriverName::Bcc => matches!(bytes, [0x06 | 0x15]) || is_bcc_question(bytes),
        DriverName::Tm2655 => tm2655(b"RB") == bytes,
        DriverName::Ultraeasy => is_ultraeasy_question(bytes),
        DriverName::Hbp9030 => false,
        DriverName::Td42xx => match bytes {
            [0x51, command, a, b, 0, 0, 0xA3, _] => {
                let known = [0x22, 0x23, 0x24, 0x25, 0x26, 0x2B].contains(command);
                known && td42xx(&[*command, *a, *b, 0, 0], 0xA3) == bytes
            }
            _ => false,
        },
        DriverName::Intellivue => is_intellivue_question(bytes),
        DriverName::Asena => {
            ASENA_QUESTIONS.iter().any(|question| asena(question.as_bytes()) == bytes)
        }
        DriverName::JsonLines => acknowledges(options) && is_json_answer(bytes),
    }
}

/// "55 AA N A1 … An SUM"; the sum is the complement.
fn pm6750(content: &[u8]) -> Vec<u8> {
    // The length counts itself and the sum, and is a byte.
    let content = content.get(..253).unwrap_or(content);
    let len = u8::try_from(content.len().max(1) + 2).unwrap_or(u8::MAX);
    let content = if content.is_empty() { &[0] } else { content };
    let sum = content.iter().fold(len, |sum, byte| sum.wrapping_add(*byte));
    [&[0x55, 0xAA, len], content, &[!sum]].concat()
}

/// Streams on and off, gain and filter as they leave the factory, versions. The cuff (02, 09, 0A)
/// and calibration (0B to 0E, 10) are not here.
const PM6750_COMMANDS: [[u8; 2]; 15] = [
    [0x01, 0],
    [0x01, 1],
    [0x03, 0],
    [0x03, 1],
    [0x04, 0],
    [0x04, 1],
    [0xFE, 0],
    [0xFE, 1],
    [0xFF, 0],
    [0xFF, 1],
    [0x07, 3],
    [0x08, 2],
    [0x0F, 3],
    [0xFC, 0],
    [0xFD, 0],
];

/// "SOH length STX bedId/1/1> information ETX|ETB sum EOT", stuffed or not.
fn bcc(style: u8, information: &[u8]) -> Vec<u8> {
    let end = if style & 1 == 1 { 0x17 } else { 0x03 };
    let bed: &[u8] = if style & 4 == 4 { b"WARD3BED2" } else { b"1" };
    let clean = |byte: &u8| !matches!(*byte, 0x01 | 0x04);
    let information: Vec<u8> = information.iter().copied().filter(clean).collect();
    let length = format!("{:05}", 19 + bed.len() + information.len());
    let mut block =
        [&[0x01], length.as_bytes(), &[0x02], bed, b"/1/1>", &information, &[end]].concat();
    let sum = block.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte));
    block.extend(format!("{sum:05}\u{4}").into_bytes());
    if style & 2 == 2 { bcc_stuffed(&block) } else { block }
}

/// "D→EX, E→EE, d→ex, e→ee".
fn bcc_stuffed(block: &[u8]) -> Vec<u8> {
    let stuffed = |byte: &u8| match *byte {
        b'D' => b"EX".to_vec(),
        b'E' => b"EE".to_vec(),
        b'd' => b"ex".to_vec(),
        b'e' => b"ee".to_vec(),
        other => vec![other],
    };
    block.iter().flat_map(stuffed).collect()
}

fn is_bcc_question(bytes: &[u8]) -> bool {
    let questions = ["ADMIN:ALIVE", "ADMIN:VERSION", "MEM:GET"].map(str::to_owned);
    let slots = (0..4).flat_map(|pillar| {
        "123456789ABCDEFGHIJKLMNO".chars().map(move |slot| format!("MEM:GETSLOT#{pillar}{slot}"))
    });
    questions.into_iter().chain(slots).any(|question| {
        let plain = [b"/1/1>", question.as_bytes(), &[0x03]].concat();
        let ends = |wanted: &[u8]| {
            // Five digits and EOT follow.
            let text = bytes.len().checked_sub(6).and_then(|end| bytes.get(..end));
            text.is_some_and(|text| text.ends_with(wanted))
        };
        ends(&plain) || ends(&bcc_stuffed(&plain))
    })
}

/// "SYN SYN SOH A A STX text ETX BCC"; no text: ACK.
fn tm2655(text: &[u8]) -> Vec<u8> {
    if text.is_empty() {
        return vec![0x16, 0x16, 0x01, b'0', b'0', 0x06];
    }
    let clean = text.iter().copied().filter(|byte| *byte > 0x1F || *byte == 0x1E);
    let covered: Vec<u8> =
        [0x01, b'0', b'0', 0x02].into_iter().chain(clean).chain([0x03]).collect();
    let sum = covered.iter().fold(0, |sum, byte| sum ^ byte);
    [&[0x16, 0x16], &covered[..], &[sum]].concat()
}

/// "STX LEN LINK message ETX CRC".
fn ultraeasy(control: u8, message: &[u8]) -> Vec<u8> {
    let message = message.get(..34).unwrap_or(message);
    let len = u8::try_from(message.len() + 6).unwrap_or(u8::MAX);
    let mut packet = [&[0x02, len, control], message, &[0x03]].concat();
    packet.extend(crc_ccitt_false(&packet).to_le_bytes());
    packet
}

/// The link's own packets, and reading: version, serial number, unit, clock, records. Setting the
/// clock (20 01) and erasing (1A) are not here.
fn is_ultraeasy_question(bytes: &[u8]) -> bool {
    let [0x02, _, control, message @ .., 0x03, _, _] = bytes else { return false };
    let asks = match message {
        [] | [5, 0x0D, 2] | [5, 0x1F, _, _] => true,
        [5, 0x0B, 2, rest @ ..] => rest == [0; 9],
        [5, 0x09, 2, 0x09, rest @ ..] => rest == [0; 4],
        [5, 0x20, 2, rest @ ..] => rest == [0; 4],
        _ => false,
    };
    asks && ultraeasy(*control, message) == bytes
}

/// CRC-16/CCITT-FALSE, most significant bit first.
fn crc_ccitt_false(bytes: &[u8]) -> u16 {
    let mut crc = 0xFFFF_u16;
    for byte in bytes {
        for place in (0..8).rev() {
            let bit = u16::from(byte >> place & 1);
            let carry = crc >> 15 ^ bit;
            crc = (crc << 1) ^ if carry == 1 { 0x1021 } else { 0 };
        }
    }
    crc
}

/// A line of format 5: what is no digit where one belongs becomes one, the rest stays.
fn hbp9030(content: &[u8]) -> Vec<u8> {
    let mut content = content.iter().copied();
    let fields = [4, 2, 2, 2, 2, 20, 1, 3, 3, 3, 1].into_iter().enumerate().map(|(place, len)| {
        let is_subject = place == 5;
        let letter = |byte: u8| match byte {
            b'0'..=b'9' | b' ' => byte,
            _ if is_subject => 0x2D + byte % 0x50,
            _ => b'0' + byte % 10,
        };
        (0..len).map(|_| letter(content.next().unwrap_or(b'1'))).collect::<Vec<_>>()
    });
    let fields: Vec<_> = fields.collect();
    [&fields.join(&b','), &b"\r\n"[..]].concat()
}

/// "51 command, four bytes, direction, sum".
fn td42xx(content: &[u8], direction: u8) -> Vec<u8> {
    let mut bytes = vec![0x51];
    bytes.extend(content.iter().copied().chain([0; 5]).take(5));
    bytes.push(direction);
    bytes.push(bytes.iter().fold(0, |sum: u8, byte| sum.wrapping_add(*byte)));
    bytes
}

/// The message with lengths that go to its end, where they do not: most changes break them all.
fn intellivue_message(content: &[u8]) -> Vec<u8> {
    let mut message = content.to_vec();
    let word = |at: usize| match content.get(at..at + 2) {
        Some([high, low]) => u16::from_be_bytes([*high, *low]),
        _ => 0,
    };
    if content.first() != Some(&0xE1) {
        return message;
    }
    // A linked result has two bytes more, an extended poll a sequence number.
    let linked = if word(4) == 5 { 2 } else { 0 };
    let extended = linked + if word(20 + linked) == 0xF13B { 2 } else { 0 };
    let inner: &[usize] = match word(10 + linked) {
        1 => &[26, 36],
        7 => &[22 + linked, 46 + extended],
        _ => &[],
    };
    for &at in [6, 12 + linked].iter().chain(inner) {
        let rest = content.len().checked_sub(at + 2).and_then(|rest| u16::try_from(rest).ok());
        if let (Some(rest), Some(place)) = (rest, message.get_mut(at..at + 2)) {
            place.copy_from_slice(&rest.to_be_bytes());
        }
    }
    message
}

/// "C0, 11 01 length user data FCS, C1", escaped.
fn intellivue(user_data: &[u8]) -> Vec<u8> {
    let len = u16::try_from(user_data.len()).unwrap_or(u16::MAX);
    let mut plain = [&[0x11, 0x01][..], &len.to_be_bytes(), user_data].concat();
    plain.extend(crc_x25(&plain).to_le_bytes());
    let escaped = plain.into_iter().flat_map(|byte| match byte {
        0xC0 | 0xC1 | 0x7D => vec![0x7D, byte ^ 0x20],
        byte => vec![byte],
    });
    [0xC0].into_iter().chain(escaped).chain([0xC1]).collect()
}

/// CRC-16/X-25, least significant bit first.
fn crc_x25(bytes: &[u8]) -> u16 {
    let mut crc = 0xFFFF_u16;
    for byte in bytes {
        for place in 0..8 {
            let bit = u16::from(byte >> place & 1);
            let carry = crc & 1 ^ bit;
            crc = (crc >> 1) ^ if carry == 1 { 0x8408 } else { 0 };
        }
    }
    !crc
}

/// Association request, release, abort; polls, but not of who the patient is; the answer to the
/// create event. Nothing that sets anything.
fn is_intellivue_question(bytes: &[u8]) -> bool {
    let mut escaped = false;
    let plain: Vec<u8> = bytes
        .iter()
        .filter_map(|byte| {
            let flip = std::mem::replace(&mut escaped, *byte == 0x7D);
            (*byte != 0x7D).then_some(if flip { byte ^ 0x20 } else { *byte })
        })
        .collect();
    let [0xC0, 0x11, 0x01, _, _, user_data @ .., _, _, 0xC1] = plain.as_slice() else {
        return false;
    };
    let word = |at: usize| match user_data.get(at..at + 2) {
        Some([high, low]) => u16::from_be_bytes([*high, *low]),
        _ => u16::MAX,
    };
    let asks = match (user_data.first(), word(4), word(10)) {
        (Some(0x0D | 0x09 | 0x19), _, _) => true,
        // Invoke, confirmed action: a poll, for neither demographics objects nor attributes.
        (Some(0xE1), 1, 7) => {
            [0x0C16, 0xF13B].contains(&word(24)) && word(32) != 0x2A && word(34) != 0x0807
        }
        // Result, confirmed event.
        (Some(0xE1), 2, 1) => true,
        _ => false,
    };
    asks && intellivue(user_data) == bytes
}

/// "'!' body '|' CRC CR".
fn asena(body: &[u8]) -> Vec<u8> {
    let clean = |byte: &u8| !matches!(*byte, b'!' | 0x0D | 0x1B);
    let body: Vec<u8> = body.iter().copied().filter(clean).collect();
    let tail = format!("|{:04X}\r", crc_ccitt_false(&body));
    [b"!", &body[..], tail.as_bytes()].concat()
}

/// Names without fields, which are questions. A name with fields may change an infusion.
const ASENA_QUESTIONS: [&str; 10] = [
    "INST_SERIALNO",
    "COMMS_PROTOCOL",
    "COMMS_RESPONSE_MAX",
    "SYRINGE_STATUS",
    "INF_RATE_MAX_SYRINGE",
    "INF_RATE",
    "INF_VI",
    "INF_VTBI",
    "ALARM",
    "INF",
];

/// A line in which a byte from 128 on is a word of the format.
fn json_line(content: &[u8]) -> Vec<u8> {
    let word = |byte: &u8| {
        let place = usize::from(*byte).checked_sub(128);
        let word = place.and_then(|place| JSON_WORDS.iter().cycle().nth(place));
        // A control character would end the line, or be none of JSON.
        word.map_or_else(|| vec![(*byte).max(b' ')], |word| word.as_bytes().to_vec())
    };
    content.iter().flat_map(word).chain([b'\n']).collect()
}

const JSON_WORDS: [&str; 64] = [
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "\"",
    "{\"metric\":",
    "\"value\":",
    "\"unit\":",
    "\"comparator\":\"<\"",
    "\"comparator\":\">\"",
    "\"no_data\":",
    "\"detail\":",
    "\"validity\":",
    "\"channel\":",
    "\"context\":",
    "\"device_time\":",
    "\"seq\":",
    "\"spot\":true",
    "{\"group\":",
    "\"parts\":[",
    "{\"wave\":",
    "\"period_ms\":",
    "\"period\":{\"num\":",
    "\"den\":",
    "\"samples\":[",
    "\"scale\":{\"per_count\":",
    "\"offset\":",
    "\"lead_off\":true",
    "{\"alarm\":",
    "\"phase\":",
    "\"kind\":",
    "\"priority\":",
    "\"text\":",
    "\"source\":",
    "{\"about\":{",
    "{\"hello\":1}",
    "{\"ack\":1}",
    "\"hr\"",
    "\"spo2\"",
    "\"nibp\"",
    "\"nibp_sys\"",
    "\"nibp_dia\"",
    "\"glu_cap_pl\"",
    "\"temp\"",
    "\"pump_drug\"",
    "\"pump_rate\"",
    "\"ecg_wave_ii\"",
    "\"pleth\"",
    "\"/min\"",
    "\"%\"",
    "\"mm[Hg]\"",
    "\"mmol/L\"",
    "\"Cel\"",
    "\"mV\"",
    "\"start\"",
    "\"update\"",
    "\"end\"",
    "\"196940\"",
    "\"DEV-ASYSTOLE\"",
    "\"high\"",
    "\"2026-11-22T08:30:00+08:00\"",
    "999999999999999",
];

fn is_json_answer(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let answer = |line: &str| {
        let known = line.starts_with("{\"ack\":") || line.starts_with("{\"refused\":");
        // JSON escapes what would end or break a line; what else the source wrote is its own.
        known && line.ends_with('}') && line.bytes().all(|byte| byte >= b' ')
    };
    text.ends_with('\n') && text.lines().all(answer)
}
