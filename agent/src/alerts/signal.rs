//! Which alerts want somebody at the box, and what the hook has to be told. Pure.
//!
//! # Invariants
//! - while the county is in reach nothing signals
//! - a signal that began ends: by a person, because it is over, or because the county is back
//! - what the hook did not take is told again, as it is by then: nothing waits but what is so

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
    /// Nothing is new: how it stands, after a start or a call that failed.
    Present,
}

/// The next thing to tell.
#[derive(Clone, Debug)]
pub(super) enum Call {
    Raise(AlertId),
    End(What, Box<Alert>),
    Stands(What),
}

/// What wants somebody, and what of it the hook knows.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub(super) struct Signals {
    /// Alerts that signal, each with its priority. An `Unknown` one signals on.
    on: BTreeMap<AlertId, Priority>,
    /// What the hook was told of, and not that it ended.
    told: BTreeMap<AlertId, Priority>,
    /// What of that has ended.
    #[serde(skip)]
    ended: BTreeMap<AlertId, (What, Box<Alert>)>,
    /// How it stands is told, if nothing else is: with each call goes how many signal.
    #[serde(skip)]
    due: Option<What>,
    /// What it is being told, and what was due before that.
    #[serde(skip)]
    calling: Option<(Calling, Option<What>)>,
}

#[derive(Clone, Copy, Debug)]
enum Calling {
    Raise(AlertId, Priority),
    End(AlertId),
    Stands,
}

impl Signals {
    /// After a start: only what is open can signal, and nobody knows what became of the last call,
    /// nor of a lamp whose box was switched off.
    pub(super) fn begin<'a>(&mut self, open: impl Iterator<Item = &'a Alert>) {
        let open: Vec<AlertId> = open.map(|alert| alert.id).collect();
        self.on.retain(|id, _| open.contains(id));
        self.told.retain(|id, _| self.on.contains_key(id));
        self.due = Some(What::Present);
    }

    /// An alert changed while the county is out of reach.
    pub(super) fn take(&mut self, alert: &Alert) {
        match alert.state {
            AlertState::ActiveUnack => {
                let told = self.on.entry(alert.id).or_insert(alert.priority);
                *told = alert.priority.max(*told);
            }
            AlertState::Unknown if alert.acknowledged.is_none() => {}
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

    /// The county is in reach again, or says that this box does not signal.
    pub(super) fn stop(&mut self) {
        let is_raising = matches!(self.calling, Some((Calling::Raise(..), _)));
        if is_raising || !self.told.is_empty() {
            self.due = Some(What::InReach);
        }
        if let Some((calling, _)) = &mut self.calling {
            *calling = Calling::Stands;
        }
        self.on.clear();
        self.told.clear();
        self.ended.clear();
    }

    /// What the hook is to be told now, one thing at a time.
    pub(super) fn next_call(&mut self) -> Option<Call> {
        if self.calling.is_some() {
            return None;
        }
        let told = &self.told;
        // Of what it never knew it needs no end.
        self.ended.retain(|id, _| told.contains_key(id));
        let news = self.on.iter().filter(|(id, priority)| told.get(id) < Some(*priority));
        let (call, calling) = if let Some((id, (what, alert))) = self.ended.first_key_value() {
            (Call::End(*what, alert.clone()), Calling::End(*id))
        } else if let Some((id, priority)) = news.max_by_key(|(_, priority)| **priority) {
            (Call::Raise(*id), Calling::Raise(*id, *priority))
        } else {
            (Call::Stands(self.due?), Calling::Stands)
        };
        self.calling = Some((calling, self.due.take()));
        Some(call)
    }

    /// Whether there is something to tell.
    pub(super) fn has_news(&self) -> bool {
        let told = |id| self.told.get(id);
        self.calling.is_none()
            && (self.due.is_some()
                || self.ended.keys().any(|id| told(id).is_some())
                || self.on.iter().any(|(id, priority)| told(id) < Some(priority)))
    }

    /// The hook took that, or failed.
    pub(super) fn called(&mut self, taken: bool) {
        let Some((calling, due)) = self.calling.take() else { return };
        match calling {
            // It may have done half of it.
            _ if !taken => self.due = self.due.or(due).or(Some(What::Present)),
            Calling::Raise(id, priority) => drop(self.told.insert(id, priority)),
            Calling::End(id) => {
                self.told.remove(&id);
                self.ended.remove(&id);
            }
            Calling::Stands => {}
        }
    }

    /// What outlives a restart.
    pub(super) fn kept(&self) -> Self {
        Self { on: self.on.clone(), told: self.told.clone(), ..Self::default() }
    }

    /// How many alerts want somebody.
    pub(super) fn count(&self) -> usize {
        self.on.len()
    }

    pub(super) fn is_on(&self, id: AlertId) -> bool {
        self.on.contains_key(&id)
    }

    fn end(&mut self, alert: &Alert, what: What) {
        let was_on = self.on.remove(&alert.id).is_some();
        let is_raising = matches!(self.calling, Some((Calling::Raise(id, _), _)) if id == alert.id);
        if was_on && (is_raising || self.told.contains_key(&alert.id)) {
            self.ended.insert(alert.id, (what, Box::new(alert.clone())));
        }
    }
}
