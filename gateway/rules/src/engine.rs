//! Runs the rules for one device: readings, device alarms and status in, changed alerts out.
//!
//! Not here: patients. Until one is bound, the device is the subject and the rules are those of
//! adults.
//!
//! # Invariants
//! - a reading older than the last evaluated of its series never touches a live alert
//! - the passing of time alone never completes a sustain
//! - suppression stops new alerts and clears nothing

mod alarms;
mod audit;
mod identity;
mod judge;
pub(crate) mod late;
mod life;
mod series;
mod silence;

use crate::{
    alert::{AckReason, AcknowledgeError, Alert, AlertId, AlertState},
    freshness::{BoxClock, BoxTime, Clocks, Freshness, Moment},
    rule::{RuleSet, TechnicalRule},
};
use alarms::{Doubt, Held};
use identity::Identity;
use judge::Latest;
use life::{Episode, Firing};
use model::{
    alarm::Priority,
    decimal::Decimal,
    device::DeviceKind,
    id::{DeviceId, SiteId},
    metric::Metric,
    reading::{NoData, Occurrence, Reading, ReadingGroup},
    time::{ClockQuality, Observed, WallTime},
    units::Unit,
};
use serde::{Deserialize, Serialize};
use series::Series;
use silence::Silence;
use std::collections::{BTreeMap, BTreeSet};

/// A late spot value may still raise an alert when it is at most this old (late data, row 5).
const SPOT_TELLS_PRESENT_MS: i64 = 4 * 3_600_000;

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

/// What the rules know of one device.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Engine {
    site: SiteId,
    device: DeviceId,
    kind: Option<DeviceKind>,
    /// Rule and series → where it stands.
    series: BTreeMap<String, Series>,
    /// Series → `t_meas` of its newest evaluated reading.
    newest: BTreeMap<String, WallTime>,
    /// Series → `t_meas` of its newest reading with a value: a gap is the time without one.
    #[serde(default)]
    valued: BTreeMap<String, WallTime>,
    /// Ranks of the heart-rate class: `t_meas` of the last value, and whether the sensor is on.
    ranks: BTreeMap<u8, (WallTime, bool)>,
    /// The rank in use.
    rank: Option<u8>,
    /// Class → latest value, for rules that need two.
    latest: BTreeMap<String, Latest>,
    /// Device alarms that hold, by code.
    alarms: BTreeMap<String, Held>,
    /// Which of them may be over.
    doubt: Option<Doubt>,
    /// Nothing is heard of it.
    silence: Option<Silence>,
    /// Where its last status was: an older one changes nothing.
    #[serde(default)]
    status_at: Option<(String, u64, u32)>,
    /// How far the device's clock is ahead of the county's, as it said last, and when.
    #[serde(default)]
    clock_ahead: Option<(WallTime, i64)>,
    /// The clock of the box, when this is its engine.
    #[serde(default)]
    box_clock: BoxClock,
    /// Which box it was, when this is its engine.
    #[serde(default)]
    identity: Identity,
    /// The edge box is out of reach since.
    #[serde(default)]
    box_lost: Option<WallTime>,
    /// Its alerts became unknown with the box, and it has not been heard since.
    #[serde(default)]
    cut_off: bool,
    /// Family → what fires and the alert.
    episodes: BTreeMap<String, Episode>,
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
            valued: BTreeMap::new(),
            ranks: BTreeMap::new(),
            rank: None,
            latest: BTreeMap::new(),
            alarms: BTreeMap::new(),
            doubt: None,
            silence: None,
            status_at: None,
            clock_ahead: None,
            box_clock: BoxClock::default(),
            identity: Identity::default(),
            box_lost: None,
            cut_off: false,
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
        let ReadingInput { group, t_meas, freshness } = input;
        let spot = group.occurrence == Occurrence::Spot;
        let age_ms = now.unix_ms().saturating_sub(t_meas.at.unix_ms());
        let fresh = freshness == Freshness::Fresh;
        let known = freshness != Freshness::Backfill;
        let tells_present = fresh || (spot && known && age_ms <= SPOT_TELLS_PRESENT_MS);
        if !tells_present {
            return Vec::new();
        }
        let mut touched = BTreeSet::new();
        for reading in &group.readings {
            self.take(rules, group, reading, t_meas, (spot, !fresh), &mut touched);
        }
        let speaks = group.readings.iter().any(|reading| reading.value != Err(NoData::Silent));
        if fresh && speaks && self.is_after_silence(t_meas.at) {
            self.end_silence(rules, now, &mut touched);
        }
        let mut changed = self.settle(rules, now, t_meas.at, touched);
        if !fresh {
            self.ask_for_recheck(now, age_ms, &mut changed);
        }
        if fresh && speaks {
            changed.extend(self.known_again(now));
        }
        changed
    }

    /// What of a state that cannot be read any more must not be lost: its alerts that are not
    /// closed. They are unknown until something speaks for them, or a person has them in hand.
    #[must_use]
    pub fn rescued(site: SiteId, device: DeviceId, stored: &str) -> Self {
        let mut engine = Self::new(site, device);
        let state: serde_json::Value = serde_json::from_str(stored).unwrap_or_default();
        let episodes = state.get("episodes").and_then(serde_json::Value::as_object);
        for (family, episode) in episodes.into_iter().flatten() {
            let earlier = episode.get("unseen").and_then(serde_json::Value::as_array);
            let alerts = earlier.into_iter().flatten().chain(episode.get("alert"));
            for alert in alerts.filter_map(|alert| serde_json::from_value(alert.clone()).ok()) {
                engine.episodes.entry(family.clone()).or_default().adopt(alert);
            }
        }
        engine
    }

    /// What is known of the clocks between this device and the county, with what the group says.
    ///
    /// How far a device says that its own clock is ahead of its box is good for what it stamped,
    /// however late it arrives, and whatever becomes of the clock of the box. Where nobody knows
    /// how wrong that was, nobody knows how wrong the device's is.
    pub fn clocks(&mut self, group: &ReadingGroup, of_box: Clocks, now: WallTime) -> Clocks {
        let at = of_box.observed(group.observed.at, now).at;
        let said = group.readings.iter().find(|reading| reading.metric == Metric::CLOCK_OFFSET);
        let is_placed = !matches!(of_box.of_box, BoxTime::Before(_));
        let newest = is_placed && self.clock_ahead.is_none_or(|(heard, _)| heard <= at);
        if let Some((ahead, _)) = said.and_then(Reading::canonical).filter(|_| newest) {
            let ahead_ms = in_ms(ahead).map(|ms| ms.saturating_add(of_box.box_ahead_ms()));
            self.clock_ahead = ahead_ms.map(|ahead_ms| (at, ahead_ms));
        }
        Clocks {
            of_box: of_box.of_box,
            device_ahead_ms: self.clock_ahead.map(|(_, ahead_ms)| ahead_ms),
            tells_at_once: matches!(self.kind, Some(DeviceKind::Cuff | DeviceKind::Monitor)),
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
        let group = ReadingGroup::new(self.device.clone(), observed, vec![reading]);
        for reading in &group.readings {
            self.take(rules, &group, reading, Moment::sure(now), (false, false), &mut touched);
        }
        self.settle(rules, now, now, touched)
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
        self.episodes
            .values_mut()
            .find_map(|episode| episode.acknowledge(id, by, reason, note, now))
            .unwrap_or(Err(AcknowledgeError::NotFound))
    }

    /// Alerts that are not closed.
    pub fn alerts(&self) -> impl Iterator<Item = &Alert> {
        self.episodes
            .values()
            .flat_map(Episode::alerts)
            .filter(|alert| alert.state != AlertState::Closed)
    }

    /// Turns what fires now into alerts.
    fn settle(
        &mut self,
        rules: &RuleSet,
        now: WallTime,
        t_meas: WallTime,
        touched: BTreeSet<String>,
    ) -> Vec<Alert> {
        let silent = self.silence.is_some() && self.silence_rule(rules).is_some();
        let mut changed = Vec::new();
        for family in touched {
            let (site, device) = (self.site.clone(), self.device.clone());
            if let Some(episode) = self.episodes.get_mut(&family) {
                changed.extend(episode.settle(site, device, &family, now, t_meas, silent));
            }
        }
        changed
    }
}

/// Seconds as whole milliseconds.
fn in_ms(seconds: Decimal) -> Option<i64> {
    let shift = u32::try_from(i32::from(seconds.exponent()) + 3).ok()?;
    seconds.mantissa().checked_mul(10_i64.checked_pow(shift)?)
}

fn technical(rule: &TechnicalRule, priority: Priority, since: WallTime) -> Firing {
    Firing::new(&rule.id, priority, since, [&rule.message_zh, &rule.message_en])
}

#[cfg(test)]
mod tests;
