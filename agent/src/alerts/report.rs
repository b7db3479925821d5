//! What the county is told of an alert that changed while it was out of reach.

use super::Known;
use model::{
    alert::{EdgeAlert, RULES_MAX, message, note},
    time::Observed,
};
use rules::alert::{AckReason, Alert, OF_COUNTY, TimelineEntry, TimelineEvent};

/// What happened where other rules hold since and nothing else is new: the story has no entry of it.
pub(super) const RULES_CHANGED: &str = "rules_changed";

/// What all that is told at one moment has in common.
pub(super) struct Reporter {
    pub(super) rule_set: u64,
    pub(super) bindings: u64,
    pub(super) observed: Observed,
}

impl Reporter {
    /// The entries of an alert's story since it was looked at, one record each; the county knows what
    /// it did itself. Where other rules hold since and its story says nothing of it, that.
    pub(super) fn since(&self, alert: &Alert, before: Option<&Known>) -> Vec<EdgeAlert> {
        let last = before.and_then(|known| known.last.as_ref());
        let newer = alert.timeline.iter().rev().take_while(|entry| Some(*entry) != last).count();
        let entries = alert.timeline.iter().skip(alert.timeline.len() - newer);
        let own = entries.filter(|entry| entry.detail != OF_COUNTY);
        let mut told: Vec<EdgeAlert> = own.map(|entry| self.record(alert, entry)).collect();
        if told.is_empty() && before.is_some_and(|known| known.standing.rules != alert.rules) {
            let entry = TimelineEntry::new(self.observed.at, TimelineEvent::Noted);
            let what = RULES_CHANGED.to_owned();
            told.push(EdgeAlert { what, ..self.record(alert, &entry) });
        }
        told
    }

    fn record(&self, alert: &Alert, entry: &TimelineEntry) -> EdgeAlert {
        // Of an acknowledgement only what that person wrote.
        let is_noted = !entry.note.is_empty() || entry.what == TimelineEvent::Acknowledged;
        let said = if is_noted { &entry.note } else { &entry.detail };
        EdgeAlert {
            id: *alert.id.as_bytes(),
            subject: match &alert.patient {
                Some(patient) => patient.to_string(),
                None => alert.device.to_string(),
            },
            device: alert.device.clone(),
            family: alert.family.clone(),
            rules: alert.rules.iter().take(RULES_MAX).cloned().collect(),
            priority: alert.priority,
            // What sets it aside here is the county's own wish.
            state: alert.condition().name().to_owned(),
            metric: alert.metric,
            value: alert.value.clone(),
            comparator: alert.comparator.clone(),
            unit: alert.unit.clone(),
            limit: alert.limit.clone(),
            message_zh: message(&alert.message_zh),
            message_en: message(&alert.message_en),
            started_at: alert.started_at,
            cleared_at: alert.cleared_at,
            what: entry.what.name().to_owned(),
            by: entry.by.clone(),
            reason: entry.reason.map(|reason| AckReason::name(reason).to_owned()),
            note: note(said),
            rule_set: self.rule_set,
            bindings: self.bindings,
            observed: Observed { at: entry.at, ..self.observed },
            latched: alert.latched,
        }
    }
}
