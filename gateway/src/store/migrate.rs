//! Brings an older database to the schema of this gateway, in one transaction.
//!
//! # Invariants
//! - a step that has been released is never changed: a new one is put behind it

use rusqlite::{Connection, Transaction, TransactionBehavior, params};
use uplink_proto::envelope::peek;

/// Schema this gateway writes.
pub(crate) const SCHEMA: u32 = 2;

/// From nothing to schema 1, from there to 2, and so on.
const STEPS: [fn(&Transaction<'_>) -> rusqlite::Result<()>; 2] = [county, evidence];

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
    Ok(())
}
