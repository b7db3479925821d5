//! What boards hear: published once, kept for a while for those who were away for a moment.

use serde_json::Value;
use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
};
use tokio::sync::broadcast;

/// Events a board may be behind before it must fetch everything again.
const BEHIND_MAX: usize = 1024;
/// Events kept for a board that comes back.
const KEPT_MAX: usize = 1024;

/// One event, ready to be sent.
#[derive(Debug)]
pub(crate) struct Event {
    /// Counts up; `Last-Event-ID` of a board that comes back.
    pub(crate) id: u64,
    /// Name of the event.
    pub(crate) name: &'static str,
    /// Its JSON.
    pub(crate) data: String,
    /// `site:device:metric` of a waveform: sent only to boards that asked for it.
    pub(crate) wave: Option<String>,
}

/// The hub.
#[derive(Clone, Debug)]
pub(crate) struct Events {
    live: broadcast::Sender<Arc<Event>>,
    kept: Arc<Mutex<Kept>>,
}

#[derive(Debug, Default)]
struct Kept {
    next: u64,
    events: VecDeque<Arc<Event>>,
}

/// What a board that comes back has missed.
pub(crate) enum Missed {
    /// These.
    Events(Vec<Arc<Event>>),
    /// More than was kept.
    TooMuch,
}

impl Events {
    /// `start` is above every id an earlier run has given: boards that stayed open know them.
    pub(crate) fn new(start: u64) -> Self {
        let kept = Kept { next: start, events: VecDeque::new() };
        Self { live: broadcast::Sender::new(BEHIND_MAX), kept: Arc::new(Mutex::new(kept)) }
    }

    pub(crate) fn publish(&self, name: &'static str, data: &Value, wave: Option<String>) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let event = Arc::new(Event { id: kept.next, name, data: data.to_string(), wave });
        kept.next += 1;
        // A strip that was away has a gap; its samples are in the database.
        if event.wave.is_none() {
            kept.events.push_back(Arc::clone(&event));
            if kept.events.len() > KEPT_MAX {
                kept.events.pop_front();
            }
        }
        // Nobody listening is no failure.
        drop(self.live.send(event));
    }

    pub(crate) fn subscribe(&self) -> broadcast::Receiver<Arc<Event>> {
        self.live.subscribe()
    }

    pub(crate) fn missed_after(&self, id: u64) -> Missed {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let from = kept.events.front().map_or(kept.next, |event| event.id);
        if id + 1 < from || id >= kept.next {
            return Missed::TooMuch;
        }
        Missed::Events(kept.events.iter().filter(|event| event.id > id).cloned().collect())
    }
}
