//! What somebody has to look after before it fails: room on the disk of a box or of the county, the
//! days their certificates have left.
//!
//! These are alerts of the county's own service, about the box: the administrators have them, and a
//! box that is out of reach ends none of them.

use super::{Engine, technical};
use crate::{
    alert::Alert,
    compare::meets,
    rule::{RuleSet, Step},
};
use model::{
    decimal::Decimal,
    id::{DeviceId, SiteId},
    reading::Comparator,
    time::WallTime,
};
use std::collections::BTreeSet;

/// The rule of free room, in percent.
pub(super) const STORAGE: &str = "TECH-STORAGE";
/// The rule of a certificate, in days.
pub(super) const CERTIFICATE: &str = "TECH-CERT";
/// So many percent more end it: a disk at its limit would come and go.
const STORAGE_CLEARS: i64 = 2;
/// Days only become fewer, until somebody brings another certificate.
const CERTIFICATE_CLEARS: i64 = 0;
const DAY_MS: i64 = 86_400_000;

impl Engine {
    /// So much of a disk is free, in whole percent, and a certificate is valid until then; what is not
    /// known changes nothing. Hands out the alerts that changed. For the engine of the county itself.
    pub fn hear_upkeep(
        &mut self,
        rules: &RuleSet,
        now: WallTime,
        of: &SiteId,
        free_pct: Option<u8>,
        certificate_until: Option<WallTime>,
    ) -> Vec<Alert> {
        let left_ms = certificate_until.map(|it| it.unix_ms().saturating_sub(now.unix_ms()));
        let days = left_ms.map(|ms| ms.div_euclid(DAY_MS));
        let said = [
            (STORAGE, STORAGE_CLEARS, free_pct.map(i64::from)),
            (CERTIFICATE, CERTIFICATE_CLEARS, days),
        ];
        let mut touched = BTreeSet::new();
        for (id, clears, value) in said {
            if let Some(value) = value {
                self.judge_upkeep(rules, now, (id, clears), of, value, &mut touched);
            }
        }
        self.settle(now, now, touched, false)
    }

    /// A box is out of service: nobody looks after it any more. Hands out the alerts that changed.
    pub fn end_upkeep(
        &mut self,
        rules: &RuleSet,
        now: WallTime,
        of: &SiteId,
        why: &str,
    ) -> Vec<Alert> {
        let mut ended = Vec::new();
        for rule in [STORAGE, CERTIFICATE].into_iter().filter_map(|id| rules.technical(id)) {
            if let Some(episode) = self.episodes.get_mut(&format!("{}|{of}", rule.family)) {
                ended.extend(episode.end(now, now, why, true));
            }
        }
        ended
    }

    fn judge_upkeep(
        &mut self,
        rules: &RuleSet,
        now: WallTime,
        (id, clears): (&str, i64),
        of: &SiteId,
        value: i64,
        touched: &mut BTreeSet<String>,
    ) {
        let Some(rule) = rules.technical(id) else { return };
        let key = format!("{}|{of}", rule.family);
        let is_firing = self.episodes.get(&key).is_some_and(|episode| episode.is_firing(id));
        let margin = if is_firing { clears } else { 0 };
        let holds = |step: &&Step| {
            let seen = Decimal::new(value.saturating_sub(margin), 0);
            let met = step.test.zip(seen);
            met.is_some_and(|((op, limit), seen)| {
                meets(op, limit, seen, Comparator::Equal) == Some(true)
            })
        };
        let step = rule.steps(false).rfind(holds);
        if step.is_none() && !is_firing {
            return;
        }
        let episode = self.episodes.entry(key.clone()).or_default();
        match step {
            Some(step) => {
                let mut firing = technical(rule, step.priority, now);
                firing.device = Some(DeviceId::from(of));
                firing.value = Some(value.to_string());
                firing.limit = step.test.map(|(op, limit)| format!("{} {limit}", op.sign()));
                episode.fire(id.to_owned(), firing);
            }
            None => episode.cease(id),
        }
        touched.insert(key);
    }
}
