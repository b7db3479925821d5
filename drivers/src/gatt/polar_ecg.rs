//! Polar Measurement Data service: the one-lead ECG of a chest strap, with its heart rate.
//!
//! Read first: the protocol sheet of the PMD service; its codec is [`codec`].
//! Not a medical device: for a rhythm strip, never for a diagnosis.
//!
//! # Invariants
//! - the stream is stopped before we end the connection: a strap that is not told goes on until its
//!   battery is empty
//! - what was lost is a gap: no block goes over it

pub mod codec;

use super::{
    Characteristic, GattDriver, GattEvent, GattOutput, Request, Uuid,
    heart_rate::{self, Heart},
    services::ClockOptions,
    stream::Stream,
    visit::Visit,
};
use crate::reporter::Reporter;
use codec::{Command, Frame, Response, ResponseError, offers_ecg};
use model::{
    decimal::Decimal,
    device::DeviceKind,
    id::{Channel, DeviceId},
    metric::Metric,
    record::Record,
    time::{MonoTime, Now, Observed, WallTime},
    units::Unit,
    waveform::{SamplePeriod, Scale, WaveformBlock, WaveformFlags},
};
use std::time::Duration;

/// "Scan (name prefix or service FEEE / 180D)": Polar's own, in the advertisement.
pub const ADVERTISED: Uuid = Uuid::sig(0xFEEE);
/// How the name of the strap with an ECG begins.
pub const NAME: &str = "Polar H10";
/// The PMD service.
pub const SERVICE: Uuid = Uuid::vendor(0xFB00_5C80_02E7_F387_1CAD_8ACD_2D8D_F0C8);
/// Control point: read, write, indicate.
pub const CONTROL_POINT: Characteristic = Characteristic {
    service: SERVICE,
    uuid: Uuid::vendor(0xFB00_5C81_02E7_F387_1CAD_8ACD_2D8D_F0C8),
};
/// Data, notified.
pub const DATA: Characteristic = Characteristic {
    service: SERVICE,
    uuid: Uuid::vendor(0xFB00_5C82_02E7_F387_1CAD_8ACD_2D8D_F0C8),
};
/// "130 Hz", §4.
const RATE: u32 = 130;
/// "Microvolt", §4.
const MILLIVOLT_PER_COUNT: Decimal = Decimal::fixed(1, -3);
/// "Wait indication ≤ 10 s", §5.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// "No frame for 3 s: stop/start", §5.
const FRAME_WITHIN: Duration = Duration::from_secs(3);
/// "|sample| > 20 000 µV: saturation", "lead-off flag if it lasts > 1 s", §7.4.
const CLIPPED_UV: u32 = 20_000;
const CLIPPED_MAX: usize = 130;
/// "Differs from n/130 s by more than 5 %: samples were lost", §4.
const LOST_PERCENT: u64 = 5;

/// Where the session with the control point stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Phase {
    Away,
    /// This was written; an answer is due then.
    Asked(Command, MonoTime),
    /// Frames come; the next is due then.
    Streaming(MonoTime),
    /// Nothing more is asked: the strap cannot do it, does not want to, or was told to stop.
    Refused,
}

/// The strap's clock against ours, since the stream began.
#[derive(Clone, Copy, Debug)]
struct Line {
    /// The strap's time of the last sample.
    device_ns: u64,
    /// Our time of the same sample.
    wall_us: i64,
}

/// Driver of a Polar chest strap.
#[derive(Debug)]
pub struct PolarEcg {
    reporter: Reporter<Request>,
    visit: Visit,
    stream: Stream,
    heart: Heart,
    phase: Phase,
    line: Option<Line>,
    /// Samples in a row outside the input's range.
    clipped: usize,
}

impl PolarEcg {
    /// A driver that waits for its strap. It remembers nothing.
    #[must_use]
    pub fn new(device: DeviceId, clock: ClockOptions) -> Self {
        Self {
            reporter: Reporter::new(device, DeviceKind::EcgStrap, "polar-ecg"),
            visit: Visit::new(clock),
            stream: Stream::new(heart_rate::METRICS),
            heart: Heart::default(),
            phase: Phase::Away,
            line: None,
            clipped: 0,
        }
    }

    fn ask(&mut self, now: Now, command: Command) {
        self.reporter.send(Request::Write(CONTROL_POINT, command.bytes().to_vec()));
        self.phase = Phase::Asked(command, now.mono + ANSWER_WITHIN);
    }

    fn responded(&mut self, now: Now, value: &[u8]) {
        let Phase::Asked(asked, _) = self.phase else { return };
        match Response::decode(asked, value) {
            Ok(Response::OffersRate) => self.ask(now, Command::Start),
            Ok(Response::Started) => self.phase = Phase::Streaming(now.mono + FRAME_WITHIN),
            Ok(Response::Stopped) => {
                self.line = None;
                self.ask(now, Command::Start);
            }
            // A value that was read is told like one that was notified: what was asked is still due.
            Err(error @ ResponseError::Other) => self.reporter.note(now, "unasked", error),
            Err(error) => {
                self.reporter.note(now, "refused", error);
                self.phase = Phase::Refused;
            }
        }
    }

    fn frame(&mut self, now: Now, value: &[u8]) {
        // "The stream may begin earlier than the indication is delivered", §7.7.
        if !matches!(self.phase, Phase::Streaming(_) | Phase::Asked(Command::Start, _)) {
            return;
        }
        let frame = match Frame::decode(value) {
            Ok(frame) => frame,
            Err(error) => return self.reporter.note(now, "malformed", error),
        };
        self.phase = Phase::Streaming(now.mono + FRAME_WITHIN);
        self.stream.heard(now, &mut self.reporter);
        let count = u32::try_from(frame.samples.len()).unwrap_or(u32::MAX);
        let span_us = SamplePeriod::per_second(RATE).span_us(count);
        let now_us = now.wall.unix_ms().saturating_mul(1000);
        let wall_us = match self.line {
            // "Timestamp ≤ previous timestamp: drop and resynchronise", §7.3.
            Some(line) if frame.device_ns <= line.device_ns => {
                self.line = None;
                let text = "the strap's clock went back; the frame is skipped";
                return self.reporter.note(now, "clock", text);
            }
            Some(line) => {
                let passed_us = (frame.device_ns - line.device_ns) / 1000;
                let lost = passed_us.abs_diff(span_us) > span_us * LOST_PERCENT / 100;
                if lost {
                    let text = format!("{passed_us} us passed and samples for {span_us} us came");
                    self.reporter.note(now, "gap", text);
                }
                let passed = i64::try_from(passed_us).unwrap_or(i64::MAX);
                let by_strap = line.wall_us.saturating_add(passed);
                // A strap whose clock was set, or a box whose clock was: begin anew.
                let off_us = by_strap.abs_diff(now_us);
                if off_us > 5_000_000 { now_us } else { by_strap }
            }
            None => now_us,
        };
        self.line = Some(Line { device_ns: frame.device_ns, wall_us });
        // The time stamp is that of the last sample, one period before the end of the block.
        let one_us = SamplePeriod::per_second(RATE).span_us(1);
        let before_us = i64::try_from(span_us - one_us.min(span_us)).unwrap_or_default();
        let start_ms = wall_us.saturating_sub(before_us).div_euclid(1000);
        let flags = self.flags(&frame.samples);
        self.reporter.emit(Record::Waveform(WaveformBlock {
            device: self.reporter.device().clone(),
            channel: Channel::default(),
            metric: Metric::ECG_WAVE,
            start: Observed { at: WallTime::from_unix_ms(start_ms), quality: now.quality },
            period: SamplePeriod::per_second(RATE),
            scale: Some(Scale { per_count: MILLIVOLT_PER_COUNT, offset: 0, unit: Unit::MILLIVOLT }),
            samples: frame.samples,
            flags,
        }));
    }

    fn flags(&mut self, samples: &[i32]) -> WaveformFlags {
        let mut flags = WaveformFlags::default();
        for sample in samples {
            let is_clipped = sample.unsigned_abs() > CLIPPED_UV;
            self.clipped = if is_clipped { self.clipped.saturating_add(1) } else { 0 };
            flags.saturation |= is_clipped;
            flags.lead_off |= self.clipped > CLIPPED_MAX;
        }
        flags
    }

    fn time_out(&mut self, now: Now) {
        self.stream.time_out(now, &mut self.reporter);
        match self.phase {
            Phase::Asked(_, until) if now.mono >= until => {
                let text = "the strap does not answer on its control point; it is asked again";
                self.reporter.note(now, "no_answer", text);
                self.ask(now, Command::Stop);
            }
            Phase::Streaming(until) if now.mono >= until => self.ask(now, Command::Stop),
            _ => {}
        }
    }
}

impl GattDriver for PolarEcg {
    fn handle(&mut self, now: Now, event: GattEvent<'_>) {
        match event {
            GattEvent::Connected(found) => {
                let subscribe = [heart_rate::MEASUREMENT, CONTROL_POINT, DATA];
                let read = [CONTROL_POINT, heart_rate::LOCATION];
                self.visit.begin(now, found, &subscribe, &read, &mut self.reporter);
                self.visit.stay();
                self.stream.heard(now, &mut self.reporter);
            }
            GattEvent::Received(heart_rate::MEASUREMENT, value) => {
                if self.heart.measured(now, value, &mut self.reporter) {
                    self.stream.heard(now, &mut self.reporter);
                }
            }
            GattEvent::Received(CONTROL_POINT, value) => self.responded(now, value),
            GattEvent::Received(DATA, value) => self.frame(now, value),
            GattEvent::Received(..) => {}
            GattEvent::Answered(Request::Read(CONTROL_POINT), Ok(value)) => {
                if offers_ecg(value) {
                    self.ask(now, Command::Settings);
                } else {
                    self.reporter.note(now, "refused", "the strap says that it has no ECG");
                    self.phase = Phase::Refused;
                }
            }
            GattEvent::Answered(Request::Read(CONTROL_POINT), Err(refusal)) => {
                self.reporter.note(now, "refused", refusal);
                self.phase = Phase::Refused;
            }
            GattEvent::Answered(Request::Read(heart_rate::LOCATION), Ok(value)) => {
                self.heart.located(value);
            }
            GattEvent::Answered(Request::Write(CONTROL_POINT, _), Err(refusal)) => {
                self.reporter.note(now, "refused", refusal);
                self.phase = Phase::Refused;
            }
            GattEvent::Answered(request, answer) => {
                self.visit.answered(now, request, answer, &mut self.reporter);
            }
            GattEvent::TimedOut => self.time_out(now),
            GattEvent::Leaving => {
                if matches!(self.phase, Phase::Asked(..) | Phase::Streaming(_)) {
                    self.reporter
                        .send(Request::Write(CONTROL_POINT, Command::Stop.bytes().to_vec()));
                }
                self.phase = Phase::Refused;
            }
            GattEvent::Disconnected => {
                self.stream.end(now, &mut self.reporter);
                self.visit.end_as_told();
                (self.phase, self.line, self.clipped) = (Phase::Away, None, 0);
            }
        }
    }

    fn poll_output(&mut self) -> Option<GattOutput> {
        self.reporter.next()
    }

    fn next_timeout(&self) -> Option<MonoTime> {
        let due = match self.phase {
            Phase::Asked(_, until) | Phase::Streaming(until) => Some(until),
            Phase::Away | Phase::Refused => None,
        };
        due.into_iter().chain(self.stream.next_timeout()).min()
    }
}

#[cfg(test)]
mod tests;
