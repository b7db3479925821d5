//! Everything that may go wrong, and how often it did.

use std::collections::BTreeMap;

/// What may go wrong. A run in which one of them never happened proves nothing of it.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Fault {
    // The network and the broker.
    MessageLost,
    MessageDoubled,
    MessageOvertook,
    LinkCut,
    BrokerRestarted,
    /// The broker says that nobody listens.
    CountyAway,
    /// The broker says no to one envelope.
    Refused,

    // The agent and its disk.
    AgentCrashed,
    /// Killed before the sync: nothing of the transaction is there, other commits all are.
    AgentCommitTorn,
    /// Killed after the sync and before anybody was told.
    AgentCrashedAfterCommit,
    /// A crash takes acks that waited for the next commit.
    AcksUnsynced,
    AgentDiskFull,
    AgentDiskFailed,
    /// Nothing can be written for so long that what waits in memory does not fit.
    GivenUpUnwritten,
    /// Rows are given up in the order of P3, with drop records.
    OutboxFull,
    /// A row that the county cannot understand.
    RowDamaged,
    /// A row that cannot be read back.
    RowUnreadable,
    /// The sender is told to look at the outbox instead of each row.
    NewsOverflowed,
    /// The wall clock of a box jumps.
    ClockStepped,
    /// What was acked a day ago is pruned.
    DayPassed,

    // The county and its disk.
    CountyCommitTorn,
    CountyDiskFull,
    CountyDiskFailed,
    /// Killed after the sync and before the acks.
    CountyCrashedAfterCommit,
    CountyRestored,
    /// What the county lost is told once more: whoever told it did not hear that it was done.
    LossToldTwice,

    // One identity, several outboxes.
    OutboxRestored,
    OutboxCopied,
    /// Another agent with the same certificate connects.
    TakenOver,
    /// The county knows other bytes under the number of a row.
    Collided,
    CrashedBeforeStartingAnew,
    StartingAnewFailed,
    CrashedAfterStartingAnew,

    // What the protocol does about some of them.
    StartedAnew,
    /// An envelope came that is stored under its number in another outbox.
    MovedCopy,
    /// A restored county gets rows again that it had acked.
    SentAgain,
    /// A restored county cannot get rows again: they were pruned.
    GoneForGood,
}

impl Fault {
    pub(crate) const ALL: [Self; 37] = [
        Self::MessageLost,
        Self::MessageDoubled,
        Self::MessageOvertook,
        Self::LinkCut,
        Self::BrokerRestarted,
        Self::CountyAway,
        Self::Refused,
        Self::AgentCrashed,
        Self::AgentCommitTorn,
        Self::AgentCrashedAfterCommit,
        Self::AcksUnsynced,
        Self::AgentDiskFull,
        Self::AgentDiskFailed,
        Self::GivenUpUnwritten,
        Self::OutboxFull,
        Self::RowDamaged,
        Self::RowUnreadable,
        Self::NewsOverflowed,
        Self::ClockStepped,
        Self::DayPassed,
        Self::CountyCommitTorn,
        Self::CountyDiskFull,
        Self::CountyDiskFailed,
        Self::CountyCrashedAfterCommit,
        Self::CountyRestored,
        Self::LossToldTwice,
        Self::OutboxRestored,
        Self::OutboxCopied,
        Self::TakenOver,
        Self::Collided,
        Self::CrashedBeforeStartingAnew,
        Self::StartingAnewFailed,
        Self::CrashedAfterStartingAnew,
        Self::StartedAnew,
        Self::MovedCopy,
        Self::SentAgain,
        Self::GoneForGood,
    ];
}

/// How often each happened.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally(BTreeMap<Fault, u64>);

impl Tally {
    pub(crate) fn count(&mut self, fault: Fault) {
        *self.0.entry(fault).or_default() += 1;
    }

    pub(crate) fn of(&self, fault: Fault) -> u64 {
        self.0.get(&fault).copied().unwrap_or_default()
    }

    pub(crate) fn add(&mut self, other: &Self) {
        for (fault, count) in &other.0 {
            *self.0.entry(*fault).or_default() += count;
        }
    }
}
