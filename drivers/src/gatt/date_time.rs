//! Date Time (0x2A08) and Current Time (0x2A2B): a device's own civil time, without a zone.
//!
//! Source: the protocol sheet of the Blood Pressure Service, §3 and §7.

use model::time::civil_ms;

/// Bytes of a Date Time.
pub const DATE_TIME_LEN: usize = 7;
/// "0 manual" (change), §7.
const ADJUSTED_BY_HAND: u8 = 1;

/// Milliseconds of the civil time, as [`civil_ms`] counts them; `None` for "unknown" (a zero) and
/// for a time that does not exist.
#[must_use]
pub fn civil_ms_of(bytes: [u8; DATE_TIME_LEN]) -> Option<i64> {
    let [low, high, month, day, hour, minute, second] = bytes;
    let year = i32::from(u16::from_le_bytes([low, high]));
    let [month, day, hour, minute, second] = [month, day, hour, minute, second].map(u32::from);
    civil_ms(year, month, day, hour, minute, second)
}

/// The civil time of a Current Time value; shorter than a Date Time is none.
#[must_use]
pub fn civil_ms_of_current_time(value: &[u8]) -> Option<i64> {
    civil_ms_of(*value.first_chunk()?)
}

/// The Current Time value that says this civil time: "Date Time 7, day of week, fractions 1/256 s,
/// adjust reason", set by hand. `None` outside the years a Date Time has.
#[must_use]
pub fn current_time(civil_ms: i64) -> Option<[u8; 10]> {
    let (days, ms) = (civil_ms.div_euclid(86_400_000), civil_ms.rem_euclid(86_400_000));
    let (year, month, day) = date_of(days)?;
    let [low, high] = year.to_le_bytes();
    let second = ms / 1000;
    let part = |value: i64| u8::try_from(value).ok();
    // 1970-01-01 was a Thursday, which is day 4 of 7.
    let weekday = (days + 3).rem_euclid(7) + 1;
    let fraction = ms % 1000 * 256 / 1000;
    Some([
        low,
        high,
        month,
        day,
        part(second / 3600)?,
        part(second / 60 % 60)?,
        part(second % 60)?,
        part(weekday)?,
        part(fraction)?,
        ADJUSTED_BY_HAND,
    ])
}

/// Year, month and day of a day counted from 1970-01-01, found from above: the calendar stands in
/// [`civil_ms`] once.
fn date_of(days: i64) -> Option<(u16, u8, u8)> {
    let day_ms = days.checked_mul(86_400_000)?;
    let begins = |year, month| civil_ms(year, month, 1, 0, 0, 0);
    let year = (1970..2200).rev().find(|year| begins(*year, 1).is_some_and(|at| at <= day_ms))?;
    let month = (1..=12).rev().find(|month| begins(year, *month).is_some_and(|at| at <= day_ms))?;
    let day = u32::try_from((day_ms - begins(year, month)?) / 86_400_000 + 1).ok()?;
    // Behind the last of these years there is no such day.
    civil_ms(year, month, day, 0, 0, 0)?;
    Some((u16::try_from(year).ok()?, u8::try_from(month).ok()?, u8::try_from(day).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_time_that_is_not_there_is_none() {
        // 2020-01-20 08:43:00, of a real capture (protocol sheet, §6).
        let captured = [0xE4, 0x07, 0x01, 0x14, 0x08, 0x2B, 0x00];
        assert_eq!(civil_ms_of(captured), civil_ms(2020, 1, 20, 8, 43, 0));
        for (place, value) in [(0, 0), (1, 0), (2, 0), (2, 13), (3, 0), (4, 24), (5, 60), (6, 60)] {
            let mut bytes = captured;
            bytes[place] = value;
            // A year of 228 or 1792: before anything was measured.
            assert_eq!(civil_ms_of(bytes), None, "{bytes:x?}");
        }
        assert_eq!(civil_ms_of([0xEA, 0x07, 2, 31, 0, 0, 0]), None);
        assert_eq!(civil_ms_of_current_time(&captured[..6]), None);
    }

    /// Protocol sheet of the Blood Pressure Service, §7: Sunday 2026-11-22 08:23:00.
    #[test]
    fn the_time_that_is_set_is_that_of_the_sheet() {
        let civil = civil_ms(2026, 11, 22, 8, 23, 0).unwrap();
        let expected = [0xEA, 0x07, 0x0B, 0x16, 0x08, 0x17, 0x00, 0x07, 0x00, 0x01];
        assert_eq!(current_time(civil), Some(expected));
        assert_eq!(current_time(-1), None);
        // Found by fuzzing: 2200-01-05 was written as day 36 of December 2199.
        let last_day = civil_ms(2199, 12, 31, 0, 0, 0).unwrap();
        assert_eq!(current_time(last_day + 5 * 86_400_000), None);
    }

    proptest! {
        #[test]
        fn every_time_reads_back(second in 0_i64..7_258_118_400) {
            let value = current_time(second * 1000).unwrap();
            prop_assert_eq!(civil_ms_of_current_time(&value), Some(second * 1000));
        }
    }
}
