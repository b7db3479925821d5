//! Three times, never rewritten: device time, observed time, received time.
//!
//! Not here: reading a clock. Each program does that in one file and passes [`Now`] inward.

use serde::{Deserialize, Serialize};
use std::{fmt, ops::Add, time::Duration};

/// Time since the program started; never goes backwards; for timers.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct MonoTime(Duration);

impl MonoTime {
    /// The program's start.
    pub const START: Self = Self(Duration::ZERO);

    /// That long after the program's start.
    #[must_use]
    pub const fn from_start(elapsed: Duration) -> Self {
        Self(elapsed)
    }

    /// How long after the program's start.
    #[must_use]
    pub const fn since_start(self) -> Duration {
        self.0
    }

    /// How long ago `earlier` was; zero if it is still to come.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

impl Add<Duration> for MonoTime {
    type Output = Self;
    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(duration))
    }
}

/// How long a box has been running, sleep counted: a clock that nobody sets. Moments of one boot can
/// be compared by it, whatever the wall clock did between them.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Uptime {
    /// Which boot: a random number, another one each time.
    pub boot: u32,
    /// Milliseconds since that boot.
    pub ms: u64,
}

impl Uptime {
    /// How many milliseconds later this is than `earlier`, of the same boot.
    #[must_use]
    pub const fn ms_after(self, earlier: Self) -> i64 {
        self.ms.cast_signed().saturating_sub(earlier.ms.cast_signed())
    }
}

/// A moment in UTC by some clock, in milliseconds since 1970-01-01T00:00:00Z; may jump; for stamping.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(transparent)]
pub struct WallTime(i64);

impl WallTime {
    /// Milliseconds since 1970-01-01T00:00:00Z.
    #[must_use]
    pub const fn from_unix_ms(unix_ms: i64) -> Self {
        Self(unix_ms)
    }

    /// Milliseconds since 1970-01-01T00:00:00Z.
    #[must_use]
    pub const fn unix_ms(self) -> i64 {
        self.0
    }
}

/// How far the edge's clock can be trusted.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum ClockQuality {
    /// The kernel says it is synchronised.
    Synchronised,
    /// It was synchronised once and runs free.
    HoldingOver,
    /// Nobody knows.
    Unknown,
}

impl ClockQuality {
    /// Every quality, best first.
    pub const ALL: [Self; 3] = [Self::Synchronised, Self::HoldingOver, Self::Unknown];

    /// The name in the API.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Synchronised => "synchronised",
            Self::HoldingOver => "holding_over",
            Self::Unknown => "unknown",
        }
    }
}

/// All clocks, read once at the edge of the program and passed inward.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// For timers.
    pub mono: MonoTime,
    /// For whoever has to place the stamps later.
    pub uptime: Uptime,
    /// For stamping.
    pub wall: WallTime,
    /// How far `wall` can be trusted.
    pub quality: ClockQuality,
}

impl Now {
    /// The stamp a record made at this moment carries.
    #[must_use]
    pub const fn observed(self) -> Observed {
        Observed { at: self.wall, quality: self.quality }
    }

    /// How far the wall clock was set forward since `earlier`, in milliseconds.
    #[must_use]
    pub const fn set_since(self, earlier: Self) -> i64 {
        let passed_ms = self.uptime.ms_after(earlier.uptime);
        self.wall.0.saturating_sub(earlier.wall.0).saturating_sub(passed_ms)
    }
}

/// Observed time: the agent's clock when the value was decoded.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Observed {
    /// The moment.
    pub at: WallTime,
    /// How far that clock could be trusted then.
    pub quality: ClockQuality,
}

/// Device time, as the device said it.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum DeviceTime {
    /// The device's own wall clock without a zone: civil milliseconds, counted from 1970-01-01 00:00
    /// as if it were UTC. UTC needs the site's time zone.
    Local {
        /// Civil milliseconds.
        civil_ms: i64,
    },
    /// The device's clock is UTC, or the zone has been resolved: the civil time as said and the
    /// offset that was in force (seconds east of UTC).
    Zoned {
        /// Civil milliseconds.
        civil_ms: i64,
        /// Seconds east of UTC.
        offset_s: i32,
    },
}

impl DeviceTime {
    /// The device's civil milliseconds, zone or not.
    #[must_use]
    pub const fn civil_ms(self) -> i64 {
        match self {
            Self::Local { civil_ms } | Self::Zoned { civil_ms, .. } => civil_ms,
        }
    }

    /// The moment in UTC, where the zone is known.
    #[must_use]
    pub fn utc(self) -> Option<WallTime> {
        match self {
            Self::Local { .. } => None,
            Self::Zoned { civil_ms, offset_s } => {
                Some(WallTime(civil_ms.checked_sub(i64::from(offset_s).checked_mul(1000)?)?))
            }
        }
    }

    /// The same civil time with the site's offset (seconds east of UTC).
    #[must_use]
    pub const fn in_zone(self, offset_s: i32) -> Self {
        Self::Zoned { civil_ms: self.civil_ms(), offset_s }
    }
}

/// Milliseconds of a civil date and time, counted from 1970-01-01 00:00:00; `None` for a date or a
/// time that does not exist. Years 1970 to 2199.
///
/// Days from civil: proleptic Gregorian calendar, year counted from March so that the leap day is last.
#[must_use]
pub fn civil_ms(
    year: i32,
    month: u32,
    day: u32,
    hour: u32,
    minute: u32,
    second: u32,
) -> Option<i64> {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days_in_month = match month {
        2 => 28 + u32::from(leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    let exists = (1970..2200).contains(&year)
        && (1..=days_in_month).contains(&day)
        && hour < 24
        && minute < 60
        && second < 60;
    if !exists {
        return None;
    }
    let from_march = i64::from((month + 9) % 12);
    let year = i64::from(year) - i64::from(month <= 2);
    let day_of_year = (153 * from_march + 2) / 5 + i64::from(day) - 1;
    let days = year * 365 + year / 4 - year / 100 + year / 400 + day_of_year - 719_468;
    let seconds = i64::from(hour * 3600 + minute * 60 + second);
    Some((days * 86_400 + seconds) * 1000)
}

impl fmt::Display for MonoTime {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:.3}s", self.0.as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn civil_time_counts_days_as_the_calendar_does() {
        assert_eq!(civil_ms(1970, 1, 1, 0, 0, 0), Some(0));
        assert_eq!(civil_ms(2000, 2, 29, 12, 0, 0), Some(951_825_600_000));
        assert_eq!(civil_ms(2011, 9, 5, 13, 41, 41), Some(1_315_230_101_000));
        assert_eq!(civil_ms(2026, 11, 22, 8, 15, 0), Some(1_795_335_300_000));
    }

    #[test]
    fn dates_that_do_not_exist_are_refused() {
        for (year, month, day) in
            [(2026, 2, 29), (2026, 13, 1), (2026, 0, 1), (2026, 4, 31), (1969, 1, 1)]
        {
            assert_eq!(civil_ms(year, month, day, 0, 0, 0), None);
        }
        assert_eq!(civil_ms(2026, 1, 1, 24, 0, 0), None);
    }

    #[test]
    fn device_time_becomes_utc_with_the_zone_of_the_site() {
        let local = DeviceTime::Local { civil_ms: 1_795_335_300_000 };
        assert_eq!(local.utc(), None);
        let utc = local.in_zone(8 * 3600).utc().unwrap();
        assert_eq!(utc.unix_ms(), 1_795_335_300_000 - 8 * 3_600_000);
    }
}
