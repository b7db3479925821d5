//! Numeric objects to reading groups: state words, channels, one reading per cuff measurement.
//!
//! Read first: the protocol sheet, §8 (states) and "Our metrics".
//!
//! # Invariants
//! - two objects never share a series: metric and channel belong to one of them at a time
//! - test and demo data, NaN and invalid values are never a number
//! - a cuff result that the monitor repeats is one reading, across restarts too

use super::{
    alarms::Alarms,
    attributes::{Attributes, Float, Label, Numeric},
    clock::Clock,
    data_export::{Observation, PollReply, Source, group},
    nomenclature::{UnknownIds, is_usual_label, numeric_metric, unit},
};
use crate::{reporter::Reporter, serial::Cursor};
use model::{
    decimal::Decimal,
    id::Channel,
    metric::{Kind, Metric},
    reading::{GROUP_LEN_MAX, NoData, Reading, ReadingGroup},
    record::Record,
    time::{MonoTime, Now},
};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

/// Facts from the sheet. No number of a state stands anywhere else.
pub(super) mod spec {
    use super::{Duration, Metric};

    /// "State word of every value", §8.
    pub(in super::super) const INVALID: u16 = 0x8000;
    pub(super) const QUESTIONABLE: u16 = 0x4000;
    pub(in super::super) const UNAVAILABLE: u16 = 0x2000;
    pub(in super::super) const CALIBRATING: u16 = 0x1000;
    pub(in super::super) const TEST: u16 = 0x0800;
    pub(in super::super) const DEMO: u16 = 0x0400;
    pub(super) const EARLY: u16 = 0x0040;
    /// "0x4A05, 0x4A06, 0x4A07: one group nibp".
    pub(super) const NIBP: [Metric; 3] = [Metric::NIBP_SYS, Metric::NIBP_DIA, Metric::NIBP_MEAN];
    /// Numbers come every 1.024 s at the slowest, §11; ten missed are silence of that number.
    pub(super) const SERIES_SILENT: Duration = Duration::from_secs(10);
    /// "Unbroken polls": two that are left out do not break them, three do.
    pub(super) const BROKEN: Duration = Duration::from_secs(3);
}

/// "201 numerics" are the most that the association offers room for.
const SERIES_MAX: usize = 201;
/// Results that are known across restarts: a cuff and a few probes repeat their last one.
const KNOWN_MAX: usize = 64;
const KNOWN_LEN: usize = 8;

/// A series: metric and channel.
type Series = (Metric, Channel);

/// When the monitor says that a value was measured.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Stamp {
    Civil(i64),
    Tick(i64),
}

/// What is known of the numbers of a monitor.
#[derive(Debug, Default)]
pub(super) struct Numerics {
    /// Labels by object; `None`: it has none, and was asked.
    labels: BTreeMap<Source, Option<Label>>,
    /// Which object a series belongs to.
    owners: BTreeMap<Series, Source>,
    /// Stream series and when they were heard last.
    heard: BTreeMap<Series, MonoTime>,
    /// Identity of the result that each spot series showed last, `None` if none, and when.
    shown: BTreeMap<Series, (Option<u64>, MonoTime)>,
    /// Identities of results that were taken over, oldest first.
    known: VecDeque<u64>,
}

impl Numerics {
    /// The cursor says which results were taken over.
    pub(super) fn new(cursor: Option<Cursor>) -> Self {
        let bytes = cursor.unwrap_or_default().0;
        let (known, _) = bytes.as_chunks::<KNOWN_LEN>();
        let known = known.iter().map(|identity| u64::from_le_bytes(*identity)).collect();
        Self { known, ..Self::default() }
    }

    pub(super) fn cursor(&self) -> Cursor {
        Cursor(self.known.iter().flat_map(|identity| identity.to_le_bytes()).collect())
    }

    /// A new association: what the monitor showed before is not known to be unbroken.
    pub(super) fn begin(&mut self) {
        self.labels.clear();
        self.owners.clear();
        self.shown.clear();
    }

    /// Takes an answer in; whether it holds objects whose labels were never asked for.
    pub(super) fn take(
        &mut self,
        now: Now,
        reply: &PollReply,
        tick: i64,
        (clock, alarms): (&Clock, &Alarms),
        unknown: &mut UnknownIds,
        reporter: &mut Reporter,
    ) -> bool {
        let mut unlabelled = false;
        let here: BTreeSet<Source> =
            reply.observations.iter().map(|object| object.source).collect();
        let mut streams: BTreeMap<Channel, Vec<Reading>> = BTreeMap::new();
        for object in &reply.observations {
            unlabelled |= !self.learn_label(object, reply.group);
            let numbers = match object.attributes.numerics() {
                Ok(numbers) => numbers,
                Err(error) => {
                    reporter.note(now, "malformed", error);
                    continue;
                }
            };
            let mut of_streams = Vec::new();
            let mut of_spots: BTreeMap<Metric, Vec<Reading>> = BTreeMap::new();
            for number in &numbers {
                let Some(metric) = numeric_metric(number.physio_id) else {
                    unknown.count(number.physio_id);
                    continue;
                };
                let reading = reading(metric, number, alarms);
                match metric.row().kind {
                    Kind::Spot => of_spots.entry(spot_name(metric)).or_default().push(reading),
                    _ => of_streams.push(reading),
                }
            }
            let Some(first) = numbers.first() else { continue };
            for reading in of_streams {
                let channel = self.channel(object.source, first.physio_id, reading.metric, &here);
                self.hear(now.mono, (reading.metric, channel.clone()));
                streams.entry(channel).or_default().push(reading);
            }
            for (name, readings) in of_spots {
                let channel = self.channel(object.source, first.physio_id, name, &here);
                let stamp = stamp(&object.attributes, clock);
                self.take_spot(now, (name, channel), readings, (stamp, clock), reporter);
            }
        }
        let device_time = clock.device_time(tick);
        for (channel, readings) in streams {
            for readings in readings.chunks(GROUP_LEN_MAX) {
                let group = group_of(now, readings.to_vec(), reporter);
                let group = group.on_channel(channel.clone()).at_device_time(device_time);
                reporter.emit(Record::Readings(group));
            }
        }
        unlabelled
    }

    /// Says of each number that it is silent.
    pub(super) fn fall_silent(&mut self, now: Now, reporter: &mut Reporter) {
        let silent: Vec<_> = std::mem::take(&mut self.heard).into_keys().collect();
        say_silent(now, silent, reporter);
    }

    /// Says it of those numbers that the monitor leaves out for long.
    pub(super) fn expire(&mut self, now: Now, reporter: &mut Reporter) {
        let over = |at: &MonoTime| now.mono.since(*at) >= spec::SERIES_SILENT;
        let silent = self.heard.iter().filter(|(_, at)| over(at)).map(|(series, _)| series.clone());
        let silent: Vec<_> = silent.collect();
        self.heard.retain(|_, at| !over(at));
        say_silent(now, silent, reporter);
    }

    /// When a number that is left out becomes silent.
    pub(super) fn expires_at(&self) -> Option<MonoTime> {
        self.heard.values().min().map(|at| *at + spec::SERIES_SILENT)
    }

    /// Whether the object's label is known, or known to be missing.
    fn learn_label(&mut self, object: &Observation, asked: u16) -> bool {
        let label = object.attributes.label();
        if label.is_none() && asked != group::ALL {
            return self.labels.contains_key(&object.source);
        }
        if self.labels.len() < SERIES_MAX || self.labels.contains_key(&object.source) {
            self.labels.insert(object.source, label);
        }
        true
    }

    /// "`channel` is empty unless the object's label differs from 0x00020000 + physio-id: then it
    /// is the label string as sent, else the label in hex". An object that would share a series
    /// with another one of the same answer gets its handle.
    fn channel(
        &mut self,
        source: Source,
        physio_id: u16,
        metric: Metric,
        here: &BTreeSet<Source>,
    ) -> Channel {
        let label = self.labels.get(&source).and_then(Option::as_ref);
        let named = label.filter(|label| !is_usual_label(label.code, physio_id)).map(|label| {
            let text = Channel::new(&label.text).filter(|_| !label.text.is_empty());
            text.or_else(|| Channel::new(&format!("{:08x}", label.code))).unwrap_or_default()
        });
        let series = (metric, named.unwrap_or_default());
        let owner = self.owners.get(&series).copied();
        if owner.is_some_and(|owner| owner != source && here.contains(&owner)) {
            let (context, handle) = source;
            return Channel::new(&format!("h{context:04x}.{handle:04x}")).unwrap_or_default();
        }
        if owner.is_some() || self.owners.len() < SERIES_MAX {
            self.owners.insert(series.clone(), source);
        }
        series.1
    }

    fn hear(&mut self, now: MonoTime, series: Series) {
        if self.heard.len() < SERIES_MAX || self.heard.contains_key(&series) {
            self.heard.insert(series, now);
        }
    }

    /// "One reading per measurement: device time = 0x0990, else 0x0991; identity = device + metric
    /// + device time + value. Without a time stamp, equal values in unbroken polls are the same".
    fn take_spot(
        &mut self,
        now: Now,
        series: Series,
        mut readings: Vec<Reading>,
        (stamp, clock): (Option<Stamp>, &Clock),
        reporter: &mut Reporter,
    ) {
        if series.0 == Metric::NIBP {
            readings = inflation(readings);
        }
        let said = |reading: &Reading| matches!(reading.value, Ok(_) | Err(NoData::Rejected(_)));
        let first_sight = !self.shown.contains_key(&series);
        let shown = if stamp.is_some() || readings.iter().any(said) {
            Some(identity(&series, stamp, &readings))
        } else {
            // Nothing was measured, and nothing says that anything failed.
            None
        };
        let room = self.shown.len() < SERIES_MAX || !first_sight;
        let before = if room { self.shown.insert(series.clone(), (shown, now.mono)) } else { None };
        // "Equal values in unbroken polls are the same reading."
        let unbroken = before.filter(|(_, at)| now.mono.since(*at) < spec::BROKEN);
        let before = unbroken.and_then(|(identity, _)| identity);
        let Some(identity) = shown.filter(|_| before != shown) else { return };
        let (name, channel) = series;
        // A result without a stamp that was there from the first answer may be any old one.
        let may_be_old = stamp.is_some() || first_sight;
        if may_be_old && self.known.contains(&identity) {
            return;
        }
        let device_time = match stamp {
            Some(Stamp::Civil(civil_ms)) => Some(model::time::DeviceTime::Local { civil_ms }),
            Some(Stamp::Tick(tick)) => clock.device_time(tick),
            None => None,
        };
        let mut group = group_of(now, readings, reporter);
        group = group.on_channel(channel).at_device_time(device_time);
        if name == Metric::NIBP {
            group = group.as_group(Metric::NIBP);
        }
        if first_sight && device_time.is_none() {
            group = group.with_context("time", "unknown");
        }
        reporter.emit(Record::Readings(group));
        if self.known.len() >= KNOWN_MAX {
            self.known.pop_front();
        }
        self.known.push_back(identity);
        reporter.remember(self.cursor());
    }
}

fn group_of(now: Now, readings: Vec<Reading>, reporter: &Reporter) -> ReadingGroup {
    ReadingGroup::new(reporter.device().clone(), now.observed(), readings)
}

fn say_silent(now: Now, silent: Vec<Series>, reporter: &mut Reporter) {
    for (metric, channel) in silent {
        let reading = Reading::no_data(metric, NoData::Silent);
        let group = group_of(now, vec![reading], reporter).on_channel(channel);
        reporter.emit(Record::Readings(group));
    }
}

/// The name under which the parts of one measurement belong together.
fn spot_name(metric: Metric) -> Metric {
    if spec::NIBP.contains(&metric) { Metric::NIBP } else { metric }
}

/// "A part that is missing in a group is `NoData not_available`."
fn inflation(readings: Vec<Reading>) -> Vec<Reading> {
    let part = |metric: Metric| {
        let sent = readings.iter().find(|reading| reading.metric == metric).cloned();
        sent.unwrap_or_else(|| Reading::no_data(metric, NoData::NotAvailable))
    };
    spec::NIBP.map(part).into()
}

fn stamp(attributes: &Attributes, clock: &Clock) -> Option<Stamp> {
    let civil = attributes.stamp_absolute().map(Stamp::Civil);
    civil.or_else(|| attributes.stamp_relative().map(|raw| Stamp::Tick(clock.stamp(raw))))
}

/// FNV-1a, 64 bits: the same on every machine and in every version.
fn identity((metric, channel): &Series, stamp: Option<Stamp>, readings: &[Reading]) -> u64 {
    let values: Vec<_> = readings.iter().map(|reading| (&reading.value, &reading.unit)).collect();
    let text = format!("{metric}|{}|{stamp:?}|{values:?}", channel.as_str());
    text.bytes().fold(0xCBF2_9CE4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3)
    })
}

/// What a value and its state word become, "Our metrics".
fn reading(metric: Metric, number: &Numeric, alarms: &Alarms) -> Reading {
    let is = |bits: u16| number.state & bits != 0;
    let absent = || alarms.reason(number.physio_id).unwrap_or(NoData::NotAvailable);
    if is(spec::CALIBRATING) {
        return Reading::no_data(metric, NoData::Calibrating);
    }
    if is(spec::INVALID | spec::UNAVAILABLE) {
        return Reading::no_data(metric, absent());
    }
    let value = match number.value {
        Float::Number(value) => value,
        Float::Absent => return Reading::no_data(metric, absent()),
        Float::Outside(raw) => {
            return Reading::no_data(metric, NoData::Rejected(format!("{raw:08x}")));
        }
    };
    if is(spec::TEST | spec::DEMO) {
        return Reading::no_data(metric, NoData::Rejected(value.to_string()));
    }
    // The catalogue: 0 is a heart rate only together with an asystole alarm, a respiration rate
    // only with an apnoea alarm.
    let standstill = match metric {
        Metric::HR => alarms.asystole(),
        Metric::RR => alarms.apnoea(),
        _ => true,
    };
    if value == Decimal::ZERO && !standstill {
        return Reading::no_data(metric, absent());
    }
    let Some(unit) = unit(number.unit) else { return Reading::no_data(metric, absent()) };
    let reading = Reading::number(metric, value, unit);
    if is(spec::QUESTIONABLE | spec::EARLY) { reading.doubted() } else { reading }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::{
        reading::{Validity, Value},
        units::Unit,
    };

    #[track_caller]
    fn check(state: u16, value: Float, expected: &str) {
        let number = Numeric { physio_id: 0x4182, state, unit: 0x0AA0, value };
        let reading = reading(Metric::HR, &number, &Alarms::default());
        let shown = match (&reading.value, reading.validity) {
            (Ok(Value::Number { number, .. }), validity) => format!("{number} {}", validity.name()),
            (Ok(Value::Text(text)), _) => text.clone(),
            (Err(reason), _) => reason.to_string(),
        };
        assert_eq!(shown, expected, "{state:04x}");
    }

    #[test]
    fn the_state_word_decides_what_a_value_becomes() {
        let value = Float::Number(Decimal::fixed(75, 0));
        for (state, expected) in [
            (0x0000, "75 valid"),
            (0x00A3, "75 valid"),
            (0x4000, "75 questionable"),
            (0x0040, "75 questionable"),
            (0x8000, "not_available"),
            (0x2000, "not_available"),
            (0x1000, "calibrating"),
            (0x9000, "calibrating"),
            (0x0800, "rejected:75"),
            (0x0400, "rejected:75"),
            (0x8400, "not_available"),
        ] {
            check(state, value, expected);
        }
        check(0, Float::Absent, "not_available");
        check(0, Float::Outside(0x7F00_0001), "rejected:7f000001");
        check(0, Float::Number(Decimal::ZERO), "not_available");
    }

    #[test]
    fn a_unit_that_is_not_known_goes_with_the_value() {
        let value = Float::Number(Decimal::fixed(75, 0));
        let number = Numeric { physio_id: 0x4182, state: 0, unit: 0x4321, value };
        let reading = reading(Metric::HR, &number, &Alarms::default());
        assert_eq!(reading.unit, Unit::new("{0x4321}"));
        assert_eq!((reading.canonical(), reading.validity), (None, Validity::Valid));
    }
}
