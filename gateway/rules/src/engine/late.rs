//! What the pass over late readings asks of an engine and leaves in it (late data, rows 2 to 8), and
//! what a late spot value says (row 5).
//!
//! Not here: which alerts the pass finds, and by which row ([`crate::retro`]).
//!
//! # Invariants
//! - nothing here ends an alert or makes its priority fall

use super::{
    Engine,
    device::Device,
    firing::Firing,
    life::{Episode, SAME_EPISODE_MS},
    series::Series,
};
use crate::{
    alert::{Alert, AlertId, AlertState, TimelineEvent},
    retro::LateEpisode,
    rule::RuleSet,
};
use model::{alarm::Priority, id::DeviceId, metric::Class, time::WallTime};
use std::collections::{BTreeMap, BTreeSet};

/// What a late spot value that tells the present asks for.
pub(super) const RECHECK_ROW: u8 = 5;
/// A late alert whose condition still holds: it sounds.
pub(crate) const HOLDS_ROW: u8 = 4;

/// What the fresh values say that are newer than everything that came late.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Standing {
    /// The pass has heard all of them, and it holds: between a limit and where it clears nothing is
    /// over.
    Holds,
    /// The last one is outside a limit of the family.
    Outside,
    /// The last one is not.
    Normal,
    /// There is none.
    Unheard,
}

impl Standing {
    pub(crate) const fn is_outside(self) -> bool {
        matches!(self, Self::Holds | Self::Outside)
    }
}

impl Engine {
    /// The same subject, before anything was judged of it.
    #[must_use]
    pub fn unjudged(&self) -> Self {
        let unjudged = |device: &Device| Device {
            newest: BTreeMap::new(),
            ranks: BTreeMap::new(),
            alarms: BTreeMap::new(),
            over: Vec::new(),
            doubt: None,
            silence: None,
            cuff_at: None,
            cuff_since: None,
            off: BTreeMap::new(),
            infusions: BTreeMap::new(),
            out_of_service: None,
            ..device.clone()
        };
        let devices = self.devices.iter().map(|(id, device)| (id.clone(), unjudged(device)));
        Self {
            facts: None,
            devices: devices.collect(),
            series: BTreeMap::new(),
            valued: BTreeMap::new(),
            spots: BTreeMap::new(),
            rank: None,
            latest: BTreeMap::new(),
            results: BTreeMap::new(),
            scored_at: None,
            box_lost: None,
            cut_off: false,
            told_until: BTreeMap::new(),
            told_over: BTreeSet::new(),
            late_word: None,
            episodes: BTreeMap::new(),
            ..self.clone()
        }
    }

    /// A device was taken off then; what it is stays known for when it comes back.
    pub(crate) fn left_then(
        &mut self,
        rules: &RuleSet,
        at: WallTime,
        device: &DeviceId,
    ) -> Vec<Alert> {
        let pace = self.pace_of(device);
        let (_, ended) = self.device_left(rules, at, at, device, "");
        self.tell_pace(device, pace);
        ended
    }

    /// The priority of what holds now under a key.
    pub(crate) fn present(&self, key: &str) -> Option<Priority> {
        self.episodes.get(key).and_then(Episode::present)
    }

    /// Where what belongs to an alert is: technical ones of a patient's devices are by device.
    pub(crate) fn key_of(&self, rules: &RuleSet, alert: &Alert) -> String {
        match rules.is_technical(&alert.family) {
            true => self.technical_key(&alert.family, &alert.device),
            false => alert.family.clone(),
        }
    }

    /// What the values after that moment say about the family of an alert.
    pub(crate) fn standing(&self, rules: &RuleSet, alert: &Alert, after: WallTime) -> Standing {
        match rules.is_technical(&alert.family) {
            true => self.technical_standing(rules, alert, after),
            false => {
                let class = alert.metric.map(|metric| metric.row().class);
                self.class_standing(rules, &alert.family, class, after)
            }
        }
    }

    /// The same of a technical family: only its own device says how that is.
    fn technical_standing(&self, rules: &RuleSet, alert: &Alert, after: WallTime) -> Standing {
        let metric = alert.metric.map_or_else(String::new, |metric| format!("{metric}|"));
        let series = self.name(&alert.device, &metric);
        let mut values = self.valued.iter().filter(|(name, _)| name.starts_with(&series));
        match self.present(&self.key_of(rules, alert)) {
            Some(_) => Standing::Outside,
            None if values.any(|(_, at)| *at > after) => Standing::Normal,
            None => Standing::Unheard,
        }
    }

    /// The same of what stood outside before or at that moment.
    pub(crate) fn present_of(&self, key: &str, until: WallTime) -> Option<Priority> {
        let is_of = |(key, firing): &(&String, &Firing)| {
            let series = self.series.get(*key).and_then(Series::outside_since);
            series.unwrap_or(firing.since) <= until
        };
        let firing = self.episodes.get(key)?.firing.iter();
        firing.filter(is_of).map(|(_, firing)| firing.priority).max()
    }

    /// What the values after that moment say about a family that is read from a class.
    fn class_standing(
        &self,
        rules: &RuleSet,
        family: &str,
        class: Option<Class>,
        after: WallTime,
    ) -> Standing {
        let is_newer = |series: &str| self.valued.get(series).is_some_and(|at| *at > after);
        let is_outside = self.pending(rules, family).any(|(_, series)| is_newer(series));
        let is_read = |series: &str| class.is_some() && self.class_of(series) == class;
        let mut values = self.valued.iter().filter(|(series, _)| is_read(series));
        match (is_outside, values.any(|(_, at)| *at > after)) {
            (true, _) => Standing::Outside,
            (false, true) => Standing::Normal,
            (false, false) => Standing::Unheard,
        }
    }

    /// Rules of a family that stand outside on a series: the key of both, and the series.
    fn pending<'e>(
        &'e self,
        rules: &'e RuleSet,
        family: &'e str,
    ) -> impl Iterator<Item = (&'e String, &'e str)> {
        self.series.iter().filter_map(move |(key, series)| {
            let (rule, name) = key.split_once('|')?;
            let stands = series.outside_since().is_some() && rules.is_of_family(rule, family);
            stands.then_some((key, name))
        })
    }

    /// Whether an alert under that key holds, as far as anybody knows; its id.
    pub(crate) fn active(&self, key: &str) -> Option<AlertId> {
        let alert = self.episodes.get(key)?.alert.as_ref()?;
        alert.condition().is_active().then_some(alert.id)
    }

    /// The pass found an episode of which that alert is a part; the alert if that changed it.
    pub(crate) fn meet_late(
        &mut self,
        rules: &RuleSet,
        id: AlertId,
        found: &LateEpisode,
        standing: Standing,
        now: WallTime,
    ) -> Option<Alert> {
        let key = self.key_of(rules, &found.alert);
        self.episodes.get_mut(&key)?.meet_late(id, found, standing, now)
    }

    /// Takes over an alert that only the pass has found; the alerts that changed.
    pub(crate) fn adopt_late(
        &mut self,
        rules: &RuleSet,
        mut alert: Alert,
        now: WallTime,
    ) -> Vec<Alert> {
        let keys: Vec<String> = match alert.state.is_active() {
            true => self.pending(rules, &alert.family).map(|(key, _)| key.clone()).collect(),
            false => Vec::new(),
        };
        let says = [alert.message_zh.as_str(), alert.message_en.as_str()];
        let firing = Firing::of(&alert, says);
        let place = self.key_of(rules, &alert);
        let own = self.own(&place);
        let episode = self.episodes.entry(place).or_default();
        // What stands outside holds from now on, so that the next values can end it.
        for key in keys {
            if let Some(series) = self.series.get_mut(&key) {
                series.fires();
            }
            episode.firing.entry(key).or_insert_with(|| firing.clone());
        }
        alert.people.out_of_service = episode.is_off(own.as_ref(), &self.devices);
        alert.set_aside();
        let closed = episode.adopt_late(alert.clone(), now);
        // It may itself be the oldest of too many that wait.
        let is_open = closed.as_ref().is_none_or(|closed| closed.id != alert.id);
        closed.into_iter().chain(Some(alert).filter(|_| is_open)).collect()
    }

    /// Whether what an alert of the pass rests on was heard in time since that moment, and by the
    /// pass as far as here: then it holds.
    pub(crate) fn has_heard_as(&self, pass: &Self, key: &str, after: WallTime) -> bool {
        let firing = pass.episodes.get(key).into_iter().flat_map(|episode| episode.firing.keys());
        let mut names = firing.filter_map(|key| key.split_once('|').map(|(_, name)| name));
        names.any(|name| {
            let newest = self.valued.get(name).filter(|at| **at > after);
            newest.is_some() && newest == pass.valued.get(name)
        })
    }

    /// Goes on from where the pass has come to, in whatever both have heard as far: since when a rule
    /// stands, the pass has heard from the first. What began or ended by that is for the next values
    /// to say; the alerts of which more rules hold than was known.
    pub(crate) fn go_on_as(&mut self, rules: &RuleSet, pass: &Self) -> Vec<Alert> {
        let has_heard_as_far = |key: &&String| {
            let name = key.split_once('|').map_or("", |(_, name)| name);
            self.valued.contains_key(name) && self.valued.get(name) == pass.valued.get(name)
        };
        let keys = self.series.keys().chain(pass.series.keys());
        let keys: BTreeSet<String> = keys.filter(has_heard_as_far).cloned().collect();
        let mut changed = BTreeMap::new();
        for key in keys {
            let rule = key.split('|').next().and_then(|id| rules.threshold(id));
            let Some(family) = rule.map(|rule| &rule.family) else { continue };
            let here = self.series.get(&key).copied().unwrap_or_default();
            let there = pass.series.get(&key).copied().unwrap_or_default();
            let found = pass.episodes.get(family).and_then(|of| of.firing.get(&key));
            let joins = match (found, self.episodes.get_mut(family)) {
                (Some(firing), Some(episode)) => episode.goes_on_with(&key, firing),
                _ => false,
            };
            let series = here.going_on_as(there, joins);
            // What was over the next value ends, where nothing else holds.
            let is_over = here.holds() && !there.holds();
            let mut episode = self.episodes.get_mut(family).filter(|_| is_over);
            let ceased = episode.as_mut().is_some_and(|episode| episode.cease_one(&key));
            let ends = episode.is_some_and(|episode| episode.found_over.is_some());
            let series = if ceased || ends { there } else { series };
            match series == Series::default() {
                true => drop(self.series.remove(&key)),
                false => drop(self.series.insert(key, series)),
            }
            if (joins || ceased)
                && let Some(alert) = self.episodes.get_mut(family).and_then(Episode::name_rules)
            {
                changed.insert(alert.id, alert);
            }
        }
        changed.into_values().collect()
    }

    /// A late spot value raised these: it is measured again, whatever became of it. What it said of
    /// the device, a battery that is low, nobody measures.
    pub(super) fn ask_for_recheck(
        &mut self,
        rules: &RuleSet,
        now: WallTime,
        changed: &mut [Alert],
    ) {
        for told in changed.iter_mut().filter(|told| !rules.is_technical(&told.family)) {
            let sounds = |event: TimelineEvent| {
                use TimelineEvent::{PriorityRose, Raised, Recurred};
                matches!(event, Raised | Recurred | PriorityRose)
            };
            if !told.timeline.last().is_some_and(|last| last.at == now && sounds(last.what)) {
                continue;
            }
            told.late_row = Some(RECHECK_ROW);
            let episode = self.episodes.get_mut(&told.family);
            if let Some(kept) = episode.and_then(|episode| episode.alert.as_mut()) {
                kept.clone_from(told);
            }
        }
    }
}

/// What a rule says of a spot value, in Chinese and English: of one that was so old when it came also
/// that, and that it is measured again.
pub(super) fn says(words: [&str; 2], late_ms: Option<i64>) -> [String; 2] {
    let [zh, en] = words;
    let Some(ago_ms) = late_ms else { return [zh.to_owned(), en.to_owned()] };
    let (hours, minutes) = (ago_ms / 3_600_000, ago_ms / 60_000 % 60);
    match hours {
        0 => [
            format!("{zh},测于 {minutes}分前,请立即复测"),
            format!("{en}, measured {minutes} min ago, measure again now"),
        ],
        _ => [
            format!("{zh},测于 {hours}小时{minutes}分前,请立即复测"),
            format!("{en}, measured {hours} h {minutes} min ago, measure again now"),
        ],
    }
}

impl Episode {
    /// A rule holds no more, while others do; whether that is so.
    fn cease_one(&mut self, key: &str) -> bool {
        let others = self.firing.keys().any(|known| known != key);
        let is_one = others && self.found_over.is_none();
        is_one && self.firing.remove(key).is_some()
    }

    /// What the pass found to hold belongs to the alert that holds, unless that is less urgent.
    fn goes_on_with(&mut self, key: &str, firing: &Firing) -> bool {
        let holds = self.alert.as_ref().is_some_and(|alert| {
            alert.condition().is_active() && firing.priority <= alert.priority
        });
        if holds && !self.is_firing(key) {
            self.fire(key.to_owned(), firing.clone());
        } else if let Some(known) = self.firing.get_mut(key).filter(|_| holds) {
            known.since = known.since.min(firing.since);
            known.priority = known.priority.max(firing.priority);
        }
        holds
    }

    /// What the pass found is part of that alert: it began earlier, or was worse than anybody knew.
    fn meet_late(
        &mut self,
        id: AlertId,
        found: &LateEpisode,
        standing: Standing,
        now: WallTime,
    ) -> Option<Alert> {
        let is_over = self.alert.as_ref().is_none_or(|alert| alert.id != id);
        let alert = self.unseen.iter_mut().chain(&mut self.alert).find(|alert| alert.id == id)?;
        let before = alert.clone();
        let begins = found.alert.started_at;
        // One that began before is seen from where the pass begins.
        let is_another = begins > alert.started_at && found.began_late;
        // Its box has said when one began that it told of.
        if alert.people.told_by_box.is_none() {
            alert.started_at = alert.started_at.min(begins);
        }
        // It was over before the first fresh value could say so: what follows is another episode.
        let since = alert.back_since().unwrap_or(alert.started_at);
        let over = found.over_at().filter(|over| *over >= since.max(alert.started_at));
        if alert.condition().is_active() {
            self.found_over = over.map(|over| (over, found.alert.rules.clone()));
        }
        alert.cleared_at = alert.cleared_at.map(|at| over.map_or(at, |over| at.min(over)));
        if let Some(over) = over.filter(|over| alert.cleared_at == Some(*over)) {
            // Which rules held at its end the pass has heard, and who had it in hand then; a box that
            // told of that end had heard it too, and has said whose it was.
            alert.rules.clone_from(&found.alert.rules);
            if alert.people.told_by_box.is_none() || before.cleared_at != Some(over) {
                alert.was_in_hand_at(over, true);
            }
            if alert.condition() == AlertState::ClearedUnack && alert.acknowledged.is_some() {
                alert.close(now, "");
            }
        }
        let Some((peak, peak_at)) = found.peak else {
            return (*alert != before).then(|| alert.clone());
        };
        // Whoever had it in hand later than that has seen the patient since.
        let is_unseen = alert.acknowledged.as_ref().is_none_or(|by| by.at < peak_at);
        let is_higher = peak > alert.priority;
        let came_back = alert.cleared_at.and_then(|cleared| found.raised_after(cleared));
        match alert.condition() {
            state if state.is_active() => {
                let holds = peak == Priority::High && standing.is_outside();
                // What nobody knew: that it is worse, that it began earlier or anew.
                if holds && (is_higher || is_another || begins < before.started_at) {
                    alert.late_row = Some(HOLDS_ROW);
                }
                if holds && is_unseen && (is_higher || is_another) {
                    let what = match is_higher {
                        true => TimelineEvent::PriorityRose,
                        false => TimelineEvent::Recurred,
                    };
                    alert.tell(now, what, None, found.rule().to_owned());
                    alert.priority = peak;
                    alert.begin_anew();
                    alert.take_off_shelf(now);
                    self.before_unknown = self.before_unknown.map(|_| AlertState::ActiveUnack);
                    match state {
                        AlertState::Unknown => alert.take_back(now),
                        _ => alert.sound(now),
                    }
                }
            }
            AlertState::ClearedUnack | AlertState::Closed
                if !is_over
                    && came_back.is_some()
                    && standing == Standing::Holds
                    && found.alert.priority == Priority::High =>
            {
                alert.holds_again(found, now);
            }
            AlertState::ClearedUnack if is_higher || came_back.is_some() => {
                alert.note_late(found, came_back.is_some(), now);
            }
            // One that is over is taken up again where nobody saw what came late.
            AlertState::Closed if !is_over && is_unseen && (is_higher || came_back.is_some()) => {
                alert.note_late(found, came_back.is_some(), now);
                if alert.priority > Priority::Low {
                    alert.begin_anew();
                    alert.retro = true;
                    alert.wait(now);
                }
            }
            _ => {}
        }
        (*alert != before).then(|| alert.clone())
    }

    /// Takes over an alert that only the pass has found; one that had to be closed for it.
    fn adopt_late(&mut self, alert: Alert, now: WallTime) -> Option<Alert> {
        let is_newest = alert.condition().is_active()
            || self.alert.as_ref().is_none_or(|present| {
                !present.condition().is_active() && present.started_at < alert.started_at
            });
        if is_newest {
            let closed = self.put_aside(now);
            self.before_unknown = None;
            self.alert = Some(alert);
            return closed;
        }
        if alert.condition() == AlertState::ClearedUnack {
            let place = self.unseen.partition_point(|known| known.started_at < alert.started_at);
            self.unseen.insert(place, alert);
        }
        self.close_oldest(now)
    }
}

impl Alert {
    /// It came back, as the pass found, and holds.
    fn holds_again(&mut self, found: &LateEpisode, now: WallTime) {
        let present = found.alert.priority;
        self.priority = match self.condition() {
            AlertState::ClearedUnack => self.priority.max(present),
            _ => present,
        };
        self.cleared_at = None;
        self.retro = false;
        self.recurrences += 1;
        self.late_row = Some(HOLDS_ROW);
        self.rules.clone_from(&found.alert.rules);
        self.begin_anew();
        self.tell(now, TimelineEvent::Recurred, None, found.rule().to_owned());
        self.sound(now);
    }

    /// Something of it that was over came late; where it had come back it was over with that.
    fn note_late(&mut self, found: &LateEpisode, came_back: bool, now: WallTime) {
        if let Some(over) = found.over_at().filter(|_| came_back) {
            self.cleared_at = Some(over);
            self.rules.clone_from(&found.alert.rules);
        }
        self.priority = self.priority.max(found.peak.map_or(self.priority, |(peak, _)| peak));
        self.recurrences = self.recurrences.max(found.alert.recurrences);
        self.late_row.get_or_insert(6);
        self.tell(now, TimelineEvent::RaisedLate, None, found.rule().to_owned());
    }
}

/// Whether something belongs to what was over then: it is the same episode.
pub(crate) fn is_same_episode(over: WallTime, begins: WallTime) -> bool {
    begins.unix_ms().saturating_sub(over.unix_ms()) <= SAME_EPISODE_MS
}
