//! How far a device's clock is off.

use model::{decimal::Decimal, metric::Metric, reading::Reading, time::Now, units::Unit};
use std::ops::RangeInclusive;

/// How far a device's clock is ahead of ours, in whole seconds: as far as it is at least. It shows a
/// moment between these civil seconds, and anything between them may be right. Nothing without the
/// site's zone, in seconds east of UTC.
pub(crate) fn clock_offset(
    now: Now,
    zone_offset_s: Option<i32>,
    shows: RangeInclusive<i64>,
) -> Option<Reading> {
    let ours = now.wall.unix_ms().div_euclid(1000) + i64::from(zone_offset_s?);
    let (least, most) = (*shows.start() - ours, *shows.end() - ours);
    let ahead = Decimal::new(least.max(0) + most.min(0), 0)?;
    Some(Reading::number(Metric::CLOCK_OFFSET, ahead, Unit::SECOND))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::now_at;

    #[test]
    fn a_clock_is_off_by_what_cannot_be_within_what_it_shows() {
        // 2026-11-22 08:15:00 UTC.
        const OURS: i64 = 1_795_335_300;
        let check = |shows: RangeInclusive<i64>, expected: i32| {
            let shows = OURS + 3600 + shows.start()..=OURS + 3600 + shows.end();
            let reading = clock_offset(now_at(0), Some(3600), shows).unwrap();
            assert_eq!(reading, Reading::number(Metric::CLOCK_OFFSET, expected, Unit::SECOND));
        };
        check(90..=90, 90);
        check(-7..=-7, -7);
        check(-30..=29, 0);
        check(30..=89, 30);
        check(-89..=-30, -30);
        assert_eq!(clock_offset(now_at(0), None, 0..=0), None);
    }
}
