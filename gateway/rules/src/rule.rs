//! The rule set: read from JSON, checked for what its schema cannot say.
//!
//! Read here: the threshold rules of unbound adults, device events and technical rules. Rules of
//! other populations, follow-up rules and scores are checked and kept for the day patients are
//! bound.

use crate::ladder::Times;
use model::{alarm::Priority, decimal::Decimal, device::DeviceKind, metric::Class, units::Unit};
use serde::Deserialize;
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};
use thiserror::Error;

/// Largest rule set: the default one has 70 kB.
const RULES_LEN_MAX: usize = 1 << 20;

/// One mistake of a rule set.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct RuleMistake {
    /// Line of the file, from 1.
    pub line: usize,
    /// What is wrong; what to write instead.
    pub text: String,
}

impl fmt::Display for RuleMistake {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "line {}: {}", self.line, self.text)
    }
}

/// Why a rule set was refused: all its mistakes, in the order of their lines.
#[derive(Debug, Error)]
#[error("the rule set has mistakes: {}", shown(.0))]
pub struct RuleSetError(pub Vec<RuleMistake>);

fn shown(mistakes: &[RuleMistake]) -> String {
    mistakes.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// A versioned collection of rules.
#[derive(Clone, Debug)]
pub struct RuleSet {
    version: String,
    thresholds: Vec<Threshold>,
    events: BTreeMap<String, EventRule>,
    technical: BTreeMap<String, TechnicalRule>,
    intervals: BTreeMap<DeviceKind, f64>,
    times: Times,
}

/// How a value is compared.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
pub(crate) enum Op {
    #[serde(rename = "<")]
    Less,
    #[serde(rename = "<=")]
    LessOrEqual,
    #[serde(rename = ">")]
    Greater,
    #[serde(rename = ">=")]
    GreaterOrEqual,
}

impl Op {
    pub(crate) const fn sign(self) -> &'static str {
        match self {
            Self::Less => "<",
            Self::LessOrEqual => "≤",
            Self::Greater => ">",
            Self::GreaterOrEqual => "≥",
        }
    }
}

/// A limit on readings of a class.
#[derive(Clone, Debug)]
pub(crate) struct Threshold {
    pub(crate) id: String,
    pub(crate) class: Class,
    pub(crate) op: Op,
    pub(crate) limit: Decimal,
    pub(crate) priority: Priority,
    pub(crate) family: String,
    pub(crate) sustain_ms: i64,
    /// For streams: the value that clears, held this long.
    pub(crate) clear: Option<(Op, Decimal, i64)>,
    pub(crate) suppress_lead_off: bool,
    pub(crate) suppress_probe_off: bool,
    pub(crate) promote: Option<Promote>,
    pub(crate) also: Option<Also>,
    pub(crate) message_zh: String,
    pub(crate) message_en: String,
}

/// A second value that confirms the first raises the priority.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Promote {
    pub(crate) to: Priority,
    pub(crate) after_ms: i64,
    pub(crate) within_ms: i64,
}

/// A second class that must meet its limit too.
#[derive(Clone, Debug)]
pub(crate) struct Also {
    pub(crate) class: Class,
    pub(crate) op: Op,
    pub(crate) limit: Decimal,
    pub(crate) window_ms: i64,
}

/// What a device alarm becomes.
#[derive(Clone, Debug)]
pub(crate) struct EventRule {
    pub(crate) id: String,
    pub(crate) priority: Priority,
    pub(crate) from_device: Option<FromDevice>,
    pub(crate) family: String,
    pub(crate) message_zh: String,
    pub(crate) message_en: String,
}

/// What the device's own priority counts.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "snake_case")]
pub(crate) enum FromDevice {
    AtLeast,
    AsSent,
}

/// A condition of devices and boxes.
#[derive(Clone, Debug)]
pub(crate) struct TechnicalRule {
    pub(crate) id: String,
    pub(crate) class: Option<Class>,
    pub(crate) absolute: bool,
    pub(crate) kinds: Vec<DeviceKind>,
    pub(crate) family: String,
    pub(crate) steps: Vec<Step>,
    pub(crate) message_zh: String,
    pub(crate) message_en: String,
}

/// One step of a technical rule; the last that holds gives the priority.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Step {
    pub(crate) priority: Priority,
    pub(crate) after_ms: i64,
    pub(crate) test: Option<(Op, Decimal)>,
    /// Only for a patient marked "monitored": an unbound device has none.
    pub(crate) conditional: bool,
}

impl RuleSet {
    /// Reads and checks a rule set.
    ///
    /// # Errors
    /// All mistakes at once, each with its rule's id.
    pub fn from_json(text: &str) -> Result<Self, RuleSetError> {
        let mut mistakes = Vec::new();
        let file = parse(text, &mut mistakes);
        let Some(File { meta, expected_interval_s, rules }) = file else {
            return Err(RuleSetError(mistakes));
        };
        let mut set = Self {
            version: meta.version,
            thresholds: Vec::new(),
            events: BTreeMap::new(),
            technical: BTreeMap::new(),
            intervals: BTreeMap::new(),
            times: Times::default(),
        };
        for (kind, interval) in expected_interval_s {
            if let (Some(kind), Some(interval)) = (DeviceKind::from_name(&kind), interval) {
                set.intervals.insert(kind, interval);
            }
        }
        let ids: BTreeSet<&str> = rules.iter().map(id_of).collect();
        let mut seen = BTreeSet::new();
        for (number, rule) in (1..).zip(&rules) {
            let id = id_of(rule);
            let again = !seen.insert(id);
            let line = line_of(text, id, if again { 2 } else { 1 });
            let name = if id.is_empty() { format!("rule {number}") } else { id.to_owned() };
            let mut note =
                |mistake| mistakes.push(RuleMistake { line, text: format!("{name}: {mistake}") });
            if again {
                note("another rule has the same id; give each its own".to_owned());
            }
            let rule = match RawRule::deserialize(rule) {
                Ok(rule) => rule,
                Err(error) => {
                    note(format!("is not of the form of rules.schema.json: {error}; correct it"));
                    continue;
                }
            };
            for target in rule.overrides.iter().filter(|target| !ids.contains(target.as_str())) {
                note(format!("overrides {target}, which is no rule; name one of this file"));
            }
            if let Err(mistake) = set.add(rule) {
                note(mistake);
            }
        }
        mistakes.sort();
        if mistakes.is_empty() { Ok(set) } else { Err(RuleSetError(mistakes)) }
    }

    /// Its version.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// With other times of an alert's life.
    #[must_use]
    pub fn with_times(self, times: Times) -> Self {
        Self { times, ..self }
    }

    /// The times of an alert's life.
    #[must_use]
    pub fn times(&self) -> &Times {
        &self.times
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

    /// Whether a threshold rule of that id is of that family.
    pub(crate) fn is_of_family(&self, id: &str, family: &str) -> bool {
        self.thresholds.iter().any(|rule| rule.id == id && rule.family == family)
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

    /// Whether devices of that kind speak by themselves, so that silence is news. One of unknown
    /// kind does.
    pub(crate) fn repeats(&self, kind: Option<DeviceKind>) -> bool {
        kind.is_none_or(|kind| self.intervals.contains_key(&kind))
    }

    /// Three expected intervals of that kind, in milliseconds: a longer gap begins a sustain anew.
    pub(crate) fn gap_ms(&self, kind: Option<DeviceKind>) -> i64 {
        let interval = kind.and_then(|kind| self.intervals.get(&kind)).copied().unwrap_or(1.0);
        // Intervals are seconds; the schema keeps them above zero.
        let ms = std::time::Duration::try_from_secs_f64(interval * 3.0).unwrap_or_default();
        i64::try_from(ms.as_millis()).unwrap_or(i64::MAX)
    }

    fn add(&mut self, rule: RawRule) -> Result<(), String> {
        match rule.kind.as_str() {
            "threshold" => self.add_threshold(rule),
            "device_event" => {
                let event = EventRule {
                    priority: rule.priority()?,
                    from_device: rule.priority_from_device,
                    id: rule.id.clone(),
                    family: rule.family,
                    message_zh: rule.message_zh,
                    message_en: rule.message_en,
                };
                self.events.insert(rule.id, event);
                Ok(())
            }
            "technical" => self.add_technical(rule),
            "score" => Ok(()),
            other => Err(format!("the type {other} is not known")),
        }
    }

    fn add_threshold(&mut self, rule: RawRule) -> Result<(), String> {
        let class = class_in(rule.class.as_deref(), rule.unit.as_deref())?;
        let (Some(op), Some(threshold)) = (rule.op, &rule.threshold) else {
            return Err("has no op or no threshold".to_owned());
        };
        let limit = decimal(threshold.base)?;
        let clear = match &rule.clear {
            Some(Clear {
                op: ClearOp::Value(clear),
                value: Some(value),
                hold_s: Some(hold),
                ..
            }) => {
                let value = decimal(*value)?;
                let safe = match op {
                    Op::Less | Op::LessOrEqual => value >= limit,
                    Op::Greater | Op::GreaterOrEqual => value <= limit,
                };
                if !safe {
                    return Err(format!(
                        "clears at {value}, which is not on the safe side of {limit}"
                    ));
                }
                Some((*clear, value, hold * 1000))
            }
            _ => None,
        };
        let also = match &rule.also {
            None => None,
            Some(also) => Some(Also {
                class: class_in(Some(&also.class), Some(&also.unit))?,
                op: also.op,
                limit: decimal(also.threshold.base)?,
                window_ms: also.window_s * 1000,
            }),
        };
        let adults = rule.population.as_deref() == Some("adult");
        if !adults || rule.route.is_some() || rule.when.is_some() {
            return Ok(());
        }
        let suppress = |what: &str| rule.suppress_if.iter().any(|reason| reason == what);
        self.thresholds.push(Threshold {
            class,
            op,
            limit,
            priority: rule.priority()?,
            sustain_ms: rule.sustain_s.unwrap_or_default() * 1000,
            clear,
            suppress_lead_off: suppress("lead_off"),
            suppress_probe_off: suppress("probe_off"),
            promote: rule.promote_on_confirm.as_ref().map(|promote| Promote {
                to: promote.to,
                after_ms: promote.after_s * 1000,
                within_ms: promote.within_s * 1000,
            }),
            also,
            id: rule.id,
            family: rule.family,
            message_zh: rule.message_zh,
            message_en: rule.message_en,
        });
        Ok(())
    }

    fn add_technical(&mut self, rule: RawRule) -> Result<(), String> {
        let class = match &rule.class {
            None => None,
            Some(class) => Some(class_in(Some(class), rule.unit.as_deref())?),
        };
        let mut steps = Vec::new();
        for step in &rule.steps {
            let test = match (step.op, &step.threshold) {
                (Some(op), Some(threshold)) => Some((op, decimal(threshold.base)?)),
                _ => None,
            };
            // "none" is a banner, not an alert.
            if let Some(priority) = Priority::from_name(&step.priority) {
                let conditional = step.when.is_some();
                steps.push(Step { priority, after_ms: step.after_s * 1000, test, conditional });
            }
        }
        let technical = TechnicalRule {
            class,
            absolute: rule.absolute,
            kinds: rule
                .device_kinds
                .iter()
                .filter_map(|kind| DeviceKind::from_name(kind))
                .collect(),
            family: rule.family,
            steps,
            message_zh: rule.message_zh,
            message_en: rule.message_en,
            id: rule.id.clone(),
        };
        self.technical.insert(rule.id, technical);
        Ok(())
    }
}

impl TechnicalRule {
    /// Whether the rule is for devices of that kind; a rule without kinds is for all.
    pub(crate) fn is_for(&self, kind: Option<DeviceKind>) -> bool {
        self.kinds.is_empty() || kind.is_some_and(|kind| self.kinds.contains(&kind))
    }
}

/// The file as JSON; its rules are looked at one by one.
fn parse(text: &str, mistakes: &mut Vec<RuleMistake>) -> Option<File> {
    if text.len() > RULES_LEN_MAX {
        let text = format!("the file has {} bytes; at most 1 MiB are allowed", text.len());
        mistakes.push(RuleMistake { line: 1, text });
        return None;
    }
    serde_json::from_str(text)
        .map_err(|error| {
            let text = format!("is not of the form of rules.schema.json: {error}; correct it");
            mistakes.push(RuleMistake { line: error.line(), text });
        })
        .ok()
}

fn id_of(rule: &serde_json::Value) -> &str {
    rule.get("id").and_then(serde_json::Value::as_str).unwrap_or_default()
}

/// The line of the nth rule with this id; 1 where it cannot be found.
fn line_of(text: &str, id: &str, nth: usize) -> usize {
    let wanted = format!("\"{id}\"");
    let has_it = |line: &str| line.contains("\"id\"") && line.contains(&wanted);
    (1..).zip(text.lines()).filter(|(_, line)| has_it(line)).nth(nth - 1).map_or(1, |(at, _)| at)
}

/// A number of the file as the decimal it is written as.
fn decimal(number: f64) -> Result<Decimal, String> {
    number.to_string().parse().map_err(|_| format!("{number} is no usable limit"))
}

fn class_in(class: Option<&str>, unit: Option<&str>) -> Result<Class, String> {
    let name = class.unwrap_or_default();
    let class = Class::from_name(name)
        .ok_or_else(|| format!("the class {name} is not in the catalogue"))?;
    let canonical = class.canonical_unit().map(Unit::as_str);
    if canonical != unit {
        return Err(format!(
            "the unit is {}, the class {name} has {}",
            unit.unwrap_or("none"),
            canonical.unwrap_or("none")
        ));
    }
    Ok(class)
}

#[derive(Deserialize)]
struct File {
    meta: Meta,
    expected_interval_s: BTreeMap<String, Option<f64>>,
    rules: Vec<serde_json::Value>,
}

#[derive(Deserialize)]
struct Meta {
    version: String,
}

/// Any rule, as written; what a type does not have is empty.
#[derive(Deserialize)]
struct RawRule {
    id: String,
    #[serde(rename = "type")]
    kind: String,
    family: String,
    message_zh: String,
    message_en: String,
    class: Option<String>,
    unit: Option<String>,
    population: Option<String>,
    op: Option<Op>,
    threshold: Option<RawThreshold>,
    priority: Option<String>,
    sustain_s: Option<i64>,
    clear: Option<Clear>,
    #[serde(default)]
    suppress_if: Vec<String>,
    promote_on_confirm: Option<RawPromote>,
    also: Option<RawAlso>,
    route: Option<String>,
    when: Option<serde_json::Value>,
    #[serde(default)]
    overrides: Vec<String>,
    priority_from_device: Option<FromDevice>,
    #[serde(default)]
    steps: Vec<RawStep>,
    #[serde(default)]
    absolute: bool,
    #[serde(default)]
    device_kinds: Vec<String>,
}

impl RawRule {
    fn priority(&self) -> Result<Priority, String> {
        let name = self.priority.as_deref().unwrap_or_default();
        Priority::from_name(name).ok_or_else(|| format!("the priority {name} is not known"))
    }
}

#[derive(Deserialize)]
struct RawThreshold {
    base: f64,
}

#[derive(Deserialize)]
struct Clear {
    op: ClearOp,
    value: Option<f64>,
    hold_s: Option<i64>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum ClearOp {
    Value(Op),
    /// `next_reading_normal`.
    Next(#[expect(dead_code, reason = "the schema allows one text only")] String),
}

#[derive(Deserialize)]
struct RawPromote {
    to: Priority,
    after_s: i64,
    within_s: i64,
}

#[derive(Deserialize)]
struct RawAlso {
    class: String,
    op: Op,
    threshold: RawThreshold,
    unit: String,
    window_s: i64,
}

#[derive(Deserialize)]
struct RawStep {
    priority: String,
    after_s: i64,
    op: Option<Op>,
    threshold: Option<RawThreshold>,
    when: Option<serde_json::Value>,
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEFAULT: &str = include_str!("../../../configs/rules/default.json");

    #[test]
    fn the_default_rule_set_is_good() {
        let set = RuleSet::from_json(DEFAULT).unwrap();
        assert_eq!(set.version(), "0.2-draft");
        assert_eq!(set.thresholds(Class::Hr).count(), 5);
        assert!(set.event("DEV-OCCL-DOWN").is_some() && set.technical("TECH-SILENT").is_some());
        assert_eq!(set.gap_ms(Some(DeviceKind::Pump)), 15_000);
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
            let told = mistakes.iter().find(|mistake| mistake.text.contains(word));
            let told = told.unwrap_or_else(|| panic!("{word}: {mistakes:#?}"));
            assert!(told.text.starts_with(&ids[rule]), "{told}");
            let line = text.lines().nth(told.line - 1).unwrap();
            assert!(line.contains("\"id\"") && line.contains(&ids[rule]), "{told}: {line}");
        }
    }

    #[test]
    fn what_is_not_json_is_told_with_its_line() {
        let RuleSetError(mistakes) = RuleSet::from_json("{\n  \"meta\": nothing\n}").unwrap_err();
        assert_eq!((mistakes.len(), mistakes[0].line), (1, 2), "{mistakes:?}");
    }
}
