//! What is lost with a damaged file, as far as its id and its numbers can still be read.
//!
//! # Invariants
//! - what may not be acked counts as lost: of what arrived the county knows better
//! - a file of which nothing can be read is one drop record all the same

use super::file::{OutboxFile, Reader, next_seq, seq_of};
use model::{
    id::{Lane, OutboxId, Seq},
    record::{DropCause, DropRecord},
    time::{Now, WallTime},
};
use rusqlite::Connection;
use std::path::Path;
use uplink_proto::ranges::RangeSet;

/// Ranges of a lane that are counted one by one.
const RANGES_MAX: usize = 100;

/// What the county will never get of one outbox, unless it has it already.
#[derive(Debug)]
pub(super) struct Loss {
    outbox: OutboxId,
    lanes: Vec<LostRows>,
}

#[derive(Debug)]
struct LostRows {
    lane: Lane,
    rows: RangeSet,
    /// When the first of them was opened, if that is known.
    from: Option<WallTime>,
    cause: DropCause,
}

/// What could be read of the rows of a lane, in their order, until the first error.
#[derive(Default)]
struct Walk {
    acked: RangeSet,
    first: Option<Seq>,
    highest: Option<Seq>,
    first_unacked: Option<WallTime>,
}

impl Loss {
    /// A file that was open: its numbers are in memory.
    pub(super) fn of(file: &OutboxFile) -> Self {
        let lanes = Lane::ALL.map(|lane| LostRows {
            lane,
            rows: file.lane(lane).unacked.clone(),
            from: None,
            cause: DropCause::Damaged,
        });
        Self { outbox: file.id(), lanes: lanes.into() }
    }

    /// A file that was found damaged.
    pub(super) fn read(path: &Path) -> Self {
        let read = Reader::open(path).and_then(|reader| Self::read_from(reader.connection()));
        read.unwrap_or_else(|error| {
            tracing::error!(path = %path.display(), %error,
                "Nothing can be read of the damaged outbox: what is lost with it is not known.");
            Self {
                outbox: OutboxId::UNREADABLE,
                lanes: vec![LostRows {
                    lane: Lane::Urgent,
                    rows: [(Seq::FIRST, Seq::FIRST)].into_iter().collect(),
                    from: None,
                    cause: DropCause::OutboxLost,
                }],
            }
        })
    }

    fn read_from(connection: &Connection) -> rusqlite::Result<Self> {
        let id: [u8; 16] =
            connection.query_row("SELECT value FROM meta WHERE key = 'outbox_id'", [], |row| {
                row.get(0)
            })?;
        let lanes = Lane::ALL.map(|lane| LostRows::read(connection, lane));
        Ok(Self { outbox: OutboxId::from_bytes(id), lanes: lanes.into() })
    }

    /// The records that count it.
    pub(super) fn drops(&self, now: Now) -> Vec<DropRecord> {
        let mut drops = Vec::new();
        for LostRows { lane, rows, from, cause } in &self.lanes {
            let mut ranges: Vec<_> = rows.ranges().take(RANGES_MAX).collect();
            if let (Some((_, last)), Some(highest)) = (ranges.last_mut(), rows.highest()) {
                *last = highest; // What arrived of it stays received at the county.
            }
            drops.extend(ranges.into_iter().map(|(first, last)| DropRecord {
                outbox: Some(self.outbox),
                lane: *lane,
                first,
                last,
                from: from.unwrap_or(now.wall),
                until: now.wall,
                cause: *cause,
                observed: now.observed(),
            }));
        }
        drops
    }
}

impl LostRows {
    fn read(connection: &Connection, lane: Lane) -> Self {
        let mut walk = Walk::default();
        let walked = walk.go(connection, lane);
        let end = next_seq(connection, lane).map(|next| Seq::new(next.get() - 1));
        let (last, cause) = match &end {
            Ok(end) => (walk.highest.max(*end), DropCause::Damaged),
            Err(_) => (walk.highest.or(Some(Seq::FIRST)), DropCause::OutboxLost),
        };
        let first = walk.first.or(walked.is_err().then_some(Seq::FIRST));
        let mut rows: RangeSet = first.zip(last).into_iter().collect();
        walk.acked.ranges().for_each(|(first, last)| rows.remove_range(first, last));
        if let Err(error) = end.map(drop).and(walked) {
            tracing::error!(%lane, %error, "Not all of a damaged lane can be read.");
        }
        Self { lane, rows, from: walk.first_unacked, cause }
    }
}

impl Walk {
    fn go(&mut self, connection: &Connection, lane: Lane) -> rusqlite::Result<()> {
        let mut statement = connection.prepare(
            "SELECT seq, opened_at, acked_s IS NOT NULL FROM envelope WHERE lane = ?1 ORDER BY seq",
        )?;
        let mut rows = statement.query([lane.name()])?;
        while let Some(row) = rows.next()? {
            let (seq, opened_at) = (seq_of(row.get(0)?)?, WallTime::from_unix_ms(row.get(1)?));
            self.first.get_or_insert(seq);
            self.highest = Some(seq);
            match row.get(2)? {
                true => self.acked.insert_range(seq, seq),
                false => drop(self.first_unacked.get_or_insert(opened_at)),
            }
        }
        Ok(())
    }
}
