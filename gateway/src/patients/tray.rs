//! Results that wait for a patient, and moving a result to the right one.
//!
//! # Invariants
//! - a result gets a patient from the binding of its device when it was measured, or from a person;
//!   never by itself afterwards
//! - what was bound stays written; each move is a row of its own

use super::{Patient, Refused, find, find_own, name::Concerned, of_clinic, reason_of};
use crate::{
    audit::{self, Entry},
    clock::{self, rfc3339},
    code::Code,
    people::{Caller, Scope},
    query::{self, Clinics},
    reading::{self, GROUPS, Group},
};
use model::{
    id::{Channel, DeviceId, Lane, OutboxId},
    metric::Metric,
    reading::{Occurrence, Reading, ReadingGroup},
    time::{ClockQuality, Observed, WallTime},
};
use rusqlite::{Connection, OptionalExtension as _, params};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Results of the tray in one answer at most.
pub(crate) const WAITING_MAX: usize = 500;
/// What a meter says of a result after a meal.
const AFTER_MEAL: &str = "meal_post";
/// Candidates of one result: more are no help.
const CANDIDATES_MAX: usize = 20;

/// Where a result is, as the API names readings.
#[derive(Debug, Deserialize)]
pub(crate) struct PlaceOfReading {
    outbox: String,
    lane: String,
    seq: i64,
    index: i64,
}

/// To whom it is to be moved.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Reassign {
    /// `None`: it waits for its patient.
    patient: Option<String>,
    /// Whose it is now, as far as the person knows: of two who move it the second is told.
    from: Option<String>,
    reason: Option<String>,
}

/// A result that was moved.
#[derive(Debug)]
pub(crate) struct Move {
    /// Row of its group.
    pub(crate) group: i64,
    pub(crate) before: Option<String>,
    pub(crate) patient: Option<String>,
    pub(crate) reason: String,
}

/// Whether a group is a result that belongs to a patient: one with a value, and not of a control
/// solution.
pub(crate) fn is_result(group: &ReadingGroup) -> bool {
    let counts = |reading: &Reading| reading.value.is_ok() && reading.metric != Metric::GLU_CONTROL;
    group.occurrence == Occurrence::Spot && group.readings.iter().any(counts)
}

/// A result was stored: it is of whom the device was on when it was measured, a copy of whom the
/// first one is. Hands out whose it is.
pub(crate) fn keep(
    connection: &Connection,
    (group, first_copy): (i64, Option<i64>),
    (outbox_lane, seq, index): (i64, i64, u32),
    bound: Option<&str>,
) -> rusqlite::Result<Option<String>> {
    connection
        .prepare_cached(
            "INSERT INTO spot (reading_group, outbox_lane, seq, idx, site, bound, patient)
             SELECT ?1, ?2, ?3, ?4, (SELECT site FROM outbox_lane WHERE id = ?2), ?5, CASE WHEN EXISTS
                 (SELECT 1 FROM spot WHERE reading_group = ?6)
               THEN (SELECT patient FROM spot WHERE reading_group = ?6) ELSE ?5 END
             RETURNING patient",
        )?
        .query_row(params![group, outbox_lane, seq, index, bound, first_copy], |row| row.get(0))
}

/// Which results are asked for.
#[derive(Debug)]
pub(crate) struct TrayFilter {
    pub(crate) clinic: Option<String>,
    /// Older ones than this.
    pub(crate) before: Option<i64>,
    pub(crate) limit: usize,
    pub(crate) scope: Scope,
}

/// Results that wait for a patient, the newest first, each with whom it may be of.
pub(crate) fn tray(
    connection: &Connection,
    clinics: &Clinics,
    filter: &TrayFilter,
) -> rusqlite::Result<Value> {
    let mut ids = waiting(connection, clinics, filter)?;
    let is_more = ids.len() > filter.limit;
    ids.truncate(filter.limit);
    let next = ids.last().filter(|_| is_more).map(i64::to_string);
    let mut candidates = Candidates::default();
    let mut told = Vec::new();
    for id in ids {
        let group = group(connection, id)?;
        let clinic = query::clinic(clinics, &group.site);
        let offered = candidates.of(connection, &group, clinic.as_deref())?;
        let readings: Vec<Value> = group.told().into_iter().map(|(.., told)| told).collect();
        told.push(json!({"site": group.site, "clinic": clinic, "device": group.device,
            "measured_time": rfc3339(group.measured_ms), "readings": readings,
            "candidates": offered}));
    }
    Ok(json!({"waiting": told, "next_cursor": next}))
}

/// Results that wait, of the whole county; which index has their order is part of the question.
pub(super) const WAITING: &str = "SELECT reading_group FROM spot INDEXED BY spot_waiting
     CROSS JOIN reading_group ON reading_group.id = spot.reading_group
     WHERE patient IS NULL AND reading_group < ?1 AND duplicate_of IS NULL
     ORDER BY reading_group DESC LIMIT ?2";
/// Those of a site.
pub(super) const WAITING_AT: &str = "SELECT reading_group FROM spot INDEXED BY spot_tray
     CROSS JOIN reading_group ON reading_group.id = spot.reading_group
     WHERE patient IS NULL AND reading_group < ?1 AND duplicate_of IS NULL AND spot.site = ?3
     ORDER BY reading_group DESC LIMIT ?2";

/// The newest groups that are asked for, and one more where there are more.
fn waiting(
    connection: &Connection,
    clinics: &Clinics,
    filter: &TrayFilter,
) -> rusqlite::Result<Vec<i64>> {
    let before = filter.before.unwrap_or(i64::MAX);
    let count = i64::try_from(filter.limit).unwrap_or(i64::MAX).saturating_add(1);
    if filter.clinic.is_none() && filter.scope == Scope::County {
        let mut statement = connection.prepare_cached(WAITING)?;
        return statement.query_map([before, count], |row| row.get(0))?.collect();
    }
    let mut statement = connection.prepare_cached(WAITING_AT)?;
    let mut found = Vec::new();
    for (site, clinic) in clinics {
        let is_asked = filter.clinic.as_ref().is_none_or(|asked| asked == clinic);
        if is_asked && filter.scope.holds(site.as_str()) {
            let of_site = params![before, count, site.as_str()];
            for id in statement.query_map(of_site, |row| row.get::<_, i64>(0))? {
                found.push(id?);
            }
        }
    }
    found.sort_unstable_by_key(|id| std::cmp::Reverse(*id));
    Ok(found)
}

/// A patient, and why a result may be of them.
type Related = (Patient, Vec<&'static str>);

/// Whom results of a device of a site may be of; asked for once in an answer.
#[derive(Debug, Default)]
struct Candidates(BTreeMap<(String, String), Vec<Related>>);

impl Candidates {
    /// Patients of that clinic who are expected on that day, on whom the device is or was, or who
    /// have its last results. They are offered, and nothing is done with them.
    fn of(
        &mut self,
        connection: &Connection,
        group: &Group,
        clinic: Option<&str>,
    ) -> rusqlite::Result<Vec<Value>> {
        let Some(clinic) = clinic else { return Ok(Vec::new()) };
        let key = (group.site.clone(), group.device.clone());
        if !self.0.contains_key(&key) {
            let of_device = related(connection, &group.site, &group.device)?;
            let patients = of_clinic(connection, clinic)?.into_iter().map(|patient| {
                let why = of_device.get(&patient.key).cloned().unwrap_or_default();
                (patient, why)
            });
            self.0.insert(key.clone(), patients.collect());
        }
        let day = clock::local_date(WallTime::from_unix_ms(group.measured_ms)).to_string();
        let patients = self.0.get(&key).into_iter().flatten();
        let mut offered: Vec<(&Patient, Vec<&str>)> = patients
            .into_iter()
            .map(|(patient, why)| {
                let expected = patient.about.appointment.as_ref() == Some(&day);
                (
                    patient,
                    expected.then_some("appointment").into_iter().chain(why.clone()).collect(),
                )
            })
            .filter(|(_, why): &(_, Vec<&str>)| !why.is_empty())
            .collect();
        offered.sort_by_key(|(_, why)| std::cmp::Reverse(why.len()));
        let told = offered.into_iter().take(CANDIDATES_MAX).map(|(patient, why)| {
            json!({"patient": patient.key, "name": patient.masked_name(),
                "bed": patient.about.bed, "why": why})
        });
        Ok(told.collect())
    }
}

/// Patients who have to do with a device, and why.
fn related(
    connection: &Connection,
    site: &str,
    device: &str,
) -> rusqlite::Result<BTreeMap<String, Vec<&'static str>>> {
    let mut found: BTreeMap<String, Vec<&'static str>> = BTreeMap::new();
    let bound = connection
        .prepare_cached("SELECT DISTINCT patient FROM binding WHERE site = ?1 AND device = ?2")?
        .query_map([site, device], |row| row.get(0))?
        .collect::<Result<Vec<Option<String>>, _>>()?;
    for patient in bound.into_iter().flatten() {
        found.entry(patient).or_default().push("binding");
    }
    let last: Option<String> = connection
        .prepare_cached(
            "SELECT spot.patient FROM spot CROSS JOIN reading_group
               ON reading_group.id = spot.reading_group
             WHERE source = (SELECT id FROM source WHERE site = ?1 AND device = ?2)
             AND spot.patient IS NOT NULL ORDER BY reading_group.id DESC LIMIT 1",
        )?
        .query_row([site, device], |row| row.get(0))
        .optional()?;
    if let Some(patient) = last {
        found.entry(patient).or_default().push("last_reading");
    }
    Ok(found)
}

/// What a person says of when a result was measured.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AfterMeal {
    /// It was two hours after the meal; `false` takes that back.
    two_hours: bool,
}

/// A person confirms that a result was measured two hours after the meal, or that it was not; the
/// row of its group.
pub(crate) fn confirm_two_hours(
    connection: &Connection,
    place: &PlaceOfReading,
    AfterMeal { two_hours }: &AfterMeal,
    caller: &Caller,
    now: WallTime,
) -> Result<i64, Refused> {
    let spot = find_spot(connection, place, &caller.scope)?;
    let group = group(connection, spot.group)?;
    if group.context.get("meal").and_then(Value::as_str) != Some(AFTER_MEAL) {
        let text = "two_hours: this result was not measured after a meal, as its meter says";
        return Err(Refused::Wrong(text.to_owned()));
    }
    let (by, at) = two_hours.then(|| (caller.name.as_str(), now.unix_ms())).unzip();
    connection
        .prepare_cached(
            "UPDATE spot SET two_hours_by = ?2, two_hours_ms = ?3 WHERE reading_group = ?1",
        )?
        .execute(params![spot.group, by, at])?;
    let what = place_name(connection, spot.place)?;
    let detail = json!({"two_hours": two_hours});
    let entry = Entry { who: &caller.name, action: "after_meal", what: &what, detail };
    audit::append(connection, now, &entry)?;
    Ok(spot.group)
}

/// A person moves a result, with all that the device said as one thing.
pub(crate) fn reassign(
    connection: &Connection,
    place: &PlaceOfReading,
    asked: &Reassign,
    caller: &Caller,
    now: WallTime,
) -> Result<Move, Refused> {
    let spot = find_spot(connection, place, &caller.scope)?;
    let target = match asked.patient.as_deref() {
        Some(key) => Some(find_own(connection, &caller.scope, key)?),
        None => None,
    };
    if spot.patient != asked.from {
        let by = spot.moved_by.clone().unwrap_or_else(|| "the binding of its device".to_owned());
        let whose = spot
            .patient
            .as_deref()
            .map_or("waits for a patient".to_owned(), |patient| format!("is of {patient}"));
        let detail = format!(
            "this result {whose} by {by}, not as \"from\" says; fetch it again and look whether it \
             is still to be moved"
        );
        return Err(Refused::Taken { code: Code::ResultMoved, detail, by });
    }
    if spot.patient == asked.patient {
        let text = "patient: it is there already; name another, or null for the tray";
        return Err(Refused::Because(Code::ThereAlready, text.to_owned()));
    }
    let measured_ms = group(connection, spot.group)?.measured_ms;
    let left_ms = target.as_ref().and_then(|target| target.discharged_ms);
    if left_ms.is_some_and(|left_ms| left_ms <= measured_ms) {
        let text = "patient: was discharged before this was measured; say \"discharged\": false of \
                    the patient first";
        return Err(Refused::Because(Code::Discharged, text.to_owned()));
    }
    let before = match spot.patient.as_deref() {
        Some(key) => find(connection, key).ok(),
        None => None,
    };
    let concerned: Vec<&Patient> = target.iter().chain(&before).collect();
    let concerned = Concerned::Patients(&concerned);
    let reason = reason_of(connection, asked.reason.as_deref(), concerned)?;
    put(connection, &spot, asked.patient.as_deref(), &reason, &caller.name, now)?;
    Ok(Move { group: spot.group, before: spot.patient, patient: asked.patient.clone(), reason })
}

/// A result of a binding that ended before it was measured waits for its patient.
pub(super) fn put_back(
    connection: &Connection,
    group: i64,
    reason: &str,
    who: &str,
    now: WallTime,
) -> rusqlite::Result<Move> {
    let spot = connection
        .prepare_cached(&format!("{SPOTS} WHERE reading_group = ?1"))?
        .query_row([group], Spot::of_row)?;
    put(connection, &spot, None, reason, who, now)?;
    Ok(Move { group, before: spot.patient, patient: None, reason: reason.to_owned() })
}

/// A row of table `spot`.
#[derive(Debug)]
struct Spot {
    group: i64,
    /// Outbox and lane as a number, seq, index.
    place: (i64, i64, i64),
    patient: Option<String>,
    /// Who moved it last.
    moved_by: Option<String>,
}

const SPOTS: &str = "SELECT spot.*, (SELECT made_by FROM reassignment AS last
     WHERE last.outbox_lane = spot.outbox_lane AND last.seq = spot.seq AND last.idx = spot.idx
     ORDER BY id DESC LIMIT 1) AS moved_by FROM spot";

impl Spot {
    fn of_row(row: &rusqlite::Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            group: row.get("reading_group")?,
            place: (row.get("outbox_lane")?, row.get("seq")?, row.get("idx")?),
            patient: row.get("patient")?,
            moved_by: row.get("moved_by")?,
        })
    }
}

fn find_spot(
    connection: &Connection,
    place: &PlaceOfReading,
    scope: &Scope,
) -> Result<Spot, Refused> {
    let PlaceOfReading { outbox, lane, seq, index } = place;
    let known = OutboxId::from_hex(outbox).is_some() && Lane::from_name(lane).is_some();
    let missing = || {
        Refused::NotFound(
            "no result has this place; readings that repeat go with the binding of their device"
                .to_owned(),
        )
    };
    if !known {
        return Err(missing());
    }
    let spots: Vec<Spot> = connection
        .prepare_cached(&format!(
            "{SPOTS} CROSS JOIN outbox_lane ON outbox_lane.id = spot.outbox_lane
             WHERE outbox = ?1 AND lane = ?2 AND seq = ?3 AND idx <= ?4
             AND ?4 < idx + (SELECT json_array_length(said) FROM reading_group
               WHERE id = spot.reading_group)
             AND (?5 IS NULL OR spot.site IN (SELECT value FROM json_each(?5)))"
        ))?
        .query_map(params![outbox, lane, seq, index, scope.sites()], Spot::of_row)?
        .collect::<Result<_, _>>()?;
    let first: Option<i64> = match spots.as_slice() {
        [spot] => connection
            .prepare_cached("SELECT duplicate_of FROM reading_group WHERE id = ?1")?
            .query_row([spot.group], |row| row.get(0))?,
        _ => None,
    };
    let mut spots = spots.into_iter();
    match (spots.next(), spots.next(), first) {
        (Some(_), Some(_), _) => Err(Refused::Because(
            Code::TwoBoxes,
            "two boxes sent a result under this place; give each box an outbox of its own and \
             tell the engineer"
                .to_owned(),
        )),
        (Some(_), None, Some(_)) => Err(Refused::Wrong(
            "this is a copy; move the first one, which duplicate_of names".to_owned(),
        )),
        (Some(spot), None, None) => Ok(spot),
        (None, ..) => Err(missing()),
    }
}

/// The result and its copies are another's from now on.
fn put(
    connection: &Connection,
    spot: &Spot,
    patient: Option<&str>,
    reason: &str,
    who: &str,
    now: WallTime,
) -> rusqlite::Result<()> {
    let (outbox_lane, seq, index) = spot.place;
    connection
        .prepare_cached(
            "UPDATE spot SET patient = ?2 WHERE reading_group = ?1
             OR reading_group IN (SELECT id FROM reading_group WHERE duplicate_of = ?1)",
        )?
        .execute(params![spot.group, patient])?;
    connection
        .prepare_cached(
            "INSERT INTO reassignment
               (outbox_lane, seq, idx, before, patient, reason, made_by, made_ms)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        )?
        .execute(params![
            outbox_lane,
            seq,
            index,
            spot.patient,
            patient,
            reason,
            who,
            now.unix_ms()
        ])?;
    let what = place_name(connection, spot.place)?;
    let detail = json!({"from": spot.patient, "to": patient, "reason": reason});
    audit::append(connection, now, &Entry { who, action: "reassign", what: &what, detail })
}

/// Where a result is, as the chain of entries has it.
fn place_name(
    connection: &Connection,
    (outbox_lane, seq, index): (i64, i64, i64),
) -> rusqlite::Result<String> {
    connection
        .prepare_cached(
            "SELECT outbox || '/' || lane || '/' || ?2 || '/' || ?3 FROM outbox_lane WHERE id = ?1",
        )?
        .query_row(params![outbox_lane, seq, index], |row| row.get(0))
}

fn group(connection: &Connection, id: i64) -> rusqlite::Result<Group> {
    connection
        .prepare_cached(&format!("{GROUPS} WHERE reading_group.id = ?1"))?
        .query_row([id], Group::of_row)
}

/// A stored result as its device said it; `None` where a later version knows it.
pub(crate) fn as_said(group: &Group) -> Option<ReadingGroup> {
    let context = group.context.as_object()?.iter();
    let context =
        context.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())));
    let readings = reading::readings(&group.metrics, &group.said);
    (!readings.is_empty()).then_some(())?;
    Some(ReadingGroup {
        device: DeviceId::new(&group.device).ok()?,
        channel: Channel::new(&group.channel)?,
        group: group.compound.as_deref().and_then(Metric::from_name),
        occurrence: Occurrence::Spot,
        device_time: None,
        observed: Observed {
            at: WallTime::from_unix_ms(group.observed_ms),
            quality: ClockQuality::Unknown,
        },
        device_seq: None,
        context: context.collect(),
        readings,
    })
}

/// A result as it is now, who moved it, who confirmed when it was measured.
pub(crate) fn told(connection: &Connection, id: i64) -> rusqlite::Result<Value> {
    told_to(connection, id, |_| Value::Null)
}

/// The same with the targets that it misses, as somebody judges it.
pub(crate) fn told_to(
    connection: &Connection,
    id: i64,
    missed: impl FnOnce(&Group) -> Value,
) -> rusqlite::Result<Value> {
    let group = group(connection, id)?;
    let readings: Vec<Value> = group.told().into_iter().map(|(.., told)| told).collect();
    let moves: Vec<Value> = connection
        .prepare_cached(
            "SELECT reassignment.* FROM reassignment CROSS JOIN spot USING (outbox_lane, seq, idx)
             WHERE reading_group = ?1 ORDER BY reassignment.id",
        )?
        .query_map([id], |row| {
            let text = |name| row.get::<_, Option<String>>(name);
            Ok(json!({"from": text("before")?, "to": text("patient")?, "by": text("made_by")?,
                "at": rfc3339(row.get("made_ms")?), "reason": text("reason")?}))
        })?
        .collect::<Result<_, _>>()?;
    let two_hours = group.two_hours.as_ref();
    let two_hours = two_hours.map(|(by, at_ms)| json!({"by": by, "at": rfc3339(*at_ms)}));
    Ok(json!({"readings": readings, "moves": moves, "two_hours": two_hours,
        "missed": missed(&group)}))
}
