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
/// "15–30 °C is a probe lying on the bed" (metric catalogue), in tenths.
const ON_BED: std::ops::RangeInclusive<u16> = 150..=300;
/// "Values ≤ 2 or ≥ 247 mean amplifier saturation", §6.1.
const RAILS: [u8; 2] = [0, 250];
/// Zero of a lead, §6.1, and one of 40 steps in a millivolt.
const ECG_ZERO: u8 = 128;
const ECG_STEP_UV: i32 = 25;
/// "Version text, ASCII", §6.
const FIRMWARE: &[u8] = b"V3.2";
const HARDWARE: &[u8] = b"PM6750";
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
    weak: bool,
    arrhythmia: u8,
    oximeter: u8,
    /// Which temperature probes are not on a body.
    probes_off: [bool; 2],
    /// How the last measurement ended, once it has: pressures, or the state that says why not.
    result: Option<Result<Cuff, u8>>,
    reported: Option<u64>,
    off: bool,
}

impl Monitor {
    /// A module that was just switched on.
    #[must_use]
    pub fn new(setup: Setup) -> Self {
        Self {
            notes: Notebook::new(&setup.device, setup.clock),
            ecg: EcgPlayer::new(&setup.patient),
            setup,
            out: Vec::new(),
            input: Vec::new(),
            due: [None; 7],
            leads: Default::default(),
            pleth: Vec::new(),
            resp: Vec::new(),
            lead_off: false,
            weak: false,
            arrhythmia: 1,
            oximeter: 0,
            probes_off: [false; 2],
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
            0xFC => self.packet(&[&[0xFC][..], FIRMWARE].concat()),
            0xFD => self.packet(&[&[0xFD][..], HARDWARE].concat()),
            0x07 | 0x08 | 0x0F => {}
            // Inflation, its preparation, calibration and factory tests.
            0x02 | 0x09..=0x0E | 0x10 => {
                self.notes.forbidden(now, &format!("{function:02x} {argument:02x}"));
            }
            _ => {}
        }
    }

    fn send(&mut self, stream: usize, at: SimTime) {
        let second = self.setup.patient.scenario.second(at.0 / 1_000_000);
        let seed = self.setup.seed;
        let vary = |salt, span| {
            u8::try_from(variation(seed, at.0 / 1_000_000, salt, span)).unwrap_or_default()
        };
        let lead_off = Scenario::during(&self.setup.patient.scenario.leads_off, second);
        match stream {
            ECG => {
                let sample = self.ecg.sample(at, &self.setup.patient);
                let beat = sample.beat && !lead_off;
                let mut leads = match lead_off {
                    true => [ECG_ZERO; 7],
                    false => sample.leads(ECG_STEP_UV).map(count),
                };
                if Scenario::during(&self.setup.patient.scenario.saturation, second) {
                    // As in the captured packet: some leads at the rails.
                    [leads[2], leads[0]] = RAILS;
                }
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
            SPO2 => self.oximeter(at, second, vary(3, 1)),
            TEMPERATURE => self.temperatures(at, second),
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

    fn oximeter(&mut self, at: SimTime, second: u64, extra: u8) {
        let vitals = self.setup.patient.vitals(second);
        let status = self.setup.patient.scenario.oximeter(second);
        let (saturation, pulse) = match status {
            0 => (vitals.spo2, vitals.hr.saturating_add(extra)),
            _ => (127, 255),
        };
        self.packet(&[0x04, status, saturation, pulse]);
        let said = |value: u8| match status {
            0 => Ok(value.to_string()),
            1 | 2 => Err("sensor_off"),
            _ => Err("searching"),
        };
        self.notes.value(at, "spo2", "", "%", said(saturation));
        self.notes.value(at, "pulse_oxim", "", "/min", said(pulse));
        // "SpO2 status 1/2/4 → probe off / no finger / search timeout", §8.
        let name = |status| match status {
            1 => Some("spo2_probe_off"),
            2 => Some("spo2_no_finger"),
            4 => Some("spo2_search_timeout"),
            _ => None,
        };
        let before = std::mem::replace(&mut self.oximeter, status);
        for (status, starts) in [(before, false), (status, true)] {
            if let Some(code) = name(status).filter(|_| before != self.oximeter) {
                self.notes.alarm(at, code, starts);
            }
        }
    }

    fn temperatures(&mut self, at: SimTime, second: u64) {
        let vitals = self.setup.patient.vitals(second);
        let status = self.setup.patient.scenario.temperature_off(second);
        let mut packet = vec![0x05, status];
        for (probe, channel) in ["t1", "t2"].into_iter().enumerate() {
            let unplugged = status & (1 << probe) != 0;
            let tenths = match vitals.temperature.get(probe) {
                Some(tenths) if !unplugged => *tenths,
                _ => 0,
            };
            packet.extend([tenths / 10, tenths % 10].map(|part| u8::try_from(part).unwrap_or(0)));
            let off = unplugged || ON_BED.contains(&tenths);
            let said = match off {
                true => Err("sensor_off"),
                false => Ok(format!("{}.{}", tenths / 10, tenths % 10)),
            };
            self.notes.value(at, "temp", channel, "Cel", said);
            if let Some(before) = self.probes_off.get_mut(probe)
                && std::mem::replace(before, off) != off
            {
                self.notes.alarm_on(at, channel, "temp_probe_off", off);
            }
        }
        self.packet(&packet);
    }

    fn parameters(&mut self, at: SimTime, second: u64, lead_off: bool) {
        let vitals = self.setup.patient.vitals(second);
        let hr = self.setup.patient.heart_rate(at.0 / 1_000_000);
        let arrhythmia = self.setup.patient.scenario.arrhythmia(second);
        let weak = Scenario::during(&self.setup.patient.scenario.weak_signal, second);
        // Gain ×1, monitor mode; bit 1: lead off.
        let (status, hr, rr) = match lead_off {
            true => (0x1A, 0, 0),
            false => (0x18 | u8::from(weak), hr, vitals.rr),
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
        if std::mem::replace(&mut self.weak, weak) != weak {
            self.notes.alarm(at, "weak_signal", weak);
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
        let second = self.setup.patient.scenario.second(elapsed);
        let scenario = &self.setup.patient.scenario;
        let good = scenario.monitor_cuff.iter().map(|cuff| (cuff.at_s, Ok(*cuff)));
        let failed = scenario.monitor_cuff_failed.iter().map(|(at_s, state)| (*at_s, Err(*state)));
        let story: Vec<(u64, Result<Cuff, u8>)> = good.chain(failed).collect();
        let works = |at_s: u64| (at_s.saturating_sub(MEASURING_S)..at_s).contains(&second);
        if let Some((at_s, _)) = story.iter().find(|(at_s, _)| works(*at_s)) {
            let left = at_s - second;
            let (state, pressure) = match MEASURING_S - left {
                0 => (9, 0),
                1 => (10, 0),
                phase => (1, u8::try_from(left * 12 + phase).unwrap_or(60)),
            };
            if let Some(Err(failure)) = self.result.take() {
                self.notes.alarm(at, &format!("nibp_{failure}"), false);
            }
            self.packet(&[0x03, (state << 2) | 1, pressure, 0, 0, 0]);
            return;
        }
        let finished = story.iter().find(|(at_s, _)| *at_s == second).map(|(_, outcome)| *outcome);
        let new = finished.filter(|_| self.result.is_none() && self.reported != Some(elapsed));
        if let Some(outcome) = new {
            self.result = Some(outcome);
            self.reported = Some(elapsed);
            self.note_cuff(at, outcome);
        }
        match self.result {
            // The module repeats its last result; it is one measurement.
            Some(Ok(cuff)) => {
                let [systolic, mean, diastolic] = cuff.pressure;
                self.packet(&[0x03, 1, 0, systolic, mean, diastolic]);
            }
            Some(Err(state)) => self.packet(&[0x03, (state << 2) | 1, 0, 0, 0, 0]),
            None => {}
        }
    }

    fn note_cuff(&mut self, at: SimTime, outcome: Result<Cuff, u8>) {
        let parts = ["nibp_sys", "nibp_mean", "nibp_dia"].into_iter();
        match outcome {
            Ok(cuff) => {
                for (metric, value) in parts.zip(cuff.pressure) {
                    self.notes.value(at, metric, "", "mm[Hg]", Ok(value.to_string()));
                }
            }
            Err(state) => {
                // "States 3, 4, 5, 6, 8: device_error(state); state 7: motion".
                let reason = if state == 7 { "motion" } else { "device_error" };
                for metric in parts {
                    self.notes.value(at, metric, "", "mm[Hg]", Err(reason));
                }
                self.notes.alarm(at, &format!("nibp_{state}"), true);
            }
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

/// A lead on the wire, within the rails.
fn count(steps: i32) -> u8 {
    let [low, high] = RAILS;
    let count = i32::from(ECG_ZERO).saturating_add(steps).clamp(low.into(), high.into());
    u8::try_from(count).unwrap_or(ECG_ZERO)
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
    use crate::Patient;

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

    /// The packets of the vectors come out of our encoder byte by byte.
    #[test]
    fn every_vector_is_encoded_back() {
        let text = include_str!("../../../../tests/vectors/pm6750/packets.toml");
        for bytes in crate::vectors::frames(text, None) {
            let mut rest = bytes.as_slice();
            while let [_, _, count, ..] = rest {
                let (packet, later) = rest.split_at(usize::from(*count) + 2);
                assert_eq!(encode(&packet[3..packet.len() - 1]), packet);
                rest = later;
            }
            assert!(rest.is_empty());
        }
    }

    fn monitor() -> Monitor {
        Monitor::new(Setup {
            device: "ecg-01".into(),
            seed: 1,
            clock: crate::StageClock { wall_start_ms: 1_795_335_300_000, utc_offset_s: 28_800 },
            patient: Patient::new(
                1,
                Scenario::built_in("clinic-day").unwrap(),
                crate::EcgSource::Recording,
            ),
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

    /// The payloads of packets with that identifier, second by second.
    fn payloads(monitor: &mut Monitor, id: u8, seconds: std::ops::Range<u64>) -> Vec<Vec<Vec<u8>>> {
        let second = |second: u64| {
            monitor.advance(SimTime::from_millis(second * 1000 + 999));
            let bytes = monitor.take_output();
            let mut rest = bytes.as_slice();
            let mut found = Vec::new();
            while let [_, _, count, packet @ ..] = rest {
                let (packet, later) = packet.split_at(usize::from(*count) - 1);
                found.extend((packet[0] == id).then(|| packet[1..packet.len() - 1].to_vec()));
                rest = later;
            }
            found
        };
        seconds.map(second).collect()
    }

    /// `faults`: leads off from 20 to 28, no heart beat from 60 to 72, saturated from 80 to 90.
    #[test]
    fn beats_come_with_the_r_waves_of_a_heart_that_beats() {
        let setup = Setup {
            patient: Patient::new(
                1,
                Scenario::built_in("faults").unwrap(),
                crate::EcgSource::Synthetic,
            ),
            ..monitor().setup
        };
        let start = || {
            let mut monitor = Monitor::new(setup.clone());
            monitor.receive(SimTime(0), &encode(&[0x01, 1]));
            monitor
        };
        let beats: Vec<usize> = payloads(&mut start(), 0x30, 0..180).iter().map(Vec::len).collect();
        let count = |from: usize, until: usize| beats[from..until].iter().sum::<usize>();
        assert!((22..=28).contains(&count(0, 20)), "75 a minute: {beats:?}");
        assert_eq!((count(20, 28), count(60, 72)), (0, 0));
        assert!((10..=13).contains(&count(72, 80)), "88 a minute: {beats:?}");
        let waves = payloads(&mut start(), 0x01, 0..180);
        for (second, samples) in waves.iter().enumerate() {
            let of = |lead: usize| samples.iter().map(move |leads| leads[lead]);
            let (lowest, highest) = (of(1).min().unwrap(), of(1).max().unwrap());
            match second {
                20..28 => assert_eq!((lowest, highest), (128, 128)),
                // A fifth of the signal, no signal, or its last wave.
                32..42 | 60..72 => assert!(highest < 128 + 25, "{highest} at {second}"),
                // At 36 a minute and more a beat is in any two seconds.
                _ => assert!((100..128).contains(&lowest), "{lowest} at {second}"),
            }
            assert!(
                (80..90).contains(&second) || of(0).chain(of(2)).all(|at| (3..247).contains(&at))
            );
        }
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
