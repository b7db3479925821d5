//! NEWS2 of patients: scored when a nurse enters something, and each minute while what she saw
//! counts.

use super::{Context, Evaluation, store as store_all};
use crate::{
    patients::{self, entry, observed},
    store::{Store, StoreError},
};
use model::{id::SiteId, time::WallTime};
use rules::{
    binding::{PatientKey, Subject},
    rule::RuleSet,
};
use rusqlite::{Connection, OptionalExtension as _, Transaction};
use serde_json::Value;
use std::sync::Arc;

/// Streams count by their median over a minute.
pub(crate) const OBSERVE_EVERY_MS: u64 = 60_000;
/// How long a nurse's word about consciousness counts; then no set is complete.
const SEEN_MS: i64 = 60 * 60_000;

impl Evaluation {
    /// Scores what is known of a patient now.
    pub(crate) fn observe(&mut self, context: Context<'_>, key: &str) -> rusqlite::Result<()> {
        let Context { connection, rules, now } = context;
        let Ok(patient) = PatientKey::new(key) else { return Ok(()) };
        // What was measured before somebody left would begin an alert that nothing ends.
        if patients::known(connection, key)?.is_none_or(|known| known.about.discharged) {
            return Ok(());
        }
        let site = match newest_site(connection, key)? {
            Some(site) => Some(site),
            None => self.sites_of(context, &patient)?.into_iter().next(),
        };
        // Of whom no device has said anything no set is complete.
        let Some(site) = site else { return Ok(()) };
        let measured = observed::measured(connection, key, now)?;
        let engine = self.known(context, &site, &Subject::Patient(patient))?;
        let set = engine.profile().observations(now, &measured);
        if let Some((_, changed)) = engine.on_observations(rules, now, now, &set) {
            self.note(changed);
        }
        Ok(())
    }
}

/// Where the newest of the devices is that are on a patient.
fn newest_site(connection: &Connection, key: &str) -> rusqlite::Result<Option<SiteId>> {
    let site: Option<String> = connection
        .prepare_cached(
            "SELECT site FROM binding WHERE patient = ?1 AND until_ms IS NULL
             ORDER BY from_ms DESC, id DESC LIMIT 1",
        )?
        .query_row([key], |row| row.get(0))
        .optional()?;
    Ok(site.and_then(|site| SiteId::stored(&site).ok()))
}

/// Scores everybody of whom a nurse said lately how awake they are; the alerts that changed.
pub(crate) async fn observe_all(
    store: &Store,
    rules: Arc<RuleSet>,
    now: WallTime,
) -> Result<Vec<Value>, StoreError> {
    let since = WallTime::from_unix_ms(now.unix_ms().saturating_sub(SEEN_MS));
    let seen = store.read(move |connection| entry::seen_since(connection, since)).await?;
    if seen.is_empty() {
        return Ok(Vec::new());
    }
    let score = move |transaction: &Transaction<'_>| {
        let context = Context { connection: transaction, rules: &rules, now };
        let mut evaluation = Evaluation::default();
        for patient in &seen {
            evaluation.observe(context, patient)?;
        }
        store_all(context, evaluation)
    };
    store.write(score).await
}
