//! A pump that stands still with volume left (alert rules, section 5), by what it says of itself. That
//! its standby is over it signals as an alarm.

use super::{Engine, technical};
use crate::rule::RuleSet;
use model::{
    decimal::Decimal,
    id::DeviceId,
    metric::Metric,
    reading::{NoData, Reading, Validity, Value},
    time::WallTime,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

const STOPPED_RULE: &str = "PUMP-STOPPED";
/// States in which it gives something, and those in which it waits for a person to start it.
const GIVES: [&str; 3] = ["infusing", "bolus", "kvo"];
const STANDS: [&str; 2] = ["ready", "paused"];
const OFF: &str = "off";

/// How an infusion of a pump goes.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(super) struct Infusion {
    /// It was started since its volume was set: one that is being prepared has not stopped.
    started: bool,
    stands: bool,
    /// What is left of its volume, in mL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    left: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    stopped_since: Option<WallTime>,
}

impl Infusion {
    fn hear_state(&mut self, state: &str) {
        self.stands = STANDS.contains(&state);
        self.started = state != OFF && (self.started || GIVES.contains(&state));
    }

    fn hear_left(&mut self, left: Option<Decimal>) {
        // More than before, or than nobody knows: somebody set it anew.
        self.started &= left.is_some() && self.left().is_none_or(|before| left <= Some(before));
        self.left = left.map(|left| left.to_string());
    }

    fn left(&self) -> Option<Decimal> {
        self.left.as_ref().and_then(|left| left.parse().ok())
    }

    /// What is left, and since when, while it stands still with it.
    fn stopped(&mut self, at: WallTime) -> Option<(WallTime, String)> {
        let is_left = self.left().is_some_and(|left| left > Decimal::ZERO);
        let left = self.left.clone().filter(|_| is_left && self.started && self.stands);
        self.stopped_since = left.as_ref().map(|_| self.stopped_since.unwrap_or(at));
        self.stopped_since.zip(left)
    }
}

impl Engine {
    /// A pump says how it stands, or what is left of its volume.
    pub(super) fn judge_stopped(
        &mut self,
        rules: &RuleSet,
        (device, channel): (&DeviceId, &str),
        reading: &Reading,
        at: WallTime,
        touched: &mut BTreeSet<String>,
    ) {
        let known = self.device(device);
        let infusion = known.infusions.entry(channel.to_owned()).or_default();
        match (reading.metric, &reading.value) {
            (_, Err(NoData::Silent)) => return,
            (Metric::PUMP_STATE, Ok(Value::Text(state))) => infusion.hear_state(state),
            (Metric::PUMP_VTBI_REM, _) if reading.validity != Validity::Invalid => {
                infusion.hear_left(reading.canonical().map(|(left, _)| left));
            }
            _ => return,
        }
        let stopped = infusion.stopped(at);
        let pace = known.pace();
        let Some(rule) = rules.technical(STOPPED_RULE) else { return };
        let family = self.technical_key(&rule.family, device);
        let key = format!("{}|{}|{channel}", rule.id, Metric::PUMP_VTBI_REM);
        let holds = stopped.and_then(|(since, left)| {
            let elapsed = at.unix_ms().saturating_sub(since.unix_ms());
            let mut steps = rule.steps(self.profile.monitored);
            let step = steps.rfind(|step| rules.wait_ms(step, pace) <= elapsed)?;
            Some((step.priority, since, left))
        });
        let Some((priority, since, left)) = holds else {
            let of = (device, Metric::PUMP_VTBI_REM);
            self.end_told(rules, STOPPED_RULE, of, at, touched);
            return self.cease(&family, &key, touched);
        };
        let mut firing = technical(rule, priority, since);
        (firing.metric, firing.device) = (Some(Metric::PUMP_VTBI_REM), Some(device.clone()));
        firing.value = Some(left);
        self.episodes.entry(family.clone()).or_default().fire(key, firing);
        touched.insert(family);
    }
}
