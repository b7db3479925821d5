//! The county's database: one writer, some readers, SQLite.
//!
//! Not here: what is written ([`crate::intake`], [`crate::people`]) and what is asked
//! ([`crate::query`]).
//!
//! # Invariants
//! - what is known of patients is readable by the gateway's user only

use rusqlite::{Connection, ErrorCode, Transaction, TransactionBehavior};
use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use thiserror::Error;

/// Schema this gateway writes.
const SCHEMA: u32 = 1;
/// Readers kept open: more questions at once than two cores can answer.
const READERS_MAX: usize = 8;

/// Only the owner reads and writes; SQLite gives its other files the mode of the database.
const FILE_MODE: u32 = 0o600;
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
}

/// Why a question or a transaction failed.
#[derive(Debug, Error)]
pub(crate) enum StoreError {
    #[error("the database failed; check the disk")]
    Database(#[from] rusqlite::Error),
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
            Self::Stopping => true,
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
}

impl Store {
    /// Opens the database and brings its schema up to date.
    pub(crate) fn open(path: &Path) -> Result<Self, OpenStoreError> {
        let writer = Self::connection(path)?;
        Ok(Self {
            path: path.into(),
            writer: Arc::new(Mutex::new(writer)),
            readers: Arc::default(),
        })
    }

    /// One connection for a command that needs no more.
    pub(crate) fn connection(path: &Path) -> Result<Connection, OpenStoreError> {
        let failed = |source| OpenStoreError::Open { path: path.to_owned(), source };
        make_private(path)
            .map_err(|source| OpenStoreError::Make { path: path.to_owned(), source })?;
        let connection = plain(path).map_err(failed)?;
        let found: u32 =
            connection.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(failed)?;
        match found {
            0 => migrate(connection).map_err(failed),
            SCHEMA => Ok(connection),
            found => Err(OpenStoreError::FromTheFuture { path: path.to_owned(), found }),
        }
    }

    /// Runs one transaction; it is committed, with a sync, when this returns `Ok`.
    pub(crate) async fn write<T, F>(&self, change: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Transaction<'_>) -> rusqlite::Result<T> + Send + 'static,
    {
        let writer = Arc::clone(&self.writer);
        blocking(move || {
            // A connection whose user panicked has rolled back: it is good again.
            let mut writer = writer.lock().unwrap_or_else(PoisonError::into_inner);
            let transaction = writer.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let result = change(&transaction)?;
            transaction.commit()?;
            Ok(result)
        })
        .await
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

/// Makes the data folder, for the gateway's user only. One that is there already keeps its mode: it
/// may be somebody else's too.
pub(crate) fn make_data_dir(dir: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(DIR_MODE).create(dir)
}

/// Makes the data folder, and keeps a second gateway out of it for as long as the file is open.
pub(crate) fn take_data_dir(dir: &Path) -> io::Result<fs::File> {
    make_data_dir(dir)?;
    let path = dir.join("lock");
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
    connection.busy_timeout(Duration::from_secs(10))?;
    connection.execute_batch(
        "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON;
         PRAGMA journal_size_limit=67108864;",
    )?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(connection)
}

fn migrate(mut connection: Connection) -> rusqlite::Result<Connection> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let found: u32 = transaction.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    // Another process may have been first.
    if found == 0 {
        transaction.execute_batch(include_str!("../migrations/0001_county.sql"))?;
        transaction.pragma_update(None, "user_version", SCHEMA)?;
    }
    transaction.commit()?;
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
}
