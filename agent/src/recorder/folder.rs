//! The folder of traces: names of files, and how much of it may be kept by itself.
//!
//! # Invariants
//! - what a person asked for is never deleted
//! - what is kept by itself stays within the limit, without a word of a person

use jiff::Timestamp;
use model::{id::DeviceId, time::WallTime};
use std::{
    collections::BTreeMap,
    fs::{self, DirBuilder, File, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

/// Digits of the time in a name: `20261122T081500Z`.
const TIME_LEN: usize = 16;
const ASKED: &str = "-asked.trace";
const KEPT: &str = ".trace";

/// Why a trace is written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Cause {
    /// A person asked for it.
    Asked,
    /// An alarm or a failure.
    Kept,
}

/// `traces/` in the data folder.
#[derive(Clone, Debug)]
pub(super) struct Folder(PathBuf);

impl Folder {
    pub(super) fn new(data_dir: &Path) -> Self {
        Self(data_dir.join("traces"))
    }

    /// A new file for the agent's user only.
    pub(super) fn create(
        &self,
        device: &DeviceId,
        started: WallTime,
        cause: Cause,
    ) -> io::Result<(PathBuf, File)> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.0)?;
        let started = Timestamp::from_millisecond(started.unix_ms());
        let time = started.unwrap_or(Timestamp::UNIX_EPOCH).strftime("%Y%m%dT%H%M%SZ");
        let end = match cause {
            Cause::Asked => ASKED,
            Cause::Kept => KEPT,
        };
        let path = self.0.join(format!("{device}-{time}{end}"));
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        Ok((path, file))
    }

    /// Bytes of all traces a person asked for.
    pub(super) fn asked_bytes(&self) -> io::Result<u64> {
        let asked = self.files()?.into_iter().filter(|(path, _)| {
            path.file_name().is_some_and(|name| name.to_string_lossy().ends_with(ASKED))
        });
        Ok(asked.map(|(_, len)| len).sum())
    }

    /// Deletes traces that were kept by themselves until the others are within the limit; hands
    /// out which. The oldest of the device that has most goes first: one bad cable does not push
    /// out the night of another device. `writing` stay.
    pub(super) fn make_room(&self, max_bytes: u64, writing: &[&Path]) -> io::Result<Vec<PathBuf>> {
        let mut devices: BTreeMap<String, Vec<(PathBuf, u64)>> = BTreeMap::new();
        for (path, len) in self.files()? {
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
            if let Some(device) = name.as_deref().and_then(kept_device) {
                devices.entry(device.to_owned()).or_default().push((path, len));
            }
        }
        devices.values_mut().for_each(|files| files.sort());
        let bytes = |files: &Vec<(PathBuf, u64)>| files.iter().map(|(_, len)| len).sum::<u64>();
        let mut deleted = Vec::new();
        while devices.values().map(bytes).sum::<u64>() > max_bytes {
            let free = |files: &Vec<(PathBuf, u64)>| {
                files.iter().position(|(path, _)| !writing.contains(&path.as_path()))
            };
            let with_free = devices.values_mut().filter(|files| free(files).is_some());
            let Some(most) = with_free.max_by_key(|files| bytes(files)) else { break };
            let Some(place) = free(most) else { break };
            let (path, _) = most.remove(place);
            fs::remove_file(&path)?;
            deleted.push(path);
        }
        Ok(deleted)
    }

    fn files(&self) -> io::Result<Vec<(PathBuf, u64)>> {
        let entries = match fs::read_dir(&self.0) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut files = Vec::new();
        for entry in entries {
            let entry = entry?;
            files.push((entry.path(), entry.metadata()?.len()));
        }
        Ok(files)
    }
}

/// The device of a trace that was kept by itself.
fn kept_device(name: &str) -> Option<&str> {
    let stem = name.strip_suffix(KEPT)?;
    let (device, time) = stem.split_at_checked(stem.len().checked_sub(TIME_LEN)?)?;
    let is_time = time.bytes().zip(0..).all(|(byte, place)| match place {
        8 => byte == b'T',
        15 => byte == b'Z',
        _ => byte.is_ascii_digit(),
    });
    device.strip_suffix('-').filter(|_| is_time)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{io::Write as _, os::unix::fs::PermissionsExt as _};

    fn place() -> (tempfile::TempDir, Folder) {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::new(dir.path());
        (dir, folder)
    }

    fn put(folder: &Folder, device: &str, second: i64, cause: Cause, len: usize) -> PathBuf {
        let device = DeviceId::new(device).unwrap();
        let started = WallTime::from_unix_ms(second * 1000);
        let (path, mut file) = folder.create(&device, started, cause).unwrap();
        file.write_all(&vec![b'x'; len]).unwrap();
        path
    }

    #[test]
    fn a_file_is_for_the_agent_only_and_its_name_says_device_and_time() {
        let (_dir, folder) = place();
        let path = put(&folder, "bp-01", 0, Cause::Kept, 1);
        assert!(path.ends_with("traces/bp-01-19700101T000000Z.trace"), "{}", path.display());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let folder_mode = fs::metadata(path.parent().unwrap()).unwrap().permissions().mode();
        assert_eq!(folder_mode & 0o777, 0o700);
        let asked = put(&folder, "bp-01", 0, Cause::Asked, 2);
        assert!(asked.ends_with("bp-01-19700101T000000Z-asked.trace"));
        assert_eq!(folder.asked_bytes().unwrap(), 2);
        assert_eq!(kept_device("bp-01-19700101T000000Z.trace"), Some("bp-01"));
        for other in ["bp-01-19700101T000000Z-asked.trace", "notes.txt", "a.trace", "mine-é.trace"]
        {
            assert_eq!(kept_device(other), None, "{other}");
        }
    }

    #[test]
    fn the_oldest_of_the_device_with_most_goes_first() {
        let (_dir, folder) = place();
        assert_eq!(folder.make_room(0, &[]).unwrap(), Vec::<PathBuf>::new(), "no folder yet");
        let quiet = put(&folder, "bp-01", 1, Cause::Kept, 100);
        let noisy: Vec<_> =
            (2..6).map(|second| put(&folder, "ecg-01", second, Cause::Kept, 100)).collect();
        let asked = put(&folder, "ecg-01", 0, Cause::Asked, 1000);
        assert_eq!(folder.make_room(500, &[]).unwrap(), Vec::<PathBuf>::new());
        assert_eq!(folder.make_room(300, &[]).unwrap(), noisy[..2]);
        let writing = [noisy[2].as_path(), quiet.as_path()];
        assert_eq!(folder.make_room(0, &writing).unwrap(), noisy[3..]);
        assert!(quiet.exists() && noisy[2].exists() && asked.exists());
    }
}
