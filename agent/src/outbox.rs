//! The durable queue: append, read, forget.
//!
//! Not here: what goes out when (`uplink-proto`), MQTT.
//!
//! One thread writes, with group commit: urgent records at once, trend within `commit_ms`,
//! waveforms within a second. Everybody else talks to it through [`Outbox`].
//!
//! # Invariants
//! - a seq is assigned in the transaction that stores its envelope, and never again
//! - the uplink may still speak of a file that was replaced: what it says goes by the outbox id
//! - a device's cursor is committed with the records it covers
//! - a row is deleted only when acked (after a day, or when there is no room), or as a counted drop
//! - waves and trend leave a part of the limit, and of the disk, to urgent records
//! - a file that cannot be opened or written is tried again and again, and `status` says why

mod change;
mod checksum;
mod disk;
mod file;
mod holds;
pub(crate) mod inspect;
mod log;
mod loss;
mod migration;
mod pending;
mod place;
mod queue;
mod retention;
mod row;
mod salvage;
mod writer;

use crate::{clock::Clock, supervisor::Worker};
use drivers::serial::Cursor;
use model::{
    id::{DeviceId, Lane, OutboxId, Seq},
    record::Record,
};
use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use thiserror::Error;
use tokio::sync::{mpsc, oneshot, watch};
use uplink_proto::sender::LaneStock;

pub(crate) use disk::Room;
pub(crate) use file::{Reader, blames_file, is_damage};

/// Commands that may wait: a second of four monitors.
const COMMANDS_MAX: usize = 256;
/// News that may wait for the uplink; when they do not fit it looks at the file again.
const NEWS_MAX: usize = 1024;

/// Where a record comes from, so that its link hears of the commit.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct Origin {
    /// The link, counted from 0.
    pub(crate) link: usize,
    /// The link's own count of what it handed over.
    pub(crate) number: u64,
}

/// Records of the agent itself.
pub(crate) const NO_LINK: Origin = Origin { link: usize::MAX, number: 0 };

/// How the outbox is opened.
#[derive(Clone, Debug)]
pub(crate) struct OutboxSettings {
    pub(crate) path: PathBuf,
    pub(crate) commit_after: Duration,
    pub(crate) max_bytes: u64,
    pub(crate) time_zone: jiff::tz::TimeZone,
}

/// What the uplink hears of.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum News {
    /// A row was committed.
    Stored(Lane, Seq),
    /// Rows were given up.
    Dropped { lane: Lane, first: Seq, last: Seq },
    /// There was more than fits: look at the file.
    Overflow,
}

/// How much is stored.
#[derive(Clone, Debug, Default)]
pub(crate) struct OutboxStats {
    /// Rows that are not acked: urgent, trend, wave.
    pub(crate) unacked: [u64; 3],
    /// When the oldest unacked row was opened, ms since 1970.
    pub(crate) oldest_ms: Option<i64>,
    /// Bytes of the file that are in use.
    pub(crate) bytes: u64,
    /// Bytes that may be kept.
    pub(crate) max_bytes: u64,
    /// How many seconds more it holds at the rate of the last day, once that is known.
    pub(crate) holds_s: Option<u64>,
    /// How much of its disk is free, in percent, once somebody has looked.
    pub(crate) free_pct: Option<u8>,
    /// Spot readings that were there already.
    pub(crate) repeats: u64,
    /// What the disk has room for.
    pub(crate) room: Room,
}

/// What the uplink starts from.
#[derive(Clone, Debug)]
pub(crate) struct Stock {
    pub(crate) outbox: OutboxId,
    /// Where the file is: beside the configured one if that is of a newer agent.
    pub(crate) path: PathBuf,
    /// Urgent, trend, wave.
    pub(crate) lanes: [LaneStock; 3],
}

/// The answer of the file.
type Answer<T> = oneshot::Sender<rusqlite::Result<T>>;

/// What the writing thread is asked.
#[derive(Debug)]
enum Command {
    Record(Origin, Box<Record>),
    Remember(Origin, DeviceId, Cursor),
    Watch(usize, watch::Sender<u64>),
    Cursor(DeviceId, Answer<Option<Cursor>>),
    Forget { outbox: OutboxId, lane: Lane, first: Seq, last: Seq },
    LostAtCounty { outbox: OutboxId, lane: Lane, first: Seq, last: Seq, reply: Answer<()> },
    Damaged(OutboxId, Lane, Seq),
    Broken(OutboxId, rusqlite::Error),
    NextConnection(Answer<u64>),
    StartAnew(Answer<()>),
    Stock(oneshot::Sender<Stock>),
    Stats(oneshot::Sender<OutboxStats>),
}

/// The writing thread has ended: the agent stops.
#[derive(Clone, Copy, Debug, Error)]
#[error("the outbox is closed; the agent is stopping")]
pub(crate) struct OutboxClosed;

/// A question was not answered.
#[derive(Debug, Error)]
pub(crate) enum AskOutboxError {
    /// The agent stops.
    #[error(transparent)]
    Closed(#[from] OutboxClosed),
    /// The file.
    #[error("the outbox file failed: {0}; check the disk")]
    File(#[from] rusqlite::Error),
}

/// A way to the outbox.
#[derive(Clone, Debug)]
pub(crate) struct Outbox {
    commands: mpsc::Sender<Command>,
    failing: watch::Receiver<Option<String>>,
    commits: watch::Receiver<Option<Arc<Path>>>,
}

impl Outbox {
    /// Starts the writing thread. The file is opened there, however long that takes; until then
    /// whoever hands over or asks something waits. Told to finish, it commits what was handed over.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub(crate) fn start(
        settings: OutboxSettings,
        clock: Clock,
    ) -> io::Result<(Self, Worker, mpsc::Receiver<News>)> {
        let (commands, receiver) = mpsc::channel(COMMANDS_MAX);
        let (news, heard) = mpsc::channel(NEWS_MAX);
        let (failing, why) = watch::channel(None);
        let (committed, commits) = watch::channel(None);
        let thread = Worker::start("outbox", |closing| {
            let desk = writer::Desk { settings, clock, news, failing, committed, closing };
            writer::run(desk, receiver)
        })?;
        Ok((Self { commands, failing: why, commits }, thread, heard))
    }

    /// Why nothing can be written, while that is so.
    pub(crate) fn failing(&self) -> Option<String> {
        self.failing.borrow().clone()
    }

    /// Changes whenever rows were committed: to which file. None before one is open.
    pub(crate) fn commits(&self) -> watch::Receiver<Option<Arc<Path>>> {
        self.commits.clone()
    }

    /// Hands a record over; waits for room, never for the commit.
    pub(crate) async fn enqueue(&self, origin: Origin, record: Record) -> Result<(), OutboxClosed> {
        self.send(Command::Record(origin, Box::new(record))).await
    }

    /// Hands over what a driver must know after a restart: committed with what came before it.
    pub(crate) async fn remember(
        &self,
        origin: Origin,
        device: DeviceId,
        cursor: Cursor,
    ) -> Result<(), OutboxClosed> {
        self.send(Command::Remember(origin, device, cursor)).await
    }

    /// Tells up to which number everything of that link is committed.
    pub(crate) async fn committed(
        &self,
        link: usize,
    ) -> Result<watch::Receiver<u64>, OutboxClosed> {
        let (sender, receiver) = watch::channel(0);
        self.send(Command::Watch(link, sender)).await?;
        Ok(receiver)
    }

    /// The cursor a driver remembered last.
    pub(crate) async fn cursor(&self, device: &DeviceId) -> Result<Option<Cursor>, OutboxClosed> {
        let cursor = self.ask(|reply| Command::Cursor(device.clone(), reply)).await?;
        Ok(cursor.unwrap_or_else(|error| {
            // The device tells again what it told before; repeats are not recorded twice.
            tracing::error!(%device, %error, "What the driver knew cannot be read.");
            None
        }))
    }

    /// The county has committed these rows of that outbox.
    pub(crate) async fn forget(
        &self,
        outbox: OutboxId,
        lane: Lane,
        (first, last): (Seq, Seq),
    ) -> Result<(), OutboxClosed> {
        self.send(Command::Forget { outbox, lane, first, last }).await
    }

    /// The county has these rows of that outbox no more, because it was restored from a backup: what
    /// is kept of them waits again, and what is not is counted. Done twice it is done once.
    pub(crate) async fn lost_at_county(
        &self,
        outbox: OutboxId,
        lane: Lane,
        (first, last): (Seq, Seq),
    ) -> Result<(), AskOutboxError> {
        let ask = |reply| Command::LostAtCounty { outbox, lane, first, last, reply };
        Ok(self.ask(ask).await??)
    }

    /// A row of that outbox cannot be read back: it is given up, and counted.
    pub(crate) async fn damaged(
        &self,
        outbox: OutboxId,
        lane: Lane,
        seq: Seq,
    ) -> Result<(), OutboxClosed> {
        self.send(Command::Damaged(outbox, lane, seq)).await
    }

    /// Nothing of that outbox can be read back: it is kept aside like any damaged one.
    pub(crate) async fn broken(
        &self,
        outbox: OutboxId,
        error: rusqlite::Error,
    ) -> Result<(), OutboxClosed> {
        self.send(Command::Broken(outbox, error)).await
    }

    /// The next connection number, kept over restarts.
    pub(crate) async fn next_connection(&self) -> Result<u64, AskOutboxError> {
        Ok(self.ask(Command::NextConnection).await??)
    }

    /// This outbox was restored or copied: what is not acked gets new numbers under a new id.
    pub(crate) async fn start_anew(&self) -> Result<(), AskOutboxError> {
        Ok(self.ask(Command::StartAnew).await??)
    }

    /// Its id, and what of it is not acked.
    pub(crate) async fn stock(&self) -> Result<Stock, OutboxClosed> {
        self.ask(Command::Stock).await
    }

    /// How much is stored.
    pub(crate) async fn stats(&self) -> Result<OutboxStats, OutboxClosed> {
        self.ask(Command::Stats).await
    }

    async fn send(&self, command: Command) -> Result<(), OutboxClosed> {
        self.commands.send(command).await.map_err(|_| OutboxClosed)
    }

    async fn ask<T>(
        &self,
        question: impl FnOnce(oneshot::Sender<T>) -> Command,
    ) -> Result<T, OutboxClosed> {
        let (reply, answer) = oneshot::channel();
        self.send(question(reply)).await?;
        answer.await.map_err(|_| OutboxClosed)
    }
}

#[cfg(test)]
mod tests;
