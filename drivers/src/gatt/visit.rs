//! A visit: a device that was used connects, says what it has, and goes; one that stays without a
//! word is sent away, so that others can come. One that talks all the time may stay.

use super::{
    Characteristic, GattEvent, Refusal, Request,
    services::{ClockOptions, Services},
};
use crate::reporter::Reporter;
use model::{
    id::DeviceId,
    reading::{Occurrence, Reading, ReadingGroup},
    time::{DeviceTime, MonoTime, Now},
};
use std::{collections::BTreeSet, time::Duration};

/// "If no indication arrives within 30 s of enabling the CCCD, disconnect" (protocol sheet of the
/// Blood Pressure Service, §5).
pub(super) const QUIET_MAX: Duration = Duration::from_secs(30);

/// A device that has said everything is sent away; what it may still push comes first.
const LEAVE_AFTER: Duration = Duration::from_secs(2);

/// A device remembers fewer than this many records without a time.
const UNTIMED_MAX: usize = 256;

/// One device's visits.
#[derive(Debug)]
pub(super) struct Visit {
    services: Services,
    /// The device is sent away then.
    end_at: Option<MonoTime>,
    /// Values without a time that came in this connection.
    untimed: BTreeSet<Vec<u8>>,
}

impl Visit {
    pub(super) fn new(clock: ClockOptions) -> Self {
        Self { services: Services::new(clock), end_at: None, untimed: BTreeSet::new() }
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

    /// Whether this value, which has no time, came before: "the same bytes again on the same
    /// connection are a repeat, later they are a new reading" (protocol sheet of the Blood Pressure
    /// Service, §5.4).
    pub(super) fn is_repeat(&mut self, value: &[u8]) -> bool {
        if self.untimed.len() >= UNTIMED_MAX {
            self.untimed.clear();
        }
        !self.untimed.insert(value.to_vec())
    }

    /// It talks all the time: it is not sent away.
    pub(super) fn stay(&mut self) {
        self.end_at = None;
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
    ) {
        if let (Request::Subscribe(place), Err(refusal)) = (request, answer) {
            let text = format!("subscribing to {} failed: {refusal}", place.uuid);
            return reporter.note(now, "refused", text);
        }
        self.services.answered(now, request, answer, reporter);
    }

    /// What a visit does with an event that its driver has no use for.
    pub(super) fn handle(
        &mut self,
        now: Now,
        event: GattEvent<'_>,
        reporter: &mut Reporter<Request>,
    ) {
        match event {
            GattEvent::Answered(request, answer) => self.answered(now, request, answer, reporter),
            GattEvent::TimedOut => self.time_out(now, reporter),
            GattEvent::Disconnected => self.end(),
            GattEvent::Connected(_) | GattEvent::Received(..) | GattEvent::Leaving => {}
        }
    }

    pub(super) fn time_out(&mut self, now: Now, reporter: &mut Reporter<Request>) {
        if self.end_at.is_some_and(|at| now.mono >= at) {
            self.end_at = None;
            reporter.send(Request::Disconnect);
        }
    }

    /// It is away, and that was told.
    pub(super) fn end_as_told(&mut self) {
        self.end();
        self.services.forget();
    }

    /// It went: the normal end, and no news.
    pub(super) fn end(&mut self) {
        self.end_at = None;
        self.untimed.clear();
    }

    pub(super) fn next_timeout(&self) -> Option<MonoTime> {
        self.end_at
    }
}

/// What was measured once, with the device's own time, or the word that it is unknown.
pub(super) fn spot_group(
    device: DeviceId,
    now: Now,
    readings: Vec<Reading>,
    civil_ms: Option<i64>,
) -> ReadingGroup {
    let time = civil_ms.map(|civil_ms| DeviceTime::Local { civil_ms });
    let mut group = ReadingGroup::new(device, now.observed(), readings).at_device_time(time);
    group.occurrence = Occurrence::Spot;
    match time {
        Some(_) => group,
        None => group.with_context("time", "unknown"),
    }
}
