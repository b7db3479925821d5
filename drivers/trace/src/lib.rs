//! Recordings of a link: bytes and times, no meaning.
//!
//! Not here: files, clocks, what the bytes say. The agent writes traces, `clinic-sim` replays and
//! decodes them, a person reads them with a text editor. The format is in this package's README.
//!
//! # Invariants
//! - what is written reads back the same; what was changed by hand is read or refused with its line
//! - a line is read by itself: a trace that was cut off is good up to there

use std::{fmt::Write as _, str::FromStr as _, time::Duration};
use thiserror::Error;

/// "clinic-trace 1": the version is part of the first word of every trace.
const FIRST_LINE: &str = "clinic-trace 1";
/// Between what the trace is of and what happened.
const END_OF_HEAD: &str = "--";
/// Longest line: 4096 bytes in hex and what stands before them.
pub const LINE_LEN_MAX: usize = 3 * EVENT_LEN_MAX + 64;
/// Most bytes of one event; longer runs are several events of the same time.
pub const EVENT_LEN_MAX: usize = 4096;
/// Lines of a head.
const HEAD_LINES_MAX: usize = 64;
/// A hundred years: whoever adds a few of these to a clock stays inside it.
const TIME_MAX: Duration = Duration::from_secs(3_155_760_000);

/// What a trace is of: names and texts, in the order in which they were written.
///
/// `device`, `driver`, `settings` and `started` are always there in a trace of the agent; others
/// are options of the driver.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Head(Vec<(String, String)>);

/// What happened on the link.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Event {
    /// The port was opened.
    Opened,
    /// Bytes of the device.
    Received(Vec<u8>),
    /// Bytes for the device.
    Sent(Vec<u8>),
    /// The port is gone.
    Closed,
    /// What happened since the event before is not in the trace.
    Gap,
}

/// An event and when it happened, since the start of the trace, in microseconds.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Entry {
    /// Since the start.
    pub at: Duration,
    /// What happened.
    pub event: Event,
}

/// Why a line is no line of a trace.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[error("line {line}: {problem}")]
pub struct TraceError {
    /// Counted from 1.
    pub line: u64,
    /// What is wrong with it.
    pub problem: Problem,
}

/// What is wrong with a line.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum Problem {
    /// The first line is another.
    #[error("this is no trace of version 1: its first line is not \"{FIRST_LINE}\"")]
    FirstLine,
    /// A line of the head is not "name: text".
    #[error("expected \"name: text\", or \"{END_OF_HEAD}\" at the end of the head")]
    Head,
    /// The head has no end.
    #[error("the head has more than {HEAD_LINES_MAX} lines; is a line \"{END_OF_HEAD}\" missing")]
    HeadTooLong,
    /// The trace ended before anything could be in it.
    #[error("the trace ends before the line \"{END_OF_HEAD}\", and nothing is in it")]
    NoEvents,
    /// The time is no time.
    #[error("expected seconds since the start with six decimals, as in 12.345678")]
    Time,
    /// The time is later than anything is recorded.
    #[error("the time is more than a hundred years after the start; correct it")]
    TooLate,
    /// The time is before that of the line above.
    #[error("the time is before that of the line above")]
    Backwards,
    /// The event is not known.
    #[error("expected one of: opened, closed, gap, < and bytes, > and bytes")]
    Event,
    /// The bytes are no bytes.
    #[error("expected two hexadecimal digits for each of at most {EVENT_LEN_MAX} bytes")]
    Bytes,
    /// The line is longer than any line of a trace.
    #[error("the line has more than {LINE_LEN_MAX} characters")]
    LineTooLong,
}

impl Head {
    /// Adds a name and its text. What would break the form is replaced by spaces.
    #[must_use]
    pub fn with(mut self, name: &str, text: &str) -> Self {
        let plain = |text: &str| text.replace(|letter: char| letter.is_control(), " ");
        // A name that begins with "#" would make the line a comment.
        let name = plain(name).replace([':', '#'], " ");
        self.0.push((name.trim().to_owned(), plain(text).trim().to_owned()));
        self
    }

    /// The text of that name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, text)| text.as_str())
    }

    /// All names and texts.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, text)| (name.as_str(), text.as_str()))
    }

    /// The first lines of a trace.
    #[must_use]
    pub fn lines(&self) -> String {
        let mut lines = format!("{FIRST_LINE}\n");
        for (name, text) in &self.0 {
            // Writing to memory cannot fail.
            let _written = writeln!(lines, "{name}: {text}");
        }
        lines + END_OF_HEAD + "\n"
    }
}

impl Entry {
    /// The entry's lines: more than one where there are more bytes than fit.
    #[must_use]
    pub fn lines(&self) -> String {
        let time = format!("{}.{:06}", self.at.as_secs(), self.at.subsec_micros());
        match &self.event {
            Event::Opened => format!("{time} opened\n"),
            Event::Closed => format!("{time} closed\n"),
            Event::Gap => format!("{time} gap\n"),
            Event::Received(bytes) => byte_lines(&time, '<', bytes),
            Event::Sent(bytes) => byte_lines(&time, '>', bytes),
        }
    }
}

fn byte_lines(time: &str, sign: char, bytes: &[u8]) -> String {
    let mut lines = String::new();
    for chunk in bytes.chunks(EVENT_LEN_MAX) {
        lines += time;
        lines.push(' ');
        lines.push(sign);
        for byte in chunk {
            // Writing to memory cannot fail.
            let _written = write!(lines, " {byte:02x}");
        }
        lines.push('\n');
    }
    lines
}

/// Reads a trace line by line; keeps nothing but the head.
#[derive(Debug, Default)]
pub struct Reader {
    head: Head,
    line: u64,
    place: Place,
    newest: Duration,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum Place {
    #[default]
    Start,
    Head,
    Events,
}

impl Reader {
    /// Takes a line, without its end. `None` for lines of the head, empty lines and comments, which
    /// begin with `#`, with or without space before it.
    ///
    /// # Errors
    /// When the line is no line of a trace; the next one may be read all the same.
    pub fn take(&mut self, text: &str) -> Result<Option<Entry>, TraceError> {
        self.line += 1;
        self.read(text).map_err(|problem| TraceError { line: self.line, problem })
    }

    /// There are no more lines.
    ///
    /// # Errors
    /// When the head did not end: an empty file is no trace. One in which nothing happened is.
    pub fn end(&self) -> Result<(), TraceError> {
        match self.place {
            Place::Events => Ok(()),
            _ => Err(TraceError { line: self.line.max(1), problem: Problem::NoEvents }),
        }
    }

    /// What the trace is of, as far as it was read.
    #[must_use]
    pub fn head(&self) -> &Head {
        &self.head
    }

    fn read(&mut self, text: &str) -> Result<Option<Entry>, Problem> {
        if text.len() > LINE_LEN_MAX {
            return Err(Problem::LineTooLong);
        }
        let text = text.trim_end();
        let comment = text.trim_start().starts_with('#');
        if self.place != Place::Start && (text.is_empty() || comment) {
            return Ok(None);
        }
        match self.place {
            Place::Start if text == FIRST_LINE => self.place = Place::Head,
            Place::Start => return Err(Problem::FirstLine),
            Place::Head if text == END_OF_HEAD => self.place = Place::Events,
            Place::Head => {
                if self.head.0.len() >= HEAD_LINES_MAX {
                    return Err(Problem::HeadTooLong);
                }
                let (name, text) = text.split_once(':').ok_or(Problem::Head)?;
                self.head.0.push((name.trim().to_owned(), text.trim().to_owned()));
            }
            Place::Events => return self.event(text).map(Some),
        }
        Ok(None)
    }

    fn event(&mut self, text: &str) -> Result<Entry, Problem> {
        let (time, rest) = text.split_once(' ').ok_or(Problem::Event)?;
        let at = time_of(time).ok_or(Problem::Time)?;
        if at > TIME_MAX {
            return Err(Problem::TooLate);
        }
        if at < self.newest {
            return Err(Problem::Backwards);
        }
        let event = match rest.trim_start().split_once(' ').unwrap_or((rest.trim(), "")) {
            ("opened", "") => Event::Opened,
            ("closed", "") => Event::Closed,
            ("gap", "") => Event::Gap,
            ("<", bytes) => Event::Received(bytes_of(bytes).ok_or(Problem::Bytes)?),
            (">", bytes) => Event::Sent(bytes_of(bytes).ok_or(Problem::Bytes)?),
            _ => return Err(Problem::Event),
        };
        self.newest = at;
        Ok(Entry { at, event })
    }
}

fn time_of(text: &str) -> Option<Duration> {
    let (seconds, micros) = text.split_once('.')?;
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if micros.len() != 6 || !digits(micros) || !digits(seconds) {
        return None;
    }
    let seconds = u64::from_str(seconds).ok()?;
    Some(Duration::from_secs(seconds).saturating_add(Duration::from_micros(micros.parse().ok()?)))
}

fn bytes_of(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> = text
        .bytes()
        .filter(|byte| !byte.is_ascii_whitespace())
        .map(|byte| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
        .collect::<Option<_>>()?;
    let (pairs, rest) = digits.as_chunks::<2>();
    let good = !pairs.is_empty() && rest.is_empty() && pairs.len() <= EVENT_LEN_MAX;
    good.then(|| pairs.iter().map(|[high, low]| high * 16 + low).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::{collection::vec, prelude::*};

    /// The example of the package's README.
    const EXAMPLE: &str = include_str!("../example.trace");

    fn read(text: &str) -> (Head, Vec<Result<Entry, TraceError>>) {
        let mut reader = Reader::default();
        let entries = text.lines().filter_map(|line| reader.take(line).transpose()).collect();
        (reader.head, entries)
    }

    fn problem(text: &str) -> Problem {
        let (_, entries) = read(&format!("{FIRST_LINE}\n{END_OF_HEAD}\n1.000000 opened\n{text}"));
        let error = entries.into_iter().find_map(Result::err).unwrap();
        assert_eq!(error.line, 4);
        error.problem
    }

    #[test]
    fn the_example_of_the_readme_is_a_trace() {
        let (head, entries) = read(EXAMPLE);
        assert_eq!((head.get("device"), head.get("driver")), (Some("bp-01"), Some("tm2655")));
        assert_eq!(head.get("settings"), Some("2400 8N1"));
        let entries: Vec<_> = entries.into_iter().map(Result::unwrap).collect();
        assert_eq!(entries[0], Entry { at: Duration::ZERO, event: Event::Opened });
        assert!(matches!(&entries[1].event, Event::Sent(bytes) if bytes.len() == 10));
        assert_eq!(entries.last().unwrap().event, Event::Closed);
        assert!(include_str!("../README.md").contains(EXAMPLE));
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        assert_eq!(problem("0.500000 opened"), Problem::Backwards);
        assert_eq!(problem("1.5 opened"), Problem::Time);
        assert_eq!(problem("-1.000000 opened"), Problem::Time);
        assert_eq!(problem("3155760000.000001 opened"), Problem::TooLate);
        assert_eq!(problem("18446744073709551615.999999 gap"), Problem::TooLate);
        assert_eq!(problem("18446744073709551616.000000 gap"), Problem::Time);
        assert_eq!(problem("1.000000"), Problem::Event);
        assert_eq!(problem("1.000000 unplugged"), Problem::Event);
        assert_eq!(problem("1.000000 < 5"), Problem::Bytes);
        assert_eq!(problem("1.000000 <"), Problem::Bytes);
        assert_eq!(problem("1.000000 < 5g"), Problem::Bytes);
        assert_eq!(problem(&"9".repeat(LINE_LEN_MAX + 1)), Problem::LineTooLong);
        let (_, entries) = read("clinic-trace 2\n");
        assert_eq!(entries[0].as_ref().unwrap_err().problem, Problem::FirstLine);
        let end_of = |text: &str| {
            let mut reader = Reader::default();
            text.lines().for_each(|line| drop(reader.take(line)));
            reader.end().map_err(|error| (error.line, error.problem))
        };
        assert_eq!(end_of(""), Err((1, Problem::NoEvents)));
        assert_eq!(end_of("clinic-trace 1\ndevice: x\n"), Err((2, Problem::NoEvents)));
        assert_eq!(end_of("clinic-trace 1\n--\n"), Ok(()));
        let long = "a: b\n".repeat(HEAD_LINES_MAX + 1);
        let (_, entries) = read(&format!("{FIRST_LINE}\n{long}"));
        assert_eq!(entries[0].as_ref().unwrap_err().problem, Problem::HeadTooLong);
    }

    #[test]
    fn a_person_may_write_comments_and_space_bytes_as_he_likes() {
        let text = format!(
            "{FIRST_LINE}\n# by hand\n # port: of the ward\n{END_OF_HEAD}\n\n  # hello\n\
             0.000001 < 55AA 04\n"
        );
        let (head, entries) = read(&text);
        assert_eq!(head, Head::default());
        let event = Event::Received(vec![0x55, 0xaa, 4]);
        assert_eq!(entries, [Ok(Entry { at: Duration::from_micros(1), event })]);
    }

    #[test]
    fn a_name_cannot_break_the_head() {
        let head = Head::default().with("de:vice\n", " a: b\r\n-- ").with("x", "");
        let (again, _) = read(&head.lines());
        assert_eq!(again, head);
        assert_eq!(again.get("de vice"), Some("a: b  --"));
        let head = Head::default().with("# port", "of the ward");
        assert_eq!(read(&head.lines()).0.get("port"), Some("of the ward"));
    }

    fn event() -> impl Strategy<Value = Event> {
        prop_oneof![
            Just(Event::Opened),
            Just(Event::Closed),
            Just(Event::Gap),
            vec(any::<u8>(), 1..40).prop_map(Event::Received),
            vec(any::<u8>(), 1..40).prop_map(Event::Sent),
        ]
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(steps in vec((0_u64..5_000_000, event()), 0..20)) {
            let mut at = Duration::ZERO;
            let entries: Vec<_> = steps.into_iter().map(|(step, event)| {
                at += Duration::from_micros(step);
                Entry { at, event }
            }).collect();
            let head = Head::default().with("device", "ecg-01");
            let lines: String = entries.iter().map(Entry::lines).collect();
            let (again, read) = read(&(head.lines() + &lines));
            prop_assert_eq!(again, head);
            prop_assert_eq!(read, entries.into_iter().map(Ok).collect::<Vec<_>>());
        }

        #[test]
        fn many_bytes_are_several_lines_that_fit(bytes in vec(any::<u8>(), 1..3 * EVENT_LEN_MAX)) {
            let entry = Entry { at: Duration::MAX, event: Event::Sent(bytes.clone()) };
            prop_assert!(entry.lines().lines().all(|line| line.len() <= LINE_LEN_MAX));
            let lines = Entry { at: TIME_MAX, ..entry }.lines();
            let head = Head::default().lines();
            let (_, read) = read(&(head + &lines));
            let again: Vec<u8> = read.into_iter().flat_map(|entry| match entry.unwrap().event {
                Event::Sent(bytes) => bytes,
                other => panic!("{other:?}"),
            }).collect();
            prop_assert_eq!(again, bytes);
        }

        #[test]
        fn no_text_makes_the_reader_panic(lines in vec(".{0,80}", 0..20)) {
            let mut reader = Reader::default();
            drop(reader.take(FIRST_LINE));
            for line in lines {
                drop(reader.take(&line));
            }
            drop(reader.take(END_OF_HEAD));
            drop(reader.take("18446744073709551615.999999 opened"));
        }
    }
}
