//! What one transaction does with what came in: judge, store, evaluate, account.
//!
//! Not here: MQTT ([`crate::ingest`]), when an alert is raised (`rules`).
//!
//! # Invariants
//! - records, ledger, alerts and rule states are in one transaction
//! - a duplicate changes nothing and is acked again; a conflict is kept aside and never acked
//! - the class fresh, late or backfill is computed here, once
//! - alarms and statuses go to the rules as they come, readings of a batch as they were measured

mod edge;
mod names;
mod record;

use crate::{
    alerts::{self, Context, Evaluation},
    late::Came,
    links, query,
    store::{Store, StoreError},
};
use aws_lc_rs::digest::{SHA256, digest};
use model::{
    id::{Lane, OutboxId, Seq, SiteId},
    reading::ReadingGroup,
    time::{Uptime, WallTime},
    waveform::WaveformBlock,
};
use names::{DEVICES_MAX, Names};
use rules::{
    engine::{Pending, ReadingInput},
    freshness::{BootClock, Freshness, Moment, Position},
    rule::RuleSet,
};
use rusqlite::{Connection, OptionalExtension as _, Transaction, params};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    sync::Arc,
};
use uplink_proto::{
    ack::{Ack, AckError, CONFLICT, Proof, Proven},
    envelope::{Envelope, Header, Written, peek},
    receiver::{EnvelopeHash, LaneLedger, Verdict, judge},
    state::SiteState,
};

/// Envelopes of one site that cannot be taken and are kept aside with their bytes: a hostile or
/// broken box sends them without end, at most 256 KiB each.
const QUARANTINED_MAX: i64 = 1000;

/// A message from a site.
#[derive(Clone, Debug)]
pub(crate) enum Delivery {
    /// An envelope, on the topic of that site and lane.
    Envelope(SiteId, Lane, Vec<u8>),
    /// The site's state; retained is what it said at some time before.
    State { site: SiteId, bytes: Vec<u8>, retained: bool },
    /// What the site's box said beside an envelope, and when that came: how long it has been running.
    Uptime { site: SiteId, uptime: Uptime, at: WallTime },
}

impl Delivery {
    /// How many bytes came.
    pub(crate) const fn len(&self) -> usize {
        match self {
            Self::Envelope(_, _, bytes) | Self::State { bytes, .. } => bytes.len(),
            Self::Uptime { .. } => 0,
        }
    }
}

/// What is to be done after the commit.
#[derive(Debug, Default)]
pub(crate) struct Taken {
    pub(crate) acks: Vec<(SiteId, Ack)>,
    pub(crate) readings: Vec<Gathered>,
    /// Each with its start by the county's clock.
    pub(crate) blocks: Vec<(SiteId, WallTime, WaveformBlock)>,
    pub(crate) devices: Vec<Value>,
    pub(crate) sites: Vec<Value>,
    pub(crate) alerts: Vec<Value>,
    pub(crate) pending: BTreeMap<SiteId, Pending>,
    pub(crate) counts: Counts,
}

/// For the counters.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Counts {
    pub(crate) new: u64,
    pub(crate) duplicate: u64,
    pub(crate) conflict: u64,
    pub(crate) undecodable: u64,
    /// Kept nowhere: too many of their site are kept aside already.
    pub(crate) not_kept: u64,
    /// Records and readings this version does not know, in envelopes that were taken.
    pub(crate) skipped: u64,
    /// States of another box than the one before, with the certificate of the same site.
    pub(crate) by_turns: u64,
    pub(crate) readings: u64,
}

/// What of an envelope is kept aside.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Part {
    /// Nothing of it was taken.
    Whole,
    /// Some of its records were.
    Rest,
}

/// A batch while its transaction is open.
struct Batch<'t> {
    connection: &'t Connection,
    now: WallTime,
    rules: &'t RuleSet,
    ledgers: BTreeMap<(SiteId, OutboxId, Lane), LaneLedger>,
    /// Those that are not as they were.
    changed: BTreeSet<(SiteId, OutboxId, Lane)>,
    /// Outboxes whose sender waits for an ack, and what of them came in.
    touched: BTreeMap<(SiteId, OutboxId), Vec<Proven>>,
    errors: BTreeMap<(SiteId, OutboxId), Vec<AckError>>,
    /// Boxes that came back after another one with the same certificate: they are told.
    by_turns: BTreeSet<(SiteId, OutboxId)>,
    evaluation: Evaluation,
    late: Came,
    names: Names,
    taken: Taken,
}

/// A reading group of a batch, as it was stored: for the rules and for boards.
#[derive(Debug)]
pub(crate) struct Gathered {
    site: SiteId,
    group: ReadingGroup,
    /// When the box heard it, by the county's clock.
    heard: WallTime,
    t_meas: Moment,
    freshness: Freshness,
    position: Position,
    received: WallTime,
    /// The first copy, as the API names it; the rules have heard that one.
    duplicate_of: Option<String>,
    /// On whom the device was, and whose it is.
    bound: Option<String>,
    patient: Option<String>,
}

/// Takes a batch into the database, in one transaction if it can be.
///
/// Where the batch fails through what is in it, every message of it is taken by itself and the one
/// that fails again is kept aside: nobody's envelope may hold up those of others. Where the disk
/// fails nothing is acked, and the sites send it again; where it is full only what is urgent is taken.
pub(crate) async fn store(
    store: &Store,
    mut deliveries: Vec<Delivery>,
    now: WallTime,
    rules: &Arc<RuleSet>,
) -> Vec<Taken> {
    let all = deliveries.len();
    deliveries.retain(|delivery| match delivery {
        Delivery::Envelope(_, lane, _) => store.disk().takes(*lane),
        Delivery::State { .. } | Delivery::Uptime { .. } => true,
    });
    let refused = u64::try_from(all - deliveries.len()).unwrap_or_default();
    metrics::counter!("gateway_envelopes_refused_total").increment(refused);
    let deliveries: Arc<[Delivery]> = deliveries.into();
    let part = async |range: Range<usize>| {
        let (deliveries, rules) = (Arc::clone(&deliveries), Arc::clone(rules));
        let part = move |transaction: &Transaction<'_>| {
            take(transaction, deliveries.get(range).unwrap_or_default(), now, &rules)
        };
        store.write(part).await
    };
    let failed = |error: StoreError, what| {
        let of_the_disk = error.is_of_the_disk();
        if matches!(error, StoreError::Disk(_)) {
            return true; // Told once, not with every batch.
        }
        tracing::error!(error = format!("{:#}", anyhow::Error::new(error)), what);
        of_the_disk
    };
    match part(0..deliveries.len()).await {
        Ok(taken) => return vec![taken],
        Err(error) => {
            if failed(error, "A batch could not be stored.") {
                return Vec::new();
            }
        }
    }
    let mut all = Vec::new();
    for (place, delivery) in deliveries.iter().enumerate() {
        match (part(place..place + 1).await, delivery.clone()) {
            (Ok(taken), _) => all.push(taken),
            (Err(error), Delivery::Envelope(site, _, bytes)) => {
                if failed(error, "An envelope could not be stored.") {
                    continue;
                }
                let rules = Arc::clone(rules);
                let aside = move |transaction: &Transaction<'_>| {
                    let mut batch = Batch::new(transaction, now, &rules);
                    let cause = "county_failed: the county failed on it; report this";
                    batch.keep_aside(&site, &bytes, cause)?;
                    batch.finish()
                };
                all.extend(store.write(aside).await.map_err(|error| {
                    failed(error, "An envelope could not be kept aside.");
                }));
            }
            (Err(error), Delivery::State { .. }) => {
                failed(error, "A state could not be stored.");
            }
            (Err(error), Delivery::Uptime { .. }) => {
                failed(error, "How long a box has been running could not be stored.");
            }
        }
    }
    all
}

/// Takes a batch into the database. The caller owns the transaction and commits it.
pub(crate) fn take(
    connection: &Connection,
    deliveries: &[Delivery],
    now: WallTime,
    rules: &RuleSet,
) -> rusqlite::Result<Taken> {
    let mut batch = Batch::new(connection, now, rules);
    // Of all that is said of a boot the earliest counts: before anything is placed by it.
    for delivery in deliveries {
        if let Delivery::Uptime { site, uptime, at } = delivery {
            batch.evaluation.hear_uptime(connection, site, *uptime, *at, BootClock::hear)?;
        }
    }
    for delivery in deliveries {
        match delivery {
            Delivery::Envelope(site, lane, bytes) => batch.envelope(site, *lane, bytes)?,
            Delivery::State { site, bytes, retained } => batch.state(site, bytes, *retained)?,
            Delivery::Uptime { .. } => {}
        }
    }
    batch.finish()
}

impl<'t> Batch<'t> {
    fn new(connection: &'t Connection, now: WallTime, rules: &'t RuleSet) -> Self {
        Self {
            connection,
            now,
            rules,
            ledgers: BTreeMap::new(),
            changed: BTreeSet::new(),
            touched: BTreeMap::new(),
            errors: BTreeMap::new(),
            by_turns: BTreeSet::new(),
            evaluation: Evaluation::default(),
            late: Came::default(),
            names: Names::default(),
            taken: Taken::default(),
        }
    }

    fn context(&self) -> Context<'t> {
        Context { connection: self.connection, rules: self.rules, now: self.now }
    }

    fn envelope(&mut self, site: &SiteId, lane: Lane, bytes: &[u8]) -> rusqlite::Result<()> {
        let decoded = match Envelope::decode(bytes) {
            Ok(decoded) if decoded.envelope.lane == lane => decoded,
            Ok(_) => {
                return self.keep_aside(
                    site,
                    bytes,
                    "another_lane: the envelope is of another lane than its topic",
                );
            }
            Err(error) => return self.keep_aside(site, bytes, &format!("unreadable: {error}")),
        };
        let envelope = decoded.envelope;
        let hash = hash(bytes);
        let (outbox, seq) = (envelope.outbox, envelope.seq);
        let stored = self.stored(site, outbox, lane, seq)?;
        let elsewhere = self.has_elsewhere(site, lane, &hash, decoded.written)?;
        match judge(stored.as_ref(), &hash, elsewhere) {
            Verdict::Duplicate => {
                self.taken.counts.duplicate += 1;
                self.settled(site, outbox, Proven { lane, seq, proof: Proof::of(&hash) });
            }
            Verdict::Conflict => self.conflict(site, bytes, outbox, (lane, seq))?,
            Verdict::Moved => {
                self.taken.counts.duplicate += 1;
                self.remember(site, outbox, (lane, seq), &hash)?;
                self.receive((site, lane), (outbox, seq), decoded.written)?;
            }
            Verdict::New => {
                self.taken.counts.new += 1;
                self.remember(site, outbox, (lane, seq), &hash)?;
                if let Some(Written { hash, .. }) = decoded.written {
                    self.connection
                        .prepare_cached("INSERT INTO moved VALUES (?1, ?2)")?
                        .execute(params![site.as_str(), hash])?;
                }
                self.receive((site, lane), (outbox, seq), decoded.written)?;
                let refused = self.records(site, &envelope)?;
                self.rest(site, bytes, (u64::from(decoded.skipped), refused))?;
            }
        }
        Ok(())
    }

    /// Keeps aside an envelope of which some records were not taken: those of a later version, and
    /// those of devices that the site may not have.
    fn rest(
        &mut self,
        site: &SiteId,
        bytes: &[u8],
        (of_later, of_devices): (u64, u64),
    ) -> rusqlite::Result<()> {
        let mut causes = Vec::new();
        if of_later > 0 {
            tracing::warn!(%site, skipped = of_later,
                "Records of a later version were kept aside; install the newer gateway.");
            causes
                .push(format!("later_version: {of_later} records or readings of a later version"));
        }
        if of_devices > 0 {
            tracing::error!(%site, skipped = of_devices, limit = DEVICES_MAX,
                "Records of too many devices were kept aside; look at the box of this site.");
            causes.push(format!(
                "devices_beyond: {of_devices} records of devices beyond {DEVICES_MAX} of the site"
            ));
        }
        if causes.is_empty() {
            return Ok(());
        }
        self.taken.counts.skipped += of_later + of_devices;
        self.quarantine(site, bytes, &causes.join("; "), Part::Rest).map(drop)
    }

    /// An envelope that cannot be taken must not block its lane: it is kept aside, and acked with
    /// an error where its number can be read.
    fn keep_aside(&mut self, site: &SiteId, bytes: &[u8], cause: &str) -> rusqlite::Result<()> {
        let (header, hash) = (peek(bytes).ok(), hash(bytes));
        if let Some(Header { outbox, lane, seq, .. }) = header
            && let stored = self.stored(site, outbox, lane, seq)?
            && judge(stored.as_ref(), &hash, false) == Verdict::Conflict
        {
            return self.conflict(site, bytes, outbox, (lane, seq));
        }
        self.taken.counts.undecodable += 1;
        if self.quarantine(site, bytes, cause, Part::Whole)? {
            tracing::error!(%site, cause, "An envelope cannot be taken and is kept aside.");
        }
        if let Some(Header { outbox, lane, seq, .. }) = header {
            self.settled(site, outbox, Proven { lane, seq, proof: Proof::of(&hash) });
            self.ledger(site, outbox, lane)?.quarantine(seq);
            let error = AckError { lane, seq, reason: cause.to_owned() };
            self.errors.entry((site.clone(), outbox)).or_default().push(error);
        }
        Ok(())
    }

    /// Other bytes are known under that number, and it is not acked for these.
    fn conflict(
        &mut self,
        site: &SiteId,
        bytes: &[u8],
        outbox: OutboxId,
        (lane, seq): (Lane, Seq),
    ) -> rusqlite::Result<()> {
        self.taken.counts.conflict += 1;
        self.quarantine(site, bytes, CONFLICT, Part::Whole)?;
        let error = AckError { lane, seq, reason: CONFLICT.to_owned() };
        self.errors.entry((site.clone(), outbox)).or_default().push(error);
        self.touched.entry((site.clone(), outbox)).or_default();
        Ok(())
    }

    /// The bytes are settled under that number, and are acked.
    fn settled(&mut self, site: &SiteId, outbox: OutboxId, proven: Proven) {
        self.touched.entry((site.clone(), outbox)).or_default().push(proven);
    }

    /// From here on that number belongs to these bytes, and is acked for them.
    fn remember(
        &mut self,
        site: &SiteId,
        outbox: OutboxId,
        (lane, seq): (Lane, Seq),
        hash: &EnvelopeHash,
    ) -> rusqlite::Result<()> {
        self.connection
            .prepare_cached("INSERT INTO envelope VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?
            .execute(params![
                site.as_str(),
                outbox.to_string(),
                lane.name(),
                integer(seq),
                hash,
                self.now.unix_ms()
            ])?;
        self.settled(site, outbox, Proven { lane, seq, proof: Proof::of(hash) });
        Ok(())
    }

    /// Under the number that it was first written with nothing is missing either.
    fn receive(
        &mut self,
        (site, lane): (&SiteId, Lane),
        (outbox, seq): (OutboxId, Seq),
        written: Option<Written>,
    ) -> rusqlite::Result<()> {
        let written = written.map(|written| (written.outbox, written.seq));
        for (outbox, seq) in [Some((outbox, seq)), written].into_iter().flatten() {
            self.ledger(site, outbox, lane)?.receive(seq);
        }
        Ok(())
    }

    /// Whether what was first written as this envelope is stored under another number.
    fn has_elsewhere(
        &self,
        site: &SiteId,
        lane: Lane,
        hash: &EnvelopeHash,
        written: Option<Written>,
    ) -> rusqlite::Result<bool> {
        if let Some(Written { outbox, seq, hash }) = written
            && self.stored(site, outbox, lane, seq)? == Some(hash)
        {
            return Ok(true);
        }
        self.connection
            .prepare_cached("SELECT 1 FROM moved WHERE site = ?1 AND hash = ?2")?
            .exists(params![site.as_str(), written.map_or(*hash, |written| written.hash)])
    }

    /// Keeps bytes for a person to look at, once; whether they are kept. A cause is a word for
    /// programs, and behind a colon how many records it is about and what is wrong. Of a site that
    /// sends ever more of what cannot be taken only the first [`QUARANTINED_MAX`] are; records of a
    /// later version are real ones, and all of them are.
    fn quarantine(
        &mut self,
        site: &SiteId,
        bytes: &[u8],
        cause: &str,
        part: Part,
    ) -> rusqlite::Result<bool> {
        let hash = hash(bytes);
        let rest = part == Part::Rest;
        let place = peek(bytes).ok();
        self.connection
            .prepare_cached(
                "INSERT OR IGNORE INTO quarantine
                   (site, received_ms, cause, rest, hash, bytes, outbox, lane, seq)
                 SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?8, ?9, ?10 WHERE ?4
                   OR (SELECT count(*) FROM quarantine WHERE site = ?1 AND NOT rest) < ?7",
            )?
            .execute(params![
                site.as_str(),
                self.now.unix_ms(),
                cause,
                rest,
                hash,
                bytes,
                QUARANTINED_MAX,
                place.map(|header| header.outbox.to_string()),
                place.map(|header| header.lane.name()),
                place.map(|header| integer(header.seq))
            ])?;
        let kept = self
            .connection
            .prepare_cached("SELECT 1 FROM quarantine WHERE site = ?1 AND hash = ?2")?
            .exists(params![site.as_str(), hash])?;
        if !kept {
            self.taken.counts.not_kept += 1;
            tracing::error!(%site, cause, limit = QUARANTINED_MAX,
                "An envelope cannot be taken and is given up: too many of its site are kept aside.");
        }
        Ok(kept)
    }

    fn stored(
        &self,
        site: &SiteId,
        outbox: OutboxId,
        lane: Lane,
        seq: Seq,
    ) -> rusqlite::Result<Option<EnvelopeHash>> {
        self.connection
            .prepare_cached("SELECT hash FROM envelope WHERE site = ?1 AND outbox = ?2 AND lane = ?3 AND seq = ?4")?
            .query_row(params![site.as_str(), outbox.to_string(), lane.name(), integer(seq)], |row| row.get(0))
            .optional()
    }

    /// The account of a lane, to be changed.
    fn ledger(
        &mut self,
        site: &SiteId,
        outbox: OutboxId,
        lane: Lane,
    ) -> rusqlite::Result<&mut LaneLedger> {
        self.changed.insert((site.clone(), outbox, lane));
        self.known_ledger(site, outbox, lane)
    }

    fn known_ledger(
        &mut self,
        site: &SiteId,
        outbox: OutboxId,
        lane: Lane,
    ) -> rusqlite::Result<&mut LaneLedger> {
        let key = (site.clone(), outbox, lane);
        if !self.ledgers.contains_key(&key) {
            let found = query::lane_ledger(self.connection, site, outbox, lane)?;
            if found == LaneLedger::default() {
                // Every lane of an outbox that is known has an account.
                self.changed.insert(key.clone());
            }
            self.ledgers.insert(key.clone(), found);
        }
        Ok(self.ledgers.entry(key).or_default())
    }

    fn state(&mut self, site: &SiteId, bytes: &[u8], retained: bool) -> rusqlite::Result<()> {
        let state = match SiteState::decode(bytes) {
            Ok(state) => state,
            Err(error) => {
                tracing::warn!(%site, %error, "A state cannot be read.");
                return Ok(());
            }
        };
        let is_live = state.online && !retained; // A will was written when the connection began.
        if is_live
            && self.evaluation.hear_box_identity(
                self.context(),
                site,
                state.outbox,
                state.connection,
            )?
        {
            self.taken.counts.by_turns += 1;
            self.touched.entry((site.clone(), state.outbox)).or_default();
            self.by_turns.insert((site.clone(), state.outbox));
            tracing::warn!(%site, outbox = %state.outbox, connection = state.connection,
                "Two boxes are heard by turns with the certificate of one site; issue one of them its own.");
        }
        let before = links::known(self.connection, site)?;
        let known = before.as_ref().is_some_and(|before| before.has_connection(&state));
        if state.online && retained && known {
            // The broker remembers it, also of a box that was given up: only its own word is news.
            return Ok(());
        }
        let backlog = json!({"urgent": state.backlog[0], "trend": state.backlog[1], "wave": state.backlog[2],
            "holds_s": state.holds_s});
        let changed = self
            .connection
            .prepare_cached(
                "INSERT INTO site (site, online, connection, changed_ms, agent_version, outbox, clock,
                   backlog, clock_evidence, free_pct, certificate_until_ms)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)
                 ON CONFLICT (site) DO UPDATE SET online = ?2, connection = ?3, changed_ms = ?4,
                   agent_version = ?5, outbox = ?6, clock = ?7, backlog = ?8, clock_evidence = ?9,
                   free_pct = CASE WHEN ?2 THEN ?10 ELSE free_pct END,
                   certificate_until_ms = CASE WHEN ?2 THEN ?11 ELSE certificate_until_ms END
                 WHERE CASE WHEN ?6 = outbox THEN ?3 >= connection ELSE ?2 END",
            )?
            .execute(params![
                site.as_str(),
                state.online,
                i64::try_from(state.connection).unwrap_or(i64::MAX),
                self.now.unix_ms(),
                state.agent_version,
                state.outbox.to_string(),
                state.clock.name(),
                backlog.to_string(),
                state.clock_evidence,
                state.upkeep.free_pct,
                state.upkeep.certificate_until.map(WallTime::unix_ms)
            ])?;
        if changed == 0 {
            return Ok(());
        }
        links::hear_box(self.connection, site, before.as_ref(), &state, self.now)?;
        if is_live {
            // A box that has nothing to send hears by the ack when the county was restored.
            self.touched.entry((site.clone(), state.outbox)).or_default();
            self.evaluation.hear_box_clock(self.context(), site, state.at)?;
            if let Some(uptime) = state.uptime {
                let (connection, now) = (self.connection, self.now);
                let hear = BootClock::hear_state;
                self.evaluation.hear_uptime(connection, site, uptime, now, hear)?;
            }
        }
        if before.is_none_or(|before| before.online != state.online) {
            self.evaluation.box_changed(self.context(), site, state.online)?;
        }
        self.taken.sites.extend(query::site(self.connection, site)?);
        Ok(())
    }

    /// Lets the rules judge what has come, in the order in which it was measured: the present
    /// arrives newest first.
    fn evaluate(&mut self) -> rusqlite::Result<()> {
        let context = self.context();
        let said_first = |gathered: &&Gathered| gathered.duplicate_of.is_none();
        let mut readings: Vec<_> = self.taken.readings.iter().filter(said_first).collect();
        readings.sort_by_key(|gathered| (gathered.t_meas.at, gathered.position));
        for Gathered { site, group, heard, t_meas, freshness, .. } in readings {
            let input = ReadingInput { group, t_meas: *t_meas, freshness: *freshness };
            self.evaluation.readings(context, site, input, *heard)?;
        }
        Ok(())
    }

    /// Evaluates, writes ledgers and rule states, and makes the acks.
    fn finish(mut self) -> rusqlite::Result<Taken> {
        self.evaluate()?;
        for key in &self.changed {
            let Some(ledger) = self.ledgers.get(key) else { continue };
            let (site, outbox, lane) = key;
            self.connection
                .prepare_cached("INSERT OR REPLACE INTO ledger VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?
                .execute(params![
                    site.as_str(),
                    outbox.to_string(),
                    lane.name(),
                    ledger.received.to_string(),
                    ledger.dropped.to_string(),
                    ledger.quarantined.to_string()
                ])?;
        }
        for ((site, outbox), proven) in std::mem::take(&mut self.touched) {
            let mut lanes = Vec::new();
            for lane in Lane::ALL {
                lanes.push((lane, self.known_ledger(&site, outbox, lane)?.settled()));
            }
            let errors = self.errors.remove(&(site.clone(), outbox)).unwrap_or_default();
            let by_turns = self.by_turns.contains(&(site.clone(), outbox));
            let acks = Ack::telling(outbox, lanes, proven, errors).into_iter();
            self.taken.acks.extend(acks.map(|ack| (site.clone(), Ack { by_turns, ..ack })));
        }
        self.late.remember(self.connection, self.now)?;
        self.taken.pending = std::mem::take(&mut self.evaluation.pending);
        self.taken.alerts = alerts::store(self.context(), self.evaluation)?;
        Ok(self.taken)
    }
}

fn hash(bytes: &[u8]) -> EnvelopeHash {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, bytes).as_ref());
    hash
}

/// A seq as SQLite keeps it; it is below 2^63 by construction.
fn integer(seq: Seq) -> i64 {
    i64::try_from(seq.get()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
