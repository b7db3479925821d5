//! Whether a measurement that came whole became a record: the stack has confirmed it to the device,
//! which may have deleted it.

use super::device::{Fate, GLUCOSE, fate};
use drivers::gatt::{Characteristic, Cursor};
use model::{
    reading::{NoData, ReadingGroup},
    record::Record,
};
use std::collections::{BTreeMap, BTreeSet};

/// What came in one connection, and what was made of it.
#[derive(Default)]
pub(super) struct Loss {
    came: BTreeSet<(Characteristic, Vec<u8>)>,
    /// Glucose records by their number: what came, and how many groups were made of it.
    records: BTreeMap<u16, (BTreeSet<Vec<u8>>, usize)>,
    /// The record that was taken over before this connection.
    known: Option<Vec<u8>>,
}

impl Loss {
    /// For a connection that begins with this cursor.
    pub(super) fn new(cursor: Option<&Cursor>) -> Self {
        Self { known: cursor.map(|cursor| cursor.0.clone()), ..Self::default() }
    }

    /// A value came, and this was said at once.
    pub(super) fn value(&mut self, place: Characteristic, value: &[u8], said: &[Record]) {
        let Some(fate) = fate(place, value) else { return };
        if place == GLUCOSE {
            let number = u16::from_le_bytes([value[1], value[2]]);
            self.records.entry(number).or_default().0.insert(value.to_vec());
            return;
        }
        let readings = said.iter().filter(|record| is_measured(record)).count();
        let came_before = !self.came.insert((place, value.to_vec()));
        match fate {
            Fate::Shown => assert_eq!(readings, 0, "what is only shown is stored: {said:?}"),
            Fate::Spot if came_before => {}
            Fate::Spot | Fate::Reading => assert!(readings > 0, "{value:02x?} is lost"),
        }
    }

    /// Groups of stored records come when they come.
    pub(super) fn said(&mut self, record: &Record) {
        if let Record::Readings(ReadingGroup { device_seq: Some(number), .. }) = record {
            let number = u16::try_from(*number).expect("a number that the meter gave");
            self.records.entry(number).or_default().1 += 1;
        }
    }

    /// The record was taken over: so is each one before it.
    pub(super) fn remembered(&self, cursor: &Cursor) {
        if let Some(number) = cursor.0.first_chunk().filter(|_| !self.records.is_empty()) {
            self.check(u16::from_le_bytes(*number));
        }
    }

    /// The connection is over.
    pub(super) fn end(&self) {
        self.check(u16::MAX);
    }

    fn check(&self, newest: u16) {
        for (number, (values, groups)) in self.records.range(..=newest) {
            let known = self.known.as_ref().and_then(|known| known.get(2..));
            let known = values.iter().filter(|value| known == Some(value.as_slice())).count();
            assert!(groups + known >= values.len(), "record {number} is lost");
        }
    }
}

/// Whether it is of a measurement, and not of silence, of the battery or of the clock.
fn is_measured(record: &Record) -> bool {
    let Record::Readings(group) = record else { return false };
    group.readings.iter().any(|reading| reading.value != Err(NoData::Silent))
}
