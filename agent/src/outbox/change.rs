//! One transaction on the outbox: rows are added, marked, and given up together or not at all.
//!
//! # Invariants
//! - a seq is assigned in the transaction that stores its envelope
//! - rows are given up in the transaction that stores their drop record
//! - what the county lost waits again or is counted, never neither and never both
//! - what is known in memory changes after the commit, never before

use super::{
    checksum,
    file::{IDENTITIES_MAX, LaneRows, SettledRow, settle, unsettle, whole_hour},
    row::{self, StoredRow},
};
use drivers::serial::Cursor;
use model::{
    id::{DeviceId, Lane, OutboxId, Seq},
    record::{DropCause, DropRecord, Record},
    time::{Now, WallTime},
};
use rusqlite::{OptionalExtension as _, Transaction, params};
use uplink_proto::{
    envelope::{Builder, Envelope},
    ranges::RangeSet,
};

/// Drop records of one envelope: at most 100 bytes each.
const DROPS_PER_ENVELOPE: usize = 500;

/// One transaction.
pub(super) struct Change<'a> {
    transaction: Transaction<'a>,
    lanes: &'a mut [LaneRows; 3],
    outbox: OutboxId,
    now: Now,
    ran_s: i64,
    /// The numbers that come next: urgent, trend, wave.
    next: [Seq; 3],
    stored: Vec<Stored>,
    dropped: Vec<DropRecord>,
    /// Drop records of the rows that are given up here: what they count stays counted.
    saved: Vec<DropRecord>,
    /// Rows that were acked and wait again.
    waiting_again: Vec<(Lane, (Seq, Seq))>,
}

/// A row that was stored.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stored {
    pub(super) lane: Lane,
    pub(super) seq: Seq,
    pub(super) len: usize,
}

/// What a transaction did.
#[derive(Debug, Default)]
pub(super) struct Changed {
    pub(super) stored: Vec<Stored>,
    pub(super) dropped: Vec<DropRecord>,
}

impl<'a> Change<'a> {
    pub(super) fn new(
        transaction: Transaction<'a>,
        lanes: &'a mut [LaneRows; 3],
        outbox: OutboxId,
        now: Now,
        ran_s: i64,
    ) -> Self {
        let next = Lane::ALL.map(|lane| lane.of(lanes).next);
        Self {
            transaction,
            lanes,
            outbox,
            now,
            ran_s,
            next,
            stored: Vec::new(),
            dropped: Vec::new(),
            saved: Vec::new(),
            waiting_again: Vec::new(),
        }
    }

    pub(super) fn connection(&self) -> &rusqlite::Connection {
        &self.transaction
    }

    pub(super) fn now(&self) -> Now {
        self.now
    }

    /// Rows of a lane that are not acked, before this change.
    pub(super) fn first_unacked(&self, lane: Lane) -> Option<(Seq, Seq)> {
        let rows = lane.of(self.lanes);
        let given_up =
            self.dropped.iter().filter(|drop| drop.lane == lane && drop.outbox.is_none());
        let from = given_up.map(|drop| drop.last.next()).max().unwrap_or(Seq::FIRST);
        let first = rows.unacked.first_from(from)?;
        let (_, last) = rows.unacked.ranges().find(|(_, last)| *last >= first)?;
        Some((first, last))
    }

    /// Stores an envelope.
    pub(super) fn append(&mut self, lane: Lane, envelope: &Builder) -> rusqlite::Result<()> {
        let seq = self.take_number(lane, 1);
        let bytes = envelope.finish(self.outbox, lane, seq);
        self.insert(lane, (seq, envelope.opened_at()), &bytes)
    }

    /// Stores an envelope of another outbox as it was written there: who sends it gives it the
    /// number it has here.
    pub(super) fn take_over(
        &mut self,
        lane: Lane,
        opened_at: WallTime,
        bytes: &[u8],
    ) -> rusqlite::Result<()> {
        let seq = self.take_number(lane, 1);
        self.insert(lane, (seq, opened_at), bytes)
    }

    /// Counts what another outbox lost.
    pub(super) fn count_lost(&mut self, drop: DropRecord) {
        self.saved.push(drop);
    }

    /// The county has committed these rows: urgent, trend, wave.
    pub(super) fn mark_acked(&self, acked: &[RangeSet; 3]) -> rusqlite::Result<()> {
        for (lane, acked) in Lane::ALL.into_iter().zip(acked) {
            for range in acked.ranges() {
                settle(&self.transaction, lane, range, Some(whole_hour(self.ran_s)))?;
            }
        }
        Ok(())
    }

    /// Deletes some rows that were acked before that, oldest ack first; how many.
    pub(super) fn delete_acked(&self, before_s: i64, limit: u32) -> rusqlite::Result<u32> {
        let mut left = u64::from(limit);
        let mut oldest = self.transaction.prepare_cached(
            "DELETE FROM settled WHERE (lane, first) IN
               (SELECT lane, first FROM settled WHERE acked_s < ?1 ORDER BY acked_s LIMIT 1)
             RETURNING *",
        )?;
        while left > 0 {
            let found = oldest
                .query_row([before_s], |row| {
                    let lane = Lane::from_name(&row.get::<_, String>("lane")?);
                    lane.map(|lane| Ok((lane, SettledRow::of(row, lane)?))).transpose()
                })
                .optional()?;
            let Some(found) = found else { break };
            let Some((lane, SettledRow { range: (first, last), acked_s })) = found else {
                continue; // Of no lane there is.
            };
            let end = Seq::new(first.get().saturating_add(left - 1)).unwrap_or(last).min(last);
            let rows = lane.of(self.lanes);
            // A range without a sum is believed only as far as nothing is lost by it.
            for gone in rows.unacked.missing(first, end).ranges() {
                self.delete_rows(lane, gone)?;
                settle(&self.transaction, lane, gone, None)?;
            }
            for rest in rows.unacked.missing(end.next(), last).ranges() {
                settle(&self.transaction, lane, rest, acked_s)?;
            }
            left = left.saturating_sub(end.get().saturating_sub(first.get()) + 1);
        }
        Ok(u32::try_from(u64::from(limit) - left).unwrap_or(limit))
    }

    /// The county has these rows no more. What is kept of them waits again; what is not is counted,
    /// unless a drop record that waits does so already.
    pub(super) fn lost_at_county(
        &mut self,
        lane: Lane,
        (first, last): (Seq, Seq),
    ) -> rusqlite::Result<()> {
        let rows = lane.of(self.lanes);
        let Some(assigned) = Seq::new(rows.next.get() - 1) else { return Ok(()) };
        let mut gone = rows.unacked.missing(first, last.min(assigned));
        for (first, last) in unsettle(&self.transaction, lane, (first, last))? {
            gone.remove_range(first, last);
            self.waiting_again.push((lane, (first, last)));
        }
        for drop in self.drops_that_wait()? {
            if drop.lane == lane && drop.outbox.is_none() {
                gone.remove_range(drop.first, drop.last);
            }
        }
        // When they were opened is gone with them.
        let times = (self.now.wall, self.now.wall);
        for range in gone.ranges() {
            self.count_drop(lane, range, times, DropCause::CountyRestored);
        }
        Ok(())
    }

    /// Envelopes were given up before they had a number: they get one, so that they are counted.
    pub(super) fn give_up_unwritten(
        &mut self,
        lane: Lane,
        count: u32,
        from: WallTime,
        until: WallTime,
    ) {
        let first = self.take_number(lane, count);
        let last = Seq::new(first.get() + u64::from(count.saturating_sub(1))).unwrap_or(first);
        self.count_drop(lane, (first, last), (from, until), DropCause::DiskFull);
    }

    /// Gives up the oldest rows of a range without gaps, until that gives `wanted` bytes or `limit`
    /// rows are gone.
    pub(super) fn give_up_oldest(
        &mut self,
        lane: Lane,
        (first, last): (Seq, Seq),
        (wanted, limit): (u64, u64),
        cause: DropCause,
    ) -> rusqlite::Result<()> {
        let end = Seq::new(first.get().saturating_add(limit - 1)).unwrap_or(last).min(last);
        let (mut seq, mut freed) = (first, 0);
        let mut times: Option<(WallTime, WallTime)> = None;
        loop {
            if let Some((opened_at, len)) = self.delete(lane, seq)? {
                times = Some((times.map_or(opened_at, |(from, _)| from), opened_at));
                freed += len;
            }
            if freed >= wanted || seq >= end {
                break;
            }
            seq = seq.next();
        }
        let times = times.unwrap_or((self.now.wall, self.now.wall));
        self.count_drop(lane, (first, seq), times, cause);
        Ok(())
    }

    /// Gives up a row that cannot be read back. It stays where it is: deleting it walks the same
    /// broken pages.
    pub(super) fn give_up_damaged(&mut self, lane: Lane, seq: Seq, opened_at: Option<WallTime>) {
        // Else it was acked or given up meanwhile.
        if lane.of(self.lanes).unacked.contains(seq) {
            let opened_at = opened_at.unwrap_or(self.now.wall);
            self.count_drop(lane, (seq, seq), (opened_at, opened_at), DropCause::Damaged);
        }
    }

    pub(super) fn remember(&self, device: &DeviceId, cursor: &Cursor) -> rusqlite::Result<()> {
        self.transaction
            .prepare_cached("INSERT OR REPLACE INTO cursor VALUES (?1, ?2, ?3)")?
            .execute(params![
                device.as_str(),
                cursor.0,
                checksum::of(&[], &[device.as_str().as_bytes(), &cursor.0])
            ])?;
        Ok(())
    }

    pub(super) fn add_identity(&self, device: &DeviceId, identity: &str) -> rusqlite::Result<()> {
        self.transaction
            .prepare_cached("INSERT INTO identity (device, identity) VALUES (?1, ?2)")?
            .execute(params![device.as_str(), identity])?;
        Ok(())
    }

    /// Forgets what is older than the newest identities of that device: it takes far longer than to
    /// add one, so that it is done once in a commit.
    pub(super) fn forget_identities(&self, device: &DeviceId) -> rusqlite::Result<()> {
        self.transaction
            .prepare_cached(
                "DELETE FROM identity WHERE device = ?1 AND number <= (SELECT number FROM identity
                 WHERE device = ?1 ORDER BY number DESC LIMIT 1 OFFSET ?2)",
            )?
            .execute(params![device.as_str(), IDENTITIES_MAX])?;
        Ok(())
    }

    /// Keeps how long the agent has run.
    pub(super) fn note_time(&self) -> rusqlite::Result<()> {
        self.transaction
            .prepare_cached("INSERT OR REPLACE INTO meta VALUES ('ran_s', ?1)")?
            .execute([self.ran_s])?;
        Ok(())
    }

    /// Counts what was given up, and makes all of it last.
    pub(super) fn commit(mut self) -> rusqlite::Result<Changed> {
        let counted: Vec<DropRecord> = self.saved.iter().chain(&self.dropped).cloned().collect();
        for part in counted.chunks(DROPS_PER_ENVELOPE) {
            let mut envelope = Builder::new(self.now.wall, Some(self.now.uptime));
            for drop in part {
                envelope.push(&Record::Dropped(drop.clone()), usize::MAX);
            }
            self.append(Lane::Urgent, &envelope)?;
        }
        // A number that has no row is in here, or it would be given again.
        for drop in &self.dropped {
            settle(&self.transaction, drop.lane, (drop.first, drop.last), None)?;
        }
        self.transaction.commit()?;
        for row in &self.stored {
            row.lane.of_mut(self.lanes).add(self.now.mono, row.seq);
        }
        for drop in &self.dropped {
            drop.lane.of_mut(self.lanes).unacked.remove_range(drop.first, drop.last);
        }
        for (lane, (first, last)) in self.waiting_again {
            lane.of_mut(self.lanes).unacked.insert_range(first, last);
        }
        for (lane, next) in Lane::ALL.into_iter().zip(self.next) {
            lane.of_mut(self.lanes).next = next;
        }
        Ok(Changed { stored: self.stored, dropped: self.dropped })
    }

    fn insert(
        &mut self,
        lane: Lane,
        (seq, opened_at): (Seq, WallTime),
        bytes: &[u8],
    ) -> rusqlite::Result<()> {
        let place = lane.of(self.lanes).places.of(seq);
        row::insert(&self.transaction, lane, (place, opened_at), bytes)?;
        self.stored.push(Stored { lane, seq, len: bytes.len() });
        Ok(())
    }

    fn take_number(&mut self, lane: Lane, count: u32) -> Seq {
        let next = lane.of_mut(&mut self.next);
        let taken = *next;
        *next = Seq::new(taken.get().saturating_add(u64::from(count))).unwrap_or(taken);
        taken
    }

    fn delete_rows(&self, lane: Lane, (first, last): (Seq, Seq)) -> rusqlite::Result<()> {
        let mut delete = self.transaction.prepare_cached(&format!(
            "DELETE FROM {} WHERE place BETWEEN ?1 AND ?2",
            lane.name()
        ))?;
        for (first, last) in lane.of(self.lanes).places.spans(first, last) {
            delete.execute([first, last])?;
        }
        Ok(())
    }

    /// Deletes a row: when it was opened, and how many bytes that gave.
    fn delete(&mut self, lane: Lane, seq: Seq) -> rusqlite::Result<Option<(WallTime, u64)>> {
        let place = lane.of(self.lanes).places.of(seq);
        if lane == Lane::Urgent {
            // What they count stays counted.
            let drops = self.drops_in((place, place))?;
            self.saved.extend(drops);
        }
        let row: Option<(i64, i64)> = self
            .transaction
            .prepare_cached(&format!(
                "DELETE FROM {} WHERE place = ?1 RETURNING opened_at, length(bytes)",
                lane.name()
            ))?
            .query_row([place], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        Ok(row.map(|(opened_at, len)| {
            (WallTime::from_unix_ms(opened_at), u64::try_from(len).unwrap_or_default())
        }))
    }

    /// Drop records that are not acked.
    fn drops_that_wait(&self) -> rusqlite::Result<Vec<DropRecord>> {
        let urgent = Lane::Urgent.of(self.lanes);
        let ranges = urgent.unacked.ranges();
        let spans = ranges.flat_map(|(first, last)| urgent.places.spans(first, last));
        let mut drops = Vec::new();
        for span in spans {
            drops.extend(self.drops_in(span)?);
        }
        Ok(drops)
    }

    /// The drop records at these places of the urgent lane, each with the outbox it is about if that
    /// is another one.
    fn drops_in(&self, (first, last): (i64, i64)) -> rusqlite::Result<Vec<DropRecord>> {
        let mut rows = self
            .transaction
            .prepare_cached("SELECT * FROM urgent WHERE place BETWEEN ?1 AND ?2")?;
        let mut rows = rows.query([first, last])?;
        let mut drops = Vec::new();
        while let Some(row) = rows.next()? {
            // One that was altered is counted itself, when it is sent or given up.
            let Ok(row) = StoredRow::of(row) else { continue };
            let Ok(decoded) = Envelope::decode(&row.bytes) else { continue };
            let of = decoded.envelope.outbox;
            drops.extend(decoded.envelope.records.into_iter().filter_map(|record| match record {
                Record::Dropped(drop) => {
                    let outbox = drop.outbox.or((of != self.outbox).then_some(of));
                    Some(DropRecord { outbox, ..drop })
                }
                _ => None,
            }));
        }
        Ok(drops)
    }

    fn count_drop(
        &mut self,
        lane: Lane,
        (first, last): (Seq, Seq),
        (from, until): (WallTime, WallTime),
        cause: DropCause,
    ) {
        let observed = self.now.observed();
        let drop = DropRecord { outbox: None, lane, first, last, from, until, cause, observed };
        self.dropped.push(drop);
    }
}
