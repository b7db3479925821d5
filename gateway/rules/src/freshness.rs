//! Whether a reading tells the present (alert rules, "Late, backfilled and out-of-order data").

use model::{
    id::{Lane, OutboxId, Seq},
    reading::{Occurrence, ReadingGroup},
    time::{DeviceTime, Uptime, WallTime},
};
use serde::{Deserialize, Serialize};

/// Fresh: at most this old.
const STREAM_FRESH_MS: i64 = 60_000;
const SPOT_FRESH_MS: i64 = 10 * 60_000;
/// Late: at most this old; older is backfill.
const STREAM_LATE_MS: i64 = 10 * 60_000;
const SPOT_LATE_MS: i64 = 24 * 3_600_000;
/// A clock that is further off than this is wrong (metric catalogue, `clock_offset`).
const CLOCK_OFF_MS: i64 = 2_000;
/// What a box decodes is in an envelope within this time: what is further from the moment at which
/// that was opened was stamped before the clock was set.
const IN_ENVELOPE_MS: u64 = 3_600_000;
/// A kiosk stamps the minute in which it began, and a measurement takes under a minute.
const TOLD_WITHIN_MS: u64 = 2 * 60_000;
/// A meter's memory holds about a year: what is said to be older was stamped by a clock that was
/// reset, or lies in a drawer.
const MEMORY_MS: i64 = 400 * 86_400_000;

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
    /// Every class.
    pub const ALL: [Self; 3] = [Self::Fresh, Self::Late, Self::Backfill];

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
    pub fn of(group: &ReadingGroup, t_meas: Moment, now: WallTime) -> Self {
        match group.occurrence {
            Occurrence::Stream => Self::of_stream(t_meas, now),
            Occurrence::Spot => Self::by_age(t_meas, now, SPOT_FRESH_MS, SPOT_LATE_MS),
        }
    }

    /// The class of something that repeats.
    #[must_use]
    pub fn of_stream(t_meas: Moment, now: WallTime) -> Self {
        Self::by_age(t_meas, now, STREAM_FRESH_MS, STREAM_LATE_MS)
    }

    fn by_age(t_meas: Moment, now: WallTime, fresh_ms: i64, late_ms: i64) -> Self {
        match now.unix_ms().saturating_sub(t_meas.at.unix_ms()) {
            _ if t_meas.only_bounded => Self::Backfill,
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
    /// It was earlier, and nobody knows by how much: it does not tell the present.
    pub only_bounded: bool,
}

impl Moment {
    /// A moment by a clock that is right.
    #[must_use]
    pub const fn sure(at: WallTime) -> Self {
        Self { at, suspect: false, only_bounded: false }
    }

    const fn made(at: WallTime, suspect: bool) -> Self {
        Self { at, suspect, only_bounded: false }
    }
}

/// What is known of the clock of an edge box when it wrote an envelope.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum BoxTime {
    /// The envelope does not say how long the box had been running: so far it was ahead of the
    /// county when it last told its state.
    Ahead {
        /// Milliseconds.
        ms: i64,
    },
    /// When the envelope was opened: what the box said, and what it was by the county's clock.
    Opened {
        /// By the box.
        said: WallTime,
        /// By the county.
        was: WallTime,
    },
    /// It was in a boot that ended before the county heard of it: earlier than the next one.
    Before(WallTime),
}

/// What is known of the clocks between a reading and the county.
#[derive(Clone, Copy, Debug)]
pub struct Clocks {
    /// Of the edge box.
    pub of_box: BoxTime,
    /// How far the device is ahead of the county, where it says so.
    pub device_ahead_ms: Option<i64>,
    /// The device tells its measurements as it makes them and remembers none.
    pub tells_at_once: bool,
}

impl Clocks {
    /// What is known of a box alone.
    #[must_use]
    pub const fn of_box(of_box: BoxTime) -> Self {
        Self { of_box, device_ahead_ms: None, tells_at_once: false }
    }

    /// How far the box is ahead of the county; 0 where that is nothing.
    #[must_use]
    pub fn box_ahead_ms(&self) -> i64 {
        let ahead_ms = match self.of_box {
            BoxTime::Ahead { ms } => ms,
            BoxTime::Opened { said, was } => said.unix_ms().saturating_sub(was.unix_ms()),
            BoxTime::Before(_) => 0,
        };
        if is_off(ahead_ms) { ahead_ms } else { 0 }
    }

    /// When the box saw something, by the county's clock. What lies in the future has a wrong
    /// clock, and takes the county's.
    #[must_use]
    pub fn observed(&self, observed: WallTime, now: WallTime) -> Moment {
        let by_county = earlier(observed, self.box_ahead_ms());
        let moment = match self.of_box {
            BoxTime::Ahead { .. } => Moment::made(by_county, by_county != observed),
            BoxTime::Opened { said, was } => {
                let apart_ms = said.unix_ms().abs_diff(observed.unix_ms());
                Moment::sure(if apart_ms > IN_ENVELOPE_MS { was } else { by_county })
            }
            BoxTime::Before(then) => {
                Moment { at: observed.min(then), suspect: true, only_bounded: observed > then }
            }
        };
        match is_future(moment.at, now) {
            true => Moment { at: now, suspect: true, ..moment },
            false => moment,
        }
    }

    /// When it was measured: device time without the device's error for a spot reading of a device
    /// that keeps time, else observed time.
    ///
    /// The clock of a device that tells its measurements at once is seen by when they come: one
    /// that says another time has a wrong clock. Of one that remembers only what it says itself.
    #[must_use]
    pub fn measured(&self, group: &ReadingGroup, now: WallTime) -> Moment {
        let observed = self.observed(group.observed.at, now);
        let device = match group.occurrence {
            Occurrence::Spot => group.device_time.and_then(DeviceTime::utc),
            Occurrence::Stream => None,
        };
        let Some(device) = device else { return observed };
        let apart_ms = device.unix_ms().abs_diff(observed.at.unix_ms());
        let off = self.device_ahead_ms.filter(|ahead_ms| is_off(*ahead_ms));
        if let Some(ahead_ms) = off {
            let at = earlier(device, ahead_ms);
            // Else it was stamped before the clock was set: the error of today is not of that time.
            if !is_future(at, now) {
                return Moment::made(at, true);
            }
        }
        let told_late = self.tells_at_once && off.is_none() && apart_ms > TOLD_WITHIN_MS;
        if told_late || is_future(device, now) {
            return Moment { suspect: true, ..observed };
        }
        let suspect = off.is_some() || is_beyond_memory(device, observed.at);
        Moment::made(device, suspect)
    }
}

fn is_off(ahead_ms: i64) -> bool {
    ahead_ms.saturating_abs() > CLOCK_OFF_MS
}

/// Whether something is said to be older than what devices remember.
#[must_use]
pub fn is_beyond_memory(measured: WallTime, heard: WallTime) -> bool {
    heard.unix_ms().saturating_sub(measured.unix_ms()) > MEMORY_MS
}

fn earlier(at: WallTime, ms: i64) -> WallTime {
    WallTime::from_unix_ms(at.unix_ms().saturating_sub(ms))
}

fn is_future(at: WallTime, now: WallTime) -> bool {
    at.unix_ms() > now.unix_ms().saturating_add(CLOCK_OFF_MS)
}

/// What the county makes of the times an edge box says it is.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
pub struct BoxClock {
    ahead_ms: i64,
    heard_ms: Option<i64>,
}

impl BoxClock {
    /// The box said just now that it is `at`.
    ///
    /// Delay makes a box look behind: of two words in a row the less delayed counts. A small
    /// change is no news, so that the times of readings do not jitter.
    pub fn hear(&mut self, at: WallTime, now: WallTime) {
        let heard_ms = at.unix_ms().saturating_sub(now.unix_ms());
        let ahead_ms = heard_ms.max(self.heard_ms.unwrap_or(heard_ms));
        self.heard_ms = Some(heard_ms);
        if ahead_ms.saturating_sub(self.ahead_ms).saturating_abs() > CLOCK_OFF_MS {
            self.ahead_ms = ahead_ms;
        }
    }

    /// How far it is ahead of the county.
    #[must_use]
    pub const fn ahead_ms(&self) -> i64 {
        self.ahead_ms
    }
}

/// When a boot of an edge box was, by the county's clock: what was said at an uptime of it was not
/// said before `zero` plus that.
///
/// A word of the box is late by as long as it was on its way, and never early: the earliest counts.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct BootClock {
    /// The moment of the boot.
    pub zero: WallTime,
    /// The moment by the last state alone, or by what came since and says that it was earlier.
    pub heard: WallTime,
}

impl BootClock {
    /// The first word of that boot.
    #[must_use]
    pub fn new(uptime: Uptime, now: WallTime) -> Self {
        let zero = zero(uptime, now);
        Self { zero, heard: zero }
    }

    /// A word that came with something else.
    pub fn hear(&mut self, uptime: Uptime, now: WallTime) {
        let heard = zero(uptime, now);
        if heard < self.zero {
            (self.zero, self.heard) = (heard, heard);
        }
    }

    /// A word that comes each half minute. Where two in a row say that it was later, a clock runs
    /// slow or the county's was set, and the boot was later.
    pub fn hear_state(&mut self, uptime: Uptime, now: WallTime) {
        self.hear(uptime, now);
        let heard = zero(uptime, now);
        let earliest = heard.min(self.heard);
        self.heard = heard;
        if earliest.unix_ms().saturating_sub(self.zero.unix_ms()) > CLOCK_OFF_MS {
            self.zero = earliest;
        }
    }

    /// When it was at that uptime.
    #[must_use]
    pub fn at(&self, uptime: Uptime) -> WallTime {
        WallTime::from_unix_ms(self.zero.unix_ms().saturating_add(signed(uptime)))
    }
}

fn zero(uptime: Uptime, now: WallTime) -> WallTime {
    earlier(now, signed(uptime))
}

fn signed(uptime: Uptime) -> i64 {
    i64::try_from(uptime.ms).unwrap_or(i64::MAX)
}

/// Where a record is: orders readings of the same `t_meas`, and the statuses of a device.
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

/// A position as it is kept: outbox, envelope, place in the envelope.
pub(crate) type Place = (String, u64, u32);

impl Position {
    pub(crate) fn place(self) -> Place {
        (self.outbox.to_string(), self.seq.get(), self.index)
    }
}

/// Whether something was said before what is known; of two outboxes nobody can tell.
pub(crate) fn is_before(place: &Place, known: &Place) -> bool {
    place.0 == known.0 && (place.1, place.2) < (known.1, known.2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::{
        id::DeviceId,
        metric::Metric,
        reading::Reading,
        time::{ClockQuality, Observed},
        units::Unit,
    };

    #[test]
    fn the_class_is_a_question_of_age() {
        let at = WallTime::from_unix_ms;
        let class = |age_s: i64| Freshness::of_stream(Moment::sure(at(0)), at(age_s * 1000));
        assert_eq!(class(60), Freshness::Fresh);
        assert_eq!(class(61), Freshness::Late);
        assert_eq!(class(600), Freshness::Late);
        assert_eq!(class(601), Freshness::Backfill);
        assert_eq!(class(-100), Freshness::Fresh);
        let value = Reading::number(Metric::GLU_CAP_PL, 53, Unit::MG_PER_DL);
        let observed = Observed { at: at(0), quality: ClockQuality::Synchronised };
        let spot = ReadingGroup::new(DeviceId::new("glu-01").unwrap(), observed, vec![value]);
        let class = |age_s: i64| Freshness::of(&spot, Moment::sure(at(0)), at(age_s * 1000));
        assert_eq!(class(10 * 60), Freshness::Fresh);
        assert_eq!(class(10 * 60 + 1), Freshness::Late);
        assert_eq!(class(24 * HOUR), Freshness::Late);
        assert_eq!(class(24 * HOUR + 1), Freshness::Backfill);
    }

    const NOW: WallTime = WallTime::from_unix_ms(1_795_335_300_000);

    fn ago(seconds: i64) -> WallTime {
        earlier(NOW, seconds * 1000)
    }

    /// How old a glucose value is taken to be, in seconds, and whether that is doubtful.
    #[track_caller]
    fn check(clocks: Clocks, device_ago: i64, observed_ago: i64, expected: (i64, bool)) {
        let device = DeviceId::new("glu-01").unwrap();
        let observed = Observed { at: ago(observed_ago), quality: ClockQuality::Unknown };
        let reading = Reading::number(Metric::GLU_CAP_PL, 53, Unit::MG_PER_DL);
        let time = DeviceTime::Zoned { civil_ms: ago(device_ago).unix_ms(), offset_s: 0 };
        let group = ReadingGroup::new(device, observed, vec![reading]).at_device_time(Some(time));
        let found = clocks.measured(&group, NOW);
        let age_s = (NOW.unix_ms() - found.at.unix_ms()) / 1000;
        assert_eq!((age_s, found.suspect), expected);
    }

    const HOUR: i64 = 3600;
    const RIGHT: Clocks = Clocks::of_box(BoxTime::Ahead { ms: 0 });

    #[test]
    fn the_error_a_meter_admits_is_taken_off() {
        let meter = |ahead_s: i64| Clocks { device_ahead_ms: Some(ahead_s * 1000), ..RIGHT };
        check(RIGHT, 2 * HOUR, 5, (2 * HOUR, false));
        check(meter(1), 2 * HOUR, 5, (2 * HOUR, false));
        // A meter whose battery was changed begins with its year 2000.
        check(meter(-26 * 8766 * HOUR), 26 * 8766 * HOUR + 300, 5, (300, true));
        check(meter(9 * HOUR), 300 - 9 * HOUR, 5, (300, true));
        check(meter(-9 * HOUR), 9 * HOUR - 1, 5, (-1, true));
        // Measured before the battery was changed.
        check(meter(-26 * 8766 * HOUR), 700 * HOUR, 5, (700 * HOUR, true));
        check(RIGHT, -HOUR, 5, (5, true));
        // One that admits nothing is believed, and marked where its memory cannot be so long.
        check(RIGHT, 26 * 8766 * HOUR, 5, (26 * 8766 * HOUR, true));
        check(RIGHT, 300 * 24 * HOUR, 5, (300 * 24 * HOUR, false));
    }

    #[test]
    fn a_kiosk_that_says_another_time_than_now_has_a_wrong_clock() {
        let kiosk = Clocks { tells_at_once: true, ..RIGHT };
        for device_ago in [6 * HOUR, 1000, -6 * HOUR] {
            check(kiosk, device_ago, 5, (5, true));
        }
        check(kiosk, 2 * HOUR + 80, 2 * HOUR, (2 * HOUR + 80, false));
    }

    #[test]
    fn the_error_of_a_box_is_taken_off() {
        let of_box = |ahead_s: i64| Clocks::of_box(BoxTime::Ahead { ms: ahead_s * 1000 });
        let seen = |ahead_s, ago_s| {
            let found = of_box(ahead_s).observed(ago(ago_s), NOW);
            ((NOW.unix_ms() - found.at.unix_ms()) / 1000, found.suspect)
        };
        assert_eq!(seen(1, 1), (1, false));
        assert_eq!(seen(-HOUR, HOUR + 1), (1, true));
        assert_eq!(seen(HOUR, 300 - HOUR), (300, true));
        assert_eq!(seen(0, -HOUR), (0, true));
    }

    #[test]
    fn what_was_said_before_the_clock_was_set_is_as_old_as_it_is() {
        let of_box = |said: i64| {
            let was = ago(HOUR);
            Clocks::of_box(BoxTime::Opened { said: WallTime::from_unix_ms(said), was })
        };
        let seen = |clocks: Clocks, said: i64| {
            let found = clocks.observed(WallTime::from_unix_ms(said), NOW);
            (NOW.unix_ms() - found.at.unix_ms(), found.suspect)
        };
        // Since the box began with 1970 an hour has passed.
        assert_eq!(seen(of_box(90_000), 90_000), (3_600_000, false));
        assert_eq!(seen(of_box(90_000), 90_250), (3_599_750, false));
        // The clock was set between decoding and opening, in either way.
        let right = ago(HOUR).unix_ms();
        assert_eq!(seen(of_box(right), 90_000), (3_600_000, false));
        assert_eq!(seen(of_box(90_000), right), (3_600_000, false));
        // A clock that is right is not moved by what a message takes.
        assert_eq!(seen(of_box(right - 1900), right), (3_600_000, false));
        // Nobody knows when that boot was: never later than the next.
        let before = Clocks::of_box(BoxTime::Before(ago(600)));
        assert_eq!(seen(before, 90_000), (NOW.unix_ms() - 90_000, true));
        assert_eq!(seen(before, NOW.unix_ms() + 9_000_000), (600_000, true));
        // And never the present, also where the next began just now.
        let before = Clocks::of_box(BoxTime::Before(NOW));
        let class = |said| Freshness::of_stream(before.observed(said, NOW), NOW);
        assert_eq!(class(ago(-1)), Freshness::Backfill);
        assert_eq!(class(ago(-9000)), Freshness::Backfill);
    }

    #[test]
    fn the_earliest_that_any_word_allows_is_when_the_boot_was() {
        let up = |seconds: u64| Uptime { boot: 1, ms: seconds * 1000 };
        let mut boot = BootClock::new(up(100), ago(-20));
        let zero_s = |boot: BootClock| (boot.zero.unix_ms() - NOW.unix_ms()) / 1000;
        assert_eq!(zero_s(boot), -80);
        boot.hear(up(101), ago(-1));
        assert_eq!(zero_s(boot), -100);
        assert_eq!(boot.at(up(7)), ago(93));
        // A stalled link.
        boot.hear(up(110), ago(-60));
        boot.hear_state(up(130), ago(-70));
        boot.hear_state(up(160), ago(-60));
        boot.hear_state(up(190), ago(-99));
        assert_eq!(zero_s(boot), -100);
        // A clock that runs slow for a month, or a county whose clock is set.
        boot.hear_state(up(220), ago(-130));
        boot.hear_state(up(250), ago(-159));
        assert_eq!(zero_s(boot), -91);
    }

    #[test]
    fn a_delayed_word_of_a_box_does_not_move_its_clock() {
        let mut clock = BoxClock::default();
        let mut hear = |ahead_s: i64| {
            clock.hear(ago(-ahead_s), NOW);
            clock.ahead_ms() / 1000
        };
        assert_eq!([hear(0), hear(-20), hear(0), hear(1)], [0; 4]);
        assert_eq!([hear(-3600), hear(-3601)], [0, -3600]);
        assert_eq!([hear(90), hear(91)], [90; 2]);
    }
}
