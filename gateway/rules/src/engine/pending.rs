//! What is pending: conditions that hold and whose sustain has not run out (alert rules, "Life of an
//! alert").
//!
//! Not here: how long that is (`series`). Nothing of it is kept: the next reading says it again, or
//! begins an alert, or ends it.

use super::{Engine, series::Series};
use crate::rule::Threshold;
use model::{id::DeviceId, metric::Metric, time::WallTime};
use std::collections::BTreeMap;

/// A number of a device: its channel and metric.
pub type Number = (DeviceId, String, Metric);

/// What the newest reading group moved.
#[derive(Clone, Debug, Default)]
pub(super) struct Waiting {
    /// Numbers outside a rule of a family whose sustain is running, and when they were measured.
    numbers: Vec<(Number, WallTime, String)>,
    over: u64,
}

/// What readings left pending.
#[derive(Clone, Debug, Default)]
pub struct Pending {
    /// Numbers that are outside, each with when it was measured.
    pub numbers: BTreeMap<Number, WallTime>,
    /// Conditions that were over before their sustain was.
    pub over: u64,
}

impl Pending {
    /// Whether there is nothing of it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.numbers.is_empty() && self.over == 0
    }

    /// The same with what came later.
    pub fn add(&mut self, later: Self) {
        self.numbers.extend(later.numbers);
        self.over = self.over.saturating_add(later.over);
    }
}

impl Engine {
    /// What the reading group that was taken in last left pending.
    pub fn take_pending(&mut self) -> Pending {
        let Waiting { numbers, over } = std::mem::take(&mut self.waiting);
        // Where the alert is active already it is in no state but that.
        let is_active = |family: &str| {
            let alert = self.episodes.get(family).and_then(|episode| episode.alert.as_ref());
            alert.is_some_and(|alert| alert.condition().is_active())
        };
        let numbers = numbers.into_iter().filter(|(.., family)| !is_active(family));
        Pending { numbers: numbers.map(|(number, at, _)| (number, at)).collect(), over }
    }

    /// A reading moved a series of a rule.
    pub(super) fn note_pending(
        &mut self,
        rule: &Threshold,
        number: impl FnOnce() -> Number,
        at: WallTime,
        (before, now): (Option<Series>, Series),
    ) {
        let was = before.and_then(|before| before.pending_since());
        if was.is_some() && was != now.pending_since() && !now.holds() {
            self.waiting.over += 1;
        }
        if now.pending_since().is_some() {
            self.waiting.numbers.push((number(), at, rule.family.clone()));
        }
    }
}
