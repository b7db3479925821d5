//! Virtual devices, written from the protocol sheets alone: the oracle of every test.
//!
//! Not here: any driver (the oracle must not share its mistakes), ptys, clocks.
//!
//! - [`serial`]: one encoder per device, its own constants, its own reading of the manual
//! - [`gatt`]: one peripheral per Bluetooth LE device, likewise
//! - [`scenario`]: what happens to the patient
//! - [`patient`]: what all devices of a bed measure together
//! - [`ecg`]: where an ECG comes from
//! - [`faults`]: what goes wrong on the way to the host, and [`cable`]: where
//! - `temper`: how rude a device is
//! - [`truth`]: what a device put on its wire, for the comparison
//!
//! # Invariants
//! - same seed, same scenario, same requests: same bytes
//! - only what was put on the wire becomes truth
//! - a command that no driver may send is recognised, recorded, and not obeyed

#[cfg(test)]
mod bed;
pub mod cable;
pub mod ecg;
pub mod faults;
pub mod gatt;
pub mod patient;
pub mod scenario;
pub mod serial;
mod temper;
pub mod truth;
#[cfg(test)]
mod vectors;

pub use cable::Cable;
pub use ecg::EcgSource;
pub use faults::{Fault, FaultPlan};
pub use patient::Patient;
pub use scenario::Scenario;
pub use truth::Truth;

/// Microseconds since the stage started.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub struct SimTime(pub u64);

impl SimTime {
    /// That many milliseconds after the start.
    #[must_use]
    pub const fn from_millis(ms: u64) -> Self {
        Self(ms * 1000)
    }

    /// Milliseconds since the start.
    #[must_use]
    pub const fn millis(self) -> u64 {
        self.0 / 1000
    }

    /// That much later.
    #[must_use]
    pub const fn plus_millis(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms * 1000))
    }
}

/// The wall clock at the start, and the zone of the device's own clock.
#[derive(Clone, Copy, Debug)]
pub struct StageClock {
    /// Milliseconds since 1970, UTC, at [`SimTime`] 0.
    pub wall_start_ms: i64,
    /// Seconds east of UTC of the device's own clock.
    pub utc_offset_s: i32,
}

impl StageClock {
    /// Milliseconds since 1970, UTC.
    #[must_use]
    pub fn wall_ms(&self, now: SimTime) -> i64 {
        self.wall_start_ms.saturating_add(i64::try_from(now.millis()).unwrap_or(i64::MAX))
    }

    /// The device's own civil time, in milliseconds counted as if it were UTC.
    #[must_use]
    pub fn civil_ms(&self, now: SimTime) -> i64 {
        self.wall_ms(now).saturating_add(i64::from(self.utc_offset_s) * 1000)
    }
}

/// A device on a serial line.
pub trait VirtualDevice: Send {
    /// Bytes the host wrote.
    fn receive(&mut self, now: SimTime, bytes: &[u8]);
    /// Lets time pass up to `now`; call it when [`next_due`](Self::next_due) comes.
    fn advance(&mut self, now: SimTime);
    /// When `advance` must be called again.
    fn next_due(&self) -> Option<SimTime>;
    /// Bytes for the host, in order.
    fn take_output(&mut self) -> Vec<u8>;
    /// What was said since the last call.
    fn take_truth(&mut self) -> Vec<Truth>;
    /// The device is switched off: what was begun is truth as far as it was sent.
    fn switch_off(&mut self, now: SimTime);
    /// Its own clock jumps. Whether it has one that tells the time with what it measured.
    fn jump_clock(&mut self, _: SimTime, _: ClockJump) -> bool {
        false
    }
    /// Whether the cable to the host is out.
    fn is_unplugged(&self) -> bool {
        false
    }
}

/// What happens to a device's own clock.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ClockJump {
    /// Somebody set it wrong, or right again.
    By {
        /// Forwards, or backwards below 0.
        minutes: i64,
    },
    /// Its battery was empty: it begins in 2000.
    To2000,
}

/// What makes one virtual device.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Its id in the truth, as in `agent.toml`.
    pub device: String,
    /// From which all that is its own follows; the patient has another one.
    pub seed: u64,
    /// Clocks of the stage.
    pub clock: StageClock,
    /// Whom it measures; all devices of a bed have the same.
    pub patient: Patient,
}

/// Names and what they are.
pub const NAMES: &[(&str, &str)] = &[
    ("intellivue", "bedside monitor: Philips IntelliVue, data export on its MIB/RS-232 socket"),
    ("pm6750", "ECG monitor: Berry PM6750 family, seven leads, SpO2, cuff, temperature"),
    ("json-lines", "home-made source: one JSON object a line, acknowledged or not"),
    ("asena", "infusion pump: Alaris / Asena syringe pump on RS-232"),
    ("bcc", "infusion pumps in a station: B. Braun Space, BCC protocol"),
    ("tm2655", "blood-pressure kiosk: A&D TM-2655, RB format"),
    ("hbp9030", "blood-pressure kiosk: Omron HBP-9030, USB output format 5"),
    ("td42xx", "blood-glucose meter or cuff: TaiDoc TD-42xx family"),
    ("ultraeasy", "blood-glucose meter: LifeScan OneTouch UltraEasy"),
];

/// The virtual device of that name.
#[must_use]
pub fn create(name: &str, setup: Setup) -> Option<Box<dyn VirtualDevice>> {
    Some(match name {
        "intellivue" => Box::new(serial::intellivue::Monitor::new(setup)),
        "pm6750" => Box::new(serial::pm6750::Monitor::new(setup)),
        "asena" => Box::new(serial::asena::Link::new(setup)),
        "json-lines" => Box::new(serial::json_lines::Source::new(setup)),
        "bcc" => Box::new(serial::bcc::Station::new(setup)),
        "tm2655" => Box::new(serial::tm2655::Kiosk::new(setup)),
        "hbp9030" => Box::new(serial::hbp9030::Kiosk::new(setup)),
        "td42xx" => Box::new(serial::td42xx::Meter::new(setup)),
        "ultraeasy" => Box::new(serial::ultraeasy::Meter::new(setup)),
        _ => return None,
    })
}
