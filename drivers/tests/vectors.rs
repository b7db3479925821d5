//! The golden vectors: what manuals, captures and public programs say the bytes mean.
//!
//! One file per device and subject in `tests/vectors/` of the repository. Each vector names its
//! source; `frames` is what the codec must make of `bytes`, a line each.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test stops where a vector is wrong")]

mod golden;

use drivers::{
    registry::{DriverName, DriverOptions, create},
    serial::{
        SerialEvent, SerialOutput, asena, bcc, hbp9030, intellivue, pm6750, td42xx, tm2655,
        ultraeasy,
    },
};
use golden::{bytes_of, vectors};
use model::{
    id::DeviceId,
    metric::Metric,
    reading::{Reading, Value},
    record::Record,
    time::{ClockQuality, MonoTime, Now, Uptime, WallTime},
    waveform::WaveformBlock,
};
use serde::Deserialize;

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

fn decoder_of(driver: DriverName) -> Decode {
    match driver {
        DriverName::Pm6750 => pm6750_lines,
        DriverName::Bcc => bcc_lines,
        DriverName::Tm2655 => tm2655_lines,
        DriverName::Ultraeasy => ultraeasy_lines,
        DriverName::Intellivue => intellivue_lines,
        DriverName::Asena => asena_lines,
        DriverName::JsonLines => json_lines_lines,
        DriverName::Hbp9030 => hbp9030_lines,
        DriverName::Td42xx => td42xx_lines,
    }
}

#[test]
fn every_vector_means_what_its_source_says_however_it_is_cut() {
    for driver in DriverName::ALL {
        let decode = decoder_of(driver);
        for vector in vectors::<Vector>(driver.name()) {
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
        let found = vectors::<Vector>(driver.name());
        // What a device says counts: what we ask proves nothing about its answers.
        let theirs =
            |vector: &Vector| vector.kind != Kind::Derived && vector.from == Sender::Device;
        assert!(found.iter().any(theirs), "{}", driver.name());
        assert!(found.iter().all(|vector| !vector.source.is_empty()));
    }
}

fn pm6750_lines(vector: &Vector, chunks: &[&[u8]]) -> Vec<String> {
    use pm6750::codec::{Command, Decoder};
    let mut decoder = Decoder::default();
    let found = chunks.iter().flat_map(|chunk| decoder.decode(chunk).collect::<Vec<_>>());
    let frames: Vec<_> = found.map(|frame| format!("{:?}", frame.unwrap())).collect();
    if vector.from == Sender::Device {
        return frames;
    }
    // Commands share the framing but not the meaning of packets.
    assert_eq!(frames.len(), 1, "{}", vector.name);
    let bytes = chunks.concat();
    let ours = Command::ALL.into_iter().find(|command| command.bytes() == bytes);
    vec![ours.map_or("never sent".to_owned(), |command| format!("{command:?}"))]
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
    found.map(|frame| frame.map_or_else(|error| format!("{error:?}"), line)).collect()
}

fn hbp9030_lines(_: &Vector, chunks: &[&[u8]]) -> Vec<String> {
    let mut decoder = hbp9030::codec::Decoder::default();
    let found = chunks.iter().flat_map(|chunk| decoder.decode(chunk).collect::<Vec<_>>());
    let line = |line| match line {
        Ok(measurement) => format!("{measurement:?}"),
        Err(error) => format!("Error: {error:?}"),
    };
    found.map(line).collect()
}

fn td42xx_lines(vector: &Vector, chunks: &[&[u8]]) -> Vec<String> {
    use td42xx::codec::{Decoder, Direction, Glucose, Pressure, Reply, Request};
    let mut decoder = Decoder::default();
    let found = chunks.iter().flat_map(|chunk| decoder.decode(chunk).collect::<Vec<_>>());
    let (name, cuff) = match vector.request.as_deref() {
        Some(name) => (name.trim_start_matches("cuff "), name.starts_with("cuff ")),
        None => ("", false),
    };
    let place = |prefix| name.strip_prefix(prefix).map(|place: &str| place.parse().unwrap());
    let request = match name {
        "connect" => Some(Request::Connect),
        "model" => Some(Request::Model),
        "clock" => Some(Request::Clock),
        "count" => Some(Request::Count),
        _ => place("time ").map(Request::Time).or(place("value ").map(Request::Value)),
    };
    let line = |frame: Result<td42xx::codec::Frame, _>| {
        let frame = frame.unwrap();
        let way = if vector.from == Sender::Host { Direction::ToMeter } else { Direction::ToHost };
        assert_eq!(frame.direction, way, "{}", vector.name);
        let raw = format!("{:02x}: {}", frame.command, hex(&frame.data));
        let Some(request) = request else { return raw };
        if vector.from == Sender::Host {
            assert_eq!(request.bytes(), chunks.concat(), "{}", vector.name);
            return format!("{request:?}");
        }
        match Reply::decode(request, frame).unwrap() {
            Reply::Model(model) => format!("Model {model}, measures {:?}", model.measures()),
            Reply::Clock(time) | Reply::Time(time) => format!("{time}, {:?}", time.civil_ms()),
            Reply::Value(value) if cuff => format!("{:?}", Pressure::from_value(value)),
            Reply::Value(value) => format!("{:?}", Glucose::from_value(value)),
            reply => format!("{reply:?}"),
        }
    };
    found.map(line).collect()
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

fn intellivue_lines(vector: &Vector, chunks: &[&[u8]]) -> Vec<String> {
    use intellivue::{
        association::{self, Session},
        data_export::{self, Export},
        framing::{Decoder, frame},
    };
    let mut decoder = Decoder::default();
    let found = chunks.iter().flat_map(|chunk| decoder.decode(chunk).collect::<Vec<_>>());
    let lines = |user_data: Vec<u8>| {
        if vector.from == Sender::Host {
            let request = vector.request.as_deref();
            if let Some(sent) = request.and_then(intellivue_request) {
                assert_eq!(frame(&sent), chunks.concat(), "{}", vector.name);
            }
            return vec![format!("{}: {} bytes", request.unwrap_or_default(), user_data.len())];
        }
        match association::decode(&user_data) {
            Session::Data => match data_export::decode(&user_data).unwrap() {
                Export::Created(created) => intellivue_created(&created),
                Export::Poll(part) => intellivue_reply(&part.reply),
                other => vec![format!("{other:?}")],
            },
            session => vec![format!("{session:?}")],
        }
    };
    found.flat_map(|frame| frame.map_or_else(|error| vec![error.to_string()], lines)).collect()
}

/// What the driver sends where a vector says what was asked.
fn intellivue_request(request: &str) -> Option<Vec<u8>> {
    use intellivue::{
        association,
        attributes::Attributes,
        data_export::{Created, Poll, answer, poll},
    };
    let single = |number, object, group| Poll { number, object, group, ticks: None };
    let extended = |number, object, ticks| Poll { number, object, group: 0x0803, ticks };
    Some(match request {
        "associate" => association::request(),
        "release" => association::release(),
        "abort" => association::abort(),
        "created" => answer(&Created {
            invoke_id: 1,
            object: [0, 0x21, 0, 0, 0, 0],
            event_time: 0x000A_BD00,
            attributes: Attributes::default(),
        }),
        "numerics" => poll(1, extended(1, 6, Some(480_000))),
        "waves" => poll(2, extended(2, 9, Some(240_000))),
        "keep alive" => poll(8, single(7, 0x36, 0x0811)),
        _ => return None,
    })
}

fn intellivue_created(created: &intellivue::data_export::Created) -> Vec<String> {
    let says = &created.attributes;
    vec![
        format!("created at tick {}, answers to {}", created.event_time, created.invoke_id),
        format!("system id {:?}, model {:?}", says.system_id(), says.system_model()),
    ]
}

fn intellivue_reply(reply: &intellivue::data_export::PollReply) -> Vec<String> {
    let mut lines = vec![format!(
        "answer to poll {}, sequence {:?}, tick {}, clock {:?}, objects {:#x}, group {:#x}",
        reply.number, reply.sequence, reply.ticks, reply.civil_ms, reply.object, reply.group,
    )];
    for object in &reply.observations {
        let (context, handle) = object.source;
        let says = &object.attributes;
        lines.push(format!("object {context}/{handle:#06x} {:?}", says.label()));
        lines.extend(says.numerics().unwrap().iter().map(|number| format!("{number:?}")));
        lines.extend(says.sample_spec().unwrap().map(|spec| format!("{spec:?}")));
        lines.extend(says.scale().unwrap().map(|scale| format!("{scale:?}")));
        lines.extend(says.sample_period().map(|period| format!("period {period}")));
        lines.extend(says.sample_arrays().unwrap().iter().map(|array| format!("{array:?}")));
        lines.extend(says.alert_condition().map(|condition| format!("{condition:?}")));
        let alarms = [says.patient_alarms().unwrap(), says.technical_alarms().unwrap()];
        lines.extend(alarms.iter().flatten().flatten().map(|alarm| format!("{alarm:?}")));
    }
    lines
}

fn asena_lines(vector: &Vector, chunks: &[&[u8]]) -> Vec<String> {
    use asena::codec::{Decoder, Request, request};
    if let Some(name) = vector.request.as_deref() {
        let asked = Request::ALL.into_iter().find(|request| request.name() == name).unwrap();
        assert_eq!(request(asked), chunks.concat(), "{}", vector.name);
    }
    let mut decoder = Decoder::default();
    let found = chunks.iter().flat_map(|chunk| decoder.decode(chunk).collect::<Vec<_>>());
    found.map(Result::unwrap).map(|frame| format!("{} {:?}", frame.name, frame.fields)).collect()
}

/// The meaning of a line depends on the catalogue, so these go through the whole driver.
fn json_lines_lines(vector: &Vector, chunks: &[&[u8]]) -> Vec<String> {
    let id = DeviceId::new("x-01").unwrap();
    let mut driver = create(DriverName::JsonLines, id, &DriverOptions::default(), None);
    let now = Now {
        mono: MonoTime::START,
        uptime: Uptime::default(),
        wall: WallTime::from_unix_ms(0),
        quality: ClockQuality::Unknown,
    };
    driver.handle(now, SerialEvent::Opened);
    chunks.iter().for_each(|chunk| driver.handle(now, SerialEvent::Received(chunk)));
    let mut lines = Vec::new();
    while let Some(output) = driver.poll_output() {
        match output {
            SerialOutput::Emit(Record::Readings(group)) => {
                let stamp = (group.device_time, group.device_seq);
                let group_name = group.group.map_or("", Metric::name);
                lines.push(format!("{:?} {group_name:?} {stamp:?}", group.occurrence));
                lines.extend(group.readings.iter().map(|reading| {
                    let Reading { metric, value, unit, validity } = reading;
                    let unit = unit.as_ref().map_or("", |unit| unit.as_str());
                    match value {
                        Ok(Value::Number { number, comparator }) => {
                            format!("{metric} {comparator:?} {number} {unit:?} {validity:?}")
                        }
                        Ok(Value::Text(text)) => format!("{metric} {text:?} {validity:?}"),
                        Err(reason) => format!("{metric} {reason} {validity:?}"),
                    }
                }));
            }
            SerialOutput::Emit(Record::Waveform(block)) => {
                let WaveformBlock { metric, period, samples, .. } = block;
                let ratio = (period.numerator(), period.denominator());
                lines.push(format!("{metric} {ratio:?} {samples:?}"));
            }
            SerialOutput::Emit(Record::Alarm(alarm)) => {
                lines.push(format!("{:?} {:?} {}", alarm.kind, alarm.phase, alarm.code));
            }
            SerialOutput::Emit(Record::Status(status)) => lines.push(format!("{:?}", status.state)),
            SerialOutput::Note(note) => lines.push(note.text),
            other => panic!("{}: {other:?}", vector.name),
        }
    }
    lines
}

fn hex(bytes: &[u8]) -> String {
    let bytes: Vec<_> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    bytes.join(" ")
}
