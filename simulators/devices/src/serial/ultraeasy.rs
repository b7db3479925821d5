//! A OneTouch UltraEasy glucose meter, from the protocol sheet alone.
//!
//! Half-duplex: the host asks, the meter acknowledges and answers. A stored record becomes truth
//! when it was read out for the first time and the host acknowledged it.

use crate::{
    ClockJump, Setup, SimTime, VirtualDevice,
    temper::DeviceClock,
    truth::{Notebook, Truth, moment},
};
use std::collections::BTreeSet;

const STX: u8 = 0x02;
const ETX: u8 = 0x03;
/// Link control bits.
const SEQUENCE: u8 = 1;
const EXPECTED: u8 = 2;
const ACKNOWLEDGE: u8 = 4;
const DISCONNECT: u8 = 8;
/// "Memory 500 records", §5.
const MEMORY: usize = 500;
/// "0x0000FFFE = LO, 0x0000FFFF = HI", §5.
const LO: u32 = 0xFFFE;
const HI: u32 = 0xFFFF;
/// "HI (> 600 mg/dL)", §5: above it the meter has no numbers.
const HI_MG_PER_DL: u32 = 600;
/// "Serial (device identity)", §6: 9 characters.
const SERIAL: &str = "C176SA1K7";

/// A stored test.
#[derive(Clone, Copy, Debug)]
struct Stored {
    number: usize,
    /// Seconds of the meter's own wall clock.
    civil_s: u32,
    raw: u32,
}

/// The meter.
#[derive(Debug)]
pub struct Meter {
    setup: Setup,
    notes: Notebook,
    clock: DeviceClock,
    out: Vec<u8>,
    input: Vec<u8>,
    /// Newest first.
    memory: Vec<Stored>,
    /// How many were ever stored.
    stored: usize,
    stored_until_s: u64,
    send: u8,
    expect: u8,
    /// A record that was sent and not yet acknowledged by the host.
    waiting: Option<Stored>,
    told: BTreeSet<usize>,
    off: bool,
}

impl Meter {
    /// A meter with an empty memory.
    #[must_use]
    pub fn new(setup: Setup) -> Self {
        let device = format!("{}-{SERIAL}", setup.device);
        Self {
            notes: Notebook::new(&device, setup.clock),
            clock: DeviceClock::Right,
            setup,
            out: Vec::new(),
            input: Vec::new(),
            memory: Vec::new(),
            stored: 0,
            stored_until_s: 0,
            send: 0,
            expect: 0,
            waiting: None,
            told: BTreeSet::new(),
            off: false,
        }
    }

    /// Stores every test of the scenario up to now.
    fn measure(&mut self, now: SimTime) {
        let repeat = self.setup.patient.scenario.repeat_s.max(1);
        let second = now.0 / 1_000_000;
        while self.stored_until_s < second {
            self.stored_until_s += 1;
            let of_story = self.stored_until_s % repeat;
            for test in
                self.setup.patient.scenario.glucose.iter().filter(|test| test.at_s == of_story)
            {
                let at = SimTime(self.stored_until_s * 1_000_000);
                let civil_s = u32::try_from(self.clock.civil_ms(self.setup.clock, at) / 1000)
                    .unwrap_or_default();
                let raw = match test.mg_per_dl {
                    0 => LO,
                    u16::MAX => HI,
                    value => u32::from(value),
                };
                self.memory.insert(0, Stored { number: self.stored, civil_s, raw });
                self.stored += 1;
                self.memory.truncate(MEMORY);
            }
        }
    }

    fn packet(&mut self, link: u8, message: &[u8]) {
        let frame = encode(link, message);
        self.out.extend(frame);
    }

    fn take(&mut self, now: SimTime, link: u8, message: &[u8]) {
        if link & DISCONNECT != 0 {
            (self.send, self.expect, self.waiting) = (0, 0, None);
            self.packet(DISCONNECT | ACKNOWLEDGE, &[]);
            return;
        }
        if link & ACKNOWLEDGE != 0 {
            self.acknowledged(now);
            return;
        }
        // "Meter first sends an ack packet (E = host S xor 1), then its data packet", §4.
        let host = link & SEQUENCE;
        self.expect = host ^ 1;
        let answer = self.answer(now, message);
        let link = (self.expect * EXPECTED) | self.send;
        self.packet(ACKNOWLEDGE | link, &[]);
        self.packet(link, &answer);
    }

    fn acknowledged(&mut self, now: SimTime) {
        self.send ^= 1;
        let Some(stored) = self.waiting.take() else { return };
        if !self.told.insert(stored.number) {
            return;
        }
        let mut fact = self.notes.fact(now);
        fact.metric = Some("glu_cap_pl");
        let limit = |value: &str, sign| (Some(value.to_owned()), Some(sign), None);
        (fact.value, fact.comparator, fact.no_data) = match stored.raw {
            LO => limit("20", "<"),
            HI => limit("600", ">"),
            value if value > HI_MG_PER_DL => (None, None, Some("rejected")),
            value => (Some(value.to_string()), None, None),
        };
        fact.unit = fact.value.as_ref().map(|_| "mg/dL");
        let offset = i64::from(self.setup.clock.utc_offset_s);
        fact.device_time = Some(moment((i64::from(stored.civil_s) - offset) * 1000));
        self.notes.push(fact);
    }

    fn answer(&mut self, now: SimTime, message: &[u8]) -> Vec<u8> {
        let clock =
            u32::try_from(self.clock.civil_ms(self.setup.clock, now) / 1000).unwrap_or_default();
        match message {
            [0x05, 0x0D, 0x02] => [&[0x05, 0x06, 17][..], b"P02.00.0025/05/07"].concat(),
            [0x05, 0x0B, 0x02, ..] => [&[0x05, 0x06][..], SERIAL.as_bytes()].concat(),
            [0x05, 0x09, 0x02, ..] => vec![0x05, 0x06, 0x01, 0, 0, 0],
            [0x05, 0x20, 0x02, ..] => [&[0x05, 0x06][..], &clock.to_le_bytes()].concat(),
            // Setting the clock and erasing: no driver may.
            [0x05, 0x20, 0x01, ..] => {
                self.notes.forbidden(now, "set clock");
                [&[0x05, 0x06][..], &clock.to_le_bytes()].concat()
            }
            [0x05, 0x1A] => {
                self.notes.forbidden(now, "erase all");
                vec![0x05, 0x06]
            }
            [0x05, 0x1F, low, high] => {
                let index = usize::from(u16::from_le_bytes([*low, *high]));
                match self.memory.get(index).copied() {
                    Some(stored) => {
                        self.waiting = Some(stored);
                        let time = stored.civil_s.to_le_bytes();
                        [&[0x05, 0x06][..], &time, &stored.raw.to_le_bytes()].concat()
                    }
                    None => {
                        let count = u16::try_from(self.memory.len()).unwrap_or_default();
                        [&[0x05, 0x0F][..], &count.to_le_bytes()].concat()
                    }
                }
            }
            _ => vec![0x05, 0x07],
        }
    }
}

/// Packet of §3: STX, total length, link control, message, ETX, CRC-16/CCITT-FALSE little-endian.
fn encode(link: u8, message: &[u8]) -> Vec<u8> {
    let len = u8::try_from(message.len() + 6).unwrap_or(u8::MAX);
    let mut frame = vec![STX, len, link];
    frame.extend(message);
    frame.push(ETX);
    let crc = crc(&frame);
    frame.extend(crc.to_le_bytes());
    frame
}

fn crc(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0xFFFF, |crc, byte| {
        (0..8).fold(crc ^ (u16::from(*byte) << 8), |crc, _| match crc & 0x8000 {
            0 => crc << 1,
            _ => (crc << 1) ^ 0x1021,
        })
    })
}

impl VirtualDevice for Meter {
    fn receive(&mut self, now: SimTime, bytes: &[u8]) {
        if self.off {
            return;
        }
        self.measure(now);
        self.input.extend(bytes);
        loop {
            let Some(start) = self.input.iter().position(|byte| *byte == STX) else {
                self.input.clear();
                return;
            };
            self.input.drain(..start);
            let Some(len) = self.input.get(1).map(|len| usize::from(*len)) else { return };
            if !(6..=40).contains(&len) {
                self.input.remove(0);
                continue;
            }
            let Some(frame) = self.input.get(..len).map(<[u8]>::to_vec) else { return };
            let good = match frame.split_last_chunk::<2>() {
                Some((covered, check)) => {
                    covered.last() == Some(&ETX) && u16::from_le_bytes(*check) == crc(covered)
                }
                None => false,
            };
            if good {
                self.input.drain(..len);
                let link = frame.get(2).copied().unwrap_or_default();
                let message = frame.get(3..len - 3).unwrap_or_default().to_vec();
                self.take(now, link, &message);
            } else {
                self.input.remove(0);
            }
        }
    }

    fn advance(&mut self, now: SimTime) {
        self.measure(now);
    }

    fn next_due(&self) -> Option<SimTime> {
        None
    }

    fn take_output(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.out)
    }

    fn take_truth(&mut self) -> Vec<Truth> {
        self.notes.take()
    }

    fn switch_off(&mut self, _: SimTime) {
        self.off = true;
    }

    fn jump_clock(&mut self, now: SimTime, jump: ClockJump) -> bool {
        self.measure(now);
        self.clock.jump(self.setup.clock, now, jump);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{EcgSource, Patient, Scenario, StageClock};

    fn bytes(hex: &str) -> Vec<u8> {
        hex.split(' ').map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect()
    }

    #[test]
    fn packets_are_those_of_the_capture() {
        for (link, message, hex) in [
            (0x08, "", "02 06 08 03 C2 62"),
            (0x0C, "", "02 06 0C 03 06 AE"),
            (0x00, "05 0D 02", "02 09 00 05 0D 02 03 DA 71"),
            (0x06, "", "02 06 06 03 CD 41"),
            (0x01, "05 0F 03 00", "02 0A 01 05 0F 03 00 03 FC 96"),
            (
                0x02,
                "05 06 95 D1 64 4E C4 00 00 00",
                "02 10 02 05 06 95 D1 64 4E C4 00 00 00 03 43 4D",
            ),
        ] {
            let message = if message.is_empty() { vec![] } else { bytes(message) };
            assert_eq!(encode(link, &message), bytes(hex));
        }
    }

    /// The frames of the vectors come out of our encoder byte by byte.
    #[test]
    fn every_vector_is_encoded_back() {
        let text = include_str!("../../../../tests/vectors/ultraeasy/packets.toml");
        for frame in crate::vectors::frames(text, None) {
            assert_eq!(encode(frame[2], &frame[3..frame.len() - 3]), frame);
        }
    }

    #[test]
    fn the_dialogue_of_the_capture_is_answered() {
        let mut meter = Meter::new(Setup {
            device: "glu-01".into(),
            seed: 1,
            clock: StageClock { wall_start_ms: 1_795_335_300_000, utc_offset_s: 28_800 },
            patient: Patient::new(
                1,
                Scenario::built_in("clinic-day").unwrap(),
                EcgSource::Synthetic,
            ),
        });
        let now = SimTime::from_millis(40_000);
        meter.receive(now, &bytes("02 06 08 03 C2 62"));
        assert_eq!(meter.take_output(), bytes("02 06 0C 03 06 AE"));
        meter.receive(now, &bytes("02 09 00 05 0D 02 03 DA 71"));
        let answer = "02 06 06 03 CD 41 02 1A 02 05 06 11 50 30 32 2E 30 30 2E 30 30 32 35 2F 30 35 2F 30 37 03 AB 25";
        assert_eq!(meter.take_output(), bytes(answer));
        meter.receive(now, &bytes("02 06 07 03 FC 72"));
        // Second command: unit.
        meter.receive(now, &encode(0x03, &bytes("05 09 02 09 00 00 00 00")));
        assert_eq!(meter.take_output()[..6], bytes("02 06 05 03 9E 14")[..]);
        assert!(meter.take_truth().is_empty());
    }
}
