//! Vectors of Bluetooth LE as inputs of the fuzz targets, and the visits of good devices.

use crate::{
    body::gatt::{
        device::places,
        story::{Step, Story},
    },
    seed::{bytes_of, tables, text},
};
use drivers::{gatt::Uuid, registry::GattName};

/// Each vector on its own, before and after the connection; and all of them in a visit.
pub(crate) fn of_driver(name: GattName) -> Vec<(String, Vec<u8>)> {
    let mut seeds = Vec::new();
    let mut add = |seed: String, options: u8, steps: Vec<Step>| {
        let story = Story { options, steps };
        let input = story.input();
        assert_eq!(Story::read(&input), story);
        seeds.push((seed, input));
    };
    let values = values(name);
    for (number, value) in (0..).zip(&values) {
        let early = [value.clone(), Step::Connect(0), Step::AnswerAll, Step::Disconnect];
        add(format!("vector-{number}"), 0, early.to_vec());
    }
    // With a zone, with a clock that is set, and in a box that does not know the time.
    for options in [0, 1, 5, 6, 13] {
        let mut steps = vec![Step::Connect(0), Step::AnswerAll];
        steps.extend(answers(name));
        steps.extend(values.clone());
        steps.extend([Step::Wait, Step::AnswerAll]);
        steps.extend(endings(name));
        let visit = steps.clone();
        steps.extend([Step::Disconnect, Step::Restart, Step::Jump(-60)]);
        steps.extend(visit);
        steps.extend([Step::Leave, Step::AnswerAll, Step::Disconnect]);
        add(format!("visits-{options}"), options, steps);
    }
    let mut refused = vec![Step::Connect(0xFFF0)];
    refused.extend([0, 1, 0x05, 0x80, 0xFE, 0, 1, 2, 3].map(Step::Refuse));
    refused.extend([Step::Wait, Step::Wait, Step::Pass(15_000)]);
    add("refused".to_owned(), 0, refused);
    seeds
}

/// The vectors as notifications.
fn values(name: GattName) -> Vec<Step> {
    let place_of = |from: &str| {
        let uuid = from.split_once('/').map_or(from, |(_, uuid)| uuid);
        let short = u16::from_str_radix(uuid, 16).map(Uuid::sig);
        let uuid = short.unwrap_or_else(|_| uuid.parse().unwrap());
        places(name).into_iter().position(|place| place.uuid == uuid).unwrap()
    };
    let value = |vector: toml::Table| {
        let place = u8::try_from(place_of(text(&vector, "from"))).unwrap();
        Step::Value(place, bytes_of(text(&vector, "bytes")))
    };
    tables(name.name()).into_iter().map(value).collect()
}
/// What a control point says before values come (protocol sheets of the Glucose Service, §5, and of
/// the PMD service, §6), and what is read.
fn answers(name: GattName) -> Vec<Step> {
    let said = |place, bytes: &[u8]| Step::Value(place, bytes.to_vec());
    match name {
        GattName::Glucose => {
            vec![said(2, &[5, 0, 3, 0]), Step::AnswerAll, said(2, &[6, 0, 1, 1])]
        }
        GattName::PolarEcg => vec![
            said(1, &[0xF0, 1, 0, 0, 0, 0, 1, 0x82, 0, 1, 1, 0x0E, 0]),
            Step::AnswerAll,
            said(1, &[0xF0, 2, 0, 0, 0, 0]),
        ],
        // One that still measures.
        GattName::Thermometer => vec![said(1, &[0, 0x70, 1, 0, 0xFF])],
        _ => vec![],
    }
}

/// What a control point says when the values have come.
fn endings(name: GattName) -> Vec<Step> {
    let said = |place, bytes: &[u8]| Step::Value(place, bytes.to_vec());
    match name {
        GattName::Glucose => vec![
            said(2, &[6, 0, 1, 1]),
            Step::Wait,
            Step::AnswerAll,
            said(2, &[5, 0, 9, 0]),
            Step::AnswerAll,
            Step::Value(0, bytes_of("02 15 00 EA 07 0B 16 07 05 00 68 B0 11")),
            Step::Again(20),
            said(2, &[6, 0, 1, 6]),
            Step::Wait,
        ],
        GattName::PolarEcg => vec![Step::Wait, Step::AnswerAll, said(1, &[0xF0, 3, 0, 0])],
        _ => vec![Step::Again(3), Step::Wait],
    }
}

/// Values that several drivers share, one of each kind, and the ends of their ranges.
pub(crate) fn of_values() -> Vec<(String, Vec<u8>)> {
    let inputs = [
        "00 F6 F4",
        "00 FF 07",
        "00 FE 07",
        "00 00 08",
        "00 02 08",
        "00 01 08",
        "00 78 80",
        "00 03 78",
        "01 70 01 00 FF",
        "01 FF FF 7F 00",
        "01 02 00 80 00",
        "01 01 00 00 7F",
        "02 E4 07 01 14 08 2B 00",
        "02 EA 07 0B 16 08 17 00 07 00 01",
        "02 00 00 00 00 00 00 00",
        "03 A8 63 8C A6 A1 01 00 00",
        "03 FF FF FF FF FF FF FF FF",
        "04 00 06 00 01 01",
        "04 02 05 00 03 00",
        "04 03 06 00 03 01",
        "05 0F 05 00",
        "05 F0 01 00 00 00 00 01 82 00 01 01 0E 00",
        "05 F0 02 00 05 00",
        "05 00 00 94 35 77 00 00 00 00 00 02 80 FF 02 80 00",
    ];
    (0..).zip(inputs).map(|(number, hex)| (format!("value-{number}"), bytes_of(hex))).collect()
}
