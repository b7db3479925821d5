//! Patients: what rules and boards need to know of a person, and what stays apart.
//!
//! Not here: HTTP and who may ask ([`crate::api`]), when an alert is raised (`rules`).
//!
//! - [`about`]: what is known of a person
//! - [`name`]: who it is, and keeping that out of texts
//! - [`binding`]: which device is on whom
//! - [`limit`], [`entry`]: limits of one patient; what nurses enter
//! - [`profile`], [`ruled`]: a patient as the rules see one; which rules those are
//! - [`tray`]: results that wait for a patient, and moving one
//! - [`followup`]: who is to be referred
//! - [`observed`]: what is known of a patient now, and the points for it
//!
//! # Invariants
//! - a name is in table `patient_name` and in the answer to whoever unmasks it, nowhere else
//! - the patient of a result is changed by a person only
//! - every change is an entry of the audit chain, in its transaction

pub(crate) mod about;
pub(crate) mod binding;
pub(crate) mod entry;
pub(crate) mod followup;
pub(crate) mod limit;
pub(crate) mod name;
pub(crate) mod observed;
pub(crate) mod profile;
mod ruled;
pub(crate) mod tray;
pub(crate) mod ward;

use crate::{
    audit::{self, Entry},
    clock::{self, rfc3339},
    code::Code,
    people::{Caller, Scope, hex},
    query::Clinics,
};
use about::{About, Pregnancy, merged};
use model::time::WallTime;
use name::{Concerned, Name, check_unnamed, name_of, set_name};
use rules::{
    population::{LimitError, Profile},
    rule::RuleSet,
};
use rusqlite::{Connection, OptionalExtension as _, Row, params};
use serde_json::{Map, Value, json};
use thiserror::Error;

/// Longest reason, name of a doctor.
const TEXT_LEN_MAX: usize = 200;
/// Longest name of a bed: as in the lists that boxes get.
const BED_LEN_MAX: usize = 32;
/// Digits in a row: a telephone number has 11, an identity number 15 or more.
const DIGITS_MAX: usize = 8;
/// Patients in one answer: a county has some thousands in its programmes.
const PATIENTS_MAX: u32 = 5000;
/// A bed keeps its place on boards for so long after its last patient left.
const BED_KNOWN_MS: i64 = 30 * 24 * 3_600_000;
/// A limit and an order are looked at again each year.
const HOLDS_MAX_MS: i64 = 366 * 24 * 3_600_000;
/// How far a clock of whoever asks may be ahead.
const AHEAD_MS: i64 = 2000;
/// How far back somebody may say that something was.
const BACK_MS: i64 = 24 * 3_600_000;

/// Why something was not done; the database is as it was.
#[derive(Debug, Error)]
pub(crate) enum Refused {
    #[error("{0}")]
    NotFound(String),
    /// What was asked for cannot be meant: what to write instead.
    #[error("{0}")]
    Wrong(String),
    /// The same, for a reason that has a word.
    #[error("{1}")]
    Because(Code, String),
    /// The limits of a patient would not be allowed together.
    #[error("{0}")]
    Limit(#[from] LimitError),
    /// A patient's name stands where it must not.
    #[error("{0}")]
    Named(String),
    /// Somebody or something was first.
    #[error("{detail}")]
    Taken { code: Code, detail: String, by: String },
    #[error("the database failed")]
    Database(#[from] rusqlite::Error),
}

impl Refused {
    fn nobody(key: &str) -> Self {
        let text = format!("no patient has the key {key}; fetch the list again");
        Self::Because(Code::NoPatient, text)
    }
}

/// A patient as stored.
#[derive(Clone, Debug)]
pub(crate) struct Patient {
    pub(crate) key: String,
    pub(crate) about: About,
    name: Option<Name>,
    discharged_ms: Option<i64>,
    version: i64,
    changed_by: String,
    changed_ms: i64,
}

/// Who is asked for.
#[derive(Debug, Default)]
pub(crate) struct PatientFilter {
    pub(crate) clinic: Option<String>,
    /// Those who were discharged too.
    pub(crate) all: bool,
    /// Only those with whom somebody has to do today.
    pub(crate) here: bool,
    pub(crate) scope: Scope,
}

impl Patient {
    fn of_row(row: &Row<'_>) -> rusqlite::Result<Self> {
        let about: String = row.get("about")?;
        // What was written here is read here; a later version has other fields.
        let mut about: About =
            serde_json::from_str(&about).map_err(|_| rusqlite::Error::InvalidQuery)?;
        let changed_ms: i64 = row.get("changed_ms")?;
        // It was ordered with the last change or before; the next one writes this end down.
        about.end_order(changed_ms.saturating_add(HOLDS_MAX_MS));
        Ok(Self {
            key: row.get("patient")?,
            about,
            name: row.get::<_, Option<String>>("name")?.map(Name::new),
            discharged_ms: row.get("discharged_ms")?,
            version: row.get("version")?,
            changed_by: row.get("changed_by")?,
            changed_ms,
        })
    }

    /// As the API tells it: the name masked.
    pub(crate) fn told(&self, now: WallTime) -> Value {
        let mut told = json!(self.about);
        if let Some(fields) = told.as_object_mut() {
            fields.remove("discharged");
            let until = self.about.pregnancy.as_ref().and_then(Pregnancy::until);
            let more = [
                ("patient", json!(self.key)),
                ("name", json!(self.masked_name())),
                ("age_months", json!(self.about.age_months(now))),
                ("groups", json!(self.about.groups(now))),
                ("pregnant_until", json!(until.map(|day| day.to_string()))),
                ("discharged_at", json!(self.discharged_ms.map(rfc3339))),
                ("version", json!(self.version)),
                ("changed_by", json!(self.changed_by)),
                ("changed_at", json!(rfc3339(self.changed_ms))),
            ];
            fields.extend(more.map(|(key, value)| (key.to_owned(), value)));
        }
        told
    }

    /// As everybody sees it.
    fn masked_name(&self) -> Option<String> {
        self.name.as_ref().map(Name::masked)
    }

    /// Whether a text names this patient.
    fn is_named_in(&self, text: &str) -> bool {
        self.name.as_ref().is_some_and(|name| name.is_in(text))
    }
}

const PATIENTS: &str = "SELECT patient.*, name FROM patient LEFT JOIN patient_name USING (patient)";

/// Who is in a bed, on a device, expected on the day `?5`, has one of the newest results, or an
/// alert that is open: a board shows these, of thousands in the programmes.
const HERE: &str = "(about ->> 'bed' IS NOT NULL OR about ->> 'appointment' = ?5
     OR patient IN (SELECT patient FROM binding WHERE until_ms IS NULL
       UNION SELECT patient FROM
         (SELECT patient FROM spot ORDER BY reading_group DESC LIMIT 1000)
       UNION SELECT body ->> 'patient' FROM alert WHERE state <> 'closed'))";

/// The patient of that key, if it is one of the caller's; another's is not there for the caller.
pub(crate) fn find_own(
    connection: &Connection,
    scope: &Scope,
    key: &str,
) -> Result<Patient, Refused> {
    let found = find(connection, key)?;
    match scope.names() {
        Some(names) if !names.contains(&found.about.clinic) => Err(Refused::nobody(key)),
        _ => Ok(found),
    }
}

/// The patient of that key, whoever asks.
fn find(connection: &Connection, key: &str) -> Result<Patient, Refused> {
    known(connection, key)?.ok_or_else(|| Refused::nobody(key))
}

/// The patient of that key, if there is one.
pub(crate) fn known(connection: &Connection, key: &str) -> rusqlite::Result<Option<Patient>> {
    connection
        .prepare_cached(&format!("{PATIENTS} WHERE patient = ?1"))?
        .query_row([key], Patient::of_row)
        .optional()
}

/// Patients by clinic and bed, names masked; of those who have a bed or a device which rules they
/// have, and all beds that are known.
pub(crate) fn list(
    connection: &Connection,
    rules: &RuleSet,
    filter: &PatientFilter,
    now: WallTime,
) -> rusqlite::Result<Value> {
    let found: Vec<Patient> = connection
        .prepare_cached(&format!(
            "{PATIENTS} WHERE (?1 IS NULL OR clinic = ?1) AND (?2 OR discharged_ms IS NULL)
             AND (?3 IS NULL OR clinic IN (SELECT value FROM json_each(?3)))
             AND (NOT ?4 OR {HERE})
             ORDER BY clinic, about ->> 'bed', patient LIMIT {PATIENTS_MAX}"
        ))?
        .query_map(
            params![
                filter.clinic,
                filter.all,
                filter.scope.stored(),
                filter.here,
                clock::local_date(now).to_string()
            ],
            Patient::of_row,
        )?
        .collect::<Result<_, _>>()?;
    let mut patients = Vec::new();
    for patient in found {
        let mut told = patient.told(now);
        let is_here = patient.about.bed.is_some()
            || !binding::open_of_patient(connection, &patient.key)?.is_empty();
        if let Some(fields) = told.as_object_mut().filter(|_| is_here) {
            let profile = profile::profile(connection, &patient, now)?;
            fields.insert("ruled".to_owned(), ruled::ruled(rules, &profile, now));
        }
        if let Some(fields) = told.as_object_mut().filter(|_| filter.here) {
            let last = last_result(connection, &patient.key)?.map(rfc3339);
            fields.insert("last_result_at".to_owned(), json!(last));
        }
        patients.push(told);
    }
    Ok(json!({"patients": patients, "beds": beds(connection, filter, now)?,
        "ruled_without_patient": ruled::ruled(rules, &Profile::default(), now)}))
}

/// When the patient was measured last, of the results that came last: one that came late is no news.
fn last_result(connection: &Connection, key: &str) -> rusqlite::Result<Option<i64>> {
    connection
        .prepare_cached(
            "SELECT max(measured_ms) FROM (SELECT measured_ms FROM spot
             JOIN reading_group ON id = reading_group WHERE patient = ?1
             ORDER BY reading_group DESC LIMIT 10)",
        )?
        .query_row([key], |row| row.get(0))
}

/// Beds of patients who are there or were of late, and where devices stand.
fn beds(
    connection: &Connection,
    filter: &PatientFilter,
    now: WallTime,
) -> rusqlite::Result<Vec<Value>> {
    connection
        .prepare_cached(
            "SELECT DISTINCT clinic, about ->> 'bed' AS bed FROM patient WHERE bed IS NOT NULL
             AND (discharged_ms IS NULL OR discharged_ms > ?1) AND (?2 IS NULL OR clinic = ?2)
             AND (?3 IS NULL OR clinic IN (SELECT value FROM json_each(?3))) ORDER BY clinic, bed",
        )?
        .query_map(
            params![now.unix_ms() - BED_KNOWN_MS, filter.clinic, filter.scope.stored()],
            |row| Ok(json!({"clinic": row.get::<_, String>(0)?, "bed": row.get::<_, String>(1)?})),
        )?
        .collect()
}

/// The patients of a clinic who are there.
fn of_clinic(connection: &Connection, clinic: &str) -> rusqlite::Result<Vec<Patient>> {
    connection
        .prepare_cached(&format!(
            "{PATIENTS} WHERE clinic = ?1 AND discharged_ms IS NULL ORDER BY patient
             LIMIT {PATIENTS_MAX}"
        ))?
        .query_map([clinic], Patient::of_row)?
        .collect()
}

/// One patient with what is on it, its limits, the newest entries and the score; the name masked.
pub(crate) fn one(
    connection: &Connection,
    rules: &RuleSet,
    scope: &Scope,
    key: &str,
    now: WallTime,
) -> Result<Value, Refused> {
    let patient = find_own(connection, scope, key)?;
    let mut told = patient.told(now);
    let profile = profile::profile(connection, &patient, now)?;
    let more = [
        ("ruled", ruled::ruled(rules, &profile, now)),
        ("limits_in_force", ruled::limits(rules, &profile, now)),
        ("bindings", json!(binding::of_patient(connection, key)?)),
        ("limits", json!(limit::limits(connection, rules, key, &profile, now)?)),
        ("entries", json!(entry::entries(connection, key)?)),
        ("news2", observed::news2(connection, rules, key, &profile, now)?),
    ];
    if let Some(fields) = told.as_object_mut() {
        fields.extend(more.map(|(key, value)| (key.to_owned(), value)));
    }
    Ok(told)
}

/// The patient with the whole name; that somebody saw it is told.
pub(crate) fn unmasked(
    connection: &Connection,
    key: &str,
    caller: &Caller,
    now: WallTime,
) -> Result<Value, Refused> {
    let patient = find_own(connection, &caller.scope, key)?;
    let entry = Entry { who: &caller.name, action: "unmask", what: key, detail: json!({}) };
    audit::append(connection, now, &entry)?;
    let mut told = patient.told(now);
    if let Some(fields) = told.as_object_mut() {
        fields.insert("name".to_owned(), json!(patient.name.map(Name::whole)));
    }
    Ok(told)
}

/// What is asked for in the body of a change: fields of [`About`], and beside them the name, the
/// version that was seen, and why.
pub(crate) type Body = Map<String, Value>;

/// Adds a patient under a new key.
pub(crate) fn add(
    connection: &Connection,
    clinics: &Clinics,
    mut body: Body,
    caller: &Caller,
    now: WallTime,
) -> Result<Value, Refused> {
    let (who, clinics) = (caller.name.as_str(), &own(clinics, &caller.scope));
    let name = name_of(&mut body)?.flatten();
    let about = merged(None, body, clinics, now)?;
    about.check_unnamed(name.as_ref())?;
    about.check_order(connection, None)?;
    if about.discharged {
        return Err(Refused::Wrong("discharged: a new patient is not; leave it out".to_owned()));
    }
    let key = new_key()?;
    connection.execute(
        "INSERT INTO patient VALUES (?1, ?2, ?3, NULL, 1, ?4, ?5)",
        params![key, about.clinic, json!(about).to_string(), who, now.unix_ms()],
    )?;
    if let Some(name) = name {
        set_name(connection, &key, Some(name))?;
    }
    let detail = json!({"clinic": about.clinic, "bed": about.bed});
    audit::append(connection, now, &Entry { who, action: "add_patient", what: &key, detail })?;
    Ok(find(connection, &key)?.told(now))
}

/// Changes what the body names; what was on a patient who is discharged is taken off, and which
/// limits are looked at no more is told.
pub(crate) fn change(
    connection: &Connection,
    rules: &RuleSet,
    clinics: &Clinics,
    key: &str,
    mut body: Body,
    caller: &Caller,
    now: WallTime,
) -> Result<Changed, Refused> {
    let (who, clinics) = (caller.name.as_str(), &own(clinics, &caller.scope));
    let before = find_own(connection, &caller.scope, key)?;
    let seen = body.remove("version").and_then(|version| version.as_i64());
    let Some(seen) = seen else {
        let text = "version: send that of the patient as it was fetched";
        return Err(Refused::Wrong(text.to_owned()));
    };
    if seen != before.version {
        let detail = format!(
            "{} changed this patient at {}; fetch it again and look whether the change is still \
             right",
            before.changed_by,
            rfc3339(before.changed_ms)
        );
        let code = Code::PatientChanged;
        return Err(Refused::Taken { code, detail, by: before.changed_by });
    }
    let reason = body.remove("reason");
    let name = name_of(&mut body)?;
    let fields: Vec<String> = body.keys().cloned().collect();
    let about = merged(Some(&before.about), body, clinics, now)?;
    about.check_unnamed(name.as_ref().map_or(before.name.as_ref(), Option::as_ref))?;
    about.check_order(connection, Some(&before.about))?;
    let open = binding::open_of_patient(connection, key)?;
    if about.clinic != before.about.clinic && !open.is_empty() {
        let text = "clinic: devices are bound to this patient; end those bindings first";
        return Err(Refused::Wrong(text.to_owned()));
    }
    let leaves = about.discharged && !before.about.discharged;
    let reason = match leaves {
        true => {
            let reason = reason.as_ref().and_then(Value::as_str);
            Some(reason_of(connection, reason, Concerned::Patients(&[&before]))?)
        }
        false => None,
    };
    let discharged_ms =
        about.discharged.then(|| before.discharged_ms.unwrap_or_else(|| now.unix_ms()));
    connection.execute(
        "UPDATE patient SET clinic = ?2, about = ?3, discharged_ms = ?4, version = version + 1,
           changed_by = ?5, changed_ms = ?6 WHERE patient = ?1",
        params![key, about.clinic, json!(about).to_string(), discharged_ms, who, now.unix_ms()],
    )?;
    let name_changed = name.is_some();
    if let Some(name) = name {
        set_name(connection, key, name)?;
    }
    if about.bed != before.about.bed {
        binding::bed_changed(connection, key)?;
    }
    let after = find(connection, key)?;
    let stopped = limit::stopped(connection, rules, [&before, &after], now)?;
    let detail = json!({"fields": fields, "name_changed": name_changed, "reason": reason,
        "limits_stopped": stopped});
    let action = if leaves { "discharge" } else { "change_patient" };
    audit::append(connection, now, &Entry { who, action, what: key, detail })?;
    let mut ended = Vec::new();
    if let Some(reason) = &reason {
        for id in open {
            ended.push(binding::end(connection, id, now, reason, who, now)?);
        }
    }
    let mut told = after.told(now);
    if let Some(fields) = told.as_object_mut() {
        fields.insert("limits_stopped".to_owned(), json!(stopped));
    }
    Ok(Changed { told, ended, left: reason })
}

/// What a change of a patient did.
pub(crate) struct Changed {
    pub(crate) told: Value,
    /// Bindings that it ended.
    pub(crate) ended: Vec<binding::Ended>,
    /// Why the patient was discharged, where that is what it did.
    pub(crate) left: Option<String>,
}

/// The clinics that are the caller's.
fn own(clinics: &Clinics, scope: &Scope) -> Clinics {
    let own = clinics.iter().filter(|(site, _)| scope.holds(site.as_str()));
    own.map(|(site, name)| (site.clone(), name.clone())).collect()
}

/// Why somebody did something, in words that name nobody.
fn reason_of(
    connection: &Connection,
    text: Option<&str>,
    concerned: Concerned<'_>,
) -> Result<String, Refused> {
    let reason = text.and_then(clean).ok_or_else(|| {
        let text = format!(
            "reason: say why in 1 to {TEXT_LEN_MAX} letters, without telephone or identity numbers"
        );
        Refused::Because(Code::Reason, text)
    })?;
    check_unnamed(connection, concerned, "reason", &reason)?;
    Ok(reason)
}

/// A short text without a number that tells who somebody is.
fn clean(text: &str) -> Option<String> {
    let text = text.trim();
    let letters = text.chars().count();
    let digits = text.split(|letter: char| !letter.is_numeric()).map(|run| run.chars().count());
    let good = (1..=TEXT_LEN_MAX).contains(&letters)
        && !text.chars().any(char::is_control)
        && digits.max().unwrap_or_default() <= DIGITS_MAX;
    good.then(|| text.to_owned())
}

/// The name of a bed.
fn bed_of(text: &str) -> Option<String> {
    clean(text).filter(|bed| bed.chars().count() <= BED_LEN_MAX)
}

/// A moment that somebody said, or now: not in the future, and not more than a day ago.
fn moment_of(name: &str, text: Option<&str>, now: WallTime) -> Result<WallTime, Refused> {
    let Some(text) = text else { return Ok(now) };
    let since = now.unix_ms() - BACK_MS;
    let at = clock::parse_rfc3339(text)
        .filter(|at| (since..=now.unix_ms() + AHEAD_MS).contains(at))
        .ok_or_else(|| {
            Refused::Wrong(format!(
                "{name}: write a moment between {} and now, or leave it out for now",
                rfc3339(since)
            ))
        })?;
    Ok(WallTime::from_unix_ms(at).min(now))
}

/// 16 random bytes: nothing of a person is in them.
fn new_key() -> rusqlite::Result<String> {
    let mut bytes = [0; 16];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| rusqlite::Error::InvalidQuery)?;
    Ok(format!("p-{}", hex(&bytes)))
}

#[cfg(test)]
pub(crate) mod tests;
