//! Values of the sheet, and a host that asks.

use super::*;
use crate::{
    gatt::{GattDevice, GattOutput, tests::setup},
    vectors::frames,
};

const NOW: SimTime = SimTime(1_000_000);

#[test]
fn the_values_of_the_sheet_come_out() {
    let nothing = Measurement {
        base_time: [0xE4, 7, 3, 14, 23, 23, 0],
        offset_min: None,
        mol_per_litre: false,
        concentration: None,
        status: None,
        context_follows: false,
    };
    let kg = |mantissa| Sfloat::new(mantissa, -5);
    let finger = spec::FINGER | 1;
    let sent = [
        Measurement {
            base_time: [0xE4, 7, 5, 14, 12, 49, 29],
            offset_min: Some(334),
            concentration: Some((kg(104), 0xF8)),
            status: Some(0),
            ..nothing.clone()
        }
        .encode(4),
        Measurement {
            offset_min: Some(0),
            concentration: Some((kg(112), finger)),
            ..nothing.clone()
        }
        .encode(0),
        Measurement {
            base_time: [0xE4, 7, 3, 10, 13, 49, 0],
            offset_min: Some(0),
            concentration: Some((kg(13), finger)),
            ..nothing.clone()
        }
        .encode(2),
        Measurement {
            offset_min: Some(0),
            concentration: Some((Sfloat::new(-1, -1), finger)),
            ..nothing.clone()
        }
        .encode(1),
        Measurement {
            base_time: [0xEA, 7, 11, 22, 7, 5, 0],
            concentration: Some((kg(104), finger)),
            ..nothing.clone()
        }
        .encode(21),
        Measurement {
            base_time: [0xEA, 7, 11, 22, 9, 0, 0],
            concentration: Some((Sfloat::PLUS_INFINITY, finger)),
            status: Some(spec::TOO_HIGH),
            ..nothing.clone()
        }
        .encode(23),
        Measurement {
            base_time: [0xEA, 7, 11, 22, 9, 10, 0],
            concentration: Some((kg(130), spec::CONTROL_SOLUTION)),
            ..nothing.clone()
        }
        .encode(24),
        context(22, Some((spec::LUNCH, Sfloat::new(60, -3))), Some(2)),
    ];
    let vectors = include_str!("../../../../../tests/vectors/glucose/values.toml");
    assert_eq!(frames(vectors, None), sent);
    let with_offset = Measurement {
        base_time: [0xEA, 7, 11, 22, 7, 35, 0],
        offset_min: Some(-30),
        mol_per_litre: true,
        concentration: Some((Sfloat::new(58, -4), finger)),
        status: Some(1),
        context_follows: true,
    };
    let sheet = [0x1F, 22, 0, 0xEA, 7, 11, 22, 7, 35, 0, 0xE2, 0xFF, 0x3A, 0xC0, 0x11, 1, 0];
    assert_eq!(with_offset.encode(22), sheet);
}

#[test]
fn a_number_is_sent_as_it_is_shown() {
    let text = |mg, mol| sent(mg, mol).2;
    assert_eq!([text(104, false), text(105, true), text(601, false)], ["104", "5.8", "601"]);
    assert_eq!(sent(0, true), (Sfloat::MINUS_INFINITY, "mg/dL", "20".to_owned()));
    assert_eq!(sent(u16::MAX, false), (Sfloat::PLUS_INFINITY, "mg/dL", "600".to_owned()));
}

/// A host that has done everything a meter asks for.
struct Host {
    meter: Box<dyn GattDevice>,
    now: SimTime,
}

impl Host {
    fn of(seed: u64, records: u64) -> Self {
        let mut meter: Box<dyn GattDevice> = Box::new(with_records(setup(seed), records));
        meter.connected(NOW, 23);
        meter.encrypted(NOW);
        for uuid in [spec::MEASUREMENT, spec::CONTEXT, spec::CONTROL_POINT] {
            meter.subscribe(NOW, uuid, true).unwrap();
        }
        Self { meter, now: NOW }
    }

    /// Records and the answer.
    fn ask(&mut self, request: &[u8]) -> (Vec<u16>, Vec<u8>) {
        self.meter.write(self.now, spec::CONTROL_POINT, request).unwrap();
        let (mut records, mut answer) = (Vec::new(), None);
        loop {
            while let Some(said) = self.meter.poll_output(self.now) {
                match said {
                    GattOutput::Notify(spec::MEASUREMENT, value) => {
                        records.push(u16::from_le_bytes([value[1], value[2]]));
                    }
                    GattOutput::Notify(spec::CONTEXT, value) => {
                        let sequence = u16::from_le_bytes([value[1], value[2]]);
                        assert_eq!(records.last(), Some(&sequence));
                    }
                    GattOutput::Indicate(spec::CONTROL_POINT, value) => {
                        answer = Some(value);
                        self.meter.confirmed(self.now);
                    }
                    other => panic!("{other:?}"),
                }
            }
            if let Some(answer) = answer {
                return (records, answer);
            }
            self.now = self.meter.next_due().unwrap().max(self.now);
            self.meter.advance(self.now);
        }
    }
}

#[test]
fn five_hundred_records_come_once_each_and_are_truth_once() {
    let mut host = Host::of(4, 500);
    assert_eq!(host.ask(&[4, 1]), (vec![], vec![5, 0, 0xF4, 0x01]));
    let (records, answer) = host.ask(&[1, 1]);
    assert_eq!((records, answer), ((1..=500).collect(), vec![6, 0, 1, 1]));
    let truth = host.meter.take_truth();
    let of_patient = truth.iter().filter(|fact| fact.device_seq.is_some()).count();
    assert_eq!(of_patient, 500);
    assert_eq!(host.ask(&[1, 3, 1, 0xF0, 0x01]).0, (496..=500).collect::<Vec<_>>());
    assert_eq!(host.ask(&[1, 3, 1, 0xF5, 0x01]), (vec![], vec![6, 0, 1, 6]));
    assert_eq!(host.ask(&[1, 6]).0, [500]);
    assert!(host.meter.take_truth().is_empty(), "a record read twice is one truth");
}

#[test]
fn deleting_is_refused_and_written_down() {
    let mut host = Host::of(0, 5);
    assert_eq!(host.ask(&[2, 1]), (vec![], vec![6, 0, 2, 2]));
    let truth = host.meter.take_truth();
    assert_eq!(truth[0].forbidden.as_deref(), Some("delete records"));
    assert_eq!(host.ask(&[1, 1]).0.len(), 5);
}

#[test]
fn one_procedure_at_a_time_and_an_abort_ends_it() {
    let mut host = Host::of(0, 50);
    host.meter.write(host.now, spec::CONTROL_POINT, &[1, 1]).unwrap();
    let again = host.meter.write(host.now, spec::CONTROL_POINT, &[4, 1]);
    assert_eq!(again, Err(AttError(0x80)));
    host.now = host.now.plus_millis(100);
    host.meter.advance(host.now);
    let (records, answer) = host.ask(&[3, 0]);
    assert_eq!((records.len(), answer), (6, vec![6, 0, 3, 1]));
}

#[test]
fn nothing_is_handed_out_without_bond_and_subscriptions() {
    let mut meter: Box<dyn GattDevice> = Box::new(with_records(setup(0), 3));
    meter.connected(NOW, 23);
    assert!(meter.subscribe(NOW, spec::MEASUREMENT, true).is_err());
    assert!(meter.write(NOW, spec::CONTROL_POINT, &[1, 1]).is_err());
    meter.encrypted(NOW);
    assert_eq!(meter.write(NOW, spec::CONTROL_POINT, &[1, 1]), Err(AttError(0x81)));
}

#[test]
fn a_link_that_is_lost_leaves_what_was_not_handed_over() {
    let mut host = Host::of(0, 50);
    host.meter.write(host.now, spec::CONTROL_POINT, &[1, 1]).unwrap();
    host.now = host.now.plus_millis(100);
    host.meter.advance(host.now);
    host.meter.poll_output(host.now).unwrap();
    host.meter.disconnected(host.now);
    assert_eq!(host.meter.take_truth().len(), 1);
    host.meter.connected(host.now, 23);
    host.meter.encrypted(host.now);
    for uuid in [spec::MEASUREMENT, spec::CONTEXT, spec::CONTROL_POINT] {
        host.meter.subscribe(host.now, uuid, true).unwrap();
    }
    assert_eq!(host.ask(&[1, 1]).0.len(), 50);
    let readings = host.meter.take_truth().into_iter().filter(|fact| fact.device_seq.is_some());
    assert_eq!(readings.count(), 49);
}
