//! Devices that somebody took off, and what is set aside with them.
//!
//! # Invariants
//! - an alert is set aside only while all that says it is taken off; what no device alone says is not
//! - what somebody is still to see is set aside by a person's deed alone
//! - a device that comes to a patient is in service

use super::{AGE_RULE, ActionError, Engine, device::Device, firing::Firing, life::Episode};
use crate::{
    alert::{Alert, AlertId, AlertState, TimelineEntry, TimelineEvent, words},
    binding::Subject,
    rule::RuleSet,
};
use model::{
    id::{DeviceId, SiteId},
    time::WallTime,
};
use serde::{Deserialize, Serialize};
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

/// Who took a device off, and why.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(super) struct OutOfService {
    by: String,
    at: WallTime,
    reason: String,
    /// Then it is back by itself.
    #[serde(default)]
    until: Option<WallTime>,
}

impl Engine {
    /// A person takes a device off: what rests on it alone is set aside, and what begins so until it
    /// is back, at that moment at last. The alerts that changed.
    ///
    /// # Errors
    /// When somebody was first.
    pub fn take_out_of_service(
        &mut self,
        device: &DeviceId,
        by: &str,
        reason: &str,
        until: Option<WallTime>,
        now: WallTime,
    ) -> Result<Vec<Alert>, ActionError> {
        let known = self.device(device);
        if let Some(out) = &known.out_of_service {
            return Err(ActionError::OutOfService { by: out.by.clone() });
        }
        let (by, note) = (by.to_owned(), words(reason));
        let reason = note.clone();
        known.out_of_service = Some(OutOfService { by: by.clone(), at: now, reason, until });
        let said = TimelineEntry { by: Some(by), note, ..entry(now) };
        Ok(self.follow_service(Some(device), &said))
    }

    /// A person puts a device back; the alerts that changed.
    ///
    /// # Errors
    /// When it was not taken off.
    pub fn put_back_in_service(
        &mut self,
        device: &DeviceId,
        by: &str,
        now: WallTime,
    ) -> Result<Vec<Alert>, ActionError> {
        let known = self.devices.get_mut(device).and_then(|known| known.out_of_service.take());
        known.ok_or(ActionError::InService)?;
        let said = TimelineEntry { by: Some(by.to_owned()), ..entry(now) };
        Ok(self.follow_service(None, &said))
    }

    /// Whether it is no device, or no device alone, that says what an alert does.
    #[must_use]
    pub fn is_of_patient(&self, rules: &RuleSet, id: AlertId) -> bool {
        let is_it = |alert: &Alert| alert.id == id;
        let mut of_alert = self.episodes.iter().filter(|(_, episode)| episode.alerts().any(is_it));
        of_alert.any(|(key, episode)| {
            let is_score = rules.scores().iter().any(|score| score.family == *key);
            let is_age = rules.technical(AGE_RULE).is_some_and(|rule| rule.family == *key);
            let by_none = self.own(key).is_none()
                && episode.alert.as_ref().is_some_and(is_it)
                && episode.firing.values().any(|it| it.device.is_none());
            is_score || is_age || by_none
        })
    }

    /// Who took off what an alert is set aside with.
    pub(super) fn taken_off_by(&self, alert: &Alert) -> Option<&str> {
        let device = self.devices.get(&alert.device).filter(|_| alert.people.out_of_service)?;
        device.out_of_service.as_ref().map(|out| out.by.as_str())
    }

    /// Whether somebody took it off.
    pub(super) fn is_off(&self, device: &DeviceId) -> bool {
        self.devices.get(device).is_some_and(Device::is_off)
    }

    /// What fires under a key by devices that are in service and were heard here.
    pub(super) fn in_service_says(&self, key: &str) -> BTreeSet<String> {
        let firing = self.episodes.get(key).into_iter().flat_map(|episode| &episode.firing);
        let in_service = firing.filter(|(_, it)| {
            !it.of_box && it.device.as_ref().is_some_and(|device| !self.is_off(device))
        });
        in_service.map(|(name, _)| name.clone()).collect()
    }

    /// When a device is back by itself, or at once where something is set aside with none.
    pub(super) fn service_begins_at(&self) -> Option<WallTime> {
        let out = self.devices.values().filter_map(|device| device.out_of_service.as_ref());
        let alone = self.episodes.iter().flat_map(|(key, episode)| {
            let own = self.own(key);
            let is_off = episode.are_off(own.as_ref(), &self.devices);
            let all = episode.alerts().zip(is_off);
            all.filter(|(alert, is_off)| alert.state == AlertState::OutOfService && !is_off)
        });
        let alone = alone.map(|(alert, _)| alert.raised_at);
        out.filter_map(|out| out.until).chain(alone).min()
    }

    /// Devices are back where their time has come; the alerts that changed.
    pub(super) fn begin_service(&mut self, now: WallTime) -> Vec<Alert> {
        let is_over = |out: &mut OutOfService| out.until.is_some_and(|until| until <= now);
        for device in self.devices.values_mut() {
            device.out_of_service.take_if(is_over);
        }
        self.follow_service(None, &entry(now))
    }

    fn follow_service(&mut self, taken: Option<&DeviceId>, said: &TimelineEntry) -> Vec<Alert> {
        let mut changed = Vec::new();
        for (key, episode) in &mut self.episodes {
            let own = own(&self.subject, &self.site, key);
            changed.extend(episode.follow_service(own.as_ref(), &self.devices, taken, said));
        }
        changed
    }

    /// The device whose own the alerts under a key are; `None`: they are the patient's.
    pub(super) fn own(&self, key: &str) -> Option<DeviceId> {
        own(&self.subject, &self.site, key)
    }
}

pub(super) fn own(subject: &Subject, site: &SiteId, key: &str) -> Option<DeviceId> {
    match (key.split_once('|'), subject) {
        (Some((_, of_device)), _) => DeviceId::new(of_device).ok(),
        (None, Subject::Patient(_)) => None,
        (None, Subject::Device(device)) => Some(device.clone()),
        (None, Subject::Box) => Some(DeviceId::from(site)),
    }
}

/// What [`Episode::follow_service`] makes of it says which it is.
fn entry(now: WallTime) -> TimelineEntry {
    TimelineEntry::new(now, TimelineEvent::InService)
}

impl Episode {
    /// Which of its devices are taken off, before it is settled.
    pub(super) fn heed_service(
        &mut self,
        own: Option<&DeviceId>,
        devices: &BTreeMap<DeviceId, Device>,
    ) {
        self.out_of_service = self.is_off(own, devices);
        let out = devices.iter().filter(|(_, known)| known.is_off());
        self.off = out.map(|(device, _)| device.clone()).collect();
    }

    /// What the alert tells: the most urgent that a device in service says, and of equals the one
    /// that began first, because it explains the alert.
    pub(super) fn worst(&self) -> Option<&Firing> {
        let is_off = |it: &Firing| it.device.as_ref().is_some_and(|of| self.off.contains(of));
        self.firing.values().max_by_key(|it| (!is_off(it), it.priority, Reverse(it.since)))
    }

    /// Whether all that fires is said by devices that are taken off; where nothing does, whether it is
    /// of such a device itself.
    pub(super) fn is_off(
        &self,
        own: Option<&DeviceId>,
        devices: &BTreeMap<DeviceId, Device>,
    ) -> bool {
        let is_off =
            |of: Option<&DeviceId>| of.and_then(|of| devices.get(of)).is_some_and(Device::is_off);
        match self.firing.is_empty() {
            true => is_off(own),
            false => self.firing.values().all(|it| is_off(it.device.as_ref().or(own))),
        }
    }

    /// The same of each of its alerts, in their order; an earlier one is over.
    fn are_off(
        &self,
        own: Option<&DeviceId>,
        devices: &BTreeMap<DeviceId, Device>,
    ) -> impl Iterator<Item = bool> + use<> {
        let over = Self::default().is_off(own, devices);
        std::iter::repeat_n(over, self.unseen.len()).chain([self.is_off(own, devices)])
    }

    /// Its alerts are set aside with the device that was `taken` off just now, and stand for
    /// themselves where not all that says them is taken off any more; the open ones that changed.
    pub(super) fn follow_service(
        &mut self,
        own: Option<&DeviceId>,
        devices: &BTreeMap<DeviceId, Device>,
        taken: Option<&DeviceId>,
        said: &TimelineEntry,
    ) -> Vec<Alert> {
        let says = |it: &Firing| it.device.as_ref().or(own) == taken;
        let is_taken = taken.is_some() && (own == taken || self.firing.values().any(says));
        let are_off = self.are_off(own, devices);
        let mut changed = Vec::new();
        for (alert, is_off) in self.unseen.iter_mut().chain(&mut self.alert).zip(are_off) {
            let aside = is_off && (alert.people.out_of_service || is_taken);
            if alert.people.out_of_service == aside {
                continue;
            }
            alert.people.out_of_service = aside;
            if alert.state == AlertState::Closed {
                continue;
            }
            alert.add(TimelineEntry { what: in_service(!aside), ..said.clone() });
            alert.take_back(said.at);
            changed.push(alert.clone());
        }
        changed
    }
}

impl Alert {
    /// It is set aside by what its devices say, or stands for itself; its story says which.
    pub(super) fn follow_service(&mut self, aside: bool, now: WallTime) {
        if self.people.out_of_service != aside {
            self.people.out_of_service = aside;
            self.take_back(now);
            self.tell(now, in_service(!aside), None, String::new());
        }
    }
}

/// What happened to an alert.
const fn in_service(is_back: bool) -> TimelineEvent {
    if is_back { TimelineEvent::InService } else { TimelineEvent::OutOfService }
}
