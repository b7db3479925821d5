//! Flags, numbers and times as the profiles write them: little-endian everywhere.

/// A medical float of 16 bits, or one of its special values (blood-pressure sheet, §4).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Sfloat {
    mantissa: i16,
    exponent: i8,
}

impl Sfloat {
    pub(super) const NAN: Self = Self::new(0x07FF, 0);
    pub(super) const PLUS_INFINITY: Self = Self::new(0x07FE, 0);
    /// `0x0802` as a signed 12-bit number.
    pub(super) const MINUS_INFINITY: Self = Self::new(-0x07FE, 0);

    /// Mantissa of 12 bits and exponent of 4, both signed.
    pub(super) const fn new(mantissa: i16, exponent: i8) -> Self {
        Self { mantissa, exponent }
    }

    /// A whole number.
    pub(super) fn whole(number: impl Into<u16>) -> Self {
        Self::new(i16::try_from(number.into()).unwrap_or(0x07FF), 0)
    }

    pub(super) fn bytes(self) -> [u8; 2] {
        let [low, high] = self.mantissa.to_le_bytes();
        let [exponent] = self.exponent.to_le_bytes();
        [low, (high & 0x0F) | (exponent << 4)]
    }

    /// As it is written, with the decimal point moved `shift` places to the right; `None` for NaN
    /// and what is no number.
    pub(super) fn text(self, shift: i8) -> Option<String> {
        let special = self.exponent == 0 && !(-0x07FD..0x07FE).contains(&self.mantissa);
        (!special).then(|| decimal(self.mantissa.into(), self.exponent.saturating_add(shift)))
    }
}

/// A medical float of 32 bits (sheet of the thermometer, §4).
pub(super) fn float32(mantissa: i32, exponent: i8) -> [u8; 4] {
    let [a, b, c, _] = mantissa.to_le_bytes();
    let [exponent] = exponent.to_le_bytes();
    [a, b, c, exponent]
}

/// NaN as a 32-bit medical float.
#[cfg(test)]
pub(super) const NAN_32: [u8; 4] = [0xFF, 0xFF, 0x7F, 0];

/// The bits of what is there.
pub(super) fn flags<const N: usize>(bits: [(u8, bool); N]) -> u8 {
    bits.into_iter().filter(|(_, is_there)| *is_there).fold(0, |all, (bit, _)| all | bit)
}

/// A decimal number as it is printed: no places are lost and none are made up.
pub(super) fn decimal(mantissa: i64, exponent: i8) -> String {
    let places = usize::from(exponent.min(0).unsigned_abs());
    let zeros = usize::try_from(exponent.max(0)).unwrap_or_default();
    let digits = format!("{:0>width$}{}", mantissa.abs(), "0".repeat(zeros), width = places + 1);
    let (whole, part) = digits.split_at(digits.len() - places);
    let sign = if mantissa < 0 { "-" } else { "" };
    let point = if part.is_empty() { "" } else { "." };
    format!("{sign}{whole}{point}{part}")
}

/// "uint16 year, uint8 month, day, hour, minute, second", blood-pressure sheet, §3.
pub(super) fn date_time(civil_ms: i64) -> [u8; 7] {
    let civil = jiff::Timestamp::from_millisecond(civil_ms).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    let civil = jiff::tz::TimeZone::UTC.to_datetime(civil);
    let [low, high] = civil.year().to_le_bytes();
    let [month, day] = [civil.month(), civil.day()].map(i8::unsigned_abs);
    let [hour, minute, second] =
        [civil.hour(), civil.minute(), civil.second()].map(i8::unsigned_abs);
    [low, high, month, day, hour, minute, second]
}

/// "Date Time 7, day of week, fractions 1/256 s, adjust reason", blood-pressure sheet, §7.
pub(super) fn current_time(civil_ms: i64, reason: u8) -> Vec<u8> {
    let civil = jiff::Timestamp::from_millisecond(civil_ms).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    let weekday = jiff::tz::TimeZone::UTC.to_datetime(civil).weekday();
    let weekday = weekday.to_monday_one_offset().unsigned_abs();
    let fractions = u8::try_from(civil_ms.rem_euclid(1000) * 256 / 1000).unwrap_or_default();
    let mut bytes = date_time(civil_ms).to_vec();
    bytes.extend([weekday, fractions, reason]);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medical_floats_are_those_of_the_sheet() {
        for (value, bytes, text) in [
            (Sfloat::new(1270, -1), [0xF6, 0xF4], Some("127.0")),
            (Sfloat::new(128, 0), [0x80, 0x00], Some("128")),
            (Sfloat::new(176, -1), [0xB0, 0xF0], Some("17.6")),
            (Sfloat::new(120, -8), [0x78, 0x80], Some("0.00000120")),
            (Sfloat::new(-1, -1), [0xFF, 0xFF], Some("-0.1")),
            (Sfloat::NAN, [0xFF, 0x07], None),
            (Sfloat::PLUS_INFINITY, [0xFE, 0x07], None),
            (Sfloat::MINUS_INFINITY, [0x02, 0x08], None),
        ] {
            assert_eq!((value.bytes(), value.text(0).as_deref()), (bytes, text));
        }
        assert_eq!(Sfloat::new(104, -5).text(5).as_deref(), Some("104"));
        assert_eq!(Sfloat::new(58, -4).text(3).as_deref(), Some("5.8"));
        assert_eq!(float32(368, -1), [0x70, 0x01, 0x00, 0xFF]);
    }

    #[test]
    fn the_clock_is_that_of_the_sheet() {
        let sunday = "2026-11-22T08:23:00Z".parse::<jiff::Timestamp>().unwrap();
        assert_eq!(
            current_time(sunday.as_millisecond(), 1 << 0),
            [0xEA, 0x07, 0x0B, 0x16, 0x08, 0x17, 0x00, 0x07, 0x00, 0x01]
        );
    }
}
