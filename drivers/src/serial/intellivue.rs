//! Philips IntelliVue bedside monitor, Data Export over its MIB/RS-232 port.
//!
//! Read first: the protocol sheet of the IntelliVue serial export, §7 (session) and "Our metrics".
//!
//! The driver asks for an association, says who it is, and polls numbers, waves and alarms; it sets
//! nothing at the monitor, not even the priority list of waves, and takes what comes.
//!
//! # Invariants
//! - a stale association is released before a new one is asked for
//! - at most four frames in 128 ms go to the monitor
//! - patient demographics are not asked for

mod alarms;
pub mod association;
pub mod attributes;
mod clock;
pub mod data_export;
pub mod framing;
mod linked;
mod nomenclature;
mod numerics;
mod polls;
mod reader;
pub(crate) mod redaction;
mod waves;

use super::{Cursor, SerialDriver, SerialEvent, SerialOutput};
use crate::reporter::Reporter;
use alarms::Alarms;
use association::{Granted, Session};
use attributes::Attributes;
use clock::Clock;
use data_export::{Created, Export, PollPart, PollReply, object};
use framing::{Decoder, FrameError, frame};
use linked::Linked;
use model::{
    device::{DeviceKind, DeviceState},
    id::DeviceId,
    time::{MonoTime, Now},
};
use nomenclature::UnknownIds;
use numerics::Numerics;
use polls::{Polls, Subject};
use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};
use waves::Waves;

/// Facts about the session; those about frames and messages are in the modules beside.
mod spec {
    use super::Duration;

    /// "At most 4 frames per 128 ms from the host", §2.
    pub(super) const BETWEEN_FRAMES: Duration = Duration::from_millis(40);
    /// A monitor without an association does not answer a release.
    pub(super) const RELEASE_WITHIN: Duration = Duration::from_millis(500);
    /// "Repeat every 2 s", §7.1.
    pub(super) const REQUEST_AGAIN: Duration = Duration::from_secs(2);
    /// "WAIT-ACCEPT: 5 s timeout", §7.2.
    pub(super) const ACCEPT_WITHIN: Duration = Duration::from_secs(5);
    /// "Refuse → back off 10 s", §7.2.
    pub(super) const REFUSED: Duration = Duration::from_secs(10);
    /// After an abort: the time between two requests.
    pub(super) const ABORTED: Duration = Duration::from_secs(2);
    /// "WAIT-MDS-CREATE: 10 s timeout", §7.3.
    pub(super) const CREATED_WITHIN: Duration = Duration::from_secs(10);
    /// "Give up after 5 s without incoming data while polling waves", §7.5.
    pub(super) const SILENCE: Duration = Duration::from_secs(5);
    /// Without waves: numbers that come every 1.024 s and answers to a keep-alive.
    pub(super) const SILENCE_WITHOUT_WAVES: Duration = Duration::from_secs(10);
    /// Counts of unknown ids are told again.
    pub(super) const TOLD_AGAIN: Duration = Duration::from_secs(3600);
    /// What may wait to be sent: release, request and some answers. More is a mad monitor.
    pub(super) const QUEUE_MAX: usize = 8;
}

#[derive(Debug)]
enum Phase {
    Closed,
    /// The session begins again then.
    Resting(MonoTime),
    /// A release was sent; an association is asked for then, or when it is answered.
    Releasing(MonoTime),
    /// An association was asked for; again then, and given up then.
    Requesting {
        again: MonoTime,
        until: MonoTime,
    },
    /// The association stands; the create event comes before then.
    Awaiting {
        granted: Granted,
        until: MonoTime,
    },
    Polling(Box<Polls>),
}

/// Driver of the IntelliVue family.
#[derive(Debug)]
pub struct Intellivue {
    reporter: Reporter,
    decoder: Decoder,
    phase: Phase,
    /// Frames that wait for their turn.
    queue: VecDeque<Vec<u8>>,
    next_frame: MonoTime,
    linked: Linked,
    clock: Clock,
    numerics: Numerics,
    waves: Waves,
    alarms: Alarms,
    unknown: UnknownIds,
    /// What the monitor said of itself.
    about: BTreeMap<String, String>,
    online: Option<bool>,
    /// When something was heard in a session.
    last_heard: MonoTime,
    told_at: MonoTime,
}

impl Intellivue {
    /// A driver; the cursor says which cuff results were taken over.
    #[must_use]
    pub fn new(device: DeviceId, cursor: Option<Cursor>) -> Self {
        Self {
            reporter: Reporter::new(device, DeviceKind::Monitor, "intellivue"),
            decoder: Decoder::default(),
            phase: Phase::Closed,
            queue: VecDeque::new(),
            next_frame: MonoTime::START,
            linked: Linked::default(),
            clock: Clock::default(),
            numerics: Numerics::new(cursor),
            waves: Waves::default(),
            alarms: Alarms::default(),
            unknown: UnknownIds::default(),
            about: BTreeMap::new(),
            online: None,
            last_heard: MonoTime::START,
            told_at: MonoTime::START,
        }
    }

    /// "First send a release to clear a stale association", §7.1.
    fn begin(&mut self, now: Now) {
        self.queue.clear();
        self.push(now, &association::release());
        self.phase = Phase::Releasing(now.mono + spec::RELEASE_WITHIN);
    }

    fn request(&mut self, now: Now) {
        self.push(now, &association::request());
        let (again, until) = (now.mono + spec::REQUEST_AGAIN, now.mono + spec::ACCEPT_WITHIN);
        self.phase = Phase::Requesting { again, until };
    }

    fn push(&mut self, now: Now, user_data: &[u8]) {
        if self.queue.len() >= spec::QUEUE_MAX {
            let text = "the monitor asks faster than it may be answered; an answer is left out";
            return self.reporter.note(now, "too_fast", text);
        }
        self.queue.push_back(frame(user_data));
    }

    /// Sends what may be sent now.
    fn send_next(&mut self, now: MonoTime) {
        if now < self.next_frame {
            return;
        }
        let polled = || match &mut self.phase {
            Phase::Polling(polls) => polls.next(now).map(|message| frame(&message)),
            _ => None,
        };
        if let Some(bytes) = self.queue.pop_front().or_else(polled) {
            self.reporter.send(bytes);
            self.next_frame = now + spec::BETWEEN_FRAMES;
        }
    }

    fn time_out(&mut self, now: Now) {
        let mono = now.mono;
        match self.phase {
            Phase::Resting(until) if mono >= until => self.begin(now),
            Phase::Releasing(until) if mono >= until => self.request(now),
            Phase::Requesting { until, .. } if mono >= until => {
                let reason = "the monitor does not answer; check the cable, and that its MIB/RS232 \
                              port is set to Data Export";
                self.fall_silent(now, reason);
                self.begin(now);
            }
            Phase::Requesting { again, until } if mono >= again => {
                self.push(now, &association::request());
                self.phase = Phase::Requesting { again: mono + spec::REQUEST_AGAIN, until };
            }
            Phase::Awaiting { until, .. } if mono >= until => {
                self.give_up(now, "the monitor does not say who it is");
            }
            _ => {}
        }
        if self.silent_at().is_some_and(|at| mono >= at) {
            let reason = "nothing came from the monitor; check its power and cable";
            match self.phase {
                Phase::Polling(_) => self.give_up(now, reason),
                _ => self.fall_silent(now, reason),
            }
        }
        if self.numerics.expires_at().is_some_and(|at| mono >= at) {
            self.numerics.expire(now, &mut self.reporter);
        }
        if self.tell_at().is_some_and(|at| mono >= at) {
            self.report(now, DeviceState::Online, "");
        }
        self.send_next(mono);
    }

    /// "On error send abort", §7.6; then the session begins again.
    fn give_up(&mut self, now: Now, reason: &str) {
        self.fall_silent(now, reason);
        self.begin(now);
        self.queue.push_front(frame(&association::abort()));
    }

    fn fall_silent(&mut self, now: Now, reason: &str) {
        self.alarms.clear();
        self.numerics.fall_silent(now, &mut self.reporter);
        if self.online != Some(false) {
            self.report(now, DeviceState::Silent, reason);
        }
    }

    /// When a monitor that was heard is silent. The time goes on while the session begins again.
    fn silent_at(&self) -> Option<MonoTime> {
        let limit = match &self.phase {
            Phase::Polling(polls) if polls.waves() => spec::SILENCE,
            _ => spec::SILENCE_WITHOUT_WAVES,
        };
        let open = !matches!(self.phase, Phase::Closed);
        (open && self.online == Some(true)).then(|| self.last_heard + limit)
    }

    /// When counts of unknown ids are told again.
    fn tell_at(&self) -> Option<MonoTime> {
        let told = self.online == Some(true) && self.unknown.told().is_some();
        told.then(|| self.told_at + spec::TOLD_AGAIN)
    }

    fn report(&mut self, now: Now, state: DeviceState, reason: &str) {
        self.online = Some(state == DeviceState::Online);
        self.told_at = now.mono;
        let mut about = self.about.clone();
        about.extend(self.unknown.told().map(|told| ("unknown_ids".to_owned(), told)));
        self.reporter.status(now, state, reason, about);
    }

    fn take(&mut self, now: Now, user_data: &[u8]) {
        let session = association::decode(user_data);
        match (session, &self.phase) {
            (_, Phase::Closed) => {}
            (
                Session::Refuse,
                Phase::Requesting { .. } | Phase::Awaiting { .. } | Phase::Polling(_),
            ) => {
                let reason = "the monitor refuses; another program may hold its association";
                self.fall_silent(now, reason);
                self.phase = Phase::Resting(now.mono + spec::REFUSED);
                self.queue.clear();
            }
            // The answer to our release, or that there was nothing to release.
            (Session::Released | Session::Abort, Phase::Releasing(_)) => self.request(now),
            (Session::Abort | Session::Released, Phase::Awaiting { .. } | Phase::Polling(_))
            | (Session::Abort, Phase::Requesting { .. }) => {
                self.reporter.note(now, "aborted", "the monitor ended the association");
                self.phase = Phase::Resting(now.mono + spec::ABORTED);
                self.queue.clear();
            }
            (Session::Accept(granted), Phase::Requesting { .. }) => {
                if granted.is_none() {
                    let text = "what the monitor grants cannot be read; the usual is assumed";
                    self.reporter.note(now, "malformed", text);
                }
                let until = now.mono + spec::CREATED_WITHIN;
                self.phase = Phase::Awaiting { granted: granted.unwrap_or_default(), until };
            }
            (Session::Data, Phase::Awaiting { .. } | Phase::Polling(_)) => {
                match data_export::decode(user_data) {
                    Ok(export) => self.take_export(now, export),
                    Err(error) => self.reporter.note(now, "malformed", error),
                }
            }
            (Session::Unknown(kind), _) => {
                let text = format!("a message of kind {kind:#04x} is unknown; it is skipped");
                self.reporter.note(now, "unknown_frame", text);
            }
            // What belongs to an association that we do not know of.
            _ => {}
        }
    }

    fn take_export(&mut self, now: Now, export: Export) {
        if let Phase::Polling(polls) = &mut self.phase {
            polls.heard(now.mono);
            self.last_heard = now.mono;
        }
        match export {
            Export::Created(created) => self.take_created(now, &created),
            Export::Poll(part) => self.take_part(now, part),
            Export::Refused { invoke_id, error } => {
                let Phase::Polling(polls) = &mut self.phase else { return };
                match polls.refused(now.mono, invoke_id) {
                    Some(Subject::Waves) => {
                        let text =
                            format!("the monitor sends no waves, error {error}; numbers go on");
                        self.reporter.note(now, "no_waves", text);
                    }
                    Some(subject) => {
                        let text = format!("the monitor refuses {subject:?}, error {error}");
                        self.reporter.note(now, "refused", text);
                    }
                    None => {}
                }
            }
            Export::Other { ro_type, command } => {
                let text = format!("a message {ro_type}/{command} is unknown; it is skipped");
                self.reporter.note(now, "unknown_frame", text);
            }
        }
    }

    /// The monitor says who it is; "mandatory" is the answer, §6.5.
    fn take_created(&mut self, now: Now, created: &Created) {
        self.push(now, &data_export::answer(created));
        if let Phase::Awaiting { granted, .. } = self.phase {
            (self.clock, self.linked) = (Clock::default(), Linked::default());
            self.numerics.begin();
            self.waves.begin();
            self.unknown = UnknownIds::default();
            self.about.clear();
            self.last_heard = now.mono;
            let polls = Polls::new(now.mono, granted.waves(), granted.time_limit());
            self.phase = Phase::Polling(Box::new(polls));
        }
        let tick = self.clock.tick(created.event_time);
        self.learn(now, &created.attributes, tick);
        if self.online != Some(true) {
            self.report(now, DeviceState::Online, "");
        }
    }

    /// Who the monitor is and what its clock shows.
    fn learn(&mut self, now: Now, attributes: &Attributes, tick: i64) {
        if let Some(civil_ms) = attributes.absolute_time() {
            let tick = attributes.relative_time().map_or(tick, |raw| self.clock.tick(raw));
            self.clock.pair(civil_ms, tick);
        }
        let mut about = self.about.clone();
        about.extend(attributes.system_id().map(|id| ("system_id".to_owned(), id)));
        if let Some((manufacturer, model)) = attributes.system_model() {
            about.insert("manufacturer".to_owned(), manufacturer);
            about.insert("model".to_owned(), model);
        }
        if about != self.about {
            self.about = about;
            self.report(now, DeviceState::Online, "");
        }
    }

    fn take_part(&mut self, now: Now, part: PollPart) {
        match self.linked.take(part) {
            Ok(Some(reply)) => self.take_reply(now, &reply),
            Ok(None) => {}
            Err(error) => self.reporter.note(now, "linked", error),
        }
    }

    fn take_reply(&mut self, now: Now, reply: &PollReply) {
        let Phase::Polling(polls) = &mut self.phase else { return };
        polls.answered(now.mono, reply.number);
        let tick = self.clock.tick(reply.ticks);
        if let Some(civil_ms) = reply.civil_ms {
            self.clock.pair(civil_ms, tick);
        }
        let (reporter, unknown) = (&mut self.reporter, &mut self.unknown);
        match reply.object {
            object::NUMERIC => {
                let known = (&self.clock, &self.alarms);
                if self.numerics.take(now, reply, tick, known, unknown, reporter) {
                    polls.want(now.mono, Subject::NumericContext);
                }
            }
            object::WAVE => {
                if self.waves.take(now, reply, tick, unknown, reporter) {
                    polls.want(now.mono, Subject::WaveContext);
                }
            }
            object::ALERT_MONITOR => {
                let device_time = self.clock.device_time(tick);
                for object in &reply.observations {
                    self.alarms.take(now, device_time, &object.attributes, reporter);
                }
            }
            object::MDS => {
                for object in &reply.observations {
                    self.learn(now, &object.attributes, tick);
                }
            }
            other => {
                let text = format!("an answer about objects {other:#06x} is skipped");
                reporter.note(now, "unknown_object", text);
            }
        }
        if self.unknown.take_news() {
            self.report(now, DeviceState::Online, "");
        }
    }

    fn receive(&mut self, now: Now, bytes: &[u8]) {
        let mut decoder = std::mem::take(&mut self.decoder);
        for found in decoder.decode(bytes) {
            match found {
                Ok(user_data) => self.take(now, &user_data),
                Err(error) => {
                    let kind = match error {
                        FrameError::Checksum { .. } => "checksum",
                        FrameError::Noise { .. } => "noise",
                        FrameError::Protocol { .. } => "unknown_frame",
                        FrameError::Length { .. } | FrameError::TooLong => "length",
                        FrameError::CutOff { .. } | FrameError::Aborted => "cut_off",
                    };
                    self.reporter.note(now, kind, error);
                }
            }
        }
        self.decoder = decoder;
    }

    /// Alarms are forgotten, not ended: nobody knows. The time of the waves is kept: the monitor's
    /// ticks go on while its cable is out, and say how many samples nobody heard.
    fn close(&mut self) {
        let fresh = Self::new(self.reporter.device().clone(), Some(self.numerics.cursor()));
        let closed = std::mem::replace(self, fresh);
        (self.reporter, self.waves) = (closed.reporter, closed.waves);
        self.waves.begin();
    }
}

impl SerialDriver for Intellivue {
    fn handle(&mut self, now: Now, event: SerialEvent<'_>) {
        match event {
            SerialEvent::Opened => {
                self.begin(now);
                self.send_next(now.mono);
            }
            SerialEvent::Received(bytes) => {
                self.receive(now, bytes);
                self.send_next(now.mono);
            }
            SerialEvent::TimedOut => self.time_out(now),
            SerialEvent::Committed => {}
            SerialEvent::Closed => self.close(),
        }
    }

    fn poll_output(&mut self) -> Option<SerialOutput> {
        self.reporter.next()
    }

    fn next_timeout(&self) -> Option<MonoTime> {
        let phase = match &self.phase {
            Phase::Closed => return None,
            Phase::Resting(until) | Phase::Releasing(until) => *until,
            Phase::Requesting { again, until } => *again.min(until),
            Phase::Awaiting { until, .. } => *until,
            Phase::Polling(polls) => polls.due().max(self.next_frame),
        };
        let queue = (!self.queue.is_empty()).then_some(self.next_frame);
        let expiry = self.numerics.expires_at();
        let news = self.silent_at().into_iter().chain(self.tell_at());
        [phase].into_iter().chain(queue).chain(expiry).chain(news).min()
    }
}

#[cfg(test)]
mod tests;
