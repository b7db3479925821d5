//! Copies of a county under load, and of one that is not whole.

use super::*;
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    thread,
};
use tempfile::TempDir;

/// Who restores.
const BY: &str = "console:test";

/// A county with some envelopes, as an agent's bytes would fill it.
struct County {
    folder: TempDir,
}

impl County {
    fn new(envelopes: i64) -> Self {
        let county = Self { folder: tempfile::tempdir().unwrap() };
        fs::create_dir(county.data_dir()).unwrap();
        let connection = county.connection();
        for seq in 1..=envelopes {
            receive(&connection, seq);
        }
        county
    }

    fn data_dir(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn connection(&self) -> Connection {
        Store::connection(&self.data_dir().join(DATABASE)).unwrap()
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn files(&self) -> Vec<String> {
        let names = fs::read_dir(self.data_dir()).unwrap();
        let mut names: Vec<String> =
            names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

/// One transaction of the size of a real one.
fn receive(connection: &Connection, seq: i64) {
    let transaction = connection.unchecked_transaction().unwrap();
    let text = "INSERT INTO envelope VALUES ('heping', '07', 'trend', ?1, zeroblob(8000), 0)";
    transaction.execute(text, [seq]).unwrap();
    let text = "INSERT OR REPLACE INTO ledger VALUES ('heping', '07', 'trend', '1-' || ?1, '', '')";
    transaction.execute(text, [seq]).unwrap();
    transaction.commit().unwrap();
}

/// Highest envelope, how many there are, and what the ledger says.
fn account(path: &Path) -> (i64, i64, String) {
    let copy = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    let query = "SELECT max(seq), count(*), (SELECT received FROM ledger) FROM envelope";
    copy.query_row(query, [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).unwrap()
}

fn generation(path: &Path) -> i64 {
    let query = "SELECT generation FROM county";
    Connection::open(path).unwrap().query_row(query, [], |row| row.get(0)).unwrap()
}

#[test]
fn a_copy_under_load_is_of_one_moment_with_all_that_was_committed_before() {
    // 8 MiB: some ten steps, between which the writer commits without pause.
    let county = County::new(1000);
    let connection = county.connection();
    let committed = Arc::new(AtomicI64::new(1000));
    let stop = Arc::new(AtomicBool::new(false));
    let (last, ended) = (Arc::clone(&committed), Arc::clone(&stop));
    let writer = thread::spawn(move || {
        while !ended.load(Ordering::Acquire) {
            let seq = last.load(Ordering::Acquire) + 1;
            receive(&connection, seq);
            last.store(seq, Ordering::Release);
        }
    });
    while committed.load(Ordering::Acquire) < 1010 {
        thread::yield_now();
    }
    let before = committed.load(Ordering::Acquire);
    let file = county.file("copy.sqlite");
    let copied = backup(&county.data_dir(), &file, Existing::Kept).unwrap();
    let after = committed.load(Ordering::Acquire);
    stop.store(true, Ordering::Release);
    writer.join().unwrap();

    assert!(after > before, "nothing was written meanwhile");
    let (highest, count, told) = account(&file);
    assert!((before..=after).contains(&highest), "{before} {highest} {after}");
    assert_eq!((count, told), (highest, format!("1-{highest}")));
    let found = fs::metadata(&file).unwrap();
    assert_eq!((found.len(), found.permissions().mode() & 0o777), (copied.bytes, store::FILE_MODE));
    let names = fs::read_dir(county.folder.path()).unwrap();
    assert_eq!(names.count(), 2, "nothing beside the copy and the data");
}

#[test]
fn a_file_that_is_there_is_replaced_only_when_told_so_and_the_county_never() {
    let county = County::new(3);
    let dir = county.data_dir();
    let file = county.file("copy.sqlite");
    fs::write(&file, "precious").unwrap();
    let refused = backup(&dir, &file, Existing::Kept).unwrap_err();
    assert!(matches!(refused, BackupError::Exists(_)), "{refused}");
    assert_eq!(fs::read(&file).unwrap(), b"precious");
    backup(&dir, &file, Existing::Overwritten).unwrap();
    assert_eq!(account(&file).1, 3);

    let link = county.file("link");
    std::os::unix::fs::symlink(dir.join(DATABASE), &link).unwrap();
    let own = [dir.join(DATABASE), dir.join("county.sqlite-wal"), dir.join("../data/lock"), link];
    fs::write(dir.join("lock"), "").unwrap();
    for own in own {
        let refused = backup(&dir, &own, Existing::Overwritten).unwrap_err();
        assert!(refused.is_wrong_use(), "{refused}");
    }
    assert_eq!(account(&dir.join(DATABASE)).1, 3);
    let refused = restore(&dir, &dir.join(DATABASE), BY).unwrap_err();
    assert!(matches!(refused, BackupError::Own(_)), "{refused}");
}

#[test]
fn what_is_left_of_a_backup_that_was_killed_is_in_nobodys_way_and_a_second_one_waits() {
    let county = County::new(3);
    let file = county.file("copy.sqlite");
    let part = county.file("copy.sqlite.part");
    fs::write(&part, "half").unwrap();
    let held = File::open(&part).unwrap();
    held.lock().unwrap();
    let refused = backup(&county.data_dir(), &file, Existing::Kept).unwrap_err();
    assert!(matches!(refused, BackupError::UnderWay(_)), "{refused}");
    drop(held);
    backup(&county.data_dir(), &file, Existing::Kept).unwrap();
    assert!(!part.exists());
    assert_eq!(account(&file).1, 3);
}

#[test]
fn a_restored_county_has_what_the_copy_has_another_generation_and_the_old_one_beside() {
    let county = County::new(5);
    let (dir, file) = (county.data_dir(), county.file("copy.sqlite"));
    let database = dir.join(DATABASE);
    let copied = backup(&dir, &file, Existing::Kept).unwrap();
    let connection = county.connection();
    receive(&connection, 6);
    let session = "INSERT INTO session (hash, name, opened_ms) VALUES ('hash', 'wang', 1)";
    connection.execute(session, []).unwrap();
    let first = generation(&database);
    // What was written last is still in the log only.
    std::mem::forget(connection);

    let restored = restore(&dir, &file, BY).unwrap();
    assert_eq!(restored.copied_ms, Some(copied.at_ms));
    assert_eq!(account(&database), (5, 5, "1-5".to_owned()));
    assert_ne!(restored.generation, first);
    assert_eq!((generation(&database), generation(&file)), (restored.generation, first));
    let kept = restored.kept.unwrap();
    assert_eq!(account(&kept), (6, 6, "1-6".to_owned()));
    let sessions: i64 = county
        .connection()
        .query_row("SELECT count(*) FROM session", [], |row| row.get(0))
        .unwrap();
    assert_eq!(sessions, 0);
    let mode = fs::metadata(&database).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, store::FILE_MODE);

    // The same copy again is another county still.
    let again = restore(&dir, &file, BY).unwrap();
    assert_ne!(again.generation, restored.generation);
}

#[test]
fn a_county_is_restored_where_there_was_none() {
    let county = County::new(5);
    let file = county.file("copy.sqlite");
    backup(&county.data_dir(), &file, Existing::Kept).unwrap();
    let elsewhere = county.file("elsewhere");
    let restored = restore(&elsewhere, &file, BY).unwrap();
    assert_eq!((restored.kept, account(&elsewhere.join(DATABASE)).1), (None, 5));
    // A log that outlived its database is not the new one's.
    fs::remove_file(elsewhere.join(DATABASE)).unwrap();
    fs::write(elsewhere.join("county.sqlite-wal"), "old").unwrap();
    restore(&elsewhere, &file, BY).unwrap();
    assert!(!elsewhere.join("county.sqlite-wal").exists());
}

#[test]
fn what_is_no_whole_county_is_refused_and_changes_nothing() {
    let county = County::new(200);
    let (dir, file) = (county.data_dir(), county.file("copy.sqlite"));
    backup(&dir, &file, Existing::Kept).unwrap();
    let before = generation(&dir.join(DATABASE));
    let wrong = |name: &str, bytes: &[u8]| {
        let path = county.file(name);
        fs::write(&path, bytes).unwrap();
        restore(&dir, &path, BY).unwrap_err()
    };
    let missing = restore(&dir, &county.file("nowhere"), BY).unwrap_err();
    assert!(matches!(missing, BackupError::Missing(_)), "{missing}");
    let noise = wrong("noise", &[b'x'; 5000]);
    assert!(matches!(noise, BackupError::Foreign { .. }), "{noise}");
    let empty = wrong("empty", b"");
    assert!(matches!(empty, BackupError::Foreign { .. }), "{empty}");
    let good = fs::read(&file).unwrap();
    let cut = wrong("cut", &good[..good.len() / 2]);
    assert!(matches!(cut, BackupError::Damaged { .. }), "{cut}");
    let mut flipped = good.clone();
    let (page, end) = (good.len() / 2 / 4096 * 4096, good.len() / 2 / 4096 * 4096 + 4096);
    flipped[page..end].fill(0xa5);
    let flipped = wrong("flipped", &flipped);
    assert!(matches!(flipped, BackupError::Damaged { .. }), "{flipped}");

    let path = county.file("outbox");
    let outbox = Connection::open(&path).unwrap();
    outbox.execute_batch("CREATE TABLE envelope (seq INTEGER); CREATE TABLE lane (lane)").unwrap();
    let foreign = restore(&dir, &path, BY).unwrap_err();
    assert!(matches!(foreign, BackupError::Foreign { .. }), "{foreign}");
    Connection::open(&file).unwrap().pragma_update(None, "user_version", 99).unwrap();
    let newer = restore(&dir, &file, BY).unwrap_err();
    assert!(matches!(newer, BackupError::Newer { found: 99, .. }), "{newer}");

    assert_eq!(generation(&dir.join(DATABASE)), before);
    let left = county.files();
    assert!(left.iter().all(|name| !name.contains("restoring")), "{left:?}");
}

#[test]
fn nothing_is_restored_under_a_running_gateway() {
    let county = County::new(1);
    let (dir, file) = (county.data_dir(), county.file("copy.sqlite"));
    backup(&dir, &file, Existing::Kept).unwrap();
    let held = store::take_data_dir(&dir).unwrap();
    let refused = restore(&dir, &file, BY).unwrap_err();
    let said = format!("{:#}", anyhow::Error::new(refused));
    assert!(said.contains("another clinic-gateway works in it; stop that one first"), "{said}");
    drop(held);
    restore(&dir, &file, BY).unwrap();
}

#[test]
fn a_backup_of_the_first_schema_is_brought_up_to_date() {
    let county = County::new(0);
    let file = county.file("old.sqlite");
    let old = Connection::open(&file).unwrap();
    old.execute_batch(include_str!("../../migrations/0001_county.sql")).unwrap();
    old.pragma_update(None, "user_version", 1).unwrap();
    receive(&old, 1);
    drop(old);
    let restored = restore(&county.data_dir(), &file, BY).unwrap();
    assert_eq!(restored.copied_ms, None);
    assert_eq!(account(&county.data_dir().join(DATABASE)).1, 1);
}

#[test]
fn a_disk_without_room_is_left_alone() {
    let county = County::new(1);
    let refused = has_room(&county.file("copy"), u64::MAX).unwrap_err();
    assert!(matches!(refused, BackupError::NoRoom { .. }), "{refused}");
}

#[test]
fn who_copied_the_database_is_written_down_and_not_where_to() {
    let county = County::new(3);
    let (dir, file) = (county.data_dir(), county.file("copy.sqlite"));
    let copied = backup(&dir, &file, Existing::Kept).unwrap();
    write_down(&dir, BY, &file, &copied).unwrap();
    let query = "SELECT body ->> 3, body ->> 4, body ->> 5, body ->> 6 FROM audit
                 ORDER BY id DESC LIMIT 1";
    let said: [String; 4] = county
        .connection()
        .query_row(query, [], |row| Ok([row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?]))
        .unwrap();
    let [who, action, what, detail] = &said;
    assert_eq!((who.as_str(), action.as_str(), what.as_str()), (BY, "backup", "copy.sqlite"));
    let detail: serde_json::Value = serde_json::from_str(detail).unwrap();
    assert_eq!(detail["bytes"], copied.bytes);
    assert_eq!(detail["generation"], generation_name(generation(&dir.join(DATABASE))));
    assert!(!said.concat().contains(&county.folder.path().display().to_string()));
}
