//! A rule that holds, and what it says.

use crate::alert::Alert;
use model::{alarm::Priority, id::DeviceId, metric::Metric, time::WallTime};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What an alert says where a value is implausible: a loose sensor, a wrong unit, or an emergency.
pub(crate) const CHECK: [&str; 2] = [",请核对", ", check"];
/// What it says where a spot value was not measured again in time.
pub(super) const NOT_RECHECKED: [&str; 2] = [",未复测", ", not rechecked"];
/// What it says where a clock was wrong (late data, row 10).
const IN_DOUBT: [&str; 2] = [",时间存疑", ", time in doubt"];

/// One rule that holds.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct Firing {
    pub(super) rule: String,
    /// Which device says so; `None`: it is about the subject as a whole.
    #[serde(default)]
    pub(super) device: Option<DeviceId>,
    /// Which device measured the value, where that is another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) measured_by: Option<DeviceId>,
    pub(super) priority: Priority,
    pub(super) since: WallTime,
    pub(super) metric: Option<Metric>,
    pub(super) value: Option<String>,
    pub(super) comparator: Option<String>,
    pub(super) limit: Option<String>,
    /// Its box said so, and says when it is over.
    #[serde(default)]
    pub(super) of_box: bool,
    /// Of what its box told of a number: the channels that have said since that it is over there,
    /// and since when.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) well: BTreeMap<String, WallTime>,
    /// It was told late, and its device has not been heard since.
    #[serde(default)]
    pub(super) late: bool,
    /// A device alarm that its device latched.
    #[serde(default)]
    pub(super) latched: bool,
    /// A clock was wrong: when it began is doubtful.
    #[serde(default)]
    pub(super) time_suspect: bool,
    /// The value is implausible.
    #[serde(default)]
    pub(super) check: bool,
    /// The value is a late result (late data, row 5): nobody has measured since.
    #[serde(default)]
    pub(super) late_result: bool,
    /// Of a spot value: when it should be measured again, and when it says that nobody did.
    #[serde(default)]
    pub(super) recheck_at: Option<WallTime>,
    #[serde(default)]
    pub(super) rechecked_until: Option<WallTime>,
    #[serde(default)]
    pub(super) not_rechecked: bool,
    /// What comes back so soon after its alert was raised is no other alert.
    #[serde(default)]
    pub(super) repeat_limit_ms: i64,
    pub(super) message_zh: String,
    pub(super) message_en: String,
}

impl Firing {
    /// A rule holds since then, and says so in Chinese and English.
    pub(super) fn new(rule: &str, priority: Priority, since: WallTime, says: [&str; 2]) -> Self {
        let [message_zh, message_en] = says.map(str::to_owned);
        Self {
            rule: rule.to_owned(),
            device: None,
            measured_by: None,
            priority,
            since,
            metric: None,
            value: None,
            comparator: None,
            limit: None,
            of_box: false,
            well: BTreeMap::new(),
            late: false,
            latched: false,
            time_suspect: false,
            check: false,
            late_result: false,
            recheck_at: None,
            rechecked_until: None,
            not_rechecked: false,
            repeat_limit_ms: 0,
            message_zh,
            message_en,
        }
    }

    /// Which device measured what it tells of.
    pub(super) fn told_of(&self) -> Option<&DeviceId> {
        self.measured_by.as_ref().or(self.device.as_ref())
    }

    /// It goes on by what another device says, and tells of the value of before.
    pub(super) fn goes_on_by(mut self, device: &DeviceId) -> Self {
        let measured_by = self.told_of().filter(|of| *of != device).cloned();
        self.measured_by = measured_by.filter(|_| self.value.is_some());
        self.device = Some(device.clone());
        self
    }

    /// What it says, in Chinese and English, with what there is to add.
    pub(super) fn says(&self) -> [String; 2] {
        let mut says = [self.message_zh.clone(), self.message_en.clone()];
        for (applies, words) in [
            (self.check, CHECK),
            (self.not_rechecked, NOT_RECHECKED),
            (self.time_suspect, IN_DOUBT),
        ] {
            if applies {
                says.iter_mut().zip(words).for_each(|(text, word)| text.push_str(word));
            }
        }
        says
    }

    /// What an alert that was made elsewhere rests on.
    pub(super) fn of(alert: &Alert, says: [&str; 2]) -> Self {
        let rule = alert.rules.first().map_or("", String::as_str);
        Self {
            device: Some(alert.device.clone()),
            metric: alert.metric,
            value: alert.value.clone(),
            comparator: alert.comparator.clone(),
            limit: alert.limit.clone(),
            time_suspect: alert.time_suspect,
            ..Self::new(rule, alert.priority, alert.started_at, says)
        }
    }
}

impl Firing {
    /// Whether what comes back is that alert: one is told in a time, however often it comes.
    pub(super) fn is_limited(&self, alert: &Alert) -> bool {
        let since_ms = self.since.unix_ms().saturating_sub(alert.started_at.unix_ms());
        // Where the clock was set back it began later than it comes back.
        since_ms.saturating_abs() < self.repeat_limit_ms
    }

    /// When it says that nobody measured again.
    pub(super) fn recheck_ends_at(&self) -> Option<WallTime> {
        self.rechecked_until.filter(|_| !self.not_rechecked)
    }

    /// Whether nobody measured again in time, and it does not say so yet.
    pub(super) fn is_late_recheck(&self, now: WallTime) -> bool {
        self.recheck_ends_at().is_some_and(|until| until <= now)
    }
}

/// What an alert said before there was something to add.
pub(super) fn bare(alert: &Alert) -> [&str; 2] {
    let mut says = [alert.message_zh.as_str(), alert.message_en.as_str()];
    for words in [IN_DOUBT, NOT_RECHECKED, CHECK] {
        for (text, word) in says.iter_mut().zip(words) {
            *text = text.strip_suffix(word).unwrap_or(text);
        }
    }
    says
}
