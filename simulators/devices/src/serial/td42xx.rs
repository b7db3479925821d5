//! A TaiDoc TD-42xx glucose meter or a cuff of the same family, from the protocol sheet alone:
//! eight bytes ask, eight bytes answer.
//!
//! A story without glucose tests makes it a cuff, one without a kiosk a meter; a story with both
//! leaves it to the seed. A rude one sleeps through the first frame, answers late, in pieces, twice
//! or after noise, has a full memory, and a clock that is wrong, begins anew, or was once not set.
//!
//! # Invariants
//! - a record is truth once, when its date and its value were read of the same record and the
//!   count was read again after them
//! - a clock is not set and a memory is not cleared; both are recorded

use super::{
    temper::{DeviceClock, Temper},
    wire::Wire,
};
use crate::{
    Setup, SimTime, VirtualDevice,
    scenario::{Cuff, Glucose},
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
    out: Vec<u8>,
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
    /// Records that were read since the count was.
    read: Vec<Stored>,
    told: BTreeSet<Stored>,
    off: bool,
}

impl Meter {
    /// A meter that sleeps.
    #[must_use]
    pub fn new(setup: Setup) -> Self {
        let temper = Temper::new(setup.seed);
        let scenario = &setup.scenario;
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
            out: Vec::new(),
            input: VecDeque::new(),
            memory: VecDeque::new(),
            memory_max: if full { SMALL_MEMORY_MAX } else { MEMORY_MAX },
            stored: 0,
            stored_until: SimTime(0),
            heard: None,
            connected: false,
            dated: None,
            read: Vec::new(),
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
        let (scenario, after) = (&self.setup.scenario, self.stored_until);
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
        (self.dated, self.read) = (None, Vec::new());
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
                if self.dated == Some(number) && !self.read.contains(&record) {
                    self.read.push(record);
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

    /// "Re-read the count at the end", §5: what was read before it holds.
    fn told(&mut self, now: SimTime) -> Vec<Truth> {
        let read = std::mem::take(&mut self.read);
        let news: Vec<Stored> =
            read.into_iter().filter(|record| self.told.insert(*record)).collect();
        news.into_iter().flat_map(|record| self.facts(now, record)).collect()
    }

    fn facts(&self, now: SimTime, record: Stored) -> Vec<Truth> {
        let [low, high, diastolic, pulse] = record.value;
        let first = u16::from_le_bytes([low, high]);
        let said = match self.is_cuff {
            true => vec![
                ("nibp_sys", "mm[Hg]", Ok(first.to_string())),
                ("nibp_dia", "mm[Hg]", Ok(diastolic.to_string())),
                ("pulse_nibp", "/min", Ok(pulse.to_string())),
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
        self.wire.advance(now, &mut self.out, &mut self.notes);
    }

    fn next_due(&self) -> Option<SimTime> {
        self.wire.next_due()
    }

    fn take_output(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.out)
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
mod tests {
    use super::*;
    use crate::{EcgSource, Scenario, StageClock};
    use proptest::{collection::vec, prelude::*};

    fn bytes(hex: &str) -> Vec<u8> {
        hex.split(' ').map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect()
    }

    /// A host with a meter on its line.
    struct Host {
        meter: Meter,
        now: SimTime,
    }

    impl Host {
        fn new(seed: u64, change: impl FnOnce(&mut Scenario)) -> Self {
            let mut scenario = Scenario::built_in("clinic-day").unwrap();
            change(&mut scenario);
            let meter = Meter::new(Setup {
                device: "glu-02".into(),
                seed,
                // 2026-11-22 16:15 in China.
                clock: StageClock { wall_start_ms: 1_795_335_300_000, utc_offset_s: 28_800 },
                scenario,
                ecg: EcgSource::Synthetic,
            });
            Self { meter, now: SimTime(0) }
        }

        fn pass(&mut self, ms: u64) -> Vec<u8> {
            let end = self.now.plus_millis(ms);
            while let Some(due) = self.meter.next_due().filter(|due| *due <= end) {
                self.meter.advance(due);
            }
            self.now = end;
            self.meter.advance(end);
            self.meter.take_output()
        }

        /// The data of the first good answer within 500 ms.
        fn ask(&mut self, command: u8, data: [u8; 4]) -> Option<[u8; 4]> {
            self.meter.receive(self.now, &encode(command, data, spec::TO_METER));
            let heard = self.pass(500);
            heard.windows(8).find_map(|frame| {
                let &[_, reply, a, b, c, d, ..] = frame else { return None };
                let good = frame == encode(reply, [a, b, c, d], spec::TO_HOST).as_slice();
                let expected = reply == command || command == spec::CONNECT;
                (good && expected).then_some([a, b, c, d])
            })
        }

        /// A session of §5: everything in the memory; whether there was an answer.
        fn session(&mut self) -> Option<usize> {
            (0..4).find_map(|_| self.ask(spec::CONNECT, [0; 4]))?;
            self.ask(spec::MODEL, [0; 4])?;
            self.ask(spec::READ_CLOCK, [0; 4])?;
            let [low, high, ..] = self.ask(spec::COUNT, [0; 4])?;
            let count = match u16::from_le_bytes([low, high]) {
                0xFFFF => 0,
                count => count,
            };
            for index in 0..count {
                let [low, high] = index.to_le_bytes();
                self.ask(spec::RECORD_TIME, [low, high, 0, 0])?;
                self.ask(spec::RECORD_VALUE, [low, high, 0, 0])?;
            }
            self.ask(spec::COUNT, [0; 4])?;
            Some(usize::from(count))
        }

        fn truth(&mut self) -> Vec<Truth> {
            self.meter.take_truth()
        }
    }

    /// Sheet §2 and §4.
    #[test]
    fn frames_are_those_of_the_sheet() {
        let check = |frame: [u8; 8], hex: &str| assert_eq!(frame.to_vec(), bytes(hex));
        let asked = |command| encode(command, [0; 4], spec::TO_METER);
        check(asked(spec::CONNECT), "51 22 00 00 00 00 A3 16");
        check(asked(spec::POWER_OFF), "51 50 00 00 00 00 A3 44");
        check(asked(0x49), "51 49 00 00 00 00 A3 3D");
        let answered = |command, data| encode(command, data, spec::TO_HOST);
        check(answered(spec::MODEL, spec::METER), "51 24 77 42 00 00 A5 D3");
        let clock = date_time(1_795_335_300_000);
        check(answered(spec::READ_CLOCK, clock), "51 23 76 35 0F 08 A5 DB");
        check(answered(spec::COUNT, [3, 0, 3, 0]), "51 2B 03 00 03 00 A5 27");
        check(answered(spec::RECORD_VALUE, glucose_value(104, 1)), "51 26 68 00 00 40 A5 C4");
        let pressure = pressure_value([138, 103, 86], 72);
        check(answered(spec::RECORD_VALUE, pressure), "51 26 8A 00 56 48 A5 44");
    }

    #[test]
    fn dates_are_those_of_the_sheet() {
        let meter = Host::new(0, |_| {}).meter;
        // 2019-08-04 13:37, in China.
        let public = [0x04, 0x27, 0x25, 0x0D];
        assert_eq!(meter.device_time(public).as_deref(), Some("2019-08-04T05:37:00.000Z"));
        assert_eq!(date_time(1_564_925_820_000), public);
        assert_eq!(meter.device_time([0; 4]), None);
    }

    #[test]
    fn the_meter_is_silent_until_it_is_connected_and_its_frames_are_exact() {
        let mut host = Host::new(0, |_| {});
        assert_eq!(host.ask(spec::COUNT, [0; 4]), None);
        host.meter.receive(host.now, &bytes("51 22 00 00 00 00 A3 16"));
        assert_eq!(host.pass(500), bytes("51 22 00 00 00 00 A5 18"));
        host.meter.receive(host.now, &bytes("51 24 00 00 00 00 A3 18"));
        assert_eq!(host.pass(500), bytes("51 24 77 42 00 00 A5 D3"));
        host.meter.receive(host.now, &bytes("51 2B 00 00 00 00 A3 1F"));
        assert_eq!(host.pass(500), bytes("51 2B 00 00 FF FF A5 1F"));
    }

    #[test]
    fn a_record_is_truth_once_it_was_read_and_counted_again() {
        let mut host = Host::new(0, |_| {});
        host.pass(40_000);
        assert_eq!(host.session(), Some(1));
        let truth = host.truth();
        assert_eq!(truth.len(), 1);
        assert_eq!(truth[0].value.as_deref(), Some("50"));
        assert_eq!(truth[0].unit, Some("mg/dL"));
        assert_eq!(truth[0].device_time.as_deref(), Some("2026-11-22T08:15:00.000Z"));
        assert_eq!(host.session(), Some(1));
        assert_eq!(host.truth(), []);
        host.pass(120_000);
        assert_eq!(host.session(), Some(2));
        assert_eq!(host.truth()[0].value.as_deref(), Some("110"));
    }

    #[test]
    fn a_reading_that_shifts_the_indices_is_no_mixture() {
        let mut host = Host::new(0, |_| {});
        host.pass(149_000);
        host.ask(spec::CONNECT, [0; 4]);
        assert_eq!(host.ask(spec::RECORD_TIME, [0; 4]), Some([0x76, 0x35, 15, 16]));
        host.pass(1_000);
        assert_eq!(host.ask(spec::RECORD_VALUE, [0; 4]), Some([110, 0, 0, 0x40]));
        assert_eq!(host.ask(spec::COUNT, [0; 4]), Some([2, 0, 2, 0]));
        assert_eq!(host.truth(), [], "the date of one and the value of another");
        assert_eq!(host.session(), Some(2));
        assert_eq!(host.truth().len(), 2);
    }

    #[test]
    fn a_story_without_glucose_is_told_by_a_cuff() {
        let mut host = Host::new(0, |scenario| scenario.glucose.clear());
        host.pass(21_000);
        assert_eq!(host.session(), Some(1));
        assert_eq!(host.ask(spec::MODEL, [0; 4]), Some(spec::CUFF));
        let truth = host.truth();
        let said: Vec<_> = truth.iter().map(|fact| (fact.metric, fact.value.as_deref())).collect();
        assert_eq!(
            said,
            [
                (Some("nibp_sys"), Some("186")),
                (Some("nibp_dia"), Some("112")),
                (Some("pulse_nibp"), Some("84"))
            ]
        );
    }

    #[test]
    fn what_no_meter_measures_is_rejected() {
        let test = |at_s, mg_per_dl| Glucose { at_s, mg_per_dl };
        let mut host =
            Host::new(0, |scenario| scenario.glucose = vec![test(1, 0), test(62, u16::MAX)]);
        host.pass(70_000);
        assert_eq!(host.session(), Some(2));
        assert!(host.truth().iter().all(|fact| fact.no_data == Some("rejected")));
    }

    #[test]
    fn setting_the_clock_and_clearing_are_recorded_and_not_obeyed() {
        let mut host = Host::new(0, |_| {});
        host.pass(40_000);
        host.ask(spec::CONNECT, [0; 4]);
        let clock = host.ask(spec::SET_CLOCK, [0; 4]);
        assert_eq!(clock, Some([0x76, 0x35, 15, 16]));
        assert_eq!(host.ask(spec::CLEAR_MEMORY, [0; 4]), None);
        let truth = host.truth();
        let forbidden: Vec<_> = truth.iter().filter_map(|fact| fact.forbidden.as_deref()).collect();
        assert_eq!(forbidden, ["set clock", "clear memory"]);
        assert_eq!(host.session(), Some(1));
    }

    #[test]
    fn a_meter_that_was_switched_off_sleeps_until_it_is_connected() {
        let mut host = Host::new(0, |_| {});
        host.ask(spec::CONNECT, [0; 4]);
        assert_eq!(host.ask(spec::POWER_OFF, [0; 4]), Some([0; 4]));
        assert_eq!(host.ask(spec::COUNT, [0; 4]), None);
        assert_eq!(host.session(), Some(0));
    }

    #[test]
    fn a_host_that_asks_again_gets_everything_from_the_rudest_meter() {
        let mut seen = BTreeSet::new();
        for seed in 0..64 {
            let mut host = Host::new(seed, |_| {});
            host.pass(40_000);
            let read = (0..10).find_map(|_| host.session()).unwrap();
            let truth = host.truth();
            let parts = if host.meter.is_cuff { 3 } else { 1 };
            assert_eq!(truth.len(), read * parts, "seed {seed}");
            seen.insert((read, truth.iter().any(|fact| fact.device_time.is_none())));
        }
        assert!(seen.contains(&(SMALL_MEMORY_MAX, true)), "{seen:?}");
        assert!(seen.contains(&(1, false)), "{seen:?}");
    }

    #[test]
    fn a_full_memory_takes_the_newest_and_says_the_same_count() {
        let full = |seed: &u64| Host::new(*seed, |_| {}).meter.memory_max == SMALL_MEMORY_MAX;
        let mut host = Host::new((0..).find(full).unwrap(), |_| {});
        assert_eq!((0..9).find_map(|_| host.session()), Some(SMALL_MEMORY_MAX));
        host.truth();
        host.pass(40_000);
        assert_eq!((0..9).find_map(|_| host.session()), Some(SMALL_MEMORY_MAX));
        assert!(!host.truth().is_empty());
    }

    proptest! {
        /// Whatever a host sends, nothing panics and nothing grows without end.
        #[test]
        fn no_bytes_of_a_host_upset_the_meter(
            parts in vec((any::<bool>(), 0x20_u8..0x58, vec(any::<u8>(), 4..20), 0_u64..9_000), 0..60),
            seed in 0_u64..8,
        ) {
            let mut host = Host::new(seed, |_| {});
            for (framed, command, noise, ms) in parts {
                match framed {
                    true => {
                        let data = [noise[0] % 4, 0, noise[2], noise[3]];
                        host.ask(command, data);
                    }
                    false => host.meter.receive(host.now, &noise),
                }
                host.pass(ms);
                prop_assert!(host.meter.input.len() < 8);
                prop_assert!(host.meter.read.len() <= 450);
                prop_assert!(host.meter.memory.len() <= host.meter.memory_max);
                prop_assert!(host.meter.next_due().is_none_or(|due| due > host.now));
            }
        }

        /// Valid frames come out the same however the port happens to cut the bytes.
        #[test]
        fn cutting_does_not_matter(cut in 0_usize..24, seed in 0_u64..8) {
            let frames = [spec::CONNECT, spec::MODEL, spec::COUNT];
            let all = frames.map(|command| encode(command, [0; 4], spec::TO_METER)).concat();
            let heard = |cut: usize| {
                let mut host = Host::new(seed, |_| {});
                let (before, after) = all.split_at(cut);
                host.meter.receive(host.now, before);
                host.meter.receive(host.now, after);
                host.pass(1_500)
            };
            prop_assert_eq!(heard(cut), heard(0));
        }
    }
}
