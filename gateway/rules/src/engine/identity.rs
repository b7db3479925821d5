//! One identity, two boxes: their outboxes, or their connections, are heard by turns.

use super::{Engine, technical};
use crate::{alert::Alert, rule::RuleSet};
use model::{
    id::{DeviceId, OutboxId},
    time::WallTime,
};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// The rule of two boxes with one certificate.
pub(super) const RULE: &str = "TECH-IDENTITY";
/// Boxes that notice each other stand back for ten minutes at most. A box that was replaced and is
/// put back later is no other one.
const TURNS_MS: i64 = 30 * 60_000;
/// Outboxes that are remembered; two boxes have two.
const LEFT_MAX: usize = 8;

/// The outboxes that spoke for a box of late.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(super) struct Identity {
    /// Whom the box was heard as last: outbox and connection number.
    present: Option<(String, u64)>,
    /// Outboxes in whose place another one came, and when.
    left: BTreeMap<String, WallTime>,
    /// When two were last heard by turns.
    turned_at: Option<WallTime>,
}

impl Identity {
    /// The box is heard as this one; whether that is another box than the one before.
    fn hear(&mut self, now: WallTime, outbox: String, connection: u64) -> bool {
        let is_recent = |at: WallTime| now.unix_ms().saturating_sub(at.unix_ms()) < TURNS_MS;
        self.left.retain(|_, at| is_recent(*at));
        self.turned_at = self.turned_at.filter(|at| is_recent(*at));
        let turned = match &self.present {
            None => false,
            // A box counts its connections upwards; a copy of its disk goes on from an older number.
            Some((known, number)) if *known == outbox => connection < *number,
            Some((known, _)) => {
                self.left.insert(known.clone(), now);
                // A new outbox is a box that was replaced, or began anew; an old one is not.
                self.left.remove(&outbox).is_some()
            }
        };
        while self.left.len() > LEFT_MAX {
            let oldest = self.left.iter().min_by_key(|(_, at)| **at).map(|(id, _)| id.clone());
            self.left.retain(|id, _| Some(id) != oldest.as_ref());
        }
        self.present = Some((outbox, connection));
        if turned {
            self.turned_at = Some(now);
        }
        turned
    }
}

impl Engine {
    /// The edge box said just now which outbox it works with, and the number of its connection:
    /// whether it is another box than the one before, and the alerts that changed.
    pub fn hear_box_identity(
        &mut self,
        rules: &RuleSet,
        now: WallTime,
        outbox: OutboxId,
        connection: u64,
    ) -> (bool, Vec<Alert>) {
        let turned = self.identity.hear(now, outbox.to_string(), connection);
        let Some((rule, step)) = rules
            .technical(RULE)
            .and_then(|rule| Some((rule, rule.steps(self.profile.monitored).next()?)))
        else {
            return (turned, Vec::new());
        };
        match self.identity.turned_at {
            Some(at) => {
                let episode = self.episodes.entry(rule.family.clone()).or_default();
                let mut firing = technical(rule, step.priority, at);
                firing.device = Some(DeviceId::from(&self.site));
                episode.fire(rule.id.clone(), firing);
            }
            None => {
                if let Some(episode) = self.episodes.get_mut(&rule.family) {
                    episode.cease(&rule.id);
                }
            }
        }
        let changed = self.settle(now, now, BTreeSet::from([rule.family.clone()]), false);
        (turned, changed)
    }
}
