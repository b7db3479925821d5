//! A B. Braun SpaceStation with one pump, from the protocol sheet alone: reads out, obeys nothing.
//!
//! Silent until it is asked to be alive; a block of parameters per answer, each to be acknowledged.

use crate::{
    Setup, SimTime, VirtualDevice,
    scenario::Scenario,
    truth::{Notebook, Truth},
};

const SOH: u8 = 0x01;
const STX: u8 = 0x02;
const ETX: u8 = 0x03;
const EOT: u8 = 0x04;
const ACK: u8 = 0x06;
const NAK: u8 = 0x15;
const ETB: u8 = 0x17;
/// Between records.
const RS: u8 = 0x1E;
const BED: &str = "WARD3BED2";
/// The pump's serial number: the lower 24 bits of INNR.
const SERIAL: &str = "40864";
/// Rate 36.00 ml/h is 0.01 ml a second.
const RATE: u64 = 3600;
/// VTBI in hundredths of a millilitre.
const VTBI: u64 = 5_000;
/// Requests are shorter than this.
const INPUT_MAX: usize = 256;

/// The station.
#[derive(Debug)]
pub struct Station {
    setup: Setup,
    notes: Notebook,
    out: Vec<u8>,
    input: Vec<u8>,
    alive: bool,
    seen: bool,
    /// The block that waits for its acknowledgement, with its truth.
    waiting: Option<(Vec<u8>, Vec<Truth>)>,
    next_block: Option<u8>,
    /// Hundredths of a millilitre infused, and when that was reckoned.
    infused: u64,
    reckoned_s: u64,
    occluded: bool,
    off: bool,
}

impl Station {
    /// A station that was just switched on.
    #[must_use]
    pub fn new(setup: Setup) -> Self {
        let serial = format!("{}-{SERIAL}", setup.device);
        Self {
            notes: Notebook::new(&serial, setup.clock),
            setup,
            out: Vec::new(),
            input: Vec::new(),
            alive: false,
            seen: false,
            waiting: None,
            next_block: None,
            infused: 0,
            reckoned_s: 0,
            occluded: false,
            off: false,
        }
    }

    fn occlusion(&self, second: u64) -> bool {
        Scenario::during(&self.setup.scenario.occlusion, self.setup.scenario.second(second))
    }

    /// "Advance INVI by INRT", §11; a blocked line lets nothing through.
    fn reckon(&mut self, now: SimTime) {
        let second = now.0 / 1_000_000;
        while self.reckoned_s < second {
            self.reckoned_s += 1;
            if !self.occlusion(self.reckoned_s) {
                self.infused = (self.infused + RATE / 3600) % VTBI;
            }
        }
    }

    fn request(&mut self, now: SimTime, frame: &[u8]) {
        let Some((bed, command)) = information(frame) else { return };
        let answer = |text: &str| vec![format!("50100,{text}")];
        match command.as_str() {
            "ADMIN:ALIVE" => {
                (self.alive, self.waiting, self.next_block) = (true, None, None);
                self.answer(now, ETX, &answer("GNACK,0"), Vec::new());
            }
            _ if !self.alive => {}
            _ if bed != BED => self.answer(now, ETX, &answer("GNERR,68"), Vec::new()),
            "ADMIN:VERSION" => self.answer(now, ETX, &answer("V3.30"), Vec::new()),
            // A new request restarts at the first block.
            "MEM:GET" => self.block(now, 0),
            _ => self.answer(now, ETX, &answer("GNERR,68"), Vec::new()),
        }
    }

    fn block(&mut self, now: SimTime, number: u8) {
        if number == 0 {
            self.next_block = Some(1);
            let records = ["FMNOR,1", "FMSTAT,00051", "FMRT,FMS3NSNS"];
            let records: Vec<String> =
                records.iter().map(|record| format!("50100,{record}")).collect();
            self.answer(now, ETB, &records, Vec::new());
            return;
        }
        self.next_block = None;
        self.reckon(now);
        let occluded = self.occlusion(now.0 / 1_000_000);
        let before = std::mem::replace(&mut self.occluded, occluded);
        let (records, truth) = self.pump(now, occluded);
        if before != occluded {
            self.notes.alarm(now, "INA3", occluded);
        }
        self.answer(now, ETX, &records, truth);
    }

    fn pump(&mut self, now: SimTime, occluded: bool) -> (Vec<String>, Vec<Truth>) {
        let model = if self.seen { "GNMODEL" } else { "GNNEW" };
        self.seen = true;
        let left = VTBI - self.infused;
        let hundredths = |value: u64| format!("{}.{:02}", value / 100, value % 100);
        let tenths = |value: u64| format!("{}.{}", value / 100, value / 10 % 10);
        let rate = if occluded { "0.00".to_owned() } else { hundredths(RATE) };
        // Seconds until the volume is in; the pump says 65535 while it stands still.
        let seconds_left = if occluded { 65_535 } else { left * 3600 / RATE };
        let flag = |set: bool| if set { "1" } else { "0" }.to_owned();
        let text = |text: &str| text.to_owned();
        let drug = "多巴胺";
        let state = if occluded { "alarm" } else { "infusing" };
        let parameters = [
            (model, text("688N030003")),
            ("INRT", rate.clone()),
            ("INVTB", tenths(VTBI)),
            ("VOLREMAIN", tenths(left)),
            ("INVI", tenths(self.infused)),
            ("INRMT", seconds_left.to_string()),
            ("INSOL", text(drug)),
            ("INSYR", text("50")),
            ("INAKKU", text("240")),
            ("INNR", text("60009FA0")),
            ("INSERNUM", text(SERIAL)),
            ("DSSTATUS", text("00051")),
            ("INDOCAL", text("0")),
            ("INM1", text("0")),
            ("INM2", text("0")),
            ("INM3", flag(!occluded)),
            ("INM6", text("0")),
            ("INM8", text("1")),
            ("INM10", text("0")),
            ("INP2", text(if occluded { "100" } else { "35" })),
            ("INA1", text("0")),
            ("INA3", flag(occluded)),
            ("INA6", text("_NV")),
            ("INA7", text("0")),
            ("INA12", text("0")),
            ("INA15", text("0")),
        ];
        let records = parameters.into_iter().map(|(name, value)| format!("50111,{name},{value}"));
        let remaining = match seconds_left {
            65_535 => Err("not_available"),
            seconds => Ok(seconds.to_string()),
        };
        let said = [
            ("pump_rate", Some("mL/h"), Ok(rate)),
            ("pump_vtbi", Some("mL"), Ok(tenths(VTBI))),
            ("pump_vtbi_rem", Some("mL"), Ok(tenths(left))),
            ("pump_vi", Some("mL"), Ok(tenths(self.infused))),
            ("pump_time_rem", Some("s"), remaining),
            ("pump_drug", None, Ok(text(drug))),
            ("pump_syr", Some("mL"), Ok(text("50"))),
            ("batt_min", Some("min"), Ok(text("240"))),
            ("power", None, Ok(text("onMains"))),
            ("pump_state", None, Ok(text(state))),
        ];
        let truth = said.into_iter().map(|(metric, unit, value)| {
            let mut fact = self.notes.fact(now);
            fact.metric = Some(metric);
            match value {
                Ok(value) => (fact.value, fact.unit) = (Some(value), unit),
                Err(reason) => fact.no_data = Some(reason),
            }
            fact
        });
        (records.collect(), truth.collect())
    }

    fn answer(&mut self, now: SimTime, end: u8, records: &[String], truth: Vec<Truth>) {
        let time = now.0 / 1_000_000;
        let records: Vec<String> =
            records.iter().map(|record| format!("{time},{record}")).collect();
        let information = records.join(&char::from(RS).to_string());
        let frame = encode(BED, information.as_bytes(), end);
        self.out.extend(&frame);
        self.waiting = Some((frame, truth));
    }

    fn acknowledged(&mut self, now: SimTime) {
        if let Some((_, truth)) = self.waiting.take() {
            truth.into_iter().for_each(|fact| self.notes.push(fact));
            if let Some(number) = self.next_block {
                self.block(now, number);
            }
        }
    }
}

/// Frame of §3: SOH, length, STX, bed and information, end, sum, EOT.
fn encode(bed: &str, information: &[u8], end: u8) -> Vec<u8> {
    let len = 19 + bed.len() + information.len();
    let mut frame = vec![SOH];
    frame.extend(format!("{len:05}").bytes());
    frame.push(STX);
    frame.extend(bed.bytes());
    frame.extend(b"/1/1>");
    frame.extend(information);
    frame.push(end);
    let sum = frame.iter().fold(0_u64, |sum, byte| sum + u64::from(*byte)) % 256;
    frame.extend(format!("{sum:05}").bytes());
    frame.push(EOT);
    frame
}

/// Bed and command of a request whose length and sum are right.
fn information(frame: &[u8]) -> Option<(String, String)> {
    let text = frame.get(7..frame.len().checked_sub(7)?)?;
    let text = String::from_utf8(text.to_vec()).ok()?;
    let (bed, command) = text.split_once("/1/1>")?;
    (encode(bed, command.as_bytes(), ETX) == frame).then(|| (bed.to_owned(), command.to_owned()))
}

impl VirtualDevice for Station {
    fn receive(&mut self, now: SimTime, bytes: &[u8]) {
        if self.off {
            return;
        }
        for byte in bytes {
            match (*byte, self.input.is_empty()) {
                (ACK, true) => self.acknowledged(now),
                (NAK, true) => {
                    let again = self.waiting.as_ref().map(|(frame, _)| frame.clone());
                    self.out.extend(again.into_iter().flatten());
                }
                (SOH, _) => self.input = vec![SOH],
                (_, true) => {}
                (EOT, false) => {
                    self.input.push(EOT);
                    let frame = std::mem::take(&mut self.input);
                    self.request(now, &frame);
                }
                (byte, false) if self.input.len() < INPUT_MAX => self.input.push(byte),
                (_, false) => self.input.clear(),
            }
        }
    }

    fn advance(&mut self, now: SimTime) {
        self.reckon(now);
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
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{EcgSource, StageClock};

    fn station() -> Station {
        Station::new(Setup {
            device: "pump-01".into(),
            seed: 1,
            clock: StageClock { wall_start_ms: 0, utc_offset_s: 0 },
            scenario: Scenario::built_in("clinic-day").unwrap(),
            ecg: EcgSource::Synthetic,
        })
    }

    fn frame(text: &str) -> Vec<u8> {
        let marks = [("<SOH>", SOH), ("<STX>", STX), ("<ETX>", ETX), ("<EOT>", EOT)];
        let text = marks.iter().fold(text.to_owned(), |text, (mark, byte)| {
            text.replace(mark, &char::from(*byte).to_string())
        });
        text.into_bytes()
    }

    /// Sheet §9.1 and §9.3.
    #[test]
    fn frames_are_those_of_the_sheet() {
        for (bed, information, expected) in [
            ("1", "ADMIN:ALIVE", "<SOH>00031<STX>1/1/1>ADMIN:ALIVE<ETX>00061<EOT>"),
            (
                BED,
                "206,50100,GNACK,0",
                "<SOH>00045<STX>WARD3BED2/1/1>206,50100,GNACK,0<ETX>00001<EOT>",
            ),
            (BED, "MEM:GET", "<SOH>00035<STX>WARD3BED2/1/1>MEM:GET<ETX>00083<EOT>"),
            (
                BED,
                "220,50112,GNERR,39",
                "<SOH>00046<STX>WARD3BED2/1/1>220,50112,GNERR,39<ETX>00087<EOT>",
            ),
        ] {
            assert_eq!(encode(bed, information.as_bytes(), ETX), frame(expected));
        }
    }

    #[test]
    fn the_station_is_silent_until_it_is_asked_to_be_alive() {
        let mut station = station();
        station.receive(SimTime(0), &encode(BED, b"MEM:GET", ETX));
        assert!(station.take_output().is_empty());
        station.receive(SimTime(0), &encode("1", b"ADMIN:ALIVE", ETX));
        assert_eq!(station.take_output(), encode(BED, b"0,50100,GNACK,0", ETX));
    }

    #[test]
    fn a_block_is_truth_once_it_is_acknowledged_and_comes_again_when_it_is_not() {
        let mut station = station();
        station.receive(SimTime(0), &encode("1", b"ADMIN:ALIVE", ETX));
        station.receive(SimTime(0), &[ACK]);
        station.receive(SimTime(0), &encode(BED, b"MEM:GET", ETX));
        station.take_output();
        station.receive(SimTime(0), &[ACK]);
        let block = station.take_output();
        station.receive(SimTime(0), &[NAK]);
        assert_eq!(station.take_output(), block);
        assert!(station.take_truth().is_empty());
        station.receive(SimTime(0), &[ACK]);
        assert_eq!(station.take_truth().len(), 10);
    }
}
