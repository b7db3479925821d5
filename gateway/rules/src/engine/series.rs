//! Where one rule stands on one series: how long outside, how long inside.

use crate::rule::Promote;
use model::{alarm::Priority, time::WallTime};
use serde::{Deserialize, Serialize};

/// Where one rule stands on one series.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub(super) struct Series {
    /// `t_meas` of the first reading outside in a row.
    outside_since: Option<WallTime>,
    /// `t_meas` of the first reading that clears in a row.
    inside_since: Option<WallTime>,
    firing: bool,
    /// A stream said so: no single value ends it.
    #[serde(default)]
    sustained: bool,
    /// A second value confirmed the first.
    promoted: bool,
    /// `t_meas` of the value that waits to be confirmed.
    #[serde(default)]
    confirm_from: Option<WallTime>,
    /// `t_meas` of the newest spot value outside.
    #[serde(default)]
    spot_outside: Option<WallTime>,
}

/// What a reading did.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Judged {
    /// The rule's condition holds.
    Firing {
        /// A second value raised the priority.
        promoted: Option<Priority>,
    },
    /// It held and is over.
    Cleared,
    /// Nothing to say.
    Quiet,
}

impl Series {
    /// What was judged elsewhere: outside since then, for long enough, and confirmed or not.
    pub(super) fn adopted(since: WallTime, promoted: bool) -> Self {
        let (outside_since, confirm_from) = (Some(since), Some(since));
        Self { outside_since, confirm_from, firing: true, promoted, ..Self::default() }
    }

    /// No value of before confirms the next one.
    pub(super) fn unconfirmed(self) -> Self {
        Self { confirm_from: None, ..self }
    }

    /// The same as it was told later: since the later of both.
    pub(super) fn later(self, told: Self) -> Self {
        let outside_since = self.outside_since.max(told.outside_since);
        let confirm_from = self.confirm_from.max(told.confirm_from);
        Self { outside_since, confirm_from, ..told }
    }

    /// It was found by a stream.
    pub(super) const fn sustained(self) -> Self {
        Self { sustained: true, ..self }
    }

    pub(super) const fn is_sustained(&self) -> bool {
        self.firing && self.sustained
    }

    pub(super) const fn holds(&self) -> bool {
        self.firing
    }

    /// It holds, and the newest readings say that it may be over.
    pub(super) const fn is_ending(&self) -> bool {
        self.firing && self.inside_since.is_some()
    }

    /// Sustain and hold begin anew; what fires goes on.
    pub(super) fn begin_anew(&mut self) {
        self.inside_since = None;
        if !self.firing {
            self.outside_since = None;
        }
    }

    /// Another way of measuring goes on with what this one said: what fires does, nothing else.
    pub(super) fn hand_over(&mut self, to: &mut Self) {
        if self.firing && !to.firing {
            *to = Self { inside_since: None, ..*self };
        }
        to.sustained |= self.is_sustained();
    }

    /// As somebody found who has heard more of it; what holds there holds here where it `joins` what
    /// is known, and else with the next value outside.
    pub(super) fn going_on_as(self, other: Self, joins: bool) -> Self {
        if self.firing && !other.firing {
            // It ends by a value that is heard here.
            return self;
        }
        let outside_since = [self.outside_since, other.outside_since].into_iter().flatten().min();
        let outside_since = outside_since.filter(|_| other.outside_since.is_some());
        // What raised the priority may have been before anything that the other has heard.
        let promoted = other.promoted || (self.firing && self.promoted);
        Self { outside_since, promoted, firing: other.firing && (joins || self.firing), ..other }
    }

    /// It holds, as somebody else found.
    pub(super) fn fires(&mut self) {
        self.firing = true;
    }

    /// Since when its condition holds, where its sustain is running.
    pub(super) fn pending_since(&self) -> Option<WallTime> {
        self.outside_since.filter(|_| !self.firing)
    }

    pub(super) fn outside_since(&self) -> Option<WallTime> {
        self.outside_since
    }

    /// A reading that repeats: outside for the sustain, then inside for the hold.
    pub(super) fn stream(
        &mut self,
        at: WallTime,
        outside: bool,
        clears: bool,
        sustain_ms: i64,
        hold_ms: i64,
    ) -> Judged {
        let since = |begin: WallTime| at.unix_ms().saturating_sub(begin.unix_ms());
        if outside {
            self.inside_since = None;
            let begin = *self.outside_since.get_or_insert(at);
            self.firing |= since(begin) >= sustain_ms;
            self.sustained |= self.firing;
            return if self.firing { Judged::Firing { promoted: None } } else { Judged::Quiet };
        }
        if !self.firing {
            self.outside_since = None;
            return Judged::Quiet;
        }
        if !clears {
            self.inside_since = None;
            return Judged::Firing { promoted: None };
        }
        let begin = *self.inside_since.get_or_insert(at);
        if since(begin) < hold_ms {
            return Judged::Firing { promoted: None };
        }
        *self = Self::default();
        Judged::Cleared
    }

    /// A reading of its own: fires at once, and the next one that is normal clears.
    pub(super) fn spot(&mut self, at: WallTime, outside: bool, promote: Option<Promote>) -> Judged {
        if !outside {
            // Two ways of measuring at one moment: the next reading clears, not this one.
            if self.spot_outside == Some(at) {
                return Judged::Firing { promoted: None };
            }
            let fired = self.firing;
            *self = Self::default();
            return if fired { Judged::Cleared } else { Judged::Quiet };
        }
        self.outside_since.get_or_insert(at);
        self.inside_since = None;
        self.spot_outside = Some(at);
        self.firing = true;
        if let Some(promote) = promote {
            let first = *self.confirm_from.get_or_insert(at);
            let later = at.unix_ms().saturating_sub(first.unix_ms());
            self.promoted |= (promote.after_ms..=promote.within_ms).contains(&later);
            if later > promote.within_ms {
                // Too late to confirm that one: it waits to be confirmed itself.
                self.confirm_from = Some(at);
            }
        }
        Judged::Firing { promoted: promote.filter(|_| self.promoted).map(|promote| promote.to) }
    }
}
