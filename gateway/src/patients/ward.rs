//! What a box is told of its patients: which device is on whom, and what decides about rules. Keys
//! and days of birth, no name; who set a limit and why stays here.

use super::{
    binding::Binding,
    known,
    profile::{ENDED_MS, profile_of_a_day},
};
use model::{
    id::{DeviceId, SiteId},
    time::WallTime,
};
use rules::{
    binding::{self, BindingError, BindingList, PatientKey},
    population::{Limit, Profile},
};
use rusqlite::{Connection, OptionalExtension as _, params};
use std::collections::BTreeMap;

/// Bindings of the devices of a site, and their patients as the rules see them.
pub(crate) fn ward(
    connection: &Connection,
    site: &SiteId,
    now: WallTime,
) -> rusqlite::Result<(BindingList, BTreeMap<PatientKey, Profile>)> {
    let version: Option<i64> = connection
        .prepare_cached("SELECT version FROM binding_list WHERE site = ?1")?
        .query_row([site.as_str()], |row| row.get(0))
        .optional()?;
    let version = version.and_then(|version| u64::try_from(version).ok()).unwrap_or_default();
    let stored: Vec<Binding> = connection
        .prepare_cached(
            "SELECT * FROM binding WHERE site = ?1 AND patient IS NOT NULL
             AND (until_ms IS NULL OR until_ms > max(from_ms, ?2)) ORDER BY device, from_ms",
        )?
        .query_map(params![site.as_str(), now.unix_ms() - ENDED_MS], Binding::of_row)?
        .collect::<Result<_, _>>()?;
    let mut patients = BTreeMap::new();
    let mut beds = BTreeMap::new();
    let mut bindings = Vec::new();
    for one in stored {
        let key = one.patient.as_deref().and_then(|key| PatientKey::new(key).ok());
        let (Some(patient), Ok(device)) = (key, DeviceId::new(&one.device)) else { continue };
        if !patients.contains_key(&patient)
            && let Some(found) = known(connection, patient.as_str())?
        {
            patients
                .insert(patient.clone(), at_the_box(profile_of_a_day(connection, &found, now)?));
            beds.insert(patient.clone(), found.about.bed);
        }
        // As on the board: who was put elsewhere since is there.
        let present = beds.get(&patient).cloned().flatten().filter(|_| one.until_ms.is_none());
        bindings.push(binding::Binding {
            device,
            patient,
            bed: present.or(one.bed),
            from: WallTime::from_unix_ms(one.from_ms),
            until: one.until_ms.map(WallTime::from_unix_ms),
        });
    }
    match BindingList::new(version, bindings) {
        Ok(list) => Ok((list, patients)),
        Err(error) => {
            told_to_nobody(site, &error);
            Ok((BindingList::default(), BTreeMap::new()))
        }
    }
}

/// The box then warns of devices, by the rules of adults; the county goes by the bindings.
fn told_to_nobody(site: &SiteId, error: &BindingError) {
    tracing::error!(%site, %error, "A box cannot be told its bindings.");
}

fn at_the_box(profile: Profile) -> Profile {
    let limits = profile.limits.into_iter();
    let limits = limits.map(|limit| Limit { by: String::new(), reason: String::new(), ..limit });
    Profile { limits: limits.collect(), ..profile }
}
