//! Which records of which meters were taken over, as the driver's cursor.
//!
//! An entry is a hash of the meter's serial number with the record, so that meters may share a
//! cable. Records have no number of their own: time and value are what tells them apart.
//!
//! # Invariants
//! - at most [`ENTRIES_MAX`] entries, the oldest is forgotten first

use super::codec::Stored;
use crate::serial::{CURSOR_LEN_MAX, Cursor};

/// Two full meters of 500 records share a cable.
const ENTRIES_MAX: usize = 1000;
const ENTRY_LEN: usize = 8;
const _: () = assert!(ENTRIES_MAX * ENTRY_LEN <= CURSOR_LEN_MAX);

/// What was taken over.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// Oldest first.
    entries: Vec<u64>,
}

impl Memory {
    pub(super) fn new(cursor: Option<Cursor>) -> Self {
        let bytes = cursor.unwrap_or_default().0;
        let (entries, _) = bytes.as_chunks::<ENTRY_LEN>();
        Self { entries: entries.iter().map(|entry| u64::from_le_bytes(*entry)).collect() }
    }

    pub(super) fn cursor(&self) -> Cursor {
        Cursor(self.entries.iter().flat_map(|entry| entry.to_le_bytes()).collect())
    }

    pub(super) fn knows(&self, serial: &str, record: Stored) -> bool {
        self.entries.contains(&entry(serial, record))
    }

    pub(super) fn add(&mut self, serial: &str, record: Stored) {
        self.push(entry(serial, record));
    }

    /// Whether a download of that meter broke off: then what is behind a known record may be new.
    pub(super) fn has_gap(&self, serial: &str) -> bool {
        self.entries.contains(&hash(&[serial.as_bytes()]))
    }

    pub(super) fn mark_gap(&mut self, serial: &str) {
        self.clear_gap(serial);
        self.push(hash(&[serial.as_bytes()]));
    }

    pub(super) fn clear_gap(&mut self, serial: &str) {
        let mark = hash(&[serial.as_bytes()]);
        self.entries.retain(|entry| *entry != mark);
    }

    fn push(&mut self, entry: u64) {
        if self.entries.len() >= ENTRIES_MAX {
            self.entries.remove(0);
        }
        self.entries.push(entry);
    }
}

fn entry(serial: &str, record: Stored) -> u64 {
    hash(&[serial.as_bytes(), &record.time.to_le_bytes(), &record.glucose.to_le_bytes()])
}

/// FNV-1a, 64 bits: the same on every machine and in every version.
fn hash(parts: &[&[u8]]) -> u64 {
    let bytes = parts.iter().copied().flatten();
    bytes.fold(0xCBF2_9CE4_8422_2325, |hash: u64, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(time: u32) -> Stored {
        Stored { time, glucose: 100 }
    }

    #[test]
    fn what_was_taken_over_is_known_after_a_restart() {
        let mut memory = Memory::default();
        memory.add("C176SA0E6", record(1));
        memory.mark_gap("C176SA0E6");
        let mut memory = Memory::new(Some(memory.cursor()));
        assert!(memory.knows("C176SA0E6", record(1)));
        assert!(!memory.knows("C176SA0E7", record(1)), "another meter");
        assert!(!memory.knows("C176SA0E6", record(2)));
        assert!(memory.has_gap("C176SA0E6") && !memory.has_gap("C176SA0E7"));
        memory.clear_gap("C176SA0E6");
        assert!(!memory.has_gap("C176SA0E6"));
    }

    #[test]
    fn the_oldest_is_forgotten_first() {
        let mut memory = Memory::default();
        (0..1001).for_each(|time| memory.add("C176SA0E6", record(time)));
        assert!(!memory.knows("C176SA0E6", record(0)));
        assert!(memory.knows("C176SA0E6", record(1)) && memory.knows("C176SA0E6", record(1000)));
        assert!(memory.cursor().0.len() <= CURSOR_LEN_MAX);
    }
}
