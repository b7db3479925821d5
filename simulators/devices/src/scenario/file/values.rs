//! Times and numbers as they are written, into whole seconds and whole hundredths.

use serde::{Deserialize, Deserializer, de};
use std::fmt;

/// `"00:02:30"`: hours, minutes and seconds, in seconds.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Time(pub(super) u64);

/// `"22:00"`: a time of day, in seconds.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct TimeOfDay(pub(super) u64);

/// A number with at most two decimals, in hundredths.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Hundredths(pub(super) i64);

/// Parts between colons, all but the first below 60.
fn clock<const N: usize>(text: &str) -> Option<[u64; N]> {
    let part = |part: &str| {
        let is_plain = part.len() >= 2 && part.bytes().all(|byte| byte.is_ascii_digit());
        is_plain.then(|| part.parse::<u64>().ok()).flatten()
    };
    let parts: Vec<u64> = text.split(':').map(part).collect::<Option<_>>()?;
    let later = parts.iter().skip(1).all(|part| *part < 60);
    parts.try_into().ok().filter(|_| later)
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let advice = || de::Error::custom(r#"write a time as "HH:MM:SS", such as "00:02:30""#);
        let [hours, minutes, seconds] =
            clock(&text).filter(|[hours, _, _]| *hours < 1000).ok_or_else(advice)?;
        Ok(Self(hours * 3600 + minutes * 60 + seconds))
    }
}

impl<'de> Deserialize<'de> for TimeOfDay {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let advice = || de::Error::custom(r#"write a time of day as "HH:MM", such as "22:00""#);
        let [hours, minutes] = clock(&text).filter(|[hours, _]| *hours < 24).ok_or_else(advice)?;
        Ok(Self(hours * 3600 + minutes * 60))
    }
}

impl<'de> Deserialize<'de> for Hundredths {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Hundredths;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("a number with at most two decimals")
            }

            fn visit_i64<E: de::Error>(self, value: i64) -> Result<Hundredths, E> {
                let whole = value.checked_mul(100).map(Hundredths);
                whole.ok_or_else(|| E::custom("the number is too large"))
            }

            /// By its shortest decimal form, which is what was written.
            fn visit_f64<E: de::Error>(self, value: f64) -> Result<Hundredths, E> {
                hundredths(&value.to_string())
                    .map(Hundredths)
                    .ok_or_else(|| E::custom("write a number with at most two decimals"))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

fn hundredths(text: &str) -> Option<i64> {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
    (decimals.len() <= 2).then(|| format!("{whole}{decimals:0<2}").parse().ok()).flatten()
}

impl Hundredths {
    /// In tenths, if it has no more.
    pub(super) fn tenths(self) -> Option<u16> {
        let is_exact = self.0 % 10 == 0;
        is_exact.then(|| u16::try_from(self.0 / 10).ok()).flatten()
    }

    /// If it is not below zero.
    pub(super) fn positive(self) -> Option<u64> {
        u64::try_from(self.0).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_times() {
        assert_eq!(clock("00:02:30"), Some([0, 2, 30]));
        assert_eq!(clock("100:00:00"), Some([100, 0, 0]));
        for wrong in ["00:60:00", "0:02:30", "00:02", "+0:02:30", "", "00:02:30:00"] {
            assert_eq!(clock::<3>(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn decimals_are_exact() {
        for (text, number) in [("36.6", 3660), ("-0.05", -5), ("7", 700), ("0.07", 7)] {
            let value: f64 = text.parse().unwrap();
            assert_eq!(hundredths(&value.to_string()), Some(number));
        }
        assert_eq!(hundredths("0.125"), None);
        assert_eq!(Hundredths(3660).tenths(), Some(366));
        assert_eq!(Hundredths(3665).tenths(), None);
        assert_eq!(Hundredths(-5).positive(), None);
    }
}
