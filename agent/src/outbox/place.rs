//! Where the rows of a lane are: an outbox that started anew gave them new seqs and moved none.
//!
//! # Invariants
//! - higher seqs are at higher places
//! - a row that is stored goes behind all others

use super::{
    checksum,
    file::{integer, seq_of},
};
use model::id::{Lane, Seq};
use rusqlite::{Connection, params};
use std::{collections::BTreeMap, ops::Bound};
use uplink_proto::ranges::RangeSet;

/// From a seq on, how far above its seq a row is. Empty until an outbox starts anew.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Places(BTreeMap<Seq, i64>);

impl Places {
    pub(super) fn read(connection: &Connection, lane: Lane) -> rusqlite::Result<Self> {
        let mut statement = connection.prepare_cached("SELECT * FROM moved WHERE lane = ?1")?;
        let rows = statement.query_map([lane.name()], |row| {
            let (first, shift) = (row.get("first")?, row.get("shift")?);
            checksum::check(row, Self::sum(lane, first, shift))?;
            Ok((seq_of(first)?, shift))
        })?;
        Ok(Self(rows.collect::<Result<_, _>>()?))
    }

    pub(super) fn write(&self, connection: &Connection, lane: Lane) -> rusqlite::Result<()> {
        connection.execute("DELETE FROM moved WHERE lane = ?1", [lane.name()])?;
        for (first, shift) in &self.0 {
            let sum = Self::sum(lane, integer(*first), *shift);
            connection.execute(
                "INSERT INTO moved VALUES (?1, ?2, ?3, ?4)",
                params![lane.name(), integer(*first), shift, sum],
            )?;
        }
        Ok(())
    }

    /// Where the row of that seq is.
    pub(super) fn of(&self, seq: Seq) -> i64 {
        let shift = self.0.range(..=seq).next_back().map_or(0, |(_, shift)| *shift);
        integer(seq).saturating_add(shift)
    }

    /// The seq of the last row, which is at that place. Never too high; it is too low where rows
    /// above it were given up.
    pub(super) fn last_seq(&self, place: i64) -> Option<Seq> {
        let shift = self.0.last_key_value().map_or(0, |(_, shift)| *shift);
        u64::try_from(place.saturating_sub(shift)).ok().and_then(Seq::new)
    }

    /// The first seq whose row would be at that place or behind it.
    pub(super) fn seq_from(&self, place: i64) -> Seq {
        let next = self.0.keys().skip(1).map(|next| next.get() - 1).chain([u64::MAX]);
        let mut parts = self.0.iter().zip(next);
        let found = parts.find_map(|((first, shift), last)| {
            let seq = seq_of(place.saturating_sub(*shift)).unwrap_or(Seq::FIRST).max(*first);
            (seq.get() <= last).then_some(seq)
        });
        found.unwrap_or_else(|| seq_of(place).unwrap_or(Seq::FIRST))
    }

    /// Where the rows of a range are, in their order.
    pub(super) fn spans(&self, first: Seq, last: Seq) -> Vec<(i64, i64)> {
        let mut spans = Vec::new();
        let mut start = first;
        for (next, _) in self.0.range((Bound::Excluded(first), Bound::Included(last))) {
            spans.push(self.span(start, integer(*next) - 1));
            start = *next;
        }
        spans.push(self.span(start, integer(last)));
        spans
    }

    /// The places of these rows when they are numbered from 1, and which places those are.
    pub(super) fn renumbered(&self, rows: &RangeSet) -> (Self, Vec<(i64, i64)>) {
        let spans: Vec<_> =
            rows.ranges().flat_map(|(first, last)| self.spans(first, last)).collect();
        let mut shifts = BTreeMap::new();
        let mut next = 1_i64;
        for (first, last) in &spans {
            shifts.extend(Self::shift(next, *first));
            next += last - first + 1;
        }
        (Self(shifts), spans)
    }

    fn span(&self, start: Seq, last: i64) -> (i64, i64) {
        let place = self.of(start);
        (place, place + (last - integer(start)))
    }

    fn sum(lane: Lane, first: i64, shift: i64) -> u32 {
        checksum::of(&[first, shift], &[lane.name().as_bytes()])
    }

    fn shift(seq: i64, place: i64) -> Option<(Seq, i64)> {
        Some((seq_of(seq).ok()?, place - seq))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seq(number: u64) -> Seq {
        Seq::new(number).unwrap()
    }

    #[test]
    fn rows_stay_where_they_are_when_they_are_numbered_anew() {
        let places = Places::default();
        assert_eq!(places.spans(seq(3), seq(9)), [(3, 9)]);
        let (places, spans) = places.renumbered(&"4-5,7-9".parse().unwrap());
        assert_eq!(spans, [(4, 5), (7, 9)]);
        let of: Vec<_> = (1..=6).map(|number| places.of(seq(number))).collect();
        assert_eq!(of, [4, 5, 7, 8, 9, 10]);
        assert_eq!(places.spans(seq(2), seq(3)), [(5, 5), (7, 7)]);
        let from: Vec<_> = [1, 4, 5, 6, 7, 9, 20].map(|place| places.seq_from(place).get()).into();
        assert_eq!(from, [1, 1, 2, 3, 3, 5, 16]);
        assert_eq!((places.last_seq(9), places.last_seq(5)), (Some(seq(5)), Some(seq(1))));

        let (places, spans) = places.renumbered(&"2-3,6-6".parse().unwrap());
        assert_eq!(spans, [(5, 5), (7, 7), (10, 10)]);
        assert_eq!(
            (1..=4).map(|number| places.of(seq(number))).collect::<Vec<_>>(),
            [5, 7, 10, 11]
        );
        assert_eq!(places.renumbered(&RangeSet::default()), (Places::default(), vec![]));
    }
}
