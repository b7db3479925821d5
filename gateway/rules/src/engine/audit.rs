//! The chain of what people did at the county was looked at.

use super::{Engine, technical};
use crate::{alert::Alert, rule::RuleSet};
use model::time::WallTime;
use std::collections::BTreeSet;

/// The rule of a chain in which something was changed.
pub(super) const RULE: &str = "TECH-AUDIT";

impl Engine {
    /// Takes in whether the chain is broken; hands out the alerts that changed. For the engine of
    /// the county itself.
    pub fn hear_audit(&mut self, rules: &RuleSet, now: WallTime, is_broken: bool) -> Vec<Alert> {
        let Some((rule, step)) =
            rules.technical(RULE).and_then(|rule| Some((rule, rule.steps(false).next()?)))
        else {
            return Vec::new();
        };
        if is_broken {
            let episode = self.episodes.entry(rule.family.clone()).or_default();
            episode.fire(rule.id.clone(), technical(rule, step.priority, now));
        } else if let Some(episode) = self.episodes.get_mut(&rule.family) {
            episode.cease(&rule.id);
        }
        self.settle(now, now, BTreeSet::from([rule.family.clone()]), false)
    }
}
