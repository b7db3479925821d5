//! Berry PM6750-family patient monitor module over RS-232.
//!
//! Read first: the protocol sheet of the PM6750 family (Berry "Patient Monitor Protocol V3.2").
//!
//! # Invariants
//! - the cuff is never inflated (0x02 01), nor prepared for it (0x09, 0x0A); no factory command
//! - blocks are counted from the first packet after start-up, so that both ends cut alike
//! - one cuff measurement is one reading, however often the module repeats it

mod blocks;
pub mod codec;

use super::{Cursor, SerialDriver, SerialEvent, SerialOutput};
use crate::reporter::Reporter;
use blocks::Stream;
use codec::{Decoder, Frame, FrameError, command};
use model::{
    alarm::{AlarmKind, AlarmPhase, DeviceAlarm, Priority},
    decimal::Decimal,
    device::{DeviceKind, DeviceState},
    id::{Channel, DeviceId},
    metric::Metric,
    reading::{NoData, Occurrence, Reading, ReadingGroup},
    record::Record,
    time::{MonoTime, Now},
    units::Unit,
    waveform::Scale,
};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

/// Facts about the session; those about frames are in [`codec`].
mod spec {
    use super::{Duration, Metric};

    /// "Recommended start-up order", §5: gain ×1, monitor filter, respiration gain, then streams.
    pub(super) const START_UP: [(u8, u8); 8] =
        [(0x07, 3), (0x08, 2), (0x0F, 3), (0x01, 1), (0x03, 1), (0x04, 1), (0xFE, 1), (0xFF, 1)];
    /// "CLOSE: send 01 00, 03 00, 04 00, FE 00, FF 00", §7. Sent first, so that a module that
    /// streamed on while nobody listened begins anew.
    pub(super) const SWITCH_OFF: [(u8, u8); 5] =
        [(0x01, 0), (0x03, 0), (0x04, 0), (0xFE, 0), (0xFF, 0)];
    /// "With ≥ 50 ms between commands", §5.
    pub(super) const BETWEEN_COMMANDS: Duration = Duration::from_millis(50);
    /// The longest time between two packets of a wave is 20 ms; ten of them are silence.
    pub(super) const QUIET: Duration = Duration::from_millis(200);
    /// A module that does not fall quiet is started all the same.
    pub(super) const QUIET_LIMIT: Duration = Duration::from_secs(2);
    /// "Confirm each stream by the arrival of its packets within 2 s, else resend (max 3)", §5.
    pub(super) const CONFIRM: Duration = Duration::from_secs(2);
    pub(super) const RESEND_MAX: u8 = 3;
    /// "3 s without a valid packet = link lost → re-run start-up", §7.
    pub(super) const SILENCE: Duration = Duration::from_secs(3);
    /// "90 s without a terminal state = forget the cycle", §7.
    pub(super) const CYCLE_MAX: Duration = Duration::from_secs(90);
    /// "Values ≤ 2 or ≥ 247 mean amplifier saturation", §6.1.
    pub(super) const RAIL: std::ops::Range<i32> = 3..247;
    /// "Baseline 128", §6.1.
    pub(super) const BASELINE: i32 = 128;
    /// Status bits, §6.2.
    pub(super) const WEAK_SIGNAL: u8 = 1;
    pub(super) const LEAD_OFF: u8 = 1 << 1;
    /// Gain ×0.25, ×0.5, ×1, ×2 in bits 3–2, as quarters.
    pub(super) const GAIN_QUARTERS: [i64; 4] = [1, 2, 4, 8];
    /// Arrhythmia codes, §6.2.
    pub(super) const LEARNING: u8 = 0;
    pub(super) const NORMAL: u8 = 1;
    pub(super) const ASYSTOLE: u8 = 2;
    /// Which enable command brings which packets.
    pub(super) const CONFIRMED_BY: [(u8, u8); 5] =
        [(0x01, 0x01), (0x03, 0x04), (0x04, 0x05), (0xFE, 0xFE), (0xFF, 0xFF)];
    /// "I, II, III, aVR, aVL, aVF, V", §6.
    pub(super) const LEADS: &[Metric] = &[
        Metric::ECG_WAVE_I,
        Metric::ECG_WAVE_II,
        Metric::ECG_WAVE_III,
        Metric::ECG_WAVE_AVR,
        Metric::ECG_WAVE_AVL,
        Metric::ECG_WAVE_AVF,
        Metric::ECG_WAVE_V,
    ];
    pub(super) const ECG_RATE: u16 = 250;
    /// Measured; the manual says 40.
    pub(super) const PLETH_RATE: u16 = 50;
    pub(super) const RESP_RATE: u16 = 50;
    /// NIBP test states, §6.3.
    pub(super) const FINISHED: u8 = 0;
    pub(super) const RUNNING: [u8; 3] = [1, 9, 10];
    pub(super) const STOPPED: u8 = 2;
    pub(super) const MOTION: u8 = 7;
    pub(super) const FAILED_MAX: u8 = 8;
    /// SpO2 status, §6.4.
    pub(super) const PROBE_OFF: u8 = 1;
    pub(super) const NO_FINGER: u8 = 2;
    pub(super) const SEARCHING: u8 = 3;
    pub(super) const SEARCH_TOO_LONG: u8 = 4;
    /// "127 = invalid", "255 = invalid", §6.4.
    pub(super) const SPO2_INVALID: u8 = 127;
    pub(super) const PULSE_INVALID: u8 = 255;
}

/// A result as the module repeats it: systolic, mean, diastolic.
type NibpResult = [u8; 3];

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Phase {
    Closed,
    /// Streams were switched off; waiting until the line is quiet.
    Quieting {
        until: MonoTime,
    },
    Streaming,
}

/// Driver of the PM6750 family.
#[derive(Debug)]
pub struct Pm6750 {
    counts_per_mv: Option<Decimal>,
    phase: Phase,
    decoder: Decoder,
    reporter: Reporter,
    commands: VecDeque<(u8, u8)>,
    next_command: MonoTime,
    /// Which streams have come since start-up.
    seen: BTreeSet<u8>,
    confirm_at: Option<MonoTime>,
    resends: u8,
    last_wave: MonoTime,
    last_valid: MonoTime,
    online: Option<bool>,
    ecg: Stream,
    /// What a 3-lead firmware sends.
    lead_two: Stream,
    pleth: Stream,
    resp: Stream,
    gain: usize,
    lead_off: bool,
    probe_off: bool,
    arrhythmia: Option<u8>,
    /// When the last packet of a running cuff measurement came.
    running_at: Option<MonoTime>,
    nibp_state: Option<u8>,
    last_result: Option<NibpResult>,
    /// Stream metrics heard since start-up, with their channel: silent when the module is.
    heard: BTreeSet<(Metric, Channel)>,
}

impl Pm6750 {
    /// A driver whose scale is known where `counts_per_mv` is; the cursor is the last cuff result.
    #[must_use]
    pub fn new(device: DeviceId, counts_per_mv: Option<Decimal>, cursor: Option<Cursor>) -> Self {
        Self {
            counts_per_mv,
            phase: Phase::Closed,
            decoder: Decoder::default(),
            reporter: Reporter::new(device, DeviceKind::Monitor, "pm6750"),
            commands: VecDeque::new(),
            next_command: MonoTime::START,
            seen: BTreeSet::new(),
            confirm_at: None,
            resends: 0,
            last_wave: MonoTime::START,
            last_valid: MonoTime::START,
            online: None,
            ecg: Stream::new(spec::LEADS, spec::ECG_RATE),
            lead_two: Stream::new(&[Metric::ECG_WAVE_II], spec::ECG_RATE),
            pleth: Stream::new(&[Metric::PLETH], spec::PLETH_RATE),
            resp: Stream::new(&[Metric::RESP_WAVE], spec::RESP_RATE),
            gain: 2,
            lead_off: false,
            probe_off: false,
            arrhythmia: None,
            running_at: None,
            nibp_state: None,
            last_result: cursor.and_then(|cursor| cursor.0.as_slice().try_into().ok()),
            heard: BTreeSet::new(),
        }
    }

    fn start(&mut self, now: MonoTime) {
        self.phase = Phase::Quieting { until: now + spec::QUIET_LIMIT };
        self.commands = spec::SWITCH_OFF.into();
        self.next_command = now;
        (self.last_wave, self.last_valid) = (now, now);
        self.seen.clear();
        self.confirm_at = None;
        self.resends = 0;
        for stream in [&mut self.ecg, &mut self.lead_two, &mut self.pleth, &mut self.resp] {
            stream.reset();
        }
    }

    fn time_out(&mut self, now: Now) {
        let mono = now.mono;
        if mono >= self.next_command
            && let Some((function, argument)) = self.commands.pop_front()
        {
            self.reporter.send(command(function, argument));
            self.next_command = mono + spec::BETWEEN_COMMANDS;
            if self.commands.is_empty() && self.phase == Phase::Streaming {
                self.confirm_at = Some(mono + spec::CONFIRM);
            }
        }
        match self.phase {
            Phase::Closed => {}
            Phase::Quieting { until } => {
                let quiet = mono.since(self.last_wave) >= spec::QUIET;
                if self.commands.is_empty() && (quiet || mono >= until) {
                    self.phase = Phase::Streaming;
                    self.commands = spec::START_UP.into();
                    self.last_valid = mono;
                }
            }
            Phase::Streaming => {
                self.flush_stopped(mono);
                if self.confirm_at.is_some_and(|at| mono >= at) {
                    self.confirm();
                }
                if mono.since(self.last_valid) >= spec::SILENCE {
                    self.fall_silent(now);
                    self.start(mono);
                }
            }
        }
    }

    /// Enables again what has not come.
    fn confirm(&mut self) {
        self.confirm_at = None;
        let missing = spec::CONFIRMED_BY.iter().filter(|(_, packet)| !self.seen.contains(packet));
        let missing: Vec<_> = missing.map(|(function, _)| (*function, 1)).collect();
        if !missing.is_empty() && self.resends < spec::RESEND_MAX {
            self.resends += 1;
            self.commands.extend(missing);
        }
    }

    fn flush_stopped(&mut self, now: MonoTime) {
        let scale = self.scale();
        for stream in [&mut self.ecg, &mut self.lead_two, &mut self.pleth, &mut self.resp] {
            if stream.flush_at().is_some_and(|at| now >= at) {
                hand_out(stream, scale.as_ref(), &mut self.reporter);
                stream.restart();
            }
        }
    }

    fn fall_silent(&mut self, now: Now) {
        if self.online == Some(false) {
            return;
        }
        for (metric, channel) in std::mem::take(&mut self.heard) {
            let reading = Reading::no_data(metric, NoData::Silent);
            let group = self.group(now, vec![reading]).on_channel(channel);
            self.reporter.emit(Record::Readings(group));
        }
        let hint = "no valid packet for 3 s; check power and cable of the monitor";
        self.report(now, DeviceState::Silent, hint);
    }

    fn report(&mut self, now: Now, state: DeviceState, reason: &str) {
        self.online = Some(state == DeviceState::Online);
        self.reporter.status(now, state, reason, BTreeMap::new());
    }

    fn take(&mut self, now: Now, frame: Frame) {
        let wave = matches!(
            frame,
            Frame::EcgWave(_) | Frame::EcgWaveSingle(_) | Frame::Pleth(_) | Frame::Respiration(_)
        );
        if wave {
            self.last_wave = now.mono;
        }
        self.last_valid = now.mono;
        if self.phase != Phase::Streaming {
            return;
        }
        if self.online != Some(true) {
            self.report(now, DeviceState::Online, "");
        }
        match frame {
            Frame::EcgWave(leads) => self.push_ecg(now, &leads),
            Frame::EcgWaveSingle(sample) => self.push_ecg(now, &[sample]),
            Frame::EcgParameters { status, hr, rr, st, arrhythmia } => {
                self.gain = usize::from(status >> 2 & 3);
                self.take_parameters(now, status, (hr, rr, st), arrhythmia);
            }
            Frame::Nibp { state, systolic, mean, diastolic, .. } => {
                self.take_nibp(now, state, [systolic, mean, diastolic]);
            }
            Frame::Spo2 { status, saturation, pulse } => {
                self.seen.insert(codec::spec::SPO2);
                self.take_spo2(now, status, saturation, pulse);
            }
            Frame::Temperature { status, t1, t2 } => {
                self.seen.insert(codec::spec::TEMPERATURE);
                self.take_temperature(now, "t1", status & 1 != 0, t1);
                if let Some(t2) = t2 {
                    self.take_temperature(now, "t2", status & 2 != 0, t2);
                }
            }
            Frame::Pleth(sample) => {
                self.seen.insert(codec::spec::PLETH);
                if self.pleth.push(now, &[sample], false) {
                    hand_out(&mut self.pleth, None, &mut self.reporter);
                }
            }
            Frame::Respiration(sample) => {
                self.seen.insert(codec::spec::RESPIRATION);
                if self.resp.push(now, &[sample], false) {
                    hand_out(&mut self.resp, None, &mut self.reporter);
                }
            }
            Frame::Beat | Frame::Pulse | Frame::Version(_) => {}
            Frame::Unknown(kind) => {
                let text =
                    format!("a packet of type {kind:#04x} is unknown or too short; it is skipped");
                self.reporter.note(now, "unknown_frame", text);
            }
        }
    }

    fn push_ecg(&mut self, now: Now, leads: &[u8]) {
        self.seen.insert(codec::spec::ECG_WAVE);
        let scale = self.scale();
        let stream = if leads.len() == 1 { &mut self.lead_two } else { &mut self.ecg };
        if stream.push(now, leads, self.lead_off) {
            hand_out(stream, scale.as_ref(), &mut self.reporter);
        }
    }

    /// "Counts per mV at gain ×1; the gain reported in 0x02 multiplies it", §6.1.
    fn scale(&self) -> Option<Scale> {
        /// A nanovolt: finer than any front end.
        const DECIMALS: u8 = 6;
        let counts = self.counts_per_mv?;
        let quarters = *spec::GAIN_QUARTERS.get(self.gain)?;
        // 1 / (counts × quarters / 4) = 4 / (counts × quarters), in whole millionths.
        let denominator = i128::from(counts.mantissa()) * i128::from(quarters);
        let power = u32::from(counts.exponent().unsigned_abs());
        let millionths = 4 * 10_i128.pow(u32::from(DECIMALS));
        let (numerator, denominator) = match counts.exponent() < 0 {
            true => (millionths * 10_i128.pow(power), denominator),
            false => (millionths, denominator * 10_i128.pow(power)),
        };
        let rounded = (2 * numerator + denominator).checked_div(2 * denominator)?;
        Some(Scale {
            per_count: Decimal::new(i64::try_from(rounded).ok()?, -6)?,
            offset: spec::BASELINE,
            unit: Unit::MILLIVOLT,
        })
    }

    fn take_parameters(
        &mut self,
        now: Now,
        status: u8,
        (hr, rr, st): (u8, u8, Option<i8>),
        arrhythmia: Option<u8>,
    ) {
        let lead_off = status & spec::LEAD_OFF != 0;
        let absent = |metric, reason| Reading::no_data(metric, reason);
        let asystole = arrhythmia == Some(spec::ASYSTOLE) && !lead_off;
        let hr = match hr {
            0 if !asystole => absent(
                Metric::HR,
                match (lead_off, status & spec::WEAK_SIGNAL != 0, arrhythmia) {
                    (true, ..) => NoData::LeadOff,
                    (_, true, _) => NoData::LowSignal,
                    (_, _, Some(spec::LEARNING)) => NoData::Searching,
                    _ => NoData::NotAvailable,
                },
            ),
            rate => Reading::number(Metric::HR, u32::from(rate), Unit::PER_MINUTE),
        };
        let rr = match rr {
            0 if lead_off => absent(Metric::RR_IMP, NoData::LeadOff),
            0 => absent(Metric::RR_IMP, NoData::NotAvailable),
            rate => Reading::number(Metric::RR_IMP, u32::from(rate), Unit::PER_MINUTE),
        };
        let st = match st {
            _ if lead_off => absent(Metric::ST, NoData::LeadOff),
            Some(raw) => {
                Reading::number(Metric::ST, Decimal::fixed(i64::from(raw), -2), Unit::MILLIVOLT)
            }
            None => absent(Metric::ST, NoData::NotAvailable),
        };
        self.emit_group(self.group(now, vec![hr, rr, st]));
        self.set_lead_off(now, lead_off);
        if let Some(code) = arrhythmia {
            self.take_arrhythmia(now, code);
        }
    }

    fn take_arrhythmia(&mut self, now: Now, code: u8) {
        let code = (code > spec::NORMAL).then_some(code);
        if code == self.arrhythmia {
            return;
        }
        let before = std::mem::replace(&mut self.arrhythmia, code);
        for (code, starts) in [(before, false), (code, true)] {
            if let Some(code) = code {
                let (kind, priority) = arrhythmia_kind(code);
                let text = format!("{code:02x}");
                self.alarm(now, starts, kind, &text, Some(priority), Some(Metric::HR));
            }
        }
    }

    fn take_nibp(&mut self, now: Now, state: u8, result: NibpResult) {
        let before = self.nibp_state.replace(state);
        let running = self.running_at.is_some_and(|at| now.mono.since(at) < spec::CYCLE_MAX);
        let [systolic, _, diastolic] = result;
        if spec::RUNNING.contains(&state) {
            self.running_at = Some(now.mono);
            return;
        }
        self.running_at = None;
        match state {
            spec::FINISHED if systolic != 0 && diastolic != 0 => {
                if running {
                    self.emit_result(now, result, true);
                } else if self.last_result != Some(result) {
                    // It was measured before this driver listened: nobody knows when.
                    self.emit_result(now, result, false);
                }
            }
            spec::FINISHED | spec::STOPPED => {}
            // A failure that was there from the first packet may be an old one.
            failed
                if failed <= spec::FAILED_MAX
                    && (running || before.is_some_and(|before| before != failed)) =>
            {
                self.emit_failure(now, failed);
            }
            _ => {}
        }
    }

    fn emit_failure(&mut self, now: Now, state: u8) {
        let reason = match state {
            spec::MOTION => NoData::Motion,
            code => NoData::DeviceError(code.to_string()),
        };
        let metrics = [Metric::NIBP_SYS, Metric::NIBP_MEAN, Metric::NIBP_DIA];
        let absent = metrics.map(|metric| Reading::no_data(metric, reason.clone()));
        self.emit_group(self.group(now, absent.into()).as_group(Metric::NIBP));
    }

    fn emit_result(&mut self, now: Now, result: NibpResult, time_known: bool) {
        let metrics = [Metric::NIBP_SYS, Metric::NIBP_MEAN, Metric::NIBP_DIA];
        let readings = metrics.into_iter().zip(result).map(|(metric, value)| match value {
            0 => Reading::no_data(metric, NoData::NotAvailable),
            value => Reading::number(metric, u32::from(value), Unit::MM_HG),
        });
        let mut group = self.group(now, readings.collect()).as_group(Metric::NIBP);
        if !time_known {
            group = group.with_context("time", "unknown");
        }
        self.emit_group(group);
        self.last_result = Some(result);
        self.reporter.remember(Cursor(result.to_vec()));
    }

    fn take_spo2(&mut self, now: Now, status: u8, saturation: u8, pulse: u8) {
        let reason = match status {
            spec::PROBE_OFF | spec::NO_FINGER => Some(NoData::SensorOff),
            spec::SEARCHING | spec::SEARCH_TOO_LONG => Some(NoData::Searching),
            _ => None,
        };
        let reading = |metric, raw: u8, invalid, unit| match &reason {
            Some(reason) => Reading::no_data(metric, reason.clone()),
            None if raw == invalid => Reading::no_data(metric, NoData::NotAvailable),
            None => Reading::number(metric, u32::from(raw), unit),
        };
        let readings = vec![
            reading(Metric::SPO2, saturation, spec::SPO2_INVALID, Unit::PERCENT),
            reading(Metric::PULSE_OXIM, pulse, spec::PULSE_INVALID, Unit::PER_MINUTE),
        ];
        self.emit_group(self.group(now, readings));
        let probe_off = matches!(status, spec::PROBE_OFF | spec::NO_FINGER | spec::SEARCH_TOO_LONG);
        self.set_probe_off(now, probe_off);
    }

    fn take_temperature(&mut self, now: Now, channel: &str, off: bool, (whole, tenth): (u8, u8)) {
        let tenths = i64::from(whole) * 10 + i64::from(tenth);
        let reading = match (off, tenths) {
            (true, _) => Reading::no_data(Metric::TEMP, NoData::SensorOff),
            (false, 0) => Reading::no_data(Metric::TEMP, NoData::NotAvailable),
            (false, tenths) => {
                Reading::number(Metric::TEMP, Decimal::fixed(tenths, -1), Unit::CELSIUS)
            }
        };
        let channel = Channel::new(channel).unwrap_or_default();
        self.emit_group(self.group(now, vec![reading]).on_channel(channel));
    }

    fn alarm(
        &mut self,
        now: Now,
        starts: bool,
        kind: AlarmKind,
        code: &str,
        priority: Option<Priority>,
        source: Option<Metric>,
    ) {
        self.reporter.emit(Record::Alarm(DeviceAlarm {
            device: self.reporter.device().clone(),
            channel: Channel::default(),
            phase: if starts { AlarmPhase::Start } else { AlarmPhase::End },
            kind,
            code: code.to_owned(),
            text: String::new(),
            priority,
            source,
            device_time: None,
            observed: now.observed(),
        }));
    }

    fn set_lead_off(&mut self, now: Now, off: bool) {
        if off != std::mem::replace(&mut self.lead_off, off) {
            self.alarm(now, off, AlarmKind::LeadOff, "lead_off", None, Some(Metric::HR));
        }
    }

    fn set_probe_off(&mut self, now: Now, off: bool) {
        if off != std::mem::replace(&mut self.probe_off, off) {
            self.alarm(now, off, AlarmKind::ProbeOff, "spo2_probe", None, Some(Metric::SPO2));
        }
    }

    fn group(&self, now: Now, readings: Vec<Reading>) -> ReadingGroup {
        ReadingGroup::new(self.reporter.device().clone(), now.observed(), readings)
    }

    fn emit_group(&mut self, group: ReadingGroup) {
        if group.occurrence == Occurrence::Stream {
            let metrics = group.readings.iter().map(|reading| reading.metric);
            self.heard.extend(metrics.map(|metric| (metric, group.channel.clone())));
        }
        self.reporter.emit(Record::Readings(group));
    }

    /// Hands out the samples that are left. Alarms are forgotten, not ended: nobody knows.
    fn close(&mut self) {
        let scale = self.scale();
        for stream in [&mut self.ecg, &mut self.lead_two, &mut self.pleth, &mut self.resp] {
            hand_out(stream, scale.as_ref(), &mut self.reporter);
        }
        let device = self.reporter.device().clone();
        let cursor = self.last_result.map(|result| Cursor(result.to_vec()));
        let fresh = Self::new(device, self.counts_per_mv, cursor);
        let closed = std::mem::replace(self, fresh);
        self.reporter = closed.reporter;
    }
}

/// Emits what the stream gathered, one block per lead.
fn hand_out(stream: &mut Stream, scale: Option<&Scale>, reporter: &mut Reporter) {
    for block in stream.take(reporter.device(), scale) {
        reporter.emit(Record::Waveform(block));
    }
}

/// "Arrhythmia 02–04 → critical, 05–0C → advisory", §8.
fn arrhythmia_kind(code: u8) -> (AlarmKind, Priority) {
    match code {
        spec::ASYSTOLE => (AlarmKind::Asystole, Priority::High),
        0x03 => (AlarmKind::VentricularFibrillation, Priority::High),
        0x04 => (AlarmKind::ROnT, Priority::High),
        0x05..=0x09 => (AlarmKind::PvcRate, Priority::Low),
        0x0A => (AlarmKind::High, Priority::Low),
        0x0B => (AlarmKind::Low, Priority::Low),
        0x0C => (AlarmKind::Pause, Priority::Low),
        _ => (AlarmKind::Other, Priority::Low),
    }
}

impl SerialDriver for Pm6750 {
    fn handle(&mut self, now: Now, event: SerialEvent<'_>) {
        match event {
            SerialEvent::Opened => {
                self.decoder = Decoder::default();
                self.start(now.mono);
                self.time_out(now);
            }
            SerialEvent::Received(bytes) => {
                let mut decoder = std::mem::take(&mut self.decoder);
                for frame in decoder.decode(bytes) {
                    match frame {
                        Ok(frame) => self.take(now, frame),
                        Err(error @ FrameError::Checksum { .. }) => {
                            self.reporter.note(now, "checksum", error);
                        }
                        Err(error @ FrameError::Noise { .. }) => {
                            self.reporter.note(now, "noise", error);
                        }
                    }
                }
                self.decoder = decoder;
            }
            SerialEvent::TimedOut => self.time_out(now),
            SerialEvent::Committed => {}
            SerialEvent::Closed => self.close(),
        }
    }

    fn poll_output(&mut self) -> Option<SerialOutput> {
        self.reporter.next()
    }

    fn next_timeout(&self) -> Option<MonoTime> {
        let command = (!self.commands.is_empty()).then_some(self.next_command);
        match self.phase {
            Phase::Closed => None,
            Phase::Quieting { until } => {
                let quiet = until.min(self.last_wave + spec::QUIET);
                Some(command.unwrap_or(quiet))
            }
            Phase::Streaming => {
                let flush = [&self.ecg, &self.lead_two, &self.pleth, &self.resp]
                    .into_iter()
                    .filter_map(Stream::flush_at);
                let silence = self.last_valid + spec::SILENCE;
                command.into_iter().chain(self.confirm_at).chain(flush).chain([silence]).min()
            }
        }
    }
}

#[cfg(test)]
mod tests;
