//! The thread that writes: gathers records, commits them in groups, tells who waits for it.

use super::{
    Command, News, Origin, OutboxSettings, OutboxStats,
    file::{self, OutboxFile},
    pending::LanePending,
    retention,
};
use crate::clock::Clock;
use drivers::serial::Cursor;
use model::{
    id::{DeviceId, Lane, Seq},
    reading::{Occurrence, ReadingGroup},
    record::{DropCause, DropRecord, Record},
    time::{DeviceTime, MonoTime},
};
use rusqlite::{Connection, TransactionBehavior};
use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};
use tokio::sync::{mpsc, watch};
use uplink_proto::{
    envelope::{Envelope, peek},
    sender::LaneStock,
};

/// A commit that failed (disk full, card gone) is tried again after this.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// Old acked rows are looked for this often.
const PRUNE_EVERY: Duration = Duration::from_secs(60);

/// The thread that writes.
pub(super) struct Writer {
    file: OutboxFile,
    settings: OutboxSettings,
    clock: Clock,
    news: mpsc::Sender<News>,
    lanes: [LanePending; 3],
    cursors: BTreeMap<DeviceId, Cursor>,
    /// Identities of the records that wait.
    new_identities: Vec<(DeviceId, String)>,
    identities: BTreeMap<DeviceId, VecDeque<String>>,
    links: BTreeMap<usize, LinkProgress>,
    bytes: u64,
    appended: u64,
    repeats: u64,
    failing: Option<String>,
    prune_at: MonoTime,
    overflow: bool,
}

/// What a link handed over and what of it is committed.
struct LinkProgress {
    told: watch::Sender<u64>,
    newest: u64,
}

impl Writer {
    pub(super) fn new(
        file: OutboxFile,
        settings: OutboxSettings,
        clock: Clock,
        news: mpsc::Sender<News>,
    ) -> Self {
        let bytes = retention::bytes(&file.connection).unwrap_or_default();
        let lanes = Lane::ALL.map(|lane| LanePending::new(lane, settings.commit_after));
        Self {
            file,
            settings,
            clock,
            news,
            lanes,
            cursors: BTreeMap::new(),
            new_identities: Vec::new(),
            identities: BTreeMap::new(),
            links: BTreeMap::new(),
            bytes,
            appended: 0,
            repeats: 0,
            failing: None,
            prune_at: MonoTime::START,
            overflow: false,
        }
    }

    /// Serves until nobody can ask any more, then commits what is left.
    pub(super) async fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        loop {
            let due = self.lanes.iter().filter_map(LanePending::due).min();
            tokio::select! {
                biased;
                command = commands.recv() => match command {
                    Some(command) => self.take(command),
                    None => break,
                },
                () = self.clock.sleep_until(due.or(Some(self.prune_at))) => {}
            }
            let now = self.clock.mono();
            if self.lanes.iter().any(|lane| lane.due().is_some_and(|due| due <= now))
                && commands.is_empty()
            {
                self.commit();
            }
            if now >= self.prune_at {
                self.prune();
            }
        }
        let now = self.clock.mono();
        self.lanes.iter_mut().for_each(|lane| lane.hurry(now));
        self.commit();
        if let Some(error) = &self.failing {
            tracing::error!(error, "The last records could not be committed.");
        }
    }

    fn take(&mut self, command: Command) {
        // Whoever asked and went away needs no answer.
        match command {
            Command::Record(origin, record) => self.add(origin, *record),
            Command::Remember(origin, device, cursor) => self.remember(origin, device, cursor),
            Command::Watch(link, told) => {
                self.links.insert(link, LinkProgress { told, newest: 0 });
            }
            Command::Cursor(device, reply) => {
                drop(
                    reply.send(
                        self.logged("reading a cursor", |file| file.cursor(&device)).flatten(),
                    ),
                );
            }
            Command::Forget { lane, first, last } => {
                let now = self.clock.now().wall;
                self.logged("marking acked rows", |file| file.mark_acked(lane, first, last, now));
            }
            Command::Damaged(lane, seq) => self.give_up(lane, seq),
            Command::NextConnection(reply) => {
                let number = self.logged("counting connections", |file| file.next_connection());
                let _asker_gone = reply.send(number.unwrap_or_default());
            }
            Command::StartAnew(reply) => {
                self.start_anew();
                let _asker_gone = reply.send(());
            }
            Command::Stock(reply) => {
                self.overflow = false;
                let stock = Lane::ALL.map(|lane| self.stock(lane));
                drop(reply.send((self.file.id(), stock)));
            }
            Command::Stats(reply) => drop(reply.send(self.stats())),
        }
    }

    fn add(&mut self, origin: Origin, mut record: Record) {
        let now = self.clock.now();
        if let Some(progress) = self.links.get_mut(&origin.link) {
            progress.newest = progress.newest.max(origin.number);
        }
        self.resolve_zone(&mut record);
        if let Record::Readings(group) = &record
            && self.is_repeat(group)
        {
            self.repeats += 1;
            self.tell_links();
            return;
        }
        let lane = record.lane();
        if let Some(pending) = self.lanes.iter_mut().find(|pending| pending.lane == lane) {
            pending.add(now.mono, now.wall, origin, record);
        }
    }

    /// A cursor is committed with the records before it, and hurries them.
    fn remember(&mut self, origin: Origin, device: DeviceId, cursor: Cursor) {
        let now = self.clock.mono();
        self.cursors.insert(device, cursor);
        if self.lanes.iter().all(|lane| lane.due().is_none()) {
            self.commit();
        }
        self.lanes.iter_mut().for_each(|lane| lane.hurry(now));
        if let Some(progress) = self.links.get_mut(&origin.link) {
            progress.newest = progress.newest.max(origin.number);
        }
        self.tell_links();
    }

    fn resolve_zone(&self, record: &mut Record) {
        let time = match record {
            Record::Readings(group) => &mut group.device_time,
            Record::Alarm(alarm) => &mut alarm.device_time,
            _ => return,
        };
        if let Some(local @ DeviceTime::Local { civil_ms }) = *time
            && let Some(offset_s) = offset(&self.settings.time_zone, civil_ms)
        {
            *time = Some(local.in_zone(offset_s));
        }
    }

    /// Whether this spot reading was recorded before; notes its identity if not.
    fn is_repeat(&mut self, group: &ReadingGroup) -> bool {
        let Some(identity) = identity(group) else { return false };
        let known = match self.identities.remove(&group.device) {
            Some(known) => known,
            None => self
                .logged("reading identities", |file| file.identities(&group.device))
                .unwrap_or_default()
                .into(),
        };
        let known = self.identities.entry(group.device.clone()).or_insert(known);
        if known.contains(&identity) {
            return true;
        }
        known.push_back(identity.clone());
        if known.len() > usize::try_from(file::IDENTITIES_MAX).unwrap_or(usize::MAX) {
            known.pop_front();
        }
        self.new_identities.push((group.device.clone(), identity));
        false
    }

    fn commit(&mut self) {
        let now = self.clock.mono();
        // Cursors go with every record before them, whatever its lane.
        let everything = !self.cursors.is_empty() || !self.new_identities.is_empty();
        let ripe = |lane: &LanePending| everything || lane.ripe(now);
        match self.write(&ripe) {
            Ok(written) => {
                self.failing = None;
                self.cursors.clear();
                self.new_identities.clear();
                for (_, _, len) in &written {
                    self.bytes += len;
                    self.appended += len;
                }
                for lane in self.lanes.iter_mut().filter(|lane| ripe(lane)) {
                    drop(lane.clear());
                }
                for (lane, seq, _) in written {
                    self.tell(News::Stored(lane, seq));
                }
                self.tell_links();
                self.keep_inside_limit();
            }
            Err(error) => {
                tracing::error!(%error, "A commit failed and is tried again; check the disk.");
                self.failing = Some(error.to_string());
                self.lanes.iter_mut().for_each(|lane| lane.put_off(now + RETRY_AFTER));
            }
        }
    }

    /// One transaction: envelopes, cursors, identities.
    fn write(
        &mut self,
        ripe: &dyn Fn(&LanePending) -> bool,
    ) -> rusqlite::Result<Vec<(Lane, Seq, u64)>> {
        let outbox = self.file.id();
        let transaction =
            self.file.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut written = Vec::new();
        for pending in self.lanes.iter().filter(|lane| ripe(lane) && !lane.batches().is_empty()) {
            let lane = pending.lane;
            let mut seq = file::next_seq(&transaction, lane)?;
            for batch in pending.batches() {
                let (opened_at, records) = (batch.opened_at, batch.records.clone());
                let bytes = Envelope { outbox, lane, seq, opened_at, records }.encode();
                file::insert(&transaction, lane, seq, opened_at.unix_ms(), &bytes)?;
                written.push((lane, seq, u64::try_from(bytes.len()).unwrap_or_default()));
                seq = seq.next();
            }
            file::set_next_seq(&transaction, lane, seq)?;
        }
        for (device, cursor) in &self.cursors {
            file::remember(&transaction, device, cursor)?;
        }
        for (device, identity) in &self.new_identities {
            file::add_identity(&transaction, device, identity)?;
        }
        transaction.commit()?;
        Ok(written)
    }

    /// Tells each link up to which number everything it handed over is committed.
    fn tell_links(&mut self) {
        for (link, progress) in &self.links {
            let waiting = self.lanes.iter().flat_map(LanePending::batches);
            let waiting = waiting.flat_map(|batch| &batch.origins);
            let oldest =
                waiting.filter(|origin| origin.link == *link).map(|origin| origin.number).min();
            let committed = oldest.map_or(progress.newest, |oldest| oldest.saturating_sub(1));
            progress.told.send_if_modified(|told| {
                let more = committed > *told;
                *told = committed.max(*told);
                more
            });
        }
    }

    fn keep_inside_limit(&mut self) {
        let excess = self.bytes.saturating_sub(self.settings.max_bytes);
        if excess == 0 {
            return;
        }
        let now = self.clock.now();
        let made = self.in_transaction("making room", |connection| {
            retention::make_room(connection, excess, now)
        });
        let Some((dropped, freed)) = made else { return };
        self.bytes = self.bytes.saturating_sub(freed);
        for record in dropped {
            self.announce_drop(record);
        }
    }

    fn give_up(&mut self, lane: Lane, seq: Seq) {
        let now = self.clock.now();
        self.logged("deleting a damaged row", |file| {
            file.connection.execute(
                "DELETE FROM envelope WHERE lane = ?1 AND seq = ?2",
                rusqlite::params![lane.name(), file::integer(seq)],
            )
        });
        self.announce_drop(DropRecord {
            outbox: None,
            lane,
            first: seq,
            last: seq,
            from: now.wall,
            until: now.wall,
            cause: DropCause::Damaged,
            observed: now.observed(),
        });
    }

    /// A drop is never silent: the county gets a record of it, the log a line.
    fn announce_drop(&mut self, record: DropRecord) {
        let (lane, first, last) = (record.lane, record.first, record.last);
        tracing::error!(%lane, %first, %last, cause = record.cause.name(), "Envelopes were given up.");
        self.tell(News::Dropped { lane, first, last });
        self.add(super::NO_LINK, Record::Dropped(record));
    }

    fn prune(&mut self) {
        let now = self.clock.now();
        self.prune_at = now.mono + PRUNE_EVERY;
        let freed = self.in_transaction("pruning acked rows", |connection| {
            retention::prune_acked(connection, now.wall)
        });
        self.bytes = self.bytes.saturating_sub(freed.unwrap_or_default());
        self.logged("giving space back", |file| {
            file.connection.execute_batch("PRAGMA incremental_vacuum(256)")
        });
    }

    fn start_anew(&mut self) {
        let now = self.clock.mono();
        self.lanes.iter_mut().for_each(|lane| lane.hurry(now));
        self.commit();
        let old = self.file.id();
        let done = self.file.start_anew(|bytes, id, seq| {
            peek(bytes).ok()?;
            let mut envelope = Envelope::decode(bytes).ok()?.envelope;
            (envelope.outbox, envelope.seq) = (id, seq);
            Some(envelope.encode())
        });
        match done {
            Ok(()) => tracing::warn!(%old, new = %self.file.id(),
                "This outbox was restored or copied: it goes on under a new id."),
            Err(error) => tracing::error!(%error, "A new outbox id could not be written."),
        }
        self.bytes = retention::bytes(&self.file.connection).unwrap_or_default();
    }

    fn stock(&self, lane: Lane) -> LaneStock {
        let unacked = self.logged("reading rows", |file| file.unacked(lane)).unwrap_or_default();
        let next = self.logged("reading a seq", |file| file.next_seq(lane)).unwrap_or(Seq::FIRST);
        LaneStock { unacked, next }
    }

    fn stats(&self) -> OutboxStats {
        let elapsed = self.clock.mono().since_start().as_secs().max(1);
        let oldest_ms = self.logged("looking for the oldest row", |file| {
            file.connection.query_row(
                "SELECT min(opened_at) FROM envelope WHERE acked_at IS NULL",
                [],
                |row| row.get::<_, Option<i64>>(0),
            )
        });
        OutboxStats {
            unacked: Lane::ALL.map(|lane| self.stock(lane).unacked.count()),
            oldest_ms: oldest_ms.flatten(),
            bytes: self.bytes,
            max_bytes: self.settings.max_bytes,
            bytes_per_s: self.appended / elapsed,
            repeats: self.repeats,
            failing: self.failing.clone(),
        }
    }

    /// News that do not fit are replaced by the word to look at the file.
    fn tell(&mut self, news: News) {
        if self.overflow {
            return;
        }
        if self.news.capacity() <= 1 {
            self.overflow = self.news.try_send(News::Overflow).is_ok();
        } else if self.news.try_send(news).is_err() {
            self.overflow = true; // The uplink has ended: the agent stops.
        }
    }

    fn logged<T>(
        &self,
        what: &str,
        ask: impl FnOnce(&OutboxFile) -> rusqlite::Result<T>,
    ) -> Option<T> {
        ask(&self.file)
            .inspect_err(
                |error| tracing::error!(%error, what, "The outbox file failed; check the disk."),
            )
            .ok()
    }

    fn in_transaction<T>(
        &mut self,
        what: &str,
        change: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Option<T> {
        let connection = &mut self.file.connection;
        let done = connection.transaction_with_behavior(TransactionBehavior::Immediate).and_then(
            |transaction| {
                let changed = change(&transaction)?;
                transaction.commit()?;
                Ok(changed)
            },
        );
        done.inspect_err(
            |error| tracing::error!(%error, what, "The outbox file failed; check the disk."),
        )
        .ok()
    }
}

/// Identity of a spot reading that the device itself stamped: device, channel, metrics, device
/// time, device number and values. Without a stamp nobody can tell a repeat from a second reading.
fn identity(group: &ReadingGroup) -> Option<String> {
    let stamped = group.device_time.is_some() || group.device_seq.is_some();
    if group.occurrence != Occurrence::Spot || !stamped {
        return None;
    }
    let readings: Vec<_> = group
        .readings
        .iter()
        .map(|reading| (reading.metric, &reading.value, &reading.unit))
        .collect();
    let stamp = (group.device_time.map(DeviceTime::civil_ms), group.device_seq);
    Some(format!("{}|{stamp:?}|{readings:?}", group.channel.as_str()))
}

/// Seconds east of UTC that the zone had at that civil time.
fn offset(zone: &jiff::tz::TimeZone, civil_ms: i64) -> Option<i32> {
    let civil = jiff::Timestamp::from_millisecond(civil_ms).ok()?;
    let civil = jiff::tz::TimeZone::UTC.to_datetime(civil);
    Some(zone.to_zoned(civil).ok()?.offset().seconds())
}
