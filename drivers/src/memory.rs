//! Which stored records of which meters were taken over, as a driver's cursor.
//!
//! An entry is a hash of the meter's name (its serial number, where it has one) with the record, so
//! that meters may share a cable. The record is given as the bytes that tell it from others: records
//! without a number of their own have only time and value.
//!
//! # Invariants
//! - at most [`ENTRIES_MAX`] entries, the oldest is forgotten first

use crate::serial::{CURSOR_LEN_MAX, Cursor};

/// As many as a cursor holds: two full meters of 500 records share a cable, or one of 1000.
pub(crate) const ENTRIES_MAX: usize = CURSOR_LEN_MAX / ENTRY_LEN;
const ENTRY_LEN: usize = 8;

/// What was taken over.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    /// Oldest first.
    entries: Vec<u64>,
}

impl Memory {
    pub(crate) fn new(cursor: Option<Cursor>) -> Self {
        let bytes = cursor.unwrap_or_default().0;
        let (entries, _) = bytes.as_chunks::<ENTRY_LEN>();
        Self { entries: entries.iter().map(|entry| u64::from_le_bytes(*entry)).collect() }
    }

    pub(crate) fn cursor(&self) -> Cursor {
        Cursor(self.entries.iter().flat_map(|entry| entry.to_le_bytes()).collect())
    }

    pub(crate) fn knows(&self, meter: &str, record: &[u8]) -> bool {
        self.entries.contains(&entry(meter, record))
    }

    pub(crate) fn add(&mut self, meter: &str, record: &[u8]) {
        self.push(entry(meter, record));
    }

    /// Whether a download of that meter broke off: then what is behind a known record may be new.
    pub(crate) fn has_gap(&self, meter: &str) -> bool {
        self.entries.contains(&hash(&[meter.as_bytes()]))
    }

    pub(crate) fn mark_gap(&mut self, meter: &str) {
        self.clear_gap(meter);
        self.push(hash(&[meter.as_bytes()]));
    }

    pub(crate) fn clear_gap(&mut self, meter: &str) {
        let mark = hash(&[meter.as_bytes()]);
        self.entries.retain(|entry| *entry != mark);
    }

    fn push(&mut self, entry: u64) {
        if self.entries.len() >= ENTRIES_MAX {
            self.entries.remove(0);
        }
        self.entries.push(entry);
    }
}

fn entry(meter: &str, record: &[u8]) -> u64 {
    hash(&[meter.as_bytes(), record])
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

    fn record(time: u16) -> [u8; 4] {
        let [low, high] = time.to_le_bytes();
        [low, high, 100, 0]
    }

    #[test]
    fn what_was_taken_over_is_known_after_a_restart() {
        let mut memory = Memory::default();
        memory.add("C176SA0E6", &record(1));
        memory.mark_gap("C176SA0E6");
        let mut memory = Memory::new(Some(memory.cursor()));
        assert!(memory.knows("C176SA0E6", &record(1)));
        assert!(!memory.knows("C176SA0E7", &record(1)), "another meter");
        assert!(!memory.knows("C176SA0E6", &record(2)));
        assert!(memory.has_gap("C176SA0E6") && !memory.has_gap("C176SA0E7"));
        memory.clear_gap("C176SA0E6");
        assert!(!memory.has_gap("C176SA0E6"));
    }

    #[test]
    fn the_oldest_is_forgotten_first() {
        let mut memory = Memory::default();
        (0..=1024).for_each(|time| memory.add("C176SA0E6", &record(time)));
        assert!(!memory.knows("C176SA0E6", &record(0)));
        assert!(memory.knows("C176SA0E6", &record(1)) && memory.knows("C176SA0E6", &record(1024)));
        assert_eq!(memory.cursor().0.len(), CURSOR_LEN_MAX);
    }
}
