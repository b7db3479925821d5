//! Omron HBP-9030 and HBP-9031C blood-pressure kiosks: takes the line after each measurement.
//!
//! Read first: the protocol sheet of the HBP-9030, §2 (line) and §4 (session).
//!
//! # Invariants
//! - nothing is ever sent: the kiosk talks by itself and cannot be asked
//! - a kiosk that says nothing is the normal case and no news
//! - the subject ID is neither stored nor logged

pub mod codec;
pub(crate) mod redaction;

use super::{SerialDriver, SerialEvent, SerialOutput};
use crate::reporter::Reporter;
use codec::{Decoder, LineError, Measurement};
use model::{
    device::{DeviceKind, DeviceState},
    id::DeviceId,
    metric::Metric,
    reading::{NoData, Reading, ReadingGroup},
    record::Record,
    time::{DeviceTime, MonoTime, Now},
    units::Unit,
};
use std::collections::BTreeMap;

/// Driver of the HBP-9030 family.
#[derive(Debug)]
pub struct Hbp9030 {
    reporter: Reporter,
    decoder: Decoder,
    /// How the kiosk was last said to be.
    told: Option<DeviceState>,
}

impl Hbp9030 {
    /// A driver that waits for lines. It needs no cursor: the kiosk repeats nothing.
    #[must_use]
    pub fn new(device: DeviceId) -> Self {
        Self {
            reporter: Reporter::new(device, DeviceKind::Cuff, "hbp9030"),
            decoder: Decoder::default(),
            told: None,
        }
    }

    fn tell(&mut self, now: Now, state: DeviceState, reason: &str) {
        if self.told != Some(state) {
            self.reporter.status(now, state, reason, BTreeMap::new());
            self.told = Some(state);
        }
    }

    fn refuse(&mut self, now: Now, error: LineError) {
        let kind = match error {
            LineError::TooLong | LineError::Length { .. } => "noise",
            LineError::OtherFormat => "unknown_frame",
            LineError::Layout | LineError::Field(_) => "malformed",
        };
        if error == LineError::OtherFormat {
            // Measurements are lost until somebody changes the setting: not only the log must say so.
            self.tell(now, DeviceState::Silent, &error.to_string());
        }
        self.reporter.note(now, kind, error);
    }

    fn emit(&mut self, now: Now, measured: &Measurement) {
        self.tell(now, DeviceState::Online, "");
        let device = self.reporter.device().clone();
        let time = measured.civil_ms.map(|civil_ms| DeviceTime::Local { civil_ms });
        let mut group = ReadingGroup::new(device, now.observed(), readings(measured))
            .as_group(Metric::NIBP)
            .at_device_time(time)
            .with_context("movement", &measured.movement.to_string());
        if time.is_none() {
            group = group.with_context("time", "unknown");
        }
        self.reporter.emit(Record::Readings(group));
    }
}

fn readings(measured: &Measurement) -> Vec<Reading> {
    let part = |metric, value: u16, unit| match value {
        // Metric catalogue: 0 is "no value" for cuff results.
        0 => Reading::no_data(metric, NoData::NotAvailable),
        _ => Reading::number(metric, u32::from(value), unit),
    };
    match &measured.outcome {
        Ok(values) => {
            let readings = vec![
                part(Metric::NIBP_SYS, values.systolic, Unit::MM_HG),
                part(Metric::NIBP_DIA, values.diastolic, Unit::MM_HG),
                part(Metric::PULSE_NIBP, values.pulse, Unit::PER_MINUTE),
            ];
            match measured.movement {
                0 => readings,
                _ => readings.into_iter().map(Reading::doubted).collect(),
            }
        }
        Err(code) => [Metric::NIBP_SYS, Metric::NIBP_DIA, Metric::PULSE_NIBP]
            .map(|metric| Reading::no_data(metric, NoData::DeviceError(code.clone())))
            .to_vec(),
    }
}

impl SerialDriver for Hbp9030 {
    fn handle(&mut self, now: Now, event: SerialEvent<'_>) {
        match event {
            SerialEvent::Received(bytes) => {
                let mut decoder = std::mem::take(&mut self.decoder);
                for line in decoder.decode(bytes) {
                    match line {
                        Ok(measured) => self.emit(now, &measured),
                        Err(error) => self.refuse(now, error),
                    }
                }
                self.decoder = decoder;
            }
            // "USB disconnect clears the partial line", §4.
            SerialEvent::Closed => {
                self.decoder = Decoder::default();
                self.told = None;
            }
            SerialEvent::Opened | SerialEvent::TimedOut | SerialEvent::Committed => {}
        }
    }

    fn poll_output(&mut self) -> Option<SerialOutput> {
        self.reporter.next()
    }

    /// "A line without LF never becomes a record, whatever the pause", §4: there is nothing to time.
    fn next_timeout(&self) -> Option<MonoTime> {
        None
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

    const GOOD: &str = "2026,11,22,08,15,12345678901234567890,0,138,086,072,0\r\n";

    fn opened() -> Bench<Hbp9030> {
        Bench::new(Hbp9030::new(DeviceId::new("bp-02").unwrap()))
    }

    #[test]
    fn a_line_is_one_group_with_the_kiosks_time() {
        let mut bench = opened();
        bench.receive(GOOD.as_bytes());
        assert_eq!(bench.values(), ["nibp_sys 138", "nibp_dia 86", "pulse_nibp 72"]);
        let group = bench.groups()[0];
        assert_eq!((group.group, group.occurrence), (Some(Metric::NIBP), Occurrence::Spot));
        let civil_ms = civil_ms(2026, 11, 22, 8, 15, 0).unwrap();
        assert_eq!(group.device_time, Some(DeviceTime::Local { civil_ms }));
        assert!(group.readings.iter().all(|reading| reading.validity == Validity::Valid));
        assert_eq!(bench.states(), ["bp-02 online"]);
        assert!(bench.notes.is_empty() && bench.remembered.is_empty());
    }

    #[test]
    fn every_measurement_is_said_and_the_kiosk_is_told_once() {
        let mut bench = opened();
        bench.receive(GOOD.repeat(2).as_bytes());
        bench.receive(GOOD.replace("138", "141").as_bytes());
        assert_eq!(bench.groups().len(), 3);
        assert_eq!(bench.states(), ["bp-02 online"]);
    }

    #[test]
    fn nothing_is_ever_sent_and_nothing_is_timed() {
        let mut bench = opened();
        bench.pass(86_400_000);
        assert!(bench.records.is_empty() && bench.notes.is_empty());
        for text in [GOOD, "MMBP203N\r", "?", "\r\n", &GOOD.replace(",0,138", ",9,138")] {
            bench.receive(text.as_bytes());
            assert_eq!(bench.driver.next_timeout(), None);
        }
        bench.handle(SerialEvent::Committed);
        bench.handle(SerialEvent::TimedOut);
        assert!(bench.sent.is_empty());
    }

    #[test]
    fn a_failed_measurement_says_why_in_every_part() {
        let mut bench = opened();
        bench.receive(GOOD.replace("0,138,086,072", "7,   ,   ,   ").as_bytes());
        bench.receive(GOOD.replace("0,138,086,072", "2,138,086,072").as_bytes());
        let of = |code| {
            ["nibp_sys", "nibp_dia", "pulse_nibp"].map(|m| format!("{m} device_error:{code}"))
        };
        assert_eq!(bench.values(), [of(7), of(2)].concat());
        assert_eq!(bench.groups()[0].group, Some(Metric::NIBP));
        assert_eq!(bench.groups()[0].occurrence, Occurrence::Spot);
    }

    #[test]
    fn a_movement_makes_the_values_doubtful() {
        let mut bench = opened();
        bench.receive(GOOD.replace("072,0", "072,2").as_bytes());
        let group = bench.groups()[0];
        assert_eq!(group.context.get("movement").map(String::as_str), Some("2"));
        assert!(group.readings.iter().all(|reading| reading.validity == Validity::Questionable));
    }

    #[test]
    fn an_impossible_time_is_marked_unknown_and_the_values_kept() {
        let mut bench = opened();
        bench.receive(GOOD.replace("2026,11,22", "2026,02,30").as_bytes());
        let group = bench.groups()[0];
        assert_eq!(group.device_time, None);
        assert_eq!(group.context.get("time").map(String::as_str), Some("unknown"));
        assert_eq!(bench.values()[0], "nibp_sys 138");
    }

    #[test]
    fn limits_are_those_of_the_catalogue_and_not_of_the_kiosk() {
        let mut bench = opened();
        bench.receive(GOOD.replace("138,086,072", "300,029,181").as_bytes());
        bench.receive(GOOD.replace("138,086,072", "321,086,000").as_bytes());
        bench.receive(GOOD.replace("138,086,072", "086,086,072").as_bytes());
        assert_eq!(
            bench.values(),
            [
                "nibp_sys 300",
                "nibp_dia 29",
                "pulse_nibp 181",
                "nibp_sys rejected:321",
                "nibp_dia 86",
                "pulse_nibp not_available",
                "nibp_sys rejected:86",
                "nibp_dia rejected:86",
                "pulse_nibp 72"
            ]
        );
    }

    #[test]
    fn a_line_may_come_in_any_pieces_with_any_pause() {
        for cut in 0..GOOD.len() {
            let mut bench = opened();
            let (head, tail) = GOOD.as_bytes().split_at(cut);
            bench.receive(head);
            bench.pass(600_000);
            assert!(bench.records.is_empty(), "{cut}");
            bench.receive(tail);
            assert_eq!(bench.groups().len(), 1, "{cut}");
        }
    }

    #[test]
    fn an_unplugged_kiosk_leaves_no_half_line() {
        let mut bench = opened();
        bench.receive(GOOD.as_bytes());
        bench.receive(&GOOD.as_bytes()[..40]);
        bench.handle(SerialEvent::Closed);
        bench.handle(SerialEvent::Opened);
        bench.receive(GOOD.as_bytes());
        assert_eq!(bench.groups().len(), 2);
        assert_eq!(bench.states(), ["bp-02 online", "bp-02 online"]);
        assert!(bench.notes.is_empty());
    }

    #[test]
    fn another_output_format_is_said_until_it_is_changed() {
        let mut bench = opened();
        bench.receive(b"bp,12345678901234567890,2026/07/11,09:05,120,090,080,072,0\r");
        assert_eq!(bench.states(), ["bp-02 silent"]);
        assert!(bench.statuses()[0].reason.contains("function item 32 to 5"));
        assert_eq!(bench.notes[0].kind, "unknown_frame");
        bench.receive(b"\n");
        bench.receive(GOOD.as_bytes());
        assert_eq!(bench.states(), ["bp-02 silent", "bp-02 online"]);
        assert_eq!(bench.groups().len(), 1);
    }

    #[test]
    fn damage_is_noted_without_the_subject_and_gives_no_reading() {
        let mut bench = opened();
        bench.receive(GOOD.replace("138", "1E8").as_bytes());
        bench.receive(GOOD.replace("2026,", "2026;").as_bytes());
        bench.pass(10_000);
        bench.receive(GOOD.replace("0\r", "\r").as_bytes());
        bench.pass(10_000);
        bench.receive(&[b'7'; 80]);
        let kinds: Vec<_> = bench.notes.iter().map(|note| note.kind).collect();
        assert_eq!(kinds, ["malformed", "noise", "noise"]);
        assert!(bench.records.is_empty());
        assert!(!format!("{:?} {:?}", bench.notes, bench.driver).contains("1234567890"));
    }
}
