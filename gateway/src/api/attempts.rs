//! How often somebody may try a password.
//!
//! # Invariants
//! - an attempt is counted before its password is looked at: many at once count as many
//! - what is remembered is bounded

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Wrong passwords for one name before it has to wait.
const FAILURES_MAX: u32 = 5;
/// How long it has to wait: fifteen minutes, as the checklist of level-3 protection is met.
const WAIT_MS: u64 = 15 * 60_000;
/// Names whose failures are remembered: a county has hundreds of people.
const NAMES_MAX: usize = 10_000;
/// Passwords that are hashed at once: each takes 19 MiB and one of two cores.
const HASHING_MAX: usize = 2;
/// Names that nobody has are told no more often than this, with how many there were.
const STRANGERS_EVERY_MS: u64 = 60_000;
/// A shift that logs in together is through within this.
const TURN_LIMIT: Duration = Duration::from_secs(3);

/// Why a password is not looked at.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum NotNow {
    /// Too many wrong ones for this name.
    Wait,
    /// Too many people at once.
    Busy,
}

/// Attempts to log in.
#[derive(Debug)]
pub(crate) struct Attempts {
    /// By name: how many in a row, and when the last was.
    failures: Mutex<BTreeMap<String, (u32, i64)>>,
    /// Names that nobody has: how many since they were told, and when that was.
    strangers: Mutex<(u64, Option<i64>)>,
    turns: Arc<Semaphore>,
    turn_limit: Duration,
}

/// Leave to hash one password.
pub(super) type Turn = OwnedSemaphorePermit;

impl Default for Attempts {
    fn default() -> Self {
        let turns = Arc::new(Semaphore::new(HASHING_MAX));
        Self {
            failures: Mutex::default(),
            strangers: Mutex::default(),
            turns,
            turn_limit: TURN_LIMIT,
        }
    }
}

impl Attempts {
    /// Waits for leave to hash a password, and counts the attempt as failed until
    /// [`Attempts::succeeded`] says otherwise.
    pub(super) async fn begin(&self, name: &str, now_ms: i64) -> Result<Turn, NotNow> {
        let turn = tokio::time::timeout(self.turn_limit, Arc::clone(&self.turns).acquire_owned());
        let Ok(Ok(turn)) = turn.await else { return Err(NotNow::Busy) };
        self.count(name, now_ms)?;
        Ok(turn)
    }

    /// The password was right.
    pub(super) fn succeeded(&self, name: &str) {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
    }

    /// Whether the next attempt would have to wait.
    pub(super) fn are_used_up(&self, name: &str) -> bool {
        let failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        failures.get(name).is_some_and(|(count, _)| *count >= FAILURES_MAX)
    }

    /// Somebody tried a name that nobody has; how many did, when it is time to tell it.
    pub(super) fn stranger(&self, now_ms: i64) -> Option<u64> {
        let mut strangers = self.strangers.lock().unwrap_or_else(PoisonError::into_inner);
        strangers.0 += 1;
        if strangers.1.is_some_and(|told| now_ms.abs_diff(told) < STRANGERS_EVERY_MS) {
            return None;
        }
        strangers.1 = Some(now_ms);
        Some(std::mem::take(&mut strangers.0))
    }

    fn count(&self, name: &str, now_ms: i64) -> Result<(), NotNow> {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        // Also what a clock that was set back has left in the future.
        failures.retain(|_, (_, last)| now_ms.abs_diff(*last) < WAIT_MS);
        if !failures.contains_key(name) && failures.len() >= NAMES_MAX {
            // Refusing new names instead would let anybody lock everybody out.
            let oldest = failures.iter().min_by_key(|(_, (_, last))| *last);
            let oldest = oldest.map(|(name, _)| name.clone());
            oldest.and_then(|oldest| failures.remove(&oldest));
        }
        let (count, last) = failures.entry(name.to_owned()).or_insert((0, now_ms));
        if *count >= FAILURES_MAX {
            return Err(NotNow::Wait);
        }
        (*count, *last) = (*count + 1, now_ms);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_MS: i64 = 1_795_335_300_000;

    #[test]
    fn five_wrong_passwords_cost_fifteen_minutes() {
        let attempts = Attempts::default();
        for second in 0..5 {
            assert_eq!(attempts.count("wang", NOW_MS + second * 1000), Ok(()));
        }
        assert_eq!(attempts.count("wang", NOW_MS + 5000), Err(NotNow::Wait));
        assert_eq!(attempts.count("li", NOW_MS + 5000), Ok(()));
        assert_eq!(attempts.count("wang", NOW_MS + 4000 + 15 * 60_000 - 1), Err(NotNow::Wait));
        assert_eq!(attempts.count("wang", NOW_MS + 4000 + 15 * 60_000), Ok(()));
    }

    #[test]
    fn a_right_password_forgives_the_wrong_ones() {
        let attempts = Attempts::default();
        for _ in 0..3 {
            for _ in 0..5 {
                assert_eq!(attempts.count("wang", NOW_MS), Ok(()));
            }
            attempts.succeeded("wang");
        }
    }

    #[test]
    fn a_flood_of_names_is_bounded_and_locks_nobody_out() {
        let attempts = Attempts::default();
        for number in 0..NAMES_MAX + 10 {
            let at = NOW_MS + i64::try_from(number).unwrap();
            assert_eq!(attempts.count(&format!("nobody{number}"), at), Ok(()));
        }
        assert_eq!(attempts.failures.lock().unwrap().len(), NAMES_MAX);
        assert_eq!(attempts.count("wang", NOW_MS + 20_000), Ok(()));
    }

    #[test]
    fn names_that_nobody_has_are_told_once_a_minute_and_counted() {
        let attempts = Attempts::default();
        assert_eq!(attempts.stranger(NOW_MS), Some(1));
        for second in 1..60 {
            assert_eq!(attempts.stranger(NOW_MS + second * 1000), None);
        }
        assert_eq!(attempts.stranger(NOW_MS + 60_000), Some(60));
    }

    #[tokio::test]
    async fn more_at_once_than_can_be_hashed_are_told_so() {
        let attempts = Attempts { turn_limit: Duration::ZERO, ..Attempts::default() };
        let first = attempts.begin("a", NOW_MS).await.unwrap();
        let _second = attempts.begin("b", NOW_MS).await.unwrap();
        assert_eq!(attempts.begin("c", NOW_MS).await.unwrap_err(), NotNow::Busy);
        drop(first);
        assert!(attempts.begin("c", NOW_MS).await.is_ok());
    }
}
