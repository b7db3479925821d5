//! One peripheral per kind of Bluetooth LE device, each from its protocol sheet alone.
//!
//! - [`value`]: flags, numbers and times as the profiles write them
//! - [`peripheral`]: what all have: a link, a bond, subscriptions, a queue
//! - [`spot`]: what measures now and then, keeps it, and deletes what was confirmed
//! - [`bedside`]: what a device sees of its patient
//! - [`faults`]: what goes wrong on the air and in the host's stack
//!
//! # Invariants
//! - an indication is truth when it was confirmed, a notification when it was handed over, and
//!   both only while connected and subscribed
//! - what was not confirmed is sent again; what was confirmed is never sent again
//! - without the bond a device asks for, it hands out nothing of its patient

mod bedside;
mod cuff;
pub mod faults;
mod kit;
mod meter;
mod oximeter;
mod peripheral;
mod scale;
mod spot;
mod strap;
mod thermometer;
mod value;

use crate::{Setup, SimTime, Truth};
use std::fmt;

/// A UUID; the short ones stand for numbers of the Bluetooth SIG.
#[derive(Clone, Copy, Eq, Ord, PartialEq, PartialOrd)]
pub struct Uuid(pub u128);

impl Uuid {
    /// The base of all short ones: `0000xxxx-0000-1000-8000-00805f9b34fb`.
    const BASE: u128 = 0x0000_0000_0000_1000_8000_0080_5F9B_34FB;

    /// The long form of a 16-bit UUID.
    #[must_use]
    pub const fn short(number: u32) -> Self {
        let [a, b, c, d] = number.to_be_bytes();
        let wide = u128::from_be_bytes([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, a, b, c, d]);
        Self(Self::BASE | (wide << 96))
    }
}

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hex = format!("{:032x}", self.0);
        let part = |from: usize, until: usize| hex.get(from..until).unwrap_or_default();
        let (a, b, c, d, e) = (part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32));
        write!(f, "{a}-{b}-{c}-{d}-{e}")
    }
}

impl fmt::Debug for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What may be done with a characteristic.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Flag {
    /// It can be read.
    Read,
    /// It can be written, and the device answers.
    Write,
    /// The device says it by itself.
    Notify,
    /// The device says it by itself and waits until it was confirmed.
    Indicate,
}

/// A characteristic.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Characteristic {
    /// What it is; no device has two of the same.
    pub uuid: Uuid,
    /// What may be done with it.
    pub flags: &'static [Flag],
}

impl Characteristic {
    /// Whether that may be done.
    #[must_use]
    pub fn has(&self, flag: Flag) -> bool {
        self.flags.contains(&flag)
    }
}

/// A primary service.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Service {
    /// What it is.
    pub uuid: Uuid,
    /// What is in it, in the order of handles.
    pub characteristics: Vec<Characteristic>,
}

/// How a device is paired.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Pairing {
    /// It hands out everything without a bond.
    NotNeeded,
    /// It needs a bond; nobody has to type anything.
    JustWorks,
    /// It needs a bond and shows six digits that a person types.
    Passkey(u32),
}

/// What a device is, as others see it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Profile {
    /// Its name on the air.
    pub name: String,
    /// Services it names when it advertises.
    pub advertised: Vec<Uuid>,
    /// All its services, in the order of handles.
    pub services: Vec<Service>,
    /// How it is paired.
    pub pairing: Pairing,
    /// The largest MTU it takes.
    pub mtu_max: u16,
}

impl Profile {
    /// Its characteristic of that UUID.
    #[must_use]
    pub fn characteristic(&self, uuid: Uuid) -> Option<&Characteristic> {
        let all = self.services.iter().flat_map(|service| &service.characteristics);
        all.into_iter().find(|characteristic| characteristic.uuid == uuid)
    }
}

/// Why a device refuses.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct AttError(pub u8);

impl AttError {
    /// Read not permitted.
    pub const READ_NOT_PERMITTED: Self = Self(0x02);
    /// Write not permitted.
    pub const WRITE_NOT_PERMITTED: Self = Self(0x03);
    /// Insufficient authentication: no bond.
    pub const AUTHENTICATION: Self = Self(0x05);
    /// Request not supported.
    pub const REQUEST_NOT_SUPPORTED: Self = Self(0x06);
    /// Invalid attribute value length.
    pub const VALUE_LENGTH: Self = Self(0x0D);
    /// Insufficient encryption: no bond, as others say it.
    pub const ENCRYPTION: Self = Self(0x0F);
}

/// What a device does by itself.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum GattOutput {
    /// It says a value.
    Notify(Uuid, Vec<u8>),
    /// It says a value and waits for [`GattDevice::confirmed`].
    Indicate(Uuid, Vec<u8>),
    /// It ends the link.
    Disconnect,
}

/// A Bluetooth LE peripheral.
pub trait GattDevice: Send {
    /// What it is.
    fn profile(&self) -> &Profile;
    /// Whether it can be seen and connected to.
    fn is_advertising(&self, now: SimTime) -> bool;
    /// Somebody presses its key: it advertises as after a measurement.
    fn wake(&mut self, now: SimTime);
    /// From now on it remembers what a bonded host was subscribed to and speaks as soon as the link
    /// is encrypted, as the Core Specification asks of a bonded server (vol. 3, part G, 3.3.3.3).
    fn remember_subscriptions(&mut self);
    /// A link is there; nothing is subscribed to yet.
    fn connected(&mut self, now: SimTime, mtu: u16);
    /// The link is encrypted with the key of a bond.
    fn encrypted(&mut self, now: SimTime);
    /// The link is gone.
    fn disconnected(&mut self, now: SimTime);
    /// The host wants to hear a characteristic, or no longer.
    ///
    /// # Errors
    /// When the device refuses.
    fn subscribe(&mut self, now: SimTime, uuid: Uuid, wanted: bool) -> Result<(), AttError>;
    /// The host reads.
    ///
    /// # Errors
    /// When the device refuses.
    fn read(&mut self, now: SimTime, uuid: Uuid) -> Result<Vec<u8>, AttError>;
    /// The host writes.
    ///
    /// # Errors
    /// When the device refuses.
    fn write(&mut self, now: SimTime, uuid: Uuid, value: &[u8]) -> Result<(), AttError>;
    /// The indication that was handed out last is confirmed.
    fn confirmed(&mut self, now: SimTime);
    /// Lets time pass up to `now`; call it when [`next_due`](Self::next_due) comes.
    fn advance(&mut self, now: SimTime);
    /// When `advance` must be called again; ask after every other call.
    fn next_due(&self) -> Option<SimTime>;
    /// Hands out what the device does, until `None`. No indication comes before the one before it
    /// was confirmed.
    fn poll_output(&mut self, now: SimTime) -> Option<GattOutput>;
    /// Something went wrong with its link, by its name in the catalogue: a line of the truth.
    fn note_fault(&mut self, now: SimTime, fault: faults::AirFault, away_ms: Option<u64>);
    /// What was said since the last call.
    fn take_truth(&mut self) -> Vec<Truth>;
}

/// Names and what they are.
pub const NAMES: &[(&str, &str)] = &[
    ("ble-cuff", "blood-pressure cuff (Bluetooth LE): deletes what was confirmed"),
    ("ble-meter", "blood-glucose meter (Bluetooth LE): a memory that is read by record number"),
    ("ble-oximeter", "oximeter (Bluetooth LE): spot checks, and continuous while it is connected"),
    ("ble-thermometer", "thermometer (Bluetooth LE)"),
    ("ble-scale", "weight scale (Bluetooth LE)"),
    ("ble-strap", "heart-rate strap with ECG (Bluetooth LE): Heart Rate and Polar PMD"),
];

/// The virtual device of that name.
#[must_use]
pub fn create(name: &str, setup: Setup) -> Option<Box<dyn GattDevice>> {
    Some(match name {
        "ble-cuff" => Box::new(cuff::device(setup)),
        "ble-meter" => Box::new(meter::device(setup)),
        "ble-oximeter" => Box::new(oximeter::device(setup)),
        "ble-thermometer" => Box::new(thermometer::device(setup)),
        "ble-scale" => Box::new(scale::device(setup)),
        "ble-strap" => Box::new(strap::device(setup)),
        _ => return None,
    })
}

#[cfg(test)]
mod tests;
