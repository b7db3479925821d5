//! Trends: what devices repeat, thinned out to a median with its extremes for each step; results
//! one by one, with who moved them.
//!
//! Not here: every single reading ([`crate::query`]).
//!
//! # Invariants
//! - every number told was measured: the median of an even count is the lower one of the two
//! - a patient's trend is what devices said while they were on the patient, and what a person moved
//! - a step in which nothing was measured has no point

use crate::{
    clock::rfc3339,
    code::Code,
    patients::{Refused, find_own, followup::missed, profile::profile, tray},
    people::Scope,
    reading::{self, Group},
};
use model::{
    decimal::Decimal,
    metric::{Kind, Metric},
    reading::Validity,
    time::WallTime,
};
use rules::{freshness::Freshness, rule::RuleSet};
use rusqlite::{Connection, params};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Longest time in one answer: a day with an hour at each end.
pub(crate) const SPAN_MAX_MS: i64 = 26 * 3_600_000;
/// Most steps in one answer.
pub(crate) const STEPS_MAX: i64 = 2_000;
/// Reading groups behind one answer: a day of five devices that speak once a second.
const GROUPS_MAX: i64 = 500_000;
/// Results in one answer, the newest ones.
const RESULTS_MAX: u32 = 500;

/// Whose trend.
#[derive(Debug)]
pub(crate) enum Of {
    Patient(String),
    Device { site: String, device: String },
}

/// Which trend is asked for.
#[derive(Debug)]
pub(crate) struct TrendFilter {
    pub(crate) of: Of,
    pub(crate) metric: Option<String>,
    pub(crate) from_ms: i64,
    pub(crate) to_ms: i64,
    pub(crate) step_ms: i64,
    pub(crate) scope: Scope,
}

/// A time in which what a device said counts.
#[derive(Debug)]
struct Stay {
    source: i64,
    site: String,
    device: String,
    from_ms: i64,
    to_ms: i64,
}

/// Site, device, channel, metric.
type Series = (String, String, String, &'static str);

/// What was measured within one step.
#[derive(Debug, Default)]
struct Step {
    numbers: Vec<Decimal>,
    backfilled: bool,
    doubted: bool,
}

/// The trend of a patient or device.
pub(crate) fn trends(
    connection: &Connection,
    rules: &RuleSet,
    filter: &TrendFilter,
    now: WallTime,
) -> Result<Value, Refused> {
    let mut of = None;
    let stays = match &filter.of {
        Of::Patient(key) => {
            let patient = find_own(connection, &filter.scope, key)?;
            of = Some(profile(connection, &patient, now)?);
            stays_of_patient(connection, key, filter)?
        }
        Of::Device { site, device } if filter.scope.holds(site) => {
            stays_of_device(connection, site, device, filter)?
        }
        Of::Device { .. } => Vec::new(),
    };
    let mut left = GROUPS_MAX;
    let mut found = BTreeMap::new();
    for stay in &stays {
        left -= add(connection, filter, stay, left, &mut found)?;
        if left <= 0 {
            let text = format!(
                "from: more than {GROUPS_MAX} readings are behind this; ask for a shorter time"
            );
            return Err(Refused::Because(Code::TooMuch, text));
        }
    }
    let series: Vec<Value> = found
        .into_iter()
        .map(|((site, device, channel, metric), steps)| {
            let unit = Metric::from_name(metric).and_then(reading::usual_unit);
            let points: Vec<Value> =
                steps.into_iter().filter_map(|(at_ms, step)| step.told(at_ms)).collect();
            json!({"site": site, "device": device, "channel": channel, "metric": metric,
                "unit": unit, "points": points})
        })
        .collect();
    Ok(json!({
        "from": rfc3339(filter.from_ms), "to": rfc3339(filter.to_ms),
        "step_s": filter.step_ms / 1000, "series": series,
        "results": results(connection, filter, &stays, |group| match (&filter.of, &of) {
            // What was moved away misses no target of this patient.
            (Of::Patient(key), Some(of)) if group.patient.as_ref() == Some(key) => {
                missed(rules, of, group)
            }
            _ => Value::Null,
        })?,
    }))
}

/// When which device was on a patient.
fn stays_of_patient(
    connection: &Connection,
    key: &str,
    filter: &TrendFilter,
) -> rusqlite::Result<Vec<Stay>> {
    connection
        .prepare_cached(
            "SELECT source.id, source.site, source.device, max(from_ms, ?2),
               min(coalesce(until_ms, ?3), ?3)
             FROM binding CROSS JOIN source USING (site, device)
             WHERE patient = ?1 AND from_ms < ?3 AND coalesce(until_ms, ?3) > ?2
             ORDER BY from_ms",
        )?
        .query_map(params![key, filter.from_ms, filter.to_ms], |row| {
            let (from_ms, to_ms) = (row.get(3)?, row.get(4)?);
            Ok(Stay { source: row.get(0)?, site: row.get(1)?, device: row.get(2)?, from_ms, to_ms })
        })?
        .collect()
}

fn stays_of_device(
    connection: &Connection,
    site: &str,
    device: &str,
    filter: &TrendFilter,
) -> rusqlite::Result<Vec<Stay>> {
    connection
        .prepare_cached("SELECT id FROM source WHERE site = ?1 AND device = ?2")?
        .query_map([site, device], |row| {
            Ok(Stay {
                source: row.get(0)?,
                site: site.to_owned(),
                device: device.to_owned(),
                from_ms: filter.from_ms,
                to_ms: filter.to_ms,
            })
        })?
        .collect()
}

/// Adds what a device repeated during a stay; returns how many groups that was.
fn add(
    connection: &Connection,
    filter: &TrendFilter,
    stay: &Stay,
    left: i64,
    found: &mut BTreeMap<Series, BTreeMap<i64, Step>>,
) -> rusqlite::Result<i64> {
    let mut statement = connection.prepare_cached(
        "SELECT channel, metrics, said, measured_ms, freshness
         FROM reading_group CROSS JOIN metric_list ON metric_list.id = reading_group.metric_list
         WHERE source = ?1 AND observed_ms >= ?2 AND observed_ms < ?3 AND duplicate_of IS NULL
         AND NOT EXISTS (SELECT 1 FROM spot WHERE spot.reading_group = reading_group.id)
         LIMIT ?4",
    )?;
    let mut rows = statement.query(params![stay.source, stay.from_ms, stay.to_ms, left])?;
    let mut count = 0;
    while let Some(row) = rows.next()? {
        count += 1;
        let measured_ms: i64 = row.get("measured_ms")?;
        if !(stay.from_ms..stay.to_ms).contains(&measured_ms) {
            continue;
        }
        let at_ms = measured_ms - measured_ms.rem_euclid(filter.step_ms);
        let (metrics, said): (String, String) = (row.get("metrics")?, row.get("said")?);
        let freshness: Option<String> = row.get("freshness")?;
        let backfilled = freshness.is_some_and(|name| name != Freshness::Fresh.name());
        for reading in reading::readings(&metrics, &said) {
            let name = reading.metric.name();
            let asked = filter.metric.as_deref().is_none_or(|metric| metric == name);
            let kept = asked && reading.metric.row().kind != Kind::State;
            let number = reading.canonical().filter(|_| kept);
            let Some((number, _)) = number.filter(|_| reading.validity != Validity::Invalid) else {
                continue;
            };
            let series = (stay.site.clone(), stay.device.clone(), row.get("channel")?, name);
            let step = found.entry(series).or_default().entry(at_ms).or_default();
            step.numbers.push(number);
            step.backfilled |= backfilled;
            step.doubted |= reading.validity != Validity::Valid;
        }
    }
    Ok(count)
}

impl Step {
    fn told(mut self, at_ms: i64) -> Option<Value> {
        self.numbers.sort_unstable();
        let (min, max) = (self.numbers.first()?, self.numbers.last()?);
        let median = self.numbers.get((self.numbers.len() - 1) / 2)?;
        Some(json!({"at": rfc3339(at_ms), "min": min.to_string(), "median": median.to_string(),
            "max": max.to_string(), "count": self.numbers.len(),
            "backfilled": self.backfilled, "doubted": self.doubted}))
    }
}

/// Results that were measured in this time: a patient's own and those that were moved away.
fn results(
    connection: &Connection,
    filter: &TrendFilter,
    stays: &[Stay],
    missed: impl Fn(&Group) -> Value,
) -> rusqlite::Result<Vec<Value>> {
    let (whose, key) = match &filter.of {
        Of::Patient(key) => (
            "SELECT reading_group FROM spot WHERE patient = ?3 UNION
             SELECT reading_group FROM reassignment
               CROSS JOIN spot USING (outbox_lane, seq, idx) WHERE before = ?3"
                .to_owned(),
            Some(key),
        ),
        // A device of which nothing was heard has none.
        Of::Device { .. } => {
            let source = stays.first().map_or(-1, |stay| stay.source);
            // Results are few, whatever else the device says.
            let of_device = "SELECT reading_group FROM spot CROSS JOIN reading_group AS own
                 ON own.id = spot.reading_group WHERE ?3 IS NULL AND own.source =";
            (format!("{of_device} {source}"), None)
        }
    };
    let groups: Vec<i64> = connection
        .prepare_cached(&format!(
            "SELECT id FROM reading_group WHERE id IN ({whose})
             AND measured_ms >= ?1 AND measured_ms < ?2 AND duplicate_of IS NULL
             ORDER BY measured_ms DESC, id DESC LIMIT {RESULTS_MAX}"
        ))?
        .query_map(params![filter.from_ms, filter.to_ms, key], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    let groups = groups.into_iter().rev();
    groups.map(|group| tray::told_to(connection, group, &missed)).collect()
}
