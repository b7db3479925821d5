//! The golden vectors: what manuals, captures and public programs say the bytes mean.
//!
//! One file per device and subject in `tests/vectors/` of the repository. Each vector names its
//! source; `frames` is what the codec must make of `bytes`, a line each.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test stops where a vector is wrong"
)]

use drivers::{
    registry::DriverName,
    serial::{bcc, pm6750, tm2655, ultraeasy},
};
use serde::Deserialize;
use std::{fs, path::Path};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    vector: Vec<Vector>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Vector {
    name: String,
    /// Who sends these bytes.
    from: Sender,
    kind: Kind,
    source: String,
    /// What the bytes ask or answer, where a codec must know it.
    request: Option<String>,
    /// Hexadecimal, with white space.
    bytes: String,
    frames: Vec<String>,
}

#[derive(Clone, Copy, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "lowercase")]
enum Sender {
    Host,
    Device,
}

#[derive(Clone, Copy, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Manual,
    Capture,
    Public,
    Derived,
}

/// Decodes the chunks, one after the other, to lines.
type Decode = fn(&Vector, &[&[u8]]) -> Vec<String>;

fn vectors(driver: DriverName) -> Vec<Vector> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/vectors").join(driver.name());
    let mut vectors = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let file: File = toml::from_str(&fs::read_to_string(&path).unwrap())
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        vectors.extend(file.vector);
    }
    vectors
}

fn decoder_of(driver: DriverName) -> Decode {
    match driver {
        DriverName::Pm6750 => pm6750_lines,
        DriverName::Bcc => bcc_lines,
        DriverName::Tm2655 => tm2655_lines,
        DriverName::Ultraeasy => ultraeasy_lines,
    }
}

fn bytes_of(hex: &str) -> Vec<u8> {
    hex.split_whitespace().map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect()
}

#[test]
fn every_vector_means_what_its_source_says_however_it_is_cut() {
    for driver in DriverName::ALL {
        let decode = decoder_of(driver);
        for vector in vectors(driver) {
            let bytes = bytes_of(&vector.bytes);
            let name = format!("{}: {} ({})", driver.name(), vector.name, vector.source);
            assert_eq!(decode(&vector, &[&bytes]), vector.frames, "{name}");
            let single: Vec<_> = bytes.chunks(1).collect();
            assert_eq!(decode(&vector, &single), vector.frames, "{name}, byte by byte");
        }
    }
}

#[test]
fn every_device_has_a_vector_that_is_not_made_by_us() {
    for driver in DriverName::ALL {
        let found = vectors(driver);
        // What a device says counts: what we ask proves nothing about its answers.
        let theirs =
            |vector: &Vector| vector.kind != Kind::Derived && vector.from == Sender::Device;
        assert!(found.iter().any(theirs), "{}", driver.name());
        assert!(found.iter().all(|vector| !vector.source.is_empty()));
    }
}

fn pm6750_lines(vector: &Vector, chunks: &[&[u8]]) -> Vec<String> {
    if vector.from == Sender::Host {
        // Commands share the framing but not the meaning of packets.
        let bytes = chunks.concat();
        assert_eq!(pm6750::codec::command(bytes[3], bytes[4]), bytes, "{}", vector.name);
        return vec![format!("Command({:#04x}, {:#04x})", bytes[3], bytes[4])];
    }
    let mut decoder = pm6750::codec::Decoder::default();
    let found = chunks.iter().flat_map(|chunk| decoder.decode(chunk).collect::<Vec<_>>());
    found.map(|frame| format!("{:?}", frame.unwrap())).collect()
}

fn ultraeasy_lines(vector: &Vector, chunks: &[&[u8]]) -> Vec<String> {
    use ultraeasy::codec::{Decoder, Frame, Reply, Request, command, disconnect};
    let mut decoder = Decoder::default();
    let found = chunks.iter().flat_map(|chunk| decoder.decode(chunk).collect::<Vec<_>>());
    let request = vector.request.as_deref().and_then(|name| match name {
        "version" => Some(Request::Version),
        "serial" => Some(Request::Serial),
        "unit" => Some(Request::Unit),
        "clock" => Some(Request::Clock),
        "count" => Some(Request::Count),
        "reset" => None,
        record => Some(Request::Record(record.strip_prefix("record ").unwrap().parse().unwrap())),
    });
    let line = |frame| match frame {
        Frame::Data { sequence, expects, message } => {
            let head = format!("Data {{ sequence: {sequence}, expects: {expects} }}");
            match (vector.from, request) {
                (Sender::Device, Some(request)) => {
                    format!("{head} {:?}", Reply::decode(request, &message).unwrap())
                }
                (Sender::Host, Some(request)) => {
                    assert_eq!(command(sequence, expects, request), chunks.concat());
                    format!("{head} {}", hex(&message))
                }
                (_, None) => format!("{head} {}", hex(&message)),
            }
        }
        Frame::Disconnect { ack: false } => {
            assert_eq!(disconnect(), chunks.concat());
            format!("{frame:?}")
        }
        frame => format!("{frame:?}"),
    };
    found.map(|frame| line(frame.unwrap())).collect()
}

fn tm2655_lines(_: &Vector, chunks: &[&[u8]]) -> Vec<String> {
    use tm2655::codec::{Decoder, Frame, Measurement, RecordError, ask_for_last};
    let mut decoder = Decoder::default();
    let found = chunks.iter().flat_map(|chunk| decoder.decode(chunk).collect::<Vec<_>>());
    let line = |frame| match frame {
        Frame::Text(fields) => match Measurement::from_fields(&fields) {
            Ok(measurement) => format!("{measurement:?}"),
            Err(RecordError::Other(text)) => {
                assert!(text != "RB" || ask_for_last() == chunks.concat());
                format!("Other: {text}")
            }
            Err(RecordError::Form(count)) => format!("Form: {count}"),
            Err(RecordError::Field(field)) => format!("Field: {field}"),
        },
        frame => format!("{frame:?}"),
    };
    found.map(|frame| line(frame.unwrap())).collect()
}

fn bcc_lines(vector: &Vector, chunks: &[&[u8]]) -> Vec<String> {
    use bcc::codec::{Decoder, Request, Slot, entries, request};
    let mut decoder = Decoder::default();
    let found = chunks.iter().flat_map(|chunk| decoder.decode(chunk).collect::<Vec<_>>());
    let mut lines = Vec::new();
    for frame in found.map(Result::unwrap) {
        let stuffed = frame.stuffed.map_or("not shown".to_owned(), |stuffed| stuffed.to_string());
        lines.push(format!("bed {}, more {}, stuffed {stuffed}", frame.bed_id, frame.more));
        if vector.from == Sender::Host {
            let asked = match vector.request.as_deref() {
                Some("alive") => Some(Request::Alive),
                Some("version") => Some(Request::Version),
                Some("get") => Some(Request::Get),
                name => {
                    let slot = name.and_then(|name| name.strip_prefix("slot "));
                    slot.and_then(Slot::from_name).map(Request::Slot)
                }
            };
            let sent = request(&frame.bed_id, asked.unwrap(), frame.stuffed == Some(true));
            assert_eq!(sent, chunks.concat(), "{}", vector.name);
            lines.push(frame.information);
        } else {
            lines.extend(entries(&frame.information).map(|entry| {
                let entry = entry.unwrap();
                let place = entry.slot.map_or("all".to_owned(), |slot| slot.to_string());
                format!("{} {place} {}={}", entry.time, entry.parameter, entry.value)
            }));
        }
    }
    lines
}

fn hex(bytes: &[u8]) -> String {
    let bytes: Vec<_> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    bytes.join(" ")
}
