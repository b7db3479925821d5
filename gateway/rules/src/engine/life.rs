//! The life of one family's alert (alert rules, "Life of an alert").
//!
//! # Invariants
//! - an alert that nobody has seen is kept until somebody does, or its time closes it, whatever
//!   follows it

use crate::{
    alert::{AckReason, AcknowledgeError, Alert, AlertId, AlertState, TimelineEvent},
    binding::PatientKey,
};
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

/// What an alert says where a value is implausible: a loose sensor, a wrong unit, or an emergency.
const CHECK: [&str; 2] = [",请核对", ", check"];
/// What it says where a spot value was not measured again in time.
const NOT_RECHECKED: [&str; 2] = [",未复测", ", not rechecked"];
/// What it says where a clock was wrong (late data, row 10).
const IN_DOUBT: [&str; 2] = [",时间存疑", ", time in doubt"];

/// What an alert whose rules are not known any more holds on to.
const ADOPTED: &str = "";

/// One rule that holds.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct Firing {
    pub(super) rule: String,
    /// Which device says so; `None`: it is about the subject as a whole.
    #[serde(default)]
    pub(super) device: Option<DeviceId>,
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
    /// The value is implausible.
    #[serde(default)]
    pub(super) check: bool,
    /// Of a spot value: when it should be measured again, and when it says that nobody did.
    #[serde(default)]
    pub(super) recheck_at: Option<WallTime>,
    #[serde(default)]
    pub(super) rechecked_until: Option<WallTime>,
    #[serde(default)]
    pub(super) not_rechecked: bool,
    pub(super) message_zh: String,
    pub(super) message_en: String,
}

impl Firing {
    /// A rule holds since then, and says so in Chinese and English.
    pub(super) fn new(rule: &str, priority: Priority, since: WallTime, says: [&str; 2]) -> Self {
        let [message_zh, message_en] = says.map(str::to_owned);
        Self {
            rule: rule.to_owned(),
            device: None,
            priority,
            since,
            metric: None,
            value: None,
            comparator: None,
            limit: None,
            late: false,
            time_suspect: false,
            check: false,
            recheck_at: None,
            rechecked_until: None,
            not_rechecked: false,
            message_zh,
            message_en,
        }
    }

    /// What it says, in Chinese and English, with what there is to add.
    fn says(&self) -> [String; 2] {
        let mut says = [self.message_zh.clone(), self.message_en.clone()];
        for (applies, words) in [
            (self.check, CHECK),
            (self.not_rechecked, NOT_RECHECKED),
            (self.time_suspect, IN_DOUBT),
        ] {
            if applies {
                says.iter_mut().zip(words).for_each(|(text, word)| text.push_str(word));
            }
        }
        says
    }
}

impl Firing {
    /// When it says that nobody measured again.
    pub(super) fn recheck_ends_at(&self) -> Option<WallTime> {
        self.rechecked_until.filter(|_| !self.not_rechecked)
    }

    /// Whether nobody measured again in time, and it does not say so yet.
    pub(super) fn is_late_recheck(&self, now: WallTime) -> bool {
        self.recheck_ends_at().is_some_and(|until| until <= now)
    }
}

/// What an alert said before there was something to add.
fn bare(alert: &Alert) -> [&str; 2] {
    let mut says = [alert.message_zh.as_str(), alert.message_en.as_str()];
    for words in [IN_DOUBT, NOT_RECHECKED, CHECK] {
        for (text, word) in says.iter_mut().zip(words) {
            *text = text.strip_suffix(word).unwrap_or(text);
        }
    }
    says
}

/// Whose alerts they are.
#[derive(Clone, Debug)]
pub(super) struct Whose {
    pub(super) site: SiteId,
    /// The subject, as ids are made of it.
    pub(super) subject: String,
    pub(super) patient: Option<PatientKey>,
    /// The device of what is about the subject as a whole.
    pub(super) device: DeviceId,
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
            let firing = Firing {
                device: Some(alert.device.clone()),
                metric: alert.metric,
                value: alert.value.clone(),
                comparator: alert.comparator.clone(),
                limit: alert.limit.clone(),
                time_suspect: alert.time_suspect,
                ..Firing::new(rule, alert.priority, alert.started_at, bare(&alert))
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
                let mut firing = Firing { since: known.since, ..firing };
                firing.late &= known.late;
                firing.recheck_at = firing.recheck_at.or(known.recheck_at);
                firing.rechecked_until = firing.rechecked_until.or(known.rechecked_until);
                if firing.value.is_none() {
                    // It tells of the latest value outside, and how that was measured.
                    firing.value = known.value.take();
                    firing.comparator = known.comparator.take();
                    (firing.metric, firing.check) = (known.metric, known.check);
                }
                *known = firing;
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
        whose: &Whose,
        family: &str,
        now: WallTime,
        t_meas: WallTime,
        silent: bool,
    ) -> Vec<Alert> {
        let before = self.alert.clone();
        let mut changed = Vec::new();
        match self.worst().cloned() {
            Some(worst) => changed.extend(self.hold(whose, family, now, &worst)),
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
        whose: &Whose,
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
            raised(whose, family, now, begin, worst)
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
        alert.device = worst.device.clone().unwrap_or_else(|| whose.device.clone());
        alert.patient.clone_from(&whose.patient);
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
        [alert.message_zh, alert.message_en] = worst.says();
        alert.time_suspect = worst.time_suspect;
        alert.recheck_at = worst.recheck_at;
        alert.not_rechecked = worst.not_rechecked;
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

    pub(super) fn clear(&mut self, now: WallTime, t_meas: WallTime, why: &str) {
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
        alert.recheck_at = None;
        if std::mem::take(&mut alert.not_rechecked) {
            let [zh, en] = NOT_RECHECKED;
            alert.message_zh = alert.message_zh.replace(zh, "");
            alert.message_en = alert.message_en.replace(en, "");
        }
        alert.tell(now, TimelineEvent::Cleared, None, why.to_owned());
        let over = alert.retro || alert.priority == Priority::Low || state == AlertState::ActiveAck;
        alert.state = if over { AlertState::Closed } else { AlertState::ClearedUnack };
        if alert.state == AlertState::Closed {
            alert.tell(now, TimelineEvent::Closed, None, why.to_owned());
        }
    }

    /// Ends the alert, whoever has seen it, and with it all that wait where `all` of them end; those
    /// that changed.
    pub(super) fn end(&mut self, now: WallTime, at: WallTime, why: &str, all: bool) -> Vec<Alert> {
        let mut ended = Vec::new();
        let earlier = self.unseen.iter_mut().filter(|_| all);
        for alert in earlier.chain(&mut self.alert) {
            let waits = all && alert.state == AlertState::ClearedUnack;
            if alert.state.is_active() || waits {
                alert.state = AlertState::Closed;
                alert.cleared_at.get_or_insert(at);
                alert.tell(now, TimelineEvent::Closed, None, why.to_owned());
                ended.push(alert.clone());
            }
        }
        if !ended.is_empty() {
            self.firing.clear();
            self.before_unknown = None;
            self.began_late = false;
        }
        self.unseen.retain(|alert| alert.state != AlertState::Closed);
        ended
    }

    /// Takes over the alerts of the same family that were elsewhere.
    pub(super) fn join(&mut self, other: Self) {
        self.unseen.extend(other.unseen);
        let waits = |alert: &Alert| alert.state != AlertState::Closed;
        self.unseen.extend(other.alert.filter(waits));
    }

    /// Its device is that patient's now; the open alerts.
    pub(super) fn belong_to(&mut self, patient: Option<&PatientKey>) -> Vec<Alert> {
        let all = self.unseen.iter_mut().chain(&mut self.alert);
        let open = all.filter(|alert| alert.state != AlertState::Closed);
        open.map(|alert| {
            alert.patient = patient.cloned();
            alert.clone()
        })
        .collect()
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

    /// Devices fell silent, and nothing else says that it holds; the alert if that changed it.
    pub(super) fn become_unknown(
        &mut self,
        now: WallTime,
        is_silent: impl Fn(&DeviceId) -> bool,
    ) -> Option<Alert> {
        if !self.firing.values().all(|firing| firing.device.as_ref().is_some_and(&is_silent)) {
            return None;
        }
        let active = |alert: &&mut Alert| {
            matches!(alert.state, AlertState::ActiveUnack | AlertState::ActiveAck)
        };
        let alert = self.alert.as_mut().filter(active)?;
        self.before_unknown = Some(alert.state);
        alert.state = AlertState::Unknown;
        alert.tell(now, TimelineEvent::BecameUnknown, None, String::new());
        Some(alert.clone())
    }

    /// A device speaks again; the alert if that changed it.
    pub(super) fn become_known(&mut self, now: WallTime, device: &DeviceId) -> Option<Alert> {
        let is_of = |firing: &Firing| firing.device.as_ref().is_none_or(|of| of == device);
        if !self.firing.is_empty() && !self.firing.values().any(is_of) {
            return None;
        }
        self.began_late = false;
        self.firing.values_mut().filter(|it| is_of(it)).for_each(|firing| firing.late = false);
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

fn raised(whose: &Whose, family: &str, now: WallTime, begin: WallTime, worst: &Firing) -> Alert {
    let mut alert = Alert {
        id: AlertId::new(&whose.site, &whose.subject, family, begin),
        site: whose.site.clone(),
        device: whose.device.clone(),
        patient: whose.patient.clone(),
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
        recheck_at: None,
        not_rechecked: false,
        recurrences: 0,
        timeline: Vec::new(),
    };
    alert.tell(now, TimelineEvent::Raised, None, worst.rule.clone());
    alert
}
