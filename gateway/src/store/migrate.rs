//! Brings an older database to the schema of this gateway, in one transaction.
//!
//! # Invariants
//! - a step that has been released is never changed: a new one is put behind it

mod delta;
mod groups;

use rusqlite::{Connection, Transaction, TransactionBehavior, params};
use uplink_proto::{envelope::peek, samples};

/// Schema this gateway writes.
pub(crate) const SCHEMA: u32 = 19;

/// From nothing to schema 1, from there to 2, and so on.
const STEPS: [fn(&Transaction<'_>) -> rusqlite::Result<()>; 19] = [
    county,
    evidence,
    groups,
    |transaction| transaction.execute_batch(include_str!("../../migrations/0004_clocks.sql")),
    |transaction| transaction.execute_batch(include_str!("../../migrations/0005_audit.sql")),
    |transaction| transaction.execute_batch(include_str!("../../migrations/0006_patients.sql")),
    |transaction| transaction.execute_batch(include_str!("../../migrations/0007_rule_sets.sql")),
    |transaction| transaction.execute_batch(include_str!("../../migrations/0008_late.sql")),
    |transaction| transaction.execute_batch(include_str!("../../migrations/0009_duty.sql")),
    |transaction| {
        transaction.execute_batch(include_str!("../../migrations/0010_notifications.sql"))
    },
    |transaction| transaction.execute_batch(include_str!("../../migrations/0011_people.sql")),
    |transaction| transaction.execute_batch(include_str!("../../migrations/0012_boards.sql")),
    |transaction| transaction.execute_batch(include_str!("../../migrations/0013_upkeep.sql")),
    |transaction| transaction.execute_batch(include_str!("../../migrations/0014_joined.sql")),
    |transaction| transaction.execute_batch(include_str!("../../migrations/0015_told.sql")),
    |transaction| transaction.execute_batch(include_str!("../../migrations/0016_links.sql")),
    |transaction| transaction.execute_batch(include_str!("../../migrations/0017_strips.sql")),
    |transaction| transaction.execute_batch(include_str!("../../migrations/0018_audit_head.sql")),
    |transaction| transaction.execute_batch(include_str!("../../migrations/0019_alarms.sql")),
];

/// Takes every step the database has not taken yet.
pub(super) fn migrate(mut connection: Connection) -> rusqlite::Result<Connection> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    // Another process may have been first.
    let found: u32 = transaction.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    for (schema, step) in (1..=SCHEMA).zip(STEPS).filter(|(schema, _)| *schema > found) {
        step(&transaction)?;
        transaction.pragma_update(None, "user_version", schema)?;
    }
    transaction.commit()?;
    Ok(connection)
}

fn county(transaction: &Transaction<'_>) -> rusqlite::Result<()> {
    transaction.execute_batch(include_str!("../../migrations/0001_county.sql"))
}

/// What was kept aside before says itself where it belongs.
fn evidence(transaction: &Transaction<'_>) -> rusqlite::Result<()> {
    transaction.execute_batch(include_str!("../../migrations/0002_evidence.sql"))?;
    let mut aside = transaction.prepare("SELECT id, bytes FROM quarantine")?;
    let mut place = transaction
        .prepare("UPDATE quarantine SET outbox = ?2, lane = ?3, seq = ?4 WHERE id = ?1")?;
    let mut rows = aside.query([])?;
    let mut places = Vec::new();
    while let Some(row) = rows.next()? {
        let (id, bytes): (i64, Vec<u8>) = (row.get(0)?, row.get(1)?);
        places.extend(peek(&bytes).ok().map(|header| (id, header)));
    }
    for (id, header) in places {
        let seq = i64::try_from(header.seq.get()).unwrap_or(i64::MAX);
        place.execute(params![id, header.outbox.to_string(), header.lane.name(), seq])?;
    }
    waveforms(transaction)
}

/// Databases of schema 1 have samples of codec 1 or of codec 2; which, their checksum tells.
fn waveforms(transaction: &Transaction<'_>) -> rusqlite::Result<()> {
    let mut next = transaction
        .prepare("SELECT id, samples FROM waveform WHERE id > ?1 ORDER BY id LIMIT 1000")?;
    let mut change = transaction.prepare("UPDATE waveform SET samples = ?2 WHERE id = ?1")?;
    let mut after = 0_i64;
    loop {
        let blocks: Vec<(i64, Vec<u8>)> = next
            .query_map([after], |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect::<Result<_, _>>()?;
        let Some((last, _)) = blocks.last() else { return Ok(()) };
        after = *last;
        let of_codec_1 = blocks.iter().filter(|(_, bytes)| samples::decode(bytes).is_none());
        for (id, bytes) in of_codec_1 {
            // What is of neither codec stays as it is.
            if let Some(block) = delta::decode(bytes) {
                change.execute(params![id, samples::encode(&block)])?;
            }
        }
    }
}

/// Readings that were a row each become groups.
fn groups(transaction: &Transaction<'_>) -> rusqlite::Result<()> {
    transaction.execute_batch(include_str!("../../migrations/0003_reading_groups.sql"))?;
    groups::gather(transaction)?;
    // Indexes are faster made of what is there.
    transaction.execute_batch(
        "DROP TABLE latest; DROP TABLE reading;
         CREATE INDEX reading_group_observed ON reading_group (observed_ms);
         CREATE INDEX reading_group_series ON reading_group (source, observed_ms);
         CREATE INDEX reading_group_identity ON reading_group (source, identity)
           WHERE identity IS NOT NULL;
         CREATE INDEX reading_group_copies ON reading_group (duplicate_of)
           WHERE duplicate_of IS NOT NULL;",
    )
}

#[cfg(test)]
mod tests;
