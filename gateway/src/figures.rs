//! How many alerts there were and what became of them; whether a board is flooded, and where a
//! limit may not fit.

use crate::{
    clock::{parse_rfc3339, rfc3339},
    query::Clinics,
};
use model::{alarm::Priority, id::SiteId, time::WallTime};
use rules::{
    alert::{AckReason, AlertId, TimelineEvent},
    fatigue::{self, FLOOD_MS, Facts, Flood, OFFER_MS, Offer},
    rule::RuleSet,
};
use rusqlite::{Connection, OptionalExtension as _, params};
use serde_json::{Value, json};
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    iter::Sum,
};

const DAY_MS: i64 = 24 * 3_600_000;
/// Rules, beds and devices that are named.
const NOISY_MAX: usize = 5;
/// What came so long after it began came late.
const LATE_MS: i64 = 10 * 60_000;
/// Reasons with which somebody did something for the patient; the others mend the alert.
const ACTED: [AckReason; 4] =
    [AckReason::AtBedside, AckReason::DoctorCalled, AckReason::Rechecking, AckReason::Referred];

/// An alert as it is told, and the time until somebody had it in hand.
struct Told {
    facts: Facts,
    site: String,
    /// It is about a patient, or about a device that was on nobody.
    of_patient: bool,
    /// The patient is marked monitored, where that is asked for.
    is_monitored: bool,
    /// At which its device stood, where that is asked for.
    bed: Option<String>,
    started_ms: i64,
    acknowledged_after_ms: Option<i64>,
}

/// Alerts of those sites that were raised in that time, the oldest first.
fn raised(
    connection: &Connection,
    is_of: impl Fn(&str) -> bool,
    from_ms: i64,
    to_ms: i64,
) -> rusqlite::Result<Vec<Told>> {
    // Written alike, moments compare as texts do. What began later was raised later.
    let mut statement = connection.prepare_cached(
        "SELECT body FROM alert WHERE json_extract(body, '$.raised_at') >= ?1
         AND json_extract(body, '$.raised_at') < ?2
         ORDER BY started_ms",
    )?;
    let rows =
        statement.query_map([rfc3339(from_ms), rfc3339(to_ms)], |row| row.get::<_, String>(0))?;
    let mut found = Vec::new();
    for body in rows {
        let told = serde_json::from_str(&body?).ok().as_ref().and_then(told);
        found.extend(told.filter(|told| is_of(&told.site)));
    }
    Ok(found)
}

/// The bed at which a device was at a moment.
fn bed_at(
    connection: &Connection,
    site: &str,
    device: &str,
    at_ms: i64,
) -> rusqlite::Result<Option<String>> {
    let bed = connection
        .prepare_cached(
            "SELECT bed FROM binding WHERE site = ?1 AND device = ?2 AND from_ms <= ?3
             AND (until_ms IS NULL OR until_ms > ?3) ORDER BY from_ms DESC LIMIT 1",
        )?
        .query_row(params![site, device, at_ms], |row| row.get(0))
        .optional()?;
    Ok(bed.flatten())
}

/// `None` for what is no alert of ours.
fn told(body: &Value) -> Option<Told> {
    let text = |key| body.get(key).and_then(Value::as_str);
    let moment = |of: &Value, key| of.get(key).and_then(Value::as_str).and_then(parse_rfc3339);
    let timeline = lasting(body.get("timeline")?.as_array()?);
    let is = |entry: &Value, what: TimelineEvent| said(entry, "what") == Some(what.name());
    let by_a_person = |entry: &&&Value| said(entry, "by").is_some();
    let acted_on = timeline.iter().filter(by_a_person).any(|entry| {
        let reason = said(entry, "reason").and_then(AckReason::from_name);
        reason.is_some_and(|reason| ACTED.contains(&reason))
            || is(entry, TimelineEvent::Assigned)
            || is(entry, TimelineEvent::Escalated)
    });
    let raised_ms = moment(body, "raised_at")?;
    let acknowledged = timeline.iter().find(|entry| is(entry, TimelineEvent::Acknowledged));
    let answered_as = acknowledged.and_then(|entry| Priority::from_name(said(entry, "detail")?));
    let rules = body.get("rules")?.as_array()?.iter();
    let facts = Facts {
        id: AlertId::from_hex(text("id")?)?,
        subject: (text("site")?.to_owned(), text("device")?.to_owned()),
        patient: text("patient").map(ToOwned::to_owned),
        rules: rules.filter_map(Value::as_str).map(ToOwned::to_owned).collect(),
        priority: Priority::from_name(text("priority")?)?.max(answered_as.unwrap_or(Priority::Low)),
        raised_at: WallTime::from_unix_ms(raised_ms),
        value: text("value").map(ToOwned::to_owned),
        retro: body.get("retro").and_then(Value::as_bool).unwrap_or_default(),
        acted_on,
    };
    Some(Told {
        site: text("site")?.to_owned(),
        of_patient: text("patient").is_some(),
        is_monitored: false,
        bed: None,
        started_ms: moment(body, "started_at")?,
        acknowledged_after_ms: acknowledged
            .and_then(|entry| moment(entry, "at"))
            .map(|at| at - raised_ms),
        facts,
    })
}

/// A story without what somebody took back: it is as if that had not been done.
fn lasting(timeline: &[Value]) -> Vec<&Value> {
    let mut lasting: Vec<&Value> = Vec::new();
    for entry in timeline {
        if said(entry, "what") != Some(TimelineEvent::Undone.name()) {
            lasting.push(entry);
            continue;
        }
        let is_undone = |before: &&Value| said(before, "what") == said(entry, "detail");
        if let Some(place) = lasting.iter().rposition(is_undone) {
            lasting.remove(place);
        }
    }
    lasting
}

fn said<'v>(entry: &'v Value, key: &str) -> Option<&'v str> {
    entry.get(key).and_then(Value::as_str)
}

/// Whether a board with the alerts of those sites is flooded, and which limits may not fit: members
/// of the list of alerts.
pub(crate) fn fatigue(
    connection: &Connection,
    is_shown: impl Fn(&str) -> bool,
    now: WallTime,
) -> rusqlite::Result<[(&'static str, Value); 2]> {
    let now_ms = now.unix_ms();
    let from_ms = now_ms.saturating_sub(OFFER_MS.max(FLOOD_MS));
    let alerts = raised(connection, is_shown, from_ms, now_ms.saturating_add(1))?;
    let alerts: Vec<Facts> = alerts.into_iter().map(|told| told.facts).collect();
    let flood = fatigue::flood(&alerts, now);
    let flood = flood.map(|Flood { new, collapsed }| json!({"new": new, "collapsed": collapsed}));
    let offers = fatigue::offers(&alerts, now).into_iter();
    let offers = offers.map(|Offer { patient, rules, alerts, values }| {
        json!({"patient": patient, "rules": rules, "alerts": alerts, "values": values})
    });
    Ok([("flood", json!(flood)), ("offers", offers.collect())])
}

/// What became of the alerts of those sites in a time, township by township.
pub(crate) fn figures(
    connection: &Connection,
    clinics: &Clinics,
    is_of: impl Fn(&str) -> bool,
    rules: &RuleSet,
    from_ms: i64,
    to_ms: i64,
) -> rusqlite::Result<Value> {
    let township = |site: &str| {
        let clinic = SiteId::new(site).ok().and_then(|site| clinics.get(&site).cloned());
        clinic.unwrap_or_else(|| site.to_owned())
    };
    let mut of: BTreeMap<String, (Vec<Told>, Days)> = BTreeMap::new();
    let is_named = |site: &str| is_of(site).then(|| township(site));
    let monitored = monitored(connection)?;
    for (township, days) in days(connection, &monitored, from_ms, to_ms, is_named)? {
        of.entry(township).or_default().1 = days;
    }
    for mut told in raised(connection, is_of, from_ms, to_ms)? {
        let (site, device) = &told.facts.subject;
        told.bed = bed_at(connection, site, device, told.started_ms)?;
        told.is_monitored = told.facts.patient.as_ref().is_some_and(|key| monitored.contains(key));
        of.entry(township(&told.site)).or_default().0.push(told);
    }
    let told =
        of.into_iter().map(|(name, (alerts, days))| of_township(&name, &alerts, days, rules));
    Ok(
        json!({"from": rfc3339(from_ms), "to": rfc3339(to_ms), "townships": told.collect::<Vec<_>>()}),
    )
}

/// Patients who are marked monitored by now; since when nobody writes down.
pub(crate) fn monitored(connection: &Connection) -> rusqlite::Result<BTreeSet<String>> {
    connection
        .prepare_cached("SELECT patient FROM patient WHERE about ->> 'monitored'")?
        .query_map([], |row| row.get(0))?
        .collect()
}

/// Days on which something was measured: of each patient with devices on them, of those of them who
/// are monitored, and of each device that was on nobody.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Days {
    pub(crate) patient_days: usize,
    pub(crate) monitored_days: usize,
    pub(crate) device_days: usize,
}

impl Sum for Days {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), |sum, one| Self {
            patient_days: sum.patient_days + one.patient_days,
            monitored_days: sum.monitored_days + one.monitored_days,
            device_days: sum.device_days + one.device_days,
        })
    }
}

/// Days of each township on which something was measured; of sites that have one.
pub(crate) fn days(
    connection: &Connection,
    monitored: &BTreeSet<String>,
    from_ms: i64,
    to_ms: i64,
    township: impl Fn(&str) -> Option<String>,
) -> rusqlite::Result<BTreeMap<String, Days>> {
    let sources: Vec<(i64, String, String)> = connection
        .prepare_cached("SELECT id, site, device FROM source WHERE device <> site")?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
        .collect::<Result<_, _>>()?;
    let mut spoke = connection.prepare_cached(
        "SELECT 1 FROM reading_group WHERE source = ?1 AND observed_ms >= ?2 AND observed_ms < ?3
         LIMIT 1",
    )?;
    let mut of_patients: BTreeSet<(String, String, i64)> = BTreeSet::new();
    let mut days: BTreeMap<String, Days> = BTreeMap::new();
    for (source, site, device) in sources {
        let Some(township) = township(&site) else { continue };
        let bound = bound(connection, &site, &device, from_ms, to_ms)?;
        let known = days.entry(township.clone()).or_default();
        let mut begin = from_ms;
        while begin < to_ms {
            let end = begin.saturating_add(DAY_MS).min(to_ms);
            let (mut free_from, mut is_alone) = (begin, false);
            for (patient, from, until) in &bound {
                let (from, until) = ((*from).max(begin), (*until).min(end));
                if until <= from {
                    continue;
                }
                is_alone |= spoke.exists([source, free_from, from])?;
                free_from = until;
                if spoke.exists([source, from, until])? {
                    of_patients.insert((township.clone(), patient.clone(), begin));
                }
            }
            is_alone |= spoke.exists([source, free_from, end])?;
            known.device_days += usize::from(is_alone);
            begin = end;
        }
    }
    for (township, patient, _) in of_patients {
        let days = days.entry(township).or_default();
        days.patient_days += 1;
        days.monitored_days += usize::from(monitored.contains(&patient));
    }
    Ok(days)
}

/// On whom a device was in a time: the patient, from when, until when.
fn bound(
    connection: &Connection,
    site: &str,
    device: &str,
    from_ms: i64,
    to_ms: i64,
) -> rusqlite::Result<Vec<(String, i64, i64)>> {
    connection
        .prepare_cached(
            "SELECT patient, from_ms, coalesce(until_ms, ?4) FROM binding
             WHERE site = ?1 AND device = ?2 AND patient IS NOT NULL AND from_ms < ?4
             AND (until_ms IS NULL OR until_ms > ?3) ORDER BY from_ms",
        )?
        .query_map(params![site, device, from_ms, to_ms], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })?
        .collect()
}

fn of_township(name: &str, alerts: &[Told], days: Days, rules: &RuleSet) -> Value {
    let count = |is: &dyn Fn(&Told) -> bool| alerts.iter().filter(|told| is(told)).count();
    let of = |priority| count(&|told| told.facts.priority == priority);
    // What somebody had to answer: nobody is called by what was over, or is for a list.
    let calls = |told: &Told| !told.facts.retro && told.facts.priority != Priority::Low;
    let in_time = |told: &Told| {
        let Ok(site) = SiteId::new(&told.site) else { return false };
        let ladder = rules.times(&site).ladder.of(told.facts.priority);
        let within = ladder.second.or(ladder.township_doctor);
        calls(told)
            && told.acknowledged_after_ms.is_some_and(|ms| within.is_none_or(|max| ms <= max))
    };
    let acted = |told: &Told| calls(told) && told.facts.acted_on;
    let late = |told: &Told| told.facts.raised_at.unix_ms() - told.started_ms > LATE_MS;
    let all = count(&calls);
    let mut rules: BTreeMap<&str, usize> = BTreeMap::new();
    let mut devices: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    let mut beds: BTreeMap<&str, usize> = BTreeMap::new();
    for Told { facts, bed, .. } in alerts {
        facts.rules.iter().for_each(|rule| *rules.entry(rule).or_default() += 1);
        *devices.entry((&facts.subject.0, &facts.subject.1)).or_default() += 1;
        bed.iter().for_each(|bed| *beds.entry(bed).or_default() += 1);
    }
    let of_patients = count(&|told| told.of_patient);
    let of_monitored = count(&|told| told.is_monitored);
    let of_devices = alerts.len() - of_patients;
    let rules =
        noisiest(rules, NOISY_MAX).map(|(rule, alerts)| json!({"rule": rule, "alerts": alerts}));
    let beds = noisiest(beds, NOISY_MAX).map(|(bed, alerts)| json!({"bed": bed, "alerts": alerts}));
    let devices = noisiest(devices, NOISY_MAX)
        .map(|((site, device), alerts)| json!({"site": site, "device": device, "alerts": alerts}));
    json!({
        "township": name,
        "alerts": {"all": alerts.len(), "high": of(Priority::High),
            "medium": of(Priority::Medium), "low": of(Priority::Low)},
        "patient_days": days.patient_days,
        "of_patients": of_patients,
        "alerts_per_patient_day": ratio(of_patients, days.patient_days),
        "monitored_days": days.monitored_days,
        "of_monitored": of_monitored,
        "alerts_per_monitored_day": ratio(of_monitored, days.monitored_days),
        "device_days": days.device_days,
        "of_devices": of_devices,
        "alerts_per_device_day": ratio(of_devices, days.device_days),
        "to_answer": all,
        "acknowledged_in_time_percent": percent(count(&in_time), all),
        "acted_on_percent": percent(count(&acted), all),
        "retro": count(&|told| told.facts.retro),
        "late": count(&|told| !told.facts.retro && late(told)),
        "noisy_rules": rules.collect::<Vec<_>>(),
        "noisy_beds": beds.collect::<Vec<_>>(),
        "noisy_devices": devices.collect::<Vec<_>>(),
    })
}

/// The most frequent, and of equals the first by name.
pub(crate) fn noisiest<T: Ord>(
    counts: impl IntoIterator<Item = (T, usize)>,
    most: usize,
) -> impl Iterator<Item = (T, usize)> {
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by_key(|(_, count)| Reverse(*count));
    counts.into_iter().take(most)
}

/// With two digits behind the point; nothing of nothing is no number.
pub(crate) fn ratio(part: usize, of: usize) -> Option<f64> {
    let hundredths = part.checked_mul(100)?.checked_div(of)?;
    Some(f64::from(u32::try_from(hundredths).ok()?) / 100.0)
}

fn percent(part: usize, of: usize) -> Option<usize> {
    part.checked_mul(100)?.checked_div(of)
}

#[cfg(test)]
mod tests;
