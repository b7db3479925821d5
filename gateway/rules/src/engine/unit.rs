//! A device sends a value whose unit or scale cannot be meant (metric catalogue, "Unit traps").
//!
//! # Invariants
//! - nobody guesses the unit: what is suspect is said, and the value stays as it was judged

use super::{Engine, device::number_of, technical};
use crate::{freshness::Moment, rule::RuleSet};
use model::{
    decimal::Decimal,
    metric::{Class, Metric},
    reading::{NoData, Reading, ReadingGroup, Value},
};
use std::collections::BTreeSet;

/// The rule of a unit or scale that cannot be meant.
pub(super) const RULE: &str = "TECH-UNIT";
/// Systolic and diastolic below these, in mmHg, are kPa.
const KPA: (Decimal, Decimal) = (Decimal::fixed(40, 0), Decimal::fixed(25, 0));

impl Engine {
    /// Whether the unit of a reading can be meant; its alert is of the device and lasts until the
    /// next word about that metric and channel.
    pub(super) fn judge_unit(
        &mut self,
        rules: &RuleSet,
        group: &ReadingGroup,
        reading: &Reading,
        at: Moment,
        touched: &mut BTreeSet<String>,
    ) {
        let Some(rule) = rules.technical(RULE) else { return };
        if reading.value == Err(NoData::Silent) {
            return;
        }
        let number = number_of(reading.metric, group.channel.as_str());
        let key = format!("{RULE}|{number}");
        let family = self.technical_key(&rule.family, &group.device);
        let step = rule.steps(self.profile().monitored).next();
        match step.filter(|_| is_suspect(group, reading)) {
            Some(step) => {
                let mut firing = technical(rule, step.priority, at.at);
                firing.metric = Some(reading.metric);
                firing.device = Some(group.device.clone());
                firing.time_suspect = at.suspect;
                self.episodes.entry(family.clone()).or_default().fire(key, firing);
                touched.insert(family);
            }
            None => {
                self.end_told(rules, RULE, (&group.device, &number), at.at, touched);
                self.cease(&family, &key, touched);
            }
        }
    }
}

fn is_suspect(group: &ReadingGroup, reading: &Reading) -> bool {
    let row = reading.metric.row();
    match &reading.value {
        // One that was refused because of the others of its group is good by itself.
        Err(NoData::Rejected(raw)) if has_several_units(row.class) => {
            let unit = reading.unit.as_ref().or(row.canonical_unit.as_ref());
            let alone = raw.parse::<Decimal>().ok().zip(unit);
            alone.is_some_and(|(number, unit)| {
                Reading::number(reading.metric, number, unit.clone()).value.is_err()
            })
        }
        Ok(Value::Number { .. }) => {
            let is_compared = row.canonical_unit.is_some() && row.decimals.is_some();
            (is_compared && reading.canonical().is_none()) || is_in_kpa(group, reading)
        }
        _ => false,
    }
}

/// Whether devices send it in one unit or another, or ten times too large; of the others a value
/// that cannot be is noise.
fn has_several_units(class: Class) -> bool {
    matches!(
        class,
        Class::Temp | Class::NibpSys | Class::NibpDia | Class::NibpMean | Class::Glucose
    )
}

/// A pressure that no living patient has, and that is a usual one in kPa.
fn is_in_kpa(group: &ReadingGroup, reading: &Reading) -> bool {
    let below = |metric, limit| {
        let mut readings = group.readings.iter().filter(|reading| reading.metric == metric);
        readings.any(|reading| reading.canonical().is_some_and(|(value, _)| value < limit))
    };
    matches!(reading.metric, Metric::NIBP_SYS | Metric::NIBP_DIA)
        && below(Metric::NIBP_SYS, KPA.0)
        && below(Metric::NIBP_DIA, KPA.1)
}
