//! Sets of seqs, kept as disjoint ranges.
//!
//! # Invariants
//! - ranges are sorted, disjoint and never touch each other

use model::id::Seq;
use std::{collections::BTreeMap, fmt, str::FromStr};
use thiserror::Error;

/// A set of seqs. A gapless lane costs one range, however long it is.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct RangeSet {
    /// First seq of a range → its last.
    ranges: BTreeMap<Seq, Seq>,
}

impl RangeSet {
    /// Puts one seq in; whether it was not there.
    pub fn insert(&mut self, seq: Seq) -> bool {
        let new = !self.contains(seq);
        if new {
            self.insert_range(seq, seq);
        }
        new
    }

    /// Puts all from `first` to `last` in; nothing if they are the wrong way round.
    pub fn insert_range(&mut self, first: Seq, last: Seq) {
        if first > last {
            return;
        }
        let (mut first, mut last) = (first, last);
        // Every range that overlaps or touches becomes part of the new one.
        while let Some((&start, &end)) = self.ranges.range(..=last.next()).next_back() {
            if end.next() < first {
                break;
            }
            self.ranges.remove(&start);
            first = first.min(start);
            last = last.max(end);
        }
        self.ranges.insert(first, last);
    }

    /// Takes all from `first` to `last` out.
    pub fn remove_range(&mut self, first: Seq, last: Seq) {
        let touched: Vec<(Seq, Seq)> = self
            .ranges
            .range(..=last)
            .rev()
            .take_while(|(_, end)| **end >= first)
            .map(|(start, end)| (*start, *end))
            .collect();
        for (start, end) in touched {
            self.ranges.remove(&start);
            if let Some(before) = Seq::new(first.get() - 1).filter(|before| *before >= start) {
                self.ranges.insert(start, before);
            }
            if end > last {
                self.ranges.insert(last.next(), end);
            }
        }
    }

    /// Whether it is in.
    #[must_use]
    pub fn contains(&self, seq: Seq) -> bool {
        self.around(seq).is_some()
    }

    /// The range around it, if it is in.
    #[must_use]
    pub fn around(&self, seq: Seq) -> Option<(Seq, Seq)> {
        let (start, end) = self.ranges.range(..=seq).next_back()?;
        (*end >= seq).then_some((*start, *end))
    }

    /// The highest seq such that it and all below are in.
    #[must_use]
    pub fn watermark(&self) -> Option<Seq> {
        self.ranges.get(&Seq::FIRST).copied()
    }

    /// The highest seq that is in.
    #[must_use]
    pub fn highest(&self) -> Option<Seq> {
        self.ranges.last_key_value().map(|(_, end)| *end)
    }

    /// The lowest seq that is in and not below `from`.
    #[must_use]
    pub fn first_from(&self, from: Seq) -> Option<Seq> {
        if self.contains(from) {
            return Some(from);
        }
        self.ranges.range(from..).next().map(|(start, _)| *start)
    }

    /// The highest seq that is in and not above `until`.
    #[must_use]
    pub fn last_until(&self, until: Seq) -> Option<Seq> {
        self.ranges.range(..=until).next_back().map(|(_, end)| (*end).min(until))
    }

    /// What is in between `first` and `last`.
    #[must_use]
    pub fn within(&self, first: Seq, last: Seq) -> Vec<(Seq, Seq)> {
        let mut within: Vec<(Seq, Seq)> = self
            .ranges
            .range(..=last)
            .rev()
            .take_while(|(_, end)| **end >= first)
            .map(|(start, end)| ((*start).max(first), (*end).min(last)))
            .collect();
        within.reverse();
        within
    }

    /// The ranges, lowest first.
    pub fn ranges(&self) -> impl Iterator<Item = (Seq, Seq)> {
        self.ranges.iter().map(|(start, end)| (*start, *end))
    }

    /// What is missing between 1 and the highest that is in.
    #[must_use]
    pub fn gaps(&self) -> Vec<(Seq, Seq)> {
        let mut gaps = Vec::new();
        let mut expected = Seq::FIRST;
        for (start, end) in self.ranges() {
            if let Some(before) = Seq::new(start.get() - 1).filter(|before| *before >= expected) {
                gaps.push((expected, before));
            }
            expected = end.next();
        }
        gaps
    }

    /// What of `first` to `last` is not in.
    #[must_use]
    pub fn missing(&self, first: Seq, last: Seq) -> Self {
        let mut missing = Self::default();
        missing.insert_range(first, last);
        for (start, end) in self.within(first, last) {
            missing.remove_range(start, end);
        }
        missing
    }

    /// How many seqs are in.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.ranges().map(|(start, end)| end.get() - start.get() + 1).sum()
    }

    /// Whether none is in.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// Puts everything of `other` in.
    pub fn extend(&mut self, other: &Self) {
        for (start, end) in other.ranges() {
            self.insert_range(start, end);
        }
    }
}

impl FromIterator<(Seq, Seq)> for RangeSet {
    fn from_iter<I: IntoIterator<Item = (Seq, Seq)>>(ranges: I) -> Self {
        let mut set = Self::default();
        ranges.into_iter().for_each(|(first, last)| set.insert_range(first, last));
        set
    }
}

/// Why a text is no set of ranges.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[error("\"{0}\" is no list of ranges; expected the form 1-5,7-7")]
pub struct ParseRangesError(String);

impl fmt::Display for RangeSet {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, (start, end)) in self.ranges().enumerate() {
            let comma = if place > 0 { "," } else { "" };
            write!(out, "{comma}{start}-{end}")?;
        }
        Ok(())
    }
}

impl FromStr for RangeSet {
    type Err = ParseRangesError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut set = Self::default();
        for part in text.split(',').filter(|part| !part.is_empty()) {
            let range = part.split_once('-').and_then(|(start, end)| {
                Some((Seq::new(start.parse().ok()?)?, Seq::new(end.parse().ok()?)?))
            });
            let (start, end) = range.ok_or_else(|| ParseRangesError(part.to_owned()))?;
            set.insert_range(start, end);
        }
        Ok(set)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::{collection::vec, prelude::*};
    use std::collections::BTreeSet;

    fn seq(number: u64) -> Seq {
        Seq::new(number).unwrap()
    }

    #[test]
    fn ranges_that_touch_become_one() {
        let mut set: RangeSet = "1-3,5-6".parse().unwrap();
        assert_eq!(set.gaps(), [(seq(4), seq(4))]);
        assert_eq!(set.watermark(), Some(seq(3)));
        assert!(set.insert(seq(4)));
        assert!(!set.insert(seq(4)));
        assert_eq!(set.to_string(), "1-6");
        assert_eq!((set.watermark(), set.highest(), set.count()), (Some(seq(6)), Some(seq(6)), 6));
    }

    #[test]
    fn the_highest_number_of_the_wire_fits() {
        let highest = (1..=63).rev().find_map(|bits| Seq::new((1 << bits) - 2)).unwrap();
        assert_eq!((highest.get(), Seq::new(highest.get() + 1)), ((1 << 63) - 2, None));
        let mut set = RangeSet::default();
        set.insert_range(Seq::FIRST, seq(5));
        set.insert_range(seq(7), highest);
        assert_eq!((set.gaps(), set.highest()), (vec![(seq(6), seq(6))], Some(highest)));
        set.insert(seq(6));
        set.remove_range(highest, highest);
        assert_eq!(set.to_string(), "1-9223372036854775805");
    }

    #[test]
    fn what_is_no_list_of_ranges_is_refused() {
        for text in ["1", "0-3", "a-b", "1-2;3-4", "-"] {
            assert!(text.parse::<RangeSet>().is_err(), "{text}");
        }
    }

    proptest! {
        /// A set of ranges behaves as a set of numbers.
        #[test]
        fn a_range_set_is_a_set(steps in vec((any::<bool>(), 1u64..60, 0u64..12), 0..60)) {
            let mut set = RangeSet::default();
            let mut plain = BTreeSet::new();
            for (put, first, length) in steps {
                let (first, last) = (seq(first), seq(first + length));
                if put {
                    set.insert_range(first, last);
                    plain.extend(first.get()..=last.get());
                } else {
                    set.remove_range(first, last);
                    plain.retain(|number| !(first.get()..=last.get()).contains(number));
                }
            }
            prop_assert_eq!(set.count(), u64::try_from(plain.len()).unwrap());
            for number in 1..80 {
                prop_assert_eq!(set.contains(seq(number)), plain.contains(&number));
                let from = plain.range(number..).next().copied();
                prop_assert_eq!(set.first_from(seq(number)).map(Seq::get), from);
                let until = plain.range(..=number).next_back().copied();
                prop_assert_eq!(set.last_until(seq(number)).map(Seq::get), until);
            }
            let ranges: Vec<_> = set.ranges().collect();
            prop_assert!(ranges.windows(2).all(|pair| pair[0].1.next() < pair[1].0));
            let missing = set.missing(seq(10), seq(50));
            for number in 1..80 {
                let expected = (10..=50).contains(&number) && !plain.contains(&number);
                prop_assert_eq!(missing.contains(seq(number)), expected);
            }
            prop_assert_eq!(set.to_string().parse::<RangeSet>().unwrap(), set);
        }
    }
}
