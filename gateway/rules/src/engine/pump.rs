//! A pump that stands still with volume left, and one that is near its end though it gives no time
//! remaining (alert rules, section 5): both by what it says of itself. That its standby is over it
//! signals as an alarm.

use super::{Engine, device::number_of, technical};
use crate::rule::RuleSet;
use model::{
    decimal::Decimal,
    id::DeviceId,
    metric::{Class, Metric},
    reading::{Comparator, NoData, Reading, ReadingGroup, Validity, Value},
    time::WallTime,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

pub(super) const STOPPED_RULE: &str = "PUMP-STOPPED";
/// States in which it gives something, and those in which it waits for a person to start it.
const GIVES: [&str; 3] = ["infusing", "bolus", "kvo"];
const STANDS: [&str; 2] = ["ready", "paused"];
const OFF: &str = "off";
const STANDBY: &str = "standby";

pub(super) const NEAR_END_RULE: &str = "PUMP-NEAR-END";
/// What its end comes from, and how urgent it is.
const OF_ITS_END: [Metric; 7] = [
    Metric::PUMP_STATE,
    Metric::PUMP_RATE,
    Metric::PUMP_VTBI,
    Metric::PUMP_VTBI_REM,
    Metric::PUMP_VI,
    Metric::PUMP_TIME_REM,
    Metric::PUMP_DRUG,
];
const MINUTES_OF_AN_HOUR: i64 = 60;

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
    /// It gives a time remaining: what that is nobody computes.
    #[serde(default)]
    gives_time: bool,
    /// By its state it gives nothing.
    #[serde(default)]
    rests: bool,
    /// What was to be infused, what of it is, in mL, and how fast it gives it now, in mL/h.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    total: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    infused: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rate: Option<String>,
    /// When it last said something that its end comes from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    spoke: Option<WallTime>,
    /// What it said before it was silent, and not since: that may be of the syringe before.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    old: BTreeSet<Metric>,
}

impl Infusion {
    fn hear_state(&mut self, state: &str) {
        self.stands = STANDS.contains(&state);
        self.rests = self.stands || [OFF, STANDBY].contains(&state);
        self.started = state != OFF && (self.started || GIVES.contains(&state));
    }

    fn hear_left(&mut self, left: Option<Decimal>) {
        // More than before, or than nobody knows: somebody set it anew.
        self.started &= left.is_some() && self.left().is_none_or(|before| left <= Some(before));
        self.left = left.map(|left| left.to_string());
    }

    /// Its box says that it stands still with so much left: it was started, and its volume may have
    /// been set anew before that, which nobody here heard.
    fn was_started(&mut self, left: Option<&str>) {
        self.started = true;
        let left = left.and_then(|left| left.parse().ok());
        self.left = self.left().max(left).map(|left: Decimal| left.to_string());
    }

    /// It says something: what was said before a longer silence than that is old until it is said
    /// again. Without one it holds, however seldom it is said.
    fn speak(&mut self, at: WallTime, gap_ms: i64) {
        let is_silent = |spoke: WallTime| at.unix_ms().saturating_sub(spoke.unix_ms()) > gap_ms;
        if self.spoke.is_some_and(is_silent) {
            let numbers = [
                (Metric::PUMP_RATE, &self.rate),
                (Metric::PUMP_VTBI, &self.total),
                (Metric::PUMP_VI, &self.infused),
                (Metric::PUMP_VTBI_REM, &self.left),
            ];
            let said = numbers.into_iter().filter(|(_, number)| number.is_some());
            self.old = said.map(|(metric, _)| metric).collect();
        }
        self.spoke = self.spoke.max(Some(at));
    }

    /// How fast, how much of how much, how much longer.
    fn hear_number(&mut self, reading: &Reading) {
        let number = reading.canonical().filter(|(_, comparator)| *comparator == Comparator::Equal);
        let number = number.map(|(number, _)| number.to_string());
        let class = reading.metric.row().class;
        self.old.retain(|metric| metric.row().class != class);
        match class {
            // One that says nothing of it gives nothing.
            Class::PumpRate => self.rate = number.or_else(|| Some(Decimal::ZERO.to_string())),
            Class::PumpVtbi => self.total = number,
            Class::PumpVi => self.infused = number,
            Class::PumpTimeRem if reading.canonical().is_some() => self.gives_time = true,
            Class::PumpTimeRem if is_not_given(&reading.value) => self.gives_time = false,
            _ => {}
        }
    }

    /// Whether how much longer it gives is computed here.
    pub(super) const fn is_computed(&self) -> bool {
        !self.gives_time && self.rate.is_some()
    }

    /// Whether it has said since its last silence how long it still gives, or that it gives nothing.
    fn is_said(&self) -> bool {
        let is_said = |metric| !self.old.contains(&metric);
        let is_left = is_said(Metric::PUMP_VTBI_REM);
        let is_rest = is_said(Metric::PUMP_VTBI)
            && is_said(Metric::PUMP_VI)
            && (is_left || self.total.is_some() && self.infused.is_some());
        let is_volume = is_left && self.left.is_some() || is_rest;
        self.rests || is_said(Metric::PUMP_RATE) && is_volume
    }

    fn left(&self) -> Option<Decimal> {
        read(&self.left)
    }

    /// How long it still gives, in whole minutes as they are printed: what is left ÷ how fast it
    /// gives it.
    fn minutes_left(&self) -> Option<Decimal> {
        let rate = read(&self.rate).filter(|rate| !self.rests && *rate > Decimal::ZERO)?;
        // More infused than was to be: it has counted since before that was set.
        let rest = || read(&self.total)?.minus(read(&self.infused)?);
        let said = self.left().filter(|_| !self.old.contains(&Metric::PUMP_VTBI_REM));
        let left = said.or_else(rest).filter(|left| *left >= Decimal::ZERO)?;
        let in_hours = left.mantissa().checked_mul(MINUTES_OF_AN_HOUR)?;
        let decimals = Metric::PUMP_TIME_REM.row().decimals.unwrap_or_default();
        Decimal::new(in_hours, left.exponent())?.over(rate, decimals)
    }

    /// What is left, and since when, while it stands still with it; where it did not before, since
    /// `began`.
    fn stopped(&mut self, began: WallTime) -> Option<(WallTime, String)> {
        let is_left = self.left().is_some_and(|left| left > Decimal::ZERO);
        let left = self.left.clone().filter(|_| is_left && self.started && self.stands);
        self.stopped_since = left.as_ref().map(|_| self.stopped_since.unwrap_or(began));
        self.stopped_since.zip(left)
    }
}

fn is_not_given(value: &Result<Value, NoData>) -> bool {
    matches!(value, Err(NoData::Off | NoData::NotAvailable))
}

fn read(number: &Option<String>) -> Option<Decimal> {
    number.as_ref().and_then(|number| number.parse().ok())
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
        let Some(rule) = rules.technical(STOPPED_RULE) else { return };
        let family = self.technical_key(&rule.family, device);
        let number = number_of(Metric::PUMP_VTBI_REM, channel);
        // Its box may have heard it stand still for longer.
        let episode = self.episodes.get(&family);
        let told = episode.and_then(|episode| episode.told_since(&rule.id, &number));
        let told_left = episode.and_then(|episode| episode.alert.as_ref()?.value.clone());
        let began = told.unwrap_or(at).min(at);
        let known = self.device(device);
        let infusion = known.infusions.entry(channel.to_owned()).or_default();
        if told.is_some() {
            infusion.was_started(told_left.as_deref());
        }
        match (reading.metric, &reading.value) {
            (_, Err(NoData::Silent)) => return,
            (Metric::PUMP_STATE, Ok(Value::Text(state))) => infusion.hear_state(state),
            (Metric::PUMP_VTBI_REM, _) if reading.validity != Validity::Invalid => {
                infusion.hear_left(reading.canonical().map(|(left, _)| left));
            }
            _ => return,
        }
        let stopped = infusion.stopped(began);
        let pace = known.pace();
        let key = format!("{}|{number}", rule.id);
        let holds = stopped.and_then(|(since, left)| {
            let elapsed = at.unix_ms().saturating_sub(since.unix_ms());
            let mut steps = rule.steps(self.profile.monitored);
            let step = steps.rfind(|step| rules.wait_ms(step, pace) <= elapsed)?;
            Some((step.priority, since, left))
        });
        let Some((priority, since, left)) = holds else {
            self.end_told(rules, STOPPED_RULE, (device, &number), at, touched);
            return self.cease(&family, &key, touched);
        };
        if self.is_told_over(&rule.family, device, at) {
            return;
        }
        let mut firing = technical(rule, priority, since);
        (firing.metric, firing.device) = (Some(Metric::PUMP_VTBI_REM), Some(device.clone()));
        firing.value = Some(left);
        self.episodes.entry(family.clone()).or_default().fire(key, firing);
        touched.insert(family);
    }

    /// A pump says something that its time remaining comes from.
    pub(super) fn hear_infusion(
        &mut self,
        rules: &RuleSet,
        (device, channel): (&DeviceId, &str),
        reading: &Reading,
        at: WallTime,
    ) {
        let says = reading.validity != Validity::Invalid && reading.value != Err(NoData::Silent);
        let class = reading.metric.row().class;
        if says && OF_ITS_END.iter().any(|metric| metric.row().class == class) {
            let known = self.device(device);
            let gap_ms = rules.gap_ms(known.pace());
            let infusion = known.infusions.entry(channel.to_owned()).or_default();
            infusion.speak(at, gap_ms);
            infusion.hear_number(reading);
        }
    }

    /// A pump that gives no time remaining is near its end by volume and rate, where it says
    /// something of them. After a silence each is said first: until then what held holds.
    pub(super) fn judge_near_end(
        &mut self,
        rules: &RuleSet,
        group: &ReadingGroup,
        at: WallTime,
        touched: &mut BTreeSet<String>,
    ) {
        let (device, channel) = (&group.device, group.channel.as_str());
        if !group.readings.iter().any(|reading| OF_ITS_END.contains(&reading.metric)) {
            return;
        }
        let Some(known) = self.devices.get(device) else { return };
        let Some(infusion) = known.infusions.get(channel) else { return };
        if !infusion.is_computed() || !infusion.is_said() {
            return;
        }
        let minutes = infusion.minutes_left();
        let rule = rules.technical(NEAR_END_RULE);
        let Some(rule) = rule.filter(|rule| rule.is_for(self.kind_of(device))) else { return };
        self.judge_steps(
            rules,
            rule,
            (device, channel, Metric::PUMP_TIME_REM),
            (minutes, at),
            touched,
        );
    }
}
