//! A TaiDoc TD-42xx glucose meter or a cuff of the same family, from the protocol sheet alone:
//! eight bytes ask, eight bytes answer.
//!
//! A story without glucose tests makes it a cuff, one without a kiosk a meter; a story with both
//! leaves it to the seed. A rude one sleeps through the first frame, answers late, in pieces, twice
//! or after noise, has a full memory, and a clock that is wrong, begins anew, or was once not set.
//!
//! # Invariants
//! - a record is truth once, when its date and its value were read of the same record between two
//!   readings of the count with no new record between them
//! - a clock is not set and a memory is not cleared; both are recorded

use super::wire::Wire;
use crate::{
    ClockJump, Setup, SimTime, VirtualDevice,
    scenario::{Cuff, Glucose},
    temper::{DeviceClock, Temper},
    truth::{Notebook, Truth, moment},
};
use std::collections::{BTreeSet, VecDeque};

/// §2 and §3.
mod spec {
    pub(super) const START: u8 = 0x51;
    pub(super) const TO_METER: u8 = 0xA3;
    pub(super) const TO_HOST: u8 = 0xA5;
    pub(super) const CONNECT: u8 = 0x22;
    pub(super) const READ_CLOCK: u8 = 0x23;
    pub(super) const MODEL: u8 = 0x24;
    pub(super) const RECORD_TIME: u8 = 0x25;
    pub(super) const RECORD_VALUE: u8 = 0x26;
    pub(super) const COUNT: u8 = 0x2B;
    pub(super) const SET_CLOCK: u8 = 0x33;
    pub(super) const POWER_OFF: u8 = 0x50;
    pub(super) const CLEAR_MEMORY: u8 = 0x52;
    /// "Connect; reply command may be 22, 24 or 54", §3.
    pub(super) const CONNECTED: [u8; 3] = [CONNECT, MODEL, 0x54];
    /// "77 42 = TD-4277", §3.
    pub(super) const METER: [u8; 4] = [0x77, 0x42, 0, 0];
    /// TD-3128, a cuff member, in the same coding.
    pub(super) const CUFF: [u8; 4] = [0x28, 0x31, 0, 0];
    /// "Meal 00 none / 40 before / 80 after", §3.
    pub(super) const MEALS: [u8; 3] = [0x00, 0x40, 0x80];
    /// 19200 8N1, §1: ten bits a byte.
    pub(super) const BYTE_US: u64 = 520;
}

/// The sheet names no size; a full memory is small here, so that it is read out quickly.
const MEMORY_MAX: usize = 450;
const SMALL_MEMORY_MAX: usize = 8;
/// Without a frame of the host for this long the meter sleeps; the sheet names no time.
const AWAKE_US: u64 = 60_000_000;
/// While a host talked within this time, a full meter stores nothing: its count would not tell.
const BUSY_US: u64 = 2_000_000;
/// "Each reply within 500 ms", §5, the slowest eight bytes included.
const LATE_MS: u64 = 250;
const SLOW_BYTE_US: u64 = 20_000;
/// Noise may have a start byte in it.
const NOISE: [u8; 5] = [0x00, 0x51, 0xFF, 0x51, 0x26];

/// A stored measurement, as it is on the wire.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
struct Stored {
    time: [u8; 4],
    value: [u8; 4],
}

/// The meter.
#[derive(Debug)]
pub struct Meter {
    setup: Setup,
    notes: Notebook,
    temper: Temper,
    clock: DeviceClock,
    is_cuff: bool,
    wire: Wire,
    input: VecDeque<u8>,
    /// Newest first, each with its number.
    memory: VecDeque<(u64, Stored)>,
    memory_max: usize,
    stored: u64,
    stored_until: SimTime,
    /// The last frame of the host, while the meter is awake.
    heard: Option<SimTime>,
    connected: bool,
    /// The record whose date was read last.
    dated: Option<u64>,
    /// Records that were read since the count was, with their numbers.
    read: Vec<(u64, Stored)>,
    /// How many records were ever stored when the count was read.
    counted: Option<u64>,
    told: BTreeSet<Stored>,
    off: bool,
}

impl Meter {
    /// A meter that sleeps.
    #[must_use]
    pub fn new(setup: Setup) -> Self {
        let temper = Temper::new(setup.seed);
        let scenario = &setup.patient.scenario;
        let is_cuff = match (scenario.glucose.is_empty(), scenario.kiosk.is_empty()) {
            (true, false) => true,
            (false, false) => setup.seed % 2 == 1,
            (_, true) => false,
        };
        let full = temper.property(3, 2) == 1;
        let mut meter = Self {
            notes: Notebook::new(&setup.device, setup.clock),
            clock: temper.clock(),
            is_cuff,
            wire: Wire::default(),
            input: VecDeque::new(),
            memory: VecDeque::new(),
            memory_max: if full { SMALL_MEMORY_MAX } else { MEMORY_MAX },
            stored: 0,
            stored_until: SimTime(0),
            heard: None,
            connected: false,
            dated: None,
            read: Vec::new(),
            counted: None,
            told: BTreeSet::new(),
            off: false,
            temper,
            setup,
        };
        meter.fill(full);
        meter
    }

    /// Measurements of earlier days; the newest of them before the clock was set, in some meters.
    fn fill(&mut self, full: bool) {
        let count = if full { 8 } else { self.temper.property(4, 4) };
        let unset = self.temper.property(5, 2) == 1;
        for number in 0..count {
            let days = i64::try_from(count - number).unwrap_or_default();
            let at = self.setup.clock.civil_ms(SimTime(0)).saturating_sub(days * 86_400_000);
            let time = if unset && days == 1 { [0; 4] } else { date_time(at) };
            let more = u8::try_from(number).unwrap_or_default();
            let value = match self.is_cuff {
                true => pressure_value([118 + 3 * more, 90, 76 + more], 70 + more),
                false => glucose_value(90 + 7 * u16::from(more), number),
            };
            self.store(Stored { time, value });
        }
    }

    fn store(&mut self, stored: Stored) {
        self.memory.push_front((self.stored, stored));
        self.stored += 1;
        self.memory.truncate(self.memory_max);
    }

    /// The next measurement after what is stored, as it is on the wire.
    fn next_measurement(&self) -> Option<(SimTime, [u8; 4])> {
        let (scenario, after) = (&self.setup.patient.scenario, self.stored_until);
        if self.is_cuff {
            let (at, cuff) = scenario.next(&scenario.kiosk, |cuff: &Cuff| cuff.at_s, after)?;
            return Some((at, pressure_value(cuff.pressure, cuff.pulse)));
        }
        let (at, test) = scenario.next(&scenario.glucose, |test: &Glucose| test.at_s, after)?;
        Some((at, glucose_value(test.mg_per_dl, self.stored)))
    }

    /// Stores every measurement of the story up to now.
    fn measure(&mut self, now: SimTime) {
        let full = self.memory.len() >= self.memory_max;
        if full && self.heard.is_some_and(|heard| now.0 < heard.0 + BUSY_US) {
            return;
        }
        while let Some((at, value)) = self.next_measurement().filter(|(at, _)| *at <= now) {
            let time = date_time(self.clock.civil_ms(self.setup.clock, at));
            self.store(Stored { time, value });
            self.stored_until = at;
        }
        self.stored_until = self.stored_until.max(now);
    }

    fn frame(&mut self, now: SimTime, command: u8, data: [u8; 4]) {
        let asleep = self.heard.is_none_or(|heard| now.0 >= heard.0 + AWAKE_US);
        self.heard = Some(now);
        if asleep {
            self.connected = false;
        }
        // The first frame wakes a rude meter, and nothing more.
        if asleep && !self.temper.is_polite() {
            return;
        }
        match command {
            spec::SET_CLOCK => self.notes.forbidden(now, "set clock"),
            spec::CLEAR_MEMORY => self.notes.forbidden(now, "clear memory"),
            _ => {}
        }
        if command == spec::CONNECT {
            self.connect(now);
        } else if self.connected {
            self.asked(now, command, data);
        }
    }

    fn connect(&mut self, now: SimTime) {
        // "Retry 3x", §5: once in a while the meter has not heard.
        if self.temper.once_in(4) {
            return;
        }
        self.connected = true;
        (self.dated, self.read, self.counted) = (None, Vec::new(), None);
        let reply = usize::try_from(self.temper.property(6, 3)).unwrap_or_default();
        let reply = spec::CONNECTED.get(reply).copied().unwrap_or(spec::CONNECT);
        let data = if reply == spec::MODEL { self.model() } else { [0; 4] };
        self.answer(now, reply, data, Vec::new());
    }

    fn model(&self) -> [u8; 4] {
        if self.is_cuff { spec::CUFF } else { spec::METER }
    }

    fn asked(&mut self, now: SimTime, command: u8, data: [u8; 4]) {
        let [low, high, _, _] = data;
        let index = usize::from(u16::from_le_bytes([low, high]));
        let record = self.memory.get(index).copied();
        match (command, record) {
            (spec::MODEL, _) => self.answer(now, command, self.model(), Vec::new()),
            // What may not be set is answered as it is.
            (spec::READ_CLOCK | spec::SET_CLOCK, _) => {
                let civil_ms = self.clock.civil_ms(self.setup.clock, now);
                self.answer(now, command, date_time(civil_ms), Vec::new());
            }
            (spec::COUNT, _) => {
                let facts = self.told(now);
                self.answer(now, command, self.count(), facts);
            }
            (spec::RECORD_TIME, Some((number, record))) => {
                self.dated = Some(number);
                self.answer(now, command, record.time, Vec::new());
            }
            (spec::RECORD_VALUE, Some((number, record))) => {
                if self.dated == Some(number) && !self.read.contains(&(number, record)) {
                    self.read.push((number, record));
                }
                self.answer(now, command, record.value, Vec::new());
            }
            (spec::POWER_OFF, _) => {
                self.answer(now, command, [0; 4], Vec::new());
                (self.heard, self.connected) = (None, false);
            }
            _ => {}
        }
    }

    /// "Record count uint16 LE + 2 unknown (FF FF when empty)", §3. The unknown ones repeat the
    /// count in the sheet's example; whether an empty memory says FF FF instead of the count or
    /// beside it is not said, so both are played.
    fn count(&self) -> [u8; 4] {
        let [low, high] = u16::try_from(self.memory.len()).unwrap_or(u16::MAX).to_le_bytes();
        match (self.memory.is_empty(), self.setup.seed % 8 < 4) {
            (false, _) => [low, high, low, high],
            (true, true) => [0, 0, 0xFF, 0xFF],
            (true, false) => [0xFF; 4],
        }
    }

    /// "Re-read the count at the end (a new reading shifts indices)", §5: what was read before it
    /// holds if none came in between, and is told as it was measured.
    fn told(&mut self, now: SimTime) -> Vec<Truth> {
        let mut read = std::mem::take(&mut self.read);
        if self.counted.replace(self.stored) != Some(self.stored) {
            return Vec::new();
        }
        read.sort_unstable();
        let read = read.into_iter().map(|(_, record)| record);
        let news: Vec<Stored> = read.filter(|record| self.told.insert(*record)).collect();
        news.into_iter().flat_map(|record| self.facts(now, record)).collect()
    }

    fn facts(&self, now: SimTime, record: Stored) -> Vec<Truth> {
        let [low, high, diastolic, pulse] = record.value;
        let first = u16::from_le_bytes([low, high]);
        // The catalogue: 0 is no pressure and no pulse.
        let number =
            |value: u16| if value == 0 { Err("not_available") } else { Ok(value.to_string()) };
        let said = match self.is_cuff {
            true => vec![
                ("nibp_sys", "mm[Hg]", number(first)),
                ("nibp_dia", "mm[Hg]", number(diastolic.into())),
                ("pulse_nibp", "/min", number(pulse.into())),
            ],
            // How LO and HI are coded is not known, §5: the story's 0 and 65535 are sent as they
            // are, and are no glucose.
            false => {
                let possible = (1..u16::MAX).contains(&first);
                let value = if possible { Ok(first.to_string()) } else { Err("rejected") };
                vec![("glu_cap_pl", "mg/dL", value)]
            }
        };
        let device_time = self.device_time(record.time);
        let facts = said.into_iter().map(|(metric, unit, value)| {
            let mut fact = self.notes.reading(now, metric, Some(unit), value);
            fact.device_time.clone_from(&device_time);
            fact
        });
        facts.collect()
    }

    /// "Month 0 or day 0 is no device time", §5.
    fn device_time(&self, time: [u8; 4]) -> Option<String> {
        let [low, high, minute, hour] = time;
        let day = u16::from_le_bytes([low, high]);
        let part = |shift: u16, mask: u16| i8::try_from((day >> shift) & mask).unwrap_or_default();
        let year = 2000 + i16::from(part(9, 0x7F));
        let (minute, hour) = (i8::try_from(minute).ok()?, i8::try_from(hour).ok()?);
        let civil =
            jiff::civil::DateTime::new(year, part(5, 0x0F), part(0, 0x1F), hour, minute, 0, 0);
        let civil = civil.ok()?.to_zoned(jiff::tz::TimeZone::UTC).ok()?;
        let offset = i64::from(self.setup.clock.utc_offset_s);
        Some(moment(civil.timestamp().as_millisecond() - offset * 1000))
    }

    fn answer(&mut self, now: SimTime, command: u8, data: [u8; 4], facts: Vec<Truth>) {
        if self.temper.once_in(8) {
            self.wire.send(now, 0, 0, &NOISE, Vec::new());
        }
        let frame = encode(command, data, spec::TO_HOST);
        let delay_ms = if self.temper.once_in(3) { self.temper.below(LATE_MS) } else { 5 };
        let slow = self.temper.property(7, 2) == 1;
        let byte_us = if slow { SLOW_BYTE_US } else { spec::BYTE_US };
        self.wire.send(now, delay_ms, byte_us, &frame, facts);
        if self.temper.once_in(10) {
            self.wire.send(now, 0, 0, &frame, Vec::new());
        }
    }
}

/// "Always 8 bytes", §2.
fn encode(command: u8, data: [u8; 4], direction: u8) -> [u8; 8] {
    let [a, b, c, d] = data;
    let frame = [spec::START, command, a, b, c, d, direction];
    let sum = frame.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte));
    [spec::START, command, a, b, c, d, direction, sum]
}

/// "Uint16 LE day word (bits 15-9 year-2000, 8-5 month, 4-0 day), minute, hour", §3.
fn date_time(civil_ms: i64) -> [u8; 4] {
    let civil = jiff::Timestamp::from_millisecond(civil_ms).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    let civil = jiff::tz::TimeZone::UTC.to_datetime(civil);
    let year = u16::try_from(civil.year() - 2000).unwrap_or_default().min(0x7F);
    let month = u16::from(civil.month().unsigned_abs());
    let day = u16::from(civil.day().unsigned_abs());
    let [low, high] = ((year << 9) | (month << 5) | day).to_le_bytes();
    [low, high, civil.minute().unsigned_abs(), civil.hour().unsigned_abs()]
}

/// "Systolic uint16 LE, diastolic, pulse", §3.
fn pressure_value(pressure: [u8; 3], pulse: u8) -> [u8; 4] {
    let [systolic, _, diastolic] = pressure;
    [systolic, 0, diastolic, pulse]
}

/// "Glucose uint16 LE mg/dL, unknown, meal", §3; meals take turns.
fn glucose_value(mg_per_dl: u16, number: u64) -> [u8; 4] {
    let [low, high] = mg_per_dl.to_le_bytes();
    let meal = spec::MEALS.get(usize::try_from(number % 3).unwrap_or_default());
    [low, high, 0, meal.copied().unwrap_or_default()]
}

impl VirtualDevice for Meter {
    fn receive(&mut self, now: SimTime, bytes: &[u8]) {
        if self.off {
            return;
        }
        self.advance(now);
        for byte in bytes {
            self.input.push_back(*byte);
            while let Some(frame) = self.input.make_contiguous().first_chunk::<8>().copied() {
                let [_, command, a, b, c, d, ..] = frame;
                if frame == encode(command, [a, b, c, d], spec::TO_METER) {
                    self.input.clear();
                    self.frame(now, command, [a, b, c, d]);
                } else {
                    self.input.pop_front();
                }
            }
        }
    }

    fn advance(&mut self, now: SimTime) {
        if self.off {
            return;
        }
        self.measure(now);
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

    fn jump_clock(&mut self, now: SimTime, jump: ClockJump) -> bool {
        self.measure(now);
        self.clock.jump(self.setup.clock, now, jump);
        true
    }
}

#[cfg(test)]
mod tests;
