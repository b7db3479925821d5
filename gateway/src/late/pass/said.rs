//! What was said, as it is stored: read back to be judged at its moment.

use super::{super::Span, STEP_GROUPS, whose::Source};
use crate::{
    alerts::subject,
    reading::{self, listed},
};
use model::{
    alarm::{AlarmKind, AlarmPhase, DeviceAlarm, Priority},
    id::{Channel, DeviceId, Lane, SiteId},
    metric::{Kind, Metric},
    reading::{Occurrence, ReadingGroup},
    time::{ClockQuality, Observed, WallTime},
};
use rules::{binding::Subject, freshness::Freshness};
use rusqlite::{Connection, Row, params};

/// Results of a device that are judged at once: a meter remembers some thousand at most.
pub(crate) const STAMPED_MAX: u32 = 20_000;

/// Something that was said, to be judged at its moment.
#[derive(Debug)]
pub(crate) enum Said {
    Group(ReadingGroup, Freshness),
    Alarm(DeviceAlarm),
}

/// The place in the order: a moment, and at that the place in the outbox.
pub(crate) type Order = (i64, String, Option<Lane>, i64, i64);

/// With its place in the order.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) order: Order,
    pub(crate) suspect: bool,
    pub(crate) said: Said,
}

/// What happened to a subject.
#[derive(Debug)]
pub(super) enum What {
    /// That was said, and whether its moment is in doubt.
    Said(Said, bool),
    /// A device was taken off.
    Left(DeviceId),
}

/// What a stored group needs to be judged.
pub(crate) const JUDGED: &str =
    "SELECT channel, metrics, said, measured_ms, time_suspect, freshness, outbox, lane,
       reading_group.seq, reading_group.idx
     FROM reading_group";
pub(crate) const NAMES: &str =
    "CROSS JOIN outbox_lane ON outbox_lane.id = reading_group.outbox_lane
     CROSS JOIN metric_list ON metric_list.id = reading_group.metric_list";

/// The same with whose it is.
fn owned(begin: &str) -> String {
    let whose = "SELECT CASE WHEN spot.reading_group IS NOT NULL THEN spot.patient ELSE
        (SELECT binding.patient FROM binding WHERE binding.site = ?1 AND binding.device = ?2
         AND from_ms <= measured_ms AND (until_ms IS NULL OR until_ms > measured_ms)
         ORDER BY from_ms DESC LIMIT 1) END AS patient, ";
    let judged = JUDGED.replacen("SELECT", whose, 1);
    format!("{judged} {begin} {NAMES} LEFT JOIN spot ON spot.reading_group = reading_group.id")
}

/// What happened, in its place.
pub(super) type Placed = (Order, What);

/// Of which device something is read, and whose it must be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Of<'a> {
    pub(super) site: &'a SiteId,
    pub(super) source: &'a Source,
    pub(super) subject: &'a Subject,
}

/// The next groups of what the box stamped, by when it was measured, and from when on to read then;
/// `None` where nothing is left. Those of other subjects are left out.
pub(super) fn placed(
    connection: &Connection,
    of: Of<'_>,
    rest: Span,
) -> rusqlite::Result<(Vec<Placed>, Option<i64>)> {
    let mut statement = connection.prepare_cached(&format!(
        "{} WHERE source = ?3 AND observed_ms BETWEEN ?4 AND ?5 AND identity IS NULL
         ORDER BY observed_ms, reading_group.id LIMIT {STEP_GROUPS}",
        owned("")
    ))?;
    let (site, device) = (of.site.as_str(), of.source.device.as_str());
    let asked = params![site, device, of.source.id, rest.from_ms, rest.until_ms];
    let mut page: Vec<(bool, Placed)> =
        statement.query_map(asked, |row| own(row, of))?.collect::<Result<_, _>>()?;
    let at_ms = |(_, (order, _)): &(bool, Placed)| order.0;
    let is_whole = page.len() < STEP_GROUPS;
    let last_ms = page.last().map_or(i64::MAX, at_ms);
    if !is_whole && page.first().is_some_and(|first| at_ms(first) < last_ms) {
        // What else is of that moment may be on the next page.
        page.retain(|entry| at_ms(entry) < last_ms);
    }
    let next_ms = page.last().map_or(i64::MAX, at_ms).saturating_add(1);
    let own = page.into_iter().filter_map(|(is_own, entry)| is_own.then_some(entry)).collect();
    Ok((own, (!is_whole).then_some(next_ms)))
}

/// What the device stamped itself, by when it was measured: it may have been told in any order.
pub(super) fn stamped(
    connection: &Connection,
    of: Of<'_>,
    from_ms: i64,
) -> rusqlite::Result<Vec<Placed>> {
    let mut statement = connection.prepare_cached(&format!(
        "{} WHERE source = ?3 AND identity IS NOT NULL AND duplicate_of IS NULL
         AND measured_ms >= ?4 ORDER BY measured_ms DESC LIMIT {STAMPED_MAX}",
        owned("INDEXED BY reading_group_identity")
    ))?;
    let (site, device) = (of.site.as_str(), of.source.device.as_str());
    let asked = params![site, device, of.source.id, from_ms];
    let mut found = Vec::new();
    for row in statement.query_map(asked, |row| own(row, of))? {
        let (is_own, entry) = row?;
        found.extend(is_own.then_some(entry));
    }
    Ok(found)
}

/// A group, and whether it is of that subject.
fn own(row: &Row<'_>, of: Of<'_>) -> rusqlite::Result<(bool, Placed)> {
    let Entry { order, suspect, said } = entry(row, &of.source.device)?;
    let patient: Option<String> = row.get("patient")?;
    let is_own = subject(of.site, &of.source.device, patient.as_deref()) == *of.subject;
    Ok((is_own, (order, What::Said(said, suspect))))
}

/// A stored group, from what [`JUDGED`] has of it.
pub(crate) fn entry(row: &Row<'_>, device: &DeviceId) -> rusqlite::Result<Entry> {
    let (metrics, said): (String, String) = (row.get("metrics")?, row.get("said")?);
    let (channel, lane): (String, String) = (row.get("channel")?, row.get("lane")?);
    let freshness: Option<String> = row.get("freshness")?;
    let measured_ms = row.get("measured_ms")?;
    let readings = reading::readings(&metrics, &said);
    let is_spot =
        listed(&metrics).next().flatten().is_some_and(|first| first.row().kind == Kind::Spot);
    let group = ReadingGroup {
        device: device.clone(),
        channel: Channel::new(&channel).unwrap_or_default(),
        group: None,
        occurrence: if is_spot { Occurrence::Spot } else { Occurrence::Stream },
        device_time: None,
        observed: observed(measured_ms),
        device_seq: None,
        context: std::collections::BTreeMap::new(),
        readings,
    };
    let named = |class: &Freshness| freshness.as_deref() == Some(class.name());
    let freshness = Freshness::ALL.into_iter().find(named).unwrap_or(Freshness::Fresh);
    let order =
        (measured_ms, row.get("outbox")?, Lane::from_name(&lane), row.get("seq")?, row.get("idx")?);
    Ok(Entry { order, suspect: row.get("time_suspect")?, said: Said::Group(group, freshness) })
}

/// The device's own alarms that keep rules from judging; it takes them along to the next patient.
pub(super) fn suppressing(
    connection: &Connection,
    site: &SiteId,
    device: &DeviceId,
    from_ms: i64,
) -> rusqlite::Result<Vec<Placed>> {
    let mut statement = connection.prepare_cached(
        "SELECT phase, kind, code, text, priority, channel, source, placed_ms, id FROM device_alarm
         WHERE site = ?1 AND device = ?2 AND placed_ms >= ?3
         AND kind IN ('TECH-LEADOFF', 'TECH-PROBEOFF') ORDER BY placed_ms, id",
    )?;
    let mut rows = statement.query(params![site.as_str(), device.as_str(), from_ms])?;
    let mut alarms = Vec::new();
    while let Some(row) = rows.next()? {
        let found = alarm(row, device)?;
        alarms.extend(found.map(|found| (found.order, What::Said(found.said, found.suspect))));
    }
    Ok(alarms)
}

/// A stored device alarm; `None` of what no driver of this version says.
pub(crate) fn alarm(row: &Row<'_>, device: &DeviceId) -> rusqlite::Result<Option<Entry>> {
    let (phase, kind): (String, String) = (row.get("phase")?, row.get("kind")?);
    let (channel, source): (String, Option<String>) = (row.get("channel")?, row.get("source")?);
    let priority: Option<String> = row.get("priority")?;
    let phase = AlarmPhase::ALL.into_iter().find(|known| known.name() == phase);
    let kind = AlarmKind::ALL.iter().find(|known| known.rule_id() == kind);
    let Some((phase, kind)) = phase.zip(kind) else { return Ok(None) };
    let placed_ms = row.get("placed_ms")?;
    let alarm = DeviceAlarm {
        device: device.clone(),
        channel: Channel::new(&channel).unwrap_or_default(),
        phase,
        kind: *kind,
        code: row.get("code")?,
        text: row.get("text")?,
        priority: priority.as_deref().and_then(Priority::from_name),
        latched: false,
        source: source.as_deref().and_then(Metric::from_name),
        device_time: None,
        observed: observed(placed_ms),
    };
    let order = (placed_ms, String::new(), None, row.get("id")?, 0);
    Ok(Some(Entry { order, suspect: false, said: Said::Alarm(alarm) }))
}

fn observed(ms: i64) -> Observed {
    Observed { at: WallTime::from_unix_ms(ms), quality: ClockQuality::Unknown }
}
