//! The county's database: one writer, some readers, SQLite.
//!
//! Not here: what is written ([`crate::intake`], [`crate::people`]) and what is asked
//! ([`crate::query`]).
//!
//! # Invariants
//! - what is known of patients is readable by the gateway's user only

mod damage;
mod migrate;

pub(crate) use migrate::SCHEMA;

use crate::disk::{Disk, FREE_MIN};
use migrate::migrate;
use rusqlite::{Connection, ErrorCode, OpenFlags, Transaction, TransactionBehavior};
use std::{
    cmp::Ordering,
    fs, io,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use thiserror::Error;

/// The database, in the data folder.
pub(crate) const DATABASE: &str = "county.sqlite";
/// Held by the gateway that works in the data folder.
pub(crate) const LOCK: &str = "lock";
/// Readers kept open: more questions at once than two cores can answer.
const READERS_MAX: usize = 8;
/// How long one waits for a database that somebody else is writing to.
const BUSY_MAX: Duration = Duration::from_secs(10);

/// Only the owner reads and writes; SQLite gives its other files the mode of the database.
pub(crate) const FILE_MODE: u32 = 0o600;
/// Only the owner looks inside.
const DIR_MODE: u32 = 0o700;

/// Why the database could not be opened.
#[derive(Debug, Error)]
pub(crate) enum OpenStoreError {
    #[error(
        "cannot open the database {path}; check that the folder exists and belongs to the gateway's user"
    )]
    Open {
        path: PathBuf,
        #[source]
        source: rusqlite::Error,
    },
    #[error(
        "cannot make the database {path}; check that the folder exists and belongs to the gateway's user"
    )]
    Make {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error(
        "the database {path} has schema {found}, this gateway knows up to {SCHEMA}; install the newer gateway again, do not delete the file"
    )]
    FromTheFuture { path: PathBuf, found: u32 },
    #[error(
        "the database {path} has schema {found}, this gateway asks one of schema {SCHEMA}; start this gateway once, it brings the database up to date"
    )]
    FromThePast { path: PathBuf, found: u32 },
    #[error("there is no database {path}; it is made when the gateway starts")]
    Missing { path: PathBuf },
    #[error(
        "the database {path} is damaged ({why}) and was left as it is; look at the disk, then run `clinic-gateway restore` with the last backup: it keeps this file beside"
    )]
    Damaged { path: PathBuf, why: String },
}

/// Why a question or a transaction failed.
#[derive(Debug, Error)]
pub(crate) enum StoreError {
    #[error("the database failed; check the disk")]
    Database(#[from] rusqlite::Error),
    /// [`Disk`] has told it, once.
    #[error("the disk takes nothing; make room, or look at who owns the data folder")]
    Disk(#[source] rusqlite::Error),
    #[error("the gateway failed on it; report this with its log")]
    Panicked,
    #[error("the gateway is stopping")]
    Stopping,
}

impl StoreError {
    /// Whether it would fail for anything else as well: the disk, not what was to be stored.
    pub(crate) fn is_of_the_disk(&self) -> bool {
        match self {
            Self::Panicked => false,
            Self::Stopping | Self::Disk(_) => true,
            Self::Database(error) => !matches!(
                error.sqlite_error_code(),
                None | Some(
                    ErrorCode::ConstraintViolation | ErrorCode::TypeMismatch | ErrorCode::TooBig
                )
            ),
        }
    }
}

/// The database.
#[derive(Clone, Debug)]
pub(crate) struct Store {
    path: Arc<Path>,
    writer: Arc<Mutex<Connection>>,
    readers: Arc<Mutex<Vec<Connection>>>,
    disk: Disk,
}

impl Store {
    /// Opens the database and brings its schema up to date.
    pub(crate) fn open(path: &Path) -> Result<Self, OpenStoreError> {
        if let Some(why) = damage::what_is_broken(path).map_err(failed(path))? {
            return Err(OpenStoreError::Damaged { path: path.to_owned(), why });
        }
        let writer = Self::connection(path)?;
        Ok(Self {
            path: path.into(),
            writer: Arc::new(Mutex::new(writer)),
            readers: Arc::default(),
            disk: Disk::of(path.parent().unwrap_or(path), FREE_MIN),
        })
    }

    /// Takes in only what is urgent where the disk has less room than that.
    pub(crate) fn with_free_min(self, bytes: u64) -> Self {
        let dir = self.path.parent().unwrap_or(&self.path);
        Self { disk: Disk::of(dir, bytes), ..self }
    }

    /// Whether a transaction is under way, for tests.
    #[cfg(test)]
    pub(crate) fn is_writing(&self) -> bool {
        self.writer.try_lock().is_err()
    }

    /// How its disk is.
    pub(crate) const fn disk(&self) -> &Disk {
        &self.disk
    }

    /// One connection for a command that needs no more.
    pub(crate) fn connection(path: &Path) -> Result<Connection, OpenStoreError> {
        let failed = failed(path);
        make_private(path)
            .map_err(|source| OpenStoreError::Make { path: path.to_owned(), source })?;
        let connection = plain(path).map_err(&failed)?;
        let found: u32 =
            connection.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(&failed)?;
        match found.cmp(&SCHEMA) {
            Ordering::Less => migrate(connection).map_err(failed),
            Ordering::Equal => Ok(connection),
            Ordering::Greater => {
                Err(OpenStoreError::FromTheFuture { path: path.to_owned(), found })
            }
        }
    }

    /// The database for a question: neither made nor changed, so that root may ask too.
    pub(crate) fn connection_to_read(path: &Path) -> Result<Connection, OpenStoreError> {
        let failed = failed(path);
        if !path.exists() {
            return Err(OpenStoreError::Missing { path: path.to_owned() });
        }
        let connection =
            Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).map_err(&failed)?;
        connection.busy_timeout(BUSY_MAX).map_err(&failed)?;
        let found: u32 =
            connection.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(&failed)?;
        let path = path.to_owned();
        match found.cmp(&SCHEMA) {
            Ordering::Less => Err(OpenStoreError::FromThePast { path, found }),
            Ordering::Equal => Ok(connection),
            Ordering::Greater => Err(OpenStoreError::FromTheFuture { path, found }),
        }
    }

    /// Runs one transaction; it is committed, with a sync, when this returns `Ok`.
    pub(crate) async fn write<T, F>(&self, change: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Transaction<'_>) -> rusqlite::Result<T> + Send + 'static,
    {
        let writer = Arc::clone(&self.writer);
        let done = blocking(move || {
            // A connection whose user panicked has rolled back: it is good again.
            let mut writer = writer.lock().unwrap_or_else(PoisonError::into_inner);
            let before = writer.total_changes();
            let transaction = writer.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let result = change(&transaction)?;
            transaction.commit()?;
            Ok((result, writer.total_changes() > before))
        })
        .await;
        match done {
            Ok((result, changed)) => {
                if changed {
                    self.disk.wrote();
                }
                Ok(result)
            }
            Err(StoreError::Database(error)) => {
                let of_the_disk = error.sqlite_error_code().map(|code| self.disk.refused(code));
                Err(match of_the_disk {
                    Some(true) => StoreError::Disk(error),
                    _ => StoreError::Database(error),
                })
            }
            Err(error) => Err(error),
        }
    }

    /// A connection for somebody who reads for long, beside those for questions.
    pub(crate) fn own_reader(&self) -> rusqlite::Result<Connection> {
        plain(&self.path)
    }

    /// Asks a question.
    pub(crate) async fn read<T, F>(&self, question: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        let (readers, path) = (Arc::clone(&self.readers), Arc::clone(&self.path));
        blocking(move || {
            let idle = readers.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let reader = idle.map_or_else(|| plain(&path), Ok)?;
            let answer = question(&reader);
            let mut readers = readers.lock().unwrap_or_else(PoisonError::into_inner);
            if readers.len() < READERS_MAX {
                readers.push(reader);
            }
            answer
        })
        .await
    }
}

/// Why a database was not opened.
fn failed(path: &Path) -> impl Fn(rusqlite::Error) -> OpenStoreError {
    move |source| match damage::is_damage(&source) {
        true => OpenStoreError::Damaged { path: path.to_owned(), why: source.to_string() },
        false => OpenStoreError::Open { path: path.to_owned(), source },
    }
}

/// Makes the data folder, for the gateway's user only. One that is there already keeps its mode: it
/// may be somebody else's too.
pub(crate) fn make_data_dir(dir: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(DIR_MODE).create(dir)
}

/// Makes the data folder, and keeps a second gateway out of it for as long as the file is open.
pub(crate) fn take_data_dir(dir: &Path) -> io::Result<fs::File> {
    make_data_dir(dir)?;
    let path = dir.join(LOCK);
    let lock = fs::OpenOptions::new().create(true).append(true).mode(FILE_MODE).open(path)?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(fs::TryLockError::Error(error)) => Err(error),
        Err(fs::TryLockError::WouldBlock) => {
            let text = "another clinic-gateway works in it; stop that one first, or give this one \
                        a data_dir of its own";
            Err(io::Error::new(io::ErrorKind::ResourceBusy, text))
        }
    }
}

/// Makes the file before SQLite does, and narrows one that others may read.
fn make_private(path: &Path) -> io::Result<()> {
    let file = fs::OpenOptions::new().create(true).append(true).mode(FILE_MODE).open(path)?;
    let found = file.metadata()?.permissions().mode();
    match found & !FILE_MODE & 0o777 {
        0 => Ok(()),
        _ => file.set_permissions(fs::Permissions::from_mode(FILE_MODE)),
    }
}

async fn blocking<T, F>(work: F) -> Result<T, StoreError>
where
    T: Send + 'static,
    F: FnOnce() -> rusqlite::Result<T> + Send + 'static,
{
    let done = tokio::task::spawn_blocking(work).await;
    Ok(done.map_err(|error| match error.is_panic() {
        true => StoreError::Panicked,
        false => StoreError::Stopping,
    })??)
}

fn plain(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(BUSY_MAX)?;
    connection.execute_batch(
        "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON;
         PRAGMA journal_size_limit=67108864;",
    )?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(connection)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn nobody_else_reads_what_is_known_of_patients() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join("data");
        make_data_dir(&dir).unwrap();
        let held = take_data_dir(&dir).unwrap();
        assert_eq!(take_data_dir(&dir).unwrap_err().kind(), io::ErrorKind::ResourceBusy);
        drop(held);
        take_data_dir(&dir).unwrap();
        let path = dir.join("county.sqlite");
        let connection = Store::connection(&path).unwrap();
        connection.execute("DELETE FROM session", []).unwrap();
        assert_eq!(mode(&dir), DIR_MODE);
        for file in ["county.sqlite", "county.sqlite-wal", "county.sqlite-shm"] {
            assert_eq!(mode(&dir.join(file)), FILE_MODE, "{file}");
        }
        drop(connection);
        // As an earlier version left it.
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        Store::connection(&path).unwrap();
        assert_eq!(mode(&path), FILE_MODE);
    }

    #[test]
    fn a_database_of_schema_1_is_brought_up_to_date_with_all_that_is_in_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("county.sqlite");
        let mut of_lane = vec![0xa5, 0x61, b'v', 1, 0x61, b'o', 0x50];
        of_lane.extend([7; 16]);
        of_lane.extend([0x61, b'l', 1, 0x61, b's', 9, 0x61, b't', 0]);
        let old = Connection::open(&path).unwrap();
        old.execute_batch(include_str!("../migrations/0001_county.sql")).unwrap();
        for (hash, bytes) in [([1_u8; 32], of_lane), ([2; 32], b"noise".to_vec())] {
            let aside = "INSERT INTO quarantine (site, received_ms, cause, rest, hash, bytes)
                         VALUES ('heping', 5, 'why', 0, ?1, ?2)";
            old.execute(aside, rusqlite::params![hash, bytes]).unwrap();
        }
        for (id, samples) in [
            (1, vec![0x80, 0x02, 0x00, 0x01]),
            (2, uplink_proto::samples::encode(&[5, 6, 7])),
            (3, vec![0xff]),
        ] {
            let block =
                "INSERT INTO waveform VALUES (?1, 'heping', '07', 'wave', 1, 0, 'any-01', '',
                         'ecg_ii', 0, 1, 250, NULL, NULL, NULL, '', ?2)";
            old.execute(block, rusqlite::params![id, samples]).unwrap();
        }
        old.execute("INSERT INTO ledger VALUES ('heping', '07', 'trend', '1-8', '', '9-9')", [])
            .unwrap();
        // As some builds of schema 1 have it.
        old.execute("CREATE TABLE device_action (id INTEGER PRIMARY KEY, site, device)", [])
            .unwrap();
        old.pragma_update(None, "user_version", 1).unwrap();
        drop(old);
        let past = Store::connection_to_read(&path).unwrap_err();
        assert!(matches!(past, OpenStoreError::FromThePast { found: 1, .. }));

        let connection = Store::connection(&path).unwrap();
        let mut asked = connection
            .prepare("SELECT outbox || '/' || lane || '/' || seq FROM quarantine ORDER BY id")
            .unwrap();
        let places: Vec<Option<String>> =
            asked.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
        drop(asked);
        assert_eq!(places, [Some(format!("{}/trend/9", "07".repeat(16))), None]);
        let kept: String =
            connection.query_row("SELECT received FROM ledger", [], |row| row.get(0)).unwrap();
        assert_eq!(kept, "1-8");
        let blocks = [1, 2, 3].map(|id| {
            let query = "SELECT samples FROM waveform WHERE id = ?1";
            let bytes = connection.query_row(query, [id], |row| row.get::<_, Vec<u8>>(0)).unwrap();
            uplink_proto::samples::decode(&bytes)
        });
        assert_eq!(blocks, [Some(vec![128, 128, 127]), Some(vec![5, 6, 7]), None]);
        let generation = "SELECT generation FROM county";
        let generation = |from: &Connection| from.query_row(generation, [], |row| row.get(0));
        let first: i64 = generation(&connection).unwrap();
        assert!(first > 0);
        drop(connection);
        // It is done once.
        let again: i64 = generation(&Store::connection_to_read(&path).unwrap()).unwrap();
        assert_eq!(again, first);
        let newer = Connection::open(&path).unwrap();
        newer.pragma_update(None, "user_version", SCHEMA + 1).unwrap();
        let future = Store::connection(&path).unwrap_err();
        assert!(matches!(future, OpenStoreError::FromTheFuture { .. }));
    }
}
