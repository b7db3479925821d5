//! What a poll gets: objects in the order of the priority lists, and alarms as the host last saw
//! them.
//!
//! Not here: how an answer is sent, and when a poll is due.

use super::{
    alarms, messages,
    moment::{Moment, Observation, Parts},
    numerics,
    request::{Poll, PriorityList},
    spec, system,
    waves::{self, Waves},
};
use crate::{Setup, SimTime, truth::Notebook};
use std::collections::BTreeSet;

pub(super) const DEMOGRAPHICS_HANDLE: u16 = 0x0401;

/// Looks at the patient.
#[derive(Debug)]
pub(super) struct Observer {
    pub(super) setup: Setup,
    pub(super) notes: Notebook,
    waves: Waves,
    numeric_priority: Vec<u32>,
    wave_priority: Vec<u32>,
    alarms: Alarms,
}

/// Alarms as the host last saw them.
#[derive(Debug, Default)]
struct Alarms {
    changes: u16,
    seen: Vec<(u32, u16)>,
    names: BTreeSet<String>,
    /// Sources of technical alarms, of this association.
    told: BTreeSet<u16>,
}

impl Observer {
    pub(super) fn new(setup: Setup) -> Self {
        Self {
            notes: Notebook::new(&setup.device, setup.clock),
            waves: Waves::new(&setup),
            setup,
            numeric_priority: Vec::new(),
            wave_priority: Vec::new(),
            alarms: Alarms::default(),
        }
    }

    /// What a poll asks for, at a moment.
    pub(super) fn observe(&mut self, at: SimTime, poll: Poll, parts: Parts) -> Vec<Observation> {
        let moment = Moment { setup: &self.setup, notes: &self.notes, at, told: &self.alarms.told };
        let prioritised = poll.prioritised.map(usize::from);
        match poll.object {
            spec::NUMERICS => {
                let observed = numerics::observe(&moment, parts);
                match prioritised {
                    Some(count) => choose(observed, &self.numeric_priority, count),
                    None => observed,
                }
            }
            spec::WAVES => {
                let observed = waves::observe(&mut self.waves, &moment, parts);
                let most = waves::at_once(self.setup.seed);
                let count = prioritised.unwrap_or(most).min(most);
                choose(observed, &self.wave_priority, count)
            }
            spec::ALERT_MONITOR if parts.values() => vec![self.observe_alarms(at)],
            spec::ALERT_MONITOR => vec![bare(alarms::HANDLE, spec::ALERT_MONITOR)],
            // No virtual device has a name or a number of a patient.
            spec::DEMOGRAPHICS => vec![bare(DEMOGRAPHICS_HANDLE, spec::DEMOGRAPHICS)],
            _ => {
                let bytes = messages::observation(0, &system::about(&self.setup, at));
                vec![Observation { label: 0, bytes, facts: Vec::new() }]
            }
        }
    }

    fn observe_alarms(&mut self, at: SimTime) -> Observation {
        let standing = alarms::standing(&self.setup.patient, at.0 / 1_000_000);
        let seen: Vec<(u32, u16)> = standing.iter().map(alarms::Alarm::seen).collect();
        if seen != self.alarms.seen {
            self.alarms.seen = seen;
            self.alarms.changes = self.alarms.changes.wrapping_add(1);
        }
        let names: BTreeSet<String> = standing.iter().map(alarms::Alarm::name).collect();
        let fact = |name: &String, phase| {
            let mut fact = self.notes.fact(at);
            (fact.alarm, fact.phase) = (Some(name.clone()), Some(phase));
            fact
        };
        let starts = names.difference(&self.alarms.names).map(|name| fact(name, "start"));
        let ends = self.alarms.names.difference(&names).map(|name| fact(name, "end"));
        Observation {
            label: 0,
            bytes: alarms::observe(&standing, self.alarms.changes),
            facts: starts.chain(ends).collect(),
        }
    }

    /// The alarms of that moment are on their way to the host.
    pub(super) fn alarms_told(&mut self, at: SimTime) {
        let standing = alarms::standing(&self.setup.patient, at.0 / 1_000_000);
        self.alarms.told = standing.iter().filter_map(alarms::Alarm::technical_source).collect();
        self.alarms.names = standing.iter().map(alarms::Alarm::name).collect();
    }

    /// The association has ended: the next host knows of no alarm.
    pub(super) fn forget_told(&mut self) {
        self.alarms.told.clear();
    }

    /// A priority list as an attribute, §6.8.
    pub(super) fn priority_list(&self, attribute: u16) -> Option<Vec<u8>> {
        match attribute {
            spec::NUMERIC_PRIORITY => Some(priority_list(attribute, &self.numeric_priority)),
            spec::WAVE_PRIORITY => Some(priority_list(attribute, &self.wave_priority)),
            _ => None,
        }
    }

    /// Replaces a priority list.
    pub(super) fn prioritise(&mut self, list: PriorityList) {
        match list.attribute {
            spec::NUMERIC_PRIORITY => self.numeric_priority = list.labels,
            _ => self.wave_priority = list.labels,
        }
    }
}

/// The attributes a poll asks for, or the error it gets, §6.6.
pub(super) fn parts(poll: Poll) -> Result<Parts, u16> {
    let known = [spec::NUMERICS, spec::WAVES, spec::ALERT_MONITOR, spec::DEMOGRAPHICS, spec::MDS];
    if poll.partition != spec::OBJECTS || !known.contains(&poll.object) {
        return Err(spec::NO_SUCH_CLASS);
    }
    let parts = match (poll.object, poll.group) {
        (_, spec::GROUP_ALL) => Parts::All,
        (_, spec::GROUP_DYNAMIC | spec::GROUP_STATIC) => Parts::Context,
        (spec::NUMERICS | spec::WAVES, spec::GROUP_VALUES)
        | (spec::ALERT_MONITOR, spec::GROUP_ALERTS)
        | (spec::DEMOGRAPHICS, spec::GROUP_DEMOGRAPHICS)
        | (spec::MDS, spec::GROUP_APPLICATION..=spec::GROUP_PRODUCTION) => Parts::Values,
        _ => return Err(spec::INVALID_ARGUMENT),
    };
    // Real-time samples come with an extended poll only.
    let samples = poll.object == spec::WAVES && parts.values();
    if samples && !poll.extended { Err(spec::INVALID_ARGUMENT) } else { Ok(parts) }
}

/// The first `count` in the order of the priority list; an empty list has the monitor's own order.
fn choose(mut observed: Vec<Observation>, list: &[u32], count: usize) -> Vec<Observation> {
    if list.is_empty() {
        observed.truncate(count);
        return observed;
    }
    let wanted = list.iter().filter_map(|label| {
        let at = observed.iter().position(|observation| observation.label == *label)?;
        Some(observed.remove(at))
    });
    wanted.take(count).collect()
}

/// An object that only says what it is.
pub(super) fn bare(handle: u16, object: u16) -> Observation {
    let kind = messages::words(&[spec::OBJECTS, object]);
    let bytes = messages::observation(handle, &[messages::attribute(spec::OBJECT_TYPE, &kind)]);
    Observation { label: 0, bytes, facts: Vec::new() }
}

pub(super) fn priority_list(attribute: u16, labels: &[u32]) -> Vec<u8> {
    let labels: Vec<Vec<u8>> = labels.iter().map(|label| label.to_be_bytes().to_vec()).collect();
    messages::attribute(attribute, &messages::list(&labels))
}
