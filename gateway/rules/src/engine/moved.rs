//! A result turned out to be somebody else's.

use super::Engine;
use crate::alert::Alert;
use model::{id::DeviceId, time::WallTime};
use std::collections::BTreeSet;

impl Engine {
    /// A result that a device measured at that moment is not of this subject: what it began alone
    /// ends, and an alert that rests on nothing else is closed, with the reason. Hands out the
    /// alerts that changed.
    ///
    /// What a later result of the same device says as well goes on; an alert that the moved one
    /// ended stays over, for nobody measured since that it is not.
    pub fn result_left(
        &mut self,
        now: WallTime,
        t_meas: WallTime,
        device: &DeviceId,
        reason: &str,
    ) -> Vec<Alert> {
        let (mut changed, mut touched) = (Vec::new(), BTreeSet::new());
        for (key, episode) in &mut self.episodes {
            let mut gone = Vec::new();
            episode.firing.retain(|name, firing| {
                let later = firing.metric.is_some_and(|metric| {
                    let channels = format!("{metric}|");
                    self.devices.get(device).is_some_and(|known| {
                        let mut newest = known.newest.iter();
                        newest.any(|(name, at)| name.starts_with(&channels) && *at > t_meas)
                    })
                });
                let stays =
                    firing.device.as_ref() != Some(device) || firing.since != t_meas || later;
                if !stays {
                    gone.push(name.clone());
                }
                stays
            });
            self.series.retain(|name, _| !gone.contains(name));
            match (gone.is_empty(), episode.firing.is_empty()) {
                (true, _) => {}
                (false, true) => changed.extend(episode.end(now, t_meas, reason, false)),
                (false, false) => drop(touched.insert(key.clone())),
            }
        }
        let from_it = |device_of: &Option<DeviceId>| device_of.as_ref() == Some(device);
        self.latest.retain(|_, latest| latest.at != t_meas || !from_it(&latest.device));
        changed.extend(self.settle(now, t_meas, touched, false));
        changed
    }
}
