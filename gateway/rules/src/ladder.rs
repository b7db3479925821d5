//! How long people have: until the next one is told, until it sounds again, on the shelf.

use crate::alert::named;
use model::{alarm::Priority, id::SiteId};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

const SECOND_MS: i64 = 1000;
const MINUTE_MS: i64 = 60 * SECOND_MS;
const HOUR_MS: i64 = 60 * MINUTE_MS;

named! {
    /// Who is told, one after the other.
    #[derive(Default)]
    Level {
        /// Whoever is on duty.
        #[default]
        First = "first";
        /// The second person of the township.
        Second = "second";
        /// The doctor on duty in the township.
        TownshipDoctor = "township_doctor";
        /// Whoever is on call in the county.
        CountyOnCall = "county_on_call";
    }
}

impl Level {
    /// The one after this.
    #[must_use]
    pub fn next(self) -> Option<Self> {
        Self::ALL.iter().copied().find(|level| *level > self)
    }
}

/// One of something for each priority.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ByPriority<T> {
    /// For high ones.
    pub high: T,
    /// For medium ones.
    pub medium: T,
    /// For low ones.
    pub low: T,
}

impl<T: Copy> ByPriority<T> {
    /// That of a priority.
    #[must_use]
    pub const fn of(&self, priority: Priority) -> T {
        match priority {
            Priority::High => self.high,
            Priority::Medium => self.medium,
            Priority::Low => self.low,
        }
    }
}

/// How long an alert sounds unanswered until each is told, in ms; nobody of that level where there
/// is none.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Ladder {
    /// The second person.
    pub second: Option<i64>,
    /// The doctor on duty in the township.
    pub township_doctor: Option<i64>,
    /// Whoever is on call in the county.
    pub county_on_call: Option<i64>,
}

impl Ladder {
    /// Its steps above a level.
    pub(crate) fn above(self, level: Level) -> impl Iterator<Item = (Level, i64)> {
        let steps = [
            (Level::Second, self.second),
            (Level::TownshipDoctor, self.township_doctor),
            (Level::CountyOnCall, self.county_on_call),
        ];
        let above = steps.into_iter().filter(move |(step, _)| *step > level);
        above.filter_map(|(step, after_ms)| Some((step, after_ms?)))
    }
}

/// The times of an alert's life, in milliseconds. The default is that of the specification (alert
/// rules, "Priority, delay and the measures against alarm fatigue").
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Times {
    /// From acknowledging until an alert that still holds sounds again.
    pub realarm: ByPriority<i64>,
    /// From sounding until the next persons are told.
    pub ladder: ByPriority<Ladder>,
    /// How long an alert may stand on the shelf.
    pub shelf_max: ByPriority<i64>,
    /// How long one person alone may shelve a high one.
    pub shelf_alone: i64,
    /// A high one that is over and nobody has seen is reminded of this often.
    pub remind: i64,
    /// Within this somebody may take back what they did.
    pub undo: i64,
}

/// The times of a county, and of its sites whose township has its own.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct TimesBySite {
    /// Those of every other site.
    pub county: Times,
    /// Site → its own.
    pub own: BTreeMap<SiteId, Times>,
}

impl TimesBySite {
    /// Those of a site.
    #[must_use]
    pub fn of(&self, site: &SiteId) -> &Times {
        self.own.get(site).unwrap_or(&self.county)
    }
}

impl Default for Times {
    fn default() -> Self {
        let ladder = |second, doctor, county| Ladder {
            second: Some(second),
            township_doctor: Some(doctor),
            county_on_call: Some(county),
        };
        Self {
            realarm: ByPriority { high: 2 * MINUTE_MS, medium: 10 * MINUTE_MS, low: HOUR_MS },
            ladder: ByPriority {
                high: ladder(MINUTE_MS, 2 * MINUTE_MS, 5 * MINUTE_MS),
                medium: ladder(5 * MINUTE_MS, 15 * MINUTE_MS, 30 * MINUTE_MS),
                low: Ladder {
                    second: None,
                    township_doctor: Some(8 * HOUR_MS),
                    county_on_call: None,
                },
            },
            shelf_max: ByPriority { high: 15 * MINUTE_MS, medium: 2 * HOUR_MS, low: 24 * HOUR_MS },
            shelf_alone: 5 * MINUTE_MS,
            remind: 5 * MINUTE_MS,
            undo: MINUTE_MS,
        }
    }
}
