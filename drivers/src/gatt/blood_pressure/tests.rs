//! The driver on lists of events.

use super::*;
use crate::bench::GattBench;
use crate::gatt::{Refusal, services};
use model::{
    device::DeviceState,
    reading::{Occurrence, Validity},
    time::{DeviceTime, civil_ms},
};

fn bytes(hex: &str) -> Vec<u8> {
    hex.split_whitespace().map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect()
}

/// 138/86 (103) mmHg, 2026-11-22 08:15:30, pulse 72, user 1, irregular pulse (protocol sheet, §6).
const FULL: &str = "1E 8A 00 56 00 67 00 EA 07 0B 16 08 0F 1E 48 00 01 04 00";
/// 120/80, MAP 93 mmHg, nothing else (protocol sheet, §6).
const PLAIN: &str = "00 78 00 50 00 5D 00";

fn bench(cursor: Option<Cursor>) -> GattBench<BloodPressure> {
    let clock = ClockOptions { zone_offset_s: Some(28_800), set: false };
    let driver = BloodPressure::new(DeviceId::new("bp-01").unwrap(), clock, cursor);
    let device = vec![
        (MEASUREMENT, vec![]),
        (INTERMEDIATE, vec![]),
        (FEATURE, vec![0x1F, 0]),
        (Characteristic::sig(0x180A, 0x2A24), b"UA-651BLE\0\0".to_vec()),
        (services::BATTERY, vec![87]),
    ];
    GattBench::new(driver, device)
}

#[test]
fn a_measurement_is_one_group_with_the_cuffs_time() {
    let mut bench = bench(None);
    bench.connect();
    bench.receive(MEASUREMENT, &bytes(FULL));
    assert_eq!(
        bench.values(),
        ["batt_pct 87", "nibp_sys 138", "nibp_dia 86", "nibp_mean 103", "pulse_nibp 72"]
    );
    let group = bench.groups()[1];
    assert_eq!((group.group, group.occurrence), (Some(Metric::NIBP), Occurrence::Spot));
    let civil_ms = civil_ms(2026, 11, 22, 8, 15, 30).unwrap();
    assert_eq!(group.device_time, Some(DeviceTime::Local { civil_ms }));
    let context: Vec<_> =
        group.context.iter().map(|(key, value)| format!("{key}={value}")).collect();
    assert_eq!(context, ["irregular_pulse=yes", "user=1"]);
    assert!(group.readings.iter().all(|reading| reading.validity == Validity::Valid));
    let last = bench.statuses().pop().unwrap();
    assert_eq!((last.state, last.about["model"].as_str()), (DeviceState::Online, "UA-651BLE"));
}

#[test]
fn results_are_subscribed_to_before_anything_is_read_and_nothing_is_written() {
    let mut bench = bench(None);
    bench.connect();
    assert_eq!(
        bench.sent[..2],
        [Request::Subscribe(MEASUREMENT), Request::Subscribe(INTERMEDIATE)]
    );
    assert!(bench.sent[2..].iter().all(|request| matches!(request, Request::Read(_))));
}

#[test]
fn what_comes_before_the_services_are_known_counts() {
    let mut bench = bench(None);
    bench.receive(MEASUREMENT, &bytes(FULL));
    bench.connect();
    assert_eq!(bench.values()[0], "nibp_sys 138");
}

#[test]
fn the_unit_is_part_of_every_value() {
    let mut bench = bench(None);
    // 17.6/10.7 (13.0) kPa, pulse 68, body movement and improper position (protocol sheet, §6).
    bench.receive(MEASUREMENT, &bytes("15 B0 F0 6B F0 82 F0 44 00 21 00"));
    let group = bench.groups()[0];
    assert_eq!(group.readings[0].unit, Some(Unit::KILOPASCAL));
    assert_eq!(group.readings[0].canonical().unwrap().0.to_string(), "132");
    assert!(group.readings.iter().all(|reading| reading.validity == Validity::Questionable));
    // mmHg under the kPa flag, and kPa under the mmHg flag: never guessed.
    bench.receive(MEASUREMENT, &bytes("01 78 00 50 00 5D 00"));
    bench.receive(MEASUREMENT, &bytes("00 11 00 0B 00 0D 00"));
    assert_eq!(
        bench.values()[4..],
        [
            "nibp_sys rejected:120",
            "nibp_dia rejected:80",
            "nibp_mean rejected:93",
            "nibp_sys rejected:17",
            // Within the catalogue's limits, and implausible.
            "nibp_dia 11",
            "nibp_mean rejected:13",
        ]
    );
    assert_eq!(bench.groups()[2].readings[1].validity, Validity::Questionable);
}

#[test]
fn no_number_is_no_value_and_says_why() {
    let mut bench = bench(None);
    // 131/84, mean NaN, pulse 77 (protocol sheet, §6).
    bench.receive(MEASUREMENT, &bytes("04 83 00 54 00 FF 07 4D 00"));
    // All NaN, body moved, and pulse +INF.
    bench.receive(MEASUREMENT, &bytes("14 FF 07 00 08 02 08 FE 07 01 00"));
    assert_eq!(
        bench.values(),
        [
            "nibp_sys 131",
            "nibp_dia 84",
            "nibp_mean not_available",
            "pulse_nibp 77",
            "nibp_sys motion",
            "nibp_dia motion",
            "nibp_mean motion",
            "pulse_nibp not_available",
        ]
    );
}

#[test]
fn a_status_bit_counts_only_where_the_cuff_can_detect_it() {
    let value = bytes("10 78 00 50 00 5D 00 2F 00");
    let mut unknown = bench(None);
    unknown.receive(MEASUREMENT, &value);
    assert_eq!(unknown.groups()[0].context.len(), 6, "{:?}", unknown.groups()[0].context);
    let mut first = bench(None);
    first.device[2].1 = vec![0, 0];
    first.connect();
    assert_eq!(first.remembered, [Cursor(vec![0, 0])]);
    first.receive(MEASUREMENT, &value);
    let group = first.groups()[1];
    assert_eq!(group.context.keys().collect::<Vec<_>>(), ["time"]);
    assert_eq!(group.readings[0].validity, Validity::Valid);
    // What it can detect is known at the next visit, before it is read again.
    let mut again = bench(first.remembered.last().cloned());
    again.receive(MEASUREMENT, &value);
    assert_eq!(again.groups()[0].context.keys().collect::<Vec<_>>(), ["time"]);
}

#[test]
fn a_record_without_a_time_is_a_repeat_only_on_the_same_connection() {
    let mut bench = bench(None);
    for _ in 0..2 {
        bench.receive(MEASUREMENT, &bytes(PLAIN));
    }
    assert_eq!(bench.groups().len(), 1);
    bench.handle(GattEvent::Disconnected);
    bench.receive(MEASUREMENT, &bytes(PLAIN));
    assert_eq!(bench.groups().len(), 2);
    // With a time, whoever stores it tells a repeat from a second reading.
    for _ in 0..2 {
        bench.receive(MEASUREMENT, &bytes(FULL));
    }
    assert_eq!(bench.groups().len(), 4);
    assert_eq!(bench.groups()[2].identity(), bench.groups()[3].identity());
}

#[test]
fn the_pressure_while_the_cuff_works_is_no_reading() {
    let mut bench = bench(None);
    bench.receive(INTERMEDIATE, &bytes("00 9C 00 FF 07 FF 07"));
    assert!(bench.records.is_empty());
}

#[test]
fn a_cuff_that_stays_without_a_word_is_sent_away() {
    let mut bench = bench(None);
    bench.connect();
    bench.pass(20_000);
    bench.receive(MEASUREMENT, &bytes(PLAIN));
    bench.pass(29_999);
    assert!(!bench.sent.contains(&Request::Disconnect));
    bench.pass(1);
    assert_eq!(bench.sent.last(), Some(&Request::Disconnect));
    bench.handle(GattEvent::Disconnected);
    assert_eq!(bench.driver.next_timeout(), None);
    assert_eq!(bench.states(), ["bp-01 online", "bp-01 online"], "that it went is no news");
}

#[test]
fn what_is_malformed_is_noted_and_gives_no_reading() {
    let mut bench = bench(None);
    bench.receive(MEASUREMENT, &bytes(FULL)[..18]);
    bench.receive(MEASUREMENT, &[]);
    bench.pass(10_000);
    bench.receive(MEASUREMENT, &[bytes(PLAIN), vec![1, 2]].concat());
    let kinds: Vec<_> = bench.notes.iter().map(|note| note.kind).collect();
    assert_eq!(kinds, ["malformed", "tail"]);
    assert_eq!(bench.groups().len(), 1);
}

#[test]
fn a_refused_subscription_says_what_to_do() {
    let mut bench = bench(None);
    bench.refusing = vec![(MEASUREMENT, Refusal::NotPaired)];
    bench.connect();
    assert!(bench.notes[0].text.contains("clinic-agent devices pair"), "{:?}", bench.notes);
}

#[test]
fn the_clock_is_set_only_where_the_configuration_says_so() {
    let clock = ClockOptions { zone_offset_s: Some(28_800), set: true };
    let driver = BloodPressure::new(DeviceId::new("bp-01").unwrap(), clock, None);
    let date_time = Characteristic::sig(SERVICE, 0x2A08);
    let mut bench = GattBench::new(driver, vec![(MEASUREMENT, vec![]), (date_time, vec![])]);
    bench.connect();
    // 2026-11-22 08:15:00 UTC is 16:15 in China.
    let expected = Request::Write(date_time, bytes("EA 07 0B 16 10 0F 00"));
    assert_eq!(bench.sent[0], expected);
    let action = bench.records.iter().find_map(|record| match record {
        Record::Action(action) => Some((action.action.as_str(), action.text.as_str())),
        _ => None,
    });
    let text = "set to 2026-11-22 16:15:00 local time, as the configuration says";
    assert_eq!(action, Some(("clock_set", text)), "it goes to the county");
    let mut refusing = GattBench::new(
        BloodPressure::new(DeviceId::new("bp-01").unwrap(), clock, None),
        vec![(date_time, vec![])],
    );
    refusing.refusing = vec![(date_time, Refusal::NotPaired)];
    refusing.connect();
    let kinds: Vec<_> = refusing.notes.iter().map(|note| note.kind).collect();
    assert_eq!(kinds, ["clock_not_set"]);
    let mut newer = GattBench::new(
        BloodPressure::new(DeviceId::new("bp-01").unwrap(), clock, None),
        vec![(services::CURRENT_TIME, bytes("EA 07 0B 16 10 0F 0A 07 00 01"))],
    );
    newer.connect();
    let expected = bytes("EA 07 0B 16 10 0F 00 07 00 01");
    assert_eq!(newer.sent[0], Request::Write(services::CURRENT_TIME, expected));
    assert_eq!(newer.values(), ["clock_offset 10"]);
}
