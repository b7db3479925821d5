//! What can still be read of an outbox that is kept aside goes into the one in use, row by row; the
//! rest is counted under the id it had.
//!
//! Not here: cursors and identities. Without them the devices tell again what they remember, what
//! was lost among it; the county knows repeats.
//! Not here: rows in the tables of schema 1. They are counted.
//!
//! # Invariants
//! - a row goes over as it was written: the uplink says as what, so that the county stores once what
//!   it has already, under that number or salvaged before
//! - rows, the records of what cannot be read, and how far it came are one transaction: a kill
//!   between any two steps costs nothing

use super::{
    change::Change,
    file::{OutboxFile, beside, kept_aside, meta, seq_of},
    loss::{Loss, LostRows, of_file},
    place::Places,
    row,
};
use model::{
    id::{Lane, Seq},
    record::{DropCause, DropRecord},
    time::{Now, WallTime},
};
use rusqlite::Connection;
use std::{
    fs,
    path::{Path, PathBuf},
};
use uplink_proto::{envelope::Envelope, ranges::RangeSet};

/// Bytes taken over in one step, so that no commit has to wait for long.
const STEP_LEN: usize = 256 << 10;
/// Places looked at in one step: nothing is where a table is broken.
const STEP_PLACES: u32 = 10_000;
/// Ranges of a lane that one step counts one by one.
const RANGES_MAX: usize = 100;
/// No row is shorter: so many places behind each other that cannot be read are the end.
const ROW_LEN_MIN: u64 = 128;

/// An outbox that is kept aside, and how far it has come.
#[derive(Debug)]
pub(super) struct Salvage {
    aside: PathBuf,
    loss: Loss,
    /// `None` when nothing can be read.
    rows: Option<Connection>,
    places_max: u64,
    at: At,
}

/// How far it has come.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct At {
    /// The lane, counted from 0; behind the last one when all is told.
    lane: usize,
    place: i64,
    /// Places that could not be read since the last one that could.
    missed: u64,
    /// Records of drops may be among what cannot be read.
    lost_urgent: bool,
}

impl Salvage {
    /// The first of the files that are kept aside and not told and can be looked at, if there is
    /// one.
    pub(super) fn next(file: &OutboxFile) -> Option<Self> {
        let mut asides = kept_aside(file.path());
        asides.sort();
        asides.into_iter().find_map(|aside| match Loss::read(&aside) {
            Ok((loss, rows)) => Some(Self::of(file, aside, loss, rows)),
            Err(error) => {
                tracing::error!(aside = %aside.display(), %error,
                    "An outbox kept aside cannot be opened; it is looked at again in a minute.");
                None
            }
        })
    }

    fn of(file: &OutboxFile, aside: PathBuf, mut loss: Loss, rows: Option<Connection>) -> Self {
        for lost in &mut loss.lanes {
            if !lost.is_end_known {
                lost.rows.insert_range(lost.next, last_seq());
            }
        }
        let lens = ["", "-wal"].map(|suffix| fs::metadata(beside(&aside, suffix)));
        let len: u64 = lens.into_iter().flatten().map(|found| found.len()).sum();
        let mut salvage =
            Self { aside, loss, rows, places_max: len / ROW_LEN_MIN, at: At::default() };
        salvage.at = salvage.read_at(&file.connection).unwrap_or_default();
        salvage
    }

    /// The file that it is about.
    pub(super) fn aside(&self) -> &Path {
        &self.aside
    }

    /// The lane whose rows come next.
    pub(super) fn lane(&self) -> Option<Lane> {
        self.loss.lanes.get(self.at.lane).map(|lost| lost.lane)
    }

    /// One step; how far it comes when the change is on disk.
    pub(super) fn step(&self, change: &mut Change<'_>) -> rusqlite::Result<At> {
        let mut at = self.at;
        match self.loss.lanes.get(at.lane) {
            Some(lost) => self.take_rows(lost, &mut at, change)?,
            None => {
                self.count_what_was_counted(change);
                at.lost_urgent = false;
            }
        }
        let text = format!("{} {} {} {}", self.name(), at.lane, at.place, at.lost_urgent);
        change
            .connection()
            .prepare_cached("INSERT OR REPLACE INTO meta VALUES ('salvage', ?1)")?
            .execute([text])?;
        Ok(at)
    }

    /// A step is on disk.
    pub(super) fn came_to(&mut self, at: At) {
        self.at = at;
    }

    /// Whether all is told.
    pub(super) fn is_done(&self) -> bool {
        self.at.lane >= self.loss.lanes.len() && !self.at.lost_urgent
    }

    /// How far it has come before, if something of it was taken over.
    fn read_at(&self, connection: &Connection) -> Option<At> {
        let text: String = meta(connection, "salvage").ok().flatten()?;
        let mut words = text.strip_prefix(&self.name())?.split_whitespace();
        let (lane, place) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        Some(At { lane, place, missed: 0, lost_urgent: words.next()? == "true" })
    }

    /// Which file it is: its name alone may come again.
    fn name(&self) -> String {
        let name = self.aside.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
        format!("{} {name}", self.loss.outbox)
    }

    fn take_rows(
        &self,
        lost: &LostRows,
        at: &mut At,
        change: &mut Change<'_>,
    ) -> rusqlite::Result<()> {
        let LostRows { lane, rows, places, next, is_end_known, cause } = lost;
        let first = places.seq_from(at.place);
        let mut taken = Taken::default();
        let ended = self.walk(lost, at, &mut taken, change)?;
        let last = if ended { last_seq() } else { before(places.seq_from(at.place)) };
        let mut gone: RangeSet = rows.within(first, last).into_iter().collect();
        taken.rows.ranges().for_each(|(first, last)| gone.remove_range(first, last));
        gone.remove_range(*next, last_seq());
        let mut ranges: Vec<_> = gone.ranges().collect();
        if let (Some((_, last)), Some(rest)) = (ranges.last().copied(), ranges.get_mut(RANGES_MAX))
        {
            rest.1 = last; // What arrived of it stays received at the county.
            ranges.truncate(RANGES_MAX + 1);
        }
        let mut drops: Vec<_> = ranges.into_iter().map(|range| (range, *cause)).collect();
        if ended && !is_end_known {
            drops.push(((*next, *next), DropCause::OutboxLost)); // And all above it.
        }
        let now = change.now();
        for (range, cause) in drops {
            at.lost_urgent |= *lane == Lane::Urgent && self.rows.is_some();
            change.count_lost(self.drop(now, (*lane, range), taken.times(now), cause));
        }
        if ended {
            *at = At { lane: at.lane + 1, lost_urgent: at.lost_urgent, ..At::default() };
        }
        Ok(())
    }

    /// Takes over what can be read, until that is enough for one step; whether the lane ended.
    fn walk(
        &self,
        LostRows { lane, rows, places, .. }: &LostRows,
        at: &mut At,
        taken: &mut Taken,
        change: &mut Change<'_>,
    ) -> rusqlite::Result<bool> {
        let Some(connection) = &self.rows else { return Ok(true) };
        for _ in 0..STEP_PLACES {
            let Some(wanted) = rows.first_from(places.seq_from(at.place)) else { return Ok(true) };
            at.place = at.place.max(places.of(wanted));
            if taken.len >= STEP_LEN {
                return Ok(false);
            }
            match of_file(row::next_place(connection, *lane, at.place))? {
                Ok(None) => return Ok(true),
                Ok(Some(place)) => {
                    at.place = place;
                    let seq = seq_at(places, place).filter(|seq| rows.contains(*seq));
                    if let Ok(Some(row)) = of_file(row::read(connection, *lane, place))?
                        && Envelope::decode(&row.bytes)
                            .is_ok_and(|decoded| decoded.envelope.lane == *lane)
                        && let Some(seq) = seq
                    {
                        change.take_over(*lane, row.opened_at, &row.bytes)?;
                        taken.add(seq, row.opened_at, row.bytes.len());
                    }
                    at.missed = 0;
                }
                Err(_) if at.missed >= self.places_max => return Ok(true),
                Err(_) => at.missed += 1,
            }
            at.place = at.place.saturating_add(1);
        }
        Ok(false)
    }

    /// Urgent rows are lost, and with them it may be what they said was given up: nobody else knows.
    fn count_what_was_counted(&self, change: &mut Change<'_>) {
        let now = change.now();
        for LostRows { lane, next, .. } in &self.loss.lanes {
            if *next > Seq::FIRST {
                let (range, times) = ((Seq::FIRST, before(*next)), (now.wall, now.wall));
                change.count_lost(self.drop(now, (*lane, range), times, DropCause::OutboxLost));
            }
        }
    }

    fn drop(
        &self,
        now: Now,
        (lane, (first, last)): (Lane, (Seq, Seq)),
        (from, until): (WallTime, WallTime),
        cause: DropCause,
    ) -> DropRecord {
        let outbox = Some(self.loss.outbox);
        DropRecord { outbox, lane, first, last, from, until, cause, observed: now.observed() }
    }
}

/// What one step took over.
#[derive(Default)]
struct Taken {
    rows: RangeSet,
    len: usize,
    times: Option<(WallTime, WallTime)>,
}

impl Taken {
    fn add(&mut self, seq: Seq, opened_at: WallTime, len: usize) {
        self.rows.insert(seq);
        self.len += len;
        self.times = Some((self.times.map_or(opened_at, |(first, _)| first), opened_at));
    }

    /// About when what is missing was opened.
    fn times(&self, now: Now) -> (WallTime, WallTime) {
        self.times.unwrap_or((now.wall, now.wall))
    }
}

/// The seq of the row at that place, if there may be one.
fn seq_at(places: &Places, place: i64) -> Option<Seq> {
    let seq = places.seq_from(place);
    (places.of(seq) == place).then_some(seq)
}

fn before(seq: Seq) -> Seq {
    Seq::new(seq.get() - 1).unwrap_or(Seq::FIRST)
}

/// The highest there can be.
fn last_seq() -> Seq {
    seq_of(i64::MAX - 1).unwrap_or(Seq::FIRST)
}
