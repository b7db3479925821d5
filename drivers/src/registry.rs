//! The driver's name in `agent.toml` → the driver.

use crate::serial::{Cursor, PortSettings, SerialDriver, pm6750::Pm6750};
use model::{decimal::Decimal, device::DeviceKind, id::DeviceId};
use std::time::Duration;

/// Every serial driver.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum DriverName {
    /// Berry PM6750 family, patient monitor module.
    Pm6750,
    /// B. Braun Space, infusion pumps.
    Bcc,
    /// A&D TM-2655 family, blood-pressure kiosk.
    Tm2655,
    /// LifeScan OneTouch UltraEasy, blood-glucose meter.
    Ultraeasy,
}

/// What a person may set for a driver.
#[derive(Clone, Debug, Default)]
pub struct DriverOptions {
    /// `pm6750`: counts per millivolt at gain ×1, measured on that unit with a 1 mV source.
    pub counts_per_mv: Option<Decimal>,
    /// `bcc`, `tm2655`, `ultraeasy`: how often the device is asked.
    pub poll_interval: Option<Duration>,
}

impl DriverName {
    /// Every driver, in the order in which they are listed.
    pub const ALL: [Self; 4] = [Self::Pm6750, Self::Bcc, Self::Tm2655, Self::Ultraeasy];

    /// The name in `agent.toml`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pm6750 => "pm6750",
            Self::Bcc => "bcc",
            Self::Tm2655 => "tm2655",
            Self::Ultraeasy => "ultraeasy",
        }
    }

    /// The driver of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|driver| driver.name() == name)
    }

    /// What kind of device it reads.
    #[must_use]
    pub const fn kind(self) -> DeviceKind {
        match self {
            Self::Pm6750 => DeviceKind::Monitor,
            Self::Bcc => DeviceKind::Pump,
            Self::Tm2655 => DeviceKind::Cuff,
            Self::Ultraeasy => DeviceKind::GlucoseMeter,
        }
    }

    /// Port settings of the device as it leaves the factory.
    #[must_use]
    pub const fn port_settings(self) -> PortSettings {
        PortSettings::eight_n_one(match self {
            Self::Pm6750 => 115_200,
            Self::Bcc | Self::Ultraeasy => 9600,
            Self::Tm2655 => 2400,
        })
    }

    /// Whether the driver has that option.
    #[must_use]
    pub fn takes(self, option: &str) -> bool {
        match self {
            Self::Pm6750 => option == "counts_per_mv",
            Self::Bcc | Self::Tm2655 | Self::Ultraeasy => option == "poll_interval_s",
        }
    }
}

/// A driver for one device, with what it remembered.
#[must_use]
pub fn create(
    name: DriverName,
    device: DeviceId,
    options: &DriverOptions,
    cursor: Option<Cursor>,
) -> Box<dyn SerialDriver> {
    match name {
        _ => Box::new(Pm6750::new(device, options.counts_per_mv, cursor)),
    }
}
