//! Which device is on whom: bindings, first come first served.
//!
//! # Invariants
//! - a device has one binding at any moment
//! - the version of a site's list grows with each change
//! - nobody's past changes unsaid: a begin or an end before readings that are stored is refused
//!   until the person says that these change hands

use super::{
    Patient, Refused, find, find_own, moment_of,
    name::{Concerned, check_unnamed},
    reason_of,
    tray::{self, Move},
};
use crate::{
    audit::{self, Entry},
    clock::rfc3339,
    code::Code,
    people::{Caller, Scope},
    query::Clinics,
};
use model::{
    id::{DeviceId, SiteId},
    time::WallTime,
};
use rusqlite::{Connection, OptionalExtension as _, Row, params};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Bindings in one answer: the newest of a county's month.
const BINDINGS_MAX: u32 = 5000;

/// A device on a patient, at a bed, or both.
#[derive(Clone, Debug)]
pub(crate) struct Binding {
    pub(crate) id: i64,
    site: String,
    pub(super) device: String,
    pub(crate) patient: Option<String>,
    pub(super) bed: Option<String>,
    pub(crate) from_ms: i64,
    pub(crate) until_ms: Option<i64>,
    version: i64,
    made_by: String,
    made_ms: i64,
    reason: String,
    ended_by: Option<String>,
    ended_ms: Option<i64>,
    pub(crate) ended_reason: Option<String>,
}

/// A binding that ended, and results that were measured afterwards.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) binding: Binding,
    /// They wait for their patient.
    pub(crate) to_tray: Vec<Move>,
}

/// What is to be bound.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewBinding {
    site: String,
    device: String,
    patient: Option<String>,
    bed: Option<String>,
    from: Option<String>,
    reason: Option<String>,
    /// Readings that are stored go to the patient.
    #[serde(default)]
    move_readings: bool,
}

impl NewBinding {
    /// Whether whose stored readings are changes with it.
    pub(crate) const fn moves_readings(&self) -> bool {
        self.move_readings
    }
}

/// How a binding is to end.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct BindingEnd {
    reason: Option<String>,
    until: Option<String>,
    /// Readings that are stored leave the patient.
    #[serde(default)]
    move_readings: bool,
}

/// Which bindings are asked for.
#[derive(Debug, Default)]
pub(crate) struct BindingFilter {
    pub(crate) site: Option<String>,
    pub(crate) device: Option<String>,
    pub(crate) patient: Option<String>,
    /// Those that have ended too.
    pub(crate) all: bool,
    pub(crate) scope: Scope,
}

impl Binding {
    pub(super) fn of_row(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            id: row.get("id")?,
            site: row.get("site")?,
            device: row.get("device")?,
            patient: row.get("patient")?,
            bed: row.get("bed")?,
            from_ms: row.get("from_ms")?,
            until_ms: row.get("until_ms")?,
            version: row.get("version")?,
            made_by: row.get("made_by")?,
            made_ms: row.get("made_ms")?,
            reason: row.get("reason")?,
            ended_by: row.get("ended_by")?,
            ended_ms: row.get("ended_ms")?,
            ended_reason: row.get("ended_reason")?,
        })
    }

    /// As the API tells it.
    pub(crate) fn told(&self) -> Value {
        json!({
            "id": self.id, "site": self.site, "device": self.device, "patient": self.patient,
            "bed": self.bed, "from": rfc3339(self.from_ms), "until": self.until_ms.map(rfc3339),
            "version": self.version, "made_by": self.made_by, "made_at": rfc3339(self.made_ms),
            "reason": self.reason, "ended_by": self.ended_by,
            "ended_at": self.ended_ms.map(rfc3339), "ended_reason": self.ended_reason,
        })
    }

    fn holds_at(&self, at: WallTime) -> bool {
        self.from_ms <= at.unix_ms() && self.until_ms.is_none_or(|until| at.unix_ms() < until)
    }
}

/// Bindings of devices that one transaction asks for; nobody else changes them meanwhile.
#[derive(Debug, Default)]
pub(crate) struct Bound(BTreeMap<(SiteId, DeviceId), Vec<Binding>>);

impl Bound {
    /// The patient on whom a device was at a moment.
    pub(crate) fn patient_at(
        &mut self,
        connection: &Connection,
        site: &SiteId,
        device: &DeviceId,
        at: WallTime,
    ) -> rusqlite::Result<Option<&str>> {
        let key = (site.clone(), device.clone());
        if !self.0.contains_key(&key) {
            let found = of_device(connection, site.as_str(), device.as_str())?;
            self.0.insert(key.clone(), found);
        }
        let bindings = self.0.get(&key).into_iter().flatten();
        Ok(bindings.into_iter().find(|one| one.holds_at(at)).and_then(|one| one.patient.as_deref()))
    }
}

/// Bindings, the newest first.
pub(crate) fn list(connection: &Connection, filter: &BindingFilter) -> rusqlite::Result<Value> {
    let bindings: Vec<Value> = connection
        .prepare_cached(&format!(
            "SELECT * FROM binding WHERE (?1 IS NULL OR site = ?1) AND (?2 IS NULL OR device = ?2)
             AND (?3 IS NULL OR patient = ?3) AND (?4 OR until_ms IS NULL)
             AND (?5 IS NULL OR site IN (SELECT value FROM json_each(?5)))
             ORDER BY id DESC LIMIT {BINDINGS_MAX}"
        ))?
        .query_map(
            params![filter.site, filter.device, filter.patient, filter.all, filter.scope.sites()],
            |row| Ok(Binding::of_row(row)?.told()),
        )?
        .collect::<Result<_, _>>()?;
    Ok(json!({"bindings": bindings}))
}

/// What is on a patient now.
pub(super) fn of_patient(connection: &Connection, key: &str) -> rusqlite::Result<Vec<Value>> {
    connection
        .prepare_cached("SELECT * FROM binding WHERE patient = ?1 AND until_ms IS NULL")?
        .query_map([key], |row| Ok(Binding::of_row(row)?.told()))?
        .collect()
}

pub(super) fn open_of_patient(connection: &Connection, key: &str) -> rusqlite::Result<Vec<i64>> {
    connection
        .prepare_cached("SELECT id FROM binding WHERE patient = ?1 AND until_ms IS NULL")?
        .query_map([key], |row| row.get(0))?
        .collect()
}

/// The patient lies elsewhere: the lists that say where are others now.
pub(super) fn bed_changed(connection: &Connection, key: &str) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "UPDATE binding_list SET version = version + 1
             WHERE site IN (SELECT site FROM binding WHERE patient = ?1 AND until_ms IS NULL)",
        )?
        .execute([key])
        .map(drop)
}

/// All bindings of a device, the latest first.
fn of_device(connection: &Connection, site: &str, device: &str) -> rusqlite::Result<Vec<Binding>> {
    connection
        .prepare_cached(
            "SELECT * FROM binding WHERE site = ?1 AND device = ?2 ORDER BY from_ms DESC, id DESC",
        )?
        .query_map([site, device], Binding::of_row)?
        .collect()
}

/// On whom a device was for a time.
#[derive(Debug)]
pub(crate) struct Owned {
    /// `None`: on nobody.
    pub(crate) patient: Option<String>,
    pub(crate) from_ms: i64,
    /// This moment is not of it.
    pub(crate) until_ms: i64,
}

/// On whom a device was from a moment to another, both of it, in order.
pub(crate) fn owned(
    connection: &Connection,
    site: &SiteId,
    device: &DeviceId,
    from_ms: i64,
    until_ms: i64,
) -> rusqlite::Result<Vec<Owned>> {
    let (mut from_ms, end_ms) = (from_ms, until_ms.saturating_add(1));
    let mut owned = Vec::new();
    for Binding { patient, from_ms: begin_ms, until_ms, .. } in
        of_device(connection, site.as_str(), device.as_str())?.into_iter().rev()
    {
        let begin_ms = begin_ms.max(from_ms);
        let until_ms = until_ms.unwrap_or(i64::MAX).min(end_ms);
        if patient.is_none() || until_ms <= begin_ms {
            continue;
        }
        if from_ms < begin_ms {
            owned.push(Owned { patient: None, from_ms, until_ms: begin_ms });
        }
        owned.push(Owned { patient, from_ms: begin_ms, until_ms });
        from_ms = until_ms;
    }
    if from_ms < end_ms {
        owned.push(Owned { patient: None, from_ms, until_ms: end_ms });
    }
    Ok(owned)
}

/// Why a device was taken off at that moment; `None` where it was on nobody before.
pub(crate) fn ended_why(
    connection: &Connection,
    site: &SiteId,
    device: &DeviceId,
    at_ms: i64,
) -> rusqlite::Result<Option<String>> {
    let query = "SELECT coalesce(ended_reason, '') FROM binding
                 WHERE site = ?1 AND device = ?2 AND until_ms = ?3 AND patient IS NOT NULL";
    connection
        .prepare_cached(query)?
        .query_row(params![site.as_str(), device.as_str(), at_ms], |row| row.get(0))
        .optional()
}

fn find_binding(connection: &Connection, id: i64) -> rusqlite::Result<Option<Binding>> {
    connection
        .prepare_cached("SELECT * FROM binding WHERE id = ?1")?
        .query_row([id], Binding::of_row)
        .optional()
}

/// Binds a device; whoever is second learns who was first.
pub(crate) fn bind(
    connection: &Connection,
    clinics: &Clinics,
    asked: &NewBinding,
    caller: &Caller,
    now: WallTime,
) -> Result<Binding, Refused> {
    let who = caller.name.as_str();
    let wrong = |text: &str| Err(Refused::Wrong(text.to_owned()));
    let site = SiteId::new(&asked.site).map_err(|error| Refused::Wrong(error.to_string()))?;
    let device = DeviceId::new(&asked.device).map_err(|error| Refused::Wrong(error.to_string()))?;
    let is_box = device.as_str() == site.as_str();
    if is_box || !caller.reaches(site.as_str()) || !is_known(connection, &site, &device)? {
        let text = format!(
            "no device {device} was heard of at {site}; look into /api/v1/devices for its name"
        );
        return Err(Refused::NotFound(text));
    }
    let patient = match asked.patient.as_deref() {
        Some(key) => Some(find_own(connection, &caller.scope, key)?),
        None => None,
    };
    if let Some(patient) = &patient {
        check_patient(clinics, &site, patient)?;
    }
    let own_bed = patient.as_ref().and_then(|patient| patient.about.bed.clone());
    let bed = match asked.bed.as_deref() {
        None => own_bed,
        Some(bed) => match super::bed_of(bed) {
            Some(bed) => Some(bed),
            None => {
                return wrong("bed: write its name in 1 to 32 letters, such as 3, or leave it out");
            }
        },
    };
    if patient.is_none() && bed.is_none() {
        return wrong("patient: say on whom the device is, or at which bed it stands");
    }
    let about: Vec<&Patient> = patient.iter().collect();
    let concerned = concerned(&about, clinics, &site);
    check_unnamed(connection, concerned, "bed", bed.as_deref().unwrap_or_default())?;
    let reason = reason_of(connection, asked.reason.as_deref(), concerned)?;
    let from = moment_of("from", asked.from.as_deref(), now)?;
    let others = of_device(connection, site.as_str(), device.as_str())?;
    let overlaps = |other: &&Binding| other.until_ms.is_none_or(|until| until > from.unix_ms());
    if let Some(other) = others.iter().find(overlaps) {
        return Err(other.is_in_the_way());
    }
    let moved = Moved::since(connection, &site, &device, from, None)?;
    if moved.streams > 0 && !asked.move_readings {
        return Err(moved.refused("from", "go to the patient"));
    }
    let version = next_version(connection, site.as_str())?;
    let key = patient.map(|patient| patient.key);
    let id = connection
        .prepare_cached(
            "INSERT INTO binding
               (site, device, patient, bed, from_ms, version, made_by, made_ms, reason)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        )?
        .insert(params![
            site.as_str(),
            device.as_str(),
            key,
            bed,
            from.unix_ms(),
            version,
            who,
            now.unix_ms(),
            reason
        ])?;
    let what = format!("{site}/{device}");
    let detail = json!({"binding": id, "patient": key, "bed": bed, "from": rfc3339(from.unix_ms()),
        "version": version, "reason": reason, "moved": moved.streams});
    audit::append(connection, now, &Entry { who, action: "bind", what: &what, detail })?;
    let made = find_binding(connection, id)?;
    made.ok_or(Refused::Database(rusqlite::Error::QueryReturnedNoRows))
}

/// Ends a binding at the request of a person.
pub(crate) fn unbind(
    connection: &Connection,
    clinics: &Clinics,
    id: i64,
    asked: &BindingEnd,
    caller: &Caller,
    now: WallTime,
) -> Result<Ended, Refused> {
    let known = find_binding(connection, id)?.filter(|known| caller.reaches(&known.site));
    let known = known.ok_or_else(|| {
        Refused::NotFound(format!("there is no binding {id}; fetch the list again"))
    })?;
    if let (Some(by), Some(at)) = (&known.ended_by, known.ended_ms) {
        let detail = format!("{by} ended this binding at {}", rfc3339(at));
        return Err(Refused::Taken { code: Code::BindingEnded, detail, by: by.clone() });
    }
    let patient = match known.patient.as_deref() {
        Some(key) => Some(find(connection, key)?),
        None => None,
    };
    let about: Vec<&Patient> = patient.iter().collect();
    let concerned = match known.place() {
        Some((site, _)) => concerned(&about, clinics, &site),
        None => Concerned::Patients(&about),
    };
    let reason = reason_of(connection, asked.reason.as_deref(), concerned)?;
    let until = moment_of("until", asked.until.as_deref(), now)?;
    if until.unix_ms() < known.from_ms {
        let text = format!("until: the binding began at {}; end it later", rfc3339(known.from_ms));
        return Err(Refused::Wrong(text));
    }
    if let Some((site, device)) = known.place() {
        let moved = Moved::since(connection, &site, &device, until, known.patient.as_deref())?;
        let some = moved.streams > 0 || !moved.spots.is_empty();
        if some && until < now && !asked.move_readings {
            return Err(moved.refused("until", "leave the patient, results among them to the tray"));
        }
    }
    end(connection, id, until, &reason, &caller.name, now)
}

/// Ends a binding. What was measured afterwards and is a result waits for its patient.
pub(super) fn end(
    connection: &Connection,
    id: i64,
    until: WallTime,
    reason: &str,
    who: &str,
    now: WallTime,
) -> Result<Ended, Refused> {
    let missing = || Refused::Database(rusqlite::Error::QueryReturnedNoRows);
    let known = find_binding(connection, id)?.ok_or_else(missing)?;
    let version = next_version(connection, &known.site)?;
    connection
        .prepare_cached(
            "UPDATE binding SET until_ms = ?2, version = ?3, ended_by = ?4, ended_ms = ?5,
               ended_reason = ?6 WHERE id = ?1",
        )?
        .execute(params![id, until.unix_ms(), version, who, now.unix_ms(), reason])?;
    let mut moved = Moved::default();
    let mut to_tray = Vec::new();
    if let Some((site, device)) = known.place() {
        moved = Moved::since(connection, &site, &device, until, known.patient.as_deref())?;
        for group in &moved.spots {
            to_tray.push(tray::put_back(connection, *group, reason, who, now)?);
        }
    }
    let what = format!("{}/{}", known.site, known.device);
    let detail = json!({"binding": id, "patient": known.patient, "until": rfc3339(until.unix_ms()),
        "version": version, "reason": reason, "moved": moved.streams,
        "to_tray": moved.spots.len()});
    audit::append(connection, now, &Entry { who, action: "unbind", what: &what, detail })?;
    let binding = find_binding(connection, id)?.ok_or_else(missing)?;
    Ok(Ended { binding, to_tray })
}

impl Binding {
    /// Its site and device.
    pub(crate) fn place(&self) -> Option<(SiteId, DeviceId)> {
        Some((SiteId::stored(&self.site).ok()?, DeviceId::new(&self.device).ok()?))
    }

    /// What whoever is second is told.
    fn is_in_the_way(&self) -> Refused {
        let on = match (&self.patient, &self.bed) {
            (Some(patient), _) => format!("to patient {patient}"),
            (None, bed) => format!("to bed {}", bed.as_deref().unwrap_or_default()),
        };
        let from = rfc3339(self.from_ms);
        let (by, what_to_do) = match (&self.ended_by, self.until_ms) {
            (Some(by), Some(until)) => {
                (by, format!("{by} ended that at {}; begin later", rfc3339(until)))
            }
            _ => (&self.made_by, "end that binding first".to_owned()),
        };
        let made_by = &self.made_by;
        let detail = format!("{made_by} bound this device {on} from {from} on; {what_to_do}");
        Refused::Taken { code: Code::Bound, detail, by: by.clone() }
    }
}

/// Stored readings of a device that change hands.
#[derive(Debug, Default)]
struct Moved {
    /// Groups of readings that repeat.
    streams: i64,
    /// Results of that patient.
    spots: Vec<i64>,
}

impl Moved {
    fn since(
        connection: &Connection,
        site: &SiteId,
        device: &DeviceId,
        at: WallTime,
        patient: Option<&str>,
    ) -> rusqlite::Result<Self> {
        // Readings that repeat were measured when they were heard; a result not later than that.
        let streams = connection
            .prepare_cached(
                "SELECT count(*) FROM reading_group
                 WHERE source = (SELECT id FROM source WHERE site = ?1 AND device = ?2)
                 AND observed_ms >= ?3 AND measured_ms >= ?3
                 AND NOT EXISTS (SELECT 1 FROM spot WHERE spot.reading_group = reading_group.id)",
            )?
            .query_row(params![site.as_str(), device.as_str(), at.unix_ms()], |row| row.get(0))?;
        let spots = connection
            .prepare_cached(
                "SELECT reading_group.id FROM reading_group
                 CROSS JOIN spot ON spot.reading_group = reading_group.id
                 WHERE source = (SELECT id FROM source WHERE site = ?1 AND device = ?2)
                 AND observed_ms >= ?3 AND measured_ms >= ?3 AND spot.patient = ?4
                 AND duplicate_of IS NULL ORDER BY reading_group.id",
            )?
            .query_map(params![site.as_str(), device.as_str(), at.unix_ms(), patient], |row| {
                row.get(0)
            })?
            .collect::<Result<_, _>>()?;
        Ok(Self { streams, spots })
    }

    fn refused(&self, name: &str, go: &str) -> Refused {
        let count = self.streams + i64::try_from(self.spots.len()).unwrap_or(i64::MAX);
        Refused::Wrong(format!(
            "{name}: {count} reading groups measured since then are stored and would {go}; send \
             \"move_readings\": true if they shall, or leave {name} out for now"
        ))
    }
}

/// Whom texts about a binding are about.
fn concerned<'a>(
    patients: &'a [&'a Patient],
    clinics: &'a Clinics,
    site: &SiteId,
) -> Concerned<'a> {
    match patients {
        [] => Concerned::Clinic(clinics.get(site).map(String::as_str)),
        patients => Concerned::Patients(patients),
    }
}

fn check_patient(clinics: &Clinics, site: &SiteId, patient: &Patient) -> Result<(), Refused> {
    let (about, here) = (&patient.about, clinics.get(site));
    if about.discharged {
        let text = "patient: was discharged; say \"discharged\": false of the patient first";
        return Err(Refused::Because(Code::Discharged, text.to_owned()));
    }
    if here != Some(&about.clinic) {
        let text = format!(
            "patient: is of {}, the device stands in {}; change the patient's clinic first",
            about.clinic,
            here.map_or("no clinic of gateway.toml", String::as_str)
        );
        return Err(Refused::Because(Code::OtherClinic, text));
    }
    Ok(())
}

fn is_known(connection: &Connection, site: &SiteId, device: &DeviceId) -> rusqlite::Result<bool> {
    connection
        .prepare_cached(
            "SELECT 1 FROM device WHERE site = ?1 AND device = ?2
             UNION SELECT 1 FROM source WHERE site = ?1 AND device = ?2",
        )?
        .exists([site.as_str(), device.as_str()])
}

fn next_version(connection: &Connection, site: &str) -> rusqlite::Result<i64> {
    connection
        .prepare_cached(
            "INSERT INTO binding_list VALUES (?1, 1)
             ON CONFLICT DO UPDATE SET version = version + 1 RETURNING version",
        )?
        .query_row([site], |row| row.get(0))
}
