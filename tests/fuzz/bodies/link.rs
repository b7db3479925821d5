//! Plays a story to a driver, as the agent would run it.

use super::{
    check::{Checker, Pace},
    device,
    story::{Step, Story},
};
use drivers::{
    redaction::{Redactor, Said},
    registry::{DriverName, redactor},
    serial::{Cursor, SerialDriver, SerialEvent, SerialOutput},
};
use model::{
    record::Record,
    time::{ClockQuality, MonoTime, Now, Uptime, WallTime},
};
use std::time::Duration;

/// 2026-11-22 08:15 UTC.
const WALL_START_MS: i64 = 1_795_335_300_000;
/// As fine as the recordings in `tests/traces`.
const TICK: Duration = Duration::from_millis(4);
/// Time of one story: longer than everything that a driver waits for but a poll of a day.
const TIME_MAX: Duration = Duration::from_secs(300);
/// Bytes of one story: more than the longest frame of most protocols, 16 KiB, and of `bcc`.
const BYTES_MAX: usize = 20 * 1024;
const BYTES_MAX_BCC: usize = 72 * 1024;
/// Pieces into which bytes are cut: a longest line byte by byte takes seconds, and shows no more.
const PIECES_MAX: usize = 1024;
/// The longest is the association request of `intellivue`, or a refusal of `json-lines`.
const SEND_LEN_MAX: usize = 2048;

/// Plays the input twice, its bytes cut in two ways: what is said must be sound, and the same.
pub(super) fn run(name: DriverName, input: &[u8]) -> usize {
    let story = Story::read(input);
    let whole = Link::play(name, &story, usize::MAX);
    let cut = Link::play(name, &story, 1 + usize::from(story.cut % 64));
    if !cut.asked_between {
        for (whole, cut) in whole.records.iter().zip(&cut.records) {
            assert_eq!(whole, cut, "cutting the bytes changes what is said");
        }
        let (whole, cut) = (whole.records.len(), cut.records.len());
        assert_eq!(whole, cut, "cutting the bytes changes how much is said");
    }
    let readings = whole.records.iter().filter(|record| matches!(record, Record::Readings(_)));
    readings.count()
}

struct Link {
    name: DriverName,
    options: u8,
    driver: Box<dyn SerialDriver>,
    cut: usize,
    elapsed: Duration,
    jumped_ms: i64,
    received: usize,
    newest: Vec<u8>,
    cursor: Option<Cursor>,
    checker: Checker,
    open: bool,
    records: Vec<Record>,
    /// More pieces of the same bytes are to come.
    between: bool,
    /// The driver asked between two pieces, and drains what has come before it asks ("Drain the
    /// input before each request", Asena §10): then cuts do matter.
    asked_between: bool,
    recorder: Recorder,
}

/// Keeps what a recording of the link would keep.
struct Recorder {
    redactor: Redactor,
    newest: Duration,
    /// Bytes in, less the bytes out; `None` where what is masked may need fewer escapes.
    held: Option<usize>,
}

impl Link {
    /// Plays the whole story.
    fn play(name: DriverName, story: &Story, cut: usize) -> Self {
        let mut link = Self {
            name,
            options: story.options,
            driver: device::driver(name, story.options, None),
            cut,
            elapsed: Duration::ZERO,
            jumped_ms: 0,
            received: 0,
            newest: Vec::new(),
            cursor: None,
            checker: Checker::new(name == DriverName::JsonLines),
            open: false,
            records: Vec::new(),
            between: false,
            asked_between: false,
            recorder: Recorder::new(name),
        };
        link.tell(SerialEvent::Opened);
        for step in &story.steps {
            if link.elapsed > TIME_MAX || link.received > link.bytes_max() {
                break;
            }
            link.step(step);
        }
        link.close();
        link
    }

    fn bytes_max(&self) -> usize {
        if self.name == DriverName::Bcc { BYTES_MAX_BCC } else { BYTES_MAX }
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Bytes(bytes) => self.receive(bytes.clone()),
            Step::Frame(content) => self.receive(device::frame(self.name, content)),
            Step::Pass(ticks) => self.pass(TICK * u32::from(*ticks)),
            Step::Wait => {
                if let Some(due) = self.driver.next_timeout() {
                    self.pass(due.since_start().saturating_sub(self.elapsed));
                }
            }
            Step::Commit => self.tell(SerialEvent::Committed),
            Step::Reopen => {
                self.close();
                self.tell(SerialEvent::Opened);
            }
            Step::Restart => {
                self.close();
                self.driver = device::driver(self.name, self.options, self.cursor.clone());
                assert_eq!(self.driver.next_timeout(), None, "it waits for its port");
                self.tell(SerialEvent::Opened);
            }
            Step::Again(count) => {
                let room = self.bytes_max() / self.newest.len().max(1);
                let bytes = self.newest.repeat(usize::from(*count).min(room));
                self.hand_over(&bytes);
            }
            Step::Jump(minutes) => self.jumped_ms += i64::from(*minutes) * 60_000,
        }
    }

    fn receive(&mut self, bytes: Vec<u8>) {
        self.hand_over(&bytes);
        self.newest = bytes;
    }

    fn hand_over(&mut self, bytes: &[u8]) {
        self.received += bytes.len();
        let mut chunks = bytes.chunks(self.cut.max(bytes.len() / PIECES_MAX));
        while let Some(chunk) = chunks.next() {
            self.between = chunks.len() > 0;
            self.tell(SerialEvent::Received(chunk));
            self.recorder.received(self.elapsed, chunk);
        }
    }

    /// Lets time pass as the agent does: from one asked-for moment to the next.
    fn pass(&mut self, time: Duration) {
        let end = self.elapsed + time;
        let mut pace = Pace::default();
        while let Some(due) = self.driver.next_timeout().map(MonoTime::since_start) {
            if due > end {
                break;
            }
            pace.call(due > self.elapsed);
            self.elapsed = self.elapsed.max(due);
            self.tell(SerialEvent::TimedOut);
        }
        pace.end(time);
        self.elapsed = end;
    }

    fn close(&mut self) {
        self.recorder.end();
        self.tell(SerialEvent::Closed);
        assert_eq!(self.driver.next_timeout(), None, "it waits on a closed port");
    }

    fn tell(&mut self, event: SerialEvent<'_>) {
        match event {
            SerialEvent::Opened => {
                self.open = true;
                self.checker.opened();
            }
            SerialEvent::Closed => self.open = false,
            SerialEvent::Received(_) | SerialEvent::TimedOut | SerialEvent::Committed => {}
        }
        self.checker.before(match event {
            SerialEvent::Received(bytes) => bytes.len(),
            _ => 0,
        });
        self.driver.handle(self.now(), event);
        while let Some(output) = self.driver.poll_output() {
            self.checker.check(&output);
            match output {
                SerialOutput::Emit(record) => self.records.push(record),
                SerialOutput::Remember(cursor) => self.cursor = Some(cursor),
                SerialOutput::Send(bytes) => {
                    self.check_sent(&bytes);
                    let drains = matches!(self.name, DriverName::Asena | DriverName::Bcc);
                    self.asked_between |= self.between && drains;
                    self.recorder.sent(self.elapsed, &bytes);
                }
                SerialOutput::Note(_) => {}
            }
        }
    }

    fn check_sent(&self, bytes: &[u8]) {
        assert!(self.open, "it sends to a closed port");
        assert!(bytes.len() <= SEND_LEN_MAX, "it sends {} bytes", bytes.len());
        let allowed = device::may_be_sent(self.name, self.options, bytes);
        assert!(allowed, "it must not send {bytes:02x?}");
    }

    fn now(&self) -> Now {
        let since = i64::try_from(self.elapsed.as_millis()).unwrap_or(i64::MAX);
        Now {
            mono: MonoTime::from_start(self.elapsed),
            uptime: Uptime::default(),
            wall: WallTime::from_unix_ms(WALL_START_MS + since + self.jumped_ms),
            quality: ClockQuality::Synchronised,
        }
    }
}

/// "Every byte comes out once, in order, with the time at which it came."
impl Recorder {
    fn new(name: DriverName) -> Self {
        let escapes = matches!(name, DriverName::Intellivue | DriverName::Bcc);
        let held = (!escapes).then_some(0);
        Self { redactor: redactor(name), newest: Duration::ZERO, held }
    }

    fn received(&mut self, at: Duration, bytes: &[u8]) {
        self.held = self.held.map(|held| held + bytes.len());
        self.redactor.received(at, bytes);
        self.drain();
    }

    fn sent(&mut self, at: Duration, bytes: &[u8]) {
        self.redactor.sent(at, bytes);
        self.drain();
    }

    fn end(&mut self) {
        self.redactor.end();
        self.drain();
        assert_eq!(self.held.unwrap_or_default(), 0, "bytes are missing in the recording");
    }

    fn drain(&mut self) {
        while let Some((at, said)) = self.redactor.next() {
            assert!(at >= self.newest, "times grow");
            self.newest = at;
            if let (Said::Received(bytes), Some(held)) = (said, &mut self.held) {
                let left = held.checked_sub(bytes.len());
                *held = left.expect("no byte is recorded that never came");
            }
        }
    }
}
