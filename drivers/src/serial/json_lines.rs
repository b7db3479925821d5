//! Home-made and unusual devices: one JSON object a line, in a format of our own.
//!
//! Read first: `json_lines/README.md`, the description of the format for who writes a source.
//!
//! # Invariants
//! - every line is taken or refused as a whole; a refused line is counted, noted with its number
//!   and, where the source wants to know, told to it
//! - a line is acknowledged only when all that it and the lines before it said is on disk
//! - nothing is sent unless acknowledgement is switched on

pub mod codec;
mod meaning;
pub(crate) mod redaction;
mod value;

use super::{SerialDriver, SerialEvent, SerialOutput};
use crate::reporter::Reporter;
use codec::{Decoder, LineError, Message, MessageError};
use meaning::{Refusal, Samples, Zeros};
use model::{
    alarm::{AlarmPhase, DeviceAlarm},
    device::{DeviceKind, DeviceState},
    id::{Channel, DeviceId},
    metric::{Kind, Metric},
    reading::{NoData, Occurrence, Reading, ReadingGroup},
    record::Record,
    time::{MonoTime, Now, Observed, WallTime},
    waveform::WaveformBlock,
};
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};
use thiserror::Error;

/// Facts about the session; those about lines are in [`codec`].
mod spec {
    use super::Duration;

    /// A monitor speaks every second; the rules let a lower rank of heart rate in after 10 s.
    pub(super) const MONITOR_SILENCE: Duration = Duration::from_secs(10);
    /// Three expected intervals of a pump, 5 s each.
    pub(super) const PUMP_SILENCE: Duration = Duration::from_secs(15);
    /// Streams and waveforms of one source: a 12-lead ECG with three temperatures has 30.
    pub(super) const SOURCES_MAX: usize = 64;
    /// Alarms about a standstill that are remembered: their channels are few.
    pub(super) const STANDSTILLS_MAX: usize = 16;
    /// Refused lines of one read that are told one by one: a source on the wrong speed must not
    /// be answered with more bytes than it sends.
    pub(super) const REFUSALS_TOLD_MAX: usize = 8;
    /// Count and arrival of samples may differ by this much before a block's start is taken from
    /// the clock.
    pub(super) const DRIFT_MAX_US: u64 = 500_000;
}

/// What a person may set for the source.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Settings {
    /// What kind of device it is.
    pub kind: DeviceKind,
    /// Whether lines are acknowledged and refusals told.
    pub acknowledge: bool,
    /// After how long without a good line the source is silent. Default by kind: a monitor after
    /// 10 s, a pump after 15 s, a cuff and a glucose meter never: they are there now and then.
    pub silent_after: Option<Duration>,
}

/// Why a line is refused.
#[derive(Debug, Error)]
enum Refused {
    #[error(transparent)]
    Line(#[from] LineError),
    #[error(transparent)]
    Message(#[from] MessageError),
    #[error(transparent)]
    Meaning(#[from] Refusal),
    #[error(
        "more than {} streams and waveforms on all channels; use fewer, or two links",
        spec::SOURCES_MAX
    )]
    TooMany,
}

/// One stream or waveform of the source.
type Source = (Metric, Channel);

/// The lines of the source since the link opened, or since it said hello.
#[derive(Debug, Default)]
struct Lines {
    /// Taken and refused.
    count: u64,
    /// Up to which the source knows that they are safe.
    acknowledged: u64,
    /// Whether records of them may not yet be on disk.
    underway: bool,
}

/// Driver of json-lines.
#[derive(Debug)]
pub struct JsonLines {
    settings: Settings,
    reporter: Reporter,
    decoder: Decoder,
    open: bool,
    lines: Lines,
    /// Refused lines of which the source was not told yet; none between reads.
    refused: Vec<(u64, String)>,
    /// The last good line, or the opening of the link.
    heard_at: MonoTime,
    /// Whether it was told that the source is there; `None` before either.
    online: Option<bool>,
    about: BTreeMap<String, String>,
    /// Streams it sent: silent when the source is.
    streams: BTreeSet<Source>,
    /// Where the next block of each waveform begins by count, in microseconds of the agent's clock.
    waves: BTreeMap<Source, i64>,
    /// Alarms that are up and make a zero a value.
    standstills: BTreeMap<(String, Channel), Zeros>,
}

impl JsonLines {
    /// A driver that waits for lines.
    #[must_use]
    pub fn new(device: DeviceId, settings: Settings) -> Self {
        Self {
            settings,
            reporter: Reporter::new(device, settings.kind, "json-lines"),
            decoder: Decoder::default(),
            open: false,
            lines: Lines::default(),
            refused: Vec::new(),
            heard_at: MonoTime::START,
            online: None,
            about: BTreeMap::new(),
            streams: BTreeSet::new(),
            waves: BTreeMap::new(),
            standstills: BTreeMap::new(),
        }
    }

    /// The source counts its lines from here, and its alarms begin again.
    fn count_anew(&mut self) {
        // What was refused has a number of the old count.
        self.tell_refused();
        (self.lines.count, self.lines.acknowledged) = (0, 0);
        self.standstills.clear();
        self.say("{\"ack\":0}\n".to_owned());
    }

    fn receive(&mut self, now: Now, bytes: &[u8]) {
        let found: Vec<_> = self.decoder.decode(bytes).collect();
        for line in found {
            if let Err(error) = self.take_line(now, line) {
                let kind = match error {
                    Refused::Line(LineError::TooLong { .. }) => "too_long",
                    Refused::Line(LineError::Utf8 { .. }) => "noise",
                    Refused::Message(_) => "malformed",
                    Refused::Meaning(_) | Refused::TooMany => "refused",
                };
                let line = self.lines.count;
                self.reporter.note(now, kind, format!("line {line} is refused: {error}"));
                self.refused.push((line, error.to_string()));
            }
        }
        self.tell_refused();
        self.acknowledge();
    }

    /// Takes a line in as a whole, or says why not.
    fn take_line(&mut self, now: Now, line: Result<String, LineError>) -> Result<(), Refused> {
        let message = line
            .map_err(Refused::from)
            .and_then(|line| Message::parse(&line).map_err(Refused::from));
        if let Ok(Message::Echo) = message {
            // Answering it would go on for ever.
            let text = "our own answers come back; switch off the echo of the device";
            self.reporter.note(now, "echo", text);
            return Ok(());
        }
        self.lines.count = self.lines.count.saturating_add(1);
        match message? {
            Message::Blank | Message::Echo => {}
            Message::Hello => {
                self.count_anew();
                self.hear(now);
            }
            Message::About(texts) => {
                let about = meaning::about(texts)?;
                if about != self.about {
                    (self.about, self.online) = (about, None);
                }
                self.hear(now);
            }
            Message::Readings(line) => {
                let zeros = self.zeros();
                let group = meaning::group(line, zeros, self.reporter.device(), now.observed())?;
                self.know_streams(&group)?;
                self.hear(now);
                self.emit(Record::Readings(group));
            }
            Message::Wave(line) => {
                let block = self.place(now, meaning::samples(line)?)?;
                self.hear(now);
                self.emit(Record::Waveform(block));
            }
            Message::Alarm(line) => {
                let alarm = meaning::alarm(line, self.reporter.device(), now.observed())?;
                self.know_alarm(&alarm);
                self.hear(now);
                self.emit(Record::Alarm(alarm));
            }
        }
        Ok(())
    }

    fn know_streams(&mut self, group: &ReadingGroup) -> Result<(), Refused> {
        if group.occurrence == Occurrence::Spot {
            return Ok(());
        }
        let metrics = group.readings.iter().map(|reading| reading.metric);
        let streams = metrics.filter(|metric| metric.row().kind == Kind::Stream);
        let new: Vec<_> = streams
            .map(|metric| (metric, group.channel.clone()))
            .filter(|source| !self.streams.contains(source))
            .collect();
        if self.streams.len() + self.waves.len() + new.len() > spec::SOURCES_MAX {
            return Err(Refused::TooMany);
        }
        self.streams.extend(new);
        Ok(())
    }

    fn know_alarm(&mut self, alarm: &DeviceAlarm) {
        let (zeros, key) = (Zeros::of(alarm), (alarm.code.clone(), alarm.channel.clone()));
        if alarm.phase == AlarmPhase::End {
            self.standstills.remove(&key);
        } else if zeros != Zeros::default() && self.standstills.len() < spec::STANDSTILLS_MAX {
            self.standstills.insert(key, zeros);
        }
    }

    /// Gives a block its place in time: where the one before ended, unless count and arrival have
    /// run apart; its last sample is as old as the line.
    fn place(&mut self, now: Now, found: Samples) -> Result<WaveformBlock, Refused> {
        let Samples { metric, channel, period, span_us, scale, samples, flags } = found;
        let source = (metric, channel.clone());
        let room = self.streams.len() + self.waves.len() < spec::SOURCES_MAX;
        if !room && !self.waves.contains_key(&source) {
            return Err(Refused::TooMany);
        }
        let span_us = i64::try_from(span_us).unwrap_or(i64::MAX);
        let by_clock = now.wall.unix_ms().saturating_mul(1000).saturating_sub(span_us);
        let by_count = self.waves.get(&source).copied();
        let start = by_count
            .filter(|by_count| by_count.abs_diff(by_clock) <= spec::DRIFT_MAX_US)
            .unwrap_or(by_clock);
        self.waves.insert(source, start.saturating_add(span_us));
        let at = WallTime::from_unix_ms(start.div_euclid(1000));
        let start = Observed { at, quality: now.quality };
        let device = self.reporter.device().clone();
        Ok(WaveformBlock { device, channel, metric, start, period, scale, samples, flags })
    }

    /// A good line came.
    fn hear(&mut self, now: Now) {
        self.heard_at = now.mono;
        if self.online != Some(true) {
            self.online = Some(true);
            self.lines.underway = true;
            self.reporter.status(now, DeviceState::Online, "", self.about.clone());
        }
    }

    fn emit(&mut self, record: Record) {
        self.lines.underway = true;
        self.reporter.emit(record);
    }

    fn fall_silent(&mut self, now: Now) {
        self.online = Some(false);
        self.standstills.clear();
        for (metric, channel) in std::mem::take(&mut self.streams) {
            let reading = Reading::no_data(metric, NoData::Silent);
            let group =
                ReadingGroup::new(self.reporter.device().clone(), now.observed(), vec![reading]);
            self.reporter.emit(Record::Readings(group.on_channel(channel)));
        }
        let reason = "no good line came in time; check the device, its cable and its speed";
        self.reporter.status(now, DeviceState::Silent, reason, self.about.clone());
    }

    fn tell_refused(&mut self) {
        let refused = std::mem::take(&mut self.refused);
        let (told, left_out) = refused.split_at(refused.len().min(spec::REFUSALS_TOLD_MAX));
        for (line, error) in told {
            self.say(format!("{{\"refused\":{line},\"error\":{}}}\n", Value::from(error.as_str())));
        }
        if let (Some((first, _)), Some((last, _))) = (left_out.first(), left_out.last()) {
            let count = left_out.len();
            let error = format!(
                "{count} lines from {first} to {last} are refused as well; correct the first"
            );
            self.say(format!("{{\"refused\":{last},\"error\":{}}}\n", Value::from(error)));
        }
    }

    /// Tells the source how many of its lines are safe, if it is more than it knows.
    fn acknowledge(&mut self) {
        let Lines { count, acknowledged, underway } = self.lines;
        if !underway && count > acknowledged {
            self.lines.acknowledged = count;
            self.say(format!("{{\"ack\":{count}}}\n"));
        }
    }

    fn say(&mut self, line: String) {
        if self.settings.acknowledge {
            self.reporter.send(line.into_bytes());
        }
    }

    fn close(&mut self, now: Now) {
        let count = self.decoder.give_up();
        if count > 0 {
            let text = format!("{count} bytes of a line without an end; it is not used");
            self.reporter.note(now, "cut_off", text);
        }
        let fresh = Self::new(self.reporter.device().clone(), self.settings);
        let closed = std::mem::replace(self, fresh);
        self.reporter = closed.reporter;
    }

    fn zeros(&self) -> Zeros {
        self.standstills.values().fold(Zeros::default(), |all, one| Zeros {
            heart: all.heart || one.heart,
            breath: all.breath || one.breath,
        })
    }
}

impl SerialDriver for JsonLines {
    fn handle(&mut self, now: Now, event: SerialEvent<'_>) {
        match event {
            SerialEvent::Opened => {
                (self.open, self.heard_at) = (true, now.mono);
                self.count_anew();
            }
            SerialEvent::Received(bytes) => self.receive(now, bytes),
            SerialEvent::TimedOut => {
                if self.next_timeout().is_some_and(|at| now.mono >= at) {
                    self.fall_silent(now);
                }
            }
            SerialEvent::Committed => {
                self.lines.underway = false;
                self.acknowledge();
            }
            SerialEvent::Closed => self.close(now),
        }
    }

    fn poll_output(&mut self) -> Option<SerialOutput> {
        self.reporter.next()
    }

    fn next_timeout(&self) -> Option<MonoTime> {
        let after = self.settings.silent_after.or(default_silence(self.settings.kind))?;
        (self.open && self.online != Some(false)).then(|| self.heard_at + after)
    }
}

/// A cuff, a meter, a thermometer and a scale are there now and then: nothing is wrong when they say nothing.
const fn default_silence(kind: DeviceKind) -> Option<Duration> {
    match kind {
        DeviceKind::Monitor | DeviceKind::Oximeter | DeviceKind::EcgStrap => {
            Some(spec::MONITOR_SILENCE)
        }
        DeviceKind::Pump => Some(spec::PUMP_SILENCE),
        DeviceKind::Cuff
        | DeviceKind::GlucoseMeter
        | DeviceKind::Thermometer
        | DeviceKind::Scale => None,
    }
}

#[cfg(test)]
mod tests;
