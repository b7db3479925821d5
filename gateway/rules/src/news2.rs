//! NEWS2: seven observations of one moment, and the points for them.
//!
//! © Royal College of Physicians 2017, National Early Warning Score (NEWS) 2. The table must not be
//! altered. Not for the pregnant, nor under 16 years: whoever scores asks the rule set.
//!
//! # Invariants
//! - what is missing is never a zero: the score says that it is incomplete
//! - what a nurse has to see (consciousness, oxygen) is never guessed from a device

use crate::{
    engine::CHECK,
    population::{Profile, counted},
    rule::RuleSet,
};
use model::{
    decimal::Decimal,
    metric::{Class, Metric},
    time::WallTime,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Streams count by their median over this.
const STREAM_MS: i64 = 60_000;
/// Spot values count when they are at most this old; temperatures change slowly.
const SPOT_MS: i64 = 60 * 60_000;
const TEMP_MS: i64 = 4 * 3_600_000;
/// What a probe on the bed reads is no temperature of a patient, in °C.
const ROOM_CEL: (Decimal, Decimal) = (Decimal::fixed(15, 0), Decimal::fixed(30, 0));

/// How awake somebody is (ACVPU).
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Consciousness {
    /// Awake.
    Alert,
    /// Newly confused.
    Confusion,
    /// Answers when spoken to.
    Voice,
    /// Answers to pain.
    Pain,
    /// Does not answer.
    Unresponsive,
}

impl Consciousness {
    /// As nurses write it: alert, confused, to voice, to pain, unresponsive.
    pub const LETTERS: [(&'static str, Self); 5] = [
        ("A", Self::Alert),
        ("C", Self::Confusion),
        ("V", Self::Voice),
        ("P", Self::Pain),
        ("U", Self::Unresponsive),
    ];

    /// That of a letter.
    #[must_use]
    pub fn from_letter(letter: &str) -> Option<Self> {
        Self::LETTERS.into_iter().find(|(known, _)| *known == letter).map(|(_, state)| state)
    }
}

/// By which table oxygen saturation is scored.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Scale {
    /// For everybody.
    One,
    /// For whom a doctor ordered 88–92 %.
    Two,
}

/// One observation set. Values are in canonical units, as they are printed.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Observations {
    /// Breaths per minute.
    pub respiration: Option<Decimal>,
    /// Oxygen saturation, %.
    pub spo2: Option<Decimal>,
    /// Whether oxygen is given; typed.
    pub oxygen: Option<bool>,
    /// Systolic pressure, mmHg.
    pub systolic: Option<Decimal>,
    /// Beats per minute.
    pub pulse: Option<Decimal>,
    /// Typed.
    pub consciousness: Option<Consciousness>,
    /// °C.
    pub temperature: Option<Decimal>,
    /// A value of it is implausible.
    pub check: bool,
}

/// A value that was measured: canonical, as printed, and not rejected.
#[derive(Clone, Copy, Debug)]
pub struct Measured {
    /// What.
    pub metric: Metric,
    /// How much.
    pub value: Decimal,
    /// When.
    pub at: WallTime,
    /// Measured once, not repeated by itself.
    pub spot: bool,
    /// Implausible: a loose sensor, or an emergency. It counts like any other.
    pub check: bool,
}

impl Observations {
    /// The set of a moment: what devices measured until then, and what a nurse typed.
    #[must_use]
    pub fn at(
        at: WallTime,
        measured: &[Measured],
        oxygen: Option<bool>,
        consciousness: Option<Consciousness>,
    ) -> Self {
        let mut check = false;
        let mut value = |class, spot_ms| {
            let (value, is_implausible) = value_of(measured, at, class, spot_ms)?;
            check |= is_implausible;
            Some(value)
        };
        Self {
            respiration: value(Class::Rr, SPOT_MS),
            spo2: value(Class::Spo2, SPOT_MS),
            oxygen,
            systolic: value(Class::NibpSys, SPOT_MS),
            pulse: value(Class::Hr, SPOT_MS),
            consciousness,
            temperature: value(Class::Temp, TEMP_MS),
            check,
        }
    }

    /// Whether all that devices measure of it is there; what a nurse types may still be missing.
    #[must_use]
    pub const fn is_measured(&self) -> bool {
        self.respiration.is_some()
            && self.spo2.is_some()
            && self.systolic.is_some()
            && self.pulse.is_some()
            && self.temperature.is_some()
    }
}

impl Profile {
    /// The observation set of a moment. Of what a nurse typed oxygen counts as long as everywhere,
    /// consciousness as long as any other spot value of the set: who was awake this morning may not
    /// be now.
    #[must_use]
    pub fn observations(&self, at: WallTime, measured: &[Measured]) -> Observations {
        let oxygen = counted(self.oxygen, at);
        let consciousness = self.consciousness.and_then(|entry| entry.within(SPOT_MS, at));
        Observations::at(at, measured, oxygen, consciousness)
    }

    /// The points of a set; `None` for whom the score is not valid: under 16, of unknown age, or
    /// pregnant.
    #[must_use]
    pub fn score(&self, rules: &RuleSet, at: WallTime, set: &Observations) -> Option<Score> {
        let facts = self.facts(rules, at);
        let is_valid = rules.scores().iter().any(|rule| rule.is_for(&facts));
        is_valid.then(|| Score::of(set, self.scale(at)))
    }

    /// By which table the oxygen saturation is scored.
    #[must_use]
    pub fn scale(&self, at: WallTime) -> Scale {
        match self.scale2_until.is_some_and(|until| at < until) {
            true => Scale::Two,
            false => Scale::One,
        }
    }
}

/// What a class was at that moment: the median of a stream, by the order of the metrics in the
/// catalogue where there are several, else the newest spot value; and whether that is implausible.
fn value_of(
    measured: &[Measured],
    at: WallTime,
    class: Class,
    spot_ms: i64,
) -> Option<(Decimal, bool)> {
    let age = |it: &Measured| at.unix_ms().saturating_sub(it.at.unix_ms());
    let of_class = || measured.iter().filter(|it| it.metric.row().class == class);
    let on_bed =
        |it: &Measured| class == Class::Temp && ROOM_CEL.0 <= it.value && it.value <= ROOM_CEL.1;
    let mut streams: BTreeMap<(u8, Metric), Vec<(Decimal, bool)>> = BTreeMap::new();
    for it in of_class().filter(|it| !it.spot && (0..STREAM_MS).contains(&age(it)) && !on_bed(it)) {
        let rank = it.metric.row().class_rank.unwrap_or_default();
        streams.entry((rank, it.metric)).or_default().push((it.value, it.check));
    }
    let decimals = class.metrics().next()?.row().decimals?;
    if let Some((_, values)) = streams.pop_first() {
        return median(values, decimals);
    }
    let spots = of_class().filter(|it| it.spot && (0..=spot_ms).contains(&age(it)));
    spots.max_by_key(|it| it.at).map(|it| (it.value, it.check))
}

fn median(mut values: Vec<(Decimal, bool)>, decimals: u8) -> Option<(Decimal, bool)> {
    values.sort();
    let (low, check_low) = values.get((values.len() - 1) / 2)?;
    let (high, check_high) = values.get(values.len() / 2)?;
    // Values of one class have the same digits after the point: half of the sum has one more.
    let (low, high) = (low.rounded(decimals)?, high.rounded(decimals)?);
    let tenths = low.mantissa().checked_add(high.mantissa())?.checked_mul(5)?;
    let middle = Decimal::new(tenths, low.exponent().checked_sub(1)?)?.rounded(decimals)?;
    Some((middle, *check_low || *check_high))
}

/// The points of a set.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Score {
    /// Breaths.
    pub respiration: Option<u32>,
    /// Oxygen saturation.
    pub spo2: Option<u32>,
    /// Air or oxygen.
    pub oxygen: Option<u32>,
    /// Systolic pressure.
    pub systolic: Option<u32>,
    /// Pulse.
    pub pulse: Option<u32>,
    /// Consciousness.
    pub consciousness: Option<u32>,
    /// Temperature.
    pub temperature: Option<u32>,
    /// Points rest on a value that is implausible.
    pub check: bool,
}

impl Score {
    /// The points of a set, by the table.
    #[must_use]
    pub fn of(set: &Observations, scale: Scale) -> Self {
        Self {
            respiration: set.respiration.map(|rate| points(&RESPIRATION, rate)),
            spo2: set.spo2.and_then(|spo2| spo2_points(spo2, set.oxygen, scale)),
            oxygen: set.oxygen.map(|given| if given { 2 } else { 0 }),
            systolic: set.systolic.map(|pressure| points(&SYSTOLIC, pressure)),
            pulse: set.pulse.map(|rate| points(&PULSE, rate)),
            consciousness: set.consciousness.map(|state| match state {
                Consciousness::Alert => 0,
                Consciousness::Confusion
                | Consciousness::Voice
                | Consciousness::Pain
                | Consciousness::Unresponsive => 3,
            }),
            temperature: set.temperature.map(|degrees| points(&TEMPERATURE, degrees)),
            check: set.check,
        }
    }

    const fn items(&self) -> [Option<u32>; 7] {
        [
            self.respiration,
            self.spo2,
            self.oxygen,
            self.systolic,
            self.pulse,
            self.consciousness,
            self.temperature,
        ]
    }

    /// The sum of what is known.
    #[must_use]
    pub fn total(&self) -> u32 {
        self.items().into_iter().flatten().sum()
    }

    /// Whether nothing is missing.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.items().iter().all(Option::is_some)
    }

    /// Whether one item alone has so many points.
    #[must_use]
    pub fn has_item(&self, points: u32) -> bool {
        self.items().contains(&Some(points))
    }

    /// As it is printed, in Chinese and English.
    #[must_use]
    pub fn texts(&self) -> [String; 2] {
        let total = self.total();
        let [check_zh, check_en] = if self.check { CHECK } else { [""; 2] };
        let [incomplete_zh, incomplete_en] = match self.is_complete() {
            true => [""; 2],
            false => ["不完整 ≥ ", "incomplete ≥ "],
        };
        [
            format!("NEWS2 {incomplete_zh}{total}{check_zh}"),
            format!("NEWS2 {incomplete_en}{total}{check_en}"),
        ]
    }
}

/// Up to which value, inclusive, there are how many points; above the last: the second.
struct Bands<const N: usize>([(Decimal, u32); N], u32);

const fn whole(number: i64) -> Decimal {
    Decimal::fixed(number, 0)
}

const fn tenths(number: i64) -> Decimal {
    Decimal::fixed(number, -1)
}

const RESPIRATION: Bands<4> =
    Bands([(whole(8), 3), (whole(11), 1), (whole(20), 0), (whole(24), 2)], 3);
const SPO2_ONE: Bands<3> = Bands([(whole(91), 3), (whole(93), 2), (whole(95), 1)], 0);
const SPO2_TWO_ON_AIR: Bands<3> = Bands([(whole(83), 3), (whole(85), 2), (whole(87), 1)], 0);
const SPO2_TWO_ON_OXYGEN: Bands<6> = Bands(
    [
        (whole(83), 3),
        (whole(85), 2),
        (whole(87), 1),
        (whole(92), 0),
        (whole(94), 1),
        (whole(96), 2),
    ],
    3,
);
const SYSTOLIC: Bands<4> =
    Bands([(whole(90), 3), (whole(100), 2), (whole(110), 1), (whole(219), 0)], 3);
const PULSE: Bands<5> =
    Bands([(whole(40), 3), (whole(50), 1), (whole(90), 0), (whole(110), 1), (whole(130), 2)], 3);
const TEMPERATURE: Bands<4> =
    Bands([(tenths(350), 3), (tenths(360), 1), (tenths(380), 0), (tenths(390), 1)], 2);

fn points<const N: usize>(Bands(bands, above): &Bands<N>, value: Decimal) -> u32 {
    bands.iter().find(|(up_to, _)| value <= *up_to).map_or(*above, |(_, points)| *points)
}

fn spo2_points(spo2: Decimal, oxygen: Option<bool>, scale: Scale) -> Option<u32> {
    match (scale, oxygen) {
        (Scale::One, _) => Some(points(&SPO2_ONE, spo2)),
        (Scale::Two, Some(false)) => Some(points(&SPO2_TWO_ON_AIR, spo2)),
        (Scale::Two, Some(true)) => Some(points(&SPO2_TWO_ON_OXYGEN, spo2)),
        // Up to 92 % it is the same with oxygen and without.
        (Scale::Two, None) if spo2 <= whole(92) => Some(points(&SPO2_TWO_ON_AIR, spo2)),
        (Scale::Two, None) => None,
    }
}

#[cfg(test)]
mod tests;
