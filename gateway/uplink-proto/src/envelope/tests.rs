//! Envelopes come back as they were, match their schema, and hostile bytes are errors.

use super::*;
use model::{
    alarm::{AlarmKind, AlarmPhase, DeviceAlarm, Priority},
    decimal::Decimal,
    device::{DeviceAction, DeviceKind, DeviceState, DeviceStatus},
    id::{Channel, DeviceId},
    metric::Metric,
    reading::{Comparator, NoData, Occurrence, Reading, ReadingGroup},
    record::{AgentStarted, ClockChange, DropCause, DropRecord},
    time::{ClockQuality, DeviceTime, Observed},
    units::Unit,
    waveform::{SamplePeriod, Scale, WaveformBlock, WaveformFlags},
};
use proptest::{collection::vec, option, prelude::*, sample::select};

mod alert;

const SCHEMA: &str = include_str!("../../schema/uplink-v1.cddl");
/// The example of the package's README.
const GOLDEN_CUFF: &str = include_str!("../../golden/v1/cuff.hex");
const GOLDEN_WAVE: &str = include_str!("../../golden/v1/wave.hex");

fn device() -> impl Strategy<Value = DeviceId> {
    select(vec!["bp-01", "ecg_2", "station-1-40864"]).prop_map(|name| DeviceId::new(name).unwrap())
}

fn channel() -> impl Strategy<Value = Channel> {
    select(vec!["", "t1", "t2"]).prop_map(|name| Channel::new(name).unwrap())
}

fn observed() -> impl Strategy<Value = Observed> {
    (0i64..4_000_000_000_000, select(ClockQuality::ALL.to_vec()))
        .prop_map(|(ms, quality)| Observed { at: WallTime::from_unix_ms(ms), quality })
}

fn device_time() -> impl Strategy<Value = Option<DeviceTime>> {
    option::of((0i64..4_000_000_000_000, option::of(-50_000i32..50_000)).prop_map(
        |(civil_ms, offset)| {
            offset.map_or(DeviceTime::Local { civil_ms }, |offset_s| DeviceTime::Zoned {
                civil_ms,
                offset_s,
            })
        },
    ))
}

fn reading() -> impl Strategy<Value = Reading> {
    let number = (-999_999i64..999_999, -4i8..=4)
        .prop_map(|(mantissa, exponent)| Decimal::new(mantissa, exponent).unwrap());
    let unit = select(vec![Unit::MG_PER_DL, Unit::MMOL_PER_L, Unit::PER_MINUTE, Unit::MM_HG]);
    let metric =
        select(Metric::all().filter(|metric| metric.row().alias_of.is_none()).collect::<Vec<_>>());
    let comparator = select(vec![Comparator::Equal, Comparator::Below, Comparator::Above]);
    let reason = select(vec![
        NoData::LeadOff,
        NoData::Silent,
        NoData::DeviceError("E43".into()),
        NoData::Rejected("700".into()),
    ]);
    prop_oneof![
        (metric.clone(), number, comparator, unit).prop_map(
            |(metric, number, comparator, unit)| Reading::new(metric, number, comparator, unit)
        ),
        (metric.clone(), "\\PC{0,40}").prop_map(|(metric, text)| Reading::text(metric, &text)),
        (metric, reason).prop_map(|(metric, reason)| Reading::no_data(metric, reason)),
    ]
}

fn group() -> impl Strategy<Value = Record> {
    (
        device(),
        channel(),
        observed(),
        device_time(),
        option::of(any::<u64>()),
        vec(reading(), 1..9),
        any::<bool>(),
    )
        .prop_map(|(device, channel, observed, time, device_seq, readings, spot)| {
            let mut group = ReadingGroup::new(device, observed, readings)
                .on_channel(channel)
                .at_device_time(time)
                .with_context("meal", "meal_fast");
            group.device_seq = device_seq;
            if spot {
                group = group.as_group(Metric::NIBP);
                group.occurrence = Occurrence::Spot;
            }
            Record::Readings(group)
        })
}

fn block() -> impl Strategy<Value = Record> {
    let scale =
        option::of((1i64..1000, -9i8..0, -200i32..200).prop_map(|(mantissa, exponent, offset)| {
            Scale {
                per_count: Decimal::new(mantissa, exponent).unwrap(),
                offset,
                unit: Unit::MILLIVOLT,
            }
        }));
    (device(), channel(), observed(), scale, vec(any::<i32>(), 1..300), any::<[bool; 3]>())
        .prop_map(|(device, channel, start, scale, samples, [lead_off, saturation, pacer])| {
            Record::Waveform(WaveformBlock {
                device,
                channel,
                metric: Metric::ECG_WAVE_II,
                start,
                period: SamplePeriod::per_second(250),
                scale,
                samples,
                flags: WaveformFlags { lead_off, saturation, pacer },
            })
        })
}

fn alarm() -> impl Strategy<Value = Record> {
    let kind = select(AlarmKind::ALL.to_vec());
    let phase = select(AlarmPhase::ALL.to_vec());
    let priority = option::of(select(Priority::ALL.to_vec()));
    let source = option::of(select(vec![Metric::HR, Metric::SPO2]));
    let more = (device_time(), observed(), any::<bool>());
    (device(), channel(), phase, kind, "\\PC{0,20}", priority, source, more).prop_map(
        |(
            device,
            channel,
            phase,
            kind,
            text,
            priority,
            source,
            (device_time, observed, latched),
        )| {
            let code = "INA3".to_owned();
            Record::Alarm(DeviceAlarm {
                device,
                channel,
                phase,
                kind,
                code,
                text,
                priority,
                latched,
                source,
                device_time,
                observed,
            })
        },
    )
}

fn other() -> impl Strategy<Value = Record> {
    let interval = option::of(1..=3_600_000_u32);
    let status = (device(), select(DeviceState::ALL.to_vec()), interval, observed()).prop_map(
        |(device, state, expected_interval_ms, observed)| {
            Record::Status(DeviceStatus {
                device,
                kind: DeviceKind::Pump,
                driver: "bcc".into(),
                state,
                reason: "no frame for 3 s".into(),
                about: [("serial".to_owned(), "40864".to_owned())].into(),
                expected_interval_ms,
                observed,
            })
        },
    );
    let started = observed()
        .prop_map(|observed| Record::Started(AgentStarted { version: "0.1.0".into(), observed }));
    let outbox = option::of(any::<[u8; 16]>().prop_map(OutboxId::from_bytes));
    let dropped = (outbox, select(Lane::ALL.to_vec()), 1u64..99, 0u64..99, observed()).prop_map(
        |(outbox, lane, first, more, observed)| {
            Record::Dropped(DropRecord {
                outbox,
                lane,
                first: Seq::new(first).unwrap(),
                last: Seq::new(first + more).unwrap(),
                from: WallTime::from_unix_ms(1),
                until: observed.at,
                cause: DropCause::OutboxFull,
                observed,
            })
        },
    );
    let action = (device(), "\\PC{0,20}", observed()).prop_map(|(device, text, observed)| {
        Record::Action(DeviceAction { device, action: "clock_set".into(), text, observed })
    });
    let clock = (0i64..4_000_000_000_000, "\\PC{0,20}", observed()).prop_map(
        |(before, evidence, observed)| {
            let before = WallTime::from_unix_ms(before);
            Record::Clock(ClockChange { before, evidence, observed })
        },
    );
    prop_oneof![status, started, dropped, action, clock]
}

fn envelope() -> impl Strategy<Value = Envelope> {
    let record = prop_oneof![group(), block(), alarm(), alert::edge_alert(), other()];
    (
        any::<[u8; 16]>(),
        select(Lane::ALL.to_vec()),
        1u64..u64::MAX / 2,
        0i64..4_000_000_000_000,
        option::of((any::<u32>(), any::<u64>())),
        vec(record, 0..6),
    )
        .prop_map(|(outbox, lane, seq, opened, uptime, records)| Envelope {
            outbox: OutboxId::from_bytes(outbox),
            lane,
            seq: Seq::new(seq).unwrap(),
            opened_at: WallTime::from_unix_ms(opened),
            uptime: uptime.map(|(boot, ms)| Uptime { boot, ms }),
            records,
        })
}

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

/// A cuff result: 2026-11-22 08:15 local, 138/86, mean 103, pulse 72.
fn cuff() -> Envelope {
    let observed = Observed {
        at: WallTime::from_unix_ms(1_795_306_500_250),
        quality: ClockQuality::Synchronised,
    };
    let readings = vec![
        Reading::number(Metric::NIBP_SYS, 138, Unit::MM_HG),
        Reading::number(Metric::NIBP_MEAN, 103, Unit::MM_HG),
        Reading::number(Metric::NIBP_DIA, 86, Unit::MM_HG),
        Reading::number(Metric::PULSE_NIBP, 72, Unit::PER_MINUTE),
    ];
    let local = DeviceTime::Local { civil_ms: 1_795_335_300_000 };
    let group = ReadingGroup::new(DeviceId::new("bp-01").unwrap(), observed, readings)
        .as_group(Metric::NIBP)
        .at_device_time(Some(local.in_zone(28_800)));
    Envelope {
        outbox: OutboxId::from_bytes(*b"0123456789abcdef"),
        lane: Lane::Urgent,
        seq: Seq::new(7).unwrap(),
        opened_at: WallTime::from_unix_ms(1_795_306_500_250),
        uptime: Some(Uptime { boot: 0x5eed_c10c, ms: 345_600_250 }),
        records: vec![Record::Readings(group)],
    }
}

#[test]
fn the_example_of_the_readme_is_what_is_sent() {
    let bytes = cuff().encode();
    let shown: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex(GOLDEN_CUFF), bytes, "{shown}");
    assert_eq!(Envelope::decode(&bytes).unwrap().envelope, cuff());
}

/// A quarter of a second each of two leads, and the next one of the first.
fn waves() -> Envelope {
    let block = |metric, ms, samples: &[i32]| {
        Record::Waveform(WaveformBlock {
            device: DeviceId::new("bed-1").unwrap(),
            channel: Channel::default(),
            metric,
            start: Observed {
                at: WallTime::from_unix_ms(cuff().opened_at.unix_ms() + ms),
                quality: ClockQuality::Synchronised,
            },
            period: SamplePeriod::per_second(20),
            scale: Some(Scale {
                per_count: Decimal::new(500, -5).unwrap(),
                offset: 128,
                unit: Unit::MILLIVOLT,
            }),
            samples: samples.to_vec(),
            flags: WaveformFlags::default(),
        })
    };
    let records = vec![
        block(Metric::ECG_WAVE_II, -250, &[128, 128, 127, 128, 128]),
        block(Metric::ECG_WAVE_V, -250, &[128, 128, 127, 128, 128]),
        block(Metric::ECG_WAVE_II, 0, &[128, 128, 127, 128, 128]),
    ];
    Envelope { lane: Lane::Wave, uptime: None, records, ..cuff() }
}

#[test]
fn the_waves_of_the_readme_are_what_is_sent() {
    let bytes = waves().encode();
    let shown: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex(GOLDEN_WAVE), bytes, "{shown}");
    assert_eq!(Envelope::decode(&bytes).unwrap().envelope, waves());
}

#[test]
fn a_stream_is_told_anew_when_anything_of_it_is_another() {
    let mut envelope = waves();
    let change: [&dyn Fn(&mut WaveformBlock); 5] = [
        &|block| block.channel = Channel::new("t1").unwrap(),
        &|block| block.period = SamplePeriod::per_second(10),
        &|block| block.start.quality = ClockQuality::Unknown,
        // The same number, and other digits.
        &|block| block.scale.as_mut().unwrap().per_count = Decimal::new(5, -3).unwrap(),
        &|block| block.scale = None,
    ];
    for change in change {
        let Record::Waveform(mut block) = waves().records[0].clone() else { unreachable!() };
        change(&mut block);
        envelope.records.push(Record::Waveform(block));
    }
    let bytes = envelope.encode();
    let decoded = Envelope::decode(&bytes).unwrap();
    assert_eq!(format!("{:?}", decoded.envelope), format!("{envelope:?}"));
}

#[test]
fn blocks_of_a_stream_that_is_not_understood_are_skipped_and_others_are_not() {
    for (place, future) in [(3, number(99)), (10, number(3))] {
        let mut map = wire::from_bytes(&waves().encode(), ENVELOPE_LEN_MAX).unwrap();
        let (_, records) = map.as_map_mut().unwrap().last_mut().unwrap();
        records.as_array_mut().unwrap()[0].as_array_mut().unwrap()[place] = future;
        let decoded = Envelope::decode(&wire::to_bytes(&map)).unwrap();
        assert_eq!(
            (decoded.envelope.records, decoded.skipped),
            (waves().records[1..2].to_vec(), 2)
        );
    }
}

#[test]
fn bytes_after_the_envelope_are_an_error() {
    let mut bytes = cuff().encode();
    bytes.push(0);
    assert_eq!(Envelope::decode(&bytes), Err(DecodeError::NotCbor));
}

#[test]
fn an_oversize_envelope_is_an_error_before_it_is_read() {
    let bytes = vec![0; ENVELOPE_LEN_MAX + 1];
    assert!(matches!(Envelope::decode(&bytes), Err(DecodeError::TooLong { .. })));
}

#[test]
fn a_reading_whose_reason_is_of_the_future_is_counted() {
    let mut envelope = cuff();
    let Record::Readings(group) = &mut envelope.records[0] else { panic!() };
    group.readings[1].value = Err(NoData::SensorOff);
    let bytes = envelope.encode();
    let name = NoData::SensorOff.to_string();
    let at = bytes.windows(name.len()).position(|part| part == name.as_bytes()).unwrap();
    let mut later = bytes;
    later[at] = b'x';
    let decoded = Envelope::decode(&later).unwrap();
    let Record::Readings(group) = &decoded.envelope.records[0] else { panic!() };
    assert_eq!((group.readings.len(), decoded.skipped), (3, 1));
}

#[test]
fn kinds_and_metrics_of_the_future_are_skipped_and_counted() {
    let mut map = wire::from_bytes(&cuff().encode(), ENVELOPE_LEN_MAX).unwrap();
    for (key, value) in map.as_map_mut().unwrap() {
        match key.as_text().unwrap() {
            "m" => value.as_array_mut().unwrap()[2] = text("nibp_of_the_future"),
            "r" => value.as_array_mut().unwrap().push(Value::Array(vec![number(99), text("new")])),
            _ => {}
        }
    }
    let decoded = Envelope::decode(&wire::to_bytes(&map)).unwrap();
    // The metric, the reading of it, and the record.
    assert_eq!(decoded.skipped, 3);
    let Record::Readings(group) = &decoded.envelope.records[0] else { panic!() };
    assert_eq!(group.readings.len(), 3);
}

#[test]
fn an_alarm_that_nobody_latched_is_the_record_that_it_was_before() {
    let said = |latched| {
        let alarm = DeviceAlarm {
            device: DeviceId::new("mon-01").unwrap(),
            channel: Channel::default(),
            phase: AlarmPhase::End,
            kind: AlarmKind::PvcRun,
            code: "p:4182:0c8c:0001".into(),
            text: "*PVC RUN".into(),
            priority: Some(Priority::Medium),
            latched,
            source: Some(Metric::HR),
            device_time: None,
            observed: Observed {
                at: WallTime::from_unix_ms(1_795_306_500_250),
                quality: ClockQuality::Synchronised,
            },
        };
        Envelope { records: vec![Record::Alarm(alarm)], ..cuff() }
    };
    let mut map = wire::from_bytes(&said(true).encode(), ENVELOPE_LEN_MAX).unwrap();
    let entries = map.as_map_mut().unwrap();
    let records = entries.iter_mut().find(|(key, _)| key.as_text() == Some("r")).unwrap();
    let alarm = records.1.as_array_mut().unwrap()[0].as_array_mut().unwrap();
    assert_eq!(alarm.pop(), Some(Value::Bool(true)));
    assert_eq!(alarm.len(), 12);
    assert_eq!(wire::to_bytes(&map), said(false).encode());
    for latched in [false, true] {
        assert_eq!(Envelope::decode(&said(latched).encode()).unwrap().envelope, said(latched));
    }
}

#[test]
fn a_moved_envelope_keeps_what_it_does_not_understand() {
    let (was, now) = (cuff().outbox, OutboxId::from_bytes([9; 16]));
    let observed = Observed { at: WallTime::from_unix_ms(1), quality: ClockQuality::Unknown };
    let drop_of = |outbox| {
        Record::Dropped(DropRecord {
            outbox,
            lane: Lane::Trend,
            first: Seq::FIRST,
            last: Seq::new(5000).unwrap(),
            from: WallTime::from_unix_ms(1),
            until: WallTime::from_unix_ms(2),
            cause: DropCause::OutboxFull,
            observed,
        })
    };
    let earlier = OutboxId::from_bytes([5; 16]);
    let mut envelope = cuff();
    envelope.records.extend([drop_of(None), drop_of(Some(earlier))]);
    let mut map = wire::from_bytes(&envelope.encode(), ENVELOPE_LEN_MAX).unwrap();
    let future = (text("x"), number(1));
    map.as_map_mut().unwrap().push(future.clone());
    let records = map.as_map_mut().unwrap().iter_mut().find(|(key, _)| key.as_text() == Some("r"));
    records.unwrap().1.as_array_mut().unwrap().push(Value::Array(vec![number(99), text("new")]));

    let bytes = moved(&wire::to_bytes(&map), &[7; 32], now, Seq::FIRST).unwrap();
    let again = Envelope::decode(&bytes).unwrap();
    let records = vec![cuff().records[0].clone(), drop_of(Some(was)), drop_of(Some(earlier))];
    assert_eq!(again.envelope, Envelope { outbox: now, seq: Seq::FIRST, records, ..cuff() });
    assert_eq!(again.skipped, 1);
    let map = wire::from_bytes(&bytes, ENVELOPE_LEN_MAX).unwrap();
    assert!(map.as_map().unwrap().contains(&future));
    assert!(moved(b"no envelope", &[7; 32], now, Seq::FIRST).is_err());
}

#[test]
fn an_envelope_that_moved_says_as_what_it_was_first_written() {
    let [second, third] = [8, 9].map(|byte| OutboxId::from_bytes([byte; 16]));
    let first = cuff();
    let bytes = moved(&first.encode(), &[7; 32], second, Seq::FIRST).unwrap();
    let decoded = Envelope::decode(&bytes).unwrap();
    let written = Written { outbox: first.outbox, seq: first.seq, hash: [7; 32] };
    assert_eq!(decoded.written, Some(written));
    assert_eq!(decoded.envelope, Envelope { outbox: second, seq: Seq::FIRST, ..first });
    cddl_cat::validate_cbor_bytes("envelope", SCHEMA, &bytes).unwrap();
    let again = moved(&bytes, &[6; 32], third, Seq::FIRST).unwrap();
    assert_eq!(Envelope::decode(&again).unwrap().written, Some(written));
}

#[test]
fn the_schema_refuses_what_the_protocol_refuses() {
    let check = |change: &dyn Fn(&mut Value)| {
        let mut map = wire::from_bytes(&cuff().encode(), ENVELOPE_LEN_MAX).unwrap();
        change(&mut map);
        let bytes = wire::to_bytes(&map);
        let schema = cddl_cat::validate_cbor_bytes("envelope", SCHEMA, &bytes).is_ok();
        (schema, Envelope::decode(&bytes).is_ok())
    };
    let set = |key: &'static str, value: Value| {
        move |map: &mut Value| {
            let entries = map.as_map_mut().unwrap();
            entries.iter_mut().find(|(name, _)| name.as_text() == Some(key)).unwrap().1 =
                value.clone();
        }
    };
    assert_eq!(check(&|_| {}), (true, true));
    for (key, value) in [
        ("v", number(2)),
        ("o", Value::Bytes(vec![0; 15])),
        ("l", number(3)),
        ("s", number(0)),
        ("t", text("now")),
        ("d", number(1)),
        ("r", number(1)),
    ] {
        assert_eq!(check(&set(key, value)), (false, false), "{key}");
    }
}

#[test]
fn an_envelope_that_cannot_be_taken_still_tells_its_number() {
    let long = "x".repeat(ENVELOPE_LEN_MAX);
    let whole = wire::to_bytes(&wire::map([
        ("v", number(9)),
        ("o", Value::Bytes(vec![7; 16])),
        ("l", number(1)),
        ("s", number(5)),
        ("t", number(0)),
        ("x", text(&long)),
    ]));
    let trailing = [&whole[..], &[0]].concat();
    for bytes in [whole, trailing] {
        assert!(Envelope::decode(&bytes).is_err());
        let header = peek(&bytes).unwrap();
        assert_eq!((header.lane, header.seq.get()), (Lane::Trend, 5));
    }
}

proptest! {
    #[test]
    fn envelopes_come_back_exactly_and_match_the_schema(envelope in envelope()) {
        let bytes = envelope.encode();
        prop_assume!(bytes.len() <= ENVELOPE_LEN_MAX);
        let decoded = Envelope::decode(&bytes).unwrap();
        prop_assert_eq!(decoded.skipped, 0);
        prop_assert_eq!(&decoded.envelope, &envelope);
        prop_assert_eq!(decoded.envelope.encode(), bytes.clone());
        prop_assert_eq!(peek(&bytes).unwrap().seq, envelope.seq);
        let schema = cddl_cat::validate_cbor_bytes("envelope", SCHEMA, &bytes);
        prop_assert!(schema.is_ok(), "{:?}", schema);
    }

    #[test]
    fn hostile_bytes_never_panic(bytes in vec(any::<u8>(), 0..400)) {
        prop_assert!(Envelope::decode(&bytes).is_err());
    }

    #[test]
    fn a_damaged_envelope_never_panics(envelope in envelope(), places in vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)) {
        let mut bytes = envelope.encode();
        for (place, byte) in places {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        drop(Envelope::decode(&bytes).map(|decoded| decoded.envelope.encode()));
        drop(peek(&bytes));
    }
}
