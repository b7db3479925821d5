//! What is given up first when the outbox is full: acked rows, then waveforms, then the oldest
//! trend, urgent records last of all. Each drop is counted in a drop record.

use super::file::{integer, seq_of};
use model::{
    id::{Lane, Seq},
    record::{DropCause, DropRecord},
    time::{Now, WallTime},
};
use rusqlite::{Connection, params};

/// Acked rows are kept this long, so that a county restored from a backup gets them again.
const KEEP_ACKED_MS: i64 = 24 * 3600 * 1000;
/// Rows looked at in one step, so that a commit is never held up for long.
const STEP_ROWS: i64 = 256;

/// Bytes of all envelopes kept.
pub(super) fn bytes(connection: &Connection) -> rusqlite::Result<u64> {
    connection.query_row("SELECT coalesce(sum(length(bytes)), 0) FROM envelope", [], |row| {
        let sum: i64 = row.get(0)?;
        Ok(u64::try_from(sum).unwrap_or_default())
    })
}

/// Deletes some rows that were acked more than a day ago; how many bytes that gave.
pub(super) fn prune_acked(connection: &Connection, now: WallTime) -> rusqlite::Result<u64> {
    delete_acked(connection, now.unix_ms().saturating_sub(KEEP_ACKED_MS))
}

fn delete_acked(connection: &Connection, before_ms: i64) -> rusqlite::Result<u64> {
    let mut statement = connection.prepare_cached(
        "DELETE FROM envelope WHERE (lane, seq) IN
           (SELECT lane, seq FROM envelope WHERE acked_at < ?1 LIMIT ?2)
         RETURNING length(bytes)",
    )?;
    let mut rows = statement.query(params![before_ms, STEP_ROWS])?;
    let mut freed = 0;
    while let Some(row) = rows.next()? {
        freed += u64::try_from(row.get::<_, i64>(0)?).unwrap_or_default();
    }
    Ok(freed)
}

/// Makes room for `needed` bytes: what was given up, and how many bytes that gave.
pub(super) fn make_room(
    connection: &Connection,
    needed: u64,
    now: Now,
) -> rusqlite::Result<(Vec<DropRecord>, u64)> {
    let mut freed = 0;
    let mut dropped = Vec::new();
    while freed < needed {
        let step = delete_acked(connection, i64::MAX)?;
        freed += step;
        if step == 0 {
            break;
        }
    }
    for lane in [Lane::Wave, Lane::Trend, Lane::Urgent] {
        while freed < needed {
            let Some((record, bytes)) = drop_oldest(connection, lane, needed - freed, now)? else {
                break;
            };
            freed += bytes;
            dropped.push(record);
        }
    }
    Ok((dropped, freed))
}

fn drop_oldest(
    connection: &Connection,
    lane: Lane,
    needed: u64,
    now: Now,
) -> rusqlite::Result<Option<(DropRecord, u64)>> {
    let mut statement = connection.prepare_cached(
        "SELECT seq, opened_at, length(bytes) FROM envelope
         WHERE lane = ?1 AND acked_at IS NULL ORDER BY seq LIMIT ?2",
    )?;
    let mut rows = statement.query(params![lane.name(), STEP_ROWS])?;
    let mut range: Option<(Seq, Seq, i64, i64)> = None;
    let mut freed = 0;
    while freed < needed
        && let Some(row) = rows.next()?
    {
        let (seq, opened_at): (Seq, i64) = (seq_of(row.get(0)?)?, row.get(1)?);
        match &mut range {
            None => range = Some((seq, seq, opened_at, opened_at)),
            // A drop record names one range without gaps.
            Some((_, last, ..)) if last.next() != seq => break,
            Some((_, last, _, until)) => (*last, *until) = (seq, opened_at),
        }
        freed += u64::try_from(row.get::<_, i64>(2)?).unwrap_or_default();
    }
    drop(rows);
    let Some((first, last, from, until)) = range else { return Ok(None) };
    connection
        .prepare_cached("DELETE FROM envelope WHERE lane = ?1 AND seq BETWEEN ?2 AND ?3")?
        .execute(params![lane.name(), integer(first), integer(last)])?;
    let record = DropRecord {
        outbox: None,
        lane,
        first,
        last,
        from: WallTime::from_unix_ms(from),
        until: WallTime::from_unix_ms(until),
        cause: DropCause::OutboxFull,
        observed: now.observed(),
    };
    Ok(Some((record, freed)))
}
