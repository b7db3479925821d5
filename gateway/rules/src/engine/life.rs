//! The life of one family's alert (alert rules, "Life of an alert").
//!
//! # Invariants
//! - an alert that nobody has seen is kept until somebody does, or its time closes it, whatever
//!   follows it

use crate::alert::{AckReason, AcknowledgeError, Alert, AlertId, AlertState, TimelineEvent};
use model::{
    alarm::Priority,
    id::{DeviceId, SiteId},
    metric::Metric,
    time::WallTime,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What comes back within this time of clearing is the same alert.
const SAME_EPISODE_MS: i64 = 5 * 60_000;
/// A medium alert that cleared unseen closes by itself after this.
const MEDIUM_CLOSES_MS: i64 = 30 * 60_000;
/// Earlier alerts of one family that wait for a person: one each 10 min of a night of five hours.
const UNSEEN_MAX: usize = 32;

/// One rule that holds.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct Firing {
    pub(super) rule: String,
    pub(super) priority: Priority,
    pub(super) since: WallTime,
    pub(super) metric: Option<Metric>,
    pub(super) value: Option<String>,
    pub(super) comparator: Option<String>,
    pub(super) limit: Option<String>,
    pub(super) message_zh: String,
    pub(super) message_en: String,
}

/// What fires in one family, and its alert.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(super) struct Episode {
    firing: BTreeMap<String, Firing>,
    alert: Option<Alert>,
    /// Earlier alerts that cleared and nobody has seen, the oldest first.
    #[serde(default)]
    unseen: Vec<Alert>,
    /// State to return to when the device speaks again.
    before_unknown: Option<AlertState>,
}

impl Episode {
    pub(super) fn fire(&mut self, key: String, firing: Firing) {
        match self.firing.get_mut(&key) {
            Some(known) => {
                let since = known.since;
                let value = firing.value.clone().or(known.value.take());
                *known = Firing { since, value, ..firing };
            }
            None => drop(self.firing.insert(key, firing)),
        }
    }

    pub(super) fn cease(&mut self, key: &str) {
        self.firing.remove(key);
    }

    pub(super) fn is_firing(&self, key: &str) -> bool {
        self.firing.contains_key(key)
    }

    /// The alerts that somebody may act on, the oldest first.
    pub(super) fn alerts(&self) -> impl Iterator<Item = &Alert> {
        self.unseen.iter().chain(&self.alert)
    }

    /// The begin of what fires already.
    pub(super) fn pending_since(&self) -> Option<WallTime> {
        self.firing.values().map(|firing| firing.since).min()
    }

    /// The priority of what holds now.
    pub(super) fn present(&self) -> Option<Priority> {
        self.firing.values().map(|firing| firing.priority).max()
    }

    /// Turns what fires now into the alert; the alerts that changed.
    pub(super) fn settle(
        &mut self,
        site: SiteId,
        device: DeviceId,
        family: &str,
        now: WallTime,
        t_meas: WallTime,
        silent: bool,
    ) -> Vec<Alert> {
        let before = self.alert.clone();
        let mut changed = Vec::new();
        match self.worst().cloned() {
            Some(worst) => changed.extend(self.hold(site, device, family, now, &worst)),
            None => self.clear(now, t_meas, silent),
        }
        changed.extend(self.alert.clone().filter(|alert| before.as_ref() != Some(alert)));
        changed
    }

    fn worst(&self) -> Option<&Firing> {
        // Of equals the one that began first: it explains the alert.
        self.firing.values().max_by_key(|firing| (firing.priority, std::cmp::Reverse(firing.since)))
    }

    /// The alert goes on, comes back, or a new one begins; an earlier one that had to be closed.
    fn hold(
        &mut self,
        site: SiteId,
        device: DeviceId,
        family: &str,
        now: WallTime,
        worst: &Firing,
    ) -> Option<Alert> {
        let begin = self.pending_since().unwrap_or(worst.since);
        let same_episode = self.alert.take_if(|alert| {
            alert.state.is_active()
                || alert.cleared_at.is_some_and(|cleared| {
                    worst.since.unix_ms().saturating_sub(cleared.unix_ms()) <= SAME_EPISODE_MS
                })
        });
        let closed = match &same_episode {
            Some(_) => None,
            None => self.put_aside(now),
        };
        let mut alert = same_episode.unwrap_or_else(|| {
            raised(
                AlertId::new(&site, device.as_str(), family, begin),
                site,
                device,
                family,
                now,
                begin,
                worst,
            )
        });
        if !alert.state.is_active() {
            alert.state = AlertState::ActiveUnack;
            alert.cleared_at = None;
            alert.acknowledged = None;
            alert.recurrences += 1;
            alert.priority = worst.priority;
            alert.tell(now, TimelineEvent::Recurred, None, worst.rule.clone());
        }
        if worst.priority > alert.priority {
            alert.tell(now, TimelineEvent::PriorityRose, None, worst.rule.clone());
            alert.priority = worst.priority;
            if alert.state == AlertState::ActiveAck {
                alert.state = AlertState::ActiveUnack;
            }
        } else if worst.priority < alert.priority && alert.state == AlertState::ActiveAck {
            alert.tell(now, TimelineEvent::PriorityFell, None, worst.rule.clone());
            alert.priority = worst.priority;
        }
        let mut rules: Vec<(&Firing, &str)> =
            self.firing.values().map(|firing| (firing, firing.rule.as_str())).collect();
        rules.sort_by_key(|(firing, id)| (std::cmp::Reverse(firing.priority), *id));
        rules.dedup_by_key(|(_, id)| *id);
        alert.rules = rules.into_iter().map(|(_, id)| id.to_owned()).collect();
        alert.metric = worst.metric;
        alert.value.clone_from(&worst.value);
        alert.comparator.clone_from(&worst.comparator);
        alert.unit = worst
            .metric
            .filter(|_| worst.value.is_some())
            .and_then(|metric| metric.row().canonical_unit.as_ref())
            .map(ToString::to_string);
        alert.limit.clone_from(&worst.limit);
        alert.message_zh.clone_from(&worst.message_zh);
        alert.message_en.clone_from(&worst.message_en);
        self.alert = Some(alert);
        closed
    }

    /// Keeps an alert that nobody has seen when another takes its place; the oldest of too many is
    /// closed.
    fn put_aside(&mut self, now: WallTime) -> Option<Alert> {
        let waits = |alert: &mut Alert| alert.state == AlertState::ClearedUnack;
        self.unseen.extend(self.alert.take_if(waits));
        if self.unseen.len() <= UNSEEN_MAX {
            return None;
        }
        let mut oldest = self.unseen.remove(0);
        let why = format!("nobody came, and {UNSEEN_MAX} more of this kind followed");
        oldest.state = AlertState::Closed;
        oldest.tell(now, TimelineEvent::Closed, None, why);
        Some(oldest)
    }

    fn clear(&mut self, now: WallTime, t_meas: WallTime, silent: bool) {
        let Some(alert) = self.alert.as_mut().filter(|alert| alert.state.is_active()) else {
            return;
        };
        if silent && alert.state == AlertState::Unknown {
            return; // A device that is silent cannot say that it is over.
        }
        let acknowledged = alert.state == AlertState::ActiveAck;
        alert.cleared_at = Some(t_meas);
        alert.tell(now, TimelineEvent::Cleared, None, String::new());
        alert.state = match (acknowledged, alert.priority) {
            (true, _) | (false, Priority::Low) => AlertState::Closed,
            (false, Priority::Medium | Priority::High) => AlertState::ClearedUnack,
        };
        if alert.state == AlertState::Closed {
            alert.tell(now, TimelineEvent::Closed, None, String::new());
        }
    }

    /// Acknowledges the alert of that id; `None` where it is not of this family.
    pub(super) fn acknowledge(
        &mut self,
        id: AlertId,
        by: &str,
        reason: AckReason,
        note: &str,
        now: WallTime,
    ) -> Option<Result<Alert, AcknowledgeError>> {
        if let Some(place) = self.unseen.iter().position(|alert| alert.id == id) {
            let mut alert = self.unseen.remove(place);
            return Some(alert.acknowledge(by, reason, note, now, None).map(|()| alert));
        }
        let present = self.present();
        let alert = self.alert.as_mut().filter(|alert| alert.id == id)?;
        let done = alert.acknowledge(by, reason, note, now, present).map(|()| alert.clone());
        if done.is_ok() {
            self.before_unknown = None;
        }
        Some(done)
    }

    /// The device fell silent; the alert if that changed it.
    pub(super) fn become_unknown(&mut self, now: WallTime) -> Option<Alert> {
        let active = |alert: &&mut Alert| {
            matches!(alert.state, AlertState::ActiveUnack | AlertState::ActiveAck)
        };
        let alert = self.alert.as_mut().filter(active)?;
        self.before_unknown = Some(alert.state);
        alert.state = AlertState::Unknown;
        alert.tell(now, TimelineEvent::BecameUnknown, None, String::new());
        Some(alert.clone())
    }

    /// The device speaks again; the alert if that changed it.
    pub(super) fn become_known(&mut self, now: WallTime) -> Option<Alert> {
        let before = self.before_unknown.take()?;
        let alert = self.alert.as_mut().filter(|alert| alert.state == AlertState::Unknown)?;
        alert.state = before;
        alert.tell(now, TimelineEvent::Known, None, String::new());
        Some(alert.clone())
    }

    /// When the next of its alerts closes by itself.
    pub(super) fn closes_at(&self) -> Option<WallTime> {
        self.alerts().filter_map(closes_at).min()
    }

    /// Closes the alerts whose time is over; those that changed.
    pub(super) fn close_by_themselves(&mut self, now: WallTime) -> Vec<Alert> {
        let mut closed = Vec::new();
        for alert in self.unseen.iter_mut().chain(&mut self.alert) {
            if closes_at(alert).is_some_and(|at| at <= now) {
                alert.state = AlertState::Closed;
                alert.tell(now, TimelineEvent::Closed, None, String::new());
                closed.push(alert.clone());
            }
        }
        self.unseen.retain(|alert| alert.state != AlertState::Closed);
        closed
    }
}

/// When an alert closes by itself: medium ones half an hour after they cleared unseen.
fn closes_at(alert: &Alert) -> Option<WallTime> {
    let waits = alert.state == AlertState::ClearedUnack && alert.priority == Priority::Medium;
    let cleared = alert.cleared_at.filter(|_| waits)?;
    Some(WallTime::from_unix_ms(cleared.unix_ms().saturating_add(MEDIUM_CLOSES_MS)))
}

fn raised(
    id: AlertId,
    site: SiteId,
    device: DeviceId,
    family: &str,
    now: WallTime,
    begin: WallTime,
    worst: &Firing,
) -> Alert {
    let mut alert = Alert {
        id,
        site,
        device,
        family: family.to_owned(),
        rules: Vec::new(),
        priority: worst.priority,
        state: AlertState::ActiveUnack,
        metric: None,
        value: None,
        comparator: None,
        unit: None,
        limit: None,
        message_zh: String::new(),
        message_en: String::new(),
        started_at: begin,
        raised_at: now,
        cleared_at: None,
        acknowledged: None,
        retro: false,
        recurrences: 0,
        timeline: Vec::new(),
    };
    alert.tell(now, TimelineEvent::Raised, None, worst.rule.clone());
    alert
}
