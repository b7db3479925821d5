//! Alerts: what a nurse sees, how it lives, who has it in hand.

use crate::{binding::PatientKey, danger::DangerSign, freshness::Place, ladder::Level};
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
/// What a story at a box says of what somebody at the county did: it is no news there.
pub const OF_COUNTY: &str = "county";
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
        #[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
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

            /// The one of that name.
            #[must_use]
            pub fn from_name(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|one| one.name() == name)
            }
        }
    };
}
pub(crate) use named;

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
        /// Somebody wants it quiet until a moment.
        Shelved = "shelved";
        /// Another alert stands for it.
        Suppressed = "suppressed";
        /// Its device or bed was taken off.
        OutOfService = "out_of_service";
    }
}

impl AlertState {
    /// Whether the condition holds, as far as anybody knows.
    #[must_use]
    pub const fn is_active(self) -> bool {
        matches!(self, Self::ActiveUnack | Self::ActiveAck | Self::Unknown)
    }

    /// Whether it hides where the alert stands.
    #[must_use]
    pub const fn is_set_aside(self) -> bool {
        matches!(self, Self::Shelved | Self::Suppressed | Self::OutOfService)
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
        /// It still holds long after somebody had it in hand, and sounds again.
        Realarmed = "realarmed";
        /// The next person is told.
        Escalated = "escalated";
        /// It is over, and still nobody has seen it.
        Reminded = "reminded";
        /// Somebody handed it to somebody.
        Assigned = "assigned";
        /// Somebody wants it quiet until a moment.
        Shelved = "shelved";
        /// It is on the shelf no more.
        Unshelved = "unshelved";
        /// Another alert stands for it.
        Suppressed = "suppressed";
        /// It stands for itself again.
        Unsuppressed = "unsuppressed";
        /// Its device or bed was taken off.
        OutOfService = "out_of_service";
        /// Its device or bed is back.
        InService = "in_service";
        /// Somebody wrote something down.
        Noted = "noted";
        /// Somebody was asked for danger signs, and these were there.
        DangerSigns = "danger_signs";
        /// Somebody took back what they did.
        Undone = "undone";
    }
}

/// Why an alert was closed in whose place its box told of another.
pub(crate) const TOLD_BY_BOX: &str = "it is a part of what the box told";
/// Why an alert of a device was closed that came to where another holds.
pub(crate) const SAME_OF_DEVICE: &str = "another of its device is the same";

/// One line of an alert's story.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct TimelineEntry {
    /// Its place in the whole story, from 1: entries may have been left out before it. 0 where it
    /// was written before entries had one.
    #[serde(default)]
    pub number: u32,
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
    /// To whom it went, or who else wanted it so.
    #[serde(default)]
    pub to: Option<String>,
    /// Until when.
    #[serde(default)]
    pub until: Option<WallTime>,
    /// At which board that person did it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub board: Option<String>,
}

impl TimelineEntry {
    /// That something happened, and nothing else; it has no number before it stands in a story.
    #[must_use]
    pub const fn new(at: WallTime, what: TimelineEvent) -> Self {
        Self {
            number: 0,
            at,
            what,
            by: None,
            detail: String::new(),
            reason: None,
            note: String::new(),
            to: None,
            until: None,
            board: None,
        }
    }

    /// Whether it says that the alert was closed though what it was about goes on: in another.
    #[must_use]
    pub fn goes_on_in_another(&self) -> bool {
        self.what == TimelineEvent::Closed && [TOLD_BY_BOX, SAME_OF_DEVICE].contains(&&*self.detail)
    }
}

/// Who wants it quiet, and until when.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Shelf {
    /// Name of the person.
    pub by: String,
    /// Who agreed, where one person is not enough.
    pub second: Option<String>,
    /// County clock.
    pub at: WallTime,
    /// Until when.
    pub until: WallTime,
    /// In the person's words.
    pub reason: String,
}

/// What somebody may take back.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct Undo {
    pub(crate) by: String,
    pub(crate) at: WallTime,
    /// That it was shelved; else that it was acknowledged.
    pub(crate) shelved: bool,
    pub(crate) priority: Priority,
    pub(crate) unanswered_since: WallTime,
}

/// What people made of an alert, and how far it went while nobody answered.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub struct People {
    /// To whom it was handed.
    pub assigned_to: Option<String>,
    /// Who wants it quiet.
    pub shelf: Option<Shelf>,
    /// The rule whose alert stands for it.
    pub suppressed_by: Option<String>,
    /// Its device or bed was taken off.
    pub out_of_service: bool,
    /// Who was told last.
    pub level: Level,
    /// How often it sounded again after somebody had it in hand.
    pub realarms: u32,
    /// Since when nobody has answered, by the county's clock; it was raised where there is none.
    pub(crate) unanswered_since: Option<WallTime>,
    /// How long it had sounded unanswered when it was over, in ms: what comes back goes on from there.
    pub(crate) unanswered_ms: i64,
    /// How often it was reminded of since then.
    pub(crate) reminders: i64,
    /// Where it stands under what sets it aside.
    pub(crate) under: Option<AlertState>,
    pub(crate) undo: Option<Undo>,
    /// Danger signs that were there when somebody last asked; `None`: nobody has.
    pub danger_signs: Option<Vec<DangerSign>>,
    /// At a box: whoever has it in hand is somebody at the county, and when the last of them said so.
    pub(crate) told: bool,
    pub(crate) told_at: Option<WallTime>,
    /// Until when it was on the shelf last, as the county said and by its clock.
    pub(crate) told_shelf: Option<WallTime>,
    /// At the county: when somebody at its box had it in hand last, as that told.
    pub(crate) seen_at_box: Option<WallTime>,
    /// At the county: when its box said that somebody has it in hand, where that is the last it said:
    /// the word that names them may be on its way.
    pub(crate) in_hand_at_box: Option<WallTime>,
    /// At the county: where the newest word of its box about it was.
    pub(crate) told_by_box: Option<Place>,
    /// Whoever has it in hand took in hand what began then, as a part of it.
    pub(crate) part_began: Option<WallTime>,
    /// When what nobody knew of it was known again last.
    pub(crate) known_at: Option<WallTime>,
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
    /// What else people made of it.
    #[serde(default)]
    pub people: People,
    /// It was over before anybody could see it.
    pub retro: bool,
    /// Its device latched it: it does not close by itself.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub latched: bool,
    /// It came back so soon that it does not sound again.
    #[serde(default)]
    pub quiet: bool,
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

impl Alert {
    pub(crate) fn tell(
        &mut self,
        at: WallTime,
        what: TimelineEvent,
        by: Option<&str>,
        detail: String,
    ) {
        let by = by.map(ToOwned::to_owned);
        self.add(TimelineEntry { by, detail, ..TimelineEntry::new(at, what) });
    }

    pub(crate) fn add(&mut self, entry: TimelineEntry) {
        let last = self.timeline.last().map_or(0, |last| last.number);
        let number = last.max(u32::try_from(self.timeline.len()).unwrap_or(u32::MAX)) + 1;
        // The first entries say how it began; of the rest the newest count, and what people did.
        if self.timeline.len() >= TIMELINE_MAX {
            let reminder = |entry: &TimelineEntry| entry.what == TimelineEvent::Reminded;
            let place = self.timeline.iter().position(reminder).unwrap_or(TIMELINE_MAX / 2);
            self.timeline.remove(place);
        }
        self.timeline.push(TimelineEntry { number, ..entry });
    }

    /// Where it stands, whatever sets it aside.
    #[must_use]
    pub fn condition(&self) -> AlertState {
        self.people.under.unwrap_or(self.state)
    }

    /// Who has it in hand, or should have.
    #[must_use]
    pub fn owner(&self) -> Option<&str> {
        let acknowledged = self.acknowledged.as_ref().map(|by| by.by.as_str());
        self.people.assigned_to.as_deref().or(acknowledged)
    }

    /// Since when somebody has it in hand, as far as is known.
    pub(crate) fn in_hand_since(&self) -> Option<WallTime> {
        self.acknowledged.as_ref().map(|by| by.at).or(self.people.in_hand_at_box)
    }

    /// Where it stands while it holds: in somebody's hand or nobody's.
    pub(crate) fn active(&self) -> AlertState {
        match self.in_hand_since() {
            Some(_) => AlertState::ActiveAck,
            None => AlertState::ActiveUnack,
        }
    }

    /// Since when nobody has answered.
    pub(crate) fn unanswered_since(&self) -> WallTime {
        self.people.unanswered_since.unwrap_or(self.raised_at)
    }

    /// How long nobody had answered by then, in ms.
    pub(crate) fn unanswered_ms(&self, then: WallTime) -> i64 {
        then.unix_ms().saturating_sub(self.unanswered_since().unix_ms()).max(0)
    }

    /// Its life goes on there, under whatever sets it aside.
    pub(crate) fn go(&mut self, to: AlertState) {
        self.people.under = None;
        self.state = to;
        self.set_aside();
    }

    /// It sounds from now on.
    pub(crate) fn sound(&mut self, now: WallTime) {
        self.people.unanswered_since = Some(now);
        self.quiet = false;
        self.go(AlertState::ActiveUnack);
    }

    /// It sounds again, and the next persons are told as if it had never stopped: nobody answered.
    pub(crate) fn sound_on(&mut self, now: WallTime, unanswered_ms: i64) {
        self.sound(WallTime::from_unix_ms(now.unix_ms().saturating_sub(unanswered_ms)));
    }

    /// It waits from now on for somebody to see that it is over.
    pub(crate) fn wait(&mut self, now: WallTime) {
        self.people.unanswered_since = Some(now);
        self.people.reminders = 0;
        self.go(AlertState::ClearedUnack);
    }

    /// Something that set it aside is over: what sounds then sounds from now on.
    pub(crate) fn take_back(&mut self, now: WallTime) {
        self.set_aside();
        if self.state == AlertState::ActiveUnack {
            self.people.unanswered_since = Some(now);
        }
    }

    /// What sets it aside shows, and under it where it stands. What is over is not kept by another
    /// alert or a device that is away; a shelf keeps it until its time.
    pub(crate) fn set_aside(&mut self) {
        let condition = self.condition();
        let over = condition == AlertState::Closed;
        let aside = [
            (self.people.out_of_service && !over, AlertState::OutOfService),
            (self.people.shelf.is_some(), AlertState::Shelved),
            (self.people.suppressed_by.is_some() && !over, AlertState::Suppressed),
        ];
        let aside = aside.into_iter().find_map(|(holds, state)| holds.then_some(state));
        self.people.under = aside.map(|_| condition);
        self.state = aside.unwrap_or(condition);
    }

    /// Nobody wants it quiet any more.
    pub(crate) fn take_off_shelf(&mut self, now: WallTime) {
        if self.people.shelf.take().is_some() {
            self.tell(now, TimelineEvent::Unshelved, None, String::new());
        }
    }

    /// It is over, whatever sets it aside.
    pub(crate) fn close(&mut self, at: WallTime, why: &str) {
        self.tell(at, TimelineEvent::Closed, None, why.to_owned());
        self.people.shelf = None;
        self.people.undo = None;
        self.go(AlertState::Closed);
    }

    /// Whoever had it in hand has not any more, and the next persons are still to be told.
    pub(crate) fn begin_anew(&mut self) {
        self.acknowledged = None;
        self.people.in_hand_at_box = None;
        self.people.part_began = None;
        self.people.level = Level::First;
        self.people.unanswered_ms = 0;
        self.people.undo = None;
    }
}

/// What a person wrote, as it is kept.
pub(crate) fn words(text: &str) -> String {
    text.chars().filter(|letter| !letter.is_control()).take(NOTE_LEN_MAX).collect()
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
