//! Looks at an outbox file without the agent, whatever state it is in.

use super::{
    file::{self, CHECK_LEN_MAX, SCHEMA, is_damage, next_seq, read_only, settled},
    loss::{Loss, LostRows},
    migration,
    place::Places,
};
use model::id::{Lane, Seq};
use rusqlite::{Connection, OptionalExtension as _};
use serde::Serialize;
use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
};
use thiserror::Error;
use uplink_proto::ranges::RangeSet;

/// Why there is nothing to show of a file.
#[derive(Debug, Error)]
pub(crate) enum InspectError {
    /// It is not there, or not ours to read.
    #[error("cannot read the outbox {path}: {source}; check the name and who owns it")]
    Missing {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// SQLite cannot open it.
    #[error(
        "cannot open the outbox {path}: {source}; run this as the agent's user, who may write in its folder"
    )]
    Open {
        path: PathBuf,
        #[source]
        source: rusqlite::Error,
    },
    /// Something else.
    #[error("{path} is no outbox; it is called outbox.sqlite in the agent's data_dir")]
    NoOutbox { path: PathBuf },
    /// A newer agent's.
    #[error(
        "the outbox {path} has schema {found}, this agent knows up to {SCHEMA}; look at it with the agent that wrote it, do not delete it"
    )]
    FromTheFuture { path: PathBuf, found: u32 },
}

/// What an outbox file holds.
#[derive(Debug, Serialize)]
pub(crate) struct Summary {
    /// `good`, `unchecked`, `older` or `damaged`.
    state: &'static str,
    /// The same as a sentence.
    says: String,
    outbox: String,
    schema: u32,
    file_bytes: u64,
    /// Bytes of the write-ahead log.
    log_bytes: u64,
    lanes: Vec<LaneSummary>,
}

/// What a lane holds.
#[derive(Debug, Serialize)]
struct LaneSummary {
    lane: &'static str,
    /// The number the next row will get.
    next_seq: u64,
    /// Rows, acked or not.
    rows: u64,
    /// Bytes of their envelopes.
    bytes: u64,
    /// Ranges that are not acked, as `1-5,7-7`.
    unacked: String,
    unacked_rows: u64,
    /// When the oldest of them was opened, ms since 1970.
    oldest_ms: Option<i64>,
}

/// Reads the file; changes nothing.
pub(crate) fn read(path: &Path) -> Result<Summary, InspectError> {
    let len_of = |path: &Path| fs::metadata(path).map(|found| found.len());
    let len =
        len_of(path).map_err(|source| InspectError::Missing { path: path.to_owned(), source })?;
    let mut summary = match look(path, len) {
        Ok(summary) => summary,
        Err(Found::Damaged(what)) => damaged(path, &what)?,
        Err(Found::Nothing(error)) => return Err(error),
    };
    summary.file_bytes = len;
    summary.log_bytes = len_of(&file::beside(path, "-wal")).unwrap_or_default();
    Ok(summary)
}

/// Why a file is not read lane by lane.
enum Found {
    Damaged(String),
    Nothing(InspectError),
}

fn look(path: &Path, len: u64) -> Result<Summary, Found> {
    let failed = |source: rusqlite::Error| match is_damage(&source) {
        true => Found::Damaged(source.to_string()),
        false => Found::Nothing(InspectError::Open { path: path.to_owned(), source }),
    };
    let connection = read_only(path).map_err(failed)?;
    let schema = file::schema(&connection).map_err(failed)?;
    if schema > SCHEMA {
        let path = path.to_owned();
        return Err(Found::Nothing(InspectError::FromTheFuture { path, found: schema }));
    }
    let has_meta = connection.table_exists(None, "meta").map_err(failed)?;
    if schema == 0 || !has_meta {
        return Err(Found::Nothing(InspectError::NoOutbox { path: path.to_owned() }));
    }
    if len <= CHECK_LEN_MAX
        && let Some(what) = file::what_is_broken(&connection).map_err(failed)?
    {
        return Err(Found::Damaged(what));
    }
    let id = file::stored_id(&connection).map_err(failed)?;
    let is_older = migration::has_old_tables(&connection).map_err(failed)?;
    let (state, says) = match (is_older || schema < SCHEMA, len <= CHECK_LEN_MAX) {
        (true, _) => ("older", format!("it is brought to schema {SCHEMA} when the agent starts")),
        (false, true) => ("good", "the whole file was checked".to_owned()),
        (false, false) => ("unchecked", "too large to be checked as a whole".to_owned()),
    };
    let mut lanes = Vec::new();
    for lane in Lane::ALL {
        let summary = match (is_older, schema) {
            (false, _) => LaneSummary::read(&connection, lane),
            (true, 1) => LaneSummary::older(&connection, lane),
            (true, _) => LaneSummary::half_moved(&connection, lane),
        };
        lanes.push(summary.map_err(failed)?);
    }
    let outbox = id.map(|id| id.to_string()).unwrap_or_default();
    Ok(Summary { state, says, outbox, schema, file_bytes: 0, log_bytes: 0, lanes })
}

/// What can still be read of a damaged file: what is lost with it.
fn damaged(path: &Path, what: &str) -> Result<Summary, InspectError> {
    let failed = |source| InspectError::Open { path: path.to_owned(), source };
    let (loss, _) = Loss::read(path).map_err(failed)?;
    let lanes = loss.lanes.iter().map(|LostRows { lane, rows, .. }| LaneSummary {
        lane: lane.name(),
        next_seq: rows.highest().map_or(1, |highest| highest.get() + 1),
        rows: 0,
        bytes: 0,
        unacked: rows.to_string(),
        unacked_rows: rows.count(),
        oldest_ms: None,
    });
    Ok(Summary {
        state: "damaged",
        says: format!(
            "{what}; the agent keeps a damaged file aside when it starts, and counts what may be lost with it, as far as that can be read:"
        ),
        outbox: loss.outbox.to_string(),
        schema: read_only(path)
            .and_then(|connection| file::schema(&connection))
            .unwrap_or_default(),
        file_bytes: 0,
        log_bytes: 0,
        lanes: lanes.collect(),
    })
}

impl LaneSummary {
    fn read(connection: &Connection, lane: Lane) -> rusqlite::Result<Self> {
        let (settled, places) = (settled(connection, lane)?, Places::read(connection, lane)?);
        let next = next_seq(connection, lane, &places, &settled)?;
        let unacked = file::unacked(next, &settled);
        let oldest = unacked.first_from(Seq::FIRST).map(|first| places.of(first));
        let oldest_ms = connection
            .query_row(
                &format!("SELECT opened_at FROM {} WHERE place = ?1", lane.name()),
                [oldest],
                |row| row.get(0),
            )
            .optional()?;
        let table =
            format!("SELECT count(*), coalesce(sum(length(bytes)), 0) FROM {}", lane.name());
        let rows = connection.query_row(&table, [], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(Self::of(lane, next, rows, &unacked, oldest_ms))
    }

    /// Schema 1.
    fn older(connection: &Connection, lane: Lane) -> rusqlite::Result<Self> {
        let mut statement = connection
            .prepare("SELECT seq FROM envelope WHERE lane = ?1 AND acked_s IS NULL ORDER BY seq")?;
        let seqs = statement.query_map([lane.name()], |row| file::seq_of(row.get(0)?))?;
        let unacked: RangeSet =
            seqs.map(|seq| seq.map(|seq| (seq, seq))).collect::<rusqlite::Result<_>>()?;
        let rows = connection.query_row(
            "SELECT count(*), coalesce(sum(length(bytes)), 0)
             FROM envelope JOIN content ON number = content WHERE lane = ?1",
            [lane.name()],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )?;
        let oldest_ms = connection.query_row(
            "SELECT min(opened_at) FROM envelope WHERE lane = ?1 AND acked_s IS NULL",
            [lane.name()],
            |row| row.get(0),
        )?;
        Ok(Self::of(lane, migration::old_next_seq(connection, lane)?, rows, &unacked, oldest_ms))
    }

    /// The agent was stopped while it moved the rows of schema 1: some are here, some there.
    fn half_moved(connection: &Connection, lane: Lane) -> rusqlite::Result<Self> {
        let (moved, rest) = (Self::read(connection, lane)?, Self::older(connection, lane)?);
        let unacked: RangeSet = [&moved.unacked, &rest.unacked]
            .into_iter()
            .flat_map(|ranges| ranges.parse::<RangeSet>())
            .fold(RangeSet::default(), |mut all, ranges| {
                all.extend(&ranges);
                all
            });
        Ok(Self {
            next_seq: rest.next_seq,
            rows: moved.rows + rest.rows,
            bytes: moved.bytes + rest.bytes,
            unacked: unacked.to_string(),
            unacked_rows: unacked.count(),
            oldest_ms: moved.oldest_ms.or(rest.oldest_ms),
            ..moved
        })
    }

    fn of(
        lane: Lane,
        next: Seq,
        (rows, bytes): (i64, i64),
        unacked: &RangeSet,
        oldest_ms: Option<i64>,
    ) -> Self {
        Self {
            lane: lane.name(),
            next_seq: next.get(),
            rows: u64::try_from(rows).unwrap_or_default(),
            bytes: u64::try_from(bytes).unwrap_or_default(),
            unacked: unacked.to_string(),
            unacked_rows: unacked.count(),
            oldest_ms,
        }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { state, says, outbox, schema, file_bytes, log_bytes, .. } = self;
        writeln!(
            out,
            "outbox {outbox} (schema {schema}), {file_bytes} bytes and {log_bytes} of log"
        )?;
        writeln!(out, "{state}: {says}")?;
        for lane in &self.lanes {
            let oldest = lane.oldest_ms.and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
            let since =
                oldest.map(|oldest| format!(", the oldest of {oldest}")).unwrap_or_default();
            writeln!(
                out,
                "{:<7} next seq {:>8}  rows {:>7}  {:>10} bytes  not acked {:>7}: {}{since}",
                lane.lane, lane.next_seq, lane.rows, lane.bytes, lane.unacked_rows, lane.unacked
            )?;
        }
        Ok(())
    }
}
