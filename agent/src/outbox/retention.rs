//! What is kept how long, and what is given up first when the outbox is full: acked rows, then
//! waveforms, then the oldest trend, urgent records last of all. Each drop is counted.

use super::change::Change;
use model::{id::Lane, record::DropCause};
use rusqlite::Connection;

/// Acked rows are kept for this much running time: a county that was restored from a backup gets
/// them again.
const KEEP_ACKED_S: i64 = 24 * 3600;
/// Rows deleted in one step, so that a commit is never held up for long.
const STEP_ROWS: u32 = 1000;
/// When the limit is met, this part of it is made free at once: else each commit would drop a row.
const MARGIN: u64 = 256;
/// This part of the limit is for urgent records alone: waves and trend go before they need it.
const RESERVED: u64 = 16;
/// Bytes given up at once where the disk takes nothing more.
const WAY_LEN: u64 = 1 << 20;
/// Free bytes that stay in the file, which the next rows will use.
const FREE_LEN_KEPT: u64 = 16 << 20;
/// Bytes given back to the file system in one step.
const STEP_LEN: u64 = 4 << 20;

/// Bytes of the file that are in use.
pub(super) fn bytes(connection: &Connection) -> rusqlite::Result<u64> {
    let used = pragma(connection, "page_count")?.saturating_sub(free_pages(connection)?);
    Ok(used * pragma(connection, "page_size")?)
}

/// Bytes of the file that are free for the next rows.
pub(super) fn free_bytes(connection: &Connection) -> rusqlite::Result<u64> {
    Ok(free_pages(connection)? * pragma(connection, "page_size")?)
}

fn free_pages(connection: &Connection) -> rusqlite::Result<u64> {
    pragma(connection, "freelist_count")
}

fn pragma(connection: &Connection, name: &str) -> rusqlite::Result<u64> {
    connection.pragma_query_value(None, name, |row| {
        row.get::<_, i64>(0).map(|number| u64::try_from(number).unwrap_or_default())
    })
}

/// Deletes some rows that were acked long enough ago; whether there may be more.
pub(super) fn prune(change: &Change<'_>, ran_s: i64) -> rusqlite::Result<bool> {
    let deleted = change.delete_acked(ran_s.saturating_sub(KEEP_ACKED_S), STEP_ROWS)?;
    Ok(deleted == STEP_ROWS)
}

/// Deletes some acked rows, however long ago that was; how many.
pub(super) fn delete_acked(change: &Change<'_>) -> rusqlite::Result<u32> {
    change.delete_acked(i64::MAX, STEP_ROWS)
}

/// Gives some space back to the file system, if there is much to give.
pub(super) fn give_back(connection: &Connection) -> rusqlite::Result<()> {
    let page_len = pragma(connection, "page_size")?;
    if free_pages(connection)? * page_len <= FREE_LEN_KEPT {
        return Ok(());
    }
    let pages = STEP_LEN / page_len.max(1);
    // Each step of the statement frees one page.
    let mut statement =
        connection.prepare_cached(&format!("PRAGMA incremental_vacuum({pages})"))?;
    let mut rows = statement.query([])?;
    while rows.next()?.is_some() {}
    Ok(())
}

/// What waves and trend may use.
pub(super) fn unreserved(max_bytes: u64) -> u64 {
    max_bytes - max_bytes / RESERVED
}

/// Makes room inside the limit.
pub(super) fn make_room(change: &mut Change<'_>, max_bytes: u64) -> rusqlite::Result<()> {
    let below = |limit: u64| limit - limit / MARGIN;
    let unreserved = below(unreserved(max_bytes));
    while bytes(change.connection())? > unreserved && delete_acked(change)? > 0 {}
    let lanes = [Lane::Wave, Lane::Trend].map(|lane| (lane, unreserved));
    for (lane, wanted) in lanes.into_iter().chain([(Lane::Urgent, below(max_bytes))]) {
        loop {
            let excess = bytes(change.connection())?.saturating_sub(wanted);
            let Some(range) = change.first_unacked(lane).filter(|_| excess > 0) else { break };
            let limits = (excess, u64::from(STEP_ROWS));
            change.give_up_oldest(lane, range, limits, DropCause::OutboxFull)?;
        }
    }
    Ok(())
}

/// The disk takes nothing more: rows that the county has make way, else the oldest waves, else the
/// oldest trend.
pub(super) fn make_way(change: &mut Change<'_>) -> rusqlite::Result<()> {
    if delete_acked(change)? > 0 {
        return Ok(());
    }
    for lane in [Lane::Wave, Lane::Trend] {
        if let Some(range) = change.first_unacked(lane) {
            let limits = (WAY_LEN, u64::from(STEP_ROWS));
            return change.give_up_oldest(lane, range, limits, DropCause::DiskFull);
        }
    }
    Ok(())
}
