//! What a line of json-lines may say about the person.
//!
//! The format has no field for a patient, but texts that anybody may fill: what the device says of
//! itself, the context of a reading, the text of an alarm. Of these only words pass that say what
//! they say. A line that is refused may hold anything and keeps only its punctuation.

use super::{
    codec::{Message, longest_line},
    meaning::{self, Zeros},
};
use crate::redaction::{HIDDEN, Mask};
use model::{
    id::DeviceId,
    metric::{Class, Metric},
    time::{ClockQuality, Observed, WallTime},
};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::ops::Range;

/// What a device may say of itself under its own name.
const ABOUT: [&str; 7] =
    ["model", "serial", "version", "software", "hardware", "firmware", "manufacturer"];

/// Hides free texts, and lines that are refused.
pub(crate) struct JsonLinesMask;

impl Mask for JsonLinesMask {
    fn settle(&self, bytes: &[u8]) -> Option<(usize, Vec<u8>)> {
        let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else {
            let overlong = bytes.len() > longest_line();
            return overlong.then(|| (bytes.len(), vec![HIDDEN; bytes.len()]));
        };
        let line = bytes.get(..=end).unwrap_or_default();
        let kept = str::from_utf8(line).ok().filter(|line| line.len() <= longest_line() + 1);
        let kept = kept.and_then(masked).unwrap_or_else(|| punctuation(line));
        Some((line.len(), kept))
    }

    /// A refusal quotes the line.
    fn sent(&self, bytes: &[u8]) -> Vec<u8> {
        let lines = bytes.split_inclusive(|byte| *byte == b'\n');
        let kept = lines.map(|line| {
            let text = str::from_utf8(line).ok();
            let answer: Option<Texts<'_>> = text.and_then(|text| serde_json::from_str(text).ok());
            let Some((text, Texts { error, .. })) = text.zip(answer) else {
                return punctuation(line);
            };
            let mut kept = line.to_vec();
            hide(&mut kept, text, error, |_, _| false);
            kept
        });
        kept.collect::<Vec<_>>().concat()
    }
}

/// Texts of a line, as they stand in it.
#[derive(Deserialize)]
struct Texts<'a> {
    #[serde(borrow)]
    context: Option<&'a RawValue>,
    #[serde(borrow)]
    about: Option<&'a RawValue>,
    #[serde(borrow)]
    text: Option<&'a RawValue>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
}

/// The line without its free texts; `None` if it is refused.
fn masked(line: &str) -> Option<Vec<u8>> {
    let plain = line.trim_end_matches(['\r', '\n']);
    let observed = Observed { at: WallTime::from_unix_ms(0), quality: ClockQuality::Unknown };
    // Whose it is makes no difference to whether it is taken.
    let device = DeviceId::new("x").ok()?;
    match Message::parse(plain).ok()? {
        Message::Blank | Message::Hello => return Some(line.as_bytes().to_vec()),
        // Our own answer; what else it may hold nobody looks at.
        Message::Echo => return None,
        Message::About(texts) => drop(meaning::about(texts).ok()?),
        Message::Readings(line) => {
            drop(meaning::group(line, Zeros::default(), &device, observed).ok()?);
        }
        Message::Wave(line) => drop(meaning::samples(line).ok()?),
        Message::Alarm(line) => drop(meaning::alarm(line, &device, observed).ok()?),
    }
    let texts: Texts<'_> = serde_json::from_str(plain).ok()?;
    let mut kept = line.as_bytes().to_vec();
    hide(&mut kept, line, texts.about, |name, _| ABOUT.contains(&name));
    hide(&mut kept, line, texts.context, |_, word| {
        // The words of the catalogue: before a meal, from a finger.
        let metric = Metric::from_name(word);
        metric.is_some_and(|metric| metric.row().class == Class::GlucoseContext)
    });
    hide(&mut kept, line, texts.text, |_, _| false);
    Some(kept)
}

/// Hides the strings of a part of `line` in `kept`: of an object names with their texts, but for
/// those that pass; else the only string there is.
fn hide(kept: &mut [u8], line: &str, part: Option<&RawValue>, passes: impl Fn(&str, &str) -> bool) {
    let Some(part) = part.map(RawValue::get) else { return };
    let start = part.as_ptr().addr().saturating_sub(line.as_ptr().addr());
    let text = |range: &Range<usize>| -> String {
        let quoted = part.get(range.clone()).unwrap_or_default();
        serde_json::from_str(quoted).unwrap_or_default()
    };
    let strings = strings(part);
    for (place, pair) in strings.chunks(2).enumerate() {
        let words: Vec<String> = pair.iter().map(&text).collect();
        let name = words.first().map(String::as_str).unwrap_or_default();
        let word = words.get(1).map(String::as_str).unwrap_or_default();
        if passes(name, word) {
            continue;
        }
        for (range, word) in pair.iter().zip(&words) {
            let range = start + range.start..start + range.end;
            if let Some(quoted) = kept.get_mut(range) {
                quoted.copy_from_slice(&hidden(word.len(), quoted.len(), place));
            }
        }
    }
}

/// A quoted text of that length instead of another, with spaces behind it up to the length that
/// the other had in the line. Names must not become the same: they end in their place.
fn hidden(len: usize, room: usize, place: usize) -> Vec<u8> {
    let mut text = vec![HIDDEN; len];
    if let (Some(last), Ok(place)) = (text.last_mut(), u8::try_from(place % 26)) {
        *last = b'a' + place;
    }
    let mut quoted = [b"\"", &text[..], b"\""].concat();
    quoted.resize(room, b' ');
    quoted
}

/// Where the strings of a JSON text stand, with their quotes.
fn strings(json: &str) -> Vec<Range<usize>> {
    let (mut found, mut open, mut escaped) = (Vec::new(), None, false);
    for (at, byte) in json.bytes().enumerate() {
        match (open, byte) {
            _ if escaped => escaped = false,
            (Some(_), b'\\') => escaped = true,
            (Some(start), b'"') => {
                found.push(start..at + 1);
                open = None;
            }
            (None, b'"') => open = Some(at),
            _ => {}
        }
    }
    found
}

fn punctuation(line: &[u8]) -> Vec<u8> {
    let shape = |byte: &u8| {
        byte.is_ascii_punctuation() || byte.is_ascii_whitespace() || byte.is_ascii_control()
    };
    line.iter().map(|byte| if shape(byte) { *byte } else { HIDDEN }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{redaction::tests::check, registry::DriverName};
    use proptest::{collection::vec, prelude::*};

    #[track_caller]
    fn kept(line: &str, expected: &str) {
        let bytes = format!("{line}\r\n").into_bytes();
        let (len, found) = JsonLinesMask.settle(&bytes).unwrap();
        assert_eq!(
            (len, String::from_utf8(found).unwrap()),
            (bytes.len(), format!("{expected}\r\n"))
        );
        assert_eq!(line.len(), expected.len());
    }

    #[test]
    fn readings_waves_and_known_words_pass() {
        for line in [
            r#"{"metric":"hr","value":72,"unit":"/min","channel":"t1"}"#,
            r#"{"metric":"glu_cap_pl","value":5.5,"unit":"mmol/L","context":{"meal":"meal_pre"}}"#,
            r#"{"wave":"pleth","period":{"num":1,"den":60},"samples":[10,12,15]}"#,
            r#"{"about":{"model":"Thermo-1","serial":"0042"}}"#,
            r#"{"metric":"pump_drug","value":"多巴胺"}"#,
            r#"{"hello":1}"#,
            "",
        ] {
            kept(line, line);
        }
    }

    #[test]
    fn free_texts_are_hidden_and_the_line_is_as_long() {
        kept(
            r#"{"metric":"hr","value":72,"unit":"/min","context":{"patient":"WANG","n":"王","meal":"x"}}"#,
            r#"{"metric":"hr","value":72,"unit":"/min","context":{"xxxxxxa":"xxxa","b":"xxb","xxxc":"c"}}"#,
        );
        kept(
            r#"{"about":{"model":"T1","patient":"\u738b \"W\""}}"#,
            r#"{"about":{"model":"T1","xxxxxxb":"xxxxxxb"     }}"#,
        );
        kept(
            r#"{"alarm":"196940","phase":"start","text":"WANG: Occlusion"}"#,
            r#"{"alarm":"196940","phase":"start","text":"xxxxxxxxxxxxxxa"}"#,
        );
    }

    #[test]
    fn a_refused_line_keeps_its_shape_only() {
        kept(
            r#"{"metric":"hr","value":72,"who":"王 3"}"#,
            r#"{"xxxxxx":"xx","xxxxx":xx,"xxx":"xxx x"}"#,
        );
        kept(r#"{"metric":"WANG","value":1}"#, r#"{"xxxxxx":"xxxx","xxxxx":x}"#);
        kept(r#"{"ack":1,"who":"WANG"}"#, r#"{"xxx":x,"xxx":"xxxx"}"#);
        kept("WANG-31", "xxxx-xx");
    }

    #[test]
    fn what_is_told_to_the_source_quotes_nobody() {
        let said = "{\"ack\":2}\n{\"refused\":3,\"error\":\"\\\"WANG\\\" is no metric\"}\n";
        let kept = "{\"ack\":2}\n{\"refused\":3,\"error\":\"xxxxxxxxxxxxxxxxxxa\"  }\n";
        assert_eq!(JsonLinesMask.sent(said.as_bytes()), kept.as_bytes());
        assert_eq!(JsonLinesMask.sent(b"WANG\n"), b"xxxx\n");
    }

    #[test]
    fn a_line_without_an_end_is_hidden_as_it_comes() {
        let long = vec![b'7'; longest_line() + 1];
        assert_eq!(JsonLinesMask.settle(&long), Some((long.len(), vec![b'x'; long.len()])));
        assert_eq!(JsonLinesMask.settle(&long[1..]), None);
    }

    fn piece() -> impl Strategy<Value = Vec<u8>> {
        let line = (1_u8..200, "[A-Za-z]{0,6}", 0_u8..6).prop_map(|(value, name, kind)| {
            let name = format!("WANG-31{name}");
            let extra = match kind {
                0 => format!(r#","context":{{"meal":"meal_pre","patient":"{name}"}}"#),
                1 => format!(r#","context":{{"{name}":"\u0041","a":"{name}\\"}}"#),
                2 => format!(r#","patient":"{name}""#),
                3 => format!(r#","channel":"{name}-much-too-long""#),
                _ => String::new(),
            };
            format!("{{\"metric\":\"rr\",\"value\":{value},\"unit\":\"/min\"{extra}}}\n")
                .into_bytes()
        });
        prop_oneof![
            4 => line.clone(),
            1 => (line, 0_usize..41).prop_map(|(line, cut)| line[..cut].to_vec()),
            1 => Just(b"{\"about\":{\"patient\":\"WANG-31\",\"model\":\"T1\"}}\n".to_vec()),
            1 => vec(prop_oneof![any::<u8>(), Just(b'\n'), Just(b'"')], 0..40),
        ]
    }

    proptest! {
        #[test]
        fn recordings_decode_to_the_same_readings_and_tell_no_one(
            pieces in vec(piece(), 0..12), cuts in vec(1_usize..60, 1..40),
        ) {
            check(DriverName::JsonLines, &pieces.concat(), &cuts, b"WANG-31")?;
        }
    }
}
