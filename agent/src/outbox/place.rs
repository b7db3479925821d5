//! Where the rows of a lane are: an outbox that started anew gave them new seqs and moved none.
//!
//! # Invariants
//! - higher seqs are at higher places
//! - a row that is stored goes behind all others

use super::file::{integer, seq_of};
use model::id::{Lane, Seq};
use rusqlite::{Connection, params};
use std::{collections::BTreeMap, ops::Bound};
use uplink_proto::ranges::RangeSet;

/// From a seq on, how far above its seq a row is. Empty until an outbox starts anew.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Places(BTreeMap<Seq, i64>);

impl Places {
    pub(super) fn read(connection: &Connection, lane: Lane) -> rusqlite::Result<Self> {
        let mut statement =
            connection.prepare_cached("SELECT first, shift FROM moved WHERE lane = ?1")?;
        let rows =
            statement.query_map([lane.name()], |row| Ok((seq_of(row.get(0)?)?, row.get(1)?)))?;
        Ok(Self(rows.collect::<Result<_, _>>()?))
    }

    pub(super) fn write(&self, connection: &Connection, lane: Lane) -> rusqlite::Result<()> {
        connection.execute("DELETE FROM moved WHERE lane = ?1", [lane.name()])?;
        for (first, shift) in &self.0 {
            connection.execute(
                "INSERT INTO moved VALUES (?1, ?2, ?3)",
                params![lane.name(), integer(*first), shift],
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
