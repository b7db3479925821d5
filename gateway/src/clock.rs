//! The only place of the gateway that reads the clock.
//!
//! - [`step`]: whether it was set

pub(crate) mod step;

use model::time::WallTime;
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::time::Instant;

/// Now, by the county's clock.
pub(crate) fn now() -> WallTime {
    let unix_ms =
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_millis());
    WallTime::from_unix_ms(i64::try_from(unix_ms).unwrap_or(i64::MAX))
}

/// A moment to measure from, whatever becomes of the clock.
pub(crate) fn instant() -> Instant {
    Instant::now()
}

/// A moment as RFC 3339 in UTC, with milliseconds.
pub(crate) fn rfc3339(unix_ms: i64) -> String {
    let moment = jiff::Timestamp::from_millisecond(unix_ms).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    format!("{moment:.3}")
}

/// A moment as the clocks of a zone show it, to the minute; with its day where that is another one.
pub(crate) fn local(at: WallTime, zone: &str, now: WallTime) -> String {
    let there = |at: WallTime| {
        let moment = jiff::Timestamp::from_millisecond(at.unix_ms()).unwrap_or_default();
        // Without the zone's rules UTC says so.
        moment.in_tz(zone).unwrap_or_else(|_| moment.to_zoned(jiff::tz::TimeZone::UTC))
    };
    let (at, now) = (there(at), there(now));
    let form = match (at.date() == now.date(), at.time_zone().iana_name()) {
        (true, Some("UTC")) => "%H:%M UTC",
        (true, _) => "%H:%M",
        (false, _) => "%m-%d %H:%M",
    };
    at.strftime(form).to_string()
}

/// The day in the townships: all are in one zone without summer time.
pub(crate) fn local_date(at: WallTime) -> jiff::civil::Date {
    let moment = jiff::Timestamp::from_millisecond(at.unix_ms());
    jiff::tz::offset(8).to_datetime(moment.unwrap_or(jiff::Timestamp::UNIX_EPOCH)).date()
}

/// Reads an RFC 3339 moment.
pub(crate) fn parse_rfc3339(text: &str) -> Option<i64> {
    text.parse::<jiff::Timestamp>().ok().map(jiff::Timestamp::as_millisecond)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_written_in_utc_with_milliseconds() {
        assert_eq!(rfc3339(1_795_335_300_123), "2026-11-22T08:15:00.123Z");
        assert_eq!(parse_rfc3339("2026-11-22T16:15:00.123+08:00"), Some(1_795_335_300_123));
        assert_eq!(parse_rfc3339("yesterday"), None);
        let late = WallTime::from_unix_ms(1_795_335_300_123 + 8 * 3_600_000);
        assert_eq!(local_date(late).to_string(), "2026-11-23");
    }
}
