//! What time alone does with an alert: it sounds again, the next person is told, the shelf is over.
//!
//! # Invariants
//! - every timer runs from a stored moment: whoever was away takes the steps that fell due, once,
//!   now, and of a ladder only the highest
//! - nobody is told of what is not known, or of what was over before anybody could see it

use super::{
    Engine, after,
    life::{Episode, SAME_EPISODE_MS},
};
use crate::{
    alert::{Alert, AlertState, TimelineEvent},
    ladder::{Level, Times},
};
use model::{alarm::Priority, time::WallTime};

/// A medium alert that cleared unseen closes by itself after this.
const MEDIUM_CLOSES_MS: i64 = 30 * 60_000;
/// That somebody closed an alert can be taken back for less than this.
const UNDO_KEPT_MS: i64 = 10 * 60_000;
/// What is known again does not sound again and does not rise for so long: that it is over may be on
/// its way.
const KNOWN_MS: i64 = 30_000;
/// Steps of one alert at once: the shelf is over, it sounds again, the next person is told.
const STEPS_MAX: usize = 8;

impl Engine {
    /// The clock was set by so much: what its alerts wait for is as far away as before, and who says
    /// nothing has said nothing for as long. For the engines of a box.
    pub fn set_clock_by(&mut self, by_ms: i64) {
        for silence in self.devices.values_mut().filter_map(|device| device.silence.as_mut()) {
            silence.set_clock_by(by_ms);
        }
        for episode in self.episodes.values_mut() {
            episode.unknown_since = episode.unknown_since.map(|since| after(since, by_ms));
            let alerts = episode.unseen.iter_mut().chain(&mut episode.alert);
            alerts.for_each(|alert| alert.set_clock_by(by_ms));
        }
    }
}

impl Episode {
    /// When time alone changes the next of its alerts.
    pub(super) fn due_at(&self, times: &Times) -> Option<WallTime> {
        self.alerts().filter_map(|alert| alert.due_at(times)).min()
    }

    /// From when on time alone may make its alert more urgent: it was known for so long.
    pub(super) fn rises_from(&self) -> Option<WallTime> {
        self.alert.as_ref().map(Alert::known_for_long)
    }

    /// Takes the steps whose time has come; the alerts that changed.
    pub(super) fn on_time(&mut self, now: WallTime, times: &Times) -> Vec<Alert> {
        let mut changed = Vec::new();
        for alert in self.unseen.iter_mut().chain(&mut self.alert) {
            let is_due = |alert: &Alert| alert.due_at(times).is_some_and(|at| at <= now);
            let was_due = is_due(alert);
            for _ in 0..STEPS_MAX {
                if is_due(alert) {
                    alert.take_step(now, times);
                }
            }
            if was_due {
                changed.push(alert.clone());
            }
        }
        self.forget(now);
        changed
    }

    /// Of the earlier alerts those that are over are kept only while somebody may take back that
    /// they closed them, or its box may tell of more of which one is a part.
    pub(super) fn forget(&mut self, now: WallTime) {
        let undo = |alert: &Alert| {
            alert.people.undo.as_ref().is_some_and(|undo| now < after(undo.at, UNDO_KEPT_MS))
        };
        let may_be_part = |alert: &Alert| {
            let over = alert.cleared_at.filter(|_| alert.people.told_by_box.is_none());
            over.is_some_and(|over| now < after(over, SAME_EPISODE_MS))
        };
        let is_open = |alert: &Alert| alert.state != AlertState::Closed;
        self.unseen.retain(|alert| is_open(alert) || undo(alert) || may_be_part(alert));
    }
}

impl Alert {
    /// Who is told next if nobody answers, and when.
    #[must_use]
    pub fn next_level(&self, times: &Times) -> Option<(Level, WallTime)> {
        let sounds = self.state == AlertState::ActiveUnack;
        let above = times.ladder.of(self.priority).above(self.people.level).filter(|_| sounds);
        let (level, after_ms) = above.min_by_key(|(_, after_ms)| *after_ms)?;
        Some((level, after(self.unanswered_since(), after_ms)))
    }

    /// From when on it is known for long enough to sound again or to rise by time alone.
    fn known_for_long(&self) -> WallTime {
        let since = self.unanswered_since();
        after(self.people.known_at.map_or(since, |known| since.max(known)), KNOWN_MS)
    }

    fn set_clock_by(&mut self, by_ms: i64) {
        self.people.unanswered_since = Some(after(self.unanswered_since(), by_ms));
        self.people.known_at = self.people.known_at.map(|at| after(at, by_ms));
        if let Some(by) = &mut self.acknowledged {
            by.at = after(by.at, by_ms);
        }
        self.cleared_at = self.cleared_at.map(|at| after(at, by_ms));
        if let Some(undo) = &mut self.people.undo {
            undo.at = after(undo.at, by_ms);
        }
    }

    /// When time alone changes it.
    fn due_at(&self, times: &Times) -> Option<WallTime> {
        let unanswered = self.unanswered_since();
        match self.state {
            AlertState::ActiveUnack => self.next_level(times).map(|(_, at)| at),
            AlertState::ActiveAck => {
                let realarm_ms = times.realarm.of(self.priority);
                let known = self.known_for_long();
                self.in_hand_since().map(|since| after(since, realarm_ms).max(known))
            }
            AlertState::ClearedUnack => {
                let reminds = self.priority == Priority::High && !self.retro;
                let count = self.people.reminders.saturating_add(1);
                let reminder_ms = times.remind.saturating_mul(count);
                match reminds {
                    true => Some(after(unanswered, reminder_ms)),
                    false => self.closes_at(),
                }
            }
            AlertState::Shelved => self.people.shelf.as_ref().map(|shelf| shelf.until),
            AlertState::Closed
            | AlertState::Unknown
            | AlertState::Suppressed
            | AlertState::OutOfService => None,
        }
    }

    /// When it closes by itself: medium ones half an hour after they cleared unseen, unless their
    /// device latched them.
    fn closes_at(&self) -> Option<WallTime> {
        // What came late waits for a person: nobody could see it while it held.
        let closes = self.priority == Priority::Medium && !self.retro && !self.latched;
        let cleared = self.cleared_at.filter(|_| closes)?;
        Some(after(cleared, MEDIUM_CLOSES_MS))
    }

    /// Does what has fallen due, at once where several steps have.
    fn take_step(&mut self, now: WallTime, times: &Times) {
        let elapsed = now.unix_ms().saturating_sub(self.unanswered_since().unix_ms());
        match self.state {
            AlertState::ActiveUnack => {
                let above = times.ladder.of(self.priority).above(self.people.level);
                let due = above.filter(|(_, after_ms)| *after_ms <= elapsed);
                if let Some(level) = due.map(|(level, _)| level).max() {
                    self.people.level = level;
                    let level = level.name().to_owned();
                    self.tell(now, TimelineEvent::Escalated, None, level);
                }
            }
            AlertState::ActiveAck => {
                self.people.realarms += 1;
                self.begin_anew();
                self.tell(now, TimelineEvent::Realarmed, None, String::new());
                self.sound(now);
            }
            AlertState::ClearedUnack if self.priority == Priority::High => {
                self.people.reminders = elapsed.checked_div(times.remind).unwrap_or(i64::MAX);
                self.tell(now, TimelineEvent::Reminded, None, String::new());
            }
            AlertState::ClearedUnack => self.close(now, ""),
            AlertState::Shelved => {
                self.take_off_shelf(now);
                self.take_back(now);
            }
            AlertState::Closed
            | AlertState::Unknown
            | AlertState::Suppressed
            | AlertState::OutOfService => {}
        }
    }
}
