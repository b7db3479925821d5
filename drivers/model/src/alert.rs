//! Alerts between the ends: what one became at the box, told to the county; and which of them
//! somebody at the county has in hand, told to the box.
//!
//! Not here: when an alert is raised and what its states mean (`rules`); their names travel as
//! texts, so that a state of the future is no reason to lose the rest.

use crate::{
    alarm::Priority,
    id::DeviceId,
    metric::Metric,
    reading::cut,
    time::{Observed, WallTime},
};

/// Rules of one family that hold at once.
pub const RULES_MAX: usize = 16;
/// What an alert says: a rule's message, or what a device said.
const MESSAGE_LEN_MAX: usize = 512;
/// 500 letters of any script.
const NOTE_LEN_MAX: usize = 2000;

/// One change of an alert at the edge, and what the alert is since.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct EdgeAlert {
    /// Identity of the alert, the same at both ends.
    pub id: [u8; 16],
    /// Whom it is about: the patient's key if the binding list in force binds the device, else the
    /// device.
    pub subject: String,
    /// The device, or the box itself under the name of its site.
    pub device: DeviceId,
    /// What belongs together: `hr_low`, `bp_high`.
    pub family: String,
    /// Rules that hold, the most urgent first; at most [`RULES_MAX`].
    pub rules: Vec<String>,
    /// As it is shown at the edge.
    pub priority: Priority,
    /// Where it stands: `active_unack`.
    pub state: String,
    /// The metric that was read.
    pub metric: Option<Metric>,
    /// The value as printed.
    pub value: Option<String>,
    /// `<` or `>` before the value.
    pub comparator: Option<String>,
    /// Its unit.
    pub unit: Option<String>,
    /// The limit as printed: `< 40`.
    pub limit: Option<String>,
    /// What it says, in Chinese.
    pub message_zh: String,
    /// What it says, in English.
    pub message_en: String,
    /// `t_meas` of the first reading outside, by the box's clock.
    pub started_at: WallTime,
    /// `t_meas` when the condition was over.
    pub cleared_at: Option<WallTime>,
    /// What happened: `raised`, `acknowledged`.
    pub what: String,
    /// Who did it, if it was a person.
    pub by: Option<String>,
    /// Why that person did: a code such as `at_bedside`.
    pub reason: Option<String>,
    /// More about it, or in that person's words.
    pub note: String,
    /// Number of the rule set in force; 0 where the box has none of the county.
    pub rule_set: u64,
    /// Version of the binding list in force; 0 where the box has none.
    pub bindings: u64,
    /// The agent's clock when it happened.
    pub observed: Observed,
    /// Its device latched it: it does not close by itself.
    pub latched: bool,
}

/// An alert that somebody at the county has in hand, or has put on the shelf: its box does not call
/// for it again.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct InHand {
    /// Identity of the alert, the same at both ends.
    pub id: [u8; 16],
    /// How urgent it was then: one that is more urgent since is another danger.
    pub priority: Priority,
    /// How often it had come back then.
    pub recurrences: u32,
    /// Who has it in hand.
    pub acknowledged: Option<Acknowledged>,
    /// Who wants it quiet.
    pub shelved: Option<Shelved>,
}

/// Somebody at the county has it in hand.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Acknowledged {
    /// Name of the person.
    pub by: String,
    /// A code such as `at_bedside`.
    pub reason: String,
    /// County clock.
    pub at: WallTime,
}

/// Somebody at the county wants it quiet.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Shelved {
    /// Name of the person.
    pub by: String,
    /// Until when, by the county's clock.
    pub until: WallTime,
}

/// What an alert says, without control characters, not longer than a record carries.
#[must_use]
pub fn message(text: &str) -> String {
    cut(text, MESSAGE_LEN_MAX)
}

/// A note, without control characters, not longer than a record carries.
#[must_use]
pub fn note(text: &str) -> String {
    cut(text, NOTE_LEN_MAX)
}
