//! An envelope that grows record by record and knows its length.
//!
//! # Invariants
//! - a record is encoded when it is taken in, and never again
//! - the envelope is no longer than [`Builder::len_max`]
//! - one that was full takes nothing more

use super::{
    VERSION, lane_number, outbox_bytes,
    record::Names,
    series::{self, Series},
};
use crate::wire::{self, number, text};
use ciborium::Value;
use model::{
    id::{Lane, OutboxId, Seq},
    record::Record,
    time::{Uptime, WallTime},
};

/// Everything but names and records, at its longest.
const HEAD_LEN: usize = 96;
/// What is before the bytes of a series, and before a name.
const SERIES_HEAD_LEN: usize = 7;
const NAME_HEAD_LEN: usize = 2;

/// An envelope that is not finished.
#[derive(Clone, Debug)]
pub struct Builder {
    opened_at: WallTime,
    uptime: Option<Uptime>,
    names: Names,
    /// Records that are finished, and how many they are.
    records: Vec<u8>,
    count: usize,
    /// The record behind them, which the next group may become a part of.
    series: Option<Series>,
    /// What groups in series may still unpack to.
    room: usize,
    full: bool,
    len_max: usize,
}

/// Where an envelope ended before its last record.
struct End {
    devices: usize,
    metrics: usize,
    records: usize,
    count: usize,
    series: Option<usize>,
}

impl Builder {
    /// An empty envelope.
    #[must_use]
    pub fn new(opened_at: WallTime, uptime: Option<Uptime>) -> Self {
        Self {
            opened_at,
            uptime,
            names: Names::default(),
            records: Vec::new(),
            count: 0,
            series: None,
            room: series::UNPACKED_MAX,
            full: false,
            len_max: HEAD_LEN,
        }
    }

    /// Takes a record in; `false` if the envelope could become longer than `len_max`: it is full
    /// then, for shorter ones too. An empty one takes any record.
    pub fn push(&mut self, record: &Record, len_max: usize) -> bool {
        if self.full {
            return false;
        }
        let is_empty = self.count == 0 && self.series.is_none();
        let group = match record {
            Record::Readings(group) => series::unpacked(group)
                .and_then(|unpacked| self.room.checked_sub(unpacked))
                .map(|room| (group, room)),
            _ => None,
        };
        if group.is_none() {
            self.end_series();
        }
        let end = self.end();
        match group {
            Some((group, room)) => {
                self.room = room;
                let series = self.series.get_or_insert_with(|| Series::new(self.opened_at));
                series.push(group, &mut self.names);
            }
            None => {
                wire::write(&mut self.records, &self.names.encode(record, self.opened_at));
                self.count += 1;
            }
        }
        let len = self.measured();
        self.full = len > len_max && !is_empty;
        if self.full {
            self.cut(&end);
            // What is known of the past takes more memory than the bytes, and is of no more use.
            self.end_series();
        } else {
            self.len_max = len;
        }
        !self.full
    }

    /// When it was opened, by the agent's clock.
    #[must_use]
    pub fn opened_at(&self) -> WallTime {
        self.opened_at
    }

    /// How long it is, or a few bytes more: the head has its final length last.
    #[must_use]
    pub fn len_max(&self) -> usize {
        self.len_max
    }

    /// The envelope's bytes, under its number.
    #[must_use]
    pub fn finish(&self, outbox: OutboxId, lane: Lane, seq: Seq) -> Vec<u8> {
        let devices = self.names.devices.iter().map(|device| text(device.as_str())).collect();
        let metrics = self.names.metrics.iter().map(|metric| text(metric.name())).collect();
        let head = [
            ("v", number(VERSION)),
            ("o", outbox_bytes(outbox)),
            ("l", number(lane_number(lane))),
            ("s", number(seq.get())),
            ("t", number(self.opened_at.unix_ms())),
            ("d", Value::Array(devices)),
            ("m", Value::Array(metrics)),
        ];
        let mut bytes = Vec::with_capacity(self.len_max);
        let parts = head.len() + 1 + usize::from(self.uptime.is_some());
        wire::write_head(&mut bytes, wire::MAP, parts);
        for (key, value) in head {
            wire::write(&mut bytes, &text(key));
            wire::write(&mut bytes, &value);
        }
        wire::write(&mut bytes, &text("r"));
        wire::write_head(&mut bytes, wire::ARRAY, self.count + usize::from(self.series.is_some()));
        bytes.extend_from_slice(&self.records);
        if let Some(series) = &self.series {
            series.write(&mut bytes);
        }
        if let Some(uptime) = self.uptime {
            wire::write(&mut bytes, &text("k"));
            wire::write(&mut bytes, &wire::uptime(uptime));
        }
        bytes
    }

    fn measured(&self) -> usize {
        let devices = self.names.devices.iter().map(|device| device.as_str());
        let metrics = self.names.metrics.iter().map(|metric| metric.name());
        let names: usize = devices.chain(metrics).map(|name| NAME_HEAD_LEN + name.len()).sum();
        let series =
            self.series.as_ref().map_or(0, |series| SERIES_HEAD_LEN + series.bytes().len());
        HEAD_LEN + names + self.records.len() + series
    }

    fn end_series(&mut self) {
        if let Some(series) = self.series.take() {
            series.write(&mut self.records);
            self.count += 1;
        }
    }

    fn end(&self) -> End {
        End {
            devices: self.names.devices.len(),
            metrics: self.names.metrics.len(),
            records: self.records.len(),
            count: self.count,
            series: self.series.as_ref().map(|series| series.bytes().len()),
        }
    }

    fn cut(&mut self, end: &End) {
        self.names.devices.truncate(end.devices);
        self.names.metrics.truncate(end.metrics);
        self.records.truncate(end.records);
        self.count = end.count;
        match (end.series, &mut self.series) {
            (Some(len), Some(series)) => series.truncate(len),
            _ => self.series = None,
        }
    }
}
