//! The engineer's bench: virtual devices on ptys, a whole clinic and county on one machine, and
//! the comparison of what was emitted with what arrived.
//!
//! Not here: what a device says (package `virtual-devices`), what agent and gateway do (their own
//! packages; the bench only starts them as child processes of this same program).
//!
//! - [`command`]: the command line of `clinic-sim`
//! - [`stage`]: where virtual devices appear
//! - [`ble`]: Bluetooth LE devices on a bus
//! - [`replay`]: a trace on a pty; [`decode`]: the readings in a trace
//! - [`process`]: agent, gateway and a bus as child processes
//! - [`signals`]: Ctrl-C, SIGTERM, a closed terminal
//! - [`county`], [`site`]: one county service; one clinic box with its devices
//! - [`client`]: the county's HTTP API, as a program uses it
//! - [`verify`]: lost, doubled, altered
//! - [`demo`]: all of it at once
//! - [`fleet`]: load for a county, from many boxes at once; [`usage`]: what a process costs

mod ble;
pub mod client;
pub mod command;
pub mod county;
pub mod decode;
pub mod demo;
pub mod fleet;
pub mod process;
mod record_line;
pub mod replay;
pub mod signals;
pub mod site;
pub mod stage;
mod trace_file;
pub mod usage;
pub mod verify;

use std::{ffi::OsString, process::ExitCode};

/// Runs `clinic-sim`; with a hidden first argument, the agent or the gateway instead, so that the
/// bench never depends on a binary that was not built.
pub fn main_from(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args: Vec<OsString> = args.into_iter().collect();
    let role = args.get(1).and_then(|first| process::Role::from_argument(first));
    let rest = || args.iter().take(1).chain(args.iter().skip(2)).cloned().collect::<Vec<_>>();
    if role.is_some() {
        process::follow_parent();
    }
    match role {
        Some(process::Role::Agent) => agent::main_from(rest().into_iter()),
        Some(process::Role::Gateway) => gateway::main_from(rest().into_iter()),
        Some(process::Role::Bus) => process::become_bus(rest().into_iter().skip(1)),
        None => command::main_from(args),
    }
}
