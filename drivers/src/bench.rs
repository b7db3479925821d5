//! Runs a driver on a list of events, with a clock that the test moves.

use crate::{
    gatt::{Characteristic, GattDriver, GattEvent, Refusal, Request},
    output::{Cursor, LinkNote, Output},
    serial::{SerialDriver, SerialEvent, SerialOutput},
};
use model::{
    alarm::{AlarmPhase, DeviceAlarm},
    device::DeviceStatus,
    reading::{Comparator, ReadingGroup, Value},
    record::Record,
    time::{ClockQuality, MonoTime, Now, Uptime, WallTime},
    waveform::WaveformBlock,
};
use std::{
    collections::VecDeque,
    ops::{Deref, DerefMut},
    time::Duration,
};

/// 2026-11-22 08:15:00 UTC.
const WALL_START_MS: i64 = 1_795_335_300_000;

/// The moment `ms` after the start.
pub(crate) fn now_at(ms: u64) -> Now {
    Now {
        mono: MonoTime::from_start(Duration::from_millis(ms)),
        uptime: Uptime::default(),
        wall: WallTime::from_unix_ms(WALL_START_MS + i64::try_from(ms).unwrap()),
        quality: ClockQuality::Synchronised,
    }
}

impl SerialDriver for Box<dyn SerialDriver> {
    fn handle(&mut self, now: Now, event: SerialEvent<'_>) {
        (**self).handle(now, event);
    }

    fn poll_output(&mut self) -> Option<SerialOutput> {
        (**self).poll_output()
    }

    fn next_timeout(&self) -> Option<MonoTime> {
        (**self).next_timeout()
    }
}

/// What a driver put out so far.
pub(crate) struct Said<R> {
    pub(crate) sent: Vec<R>,
    pub(crate) records: Vec<Record>,
    pub(crate) remembered: Vec<Cursor>,
    pub(crate) notes: Vec<LinkNote>,
}

/// A serial driver, what it put out so far, and the time.
pub(crate) struct Bench<D> {
    pub(crate) driver: D,
    pub(crate) ms: u64,
    pub(crate) said: Said<Vec<u8>>,
}

impl<D> Deref for Bench<D> {
    type Target = Said<Vec<u8>>;
    fn deref(&self) -> &Self::Target {
        &self.said
    }
}

impl<D> DerefMut for Bench<D> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.said
    }
}

impl<D: SerialDriver> Bench<D> {
    /// The driver on a port that was just opened.
    pub(crate) fn new(driver: D) -> Self {
        let mut bench = Self { driver, ms: 0, said: Said::default() };
        bench.handle(SerialEvent::Opened);
        bench
    }

    pub(crate) fn handle(&mut self, event: SerialEvent<'_>) {
        self.driver.handle(now_at(self.ms), event);
        while let Some(output) = self.driver.poll_output() {
            self.said.take(output);
        }
    }

    pub(crate) fn receive(&mut self, bytes: &[u8]) {
        self.handle(SerialEvent::Received(bytes));
    }

    /// Lets time pass as the agent does: from one asked-for moment to the next.
    pub(crate) fn pass(&mut self, ms: u64) {
        let end = self.ms + ms;
        let mut standing = 0;
        while wakes(self.driver.next_timeout(), &mut self.ms, end, &mut standing) {
            self.handle(SerialEvent::TimedOut);
        }
        self.ms = end;
    }
}

/// Moves the time to the moment a driver asks for, if it asks for one up to `end`.
fn wakes(due: Option<MonoTime>, ms: &mut u64, end: u64, standing: &mut u32) -> bool {
    let due = due.map(|due| u64::try_from(due.since_start().as_millis()).unwrap());
    let Some(due) = due.filter(|due| *due <= end) else { return false };
    *standing = if due > *ms { 0 } else { *standing + 1 };
    assert!(*standing < 20, "the driver asks for the same moment again and again");
    *ms = due.max(*ms);
    true
}

/// A GATT driver, what it put out so far, and the time. Every request is answered at once: from the
/// values that the device has, and subscriptions and writes with success.
pub(crate) struct GattBench<D> {
    pub(crate) driver: D,
    pub(crate) ms: u64,
    /// What is there, and what is read from it.
    pub(crate) device: Vec<(Characteristic, Vec<u8>)>,
    /// Refuses what is asked of these.
    pub(crate) refusing: Vec<(Characteristic, Refusal)>,
    said: Said<Request>,
}

impl<D> Deref for GattBench<D> {
    type Target = Said<Request>;
    fn deref(&self) -> &Self::Target {
        &self.said
    }
}

impl<D> DerefMut for GattBench<D> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.said
    }
}

impl<D: GattDriver> GattBench<D> {
    /// The driver of a device that is not connected.
    pub(crate) fn new(driver: D, device: Vec<(Characteristic, Vec<u8>)>) -> Self {
        Self { driver, ms: 0, device, refusing: vec![], said: Said::default() }
    }

    pub(crate) fn connect(&mut self) {
        let found: Vec<_> = self.device.iter().map(|(place, _)| *place).collect();
        self.handle(GattEvent::Connected(&found));
    }

    pub(crate) fn receive(&mut self, from: Characteristic, value: &[u8]) {
        self.handle(GattEvent::Received(from, value));
    }

    pub(crate) fn handle(&mut self, event: GattEvent<'_>) {
        let now = now_at(self.ms);
        self.driver.handle(now, event);
        let mut asked = VecDeque::new();
        loop {
            while let Some(output) = self.driver.poll_output() {
                if let Output::Send(request) = &output {
                    asked.push_back(request.clone());
                }
                self.said.take(output);
            }
            let Some(request) = asked.pop_front() else { return };
            let place = match &request {
                Request::Read(place) | Request::Write(place, _) | Request::Subscribe(place) => {
                    place
                }
                Request::Disconnect => continue,
            };
            let refused = self.refusing.iter().find(|(refusing, _)| refusing == place);
            let value = self.device.iter().find(|(there, _)| there == place);
            let value = match (&request, value) {
                (Request::Read(_), Some((_, value))) => value.as_slice(),
                _ => &[],
            };
            let answer = refused.map_or(Ok(value), |(_, refusal)| Err(refusal));
            self.driver.handle(now, GattEvent::Answered(&request, answer));
        }
    }

    /// Lets time pass as the agent does: from one asked-for moment to the next.
    pub(crate) fn pass(&mut self, ms: u64) {
        let end = self.ms + ms;
        let mut standing = 0;
        while wakes(self.driver.next_timeout(), &mut self.ms, end, &mut standing) {
            self.handle(GattEvent::TimedOut);
        }
        self.ms = end;
    }
}

impl<R> Default for Said<R> {
    fn default() -> Self {
        Self { sent: vec![], records: vec![], remembered: vec![], notes: vec![] }
    }
}

impl<R> Said<R> {
    fn take(&mut self, output: Output<R>) {
        match output {
            Output::Send(request) => self.sent.push(request),
            Output::Emit(record) => self.records.push(record),
            Output::Remember(cursor) => self.remembered.push(cursor),
            Output::Note(note) => self.notes.push(note),
        }
    }

    pub(crate) fn groups(&self) -> Vec<&ReadingGroup> {
        let groups = self.records.iter().filter_map(|record| match record {
            Record::Readings(group) => Some(group),
            _ => None,
        });
        groups.collect()
    }

    /// Every reading in a line: metric and value, or metric and reason.
    pub(crate) fn values(&self) -> Vec<String> {
        let readings = self.groups().into_iter().flat_map(|group| group.readings.clone());
        let shown = readings.map(|reading| match reading.value {
            Ok(Value::Number { number, comparator }) => {
                let sign = match comparator {
                    Comparator::Equal => "",
                    Comparator::Below => "<",
                    Comparator::Above => ">",
                };
                format!("{} {sign}{number}", reading.metric)
            }
            Ok(Value::Text(text)) => format!("{} {text}", reading.metric),
            Err(reason) => format!("{} {reason}", reading.metric),
        });
        shown.collect()
    }

    pub(crate) fn statuses(&self) -> Vec<&DeviceStatus> {
        let statuses = self.records.iter().filter_map(|record| match record {
            Record::Status(status) => Some(status),
            _ => None,
        });
        statuses.collect()
    }

    /// Device and state of every status.
    pub(crate) fn states(&self) -> Vec<String> {
        let statuses = self.statuses().into_iter();
        statuses.map(|status| format!("{} {}", status.device, status.state.name())).collect()
    }

    /// Code and phase of every device alarm.
    pub(crate) fn alarms(&self) -> Vec<(&str, AlarmPhase)> {
        let alarms = self.records.iter().filter_map(|record| match record {
            Record::Alarm(DeviceAlarm { code, phase, .. }) => Some((code.as_str(), *phase)),
            _ => None,
        });
        alarms.collect()
    }

    pub(crate) fn blocks(&self) -> Vec<&WaveformBlock> {
        let blocks = self.records.iter().filter_map(|record| match record {
            Record::Waveform(block) => Some(block),
            _ => None,
        });
        blocks.collect()
    }
}
