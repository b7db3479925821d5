//! The golden vectors of Bluetooth LE: what captures, vendors' tests and the profiles' own text say
//! a value means.
//!
//! One file per driver and subject in `tests/vectors/` of the repository. Each vector names its
//! source; `says` is what the whole driver makes of `bytes`, a line each.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test stops where a vector is wrong")]

mod golden;

use drivers::{
    gatt::{
        Characteristic, GattDriver, GattEvent, GattOutput, Request, Uuid, date_time::current_time,
        polar_ecg, services::ClockOptions,
    },
    registry::{GattName, create_gatt},
};
use golden::{bytes_of, vectors};
use model::{
    id::DeviceId,
    reading::{Comparator, Reading, ReadingGroup, Validity, Value},
    record::Record,
    time::{ClockQuality, MonoTime, Now, Uptime, WallTime},
};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Vector {
    name: String,
    kind: Kind,
    source: String,
    /// Service and characteristic, or a characteristic of the driver's own service.
    from: String,
    /// Hexadecimal, with white space.
    bytes: String,
    says: Vec<String>,
}

#[derive(Clone, Copy, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Capture,
    Public,
    Derived,
}

/// `2A35` in the driver's own service, `180F/2A19`, or a vendor's long form.
fn characteristic(driver: GattName, text: &str) -> Characteristic {
    let short = |text: &str| u16::from_str_radix(text, 16);
    let uuid = |text: &str| short(text).map_or_else(|_| text.parse().unwrap(), Uuid::sig);
    let (service, uuid_text) = match text.split_once('/') {
        Some((service, uuid_text)) => (uuid(service), uuid_text),
        None => (driver.service(), text),
    };
    Characteristic { service, uuid: uuid(uuid_text) }
}

const NOW: Now = Now {
    mono: MonoTime::START,
    uptime: Uptime { boot: 0, ms: 0 },
    wall: WallTime::from_unix_ms(1_795_335_300_000),
    quality: ClockQuality::Synchronised,
};

/// The value as a notification; and if that says nothing, as the answer to a read.
fn says(driver: GattName, vector: &Vector) -> Vec<String> {
    let (from, value) = (characteristic(driver, &vector.from), bytes_of(&vector.bytes));
    let create = || {
        let device = DeviceId::new("x-01").unwrap();
        create_gatt(driver, device, ClockOptions::default(), None)
    };
    let mut told = create();
    if driver == GattName::PolarEcg {
        start_polar(told.as_mut());
    }
    told.handle(NOW, GattEvent::Received(from, &value));
    let lines = drain(told.as_mut());
    if !lines.is_empty() {
        return lines;
    }
    let mut read = create();
    read.handle(NOW, GattEvent::Connected(&[from]));
    drain(read.as_mut());
    read.handle(NOW, GattEvent::Answered(&Request::Read(from), Ok(&value)));
    drain(read.as_mut())
}

/// A strap streams once it was started: answers as captured (protocol sheet, §6).
fn start_polar(strap: &mut dyn GattDriver) {
    let (control, settings) = (polar_ecg::CONTROL_POINT, bytes_of("F0 01 00 00 00 00 01 82 00"));
    let read = Request::Read(control);
    strap.handle(NOW, GattEvent::Answered(&read, Ok(&[0x0F, 5])));
    strap.handle(NOW, GattEvent::Received(control, &settings));
    strap.handle(NOW, GattEvent::Received(control, &bytes_of("F0 02 00 00 00 00")));
    drain(strap);
}

fn drain(driver: &mut dyn GattDriver) -> Vec<String> {
    let mut lines = Vec::new();
    while let Some(output) = driver.poll_output() {
        match output {
            GattOutput::Emit(Record::Readings(group)) => lines.extend(group_lines(&group)),
            GattOutput::Emit(Record::Waveform(block)) => {
                lines.push(format!("{} {:?}", block.metric, block.samples));
            }
            GattOutput::Emit(Record::Status(status)) => {
                lines.push(format!("{} {:?}", status.state.name(), status.about));
            }
            GattOutput::Emit(other) => lines.push(format!("{other:?}")),
            GattOutput::Note(note) => lines.push(format!("{}: {}", note.kind, note.text)),
            GattOutput::Remember(cursor) => lines.push(format!("remembers {:?}", cursor.0)),
            GattOutput::Send(_) => {}
        }
    }
    lines
}

fn group_lines(group: &ReadingGroup) -> Vec<String> {
    let time = group.device_time.map_or("no time".to_owned(), |time| {
        let at = civil(time.civil_ms());
        format!("at {at}")
    });
    let seq = group.device_seq.map_or(String::new(), |seq| format!(", number {seq}"));
    let context: Vec<_> =
        group.context.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let mut lines = vec![format!("{time}{seq} [{}]", context.join(" "))];
    lines.extend(group.readings.iter().map(|reading| {
        let Reading { metric, value, unit, validity } = reading;
        let unit = unit.as_ref().map_or("", |unit| unit.as_str());
        let mark = if *validity == Validity::Questionable { "?" } else { "" };
        match value {
            Ok(Value::Number { number, comparator }) => {
                let sign = Comparator::sign(*comparator).unwrap_or_default();
                format!("{metric} {sign}{number} {unit}{mark}")
            }
            Ok(Value::Text(text)) => format!("{metric} {text:?}{mark}"),
            Err(reason) => format!("{metric} {reason}{mark}"),
        }
    }));
    lines
}

/// Date and time of civil milliseconds.
fn civil(civil_ms: i64) -> String {
    let value = current_time(civil_ms).unwrap();
    let [low, high, month, day, hour, minute, second, ..] = value;
    let year = u16::from_le_bytes([low, high]);
    format!("{year}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}")
}

#[test]
fn every_vector_means_what_its_source_says() {
    for driver in GattName::ALL {
        for vector in vectors::<Vector>(driver.name()) {
            let name = format!("{}: {} ({})", driver.name(), vector.name, vector.source);
            assert_eq!(says(driver, &vector), vector.says, "{name}");
        }
    }
}

/// Only our own vectors are known of these: they stand as unproven in `drivers/README.md`.
const UNPROVEN: [GattName; 3] =
    [GattName::PulseOximeter, GattName::Thermometer, GattName::WeightScale];

#[test]
fn every_proven_driver_has_a_vector_that_is_not_made_by_us() {
    for driver in GattName::ALL {
        let found = vectors::<Vector>(driver.name());
        let theirs = found.iter().any(|vector| vector.kind != Kind::Derived);
        assert_eq!(theirs, !UNPROVEN.contains(&driver), "{}", driver.name());
        assert!(!found.is_empty() && found.iter().all(|vector| !vector.source.is_empty()));
    }
}
