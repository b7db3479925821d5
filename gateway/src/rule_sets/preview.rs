//! What a rule set would have raised in the last day, beside what the live one would have: what is
//! stored of readings and device alarms is judged once more, apart from what is live.
//!
//! Not here: who may ask, and that one asks at a time ([`crate::api`]).
//!
//! # Invariants
//! - nothing is stored, nobody is told, and whoever writes waits for nothing of it
//! - in memory is one step of one site, and what its rules know

#[cfg(test)]
mod tests;
mod told;

use crate::{
    alerts::subject,
    clock, figures,
    late::pass::{Entry, JUDGED, NAMES, PAUSE, STAMPED_MAX, Said, alarm, entry},
    patients::{
        self,
        binding::Bound,
        profile::{oxygen, profile},
    },
    query::{Clinics, clinic},
    store::{Store, StoreError},
};
use model::{
    device::DeviceKind,
    id::{DeviceId, SiteId},
    reading::ReadingGroup,
    time::WallTime,
};
use rules::{
    binding::Subject,
    freshness::Moment,
    population::{Entry as Typed, Profile},
    retro::WARM_UP_MS,
    rule::RuleSet,
    trial::Trial,
};
use rusqlite::{Connection, Row};
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};
use told::Tally;

/// What is looked at: a day.
const BACK_MS: i64 = 24 * 3_600_000;
/// Groups of one device in one step: with four monitors as many as in a step of a pass over what came
/// late.
const STEP_GROUPS: usize = 500;
/// Alarms of one site in a day: a monitor that says one each ten seconds, and to spare.
const ALARMS_MAX: usize = 20_000;

/// What would have been raised, by the set that is asked for and by the live one. What a county has
/// more than can be judged in that time is left out, site by site, and said; `None` where that is all
/// of it.
pub(crate) async fn preview(
    store: &Store,
    [asked, live]: [Arc<RuleSet>; 2],
    clinics: Arc<Clinics>,
    now: WallTime,
    longest: Duration,
) -> Result<Option<Value>, StoreError> {
    let began = clock::instant();
    let from = WallTime::from_unix_ms(now.unix_ms().saturating_sub(BACK_MS));
    let mut tallies = [Tally::default(), Tally::default()];
    let mut readings = 0;
    let mut judged = BTreeSet::new();
    let sites = store.read(sites).await?;
    let all = sites.len();
    'sites: for site in sites {
        let sets = [Arc::clone(&asked), Arc::clone(&live)];
        let mut work =
            store.read(move |connection| Work::begin(connection, &site, sets, from, now)).await?;
        while work.is_under_way() {
            work = store
                .read(move |connection| {
                    work.step(connection)?;
                    Ok(work)
                })
                .await?;
            if began.elapsed() >= longest {
                break 'sites;
            }
            tokio::time::sleep(PAUSE).await;
        }
        readings += work.readings;
        judged.insert(work.site.to_string());
        for (tally, trial) in tallies.iter_mut().zip(work.trials) {
            tally.add(&township(&clinics, work.site.as_str()), trial.raised_since(from));
        }
    }
    let sites = (judged.len(), all - judged.len());
    if sites.0 == 0 && sites.1 > 0 {
        return Ok(None);
    }
    let days = move |connection: &Connection| {
        let township = |site: &str| judged.contains(site).then(|| township(&clinics, site));
        figures::days(connection, from.unix_ms(), now.unix_ms(), township)
    };
    let days = store.read(days).await?.into_values().sum();
    Ok(Some(told::answer([&asked, &live], &tallies, (readings, sites, days), (from, now))))
}

/// The township of a site, or what it is called itself.
fn township(clinics: &Clinics, site: &str) -> String {
    clinic(clinics, site).unwrap_or_else(|| site.to_owned())
}

fn sites(connection: &Connection) -> rusqlite::Result<Vec<SiteId>> {
    let stored: Vec<String> = connection
        .prepare_cached("SELECT site FROM source UNION SELECT site FROM device ORDER BY 1")?
        .query_map([], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    Ok(stored.iter().filter_map(|site| SiteId::stored(site).ok()).collect())
}

/// One site under way.
struct Work {
    site: SiteId,
    sources: Vec<(i64, DeviceId)>,
    trials: [Trial; 2],
    bound: Bound,
    patients: BTreeMap<String, Patient>,
    /// What is in memory already, in order.
    apart: VecDeque<Whole>,
    /// What is read step by step: from there on, up to there.
    next_ms: i64,
    until_ms: i64,
    readings: usize,
}

/// Something that was said, and whose a result is where a person had a word in it.
struct Whole {
    entry: Entry,
    /// A result: whose it is, if anybody's.
    result: Option<Option<String>>,
}

/// A patient as the trials know them, and what nurses will enter.
struct Patient {
    profile: Profile,
    oxygen: VecDeque<Typed<bool>>,
}

impl Work {
    fn begin(
        connection: &Connection,
        site: &SiteId,
        sets: [Arc<RuleSet>; 2],
        from: WallTime,
        until: WallTime,
    ) -> rusqlite::Result<Self> {
        let sources = sources(connection, site)?;
        let next_ms = from.unix_ms().saturating_sub(WARM_UP_MS);
        let until_ms = until.unix_ms();
        let mut apart = alarms(connection, site, next_ms)?;
        for (source, device) in &sources {
            apart.extend(stamped(connection, *source, device, next_ms, until_ms)?);
        }
        apart.sort_by(|a, b| a.entry.order.cmp(&b.entry.order));
        let kinds = kinds(connection, site)?;
        Ok(Self {
            site: site.clone(),
            sources,
            trials: sets.map(|rules| Trial::new(rules, site.clone(), kinds.clone())),
            bound: Bound::default(),
            patients: BTreeMap::new(),
            apart: apart.into(),
            next_ms,
            until_ms,
            readings: 0,
        })
    }

    fn is_under_way(&self) -> bool {
        self.next_ms <= self.until_ms || !self.apart.is_empty()
    }

    /// Judges what comes next of all devices of the site, in the order in which it was measured.
    fn step(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        let mut page = Vec::new();
        // Up to where all of them are read.
        let mut read_ms = self.until_ms;
        for (source, device) in &self.sources {
            let found = placed(connection, *source, device, (self.next_ms, self.until_ms))?;
            if found.len() == STEP_GROUPS {
                let last_ms = found.last().map_or(self.until_ms, |(placed_ms, _)| *placed_ms);
                // Of one moment there are no five hundred, but the pass has to end.
                read_ms = read_ms.min(last_ms.saturating_sub(1).max(self.next_ms));
            }
            page.extend(found);
        }
        page.retain(|(placed_ms, _)| *placed_ms <= read_ms);
        let mut page: Vec<Whole> = page.into_iter().map(|(_, whole)| whole).collect();
        page.sort_by(|a, b| a.entry.order.cmp(&b.entry.order));
        for whole in page {
            self.judge_apart_before(connection, Some(&whole))?;
            self.judge(connection, &whole)?;
        }
        self.next_ms = read_ms.saturating_add(1);
        if self.next_ms > self.until_ms {
            self.judge_apart_before(connection, None)?;
        }
        Ok(())
    }

    fn judge_apart_before(
        &mut self,
        connection: &Connection,
        whole: Option<&Whole>,
    ) -> rusqlite::Result<()> {
        let is_before =
            |apart: &mut Whole| whole.is_none_or(|next| apart.entry.order < next.entry.order);
        while let Some(apart) = self.apart.pop_front_if(is_before) {
            self.judge(connection, &apart)?;
        }
        Ok(())
    }

    fn judge(&mut self, connection: &Connection, whole: &Whole) -> rusqlite::Result<()> {
        let Whole { entry, result } = whole;
        let at = WallTime::from_unix_ms(entry.order.0);
        let device = match &entry.said {
            Said::Group(group, _) => &group.device,
            Said::Alarm(alarm) => &alarm.device,
        };
        let patient = self.bound.patient_at(connection, &self.site, device, at)?;
        let place = subject(&self.site, device, patient);
        let whose = match result {
            Some(patient) => subject(&self.site, device, patient.as_deref()),
            None => place.clone(),
        };
        // Under the name of the site rules know the box.
        if whose == Subject::Box {
            return Ok(());
        }
        self.know(connection, &place, at)?;
        self.know(connection, &whose, at)?;
        for trial in &mut self.trials {
            trial.place(device, &place, at);
            match &entry.said {
                Said::Group(group, _) => {
                    let t_meas = Moment { suspect: entry.suspect, ..Moment::sure(at) };
                    trial.on_readings(&whose, group, t_meas);
                }
                Said::Alarm(alarm) => trial.on_alarm(&whose, at, alarm),
            }
        }
        if let Said::Group(ReadingGroup { readings, .. }, _) = &entry.said {
            self.readings += readings.len();
        }
        Ok(())
    }

    /// The trials know a patient as they were at that moment.
    fn know(
        &mut self,
        connection: &Connection,
        whose: &Subject,
        at: WallTime,
    ) -> rusqlite::Result<()> {
        let Some(key) = whose.patient().map(|key| key.as_str().to_owned()) else { return Ok(()) };
        let mut is_new = !self.patients.contains_key(&key);
        if is_new {
            let known = patients::known(connection, &key)?;
            let profile = match &known {
                Some(patient) => profile(connection, patient, at)?,
                None => Profile::default(),
            };
            let oxygen = oxygen(connection, &key)?.into();
            let profile = Profile { oxygen: None, ..profile };
            self.patients.insert(key.clone(), Patient { profile, oxygen });
        }
        let Some(patient) = self.patients.get_mut(&key) else { return Ok(()) };
        while let Some(typed) = patient.oxygen.pop_front_if(|typed| typed.at <= at) {
            patient.profile.oxygen = Some(typed);
            is_new = true;
        }
        if is_new {
            for trial in &mut self.trials {
                trial.set_profile(whose, at, patient.profile.clone());
            }
        }
        Ok(())
    }
}

/// The devices of a site; not the box itself, which rules know under its name.
fn sources(connection: &Connection, site: &SiteId) -> rusqlite::Result<Vec<(i64, DeviceId)>> {
    let stored: Vec<(i64, String)> = connection
        .prepare_cached("SELECT id, device FROM source WHERE site = ?1 AND device <> ?1")?
        .query_map([site.as_str()], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Result<_, _>>()?;
    let named = stored.into_iter();
    Ok(named.filter_map(|(id, device)| Some((id, DeviceId::new(&device).ok()?))).collect())
}

fn kinds(
    connection: &Connection,
    site: &SiteId,
) -> rusqlite::Result<BTreeMap<DeviceId, DeviceKind>> {
    let stored: Vec<(String, String)> = connection
        .prepare_cached("SELECT device, kind FROM device WHERE site = ?1")?
        .query_map([site.as_str()], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Result<_, _>>()?;
    let known = stored.into_iter().filter_map(|(device, kind)| {
        Some((DeviceId::new(&device).ok()?, DeviceKind::from_name(&kind)?))
    });
    Ok(known.collect())
}

const RESULT: &str = "LEFT JOIN (SELECT reading_group AS result_of, patient AS moved_to FROM spot)
     ON result_of = reading_group.id";

/// The next groups of what the box stamped, each with when it was heard.
fn placed(
    connection: &Connection,
    source: i64,
    device: &DeviceId,
    (from_ms, until_ms): (i64, i64),
) -> rusqlite::Result<Vec<(i64, Whole)>> {
    let judged = with_result();
    connection
        .prepare_cached(&format!(
            "{judged} {NAMES} {RESULT}
             WHERE source = ?1 AND observed_ms BETWEEN ?2 AND ?3 AND identity IS NULL
             ORDER BY observed_ms, reading_group.id LIMIT {STEP_GROUPS}"
        ))?
        .query_map([source, from_ms, until_ms], |row| {
            Ok((row.get("observed_ms")?, whole(row, device)?))
        })?
        .collect()
}

/// What the device stamped itself, by when it was measured.
fn stamped(
    connection: &Connection,
    source: i64,
    device: &DeviceId,
    from_ms: i64,
    until_ms: i64,
) -> rusqlite::Result<Vec<Whole>> {
    let judged = with_result();
    connection
        .prepare_cached(&format!(
            "{judged} INDEXED BY reading_group_identity {NAMES} {RESULT}
             WHERE source = ?1 AND identity IS NOT NULL AND duplicate_of IS NULL
             AND measured_ms BETWEEN ?2 AND ?3
             ORDER BY measured_ms DESC LIMIT {STAMPED_MAX}"
        ))?
        .query_map([source, from_ms, until_ms], |row| whole(row, device))?
        .collect()
}

fn with_result() -> String {
    let more = "SELECT observed_ms, result_of IS NOT NULL AS is_result, moved_to,";
    JUDGED.replacen("SELECT", more, 1)
}

fn whole(row: &Row<'_>, device: &DeviceId) -> rusqlite::Result<Whole> {
    let is_result: bool = row.get("is_result")?;
    let moved_to: Option<String> = row.get("moved_to")?;
    Ok(Whole { entry: entry(row, device)?, result: is_result.then_some(moved_to) })
}

/// Device alarms of a site, the newest that came first.
fn alarms(connection: &Connection, site: &SiteId, from_ms: i64) -> rusqlite::Result<Vec<Whole>> {
    let mut statement = connection.prepare_cached("SELECT * FROM device_alarm ORDER BY id DESC")?;
    let mut rows = statement.query([])?;
    let mut alarms = Vec::new();
    while let Some(row) = rows.next()? {
        // What came before that was before that; no index helps to find it.
        if row.get::<_, i64>("received_ms")? < from_ms || alarms.len() == ALARMS_MAX {
            break;
        }
        let (of, device): (String, String) = (row.get("site")?, row.get("device")?);
        let placed_ms: Option<i64> = row.get("placed_ms")?;
        if of != site.as_str() {
            continue;
        }
        let Ok(device) = DeviceId::new(&device) else { continue };
        if placed_ms.is_some_and(|at| at >= from_ms)
            && let Some(entry) = alarm(row, &device)?
        {
            alarms.push(Whole { entry, result: None });
        }
    }
    Ok(alarms)
}
