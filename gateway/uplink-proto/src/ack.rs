//! Acks: what the county has committed, per lane of one outbox.
//!
//! # Invariants
//! - whoever forgets an envelope has the county's word for its bytes, not only for its number
//! - what an ack does not tell of a lane lies above the 31st range that it tells

use crate::{
    envelope::{lane_number, lane_of, positions},
    ranges::RangeSet,
    receiver::EnvelopeHash,
    wire::{self, DecodeError, Positions, field, number, text},
};
use ciborium::Value;
use model::{
    id::{Lane, OutboxId, Seq},
    reading::shortened,
};

/// Ranges above the watermark that one ack carries for a lane: the lowest, and the highest.
pub const ACK_RANGES_MAX: usize = 32;
/// Reason of an error entry: other bytes are stored under that seq.
pub const CONFLICT: &str = "conflict";
/// Errors that one ack carries.
const ACK_ERRORS_MAX: usize = 32;
/// Envelopes that one ack proves.
const ACK_PROVEN_MAX: usize = 256;
/// 3 lanes × 32 ranges × 20 bytes, 256 proofs of at most 24 bytes, and 32 errors.
const ACK_LEN_MAX: usize = 16 * 1024;

/// What the county has committed of one outbox.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Ack {
    /// Which outbox.
    pub outbox: OutboxId,
    /// Per lane: the numbers that are settled, whoever's bytes came under them.
    pub lanes: Vec<(Lane, RangeSet)>,
    /// What came in since the last ack: these bytes need not be sent again.
    pub proven: Vec<Proven>,
    /// Envelopes that were kept aside, and why.
    pub errors: Vec<AckError>,
    /// The county hears two boxes by turns under the name of this site.
    pub by_turns: bool,
}

/// An envelope that is settled with exactly these bytes, stored now or before or kept aside. A
/// number alone says nothing: a restored or copied outbox gives it to other bytes.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Proven {
    /// Its lane.
    pub lane: Lane,
    /// Its number there.
    pub seq: Seq,
    /// Its bytes.
    pub proof: Proof,
}

/// Which bytes an ack is about: the beginning of their hash.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Proof([u8; Self::LEN]);

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

impl Proof {
    const LEN: usize = 8;

    /// The proof of an envelope's bytes.
    #[must_use]
    pub fn of(hash: &EnvelopeHash) -> Self {
        Self(*hash.first_chunk().unwrap_or(&[0; Self::LEN]))
    }
}

impl Ack {
    /// The county's word to a box that it takes in again what it had put off, because its disk was
    /// full: an ack that tells of no lane.
    #[must_use]
    pub const fn taking_in_again(outbox: OutboxId) -> Self {
        Self { outbox, lanes: Vec::new(), proven: Vec::new(), errors: Vec::new(), by_turns: false }
    }

    pub(crate) const fn takes_in_again(&self) -> bool {
        self.lanes.is_empty() && self.proven.is_empty() && self.errors.is_empty() && !self.by_turns
    }

    /// The acks that tell all that came in, as few as there can be.
    #[must_use]
    pub fn telling(
        outbox: OutboxId,
        lanes: Vec<(Lane, RangeSet)>,
        mut proven: Vec<Proven>,
        errors: Vec<AckError>,
    ) -> Vec<Self> {
        proven.sort_unstable();
        proven.dedup();
        let (mut proven, mut errors) =
            (proven.chunks(ACK_PROVEN_MAX), errors.chunks(ACK_ERRORS_MAX));
        let mut acks = Vec::new();
        loop {
            let (proven, errors) = (proven.next(), errors.next());
            if proven.is_none() && errors.is_none() && !acks.is_empty() {
                return acks;
            }
            acks.push(Self {
                outbox,
                lanes: lanes.clone(),
                proven: proven.unwrap_or_default().to_vec(),
                errors: errors.unwrap_or_default().to_vec(),
                by_turns: false,
            });
        }
    }

    /// The ack's bytes. Of each lane it carries the watermark, the lowest 31 ranges above it and
    /// the highest.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let lanes = self.lanes.iter().map(|(lane, settled)| {
            let watermark = settled.watermark().map_or(0, Seq::get);
            let mut above = above_watermark(settled);
            if above.len() > ACK_RANGES_MAX {
                above.drain(ACK_RANGES_MAX - 1..above.len() - 1);
            }
            let range = |(first, last): (Seq, Seq)| {
                Value::Array(vec![number(first.get()), number(last.get())])
            };
            let ranges = above.into_iter().map(range).collect();
            Value::Array(vec![number(lane_number(*lane)), number(watermark), Value::Array(ranges)])
        });
        let follows =
            |one: &Proven, next: &Proven| one.lane == next.lane && one.seq.next() == next.seq;
        let proven = self.proven.chunk_by(follows).filter_map(|run| {
            let Proven { lane, seq, .. } = run.first()?;
            let proofs = run.iter().flat_map(|proven| proven.proof.0).collect();
            let head = [number(lane_number(*lane)), number(seq.get())];
            Some(Value::Array(head.into_iter().chain([Value::Bytes(proofs)]).collect()))
        });
        let errors = self.errors.iter().take(ACK_ERRORS_MAX).map(|error| {
            Value::Array(vec![
                number(lane_number(error.lane)),
                number(error.seq.get()),
                text(&shortened(&error.reason)),
            ])
        });
        let by_turns = self.by_turns.then_some(("t", Value::Bool(true)));
        let fields = [
            ("v", number(1)),
            ("o", Value::Bytes(self.outbox.as_bytes().to_vec())),
            ("a", Value::Array(lanes.collect())),
            ("p", Value::Array(proven.collect())),
            ("e", Value::Array(errors.collect())),
        ];
        wire::to_bytes(&wire::map(fields.into_iter().chain(by_turns)))
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
        let runs = field(&map, "p")?.as_array().ok_or(DecodeError::Shape("p"))?;
        let errors = field(&map, "e")?.as_array().ok_or(DecodeError::Shape("e"))?;
        let mut proven = Vec::new();
        for run in runs {
            read_run(positions(run, "p")?, &mut proven).ok_or(DecodeError::Shape("p"))?;
        }
        Ok(Self {
            outbox: OutboxId::from_bytes(outbox.ok_or(DecodeError::Shape("o"))?),
            lanes: lanes
                .iter()
                .take(Lane::ALL.len())
                .map(|lane| settled(positions(lane, "a")?).ok_or(DecodeError::Shape("a")))
                .collect::<Result<_, _>>()?,
            proven,
            errors: errors
                .iter()
                .take(ACK_ERRORS_MAX)
                .map(|error| refused(positions(error, "e")?).ok_or(DecodeError::Shape("e")))
                .collect::<Result<_, _>>()?,
            by_turns: field(&map, "t").is_ok_and(|told| told.as_bool() == Some(true)),
        })
    }
}

/// Up to which number an ack tells everything that is settled in a lane; `None` if it tells all.
pub(crate) fn told_until(settled: &RangeSet) -> Option<Seq> {
    let above = above_watermark(settled);
    if above.len() < ACK_RANGES_MAX {
        return None;
    }
    above.iter().rev().nth(1).map(|(_, last)| *last)
}

fn above_watermark(settled: &RangeSet) -> Vec<(Seq, Seq)> {
    settled.ranges().filter(|(first, _)| *first > Seq::FIRST).collect()
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

/// Envelopes with numbers that follow each other; more than an ack may hold is no ack.
fn read_run(mut at: Positions<'_>, proven: &mut Vec<Proven>) -> Option<()> {
    let (lane, mut seq) = (lane_of(at.int()?)?, Seq::new(at.int()?)?);
    for (place, proof) in at.next()?.as_bytes()?.chunks(Proof::LEN).enumerate() {
        if place > 0 {
            seq = Seq::new(seq.get() + 1)?;
        }
        proven.push(Proven { lane, seq, proof: Proof(proof.try_into().ok()?) });
    }
    (proven.len() <= ACK_PROVEN_MAX).then_some(())
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

    fn outbox() -> OutboxId {
        OutboxId::from_bytes([7; 16])
    }

    fn proven(lane: Lane, number: u64) -> Proven {
        let proof = Proof([u8::try_from(number % 251).unwrap(); 8]);
        Proven { lane, seq: Seq::new(number).unwrap(), proof }
    }

    fn again(acks: &[Ack]) -> Vec<Ack> {
        acks.iter().map(|ack| Ack::decode(&ack.encode()).unwrap()).collect()
    }

    #[test]
    fn an_ack_comes_back_as_it_was() {
        let ack = Ack {
            outbox: outbox(),
            lanes: vec![
                (Lane::Urgent, "1-9,12-13".parse().unwrap()),
                (Lane::Trend, "4-5".parse().unwrap()),
                (Lane::Wave, RangeSet::default()),
            ],
            proven: vec![
                proven(Lane::Urgent, 12),
                proven(Lane::Urgent, 13),
                proven(Lane::Urgent, 20),
                proven(Lane::Trend, 21),
            ],
            errors: vec![AckError { lane: Lane::Wave, seq: Seq::FIRST, reason: "not CBOR".into() }],
            by_turns: true,
        };
        assert_eq!(again(std::slice::from_ref(&ack)), [ack]);
    }

    #[test]
    fn of_many_ranges_the_lowest_and_the_highest_are_told() {
        let odd: Vec<String> = (1..=200).map(|number| format!("{0}-{0}", 2 * number + 1)).collect();
        let settled: RangeSet = odd.join(",").parse().unwrap();
        let acks = Ack::telling(outbox(), vec![(Lane::Trend, settled)], vec![], vec![]);
        let told = &again(&acks)[0].lanes[0].1;
        let firsts: Vec<_> = told.ranges().map(|(first, _)| first.get()).collect();
        assert_eq!((firsts.len(), firsts[0], firsts[30], firsts[31]), (32, 3, 63, 401));
        assert_eq!(told_until(told), Seq::new(63));
        assert_eq!(told_until(&"1-9,12-13,15-20".parse().unwrap()), None);
    }

    #[test]
    fn all_that_came_in_and_every_error_is_told() {
        let came: Vec<_> = (1..=600).map(|number| proven(Lane::Wave, number)).collect();
        let error = |number| AckError {
            lane: Lane::Wave,
            seq: Seq::new(number).unwrap(),
            reason: "not CBOR".into(),
        };
        let errors: Vec<_> = (1..=70).map(error).collect();
        let twice = came.iter().chain(&came).rev().copied().collect();
        let acks = again(&Ack::telling(outbox(), vec![], twice, errors.clone()));
        assert_eq!(acks.len(), 3);
        assert_eq!(acks.iter().flat_map(|ack| ack.proven.clone()).collect::<Vec<_>>(), came);
        assert_eq!(acks.into_iter().flat_map(|ack| ack.errors).collect::<Vec<_>>(), errors);
        assert_eq!(Ack::telling(outbox(), vec![], vec![], vec![]).len(), 1);
    }

    #[test]
    fn the_longest_ack_is_read() {
        let far = (1 << 62) + 1;
        let alone = |number: u64| proven(Lane::Wave, far + 2 * number);
        let ranges = (0..100).map(|number| (alone(number).seq, alone(number).seq));
        let settled: RangeSet = ranges.collect();
        let lanes = Lane::ALL.map(|lane| (lane, settled.clone())).into();
        let errors = (0..32).map(|number| AckError {
            lane: Lane::Wave,
            seq: alone(number).seq,
            reason: "x".repeat(1000),
        });
        let came = (0..256).map(alone).collect();
        let acks = Ack::telling(outbox(), lanes, came, errors.collect());
        assert_eq!((acks.len(), again(&acks)[0].proven.len()), (1, 256));
    }

    proptest! {
        #[test]
        fn hostile_bytes_are_an_error(bytes in vec(any::<u8>(), 0..200)) {
            prop_assert!(Ack::decode(&bytes).is_err());
        }
    }
}
