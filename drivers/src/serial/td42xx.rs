//! TaiDoc TD-42xx blood-glucose meters and their kin among the cuffs: reads what the meter stored.
//!
//! Read first: the protocol sheet of the TD-42xx, §3 (commands) and §5 (session).
//!
//! How these meters code LO and HI is not known: numbers are taken as sent, and the catalogue's
//! limits decide. The models in reach are few on purpose: the same bytes mean other things elsewhere.
//!
//! # Invariants
//! - the meter's clock is never set, its memory never cleared, and it is never switched off
//! - each stored record is emitted once, the oldest of the new ones first
//! - nothing is taken from a model that is not known
//! - a meter that is not plugged in is the normal case and no news

pub mod codec;
mod download;

use super::{Cursor, SerialDriver, SerialEvent, SerialOutput};
use crate::{clock_offset::clock_offset, memory::Memory, reporter::Reporter};
use codec::{
    DateTime, Decoder, Frame, FrameError, Glucose, Meal, Measures, Model, Pressure, Reply, Request,
};
use download::{Download, Known, Progress, RECORDS_MAX, Stored};
use model::{
    device::{DeviceKind, DeviceState},
    id::DeviceId,
    metric::Metric,
    reading::{NoData, Reading, ReadingGroup},
    record::Record,
    time::{DeviceTime, MonoTime, Now},
    units::Unit,
};
use std::{collections::BTreeMap, time::Duration};

/// Facts about the session; those about frames are in [`codec`].
mod spec {
    use super::Duration;

    /// "Each reply within 500 ms", §5.
    pub(super) const ANSWER_WITHIN: Duration = Duration::from_millis(500);
    /// "Connect (retry 3x, 500 ms)", §5; a damaged reply is worth as many tries.
    pub(super) const RESEND_MAX: u8 = 3;
    /// Between a reply and the next request: a byte at 19200 baud takes half a millisecond, so that
    /// what comes behind a reply is seen not to answer the next request.
    pub(super) const PAUSE: Duration = Duration::from_millis(10);
    /// A reply does not say which record it is of: after a repeated request the second answer must
    /// have come and gone before the next record is asked for.
    pub(super) const SECOND_ANSWER: Duration = ANSWER_WITHIN;
    /// "Minute": a clock that shows the minute is somewhere in it, §3.
    pub(super) const MINUTE_LAST_S: i64 = 59;
}

/// A meter of a known model.
#[derive(Clone, Copy, Debug)]
struct Meter {
    model: Model,
    measures: Measures,
}

impl Meter {
    /// Its name in the memory. The protocol sheet has no serial number: meters of one model that
    /// share a cable are one to us.
    fn name(self) -> String {
        self.model.to_string()
    }
}

/// What the session does next.
#[derive(Debug)]
enum Step {
    Connect,
    Model,
    Clock(Meter),
    Download(Meter, DateTime, Download),
}

impl Step {
    fn request(&self) -> Request {
        match self {
            Self::Connect => Request::Connect,
            Self::Model => Request::Model,
            Self::Clock(_) => Request::Clock,
            Self::Download(_, _, download) => download.request(),
        }
    }
}

#[derive(Debug)]
enum Phase {
    Closed,
    /// The next session begins then.
    Resting(MonoTime),
    /// This is asked then.
    Pausing(MonoTime, Step),
    /// This was asked, and repeated so often.
    Asking {
        step: Step,
        answer_by: MonoTime,
        repeats: u8,
    },
}

/// Driver of the TD-42xx family.
#[derive(Debug)]
pub struct Td42xx {
    poll_interval: Duration,
    zone_offset_s: Option<i32>,
    reporter: Reporter,
    decoder: Decoder,
    phase: Phase,
    memory: Memory,
    /// The model that was told of in the last good session; `None` when it was away.
    told: Option<Model>,
}

impl Td42xx {
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
            reporter: Reporter::new(device, DeviceKind::GlucoseMeter, "td42xx"),
            decoder: Decoder::default(),
            phase: Phase::Closed,
            memory: Memory::new(cursor),
            told: None,
        }
    }

    fn take_phase(&mut self) -> Phase {
        std::mem::replace(&mut self.phase, Phase::Closed)
    }

    fn time_out(&mut self, now: Now) {
        self.phase = match self.take_phase() {
            Phase::Resting(until) if now.mono >= until => self.ask(now, Step::Connect, 0),
            Phase::Pausing(until, step) if now.mono >= until => self.ask(now, step, 0),
            Phase::Asking { step, answer_by, repeats } if now.mono >= answer_by => match repeats {
                0..spec::RESEND_MAX => self.ask(now, step, repeats + 1),
                _ => self.lose(now, step),
            },
            phase => phase,
        };
    }

    fn ask(&mut self, now: Now, step: Step, repeats: u8) -> Phase {
        // What came before a request does not answer it.
        let lost = self.decoder.give_up();
        if lost > 0 {
            let text = format!("a frame broke off after {lost} bytes; check the plug");
            self.reporter.note(now, "cut_off", text);
        }
        self.reporter.send(step.request().bytes());
        Phase::Asking { step, answer_by: now.mono + spec::ANSWER_WITHIN, repeats }
    }

    fn receive(&mut self, now: Now, bytes: &[u8]) {
        let mut decoder = std::mem::take(&mut self.decoder);
        for frame in decoder.decode(bytes) {
            match frame {
                Ok(frame) => self.phase = self.take_frame(now, frame),
                Err(error) => {
                    let kind = match error {
                        FrameError::Checksum { .. } => "checksum",
                        FrameError::Direction { .. } => "unknown_frame",
                        FrameError::Noise { .. } => "noise",
                    };
                    self.reporter.note(now, kind, error);
                }
            }
        }
        self.decoder = decoder;
    }

    fn take_frame(&mut self, now: Now, frame: Frame) -> Phase {
        let (step, answer_by, repeats) = match self.take_phase() {
            Phase::Asking { step, answer_by, repeats } => (step, answer_by, repeats),
            phase => {
                let text = "a frame that nobody waited for is skipped";
                self.reporter.note(now, "unasked", text);
                return phase;
            }
        };
        let reply = match Reply::decode(step.request(), frame) {
            Ok(reply) => reply,
            Err(error) => {
                self.reporter.note(now, "unknown_frame", error);
                return Phase::Asking { step, answer_by, repeats };
            }
        };
        let pause = if repeats > 0 { spec::SECOND_ANSWER } else { spec::PAUSE };
        match self.take_reply(now, step, reply) {
            Some(step) => Phase::Pausing(now.mono + pause, step),
            None => Phase::Resting(now.mono + self.poll_interval),
        }
    }

    /// What is next, or `None` when the session is over.
    fn take_reply(&mut self, now: Now, step: Step, reply: Reply) -> Option<Step> {
        match (step, reply) {
            (Step::Connect, _) => Some(Step::Model),
            (Step::Model, Reply::Model(model)) => match model.measures() {
                Some(measures) => Some(Step::Clock(Meter { model, measures })),
                None => {
                    self.refuse(now, model);
                    None
                }
            },
            (Step::Clock(meter), Reply::Clock(clock)) => {
                self.emit_clock_offset(now, clock);
                Some(Step::Download(meter, clock, Download::new()))
            }
            (Step::Download(meter, clock, mut download), reply) => {
                let (memory, name) = (&self.memory, meter.name());
                let gap = memory.has_gap(&name);
                // Records without a time look alike: behind one of them something may be new.
                let known = |record: Stored| match memory.knows(&name, &record.key()) {
                    false => Known::New,
                    true if gap || record.time.civil_ms().is_none() => Known::Alone,
                    true => Known::WithAllBehind,
                };
                match download.take(reply, known) {
                    Progress::Asking => return Some(Step::Download(meter, clock, download)),
                    Progress::Complete => {
                        self.tell(now, meter, clock, download.count());
                        self.take_over(now, meter, &download, true);
                    }
                    Progress::GaveUp => {
                        let text = "somebody measures while the meter is read; it is read later";
                        self.reporter.note(now, "shifting", text);
                        self.take_over(now, meter, &download, false);
                    }
                }
                None
            }
            // A reply is decoded by the request of its step: there is no other.
            (step, _) => Some(step),
        }
    }

    /// "Unknown model: nothing is stored", sheet, "Our metrics".
    fn refuse(&mut self, now: Now, model: Model) {
        if self.told == Some(model) {
            return;
        }
        let about = BTreeMap::from([("model".to_owned(), model.to_string())]);
        let text = format!("nothing is taken from model {model}: its values may mean other things");
        self.reporter.status(now, DeviceState::Silent, &text, about);
        self.reporter.note(now, "unknown_model", text);
        self.told = Some(model);
    }

    fn tell(&mut self, now: Now, meter: Meter, clock: DateTime, count: u16) {
        if self.told == Some(meter.model) {
            return;
        }
        self.reporter.set_kind(match meter.measures {
            Measures::Glucose => DeviceKind::GlucoseMeter,
            Measures::Pressure => DeviceKind::Cuff,
        });
        let clock = clock.civil_ms().map_or("not set".to_owned(), |_| clock.to_string());
        let about = [("model", meter.name()), ("clock", clock), ("records", count.to_string())];
        let about = about.map(|(key, value)| (key.to_owned(), value)).into();
        self.reporter.status(now, DeviceState::Online, "", about);
        self.told = Some(meter.model);
        if count > RECORDS_MAX {
            let text = format!("of {count} records only the newest {RECORDS_MAX} are read");
            self.reporter.note(now, "memory", text);
        }
    }

    /// The meter does not answer.
    fn lose(&mut self, now: Now, step: Step) -> Phase {
        if !matches!(step, Step::Connect) {
            let text = "the meter stopped answering; leave it plugged in until it is read";
            self.reporter.note(now, "broken_off", text);
        }
        self.abandon(now, step);
        Phase::Resting(now.mono + self.poll_interval)
    }

    /// Takes over what holds of a session that did not come to its end.
    fn abandon(&mut self, now: Now, step: Step) {
        if let Step::Download(meter, _, download) = step {
            self.take_over(now, meter, &download, false);
        }
        self.told = None;
    }

    fn take_over(&mut self, now: Now, meter: Meter, download: &Download, complete: bool) {
        let name = meter.name();
        let gap_before = self.memory.has_gap(&name);
        let mut any = false;
        for record in download.confirmed() {
            self.reporter.emit(Record::Readings(self.group(now, meter.measures, record)));
            self.memory.add(&name, &record.key());
            any = true;
        }
        match complete {
            true => self.memory.clear_gap(&name),
            false if any => self.memory.mark_gap(&name),
            false => {}
        }
        if any || gap_before != self.memory.has_gap(&name) {
            self.reporter.remember(self.memory.cursor());
        }
    }

    fn group(&self, now: Now, measures: Measures, record: Stored) -> ReadingGroup {
        let device = self.reporter.device().clone();
        let group = |readings| ReadingGroup::new(device, now.observed(), readings);
        let group = match measures {
            Measures::Pressure => group(pressures(record.value)).as_group(Metric::NIBP),
            Measures::Glucose => {
                let read = Glucose::from_value(record.value);
                let group = group(vec![glucose(read, record.value)]);
                match read.and_then(|read| read.meal) {
                    None => group,
                    Some(Meal::Before) => group.with_context("meal", "meal_pre"),
                    Some(Meal::After) => group.with_context("meal", "meal_post"),
                }
            }
        };
        match record.time.civil_ms() {
            Some(civil_ms) => group.at_device_time(Some(DeviceTime::Local { civil_ms })),
            None => group.with_context("time", "unknown"),
        }
    }

    fn emit_clock_offset(&mut self, now: Now, clock: DateTime) {
        let Some(civil_ms) = clock.civil_ms() else { return };
        let shows = civil_ms / 1000..=civil_ms / 1000 + spec::MINUTE_LAST_S;
        if let Some(reading) = clock_offset(now, self.zone_offset_s, shows) {
            let device = self.reporter.device().clone();
            let group = ReadingGroup::new(device, now.observed(), vec![reading]);
            self.reporter.emit(Record::Readings(group));
        }
    }
}

fn glucose(read: Option<Glucose>, value: [u8; 4]) -> Reading {
    match read {
        Some(read) => {
            Reading::number(Metric::GLU_CAP_PL, u32::from(read.mg_per_dl), Unit::MG_PER_DL)
        }
        None => {
            let raw = value.map(|byte| format!("{byte:02x}")).join(" ");
            Reading::no_data(Metric::GLU_CAP_PL, NoData::Rejected(raw))
        }
    }
}

fn pressures(value: [u8; 4]) -> Vec<Reading> {
    let Pressure { systolic, diastolic, pulse } = Pressure::from_value(value);
    let part = |metric, value: u16, unit| match value {
        // Metric catalogue: 0 is "no value" for cuff results.
        0 => Reading::no_data(metric, NoData::NotAvailable),
        _ => Reading::number(metric, u32::from(value), unit),
    };
    vec![
        part(Metric::NIBP_SYS, systolic, Unit::MM_HG),
        part(Metric::NIBP_DIA, diastolic.into(), Unit::MM_HG),
        part(Metric::PULSE_NIBP, pulse.into(), Unit::PER_MINUTE),
    ]
}

impl SerialDriver for Td42xx {
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
                if let Phase::Asking { step, .. } | Phase::Pausing(_, step) = self.take_phase() {
                    self.abandon(now, step);
                }
                self.decoder.give_up();
                self.told = None;
            }
        }
    }

    fn poll_output(&mut self) -> Option<SerialOutput> {
        self.reporter.next()
    }

    fn next_timeout(&self) -> Option<MonoTime> {
        match self.phase {
            Phase::Closed => None,
            Phase::Resting(until) | Phase::Pausing(until, _) => Some(until),
            Phase::Asking { answer_by, .. } => Some(answer_by),
        }
    }
}

#[cfg(test)]
mod tests;
