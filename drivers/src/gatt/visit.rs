//! A visit: a device that was used connects, says what it has, and goes; one that stays without a
//! word is sent away, so that others can come.

use super::{
    Characteristic, Refusal, Request,
    services::{ClockOptions, Services},
};
use crate::reporter::Reporter;
use model::time::{MonoTime, Now};
use std::time::Duration;

/// "If no indication arrives within 30 s of enabling the CCCD, disconnect" (protocol sheet of the
/// Blood Pressure Service, §5).
pub(super) const QUIET_MAX: Duration = Duration::from_secs(30);

/// A device that has said everything is sent away; what it may still push comes first.
const LEAVE_AFTER: Duration = Duration::from_secs(2);

/// One device's visits.
#[derive(Debug)]
pub(super) struct Visit {
    services: Services,
    /// The device is sent away then.
    end_at: Option<MonoTime>,
}

impl Visit {
    pub(super) fn new(clock: ClockOptions) -> Self {
        Self { services: Services::new(clock), end_at: None }
    }

    /// It is connected: first its clock, then what it has to say, then what it is. `read` is read
    /// too.
    pub(super) fn begin(
        &mut self,
        now: Now,
        found: &[Characteristic],
        subscribe: &[Characteristic],
        read: &[Characteristic],
        reporter: &mut Reporter<Request>,
    ) {
        self.services.set_clock(now, found, reporter);
        let there = |place: &&Characteristic| found.contains(place);
        subscribe.iter().filter(there).for_each(|place| reporter.send(Request::Subscribe(*place)));
        read.iter().filter(there).for_each(|place| reporter.send(Request::Read(*place)));
        self.services.connected(now, found, reporter);
        self.end_at = Some(now.mono + QUIET_MAX);
    }

    /// It has nothing more to say.
    pub(super) fn end_soon(&mut self, now: Now) {
        self.end_at = self.end_at.map(|_| now.mono + LEAVE_AFTER);
    }

    /// It said something.
    pub(super) fn heard(&mut self, now: Now) {
        self.end_at = self.end_at.map(|_| now.mono + QUIET_MAX);
    }

    /// Takes an answer, if it is not one of the driver's own.
    pub(super) fn answered(
        &mut self,
        now: Now,
        request: &Request,
        answer: Result<&[u8], &Refusal>,
        reporter: &mut Reporter<Request>,
    ) -> bool {
        if let (Request::Subscribe(place), Err(refusal)) = (request, answer) {
            let text = format!("subscribing to {} failed: {refusal}", place.uuid);
            reporter.note(now, "refused", text);
            return true;
        }
        self.services.answered(now, request, answer, reporter)
    }

    pub(super) fn time_out(&mut self, now: Now, reporter: &mut Reporter<Request>) {
        if self.end_at.is_some_and(|at| now.mono >= at) {
            self.end_at = None;
            reporter.send(Request::Disconnect);
        }
    }

    /// It went: the normal end, and no news.
    pub(super) fn end(&mut self) {
        self.end_at = None;
    }

    pub(super) fn next_timeout(&self) -> Option<MonoTime> {
        self.end_at
    }
}
