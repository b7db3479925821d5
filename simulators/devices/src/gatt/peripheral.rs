//! What every peripheral has: a link, a bond, subscriptions, a queue.
//!
//! Not here: what a device measures and keeps; that is its [`Inside`].
//!
//! # Invariants
//! - one indication at a time; what waits is forgotten with the link and made again by the inside
//! - a fact is written down when its value was handed over, for an indication when it was confirmed

use super::{AttError, Flag, GattDevice, GattOutput, Pairing, Profile, Uuid, faults::AirFault};
use crate::{SimTime, Truth, truth::Notebook};
use std::collections::{BTreeSet, VecDeque};

/// Advertising after a measurement: "tens of seconds", blood-pressure sheet, §5.1.
pub(super) const AWAKE_MS: u64 = 30_000;
/// A host that subscribes and never takes anything: more is forgotten.
const QUEUE_MAX: usize = 2048;

/// What is special about a device.
pub(super) trait Inside: Send {
    /// Lets the story go on.
    fn advance(&mut self, now: SimTime, air: &mut Air);
    /// When something happens next, with or without a link.
    fn next_due(&self, air: &Air) -> Option<SimTime>;
    /// The value of a characteristic that can be read.
    fn read(&mut self, now: SimTime, uuid: Uuid, air: &mut Air) -> Result<Vec<u8>, AttError>;
    /// The host wrote a characteristic that can be written.
    fn write(
        &mut self,
        now: SimTime,
        uuid: Uuid,
        value: &[u8],
        air: &mut Air,
    ) -> Result<(), AttError>;
    /// The host subscribed.
    fn subscribed(&mut self, now: SimTime, uuid: Uuid, air: &mut Air);
    /// An indication of that characteristic was confirmed.
    fn confirmed(&mut self, now: SimTime, uuid: Uuid, air: &mut Air);
    /// The link is gone, with all that waited.
    fn disconnected(&mut self);
    /// That was not said after all.
    fn forgotten(&mut self, _: Vec<Truth>) {}
    /// Whether it can be seen although nobody has measured lately.
    fn is_always_on(&self, now: SimTime) -> bool;
}

/// A value on its way.
#[derive(Debug)]
struct Waiting {
    uuid: Uuid,
    value: Vec<u8>,
    needs_confirmation: bool,
    facts: Vec<Truth>,
}

/// The side of a device that is on the air.
#[derive(Debug)]
pub(super) struct Air {
    /// The link's MTU.
    mtu: Option<u16>,
    encrypted: bool,
    was_bonded: bool,
    subscribed: BTreeSet<Uuid>,
    /// What a bonded host was subscribed to, in a device that remembers it.
    remembered: Option<BTreeSet<Uuid>>,
    queue: VecDeque<Waiting>,
    unconfirmed: Option<Waiting>,
    awake_until: SimTime,
    ends_at: Option<SimTime>,
    /// What was said.
    pub(super) notes: Notebook,
}

impl Air {
    pub(super) fn new(notes: Notebook) -> Self {
        Self {
            mtu: None,
            encrypted: false,
            was_bonded: false,
            subscribed: BTreeSet::new(),
            remembered: None,
            queue: VecDeque::new(),
            unconfirmed: None,
            awake_until: SimTime::default().plus_millis(AWAKE_MS),
            ends_at: None,
            notes,
        }
    }

    pub(super) fn is_connected(&self) -> bool {
        self.mtu.is_some()
    }

    pub(super) fn mtu(&self) -> u16 {
        self.mtu.unwrap_or_default()
    }

    pub(super) fn hears(&self, uuid: Uuid) -> bool {
        self.subscribed.contains(&uuid)
    }

    /// Whether everything that was said has gone out.
    pub(super) fn is_quiet(&self) -> bool {
        self.queue.is_empty() && self.unconfirmed.is_none()
    }

    /// Says something that nobody confirms.
    pub(super) fn notify(&mut self, uuid: Uuid, value: Vec<u8>, facts: Vec<Truth>) {
        self.say(Waiting { uuid, value, needs_confirmation: false, facts });
    }

    /// Says something that is confirmed.
    pub(super) fn indicate(&mut self, uuid: Uuid, value: Vec<u8>, facts: Vec<Truth>) {
        self.say(Waiting { uuid, value, needs_confirmation: true, facts });
    }

    /// The last value overtakes the one before it.
    pub(super) fn overtake(&mut self) {
        let last = self.queue.len().saturating_sub(1);
        if last > 0 {
            self.queue.swap(last, last - 1);
        }
    }

    /// It can be seen for a while.
    pub(super) fn wake(&mut self, now: SimTime) {
        self.awake_until = self.awake_until.max(now.plus_millis(AWAKE_MS));
    }

    /// It ends the link at that moment, and sleeps.
    pub(super) fn end(&mut self, at: SimTime) {
        self.ends_at = Some(at);
        self.awake_until = self.awake_until.min(at);
    }

    /// It has more to say.
    pub(super) fn stay(&mut self) {
        self.ends_at = None;
    }

    fn say(&mut self, waiting: Waiting) {
        if self.hears(waiting.uuid) && self.queue.len() < QUEUE_MAX {
            self.queue.push_back(waiting);
        }
    }
}

/// A device: what is special about it, and what every device has.
pub(super) struct Peripheral<I> {
    profile: Profile,
    inside: I,
    air: Air,
}

impl<I: Inside> Peripheral<I> {
    pub(super) fn new(profile: Profile, inside: I, air: Air) -> Self {
        Self { profile, inside, air }
    }

    fn is_trusted(&self) -> bool {
        self.profile.pairing == Pairing::NotNeeded || self.air.encrypted
    }

    fn guard(&self, uuid: Uuid, flags: &[Flag], error: AttError) -> Result<(), AttError> {
        let found = self.profile.characteristic(uuid);
        let found = found.ok_or(AttError::REQUEST_NOT_SUPPORTED)?;
        flags.iter().any(|flag| found.has(*flag)).then_some(()).ok_or(error)
    }
}

impl<I: Inside> GattDevice for Peripheral<I> {
    fn profile(&self) -> &Profile {
        &self.profile
    }

    fn is_advertising(&self, now: SimTime) -> bool {
        // In pairing mode until it is paired.
        let wants_bond = self.profile.pairing != Pairing::NotNeeded && !self.air.was_bonded;
        let awake = now < self.air.awake_until || self.inside.is_always_on(now) || wants_bond;
        awake && !self.air.is_connected()
    }

    fn wake(&mut self, now: SimTime) {
        self.air.wake(now);
    }

    fn remember_subscriptions(&mut self) {
        self.air.remembered.get_or_insert_default();
    }

    fn connected(&mut self, now: SimTime, mtu: u16) {
        self.disconnected(now);
        self.air.mtu = Some(mtu.min(self.profile.mtu_max));
    }

    fn encrypted(&mut self, now: SimTime) {
        if !self.air.is_connected() {
            return;
        }
        (self.air.encrypted, self.air.was_bonded) = (true, true);
        for uuid in self.air.remembered.clone().into_iter().flatten() {
            if self.air.subscribed.insert(uuid) {
                self.inside.subscribed(now, uuid, &mut self.air);
            }
        }
    }

    fn disconnected(&mut self, _: SimTime) {
        let air = &mut self.air;
        (air.mtu, air.encrypted, air.ends_at, air.unconfirmed) = (None, false, None, None);
        air.subscribed.clear();
        self.inside.forgotten(air.queue.drain(..).flat_map(|waiting| waiting.facts).collect());
        self.inside.disconnected();
    }

    fn subscribe(&mut self, now: SimTime, uuid: Uuid, wanted: bool) -> Result<(), AttError> {
        let loud = [Flag::Notify, Flag::Indicate];
        self.guard(uuid, &loud, AttError::REQUEST_NOT_SUPPORTED)?;
        if !self.is_trusted() {
            return Err(AttError::AUTHENTICATION);
        }
        if !self.air.is_connected() {
            return Err(AttError::REQUEST_NOT_SUPPORTED);
        }
        if let Some(remembered) = self.air.remembered.as_mut().filter(|_| self.air.encrypted) {
            match wanted {
                true => remembered.insert(uuid),
                false => remembered.remove(&uuid),
            };
        }
        if !wanted {
            self.air.subscribed.remove(&uuid);
            let (gone, kept) = std::mem::take(&mut self.air.queue)
                .into_iter()
                .partition(|waiting: &Waiting| waiting.uuid == uuid);
            let gone: VecDeque<Waiting> = gone;
            self.air.queue = kept;
            self.inside.forgotten(gone.into_iter().flat_map(|waiting| waiting.facts).collect());
        } else if self.air.subscribed.insert(uuid) {
            self.inside.subscribed(now, uuid, &mut self.air);
        }
        Ok(())
    }

    fn read(&mut self, now: SimTime, uuid: Uuid) -> Result<Vec<u8>, AttError> {
        self.guard(uuid, &[Flag::Read], AttError::READ_NOT_PERMITTED)?;
        self.inside.read(now, uuid, &mut self.air)
    }

    fn write(&mut self, now: SimTime, uuid: Uuid, value: &[u8]) -> Result<(), AttError> {
        self.guard(uuid, &[Flag::Write], AttError::WRITE_NOT_PERMITTED)?;
        if !self.is_trusted() {
            return Err(AttError::ENCRYPTION);
        }
        self.inside.write(now, uuid, value, &mut self.air)
    }

    fn confirmed(&mut self, now: SimTime) {
        let Some(said) = self.air.unconfirmed.take() else { return };
        said.facts.into_iter().for_each(|fact| self.air.notes.said(now, fact));
        self.inside.confirmed(now, said.uuid, &mut self.air);
    }

    fn advance(&mut self, now: SimTime) {
        self.inside.advance(now, &mut self.air);
    }

    fn next_due(&self) -> Option<SimTime> {
        let inside = self.inside.next_due(&self.air);
        inside.into_iter().chain(self.air.ends_at).min()
    }

    fn poll_output(&mut self, now: SimTime) -> Option<GattOutput> {
        self.air.mtu?;
        let blocked = self.air.unconfirmed.is_some();
        let next = self.air.queue.pop_front_if(|waiting| !(blocked && waiting.needs_confirmation));
        if let Some(mut waiting) = next {
            if waiting.needs_confirmation {
                let value = std::mem::take(&mut waiting.value);
                let uuid = waiting.uuid;
                self.air.unconfirmed = Some(waiting);
                return Some(GattOutput::Indicate(uuid, value));
            }
            waiting.facts.into_iter().for_each(|fact| self.air.notes.said(now, fact));
            return Some(GattOutput::Notify(waiting.uuid, waiting.value));
        }
        let is_over = self.air.ends_at.is_some_and(|at| at <= now) && !blocked;
        if is_over {
            self.air.ends_at = None;
        }
        is_over.then_some(GattOutput::Disconnect)
    }

    fn note_fault(&mut self, now: SimTime, fault: AirFault, away_ms: Option<u64>) {
        let mut fact = self.air.notes.fact(now);
        fact.fault = Some(fault.name());
        fact.ms = away_ms.and_then(|ms| i64::try_from(ms).ok());
        self.air.notes.push(fact);
    }

    fn take_truth(&mut self) -> Vec<Truth> {
        self.air.notes.take()
    }
}
