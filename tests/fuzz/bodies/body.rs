//! What the fuzz targets do with their input: the programs of this folder and the replay of the
//! corpus in `drivers/tests/corpus.rs` share it.
//!
//! Not here: how inputs are found (libFuzzer does that) and where they are kept.
//!
//! # Invariants
//! - a body is a function of its input: no clock, no random number, no file
//! - framing, checksums and what may be sent are written down a second time, so that a mistake of a
//!   driver is not repeated here

mod check;
pub(crate) mod device;
pub(crate) mod gatt;
mod link;
mod reader;
pub(crate) mod story;

use drivers::registry::{DriverName, GattName};

/// The target that is no driver: the reader of traces.
pub(crate) const TRACE_READER: &str = "trace-reader";
/// The target of numbers, times and answers that several drivers of Bluetooth LE decode.
pub(crate) const GATT_VALUES: &str = "gatt-values";

/// Feeds an input to a target; panics where something does not hold. How much was read:
/// readings of a driver, events of a trace.
pub(crate) fn run(target: &str, input: &[u8]) -> usize {
    if let Some(name) = DriverName::from_name(target) {
        return link::run(name, input);
    }
    if let Some(name) = GattName::from_name(target) {
        return gatt::link::run(name, input);
    }
    match target {
        GATT_VALUES => gatt::values::run(input),
        TRACE_READER => reader::run(input),
        other => panic!("there is no target {other}"),
    }
}
