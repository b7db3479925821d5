//! The rules and what they know of each device of the box.
//!
//! Not here: where records come from (`rows`), who is told (`signal`).
//!
//! # Invariants
//! - envelopes are judged by the time at which they were opened: seen again after a restart they
//!   say what they said
//! - a clock that was set costs no alert: those that are open stay, unknown until something speaks
//!   for them

use model::{
    device::DeviceKind,
    id::{DeviceId, SiteId},
    record::Record,
    time::{Now, WallTime},
};
use rules::{
    alert::{AckReason, AcknowledgeError, Alert, AlertId},
    binding::Subject,
    engine::{Engine, ReadingInput},
    freshness::{BoxTime, Clocks, Freshness, Position},
    rule::RuleSet,
};
use serde_json::{Map, Value};
use std::{collections::BTreeMap, sync::Arc};
use uplink_proto::envelope::Envelope;

use super::newest::Newest;

/// Devices of a box: 64 that are configured, and the pumps and meters behind their stations.
const DEVICES_MAX: usize = 512;
/// A clock that was set by more than this is another clock (metric catalogue, `clock_offset`).
const CLOCK_SET_MS: u64 = 2_000;

/// Rules, rule states, and the newest values.
#[derive(Debug)]
pub(super) struct Evaluation {
    site: SiteId,
    rules: Arc<RuleSet>,
    engines: BTreeMap<DeviceId, Engine>,
    kinds: BTreeMap<DeviceId, DeviceKind>,
    newest: Newest,
}

impl Evaluation {
    /// Goes on from the states that were kept.
    pub(super) fn new(
        site: SiteId,
        rules: Arc<RuleSet>,
        kinds: BTreeMap<DeviceId, DeviceKind>,
        kept: &Map<String, Value>,
    ) -> Self {
        let engine = |(device, state): (&String, &Value)| {
            let device = DeviceId::new(device).ok()?;
            let engine = serde_json::from_value(state.clone()).unwrap_or_else(|error| {
                tracing::error!(%device, %error,
                    "Rule states cannot be read; they begin anew with the open alerts.");
                let subject = Subject::unbound(&site, &device);
                Engine::rescued(site.clone(), subject, &state.to_string())
            });
            Some((device, engine))
        };
        let engines = kept.iter().filter_map(engine).collect();
        Self { site, rules, engines, kinds, newest: Newest::default() }
    }

    /// From here on these are the rules.
    pub(super) fn go_by(&mut self, rules: Arc<RuleSet>) {
        self.rules = rules;
    }

    /// What has to be kept of it.
    pub(super) fn states(&self) -> Map<String, Value> {
        let state = |(device, engine): (&DeviceId, &Engine)| {
            Some((device.to_string(), serde_json::to_value(engine).ok()?))
        };
        self.engines.iter().filter_map(state).collect()
    }

    /// Takes in what was committed; hands out the alerts that changed.
    pub(super) fn take(&mut self, now: Now, envelope: &Envelope) -> Vec<Alert> {
        let uptime = envelope.uptime.filter(|uptime| uptime.boot == now.uptime.boot);
        let (of_box, was) = match uptime {
            Some(uptime) => {
                let ago_ms = now.uptime.ms_after(uptime);
                let was = WallTime::from_unix_ms(now.wall.unix_ms().saturating_sub(ago_ms));
                (Clocks::of_box(BoxTime::Opened { said: envelope.opened_at, was }), was)
            }
            None => {
                let was = envelope.opened_at.min(now.wall);
                (Clocks::of_box(BoxTime::Ahead { ms: 0 }), was)
            }
        };
        // Records come after their envelope was opened.
        let heard = |record: &Record| of_box.observed(record.observed().at, now.wall).at;
        let at = envelope.records.iter().map(heard).fold(was, WallTime::max).min(now.wall);
        let mut changed = Vec::new();
        let mut readings = Vec::new();
        for (place, record) in (0..).zip(&envelope.records) {
            let position = position(envelope, place);
            match record {
                Record::Readings(group) => readings.push((position, group)),
                Record::Alarm(alarm) => {
                    let said = of_box.observed(alarm.observed.at, at);
                    if let Some((engine, rules)) = self.engine(&alarm.device) {
                        changed.extend(engine.on_alarm(rules, at, said, alarm));
                    }
                }
                Record::Status(status) => {
                    self.kinds.insert(status.device.clone(), status.kind);
                    let said = of_box.observed(status.observed.at, at);
                    if let Some((engine, rules)) = self.engine(&status.device) {
                        let told = engine.on_status(rules, at, said, position, status);
                        changed.extend(told.unwrap_or_default());
                    }
                }
                Record::Started(_) => {
                    self.engines.values_mut().for_each(|engine| engine.doubt_alarms(at));
                }
                Record::Clock(change) => {
                    let set_ms = change.observed.at.unix_ms().abs_diff(change.before.unix_ms());
                    if set_ms > CLOCK_SET_MS {
                        self.begin_anew();
                    }
                }
                Record::Waveform(_) | Record::Dropped(_) | Record::Action(_) | Record::Alert(_) => {
                }
            }
        }
        let mut judged = Vec::new();
        for (position, group) in readings {
            let Some((engine, _)) = self.engine(&group.device) else { continue };
            let t_meas = engine.clocks(group, of_box, at).measured(group, at);
            judged.push((t_meas, position, group));
        }
        judged.sort_by_key(|(t_meas, position, _)| (t_meas.at, *position));
        for (t_meas, _, group) in judged {
            self.newest.take(now, t_meas, group);
            let freshness = Freshness::of(group, t_meas, at);
            if let Some((engine, rules)) = self.engine(&group.device) {
                let input = ReadingInput { group, t_meas, freshness };
                changed.extend(engine.on_readings(rules, at, input));
            }
        }
        changed
    }

    /// Lets time pass; hands out the alerts that changed.
    pub(super) fn pass_time(&mut self, now: WallTime) -> Vec<Alert> {
        let rules = &self.rules;
        let due = self
            .engines
            .values_mut()
            .filter(|engine| engine.next_deadline(rules).is_some_and(|deadline| deadline <= now));
        due.flat_map(|engine| engine.on_time(rules, now)).collect()
    }

    /// A person at the box has an alert in hand.
    pub(super) fn acknowledge(
        &mut self,
        id: AlertId,
        by: &str,
        reason: AckReason,
        note: &str,
        now: WallTime,
    ) -> Result<Alert, AcknowledgeError> {
        let holds = |engine: &&mut Engine| engine.alerts().any(|alert| alert.id == id);
        let engine = self.engines.values_mut().find(holds).ok_or(AcknowledgeError::NotFound)?;
        engine.acknowledge(id, by, reason, note, now)
    }

    /// Alerts that are not closed.
    pub(super) fn alerts(&self) -> impl Iterator<Item = &Alert> {
        self.engines.values().flat_map(Engine::alerts)
    }

    pub(super) const fn newest(&self) -> &Newest {
        &self.newest
    }

    pub(super) const fn kinds(&self) -> &BTreeMap<DeviceId, DeviceKind> {
        &self.kinds
    }

    pub(super) fn rules_version(&self) -> &str {
        self.rules.version()
    }

    /// What the rules know of a device; under the name of the site they would know the box.
    fn engine(&mut self, device: &DeviceId) -> Option<(&mut Engine, &RuleSet)> {
        if device.as_str() == self.site.as_str() {
            return None;
        }
        if !self.engines.contains_key(device) {
            if self.engines.len() >= DEVICES_MAX {
                // A meter that was here once has no alert and nothing to remember.
                let idle = |engine: &Engine| engine.alerts().next().is_none();
                let idle = self.engines.iter().find(|(_, engine)| idle(engine));
                let idle = idle.map(|(device, _)| device.clone())?;
                self.engines.remove(&idle);
            }
            let subject = Subject::unbound(&self.site, device);
            let engine = Engine::new(self.site.clone(), subject);
            self.engines.insert(device.clone(), engine);
        }
        Some((self.engines.get_mut(device)?, &self.rules))
    }

    /// The times that the states speak of are of another clock.
    fn begin_anew(&mut self) {
        for (device, engine) in &mut self.engines {
            let state = serde_json::to_string(engine).unwrap_or_default();
            let subject = Subject::unbound(&self.site, device);
            *engine = Engine::rescued(self.site.clone(), subject, &state);
        }
    }
}

fn position(envelope: &Envelope, index: u32) -> Position {
    Position { outbox: envelope.outbox, lane: envelope.lane, seq: envelope.seq, index }
}
