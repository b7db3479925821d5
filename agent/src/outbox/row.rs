//! One row of a lane: an envelope as it was encoded, and the checksum of it and its place.

use super::checksum;
use model::{id::Lane, time::WallTime};
use rusqlite::{Connection, OptionalExtension as _, Row, params};

/// A row that is what was written.
#[derive(Debug)]
pub(crate) struct StoredRow {
    pub(crate) opened_at: WallTime,
    pub(crate) bytes: Vec<u8>,
}

impl StoredRow {
    pub(super) fn of(row: &Row<'_>) -> rusqlite::Result<Self> {
        // A flipped bit may also make a text of a number.
        let altered = |_| checksum::altered();
        let place: i64 = row.get("place").map_err(altered)?;
        let opened_at: i64 = row.get("opened_at").map_err(altered)?;
        let bytes: Vec<u8> = row.get("bytes").map_err(altered)?;
        checksum::check(row, checksum::of(&[place, opened_at], &[&bytes]))?;
        Ok(Self { opened_at: WallTime::from_unix_ms(opened_at), bytes })
    }
}

/// Stores a row.
pub(super) fn insert(
    connection: &Connection,
    lane: Lane,
    (place, opened_at): (i64, WallTime),
    bytes: &[u8],
) -> rusqlite::Result<()> {
    let opened_at = opened_at.unix_ms();
    let sum = checksum::of(&[place, opened_at], &[bytes]);
    connection
        .prepare_cached(&format!("INSERT INTO {} VALUES (?1, ?2, ?3, ?4)", lane.name()))?
        .execute(params![place, opened_at, bytes, sum])?;
    Ok(())
}

/// The row at that place; `None` if there is none.
pub(super) fn read(
    connection: &Connection,
    lane: Lane,
    place: i64,
) -> rusqlite::Result<Option<StoredRow>> {
    connection
        .prepare_cached(&format!("SELECT * FROM {} WHERE place = ?1", lane.name()))?
        .query_row([place], StoredRow::of)
        .optional()
}

/// At most `max` rows behind that place, each with its place, or why it cannot be read.
pub(super) fn read_behind(
    connection: &Connection,
    lane: Lane,
    place: i64,
    max: usize,
) -> rusqlite::Result<Vec<(i64, rusqlite::Result<StoredRow>)>> {
    let question =
        format!("SELECT * FROM {} WHERE place > ?1 ORDER BY place LIMIT ?2", lane.name());
    let max = i64::try_from(max).unwrap_or(i64::MAX);
    connection
        .prepare_cached(&question)?
        .query_map([place, max], |row| Ok((row.get("place")?, StoredRow::of(row))))?
        .collect()
}

/// The place behind which everything was opened since then, among the last `max` rows; 0 where that
/// is all there is. Looks at no envelope.
pub(super) fn place_before(
    connection: &Connection,
    lane: Lane,
    since: WallTime,
    max: usize,
) -> rusqlite::Result<i64> {
    let question =
        format!("SELECT place, opened_at FROM {} ORDER BY place DESC LIMIT ?1", lane.name());
    let mut statement = connection.prepare_cached(&question)?;
    let mut rows = statement.query([i64::try_from(max).unwrap_or(i64::MAX)])?;
    let mut behind = 0;
    while let Some(row) = rows.next()? {
        let place: i64 = row.get("place")?;
        // What is not a number there is damaged, and no reason to stop.
        let opened_at = row.get("opened_at").unwrap_or(i64::MAX);
        behind = place - 1;
        if opened_at < since.unix_ms() {
            return Ok(place);
        }
    }
    Ok(behind)
}

/// The place of the newest row; 0 where there is none. Looks at nothing in it.
pub(super) fn last_place(connection: &Connection, lane: Lane) -> rusqlite::Result<i64> {
    let question = format!("SELECT ifnull(max(place), 0) FROM {}", lane.name());
    connection.prepare_cached(&question)?.query_row([], |row| row.get(0))
}

/// The first place from that one on that has a row. Looks at no envelope.
pub(super) fn next_place(
    connection: &Connection,
    lane: Lane,
    from: i64,
) -> rusqlite::Result<Option<i64>> {
    let question = format!("SELECT min(place) FROM {} WHERE place >= ?1", lane.name());
    connection.prepare_cached(&question)?.query_row([from], |row| row.get(0))
}

/// How long the newest rows of a lane are, about.
pub(super) fn usual_len(connection: &Connection, lane: Lane) -> rusqlite::Result<u64> {
    let question = format!(
        "SELECT coalesce(sum(len) / count(*), 0) FROM
           (SELECT length(bytes) AS len FROM {} ORDER BY place DESC LIMIT 64)",
        lane.name()
    );
    let len: i64 = connection.prepare_cached(&question)?.query_row([], |row| row.get(0))?;
    Ok(u64::try_from(len).unwrap_or_default())
}
