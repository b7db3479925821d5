//! Who is to be referred: out of target at visits in a row. A list to ask for, never an alert.
//!
//! A visit is a day with a result; its last value counts, because whoever is high sits down and is
//! measured again. Before and after a meal are visits apart: each has its own target.

use super::{PATIENTS, Patient, Refused, profile::profile, tray::as_said};
use crate::{
    clock::{self, rfc3339},
    people::Scope,
    reading::{GROUPS, Group},
};
use model::{metric::Class, reading::ReadingGroup, time::WallTime};
use rules::{follow_up::FollowUp, population::Profile, rule::RuleSet};
use rusqlite::{Connection, params};
use serde_json::{Value, json};
use std::{cmp::Reverse, collections::BTreeMap};

/// "Two visits in a row: refer, follow up within 2 weeks" (basic public health service norm).
const REFER_MS: i64 = 14 * 24 * 3_600_000;
/// Results of one patient that are looked at: a year of two visits a week.
const RESULTS_MAX: u32 = 100;
/// The programme for blood pressure; the other one is for glucose.
const HYPERTENSION: &str = "hypertension";
const DIABETES: &str = "diabetes";
const OLD_YOUNG_PREGNANT: [&str; 3] = ["elderly", "child", "pregnant"];

/// Whom the list is to have.
#[derive(Debug, Default)]
pub(crate) struct FollowUpFilter {
    pub(crate) clinic: Option<String>,
    pub(crate) programme: Option<String>,
    pub(crate) group: Option<String>,
    pub(crate) scope: Scope,
}

/// A day on which a patient was measured, and what was out of target of one family of rules.
#[derive(Clone, Debug)]
struct Visit {
    day: String,
    measured_ms: i64,
    readings: Vec<Value>,
    missed: Vec<String>,
    programme: &'static str,
    /// So many in a row put somebody on the list.
    consecutive: u32,
}

/// The targets of a patient that a result misses; none of what was not measured on a known day.
pub(crate) fn missed(rules: &RuleSet, profile: &Profile, group: &Group) -> Value {
    let at = WallTime::from_unix_ms(group.measured_ms);
    let said = as_said(group).filter(|_| !group.time_suspect);
    let told = said.iter().flat_map(|said| judged(rules, profile, group, said, at));
    let missed = told.filter(|told| told.out_of_target).map(|told| {
        json!({"rule": told.rule, "message_zh": told.message_zh, "message_en": told.message_en})
    });
    missed.collect()
}

/// What a result says to the programmes of its patient.
fn judged<'r>(
    rules: &'r RuleSet,
    profile: &Profile,
    group: &Group,
    said: &ReadingGroup,
    at: WallTime,
) -> Vec<FollowUp<'r>> {
    rules.follow_up(profile, said, at, group.two_hours.is_some())
}

/// Patients out of target, the longest first; and whose last visit alone was, the newest first.
pub(crate) fn list(
    connection: &Connection,
    rules: &RuleSet,
    filter: &FollowUpFilter,
    now: WallTime,
) -> Result<Value, Refused> {
    one_of("programme", filter.programme.as_deref(), &[HYPERTENSION, DIABETES])?;
    one_of("group", filter.group.as_deref(), &OLD_YOUNG_PREGNANT)?;
    let (mut people, mut once) = (Vec::new(), Vec::new());
    for patient in patients(connection, filter)? {
        let groups = patient.about.groups(now);
        if filter.group.as_deref().is_some_and(|group| !groups.contains(&group)) {
            continue;
        }
        let profile = profile(connection, &patient, now)?;
        let visits = visits(&results(connection, &patient.key)?, rules, &profile);
        for run in visits.into_values().map(out_of_target) {
            let Some(newest) = run.0.first() else { continue };
            if filter.programme.as_deref().is_some_and(|wanted| wanted != newest.programme) {
                continue;
            }
            let since_ms = run.since_ms();
            let refer_ms = since_ms.map(|since_ms| since_ms.saturating_add(REFER_MS));
            let told = json!({
                "patient": patient.key, "name": patient.masked_name(),
                "age_months": patient.about.age_months(now), "sex": patient.about.sex,
                "clinic": patient.about.clinic, "groups": groups,
                "programme": newest.programme, "since": since_ms.map(rfc3339),
                "refer_by": refer_ms.map(rfc3339),
                "overdue": refer_ms.is_some_and(|refer_ms| refer_ms < now.unix_ms()),
                "visits": run.told(),
            });
            match since_ms {
                Some(since_ms) => people.push((since_ms, told)),
                None => once.push((Reverse(newest.measured_ms), told)),
            }
        }
    }
    people.sort_by_key(|(since_ms, _)| *since_ms);
    once.sort_by_key(|(measured_ms, _)| *measured_ms);
    let people: Vec<Value> = people.into_iter().map(|(_, told)| told).collect();
    let once: Vec<Value> = once.into_iter().map(|(_, told)| told).collect();
    let target = |(rule, says): (&str, [&str; 2])| {
        let [zh, en] = says;
        json!({"rule": rule, "message_zh": zh, "message_en": en})
    };
    let targets: Vec<Value> = rules.targets().map(target).collect();
    Ok(json!({"target_set": rules.version(), "targets": targets, "people": people,
        "once": once}))
}

fn one_of(name: &str, asked: Option<&str>, known: &[&str]) -> Result<(), Refused> {
    match asked.filter(|asked| !known.contains(asked)) {
        None => Ok(()),
        Some(_) => Err(Refused::Wrong(format!("{name}: one of {}", known.join(", ")))),
    }
}

fn patients(connection: &Connection, filter: &FollowUpFilter) -> rusqlite::Result<Vec<Patient>> {
    connection
        .prepare_cached(&format!(
            "{PATIENTS} WHERE discharged_ms IS NULL AND (?1 IS NULL OR clinic = ?1)
             AND (?2 IS NULL OR clinic IN (SELECT value FROM json_each(?2))) ORDER BY patient"
        ))?
        .query_map(params![filter.clinic, filter.scope.stored()], Patient::of_row)?
        .collect()
}

/// The newest results of a patient, the oldest of them first.
fn results(connection: &Connection, key: &str) -> rusqlite::Result<Vec<Group>> {
    let mut groups: Vec<Group> = connection
        .prepare_cached(&format!(
            "{GROUPS} WHERE reading_group.id IN (SELECT reading_group FROM spot WHERE patient = ?1)
             AND duplicate_of IS NULL ORDER BY measured_ms DESC LIMIT {RESULTS_MAX}"
        ))?
        .query_map([key], Group::of_row)?
        .collect::<Result<_, _>>()?;
    groups.reverse();
    Ok(groups)
}

/// Days on which something was measured that has a target, by family of rules and meal: of each day
/// the last result. What nobody knows the day of is no visit.
fn visits<'r>(
    results: &[Group],
    rules: &'r RuleSet,
    profile: &Profile,
) -> BTreeMap<(&'r str, Option<&'r str>), Vec<Visit>> {
    let mut families: BTreeMap<_, Vec<Visit>> = BTreeMap::new();
    for group in results.iter().filter(|group| !group.time_suspect) {
        let at = WallTime::from_unix_ms(group.measured_ms);
        let Some(said) = as_said(group) else { continue };
        let mut of_group: BTreeMap<_, Visit> = BTreeMap::new();
        for told in judged(rules, profile, group, &said, at) {
            let visit = of_group.entry((told.family, told.meal)).or_insert_with(|| Visit {
                day: clock::local_date(at).to_string(),
                measured_ms: group.measured_ms,
                readings: group.told().into_iter().map(|(.., told)| told).collect(),
                missed: Vec::new(),
                programme: if told.class == Class::Glucose { DIABETES } else { HYPERTENSION },
                consecutive: told.consecutive,
            });
            visit.consecutive = visit.consecutive.max(told.consecutive);
            visit.missed.extend(told.out_of_target.then(|| told.rule.to_owned()));
        }
        for (family, visit) in of_group {
            let visits = families.entry(family).or_default();
            match visits.last_mut() {
                Some(last) if last.day == visit.day => *last = visit,
                _ => visits.push(visit),
            }
        }
    }
    families
}

/// Visits in a row that were out of target up to the last one, the newest first.
struct Run(Vec<Visit>);

/// Empty for whoever was in target at the last visit.
fn out_of_target(visits: Vec<Visit>) -> Run {
    let newest = visits.into_iter().rev();
    Run(newest.take_while(|visit| !visit.missed.is_empty()).collect())
}

impl Run {
    /// When it was long enough; `None` where it is not yet.
    fn since_ms(&self) -> Option<i64> {
        let needed = usize::try_from(self.0.first()?.consecutive).ok()?.max(1);
        Some(self.0.get(self.0.len().checked_sub(needed)?)?.measured_ms)
    }

    fn told(&self) -> Vec<Value> {
        let visit = |visit: &Visit| {
            let Visit { day, readings, missed, .. } = visit;
            json!({"day": day, "missed": missed, "readings": readings})
        };
        self.0.iter().map(visit).collect()
    }
}
