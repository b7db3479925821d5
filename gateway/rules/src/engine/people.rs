//! What people do with an alert: they have it in hand, want it quiet, hand it on, take it back.
//!
//! Not here: who may ([`crate`] knows names and nothing else).
//!
//! # Invariants
//! - of two people who want the same the first has it, and the second learns who that was
//! - nothing that a person did is erased from an alert's story: taking it back is an entry
//! - nothing that a person does changes what is known of the patient

use super::{Engine, life::Episode};
use crate::{
    alert::{
        AckReason, Acknowledgement, Alert, AlertId, AlertState, Shelf, TimelineEntry,
        TimelineEvent, Undo, words,
    },
    danger::{BY_SIGNS, DangerSign, NO_SIGN},
    ladder::{Level, Times},
};
use model::{alarm::Priority, time::WallTime};
use std::collections::BTreeSet;
use thiserror::Error;

/// What a person does with an alert.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Action {
    /// Has it in hand.
    Acknowledge {
        /// Why.
        reason: AckReason,
        /// In the person's words.
        note: String,
    },
    /// Wants it quiet.
    Shelve {
        /// In the person's words.
        reason: String,
        /// Until when.
        until: WallTime,
        /// Who agrees, where one person is not enough.
        second: Option<String>,
    },
    /// Wants it quiet no more.
    Unshelve,
    /// Hands it to somebody.
    Assign {
        /// To whom.
        to: String,
        /// In the person's words.
        reason: String,
    },
    /// Has the next person told.
    Escalate {
        /// In the person's words.
        reason: String,
    },
    /// Writes something down.
    Note {
        /// In the person's words.
        text: String,
    },
    /// Has asked for danger signs.
    TellDangerSigns {
        /// Those that are there.
        signs: Vec<DangerSign>,
    },
    /// Takes back what they did last.
    Undo,
}

/// Why nothing was done.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum ActionError {
    /// There is none.
    #[error("there is no such alert any more; fetch the list again")]
    NotFound,
    /// Somebody was first.
    #[error("{by} has acknowledged it already")]
    AlreadyAcknowledged {
        /// Who.
        by: String,
    },
    /// Somebody was first.
    #[error("{by} has shelved it already; take it off the shelf first")]
    AlreadyShelved {
        /// Who.
        by: String,
        /// Until when.
        until: WallTime,
    },
    /// Somebody was first.
    #[error("{by} has taken it out of service; put it back first")]
    OutOfService {
        /// Who.
        by: String,
    },
    /// It is of the patient.
    #[error("no device alone says this; take the broken device off itself")]
    NotOfDevice,
    /// It is over.
    #[error("the alert is closed; there is nothing to do")]
    NotActive,
    /// It stands on no shelf.
    #[error("the alert is not shelved; fetch the list again")]
    NotShelved,
    /// It was not taken off.
    #[error("it is in service; fetch the list again")]
    InService,
    /// The moment is over.
    #[error("that moment is over; name a later one")]
    ShelfOver,
    /// So long is not allowed.
    #[error("an alert of this priority may be shelved for {max_min} min; name an earlier moment")]
    ShelfTooLong {
        /// How long it may be.
        max_min: i64,
    },
    /// One person is not enough.
    #[error("a high alert for more than {alone_min} min needs a second person; name one, or less")]
    SecondNeeded {
        /// How long one person may alone.
        alone_min: i64,
    },
    /// Everybody was told.
    #[error("whoever is on call in the county was told already; call them")]
    AtTheTop,
    /// Its rules ask for none.
    #[error(
        "danger signs are asked at 180/110 mmHg and at 16.7 or 3.9 mmol/L; write a note instead"
    )]
    NotAsked,
    /// Nothing to take back.
    #[error("nothing was done within the last {within_s} s that can be taken back")]
    NothingToUndo {
        /// How long one may wait.
        within_s: i64,
    },
    /// Another person did it.
    #[error("{by} did it; only {by} can take it back")]
    NotYours {
        /// Who.
        by: String,
    },
}

impl Engine {
    /// A person does something with an alert; the alert as it is then.
    ///
    /// # Errors
    /// When somebody was first, when it is over, when it is not allowed.
    pub fn act(
        &mut self,
        times: &Times,
        id: AlertId,
        by: &str,
        action: &Action,
        now: WallTime,
    ) -> Result<Alert, ActionError> {
        let alert = self.alerts().find(|alert| alert.id == id && needs_service(action));
        if let Some(by) = alert.and_then(|alert| self.taken_off_by(alert)) {
            return Err(ActionError::OutOfService { by: by.to_owned() });
        }
        self.episodes
            .values_mut()
            .find_map(|episode| episode.act(times, id, by, action, now))
            .unwrap_or(Err(ActionError::NotFound))
    }

    /// Writes down at which board a person did what was just done with these alerts.
    pub fn name_board(&mut self, changed: &mut [Alert], board: &str, now: WallTime) {
        let ids: BTreeSet<AlertId> = changed.iter().map(|alert| alert.id).collect();
        let own = self.episodes.values_mut();
        let own = own.flat_map(|episode| episode.unseen.iter_mut().chain(&mut episode.alert));
        for alert in own.filter(|alert| ids.contains(&alert.id)).chain(changed) {
            let is_theirs = |entry: &&mut TimelineEntry| entry.by.is_some() && entry.at == now;
            if let Some(entry) = alert.timeline.iter_mut().rev().find(is_theirs) {
                entry.board = Some(board.to_owned());
            }
        }
    }

    /// A person has an alert in hand.
    ///
    /// # Errors
    /// When it is over, or somebody was first.
    pub fn acknowledge(
        &mut self,
        id: AlertId,
        by: &str,
        reason: AckReason,
        note: &str,
        now: WallTime,
    ) -> Result<Alert, ActionError> {
        let action = Action::Acknowledge { reason, note: note.to_owned() };
        self.act(&Times::default(), id, by, &action, now)
    }

    /// Writes down who was told, of the steps that were taken just now: `who` knows who is on duty.
    /// The alerts in which somebody was named.
    pub fn name_steps(
        &mut self,
        now: WallTime,
        who: impl Fn(Level) -> Option<String>,
    ) -> Vec<Alert> {
        let mut named = Vec::new();
        for episode in self.episodes.values_mut() {
            for alert in episode.unseen.iter_mut().chain(&mut episode.alert) {
                let unnamed = |entry: &&mut TimelineEntry| {
                    entry.what == TimelineEvent::Escalated && entry.at == now && entry.to.is_none()
                };
                let level = alert.people.level;
                let Some(entry) = alert.timeline.iter_mut().rev().find(unnamed) else { continue };
                entry.to = who(level);
                if entry.to.is_some() {
                    named.push(alert.clone());
                }
            }
        }
        named
    }
}

/// Whether that cannot be done with what was taken off.
fn needs_service(action: &Action) -> bool {
    !matches!(action, Action::Note { .. } | Action::Assign { .. } | Action::TellDangerSigns { .. })
}

impl Episode {
    /// Does it with the alert of that id; `None` where it is not of this family.
    fn act(
        &mut self,
        times: &Times,
        id: AlertId,
        by: &str,
        action: &Action,
        now: WallTime,
    ) -> Option<Result<Alert, ActionError>> {
        if let Some(alert) = self.unseen.iter_mut().find(|alert| alert.id == id) {
            return Some(alert.act(times, by, action, now).map(|()| {
                alert.rise_by_signs(now);
                alert.clone()
            }));
        }
        let present = self.present();
        let alert = self.alert.as_mut().filter(|alert| alert.id == id)?;
        if let Err(error) = alert.act(times, by, action, now) {
            return Some(Err(error));
        }
        match action {
            Action::Acknowledge { .. } => {
                if let Some(present) = present {
                    alert.priority = present;
                }
                if self.is_rescued() {
                    // Nothing will ever say that it is over: the person has.
                    self.firing.clear();
                    self.before_unknown = Some(AlertState::ActiveAck);
                    self.clear(now, now, "");
                } else {
                    // Whoever has an unknown alert in hand has it when it is known again.
                    self.return_to(AlertState::ActiveAck);
                }
            }
            Action::Undo if alert.acknowledged.is_none() => {
                self.return_to(AlertState::ActiveUnack);
            }
            Action::TellDangerSigns { .. } => self.rise_by_signs(now),
            _ => {}
        }
        self.alert.clone().map(Ok)
    }

    /// A danger sign makes it high: another danger than the one somebody has in hand.
    fn rise_by_signs(&mut self, now: WallTime) {
        let Some(mut alert) = self.alert.take() else { return };
        if alert.rise_by_signs(now) {
            self.rise(&mut alert, now);
        }
        self.alert = Some(alert);
    }

    /// What is unknown is that when it is known again.
    pub(super) fn return_to(&mut self, state: AlertState) {
        let unknown = |alert: &Alert| alert.condition() == AlertState::Unknown;
        self.before_unknown = self.alert.as_ref().is_some_and(unknown).then_some(state);
    }
}

impl Alert {
    /// Whether danger signs have made it more urgent.
    fn rise_by_signs(&mut self, now: WallTime) -> bool {
        let priority = self.at_least(self.priority);
        let rises = priority > self.priority;
        if rises {
            self.tell(now, TimelineEvent::PriorityRose, None, BY_SIGNS.to_owned());
            self.priority = priority;
        }
        rises
    }

    fn act(
        &mut self,
        times: &Times,
        by: &str,
        action: &Action,
        now: WallTime,
    ) -> Result<(), ActionError> {
        let said = |what, note: &str| TimelineEntry {
            by: Some(by.to_owned()),
            note: words(note),
            ..TimelineEntry::new(now, what)
        };
        match action {
            Action::Acknowledge { reason, note } => {
                self.acknowledge(by, *reason, said(TimelineEvent::Acknowledged, note))
            }
            Action::Shelve { reason, until, second } => {
                let shelf = Shelf {
                    by: by.to_owned(),
                    second: second.clone().filter(|second| second != by),
                    at: now,
                    until: *until,
                    reason: words(reason),
                };
                self.shelve(times, shelf, said(TimelineEvent::Shelved, reason))
            }
            Action::Undo => self.undo(times, by, said(TimelineEvent::Undone, "")),
            Action::Unshelve => {
                self.people.shelf.take().ok_or(ActionError::NotShelved)?;
                self.people.undo = None;
                self.add(said(TimelineEvent::Unshelved, ""));
                self.take_back(now);
                Ok(())
            }
            Action::Assign { to, reason } => {
                self.is_open()?;
                self.people.assigned_to = Some(to.clone());
                self.add(TimelineEntry {
                    to: Some(to.clone()),
                    ..said(TimelineEvent::Assigned, reason)
                });
                Ok(())
            }
            Action::Escalate { reason } => {
                self.is_open()?;
                self.people.level = self.people.level.next().ok_or(ActionError::AtTheTop)?;
                let detail = self.people.level.name().to_owned();
                self.add(TimelineEntry { detail, ..said(TimelineEvent::Escalated, reason) });
                Ok(())
            }
            Action::Note { text } => {
                self.is_open()?;
                self.add(said(TimelineEvent::Noted, text));
                Ok(())
            }
            Action::TellDangerSigns { signs } => {
                self.is_open()?;
                if !self.asks_danger_signs() {
                    return Err(ActionError::NotAsked);
                }
                let names: Vec<&str> = signs.iter().copied().map(DangerSign::name).collect();
                let detail = if names.is_empty() { NO_SIGN.to_owned() } else { names.join(",") };
                self.people.danger_signs = Some(signs.clone());
                self.add(TimelineEntry { detail, ..said(TimelineEvent::DangerSigns, "") });
                Ok(())
            }
        }
    }

    fn is_open(&self) -> Result<(), ActionError> {
        if self.state == AlertState::Closed { Err(ActionError::NotActive) } else { Ok(()) }
    }

    fn is_off_the_shelf(&self) -> Result<(), ActionError> {
        self.people.shelf.as_ref().map_or(Ok(()), |shelf| {
            Err(ActionError::AlreadyShelved { by: shelf.by.clone(), until: shelf.until })
        })
    }

    fn acknowledge(
        &mut self,
        by: &str,
        reason: AckReason,
        entry: TimelineEntry,
    ) -> Result<(), ActionError> {
        self.is_off_the_shelf()?;
        let undo = self.to_undo(by, entry.at, false);
        let first = self.acknowledged.as_ref().map(|first| first.by.clone());
        match (self.condition(), first) {
            // The second of two nurses learns who was first, whether it is over meanwhile or not.
            (AlertState::Closed | AlertState::ActiveAck | AlertState::Unknown, Some(by)) => {
                return Err(ActionError::AlreadyAcknowledged { by });
            }
            (AlertState::ActiveUnack | AlertState::ActiveAck, _) => self.go(AlertState::ActiveAck),
            (AlertState::ClearedUnack, _) => self.go(AlertState::Closed),
            // That somebody has it in hand does not make it known.
            (AlertState::Unknown, None) => {}
            _ => return Err(ActionError::NotActive),
        }
        self.people.undo = Some(undo);
        self.people.assigned_to.take_if(|to| to != by);
        let note = entry.note.clone();
        let (at, by) = (entry.at, by.to_owned());
        self.people.told = false;
        self.acknowledged = Some(Acknowledgement { by, at, reason, note });
        // How urgent it was until then: it may be less from now on.
        let detail = self.priority.name().to_owned();
        self.add(TimelineEntry { reason: Some(reason), detail, ..entry });
        Ok(())
    }

    fn shelve(
        &mut self,
        times: &Times,
        shelf: Shelf,
        entry: TimelineEntry,
    ) -> Result<(), ActionError> {
        self.is_off_the_shelf()?;
        self.is_open()?;
        let for_ms = shelf.until.unix_ms().saturating_sub(shelf.at.unix_ms());
        let max_ms = times.shelf_max.of(self.priority);
        if for_ms <= 0 {
            return Err(ActionError::ShelfOver);
        }
        if for_ms > max_ms {
            return Err(ActionError::ShelfTooLong { max_min: max_ms / 60_000 });
        }
        let alone = self.priority != Priority::High || for_ms <= times.shelf_alone;
        if !alone && shelf.second.is_none() {
            return Err(ActionError::SecondNeeded { alone_min: times.shelf_alone / 60_000 });
        }
        self.people.undo = Some(self.to_undo(&shelf.by, shelf.at, true));
        let (to, until) = (shelf.second.clone(), Some(shelf.until));
        self.add(TimelineEntry { to, until, ..entry });
        self.people.shelf = Some(shelf);
        self.set_aside();
        Ok(())
    }

    /// How it was before somebody did something.
    fn to_undo(&self, by: &str, at: WallTime, shelved: bool) -> Undo {
        Undo {
            by: by.to_owned(),
            at,
            shelved,
            priority: self.priority,
            unanswered_since: self.unanswered_since(),
        }
    }

    /// As if it had not been done: the next person is told when they would have been.
    fn undo(&mut self, times: &Times, by: &str, entry: TimelineEntry) -> Result<(), ActionError> {
        let now = entry.at;
        let in_time = |undo: &&Undo| now.unix_ms() - undo.at.unix_ms() <= times.undo;
        let undo = self.people.undo.as_ref().filter(in_time);
        let undo =
            undo.cloned().ok_or(ActionError::NothingToUndo { within_s: times.undo / 1000 })?;
        if undo.by != by {
            return Err(ActionError::NotYours { by: undo.by });
        }
        self.people.undo = None;
        let what = if undo.shelved { TimelineEvent::Shelved } else { TimelineEvent::Acknowledged };
        self.add(TimelineEntry { detail: what.name().to_owned(), ..entry });
        if undo.shelved {
            self.people.shelf = None;
            self.set_aside();
        } else {
            self.acknowledged = None;
            self.people.in_hand_at_box = None;
            self.priority = self.priority.max(undo.priority);
            match self.condition() {
                AlertState::ActiveAck => self.go(AlertState::ActiveUnack),
                // It was over, or is over by now: somebody is still to see that.
                AlertState::Closed if self.priority != Priority::Low => self.wait(now),
                _ => {}
            }
        }
        if self.state == AlertState::ActiveUnack {
            self.people.unanswered_since = Some(undo.unanswered_since);
        }
        Ok(())
    }
}
