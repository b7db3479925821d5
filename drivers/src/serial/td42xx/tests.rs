//! The driver against a meter of a few lines.

use super::*;
use crate::bench::Bench;
use model::{
    decimal::Decimal,
    reading::{Comparator, Occurrence, Validity, Value},
};
use proptest::prelude::*;
use std::collections::VecDeque;

/// 2026-11-22, month and day in the low bits: sheet §4.
const DAY: u16 = 0x3576;
/// 16:15 on that day: the bench starts at 08:15 UTC, and the site is in Shanghai.
const CLOCK: [u8; 4] = [0x76, 0x35, 15, 16];
const GLUCOSE_METER: u16 = 0x4277;
const CUFF: u16 = 0x3128;

type Raw = ([u8; 4], [u8; 4]);

/// A meter: its memory, newest first, and what it does to its replies.
struct Meter {
    model: u16,
    clock: [u8; 4],
    records: VecDeque<Raw>,
    /// Answers so many requests, then is unplugged.
    answers: usize,
    asked: Vec<Vec<u8>>,
}

impl Meter {
    fn new(model: u16, records: &[Raw]) -> Self {
        let records = records.iter().copied().collect();
        Self { model, clock: CLOCK, records, answers: usize::MAX, asked: vec![] }
    }

    fn answer(&mut self, sent: &[u8]) -> Vec<u8> {
        if self.answers == 0 {
            return vec![];
        }
        self.answers -= 1;
        self.asked.push(sent.to_vec());
        let word = |word: u16| [word.to_le_bytes()[0], word.to_le_bytes()[1], 0, 0];
        let record = self.records.get(usize::from(u16::from_le_bytes([sent[2], sent[3]])));
        match sent[1] {
            0x22 => reply(0x54, [0; 4]),
            0x24 => reply(0x24, word(self.model)),
            0x23 => reply(0x23, self.clock),
            0x2B if self.records.is_empty() => reply(0x2B, [0, 0, 0xFF, 0xFF]),
            0x2B => reply(0x2B, word(u16::try_from(self.records.len()).unwrap())),
            0x25 => reply(0x25, record.unwrap().0),
            0x26 => reply(0x26, record.unwrap().1),
            other => panic!("the driver sent command {other:#04x}"),
        }
    }

    /// How many record values were read since the last call.
    fn values_read(&mut self) -> usize {
        self.asked.drain(..).filter(|sent| sent[1] == 0x26).count()
    }
}

fn reply(command: u8, data: [u8; 4]) -> Vec<u8> {
    let mut bytes = [&[0x51, command], &data[..], &[0xA5]].concat();
    bytes.push(bytes.iter().fold(0, |sum: u8, byte| sum.wrapping_add(*byte)));
    bytes
}

/// A glucose record of that minute of the day.
fn record(minute: u16, mg_per_dl: u8) -> Raw {
    let [low, high] = DAY.to_le_bytes();
    let [minute, hour] = [minute % 60, minute / 60].map(|part| u8::try_from(part).unwrap());
    ([low, high, minute, hour], [mg_per_dl, 0, 0, 0])
}

/// So many records: a minute and a mg/dL less each, from 10:00 and 160 mg/dL.
fn falling(count: u8) -> Vec<Raw> {
    (0..count).map(|age| record(600 - u16::from(age), 160 - age)).collect()
}

fn driver(cursor: Option<Cursor>) -> Td42xx {
    let device = DeviceId::new("glu-02").unwrap();
    Td42xx::new(device, Duration::from_secs(30), Some(8 * 3600), cursor)
}

/// Lets driver and meter talk for that long; what was not answered before is answered first.
fn talk(bench: &mut Bench<Td42xx>, meter: &mut Meter, ms: u64) {
    for _ in 0..ms / 10 {
        for sent in std::mem::take(&mut bench.sent) {
            let answer = meter.answer(&sent);
            bench.receive(&answer);
        }
        bench.pass(10);
    }
}

/// Opens the port and lets them talk for a session.
fn session(cursor: Option<Cursor>, meter: &mut Meter) -> Bench<Td42xx> {
    let mut bench = Bench::new(driver(cursor));
    talk(&mut bench, meter, 29_000);
    bench
}

/// What was said beside the clock.
fn said(bench: &Bench<Td42xx>) -> Vec<String> {
    bench.values().into_iter().filter(|value| !value.starts_with("clock_offset")).collect()
}

#[test]
fn a_session_takes_over_what_is_new_the_oldest_first() {
    let mut after_meal = record(600, 160);
    after_meal.1[3] = 0x80;
    let mut before_meal = record(495, 104);
    before_meal.1[3] = 0x40;
    let mut meter = Meter::new(GLUCOSE_METER, &[after_meal, before_meal, record(480, 54)]);
    let bench = session(None, &mut meter);
    assert_eq!(
        bench.values(),
        ["clock_offset 0", "glu_cap_pl 54", "glu_cap_pl 104", "glu_cap_pl 160"]
    );
    let group = bench.groups()[2];
    let civil_ms = 1_795_335_300_000; // 2026-11-22 08:15
    assert_eq!(group.device_time, Some(DeviceTime::Local { civil_ms }));
    assert_eq!((group.group, group.occurrence), (None, Occurrence::Spot));
    assert_eq!(group.readings[0].unit, Some(Unit::MG_PER_DL));
    let meals: Vec<_> = bench.groups()[1..].iter().map(|group| group.context.get("meal")).collect();
    assert_eq!(meals, [None, Some(&"meal_pre".to_owned()), Some(&"meal_post".to_owned())]);
    assert_eq!(bench.states(), ["glu-02 online"]);
    let status = bench.statuses()[0];
    assert_eq!(status.kind, DeviceKind::GlucoseMeter);
    let about: Vec<_> = status.about.iter().map(|(key, value)| format!("{key}={value}")).collect();
    assert_eq!(about, ["clock=2026-11-22 16:15", "model=TD-4277", "records=3"]);
    assert_eq!(bench.remembered.len(), 1);
    assert!(bench.notes.is_empty(), "{:?}", bench.notes);
}

#[test]
fn a_cuff_of_the_family_gives_one_group_an_inflation() {
    let time = record(495, 0).0;
    let records = [(time, [0x8A, 0, 0x56, 0x48]), (time, [0x04, 1, 0x56, 0]), (time, [0; 4])];
    let bench = session(None, &mut Meter::new(CUFF, &records));
    assert_eq!(
        said(&bench),
        [
            "nibp_sys not_available",
            "nibp_dia not_available",
            "pulse_nibp not_available",
            "nibp_sys 260",
            "nibp_dia 86",
            "pulse_nibp not_available",
            "nibp_sys 138",
            "nibp_dia 86",
            "pulse_nibp 72"
        ]
    );
    let group = bench.groups()[1];
    assert_eq!((group.group, group.occurrence), (Some(Metric::NIBP), Occurrence::Spot));
    assert_eq!(bench.statuses()[0].kind, DeviceKind::Cuff);
    assert_eq!(bench.statuses()[0].about["model"], "TD-3128");
}

#[test]
fn nothing_is_taken_from_a_model_that_is_not_known() {
    let mut meter = Meter::new(0x4216, &[record(480, 54)]);
    let mut bench = session(None, &mut meter);
    talk(&mut bench, &mut meter, 90_000);
    assert!(bench.groups().is_empty() && bench.remembered.is_empty());
    assert_eq!(bench.states(), ["glu-02 silent"], "said once");
    assert!(bench.statuses()[0].reason.contains("TD-4216"));
    assert!(meter.asked.iter().all(|sent| [0x22, 0x24].contains(&sent[1])));
    // Another meter on the same cable.
    meter.model = GLUCOSE_METER;
    talk(&mut bench, &mut meter, 30_000);
    assert_eq!(said(&bench), ["glu_cap_pl 54"]);
    assert_eq!(bench.states(), ["glu-02 silent", "glu-02 online"]);
}

#[test]
fn what_was_taken_over_is_not_read_again() {
    let mut meter = Meter::new(GLUCOSE_METER, &[record(540, 100), record(480, 54)]);
    let first = session(None, &mut meter);
    meter.records.push_front(record(600, 70));
    meter.values_read();
    let second = session(first.remembered.last().cloned(), &mut meter);
    assert_eq!(said(&second), ["glu_cap_pl 70"]);
    assert_eq!(meter.values_read(), 3, "the new one, the first that is known, the new one again");
    let third = session(second.remembered.last().cloned(), &mut meter);
    assert!(said(&third).is_empty() && third.remembered.is_empty());
    assert_eq!(meter.values_read(), 1);
}

#[test]
fn sessions_repeat_and_say_only_what_is_new() {
    let mut meter = Meter::new(GLUCOSE_METER, &[record(540, 100)]);
    let mut bench = session(None, &mut meter);
    talk(&mut bench, &mut meter, 60_000);
    assert_eq!(said(&bench), ["glu_cap_pl 100"]);
    meter.records.push_front(record(541, 101));
    talk(&mut bench, &mut meter, 40_000);
    assert_eq!(said(&bench), ["glu_cap_pl 100", "glu_cap_pl 101"]);
    assert_eq!(bench.states(), ["glu-02 online"]);
}

#[test]
fn a_meter_that_is_pulled_out_gives_what_holds_and_the_rest_later() {
    let records = falling(60);
    let mut meter = Meter::new(GLUCOSE_METER, &records);
    // Connect, model, clock, count; 25 records, the newest again; 10 records.
    meter.answers = 4 + 50 + 2 + 20;
    let first = session(None, &mut meter);
    let newest: Vec<_> = (0..25).rev().map(|age| format!("glu_cap_pl {}", 160 - age)).collect();
    assert_eq!(said(&first), newest);
    assert!(first.states().is_empty());
    assert_eq!(first.notes[0].kind, "broken_off");
    meter.answers = usize::MAX;
    let second = session(first.remembered.last().cloned(), &mut meter);
    let rest: Vec<_> = (25..60).rev().map(|age| format!("glu_cap_pl {}", 160 - age)).collect();
    assert_eq!(said(&second), rest);
    meter.values_read();
    session(second.remembered.last().cloned(), &mut meter);
    assert_eq!(meter.values_read(), 1, "the gap is closed");
}

#[test]
fn a_closed_port_keeps_what_holds_and_begins_anew() {
    let records = falling(40);
    let mut meter = Meter::new(GLUCOSE_METER, &records);
    let mut bench = Bench::new(driver(None));
    while meter.asked.len() < 4 + 50 + 2 + 7 {
        talk(&mut bench, &mut meter, 10);
    }
    bench.handle(SerialEvent::Closed);
    assert_eq!((said(&bench).len(), bench.driver.next_timeout()), (25, None));
    bench.sent.clear();
    bench.handle(SerialEvent::Opened);
    talk(&mut bench, &mut meter, 20_000);
    assert_eq!(said(&bench).len(), 40);
}

#[test]
fn a_measurement_during_the_download_begins_it_again() {
    for full in [false, true] {
        let mut meter = Meter::new(GLUCOSE_METER, &[record(540, 100), record(480, 54)]);
        let mut bench = Bench::new(driver(None));
        // The time of the second record is read, its value is not.
        while meter.asked.len() < 7 {
            talk(&mut bench, &mut meter, 10);
        }
        meter.records.push_front(record(600, 120));
        if full {
            meter.records.pop_back();
        }
        talk(&mut bench, &mut meter, 10_000);
        let all = ["glu_cap_pl 54", "glu_cap_pl 100", "glu_cap_pl 120"];
        assert_eq!(said(&bench), all[usize::from(full)..], "full: {full}");
        let minutes: Vec<_> = bench.groups().iter().filter_map(|group| group.device_time).collect();
        assert!(minutes.is_sorted_by_key(|time| time.civil_ms()));
    }
}

#[test]
fn a_full_memory_is_read_and_its_newest_found_later() {
    let records: Vec<_> = (0..450).map(|age| record(1000 - age, 100)).collect();
    let mut meter = Meter::new(GLUCOSE_METER, &records);
    let first = session(None, &mut meter);
    assert_eq!(said(&first).len(), 450);
    meter.records.push_front(record(1001, 90));
    meter.records.pop_back();
    let second = session(first.remembered.last().cloned(), &mut meter);
    assert_eq!(said(&second), ["glu_cap_pl 90"]);
}

#[test]
fn an_empty_memory_is_a_good_session() {
    let bench = session(None, &mut Meter::new(GLUCOSE_METER, &[]));
    assert_eq!(bench.values(), ["clock_offset 0"]);
    assert_eq!(bench.states(), ["glu-02 online"]);
    assert!(bench.notes.is_empty() && bench.remembered.is_empty());
}

#[test]
fn numbers_are_judged_by_the_catalogue_and_unknown_marks_are_no_glucose() {
    let of = |value| (record(480, 0).0, value);
    let records = [
        of([0xFF, 0xFF, 0, 0]),
        of([0x5B, 0x02, 0, 0]),
        of([0x13, 0x00, 0, 0]),
        of([0x00, 0x00, 0, 0]),
        of([0x68, 0x00, 0, 0xC0]),
        of([0x68, 0x00, 0x11, 0x40]),
    ];
    let bench = session(None, &mut Meter::new(GLUCOSE_METER, &records));
    assert_eq!(
        said(&bench),
        [
            "glu_cap_pl 104",
            "glu_cap_pl rejected:68 00 00 c0",
            "glu_cap_pl rejected:0",
            "glu_cap_pl 19",
            "glu_cap_pl 603",
            "glu_cap_pl rejected:65535"
        ]
    );
    let validity = |at: usize| bench.groups()[at].readings[0].validity;
    assert_eq!(validity(2), Validity::Invalid);
    assert_eq!(validity(5), Validity::Questionable);
}

#[test]
fn an_impossible_time_is_marked_unknown_and_hides_nothing_behind_it() {
    let untimed = |mg_per_dl| ([0; 4], [mg_per_dl, 0, 0, 0]);
    let mut meter = Meter::new(GLUCOSE_METER, &[untimed(90), record(480, 54)]);
    let first = session(None, &mut meter);
    assert_eq!(said(&first), ["glu_cap_pl 54", "glu_cap_pl 90"]);
    let group = first.groups()[2];
    assert_eq!(group.device_time, None);
    assert_eq!(group.context.get("time").map(String::as_str), Some("unknown"));
    meter.records.push_front(untimed(95));
    meter.records.push_front(untimed(90));
    let second = session(first.remembered.last().cloned(), &mut meter);
    assert_eq!(said(&second), ["glu_cap_pl 95"]);
}

#[test]
fn a_wrong_clock_is_said_and_times_are_kept_as_they_are() {
    let offset = |clock| {
        let mut meter = Meter::new(GLUCOSE_METER, &[record(480, 54)]);
        meter.clock = clock;
        let bench = session(None, &mut meter);
        let civil_ms = 1_795_334_400_000; // 2026-11-22 08:00
        let group = bench.groups().into_iter().find(|group| group.occurrence == Occurrence::Spot);
        assert_eq!(group.unwrap().device_time, Some(DeviceTime::Local { civil_ms }));
        let clock = bench.statuses()[0].about["clock"].clone();
        (bench.values()[0].clone(), clock)
    };
    let said = |offset: &str, clock: &str| (offset.to_owned(), clock.to_owned());
    // Our clock is at 16:15:00, so a minute before is one to 60 seconds before.
    assert_eq!(offset([0x76, 0x35, 14, 16]), said("clock_offset -1", "2026-11-22 16:14"));
    assert_eq!(offset([0x76, 0x35, 17, 16]), said("clock_offset 120", "2026-11-22 16:17"));
    assert_eq!(offset([0x76, 0x35, 15, 15]), said("clock_offset -3541", "2026-11-22 15:15"));
    // After a battery change: nothing can be said of how far it is off.
    assert_eq!(offset([0; 4]), said("glu_cap_pl 54", "not set"));
}

#[test]
fn a_meter_that_is_not_there_is_no_news() {
    let mut bench = Bench::new(driver(None));
    bench.pass(120_000);
    assert!(bench.records.is_empty() && bench.notes.is_empty());
    // One request and three more, every 32 s.
    assert_eq!(bench.sent.len(), 16);
    assert!(bench.sent.iter().all(|sent| *sent == Request::Connect.bytes()));
}

#[test]
fn a_late_answer_is_not_taken_for_that_of_the_next_record() {
    let mut meter = Meter::new(GLUCOSE_METER, &[record(540, 100), record(480, 54)]);
    let mut bench = Bench::new(driver(None));
    while meter.asked.len() < 5 {
        talk(&mut bench, &mut meter, 10);
    }
    // The value of the first record comes late, and once more for the repeated request.
    assert_eq!(bench.sent, [Request::Value(0).bytes()]);
    bench.pass(500);
    assert_eq!(bench.sent.len(), 2, "asked again");
    bench.sent.clear();
    bench.receive(&reply(0x26, [100, 0, 0, 0]));
    bench.pass(100);
    bench.receive(&reply(0x26, [100, 0, 0, 0]));
    bench.pass(300);
    assert!(bench.sent.is_empty(), "nothing is asked before the second answer is gone");
    talk(&mut bench, &mut meter, 10_000);
    assert_eq!(said(&bench), ["glu_cap_pl 54", "glu_cap_pl 100"]);
    assert_eq!(bench.notes[0].kind, "unasked");
}

#[test]
fn two_replies_in_one_piece_answer_one_request() {
    let mut bench = Bench::new(driver(None));
    bench.receive(&[reply(0x24, [0; 4]), reply(0x24, [0x16, 0x42, 0, 0])].concat());
    bench.pass(10);
    assert_eq!(bench.sent.last(), Some(&Request::Model.bytes()));
    assert!(bench.records.is_empty());
    assert_eq!(bench.notes[0].kind, "unasked");
}

#[test]
fn echoes_and_other_replies_are_waited_over() {
    let mut bench = Bench::new(driver(None));
    bench.receive(&Request::Connect.bytes());
    bench.receive(&reply(0x23, CLOCK));
    bench.receive(&reply(0x22, [0; 4]));
    bench.pass(10);
    assert_eq!(bench.sent, [Request::Connect.bytes(), Request::Model.bytes()]);
    assert_eq!(bench.notes[0].kind, "unknown_frame");
}

#[test]
fn a_frame_that_breaks_off_is_not_joined_with_the_next() {
    let mut bench = Bench::new(driver(None));
    bench.receive(&reply(0x22, [0; 4])[..5]);
    bench.pass(500);
    assert_eq!(bench.notes[0].kind, "cut_off");
    bench.receive(&reply(0x22, [0; 4]));
    bench.pass(500);
    assert_eq!(bench.sent.last(), Some(&Request::Model.bytes()));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// Replies that are damaged, lost or doubled: what is said was stored, and said once.
    #[test]
    fn a_bad_line_gives_no_record_that_is_not_stored(
        harm in prop::collection::vec((0_u8..12, 0_usize..8, 1_u8..=255), 60..200),
        cut in 1_usize..8,
    ) {
        let records = falling(40);
        let mut meter = Meter::new(GLUCOSE_METER, &records);
        let mut bench = Bench::new(driver(None));
        let mut harm = harm.into_iter();
        for _ in 0..20_000 {
            for sent in std::mem::take(&mut bench.sent) {
                let mut answer = meter.answer(&sent);
                match harm.next() {
                    Some((0, at, flip)) => answer[at] ^= flip,
                    Some((1, ..)) => answer.clear(),
                    Some((2, ..)) => answer = answer.repeat(2),
                    _ => {}
                }
                for piece in answer.chunks(cut) {
                    bench.receive(piece);
                }
            }
            bench.pass(10);
        }
        let spots = bench.groups().into_iter().filter(|group| group.occurrence == Occurrence::Spot);
        let mut found: Vec<_> = spots
            .map(|group| (group.device_time, group.readings[0].value.clone()))
            .collect();
        found.sort_by_key(|(time, _)| time.map(DeviceTime::civil_ms));
        // 2026-11-22 10:00 and before.
        let stored = (0..40_i64).rev().map(|age| {
            let civil_ms = 1_795_341_600_000 - age * 60_000;
            let number = Decimal::new(160 - age, 0).unwrap();
            let value = Value::Number { number, comparator: Comparator::Equal };
            (Some(DeviceTime::Local { civil_ms }), Ok(value))
        });
        prop_assert_eq!(found, stored.collect::<Vec<_>>());
    }
}
