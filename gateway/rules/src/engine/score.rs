//! NEWS2 of a patient: an observation set in, changed alerts out.

use super::{Engine, firing::Firing, life::Episode};
use crate::{
    alert::Alert,
    news2::{Observations, Score},
    rule::{RuleSet, ScoreRule},
};
use model::time::WallTime;
use std::collections::BTreeSet;

impl Engine {
    /// Scores the observation set of a moment; the points, and the alerts that changed. No points
    /// for whom the score is not valid: under 16, of unknown age, or pregnant.
    ///
    /// A set that is not complete neither raises nor clears, and neither does one that is older
    /// than the last.
    pub fn on_observations(
        &mut self,
        rules: &RuleSet,
        now: WallTime,
        at: WallTime,
        set: &Observations,
    ) -> (Option<Score>, Vec<Alert>) {
        let mut touched = BTreeSet::new();
        let facts = self.facts_at(rules, at, &mut touched);
        let score = self.profile.score(rules, at, set);
        let is_new = self.scored_at.is_none_or(|scored| scored <= at);
        if let Some(score) = score.as_ref().filter(|score| score.is_complete() && is_new) {
            self.scored_at = Some(at);
            for rule in rules.scores().iter().filter(|rule| rule.is_for(&facts)) {
                let episode = self.episodes.entry(rule.family.clone()).or_default();
                if rule.holds(score) {
                    let says = [&*rule.message_zh, &rule.message_en];
                    let firing = Firing {
                        value: Some(score.total().to_string()),
                        check: score.check,
                        ..Firing::new(&rule.id, rule.priority, at, says)
                    };
                    episode.fire(rule.id.clone(), firing);
                } else {
                    episode.cease(&rule.id);
                }
                touched.insert(rule.family.clone());
            }
        }
        (score, self.settle(now, at, touched, false))
    }

    /// When the patient was scored here last; `None` where that is over.
    #[must_use]
    pub const fn scored_at(&self) -> Option<WallTime> {
        self.scored_at
    }

    /// The patient is scored here no more: what the score raised ends, with the reason. Hands out
    /// the alerts that changed.
    pub fn end_score(&mut self, rules: &RuleSet, now: WallTime, why: &str) -> Vec<Alert> {
        self.scored_at = None;
        self.of_score(rules).flat_map(|episode| episode.end(now, now, why, false)).collect()
    }

    /// Whether anybody can know what the score raised: not while what devices measure of a set is
    /// missing behind a lost box. Hands out the alerts that changed.
    pub fn know_score(&mut self, rules: &RuleSet, now: WallTime, is_known: bool) -> Vec<Alert> {
        let of_score = self.of_score(rules);
        let changed = of_score.filter_map(|episode| match is_known {
            true => episode.trust(now),
            false => episode.doubt(now),
        });
        changed.collect()
    }

    fn of_score(&mut self, rules: &RuleSet) -> impl Iterator<Item = &mut Episode> {
        let families: BTreeSet<&str> =
            rules.scores().iter().map(|rule| rule.family.as_str()).collect();
        let all = self.episodes.iter_mut();
        all.filter(move |(key, _)| families.contains(key.as_str())).map(|(_, episode)| episode)
    }
}

impl ScoreRule {
    fn holds(&self, score: &Score) -> bool {
        let total = score.total();
        self.item_equals.is_none_or(|points| score.has_item(points))
            && self.at_least.is_none_or(|least| total >= least)
            && self.at_most.is_none_or(|most| total <= most)
    }
}
