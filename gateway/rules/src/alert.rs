//! Alerts: what a nurse sees, how it lives, who has it in hand.

use crate::binding::PatientKey;
use aws_lc_rs::digest::{SHA256, digest};
use model::{
    alarm::Priority,
    id::{DeviceId, SiteId},
    metric::Metric,
    time::WallTime,
};
use serde::{Deserialize, Serialize};
use std::fmt;
use thiserror::Error;

/// Entries of a timeline: a bad night with an alert that comes back.
const TIMELINE_MAX: usize = 64;
/// Longest note.
const NOTE_LEN_MAX: usize = 500;

/// Identity of an alert, the same wherever it is computed.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct AlertId([u8; 16]);

impl AlertId {
    /// The first 16 bytes of SHA-256 over `v1|site|subject|family|t_meas in ms`.
    #[must_use]
    pub fn new(site: &SiteId, subject: &str, family: &str, t_meas: WallTime) -> Self {
        let text = format!("v1|{site}|{subject}|{family}|{}", t_meas.unix_ms());
        let hash = digest(&SHA256, text.as_bytes());
        let mut id = [0; 16];
        for (byte, hashed) in id.iter_mut().zip(hash.as_ref()) {
            *byte = *hashed;
        }
        Self(id)
    }

    /// From the 16 bytes that a box tells.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The 16 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// From the 32 hex digits that `Display` prints.
    #[must_use]
    pub fn from_hex(text: &str) -> Option<Self> {
        model::id::OutboxId::from_hex(text).map(|bytes| Self(*bytes.as_bytes()))
    }
}

impl fmt::Display for AlertId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(out, "{byte:02x}"))
    }
}

/// No alert id.
#[derive(Debug, Error)]
#[error("\"{0}\" is no alert id; it has 32 hex digits")]
pub struct ParseAlertIdError(String);

impl TryFrom<String> for AlertId {
    type Error = ParseAlertIdError;
    fn try_from(text: String) -> Result<Self, ParseAlertIdError> {
        Self::from_hex(&text).ok_or(ParseAlertIdError(text))
    }
}

impl From<AlertId> for String {
    fn from(id: AlertId) -> Self {
        id.to_string()
    }
}

/// An enumeration of the API: its variants and their names, in one list.
macro_rules! named {
    ($(#[$about:meta])* $type:ident { $($(#[$doc:meta])* $variant:ident = $text:literal;)* }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
        #[serde(rename_all = "snake_case")]
        pub enum $type { $($(#[$doc])* $variant,)* }

        impl $type {
            /// Every one.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The name in the API.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }
        }
    };
}

named! {
    /// States of an alert (ISA-18.2).
    AlertState {
        /// The condition holds and nobody has it in hand.
        ActiveUnack = "active_unack";
        /// The condition holds and somebody has it in hand.
        ActiveAck = "active_ack";
        /// The condition is over and nobody saw it.
        ClearedUnack = "cleared_unack";
        /// Over.
        Closed = "closed";
        /// The device is silent: nobody knows.
        Unknown = "unknown";
    }
}

impl AlertState {
    /// Whether the condition holds, as far as anybody knows.
    #[must_use]
    pub const fn is_active(self) -> bool {
        matches!(self, Self::ActiveUnack | Self::ActiveAck | Self::Unknown)
    }
}

named! {
    /// Why somebody acknowledges.
    AckReason {
        /// Somebody is at the bed.
        AtBedside = "at_bedside";
        /// The doctor was called.
        DoctorCalled = "doctor_called";
        /// It is measured again.
        Rechecking = "rechecking";
        /// The probe is loose.
        ProbeLoose = "probe_loose";
        /// It is none.
        FalseAlarm = "false_alarm";
        /// The patient was referred.
        Referred = "referred";
    }
}

impl AckReason {
    /// The reason of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|reason| reason.name() == name)
    }
}

/// Who has it in hand.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Acknowledgement {
    /// Name of the person.
    pub by: String,
    /// County clock.
    pub at: WallTime,
    /// Why.
    pub reason: AckReason,
    /// In the person's words.
    pub note: String,
}

named! {
    /// What happened to an alert.
    TimelineEvent {
        /// It was raised.
        Raised = "raised";
        /// It was raised by what came late: nobody is called.
        RaisedLate = "raised_late";
        /// It came back within five minutes.
        Recurred = "recurred";
        /// Its priority rose.
        PriorityRose = "priority_rose";
        /// Its priority fell.
        PriorityFell = "priority_fell";
        /// Somebody has it in hand.
        Acknowledged = "acknowledged";
        /// The condition is over.
        Cleared = "cleared";
        /// It was closed.
        Closed = "closed";
        /// The device fell silent.
        BecameUnknown = "became_unknown";
        /// The device speaks again.
        Known = "known";
    }
}

/// One line of an alert's story.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct TimelineEntry {
    /// When.
    pub at: WallTime,
    /// What.
    pub what: TimelineEvent,
    /// Who, if it was a person.
    pub by: Option<String>,
    /// More about it.
    pub detail: String,
    /// Why that person acknowledged.
    #[serde(default)]
    pub reason: Option<AckReason>,
    /// In that person's words.
    #[serde(default)]
    pub note: String,
}

/// Our message that a rule's condition holds.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Alert {
    /// Never changes.
    pub id: AlertId,
    /// Site of the device.
    pub site: SiteId,
    /// The device that raised it; of several the one with the most urgent rule.
    pub device: DeviceId,
    /// The patient whose device it is.
    #[serde(default)]
    pub patient: Option<PatientKey>,
    /// What belongs together: `hr_low`, `bp_high`.
    pub family: String,
    /// Rules that hold, the most urgent first.
    pub rules: Vec<String>,
    /// As it is shown: the highest so far until somebody acknowledges.
    pub priority: Priority,
    /// Where it stands.
    pub state: AlertState,
    /// The metric that was read.
    pub metric: Option<Metric>,
    /// The value as printed, at the latest reading outside.
    pub value: Option<String>,
    /// `<` or `>` before the value.
    pub comparator: Option<String>,
    /// Its canonical unit.
    pub unit: Option<String>,
    /// The limit as printed: `< 40`.
    pub limit: Option<String>,
    /// What it says, in Chinese.
    pub message_zh: String,
    /// What it says, in English.
    pub message_en: String,
    /// `t_meas` of the first reading outside.
    pub started_at: WallTime,
    /// County clock when it was raised.
    pub raised_at: WallTime,
    /// `t_meas` when the condition was over.
    pub cleared_at: Option<WallTime>,
    /// Who has it in hand.
    pub acknowledged: Option<Acknowledgement>,
    /// It was over before anybody could see it.
    pub retro: bool,
    /// The row of the table of late data by which it is told, where it is.
    #[serde(default)]
    pub late_row: Option<u8>,
    /// A clock was wrong: when it began is what the county made of it.
    #[serde(default)]
    pub time_suspect: bool,
    /// When a spot value should have been measured again.
    #[serde(default)]
    pub recheck_at: Option<WallTime>,
    /// That time is long over, and nobody has.
    #[serde(default)]
    pub not_rechecked: bool,
    /// How often it came back.
    pub recurrences: u32,
    /// Its story.
    pub timeline: Vec<TimelineEntry>,
}

/// Why an alert could not be acknowledged.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum AcknowledgeError {
    /// There is none.
    #[error("there is no such alert any more; fetch the list again")]
    NotFound,
    /// Somebody was first.
    #[error("{by} has acknowledged it already")]
    AlreadyAcknowledged {
        /// Who.
        by: String,
    },
    /// It is over.
    #[error("the alert is closed; there is nothing to acknowledge")]
    NotActive,
}

impl Alert {
    pub(crate) fn tell(
        &mut self,
        at: WallTime,
        what: TimelineEvent,
        by: Option<&str>,
        detail: String,
    ) {
        let by = by.map(ToOwned::to_owned);
        self.add(TimelineEntry { at, what, by, detail, reason: None, note: String::new() });
    }

    fn add(&mut self, entry: TimelineEntry) {
        // The first entries say how it began; of the rest the newest count.
        if self.timeline.len() >= TIMELINE_MAX {
            self.timeline.remove(TIMELINE_MAX / 2);
        }
        self.timeline.push(entry);
    }

    /// A person has it in hand. The alert goes on at `present`, the priority of what holds now.
    pub(crate) fn acknowledge(
        &mut self,
        by: &str,
        reason: AckReason,
        note: &str,
        now: WallTime,
        present: Option<Priority>,
    ) -> Result<(), AcknowledgeError> {
        let first = self.acknowledged.as_ref().map(|first| first.by.clone());
        match (self.state, first) {
            (AlertState::Closed, None) => return Err(AcknowledgeError::NotActive),
            // The second of two nurses learns who was first, whether it is over meanwhile or not.
            (AlertState::Closed | AlertState::ActiveAck | AlertState::Unknown, Some(by)) => {
                return Err(AcknowledgeError::AlreadyAcknowledged { by });
            }
            (AlertState::ActiveUnack | AlertState::ActiveAck, _) => {
                self.state = AlertState::ActiveAck;
            }
            // That somebody has it in hand does not make it known.
            (AlertState::Unknown, None) => {}
            (AlertState::ClearedUnack, _) => self.state = AlertState::Closed,
        }
        let note: String =
            note.chars().filter(|letter| !letter.is_control()).take(NOTE_LEN_MAX).collect();
        self.add(TimelineEntry {
            at: now,
            what: TimelineEvent::Acknowledged,
            by: Some(by.to_owned()),
            detail: String::new(),
            reason: Some(reason),
            note: note.clone(),
        });
        self.acknowledged = Some(Acknowledgement { by: by.to_owned(), at: now, reason, note });
        if let Some(present) = present {
            self.priority = present;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_the_hash_of_what_makes_the_episode() {
        // printf 'v1|heping|ecg-01|hr_low|1795335300000' | sha256sum
        let site = SiteId::new("heping").unwrap();
        let id = AlertId::new(&site, "ecg-01", "hr_low", WallTime::from_unix_ms(1_795_335_300_000));
        assert_eq!(id.to_string(), ID);
        assert_eq!(AlertId::from_hex(ID), Some(id));
        assert_eq!(AlertId::from_hex("no"), None);
    }

    const ID: &str = "01c3f467e61afecef52ad3f7a1dae2e3";
}
