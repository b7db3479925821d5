//! Plays a story to a driver of Bluetooth LE, as the agent would run it.

use super::{
    super::check::{Checker, Pace},
    device::{self, Options, PMD_CONTROL},
    loss::Loss,
    story::{Step, Story},
};
use drivers::{
    gatt::{Characteristic, Cursor, GattDriver, GattEvent, GattOutput, Refusal, Request},
    registry::GattName,
};
use model::{
    reading::NoData,
    record::Record,
    time::{ClockQuality, MonoTime, Now, Uptime, WallTime},
};
use std::{collections::VecDeque, time::Duration};

/// 2026-11-22 08:15 UTC.
const WALL_START_MS: i64 = 1_795_335_300_000;
/// A step of time.
const TICK: Duration = Duration::from_millis(4);
/// Time and bytes of one story.
const TIME_MAX: Duration = Duration::from_secs(300);
const BYTES_MAX: usize = 20 * 1024;
/// "The maximum length of an attribute value is 512 octets" (Core Specification, vol. 3, part F).
const VALUE_LEN_MAX: usize = 512;
/// Requests that wait: everything that is read and subscribed at the beginning, and a few more.
const ASKED_MAX: usize = 64;
/// What is written in one connection: a story has 300 s, and what is not answered is asked again
/// after 5 to 10 s.
const WRITES_MAX: u32 = 150;

/// Plays the input three times: as it is; with values that come before the connection; and with a
/// program that starts again after each connection. What is said must be sound, and the same.
pub(in super::super) fn run(name: GattName, input: &[u8]) -> usize {
    let story = Story::read(input);
    let told = Link::play(name, &story);
    let early = Link::play(name, &story.early());
    let until = told.same_until.min(early.same_until);
    let measured = |link: &Link| link.records.iter().take(until).filter_map(measured).collect();
    let (as_told, before): (Vec<_>, Vec<_>) = (measured(&told), measured(&early));
    assert_eq!(as_told, before, "a value that comes before the connection means something else");
    let again = Link::play(name, &story.restarting());
    let lasting = |link: &Link| link.records.iter().filter_map(lasting).collect();
    let (as_told, again): (Vec<_>, Vec<_>) = (lasting(&told), lasting(&again));
    assert_eq!(as_told, again, "a program that starts again says something else");
    as_told.len()
}

/// What was measured; not that a device fell silent, which depends on what it said before.
fn measured(record: &Record) -> Option<Record> {
    match record {
        Record::Readings(group) => {
            let silent = group.readings.iter().all(|one| one.value == Err(NoData::Silent));
            (!silent).then(|| record.clone())
        }
        Record::Waveform(_) => Some(record.clone()),
        _ => None,
    }
}

/// What was measured, but for the place of a sensor, which is asked for in each connection.
fn lasting(record: &Record) -> Option<Record> {
    let mut record = measured(record)?;
    if let Record::Readings(group) = &mut record {
        group.context.remove("sensor_location");
    }
    Some(record)
}

struct Link {
    name: GattName,
    options: Options,
    driver: Box<dyn GattDriver>,
    places: Vec<Characteristic>,
    elapsed: Duration,
    jumped_ms: i64,
    received: usize,
    newest: (Characteristic, Vec<u8>),
    cursor: Option<Cursor>,
    checker: Checker,
    loss: Loss,
    /// What the device has, while it is connected.
    found: Option<Vec<Characteristic>>,
    /// The driver has heard of this connection: it must hear of its end.
    told: bool,
    asked: VecDeque<Request>,
    writes: u32,
    /// The ECG was started and not stopped since; a strap that is not told goes on.
    streams: bool,
    records: Vec<Record>,
    /// Records until the driver sent the device away: when it does depends on when it was told of
    /// the connection.
    same_until: usize,
}

impl Link {
    /// Plays the whole story.
    fn play(name: GattName, story: &Story) -> Self {
        let (options, places) = (Options(story.options), device::places(name));
        let mut link = Self {
            name,
            options,
            driver: options.driver(name, None),
            newest: (places[0], Vec::new()),
            places,
            elapsed: Duration::ZERO,
            jumped_ms: 0,
            received: 0,
            cursor: None,
            checker: Checker::new(false),
            loss: Loss::new(None),
            found: None,
            told: false,
            asked: VecDeque::new(),
            writes: 0,
            streams: false,
            records: Vec::new(),
            same_until: usize::MAX,
        };
        for step in &story.steps {
            if link.elapsed > TIME_MAX || link.received > BYTES_MAX {
                break;
            }
            link.step(step);
        }
        link.disconnect();
        link
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Value(place, value) => {
                let place = self.places[usize::from(*place) % self.places.len()];
                let value = value.get(..VALUE_LEN_MAX).unwrap_or(value);
                self.receive(place, value);
                self.newest = (place, value.to_vec());
            }
            Step::Connect(missing) => self.connect(*missing),
            Step::Answer(value) => {
                let value = value.get(..VALUE_LEN_MAX).unwrap_or(value);
                self.answer(|request| match request {
                    Request::Read(_) => Ok(value.to_vec()),
                    _ => Ok(Vec::new()),
                });
            }
            Step::Refuse(why) => self.answer(|_| {
                Err(match why {
                    0 => Refusal::NotPaired,
                    1 => Refusal::Other("org.bluez.Error.Failed: \n".to_owned()),
                    code => Refusal::Att(*code),
                })
            }),
            Step::AnswerAll => {
                // Of what is asked thereupon, the story says.
                for _ in 0..self.asked.len() {
                    self.answer(|request| match request {
                        Request::Read(place) => Ok(device::read(*place).to_vec()),
                        _ => Ok(Vec::new()),
                    });
                }
            }
            Step::Pass(ticks) => self.pass(TICK * u32::from(*ticks)),
            Step::Wait => {
                if let Some(due) = self.driver.next_timeout() {
                    self.pass(due.since_start().saturating_sub(self.elapsed));
                }
            }
            Step::Disconnect => self.disconnect(),
            Step::Leave => self.leave(),
            Step::Restart => {
                self.disconnect();
                self.driver = self.options.driver(self.name, self.cursor.clone());
                assert_eq!(self.driver.next_timeout(), None, "it waits for its device");
            }
            Step::Again(count) => self.again(*count),
            Step::Jump(minutes) => self.jumped_ms += i64::from(*minutes) * 60_000,
        }
        self.send_away();
    }

    /// A device that is connected is not connected once more.
    fn connect(&mut self, missing: u16) {
        if self.found.is_some() {
            return;
        }
        let has = |(bit, _): &(u32, _)| missing.checked_shr(*bit).unwrap_or_default() & 1 == 0;
        let found = (0..).zip(self.places.iter().copied()).filter(has);
        let found: Vec<_> = found.map(|(_, place)| place).collect();
        self.found = Some(found.clone());
        self.tell(GattEvent::Connected(&found));
    }

    fn again(&mut self, count: u8) {
        for _ in 0..count {
            if self.received > BYTES_MAX {
                break;
            }
            let (place, mut value) = self.newest.clone();
            if let Some(number) = value.get_mut(1..3) {
                let counted = u16::from_le_bytes([number[0], number[1]]).wrapping_add(1);
                number.copy_from_slice(&counted.to_le_bytes());
            }
            self.receive(place, &value);
            self.newest = (place, value);
        }
    }

    fn receive(&mut self, place: Characteristic, value: &[u8]) {
        self.received += value.len().max(1);
        // "The stream stands: the strap says no."
        let is_started = matches!(value, [0xF0, 2, 0, 0 | 6, ..]);
        if place == PMD_CONTROL && value.starts_with(&[0xF0, 2, 0]) && !is_started {
            self.streams = false;
        }
        let before = self.records.len();
        self.tell(GattEvent::Received(place, value));
        self.loss.value(place, value, &self.records[before..]);
    }

    /// Answers the oldest request, unless it is that the device is sent away.
    fn answer(&mut self, how: impl Fn(&Request) -> Result<Vec<u8>, Refusal>) {
        let Some(request) = self.asked.front() else { return };
        if *request == Request::Disconnect {
            return;
        }
        let Some(request) = self.asked.pop_front() else { return };
        let answer = how(&request);
        if matches!(&request, Request::Write(PMD_CONTROL, _)) && answer.is_err() {
            self.streams = false;
        }
        let answer = answer.as_ref().map(Vec::as_slice);
        self.tell(GattEvent::Answered(&request, answer));
    }

    fn leave(&mut self) {
        if self.found.is_none() {
            return;
        }
        self.tell(GattEvent::Leaving);
        assert!(!self.streams, "the strap is not told to stop");
    }

    /// What was asked before comes first.
    fn send_away(&mut self) {
        if self.asked.front() == Some(&Request::Disconnect) {
            self.disconnect();
        }
    }

    fn disconnect(&mut self) {
        self.found = None;
        self.asked.clear();
        self.streams = false;
        if std::mem::take(&mut self.told) {
            self.tell(GattEvent::Disconnected);
            self.told = false;
        }
        assert_eq!(self.driver.next_timeout(), None, "it waits for a device that is away");
        self.loss.end();
        self.loss = Loss::new(self.cursor.as_ref());
        self.writes = 0;
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
            self.tell(GattEvent::TimedOut);
            self.send_away();
        }
        pace.end(time);
        self.elapsed = end;
    }

    fn tell(&mut self, event: GattEvent<'_>) {
        self.told = true;
        self.checker.before(match event {
            GattEvent::Received(_, value) | GattEvent::Answered(_, Ok(value)) => value.len(),
            _ => 0,
        });
        self.driver.handle(self.now(), event);
        while let Some(output) = self.driver.poll_output() {
            self.checker.check(&output);
            match output {
                GattOutput::Emit(record) => {
                    self.loss.said(&record);
                    self.records.push(record);
                }
                GattOutput::Remember(cursor) => {
                    self.loss.remembered(&cursor);
                    self.cursor = Some(cursor);
                }
                GattOutput::Send(request) => self.ask(request),
                GattOutput::Note(_) => {}
            }
        }
    }

    fn ask(&mut self, request: Request) {
        let found = self.found.as_ref().expect("it asks a device that is away");
        let allowed = device::may_be_asked(self.name, self.options, self.now(), &request);
        assert!(allowed, "it must not ask {request:02x?}");
        match &request {
            Request::Disconnect => self.same_until = self.same_until.min(self.records.len()),
            Request::Write(place, value) => {
                assert!(found.contains(place), "it asks for what is not there: {request:?}");
                self.writes += 1;
                assert!(self.writes <= WRITES_MAX, "it writes again and again");
                match value.as_slice() {
                    [2, ..] if *place == PMD_CONTROL => self.streams = true,
                    [3, ..] if *place == PMD_CONTROL => self.streams = false,
                    _ => {}
                }
            }
            Request::Read(place) | Request::Subscribe(place) => {
                assert!(found.contains(place), "it asks for what is not there: {request:?}");
            }
        }
        self.asked.push_back(request);
        assert!(self.asked.len() <= ASKED_MAX, "it asks more than a device can answer");
    }

    fn now(&self) -> Now {
        let since = i64::try_from(self.elapsed.as_millis()).unwrap_or(i64::MAX);
        let quality = match self.options.knows_the_time() {
            true => ClockQuality::Synchronised,
            false => ClockQuality::Unknown,
        };
        Now {
            mono: MonoTime::from_start(self.elapsed),
            uptime: Uptime::default(),
            wall: WallTime::from_unix_ms(WALL_START_MS + since + self.jumped_ms),
            quality,
        }
    }
}
