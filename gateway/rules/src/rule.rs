//! The rule set: read from JSON, checked for what its schema cannot say.
//!
//! Not here: which of them apply to whom (`population`).

use crate::{
    danger, engine,
    ladder::{Times, TimesBySite},
    population::{Ages, Population},
};
use model::{alarm::Priority, decimal::Decimal, device::DeviceKind, id::SiteId, metric::Class};
use serde::Deserialize;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};
use thiserror::Error;

mod mistake;
mod read;
mod written;

pub use mistake::{Mistake, RuleMistake};

/// Longest strip before and after an alert's begin, in seconds: three leads of ten minutes are one
/// MB that is kept for ever.
const STRIP_MAX_S: i64 = 600;
/// The same in milliseconds.
pub const STRIP_MAX_MS: i64 = STRIP_MAX_S * 1000;

/// Ids of the rules that the program goes by itself: without one nothing says what it is for.
pub fn needed() -> impl Iterator<Item = &'static str> {
    danger::ASKED_BY.into_iter().chain(engine::BY_ID)
}

/// Why a rule set was refused: all its mistakes, in the order of their lines.
#[derive(Debug, Error)]
#[error("the rule set has mistakes: {}", shown(.0))]
pub struct RuleSetError(pub Vec<RuleMistake>);

fn shown(mistakes: &[RuleMistake]) -> String {
    let told = mistakes.iter().map(|mistake| format!("line {}: {mistake}", mistake.line));
    told.collect::<Vec<_>>().join("; ")
}

/// A versioned collection of rules.
#[derive(Clone, Debug)]
pub struct RuleSet {
    version: String,
    /// Of its text.
    hash: String,
    populations: Vec<Population>,
    thresholds: Vec<Threshold>,
    /// Where the threshold rule of an id is.
    places: BTreeMap<String, usize>,
    follow_ups: Vec<FollowUpRule>,
    scores: Vec<ScoreRule>,
    spot: SpotDefaults,
    events: BTreeMap<String, EventRule>,
    technical: BTreeMap<String, TechnicalRule>,
    intervals: BTreeMap<DeviceKind, f64>,
    /// Parts of the names of drugs whose end is more urgent, in small letters.
    critical_drugs: Vec<String>,
    times: Arc<TimesBySite>,
}

/// How a value is compared.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
pub enum Op {
    /// Below.
    #[serde(rename = "<")]
    Less,
    /// At or below.
    #[serde(rename = "<=")]
    LessOrEqual,
    /// Above.
    #[serde(rename = ">")]
    Greater,
    /// At or above.
    #[serde(rename = ">=")]
    GreaterOrEqual,
}

impl Op {
    /// As it is printed.
    #[must_use]
    pub const fn sign(self) -> &'static str {
        match self {
            Self::Less => "<",
            Self::LessOrEqual => "≤",
            Self::Greater => ">",
            Self::GreaterOrEqual => "≥",
        }
    }
}

/// A limit on readings of a class.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Threshold {
    pub(crate) id: String,
    pub(crate) class: Class,
    /// The bit of its population.
    pub(crate) population: u64,
    pub(crate) ages: Ages,
    /// Only while oxygen is given, or is not.
    pub(crate) on_oxygen: Option<bool>,
    /// Rules of overlays that take its place.
    pub(crate) replaced_by: Vec<String>,
    pub(crate) op: Op,
    pub(crate) limit: Decimal,
    /// The limit rises by this with each completed year.
    per_year: Decimal,
    pub(crate) priority: Priority,
    pub(crate) family: String,
    pub(crate) sustain_ms: i64,
    /// For streams: the value that clears, held this long.
    pub(crate) clear: Option<(Op, Decimal, i64)>,
    /// For spot readings: when it should be measured again, and when it says that nobody did.
    pub(crate) recheck_ms: i64,
    pub(crate) rechecked_within_ms: i64,
    pub(crate) suppress_lead_off: bool,
    pub(crate) suppress_probe_off: bool,
    /// A cuff on the same limb takes an oximeter's pulse away.
    pub(crate) suppress_cuff: bool,
    pub(crate) promote: Option<Promote>,
    /// It marks a critical value (危急值).
    pub(crate) critical_value: bool,
    pub(crate) also: Option<Also>,
    pub(crate) message_zh: String,
    pub(crate) message_en: String,
}

/// A second value that confirms the first raises the priority.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Promote {
    pub(crate) to: Priority,
    pub(crate) after_ms: i64,
    pub(crate) within_ms: i64,
}

/// A second class that must meet its limit too.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Also {
    /// On which class of metrics.
    pub class: Class,
    /// How it is compared.
    pub op: Op,
    /// With what, in the canonical unit.
    pub limit: Decimal,
    /// How far from the first it may be measured.
    pub window_ms: i64,
}

impl Threshold {
    /// Its limit for somebody of so many completed years.
    pub(crate) fn limit_at(&self, years: u32) -> Decimal {
        let rise = sum(Decimal::ZERO, self.per_year, i64::from(years));
        rise.and_then(|rise| sum(self.limit, rise, 1)).unwrap_or(self.limit)
    }

    /// Whether it is high, or may become so: it is switched off for a day at most.
    pub(crate) fn may_be_high(&self) -> bool {
        let promoted = self.promote.map_or(self.priority, |promote| promote.to);
        self.critical_value || self.priority.max(promoted) == Priority::High
    }

    /// The value that clears, where a person has set another limit: as far from it as by default.
    pub(crate) fn clears_at(&self, limit: Decimal) -> Option<(Op, Decimal, i64)> {
        let (op, value, hold_ms) = self.clear?;
        let moved = sum(limit, self.limit, -1).and_then(|moved| sum(value, moved, 1));
        Some((op, moved.unwrap_or(value), hold_ms))
    }
}

/// `a + times × b`.
fn sum(a: Decimal, b: Decimal, times: i64) -> Option<Decimal> {
    let exponent = a.exponent().min(b.exponent());
    let scaled = |it: Decimal| {
        let shift = u32::try_from(i32::from(it.exponent()) - i32::from(exponent)).ok()?;
        it.mantissa().checked_mul(10_i64.checked_pow(shift)?)
    };
    Decimal::new(scaled(a)?.checked_add(scaled(b)?.checked_mul(times)?)?, exponent)
}

/// For spot readings where a rule says nothing of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct SpotDefaults {
    recheck_ms: i64,
    rechecked_within_ms: i64,
}

/// A target of a follow-up programme: never an alert.
#[derive(Clone, Debug)]
pub(crate) struct FollowUpRule {
    pub(crate) rule: Threshold,
    /// Visits in a row that are out of target.
    pub(crate) consecutive: u32,
    /// Only a reading of that meal.
    pub(crate) meal: Option<String>,
    /// Only when a person confirms that it was two hours after the meal.
    pub(crate) two_hours: bool,
}

/// What a score becomes.
#[derive(Clone, Debug)]
pub(crate) struct ScoreRule {
    pub(crate) id: String,
    pub(crate) population: u64,
    pub(crate) ages: Ages,
    pub(crate) item_equals: Option<u32>,
    pub(crate) at_least: Option<u32>,
    pub(crate) at_most: Option<u32>,
    pub(crate) priority: Priority,
    pub(crate) family: String,
    pub(crate) message_zh: String,
    pub(crate) message_en: String,
}

/// What a device is, and how often it speaks.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Pace {
    /// `None`: nobody knows.
    pub kind: Option<DeviceKind>,
    /// As its box is configured, in milliseconds; `None`: as its kind does.
    pub interval_ms: Option<i64>,
}

impl From<Option<DeviceKind>> for Pace {
    fn from(kind: Option<DeviceKind>) -> Self {
        Self { kind, interval_ms: None }
    }
}

/// What a device alarm becomes.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct EventRule {
    pub(crate) id: String,
    pub(crate) priority: Priority,
    pub(crate) from_device: Option<FromDevice>,
    /// While a drug of the site list is given.
    critical_drug: Option<Priority>,
    /// What comes back so soon after it was raised is no other alert.
    pub(crate) repeat_limit_ms: i64,
    /// What of its device's waveforms is kept with an alert.
    strip: Option<Strip>,
    /// Of which devices; empty: of all.
    kinds: Vec<DeviceKind>,
    pub(crate) family: String,
    pub(crate) message_zh: String,
    pub(crate) message_en: String,
}

/// What of a device's waveforms is kept with an alert, around its begin.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Strip {
    /// So long before it.
    pub before_ms: i64,
    /// So long after it.
    pub after_ms: i64,
}

/// What the device's own priority counts.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "snake_case")]
pub(crate) enum FromDevice {
    AtLeast,
    AsSent,
}

/// A condition of devices and boxes.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct TechnicalRule {
    pub(crate) id: String,
    pub(crate) class: Option<Class>,
    pub(crate) absolute: bool,
    /// A box does not decide it.
    at_county_alone: bool,
    pub(crate) kinds: Vec<DeviceKind>,
    pub(crate) family: String,
    steps: Vec<Step>,
    pub(crate) message_zh: String,
    pub(crate) message_en: String,
}

/// One step of a technical rule; the last that holds gives the priority.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Step {
    pub(crate) priority: Priority,
    /// While a drug of the site list is given.
    critical_drug: Option<Priority>,
    after_ms: i64,
    /// Not before so many expected intervals.
    after_intervals: u32,
    pub(crate) test: Option<(Op, Decimal)>,
    /// Only for a patient marked "monitored", or a box that serves one.
    monitored: Option<bool>,
}

impl RuleSet {
    /// Its version.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// By which it differs from every other one, whatever both call their version.
    pub(crate) fn hash(&self) -> &str {
        &self.hash
    }

    /// With other times of an alert's life.
    #[must_use]
    pub fn with_times(self, times: Arc<TimesBySite>) -> Self {
        Self { times, ..self }
    }

    /// Without what the county decides alone: a box would warn of the age that nobody entered.
    #[must_use]
    pub fn at_the_box(mut self) -> Self {
        self.technical.retain(|_, rule| !rule.at_county_alone);
        self.scores.clear();
        self
    }

    /// The times of the life of a site's alerts.
    #[must_use]
    pub fn times(&self, site: &SiteId) -> &Times {
        self.times.of(site)
    }

    pub(crate) fn populations(&self) -> &[Population] {
        &self.populations
    }

    pub(crate) fn all_thresholds(&self) -> impl Iterator<Item = &Threshold> {
        self.thresholds.iter()
    }

    pub(crate) fn threshold(&self, id: &str) -> Option<&Threshold> {
        self.thresholds.get(*self.places.get(id)?)
    }

    pub(crate) fn follow_ups(&self) -> &[FollowUpRule] {
        &self.follow_ups
    }

    pub(crate) fn scores(&self) -> &[ScoreRule] {
        &self.scores
    }

    /// Threshold rules that name this class.
    pub(crate) fn thresholds(&self, class: Class) -> impl Iterator<Item = &Threshold> {
        self.thresholds.iter().filter(move |rule| rule.class == class)
    }

    /// Threshold rules whose second condition is on this class, and how near in time it must be.
    pub(crate) fn completed_by(&self, class: Class) -> impl Iterator<Item = (&Threshold, i64)> {
        self.thresholds.iter().filter_map(move |rule| {
            let also = rule.also.as_ref().filter(|also| also.class == class)?;
            Some((rule, also.window_ms))
        })
    }

    /// The families of which two sets do not say the same, where they differ in threshold rules alone.
    pub(crate) fn families_unlike(&self, other: &Self) -> Option<BTreeSet<String>> {
        let is_alike = self.populations == other.populations
            && self.spot == other.spot
            && self.events == other.events
            && self.technical == other.technical
            && self.intervals == other.intervals
            && self.critical_drugs == other.critical_drugs
            && self.times == other.times;
        let unlike = [(self, other), (other, self)].into_iter().flat_map(|(these, those)| {
            let differs = |rule: &&Threshold| those.threshold(&rule.id) != Some(*rule);
            these.thresholds.iter().filter(differs).map(|rule| rule.family.clone())
        });
        is_alike.then(|| unlike.collect())
    }

    /// The same with those threshold rules alone that decide about alerts of these families.
    pub(crate) fn of_families(&self, families: &BTreeSet<String>) -> Self {
        let is_of = |rule: &Threshold| families.contains(&rule.family);
        let own = self.thresholds.iter().filter(|rule| is_of(rule));
        let replacing: BTreeSet<&String> = own.flat_map(|rule| &rule.replaced_by).collect();
        let decides = |rule: &&Threshold| is_of(rule) || replacing.contains(&rule.id);
        let thresholds: Vec<Threshold> = self.thresholds.iter().filter(decides).cloned().collect();
        let places = thresholds.iter().enumerate();
        let places = places.map(|(place, rule)| (rule.id.clone(), place)).collect();
        Self { thresholds, places, ..self.clone() }
    }

    /// Whether a threshold rule goes by readings of this class.
    pub(crate) fn reads(&self, class: Class) -> bool {
        use Class::{CuffPressure, NibpDia, NibpMean, NibpSys};
        let of_cuff = matches!(class, NibpSys | NibpDia | NibpMean | CuffPressure);
        self.thresholds.iter().any(|rule| {
            rule.class == class
                || rule.also.as_ref().is_some_and(|also| also.class == class)
                || (rule.suppress_cuff && of_cuff)
        })
    }

    /// Whether something else than a threshold rule makes alerts of one of these families.
    pub(crate) fn is_shared(&self, families: &BTreeSet<String>) -> bool {
        let events = self.events.values().map(|rule| &rule.family);
        let technical = self.technical.values().map(|rule| &rule.family);
        events.chain(technical).any(|family| families.contains(family))
    }

    /// Whether a threshold rule of that id is of that family.
    pub(crate) fn is_of_family(&self, id: &str, family: &str) -> bool {
        self.threshold(id).is_some_and(|rule| rule.family == family)
    }

    /// Whether a rule has that id.
    pub(crate) fn knows(&self, id: &str) -> bool {
        self.places.contains_key(id)
            || self.events.contains_key(id)
            || self.technical.contains_key(id)
            || self.scores.iter().any(|rule| rule.id == id)
    }

    /// Whether a rule makes alerts of that family.
    #[must_use]
    pub fn knows_family(&self, family: &str) -> bool {
        let thresholds = self.thresholds.iter().map(|rule| &rule.family);
        let events = self.events.values().map(|rule| &rule.family);
        let scores = self.scores.iter().map(|rule| &rule.family);
        thresholds.chain(events).chain(scores).any(|known| known == family)
            || self.is_technical(family)
    }

    /// Whether a family is of technical rules: their subject is the device.
    #[must_use]
    pub fn is_technical(&self, family: &str) -> bool {
        self.technical.values().any(|rule| rule.family == family)
    }

    /// Whether a drug of that name is on the site list.
    pub(crate) fn is_critical(&self, drug: &str) -> bool {
        let drug = drug.to_lowercase();
        self.critical_drugs.iter().any(|part| drug.contains(part))
    }

    /// What of waveforms is kept with an alert of a rule.
    #[must_use]
    pub fn strip(&self, id: &str) -> Option<Strip> {
        self.event(id)?.strip
    }

    pub(crate) fn event(&self, id: &str) -> Option<&EventRule> {
        self.events.get(id)
    }

    pub(crate) fn technical(&self, id: &str) -> Option<&TechnicalRule> {
        self.technical.get(id)
    }

    pub(crate) fn technical_of(&self, class: Class) -> impl Iterator<Item = &TechnicalRule> {
        self.technical.values().filter(move |rule| rule.class == Some(class))
    }

    /// Whether a device speaks by itself, so that silence is news: by its kind, or because its box
    /// is configured so. One of unknown kind does.
    pub(crate) fn repeats(&self, Pace { kind, interval_ms }: Pace) -> bool {
        interval_ms.is_some() || kind.is_none_or(|kind| self.intervals.contains_key(&kind))
    }

    /// Three expected intervals of a device, in milliseconds: a longer gap begins a sustain anew.
    pub(crate) fn gap_ms(&self, pace: Pace) -> i64 {
        self.intervals_ms(pace, 3)
    }

    fn intervals_ms(&self, Pace { kind, interval_ms }: Pace, count: u32) -> i64 {
        if let Some(interval_ms) = interval_ms {
            return interval_ms.saturating_mul(i64::from(count));
        }
        let interval = kind.and_then(|kind| self.intervals.get(&kind)).copied().unwrap_or(1.0);
        // Intervals are seconds; the schema keeps them above zero.
        let interval = std::time::Duration::try_from_secs_f64(interval).unwrap_or_default();
        i64::try_from(interval.saturating_mul(count).as_millis()).unwrap_or(i64::MAX)
    }

    /// How long a step of a technical rule waits.
    pub(crate) fn wait_ms(&self, step: &Step, pace: Pace) -> i64 {
        step.after_ms.max(self.intervals_ms(pace, step.after_intervals))
    }
}

impl EventRule {
    /// Whether it is for devices of that kind; of one whose kind nobody knows every rule is.
    pub(crate) fn is_for(&self, kind: Option<DeviceKind>) -> bool {
        self.kinds.is_empty() || kind.is_none_or(|kind| self.kinds.contains(&kind))
    }

    /// Its own priority, while a drug of the site list is given or not.
    pub(crate) fn priority_with(&self, critical_drug: bool) -> Priority {
        raised_by(self.priority, self.critical_drug.filter(|_| critical_drug))
    }
}

impl Step {
    /// Its priority, while a drug of the site list is given or not.
    pub(crate) fn priority_with(&self, critical_drug: bool) -> Priority {
        raised_by(self.priority, self.critical_drug.filter(|_| critical_drug))
    }
}

/// A drug makes nothing less urgent.
fn raised_by(priority: Priority, drug: Option<Priority>) -> Priority {
    drug.map_or(priority, |drug| drug.max(priority))
}

impl TechnicalRule {
    /// Whether the rule is for devices of that kind; a rule without kinds is for all.
    pub(crate) fn is_for(&self, kind: Option<DeviceKind>) -> bool {
        self.kinds.is_empty() || kind.is_some_and(|kind| self.kinds.contains(&kind))
    }

    /// Its steps for a patient who is monitored, or is not.
    pub(crate) fn steps(&self, monitored: bool) -> impl DoubleEndedIterator<Item = &Step> {
        let applies = move |step: &&Step| step.monitored.is_none_or(|wanted| wanted == monitored);
        self.steps.iter().filter(applies)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEFAULT: &str = include_str!("../../../configs/rules/default.json");

    #[test]
    fn the_default_rule_set_is_good() {
        let set = RuleSet::from_json(DEFAULT).unwrap();
        assert_eq!(set.version(), "0.2-draft");
        let adult = crate::population::Profile::default();
        let limits = set.limits_of(&adult, model::time::WallTime::from_unix_ms(0));
        assert_eq!(limits.iter().filter(|limit| limit.class == Class::Hr).count(), 5);
        assert!(set.event("DEV-OCCL-DOWN").is_some() && set.technical("TECH-SILENT").is_some());
        assert_eq!(set.gap_ms(Some(DeviceKind::Pump).into()), 15_000);
    }

    #[test]
    fn a_box_has_no_rule_that_the_county_decides_alone() {
        let set = RuleSet::from_json(DEFAULT).unwrap().at_the_box();
        for there in ["TECH-SILENT", "TECH-LEADOFF", "BATT-LOW"] {
            assert!(set.technical(there).is_some(), "{there}");
        }
        for county in ["EDGE-OFFLINE", "TECH-AGE-UNKNOWN", "TECH-CLOCK", "NEWS2-H"] {
            assert!(!set.knows(county), "{county}");
        }
        assert!(set.threshold("HR-AD-LL").is_some() && set.event("DEV-OCCL-DOWN").is_some());
    }

    #[test]
    fn the_default_rule_set_matches_its_schema() {
        let schema = include_str!("../../../configs/rules/rules.schema.json");
        let schema = serde_json::from_str(schema).unwrap();
        let instance = serde_json::from_str(DEFAULT).unwrap();
        assert!(jsonschema::validator_for(&schema).unwrap().is_valid(&instance));
    }

    #[test]
    fn every_mistake_of_a_rule_set_is_told_at_once_with_its_line() {
        let mut file: serde_json::Value = serde_json::from_str(DEFAULT).unwrap();
        let rules = file["rules"].as_array_mut().unwrap();
        rules.truncate(6);
        rules[0]["unit"] = "kPa".into();
        rules[1]["class"] = "pulse_of_the_city".into();
        rules[2]["clear"]["value"] = 999.into();
        rules[3]["id"] = rules[4]["id"].clone();
        rules[5]["sustain_s"] = "long".into();
        let ids: Vec<String> =
            rules.iter().map(|rule| rule["id"].as_str().unwrap().to_owned()).collect();
        let text = serde_json::to_string_pretty(&file).unwrap();
        let RuleSetError(mistakes) = RuleSet::from_json(&text).unwrap_err();
        for (rule, word) in [
            (0, "the unit is kPa"),
            (1, "pulse_of_the_city"),
            (2, "not on the safe side"),
            (4, "same id"),
            (5, "rules.schema.json"),
        ] {
            let told = mistakes.iter().find(|mistake| mistake.what.to_string().contains(word));
            let told = told.unwrap_or_else(|| panic!("{word}: {mistakes:#?}"));
            assert_eq!(told.rule.as_ref(), Some(&ids[rule]), "{told}");
            let line = text.lines().nth(told.line - 1).unwrap();
            assert!(line.contains("\"id\"") && line.contains(&ids[rule]), "{told}: {line}");
        }
    }

    #[test]
    fn a_strip_is_around_the_begin_of_some_alarms_and_bounded() {
        let set = RuleSet::from_json(DEFAULT).unwrap();
        let strip = Strip { before_ms: 10_000, after_ms: 20_000 };
        assert_eq!(set.strip("DEV-ASYSTOLE"), Some(strip));
        assert_eq!((set.strip("DEV-PAUSE"), set.strip("HR-AD-LL")), (None, None));
        let long = DEFAULT.replacen("\"after_s\": 20", "\"after_s\": 601", 1);
        let RuleSetError(mistakes) = RuleSet::from_json(&long).unwrap_err();
        assert_eq!(mistakes[0].what, Mistake::Strip { max_s: 600 }, "{mistakes:?}");
    }

    #[test]
    fn what_is_not_json_is_told_with_its_line() {
        let RuleSetError(mistakes) = RuleSet::from_json("{\n  \"meta\": nothing\n}").unwrap_err();
        assert_eq!((mistakes.len(), mistakes[0].line), (1, 2), "{mistakes:?}");
    }
}
