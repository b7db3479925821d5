//! A rule set as it is written in its file.

use super::{Mistake, Op, STRIP_MAX_S, Strip};
use model::alarm::Priority;
use serde::Deserialize;
use std::collections::BTreeMap;

#[derive(Deserialize)]
pub(super) struct File {
    pub(super) meta: Meta,
    pub(super) populations: RawPopulations,
    pub(super) expected_interval_s: BTreeMap<String, Option<f64>>,
    pub(super) defaults: RawDefaults,
    pub(super) rules: Vec<serde_json::Value>,
}

#[derive(Deserialize)]
pub(super) struct Meta {
    pub(super) version: String,
    /// Parts of names of drugs, separated by commas: the site list.
    #[serde(default)]
    pub(super) critical_drugs: String,
}

#[derive(Deserialize)]
pub(super) struct RawPopulations {
    pub(super) bases: Vec<RawPopulation>,
    pub(super) age_groups: Vec<RawPopulation>,
    pub(super) overlays: Vec<RawPopulation>,
    pub(super) programmes: Vec<RawPopulation>,
    pub(super) scores: Vec<RawPopulation>,
}

/// From, and up to, which is outside.
type Range = (u32, Option<u32>);

#[derive(Deserialize)]
pub(super) struct RawPopulation {
    pub(super) id: String,
    pub(super) age_months: Option<Range>,
    pub(super) age_days: Option<Range>,
    #[serde(default)]
    pub(super) also_when_age_unknown: bool,
    #[serde(default)]
    pub(super) not_with: Vec<String>,
}

#[derive(Deserialize)]
pub(super) struct RawDefaults {
    pub(super) spot_recheck_s: i64,
    pub(super) spot_clear: RawSpotClear,
}

#[derive(Clone, Copy, Deserialize)]
pub(super) struct RawSpotClear {
    pub(super) within_s: i64,
}

impl RawSpotClear {
    pub(super) fn within_ms(&self) -> i64 {
        self.within_s.saturating_mul(1000)
    }
}

#[derive(Clone, Copy, Deserialize)]
pub(super) struct RawStrip {
    pub(super) before_s: i64,
    pub(super) after_s: i64,
}

/// Any rule, as written; what a type does not have is empty.
#[derive(Deserialize)]
pub(super) struct RawRule {
    pub(super) id: String,
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) family: String,
    pub(super) message_zh: String,
    pub(super) message_en: String,
    pub(super) class: Option<String>,
    pub(super) unit: Option<String>,
    pub(super) population: Option<String>,
    pub(super) age_months: Option<Range>,
    pub(super) age_days: Option<Range>,
    pub(super) op: Option<Op>,
    pub(super) threshold: Option<RawThreshold>,
    pub(super) priority: Option<String>,
    pub(super) sustain_s: Option<i64>,
    pub(super) clear: Option<Clear>,
    pub(super) spot_clear: Option<RawSpotClear>,
    pub(super) recheck_s: Option<i64>,
    #[serde(default)]
    pub(super) suppress_if: Vec<String>,
    pub(super) promote_on_confirm: Option<RawPromote>,
    #[serde(default)]
    pub(super) critical_value: bool,
    pub(super) also: Option<RawAlso>,
    pub(super) route: Option<String>,
    pub(super) when: Option<RawWhen>,
    pub(super) context: Option<RawContext>,
    pub(super) consecutive: Option<u32>,
    #[serde(default)]
    pub(super) requires: Vec<String>,
    #[serde(default)]
    pub(super) overrides: Vec<String>,
    pub(super) priority_from_device: Option<super::FromDevice>,
    pub(super) critical_drug_priority: Option<Priority>,
    pub(super) repeat_limit_s: Option<i64>,
    pub(super) strip: Option<RawStrip>,
    /// Of a score what its total must be, of a technical rule a name.
    pub(super) condition: Option<serde_json::Value>,
    /// Of a technical rule: who decides, `edge`, `county` or both.
    pub(super) evaluated_by: Option<String>,
    #[serde(default)]
    pub(super) steps: Vec<RawStep>,
    #[serde(default)]
    pub(super) absolute: bool,
    #[serde(default)]
    pub(super) device_kinds: Vec<String>,
}

impl RawRule {
    /// What of its device's waveforms is kept with its alert.
    pub(super) fn strip(&self) -> Result<Option<Strip>, Mistake> {
        let Some(RawStrip { before_s, after_s }) = self.strip else { return Ok(None) };
        let seconds = 0..=STRIP_MAX_S;
        if !(seconds.contains(&before_s) && seconds.contains(&after_s)) {
            return Err(Mistake::Strip { max_s: STRIP_MAX_S });
        }
        Ok(Some(Strip { before_ms: before_s * 1000, after_ms: after_s * 1000 }))
    }

    pub(super) fn priority(&self) -> Result<Priority, Mistake> {
        let name = self.priority.as_deref().unwrap_or_default();
        Priority::from_name(name).ok_or_else(|| Mistake::Priority { name: name.to_owned() })
    }
}

#[derive(Deserialize)]
pub(super) struct RawThreshold {
    pub(super) base: f64,
    #[serde(default)]
    pub(super) per_year: f64,
}

#[derive(Deserialize)]
pub(super) struct Clear {
    pub(super) op: ClearOp,
    pub(super) value: Option<f64>,
    pub(super) hold_s: Option<i64>,
    pub(super) within_s: Option<i64>,
}

#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum ClearOp {
    Value(Op),
    /// `next_reading_normal`.
    Next(#[expect(dead_code, reason = "the schema allows one text only")] String),
}

#[derive(Deserialize)]
pub(super) struct RawPromote {
    pub(super) to: Priority,
    pub(super) after_s: i64,
    pub(super) within_s: i64,
}

#[derive(Deserialize)]
pub(super) struct RawAlso {
    pub(super) class: String,
    pub(super) op: Op,
    pub(super) threshold: RawThreshold,
    pub(super) unit: String,
    pub(super) window_s: i64,
}

#[derive(Deserialize)]
pub(super) struct RawWhen {
    pub(super) on_oxygen: Option<bool>,
    pub(super) monitored: Option<bool>,
    pub(super) serves_monitored: Option<bool>,
}

#[derive(Deserialize)]
pub(super) struct RawContext {
    pub(super) meal: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct RawStep {
    pub(super) priority: String,
    pub(super) critical_drug_priority: Option<Priority>,
    pub(super) after_s: i64,
    pub(super) after_intervals: Option<u32>,
    pub(super) op: Option<Op>,
    pub(super) threshold: Option<RawThreshold>,
    pub(super) when: Option<RawWhen>,
}
