//! The driver against a meter of a few lines.

use super::{
    codec::{Frame, packet},
    *,
};
use crate::bench::Bench;
use std::collections::VecDeque;

/// Seconds of the meter's clock at the start: 2026-11-22 16:15:00, Shanghai.
const METER_NOW: u32 = 1_795_335_300 + 8 * 3600;
const SERIAL: &[u8; 9] = b"C176SA0E6";

/// A meter: its memory, newest first, and its end of the link.
struct Meter {
    records: VecDeque<(u32, u32)>,
    sequence: bool,
    expects: bool,
    serial: &'static [u8; 9],
    /// A place in memory that it does not read out.
    unreadable: Option<usize>,
    /// Answers so many requests, then is unplugged.
    answers: usize,
    asked: Vec<Vec<u8>>,
}

impl Meter {
    fn new(records: &[(u32, u32)]) -> Self {
        let records = records.iter().copied().collect();
        Self {
            records,
            sequence: false,
            expects: false,
            serial: SERIAL,
            unreadable: None,
            answers: usize::MAX,
            asked: vec![],
        }
    }

    fn link(&self) -> u8 {
        u8::from(self.sequence) | u8::from(self.expects) << 1
    }

    fn answer(&mut self, sent: &[u8]) -> Vec<u8> {
        let frame = Decoder::default().decode(sent).next().unwrap().unwrap();
        match frame {
            _ if self.answers == 0 => vec![],
            Frame::Disconnect { .. } => {
                (self.sequence, self.expects) = (false, false);
                packet(0x0C, &[])
            }
            Frame::Ack { .. } => {
                self.sequence = !self.sequence;
                vec![]
            }
            Frame::Data { sequence, message, .. } => {
                self.answers -= 1;
                self.expects = !sequence;
                let reply = self.reply(&message);
                self.asked.push(message);
                [packet(self.link() | 4, &[]), packet(self.link(), &reply)].concat()
            }
        }
    }

    fn reply(&self, message: &[u8]) -> Vec<u8> {
        match message {
            [5, 0x0D, 2] => [&[5, 6, 17], &b"P02.00.0025/05/07"[..]].concat(),
            [5, 0x0B, 2, ..] => [&[5, 6], &self.serial[..]].concat(),
            [5, 0x09, 2, ..] => vec![5, 6, 1, 0, 0, 0],
            [5, 0x20, 2, ..] => [&[5, 6], &(METER_NOW + 90).to_le_bytes()[..]].concat(),
            [5, 0x1F, low, high] => {
                let place = usize::from(u16::from_le_bytes([*low, *high]));
                match self.records.get(place) {
                    Some(_) if self.unreadable == Some(place) => vec![5, 7],
                    Some((time, glucose)) => {
                        [&[5, 6], &time.to_le_bytes()[..], &glucose.to_le_bytes()].concat()
                    }
                    None => {
                        let count = u16::try_from(self.records.len()).unwrap();
                        [&[5, 0x0F], &count.to_le_bytes()[..]].concat()
                    }
                }
            }
            _ => vec![5, 7],
        }
    }
}

fn driver(cursor: Option<Cursor>) -> Ultraeasy {
    let device = DeviceId::new("glu-01").unwrap();
    Ultraeasy::new(device, Duration::from_secs(30), Some(8 * 3600), cursor)
}

/// Lets driver and meter talk for that long.
fn talk(bench: &mut Bench<Ultraeasy>, meter: &mut Meter, ms: u64) {
    let mut answered = 0;
    bench.sent.clear();
    bench.pass(0);
    for _ in 0..ms / 10 {
        while let Some(sent) = bench.sent.get(answered).cloned() {
            answered += 1;
            let answer = meter.answer(&sent);
            bench.receive(&answer);
        }
        bench.pass(10);
    }
}

/// Opens the port and lets them talk for a session.
fn session(cursor: Option<Cursor>, meter: &mut Meter) -> Bench<Ultraeasy> {
    let mut bench = Bench::new(driver(cursor));
    let reset = bench.sent.remove(0);
    let answer = meter.answer(&reset);
    bench.receive(&answer);
    talk(&mut bench, meter, 20_000);
    bench
}

#[test]
fn a_session_takes_over_what_is_new_the_oldest_first() {
    let mut meter =
        Meter::new(&[(METER_NOW - 60, 0xFFFF), (METER_NOW - 600, 0xFFFE), (METER_NOW - 3600, 54)]);
    let bench = session(None, &mut meter);
    assert_eq!(
        bench.values(),
        ["clock_offset 90", "glu_cap_pl 54", "glu_cap_pl <20", "glu_cap_pl >600"]
    );
    let group = bench.groups()[1];
    let civil_ms = i64::from(METER_NOW - 3600) * 1000;
    assert_eq!(group.device_time, Some(DeviceTime::Local { civil_ms }));
    assert_eq!(group.readings[0].unit, Some(Unit::MG_PER_DL));
    assert_eq!(group.context.get("serial").map(String::as_str), Some("C176SA0E6"));
    assert_eq!(bench.states(), ["glu-01 online", "glu-01-C176SA0E6 online"]);
    assert_eq!(bench.statuses()[1].about["version"], "P02.00.0025/05/07");
    assert_eq!(bench.statuses()[1].about["unit_shown"], "mmol/L");
    assert_eq!(bench.remembered.len(), 1);
}

#[test]
fn what_was_taken_over_is_not_read_again() {
    let mut meter = Meter::new(&[(METER_NOW - 600, 100), (METER_NOW - 3600, 54)]);
    let first = session(None, &mut meter);
    meter.records.push_front((METER_NOW - 60, 70));
    meter.asked.clear();
    let second = session(first.remembered.last().cloned(), &mut meter);
    assert_eq!(second.values(), ["clock_offset 90", "glu_cap_pl 70"]);
    let read = meter.asked.iter().filter(|message| message[1] == 0x1F && message[2] < 3);
    assert_eq!(read.count(), 2, "the new one and the first that is known");
}

#[test]
fn sessions_repeat_and_say_only_what_is_new() {
    let mut meter = Meter::new(&[(METER_NOW - 600, 100)]);
    let mut bench = session(None, &mut meter);
    bench.records.clear();
    talk(&mut bench, &mut meter, 40_000);
    // The clock of this meter stands still.
    assert_eq!(bench.values(), ["clock_offset 60"]);
    assert!(bench.states().is_empty());
    meter.records.push_front((METER_NOW, 101));
    talk(&mut bench, &mut meter, 40_000);
    assert!(bench.values().contains(&"glu_cap_pl 101".to_owned()));
}

#[test]
fn a_meter_that_is_pulled_out_gives_what_was_read_and_the_rest_later() {
    let records: Vec<_> = (0..5).map(|age| (METER_NOW - age * 60, 100 + age)).collect();
    let mut meter = Meter::new(&records);
    // Version, serial, unit, clock, count and two records.
    meter.answers = 7;
    let first = session(None, &mut meter);
    assert_eq!(first.values(), ["clock_offset 90", "glu_cap_pl 101", "glu_cap_pl 100"]);
    assert!(first.states().is_empty());
    meter.answers = usize::MAX;
    let second = session(first.remembered.last().cloned(), &mut meter);
    assert_eq!(
        second.values(),
        ["clock_offset 90", "glu_cap_pl 104", "glu_cap_pl 103", "glu_cap_pl 102"]
    );
    meter.asked.clear();
    session(second.remembered.last().cloned(), &mut meter);
    let read = meter.asked.iter().filter(|message| message[1] == 0x1F && message[2] < 5);
    assert_eq!(read.count(), 1, "the gap is closed");
}

#[test]
fn a_measurement_during_the_download_begins_it_again() {
    let mut meter = Meter::new(&[(METER_NOW - 600, 100), (METER_NOW - 3600, 54)]);
    let mut bench = Bench::new(driver(None));
    let reset = bench.sent.remove(0);
    let answer = meter.answer(&reset);
    bench.receive(&answer);
    while meter.asked.len() < 6 {
        talk(&mut bench, &mut meter, 30);
    }
    meter.records.push_front((METER_NOW, 120));
    talk(&mut bench, &mut meter, 10_000);
    let glucose: Vec<_> = bench.values().split_off(1);
    assert_eq!(glucose, ["glu_cap_pl 54", "glu_cap_pl 100", "glu_cap_pl 120"]);
}

#[test]
fn meters_that_share_a_cable_are_two_devices() {
    let mut meter = Meter::new(&[(METER_NOW - 600, 100)]);
    let mut bench = session(None, &mut meter);
    bench.records.clear();
    let mut other = Meter::new(&[(METER_NOW - 600, 100)]);
    other.serial = b"C176SA0E7";
    talk(&mut bench, &mut other, 40_000);
    let devices: Vec<_> = bench.groups().iter().map(|group| group.device.to_string()).collect();
    assert_eq!(devices, ["glu-01-C176SA0E7"; 2], "clock and the same result of another meter");
    assert_eq!(bench.states(), ["glu-01-C176SA0E7 online"]);
}

#[test]
fn an_unreadable_record_does_not_hide_the_older_ones() {
    let mut meter =
        Meter::new(&[(METER_NOW - 60, 101), (METER_NOW - 120, 102), (METER_NOW - 180, 103)]);
    meter.unreadable = Some(1);
    let first = session(None, &mut meter);
    assert_eq!(first.values().split_off(1), ["glu_cap_pl 103", "glu_cap_pl 101"]);
    assert_eq!(first.notes[0].kind, "reply");
    // It is tried again, also behind records that are known, and comes once it is readable.
    meter.unreadable = None;
    let second = session(first.remembered.last().cloned(), &mut meter);
    assert_eq!(second.values().split_off(1), ["glu_cap_pl 102"]);
    meter.asked.clear();
    session(second.remembered.last().cloned(), &mut meter);
    let read = meter.asked.iter().filter(|message| message[1] == 0x1F && message[2] < 3);
    assert_eq!(read.count(), 1, "the gap is closed");
}

#[test]
fn noise_that_looks_like_a_packet_hides_no_answer() {
    let mut bench = Bench::new(driver(None));
    // Two bytes that claim 40, then the answer to the reset.
    bench.receive(&[&[0x02, 0x28][..], &packet(0x0C, &[])].concat());
    bench.pass(150);
    assert_eq!(bench.sent.last().unwrap()[4], 0x0D, "the version is asked for");
}

#[test]
fn a_code_the_meter_cannot_produce_is_kept_as_rejected() {
    let mut meter = Meter::new(&[(METER_NOW, 601), (METER_NOW, 0x0001_0000), (METER_NOW, 3)]);
    let bench = session(None, &mut meter);
    assert_eq!(
        bench.values().split_off(1),
        ["glu_cap_pl rejected:3", "glu_cap_pl rejected:65536", "glu_cap_pl rejected:601"]
    );
}

#[test]
fn an_impossible_time_is_marked_unknown_and_the_value_kept() {
    let mut meter = Meter::new(&[(METER_NOW + 2 * 86_400, 100), (86_400, 90)]);
    let bench = session(None, &mut meter);
    for group in &bench.groups()[1..] {
        assert_eq!(group.device_time, None);
        assert_eq!(group.context.get("time").map(String::as_str), Some("unknown"));
        assert!(group.readings[0].value.is_ok());
    }
}

#[test]
fn a_meter_that_is_not_there_is_no_news() {
    let mut bench = Bench::new(driver(None));
    bench.pass(120_000);
    assert!(bench.records.is_empty() && bench.notes.is_empty());
    // A reset and one more try, every 32 s.
    assert_eq!(bench.sent.len(), 8);
    assert!(bench.sent.iter().all(|bytes| *bytes == codec::disconnect()));
}

#[test]
fn a_packet_that_breaks_off_is_not_joined_with_the_next() {
    let mut bench = Bench::new(driver(None));
    bench.receive(&[0x02, 0x06, 0x0C]);
    bench.pass(500);
    assert_eq!(bench.notes[0].kind, "cut_off");
    bench.receive(&packet(0x0C, &[]));
    bench.pass(50);
    assert_eq!(bench.sent.last().unwrap()[4], 0x0D, "the version is asked for");
}

#[test]
fn no_request_sets_the_clock_or_erases() {
    let mut meter = Meter::new(&[(METER_NOW, 100)]);
    session(None, &mut meter);
    let forbidden = |message: &Vec<u8>| message.starts_with(&[5, 0x20, 1]) || message[1] == 0x1A;
    assert!(!meter.asked.is_empty() && !meter.asked.iter().any(forbidden));
}
