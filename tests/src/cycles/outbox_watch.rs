//! Looks into an outbox while an agent writes it, and writes down when each row was there.

use super::account::readings_of;
use crate::read_only;
use anyhow::Context as _;
use rusqlite::Connection;
use simulators::stage::pty::StageTime;
use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};
use virtual_devices::SimTime;

/// How late a commit may be seen.
const LOOK_EVERY: Duration = Duration::from_micros(300);

/// Keys of the readings that were committed, each with when it was seen first.
pub(super) type Commits = Vec<(String, SimTime)>;

/// A place and an envelope.
type Row = (i64, Vec<u8>);

/// A thread that looks.
pub(super) struct OutboxWatch {
    stopped: Arc<AtomicBool>,
    looking: JoinHandle<anyhow::Result<Commits>>,
}

impl OutboxWatch {
    pub(super) fn start(path: PathBuf, time: StageTime) -> anyhow::Result<Self> {
        let stopped = Arc::new(AtomicBool::new(false));
        let until = Arc::clone(&stopped);
        let looking = thread::Builder::new()
            .name("outbox-watch".to_owned())
            .spawn(move || look(&path, time, &until))
            .context("starting a thread")?;
        Ok(Self { stopped, looking })
    }

    pub(super) fn stop(self) -> anyhow::Result<Commits> {
        self.stopped.store(true, Ordering::Relaxed);
        self.looking.join().ok().context("the thread that looks into the outbox")?
    }
}

fn look(path: &Path, time: StageTime, stopped: &AtomicBool) -> anyhow::Result<Commits> {
    let (mut commits, mut connection, mut last, mut version) = (Vec::new(), None, [0; 2], -1);
    while !stopped.load(Ordering::Relaxed) {
        thread::park_timeout(LOOK_EVERY);
        let Some(open) = &connection else {
            connection = read_only(path).ok();
            continue;
        };
        // While the agent recovers its file nobody can look.
        let Ok(newest) = open.query_row("PRAGMA data_version", [], |row| row.get::<_, i64>(0))
        else {
            continue;
        };
        if newest == version {
            continue;
        }
        let at = time.now();
        let Ok(lanes) = rows_after(open, last) else { continue };
        version = newest;
        for (last, rows) in last.iter_mut().zip(lanes) {
            for (place, bytes) in rows {
                *last = place.max(*last);
                commits.extend(readings_of(&bytes)?.into_iter().map(|key| (key, at)));
            }
        }
    }
    Ok(commits)
}

/// Rows of the lanes with readings, urgent and trend, behind those places.
fn rows_after(
    connection: &Connection,
    [urgent, trend]: [i64; 2],
) -> rusqlite::Result<[Vec<Row>; 2]> {
    let rows = |lane: &str, last: i64| -> rusqlite::Result<Vec<Row>> {
        let question = format!("SELECT place, bytes FROM {lane} WHERE place > ?1 ORDER BY place");
        let mut statement = connection.prepare_cached(&question)?;
        statement.query_map([last], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
    };
    Ok([rows("urgent", urgent)?, rows("trend", trend)?])
}
