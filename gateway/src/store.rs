//! The county's database: one writer, some readers, SQLite.
//!
//! Not here: what is written ([`crate::intake`], [`crate::people`]) and what is asked
//! ([`crate::query`]).

use rusqlite::{Connection, Transaction, TransactionBehavior};
use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use thiserror::Error;

/// Schema this gateway writes.
const SCHEMA: u32 = 1;
/// Readers kept open: more questions at once than two cores can answer.
const READERS_MAX: usize = 8;

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
        "the database {path} has schema {found}, this gateway knows up to {SCHEMA}; install the newer gateway again, do not delete the file"
    )]
    FromTheFuture { path: PathBuf, found: u32 },
}

/// Why a question or a transaction failed.
#[derive(Debug, Error)]
pub(crate) enum StoreError {
    #[error("the database failed; check the disk")]
    Database(#[from] rusqlite::Error),
    #[error("the gateway is stopping")]
    Stopping,
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

async fn blocking<T, F>(work: F) -> Result<T, StoreError>
where
    T: Send + 'static,
    F: FnOnce() -> rusqlite::Result<T> + Send + 'static,
{
    Ok(tokio::task::spawn_blocking(work).await.map_err(|_| StoreError::Stopping)??)
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
