//! Reads a rule set and checks what its schema cannot say.

use super::{
    Also, EventRule, FollowUpRule, Mistake, Op, Promote, RuleMistake, RuleSet, RuleSetError,
    ScoreRule, SpotDefaults, Step, TechnicalRule, Threshold,
    written::{Clear, ClearOp, File, RawPopulation, RawPopulations, RawRule, RawSpotClear},
};
use crate::population::{Ages, POPULATIONS_MAX, Population, PopulationKind};
use aws_lc_rs::digest::{SHA256, digest};
use model::{alarm::Priority, decimal::Decimal, device::DeviceKind, metric::Class, units::Unit};
use serde::Deserialize as _;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// The first eight bytes of SHA-256.
fn hash_of(text: &str) -> String {
    let first = digest(&SHA256, text.as_bytes()).as_ref().first_chunk().copied();
    format!("{:016x}", u64::from_be_bytes(first.unwrap_or_default()))
}

/// Largest rule set: the default one has 70 kB.
const RULES_LEN_MAX: usize = 1 << 20;

impl RuleSet {
    /// Reads and checks a rule set.
    ///
    /// # Errors
    /// All mistakes at once, each with its rule's id.
    pub fn from_json(text: &str) -> Result<Self, RuleSetError> {
        let mut mistakes = Vec::new();
        let file = parse(text, &mut mistakes);
        let Some(File { meta, populations, expected_interval_s, defaults, rules }) = file else {
            return Err(RuleSetError(mistakes));
        };
        let populations = read_populations(populations).unwrap_or_else(|mistake| {
            mistakes.push(RuleMistake::of_file(1, mistake));
            Vec::new()
        });
        let mut set = Self {
            version: meta.version,
            hash: hash_of(text),
            populations,
            thresholds: Vec::new(),
            places: BTreeMap::new(),
            follow_ups: Vec::new(),
            scores: Vec::new(),
            spot: SpotDefaults {
                recheck_ms: defaults.spot_recheck_s.saturating_mul(1000),
                rechecked_within_ms: defaults.spot_clear.within_ms(),
            },
            events: BTreeMap::new(),
            technical: BTreeMap::new(),
            intervals: BTreeMap::new(),
            critical_drugs: listed(&meta.critical_drugs),
            times: Arc::default(),
        };
        for (kind, interval) in expected_interval_s {
            if let (Some(kind), Some(interval)) = (DeviceKind::from_name(&kind), interval) {
                set.intervals.insert(kind, interval);
            }
        }
        let ids: BTreeSet<&str> = rules.iter().map(id_of).collect();
        let mut seen = BTreeSet::new();
        let mut replaced: Vec<(String, String)> = Vec::new();
        for (number, rule) in (1..).zip(&rules) {
            let id = id_of(rule);
            let again = !seen.insert(id);
            let line = line_of(text, id, if again { 2 } else { 1 });
            let name = if id.is_empty() { format!("#{number}") } else { id.to_owned() };
            let mut note =
                |what| mistakes.push(RuleMistake { line, rule: Some(name.clone()), what });
            if again {
                note(Mistake::SameId);
            }
            let rule = match RawRule::deserialize(rule) {
                Ok(rule) => rule,
                Err(error) => {
                    note(Mistake::Form { why: error.to_string() });
                    continue;
                }
            };
            for target in rule.overrides.iter().filter(|target| !ids.contains(target.as_str())) {
                note(Mistake::Overrides { target: target.clone() });
            }
            replaced.extend(rule.overrides.iter().map(|target| (target.clone(), rule.id.clone())));
            if let Err(mistake) = set.add(rule) {
                note(mistake);
            }
        }
        for (target, by) in replaced {
            let place = set.places.get(&target).copied();
            if let Some(rule) = place.and_then(|place| set.thresholds.get_mut(place)) {
                rule.replaced_by.push(by);
            }
        }
        mistakes.sort();
        if mistakes.is_empty() { Ok(set) } else { Err(RuleSetError(mistakes)) }
    }

    fn add(&mut self, rule: RawRule) -> Result<(), Mistake> {
        match rule.kind.as_str() {
            "threshold" => self.add_threshold(rule),
            "device_event" => {
                let event = EventRule {
                    priority: rule.priority()?,
                    from_device: rule.priority_from_device,
                    critical_drug: rule.critical_drug_priority,
                    repeat_limit_ms: rule.repeat_limit_s.unwrap_or_default().saturating_mul(1000),
                    strip: rule.strip()?,
                    kinds: kinds_in(&rule.device_kinds),
                    id: rule.id.clone(),
                    family: rule.family,
                    message_zh: rule.message_zh,
                    message_en: rule.message_en,
                };
                self.events.insert(rule.id, event);
                Ok(())
            }
            "technical" => self.add_technical(rule),
            "score" => self.add_score(rule),
            other => Err(Mistake::RuleType { name: other.to_owned() }),
        }
    }

    fn add_threshold(&mut self, rule: RawRule) -> Result<(), Mistake> {
        let class = class_in(rule.class.as_deref(), rule.unit.as_deref())?;
        let (Some(op), Some(threshold)) = (rule.op, &rule.threshold) else {
            return Err(Mistake::NoThreshold);
        };
        let limit = as_printed(class, decimal(threshold.base)?);
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
                    let (value, limit) = (value.to_string(), limit.to_string());
                    return Err(Mistake::UnsafeClear { value, limit });
                }
                Some((*clear, value, hold.saturating_mul(1000)))
            }
            _ => None,
        };
        let also = match &rule.also {
            None => None,
            Some(also) => Some(Also {
                class: class_in(Some(&also.class), Some(&also.unit))?,
                op: also.op,
                limit: decimal(also.threshold.base)?,
                window_ms: also.window_s.saturating_mul(1000),
            }),
        };
        let follow_up = rule.route.is_some();
        let suppress = |what: &str| rule.suppress_if.iter().any(|reason| reason == what);
        let within = rule.clear.as_ref().and_then(|clear| clear.within_s);
        let within = within.map(|seconds| RawSpotClear { within_s: seconds });
        let within = within.or(rule.spot_clear).as_ref().map(RawSpotClear::within_ms);
        let recheck = rule.recheck_s.map(|seconds| seconds.saturating_mul(1000));
        let threshold = Threshold {
            class,
            population: self.population(rule.population.as_deref())?,
            ages: Ages { months: rule.age_months, days: rule.age_days },
            on_oxygen: rule.when.as_ref().and_then(|when| when.on_oxygen),
            replaced_by: Vec::new(),
            op,
            limit,
            per_year: decimal(threshold.per_year)?,
            // The schema has follow-up rules without one.
            priority: if follow_up { Priority::Low } else { rule.priority()? },
            sustain_ms: rule.sustain_s.unwrap_or_default().saturating_mul(1000),
            clear,
            recheck_ms: recheck.unwrap_or(self.spot.recheck_ms),
            rechecked_within_ms: within.unwrap_or(self.spot.rechecked_within_ms),
            suppress_lead_off: suppress("lead_off"),
            suppress_probe_off: suppress("probe_off"),
            suppress_cuff: suppress("nibp_same_limb"),
            promote: rule.promote_on_confirm.as_ref().map(|promote| Promote {
                to: promote.to,
                after_ms: promote.after_s.saturating_mul(1000),
                within_ms: promote.within_s.saturating_mul(1000),
            }),
            critical_value: rule.critical_value,
            also,
            id: rule.id,
            family: rule.family,
            message_zh: rule.message_zh,
            message_en: rule.message_en,
        };
        if follow_up {
            self.follow_ups.push(FollowUpRule {
                rule: threshold,
                consecutive: rule.consecutive.unwrap_or(1),
                meal: rule.context.and_then(|context| context.meal),
                two_hours: rule.requires.iter().any(|needed| needed.starts_with("2 h")),
            });
        } else {
            self.places.insert(threshold.id.clone(), self.thresholds.len());
            self.thresholds.push(threshold);
        }
        Ok(())
    }

    fn add_score(&mut self, rule: RawRule) -> Result<(), Mistake> {
        let condition = rule.condition.as_ref().and_then(serde_json::Value::as_object);
        let Some(condition) = condition else { return Err(Mistake::NoCondition) };
        let number = |name| {
            let number = condition.get(name).and_then(serde_json::Value::as_u64);
            number.and_then(|number| u32::try_from(number).ok())
        };
        self.scores.push(ScoreRule {
            population: self.population(rule.population.as_deref())?,
            ages: Ages { months: rule.age_months, days: rule.age_days },
            item_equals: number("item_equals"),
            at_least: number("total_at_least"),
            at_most: number("total_at_most"),
            priority: rule.priority()?,
            id: rule.id,
            family: rule.family,
            message_zh: rule.message_zh,
            message_en: rule.message_en,
        });
        Ok(())
    }

    /// The bit of a population.
    fn population(&self, name: Option<&str>) -> Result<u64, Mistake> {
        let name = name.unwrap_or_default();
        let place = self.populations.iter().position(|population| population.id == name);
        place.map(|bit| 1 << bit).ok_or_else(|| Mistake::Population { name: name.to_owned() })
    }

    fn add_technical(&mut self, rule: RawRule) -> Result<(), Mistake> {
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
                steps.push(Step {
                    priority,
                    critical_drug: step.critical_drug_priority,
                    after_ms: step.after_s.saturating_mul(1000),
                    after_intervals: step.after_intervals.unwrap_or_default(),
                    test,
                    monitored: step
                        .when
                        .as_ref()
                        .and_then(|when| when.monitored.or(when.serves_monitored)),
                });
            }
        }
        let technical = TechnicalRule {
            class,
            absolute: rule.absolute,
            at_county_alone: rule.evaluated_by.as_deref() == Some("county"),
            kinds: kinds_in(&rule.device_kinds),
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

/// The populations of the file, in its order. The bases have every age, and each once.
fn read_populations(raw: RawPopulations) -> Result<Vec<Population>, Mistake> {
    let RawPopulations { bases, age_groups, overlays, programmes, scores } = raw;
    let mut from = 0;
    for base in &bases {
        let Some((first, end)) = base.age_months.filter(|(first, _)| *first == from) else {
            return Err(Mistake::BaseBegin { base: base.id.clone(), months: from });
        };
        from = end.unwrap_or(u32::MAX);
        if from <= first {
            return Err(Mistake::BaseEnd { base: base.id.clone() });
        }
    }
    if !bases.is_empty() && from != u32::MAX {
        return Err(Mistake::BaseMissing { months: from });
    }
    let all = [
        (PopulationKind::Base, bases),
        (PopulationKind::AgeGroup, age_groups),
        (PopulationKind::Overlay, overlays),
        (PopulationKind::Programme, programmes),
        (PopulationKind::Score, scores),
    ];
    let all: Vec<(PopulationKind, RawPopulation)> = all
        .into_iter()
        .flat_map(|(kind, list)| list.into_iter().map(move |it| (kind, it)))
        .collect();
    if all.len() > POPULATIONS_MAX {
        return Err(Mistake::Populations { count: all.len(), max: POPULATIONS_MAX });
    }
    let bit_of = |name: &String| all.iter().position(|(_, it)| it.id == *name).map(|bit| 1 << bit);
    let read = |(kind, raw): &(PopulationKind, RawPopulation)| Population {
        id: raw.id.clone(),
        kind: *kind,
        ages: Ages { months: raw.age_months, days: raw.age_days },
        when_age_unknown: raw.also_when_age_unknown,
        not_with: raw.not_with.iter().filter_map(bit_of).fold(0_u64, |mask, bit: u64| mask | bit),
    };
    Ok(all.iter().map(read).collect())
}

/// The file as JSON; its rules are looked at one by one.
fn parse(text: &str, mistakes: &mut Vec<RuleMistake>) -> Option<File> {
    if text.len() > RULES_LEN_MAX {
        let what = Mistake::TooLong { bytes: text.len(), max: RULES_LEN_MAX };
        mistakes.push(RuleMistake::of_file(1, what));
        return None;
    }
    serde_json::from_str(text)
        .map_err(|error| {
            let what = Mistake::Form { why: error.to_string() };
            mistakes.push(RuleMistake::of_file(error.line(), what));
        })
        .ok()
}

fn kinds_in(names: &[String]) -> Vec<DeviceKind> {
    names.iter().filter_map(|kind| DeviceKind::from_name(kind)).collect()
}

/// Parts of names, separated by commas.
fn listed(text: &str) -> Vec<String> {
    let parts = text.split([',', '，', '、']).map(|part| part.trim().to_lowercase());
    parts.filter(|part| !part.is_empty()).collect()
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
fn decimal(number: f64) -> Result<Decimal, Mistake> {
    number.to_string().parse().map_err(|_| Mistake::Limit { number: number.to_string() })
}

/// A limit with the digits that values of its class are printed with, unless it has more.
fn as_printed(class: Class, limit: Decimal) -> Decimal {
    let decimals = class.metrics().next().and_then(|metric| metric.row().decimals);
    let printed = decimals.and_then(|decimals| limit.rounded(decimals));
    printed.filter(|printed| *printed == limit).unwrap_or(limit)
}

fn class_in(class: Option<&str>, unit: Option<&str>) -> Result<Class, Mistake> {
    let name = class.unwrap_or_default();
    let class = Class::from_name(name).ok_or_else(|| Mistake::Class { name: name.to_owned() })?;
    let canonical = class.canonical_unit().map(Unit::as_str);
    if canonical != unit {
        let [unit, canonical] = [unit, canonical].map(|unit| unit.unwrap_or("none").to_owned());
        return Err(Mistake::Unit { unit, class: name.to_owned(), canonical });
    }
    Ok(class)
}
