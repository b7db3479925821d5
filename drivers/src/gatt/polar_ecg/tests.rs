//! The driver on lists of events.

use super::*;
use crate::bench::GattBench;

/// The control point of an H10: ECG and acceleration (protocol sheet, §6).
const FEATURES: &[u8] = &[0x0F, 5, 0];
const SETTINGS: &[u8] = &[0xF0, 1, 0, 0, 0, 0, 1, 0x82, 0, 1, 1, 0x0E, 0];
const STARTED: &[u8] = &[0xF0, 2, 0, 0, 0, 0];
/// 73 samples at 130.17 Hz, as captured: 560.81 ms.
const FRAME_NS: u64 = 560_810_000;

fn strap() -> GattBench<PolarEcg> {
    let device = DeviceId::new("strap-01").unwrap();
    let driver = PolarEcg::new(device, ClockOptions::default());
    let device =
        vec![(heart_rate::MEASUREMENT, vec![]), (CONTROL_POINT, FEATURES.to_vec()), (DATA, vec![])];
    GattBench::new(driver, device)
}

fn streaming() -> GattBench<PolarEcg> {
    let mut bench = strap();
    bench.connect();
    bench.receive(CONTROL_POINT, SETTINGS);
    bench.receive(CONTROL_POINT, STARTED);
    bench
}

fn frame(device_ns: u64, samples: &[i32]) -> Vec<u8> {
    let mut value = vec![0];
    value.extend(device_ns.to_le_bytes());
    value.push(0);
    samples.iter().for_each(|sample| value.extend(&sample.to_le_bytes()[..3]));
    value
}

fn asked(bench: &GattBench<PolarEcg>) -> Vec<&[u8]> {
    let writes = bench.sent.iter().filter_map(|request| match request {
        Request::Write(_, value) => Some(value.as_slice()),
        _ => None,
    });
    writes.collect()
}

#[test]
fn a_strap_is_asked_what_it_can_and_started() {
    let bench = streaming();
    let start = [2, 0, 0, 1, 0x82, 0, 1, 1, 0x0E, 0];
    assert_eq!(asked(&bench), [&[1, 0][..], &start]);
    assert!(bench.notes.is_empty(), "{:?}", bench.notes);
}

#[test]
fn what_was_read_and_is_told_again_ends_nothing() {
    let mut bench = strap();
    bench.connect();
    bench.receive(CONTROL_POINT, FEATURES);
    bench.receive(CONTROL_POINT, SETTINGS);
    bench.receive(CONTROL_POINT, STARTED);
    bench.receive(DATA, &frame(FRAME_NS, &[5; 73]));
    assert_eq!(bench.blocks().len(), 1);
}

#[test]
fn blocks_follow_the_straps_clock_and_not_the_arrival() {
    let mut bench = streaming();
    let samples = [5; 73];
    for (number, late_ms) in [(1, 0), (2, 300), (3, 0)] {
        bench.pass(561 + late_ms);
        bench.receive(DATA, &frame(1_000_000_000 + number * FRAME_NS, &samples));
    }
    let starts: Vec<_> = bench.blocks().iter().map(|block| block.start.at.unix_ms()).collect();
    assert!((560..=562).contains(&(starts[1] - starts[0])), "{starts:?}");
    assert!((560..=562).contains(&(starts[2] - starts[1])), "{starts:?}");
    let scale = bench.blocks()[0].scale.clone().unwrap();
    assert_eq!((scale.per_count.to_string(), scale.unit), ("0.001".to_owned(), Unit::MILLIVOLT));
    assert!(bench.notes.is_empty());
}

#[test]
fn lost_frames_are_a_gap_of_their_length() {
    let mut bench = streaming();
    bench.receive(DATA, &frame(1_000_000_000, &[5; 73]));
    bench.pass(1_122);
    bench.receive(DATA, &frame(1_000_000_000 + 2 * FRAME_NS, &[5; 73]));
    let starts: Vec<_> = bench.blocks().iter().map(|block| block.start.at.unix_ms()).collect();
    assert_eq!(starts[1] - starts[0], 1_121, "{starts:?}");
    assert_eq!(bench.notes[0].kind, "gap");
}

#[test]
fn a_clock_that_goes_back_begins_anew() {
    let mut bench = streaming();
    bench.receive(DATA, &frame(9_000_000_000, &[5; 73]));
    bench.receive(DATA, &frame(1_000_000_000, &[5; 73]));
    bench.receive(DATA, &frame(1_000_000_000 + FRAME_NS, &[5; 73]));
    assert_eq!((bench.blocks().len(), bench.notes[0].kind), (2, "clock"));
}

#[test]
fn what_is_clipped_is_marked_and_after_a_second_no_signal() {
    let mut bench = streaming();
    for number in 1..=3 {
        bench.receive(DATA, &frame(number * FRAME_NS, &[20_001; 73]));
    }
    bench.receive(DATA, &frame(4 * FRAME_NS, &[20_000; 73]));
    let flags: Vec<_> =
        bench.blocks().iter().map(|block| (block.flags.saturation, block.flags.lead_off)).collect();
    assert_eq!(flags, [(true, false), (true, true), (true, true), (false, false)]);
}

#[test]
fn a_stream_that_stands_is_started_again() {
    let mut bench = streaming();
    bench.receive(DATA, &frame(FRAME_NS, &[5; 73]));
    for _ in 0..4 {
        bench.pass(1_000);
        bench.receive(heart_rate::MEASUREMENT, &[0, 70]);
    }
    assert_eq!(asked(&bench).last(), Some(&&[3, 0][..]));
    bench.receive(CONTROL_POINT, &[0xF0, 3, 0, 0]);
    assert_eq!(asked(&bench).last().unwrap().len(), 10);
    assert_eq!(bench.states(), ["strap-01 online"], "its heart rate was there all the time");
}

#[test]
fn the_stream_is_stopped_before_we_go() {
    let mut bench = streaming();
    bench.handle(GattEvent::Leaving);
    assert_eq!(asked(&bench).last(), Some(&&[3, 0][..]));
    let mut refused = strap();
    refused.device[1].1 = vec![0x0F, 4];
    refused.connect();
    refused.handle(GattEvent::Leaving);
    assert!(asked(&refused).is_empty());
    assert_eq!(refused.notes[0].kind, "refused");
}

#[test]
fn a_strap_without_an_ecg_still_tells_its_heart_rate() {
    let mut bench = strap();
    bench.device[1].1 = vec![0x0F, 4];
    bench.connect();
    bench.receive(heart_rate::MEASUREMENT, &[0x16, 60, 0x11, 4]);
    assert_eq!(bench.values(), ["hr 60", "rr_interval 1041"]);
    bench.handle(GattEvent::Disconnected);
    assert_eq!(bench.values()[2..], ["hr silent"]);
}
