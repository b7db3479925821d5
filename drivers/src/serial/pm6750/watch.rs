//! Which streams come. One that does not come is enabled again a few times.
//!
//! There is no acknowledgement: a stream is confirmed by the arrival of its packets (§5).

use super::codec::{Command, Switch};
use model::time::MonoTime;
use std::time::Duration;

/// "Confirm each stream by the arrival of its packets within 2 s, else resend (max 3)", §5.
const CONFIRM: Duration = Duration::from_secs(2);
const RESEND_MAX: u8 = 3;
/// The slowest stream has a packet each second; three missed are silence, as for the link (§7).
const STREAM_SILENCE: Duration = Duration::from_secs(3);

/// What one enable command brings, told apart by packet type.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Source {
    EcgWave,
    EcgParameters,
    Spo2,
    Temperature,
    Pleth,
    Respiration,
}

impl Source {
    const ALL: [Self; 6] = [
        Self::EcgWave,
        Self::EcgParameters,
        Self::Spo2,
        Self::Temperature,
        Self::Pleth,
        Self::Respiration,
    ];

    /// What enables it.
    pub(super) const fn enable(self) -> Command {
        match self {
            Self::EcgWave | Self::EcgParameters => Command::Ecg(Switch::On),
            Self::Spo2 => Command::Spo2(Switch::On),
            Self::Temperature => Command::Temperature(Switch::On),
            Self::Pleth => Command::Pleth(Switch::On),
            Self::Respiration => Command::Respiration(Switch::On),
        }
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Watched {
    due: Option<MonoTime>,
    resends: u8,
}

/// A stream whose packets did not come in time.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Overdue {
    pub(super) source: Source,
    /// Whether it is worth to enable it again.
    pub(super) again: bool,
}

/// Watches all streams.
#[derive(Debug, Default)]
pub(super) struct Watch {
    watched: [Watched; Source::ALL.len()],
}

impl Watch {
    /// Everything was enabled.
    pub(super) fn begin(&mut self, now: MonoTime) {
        // What came already is watched already.
        for watched in self.watched.iter_mut().filter(|watched| watched.due.is_none()) {
            watched.due = Some(now + CONFIRM);
        }
    }

    /// A packet came.
    pub(super) fn hear(&mut self, source: Source, now: MonoTime) {
        for (_, watched) in self.of(source) {
            *watched = Watched { due: Some(now + STREAM_SILENCE), resends: 0 };
        }
    }

    /// Streams that are overdue; each is due again later, as long as it is enabled again.
    pub(super) fn overdue(&mut self, now: MonoTime) -> Vec<Overdue> {
        let mut overdue = Vec::new();
        for (source, watched) in Source::ALL.into_iter().zip(&mut self.watched) {
            if watched.due.is_none_or(|due| now < due) {
                continue;
            }
            let again = watched.resends < RESEND_MAX;
            watched.resends = watched.resends.saturating_add(1);
            watched.due = again.then(|| now + CONFIRM);
            overdue.push(Overdue { source, again });
        }
        overdue
    }

    pub(super) fn next(&self) -> Option<MonoTime> {
        self.watched.iter().filter_map(|watched| watched.due).min()
    }

    fn of(&mut self, source: Source) -> impl Iterator<Item = (Source, &mut Watched)> {
        Source::ALL.into_iter().zip(&mut self.watched).filter(move |(one, _)| *one == source)
    }
}
