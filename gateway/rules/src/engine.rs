//! Runs the rules for one subject: readings, device alarms and status in, changed alerts out.
//!
//! Not here: which device is whose (`binding`); whoever feeds an engine asks there.
//!
//! # Invariants
//! - a reading older than the last evaluated of its series never touches a live alert
//! - the passing of time alone never completes a sustain
//! - suppression stops new alerts and clears nothing
//! - what a device said ends when it leaves, and never silently

mod alarms;
mod audit;
mod battery;
mod county;
mod device;
mod edge;
mod firing;
mod identity;
mod judge;
pub(crate) mod late;
mod life;
mod moved;
mod pending;
mod people;
mod pump;
mod score;
mod series;
mod service;
mod silence;
mod stored;
mod timer;
mod unit;
mod upkeep;

pub use alarms::Before;
pub use device::Moved;
pub use edge::EdgeTimes;
use pending::Waiting;
pub use pending::{Number, Pending};
pub use people::{Action, ActionError};

use crate::{
    alert::{Alert, AlertState},
    binding::Subject,
    compare::meets,
    freshness::{BoxClock, BoxTime, Clocks, Freshness, Moment},
    population::{Facts, Profile},
    rule::{RuleSet, TechnicalRule},
};
use device::Device;
pub(crate) use firing::CHECK;
use firing::Firing;
use identity::Identity;
use judge::Latest;
use life::{Episode, Whose};
use model::{
    alarm::Priority,
    decimal::Decimal,
    device::DeviceKind,
    id::{DeviceId, SiteId},
    metric::Metric,
    reading::{Comparator, NoData, Occurrence, Reading, ReadingGroup},
    time::{ClockQuality, Observed, WallTime},
    units::Unit,
};
use serde::{Deserialize, Serialize};
use series::Series;
use std::collections::{BTreeMap, BTreeSet};

/// A late spot value may still raise an alert when it is at most this old (late data, row 5).
const SPOT_TELLS_PRESENT_MS: i64 = 4 * 3_600_000;
/// The rule of a patient whose age nobody knows.
const AGE_RULE: &str = "TECH-AGE-UNKNOWN";
/// Rules of what is found here and not by a number of the rule itself: no other id does for them.
pub(crate) const BY_ID: [&str; 14] = [
    AGE_RULE,
    alarms::OTHER_RULE,
    alarms::BATTERY_RULE,
    alarms::LEAD_OFF_RULE,
    alarms::PROBE_OFF_RULE,
    audit::RULE,
    identity::RULE,
    pump::STOPPED_RULE,
    pump::NEAR_END_RULE,
    silence::SILENT_RULE,
    silence::BOX_RULE,
    unit::RULE,
    upkeep::STORAGE,
    upkeep::CERTIFICATE,
];

/// A reading group to evaluate. Whoever feeds it puts those of one moment in order.
#[derive(Clone, Copy, Debug)]
pub struct ReadingInput<'a> {
    /// The group.
    pub group: &'a ReadingGroup,
    /// When it was measured.
    pub t_meas: Moment,
    /// Whether it tells the present.
    pub freshness: Freshness,
}

/// What the rules know of one subject.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(from = "stored::Stored")]
pub struct Engine {
    site: SiteId,
    subject: Subject,
    /// What decides which rules apply.
    #[serde(skip_serializing_if = "is_nobodys")]
    profile: Profile,
    /// How far the clock of whoever wrote the profile is ahead of that of readings.
    #[serde(skip)]
    profile_ahead_ms: i64,
    /// What of it was so at the newest reading, and when that was.
    facts: Option<(WallTime, Facts)>,
    /// What is known of each device of the subject.
    devices: BTreeMap<DeviceId, Device>,
    /// Rule and series → where it stands.
    series: BTreeMap<String, Series>,
    /// Series → `t_meas` of its newest reading with a value: a gap is the time without one.
    valued: BTreeMap<String, WallTime>,
    /// Class → `t_meas` of its newest spot value.
    spots: BTreeMap<String, WallTime>,
    /// The rank of the heart-rate class in use.
    rank: Option<u8>,
    /// Class → latest value, for rules that need two.
    latest: BTreeMap<String, Latest>,
    /// Series → its last results, the first first: one may turn out to be somebody else's.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    results: BTreeMap<String, Vec<Latest>>,
    /// When the newest complete observation set was.
    scored_at: Option<WallTime>,
    /// The clock of the box, when this is its engine.
    box_clock: BoxClock,
    /// Which box it was, when this is its engine.
    identity: Identity,
    /// The edge box is out of reach since.
    box_lost: Option<WallTime>,
    /// Its alerts became unknown with the box, and it has not been heard since.
    cut_off: bool,
    /// Family → until when its box told of it: what it had heard by then it has judged.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    told_until: BTreeMap<String, WallTime>,
    /// Families of which nothing held by that word.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    told_over: BTreeSet<String>,
    /// When a device alarm, or what a box told of one, came late for the last time: what was over
    /// since is told right behind it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    late_word: Option<WallTime>,
    /// Family → what fires and the alert. Technical ones of a patient's devices are by device.
    episodes: BTreeMap<String, Episode>,
    /// What the newest reading group left pending.
    #[serde(skip)]
    waiting: Waiting,
}

impl Engine {
    /// A subject nobody has heard of.
    #[must_use]
    pub fn new(site: SiteId, subject: Subject) -> Self {
        Self {
            site,
            subject,
            profile: Profile::default(),
            profile_ahead_ms: 0,
            facts: None,
            devices: BTreeMap::new(),
            series: BTreeMap::new(),
            valued: BTreeMap::new(),
            spots: BTreeMap::new(),
            rank: None,
            latest: BTreeMap::new(),
            results: BTreeMap::new(),
            scored_at: None,
            box_clock: BoxClock::default(),
            identity: Identity::default(),
            box_lost: None,
            cut_off: false,
            told_until: BTreeMap::new(),
            told_over: BTreeSet::new(),
            late_word: None,
            episodes: BTreeMap::new(),
            waiting: Waiting::default(),
        }
    }

    /// Whom its alerts are about.
    #[must_use]
    pub const fn subject(&self) -> &Subject {
        &self.subject
    }

    /// What decides which rules apply.
    #[must_use]
    pub const fn profile(&self) -> &Profile {
        &self.profile
    }

    /// Another profile holds from now on; hands out the alerts that changed.
    ///
    /// What fires by a rule that does not apply any more ends; one that applies since now waits for
    /// the next reading.
    pub fn set_profile(&mut self, rules: &RuleSet, now: WallTime, profile: Profile) -> Vec<Alert> {
        self.set_profile_where(rules, now, profile, true)
    }

    /// The same of a patient with devices at several sites, each of which has an engine: one of them
    /// tells what is of the patient and not of what was measured.
    pub fn set_profile_where(
        &mut self,
        rules: &RuleSet,
        now: WallTime,
        profile: Profile,
        tells_age: bool,
    ) -> Vec<Alert> {
        self.profile = profile;
        let mut touched = BTreeSet::new();
        self.facts_at(rules, now, &mut touched);
        self.judge_age(rules, now, tells_age, &mut touched);
        let mut changed = self.settle(now, now, touched, false);
        changed.extend(self.on_time(rules, now));
        changed
    }

    /// Whether it says that nobody knows how old the patient is.
    #[must_use]
    pub fn tells_age(&self, rules: &RuleSet) -> bool {
        let told = |rule: &TechnicalRule| {
            self.episodes.get(&rule.family).is_some_and(|episode| episode.is_firing(&rule.id))
        };
        rules.technical(AGE_RULE).is_some_and(told)
    }

    /// From now on it does, where that is so, or another one does; hands out the alerts that changed.
    pub fn tell_age(&mut self, rules: &RuleSet, now: WallTime, tells_age: bool) -> Vec<Alert> {
        let mut touched = BTreeSet::new();
        self.judge_age(rules, now, tells_age, &mut touched);
        self.settle(now, now, touched, false)
    }

    fn judge_age(
        &mut self,
        rules: &RuleSet,
        now: WallTime,
        tells_age: bool,
        touched: &mut BTreeSet<String>,
    ) {
        let is_patient = self.subject.patient().is_some();
        let Some(rule) = rules.technical(AGE_RULE).filter(|_| is_patient) else { return };
        let episode = self.episodes.entry(rule.family.clone()).or_default();
        let step = rule.steps(self.profile.monitored).next();
        match step.filter(|_| tells_age && self.profile.birth.is_none()) {
            Some(step) => episode.fire(rule.id.clone(), technical(rule, step.priority, now)),
            None => episode.cease(&rule.id),
        }
        touched.insert(rule.family.clone());
    }

    /// From now on the clock of whoever writes its profile is so far ahead of that of readings. For
    /// the engines of a box, which hears of profiles by the county's clock; it is not stored.
    pub const fn set_profile_ahead(&mut self, ahead_ms: i64) {
        self.profile_ahead_ms = ahead_ms;
    }

    /// That moment by the clock of whoever wrote the profile.
    fn by_profile(&self, at: WallTime) -> WallTime {
        after(at, self.profile_ahead_ms)
    }

    /// That profile holds for what is judged from now on, and nothing is told of it: of somebody of
    /// whom nothing goes on.
    pub fn meet_profile(&mut self, profile: Profile) {
        self.profile = profile;
    }

    /// Takes in a reading group; hands out the alerts that changed.
    pub fn on_readings(
        &mut self,
        rules: &RuleSet,
        now: WallTime,
        input: ReadingInput<'_>,
    ) -> Vec<Alert> {
        self.take_group(rules, now, input, None)
    }

    /// The same of what its box heard at that moment, by the county's clock: what the box has told
    /// since says that already.
    pub fn on_readings_heard(
        &mut self,
        rules: &RuleSet,
        now: WallTime,
        input: ReadingInput<'_>,
        heard: WallTime,
    ) -> Vec<Alert> {
        self.take_group(rules, now, input, Some(heard))
    }

    fn take_group(
        &mut self,
        rules: &RuleSet,
        now: WallTime,
        input: ReadingInput<'_>,
        heard: Option<WallTime>,
    ) -> Vec<Alert> {
        let ReadingInput { group, t_meas, freshness } = input;
        self.waiting = Waiting::default();
        let spot = group.occurrence == Occurrence::Spot;
        let age_ms = now.unix_ms().saturating_sub(t_meas.at.unix_ms());
        let fresh = freshness == Freshness::Fresh;
        let known = freshness != Freshness::Backfill;
        let tells_present = fresh || (spot && known && age_ms <= SPOT_TELLS_PRESENT_MS);
        if !tells_present {
            return Vec::new();
        }
        let mut touched = BTreeSet::new();
        let late_ms = (!fresh).then_some(age_ms);
        for reading in &group.readings {
            self.take(rules, group, reading, t_meas, (spot, late_ms, heard), &mut touched);
        }
        if spot {
            self.judge_without_battery(rules, group, t_meas.at, &mut touched);
        }
        let device = &group.device;
        self.judge_near_end(rules, group, t_meas.at, &mut touched);
        let speaks = group.readings.iter().any(|reading| reading.value != Err(NoData::Silent));
        if fresh && speaks && self.is_after_silence(device, t_meas.at) {
            self.end_silence(rules, now, device, &mut touched);
        }
        let silent = self.is_silent(rules, device);
        let mut changed = self.settle(now, t_meas.at, touched, silent);
        if !fresh {
            self.ask_for_recheck(rules, now, &mut changed);
        }
        if fresh && speaks {
            changed.extend(self.known_again(now, device));
        }
        changed
    }

    /// What of a state that cannot be read any more must not be lost: what its devices are, and its
    /// alerts that are not closed. These are unknown until something speaks for them, or a person
    /// has them in hand.
    #[must_use]
    pub fn rescued(site: SiteId, subject: Subject, stored: &str) -> Self {
        let mut engine = Self::new(site, subject);
        let state: serde_json::Value = serde_json::from_str(stored).unwrap_or_default();
        let devices = state.get("devices").and_then(serde_json::Value::as_object);
        for (id, device) in devices.into_iter().flatten() {
            if let Ok(id) = DeviceId::new(id) {
                engine.devices.insert(id, Device::lasting(device));
            }
        }
        let episodes = state.get("episodes").and_then(serde_json::Value::as_object);
        for (family, episode) in episodes.into_iter().flatten() {
            let earlier = episode.get("unseen").and_then(serde_json::Value::as_array);
            let alerts = earlier.into_iter().flatten().chain(episode.get("alert"));
            for alert in alerts.filter_map(|alert| serde_json::from_value(alert.clone()).ok()) {
                engine.episodes.entry(family.clone()).or_default().adopt(alert, false);
            }
        }
        engine
    }

    /// What is known of the clocks between its device and the county, with what the group says.
    ///
    /// How far a device says that its own clock is ahead of its box is good for what it stamped,
    /// however late it arrives, and whatever becomes of the clock of the box. Where nobody knows
    /// how wrong that was, nobody knows how wrong the device's is.
    pub fn clocks(&mut self, group: &ReadingGroup, of_box: Clocks, now: WallTime) -> Clocks {
        let at = of_box.observed(group.observed.at, now).at;
        let said = group.readings.iter().find(|reading| reading.metric == Metric::CLOCK_OFFSET);
        let is_placed = !matches!(of_box.of_box, BoxTime::Before(_));
        let device = self.device(&group.device);
        let newest = is_placed && device.clock_ahead.is_none_or(|(heard, _)| heard <= at);
        if let Some((ahead, _)) = said.and_then(Reading::canonical).filter(|_| newest) {
            let ahead_ms = in_ms(ahead).map(|ms| ms.saturating_add(of_box.box_ahead_ms()));
            device.clock_ahead = ahead_ms.map(|ahead_ms| (at, ahead_ms));
        }
        Clocks {
            of_box: of_box.of_box,
            device_ahead_ms: device.clock_ahead.map(|(_, ahead_ms)| ahead_ms),
            tells_at_once: matches!(device.kind, Some(DeviceKind::Cuff | DeviceKind::Monitor)),
        }
    }

    /// How far the edge box is ahead of the county, when this is its engine.
    #[must_use]
    pub fn box_ahead_ms(&self) -> i64 {
        self.box_clock.ahead_ms()
    }

    /// The edge box said just now that it is `at`; hands out the alerts that changed.
    pub fn hear_box_clock(&mut self, rules: &RuleSet, now: WallTime, at: WallTime) -> Vec<Alert> {
        self.box_clock.hear(at, now);
        let Some(ahead) = Decimal::new(self.box_clock.ahead_ms(), -3) else { return Vec::new() };
        let reading = Reading::number(Metric::CLOCK_OFFSET, ahead, Unit::SECOND);
        let observed = Observed { at: now, quality: ClockQuality::Unknown };
        let mut touched = BTreeSet::new();
        let group = ReadingGroup::new(DeviceId::from(&self.site), observed, vec![reading]);
        for reading in &group.readings {
            self.take(rules, &group, reading, Moment::sure(now), (false, None, None), &mut touched);
        }
        let silent = self.is_silent(rules, &group.device);
        self.settle(now, now, touched, silent)
    }

    /// Alerts that are not closed.
    pub fn alerts(&self) -> impl Iterator<Item = &Alert> {
        self.remembered().filter(|alert| alert.state != AlertState::Closed)
    }

    /// These, and closed ones that may come back.
    pub fn remembered(&self) -> impl Iterator<Item = &Alert> {
        self.episodes.values().flat_map(Episode::alerts)
    }

    /// When the newest value that was judged was measured.
    #[must_use]
    pub fn heard_at(&self) -> Option<WallTime> {
        self.valued.values().copied().max()
    }

    /// Ends every alert, as when the patient is discharged and the devices have left; hands out
    /// those that changed.
    pub fn close(&mut self, now: WallTime, why: &str) -> Vec<Alert> {
        self.series.clear();
        self.scored_at = None;
        self.episodes.values_mut().flat_map(|episode| episode.end(now, now, why, true)).collect()
    }

    fn device(&mut self, id: &DeviceId) -> &mut Device {
        self.devices.entry(id.clone()).or_default()
    }

    /// The name of something of a device: one that is its own subject needs none of its own.
    fn name(&self, device: &DeviceId, what: &str) -> String {
        match self.subject {
            Subject::Patient(_) => format!("{device}|{what}"),
            Subject::Device(_) | Subject::Box => what.to_owned(),
        }
    }

    /// Where a family of technical alerts of a device is: their subject is the device.
    fn technical_key(&self, family: &str, device: &DeviceId) -> String {
        match self.subject {
            Subject::Patient(_) => format!("{family}|{device}"),
            Subject::Device(_) | Subject::Box => family.to_owned(),
        }
    }

    /// Whose the alerts under a key are, and their family.
    fn whose<'k>(&self, key: &'k str) -> (Whose, &'k str) {
        let (family, of_device) = key.split_once('|').unwrap_or((key, ""));
        let device = match &self.subject {
            Subject::Device(device) => device.clone(),
            // The county has what is of each box under the name of that.
            Subject::Box => DeviceId::new(of_device).unwrap_or_else(|_| (&self.site).into()),
            Subject::Patient(_) => DeviceId::new(of_device).unwrap_or_else(|_| {
                let first = self.devices.keys().next();
                first.cloned().unwrap_or_else(|| DeviceId::from(&self.site))
            }),
        };
        let patient = self.subject.patient();
        let subject = match patient.filter(|_| of_device.is_empty()) {
            Some(key) => key.to_string(),
            None => device.to_string(),
        };
        (Whose { site: self.site.clone(), subject, patient: patient.cloned(), device }, family)
    }

    /// What decides about rules at that moment. Where that is news, what fires by rules that do not
    /// apply any more goes on by those in their place, as far as its value meets them, or ends.
    fn facts_at(&mut self, rules: &RuleSet, at: WallTime, touched: &mut BTreeSet<String>) -> Facts {
        let facts = self.profile.facts(rules, self.by_profile(at));
        match &self.facts {
            Some((newest, _)) if at < *newest => return facts,
            Some((_, known)) if *known == facts => {}
            _ => {
                let stands = |id: &str| rules.stands(id, &facts);
                self.hand_rules_over(rules, &facts, at);
                self.series.retain(|key, _| key.split('|').next().is_some_and(stands));
                for (key, episode) in &mut self.episodes {
                    let before = episode.firing.len();
                    episode.firing.retain(|key, firing| key.is_empty() || stands(&firing.rule));
                    if episode.firing.len() != before {
                        touched.insert(key.clone());
                    }
                }
            }
        }
        self.facts = Some((at, facts.clone()));
        facts
    }

    /// What holds by a rule that applies no more holds by the one in its place too, where its value
    /// alone meets that: on a birthday nobody recovered.
    fn hand_rules_over(&mut self, rules: &RuleSet, facts: &Facts, at: WallTime) {
        let held = self.series.iter().filter(|(_, series)| series.holds());
        let gone: Vec<(String, Series)> = held
            .filter(|(key, _)| key.split('|').next().is_some_and(|id| !rules.stands(id, facts)))
            .map(|(key, series)| (key.clone(), *series))
            .collect();
        let by_profile = self.by_profile(at);
        for (key, mut series) in gone {
            let Some((id, of)) = key.split_once('|') else { continue };
            let Some(before) = rules.threshold(id) else { continue };
            let Some(episode) = self.episodes.get_mut(&before.family) else { continue };
            let Some(firing) = episode.firing.get(&key).cloned() else { continue };
            let value = firing.value.as_ref().filter(|_| firing.comparator.is_none());
            let Some(value) = value.and_then(|value| value.parse().ok()) else { continue };
            let instead = rules.thresholds(before.class).filter(|rule| {
                (&rule.family, rule.op) == (&before.family, before.op)
                    && rule.also.is_none()
                    && rules.is_in_force(rule, facts)
            });
            for rule in instead {
                let limit = self.profile.limit(rule, facts, by_profile);
                if meets(rule.op, limit, value, Comparator::Equal) != Some(true) {
                    continue;
                }
                let key = format!("{}|{of}", rule.id);
                series.hand_over(self.series.entry(key.clone()).or_default());
                let firing = Firing {
                    rule: rule.id.clone(),
                    priority: rule.priority,
                    limit: Some(format!("{} {limit}", rule.op.sign())),
                    message_zh: rule.message_zh.clone(),
                    message_en: rule.message_en.clone(),
                    ..firing.clone()
                };
                episode.fire(key, firing);
            }
        }
    }

    /// Turns what fires now into alerts; `silent`: the device that said so is not heard.
    fn settle(
        &mut self,
        now: WallTime,
        t_meas: WallTime,
        touched: BTreeSet<String>,
        silent: bool,
    ) -> Vec<Alert> {
        let mut changed = Vec::new();
        for key in touched {
            let (whose, family) = self.whose(&key);
            let own = self.own(&key);
            if let Some(episode) = self.episodes.get_mut(&key) {
                episode.heed_service(own.as_ref(), &self.devices);
                changed.extend(episode.settle(&whose, family, now, t_meas, silent));
            }
        }
        changed
    }
}

fn is_nobodys(profile: &Profile) -> bool {
    *profile == Profile::default()
}

/// Seconds as whole milliseconds.
fn in_ms(seconds: Decimal) -> Option<i64> {
    let shift = u32::try_from(i32::from(seconds.exponent()) + 3).ok()?;
    seconds.mantissa().checked_mul(10_i64.checked_pow(shift)?)
}

fn after(at: WallTime, ms: i64) -> WallTime {
    WallTime::from_unix_ms(at.unix_ms().saturating_add(ms))
}

fn technical(rule: &TechnicalRule, priority: Priority, since: WallTime) -> Firing {
    Firing::new(&rule.id, priority, since, [&rule.message_zh, &rule.message_en])
}

#[cfg(test)]
mod tests;
