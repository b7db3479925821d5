//! The thread that writes: commits in groups, and answers what is asked of the file.

use super::{
    Answer, COMMANDS_MAX, Command, NO_LINK, News, Origin, OutboxSettings, OutboxStats, Stock,
    change::{Change, Changed},
    disk::{Room, Space},
    file::{self, OutboxFile},
    holds::{self, Lens, Stored},
    queue::Queue,
    retention,
    salvage::Salvage,
};
use crate::clock::{Clock, ON_ITS_WAY_MS, SET_MS};
use model::{
    id::{DeviceId, Lane},
    record::{ClockChange, DropRecord, Record},
    time::{MonoTime, Now, WallTime},
};
use rusqlite::ErrorCode;
use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use uplink_proto::sender::LaneStock;

/// A commit that failed (disk full, card gone) is tried again after this, and so is the file.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// Old acked rows are looked for this often, and again after the second as long as there are any.
const PRUNE_EVERY: Duration = Duration::from_secs(60);
const PRUNE_AGAIN: Duration = Duration::from_secs(1);
/// The room on the disk is looked at this often.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// A step of salvage in this time: 5 MiB/s at most, and other commits go in between.
const SALVAGE_EVERY: Duration = Duration::from_millis(50);
/// While the disk has no room for what comes next, it is looked at again after this.
const SALVAGE_LATER: Duration = LOOK_EVERY;

/// What the thread works with, whatever file is open.
pub(super) struct Desk {
    pub(super) settings: OutboxSettings,
    pub(super) clock: Clock,
    pub(super) news: mpsc::Sender<News>,
    /// Why nothing can be written, while that is so.
    pub(super) failing: watch::Sender<Option<String>>,
    /// To which file rows were committed.
    pub(super) committed: watch::Sender<Option<Arc<Path>>>,
    pub(super) closing: CancellationToken,
}

/// The file turned out to be broken.
#[derive(Debug)]
pub(super) struct Damaged(rusqlite::Error);

/// Serves until it is told to close or nobody can ask any more, then commits what is left.
pub(super) async fn run(desk: Desk, mut commands: mpsc::Receiver<Command>) {
    let settings = &desk.settings;
    let mut queue = Queue::new(settings.commit_after, settings.time_zone.clone());
    let mut damaged = None;
    while let Some(file) = opened(&desk, damaged.take()).await {
        let mut writer = Writer::new(file, &desk, &mut queue);
        let Err(Damaged(error)) = writer.serve(&mut commands).await else { return };
        damaged = Some((writer.lose_file(), error));
    }
}

/// The file, as soon as it can be opened; a damaged one is moved aside first. `None` when the agent
/// stops before that.
async fn opened(
    desk: &Desk,
    mut damaged: Option<(PathBuf, rusqlite::Error)>,
) -> Option<OutboxFile> {
    loop {
        let now = desk.clock.now();
        let aside = match &damaged {
            Some((path, error)) => file::move_aside(path, now.wall, &error.to_string()),
            None => Ok(()),
        };
        if aside.is_ok() {
            damaged = None;
        }
        let error = match aside.and_then(|()| file::open(&desk.settings.path, now.wall)) {
            Ok(file) => {
                desk.failing.send_replace(None);
                return Some(file);
            }
            Err(error) => error.to_string(),
        };
        tracing::error!(error, "The outbox cannot be opened; nothing is read from devices.");
        desk.failing.send_replace(Some(error));
        tokio::select! {
            () = desk.clock.sleep_until(Some(now.mono + RETRY_AFTER)) => {}
            () = desk.closing.cancelled() => return None,
        }
    }
}

/// The thread and one file.
pub(super) struct Writer<'a> {
    pub(super) file: OutboxFile,
    desk: &'a Desk,
    pub(super) queue: &'a mut Queue,
    stored: Stored,
    repeats: u64,
    /// A commit failed: nothing is tried before this.
    retry_at: Option<MonoTime>,
    prune_at: MonoTime,
    /// An outbox that is kept aside, and when its next rows are taken over.
    pub(super) salvage: Option<Salvage>,
    pub(super) salvage_at: MonoTime,
    /// The room on the disk, what there is room for, and when that is looked at again.
    space: Option<Space>,
    pub(super) room: Room,
    look_at: MonoTime,
    overflow: bool,
    /// The clocks when they were looked at last.
    pub(super) looked: Now,
    /// When they were looked at last before somebody set the clock.
    before_set: Option<Now>,
}

impl<'a> Writer<'a> {
    pub(super) fn new(file: OutboxFile, desk: &'a Desk, queue: &'a mut Queue) -> Self {
        let now = desk.clock.mono();
        desk.committed.send_replace(Some(file.path().into()));
        let salvage = Salvage::next(&file);
        let stored = Stored::read(&file.connection, file.ran_s(now));
        Self {
            file,
            desk,
            queue,
            stored,
            repeats: 0,
            retry_at: None,
            prune_at: now,
            salvage,
            salvage_at: now,
            space: None,
            room: Room::Enough,
            look_at: now,
            overflow: false,
            looked: desk.clock.now(),
            before_set: None,
        }
    }

    async fn serve(&mut self, commands: &mut mpsc::Receiver<Command>) -> Result<(), Damaged> {
        while self.pass(commands).await? {}
        self.take_waiting(commands)?;
        self.queue.hurry(self.desk.clock.mono());
        self.commit()?;
        if let Some(error) = &*self.desk.failing.borrow() {
            tracing::error!(error, "The last records could not be committed.");
        }
        Ok(())
    }

    /// Waits until there is something to do, and does it; `false` if it is told to close, or nobody
    /// can ask any more.
    pub(super) async fn pass(
        &mut self,
        commands: &mut mpsc::Receiver<Command>,
    ) -> Result<bool, Damaged> {
        let salvage_at = self.salvage.as_ref().map(|_| self.salvage_at);
        let others = [self.commit_at(), salvage_at].into_iter().flatten();
        let wake_at = others.fold(self.prune_at.min(self.look_at), MonoTime::min);
        tokio::select! {
            biased;
            () = self.desk.closing.cancelled() => return Ok(false),
            () = self.desk.clock.sleep_until(Some(wake_at)) => {}
            command = commands.recv(), if self.queue.make_room() => {
                let Some(command) = command else { return Ok(false) };
                self.take(command)?;
            }
        }
        // What came meanwhile goes into the same commit; and who waits is heard also when there
        // is always something that is due.
        self.take_waiting(commands)?;
        self.look_at_clock(self.desk.clock.now());
        let now = self.desk.clock.mono();
        if self.look_at <= now {
            self.look_at_disk()?;
        }
        if self.commit_at().is_some_and(|due| due <= now) {
            self.commit()?;
        }
        if self.prune_at <= now {
            self.prune()?;
        }
        if self.salvage.is_some() && self.salvage_at <= now {
            self.salvage()?;
        }
        Ok(true)
    }

    fn take_waiting(&mut self, commands: &mut mpsc::Receiver<Command>) -> Result<(), Damaged> {
        for _ in 0..COMMANDS_MAX {
            if !self.queue.make_room() {
                break;
            }
            let Ok(command) = commands.try_recv() else { break };
            self.take(command)?;
        }
        Ok(())
    }

    fn commit_at(&self) -> Option<MonoTime> {
        let due = self.queue.due()?;
        Some(self.retry_at.map_or(due, |retry_at| due.max(retry_at)))
    }

    pub(super) fn take(&mut self, command: Command) -> Result<(), Damaged> {
        // Whoever asked and went away needs no answer.
        match command {
            Command::Record(origin, record) => self.add(origin, *record),
            Command::Remember(origin, device, cursor) => {
                self.queue.remember(self.desk.clock.mono(), origin, device, cursor);
            }
            Command::Watch(link, told) => self.queue.watch(link, told),
            Command::Cursor(device, reply) => drop(reply.send(self.file.cursor(&device))),
            // They are about a file that is no longer the one.
            Command::Forget { outbox, .. }
            | Command::Damaged(outbox, ..)
            | Command::Broken(outbox, _)
                if outbox != self.file.id() => {}
            Command::LostAtCounty { outbox, reply, .. } if outbox != self.file.id() => {
                drop(reply.send(Ok(())));
            }
            Command::Forget { lane, first, last, .. } => {
                let ranges = self.file.take_acked(lane, first, last);
                self.queue.note_acked(self.desk.clock.mono(), lane, ranges);
            }
            Command::Broken(_, error) => return Err(Damaged(error)),
            Command::Damaged(_, lane, seq) => {
                // Outside of the transaction: meeting a broken page ends one.
                let opened_at = self.file.opened_at(lane, seq).ok().flatten();
                self.change("giving up a damaged row", |change| {
                    change.give_up_damaged(lane, seq, opened_at);
                    Ok(())
                })?;
            }
            Command::NextConnection(reply) => drop(reply.send(self.file.next_connection())),
            Command::LostAtCounty { lane, first, last, reply, .. } => {
                // Acks that wait are of before: they are written, and undone with the others.
                let done = self.transact(|change| change.lost_at_county(lane, (first, last)));
                answer(reply, done)?;
            }
            Command::StartAnew(reply) => {
                let done = self.start_anew();
                answer(reply, done)?;
            }
            Command::Stock(reply) => {
                self.overflow = false;
                drop(reply.send(self.stock()));
            }
            Command::Stats(reply) => drop(reply.send(self.stats())),
        }
        Ok(())
    }

    fn add(&mut self, origin: Origin, record: Record) {
        let now = self.desk.clock.now();
        self.look_at_clock(now);
        let now = self.by_setting_of(&record, now);
        let file = &self.file;
        let known = |device: &DeviceId| {
            file.identities(device)
                .inspect_err(|error| tracing::error!(%error, "Identities cannot be read."))
                .unwrap_or_default()
        };
        if !self.queue.add(now, origin, record, known) {
            self.repeats += 1;
        }
        self.queue.shed(self.desk.clock.mono(), self.room);
    }

    /// That the clock was set, or is trusted otherwise than before, is a record.
    pub(super) fn look_at_clock(&mut self, now: Now) {
        let set_ms = now.set_since(self.looked);
        let was_set = set_ms.unsigned_abs() > SET_MS;
        if !was_set && now.quality == self.looked.quality {
            return;
        }
        if was_set {
            tracing::warn!(set_ms, "The clock was set.");
            let looked = Some(self.looked);
            self.before_set = looked.filter(|_| set_ms.unsigned_abs() > ON_ITS_WAY_MS);
        }
        let before = WallTime::from_unix_ms(now.wall.unix_ms().saturating_sub(set_ms));
        let evidence = self.desk.clock.trust().evidence;
        let change = ClockChange { before, evidence, observed: now.observed() };
        self.queue.add(now, NO_LINK, Record::Clock(change), |_| Vec::new());
        self.looked = now;
    }

    /// This moment by the setting of the clock by which a record is: it may have been decoded, or
    /// its first sample, before the clock was set.
    pub(super) fn by_setting_of(&self, record: &Record, now: Now) -> Now {
        let Some(before) = self.before_set else { return now };
        let old_ms = now.wall.unix_ms().saturating_sub(now.set_since(before));
        let wall = WallTime::from_unix_ms(old_ms);
        let apart_ms = |at: WallTime| at.unix_ms().abs_diff(record.observed().at.unix_ms());
        if apart_ms(wall) < apart_ms(now.wall) { Now { wall, ..now } } else { now }
    }

    /// Commits what is due, whatever else waits in the channel.
    pub(super) fn commit(&mut self) -> Result<(), Damaged> {
        let now = self.desk.clock.mono();
        let [urgent, trend, wave] = &self.queue.lanes;
        let ripe = [urgent, trend, wave].map(|lane| self.queue.is_ripe(lane, now));
        let with_acks = self.queue.are_acks_ripe(now) || self.desk.closing.is_cancelled();
        match self.write(ripe, with_acks) {
            Ok(changed) => {
                self.retry_at = None;
                self.desk.failing.send_replace(None);
                self.note_commit(ripe, with_acks);
                let lens =
                    changed.stored.iter().map(|row| u64::try_from(row.len).unwrap_or_default());
                self.stored.add(self.file.ran_s(now), lens.sum());
                self.tell_changed(changed);
                self.keep_inside_limit()?;
            }
            Err(error) if file::blames_file(&error) => return Err(Damaged(error)),
            Err(error) => {
                tracing::error!(%error, "A commit failed and is tried again; check the disk.");
                self.desk.failing.send_replace(Some(error.to_string()));
                self.retry_at = Some(now + RETRY_AFTER);
                if error.sqlite_error_code() == Some(ErrorCode::DiskFull) {
                    self.change("making room", retention::make_way)?;
                }
            }
        }
        Ok(())
    }

    /// One transaction: acks, envelopes, cursors, identities.
    fn write(&mut self, ripe: [bool; 3], with_acks: bool) -> rusqlite::Result<Changed> {
        let mut change = self.file.change(self.desk.clock.now())?;
        if with_acks {
            change.mark_acked(&self.queue.acked)?;
        }
        let lanes = self.queue.lanes.iter().zip(ripe).filter(|(_, ripe)| *ripe);
        for (pending, _) in lanes {
            if let Some(given_up) = pending.given_up() {
                let super::pending::GivenUp { count, from, until } = given_up;
                change.give_up_unwritten(pending.lane, count, from, until);
            }
            for batch in pending.batches() {
                change.append(pending.lane, &batch.envelope)?;
            }
        }
        for (device, (cursor, _)) in &self.queue.cursors {
            change.remember(device, cursor)?;
        }
        let mut grown = BTreeSet::new();
        for (device, identity) in &self.queue.new_identities {
            change.add_identity(device, identity)?;
            grown.insert(device);
        }
        for device in grown {
            change.forget_identities(device)?;
        }
        change.commit()
    }

    fn look_at_disk(&mut self) -> Result<(), Damaged> {
        self.look_at = self.desk.clock.mono() + LOOK_EVERY;
        match Space::of(self.file.path()) {
            Some(space) => self.take_space(space),
            None => Ok(()),
        }
    }

    /// The disk has that much room. Where it is little, what the county has goes back to it.
    pub(super) fn take_space(&mut self, space: Space) -> Result<(), Damaged> {
        self.space = Some(space);
        let inside = retention::free_bytes(&self.file.connection).unwrap_or_default();
        let room = self.room.after(Space { free: space.free.saturating_add(inside), ..space });
        if room != self.room {
            let said = room.says().unwrap_or("there is room for everything again");
            tracing::error!(free = space.free, said, "The room on the disk has changed.");
        }
        self.room = room;
        if room != Room::Enough {
            self.queue.shed(self.desk.clock.mono(), room);
            self.change("making room", |change| retention::delete_acked(change).map(drop))?;
            self.give_back()?;
        }
        Ok(())
    }

    fn keep_inside_limit(&mut self) -> Result<(), Damaged> {
        let max_bytes = self.desk.settings.max_bytes;
        let limit = retention::unreserved(max_bytes);
        if retention::bytes(&self.file.connection).is_ok_and(|bytes| bytes > limit) {
            self.change("making room", |change| retention::make_room(change, max_bytes))?;
        }
        Ok(())
    }

    pub(super) fn prune(&mut self) -> Result<(), Damaged> {
        let mut more = false;
        let now = self.desk.clock.mono();
        let ran_s = self.file.ran_s(now);
        let stored = std::mem::take(&mut self.stored);
        let done = self.change("pruning acked rows", |change| {
            change.note_time()?;
            stored.write(change.connection())?;
            more = retention::prune(change, ran_s)?;
            Ok(())
        });
        self.stored = stored;
        done?;
        self.prune_at = now + if more { PRUNE_AGAIN } else { PRUNE_EVERY };
        if self.salvage.is_none() {
            self.salvage = Salvage::next(&self.file);
        }
        self.give_back()
    }

    fn give_back(&self) -> Result<(), Damaged> {
        match retention::give_back(&self.file.connection) {
            Err(error) if file::blames_file(&error) => return Err(Damaged(error)),
            Err(error) => tracing::error!(%error, "Giving space back failed; check the disk."),
            Ok(()) => {}
        }
        Ok(())
    }

    /// Takes over some rows of an outbox that is kept aside.
    pub(super) fn salvage(&mut self) -> Result<(), Damaged> {
        let Some(mut salvage) = self.salvage.take() else { return Ok(()) };
        if salvage.lane().is_some_and(|lane| !self.room.takes(lane)) {
            self.salvage = Some(salvage); // The rows are safe where they are.
            self.salvage_at = self.desk.clock.mono() + SALVAGE_LATER;
            return Ok(());
        }
        if salvage.is_done() {
            match file::told(salvage.aside()) {
                Ok(()) => self.salvage = Salvage::next(&self.file),
                Err(error) => tracing::error!(%error, "An outbox kept aside is looked at again."),
            }
            self.salvage_at = self.desk.clock.mono() + SALVAGE_EVERY;
            return Ok(());
        }
        let mut came_to = None;
        let done = self.change("salvaging", |change| {
            came_to = Some(salvage.step(change)?);
            Ok(())
        })?;
        let wait = if done { SALVAGE_EVERY } else { RETRY_AFTER };
        if let Some(at) = came_to.filter(|_| done) {
            salvage.came_to(at);
        }
        self.salvage = Some(salvage);
        self.keep_inside_limit()?;
        // However long that took, others come in between.
        self.salvage_at = self.desk.clock.mono() + wait;
        Ok(())
    }

    /// A change that nobody waits for; whether it is on disk. A failure shows in the log.
    fn change(
        &mut self,
        what: &str,
        make: impl FnOnce(&mut Change<'_>) -> rusqlite::Result<()>,
    ) -> Result<bool, Damaged> {
        match self.transact(make) {
            Ok(()) => Ok(true),
            Err(error) if file::blames_file(&error) => Err(Damaged(error)),
            Err(error) => {
                tracing::error!(%error, what, "The outbox file failed; check the disk.");
                Ok(false)
            }
        }
    }

    /// The acks that wait and a change, in one transaction.
    fn transact(
        &mut self,
        make: impl FnOnce(&mut Change<'_>) -> rusqlite::Result<()>,
    ) -> rusqlite::Result<()> {
        let mut change = self.file.change(self.desk.clock.now())?;
        change.mark_acked(&self.queue.acked)?;
        make(&mut change)?;
        let changed = change.commit()?;
        self.queue.forget_acked();
        self.tell_changed(changed);
        Ok(())
    }

    fn start_anew(&mut self) -> rusqlite::Result<()> {
        // Acks are for the old numbers, and cursors go with the records before them.
        let changed = self.write([true; 3], true)?;
        self.note_commit([true; 3], true);
        self.tell_changed(changed);
        let old = self.file.id();
        self.file.start_anew()?;
        tracing::warn!(%old, new = %self.file.id(),
            "This outbox was restored or copied: it goes on under a new id.");
        Ok(())
    }

    /// The file is given up.
    fn lose_file(&mut self) -> PathBuf {
        self.queue.forget_acked();
        // The uplink works with this file.
        self.tell(News::Overflow);
        self.file.path().to_owned()
    }

    /// Everything that was ripe is on disk.
    fn note_commit(&mut self, ripe: [bool; 3], with_acks: bool) {
        if with_acks {
            self.queue.forget_acked();
        }
        self.queue.committed(self.desk.clock.mono(), ripe);
    }

    fn stock(&self) -> Stock {
        let now = self.desk.clock.mono();
        Stock {
            outbox: self.file.id(),
            path: self.file.path().to_owned(),
            lanes: Lane::ALL.map(|lane| {
                let rows = self.file.lane(lane);
                let (unacked, next) = (rows.unacked.clone(), rows.next);
                LaneStock { unacked, next, live_from: rows.live_from(now) }
            }),
        }
    }

    pub(super) fn stats(&self) -> OutboxStats {
        let bytes = retention::bytes(&self.file.connection);
        OutboxStats {
            unacked: Lane::ALL.map(|lane| self.file.lane(lane).unacked.count()),
            oldest_ms: self.file.oldest_ms().ok().flatten(),
            bytes: bytes.unwrap_or_default(),
            max_bytes: self.desk.settings.max_bytes,
            holds_s: self.holds_s(self.space),
            free_pct: self.space.and_then(Space::free_pct),
            repeats: self.repeats,
            room: self.room,
        }
    }

    /// How long it holds what comes in, if the disk has that much room.
    pub(super) fn holds_s(&self, space: Option<Space>) -> Option<u64> {
        let in_a_day = self.stored.in_a_day(self.file.ran_s(self.desk.clock.mono()))?;
        let connection = &self.file.connection;
        let used = retention::bytes(connection).ok()?;
        let unacked = Lane::ALL.map(|lane| self.file.lane(lane).unacked.count());
        let lens = Lens::read(connection, unacked).ok()?;
        let limit = retention::unreserved(self.desk.settings.max_bytes);
        let inside = retention::free_bytes(connection).ok()?;
        let disk = space.map(|space| used.saturating_add(inside).saturating_add(space.usable()));
        holds::seconds(disk.unwrap_or(limit).min(limit), used, lens, in_a_day)
    }

    fn tell_changed(&mut self, changed: Changed) {
        for drop in changed.dropped {
            log_drop(&drop);
            self.tell(News::Dropped { lane: drop.lane, first: drop.first, last: drop.last });
        }
        if !changed.stored.is_empty() {
            self.desk.committed.send_modify(|_| {});
        }
        for row in changed.stored {
            self.tell(News::Stored(row.lane, row.seq));
        }
    }

    /// News that do not fit are replaced by the word to look at the file.
    fn tell(&mut self, news: News) {
        if self.overflow {
            return;
        }
        if self.desk.news.capacity() <= 1 {
            self.overflow = self.desk.news.try_send(News::Overflow).is_ok();
        } else if self.desk.news.try_send(news).is_err() {
            self.overflow = true; // The uplink has ended: the agent stops.
        }
    }
}

/// Answers whoever asked for a change. With a damaged file it is as good as made: the fresh one has
/// another id, and whoever asked looks at that.
fn answer(reply: Answer<()>, done: rusqlite::Result<()>) -> Result<(), Damaged> {
    match done {
        Err(error) if file::blames_file(&error) => {
            drop(reply.send(Ok(())));
            Err(Damaged(error))
        }
        done => {
            drop(reply.send(done));
            Ok(())
        }
    }
}

/// A drop is never silent: the county gets a record of it, the log a line.
fn log_drop(drop: &DropRecord) {
    let DropRecord { lane, first, last, cause, .. } = drop;
    tracing::error!(%lane, %first, %last, cause = cause.name(), "Envelopes were given up.");
}
