//! Devices that the running agent leaves alone for a while, because a person pairs them.
//!
//! # Invariants
//! - a hold ends by itself: whoever asked for it may have been killed
//! - what a held device says all the same goes to its driver: it has been confirmed

use model::time::MonoTime;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::sync::Notify;

/// A person is given a minute to wake the device, and another one to type its code.
pub(crate) const HOLD: Duration = Duration::from_secs(180);

/// Who is held, until when.
#[derive(Clone, Debug)]
pub(crate) struct Holds(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// Addresses of our devices.
    ours: BTreeSet<String>,
    until: Mutex<BTreeMap<String, MonoTime>>,
    changed: Notify,
}

impl Holds {
    pub(crate) fn of_devices(ours: BTreeSet<String>) -> Self {
        Self(Arc::new(Inner { ours, until: Mutex::default(), changed: Notify::new() }))
    }

    /// Holds a device from now on, or longer; whether it is one of ours.
    pub(crate) fn hold(&self, address: &str, now: MonoTime) -> bool {
        let is_ours = self.0.ours.contains(address);
        if is_ours {
            self.until().insert(address.to_owned(), now + HOLD);
            self.0.changed.notify_one();
        }
        is_ours
    }

    /// Lets a device go; whether it was held.
    pub(crate) fn release(&self, address: &str) -> bool {
        let was_held = self.until().remove(address).is_some();
        self.0.changed.notify_one();
        was_held
    }

    pub(super) fn is_held(&self, address: &str, now: MonoTime) -> bool {
        self.until().get(address).is_some_and(|until| now < *until)
    }

    /// When the next hold ends by itself.
    pub(super) fn next_end(&self, now: MonoTime) -> Option<MonoTime> {
        self.until().values().copied().filter(|until| *until > now).min()
    }

    /// Comes back when somebody is held or let go.
    pub(super) async fn changed(&self) {
        self.0.changed.notified().await;
    }

    fn until(&self) -> MutexGuard<'_, BTreeMap<String, MonoTime>> {
        // Whole even if a writer panicked.
        self.0.until.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hold_is_of_ours_only_and_ends_by_itself() {
        let holds = Holds::of_devices(BTreeSet::from(["C0:26:DA:00:00:01".to_owned()]));
        let (now, later) = (MonoTime::START, MonoTime::START + HOLD);
        assert!(!holds.hold("C0:26:DA:00:00:02", now));
        assert!(holds.hold("C0:26:DA:00:00:01", now));
        assert!(holds.is_held("C0:26:DA:00:00:01", now));
        assert_eq!(holds.next_end(now), Some(later));
        assert!(!holds.is_held("C0:26:DA:00:00:01", later));
        assert_eq!(holds.next_end(later), None);
        assert!(holds.release("C0:26:DA:00:00:01") && !holds.release("C0:26:DA:00:00:01"));
    }
}
