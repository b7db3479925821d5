//! Looks at a database before it is opened for writing: one that is damaged is left as it is.
//!
//! Not here: a bit that turned inside a value. SQLite has no checksum of its pages; a file system
//! that has (btrfs, ZFS) notices.

use super::BUSY_MAX;
use rusqlite::{Connection, ErrorCode, OpenFlags, config::DbConfig};
use std::{ffi::OsString, fs, path::Path};

/// Looking at a larger one takes longer than a start should: what is broken in it shows in the next
/// backup, which looks at every page of its copy, and where it is met. That one was cut shows
/// whatever its length where its log is empty; else SQLite goes by the length that the log names.
const CHECK_LEN_MAX: u64 = 256 << 20;

/// What is broken, where something is.
pub(super) fn what_is_broken(path: &Path) -> rusqlite::Result<Option<String>> {
    let len = |path: &Path| fs::metadata(path).map_or(0, |found| found.len());
    let mut log = OsString::from(path);
    log.push("-wal");
    let lens = (len(path), len(Path::new(&log)));
    match lens {
        (0, 0) => return Ok(None),
        // SQLite would begin anew, and throw the log away.
        (0, _) => return Ok(Some("it is empty, and its log is not".to_owned())),
        _ => {}
    }
    match look(path, lens) {
        Err(error) if is_damage(&error) => Ok(Some(error.to_string())),
        found => found,
    }
}

/// Whether the file itself is broken.
pub(super) fn is_damage(error: &rusqlite::Error) -> bool {
    let code = error.sqlite_error_code();
    matches!(code, Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
}

fn look(path: &Path, (len, log): (u64, u64)) -> rusqlite::Result<Option<String>> {
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    connection.busy_timeout(BUSY_MAX)?;
    // Nor does it write when it is closed.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    connection.query_row("SELECT count(*) FROM sqlite_master", [], |_| Ok(()))?;
    let page: u64 =
        connection.query_row("PRAGMA page_size", [], |row| row.get::<_, u32>(0)).map(u64::from)?;
    if log == 0 && !len.is_multiple_of(page) {
        // SQLite takes what is missing of the last page for zeros.
        return Ok(Some(format!("it was cut in the middle of a page, after {len} bytes")));
    }
    if len > CHECK_LEN_MAX {
        return Ok(None);
    }
    let said: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    Ok((said != "ok").then_some(said))
}

#[cfg(test)]
mod tests {
    use super::super::{DATABASE, OpenStoreError, Store};
    use super::*;
    use std::path::PathBuf;
    use tempfile::TempDir;

    const STEP: usize = 512;
    const ENVELOPES: i64 = 12;

    /// One transaction as a real one: an envelope, a reading of it, the ledger.
    fn receive(connection: &Connection, seq: i64) {
        let transaction = connection.unchecked_transaction().unwrap();
        let text = "INSERT INTO envelope VALUES ('heping', '07', 'trend', ?1, zeroblob(32), 0)";
        transaction.execute(text, [seq]).unwrap();
        let text = "INSERT OR REPLACE INTO ledger VALUES
                      ('heping', '07', 'trend', '1-' || ?1, '', '')";
        transaction.execute(text, [seq]).unwrap();
        transaction.commit().unwrap();
    }

    /// A county in a folder of its own, and what is in its database and its log.
    fn county(is_killed: bool) -> [Vec<u8>; 2] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(DATABASE);
        let connection = Store::connection(&path).unwrap();
        if is_killed {
            // What came before is in the database, the rest in the log alone.
            let whole = "PRAGMA wal_checkpoint(TRUNCATE)";
            connection.query_row(whole, [], |_| Ok(())).unwrap();
        }
        (1..=ENVELOPES).for_each(|seq| receive(&connection, seq));
        let log = || fs::read(folder.path().join("county.sqlite-wal")).unwrap_or_default();
        match is_killed {
            true => [fs::read(&path).unwrap(), log()],
            false => {
                drop(connection);
                [fs::read(&path).unwrap(), log()]
            }
        }
    }

    /// A folder with these two files.
    fn folder_of(database: &[u8], log: &[u8]) -> (TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(DATABASE);
        fs::write(&path, database).unwrap();
        if !log.is_empty() {
            fs::write(folder.path().join("county.sqlite-wal"), log).unwrap();
        }
        (folder, path)
    }

    fn turned(bytes: &[u8], at: usize) -> Vec<u8> {
        let mut bytes = bytes.to_vec();
        bytes[at] ^= 1 << (at / STEP % 8);
        bytes
    }

    /// Places all over the file, each in another part of its 512 bytes.
    fn places(bytes: &[u8]) -> impl Iterator<Item = usize> {
        let starts = (0..bytes.len()).step_by(STEP);
        starts.map(|start| (start + start / STEP * 37 % STEP).min(bytes.len() - 1))
    }

    /// Through which envelope everything is there; nothing is there by halves.
    fn through(store: &Store) -> i64 {
        let writer = store.writer.lock().unwrap();
        let seen = "SELECT count(*), coalesce(max(seq), 0) FROM envelope";
        let (count, highest): (i64, i64) =
            writer.query_row(seen, [], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        let ledger = "SELECT coalesce(max(received), '1-0') FROM ledger";
        let ledger: String = writer.query_row(ledger, [], |row| row.get(0)).unwrap();
        assert_eq!(count, highest);
        assert_eq!(ledger, format!("1-{highest}"));
        highest
    }

    #[test]
    fn a_database_that_was_cut_anywhere_is_refused_and_left_as_it_is() {
        let [whole, log] = county(false);
        assert!(log.is_empty());
        let mut refused = 0;
        // Of one that was cut at 0 nothing is left to tell by: that is a county that begins.
        for cut in (STEP..whole.len()).step_by(STEP) {
            let (folder, path) = folder_of(&whole[..cut], &[]);
            let error = Store::open(&path).expect_err(&format!("cut at {cut}"));
            assert!(matches!(error, OpenStoreError::Damaged { .. }), "cut at {cut}: {error:?}");
            assert!(error.to_string().contains("clinic-gateway restore"), "{error}");
            assert!(fs::read(&path).unwrap() == whole[..cut], "cut at {cut}: it was changed");
            drop(folder);
            refused += 1;
        }
        assert!(refused > 200, "{refused}");
        let (_folder, path) = folder_of(&whole, &[]);
        assert_eq!(through(&Store::open(&path).unwrap()), ENVELOPES);
    }

    #[test]
    fn a_turned_bit_is_refused_and_the_file_left_as_it_is_or_it_is_in_a_value() {
        let [whole, _] = county(false);
        let (mut refused, mut all) = (0, 0);
        for at in places(&whole) {
            let bytes = turned(&whole, at);
            let (_folder, path) = folder_of(&bytes, &[]);
            all += 1;
            match Store::open(&path) {
                Ok(_) => {}
                Err(OpenStoreError::Damaged { .. }) => {
                    refused += 1;
                    assert!(fs::read(&path).unwrap() == bytes, "turned at {at}: it was changed");
                }
                // The schema's number itself.
                Err(OpenStoreError::FromTheFuture { .. }) => {}
                Err(error) => panic!("turned at {at}: {error:?}"),
            }
        }
        // Most pages of so small a county are empty.
        assert!(refused > 3 && refused < all, "{refused} of {all}");
    }

    #[test]
    fn a_log_that_was_cut_or_has_a_turned_bit_ends_between_two_transactions() {
        let [database, log] = county(true);
        let cuts = (0..log.len()).step_by(STEP).map(|cut| log[..cut].to_vec());
        let broken = cuts.chain(places(&log).map(|at| turned(&log, at)));
        let mut last = std::collections::BTreeSet::new();
        for log in broken {
            let (_folder, path) = folder_of(&database, &log);
            last.insert(through(&Store::open(&path).unwrap()));
        }
        // No bit of the log is without a checksum: the last transaction is lost at least.
        assert!(last.into_iter().eq(0..ENVELOPES));
        let (_folder, path) = folder_of(&database, &log);
        assert_eq!(through(&Store::open(&path).unwrap()), ENVELOPES);
        // Of the database nothing is left, and the log is all there is.
        let (_folder, path) = folder_of(&[], &log);
        let error = Store::open(&path).unwrap_err();
        assert!(matches!(error, OpenStoreError::Damaged { .. }), "{error:?}");
    }
}
