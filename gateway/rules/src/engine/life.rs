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
pub(super) const SAME_EPISODE_MS: i64 = 5 * 60_000;
/// A medium alert that cleared unseen closes by itself after this.
const MEDIUM_CLOSES_MS: i64 = 30 * 60_000;
/// Earlier alerts of one family that wait for a person: one each 10 min of a night of five hours.
pub(super) const UNSEEN_MAX: usize = 32;

/// A device alarm of which the begin came late (late data).
const LATE_ALARM_ROW: u8 = 11;

/// What an alert says where a clock was wrong (late data, row 10).
const IN_DOUBT_ZH: &str = ",时间存疑";
const IN_DOUBT_EN: &str = ", time in doubt";

/// What an alert whose rules are not known any more holds on to.
const ADOPTED: &str = "";

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
    /// It was told late, and its device has not been heard since.
    #[serde(default)]
    pub(super) late: bool,
    /// A clock was wrong: when it began is doubtful.
    #[serde(default)]
    pub(super) time_suspect: bool,
    pub(super) message_zh: String,
    pub(super) message_en: String,
}

impl Firing {
    /// A rule holds since then, and says so in Chinese and English.
    pub(super) fn new(rule: &str, priority: Priority, since: WallTime, says: [&str; 2]) -> Self {
        let [message_zh, message_en] = says.map(str::to_owned);
        Self {
            rule: rule.to_owned(),
            priority,
            since,
            metric: None,
            value: None,
            comparator: None,
            limit: None,
            late: false,
            time_suspect: false,
            message_zh,
            message_en,
        }
    }
}

/// What fires in one family, and its alert.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(super) struct Episode {
    pub(super) firing: BTreeMap<String, Firing>,
    pub(super) alert: Option<Alert>,
    /// Earlier alerts that cleared and nobody has seen, the oldest first.
    #[serde(default)]
    pub(super) unseen: Vec<Alert>,
    /// State to return to when the device speaks again.
    pub(super) before_unknown: Option<AlertState>,
    /// The alert began late and its device has not been heard since: if it ends so, it is history.
    #[serde(default)]
    began_late: bool,
}

impl Episode {
    /// Takes over an alert of a state that could not be read.
    pub(super) fn adopt(&mut self, mut alert: Alert) {
        if alert.state == AlertState::Closed {
            return;
        }
        if alert.state.is_active() {
            let acknowledged = alert.acknowledged.is_some();
            self.before_unknown = Some(match acknowledged {
                true => AlertState::ActiveAck,
                false => AlertState::ActiveUnack,
            });
            alert.state = AlertState::Unknown;
            let rule = alert.rules.first().map_or("", String::as_str);
            let says = [
                alert.message_zh.trim_end_matches(IN_DOUBT_ZH),
                alert.message_en.trim_end_matches(IN_DOUBT_EN),
            ];
            let firing = Firing {
                metric: alert.metric,
                value: alert.value.clone(),
                comparator: alert.comparator.clone(),
                limit: alert.limit.clone(),
                time_suspect: alert.time_suspect,
                ..Firing::new(rule, alert.priority, alert.started_at, says)
            };
            self.firing.insert(ADOPTED.to_owned(), firing);
        }
        self.unseen.extend(self.alert.replace(alert));
    }

    pub(super) fn fire(&mut self, key: String, firing: Firing) {
        // A rule that is judged anew speaks for it.
        self.firing.remove(ADOPTED);
        match self.firing.get_mut(&key) {
            Some(known) => {
                let since = known.since;
                let value = firing.value.clone().or(known.value.take());
                let late = firing.late && known.late;
                *known = Firing { since, value, late, ..firing };
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
            None if silent => self.clear_heard(now, t_meas),
            None => self.clear(now, t_meas, ""),
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
        let late = self.firing.values().all(|firing| firing.late);
        let mut alert = same_episode.unwrap_or_else(|| {
            self.began_late = late;
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
            // One that waits for a person does not become history by what followed it.
            self.began_late = late && alert.state == AlertState::Closed;
            alert.retro = false;
            alert.state = AlertState::ActiveUnack;
            alert.cleared_at = None;
            alert.acknowledged = None;
            alert.recurrences += 1;
            alert.priority = worst.priority;
            alert.tell(now, TimelineEvent::Recurred, None, worst.rule.clone());
        }
        if late && alert.state == AlertState::ActiveUnack {
            self.before_unknown = Some(alert.state);
            alert.state = AlertState::Unknown;
            alert.late_row = Some(LATE_ALARM_ROW);
        }
        if worst.priority > alert.priority {
            alert.tell(now, TimelineEvent::PriorityRose, None, worst.rule.clone());
            alert.priority = worst.priority;
            // It is another danger than the one somebody has in hand; the story keeps who had it.
            alert.acknowledged = None;
            for state in self.before_unknown.iter_mut().chain([&mut alert.state]) {
                if *state == AlertState::ActiveAck {
                    *state = AlertState::ActiveUnack;
                }
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
        alert.time_suspect = worst.time_suspect;
        if alert.time_suspect {
            alert.message_zh.push_str(IN_DOUBT_ZH);
            alert.message_en.push_str(IN_DOUBT_EN);
        }
        self.alert = Some(alert);
        closed
    }

    /// Keeps an alert that nobody has seen when another takes its place; the oldest of too many is
    /// closed.
    pub(super) fn put_aside(&mut self, now: WallTime) -> Option<Alert> {
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

    /// A device that is silent cannot say that what is unknown is over.
    fn clear_heard(&mut self, now: WallTime, t_meas: WallTime) {
        if self.alert.as_ref().is_some_and(|alert| alert.state != AlertState::Unknown) {
            self.clear(now, t_meas, "");
        }
    }

    fn clear(&mut self, now: WallTime, t_meas: WallTime, why: &str) {
        let Some(alert) = self.alert.as_mut().filter(|alert| alert.state.is_active()) else {
            return;
        };
        let state = match alert.state {
            AlertState::Unknown => self.before_unknown.take().unwrap_or(AlertState::ActiveUnack),
            state => state,
        };
        // Begin and end were both told late: it was over before anybody could see it.
        alert.retro = std::mem::take(&mut self.began_late);
        alert.cleared_at = Some(t_meas);
        alert.tell(now, TimelineEvent::Cleared, None, why.to_owned());
        let over = alert.retro || alert.priority == Priority::Low || state == AlertState::ActiveAck;
        alert.state = if over { AlertState::Closed } else { AlertState::ClearedUnack };
        if alert.state == AlertState::Closed {
            alert.tell(now, TimelineEvent::Closed, None, why.to_owned());
        }
    }

    /// Nothing fires any more because the device was taken away; the alert if that changed it.
    pub(super) fn withdraw(&mut self, now: WallTime, at: WallTime, why: &str) -> Option<Alert> {
        let active = self.alert.as_ref().is_some_and(|alert| alert.state.is_active());
        self.firing.clear();
        self.clear(now, at, why);
        self.alert.clone().filter(|_| active)
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
        self.alert.as_ref().filter(|alert| alert.id == id)?;
        Some(self.acknowledge_present(by, reason, note, now))
    }

    fn acknowledge_present(
        &mut self,
        by: &str,
        reason: AckReason,
        note: &str,
        now: WallTime,
    ) -> Result<Alert, AcknowledgeError> {
        let present = self.present();
        let alert = self.alert.as_mut().ok_or(AcknowledgeError::NotFound)?;
        alert.acknowledge(by, reason, note, now, present)?;
        if self.firing.remove(ADOPTED).is_some() && self.firing.is_empty() {
            // Nothing will ever say that it is over: the person has.
            self.before_unknown = Some(AlertState::ActiveAck);
            self.clear(now, now, "");
            return self.alert.clone().ok_or(AcknowledgeError::NotFound);
        }
        // Whoever has an unknown alert in hand has it when it is known again.
        let alert = self.alert.clone().ok_or(AcknowledgeError::NotFound)?;
        let unknown = alert.state == AlertState::Unknown;
        self.before_unknown = unknown.then_some(AlertState::ActiveAck);
        Ok(alert)
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
        self.began_late = false;
        self.firing.values_mut().for_each(|firing| firing.late = false);
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
    // What came late waits for a person: nobody could see it while it held.
    let waits = alert.state == AlertState::ClearedUnack
        && alert.priority == Priority::Medium
        && !alert.retro;
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
        late_row: None,
        time_suspect: false,
        recurrences: 0,
        timeline: Vec::new(),
    };
    alert.tell(now, TimelineEvent::Raised, None, worst.rule.clone());
    alert
}
