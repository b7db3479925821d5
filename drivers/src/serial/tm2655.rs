//! A&D TM-2655 and TM-2657 blood-pressure kiosks: takes the record after each measurement.
//!
//! Read first: the protocol sheet of the TM-2655P, §5 (record) and §7 (session).
//!
//! # Invariants
//! - the cuff is never inflated: of all commands only "send the last result" is sent
//! - a kiosk that says nothing is the normal case and no news

pub mod codec;
pub(crate) mod redaction;

use super::{Cursor, SerialDriver, SerialEvent, SerialOutput};
use crate::reporter::Reporter;
use codec::{Decoder, Frame, FrameError, Measurement, RecordError, ask_for_last};
use model::{
    device::{DeviceKind, DeviceState},
    id::DeviceId,
    metric::Metric,
    reading::{NoData, Reading, ReadingGroup},
    record::Record,
    time::{DeviceTime, MonoTime, Now},
    units::Unit,
};
use std::{collections::BTreeMap, time::Duration};

/// Facts about records and the session; those about frames are in [`codec`].
mod spec {
    use super::Duration;

    /// "E00 = good", §5.
    pub(super) const GOOD: &str = "E00";
    /// "E44 patient moved", §5.
    pub(super) const MOVED: &str = "E44";
    /// "RB poll: record within 2 s", §7.
    pub(super) const ANSWER_WITHIN: Duration = Duration::from_secs(2);
    /// A poll may be lost; three in a row are worth a line in the log.
    pub(super) const UNANSWERED_MAX: u8 = 3;
    /// "Inter-byte timeout 500 ms", §7.
    pub(super) const BYTE_GAP: Duration = Duration::from_millis(500);
}

/// What was asked and not yet answered.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Asked {
    answer_by: MonoTime,
    again: bool,
}

/// Driver of the TM-2655 family.
#[derive(Debug)]
pub struct Tm2655 {
    poll_interval: Option<Duration>,
    reporter: Reporter,
    decoder: Decoder,
    last_byte: MonoTime,
    asked: Option<Asked>,
    ask_at: Option<MonoTime>,
    /// Polls in a row without an answer.
    unanswered: u8,
    /// The model that said so, once it was told that the kiosk is there.
    told: Option<String>,
    /// The last record whose time is unknown: only this tells its repeat from a new one.
    untimed: Option<Cursor>,
}

impl Tm2655 {
    /// A driver that asks for the last result when the port opens, and every `poll_interval` if
    /// there is one. The cursor is the last record whose time was unknown.
    #[must_use]
    pub fn new(device: DeviceId, poll_interval: Option<Duration>, cursor: Option<Cursor>) -> Self {
        Self {
            poll_interval,
            reporter: Reporter::new(device, DeviceKind::Cuff, "tm2655"),
            decoder: Decoder::default(),
            last_byte: MonoTime::START,
            asked: None,
            ask_at: None,
            unanswered: 0,
            told: None,
            untimed: cursor,
        }
    }

    fn ask(&mut self, now: Now, again: bool) {
        self.reporter.send(ask_for_last());
        self.asked = Some(Asked { answer_by: now.mono + spec::ANSWER_WITHIN, again });
        self.ask_at = self.poll_interval.map(|interval| now.mono + interval);
    }

    fn time_out(&mut self, now: Now) {
        if self.cut_off_at().is_some_and(|at| now.mono >= at) {
            let count = self.decoder.give_up();
            self.reporter.note(now, "cut_off", FrameError::Noise { count });
        }
        if self.asked.is_some_and(|asked| now.mono >= asked.answer_by) {
            self.asked = None;
            self.miss(now);
        }
        if self.ask_at.is_some_and(|at| now.mono >= at) {
            self.ask(now, false);
        }
    }

    /// A kiosk that is switched off does not answer; nothing is wrong with that. But a person who
    /// had it polled wants to find out, for example that its speed is another.
    fn miss(&mut self, now: Now) {
        self.unanswered = self.unanswered.saturating_add(1);
        if self.poll_interval.is_some() && self.unanswered == spec::UNANSWERED_MAX {
            let text = "the kiosk does not answer when it is polled; is it on, is the speed right?";
            self.reporter.note(now, "no_answer", text);
        }
    }

    fn take(&mut self, now: Now, frame: Frame) {
        self.unanswered = 0;
        match (frame, self.asked) {
            (Frame::Text(fields), asked) => {
                self.asked = None;
                match Measurement::from_fields(&fields) {
                    Ok(measurement) => self.emit(now, &fields, measurement, asked.is_some()),
                    Err(error @ RecordError::Other(_)) => {
                        self.reporter.note(now, "unknown_frame", error);
                    }
                    Err(error) => self.reporter.note(now, "malformed", error),
                }
            }
            // "NAK after command: retry once, then error", §8.8.
            (Frame::Nak, Some(Asked { again: false, .. })) => self.ask(now, true),
            (Frame::Nak, Some(_)) => {
                self.asked = None;
                let text = "the kiosk refuses to send its last result; it sends the next by itself";
                self.reporter.note(now, "refused", text);
            }
            (Frame::Ack | Frame::Nak, _) => {}
        }
    }

    fn emit(&mut self, now: Now, fields: &[String], measured: Measurement, asked: bool) {
        if self.told.as_ref() != Some(&measured.model) {
            let about = BTreeMap::from([("model".to_owned(), measured.model.clone())]);
            self.reporter.status(now, DeviceState::Online, "", about);
            self.told = Some(measured.model.clone());
        }
        let mark = Cursor(fields.join("\u{1e}").into_bytes());
        if measured.civil_ms.is_none() && asked && self.untimed.as_ref() == Some(&mark) {
            return;
        }
        self.reporter.emit(Record::Readings(self.group(now, &measured)));
        if measured.civil_ms.is_none() {
            self.reporter.remember(mark.clone());
            self.untimed = Some(mark);
        }
    }

    fn group(&self, now: Now, measured: &Measurement) -> ReadingGroup {
        let failure = match measured.error.as_str() {
            spec::GOOD => None,
            spec::MOVED => Some(NoData::Motion),
            code => Some(NoData::DeviceError(code.to_owned())),
        };
        let parts = [
            (Metric::NIBP_SYS, measured.systolic, Unit::MM_HG),
            (Metric::NIBP_MEAN, measured.mean, Unit::MM_HG),
            (Metric::NIBP_DIA, measured.diastolic, Unit::MM_HG),
            (Metric::PULSE_NIBP, measured.pulse, Unit::PER_MINUTE),
        ];
        let moved = measured.movement.is_some_and(|count| count > 0);
        let readings = parts.into_iter().map(|(metric, value, unit)| match (&failure, value) {
            (Some(failure), _) => Reading::no_data(metric, failure.clone()),
            // "0 is no value for … NIBP" (metric catalogue); the sheet leaves it to the catalogue.
            (None, None | Some(0)) => Reading::no_data(metric, NoData::NotAvailable),
            (None, Some(value)) => {
                let reading = Reading::number(metric, u32::from(value), unit);
                if moved { reading.doubted() } else { reading }
            }
        });
        let time = measured.civil_ms.map(|civil_ms| DeviceTime::Local { civil_ms });
        let device = self.reporter.device().clone();
        let mut group = ReadingGroup::new(device, now.observed(), readings.collect())
            .as_group(Metric::NIBP)
            .at_device_time(time);
        if time.is_none() {
            group = group.with_context("time", "unknown");
        }
        let details = [
            ("irregular_beats", measured.irregular),
            ("movement", measured.movement),
            ("retest", measured.retest),
            ("duration_s", measured.seconds),
        ];
        for (key, value) in details {
            if let Some(value) = value {
                group = group.with_context(key, &value.to_string());
            }
        }
        group
    }

    fn cut_off_at(&self) -> Option<MonoTime> {
        self.decoder.is_inside().then(|| self.last_byte + spec::BYTE_GAP)
    }
}

impl SerialDriver for Tm2655 {
    fn handle(&mut self, now: Now, event: SerialEvent<'_>) {
        match event {
            SerialEvent::Opened => self.ask(now, false),
            SerialEvent::Received(bytes) => {
                self.last_byte = now.mono;
                let mut decoder = std::mem::take(&mut self.decoder);
                for frame in decoder.decode(bytes) {
                    match frame {
                        Ok(frame) => self.take(now, frame),
                        Err(error @ FrameError::Checksum { .. }) => {
                            self.reporter.note(now, "checksum", error);
                        }
                        Err(error @ FrameError::Noise { .. }) => {
                            self.reporter.note(now, "noise", error);
                        }
                    }
                }
                self.decoder = decoder;
            }
            SerialEvent::TimedOut => self.time_out(now),
            SerialEvent::Committed => {}
            SerialEvent::Closed => {
                self.decoder.give_up();
                (self.asked, self.ask_at, self.told) = (None, None, None);
                self.unanswered = 0;
            }
        }
    }

    fn poll_output(&mut self) -> Option<SerialOutput> {
        self.reporter.next()
    }

    fn next_timeout(&self) -> Option<MonoTime> {
        let answer_by = self.asked.map(|asked| asked.answer_by);
        answer_by.into_iter().chain(self.ask_at).chain(self.cut_off_at()).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::Bench;
    use model::{
        reading::{Occurrence, Validity},
        time::civil_ms,
    };

    const GOOD: &str = "TM2655/2611220815/RB/M/E00/S138/M103/D 86/P 72/I18/L 92/";

    fn framed(text: &str) -> Vec<u8> {
        let covered = [&[1, b'0', b'0', 2], text.replace('/', "\x1e").as_bytes(), &[3]].concat();
        let sum = covered.iter().fold(0, |sum, byte| sum ^ byte);
        [&[0x16, 0x16], &covered[..], &[sum]].concat()
    }

    fn opened(poll_s: Option<u64>, cursor: Option<Cursor>) -> Bench<Tm2655> {
        let device = DeviceId::new("bp-01").unwrap();
        Bench::new(Tm2655::new(device, poll_s.map(Duration::from_secs), cursor))
    }

    #[test]
    fn a_record_is_one_group_with_the_kiosks_time() {
        let mut bench = opened(None, None);
        bench.pass(60_000);
        bench.receive(&framed(GOOD));
        assert_eq!(
            bench.values(),
            ["nibp_sys 138", "nibp_mean 103", "nibp_dia 86", "pulse_nibp 72"]
        );
        let group = bench.groups()[0];
        assert_eq!((group.group, group.occurrence), (Some(Metric::NIBP), Occurrence::Spot));
        let civil_ms = civil_ms(2026, 11, 22, 8, 15, 0).unwrap();
        assert_eq!(group.device_time, Some(DeviceTime::Local { civil_ms }));
        assert_eq!(bench.states(), ["bp-01 online"]);
        assert_eq!(bench.statuses()[0].about["model"], "TM2655");
        assert!(bench.remembered.is_empty());
    }

    #[test]
    fn a_record_may_arrive_byte_by_byte_at_any_speed_of_the_device() {
        let mut bench = opened(None, None);
        for byte in framed(GOOD) {
            bench.pass(100);
            bench.receive(&[byte]);
        }
        assert_eq!(bench.groups().len(), 1);
        assert!(bench.notes.is_empty());
    }

    #[test]
    fn a_failed_measurement_says_why() {
        let failed = GOOD.replace("S138", "S  0").replace("D 86", "D  0");
        let mut bench = opened(None, None);
        bench.receive(&framed(&failed.replace("E00", "E43")));
        bench.receive(&framed(&failed.replace("E00", "E44")));
        assert_eq!(
            bench.values()[2..6],
            [
                "nibp_dia device_error:E43",
                "pulse_nibp device_error:E43",
                "nibp_sys motion",
                "nibp_mean motion"
            ]
        );
    }

    #[test]
    fn a_movement_makes_the_values_doubtful() {
        let mut bench = opened(None, None);
        bench.receive(&framed(&GOOD.replace("L 92", "i  1/m  2/r  0/t 41")));
        let group = bench.groups()[0];
        assert!(group.readings.iter().all(|reading| reading.validity == Validity::Questionable));
        let context: Vec<_> =
            group.context.iter().map(|(key, value)| format!("{key}={value}")).collect();
        assert_eq!(context, ["duration_s=41", "irregular_beats=1", "movement=2", "retest=0"]);
    }

    #[test]
    fn the_last_result_is_asked_for_and_nothing_else() {
        let mut bench = opened(Some(60), None);
        bench.pass(185_000);
        assert_eq!(bench.sent.len(), 4);
        let ask = [0x16, 0x16, 1, 0x30, 0x30, 2, 0x52, 0x42, 3, 0x10];
        assert!(bench.sent.iter().all(|sent| *sent == ask));
        assert!(bench.records.is_empty(), "a kiosk that is off is no news");
        let kinds: Vec<_> = bench.notes.iter().map(|note| note.kind).collect();
        assert_eq!(kinds, ["no_answer"], "but a poll without an answer is worth a line");
        let mut once = opened(None, None);
        once.pass(185_000);
        assert_eq!(once.sent.len(), 1);
        assert!(once.notes.is_empty());
    }

    #[test]
    fn zero_is_no_value() {
        let mut bench = opened(None, None);
        bench.receive(&framed(&GOOD.replace("P 72", "P  0").replace("M103", "M000")));
        assert_eq!(
            bench.values(),
            ["nibp_sys 138", "nibp_mean not_available", "nibp_dia 86", "pulse_nibp not_available"]
        );
    }

    #[test]
    fn a_refusal_is_tried_once_more() {
        let nak = [0x16, 0x16, 1, 0x30, 0x30, 0x15];
        let mut bench = opened(None, None);
        bench.receive(&nak);
        assert_eq!((bench.sent.len(), bench.notes.len()), (2, 0));
        bench.receive(&nak);
        bench.receive(&nak);
        assert_eq!((bench.sent.len(), bench.notes.len()), (2, 1));
    }

    #[test]
    fn a_polled_record_without_a_time_is_taken_once() {
        let untimed = framed(&GOOD.replace("2611220815", "0000000000"));
        let mut bench = opened(None, None);
        bench.receive(&untimed);
        assert_eq!(bench.groups()[0].device_time, None);
        assert_eq!(bench.groups()[0].context.get("time").map(String::as_str), Some("unknown"));
        let mut again = opened(None, bench.remembered.last().cloned());
        again.receive(&untimed);
        assert!(again.groups().is_empty());
        // What it sends by itself is a new measurement.
        again.receive(&untimed);
        assert_eq!(again.groups().len(), 1);
    }

    #[test]
    fn damage_is_noted_and_gives_no_reading() {
        let mut bench = opened(None, None);
        let mut damaged = framed(GOOD);
        damaged[30] ^= 1;
        bench.receive(&damaged);
        bench.receive(&framed(GOOD)[..40]);
        bench.pass(1_000);
        bench.receive(&framed(&GOOD.replace("S138", "S1 8")));
        bench.receive(&framed("RP/"));
        let kinds: Vec<_> = bench.notes.iter().map(|note| note.kind).collect();
        assert_eq!(kinds, ["checksum", "noise", "cut_off", "malformed", "unknown_frame"]);
        assert!(bench.groups().is_empty());
    }
}
