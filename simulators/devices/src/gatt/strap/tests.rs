//! Values of the sheets, and a stream.

use super::*;
use crate::{
    gatt::{GattOutput, create, tests::setup},
    vectors::frames,
};

const NOW: SimTime = SimTime(10 * SECOND_US);

#[test]
fn the_heart_rates_of_the_sheet_come_out() {
    let sent = [
        heart_rate(255, None, None, &[]),
        heart_rate(0x8080, None, None, &[]),
        heart_rate(0, Some(true), None, &[]),
        heart_rate(0, Some(false), None, &[]),
        heart_rate(0, None, Some(0x807F), &[]),
        // A test of width only: no sensor sends a rate of 0 in two bytes.
        encode_rate(spec::WIDE | spec::INTERVALS, 0, None, &[65_535, 32_895]),
        heart_rate(60, Some(true), None, &[]),
        heart_rate(60, Some(true), None, &[1041]),
        heart_rate(60, Some(true), None, &[1013]),
        heart_rate(72, None, None, &[]),
        heart_rate(75, Some(true), None, &[819, 834]),
        heart_rate(300, None, Some(120), &[512]),
    ];
    let vectors = include_str!("../../../../../tests/vectors/heart-rate/values.toml");
    assert_eq!(frames(vectors, None), sent);
}

#[test]
fn the_frames_of_the_sheet_come_out() {
    let vectors = include_str!("../../../../../tests/vectors/polar-ecg/values.toml");
    let expected = frames(vectors, None);
    let captured: Vec<i32> = expected[0][10..]
        .chunks(3)
        .map(|sample| i32::from_le_bytes([0, sample[0], sample[1], sample[2]]) >> 8)
        .collect();
    assert_eq!((captured.len(), captured[17]), (73, 2233));
    assert_eq!(frame(599_622_173_760_485_265, &captured), expected[0]);
    assert_eq!(frame(2_000_000_000, &[-32_766, 32_770]), expected[1]);
    assert_eq!(frame(848_620_800_000_000_000, &[-12, 0, 35, 410, -220, 15]), expected[2]);
    assert_eq!(heart_rate(60, Some(true), None, &[1041]), expected[3]);
}

#[test]
fn the_stream_needs_settings_and_an_mtu_and_is_started_once() {
    let mut strap = create("ble-strap", setup(0)).unwrap();
    let mut ask = |mtu: u16, request: &[u8]| {
        if strap.is_advertising(NOW) {
            strap.connected(NOW, mtu);
        }
        strap.subscribe(NOW, spec::CONTROL, true).unwrap();
        strap.write(NOW, spec::CONTROL, request).unwrap();
        let said = strap.poll_output(NOW);
        strap.confirmed(NOW);
        if mtu < spec::MTU {
            strap.disconnected(NOW);
        }
        let Some(GattOutput::Indicate(_, value)) = said else { panic!("{said:?}") };
        value
    };
    assert_eq!(ask(100, &[1, 0]), [0xF0, 1, 0, 10]);
    assert_eq!(ask(517, &[1, 0]), [0xF0, 1, 0, 0, 0, 0, 1, 0x82, 0, 1, 1, 0x0E, 0]);
    assert_eq!(ask(517, &[2, 0]), [0xF0, 2, 0, 5, 0]);
    assert_eq!(ask(517, &[3, 0]), [0xF0, 3, 0, 6, 0]);
    let start = [2, 0, 0, 1, 0x82, 0, 1, 1, 0x0E, 0];
    assert_eq!(ask(517, &start), [0xF0, 2, 0, 0, 0, 0]);
    assert_eq!(ask(517, &start), [0xF0, 2, 0, 6, 0]);
    assert_eq!(ask(517, &[2, 1]), [0xF0, 2, 1, 3]);
    assert_eq!(ask(517, &[3, 0]), [0xF0, 3, 0, 0]);
}

#[test]
fn a_frame_is_a_block_of_the_truth_and_frames_come_evenly() {
    let mut strap = create("ble-strap", setup(0)).unwrap();
    strap.connected(NOW, 517);
    for uuid in [spec::CONTROL, spec::DATA, spec::MEASUREMENT] {
        strap.subscribe(NOW, uuid, true).unwrap();
    }
    strap.write(NOW, spec::CONTROL, &[2, 0, 0, 1, 0x82, 0, 1, 1, 0x0E, 0]).unwrap();
    let (mut frames, mut rates) = (Vec::new(), 0);
    let mut now = NOW;
    while now < NOW.plus_millis(10_000) {
        now = strap.next_due().unwrap().max(now);
        strap.advance(now);
        while let Some(said) = strap.poll_output(now) {
            match said {
                GattOutput::Notify(spec::DATA, value) => frames.push(value),
                GattOutput::Notify(_, _) => rates += 1,
                GattOutput::Indicate(_, _) => strap.confirmed(now),
                GattOutput::Disconnect => panic!("it is worn"),
            }
        }
    }
    assert_eq!(frames.len(), 17, "130 Hz and 73 samples a frame");
    assert!(frames.iter().all(|frame| frame.len() == 229));
    assert!((10..=11).contains(&rates), "{rates}");
    let times: Vec<u64> =
        frames.iter().map(|frame| u64::from_le_bytes(frame[1..9].try_into().unwrap())).collect();
    let steps = times.windows(2).map(|pair| (pair[1] - pair[0]) / 1_000_000);
    assert!(steps.clone().all(|step_ms| step_ms == 561), "{steps:?}");
    let truth = strap.take_truth();
    let blocks: Vec<_> = truth.iter().filter(|fact| fact.sha256.is_some()).collect();
    assert_eq!(blocks.len(), frames.len());
    assert!(blocks.iter().all(|block| block.samples == Some(73)));
    let beats = truth.iter().filter(|fact| fact.metric == Some("rr_interval")).count();
    assert!((10..=14).contains(&beats), "{beats}");
}
