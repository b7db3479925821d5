//! What an alert became at the box while the county was out of reach is taken over, not judged anew.
//!
//! # Invariants
//! - who has it in hand, at either end, has it in hand
//! - what is taken over is unknown until its device is heard again, and so makes no sound

use super::{
    Engine,
    life::{Firing, Whose, raised},
};
use crate::alert::{AckReason, Alert, AlertId, AlertState, TimelineEntry, TimelineEvent, words};
use crate::rule::RuleSet;
use model::{alert::EdgeAlert, time::WallTime};

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
    /// that of the county's alert of the family at that time: then they are one.
    pub fn adopt_edge(&mut self, rules: &RuleSet, told: &EdgeAlert, times: EdgeTimes) -> Alert {
        let id = AlertId::from_bytes(told.id);
        let key = match rules.is_technical(&told.family) {
            true => self.technical_key(&told.family, &told.device),
            false => told.family.clone(),
        };
        let (whose, family) = self.whose(&key);
        let whose = Whose { device: told.device.clone(), ..whose };
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
            Alert { id, ..raised(&whose, family, times.at, times.started, &worst) }
        });
        take_over(&mut alert, told, times);
        episode.adopt_told(alert.clone());
        episode.alert_of(alert.id).unwrap_or(alert)
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
            // Somebody at the county may have been first.
            let entry = TimelineEntry {
                by: Some(by.clone()),
                note: words(&told.note),
                ..TimelineEntry::new(times.at, TimelineEvent::Acknowledged)
            };
            drop(alert.acknowledge(by, reason, entry));
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
    alert.go(match (state.unwrap_or(alert.condition()), &alert.acknowledged) {
        (AlertState::ActiveUnack, Some(_)) => AlertState::ActiveAck,
        (AlertState::ClearedUnack, Some(_)) => AlertState::Closed,
        (state, _) => state,
    });
}
