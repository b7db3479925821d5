//! What a rule set would have raised in the last day, beside what the live one would have: what is
//! stored of readings and device alarms is judged once more, apart from what is live.
//!
//! - [`job`]: the preview of a county, which takes minutes
//!
//! Not here: who may ask ([`crate::api`]).
//!
//! # Invariants
//! - nothing is stored, nobody is told, and whoever writes waits for nothing of it
//! - in memory is one step of one site for each thread, and what its rules know

pub(crate) mod job;
#[cfg(test)]
mod tests;
mod told;

use crate::{
    alerts::subject,
    late::pass::{Entry, JUDGED, NAMES, STAMPED_MAX, Said, alarm, entry},
    patients::{
        self,
        binding::Bound,
        profile::{oxygen, profile},
    },
    query::{Clinics, clinic},
    reading,
};
use model::{
    device::DeviceKind,
    id::{Channel, DeviceId, Lane, SiteId},
    metric::{Kind, Metric},
    reading::{Occurrence, ReadingGroup},
    time::{ClockQuality, Observed, WallTime},
};
use rules::{
    binding::Subject,
    freshness::{Freshness, Moment},
    population::{Entry as Typed, Profile},
    retro::WARM_UP_MS,
    rule::{Pace, RuleSet},
    trial::Trials,
};
use rusqlite::{Connection, Row};
use std::{
    collections::{BTreeMap, VecDeque, btree_map},
    sync::Arc,
};

/// What is looked at: a day.
const BACK_MS: i64 = 24 * 3_600_000;
/// Groups of one device in one step: with four monitors as many as in a step of a pass over what came
/// late.
const STEP_GROUPS: usize = 500;
/// Alarms of one site in a day: a monitor that says one each ten seconds, and to spare.
const ALARMS_MAX: usize = 20_000;

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
    sources: Vec<Source>,
    names: Names,
    trials: Trials,
    bound: Bound,
    patients: BTreeMap<String, Patient>,
    /// What is in memory already, in order.
    apart: VecDeque<Whole>,
    until_ms: i64,
    readings: usize,
}

/// A device of which groups are read page by page.
struct Source {
    id: i64,
    device: DeviceId,
    /// What is read and not judged, in the order in which it was heard.
    page: VecDeque<(i64, Whole)>,
    /// When the next page begins; `None`: there is no other.
    next_ms: Option<i64>,
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
        (from, until): (WallTime, WallTime),
    ) -> rusqlite::Result<Self> {
        let next_ms = from.unix_ms().saturating_sub(WARM_UP_MS);
        let until_ms = until.unix_ms();
        let mut apart = alarms(connection, site, next_ms)?;
        let mut sources = Vec::new();
        for (id, device) in devices(connection, site)? {
            apart.extend(stamped(connection, id, &device, next_ms, until_ms)?);
            sources.push(Source { id, device, page: VecDeque::new(), next_ms: Some(next_ms) });
        }
        apart.sort_by(|a, b| a.entry.order.cmp(&b.entry.order));
        let paces = paces(connection, site)?;
        Ok(Self {
            site: site.clone(),
            sources,
            names: Names::default(),
            trials: Trials::new(sets, site, &paces),
            bound: Bound::default(),
            patients: BTreeMap::new(),
            apart: apart.into(),
            until_ms,
            readings: 0,
        })
    }

    fn is_under_way(&self) -> bool {
        let has_more = |source: &Source| source.next_ms.is_some() || !source.page.is_empty();
        self.sources.iter().any(has_more) || !self.apart.is_empty()
    }

    /// Judges what comes next of all devices of the site, in the order in which it was measured.
    fn step(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        for source in self.sources.iter_mut().filter(|source| source.page.is_empty()) {
            source.read(connection, &mut self.names, self.until_ms)?;
        }
        // Up to where all of them are read.
        let next_ms = self.sources.iter().filter_map(|source| source.next_ms).min();
        let is_read =
            |(heard_ms, _): &mut (i64, Whole)| next_ms.is_none_or(|next| *heard_ms < next);
        let mut step = Vec::new();
        for source in &mut self.sources {
            while let Some((_, whole)) = source.page.pop_front_if(is_read) {
                step.push(whole);
            }
        }
        step.sort_by(|a, b| a.entry.order.cmp(&b.entry.order));
        for whole in step {
            self.judge_apart_before(connection, Some(&whole))?;
            self.judge(connection, whole)?;
        }
        if next_ms.is_none() {
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
            self.judge(connection, apart)?;
        }
        Ok(())
    }

    fn judge(&mut self, connection: &Connection, whole: Whole) -> rusqlite::Result<()> {
        let Whole { entry, result } = whole;
        let at = WallTime::from_unix_ms(entry.order.0);
        let device = &match &entry.said {
            Said::Group(ReadingGroup { device, .. }, _) => device.clone(),
            Said::Alarm(alarm) => alarm.device.clone(),
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
        self.trials.place(device, &place, at);
        match entry.said {
            Said::Group(group, _) => {
                self.readings += group.readings.len();
                let t_meas = Moment { suspect: entry.suspect, ..Moment::sure(at) };
                self.trials.on_readings(&whose, group, t_meas);
            }
            Said::Alarm(alarm) => self.trials.on_alarm(&whose, at, &alarm),
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
            self.trials.set_profile(whose, at, &patient.profile);
        }
        Ok(())
    }
}

impl Source {
    /// Reads the next page, if there is one.
    fn read(
        &mut self,
        connection: &Connection,
        names: &mut Names,
        until_ms: i64,
    ) -> rusqlite::Result<()> {
        let Some(from_ms) = self.next_ms.take() else { return Ok(()) };
        let mut page = placed(connection, names, (self.id, &self.device), (from_ms, until_ms))?;
        if page.len() == STEP_GROUPS {
            let last_ms = page.back().map_or(until_ms, |(heard_ms, _)| *heard_ms);
            if page.front().is_some_and(|(first_ms, _)| *first_ms < last_ms) {
                // What else is of that moment may be on the next page.
                page.retain(|(heard_ms, _)| *heard_ms < last_ms);
                self.next_ms = Some(last_ms);
            } else {
                // Of one moment there are no five hundred, but the pass has to end.
                self.next_ms = Some(last_ms.saturating_add(1));
            }
        }
        self.page = page;
        Ok(())
    }
}

/// What small numbers stand for, looked up once.
#[derive(Default)]
struct Names {
    lanes: BTreeMap<i64, (String, Option<Lane>)>,
    lists: BTreeMap<i64, Vec<Option<Metric>>>,
}

impl Names {
    fn lane(
        &mut self,
        connection: &Connection,
        id: i64,
    ) -> rusqlite::Result<(String, Option<Lane>)> {
        if let Some(known) = self.lanes.get(&id) {
            return Ok(known.clone());
        }
        let lane = connection
            .prepare_cached("SELECT outbox, lane FROM outbox_lane WHERE id = ?1")?
            .query_row([id], |row| Ok((row.get(0)?, row.get::<_, String>(1)?)))?;
        let lane = (lane.0, Lane::from_name(&lane.1));
        self.lanes.insert(id, lane.clone());
        Ok(lane)
    }

    fn metrics(&mut self, connection: &Connection, id: i64) -> rusqlite::Result<&[Option<Metric>]> {
        if let btree_map::Entry::Vacant(unknown) = self.lists.entry(id) {
            let metrics: String = connection
                .prepare_cached("SELECT metrics FROM metric_list WHERE id = ?1")?
                .query_row([id], |row| row.get(0))?;
            unknown.insert(reading::listed(&metrics).collect());
        }
        Ok(self.lists.get(&id).map_or(&[], Vec::as_slice))
    }
}

/// The devices of a site; not the box itself, which rules know under its name.
fn devices(connection: &Connection, site: &SiteId) -> rusqlite::Result<Vec<(i64, DeviceId)>> {
    let stored: Vec<(i64, String)> = connection
        .prepare_cached("SELECT id, device FROM source WHERE site = ?1 AND device <> ?1")?
        .query_map([site.as_str()], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Result<_, _>>()?;
    let named = stored.into_iter();
    Ok(named.filter_map(|(id, device)| Some((id, DeviceId::new(&device).ok()?))).collect())
}

fn paces(connection: &Connection, site: &SiteId) -> rusqlite::Result<BTreeMap<DeviceId, Pace>> {
    let stored: Vec<(String, String, Option<i64>)> = connection
        .prepare_cached("SELECT device, kind, expected_interval_ms FROM device WHERE site = ?1")?
        .query_map([site.as_str()], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
        .collect::<Result<_, _>>()?;
    let known = stored.into_iter().filter_map(|(device, kind, interval_ms)| {
        let kind = Some(DeviceKind::from_name(&kind)?);
        Some((DeviceId::new(&device).ok()?, Pace { kind, interval_ms }))
    });
    Ok(known.collect())
}

const RESULT: &str = "LEFT JOIN (SELECT reading_group AS result_of, patient AS moved_to FROM spot)
     ON result_of = reading_group.id";

/// The next groups of what the box stamped, each with when it was heard.
fn placed(
    connection: &Connection,
    names: &mut Names,
    (source, device): (i64, &DeviceId),
    (from_ms, until_ms): (i64, i64),
) -> rusqlite::Result<VecDeque<(i64, Whole)>> {
    // A county has tens of millions of them: columns by their number, names by theirs.
    let mut statement = connection.prepare_cached(&format!(
        "SELECT observed_ms, measured_ms, reading_group.outbox_lane, reading_group.seq,
           reading_group.idx, time_suspect, channel, metric_list, said,
           spot.reading_group IS NOT NULL, spot.patient
         FROM reading_group LEFT JOIN spot ON spot.reading_group = reading_group.id
         WHERE source = ?1 AND observed_ms BETWEEN ?2 AND ?3 AND identity IS NULL
         ORDER BY observed_ms, reading_group.id LIMIT {STEP_GROUPS}"
    ))?;
    let mut rows = statement.query([source, from_ms, until_ms])?;
    let mut page = VecDeque::new();
    while let Some(row) = rows.next()? {
        let measured_ms = row.get(1)?;
        let (outbox, lane) = names.lane(connection, row.get(2)?)?;
        let metrics = names.metrics(connection, row.get(7)?)?;
        let is_spot = metrics
            .first()
            .is_some_and(|first| first.is_some_and(|it| it.row().kind == Kind::Spot));
        let at = WallTime::from_unix_ms(measured_ms);
        let group = ReadingGroup {
            device: device.clone(),
            channel: Channel::new(row.get_ref(6)?.as_str()?).unwrap_or_default(),
            group: None,
            occurrence: if is_spot { Occurrence::Spot } else { Occurrence::Stream },
            device_time: None,
            observed: Observed { at, quality: ClockQuality::Unknown },
            device_seq: None,
            context: BTreeMap::new(),
            readings: reading::readings_of(metrics.iter().copied(), row.get_ref(8)?.as_str()?),
        };
        let entry = Entry {
            order: (measured_ms, outbox, lane, row.get(3)?, row.get(4)?),
            suspect: row.get(5)?,
            said: Said::Group(group, Freshness::Fresh),
        };
        let (is_result, moved_to): (bool, Option<String>) = (row.get(9)?, row.get(10)?);
        page.push_back((row.get(0)?, Whole { entry, result: is_result.then_some(moved_to) }));
    }
    Ok(page)
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
    let more = "SELECT result_of IS NOT NULL AS is_result, moved_to,";
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
