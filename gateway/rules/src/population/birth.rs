//! How old somebody is, in completed months and days.

use model::time::WallTime;
use serde::{Deserialize, Serialize};

/// Birthdays begin with the local day: China has one time, eight hours before UTC.
const LOCAL_AHEAD_MS: i64 = 8 * 3_600_000;
const DAY_MS: i64 = 86_400_000;
/// Nobody alive was born before.
const YEAR_MIN: i32 = 1880;
const YEAR_MAX: i32 = 2200;

/// A date of birth. Of a day nobody knows the last of the month is meant: somebody who may be under
/// three months old has the rules of that age.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(try_from = "Written")]
pub struct Birth {
    year: i32,
    month: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    day: Option<u32>,
}

/// A date as written, not yet checked.
#[derive(Deserialize)]
struct Written {
    year: i32,
    month: u32,
    #[serde(default)]
    day: Option<u32>,
}

impl TryFrom<Written> for Birth {
    type Error = &'static str;
    fn try_from(Written { year, month, day }: Written) -> Result<Self, &'static str> {
        Self::new(year, month, day).ok_or("there is no such date of birth")
    }
}

impl Birth {
    /// A date that exists, or a month of which nobody knows the day.
    #[must_use]
    pub fn new(year: i32, month: u32, day: Option<u32>) -> Option<Self> {
        let exists = (YEAR_MIN..YEAR_MAX).contains(&year)
            && (1..=12).contains(&month)
            && day.is_none_or(|day| (1..=days_in_month(year, month)).contains(&day));
        exists.then_some(Self { year, month, day })
    }

    /// The birth of somebody who is said to be so many months old at that moment.
    #[must_use]
    pub fn of_age(months: u32, at: WallTime) -> Option<Self> {
        let (year, month, day) = local_date(at);
        let count = i64::from(year) * 12 + i64::from(month) - 1 - i64::from(months);
        let year = i32::try_from(count.div_euclid(12)).ok()?;
        let month = u32::try_from(count.rem_euclid(12)).ok()? + 1;
        Self::new(year, month, Some(day.min(days_in_month(year, month))))
    }

    /// Months lived in full; `None` before the birth.
    #[must_use]
    pub fn completed_months(self, at: WallTime) -> Option<u32> {
        let (year, month, day) = local_date(at);
        let months = |year: i32, month: u32| i64::from(year) * 12 + i64::from(month);
        let begun = months(year, month) - months(self.year, self.month);
        let short = day < self.last_possible_day();
        match u32::try_from(begun - i64::from(short)) {
            // In the month of birth, of which nobody knows the day.
            Err(_) if begun == 0 && self.day.is_none() => Some(0),
            months => months.ok(),
        }
    }

    /// Days lived in full; `None` before the birth, or when nobody knows the day.
    #[must_use]
    pub fn completed_days(self, at: WallTime) -> Option<u32> {
        let (year, month, day) = local_date(at);
        let days = days_of(year, month, day) - days_of(self.year, self.month, self.day?);
        u32::try_from(days).ok()
    }

    fn last_possible_day(self) -> u32 {
        self.day.unwrap_or_else(|| days_in_month(self.year, self.month))
    }
}

fn days_in_month(year: i32, month: u32) -> u32 {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        2 => 28 + u32::from(leap),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days since 1970-01-01. Years are counted from March, so that the leap day is the last.
fn days_of(year: i32, month: u32, day: u32) -> i64 {
    let year = i64::from(year) - i64::from(month < 3);
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * i64::from((month + 9) % 12) + 2) / 5 + i64::from(day) - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// Year, month and day of a moment, where the clinics are.
fn local_date(at: WallTime) -> (i32, u32, u32) {
    let days = at.unix_ms().saturating_add(LOCAL_AHEAD_MS).div_euclid(DAY_MS) + 719_468;
    let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = era * 400 + year + i64::from(month < 3);
    (
        i32::try_from(year).unwrap_or(i32::MAX),
        u32::try_from(month).unwrap_or(1),
        u32::try_from(day).unwrap_or(1),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::time::civil_ms;

    /// Noon of a local day.
    fn noon(year: i32, month: u32, day: u32) -> WallTime {
        WallTime::from_unix_ms(civil_ms(year, month, day, 12, 0, 0).unwrap() - LOCAL_AHEAD_MS)
    }

    #[test]
    fn dates_lead_there_and_back() {
        for days in (-30_000..60_000).step_by(17) {
            let (year, month, day) = local_date(WallTime::from_unix_ms(days * DAY_MS));
            assert_eq!(days_of(year, month, day), days);
        }
        for (year, month, day) in [(1970, 1, 1), (2000, 2, 29), (2026, 11, 26), (2099, 12, 31)] {
            assert_eq!(local_date(noon(year, month, day)), (year, month, day));
        }
    }

    #[test]
    fn a_month_is_completed_on_its_day() {
        let check = |birth: (i32, u32, u32), at: (i32, u32, u32), months: Option<u32>| {
            let birth = Birth::new(birth.0, birth.1, Some(birth.2)).unwrap();
            assert_eq!(birth.completed_months(noon(at.0, at.1, at.2)), months, "{birth:?} {at:?}");
        };
        check((2026, 9, 26), (2026, 11, 25), Some(1));
        check((2026, 9, 26), (2026, 11, 26), Some(2));
        check((2026, 11, 26), (2026, 11, 26), Some(0));
        check((2026, 11, 27), (2026, 11, 26), None);
        check((1956, 11, 27), (2026, 11, 26), Some(839));
        check((2026, 1, 31), (2026, 2, 28), Some(0));
        check((2026, 1, 31), (2026, 3, 1), Some(1));
    }

    #[test]
    fn a_birthday_begins_with_the_local_day() {
        let birth = Birth::new(2008, 11, Some(26)).unwrap();
        let midnight = noon(2026, 11, 26).unix_ms() - DAY_MS / 2;
        let months = |ms| birth.completed_months(WallTime::from_unix_ms(ms));
        assert_eq!((months(midnight - 1), months(midnight)), (Some(215), Some(216)));
    }

    #[test]
    fn whose_day_of_birth_nobody_knows_is_as_young_as_can_be() {
        let birth = Birth::new(2026, 8, None).unwrap();
        assert_eq!(birth.completed_months(noon(2026, 11, 29)), Some(2));
        assert_eq!(birth.completed_months(noon(2026, 12, 1)), Some(3));
        assert_eq!(birth.completed_months(noon(2026, 8, 2)), Some(0));
        assert_eq!(birth.completed_days(noon(2026, 8, 2)), None);
    }

    #[test]
    fn an_age_becomes_a_date() {
        for months in [0, 1, 7, 11, 12, 250, 1000] {
            let birth = Birth::of_age(months, noon(2026, 3, 31)).unwrap();
            assert_eq!(birth.completed_months(noon(2026, 3, 31)), Some(months), "{birth:?}");
        }
    }
}
