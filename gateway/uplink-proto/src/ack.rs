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

/// What the county has committed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Ack {
    /// Which outbox.
    pub outbox: OutboxId,
    /// Per lane: what need not be sent again.
    pub lanes: Vec<(Lane, RangeSet)>,
    /// Envelopes that were kept aside, and why.
    pub errors: Vec<AckError>,
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
    /// The ack's bytes. Of each lane it carries the watermark and the lowest 32 ranges above it.
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

    #[test]
    fn an_ack_carries_the_lowest_ranges_first() {
        let mut settled = RangeSet::default();
        for number in (1..200).step_by(2) {
            settled.insert(Seq::new(number).unwrap());
        }
        let ack = Ack {
            outbox: OutboxId::from_bytes([7; 16]),
            lanes: vec![(Lane::Trend, settled)],
            errors: vec![],
        };
        let again = Ack::decode(&ack.encode()).unwrap();
        assert_eq!(again.lanes[0].1.ranges().count(), 1 + ACK_RANGES_MAX);
        assert_eq!(again.lanes[0].1.highest(), Seq::new(65));
    }

    proptest! {
        #[test]
        fn hostile_bytes_are_an_error(bytes in vec(any::<u8>(), 0..200)) {
            prop_assert!(Ack::decode(&bytes).is_err());
        }
    }
}
