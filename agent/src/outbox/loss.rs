//! What may be lost with an outbox that is kept aside, as far as its id and its numbers can be read.
//!
//! Not here: what of it can be saved ([`super::salvage`]).
//!
//! # Invariants
//! - what may not be acked may be lost: of what arrived the county knows better
//! - a file of which nothing can be read is one row of an unknown outbox all the same

use super::{
    file::{CHECK_LEN_MAX, blames_file, next_seq, read_only, settled, stored_id, unacked},
    log, migration,
    place::Places,
};
use model::{
    id::{Lane, OutboxId, Seq},
    record::DropCause,
};
use rusqlite::Connection;
use std::{fs, path::Path};
use uplink_proto::ranges::RangeSet;

/// What the county may never get of one outbox, unless it has it already.
#[derive(Debug)]
pub(super) struct Loss {
    pub(super) outbox: OutboxId,
    pub(super) lanes: Vec<LostRows>,
}

/// Rows of one lane that may not be acked.
#[derive(Debug)]
pub(super) struct LostRows {
    pub(super) lane: Lane,
    pub(super) rows: RangeSet,
    /// Where they are.
    pub(super) places: Places,
    /// The number the next row would have got, as far as that can be read.
    pub(super) next: Seq,
    /// Whether nothing can be missing from there on.
    pub(super) is_end_known: bool,
    /// [`DropCause::OutboxLost`] where it is not known which rows are acked.
    pub(super) cause: DropCause,
}

impl Loss {
    /// What may be lost with that file, and a way to its rows if there is one. An error is not about
    /// the file: it is whole for all anybody knows, and looked at again later.
    pub(super) fn read(path: &Path) -> rusqlite::Result<(Self, Option<Connection>)> {
        let is_log_whole = !log::is_damaged(path);
        let is_small = fs::metadata(path).is_ok_and(|found| found.len() <= CHECK_LEN_MAX);
        let read = open(path).and_then(|connection| {
            let loss = Self::read_from(&connection, is_log_whole && is_small)?;
            Ok((loss, Some(connection)))
        });
        let read = of_file(read)?;
        Ok(read.unwrap_or_else(|error| {
            tracing::error!(path = %path.display(), %error,
                "Nothing can be read of the damaged outbox: what is lost with it is not known.");
            let lost = LostRows {
                lane: Lane::Urgent,
                rows: [(Seq::FIRST, Seq::FIRST)].into_iter().collect(),
                places: Places::default(),
                next: Seq::FIRST.next(),
                is_end_known: true,
                cause: DropCause::OutboxLost,
            };
            (Self { outbox: OutboxId::UNREADABLE, lanes: vec![lost] }, None)
        }))
    }

    fn read_from(connection: &Connection, may_be_whole: bool) -> rusqlite::Result<Self> {
        let outbox = stored_id(connection)
            .and_then(|outbox| outbox.ok_or(rusqlite::Error::QueryReturnedNoRows));
        let outbox = of_file(outbox)?;
        let read = |lane| LostRows::read(connection, lane, may_be_whole);
        let lanes = Lane::ALL.into_iter().map(read).collect::<rusqlite::Result<Vec<_>>>()?;
        // An envelope says itself of which outbox it is.
        let outbox = match outbox {
            Err(error) if lanes.iter().any(LostRows::is_known) => {
                tracing::error!(%error, "The id of a damaged outbox cannot be read.");
                OutboxId::UNREADABLE
            }
            outbox => outbox?,
        };
        Ok(Self { outbox, lanes })
    }
}

/// An error that is about the file says something of it; any other one may be gone the next time.
pub(super) fn of_file<T>(read: rusqlite::Result<T>) -> rusqlite::Result<rusqlite::Result<T>> {
    match read {
        Err(error) if !blames_file(&error) => Err(error),
        read => Ok(read),
    }
}

/// Opens a damaged file for reading. SQLite reads a file that was cut off, or whose tables it does
/// not all understand, only for who may write in its schema.
fn open(path: &Path) -> rusqlite::Result<Connection> {
    let connection = read_only(path)?;
    connection.execute_batch("PRAGMA writable_schema = ON")?;
    Ok(connection)
}

impl LostRows {
    fn read(connection: &Connection, lane: Lane, may_be_whole: bool) -> rusqlite::Result<Self> {
        let known = Places::read(connection, lane)
            .and_then(|places| Ok((places, settled(connection, lane)?)));
        let known = of_file(known)?;
        let are_numbers_known = known.is_ok();
        let (places, known) = known.unwrap_or_else(|error| {
            tracing::error!(%lane, %error, "What is acked of a damaged lane cannot be read.");
            (Places::default(), RangeSet::default())
        });
        let next = of_file(next(connection, lane, &places, &known))?;
        // Of a broken table the last rows may be missing unseen.
        let is_end_known = next.is_ok() && may_be_whole && is_whole(connection, lane)?;
        let next = next.unwrap_or_else(|error| {
            tracing::error!(%lane, %error, "Where a damaged lane ends cannot be read.");
            known.highest().map_or(Seq::FIRST, Seq::next)
        });
        let cause = match are_numbers_known {
            true => DropCause::Damaged,
            false => DropCause::OutboxLost,
        };
        let rows = unacked(next, &known);
        Ok(Self { lane, rows, places, next, is_end_known, cause })
    }

    /// Whether anything of it could be read.
    fn is_known(&self) -> bool {
        self.next > Seq::FIRST
    }
}

/// Whether each page of a lane is what it should be.
fn is_whole(connection: &Connection, lane: Lane) -> rusqlite::Result<bool> {
    let question = format!("PRAGMA quick_check({})", lane.name());
    let verdict = connection.query_row(&question, [], |row| row.get::<_, String>(0));
    Ok(of_file(verdict)?.is_ok_and(|verdict| verdict == "ok"))
}

/// The number the next row would have got.
fn next(
    connection: &Connection,
    lane: Lane,
    places: &Places,
    known: &RangeSet,
) -> rusqlite::Result<Seq> {
    if migration::has_old_tables(connection)? {
        return migration::old_next_seq(connection, lane);
    }
    next_seq(connection, lane, places, known)
}
