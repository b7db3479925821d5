//! Who may be handed an alert, and whose orders count.

use super::{Action, Role};
use crate::duty;
use model::{id::SiteId, time::WallTime};
use rules::ladder::Level;
use rusqlite::{Connection, params};
use serde::Serialize;

/// Somebody who may act on the alerts of a site.
#[derive(Debug, Eq, PartialEq, Serialize)]
pub(crate) struct Able {
    pub(crate) name: String,
    pub(crate) role: String,
    /// As what they are on duty now.
    pub(crate) on_duty: Option<Level>,
}

/// Those who may act at a site, who is on duty first.
pub(crate) fn able(
    connection: &Connection,
    site: &SiteId,
    at: WallTime,
) -> rusqlite::Result<Vec<Able>> {
    let on_duty = duty::on_duty(connection, site, at)?;
    let mut statement = connection.prepare_cached(ABLE)?;
    let found = statement.query_map(params![site.as_str(), roles(site), None::<&str>], |row| {
        let name: String = row.get(0)?;
        let on_duty = on_duty.iter().find(|(_, person)| **person == name).map(|(level, _)| *level);
        Ok(Able { name, role: row.get(1)?, on_duty })
    })?;
    let mut able: Vec<Able> = found.collect::<Result<_, _>>()?;
    able.sort_by_key(|one| (one.on_duty.is_none(), one.on_duty));
    Ok(able)
}

/// Whether somebody may act at a site.
pub(crate) fn is_able(
    connection: &Connection,
    site: &SiteId,
    name: &str,
) -> rusqlite::Result<bool> {
    connection.prepare_cached(ABLE)?.exists(params![site.as_str(), roles(site), name])
}

/// Whose password somebody else knows has not been there yet.
const ABLE: &str = "SELECT name, role FROM person
    WHERE disabled = 0 AND given_password = 0
    AND role IN (SELECT value FROM json_each(?2)) AND (?3 IS NULL OR name = ?3)
    AND (scope IS NULL OR (SELECT name FROM township WHERE site = ?1)
         IN (SELECT value FROM json_each(scope)))
    ORDER BY name";

/// Whether somebody is a doctor of a clinic now.
pub(crate) fn is_doctor(
    connection: &Connection,
    clinic: &str,
    name: &str,
) -> rusqlite::Result<bool> {
    connection
        .prepare_cached(
            "SELECT 1 FROM person WHERE name = ?1 AND disabled = 0 AND role = ?2
             AND (scope IS NULL OR ?3 IN (SELECT value FROM json_each(scope)))",
        )?
        .exists(params![name, Role::Doctor.name(), clinic])
}

/// Who acts there, as JSON.
fn roles(site: &SiteId) -> String {
    let action = match *site == SiteId::county() {
        true => Action::ActOnServiceAlerts,
        false => Action::ActOnAlerts,
    };
    let roles: Vec<&str> = action.roles().iter().copied().map(Role::name).collect();
    serde_json::json!(roles).to_string()
}
