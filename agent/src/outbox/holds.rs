//! How much longer the outbox holds what comes in, at the rate of the last day.
//!
//! Hours are those the agent ran with the file: an hour without power says nothing of a day.

use super::{file::meta, row};
use model::id::Lane;
use rusqlite::Connection;
use std::collections::BTreeMap;

/// So many hours are a day.
const HOURS: i64 = 24;
/// Less than this says nothing of a day.
const EVIDENCE_S: i64 = 3600;

/// Bytes of the rows that were stored in each hour, of the last day.
#[derive(Debug, Default)]
pub(super) struct Stored {
    /// Since when they are counted.
    since_s: i64,
    hours: BTreeMap<i64, u64>,
}

impl Stored {
    /// What was counted before; from now on if nothing was.
    pub(super) fn read(connection: &Connection, ran_s: i64) -> Self {
        let text: Option<String> = meta(connection, "stored").ok().flatten();
        let parsed = text.and_then(|text| {
            let mut numbers = text.split(' ').map(|number| number.parse::<i64>().ok());
            let since_s = numbers.next()??;
            let mut hours = BTreeMap::new();
            while let (Some(hour), Some(bytes)) = (numbers.next(), numbers.next()) {
                hours.insert(hour?, u64::try_from(bytes?).ok()?);
            }
            Some(Self { since_s, hours })
        });
        parsed.unwrap_or(Self { since_s: ran_s, hours: BTreeMap::new() })
    }

    pub(super) fn write(&self, connection: &Connection) -> rusqlite::Result<()> {
        let mut text = self.since_s.to_string();
        for (hour, bytes) in &self.hours {
            text.push_str(&format!(" {hour} {bytes}"));
        }
        connection
            .prepare_cached("INSERT OR REPLACE INTO meta VALUES ('stored', ?1)")?
            .execute([text])?;
        Ok(())
    }

    pub(super) fn add(&mut self, ran_s: i64, bytes: u64) {
        let hour = ran_s / 3600;
        *self.hours.entry(hour).or_default() += bytes;
        self.hours.retain(|&other, _| hour - other < HOURS);
    }

    /// Bytes of a whole day, once there is evidence.
    pub(super) fn in_a_day(&self, ran_s: i64) -> Option<u64> {
        let first = ran_s / 3600 - HOURS + 1;
        let counted_s = ran_s - self.since_s.max(first * 3600);
        if counted_s < EVIDENCE_S {
            return None;
        }
        let bytes: u64 = self.hours.range(first..).map(|(_, bytes)| bytes).sum();
        let in_a_day = i128::from(bytes) * i128::from(HOURS * 3600) / i128::from(counted_s);
        u64::try_from(in_a_day).ok()
    }
}

/// What rows of the file take, about.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Lens {
    /// Bytes of the rows that are not acked.
    pub(super) unacked: u64,
    /// Bytes of all rows.
    pub(super) all: u64,
}

impl Lens {
    /// By the newest rows of each lane: nobody walks the file for it.
    pub(super) fn read(connection: &Connection, unacked: [u64; 3]) -> rusqlite::Result<Self> {
        let mut lens = Self::default();
        for (lane, unacked) in Lane::ALL.into_iter().zip(unacked) {
            let acked: i64 = connection
                .prepare_cached(
                    "SELECT coalesce(sum(last - first + 1), 0) FROM settled
                     WHERE lane = ?1 AND acked_s IS NOT NULL",
                )?
                .query_row([lane.name()], |row| row.get(0))?;
            let acked = u64::try_from(acked).unwrap_or_default();
            let len = row::usual_len(connection, lane)?;
            lens.unacked = lens.unacked.saturating_add(unacked.saturating_mul(len));
            lens.all = lens.all.saturating_add((unacked + acked).saturating_mul(len));
        }
        Ok(lens)
    }
}

/// How many seconds it is until `room` bytes of a file are used, of which the pages now use `used`
/// with these rows in them, and `in_a_day` bytes of rows come.
pub(super) fn seconds(room: u64, used: u64, lens: Lens, in_a_day: u64) -> Option<u64> {
    // Pages are never as full as their rows are long; of a nearly empty file that says nothing.
    let paged = |len: u64| {
        let len = u128::from(len);
        let used = u128::from(used).clamp(u128::from(lens.all), 2 * u128::from(lens.all));
        (len * used).checked_div(u128::from(lens.all)).unwrap_or(2 * len)
    };
    let left = u128::from(room).saturating_sub(paged(lens.unacked));
    let seconds = (left * 24 * 3600).checked_div(paged(in_a_day))?;
    u64::try_from(seconds).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    #[test]
    fn it_holds_what_is_not_used_by_rows_that_wait_at_the_rate_of_the_last_day() {
        const HOUR: i64 = 3600;
        let mut stored = Stored { since_s: 10 * HOUR, hours: BTreeMap::new() };
        stored.add(10 * HOUR + 10, 50);
        assert_eq!(stored.in_a_day(11 * HOUR - 1), None, "no evidence yet");
        stored.add(11 * HOUR, 50);
        assert_eq!(stored.in_a_day(12 * HOUR), Some(1200));
        // A burst of two days ago is over.
        stored.add(12 * HOUR, GIB);
        for hour in 13..60 {
            stored.add(hour * HOUR, 100);
        }
        assert_eq!((stored.in_a_day(60 * HOUR), stored.hours.len()), (Some(2400), 24));

        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch("CREATE TABLE meta (key PRIMARY KEY, value)").unwrap();
        stored.write(&connection).unwrap();
        assert_eq!(Stored::read(&connection, 0).in_a_day(60 * HOUR), Some(2400));
        connection.execute("UPDATE meta SET value = 'x'", []).unwrap();
        assert_eq!(Stored::read(&connection, 61 * HOUR).in_a_day(61 * HOUR), None);
    }

    #[test]
    fn rows_that_the_county_has_take_no_room() {
        let day = Some(24 * 3600);
        let half = Lens { unacked: GIB / 2, all: GIB };
        assert_eq!(seconds(GIB, GIB, half, GIB / 2), day);
        assert_eq!(seconds(GIB, GIB, Lens { unacked: 0, ..half }, GIB), day);
        // Pages are two thirds full.
        assert_eq!(seconds(3 * GIB, GIB / 2 * 3, half, GIB), day.map(|day| day / 2 * 3));
        assert_eq!(seconds(GIB, GIB, Lens { unacked: GIB, all: GIB }, GIB), Some(0));
        assert_eq!(seconds(GIB, 90_000, Lens::default(), 0), None);
    }
}
