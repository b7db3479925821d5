//! A Philips IntelliVue bedside monitor on its MIB/RS-232 socket, from the protocol sheet alone.
//!
//! Silent until a host associates; then it answers polls, for their duration only. Sections ("§")
//! are those of the sheet. What the sheet leaves open is played both ways, by the seed: whether the
//! closing result of a linked series has an observation, whether the relative time wraps, and
//! whether three waves fit on the wire or five.
//!
//! - `spec`: the numbers of the protocol
//! - `framing`, `line`: frames, and their time on the wire
//! - `request`, `messages`: what a host asks, how it is answered
//! - `observer`: what a poll gets, from `numerics`, `waves` and `alarms` of a `moment`
//! - `system`: what the monitor is, and its clocks
//!
//! # Invariants
//! - a value is truth when the last frame of its message is on the wire, and not before
//! - nothing is set but the priority lists; every other set and every unknown action is recorded
//! - an association request neither ends nor prolongs the association that stands

mod alarms;
mod framing;
mod line;
mod messages;
mod moment;
mod numerics;
mod observer;
mod request;
mod spec;
mod system;
mod waves;

use crate::{
    Scenario, Setup, SimTime, VirtualDevice,
    truth::{Truth, moment as rfc3339},
};
use framing::Deframer;
use line::Line;
use messages::{Closing, Granted, Reply};
use moment::Parts;
use observer::Observer;
use request::{Poll, PriorityList, Profile, Request};
use std::collections::{BTreeMap, VecDeque};

/// "Without it the monitor aborts [unverified how fast; answer within 1 s]", §6.5.
const CREATE_RESULT_US: u64 = 5_000_000;
/// The monitor's only invocation.
const CREATE_INVOKE: u16 = 1;
/// Results due longer ago than this are not sent any more.
const LATE_MAX_US: u64 = 2_000_000;
/// An observation and its head always fit.
const MTU_MIN: u32 = 500;

/// The monitor.
#[derive(Debug)]
pub struct Monitor {
    observer: Observer,
    out: Vec<u8>,
    input: Deframer,
    line: Line,
    session: Session,
    /// Extended polls that go on, by object.
    polls: BTreeMap<u16, Repeated>,
    /// When the last frames of the host came.
    arrivals: VecDeque<SimTime>,
    /// Device time of the last measurement that was said, by metric.
    spots: BTreeMap<&'static str, String>,
    off: bool,
}

#[derive(Clone, Copy, Debug)]
enum Session {
    Idle,
    /// Accepted; the MDS create event waits for its result.
    Created {
        granted: Granted,
        since: SimTime,
    },
    Associated {
        granted: Granted,
        heard: SimTime,
    },
}

/// An extended poll that goes on.
#[derive(Clone, Copy, Debug)]
struct Repeated {
    invoke: u16,
    poll: Poll,
    parts: Parts,
    sequence: u16,
    next: SimTime,
    step_us: u64,
    until: SimTime,
}

impl Monitor {
    /// A monitor that nobody has associated with.
    #[must_use]
    pub fn new(setup: Setup) -> Self {
        Self {
            observer: Observer::new(setup),
            out: Vec::new(),
            input: Deframer::default(),
            line: Line::default(),
            session: Session::Idle,
            polls: BTreeMap::new(),
            arrivals: VecDeque::new(),
            spots: BTreeMap::new(),
            off: false,
        }
    }

    /// "At most 4 frames per 128 ms from the host", §2: one more is not taken.
    fn in_pace(&mut self, now: SimTime) -> bool {
        let old = |at: &mut SimTime| at.0 + spec::FRAMES_WINDOW_US <= now.0;
        while self.arrivals.pop_front_if(old).is_some() {}
        let room = self.arrivals.len() < spec::FRAMES_MAX;
        if room {
            self.arrivals.push_back(now);
        }
        room
    }

    fn frame(&mut self, now: SimTime, user_data: &[u8]) {
        if !self.in_pace(now) {
            self.observer.notes.forbidden(now, "more than 4 frames in 128 ms");
            return;
        }
        match (Request::decode(user_data), self.session) {
            (Request::Associate(profile), _) => self.associate(now, profile),
            (Request::Abort, _) => self.end(),
            (Request::Release, Session::Idle) => {}
            (Request::Release, _) => {
                self.end();
                self.send(now, messages::RELEASE_RESPONSE);
            }
            (Request::CreateResult { invoke }, Session::Created { granted, .. }) => {
                if invoke == CREATE_INVOKE {
                    self.session = Session::Associated { granted, heard: now };
                }
            }
            (request, Session::Associated { granted, .. }) => {
                self.session = Session::Associated { granted, heard: now };
                self.asked(now, granted, request);
            }
            (request, _) => self.record(now, &request),
        }
    }

    /// One association at a time; a busy monitor takes none, §1.
    fn associate(&mut self, now: SimTime, profile: Option<Profile>) {
        let second = self.observer.setup.patient.scenario.second(now.0 / 1_000_000);
        let busy = Scenario::during(&self.observer.setup.patient.scenario.monitor_busy, second);
        let (Session::Idle, false, Some(profile)) = (self.session, busy, profile) else {
            self.send(now, messages::REFUSE);
            return;
        };
        let granted = Granted {
            period: profile.period.max(spec::POLL_PERIOD_MIN),
            mtu: profile.mtu_receive.clamp(MTU_MIN, spec::MTU),
            options: profile.options & (spec::OPTION_NUMERICS | spec::OPTION_WAVES),
        };
        self.session = Session::Created { granted, since: now };
        let setup = &self.observer.setup;
        let about = system::about(setup, now);
        let event = messages::create_event(CREATE_INVOKE, system::ticks(setup, now), &about);
        self.send(now, &messages::accept(granted));
        self.send(now, &event);
    }

    /// Writes down what no driver may send.
    fn record(&mut self, now: SimTime, request: &Request) {
        match request {
            Request::Set { lists: None, .. } => self.observer.notes.forbidden(now, "set"),
            Request::Forbidden { command, action, .. } => {
                let what = match action {
                    Some(action) => format!("action {action:04x}"),
                    None => format!("command {command}"),
                };
                self.observer.notes.forbidden(now, &what);
            }
            _ => {}
        }
    }

    fn asked(&mut self, now: SimTime, granted: Granted, request: Request) {
        self.record(now, &request);
        let refusal = match request {
            Request::Poll { invoke, poll: Some(poll) } => {
                self.poll(now, granted, invoke, poll).err().map(|error| (invoke, error))
            }
            Request::Poll { invoke, poll: None } => Some((invoke, spec::INVALID_ARGUMENT)),
            Request::Get { invoke, attributes } => {
                self.get(now, invoke, attributes.as_deref()).err().map(|error| (invoke, error))
            }
            Request::Set { invoke, confirmed, lists: Some(lists) } => {
                self.set(now, invoke, confirmed, lists);
                None
            }
            Request::Set { invoke, confirmed: true, lists: None } => {
                Some((invoke, spec::ACCESS_DENIED))
            }
            Request::Forbidden { invoke, .. } => Some((invoke, spec::NO_SUCH_ACTION)),
            _ => None,
        };
        if let Some((invoke, error)) = refusal {
            self.send(now, &messages::error(invoke, error));
        }
    }

    fn poll(&mut self, now: SimTime, granted: Granted, invoke: u16, poll: Poll) -> Result<(), u16> {
        let parts = observer::parts(poll)?;
        let needed = match (poll.extended, poll.object) {
            (true, spec::NUMERICS) => spec::OPTION_NUMERICS,
            (true, spec::WAVES) => spec::OPTION_WAVES,
            _ => 0,
        };
        if granted.options & needed != needed {
            return Err(spec::ACCESS_DENIED);
        }
        // Samples come on the monitor's own beat of 256 ms; the immediate answer describes them.
        let first = if poll.object == spec::WAVES { Parts::Context } else { parts };
        self.answer(now, granted, invoke, poll, first, 0);
        let (next, step_us) = match poll.object {
            spec::WAVES => {
                (SimTime((now.0 / waves::BLOCK_US + 1) * waves::BLOCK_US), waves::BLOCK_US)
            }
            _ => {
                let step_us = u64::from(granted.period) * spec::TICK_US;
                (SimTime(now.0 + step_us), step_us)
            }
        };
        let repeats = poll.extended
            && [spec::NUMERICS, spec::WAVES, spec::ALERT_MONITOR].contains(&poll.object);
        if repeats {
            // A new poll of the same objects takes the place of the old one.
            self.polls.remove(&poll.object);
            let duration_us = u64::from(poll.duration.unwrap_or_default()) * spec::TICK_US;
            let until = SimTime(now.0 + duration_us);
            self.keep(Repeated { invoke, poll, parts, sequence: 0, next, step_us, until });
        }
        Ok(())
    }

    /// Keeps a poll as long as it has a result to come.
    fn keep(&mut self, repeated: Repeated) {
        if repeated.next <= repeated.until {
            self.polls.insert(repeated.poll.object, repeated);
        }
    }

    fn repeat(&mut self, object: u16) {
        let Some(due) = self.polls.remove(&object) else { return };
        let sequence = due.sequence.wrapping_add(1);
        self.keep(Repeated { sequence, next: SimTime(due.next.0 + due.step_us), ..due });
        if let Session::Associated { granted, .. } = self.session {
            self.answer(due.next, granted, due.invoke, due.poll, due.parts, sequence);
        }
    }

    fn answer(
        &mut self,
        at: SimTime,
        granted: Granted,
        invoke: u16,
        poll: Poll,
        parts: Parts,
        sequence: u16,
    ) {
        let reply = Reply {
            invoke,
            number: poll.number,
            sequence: poll.extended.then_some(sequence),
            ticks: system::ticks(&self.observer.setup, at),
            absolute: messages::NO_ABSOLUTE,
            object: poll.object,
            group: poll.group,
        };
        let closing = match self.observer.setup.seed % 2 {
            0 => Closing::Empty,
            _ => Closing::Observation,
        };
        let observed = self.observer.observe(at, poll, parts);
        let bytes: Vec<Vec<u8>> =
            observed.iter().map(|observation| observation.bytes.clone()).collect();
        let facts = observed.into_iter().flat_map(|observation| observation.facts).collect();
        // A full line has lost the answer; the next one says what has changed since.
        let sent = self.line.send(at, &reply.messages(&bytes, granted.mtu, closing), facts);
        if sent && poll.object == spec::ALERT_MONITOR && parts.values() {
            self.observer.alarms_told(at);
        }
    }

    /// Reads the priority lists, §6.8.
    fn get(&mut self, now: SimTime, invoke: u16, wanted: Option<&[u16]>) -> Result<(), u16> {
        let wanted = wanted.ok_or(spec::INVALID_ARGUMENT)?;
        let found = wanted.iter().take(2).map(|id| self.observer.priority_list(*id));
        let found = found.collect::<Option<Vec<_>>>().ok_or(spec::GET_LIST)?;
        self.send(now, &messages::attribute_result(invoke, spec::GET, &found));
        Ok(())
    }

    fn set(&mut self, now: SimTime, invoke: u16, confirmed: bool, lists: Vec<PriorityList>) {
        for list in lists {
            self.observer.prioritise(list);
        }
        if confirmed {
            let both = [spec::NUMERIC_PRIORITY, spec::WAVE_PRIORITY];
            let found: Vec<Vec<u8>> =
                both.iter().filter_map(|id| self.observer.priority_list(*id)).collect();
            self.send(now, &messages::attribute_result(invoke, spec::CONFIRMED_SET, &found));
        }
    }

    fn send(&mut self, now: SimTime, user_data: &[u8]) {
        // A line that is full of answers has no room for one more: a host must wait anyway.
        self.line.send(now, &[user_data.to_vec()], Vec::new());
    }

    /// Ends the association; what is not on the wire yet is not said.
    fn end(&mut self) {
        self.session = Session::Idle;
        self.line.clear();
        self.polls.clear();
        self.observer.forget_told();
    }

    /// When the association is given up, if nothing comes.
    fn deadline(&self) -> Option<SimTime> {
        match self.session {
            Session::Idle => None,
            Session::Created { since, .. } => Some(SimTime(since.0 + CREATE_RESULT_US)),
            Session::Associated { granted, heard } => {
                Some(SimTime(heard.0 + spec::time_out_us(granted.period)))
            }
        }
    }

    fn happen(&mut self, at: SimTime) {
        while let Some(frame) = self.line.pop(at) {
            self.out.extend(frame.bytes);
            frame.facts.into_iter().for_each(|fact| self.said(frame.end, fact));
        }
        if self.deadline().is_some_and(|deadline| deadline <= at) {
            self.end();
            self.send(at, messages::ABORT);
        }
        let due = self.polls.values().filter(|poll| poll.next <= at).map(|poll| poll.poll.object);
        due.collect::<Vec<_>>().into_iter().for_each(|object| self.repeat(object));
    }

    /// A fact is on the wire. A result that is repeated is one measurement.
    fn said(&mut self, at: SimTime, mut fact: Truth) {
        let metric = fact.metric.filter(|metric| numerics::is_repeated(metric));
        if let (Some(metric), Some(time)) = (metric, &fact.device_time) {
            let before = self.spots.insert(metric, time.clone());
            if before.as_ref() == Some(time) {
                return;
            }
        }
        fact.t = rfc3339(self.observer.setup.clock.wall_ms(at));
        self.observer.notes.push(fact);
    }

    /// Gives up results that nobody could take in time; their sequence numbers are used up.
    fn skip_late(&mut self, now: SimTime) {
        for poll in self.polls.values_mut() {
            let late_us = now.0.saturating_sub(poll.next.0);
            if late_us > LATE_MAX_US {
                let steps = late_us / poll.step_us;
                poll.next = SimTime(poll.next.0 + steps * poll.step_us);
                let used = u16::try_from(steps % 0x1_0000).unwrap_or_default();
                poll.sequence = poll.sequence.wrapping_add(used);
            }
        }
        self.polls.retain(|_, poll| poll.next <= poll.until);
    }
}

impl VirtualDevice for Monitor {
    fn receive(&mut self, now: SimTime, bytes: &[u8]) {
        if self.off {
            return;
        }
        self.advance(now);
        for byte in bytes {
            if let Some(user_data) = self.input.push(*byte) {
                self.frame(now, &user_data);
            }
        }
    }

    fn advance(&mut self, now: SimTime) {
        self.skip_late(now);
        while let Some(at) = self.next_due().filter(|at| *at <= now) {
            self.happen(at);
        }
    }

    fn next_due(&self) -> Option<SimTime> {
        let polls = self.polls.values().map(|poll| poll.next);
        polls.chain(self.line.next_due()).chain(self.deadline()).min()
    }

    fn take_output(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.out)
    }

    fn take_truth(&mut self) -> Vec<Truth> {
        self.observer.notes.take()
    }

    fn switch_off(&mut self, now: SimTime) {
        self.advance(now);
        self.end();
        self.off = true;
    }
}

#[cfg(test)]
mod tests;
