//! Rule sets on trial: what each would have raised, had it been live while all this was said.
//!
//! Each subject has an engine of its own that hears everything in time; nobody acts. What devices
//! do not say themselves is not in it: that they are silent, that a box is out of reach, scores.
//!
//! Not here: where readings are kept, and whose a device was.
//!
//! # Invariants
//! - nothing of it reaches a live engine

use crate::{
    alert::{Alert, AlertId},
    binding::Subject,
    engine::{Engine, ReadingInput},
    freshness::{Freshness, Moment},
    population::Profile,
    rule::{Pace, RuleSet},
};
use model::{
    alarm::DeviceAlarm,
    id::{DeviceId, SiteId},
    reading::ReadingGroup,
    time::WallTime,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// Steps of time between two things a subject said: an alert that waits for a day is reminded of
/// every five minutes.
const STEPS_MAX: usize = 300;

/// Two rule sets on trial at one site. What both make the same of is judged once.
#[derive(Debug)]
pub struct Trials {
    first: Trial,
    /// Of the second set what decides about alerts of the families of which the two do not say the
    /// same.
    second: Trial,
    /// These; `None`: all.
    families: Option<BTreeSet<String>>,
}

impl Trials {
    /// Begins before anything was said; of devices it is known what they are.
    #[must_use]
    pub fn new(
        [first, second]: [Arc<RuleSet>; 2],
        site: &SiteId,
        paces: &BTreeMap<DeviceId, Pace>,
    ) -> Self {
        let families = first.families_unlike(&second).filter(|of| !second.is_shared(of));
        let second = match &families {
            Some(families) => Arc::new(second.of_families(families)),
            None => second,
        };
        let on_trial = |rules| Trial::new(rules, site.clone(), paces.clone());
        Self { first: on_trial(first), second: on_trial(second), families }
    }

    /// A device is somebody's from that moment on, if it was not before: what it says elsewhere
    /// ends, and what holds goes with it.
    pub fn place(&mut self, device: &DeviceId, subject: &Subject, at: WallTime) {
        self.first.place(device, subject, at);
        self.second.place(device, subject, at);
    }

    /// What decides which rules apply to a patient is that from then on.
    pub fn set_profile(&mut self, subject: &Subject, at: WallTime, profile: &Profile) {
        self.first.set_profile(subject, at, profile.clone());
        self.second.set_profile(subject, at, profile.clone());
    }

    /// The next reading group of a subject, in the order of `t_meas`.
    pub fn on_readings(&mut self, subject: &Subject, mut group: ReadingGroup, t_meas: Moment) {
        self.first.on_readings(subject, &group, t_meas);
        if self.families.is_some() {
            let rules = &self.second.rules;
            group.readings.retain(|reading| rules.reads(reading.metric.row().class));
        }
        if !group.readings.is_empty() {
            self.second.on_readings(subject, &group, t_meas);
        }
    }

    /// The next device alarm of a subject.
    pub fn on_alarm(&mut self, subject: &Subject, at: WallTime, alarm: &DeviceAlarm) {
        self.first.on_alarm(subject, at, alarm);
        self.second.on_alarm(subject, at, alarm);
    }

    /// What each would have raised from that moment on.
    #[must_use]
    pub fn raised_since(self, from: WallTime) -> [Vec<Raised>; 2] {
        let Self { first, second, families } = self;
        let is_second = |raised: &Raised| {
            families.as_ref().is_none_or(|families| families.contains(&raised.alert.family))
        };
        let first: Vec<Raised> = first.raised_since(from).collect();
        let of_both = first.iter().filter(|raised| !is_second(raised)).cloned();
        let of_second = second.raised_since(from).filter(is_second);
        let second = of_both.chain(of_second).collect();
        [first, second]
    }
}

/// A rule set on trial at one site.
#[derive(Debug)]
struct Trial {
    rules: Arc<RuleSet>,
    site: SiteId,
    paces: BTreeMap<DeviceId, Pace>,
    engines: BTreeMap<Subject, Judge>,
    /// Whose each device is.
    places: BTreeMap<DeviceId, Subject>,
    raised: BTreeMap<AlertId, Raised>,
}

/// An engine, and when time alone has something to do with it.
#[derive(Debug)]
struct Judge {
    engine: Engine,
    due: Option<WallTime>,
}

/// An alert that would have been raised.
#[derive(Clone, Debug)]
pub struct Raised {
    /// As it was when it became most urgent.
    pub alert: Alert,
    /// Every rule that held.
    pub rules: BTreeSet<String>,
}

impl Trial {
    fn new(rules: Arc<RuleSet>, site: SiteId, paces: BTreeMap<DeviceId, Pace>) -> Self {
        let (engines, places, raised) = Default::default();
        Self { rules, site, paces, engines, places, raised }
    }

    fn place(&mut self, device: &DeviceId, subject: &Subject, at: WallTime) {
        let before = self.places.get(device);
        if before == Some(subject) {
            return;
        }
        let rules = Arc::clone(&self.rules);
        let before = self.places.insert(device.clone(), subject.clone());
        if let Some(before) = before {
            let leaving = self.judge(&before);
            let (moved, ended) = leaving.engine.device_left(&rules, at, at, device, "");
            let joined = self.judge(subject).engine.device_joined(at, at, moved);
            self.note(&before, ended, true);
            self.note(subject, joined, true);
        }
        let pace = self.paces.get(device).copied().unwrap_or_default();
        self.judge(subject).engine.tell_pace(device, pace);
    }

    fn set_profile(&mut self, subject: &Subject, at: WallTime, profile: Profile) {
        let rules = Arc::clone(&self.rules);
        self.pass_time(subject, at);
        let changed = self.judge(subject).engine.set_profile(&rules, at, profile);
        // That somebody's age is not known was not said by a device.
        self.note(subject, changed, false);
    }

    fn on_readings(&mut self, subject: &Subject, group: &ReadingGroup, t_meas: Moment) {
        let rules = Arc::clone(&self.rules);
        self.pass_time(subject, t_meas.at);
        let input = ReadingInput { group, t_meas, freshness: Freshness::Fresh };
        let changed = self.judge(subject).engine.on_readings(&rules, t_meas.at, input);
        self.note(subject, changed, true);
    }

    fn on_alarm(&mut self, subject: &Subject, at: WallTime, alarm: &DeviceAlarm) {
        let rules = Arc::clone(&self.rules);
        self.pass_time(subject, at);
        let changed = self.judge(subject).engine.on_alarm(&rules, at, Moment::sure(at), alarm);
        self.note(subject, changed, true);
    }

    fn raised_since(self, from: WallTime) -> impl Iterator<Item = Raised> {
        self.raised.into_values().filter(move |raised| raised.alert.raised_at >= from)
    }

    fn judge(&mut self, subject: &Subject) -> &mut Judge {
        let new = || Judge { engine: Engine::new(self.site.clone(), subject.clone()), due: None };
        self.engines.entry(subject.clone()).or_insert_with(new)
    }

    /// What time alone does up to a moment.
    fn pass_time(&mut self, subject: &Subject, at: WallTime) {
        let rules = Arc::clone(&self.rules);
        for _ in 0..STEPS_MAX {
            let judge = self.judge(subject);
            let Some(due) = judge.due.filter(|due| *due <= at) else { return };
            let changed = judge.engine.on_time(&rules, due);
            judge.due = judge.engine.next_deadline(&rules).filter(|next| *next > due);
            for alert in changed {
                if let Some(known) = self.raised.get_mut(&alert.id) {
                    known.note(alert);
                }
            }
        }
    }

    /// Keeps what changed; only of what is known where nothing new counts.
    fn note(&mut self, subject: &Subject, changed: Vec<Alert>, all: bool) {
        if changed.is_empty() {
            return;
        }
        let rules = Arc::clone(&self.rules);
        let judge = self.judge(subject);
        judge.due = judge.engine.next_deadline(&rules);
        for alert in changed {
            match self.raised.get_mut(&alert.id) {
                Some(known) => known.note(alert),
                None if all => drop(self.raised.insert(alert.id, Raised::new(alert))),
                None => {}
            }
        }
    }
}

impl Raised {
    fn new(alert: Alert) -> Self {
        let rules = alert.rules.iter().cloned().collect();
        Self { alert: Alert { timeline: Vec::new(), ..alert }, rules }
    }

    fn note(&mut self, alert: Alert) {
        for rule in &alert.rules {
            if !self.rules.contains(rule) {
                self.rules.insert(rule.clone());
            }
        }
        if alert.priority > self.alert.priority {
            self.alert = Alert { timeline: Vec::new(), ..alert };
        }
    }
}
