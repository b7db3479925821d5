//! What is known of a patient at a moment, as one observation set, and the points for it (NEWS2).
//!
//! # Invariants
//! - what is shown and what raises an alert come of the same set
//! - what is implausible counts, and the score says so: a real emergency looks so too

use crate::{clock::rfc3339, reading};
use model::{
    reading::{Comparator, Reading, Validity},
    time::WallTime,
};
use rules::{
    news2::{Measured, Scale, Score},
    population::Profile,
    rule::RuleSet,
};
use rusqlite::{Connection, Row, params};
use serde_json::{Value, json};

/// Streams count by their median over this.
const STREAM_MS: i64 = 60_000;
/// The spot value that counts longest, a temperature.
const SPOT_MS: i64 = 4 * 3_600_000;
/// Groups of one device in a minute: sixteen channels each second, and to spare.
const GROUPS_MAX: u32 = 2000;
/// Results of one patient that are looked at: a cuff each minute of four hours, and to spare.
const RESULTS_MAX: u32 = 500;

/// What devices measured of a patient until that moment, as far as a score may use it: what was not
/// rejected.
pub(crate) fn measured(
    connection: &Connection,
    key: &str,
    at: WallTime,
) -> rusqlite::Result<Vec<Measured>> {
    measured_without(connection, key, at, ("", ""))
}

/// The same without what a device streamed.
pub(crate) fn measured_without(
    connection: &Connection,
    key: &str,
    at: WallTime,
    (site, device): (&str, &str),
) -> rusqlite::Result<Vec<Measured>> {
    let mut measured = Vec::new();
    let since_ms = at.unix_ms().saturating_sub(STREAM_MS);
    // What has left says nothing of now.
    let sources: Vec<(i64, i64)> = connection
        .prepare_cached(
            "SELECT source.id, max(from_ms, ?3) FROM binding JOIN source USING (site, device)
             WHERE patient = ?1 AND from_ms <= ?2 AND (until_ms IS NULL OR until_ms > ?2)
             AND (site, device) <> (?4, ?5)",
        )?
        .query_map(params![key, at.unix_ms(), since_ms, site, device], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?
        .collect::<Result<_, _>>()?;
    let mut streams = connection.prepare_cached(&format!(
        "SELECT metrics, said, measured_ms FROM reading_group
         CROSS JOIN metric_list ON metric_list.id = reading_group.metric_list
         WHERE source = ?1 AND observed_ms BETWEEN ?2 AND ?3 AND identity IS NULL
         AND NOT EXISTS (SELECT 1 FROM spot WHERE spot.reading_group = reading_group.id)
         ORDER BY observed_ms DESC LIMIT {GROUPS_MAX}"
    ))?;
    for (source, from_ms) in sources {
        let mut rows = streams.query([source, from_ms, at.unix_ms()])?;
        while let Some(row) = rows.next()? {
            measured.extend(values(row, false)?);
        }
    }
    let mut results = connection.prepare_cached(&format!(
        "SELECT metrics, said, measured_ms FROM
           (SELECT reading_group AS id FROM spot WHERE patient = ?1
            ORDER BY reading_group DESC LIMIT {RESULTS_MAX}) AS newest
         CROSS JOIN reading_group ON reading_group.id = newest.id
         CROSS JOIN metric_list ON metric_list.id = reading_group.metric_list
         WHERE measured_ms BETWEEN ?2 AND ?3 AND duplicate_of IS NULL"
    ))?;
    let mut rows =
        results.query(params![key, at.unix_ms().saturating_sub(SPOT_MS), at.unix_ms()])?;
    while let Some(row) = rows.next()? {
        measured.extend(values(row, true)?);
    }
    Ok(measured)
}

fn values(row: &Row<'_>, spot: bool) -> rusqlite::Result<Vec<Measured>> {
    let (metrics, said): (String, String) = (row.get("metrics")?, row.get("said")?);
    let at = WallTime::from_unix_ms(row.get("measured_ms")?);
    Ok(counted(reading::readings(&metrics, &said), at, spot))
}

/// What a score may use of readings that were measured together.
pub(crate) fn counted(readings: Vec<Reading>, at: WallTime, spot: bool) -> Vec<Measured> {
    let counts =
        |reading: &Reading| matches!(reading.validity, Validity::Valid | Validity::Questionable);
    let counted = readings.into_iter().filter(counts);
    let measured = counted.filter_map(|reading| {
        let (value, comparator) = reading.canonical()?;
        let is_value = comparator == Comparator::Equal;
        let check = reading.validity == Validity::Questionable;
        is_value.then_some(Measured { metric: reading.metric, value, at, spot, check })
    });
    measured.collect()
}

/// The points of a patient at that moment, for people to look at; `null` for whom the score is not
/// valid.
pub(crate) fn news2(
    connection: &Connection,
    rules: &RuleSet,
    key: &str,
    profile: &Profile,
    at: WallTime,
) -> rusqlite::Result<Value> {
    let set = profile.observations(at, &measured(connection, key, at)?);
    let score = profile.score(rules, at, &set);
    Ok(score.map_or(Value::Null, |score| told(&score, profile.scale(at), at)))
}

fn told(score: &Score, scale: Scale, at: WallTime) -> Value {
    let (complete, total) = (score.is_complete(), score.total());
    let [zh, en] = score.texts();
    json!({
        "at": rfc3339(at.unix_ms()),
        "complete": complete,
        "score": complete.then_some(total),
        "at_least": (!complete).then_some(total),
        "scale": if scale == Scale::Two { 2 } else { 1 },
        "parts": {
            "respiration": score.respiration, "spo2": score.spo2, "oxygen": score.oxygen,
            "systolic": score.systolic, "pulse": score.pulse,
            "consciousness": score.consciousness, "temperature": score.temperature,
        },
        "text_zh": zh,
        "text_en": en,
    })
}
