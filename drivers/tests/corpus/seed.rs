//! Vectors and traces as inputs of the fuzz targets.

use crate::{
    body::{
        GATT_VALUES, device,
        story::{Step, Story},
    },
    content::content,
    gatt_seed,
};
use drivers::registry::{DriverName, GattName};
use std::{fs, path::Path, time::Duration};
use trace::{Event, Reader};

/// Lengths at which a trace is cut off: libFuzzer likes short inputs, sessions are long.
const LENGTHS: [usize; 3] = [1024, 4096, 16 * 1024];
/// Longer than any frame of the traces.
const FRAME_LEN_MAX: usize = 2048;
/// A step of time in a story.
const TICK: Duration = Duration::from_millis(4);

/// Inputs with a name each.
pub(crate) fn seeds(target: &str) -> Vec<(String, Vec<u8>)> {
    if let Some(name) = DriverName::from_name(target) {
        return of_driver(name);
    }
    if let Some(name) = GattName::from_name(target) {
        return gatt_seed::of_driver(name);
    }
    if target == GATT_VALUES { gatt_seed::of_values() } else { of_reader() }
}

pub(crate) fn tests_dir() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests")
}

fn trace_of(name: DriverName) -> String {
    let path = tests_dir().join("traces").join(format!("{}.trace", name.name()));
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn of_reader() -> Vec<(String, Vec<u8>)> {
    let mut seeds =
        vec![("head".to_owned(), b"#1.000000 opened\n2.500000 < 55 aa\n3.000000 gap\n".to_vec())];
    for name in DriverName::ALL {
        let text: String =
            trace_of(name).lines().take(12).map(|line| format!("{line}\n")).collect();
        seeds.push((format!("trace-{}", name.name()), text.into_bytes()));
    }
    seeds
}

/// As bytes, and as frames where they are frames: their content can then be changed.
fn of_driver(name: DriverName) -> Vec<(String, Vec<u8>)> {
    let mut stories = Vec::new();
    for (number, bytes) in (0..).zip(vectors(name)) {
        let after = [Step::Wait, Step::Commit, Step::Reopen];
        let steps = [&[Step::Bytes(bytes)], &after[..]].concat();
        stories.push((format!("vector-{number}"), steps));
    }
    stories.push(("trace".to_owned(), steps_of_trace(name)));
    let mut seeds = Vec::new();
    for (seed, steps) in stories {
        for (form, steps) in [("bytes", steps.clone()), ("frames", framed(name, steps))] {
            let story = Story { options: 0, cut: 0, steps };
            let whole = story.input();
            assert_eq!(Story::read(&whole), story);
            for length in LENGTHS {
                let input = whole.get(..length).unwrap_or(&whole).to_vec();
                seeds.push((format!("{seed}-{form}-{}", input.len()), input));
                if whole.len() <= length {
                    break;
                }
            }
        }
    }
    seeds
}

/// What devices say in the vectors.
fn vectors(name: DriverName) -> Vec<Vec<u8>> {
    let said = tables(name.name()).into_iter().filter(|vector| text(vector, "from") == "device");
    said.map(|vector| bytes_of(text(&vector, "bytes"))).collect()
}

/// The vectors of the driver of that name.
pub(crate) fn tables(driver: &str) -> Vec<toml::Table> {
    let mut paths: Vec<_> = fs::read_dir(tests_dir().join("vectors").join(driver))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    let mut found = Vec::new();
    for path in paths {
        let table: toml::Table = fs::read_to_string(path).unwrap().parse().unwrap();
        for vector in table.get("vector").and_then(toml::Value::as_array).unwrap() {
            found.push(vector.as_table().unwrap().clone());
        }
    }
    found
}

pub(crate) fn text<'a>(vector: &'a toml::Table, field: &str) -> &'a str {
    vector.get(field).and_then(toml::Value::as_str).unwrap()
}

pub(crate) fn bytes_of(hex: &str) -> Vec<u8> {
    hex.split_whitespace().map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect()
}

fn steps_of_trace(name: DriverName) -> Vec<Step> {
    let (mut reader, mut steps, mut passed) = (Reader::default(), Vec::new(), Duration::ZERO);
    for entry in trace_of(name).lines().filter_map(|line| reader.take(line).unwrap()) {
        let ticks = (entry.at - passed).as_millis() / TICK.as_millis();
        if let Ok(ticks @ 1..) = u16::try_from(ticks) {
            steps.push(Step::Pass(ticks));
            passed += TICK * u32::from(ticks);
        }
        match entry.event {
            Event::Received(bytes) => steps.extend([Step::Bytes(bytes), Step::Commit]),
            Event::Closed => steps.push(Step::Reopen),
            Event::Opened | Event::Sent(_) | Event::Gap => {}
        }
    }
    steps
}

/// The same with frames in place of their bytes, as soon as one is whole.
fn framed(name: DriverName, steps: Vec<Step>) -> Vec<Step> {
    let (mut open, mut framed) = (Vec::new(), Vec::new());
    for step in steps {
        let Step::Bytes(bytes) = step else {
            framed.push(step);
            continue;
        };
        for byte in bytes {
            open.push(byte);
            let content = content(name, &open);
            if let Some(content) = content.filter(|content| device::frame(name, content) == open) {
                framed.push(Step::Frame(content));
                open.clear();
            } else if open.len() > FRAME_LEN_MAX {
                framed.push(Step::Bytes(std::mem::take(&mut open)));
            }
        }
    }
    if !open.is_empty() {
        framed.push(Step::Bytes(open));
    }
    framed
}
