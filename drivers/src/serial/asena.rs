//! Alaris / Asena GS, GH, CC and PK syringe pumps with an RS-232 option.
//!
//! Read first: the protocol sheet of Alaris / Asena, §5.1 (queries) and §6 (session).
//!
//! # Invariants
//! - only queries are sent, never a name with fields behind it: the same link can start, stop and
//!   change an infusion
//! - one request is out at a time; an answer is taken only if it carries the name of the request
//! - a pump is told from the next one at the same port by its serial number

pub mod codec;
mod pump;

use super::{SerialDriver, SerialEvent, SerialOutput};
use crate::reporter::Reporter;
use codec::{Decoder, Frame, FrameError, Request, request};
use model::{
    device::{DeviceKind, DeviceState},
    id::DeviceId,
    time::{MonoTime, Now},
};
use pump::{Pump, is_infusion, serial};
use std::{collections::BTreeMap, time::Duration};

/// Facts about the session; those about frames are in [`codec`].
mod spec {
    use super::Duration;

    /// "Clients repeat the request once after 500 ms", §6.3.
    pub(super) const REPEAT_AFTER: Duration = Duration::from_millis(500);
    /// "Give up after COMMS_RESPONSE_MAX (4 s)", §6.3.
    pub(super) const GIVE_UP_AFTER: Duration = Duration::from_secs(4);
    /// What a pump may say instead, in milliseconds: longer than the repeat, shorter than silence.
    pub(super) const GIVE_UP_MS: std::ops::RangeInclusive<u64> = 1_000..=10_000;
    pub(super) const MILLISECONDS: &str = "ms";
    /// "Three consecutive failures or 10 s silence → LINK LOST, restart at 1", §6.4.
    pub(super) const FAILURES_MAX: u8 = 3;
    pub(super) const SILENCE: Duration = Duration::from_secs(10);
    /// "Poll ALARM when field 2 is `A` or every 5 s", §6.2.
    pub(super) const ALARM_EVERY: Duration = Duration::from_secs(5);
    /// "INF_VTBI and SYRINGE_STATUS every 10 s", §6.2.
    pub(super) const REST_EVERY: Duration = Duration::from_secs(10);
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Phase {
    Closed,
    /// This was asked first then; whether it was repeated since.
    Asked {
        request: Request,
        at: MonoTime,
        again: bool,
    },
    /// Something is asked then.
    Resting {
        until: MonoTime,
    },
}

/// Driver of the Asena protocol.
#[derive(Debug)]
pub struct Asena {
    poll_interval: Duration,
    reporter: Reporter,
    decoder: Decoder,
    phase: Phase,
    /// When each poll is due; earlier ones go first when several are.
    due: [(Request, MonoTime); 4],
    give_up_after: Duration,
    failures: u8,
    /// The last good answer, or the begin of the session.
    heard: MonoTime,
    /// Whether it was told that somebody answers at this port; `None` before either.
    online: Option<bool>,
    /// What the pump says of itself.
    about: BTreeMap<String, String>,
    pump: Option<Pump>,
}

impl Asena {
    /// A driver that reads the infusion every `poll_interval`.
    #[must_use]
    pub fn new(device: DeviceId, poll_interval: Duration) -> Self {
        Self {
            poll_interval,
            reporter: Reporter::new(device, DeviceKind::Pump, "asena"),
            decoder: Decoder::default(),
            phase: Phase::Closed,
            due: [Request::Infusion, Request::Alarm, Request::Vtbi, Request::Syringe]
                .map(|request| (request, MonoTime::START)),
            give_up_after: spec::GIVE_UP_AFTER,
            failures: 0,
            heard: MonoTime::START,
            online: None,
            about: BTreeMap::new(),
            pump: None,
        }
    }

    /// "Open → INST_SERIALNO, COMMS_PROTOCOL, COMMS_RESPONSE_MAX", §6.1.
    fn open(&mut self, now: Now) {
        self.about.clear();
        self.give_up_after = spec::GIVE_UP_AFTER;
        (self.failures, self.heard) = (0, now.mono);
        self.due = self.due.map(|(request, _)| (request, now.mono));
        self.ask(now, Request::Serial);
    }

    fn ask(&mut self, now: Now, asked: Request) {
        // "Drain the input before each request", §10.
        self.decoder.give_up();
        self.reporter.send(request(asked));
        self.phase = Phase::Asked { request: asked, at: now.mono, again: false };
        let interval = match asked {
            Request::Infusion => self.poll_interval,
            Request::Alarm => spec::ALARM_EVERY,
            _ => spec::REST_EVERY,
        };
        self.set_due(asked, now.mono + interval);
    }

    fn set_due(&mut self, request: Request, at: MonoTime) {
        if let Some(due) = self.due.iter_mut().find(|(known, _)| *known == request) {
            due.1 = at;
        }
    }

    /// Asks what comes after that request, now or when it is due.
    fn go_on(&mut self, now: Now, after: Request) {
        match after {
            Request::Serial => self.ask(now, Request::Protocol),
            Request::Protocol => self.ask(now, Request::ResponseMax),
            _ => self.poll(now),
        }
    }

    fn poll(&mut self, now: Now) {
        match self.due.into_iter().find(|(_, at)| *at <= now.mono) {
            Some((request, _)) => self.ask(now, request),
            None => {
                let until = self.due.iter().map(|(_, at)| *at).min().unwrap_or(now.mono);
                self.phase = Phase::Resting { until };
            }
        }
    }

    fn time_out(&mut self, now: Now) {
        let due = self.next_timeout().is_some_and(|at| now.mono >= at);
        match self.phase {
            _ if !due => {}
            Phase::Closed => {}
            Phase::Asked { request, at, again } => self.miss(now, request, at, again),
            Phase::Resting { .. } => self.poll(now),
        }
    }

    /// No answer came in time.
    fn miss(&mut self, now: Now, asked: Request, at: MonoTime, again: bool) {
        if now.mono.since(self.heard) >= spec::SILENCE {
            return self.lose_link(now);
        }
        if !again {
            self.decoder.give_up();
            self.reporter.send(request(asked));
            self.phase = Phase::Asked { request: asked, at, again: true };
            return;
        }
        self.failures += 1;
        if self.failures >= spec::FAILURES_MAX {
            return self.lose_link(now);
        }
        // Who is at the port is asked before anything else is taken from it.
        self.set_due(Request::Infusion, now.mono);
        match asked {
            Request::Serial => self.ask(now, Request::Serial),
            _ => self.go_on(now, asked),
        }
    }

    fn lose_link(&mut self, now: Now) {
        if self.online != Some(false) {
            self.online = Some(false);
            let reason = "the pump does not answer; check its cable and that RS-232 is enabled";
            self.reporter.status(now, DeviceState::Silent, reason, BTreeMap::new());
        }
        if let Some(pump) = &mut self.pump {
            pump.lose(now, DeviceState::Silent, "the pump does not answer", &mut self.reporter);
        }
        self.open(now);
    }

    fn take(&mut self, now: Now, frame: &Frame) {
        let asked = match self.phase {
            Phase::Closed => return,
            Phase::Asked { request, .. } if frame.name == request.name() => request,
            // "Late answers occur up to 4 s", §10.
            Phase::Asked { .. } | Phase::Resting { .. } => {
                let text = format!("an answer to {} was not asked for; it is skipped", frame.name);
                return self.reporter.note(now, "late", text);
            }
        };
        if !self.take_answer(now, asked, frame) {
            let text =
                format!("{} has {} fields; it is asked again", frame.name, frame.fields.len());
            return self.reporter.note(now, "malformed", text);
        }
        (self.failures, self.heard) = (0, now.mono);
        if self.online != Some(true) {
            self.online = Some(true);
            self.reporter.status(now, DeviceState::Online, "", BTreeMap::new());
        }
        // Another pump was asked who it is.
        if matches!(self.phase, Phase::Asked { request, .. } if request == asked) {
            self.go_on(now, asked);
        }
    }

    /// Takes an answer in; whether it was one.
    fn take_answer(&mut self, now: Now, asked: Request, frame: &Frame) -> bool {
        let text = frame.fields.first().map(|field| field.trim()).filter(|text| !text.is_empty());
        match (asked, text, &mut self.pump) {
            (Request::Infusion, ..) => self.take_infusion(now, frame),
            (Request::Serial, Some(text), _) => {
                self.about.insert("serial".to_owned(), text.to_owned());
                true
            }
            (Request::Protocol, Some(text), _) => {
                self.about.insert("protocol".to_owned(), text.to_owned());
                true
            }
            (Request::ResponseMax, Some(text), _) => {
                let unit = frame.fields.get(1).map(String::as_str);
                let ms = text.parse::<u64>().ok().filter(|_| unit == Some(spec::MILLISECONDS));
                let allowed = spec::GIVE_UP_MS;
                let ms = ms.map(|ms| ms.clamp(*allowed.start(), *allowed.end()));
                self.give_up_after = ms.map_or(self.give_up_after, Duration::from_millis);
                ms.is_some()
            }
            (Request::Alarm, _, Some(pump)) => pump.take_alarm(now, frame, &mut self.reporter),
            (Request::Vtbi, _, Some(pump)) => pump.take_vtbi(now, frame, &mut self.reporter),
            (Request::Syringe, _, Some(pump)) => pump.take_syringe(now, frame, &mut self.reporter),
            // Without an INF answer nobody knows whose it is.
            (Request::Alarm | Request::Vtbi | Request::Syringe, _, None) => true,
            (Request::Serial | Request::Protocol | Request::ResponseMax, None, _) => false,
        }
    }

    fn take_infusion(&mut self, now: Now, frame: &Frame) -> bool {
        if !is_infusion(frame) {
            return false;
        }
        let Some(serial) = serial(frame) else {
            let text = "the pump sends no serial number; what it says is not used";
            self.reporter.note(now, "nameless", text);
            return true;
        };
        let device = self.reporter.device().behind(serial);
        // "A changed serial number means another pump was plugged in", §6.4.
        let other = self.pump.take_if(|pump| *pump.device() != device);
        let changed = other.is_some();
        if let Some(mut other) = other {
            let reason = "another pump was plugged in";
            other.lose(now, DeviceState::Removed, reason, &mut self.reporter);
            self.about.clear();
        }
        self.about.insert("serial".to_owned(), serial.to_owned());
        let pump = self.pump.get_or_insert_with(|| Pump::new(device));
        pump.take_infusion(now, frame, &self.about, &mut self.reporter);
        if pump.has_alarm() {
            self.set_due(Request::Alarm, now.mono);
        }
        if changed {
            self.open(now);
        }
        true
    }

    fn take_error(&mut self, now: Now, error: FrameError) {
        let kind = match error {
            FrameError::Noise { .. } => "noise",
            FrameError::Aborted { .. } => "cut_off",
            FrameError::Form { .. } => "malformed",
            FrameError::Checksum { .. } => "checksum",
        };
        self.reporter.note(now, kind, error);
    }

    fn close(&mut self, now: Now) {
        if let Some(pump) = &mut self.pump {
            let reason = "the port of the pump is closed";
            pump.lose(now, DeviceState::LinkDown, reason, &mut self.reporter);
        }
        let fresh = Self::new(self.reporter.device().clone(), self.poll_interval);
        let closed = std::mem::replace(self, fresh);
        self.reporter = closed.reporter;
    }
}

impl SerialDriver for Asena {
    fn handle(&mut self, now: Now, event: SerialEvent<'_>) {
        match event {
            SerialEvent::Opened => self.open(now),
            SerialEvent::Received(bytes) => {
                let found: Vec<_> = self.decoder.decode(bytes).collect();
                for frame in found {
                    match frame {
                        Ok(frame) => self.take(now, &frame),
                        Err(error) => self.take_error(now, error),
                    }
                }
            }
            SerialEvent::TimedOut => self.time_out(now),
            SerialEvent::Committed => {}
            SerialEvent::Closed => self.close(now),
        }
    }

    fn poll_output(&mut self) -> Option<SerialOutput> {
        self.reporter.next()
    }

    fn next_timeout(&self) -> Option<MonoTime> {
        match self.phase {
            Phase::Closed => None,
            Phase::Asked { at, again, .. } => {
                let limit = if again { self.give_up_after } else { spec::REPEAT_AFTER };
                Some((at + limit).min(self.heard + spec::SILENCE))
            }
            Phase::Resting { until } => Some(until),
        }
    }
}

#[cfg(test)]
mod tests;
