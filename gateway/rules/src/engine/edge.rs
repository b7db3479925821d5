//! What an alert became at the box while the county was out of reach is taken over, not judged anew.
//!
//! # Invariants
//! - who has it in hand, at either end, has it in hand
//! - what is taken over is unknown until its device is heard again, and so makes no sound; where all
//!   that is heard since says that it may be over, until a value says that it is not
//! - of one alert the newest word counts, in whatever order words come; the others are its story

use super::{
    Engine,
    device::{metric_of, number_of},
    firing::Firing,
    life::{ADOPTED, Episode, SAME_EPISODE_MS, raised},
    series::Series,
};
use crate::{
    alert::{
        AckReason, Acknowledgement, Alert, AlertId, AlertState, People, TimelineEntry,
        TimelineEvent, words,
    },
    freshness::{Position, is_before},
    rule::RuleSet,
};
use model::{
    alarm::Priority,
    alert::EdgeAlert,
    id::DeviceId,
    metric::{Class, Kind, Metric},
    time::WallTime,
};
use std::collections::{BTreeMap, BTreeSet};

/// What both ends saw happen they saw so near to each other: an envelope was open, or time had not
/// passed for one of them.
pub(super) const SAME_STEP_MS: u64 = 10_000;

/// When what a box tells of an alert was, by the county's clock.
#[derive(Clone, Copy, Debug)]
pub struct EdgeTimes {
    /// The change.
    pub at: WallTime,
    /// The first reading outside.
    pub started: WallTime,
    /// The condition was over.
    pub cleared: Option<WallTime>,
}

/// No rule is over later than this after the first value that clears.
const ENDING_MS: i64 = 90_000;

impl Engine {
    /// Takes over what an alert became at its box: the alert as it is since. It has the box's id, or
    /// that of the county's alert of the family at that time: then they are one. Beside it another
    /// one that ended because of it.
    pub fn adopt_edge(
        &mut self,
        rules: &RuleSet,
        now: WallTime,
        told: &EdgeAlert,
        times: EdgeTimes,
        position: Position,
    ) -> (Alert, Option<Alert>) {
        self.adopt(rules, now, told, times, position, None)
    }

    /// The same of a device that had left at that moment, for that reason, of which the box did not
    /// know: what it had begun ended with that.
    pub fn adopt_left(
        &mut self,
        rules: &RuleSet,
        now: WallTime,
        told: &EdgeAlert,
        times: EdgeTimes,
        position: Position,
        (left, why): (WallTime, &str),
    ) -> (Alert, Option<Alert>) {
        let cleared = times.cleared.filter(|cleared| *cleared <= left);
        let times = EdgeTimes { at: times.at.min(left), cleared, ..times };
        self.adopt(rules, now, told, times, position, Some((left, why)))
    }

    fn adopt(
        &mut self,
        rules: &RuleSet,
        now: WallTime,
        told: &EdgeAlert,
        times: EdgeTimes,
        position: Position,
        left: Option<(WallTime, &str)>,
    ) -> (Alert, Option<Alert>) {
        self.late_word = Some(now);
        let id = AlertId::from_bytes(told.id);
        let key = match rules.is_technical(&told.family) {
            true => self.technical_key(&told.family, &told.device),
            false => told.family.clone(),
        };
        let (whose, family) = self.whose(&key);
        let is_off = self.is_off(&told.device);
        // Of a device that was taken off: what others that are in service say beside it.
        let beside = if is_off { self.in_service_says(&key) } else { BTreeSet::new() };
        let episode = self.episodes.entry(key.clone()).or_default();
        let overlaps = |alert: &&Alert| {
            alert.started_at <= times.cleared.unwrap_or(times.at)
                && alert.cleared_at.is_none_or(|cleared| cleared >= times.started)
        };
        // What began late was told at once by its device: the box tells of the same.
        let began = episode.late_since();
        let same = episode.alerts().find(|alert| alert.id == id);
        let same = same.or_else(|| episode.alerts().filter(overlaps).last()).cloned();
        let known = same.as_ref().map(|alert| alert.condition());
        let mut alert = same.unwrap_or_else(|| {
            let rule = told.rules.first().map_or("", String::as_str);
            let says = [&*told.message_zh, &told.message_en];
            let worst = Firing::new(rule, told.priority, times.started, says);
            let device = told.device.clone();
            Alert { id, device, ..raised(&whose, family, times.at, times.started, &worst) }
        });
        alert.latched |= told.latched;
        let place = position.place();
        let is_older =
            alert.people.told_by_box.as_ref().is_some_and(|newest| is_before(&place, newest));
        // What goes on without a device that has left goes on by others.
        let goes_on = left.is_some() && known.is_some_and(AlertState::is_active);
        if is_older || goes_on {
            let was_in_hand = alert.in_hand_since().is_some();
            tell_story(&mut alert, told, times, began, true);
            if !is_older {
                alert.people.in_hand_at_box = is_in_hand(told).then_some(times.at);
            }
            if alert.in_hand_since().is_some() && alert.state == AlertState::ActiveUnack {
                alert.go(AlertState::ActiveAck);
            }
            if !was_in_hand && alert.acknowledged.is_some() && alert.condition().is_active() {
                // It goes on as what holds by the newer word.
                alert.priority = episode.present().unwrap_or(alert.priority);
            }
            // It sounded anew behind who had it in hand: the newer word was judged as theirs.
            let is_nobodys = was_in_hand && alert.in_hand_since().is_none();
            if is_older && is_nobodys && alert.condition().is_active() {
                if alert.condition() == AlertState::ActiveAck {
                    alert.go(AlertState::ActiveUnack);
                }
                alert.take_off_shelf(times.at);
                alert.priority = alert.priority.max(told.priority);
            }
            episode.keep_story(&alert);
            return (alert, None);
        }
        alert.people.told_by_box = Some(place);
        let named = std::mem::take(&mut alert.rules);
        take_over(rules, &mut alert, told, times, began);
        // Its box knows nothing of that: what begins of a device that was taken off makes no sound.
        let begins = known.is_none_or(|known| known == AlertState::Closed);
        let is_over = alert.condition() == AlertState::Closed;
        if is_off && beside.is_empty() && begins && !is_over {
            alert.follow_service(true, now);
        }
        if let Some((left, why)) = left.filter(|_| times.cleared.is_none()) {
            alert.cleared_at = Some(left);
            match known {
                // Its story says that already.
                Some(AlertState::Closed) => alert.go(AlertState::Closed),
                _ => alert.close(now, why),
            }
        }
        self.end_series(rules, told, times);
        let mut said = self.alarm_names(&key);
        said.extend(self.off_names(&told.device));
        said.extend(beside);
        // What the box had heard until then is in what it tells, whenever that was measured; of a
        // device that has left all that it said.
        let told_until = left.map_or(times.at, |(left, _)| left);
        self.told_until
            .entry(key.clone())
            .and_modify(|at| *at = told_until.max(*at))
            .or_insert(told_until);
        let Some(episode) = self.episodes.get_mut(&key) else { return (alert, None) };
        // An alarm that a device was heard to signal ends when it says so, and so does a sensor that
        // is off.
        let said = if alert.condition().is_active() { said } else { BTreeSet::new() };
        let standing = (&told.device, standing(rules, &alert, told, times, &named));
        let ended = episode.adopt_told(alert.clone(), now, &said, standing);
        if episode.alert.as_ref().is_some_and(|known| known.id == alert.id)
            && let Some(firing) = episode.firing.get_mut(ADOPTED)
        {
            // The alert keeps the highest until somebody has it in hand, and goes on as what holds.
            firing.priority = at_most(rules, &alert, told, times);
        }
        match episode.alert.as_ref().is_some_and(|alert| alert.condition().is_active()) {
            true => self.told_over.remove(&key),
            false => self.told_over.insert(key.clone()),
        };
        // Silence itself, and what speaks only when it measures, have said all there is.
        let is_silence = self.silence_rule(rules).is_some_and(|rule| rule.family == told.family);
        let pace = self.pace_of(&told.device);
        let has_said_all = is_silence || (self.box_lost.is_none() && !rules.repeats(pace));
        let Some(episode) = self.episodes.get_mut(&key) else { return (alert, ended) };
        if has_said_all {
            drop(episode.become_known(now, &alert.device));
        }
        (episode.alert_of(alert.id).unwrap_or(alert), ended)
    }

    /// Whether what a device measured then was over with what its box told of a technical family.
    pub(super) fn is_told_over(&self, family: &str, device: &DeviceId, at: WallTime) -> bool {
        let key = self.technical_key(family, device);
        let alert = self.episodes.get(&key).and_then(|episode| episode.alert.as_ref());
        let over = alert.filter(|_| self.told_over.contains(&key)).and_then(|it| it.cleared_at);
        over.min(self.told_until.get(&key).copied()).is_some_and(|over| at <= over)
    }

    /// What a box told of by a technical rule and a number is over on a channel: it is not like that
    /// any more since the box's last word. Of which channel the box told nobody knows, so it is over
    /// with the last that has such a number, or when the others have said nothing for so long.
    pub(super) fn end_told(
        &mut self,
        rules: &RuleSet,
        rule: &str,
        (device, number): (&DeviceId, &str),
        at: WallTime,
        touched: &mut BTreeSet<String>,
    ) {
        let Some(rule) = rules.technical(rule).filter(|_| !self.told_until.is_empty()) else {
            return;
        };
        let key = self.technical_key(&rule.family, device);
        if self.told_until.get(&key).is_none_or(|until| at <= *until) {
            return;
        }
        let numbers = self.numbers_like(device, number);
        let Some(episode) = self.episodes.get_mut(&key) else { return };
        let told = episode.firing.get_mut(ADOPTED);
        let Some(told) = told.filter(|told| told.is_told_of(&rule.id, number)) else { return };
        told.well.entry(number.to_owned()).or_insert(at);
        let first = told.well.values().min().copied().unwrap_or(at);
        let all_are = numbers.iter().all(|number| told.well.contains_key(number));
        if all_are || at.unix_ms().saturating_sub(first.unix_ms()) > ENDING_MS {
            episode.cease(ADOPTED);
            touched.insert(key);
        }
    }

    /// The channels on which a device has such a number.
    fn numbers_like(&self, device: &DeviceId, number: &str) -> Vec<String> {
        let is_like = |other: &&String| metric_of(other) == metric_of(number);
        let known = self.devices.get(device).into_iter().flat_map(|known| known.newest.keys());
        let said = known.filter(is_like).filter(|other| self.is_fitted(device, other)).cloned();
        // What no pump says is computed of each line.
        let is_time_left = metric_of(number) == Metric::PUMP_TIME_REM.name();
        let known = self.devices.get(device).filter(|_| is_time_left);
        let lines = known.into_iter().flat_map(|known| &known.infusions);
        let computed = lines.filter(|(_, infusion)| infusion.is_computed());
        said.chain(computed.map(|(line, _)| number_of(Metric::PUMP_TIME_REM, line))).collect()
    }

    /// Whether there is such a sensor: a board with one temperature probe says for ever that the
    /// other is off.
    pub(super) fn is_fitted(&self, device: &DeviceId, number: &str) -> bool {
        let is_of_temp = |metric: Metric| metric.row().class == Class::Temp;
        !Metric::from_name(metric_of(number)).is_some_and(is_of_temp)
            || self.valued.contains_key(&self.name(device, number))
    }

    /// What stood outside before an alert was over was over with it, and what its box does not name
    /// while it holds did not hold: that nobody here heard it end makes it no news.
    fn end_series(&mut self, rules: &RuleSet, told: &EdgeAlert, times: EdgeTimes) {
        self.series.retain(|key, series| {
            let rule = key.split('|').next().unwrap_or_default();
            let stood_at = |at| series.outside_since().is_some_and(|since| since <= at);
            let is_over = times.cleared.is_some_and(stood_at);
            let is_unnamed = !told.rules.iter().any(|named| named == rule);
            let is_active = times.cleared.is_none();
            let is_past = is_active && is_unnamed && series.holds() && stood_at(times.at);
            !((is_over || is_past) && rules.is_of_family(rule, &told.family))
        });
    }
}

impl Firing {
    /// Whether its box told of it by that rule and such a number, on whatever channel.
    fn is_told_of(&self, rule: &str, number: &str) -> bool {
        let of = self.metric.map(Metric::name);
        self.of_box && self.rule == rule && of == Some(metric_of(number))
    }
}

impl Episode {
    /// Since when what a box told by that rule and that number holds, where it may be that channel.
    pub(super) fn told_since(&self, rule: &str, number: &str) -> Option<WallTime> {
        let told = self.firing.get(ADOPTED).filter(|told| told.is_told_of(rule, number));
        told.filter(|told| !told.well.contains_key(number)).map(|told| told.since)
    }

    /// Whether its alert is by what is measured once: the next of its kind ends it.
    pub(super) fn is_of_spot(&self) -> bool {
        let metric = self.alert.as_ref().and_then(|alert| alert.metric);
        metric.is_none_or(|metric| metric.row().kind == Kind::Spot)
    }

    /// Whether its box told of it, and all that was heard since says that it may be over: that it is
    /// may be on its way, and the hold is running; no longer than holds run.
    pub(super) fn waits_for_its_end(
        &mut self,
        now: WallTime,
        is_ending: impl Fn(&str) -> bool,
    ) -> bool {
        let is_told = self.alert.as_ref().is_some_and(|alert| {
            alert.people.told_by_box.is_some() && alert.condition() == AlertState::Unknown
        });
        let mut firing = self.firing.iter();
        let waits = is_told
            && !self.firing.is_empty()
            && firing.all(|(key, firing)| firing.value.is_none() && is_ending(key));
        if !waits {
            self.ending_since = None;
            return false;
        }
        let since = *self.ending_since.get_or_insert(now);
        (0..=ENDING_MS).contains(&now.unix_ms().saturating_sub(since.unix_ms()))
    }

    /// Whether all that holds was told late and no value of it is known: what devices signalled, and
    /// what their box says of it.
    pub(super) fn is_by_late_words(&self) -> bool {
        let is_word = |firing: &Firing| (firing.late || firing.of_box) && firing.value.is_none();
        !self.firing.is_empty() && self.firing.values().all(is_word)
    }

    /// What one device says changes; what a box told of another goes on beside it.
    pub(super) fn beside_told(&mut self, of: Option<&DeviceId>, change: impl FnOnce(&mut Self)) {
        let is_anothers = |told: &Firing| told.of_box && of.is_some() && told.device.as_ref() != of;
        let told = self.firing.get(ADOPTED).filter(|told| is_anothers(told)).cloned();
        change(self);
        self.firing.extend(told.map(|told| (ADOPTED.to_owned(), told)));
    }
}

/// Writes down what happened, and who has it in hand since or not any more.
/// An older word comes behind a newer one; `began`: what the county heard begin late.
fn tell_story(
    alert: &mut Alert,
    told: &EdgeAlert,
    times: EdgeTimes,
    began: Option<WallTime>,
    is_older: bool,
) {
    use TimelineEvent::{Acknowledged, PriorityRose, Raised, Realarmed, Recurred};
    let is_nobodys = |what| matches!(what, Recurred | PriorityRose | Realarmed);
    let what = TimelineEvent::from_name(&told.what);
    // What is low and comes back within its time goes on as it was.
    let goes_on = told.priority == Priority::Low && is_in_hand(told);
    let sounds_anew = what.is_some_and(is_nobodys) && !goes_on;
    let is_near = |at: WallTime| at.unix_ms().abs_diff(times.at.unix_ms()) <= SAME_STEP_MS;
    let is_it = |it: &TimelineEntry| Some(it.what) == what && it.detail == told.note;
    // What the county knew later than the box it told when it knew it.
    let is_known_later = began.is_some_and(is_near) || what == Some(PriorityRose);
    if let Some(later) = alert.timeline.iter_mut().rev().find(|it| is_known_later && is_it(it))
        && later.at > times.at
    {
        later.at = times.at;
    }
    let is_it = |it: &TimelineEntry| is_it(it) && is_near(it.at);
    let is_said = |it: &TimelineEntry| it.at == times.at && Some(it.what) == what;
    let known = alert.timeline.iter().find(|it| is_it(it)).map(|it| it.at.min(times.at));
    match (what, &told.by) {
        // Both ends were there when it happened: it was told. Who had it in hand before that, of
        // which the word came later, has it no more.
        (Some(_), None) if known.is_some() => {
            if sounds_anew && alert.acknowledged.as_ref().is_some_and(|by| Some(by.at) < known) {
                alert.acknowledged = alert.seen_at_box_since(times.at);
            }
        }
        // An agent that was killed says again what it had not written down as said.
        (_, Some(by))
            if alert.timeline.iter().any(|it| is_said(it) && it.by.as_ref() == Some(by)) => {}
        (Some(Acknowledged), Some(by)) => {
            let reason = told.reason.as_deref().and_then(AckReason::from_name);
            // Whoever acknowledges at the box stands in the ward.
            let reason = reason.unwrap_or(AckReason::AtBedside);
            let (at, by, note) = (times.at, by.clone(), words(&told.note));
            let is_after = |it: &TimelineEntry| it.at > at && is_nobodys(it.what);
            let is_over = is_older && alert.timeline.iter().any(is_after);
            alert.people.seen_at_box = alert.people.seen_at_box.max(Some(at));
            let entry = TimelineEntry::new(at, Acknowledged);
            let urgent = alert.priority.max(told.priority);
            alert.add(TimelineEntry {
                detail: urgent.name().to_owned(),
                by: Some(by.clone()),
                reason: Some(reason),
                note: note.clone(),
                ..entry
            });
            if !is_over {
                // Somebody at the county may have been first.
                alert.acknowledged.get_or_insert(Acknowledgement { by, at, reason, note });
            }
        }
        // What came first was a later word.
        (Some(Raised), _) if is_older => {
            alert.raised_at = alert.raised_at.min(times.at);
            let raised = alert.timeline.iter_mut().filter(|it| it.what == Raised);
            raised.for_each(|it| it.at = it.at.min(times.at));
        }
        // Its story says that already.
        (Some(Raised), _) | (None, _) => {}
        (Some(what), by) => {
            // Whoever has it in hand since then has seen what it had become.
            let has_seen =
                |by: &Acknowledgement| by.at > times.at && alert.priority >= told.priority;
            if sounds_anew && !alert.acknowledged.as_ref().is_some_and(has_seen) {
                alert.acknowledged = alert.seen_at_box_since(times.at);
            }
            if what == Recurred {
                alert.recurrences += 1;
            }
            alert.tell(times.at, what, by.as_deref(), told.note.clone());
        }
    }
}

/// Whether it is in somebody's hand at its box.
fn is_in_hand(told: &EdgeAlert) -> bool {
    AlertState::from_name(&told.state) == Some(AlertState::ActiveAck)
}

fn take_over(
    rules: &RuleSet,
    alert: &mut Alert,
    told: &EdgeAlert,
    times: EdgeTimes,
    began: Option<WallTime>,
) {
    tell_story(alert, told, times, began, false);
    let state = AlertState::from_name(&told.state);
    alert.people.in_hand_at_box = None;
    if times.cleared.is_some() || is_in_hand(told) {
        alert.was_in_hand_at(times.at, times.cleared.is_some());
    }
    // It was seen there.
    alert.retro = false;
    alert.quiet &= told.priority == Priority::Low;
    alert.rules.clone_from(&told.rules);
    alert.device.clone_from(&told.device);
    alert.metric = told.metric;
    alert.value.clone_from(&told.value);
    alert.comparator.clone_from(&told.comparator);
    alert.unit.clone_from(&told.unit);
    alert.limit.clone_from(&told.limit);
    alert.message_zh.clone_from(&told.message_zh);
    alert.message_en.clone_from(&told.message_en);
    // The box may have heard more of its begin.
    alert.started_at = alert.started_at.min(times.started);
    alert.cleared_at = times.cleared;
    // What somebody at the county had in hand went on as it was, though the box may not have known.
    let ends = times.cleared.unwrap_or(times.at);
    let was_in_hand = alert.acknowledged.as_ref().is_some_and(|by| by.at <= ends)
        && !matches!(state, Some(AlertState::ActiveAck | AlertState::Closed));
    let priority = if was_in_hand { present(rules, alert, told) } else { told.priority };
    // The box knows of no danger sign.
    alert.priority = alert.at_least(priority);
    let state = state.filter(|state| !state.is_set_aside()).unwrap_or(alert.condition());
    // Who saw what began later has not seen what was over before it.
    let was_over = |(over, began)| over < began;
    if times.cleared.zip(alert.people.part_began).is_some_and(was_over) {
        alert.acknowledged = None;
        alert.people.part_began = None;
    }
    alert.go(match (state, &alert.acknowledged) {
        (AlertState::ActiveUnack, Some(_)) => AlertState::ActiveAck,
        (AlertState::ClearedUnack, Some(_)) => AlertState::Closed,
        (state, _) => state,
    });
}

/// How urgent what holds is: an alert that nobody has in hand keeps the highest that it was.
fn present(rules: &RuleSet, alert: &Alert, told: &EdgeAlert) -> Priority {
    let thresholds = told.rules.iter().filter_map(|id| rules.threshold(id));
    let present = thresholds.map(|rule| match rule.promote {
        Some(promote) if alert.rose_by(&rule.id) => promote.to,
        _ => rule.priority,
    });
    present.max().map_or(told.priority, |present| present.min(told.priority))
}

/// The same, where a second value may have confirmed a rule of an alert that was as urgent already:
/// no box tells of that.
fn at_most(rules: &RuleSet, alert: &Alert, told: &EdgeAlert, times: EdgeTimes) -> Priority {
    let since_ms = times.at.unix_ms().saturating_sub(times.started.unix_ms());
    let thresholds = told.rules.iter().filter_map(|id| rules.threshold(id));
    let mut promotes = thresholds.filter_map(|rule| rule.promote);
    match promotes.any(|promote| since_ms >= promote.after_ms) {
        true => told.priority,
        false => present(rules, alert, told),
    }
}

/// Where the rules stand by which a box told of an alert: since it began or came back, and what
/// was not `named` before, since then.
fn standing(
    rules: &RuleSet,
    alert: &Alert,
    told: &EdgeAlert,
    times: EdgeTimes,
    named: &[String],
) -> BTreeMap<String, Series> {
    let of_family = alert.rules.iter().filter(|id| rules.is_of_family(id, &alert.family));
    let begins = ["raised", "recurred"].contains(&&*told.what) || named.is_empty();
    let back = alert.back_since().unwrap_or(alert.started_at);
    let since = |id| if begins || named.contains(id) { back } else { times.at };
    // It came back, and when is still to be said: an agent that was killed says all of it again.
    let turns = [TimelineEvent::Raised, TimelineEvent::Recurred, TimelineEvent::Cleared];
    let turn = alert.timeline.iter().rev().find(|it| turns.contains(&it.what));
    let is_back = turn.is_some_and(|it| it.what == TimelineEvent::Cleared);
    let standing = of_family.map(|id| {
        let series = Series::adopted(since(id), alert.rose_by(id));
        (id.clone(), if is_back { series.unconfirmed() } else { series })
    });
    standing.collect()
}

impl Alert {
    /// When it came back last.
    pub(super) fn back_since(&self) -> Option<WallTime> {
        let mut story = self.timeline.iter().rev();
        story.find(|it| it.what == TimelineEvent::Recurred).map(|it| it.at)
    }

    /// Who at its box had it in hand later than that, and has it since: they saw what it was by then.
    fn seen_at_box_since(&self, then: WallTime) -> Option<Acknowledgement> {
        use TimelineEvent::{Acknowledged, PriorityRose, Realarmed, Recurred, Undone};
        let seen = self.people.seen_at_box.filter(|seen| *seen > then)?;
        let ends =
            |it: &TimelineEntry| [Recurred, PriorityRose, Realarmed, Undone].contains(&it.what);
        if self.timeline.iter().any(|it| it.at > seen && ends(it)) {
            return None;
        }
        let told = self.timeline.iter().find(|it| it.at == seen && it.what == Acknowledged)?;
        told.acknowledgement()
    }

    /// It was over then, or in hand, which the county did not know: what sounded again by time alone
    /// since then is nobody's word, and whoever had it in hand had it.
    pub(super) fn was_in_hand_at(&mut self, then: WallTime, is_over: bool) {
        use TimelineEvent::{Acknowledged, PriorityRose, Raised, Realarmed, Recurred, Undone};
        let is_news = |it: &TimelineEntry| {
            !is_over && it.at > then && [Recurred, PriorityRose, Undone].contains(&it.what)
        };
        if self.timeline.iter().any(is_news) {
            return;
        }
        let is_turn = |it: &&TimelineEntry| {
            let turns = [Acknowledged, PriorityRose, Raised, Realarmed, Recurred, Undone];
            // The box heard that it was over in the moment in which the time was up.
            (it.at < then || (it.at == then && it.what != Realarmed)) && turns.contains(&it.what)
        };
        let turn = self.timeline.iter().filter(is_turn).max_by_key(|it| it.at);
        let is_undone = turn.is_some_and(|it| it.what == Undone);
        let turn = turn.filter(|it| it.what == Acknowledged);
        if self.acknowledged.is_none() {
            self.acknowledged = turn.and_then(TimelineEntry::acknowledgement);
        }
        if !is_over && !is_undone {
            self.people.in_hand_at_box = Some(then);
        }
    }

    /// Whether another that the county raised is a part of it, as far as is told: it began before
    /// this one was over, or so short a time after that.
    pub(super) fn has_part(&self, other: &Self) -> bool {
        // What ended with its device is no begin of what another says.
        let was_ended =
            |last: &TimelineEntry| last.what == TimelineEvent::Closed && !last.detail.is_empty();
        let was_ended = self.timeline.last().is_some_and(was_ended);
        let over = self.cleared_at.filter(|_| !self.condition().is_active() && !was_ended);
        let is_in = |over: WallTime| {
            let after_ms = other.started_at.unix_ms().saturating_sub(over.unix_ms());
            other.started_at >= self.started_at && after_ms <= SAME_EPISODE_MS
        };
        self.id != other.id && other.people.told_by_box.is_none() && over.is_some_and(is_in)
    }

    /// That one is a part of it: where it began later than this one was over, this one came back.
    pub(super) fn goes_on_as(&mut self, other: &Self) {
        if self.cleared_at.is_none_or(|over| other.started_at <= over) {
            return self.goes_on_from(other);
        }
        let rule = other.rules.first().cloned().unwrap_or_default();
        self.tell(other.raised_at, TimelineEvent::Recurred, None, rule);
        let was_seen = self.condition() == AlertState::Closed;
        let priority = if was_seen { other.priority } else { other.priority.max(self.priority) };
        *self = Self {
            id: self.id,
            started_at: self.started_at,
            raised_at: self.raised_at,
            priority,
            latched: self.latched,
            recurrences: self.recurrences + 1 + other.recurrences,
            timeline: std::mem::take(&mut self.timeline),
            people: People { told_by_box: self.people.told_by_box.take(), ..other.people.clone() },
            ..other.clone()
        };
        self.acknowledged = None;
        self.goes_on_from(other);
    }

    /// What somebody has in hand of another alert that is a part of this one they have of this.
    pub(super) fn goes_on_from(&mut self, other: &Self) {
        self.latched |= other.latched;
        let Some(by) = other.acknowledged.clone().filter(|_| self.acknowledged.is_none()) else {
            return;
        };
        self.add(TimelineEntry {
            by: Some(by.by.clone()),
            reason: Some(by.reason),
            note: by.note.clone(),
            ..TimelineEntry::new(by.at, TimelineEvent::Acknowledged)
        });
        self.acknowledged = Some(by);
        self.people.part_began = Some(other.started_at);
    }

    /// Whether that rule made it more urgent since it came back last: by a second value, where it
    /// made it an alert.
    fn rose_by(&self, rule: &str) -> bool {
        let rose =
            |it: &&TimelineEntry| it.what == TimelineEvent::PriorityRose && it.detail == rule;
        let since_then = self.timeline.iter().rev();
        since_then.take_while(|it| it.what != TimelineEvent::Recurred).any(|it| rose(&it))
    }
}

impl TimelineEntry {
    /// Who had it in hand by this.
    fn acknowledgement(&self) -> Option<Acknowledgement> {
        let (by, reason, note) = (self.by.clone()?, self.reason?, self.note.clone());
        Some(Acknowledgement { by, at: self.at, reason, note })
    }
}
