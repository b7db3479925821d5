//! What a device put on its wire, one JSON object a line.

use crate::{SimTime, StageClock};
use aws_lc_rs::digest::{Context, SHA256};
use serde::Serialize;

/// One fact.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
pub struct Truth {
    /// When it was said, RFC 3339.
    pub t: String,
    /// The device.
    pub device: String,
    /// The metric, for readings and waveforms.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metric: Option<&'static str>,
    /// Which of several like sources.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub channel: &'static str,
    /// The value as sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// `<` or `>` where the meter named a limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comparator: Option<&'static str>,
    /// The unit as sent, UCUM.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<&'static str>,
    /// Why there is no value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub no_data: Option<&'static str>,
    /// Device time, RFC 3339 in UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device_time: Option<String>,
    /// The device's own number for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device_seq: Option<u64>,
    /// Samples of a waveform block.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub samples: Option<usize>,
    /// SHA-256 of the samples as little-endian 32-bit integers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// The device's own alarm.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alarm: Option<String>,
    /// `start` or `end` of the alarm.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phase: Option<&'static str>,
    /// A command that no driver may send.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub forbidden: Option<String>,
    /// Samples of a waveform block, where a fault may make the host cut others.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub wave: Vec<i32>,
    /// What may have hidden this: it arrives or not, but never as something else.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub faulted: Option<&'static str>,
    /// A fault that happened, by its name in the catalogue.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fault: Option<&'static str>,
    /// Bytes that it hit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// How long it lasted, or how far a clock jumped, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ms: Option<i64>,
}

/// Writes down what a device says.
#[derive(Debug)]
pub(crate) struct Notebook {
    clock: StageClock,
    device: String,
    facts: Vec<Truth>,
}

impl Notebook {
    pub(crate) fn new(device: &str, clock: StageClock) -> Self {
        Self { clock, device: device.to_owned(), facts: Vec::new() }
    }

    pub(crate) fn fact(&self, now: SimTime) -> Truth {
        let (t, device) = (moment(self.clock.wall_ms(now)), self.device.clone());
        Truth { t, device, ..Truth::default() }
    }

    pub(crate) fn push(&mut self, fact: Truth) {
        self.facts.push(fact);
    }

    /// A value, or why there is none.
    pub(crate) fn value(
        &mut self,
        now: SimTime,
        metric: &'static str,
        channel: &'static str,
        unit: &'static str,
        value: Result<String, &'static str>,
    ) {
        let mut fact = self.fact(now);
        (fact.metric, fact.channel) = (Some(metric), channel);
        match value {
            Ok(value) => (fact.value, fact.unit) = (Some(value), Some(unit)),
            Err(reason) => fact.no_data = Some(reason),
        }
        self.facts.push(fact);
    }

    /// A value that is not written down yet, or why there is none.
    pub(crate) fn reading(
        &self,
        now: SimTime,
        metric: &'static str,
        unit: Option<&'static str>,
        value: Result<String, &'static str>,
    ) -> Truth {
        let mut fact = self.fact(now);
        fact.metric = Some(metric);
        match value {
            Ok(value) => (fact.value, fact.unit) = (Some(value), unit),
            Err(reason) => fact.no_data = Some(reason),
        }
        fact
    }

    /// A fact that holds from now on: its last byte is out.
    pub(crate) fn said(&mut self, at: SimTime, mut fact: Truth) {
        fact.t = moment(self.clock.wall_ms(at));
        self.facts.push(fact);
    }

    /// A fact that the host may have heard or not: it did not say, and is not told again.
    pub(crate) fn unheard(&mut self, at: SimTime, fact: Truth) {
        self.said(at, Truth { faulted: Some("unheard"), ..fact });
    }

    pub(crate) fn block(&mut self, now: SimTime, metric: &'static str, samples: &[u8]) {
        if samples.is_empty() {
            return;
        }
        let samples: Vec<i32> = samples.iter().copied().map(i32::from).collect();
        let fact = self.block_fact(now, metric, &samples);
        self.facts.push(fact);
    }

    /// A waveform block that is not written down yet.
    pub(crate) fn block_fact(&self, now: SimTime, metric: &'static str, samples: &[i32]) -> Truth {
        let mut context = Context::new(&SHA256);
        for sample in samples {
            context.update(&sample.to_le_bytes());
        }
        let hash = context.finish();
        let mut fact = self.fact(now);
        fact.metric = Some(metric);
        fact.samples = Some(samples.len());
        fact.wave = samples.to_vec();
        fact.sha256 = Some(hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect());
        fact
    }

    pub(crate) fn alarm(&mut self, now: SimTime, code: &str, starts: bool) {
        self.alarm_on(now, "", code, starts);
    }

    pub(crate) fn alarm_on(
        &mut self,
        now: SimTime,
        channel: &'static str,
        code: &str,
        starts: bool,
    ) {
        let mut fact = self.fact(now);
        fact.channel = channel;
        fact.alarm = Some(code.to_owned());
        fact.phase = Some(if starts { "start" } else { "end" });
        self.facts.push(fact);
    }

    pub(crate) fn forbidden(&mut self, now: SimTime, what: &str) {
        let mut fact = self.fact(now);
        fact.forbidden = Some(what.to_owned());
        self.facts.push(fact);
    }

    pub(crate) fn take(&mut self) -> Vec<Truth> {
        std::mem::take(&mut self.facts)
    }
}

/// RFC 3339 with milliseconds.
pub(crate) fn moment(unix_ms: i64) -> String {
    let moment = jiff::Timestamp::from_millisecond(unix_ms).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    format!("{moment:.3}")
}
