//! Device alarms: what a device itself signals becomes an alert.

use super::{
    Engine, after,
    device::Device,
    firing::Firing,
    life::{ADOPTED, Episode},
    silence::TOLD_ON_MS,
    technical,
};
use crate::{
    alert::{Alert, AlertId, TOLD_BY_BOX, TimelineEvent},
    binding::PatientKey,
    freshness::{Freshness, Moment},
    rule::{EventRule, FromDevice, Pace, RuleSet},
};
use model::{
    alarm::{AlarmKind, AlarmPhase, DeviceAlarm, Priority},
    id::DeviceId,
    metric::{Class, Metric},
    time::WallTime,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// What is shown for an alarm no rule names.
pub(super) const OTHER_RULE: &str = "DEV-OTHER";
/// The rule of a battery of any other device than a pump.
pub(super) const BATTERY_RULE: &str = "BATT-LOW";
/// A driver says again what is up within seconds of hearing its device; a slow station takes 30 s.
const SAID_AGAIN_MS: i64 = 60_000;
/// Device alarms that hold at once; a pump has sixteen flags.
const ALARMS_MAX: usize = 64;
/// What repeats tells the present for a minute: what kept a rule from judging it is known as long.
const OVER_KEPT_MS: i64 = 60_000;

/// Rules of an ECG lead and of a sensor that is off.
pub(super) const LEAD_OFF_RULE: &str = "TECH-LEADOFF";
pub(super) const PROBE_OFF_RULE: &str = "TECH-PROBEOFF";

/// A device alarm that holds.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct Held {
    rule: String,
    since: WallTime,
    #[serde(default)]
    source: Option<Metric>,
    /// The patient on whom its device was when it said so. What a device on nobody signals goes
    /// along to whom it comes.
    #[serde(default)]
    of: Option<PatientKey>,
}

/// A device alarm of before its device came to whom it is with now.
#[derive(Clone, Debug)]
pub struct Before {
    /// When the device came.
    pub came: WallTime,
    /// The patient on whom it was when it said so.
    pub of: Option<PatientKey>,
}

impl Held {
    /// Its device leaves that patient.
    pub(super) fn were_of(&mut self, key: &PatientKey) {
        self.of.get_or_insert_with(|| key.clone());
    }

    /// Whether it was said of another patient than the one the device is on.
    pub(super) fn is_anothers(&self, here: Option<&PatientKey>) -> bool {
        self.of.is_some() && here.is_some() && self.of.as_ref() != here
    }
}

/// A device alarm that is over: what was measured while it held may come after the news of its end.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct Over {
    key: String,
    held: Held,
    until: WallTime,
}

/// Device alarms that began before the device or its agent was away: what is not said again in time
/// is over.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct Doubt {
    pub(super) alarms: BTreeSet<String>,
    pub(super) until: WallTime,
}

impl Engine {
    /// Takes in a device's own alarm; hands out the alerts that changed.
    ///
    /// An alarm that began late and has not ended holds as far as anybody knows: its alert is
    /// unknown until the device is heard (late data, row 11).
    pub fn on_alarm(
        &mut self,
        rules: &RuleSet,
        now: WallTime,
        said: Moment,
        alarm: &DeviceAlarm,
    ) -> Vec<Alert> {
        self.on_alarm_of(rules, now, said, None, alarm)
    }

    /// The same of a device that came to the subject after it had said so. What it signalled while
    /// it was on nobody is up here since it came, as far as anybody knows: its alert is unknown until
    /// the device is heard. What it signalled while it was on another patient says nothing here until
    /// the device says it again, but for what is the device's own.
    pub fn on_alarm_of(
        &mut self,
        rules: &RuleSet,
        now: WallTime,
        said: Moment,
        before: Option<&Before>,
        alarm: &DeviceAlarm,
    ) -> Vec<Alert> {
        let at = before.map_or(said.at, |before| said.at.max(before.came));
        let fresh = before.is_none() && Freshness::of_stream(said, now) == Freshness::Fresh;
        let key = key_of(alarm);
        let id = self.rule_for(rules, alarm.kind, &alarm.device);
        let mut touched = BTreeSet::new();
        let device = &alarm.device;
        if !fresh {
            self.late_word = Some(now);
        }
        if fresh && self.is_after_silence(device, at) {
            self.end_silence(rules, now, device, &mut touched);
        }
        match alarm.phase {
            // What it said since it came is newer.
            _ if before.is_some() && self.has_said_since(device, &key, at) => {}
            AlarmPhase::Start | AlarmPhase::Update => {
                let of = before.and_then(|before| before.of.clone());
                let held = Held { rule: id.to_owned(), since: at, source: alarm.source, of };
                let here = self.subject.patient().cloned();
                let is_anothers = held.is_anothers(here.as_ref()) && rules.technical(id).is_none();
                if let Some(left_out) = self.left_out_for(alarm).map(str::to_owned) {
                    self.end_alarm(device, &left_out, at, &mut touched);
                }
                let known = self.device(device);
                known.trust(&key);
                let known = known.alarms.entry(key.clone()).or_insert_with(|| held.clone());
                if !is_anothers {
                    if known.is_anothers(here.as_ref()) {
                        known.since = at;
                    }
                    known.of = held.of;
                }
                let since = known.since;
                let told = self.device_firing(rules, alarm, since);
                if let Some((family, mut firing)) = told.filter(|_| !is_anothers) {
                    (firing.late, firing.time_suspect) = (!fresh, said.suspect);
                    let name = self.alarm_name(&family, device, &key);
                    self.episodes.entry(family.clone()).or_default().fire(name, firing);
                    touched.insert(family);
                }
            }
            AlarmPhase::End => {
                if fresh {
                    self.episodes.values_mut().for_each(|episode| episode.ends_live(device));
                }
                self.rise_until(rules, now, (device, &key), at);
                self.end_alarm(device, &key, at, &mut touched);
            }
        }
        let silent = self.is_silent(rules, device);
        let mut changed = self.settle(now, at, touched, silent);
        if fresh {
            changed.extend(self.known_again(now, device));
        }
        changed
    }

    /// What a device signalled from `began` on while it was the subject's, and until then: it left,
    /// or said that it was over. History (late data, row 11): an alert, and where its box tells of the
    /// same in another, that one's id.
    #[must_use]
    pub fn past_alarm(
        &self,
        rules: &RuleSet,
        now: WallTime,
        (began, until): (Moment, WallTime),
        alarm: &DeviceAlarm,
    ) -> Option<(Alert, Option<AlertId>)> {
        let (key, firing) = self.device_firing(rules, alarm, began.at)?;
        let tells = |alert: &&Alert| {
            alert.started_at <= began.at && alert.cleared_at.is_none_or(|over| over >= began.at)
        };
        let (whose, family) = self.whose(&key);
        let mut past = Episode::default();
        past.fire(String::new(), Firing { late: true, time_suspect: began.suspect, ..firing });
        drop(past.settle(&whose, family, now, began.at, false));
        past.firing.clear();
        let mut alert = past.settle(&whose, family, now, until, false).pop()?;
        let known = self.episodes.get(&key).into_iter().flat_map(Episode::alerts);
        let whole = known.filter(tells).last().map(|known| known.id);
        if whole.is_some() {
            alert.tell(now, TimelineEvent::Closed, None, TOLD_BY_BOX.to_owned());
        }
        Some((alert, whole))
    }

    /// Whether a device signals that, and has said so since that moment, when it came.
    fn has_said_since(&self, device: &DeviceId, key: &str, came: WallTime) -> bool {
        let held = self.devices.get(device).and_then(|known| known.alarms.get(key));
        held.is_some_and(|held| held.of.is_none() && held.since > came)
    }

    /// An alarm that was over at that moment had risen by its steps, where it held for so long: that
    /// nobody here knew in time that it did makes it no less.
    fn rise_until(
        &mut self,
        rules: &RuleSet,
        now: WallTime,
        (device, key): (&DeviceId, &str),
        at: WallTime,
    ) {
        let Some(held) = self.devices.get(device).and_then(|known| known.alarms.get(key)) else {
            return;
        };
        let Some(rule) = rules.technical(&held.rule) else { return };
        let elapsed = at.unix_ms().saturating_sub(held.since.unix_ms());
        let mut steps = rule.steps(self.profile.monitored).filter(|step| step.test.is_none());
        let risen = steps.rfind(|step| rules.wait_ms(step, Pace::default()) <= elapsed);
        let family = self.technical_key(&rule.family, device);
        let name = self.alarm_name(&family, device, key);
        if let (Some(step), Some(episode)) = (risen, self.episodes.get_mut(&family)) {
            episode.had_risen(now, &name, step.priority);
        }
    }

    /// The alarm that makes room for this one, where its device has as many up as are held: its code
    /// and channel.
    ///
    /// What a device signals is told whatever else it signals: one of those counts as over whose
    /// alert goes on by others, and there are some: a device has fewer families than that. Of these
    /// it is the least urgent one that is up for the longest.
    #[must_use]
    pub fn left_out_for(&self, alarm: &DeviceAlarm) -> Option<&str> {
        if alarm.phase == AlarmPhase::End {
            return None;
        }
        let device = &alarm.device;
        let held = &self.devices.get(device)?.alarms;
        if held.len() < ALARMS_MAX || held.contains_key(&key_of(alarm)) {
            return None;
        }
        let rank = |(key, held): &(&String, &Held)| {
            let fired = self.fired_by(device, key);
            let alone = fired.is_some_and(|(episode, _)| episode.firing.len() == 1);
            (alone, fired.map(|(_, firing)| firing.priority), held.since)
        };
        held.iter().min_by_key(rank).map(|(key, _)| key.as_str())
    }

    /// What fires by an alarm of a device, and where.
    fn fired_by(&self, device: &DeviceId, key: &str) -> Option<(&Episode, &Firing)> {
        self.episodes.iter().find_map(|(family, episode)| {
            let of_device = family.split_once('|').is_none_or(|(_, of)| of == device.as_str());
            let firing = episode.firing.get(&self.alarm_name(family, device, key));
            firing.filter(|_| of_device).map(|firing| (episode, firing))
        })
    }

    pub(super) fn end_alarm(
        &mut self,
        device: &DeviceId,
        key: &str,
        at: WallTime,
        touched: &mut BTreeSet<String>,
    ) {
        let known = self.device(device);
        known.trust(key);
        let Some(held) = known.alarms.remove(key) else { return };
        let is_last = !known.alarms.values().any(|other| other.rule == held.rule);
        known.remember_over(Over { key: key.to_owned(), held: held.clone(), until: at });
        let names = [self.technical_key("", device), self.name(device, key)];
        for (family, episode) in &mut self.episodes {
            let [own, name] = &names;
            let name = if family.ends_with(own) && !own.is_empty() { key } else { name };
            let is_told = || is_last && episode.is_told_of(device, &held, at);
            if episode.is_firing(name) || is_told() {
                episode.cease(name);
                touched.insert(family.clone());
            }
        }
    }

    /// What the alarms that devices signal are called in a family.
    pub(super) fn alarm_names(&self, family: &str) -> BTreeSet<String> {
        let of_device = |(device, known): (&DeviceId, &Device)| {
            let names = known.alarms.keys().map(|key| self.alarm_name(family, device, key));
            names.collect::<Vec<_>>()
        };
        self.devices.iter().flat_map(of_device).collect()
    }

    /// What an alarm of a device is called in a family: technical ones are by device already.
    fn alarm_name(&self, family: &str, device: &DeviceId, key: &str) -> String {
        match family.contains('|') {
            true => key.to_owned(),
            false => self.name(device, key),
        }
    }

    /// The agent started anew: alarms of its devices may have ended unheard. Those that are up are
    /// said again.
    pub fn doubt_alarms(&mut self, now: WallTime) {
        self.devices.values_mut().for_each(|device| device.doubt_alarms(now));
    }

    /// What a device alarm becomes, and the key of its family: a rule for its kind, or shown as sent.
    fn device_firing(
        &self,
        rules: &RuleSet,
        alarm: &DeviceAlarm,
        since: WallTime,
    ) -> Option<(String, Firing)> {
        let place = (&alarm.device, alarm.channel.as_str());
        let (key, mut firing) = self.firing_by(rules, alarm.kind, place, alarm.priority, since)?;
        if firing.rule == OTHER_RULE {
            let said = if alarm.text.is_empty() { &alarm.code } else { &alarm.text };
            firing.message_zh = format!("{} {said}", firing.message_zh);
            firing.message_en = format!("{} {said}", firing.message_en);
        }
        (firing.metric, firing.device) = (alarm.source, Some(alarm.device.clone()));
        firing.latched = alarm.latched;
        Some((key, firing))
    }

    /// The same by its kind alone.
    pub(super) fn firing_by(
        &self,
        rules: &RuleSet,
        kind: AlarmKind,
        (device, channel): (&DeviceId, &str),
        sent: Option<Priority>,
        since: WallTime,
    ) -> Option<(String, Firing)> {
        let critical = self.is_critical(rules, device, channel);
        let id = self.rule_for(rules, kind, device);
        if let Some(rule) = rules.technical(id) {
            let mut steps = rule.steps(self.profile.monitored);
            // What has no more charge is as bad as the rule knows.
            let is_empty = kind == AlarmKind::BatteryEmpty;
            let step = if is_empty { steps.next_back() } else { steps.next() }?;
            let priority = step.priority_with(critical);
            let priority = priority.max(sent.filter(is_high).unwrap_or(priority));
            let key = self.technical_key(&rule.family, device);
            return Some((key, technical(rule, priority, since)));
        }
        let rule = rules.event(id).or_else(|| rules.event(OTHER_RULE))?;
        let priority = device_priority(rule, critical, sent);
        let says = [&*rule.message_zh, &rule.message_en];
        let mut firing = Firing::new(&rule.id, priority, since, says);
        // One that its device calls urgent is told each time.
        if priority == Priority::Low {
            firing.repeat_limit_ms = rule.repeat_limit_ms;
        }
        let is_blocked =
            matches!(kind, AlarmKind::OcclusionDownstream | AlarmKind::OcclusionUpstream);
        let infusion = self.infusion(device, channel);
        if is_blocked && !infusion.is_empty() {
            firing.message_zh = format!("{}:{infusion}", firing.message_zh);
            firing.message_en = format!("{}: {infusion}", firing.message_en);
        }
        Some((rule.family.clone(), firing))
    }

    /// The rule of a kind of alarm, of that device: pumps have their own for a battery.
    fn rule_for(&self, rules: &RuleSet, kind: AlarmKind, device: &DeviceId) -> &'static str {
        let id = kind.rule_id();
        let of_kind = self.kind_of(device);
        match kind {
            _ if rules.event(id).is_none_or(|rule| rule.is_for(of_kind)) => id,
            AlarmKind::BatteryLow | AlarmKind::BatteryEmpty => BATTERY_RULE,
            _ => OTHER_RULE,
        }
    }
}

impl Episode {
    /// Whether its box told of that alarm when it was up again: nothing else says that it is over.
    fn is_told_of(&self, device: &DeviceId, held: &Held, over: WallTime) -> bool {
        self.firing.get(ADOPTED).is_some_and(|told| {
            let is_it = told.rule == held.rule && told.metric == held.source;
            told.of_box && is_it && told.device.as_ref() == Some(device) && told.since <= over
        })
    }

    /// What ends now had become that urgent. Where nothing else holds, that calls nobody any more.
    fn had_risen(&mut self, now: WallTime, name: &str, priority: Priority) {
        let others = self.firing.keys().any(|known| known != name && known != ADOPTED);
        let Some(rule) = self.firing.get(name).map(|firing| firing.rule.clone()) else { return };
        let less = |alert: &mut Alert| alert.condition().is_active() && alert.priority < priority;
        let Some(mut alert) = self.alert.take_if(less) else { return };
        alert.priority = priority;
        if others {
            alert.tell(now, TimelineEvent::PriorityRose, None, rule);
            self.rise(&mut alert, now);
        }
        self.alert = Some(alert);
    }
}

impl Device {
    /// The device was away: its alarms may have ended unheard.
    pub(super) fn doubt_alarms(&mut self, now: WallTime) {
        if !self.alarms.is_empty() {
            let until = WallTime::from_unix_ms(now.unix_ms().saturating_add(SAID_AGAIN_MS));
            self.doubt = Some(Doubt { alarms: self.alarms.keys().cloned().collect(), until });
        }
    }

    /// It was back at that moment, of which the news came late: what it said again is right behind.
    pub(super) fn was_back(&mut self, at: WallTime, now: WallTime) {
        let until = after(at, SAID_AGAIN_MS).max(after(now, TOLD_ON_MS));
        if let Some(doubt) = &mut self.doubt {
            doubt.until = doubt.until.min(until);
        }
    }

    /// The device spoke of that alarm.
    fn trust(&mut self, key: &str) {
        if let Some(doubt) = &mut self.doubt {
            doubt.alarms.remove(key);
        }
    }

    fn remember_over(&mut self, over: Over) {
        let until_ms = over.until.unix_ms();
        self.over.retain(|known| until_ms.saturating_sub(known.until.unix_ms()) <= OVER_KEPT_MS);
        if self.over.len() < ALARMS_MAX {
            self.over.push(over);
        }
    }

    /// Whether a device alarm of that rule held at that moment, about that metric and channel as far
    /// as it says what it is about.
    pub(super) fn holds(&self, rule: &str, at: WallTime, about: Option<(Class, &str)>) -> bool {
        let held = |key: &str, alarm: &Held| {
            let channel = key.rsplit_once('|').map_or("", |(_, channel)| channel);
            let concerns = about.is_none_or(|(class, of)| {
                alarm.source.is_none_or(|source| source.row().class == class)
                    && (channel.is_empty() || channel == of)
            });
            alarm.rule == rule && alarm.since <= at && concerns
        };
        self.alarms.iter().any(|(key, alarm)| held(key, alarm))
            || self.over.iter().any(|over| at < over.until && held(&over.key, &over.held))
    }
}

/// By what an alarm of a device is known.
fn key_of(alarm: &DeviceAlarm) -> String {
    format!("{}|{}", alarm.code, alarm.channel.as_str())
}

/// A high priority of the device is never lowered, whatever the rule says.
fn is_high(priority: &Priority) -> bool {
    *priority == Priority::High
}

fn device_priority(rule: &EventRule, critical: bool, sent: Option<Priority>) -> Priority {
    let own = rule.priority_with(critical);
    match (rule.from_device, sent) {
        (_, Some(Priority::High)) => Priority::High,
        (Some(FromDevice::AtLeast), Some(sent)) => sent.max(own),
        (Some(FromDevice::AsSent), Some(sent)) => sent,
        _ => own,
    }
}
