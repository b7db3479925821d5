//! What is asked of the monitor, and when it is asked again.
//!
//! Read first: the protocol sheet, §6.6 and §7.4.
//!
//! Patient demographics are never asked for: no name leaves the monitor.

use super::data_export::{self, Poll, group, object};
use model::time::MonoTime;
use std::time::Duration;

/// Facts from the sheet. No time of a poll stands anywhere else.
mod spec {
    use super::Duration;

    /// "Extended poll numerics (duration 60 s) and waves (30 s)", §9.5, in ticks of 125 µs.
    pub(super) const NUMERICS_TICKS: u32 = 480_000;
    pub(super) const WAVES_TICKS: u32 = 240_000;
    /// "Re-issue each extended poll before its duration ends", §7.4: 10 s before.
    pub(super) const RENEW_NUMERICS: Duration = Duration::from_secs(50);
    pub(super) const RENEW_WAVES: Duration = Duration::from_secs(20);
    /// Numbers come every second, waves every 256 ms, §7.4: after this the poll got lost.
    pub(super) const RESULT_WITHIN: Duration = Duration::from_secs(5);
    /// Alarms are only told when asked for: none is seen later than a second after it began.
    pub(super) const ALERTS_EVERY: Duration = Duration::from_secs(1);
    /// An answer takes less; a lost one is asked for again.
    pub(super) const ANSWER_WITHIN: Duration = Duration::from_secs(3);
    /// Labels, scales and the clock can be changed at the monitor.
    pub(super) const CONTEXT_EVERY: Duration = Duration::from_secs(60);
    /// A question that was lost or refused, and nothing depends on it.
    pub(super) const AGAIN: Duration = Duration::from_secs(10);
    /// A monitor that does not know what is asked will not learn it soon.
    pub(super) const REFUSED_AGAIN: Duration = Duration::from_secs(60);
    /// "Keep-alive when 4 s without incoming or (timeout − 1 s) without outgoing data", §7.5.
    pub(super) const QUIET: Duration = Duration::from_secs(4);
    pub(super) const MARGIN: Duration = Duration::from_secs(1);
}

/// What is asked for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Subject {
    /// Labels of the numbers.
    NumericContext,
    /// Packing and scales of the waves.
    WaveContext,
    /// The numbers, every second.
    Numerics,
    /// The waves, four times a second.
    Waves,
    Alerts,
    /// Identity and clock of the monitor.
    Monitor,
    /// Nothing: it only shows that we are here.
    KeepAlive,
}

impl Subject {
    /// In the order in which they are asked.
    const ALL: [Self; 7] = [
        Self::NumericContext,
        Self::WaveContext,
        Self::Numerics,
        Self::Waves,
        Self::Alerts,
        Self::Monitor,
        Self::KeepAlive,
    ];

    const fn poll(self) -> Poll {
        let (number, object, group, ticks) = match self {
            Self::Numerics => {
                (1, object::NUMERIC, group::METRIC_VALUES, Some(spec::NUMERICS_TICKS))
            }
            Self::Waves => (2, object::WAVE, group::METRIC_VALUES, Some(spec::WAVES_TICKS)),
            Self::Monitor => (3, object::MDS, group::ALL, None),
            Self::Alerts => (4, object::ALERT_MONITOR, group::ALERT_MONITOR, None),
            Self::NumericContext => (5, object::NUMERIC, group::ALL, None),
            Self::WaveContext => (6, object::WAVE, group::ALL, None),
            Self::KeepAlive => (7, object::ALERT_MONITOR, group::STATIC_CONTEXT, None),
        };
        Poll { number, object, group, ticks }
    }
}

#[derive(Debug)]
struct Entry {
    subject: Subject,
    /// When it is asked next; `None`: not any more.
    due: Option<MonoTime>,
    asked: Option<MonoTime>,
    invoke_id: u16,
}

/// The polls of one association.
#[derive(Debug)]
pub(super) struct Polls {
    entries: [Entry; 7],
    invoke_id: u16,
    /// How long the monitor waits for a word from us.
    time_limit: Duration,
    /// When something was sent and heard last.
    sent: MonoTime,
    heard: MonoTime,
}

impl Polls {
    pub(super) fn new(now: MonoTime, waves: bool, time_limit: Duration) -> Self {
        let entries = Subject::ALL.map(|subject| {
            let due = match subject {
                // Numbers and waves are asked for when it is known what they are.
                Subject::Numerics => Some(now + spec::ANSWER_WITHIN),
                Subject::Waves => waves.then(|| now + spec::ANSWER_WITHIN),
                Subject::WaveContext => waves.then_some(now),
                Subject::NumericContext | Subject::Alerts | Subject::Monitor => Some(now),
                Subject::KeepAlive => None,
            };
            Entry { subject, due, asked: None, invoke_id: 0 }
        });
        Self { entries, invoke_id: 0, time_limit, sent: now, heard: now }
    }

    /// The message to send now, if one is due.
    pub(super) fn next(&mut self, now: MonoTime) -> Option<Vec<u8>> {
        let quiet = now >= self.keep_alive_at();
        let due = |entry: &&mut Entry| match entry.subject {
            Subject::KeepAlive => quiet,
            _ => entry.due.is_some_and(|due| now >= due),
        };
        let entry = self.entries.iter_mut().find(due)?;
        self.invoke_id = self.invoke_id.wrapping_add(1);
        (entry.invoke_id, entry.asked) = (self.invoke_id, Some(now));
        entry.due = match entry.subject {
            Subject::Numerics | Subject::Waves => Some(now + spec::RESULT_WITHIN),
            Subject::Alerts => Some(now + spec::ANSWER_WITHIN),
            Subject::NumericContext | Subject::WaveContext | Subject::Monitor => {
                Some(now + spec::AGAIN)
            }
            Subject::KeepAlive => None,
        };
        self.sent = now;
        Some(data_export::poll(entry.invoke_id, entry.subject.poll()))
    }

    /// When a message is due.
    pub(super) fn due(&self) -> MonoTime {
        let due = self.entries.iter().filter_map(|entry| entry.due);
        due.fold(self.keep_alive_at(), MonoTime::min)
    }

    /// Something came from the monitor.
    pub(super) fn heard(&mut self, now: MonoTime) {
        self.heard = now;
    }

    /// "Keep-alive when 4 s without incoming or (timeout − 1 s) without outgoing data", §7.5.
    fn keep_alive_at(&self) -> MonoTime {
        let asked = self.entries.iter().find(|entry| entry.subject == Subject::KeepAlive);
        let asked = asked.and_then(|entry| entry.asked).unwrap_or(self.heard);
        let unsent = self.sent + self.time_limit.saturating_sub(spec::MARGIN);
        unsent.min(self.heard.max(asked) + spec::QUIET)
    }

    /// An answer to the poll of that number came.
    pub(super) fn answered(&mut self, now: MonoTime, number: u16) {
        let Some(entry) =
            self.entries.iter_mut().find(|entry| entry.subject.poll().number == number)
        else {
            return;
        };
        let asked = entry.asked.unwrap_or(now);
        let result_by = now + spec::RESULT_WITHIN;
        let next = match entry.subject {
            Subject::Numerics => Some(result_by.min(asked + spec::RENEW_NUMERICS)),
            Subject::Waves => Some(result_by.min(asked + spec::RENEW_WAVES)),
            Subject::Alerts => Some(asked + spec::ALERTS_EVERY),
            Subject::NumericContext | Subject::WaveContext | Subject::Monitor => {
                Some(asked + spec::CONTEXT_EVERY)
            }
            Subject::KeepAlive => entry.due,
        };
        // What was refused or never granted stays so.
        entry.due = entry.due.and(next);
        let subject = entry.subject;
        self.open(now, subject);
    }

    /// The monitor refuses what was asked; what it was, if it was the last of its kind.
    pub(super) fn refused(&mut self, now: MonoTime, invoke_id: u16) -> Option<Subject> {
        let refused = |entry: &&mut Entry| entry.asked.is_some() && entry.invoke_id == invoke_id;
        let entry = self.entries.iter_mut().find(refused)?;
        entry.due = match entry.subject {
            // "On ROER for a wave poll, continue with numerics only", §10.
            Subject::Waves => None,
            Subject::Numerics => Some(now + spec::AGAIN),
            Subject::KeepAlive => entry.due,
            _ => Some(now + spec::REFUSED_AGAIN),
        };
        let subject = entry.subject;
        self.open(now, subject);
        Some(subject)
    }

    /// Asks for it soon, unless that was done a short while ago.
    pub(super) fn want(&mut self, now: MonoTime, subject: Subject) {
        if let Some(entry) = self.entries.iter_mut().find(|entry| entry.subject == subject) {
            let soon = entry.asked.map_or(now, |asked| now.max(asked + spec::AGAIN));
            entry.due = entry.due.map(|due| due.min(soon));
        }
    }

    /// Whether waves are asked for.
    pub(super) fn waves(&self) -> bool {
        self.entries.iter().any(|entry| entry.subject == Subject::Waves && entry.due.is_some())
    }

    /// What is known now lets numbers or waves be asked for.
    fn open(&mut self, now: MonoTime, subject: Subject) {
        let opens = match subject {
            Subject::NumericContext => Subject::Numerics,
            Subject::WaveContext => Subject::Waves,
            _ => return,
        };
        if let Some(entry) = self.entries.iter_mut().find(|entry| entry.subject == opens)
            && entry.asked.is_none()
        {
            entry.due = entry.due.map(|due| due.min(now));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> MonoTime {
        MonoTime::from_start(Duration::from_millis(ms))
    }

    /// Poll numbers of all messages that are due.
    fn asked(polls: &mut Polls, ms: u64) -> Vec<u8> {
        std::iter::from_fn(|| polls.next(at(ms))).map(|message| message[29]).collect()
    }

    fn opened() -> Polls {
        Polls::new(at(0), true, Duration::from_secs(10))
    }

    #[test]
    fn numbers_and_waves_are_asked_for_when_their_labels_are_known() {
        let mut polls = opened();
        assert_eq!(asked(&mut polls, 0), [5, 6, 4, 3]);
        polls.answered(at(50), 5);
        assert_eq!(asked(&mut polls, 50), [1]);
        assert_eq!(polls.refused(at(60), 2), Some(Subject::WaveContext));
        assert_eq!(asked(&mut polls, 60), [2]);
        assert_eq!(asked(&mut opened(), 3_000), [5, 6, 1, 2, 4, 3], "or after three seconds");
    }

    #[test]
    fn a_poll_is_renewed_before_it_ends_and_asked_again_when_nothing_comes() {
        let mut polls = opened();
        assert_eq!(asked(&mut polls, 3_000), [5, 6, 1, 2, 4, 3]);
        for subject in [5, 6, 3] {
            polls.answered(at(3_000), subject);
        }
        let mut renewed = vec![];
        for ms in (3_000..60_000).step_by(500) {
            polls.heard(at(ms));
            for subject in [1, 2, 4] {
                polls.answered(at(ms), subject);
            }
            renewed.extend(
                asked(&mut polls, ms)
                    .into_iter()
                    .filter(|number| *number != 4)
                    .map(|number| (number, ms)),
            );
        }
        assert_eq!(renewed, [(2, 23_000), (2, 43_000), (1, 53_000)]);
        assert_eq!(asked(&mut polls, 64_500), [5, 6, 1, 2, 4, 3, 7]);
    }

    #[test]
    fn waves_that_are_refused_are_not_asked_for_again() {
        let mut polls = opened();
        assert_eq!(asked(&mut polls, 3_000), [5, 6, 1, 2, 4, 3]);
        assert!(polls.waves());
        assert_eq!(polls.refused(at(3_100), 4), Some(Subject::Waves));
        polls.answered(at(3_200), 2);
        assert!(!polls.waves());
        assert!(!asked(&mut polls, 100_000).contains(&2));
    }

    #[test]
    fn alarms_are_asked_for_every_second_one_answer_at_a_time() {
        let mut polls = opened();
        asked(&mut polls, 0);
        assert!(asked(&mut polls, 1_500).is_empty(), "not before the answer");
        polls.answered(at(1_600), 4);
        assert_eq!(asked(&mut polls, 1_600), [4]);
        polls.answered(at(1_700), 4);
        assert!(asked(&mut polls, 2_500).is_empty());
        assert_eq!(asked(&mut polls, 2_600), [4]);
    }

    #[test]
    fn a_quiet_line_is_kept_alive() {
        let mut polls = opened();
        polls.entries.iter_mut().for_each(|entry| entry.due = None);
        assert_eq!(polls.due(), at(4_000));
        assert_eq!(asked(&mut polls, 4_000), [7]);
        assert_eq!(polls.due(), at(8_000));
        for ms in (4_000..13_000).step_by(200) {
            polls.heard(at(ms));
            assert!(asked(&mut polls, ms).is_empty(), "{ms}");
        }
        polls.heard(at(13_000));
        assert_eq!(asked(&mut polls, 13_000), [7], "nine seconds after we said something");
    }
}
