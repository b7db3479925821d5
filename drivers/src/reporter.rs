//! What every driver says in the same way: outputs in order, status, rate-limited notes.

use crate::output::{Cursor, LinkNote, Output};
use model::{
    device::{DeviceKind, DeviceState, DeviceStatus},
    id::DeviceId,
    reading::shortened,
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

/// Letters of a note: a refusal of `json-lines` that lists all kinds of alarms has 700. What a
/// note quotes may be as long as a frame.
const NOTE_LETTERS_MAX: usize = 1000;

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

    /// Texts of a device may be as long as its frames; what is stored is cut to `TEXT_LEN_MAX` and
    /// has no control characters.
    pub(crate) fn emit(&mut self, mut record: Record) {
        match &mut record {
            Record::Status(status) => {
                status.about.values_mut().for_each(|text| *text = shortened(text));
            }
            Record::Alarm(alarm) => {
                (alarm.code, alarm.text) = (shortened(&alarm.code), shortened(&alarm.text));
            }
            _ => {}
        }
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
            expected_interval_ms: None,
            observed: now.observed(),
        }));
    }

    /// Says it, unless something of this kind was said a short while ago.
    pub(crate) fn note(&mut self, now: Now, kind: &'static str, text: impl ToString) {
        let text = text.to_string();
        let letters = text.chars().filter(|letter| !letter.is_control());
        let mut text: String = letters.take(NOTE_LETTERS_MAX).collect();
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
    use model::{
        alarm::{AlarmKind, AlarmPhase, DeviceAlarm},
        id::Channel,
        reading::TEXT_LEN_MAX,
    };

    #[test]
    fn texts_of_a_device_are_bounded_and_clean() {
        let device = DeviceId::new("pump-01").unwrap();
        let mut reporter = Reporter::new(device.clone(), DeviceKind::Pump, "asena");
        let long = format!("\u{17}{}", "x".repeat(500));
        let about = BTreeMap::from([("serial".to_owned(), long.clone())]);
        reporter.status(now_at(0), DeviceState::Online, "", about);
        reporter.emit(Record::Alarm(DeviceAlarm {
            device,
            channel: Channel::default(),
            phase: AlarmPhase::Start,
            kind: AlarmKind::Other,
            code: "4711\0".to_owned(),
            text: long,
            priority: None,
            latched: false,
            source: None,
            device_time: None,
            observed: now_at(0).observed(),
        }));
        let cut = "x".repeat(TEXT_LEN_MAX);
        let Some(SerialOutput::Emit(Record::Status(status))) = reporter.next() else { panic!() };
        assert_eq!(status.about["serial"], cut);
        let Some(SerialOutput::Emit(Record::Alarm(alarm))) = reporter.next() else { panic!() };
        assert_eq!((alarm.code, alarm.text), ("4711".to_owned(), cut));
    }

    #[test]
    fn a_note_is_one_line_whatever_it_quotes() {
        let device = DeviceId::new("pump-01").unwrap();
        let mut reporter = Reporter::<Vec<u8>>::new(device, DeviceKind::Pump, "bcc");
        let quoted = format!("\n\u{1b}[2J{}", "药".repeat(2 * NOTE_LETTERS_MAX));
        reporter.note(now_at(0), "malformed", format!("\"{quoted}\" is no number"));
        let Some(Output::Note(note)) = reporter.next() else { panic!() };
        assert!(note.text.starts_with("\"[2J药"), "{}", note.text);
        assert_eq!(note.text.chars().count(), NOTE_LETTERS_MAX);
    }

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
