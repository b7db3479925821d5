//! Reading groups as the county keeps them and as the API tells them: one row a group, its values
//! as one text.
//!
//! Not here: what is asked of them ([`crate::query`]).
//!
//! # Invariants
//! - what is told of a reading after its commit is what is told of its row later

use crate::clock::rfc3339;
use model::{
    metric::Metric,
    reading::{Comparator, NoData, Reading, ReadingGroup, Validity, Value as Said},
    units::Unit,
};
use rules::freshness::Freshness;
use rusqlite::Row;
use serde_json::{Map, Value, json};
use std::borrow::Cow;

/// Separates the names of a list of metrics.
const COMMA: &str = ",";

/// Groups with the names of what they are of; `duplicate_of` names the first copy as the API names
/// readings: outbox, lane, seq, index.
pub(crate) const GROUPS: &str =
    "SELECT reading_group.*, source.site, device, outbox, lane, metrics,
     (SELECT place.outbox || '/' || place.lane || '/' || first.seq || '/' || first.idx
      FROM reading_group AS first CROSS JOIN outbox_lane AS place
      WHERE first.id = reading_group.duplicate_of AND place.id = first.outbox_lane) AS copy_of,
     CASE WHEN spot.reading_group IS NOT NULL THEN spot.bound ELSE
       (SELECT binding.patient FROM binding
        WHERE binding.site = source.site AND binding.device = source.device
        AND from_ms <= measured_ms AND (until_ms IS NULL OR until_ms > measured_ms)
        ORDER BY from_ms DESC LIMIT 1) END AS bound_patient,
     spot.reading_group IS NOT NULL AS is_result, spot.patient AS moved_to,
     two_hours_by, two_hours_ms
     FROM reading_group CROSS JOIN source ON source.id = reading_group.source
     CROSS JOIN outbox_lane ON outbox_lane.id = reading_group.outbox_lane
     CROSS JOIN metric_list ON metric_list.id = reading_group.metric_list
     LEFT JOIN spot ON spot.reading_group = reading_group.id";

/// Keeps of two groups of one kind the one that was measured later: the order of `isNewer` of the
/// board. What one reading-out of a memory brings comes within ten minutes.
pub(crate) const KEEP_NEWEST: &str = "ON CONFLICT DO UPDATE
     SET heard_ms = excluded.heard_ms, measured_ms = excluded.measured_ms,
       place_ms = excluded.place_ms, reading_group = excluded.reading_group
     WHERE CASE WHEN abs(excluded.heard_ms - heard_ms) <= 600000
       THEN excluded.measured_ms >= measured_ms ELSE excluded.place_ms >= place_ms END";

/// What the API tells of every reading of a group.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) site: String,
    pub(crate) outbox: String,
    pub(crate) lane: String,
    pub(crate) seq: i64,
    /// Index of its first reading.
    pub(crate) index: i64,
    pub(crate) device: String,
    pub(crate) channel: String,
    pub(crate) compound: Option<String>,
    pub(crate) context: Value,
    pub(crate) device_ms: Option<i64>,
    /// By the box's clock, and by the county's.
    pub(crate) observed_ms: i64,
    pub(crate) placed_ms: i64,
    pub(crate) received_ms: i64,
    pub(crate) measured_ms: i64,
    pub(crate) time_suspect: bool,
    pub(crate) freshness: String,
    pub(crate) device_seq: Option<i64>,
    pub(crate) duplicate_of: Option<String>,
    /// On whom the device was, and whose it is.
    pub(crate) bound: Option<String>,
    pub(crate) patient: Option<String>,
    /// Who confirmed that it was measured two hours after the meal, and when.
    pub(crate) two_hours: Option<(String, i64)>,
    pub(crate) metrics: String,
    pub(crate) said: String,
}

impl Group {
    /// A row of [`GROUPS`].
    pub(crate) fn of_row(row: &Row<'_>) -> rusqlite::Result<Self> {
        let context: Option<String> = row.get("context")?;
        let context = context.and_then(|text| serde_json::from_str(&text).ok());
        let freshness: Option<String> = row.get("freshness")?;
        let bound: Option<String> = row.get("bound_patient")?;
        let patient = if row.get("is_result")? { row.get("moved_to")? } else { bound.clone() };
        Ok(Self {
            site: row.get("site")?,
            outbox: row.get("outbox")?,
            lane: row.get("lane")?,
            seq: row.get("seq")?,
            index: row.get("idx")?,
            device: row.get("device")?,
            channel: row.get("channel")?,
            compound: row.get("compound")?,
            context: context.unwrap_or_else(|| json!({})),
            device_ms: row.get("device_ms")?,
            observed_ms: said_by_box(row, "observed_ms")?,
            placed_ms: row.get("observed_ms")?,
            received_ms: row.get("received_ms")?,
            measured_ms: row.get("measured_ms")?,
            time_suspect: row.get("time_suspect")?,
            freshness: freshness.unwrap_or_else(|| Freshness::Fresh.name().to_owned()),
            device_seq: row.get("device_seq")?,
            duplicate_of: row.get("copy_of")?,
            bound,
            patient,
            two_hours: row.get::<_, Option<String>>("two_hours_by")?.zip(row.get("two_hours_ms")?),
            metrics: row.get("metrics")?,
            said: row.get("said")?,
        })
    }

    /// Its readings as the API tells them, each with its metric and index.
    pub(crate) fn told(&self) -> Vec<(&str, i64, Value)> {
        let moment = |ms: Option<i64>| ms.map(rfc3339);
        let (first, compound) = (self.index, self.compound.as_ref());
        let name = compound.map(|metric| format!("{metric}/{first}"));
        let times_ms = [self.observed_ms, self.placed_ms, self.received_ms, self.measured_ms];
        let [observed, placed, received, measured] = times_ms.map(rfc3339);
        let device = moment(self.device_ms);
        let said: Vec<Value> = serde_json::from_str(&self.said).unwrap_or_default();
        let readings = (first..).zip(self.metrics.split(COMMA).zip(&said));
        let told = readings.map(|(index, (metric, said))| {
            let known = Metric::from_name(metric);
            let usual = known.and_then(usual_unit);
            let one = OneSaid::read(said, usual);
            let canonical = known.and_then(|metric| one.canonical(metric));
            let told = json!({
                "site": self.site, "device": self.device, "channel": self.channel,
                "group": name, "metric": metric, "value": one.value,
                "comparator": one.comparator, "unit": one.unit,
                "canonical_unit": canonical.as_ref().and(usual), "canonical_value": canonical,
                "no_data": one.no_data, "validity": one.validity, "context": self.context,
                "device_time": device, "observed_time": observed, "placed_time": placed,
                "received_time": received, "measured_time": measured, "time_suspect": self.time_suspect,
                "backfilled": self.freshness != Freshness::Fresh.name(),
                "freshness": self.freshness, "device_seq": self.device_seq,
                "duplicate_of": self.duplicate_of, "patient": self.patient,
                "bound_patient": self.bound, "outbox": self.outbox, "lane": self.lane,
                "seq": self.seq, "index": index,
            });
            (metric, index, told)
        });
        told.collect()
    }
}

/// What the clock of the box said, where the row has when that was in column `placed`.
pub(crate) fn said_by_box(row: &Row<'_>, placed: &str) -> rusqlite::Result<i64> {
    row.get::<_, Option<i64>>("box_ms")?.map_or_else(|| row.get(placed), Ok)
}

/// A reading as it is written in its group.
#[derive(Debug, Default)]
pub(crate) struct OneSaid<'a> {
    pub(crate) value: Option<Cow<'a, str>>,
    pub(crate) comparator: Option<&'a str>,
    pub(crate) unit: Option<&'a str>,
    pub(crate) no_data: Option<Cow<'a, str>>,
    pub(crate) validity: &'a str,
}

impl<'a> OneSaid<'a> {
    fn of(reading: &'a Reading) -> Self {
        let (value, comparator) = match &reading.value {
            Ok(Said::Number { number, comparator }) => {
                (Some(number.to_string().into()), comparator.sign())
            }
            Ok(Said::Text(text)) => (Some(text.into()), None),
            Err(_) => (None, None),
        };
        Self {
            value,
            comparator,
            unit: reading.unit.as_ref().map(Unit::as_str),
            no_data: reading.value.as_ref().err().map(|reason| reason.to_string().into()),
            validity: reading.validity.name(),
        }
    }

    /// As [`OneSaid::write`] wrote it, `usual` being the canonical unit of its metric.
    fn read(said: &'a Value, usual: Option<&'a str>) -> Self {
        if let Some(value) = said.as_str() {
            let (value, validity) = (Some(value.into()), Validity::Valid.name());
            return Self { value, unit: usual, validity, ..Self::default() };
        }
        let part = |name| said.get(name).and_then(Value::as_str);
        Self {
            value: part("value").map(Cow::from),
            comparator: part("comparator"),
            unit: part("unit"),
            no_data: part("no_data").map(Cow::from),
            validity: part("validity").unwrap_or_default(),
        }
    }

    /// Adds it to the text of its group; what is usual is left out.
    pub(crate) fn write(&self, said: &mut String, usual: Option<&str>) {
        said.push_str(if said.is_empty() { "[" } else { COMMA });
        let is_usual = self.comparator.is_none()
            && self.no_data.is_none()
            && self.validity == Validity::Valid.name()
            && self.unit.is_some()
            && self.unit == usual;
        match self.value.as_ref().filter(|_| is_usual) {
            Some(value) if value.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'.' | b'-')) => {
                said.extend(["\"", value, "\""]);
            }
            Some(value) => said.push_str(&Value::from(value.as_ref()).to_string()),
            None => said.push_str(&self.object().to_string()),
        }
    }

    fn object(&self) -> Value {
        let parts = [
            ("value", self.value.as_deref()),
            ("comparator", self.comparator),
            ("unit", self.unit),
            ("no_data", self.no_data.as_deref()),
            ("validity", Some(self.validity)),
        ];
        let known =
            parts.into_iter().filter_map(|(name, part)| Some((name.to_owned(), part?.into())));
        Value::Object(known.collect::<Map<_, _>>())
    }

    /// The reading that was written so.
    fn reading(&self, metric: Metric) -> Option<Reading> {
        let value = match &self.no_data {
            Some(told) => {
                let (name, detail) = told.split_once(':').unzip();
                Err(NoData::from_name(name.unwrap_or(told), detail)?)
            }
            None => Ok(match self.unit {
                Some(_) => {
                    let signs = [Comparator::Equal, Comparator::Below, Comparator::Above];
                    let comparator =
                        signs.into_iter().find(|known| known.sign() == self.comparator)?;
                    Said::Number { number: self.value.as_ref()?.parse().ok()?, comparator }
                }
                None => Said::Text(self.value.as_ref()?.to_string()),
            }),
        };
        let unit = self.unit.and_then(Unit::new);
        let validity = Validity::ALL.into_iter().find(|known| known.name() == self.validity)?;
        Some(Reading { metric, value, unit, validity })
    }

    /// The number as it is printed and compared, where it is one.
    fn canonical(&self, metric: Metric) -> Option<String> {
        let number = self.value.as_ref()?.parse().ok()?;
        let reading = Reading {
            metric,
            value: Ok(Said::Number { number, comparator: Comparator::Equal }),
            unit: Some(Unit::new(self.unit?)?),
            validity: Validity::Valid,
        };
        reading.canonical().map(|(number, _)| number.to_string())
    }
}

/// The readings of a group that was stored; those of metrics this version does not know are left out.
pub(crate) fn readings(metrics: &str, said: &str) -> Vec<Reading> {
    readings_of(listed(metrics), said)
}

/// The same where the metrics are known.
pub(crate) fn readings_of(
    metrics: impl IntoIterator<Item = Option<Metric>>,
    said: &str,
) -> Vec<Reading> {
    let said: Vec<Value> = serde_json::from_str(said).unwrap_or_default();
    let readings = metrics.into_iter().zip(&said);
    let readings = readings.filter_map(|(metric, said)| {
        let metric = metric?;
        OneSaid::read(said, usual_unit(metric)).reading(metric)
    });
    readings.collect()
}

/// The text of what a group said.
pub(crate) fn said(group: &ReadingGroup) -> String {
    let mut said = String::new();
    for reading in &group.readings {
        OneSaid::of(reading).write(&mut said, usual_unit(reading.metric));
    }
    said.push(']');
    said
}

/// The names of the metrics of a group, in its order.
pub(crate) fn metrics(group: &ReadingGroup) -> String {
    let names: Vec<&str> = group.readings.iter().map(|reading| reading.metric.name()).collect();
    names.join(COMMA)
}

/// The metrics of a list of names; `None` for one this version does not know.
pub(crate) fn listed(metrics: &str) -> impl Iterator<Item = Option<Metric>> {
    metrics.split(COMMA).map(Metric::from_name)
}

pub(crate) fn usual_unit(metric: Metric) -> Option<&'static str> {
    metric.row().canonical_unit.as_ref().map(Unit::as_str)
}
