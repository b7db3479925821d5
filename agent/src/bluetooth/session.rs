//! One device and its driver, from the advertisement to the end of the connection: what happened
//! in, what to do out. No bus, no task, no clock.
//!
//! # Invariants
//! - a value goes to the driver whenever it comes, connected or not: the stack has confirmed it
//! - one call at a time is under way for a device
//! - a driver that was told of a connection is told of its end

use drivers::gatt::{Characteristic, GattDriver, GattEvent, GattOutput, Refusal, Request};
use model::time::{MonoTime, Now};
use std::{collections::VecDeque, time::Duration};

/// "LE Connect took about 2 s"; the stack gives up by itself after 20 to 40 s.
const CONNECT_LIMIT: Duration = Duration::from_secs(45);
/// "Services resolved 0.3 to 2.7 s later", in software emulation.
pub(super) const RESOLVE_LIMIT: Duration = Duration::from_secs(30);
/// "A new Connect can fail at once …, gone after 1 s. Retry with pause."
pub(super) const RETRY_AFTER: Duration = Duration::from_secs(1);
/// A device that fails this often in a row is left until it is seen again later.
const TRIES: u8 = 4;
/// A device that we sent away, or that fails, is left alone this long; a cuff advertises for about
/// half a minute after a measurement.
const REST: Duration = Duration::from_secs(10);
/// A device that is asked for nothing and was silent this long may go, where another one waits: "a
/// sensor drops an idle link after about 5 s".
const QUIET: Duration = Duration::from_secs(5);
/// What a driver says last, before we go, is waited for this long.
const LEAVE_LIMIT: Duration = Duration::from_secs(2);
/// "Disconnect itself takes about 2 to 2.5 s."
const END_LIMIT: Duration = Duration::from_secs(10);

/// What happened to the device.
#[derive(Debug)]
pub(super) enum Event<'a> {
    /// It advertises, and there is room for another connection.
    Seen,
    /// Another device waits for a connection.
    MakeRoom,
    /// A person pairs it: it is left alone.
    Hold,
    /// It is ours again.
    LetGo,
    /// It is connected and its services are known.
    Resolved(&'a [Characteristic]),
    /// A value was notified or indicated.
    Value(Characteristic, &'a [u8]),
    /// The connection is gone.
    Disconnected,
    /// The whole stack is gone.
    Lost,
    /// The call of that number has ended.
    Done(u64, Result<Vec<u8>, Refusal>),
    /// The time asked for has come.
    TimedOut,
    /// The agent stops.
    Leave,
}

/// What is asked of the stack.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Call {
    Connect,
    Disconnect,
    Gatt(Request),
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Phase {
    /// It may be connected from then on, if it is seen.
    Away(MonoTime),
    /// Connect is under way, or failed and is tried again then.
    Connecting { tried: u8, again_at: Option<MonoTime>, until: MonoTime },
    /// Connected; its services are not known yet.
    Resolving(MonoTime),
    /// The driver works.
    Connected,
    /// The driver's last words are under way.
    Leaving(MonoTime),
    /// The connection is being ended.
    Ending(MonoTime),
}

/// One device.
pub(super) struct Session {
    driver: Box<dyn GattDriver>,
    phase: Phase,
    requests: VecDeque<Request>,
    under_way: Option<Call>,
    /// Number of the last call: what is said of an older one is about nothing.
    calls: u64,
    /// The driver knows that it is connected.
    told: bool,
    /// When it was connected, or spoke last.
    last_word: MonoTime,
    stopping: bool,
    held: bool,
}

impl Session {
    pub(super) fn new(driver: Box<dyn GattDriver>) -> Self {
        Self {
            driver,
            phase: Phase::Away(MonoTime::START),
            requests: VecDeque::new(),
            under_way: None,
            calls: 0,
            told: false,
            last_word: MonoTime::START,
            stopping: false,
            held: false,
        }
    }

    /// Whether it holds a connection, or is about to.
    pub(super) const fn is_busy(&self) -> bool {
        !matches!(self.phase, Phase::Away(_)) || self.under_way.is_some()
    }

    /// Whether it waits for its device.
    pub(super) fn wants(&self, now: Now) -> bool {
        let is_away = matches!(self.phase, Phase::Away(from) if now.mono >= from);
        is_away && !self.held && self.under_way.is_none()
    }

    /// Whether its driver works with it.
    pub(super) const fn is_connected(&self) -> bool {
        matches!(self.phase, Phase::Connected | Phase::Leaving(_))
    }

    /// Whether it is connected and has not told its services yet.
    pub(super) const fn is_resolving(&self) -> bool {
        matches!(self.phase, Phase::Resolving(_))
    }

    /// The call of that number, if it is the one that is waited for.
    pub(super) fn under_way(&self, number: u64) -> Option<&Call> {
        self.under_way.as_ref().filter(|_| number == self.calls)
    }

    /// Whether its device has had time to say what it has, and says nothing.
    pub(super) fn is_quiet(&self, now: Now) -> bool {
        let has_nothing_to_do = self.requests.is_empty() && self.under_way.is_none();
        self.phase == Phase::Connected
            && has_nothing_to_do
            && now.mono.since(self.last_word) >= QUIET
    }

    /// Takes in what happened; hands out what the driver has to keep.
    pub(super) fn handle(&mut self, now: Now, event: Event<'_>, keep: &mut Vec<GattOutput>) {
        match event {
            Event::Seen if self.wants(now) => self.connect(now, 1),
            Event::Seen => {}
            Event::MakeRoom if self.is_quiet(now) => self.say_good_bye(now),
            Event::MakeRoom => {}
            Event::Hold => self.hold(now),
            Event::LetGo => self.let_go(now),
            Event::Resolved(found) => self.resolved(now, found),
            Event::Value(from, value) => {
                self.last_word = now.mono;
                // The driver has heard of this connection: it must hear of its end.
                self.told = true;
                self.driver.handle(now, GattEvent::Received(from, value));
            }
            Event::Disconnected => self.disconnected(now),
            Event::Lost => {
                // Nothing that was asked is answered any more, Connect neither.
                self.under_way = None;
                self.phase = Phase::Away(now.mono);
                self.disconnected(now);
            }
            Event::Done(number, result) if number == self.calls => self.done(now, result),
            Event::Done(..) => {}
            Event::TimedOut => self.time_out(now),
            Event::Leave => self.leave(now),
        }
        self.drain(keep);
        self.go_on(now);
    }

    /// The call to make now, if there is one, with its number; its end comes as [`Event::Done`].
    pub(super) fn poll_call(&mut self) -> Option<(u64, Call)> {
        if self.under_way.is_some() {
            return None;
        }
        let call = match self.phase {
            Phase::Connecting { again_at: None, .. } => Call::Connect,
            Phase::Connected | Phase::Leaving(_) => Call::Gatt(self.requests.pop_front()?),
            Phase::Ending(_) => Call::Disconnect,
            Phase::Away(_) | Phase::Connecting { .. } | Phase::Resolving(_) => return None,
        };
        self.under_way = Some(call.clone());
        self.calls += 1;
        Some((self.calls, call))
    }

    pub(super) fn next_timeout(&self) -> Option<MonoTime> {
        let ours = match self.phase {
            Phase::Away(_) | Phase::Connected => None,
            Phase::Connecting { again_at, until, .. } => Some(again_at.unwrap_or(until)),
            Phase::Resolving(until) | Phase::Leaving(until) | Phase::Ending(until) => Some(until),
        };
        ours.into_iter().chain(self.driver.next_timeout()).min()
    }

    fn connect(&mut self, now: Now, tried: u8) {
        let until = now.mono + CONNECT_LIMIT;
        self.phase = Phase::Connecting { tried, again_at: None, until };
    }

    fn resolved(&mut self, now: Now, found: &[Characteristic]) {
        let is_known =
            matches!(self.phase, Phase::Connected | Phase::Leaving(_) | Phase::Ending(_));
        if is_known || self.held {
            return;
        }
        self.phase = Phase::Connected;
        self.last_word = now.mono;
        self.told = true;
        self.driver.handle(now, GattEvent::Connected(found));
    }

    fn disconnected(&mut self, now: Now) {
        // What was asked of the device is not answered any more.
        if matches!(self.under_way, Some(Call::Gatt(_) | Call::Disconnect)) {
            self.under_way = None;
        }
        self.requests.clear();
        if std::mem::take(&mut self.told) {
            self.driver.handle(now, GattEvent::Disconnected);
        }
        self.phase = match self.phase {
            // The end of the connection before this one.
            Phase::Connecting { .. } => self.phase,
            Phase::Leaving(_) | Phase::Ending(_) => Phase::Away(self.rested(now)),
            Phase::Away(from) => Phase::Away(from),
            Phase::Resolving(_) | Phase::Connected => Phase::Away(now.mono),
        };
    }

    fn done(&mut self, now: Now, result: Result<Vec<u8>, Refusal>) {
        match (self.under_way.take(), result) {
            (Some(Call::Connect), Ok(_)) => {
                if matches!(self.phase, Phase::Connecting { .. }) {
                    self.phase = Phase::Resolving(now.mono + RESOLVE_LIMIT);
                }
            }
            (Some(Call::Connect), Err(_)) => {
                if let Phase::Connecting { tried, until, .. } = self.phase {
                    let again_at = (tried < TRIES).then(|| now.mono + RETRY_AFTER);
                    self.phase = match again_at {
                        Some(_) => Phase::Connecting { tried, again_at, until },
                        None => Phase::Away(now.mono + REST),
                    };
                }
            }
            (Some(Call::Gatt(request)), Ok(value)) => {
                self.driver.handle(now, GattEvent::Answered(&request, Ok(&value)));
            }
            (Some(Call::Gatt(request)), Err(refusal)) => {
                self.driver.handle(now, GattEvent::Answered(&request, Err(&refusal)));
            }
            (Some(Call::Disconnect), _) => self.disconnected(now),
            (None, _) => {}
        }
    }

    fn time_out(&mut self, now: Now) {
        match self.phase {
            Phase::Connecting { tried, again_at: Some(at), .. } if now.mono >= at => {
                self.connect(now, tried + 1);
            }
            Phase::Connecting { again_at: None, until, .. } | Phase::Resolving(until)
                if now.mono >= until =>
            {
                self.end(now);
            }
            // Its last words did not come through.
            Phase::Leaving(until) if now.mono >= until => self.end(now),
            Phase::Ending(until) if now.mono >= until => {
                self.under_way = None;
                self.disconnected(now);
            }
            _ => {}
        }
        if self.driver.next_timeout().is_some_and(|at| now.mono >= at) {
            self.driver.handle(now, GattEvent::TimedOut);
        }
    }

    /// Ends the connection, whatever was under way.
    fn end(&mut self, now: Now) {
        self.under_way = None;
        self.requests.clear();
        self.phase = Phase::Ending(now.mono + END_LIMIT);
    }

    fn leave(&mut self, now: Now) {
        self.stopping = true;
        match self.phase {
            Phase::Away(_) => self.phase = Phase::Away(self.rested(now)),
            Phase::Connected => self.say_good_bye(now),
            Phase::Connecting { .. } | Phase::Resolving(_) => self.end(now),
            Phase::Leaving(_) | Phase::Ending(_) => {}
        }
    }

    /// Somebody else connects it now.
    fn hold(&mut self, now: Now) {
        self.held = true;
        match self.phase {
            Phase::Connected => self.say_good_bye(now),
            Phase::Connecting { .. } | Phase::Resolving(_) => self.end(now),
            Phase::Away(_) | Phase::Leaving(_) | Phase::Ending(_) => {}
        }
    }

    fn let_go(&mut self, now: Now) {
        self.held = false;
        if matches!(self.phase, Phase::Away(_)) && !self.stopping {
            self.phase = Phase::Away(now.mono);
        }
    }

    fn say_good_bye(&mut self, now: Now) {
        self.driver.handle(now, GattEvent::Leaving);
        self.phase = Phase::Leaving(now.mono + LEAVE_LIMIT);
    }

    /// When a device that we sent away may come again.
    fn rested(&self, now: Now) -> MonoTime {
        if self.stopping { MonoTime::from_start(Duration::MAX) } else { now.mono + REST }
    }

    fn drain(&mut self, keep: &mut Vec<GattOutput>) {
        while let Some(output) = self.driver.poll_output() {
            match output {
                GattOutput::Send(request) => self.requests.push_back(request),
                output => keep.push(output),
            }
        }
    }

    /// A driver that is done, and last words that were said, end the connection.
    fn go_on(&mut self, now: Now) {
        let is_free = self.under_way.is_none();
        match (self.phase, self.requests.front()) {
            (Phase::Connected | Phase::Leaving(_), Some(Request::Disconnect)) if is_free => {
                self.end(now);
            }
            (Phase::Leaving(_), None) if is_free => self.end(now),
            // Nobody is there to be asked.
            (Phase::Away(_), _) => self.requests.clear(),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests;
