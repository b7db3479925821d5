//! What is known of one device of a subject, and how it leaves for another.

use super::{
    Engine, after,
    alarms::{Doubt, Held, Over},
    firing::Firing,
    life::Episode,
    pump::Infusion,
    service::OutOfService,
    silence::Silence,
};
use crate::{
    alert::{Alert, TimelineEntry, TimelineEvent},
    binding::Subject,
    freshness::Place,
    rule::{Pace, RuleSet},
};
use model::{
    decimal::Decimal,
    device::{CUFF, CUFF_MEASURES, DeviceKind},
    id::DeviceId,
    metric::Metric,
    reading::{NoData, Reading, Value},
    time::WallTime,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::collections::{BTreeMap, BTreeSet};

/// A cuff that measured this short a time ago may still have taken the oximeter's pulse away.
const CUFF_MS: i64 = 60_000;
/// No cuff is inflated for longer (IEC 80601-2-30, 201.104).
const CUFF_CYCLE_MS: i64 = 180_000;

/// What is known of one device.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(super) struct Device {
    pub(super) kind: Option<DeviceKind>,
    /// How often it speaks, where its box is configured so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) interval_ms: Option<i64>,
    /// Metric and channel → `t_meas` of the newest evaluated reading.
    pub(super) newest: BTreeMap<String, WallTime>,
    /// Ranks of the heart-rate class: `t_meas` of the last value, and whether the sensor is on.
    pub(super) ranks: BTreeMap<u8, (WallTime, bool)>,
    /// Device alarms that hold, by code.
    pub(super) alarms: BTreeMap<String, Held>,
    /// Those that ended of late.
    #[serde(default)]
    pub(super) over: Vec<Over>,
    /// Which of them may be over.
    pub(super) doubt: Option<Doubt>,
    /// Nothing is heard of it.
    pub(super) silence: Option<Silence>,
    /// Where its last status was: an older one changes nothing.
    pub(super) status_at: Option<Place>,
    /// How far its clock is ahead of the county's, as it said last, and when.
    pub(super) clock_ahead: Option<(WallTime, i64)>,
    /// When its cuff measured last.
    #[serde(default)]
    pub(super) cuff_at: Option<WallTime>,
    /// When it began to measure last, where its device says that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) cuff_since: Option<WallTime>,
    /// Channel → the drug a pump says it gives.
    #[serde(default)]
    pub(super) drugs: BTreeMap<String, String>,
    /// Channel → the rate at which it gave it last.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) rates: BTreeMap<String, String>,
    /// Channel → how the infusion of a pump goes.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) infusions: BTreeMap<String, Infusion>,
    /// Metric and channel → since when its sensor is off.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) off: BTreeMap<String, WallTime>,
    /// Somebody took it off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) out_of_service: Option<OutOfService>,
}

/// A number of a device: a metric on a channel.
pub(super) fn number_of(metric: Metric, channel: &str) -> String {
    format!("{metric}|{channel}")
}

/// What a number is of.
pub(super) fn metric_of(number: &str) -> &str {
    number.split('|').next().unwrap_or_default()
}

fn lasting<T: Default + DeserializeOwned>(stored: &serde_json::Value, name: &str) -> T {
    let value = stored.get(name).cloned();
    value.and_then(|value| serde_json::from_value(value).ok()).unwrap_or_default()
}

impl Device {
    /// What its device said of its cuff.
    pub(super) fn hear_of_cuff(&mut self, at: WallTime, about: &BTreeMap<String, String>) {
        let measures = about.get(CUFF).is_some_and(|says| says == CUFF_MEASURES);
        match (measures, self.cuff_since.is_some_and(|since| self.cuff_at < Some(since))) {
            (true, false) => self.cuff_since = Some(at),
            (false, true) => self.cuff_at = Some(at),
            (true, true) | (false, false) => {}
        }
    }

    /// Whether its cuff measured at that moment, or so short a time before it.
    pub(super) fn cuff_measures(&self, at: WallTime) -> bool {
        let is_measuring = self.cuff_since.is_some_and(|since| {
            let latest = after(since, CUFF_CYCLE_MS);
            let over = self.cuff_at.filter(|over| *over >= since);
            (since..=over.map_or(latest, |over| over.min(latest))).contains(&at)
        });
        let has_measured = |over: WallTime| (over..=after(over, CUFF_MS)).contains(&at);
        is_measuring || self.cuff_at.is_some_and(has_measured)
    }

    /// What of a state that begins anew goes on: what it is, what it gives, and that nothing is heard
    /// of it. Drivers say these when they change and not again. What its clock is off by they say
    /// with each connection.
    pub(super) fn lasting(stored: &serde_json::Value) -> Self {
        Self {
            kind: lasting(stored, "kind"),
            interval_ms: lasting(stored, "interval_ms"),
            silence: lasting(stored, "silence"),
            drugs: lasting(stored, "drugs"),
            rates: lasting(stored, "rates"),
            ..Self::default()
        }
    }

    /// Whether somebody took it off.
    pub(super) const fn is_off(&self) -> bool {
        self.out_of_service.is_some()
    }

    pub(super) const fn pace(&self) -> Pace {
        Pace { kind: self.kind, interval_ms: self.interval_ms }
    }

    pub(super) const fn set_pace(&mut self, Pace { kind, interval_ms }: Pace) {
        (self.kind, self.interval_ms) = (kind, interval_ms);
    }
}

/// What a device takes with it from one subject to the next: what is known of it, its own alarms
/// that hold, and its technical alerts, whose subject is the device itself.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Moved {
    device: DeviceId,
    state: Device,
    alarms: BTreeMap<String, BTreeMap<String, Firing>>,
    technical: BTreeMap<String, Episode>,
}

impl Engine {
    /// A device leaves the subject at that moment: what fires from it ends, and alerts that rest on
    /// it alone are closed, with the reason. Hands out what the device takes along, and the alerts
    /// that changed.
    pub fn device_left(
        &mut self,
        rules: &RuleSet,
        now: WallTime,
        at: WallTime,
        device: &DeviceId,
        reason: &str,
    ) -> (Moved, Vec<Alert>) {
        let mut state = self.devices.remove(device).unwrap_or_default();
        if let Some(key) = self.subject.patient() {
            state.alarms.values_mut().for_each(|held| held.were_of(key));
        }
        let names: BTreeMap<String, String> =
            state.alarms.keys().map(|key| (self.name(device, key), key.clone())).collect();
        let mut moved = Moved {
            device: device.clone(),
            state,
            alarms: BTreeMap::new(),
            technical: BTreeMap::new(),
        };
        let keys: Vec<String> = self.episodes.keys().cloned().collect();
        for key in keys {
            let (family, of) = key.split_once('|').unwrap_or((&key, ""));
            let own = match self.subject {
                Subject::Patient(_) => of == device.as_str(),
                Subject::Device(_) | Subject::Box => rules.is_technical(family),
            };
            if own && let Some(episode) = self.episodes.remove(&key) {
                moved.technical.insert(family.to_owned(), episode);
            }
        }
        for (family, episode) in &self.episodes {
            for (name, firing) in &episode.firing {
                if let Some(key) = names.get(name) {
                    let alarms = moved.alarms.entry(family.clone()).or_default();
                    alarms.insert(key.clone(), firing.clone());
                }
            }
        }
        let mut changed = Vec::new();
        let touched = self.forget(device, |episode| {
            changed.extend(episode.end(now, at, reason, false));
        });
        changed.extend(self.settle(now, at, touched, false));
        (moved, changed)
    }

    /// A device joins the subject at that moment, with what it brings along; hands out the alerts
    /// that changed.
    ///
    /// What it signalled while it was on another patient says nothing here until it says it again.
    pub fn device_joined(&mut self, now: WallTime, at: WallTime, moved: Moved) -> Vec<Alert> {
        let Moved { device, mut state, mut alarms, technical } = moved;
        let here = self.subject.patient();
        let is_anothers =
            |key: &String| state.alarms.get(key).is_some_and(|held| held.is_anothers(here));
        alarms.values_mut().for_each(|firings| firings.retain(|key, _| !is_anothers(key)));
        alarms.retain(|_, firings| !firings.is_empty());
        if here.is_some() {
            // Whoever puts it on somebody uses it.
            state.out_of_service = None;
        }
        self.devices.insert(device.clone(), state);
        let mut touched = BTreeSet::new();
        let mut changed = Vec::new();
        for (family, mut episode) in technical {
            let key = self.technical_key(&family, &device);
            if let Some(before) = self.episodes.remove(&key) {
                changed.extend(episode.join(before, now));
            }
            let said = TimelineEntry::new(now, TimelineEvent::InService);
            drop(episode.follow_service(Some(&device), &self.devices, None, &said));
            changed.extend(episode.belong_to(self.subject.patient()));
            self.episodes.insert(key.clone(), episode);
            touched.insert(key);
        }
        for (family, firings) in alarms {
            for (key, firing) in firings {
                // What began with nobody begins here when the device comes.
                let firing = Firing { since: firing.since.max(at), ..firing };
                let name = self.name(&device, &key);
                self.episodes.entry(family.clone()).or_default().fire(name, firing);
            }
            touched.insert(family);
        }
        changed.extend(self.settle(now, at, touched, false));
        changed
    }

    /// What a device is, and how often it speaks.
    pub(crate) fn tell_pace(&mut self, device: &DeviceId, pace: Pace) {
        self.device(device).set_pace(pace);
    }

    pub(super) fn pace_of(&self, device: &DeviceId) -> Pace {
        self.devices.get(device).map(Device::pace).unwrap_or_default()
    }

    /// A pump names its drug, or says that it has none.
    pub(super) fn hear_drug(&mut self, device: &DeviceId, channel: &str, said: &Reading) {
        let drugs = &mut self.device(device).drugs;
        match &said.value {
            Ok(Value::Text(drug)) => drop(drugs.insert(channel.to_owned(), drug.clone())),
            Err(NoData::Silent) => {}
            _ => drop(drugs.remove(channel)),
        }
    }

    /// A pump says how fast it gives; one that stands still keeps the rate of before.
    pub(super) fn hear_rate(&mut self, device: &DeviceId, channel: &str, said: &Reading) {
        let unit = said.metric.row().canonical_unit.as_ref();
        if let (Some((rate, _)), Some(unit)) = (said.canonical(), unit)
            && rate > Decimal::ZERO
        {
            // 5.0 is read as 50 where the point is overlooked.
            let rate = rate.to_string();
            let rate = match rate.contains('.') {
                true => rate.trim_end_matches('0').trim_end_matches('.'),
                false => &rate,
            };
            self.device(device).rates.insert(channel.to_owned(), format!("{rate} {unit}"));
        }
    }

    /// Drug and rate of a channel, as far as its pump has said them.
    pub(super) fn infusion(&self, device: &DeviceId, channel: &str) -> String {
        let Some(known) = self.devices.get(device) else { return String::new() };
        let said = [known.drugs.get(channel), known.rates.get(channel)];
        said.into_iter().flatten().map(String::as_str).collect::<Vec<_>>().join(" ")
    }

    /// Whether a channel of a device gives a drug of the site list, as far as the device says.
    pub(super) fn is_critical(&self, rules: &RuleSet, device: &DeviceId, channel: &str) -> bool {
        let drug = self.devices.get(device).and_then(|known| known.drugs.get(channel));
        drug.is_some_and(|drug| rules.is_critical(drug))
    }

    /// What a device said holds no more. Episodes that rested on it alone are handed out, the others
    /// that it spoke for are named.
    pub(super) fn forget(
        &mut self,
        device: &DeviceId,
        mut alone: impl FnMut(&mut Episode),
    ) -> BTreeSet<String> {
        let own = matches!(self.subject, Subject::Device(_) | Subject::Box);
        let prefix = format!("{device}|");
        let mut touched = BTreeSet::new();
        let mut gone = BTreeSet::new();
        for (key, episode) in &mut self.episodes {
            let before = episode.firing.len();
            episode.firing.retain(|name, firing| {
                let stays = firing.device.as_ref() != Some(device);
                if !stays {
                    gone.insert(name.clone());
                }
                stays
            });
            match episode.firing.len() {
                0 => alone(episode),
                left if left < before => drop(touched.insert(key.clone())),
                _ => {}
            }
        }
        self.series.retain(|key, _| {
            let name = key.split_once('|').map_or("", |(_, name)| name);
            !own && !name.starts_with(&prefix) && !gone.contains(key)
        });
        self.valued.retain(|name, _| !own && !name.starts_with(&prefix));
        self.latest.retain(|_, latest| latest.device.as_ref() != Some(device));
        self.results.values_mut().for_each(|of| of.retain(|it| it.device.as_ref() != Some(device)));
        touched
    }
}
