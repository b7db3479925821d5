//! Numbers and times as they are written in a line.
//!
//! Not here: what they are numbers of.
//!
//! # Invariants
//! - a number never goes through a binary float: its digits stay as sent

use model::{
    decimal::{Decimal, ParseDecimalError},
    time::{DeviceTime, civil_ms},
    waveform::SamplePeriod,
};

/// The decimal number of a JSON number or of the same in quotes; JSON allows an exponent.
pub(super) fn decimal(text: &str) -> Result<Decimal, ParseDecimalError> {
    let Some((digits, exponent)) = text.split_once(['e', 'E']) else { return text.parse() };
    let digits: Decimal = digits.parse()?;
    let exponent: i8 = exponent.parse().map_err(|_| ParseDecimalError::Range)?;
    let exponent = digits.exponent().checked_add(exponent).ok_or(ParseDecimalError::Range)?;
    Decimal::new(digits.mantissa(), exponent).ok_or(ParseDecimalError::Range)
}

/// RFC 3339; without a zone it is the device's local time. Digits after the milliseconds are cut.
pub(super) fn device_time(text: &str) -> Option<DeviceTime> {
    let number = |from: usize, to: usize| {
        let digits = text.get(from..to)?;
        let all = digits.bytes().all(|byte| byte.is_ascii_digit());
        if all { digits.parse::<u32>().ok() } else { None }
    };
    let marks = [(4, "-"), (7, "-"), (13, ":"), (16, ":")];
    let between = matches!(text.get(10..11)?, "T" | "t" | " ");
    if !between || marks.iter().any(|(at, mark)| text.get(*at..at + 1) != Some(*mark)) {
        return None;
    }
    let year = i32::try_from(number(0, 4)?).ok()?;
    let date = (year, number(5, 7)?, number(8, 10)?);
    let seconds =
        civil_ms(date.0, date.1, date.2, number(11, 13)?, number(14, 16)?, number(17, 19)?)?;
    let (fraction_ms, zone) = fraction(text.get(19..)?)?;
    let civil_ms = seconds + fraction_ms;
    match zone {
        "" => Some(DeviceTime::Local { civil_ms }),
        "Z" | "z" => Some(DeviceTime::Zoned { civil_ms, offset_s: 0 }),
        zone => Some(DeviceTime::Zoned { civil_ms, offset_s: offset_s(zone)? }),
    }
}

/// Milliseconds of ".52", and what comes after it.
fn fraction(text: &str) -> Option<(i64, &str)> {
    let Some(rest) = text.strip_prefix('.') else { return Some((0, text)) };
    let len = rest.bytes().take_while(u8::is_ascii_digit).count();
    let (digits, zone) = rest.split_at_checked(len)?;
    let padded: String = digits.chars().chain("000".chars()).take(3).collect();
    if digits.is_empty() { None } else { Some((padded.parse().ok()?, zone)) }
}

/// Seconds east of UTC of "+08:00".
fn offset_s(zone: &str) -> Option<i32> {
    let (sign, digits) = match zone.split_at_checked(1)? {
        ("+", digits) => (1, digits),
        ("-", digits) => (-1, digits),
        _ => return None,
    };
    let (hours, minutes) = digits.split_once(':')?;
    let two_digits = |text: &str| {
        let digits = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse::<i32>().ok().filter(|_| digits)
    };
    match (two_digits(hours)?, two_digits(minutes)?) {
        (hours @ 0..24, minutes @ 0..60) => Some(sign * (hours * 3600 + minutes * 60)),
        _ => None,
    }
}

/// The period of so many milliseconds as an exact ratio of seconds in lowest terms.
pub(super) fn period_of_ms(ms: Decimal) -> Option<SamplePeriod> {
    let mantissa = u64::try_from(ms.mantissa()).ok()?;
    let power = 10_u64.checked_pow(ms.exponent().unsigned_abs().into())?;
    if ms.exponent() < 0 {
        period(mantissa, power.checked_mul(1000)?)
    } else {
        period(mantissa.checked_mul(power)?, 1000)
    }
}

/// The period `numerator / denominator` seconds in lowest terms.
pub(super) fn period(numerator: u64, denominator: u64) -> Option<SamplePeriod> {
    let (mut divisor, mut rest) = (denominator, numerator);
    while rest != 0 {
        (divisor, rest) = (rest, divisor % rest);
    }
    let numerator = u32::try_from(numerator.checked_div(divisor)?).ok()?;
    let denominator = u32::try_from(denominator.checked_div(divisor)?).ok()?;
    SamplePeriod::new(numerator, denominator)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn digits_stay_as_sent() {
        for text in ["72", "36.60", "-0.5", "0.10000000"] {
            assert_eq!(decimal(text).unwrap().to_string(), text);
        }
        for (text, value) in [("1e3", "1000"), ("7.2E1", "72"), ("12.5e-1", "1.25")] {
            assert_eq!(decimal(text).unwrap().to_string(), value, "{text}");
        }
        for text in ["1e10", "1e-10", "1e999", "1e", "1234567890123456", "0.1000000001"] {
            assert_eq!(decimal(text), Err(ParseDecimalError::Range), "{text}");
        }
        for text in ["", "Lo", "1,5", " 5", "0x10", "1.5.2"] {
            assert_eq!(decimal(text), Err(ParseDecimalError::Syntax), "{text}");
        }
    }

    #[track_caller]
    fn check_time(text: &str, utc_ms: Option<i64>) {
        let found = device_time(text).and_then(DeviceTime::utc).map(|time| time.unix_ms());
        assert_eq!(found, utc_ms, "{text}");
    }

    /// RFC 3339, section 5.8, and what it calls wrong.
    #[test]
    fn times_are_those_of_the_rfc() {
        check_time("1985-04-12T23:20:50.52Z", Some(482_196_050_520));
        check_time("1996-12-19T16:39:57-08:00", Some(851_042_397_000));
        check_time("2026-11-22 08:15:00.1239+08:00", Some(1_795_306_500_123));
        for wrong in [
            "1990-12-31T23:59:60Z",
            "1937-01-01T12:00:27.87+00:20",
            "2026-11-22",
            "2026-11-22T08:15",
            "2026-11-22T08:15:00.Z",
            "2026-11-22T08:15:00+0800",
            "2026-11-22T08:15:00+24:00",
            "2026-11-22T08:15:00+08:60",
            "2026-11-22T08:15:00 Z",
            "2026-02-29T08:15:00Z",
            "26-11-22T08:15:00Z",
            "+026-11-22T08:15:00Z",
            "2026-11-22T08:15:00é",
            "",
        ] {
            assert_eq!(device_time(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_time_without_a_zone_is_local() {
        let civil_ms = civil_ms(2026, 11, 22, 8, 15, 0).unwrap();
        assert_eq!(device_time("2026-11-22T08:15:00"), Some(DeviceTime::Local { civil_ms }));
    }

    #[test]
    fn a_period_is_an_exact_ratio() {
        let of_ms = |text| {
            period_of_ms(decimal(text).unwrap())
                .map(|ratio| (ratio.numerator(), ratio.denominator()))
        };
        assert_eq!(of_ms("4"), Some((1, 250)));
        assert_eq!(of_ms("2.5"), Some((1, 400)));
        assert_eq!(of_ms("3.90625"), Some((1, 256)));
        assert_eq!(of_ms("1e3"), Some((1, 1)));
        for none in ["0", "-4", "0.000000001", "999999999999999"] {
            assert_eq!(of_ms(none), None, "{none}");
        }
        assert_eq!(period(0, 0), None);
        assert_eq!(period(1, 0), None);
    }

    proptest! {
        #[test]
        fn no_text_is_a_panic(text in ".{0,40}") {
            let found = (decimal(&text).is_ok(), device_time(&text).is_some());
            prop_assert!(!(found.0 && found.1));
        }
    }
}
