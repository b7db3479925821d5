//! Bluetooth LE devices: events in, outputs out; services and characteristics as data.
//!
//! A driver does not know whose stack it runs on. It is told what a device says and what became of
//! its requests; it never sees handles, paths or addresses.

pub mod blood_pressure;
pub mod date_time;
mod fields;
pub mod glucose;
pub mod heart_rate;
pub mod polar_ecg;
pub mod pulse_oximeter;
pub mod racp;
pub mod services;
mod stream;
pub mod thermometer;
mod visit;
pub mod weight_scale;

pub use crate::output::{CURSOR_LEN_MAX, Cursor, LinkNote};

use crate::output::Output;
use model::time::{MonoTime, Now};
use std::{fmt, str::FromStr};

/// A UUID of the Bluetooth SIG or of a vendor.
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Uuid(u128);

impl Uuid {
    /// "0000xxxx-0000-1000-8000-00805F9B34FB": the Bluetooth Base UUID (Core Specification, vol. 3,
    /// part B, §2.5.1).
    const BASE: u128 = 0x0000_0000_0000_1000_8000_0080_5F9B_34FB;

    /// The long form of a 16-bit UUID that the Bluetooth SIG assigned.
    #[must_use]
    pub const fn sig(short: u16) -> Self {
        // Lint: `From` is not const; widening.
        #[expect(clippy::as_conversions, reason = "a u16 fits, and `From` is not const")]
        Self(Self::BASE | (short as u128) << 96)
    }

    /// A vendor's UUID.
    #[must_use]
    pub const fn vendor(uuid: u128) -> Self {
        Self(uuid)
    }
}

impl fmt::Display for Uuid {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(uuid) = self;
        let part = |shift: u32| uuid >> shift & 0xFFFF;
        let (first, last) = (uuid >> 96, uuid & 0xFFFF_FFFF_FFFF);
        write!(out, "{first:08x}-{:04x}-{:04x}-{:04x}-{last:012x}", part(80), part(64), part(48))
    }
}

impl fmt::Debug for Uuid {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

/// Not 32 hexadecimal digits in five groups.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("not a UUID; expected 8-4-4-4-12 hexadecimal digits")]
pub struct ParseUuidError;

impl FromStr for Uuid {
    type Err = ParseUuidError;
    fn from_str(text: &str) -> Result<Self, ParseUuidError> {
        let lens = text.split('-').map(str::len);
        let digits: String = text.chars().filter(|letter| *letter != '-').collect();
        let is_hex = digits.chars().all(|letter| letter.is_ascii_hexdigit());
        if !lens.eq([8, 4, 4, 4, 12]) || !is_hex {
            return Err(ParseUuidError);
        }
        u128::from_str_radix(&digits, 16).map(Self).map_err(|_| ParseUuidError)
    }
}

/// A characteristic, by its service and its own UUID: one UUID may stand in several services.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Characteristic {
    /// The service it is in.
    pub service: Uuid,
    /// Its own UUID.
    pub uuid: Uuid,
}

impl Characteristic {
    /// A characteristic of the Bluetooth SIG, by the short forms.
    #[must_use]
    pub const fn sig(service: u16, uuid: u16) -> Self {
        Self { service: Uuid::sig(service), uuid: Uuid::sig(uuid) }
    }
}

/// What happened to the device's link.
#[derive(Clone, Copy, Debug)]
pub enum GattEvent<'a> {
    /// The device is connected, its services are known: these characteristics are there.
    Connected(&'a [Characteristic]),
    /// A notification or an indication. It may come before `Connected`: a bonded device says what
    /// it has as soon as the link is there, and the stack confirms it by itself.
    Received(Characteristic, &'a [u8]),
    /// What became of the oldest request that was not answered yet. Of a write or a subscription
    /// that went well the value is empty.
    Answered(&'a Request, Result<&'a [u8], &'a Refusal>),
    /// The time asked for by [`GattDriver::next_timeout`] has come.
    TimedOut,
    /// We are about to end the connection: what the device must be told before.
    Leaving,
    /// The link is gone, with all requests that were not answered.
    Disconnected,
}

/// What may be asked of the link; one after the other, each answered.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Request {
    /// Read the value.
    Read(Characteristic),
    /// Write the value, with response.
    Write(Characteristic, Vec<u8>),
    /// Enable notifications or indications, whichever the characteristic has.
    Subscribe(Characteristic),
    /// End the connection. What is still under way to us is taken first.
    Disconnect,
}

/// Why a request was refused.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Refusal {
    /// The device wants a bond, or another one than there is (ATT errors 0x05, 0x08, 0x0F).
    #[error(
        "the device wants to be paired; run `clinic-agent devices pair` with its address, beside it"
    )]
    NotPaired,
    /// An ATT error of the device's own (0x80 to 0xFF).
    #[error("the device refuses with ATT error {0:#04x}")]
    Att(u8),
    /// Something else, in the stack's words.
    #[error("the Bluetooth stack refuses: {0}")]
    Other(String),
}

/// What a GATT driver wants done.
pub type GattOutput = Output<Request>;

/// A Bluetooth LE device, as a state machine. No stack, no clock, no task inside.
pub trait GattDriver: Send {
    /// Takes in what happened. Never blocks, never fails, never panics on device bytes.
    ///
    /// Afterwards: drain [`poll_output`](Self::poll_output), then ask
    /// [`next_timeout`](Self::next_timeout) again. `Disconnected` resets the driver to the state
    /// after its construction, with the newest cursor it remembered.
    fn handle(&mut self, now: Now, event: GattEvent<'_>);

    /// Hands out what to do, until `None`.
    fn poll_output(&mut self) -> Option<GattOutput>;

    /// When to call `handle` with `TimedOut`, if nothing else happens first.
    fn next_timeout(&self) -> Option<MonoTime>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uuid_reads_back() {
        let pressure = Uuid::sig(0x2A35);
        assert_eq!(pressure.to_string(), "00002a35-0000-1000-8000-00805f9b34fb");
        assert_eq!("00002A35-0000-1000-8000-00805F9B34FB".parse(), Ok(pressure));
        for text in [
            "2a35",
            "",
            "00002a35-0000-1000-8000-00805f9b34f",
            "+0002a35-0000-1000-8000-00805f9b34fb",
        ] {
            assert_eq!(text.parse::<Uuid>(), Err(ParseUuidError), "{text}");
        }
    }
}
