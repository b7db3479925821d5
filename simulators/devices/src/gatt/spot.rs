//! A device that measures now and then, keeps the results, and deletes what was confirmed.

use super::{
    AttError, Profile, Uuid, bedside,
    kit::Kit,
    peripheral::{Air, Inside, Peripheral},
};
use crate::{SimTime, Truth, truth::Notebook};
use std::collections::VecDeque;

/// The sheet names no size; when it is full the oldest goes, and was never said.
const MEMORY_MAX: usize = 60;
/// "Sensor drops an idle link after about 5 s", blood-pressure sheet, §5.5.
const IDLE_MS: u64 = 5_000;
/// "When the queue is empty the cuff disconnects itself", §5.5: a polite one waits a little.
const EMPTY_MS: u64 = 500;
const EMPTY_RUDE_MS: u64 = 1;
const SECOND_US: u64 = 1_000_000;

/// A result.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) value: Vec<u8>,
    pub(super) facts: Vec<Truth>,
}

/// When a result was measured: on the device's clock as bytes, and as the truth has it.
pub(super) type Stamp = ([u8; 7], String);

/// What is measured.
pub(super) trait Kind: Send {
    /// Where results are indicated.
    const RESULT: Uuid;
    fn kit(&self) -> &Kit;
    /// When the next measurement ends.
    fn next(&self, after: SimTime) -> Option<SimTime>;
    /// What is measured at that moment, with `stamp` on the device's clock; `number` counts the
    /// device's results. Its facts are stamped by the caller.
    fn measure(&self, at: SimTime, number: u64, stamp: [u8; 7], air: &Air) -> Record;
    /// How many results are in its memory when the stage begins.
    fn stored(&self) -> u64;
    /// The value of a characteristic of its own.
    fn feature(&self, uuid: Uuid) -> Option<Vec<u8>>;
    /// What it says every second while it is connected.
    fn live(&self, _: SimTime, _: &mut Air) {}
    /// Whether it stays connected when everything is confirmed.
    fn stays(&self) -> bool {
        false
    }
}

/// The device.
pub(super) struct Spot<K> {
    kind: K,
    memory: VecDeque<Record>,
    measured: u64,
    measured_until: SimTime,
    live_at: SimTime,
}

impl<K: Kind> Spot<K> {
    /// A device with results of earlier days.
    pub(super) fn new(kind: K, notes: &Air) -> Self {
        let mut spot = Self {
            memory: VecDeque::new(),
            measured: 0,
            measured_until: SimTime(0),
            live_at: SimTime(0),
            kind,
        };
        for number in 0..spot.kind.stored() {
            let stamp = spot.kind.kit().stamp_of_old(spot.kind.stored() - number, number * 60);
            spot.measure(SimTime(0), stamp, notes);
        }
        spot
    }

    /// One more result, each fact of it with the moment the device's clock showed.
    fn measure(&mut self, at: SimTime, (stamp, time): Stamp, air: &Air) {
        let mut record = self.kind.measure(at, self.measured, stamp, air);
        for fact in &mut record.facts {
            fact.device_time = Some(time.clone());
        }
        self.memory.push_back(record);
        self.measured += 1;
    }

    /// Results that nobody has confirmed.
    fn send(&mut self, air: &mut Air) {
        if !air.hears(K::RESULT) || !air.is_quiet() {
            return;
        }
        if let Some(record) = self.memory.front() {
            air.stay();
            air.indicate(K::RESULT, record.value.clone(), record.facts.clone());
        }
    }
}

impl<K: Kind> Inside for Spot<K> {
    fn advance(&mut self, now: SimTime, air: &mut Air) {
        while let Some(at) = self.kind.next(self.measured_until).filter(|at| *at <= now) {
            let stamp = self.kind.kit().stamp(at);
            self.measure(at, stamp, air);
            // What waits to be confirmed stays at the front.
            if self.memory.len() > MEMORY_MAX {
                self.memory.remove(1);
            }
            self.measured_until = at;
            air.wake(at);
        }
        self.measured_until = self.measured_until.max(now);
        if air.is_connected() && self.live_at <= now {
            self.live_at = SimTime((now.0 / SECOND_US + 1) * SECOND_US);
            self.kind.live(now, air);
        }
        self.send(air);
    }

    fn next_due(&self, air: &Air) -> Option<SimTime> {
        let live = air.is_connected().then_some(self.live_at);
        self.kind.next(self.measured_until).into_iter().chain(live).min()
    }

    fn read(&mut self, now: SimTime, uuid: Uuid, air: &mut Air) -> Result<Vec<u8>, AttError> {
        match self.kind.feature(uuid) {
            Some(value) => Ok(value),
            None => self.kind.kit().read(now, uuid, air),
        }
    }

    fn write(&mut self, now: SimTime, uuid: Uuid, _: &[u8], air: &mut Air) -> Result<(), AttError> {
        self.kind.kit().write(now, uuid, air)
    }

    fn subscribed(&mut self, now: SimTime, uuid: Uuid, air: &mut Air) {
        let is_empty = self.memory.is_empty();
        if uuid == K::RESULT && is_empty && !self.kind.stays() {
            air.end(now.plus_millis(IDLE_MS));
        }
        self.send(air);
    }

    fn confirmed(&mut self, now: SimTime, uuid: Uuid, air: &mut Air) {
        if uuid != K::RESULT {
            return;
        }
        self.memory.pop_front();
        if self.memory.is_empty() && !self.kind.stays() {
            let polite = self.kind.kit().temper.is_polite();
            air.end(now.plus_millis(if polite { EMPTY_MS } else { EMPTY_RUDE_MS }));
        }
        self.send(air);
    }

    fn disconnected(&mut self) {}

    fn is_always_on(&self, _: SimTime) -> bool {
        false
    }
}

/// A peripheral of that kind.
pub(super) fn device<K: Kind>(profile: Profile, kind: K, notes: Notebook) -> Peripheral<Spot<K>> {
    let air = Air::new(notes);
    let spot = Spot::new(kind, &air);
    Peripheral::new(profile, spot, air)
}

/// The first of equally spaced moments after `after`.
pub(super) fn every(after: SimTime, first_s: u64, every_s: u64) -> SimTime {
    let second = bedside::elapsed_s(after);
    let rounds = if second < first_s { 0 } else { (second - first_s) / every_s + 1 };
    SimTime((first_s + rounds * every_s) * SECOND_US)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equally_spaced_moments_do_not_come_twice() {
        let next = |after_s: u64| every(SimTime(after_s * 1_000_000), 25, 120).0 / 1_000_000;
        assert_eq!([0, 24, 25, 144, 145].map(next), [25, 25, 145, 145, 265]);
    }
}
