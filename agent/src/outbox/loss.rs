//! What is lost with a damaged file, as far as its id and its numbers can still be read.
//!
//! # Invariants
//! - what may not be acked counts as lost: of what arrived the county knows better
//! - a file of which nothing can be read is one drop record all the same

use super::{
    file::{OutboxFile, next_seq, read_only, settled, stored_id},
    migration,
    place::Places,
};
use model::{
    id::{Lane, OutboxId, Seq},
    record::{DropCause, DropRecord},
    time::Now,
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
    cause: DropCause,
}

impl Loss {
    /// A file that was open: its numbers are in memory.
    pub(super) fn of(file: &OutboxFile) -> Self {
        let lanes = Lane::ALL.map(|lane| LostRows {
            lane,
            rows: file.lane(lane).unacked.clone(),
            cause: DropCause::Damaged,
        });
        Self { outbox: file.id(), lanes: lanes.into() }
    }

    /// A file that was found damaged.
    pub(super) fn read(path: &Path) -> Self {
        let read = read_only(path).and_then(|connection| Self::read_from(&connection));
        read.unwrap_or_else(|error| {
            tracing::error!(path = %path.display(), %error,
                "Nothing can be read of the damaged outbox: what is lost with it is not known.");
            Self {
                outbox: OutboxId::UNREADABLE,
                lanes: vec![LostRows {
                    lane: Lane::Urgent,
                    rows: [(Seq::FIRST, Seq::FIRST)].into_iter().collect(),
                    cause: DropCause::OutboxLost,
                }],
            }
        })
    }

    fn read_from(connection: &Connection) -> rusqlite::Result<Self> {
        let id = stored_id(connection)?.ok_or(rusqlite::Error::QueryReturnedNoRows)?;
        let lanes = Lane::ALL.map(|lane| LostRows::read(connection, lane));
        Ok(Self { outbox: id, lanes: lanes.into() })
    }

    pub(super) fn outbox(&self) -> OutboxId {
        self.outbox
    }

    pub(super) fn lanes(&self) -> impl Iterator<Item = (Lane, &RangeSet)> {
        self.lanes.iter().map(|lost| (lost.lane, &lost.rows))
    }

    /// The records that count it.
    pub(super) fn drops(&self, now: Now) -> Vec<DropRecord> {
        let mut drops = Vec::new();
        for LostRows { lane, rows, cause } in &self.lanes {
            let mut ranges: Vec<_> = rows.ranges().take(RANGES_MAX).collect();
            if let (Some((_, last)), Some(highest)) = (ranges.last_mut(), rows.highest()) {
                *last = highest; // What arrived of it stays received at the county.
            }
            drops.extend(ranges.into_iter().map(|(first, last)| DropRecord {
                outbox: Some(self.outbox),
                lane: *lane,
                first,
                last,
                from: now.wall,
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
        let (known, settled_error) = match settled(connection, lane) {
            Ok(known) => (known, None),
            Err(error) => (RangeSet::default(), Some(error)),
        };
        let (last, end_error) = match next(connection, lane, &known) {
            Ok(next) => (Seq::new(next.get() - 1), None),
            Err(error) => (known.highest(), Some(error)),
        };
        let mut rows: RangeSet = last.map(|last| (Seq::FIRST, last)).into_iter().collect();
        known.ranges().for_each(|(first, last)| rows.remove_range(first, last));
        let Some(error) = settled_error.or(end_error) else {
            return Self { lane, rows, cause: DropCause::Damaged };
        };
        tracing::error!(%lane, %error, "Where a damaged lane ends cannot be read.");
        if rows.is_empty() {
            rows.insert(last.map_or(Seq::FIRST, Seq::next)); // So that it is told.
        }
        Self { lane, rows, cause: DropCause::OutboxLost }
    }
}

/// The number the next row would have got.
fn next(connection: &Connection, lane: Lane, known: &RangeSet) -> rusqlite::Result<Seq> {
    if migration::has_old_tables(connection)? {
        return migration::old_next_seq(connection, lane);
    }
    next_seq(connection, lane, &Places::read(connection, lane)?, known)
}
