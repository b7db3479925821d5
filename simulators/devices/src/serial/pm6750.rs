//! A PM6750 patient monitor module, from the protocol sheet alone.
//!
//! Silent until its streams are enabled; rates as measured on real hardware.

use crate::{
    Setup, SimTime, VirtualDevice,
    ecg::EcgPlayer,
    scenario::{Cuff, Scenario, variation},
    truth::{Notebook, Truth},
};

const ECG: usize = 0;
const PARAMETERS: usize = 1;
const SPO2: usize = 2;
const TEMPERATURE: usize = 3;
const PLETH: usize = 4;
const RESPIRATION: usize = 5;
const NIBP: usize = 6;
/// Microseconds between packets: 250/s, 1/s, 1/s, 1/s, 50/s, 50/s, 2/s.
const PERIOD_US: [u64; 7] = [4_000, 1_000_000, 1_000_000, 1_000_000, 20_000, 20_000, 500_000];
/// Packets due longer ago than this are not sent any more.
const LATE_MAX_US: u64 = 2_000_000;
const LEADS: [&str; 7] = [
    "ecg_wave_i",
    "ecg_wave_ii",
    "ecg_wave_iii",
    "ecg_wave_avr",
    "ecg_wave_avl",
    "ecg_wave_avf",
    "ecg_wave_v",
];
/// A cuff measurement takes this long.
const MEASURING_S: u64 = 8;

/// The module.
#[derive(Debug)]
pub struct Monitor {
    setup: Setup,
    notes: Notebook,
    out: Vec<u8>,
    input: Vec<u8>,
    /// When each stream's next packet is due; none: it is off.
    due: [Option<u64>; 7],
    ecg: EcgPlayer,
    /// Samples of the open block, per wave metric.
    leads: [Vec<u8>; 7],
    pleth: Vec<u8>,
    resp: Vec<u8>,
    lead_off: bool,
    arrhythmia: u8,
    /// The result of the last measurement, once it is finished.
    result: Option<Cuff>,
    reported: Option<u64>,
    off: bool,
}

impl Monitor {
    /// A module that was just switched on.
    #[must_use]
    pub fn new(setup: Setup) -> Self {
        Self {
            notes: Notebook::new(&setup.device, setup.clock),
            ecg: EcgPlayer::new(setup.ecg),
            setup,
            out: Vec::new(),
            input: Vec::new(),
            due: [None; 7],
            leads: Default::default(),
            pleth: Vec::new(),
            resp: Vec::new(),
            lead_off: false,
            arrhythmia: 1,
            result: None,
            reported: None,
            off: false,
        }
    }

    fn packet(&mut self, payload: &[u8]) {
        let frame = encode(payload);
        self.out.extend(frame);
    }

    fn command(&mut self, now: SimTime, function: u8, argument: u8) {
        let on = argument == 1;
        let start = |offset: u64| on.then_some(now.0 + offset);
        match function {
            0x01 => {
                self.end_blocks(now, ECG);
                (self.due[ECG], self.due[PARAMETERS]) = (start(0), start(200_000));
                self.due[NIBP] = start(100_000);
            }
            0x03 => self.due[SPO2] = start(400_000),
            0x04 => self.due[TEMPERATURE] = start(600_000),
            0xFE => {
                self.end_blocks(now, PLETH);
                self.due[PLETH] = start(0);
            }
            0xFF => {
                self.end_blocks(now, RESPIRATION);
                self.due[RESPIRATION] = start(0);
            }
            0x07 | 0x08 | 0x0F | 0xFC | 0xFD => {}
            // Inflation, its preparation, calibration and factory tests.
            0x02 | 0x09..=0x0E | 0x10 => {
                self.notes.forbidden(now, &format!("{function:02x} {argument:02x}"));
            }
            _ => {}
        }
    }

    fn send(&mut self, stream: usize, at: SimTime) {
        let second = self.setup.scenario.second(at.0 / 1_000_000);
        let vitals = self.setup.scenario.vitals(second);
        let seed = self.setup.seed;
        let vary = |salt, span| {
            u8::try_from(variation(seed, at.0 / 1_000_000, salt, span)).unwrap_or_default()
        };
        let lead_off = Scenario::during(&self.setup.scenario.leads_off, second);
        match stream {
            ECG => {
                let (leads, beat) = self.ecg.next(vitals.hr, lead_off);
                let mut payload = vec![0x01];
                payload.extend(leads);
                self.packet(&payload);
                for (block, sample) in self.leads.iter_mut().zip(leads) {
                    block.push(sample);
                }
                if beat {
                    self.packet(&[0x30]);
                }
            }
            PARAMETERS => self.parameters(at, second, lead_off),
            SPO2 => {
                let off = Scenario::during(&self.setup.scenario.probe_off, second);
                let (status, saturation, pulse) = match off {
                    true => (1, 127, 255),
                    false => (0, vitals.spo2, vitals.hr.saturating_add(vary(3, 1))),
                };
                self.packet(&[0x04, status, saturation, pulse]);
                let said = |value: u8| if off { Err("sensor_off") } else { Ok(value.to_string()) };
                self.notes.value(at, "spo2", "", "%", said(saturation));
                self.notes.value(at, "pulse_oxim", "", "/min", said(pulse));
            }
            TEMPERATURE => {
                let parts = vitals.temperature.map(|tenths| (tenths / 10, tenths % 10));
                let byte = |part: u16| u8::try_from(part).unwrap_or_default();
                let [(one, one_tenth), (two, two_tenth)] = parts;
                self.packet(&[0x05, 0, byte(one), byte(one_tenth), byte(two), byte(two_tenth)]);
                self.notes.value(at, "temp", "t1", "Cel", Ok(format!("{one}.{one_tenth}")));
                self.notes.value(at, "temp", "t2", "Cel", Ok(format!("{two}.{two_tenth}")));
            }
            PLETH => {
                let sample = 30 + u8::try_from(at.0 / 20_000 % 40).unwrap_or_default();
                self.packet(&[0xFE, sample]);
                self.pleth.push(sample);
            }
            RESPIRATION => {
                let sample = 60 + u8::try_from(at.0 / 40_000 % 80).unwrap_or_default();
                self.packet(&[0xFF, sample]);
                self.resp.push(sample);
            }
            _ => self.cuff(at),
        }
        self.close_full_blocks(at);
    }

    fn parameters(&mut self, at: SimTime, second: u64, lead_off: bool) {
        let vitals = self.setup.scenario.vitals(second);
        let extra = variation(self.setup.seed, at.0 / 1_000_000, 1, 2);
        let hr = vitals.hr.saturating_add(u8::try_from(extra).unwrap_or_default());
        let arrhythmia = self.setup.scenario.arrhythmia(second);
        // Gain ×1, monitor mode; bit 1: lead off.
        let (status, hr, rr) = match lead_off {
            true => (0x1A, 0, 0),
            false => (0x18, hr, vitals.rr),
        };
        self.packet(&[0x02, status, hr, rr, vitals.st.cast_unsigned(), arrhythmia]);
        let said = |value: String| if lead_off { Err("lead_off") } else { Ok(value) };
        self.notes.value(at, "hr", "", "/min", said(hr.to_string()));
        self.notes.value(at, "rr_imp", "", "/min", said(rr.to_string()));
        self.notes.value(at, "st", "", "mV", said(hundredths(vitals.st)));
        if lead_off != self.lead_off {
            self.lead_off = lead_off;
            self.notes.alarm(at, "lead_off", lead_off);
        }
        if arrhythmia != self.arrhythmia {
            let before = std::mem::replace(&mut self.arrhythmia, arrhythmia);
            for (code, starts) in [(before, false), (arrhythmia, true)] {
                if code > 1 {
                    self.notes.alarm(at, &format!("{code:02x}"), starts);
                }
            }
        }
    }

    /// "NIBP cycle: init 9, 10, measuring with rising and falling cuff at 2/s, terminal 0", §11.
    fn cuff(&mut self, at: SimTime) {
        let elapsed = at.0 / 1_000_000;
        let second = self.setup.scenario.second(elapsed);
        let running = self
            .setup
            .scenario
            .monitor_cuff
            .iter()
            .find(|cuff| (cuff.at_s.saturating_sub(MEASURING_S)..cuff.at_s).contains(&second));
        if let Some(cuff) = running {
            let left = cuff.at_s - second;
            let (state, pressure) = match MEASURING_S - left {
                0 => (9, 0),
                1 => (10, 0),
                phase => (1, u8::try_from(left * 12 + phase).unwrap_or(60)),
            };
            self.result = None;
            self.packet(&[0x03, (state << 2) | 1, pressure, 0, 0, 0]);
            return;
        }
        let finished =
            self.setup.scenario.monitor_cuff.iter().find(|cuff| cuff.at_s == second).copied();
        let new = finished.filter(|_| self.result.is_none() && self.reported != Some(elapsed));
        if let Some(cuff) = new {
            self.result = Some(cuff);
            self.reported = Some(elapsed);
            for (metric, value) in
                ["nibp_sys", "nibp_mean", "nibp_dia"].into_iter().zip(cuff.pressure)
            {
                self.notes.value(at, metric, "", "mm[Hg]", Ok(value.to_string()));
            }
        }
        if let Some(cuff) = self.result {
            // The module repeats its last result; it is one measurement.
            let [systolic, mean, diastolic] = cuff.pressure;
            self.packet(&[0x03, 1, 0, systolic, mean, diastolic]);
        }
    }

    fn close_full_blocks(&mut self, at: SimTime) {
        for stream in [ECG, PLETH, RESPIRATION] {
            let (len, full) = match stream {
                ECG => (self.leads[1].len(), 250),
                PLETH => (self.pleth.len(), 50),
                _ => (self.resp.len(), 50),
            };
            if len >= full {
                self.end_blocks(at, stream);
            }
        }
    }

    fn end_blocks(&mut self, at: SimTime, stream: usize) {
        match stream {
            ECG => {
                for (metric, samples) in LEADS.into_iter().zip(&mut self.leads) {
                    self.notes.block(at, metric, &std::mem::take(samples));
                }
            }
            PLETH => self.notes.block(at, "pleth", &std::mem::take(&mut self.pleth)),
            _ => self.notes.block(at, "resp_wave", &std::mem::take(&mut self.resp)),
        }
    }
}

/// "55 AA, N = payload + 2, payload, SUM = NOT of the sum from N", §3 and §4.
fn encode(payload: &[u8]) -> Vec<u8> {
    let count = u8::try_from(payload.len() + 2).unwrap_or(u8::MAX);
    let sum = payload.iter().fold(count, |sum, byte| sum.wrapping_add(*byte));
    let mut frame = vec![0x55, 0xAA, count];
    frame.extend(payload);
    frame.push(!sum);
    frame
}

fn hundredths(value: i8) -> String {
    let sign = if value < 0 { "-" } else { "" };
    format!("{sign}{}.{:02}", value.unsigned_abs() / 100, value.unsigned_abs() % 100)
}

impl VirtualDevice for Monitor {
    fn receive(&mut self, now: SimTime, bytes: &[u8]) {
        if self.off {
            return;
        }
        self.input.extend(bytes);
        // Commands are always 55 AA 04 A1 A2 SUM.
        while let Some(&[first, second, count, function, argument, sum]) = self.input.first_chunk()
        {
            let good = [first, second, count] == [0x55, 0xAA, 4]
                && sum == !4_u8.wrapping_add(function).wrapping_add(argument);
            if good {
                self.input.drain(..6);
                self.command(now, function, argument);
            } else {
                self.input.remove(0);
            }
        }
    }

    fn advance(&mut self, now: SimTime) {
        loop {
            let streams = self.due.iter_mut().zip(PERIOD_US).enumerate();
            let next = streams
                .filter_map(|(stream, (slot, period))| {
                    Some((*slot.as_ref()?, stream, slot, period))
                })
                .min_by_key(|(due, stream, ..)| (*due, *stream));
            let Some((due, stream, slot, period)) = next.filter(|(due, ..)| *due <= now.0) else {
                return;
            };
            if now.0 - due > LATE_MAX_US {
                *slot = Some(now.0);
                continue;
            }
            *slot = Some(due + period);
            self.send(stream, SimTime(due));
        }
    }

    fn next_due(&self) -> Option<SimTime> {
        self.due.iter().flatten().min().map(|due| SimTime(*due))
    }

    fn take_output(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.out)
    }

    fn take_truth(&mut self) -> Vec<Truth> {
        self.notes.take()
    }

    fn switch_off(&mut self, now: SimTime) {
        for stream in [ECG, PLETH, RESPIRATION] {
            self.end_blocks(now, stream);
        }
        self.due = [None; 7];
        self.off = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().join(" ")
    }

    /// The sheet's own examples, byte by byte.
    #[test]
    fn packets_are_those_of_the_sheet() {
        for (payload, expected) in [
            (vec![0x01, 128, 128, 128, 128, 128, 128, 128], "55 AA 0A 01 80 80 80 80 80 80 80 74"),
            (vec![0x02, 0x18, 75, 16, 6, 1], "55 AA 08 02 18 4B 10 06 01 7B"),
            (vec![0x03, 5, 62, 0, 0, 0], "55 AA 08 03 05 3E 00 00 00 B1"),
            (vec![0x04, 0, 98, 75], "55 AA 06 04 00 62 4B 48"),
            (vec![0x05, 0, 36, 5, 37, 1], "55 AA 08 05 00 24 05 25 01 A3"),
            (vec![0x30], "55 AA 03 30 CC"),
            (vec![0xFE, 40], "55 AA 04 FE 28 D5"),
        ] {
            assert_eq!(hex(&encode(&payload)), expected);
        }
    }

    fn monitor() -> Monitor {
        Monitor::new(Setup {
            device: "ecg-01".into(),
            seed: 1,
            clock: crate::StageClock { wall_start_ms: 1_795_335_300_000, utc_offset_s: 28_800 },
            scenario: Scenario::built_in("clinic-day").unwrap(),
            ecg: crate::EcgSource::Recording,
        })
    }

    #[test]
    fn the_module_is_silent_until_it_is_enabled() {
        let mut monitor = monitor();
        monitor.advance(SimTime::from_millis(5000));
        assert!(monitor.take_output().is_empty() && monitor.next_due().is_none());
        monitor.receive(SimTime::from_millis(5000), &[0x55, 0xAA, 0x04, 0x01, 0x01, 0xF9]);
        monitor.advance(SimTime::from_millis(6000));
        assert_eq!(monitor.take_output().len() / 12, 251);
    }

    #[test]
    fn inflating_the_cuff_is_recorded_and_not_obeyed() {
        let mut monitor = monitor();
        monitor.receive(SimTime(0), &[0x55, 0xAA, 0x04, 0x02, 0x01, 0xF8]);
        let truth = monitor.take_truth();
        assert_eq!(truth[0].forbidden.as_deref(), Some("02 01"));
        assert!(monitor.take_output().is_empty());
    }

    #[test]
    fn the_same_seed_gives_the_same_bytes() {
        let run = || {
            let mut monitor = monitor();
            for function in [0x01, 0x03, 0x04, 0xFE, 0xFF] {
                monitor.receive(SimTime(0), &encode(&[function, 1]));
            }
            monitor.advance(SimTime::from_millis(1500));
            monitor.take_output()
        };
        assert_eq!(run(), run());
    }
}
