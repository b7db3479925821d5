//! The cuff: when a packet is a new measurement, and when it is the last one again (§6.3, §7).

use super::spec;
use crate::serial::Cursor;
use model::time::MonoTime;

/// A result as the module repeats it: systolic, mean, diastolic in mmHg; 0 where there is none.
pub(super) type Pressures = [u8; 3];

/// What a packet says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum CuffNews {
    /// Nothing that is new.
    Nothing,
    /// The cuff works.
    Running,
    /// A measurement is finished.
    Result { pressures: Pressures, time_known: bool },
    /// The module reports that the last measurement failed.
    Failed { state: u8, just_now: bool },
}

/// Follows the cuff's state.
#[derive(Debug, Default)]
pub(super) struct Cuff {
    /// When the last packet of a running measurement came.
    running_at: Option<MonoTime>,
    state: Option<u8>,
    last_result: Option<Pressures>,
}

impl Cuff {
    /// The cursor is the last result.
    pub(super) fn new(cursor: Option<&Cursor>) -> Self {
        let last_result = cursor.and_then(|cursor| cursor.0.as_slice().try_into().ok());
        Self { last_result, ..Self::default() }
    }

    pub(super) fn cursor(&self) -> Option<Cursor> {
        self.last_result.map(|result| Cursor(result.to_vec()))
    }

    pub(super) fn take(&mut self, now: MonoTime, state: u8, pressures: Pressures) -> CuffNews {
        let before = self.state.replace(state);
        if spec::RUNNING.contains(&state) {
            self.running_at = Some(now);
            return CuffNews::Running;
        }
        let began = self.running_at.take();
        let running = began.is_some_and(|at| now.since(at) < spec::CYCLE_MAX);
        let [systolic, _, diastolic] = pressures;
        match state {
            // "State 0 with zeros is the idle report"; one zero is a part that is missing.
            spec::FINISHED if systolic == 0 && diastolic == 0 => CuffNews::Nothing,
            // Without a running state it was measured before this driver listened: nobody knows
            // when.
            spec::FINISHED if running || self.last_result != Some(pressures) => {
                self.last_result = Some(pressures);
                CuffNews::Result { pressures, time_known: running }
            }
            spec::FAILED_FIRST..=spec::FAILED_LAST => {
                // A failure that was there from the first packet may be an old one.
                let just_now = running || before.is_some_and(|before| before != state);
                CuffNews::Failed { state, just_now }
            }
            _ => CuffNews::Nothing,
        }
    }
}
