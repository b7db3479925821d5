//! What readings cost the county: a fleet's, and SQLite alone with the same rows.

use super::figure;
use anyhow::{Context as _, ensure};
use rusqlite::{Connection, params};
use serde_json::{Value, json};
use simulators::{
    fleet::{self, CountyPlace, FleetPlan},
    process::Program,
    usage::{Cost, Usage, rounded},
};
use std::{num::NonZeroU32, time::Duration};
use tokio::time::Instant;

const SITES: u16 = 20;
const DEVICES: u16 = 20;
/// Rows of one transaction of the reference: what a busy county takes in at once.
const ROWS: u64 = 10_000;
/// The reference inserts so many.
const REFERENCE: u64 = 500_000;

/// A fleet that sends so many readings a second, and the reference.
pub(crate) async fn ingest(rate: u32, seconds: u64) -> anyhow::Result<()> {
    let plan = FleetPlan {
        sites: SITES.try_into()?,
        devices: DEVICES.try_into()?,
        rate: NonZeroU32::new(rate).context("a rate of 0")?,
        duration: Duration::from_secs(seconds),
        commit_every: Duration::from_millis(250),
        seed: 1,
        breaks_every: None,
        county: CountyPlace::Own(Program::current()?),
    };
    let report = fleet::run(&plan).await?;
    figure("ingest", &json!({ "fleet": report, "sqlite_alone": sqlite_alone()? }))?;
    ensure!(report.lost == 0 && report.doubled == Some(0), "lost or doubled");
    Ok(())
}

/// The narrowest table that could hold the same readings, one row each, with the one index that a
/// chart needs; in transactions as large as those of the county, synced.
fn sqlite_alone() -> anyhow::Result<Value> {
    let folder = tempfile::tempdir()?;
    let mut connection = Connection::open(folder.path().join("alone.sqlite"))?;
    connection.execute_batch(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
         CREATE TABLE reading (site INTEGER, device INTEGER, metric INTEGER, observed_ms INTEGER,
           value TEXT, outbox INTEGER, seq INTEGER, place INTEGER);
         CREATE INDEX chart ON reading (site, device, metric, observed_ms);",
    )?;
    let own = std::process::id();
    let (began, before) = (Instant::now(), Usage::of(own)?);
    let series = u64::from(SITES) * u64::from(DEVICES) * 4;
    for first in (0..REFERENCE).step_by(usize::try_from(ROWS)?) {
        let transaction = connection.transaction()?;
        let mut insert =
            transaction.prepare("INSERT INTO reading VALUES (?1, ?2, ?3, ?4, ?5, ?1, ?6, ?7)")?;
        for number in first..first + ROWS {
            let (one, round) = (number % series, number / series);
            let (site, device) = (one / u64::from(DEVICES) / 4, one / 4 % u64::from(DEVICES));
            let value = (60 + number % 30).to_string();
            let numbers = [site, device, one % 4, 1_795_335_300_000 + round * 250, number / 100];
            let [site, device, metric, at, seq] = numbers.map(i64::try_from);
            let place = i64::try_from(number % 100)?;
            insert.execute(params![site?, device?, metric?, at?, value, seq?, place])?;
        }
        drop(insert);
        transaction.commit()?;
    }
    let over_s = began.elapsed().as_secs_f64();
    let cost = Cost::between(&before, &Usage::of(own)?, over_s);
    let readings = f64::from(u32::try_from(REFERENCE)?);
    Ok(json!({
        "readings": REFERENCE,
        "readings_per_s": rounded(readings / over_s, 0),
        "process": cost.per_reading(readings),
    }))
}
