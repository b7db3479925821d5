//! Values of the Blood Pressure Service: bytes to meaning.
//!
//! Source: the protocol sheet of the Blood Pressure Service, §3 and §4.

use crate::{
    gatt::fields::Fields,
    medfloat::{Medfloat, sfloat},
};
use thiserror::Error;

/// Numbers of the sheet, §3.
mod spec {
    pub(super) const KILOPASCAL: u8 = 1 << 0;
    pub(super) const TIME: u8 = 1 << 1;
    pub(super) const PULSE: u8 = 1 << 2;
    pub(super) const USER: u8 = 1 << 3;
    pub(super) const STATUS: u8 = 1 << 4;
    /// "0xFF = unknown user".
    pub(super) const UNKNOWN_USER: u8 = 0xFF;
}

/// A Blood Pressure Measurement (0x2A35).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Measurement {
    /// Whether the pressures are in kPa; else in mmHg.
    pub kilopascal: bool,
    /// Systolic, diastolic, mean.
    pub pressures: [Medfloat; 3],
    /// The cuff's own civil time; `None` where it has none or none that exists.
    pub civil_ms: Option<i64>,
    /// Beats a minute, where the field is there.
    pub pulse: Option<Medfloat>,
    /// Which of the cuff's users, where it knows.
    pub user: Option<u8>,
    /// Status bits, where the field is there.
    pub status: Option<Status>,
}

/// Why a value is no measurement.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum MeasurementError {
    /// Fewer bytes than its own flags ask for.
    #[error("a measurement of {len} byte(s) breaks off; it is skipped")]
    Short {
        /// Length of the whole value.
        len: usize,
    },
}

impl Measurement {
    /// The measurement, and how many bytes stand behind it ("accept, ignore the tail", §8.1).
    ///
    /// # Errors
    /// When it is shorter than its flags say.
    pub fn decode(value: &[u8]) -> Result<(Self, usize), MeasurementError> {
        let mut fields = Fields(value);
        let decoded =
            Self::take(&mut fields).ok_or(MeasurementError::Short { len: value.len() })?;
        Ok((decoded, fields.0.len()))
    }

    fn take(fields: &mut Fields<'_>) -> Option<Self> {
        let flags = fields.u8()?;
        let has = |flag| flags & flag != 0;
        let mut numbers = [Medfloat::NotANumber; 3];
        for number in &mut numbers {
            *number = sfloat(fields.u16()?);
        }
        let civil_ms = fields.date_time(has(spec::TIME))?;
        let pulse = if has(spec::PULSE) { Some(sfloat(fields.u16()?)) } else { None };
        let user = if has(spec::USER) { Some(fields.u8()?) } else { None };
        let status = if has(spec::STATUS) { Some(Status(fields.u16()?)) } else { None };
        Some(Self {
            kilopascal: has(spec::KILOPASCAL),
            pressures: numbers,
            civil_ms,
            pulse,
            user: user.filter(|user| *user != spec::UNKNOWN_USER),
            status,
        })
    }
}

/// Measurement status; bits 6 to 15 are reserved and ignored.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Status(u16);

/// The pulse, against limits of the cuff.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum PulseRange {
    /// Above the upper limit.
    Above,
    /// Below the lower limit.
    Below,
}

impl Status {
    /// "Body moved during measurement."
    #[must_use]
    pub const fn body_moved(self) -> bool {
        self.0 & 1 != 0
    }

    /// "Cuff too loose."
    #[must_use]
    pub const fn cuff_loose(self) -> bool {
        self.0 & 1 << 1 != 0
    }

    /// "Irregular pulse."
    #[must_use]
    pub const fn irregular_pulse(self) -> bool {
        self.0 & 1 << 2 != 0
    }

    /// "0 in range, 1 above upper limit, 2 below lower limit, 3 reserved."
    #[must_use]
    pub const fn pulse_range(self) -> Option<PulseRange> {
        match self.0 >> 3 & 3 {
            1 => Some(PulseRange::Above),
            2 => Some(PulseRange::Below),
            _ => None,
        }
    }

    /// "Improper measurement position."
    #[must_use]
    pub const fn wrong_position(self) -> bool {
        self.0 & 1 << 5 != 0
    }
}

/// Blood Pressure Feature (0x2A49): "a status bit is meaningful only if the matching feature bit is
/// set".
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Feature(u16);

impl Feature {
    /// The first two bytes of the value.
    #[must_use]
    pub fn decode(value: &[u8]) -> Option<Self> {
        value.first_chunk().map(|bytes| Self(u16::from_le_bytes(*bytes)))
    }

    /// Bit 0.
    #[must_use]
    pub const fn detects_movement(self) -> bool {
        self.0 & 1 != 0
    }

    /// Bit 1.
    #[must_use]
    pub const fn detects_fit(self) -> bool {
        self.0 & 1 << 1 != 0
    }

    /// Bit 2.
    #[must_use]
    pub const fn detects_irregular_pulse(self) -> bool {
        self.0 & 1 << 2 != 0
    }

    /// Bit 3.
    #[must_use]
    pub const fn detects_pulse_range(self) -> bool {
        self.0 & 1 << 3 != 0
    }

    /// Bit 4.
    #[must_use]
    pub const fn detects_position(self) -> bool {
        self.0 & 1 << 4 != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::{collection::vec, prelude::*};

    #[test]
    fn every_cut_is_told() {
        // The longest of the sheet's examples, §6.
        let whole =
            [0x1E, 0x8A, 0, 0x56, 0, 0x67, 0, 0xEA, 7, 0x0B, 0x16, 8, 0x0F, 0x1E, 0x48, 0, 1, 4, 0];
        assert_eq!(Measurement::decode(&whole).unwrap().1, 0);
        for len in 0..whole.len() {
            let expected = Err(MeasurementError::Short { len });
            assert_eq!(Measurement::decode(&whole[..len]), expected);
        }
        assert_eq!(Measurement::decode(&[&whole[..], &[7, 7]].concat()).unwrap().1, 2);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(value in vec(any::<u8>(), 0..30)) {
            if let Ok((measured, tail)) = Measurement::decode(&value) {
                prop_assert!(value.len() >= 7 + tail);
                prop_assert!(measured.user != Some(0xFF));
            }
        }
    }
}
