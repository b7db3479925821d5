//! Glucose Service (0x1808): reads the records a meter stored.
//!
//! Read first: the protocol sheet of the Glucose Service; its codecs are [`codec`] and
//! [`racp`](super::racp).
//!
//! A visit: subscribe; ask for the newest record; if it is new, count what is above the last known
//! number and have it reported. A newest number below the last known one means that the meter was
//! reset, or that its numbers began anew: then everything is reported, and whoever stores readings
//! tells repeats by their identity.
//!
//! # Invariants
//! - no record is deleted in a meter
//! - what is remembered never passes over a record that was not emitted
//! - control solution is never a patient's value

pub mod codec;

use super::{
    Characteristic, Cursor, GattDriver, GattEvent, GattOutput, Refusal, Request,
    racp::{Command, Outcome, Which},
    services::ClockOptions,
    visit::{QUIET_MAX, Visit, spot_group},
};
use crate::{medfloat::Medfloat, reporter::Reporter};
use codec::{Context, Measurement, TimeOffset};
use model::{
    decimal::Decimal,
    device::DeviceKind,
    id::DeviceId,
    metric::Metric,
    reading::{Comparator, NoData, Reading, ReadingGroup},
    record::Record,
    time::{MonoTime, Now},
    units::Unit,
};
use std::{cmp::Ordering, collections::BTreeMap, time::Duration};

/// The service, as it stands in advertisements.
pub const SERVICE: u16 = 0x1808;
/// Glucose Measurement, notified.
pub const MEASUREMENT: Characteristic = Characteristic::sig(SERVICE, 0x2A18);
/// Glucose Measurement Context, notified.
pub const CONTEXT: Characteristic = Characteristic::sig(SERVICE, 0x2A34);
/// Record Access Control Point.
pub const CONTROL_POINT: Characteristic = Characteristic::sig(SERVICE, 0x2A52);

mod spec {
    use super::{Decimal, Duration};

    /// "Wait about 200 ms after it before closing the batch", §6.
    pub(super) const SETTLE: Duration = Duration::from_millis(200);
    /// "Send abort, wait 5 s, disconnect", §6.
    pub(super) const ABORT_WAIT: Duration = Duration::from_secs(5);
    /// "Else the model's limit, else 600 mg/dL", "else 20 mg/dL" ("Our metrics").
    pub(super) const HIGHEST: Decimal = Decimal::fixed(600, 0);
    pub(super) const LOWEST: Decimal = Decimal::fixed(20, 0);
    /// "0x80 or 0xFE = procedure already in progress."
    pub(super) const IN_PROGRESS: [u8; 2] = [0x80, 0xFE];
}

/// A batch whose number is not that of the count is asked for once more.
const TRIES: u8 = 2;
/// Values that are kept to tell a repeat from another value under the same number: a full meter has
/// at most 1000.
const SEEN_MAX: usize = 1024;

/// What is under way with the control point.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Phase {
    /// Not connected, or not subscribed yet.
    Away,
    /// This was written, at that try.
    Asked(Command, u8),
    /// The answer is there; its last records may still come.
    Settling { which: Which, tried: u8, until: MonoTime },
    /// Nothing more is asked in this visit.
    Done,
    /// A procedure that stood still is aborted; then the meter is sent away.
    Aborting(MonoTime),
}

/// A record that was taken over: its number, and its value, which tells it from another record
/// under the same number.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Last {
    sequence: u16,
    value: Vec<u8>,
}

impl Last {
    fn decode(cursor: &Cursor) -> Option<Self> {
        let (sequence, value) = cursor.0.split_first_chunk()?;
        Some(Self { sequence: u16::from_le_bytes(*sequence), value: value.to_vec() })
    }

    fn cursor(&self) -> Cursor {
        Cursor([&self.sequence.to_le_bytes(), self.value.as_slice()].concat())
    }
}

/// What one report brought so far.
#[derive(Debug, Default)]
struct Batch {
    came: u16,
    /// How many the meter said there are.
    said: Option<u16>,
    newest: Option<u16>,
    /// A record could not be read.
    is_damaged: bool,
    /// A number was below one before it: what is still to come may be older than the newest.
    is_mixed: bool,
    /// What was taken over before.
    before: Option<Last>,
}

/// A measurement that waits for its context.
#[derive(Debug)]
struct Waiting {
    measured: Measurement,
    doubted: bool,
}

/// Driver of any meter with the Glucose Service.
#[derive(Debug)]
pub struct Glucose {
    reporter: Reporter<Request>,
    visit: Visit,
    phase: Phase,
    /// The newest record of which all up to it were emitted.
    last: Option<Last>,
    batch: Batch,
    waiting: Option<Waiting>,
    /// Values of this connection, by number.
    seen: BTreeMap<u16, Vec<u8>>,
    /// A procedure without any news is aborted then.
    quiet_until: Option<MonoTime>,
}

impl Glucose {
    /// A driver that waits for its meter. The cursor is the last record that was taken over.
    #[must_use]
    pub fn new(device: DeviceId, clock: ClockOptions, cursor: Option<Cursor>) -> Self {
        let last = cursor.as_ref().and_then(Last::decode);
        Self {
            reporter: Reporter::new(device, DeviceKind::GlucoseMeter, "glucose"),
            visit: Visit::new(clock),
            phase: Phase::Away,
            batch: Batch { before: last.clone(), ..Batch::default() },
            last,
            waiting: None,
            seen: BTreeMap::new(),
            quiet_until: None,
        }
    }

    fn ask(&mut self, now: Now, command: Command, tried: u8) {
        self.reporter.send(Request::Write(CONTROL_POINT, command.bytes()));
        self.phase = Phase::Asked(command, tried);
        self.quiet_until = Some(now.mono + QUIET_MAX);
    }

    /// What comes from here on is of another batch.
    fn begin_batch(&mut self) {
        self.batch = Batch { before: self.last.clone(), ..Batch::default() };
    }

    /// Counts, then has reported.
    fn begin(&mut self, now: Now, which: Which, tried: u8) {
        self.begin_batch();
        self.ask(now, Command::Count(which), tried);
    }

    /// The control point is ready.
    fn start(&mut self, now: Now) {
        self.begin_batch();
        match self.last {
            None => self.begin(now, Which::All, 1),
            Some(_) => self.ask(now, Command::Report(Which::Last), 1),
        }
    }

    fn responded(&mut self, now: Now, value: &[u8]) {
        let Phase::Asked(asked, tried) = self.phase else {
            if matches!(self.phase, Phase::Aborting(_)) {
                self.reporter.send(Request::Disconnect);
                self.phase = Phase::Done;
            }
            return;
        };
        let outcome = match Outcome::decode(asked, value) {
            Ok(outcome) => outcome,
            Err(error) => return self.reporter.note(now, "unknown_frame", error),
        };
        match (asked, outcome) {
            (Command::Count(which), Outcome::Number(number)) => {
                self.batch.said = Some(number);
                self.ask(now, Command::Report(which), tried);
            }
            // Counting is a help; what is reported is what counts.
            (Command::Count(which), _) => self.ask(now, Command::Report(which), tried),
            (Command::Report(which), Outcome::Success | Outcome::NoRecords) => {
                let until = now.mono + spec::SETTLE;
                self.phase = Phase::Settling { which, tried, until };
            }
            (Command::Report(Which::All), outcome) => self.give_up(now, outcome),
            // A meter that cannot pick records can still report all of them.
            (Command::Report(_), Outcome::NotSupported(_)) => self.begin(now, Which::All, 1),
            (Command::Report(_), outcome) => self.give_up(now, outcome),
            (Command::Abort, _) => self.phase = Phase::Done,
        }
    }

    fn give_up(&mut self, now: Now, outcome: Outcome) {
        let text =
            format!("the meter does not report its records ({outcome:?}); try the transfer again");
        self.reporter.note(now, "refused", text);
        self.done(now);
    }

    /// Nothing more is asked: others may want the adapter.
    fn done(&mut self, now: Now) {
        self.phase = Phase::Done;
        self.visit.end_soon(now);
    }

    fn refused(&mut self, now: Now, refusal: &Refusal) {
        match refusal {
            Refusal::Att(code) if spec::IN_PROGRESS.contains(code) => self.abort(now),
            _ => {
                self.reporter.note(now, "refused", refusal);
                self.done(now);
            }
        }
    }

    fn abort(&mut self, now: Now) {
        self.reporter.send(Request::Write(CONTROL_POINT, Command::Abort.bytes()));
        self.phase = Phase::Aborting(now.mono + spec::ABORT_WAIT);
        self.quiet_until = None;
    }

    /// A batch is over.
    fn settle(&mut self, now: Now, which: Which, tried: u8) {
        self.flush(now);
        self.quiet_until = None;
        let newest = self.batch.newest;
        if let (Which::Last, Some(newest), Some(last)) = (which, newest, &self.last) {
            match newest.cmp(&last.sequence) {
                _ if self.seen.get(&newest) == Some(&last.value) => self.done(now),
                Ordering::Greater => {
                    let next = last.sequence.saturating_add(1);
                    self.begin(now, Which::From(next), 1);
                }
                // The meter was reset, or its numbers began anew.
                Ordering::Less | Ordering::Equal => self.begin(now, Which::All, 1),
            }
            return;
        }
        if let (Which::Last, None, Some(last)) = (which, newest, &self.last)
            && self.batch.is_damaged
        {
            let next = last.sequence.saturating_add(1);
            return self.begin(now, Which::From(next), 1);
        }
        match self.batch {
            Batch { is_damaged: true, .. } if tried < TRIES => {
                return self.begin(now, which, tried + 1);
            }
            Batch { is_damaged: true, .. } => {}
            Batch { came, said: Some(said), .. } if came < said => {
                let text = format!("the meter said {said} record(s) and sent {came}");
                self.reporter.note(now, "incomplete", text);
                if tried < TRIES {
                    return self.begin(now, which, tried + 1);
                }
            }
            _ => self.remember(newest),
        }
        self.done(now);
    }

    fn remember(&mut self, newest: Option<u16>) {
        let seen = newest.and_then(|sequence| Some((sequence, self.seen.get(&sequence)?.clone())));
        let newest = seen.map(|(sequence, value)| Last { sequence, value });
        if let Some(newest) = newest.filter(|newest| self.last.as_ref() != Some(newest)) {
            self.reporter.remember(newest.cursor());
            self.last = Some(newest);
        }
    }

    /// The batch turned out to have no order: what it made us remember does not hold.
    fn take_back(&mut self) {
        if self.reporting() != Some(Which::Last) && self.last != self.batch.before {
            self.last.clone_from(&self.batch.before);
            let cursor = self.last.as_ref().map(Last::cursor).unwrap_or_default();
            self.reporter.remember(cursor);
        }
    }

    fn measured(&mut self, now: Now, value: &[u8]) {
        let measured = match Measurement::decode(value) {
            Ok(measured) => measured,
            Err(error) => {
                self.batch.is_damaged = true;
                return self.reporter.note(now, "malformed", error);
            }
        };
        let sequence = measured.sequence;
        self.batch.came = self.batch.came.saturating_add(1);
        if self.batch.newest.is_some_and(|newest| newest > sequence) {
            self.batch.is_mixed = true;
            self.take_back();
        }
        self.batch.newest = self.batch.newest.max(Some(sequence));
        let before = self.seen.get(&sequence);
        if before.is_some_and(|before| before == value) {
            return;
        }
        let doubted = before.is_some();
        if doubted {
            let text = "the meter sent two results under one number; look at its display";
            self.reporter.note(now, "conflict", text);
        }
        if self.seen.len() >= SEEN_MAX {
            self.seen.pop_first();
        }
        self.seen.insert(sequence, value.to_vec());
        self.flush(now);
        let known = Last { sequence, value: value.to_vec() };
        if self.reporting() == Some(Which::Last) && self.last == Some(known) {
            return;
        }
        match measured.has_context {
            true => self.waiting = Some(Waiting { measured, doubted }),
            false => self.emit(now, &measured, doubted, None),
        }
    }

    /// What is being reported.
    const fn reporting(&self) -> Option<Which> {
        match self.phase {
            Phase::Asked(Command::Report(which), _) | Phase::Settling { which, .. } => Some(which),
            _ => None,
        }
    }

    /// "A context whose sequence was never announced: keep aside, do not attach by position", §8.5.
    fn context(&mut self, now: Now, value: &[u8]) {
        let context = match Context::decode(value) {
            Ok(context) => context,
            Err(error) => return self.reporter.note(now, "malformed", error),
        };
        match self.waiting.take_if(|of| of.measured.sequence == context.sequence) {
            Some(Waiting { measured, doubted }) => {
                self.emit(now, &measured, doubted, Some(context));
            }
            None => {
                let text = "a context without its measurement is skipped";
                self.reporter.note(now, "unasked", text);
            }
        }
    }

    /// Emits what waited for a context that did not come.
    fn flush(&mut self, now: Now) {
        if let Some(Waiting { measured, doubted }) = self.waiting.take() {
            self.emit(now, &measured, doubted, None);
        }
    }

    fn emit(&mut self, now: Now, measured: &Measurement, doubted: bool, about: Option<Context>) {
        let group = self.group(now, measured, doubted, about);
        self.reporter.emit(Record::Readings(group));
        // A number that is left out may be of a record that could not be read: only the end of a
        // batch tells that nothing is missing. And with the first record of a meter that is not
        // known, nobody knows yet whether they come in their order.
        let sequence = measured.sequence;
        let follows = match (&self.last, sequence.checked_sub(1)) {
            (_, None) => false,
            (Some(last), Some(before)) => last.sequence == before,
            (None, Some(before)) => self.seen.contains_key(&before),
        };
        let is_reported = matches!(self.reporting(), Some(Which::All | Which::From(_)));
        if is_reported && follows && !self.batch.is_mixed && !self.batch.is_damaged {
            self.remember(Some(sequence));
        }
    }

    fn group(
        &self,
        now: Now,
        measured: &Measurement,
        doubted: bool,
        about: Option<Context>,
    ) -> ReadingGroup {
        let mut readings = vec![result(measured)];
        let status = measured.status.text();
        if !status.is_empty() {
            readings.push(Reading::text(Metric::GLU_DEV_STATUS, &status));
        }
        if measured.status.is_battery_low() {
            readings.push(Reading::text(Metric::BATT_STATE, "low"));
        }
        let reserved =
            measured.concentration.is_some_and(codec::Concentration::has_reserved_sample);
        if doubted
            || (reserved
                && readings.first().is_some_and(|first| first.metric == Metric::GLU_UND_PL))
        {
            readings = readings.into_iter().map(Reading::doubted).collect();
        }
        let device = self.reporter.device().clone();
        let mut group = spot_group(device, now, readings, measured.civil_ms());
        group.device_seq = Some(u64::from(measured.sequence));
        match measured.offset {
            TimeOffset::Minutes(0) => {}
            TimeOffset::Minutes(minutes) => {
                group = group.with_context("time_offset_min", &minutes.to_string());
            }
            TimeOffset::Unknown => group = group.with_context("time_offset_min", "unknown"),
        }
        if let Some(concentration) = measured.concentration {
            // The metric says the type, but for these.
            if matches!(concentration.sample, 0 | 7 | 11..) {
                group = group.with_context("sample_type", &concentration.sample.to_string());
            }
            let location = match concentration.location {
                1 => Some("loc_finger"),
                2 => Some("loc_alternate"),
                3 => Some("loc_ear"),
                _ => None,
            };
            if let Some(location) = location {
                group = group.with_context("location", location);
            }
        }
        if let Some(meal) = about.and_then(Context::meal_name) {
            group = group.with_context("meal", meal);
        }
        match about.and_then(Context::tester_name) {
            Some(tester) => group.with_context("tester", tester),
            None => group,
        }
    }

    fn settle_at(&self) -> Option<MonoTime> {
        match self.phase {
            Phase::Settling { until, .. } | Phase::Aborting(until) => Some(until),
            _ => None,
        }
    }

    fn time_out(&mut self, now: Now) {
        match self.phase {
            Phase::Settling { which, tried, until } if now.mono >= until => {
                self.settle(now, which, tried);
            }
            Phase::Aborting(until) if now.mono >= until => {
                self.reporter.send(Request::Disconnect);
                self.phase = Phase::Done;
            }
            Phase::Asked(..) if self.quiet_until.is_some_and(|at| now.mono >= at) => {
                let text = "the meter stopped in the middle of a transfer; start it again";
                self.reporter.note(now, "broken_off", text);
                self.flush(now);
                self.abort(now);
            }
            _ => {}
        }
        // A procedure has its own guard, which ends with an abort.
        if matches!(self.phase, Phase::Done | Phase::Away) {
            self.visit.time_out(now, &mut self.reporter);
        }
    }
}

/// The result, its comparator, or why there is none ("Our metrics").
fn result(measured: &Measurement) -> Reading {
    let (metric, status) = (measured.metric(), measured.status);
    let value = measured.concentration.map_or(Medfloat::NotANumber, |of| of.value);
    let number = measured.concentration.and_then(codec::Concentration::number);
    let above = status.is_above() || value == Medfloat::Above;
    let below = status.is_below() || value == Medfloat::Below;
    let limit = |comparator, default| {
        let (limit, unit) = number.clone().unwrap_or((default, Unit::MG_PER_DL));
        Reading::new(metric, limit, comparator, unit)
    };
    match (above, below) {
        // "Where they contradict each other, never a guess", §3.
        (true, true) => Reading::no_data(metric, NoData::DeviceError(status.raw())),
        (true, false) => limit(Comparator::Above, spec::HIGHEST),
        (false, true) => limit(Comparator::Below, spec::LOWEST),
        (false, false) => match (number.clone(), value) {
            (Some((number, unit)), _) => Reading::number(metric, number, unit),
            (None, Medfloat::Undefined(raw)) if status.fault().is_none() => {
                Reading::no_data(metric, NoData::Rejected(format!("{raw:#06x}")))
            }
            (None, _) => {
                let reason = status.fault().map_or(NoData::NotAvailable, NoData::DeviceError);
                Reading::no_data(metric, reason)
            }
        },
    }
}

impl GattDriver for Glucose {
    fn handle(&mut self, now: Now, event: GattEvent<'_>) {
        match event {
            GattEvent::Connected(found) => {
                // In this order, §6.
                let subscribe = [MEASUREMENT, CONTEXT, CONTROL_POINT];
                self.visit.begin(now, found, &subscribe, &[], &mut self.reporter);
            }
            GattEvent::Received(from, value) => {
                self.visit.heard(now);
                self.quiet_until = self.quiet_until.map(|_| now.mono + QUIET_MAX);
                match from {
                    MEASUREMENT => self.measured(now, value),
                    CONTEXT => self.context(now, value),
                    CONTROL_POINT => self.responded(now, value),
                    _ => {}
                }
            }
            GattEvent::Answered(Request::Subscribe(CONTROL_POINT), Ok(_)) => self.start(now),
            GattEvent::Answered(Request::Write(CONTROL_POINT, _), Ok(_)) => {}
            GattEvent::Answered(Request::Write(CONTROL_POINT, _), Err(refusal)) => {
                self.refused(now, refusal);
            }
            GattEvent::Answered(request, answer) => {
                self.visit.answered(now, request, answer, &mut self.reporter);
            }
            GattEvent::TimedOut => self.time_out(now),
            GattEvent::Leaving => {}
            GattEvent::Disconnected => {
                self.flush(now);
                self.visit.end();
                self.begin_batch();
                self.seen.clear();
                (self.phase, self.quiet_until) = (Phase::Away, None);
            }
        }
    }

    fn poll_output(&mut self) -> Option<GattOutput> {
        self.reporter.next()
    }

    fn next_timeout(&self) -> Option<MonoTime> {
        let quiet = self.quiet_until.filter(|_| matches!(self.phase, Phase::Asked(..)));
        let visit = self.visit.next_timeout();
        let visit = visit.filter(|_| matches!(self.phase, Phase::Done | Phase::Away));
        visit.into_iter().chain(quiet).chain(self.settle_at()).min()
    }
}

#[cfg(test)]
mod tests;
