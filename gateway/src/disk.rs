//! How much room the disk has.

use rustix::fs::statvfs;
use std::{io, path::Path};

/// Bytes that can still be written to the file system of `dir` by who is not root.
pub(crate) fn free_bytes(dir: &Path) -> io::Result<u64> {
    let found = statvfs(dir)?;
    Ok(found.f_bavail.saturating_mul(found.f_frsize))
}
