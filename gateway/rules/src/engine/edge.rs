//! What an alert became at the box while the county was out of reach is taken over, not judged anew.
//!
//! # Invariants
//! - who has it in hand, at either end, has it in hand
//! - what is taken over is unknown until its device is heard again, and so makes no sound
//! - of one alert the newest word counts, in whatever order words come; the others are its story

use super::{
    Engine,
    life::{Firing, raised},
    series::Series,
};
use crate::{
    alert::{
        AckReason, Acknowledgement, Alert, AlertId, AlertState, TimelineEntry, TimelineEvent, words,
    },
    freshness::{Position, is_before},
    rule::RuleSet,
};
use model::{alarm::Priority, alert::EdgeAlert, time::WallTime};
use std::collections::{BTreeMap, BTreeSet};

/// What both ends saw happen they saw so near to each other: an envelope was open, or time had not
/// passed for one of them.
const SAME_STEP_MS: u64 = 10_000;

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
        let id = AlertId::from_bytes(told.id);
        let key = match rules.is_technical(&told.family) {
            true => self.technical_key(&told.family, &told.device),
            false => told.family.clone(),
        };
        let (whose, family) = self.whose(&key);
        let episode = self.episodes.entry(key.clone()).or_default();
        let overlaps = |alert: &&Alert| {
            alert.started_at <= times.cleared.unwrap_or(times.at)
                && alert.cleared_at.is_none_or(|cleared| cleared >= times.started)
        };
        let same = episode.alerts().find(|alert| alert.id == id);
        let same = same.or_else(|| episode.alerts().filter(overlaps).last()).cloned();
        let mut alert = same.unwrap_or_else(|| {
            let rule = told.rules.first().map_or("", String::as_str);
            let says = [&*told.message_zh, &told.message_en];
            let worst = Firing::new(rule, told.priority, times.started, says);
            let device = told.device.clone();
            Alert { id, device, ..raised(&whose, family, times.at, times.started, &worst) }
        });
        let place = position.place();
        if alert.people.told_by_box.as_ref().is_some_and(|newest| is_before(&place, newest)) {
            tell_story(&mut alert, told, times, true);
            episode.keep_story(&alert);
            return (alert, None);
        }
        alert.people.told_by_box = Some(place);
        take_over(rules, &mut alert, told, times);
        if let Some(over) = times.cleared {
            self.end_series(rules, &told.family, over);
        }
        let said = self.alarm_names(&key);
        // What the box had heard until then is in what it tells, whenever that was measured.
        self.told_until
            .entry(key.clone())
            .and_modify(|at| *at = times.at.max(*at))
            .or_insert(times.at);
        let Some(episode) = self.episodes.get_mut(&key) else { return (alert, None) };
        // An alarm that a device was heard to signal ends when it says so.
        let said = if alert.condition().is_active() { said } else { BTreeSet::new() };
        let standing = (&told.device, standing(rules, &alert));
        let ended = episode.adopt_told(alert.clone(), now, &said, standing);
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

    /// What stood outside before that moment was over then: that nobody here heard it end makes it
    /// no news.
    fn end_series(&mut self, rules: &RuleSet, family: &str, over: WallTime) {
        self.series.retain(|key, series| {
            let rule = key.split('|').next().unwrap_or_default();
            let is_over = series.outside_since().is_some_and(|since| since <= over);
            !(is_over && rules.is_of_family(rule, family))
        });
    }
}

/// Writes down what happened, and who has it in hand since or not any more.
/// An older word comes behind a newer one.
fn tell_story(alert: &mut Alert, told: &EdgeAlert, times: EdgeTimes, is_older: bool) {
    use TimelineEvent::{Acknowledged, PriorityRose, Raised, Realarmed, Recurred};
    let is_nobodys = |what| matches!(what, Recurred | PriorityRose | Realarmed);
    let what = TimelineEvent::ALL.iter().copied().find(|what| what.name() == told.what);
    let is_it = |it: &TimelineEntry| {
        let apart_ms = it.at.unix_ms().abs_diff(times.at.unix_ms());
        Some(it.what) == what && it.detail == told.note && apart_ms <= SAME_STEP_MS
    };
    match (what, &told.by) {
        // Both ends were there when it happened: it was told.
        (_, None) if alert.timeline.iter().any(is_it) => {}
        (Some(Acknowledged), Some(by)) => {
            let reason = told.reason.as_deref().and_then(AckReason::from_name);
            // Whoever acknowledges at the box stands in the ward.
            let reason = reason.unwrap_or(AckReason::AtBedside);
            let (at, by, note) = (times.at, by.clone(), words(&told.note));
            let is_after = |it: &TimelineEntry| it.at > at && is_nobodys(it.what);
            let is_over = is_older && alert.timeline.iter().any(is_after);
            let entry = TimelineEntry::new(at, Acknowledged);
            alert.add(TimelineEntry {
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
        // Its story says that already.
        (Some(Raised), _) | (None, _) => {}
        (Some(what), by) => {
            // Whoever has it in hand since then has seen what it had become.
            let has_seen =
                |by: &Acknowledgement| by.at > times.at && alert.priority >= told.priority;
            if is_nobodys(what) && !alert.acknowledged.as_ref().is_some_and(has_seen) {
                alert.acknowledged = None;
            }
            if what == Recurred {
                alert.recurrences += 1;
            }
            alert.tell(times.at, what, by.as_deref(), told.note.clone());
        }
    }
}

fn take_over(rules: &RuleSet, alert: &mut Alert, told: &EdgeAlert, times: EdgeTimes) {
    tell_story(alert, told, times, false);
    // It was seen there.
    alert.retro = false;
    alert.rules.clone_from(&told.rules);
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
    let was_in_hand = alert.acknowledged.as_ref().is_some_and(|by| by.at <= ends);
    let priority = if was_in_hand { present(rules, alert, told) } else { told.priority };
    // The box knows of no danger sign.
    alert.priority = alert.at_least(priority);
    let state = AlertState::ALL.iter().copied().find(|state| state.name() == told.state);
    let state = state.filter(|state| !state.is_set_aside()).unwrap_or(alert.condition());
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

/// Where the rules stand by which a box told of an alert.
fn standing(rules: &RuleSet, alert: &Alert) -> BTreeMap<String, Series> {
    let of_family = alert.rules.iter().filter(|id| rules.is_of_family(id, &alert.family));
    let standing =
        of_family.map(|id| (id.clone(), Series::adopted(alert.started_at, alert.rose_by(id))));
    standing.collect()
}

impl Alert {
    /// Whether that rule made it more urgent: by a second value, where it made it an alert.
    fn rose_by(&self, rule: &str) -> bool {
        let rose = |it: &TimelineEntry| it.what == TimelineEvent::PriorityRose && it.detail == rule;
        self.timeline.iter().any(rose)
    }
}
