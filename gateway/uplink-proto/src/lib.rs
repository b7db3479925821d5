//! The edge-county protocol, both halves, pure: loss, doubling, reordering and crashes are tested
//! here a million times a minute, without a process.
//!
//! Not here: MQTT, SQL, clocks. The agent runs [`sender::Sender`], the county runs
//! [`receiver`]; both call [`envelope`].
//!
//! - [`topics`]: names of topics, and who may use which
//! - [`envelope`]: one row of the outbox and one publish, as CBOR (`schema/uplink-v1.cddl`)
//! - [`ack`], [`state`]: the other two messages; [`sent`]: what is said beside an envelope
//! - [`certificate`]: until when one is valid, which a box tells of its own
//! - [`policy`]: what the county tells a box to go by
//! - [`ranges`]: sets of seqs
//! - [`samples`]: waveform samples as bytes
//! - [`sender`], [`receiver`]: the two halves; `pace`: how much the sender puts on the wire
//!
//! # Invariants
//! - an envelope is identified by (outbox id, lane, seq); storing it twice equals storing it once
//! - the sender forgets only inside an acked range, or a counted drop
//! - acked means committed in the county's database

pub mod ack;
pub mod certificate;
pub mod envelope;
mod pace;
pub mod policy;
pub mod ranges;
pub mod receiver;
pub mod samples;
pub mod sender;
pub mod sent;
pub mod state;
pub mod topics;
mod wire;
