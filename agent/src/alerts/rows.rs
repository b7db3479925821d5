//! What was committed, envelope by envelope: the rules see what the county will see.
//!
//! # Invariants
//! - every envelope is handed out once, in the order of its lane; a restart goes on where the kept
//!   place is
//! - a row that is damaged, or that came from another outbox, is passed over
//! - of what is behind, one envelope at a time is decoded: a full one is a quarter of a MiB then

use crate::outbox::Reader;
use model::{
    id::Lane,
    time::{Now, WallTime},
};
use serde::{Deserialize, Serialize};
use std::{fs, io, os::unix::fs::MetadataExt as _, path::Path, time::Duration};
use thiserror::Error;
use uplink_proto::envelope::Envelope;

/// Rows that are looked at together: the length of a lane's backlog costs no memory.
const ROWS_MAX: usize = 8;
/// Without a place to go on from, what was committed in this time is looked at: a condition that
/// holds is found again by what repeats.
const BEGIN_BEFORE: Duration = Duration::from_secs(10 * 60);
/// And no more rows than this: ten minutes of four commits a second, and as many again.
const BEGIN_MAX: usize = 4800;
/// What the rules hear of; waves run no rule.
const LANES: [Lane; 2] = [Lane::Urgent, Lane::Trend];

/// Up to which row of which file everything was handed out.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub(super) struct Place {
    /// The file's number on its disk: one that replaces it has another.
    file: u64,
    /// Urgent, trend.
    behind: [i64; 2],
}

/// Why rows cannot be read.
#[derive(Debug, Error)]
pub(super) enum RowsError {
    #[error("the outbox file cannot be looked at: {0}; check the disk")]
    Look(#[from] io::Error),
    #[error("the outbox file failed: {0}; check the disk")]
    File(#[from] rusqlite::Error),
}

/// Reads one outbox file.
#[derive(Debug)]
pub(super) struct Rows {
    reader: Reader,
    place: Place,
}

/// Where somebody begins who knows of no place: the last minutes tell the present.
fn begins(now: Now) -> WallTime {
    let ago = i64::try_from(BEGIN_BEFORE.as_millis()).unwrap_or(i64::MAX);
    WallTime::from_unix_ms(now.wall.unix_ms().saturating_sub(ago))
}

/// An envelope with its place among others.
struct Found {
    lane: usize,
    place: i64,
    order: i64,
    /// None: damaged.
    bytes: Option<Vec<u8>>,
}

impl Found {
    /// None: damaged, or of another outbox.
    fn envelope(self) -> Option<Envelope> {
        let decoded = Envelope::decode(&self.bytes?).ok()?;
        decoded.written.is_none().then_some(decoded.envelope)
    }
}

impl Rows {
    /// Goes on at that place of the file; at another file it begins with the last minutes.
    pub(super) fn open(path: &Path, from: Place, now: Now) -> Result<Self, RowsError> {
        let file = fs::metadata(path)?.ino();
        let reader = Reader::open(path)?;
        let mut place = Place { file, ..from };
        if from.file != file {
            for (lane, behind) in LANES.into_iter().zip(&mut place.behind) {
                *behind = reader.place_before(lane, begins(now), BEGIN_MAX)?;
            }
        }
        Ok(Self { reader, place })
    }

    /// Whether that is still the file it reads.
    pub(super) fn is_of(&self, path: &Path) -> Result<bool, RowsError> {
        Ok(fs::metadata(path)?.ino() == self.place.file)
    }

    pub(super) const fn place(&self) -> Place {
        self.place
    }

    /// The next envelopes in the order in which they were opened; none when all were handed out.
    pub(super) fn next(
        &mut self,
        now: Now,
    ) -> Result<impl Iterator<Item = Envelope> + use<>, RowsError> {
        let [urgent, trend] = [self.found(0, now)?, self.found(1, now)?];
        // Of a lane that has more, what comes behind the last row is not known.
        let ends = [&urgent, &trend].into_iter().filter(|rows| rows.len() >= ROWS_MAX);
        let end = ends.filter_map(|rows| rows.last()).map(|row| row.order).min();
        let is_in = |row: &Found| end.is_none_or(|end| row.order <= end);
        let upto = |rows: &[Found]| rows.iter().take_while(|row| is_in(row)).count();
        let (mut urgent, mut trend) = (urgent, trend);
        let counts = (upto(&urgent), upto(&trend));
        // A clock that was set back may leave none: then all that was read goes.
        if counts != (0, 0) {
            urgent.truncate(counts.0);
            trend.truncate(counts.1);
        }
        let mut rows: Vec<Found> = urgent.into_iter().chain(trend).collect();
        for row in &rows {
            if let Some(behind) = self.place.behind.get_mut(row.lane) {
                *behind = row.place.max(*behind);
            }
        }
        rows.sort_by_key(|row| row.order);
        Ok(rows.into_iter().filter_map(Found::envelope))
    }

    fn found(&mut self, lane: usize, now: Now) -> Result<Vec<Found>, RowsError> {
        let (Some(of), Some(behind)) = (LANES.get(lane), self.place.behind.get_mut(lane)) else {
            return Ok(Vec::new());
        };
        let mut rows = self.reader.behind(*of, *behind, ROWS_MAX)?;
        // An outbox that started anew in its file, or was restored into it, goes on further back.
        if rows.is_empty() && self.reader.last_place(*of)? < *behind {
            *behind = self.reader.place_before(*of, begins(now), BEGIN_MAX)?;
            rows = self.reader.behind(*of, *behind, ROWS_MAX)?;
        }
        let found = rows.into_iter().map(|(place, row)| {
            let opened_at = row.as_ref().map_or(0, |row| row.opened_at.unix_ms());
            Found { lane, place, order: opened_at, bytes: row.ok().map(|row| row.bytes) }
        });
        Ok(found.collect())
    }
}
