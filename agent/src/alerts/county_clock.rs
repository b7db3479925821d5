//! What the county's clock says, as far as a box can know: its own may be wrong by minutes, or begin
//! with 1970.
//!
//! # Invariants
//! - the county is never later than this says but by the time a policy was under way, and the time
//!   between what was kept last and the next start after a power cut
//! - a moment of the county is the same moment of the box until somebody sets a clock

use model::time::{ClockQuality, Now, Uptime, WallTime};
use serde::{Deserialize, Serialize};

/// Two clocks that differ by less are read at two moments.
const SAME_MS: u64 = 2_000;

/// How far the county's clock is ahead of this box's; below 0 where this one was set forward.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
pub(super) struct CountyClock {
    heard: Option<Heard>,
    ahead_ms: i64,
    /// The clock of this box was synchronised when it was looked at last.
    #[serde(default)]
    synchronised: bool,
}

/// At that uptime of the box it was that by the county's clock, or later.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
struct Heard {
    county: WallTime,
    boot: u32,
    ms: u64,
}

impl CountyClock {
    /// This box goes by what the county made at that moment: it is later there by now.
    pub(super) fn hear(&mut self, now: Now, made_at: WallTime) {
        let county = self.county_at(now).map_or(made_at, |known| known.max(made_at));
        self.heard = Some(Heard::at(now, county));
        self.look(now, 0);
    }

    /// As it is kept: what is known now is known after a power cut too.
    pub(super) fn kept(self, now: Now) -> Self {
        let heard = self.county_at(now).map(|county| Heard::at(now, county));
        Self { heard, ..self }
    }

    /// The clock of this box was set by so much since it was looked at last.
    pub(super) fn look(&mut self, now: Now, set_ms: i64) {
        let is_synchronised = now.quality == ClockQuality::Synchronised;
        let was_synchronised = std::mem::replace(&mut self.synchronised, is_synchronised);
        let Some(county) = self.county_at(now) else {
            self.ahead_ms = 0;
            return;
        };
        let least_ms = ms(county).saturating_sub(ms(now.wall));
        // Set right: it was behind by more than it is ahead of what the county said, or whoever sets
        // it by the network says so since.
        let was_behind = self.ahead_ms > 0 && self.ahead_ms.saturating_add(least_ms) >= 0;
        let is_right = was_behind || (is_synchronised && !was_synchronised);
        // Else at the county it is as late after that as before. A clock that is ahead from the
        // begin calls too early; that nobody can tell from a policy that is late.
        let own_ms = if is_right { 0 } else { self.ahead_ms.saturating_sub(set_ms).min(0) };
        let ahead_ms = own_ms.max(least_ms);
        if ahead_ms.abs_diff(self.ahead_ms) > SAME_MS {
            self.ahead_ms = ahead_ms;
        }
    }

    /// When that moment of the county's clock is, by this box's.
    pub(super) fn here(&self, county: WallTime) -> WallTime {
        WallTime::from_unix_ms(ms(county).saturating_sub(self.ahead_ms))
    }

    /// What it is by the county's clock at that moment of this box's. Whose a device is, how old
    /// somebody is and until when a limit holds the county has said by its own clock. What it had
    /// begun when it made the policy has begun by this, for it is never before that; with the box's
    /// clock a binding of today would not have begun in 1970, and an infant would be an adult.
    pub(super) fn there(&self, here: WallTime) -> WallTime {
        WallTime::from_unix_ms(ms(here).saturating_add(self.ahead_ms))
    }

    /// How far it is ahead of this box's.
    pub(super) const fn ahead_ms(&self) -> i64 {
        self.ahead_ms
    }

    /// What it is there at least; how long the box was switched off nobody knows.
    fn county_at(&self, now: Now) -> Option<WallTime> {
        let Heard { county, boot, ms: at_ms } = self.heard?;
        let since_ms = match boot == now.uptime.boot {
            true => now.uptime.ms_after(Uptime { boot, ms: at_ms }),
            false => 0,
        };
        Some(WallTime::from_unix_ms(ms(county).saturating_add(since_ms)))
    }
}

impl Heard {
    const fn at(Now { uptime: Uptime { boot, ms }, .. }: Now, county: WallTime) -> Self {
        Self { county, boot, ms }
    }
}

const fn ms(at: WallTime) -> i64 {
    at.unix_ms()
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::time::{ClockQuality, MonoTime};
    use std::time::Duration;

    const MADE_AT: WallTime = WallTime::from_unix_ms(1_795_335_300_000);

    /// A box that has been running for so many seconds, and whose clock is so many seconds ahead of
    /// a county that made its policy at second 100.
    fn box_at(second: u64, ahead_s: i64) -> Now {
        let since_ms = i64::try_from(second).unwrap() * 1000 - 100_000;
        Now {
            mono: MonoTime::from_start(Duration::from_secs(second)),
            uptime: Uptime { boot: 7, ms: second * 1000 },
            wall: WallTime::from_unix_ms(MADE_AT.unix_ms() + since_ms + ahead_s * 1000),
            quality: ClockQuality::Unknown,
        }
    }

    /// When it is a quarter of an hour after the policy, in seconds of the uptime.
    fn ends_at(clock: CountyClock, ahead_s: i64) -> i64 {
        let until = WallTime::from_unix_ms(MADE_AT.unix_ms() + 900_000);
        let zero = box_at(0, ahead_s).wall.unix_ms();
        (clock.here(until).unix_ms() - zero) / 1000
    }

    #[test]
    fn a_moment_of_the_county_comes_when_it_is_then_whatever_the_box_takes_the_time_for() {
        for (ahead_s, comes_at) in
            [(0, 1000), (-600, 1000), (-1_700_000_000, 1000), (1, 999), (600, 400)]
        {
            let mut clock = CountyClock::default();
            clock.hear(box_at(100, ahead_s), MADE_AT);
            assert_eq!(ends_at(clock, ahead_s), comes_at, "{ahead_s} s ahead");
        }
    }

    #[test]
    fn a_restart_a_clock_that_is_set_and_an_older_policy_change_nothing_of_it() {
        let mut clock = CountyClock::default();
        clock.hear(box_at(100, -600), MADE_AT);
        // The agent starts again half an hour later, with the policy that it has.
        let kept = serde_json::to_string(&clock).unwrap();
        let mut clock: CountyClock = serde_json::from_str(&kept).unwrap();
        clock.hear(box_at(1900, -600), MADE_AT);
        assert_eq!(ends_at(clock, -600), 1000);
        // Somebody sets the clock right, and then too far back.
        for (ahead_s, before_s) in [(0, -600), (-3600, 0)] {
            clock.look(box_at(2000, ahead_s), (ahead_s - before_s) * 1000);
            assert_eq!(ends_at(clock, ahead_s), 1000);
        }
        // What differs by the reading of two clocks is the same.
        let before = clock.here(MADE_AT);
        let Now { wall, .. } = box_at(2100, -3600);
        clock.look(Now { wall: WallTime::from_unix_ms(wall.unix_ms() + 7), ..box_at(2100, 0) }, 7);
        assert_eq!(clock.here(MADE_AT), before);
    }

    #[test]
    fn after_the_power_was_gone_it_is_not_before_the_policy_was_made() {
        let mut clock = CountyClock::default();
        clock.hear(box_at(100, 0), MADE_AT);
        let again = |wall| Now { uptime: Uptime { boot: 8, ms: 0 }, wall, ..box_at(0, 0) };
        let in_1970 = WallTime::from_unix_ms(5000);
        clock.hear(again(in_1970), MADE_AT);
        assert_eq!(clock.here(MADE_AT), in_1970);
        // Nor before what was known when that was kept last, and it goes on from there.
        let mut clock = CountyClock::default();
        clock.hear(box_at(100, 0), MADE_AT);
        let mut clock = clock.kept(box_at(700, 0));
        clock.hear(again(in_1970), MADE_AT);
        let known = WallTime::from_unix_ms(MADE_AT.unix_ms() + 600_000);
        assert_eq!(clock.here(known), in_1970);
        let later = WallTime::from_unix_ms(in_1970.unix_ms() + 60_000);
        clock.look(Now { uptime: Uptime { boot: 8, ms: 60_000 }, ..again(later) }, 0);
        assert_eq!(clock.here(known), in_1970);
        // A clock that went on is believed.
        let later = WallTime::from_unix_ms(MADE_AT.unix_ms() + 900_000);
        clock.hear(Now { uptime: Uptime { boot: 9, ms: 0 }, ..again(later) }, MADE_AT);
        assert_eq!(clock.here(MADE_AT), MADE_AT);
    }

    /// What it is by the county's clock, in seconds since that policy.
    fn there(clock: CountyClock, now: Now) -> i64 {
        (clock.there(now.wall).unix_ms() - MADE_AT.unix_ms()) / 1000
    }

    #[test]
    fn a_clock_that_jumps_forward_makes_nothing_end_early_and_one_that_is_set_right_is_believed() {
        // Ahead before and after it was set, and what it is at the county then, at second 2000 of a
        // policy of second 100: a clock that was right, and one that was 5 s behind, are set to next
        // year; one that began with an earlier time is set right, an hour and two weeks after a
        // policy that was under way for as long.
        let (year, week) = (365 * 86_400, 7 * 86_400);
        for (before_s, after_s, expected_s) in [
            (0, 3600, 1900),
            (0, year, 1900),
            (-5, year, 1900),
            (3600, 3600 + year, 1900 + 3600),
            (-1_700_000_000, 0, 1900),
            (-1_700_000_000, 2 * week, 1900 + 2 * week),
            (3600, 0, 1900),
        ] {
            let mut clock = CountyClock::default();
            clock.hear(box_at(100, before_s), MADE_AT);
            let now = box_at(2000, after_s);
            clock.look(now, (after_s - before_s) * 1000);
            assert_eq!(there(clock, now), expected_s, "{before_s} {after_s}");
            // An agent that starts again goes on with it.
            let kept = serde_json::to_string(&clock.kept(now)).unwrap();
            let mut again: CountyClock = serde_json::from_str(&kept).unwrap();
            let now = box_at(2100, after_s);
            again.hear(now, MADE_AT);
            assert_eq!(there(again, now), expected_s + 100, "{before_s} {after_s}");
            // Set back it is as before, and what the county signs then is no earlier.
            let back = box_at(2200, before_s);
            clock.look(back, (before_s - after_s) * 1000);
            assert!(there(clock, back) >= 2100, "{before_s} {after_s}");
        }
    }

    #[test]
    fn a_clock_that_is_synchronised_after_it_was_set_is_believed() {
        // Switched off for three days, it began with the time of then, and the network sets it.
        let mut clock = CountyClock::default();
        clock.hear(box_at(100, 0), MADE_AT);
        let days = 3 * 86_400;
        let of = |second, quality| Now { quality, ..box_at(second, days) };
        clock.look(of(200, ClockQuality::Unknown), days * 1000);
        assert_eq!(there(clock, of(200, ClockQuality::Unknown)), 100);
        let now = of(230, ClockQuality::Synchronised);
        clock.look(now, 0);
        assert_eq!(there(clock, now), 130 + days);
        // The word for it is of before where somebody sets it then: it is asked every few minutes.
        let far = Now { quality: ClockQuality::Synchronised, ..box_at(300, 9 * days) };
        clock.look(far, 8 * days * 1000);
        assert_eq!(there(clock, far), 200 + days);
    }
}
