//! A patient as the rules see one. No name, no key.

use super::{
    Patient,
    about::{self, Pregnancy, day, day_or_month},
};
use crate::clock;
use jiff::civil::Date;
use model::time::WallTime;
use rules::{
    news2::Consciousness,
    population::{Birth, Entry, LIMITS_MAX, Limit, Profile, Sex},
};
use rusqlite::{Connection, OptionalExtension as _, Row, params, types::FromSql};

/// Entries of one patient: of two days, one each quarter of an hour.
const ENTRIES_MAX: u32 = 200;
/// Limits of one patient, in force or over: of those that may be in force at once four times.
const LIMITS_TOLD_MAX: usize = 4 * LIMITS_MAX;
/// What has ended so long ago changes nothing of what is judged when it comes.
pub(super) const ENDED_MS: i64 = 24 * 3_600_000;

/// What decides which rules apply to what comes of a patient now, measured a day ago at the earliest.
pub(crate) fn profile_of_a_day(
    connection: &Connection,
    patient: &Patient,
    now: WallTime,
) -> rusqlite::Result<Profile> {
    let a_day_ago = WallTime::from_unix_ms(now.unix_ms().saturating_sub(ENDED_MS));
    profile(connection, patient, a_day_ago)
}

/// What decides at that moment and since which rules apply to a patient, as far as it is kept: what
/// is known of a person is as it is now.
pub(crate) fn profile(
    connection: &Connection,
    patient: &Patient,
    at: WallTime,
) -> rusqlite::Result<Profile> {
    let about = &patient.about;
    Ok(Profile {
        birth: about.born.as_deref().and_then(birth),
        sex: match about.sex {
            about::Sex::Female => Some(Sex::Female),
            about::Sex::Male => Some(Sex::Male),
            about::Sex::Unknown => None,
        },
        pregnant_until: about.pregnancy.as_ref().map(pregnant_until),
        scale2_until: about
            .scale2
            .as_ref()
            .and_then(|order| clock::parse_rfc3339(&order.until).map(WallTime::from_unix_ms)),
        hypertension: about.hypertension,
        diabetes: about.diabetes,
        elderly: about.elderly,
        monitored: about.monitored,
        oxygen: newest(connection, "oxygen", &patient.key)?,
        consciousness: consciousness(connection, &patient.key)?,
        cuff_on_other_limb: about.cuff_on_other_limb,
        limits: limits(connection, &patient.key, at)?,
    })
}

/// Year, month, and the day where it is known.
pub(super) fn birth(born: &str) -> Option<Birth> {
    let first = day_or_month(born)?;
    let unsigned = |number: i8| u32::try_from(number).ok();
    let day = if day(born).is_some() { Some(unsigned(first.day())?) } else { None };
    Birth::new(first.year().into(), unsigned(first.month())?, day)
}

/// Until somebody says when the child was born there is no end.
fn pregnant_until(pregnancy: &Pregnancy) -> WallTime {
    pregnancy.until().map_or(WallTime::from_unix_ms(i64::MAX), begin_of)
}

/// The first moment of a day in the townships.
fn begin_of(day: Date) -> WallTime {
    let begin = jiff::tz::offset(8).to_timestamp(day.to_datetime(jiff::civil::Time::midnight()));
    WallTime::from_unix_ms(begin.map_or(i64::MAX, jiff::Timestamp::as_millisecond))
}

/// What nurses entered about oxygen, the first first.
pub(crate) fn oxygen(connection: &Connection, key: &str) -> rusqlite::Result<Vec<Entry<bool>>> {
    connection
        .prepare_cached(&format!(
            "SELECT * FROM (SELECT id, oxygen, taken_ms FROM nurse_entry
               WHERE patient = ?1 AND oxygen IS NOT NULL
               ORDER BY taken_ms DESC, id DESC LIMIT {ENTRIES_MAX})
             ORDER BY taken_ms, id"
        ))?
        .query_map([key], |row| {
            Ok(Entry { value: row.get(1)?, at: WallTime::from_unix_ms(row.get(2)?) })
        })?
        .collect()
}

fn consciousness(
    connection: &Connection,
    key: &str,
) -> rusqlite::Result<Option<Entry<Consciousness>>> {
    let letter: Option<Entry<String>> = newest(connection, "consciousness", key)?;
    Ok(letter.and_then(|Entry { value, at }| {
        Some(Entry { value: Consciousness::from_letter(&value)?, at })
    }))
}

/// What a nurse entered last of something.
fn newest<T: FromSql>(
    connection: &Connection,
    column: &str,
    key: &str,
) -> rusqlite::Result<Option<Entry<T>>> {
    connection
        .prepare_cached(&format!(
            "SELECT {column}, taken_ms FROM nurse_entry WHERE patient = ?1 AND {column} IS NOT NULL
             ORDER BY taken_ms DESC, id DESC LIMIT 1"
        ))?
        .query_row([key], |row| {
            Ok(Entry { value: row.get(0)?, at: WallTime::from_unix_ms(row.get(1)?) })
        })
        .optional()
}

/// Limits that held at that moment or since; of too many those that ended first are left out.
fn limits(connection: &Connection, key: &str, at: WallTime) -> rusqlite::Result<Vec<Limit>> {
    connection
        .prepare_cached(&format!(
            "SELECT * FROM (
               SELECT *, min(until_ms, coalesce(ended_ms, until_ms)) AS ends_ms FROM patient_limit
               WHERE patient = ?1 AND ends_ms > ?2 ORDER BY ends_ms DESC, id DESC
               LIMIT {LIMITS_TOLD_MAX})
             ORDER BY id"
        ))?
        .query_map(params![key, at.unix_ms()], limit_of)?
        .collect()
}

/// A limit as it is stored, up to `ends_ms`.
pub(super) fn limit_of(row: &Row<'_>) -> rusqlite::Result<Limit> {
    Ok(Limit {
        rule: row.get("rule")?,
        limit: row.get("value")?,
        by: row.get("made_by")?,
        reason: row.get("reason")?,
        from: WallTime::from_unix_ms(row.get("made_ms")?),
        until: WallTime::from_unix_ms(row.get("ends_ms")?),
    })
}
