//! One transaction on the outbox: rows are added, marked, and given up together or not at all.
//!
//! # Invariants
//! - a seq is assigned in the transaction that stores its envelope
//! - rows are given up in the transaction that stores their drop record
//! - what is known in memory changes after the commit, never before

use super::file::{IDENTITIES_MAX, LaneRows, integer};
use drivers::serial::Cursor;
use model::{
    id::{DeviceId, Lane, OutboxId, Seq},
    record::{DropCause, DropRecord, Record},
    time::{Now, WallTime},
};
use rusqlite::{OptionalExtension as _, Transaction, params};
use uplink_proto::{envelope::Envelope, ranges::RangeSet};

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
        let (stored, dropped, saved) = (Vec::new(), Vec::new(), Vec::new());
        Self { transaction, lanes, outbox, now, ran_s, next, stored, dropped, saved }
    }

    pub(super) fn connection(&self) -> &rusqlite::Connection {
        &self.transaction
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
    pub(super) fn append(
        &mut self,
        lane: Lane,
        opened_at: WallTime,
        records: Vec<Record>,
    ) -> rusqlite::Result<()> {
        let seq = self.take_number(lane, 1);
        let bytes = Envelope { outbox: self.outbox, lane, seq, opened_at, records }.encode();
        self.transaction
            .prepare_cached("INSERT INTO content (bytes) VALUES (?1)")?
            .execute(params![bytes])?;
        let content = self.transaction.last_insert_rowid();
        self.transaction
            .prepare_cached(
                "INSERT INTO envelope (lane, seq, opened_at, content) VALUES (?1, ?2, ?3, ?4)",
            )?
            .execute(params![lane.name(), integer(seq), opened_at.unix_ms(), content])?;
        self.stored.push(Stored { lane, seq, len: bytes.len() });
        Ok(())
    }

    /// The county has committed these rows: urgent, trend, wave.
    pub(super) fn mark_acked(&self, acked: &[RangeSet; 3]) -> rusqlite::Result<()> {
        let mut mark = self.transaction.prepare_cached(
            "UPDATE envelope SET acked_s = ?4
             WHERE lane = ?1 AND seq BETWEEN ?2 AND ?3 AND acked_s IS NULL",
        )?;
        for (lane, acked) in Lane::ALL.into_iter().zip(acked) {
            for (first, last) in acked.ranges() {
                mark.execute(params![lane.name(), integer(first), integer(last), self.ran_s])?;
            }
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
        wanted: u64,
        limit: u64,
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
        self.count_drop(lane, (first, seq), times, DropCause::OutboxFull);
        Ok(())
    }

    /// Gives up a row that cannot be read back. Its bytes stay where they are: deleting them walks
    /// the same broken pages.
    pub(super) fn give_up_damaged(&mut self, lane: Lane, seq: Seq) -> rusqlite::Result<()> {
        let opened_at: Option<i64> = self
            .transaction
            .prepare_cached(
                "DELETE FROM envelope WHERE lane = ?1 AND seq = ?2 AND acked_s IS NULL
                 RETURNING opened_at",
            )?
            .query_row(params![lane.name(), integer(seq)], |row| row.get(0))
            .optional()?;
        if let Some(opened_at) = opened_at.map(WallTime::from_unix_ms) {
            self.count_drop(lane, (seq, seq), (opened_at, opened_at), DropCause::Damaged);
        }
        Ok(())
    }

    pub(super) fn remember(&self, device: &DeviceId, cursor: &Cursor) -> rusqlite::Result<()> {
        self.transaction
            .prepare_cached("INSERT OR REPLACE INTO cursor VALUES (?1, ?2)")?
            .execute(params![device.as_str(), cursor.0])?;
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
            let records = part.iter().cloned().map(Record::Dropped).collect();
            self.append(Lane::Urgent, self.now.wall, records)?;
        }
        for (lane, next) in Lane::ALL.into_iter().zip(self.next) {
            if next > lane.of(self.lanes).next {
                self.transaction
                    .prepare_cached("UPDATE lane SET next_seq = ?2 WHERE lane = ?1")?
                    .execute(params![lane.name(), integer(next)])?;
            }
        }
        self.transaction.commit()?;
        for row in &self.stored {
            row.lane.of_mut(self.lanes).add(self.now.mono, row.seq);
        }
        for drop in &self.dropped {
            drop.lane.of_mut(self.lanes).unacked.remove_range(drop.first, drop.last);
        }
        for (lane, next) in Lane::ALL.into_iter().zip(self.next) {
            lane.of_mut(self.lanes).next = next;
        }
        Ok(Changed { stored: self.stored, dropped: self.dropped })
    }

    fn take_number(&mut self, lane: Lane, count: u32) -> Seq {
        let next = lane.of_mut(&mut self.next);
        let taken = *next;
        *next = Seq::new(taken.get().saturating_add(u64::from(count))).unwrap_or(taken);
        taken
    }

    /// Deletes a row: when it was opened, and how many bytes that gave.
    fn delete(&mut self, lane: Lane, seq: Seq) -> rusqlite::Result<Option<(WallTime, u64)>> {
        let row: Option<(i64, i64)> = self
            .transaction
            .prepare_cached(
                "DELETE FROM envelope WHERE lane = ?1 AND seq = ?2 RETURNING opened_at, content",
            )?
            .query_row(params![lane.name(), integer(seq)], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        let Some((opened_at, content)) = row else { return Ok(None) };
        if lane == Lane::Urgent {
            self.save_drops(content)?;
        }
        let len: i64 = self
            .transaction
            .prepare_cached("DELETE FROM content WHERE number = ?1 RETURNING length(bytes)")?
            .query_row([content], |row| row.get(0))?;
        Ok(Some((WallTime::from_unix_ms(opened_at), u64::try_from(len).unwrap_or_default())))
    }

    fn save_drops(&mut self, content: i64) -> rusqlite::Result<()> {
        let bytes: Vec<u8> = self
            .transaction
            .prepare_cached("SELECT bytes FROM content WHERE number = ?1")?
            .query_row([content], |row| row.get(0))?;
        let Ok(decoded) = Envelope::decode(&bytes) else { return Ok(()) };
        let of = decoded.envelope.outbox;
        self.saved.extend(decoded.envelope.records.into_iter().filter_map(|record| match record {
            Record::Dropped(drop) => {
                let outbox = drop.outbox.or((of != self.outbox).then_some(of));
                Some(DropRecord { outbox, ..drop })
            }
            _ => None,
        }));
        Ok(())
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
