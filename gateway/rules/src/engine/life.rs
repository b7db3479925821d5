//! The life of one family's alert (alert rules, "Life of an alert").
//!
//! Not here: what people do with it ([`super::people`]), what time alone does ([`super::timer`]).
//!
//! # Invariants
//! - an alert that nobody has seen is kept until somebody does, or its time closes it, whatever
//!   follows it

use super::{
    firing::{Firing, NOT_RECHECKED, bare},
    late::RECHECK_ROW,
    series::Series,
};
use crate::{
    alert::{Alert, AlertId, AlertState, People, SAME_OF_DEVICE, TOLD_BY_BOX, TimelineEvent},
    binding::PatientKey,
};
use model::{
    alarm::Priority,
    id::{DeviceId, SiteId},
    time::WallTime,
};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// What comes back within this time of clearing is the same alert.
pub(super) const SAME_EPISODE_MS: i64 = 5 * 60_000;
/// Earlier alerts of one family that wait for a person: one each 10 min of a night of five hours.
const UNSEEN_MAX: usize = 32;

/// A device alarm of which the begin came late (late data).
const LATE_ALARM_ROW: u8 = 11;

/// What an alert whose rules are not known any more holds on to.
pub(super) const ADOPTED: &str = "";

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
    /// Rule → where it stands by what was taken over, until it is judged here.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    adopted: BTreeMap<String, Series>,
    /// The device of which that was told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    adopted_of: Option<DeviceId>,
    /// State to return to when the device speaks again.
    pub(super) before_unknown: Option<AlertState>,
    /// Since when nobody knows, by the county's clock.
    #[serde(default)]
    pub(super) unknown_since: Option<WallTime>,
    /// Since when all that is heard says that it may be over.
    #[serde(default)]
    pub(super) ending_since: Option<WallTime>,
    /// All that says it is taken off: what begins is set aside.
    #[serde(skip)]
    pub(super) out_of_service: bool,
    /// Devices that say it and are taken off.
    #[serde(skip)]
    pub(super) off: BTreeSet<DeviceId>,
    /// The alert began late and its device has not been heard since: if it ends so, it is history.
    #[serde(default)]
    began_late: bool,
    /// When a pass over late readings found it over, and by which rules; no value has said so yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) found_over: Option<(WallTime, Vec<String>)>,
}

impl Episode {
    /// Takes over an alert that was not judged here: of a state that cannot be read, or of a box.
    pub(super) fn adopt(&mut self, mut alert: Alert, of_box: bool) {
        if alert.state == AlertState::Closed {
            return;
        }
        if alert.condition().is_active() {
            self.before_unknown = Some(alert.active());
            alert.go(AlertState::Unknown);
            let late = of_box;
            let firing = Firing { of_box, late, ..Firing::of(&alert, bare(&alert)) };
            // What it was before it came back it was not all the time.
            let since = alert.back_since().unwrap_or(firing.since);
            self.firing.insert(ADOPTED.to_owned(), Firing { since, ..firing });
        }
        self.unseen.extend(self.alert.replace(alert));
    }

    /// Takes over an alert as its box tells it, in the place of what was known of it; another one
    /// that ended because of it.
    /// Of what was judged here only what is `said` goes on.
    pub(super) fn adopt_told(
        &mut self,
        mut alert: Alert,
        now: WallTime,
        said: &BTreeSet<String>,
        (of, standing): (&DeviceId, BTreeMap<String, Series>),
    ) -> Option<Alert> {
        let was_earlier = self.unseen.iter().any(|known| known.id == alert.id);
        self.unseen.retain(|known| known.id != alert.id);
        let is_earlier = was_earlier
            || self
                .alert
                .as_ref()
                .is_some_and(|known| known.id != alert.id && alert.started_at < known.started_at);
        let mut ended = None;
        let mut heard = None;
        if self.alert.as_ref().is_none_or(|known| known.id == alert.id) {
            self.found_over = None;
        }
        let held = self.alert.as_ref().filter(|known| known.condition().is_active());
        let part = match held {
            Some(known) if known.id != alert.id => None,
            _ => self.unseen.iter().position(|known| alert.has_part(known)),
        };
        let part = part.map(|place| self.unseen.remove(place));
        if let Some(mut known) = part.or_else(|| self.alert.take_if(|known| alert.has_part(known)))
        {
            alert.goes_on_as(&known);
            known.close(now, TOLD_BY_BOX);
            ended = Some(known);
        }
        if ended.is_some() && alert.condition().is_active() && self.alert.is_none() {
            // What holds now is what it came back as.
            self.alert = Some(alert);
        } else if is_earlier && self.alert.is_some() && !alert.condition().is_active() {
            // What is newer goes on, or may come back.
            self.unseen.push(alert);
        } else {
            drop(self.alert.take_if(|known| known.id == alert.id));
            // One that holds never waits behind another: nothing would end it there.
            if let Some(mut known) = self.alert.take_if(|known| known.condition().is_active()) {
                // By its device, or by another that goes on saying it.
                let goes_on = |(name, it): (&String, &Firing)| {
                    said.contains(name) && it.device.as_ref() == Some(&known.device)
                };
                if known.condition() != AlertState::Unknown
                    && (known.device == *of || self.firing.iter().any(goes_on))
                {
                    heard = Some(known.device.clone());
                }
                if alert.condition().is_active() {
                    alert.goes_on_from(&known);
                }
                known.close(now, TOLD_BY_BOX);
                ended = Some(known);
            }
            self.firing.retain(|name, _| said.contains(name));
            self.adopted = match alert.condition().is_active() {
                // What was named before stands since it was.
                true => standing
                    .into_iter()
                    .map(|(rule, series)| {
                        let known = self.adopted.remove(&rule);
                        (rule, known.map_or(series, |known| known.later(series)))
                    })
                    .collect(),
                false => BTreeMap::new(),
            };
            self.adopted_of = Some(of.clone());
            match alert.state {
                // What comes back soon is the same one.
                AlertState::Closed => self.unseen.extend(self.alert.replace(alert)),
                _ => self.adopt(alert, true),
            }
            if let Some(device) = heard {
                drop(self.become_known(now, &device));
            }
        }
        self.forget(now);
        ended.or_else(|| self.close_oldest(now))
    }

    /// Closes the oldest of too many that wait for a person.
    pub(super) fn close_oldest(&mut self, now: WallTime) -> Option<Alert> {
        let waits = |alert: &Alert| alert.state != AlertState::Closed;
        if self.unseen.iter().filter(|alert| waits(alert)).count() <= UNSEEN_MAX {
            return None;
        }
        let mut oldest = self.unseen.remove(self.unseen.iter().position(waits)?);
        oldest.close(now, &format!("nobody came, and {UNSEEN_MAX} more of this kind followed"));
        Some(oldest)
    }

    /// Whether all that holds is of a state that could not be read: nothing will ever say that it
    /// is over. A box says so of what it told.
    pub(super) fn is_rescued(&self) -> bool {
        self.firing.get(ADOPTED).is_some_and(|firing| !firing.of_box) && self.firing.len() == 1
    }

    /// Where a rule stands by what was taken over and not judged here yet, of that device where
    /// only it can say how that goes on.
    pub(super) fn take_adopted(&mut self, rule: &str, of: Option<&DeviceId>) -> Option<Series> {
        let is_of = |told: Option<&DeviceId>| of.zip(told).is_none_or(|(of, told)| of == told);
        if !is_of(self.adopted_of.as_ref()) {
            return None;
        }
        let of_alert = || {
            let adopted = self.firing.get(ADOPTED).filter(|firing| firing.rule == rule)?;
            if !is_of(adopted.device.as_ref()) {
                return None;
            }
            Some(Series::adopted(adopted.since, false))
        };
        self.adopted.remove(rule).or_else(of_alert)
    }

    /// What was told of an alert behind something newer is a part of its story.
    pub(super) fn keep_story(&mut self, alert: &Alert) {
        let mut all = self.unseen.iter_mut().chain(&mut self.alert);
        if let Some(known) = all.find(|known| known.id == alert.id) {
            known.clone_from(alert);
        }
        if let Some(known) = self.alert.as_ref().filter(|known| known.id == alert.id) {
            let active = known.active();
            self.before_unknown = self.before_unknown.map(|_| active);
        }
    }

    pub(super) fn alert_of(&self, id: AlertId) -> Option<Alert> {
        self.alerts().find(|alert| alert.id == id).cloned()
    }

    pub(super) fn fire(&mut self, key: String, firing: Firing) {
        // A rule that is judged anew speaks for it.
        self.firing.remove(ADOPTED);
        if firing.value.is_some() {
            self.found_over = None;
        }
        match self.firing.get_mut(&key) {
            Some(known) => {
                let mut firing = Firing { since: known.since, ..firing };
                firing.late &= known.late;
                firing.recheck_at = firing.recheck_at.or(known.recheck_at);
                firing.rechecked_until = firing.rechecked_until.or(known.rechecked_until);
                if firing.value.is_none() {
                    // It tells of the latest value outside, and how that was measured.
                    let of = known.told_of().filter(|_| known.value.is_some());
                    firing.measured_by =
                        of.filter(|of| firing.device.as_ref() != Some(of)).cloned();
                    firing.value = known.value.take();
                    firing.comparator = known.comparator.take();
                    (firing.metric, firing.check) = (known.metric, known.check);
                    firing.late_result = known.late_result;
                }
                *known = firing;
            }
            None => drop(self.firing.insert(key, firing)),
        }
    }

    pub(super) fn cease(&mut self, key: &str) {
        self.firing.remove(ADOPTED);
        self.firing.remove(key);
    }

    pub(super) fn is_firing(&self, key: &str) -> bool {
        self.firing.contains_key(key)
    }

    /// The alerts that somebody may act on, the oldest first.
    pub(super) fn alerts(&self) -> impl Iterator<Item = &Alert> {
        self.unseen.iter().chain(&self.alert)
    }

    /// The begin of what was told late by its device.
    pub(super) fn late_since(&self) -> Option<WallTime> {
        let late = self.firing.values().filter(|firing| firing.late && !firing.of_box);
        late.map(|firing| firing.since).max()
    }

    /// The begin of what fires already.
    pub(super) fn pending_since(&self) -> Option<WallTime> {
        self.firing.values().map(|firing| firing.since).min()
    }

    /// The priority of what holds now.
    pub(super) fn present(&self) -> Option<Priority> {
        let held = self.firing.values().map(|firing| firing.priority).max()?;
        Some(self.alert.as_ref().map_or(held, |alert| alert.at_least(held)))
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

    /// The alert goes on, comes back, or a new one begins; an earlier one that had to be closed.
    fn hold(
        &mut self,
        whose: &Whose,
        family: &str,
        now: WallTime,
        worst: &Firing,
    ) -> Option<Alert> {
        let begin = self.pending_since().unwrap_or(worst.since);
        let since = |moment: WallTime| worst.since.unix_ms().saturating_sub(moment.unix_ms());
        let same_episode = self.alert.take_if(|alert| {
            alert.condition().is_active()
                || alert.cleared_at.is_some_and(|cleared| since(cleared) <= SAME_EPISODE_MS)
                || worst.is_limited(alert)
        });
        let closed = match &same_episode {
            Some(_) => None,
            None => self.put_aside(now),
        };
        let late = self.firing.values().all(|firing| firing.late && !firing.of_box);
        let is_new = same_episode.is_none();
        let mut alert = same_episode.unwrap_or_else(|| {
            self.began_late = late;
            raised(whose, family, now, begin, worst)
        });
        let urgent = alert.at_least(worst.priority);
        // What somebody is still to see only a person sets aside.
        let waits =
            !is_new && alert.condition() != AlertState::Closed && alert.acknowledged.is_none();
        if !alert.condition().is_active() {
            // One that waits for a person does not become history by what followed it.
            self.began_late = late && alert.condition() == AlertState::Closed;
            alert.retro = false;
            alert.cleared_at = None;
            // Nobody is asked again in that time: it goes on as it was.
            let goes_on = worst.is_limited(&alert) && alert.condition() == AlertState::Closed;
            // What nobody answered is no better for having been over in between: its ladder goes on.
            if !goes_on && !waits {
                alert.begin_anew();
                alert.people.assigned_to = None;
            }
            alert.recurrences += 1;
            if urgent > alert.priority {
                alert.take_off_shelf(now);
                // The seconds of the lesser one are none of a ladder that is shorter.
                alert.people.unanswered_ms = 0;
            }
            // One that nobody has seen keeps the highest.
            alert.priority = match alert.condition() {
                AlertState::ClearedUnack => alert.priority.max(urgent),
                _ => urgent,
            };
            alert.tell(now, TimelineEvent::Recurred, None, worst.rule.clone());
            match (goes_on, &alert.acknowledged) {
                (true, Some(_)) => alert.go(AlertState::ActiveAck),
                (true, None) => {
                    alert.quiet = true;
                    alert.go(AlertState::ActiveUnack);
                }
                (false, _) => alert.sound_on(now, alert.people.unanswered_ms),
            }
        }
        if late && alert.condition() == AlertState::ActiveUnack {
            self.before_unknown = Some(AlertState::ActiveUnack);
            self.unknown_since = Some(now);
            alert.go(AlertState::Unknown);
            alert.late_row = Some(LATE_ALARM_ROW);
        }
        alert.follow_service(self.out_of_service && (alert.people.out_of_service || !waits), now);
        if urgent > alert.priority {
            alert.tell(now, TimelineEvent::PriorityRose, None, worst.rule.clone());
            alert.priority = urgent;
            self.rise(&mut alert, now);
        } else if urgent < alert.priority && alert.condition() == AlertState::ActiveAck {
            alert.tell(now, TimelineEvent::PriorityFell, None, worst.rule.clone());
            alert.priority = urgent;
        }
        alert.latched |= self.firing.values().any(|firing| firing.latched);
        alert.device = worst.told_of().unwrap_or(&whose.device).clone();
        alert.patient.clone_from(&whose.patient);
        alert.rules = self.rules();
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
        if !worst.late_result {
            alert.late_row.take_if(|row| *row == RECHECK_ROW);
        }
        alert.recheck_at = worst.recheck_at;
        alert.not_rechecked = worst.not_rechecked;
        self.alert = Some(alert);
        closed
    }

    /// Rules that hold, the most urgent first.
    fn rules(&self) -> Vec<String> {
        let mut rules: Vec<(&Firing, &str)> =
            self.firing.values().map(|firing| (firing, firing.rule.as_str())).collect();
        rules.sort_by_key(|(firing, id)| (std::cmp::Reverse(firing.priority), *id));
        rules.dedup_by_key(|(_, id)| *id);
        rules.into_iter().map(|(_, id)| id.to_owned()).collect()
    }

    /// The alert names the rules that hold; the alert if they are others.
    pub(super) fn name_rules(&mut self) -> Option<Alert> {
        let rules = self.rules();
        let alert = self.alert.as_mut().filter(|alert| alert.rules != rules)?;
        alert.rules = rules;
        Some(alert.clone())
    }

    /// It is another danger than the one somebody has in hand, or has put on the shelf; the story
    /// keeps who had it.
    pub(super) fn rise(&mut self, alert: &mut Alert, now: WallTime) {
        alert.take_off_shelf(now);
        alert.quiet = false;
        if alert.in_hand_since().is_some() {
            alert.begin_anew();
        }
        self.before_unknown = self.before_unknown.map(|_| AlertState::ActiveUnack);
        match alert.condition() {
            AlertState::ActiveUnack | AlertState::ActiveAck => alert.sound(now),
            _ => alert.take_back(now),
        }
    }

    /// Keeps an alert that nobody has seen when another takes its place; the oldest of too many is
    /// closed.
    pub(super) fn put_aside(&mut self, now: WallTime) -> Option<Alert> {
        self.forget(now);
        let waits = |alert: &mut Alert| alert.state != AlertState::Closed;
        self.unseen.extend(self.alert.take_if(waits));
        self.close_oldest(now)
    }

    /// A device that is silent cannot say that what is unknown is over.
    fn clear_heard(&mut self, now: WallTime, t_meas: WallTime) {
        if self.alert.as_ref().is_some_and(|alert| alert.condition() != AlertState::Unknown) {
            self.clear(now, t_meas, "");
        }
    }

    pub(super) fn clear(&mut self, now: WallTime, t_meas: WallTime, why: &str) {
        let active = |alert: &&mut Alert| alert.condition().is_active();
        let Some(alert) = self.alert.as_mut().filter(active) else { return };
        self.adopted.clear();
        let sounded_until = match alert.state {
            AlertState::ActiveUnack => Some(now),
            AlertState::Unknown => self.unknown_since,
            _ => None,
        };
        alert.people.unanswered_ms = sounded_until.map_or(0, |until| alert.unanswered_ms(until));
        let state = match alert.condition() {
            AlertState::Unknown => self.before_unknown.take().unwrap_or(AlertState::ActiveUnack),
            state => state,
        };
        // Begin and end were both told late: it was over before anybody could see it.
        alert.retro = std::mem::take(&mut self.began_late);
        alert.cleared_at = Some(t_meas);
        let found = self.found_over.take().filter(|(over, _)| *over < t_meas && why.is_empty());
        if let Some((over, rules)) = found {
            (alert.cleared_at, alert.rules) = (Some(over), rules);
            alert.was_in_hand_at(over, true);
        }
        alert.recheck_at = None;
        if std::mem::take(&mut alert.not_rechecked) {
            let [zh, en] = NOT_RECHECKED;
            alert.message_zh = alert.message_zh.replace(zh, "");
            alert.message_en = alert.message_en.replace(en, "");
        }
        alert.tell(now, TimelineEvent::Cleared, None, why.to_owned());
        // Whoever took the device off knows what it says meanwhile.
        let is_seen = state == AlertState::ActiveAck || alert.acknowledged.is_some();
        let seen = is_seen || alert.people.out_of_service;
        if alert.retro || alert.priority == Priority::Low || seen {
            alert.tell(now, TimelineEvent::Closed, None, why.to_owned());
            alert.go(AlertState::Closed);
        } else {
            alert.wait(now);
        }
    }

    /// Ends the alert, whoever has seen it, and with it all that wait where `all` of them end; those
    /// that changed.
    pub(super) fn end(&mut self, now: WallTime, at: WallTime, why: &str, all: bool) -> Vec<Alert> {
        let mut ended = Vec::new();
        let earlier = self.unseen.iter_mut().filter(|_| all);
        for alert in earlier.chain(&mut self.alert) {
            let waits = all && alert.state != AlertState::Closed;
            if alert.condition().is_active() || waits {
                alert.cleared_at.get_or_insert(at);
                alert.close(now, why);
                ended.push(alert.clone());
            }
        }
        if !ended.is_empty() {
            self.firing.clear();
            self.adopted.clear();
            self.before_unknown = None;
            self.began_late = false;
        }
        self.unseen.retain(|alert| alert.state != AlertState::Closed);
        ended
    }

    /// Takes over the alerts of the same family that were elsewhere; one that ended because of it.
    pub(super) fn join(&mut self, other: Self, now: WallTime) -> Option<Alert> {
        let waits = |alert: &Alert| alert.state != AlertState::Closed;
        let holds = |alert: &Alert| alert.condition().is_active();
        let Self { firing, alert, unseen, before_unknown, unknown_since, .. } = other;
        self.unseen.extend(unseen);
        let mut alert = alert.filter(waits)?;
        if !holds(&alert) {
            self.unseen.push(alert);
            return None;
        }
        // One that holds never waits behind another: nothing would end it there.
        if self.alert.as_ref().is_some_and(holds) {
            alert.close(now, SAME_OF_DEVICE);
            return Some(alert);
        }
        self.unseen.extend(self.alert.replace(alert).filter(waits));
        self.firing.extend(firing);
        (self.before_unknown, self.unknown_since) = (before_unknown, unknown_since);
        None
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

    /// Devices fell silent, and nothing else says that it holds; the alert if that changed it.
    pub(super) fn become_unknown(
        &mut self,
        now: WallTime,
        is_silent: impl Fn(&DeviceId) -> bool,
    ) -> Option<Alert> {
        if !self.firing.values().all(|firing| firing.device.as_ref().is_some_and(&is_silent)) {
            return None;
        }
        self.doubt(now)
    }

    /// Nobody knows whether it holds still; the alert if that changed it.
    pub(super) fn doubt(&mut self, now: WallTime) -> Option<Alert> {
        let active = |alert: &&mut Alert| {
            matches!(alert.condition(), AlertState::ActiveUnack | AlertState::ActiveAck)
        };
        let alert = self.alert.as_mut().filter(active)?;
        self.before_unknown = Some(alert.condition());
        self.unknown_since = Some(now);
        alert.go(AlertState::Unknown);
        alert.tell(now, TimelineEvent::BecameUnknown, None, String::new());
        Some(alert.clone())
    }

    /// A device speaks again; the alert if that changed it.
    pub(super) fn become_known(&mut self, now: WallTime, device: &DeviceId) -> Option<Alert> {
        let is_of = |firing: &Firing| firing.device.as_ref() == Some(device);
        if !self.firing.is_empty() && !self.firing.values().any(is_of) {
            return None;
        }
        self.began_late = false;
        self.firing.values_mut().filter(|it| is_of(it)).for_each(|firing| firing.late = false);
        self.trust(now)
    }

    /// It is known again; the alert if that changed it.
    ///
    /// While nobody knew, nobody was told: the next persons have that much longer.
    pub(super) fn trust(&mut self, now: WallTime) -> Option<Alert> {
        let before = self.before_unknown.take()?;
        let since = self.unknown_since.take();
        let unknown = |alert: &&mut Alert| alert.condition() == AlertState::Unknown;
        let alert = self.alert.as_mut().filter(unknown)?;
        let unanswered_ms = since.map_or(0, |since| alert.unanswered_ms(since));
        let from = WallTime::from_unix_ms(now.unix_ms().saturating_sub(unanswered_ms));
        alert.people.unanswered_since = Some(from);
        alert.people.known_at = Some(now);
        alert.go(before);
        alert.tell(now, TimelineEvent::Known, None, String::new());
        Some(alert.clone())
    }

    /// Its device says now that something is over: that is no history, though it began late.
    pub(super) fn ends_live(&mut self, device: &DeviceId) {
        self.began_late &= !self.firing.values().any(|it| it.device.as_ref() == Some(device));
    }

    /// Another alert stands for this one; the alert if that changed it.
    pub(super) fn stand_behind(&mut self, now: WallTime, rule: &str) -> Option<Alert> {
        let active = |alert: &&mut Alert| alert.condition().is_active();
        let alert = self.alert.as_mut().filter(active)?;
        if alert.people.suppressed_by.as_deref() == Some(rule) {
            return None;
        }
        alert.people.suppressed_by = Some(rule.to_owned());
        alert.take_back(now);
        alert.tell(now, TimelineEvent::Suppressed, None, rule.to_owned());
        Some(alert.clone())
    }

    /// No other alert stands for these any more, whatever became of them meanwhile: one that is over
    /// waits for a person as others do, and one that closed is not set aside when it comes back. The
    /// open ones that it changed.
    pub(super) fn stand_alone(&mut self, now: WallTime) -> Vec<Alert> {
        let mut changed = Vec::new();
        for alert in self.unseen.iter_mut().chain(&mut self.alert) {
            let stood_behind = alert.people.suppressed_by.take().is_some();
            if !stood_behind || alert.state == AlertState::Closed {
                continue;
            }
            alert.take_back(now);
            alert.tell(now, TimelineEvent::Unsuppressed, None, String::new());
            changed.push(alert.clone());
        }
        changed
    }
}

pub(super) fn raised(
    whose: &Whose,
    family: &str,
    now: WallTime,
    begin: WallTime,
    worst: &Firing,
) -> Alert {
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
        people: People::default(),
        retro: false,
        latched: false,
        quiet: false,
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
