//! Whom what came late was measured on: a device may have changed patients since, and a patient may
//! have several devices.

use super::super::Span;
use crate::{
    alerts::subject,
    patients::binding::{Owned, owned},
};
use model::id::{DeviceId, SiteId};
use rules::binding::Subject;
use rusqlite::{Connection, OptionalExtension as _, params};
use std::collections::{BTreeMap, BTreeSet};

/// What came late of one subject: it is judged as a whole.
#[derive(Clone, Debug)]
pub(in super::super) struct Part {
    pub(super) subject: Subject,
    /// The devices of which it came.
    pub(super) devices: BTreeSet<DeviceId>,
    /// What the box stamped.
    pub(super) placed: Option<Span>,
    /// The first of what the devices stamped themselves.
    pub(super) stamped_from_ms: Option<i64>,
}

/// What waits of one device.
#[derive(Debug)]
struct Waiting {
    device: DeviceId,
    placed: Option<Span>,
    stamped_from_ms: Option<i64>,
}

/// Takes what waits of a device in hand, and with it that of every device that had to do with the
/// same patients: what comes from now on waits for the next pass.
pub(in super::super) fn take(
    connection: &Connection,
    site: &SiteId,
    device: &DeviceId,
) -> rusqlite::Result<Vec<DeviceId>> {
    let mut rest = Vec::new();
    for waiting in all_that_waits(connection, site, false)? {
        let subjects: BTreeSet<Subject> =
            parts_of(connection, site, &waiting)?.into_keys().collect();
        rest.push((waiting.device, subjects));
    }
    let (mut next, mut taken) = (vec![device.clone()], Vec::new());
    while let Some(device) = next.pop() {
        let Some(place) = rest.iter().position(|(of, _)| *of == device) else { continue };
        let (device, subjects) = rest.swap_remove(place);
        let related = rest.iter().filter(|(_, of)| !of.is_disjoint(&subjects));
        next.extend(related.map(|(of, _)| of.clone()));
        connection
            .prepare_cached(
                "UPDATE OR IGNORE late_device SET judged = 1 WHERE site = ?1 AND device = ?2",
            )?
            .execute(params![site.as_str(), device.as_str()])?;
        taken.push(device);
    }
    Ok(taken)
}

/// What was taken in hand of these devices, by whom it was measured on.
pub(in super::super) fn parts(
    connection: &Connection,
    site: &SiteId,
    devices: &[DeviceId],
) -> rusqlite::Result<Vec<Part>> {
    let mut parts: BTreeMap<Subject, Part> = BTreeMap::new();
    for waiting in all_that_waits(connection, site, true)? {
        if !devices.contains(&waiting.device) {
            continue;
        }
        for (subject, (placed, stamped_from_ms)) in parts_of(connection, site, &waiting)? {
            let part = parts.entry(subject.clone()).or_insert_with(|| Part {
                subject,
                devices: BTreeSet::new(),
                placed: None,
                stamped_from_ms: None,
            });
            part.devices.insert(waiting.device.clone());
            part.placed = part.placed.into_iter().chain(placed).reduce(Span::and);
            part.stamped_from_ms = part.stamped_from_ms.into_iter().chain(stamped_from_ms).min();
        }
    }
    Ok(parts.into_values().collect())
}

fn all_that_waits(
    connection: &Connection,
    site: &SiteId,
    in_hand: bool,
) -> rusqlite::Result<Vec<Waiting>> {
    let mut statement = connection.prepare_cached(
        "SELECT device, min(from_ms), max(until_ms), min(stamped_from_ms) FROM late_device
         WHERE site = ?1 AND judged >= ?2 GROUP BY device",
    )?;
    let mut rows = statement.query(params![site.as_str(), in_hand])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let Ok(device) = DeviceId::new(&row.get::<_, String>(0)?) else { continue };
        let (from_ms, until_ms): (Option<i64>, Option<i64>) = (row.get(1)?, row.get(2)?);
        let placed = from_ms.zip(until_ms).map(|(from_ms, until_ms)| Span { from_ms, until_ms });
        found.push(Waiting { device, placed, stamped_from_ms: row.get(3)? });
    }
    Ok(found)
}

/// When what waits of a device was measured on whom: what the box stamped, and from when on what
/// the device did.
type Times = (Option<Span>, Option<i64>);

fn parts_of(
    connection: &Connection,
    site: &SiteId,
    Waiting { device, placed, stamped_from_ms }: &Waiting,
) -> rusqlite::Result<BTreeMap<Subject, Times>> {
    let mut parts: BTreeMap<Subject, Times> = BTreeMap::new();
    if let Some(placed) = placed {
        for Owned { patient, from_ms, until_ms } in
            owned(connection, site, device, placed.from_ms, placed.until_ms)?
        {
            let (known, _) = parts.entry(subject(site, device, patient.as_deref())).or_default();
            // What is measured at the end is the next one's.
            let span = Span { from_ms, until_ms: until_ms.saturating_sub(1) };
            *known = Some(known.map_or(span, |known| known.and(span)));
        }
    }
    if let Some(from_ms) = stamped_from_ms {
        // Of a result a person may have said whose it is.
        let mut statement = connection.prepare_cached(
            "SELECT patient, min(measured_ms) FROM reading_group INDEXED BY reading_group_identity
             LEFT JOIN spot ON spot.reading_group = reading_group.id
             WHERE source = (SELECT id FROM source WHERE site = ?1 AND device = ?2)
             AND identity IS NOT NULL AND duplicate_of IS NULL AND measured_ms >= ?3
             GROUP BY patient",
        )?;
        let mut rows = statement.query(params![site.as_str(), device.as_str(), from_ms])?;
        while let Some(row) = rows.next()? {
            let patient: Option<String> = row.get(0)?;
            let (_, known) = parts.entry(subject(site, device, patient.as_deref())).or_default();
            *known = Some(row.get(1)?);
        }
    }
    Ok(parts)
}

/// A device of a subject, as its readings name it.
#[derive(Clone, Debug)]
pub(super) struct Source {
    pub(super) device: DeviceId,
    pub(super) id: i64,
}

/// The devices that a subject had within a time, with those of which something came late.
pub(super) fn sources(
    connection: &Connection,
    site: &SiteId,
    part: &Part,
    span: Span,
) -> rusqlite::Result<Vec<Source>> {
    let mut devices = part.devices.clone();
    if let Some(key) = part.subject.patient() {
        let bound: Vec<String> = connection
            .prepare_cached(
                "SELECT DISTINCT device FROM binding WHERE patient = ?1 AND site = ?2
                 AND from_ms <= ?4 AND (until_ms IS NULL OR until_ms > ?3)",
            )?
            .query_map(params![key.as_str(), site.as_str(), span.from_ms, span.until_ms], |row| {
                row.get(0)
            })?
            .collect::<Result<_, _>>()?;
        devices.extend(bound.iter().filter_map(|device| DeviceId::new(device).ok()));
    }
    let mut sources = Vec::new();
    for device in devices {
        let id = connection
            .prepare_cached("SELECT id FROM source WHERE site = ?1 AND device = ?2")?
            .query_row(params![site.as_str(), device.as_str()], |row| row.get(0))
            .optional()?;
        sources.extend(id.map(|id| Source { device, id }));
    }
    Ok(sources)
}

/// When a device left a subject within a time.
pub(super) fn left_at(
    connection: &Connection,
    site: &SiteId,
    device: &DeviceId,
    of: &Subject,
    span: Span,
) -> rusqlite::Result<Vec<i64>> {
    let Span { from_ms, until_ms: end_ms } = span;
    let mut left = Vec::new();
    for Owned { patient, until_ms, .. } in owned(connection, site, device, from_ms, end_ms)? {
        if until_ms <= end_ms && subject(site, device, patient.as_deref()) == *of {
            left.push(until_ms);
        }
    }
    Ok(left)
}
