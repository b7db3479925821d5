//! What a good frame carries: the content from which a fuzz target makes the frame again.

use drivers::registry::DriverName;

/// The content, if these bytes may be a frame; whether they are one is seen by making it again.
pub(crate) fn content(name: DriverName, frame: &[u8]) -> Option<Vec<u8>> {
    match (name, frame) {
        (DriverName::Pm6750, [0x55, 0xAA, len, content @ .., _])
            if usize::from(*len) == content.len() + 2 =>
        {
            Some(content.to_vec())
        }
        (DriverName::Bcc, [0x01, .., 0x04]) => bcc(frame),
        (DriverName::Tm2655, [0x16, 0x16, 1, _, _, 0x06]) => Some(Vec::new()),
        (DriverName::Tm2655, [0x16, 0x16, 1, _, _, 2, text @ .., 3, _]) => Some(text.to_vec()),
        (DriverName::Ultraeasy, [2, len, control, message @ .., 3, _, _])
            if usize::from(*len) == message.len() + 6 =>
        {
            Some([&[*control], message].concat())
        }
        (DriverName::Hbp9030, [line @ .., b'\r', b'\n']) => {
            Some(line.iter().copied().filter(|byte| *byte != b',').collect())
        }
        (DriverName::Td42xx, [0x51, content @ .., 0xA5, _]) => Some(content.to_vec()),
        (DriverName::Intellivue, [0xC0, .., 0xC1]) => intellivue(frame),
        (DriverName::Asena, [b'!', body @ .., b'|', _, _, _, _, b'\r']) => Some(body.to_vec()),
        (DriverName::JsonLines, [line @ .., b'\n']) => Some(line.to_vec()),
        _ => None,
    }
}

/// Style and information; stuffed blocks stay bytes.
fn bcc(frame: &[u8]) -> Option<Vec<u8>> {
    let start = frame.windows(5).position(|part| part == b"/1/1>")? + 5;
    let end = frame.len().checked_sub(7)?;
    let more = u8::from(*frame.get(end)? == 0x17);
    let ward = if frame.get(7..start - 5)? == b"1" { 0 } else { 4 };
    Some([&[more | ward], frame.get(start..end)?].concat())
}

fn intellivue(frame: &[u8]) -> Option<Vec<u8>> {
    let mut flip = 0;
    let mut plain = Vec::new();
    for byte in frame {
        match byte {
            0x7D => flip = 0x20,
            byte => plain.push(byte ^ std::mem::take(&mut flip)),
        }
    }
    match plain.as_slice() {
        [_, 0x11, 0x01, _, _, user_data @ .., _, _, _] => Some(user_data.to_vec()),
        _ => None,
    }
}
