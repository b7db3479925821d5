//! Data-export messages: what is asked with which bytes, and what an answer holds.
//!
//! Read first: the protocol sheet, §6.3 to §6.7.
//!
//! # Invariants
//! - only polls and the answer to the create event can be built: nothing here sets anything
//! - a length that goes beyond the layer around it makes the whole message malformed

use super::{
    attributes::{Attributes, absolute_time},
    reader::Reader,
};
use thiserror::Error;

/// Facts from the sheet. No number of the messages stands anywhere else.
pub(super) mod spec {
    /// "E1 00 | context id u16 (0x0002)", §6.3.
    pub(in super::super) const HEAD: [u8; 2] = [0xE1, 0x00];
    pub(in super::super) const CONTEXT: u16 = 0x0002;
    /// "ro-type", §6.3.
    pub(in super::super) const INVOKE: u16 = 1;
    pub(in super::super) const RESULT: u16 = 2;
    pub(in super::super) const ERROR: u16 = 3;
    pub(in super::super) const LINKED_RESULT: u16 = 5;
    /// "State u8 (1 first, 2 middle, 3 last)", §6.3.
    pub(in super::super) const FIRST: u8 = 1;
    /// "Commands", §6.3.
    pub(in super::super) const CONFIRMED_EVENT: u16 = 1;
    pub(in super::super) const CONFIRMED_ACTION: u16 = 7;
    /// "Event type 0x0D06", §6.4.
    pub(in super::super) const MDS_CREATE: u16 = 0x0D06;
    /// "Managed object (0021 0000 0000)", §6.6.
    pub(in super::super) const MDS: [u8; 6] = [0x00, 0x21, 0, 0, 0, 0];
    /// "Scope u32 = 0", §6.6.
    pub(in super::super) const SCOPE: [u8; 4] = [0; 4];
    pub(in super::super) const SINGLE_POLL: u16 = 0x0C16;
    pub(in super::super) const EXTENDED_POLL: u16 = 0xF13B;
    /// "Partition 1 = objects", §5.
    pub(in super::super) const PARTITION: u16 = 1;
    /// "0xF13E = duration for which the monitor keeps sending", §6.6.
    pub(in super::super) const DURATION: u16 = 0xF13E;
}

/// Object types, §6.6.
pub mod object {
    /// Numbers.
    pub const NUMERIC: u16 = 0x0006;
    /// Waves.
    pub const WAVE: u16 = 0x0009;
    /// The monitor itself.
    pub const MDS: u16 = 0x0021;
    /// Alarms.
    pub const ALERT_MONITOR: u16 = 0x0036;
    /// Who the patient is; never asked for.
    pub const DEMOGRAPHICS: u16 = 0x002A;
}

/// Attribute groups, §6.6.
pub mod group {
    /// All of them.
    pub const ALL: u16 = 0;
    /// Alarms.
    pub const ALERT_MONITOR: u16 = 0x0801;
    /// Values.
    pub const METRIC_VALUES: u16 = 0x0803;
    /// Who the patient is; never asked for.
    pub const DEMOGRAPHICS: u16 = 0x0807;
    /// What does not change; asked of the alert monitor as a keep-alive, §7.5.
    pub const STATIC_CONTEXT: u16 = 0x0811;
}

/// The message does not hold what its lengths say.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[error("a message of {len} bytes is malformed inside; it is skipped")]
pub struct Malformed {
    /// Its length.
    pub len: usize,
}

/// What a data-export message of the monitor says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Export {
    /// The monitor says who it is; it must be answered.
    Created(Created),
    /// An answer to a poll, or a part of one.
    Poll(PollPart),
    /// The monitor refuses what was asked.
    Refused {
        /// What was asked.
        invoke_id: u16,
        /// Why, §6.3.
        error: u16,
    },
    /// Anything else.
    Other {
        /// Kind of remote operation.
        ro_type: u16,
        /// Command, where there is one.
        command: u16,
    },
}

/// The MDS create event.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Created {
    /// To be repeated in the answer.
    pub invoke_id: u16,
    /// To be repeated in the answer.
    pub object: [u8; 6],
    /// To be repeated in the answer.
    pub event_time: u32,
    /// What the monitor says of itself.
    pub attributes: Attributes,
}

/// Where a part stands in its answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Place {
    /// The answer, or the end of one in parts.
    Final,
    /// First of the parts before the end; its number.
    First(u8),
    /// One that follows; its number.
    Next(u8),
}

/// An answer to a poll, or a part of one.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PollPart {
    /// What it answers.
    pub invoke_id: u16,
    /// Where it stands.
    pub place: Place,
    /// What it says.
    pub reply: PollReply,
}

/// What an answer to a poll says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PollReply {
    /// The number given in the poll.
    pub number: u16,
    /// Counts the answers to an extended poll.
    pub sequence: Option<u16>,
    /// The monitor's ticks.
    pub ticks: u32,
    /// The monitor's clock, civil milliseconds.
    pub civil_ms: Option<i64>,
    /// Which objects.
    pub object: u16,
    /// Which of their attributes.
    pub group: u16,
    /// The objects.
    pub observations: Vec<Observation>,
}

/// Which object of the monitor: context and handle.
pub type Source = (u16, u16);

/// One object and what it says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Observation {
    /// Which one.
    pub source: Source,
    /// What it says.
    pub attributes: Attributes,
}

/// Reads a data-export message.
///
/// # Errors
/// [`Malformed`] if a length does not fit.
pub fn decode(user_data: &[u8]) -> Result<Export, Malformed> {
    export(user_data).ok_or(Malformed { len: user_data.len() })
}

fn export(user_data: &[u8]) -> Option<Export> {
    let mut reader = Reader::new(user_data);
    // Head and presentation context id.
    reader.u32()?;
    let ro_type = reader.u16()?;
    let mut body = reader.layer()?;
    let mut place = Place::Final;
    if ro_type == spec::LINKED_RESULT {
        let (state, count) = (body.u8()?, body.u8()?);
        place = if state == spec::FIRST { Place::First(count) } else { Place::Next(count) };
    }
    let (invoke_id, command) = (body.u16()?, body.u16()?);
    let argument = body.layer()?;
    Some(match (ro_type, command) {
        (spec::ERROR, error) => Export::Refused { invoke_id, error },
        (spec::INVOKE, spec::CONFIRMED_EVENT) => event(invoke_id, argument)?,
        (spec::RESULT | spec::LINKED_RESULT, spec::CONFIRMED_ACTION) => {
            match poll_reply(argument)? {
                Some(reply) => Export::Poll(PollPart { invoke_id, place, reply }),
                None => Export::Other { ro_type, command },
            }
        }
        _ => Export::Other { ro_type, command },
    })
}

fn event(invoke_id: u16, mut reader: Reader<'_>) -> Option<Export> {
    let (object, event_time, kind) = (reader.array()?, reader.u32()?, reader.u16()?);
    let mut event = reader.layer()?;
    if kind != spec::MDS_CREATE {
        return Some(Export::Other { ro_type: spec::INVOKE, command: spec::CONFIRMED_EVENT });
    }
    let _created: [u8; 6] = event.array()?;
    let attributes = Attributes::read(&mut event)?;
    Some(Export::Created(Created { invoke_id, object, event_time, attributes }))
}

/// `None` inside if it is the result of another action.
fn poll_reply(mut reader: Reader<'_>) -> Option<Option<PollReply>> {
    let _mds: [u8; 6] = reader.array()?;
    let action = reader.u16()?;
    let mut reply = reader.layer()?;
    if ![spec::SINGLE_POLL, spec::EXTENDED_POLL].contains(&action) {
        return Some(None);
    }
    let number = reply.u16()?;
    let sequence = if action == spec::EXTENDED_POLL { Some(reply.u16()?) } else { None };
    let ticks = reply.u32()?;
    let civil_ms = absolute_time(reply.array()?);
    let _partition = reply.u16()?;
    let (object, group) = (reply.u16()?, reply.u16()?);
    let (contexts, mut list) = reply.list()?;
    let mut observations = Vec::new();
    for _ in 0..contexts {
        let context = list.u16()?;
        let (count, mut objects) = list.list()?;
        for _ in 0..count {
            let source = (context, objects.u16()?);
            let attributes = Attributes::read(&mut objects)?;
            observations.push(Observation { source, attributes });
        }
    }
    Some(Some(PollReply { number, sequence, ticks, civil_ms, object, group, observations }))
}

/// A question to the monitor.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Poll {
    /// Repeated by every answer.
    pub number: u16,
    /// Which objects.
    pub object: u16,
    /// Which of their attributes.
    pub group: u16,
    /// For how many ticks the monitor keeps answering; `None` for one answer.
    pub ticks: Option<u32>,
}

/// Asks the monitor.
#[must_use]
pub fn poll(invoke_id: u16, poll: Poll) -> Vec<u8> {
    let mut argument = words(&[poll.number, spec::PARTITION, poll.object, poll.group]);
    let action = match poll.ticks {
        None => spec::SINGLE_POLL,
        Some(ticks) => {
            let duration = [&words(&[spec::DURATION, 4])[..], &ticks.to_be_bytes()].concat();
            argument.extend(words(&[1, 8]));
            argument.extend(duration);
            spec::EXTENDED_POLL
        }
    };
    let body = [&spec::MDS[..], &spec::SCOPE, &words(&[action]), &layer(&argument)].concat();
    message(spec::INVOKE, invoke_id, spec::CONFIRMED_ACTION, &body)
}

/// Answers the create event. "Without it the monitor aborts", §6.5.
#[must_use]
pub fn answer(created: &Created) -> Vec<u8> {
    let event = [&created.event_time.to_be_bytes()[..], &words(&[spec::MDS_CREATE, 0])].concat();
    let body = [&created.object[..], &event].concat();
    message(spec::RESULT, created.invoke_id, spec::CONFIRMED_EVENT, &body)
}

fn message(ro_type: u16, invoke_id: u16, command: u16, body: &[u8]) -> Vec<u8> {
    let operation = [&words(&[invoke_id, command])[..], &layer(body)].concat();
    [&spec::HEAD[..], &words(&[spec::CONTEXT, ro_type]), &layer(&operation)].concat()
}

fn words(words: &[u16]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_be_bytes()).collect()
}

fn layer(bytes: &[u8]) -> Vec<u8> {
    // What we send has less than 100 bytes.
    let len = u16::try_from(bytes.len()).unwrap_or_default();
    [&len.to_be_bytes()[..], bytes].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_beyond_its_layer_makes_the_message_malformed() {
        let created = [
            0xE1, 0, 0, 2, 0, 1, 0, 28, 0, 1, 0, 1, 0, 22, 0, 0x21, 0, 0, 0, 0, 0, 1, 0x38, 0x80,
            0x0D, 0x06, 0, 10, 0, 0x21, 0, 0, 0, 0, 0, 0, 0, 0,
        ];
        assert!(matches!(decode(&created), Err(Malformed { len: 38 })), "28 bytes are said");
        for (at, wrong) in [(7, 31), (13, 25), (27, 11), (37, 1)] {
            let mut good = created;
            (good[7], good[13]) = (30, 24);
            assert!(matches!(decode(&good), Ok(Export::Created(_))));
            good[at] = wrong;
            assert_eq!(decode(&good), Err(Malformed { len: 38 }), "byte {at}");
        }
    }

    #[test]
    fn what_is_not_ours_is_named_and_skipped() {
        let get = [0xE1, 0, 0, 2, 0, 2, 0, 6, 0, 1, 0, 3, 0, 0];
        assert_eq!(decode(&get), Ok(Export::Other { ro_type: 2, command: 3 }));
        let refused = [0xE1, 0, 0, 2, 0, 3, 0, 6, 0, 9, 0, 10, 0, 0];
        assert_eq!(decode(&refused), Ok(Export::Refused { invoke_id: 9, error: 10 }));
    }
}
