//! Codec of json-lines: bytes to lines, lines to messages, nothing more.
//!
//! Read first: `README.md` beside this file, the description of the format.

use serde::{
    Deserialize,
    de::{Deserializer, Error as _, IgnoredAny, MapAccess, Visitor},
};
use serde_json::{error::Category, value::RawValue};
use std::{collections::BTreeMap, fmt, iter};
use thiserror::Error;

/// Facts of the format. No number of it stands anywhere else.
mod spec {
    /// "A line ends with \n; a \r before it is left out", "Lines".
    pub(super) const END: u8 = b'\n';
    pub(super) const BEFORE_END: u8 = b'\r';
    /// "A line has at most 16 KiB": a second of an ECG at 2 kHz with room for its names.
    pub(super) const LINE_LEN_MAX: usize = 16 * 1024;
    /// "{"hello":1}: the version of this description", "Lines".
    pub(super) const VERSION: u64 = 1;
    /// What is wrong may be quoted from the line: it is cut after so many bytes.
    pub(super) const ERROR_LEN_MAX: usize = 240;
}

/// Cuts a byte stream into lines.
///
/// Invariant: never more than one longest line stays buffered.
#[derive(Debug, Default)]
pub struct Decoder {
    line: Vec<u8>,
    /// How long a line is that is over the limit; its bytes are not kept.
    overlong: Option<usize>,
}

/// Why bytes gave no line of text.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum LineError {
    /// Over the limit.
    #[error("a line of {len} bytes is too long; send at most 16384, a waveform in shorter blocks")]
    TooLong {
        /// As received, without its end.
        len: usize,
    },
    /// Bytes that are no text.
    #[error(
        "byte {at} of the line is not UTF-8; check baud rate and cable, or the text's encoding"
    )]
    Utf8 {
        /// The first such byte, from 1.
        at: usize,
    },
}

impl Decoder {
    /// Takes `bytes` in and yields every line or error they complete.
    ///
    /// An iterator dropped early loses the bytes it did not look at.
    pub fn decode(&mut self, bytes: &[u8]) -> impl Iterator<Item = Result<String, LineError>> {
        let mut bytes = bytes.iter();
        iter::from_fn(move || bytes.by_ref().find_map(|byte| self.push(*byte)))
    }

    /// Drops a line that has not ended; how many bytes of it had come.
    pub fn give_up(&mut self) -> usize {
        let len = self.overlong.unwrap_or(self.line.len());
        *self = Self::default();
        len
    }

    fn push(&mut self, byte: u8) -> Option<Result<String, LineError>> {
        if byte != spec::END {
            match &mut self.overlong {
                Some(len) => *len = len.saturating_add(1),
                None if self.line.len() == spec::LINE_LEN_MAX => {
                    self.overlong = Some(spec::LINE_LEN_MAX + 1);
                    self.line = Vec::new();
                }
                None => self.line.push(byte),
            }
            return None;
        }
        if let Some(len) = self.overlong.take() {
            return Some(Err(LineError::TooLong { len }));
        }
        let mut line = std::mem::take(&mut self.line);
        if line.last() == Some(&spec::BEFORE_END) {
            line.pop();
        }
        Some(
            String::from_utf8(line)
                .map_err(|error| LineError::Utf8 { at: error.utf8_error().valid_up_to() + 1 }),
        )
    }
}

/// Most bytes of a line without its line feed.
pub(super) const fn longest_line() -> usize {
    spec::LINE_LEN_MAX
}

/// One line, as the source wrote it.
#[derive(Debug)]
pub enum Message {
    /// An empty line.
    Blank,
    /// Our own answer, sent back by the device.
    Echo,
    /// The source counts its lines from here.
    Hello,
    /// What the device says of itself.
    About(Texts),
    /// One reading, or what belongs together.
    Readings(ReadingsLine),
    /// A run of samples.
    Wave(WaveLine),
    /// A device alarm.
    Alarm(AlarmLine),
}

/// Why a line is no message.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum MessageError {
    /// Not JSON.
    #[error("no JSON at column {column}: {what}; send one object a line, as {{\"metric\":…}}")]
    Json {
        /// Where, from 1.
        column: usize,
        /// In the words of the JSON parser.
        what: String,
    },
    /// JSON, and not as described.
    #[error("{what} (column {column}); write the line as json-lines is described")]
    Form {
        /// Where, from 1.
        column: usize,
        /// In the words of the JSON parser.
        what: String,
    },
    /// A JSON value that is no object.
    #[error("the line is no JSON object; begin it with {{ and end it with }}")]
    NoObject,
    /// None of the fields that tell what it is.
    #[error(
        "the line says nothing; give it \"metric\", \"parts\", \"wave\", \"alarm\" or \"about\""
    )]
    Nothing,
    /// A description we do not know.
    #[error("version {0} of json-lines is not known; send {{\"hello\":1}}")]
    Version(u64),
}

impl Message {
    /// Reads a line.
    ///
    /// # Errors
    /// [`MessageError`] says what is wrong and what to do.
    pub fn parse(line: &str) -> Result<Self, MessageError> {
        match line.trim_start().chars().next() {
            None => return Ok(Self::Blank),
            Some('{') => {}
            Some(_) => {
                // What is not even JSON is told as such.
                return Err(read::<IgnoredAny>(line).err().unwrap_or(MessageError::NoObject));
            }
        }
        let which: Which = read(line)?;
        let has = |field: &Option<IgnoredAny>| field.is_some();
        if has(&which.ack) || has(&which.refused) {
            Ok(Self::Echo)
        } else if has(&which.hello) {
            match read::<HelloLine>(line)?.hello {
                spec::VERSION => Ok(Self::Hello),
                other => Err(MessageError::Version(other)),
            }
        } else if has(&which.about) {
            read(line).map(|AboutLine { about }| Self::About(about))
        } else if has(&which.metric) {
            read::<SingleLine>(line).map(|line| Self::Readings(line.into()))
        } else if has(&which.parts) || has(&which.group) {
            read(line).map(Self::Readings)
        } else if has(&which.wave) {
            read(line).map(Self::Wave)
        } else if has(&which.alarm) {
            read(line).map(Self::Alarm)
        } else {
            Err(MessageError::Nothing)
        }
    }
}

fn read<'a, T: Deserialize<'a>>(line: &'a str) -> Result<T, MessageError> {
    serde_json::from_str(line).map_err(|error| {
        let column = error.column();
        let text = error.to_string();
        // It says "at line 1 column 7" at the end; which line it is we know better.
        let what = text.rsplit_once(" at line ").map_or(text.as_str(), |(what, _)| what);
        let what = cut(what).to_owned();
        match error.classify() {
            Category::Data => MessageError::Form { column, what },
            Category::Syntax | Category::Eof | Category::Io => MessageError::Json { column, what },
        }
    })
}

/// The beginning of a text that may quote a whole line.
fn cut(text: &str) -> &str {
    let end = (0..=spec::ERROR_LEN_MAX).rev().find(|end| text.is_char_boundary(*end));
    end.and_then(|end| text.get(..end)).unwrap_or(text)
}

/// The fields that tell what a line is.
#[derive(Deserialize)]
struct Which {
    ack: Option<IgnoredAny>,
    refused: Option<IgnoredAny>,
    hello: Option<IgnoredAny>,
    about: Option<IgnoredAny>,
    metric: Option<IgnoredAny>,
    parts: Option<IgnoredAny>,
    group: Option<IgnoredAny>,
    wave: Option<IgnoredAny>,
    alarm: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HelloLine {
    hello: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AboutLine {
    about: Texts,
}

/// A reading as part of a line.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Part {
    /// Name in the metric catalogue.
    pub metric: String,
    /// A number, or a text.
    pub value: Option<Box<RawValue>>,
    /// UCUM.
    pub unit: Option<String>,
    /// `<` or `>`.
    pub comparator: Option<String>,
    /// Why there is no value.
    pub no_data: Option<String>,
    /// The device's own code, with `no_data` `device_error`.
    pub detail: Option<String>,
    /// What the device says of its value.
    pub validity: Option<String>,
}

/// What the device said as one thing.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReadingsLine {
    /// The compound metric.
    pub group: Option<String>,
    /// The readings.
    pub parts: Vec<Part>,
    /// Which of several like sources.
    pub channel: Option<String>,
    /// Meal, sample site and the like.
    #[serde(default)]
    pub context: Texts,
    /// The device's clock.
    pub device_time: Option<String>,
    /// The device's own number for it.
    pub seq: Option<u64>,
    /// Measured once, though its metric mostly repeats.
    #[serde(default)]
    pub spot: bool,
}

/// The same with one reading.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SingleLine {
    metric: String,
    value: Option<Box<RawValue>>,
    unit: Option<String>,
    comparator: Option<String>,
    no_data: Option<String>,
    detail: Option<String>,
    validity: Option<String>,
    channel: Option<String>,
    #[serde(default)]
    context: Texts,
    device_time: Option<String>,
    seq: Option<u64>,
    #[serde(default)]
    spot: bool,
}

impl From<SingleLine> for ReadingsLine {
    fn from(line: SingleLine) -> Self {
        let SingleLine { metric, value, unit, comparator, no_data, detail, validity, .. } = line;
        let part = Part { metric, value, unit, comparator, no_data, detail, validity };
        let SingleLine { channel, context, device_time, seq, spot, .. } = line;
        Self { group: None, parts: vec![part], channel, context, device_time, seq, spot }
    }
}

/// A run of samples.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WaveLine {
    /// Name in the metric catalogue.
    pub wave: String,
    /// Milliseconds between samples.
    pub period_ms: Option<Box<RawValue>>,
    /// The same as an exact ratio of seconds.
    pub period: Option<PeriodField>,
    /// In device units.
    pub samples: Vec<i32>,
    /// What a count is worth.
    pub scale: Option<ScaleField>,
    /// Which of several like sources.
    pub channel: Option<String>,
    /// A lead was off.
    #[serde(default)]
    pub lead_off: bool,
    /// Samples touch the rails.
    #[serde(default)]
    pub saturation: bool,
    /// A pacemaker pulse was marked.
    #[serde(default)]
    pub pacer: bool,
}

/// `num / den` seconds.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PeriodField {
    /// Upper part of the ratio.
    pub num: u64,
    /// Lower part of the ratio.
    pub den: u64,
}

/// `value = (sample - offset) × per_count`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScaleField {
    /// Unit per count.
    pub per_count: Box<RawValue>,
    /// The count that means zero.
    #[serde(default)]
    pub offset: i32,
    /// UCUM.
    pub unit: String,
}

/// A device alarm.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AlarmLine {
    /// MDC event code, or the device's own code.
    pub alarm: Box<RawValue>,
    /// `start`, `update`, `end`.
    pub phase: String,
    /// What it is about, where the code does not say it.
    pub kind: Option<String>,
    /// `low`, `medium`, `high`.
    pub priority: Option<String>,
    /// As the device shows it.
    pub text: Option<String>,
    /// The metric it is about.
    pub source: Option<String>,
    /// Which of several like sources.
    pub channel: Option<String>,
    /// The device's clock.
    pub device_time: Option<String>,
}

/// An object of texts; a name that comes twice is refused.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Texts(pub BTreeMap<String, String>);

impl<'de> Deserialize<'de> for Texts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(TextsVisitor)
    }
}

struct TextsVisitor;

impl<'de> Visitor<'de> for TextsVisitor {
    type Value = Texts;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("an object of texts")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Texts, A::Error> {
        let mut texts = BTreeMap::new();
        while let Some((name, text)) = map.next_entry::<String, String>()? {
            if texts.contains_key(&name) {
                return Err(A::Error::custom(format!("duplicate field `{name}`")));
            }
            texts.insert(name, text);
        }
        Ok(Texts(texts))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::{collection::vec, prelude::*};

    fn lines(chunks: &[&[u8]]) -> Vec<Result<String, LineError>> {
        let mut decoder = Decoder::default();
        chunks.iter().flat_map(|chunk| decoder.decode(chunk).collect::<Vec<_>>()).collect()
    }

    fn text(line: &str) -> Result<String, LineError> {
        Ok(line.to_owned())
    }

    #[test]
    fn a_line_ends_with_a_line_feed() {
        assert_eq!(lines(&[b"{}\r\n\n{\"a\":1}\n{"]), [text("{}"), text(""), text("{\"a\":1}")]);
    }

    #[test]
    fn a_line_over_the_limit_is_one_mistake_and_the_next_is_read() {
        let longest = vec![b' '; spec::LINE_LEN_MAX];
        let bytes = [&longest[..], b"\n", &longest, b"x\n", &longest, &longest, b"\n{}\n"].concat();
        let found = lines(&[&bytes]);
        assert!(found[0].is_ok());
        let too_long = |len| Err(LineError::TooLong { len });
        assert_eq!(
            found[1..],
            [too_long(spec::LINE_LEN_MAX + 1), too_long(2 * spec::LINE_LEN_MAX), text("{}")]
        );
    }

    #[test]
    fn bytes_that_are_no_text_are_one_mistake() {
        assert_eq!(lines(&[b"{\"a\xff\"}\n{}\n"]), [Err(LineError::Utf8 { at: 4 }), text("{}")]);
    }

    fn error(line: &str) -> String {
        Message::parse(line).unwrap_err().to_string()
    }

    #[test]
    fn mistakes_say_where_they_are() {
        for (line, said) in [
            ("hello", "no JSON at column 1: expected value; send one object a line"),
            ("{\"metric\":\"hr\",", "no JSON at column 15: EOF while parsing"),
            ("{\"metric\":\"hr\"} {}", "no JSON at column 17: trailing characters"),
            ("{\"metric\":\"hr\",\"value\":07}", "no JSON at column 25: invalid number"),
            ("[1,2]", "the line is no JSON object"),
            ("{}", "the line says nothing; give it \"metric\""),
            ("{\"value\":72}", "the line says nothing"),
            ("{\"metric\":7}", "invalid type: integer `7`, expected a string (column 11)"),
            (
                "{\"metric\":\"hr\",\"vale\":72}",
                "unknown field `vale`, expected one of `metric`, `value`",
            ),
            ("{\"metric\":\"hr\",\"metric\":\"rr\"}", "duplicate field `metric`"),
            ("{\"metric\":\"hr\",\"context\":{\"a\":\"1\",\"a\":\"2\"}}", "duplicate field `a`"),
            ("{\"group\":\"nibp\"}", "missing field `parts`"),
            ("{\"wave\":\"pleth\",\"samples\":[1.5]}", "invalid type: floating point `1.5`"),
            ("{\"wave\":\"pleth\",\"samples\":[null]}", "invalid type: null, expected i32"),
            ("{\"metric\":\"hr\",\"seq\":-1}", "invalid value: integer `-1`, expected u64"),
            ("{\"hello\":2}", "version 2 of json-lines is not known"),
            ("{\"about\":{\"model\":7}}", "invalid type: integer `7`, expected a string"),
        ] {
            assert!(error(line).starts_with(said), "{line}: {}", error(line));
        }
    }

    #[test]
    fn a_mistake_never_quotes_a_whole_line() {
        let long = "é".repeat(8_000);
        assert!(error(&format!("{{\"metric\":\"hr\",\"{long}\":1}}")).len() < 400);
    }

    #[test]
    fn our_own_answers_are_known() {
        for line in ["{\"ack\":3}", "{\"refused\":3,\"error\":\"no JSON\"}"] {
            assert!(matches!(Message::parse(line), Ok(Message::Echo)), "{line}");
        }
        assert!(matches!(Message::parse("{\"hello\":1}"), Ok(Message::Hello)));
        assert!(matches!(Message::parse("  "), Ok(Message::Blank)));
    }

    proptest! {
        #[test]
        fn cutting_does_not_matter(
            bytes in vec(prop_oneof![Just(b'\n'), Just(b'\r'), any::<u8>()], 0..200),
            cut in 0_usize..200,
        ) {
            let (head, tail) = bytes.split_at(cut.min(bytes.len()));
            prop_assert_eq!(lines(&[&bytes]), lines(&[head, tail]));
        }

        #[test]
        fn what_stays_buffered_is_bounded(len in 0_usize..100_000) {
            let mut decoder = Decoder::default();
            decoder.decode(&vec![b'x'; len]).for_each(drop);
            prop_assert!(decoder.line.capacity() <= 2 * spec::LINE_LEN_MAX);
            prop_assert_eq!(decoder.give_up(), len);
        }

        #[test]
        fn no_line_is_a_message_by_chance(line in "[{\\[\"a-z0-9:,.é \\\\]{0,80}") {
            let found = Message::parse(&line);
            prop_assert!(matches!(found, Err(_) | Ok(Message::Blank)));
        }
    }
}
