//! The edge: reads devices, commits every value to disk, and publishes it to the county.
//!
//! Not here: what device bytes mean (`drivers`), what goes on the wire when (`uplink-proto`).
//!
//! - [`command`]: the command line
//! - [`config`]: `agent.toml`, as written and as meant
//! - [`clock`]: the only place that reads clocks
//! - [`time_daemon`]: asks the system how far its clock can be trusted
//! - [`supervisor`]: the only place that spawns
//! - [`serial_port`]: runs any serial driver
//! - [`frame_watch`]: notices bytes that make no frame
//! - [`holder`]: which program holds a port
//! - [`scan`]: which serial ports there are
//! - [`tcp_link`]: reaches a device over TCP
//! - [`bluetooth`]: runs any GATT driver on `BlueZ`
//! - [`handover`]: what drivers put out, on its way to the outbox
//! - [`recorder`]: the last minutes of every link, and traces
//! - [`outbox`]: the durable queue
//! - [`reach`]: whether the county is in reach
//! - [`alerts`]: runs the rules all the time; signals while the county is out of reach
//! - [`local_page`]: the box's own page: what is wrong, what still works, how long it holds
//! - [`uplink`]: runs the sending half of the protocol on MQTT
//! - [`policy`]: what the county told this box to go by
//! - [`status`]: what `clinic-agent status` is told
//!
//! # Invariants
//! - a record is committed (`synchronous=FULL`) before it is published
//! - a row leaves the outbox only inside an acked range, or as a counted drop
//! - the agent never refuses to start because of its outbox

mod alerts;
mod bluetooth;
mod clock;
mod command;
mod config;
mod frame_watch;
mod handover;
mod holder;
mod local_page;
mod outbox;
mod policy;
mod reach;
mod recorder;
mod run;
mod scan;
mod serial_port;
mod status;
mod supervisor;
mod tcp_link;
mod time_daemon;
mod uplink;

pub use alerts::proof;

use std::{ffi::OsString, process::ExitCode};

/// Runs `clinic-agent`.
pub fn main_from(args: impl Iterator<Item = OsString>) -> ExitCode {
    command::main_from(args)
}
