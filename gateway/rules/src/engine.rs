//! Runs the rules for one device: readings, device alarms and status in, changed alerts out.
//!
//! Not here: patients. Until one is bound, the device is the subject and the rules are those of
//! adults.
//!
//! # Invariants
//! - a reading older than the last evaluated of its series never touches a live alert
//! - the passing of time alone never completes a sustain
//! - suppression stops new alerts and clears nothing

mod life;
mod series;

use crate::{
    alert::{AckReason, AcknowledgeError, Alert, AlertId},
    compare::meets,
    freshness::{Freshness, Position},
    rule::{EventRule, FromDevice, RuleSet, Step, TechnicalRule, Threshold},
};
use life::{Episode, Firing};
use model::{
    alarm::{AlarmPhase, DeviceAlarm, Priority},
    decimal::Decimal,
    device::{DeviceKind, DeviceState, DeviceStatus},
    id::{DeviceId, SiteId},
    metric::{Class, Metric},
    reading::{Comparator, NoData, Occurrence, Reading, ReadingGroup, Validity},
    time::WallTime,
};
use serde::{Deserialize, Serialize};
use series::{Judged, Series};
use std::collections::{BTreeMap, BTreeSet};

/// A late spot value may still raise an alert when it is at most this old (late data, row 5).
const SPOT_TELLS_PRESENT_MS: i64 = 4 * 3_600_000;
/// A lower rank of the heart-rate class is read when the higher is silent this long.
const RANK_SILENT_MS: i64 = 10_000;
/// The rule of a device that says nothing.
const SILENT_RULE: &str = "TECH-SILENT";
/// What is shown for an alarm no rule names.
const OTHER_RULE: &str = "DEV-OTHER";
/// A driver says again what is up within seconds of hearing its device; a slow station takes 30 s.
const SAID_AGAIN_MS: i64 = 60_000;
/// Device alarms that hold at once; a pump has sixteen flags.
const ALARMS_MAX: usize = 64;

/// A reading group to evaluate.
#[derive(Clone, Copy, Debug)]
pub struct ReadingInput<'a> {
    /// The group.
    pub group: &'a ReadingGroup,
    /// When it was measured.
    pub t_meas: WallTime,
    /// Whether it tells the present.
    pub freshness: Freshness,
    /// Orders readings of the same moment.
    pub position: Position,
}

/// What the rules know of one device.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Engine {
    site: SiteId,
    device: DeviceId,
    kind: Option<DeviceKindName>,
    /// Rule and series → where it stands.
    series: BTreeMap<String, Series>,
    /// Series → `t_meas` of its newest evaluated reading.
    newest: BTreeMap<String, WallTime>,
    /// Ranks of the heart-rate class: when heard, and whether with a value.
    ranks: BTreeMap<u8, (WallTime, bool)>,
    /// The rank in use.
    rank: Option<u8>,
    /// Class → latest value, for rules that need two.
    latest: BTreeMap<String, (WallTime, String)>,
    /// Device alarms that hold, by code: rule and begin.
    alarms: BTreeMap<String, (String, WallTime)>,
    /// Device alarms that began before the device or its agent was away; what is not said again
    /// until then is over.
    #[serde(default)]
    doubtful: BTreeSet<String>,
    #[serde(default)]
    doubtful_until: Option<WallTime>,
    silent_since: Option<WallTime>,
    /// Family → what fires and the alert.
    episodes: BTreeMap<String, Episode>,
}

/// A device kind by its name in the rule set.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
enum DeviceKindName {
    Monitor,
    Pump,
    Cuff,
    GlucoseMeter,
}

impl From<DeviceKind> for DeviceKindName {
    fn from(kind: DeviceKind) -> Self {
        match kind {
            DeviceKind::Monitor => Self::Monitor,
            DeviceKind::Pump => Self::Pump,
            DeviceKind::Cuff => Self::Cuff,
            DeviceKind::GlucoseMeter => Self::GlucoseMeter,
        }
    }
}

impl From<DeviceKindName> for DeviceKind {
    fn from(kind: DeviceKindName) -> Self {
        match kind {
            DeviceKindName::Monitor => Self::Monitor,
            DeviceKindName::Pump => Self::Pump,
            DeviceKindName::Cuff => Self::Cuff,
            DeviceKindName::GlucoseMeter => Self::GlucoseMeter,
        }
    }
}

/// One reading as rules see it.
struct Seen<'a> {
    metric: Metric,
    series: &'a str,
    value: Decimal,
    comparator: Comparator,
    spot: bool,
    at: WallTime,
    gap: bool,
    /// Late: only what is urgent may sound.
    late: bool,
}

impl Engine {
    /// A device nobody has heard of.
    #[must_use]
    pub fn new(site: SiteId, device: DeviceId) -> Self {
        Self {
            site,
            device,
            kind: None,
            series: BTreeMap::new(),
            newest: BTreeMap::new(),
            ranks: BTreeMap::new(),
            rank: None,
            latest: BTreeMap::new(),
            alarms: BTreeMap::new(),
            doubtful: BTreeSet::new(),
            doubtful_until: None,
            silent_since: None,
            episodes: BTreeMap::new(),
        }
    }

    /// Takes in a reading group; hands out the alerts that changed.
    pub fn on_readings(
        &mut self,
        rules: &RuleSet,
        now: WallTime,
        input: ReadingInput<'_>,
    ) -> Vec<Alert> {
        let ReadingInput { group, t_meas, freshness, .. } = input;
        let spot = group.occurrence == Occurrence::Spot;
        let age_ms = now.unix_ms().saturating_sub(t_meas.unix_ms());
        let tells_present = match (freshness, spot) {
            (Freshness::Fresh, _) => true,
            (_, true) => age_ms <= SPOT_TELLS_PRESENT_MS,
            (_, false) => false,
        };
        if !tells_present {
            return Vec::new();
        }
        let late = freshness != Freshness::Fresh;
        let mut touched = BTreeSet::new();
        for reading in &group.readings {
            self.take(rules, group, reading, t_meas, (spot, late), &mut touched);
        }
        let mut changed = Vec::new();
        if !spot && group.readings.iter().any(|reading| reading.value != Err(NoData::Silent)) {
            changed = self.speak_again(rules, now, &mut touched);
        }
        changed.extend(self.settle(rules, now, t_meas, touched));
        changed
    }

    fn take(
        &mut self,
        rules: &RuleSet,
        group: &ReadingGroup,
        reading: &Reading,
        t_meas: WallTime,
        (spot, late): (bool, bool),
        touched: &mut BTreeSet<String>,
    ) {
        let class = reading.metric.row().class;
        let name = format!("{}|{}", reading.metric, group.channel.as_str());
        let newest = self.newest.get(&name).copied();
        if newest.is_some_and(|newest| t_meas < newest) {
            return;
        }
        let gap = newest.is_none_or(|newest| {
            t_meas.unix_ms().saturating_sub(newest.unix_ms()) > rules.gap_ms(self.kind())
        });
        self.newest.insert(name.clone(), t_meas);
        let value = reading.canonical().filter(|_| reading.validity != Validity::Invalid);
        if class == Class::Hr && !self.rank_is_read(reading.metric, t_meas, value.is_some()) {
            return;
        }
        let Some((value, comparator)) = value else { return };
        self.latest.insert(class.name().to_owned(), (t_meas, value.to_string()));
        // The ranks of the heart rate are one series; everything else is its own.
        let series = if class == Class::Hr { "hr" } else { name.as_str() };
        let metric = reading.metric;
        let seen = Seen { metric, series, value, comparator, spot, at: t_meas, gap, late };
        for rule in rules.thresholds(class) {
            self.judge(rule, &seen, touched);
        }
        let kind = self.kind();
        for rule in rules.technical_of(class).filter(|rule| rule.is_for(kind)) {
            self.judge_technical(rule, &seen, touched);
        }
    }

    /// Whether a heart rate of that metric is the one rules read now.
    fn rank_is_read(&mut self, metric: Metric, t_meas: WallTime, has_value: bool) -> bool {
        let rank = metric.row().class_rank.unwrap_or(u8::MAX);
        self.ranks.insert(rank, (t_meas, has_value));
        let higher_speaks = self.ranks.range(..rank).any(|(_, (heard, with_value))| {
            *with_value && t_meas.unix_ms().saturating_sub(heard.unix_ms()) < RANK_SILENT_MS
        });
        if higher_speaks || !has_value {
            return false;
        }
        if self.rank.replace(rank).is_some_and(|before| before != rank) {
            // Another way of measuring begins its sustain and its hold anew, and clears nothing.
            for (_, series) in self.series.iter_mut().filter(|(key, _)| key.ends_with("|hr")) {
                series.begin_anew();
            }
        }
        true
    }

    fn judge(&mut self, rule: &Threshold, seen: &Seen<'_>, touched: &mut BTreeSet<String>) {
        let Some(mut outside) = meets(rule.op, rule.limit, seen.value, seen.comparator) else {
            return;
        };
        if let Some(also) = &rule.also {
            outside &= self.latest.get(also.class.name()).is_some_and(|(at, value)| {
                let near =
                    seen.at.unix_ms().abs_diff(at.unix_ms()) <= also.window_ms.unsigned_abs();
                let value: Option<Decimal> = value.parse().ok();
                near && value.is_some_and(|value| {
                    meets(also.op, also.limit, value, Comparator::Equal) == Some(true)
                })
            });
        }
        if outside && seen.late && rule.priority == Priority::Low {
            return;
        }
        let suppressed =
            (rule.suppress_lead_off && self.rank == Some(1) && self.holds("TECH-LEADOFF"))
                || (rule.suppress_probe_off && self.holds("TECH-PROBEOFF"));
        let key = format!("{}|{}", rule.id, seen.series);
        let series = self.series.entry(key.clone()).or_default();
        let judged = if seen.spot {
            series.spot(seen.at, outside, suppressed, rule.promote)
        } else {
            let clears = rule.clear.is_none_or(|(op, value, _)| {
                meets(op, value, seen.value, seen.comparator) == Some(true)
            });
            let hold_ms = rule.clear.map_or(0, |(_, _, hold_ms)| hold_ms);
            if seen.gap {
                series.begin_anew();
            }
            series.stream(seen.at, outside && !suppressed, clears, rule.sustain_ms, hold_ms)
        };
        let began = self.began(rule, seen);
        let episode = self.episodes.entry(rule.family.clone()).or_default();
        match judged {
            Judged::Firing { promoted } => {
                let priority = promoted.unwrap_or(rule.priority);
                let limit = format!("{} {}", rule.op.sign(), rule.limit);
                episode.fire(
                    key,
                    Firing {
                        rule: rule.id.clone(),
                        priority,
                        since: began,
                        metric: Some(seen.metric),
                        value: outside.then(|| seen.value.to_string()),
                        comparator: sign(seen.comparator),
                        limit: Some(limit),
                        message_zh: rule.message_zh.clone(),
                        message_en: rule.message_en.clone(),
                    },
                );
                touched.insert(rule.family.clone());
            }
            Judged::Cleared => {
                episode.cease(&key);
                touched.insert(rule.family.clone());
            }
            Judged::Quiet => {}
        }
    }

    /// `t_meas` of the first reading outside any rule of the family: the episode's begin.
    fn began(&self, rule: &Threshold, seen: &Seen<'_>) -> WallTime {
        let key = format!("{}|{}", rule.id, seen.series);
        let own = self.series.get(&key).and_then(Series::outside_since).unwrap_or(seen.at);
        let earlier = self.episodes.get(&rule.family).and_then(Episode::pending_since);
        earlier.map_or(own, |earlier| earlier.min(own))
    }

    fn judge_technical(
        &mut self,
        rule: &TechnicalRule,
        seen: &Seen<'_>,
        touched: &mut BTreeSet<String>,
    ) {
        let zero = Decimal::ZERO;
        let value = match rule.absolute && seen.value < zero {
            true => Decimal::new(-seen.value.mantissa(), seen.value.exponent()).unwrap_or(zero),
            false => seen.value,
        };
        let holds = |step: &&Step| {
            step.test
                .is_some_and(|(op, limit)| meets(op, limit, value, Comparator::Equal) == Some(true))
        };
        let step = rule.steps.iter().filter(|step| !step.conditional).rfind(holds);
        let key = format!("{}|{}", rule.id, seen.series);
        let episode = self.episodes.entry(rule.family.clone()).or_default();
        match step {
            Some(step) => {
                let limit = step.test.map(|(op, limit)| format!("{} {limit}", op.sign()));
                let mut firing = technical(rule, step.priority, seen.at);
                firing.metric = Some(seen.metric);
                firing.value = Some(seen.value.to_string());
                firing.limit = limit;
                episode.fire(key, firing);
                touched.insert(rule.family.clone());
            }
            None if episode.is_firing(&key) => {
                episode.cease(&key);
                touched.insert(rule.family.clone());
            }
            None => {}
        }
    }

    /// Takes in a device's own alarm; hands out the alerts that changed.
    pub fn on_alarm(
        &mut self,
        rules: &RuleSet,
        now: WallTime,
        alarm: &DeviceAlarm,
        freshness: Freshness,
    ) -> Vec<Alert> {
        let at = alarm.observed.at;
        let key = format!("{}|{}", alarm.code, alarm.channel.as_str());
        let id = alarm.kind.rule_id();
        let mut touched = BTreeSet::new();
        match alarm.phase {
            AlarmPhase::Start | AlarmPhase::Update => {
                let known = self.alarms.contains_key(&key) || self.alarms.len() < ALARMS_MAX;
                // What began long ago and is not over is history until the device speaks of it again.
                if !known || freshness == Freshness::Backfill {
                    return Vec::new();
                }
                self.doubtful.remove(&key);
                let (_, since) =
                    self.alarms.entry(key.clone()).or_insert((id.to_owned(), at)).clone();
                if let Some((family, firing)) = device_firing(rules, id, alarm, since) {
                    self.episodes.entry(family.clone()).or_default().fire(key, firing);
                    touched.insert(family);
                }
            }
            AlarmPhase::End => self.end_alarm(&key, &mut touched),
        }
        self.settle(rules, now, at, touched)
    }

    fn end_alarm(&mut self, key: &str, touched: &mut BTreeSet<String>) {
        self.doubtful.remove(key);
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
            self.doubtful = self.alarms.keys().cloned().collect();
            self.doubtful_until =
                Some(WallTime::from_unix_ms(now.unix_ms().saturating_add(SAID_AGAIN_MS)));
        }
    }

    /// Takes in a device's status; hands out the alerts that changed.
    pub fn on_status(
        &mut self,
        rules: &RuleSet,
        now: WallTime,
        status: &DeviceStatus,
    ) -> Vec<Alert> {
        self.kind = Some(status.kind.into());
        let at = status.observed.at;
        let mut touched = BTreeSet::new();
        let mut changed = Vec::new();
        match status.state {
            DeviceState::Online => changed = self.speak_again(rules, now, &mut touched),
            // The port is back; whether the device is, its driver says.
            DeviceState::Waiting => {}
            DeviceState::Silent | DeviceState::LinkDown | DeviceState::Removed => {
                self.silent_since.get_or_insert(at);
            }
        }
        changed.extend(self.settle(rules, now, at, touched));
        changed.extend(self.on_time(rules, now));
        changed
    }

    /// The device is no longer silent: what nobody knew is known again.
    fn speak_again(
        &mut self,
        rules: &RuleSet,
        now: WallTime,
        touched: &mut BTreeSet<String>,
    ) -> Vec<Alert> {
        if self.silent_since.take().is_none() {
            return Vec::new();
        }
        self.doubt_alarms(now);
        if let Some(rule) = rules.technical(SILENT_RULE)
            && let Some(episode) = self.episodes.get_mut(&rule.family)
        {
            episode.cease(SILENT_RULE);
        }
        touched.extend(self.episodes.keys().cloned());
        self.episodes.values_mut().filter_map(|episode| episode.become_known(now)).collect()
    }

    /// Lets time pass: silence, and alerts that close by themselves.
    pub fn on_time(&mut self, rules: &RuleSet, now: WallTime) -> Vec<Alert> {
        let mut touched = BTreeSet::new();
        let mut changed = Vec::new();
        if let (Some(rule), Some(since)) = (rules.technical(SILENT_RULE), self.silent_since) {
            let elapsed = now.unix_ms().saturating_sub(since.unix_ms());
            let step = rule
                .steps
                .iter()
                .filter(|step| !step.conditional)
                .rfind(|step| step.after_ms <= elapsed);
            if let Some(step) = step {
                let firing = technical(rule, step.priority, since);
                self.episodes
                    .entry(rule.family.clone())
                    .or_default()
                    .fire(SILENT_RULE.to_owned(), firing);
                touched.insert(rule.family.clone());
                // What was true when it fell silent may still be: nobody knows.
                let others = self.episodes.iter_mut().filter(|(family, _)| **family != rule.family);
                changed.extend(others.filter_map(|(_, episode)| episode.become_unknown(now)));
            }
        }
        if self.silent_since.is_none() && self.doubtful_until.is_some_and(|until| until <= now) {
            self.doubtful_until = None;
            for key in std::mem::take(&mut self.doubtful) {
                self.end_alarm(&key, &mut touched);
            }
        }
        changed.extend(self.settle(rules, now, now, touched));
        changed
            .extend(self.episodes.values_mut().filter_map(|episode| episode.close_by_itself(now)));
        changed
    }

    /// When `on_time` has something to do next.
    #[must_use]
    pub fn next_deadline(&self, rules: &RuleSet) -> Option<WallTime> {
        let closing = self.episodes.values().filter_map(Episode::closes_at);
        let silent =
            self.silent_since.zip(rules.technical(SILENT_RULE)).and_then(|(since, rule)| {
                let present = self.episodes.get(&rule.family).and_then(Episode::present);
                let mut next = rule
                    .steps
                    .iter()
                    .filter(|step| !step.conditional && Some(step.priority) > present);
                next.next().map(|step| {
                    WallTime::from_unix_ms(since.unix_ms().saturating_add(step.after_ms))
                })
            });
        let doubt = self.doubtful_until.filter(|_| self.silent_since.is_none());
        closing.chain(silent).chain(doubt).min()
    }

    /// A person has an alert in hand.
    ///
    /// # Errors
    /// When it is over, or somebody was first.
    pub fn acknowledge(
        &mut self,
        id: AlertId,
        by: &str,
        reason: AckReason,
        note: &str,
        now: WallTime,
    ) -> Result<Alert, AcknowledgeError> {
        let found = self
            .episodes
            .values_mut()
            .find(|episode| episode.alert().is_some_and(|alert| alert.id == id));
        found.ok_or(AcknowledgeError::NotFound)?.acknowledge(by, reason, note, now)
    }

    /// Alerts that are not closed.
    pub fn alerts(&self) -> impl Iterator<Item = &Alert> {
        self.episodes
            .values()
            .filter_map(Episode::alert)
            .filter(|alert| alert.state != crate::alert::AlertState::Closed)
    }

    /// Turns what fires now into alerts.
    fn settle(
        &mut self,
        rules: &RuleSet,
        now: WallTime,
        t_meas: WallTime,
        touched: BTreeSet<String>,
    ) -> Vec<Alert> {
        let silent = self.silent_since.is_some() && rules.technical(SILENT_RULE).is_some();
        let mut changed = Vec::new();
        for family in touched {
            let (site, device) = (self.site.clone(), self.device.clone());
            if let Some(episode) = self.episodes.get_mut(&family) {
                changed.extend(episode.settle(site, device, &family, now, t_meas, silent));
            }
        }
        changed
    }

    fn holds(&self, rule: &str) -> bool {
        self.alarms.values().any(|(id, _)| id == rule)
    }

    fn kind(&self) -> Option<DeviceKind> {
        self.kind.map(Into::into)
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
        let mut firing = technical(rule, step.priority, since);
        firing.metric = alarm.source;
        return Some((rule.family.clone(), firing));
    }
    let rule = rules.event(id).or_else(|| rules.event(OTHER_RULE))?;
    let mut firing = Firing {
        rule: rule.id.clone(),
        priority: device_priority(rule, alarm.priority),
        since,
        metric: alarm.source,
        value: None,
        comparator: None,
        limit: None,
        message_zh: rule.message_zh.clone(),
        message_en: rule.message_en.clone(),
    };
    if rule.id == OTHER_RULE {
        let said = if alarm.text.is_empty() { &alarm.code } else { &alarm.text };
        firing.message_zh = format!("{} {said}", firing.message_zh);
        firing.message_en = format!("{} {said}", firing.message_en);
    }
    Some((rule.family.clone(), firing))
}

fn device_priority(rule: &EventRule, sent: Option<Priority>) -> Priority {
    match (rule.from_device, sent) {
        (Some(FromDevice::AtLeast), Some(sent)) => sent.max(rule.priority),
        (Some(FromDevice::AsSent), Some(sent)) => sent,
        _ => rule.priority,
    }
}

fn technical(rule: &TechnicalRule, priority: Priority, since: WallTime) -> Firing {
    Firing {
        rule: rule.id.clone(),
        priority,
        since,
        metric: None,
        value: None,
        comparator: None,
        limit: None,
        message_zh: rule.message_zh.clone(),
        message_en: rule.message_en.clone(),
    }
}

fn sign(comparator: Comparator) -> Option<String> {
    match comparator {
        Comparator::Equal => None,
        Comparator::Below => Some("<".to_owned()),
        Comparator::Above => Some(">".to_owned()),
    }
}

#[cfg(test)]
mod tests;
