//! The newest value of each series, for the page of the box.
//!
//! # Invariants
//! - ages go by the monotonic clock: a clock that is set makes no value younger

use model::{
    id::{Channel, DeviceId},
    metric::{Kind, Metric},
    reading::{Comparator, Reading, ReadingGroup, Validity, Value},
    time::{MonoTime, Now},
};
use rules::freshness::Moment;
use serde::Serialize;
use std::{collections::BTreeMap, time::Duration};

/// Series of a box: 64 devices of sixteen each.
const SERIES_MAX: usize = 1024;

/// Newest values.
#[derive(Debug, Default)]
pub(super) struct Newest(BTreeMap<(DeviceId, Metric, Channel), Measured>);

#[derive(Clone, Debug)]
struct Measured {
    reading: Reading,
    suspect: bool,
    /// How old it was when it was taken in, and when that was.
    age: Duration,
    taken: MonoTime,
}

/// A value as the page shows it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Shown {
    device: String,
    channel: String,
    metric: &'static str,
    name_zh: &'static str,
    name_en: &'static str,
    /// `stream`, `spot`, `state`.
    kind: &'static str,
    /// As printed; none where there is no number.
    value: Option<String>,
    unit: Option<String>,
    no_data: Option<String>,
    validity: &'static str,
    suspect: bool,
    age_ms: u64,
}

impl Newest {
    /// Takes in what was measured; an older value than the one that is known changes nothing.
    pub(super) fn take(&mut self, now: Now, t_meas: Moment, group: &ReadingGroup) {
        let age_ms = now.wall.unix_ms().saturating_sub(t_meas.at.unix_ms());
        let age = Duration::from_millis(u64::try_from(age_ms).unwrap_or_default());
        for reading in &group.readings {
            let kind = reading.metric.row().kind;
            if matches!(kind, Kind::Wave | Kind::Event) || reading.metric == Metric::CLOCK_OFFSET {
                continue;
            }
            let key = (group.device.clone(), reading.metric, group.channel.clone());
            let newer = self.0.get(&key).is_none_or(|known| age <= known.age_at(now.mono));
            if newer && (self.0.len() < SERIES_MAX || self.0.contains_key(&key)) {
                let suspect = t_meas.suspect;
                let measured = Measured { reading: reading.clone(), suspect, age, taken: now.mono };
                self.0.insert(key, measured);
            }
        }
    }

    pub(super) fn shown(&self, now: MonoTime) -> Vec<Shown> {
        self.0
            .iter()
            .map(|((device, metric, channel), measured)| {
                let row = metric.row();
                let (value, unit) = printed(&measured.reading);
                Shown {
                    device: device.to_string(),
                    channel: channel.as_str().to_owned(),
                    metric: metric.name(),
                    name_zh: row.name_zh,
                    name_en: row.name_en,
                    kind: kind_name(row.kind),
                    value,
                    unit,
                    no_data: measured.reading.value.as_ref().err().map(ToString::to_string),
                    validity: measured.reading.validity.name(),
                    suspect: measured.suspect,
                    age_ms: u64::try_from(measured.age_at(now).as_millis()).unwrap_or(u64::MAX),
                }
            })
            .collect()
    }
}

impl Measured {
    fn age_at(&self, now: MonoTime) -> Duration {
        self.age + now.since(self.taken)
    }
}

const fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Stream => "stream",
        Kind::Spot => "spot",
        Kind::Wave => "wave",
        Kind::State => "state",
        Kind::Event => "event",
    }
}

/// The number that was compared, as it is printed, and its unit.
fn printed(reading: &Reading) -> (Option<String>, Option<String>) {
    if reading.validity == Validity::Invalid {
        return (None, None);
    }
    if let Some((number, comparator)) = reading.canonical() {
        let unit = reading.metric.row().canonical_unit.as_ref();
        return (Some(signed(&number.to_string(), comparator)), unit.map(ToString::to_string));
    }
    match &reading.value {
        Ok(Value::Number { number, comparator }) => {
            let unit = reading.unit.as_ref().map(ToString::to_string);
            (Some(signed(&number.to_string(), *comparator)), unit)
        }
        Ok(Value::Text(text)) => (Some(text.clone()), None),
        Err(_) => (None, None),
    }
}

fn signed(number: &str, comparator: Comparator) -> String {
    comparator.sign().map_or_else(|| number.to_owned(), |sign| format!("{sign} {number}"))
}
