//! What people at the county did with alerts, as their box hears it.
//!
//! # Invariants
//! - what is more urgent than what they saw, or came back since, is nobody's
//! - what somebody at the box did is not touched
//! - what is told counts once: an alert that sounds again is not made quiet by the same word,
//!   whatever becomes of the clock of the box

use super::{Engine, edge::SAME_STEP_MS, life::Episode};
use crate::alert::{
    AckReason, Acknowledgement, Alert, AlertId, AlertState, OF_COUNTY, Shelf, TimelineEntry,
    TimelineEvent,
};
use model::{
    alarm::Priority,
    alert::{Acknowledged, InHand, Shelved},
    time::WallTime,
};
use std::collections::BTreeMap;

impl Engine {
    /// Takes in what people at the county have in hand, all of it; `here` tells when a moment of the
    /// county's clock is by the box's. Hands out the alerts that changed. For the engines of a box.
    pub fn hear_county(
        &mut self,
        now: WallTime,
        in_hand: &BTreeMap<AlertId, InHand>,
        here: impl Fn(WallTime) -> WallTime,
    ) -> Vec<Alert> {
        let all = self.episodes.values_mut();
        all.flat_map(|episode| episode.hear_county(now, in_hand, &here)).collect()
    }
}

impl Episode {
    fn hear_county(
        &mut self,
        now: WallTime,
        in_hand: &BTreeMap<AlertId, InHand>,
        here: &impl Fn(WallTime) -> WallTime,
    ) -> Vec<Alert> {
        let present = self.present();
        let mut changed = Vec::new();
        for alert in self.unseen.iter_mut() {
            let said = in_hand.get(&alert.id);
            if alert.hear_county(now, said, None, here) {
                changed.push(alert.clone());
            }
        }
        self.unseen.retain(|alert| alert.state != AlertState::Closed);
        let Some(alert) = &mut self.alert else { return changed };
        let said = in_hand.get(&alert.id);
        if alert.hear_county(now, said, present, here) {
            match &alert.acknowledged {
                // Somebody far away has not seen that it is over.
                Some(_) => self.return_to(AlertState::ActiveAck),
                None => self.return_to(AlertState::ActiveUnack),
            }
            changed.extend(self.alert.clone());
        }
        changed
    }
}

impl Alert {
    /// Takes in what the county says of it, `present` being the priority of what holds; whether that
    /// changed it.
    fn hear_county(
        &mut self,
        now: WallTime,
        said: Option<&InHand>,
        present: Option<Priority>,
        here: &impl Fn(WallTime) -> WallTime,
    ) -> bool {
        if self.state == AlertState::Closed {
            return false;
        }
        let Some(said) = said else {
            return self.is_nobodys(now) | self.follow_shelf(now, None, here);
        };
        let is_over = self.condition() == AlertState::ClearedUnack;
        // What was over when somebody had it in hand may have risen since: nobody saw that.
        let seen = self.people.told_at.is_some();
        let present = present.filter(|_| !is_over || seen);
        let is_another = present.unwrap_or(self.priority) > said.priority;
        if is_another || self.recurrences > said.recurrences {
            // None is put on; one that it is still on ends when it does at the county.
            let shelved = said.shelved.as_ref().filter(|_| self.people.shelf.is_some());
            return self.follow_shelf(now, shelved, here);
        }
        let shelved = self.follow_shelf(now, said.shelved.as_ref(), here);
        let acknowledged = said.acknowledged.as_ref();
        let acknowledged = acknowledged.filter(|said| !self.was_acknowledged_here(said, here));
        acknowledged.is_some_and(|said| self.is_acknowledged(now, said, present)) | shelved
    }

    /// Whether the county says what it was told here.
    fn was_acknowledged_here(
        &self,
        said: &Acknowledged,
        here: &impl Fn(WallTime) -> WallTime,
    ) -> bool {
        let at = here(said.at);
        self.timeline.iter().any(|it| {
            it.what == TimelineEvent::Acknowledged
                && it.detail != OF_COUNTY
                && it.by.as_deref() == Some(&said.by)
                && it.at.unix_ms().abs_diff(at.unix_ms()) <= SAME_STEP_MS
        })
    }

    fn is_acknowledged(
        &mut self,
        now: WallTime,
        said: &Acknowledged,
        present: Option<Priority>,
    ) -> bool {
        let is_of_box = self.acknowledged.is_some() && !self.people.told;
        if is_of_box || self.people.told_at >= Some(said.at) {
            return false;
        }
        match self.condition() {
            AlertState::ActiveUnack | AlertState::ActiveAck => self.go(AlertState::ActiveAck),
            AlertState::ClearedUnack => self.go(AlertState::Closed),
            // That somebody has it in hand does not make it known.
            _ => {}
        }
        self.priority = present.unwrap_or(self.priority);
        self.people.told = true;
        self.people.told_at = Some(said.at);
        // Where the clock of the box is behind, it sounds again no later for that.
        let (at, by) = (said.at.min(now), said.by.clone());
        let reason = AckReason::from_name(&said.reason).unwrap_or(AckReason::AtBedside);
        self.acknowledged = Some(Acknowledgement { by, at, reason, note: String::new() });
        let entry = of_county(said.at, TimelineEvent::Acknowledged, Some(&said.by));
        self.add(TimelineEntry { reason: Some(reason), ..entry });
        true
    }

    /// Nobody at the county has it in hand any more.
    fn is_nobodys(&mut self, now: WallTime) -> bool {
        if !std::mem::take(&mut self.people.told) || self.acknowledged.take().is_none() {
            return false;
        }
        self.add(of_county(now, TimelineEvent::Undone, None));
        if self.condition() == AlertState::ActiveAck {
            self.sound(now);
        }
        true
    }

    /// At a box nobody shelves: what is on the shelf is there because the county says so.
    fn follow_shelf(
        &mut self,
        now: WallTime,
        said: Option<&Shelved>,
        here: &impl Fn(WallTime) -> WallTime,
    ) -> bool {
        // One that was taken off here, because it rose, came back or was over, is not put on again.
        let is_known = |said: &&Shelved| self.people.told_shelf == Some(said.until);
        let is_off = self.people.shelf.is_none();
        let said = said.filter(|said| !(is_off && is_known(said)));
        let said = said.map(|said| (said, here(said.until))).filter(|(_, until)| *until > now);
        let present = self.people.shelf.as_ref().map(|shelf| (&shelf.by, shelf.until));
        if present == said.map(|(said, until)| (&said.by, until)) {
            return false;
        }
        let shelf = said.map(|(said, until)| {
            let (by, at) = (said.by.clone(), now);
            Shelf { by, second: None, at, until, reason: String::new() }
        });
        let (what, by) = match &shelf {
            Some(shelf) => (TimelineEvent::Shelved, Some(shelf.by.as_str())),
            None => (TimelineEvent::Unshelved, None),
        };
        self.add(of_county(now, what, by));
        self.people.told_shelf = said.map(|(said, _)| said.until).or(self.people.told_shelf);
        self.people.shelf = shelf;
        self.take_back(now);
        true
    }
}

fn of_county(at: WallTime, what: TimelineEvent, by: Option<&str>) -> TimelineEntry {
    let (by, detail) = (by.map(str::to_owned), OF_COUNTY.to_owned());
    TimelineEntry { by, detail, ..TimelineEntry::new(at, what) }
}
