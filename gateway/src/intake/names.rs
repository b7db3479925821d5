//! Names that repeat in every row, as small numbers; of one transaction.

use model::id::{DeviceId, Lane, OutboxId, SiteId};
use rusqlite::{Connection, OptionalExtension as _, Params};
use std::collections::BTreeMap;

/// Numbers that were asked for; those that were given in a transaction go with it.
#[derive(Debug, Default)]
pub(super) struct Names {
    sources: BTreeMap<(SiteId, DeviceId), i64>,
    lanes: BTreeMap<(SiteId, OutboxId, Lane), i64>,
    metrics: BTreeMap<String, i64>,
}

impl Names {
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
