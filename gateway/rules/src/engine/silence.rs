//! Silence: what is not known while nothing is heard, and what time alone does.
//!
//! A device is silent when its agent says so; what lies behind an edge box is out of reach when
//! the county says so of the box.

use super::{Engine, life::Episode, technical};
use crate::{
    alert::Alert,
    freshness::{Freshness, Moment, Position},
    rule::{RuleSet, Step, TechnicalRule},
};
use model::{
    device::{DeviceState, DeviceStatus},
    time::WallTime,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// The rule of a device that says nothing.
const SILENT_RULE: &str = "TECH-SILENT";
/// The rule of an edge box that is out of reach.
const BOX_RULE: &str = "EDGE-OFFLINE";

/// Nothing is heard of a device, or of a box.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub(super) struct Silence {
    /// When it was heard last, as far as is known.
    since: WallTime,
    /// From when the county counts it: it may have ended behind a delay.
    counted_from: WallTime,
}

impl Engine {
    /// Takes in a device's status; hands out the alerts that changed, or `None` where a newer
    /// status is known and this one changes nothing.
    pub fn on_status(
        &mut self,
        rules: &RuleSet,
        now: WallTime,
        said: Moment,
        position: Position,
        status: &DeviceStatus,
    ) -> Option<Vec<Alert>> {
        self.kind = Some(status.kind);
        let place = (position.outbox.to_string(), position.seq.get(), position.index);
        let is_old = |(outbox, seq, index): &(String, u64, u32)| {
            *outbox == place.0 && (place.1, place.2) < (*seq, *index)
        };
        if self.status_at.as_ref().is_some_and(is_old) {
            return None;
        }
        self.status_at = Some(place);
        let fresh = Freshness::of_stream(said, now) == Freshness::Fresh;
        let mut touched = BTreeSet::new();
        let mut changed = Vec::new();
        match status.state {
            DeviceState::Online => self.end_silence(rules, now, &mut touched),
            // What is expected to be quiet is not silent when its cable is out.
            DeviceState::Silent | DeviceState::LinkDown if !rules.repeats(self.kind) => {}
            DeviceState::Silent | DeviceState::LinkDown => {
                // What ended meanwhile is on its way behind a late silence.
                let counted_from = if fresh { said.at } else { now };
                self.silence.get_or_insert(Silence { since: said.at, counted_from });
            }
            // The port is back; whether the device is, its driver says.
            DeviceState::Waiting => {}
            DeviceState::Removed => changed = self.take_away(now, said.at, &status.reason),
        }
        changed.extend(self.settle(rules, now, said.at, touched));
        if fresh && status.state == DeviceState::Online {
            changed.extend(self.known_again(now));
        }
        changed.extend(self.on_time(rules, now));
        Some(changed)
    }

    /// The edge box went out of the county's reach.
    pub fn box_lost(&mut self, now: WallTime) {
        if self.is_box() {
            self.silence.get_or_insert(Silence { since: now, counted_from: now });
        } else {
            self.box_lost.get_or_insert(now);
        }
    }

    /// The edge box is in reach again; hands out the alerts that changed.
    ///
    /// What was unknown stays so until its device is heard; a device that speaks only when it
    /// measures has said all there is.
    pub fn box_back(&mut self, rules: &RuleSet, now: WallTime) -> Vec<Alert> {
        self.box_lost = None;
        // That it speaks again may be on its way behind the news that the box is back.
        if let Some(silence) = &mut self.silence {
            silence.counted_from = now;
        }
        let mut touched = BTreeSet::new();
        if self.is_box() {
            self.end_silence(rules, now, &mut touched);
        }
        let mut changed = self.settle(rules, now, now, touched);
        let all = self.episodes.values_mut();
        changed.extend(all.filter_map(|episode| episode.stand_behind(now, None)));
        if self.is_box() || !rules.repeats(self.kind) {
            changed.extend(self.known_again(now));
        }
        changed
    }

    /// Whether something is from after the device fell silent: what it said before may arrive
    /// after the news of its silence.
    pub(super) fn is_after_silence(&self, at: WallTime) -> bool {
        self.silence.is_none_or(|silence| at > silence.since)
    }

    /// The device was heard: it is not silent any more.
    pub(super) fn end_silence(
        &mut self,
        rules: &RuleSet,
        now: WallTime,
        touched: &mut BTreeSet<String>,
    ) {
        if self.silence.take().is_none() {
            return;
        }
        self.doubt_alarms(now);
        if let Some(rule) = self.silence_rule(rules)
            && let Some(episode) = self.episodes.get_mut(&rule.family)
        {
            episode.cease(&rule.id);
        }
        touched.extend(self.episodes.keys().cloned());
    }

    /// What nobody knew is known again, unless nothing is heard.
    pub(super) fn known_again(&mut self, now: WallTime) -> Vec<Alert> {
        if !self.is_heard() {
            return Vec::new();
        }
        self.cut_off = false;
        self.episodes.values_mut().filter_map(|episode| episode.become_known(now)).collect()
    }

    /// The device was taken away: what it said holds no more.
    fn take_away(&mut self, now: WallTime, at: WallTime, why: &str) -> Vec<Alert> {
        self.forget_what_was_said();
        self.episodes.values_mut().filter_map(|episode| episode.withdraw(now, at, why)).collect()
    }

    /// Nothing that the device said holds any more.
    pub(super) fn forget_what_was_said(&mut self) {
        self.alarms.clear();
        self.doubt = None;
        self.series.clear();
        self.valued.clear();
        self.latest.clear();
        self.ranks.clear();
        self.rank = None;
        self.silence = None;
    }

    /// Lets time pass: silence, and what time alone does with alerts.
    pub fn on_time(&mut self, rules: &RuleSet, now: WallTime) -> Vec<Alert> {
        let mut touched = BTreeSet::new();
        let mut changed = Vec::new();
        if let (Some(rule), Some(Silence { since, counted_from })) =
            (self.silence_rule(rules), self.counted_silence())
        {
            let elapsed = now.unix_ms().saturating_sub(counted_from.unix_ms());
            if let Some(step) = steps(rule).filter(|step| step.after_ms <= elapsed).last() {
                let firing = technical(rule, step.priority, since);
                let episode = self.episodes.entry(rule.family.clone()).or_default();
                episode.fire(rule.id.clone(), firing);
                touched.insert(rule.family.clone());
                // What was true when it fell silent may still be: nobody knows.
                let others = self.episodes.iter_mut().filter(|(family, _)| **family != rule.family);
                changed.extend(others.filter_map(|(_, episode)| episode.become_unknown(now)));
            }
        }
        if self.unreachable_at(rules).is_some_and(|at| at <= now) {
            self.cut_off = true;
            // The alert of the box stands for the silence of what is behind it.
            let silent = self.silence_rule(rules).map(|rule| rule.family.as_str());
            let all = self.episodes.iter_mut();
            changed.extend(all.filter_map(|(family, episode)| {
                match Some(family.as_str()) == silent {
                    true => episode.stand_behind(now, Some(BOX_RULE)),
                    false => episode.become_unknown(now),
                }
            }));
        }
        if self.doubt_ends_at().is_some_and(|until| until <= now) {
            for key in self.doubt.take().into_iter().flat_map(|doubt| doubt.alarms) {
                self.end_alarm(&key, &mut touched);
            }
        }
        changed.extend(self.settle(rules, now, now, touched));
        let times = rules.times();
        changed.extend(self.episodes.values_mut().flat_map(|episode| episode.on_time(now, times)));
        changed
    }

    /// When `on_time` has something to do next.
    #[must_use]
    pub fn next_deadline(&self, rules: &RuleSet) -> Option<WallTime> {
        let times = rules.times();
        let closing = self.episodes.values().filter_map(|episode| episode.due_at(times));
        let silent = self.counted_silence().zip(self.silence_rule(rules));
        let silent = silent.and_then(|(Silence { counted_from, .. }, rule)| {
            let present = self.episodes.get(&rule.family).and_then(Episode::present);
            let next = steps(rule).find(|step| Some(step.priority) > present)?;
            Some(WallTime::from_unix_ms(counted_from.unix_ms().saturating_add(next.after_ms)))
        });
        closing.chain(silent).chain(self.unreachable_at(rules)).chain(self.doubt_ends_at()).min()
    }

    /// Whether this is the engine of an edge box: its subject has the name of the site.
    fn is_box(&self) -> bool {
        self.device.as_str() == self.site.as_str()
    }

    pub(super) fn silence_rule<'r>(&self, rules: &'r RuleSet) -> Option<&'r TechnicalRule> {
        rules.technical(if self.is_box() { BOX_RULE } else { SILENT_RULE })
    }

    fn is_heard(&self) -> bool {
        self.silence.is_none() && self.box_lost.is_none()
    }

    /// The silence that counts: not while the alert of the box stands for its devices.
    fn counted_silence(&self) -> Option<Silence> {
        self.silence.filter(|_| self.box_lost.is_none())
    }

    /// When the alerts of a device behind a lost box become unknown: with the alert of the box.
    fn unreachable_at(&self, rules: &RuleSet) -> Option<WallTime> {
        let lost = self.box_lost.filter(|_| !self.cut_off)?;
        let step = steps(rules.technical(BOX_RULE)?).next()?;
        Some(WallTime::from_unix_ms(lost.unix_ms().saturating_add(step.after_ms)))
    }

    /// When alarms that were not said again are over: not while nobody could hear them.
    fn doubt_ends_at(&self) -> Option<WallTime> {
        self.doubt.as_ref().filter(|_| self.is_heard()).map(|doubt| doubt.until)
    }
}

/// Steps of an unbound device.
fn steps(rule: &TechnicalRule) -> impl Iterator<Item = &Step> {
    rule.steps.iter().filter(|step| !step.conditional)
}
