//! Which alerts want somebody at the box, and when the hook hears of it. Pure.
//!
//! # Invariants
//! - while the county is in reach nothing signals
//! - a signal that began ends: by a person, because it is over, or because the county is back

use model::alarm::Priority;
use rules::alert::{Alert, AlertId, AlertState};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What the hook is told.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum What {
    /// Somebody is wanted.
    Raise,
    /// Somebody has it in hand.
    Ack,
    /// It is over.
    Clear,
    /// The county is in reach again: it signals from here on.
    InReach,
}

/// Alerts that signal, each with the priority that was told. An `Unknown` one signals on.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(super) struct Signals(BTreeMap<AlertId, Priority>);

impl Signals {
    /// An alert changed while the county is out of reach: what the hook hears, if anything.
    pub(super) fn take(&mut self, alert: &Alert) -> Option<What> {
        let told = self.0.get(&alert.id).copied();
        match alert.state {
            AlertState::ActiveUnack => {
                let more = told.is_none_or(|told| told < alert.priority);
                if more {
                    self.0.insert(alert.id, alert.priority);
                }
                more.then_some(What::Raise)
            }
            AlertState::Unknown if alert.acknowledged.is_none() => None,
            // Whoever wants it quiet has seen it.
            AlertState::ActiveAck
            | AlertState::Unknown
            | AlertState::Shelved
            | AlertState::Suppressed
            | AlertState::OutOfService => self.end(alert, What::Ack),
            AlertState::Closed if alert.acknowledged.is_some() => self.end(alert, What::Ack),
            AlertState::ClearedUnack | AlertState::Closed => self.end(alert, What::Clear),
        }
    }

    /// The county is in reach again; whether the hook has to hear of it.
    pub(super) fn stop(&mut self) -> bool {
        !std::mem::take(&mut self.0).is_empty()
    }

    /// How many alerts want somebody.
    pub(super) fn count(&self) -> usize {
        self.0.len()
    }

    pub(super) fn is_on(&self, id: AlertId) -> bool {
        self.0.contains_key(&id)
    }

    fn end(&mut self, alert: &Alert, what: What) -> Option<What> {
        self.0.remove(&alert.id).map(|_| what)
    }
}
