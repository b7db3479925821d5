//! Joins the parts of a long answer (RORLS … RORS) into one.
//!
//! "Linked results share the invoke-id; concatenate first…last and expect one final RORS closing
//! the series", §6.7.
//!
//! # Invariants
//! - an answer with a part missing is never handed out
//! - what is kept is bounded in answers and in bytes

use super::data_export::{Place, PollPart, PollReply};
use std::collections::BTreeMap;
use thiserror::Error;

/// Numerics, waves and two single polls may be answered in turn.
const OPEN_MAX: usize = 4;
/// 60 waves of 256 ms and 200 numerics take less.
const BYTES_MAX: usize = 64 * 1024;

/// Why parts were given up.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub(super) enum LinkedError {
    #[error("a part of a long answer is missing; the answer is dropped")]
    Missing,
    #[error("a long answer has more than 64 KiB or too many are open; it is dropped")]
    TooLong,
}

/// An answer whose end has not come yet.
#[derive(Debug)]
enum Open {
    /// All parts so far.
    Whole {
        reply: PollReply,
        bytes: usize,
        /// Number of the last part.
        count: u8,
    },
    /// Parts are missing: nothing is handed out up to its end.
    Broken,
}

/// Answers whose end has not come yet.
#[derive(Debug, Default)]
pub(super) struct Linked {
    open: BTreeMap<u16, Open>,
}

impl Linked {
    /// Takes a part in; the answer, if it is complete.
    pub(super) fn take(&mut self, part: PollPart) -> Result<Option<PollReply>, LinkedError> {
        let PollPart { invoke_id, place, reply } = part;
        let more = size(&reply);
        let before = self.open.remove(&invoke_id);
        let (open, outcome) = match (place, before) {
            (Place::Final, None) => return Ok(Some(reply)),
            (Place::Final, Some(Open::Whole { reply: first, .. })) if continues(&first, &reply) => {
                return Ok(Some(joined(first, reply)));
            }
            (Place::Final, _) => return Err(LinkedError::Missing),
            (Place::First(count), before) => {
                let outcome = before.map_or(Ok(None), |_| Err(LinkedError::Missing));
                (Open::Whole { reply, bytes: more, count }, outcome)
            }
            (Place::Next(count), Some(Open::Whole { reply: first, bytes, count: last }))
                if count == last.wrapping_add(1) && continues(&first, &reply) =>
            {
                match bytes + more {
                    bytes if bytes > BYTES_MAX => (Open::Broken, Err(LinkedError::TooLong)),
                    bytes => (Open::Whole { reply: joined(first, reply), bytes, count }, Ok(None)),
                }
            }
            (Place::Next(_), _) => (Open::Broken, Err(LinkedError::Missing)),
        };
        if self.open.len() >= OPEN_MAX {
            self.open.clear();
            return Err(LinkedError::TooLong);
        }
        self.open.insert(invoke_id, open);
        outcome
    }
}

fn continues(first: &PollReply, next: &PollReply) -> bool {
    let head = |reply: &PollReply| (reply.number, reply.sequence, reply.object, reply.group);
    head(first) == head(next)
}

/// The header of the first part and the objects of both.
fn joined(mut first: PollReply, mut next: PollReply) -> PollReply {
    first.observations.append(&mut next.observations);
    first
}

/// Bytes that are kept for a part, roughly.
fn size(reply: &PollReply) -> usize {
    reply.observations.iter().map(|object| size_of_val(object) + object.attributes.weight()).sum()
}

#[cfg(test)]
mod tests {
    use super::{super::data_export::Observation, *};

    fn part(invoke_id: u16, place: Place, handle: u16) -> PollPart {
        let attributes = super::super::attributes::Attributes::default();
        let reply = PollReply {
            number: 1,
            sequence: Some(3),
            ticks: 0,
            civil_ms: None,
            object: 6,
            group: 0x0803,
            observations: vec![Observation { source: (0, handle), attributes }],
        };
        PollPart { invoke_id, place, reply }
    }

    fn handles(answer: Result<Option<PollReply>, LinkedError>) -> Vec<u16> {
        let observations = answer.unwrap().map(|reply| reply.observations).unwrap_or_default();
        observations.iter().map(|object| object.source.1).collect()
    }

    #[test]
    fn parts_are_joined_and_handed_out_at_the_end() {
        let mut linked = Linked::default();
        assert!(handles(linked.take(part(7, Place::First(1), 1))).is_empty());
        assert!(handles(linked.take(part(7, Place::Next(2), 2))).is_empty());
        assert_eq!(handles(linked.take(part(8, Place::Final, 9))), [9], "another answer between");
        assert_eq!(handles(linked.take(part(7, Place::Final, 3))), [1, 2, 3]);
        assert_eq!(handles(linked.take(part(7, Place::Final, 4))), [4]);
    }

    #[test]
    fn an_answer_with_a_part_missing_is_not_handed_out() {
        let mut linked = Linked::default();
        linked.take(part(7, Place::First(1), 1)).unwrap();
        assert_eq!(linked.take(part(7, Place::Next(3), 3)), Err(LinkedError::Missing));
        assert_eq!(linked.take(part(7, Place::Final, 4)), Err(LinkedError::Missing));
        assert_eq!(handles(linked.take(part(7, Place::Final, 5))), [5], "the next one is whole");
        assert_eq!(linked.take(part(9, Place::Next(2), 2)), Err(LinkedError::Missing));
        assert_eq!(linked.take(part(9, Place::Final, 3)), Err(LinkedError::Missing));
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let mut linked = Linked::default();
        for invoke_id in 0..50 {
            drop(linked.take(part(invoke_id, Place::First(1), 1)));
            assert!(linked.open.len() <= OPEN_MAX);
        }
        drop(linked.take(part(1, Place::First(0), 1)));
        let parts = (0..=u8::MAX).cycle().skip(1).take(5_000);
        let mut refused = false;
        for count in parts {
            refused |= linked.take(part(1, Place::Next(count), 2)) == Err(LinkedError::TooLong);
        }
        assert!(refused);
    }
}
