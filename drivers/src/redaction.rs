//! Takes out of a link's bytes what may tell who the patient is, before they are kept.
//!
//! Not here: what identifies a person in a protocol. That stands beside each codec, in its
//! `redaction.rs`; a protocol that carries nothing of that kind has none and passes unchanged.
//!
//! What a driver reads passes as sent; what it does not read could be anything and is hidden.
//! So what is kept still decodes to the same readings.
//!
//! # Invariants
//! - bytes of a frame pass only when the whole frame was seen, good, and looked through
//! - bytes that are no part of a good frame may be the rest of one: they are hidden
//! - every byte comes out once, in order, with the time at which it came
//! - what is held back is bounded in bytes, in events and in time

use std::{collections::VecDeque, fmt, time::Duration};

/// Stands for what is hidden: it begins no frame of any protocol.
pub(crate) const HIDDEN: u8 = b'x';

/// A frame that stands still for so long is not waited for. The longest of any protocol takes as
/// long at its slowest speed.
const PATIENCE: Duration = Duration::from_secs(30);
/// Events that may wait for the end of a frame: the longest frame byte by byte is cut into that
/// many at 9600 baud and a millisecond each.
const HELD_MAX: usize = 16 * 1024;

/// What one driver knows about who its bytes are of.
pub(crate) trait Mask: Send {
    /// Looks at what came and was not settled yet, never empty: how many of the first bytes are
    /// settled, at least one, and what is kept of them. `None`: the end of a frame is still to
    /// come.
    fn settle(&self, bytes: &[u8]) -> Option<(usize, Vec<u8>)>;

    /// What is kept of what the driver said.
    fn sent(&self, bytes: &[u8]) -> Vec<u8> {
        bytes.to_vec()
    }

    /// For how long an unfinished frame is waited for.
    fn patience(&self) -> Duration {
        PATIENCE
    }
}

/// Bytes of a link.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Said {
    /// By the device.
    Received(Vec<u8>),
    /// By the driver.
    Sent(Vec<u8>),
}

/// An event that waits: so many bytes of the device, or what the driver said meanwhile.
enum Held {
    Received(usize),
    Sent(Vec<u8>),
}

/// The bytes of one link, without what may tell who the patient is.
///
/// Times are the caller's; they only have to grow.
pub struct Redactor {
    mask: Option<Box<dyn Mask>>,
    unsettled: Vec<u8>,
    newest: Duration,
    held: VecDeque<(Duration, Held)>,
    ready: VecDeque<(Duration, Said)>,
}

/// It may hold a name: only its sizes are shown.
impl fmt::Debug for Redactor {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Redactor({} bytes unsettled)", self.unsettled.len())
    }
}

impl Redactor {
    /// Without a mask everything passes.
    pub(crate) fn new(mask: Option<Box<dyn Mask>>) -> Self {
        Self {
            mask,
            unsettled: Vec::new(),
            newest: Duration::ZERO,
            held: VecDeque::new(),
            ready: VecDeque::new(),
        }
    }

    /// Takes what the device said. Afterwards drain [`next`](Self::next).
    pub fn received(&mut self, at: Duration, bytes: &[u8]) {
        self.lose_patience(at);
        if bytes.is_empty() {
            return;
        }
        let Some(mask) = &self.mask else {
            return self.ready.push_back((at, Said::Received(bytes.to_vec())));
        };
        self.newest = at;
        self.held.push_back((at, Held::Received(bytes.len())));
        self.unsettled.extend(bytes);
        let (mut kept, mut settled) = (Vec::new(), 0);
        while let Some(rest) = self.unsettled.get(settled..).filter(|rest| !rest.is_empty()) {
            let Some((count, instead)) = mask.settle(rest) else { break };
            assert!((1..=rest.len()).contains(&count), "a mask settles what is there");
            settled += count;
            kept.push((count, instead));
        }
        self.unsettled.drain(..settled);
        for (count, instead) in kept {
            self.release(count, instead);
        }
    }

    /// Takes what the driver said. Afterwards drain [`next`](Self::next).
    pub fn sent(&mut self, at: Duration, bytes: &[u8]) {
        self.lose_patience(at);
        let bytes = self.mask.as_ref().map_or_else(|| bytes.to_vec(), |mask| mask.sent(bytes));
        if self.held.is_empty() {
            self.ready.push_back((at, Said::Sent(bytes)));
        } else {
            self.held.push_back((at, Held::Sent(bytes)));
        }
    }

    /// The link is closed, or nobody wants to hear more: what is unfinished stays so. Afterwards
    /// drain [`next`](Self::next).
    pub fn end(&mut self) {
        let count = std::mem::take(&mut self.unsettled).len();
        self.release(count, vec![HIDDEN; count]);
    }

    /// Hands out what may be kept, in order, until `None`.
    #[expect(clippy::should_implement_trait, reason = "more may come after `None`")]
    pub fn next(&mut self) -> Option<(Duration, Said)> {
        self.ready.pop_front()
    }

    fn lose_patience(&mut self, at: Duration) {
        let patience = self.mask.as_ref().map_or(PATIENCE, |mask| mask.patience());
        let long = at.saturating_sub(self.newest) > patience;
        if !self.held.is_empty() && (long || self.held.len() >= HELD_MAX) {
            self.end();
        }
    }

    /// `instead` stands for the first `count` bytes that wait. It is dealt out to the events in
    /// which they came; where it is longer or shorter the last of them has the difference.
    fn release(&mut self, count: usize, instead: Vec<u8>) {
        let (mut missing, mut rest) = (count, instead.as_slice());
        while let Some((at, held)) = self.held.pop_front() {
            match held {
                Held::Sent(bytes) => self.ready.push_back((at, Said::Sent(bytes))),
                Held::Received(len) if missing == 0 => {
                    self.held.push_front((at, Held::Received(len)));
                    return;
                }
                Held::Received(len) => {
                    let here = len.min(missing);
                    missing -= here;
                    let cut = if missing == 0 { rest.len() } else { here.min(rest.len()) };
                    let (part, later) = rest.split_at(cut);
                    rest = later;
                    self.keep(at, part);
                    if here < len {
                        self.held.push_front((at, Held::Received(len - here)));
                    }
                }
            }
        }
    }

    fn keep(&mut self, at: Duration, bytes: &[u8]) {
        match self.ready.back_mut() {
            Some((same, Said::Received(before))) if *same == at => before.extend(bytes),
            _ if bytes.is_empty() => {}
            _ => self.ready.push_back((at, Said::Received(bytes.to_vec()))),
        }
    }
}

/// As many hidden bytes as there are, line ends and other control characters as they were.
pub(crate) fn hidden_text(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().map(|byte| if byte.is_ascii_control() { *byte } else { HIDDEN }).collect()
}

#[cfg(test)]
pub(crate) mod tests;
