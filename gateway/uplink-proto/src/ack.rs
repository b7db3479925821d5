//! Acks: what the county has committed, per lane of one outbox.

use crate::{
    envelope::{lane_number, lane_of, positions},
    ranges::RangeSet,
    wire::{self, DecodeError, Positions, field, number, text},
};
use ciborium::Value;
use model::{
    id::{Lane, OutboxId, Seq},
    reading::shortened,
};

/// Ranges above the watermark that one ack carries for a lane.
pub const ACK_RANGES_MAX: usize = 32;
/// Reason of an error entry: other bytes are stored under that seq.
pub const CONFLICT: &str = "conflict";
/// Errors that one ack carries.
const ACK_ERRORS_MAX: usize = 32;
/// 3 lanes × 32 ranges × 20 bytes, and 32 errors.
const ACK_LEN_MAX: usize = 16 * 1024;

/// What the county has committed of one outbox.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Ack {
    /// Which outbox.
    pub outbox: OutboxId,
    /// Per lane: what need not be sent again.
    pub lanes: Vec<(Lane, RangeSet)>,
    /// Envelopes that were kept aside, and why.
    pub errors: Vec<AckError>,
}

/// One lane of a county's ledger, to be told in acks.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct LaneNews {
    /// What need not be sent again.
    pub settled: RangeSet,
    /// What of it came in since the last ack, once or again.
    pub touched: RangeSet,
}

/// An envelope that was kept aside: settled, and not stored.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AckError {
    /// Its lane.
    pub lane: Lane,
    /// Its number there.
    pub seq: Seq,
    /// Why.
    pub reason: String,
}

impl Ack {
    /// The acks that tell all that came in, as few as there can be: where a lane has many gaps, one
    /// ack holds the watermark and 32 ranges. A sender that was not told of what it has just sent
    /// would send it again and again.
    #[must_use]
    pub fn telling(
        outbox: OutboxId,
        lanes: Vec<(Lane, LaneNews)>,
        errors: Vec<AckError>,
    ) -> Vec<Self> {
        let mut lanes: Vec<_> =
            lanes.into_iter().map(|(lane, news)| (lane, news.parts())).collect();
        let mut errors = errors.chunks(ACK_ERRORS_MAX);
        let mut acks = Vec::new();
        loop {
            let told = lanes.iter_mut().filter_map(|(lane, parts)| Some((*lane, parts.next()?)));
            let (lanes, errors) = (told.collect::<Vec<_>>(), errors.next().unwrap_or_default());
            if lanes.is_empty() && errors.is_empty() {
                return acks;
            }
            acks.push(Self { outbox, lanes, errors: errors.to_vec() });
        }
    }

    /// The ack's bytes. Of each lane it carries the watermark and 32 ranges above it.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let lanes = self.lanes.iter().map(|(lane, settled)| {
            let watermark = settled.watermark().map_or(0, Seq::get);
            let above = settled.ranges().filter(|(first, _)| first.get() > watermark.max(1));
            let range = |(first, last): (Seq, Seq)| {
                Value::Array(vec![number(first.get()), number(last.get())])
            };
            let ranges = above.take(ACK_RANGES_MAX).map(range).collect();
            Value::Array(vec![number(lane_number(*lane)), number(watermark), Value::Array(ranges)])
        });
        let errors = self.errors.iter().take(ACK_ERRORS_MAX).map(|error| {
            Value::Array(vec![
                number(lane_number(error.lane)),
                number(error.seq.get()),
                text(&shortened(&error.reason)),
            ])
        });
        wire::to_bytes(&wire::map([
            ("v", number(1)),
            ("o", Value::Bytes(self.outbox.as_bytes().to_vec())),
            ("a", Value::Array(lanes.collect())),
            ("e", Value::Array(errors.collect())),
        ]))
    }

    /// Reads an ack back.
    ///
    /// # Errors
    /// When the bytes are no ack of version 1.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let map = wire::from_bytes(bytes, ACK_LEN_MAX)?;
        if wire::int(field(&map, "v")?) != Some(1_u8) {
            return Err(DecodeError::Shape("v"));
        }
        let outbox =
            field(&map, "o")?.as_bytes().and_then(|bytes| bytes.as_slice().try_into().ok());
        let lanes = field(&map, "a")?.as_array().ok_or(DecodeError::Shape("a"))?;
        let errors = field(&map, "e")?.as_array().ok_or(DecodeError::Shape("e"))?;
        Ok(Self {
            outbox: OutboxId::from_bytes(outbox.ok_or(DecodeError::Shape("o"))?),
            lanes: lanes
                .iter()
                .take(Lane::ALL.len())
                .map(|lane| settled(positions(lane, "a")?).ok_or(DecodeError::Shape("a")))
                .collect::<Result<_, _>>()?,
            errors: errors
                .iter()
                .take(ACK_ERRORS_MAX)
                .map(|error| refused(positions(error, "e")?).ok_or(DecodeError::Shape("e")))
                .collect::<Result<_, _>>()?,
        })
    }
}

impl LaneNews {
    /// Sets of at most 32 ranges and the watermark, the first filled up with the lowest ranges.
    fn parts(self) -> std::vec::IntoIter<RangeSet> {
        let above = |range: &(Seq, Seq)| range.0 > Seq::FIRST;
        let mut near = RangeSet::default();
        for (first, _) in self.touched.ranges() {
            if let Some((start, end)) = self.settled.around(first).filter(above) {
                near.insert_range(start, end);
            }
        }
        let missing = ACK_RANGES_MAX.saturating_sub(near.ranges().count());
        let told = near.clone();
        let lowest = self.settled.ranges().filter(above).filter(|range| !told.contains(range.0));
        lowest.take(missing).for_each(|(start, end)| near.insert_range(start, end));
        let ranges: Vec<_> = near.ranges().collect();
        let mut parts: Vec<RangeSet> =
            ranges.chunks(ACK_RANGES_MAX).map(|part| part.iter().copied().collect()).collect();
        if parts.is_empty() {
            parts.push(RangeSet::default());
        }
        if let Some(watermark) = self.settled.watermark() {
            parts.iter_mut().for_each(|part| part.insert_range(Seq::FIRST, watermark));
        }
        parts.into_iter()
    }
}

fn settled(mut at: Positions<'_>) -> Option<(Lane, RangeSet)> {
    let lane = lane_of(at.int()?)?;
    let mut settled = RangeSet::default();
    if let Some(watermark) = Seq::new(at.int()?) {
        settled.insert_range(Seq::FIRST, watermark);
    }
    for range in at.next()?.as_array()?.iter().take(ACK_RANGES_MAX) {
        let mut range = Positions::of(range)?;
        settled.insert_range(Seq::new(range.int()?)?, Seq::new(range.int()?)?);
    }
    Some((lane, settled))
}

fn refused(mut at: Positions<'_>) -> Option<AckError> {
    Some(AckError {
        lane: lane_of(at.int()?)?,
        seq: Seq::new(at.int()?)?,
        reason: shortened(at.text()?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::{collection::vec, prelude::*};

    #[test]
    fn an_ack_comes_back_as_it_was() {
        let ack = Ack {
            outbox: OutboxId::from_bytes([7; 16]),
            lanes: vec![
                (Lane::Urgent, "1-9,12-13".parse().unwrap()),
                (Lane::Trend, "4-5".parse().unwrap()),
                (Lane::Wave, RangeSet::default()),
            ],
            errors: vec![AckError { lane: Lane::Wave, seq: Seq::FIRST, reason: "not CBOR".into() }],
        };
        assert_eq!(Ack::decode(&ack.encode()), Ok(ack));
    }

    fn news(settled: &str, touched: &str) -> Vec<(Lane, LaneNews)> {
        let news =
            LaneNews { settled: settled.parse().unwrap(), touched: touched.parse().unwrap() };
        vec![(Lane::Trend, news)]
    }

    fn told(acks: &[Ack]) -> Vec<String> {
        let again = acks.iter().map(|ack| Ack::decode(&ack.encode()).unwrap());
        again.map(|ack| ack.lanes[0].1.to_string()).collect()
    }

    #[test]
    fn an_ack_tells_the_watermark_and_what_came_in() {
        let outbox = OutboxId::from_bytes([7; 16]);
        let acks = Ack::telling(outbox, news("1-9,12-13,15-20", "16-17"), vec![]);
        assert_eq!(told(&acks), ["1-9,12-13,15-20"]);
        assert_eq!(told(&Ack::telling(outbox, news("4-5", "4-4"), vec![])), ["4-5"]);
        assert_eq!(told(&Ack::telling(outbox, news("", ""), vec![])), [""]);
    }

    #[test]
    fn what_came_in_is_told_however_many_gaps_are_below_it() {
        let outbox = OutboxId::from_bytes([7; 16]);
        let odd: Vec<String> = (1..=200).map(|number| format!("{0}-{0}", 2 * number + 1)).collect();
        let acks = Ack::telling(outbox, news(&odd.join(","), "401-401"), vec![]);
        assert_eq!(acks.len(), 1);
        let again = Ack::decode(&acks[0].encode()).unwrap();
        let ranges: Vec<_> = again.lanes[0].1.ranges().map(|(first, _)| first.get()).collect();
        assert_eq!(ranges.len(), ACK_RANGES_MAX);
        assert_eq!((ranges[0], ranges[30], ranges[31]), (3, 63, 401));
        let touched = odd[150..].join(",");
        let acks = Ack::telling(outbox, news(&odd.join(","), &touched), vec![]);
        assert_eq!(told(&acks).join(","), touched);
    }

    #[test]
    fn every_error_is_told() {
        let error = |number| AckError {
            lane: Lane::Wave,
            seq: Seq::new(number).unwrap(),
            reason: "not CBOR".into(),
        };
        let errors: Vec<_> = (1..=70).map(error).collect();
        let acks = Ack::telling(OutboxId::from_bytes([7; 16]), news("", ""), errors.clone());
        let again = acks.iter().flat_map(|ack| Ack::decode(&ack.encode()).unwrap().errors);
        assert_eq!(again.collect::<Vec<_>>(), errors);
    }

    proptest! {
        #[test]
        fn hostile_bytes_are_an_error(bytes in vec(any::<u8>(), 0..200)) {
            prop_assert!(Ack::decode(&bytes).is_err());
        }
    }
}
