//! An A&D TM-2655 blood-pressure kiosk, from the protocol sheet alone: sends a record after each
//! measurement, and the last one again when it is asked.

use crate::{
    Setup, SimTime, VirtualDevice,
    scenario::Cuff,
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

/// The kiosk.
#[derive(Debug)]
pub struct Kiosk {
    setup: Setup,
    notes: Notebook,
    out: Vec<u8>,
    input: Vec<u8>,
    last: Option<Vec<u8>>,
    next: Option<SimTime>,
    off: bool,
}

impl Kiosk {
    /// A kiosk that was just switched on.
    #[must_use]
    pub fn new(setup: Setup) -> Self {
        let mut kiosk = Self {
            notes: Notebook::new(&setup.device, setup.clock),
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
    fn due_after(&self, now: SimTime) -> Option<(SimTime, Cuff)> {
        let scenario = &self.setup.scenario;
        scenario.next(&scenario.kiosk, |cuff| cuff.at_s, now)
    }

    fn measured(&mut self, at: SimTime, cuff: Cuff) {
        let minute = self.setup.clock.civil_ms(at).div_euclid(60_000) * 60_000;
        let frame = record(minute, cuff);
        self.out.extend(&frame);
        self.last = Some(frame);
        let device_time = moment(minute - i64::from(self.setup.clock.utc_offset_s) * 1000);
        let [sys, mean, dia] = cuff.pressure;
        for (metric, unit, value) in [
            ("nibp_sys", "mm[Hg]", sys),
            ("nibp_mean", "mm[Hg]", mean),
            ("nibp_dia", "mm[Hg]", dia),
            ("pulse_nibp", "/min", cuff.pulse),
        ] {
            let mut fact = self.notes.fact(at);
            fact.metric = Some(metric);
            (fact.value, fact.unit) = (Some(value.to_string()), Some(unit));
            fact.device_time = Some(device_time.clone());
            self.notes.push(fact);
        }
    }

    fn command(&mut self, now: SimTime, text: [u8; 2]) {
        match &text {
            b"RB" => self.out.extend(self.last.iter().flatten()),
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

/// The RB record of a good measurement, §5.
fn record(civil_ms: i64, cuff: Cuff) -> Vec<u8> {
    let civil = jiff::Timestamp::from_millisecond(civil_ms).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    let civil = jiff::tz::TimeZone::UTC.to_datetime(civil);
    let date = format!(
        "{:02}{:02}{:02}{:02}{:02}",
        civil.year() % 100,
        civil.month(),
        civil.day(),
        civil.hour(),
        civil.minute()
    );
    let [sys, mean, dia] = cuff.pressure;
    let fields = [
        "TM2655".to_owned(),
        date,
        "RB".to_owned(),
        "M".to_owned(),
        "E00".to_owned(),
        format!("S{sys:>3}"),
        format!("M{mean:>3}"),
        format!("D{dia:>3}"),
        format!("P{:>3}", cuff.pulse),
        "I18".to_owned(),
        "L 92".to_owned(),
    ];
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
            if let Some((at, cuff)) = self.due_after(before) {
                self.measured(at, cuff);
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
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{EcgSource, Scenario, StageClock};

    #[test]
    fn a_record_is_that_of_the_sheet() {
        // Sheet §6, computed example: 2026-11-22 08:15, 138/86, MAP 103, pulse 72.
        let cuff = Cuff { at_s: 0, pressure: [138, 103, 86], pulse: 72 };
        let hex: Vec<String> =
            record(1_795_335_300_000, cuff).iter().map(|byte| format!("{byte:02X}")).collect();
        assert_eq!(
            hex.join(" "),
            "16 16 01 30 30 02 54 4D 32 36 35 35 1E 32 36 31 31 32 32 30 38 31 35 1E 52 42 1E 4D 1E 45 30 30 \
             1E 53 31 33 38 1E 4D 31 30 33 1E 44 20 38 36 1E 50 20 37 32 1E 49 31 38 1E 4C 20 39 32 1E 03 3D"
        );
    }

    #[test]
    fn the_last_record_comes_again_when_it_is_asked_for_and_is_one_truth() {
        let mut kiosk = Kiosk::new(Setup {
            device: "bp-01".into(),
            seed: 1,
            clock: StageClock { wall_start_ms: 1_795_335_300_000, utc_offset_s: 28_800 },
            scenario: Scenario::built_in("clinic-day").unwrap(),
            ecg: EcgSource::Synthetic,
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
