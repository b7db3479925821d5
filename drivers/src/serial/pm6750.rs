//! Berry PM6750-family patient monitor module over RS-232.
//!
//! Read first: the protocol sheet of the PM6750 family (Berry "Patient Monitor Protocol V3.2").
//!
//! # Invariants
//! - the cuff is never inflated (0x02 01), nor prepared for it (0x09, 0x0A); no factory command:
//!   [`codec::Command`] cannot say them
//! - blocks are counted from the first packet after enabling, so that both ends cut alike; they
//!   are cut earlier only where samples were lost, bytes were damaged or the scale changed
//! - one cuff measurement is one reading, however often the module repeats it

mod alarms;
mod blocks;
pub mod codec;
mod cuff;
mod vitals;
mod watch;

use super::{Cursor, SerialDriver, SerialEvent, SerialOutput};
use crate::reporter::Reporter;
use alarms::{Alarms, Condition, Subject};
use blocks::Stream;
use codec::{Command, Decoder, Frame, FrameError, Switch};
use cuff::{Cuff, CuffNews, Pressures};
use model::{
    decimal::Decimal,
    device::{CUFF, CUFF_MEASURES, DeviceKind, DeviceState},
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
use vitals::Probe;
use watch::{Source, Watch};

/// Facts about the session and what numbers mean; those about frames are in [`codec`].
mod spec {
    use super::{Command, Duration, Metric, Switch};

    /// "Recommended start-up order", §5: gain ×1, monitor filter, respiration gain, then streams.
    /// What the module is, is asked last: nothing depends on it.
    pub(super) const START_UP: [Command; 10] = [
        Command::EcgGainOne,
        Command::EcgFilterMonitor,
        Command::RespirationGainOne,
        Command::Ecg(Switch::On),
        Command::Spo2(Switch::On),
        Command::Temperature(Switch::On),
        Command::Pleth(Switch::On),
        Command::Respiration(Switch::On),
        Command::AskFirmware,
        Command::AskHardware,
    ];
    /// "CLOSE: send 01 00, 03 00, 04 00, FE 00, FF 00", §7. Sent first, so that a module that
    /// streamed on while nobody listened begins anew; at the end there is no port to send it to.
    pub(super) const SWITCH_OFF: [Command; 5] = [
        Command::Ecg(Switch::Off),
        Command::Spo2(Switch::Off),
        Command::Temperature(Switch::Off),
        Command::Pleth(Switch::Off),
        Command::Respiration(Switch::Off),
    ];
    /// "With ≥ 50 ms between commands", §5.
    pub(super) const BETWEEN_COMMANDS: Duration = Duration::from_millis(50);
    /// The longest time between two packets of a wave is 20 ms; ten of them are silence.
    pub(super) const QUIET: Duration = Duration::from_millis(200);
    /// A module that does not fall quiet is started all the same.
    pub(super) const QUIET_LIMIT: Duration = Duration::from_secs(2);
    /// "3 s without a valid packet = link lost → re-run start-up", §7.
    pub(super) const SILENCE: Duration = Duration::from_secs(3);
    /// "A bad checksum rate above 1 % indicates wrong baud or cabling", §10; looked at so often.
    pub(super) const BAD_PERCENT_MAX: u32 = 1;
    pub(super) const JUDGED_PACKETS: u32 = 1000;
    /// "90 s without a terminal state = forget the cycle", §7.
    pub(super) const CYCLE_MAX: Duration = Duration::from_secs(90);
    /// "Values ≤ 2 or ≥ 247 mean amplifier saturation", §6.1.
    pub(super) const RAIL: std::ops::Range<i32> = 3..247;
    /// "Baseline 128", §6.1.
    pub(super) const BASELINE: i32 = 128;
    /// Status bits, §6.2.
    pub(super) const WEAK_SIGNAL: u8 = 1;
    pub(super) const LEAD_OFF: u8 = 1 << 1;
    pub(super) const GAIN_SHIFT: u8 = 2;
    pub(super) const GAIN_MASK: u8 = 3;
    /// Gain ×0.25, ×0.5, ×1, ×2, as quarters; ×1 is the default.
    pub(super) const GAIN_QUARTERS: [i64; 4] = [1, 2, 4, 8];
    pub(super) const GAIN_ONE: usize = 2;
    /// So many packets in a row, one a second, say that the signal is weak or good again: the bit
    /// comes and goes with every movement.
    pub(super) const WEAK_PACKETS: u8 = 5;
    /// Arrhythmia codes, §6.2.
    pub(super) const LEARNING: u8 = 0x00;
    pub(super) const NORMAL: u8 = 0x01;
    pub(super) const ASYSTOLE: u8 = 0x02;
    pub(super) const FIBRILLATION: u8 = 0x03;
    pub(super) const R_ON_T: u8 = 0x04;
    pub(super) const PVC_FIRST: u8 = 0x05;
    pub(super) const TRIGEMINY: u8 = 0x09;
    pub(super) const TACHYCARDIA: u8 = 0x0A;
    pub(super) const BRADYCARDIA: u8 = 0x0B;
    pub(super) const MISSED_BEAT: u8 = 0x0C;
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
    /// Samples a second, §6. The pleth has 50 as measured and 40 in the manual.
    pub(super) const ECG_RATES: &[u16] = &[250];
    pub(super) const PLETH_RATES: &[u16] = &[50, 40];
    pub(super) const RESP_RATES: &[u16] = &[50];
    /// NIBP test states, §6.3.
    pub(super) const FINISHED: u8 = 0;
    pub(super) const RUNNING: [u8; 3] = [1, 9, 10];
    pub(super) const FAILED_FIRST: u8 = 3;
    pub(super) const MOTION: u8 = 7;
    pub(super) const FAILED_LAST: u8 = 8;
    /// SpO2 status, §6.4.
    pub(super) const PROBE_OFF: u8 = 1;
    pub(super) const NO_FINGER: u8 = 2;
    pub(super) const SEARCHING: u8 = 3;
    pub(super) const SEARCH_TOO_LONG: u8 = 4;
    /// "Status 1 T1 off, 2 T2 off, 3 both off", §6.5: a bit for each probe.
    pub(super) const T1_OFF: u8 = 1;
    pub(super) const T2_OFF: u8 = 1 << 1;
    /// "Value = whole + tenth/10 °C", §6.5.
    pub(super) const TENTH_MAX: u8 = 9;
    /// "15–30 °C is a probe lying on the bed: probe_off, not hypothermia" (metric catalogue).
    pub(super) const ON_BED_TENTHS: std::ops::RangeInclusive<i64> = 150..=300;
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Phase {
    Closed,
    /// Streams were switched off; waiting until the line is quiet.
    Quieting {
        until: MonoTime,
    },
    Streaming,
}

/// The waves.
#[derive(Debug)]
struct Streams {
    ecg: Stream,
    /// What a 3-lead firmware sends.
    lead_two: Stream,
    pleth: Stream,
    resp: Stream,
}

impl Streams {
    fn new(device: &DeviceId, scale: Option<&Scale>) -> Self {
        let stream = |metrics, rates, scale: Option<&Scale>| {
            Stream::new(device.clone(), metrics, rates, scale.cloned())
        };
        Self {
            ecg: stream(spec::LEADS, spec::ECG_RATES, scale),
            lead_two: stream(&[Metric::ECG_WAVE_II], spec::ECG_RATES, scale),
            pleth: stream(&[Metric::PLETH], spec::PLETH_RATES, None),
            resp: stream(&[Metric::RESP_WAVE], spec::RESP_RATES, None),
        }
    }

    fn all(&self) -> [&Stream; 4] {
        [&self.ecg, &self.lead_two, &self.pleth, &self.resp]
    }

    fn all_mut(&mut self) -> [&mut Stream; 4] {
        [&mut self.ecg, &mut self.lead_two, &mut self.pleth, &mut self.resp]
    }
}

/// Driver of the PM6750 family.
#[derive(Debug)]
pub struct Pm6750 {
    counts_per_mv: Option<Decimal>,
    phase: Phase,
    decoder: Decoder,
    reporter: Reporter,
    commands: VecDeque<Command>,
    next_command: MonoTime,
    watch: Watch,
    last_wave: MonoTime,
    last_valid: MonoTime,
    online: Option<bool>,
    /// What the module said of itself.
    about: BTreeMap<String, String>,
    /// Good and bad packets since they were last judged.
    packets: (u32, u32),
    streams: Streams,
    gain: usize,
    lead_off: bool,
    /// How far the signal is on its way to weak: at [`spec::WEAK_PACKETS`] it is.
    weakness: u8,
    alarms: Alarms,
    /// Probes that were on a body: only these can come off.
    worn: BTreeSet<Channel>,
    cuff: Cuff,
    /// Stream metrics heard since start-up, with their channel: silent when the module is.
    heard: BTreeSet<(Metric, Channel)>,
}

impl Pm6750 {
    /// A driver whose scale is known where `counts_per_mv` is; the cursor is the last cuff result.
    #[must_use]
    pub fn new(device: DeviceId, counts_per_mv: Option<Decimal>, cursor: Option<Cursor>) -> Self {
        let scale = scale(counts_per_mv, spec::GAIN_ONE);
        Self {
            counts_per_mv,
            phase: Phase::Closed,
            decoder: Decoder::default(),
            streams: Streams::new(&device, scale.as_ref()),
            reporter: Reporter::new(device, DeviceKind::Monitor, "pm6750"),
            commands: VecDeque::new(),
            next_command: MonoTime::START,
            watch: Watch::default(),
            last_wave: MonoTime::START,
            last_valid: MonoTime::START,
            online: None,
            about: BTreeMap::new(),
            packets: (0, 0),
            gain: spec::GAIN_ONE,
            lead_off: false,
            weakness: 0,
            alarms: Alarms::default(),
            worn: BTreeSet::new(),
            cuff: Cuff::new(cursor.as_ref()),
            heard: BTreeSet::new(),
        }
    }

    fn start(&mut self, now: MonoTime) {
        self.phase = Phase::Quieting { until: now + spec::QUIET_LIMIT };
        self.commands = spec::SWITCH_OFF.into();
        self.next_command = now;
        (self.last_wave, self.last_valid) = (now, now);
        self.watch = Watch::default();
        self.streams.all_mut().into_iter().for_each(Stream::reset);
    }

    fn time_out(&mut self, now: Now) {
        let mono = now.mono;
        if mono >= self.next_command
            && let Some(command) = self.commands.pop_front()
        {
            self.reporter.send(command.bytes());
            self.next_command = mono + spec::BETWEEN_COMMANDS;
            if self.commands.is_empty() && self.phase == Phase::Streaming {
                self.watch.begin(mono);
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
                for stream in self.streams.all_mut() {
                    if stream.flush_at().is_some_and(|at| mono >= at) {
                        stream.stop();
                    }
                }
                self.hand_out();
                if mono.since(self.last_valid) >= spec::SILENCE {
                    self.fall_silent(now);
                    self.start(mono);
                } else {
                    self.miss_streams(now);
                }
            }
        }
    }

    /// Some streams do not come while others do: says so, and enables them again.
    fn miss_streams(&mut self, now: Now) {
        for overdue in self.watch.overdue(now.mono) {
            let metrics: &[Metric] = match overdue.source {
                Source::EcgParameters => &[Metric::HR, Metric::RR_IMP, Metric::ST],
                Source::Spo2 => &[Metric::SPO2, Metric::PULSE_OXIM],
                Source::Temperature => &[Metric::TEMP],
                Source::EcgWave | Source::Pleth | Source::Respiration => &[],
            };
            self.say_silent(now, |metric| metrics.contains(&metric));
            if !overdue.again {
                let text = format!("no {:?} packets come; check the module", overdue.source);
                self.reporter.note(now, "stream_missing", text);
                continue;
            }
            // The module counts blocks of a wave from there.
            match overdue.source {
                Source::EcgWave | Source::EcgParameters => {
                    self.streams.ecg.stop();
                    self.streams.lead_two.stop();
                }
                Source::Pleth => self.streams.pleth.stop(),
                Source::Respiration => self.streams.resp.stop(),
                Source::Spo2 | Source::Temperature => {}
            }
            self.hand_out();
            let command = overdue.source.enable();
            if !self.commands.contains(&command) {
                self.commands.push_back(command);
            }
        }
    }

    fn say_silent(&mut self, now: Now, which: impl Fn(Metric) -> bool) {
        let heard = std::mem::take(&mut self.heard);
        let (silent, rest) = heard.into_iter().partition(|(metric, _)| which(*metric));
        self.heard = rest;
        let silent: BTreeSet<(Metric, Channel)> = silent;
        for (metric, channel) in silent {
            let reading = Reading::no_data(metric, NoData::Silent);
            let group = self.group(now, vec![reading]).on_channel(channel);
            self.reporter.emit(Record::Readings(group));
        }
    }

    fn fall_silent(&mut self, now: Now) {
        self.alarms.forget();
        self.weakness = 0;
        if self.online == Some(false) {
            return;
        }
        self.say_silent(now, |_| true);
        self.about.remove(CUFF);
        let hint = "no valid packet for 3 s; check power and cable of the monitor";
        self.report(now, DeviceState::Silent, hint);
    }

    fn report(&mut self, now: Now, state: DeviceState, reason: &str) {
        let online = state == DeviceState::Online;
        self.online = Some(online);
        let about = if online { self.about.clone() } else { BTreeMap::new() };
        self.reporter.status(now, state, reason, about);
    }

    fn take(&mut self, now: Now, frame: Frame) {
        let source = match &frame {
            Frame::EcgWave(_) | Frame::EcgWaveSingle(_) => Some(Source::EcgWave),
            Frame::EcgParameters { .. } => Some(Source::EcgParameters),
            Frame::Spo2 { .. } => Some(Source::Spo2),
            Frame::Temperature { .. } => Some(Source::Temperature),
            Frame::Pleth(_) => Some(Source::Pleth),
            Frame::Respiration(_) => Some(Source::Respiration),
            _ => None,
        };
        if matches!(source, Some(Source::EcgWave | Source::Pleth | Source::Respiration)) {
            self.last_wave = now.mono;
        }
        self.last_valid = now.mono;
        if self.phase != Phase::Streaming {
            return;
        }
        if let Some(source) = source {
            self.watch.hear(source, now.mono);
        }
        if self.online != Some(true) {
            self.report(now, DeviceState::Online, "");
        }
        match frame {
            Frame::EcgWave(leads) => self.streams.ecg.push(now, &leads, self.lead_off),
            Frame::EcgWaveSingle(sample) => {
                self.streams.lead_two.push(now, &[sample], self.lead_off);
            }
            Frame::EcgParameters { status, hr, rr, st, arrhythmia } => {
                self.take_parameters(now, status, (hr, rr, st), arrhythmia);
            }
            Frame::Nibp { state, systolic, mean, diastolic, .. } => {
                self.take_cuff(now, state, [systolic, mean, diastolic]);
            }
            Frame::Spo2 { status, saturation, pulse } => {
                self.emit_group(self.group(now, vitals::oximeter(status, saturation, pulse)));
                let condition = Condition::oximeter(status);
                self.alarms.set(now, &mut self.reporter, Subject::Oximeter, condition);
            }
            Frame::Temperature { status, t1, t2 } => {
                self.take_temperature(now, "t1", status & spec::T1_OFF != 0, t1);
                if let Some(t2) = t2 {
                    self.take_temperature(now, "t2", status & spec::T2_OFF != 0, t2);
                }
            }
            Frame::Pleth(sample) => self.streams.pleth.push(now, &[sample], false),
            Frame::Respiration(sample) => self.streams.resp.push(now, &[sample], false),
            Frame::Beat | Frame::Pulse => {}
            Frame::Firmware(text) => self.take_about(now, "firmware", text),
            Frame::Hardware(text) => self.take_about(now, "hardware", text),
            Frame::Unknown(kind) => {
                let text =
                    format!("a packet of type {kind:#04x} is unknown or too short; it is skipped");
                self.reporter.note(now, "unknown_frame", text);
            }
        }
        self.hand_out();
    }

    fn take_about(&mut self, now: Now, key: &str, text: String) {
        if !text.is_empty() && self.about.get(key) != Some(&text) {
            self.about.insert(key.to_owned(), text);
            self.report(now, DeviceState::Online, "");
        }
    }

    fn take_parameters(
        &mut self,
        now: Now,
        status: u8,
        numbers: (u8, u8, Option<i8>),
        arrhythmia: Option<u8>,
    ) {
        self.set_gain(usize::from(status >> spec::GAIN_SHIFT & spec::GAIN_MASK));
        self.emit_group(self.group(now, vitals::parameters(status, numbers, arrhythmia)));
        self.lead_off = status & spec::LEAD_OFF != 0;
        let leads = self.lead_off.then(Condition::leads_off);
        self.alarms.set(now, &mut self.reporter, Subject::Leads, leads);
        self.judge_signal(now, status & spec::WEAK_SIGNAL != 0);
        if let Some(code) = arrhythmia {
            let rhythm = (code > spec::NORMAL).then(|| Condition::arrhythmia(code));
            self.alarms.set(now, &mut self.reporter, Subject::Rhythm, rhythm);
        }
    }

    /// Begins when the signal was weak for a while and ends when it was good for a while.
    fn judge_signal(&mut self, now: Now, weak: bool) {
        self.weakness = match weak {
            true => self.weakness.saturating_add(1).min(spec::WEAK_PACKETS),
            false => self.weakness.saturating_sub(1),
        };
        let condition = match self.weakness {
            0 => None,
            spec::WEAK_PACKETS => Some(Condition::weak_signal()),
            _ => return,
        };
        self.alarms.set(now, &mut self.reporter, Subject::Signal, condition);
    }

    fn set_gain(&mut self, gain: usize) {
        if std::mem::replace(&mut self.gain, gain) != gain {
            let scale = scale(self.counts_per_mv, gain);
            self.streams.ecg.set_scale(scale.clone());
            self.streams.lead_two.set_scale(scale);
        }
    }

    fn take_cuff(&mut self, now: Now, state: u8, pressures: Pressures) {
        self.say_cuff(now, spec::RUNNING.contains(&state));
        let metrics = [Metric::NIBP_SYS, Metric::NIBP_MEAN, Metric::NIBP_DIA];
        let (readings, time_known, condition) = match self.cuff.take(now.mono, state, pressures) {
            CuffNews::Nothing => return,
            CuffNews::Running => (None, true, None),
            CuffNews::Result { pressures, time_known } => {
                let parts = metrics.into_iter().zip(pressures);
                let reading = |(metric, raw)| vitals::number(metric, raw, Unit::MM_HG);
                (Some(parts.map(reading).collect()), time_known, None)
            }
            CuffNews::Failed { state, just_now } => {
                let reason = match state {
                    spec::MOTION => NoData::Motion,
                    code => NoData::DeviceError(code.to_string()),
                };
                let absent = metrics.map(|metric| Reading::no_data(metric, reason.clone()));
                (just_now.then(|| absent.into()), true, Some(Condition::cuff(state)))
            }
        };
        let result = condition.is_none();
        self.alarms.set(now, &mut self.reporter, Subject::Cuff, condition);
        let Some(readings) = readings else { return };
        let mut group = self.group(now, readings).as_group(Metric::NIBP);
        if !time_known {
            group = group.with_context("time", "unknown");
        }
        self.emit_group(group);
        if let Some(cursor) = self.cuff.cursor().filter(|_| result) {
            self.reporter.remember(cursor);
        }
    }

    /// A cuff that works takes the pulse away from an oximeter on the same limb: whoever judges its
    /// values is told, long before there is a result.
    fn say_cuff(&mut self, now: Now, measures: bool) {
        if self.about.contains_key(CUFF) == measures {
            return;
        }
        match measures {
            true => self.about.insert(CUFF.to_owned(), CUFF_MEASURES.to_owned()),
            false => self.about.remove(CUFF),
        };
        self.report(now, DeviceState::Online, "");
    }

    fn take_temperature(&mut self, now: Now, channel: &str, off: bool, value: (u8, u8)) {
        let channel = Channel::new(channel).unwrap_or_default();
        let (reading, lies_at) = match vitals::temperature(off, value) {
            Probe::Reads(reading) => (reading, None),
            Probe::Off => (Reading::no_data(Metric::TEMP, NoData::SensorOff), None),
            Probe::OnBed(value) => {
                (Reading::no_data(Metric::TEMP, NoData::SensorOff), Some(value.to_string()))
            }
        };
        let off = reading.value == Err(NoData::SensorOff);
        if reading.value.is_ok() {
            self.worn.insert(channel.clone());
        }
        let mut group = self.group(now, vec![reading]).on_channel(channel.clone());
        if let Some(value) = lies_at {
            group = group.with_context("probe_reads", &value);
        }
        self.emit_group(group);
        // Boards with one probe say for ever that the other is off (§6.5).
        let off = off && self.worn.contains(&channel);
        let condition = off.then(Condition::temperature_probe);
        self.alarms.set(now, &mut self.reporter, Subject::Temperature(channel), condition);
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

    /// Emits finished blocks.
    fn hand_out(&mut self) {
        for stream in self.streams.all_mut() {
            for block in stream.blocks() {
                self.reporter.emit(Record::Waveform(block));
            }
        }
    }

    /// Bytes were damaged: samples may be missing.
    fn take_error(&mut self, now: Now, error: FrameError) {
        let kind = match error {
            FrameError::Checksum { .. } => {
                self.packets.1 += 1;
                "checksum"
            }
            FrameError::Noise { .. } => "noise",
        };
        self.reporter.note(now, kind, error);
        self.streams.all_mut().into_iter().for_each(Stream::interrupt);
        self.hand_out();
    }

    fn judge_line(&mut self, now: Now) {
        let (good, bad) = self.packets;
        if good + bad < spec::JUDGED_PACKETS {
            return;
        }
        self.packets = (0, 0);
        let percent = bad * 100 / (good + bad);
        if percent >= spec::BAD_PERCENT_MAX {
            let text = format!("{percent} % of the packets are damaged; check speed and cable");
            self.reporter.note(now, "bad_line", text);
        }
    }

    /// Hands out the samples that are left. Alarms are forgotten, not ended: nobody knows.
    fn close(&mut self) {
        self.streams.all_mut().into_iter().for_each(Stream::finish);
        self.hand_out();
        let device = self.reporter.device().clone();
        let fresh = Self::new(device, self.counts_per_mv, self.cuff.cursor());
        let closed = std::mem::replace(self, fresh);
        self.reporter = closed.reporter;
    }
}

/// "Counts per mV at gain ×1; the gain reported in 0x02 multiplies it", §6.1.
fn scale(counts_per_mv: Option<Decimal>, gain: usize) -> Option<Scale> {
    /// A nanovolt: finer than any front end.
    const DECIMALS: u8 = 6;
    let counts = counts_per_mv?;
    let quarters = *spec::GAIN_QUARTERS.get(gain)?;
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
                        Ok(frame) => {
                            self.packets.0 += 1;
                            self.take(now, frame);
                        }
                        Err(error) => self.take_error(now, error),
                    }
                }
                self.judge_line(now);
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
                let flush = self.streams.all().into_iter().filter_map(Stream::flush_at);
                let silence = self.last_valid + spec::SILENCE;
                command.into_iter().chain(self.watch.next()).chain(flush).chain([silence]).min()
            }
        }
    }
}

#[cfg(test)]
mod tests;
