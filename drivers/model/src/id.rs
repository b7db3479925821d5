//! Names and numbers of sites, devices, outboxes, lanes and envelopes.

use serde::{Deserialize, Serialize};
use std::fmt;
use thiserror::Error;

/// `{site}` stands in topics and file names.
const SITE_LEN_MAX: usize = 32;
/// The service's own name.
const COUNTY: &str = "county";
/// A link's id and a pump's serial number fit.
const DEVICE_LEN_MAX: usize = 64;
/// The longest serial number of any sheet has 16 characters; the end of a longer one is cut off.
const SERIAL_LEN_MAX: usize = 32;
const _: () = assert!(SERIAL_LEN_MAX + 1 < DEVICE_LEN_MAX);
/// `t1`, `t2`, a lead, a slot.
const CHANNEL_LEN_MAX: usize = 16;

/// Why a name was refused.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum NameError {
    /// Not a site name.
    #[error("\"{0}\" is not a site name; use 1 to 32 of a-z, 0-9 and -, and not \"county\"")]
    Site(String),
    /// Not a device id.
    #[error("\"{0}\" is not a device id; use 1 to 64 of a-z, A-Z, 0-9, '.', '_' and '-'")]
    Device(String),
}

/// One box with one certificate: the certificate's common name and the MQTT client id.
#[derive(Clone, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct SiteId(String);

impl SiteId {
    /// 1 to 32 of `a-z`, `0-9`, `-`; `county` is the service's own name.
    ///
    /// # Errors
    /// [`NameError::Site`] says what is allowed.
    pub fn new(name: &str) -> Result<Self, NameError> {
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let good =
            (1..=SITE_LEN_MAX).contains(&name.len()) && name.bytes().all(allowed) && name != COUNTY;
        if good { Ok(Self(name.to_owned())) } else { Err(NameError::Site(name.to_owned())) }
    }

    /// The county itself, where an alert is about its own service: no box has this name.
    #[must_use]
    pub fn county() -> Self {
        Self(COUNTY.to_owned())
    }

    /// A name that was stored here: of a box, or of the county.
    ///
    /// # Errors
    /// [`NameError::Site`] says what is allowed.
    pub fn stored(name: &str) -> Result<Self, NameError> {
        if name == COUNTY { Ok(Self::county()) } else { Self::new(name) }
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// One physical instrument, unique within its site.
#[derive(Clone, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct DeviceId(String);

impl DeviceId {
    /// 1 to 64 of letters, digits, `.`, `_`, `-`.
    ///
    /// # Errors
    /// [`NameError::Device`] says what is allowed.
    pub fn new(name: &str) -> Result<Self, NameError> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        let good = (1..=DEVICE_LEN_MAX).contains(&name.len()) && name.bytes().all(allowed);
        if good { Ok(Self(name.to_owned())) } else { Err(NameError::Device(name.to_owned())) }
    }

    /// The id of a device behind this link, told apart by its serial number; characters that an id
    /// may not have are left out. Of a long link id the end is left out, never one of the serial
    /// number: two devices must not become one.
    #[must_use]
    pub fn behind(&self, serial: &str) -> Self {
        let serial = serial.chars().filter(char::is_ascii_alphanumeric).take(SERIAL_LEN_MAX);
        let serial: String = serial.collect();
        let link = self.0.chars().take(DEVICE_LEN_MAX - 1 - serial.len());
        Self(link.chain(['-']).chain(serial.chars()).collect())
    }

    /// The id.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

macro_rules! name_text {
    ($name:ident, $read:ident) => {
        impl fmt::Display for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str(&self.0)
            }
        }
        impl TryFrom<String> for $name {
            type Error = NameError;
            fn try_from(name: String) -> Result<Self, NameError> {
                Self::$read(&name)
            }
        }
        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0
            }
        }
    };
}
name_text!(SiteId, stored);
name_text!(DeviceId, new);

/// An edge box has the name of its site: what a site's name may be, a device's may be too.
impl From<&SiteId> for DeviceId {
    fn from(site: &SiteId) -> Self {
        Self(site.0.clone())
    }
}

/// Which of several like sources inside one device (`t1`, `t2`); mostly empty.
#[derive(Clone, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Channel(String);

impl Channel {
    /// Up to 16 printable ASCII characters; empty where the device has only one.
    #[must_use]
    pub fn new(name: &str) -> Option<Self> {
        let good =
            name.len() <= CHANNEL_LEN_MAX && name.bytes().all(|byte| byte.is_ascii_graphic());
        good.then(|| Self(name.to_owned()))
    }

    /// The name; empty where the device has only one.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Identity of one outbox file: a new file starts a new numbering.
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct OutboxId([u8; 16]);

impl OutboxId {
    /// An outbox so damaged that not even its id can be read.
    pub const UNREADABLE: Self = Self([0; 16]);

    /// From 16 random bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The 16 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// From the 32 hex digits that `Display` prints.
    #[must_use]
    pub fn from_hex(text: &str) -> Option<Self> {
        if text.len() != 32 || !text.is_ascii() {
            return None;
        }
        let mut bytes = [0; 16];
        for (byte, index) in bytes.iter_mut().zip((0..).step_by(2)) {
            *byte = u8::from_str_radix(text.get(index..index + 2)?, 16).ok()?;
        }
        Some(Self(bytes))
    }
}

impl fmt::Display for OutboxId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(out, "{byte:02x}"))
    }
}

impl fmt::Debug for OutboxId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

/// One of the outbox's three queues; each has its own seq.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Lane {
    /// Device alarms, spot readings, edge alerts, status, drop records.
    Urgent,
    /// Stream readings.
    Trend,
    /// Waveform blocks.
    Wave,
}

impl Lane {
    /// All lanes, most urgent first.
    pub const ALL: [Self; 3] = [Self::Urgent, Self::Trend, Self::Wave];

    /// The lane's name in topics, in the database and in the API.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Urgent => "urgent",
            Self::Trend => "trend",
            Self::Wave => "wave",
        }
    }

    /// What is this lane's of three things in the order of [`Lane::ALL`].
    #[must_use]
    pub const fn of<T>(self, [urgent, trend, wave]: &[T; 3]) -> &T {
        match self {
            Self::Urgent => urgent,
            Self::Trend => trend,
            Self::Wave => wave,
        }
    }

    /// The same, to change it.
    #[must_use]
    pub const fn of_mut<T>(self, [urgent, trend, wave]: &mut [T; 3]) -> &mut T {
        match self {
            Self::Urgent => urgent,
            Self::Trend => trend,
            Self::Wave => wave,
        }
    }

    /// The lane of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|lane| lane.name() == name)
    }
}

impl fmt::Display for Lane {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}

/// An envelope's number in its lane of one outbox: from 1, no gaps, no reuse.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Seq(u64);

impl Seq {
    /// The first number of a lane.
    pub const FIRST: Self = Self(1);
    /// SQLite integers are signed; 2^63 envelopes last for ever.
    const MAX: u64 = (1 << 63) - 1;

    /// A number from 1 to 2^63 - 2, so that whatever the wire says has a number after it.
    #[must_use]
    pub fn new(number: u64) -> Option<Self> {
        (1..Self::MAX).contains(&number).then_some(Self(number))
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The number after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        assert!(self.0 < Self::MAX);
        Self(self.0 + 1)
    }
}

impl fmt::Display for Seq {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_things_are_in_the_order_of_the_lanes() {
        let mut three = Lane::ALL;
        for lane in Lane::ALL {
            assert_eq!((*lane.of(&three), *lane.of_mut(&mut three)), (lane, lane));
        }
    }

    #[test]
    fn a_site_name_fits_a_topic() {
        assert!(SiteId::new("heping-01").is_ok());
        for bad in ["", "county", "Heping", "a/b", "a+b", "#", "a234567890123456789012345678901234"]
        {
            assert!(SiteId::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_pump_behind_a_station_has_its_serial_number_in_its_id() {
        let link = DeviceId::new("station-1").unwrap();
        assert_eq!(link.behind("40864").as_str(), "station-1-40864");
        assert!(DeviceId::new(link.behind("4 0/8é64").as_str()).is_ok());
    }

    #[test]
    fn two_devices_behind_a_link_with_a_long_id_stay_two() {
        let link = DeviceId::new(&"x".repeat(DEVICE_LEN_MAX)).unwrap();
        let pump = link.behind("40864");
        assert!(pump.as_str().ends_with("x-40864") && DeviceId::new(pump.as_str()).is_ok());
        assert_ne!(pump, link.behind("40865"));
        assert!(DeviceId::new(link.behind(&"9".repeat(200)).as_str()).is_ok());
    }

    #[test]
    fn an_outbox_id_reads_back_what_it_prints() {
        let id = OutboxId::from_bytes(*b"0123456789abcdef");
        assert_eq!(OutboxId::from_hex(&id.to_string()), Some(id));
        assert_eq!(OutboxId::from_hex("xyz"), None);
        assert_eq!(OutboxId::from_hex(&"é".repeat(16)), None);
    }
}
