//! The proof where an outbox deletes what is acked or gives rows up: a thread writes every envelope
//! down as it is committed, and each is looked for at the county, as itself or in a drop record.
//!
//! # Invariants
//! - a number that the thread has not seen is an error, unless a drop record counts it

use super::{Proof, Rows, agree, expect, told};
use crate::read_only;
use anyhow::{Context as _, bail, ensure};
use aws_lc_rs::digest::{SHA256, digest};
use model::id::{Lane, OutboxId, Seq};
use rusqlite::{Connection, OptionalExtension as _, params};
use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};
use uplink_proto::{
    envelope::{Envelope, peek},
    ranges::RangeSet,
};

/// A row that is acked stays for longer than this, however full the outbox is.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Every envelope of an outbox and lane.
type Committed = BTreeMap<(OutboxId, Lane), BTreeMap<Seq, Vec<u8>>>;

/// Looks into the outbox at a path, whichever file is there.
#[derive(Debug, Default)]
pub struct Witness {
    stopped: Arc<AtomicBool>,
    committed: Arc<Mutex<Committed>>,
    looking: Option<JoinHandle<()>>,
}

/// What was committed and what became of it.
#[derive(Clone, Debug, Default)]
pub struct Witnessed {
    /// What the county has.
    pub proof: Proof,
    /// Numbers that drop records count: urgent, trend, wave.
    pub dropped: [u64; 3],
    /// Outboxes there were.
    pub outboxes: usize,
}

impl Witness {
    /// Begins to look, before there is a file.
    ///
    /// # Errors
    /// When there is no thread.
    pub fn start(outbox: PathBuf) -> anyhow::Result<Self> {
        let (stopped, committed) = (Arc::new(AtomicBool::new(false)), Arc::default());
        let (until, noted) = (Arc::clone(&stopped), Arc::clone(&committed));
        let looking = thread::Builder::new()
            .name("witness".to_owned())
            .spawn(move || look(&outbox, &noted, &until))
            .context("starting a thread")?;
        Ok(Self { stopped, committed, looking: Some(looking) })
    }

    /// Writes down what is in a copy of an outbox, where there is no way to look into itself.
    ///
    /// # Errors
    /// When the copy cannot be read.
    pub fn read_copy(&self, copy: &Path) -> anyhow::Result<()> {
        note(&read_only(copy)?, &mut [0; 3], &self.committed)
    }

    /// Stops looking: the agent has stopped, and what it committed last is in the file.
    pub fn stop(&mut self) {
        self.stopped.store(true, Ordering::Relaxed);
        if let Some(looking) = self.looking.take() {
            // One that panicked has seen nothing of the end: numbers are missing then.
            drop(looking.join());
        }
    }

    /// Whether the county has all that was committed so far, or knows that it is given up.
    ///
    /// # Errors
    /// When the county's database cannot be read; and where something is missing, to say what.
    pub fn is_settled(&self, county: &Path) -> anyhow::Result<bool> {
        let county = read_only(county)?;
        let committed = self.committed.lock().unwrap_or_else(PoisonError::into_inner);
        for ((outbox, lane), rows) in &*committed {
            let mut settled = told(&county, &outbox.to_string(), *lane, "received")?;
            settled.extend(&dropped(&county, *outbox, *lane, rows)?);
            let missing = rows.keys().filter(|seq| !settled.contains(**seq));
            let missing: RangeSet = missing.map(|seq| (*seq, *seq)).collect();
            ensure!(missing.is_empty(), "{outbox} {lane}: the county has not {missing}");
        }
        Ok(!committed.is_empty())
    }

    /// Compares every envelope that was ever committed with what the county has.
    ///
    /// # Errors
    /// Says what is lost, doubled or altered.
    pub fn prove(&self, county: &Path) -> anyhow::Result<Witnessed> {
        let county = read_only(county)?;
        let committed = self.committed.lock().unwrap_or_else(PoisonError::into_inner);
        let mut found = Witnessed::default();
        let mut expected = Rows::default();
        for ((outbox, lane), rows) in &*committed {
            prove_lane(&county, (*outbox, *lane), rows, &mut found, &mut expected)?;
        }
        let mut outboxes: Vec<_> = committed.keys().map(|(outbox, _)| outbox).collect();
        outboxes.dedup();
        found.outboxes = outboxes.len();
        agree(&county, &mut found.proof, expected)?;
        Ok(found)
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        self.stop();
    }
}

fn look(path: &Path, committed: &Mutex<Committed>, stopped: &AtomicBool) {
    let (mut open, mut last): (Option<(Connection, u64)>, [i64; 3]) = (None, [0; 3]);
    let mut version = None;
    loop {
        let ends = stopped.load(Ordering::Relaxed);
        let file = fs::metadata(path).ok().map(|found| found.ino());
        if open.as_ref().map(|(_, of)| *of) != file {
            open = file.and_then(|of| Some((read_only(path).ok()?, of)));
            (last, version) = ([0; 3], None);
        }
        if let Some((connection, _)) = &open {
            // While the agent recovers its file nobody can look.
            let newest = connection.query_row("PRAGMA data_version", [], |row| row.get(0)).ok();
            let newest: Option<i64> = newest;
            if (ends || newest != version) && note(connection, &mut last, committed).is_ok() {
                version = newest;
            }
        }
        if ends {
            return;
        }
        thread::park_timeout(LOOK_EVERY);
    }
}

/// Notes the rows behind those places.
fn note(
    connection: &Connection,
    last: &mut [i64; 3],
    committed: &Mutex<Committed>,
) -> anyhow::Result<()> {
    for lane in Lane::ALL {
        let last = lane.of_mut(last);
        let question = format!("SELECT place, bytes FROM {} WHERE place > ?1", lane.name());
        let mut statement = connection.prepare_cached(&question)?;
        let mut rows = statement.query([*last])?;
        while let Some(row) = rows.next()? {
            let (place, bytes): (i64, Vec<u8>) = (row.get(0)?, row.get(1)?);
            let header = peek(&bytes)?;
            let mut committed = committed.lock().unwrap_or_else(PoisonError::into_inner);
            let lane = committed.entry((header.outbox, lane)).or_default();
            lane.insert(header.seq, bytes);
            *last = place.max(*last);
        }
    }
    Ok(())
}

/// What drop records count. One of an outbox whose end could not be read is about all above it, too;
/// one of which nothing could be read is about any that is not in use any more.
fn dropped(
    county: &Connection,
    outbox: OutboxId,
    lane: Lane,
    rows: &BTreeMap<Seq, Vec<u8>>,
) -> anyhow::Result<RangeSet> {
    let mut dropped = told(county, &outbox.to_string(), lane, "dropped")?;
    let question = "SELECT min(iif(outbox = ?1, first, 1)) FROM drop_record
        WHERE cause = 'outbox_lost' AND (outbox = ?1 AND lane = ?2
            OR outbox = ?3 AND ?1 NOT IN (SELECT outbox FROM site WHERE outbox NOT NULL))";
    let ids = [outbox, OutboxId::UNREADABLE].map(|id| id.to_string());
    let open: Option<i64> =
        county.query_row(question, params![ids[0], lane.name(), ids[1]], |row| row.get(0))?;
    let open = open.map(u64::try_from).transpose()?.and_then(Seq::new);
    if let (Some(first), Some(last)) = (open, rows.keys().last())
        && first <= *last
    {
        dropped.insert_range(first, *last);
    }
    Ok(dropped)
}

fn prove_lane(
    county: &Connection,
    (outbox, lane): (OutboxId, Lane),
    rows: &BTreeMap<Seq, Vec<u8>>,
    found: &mut Witnessed,
    expected: &mut Rows,
) -> anyhow::Result<()> {
    let id = outbox.to_string();
    let dropped = dropped(county, outbox, lane, rows)?;
    let mut received = RangeSet::default();
    let mut unseen: RangeSet =
        rows.keys().last().map(|last| (Seq::FIRST, *last)).into_iter().collect();
    let (mut waits_from, mut late) = (None, RangeSet::default());
    for (seq, bytes) in rows {
        unseen.remove_range(*seq, *seq);
        let number = i64::try_from(seq.get())?;
        let hash: Option<Vec<u8>> = county
            .query_row(
                "SELECT hash FROM envelope WHERE outbox = ?1 AND lane = ?2 AND seq = ?3",
                params![id, lane.name(), number],
                |row| row.get(0),
            )
            .optional()?;
        match hash {
            Some(hash) if hash != digest(&SHA256, bytes).as_ref() => {
                bail!("{lane} {seq} is altered")
            }
            Some(_) => {
                let envelope = Envelope::decode(bytes)?.envelope;
                found.proof.envelopes += 1;
                found.proof.records += u64::try_from(envelope.records.len())?;
                received.insert(*seq);
                late.extend(&waits_from.map(|from| (from, *seq)).into_iter().collect());
                expect(expected, &id, &envelope);
            }
            None if dropped.contains(*seq) => {}
            // Of the agent's last moment: nothing of that lane has come after it.
            None => {
                waits_from.get_or_insert(*seq);
                found.proof.waiting += 1;
            }
        }
    }
    ensure!(late.is_empty(), "{lane} {late}: lost some of these, and told by no drop record");
    for (first, last) in unseen.ranges() {
        let missing = dropped.missing(first, last);
        ensure!(missing.is_empty(), "{lane} {missing}: neither seen nor told by a drop record");
    }
    let ledger = told(county, &id, lane, "received")?;
    ensure!(ledger == received, "{lane}: the ledger says {ledger}, it is {received}");
    let only = dropped.ranges().map(|(first, last)| received.missing(first, last).count());
    *lane.of_mut(&mut found.dropped) += only.sum::<u64>();
    Ok(())
}
