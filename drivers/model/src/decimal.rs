//! Decimal numbers as devices print them: mantissa and exponent, never a binary float.
//!
//! Not here: units (see [`crate::units`]).
//!
//! # Invariants
//! - `|mantissa| <= MANTISSA_MAX` and `-EXPONENT_MAX <= exponent <= EXPONENT_MAX`, so that every
//!   comparison and conversion fits `i128`
//! - trailing zeros are kept: "5.00" prints as "5.00"

use std::{cmp::Ordering, fmt, str::FromStr};
use thiserror::Error;

/// 15 digits: more than any device prints, and what a double in somebody's script still holds.
const MANTISSA_MAX: i64 = 999_999_999_999_999;
/// 10^±9 covers every quantity of the catalogue; the limit keeps `10^n` inside `i128`.
const EXPONENT_MAX: i8 = 9;

/// A decimal number: `mantissa × 10^exponent`.
///
/// Equality and order are by value: 5.0 equals 5.00. What is printed keeps the digits as sent.
#[derive(Clone, Copy, Debug)]
pub struct Decimal {
    mantissa: i64,
    exponent: i8,
}

/// Why a text is not a decimal number.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum ParseDecimalError {
    /// Something else than an optional sign, digits and one point.
    #[error("not a decimal number; expected digits with at most one point")]
    Syntax,
    /// More digits than a [`Decimal`] holds.
    #[error("the number has more than 15 digits or 9 decimals; send fewer digits")]
    Range,
}

impl Decimal {
    /// Zero, without decimals.
    pub const ZERO: Self = Self::fixed(0, 0);

    /// A number known when the program is built. Out of range is a build error in a `const`.
    #[must_use]
    pub const fn fixed(mantissa: i64, exponent: i8) -> Self {
        assert!(mantissa <= MANTISSA_MAX && mantissa >= -MANTISSA_MAX);
        assert!(exponent <= EXPONENT_MAX && exponent >= -EXPONENT_MAX);
        Self { mantissa, exponent }
    }

    /// `mantissa × 10^exponent`, if it is in range.
    #[must_use]
    pub fn new(mantissa: i64, exponent: i8) -> Option<Self> {
        let in_range = mantissa.unsigned_abs() <= MANTISSA_MAX.unsigned_abs()
            && exponent.unsigned_abs() <= EXPONENT_MAX.unsigned_abs();
        in_range.then_some(Self { mantissa, exponent })
    }

    /// The digits, without the point.
    #[must_use]
    pub const fn mantissa(self) -> i64 {
        self.mantissa
    }

    /// The power of ten the digits are multiplied with.
    #[must_use]
    pub const fn exponent(self) -> i8 {
        self.exponent
    }

    /// The number with `decimals` digits after the point, rounded half away from zero.
    ///
    /// This is how a value is printed *and* compared. `None` only if the result has over 15 digits.
    #[must_use]
    pub fn rounded(self, decimals: u8) -> Option<Self> {
        self.scaled(Ratio { numerator: 1, denominator: 1 }, Self::ZERO, decimals)
    }

    /// `self - other`, with as many decimals as the finer of both.
    #[must_use]
    pub fn minus(self, other: Self) -> Option<Self> {
        let exponent = self.exponent.min(other.exponent);
        let left = self.at_exponent(exponent)?.checked_sub(other.at_exponent(exponent)?)?;
        Self::new(i64::try_from(left).ok()?, exponent)
    }

    /// `self ÷ divisor`, rounded half away from zero to `decimals` digits; by zero it is nothing.
    #[must_use]
    pub fn over(self, divisor: Self, decimals: u8) -> Option<Self> {
        let numerator = divisor.mantissa.signum();
        let denominator = divisor.mantissa.checked_abs().filter(|mantissa| *mantissa > 0)?;
        let exponent = self.exponent.checked_sub(divisor.exponent)?;
        Self::new(self.mantissa, exponent)?.scaled(
            Ratio { numerator, denominator },
            Self::ZERO,
            decimals,
        )
    }

    /// `(self + offset) × ratio`, rounded half away from zero to `decimals` digits.
    #[must_use]
    pub(crate) fn scaled(self, ratio: Ratio, offset: Self, decimals: u8) -> Option<Self> {
        let wanted = -i8::try_from(decimals).ok()?;
        let finest = self.exponent.min(offset.exponent);
        let sum = self.at_exponent(finest)?.checked_add(offset.at_exponent(finest)?)?;
        let mut numerator = sum.checked_mul(i128::from(ratio.numerator))?;
        let mut denominator = i128::from(ratio.denominator);
        let shift = i32::from(finest) - i32::from(wanted);
        let power = 10_i128.checked_pow(shift.unsigned_abs())?;
        if shift >= 0 {
            numerator = numerator.checked_mul(power)?;
        } else {
            denominator = denominator.checked_mul(power)?;
        }
        let half_up = (numerator.checked_abs()?.checked_mul(2)?.checked_add(denominator)?)
            / denominator.checked_mul(2)?;
        Self::new(i64::try_from(half_up * numerator.signum()).ok()?, wanted)
    }

    /// The mantissa this number has when written with `exponent <= self.exponent`.
    fn at_exponent(self, exponent: i8) -> Option<i128> {
        let shift = i32::from(self.exponent) - i32::from(exponent);
        10_i128.checked_pow(u32::try_from(shift).ok()?)?.checked_mul(i128::from(self.mantissa))
    }
}

/// An exact factor.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ratio {
    pub(crate) numerator: i64,
    /// Above 0.
    pub(crate) denominator: i64,
}

impl From<i32> for Decimal {
    fn from(whole: i32) -> Self {
        Self { mantissa: i64::from(whole), exponent: 0 }
    }
}

impl From<u32> for Decimal {
    fn from(whole: u32) -> Self {
        Self { mantissa: i64::from(whole), exponent: 0 }
    }
}

impl Ord for Decimal {
    fn cmp(&self, other: &Self) -> Ordering {
        let finest = self.exponent.min(other.exponent);
        // 10^15 × 10^18 < 2^127: both are always there.
        self.at_exponent(finest).cmp(&other.at_exponent(finest))
    }
}

impl PartialOrd for Decimal {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Decimal {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Decimal {}

impl FromStr for Decimal {
    type Err = ParseDecimalError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (negative, digits) = match text.as_bytes() {
            [b'-', ..] => (true, text.get(1..).unwrap_or_default()),
            [b'+', ..] => (false, text.get(1..).unwrap_or_default()),
            _ => (false, text),
        };
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        let has_digit = !whole.is_empty() || !fraction.is_empty();
        if !has_digit || !whole.bytes().chain(fraction.bytes()).all(|byte| byte.is_ascii_digit()) {
            return Err(ParseDecimalError::Syntax);
        }
        let mut mantissa: i64 = 0;
        for digit in whole.bytes().chain(fraction.bytes()) {
            mantissa = mantissa
                .checked_mul(10)
                .and_then(|shifted| shifted.checked_add(i64::from(digit - b'0')))
                .ok_or(ParseDecimalError::Range)?;
        }
        let decimals = i8::try_from(fraction.len()).map_err(|_| ParseDecimalError::Range)?;
        Self::new(if negative { -mantissa } else { mantissa }, -decimals)
            .ok_or(ParseDecimalError::Range)
    }
}

impl fmt::Display for Decimal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.mantissa < 0 { "-" } else { "" };
        let digits = self.mantissa.unsigned_abs().to_string();
        if self.exponent >= 0 {
            let zeros =
                if self.mantissa == 0 { 0 } else { usize::from(self.exponent.unsigned_abs()) };
            return write!(out, "{sign}{digits}{}", "0".repeat(zeros));
        }
        let decimals = usize::from(self.exponent.unsigned_abs());
        let padded = format!("{digits:0>width$}", width = decimals + 1);
        let (whole, fraction) = padded.split_at(padded.len() - decimals);
        write!(out, "{sign}{whole}.{fraction}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn check_rounding(text: &str, decimals: u8, expected: &str) {
        let number: Decimal = text.parse().unwrap();
        assert_eq!(number.rounded(decimals).unwrap().to_string(), expected);
    }

    #[test]
    fn digits_are_printed_as_sent() {
        for text in ["5.00", "0", "-0.06", "36.5", "0.00", "1800.00", "999999999999999"] {
            assert_eq!(text.parse::<Decimal>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn rounding_is_half_away_from_zero() {
        check_rounding("89.5", 0, "90");
        check_rounding("89.4", 0, "89");
        check_rounding("-0.05", 1, "-0.1");
        check_rounding("-0.04", 1, "0.0");
        check_rounding("5", 2, "5.00");
    }

    #[test]
    fn what_is_taken_off_leaves_the_exact_rest() {
        for (from, off, rest) in
            [("50", "12.5", "37.5"), ("0.3", "0.1", "0.2"), ("5.0", "5.00", "0.00")]
        {
            let [from, off] = [from, off].map(|text| text.parse::<Decimal>().unwrap());
            assert_eq!(from.minus(off).unwrap().to_string(), rest);
        }
        let most = Decimal::fixed(MANTISSA_MAX, 0);
        assert!(most.minus(Decimal::fixed(-1, 0)).is_none());
    }

    #[test]
    fn a_quotient_is_rounded_once_from_the_exact_one() {
        for (number, by, decimals, expected) in [
            ("150.0", "5.00", 0, "30"),
            ("152.5", "5.00", 0, "31"),
            ("152.4", "5.00", 0, "30"),
            ("1", "3", 2, "0.33"),
            ("2", "-3", 2, "-0.67"),
            ("0.0", "0.01", 0, "0"),
        ] {
            let [number, by] = [number, by].map(|text| text.parse::<Decimal>().unwrap());
            assert_eq!(number.over(by, decimals).unwrap().to_string(), expected);
        }
        assert!(Decimal::fixed(1, 0).over(Decimal::fixed(0, -2), 0).is_none());
        assert!(Decimal::fixed(1, 9).over(Decimal::fixed(1, -9), 0).is_none());
    }

    #[test]
    fn what_is_not_a_number_is_refused() {
        for text in ["", ".", "-", "1.2.3", "1e3", " 1", "_NV", "NaN", "½"] {
            assert_eq!(text.parse::<Decimal>(), Err(ParseDecimalError::Syntax), "{text}");
        }
        for text in ["1234567890123456", "0.0000000001", "99999999999999999999"] {
            assert_eq!(text.parse::<Decimal>(), Err(ParseDecimalError::Range), "{text}");
        }
    }

    #[test]
    fn equal_numbers_are_equal_however_they_are_written() {
        assert_eq!(Decimal::fixed(50, -1), Decimal::fixed(5, 0));
        assert!(Decimal::fixed(-5, 9) < Decimal::fixed(1, -9));
    }

    proptest! {
        #[test]
        fn what_is_printed_is_parsed_again(mantissa in -MANTISSA_MAX..MANTISSA_MAX, exponent in -9i8..=0) {
            let number = Decimal::fixed(mantissa, exponent);
            let again: Decimal = number.to_string().parse().unwrap();
            prop_assert_eq!((again.mantissa, again.exponent), (mantissa, exponent));
        }

        #[test]
        fn rounding_moves_a_number_by_at_most_half_a_step(mantissa in -10_000_000i64..10_000_000, exponent in -6i8..=0) {
            let number = Decimal::fixed(mantissa, exponent);
            let rounded = number.rounded(2).unwrap();
            let distance = (i128::from(mantissa) * 10_i128.pow((exponent + 6).unsigned_abs().into()) - i128::from(rounded.mantissa) * 10_000).abs();
            prop_assert!(distance <= 5_000);
        }
    }
}
