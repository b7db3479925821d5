//! Receiving half of the uplink: what to do with an envelope, and what may be acked.
//!
//! Not here: the database. The county loads a [`LaneLedger`], asks [`judge`], and stores records
//! and ledger in one transaction.
//!
//! # Invariants
//! - what was received stays received; a drop never takes a received envelope away
//! - other bytes under a known seq are a conflict, never a duplicate
//! - an envelope that moved to another outbox is stored once, whichever of its numbers comes first

use crate::ranges::RangeSet;
use model::id::Seq;

/// SHA-256 of an envelope's bytes as received.
pub type EnvelopeHash = [u8; 32];

/// The county's account of one lane of one outbox.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct LaneLedger {
    /// Envelopes whose records are in the database.
    pub received: RangeSet,
    /// Envelopes the agent gave up, counted.
    pub dropped: RangeSet,
    /// Envelopes that could not be taken and are kept aside.
    pub quarantined: RangeSet,
}

/// What to do with an envelope.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// Store it.
    New,
    /// It is stored already: ack again, store nothing.
    Duplicate,
    /// Its records are stored already, under a number it had in another outbox: note its number and
    /// hash, store no record.
    Moved,
    /// Other bytes are stored under its seq: an outbox was restored or copied. Keep it aside.
    Conflict,
}

/// Judges an envelope by its seq and its hash; `stored` is the hash under which that seq is known.
///
/// `elsewhere` says whether what was first written as this envelope is stored under another number.
/// First written is what its `w` names, or its own bytes if it has none; the county looks at the
/// envelope under that number, and at the hashes of all that came moved.
#[must_use]
pub fn judge(stored: Option<&EnvelopeHash>, hash: &EnvelopeHash, elsewhere: bool) -> Verdict {
    match stored {
        None if elsewhere => Verdict::Moved,
        None => Verdict::New,
        Some(stored) if stored == hash => Verdict::Duplicate,
        Some(_) => Verdict::Conflict,
    }
}

impl LaneLedger {
    /// The envelope's records are in this transaction. One that was dropped counts as received.
    pub fn receive(&mut self, seq: Seq) {
        self.received.insert(seq);
        self.dropped.remove_range(seq, seq);
        self.quarantined.remove_range(seq, seq);
    }

    /// The agent gave this range up; what has arrived of it stays received, or kept aside.
    pub fn drop_range(&mut self, first: Seq, last: Seq) {
        self.dropped.insert_range(first, last);
        for known in [&self.received, &self.quarantined] {
            for (start, end) in known.within(first, last) {
                self.dropped.remove_range(start, end);
            }
        }
    }

    /// The envelope is kept aside: it will never be received, and must not block its lane.
    pub fn quarantine(&mut self, seq: Seq) {
        if !self.received.contains(seq) {
            self.quarantined.insert(seq);
            self.dropped.remove_range(seq, seq);
        }
    }

    /// What the sender need not send again.
    #[must_use]
    pub fn settled(&self) -> RangeSet {
        let mut settled = self.received.clone();
        settled.extend(&self.dropped);
        settled.extend(&self.quarantined);
        settled
    }

    /// What is missing below the highest that is settled.
    #[must_use]
    pub fn gaps(&self) -> Vec<(Seq, Seq)> {
        self.settled().gaps()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seq(number: u64) -> Seq {
        Seq::new(number).unwrap()
    }

    #[test]
    fn other_bytes_under_a_known_seq_are_a_conflict() {
        assert_eq!(judge(None, &[1; 32], false), Verdict::New);
        assert_eq!(judge(Some(&[1; 32]), &[1; 32], false), Verdict::Duplicate);
        assert_eq!(judge(Some(&[1; 32]), &[2; 32], false), Verdict::Conflict);
    }

    #[test]
    fn what_moved_is_stored_once_and_its_copy_is_a_duplicate() {
        assert_eq!(judge(None, &[2; 32], true), Verdict::Moved);
        assert_eq!(judge(Some(&[2; 32]), &[2; 32], true), Verdict::Duplicate);
        assert_eq!(judge(Some(&[3; 32]), &[2; 32], true), Verdict::Conflict);
    }

    #[test]
    fn an_envelope_that_is_kept_aside_and_given_up_is_missing_once() {
        let mut ledger = LaneLedger::default();
        ledger.quarantine(seq(2));
        ledger.drop_range(seq(1), seq(3));
        ledger.quarantine(seq(3));
        let LaneLedger { dropped, quarantined, .. } = &ledger;
        assert_eq!((dropped.to_string(), quarantined.to_string()), ("1-1".into(), "2-3".into()));
        assert_eq!(ledger.settled().to_string(), "1-3");
    }

    #[test]
    fn a_dropped_envelope_that_arrives_anyway_counts_as_received() {
        let mut ledger = LaneLedger::default();
        ledger.receive(seq(2));
        ledger.drop_range(seq(1), seq(4));
        assert_eq!(ledger.dropped.to_string(), "1-1,3-4");
        ledger.receive(seq(3));
        assert_eq!(
            (ledger.dropped.to_string(), ledger.received.to_string()),
            ("1-1,4-4".into(), "2-3".into())
        );
        assert_eq!(ledger.settled().to_string(), "1-4");
        assert!(ledger.gaps().is_empty());
    }

    #[test]
    fn a_quarantined_envelope_does_not_block_its_lane() {
        let mut ledger = LaneLedger::default();
        ledger.receive(seq(1));
        ledger.quarantine(seq(2));
        ledger.receive(seq(4));
        assert_eq!(ledger.settled().watermark(), Some(seq(2)));
        assert_eq!(ledger.gaps(), [(seq(3), seq(3))]);
    }
}
