//! A process in a mount namespace of its own, and what its files hold.
//!
//! SQLite takes `/proc/N/root` for a link and looks outside of the namespace: files are copied.

use anyhow::Context as _;
use rustix::process::{Pid, Signal, kill_process};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// Does something while that process stands still.
///
/// # Errors
/// When the process is gone, or what was done fails.
pub fn while_it_stands_still(
    process: u32,
    act: impl FnOnce() -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let process = Pid::from_raw(i32::try_from(process)?).context("process 0")?;
    kill_process(process, Signal::STOP)?;
    let done = act();
    kill_process(process, Signal::CONT)?;
    done
}

/// Copies a database of the namespace, whose only writer stands still.
///
/// # Errors
/// When the process is gone, or a file cannot be copied.
pub fn bring_out(process: u32, inside: &Path, outside: &Path) -> anyhow::Result<()> {
    let of = |path: &Path, end: &str| PathBuf::from(format!("{}{end}", path.display()));
    // The index of the log that was there before is of no use to the next.
    drop(fs::remove_file(of(outside, "-shm")));
    while_it_stands_still(process, || {
        let copied = ["", "-wal"]
            .iter()
            .try_for_each(|end| fs::copy(of(inside, end), of(outside, end)).map(drop));
        copied.context("copying the database")
    })
}
