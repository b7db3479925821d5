//! Looks at an outbox file without the agent.

use super::file::{Reader, next_seq, unacked};
use model::id::{Lane, OutboxId};
use serde::Serialize;
use std::{fmt, path::Path};

/// What an outbox file holds.
#[derive(Debug, Serialize)]
pub(crate) struct Summary {
    outbox: String,
    schema: u32,
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
    bytes: i64,
    /// Ranges that are not acked, as `1-5,7-7`.
    unacked: String,
    unacked_rows: u64,
}

/// Reads the file; changes nothing.
pub(crate) fn read(path: &Path) -> rusqlite::Result<Summary> {
    let reader = Reader::open(path)?;
    let connection = reader.connection();
    let id: [u8; 16] =
        connection
            .query_row("SELECT value FROM meta WHERE key = 'outbox_id'", [], |row| row.get(0))?;
    let schema = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    let mut lanes = Vec::new();
    for lane in Lane::ALL {
        let unacked = unacked(connection, lane)?;
        let (rows, bytes): (i64, i64) = connection.query_row(
            "SELECT count(*), coalesce(sum(length(bytes)), 0)
             FROM envelope JOIN content ON number = content WHERE lane = ?1",
            [lane.name()],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )?;
        lanes.push(LaneSummary {
            lane: lane.name(),
            next_seq: next_seq(connection, lane)?.get(),
            rows: u64::try_from(rows).unwrap_or_default(),
            bytes,
            unacked: unacked.to_string(),
            unacked_rows: unacked.count(),
        });
    }
    Ok(Summary { outbox: OutboxId::from_bytes(id).to_string(), schema, lanes })
}

impl fmt::Display for Summary {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "outbox {} (schema {})", self.outbox, self.schema)?;
        for lane in &self.lanes {
            writeln!(
                out,
                "{:<7} next seq {:>8}  rows {:>7}  {:>10} bytes  not acked {:>7}: {}",
                lane.lane, lane.next_seq, lane.rows, lane.bytes, lane.unacked_rows, lane.unacked
            )?;
        }
        Ok(())
    }
}
