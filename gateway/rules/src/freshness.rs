//! Whether a reading tells the present (alert rules, "Late, backfilled and out-of-order data").

use model::{
    id::{Lane, OutboxId, Seq},
    reading::{Occurrence, ReadingGroup},
    time::{DeviceTime, WallTime},
};
use serde::{Deserialize, Serialize};

/// Fresh: at most this old.
const STREAM_FRESH_MS: i64 = 60_000;
const SPOT_FRESH_MS: i64 = 10 * 60_000;
/// Late: at most this old; older is backfill.
const STREAM_LATE_MS: i64 = 10 * 60_000;
const SPOT_LATE_MS: i64 = 24 * 3_600_000;
/// A reading from further in the future than this has a wrong clock.
const FUTURE_MAX_MS: i64 = 2_000;

/// Class of a reading, computed once by the county at commit.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Freshness {
    /// It tells the present.
    Fresh,
    /// It was held up.
    Late,
    /// It is history.
    Backfill,
}

impl Freshness {
    /// The name in the API.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fresh => "fresh",
            Self::Late => "late",
            Self::Backfill => "backfill",
        }
    }

    /// The class of a group measured at `t_meas` and received at `now`.
    #[must_use]
    pub fn of(group: &ReadingGroup, t_meas: WallTime, now: WallTime) -> Self {
        match group.occurrence {
            Occurrence::Stream => Self::of_stream(t_meas, now),
            Occurrence::Spot => Self::by_age(t_meas, now, SPOT_FRESH_MS, SPOT_LATE_MS),
        }
    }

    /// The class of something that repeats.
    #[must_use]
    pub fn of_stream(t_meas: WallTime, now: WallTime) -> Self {
        Self::by_age(t_meas, now, STREAM_FRESH_MS, STREAM_LATE_MS)
    }

    fn by_age(t_meas: WallTime, now: WallTime, fresh_ms: i64, late_ms: i64) -> Self {
        match now.unix_ms().saturating_sub(t_meas.unix_ms()) {
            age if age <= fresh_ms => Self::Fresh,
            age if age <= late_ms => Self::Late,
            _ => Self::Backfill,
        }
    }
}

/// When something was, by the county's clock.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Moment {
    /// The moment.
    pub at: WallTime,
    /// A clock was wrong or unknown: the moment is what the county made of it.
    pub suspect: bool,
}

impl Moment {
    /// A moment by a clock that is right.
    #[must_use]
    pub const fn sure(at: WallTime) -> Self {
        Self { at, suspect: false }
    }
}

/// When it was measured: device time for a spot reading of a device that keeps time, else observed
/// time. What lies in the future has a wrong clock, and takes the county's.
#[must_use]
pub fn t_meas(group: &ReadingGroup, now: WallTime) -> WallTime {
    let device = match group.occurrence {
        Occurrence::Spot => group.device_time.and_then(DeviceTime::utc),
        Occurrence::Stream => None,
    };
    let measured = device.unwrap_or(group.observed.at);
    if measured.unix_ms() > now.unix_ms().saturating_add(FUTURE_MAX_MS) { now } else { measured }
}

/// Where a reading is: orders readings of the same `t_meas`.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Position {
    /// Outbox.
    pub outbox: OutboxId,
    /// Lane.
    pub lane: Lane,
    /// Envelope.
    pub seq: Seq,
    /// Place in the envelope.
    pub index: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_class_is_a_question_of_age() {
        let at = WallTime::from_unix_ms;
        let class = |age_s: i64| Freshness::of_stream(at(0), at(age_s * 1000));
        assert_eq!(class(60), Freshness::Fresh);
        assert_eq!(class(61), Freshness::Late);
        assert_eq!(class(600), Freshness::Late);
        assert_eq!(class(601), Freshness::Backfill);
        assert_eq!(class(-100), Freshness::Fresh);
    }
}
