//! An A&D TM-2655 blood-pressure kiosk, from the protocol sheet alone: sends a record after each
//! measurement, and the last one again when it is asked.

use crate::{
    ClockJump, Setup, SimTime, VirtualDevice,
    scenario::Cuff,
    temper::DeviceClock,
    truth::{Notebook, Truth, moment},
};

const SYN: u8 = 0x16;
const SOH: u8 = 0x01;
const STX: u8 = 0x02;
const ETX: u8 = 0x03;
const RS: u8 = 0x1E;
const ACK: u8 = 0x06;
/// Commands are shorter than this.
const INPUT_MAX: usize = 64;

/// How a measurement ended.
#[derive(Clone, Copy, Debug)]
enum Outcome {
    Good(Cuff),
    /// A TM-2657 that counted movements.
    Moved(Cuff, u16),
    /// The number of its E-code.
    Failed(u8),
}

/// The kiosk.
#[derive(Debug)]
pub struct Kiosk {
    setup: Setup,
    notes: Notebook,
    clock: DeviceClock,
    out: Vec<u8>,
    input: Vec<u8>,
    /// The last record, and when it was measured.
    last: Option<(Vec<u8>, i64)>,
    next: Option<SimTime>,
    off: bool,
}

impl Kiosk {
    /// A kiosk that was just switched on.
    #[must_use]
    pub fn new(setup: Setup) -> Self {
        let mut kiosk = Self {
            notes: Notebook::new(&setup.device, setup.clock),
            clock: DeviceClock::Right,
            setup,
            out: Vec::new(),
            input: Vec::new(),
            last: None,
            next: None,
            off: false,
        };
        kiosk.next = kiosk.due_after(SimTime(0)).map(|(due, _)| due);
        kiosk
    }

    /// The next measurement that ends after `now`.
    fn due_after(&self, now: SimTime) -> Option<(SimTime, Outcome)> {
        let scenario = &self.setup.patient.scenario;
        let moved = |at_s| scenario.kiosk_moved.iter().find(move |moved| moved.0 == at_s);
        let good = scenario.kiosk.iter().map(|cuff| match moved(cuff.at_s) {
            Some((_, count)) => (cuff.at_s, Outcome::Moved(*cuff, *count)),
            None => (cuff.at_s, Outcome::Good(*cuff)),
        });
        let failed =
            scenario.kiosk_failed.iter().map(|(at_s, code)| (*at_s, Outcome::Failed(*code)));
        let story: Vec<_> = good.chain(failed).collect();
        let round = now.0 / 1_000_000 / scenario.repeat_s.max(1);
        let ends = (round..round + 2).flat_map(|round| {
            story.iter().map(move |(at_s, outcome)| (round * scenario.repeat_s + at_s, *outcome))
        });
        ends.map(|(second, outcome)| (SimTime(second * 1_000_000), outcome))
            .filter(|(due, _)| *due > now)
            .min_by_key(|(due, _)| *due)
    }

    fn measured(&mut self, at: SimTime, outcome: Outcome) {
        let minute = self.clock.civil_ms(self.setup.clock, at).div_euclid(60_000) * 60_000;
        let frame = record(minute, outcome);
        self.out.extend(&frame);
        self.last = Some((frame, minute));
        let device_time = moment(minute - i64::from(self.setup.clock.utc_offset_s) * 1000);
        let number = |raw: u8| match outcome {
            // "E44 (moved): motion", "error other than E00: device_error".
            Outcome::Failed(44) => Err("motion"),
            Outcome::Failed(_) => Err("device_error"),
            // The catalogue: 0 is no pressure and no pulse.
            _ if raw == 0 => Err("not_available"),
            _ => Ok(raw.to_string()),
        };
        let ([sys, mean, dia], pulse) = match outcome {
            Outcome::Good(cuff) | Outcome::Moved(cuff, _) => (cuff.pressure, cuff.pulse),
            Outcome::Failed(_) => ([0; 3], 0),
        };
        for (metric, unit, value) in [
            ("nibp_sys", "mm[Hg]", sys),
            ("nibp_mean", "mm[Hg]", mean),
            ("nibp_dia", "mm[Hg]", dia),
            ("pulse_nibp", "/min", pulse),
        ] {
            let mut fact = self.notes.fact(at);
            fact.metric = Some(metric);
            match number(value) {
                Ok(value) => (fact.value, fact.unit) = (Some(value), Some(unit)),
                Err(reason) => fact.no_data = Some(reason),
            }
            fact.device_time = Some(device_time.clone());
            self.notes.push(fact);
        }
    }

    fn command(&mut self, now: SimTime, text: [u8; 2]) {
        match &text {
            b"RB" => self.out.extend(self.last.iter().flat_map(|(record, _)| record)),
            b"RP" => self.out.extend(self.last.iter().flat_map(|(_, minute)| table(*minute))),
            // Both inflate the cuff.
            b"ST" | b"RC" => {
                let name = String::from_utf8_lossy(&text).into_owned();
                self.notes.forbidden(now, &name);
            }
            b"SP" => self.out.extend([SYN, SYN, SOH, b'0', b'0', ACK]),
            _ => {}
        }
    }
}

/// "YYMMDDhhmm local", §5.
fn date(civil_ms: i64) -> String {
    let civil = jiff::Timestamp::from_millisecond(civil_ms).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    let civil = jiff::tz::TimeZone::UTC.to_datetime(civil);
    format!(
        "{:02}{:02}{:02}{:02}{:02}",
        civil.year() % 100,
        civil.month(),
        civil.day(),
        civil.hour(),
        civil.minute()
    )
}

/// The RB record of a measurement, §5.
fn record(civil_ms: i64, outcome: Outcome) -> Vec<u8> {
    let (model, error, [sys, mean, dia], pulse) = match outcome {
        Outcome::Good(cuff) => ("TM2655", 0, cuff.pressure, cuff.pulse),
        Outcome::Moved(cuff, _) => ("TM2657", 0, cuff.pressure, cuff.pulse),
        Outcome::Failed(code) => ("TM2655", code, [0; 3], 0),
    };
    let mut fields = vec![
        model.to_owned(),
        date(civil_ms),
        "RB".to_owned(),
        "M".to_owned(),
        format!("E{error:02}"),
        format!("S{sys:>3}"),
        format!("M{mean:>3}"),
        format!("D{dia:>3}"),
        format!("P{pulse:>3}"),
    ];
    // "TM-2657 adds fields after P: i, m, r, t", §5.
    fields.extend(match outcome {
        Outcome::Moved(_, count) => {
            vec!["i  0".to_owned(), format!("m{count:>3}"), "r  0".to_owned(), "t 38".to_owned()]
        }
        Outcome::Failed(_) => vec!["I18".to_owned(), "L  0".to_owned()],
        Outcome::Good(_) => vec!["I18".to_owned(), "L 92".to_owned()],
    });
    frame(&fields)
}

/// "RP record: model, date-time, RP, N + 3-char count, then count fields ppp,aaa", §5.
fn table(civil_ms: i64) -> Vec<u8> {
    let head = ["TM2655".to_owned(), date(civil_ms), "RP".to_owned(), "N  3".to_owned()];
    let points = [(150, 4), (110, 92), (70, 8)];
    let points = points.map(|(pressure, amplitude)| format!("{pressure:>3},{amplitude:>3}"));
    frame(&[&head[..], &points].concat())
}

/// "SYN SYN SOH A A STX text ETX BCC", §3; every field ends with RS.
fn frame(fields: &[String]) -> Vec<u8> {
    let mut covered = vec![SOH, b'0', b'0', STX];
    for field in fields {
        covered.extend(field.bytes());
        covered.push(RS);
    }
    covered.push(ETX);
    let check = covered.iter().fold(0, |check, byte| check ^ byte);
    [&[SYN, SYN][..], &covered, &[check]].concat()
}

impl VirtualDevice for Kiosk {
    fn receive(&mut self, now: SimTime, bytes: &[u8]) {
        if self.off {
            return;
        }
        self.input.extend(bytes);
        // SYN SYN SOH 0 0 STX c c ETX BCC
        while let Some(frame) = self.input.first_chunk::<10>().copied() {
            let [s1, s2, soh, a1, a2, stx, c1, c2, etx, check] = frame;
            let head = [s1, s2, soh, a1, a2, stx, etx] == [SYN, SYN, SOH, b'0', b'0', STX, ETX];
            let sum = [soh, a1, a2, stx, c1, c2, etx].iter().fold(0, |sum, byte| sum ^ byte);
            if head && check == sum {
                self.input.drain(..frame.len());
                self.command(now, [c1, c2]);
            } else {
                self.input.remove(0);
            }
        }
        if self.input.len() > INPUT_MAX {
            self.input.clear();
        }
    }

    fn advance(&mut self, now: SimTime) {
        while let Some(due) = self.next.filter(|due| *due <= now) {
            let before = SimTime(due.0 - 1);
            if let Some((at, outcome)) = self.due_after(before) {
                self.measured(at, outcome);
            }
            self.next = self.due_after(due).map(|(due, _)| due);
        }
    }

    fn next_due(&self) -> Option<SimTime> {
        self.next
    }

    fn take_output(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.out)
    }

    fn take_truth(&mut self) -> Vec<Truth> {
        self.notes.take()
    }

    fn switch_off(&mut self, _: SimTime) {
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

    #[test]
    fn a_record_is_that_of_the_sheet() {
        // Sheet §6, computed example: 2026-11-22 08:15, 138/86, MAP 103, pulse 72.
        let cuff = Cuff { at_s: 0, pressure: [138, 103, 86], pulse: 72 };
        let hex: Vec<String> = record(1_795_335_300_000, Outcome::Good(cuff))
            .iter()
            .map(|byte| format!("{byte:02X}"))
            .collect();
        assert_eq!(
            hex.join(" "),
            "16 16 01 30 30 02 54 4D 32 36 35 35 1E 32 36 31 31 32 32 30 38 31 35 1E 52 42 1E 4D 1E 45 30 30 \
             1E 53 31 33 38 1E 4D 31 30 33 1E 44 20 38 36 1E 50 20 37 32 1E 49 31 38 1E 4C 20 39 32 1E 03 3D"
        );
    }

    /// The records of the vectors come out of our encoder byte by byte.
    #[test]
    fn every_vector_is_encoded_back() {
        let text = include_str!("../../../../tests/vectors/tm2655/records.toml");
        for bytes in crate::vectors::frames(text, Some("device")) {
            // ACK and NAK have no text.
            let Some(text) = bytes.get(6..bytes.len() - 3) else { continue };
            let fields: Vec<_> = text
                .split(|byte| *byte == RS)
                .map(|field| String::from_utf8(field.to_vec()).unwrap())
                .collect();
            assert_eq!(frame(&fields), bytes);
        }
    }

    #[test]
    fn a_failed_record_is_that_of_the_sheet() {
        // Sheet §6, computed example: 2026-11-22 08:20, E43.
        let text = include_str!("../../../../tests/vectors/tm2655/records.toml");
        let failed = record(1_795_335_600_000, Outcome::Failed(43));
        assert!(crate::vectors::frames(text, Some("device")).contains(&failed));
    }

    #[test]
    fn the_last_record_comes_again_when_it_is_asked_for_and_is_one_truth() {
        let mut kiosk = Kiosk::new(Setup {
            device: "bp-01".into(),
            seed: 1,
            clock: StageClock { wall_start_ms: 1_795_335_300_000, utc_offset_s: 28_800 },
            patient: Patient::new(
                1,
                Scenario::built_in("clinic-day").unwrap(),
                EcgSource::Synthetic,
            ),
        });
        kiosk.advance(SimTime::from_millis(30_000));
        let first = kiosk.take_output();
        kiosk.receive(
            SimTime::from_millis(31_000),
            &[0x16, 0x16, 0x01, 0x30, 0x30, 0x02, 0x52, 0x42, 0x03, 0x10],
        );
        assert_eq!(kiosk.take_output(), first);
        assert_eq!(kiosk.take_truth().len(), 4);
        kiosk.receive(
            SimTime::from_millis(32_000),
            &[0x16, 0x16, 0x01, 0x30, 0x30, 0x02, 0x53, 0x54, 0x03, 0x07],
        );
        assert_eq!(kiosk.take_truth()[0].forbidden.as_deref(), Some("ST"));
    }
}
