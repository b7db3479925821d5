//! The outbox file: opening it whatever state it is in, and the SQL on it.

use drivers::serial::Cursor;
use model::{
    id::{DeviceId, Lane, OutboxId, Seq},
    time::WallTime,
};
use rusqlite::{Connection, OpenFlags, OptionalExtension as _, TransactionBehavior, params};
use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};
use thiserror::Error;
use uplink_proto::ranges::RangeSet;

/// Schema this agent writes.
const SCHEMA: u32 = 1;
/// A small file is checked whole before it is used; a larger one would delay the start too long.
const CHECK_LEN_MAX: u64 = 64 << 20;
/// Identities kept of each device: one more than a glucose meter's memory of 500 is too few.
pub(super) const IDENTITIES_MAX: u32 = 512;

/// Why not even a fresh outbox could be made.
#[derive(Debug, Error)]
pub(crate) enum OpenOutboxError {
    /// SQLite.
    #[error(
        "cannot make an outbox at {path}; check that the folder exists, has room and belongs to the agent's user"
    )]
    Open {
        path: PathBuf,
        #[source]
        source: rusqlite::Error,
    },
    /// The damaged file is in the way.
    #[error("cannot move the damaged outbox {path} aside; check who owns the folder")]
    MoveAside {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// The file system.
    #[error(
        "the file system of {path} cannot keep a write-ahead log; put the data folder on a local disk"
    )]
    NoWal { path: PathBuf },
    /// The random generator.
    #[error("the system gives no random bytes; look at its log")]
    Random,
}

/// The outbox file, open for writing.
#[derive(Debug)]
pub(super) struct OutboxFile {
    pub(super) connection: Connection,
    path: PathBuf,
    id: OutboxId,
}

/// What an existing file turned out to be.
enum Found {
    Good(Connection),
    FromTheFuture(u32),
}

/// Opens the outbox at `path`. A damaged file is moved aside and kept, and a fresh one started; a
/// file of a newer agent is left untouched, and another one started beside it.
pub(super) fn open(path: &Path, now: WallTime) -> Result<OutboxFile, OpenOutboxError> {
    let open_error = |source| OpenOutboxError::Open { path: path.to_owned(), source };
    match look(path) {
        Ok(Found::Good(connection)) => finish(connection, path),
        Ok(Found::FromTheFuture(schema)) => {
            let beside = path.with_extension(format!("schema{SCHEMA}.sqlite"));
            tracing::error!(path = %path.display(), schema, beside = %beside.display(),
                "The outbox is of a newer agent and left untouched; install the newer agent again.");
            match look(&beside) {
                Ok(Found::Good(connection)) => finish(connection, &beside),
                Ok(Found::FromTheFuture(_)) => Err(open_error(rusqlite::Error::InvalidQuery)),
                Err(error) => Err(open_error(error)),
            }
        }
        Err(error) if is_damage(&error) => {
            let aside = path.with_extension(format!("damaged-{}.sqlite", now.unix_ms()));
            tracing::error!(path = %path.display(), aside = %aside.display(), %error,
                "The outbox is damaged: kept aside, a fresh one is started.");
            move_aside(path, &aside)
                .map_err(|source| OpenOutboxError::MoveAside { path: path.to_owned(), source })?;
            match look(path) {
                Ok(Found::Good(connection)) => finish(connection, path),
                Ok(Found::FromTheFuture(_)) => Err(open_error(rusqlite::Error::InvalidQuery)),
                Err(error) => Err(open_error(error)),
            }
        }
        Err(error) => Err(open_error(error)),
    }
}

fn is_damage(error: &rusqlite::Error) -> bool {
    use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
    matches!(error.sqlite_error_code(), Some(DatabaseCorrupt | NotADatabase))
        || matches!(error, rusqlite::Error::QueryReturnedNoRows)
}

fn move_aside(path: &Path, aside: &Path) -> io::Result<()> {
    fs::rename(path, aside)?;
    for suffix in ["-wal", "-shm"] {
        let with = |path: &Path| {
            let mut name = path.as_os_str().to_owned();
            name.push(suffix);
            PathBuf::from(name)
        };
        if fs::exists(with(path))? {
            fs::rename(with(path), with(aside))?;
        }
    }
    Ok(())
}

fn look(path: &Path) -> rusqlite::Result<Found> {
    let len = fs::metadata(path).map_or(0, |found| found.len());
    let mut connection = Connection::open(path)?;
    connection.busy_timeout(Duration::from_secs(5))?;
    let schema: u32 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    if schema > SCHEMA {
        return Ok(Found::FromTheFuture(schema));
    }
    connection.execute_batch(
        "PRAGMA auto_vacuum=INCREMENTAL;
         PRAGMA journal_mode=WAL;
         PRAGMA synchronous=FULL;
         PRAGMA wal_autocheckpoint=1000;
         PRAGMA journal_size_limit=16777216;",
    )?;
    if schema == 0 {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        transaction.execute_batch(include_str!("../../migrations/0001_outbox.sql"))?;
        transaction.pragma_update(None, "user_version", SCHEMA)?;
        transaction.commit()?;
    } else if len <= CHECK_LEN_MAX {
        let verdict: String =
            connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
        if verdict != "ok" {
            return Err(rusqlite::Error::QueryReturnedNoRows);
        }
    }
    Ok(Found::Good(connection))
}

fn finish(connection: Connection, path: &Path) -> Result<OutboxFile, OpenOutboxError> {
    let open_error = |source| OpenOutboxError::Open { path: path.to_owned(), source };
    let mode: String =
        connection.query_row("PRAGMA journal_mode", [], |row| row.get(0)).map_err(open_error)?;
    if mode != "wal" {
        return Err(OpenOutboxError::NoWal { path: path.to_owned() });
    }
    let known: Option<[u8; 16]> = connection
        .query_row("SELECT value FROM meta WHERE key = 'outbox_id'", [], |row| row.get(0))
        .optional()
        .map_err(open_error)?;
    let id = match known {
        Some(id) => OutboxId::from_bytes(id),
        None => {
            let id = random_id()?;
            connection
                .execute("INSERT INTO meta VALUES ('outbox_id', ?1)", [id.as_bytes()])
                .map_err(open_error)?;
            id
        }
    };
    Ok(OutboxFile { connection, path: path.to_owned(), id })
}

fn random_id() -> Result<OutboxId, OpenOutboxError> {
    let mut bytes = [0; 16];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| OpenOutboxError::Random)?;
    Ok(OutboxId::from_bytes(bytes))
}

impl OutboxFile {
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn id(&self) -> OutboxId {
        self.id
    }

    /// The next seq of a lane.
    pub(super) fn next_seq(&self, lane: Lane) -> rusqlite::Result<Seq> {
        next_seq(&self.connection, lane)
    }

    /// Rows of a lane that are not acked.
    pub(super) fn unacked(&self, lane: Lane) -> rusqlite::Result<RangeSet> {
        let mut statement = self
            .connection
            .prepare_cached("SELECT seq FROM envelope WHERE lane = ?1 AND acked_at IS NULL")?;
        let mut rows = statement.query([lane.name()])?;
        let mut unacked = RangeSet::default();
        while let Some(row) = rows.next()? {
            unacked.insert(seq_of(row.get(0)?)?);
        }
        Ok(unacked)
    }

    pub(super) fn cursor(&self, device: &DeviceId) -> rusqlite::Result<Option<Cursor>> {
        let mut statement =
            self.connection.prepare_cached("SELECT bytes FROM cursor WHERE device = ?1")?;
        statement.query_row([device.as_str()], |row| Ok(Cursor(row.get(0)?))).optional()
    }

    /// Identities of a device, oldest first.
    pub(super) fn identities(&self, device: &DeviceId) -> rusqlite::Result<Vec<String>> {
        let mut statement = self
            .connection
            .prepare_cached("SELECT identity FROM identity WHERE device = ?1 ORDER BY number")?;
        let rows = statement.query_map([device.as_str()], |row| row.get(0))?;
        rows.collect()
    }

    /// Counts connections, kept over restarts.
    pub(super) fn next_connection(&self) -> rusqlite::Result<u64> {
        let number: i64 = self.connection.query_row(
            "INSERT INTO meta VALUES ('connection', 1)
             ON CONFLICT (key) DO UPDATE SET value = value + 1 RETURNING value",
            [],
            |row| row.get(0),
        )?;
        Ok(u64::try_from(number).unwrap_or_default())
    }

    /// Marks rows as committed at the county.
    pub(super) fn mark_acked(
        &self,
        lane: Lane,
        first: Seq,
        last: Seq,
        now: WallTime,
    ) -> rusqlite::Result<usize> {
        let mut statement = self.connection.prepare_cached(
            "UPDATE envelope SET acked_at = ?4
             WHERE lane = ?1 AND seq BETWEEN ?2 AND ?3 AND acked_at IS NULL",
        )?;
        statement.execute(params![lane.name(), integer(first), integer(last), now.unix_ms()])
    }

    /// Gives the outbox a new id, and what is not acked new numbers under it.
    pub(super) fn start_anew(
        &mut self,
        renumber: impl Fn(&[u8], OutboxId, Seq) -> Option<Vec<u8>>,
    ) -> rusqlite::Result<()> {
        let Ok(id) = random_id() else { return Err(rusqlite::Error::InvalidQuery) };
        let transaction =
            self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        transaction.execute("DELETE FROM envelope WHERE acked_at IS NOT NULL", [])?;
        transaction
            .execute("UPDATE meta SET value = ?1 WHERE key = 'outbox_id'", [id.as_bytes()])?;
        for lane in Lane::ALL {
            let rows: Vec<(i64, i64, Vec<u8>)> = transaction
                .prepare("SELECT seq, opened_at, bytes FROM envelope WHERE lane = ?1 ORDER BY seq")?
                .query_map([lane.name()], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
                .collect::<Result<_, _>>()?;
            transaction.execute("DELETE FROM envelope WHERE lane = ?1", [lane.name()])?;
            let mut next = Seq::FIRST;
            for (_, opened_at, bytes) in rows {
                if let Some(bytes) = renumber(&bytes, id, next) {
                    insert(&transaction, lane, next, opened_at, &bytes)?;
                    next = next.next();
                }
            }
            set_next_seq(&transaction, lane, next)?;
        }
        transaction.commit()?;
        self.id = id;
        Ok(())
    }
}

/// Appends an envelope. The caller owns the transaction.
pub(super) fn insert(
    transaction: &Connection,
    lane: Lane,
    seq: Seq,
    opened_at: i64,
    bytes: &[u8],
) -> rusqlite::Result<()> {
    let mut statement = transaction.prepare_cached(
        "INSERT INTO envelope (lane, seq, opened_at, bytes) VALUES (?1, ?2, ?3, ?4)",
    )?;
    statement.execute(params![lane.name(), integer(seq), opened_at, bytes])?;
    Ok(())
}

pub(super) fn next_seq(connection: &Connection, lane: Lane) -> rusqlite::Result<Seq> {
    let mut statement = connection.prepare_cached("SELECT next_seq FROM lane WHERE lane = ?1")?;
    statement.query_row([lane.name()], |row| seq_of(row.get(0)?))
}

pub(super) fn set_next_seq(connection: &Connection, lane: Lane, next: Seq) -> rusqlite::Result<()> {
    let mut statement =
        connection.prepare_cached("UPDATE lane SET next_seq = ?2 WHERE lane = ?1")?;
    statement.execute(params![lane.name(), integer(next)])?;
    Ok(())
}

pub(super) fn remember(
    connection: &Connection,
    device: &DeviceId,
    cursor: &Cursor,
) -> rusqlite::Result<()> {
    let mut statement =
        connection.prepare_cached("INSERT OR REPLACE INTO cursor VALUES (?1, ?2)")?;
    statement.execute(params![device.as_str(), cursor.0])?;
    Ok(())
}

pub(super) fn add_identity(
    connection: &Connection,
    device: &DeviceId,
    identity: &str,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached("INSERT INTO identity (device, identity) VALUES (?1, ?2)")?
        .execute(params![device.as_str(), identity])?;
    connection
        .prepare_cached(
            "DELETE FROM identity WHERE device = ?1 AND number <=
               (SELECT number FROM identity WHERE device = ?1 ORDER BY number DESC LIMIT 1 OFFSET ?2)",
        )?
        .execute(params![device.as_str(), IDENTITIES_MAX])?;
    Ok(())
}

/// A seq as SQLite keeps it; it is below 2^63 by construction.
pub(super) fn integer(seq: Seq) -> i64 {
    i64::try_from(seq.get()).unwrap_or(i64::MAX)
}

pub(super) fn seq_of(number: i64) -> rusqlite::Result<Seq> {
    let seq = u64::try_from(number).ok().and_then(Seq::new);
    seq.ok_or(rusqlite::Error::IntegralValueOutOfRange(0, number))
}

/// Reads rows while another connection writes.
#[derive(Debug)]
pub(crate) struct Reader(Connection);

impl Reader {
    /// Opens the file for reading only.
    pub(crate) fn open(path: &Path) -> rusqlite::Result<Self> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(Duration::from_secs(5))?;
        Ok(Self(connection))
    }

    /// The bytes of a row; `None` if it is no longer there.
    pub(crate) fn row(&self, lane: Lane, seq: Seq) -> rusqlite::Result<Option<Vec<u8>>> {
        let mut statement =
            self.0.prepare_cached("SELECT bytes FROM envelope WHERE lane = ?1 AND seq = ?2")?;
        statement.query_row(params![lane.name(), integer(seq)], |row| row.get(0)).optional()
    }

    pub(super) fn connection(&self) -> &Connection {
        &self.0
    }
}
