//! What must hold of everything a driver says, whatever came in.

use drivers::output::{CURSOR_LEN_MAX, Output};
use model::{
    alarm::{AlarmPhase, DeviceAlarm},
    device::{DeviceState, DeviceStatus},
    metric::{Kind, Metric},
    reading::{CONTEXT_LEN_MAX, GROUP_LEN_MAX, NoData, Reading, ReadingGroup, TEXT_LEN_MAX, Value},
    record::Record,
    waveform::{SAMPLES_MAX, WaveformBlock},
};
use std::{collections::BTreeSet, time::Duration};

/// Outputs of one call without any bytes: every device behind a link, every stream and every alarm
/// may end at once.
const OUTPUTS_MAX: usize = 4096;
/// A block is "at most a second long"; a wave of ours may close one a packet late.
const BLOCK_US_MAX: u64 = 1_100_000;
/// A sentence, what it quotes, and how many more there were.
const NOTE_LETTERS_MAX: usize = 1040;
/// What a device says of itself: 16 texts of `json-lines`, and what a driver adds.
const ABOUT_MAX: usize = 24;

/// How often a driver may ask for the moment that is now, one time after the other.
const STANDING_MAX: u32 = 20;
/// How often a driver may want to be called in a second, without anything coming in.
const CALLS_A_SECOND_MAX: u32 = 100;

/// Looks at what a driver says, whatever its link is.
pub(super) struct Checker {
    /// A source that says of alarms what it likes; it is passed on as said.
    passes_alarms_on: bool,
    /// Outputs that are still allowed for the newest event.
    room: usize,
    /// Alarms that are up: device, channel, code.
    up: BTreeSet<[String; 3]>,
}

impl Checker {
    pub(super) fn new(passes_alarms_on: bool) -> Self {
        Self { passes_alarms_on, room: 0, up: BTreeSet::new() }
    }

    /// The link is new: alarms begin again.
    pub(super) fn opened(&mut self) {
        self.up.clear();
    }

    /// An event of that many bytes is handed over.
    pub(super) fn before(&mut self, bytes: usize) {
        self.room = OUTPUTS_MAX + bytes;
    }

    /// What is asked of the link is for the caller to judge.
    pub(super) fn check<R>(&mut self, output: &Output<R>) {
        self.room = self.room.checked_sub(1).expect("it says more than there is to say");
        match output {
            Output::Send(_) => {}
            Output::Emit(Record::Readings(group)) => check_group(group),
            Output::Emit(Record::Waveform(block)) => check_block(block),
            Output::Emit(Record::Alarm(alarm)) => self.check_alarm(alarm),
            Output::Emit(Record::Status(status)) => {
                check_status(status);
                // What cannot be heard has no alarms: those that are still up begin again.
                let gone = status.state != DeviceState::Online;
                self.up.retain(|[device, ..]| !gone || device != status.device.as_str());
            }
            // Whether it was allowed is judged where it is written.
            Output::Emit(Record::Action(action)) => {
                assert_eq!(action.action, "clock_set");
                assert!(!action.text.is_empty(), "what was it set to?");
                check_text(&action.text);
            }
            Output::Emit(other) => panic!("a driver does not say {other:?}"),
            Output::Remember(cursor) => assert!(cursor.0.len() <= CURSOR_LEN_MAX),
            Output::Note(note) => {
                let letters = note.text.chars().count();
                assert!(letters <= NOTE_LETTERS_MAX, "a note of {letters}: {}", note.text);
                assert!(!note.text.contains(char::is_control), "{:?}", note.text);
                assert!(!note.text.is_empty() && !note.kind.is_empty());
            }
        }
    }

    fn check_alarm(&mut self, alarm: &DeviceAlarm) {
        check_text(&alarm.code);
        check_text(&alarm.text);
        assert!(!alarm.code.is_empty(), "an alarm without a code names none");
        if self.passes_alarms_on {
            return;
        }
        let DeviceAlarm { device, channel, code, .. } = alarm;
        let key = [device.to_string(), channel.as_str().to_owned(), code.clone()];
        match alarm.phase {
            AlarmPhase::Start => assert!(self.up.insert(key), "it starts again: {alarm:?}"),
            AlarmPhase::Update => assert!(self.up.contains(&key), "it never began: {alarm:?}"),
            AlarmPhase::End => assert!(self.up.remove(&key), "it never began: {alarm:?}"),
        }
    }
}

/// How often a driver asks to be called while time passes and nothing comes in.
#[derive(Default)]
pub(super) struct Pace {
    standing: u32,
    calls: u32,
}

impl Pace {
    /// It is called; whether time moved on since it was last.
    pub(super) fn call(&mut self, moved: bool) {
        self.standing = if moved { 0 } else { self.standing + 1 };
        assert!(self.standing < STANDING_MAX, "it asks for the same moment again and again");
        self.calls += 1;
    }

    /// So much time has passed.
    pub(super) fn end(&self, time: Duration) {
        let seconds = u32::try_from(time.as_secs() + 1).unwrap_or(u32::MAX);
        let calls = self.calls;
        assert!(calls <= CALLS_A_SECOND_MAX * seconds, "it asks to be called {calls} times");
    }
}

fn check_group(group: &ReadingGroup) {
    assert!((1..=GROUP_LEN_MAX).contains(&group.readings.len()), "{group:?}");
    assert!(group.context.len() <= CONTEXT_LEN_MAX, "{group:?}");
    group.context.iter().for_each(|(name, text)| [name, text].into_iter().for_each(check_text));
    // "One reading per interval" is the catalogue's word for beats, and for nothing else.
    let metrics = group.readings.iter().map(|reading| reading.metric);
    let metrics: Vec<_> = metrics.filter(|metric| *metric != Metric::RR_INTERVAL).collect();
    let different: BTreeSet<_> = metrics.iter().collect();
    assert_eq!(different.len(), metrics.len(), "one metric twice: {group:?}");
    let seq = group.device_seq.unwrap_or_default();
    assert!(i64::try_from(seq).is_ok(), "no database holds {seq}");
    group.readings.iter().for_each(check_reading);
}

/// The value is one that the catalogue takes, and its mark no better than the catalogue's.
fn check_reading(reading: &Reading) {
    assert_ne!(reading.metric.row().kind, Kind::Wave, "{reading:?}");
    match (&reading.value, &reading.unit) {
        (Ok(Value::Number { number, comparator }), Some(unit)) => {
            let judged = Reading::new(reading.metric, *number, *comparator, unit.clone());
            assert_eq!(reading.value, judged.value, "the catalogue says no to {reading:?}");
            assert_eq!(reading.metric, judged.metric, "{reading:?} has another name");
            assert!(reading.validity >= judged.validity, "{reading:?} is too sure of itself");
            let row = reading.metric.row();
            let as_sent = row.canonical_unit.is_none() || row.decimals.is_none();
            let comparable = reading.canonical().is_some() || as_sent;
            // IntelliVue: a unit that is not known is shown as its code, "{0x02c9}".
            let shown_as_sent = unit.as_str().starts_with("{0x");
            assert!(comparable || shown_as_sent, "{reading:?} has a unit that no limit holds for");
        }
        (Ok(Value::Number { .. }), None) => panic!("a number without a unit: {reading:?}"),
        (Ok(Value::Text(text)), _) => check_text(text),
        (Err(NoData::DeviceError(text) | NoData::Rejected(text)), _) => check_text(text),
        (Err(_), _) => {}
    }
}

fn check_block(block: &WaveformBlock) {
    let WaveformBlock { metric, period, samples, .. } = block;
    assert_eq!(metric.row().kind, Kind::Wave, "{metric} is no wave");
    assert!((1..=SAMPLES_MAX).contains(&samples.len()), "{} samples", samples.len());
    let span_us = period.span_us(u32::try_from(samples.len()).unwrap_or(u32::MAX));
    assert!(span_us <= BLOCK_US_MAX, "a block of {span_us} us of {metric}");
}

fn check_status(status: &DeviceStatus) {
    check_text(&status.reason);
    assert!(status.about.len() <= ABOUT_MAX, "{:?}", status.about);
    status.about.iter().for_each(|(name, text)| [name, text].into_iter().for_each(check_text));
}

fn check_text(text: impl AsRef<str>) {
    let text = text.as_ref();
    assert!(text.len() <= TEXT_LEN_MAX, "a text of {} bytes: {text}", text.len());
    assert!(!text.contains(char::is_control), "a text with control characters: {text:?}");
}
