//! Serial devices: events in, outputs out; port settings as data.

pub mod asena;
pub mod bcc;
pub mod hbp9030;
pub mod intellivue;
pub mod json_lines;
pub mod pm6750;
pub mod td42xx;
pub mod tm2655;
pub mod ultraeasy;

pub use crate::output::{CURSOR_LEN_MAX, Cursor, LinkNote};

use crate::output::Output;
use model::time::{MonoTime, Now};
use std::fmt;

/// What happened to the serial port.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SerialEvent<'a> {
    /// The port was opened; the device may have been there all along.
    Opened,
    /// Bytes came in, cut anywhere.
    Received(&'a [u8]),
    /// The time asked for by [`SerialDriver::next_timeout`] has come.
    TimedOut,
    /// Everything emitted so far is on disk (a driver may now acknowledge to its device).
    Committed,
    /// The port is gone.
    Closed,
}

/// What a serial driver wants done; it may send bytes.
pub type SerialOutput = Output<Vec<u8>>;

/// Parity of the port.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Parity {
    /// No parity bit.
    None,
    /// Even.
    Even,
    /// Odd.
    Odd,
}

/// Port settings as data. All our devices use 8 data bits unless they say otherwise.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct PortSettings {
    /// Bits a second.
    pub baud: u32,
    /// 7 or 8.
    pub data_bits: u8,
    /// Parity bit.
    pub parity: Parity,
    /// 1 or 2.
    pub stop_bits: u8,
}

impl PortSettings {
    /// 8 data bits, no parity, 1 stop bit.
    #[must_use]
    pub const fn eight_n_one(baud: u32) -> Self {
        Self { baud, data_bits: 8, parity: Parity::None, stop_bits: 1 }
    }
}

/// As people write it: `9600 8N1`.
impl fmt::Display for PortSettings {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { baud, data_bits, parity, stop_bits } = self;
        let parity = match parity {
            Parity::None => 'N',
            Parity::Even => 'E',
            Parity::Odd => 'O',
        };
        write!(out, "{baud} {data_bits}{parity}{stop_bits}")
    }
}

/// A serial device, as a state machine. No port, no clock, no task inside.
pub trait SerialDriver: Send {
    /// Takes in what happened. Never blocks, never fails, never panics on device bytes.
    ///
    /// Afterwards: drain [`poll_output`](Self::poll_output), then ask
    /// [`next_timeout`](Self::next_timeout) again. `Closed` resets the driver to the state after
    /// its construction, with the newest cursor it remembered.
    fn handle(&mut self, now: Now, event: SerialEvent<'_>);

    /// Hands out what to do, until `None`.
    fn poll_output(&mut self) -> Option<SerialOutput>;

    /// When to call `handle` with `TimedOut`, if nothing else happens first.
    fn next_timeout(&self) -> Option<MonoTime>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_shown_as_people_write_them() {
        assert_eq!(PortSettings::eight_n_one(9600).to_string(), "9600 8N1");
        let even = PortSettings { data_bits: 7, parity: Parity::Even, stop_bits: 2, baud: 1200 };
        assert_eq!(even.to_string(), "1200 7E2");
    }
}
