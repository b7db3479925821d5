//! What is on its way to the host: late, byte by byte, and truth only when its last byte is out.

use crate::{
    SimTime,
    truth::{Notebook, Truth},
};
use std::collections::VecDeque;

/// What may wait: a host that asks faster than the wire carries the answers gets fewer answers.
const WAITING_MAX: usize = 64 * 1024;

/// Bytes on their way, in order.
#[derive(Debug, Default)]
pub(super) struct Wire {
    waiting: VecDeque<Piece>,
    bytes: usize,
    /// When everything that waits is out.
    free: SimTime,
    /// Out, and not yet taken by the host's side of the cable.
    out: Vec<u8>,
}

#[derive(Debug)]
struct Piece {
    due: SimTime,
    bytes: Vec<u8>,
    facts: Vec<Truth>,
}

impl Wire {
    /// Sends bytes after some time, `byte_us` apart (0: all at once), and never before what was
    /// sent earlier. Whether there was room; without room nothing is sent and nothing is said.
    pub(super) fn send(
        &mut self,
        now: SimTime,
        delay_ms: u64,
        byte_us: u64,
        bytes: &[u8],
        facts: Vec<Truth>,
    ) -> bool {
        if self.bytes + bytes.len() > WAITING_MAX {
            return false;
        }
        self.bytes += bytes.len();
        let mut due = self.free.max(now.plus_millis(delay_ms));
        let step = if byte_us == 0 { bytes.len().max(1) } else { 1 };
        for chunk in bytes.chunks(step) {
            due = SimTime(due.0.saturating_add(byte_us));
            self.waiting.push_back(Piece { due, bytes: chunk.to_vec(), facts: Vec::new() });
        }
        if let Some(last) = self.waiting.back_mut().filter(|_| !bytes.is_empty()) {
            last.facts = facts;
        }
        self.free = due;
        true
    }

    /// Puts out what is due by `now`.
    pub(super) fn advance(&mut self, now: SimTime, notes: &mut Notebook) {
        while let Some(piece) = self.waiting.pop_front_if(|piece| piece.due <= now) {
            self.bytes -= piece.bytes.len();
            self.out.extend(piece.bytes);
            piece.facts.into_iter().for_each(|fact| notes.said(piece.due, fact));
        }
    }

    /// What is out since the last call.
    pub(super) fn take_output(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.out)
    }

    /// When the next byte is out.
    pub(super) fn next_due(&self) -> Option<SimTime> {
        self.waiting.front().map(|piece| piece.due)
    }

    /// The plug is out: what is not on the wire yet is not said.
    pub(super) fn clear(&mut self) {
        *self = Self { out: std::mem::take(&mut self.out), ..Self::default() };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::StageClock;

    fn notes() -> Notebook {
        Notebook::new("dev-01", StageClock { wall_start_ms: 0, utc_offset_s: 0 })
    }

    #[test]
    fn what_is_said_holds_when_its_last_byte_is_out() {
        let (mut wire, mut notes) = (Wire::default(), notes());
        assert!(wire.send(SimTime(0), 100, 1000, &[1, 2, 3], vec![Truth::default()]));
        wire.advance(SimTime::from_millis(102), &mut notes);
        assert_eq!((wire.take_output(), notes.take().len()), (vec![1, 2], 0));
        assert_eq!(wire.next_due(), Some(SimTime::from_millis(103)));
        wire.advance(SimTime::from_millis(103), &mut notes);
        assert_eq!(notes.take()[0].t, "1970-01-01T00:00:00.103Z");
        assert_eq!(wire.next_due(), None);
    }

    #[test]
    fn nothing_overtakes_and_a_full_wire_takes_nothing() {
        let (mut wire, mut notes) = (Wire::default(), notes());
        assert!(wire.send(SimTime(0), 100, 0, &[1, 2], vec![]));
        assert!(wire.send(SimTime(0), 0, 0, &[3], vec![]));
        wire.advance(SimTime::from_millis(99), &mut notes);
        assert!(wire.take_output().is_empty());
        wire.advance(SimTime::from_millis(100), &mut notes);
        wire.clear();
        assert_eq!(wire.take_output(), [1, 2, 3], "what is out stays out");
        assert!(!wire.send(SimTime(0), 0, 0, &[0; WAITING_MAX + 1], vec![]));
        assert!(wire.send(SimTime(0), 0, 0, &[0; WAITING_MAX], vec![]));
        assert!(!wire.send(SimTime(0), 0, 0, &[0], vec![]));
        wire.clear();
        assert_eq!(wire.next_due(), None);
    }
}
