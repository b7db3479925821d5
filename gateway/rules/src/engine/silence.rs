//! Silence: what is not known while nothing is heard, and what time alone does.
//!
//! A device is silent when its agent says so; what lies behind an edge box is out of reach when
//! the county says so of the box.

use super::{
    Engine, after, device::Device, firing::Firing, life::Episode, series::Series, technical,
};
use crate::{
    alert::Alert,
    binding::Subject,
    freshness::{Freshness, Moment, Position, is_before},
    rule::{Pace, RuleSet, TechnicalRule},
};
use model::{
    alarm::Priority,
    device::{DeviceState, DeviceStatus},
    id::DeviceId,
    time::WallTime,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// The rule of a device that says nothing.
pub(super) const SILENT_RULE: &str = "TECH-SILENT";
/// The rule of an edge box that is out of reach.
pub(super) const BOX_RULE: &str = "EDGE-OFFLINE";

/// What comes late comes one behind the other: what is over is told within that time.
pub(super) const TOLD_ON_MS: i64 = 10_000;

/// Nothing is heard of a device, or of a box.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub(super) struct Silence {
    /// When it was heard last, as far as is known.
    since: WallTime,
    /// From when the county counts it: it may have ended behind a delay.
    counted_from: WallTime,
}

impl Silence {
    /// The clock of the box was set by so much.
    pub(super) fn set_clock_by(&mut self, by_ms: i64) {
        self.since = after(self.since, by_ms);
        self.counted_from = after(self.counted_from, by_ms);
    }
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
        let device = &status.device;
        let known = self.device(device);
        let interval_ms = status.expected_interval_ms.map(i64::from);
        known.set_pace(Pace { kind: Some(status.kind), interval_ms });
        let place = position.place();
        if known.status_at.as_ref().is_some_and(|newest| is_before(&place, newest)) {
            return None;
        }
        known.status_at = Some(place);
        known.hear_of_cuff(said.at, &status.about);
        let fresh = Freshness::of_stream(said, now) == Freshness::Fresh;
        let mut touched = BTreeSet::new();
        let mut changed = Vec::new();
        match status.state {
            DeviceState::Online => {
                self.end_silence(rules, now, device, &mut touched);
                self.device(device).was_back(said.at, now);
            }
            // What is expected to be quiet is not silent when its cable is out.
            DeviceState::Silent | DeviceState::LinkDown if !rules.repeats(known.pace()) => {}
            DeviceState::Silent | DeviceState::LinkDown => {
                // What ended meanwhile is on its way behind a late silence.
                let counted_from = if fresh { said.at } else { now };
                known.silence.get_or_insert(Silence { since: said.at, counted_from });
            }
            // The port is back; whether the device is, its driver says.
            DeviceState::Waiting => {}
            DeviceState::Removed => changed = self.take_away(now, said.at, device, &status.reason),
        }
        let silent = self.is_silent(rules, device);
        changed.extend(self.settle(now, said.at, touched, silent));
        if fresh && status.state == DeviceState::Online {
            changed.extend(self.known_again(now, device));
        }
        changed.extend(self.on_time(rules, now));
        Some(changed)
    }

    /// The edge box went out of the county's reach.
    pub fn box_lost(&mut self, now: WallTime) {
        if self.is_box() {
            let site = DeviceId::from(&self.site);
            let silence = Silence { since: now, counted_from: now };
            self.device(&site).silence.get_or_insert(silence);
        } else {
            self.box_lost.get_or_insert(now);
        }
    }

    /// Since when the edge box is out of reach, when this is its engine.
    #[must_use]
    pub fn box_lost_since(&self) -> Option<WallTime> {
        let known = self.devices.get(&DeviceId::from(&self.site)).filter(|_| self.is_box())?;
        known.silence.map(|silence| silence.since)
    }

    /// Whether what is behind the edge box is not known: it has been out of reach for so long.
    #[must_use]
    pub fn is_cut_off(&self) -> bool {
        self.cut_off && self.box_lost.is_some()
    }

    /// The edge box is in reach again; hands out the alerts that changed.
    ///
    /// What was unknown stays so until its device is heard; a device that speaks only when it
    /// measures has said all there is.
    pub fn box_back(&mut self, rules: &RuleSet, now: WallTime) -> Vec<Alert> {
        self.box_lost = None;
        // That a device speaks again may be on its way behind the news that the box is back.
        for silence in self.devices.values_mut().filter_map(|device| device.silence.as_mut()) {
            silence.counted_from = now;
        }
        let mut touched = BTreeSet::new();
        let is_box = self.is_box();
        if is_box {
            let site = DeviceId::from(&self.site);
            self.end_silence(rules, now, &site, &mut touched);
        }
        let mut changed = self.settle(now, now, touched, false);
        let all = self.episodes.values_mut();
        changed.extend(all.flat_map(|episode| episode.stand_alone(now)));
        // Of one that never told its status here only results are known.
        let has_spoken =
            |device: &Device| is_box || device.kind.is_none() || !rules.repeats(device.pace());
        let heard: Vec<DeviceId> = self
            .devices
            .iter()
            .filter(|(_, device)| has_spoken(device))
            .map(|(id, _)| id.clone())
            .collect();
        for device in heard {
            changed.extend(self.known_again(now, &device));
        }
        changed
    }

    /// Whether something is from after the device fell silent: what it said before may arrive
    /// after the news of its silence.
    pub(super) fn is_after_silence(&self, device: &DeviceId, at: WallTime) -> bool {
        let silence = self.devices.get(device).and_then(|device| device.silence);
        silence.is_none_or(|silence| at > silence.since)
    }

    /// Whether a device is silent, where that is news.
    pub(super) fn is_silent(&self, rules: &RuleSet, device: &DeviceId) -> bool {
        let silent = self.devices.get(device).is_some_and(|device| device.silence.is_some());
        silent && self.silence_rule(rules).is_some()
    }

    /// The device was heard: it is not silent any more.
    pub(super) fn end_silence(
        &mut self,
        rules: &RuleSet,
        now: WallTime,
        device: &DeviceId,
        touched: &mut BTreeSet<String>,
    ) {
        let known = self.device(device);
        if known.silence.take().is_none() {
            return;
        }
        known.doubt_alarms(now);
        if let Some(rule) = self.silence_rule(rules)
            && let Some(episode) = self.episodes.get_mut(&self.technical_key(&rule.family, device))
        {
            episode.cease(&rule.id);
        }
        touched.extend(self.episodes.keys().cloned());
    }

    /// What nobody knew is known again, unless nothing is heard.
    pub(super) fn known_again(&mut self, now: WallTime, device: &DeviceId) -> Vec<Alert> {
        let silent = self.devices.get(device).is_some_and(|device| device.silence.is_some());
        if silent || self.box_lost.is_some() {
            return Vec::new();
        }
        self.cut_off = false;
        let is_ending = |key: &str| self.series.get(key).is_some_and(Series::is_ending);
        // News of what is over already may be on its way behind that of its begin.
        let late_ms = self.late_word.map(|at| now.unix_ms().saturating_sub(at.unix_ms()));
        let is_told_on = late_ms.is_some_and(|age_ms| (0..TOLD_ON_MS).contains(&age_ms));
        let known = |episode: &mut Episode| {
            let waits = is_told_on && episode.is_by_late_words();
            match waits || episode.waits_for_its_end(now, is_ending) {
                true => None,
                false => episode.become_known(now, device),
            }
        };
        self.episodes.values_mut().filter_map(known).collect()
    }

    /// The device was taken away: what it said holds no more.
    fn take_away(
        &mut self,
        now: WallTime,
        at: WallTime,
        device: &DeviceId,
        why: &str,
    ) -> Vec<Alert> {
        let known = self.device(device);
        known.alarms.clear();
        known.over.clear();
        known.doubt = None;
        known.ranks.clear();
        known.off.clear();
        known.infusions.clear();
        known.silence = None;
        let mut changed = Vec::new();
        let touched = self.forget(device, |episode| {
            let active = episode.alert.as_ref().is_some_and(|alert| alert.condition().is_active());
            episode.clear(now, at, why);
            changed.extend(episode.alert.clone().filter(|_| active));
        });
        changed.extend(self.settle(now, at, touched, false));
        changed
    }

    /// Lets time pass: silence, steps that wait, and what time alone does with alerts.
    pub fn on_time(&mut self, rules: &RuleSet, now: WallTime) -> Vec<Alert> {
        let mut touched = BTreeSet::new();
        let mut changed = self.begin_service(now);
        changed.extend(self.tell_silence(rules, now, &mut touched));
        if self.unreachable_at(rules).is_some_and(|at| at <= now) {
            self.cut_off = true;
            // The alert of the box stands for the silence of what is behind it.
            let silence = self.silence_rule(rules).map(|rule| rule.family.as_str());
            let all = self.episodes.iter_mut();
            changed.extend(all.filter_map(|(key, episode)| {
                match key.split('|').next() == silence {
                    true => episode.stand_behind(now, BOX_RULE),
                    false => episode.become_unknown(now, |_| true),
                }
            }));
        }
        let over = |device: &mut Device| {
            let over = device.doubt_ends_at().is_some_and(|until| until <= now);
            device.doubt.take_if(|_| over).into_iter().flat_map(|doubt| doubt.alarms)
        };
        let is_reached = self.box_lost.is_none();
        let mut ended: Vec<(DeviceId, String)> = Vec::new();
        for (id, device) in self.devices.iter_mut().filter(|_| is_reached) {
            ended.extend(over(device).map(|key| (id.clone(), key)));
        }
        for (device, key) in ended {
            self.end_alarm(&device, &key, now, &mut touched);
        }
        self.step_up(rules, now, &mut touched);
        changed.extend(self.settle(now, now, touched, false));
        let times = rules.times(&self.site);
        changed.extend(self.episodes.values_mut().flat_map(|episode| episode.on_time(now, times)));
        changed
    }

    /// Devices that have been silent for long; what else they said may hold or not.
    fn tell_silence(
        &mut self,
        rules: &RuleSet,
        now: WallTime,
        touched: &mut BTreeSet<String>,
    ) -> Vec<Alert> {
        let Some(rule) = self.silence_rule(rules) else { return Vec::new() };
        let mut silent = BTreeSet::new();
        let mut changed = Vec::new();
        for (id, device) in self.devices.iter().filter(|_| self.box_lost.is_none()) {
            let Some(Silence { since, counted_from }) = device.silence else { continue };
            let elapsed = now.unix_ms().saturating_sub(counted_from.unix_ms());
            let mut steps = rule.steps(self.profile.monitored);
            let Some(step) = steps.rfind(|step| rules.wait_ms(step, device.pace()) <= elapsed)
            else {
                continue;
            };
            let mut firing = technical(rule, step.priority, since);
            firing.device = Some(id.clone());
            let key = self.technical_key(&rule.family, id);
            let episode = self.episodes.entry(key.clone()).or_default();
            episode.fire(rule.id.clone(), firing);
            // That it is silent is what is known.
            changed.extend(episode.become_known(now, id));
            touched.insert(key);
            silent.insert(id.clone());
        }
        if silent.is_empty() {
            return changed;
        }
        // What was true when they fell silent may still be: nobody knows.
        let is_silence = |key: &str| key.split('|').next() == Some(&rule.family);
        let others = self.episodes.iter_mut().filter(|(key, _)| !is_silence(key));
        changed
            .extend(others.filter_map(|(_, it)| it.become_unknown(now, |of| silent.contains(of))));
        changed
    }

    /// Technical alerts that have lasted rise by their steps, and of a spot value that nobody
    /// measured again its alert says so.
    fn step_up(&mut self, rules: &RuleSet, now: WallTime, touched: &mut BTreeSet<String>) {
        let (monitored, is_lost) = (self.profile.monitored, self.box_lost.is_some());
        for (key, episode) in &mut self.episodes {
            let is_known = episode.rises_from().is_none_or(|from| from <= now);
            for firing in episode.firing.values_mut() {
                if firing.is_late_recheck(now) {
                    firing.not_rechecked = true;
                    touched.insert(key.clone());
                }
                if is_lost || !is_known {
                    continue; // Whether it holds still nobody knows.
                }
                let elapsed = now.unix_ms().saturating_sub(firing.since.unix_ms());
                let due = waiting_steps(rules, monitored, firing).rfind(|(_, ms)| *ms <= elapsed);
                if let Some((priority, _)) = due {
                    firing.priority = priority;
                    touched.insert(key.clone());
                }
            }
        }
    }

    /// When `on_time` has something to do next.
    #[must_use]
    pub fn next_deadline(&self, rules: &RuleSet) -> Option<WallTime> {
        let monitored = self.profile.monitored;
        let times = rules.times(&self.site);
        let closing = self.episodes.values().filter_map(|episode| episode.due_at(times));
        let all = self.episodes.values().flat_map(|episode| {
            let rises_from = episode.rises_from();
            episode.firing.values().map(move |firing| (firing, rises_from))
        });
        let stepping = all.filter_map(|(firing, rises_from)| {
            let step = waiting_steps(rules, monitored, firing).next();
            let step = step.filter(|_| self.box_lost.is_none());
            let step = step.map(|(_, ms)| after(firing.since, ms));
            let step = step.map(|at| rises_from.map_or(at, |from| from.max(at)));
            step.into_iter().chain(firing.recheck_ends_at()).min()
        });
        let reached = self.devices.iter().filter(|_| self.box_lost.is_none());
        let of_devices = reached.filter_map(|(id, device)| {
            let silence = self.silence_ends_at(rules, id, device);
            silence.into_iter().chain(device.doubt_ends_at()).min()
        });
        let of_all = self.unreachable_at(rules).into_iter().chain(self.service_begins_at());
        closing.chain(stepping).chain(of_devices).chain(of_all).min()
    }

    /// When the silence of a device is told, or told more urgently.
    fn silence_ends_at(&self, rules: &RuleSet, id: &DeviceId, device: &Device) -> Option<WallTime> {
        let (silence, rule) = (device.silence?, self.silence_rule(rules)?);
        let episode = self.episodes.get(&self.technical_key(&rule.family, id));
        let present = episode.and_then(Episode::present);
        let mut steps = rule.steps(self.profile.monitored);
        let next = steps.find(|step| Some(step.priority) > present)?;
        Some(after(silence.counted_from, rules.wait_ms(next, device.pace())))
    }

    /// Whether this is the engine of an edge box.
    fn is_box(&self) -> bool {
        self.subject == Subject::Box
    }

    pub(super) fn silence_rule<'r>(&self, rules: &'r RuleSet) -> Option<&'r TechnicalRule> {
        rules.technical(if self.is_box() { BOX_RULE } else { SILENT_RULE })
    }

    /// When the alerts of devices behind a lost box become unknown: with the alert of the box.
    fn unreachable_at(&self, rules: &RuleSet) -> Option<WallTime> {
        let lost = self.box_lost.filter(|_| !self.cut_off)?;
        let step = rules.technical(BOX_RULE)?.steps(false).next()?;
        Some(after(lost, rules.wait_ms(step, Pace::default())))
    }
}

impl Device {
    /// When alarms that were not said again are over: not while the device is silent.
    fn doubt_ends_at(&self) -> Option<WallTime> {
        self.doubt.as_ref().filter(|_| self.silence.is_none()).map(|doubt| doubt.until)
    }
}

/// More urgent steps of a technical rule that waits for nothing but time, and after how long.
fn waiting_steps<'r>(
    rules: &'r RuleSet,
    monitored: bool,
    firing: &Firing,
) -> impl DoubleEndedIterator<Item = (Priority, i64)> + use<'r> {
    let present = firing.priority;
    // That it is over may be on its way behind the news of its begin.
    let is_late = firing.late;
    // Silence is counted by the device, not by what fires.
    let rule =
        rules.technical(&firing.rule).filter(|rule| ![SILENT_RULE, BOX_RULE].contains(&&*rule.id));
    let steps = rule.into_iter().flat_map(move |rule| rule.steps(monitored));
    steps
        .filter(move |step| !is_late && step.test.is_none() && step.priority > present)
        .map(|step| (step.priority, rules.wait_ms(step, Pace::default())))
}
