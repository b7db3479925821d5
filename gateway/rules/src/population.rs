//! Which rules apply to whom: age, overlays, what a nurse entered, limits of one patient.
//!
//! Not here: names, and who may enter what.
//!
//! # Invariants
//! - exactly one base; a patient whose age nobody knows has that of adults
//! - a rule of an overlay replaces the rules it names, and everything else of the base stays
//! - a limit of one patient is never outside the implausible limits of its class

use crate::{
    news2::Consciousness,
    rule::{Also, Op, RuleSet, ScoreRule, Threshold},
};
use model::{alarm::Priority, decimal::Decimal, metric::Class, time::WallTime};
use serde::{Deserialize, Serialize};
use thiserror::Error;

mod birth;

pub use birth::Birth;

/// The latest entry of a nurse counts this long.
const ENTRY_COUNTS_MS: i64 = 24 * 3_600_000;
/// A high rule is switched off for at most this long.
const OFF_MAX_MS: i64 = 24 * 3_600_000;
/// Limits of one patient: a tenth of all rules.
pub const LIMITS_MAX: usize = 16;
/// Overlays that a person must have entered.
const PREGNANT: &str = "pregnant";
const SCALE2: &str = "scale2";
/// The programme of diabetics; the others are for blood pressure.
const DIABETES: &str = "followup_diabetes";
/// Populations of one rule set: as many as a mask has bits.
pub(crate) const POPULATIONS_MAX: usize = 64;

/// Sex, as far as a rule or a chart asks for it.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Sex {
    /// Female.
    Female,
    /// Male.
    Male,
}

/// What a nurse typed, and when.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Entry<T> {
    /// What.
    pub value: T,
    /// When it was so.
    pub at: WallTime,
}

impl<T> Entry<T> {
    /// What, unless it is older than that, or of later.
    pub(crate) fn within(self, longest_ms: i64, at: WallTime) -> Option<T> {
        let age_ms = at.unix_ms().saturating_sub(self.at.unix_ms());
        (0..=longest_ms).contains(&age_ms).then_some(self.value)
    }
}

/// What decides which rules apply to a patient. Nothing in it says who that is.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub struct Profile {
    /// Date of birth, as far as it is known.
    pub birth: Option<Birth>,
    /// Sex.
    pub sex: Option<Sex>,
    /// Pregnant or post partum up to this moment: six weeks after the birth.
    pub pregnant_until: Option<WallTime>,
    /// A doctor ordered the oxygen target of 88–92 % (NEWS2 scale 2) up to this moment.
    pub scale2_until: Option<WallTime>,
    /// In the follow-up programme for high blood pressure.
    pub hypertension: bool,
    /// In the follow-up programme for diabetes.
    pub diabetes: bool,
    /// In the programme for older people.
    pub elderly: bool,
    /// Somebody relies on the monitor; of a box: it serves such a patient.
    pub monitored: bool,
    /// Whether oxygen is given.
    pub oxygen: Option<Entry<bool>>,
    /// How awake a nurse found them.
    pub consciousness: Option<Entry<Consciousness>>,
    /// Somebody put the cuff of a monitor on another limb than its oximeter.
    pub cuff_on_other_limb: bool,
    /// Limits of this patient alone.
    pub limits: Vec<Limit>,
}

/// A limit of one patient, in the place of a rule's own.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Limit {
    /// The rule.
    pub rule: String,
    /// Its limit in the canonical unit; `None` switches the rule off.
    pub limit: Option<String>,
    /// The doctor or nurse who set it.
    pub by: String,
    /// Why.
    pub reason: String,
    /// From then on.
    pub from: WallTime,
    /// Up to then.
    pub until: WallTime,
}

impl Limit {
    fn holds(&self, at: WallTime) -> bool {
        self.from <= at && at < self.until
    }

    /// When it ends. A rule that has become high since, or becomes so by a second value, is switched
    /// off for no longer than one that was.
    #[must_use]
    pub fn ends_at(&self, rules: &RuleSet) -> WallTime {
        let rule = rules.threshold(&self.rule);
        match self.limit.is_none() && rule.is_some_and(Threshold::may_be_high) {
            true => self.until.min(off_until(self.from)),
            false => self.until,
        }
    }
}

/// When a high rule that was switched off then holds again at the latest.
fn off_until(from: WallTime) -> WallTime {
    WallTime::from_unix_ms(from.unix_ms().saturating_add(OFF_MAX_MS))
}

/// Why a limit was refused.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum LimitError {
    /// Too many.
    #[error("a patient has at most {LIMITS_MAX} limits; end one of them first")]
    TooManyLimits,
    /// Of no rule.
    #[error("{0} is no rule with a limit")]
    NoSuchRule(String),
    /// Of a rule that is for others: it would be looked at by nobody.
    #[error("{0} is a rule for other patients; choose one that holds for this one")]
    OfOthers(String),
    /// Nobody, or for no reason.
    #[error("a limit needs a name and a reason")]
    NoAuthor(String),
    /// It does not end after it begins.
    #[error("the limit of {0} needs an end after its begin")]
    NoEnd(String),
    /// Not a number, or outside of what the catalogue calls plausible.
    #[error("a limit of {rule} must be between {low} and {high}")]
    Implausible {
        /// The rule.
        rule: String,
        /// Lowest.
        low: String,
        /// Highest.
        high: String,
    },
    /// A rule that is or becomes high is switched off for too long.
    #[error("{0} is or becomes of high priority and may be switched off for at most 24 h")]
    OffTooLong(String),
}

impl Profile {
    /// Whether a limit may be set, in the place of one of the same rule. What was set before is not
    /// judged again: the rules may be others since.
    ///
    /// # Errors
    /// Its first mistake.
    pub fn check_limit(&self, rules: &RuleSet, limit: &Limit) -> Result<(), LimitError> {
        let others = self.limits.iter().filter(|other| other.rule != limit.rule).count();
        if others >= LIMITS_MAX {
            return Err(LimitError::TooManyLimits);
        }
        check_limit(rules, limit)?;
        match self.has_rule(rules, &limit.rule, limit.from) {
            true => Ok(()),
            false => Err(LimitError::OfOthers(limit.rule.clone())),
        }
    }

    /// Whether a rule is one of this patient's at that moment: it is also while somebody has it
    /// switched off, and while it waits for oxygen to be given.
    #[must_use]
    pub fn has_rule(&self, rules: &RuleSet, rule: &str, at: WallTime) -> bool {
        let facts = self.facts(rules, at);
        rules.threshold(rule).is_some_and(|rule| rules.is_of(rule, &facts))
    }

    /// What of the profile decides about rules at that moment.
    pub(crate) fn facts(&self, rules: &RuleSet, at: WallTime) -> Facts {
        let holds = |until: Option<WallTime>| until.is_some_and(|until| at < until);
        let months = self.birth.and_then(|birth| birth.completed_months(at));
        let days = self.birth.and_then(|birth| birth.completed_days(at));
        let applies = |population: &Population| {
            let of_age = match months {
                Some(_) => population.ages.hold(months, days),
                None => population.when_age_unknown || !population.ages.are_bounded(),
            };
            let entered = match (population.kind, population.id.as_str()) {
                (PopulationKind::Overlay, PREGNANT) => holds(self.pregnant_until),
                (PopulationKind::Overlay, SCALE2) => holds(self.scale2_until),
                (PopulationKind::Programme, DIABETES) => self.diabetes,
                (PopulationKind::Programme, _) => self.hypertension || self.elderly,
                _ => true,
            };
            of_age && entered
        };
        let mut populations = 0;
        for (bit, population) in rules.populations().iter().enumerate() {
            populations |= u64::from(applies(population)) << bit;
        }
        for (bit, population) in rules.populations().iter().enumerate() {
            if population.not_with & populations != 0 {
                populations &= !(1 << bit);
            }
        }
        let is_off =
            |limit: &&Limit| limit.limit.is_none() && limit.holds(at) && at < limit.ends_at(rules);
        let off = self.limits.iter().filter(is_off);
        Facts {
            rule_set: rules.hash().to_owned(),
            populations,
            months,
            days,
            on_oxygen: counted(self.oxygen, at),
            off: off.map(|limit| limit.rule.clone()).collect(),
        }
    }

    /// The limit of a rule for this patient at that moment.
    pub(crate) fn limit(&self, rule: &Threshold, facts: &Facts, at: WallTime) -> Decimal {
        let of_patient = self.limits.iter().find(|limit| limit.rule == rule.id && limit.holds(at));
        of_patient
            .and_then(|limit| limit.limit.as_deref()?.parse().ok())
            .unwrap_or_else(|| rule.limit_at(facts.months.unwrap_or_default() / 12))
    }
}

/// The latest entry, as long as it counts.
pub(crate) fn counted<T>(entry: Option<Entry<T>>, at: WallTime) -> Option<T> {
    entry.and_then(|entry| entry.within(ENTRY_COUNTS_MS, at))
}

fn check_limit(rules: &RuleSet, limit: &Limit) -> Result<(), LimitError> {
    let name = || limit.rule.clone();
    let rule = rules.threshold(&limit.rule).ok_or_else(|| LimitError::NoSuchRule(name()))?;
    if limit.by.trim().is_empty() || limit.reason.trim().is_empty() {
        return Err(LimitError::NoAuthor(name()));
    }
    if limit.until <= limit.from {
        return Err(LimitError::NoEnd(name()));
    }
    match &limit.limit {
        None if limit.ends_at(rules) < limit.until => Err(LimitError::OffTooLong(name())),
        None => Ok(()),
        Some(text) => {
            let (low, high) = plausible(rule.class);
            let number: Option<Decimal> = text.parse().ok();
            let good = number.is_some_and(|number| {
                low.is_none_or(|low| low <= number) && high.is_none_or(|high| number <= high)
            });
            let shown =
                |limit: Option<Decimal>| limit.map_or("–".to_owned(), |it| it.to_string());
            let (low, high) = (shown(low), shown(high));
            if good { Ok(()) } else { Err(LimitError::Implausible { rule: name(), low, high }) }
        }
    }
}

/// What the catalogue calls plausible for every metric of a class; where it says nothing, possible.
fn plausible(class: Class) -> (Option<Decimal>, Option<Decimal>) {
    let rows = || class.metrics().map(|metric| metric.row());
    let low = rows().filter_map(|row| row.implausible.0.or(row.reject.0)).max();
    let high = rows().filter_map(|row| row.implausible.1.or(row.reject.1)).min();
    (low, high)
}

/// Ages to which something is bounded: completed months, and completed days.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Ages {
    pub(crate) months: Option<(u32, Option<u32>)>,
    pub(crate) days: Option<(u32, Option<u32>)>,
}

impl Ages {
    fn are_bounded(self) -> bool {
        self.months.is_some() || self.days.is_some()
    }

    /// Whether somebody of that age is meant; of an unknown age nobody is.
    fn hold(self, months: Option<u32>, days: Option<u32>) -> bool {
        let within = |bounds: Option<(u32, Option<u32>)>, age: Option<u32>| {
            bounds.is_none_or(|(from, to)| {
                age.is_some_and(|age| from <= age && to.is_none_or(|to| age < to))
            })
        };
        within(self.months, months) && within(self.days, days)
    }
}

/// What a population is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum PopulationKind {
    Base,
    AgeGroup,
    Overlay,
    Programme,
    Score,
}

/// Whom rules of the file are for.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Population {
    pub(crate) id: String,
    pub(crate) kind: PopulationKind,
    pub(crate) ages: Ages,
    pub(crate) when_age_unknown: bool,
    /// Those with which it does not go together.
    pub(crate) not_with: u64,
}

/// What decides about rules at one moment.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct Facts {
    /// Hash of the rule set, to which the next belongs; before, its version.
    rule_set: String,
    /// A bit for each population of the rule set.
    populations: u64,
    months: Option<u32>,
    days: Option<u32>,
    on_oxygen: Option<bool>,
    /// Rules a person has switched off.
    off: Vec<String>,
}

impl Threshold {
    /// Whether it is for such a patient, whatever replaces it.
    pub(crate) fn is_for(&self, facts: &Facts) -> bool {
        self.is_meant_for(facts) && self.is_awake(facts)
    }

    /// Whether such a patient is one of those it was made for.
    fn is_meant_for(&self, facts: &Facts) -> bool {
        facts.populations & self.population != 0
            && (facts.months.is_none() || self.ages.hold(facts.months, facts.days))
    }

    /// Whether its further condition is met: oxygen is given, or is not.
    fn is_awake(&self, facts: &Facts) -> bool {
        self.on_oxygen.is_none_or(|wanted| facts.on_oxygen == Some(wanted))
    }
}

impl ScoreRule {
    /// Whether it is for such a patient.
    pub(crate) fn is_for(&self, facts: &Facts) -> bool {
        facts.populations & self.population != 0 && self.ages.hold(facts.months, facts.days)
    }
}

impl RuleSet {
    /// Whether what a rule of that id said goes on for such a patient.
    pub(crate) fn stands(&self, id: &str, facts: &Facts) -> bool {
        let score = self.scores().iter().find(|rule| rule.id == id);
        match (self.threshold(id), score) {
            (Some(rule), _) => self.is_in_force(rule, facts),
            (None, Some(rule)) => rule.is_for(facts),
            (None, None) => self.knows(id),
        }
    }

    /// Threshold rules on this class that hold for such a patient.
    pub(crate) fn in_force<'r>(
        &'r self,
        class: Class,
        facts: &'r Facts,
    ) -> impl Iterator<Item = &'r Threshold> {
        self.thresholds(class).filter(|rule| self.is_in_force(rule, facts))
    }

    /// Whether a rule holds for such a patient. What a person has switched off still replaces what
    /// it replaces.
    pub(crate) fn is_in_force(&self, rule: &Threshold, facts: &Facts) -> bool {
        self.is_of(rule, facts) && rule.is_awake(facts) && !facts.off.contains(&rule.id)
    }

    /// Whether a rule is one of such a patient's.
    fn is_of(&self, rule: &Threshold, facts: &Facts) -> bool {
        let replaces = |id: &String| self.threshold(id).is_some_and(|other| other.is_for(facts));
        rule.is_meant_for(facts) && !rule.replaced_by.iter().any(replaces)
    }

    /// The names of the populations such a patient belongs to, for people to look at.
    #[must_use]
    pub fn populations_of(&self, profile: &Profile, at: WallTime) -> Vec<&str> {
        let facts = profile.facts(self, at);
        let is_in = |bit: usize| facts.populations & (1 << bit) != 0;
        let all = self.populations().iter().enumerate();
        all.filter(|(bit, _)| is_in(*bit)).map(|(_, population)| population.id.as_str()).collect()
    }

    /// The limits that hold for a patient at that moment, for people to look at.
    #[must_use]
    pub fn limits_of(&self, profile: &Profile, at: WallTime) -> Vec<LimitInForce> {
        let facts = profile.facts(self, at);
        let rules = self.all_thresholds().filter(|rule| self.is_in_force(rule, &facts));
        rules
            .map(|rule| LimitInForce {
                rule: rule.id.clone(),
                class: rule.class,
                op: rule.op,
                limit: profile.limit(rule, &facts, at),
                priority: rule.priority,
                also: rule.also.clone(),
            })
            .collect()
    }
}

/// A limit that holds for a patient.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LimitInForce {
    /// The rule.
    pub rule: String,
    /// On which class of metrics.
    pub class: Class,
    /// How it is compared.
    pub op: Op,
    /// With what, in the canonical unit.
    pub limit: Decimal,
    /// How urgent it is.
    pub priority: Priority,
    /// What has to be so besides.
    pub also: Option<Also>,
}

#[cfg(test)]
mod tests;
