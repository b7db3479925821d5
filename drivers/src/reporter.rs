//! What every driver says in the same way: outputs in order, status, rate-limited notes.

use crate::output::{Cursor, LinkNote, Output};
use model::{
    device::{DeviceKind, DeviceState, DeviceStatus},
    id::DeviceId,
    record::Record,
    time::{MonoTime, Now},
};
use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

/// One note of a kind in this time, with the number of those left out: a bad cable fills a
/// counter and not the log.
const NOTE_EVERY: Duration = Duration::from_secs(10);

/// Collects what a driver wants done.
#[derive(Debug)]
pub(crate) struct Reporter<R = Vec<u8>> {
    device: DeviceId,
    kind: DeviceKind,
    driver: &'static str,
    outputs: VecDeque<Output<R>>,
    /// Per kind of note: when the last one went out and how many were left out since.
    notes: BTreeMap<&'static str, (MonoTime, u64)>,
}

impl<R> Reporter<R> {
    pub(crate) fn new(device: DeviceId, kind: DeviceKind, driver: &'static str) -> Self {
        Self { device, kind, driver, outputs: VecDeque::new(), notes: BTreeMap::new() }
    }

    pub(crate) fn device(&self) -> &DeviceId {
        &self.device
    }

    /// The device turned out to be of another kind of the family.
    pub(crate) fn set_kind(&mut self, kind: DeviceKind) {
        self.kind = kind;
    }

    pub(crate) fn send(&mut self, request: R) {
        self.outputs.push_back(Output::Send(request));
    }

    pub(crate) fn emit(&mut self, record: Record) {
        self.outputs.push_back(Output::Emit(record));
    }

    pub(crate) fn remember(&mut self, cursor: Cursor) {
        self.outputs.push_back(Output::Remember(cursor));
    }

    /// How the link's own device is doing.
    pub(crate) fn status(
        &mut self,
        now: Now,
        state: DeviceState,
        reason: &str,
        about: BTreeMap<String, String>,
    ) {
        self.status_of(self.device.clone(), now, state, reason, about);
    }

    /// How a device behind the link is doing.
    pub(crate) fn status_of(
        &mut self,
        device: DeviceId,
        now: Now,
        state: DeviceState,
        reason: &str,
        about: BTreeMap<String, String>,
    ) {
        self.emit(Record::Status(DeviceStatus {
            device,
            kind: self.kind,
            driver: self.driver.to_owned(),
            state,
            reason: reason.to_owned(),
            about,
            observed: now.observed(),
        }));
    }

    /// Says it, unless something of this kind was said a short while ago.
    pub(crate) fn note(&mut self, now: Now, kind: &'static str, text: impl ToString) {
        let mut text = text.to_string();
        if let Some((last, left_out)) = self.notes.get_mut(kind) {
            if now.mono.since(*last) < NOTE_EVERY {
                *left_out += 1;
                return;
            }
            if *left_out > 0 {
                text = format!("{text} ({left_out} more since the last note)");
            }
        }
        self.notes.insert(kind, (now.mono, 0));
        self.outputs.push_back(Output::Note(LinkNote { kind, text }));
    }

    pub(crate) fn next(&mut self) -> Option<Output<R>> {
        self.outputs.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{bench::now_at, serial::SerialOutput};

    #[test]
    fn a_note_that_repeats_is_counted() {
        let device = DeviceId::new("ecg-01").unwrap();
        let mut reporter = Reporter::new(device, DeviceKind::Monitor, "pm6750");
        let mut note = |ms| {
            reporter.note(now_at(ms), "noise", "bad");
            reporter.next()
        };
        let said = |text: &str| {
            Some(SerialOutput::Note(LinkNote { kind: "noise", text: text.to_owned() }))
        };
        assert_eq!(note(0), said("bad"));
        assert_eq!((note(1), note(9_999)), (None, None));
        assert_eq!(note(10_000), said("bad (2 more since the last note)"));
        assert_eq!(note(20_000), said("bad"));
    }
}
