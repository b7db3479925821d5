//! Who is on duty: for each township and level, by the hour of the week.
//!
//! # Invariants
//! - a township that names nobody of a level has whom the county names, or nobody
//! - an open alert names as the next whoever the newest plan has on duty at that moment

use crate::{clock::parse_rfc3339, people::Scope, query::Clinics, store::Store};
use model::{id::SiteId, time::WallTime};
use rules::ladder::Level;
use rusqlite::{Connection, Row, Transaction, params};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::{collections::BTreeMap, sync::Arc};
use thiserror::Error;

/// Hours of a week.
const WEEK: i64 = 168;
const HOUR_MS: i64 = 3_600_000;
/// The zone where every site is (Asia/Shanghai): it has no summer time.
const ZONE_MS: i64 = 8 * HOUR_MS;
/// 1970 began on a Thursday.
const THURSDAY: i64 = 72;
/// Three shifts a day for each of four levels, and as many again.
pub(crate) const SHIFTS_MAX: usize = 168;
/// Longest name of a person or phone list.
pub(crate) const PERSON_LEN_MAX: usize = 64;

/// Somebody from one hour of the week to another.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Shift {
    pub(crate) level: Level,
    pub(crate) from_hour: i64,
    pub(crate) until_hour: i64,
    pub(crate) person: String,
}

/// What is wrong with a plan.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub(crate) enum PlanError {
    #[error("shifts: there are {0}; at most {SHIFTS_MAX} make a plan")]
    TooMany(usize),
    #[error(
        "shifts[{0}]: from_hour is 0 to 167 and until_hour greater, at most 168; Monday 0:00 is 0, \
         and what goes over Sunday midnight is two shifts"
    )]
    Hours(usize),
    #[error("shifts[{0}]: person has 1 to {PERSON_LEN_MAX} letters")]
    Person(usize),
    #[error("shifts[{0}]: another shift of that level has some of its hours; part them")]
    Overlap(usize),
}

/// Whether it can be a plan.
pub(crate) fn check(shifts: &[Shift]) -> Result<(), PlanError> {
    if shifts.len() > SHIFTS_MAX {
        return Err(PlanError::TooMany(shifts.len()));
    }
    for (place, shift) in shifts.iter().enumerate() {
        if shift.from_hour < 0 || shift.until_hour <= shift.from_hour || shift.until_hour > WEEK {
            return Err(PlanError::Hours(place));
        }
        if !(1..=PERSON_LEN_MAX).contains(&shift.person.chars().count()) {
            return Err(PlanError::Person(place));
        }
        let overlaps = |other: &&Shift| {
            other.level == shift.level
                && other.from_hour < shift.until_hour
                && shift.from_hour < other.until_hour
        };
        if shifts.iter().take(place).any(|other| overlaps(&other)) {
            return Err(PlanError::Overlap(place));
        }
    }
    Ok(())
}

/// Puts a plan that was checked in the place of the one before; `None` is that of the county.
pub(crate) fn replace(
    transaction: &Transaction<'_>,
    township: Option<&str>,
    shifts: &[Shift],
) -> rusqlite::Result<()> {
    let township = township.unwrap_or_default();
    transaction.execute("DELETE FROM duty WHERE township = ?1", [township])?;
    let mut insert = transaction.prepare("INSERT INTO duty VALUES (?1, ?2, ?3, ?4, ?5)")?;
    for Shift { level, from_hour, until_hour, person } in shifts {
        insert.execute(params![township, level.name(), from_hour, until_hour, person])?;
    }
    Ok(())
}

/// Every plan, that of the county first.
pub(crate) fn plans(connection: &Connection, scope: &Scope) -> rusqlite::Result<Value> {
    let mut plans: BTreeMap<String, Vec<Shift>> = BTreeMap::new();
    let mut statement =
        connection.prepare_cached("SELECT * FROM duty ORDER BY township, level, from_hour")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let township: String = row.get("township")?;
        // The county's plan is everybody's: it answers where a township has nobody.
        let is_shown =
            township.is_empty() || scope.names().is_none_or(|names| names.contains(&township));
        if let Some(shift) = shift(row)?.filter(|_| is_shown) {
            plans.entry(township).or_default().push(shift);
        }
    }
    let told = plans.into_iter().map(|(township, shifts)| {
        let township = Some(township).filter(|name| !name.is_empty());
        json!({"township": township, "shifts": shifts})
    });
    Ok(json!({"plans": told.collect::<Vec<_>>()}))
}

fn shift(row: &Row<'_>) -> rusqlite::Result<Option<Shift>> {
    let level: String = row.get("level")?;
    let Some(level) = Level::from_name(&level) else { return Ok(None) };
    let (from_hour, until_hour) = (row.get("from_hour")?, row.get("until_hour")?);
    Ok(Some(Shift { level, from_hour, until_hour, person: row.get("person")? }))
}

/// Who is on duty for a site at that moment.
pub(crate) fn on_duty(
    connection: &Connection,
    site: &SiteId,
    at: WallTime,
) -> rusqlite::Result<BTreeMap<Level, String>> {
    // Those of the township come last and take the place of those of the county.
    let mut statement = connection.prepare_cached(
        "SELECT * FROM duty WHERE from_hour <= ?2 AND until_hour > ?2
         AND (township = '' OR township = (SELECT name FROM township WHERE site = ?1))
         ORDER BY township",
    )?;
    let mut rows = statement.query(params![site.as_str(), hour_of_week(at)])?;
    let mut on_duty = BTreeMap::new();
    while let Some(row) = rows.next()? {
        if let Some(shift) = shift(row)? {
            on_duty.insert(shift.level, shift.person);
        }
    }
    Ok(on_duty)
}

/// The plan is another: open alerts name by it whoever is told next. Returns those that name
/// somebody else now, as the API tells them.
pub(crate) fn name_next(connection: &Connection) -> rusqlite::Result<Vec<Value>> {
    let steps: Vec<(String, String, String, String, Option<String>)> = connection
        .prepare_cached(
            "SELECT id, site, body ->> '$.next_step.level', body ->> '$.next_step.at',
               body ->> '$.next_step.person'
             FROM alert WHERE state <> 'closed' AND body ->> '$.next_step.at' IS NOT NULL",
        )?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?)))?
        .collect::<Result<_, _>>()?;
    let mut told = Vec::new();
    for (id, site, level, at, before) in steps {
        let Ok(site) = SiteId::stored(&site) else { continue };
        let (Some(level), Some(at)) = (Level::from_name(&level), parse_rfc3339(&at)) else {
            continue;
        };
        let person = on_duty(connection, &site, WallTime::from_unix_ms(at))?.remove(&level);
        if person == before {
            continue;
        }
        let body: String = connection
            .prepare_cached(
                "UPDATE alert SET body = json_set(body, '$.next_step.person', ?2,
                   '$.revision', body ->> '$.revision' + 1) WHERE id = ?1 RETURNING body",
            )?
            .query_row(params![id, person], |row| row.get(0))?;
        told.push(serde_json::from_str(&body).unwrap_or_default());
    }
    Ok(told)
}

/// The clinics that are configured: the database knows which township a site is of.
pub(crate) async fn know_townships(store: &Store, clinics: &Arc<Clinics>) {
    let clinics = Arc::clone(clinics);
    let write = move |transaction: &Transaction<'_>| {
        write_townships(transaction, &clinics)?;
        // No board follows yet.
        name_next(transaction).map(drop)
    };
    let written = store.write(write).await;
    if let Err(error) = written {
        // A full disk is no reason to show nothing.
        tracing::error!(%error, "The clinics could not be written down; those of before count.");
    }
}

fn write_townships(transaction: &Transaction<'_>, clinics: &Clinics) -> rusqlite::Result<()> {
    transaction.execute("DELETE FROM township", [])?;
    let mut insert = transaction.prepare("INSERT INTO township VALUES (?1, ?2)")?;
    for (site, name) in clinics {
        insert.execute([site.as_str(), name])?;
    }
    for township in of_no_clinic(transaction)? {
        tracing::warn!(
            township,
            "A duty plan is of a township that no site has any more: nobody of it is told. Put it \
             in again under the township's new name."
        );
    }
    Ok(())
}

/// Townships that have a plan and no site: they were renamed.
fn of_no_clinic(connection: &Connection) -> rusqlite::Result<Vec<String>> {
    connection
        .prepare(
            "SELECT DISTINCT township FROM duty WHERE township <> ''
             AND township NOT IN (SELECT name FROM township) ORDER BY township",
        )?
        .query_map([], |row| row.get(0))?
        .collect()
}

fn hour_of_week(at: WallTime) -> i64 {
    let hours = at.unix_ms().saturating_add(ZONE_MS).div_euclid(HOUR_MS);
    hours.saturating_add(THURSDAY).rem_euclid(WEEK)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::parse_rfc3339;

    fn shift(level: Level, from_hour: i64, until_hour: i64, person: &str) -> Shift {
        Shift { level, from_hour, until_hour, person: person.to_owned() }
    }

    fn at(text: &str) -> WallTime {
        WallTime::from_unix_ms(parse_rfc3339(text).unwrap())
    }

    #[test]
    fn the_week_begins_on_monday_where_the_sites_are() {
        // 2026-11-23 is a Monday.
        for (text, hour) in [
            ("2026-11-23T00:00:00+08:00", 0),
            ("2026-11-22T23:59:59+08:00", 167),
            ("2026-11-26T13:30:00+08:00", 85),
        ] {
            assert_eq!(hour_of_week(at(text)), hour, "{text}");
        }
    }

    #[test]
    fn a_township_names_its_own_and_the_county_the_rest() {
        let folder = tempfile::tempdir().unwrap();
        let mut connection = Store::connection(&folder.path().join("county.sqlite")).unwrap();
        let [heping, dongfeng] = ["heping-01", "dongfeng-01"].map(|id| SiteId::new(id).unwrap());
        let clinics = [(heping.clone(), "和平镇".to_owned())].into();
        let county = [
            shift(Level::First, 0, 168, "the county's first"),
            shift(Level::CountyOnCall, 0, 168, "zhao"),
        ];
        let own = [shift(Level::First, 8, 20, "wang"), shift(Level::First, 20, 24, "li")];
        let transaction = connection.transaction().unwrap();
        write_townships(&transaction, &clinics).unwrap();
        replace(&transaction, None, &county).unwrap();
        replace(&transaction, Some("和平镇"), &own).unwrap();
        transaction.commit().unwrap();
        let first = |site, moment| {
            let mut on_duty = on_duty(&connection, site, at(moment)).unwrap();
            assert_eq!(on_duty[&Level::CountyOnCall], "zhao");
            assert!(!on_duty.contains_key(&Level::Second));
            on_duty.remove(&Level::First).unwrap()
        };
        assert_eq!(first(&heping, "2026-11-23T08:00:00+08:00"), "wang");
        assert_eq!(first(&heping, "2026-11-23T20:00:00+08:00"), "li");
        assert_eq!(first(&heping, "2026-11-24T00:00:00+08:00"), "the county's first");
        assert_eq!(first(&dongfeng, "2026-11-23T08:00:00+08:00"), "the county's first");
        // Its plan stays where the township is renamed, and counts for nobody.
        assert!(of_no_clinic(&connection).unwrap().is_empty());
        let renamed = [(heping, "和平街道".to_owned())].into();
        let transaction = connection.transaction().unwrap();
        write_townships(&transaction, &renamed).unwrap();
        assert_eq!(of_no_clinic(&transaction).unwrap(), ["和平镇"]);
    }

    #[test]
    fn what_is_no_plan_is_refused_with_its_place() {
        let good = || shift(Level::Second, 0, 12, "wang");
        assert_eq!(check(&[good(), shift(Level::Second, 12, 168, "li")]), Ok(()));
        assert_eq!(check(&[good(), shift(Level::First, 0, 12, "li")]), Ok(()));
        for (wrong, error) in [
            (shift(Level::Second, 11, 13, "li"), PlanError::Overlap(1)),
            (shift(Level::First, 5, 5, "li"), PlanError::Hours(1)),
            (shift(Level::First, -1, 5, "li"), PlanError::Hours(1)),
            (shift(Level::First, 160, 169, "li"), PlanError::Hours(1)),
            (shift(Level::First, 0, 5, ""), PlanError::Person(1)),
        ] {
            assert_eq!(check(&[good(), wrong]), Err(error));
        }
        assert_eq!(check(&vec![good(); 169]), Err(PlanError::TooMany(169)));
    }
}
