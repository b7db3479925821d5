//! Tells when something in the file is not what was written: SQLite believes the disk, and the
//! county would take an altered envelope for what the device said.
//!
//! What has no sum was written by an agent of before, and is believed.

use rusqlite::{Row, ffi};

/// The sum of the numbers and bytes of a row.
pub(super) fn of(numbers: &[i64], bytes: &[&[u8]]) -> u32 {
    let mut sum = crc32fast::Hasher::new();
    numbers.iter().for_each(|number| sum.update(&number.to_le_bytes()));
    bytes.iter().for_each(|bytes| sum.update(bytes));
    sum.finalize()
}

/// Whether the row still has that sum.
///
/// # Errors
/// When it has another.
pub(super) fn check(row: &Row<'_>, sum: u32) -> rusqlite::Result<()> {
    let written: Option<u32> = match row.get("sum") {
        // A table of an older schema.
        Err(rusqlite::Error::InvalidColumnName(_)) => None,
        written => written.map_err(|_| altered())?,
    };
    match written.is_none_or(|written| written == sum) {
        true => Ok(()),
        false => Err(altered()),
    }
}

/// What is there is not what was written.
pub(super) fn altered() -> rusqlite::Error {
    let said = "a checksum does not match".to_owned();
    rusqlite::Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_CORRUPT), Some(said))
}
