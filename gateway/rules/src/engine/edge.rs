//! What an alert became at the box while the county was out of reach is taken over, not judged anew.
//!
//! # Invariants
//! - who has it in hand, at either end, has it in hand
//! - what is taken over is unknown until its device is heard again, and so makes no sound

use super::{
    Engine,
    life::{Firing, raised},
};
use crate::{
    alert::{
        AckReason, Acknowledgement, Alert, AlertId, AlertState, TimelineEntry, TimelineEvent, words,
    },
    rule::RuleSet,
};
use model::{alert::EdgeAlert, time::WallTime};
use std::collections::BTreeSet;

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
        take_over(&mut alert, told, times);
        if let Some(over) = times.cleared {
            self.end_series(rules, &told.family, over);
        }
        let said = self.alarm_names(&key);
        let Some(episode) = self.episodes.get_mut(&key) else { return (alert, None) };
        // An alarm that a device was heard to signal ends when it says so.
        let said = if alert.condition().is_active() { said } else { BTreeSet::new() };
        let ended = episode.adopt_told(alert.clone(), now, &said);
        // Silence itself, and what speaks only when it measures, have said all there is.
        let is_silence = self.silence_rule(rules).is_some_and(|rule| rule.family == told.family);
        let kind = self.devices.get(&told.device).and_then(|device| device.kind);
        let has_said_all = is_silence || (self.box_lost.is_none() && !rules.repeats(kind));
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

fn take_over(alert: &mut Alert, told: &EdgeAlert, times: EdgeTimes) {
    alert.rules.clone_from(&told.rules);
    alert.priority = told.priority;
    alert.metric = told.metric;
    alert.value.clone_from(&told.value);
    alert.comparator.clone_from(&told.comparator);
    alert.unit.clone_from(&told.unit);
    alert.limit.clone_from(&told.limit);
    alert.message_zh.clone_from(&told.message_zh);
    alert.message_en.clone_from(&told.message_en);
    alert.cleared_at = times.cleared;
    let what = TimelineEvent::ALL.iter().find(|what| what.name() == told.what);
    match (what, &told.by) {
        (Some(TimelineEvent::Acknowledged), Some(by)) => {
            let reason = told.reason.as_deref().and_then(AckReason::from_name);
            // Whoever acknowledges at the box stands in the ward.
            let reason = reason.unwrap_or(AckReason::AtBedside);
            let (at, by, note) = (times.at, by.clone(), words(&told.note));
            let entry = TimelineEntry::new(at, TimelineEvent::Acknowledged);
            alert.add(TimelineEntry {
                by: Some(by.clone()),
                reason: Some(reason),
                note: note.clone(),
                ..entry
            });
            // Somebody at the county may have been first.
            alert.acknowledged.get_or_insert(Acknowledgement { by, at, reason, note });
        }
        // Its story says that already.
        (Some(TimelineEvent::Raised), _) | (None, _) => {}
        (Some(what), by) => {
            if matches!(what, TimelineEvent::Recurred | TimelineEvent::PriorityRose) {
                alert.acknowledged = None;
            }
            if *what == TimelineEvent::Recurred {
                alert.recurrences += 1;
            }
            alert.tell(times.at, *what, by.as_deref(), told.note.clone());
        }
    }
    let state = AlertState::ALL.iter().copied().find(|state| state.name() == told.state);
    let state = state.filter(|state| !state.is_set_aside()).unwrap_or(alert.condition());
    alert.go(match (state, &alert.acknowledged) {
        (AlertState::ActiveUnack, Some(_)) => AlertState::ActiveAck,
        (AlertState::ClearedUnack, Some(_)) => AlertState::Closed,
        (state, _) => state,
    });
}
