//! Silence: what is not known while nothing is heard, and what time alone does.

use super::{Engine, life::Episode, technical};
use crate::{alert::Alert, rule::RuleSet};
use model::{
    device::{DeviceState, DeviceStatus},
    time::WallTime,
};
use std::collections::BTreeSet;

/// The rule of a device that says nothing.
pub(super) const SILENT_RULE: &str = "TECH-SILENT";

impl Engine {
    /// Takes in a device's status; hands out the alerts that changed.
    pub fn on_status(
        &mut self,
        rules: &RuleSet,
        now: WallTime,
        status: &DeviceStatus,
    ) -> Vec<Alert> {
        self.kind = Some(status.kind.into());
        let at = status.observed.at;
        let mut touched = BTreeSet::new();
        let mut changed = Vec::new();
        match status.state {
            DeviceState::Online => changed = self.speak_again(rules, now, &mut touched),
            DeviceState::Silent | DeviceState::LinkDown | DeviceState::Removed => {
                self.silent_since.get_or_insert(at);
            }
        }
        changed.extend(self.settle(rules, now, at, touched));
        changed.extend(self.on_time(rules, now));
        changed
    }

    /// The device is no longer silent: what nobody knew is known again.
    pub(super) fn speak_again(
        &mut self,
        rules: &RuleSet,
        now: WallTime,
        touched: &mut BTreeSet<String>,
    ) -> Vec<Alert> {
        if self.silent_since.take().is_none() {
            return Vec::new();
        }
        self.doubt_alarms(now);
        if let Some(rule) = rules.technical(SILENT_RULE)
            && let Some(episode) = self.episodes.get_mut(&rule.family)
        {
            episode.cease(SILENT_RULE);
        }
        touched.extend(self.episodes.keys().cloned());
        self.episodes.values_mut().filter_map(|episode| episode.become_known(now)).collect()
    }

    /// Lets time pass: silence, and alerts that close by themselves.
    pub fn on_time(&mut self, rules: &RuleSet, now: WallTime) -> Vec<Alert> {
        let mut touched = BTreeSet::new();
        let mut changed = Vec::new();
        if let (Some(rule), Some(since)) = (rules.technical(SILENT_RULE), self.silent_since) {
            let elapsed = now.unix_ms().saturating_sub(since.unix_ms());
            let step = rule
                .steps
                .iter()
                .filter(|step| !step.conditional)
                .rfind(|step| step.after_ms <= elapsed);
            if let Some(step) = step {
                let firing = technical(rule, step.priority, since);
                self.episodes
                    .entry(rule.family.clone())
                    .or_default()
                    .fire(SILENT_RULE.to_owned(), firing);
                touched.insert(rule.family.clone());
                // What was true when it fell silent may still be: nobody knows.
                let others = self.episodes.iter_mut().filter(|(family, _)| **family != rule.family);
                changed.extend(others.filter_map(|(_, episode)| episode.become_unknown(now)));
            }
        }
        if self.silent_since.is_none() && self.doubtful_until.is_some_and(|until| until <= now) {
            self.doubtful_until = None;
            for key in std::mem::take(&mut self.doubtful) {
                self.end_alarm(&key, &mut touched);
            }
        }
        changed.extend(self.settle(rules, now, now, touched));
        changed
            .extend(self.episodes.values_mut().filter_map(|episode| episode.close_by_itself(now)));
        changed
    }

    /// When `on_time` has something to do next.
    #[must_use]
    pub fn next_deadline(&self, rules: &RuleSet) -> Option<WallTime> {
        let closing = self.episodes.values().filter_map(Episode::closes_at);
        let silent =
            self.silent_since.zip(rules.technical(SILENT_RULE)).and_then(|(since, rule)| {
                let present = self.episodes.get(&rule.family).and_then(Episode::present);
                let mut next = rule
                    .steps
                    .iter()
                    .filter(|step| !step.conditional && Some(step.priority) > present);
                next.next().map(|step| {
                    WallTime::from_unix_ms(since.unix_ms().saturating_add(step.after_ms))
                })
            });
        let doubt = self.doubtful_until.filter(|_| self.silent_since.is_none());
        closing.chain(silent).chain(doubt).min()
    }
}
