//! Records: anything the outbox carries, and which lane it takes.

use crate::{
    alarm::DeviceAlarm,
    alert::EdgeAlert,
    device::{DeviceAction, DeviceStatus},
    id::{Lane, OutboxId, Seq},
    reading::{Occurrence, ReadingGroup},
    time::{Observed, WallTime},
    waveform::WaveformBlock,
};

/// Anything the outbox carries.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Record {
    /// Readings of one device at one moment.
    Readings(ReadingGroup),
    /// A run of samples.
    Waveform(WaveformBlock),
    /// A device's own alarm.
    Alarm(DeviceAlarm),
    /// A device's status changed.
    Status(DeviceStatus),
    /// The agent started.
    Started(AgentStarted),
    /// Envelopes were given up.
    Dropped(DropRecord),
    /// Something was done to a device.
    Action(DeviceAction),
    /// The box's clock was set, or is trusted otherwise than before.
    Clock(ClockChange),
    /// An alert changed at the edge. Boxed: it is rare, and three times as large as the rest.
    Alert(Box<EdgeAlert>),
}

impl Record {
    /// The queue this record takes.
    #[must_use]
    pub const fn lane(&self) -> Lane {
        match self {
            Self::Readings(group) => match group.occurrence {
                Occurrence::Stream => Lane::Trend,
                Occurrence::Spot => Lane::Urgent,
            },
            Self::Waveform(_) => Lane::Wave,
            Self::Alarm(_)
            | Self::Status(_)
            | Self::Started(_)
            | Self::Dropped(_)
            | Self::Action(_)
            | Self::Clock(_)
            | Self::Alert(_) => Lane::Urgent,
        }
    }

    /// What the agent's clock said.
    #[must_use]
    pub const fn observed(&self) -> Observed {
        match self {
            Self::Readings(group) => group.observed,
            Self::Waveform(block) => block.start,
            Self::Alarm(alarm) => alarm.observed,
            Self::Status(status) => status.observed,
            Self::Started(started) => started.observed,
            Self::Dropped(dropped) => dropped.observed,
            Self::Action(action) => action.observed,
            Self::Clock(change) => change.observed,
            Self::Alert(alert) => alert.observed,
        }
    }
}

/// The agent started: says which program wrote what follows.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AgentStarted {
    /// Version of the agent.
    pub version: String,
    /// The agent's clock at the start.
    pub observed: Observed,
}

/// The box's clock was set, or is trusted otherwise than before.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ClockChange {
    /// What it would have said, had nobody set it.
    pub before: WallTime,
    /// Why it is trusted so.
    pub evidence: String,
    /// What it says, and how far it can be trusted.
    pub observed: Observed,
}

/// Why envelopes were dropped.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum DropCause {
    /// The outbox reached its byte limit.
    OutboxFull,
    /// The disk was full.
    DiskFull,
    /// The row could not be read back.
    Damaged,
    /// The outbox was damaged, and where its numbers end could not be read: what of the range and
    /// above it the county does not have is lost.
    OutboxLost,
    /// The county had them, was restored from a backup that has not, and the outbox keeps them no
    /// more.
    CountyRestored,
}

impl DropCause {
    /// Every cause.
    pub const ALL: [Self; 5] =
        [Self::OutboxFull, Self::DiskFull, Self::Damaged, Self::OutboxLost, Self::CountyRestored];

    /// The name in records and in the API.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::OutboxFull => "outbox_full",
            Self::DiskFull => "disk_full",
            Self::Damaged => "damaged",
            Self::OutboxLost => "outbox_lost",
            Self::CountyRestored => "county_restored",
        }
    }
}

/// Envelopes that were given up on purpose: the county counts the range as dropped.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DropRecord {
    /// The outbox they were in, if another than the one this record is in: an outbox that was
    /// restored or copied goes on under a new id.
    pub outbox: Option<OutboxId>,
    /// The lane.
    pub lane: Lane,
    /// First envelope given up.
    pub first: Seq,
    /// Last envelope given up.
    pub last: Seq,
    /// When the first was opened.
    pub from: WallTime,
    /// When the last was opened.
    pub until: WallTime,
    /// Why.
    pub cause: DropCause,
    /// The agent's clock when they were given up.
    pub observed: Observed,
}
