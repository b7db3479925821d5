//! An Omron HBP-9030 blood-pressure kiosk in output format 5, from the protocol sheet alone: one
//! line after each measurement, and never a word to the host.
//!
//! A rude one fails a measurement first, pauses in the middle of a line, prints lines of its other
//! formats, and has a clock that is wrong, begins anew, or says what no calendar knows.

use super::wire::Wire;
use crate::{
    ClockJump, Setup, SimTime, VirtualDevice,
    scenario::Cuff,
    temper::{DeviceClock, Temper},
    truth::{Notebook, Truth, moment},
};
use std::collections::VecDeque;

/// "SYS 60-260, DIA 30-215, pulse 40-180", §2: what is outside cannot be measured.
const SYSTOLIC: std::ops::RangeInclusive<u8> = 60..=u8::MAX;
const DIASTOLIC: std::ops::RangeInclusive<u8> = 30..=215;
const PULSE: std::ops::RangeInclusive<u8> = 40..=180;
/// The sheet gives the digits no meaning; this one stands for a value that cannot be measured.
const UNMEASURABLE: u8 = 5;
/// Lines that must be refused: "other formats … by signature", §1; too short and too long, §5.
const NOISE: [&str; 5] = [
    "bp,124,081,072\r\n",
    "MMBP203N 124 081 072\r\n",
    "ID0000000042\r\n",
    ",0,120,080,072,0\r\n",
    "2026,07,11,09,05,12345678901234567890,0,120,080,072,0,000,000,000\r\n",
];
/// Lines of so many measurements are remembered as said.
const TOLD_MAX: usize = 64;

/// The kiosk.
#[derive(Debug)]
pub struct Kiosk {
    setup: Setup,
    notes: Notebook,
    temper: Temper,
    clock: DeviceClock,
    wire: Wire,
    next: Option<SimTime>,
    told: VecDeque<String>,
    off: bool,
}

/// How a measurement ends.
#[derive(Clone, Copy, Debug)]
enum Outcome {
    Good(Cuff),
    Failed(u8),
}

/// What a line says.
#[derive(Clone, Copy, Debug)]
struct Measured<'a> {
    /// `YYYY,MM,DD,hh,mm`.
    time: &'a str,
    subject: &'a str,
    error: u8,
    /// Systolic, diastolic, pulse; three characters each.
    values: [&'a str; 3],
    movement: u8,
}

impl Measured<'_> {
    /// "Exactly 53 bytes + CR LF", §2.
    fn line(&self) -> String {
        let [systolic, diastolic, pulse] = self.values;
        format!(
            "{},{:<20},{},{systolic},{diastolic},{pulse},{}\r\n",
            self.time, self.subject, self.error, self.movement
        )
    }
}

impl Kiosk {
    /// A kiosk that was just switched on.
    #[must_use]
    pub fn new(setup: Setup) -> Self {
        let temper = Temper::new(setup.seed);
        let mut kiosk = Self {
            notes: Notebook::new(&setup.device, setup.clock),
            clock: temper.clock(),
            temper,
            wire: Wire::default(),
            next: None,
            told: VecDeque::new(),
            off: false,
            setup,
        };
        kiosk.next = kiosk.due_after(SimTime(0)).map(|(due, _)| due);
        kiosk
    }

    fn due_after(&self, now: SimTime) -> Option<(SimTime, Outcome)> {
        let scenario = &self.setup.patient.scenario;
        let good = scenario.kiosk.iter().map(|cuff| (cuff.at_s, Outcome::Good(*cuff)));
        let failed = scenario.kiosk_failed.iter();
        let failed = failed.map(|(at_s, code)| (*at_s, Outcome::Failed(*code)));
        let story: Vec<_> = good.chain(failed).collect();
        scenario.next(&story, |(at_s, _)| *at_s, now).map(|(at, (_, outcome))| (at, outcome))
    }

    fn measured(&mut self, at: SimTime, outcome: Outcome) {
        let blank = ["   "; 3].map(str::to_owned);
        let cuff = match outcome {
            Outcome::Good(cuff) => cuff,
            // One digit, whose meaning the sheet does not know.
            Outcome::Failed(code) => return self.say(at, 1 + code % 9, &blank),
        };
        let [systolic, _, diastolic] = cuff.pressure;
        let digits = |value: u8| format!("{value:03}");
        let values = [digits(systolic), digits(diastolic), digits(cuff.pulse)];
        if self.temper.once_in(4) {
            let noise = self.temper.below(5);
            let noise = NOISE.get(usize::try_from(noise).unwrap_or_default());
            self.send(at, noise.copied().unwrap_or_default(), Vec::new());
        }
        if self.setup.patient.scenario.kiosk_failed.is_empty() && self.temper.once_in(3) {
            let digit = u8::try_from(1 + self.temper.below(9)).unwrap_or(1);
            let shown = if self.temper.once_in(2) { &values } else { &blank };
            self.say(at, digit, shown);
        }
        let measurable = SYSTOLIC.contains(&systolic)
            && DIASTOLIC.contains(&diastolic)
            && PULSE.contains(&cuff.pulse);
        match measurable {
            false => self.say(at, UNMEASURABLE, &blank),
            true if self.temper.once_in(8) => {
                let [systolic, diastolic, pulse] = values;
                self.say(at, 0, &[diastolic, systolic, pulse]);
            }
            true => self.say(at, 0, &values),
        }
    }

    fn say(&mut self, at: SimTime, error: u8, values: &[String; 3]) {
        let minute = self.clock.civil_ms(self.setup.clock, at).div_euclid(60_000) * 60_000;
        let known = !self.temper.once_in(6);
        let time = if known { civil(minute) } else { "2026,02,30,24,60".to_owned() };
        let subject = self.temper.below(3);
        let second = self.setup.patient.scenario.second(at.0 / 1_000_000);
        let moved =
            self.setup.patient.scenario.kiosk_moved.iter().find(|(at_s, _)| *at_s == second);
        let movement = match moved {
            Some((_, count)) => u64::from(*count).min(9),
            None if self.temper.once_in(3) => 1 + self.temper.below(3),
            None => 0,
        };
        let [systolic, diastolic, pulse] = values;
        let line = Measured {
            time: &time,
            subject: ["", "12345678901234567890", "XL-42 A/b"]
                .get(usize::try_from(subject).unwrap_or_default())
                .copied()
                .unwrap_or_default(),
            error,
            values: [systolic, diastolic, pulse],
            movement: u8::try_from(movement).unwrap_or_default(),
        };
        let offset = i64::from(self.setup.clock.utc_offset_s);
        let device_time = known.then(|| moment(minute - offset * 1000));
        let facts = self.facts(at, error, values, device_time.as_ref());
        let line = line.line();
        // "The time has minute resolution", §4: the same result within a minute is no news.
        let result = format!("{time} {error} {systolic} {diastolic} {pulse}");
        let news = device_time.is_none() || !self.told.contains(&result);
        self.told.push_back(result);
        if self.told.len() > TOLD_MAX {
            self.told.pop_front();
        }
        self.send(at, &line, if news { facts } else { Vec::new() });
    }

    fn facts(
        &self,
        at: SimTime,
        error: u8,
        values: &[String; 3],
        device_time: Option<&String>,
    ) -> Vec<Truth> {
        let [systolic, diastolic, pulse] = values;
        // "SYS <= DIA: by the catalogue", §5, which rejects both and leaves the pulse.
        let turned = systolic <= diastolic;
        let metrics = [
            ("nibp_sys", "mm[Hg]", systolic, turned),
            ("nibp_dia", "mm[Hg]", diastolic, turned),
            ("pulse_nibp", "/min", pulse, false),
        ];
        let facts = metrics.map(|(metric, unit, value, rejected)| {
            let value = match (error, rejected) {
                (0, false) => Ok(value.trim_start_matches('0').to_owned()),
                (0, true) => Err("rejected"),
                _ => Err("device_error"),
            };
            let mut fact = self.notes.reading(at, metric, Some(unit), value);
            fact.device_time = device_time.cloned();
            fact
        });
        facts.into()
    }

    fn send(&mut self, at: SimTime, line: &str, facts: Vec<Truth>) {
        let (mut first, mut rest) = ("", line);
        // "A line without LF never becomes a record, whatever the pause", §4.
        if self.temper.once_in(2) {
            let cut = 1 + self.temper.below(54);
            let cut = usize::try_from(cut).unwrap_or(1).min(line.len() - 1);
            (first, rest) = line.split_at(cut);
        }
        let byte_us = self.temper.property(2, 2) * 1_000;
        let pause_ms = 200 + self.temper.below(1_500);
        let pause_ms = if first.is_empty() { 0 } else { pause_ms };
        let sent = self.wire.send(at, 0, byte_us, first.as_bytes(), Vec::new())
            && self.wire.send(at, pause_ms, byte_us, rest.as_bytes(), facts);
        debug_assert!(sent, "a line always fits");
    }
}

/// `YYYY,MM,DD,hh,mm`.
fn civil(civil_ms: i64) -> String {
    let civil = jiff::Timestamp::from_millisecond(civil_ms).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    let civil = jiff::tz::TimeZone::UTC.to_datetime(civil);
    format!(
        "{:04},{:02},{:02},{:02},{:02}",
        civil.year(),
        civil.month(),
        civil.day(),
        civil.hour(),
        civil.minute()
    )
}

impl VirtualDevice for Kiosk {
    /// "The host sends nothing", §1: nobody listens, and whoever talks all the same is found out.
    fn receive(&mut self, now: SimTime, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.notes.forbidden(now, &String::from_utf8_lossy(bytes));
        }
    }

    fn advance(&mut self, now: SimTime) {
        while let Some(due) = self.next.filter(|due| *due <= now) {
            if let Some((at, cuff)) = self.due_after(SimTime(due.0 - 1)) {
                self.measured(at, cuff);
            }
            self.next = self.due_after(due).map(|(due, _)| due);
        }
        if !self.off {
            self.wire.advance(now, &mut self.notes);
        }
    }

    fn next_due(&self) -> Option<SimTime> {
        self.next.into_iter().chain(self.wire.next_due()).min()
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
        self.next = None;
        self.off = true;
    }

    fn jump_clock(&mut self, now: SimTime, jump: ClockJump) -> bool {
        self.advance(now);
        self.clock.jump(self.setup.clock, now, jump);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{EcgSource, Patient, Scenario, StageClock};
    use proptest::{collection::vec, prelude::*};
    use std::collections::BTreeSet;

    fn kiosk(seed: u64, change: impl FnOnce(&mut Scenario)) -> Kiosk {
        let mut scenario = Scenario::built_in("clinic-day").unwrap();
        change(&mut scenario);
        Kiosk::new(Setup {
            device: "bp-02".into(),
            seed,
            // 2026-11-22 16:15 in China.
            clock: StageClock { wall_start_ms: 1_795_335_300_000, utc_offset_s: 28_800 },
            patient: Patient::new(1, scenario, EcgSource::Synthetic),
        })
    }

    /// Everything the kiosk sends and says in that time, every millisecond on its own.
    fn run(kiosk: &mut Kiosk, seconds: u64) -> (String, Vec<Truth>) {
        let (mut heard, mut truth) = (Vec::new(), Vec::new());
        while let Some(due) = kiosk.next_due().filter(|due| due.0 <= seconds * 1_000_000) {
            kiosk.advance(due);
            heard.extend(kiosk.take_output());
            truth.extend(kiosk.take_truth());
        }
        (String::from_utf8(heard).unwrap(), truth)
    }

    /// Sheet §3, and the two lines in hex.
    #[test]
    fn lines_are_those_of_the_sheet() {
        let measured = |time, subject, error, values| {
            Measured { time, subject, error, values, movement: 0 }.line()
        };
        let good = ["120", "080", "072"];
        let id = "12345678901234567890";
        assert_eq!(
            measured("2026,07,11,09,05", id, 0, good),
            "2026,07,11,09,05,12345678901234567890,0,120,080,072,0\r\n"
        );
        assert_eq!(
            measured("2024,02,29,23,59", "", 0, good),
            "2024,02,29,23,59,                    ,0,120,080,072,0\r\n"
        );
        assert_eq!(
            measured("2026,07,11,09,05", id, 7, ["   "; 3]),
            "2026,07,11,09,05,12345678901234567890,7,   ,   ,   ,0\r\n"
        );
        let hex = |line: String| {
            line.bytes().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(
            hex(measured("2026,07,11,09,05", id, 0, good)),
            "32 30 32 36 2C 30 37 2C 31 31 2C 30 39 2C 30 35 2C 31 32 33 34 35 36 37 38 39 30 31 32 \
             33 34 35 36 37 38 39 30 2C 30 2C 31 32 30 2C 30 38 30 2C 30 37 32 2C 30 0D 0A"
        );
        assert_eq!(
            hex(measured("2026,11,22,08,16", "", 7, ["   "; 3])),
            "32 30 32 36 2C 31 31 2C 32 32 2C 30 38 2C 31 36 2C 20 20 20 20 20 20 20 20 20 20 20 20 \
             20 20 20 20 20 20 20 20 2C 37 2C 20 20 20 2C 20 20 20 2C 20 20 20 2C 30 0D 0A"
        );
        assert_eq!(
            hex(measured("2026,11,22,08,15", "", 0, ["138", "086", "072"])),
            "32 30 32 36 2C 31 31 2C 32 32 2C 30 38 2C 31 35 2C 20 20 20 20 20 20 20 20 20 20 20 20 \
             20 20 20 20 20 20 20 20 2C 30 2C 31 33 38 2C 30 38 36 2C 30 37 32 2C 30 0D 0A"
        );
    }

    #[test]
    fn a_polite_kiosk_sends_a_line_after_each_measurement() {
        let mut kiosk = kiosk(0, |_| {});
        let (heard, truth) = run(&mut kiosk, 181);
        let lines: Vec<&str> = heard.split_terminator("\r\n").collect();
        assert_eq!(lines.len(), 3);
        assert!(lines.iter().all(|line| line.len() == 53));
        assert!(lines[0].starts_with("2026,11,22,16,15,"), "{}", lines[0]);
        assert!(lines[0].ends_with(",0,186,112,084,0"), "{}", lines[0]);
        let said: Vec<_> = truth.iter().map(|fact| (fact.metric, fact.value.as_deref())).collect();
        assert_eq!(said.len(), 9);
        assert_eq!(said[1], (Some("nibp_dia"), Some("112")));
        assert_eq!(said[2], (Some("pulse_nibp"), Some("84")));
        assert_eq!(truth[0].device_time.as_deref(), Some("2026-11-22T08:15:00.000Z"));
        assert_eq!(truth[0].t, "2026-11-22T08:15:20.000Z");
    }

    #[test]
    fn what_cannot_be_measured_is_an_error_without_values() {
        let cuff = Cuff { at_s: 20, pressure: [120, 90, 80], pulse: 190 };
        let (heard, truth) = run(&mut kiosk(0, |scenario| scenario.kiosk = vec![cuff]), 30);
        assert!(heard.ends_with(",5,   ,   ,   ,0\r\n"), "{heard}");
        assert!(truth.iter().all(|fact| fact.no_data == Some("device_error")));
        assert_eq!(truth.len(), 3);
    }

    #[test]
    fn the_same_line_within_a_minute_is_said_once() {
        let cuff = |at_s| Cuff { at_s, pressure: [120, 90, 80], pulse: 72 };
        let mut kiosk = kiosk(0, |scenario| scenario.kiosk = vec![cuff(2), cuff(20), cuff(100)]);
        let (heard, truth) = run(&mut kiosk, 110);
        assert_eq!((heard.lines().count(), truth.len()), (3, 6));
    }

    #[test]
    fn rude_kiosks_do_everything_the_sheet_warns_of() {
        let (mut heard, mut truth) = (String::new(), Vec::new());
        for seed in (0..60).filter(|seed| seed % 4 > 1) {
            let (line, facts) = run(&mut kiosk(seed, |_| {}), 600);
            heard += &line;
            truth.extend(facts);
        }
        for noise in NOISE {
            assert!(heard.contains(noise.trim_end()), "{noise}");
        }
        assert!(heard.contains("2026,02,30,24,60,") && heard.contains("2000,01,01,00,"));
        let reasons: BTreeSet<_> = truth.iter().filter_map(|fact| fact.no_data).collect();
        assert_eq!(reasons, ["device_error", "rejected"].into());
        assert!(truth.iter().any(|fact| fact.device_time.is_none()));
        let at = |start: &str| truth.iter().any(|fact| fact.device_time.as_deref() == Some(start));
        assert!(at("1999-12-31T16:00:00.000Z"), "a clock that was reset is told as it is");
    }

    #[test]
    fn half_a_line_is_not_said() {
        let seed = (0..).find(|seed| kiosk(*seed, |_| {}).temper.property(2, 2) == 1).unwrap();
        let mut kiosk = kiosk(seed, |_| {});
        kiosk.advance(SimTime::from_millis(20_000));
        kiosk.advance(kiosk.wire.next_due().unwrap());
        kiosk.switch_off(SimTime::from_millis(20_001));
        assert_eq!(kiosk.take_truth(), []);
        kiosk.advance(SimTime::from_millis(90_000));
        assert!(kiosk.take_output().len() < 53 && kiosk.next_due().is_none());
    }

    proptest! {
        /// Whatever a host sends, nothing comes of it.
        #[test]
        fn no_bytes_of_a_host_matter(bytes in vec(any::<u8>(), 0..200), seed in 0_u64..8) {
            let mut talked_to = kiosk(seed, |_| {});
            talked_to.receive(SimTime(0), &bytes);
            let (said, mut truth) = run(&mut talked_to, 60);
            let talked = truth.extract_if(.., |fact| fact.forbidden.is_some()).count();
            prop_assert_eq!(talked, usize::from(!bytes.is_empty()));
            prop_assert_eq!((said, truth), run(&mut kiosk(seed, |_| {}), 60));
        }
    }
}
