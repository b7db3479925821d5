//! Envelopes: one row of the outbox and one publish.
//!
//! The bytes are CBOR (RFC 8949), described in `schema/uplink-v1.cddl`: short text keys outside,
//! positional arrays inside; devices and metrics are named once and then by index. Signatures and
//! hashes are over the bytes as stored, never over a re-encoding.
//!
//! - [`Builder`]: an envelope while it grows
//! - [`record`]: records as positional arrays
//! - [`series`], [`wave`]: what comes again and again, in few bytes
//!
//! # Invariants
//! - what is encoded decodes to the same records in the same order
//! - record kinds, metrics and trailing positions of the future are skipped and counted, never fatal
//! - decoding is bounded by the length of the input, and where a byte may stand for more by a limit

use crate::{
    receiver::EnvelopeHash,
    wire::{self, DecodeError, Positions, field, number, text},
};
use ciborium::Value;
use model::{
    id::{Lane, OutboxId, Seq},
    record::Record,
    time::{Uptime, WallTime},
};

mod builder;
mod record;
mod series;
mod wave;

pub use builder::Builder;

/// Longest envelope on the wire and in the outbox.
pub const ENVELOPE_LEN_MAX: usize = 64 * 1024;
/// What [`moved`] adds at most, "w": its key, an outbox, a number and a hash. An envelope that is
/// built may be moved later, so that many bytes of the longest one stay free.
pub const MOVED_LEN: usize = 64;
/// Rows of trend and wave are closed at this length: a third of a second of a 64 kbit/s link. An
/// urgent envelope may wait for one of them beyond the window, and still not for a second (P4).
pub const TREND_LEN_MAX: usize = 2560;
/// Version of the protocol.
const VERSION: u8 = 1;

/// One row of the outbox and one publish.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Envelope {
    /// Which outbox it is from.
    pub outbox: OutboxId,
    /// Which queue.
    pub lane: Lane,
    /// Its number there.
    pub seq: Seq,
    /// When it was opened, by the agent's clock.
    pub opened_at: WallTime,
    /// And by how long the box had been running, which no setting of the clock changes.
    pub uptime: Option<Uptime>,
    /// What it carries.
    pub records: Vec<Record>,
}

/// An envelope that was understood, as far as this version can.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Decoded {
    /// What was understood.
    pub envelope: Envelope,
    /// As what it was first written, if it moved here from another outbox.
    pub written: Option<Written>,
    /// Records and readings of kinds or metrics this version does not know.
    pub skipped: u32,
}

/// Which envelope it is, without what it carries.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Header {
    /// Which outbox it is from.
    pub outbox: OutboxId,
    /// Which queue.
    pub lane: Lane,
    /// Its number there.
    pub seq: Seq,
    /// When it was opened, by the agent's clock.
    pub opened_at: WallTime,
}

/// What an envelope was before it moved to another outbox: its records may be stored as that.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Written {
    /// The outbox it was written in.
    pub outbox: OutboxId,
    /// Its number there.
    pub seq: Seq,
    /// The hash of its bytes there.
    pub hash: EnvelopeHash,
}

impl Envelope {
    /// The envelope's bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut builder = Builder::new(self.opened_at, self.uptime);
        for record in &self.records {
            builder.push(record, usize::MAX);
        }
        builder.finish(self.outbox, self.lane, self.seq)
    }

    /// Reads an envelope back.
    ///
    /// # Errors
    /// When the bytes are too many, not one CBOR item, or no envelope of version 1.
    pub fn decode(bytes: &[u8]) -> Result<Decoded, DecodeError> {
        let map = wire::from_bytes(bytes, ENVELOPE_LEN_MAX)?;
        if wire::int(field(&map, "v")?) != Some(VERSION) {
            return Err(DecodeError::Shape("v"));
        }
        let header = header(&map)?;
        let (names, unknown_metrics) = record::Names::decode(&map)?;
        let items = field(&map, "r")?.as_array().ok_or(DecodeError::Shape("r"))?;
        let (records, unknown) = names.decode_records(items, header.opened_at);
        let skipped = unknown_metrics.saturating_add(unknown);
        let Header { outbox, lane, seq, opened_at } = header;
        let uptime = wire::read_uptime(&map)?;
        let envelope = Self { outbox, lane, seq, opened_at, uptime, records };
        Ok(Decoded { envelope, written: written(&map)?, skipped })
    }
}

/// Which envelope the bytes are, even if it is too long, of a later version, or not understood
/// otherwise: what cannot be taken must still be settled, or it would be sent for ever.
///
/// # Errors
/// When not even that can be read.
pub fn peek(bytes: &[u8]) -> Result<Header, DecodeError> {
    header(&wire::first_item(bytes)?.0)
}

/// The same envelope with the id and number it has in another outbox, for the way to the county.
/// Nothing else changes, also where it is not understood: only its drop records say which outbox
/// they count envelopes of, and it says as what it was first written, because it may have been
/// stored as that without the ack coming back. `hash` is of these bytes.
///
/// # Errors
/// When the bytes are no envelope, or it does not fit any more.
pub fn moved(
    bytes: &[u8],
    hash: &EnvelopeHash,
    outbox: OutboxId,
    seq: Seq,
) -> Result<Vec<u8>, DecodeError> {
    let mut map = wire::from_bytes(bytes, ENVELOPE_LEN_MAX)?;
    let before = header(&map)?;
    let was_moved = written(&map)?.is_some();
    let parts = map.as_map_mut().ok_or(DecodeError::Shape("envelope"))?;
    for (key, value) in parts.iter_mut() {
        match key.as_text() {
            Some("o") => *value = outbox_bytes(outbox),
            Some("s") => *value = number(seq.get()),
            Some("r") => {
                let records = value.as_array_mut().into_iter().flatten();
                records.for_each(|item| record::name_outbox(item, before.outbox));
            }
            _ => {}
        }
    }
    if !was_moved {
        let hash = Value::Bytes(hash.to_vec());
        let place = vec![outbox_bytes(before.outbox), number(before.seq.get()), hash];
        parts.push((text("w"), Value::Array(place)));
    }
    let bytes = wire::to_bytes(&map);
    if bytes.len() > ENVELOPE_LEN_MAX {
        return Err(DecodeError::TooLong { len: bytes.len(), max: ENVELOPE_LEN_MAX });
    }
    Ok(bytes)
}

fn written(map: &Value) -> Result<Option<Written>, DecodeError> {
    let Ok(value) = field(map, "w") else { return Ok(None) };
    let read = |mut at: Positions<'_>| {
        let outbox = read_outbox(at.next()?)?;
        let seq = Seq::new(at.int()?)?;
        Some(Written { outbox, seq, hash: at.next()?.as_bytes()?.as_slice().try_into().ok()? })
    };
    Positions::of(value).and_then(read).map(Some).ok_or(DecodeError::Shape("w"))
}

fn header(map: &Value) -> Result<Header, DecodeError> {
    let outbox = read_outbox(field(map, "o")?);
    let lane = wire::int(field(map, "l")?).and_then(lane_of);
    let seq = wire::int(field(map, "s")?).and_then(Seq::new);
    let opened_at = wire::int(field(map, "t")?).map(WallTime::from_unix_ms);
    Ok(Header {
        outbox: outbox.ok_or(DecodeError::Shape("o"))?,
        lane: lane.ok_or(DecodeError::Shape("l"))?,
        seq: seq.ok_or(DecodeError::Shape("s"))?,
        opened_at: opened_at.ok_or(DecodeError::Shape("t"))?,
    })
}

fn outbox_bytes(outbox: OutboxId) -> Value {
    Value::Bytes(outbox.as_bytes().to_vec())
}

fn read_outbox(value: &Value) -> Option<OutboxId> {
    Some(OutboxId::from_bytes(value.as_bytes()?.as_slice().try_into().ok()?))
}

pub(crate) fn lane_number(lane: Lane) -> u8 {
    match lane {
        Lane::Urgent => 0,
        Lane::Trend => 1,
        Lane::Wave => 2,
    }
}

pub(crate) fn lane_of(number: u8) -> Option<Lane> {
    Lane::ALL.into_iter().find(|lane| lane_number(*lane) == number)
}

/// Takes the value apart as an array, or says that it is none.
pub(crate) fn positions<'a>(
    value: &'a Value,
    what: &'static str,
) -> Result<Positions<'a>, DecodeError> {
    Positions::of(value).ok_or(DecodeError::Shape(what))
}

#[cfg(test)]
mod tests;
