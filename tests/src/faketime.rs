//! A program whose processes have another clock than this machine: libfaketime.

use anyhow::Context as _;
use simulators::process::Program;
use std::{
    fs,
    path::{Path, PathBuf},
};

/// The program at that path; for its processes the time is what libfaketime makes of the file at
/// `clock`, which must exist: `+5s` is five seconds ahead, `+5s x10` from there on ten times as
/// fast. What they wait for passes as on this machine.
///
/// # Errors
/// When libfaketime is not installed.
pub fn program(path: &Path, clock: &Path) -> anyhow::Result<Program> {
    Ok(Program::at(path)
        .with_variable("LD_PRELOAD", library()?)
        .with_variable("FAKETIME_TIMESTAMP_FILE", clock)
        .with_variable("FAKETIME_CACHE_DURATION", "1")
        .with_variable("FAKETIME_DONT_FAKE_MONOTONIC", "1")
        .with_variable("NO_FAKE_STAT", "1"))
}

/// libfaketime, of whatever architecture.
fn library() -> anyhow::Result<PathBuf> {
    let folders = fs::read_dir("/usr/lib")?.collect::<Result<Vec<_>, _>>()?;
    let found = folders.iter().map(|folder| folder.path().join("faketime/libfaketime.so.1"));
    found
        .into_iter()
        .find(|path| path.exists())
        .context("libfaketime is missing; tests/run installs it")
}
