//! The driver on lists of events.

use super::*;
use crate::bench::GattBench;
use model::{
    reading::Validity,
    time::{DeviceTime, civil_ms},
};

fn bytes(hex: &str) -> Vec<u8> {
    hex.split_whitespace().map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect()
}

/// Protocol sheet, §7.
const PLAIN: &str = "02 15 00 EA 07 0B 16 07 05 00 68 B0 11";
const WITH_CONTEXT: &str = "1F 16 00 EA 07 0B 16 07 23 00 E2 FF 3A C0 11 01 00";
const LUNCH: &str = "03 16 00 02 3C D0 02";

const ANSWER_ALL: &[u8] = &[6, 0, 1, 1];

fn meter(cursor: Option<Cursor>) -> GattBench<Glucose> {
    let driver = Glucose::new(DeviceId::new("glu-01").unwrap(), ClockOptions::default(), cursor);
    let device = [MEASUREMENT, CONTEXT, CONTROL_POINT].map(|place| (place, vec![])).to_vec();
    let mut bench = GattBench::new(driver, device);
    bench.connect();
    bench
}

/// A record of that number, a minute and a mg/dL apart.
fn record(sequence: u16) -> Vec<u8> {
    let [low, high] = sequence.to_le_bytes();
    let minute = u8::try_from(sequence % 60).unwrap();
    vec![2, low, high, 0xEA, 7, 0x0B, 0x16, 7, minute, 0, 80 + minute, 0xB0, 0x11]
}

impl GattBench<Glucose> {
    fn asked(&self) -> Vec<&[u8]> {
        let writes = self.sent.iter().filter_map(|request| match request {
            Request::Write(CONTROL_POINT, value) => Some(value.as_slice()),
            _ => None,
        });
        writes.collect()
    }

    fn say(&mut self, records: impl IntoIterator<Item = u16>) {
        records.into_iter().for_each(|sequence| self.receive(MEASUREMENT, &record(sequence)));
    }

    fn answer(&mut self, value: &[u8]) {
        self.receive(CONTROL_POINT, value);
        self.pass(200);
    }

    fn numbers(&self) -> Vec<u64> {
        self.groups().into_iter().filter_map(|group| group.device_seq).collect()
    }

    fn cursor(&self) -> Option<Cursor> {
        self.remembered.last().cloned()
    }
}

/// A meter that was read up to that number.
fn known_up_to(sequence: u16) -> Cursor {
    Last { sequence, value: record(sequence) }.cursor()
}

#[test]
fn a_meter_that_is_not_known_is_counted_and_read_whole() {
    let mut bench = meter(None);
    assert_eq!(bench.asked(), [[4, 1]]);
    bench.answer(&[5, 0, 2, 0]);
    assert_eq!(bench.asked(), [[4, 1], [1, 1]]);
    bench.receive(MEASUREMENT, &bytes(PLAIN));
    bench.receive(MEASUREMENT, &bytes(WITH_CONTEXT));
    bench.receive(CONTEXT, &bytes(LUNCH));
    bench.answer(ANSWER_ALL);
    assert_eq!(
        bench.values(),
        ["glu_cap_wb 104", "glu_cap_wb 5.8", "glu_dev_status battery_low", "batt_state low"]
    );
    let second = bench.groups()[1];
    assert_eq!(second.device_seq, Some(22));
    // Base time 07:35, half an hour back.
    let civil_ms = civil_ms(2026, 11, 22, 7, 5, 0).unwrap();
    assert_eq!(second.device_time, Some(DeviceTime::Local { civil_ms }));
    let context: Vec<_> =
        second.context.iter().map(|(key, value)| format!("{key}={value}")).collect();
    assert_eq!(context, ["location=loc_finger", "meal=meal_post", "time_offset_min=-30"]);
    let last = Last { sequence: 22, value: bytes(WITH_CONTEXT) };
    assert_eq!(bench.cursor(), Some(last.cursor()));
    assert!(bench.notes.is_empty(), "{:?}", bench.notes);
    bench.pass(2_000);
    assert_eq!(bench.sent.last(), Some(&Request::Disconnect));
}

#[test]
fn only_what_is_new_is_asked_for() {
    let mut bench = meter(Some(known_up_to(20)));
    bench.say([23]);
    bench.answer(ANSWER_ALL);
    bench.answer(&[5, 0, 3, 0]);
    bench.say([21, 22, 23]);
    bench.answer(ANSWER_ALL);
    assert_eq!(bench.asked(), [&[1, 6][..], &[4, 3, 1, 21, 0], &[1, 3, 1, 21, 0]]);
    assert_eq!(bench.numbers(), [23, 21, 22]);
    assert_eq!(bench.cursor(), Some(known_up_to(23)));
    let mut again = meter(bench.cursor());
    again.say([23]);
    again.answer(ANSWER_ALL);
    assert_eq!((again.asked().len(), again.groups().len()), (1, 0), "nothing is new");
}

#[test]
fn a_transfer_that_broke_off_goes_on_behind_what_was_taken_over() {
    let mut bench = meter(None);
    bench.answer(&[5, 0, 4, 0]);
    bench.say([7, 8]);
    bench.handle(GattEvent::Disconnected);
    assert_eq!(bench.cursor(), Some(known_up_to(8)));
    bench.connect();
    bench.say([10]);
    bench.answer(ANSWER_ALL);
    assert_eq!(bench.asked().last().unwrap(), &[4, 3, 1, 9, 0]);
}

#[test]
fn a_newest_record_that_came_alone_hides_nothing_older() {
    let mut bench = meter(Some(known_up_to(20)));
    bench.say([23]);
    bench.handle(GattEvent::Disconnected);
    assert_eq!((bench.numbers(), bench.cursor()), (vec![23], None));
}

/// Found by fuzzing: the meter was read from its first record again, and what a visit left behind
/// was held against the next.
#[test]
fn what_comes_before_the_meter_is_asked_makes_nothing_forgotten() {
    let driver = Glucose::new(
        DeviceId::new("glu-01").unwrap(),
        ClockOptions::default(),
        Some(known_up_to(20)),
    );
    let places = [MEASUREMENT, CONTEXT, CONTROL_POINT].map(|place| (place, vec![]));
    let mut early = GattBench::new(driver, places.to_vec());
    early.say([22, 21]);
    assert_eq!(early.cursor(), None);
    early.connect();
    assert_eq!(early.asked(), [[1, 6]]);

    let mut bench = meter(None);
    bench.answer(&[5, 0, 2, 0]);
    bench.say([7, 8]);
    bench.answer(ANSWER_ALL);
    bench.handle(GattEvent::Disconnected);
    bench.say([5]);
    assert_eq!(bench.cursor(), Some(known_up_to(8)));
}

#[test]
fn records_out_of_order_are_taken_over_only_as_a_whole() {
    for order in [&[9, 8][..], &[7, 9, 8]] {
        let mut bench = meter(None);
        bench.answer(&[5, 0, 4, 0]);
        bench.say(order.to_vec());
        bench.handle(GattEvent::Disconnected);
        assert_eq!(bench.numbers().len(), order.len());
        assert!(bench.cursor().is_none_or(|cursor| cursor == Cursor::default()), "{order:?}");
        bench.connect();
        assert_eq!(bench.asked().last().unwrap(), &[4, 1]);
        bench.answer(&[5, 0, 4, 0]);
        bench.say([9, 8, 7, 6]);
        bench.answer(ANSWER_ALL);
        assert_eq!(bench.cursor(), Some(known_up_to(9)));
    }
}

#[test]
fn a_record_that_could_not_be_read_is_never_passed_over() {
    for newest_is_damaged in [false, true] {
        let mut bench = meter(Some(known_up_to(20)));
        match newest_is_damaged {
            true => bench.receive(MEASUREMENT, &record(24)[..9]),
            false => bench.say([24]),
        }
        bench.answer(ANSWER_ALL);
        for _ in 0..2 {
            bench.answer(&[5, 0, 4, 0]);
            bench.say([21]);
            bench.receive(MEASUREMENT, &record(22)[..9]);
            bench.say([23, 24]);
            bench.answer(ANSWER_ALL);
        }
        assert_eq!(bench.cursor(), Some(known_up_to(21)));
        bench.handle(GattEvent::Disconnected);
        bench.connect();
        bench.say([24]);
        bench.answer(ANSWER_ALL);
        assert_eq!(bench.asked().last().unwrap(), &[4, 3, 1, 22, 0]);
    }
}

#[test]
fn a_meter_whose_numbers_began_anew_is_read_whole() {
    for (last, newest) in [(u16::MAX, 3), (500, 3), (3, 3)] {
        let mut cursor = known_up_to(last);
        cursor.0[10] ^= 1;
        let mut bench = meter(Some(cursor));
        bench.say([newest]);
        bench.answer(ANSWER_ALL);
        bench.answer(&[5, 0, 3, 0]);
        bench.say([1, 2, 3]);
        bench.answer(ANSWER_ALL);
        assert_eq!(bench.asked()[1..], [[4, 1], [1, 1]]);
        assert_eq!(bench.numbers(), [3, 1, 2]);
        assert_eq!(bench.cursor(), Some(known_up_to(3)), "{last}");
    }
}

#[test]
fn an_empty_meter_is_left_alone() {
    for cursor in [None, Some(known_up_to(20))] {
        let mut bench = meter(cursor);
        while !bench.sent.contains(&Request::Disconnect) {
            bench.answer(if bench.asked().last() == Some(&&[4, 1][..]) {
                &[5, 0, 0, 0]
            } else {
                &[6, 0, 1, 6]
            });
            bench.pass(2_000);
        }
        assert!(bench.groups().is_empty() && bench.remembered.is_empty());
    }
}

#[test]
fn a_meter_that_cannot_count_or_pick_is_read_whole() {
    let mut bench = meter(Some(known_up_to(20)));
    bench.answer(&[6, 0, 1, 4]);
    bench.answer(&[6, 0, 4, 2]);
    assert_eq!(bench.asked(), [[1, 6], [4, 1], [1, 1]]);
    bench.say([20, 21]);
    bench.answer(ANSWER_ALL);
    assert_eq!(bench.numbers(), [20, 21]);
    assert_eq!(bench.cursor(), Some(known_up_to(21)));
}

#[test]
fn records_that_are_missing_are_asked_for_once_more_and_then_at_the_next_visit() {
    let mut bench = meter(None);
    for _ in 0..2 {
        bench.answer(&[5, 0, 3, 0]);
        bench.say([8, 7]);
        bench.answer(ANSWER_ALL);
    }
    assert_eq!(bench.asked(), [[4, 1], [1, 1], [4, 1], [1, 1]]);
    assert_eq!(bench.numbers(), [8, 7], "none is emitted twice");
    assert_eq!(bench.cursor(), None);
    let kinds: Vec<_> = bench.notes.iter().map(|note| note.kind).collect();
    assert_eq!(kinds, ["incomplete"]);
    bench.pass(2_000);
    assert_eq!(bench.sent.last(), Some(&Request::Disconnect));
}

#[test]
fn a_transfer_that_stands_still_is_aborted_and_the_meter_sent_away() {
    let mut bench = meter(None);
    bench.answer(&[5, 0, 3, 0]);
    bench.pass(20_000);
    bench.say([7]);
    bench.pass(29_999);
    assert_eq!(bench.asked().len(), 2);
    bench.pass(1);
    assert_eq!(bench.asked()[2], [3, 0]);
    bench.pass(5_000);
    assert_eq!(bench.sent.last(), Some(&Request::Disconnect));
    assert_eq!(bench.notes[0].kind, "broken_off");
}

#[test]
fn a_procedure_that_still_runs_is_aborted() {
    let mut bench = meter(None);
    let refusal = Refusal::Att(0x80);
    let count = Request::Write(CONTROL_POINT, vec![4, 1]);
    bench.handle(GattEvent::Answered(&count, Err(&refusal)));
    assert_eq!(bench.asked()[1], [3, 0]);
    bench.answer(&[6, 0, 3, 1]);
    assert_eq!(bench.sent.last(), Some(&Request::Disconnect));
}

#[test]
fn a_context_belongs_to_its_number_and_no_measurement_waits_for_ever() {
    let mut bench = meter(None);
    bench.answer(&[6, 0, 4, 2]);
    bench.receive(MEASUREMENT, &bytes(WITH_CONTEXT));
    bench.receive(CONTEXT, &bytes("03 17 00 02 3C D0 02"));
    assert!(bench.groups().is_empty());
    bench.answer(ANSWER_ALL);
    assert!(!bench.groups()[0].context.contains_key("meal"));
    assert_eq!(bench.notes[0].kind, "unasked");
    // And one that waits when the link goes is not lost.
    let mut bench = meter(None);
    bench.answer(&[6, 0, 4, 2]);
    bench.receive(MEASUREMENT, &bytes(WITH_CONTEXT));
    bench.handle(GattEvent::Disconnected);
    assert_eq!(bench.numbers(), [22]);
}

#[test]
fn another_value_under_the_same_number_is_a_second_reading_with_a_mark() {
    let mut bench = meter(None);
    bench.answer(&[6, 0, 4, 2]);
    bench.say([7, 7]);
    assert_eq!(bench.groups().len(), 1, "a repeat");
    let mut other = record(7);
    other[10] += 1;
    bench.receive(MEASUREMENT, &other);
    let second = bench.groups()[1];
    assert_eq!(second.readings[0].validity, Validity::Questionable);
    assert_eq!(bench.notes[0].kind, "conflict");
}

#[test]
fn a_result_that_contradicts_itself_is_never_guessed() {
    let result = |value: &str, status: &str| {
        let mut bench = meter(None);
        let text = format!("0A 17 00 EA 07 0B 16 09 00 00 {value} 11 {status}");
        bench.receive(MEASUREMENT, &bytes(&text));
        bench.values()[0].clone()
    };
    assert_eq!(result("FE 07", "20 00"), "glu_cap_wb >600");
    assert_eq!(result("FE 07", "00 00"), "glu_cap_wb >600");
    assert_eq!(result("02 08", "40 00"), "glu_cap_wb <20");
    // A finite number with the bit is the limit: 500 mg/dL.
    assert_eq!(result("F4 B1", "20 00"), "glu_cap_wb >500");
    assert_eq!(result("FE 07", "40 00"), "glu_cap_wb device_error:0x0040");
    assert_eq!(result("68 B0", "60 00"), "glu_cap_wb device_error:0x0060");
    assert_eq!(result("FF 07", "04 00"), "glu_cap_wb device_error:0x0004");
    assert_eq!(result("FF 07", "00 00"), "glu_cap_wb not_available");
}

#[test]
fn a_record_without_a_result_is_kept_and_says_so() {
    let mut bench = meter(None);
    bench.receive(MEASUREMENT, &bytes("00 17 00 00 00 00 00 00 00 00"));
    assert_eq!(bench.values(), ["glu_und_pl not_available"]);
    assert_eq!(bench.groups()[0].context["time"], "unknown");
}
