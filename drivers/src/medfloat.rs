//! Medical floats: SFLOAT and FLOAT of IEEE 11073-20601, annex F.6; a decimal mantissa and exponent.
//!
//! The digits stay as sent: 1270 × 10⁻¹ is 127.0.

use model::decimal::Decimal;

/// A number, or one of the names that stand for none.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Medfloat {
    /// With the digits as sent.
    Number(Decimal),
    /// NaN: no value.
    NotANumber,
    /// NRes: no value at this resolution.
    NotAtThisResolution,
    /// + infinity: above what the device can say.
    Above,
    /// − infinity: below what the device can say.
    Below,
    /// The reserved value, a special value with an exponent (not defined), or an exponent beyond what
    /// anybody measures; as sent.
    Undefined(u32),
}

impl Medfloat {
    /// The number, if it is one.
    #[must_use]
    pub const fn number(self) -> Option<Decimal> {
        match self {
            Self::Number(number) => Some(number),
            _ => None,
        }
    }
}

/// SFLOAT: "bits 15–12 = exponent, signed 4-bit two's complement; bits 11–0 = mantissa, signed
/// 12-bit two's complement" (protocol sheet of the Blood Pressure Service, §4).
#[must_use]
pub fn sfloat(raw: u16) -> Medfloat {
    // Both signed parts are shifted down from the top, which carries their sign along.
    let exponent = i8::try_from(raw.cast_signed() >> 12).unwrap_or_default();
    let mantissa = (raw << 4).cast_signed() >> 4;
    decoded(mantissa.into(), exponent, 0x7FF, raw.into())
}

/// FLOAT: "byte 3 = signed 8-bit exponent, bytes 0–2 = signed 24-bit mantissa" (protocol sheet of
/// the Health Thermometer Service, §4).
#[must_use]
pub fn float(raw: u32) -> Medfloat {
    let [exponent, ..] = raw.to_be_bytes();
    let mantissa = (raw << 8).cast_signed() >> 8;
    decoded(mantissa, exponent.cast_signed(), 0x7F_FFFF, raw)
}

/// The five specials stand around the largest mantissa and the smallest: "NaN = 2ⁿ⁻¹−1, +INF one
/// below it, NRes = −2ⁿ⁻¹, then reserved and −INF", and "are defined with exponent 0 only".
fn decoded(mantissa: i32, exponent: i8, largest: i32, raw: u32) -> Medfloat {
    let special = match mantissa {
        _ if mantissa == largest => Medfloat::NotANumber,
        _ if mantissa == largest - 1 => Medfloat::Above,
        _ if mantissa == -largest - 1 => Medfloat::NotAtThisResolution,
        _ if mantissa == -largest => Medfloat::Undefined(raw),
        _ if mantissa == -largest + 1 => Medfloat::Below,
        _ => {
            let number = Decimal::new(mantissa.into(), exponent);
            return number.map_or(Medfloat::Undefined(raw), Medfloat::Number);
        }
    };
    if exponent == 0 { special } else { Medfloat::Undefined(raw) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn short(bytes: [u8; 2]) -> Medfloat {
        sfloat(u16::from_le_bytes(bytes))
    }

    #[track_caller]
    fn check(value: Medfloat, expected: &str) {
        assert_eq!(value.number().unwrap().to_string(), expected);
    }

    /// Protocol sheet of the Blood Pressure Service, §4: three of a real capture, two of a public
    /// program's comments, and the trap.
    #[test]
    fn short_floats_keep_their_digits() {
        check(short([0xF6, 0xF4]), "127.0");
        check(short([0x16, 0xF3]), "79.0");
        check(short([0xB2, 0xF2]), "69.0");
        check(short([0x80, 0x00]), "128");
        check(short([0xB0, 0xF0]), "17.6");
        check(short([0x78, 0x80]), "0.00000120");
        check(short([0xFF, 0xFF]), "-0.1");
        check(short([0x03, 0x78]), "-20450000000");
    }

    /// Protocol sheet of the Health Thermometer Service, §4.
    #[test]
    fn long_floats_keep_their_digits() {
        check(float(0xFF00_0170), "36.8");
        check(float(0xFE00_0E58), "36.72");
        check(float(0xFFFF_FFFF), "-0.1");
    }

    #[test]
    fn what_is_no_number_never_becomes_one() {
        for (raw, long, expected) in [
            (0x07FF, 0x007F_FFFF, Medfloat::NotANumber),
            (0x0800, 0x0080_0000, Medfloat::NotAtThisResolution),
            (0x07FE, 0x007F_FFFE, Medfloat::Above),
            (0x0802, 0x0080_0002, Medfloat::Below),
        ] {
            assert_eq!((sfloat(raw), float(long)), (expected, expected));
            // With an exponent they are not defined.
            let (with, long_with) = (raw | 0xF000, long | 0xFF00_0000);
            assert_eq!(sfloat(with), Medfloat::Undefined(with.into()));
            assert_eq!(float(long_with), Medfloat::Undefined(long_with));
        }
        assert_eq!(sfloat(0x0801), Medfloat::Undefined(0x0801));
        assert_eq!(float(0x0080_0001), Medfloat::Undefined(0x0080_0001));
        assert_eq!(float(0x7F00_0001), Medfloat::Undefined(0x7F00_0001));
    }
}
