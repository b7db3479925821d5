//! The questions the API asks the database, answered as JSON.

use crate::{
    clock::rfc3339,
    late, links,
    people::Scope,
    reading::{GROUPS, Group, said_by_box},
};
use model::{
    id::{Lane, OutboxId, SiteId},
    time::WallTime,
    waveform::WaveformBlock,
};
use rules::alert::AlertId;
use rusqlite::{
    Connection, OptionalExtension as _, Row, Rows, params, params_from_iter, types::Value as Sql,
};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use uplink_proto::{ranges::RangeSet, receiver::LaneLedger, samples};

/// Where every site is, until one says otherwise.
pub(crate) const TIME_ZONE: &str = "Asia/Shanghai";

/// What was done to a device is told so far back.
const ACTIONS_MAX: u32 = 20;
/// And what became of the clock of a site.
const CLOCK_CHANGES_MAX: u32 = 20;

/// Township clinics by site.
pub(crate) type Clinics = BTreeMap<SiteId, String>;

/// The place in an ascending list after which to go on: a moment, the row of those at that moment,
/// and of several things in that row the index of one.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct Place {
    at_ms: i64,
    id: i64,
    index: i64,
}

impl Place {
    /// Before everything.
    const BEGIN: Self = Self { at_ms: i64::MIN, id: i64::MIN, index: i64::MIN };

    /// Reads a cursor as [`Place::cursor`] writes it.
    pub(crate) fn parse(cursor: &str) -> Option<Self> {
        let mut parts = cursor.split('.').map(|part| part.parse().ok());
        let mut next = || parts.next().flatten();
        let place = Self { at_ms: next()?, id: next()?, index: next()? };
        parts.next().is_none().then_some(place)
    }

    /// Where to begin for what is behind `after` and not before a moment: SQLite seeks by one lower
    /// bound, and with two it may walk through the whole history.
    fn begin(after: Self, from_ms: Option<i64>) -> Self {
        from_ms.map_or(after, |at_ms| after.max(Self { at_ms, ..Self::BEGIN }))
    }

    fn cursor(self) -> String {
        format!("{}.{}.{}", self.at_ms, self.id, self.index)
    }
}

/// The first `limit` things in the rows behind a place, and the cursor to go on with when there
/// are more. `told` gives what is in a row, each with its index.
fn page(
    mut rows: Rows<'_>,
    after: Place,
    limit: u32,
    at: &str,
    told: impl Fn(&Row<'_>) -> rusqlite::Result<Vec<(i64, Value)>>,
) -> rusqlite::Result<(Vec<Value>, Option<String>)> {
    let mut found = Vec::new();
    let mut last = after;
    while let Some(row) = rows.next()? {
        let (at_ms, id) = (row.get(at)?, row.get("id")?);
        for (index, value) in told(row)? {
            if (id, index) <= (after.id, after.index) && at_ms == after.at_ms {
                continue;
            }
            if u32::try_from(found.len()).is_ok_and(|count| count >= limit) {
                return Ok((found, Some(last.cursor())));
            }
            found.push(value);
            last = Place { at_ms, id, index };
        }
    }
    Ok((found, None))
}

/// What is asked of readings.
#[derive(Debug, Default)]
pub(crate) struct ReadingFilter {
    pub(crate) site: Option<String>,
    pub(crate) device: Option<String>,
    pub(crate) patient: Option<String>,
    pub(crate) metric: Option<String>,
    pub(crate) from_ms: Option<i64>,
    pub(crate) to_ms: Option<i64>,
    pub(crate) after: Option<Place>,
    pub(crate) limit: u32,
    /// Whose they are.
    pub(crate) scope: Scope,
}

/// Readings ascending by the time at which the box heard them, by the county's clock; with the
/// place to go on from when there are more.
pub(crate) fn readings(connection: &Connection, filter: &ReadingFilter) -> rusqlite::Result<Value> {
    let (query, parameters) = groups_asked_for(connection, filter)?;
    let mut statement = connection.prepare(&query)?;
    let rows = statement.query(params_from_iter(parameters))?;
    let told = |row: &Row<'_>| {
        let group = Group::of_row(row)?;
        let wanted = filter.metric.as_deref();
        let readings = group.told().into_iter();
        let readings = readings.filter(|(metric, ..)| wanted.is_none_or(|name| name == *metric));
        Ok(readings.map(|(_, index, told)| (index, told)).collect())
    };
    let after = filter.after.unwrap_or(Place::BEGIN);
    let (found, next) = page(rows, after, filter.limit, "observed_ms", told)?;
    Ok(json!({"readings": found, "next_cursor": next}))
}

/// The question for the groups in which these readings are, and its parameters.
fn groups_asked_for(
    connection: &Connection,
    filter: &ReadingFilter,
) -> rusqlite::Result<(String, Vec<Sql>)> {
    let begin = Place::begin(filter.after.unwrap_or(Place::BEGIN), filter.from_ms);
    let mut conditions = vec!["(observed_ms, reading_group.id) >= (?1, ?2)".to_owned()];
    let mut parameters = vec![Sql::Integer(begin.at_ms), Sql::Integer(begin.id)];
    if let Some(to_ms) = filter.to_ms {
        parameters.push(Sql::Integer(to_ms));
        conditions.push(format!("observed_ms < ?{}", parameters.len()));
    }
    if filter.site.is_some() || filter.device.is_some() || filter.scope != Scope::County {
        let sources = sources(connection, filter)?;
        // Of one source the index has the order; of several that of all groups has it.
        conditions.push(match sources.as_slice() {
            [source] => format!("source = {source}"),
            sources => {
                let list: Vec<String> = sources.iter().map(ToString::to_string).collect();
                format!("+source IN ({})", list.join(","))
            }
        });
    }
    if let Some(patient) = &filter.patient {
        parameters.push(Sql::Text(patient.clone()));
        let number = parameters.len();
        // Of devices that never had to do with the patient nothing is looked at.
        conditions.push(format!(
            "+source IN (SELECT source.id FROM binding JOIN source USING (site, device)
               WHERE patient = ?{number} UNION SELECT of_patient.source
               FROM spot JOIN reading_group AS of_patient ON of_patient.id = spot.reading_group
               WHERE spot.patient = ?{number})
             AND CASE WHEN is_result THEN moved_to ELSE bound_patient END = ?{number}"
        ));
    }
    if let Some(metric) = &filter.metric {
        parameters.push(Sql::Text(metric.clone()));
        conditions
            .push(format!("instr(',' || metrics || ',', ',' || ?{} || ',') > 0", parameters.len()));
    }
    let query = format!(
        "{GROUPS} WHERE {} ORDER BY observed_ms, reading_group.id LIMIT {}",
        conditions.join(" AND "),
        // One more, and the one in which the last page ended.
        u64::from(filter.limit) + 2
    );
    Ok((query, parameters))
}

/// The devices that are asked for, as the groups name them.
fn sources(connection: &Connection, filter: &ReadingFilter) -> rusqlite::Result<Vec<i64>> {
    connection
        .prepare_cached(
            "SELECT id FROM source WHERE (?1 IS NULL OR site = ?1) AND (?2 IS NULL OR device = ?2)
             AND (?3 IS NULL OR site IN (SELECT value FROM json_each(?3)))",
        )?
        .query_map(params![filter.site, filter.device, filter.scope.sites()], |row| row.get(0))?
        .collect()
}

/// What is asked of waveforms.
#[derive(Debug)]
pub(crate) struct WaveformFilter {
    pub(crate) site: Option<String>,
    pub(crate) device: String,
    pub(crate) metric: String,
    pub(crate) from_ms: Option<i64>,
    pub(crate) to_ms: Option<i64>,
    pub(crate) after: Option<Place>,
    pub(crate) limit: u32,
    /// Whose they are.
    pub(crate) scope: Scope,
}

/// Waveform blocks of one lead, ascending by their start; with the place to go on from when there
/// are more.
pub(crate) fn waveforms(
    connection: &Connection,
    filter: &WaveformFilter,
) -> rusqlite::Result<Value> {
    let mut statement = connection.prepare_cached(
        "SELECT * FROM waveform WHERE device = ?1 AND metric = ?2
         AND (start_ms, id) > (?3, ?4) AND start_ms < ?5
         AND (?6 IS NULL OR site = ?6)
         AND (?7 IS NULL OR site IN (SELECT value FROM json_each(?7)))
         ORDER BY start_ms, id LIMIT ?8",
    )?;
    let after = filter.after.unwrap_or(Place::BEGIN);
    let begin = Place::begin(after, filter.from_ms);
    let rows = statement.query(params![
        filter.device,
        filter.metric,
        begin.at_ms,
        begin.id,
        filter.to_ms.unwrap_or(i64::MAX),
        filter.site,
        filter.scope.sites(),
        i64::from(filter.limit) + 1
    ])?;
    let told = |row: &Row<'_>| Ok(vec![(0, block_json(row)?)]);
    let (found, next) = page(rows, after, filter.limit, "start_ms", told)?;
    Ok(json!({"blocks": found, "next_cursor": next}))
}

/// A waveform block that was stored just now, begun then by our clock, as it is told of its row.
pub(crate) fn block_told(site: &SiteId, start: WallTime, block: &WaveformBlock) -> Value {
    let scale = block.scale.as_ref();
    json!({
        "site": site.as_str(), "device": block.device.as_str(),
        "channel": block.channel.as_str(), "metric": block.metric.name(),
        "start": rfc3339(start.unix_ms()), "box_start": rfc3339(block.start.at.unix_ms()),
        "period": {"num": block.period.numerator(), "den": block.period.denominator()},
        "scale": scale.map(|scale| scale.per_count.to_string()),
        "offset": scale.map(|scale| scale.offset),
        "unit": scale.map(|scale| scale.unit.as_str()),
        "samples": block.samples, "flags": flags(block),
    })
}

/// The names of the flags that are set.
pub(crate) fn flags(block: &WaveformBlock) -> Vec<&'static str> {
    let flags = [
        (block.flags.lead_off, "lead_off"),
        (block.flags.saturation, "saturation"),
        (block.flags.pacer, "pacer"),
    ];
    flags.into_iter().filter(|(set, _)| *set).map(|(_, name)| name).collect()
}

fn block_json(row: &Row<'_>) -> rusqlite::Result<Value> {
    let bytes: Vec<u8> = row.get("samples")?;
    let flags: String = row.get("flags")?;
    Ok(json!({
        "site": row.get::<_, String>("site")?, "device": row.get::<_, String>("device")?,
        "channel": row.get::<_, String>("channel")?, "metric": row.get::<_, String>("metric")?,
        "start": rfc3339(row.get("start_ms")?),
        "box_start": rfc3339(said_by_box(row, "start_ms")?),
        "period": {"num": row.get::<_, i64>("period_num")?, "den": row.get::<_, i64>("period_den")?},
        "scale": row.get::<_, Option<String>>("scale")?, "offset": row.get::<_, Option<i64>>("zero")?,
        "unit": row.get::<_, Option<String>>("unit")?,
        "samples": samples::decode(&bytes).unwrap_or_default(),
        "flags": flags.split(',').filter(|flag| !flag.is_empty()).collect::<Vec<_>>(),
    }))
}

/// Devices, each with who took it off. Before a device was, its patient was taken off.
const DEVICES: &str = "SELECT device.*, (SELECT CASE WHEN json_valid(engine.state) THEN coalesce(
         json_extract(engine.state, '$.devices.\"' || device.device || '\".out_of_service'),
         json_extract(engine.state, '$.out_of_service')) END
       FROM engine WHERE engine.site = device.site AND engine.device = coalesce(
         (SELECT 'patient:' || binding.patient FROM binding
          WHERE binding.site = device.site AND binding.device = device.device
          AND until_ms IS NULL), device.device)) AS out_of_service
     FROM device";

/// One device, without its latest readings.
pub(crate) fn device(
    connection: &Connection,
    site: &str,
    device: &str,
) -> rusqlite::Result<Option<Value>> {
    connection
        .prepare_cached(&format!("{DEVICES} WHERE site = ?1 AND device = ?2"))?
        .query_row([site, device], device_json)
        .optional()
}

fn device_json(row: &Row<'_>) -> rusqlite::Result<Value> {
    let about: String = row.get("about")?;
    let out: Option<String> = row.get("out_of_service")?;
    let out: Option<Value> = out.and_then(|out| serde_json::from_str(&out).ok());
    Ok(json!({
        "out_of_service": out.as_ref().map(taken_off),
        "site": row.get::<_, String>("site")?, "device": row.get::<_, String>("device")?,
        "kind": row.get::<_, String>("kind")?, "driver": row.get::<_, String>("driver")?,
        "state": row.get::<_, String>("state")?, "state_reason": row.get::<_, String>("reason")?,
        "about": serde_json::from_str::<Value>(&about).unwrap_or_default(),
        "changed_at": rfc3339(row.get("changed_ms")?),
        "expected_interval_ms": row.get::<_, Option<i64>>("expected_interval_ms")?,
    }))
}

/// Who took a device off, as rules keep it.
fn taken_off(out: &Value) -> Value {
    let moment = |key| out.get(key).and_then(Value::as_i64).map(rfc3339);
    json!({"by": out.get("by"), "at": moment("at"), "reason": out.get("reason"),
        "until": moment("until")})
}

/// Every device with the latest reading of each of its series.
pub(crate) fn devices(
    connection: &Connection,
    clinics: &Clinics,
    now: WallTime,
) -> rusqlite::Result<Value> {
    let mut statement = connection.prepare_cached(&format!("{DEVICES} ORDER BY site, device"))?;
    let devices: Vec<Value> = statement.query_map([], device_json)?.collect::<Result<_, _>>()?;
    let mut told = Vec::new();
    for mut device in devices {
        let (site, id) = (text(&device, "site"), text(&device, "device"));
        let readings = latest(connection, &site, &id)?;
        let seen = readings.iter().filter_map(|reading| reading.get("placed_time")?.as_str()).max();
        let seen = seen.map(ToOwned::to_owned);
        if let Some(fields) = device.as_object_mut() {
            fields.insert("clinic".to_owned(), json!(clinic(clinics, &site)));
            fields.insert("last_observed".to_owned(), json!(seen));
            fields.insert("latest".to_owned(), json!(readings));
            fields.insert("actions".to_owned(), actions(connection, &site, &id)?);
            let lost = links::of_device(connection, &site, &id, now)?;
            fields.insert("lost_24h".to_owned(), lost);
        }
        told.push(device);
    }
    Ok(json!({"devices": told}))
}

/// The newest reading of each series of a device, in the order in which they came.
fn latest(connection: &Connection, site: &str, device: &str) -> rusqlite::Result<Vec<Value>> {
    let mut statement = connection.prepare_cached(&format!(
        "{GROUPS} WHERE reading_group.id IN (SELECT reading_group FROM latest_group
           WHERE source = (SELECT id FROM source WHERE site = ?1 AND device = ?2))
         ORDER BY (SELECT place_ms FROM latest_group AS latest
           WHERE latest.source = reading_group.source
           AND latest.reading_group = reading_group.id), reading_group.id"
    ))?;
    let mut rows = statement.query([site, device])?;
    let mut newest = BTreeMap::new();
    while let Some(row) = rows.next()? {
        let (id, group): (i64, _) = (row.get("id")?, Group::of_row(row)?);
        for (metric, index, told) in group.told() {
            newest.insert((group.channel.clone(), metric.to_owned()), (id, index, told));
        }
    }
    let mut newest: Vec<_> = newest.into_values().collect();
    newest.sort_by_key(|(id, index, _)| (*id, *index));
    Ok(newest.into_iter().map(|(.., told)| told).collect())
}

/// What was done to a device, the latest first.
fn actions(connection: &Connection, site: &str, device: &str) -> rusqlite::Result<Value> {
    let mut statement = connection.prepare_cached(
        "SELECT action, text, observed_ms FROM device_action WHERE site = ?1 AND device = ?2
         ORDER BY id DESC LIMIT ?3",
    )?;
    let told = |row: &Row<'_>| {
        let (action, text): (String, String) = (row.get("action")?, row.get("text")?);
        Ok(json!({"action": action, "text": text, "at": rfc3339(row.get("observed_ms")?)}))
    };
    let actions = statement.query_map(params![site, device, ACTIONS_MAX], told)?;
    Ok(Value::Array(actions.collect::<Result<_, _>>()?))
}

/// Every site that is configured or has spoken.
pub(crate) fn sites(
    connection: &Connection,
    clinics: &Clinics,
    now: WallTime,
) -> rusqlite::Result<Value> {
    let mut sites: BTreeMap<String, Value> = clinics
        .iter()
        .map(|(site, name)| {
            let silent = json!({"site": site.as_str(), "clinic": name, "time_zone": TIME_ZONE,
                "online": false, "last_seen": null, "agent_version": null, "clock": null,
                "clock_evidence": "", "clock_changes": [],
                "backlog": {"urgent": 0, "trend": 0, "wave": 0}, "holds_s": null,
                "replay": null, "late": null, "lost_24h": null});
            (site.to_string(), silent)
        })
        .collect();
    let mut statement = connection.prepare_cached("SELECT * FROM site")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let (site, mut told): (String, _) =
            (row.get("site")?, with_clinic(site_json(row)?, clinics));
        if let Some(fields) = told.as_object_mut() {
            fields.insert("clock_changes".to_owned(), clock_changes(connection, &site)?);
            fields.insert("lost_24h".to_owned(), links::of_box(connection, &site, now)?);
        }
        late::of_site(connection, &mut told)?;
        sites.insert(site, told);
    }
    Ok(json!({"sites": sites.into_values().collect::<Vec<_>>()}))
}

/// What became of the clock of a site, the latest first.
fn clock_changes(connection: &Connection, site: &str) -> rusqlite::Result<Value> {
    let mut statement = connection
        .prepare_cached("SELECT * FROM clock_change WHERE site = ?1 ORDER BY id DESC LIMIT ?2")?;
    let told = |row: &Row<'_>| {
        Ok(json!({
            "before": rfc3339(row.get("before_ms")?), "at": rfc3339(row.get("at_ms")?),
            "clock": row.get::<_, String>("quality")?,
            "evidence": row.get::<_, String>("evidence")?,
            "received_time": rfc3339(row.get("received_ms")?),
        }))
    };
    let changes = statement.query_map(params![site, CLOCK_CHANGES_MAX], told)?;
    Ok(Value::Array(changes.collect::<Result<_, _>>()?))
}

/// One site that has spoken, without its clinic and what became of its clock.
pub(crate) fn site(connection: &Connection, site: &SiteId) -> rusqlite::Result<Option<Value>> {
    connection
        .prepare_cached("SELECT * FROM site WHERE site = ?1")?
        .query_row([site.as_str()], site_json)
        .optional()?
        .map(|mut told| late::of_site(connection, &mut told).map(|()| told))
        .transpose()
}

fn site_json(row: &Row<'_>) -> rusqlite::Result<Value> {
    let backlog: String = row.get("backlog")?;
    let mut backlog: Value = serde_json::from_str(&backlog).unwrap_or_default();
    // It is stored with what waits.
    let holds_s = backlog.as_object_mut().and_then(|backlog| backlog.remove("holds_s"));
    Ok(json!({
        "site": row.get::<_, String>("site")?, "time_zone": TIME_ZONE,
        "online": row.get::<_, bool>("online")?, "last_seen": rfc3339(row.get("changed_ms")?),
        "agent_version": row.get::<_, String>("agent_version")?, "clock": row.get::<_, String>("clock")?,
        "clock_evidence": row.get::<_, String>("clock_evidence")?,
        "outbox": row.get::<_, String>("outbox")?,
        "backlog": backlog, "holds_s": holds_s, "replay": null,
    }))
}

/// Sites that are called online and have told nothing since: they are offline from now on.
pub(crate) fn give_up_sites(
    connection: &Connection,
    since: WallTime,
) -> rusqlite::Result<Vec<(SiteId, Value)>> {
    let mut statement = connection.prepare_cached(
        "UPDATE site SET online = 0 WHERE online = 1 AND changed_ms < ?1 RETURNING *",
    )?;
    let mut rows = statement.query([since.unix_ms()])?;
    let mut told = Vec::new();
    while let Some(row) = rows.next()? {
        let site: String = row.get("site")?;
        if let Ok(site) = SiteId::new(&site) {
            let heard = WallTime::from_unix_ms(row.get("changed_ms")?);
            links::lose_box(connection, &site, heard)?;
            let mut one = site_json(row)?;
            late::of_site(connection, &mut one)?;
            told.push((site, one));
        }
    }
    Ok(told)
}

/// Asks for all alerts that somebody should look at, whatever their state.
pub(crate) const OPEN_ALERTS: &str = "open";

/// What is asked of alerts.
#[derive(Debug, Default)]
pub(crate) struct AlertFilter {
    /// A state, or `open` for all that somebody should look at.
    pub(crate) state: Option<String>,
    pub(crate) site: Option<String>,
    pub(crate) from_ms: Option<i64>,
    pub(crate) to_ms: Option<i64>,
    /// Those about the county's own service, or those of clinics; `None`: both.
    pub(crate) service: Option<bool>,
    /// Whose they are.
    pub(crate) scope: Scope,
}

/// The newest of a bad week.
const ALERTS_MAX: usize = 5000;

/// Alerts, oldest first, and whether there are more than these.
pub(crate) fn alerts(
    connection: &Connection,
    filter: &AlertFilter,
    clinics: &Clinics,
) -> rusqlite::Result<Value> {
    // One more, to know whether there is.
    let asked = ALERTS_MAX + 1;
    let mut statement = connection.prepare_cached(&format!(
        "SELECT body FROM alert WHERE (?1 IS NULL OR state = ?1 OR (?1 = '{OPEN_ALERTS}' AND state <> 'closed'))
         AND (?2 IS NULL OR site = ?2) AND (?3 IS NULL OR started_ms >= ?3) AND (?4 IS NULL OR started_ms < ?4)
         AND (?5 IS NULL OR (site = ?6) = ?5)
         AND (?7 IS NULL OR site IN (SELECT value FROM json_each(?7)))
         ORDER BY started_ms DESC LIMIT {asked}"
    ))?;
    let rows = statement.query_map(
        params![
            filter.state,
            filter.site,
            filter.from_ms,
            filter.to_ms,
            filter.service,
            SiteId::county().as_str(),
            filter.scope.sites()
        ],
        |row| row.get::<_, String>(0),
    )?;
    let mut alerts = Vec::new();
    for body in rows {
        alerts.push(with_clinic(serde_json::from_str(&body?).unwrap_or_default(), clinics));
    }
    let truncated = alerts.len() > ALERTS_MAX;
    alerts.truncate(ALERTS_MAX);
    alerts.reverse();
    Ok(json!({"alerts": alerts, "truncated": truncated}))
}

/// One alert.
pub(crate) fn alert(
    connection: &Connection,
    id: &str,
    clinics: &Clinics,
) -> rusqlite::Result<Option<Value>> {
    let body: Option<String> = connection
        .query_row(
            "SELECT body FROM alert
             WHERE id = coalesce((SELECT alert FROM alert_joined WHERE id = ?1), ?1)",
            [id],
            |row| row.get(0),
        )
        .optional()?;
    Ok(body.map(|body| with_clinic(serde_json::from_str(&body).unwrap_or_default(), clinics)))
}

/// The site of an alert.
pub(crate) fn site_of_alert(
    connection: &Connection,
    id: AlertId,
) -> rusqlite::Result<Option<String>> {
    connection
        .query_row("SELECT site FROM alert WHERE id = ?1", [id.to_string()], |row| row.get(0))
        .optional()
}

/// An alert or device with the name of its clinic.
pub(crate) fn with_clinic(mut json: Value, clinics: &Clinics) -> Value {
    let name = clinic(clinics, &text(&json, "site"));
    if let Some(fields) = json.as_object_mut() {
        fields.insert("clinic".to_owned(), json!(name));
    }
    json
}

pub(crate) fn clinic(clinics: &Clinics, site: &str) -> Option<String> {
    clinics.get(&SiteId::new(site).ok()?).cloned()
}

fn text(json: &Value, key: &str) -> String {
    json.get(key).and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// A generation as people and programs read it: as a number it is too large for some of them.
pub(crate) fn generation_name(generation: i64) -> String {
    format!("{generation:016x}")
}

/// Which county it is: a restored one is another, and what it told before may be gone from it.
pub(crate) fn generation(connection: &Connection) -> rusqlite::Result<String> {
    connection.query_row("SELECT generation FROM county", [], |row| row.get(0)).map(generation_name)
}

/// The account of one lane.
pub(crate) fn lane_ledger(
    connection: &Connection,
    site: &SiteId,
    outbox: OutboxId,
    lane: Lane,
) -> rusqlite::Result<LaneLedger> {
    let found = connection
        .prepare_cached("SELECT * FROM ledger WHERE site = ?1 AND outbox = ?2 AND lane = ?3")?
        .query_row(params![site.as_str(), outbox.to_string(), lane.name()], ledger_of)
        .optional()?;
    Ok(found.unwrap_or_default())
}

/// The account in a row of the table `ledger`.
pub(crate) fn ledger_of(row: &Row<'_>) -> rusqlite::Result<LaneLedger> {
    let parse = |name| -> rusqlite::Result<RangeSet> {
        let text: String = row.get(name)?;
        text.parse().map_err(|_| rusqlite::Error::InvalidQuery)
    };
    Ok(LaneLedger {
        received: parse("received")?,
        dropped: parse("dropped")?,
        quarantined: parse("quarantined")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Store;
    use rusqlite::StatementStatus;

    const GROUPS_STORED: i32 = 10_000;

    /// A group of one device at each millisecond.
    const HISTORY: &str = "
        INSERT INTO source VALUES (1, 'heping', 'ecg-01');
        INSERT INTO outbox_lane VALUES (1, 'heping', '07', 'trend');
        INSERT INTO metric_list VALUES (1, 'hr');
        WITH RECURSIVE moment(ms) AS (SELECT 1 UNION ALL SELECT ms + 1 FROM moment LIMIT 10000)
        INSERT INTO reading_group (source, outbox_lane, seq, idx, channel, metric_list, said,
          observed_ms, received_ms, measured_ms, time_suspect)
        SELECT 1, 1, ms, 0, '', 1, '[\"72\"]', ms, ms, ms, 0 FROM moment;";

    #[test]
    fn what_was_before_a_moment_is_not_looked_at() {
        let folder = tempfile::tempdir().unwrap();
        let connection = Store::connection(&folder.path().join("county.sqlite")).unwrap();
        connection.execute_batch(HISTORY).unwrap();
        let at = |at_ms| Some(Place { at_ms, id: at_ms, index: 0 });
        let device = || Some("ecg-01".to_owned());
        // The cursor is the later of the two, or from is, or there is no cursor.
        for (device, from_ms, after, first) in [
            (None, 9990, None, 9990),
            (device(), 9990, None, 9990),
            (device(), 9980, at(9989), 9990),
            (device(), 9990, at(10), 9990),
            (None, 10, at(9989), 9990),
        ] {
            let from_ms = Some(from_ms);
            let filter = ReadingFilter { device, from_ms, after, limit: 100, ..Default::default() };
            let (query, parameters) = groups_asked_for(&connection, &filter).unwrap();
            let mut statement = connection.prepare(&query).unwrap();
            let found = statement.query(params_from_iter(parameters)).unwrap();
            assert!(found.mapped(|_| Ok(())).count() <= 12);
            let steps = statement.get_status(StatementStatus::VmStep);
            assert!(steps < GROUPS_STORED / 2, "{steps} steps");
            let told = readings(&connection, &filter).unwrap();
            let told: Vec<&Value> = told["readings"]
                .as_array()
                .unwrap()
                .iter()
                .map(|one| &one["placed_time"])
                .collect();
            let expected: Vec<String> = (first..=10_000).map(rfc3339).collect();
            assert_eq!(json!(told), json!(expected));
        }
    }
}
