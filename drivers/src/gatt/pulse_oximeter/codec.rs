//! Values of the Pulse Oximeter Service: bytes to meaning.
//!
//! Source: the protocol sheet of Heart Rate, Pulse Oximeter, Health Thermometer and Weight Scale, §3.

use crate::{
    gatt::fields::Fields,
    medfloat::{Medfloat, sfloat},
};
use model::reading::NoData;

/// "The flag bits mean different things in the two characteristics."
mod spec {
    pub(super) const SPOT_TIME: u8 = 1 << 0;
    pub(super) const SPOT_STATUS: u8 = 1 << 1;
    pub(super) const SPOT_DEVICE: u8 = 1 << 2;
    pub(super) const SPOT_AMPLITUDE: u8 = 1 << 3;
    pub(super) const SPOT_CLOCK_NOT_SET: u8 = 1 << 4;

    pub(super) const FAST: u8 = 1 << 0;
    pub(super) const SLOW: u8 = 1 << 1;
    pub(super) const STATUS: u8 = 1 << 2;
    pub(super) const DEVICE: u8 = 1 << 3;
    pub(super) const AMPLITUDE: u8 = 1 << 4;
}

/// Saturation in percent and pulse in beats a minute.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Pair {
    /// SpO2.
    pub saturation: Medfloat,
    /// Pulse rate.
    pub pulse: Medfloat,
}

impl Pair {
    fn take(fields: &mut Fields<'_>) -> Option<Self> {
        Some(Self { saturation: sfloat(fields.u16()?), pulse: sfloat(fields.u16()?) })
    }
}

/// A PLX Spot-Check Measurement.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SpotCheck {
    /// What was measured.
    pub pair: Pair,
    /// The oximeter's own civil time; `None` where it has none or none that exists.
    pub civil_ms: Option<i64>,
    /// The oximeter says that nobody set its clock.
    pub clock_not_set: bool,
    /// What it says of the measurement.
    pub status: MeasurementStatus,
    /// What it says of itself and its sensor.
    pub device: DeviceStatus,
    /// Pulse amplitude index in percent.
    pub amplitude: Option<Medfloat>,
}

impl SpotCheck {
    /// The measurement; `None` where it is shorter than its flags say.
    #[must_use]
    pub fn decode(value: &[u8]) -> Option<Self> {
        let mut fields = Fields(value);
        let flags = fields.u8()?;
        let has = |flag| flags & flag != 0;
        let pair = Pair::take(&mut fields)?;
        let civil_ms = fields.date_time(has(spec::SPOT_TIME))?;
        let status = if has(spec::SPOT_STATUS) { fields.u16()? } else { 0 };
        let device = if has(spec::SPOT_DEVICE) { fields.take()? } else { [0; 3] };
        let amplitude = if has(spec::SPOT_AMPLITUDE) { Some(sfloat(fields.u16()?)) } else { None };
        Some(Self {
            pair,
            civil_ms,
            clock_not_set: has(spec::SPOT_CLOCK_NOT_SET),
            status: MeasurementStatus(status),
            device: DeviceStatus::of(device),
            amplitude,
        })
    }
}

/// A PLX Continuous Measurement. The fast and slow pairs are read over.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Continuous {
    /// What was measured, "normal".
    pub pair: Pair,
    /// What it says of the measurement.
    pub status: MeasurementStatus,
    /// What it says of itself and its sensor.
    pub device: DeviceStatus,
    /// Pulse amplitude index in percent.
    pub amplitude: Option<Medfloat>,
}

impl Continuous {
    /// The measurement; `None` where it is shorter than its flags say.
    #[must_use]
    pub fn decode(value: &[u8]) -> Option<Self> {
        let mut fields = Fields(value);
        let flags = fields.u8()?;
        let has = |flag| flags & flag != 0;
        let pair = Pair::take(&mut fields)?;
        for flag in [spec::FAST, spec::SLOW] {
            if has(flag) {
                Pair::take(&mut fields)?;
            }
        }
        let status = if has(spec::STATUS) { fields.u16()? } else { 0 };
        let device = if has(spec::DEVICE) { fields.take()? } else { [0; 3] };
        let amplitude = if has(spec::AMPLITUDE) { Some(sfloat(fields.u16()?)) } else { None };
        let (status, device) = (MeasurementStatus(status), DeviceStatus::of(device));
        Some(Self { pair, status, device, amplitude })
    }
}

/// Measurement status.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct MeasurementStatus(u16);

impl MeasurementStatus {
    const fn has(self, bit: u16) -> bool {
        self.0 & 1 << bit != 0
    }

    /// Bit 13.
    #[must_use]
    pub const fn is_unavailable(self) -> bool {
        self.has(13)
    }

    /// Bit 12.
    #[must_use]
    pub const fn is_calibrating(self) -> bool {
        self.has(12)
    }

    /// Bit 15.
    #[must_use]
    pub const fn is_invalid(self) -> bool {
        self.has(15)
    }

    /// Bits 10 and 11: demo and test data.
    #[must_use]
    pub const fn is_not_of_a_patient(self) -> bool {
        self.has(10) || self.has(11)
    }

    /// Bits 6 and 14: "early estimated", "questionable".
    #[must_use]
    pub const fn is_doubted(self) -> bool {
        self.has(6) || self.has(14)
    }
}

/// Device and sensor status, 24 bits.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct DeviceStatus(u32);

impl DeviceStatus {
    /// Names of the bits, from bit 0; the first only says that there is more to see.
    const NAMES: [&str; 16] = [
        "extended_display_update",
        "equipment_malfunction",
        "processing_irregularity",
        "inadequate_signal",
        "poor_signal",
        "low_perfusion",
        "erratic_signal",
        "non_pulsatile",
        "questionable_pulse",
        "analysis_ongoing",
        "interference",
        "sensor_not_on_user",
        "unknown_sensor",
        "sensor_displaced",
        "sensor_malfunction",
        "sensor_disconnected",
    ];
    const SENSOR_OFF: u32 = 1 << 11 | 1 << 13 | 1 << 15;
    const SEARCHING: u32 = 1 << 9;
    const LOW_SIGNAL: u32 = 0b1_1111 << 3 | 1 << 10;
    const DEVICE_ERROR: u32 = 1 << 1 | 1 << 14;
    /// "Bits 3–8, 10, 12, 13 make it questionable."
    const DOUBTED: u32 = 0b11_1111 << 3 | 1 << 10 | 1 << 12 | 1 << 13;

    fn of(bytes: [u8; 3]) -> Self {
        let [low, middle, high] = bytes;
        Self(u32::from_le_bytes([low, middle, high, 0]))
    }

    const fn any(self, bits: u32) -> bool {
        self.0 & bits != 0
    }

    /// Why there is no value, where there is none.
    #[must_use]
    pub fn reason(self) -> Option<NoData> {
        match () {
            () if self.any(Self::SENSOR_OFF) => Some(NoData::SensorOff),
            () if self.any(Self::SEARCHING) => Some(NoData::Searching),
            () if self.any(Self::LOW_SIGNAL) => Some(NoData::LowSignal),
            () if self.any(Self::DEVICE_ERROR) => Some(NoData::DeviceError(self.raw())),
            () => None,
        }
    }

    /// Whether a value beside it is questionable.
    #[must_use]
    pub const fn is_doubted(self) -> bool {
        self.any(Self::DOUBTED)
    }

    /// Whether nothing is said.
    #[must_use]
    pub const fn is_good(self) -> bool {
        self.0 == 0
    }

    /// The bits in hexadecimal.
    #[must_use]
    pub fn raw(self) -> String {
        format!("{:#08x}", self.0)
    }

    /// Names of the bits that are set.
    #[must_use]
    pub fn text(self) -> String {
        let set = |bit: &usize| self.0 & 1 << bit != 0;
        let named = (0..Self::NAMES.len()).filter(set).filter_map(|bit| Self::NAMES.get(bit));
        let names: Vec<_> = named.copied().collect();
        names.join(" ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cut_is_told() {
        let spot =
            [15, 98, 0, 61, 0, 0xEA, 7, 0x0B, 0x16, 8, 0x14, 5, 0x80, 1, 0x20, 0, 0, 0x23, 0xF0];
        let continuous =
            [31, 97, 0, 72, 0, 97, 0, 72, 0, 97, 0, 72, 0, 0x20, 0, 0x20, 0, 0, 0x23, 0xF0];
        let decoded = SpotCheck::decode(&spot).unwrap();
        assert_eq!(decoded.device.text(), "low_perfusion");
        assert_eq!(Continuous::decode(&continuous).unwrap().amplitude, decoded.amplitude);
        assert!((0..spot.len()).all(|len| SpotCheck::decode(&spot[..len]).is_none()));
        assert!((0..continuous.len()).all(|len| Continuous::decode(&continuous[..len]).is_none()));
    }
}
