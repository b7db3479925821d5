//! The life of one family's alert (alert rules, "Life of an alert").

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

    pub(super) fn alert(&self) -> Option<&Alert> {
        self.alert.as_ref()
    }

    /// The begin of what fires already.
    pub(super) fn pending_since(&self) -> Option<WallTime> {
        self.firing.values().map(|firing| firing.since).min()
    }

    /// The priority of what holds now.
    pub(super) fn present(&self) -> Option<Priority> {
        self.firing.values().map(|firing| firing.priority).max()
    }

    /// Turns what fires now into the alert; the alert if it changed.
    pub(super) fn settle(
        &mut self,
        site: SiteId,
        device: DeviceId,
        family: &str,
        now: WallTime,
        t_meas: WallTime,
        silent: bool,
    ) -> Option<Alert> {
        let before = self.alert.clone();
        match self.worst().cloned() {
            Some(worst) => self.hold(site, device, family, now, &worst),
            None => self.clear(now, t_meas, silent),
        }
        self.alert.clone().filter(|alert| before.as_ref() != Some(alert))
    }

    fn worst(&self) -> Option<&Firing> {
        // Of equals the one that began first: it explains the alert.
        self.firing.values().max_by_key(|firing| (firing.priority, std::cmp::Reverse(firing.since)))
    }

    fn hold(
        &mut self,
        site: SiteId,
        device: DeviceId,
        family: &str,
        now: WallTime,
        worst: &Firing,
    ) {
        let begin = self.pending_since().unwrap_or(worst.since);
        let same_episode = self.alert.take_if(|alert| {
            alert.state.is_active()
                || alert.cleared_at.is_some_and(|cleared| {
                    worst.since.unix_ms().saturating_sub(cleared.unix_ms()) <= SAME_EPISODE_MS
                })
        });
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

    pub(super) fn acknowledge(
        &mut self,
        by: &str,
        reason: AckReason,
        note: &str,
        now: WallTime,
    ) -> Result<Alert, AcknowledgeError> {
        let present = self.present();
        let alert = self.alert.as_mut().ok_or(AcknowledgeError::NotFound)?;
        alert.acknowledge(by, reason, note, now, present)?;
        self.before_unknown = None;
        Ok(alert.clone())
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

    pub(super) fn closes_at(&self) -> Option<WallTime> {
        let alert = self.alert.as_ref()?;
        let waits = alert.state == AlertState::ClearedUnack && alert.priority == Priority::Medium;
        let cleared = alert.cleared_at.filter(|_| waits)?;
        Some(WallTime::from_unix_ms(cleared.unix_ms().saturating_add(MEDIUM_CLOSES_MS)))
    }

    pub(super) fn close_by_itself(&mut self, now: WallTime) -> Option<Alert> {
        self.closes_at().filter(|at| *at <= now)?;
        let alert = self.alert.as_mut()?;
        alert.state = AlertState::Closed;
        alert.tell(now, TimelineEvent::Closed, None, String::new());
        Some(alert.clone())
    }
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
