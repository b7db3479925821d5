//! The wire at 115200 baud: a frame is out when its last bit is, and only then its truth holds.

use super::{framing, spec};
use crate::{SimTime, Truth};
use std::collections::VecDeque;

/// What may wait for the wire: more than a second of it. A host that asks faster than the wire
/// carries the answers gets fewer answers.
const WAITING_MAX: usize = 16 * 1024;

/// Frames waiting for the wire, in order.
#[derive(Debug, Default)]
pub(super) struct Line {
    waiting: VecDeque<Frame>,
    bytes: usize,
    /// When the wire has carried everything that waits, in microseconds.
    free: u64,
}

/// A frame and what it says.
#[derive(Debug)]
pub(super) struct Frame {
    /// When its last bit is out.
    pub(super) end: SimTime,
    pub(super) bytes: Vec<u8>,
    pub(super) facts: Vec<Truth>,
}

impl Line {
    /// Queues the frames of one message; what it says is said with the last of them. Whether there
    /// was room.
    pub(super) fn send(&mut self, now: SimTime, message: &[Vec<u8>], facts: Vec<Truth>) -> bool {
        let frames: Vec<Vec<u8>> = message.iter().map(|data| framing::encode(data)).collect();
        let len: usize = frames.iter().map(Vec::len).sum();
        if self.bytes + len > WAITING_MAX {
            return false;
        }
        self.bytes += len;
        for bytes in frames {
            let len = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
            let bits = len.saturating_mul(spec::BITS_PER_BYTE);
            let on_the_wire = bits.saturating_mul(1_000_000).div_ceil(spec::BAUD);
            self.free = self.free.max(now.0).saturating_add(on_the_wire);
            self.waiting.push_back(Frame { end: SimTime(self.free), bytes, facts: Vec::new() });
        }
        if let Some(last) = self.waiting.back_mut() {
            last.facts.extend(facts);
        }
        true
    }

    /// Forgets what is not out yet: an association has ended, or the power is off.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// The next frame that is out by `now`.
    pub(super) fn pop(&mut self, now: SimTime) -> Option<Frame> {
        let frame = self.waiting.pop_front_if(|frame| frame.end <= now)?;
        self.bytes -= frame.bytes.len();
        Some(frame)
    }

    /// When the next frame is out.
    pub(super) fn next_due(&self) -> Option<SimTime> {
        self.waiting.front().map(|frame| frame.end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_out_after_its_time_on_the_wire() {
        let mut line = Line::default();
        // 4 + 104 + 2 + 2 = 112 + 4 bytes: 1160 bits at 115200 a second.
        assert!(line.send(SimTime(0), &[vec![0; 108]], vec![Truth::default()]));
        assert_eq!(line.next_due(), Some(SimTime(10_070)));
        assert!(line.pop(SimTime(10_069)).is_none());
        assert_eq!(line.pop(SimTime(10_070)).map(|frame| frame.facts.len()), Some(1));
        assert_eq!(line.next_due(), None);
    }

    #[test]
    fn a_full_queue_takes_no_part_of_a_message() {
        let mut line = Line::default();
        let message = vec![vec![0; 1000]; 3];
        while line.send(SimTime(0), &message, vec![]) {}
        assert_eq!(line.waiting.len() % 3, 0);
        assert!(line.bytes <= WAITING_MAX);
        line.clear();
        assert!(line.send(SimTime(0), &message, vec![]));
    }
}
