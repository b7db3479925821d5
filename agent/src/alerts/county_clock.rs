//! What the county's clock says, as far as a box can know: its own may be wrong by minutes, or begin
//! with 1970.
//!
//! # Invariants
//! - the county is never later than this says but by the time a policy was under way, and the time
//!   between what was kept last and the next start after a power cut
//! - a moment of the county is the same moment of the box until somebody sets a clock

use model::time::{Now, Uptime, WallTime};
use serde::{Deserialize, Serialize};

/// Two clocks that differ by less are read at two moments.
const SAME_MS: u64 = 2_000;

/// How far the county's clock is ahead of this box's.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
pub(super) struct CountyClock {
    heard: Option<Heard>,
    ahead_ms: i64,
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
        self.look(now);
    }

    /// As it is kept: what is known now is known after a power cut too.
    pub(super) fn kept(self, now: Now) -> Self {
        let heard = self.county_at(now).map(|county| Heard::at(now, county));
        Self { heard, ..self }
    }

    /// The clock of this box may have been set.
    pub(super) fn look(&mut self, now: Now) {
        let ahead_ms =
            self.county_at(now).map_or(0, |county| ms(county).saturating_sub(ms(now.wall)));
        // A box that is ahead calls too early; that nobody can tell from a policy that is late.
        let ahead_ms = ahead_ms.max(0);
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
        for ahead_s in [0, -3600] {
            clock.look(box_at(2000, ahead_s));
            assert_eq!(ends_at(clock, ahead_s), 1000);
        }
        // What differs by the reading of two clocks is the same.
        let before = clock.here(MADE_AT);
        let Now { wall, .. } = box_at(2100, -3600);
        clock.look(Now { wall: WallTime::from_unix_ms(wall.unix_ms() + 7), ..box_at(2100, 0) });
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
        clock.look(Now { uptime: Uptime { boot: 8, ms: 60_000 }, ..again(later) });
        assert_eq!(clock.here(known), in_1970);
        // A clock that went on is believed.
        let later = WallTime::from_unix_ms(MADE_AT.unix_ms() + 900_000);
        clock.hear(Now { uptime: Uptime { boot: 9, ms: 0 }, ..again(later) }, MADE_AT);
        assert_eq!(clock.here(MADE_AT), MADE_AT);
    }
}
