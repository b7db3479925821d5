//! A copy of the county's database while it is in use, and the way back.
//!
//! Not here: keys, certificates, configuration and rule set. They are files that seldom change, and
//! a key does not belong into a file that is made every night ([`crate::command`] names them).
//!
//! # Invariants
//! - a copy is the database of one moment: all that was acked before it, nothing of what came after
//! - a file is complete and checked before it has its name; one that is there is not overwritten
//!   unless that was asked for, the database of a county never
//! - a restore puts the copy in the place of the database at one stroke, and keeps what was there
//! - a restored county has another generation: what it acked before may be gone from it

use crate::{
    audit::{self, Entry, Head},
    clock,
    disk::{free_bytes, mib},
    query::generation_name,
    store::{self, DATABASE, OpenStoreError, Store},
};
use model::time::WallTime;
use rusqlite::{
    Connection, ErrorCode, OpenFlags, Transaction, TransactionBehavior, backup::Backup, params,
};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use serde_json::json;
use std::{
    ffi::OsString,
    fs::{self, File},
    io,
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, chown},
    path::{Path, PathBuf},
    time::Duration,
};
use thiserror::Error;

/// Pages of one step, 1 MiB: the gateway waits for the disk no longer than for one of its own
/// checkpoints.
const STEP_PAGES: i32 = 256;
/// Between two steps the disk is the gateway's.
const PAUSE: Duration = Duration::from_millis(5);
/// A copy leaves this much room on the disk it is written to: it may be the gateway's own.
const ROOM_LEFT: u64 = 64 << 20;

/// Why there is no backup, or no restored county.
#[derive(Debug, Error)]
pub(crate) enum BackupError {
    #[error("{0} is there already; choose another name, or write --overwrite")]
    Exists(PathBuf),
    #[error("{0} is the county's own database; choose a name outside its data folder")]
    Own(PathBuf),
    #[error("there is no file {0}; name one that `clinic-gateway backup` has made")]
    Missing(PathBuf),
    #[error(
        "{path} is not the database of a county ({why}); name one that `clinic-gateway backup` has made"
    )]
    Foreign { path: PathBuf, why: String },
    #[error(
        "{path} has schema {found}, this gateway knows up to {known}; install the newer gateway first"
    )]
    Newer { path: PathBuf, found: u32, known: u32 },
    #[error("{path} is damaged ({why}); keep it aside, and restore the last good backup")]
    Damaged { path: PathBuf, why: String },
    #[error("{} MiB are needed in {dir} and {} MiB are free; make room, or choose another disk", mib(*.needed), mib(*.free))]
    NoRoom { dir: PathBuf, needed: u64, free: u64 },
    #[error("another backup to {0} is under way; wait for it, or choose another name")]
    UnderWay(PathBuf),
    #[error("{path}: {what}")]
    File {
        path: PathBuf,
        what: &'static str,
        #[source]
        source: io::Error,
    },
    #[error("copying {path} failed; check both disks")]
    Copy {
        path: PathBuf,
        #[source]
        source: rusqlite::Error,
    },
    #[error("the database cannot be opened")]
    Open(#[from] OpenStoreError),
}

impl BackupError {
    /// Whether what was asked for cannot be meant, as against something that went wrong.
    pub(crate) const fn is_wrong_use(&self) -> bool {
        matches!(self, Self::Own(_) | Self::Missing(_) | Self::Foreign { .. })
    }

    fn file(path: &Path, what: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::File { path: path.to_owned(), what, source }
    }

    fn copy(path: &Path) -> impl Fn(rusqlite::Error) -> Self {
        move |source| {
            let (path, why) = (path.to_owned(), source.to_string());
            match source.sqlite_error_code() {
                Some(ErrorCode::NotADatabase) => Self::Foreign { path, why },
                Some(ErrorCode::DatabaseCorrupt) => Self::Damaged { path, why },
                _ => Self::Copy { path, source },
            }
        }
    }
}

/// What becomes of a file that has the name already.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Existing {
    Kept,
    Overwritten,
}

/// A backup.
#[derive(Debug)]
pub(crate) struct Copied {
    pub(crate) bytes: u64,
    /// All that was acked before is in it.
    pub(crate) at_ms: i64,
}

/// Copies the database into `file`, whether a gateway works with it or not.
pub(crate) fn backup(
    data_dir: &Path,
    file: &Path,
    existing: Existing,
) -> Result<Copied, BackupError> {
    let database = data_dir.join(DATABASE);
    if belongs_to_county(file, data_dir) {
        return Err(BackupError::Own(file.to_owned()));
    }
    if existing == Existing::Kept && file.symlink_metadata().is_ok() {
        return Err(BackupError::Exists(file.to_owned()));
    }
    let source = Store::connection_to_read(&database)?;
    let copy = Unfinished::begin(beside(file, ".part"))?;
    let at_ms = clock::now().unix_ms();
    copy_pages(&source, &database, &copy.path)?;
    drop(source);
    let made = Connection::open(&copy.path).map_err(BackupError::copy(&copy.path))?;
    let mark = "UPDATE county SET copied_ms = ?1";
    made.execute(mark, [at_ms]).map_err(BackupError::copy(&copy.path))?;
    // What is damaged in the copy was damaged before.
    check(&made, &database, "quick_check")?;
    into_one_file(made, &copy.path)?;
    let bytes = copy.finish(file, existing)?;
    Ok(Copied { bytes, at_ms })
}

/// Writes down that somebody has copied the database, by the name of the file alone: where it lies
/// is nobody's business.
pub(crate) fn write_down(
    data_dir: &Path,
    by: &str,
    file: &Path,
    copied: &Copied,
) -> Result<(), BackupError> {
    let database = data_dir.join(DATABASE);
    let failed = BackupError::copy(&database);
    let mut county = Store::connection(&database)?;
    let transaction =
        Transaction::new(&mut county, TransactionBehavior::Immediate).map_err(&failed)?;
    let generation = "SELECT generation FROM county";
    let generation = transaction.query_row(generation, [], |row| row.get(0)).map_err(&failed)?;
    let what = file.file_name().unwrap_or_default().to_string_lossy();
    let detail = json!({"bytes": copied.bytes, "generation": generation_name(generation),
        "copied_at": clock::rfc3339(copied.at_ms)});
    let entry = Entry { who: by, action: "backup", what: &what, detail };
    audit::append(&transaction, clock::now(), &entry).map_err(&failed)?;
    transaction.commit().map_err(&failed)
}

/// A county that was brought back.
#[derive(Debug)]
pub(crate) struct Restored {
    /// When the backup was made, where it says so.
    pub(crate) copied_ms: Option<i64>,
    pub(crate) generation: i64,
    /// The database that was there before.
    pub(crate) kept: Option<PathBuf>,
}

/// Puts a backup in the place of the database. No gateway may work in the folder.
pub(crate) fn restore(data_dir: &Path, file: &Path, by: &str) -> Result<Restored, BackupError> {
    let database = data_dir.join(DATABASE);
    if !file.is_file() {
        return Err(BackupError::Missing(file.to_owned()));
    }
    if same_file(file, &database) {
        return Err(BackupError::Own(file.to_owned()));
    }
    let source = Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_ONLY)
        .map_err(BackupError::copy(file))?;
    recognise(&source, file)?;
    let held = store::take_data_dir(data_dir)
        .map_err(BackupError::file(data_dir, "the data folder cannot be taken"))?;
    let copy = Unfinished::begin(beside(&database, ".restoring"))?;
    copy_pages(&source, file, &copy.path)?;
    drop(source);
    // The copy is checked, not the file: it is what the county will work with.
    let copied = Connection::open(&copy.path).map_err(BackupError::copy(file))?;
    check(&copied, file, "integrity_check")?;
    drop(copied);
    let county = Store::connection(&copy.path)?;
    let now = clock::now();
    let (generation, copied_ms) =
        renew(&county, now, by, head_of(&database)).map_err(BackupError::copy(&copy.path))?;
    into_one_file(county, &copy.path)?;
    // Before the database that is there loses its log: from there on only renaming is left.
    belong_to_owner(data_dir, &[&copy.path, &data_dir.join(store::LOCK)])?;
    let kept = keep(&database, now.unix_ms())?;
    copy.finish(&database, Existing::Overwritten)?;
    drop(held);
    Ok(Restored { copied_ms, generation, kept })
}

/// The last entry of the chain of a database that is given up, where it can be read: it proves what
/// was there.
fn head_of(database: &Path) -> Option<Head> {
    let old = Connection::open_with_flags(database, OpenFlags::SQLITE_OPEN_READ_ONLY).ok()?;
    audit::head(&old).ok()?
}

/// The copy becomes a county of its own.
fn renew(
    county: &Connection,
    now: WallTime,
    by: &str,
    given_up: Option<Head>,
) -> rusqlite::Result<(i64, Option<i64>)> {
    let transaction = county.unchecked_transaction()?;
    // Who was logged in then logs in again: nobody knows where the file has been.
    transaction.execute("DELETE FROM session", [])?;
    let renewed: (i64, Option<i64>) = transaction.query_row(
        "UPDATE county SET generation = abs(random() / 2) + 1, restored_ms = ?1
         RETURNING generation, copied_ms",
        params![now.unix_ms()],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )?;
    let what = generation_name(renewed.0);
    let detail = json!({"copied_at": renewed.1.map(clock::rfc3339), "head_given_up": given_up});
    audit::append(&transaction, now, &Entry { who: by, action: "restore", what: &what, detail })?;
    transaction.commit()?;
    Ok(renewed)
}

/// Whether a name is one of the files the gateway works with.
fn belongs_to_county(file: &Path, data_dir: &Path) -> bool {
    let own = [DATABASE, store::LOCK].map(|name| data_dir.join(name));
    let named = file.file_name().is_some_and(|name| name.to_string_lossy().starts_with(DATABASE));
    own.iter().any(|own| same_file(file, own)) || named && same_file(folder(file), data_dir)
}

fn same_file(one: &Path, other: &Path) -> bool {
    let place = |path: &Path| fs::metadata(path).ok().map(|found| (found.dev(), found.ino()));
    place(one).is_some_and(|found| Some(found) == place(other))
}

/// Copies every page as of now, in steps.
fn copy_pages(source: &Connection, from: &Path, to: &Path) -> Result<(), BackupError> {
    let failed = BackupError::copy(from);
    // A reader that stays open sees one moment: without it every commit of the gateway would let
    // the copy begin anew, and it would never end.
    source.execute_batch("BEGIN; SELECT count(*) FROM sqlite_master").map_err(&failed)?;
    let number = |query| source.query_row(query, [], |row| row.get::<_, u32>(0));
    let pages = u64::from(number("PRAGMA page_count").map_err(&failed)?);
    let needed = pages.saturating_mul(number("PRAGMA page_size").map_err(&failed)?.into());
    has_room(to, needed.saturating_add(ROOM_LEFT))?;
    let mut target = Connection::open(to).map_err(&failed)?;
    // It is synced once, before it gets its name.
    target.execute_batch("PRAGMA synchronous=OFF").map_err(&failed)?;
    let copying = Backup::new(source, &mut target).map_err(&failed)?;
    copying.run_to_completion(STEP_PAGES, PAUSE, None).map_err(&failed)?;
    drop(copying);
    target.close().map_err(|(_, error)| failed(error))?;
    source.execute_batch("COMMIT").map_err(BackupError::copy(from))
}

fn has_room(file: &Path, needed: u64) -> Result<(), BackupError> {
    let dir = folder(file);
    let free =
        free_bytes(dir).map_err(BackupError::file(dir, "how much room it has is unknown"))?;
    match free >= needed {
        true => Ok(()),
        false => Err(BackupError::NoRoom { dir: dir.to_owned(), needed, free }),
    }
}

/// Whether it is the database of a county, of a schema this gateway knows.
fn recognise(source: &Connection, file: &Path) -> Result<(), BackupError> {
    /// What every county has had from its first day on, and no outbox has.
    const TABLES: [&str; 5] = ["site", "ledger", "envelope", "engine", "person"];
    let failed = BackupError::copy(file);
    for table in TABLES {
        let query = "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = ?1";
        let found: i64 = source.query_row(query, [table], |row| row.get(0)).map_err(&failed)?;
        if found == 0 {
            let why = format!("it has no table {table}");
            return Err(BackupError::Foreign { path: file.to_owned(), why });
        }
    }
    let found: u32 =
        source.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(&failed)?;
    match found > store::SCHEMA {
        true => Err(BackupError::Newer { path: file.to_owned(), found, known: store::SCHEMA }),
        false => Ok(()),
    }
}

/// Lets SQLite look at every page; `integrity_check` compares the indexes with their tables too.
fn check(copy: &Connection, file: &Path, how: &str) -> Result<(), BackupError> {
    let damaged = |why| BackupError::Damaged { path: file.to_owned(), why };
    let said: String = copy
        .query_row(&format!("PRAGMA {how}(1)"), [], |row| row.get(0))
        .map_err(|error| damaged(error.to_string()))?;
    if said == "ok" { Ok(()) } else { Err(damaged(said)) }
}

/// No write-ahead log beside it: one file is all there is to carry away.
fn into_one_file(copy: Connection, path: &Path) -> Result<(), BackupError> {
    let failed = BackupError::copy(path);
    copy.query_row("PRAGMA journal_mode=DELETE", [], |_| Ok(())).map_err(&failed)?;
    copy.close().map_err(|(_, error)| failed(error))
}

/// Gives the database that is there a second name, under which it stays.
fn keep(database: &Path, now_ms: i64) -> Result<Option<PathBuf>, BackupError> {
    let moment = clock::rfc3339(now_ms).replace([':', '.'], "-");
    let kept = beside(database, &format!(".before-{moment}"));
    let failed = |what| BackupError::file(&kept, what);
    let is_there = database.exists();
    if is_there {
        // What its log still holds goes into it. A damaged one refuses: its log is kept as it is.
        if let Ok(old) = Connection::open(database) {
            let whole = old.query_row("PRAGMA journal_mode=DELETE", [], |_| Ok(()));
            tracing::debug!(?whole, "The database before was closed.");
        }
        fs::hard_link(database, &kept).map_err(failed("the database before cannot be kept"))?;
    }
    // The log of one database is poison to another.
    let log = beside(database, "-wal");
    if log.exists() {
        fs::rename(&log, beside(&kept, "-wal"))
            .map_err(failed("the log of the database before cannot be kept"))?;
    }
    remove(&beside(database, "-shm"))?;
    Ok(is_there.then_some(kept))
}

/// Root may restore: what it makes must be the gateway's.
fn belong_to_owner(data_dir: &Path, files: &[&Path]) -> Result<(), BackupError> {
    let failed = |path| BackupError::file(path, "it cannot be given to the owner of its folder");
    let owner = fs::metadata(data_dir).map_err(failed(data_dir))?;
    for path in files {
        let found = fs::metadata(path).map_err(failed(path))?;
        if (found.uid(), found.gid()) != (owner.uid(), owner.gid()) {
            chown(path, Some(owner.uid()), Some(owner.gid())).map_err(failed(path))?;
        }
    }
    Ok(())
}

/// A file that is being written, and gone if it is not finished.
struct Unfinished {
    path: PathBuf,
    /// Kept open: it holds the lock against a second one.
    file: Option<File>,
}

impl Unfinished {
    fn begin(path: PathBuf) -> Result<Self, BackupError> {
        let failed = |what| BackupError::file(&path, what);
        let file = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .mode(store::FILE_MODE)
            .open(&path)
            .map_err(failed("it cannot be made; check the folder and who may write to it"))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => return Err(BackupError::UnderWay(path)),
            Err(fs::TryLockError::Error(error)) => {
                return Err(failed("it cannot be locked")(error));
            }
        }
        // One that was killed may have left something.
        file.set_len(0).map_err(failed("it cannot be emptied"))?;
        let mode = fs::Permissions::from_mode(store::FILE_MODE);
        file.set_permissions(mode).map_err(failed("it cannot be made private"))?;
        let unfinished = Self { path, file: Some(file) };
        unfinished.remove_logs()?;
        Ok(unfinished)
    }

    /// Syncs it and gives it its name; its length.
    fn finish(mut self, name: &Path, existing: Existing) -> Result<u64, BackupError> {
        let failed = |what| BackupError::file(name, what);
        let Some(file) = self.file.take() else { return Ok(0) };
        let result = (|| {
            file.sync_all().map_err(failed("it cannot be written to the disk"))?;
            let bytes = file.metadata().map_err(failed("its length is unknown"))?.len();
            self.rename(name, existing)?;
            let dir = folder(name);
            let sync = File::open(dir).and_then(|dir| dir.sync_all());
            sync.map_err(BackupError::file(dir, "it cannot be written to the disk"))?;
            Ok(bytes)
        })();
        if result.is_err() {
            self.file = Some(file);
        }
        result
    }

    fn rename(&self, name: &Path, existing: Existing) -> Result<(), BackupError> {
        let failed = BackupError::file(name, "the copy cannot be given this name");
        if existing == Existing::Overwritten {
            return fs::rename(&self.path, name).map_err(failed);
        }
        match renameat_with(CWD, &self.path, CWD, name, RenameFlags::NOREPLACE) {
            Ok(()) => Ok(()),
            Err(rustix::io::Errno::EXIST) => Err(BackupError::Exists(name.to_owned())),
            // A network disk does not know how.
            Err(rustix::io::Errno::INVAL) if !name.exists() => {
                fs::rename(&self.path, name).map_err(failed)
            }
            Err(error) => Err(failed(error.into())),
        }
    }

    fn remove_logs(&self) -> Result<(), BackupError> {
        ["-journal", "-wal", "-shm"].iter().try_for_each(|end| remove(&beside(&self.path, end)))
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if self.file.is_some() {
            // What cannot be removed is taken over by the next one.
            drop(fs::remove_file(&self.path));
            drop(self.remove_logs());
        }
    }
}

fn remove(path: &Path) -> Result<(), BackupError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(BackupError::file(path, "it cannot be removed")(error))
        }
        _ => Ok(()),
    }
}

/// The same name with more at its end.
fn beside(path: &Path, end: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(end);
    name.into()
}

fn folder(file: &Path) -> &Path {
    file.parent().filter(|dir| *dir != Path::new("")).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests;
