//! The manners that devices share.

use super::*;
use crate::{EcgSource, Patient, Scenario, StageClock};
use proptest::prelude::*;
use std::collections::BTreeSet;

/// A device with that seed in a built-in story; 2026-11-22 16:15 in China.
pub(super) fn setup(seed: u64) -> Setup {
    Setup {
        device: "ble-01".into(),
        seed,
        clock: StageClock { wall_start_ms: 1_795_335_300_000, utc_offset_s: 28_800 },
        patient: Patient::new(1, Scenario::built_in("steady").unwrap(), EcgSource::Synthetic),
    }
}

const CUFF: Uuid = Uuid::short(0x2A35);
const BATTERY: Uuid = Uuid::short(0x2A19);
const CLOCK: Uuid = Uuid::short(0x2A2B);
const POLITE: u64 = 0;
const NOW: SimTime = SimTime(1_000_000);

/// Takes and confirms everything; what was indicated, and whether the device ended the link.
fn drain(device: &mut dyn GattDevice, now: SimTime) -> (Vec<Vec<u8>>, bool) {
    let mut values = Vec::new();
    while let Some(said) = device.poll_output(now) {
        match said {
            GattOutput::Indicate(_, value) => {
                assert!(
                    !matches!(device.poll_output(now), Some(GattOutput::Indicate(..))),
                    "one indication at a time"
                );
                device.confirmed(now);
                values.push(value);
            }
            GattOutput::Notify(..) => {}
            GattOutput::Disconnect => return (values, true),
        }
    }
    (values, false)
}

fn connect(device: &mut dyn GattDevice, now: SimTime) {
    device.connected(now, 517);
    device.encrypted(now);
}

#[test]
fn uuids_are_written_as_others_write_them() {
    assert_eq!(Uuid::short(0x1810).to_string(), "00001810-0000-1000-8000-00805f9b34fb");
}

#[test]
fn every_name_is_a_device_with_characteristics_of_its_own() {
    for (name, _) in NAMES {
        let device = create(name, setup(POLITE)).unwrap();
        let profile = device.profile();
        let mut all: Vec<Uuid> = Vec::new();
        for service in &profile.services {
            all.extend(service.characteristics.iter().map(|one| one.uuid));
        }
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!((all.len(), profile.advertised.len()), (count, 1), "{name}");
    }
    assert!(create("ble-toaster", setup(POLITE)).is_none());
}

#[test]
fn a_cuff_deletes_what_was_confirmed_and_nothing_else() {
    let mut cuff = create("ble-cuff", setup(POLITE)).unwrap();
    connect(cuff.as_mut(), NOW);
    cuff.subscribe(NOW, CUFF, true).unwrap();
    let first = cuff.poll_output(NOW);
    assert!(first.is_some() && cuff.poll_output(NOW).is_none());
    cuff.disconnected(NOW);
    assert!(cuff.take_truth().is_empty(), "nobody confirmed it");
    connect(cuff.as_mut(), NOW);
    cuff.subscribe(NOW, CUFF, true).unwrap();
    assert_eq!(cuff.poll_output(NOW), first, "it is sent again");
    cuff.confirmed(NOW);
    let (rest, ended) = drain(cuff.as_mut(), NOW);
    assert_eq!((rest.len(), ended), (2, false));
    let truth = cuff.take_truth();
    assert_eq!(truth.len(), 3 * 4);
    let metrics: Vec<_> = truth.iter().take(4).map(|fact| fact.metric.unwrap()).collect();
    assert_eq!(metrics, ["nibp_sys", "nibp_dia", "nibp_mean", "pulse_nibp"]);
    assert!(truth.iter().all(|fact| fact.device_time.is_some()));
    // It ends the link by itself, and has nothing the next time.
    let later = NOW.plus_millis(1000);
    assert_eq!(drain(cuff.as_mut(), later), (vec![], true));
    connect(cuff.as_mut(), later);
    cuff.subscribe(later, CUFF, true).unwrap();
    assert_eq!(drain(cuff.as_mut(), later), (vec![], false));
}

#[test]
fn a_device_that_remembers_speaks_as_soon_as_the_link_is_encrypted() {
    for remembers in [false, true] {
        let mut cuff = create("ble-cuff", setup(POLITE)).unwrap();
        if remembers {
            cuff.remember_subscriptions();
        }
        connect(cuff.as_mut(), NOW);
        cuff.subscribe(NOW, CUFF, true).unwrap();
        cuff.disconnected(NOW);
        cuff.connected(NOW, 23);
        assert!(cuff.poll_output(NOW).is_none());
        cuff.encrypted(NOW);
        assert_eq!(cuff.poll_output(NOW).is_some(), remembers);
        cuff.subscribe(NOW, CUFF, false).ok();
        cuff.disconnected(NOW);
        connect(cuff.as_mut(), NOW);
        assert!(cuff.poll_output(NOW).is_none(), "it remembers that nobody listens too");
    }
}

#[test]
fn after_a_measurement_a_device_can_be_seen_for_half_a_minute() {
    let mut cuff = create("ble-cuff", setup(POLITE)).unwrap();
    assert!(cuff.is_advertising(NOW));
    connect(cuff.as_mut(), NOW);
    assert!(!cuff.is_advertising(NOW), "it is connected");
    cuff.disconnected(NOW);
    let seen = |cuff: &mut Box<dyn GattDevice>, second: u64| {
        let now = SimTime(second * 1_000_000);
        cuff.advance(now);
        cuff.is_advertising(now)
    };
    // The story measures at 15 s and 240 s.
    let expected = [(20, true), (44, true), (46, false), (239, false), (240, true), (271, false)];
    for (second, expected) in expected {
        assert_eq!(seen(&mut cuff, second), expected, "second {second}");
    }
    cuff.wake(SimTime(300_000_000));
    assert!(seen(&mut cuff, 310), "its key was pressed");
}

#[test]
fn a_device_that_was_never_paired_hands_out_nothing_and_waits_to_be_paired() {
    for name in ["ble-cuff", "ble-meter", "ble-oximeter", "ble-thermometer", "ble-scale"] {
        let mut device = create(name, setup(POLITE)).unwrap();
        let late = SimTime(500_000_000);
        assert!(device.is_advertising(late), "{name}");
        device.connected(late, 23);
        let services = device.profile().services.clone();
        let loud = services
            .iter()
            .flat_map(|service| &service.characteristics)
            .find(|one| one.has(Flag::Indicate) || one.has(Flag::Notify));
        let uuid = loud.unwrap().uuid;
        assert_eq!(device.subscribe(late, uuid, true), Err(AttError::AUTHENTICATION), "{name}");
        assert!(device.poll_output(late).is_none());
        device.encrypted(late);
        assert_eq!(device.subscribe(late, uuid, true), Ok(()), "{name}");
    }
}

#[test]
fn a_clock_is_not_set_and_who_tries_is_written_down() {
    let mut cuff = create("ble-cuff", setup(POLITE)).unwrap();
    connect(cuff.as_mut(), NOW);
    let before = cuff.read(NOW, CLOCK).unwrap();
    cuff.write(NOW, CLOCK, &[0; 10]).unwrap();
    assert_eq!(cuff.read(NOW, CLOCK).unwrap(), before);
    assert_eq!(cuff.take_truth()[0].forbidden.as_deref(), Some("set clock"));
}

#[test]
fn some_devices_have_a_low_battery_and_a_wrong_clock() {
    let read = |seed, uuid| {
        let mut cuff = create("ble-cuff", setup(seed)).unwrap();
        connect(cuff.as_mut(), NOW);
        cuff.read(NOW, uuid).unwrap()
    };
    let levels: Vec<u8> = (0..32).map(|seed| read(seed, BATTERY)[0]).collect();
    assert!(levels.contains(&9) && levels.contains(&84), "{levels:?}");
    assert_eq!(levels[0], 84);
    let right = read(POLITE, CLOCK);
    let wrong = (0..32).filter(|seed| read(*seed, CLOCK) != right).count();
    assert!((4..=16).contains(&wrong), "{wrong}");
}

#[test]
fn spot_devices_measure_again_and_again_whatever_their_seed() {
    let results = [
        ("ble-cuff", 0x2A35),
        ("ble-oximeter", 0x2A5E),
        ("ble-thermometer", 0x2A1C),
        ("ble-scale", 0x2A9D),
    ];
    for (name, result) in results {
        for seed in 0..16 {
            let mut device = create(name, setup(seed)).unwrap();
            let uuid = Uuid::short(result);
            let mut told = 0;
            for minute in 1..=10 {
                let now = SimTime(minute * 60_000_000);
                device.advance(now);
                connect(device.as_mut(), now);
                device.subscribe(now, uuid, true).unwrap();
                let (values, _) = drain(device.as_mut(), now);
                assert!(values.iter().all(|value| value.len() <= 20), "{name} {seed}");
                told += values.len();
                device.disconnected(now);
            }
            let facts = device.take_truth();
            assert!(told >= 3 && facts.len() >= told, "{name} of seed {seed}: {told}");
        }
    }
}

#[test]
fn the_pressure_of_a_cuff_that_works_is_shown_and_is_no_truth() {
    let mut cuff = create("ble-cuff", setup(POLITE)).unwrap();
    connect(cuff.as_mut(), NOW);
    cuff.subscribe(NOW, Uuid::short(0x2A36), true).unwrap();
    // The story measures at 15 s.
    let mut shown = Vec::new();
    for second in 1..=20 {
        let now = SimTime(second * 1_000_000);
        cuff.advance(now);
        while let Some(GattOutput::Notify(_, value)) = cuff.poll_output(now) {
            shown.push(value);
        }
    }
    assert_eq!(shown.last().unwrap(), &[0, 46, 0, 0xFF, 7, 0xFF, 7]);
    assert!((13..=15).contains(&shown.len()), "{shown:?}");
    assert!(cuff.take_truth().is_empty());
}

/// What a host and the air may do.
#[derive(Clone, Copy, Debug)]
enum Step {
    Connect,
    Lose,
    Subscribe(u32),
    Quiet(u32),
    Ask,
    Abort,
    Take,
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let loud = prop::sample::select(vec![0x2A35, 0x2A18, 0x2A34, 0x2A52]);
    prop_oneof![
        3 => Just(Step::Connect),
        1 => Just(Step::Lose),
        4 => loud.clone().prop_map(Step::Subscribe),
        1 => loud.prop_map(Step::Quiet),
        3 => Just(Step::Ask),
        1 => Just(Step::Abort),
        4 => Just(Step::Take),
        4 => (1_u64..20_000).prop_map(Step::Wait),
    ]
}

/// Plays the steps; values of the result characteristic that were handed over, and the truth.
fn play(device: &mut dyn GattDevice, result: Uuid, steps: &[Step]) -> (Vec<Vec<u8>>, Vec<Truth>) {
    let racp = Uuid::short(0x2A52);
    let (mut now, mut handed, mut taken) = (NOW, Vec::new(), true);
    for step in steps {
        // A device refuses what it does not have or does not want.
        match *step {
            Step::Connect => connect(device, now),
            Step::Lose => device.disconnected(now),
            Step::Subscribe(short) => drop(device.subscribe(now, Uuid::short(short), true)),
            Step::Quiet(short) => drop(device.subscribe(now, Uuid::short(short), false)),
            Step::Ask => drop(device.write(now, racp, &[1, 1])),
            Step::Abort => drop(device.write(now, racp, &[3, 0])),
            Step::Take => {
                taken = !taken;
                while let Some(said) = device.poll_output(now) {
                    match said {
                        // Every second time the link is lost before it is confirmed.
                        GattOutput::Indicate(..) if taken => {
                            device.disconnected(now);
                            break;
                        }
                        GattOutput::Indicate(uuid, value) => {
                            device.confirmed(now);
                            handed.extend((uuid == result).then_some(value));
                        }
                        GattOutput::Notify(uuid, value) => {
                            handed.extend((uuid == result).then_some(value));
                        }
                        GattOutput::Disconnect => device.disconnected(now),
                    }
                }
            }
            Step::Wait(ms) => {
                now = now.plus_millis(ms);
                device.advance(now);
            }
        }
    }
    (handed, device.take_truth())
}

proptest! {
    #[test]
    fn a_cuff_hands_over_each_result_once_and_that_is_its_truth(
        seed in 0_u64..32,
        steps in prop::collection::vec(step(), 0..80),
    ) {
        let mut cuff = create("ble-cuff", setup(seed)).unwrap();
        let (handed, truth) = play(cuff.as_mut(), CUFF, &steps);
        prop_assert_eq!(truth.len(), handed.len() * 4);
        let mut once = handed.clone();
        once.sort();
        once.dedup();
        prop_assert_eq!(once.len(), handed.len());
    }

    #[test]
    fn a_record_of_a_meter_is_truth_once_if_it_was_handed_over(
        seed in 0_u64..32,
        steps in prop::collection::vec(step(), 0..80),
    ) {
        let mut meter: Box<dyn GattDevice> = Box::new(meter::with_records(setup(seed), 20));
        let (handed, truth) = play(meter.as_mut(), Uuid::short(0x2A18), &steps);
        let handed: BTreeSet<u64> =
            handed.iter().map(|value| u16::from_le_bytes([value[1], value[2]]).into()).collect();
        let status = Some("glu_dev_status");
        let told: Vec<u64> = truth
            .iter()
            .filter(|fact| fact.metric != status)
            .filter_map(|fact| fact.device_seq)
            .collect();
        let once: BTreeSet<u64> = told.iter().copied().collect();
        prop_assert_eq!(once.len(), told.len());
        prop_assert_eq!(once, handed);
    }
}

#[test]
fn an_oximeter_says_every_second_what_it_measures_while_it_is_connected() {
    let mut oximeter = create("ble-oximeter", setup(POLITE)).unwrap();
    connect(oximeter.as_mut(), NOW);
    oximeter.subscribe(NOW, Uuid::short(0x2A5F), true).unwrap();
    // The probe is off from 200 to 212 s.
    for second in [195, 196, 205] {
        oximeter.advance(SimTime(second * 1_000_000));
    }
    drain(oximeter.as_mut(), SimTime(205_000_000));
    let truth = oximeter.take_truth();
    let spo2 = truth.iter().filter(|fact| fact.metric == Some("spo2"));
    let said: Vec<_> = spo2.map(|fact| (fact.value.as_deref(), fact.no_data)).collect();
    let good = (Some("97"), None);
    assert_eq!(said, [good, good, (None, Some("sensor_off"))]);
    assert!(truth.iter().any(|fact| fact.metric == Some("perf_index")));
}
