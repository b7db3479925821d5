//! A device that talks all the time while it is worn: when it stops, that is news.

use super::Request;
use crate::reporter::Reporter;
use model::{
    device::DeviceState,
    metric::Metric,
    reading::{NoData, Reading, ReadingGroup},
    record::Record,
    time::{MonoTime, Now},
};
use std::{collections::BTreeMap, time::Duration};

/// "No frame for 3 s, link gone: silent" (protocol sheets).
const SILENT_AFTER: Duration = Duration::from_secs(3);

/// One device's stream.
#[derive(Debug)]
pub(super) struct Stream {
    metrics: &'static [Metric],
    state: State,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    /// Not connected.
    Away,
    /// It counts as silent then.
    Heard(MonoTime),
    /// Connected, and it says nothing.
    Silent,
}

impl Stream {
    /// The metrics are reported as silent when the device is.
    pub(super) const fn new(metrics: &'static [Metric]) -> Self {
        Self { metrics, state: State::Away }
    }

    /// It is connected, or it said something.
    pub(super) fn heard(&mut self, now: Now, reporter: &mut Reporter<Request>) {
        if self.state == State::Silent {
            reporter.status(now, DeviceState::Online, "", BTreeMap::new());
        }
        self.state = State::Heard(now.mono + SILENT_AFTER);
    }

    pub(super) fn time_out(&mut self, now: Now, reporter: &mut Reporter<Request>) {
        if matches!(self.state, State::Heard(until) if now.mono >= until) {
            self.fall_silent(now, "the link is there and nothing comes; is it worn?", reporter);
            self.state = State::Silent;
        }
    }

    /// It went: out of reach, or taken off. Whether it had talked in this connection.
    pub(super) fn end(&mut self, now: Now, reporter: &mut Reporter<Request>) -> bool {
        let before = std::mem::replace(&mut self.state, State::Away);
        if matches!(before, State::Heard(_)) {
            self.fall_silent(now, "out of reach or taken off", reporter);
        }
        before != State::Away
    }

    fn fall_silent(&self, now: Now, reason: &str, reporter: &mut Reporter<Request>) {
        let device = reporter.device().clone();
        let silent = |metric: &Metric| Reading::no_data(*metric, NoData::Silent);
        let readings = self.metrics.iter().map(silent).collect();
        reporter.emit(Record::Readings(ReadingGroup::new(device, now.observed(), readings)));
        reporter.status(now, DeviceState::Silent, reason, BTreeMap::new());
    }

    pub(super) const fn next_timeout(&self) -> Option<MonoTime> {
        match self.state {
            State::Heard(until) => Some(until),
            State::Away | State::Silent => None,
        }
    }
}
