//! NEWS2 of patients: scored when a nurse enters something, and each minute while what she saw
//! counts.
//!
//! # Invariants
//! - a patient is scored at one site, however many have devices on them: one patient, one family,
//!   one alert
//! - what a score raised is unknown while the set is not whole behind a lost box
//! - what a score raised ends with the devices, and with the results, without which nobody can be
//!   scored

use super::{Context, Evaluation, store as store_all};
use crate::{
    patients::{self, entry, observed},
    store::{Store, StoreError},
};
use model::{
    id::{DeviceId, SiteId},
    time::WallTime,
};
use rules::{
    binding::{PatientKey, Subject},
    news2::{Measured, Observations},
    rule::RuleSet,
};
use rusqlite::{Connection, Transaction};
use serde_json::Value;
use std::{collections::BTreeSet, sync::Arc};

/// Streams count by their median over a minute.
pub(crate) const OBSERVE_EVERY_MS: u64 = 60_000;
/// Of all alerts of the score, by the schema of rule sets.
const FAMILY: &str = "news2";
/// How long a nurse's word about consciousness counts; then no set is complete.
const SEEN_MS: i64 = 60 * 60_000;
/// Why an alert ends at one site when the patient's devices are at another.
const MOVED: &str = "scored at another site";

impl Evaluation {
    /// Scores what is known of a patient now.
    pub(crate) fn observe(&mut self, context: Context<'_>, key: &str) -> rusqlite::Result<()> {
        let Context { connection, now, .. } = context;
        let Ok(patient) = PatientKey::new(key) else { return Ok(()) };
        // What was measured before somebody left would begin an alert that nothing ends.
        if patients::known(connection, key)?.is_none_or(|known| known.about.discharged) {
            return Ok(());
        }
        // Of whom no device has said anything no set is complete.
        let Some(site) = self.place_of_score(context, &patient)? else { return Ok(()) };
        self.score_at(context, &site, &patient, now)?;
        Ok(())
    }

    /// Scores what is known of a patient as of that moment; whether the set was complete.
    fn score_at(
        &mut self,
        context: Context<'_>,
        site: &SiteId,
        patient: &PatientKey,
        at: WallTime,
    ) -> rusqlite::Result<bool> {
        let Context { connection, rules, now } = context;
        let measured = observed::measured(connection, patient.as_str(), at)?;
        let engine = self.known(context, site, &Subject::Patient(patient.clone()))?;
        let set = engine.profile().observations(at, &measured);
        if at == now {
            self.know_score(context, site, patient, set.is_measured())?;
        }
        let engine = self.engine(connection, site, &Subject::Patient(patient.clone()))?;
        let (score, changed) = engine.on_observations(rules, now, at, &set);
        self.note(changed);
        Ok(score.is_some_and(|score| score.is_complete()))
    }

    /// What the score raised is known by a whole set, and unknown without one behind a lost box.
    fn know_score(
        &mut self,
        context: Context<'_>,
        site: &SiteId,
        patient: &PatientKey,
        is_whole: bool,
    ) -> rusqlite::Result<()> {
        let Context { connection, rules, now } = context;
        let subject = Subject::Patient(patient.clone());
        let mut is_lost = false;
        for site in sites_with_devices(connection, patient)?.iter().chain([site]) {
            is_lost |= self.engine(connection, site, &subject)?.is_cut_off();
        }
        if is_whole || is_lost {
            let changed = self.engine(connection, site, &subject)?.know_score(rules, now, is_whole);
            self.note(changed);
        }
        Ok(())
    }

    /// Where a patient is scored: where they were, as long as a device of theirs is there, else where
    /// the newest of their devices is. What the score raised elsewhere ends.
    fn place_of_score(
        &mut self,
        context: Context<'_>,
        patient: &PatientKey,
    ) -> rusqlite::Result<Option<SiteId>> {
        let with_devices = sites_with_devices(context.connection, patient)?;
        let subject = Subject::Patient(patient.clone());
        let mut scored = Vec::new();
        for site in self.sites_of(context, patient)? {
            let at = self.engine(context.connection, &site, &subject)?.scored_at();
            scored.push((at, site));
        }
        let has_device =
            |(at, site): &&(Option<WallTime>, SiteId)| at.is_some() && with_devices.contains(site);
        let place = scored.iter().filter(has_device).max().map(|(_, site)| site);
        let place = place.or(with_devices.first());
        let place = place.or(scored.iter().max().map(|(_, site)| site)).cloned();
        for (_, site) in
            scored.iter().filter(|(at, site)| at.is_some() && Some(site) != place.as_ref())
        {
            let engine = self.engine(context.connection, site, &subject)?;
            let changed = engine.end_score(context.rules, context.now, MOVED);
            self.note(changed);
        }
        Ok(place)
    }

    /// A device has left a patient: where neither the set that was scored last nor what is known
    /// now is whole without it, nothing would end what the score raised.
    pub(super) fn score_without(
        &mut self,
        context: Context<'_>,
        patient: &PatientKey,
        (site, device): (&SiteId, &DeviceId),
        reason: &str,
    ) -> rusqlite::Result<()> {
        let Context { connection, rules, now } = context;
        let left = (site.as_str(), device.as_str());
        for site in self.sites_of(context, patient)? {
            let engine = self.engine(connection, &site, &Subject::Patient(patient.clone()))?;
            let Some(at) = engine.scored_at() else { continue };
            let is_whole = |at| {
                observed::measured_without(connection, patient.as_str(), at, left)
                    .map(|rest| Observations::at(at, &rest, None, None).is_measured())
            };
            if is_whole(at)? || is_whole(now)? {
                continue;
            }
            let changed = engine.end_score(rules, now, reason);
            self.note(changed);
        }
        Ok(())
    }

    /// A result is another's: a score that rested on it is made anew of what is left, and what it
    /// raised ends where that is no whole set.
    pub(super) fn score_left(
        &mut self,
        context: Context<'_>,
        patient: &PatientKey,
        moved: &[Measured],
        reason: &str,
    ) -> rusqlite::Result<()> {
        let Context { connection, rules, now } = context;
        let known = patients::known(connection, patient.as_str())?;
        if known.is_none_or(|known| known.about.discharged) {
            return Ok(());
        }
        for site in self.sites_of(context, patient)? {
            let engine = self.engine(connection, &site, &Subject::Patient(patient.clone()))?;
            let Some(at) = engine.scored_at() else { continue };
            let left = observed::measured(connection, patient.as_str(), at)?;
            let of = |measured: &[Measured]| Observations::at(at, measured, None, None);
            if of(&left) == of(&[&left, moved].concat()) {
                continue;
            }
            // What was known then says more than nothing where nobody can be scored now.
            let is_scored = self.score_at(context, &site, patient, now)?
                || self.score_at(context, &site, patient, at)?;
            if !is_scored {
                let engine = self.engine(connection, &site, &Subject::Patient(patient.clone()))?;
                let changed = engine.end_score(rules, now, reason);
                self.note(changed);
            }
        }
        Ok(())
    }
}

/// Where devices are on a patient, the newest first.
pub(super) fn sites_with_devices(
    connection: &Connection,
    patient: &PatientKey,
) -> rusqlite::Result<Vec<SiteId>> {
    let sites: Vec<String> = connection
        .prepare_cached(
            "SELECT site FROM binding WHERE patient = ?1 AND until_ms IS NULL
             ORDER BY from_ms DESC, id DESC",
        )?
        .query_map([patient.as_str()], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    Ok(sites.iter().filter_map(|site| SiteId::stored(site).ok()).collect())
}

/// Of whom the score has raised something that is not over.
fn with_score_alert(connection: &Connection) -> rusqlite::Result<Vec<String>> {
    connection
        .prepare_cached(
            "SELECT DISTINCT body ->> 'patient' FROM alert WHERE state <> 'closed'
             AND body ->> 'family' = ?1 AND body ->> 'patient' IS NOT NULL",
        )?
        .query_map([FAMILY], |row| row.get(0))?
        .collect()
}

/// Scores everybody of whom a nurse said lately how awake they are, or of whom the score has raised
/// something that is not over; the alerts that changed.
pub(crate) async fn observe_all(
    store: &Store,
    rules: Arc<RuleSet>,
    now: WallTime,
) -> Result<Vec<Value>, StoreError> {
    let since = WallTime::from_unix_ms(now.unix_ms().saturating_sub(SEEN_MS));
    let of_rules = Arc::clone(&rules);
    // Most scores change nothing, and what they are made of takes long to read: only those that
    // change something have the writer.
    let changing = move |connection: &Connection| {
        let context = Context { connection, rules: &of_rules, now };
        let mut changing = Vec::new();
        let mut patients: BTreeSet<String> =
            entry::seen_since(connection, since)?.into_iter().collect();
        patients.extend(with_score_alert(connection)?);
        for patient in patients {
            let mut evaluation = Evaluation::default();
            evaluation.observe(context, &patient)?;
            if !evaluation.changed.is_empty() {
                changing.push(patient);
            }
        }
        Ok(changing)
    };
    let changing = store.read(changing).await?;
    if changing.is_empty() {
        return Ok(Vec::new());
    }
    let score = move |transaction: &Transaction<'_>| {
        let context = Context { connection: transaction, rules: &rules, now };
        let mut evaluation = Evaluation::default();
        for patient in &changing {
            evaluation.observe(context, patient)?;
        }
        store_all(context, evaluation)
    };
    store.write(score).await
}
