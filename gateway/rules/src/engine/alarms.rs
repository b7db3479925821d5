//! Device alarms: what a device itself signals becomes an alert.

use super::{Engine, life::Firing, technical};
use crate::{
    alert::Alert,
    freshness::{Freshness, Moment},
    rule::{EventRule, FromDevice, RuleSet},
};
use model::{
    alarm::{AlarmPhase, DeviceAlarm, Priority},
    metric::{Class, Metric},
    time::WallTime,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// What is shown for an alarm no rule names.
const OTHER_RULE: &str = "DEV-OTHER";
/// A driver says again what is up within seconds of hearing its device; a slow station takes 30 s.
const SAID_AGAIN_MS: i64 = 60_000;
/// Device alarms that hold at once; a pump has sixteen flags.
const ALARMS_MAX: usize = 64;

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
        let at = said.at;
        let fresh = Freshness::of_stream(said, now) == Freshness::Fresh;
        let key = format!("{}|{}", alarm.code, alarm.channel.as_str());
        let id = alarm.kind.rule_id();
        let mut touched = BTreeSet::new();
        if fresh && self.is_after_silence(at) {
            self.end_silence(rules, now, &mut touched);
        }
        match alarm.phase {
            AlarmPhase::Start | AlarmPhase::Update => {
                self.trust(&key);
                let room = self.alarms.contains_key(&key) || self.alarms.len() < ALARMS_MAX;
                if room {
                    let (rule, source) = (id.to_owned(), alarm.source);
                    let held = Held { rule, since: at, source };
                    let since = self.alarms.entry(key.clone()).or_insert(held).since;
                    if let Some((family, mut firing)) = device_firing(rules, id, alarm, since) {
                        (firing.late, firing.time_suspect) = (!fresh, said.suspect);
                        self.episodes.entry(family.clone()).or_default().fire(key, firing);
                        touched.insert(family);
                    }
                }
            }
            AlarmPhase::End => self.end_alarm(&key, &mut touched),
        }
        let mut changed = self.settle(rules, now, at, touched);
        if fresh {
            changed.extend(self.known_again(now));
        }
        changed
    }

    pub(super) fn end_alarm(&mut self, key: &str, touched: &mut BTreeSet<String>) {
        self.trust(key);
        if self.alarms.remove(key).is_none() {
            return;
        }
        for (family, episode) in &mut self.episodes {
            if episode.is_firing(key) {
                episode.cease(key);
                touched.insert(family.clone());
            }
        }
    }

    /// The agent started anew, or the device was away: its alarms may have ended unheard. Those
    /// that are up are said again.
    pub fn doubt_alarms(&mut self, now: WallTime) {
        if !self.alarms.is_empty() {
            let until = WallTime::from_unix_ms(now.unix_ms().saturating_add(SAID_AGAIN_MS));
            self.doubt = Some(Doubt { alarms: self.alarms.keys().cloned().collect(), until });
        }
    }

    /// The device spoke of that alarm.
    fn trust(&mut self, key: &str) {
        if let Some(doubt) = &mut self.doubt {
            doubt.alarms.remove(key);
        }
    }

    /// Whether a device alarm of that rule held at that moment, about that metric and channel as far
    /// as it says what it is about.
    pub(super) fn holds(&self, rule: &str, at: WallTime, about: Option<(Class, &str)>) -> bool {
        self.alarms.iter().any(|(key, alarm)| {
            let channel = key.rsplit_once('|').map_or("", |(_, channel)| channel);
            let concerns = about.is_none_or(|(class, of)| {
                alarm.source.is_none_or(|source| source.row().class == class)
                    && (channel.is_empty() || channel == of)
            });
            alarm.rule == rule && alarm.since <= at && concerns
        })
    }
}

/// What a device alarm becomes: a rule for its kind, or shown as sent.
fn device_firing(
    rules: &RuleSet,
    id: &str,
    alarm: &DeviceAlarm,
    since: WallTime,
) -> Option<(String, Firing)> {
    if let Some(rule) = rules.technical(id) {
        let step = rule.steps.iter().find(|step| !step.conditional)?;
        let priority = step.priority.max(alarm.priority.filter(is_high).unwrap_or(step.priority));
        let mut firing = technical(rule, priority, since);
        firing.metric = alarm.source;
        return Some((rule.family.clone(), firing));
    }
    let rule = rules.event(id).or_else(|| rules.event(OTHER_RULE))?;
    let priority = device_priority(rule, alarm.priority);
    let mut firing = Firing::new(&rule.id, priority, since, [&rule.message_zh, &rule.message_en]);
    firing.metric = alarm.source;
    if rule.id == OTHER_RULE {
        let said = if alarm.text.is_empty() { &alarm.code } else { &alarm.text };
        firing.message_zh = format!("{} {said}", firing.message_zh);
        firing.message_en = format!("{} {said}", firing.message_en);
    }
    Some((rule.family.clone(), firing))
}

/// A high priority of the device is never lowered, whatever the rule says.
fn is_high(priority: &Priority) -> bool {
    *priority == Priority::High
}

fn device_priority(rule: &EventRule, sent: Option<Priority>) -> Priority {
    match (rule.from_device, sent) {
        (_, Some(Priority::High)) => Priority::High,
        (Some(FromDevice::AtLeast), Some(sent)) => sent.max(rule.priority),
        (Some(FromDevice::AsSent), Some(sent)) => sent,
        _ => rule.priority,
    }
}
