//! Series come back digit by digit and in order, in few bytes, and hostile bytes are bounded.

use super::*;
use crate::envelope::{Builder, ENVELOPE_LEN_MAX, Envelope, TREND_LEN_MAX};
use model::{
    decimal::Decimal,
    id::{DeviceId, Lane, OutboxId, Seq},
    metric::Metric,
    reading::{Comparator, NoData, Reading, Validity},
    record::Record,
};
use proptest::{collection::vec, option, prelude::*, sample::select};

/// The example of the package's README.
const GOLDEN: &str = include_str!("../../../golden/v1/series.hex");
const SCHEMA: &str = include_str!("../../../schema/uplink-v1.cddl");
const OPENED: WallTime = WallTime::from_unix_ms(1_795_306_500_000);

fn envelope_of(records: Vec<Record>) -> Envelope {
    let outbox = OutboxId::from_bytes(*b"0123456789abcdef");
    let (lane, seq) = (Lane::Trend, Seq::new(7).unwrap());
    Envelope { outbox, lane, seq, opened_at: OPENED, uptime: None, records }
}

fn at(ms: i64) -> Observed {
    let quality = ClockQuality::Synchronised;
    Observed { at: WallTime::from_unix_ms(OPENED.unix_ms().wrapping_add(ms)), quality }
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![select(vec!["", "running", "胰岛素"]).prop_map(str::to_owned), "\\PC{0,30}"]
}

fn value() -> impl Strategy<Value = Result<Value, NoData>> {
    let mantissa = prop_oneof![60i64..80, -999_999_999_999_999..=999_999_999_999_999i64];
    let exponent = prop_oneof![Just(0i8), Just(-1), -9i8..=9];
    let comparator = select(vec![Comparator::Equal, Comparator::Below, Comparator::Above]);
    let number = (mantissa, exponent, comparator).prop_map(|(mantissa, exponent, comparator)| {
        Ok(Value::Number { number: Decimal::new(mantissa, exponent).unwrap(), comparator })
    });
    let reason = (0u64..11, text()).prop_map(|(reason, detail)| {
        let name = said::name_of(reason).unwrap();
        Err(NoData::from_name(name, Some(&detail)).unwrap())
    });
    prop_oneof![4 => number, 1 => text().prop_map(|text| Ok(Value::Text(text))), 1 => reason]
}

/// Any reading at all, also what no driver says.
fn reading() -> impl Strategy<Value = Reading> {
    let metric = select(vec![Metric::HR, Metric::SPO2, Metric::TEMP, Metric::PUMP_STATE]);
    let unit = prop_oneof![
        Just(None),
        select(vec![Unit::PER_MINUTE, Unit::PERCENT, Unit::CELSIUS, Unit::KILOPASCAL])
            .prop_map(Some),
        "[!-~]{1,24}".prop_map(|ucum| Unit::new(&ucum)),
    ];
    let validity = prop_oneof![Just(Validity::Valid), select(Validity::ALL.to_vec())];
    (metric, value(), unit, validity).prop_map(|(metric, value, unit, validity)| Reading {
        metric,
        value,
        unit,
        validity,
    })
}

fn group() -> impl Strategy<Value = Record> {
    let device = select(vec!["bed-1", "bed-2", "station-1-40864"]);
    let ms = prop_oneof![-50i64..300, any::<i64>()];
    let device_time = option::of((any::<i64>(), option::of(-86_400i32..=86_400)));
    let number = option::of(prop_oneof![0u64..5, any::<u64>()]);
    let context = proptest::collection::btree_map(text(), text(), 0..3);
    let compound = option::of(Just(Metric::NIBP));
    let quality = select(ClockQuality::ALL.to_vec());
    let what = (vec(reading(), 1..5), context, compound, any::<prop::sample::Index>());
    (device, select(vec!["", "t1"]), ms, quality, device_time, number, what).prop_map(
        |(device, channel, ms, quality, time, device_seq, (readings, context, group, spot))| {
            Record::Readings(ReadingGroup {
                device: DeviceId::new(device).unwrap(),
                channel: Channel::new(channel).unwrap(),
                group,
                occurrence: if spot.index(9) == 0 { Occurrence::Spot } else { Occurrence::Stream },
                device_time: time.map(|(civil_ms, offset_s)| match offset_s {
                    None => DeviceTime::Local { civil_ms },
                    Some(offset_s) => DeviceTime::Zoned { civil_ms, offset_s },
                }),
                observed: Observed { quality, ..at(ms) },
                device_seq,
                context,
                readings,
            })
        },
    )
}

/// A group again and again, as devices say them, and others in between.
fn groups() -> impl Strategy<Value = Vec<Record>> {
    (vec(group(), 1..4), vec((any::<prop::sample::Index>(), group()), 0..12)).prop_map(
        |(first, then)| {
            let mut groups = first.clone();
            for (place, other) in then {
                let same = &first[place.index(first.len())];
                groups.extend([same.clone(), other, same.clone()]);
            }
            groups
        },
    )
}

/// By digits: 5.0 is not 5.00 here.
fn shown(records: &[Record]) -> String {
    format!("{records:?}")
}

proptest! {
    #[test]
    fn any_groups_come_back_digit_by_digit_and_in_order(records in groups()) {
        let envelope = envelope_of(records);
        let bytes = envelope.encode();
        let decoded = Envelope::decode(&bytes).unwrap();
        prop_assert_eq!(shown(&decoded.envelope.records), shown(&envelope.records));
        prop_assert_eq!(decoded.skipped, 0);
        prop_assert_eq!(decoded.envelope.encode(), bytes.clone());
        let schema = cddl_cat::validate_cbor_bytes("envelope", SCHEMA, &bytes);
        prop_assert!(schema.is_ok(), "{:?}", schema);
    }

    #[test]
    fn a_row_that_is_full_has_what_it_took_and_is_no_longer_than_allowed(
        records in groups(), len_max in 100usize..900,
    ) {
        let mut builder = Builder::new(OPENED, None);
        let taken: Vec<Record> =
            records.iter().take_while(|record| builder.push(record, len_max)).cloned().collect();
        prop_assert!(!taken.is_empty());
        if taken.len() < records.len() {
            prop_assert!(!builder.push(&records[0], usize::MAX), "full for ever");
        }
        let highest = Seq::new(i64::MAX.unsigned_abs() - 1).unwrap();
        let bytes = builder.finish(OutboxId::from_bytes([7; 16]), Lane::Trend, highest);
        prop_assert!(bytes.len() <= builder.len_max());
        prop_assert!(taken.len() == 1 || bytes.len() <= len_max);
        let decoded = Envelope::decode(&bytes).unwrap();
        prop_assert_eq!(shown(&decoded.envelope.records), shown(&taken));
        prop_assert_eq!(decoded.envelope.encode(), bytes);
    }

    #[test]
    fn damaged_series_never_panic_and_unpack_to_a_bounded_size(
        records in groups(), places in vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut names = Names::default();
        let mut series = Series::new(OPENED);
        for record in &records {
            let Record::Readings(group) = record else { unreachable!() };
            series.push(group, &mut names);
        }
        let mut bytes = series.bytes().to_vec();
        for (place, byte) in places {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        check_hostile(&bytes, &names);
    }

    #[test]
    fn hostile_bytes_never_panic_and_unpack_to_a_bounded_size(bytes in vec(any::<u8>(), 0..600)) {
        let mut names = Names::default();
        names.device(&DeviceId::new("bed-1").unwrap());
        check_hostile(&bytes, &names);
    }
}

fn check_hostile(bytes: &[u8], names: &Names) {
    let names = readable(names);
    let mut room = UNPACKED_MAX;
    if let Some((groups, _)) = read(bytes, &names, OPENED, &mut room) {
        let size: usize = groups.iter().map(|group| unpacked(group).unwrap()).sum();
        assert_eq!(size, UNPACKED_MAX - room);
        let readings: usize = groups.iter().map(|group| group.readings.len()).sum();
        assert!(readings <= bytes.len());
    }
}

/// The names as a reader has them.
fn readable(names: &Names) -> Names {
    let list =
        |names: Vec<&str>| ciborium::Value::Array(names.into_iter().map(wire::text).collect());
    let devices = names.devices.iter().map(DeviceId::as_str).collect();
    let metrics = names.metrics.iter().map(|metric| metric.name()).collect();
    let map = wire::map([("d", list(devices)), ("m", list(metrics))]);
    Names::decode(&map).unwrap().0
}

fn monitor(device: &str, ms: i64, values: [i64; 3]) -> Record {
    let [rate, saturation, tenths] = values;
    let tenths = Decimal::new(tenths, -1).unwrap();
    let readings = vec![
        Reading::number(Metric::HR, Decimal::new(rate, 0).unwrap(), Unit::PER_MINUTE),
        Reading::number(Metric::SPO2, Decimal::new(saturation, 0).unwrap(), Unit::PERCENT),
        Reading::number(Metric::TEMP, tenths, Unit::CELSIUS),
    ];
    Record::Readings(ReadingGroup::new(DeviceId::new(device).unwrap(), at(ms), readings))
}

#[test]
fn the_example_of_the_readme_is_what_is_sent() {
    let mut no_finger = monitor("bed-2", 1010, [64, 98, 370]);
    let Record::Readings(group) = &mut no_finger else { unreachable!() };
    group.readings[1] = Reading::no_data(Metric::SPO2, NoData::SensorOff);
    let envelope = envelope_of(vec![
        monitor("bed-1", 0, [72, 97, 365]),
        monitor("bed-2", 10, [64, 98, 370]),
        monitor("bed-1", 1000, [73, 97, 364]),
        no_finger,
    ]);
    let digits: Vec<u8> = GOLDEN.bytes().filter(u8::is_ascii_hexdigit).collect();
    let shown: String = envelope.encode().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(shown, String::from_utf8(digits).unwrap());
}

#[test]
fn a_reading_that_changes_a_little_takes_a_byte() {
    let len = |count: i64| {
        let records = (0..count).map(|n| monitor("bed-1", 4 * n, [70 + n % 5, 97, 365 + n % 3]));
        envelope_of(records.collect()).encode().len()
    };
    // Three values, the shape and the time.
    assert_eq!(len(200) - len(100), 100 * 5);
}

#[test]
fn what_unpacks_to_too_much_is_written_in_the_long_form_and_not_read_in_the_short_one() {
    // In the long form not even a third of them would fit.
    let records: Vec<Record> = (0..4000).map(|n| monitor("bed-1", n, [72, 97, 365])).collect();
    let mut envelope = envelope_of(records);
    let bytes = envelope.encode();
    let decoded = Envelope::decode(&bytes);
    assert!(bytes.len() > ENVELOPE_LEN_MAX && decoded.is_err());
    envelope.records.truncate(2000);
    let bytes = envelope.encode();
    assert_eq!(Envelope::decode(&bytes).unwrap().envelope, envelope);

    let mut names = Names::default();
    let mut series = Series::new(OPENED);
    for record in &envelope.records {
        let Record::Readings(group) = record else { unreachable!() };
        series.push(group, &mut names);
    }
    assert!(read(series.bytes(), &readable(&names), OPENED, &mut UNPACKED_MAX.clone()).is_none());
}

#[test]
fn a_row_of_trend_never_unpacks_to_too_much() {
    let mut builder = Builder::new(OPENED, None);
    let one = |n: i64| {
        let reading = Reading::number(Metric::HR, 72, Unit::PER_MINUTE);
        Record::Readings(ReadingGroup::new(DeviceId::new("b").unwrap(), at(n), vec![reading]))
    };
    let taken = (0..).take_while(|n| builder.push(&one(*n), TREND_LEN_MAX)).count();
    assert!(taken > 800, "{taken}");
    let bytes = builder.finish(OutboxId::from_bytes([7; 16]), Lane::Trend, Seq::FIRST);
    let map = wire::from_bytes(&bytes, ENVELOPE_LEN_MAX).unwrap();
    let records = wire::field(&map, "r").unwrap().as_array().unwrap();
    assert_eq!(records.len(), 1, "all of it is one series");
}

#[test]
fn a_metric_of_the_future_leaves_the_other_readings_in_their_groups() {
    let envelope =
        envelope_of(vec![monitor("bed-1", 0, [72, 97, 365]), monitor("bed-1", 10, [73, 98, 366])]);
    let mut map = wire::from_bytes(&envelope.encode(), ENVELOPE_LEN_MAX).unwrap();
    for (key, value) in map.as_map_mut().unwrap() {
        if key.as_text() == Some("m") {
            value.as_array_mut().unwrap()[1] = wire::text("spo2_of_the_future");
        }
    }
    let decoded = Envelope::decode(&wire::to_bytes(&map)).unwrap();
    let mut expected = envelope.records;
    for record in &mut expected {
        let Record::Readings(group) = record else { unreachable!() };
        group.readings.remove(1);
    }
    // The metric, and the reading of it in each group.
    assert_eq!((decoded.envelope.records, decoded.skipped), (expected, 3));
}
