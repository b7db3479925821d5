//! OneTouch UltraEasy (UltraMini) blood-glucose meter on its cable: reads what the meter stored.
//!
//! Read first: the protocol sheet of the UltraEasy, §4 (link) and §6 (session).
//!
//! The meter cannot mark a control-solution test: it looks like a patient's result.
//!
//! # Invariants
//! - the meter's clock is never set, its memory never erased
//! - each stored record is emitted once, the oldest of the new ones first
//! - a meter that is not plugged in is the normal case and no news
//! - meters may share a cable: each is a device of its own, told apart by its serial number

pub mod codec;
mod link;

use super::{Cursor, SerialDriver, SerialEvent, SerialOutput};
use crate::{clock_offset::clock_offset, memory::Memory, reporter::Reporter};
use codec::{Decoder, Frame, FrameError, Glucose, Reply, ReplyError, Request, Stored};
use link::{Link, News};
use model::{
    device::{DeviceKind, DeviceState},
    id::DeviceId,
    metric::Metric,
    reading::{Comparator, NoData, Reading, ReadingGroup},
    record::Record,
    time::{ClockQuality, DeviceTime, MonoTime, Now},
    units::Unit,
};
use std::{collections::BTreeMap, time::Duration};

/// Facts about records and the session; those about frames are in [`codec`].
mod spec {
    use super::Duration;

    /// "Record time … before 2000", §8.8: 2000-01-01 00:00:00.
    pub(super) const OLDEST_S: u32 = 946_684_800;
    /// "In the future by more than a day", §8.8.
    pub(super) const FUTURE_S: i64 = 86_400;
    /// Zones reach from 12 h west to 14 h east.
    pub(super) const ZONE_EAST_S: i64 = 14 * 3600;
    /// "Host polling rate in clients: about 20 ms between records", §6.
    pub(super) const PAUSE: Duration = Duration::from_millis(20);
    /// A packet that stops this long is cut off: clients take 10 ms, a USB adapter may hold bytes
    /// back for 16 ms.
    pub(super) const BYTE_GAP: Duration = Duration::from_millis(100);
    /// Records shift when somebody measures during a download: it begins again so often at most.
    pub(super) const RESTARTS_MAX: u8 = 3;
    /// Records that the meter refuses or garbles are skipped; more of them are another meter.
    pub(super) const SKIPPED_MAX: u8 = 16;
    /// "Record time in local wall clock", "unit 00 mg/dL, 01 mmol/L", §5.
    pub(super) const UNITS: [&str; 2] = ["mg/dL", "mmol/L"];
}

/// What a session learnt so far.
#[derive(Debug, Default)]
struct Session {
    about: BTreeMap<String, String>,
    serial: String,
    count: u16,
    restarts: u8,
    /// Records that could not be read.
    skipped: u8,
    /// Records that are new, the newest first.
    fresh: Vec<Stored>,
}

impl Session {
    /// The record after that place; after the last, whether the memory has shifted meanwhile.
    fn after(&self, place: u16) -> Request {
        let next = place.saturating_add(1);
        if next < self.count { Request::Record(next) } else { Request::Count }
    }
}

#[derive(Debug)]
enum Phase {
    Closed,
    /// The next session begins then.
    Resting(MonoTime),
    /// A reset was sent; the session begins when the meter answers.
    Waking,
    /// This was asked.
    Asking(Session),
    /// This is asked then.
    Pausing(MonoTime, Request, Session),
    /// The reset at the end was sent.
    Leaving,
}

/// Driver of the OneTouch UltraEasy.
#[derive(Debug)]
pub struct Ultraeasy {
    poll_interval: Duration,
    zone_offset_s: Option<i32>,
    reporter: Reporter,
    decoder: Decoder,
    last_byte: MonoTime,
    link: Link,
    phase: Phase,
    memory: Memory,
    /// Whether it was told that the cable works.
    link_told: bool,
    /// What the meter said of itself in the last good session; `None` when it was away.
    told: Option<BTreeMap<String, String>>,
}

impl Ultraeasy {
    /// A driver that asks the meter every `poll_interval`. With the site's zone (seconds east of
    /// UTC) it also says how far the meter's clock is off. The cursor says which records are known.
    #[must_use]
    pub fn new(
        device: DeviceId,
        poll_interval: Duration,
        zone_offset_s: Option<i32>,
        cursor: Option<Cursor>,
    ) -> Self {
        Self {
            poll_interval,
            zone_offset_s,
            reporter: Reporter::new(device, DeviceKind::GlucoseMeter, "ultraeasy"),
            decoder: Decoder::default(),
            last_byte: MonoTime::START,
            link: Link::new(),
            phase: Phase::Closed,
            memory: Memory::new(cursor),
            link_told: false,
            told: None,
        }
    }

    fn time_out(&mut self, now: Now) {
        if let Some(at) = self.cut_off_at()
            && now.mono >= at
        {
            let (lost, found) = self.decoder.give_up();
            let text = format!("a packet broke off after {lost} bytes; check the plug");
            self.reporter.note(now, "cut_off", text);
            for frame in found {
                self.take(now, frame);
            }
        }
        if self.link.answer_by().is_some_and(|at| now.mono >= at) {
            match self.link.time_out(now.mono) {
                Ok(packet) => self.reporter.send(packet),
                Err(_) => self.lose(now),
            }
        }
        match &self.phase {
            Phase::Resting(until) if now.mono >= *until => {
                // "Drain input first", §4.
                self.decoder.clear();
                self.reporter.send(self.link.reset(now.mono));
                self.phase = Phase::Waking;
            }
            Phase::Pausing(until, ..) if now.mono >= *until => {
                if let Phase::Pausing(_, request, session) = self.take_phase() {
                    self.reporter.send(self.link.ask(now.mono, request));
                    self.phase = Phase::Asking(session);
                }
            }
            _ => {}
        }
    }

    fn take_phase(&mut self) -> Phase {
        std::mem::replace(&mut self.phase, Phase::Closed)
    }

    fn take_news(&mut self, now: Now, news: News) {
        match (news, self.take_phase()) {
            (News::Lost, phase) => {
                self.phase = phase;
                self.lose(now);
            }
            (News::Reset, Phase::Waking) => {
                self.pause(now, Request::Version, Session::default());
            }
            (News::Reset, Phase::Leaving) => {
                self.phase = Phase::Resting(now.mono + self.poll_interval);
            }
            (News::Reply(request, reply), Phase::Asking(session)) => {
                self.take_reply(now, request, reply, session);
            }
            (_, phase) => self.phase = phase,
        }
    }

    fn take_reply(
        &mut self,
        now: Now,
        request: Request,
        reply: Result<Reply, ReplyError>,
        mut session: Session,
    ) {
        let next = match reply {
            Ok(Reply::Version(version)) => {
                session.about.insert("version".to_owned(), version);
                Request::Serial
            }
            Ok(Reply::Serial(serial)) => {
                session.about.insert("serial".to_owned(), serial.clone());
                session.serial = serial;
                Request::Unit
            }
            Ok(Reply::Unit(unit)) => {
                let name = spec::UNITS.get(usize::from(unit)).copied().unwrap_or("unknown");
                session.about.insert("unit_shown".to_owned(), name.to_owned());
                Request::Clock
            }
            Ok(Reply::Clock(clock)) => {
                let shows = i64::from(clock);
                if let Some(reading) = clock_offset(now, self.zone_offset_s, shows..=shows) {
                    let group = self.group(now, &session.serial, reading);
                    self.reporter.emit(Record::Readings(group));
                }
                Request::Count
            }
            Ok(Reply::Count(count)) if count == 0 || count == session.count => {
                return self.leave(now, session, true);
            }
            Ok(Reply::Count(count)) => {
                if session.count != 0 {
                    session.restarts += 1;
                }
                if session.restarts > spec::RESTARTS_MAX {
                    return self.leave(now, session, false);
                }
                // A measurement during the download shifted all places: from the newest again.
                session.count = count;
                session.skipped = 0;
                session.fresh.clear();
                Request::Record(0)
            }
            Ok(Reply::Record(record)) => self.after_record(request, record, &mut session),
            Err(error) => {
                self.reporter.note(now, "reply", error);
                match request {
                    // What is missing is only told, not needed.
                    Request::Version => Request::Serial,
                    Request::Unit => Request::Clock,
                    Request::Clock => Request::Count,
                    // The older ones may be readable.
                    Request::Record(place) if session.skipped < spec::SKIPPED_MAX => {
                        session.skipped += 1;
                        session.after(place)
                    }
                    _ => return self.leave(now, session, false),
                }
            }
        };
        self.pause(now, next, session);
    }

    /// Keeps a record if it is new; what to ask next.
    fn after_record(&self, request: Request, record: Stored, session: &mut Session) -> Request {
        let known = self.memory.knows(&session.serial, &record.key());
        if !known && !session.fresh.contains(&record) {
            session.fresh.push(record);
        }
        match request {
            Request::Record(place) if !known || self.memory.has_gap(&session.serial) => {
                session.after(place)
            }
            // All that is older is known.
            _ => Request::Count,
        }
    }

    fn pause(&mut self, now: Now, request: Request, session: Session) {
        self.phase = Phase::Pausing(now.mono + spec::PAUSE, request, session);
    }

    /// Takes over what the session brought and ends the link.
    fn leave(&mut self, now: Now, session: Session, complete: bool) {
        self.take_over(now, session, complete);
        self.reporter.send(self.link.reset(now.mono));
        self.phase = Phase::Leaving;
    }

    /// The meter does not answer.
    fn lose(&mut self, now: Now) {
        match self.take_phase() {
            Phase::Asking(session) | Phase::Pausing(_, _, session) => {
                let text = "the meter stopped answering; leave it plugged in until it is read";
                self.reporter.note(now, "broken_off", text);
                self.take_over(now, session, false);
                self.told = None;
            }
            Phase::Waking => self.told = None,
            _ => {}
        }
        self.phase = Phase::Resting(now.mono + self.poll_interval);
    }

    fn take_over(&mut self, now: Now, session: Session, complete: bool) {
        let Session { about, serial, fresh, skipped, .. } = session;
        if complete && !self.link_told {
            self.reporter.status(now, DeviceState::Online, "", BTreeMap::new());
            self.link_told = true;
        }
        if complete && self.told.as_ref() != Some(&about) {
            let meter = self.reporter.device().behind(&serial);
            self.reporter.status_of(meter, now, DeviceState::Online, "", about.clone());
            self.told = Some(about);
        }
        let gap_before = self.memory.has_gap(&serial);
        for record in fresh.iter().rev() {
            self.emit_record(now, &serial, *record);
            self.memory.add(&serial, &record.key());
        }
        // What could not be read is tried again: behind the gap nothing counts as known.
        match complete && skipped == 0 {
            true => self.memory.clear_gap(&serial),
            false if skipped > 0 || !fresh.is_empty() => self.memory.mark_gap(&serial),
            false => {}
        }
        if !fresh.is_empty() || gap_before != self.memory.has_gap(&serial) {
            self.reporter.remember(self.memory.cursor());
        }
    }

    fn emit_record(&mut self, now: Now, serial: &str, record: Stored) {
        let number = |raw: u32, comparator| {
            Reading::new(Metric::GLU_CAP_PL, raw.into(), comparator, Unit::MG_PER_DL)
        };
        let reading = match record.value() {
            Glucose::Number(value) => number(value, Comparator::Equal),
            Glucose::Below(limit) => number(limit, Comparator::Below),
            Glucose::Above(limit) => number(limit, Comparator::Above),
            Glucose::Impossible(raw) => {
                Reading::no_data(Metric::GLU_CAP_PL, NoData::Rejected(raw.to_string()))
            }
        };
        let time = self.device_time(now, record.time);
        let mut group = self.group(now, serial, reading).at_device_time(time);
        if time.is_none() {
            group = group.with_context("time", "unknown");
        }
        self.reporter.emit(Record::Readings(group.with_context("serial", serial)));
    }

    /// "Record time in the future by more than a day or before 2000: keep the value, mark the time
    /// unknown", §8.8.
    fn device_time(&self, now: Now, time: u32) -> Option<DeviceTime> {
        let zone = self.zone_offset_s.map_or(spec::ZONE_EAST_S, i64::from);
        let latest = now.wall.unix_ms() / 1000 + zone + spec::FUTURE_S;
        let future = now.quality != ClockQuality::Unknown && i64::from(time) > latest;
        let known = time >= spec::OLDEST_S && !future;
        known.then(|| DeviceTime::Local { civil_ms: i64::from(time) * 1000 })
    }

    fn group(&self, now: Now, serial: &str, reading: Reading) -> ReadingGroup {
        let meter = self.reporter.device().behind(serial);
        ReadingGroup::new(meter, now.observed(), vec![reading])
    }

    fn cut_off_at(&self) -> Option<MonoTime> {
        self.decoder.is_inside().then(|| self.last_byte + spec::BYTE_GAP)
    }

    fn take(&mut self, now: Now, frame: Frame) {
        let (answer, news) = self.link.take(now.mono, frame);
        if let Some(packet) = answer {
            self.reporter.send(packet);
        }
        self.take_news(now, news);
    }

    fn receive(&mut self, now: Now, bytes: &[u8]) {
        let mut decoder = std::mem::take(&mut self.decoder);
        self.last_byte = now.mono;
        for frame in decoder.decode(bytes) {
            match frame {
                Ok(frame) => self.take(now, frame),
                Err(error) => {
                    let kind = match error {
                        FrameError::Checksum { .. } => "checksum",
                        FrameError::Noise { .. } => "noise",
                        FrameError::Link { .. } => "unknown_frame",
                    };
                    self.reporter.note(now, kind, error);
                }
            }
        }
        self.decoder = decoder;
    }
}

impl SerialDriver for Ultraeasy {
    fn handle(&mut self, now: Now, event: SerialEvent<'_>) {
        match event {
            SerialEvent::Opened => {
                self.phase = Phase::Resting(now.mono);
                self.time_out(now);
            }
            SerialEvent::Received(bytes) => self.receive(now, bytes),
            SerialEvent::TimedOut => self.time_out(now),
            SerialEvent::Committed => {}
            SerialEvent::Closed => {
                if let Phase::Asking(session) | Phase::Pausing(_, _, session) = self.take_phase() {
                    self.take_over(now, session, false);
                }
                self.decoder.clear();
                self.link = Link::new();
                (self.told, self.link_told) = (None, false);
            }
        }
    }

    fn poll_output(&mut self) -> Option<SerialOutput> {
        self.reporter.next()
    }

    fn next_timeout(&self) -> Option<MonoTime> {
        let wait = match self.phase {
            Phase::Closed => return None,
            Phase::Resting(until) | Phase::Pausing(until, ..) => Some(until),
            Phase::Waking | Phase::Asking(_) | Phase::Leaving => None,
        };
        wait.into_iter().chain(self.link.answer_by()).chain(self.cut_off_at()).min()
    }
}

#[cfg(test)]
mod tests;
