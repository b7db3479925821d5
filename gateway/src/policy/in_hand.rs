//! Alerts that somebody at the county has in hand or has put on the shelf, as their box is told.

use crate::clock::parse_rfc3339;
use model::{
    alarm::Priority,
    alert::{Acknowledged, InHand, Shelved},
    id::SiteId,
    time::WallTime,
};
use rules::alert::AlertId;
use rusqlite::{Connection, Row, params};
use std::collections::{BTreeMap, BTreeSet};
use uplink_proto::policy::IN_HAND_MAX;

/// What was over when somebody saw it waits at its box still: it is told for so long.
const SEEN_MS: i64 = 3_600_000;
/// Of the county's newest acts so many are looked at for it.
const ACTS_MAX: u32 = 256;

/// All of it, by site; of a site the most urgent and the newest, in the order of their ids.
pub(crate) fn all(
    connection: &Connection,
    now: WallTime,
) -> rusqlite::Result<BTreeMap<SiteId, Vec<InHand>>> {
    let mut of_sites: BTreeMap<SiteId, Vec<InHand>> = BTreeMap::new();
    let mut statement = connection.prepare_cached(&format!(
        "SELECT id, site, priority, body FROM alert WHERE state <> 'closed'
           AND (body ->> 'acknowledged_by' IS NOT NULL OR body ->> 'shelved_by' IS NOT NULL)
         UNION SELECT alert.id, site, priority, alert.body
           FROM (SELECT CASE WHEN json_valid(body) THEN body END AS body
                 FROM audit ORDER BY id DESC LIMIT {ACTS_MAX}) AS act
           JOIN alert ON alert.id = act.body ->> '$[5]'
           WHERE state = 'closed' AND act.body ->> '$[4]' = 'acknowledge'
             AND act.body ->> '$[2]' > ?1"
    ))?;
    let found = statement.query_map(params![now.unix_ms() - SEEN_MS], of_row)?;
    for found in found {
        let Some((site, alert)) = found? else { continue };
        let ids = ids_at_the_box(connection, alert.id)?;
        let of_box = ids.into_iter().map(|id| InHand { id, ..alert.clone() });
        of_sites.entry(site).or_default().extend(of_box);
    }
    for alerts in of_sites.values_mut() {
        let newest = |alert: &InHand| alert.acknowledged.as_ref().map(|by| by.at);
        alerts.sort_by_key(|alert| std::cmp::Reverse((alert.priority, newest(alert))));
        alerts.truncate(IN_HAND_MAX);
        alerts.sort_by_key(|alert| alert.id);
    }
    Ok(of_sites)
}

/// What an alert is called at its box: what the county knew by another id before it is that here.
fn ids_at_the_box(connection: &Connection, id: [u8; 16]) -> rusqlite::Result<BTreeSet<[u8; 16]>> {
    let name = AlertId::from_bytes(id).to_string();
    let joined: Vec<String> = connection
        .prepare_cached("SELECT alert FROM edge_period WHERE joined = ?1 AND alert <> joined")?
        .query_map([name], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    let joined = joined.iter().filter_map(|id| Some(*AlertId::from_hex(id)?.as_bytes()));
    Ok(joined.chain([id]).collect())
}

/// Whether a box that was told this has to hear that: somebody has something in hand, or has not any
/// more. That an alert is over it knows first.
pub(super) fn is_news(
    connection: &Connection,
    told: &[InHand],
    present: &[InHand],
) -> rusqlite::Result<bool> {
    if present.iter().any(|alert| !told.contains(alert)) {
        return Ok(true);
    }
    let mut calls = connection.prepare_cached(
        "SELECT 1 FROM alert WHERE id = ?1 AND state NOT IN ('closed', 'cleared_unack')",
    )?;
    for alert in told.iter().filter(|alert| !present.contains(alert)) {
        if calls.exists([AlertId::from_bytes(alert.id).to_string()])? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn of_row(row: &Row<'_>) -> rusqlite::Result<Option<(SiteId, InHand)>> {
    let [id, site, priority, body]: [String; 4] =
        [row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?];
    let body: serde_json::Value = serde_json::from_str(&body).unwrap_or_default();
    let text = |key| body.get(key)?.as_str().map(str::to_owned);
    let moment = |key| Some(WallTime::from_unix_ms(parse_rfc3339(&text(key)?)?));
    let read = || {
        let acknowledged = || {
            let (by, reason) = (text("acknowledged_by")?, text("reason")?);
            Some(Acknowledged { by, reason, at: moment("acknowledged_at")? })
        };
        let shelved = || Some(Shelved { by: text("shelved_by")?, until: moment("shelved_until")? });
        let recurrences = body.get("recurrences")?.as_u64()?;
        let alert = InHand {
            id: *AlertId::from_hex(&id)?.as_bytes(),
            priority: Priority::from_name(&priority)?,
            recurrences: u32::try_from(recurrences).ok()?,
            acknowledged: acknowledged(),
            shelved: shelved(),
        };
        Some((SiteId::stored(&site).ok()?, alert))
    };
    Ok(read())
}
