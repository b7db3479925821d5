//! What survives a crash of the agent: its outbox, as `agent/src/outbox` keeps it.
//!
//! Every method is one transaction: it happens as a whole or not at all.

use model::{
    id::{Lane, OutboxId, Seq},
    record::{DropCause, DropRecord, Record},
    time::{ClockQuality, Observed, WallTime},
};
use std::{collections::BTreeMap, rc::Rc, time::Duration};
use uplink_proto::{
    envelope::{Envelope, peek},
    ranges::RangeSet,
    sender::LaneStock,
};

/// What was stored this long before the link came up is still the present.
const LIVE_BEFORE: Duration = Duration::from_secs(300);
/// Acked rows are kept so long, for a county that is restored from a backup.
const KEEP_ACKED: Duration = Duration::from_secs(24 * 3600);

/// Where an envelope is.
pub(crate) type Key = (OutboxId, Lane, Seq);

/// One moment: how long the agents have run, and what a box takes for the time.
#[derive(Clone, Copy)]
pub(crate) struct Moment {
    pub(crate) ran: Duration,
    pub(crate) wall: WallTime,
}

impl Moment {
    pub(crate) fn observed(self) -> Observed {
        Observed { at: self.wall, quality: ClockQuality::Unknown }
    }
}

/// A row: its bytes as first written, and what the simulation knows of them.
#[derive(Clone)]
pub(crate) struct Row {
    pub(crate) bytes: Rc<[u8]>,
    pub(crate) numbers: Rc<[u64]>,
    stored: Duration,
    acked: Option<Duration>,
}

#[derive(Clone)]
pub(crate) struct Outbox {
    pub(crate) id: OutboxId,
    pub(crate) rows: BTreeMap<(Lane, Seq), Row>,
    pub(crate) unacked: [RangeSet; 3],
    pub(crate) next: [Seq; 3],
}

/// A range of numbers of a lane.
pub(crate) type Span = (Lane, Seq, Seq);

/// What a transaction gave up.
#[derive(Default)]
pub(crate) struct GivenUp {
    pub(crate) spans: Vec<Span>,
    /// The records that were in it.
    pub(crate) numbers: Vec<u64>,
    drops: Vec<DropRecord>,
}

impl Outbox {
    pub(crate) fn new(id: OutboxId) -> Self {
        Self { id, rows: BTreeMap::new(), unacked: Default::default(), next: [Seq::FIRST; 3] }
    }

    pub(crate) fn next(&self, lane: Lane) -> Seq {
        *lane.of(&self.next)
    }

    /// What a new connection starts from; `marks` are acked, and the file does not know of it yet.
    pub(crate) fn stock(&self, now: Duration, marks: &[RangeSet; 3]) -> [LaneStock; 3] {
        Lane::ALL.map(|lane| {
            let mut unacked = lane.of(&self.unacked).clone();
            for (first, last) in lane.of(marks).ranges() {
                unacked.remove_range(first, last);
            }
            let rows = self.rows.range((lane, Seq::FIRST)..);
            let mut rows = rows.take_while(|((of, _), _)| *of == lane);
            let live = rows.find(|(_, row)| row.stored + LIVE_BEFORE >= now);
            let next = self.next(lane);
            LaneStock { unacked, next, live_from: live.map_or(next, |((_, seq), _)| *seq) }
        })
    }

    /// Stores an envelope.
    pub(crate) fn append(
        &mut self,
        at: Moment,
        lane: Lane,
        records: Vec<Record>,
        numbers: &[u64],
    ) -> Seq {
        let seq = self.take_numbers(lane, 1).0;
        let envelope =
            Envelope { outbox: self.id, lane, seq, opened_at: at.wall, uptime: None, records };
        let (bytes, numbers) = (envelope.encode().into(), numbers.into());
        self.rows.insert((lane, seq), Row { bytes, numbers, stored: at.ran, acked: None });
        lane.of_mut(&mut self.unacked).insert(seq);
        seq
    }

    /// Numbers of rows that could not be written and are given up.
    pub(crate) fn take_numbers(&mut self, lane: Lane, count: u64) -> (Seq, Seq) {
        let first = self.next(lane);
        let last = Seq::new(first.get() + count - 1).unwrap();
        *lane.of_mut(&mut self.next) = last.next();
        (first, last)
    }

    /// The county has committed these.
    pub(crate) fn mark(&mut self, now: Duration, acked: &[RangeSet; 3]) {
        for (lane, acked) in Lane::ALL.into_iter().zip(acked) {
            for (first, last) in acked.ranges() {
                lane.of_mut(&mut self.unacked).remove_range(first, last);
                for (_, row) in self.rows.range_mut((lane, first)..=(lane, last)) {
                    row.acked = row.acked.or(Some(now));
                }
            }
        }
    }

    /// Acked rows go after a day, and at once where there is no room.
    pub(crate) fn prune(&mut self, now: Duration) {
        self.rows.retain(|_, row| row.acked.is_none_or(|acked| acked + KEEP_ACKED > now));
    }

    pub(crate) fn free_acked(&mut self) {
        self.rows.retain(|_, row| row.acked.is_none());
    }

    /// P3: acked rows first, then waveforms, then the oldest trend, urgent records last of all.
    pub(crate) fn make_room(&mut self, at: Moment, rows_max: usize) -> GivenUp {
        let wanted = rows_max - rows_max / 16;
        let excess = |rows: &BTreeMap<_, _>| rows.len().saturating_sub(wanted);
        let acked = self.rows.iter().filter(|(_, row)| row.acked.is_some());
        let acked: Vec<_> = acked.map(|(key, _)| *key).take(excess(&self.rows)).collect();
        acked.iter().for_each(|key| drop(self.rows.remove(key)));
        let mut given_up = GivenUp::default();
        for lane in [Lane::Wave, Lane::Trend, Lane::Urgent] {
            while excess(&self.rows) > 0 {
                let oldest = lane.of(&self.unacked).ranges().next();
                let Some((first, last)) = oldest else { break };
                let count = u64::try_from(excess(&self.rows)).unwrap();
                let last = last.min(Seq::new(first.get() + count - 1).unwrap());
                self.give_up(at, (lane, first, last), DropCause::OutboxFull, &mut given_up);
            }
        }
        self.record_drops(at, &given_up);
        given_up
    }

    /// A row cannot be read back.
    pub(crate) fn give_up_damaged(&mut self, at: Moment, lane: Lane, seq: Seq) -> GivenUp {
        let mut given_up = GivenUp::default();
        self.give_up(at, (lane, seq, seq), DropCause::Damaged, &mut given_up);
        self.record_drops(at, &given_up);
        given_up
    }

    /// The county lacks what it had: what is kept of it waits again; what is not is counted, unless
    /// a drop record that waits does so already.
    pub(crate) fn lost_at_county(&mut self, at: Moment, (lane, first, last): Span) -> GivenUp {
        let kept = self.rows.range_mut((lane, first)..=(lane, last));
        let kept = kept.map(|((_, seq), row)| {
            row.acked = None;
            (*seq, *seq)
        });
        let kept: RangeSet = kept.collect();
        lane.of_mut(&mut self.unacked).extend(&kept);
        let mut gone = kept.missing(first, last);
        for drop in self.drops_that_wait() {
            if drop.lane == lane && drop.outbox.is_none_or(|of| of == self.id) {
                gone.remove_range(drop.first, drop.last);
            }
        }
        let mut given_up = GivenUp::default();
        for (first, last) in gone.ranges() {
            self.give_up(at, (lane, first, last), DropCause::CountyRestored, &mut given_up);
        }
        self.record_drops(at, &given_up);
        given_up
    }

    fn drops_that_wait(&self) -> Vec<DropRecord> {
        let ranges = Lane::Urgent.of(&self.unacked).ranges();
        let rows = ranges.flat_map(|(first, last)| {
            self.rows.range((Lane::Urgent, first)..=(Lane::Urgent, last))
        });
        rows.flat_map(|(_, row)| self.drops_in(row)).collect()
    }

    /// The drop records of a row, each with the outbox it is about if that is another one.
    fn drops_in(&self, row: &Row) -> Vec<DropRecord> {
        let of = peek(&row.bytes).unwrap().outbox;
        let records = Envelope::decode(&row.bytes).map(|decoded| decoded.envelope.records);
        let drops = records.into_iter().flatten().filter_map(|record| match record {
            Record::Dropped(drop) => {
                let outbox = drop.outbox.or((of != self.id).then_some(of));
                Some(DropRecord { outbox, ..drop })
            }
            _ => None,
        });
        drops.collect()
    }

    /// A restored or copied outbox: what is not acked gets new numbers under a new id, its bytes
    /// stay; what is acked goes. Where each row is now.
    pub(crate) fn start_anew(&mut self, id: OutboxId) -> Vec<(Key, Rc<[u64]>)> {
        let old = std::mem::replace(self, Self::new(id));
        let mut moved = Vec::new();
        for ((lane, _), row) in old.rows.into_iter().filter(|(_, row)| row.acked.is_none()) {
            let seq = self.take_numbers(lane, 1).0;
            lane.of_mut(&mut self.unacked).insert(seq);
            moved.push(((id, lane, seq), Rc::clone(&row.numbers)));
            self.rows.insert((lane, seq), row);
        }
        moved
    }

    /// Counts a range whose rows, as far as there are any, are given up.
    fn give_up(
        &mut self,
        at: Moment,
        (lane, first, last): Span,
        cause: DropCause,
        given_up: &mut GivenUp,
    ) {
        let keys: Vec<_> =
            self.rows.range((lane, first)..=(lane, last)).map(|(key, _)| *key).collect();
        let rows: Vec<_> = keys.iter().filter_map(|key| self.rows.remove(key)).collect();
        for row in rows {
            given_up.numbers.extend(row.numbers.iter());
            // What a row counts stays counted.
            given_up.drops.extend(self.drops_in(&row));
        }
        lane.of_mut(&mut self.unacked).remove_range(first, last);
        given_up.spans.push((lane, first, last));
        given_up.drops.push(drop_record(at, (lane, first, last), cause));
    }

    fn record_drops(&mut self, at: Moment, given_up: &GivenUp) {
        if !given_up.drops.is_empty() {
            let records = given_up.drops.iter().cloned().map(Record::Dropped).collect();
            self.append(at, Lane::Urgent, records, &[]);
        }
    }
}

pub(crate) fn drop_record(at: Moment, (lane, first, last): Span, cause: DropCause) -> DropRecord {
    let (from, until, observed) = (at.wall, at.wall, at.observed());
    DropRecord { outbox: None, lane, first, last, from, until, cause, observed }
}
