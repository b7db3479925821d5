//! Brings the file of an older agent to the schema of this one, keeping every id, seq and byte.
//!
//! # Invariants
//! - each step is one transaction, and what is still to be done is read from the file: a kill
//!   between any two steps costs nothing
//! - from the first step on the file is of the new schema, so that an older agent leaves it alone

use super::{
    file::{SCHEMA, integer, next_seq, seq_of, settle, settled, whole_hour},
    place::Places,
    row,
};
use model::{
    id::{Lane, Seq},
    time::WallTime,
};
use rusqlite::{Connection, OptionalExtension as _, Transaction, TransactionBehavior, params};

/// Rows moved in one step: about a megabyte.
const STEP_ROWS: u32 = 500;

const DROP_OLD_TABLES: &str = "DROP TABLE envelope; DROP TABLE content; DROP TABLE lane;";

/// Makes the tables of a file of that schema, or changes those it has.
pub(super) fn run(connection: &mut Connection, schema: u32) -> rusqlite::Result<()> {
    if schema < SCHEMA {
        begin(connection, schema)?;
    }
    while step(connection)? {}
    Ok(())
}

/// The tables of the new schema, and its number.
pub(super) fn begin(connection: &mut Connection, schema: u32) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    if schema < 1 {
        transaction.execute_batch(include_str!("../../migrations/0001_outbox.sql"))?;
    } else {
        tracing::info!("The outbox of an older agent is brought to the tables of this one.");
    }
    if schema < 2 {
        transaction.execute_batch(include_str!("../../migrations/0002_lanes.sql"))?;
    }
    transaction.execute_batch(include_str!("../../migrations/0003_checksums.sql"))?;
    if schema < 1 {
        transaction.execute_batch(DROP_OLD_TABLES)?; // One sync less at the first start.
    }
    transaction.pragma_update(None, "user_version", SCHEMA)?;
    transaction.commit()
}

/// Moves some rows out of the tables of schema 1, and drops those when they are empty; whether
/// there was anything to do.
pub(super) fn step(connection: &mut Connection) -> rusqlite::Result<bool> {
    if !has_old_tables(connection)? {
        return Ok(false);
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let mut moved = false;
    for lane in Lane::ALL {
        moved = moved || move_rows(&transaction, lane)?;
    }
    if !moved {
        for lane in Lane::ALL {
            skip_to(&transaction, lane, old_next_seq(&transaction, lane)?)?;
        }
        transaction.execute_batch(DROP_OLD_TABLES)?;
    }
    transaction.commit()?;
    Ok(true)
}

/// Whether there is something of schema 1 in the file.
pub(super) fn has_old_tables(connection: &Connection) -> rusqlite::Result<bool> {
    connection.table_exists(None, "envelope")
}

/// The number that schema 1 would give next.
pub(super) fn old_next_seq(connection: &Connection, lane: Lane) -> rusqlite::Result<Seq> {
    connection.query_row("SELECT next_seq FROM lane WHERE lane = ?1", [lane.name()], |row| {
        seq_of(row.get(0)?)
    })
}

/// A row of schema 1.
struct OldRow {
    seq: Seq,
    opened_at: i64,
    acked_s: Option<i64>,
    content: i64,
}

/// Moves some rows of that lane; whether there were any.
fn move_rows(transaction: &Transaction<'_>, lane: Lane) -> rusqlite::Result<bool> {
    let rows = transaction
        .prepare_cached(
            "SELECT seq, opened_at, acked_s, content FROM envelope WHERE lane = ?1
             ORDER BY seq LIMIT ?2",
        )?
        .query_map(params![lane.name(), STEP_ROWS], |row| {
            let (seq, opened_at) = (seq_of(row.get(0)?)?, row.get(1)?);
            Ok(OldRow { seq, opened_at, acked_s: row.get(2)?, content: row.get(3)? })
        })?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    // A row whose bytes are missing is found when it is to be sent, and counted.
    let mut read = transaction.prepare_cached("SELECT bytes FROM content WHERE number = ?1")?;
    let mut forget = transaction.prepare_cached("DELETE FROM content WHERE number = ?1")?;
    let mut next = None;
    for OldRow { seq, opened_at, acked_s, content } in &rows {
        if next != Some(*seq) {
            skip_to(transaction, lane, *seq)?;
        }
        let bytes: Option<Vec<u8>> = read.query_row([content], |row| row.get(0)).optional()?;
        let place = (integer(*seq), WallTime::from_unix_ms(*opened_at));
        row::insert(transaction, lane, place, &bytes.unwrap_or_default())?;
        forget.execute([content])?;
        if let Some(acked_s) = acked_s {
            settle(transaction, lane, (*seq, *seq), Some(whole_hour(*acked_s)))?;
        }
        next = Some(seq.next());
    }
    if let Some(next) = next {
        transaction.execute(
            "DELETE FROM envelope WHERE lane = ?1 AND seq < ?2",
            params![lane.name(), integer(next)],
        )?;
    }
    Ok(!rows.is_empty())
}

/// What schema 1 had no row of, below that seq, was acked long ago or given up.
fn skip_to(transaction: &Transaction<'_>, lane: Lane, seq: Seq) -> rusqlite::Result<()> {
    let known = settled(transaction, lane)?;
    let next = next_seq(transaction, lane, &Places::default(), &known)?;
    match Seq::new(seq.get() - 1) {
        Some(before) if next <= before => settle(transaction, lane, (next, before), None),
        _ => Ok(()),
    }
}
