//! An Alaris / Asena syringe pump on its RS-232 option, from the protocol sheet alone: answers
//! queries, obeys nothing.
//!
//! One pump on the line; when it is taken away, another one comes back. A rude one answers late (but
//! within the time it names), in pieces or twice, does not hear a request, and damages an answer now
//! and then. While an answer is on its way it hears nothing: "one request outstanding", §6.
//!
//! - `pump`: what is infused, and what is wrong with it
//!
//! # Invariants
//! - what an answer says is truth when its last byte is out
//! - whatever is not a query of §5.1 is recorded, and neither obeyed nor answered

mod pump;

use super::wire::Wire;
use crate::{
    Scenario, Setup, SimTime, VirtualDevice,
    temper::Temper,
    truth::{Notebook, Truth},
};
use pump::Pump;

const START: u8 = b'!';
const END: u8 = b'\r';
/// "ESC aborts the frame being received", §3.
const ABORT: u8 = 0x1B;
/// "Cap at 512 bytes", §3.
const FRAME_MAX: usize = 512;
/// 38400 8N1, §2: ten bits a byte.
const BYTE_US: u64 = 260;
const SLOW_BYTE_US: u64 = 2_500;
/// "Typical answers come within 500 ms", §6.
const USUAL_MS: u64 = 200;
/// "Late answers occur up to 4 s", §10; the slowest bytes included.
const LATE_MS: std::ops::Range<u64> = 600..3_000;
/// A rude link loses its pump at this second of the story, if the story has none taken away.
const AWAY: (u64, u64) = (120, 132);

/// The pump and its line.
#[derive(Debug)]
pub struct Link {
    setup: Setup,
    notes: Notebook,
    temper: Temper,
    pump: Pump,
    /// How often a pump came back.
    changed: u64,
    is_away: bool,
    was_faulty: bool,
    reckoned_s: u64,
    wire: Wire,
    /// The frame being received, without its start.
    input: Option<Vec<u8>>,
    off: bool,
}

/// What a pump answers, and what that says.
#[derive(Debug)]
struct Answer {
    body: String,
    facts: Vec<Truth>,
}

/// What goes wrong with an answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Fault {
    None,
    /// The request was not heard.
    Unheard,
    Late,
    Damaged,
    Doubled,
}

impl Link {
    /// A pump that infuses.
    #[must_use]
    pub fn new(setup: Setup) -> Self {
        let temper = Temper::new(setup.seed);
        Self {
            notes: Notebook::new(&setup.device, setup.clock),
            pump: Pump::new(&setup.device, 0, &temper, &setup.patient.scenario),
            temper,
            changed: 0,
            is_away: false,
            was_faulty: false,
            reckoned_s: 0,
            wire: Wire::default(),
            input: None,
            off: false,
            setup,
        }
    }

    fn is_away_at(&self, second: u64) -> bool {
        let spans = &self.setup.patient.scenario.pump_away;
        let own = [AWAY];
        let spans = match spans.is_empty() && self.temper.property(1, 2) == 1 {
            true => own.as_slice(),
            false => spans.as_slice(),
        };
        Scenario::during(spans, self.setup.patient.scenario.second(second))
    }

    /// Lets every second up to now happen to the pump.
    fn reckon(&mut self, now: SimTime) {
        while self.reckoned_s < now.0 / 1_000_000 {
            self.reckoned_s += 1;
            let at = SimTime(self.reckoned_s * 1_000_000);
            self.wire.advance(at, &mut self.notes);
            let is_away = self.is_away_at(self.reckoned_s);
            let was_away = std::mem::replace(&mut self.is_away, is_away);
            match (was_away, self.is_away) {
                (false, true) => {
                    self.input = None;
                    self.wire.clear();
                }
                (true, false) => {
                    self.changed += 1;
                    let (device, story) = (&self.setup.device, &self.setup.patient.scenario);
                    self.pump = Pump::new(device, self.changed, &self.temper, story);
                }
                _ => {}
            }
            let second = self.setup.patient.scenario.second(self.reckoned_s);
            self.pump.pass(self.reckoned_s, &self.setup.patient.scenario, second);
        }
    }

    fn frame(&mut self, now: SimTime, frame: &[u8]) {
        let Some(body) = body(frame).filter(|body| !body.is_empty()) else { return };
        let Some(answer) = self.pump.answer(now, &self.notes, &body) else {
            let what: String = body.chars().take(64).collect();
            self.notes.forbidden(now, &what);
            return;
        };
        if self.wire.next_due().is_some() {
            return;
        }
        let fault = self.fault();
        let usual = 30 + self.temper.property(3, 2) * self.temper.below(USUAL_MS);
        let late = LATE_MS.start + self.temper.below(LATE_MS.end - LATE_MS.start);
        let delay_ms = if fault == Fault::Late { late } else { usual };
        let byte_us = if self.temper.property(2, 2) == 1 { SLOW_BYTE_US } else { BYTE_US };
        let frame = encode(&answer.body);
        match fault {
            Fault::Unheard => {}
            Fault::Damaged => {
                self.wire.send(now, delay_ms, byte_us, &damaged(&frame), Vec::new());
            }
            Fault::None | Fault::Late | Fault::Doubled => {
                let mut facts = answer.facts;
                facts.extend(self.pump.alarm_told(now, &self.notes, &answer.body));
                self.wire.send(now, delay_ms, byte_us, &frame, facts);
            }
        }
        // Right behind itself: a copy that comes later cannot be told from the next answer.
        if fault == Fault::Doubled {
            self.wire.send(now, 0, 0, &frame, Vec::new());
        }
    }

    /// Never twice in a row: three failures end the link, §6, and then nobody waits for the answer.
    fn fault(&mut self) -> Fault {
        let fault = match self.temper.below(48) {
            _ if self.temper.is_polite() || self.was_faulty => Fault::None,
            0..4 => Fault::Unheard,
            4..8 => Fault::Late,
            8..12 => Fault::Damaged,
            12..17 => Fault::Doubled,
            _ => Fault::None,
        };
        self.was_faulty = fault != Fault::None;
        fault
    }
}

/// "'!' body '|' CRC4 CR", §3.
fn encode(body: &str) -> Vec<u8> {
    format!("!{body}|{:04X}\r", crc(body.as_bytes())).into_bytes()
}

/// The frame with another last digit.
fn damaged(frame: &[u8]) -> Vec<u8> {
    let mut frame = frame.to_vec();
    if let Some(digit) = frame.iter_mut().rev().nth(1) {
        *digit = if *digit == b'0' { b'1' } else { b'0' };
    }
    frame
}

/// CRC-16/CCITT-FALSE over the body, §4.
fn crc(body: &[u8]) -> u16 {
    body.iter().fold(0xFFFF, |crc, byte| {
        (0..8).fold(crc ^ (u16::from(*byte) << 8), |crc, _| match crc & 0x8000 {
            0 => crc << 1,
            _ => (crc << 1) ^ 0x1021,
        })
    })
}

/// The body of what stood between start and CR, if its check is right.
fn body(frame: &[u8]) -> Option<String> {
    let (body, check) = frame.split_last_chunk::<5>()?;
    let expected = format!("|{:04X}", crc(body));
    (check == expected.as_bytes()).then(|| String::from_utf8_lossy(body).into_owned())
}

impl VirtualDevice for Link {
    fn receive(&mut self, now: SimTime, bytes: &[u8]) {
        if self.off {
            return;
        }
        self.advance(now);
        if self.is_away {
            return;
        }
        for byte in bytes {
            match (*byte, self.input.take()) {
                (START, _) => self.input = Some(Vec::new()),
                (END, Some(frame)) => self.frame(now, &frame),
                (ABORT | END, _) | (_, None) => {}
                (byte, Some(mut frame)) if frame.len() < FRAME_MAX => {
                    frame.push(byte);
                    self.input = Some(frame);
                }
                (_, Some(_)) => {}
            }
        }
    }

    fn advance(&mut self, now: SimTime) {
        if self.off {
            return;
        }
        self.reckon(now);
        self.wire.advance(now, &mut self.notes);
    }

    fn next_due(&self) -> Option<SimTime> {
        self.wire.next_due()
    }

    fn take_output(&mut self) -> Vec<u8> {
        self.wire.take_output()
    }

    fn take_truth(&mut self) -> Vec<Truth> {
        self.notes.take()
    }

    fn switch_off(&mut self, now: SimTime) {
        self.advance(now);
        self.wire.clear();
        self.off = true;
    }
}

#[cfg(test)]
mod tests;
