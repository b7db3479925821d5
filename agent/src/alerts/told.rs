//! An alert as the hook, the page and `status` are told: the names of the county's API.

use model::time::WallTime;
use rules::alert::{AckReason, Alert};
use serde::{Deserialize, Serialize};

/// An alert in words.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub(crate) struct Told {
    pub(crate) id: String,
    pub(crate) family: String,
    pub(crate) rules: Vec<String>,
    pub(crate) priority: String,
    pub(crate) state: String,
    pub(crate) device: String,
    /// Pseudonymous key.
    pub(crate) patient: Option<String>,
    /// Where the patient lies, as the list of bindings says.
    pub(crate) bed: Option<String>,
    pub(crate) metric: Option<String>,
    pub(crate) value: Option<String>,
    pub(crate) comparator: Option<String>,
    pub(crate) unit: Option<String>,
    pub(crate) limit: Option<String>,
    pub(crate) message_zh: String,
    pub(crate) message_en: String,
    pub(crate) started_at: String,
    pub(crate) raised_at: String,
    pub(crate) cleared_at: Option<String>,
    pub(crate) acknowledged_by: Option<String>,
    pub(crate) acknowledged_at: Option<String>,
    pub(crate) reason: Option<String>,
    pub(crate) recurrences: u32,
    /// It signals at the box.
    pub(crate) signals: bool,
}

impl Told {
    pub(super) fn of(alert: &Alert, bed: Option<&str>, signals: bool) -> Self {
        let acknowledged = alert.acknowledged.as_ref();
        Self {
            id: alert.id.to_string(),
            family: alert.family.clone(),
            rules: alert.rules.clone(),
            priority: alert.priority.name().to_owned(),
            state: alert.state.name().to_owned(),
            device: alert.device.to_string(),
            patient: alert.patient.as_ref().map(ToString::to_string),
            bed: bed.map(ToOwned::to_owned),
            metric: alert.metric.map(|metric| metric.name().to_owned()),
            value: alert.value.clone(),
            comparator: alert.comparator.clone(),
            unit: alert.unit.clone(),
            limit: alert.limit.clone(),
            message_zh: alert.message_zh.clone(),
            message_en: alert.message_en.clone(),
            started_at: rfc3339(alert.started_at),
            raised_at: rfc3339(alert.raised_at),
            cleared_at: alert.cleared_at.map(rfc3339),
            acknowledged_by: acknowledged.map(|by| by.by.clone()),
            acknowledged_at: acknowledged.map(|by| rfc3339(by.at)),
            reason: acknowledged.map(|by| AckReason::name(by.reason).to_owned()),
            recurrences: alert.recurrences,
            signals,
        }
    }
}

/// A moment as the API writes it.
pub(crate) fn rfc3339(at: WallTime) -> String {
    jiff::Timestamp::from_millisecond(at.unix_ms()).unwrap_or_default().to_string()
}
