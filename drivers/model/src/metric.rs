//! The metric catalogue: what is measured, with unit, code and limits.
//!
//! The table and the named constants are generated from `metrics.csv` by `build.rs`; nothing of
//! the catalogue is typed by hand.

use crate::{decimal::Decimal, units::Unit};
use serde::{Deserialize, Serialize};
use std::fmt;
use thiserror::Error;

include!(concat!(env!("OUT_DIR"), "/catalogue.rs"));

/// What is measured: a row of the metric catalogue. Serialised as its name.
#[derive(Clone, Copy, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(try_from = "String", into = "&'static str")]
pub struct Metric(u16);

/// How a metric comes: decides lane, sustain and freshness.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Kind {
    /// Repeats by itself (heart rate each second).
    Stream,
    /// An event of its own (a cuff result).
    Spot,
    /// Equally spaced samples.
    Wave,
    /// An enumeration or text that holds until the next.
    State,
    /// A moment without a value.
    Event,
}

/// One row of the catalogue.
#[derive(Debug)]
pub struct MetricRow {
    /// Name, as in records and in the API: `nibp_sys`.
    pub name: &'static str,
    /// Heading under which people look for it.
    pub group: &'static str,
    /// Chinese name.
    pub name_zh: &'static str,
    /// English name.
    pub name_en: &'static str,
    /// IEEE 11073-10101 code, partition × 65536 + code, where a public one is known.
    pub mdc_code32: Option<u32>,
    /// What rules name.
    pub class: Class,
    /// How it comes.
    pub kind: Kind,
    /// Below the first or above the second is physically impossible (canonical unit).
    pub reject: (Option<Decimal>, Option<Decimal>),
    /// Below the first or above the second is doubtful (canonical unit).
    pub implausible: (Option<Decimal>, Option<Decimal>),
    /// Digits after the point that are printed and compared; `None`: as sent.
    pub decimals: Option<u8>,
    /// Unit of limits, rules, charts and exports; `None`: printed as sent, no rule may use it.
    pub canonical_unit: Option<Unit>,
    /// Order inside a class with fallback (`hr`).
    pub class_rank: Option<u8>,
    /// This is another code of that metric, under whose name it is stored.
    pub alias_of: Option<Metric>,
}

impl Metric {
    /// The metric of that name; an alias gives the metric it stands for.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::all()
            .find(|metric| metric.name() == name)
            .map(|found| found.row().alias_of.unwrap_or(found))
    }

    /// Every metric of the catalogue, in its order.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..u16::try_from(TABLE.len()).unwrap_or(u16::MAX)).map(Self)
    }

    /// The metric's name in records and in the API.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.row().name
    }

    /// The metric's row of the catalogue.
    #[must_use]
    #[expect(clippy::indexing_slicing, reason = "a Metric is only made from an index of the table")]
    pub fn row(self) -> &'static MetricRow {
        &TABLE[usize::from(self.0)]
    }
}

/// No metric of the catalogue has that name.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[error("\"{0}\" is no metric of the catalogue")]
pub struct UnknownMetric(String);

impl TryFrom<String> for Metric {
    type Error = UnknownMetric;
    fn try_from(name: String) -> Result<Self, UnknownMetric> {
        Self::from_name(&name).ok_or(UnknownMetric(name))
    }
}

impl From<Metric> for &'static str {
    fn from(metric: Metric) -> Self {
        metric.name()
    }
}

impl fmt::Debug for Metric {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}

impl Class {
    /// The class of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        CLASS_NAMES.iter().find(|(_, known)| *known == name).map(|(class, _)| *class)
    }

    /// The name rules use.
    #[must_use]
    pub fn name(self) -> &'static str {
        CLASS_NAMES.iter().find(|(class, _)| *class == self).map_or("", |(_, name)| name)
    }

    /// The metrics of this class that are stored under their own name.
    pub fn metrics(self) -> impl Iterator<Item = Metric> {
        Metric::all()
            .filter(move |metric| metric.row().class == self && metric.row().alias_of.is_none())
    }

    /// The one canonical unit of the class, if it has one.
    #[must_use]
    pub fn canonical_unit(self) -> Option<&'static Unit> {
        self.metrics().next()?.row().canonical_unit.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_class_has_one_canonical_unit() {
        for metric in Metric::all().filter(|metric| metric.row().kind != Kind::State) {
            let row = metric.row();
            if row.alias_of.is_none() {
                assert_eq!(row.canonical_unit.as_ref(), row.class.canonical_unit(), "{metric}");
            }
        }
    }

    #[test]
    fn names_lead_back_to_their_metric() {
        assert_eq!(Metric::from_name("hr"), Some(Metric::HR));
        assert_eq!(Metric::from_name("cuff_sys"), Some(Metric::NIBP_SYS));
        assert_eq!(Metric::from_name("blood"), None);
        assert_eq!(Class::from_name("glucose").map(Class::name), Some("glucose"));
        assert!(!Class::Glucose.metrics().any(|metric| metric == Metric::GLU_CONTROL));
    }

    #[test]
    fn limits_come_from_the_catalogue() {
        let row = Metric::NIBP_SYS.row();
        assert_eq!(row.reject, (Some(Decimal::fixed(20, 0)), Some(Decimal::fixed(320, 0))));
        assert_eq!(row.mdc_code32, Some(150_021));
        assert_eq!(Metric::TEMP.row().implausible.1, Some(Decimal::fixed(425, -1)));
    }
}
