//! A battery of which a device says how it is, and no number (alert rules, section 5).

use super::{Engine, device::number_of, firing::Firing};
use crate::rule::RuleSet;
use model::{
    alarm::AlarmKind,
    id::DeviceId,
    metric::Metric,
    reading::{Reading, ReadingGroup, Value},
    time::WallTime,
};
use std::collections::BTreeSet;

/// What a device says of its battery when it is low.
const BATTERY_LOW: &str = "low";

impl Engine {
    /// A device says of its battery how it is, and no number.
    pub(super) fn judge_battery(
        &mut self,
        rules: &RuleSet,
        device: &DeviceId,
        channel: &str,
        (reading, at): (&Reading, WallTime),
        touched: &mut BTreeSet<String>,
    ) {
        let is_low = match &reading.value {
            Ok(Value::Text(state)) => state == BATTERY_LOW,
            Ok(_) => false,
            Err(_) => return,
        };
        let low = self.low_battery(rules, device, channel, at);
        let Some((family, key, mut firing)) = low else { return };
        if is_low {
            (firing.metric, firing.device) = (Some(reading.metric), Some(device.clone()));
            self.episodes.entry(family.clone()).or_default().fire(key, firing);
            touched.insert(family);
        } else {
            let number = number_of(reading.metric, channel);
            self.end_told(rules, &firing.rule, (device, &number), at, touched);
            self.cease(&family, &key, touched);
        }
    }

    /// A meter says of its battery only that it is low: a newer result without that word says that it
    /// is not.
    pub(super) fn judge_without_battery(
        &mut self,
        rules: &RuleSet,
        group: &ReadingGroup,
        at: WallTime,
        touched: &mut BTreeSet<String>,
    ) {
        let (device, channel) = (&group.device, group.channel.as_str());
        let name = number_of(Metric::BATT_STATE, channel);
        let said = self.devices.get(device).and_then(|known| known.newest.get(&name));
        let says = group.readings.iter().any(|reading| reading.metric == Metric::BATT_STATE);
        if !says
            && said.is_some_and(|said| *said < at)
            && let Some((family, key, firing)) = self.low_battery(rules, device, channel, at)
        {
            self.end_told(rules, &firing.rule, (device, &name), at, touched);
            self.cease(&family, &key, touched);
        }
    }

    /// Family, name and what fires where a device says that its battery is low.
    fn low_battery(
        &self,
        rules: &RuleSet,
        device: &DeviceId,
        channel: &str,
        since: WallTime,
    ) -> Option<(String, String, Firing)> {
        // The battery of a device that is not here is no affair of this patient.
        self.kind_of(device)?;
        let low = self.firing_by(rules, AlarmKind::BatteryLow, (device, channel), None, since);
        let (family, firing) = low?;
        let key = format!("{}|{}", firing.rule, number_of(Metric::BATT_STATE, channel));
        Some((family, key, firing))
    }
}
