//! What must outlive a restart, in a file of its own beside the outbox.
//!
//! # Invariants
//! - the file is whole: written beside, synced, and put in its place
//! - one that cannot be read is kept aside, and the rules begin with the last minutes of the outbox

use super::{county_clock::CountyClock, rows::Place, signal::Signals};
use model::{
    device::DeviceKind,
    id::DeviceId,
    time::{Now, Uptime, WallTime},
};
use rules::binding::Subject;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::{self, BufWriter, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

/// Far more than the states of every device a box may have.
const LEN_MAX: u64 = 64 << 20;

/// What is kept: rule states as they are, or as they were read.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Kept<E = Value> {
    /// Up to where the rules have heard.
    pub(super) place: Place,
    /// When it was kept: the states speak of times of that clock.
    #[serde(default)]
    pub(super) kept_at: Option<KeptAt>,
    /// The county was out of reach.
    pub(super) out_of_reach: bool,
    /// Since when, by the box's clock.
    #[serde(default)]
    pub(super) lost_since: Option<WallTime>,
    /// What signals, and what of it the hook was told.
    pub(super) signals: Signals,
    /// What kind each device is.
    #[serde(default)]
    pub(super) kinds: BTreeMap<DeviceId, DeviceKind>,
    /// Whose each device is.
    #[serde(default)]
    pub(super) whose: BTreeMap<DeviceId, Subject>,
    /// What the county's clock says.
    #[serde(default)]
    pub(super) county: CountyClock,
    /// Rule states, by subject.
    pub(super) engines: BTreeMap<String, E>,
}

/// A moment by the box's clock, and how long it had been running then.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub(super) struct KeptAt {
    wall: WallTime,
    boot: u32,
    ms: u64,
}

impl KeptAt {
    pub(super) const fn of(Now { wall, uptime: Uptime { boot, ms }, .. }: Now) -> Self {
        Self { wall, boot, ms }
    }

    /// How far the clock was set since, in milliseconds. A box that was switched off meanwhile may
    /// take it for earlier; for how long it was off nobody knows.
    pub(super) fn set_until(self, now: Now) -> i64 {
        let passed_ms = now.wall.unix_ms().saturating_sub(self.wall.unix_ms());
        match self.boot == now.uptime.boot {
            true => {
                let since = Uptime { boot: self.boot, ms: self.ms };
                passed_ms.saturating_sub(now.uptime.ms_after(since))
            }
            false => passed_ms.min(0),
        }
    }
}

impl<E> Default for Kept<E> {
    fn default() -> Self {
        Self {
            place: Place::default(),
            kept_at: None,
            out_of_reach: false,
            lost_since: None,
            signals: Signals::default(),
            kinds: BTreeMap::new(),
            whose: BTreeMap::new(),
            county: CountyClock::default(),
            engines: BTreeMap::new(),
        }
    }
}

/// The file.
#[derive(Clone, Debug)]
pub(super) struct KeptFile(PathBuf);

impl KeptFile {
    pub(super) fn in_folder(data_dir: &Path) -> Self {
        Self(data_dir.join("alerts.json"))
    }

    /// What was kept; nothing where there is none, or none that can be read.
    pub(super) fn read(&self) -> Kept {
        let Self(path) = self;
        let text = match fs::metadata(path) {
            Ok(about) if about.len() > LEN_MAX => Err(io::Error::other("it is too long")),
            Ok(_) => fs::read(path),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Kept::default(),
            Err(error) => Err(error),
        };
        let kept = text.and_then(|text| Ok(serde_json::from_slice(&text)?));
        kept.unwrap_or_else(|error| {
            tracing::error!(%error, file = %path.display(),
                "Alert states cannot be read and are kept aside; they begin anew with the last minutes.");
            // One that cannot be moved is written over.
            drop(fs::rename(path, path.with_extension("json.damaged")));
            Kept::default()
        })
    }

    /// Writes it; afterwards it is on disk whatever happens.
    pub(super) fn write(&self, kept: &Kept<impl Serialize>) -> io::Result<()> {
        let Self(path) = self;
        let beside = path.with_extension("json.new");
        let mut open = OpenOptions::new();
        let file = open.create(true).write(true).truncate(true).mode(0o600).open(&beside)?;
        let mut text = BufWriter::new(&file);
        serde_json::to_writer(&mut text, kept)?;
        text.flush()?;
        file.sync_all()?;
        fs::rename(&beside, path)?;
        let folder = path.parent().unwrap_or(Path::new("."));
        File::open(folder)?.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_kept_comes_back_and_what_is_damaged_is_kept_aside() {
        let folder = tempfile::tempdir().unwrap();
        let file = KeptFile::in_folder(folder.path());
        assert!(!file.read().out_of_reach);
        let lost: Kept = Kept { out_of_reach: true, ..Kept::default() };
        file.write(&lost).unwrap();
        assert!(file.read().out_of_reach);

        let path = folder.path().join("alerts.json");
        let half = fs::read(&path).unwrap();
        fs::write(&path, &half[..half.len() / 2]).unwrap();
        assert!(!file.read().out_of_reach);
        assert!(!path.exists() && folder.path().join("alerts.json.damaged").exists());
        file.write(&lost).unwrap();
        assert!(file.read().out_of_reach);
    }
}
