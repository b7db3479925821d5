//! Names that repeat in every row, as small numbers; of one transaction.

use model::id::{DeviceId, Lane, OutboxId, SiteId};
use rusqlite::{Connection, OptionalExtension as _, Params};
use std::collections::{BTreeMap, BTreeSet};

/// Devices of one site: ten times what the largest township clinic has. A box that makes up names
/// must not fill the county with devices, rule states and alerts.
pub(super) const DEVICES_MAX: i64 = 1000;

/// Numbers that were asked for; those that were given in a transaction go with it.
#[derive(Debug, Default)]
pub(super) struct Names {
    sources: BTreeMap<(SiteId, DeviceId), i64>,
    /// Sites with as many devices as they may have.
    full: BTreeSet<SiteId>,
    lanes: BTreeMap<(SiteId, OutboxId, Lane), i64>,
    metrics: BTreeMap<String, i64>,
}

impl Names {
    /// Whether a device is known, or its site may have one more: then it is known from now on.
    pub(super) fn admit(
        &mut self,
        connection: &Connection,
        site: &SiteId,
        device: &DeviceId,
    ) -> rusqlite::Result<bool> {
        if self.sources.contains_key(&(site.clone(), device.clone())) {
            return Ok(true);
        }
        let known = "SELECT 1 FROM source WHERE site = ?1 AND device = ?2";
        let place = [site.as_str(), device.as_str()];
        if !connection.prepare_cached(known)?.exists(place)? {
            if !self.full.contains(site) && devices(connection, site)? >= DEVICES_MAX {
                self.full.insert(site.clone());
            }
            if self.full.contains(site) {
                return Ok(false);
            }
        }
        self.source(connection, site, device)?;
        Ok(true)
    }

    pub(super) fn source(
        &mut self,
        connection: &Connection,
        site: &SiteId,
        device: &DeviceId,
    ) -> rusqlite::Result<i64> {
        let key = (site.clone(), device.clone());
        if let Some(known) = self.sources.get(&key) {
            return Ok(*known);
        }
        let number = number(
            connection,
            "SELECT id FROM source WHERE site = ?1 AND device = ?2",
            "INSERT INTO source (site, device) VALUES (?1, ?2)",
            [site.as_str(), device.as_str()],
        )?;
        self.sources.insert(key, number);
        Ok(number)
    }

    pub(super) fn lane(
        &mut self,
        connection: &Connection,
        site: &SiteId,
        outbox: OutboxId,
        lane: Lane,
    ) -> rusqlite::Result<i64> {
        let key = (site.clone(), outbox, lane);
        if let Some(known) = self.lanes.get(&key) {
            return Ok(*known);
        }
        let number = number(
            connection,
            "SELECT id FROM outbox_lane WHERE site = ?1 AND outbox = ?2 AND lane = ?3",
            "INSERT INTO outbox_lane (site, outbox, lane) VALUES (?1, ?2, ?3)",
            [site.as_str(), &outbox.to_string(), lane.name()],
        )?;
        self.lanes.insert(key, number);
        Ok(number)
    }

    pub(super) fn metrics(
        &mut self,
        connection: &Connection,
        names: &str,
    ) -> rusqlite::Result<i64> {
        if let Some(known) = self.metrics.get(names) {
            return Ok(*known);
        }
        let number = number(
            connection,
            "SELECT id FROM metric_list WHERE metrics = ?1",
            "INSERT INTO metric_list (metrics) VALUES (?1)",
            [names],
        )?;
        self.metrics.insert(names.to_owned(), number);
        Ok(number)
    }
}

fn devices(connection: &Connection, site: &SiteId) -> rusqlite::Result<i64> {
    connection
        .prepare_cached("SELECT count(*) FROM source WHERE site = ?1")?
        .query_row([site.as_str()], |row| row.get(0))
}

fn number(
    connection: &Connection,
    question: &str,
    insertion: &str,
    names: impl Params + Clone,
) -> rusqlite::Result<i64> {
    let found = connection
        .prepare_cached(question)?
        .query_row(names.clone(), |row| row.get(0))
        .optional()?;
    match found {
        Some(number) => Ok(number),
        None => connection.prepare_cached(insertion)?.insert(names),
    }
}
