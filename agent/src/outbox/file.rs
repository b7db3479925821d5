//! The outbox file: opening it whatever state it is in, and what can be asked of it.
//!
//! Not here: changing rows ([`super::change`]).

use super::{change::Change, checksum, log, migration, place::Places, row};
use drivers::serial::Cursor;
use model::{
    id::{DeviceId, Lane, OutboxId, Seq},
    time::{MonoTime, Now, WallTime},
};
use rusqlite::{
    Connection, OpenFlags, OptionalExtension as _, TransactionBehavior, ffi, limits::Limit, params,
};
use std::{
    collections::VecDeque,
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};
use thiserror::Error;
use uplink_proto::ranges::RangeSet;

/// Schema this agent writes.
pub(super) const SCHEMA: u32 = 3;
/// The first schema of which the number is in the file twice.
const CHECKSUMS: u32 = 3;
/// Bytes of a page of a new file: a commit touches few of them, and each is written whole.
const PAGE_LEN: u32 = 1024;
/// Bytes of the write-ahead log at which its pages go into the file.
const LOG_LEN: u32 = 4 << 20;
/// A small file is checked whole before it is used; a larger one would delay the start too long.
/// Damage in that shows at the first write that meets it.
pub(super) const CHECK_LEN_MAX: u64 = 64 << 20;
/// A file that is kept aside is called so, with a number behind it: what can be read of it is not
/// sent yet and the rest not counted, or all is.
const UNTOLD: &str = "untold-";
const TOLD: &str = "damaged-";
/// Bytes of a value that is read: far more than an envelope has.
const VALUE_LEN_MAX: i32 = 1 << 20;
/// Identities kept of each device. A meter whose numbers began anew reports everything it has on each
/// visit, and a full one has at most 1000 records: with fewer, all of them would be new each time.
pub(super) const IDENTITIES_MAX: u32 = 1024;
/// Rows younger than this are the present; the link may have come up only now.
const LIVE_FOR: Duration = Duration::from_secs(300);
/// A reader goes along the end of a table, a row at a time: it needs the way there and the row.
const READER_CACHE_KIB: u32 = 256;
/// How exactly it is known where the present begins.
const LIVE_STEP: Duration = Duration::from_secs(1);

/// Why the outbox cannot be opened.
#[derive(Debug, Error)]
pub(crate) enum OpenOutboxError {
    /// SQLite.
    #[error(
        "cannot open the outbox {path}: {source}; check that the folder exists, has room and belongs to the agent's user"
    )]
    Open {
        path: PathBuf,
        #[source]
        source: rusqlite::Error,
    },
    /// The damaged file is in the way.
    #[error("cannot move the damaged outbox {path} aside: {source}; check who owns the folder")]
    MoveAside {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// The file system.
    #[error(
        "the file system of {path} cannot keep a write-ahead log; put the data folder on a local disk"
    )]
    NoWal { path: PathBuf },
    /// The fresh file is no better.
    #[error("the outbox {path} cannot be used: {what}; check the disk")]
    Unusable { path: PathBuf, what: String },
}

/// The outbox file, open for writing.
#[derive(Debug)]
pub(super) struct OutboxFile {
    pub(super) connection: Connection,
    path: PathBuf,
    id: OutboxId,
    lanes: [LaneRows; 3],
    /// How long the agent had run with this file before it was opened, in seconds.
    ran_before_s: i64,
}

/// What a lane holds, kept in memory: nobody has to walk the file for it.
#[derive(Clone, Debug)]
pub(super) struct LaneRows {
    /// Rows that are not acked.
    pub(super) unacked: RangeSet,
    /// The number the next row will get.
    pub(super) next: Seq,
    pub(super) places: Places,
    /// What was the next number at some moments of the last minutes, oldest first.
    moments: VecDeque<(MonoTime, Seq)>,
}

/// What an existing file turned out to be.
enum Found {
    Good(Box<OutboxFile>),
    /// The file system keeps no write-ahead log.
    NoWal,
    FromTheFuture(u32),
    Damaged(String),
}

/// Opens the outbox at `path`. A damaged file is moved aside and kept, and a fresh one started; a
/// file of a newer agent is left untouched, and another one started beside it.
pub(super) fn open(path: &Path, now: WallTime) -> Result<OutboxFile, OpenOutboxError> {
    let mut path = path.to_owned();
    let mut found = look(&path)?;
    if let Found::FromTheFuture(schema) = found {
        let beside = path.with_extension(format!("schema{SCHEMA}.sqlite"));
        tracing::error!(path = %path.display(), schema, beside = %beside.display(),
            "The outbox is of a newer agent and left untouched; install the newer agent again.");
        path = beside;
        found = look(&path)?;
    }
    if let Found::Damaged(what) = found {
        move_aside(&path, now, &what)?;
        found = look(&path)?;
    }
    match found {
        Found::Good(file) => {
            for left in left_beside(&path) {
                let why = "it was in use while there was a file of a newer agent";
                if let Err(error) = move_aside(&left, now, why) {
                    tracing::error!(%error, "What is in it is not sent before the next start.");
                }
            }
            Ok(*file)
        }
        Found::NoWal => Err(OpenOutboxError::NoWal { path }),
        Found::Damaged(what) => Err(OpenOutboxError::Unusable { path, what }),
        Found::FromTheFuture(schema) => {
            Err(OpenOutboxError::Unusable { path, what: format!("schema {schema}") })
        }
    }
}

/// Whether what was read is not what was written, or cannot be read any more.
pub(crate) fn is_damage(error: &rusqlite::Error) -> bool {
    use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
    const UNREADABLE: [i32; 3] =
        [ffi::SQLITE_IOERR_READ, ffi::SQLITE_IOERR_SHORT_READ, ffi::SQLITE_IOERR_CORRUPTFS];
    let Some(error) = error.sqlite_error() else { return false };
    matches!(error.code, DatabaseCorrupt | NotADatabase)
        || UNREADABLE.contains(&error.extended_code)
}

/// Whether trying again will not help. What is not about the disk, the folder or another process is
/// about the file: whatever a flipped bit makes of it, the agent has to start and to write.
pub(crate) fn blames_file(error: &rusqlite::Error) -> bool {
    use rusqlite::ErrorCode::{
        CannotOpen, DatabaseBusy, DatabaseLocked, DiskFull, FileLockingProtocolFailed,
        NoLargeFileSupport, OutOfMemory, PermissionDenied, ReadOnly, SystemIoFailure,
    };
    let is_outside = error.sqlite_error_code().is_some_and(|code| {
        matches!(
            code,
            CannotOpen
                | DatabaseBusy
                | DatabaseLocked
                | DiskFull
                | FileLockingProtocolFailed
                | NoLargeFileSupport
                | OutOfMemory
                | PermissionDenied
                | ReadOnly
                | SystemIoFailure
        )
    });
    is_damage(error) || !is_outside
}

/// Keeps a file under another name. Nobody may have it open for writing. Until [`told`] its name
/// says that what can be read of it is not sent, and what is lost with it not counted.
pub(super) fn move_aside(path: &Path, now: WallTime, why: &str) -> Result<(), OpenOutboxError> {
    if finish_moves(path)? {
        return Ok(());
    }
    // The clock of a box may stand at the same moment after each start.
    let aside =
        (now.unix_ms()..).map(|number| path.with_extension(format!("{UNTOLD}{number}.sqlite")));
    let is_free = |aside: &PathBuf| {
        let names = [aside, &told_name(aside)].map(|name| [name.clone(), beside(name, "-wal")]);
        !names.iter().flatten().any(|name| name.exists())
    };
    let aside = aside.into_iter().find(is_free).unwrap_or_else(|| path.with_extension(UNTOLD));
    // Of a log without its file nothing can be told, and it must not wait for another file.
    let aside = if path.exists() { aside } else { told_name(&aside) };
    tracing::error!(path = %path.display(), aside = %aside.display(), error = why,
        "An outbox is kept aside; what can be read of it is sent, the rest is counted.");
    // The log goes first: should the power fail in between, it must not be taken for one of the
    // fresh file.
    ["-wal", "-shm", ""].into_iter().try_for_each(|suffix| rename(&aside, path, suffix))
}

/// Ends what was cut between two renames: a file without its log is older than what was committed,
/// and would give numbers again. Whether that file was moved aside now.
fn finish_moves(path: &Path) -> Result<bool, OpenOutboxError> {
    let mut moved = false;
    for aside in of_lone_logs(path) {
        if told_name(&aside).exists() {
            told(&aside)?;
        } else if fs::metadata(beside(path, "-wal")).is_ok_and(|log| log.len() > 0) {
            tracing::error!(path = %path.display(), aside = %aside.display(),
                "A log that was kept aside is left there: the outbox has begun another one since.");
        } else if path.exists() {
            tracing::error!(path = %path.display(), aside = %aside.display(),
                "An outbox is kept aside, as its log is already.");
            ["-shm", ""].into_iter().try_for_each(|suffix| rename(&aside, path, suffix))?;
            moved = true;
        }
    }
    Ok(moved)
}

/// Where that file was being moved to when only its log is there, or was told when only its log is
/// left.
fn of_lone_logs(path: &Path) -> Vec<PathBuf> {
    let stem = path.file_stem().map(|stem| stem.to_string_lossy()).unwrap_or_default();
    let begin = format!("{stem}.{UNTOLD}");
    let entries = path.parent().into_iter().flat_map(fs::read_dir).flatten().flatten();
    let asides = entries.filter_map(|entry| {
        let name = entry.file_name();
        let aside = name.to_str()?.strip_suffix("-wal")?;
        aside.strip_prefix(&begin)?.strip_suffix(".sqlite")?.parse::<i64>().ok()?;
        Some(path.with_file_name(aside)).filter(|aside| !aside.exists())
    });
    asides.collect()
}

/// Files of the outbox in that folder that were moved aside and are not told.
pub(super) fn kept_aside(path: &Path) -> Vec<PathBuf> {
    others(path, |what| what.contains(UNTOLD))
}

/// Outboxes that were in use beside one of a newer agent, while that agent is here again.
fn left_beside(path: &Path) -> Vec<PathBuf> {
    others(path, |what| {
        let schema = what.strip_prefix("schema").and_then(|number| number.parse::<u32>().ok());
        schema.is_some_and(|schema| schema <= SCHEMA)
    })
}

/// Other files of that outbox, by what is between its name and `.sqlite`.
fn others(path: &Path, is_wanted: impl Fn(&str) -> bool) -> Vec<PathBuf> {
    let name = path.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
    let Some((begin, folder)) = name.split_once('.').map(|(begin, _)| begin).zip(path.parent())
    else {
        return Vec::new();
    };
    let is_wanted = |other: &PathBuf| {
        let name = other.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
        let what = name.strip_prefix(begin).and_then(|rest| rest.strip_prefix('.'));
        let what = what.and_then(|rest| rest.strip_suffix(".sqlite"));
        other != path && what.is_some_and(&is_wanted)
    };
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(is_wanted).collect()
}

/// What could be read of that file, and the count of the rest, is on disk: its name says so.
pub(super) fn told(aside: &Path) -> Result<(), OpenOutboxError> {
    let name = told_name(aside);
    // The file itself goes first: without it the rest is not looked at again.
    ["", "-wal", "-shm"].into_iter().try_for_each(|suffix| rename(&name, aside, suffix))
}

fn told_name(aside: &Path) -> PathBuf {
    let name = aside.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
    aside.with_file_name(name.replacen(UNTOLD, TOLD, 1))
}

/// Renames one of the files of a database, if it is there.
fn rename(to: &Path, from: &Path, suffix: &str) -> Result<(), OpenOutboxError> {
    match fs::rename(beside(from, suffix), beside(to, suffix)) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(OpenOutboxError::MoveAside { path: from.to_owned(), source })
        }
        _ => Ok(()),
    }
}

/// The name of a database with something behind it.
pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

fn look(path: &Path) -> Result<Found, OpenOutboxError> {
    finish_moves(path)?;
    match look_inside(path) {
        Err(error) if blames_file(&error) => Ok(Found::Damaged(error.to_string())),
        found => found.map_err(|source| OpenOutboxError::Open { path: path.to_owned(), source }),
    }
}

fn look_inside(path: &Path) -> rusqlite::Result<Found> {
    let len = fs::metadata(path).map_or(0, |found| found.len());
    // Before SQLite takes out of the log what it believes of it.
    if log::is_damaged(path) {
        return Ok(Found::Damaged("its write-ahead log is damaged".to_owned()));
    }
    let mut connection = Connection::open(path)?;
    connection.busy_timeout(Duration::from_secs(5))?;
    let schema = schema(&connection)?;
    if schema >= CHECKSUMS && meta(&connection, "schema")? != Some(schema) {
        return Ok(Found::Damaged(format!("it is not known what schema it has, {schema} or not")));
    }
    if schema > SCHEMA {
        return Ok(Found::FromTheFuture(schema));
    }
    // A file that is there keeps the pages it has.
    connection.execute_batch(&format!(
        "PRAGMA page_size={PAGE_LEN};
         PRAGMA auto_vacuum=INCREMENTAL;
         PRAGMA journal_mode=WAL;
         PRAGMA synchronous=FULL;
         PRAGMA journal_size_limit={};",
        4 * LOG_LEN
    ))?;
    let page_len: u32 = connection.query_row("PRAGMA page_size", [], |row| row.get(0))?;
    connection
        .execute_batch(&format!("PRAGMA wal_autocheckpoint={}", LOG_LEN / page_len.max(1)))?;
    if schema > 0
        && len <= CHECK_LEN_MAX
        && let Some(what) = what_is_broken(&connection)?
    {
        return Ok(Found::Damaged(what));
    }
    migration::run(&mut connection, schema)?;
    let mode: String = connection.query_row("PRAGMA journal_mode", [], |row| row.get(0))?;
    if mode != "wal" {
        return Ok(Found::NoWal);
    }
    let id = match stored_id(&connection)? {
        Some(id) => id,
        None => {
            let id = random_id()?;
            connection.execute("INSERT INTO meta VALUES ('outbox_id', ?1)", [id.as_bytes()])?;
            id
        }
    };
    let lanes = lanes(&connection)?;
    let ran_before_s = meta(&connection, "ran_s")?.unwrap_or_default();
    let path = path.to_owned();
    Ok(Found::Good(Box::new(OutboxFile { connection, path, id, lanes, ran_before_s })))
}

/// The schema a file says it has; 0 if it is fresh.
pub(super) fn schema(connection: &Connection) -> rusqlite::Result<u32> {
    connection.query_row("PRAGMA user_version", [], |row| row.get(0))
}

/// Looks at every page; what the first of the broken ones is.
pub(super) fn what_is_broken(connection: &Connection) -> rusqlite::Result<Option<String>> {
    let verdict: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    Ok((verdict != "ok").then_some(verdict))
}

pub(super) fn stored_id(connection: &Connection) -> rusqlite::Result<Option<OutboxId>> {
    Ok(meta(connection, "outbox_id")?.map(OutboxId::from_bytes))
}

pub(super) fn meta<T: rusqlite::types::FromSql>(
    connection: &Connection,
    key: &str,
) -> rusqlite::Result<Option<T>> {
    connection
        .query_row("SELECT value FROM meta WHERE key = ?1", [key], |row| row.get(0))
        .optional()
}

fn lanes(connection: &Connection) -> rusqlite::Result<[LaneRows; 3]> {
    let rows = |lane| -> rusqlite::Result<LaneRows> {
        let places = Places::read(connection, lane)?;
        let settled = settled(connection, lane)?;
        let next = next_seq(connection, lane, &places, &settled)?;
        Ok(LaneRows { unacked: unacked(next, &settled), next, places, moments: VecDeque::new() })
    };
    Ok([rows(Lane::Urgent)?, rows(Lane::Trend)?, rows(Lane::Wave)?])
}

fn random_id() -> rusqlite::Result<OutboxId> {
    let mut bytes = [0; 16];
    let filled = aws_lc_rs::rand::fill(&mut bytes);
    filled.map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))?;
    Ok(OutboxId::from_bytes(bytes))
}

impl OutboxFile {
    /// Begins one transaction.
    pub(super) fn change(&mut self, now: Now) -> rusqlite::Result<Change<'_>> {
        let ran_s = self.ran_s(now.mono);
        let transaction =
            self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        Ok(Change::new(transaction, &mut self.lanes, self.id, now, ran_s))
    }

    /// The county says that these rows are committed there: what of them was not acked yet. It is
    /// on disk with the next change that marks it; forgetting it costs a resend.
    pub(super) fn take_acked(&mut self, lane: Lane, first: Seq, last: Seq) -> Vec<(Seq, Seq)> {
        let unacked = &mut lane.of_mut(&mut self.lanes).unacked;
        let there = unacked.within(first, last);
        there.iter().for_each(|(first, last)| unacked.remove_range(*first, *last));
        there
    }

    /// Gives the outbox a new id, and what is not acked new numbers under it. The bytes stay: who
    /// sends them gives them their new number.
    pub(super) fn start_anew(&mut self) -> rusqlite::Result<()> {
        let id = random_id()?;
        let transaction =
            self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        transaction.execute("DELETE FROM settled", [])?;
        for lane in Lane::ALL {
            let rows = lane.of(&self.lanes);
            let (places, spans) = rows.places.renumbered(&rows.unacked);
            let mut delete = transaction.prepare_cached(&format!(
                "DELETE FROM {} WHERE place >= ?1 AND place < ?2",
                lane.name()
            ))?;
            let mut from = 0;
            for (first, last) in spans {
                delete.execute([from, first])?;
                from = last + 1;
            }
            delete.execute([from, i64::MAX])?;
            places.write(&transaction, lane)?;
        }
        transaction
            .execute("UPDATE meta SET value = ?1 WHERE key = 'outbox_id'", [id.as_bytes()])?;
        let lanes = lanes(&transaction)?;
        transaction.commit()?;
        (self.id, self.lanes) = (id, lanes);
        Ok(())
    }

    /// Counts connections, kept over restarts.
    pub(super) fn next_connection(&self) -> rusqlite::Result<u64> {
        let number: i64 = self.connection.query_row(
            "INSERT INTO meta VALUES ('connection', 1)
             ON CONFLICT (key) DO UPDATE SET value = value + 1 RETURNING value",
            [],
            |row| row.get(0),
        )?;
        u64::try_from(number).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(0, number))
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn id(&self) -> OutboxId {
        self.id
    }

    pub(super) fn lane(&self, lane: Lane) -> &LaneRows {
        lane.of(&self.lanes)
    }

    /// How long the agent has run with this file, in seconds. Unlike the wall clock it never jumps.
    pub(super) fn ran_s(&self, now: MonoTime) -> i64 {
        let ran = i64::try_from(now.since_start().as_secs()).unwrap_or(i64::MAX);
        self.ran_before_s.saturating_add(ran)
    }

    /// When the oldest row that is not acked was opened, ms since 1970.
    pub(super) fn oldest_ms(&self) -> rusqlite::Result<Option<i64>> {
        let mut oldest: Option<WallTime> = None;
        for lane in Lane::ALL {
            let Some(first) = self.lane(lane).unacked.first_from(Seq::FIRST) else { continue };
            oldest = oldest.into_iter().chain(self.opened_at(lane, first)?).min();
        }
        Ok(oldest.map(WallTime::unix_ms))
    }

    /// When that row was opened, if it is there.
    pub(super) fn opened_at(&self, lane: Lane, seq: Seq) -> rusqlite::Result<Option<WallTime>> {
        let question = format!("SELECT opened_at FROM {} WHERE place = ?1", lane.name());
        self.connection
            .prepare_cached(&question)?
            .query_row([self.lane(lane).places.of(seq)], |row| row.get(0))
            .optional()
            .map(|opened_at| opened_at.map(WallTime::from_unix_ms))
    }

    pub(super) fn cursor(&self, device: &DeviceId) -> rusqlite::Result<Option<Cursor>> {
        let mut statement =
            self.connection.prepare_cached("SELECT * FROM cursor WHERE device = ?1")?;
        let cursor = |row: &rusqlite::Row<'_>| {
            let bytes: Vec<u8> = row.get("bytes")?;
            checksum::check(row, checksum::of(&[], &[device.as_str().as_bytes(), &bytes]))?;
            Ok(Cursor(bytes))
        };
        statement.query_row([device.as_str()], cursor).optional()
    }

    /// Identities of a device, oldest first.
    pub(super) fn identities(&self, device: &DeviceId) -> rusqlite::Result<Vec<String>> {
        let mut statement = self
            .connection
            .prepare_cached("SELECT identity FROM identity WHERE device = ?1 ORDER BY number")?;
        let rows = statement.query_map([device.as_str()], |row| row.get(0))?;
        rows.collect()
    }
}

impl LaneRows {
    /// A row was committed.
    pub(super) fn add(&mut self, now: MonoTime, seq: Seq) {
        if self.moments.back().is_none_or(|(at, _)| now.since(*at) >= LIVE_STEP) {
            self.moments.push_back((now, seq));
        }
        while self.moments.front().is_some_and(|(at, _)| now.since(*at) > LIVE_FOR) {
            self.moments.pop_front();
        }
        self.unacked.insert(seq);
        self.next = self.next.max(seq.next());
    }

    /// The first row of the last five minutes; the next one to come if there is none.
    pub(super) fn live_from(&self, now: MonoTime) -> Seq {
        let recent = self.moments.iter().find(|(at, _)| now.since(*at) <= LIVE_FOR);
        recent.map_or(self.next, |(_, seq)| *seq)
    }
}

/// Seqs of a lane that are not sent any more.
pub(super) fn settled(connection: &Connection, lane: Lane) -> rusqlite::Result<RangeSet> {
    let mut statement = connection.prepare_cached("SELECT * FROM settled WHERE lane = ?1")?;
    let rows = statement.query_map([lane.name()], |row| Ok(SettledRow::of(row, lane)?.range))?;
    rows.collect()
}

/// Seqs that are settled, and until when they are kept if they were acked.
pub(super) struct SettledRow {
    pub(super) range: (Seq, Seq),
    pub(super) acked_s: Option<i64>,
}

impl SettledRow {
    /// A row that is what was written, of all its columns. Whoever writes it anew, as another
    /// range, looks at that first: what was altered would have a sum that matches.
    pub(super) fn of(row: &rusqlite::Row<'_>, lane: Lane) -> rusqlite::Result<Self> {
        let (first, last) = (row.get("first")?, row.get("last")?);
        let acked_s = row.get("acked_s")?;
        checksum::check(row, settled_sum(lane, (first, last), acked_s))?;
        Ok(Self { range: (seq_of(first)?, seq_of(last)?), acked_s })
    }
}

/// The number the next row will get.
pub(super) fn next_seq(
    connection: &Connection,
    lane: Lane,
    places: &Places,
    settled: &RangeSet,
) -> rusqlite::Result<Seq> {
    // The end of the table alone: nobody walks it.
    let place: Option<i64> =
        connection
            .query_row(&format!("SELECT max(place) FROM {}", lane.name()), [], |row| row.get(0))?;
    let highest = place.and_then(|place| places.last_seq(place)).max(settled.highest());
    Ok(highest.map_or(Seq::FIRST, Seq::next))
}

/// All that was assigned and is not settled.
pub(super) fn unacked(next: Seq, settled: &RangeSet) -> RangeSet {
    let last = Seq::new(next.get() - 1);
    let mut unacked: RangeSet = last.map(|last| (Seq::FIRST, last)).into_iter().collect();
    settled.ranges().for_each(|(first, last)| unacked.remove_range(first, last));
    unacked
}

/// The end of the hour: what the county has committed in one hour is one range.
pub(super) fn whole_hour(ran_s: i64) -> i64 {
    ran_s.saturating_add(3600 - ran_s.rem_euclid(3600))
}

/// Rows of these seqs are not sent any more: acked then, or gone.
pub(super) fn settle(
    connection: &Connection,
    lane: Lane,
    (first, last): (Seq, Seq),
    acked_s: Option<i64>,
) -> rusqlite::Result<()> {
    let (first, last) = (integer(first), integer(last));
    // Ranges that touch and are the same become one.
    let mut neighbours = connection.prepare_cached(
        "DELETE FROM settled WHERE lane = ?1 AND first <= ?3 + 1 AND last >= ?2 - 1
           AND acked_s IS ?4
         RETURNING *",
    )?;
    let mut found = neighbours.query(params![lane.name(), first, last, acked_s])?;
    let (mut lowest, mut highest) = (first, last);
    while let Some(row) = found.next()? {
        let (first, last) = SettledRow::of(row, lane)?.range;
        lowest = lowest.min(integer(first));
        highest = highest.max(integer(last));
    }
    let sum = settled_sum(lane, (lowest, highest), acked_s);
    connection
        .prepare_cached("INSERT INTO settled VALUES (?1, ?2, ?3, ?4, ?5)")?
        .execute(params![lane.name(), lowest, highest, acked_s, sum])?;
    Ok(())
}

fn settled_sum(lane: Lane, (first, last): (i64, i64), acked_s: Option<i64>) -> u32 {
    checksum::of(&[first, last, acked_s.unwrap_or(-1)], &[lane.name().as_bytes()])
}

/// What of these seqs is kept because it was acked: it is settled no more.
pub(super) fn unsettle(
    connection: &Connection,
    lane: Lane,
    (first, last): (Seq, Seq),
) -> rusqlite::Result<Vec<(Seq, Seq)>> {
    let mut kept = Vec::new();
    let mut touched = connection.prepare_cached(
        "DELETE FROM settled WHERE lane = ?1 AND first <= ?3 AND last >= ?2 AND acked_s NOT NULL
         RETURNING *",
    )?;
    let touched = touched
        .query_map(params![lane.name(), integer(first), integer(last)], |row| {
            SettledRow::of(row, lane)
        })?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    for SettledRow { range: (start, end), acked_s } in touched {
        if let Some(before) = Seq::new(first.get() - 1).filter(|before| *before >= start) {
            settle(connection, lane, (start, before), acked_s)?;
        }
        if end > last {
            settle(connection, lane, (last.next(), end), acked_s)?;
        }
        kept.push((start.max(first), end.min(last)));
    }
    Ok(kept)
}

/// A seq as SQLite keeps it; it is below 2^63 by construction.
pub(super) fn integer(seq: Seq) -> i64 {
    i64::try_from(seq.get()).unwrap_or(i64::MAX)
}

pub(super) fn seq_of(number: i64) -> rusqlite::Result<Seq> {
    let seq = u64::try_from(number).ok().and_then(Seq::new);
    seq.ok_or(rusqlite::Error::IntegralValueOutOfRange(0, number))
}

/// Opens a file for reading only.
pub(super) fn read_only(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(Duration::from_secs(5))?;
    // A damaged length must not take the memory of the box.
    connection.set_limit(Limit::SQLITE_LIMIT_LENGTH, VALUE_LEN_MAX)?;
    Ok(connection)
}

/// Reads rows while another connection writes. An outbox that starts anew needs another reader.
#[derive(Debug)]
pub(crate) struct Reader {
    connection: Connection,
    places: [Places; 3],
}

impl Reader {
    /// Opens the file for reading only.
    pub(crate) fn open(path: &Path) -> rusqlite::Result<Self> {
        let connection = read_only(path)?;
        connection.execute_batch(&format!("PRAGMA cache_size=-{READER_CACHE_KIB}"))?;
        let [urgent, trend, wave] = Lane::ALL.map(|lane| Places::read(&connection, lane));
        let places = [urgent?, trend?, wave?];
        Ok(Self { connection, places })
    }

    /// The bytes of a row; `None` if it is no longer there.
    pub(crate) fn row(&self, lane: Lane, seq: Seq) -> rusqlite::Result<Option<Vec<u8>>> {
        let row = row::read(&self.connection, lane, lane.of(&self.places).of(seq))?;
        Ok(row.map(|row| row.bytes))
    }

    /// At most `max` rows of a lane behind that place, each with its place, or why it cannot be
    /// read. Places stay when an outbox starts anew; a lane of which nothing is left begins at 1.
    pub(crate) fn behind(
        &self,
        lane: Lane,
        place: i64,
        max: usize,
    ) -> rusqlite::Result<Vec<(i64, rusqlite::Result<row::StoredRow>)>> {
        row::read_behind(&self.connection, lane, place, max)
    }

    /// The place of a lane's newest row; 0 where there is none.
    pub(crate) fn last_place(&self, lane: Lane) -> rusqlite::Result<i64> {
        row::last_place(&self.connection, lane)
    }

    /// The place behind which the rows are that were opened since then, the last `max` at most.
    pub(crate) fn place_before(
        &self,
        lane: Lane,
        since: WallTime,
        max: usize,
    ) -> rusqlite::Result<i64> {
        row::place_before(&self.connection, lane, since, max)
    }
}
