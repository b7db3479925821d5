//! How the disk of the data folder is: room, and whether writing succeeds.
//!
//! Below a floor only what is urgent is taken in: the rest of the room is for log-ins,
//! acknowledgements and alerts, so that the board goes on. What is not taken in is not acked, and
//! waits at the clinics.
//!
//! # Invariants
//! - a change is told once, however often the disk refuses
//! - it goes on by itself: nothing is remembered that a new look or a write that succeeds does not
//!   correct

use crate::events::Events;
use model::id::Lane;
use rusqlite::ErrorCode;
use rustix::fs::statvfs;
use serde_json::{Value, json};
use std::{io, path::Path, sync::Arc, time::Duration};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Room that is kept free where the configuration does not say: urgent records, log-ins and
/// acknowledgements of a county take days to fill it.
pub(crate) const FREE_MIN: u64 = 256 << 20;
/// It is told as low while there is still as much as this many floors.
const LOW_FLOORS: u64 = 4;
/// A full disk has room again when there is this part of the floor more than the floor: what was
/// waiting at the clinics comes at once.
const AGAIN_PART: u64 = 4;
/// How often the room is looked at: a county takes in less than 5 MB in this time.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Bytes that can still be written to the file system of `dir` by who is not root.
pub(crate) fn free_bytes(dir: &Path) -> io::Result<u64> {
    let found = statvfs(dir)?;
    Ok(found.f_bavail.saturating_mul(found.f_frsize))
}

/// How much of the file system of `dir` that is, in percent, rounded down.
pub(crate) fn free_pct(dir: &Path) -> Option<u8> {
    let found = statvfs(dir).ok()?;
    let pct = (u128::from(found.f_bavail) * 100).checked_div(u128::from(found.f_blocks))?;
    u8::try_from(pct).ok()
}

/// Bytes as whole mebibytes, rounded up.
pub(crate) const fn mib(bytes: u64) -> u64 {
    bytes.div_ceil(1 << 20)
}

/// In a word.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum DiskState {
    Good,
    /// Nearly full: somebody should make room.
    Low,
    /// Full: only what is urgent is taken in, as long as that can be written.
    Full,
    /// The last write failed for another reason.
    Failing,
}

impl DiskState {
    pub(crate) const ALL: [Self; 4] = [Self::Good, Self::Low, Self::Full, Self::Failing];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Low => "low",
            Self::Full => "full",
            Self::Failing => "failing",
        }
    }
}

/// What is known of the disk.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Found {
    free_bytes: Option<u64>,
    /// There is less than the floor, or there was and it is not yet clearly more.
    is_short: bool,
    /// There is less than some floors.
    is_low: bool,
    /// Why the last write failed, if it did.
    failure: Option<ErrorCode>,
    /// Something was written since.
    wrote: bool,
}

impl Found {
    pub(crate) fn state(self) -> DiskState {
        match self.failure {
            Some(ErrorCode::DiskFull) => DiskState::Full,
            Some(_) => DiskState::Failing,
            None if self.is_short => DiskState::Full,
            None if self.is_low => DiskState::Low,
            None => DiskState::Good,
        }
    }

    /// Why nothing can be written, where that is so.
    #[cfg(test)]
    pub(crate) const fn failure(self) -> Option<ErrorCode> {
        self.failure
    }

    /// Whether the database itself is broken, and not what it lies on.
    const fn is_damage(self) -> bool {
        matches!(self.failure, Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
    }

    /// As the API and the board are told.
    pub(crate) fn json(self) -> Value {
        json!({"state": self.state().name(), "free_mib": self.free_bytes.map(|free| free >> 20)})
    }
}

/// The disk of a data folder.
#[derive(Clone, Debug)]
pub(crate) struct Disk {
    dir: Arc<Path>,
    free_min: u64,
    found: watch::Sender<Found>,
}

impl Disk {
    /// The disk of that folder, not looked at yet; `free_min` bytes are kept free.
    pub(crate) fn of(dir: &Path, free_min: u64) -> Self {
        Self { dir: dir.into(), free_min, found: watch::Sender::default() }
    }

    /// Looks how much room there is, and whether writing succeeds again.
    ///
    /// A failure is over when since the last look something was written and nothing was refused:
    /// where a large write fails a small one may still pass, and that is no news twice a second.
    pub(crate) fn look(&self) {
        self.found.send_if_modified(|found| {
            found.wrote && {
                found.wrote = false;
                found.failure.take().is_some()
            }
        });
        match free_bytes(&self.dir) {
            Ok(free) => self.has(free),
            Err(error) => tracing::debug!(%error, "The disk does not say how much room it has."),
        }
    }

    fn has(&self, free: u64) {
        self.found.send_modify(|found| {
            let again = self.free_min.saturating_add(self.free_min / AGAIN_PART);
            found.is_short = free < self.free_min || found.is_short && free < again;
            found.is_low = free < self.free_min.saturating_mul(LOW_FLOORS);
            found.free_bytes = Some(free);
        });
    }

    /// Something was written.
    pub(crate) fn wrote(&self) {
        self.found.send_if_modified(|found| {
            found.wrote = found.failure.is_some();
            false
        });
    }

    /// Something could not be written; whether that is the disk's fault, and told by it.
    pub(crate) fn refused(&self, code: ErrorCode) -> bool {
        let is_its = is_of_the_disk(code);
        if is_its {
            self.found.send_if_modified(|found| {
                found.wrote = false;
                found.failure.replace(code) != Some(code)
            });
        }
        is_its
    }

    /// Whether what comes in on that lane is taken.
    pub(crate) fn takes(&self, lane: Lane) -> bool {
        lane == Lane::Urgent || !self.found.borrow().is_short
    }

    /// Whether everything is taken in.
    pub(crate) fn takes_all(&self) -> bool {
        matches!(self.found().state(), DiskState::Good | DiskState::Low)
    }

    /// Hears of every look.
    pub(crate) fn looks(&self) -> watch::Receiver<Found> {
        self.found.subscribe()
    }

    pub(crate) fn found(&self) -> Found {
        *self.found.borrow()
    }

    /// Looks again and again, and tells log, counters and boards what changes.
    pub(crate) async fn watch(self, events: Events, stopped: CancellationToken) {
        let mut tick = tokio::time::interval(LOOK_EVERY);
        let mut changes = self.found.subscribe();
        let mut told = DiskState::Good;
        loop {
            tokio::select! {
                _ = tick.tick() => self.look(),
                _ = changes.changed() => {}
                () = stopped.cancelled() => return,
            }
            let found = *changes.borrow_and_update();
            self.count(found);
            if found.state() != told {
                told = found.state();
                self.tell(found);
                events.publish("disk", &found.json(), None);
            }
        }
    }

    fn count(&self, found: Found) {
        for state in DiskState::ALL {
            let is = if state == found.state() { 1.0 } else { 0.0 };
            metrics::gauge!("gateway_disk_state", "state" => state.name()).set(is);
        }
        if let Some(free) = found.free_bytes {
            // In mebibytes it is exact.
            let free = u32::try_from(free >> 20).unwrap_or(u32::MAX);
            metrics::gauge!("gateway_disk_free_mib").set(free);
        }
    }

    fn tell(&self, found: Found) {
        let (dir, free_min_mib) = (self.dir.display(), mib(self.free_min));
        let free_mib = found.free_bytes.map(|free| free >> 20);
        match found.state() {
            DiskState::Good => tracing::info!(%dir, free_mib, "The disk is good again."),
            DiskState::Low => {
                tracing::warn!(%dir, free_mib, free_min_mib, "The disk is nearly full; make room.");
            }
            DiskState::Full => tracing::error!(%dir, free_mib, free_min_mib,
                "The disk is full: only what is urgent is taken in, the rest waits at the clinics; \
                 make room, it goes on by itself."),
            DiskState::Failing if found.is_damage() => tracing::error!(%dir,
                "The database is damaged: nothing is taken in, everything waits at the clinics; \
                 look at the disk, stop the gateway, and run `clinic-gateway restore` with the last \
                 backup."),
            DiskState::Failing => tracing::error!(%dir, free_mib, failure = ?found.failure,
                "The database cannot be written: nothing is taken in, everything waits at the \
                 clinics; look at the disk and at who owns the folder, it goes on by itself."),
        }
    }
}

/// Whether nothing else could be written either.
const fn is_of_the_disk(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::DiskFull
            | ErrorCode::SystemIoFailure
            | ErrorCode::ReadOnly
            | ErrorCode::CannotOpen
            | ErrorCode::DatabaseCorrupt
            | ErrorCode::NotADatabase
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn disk() -> Disk {
        Disk::of(Path::new("/"), 100 * MIB)
    }

    #[test]
    fn it_warns_before_it_is_full_and_goes_on_when_there_is_clearly_room() {
        let disk = disk();
        assert_eq!(disk.found().state(), DiskState::Good);
        for (free_mib, state) in [
            (400, DiskState::Good),
            (399, DiskState::Low),
            (100, DiskState::Low),
            (99, DiskState::Full),
            (124, DiskState::Full),
            (125, DiskState::Low),
            (100, DiskState::Low),
            (0, DiskState::Full),
            (9000, DiskState::Good),
        ] {
            disk.has(free_mib * MIB);
            assert_eq!(disk.found().state(), state, "{free_mib}");
            assert_eq!(disk.takes(Lane::Trend), state != DiskState::Full);
            assert!(disk.takes(Lane::Urgent));
        }
        assert_eq!(disk.found().json(), json!({"state": "good", "free_mib": 9000}));
    }

    #[test]
    fn a_write_that_fails_is_told_once_and_one_that_succeeds_ends_it() {
        let disk = disk();
        let mut changes = disk.found.subscribe();
        assert!(disk.refused(ErrorCode::DiskFull));
        assert!(changes.has_changed().unwrap());
        changes.mark_unchanged();
        assert!(disk.refused(ErrorCode::DiskFull));
        assert!(!changes.has_changed().unwrap());
        assert_eq!(disk.found().state(), DiskState::Full);
        // Somebody else's quota: there is room for others, and a write is tried all the same.
        disk.has(9000 * MIB);
        assert_eq!(disk.found().state(), DiskState::Full);
        assert!(disk.takes(Lane::Trend));
        assert!(disk.refused(ErrorCode::ReadOnly));
        assert_eq!(disk.found().state(), DiskState::Failing);
        // Nobody's disk.
        assert!(!disk.refused(ErrorCode::DatabaseBusy));
        assert!(!disk.refused(ErrorCode::ConstraintViolation));
        assert_eq!(disk.found().state(), DiskState::Failing);
        // Small writes may pass where others are refused: that changes nothing.
        disk.wrote();
        disk.refused(ErrorCode::ReadOnly);
        disk.look();
        assert_eq!(disk.found().state(), DiskState::Failing);
        disk.wrote();
        disk.look();
        assert_ne!(disk.found().state(), DiskState::Failing);
    }

    #[test]
    fn the_room_is_that_of_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        let disk = Disk::of(folder.path(), 1);
        disk.look();
        assert!(disk.found().free_bytes.is_some_and(|free| free > 0));
        // Nothing is known of what cannot be looked at.
        let nowhere = Disk::of(&folder.path().join("nowhere"), 1);
        nowhere.look();
        assert_eq!(nowhere.found(), Found::default());
    }
}
