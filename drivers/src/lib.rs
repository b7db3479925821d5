//! What devices say: one driver per device, each a pure state machine with its codec beside it.
//!
//! Not here: ports, clocks, tasks, files. The agent runs any driver; a test runs it on a list of
//! events.
//!
//! - [`serial`]: the one way in and the one way out of a serial driver, and the drivers
//! - [`gatt`]: the same for Bluetooth LE: services and characteristics instead of bytes
//! - [`registry`]: the driver's name in `agent.toml` → the driver
//! - [`redaction`]: takes out of recorded bytes what may tell who the patient is
//!
//! # Invariants
//! - no driver sends a command that changes therapy, inflates a cuff, deletes a record, sets a
//!   clock or calibrates
//! - no bytes make a driver panic; what is kept between calls is bounded
//! - silence is reported, never waited out

#[cfg(test)]
mod bench;
mod checksum;
mod clock_offset;
pub mod gatt;
pub mod medfloat;
mod memory;
pub mod output;
pub mod redaction;
pub mod registry;
mod reporter;
pub mod serial;
