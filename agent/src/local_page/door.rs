//! Who may acknowledge at the box: a named person, with the PIN of the clinic where one is set.
//!
//! # Invariants
//! - from the network nobody may without a PIN
//! - after some wrong PINs nobody may for a while, whoever tried

use aws_lc_rs::constant_time::verify_slices_are_equal;
use model::time::MonoTime;
use std::{
    collections::VecDeque,
    fs::File,
    io::Read as _,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::Duration,
};
use thiserror::Error;

/// As many as at the county: who has forgotten it asks, and a thief of four digits needs a month.
const WRONG_MAX: usize = 5;
const LOCKED: Duration = Duration::from_secs(15 * 60);
/// A PIN has at least this many characters.
const PIN_LEN_MIN: usize = 4;
/// And the file not more.
const PIN_LEN_MAX: u64 = 64;

/// Why somebody may not.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub(super) enum DoorError {
    #[error("no PIN is set; write one into a file and name it in local_page.pin_file")]
    None,
    #[error("the file of local_page.pin_file cannot be read or has less than 4 characters")]
    Unreadable,
    #[error("the PIN is wrong")]
    Wrong,
    #[error("too many wrong PINs; it is asked for again in 15 minutes")]
    Locked,
}

/// The PIN and how often a wrong one was said.
#[derive(Debug)]
pub(super) struct Door {
    pin_file: Option<PathBuf>,
    wrong: Mutex<VecDeque<MonoTime>>,
}

impl Door {
    pub(super) const fn new(pin_file: Option<PathBuf>) -> Self {
        Self { pin_file, wrong: Mutex::new(VecDeque::new()) }
    }

    /// Whether a PIN is asked for: `none`, `asked`, or `missing` where nobody can give one.
    pub(super) const fn asks(&self, at_the_box: bool) -> &'static str {
        match (&self.pin_file, at_the_box) {
            (Some(_), _) => "asked",
            (None, true) => "none",
            (None, false) => "missing",
        }
    }

    /// Whether that PIN opens it.
    pub(super) fn open(&self, at_the_box: bool, pin: &str, now: MonoTime) -> Result<(), DoorError> {
        let Some(file) = &self.pin_file else {
            return if at_the_box { Ok(()) } else { Err(DoorError::None) };
        };
        let mut wrong = self.wrong.lock().unwrap_or_else(PoisonError::into_inner);
        wrong.retain(|at| now.since(*at) < LOCKED);
        if wrong.len() >= WRONG_MAX {
            return Err(DoorError::Locked);
        }
        let known = read(file).ok_or(DoorError::Unreadable)?;
        if verify_slices_are_equal(known.as_bytes(), pin.trim().as_bytes()).is_ok() {
            return Ok(());
        }
        wrong.push_back(now);
        Err(DoorError::Wrong)
    }
}

/// The PIN; read each time, so that it can be changed while the agent runs.
fn read(file: &Path) -> Option<String> {
    let mut text = String::new();
    File::open(file).ok()?.take(PIN_LEN_MAX).read_to_string(&mut text).ok()?;
    let pin = text.trim();
    (pin.chars().count() >= PIN_LEN_MIN).then(|| pin.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn at(seconds: u64) -> MonoTime {
        MonoTime::from_start(Duration::from_secs(seconds))
    }

    #[test]
    fn without_a_pin_only_the_box_itself_may() {
        let door = Door::new(None);
        assert_eq!(door.open(true, "", at(0)), Ok(()));
        assert_eq!(door.open(false, "", at(0)), Err(DoorError::None));
        assert_eq!((door.asks(true), door.asks(false)), ("none", "missing"));
    }

    #[test]
    fn five_wrong_pins_close_the_door_for_a_quarter_of_an_hour() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pin");
        fs::write(&file, "2468\n").unwrap();
        let door = Door::new(Some(file.clone()));
        assert_eq!(door.open(true, "2468", at(0)), Ok(()));
        for second in 0..5 {
            assert_eq!(door.open(true, "1234", at(second)), Err(DoorError::Wrong));
        }
        assert_eq!(door.open(true, "2468", at(5)), Err(DoorError::Locked));
        assert_eq!(door.open(true, "2468", at(15 * 60)), Ok(()), "the first one is forgotten");
        fs::write(&file, "246").unwrap();
        assert_eq!(door.open(true, "246", at(15 * 60)), Err(DoorError::Unreadable));
    }
}
