//! A B. Braun SpaceStation with its pumps, from the protocol sheet alone: reads out, obeys nothing.
//!
//! Silent until it is asked to be alive; then a block of parameters per answer, each to be
//! acknowledged. The story says how it is configured, or the seed, of which four of eight are polite:
//!
//! | seed mod 8 | pumps | alarms | stuffing | pushes | polite |
//! | --- | --- | --- | --- | --- | --- |
//! | 0 | 3 | flags | – | – | yes |
//! | 1 | 1 | flags | – | – | yes |
//! | 2 | 3 | bit fields | – | – | – |
//! | 3 | 3 | flags | yes | – | – |
//! | 4 | 3 | bit fields | yes | – | yes |
//! | 5 | 3 | flags | – | every 5 s | yes |
//! | 6 | 3 | bit fields | yes | every 5 s | – |
//! | 7 | 2 | flags | – | – | – |
//!
//! A rude one answers late, slowly or not at all, damages a block, sends half a frame before one,
//! loses its last pump for a while, and may be switched off and on.
//!
//! - `frame`: framing and stuffing
//! - `pump`: what a pump infuses and what its block says
//!
//! # Invariants
//! - a block is truth when it is acknowledged, or when the power goes right behind it

mod frame;
mod pump;

use super::wire::Wire;
use crate::{
    Scenario, Setup, SimTime, VirtualDevice, scenario,
    temper::Temper,
    truth::{Notebook, Truth},
};
use frame::{ACK, EOT, ETB, ETX, NAK, RS, SOH, decode, destuff, encode, stuff};
use pump::{Form, Model, Pump};
use std::collections::VecDeque;

const BED: &str = "WARD3BED2";
/// Requests are shorter than this.
const INPUT_MAX: usize = 256;
/// 9600 8N1, §2: ten bits a byte.
const SLOW_BYTE_US: u64 = 1_040;
/// "No answer to a request in 3 s", §6: later than this is none.
const LATE_MS: u64 = 1_500;
/// "Default 5 s", §6.
const CYCLE_S: u64 = 5;
const PUMPS: [Model; 3] = [Model::Perfusor, Model::Infusomat, Model::Compactplus];
/// A rude station loses its last pump in these seconds of the story, if the story takes none away.
const AWAY: (u64, u64) = (95, 120);
/// The power of a rude station fails at this second, before any pump alarms: whether an alarm that
/// is still up afterwards begins anew, the sheet does not say.
const REBOOT_S: u64 = 25;
/// What may come before a frame: noise, and a frame that a new SOH aborts, §10.
const HALF_FRAME: &[u8] = b"\x00\xFF\x0100219\x02WARD3BED2/1/1>230,50111,INRT,99";

/// The station.
#[derive(Debug)]
pub struct Station {
    setup: Setup,
    config: scenario::Station,
    notes: Notebook,
    temper: Temper,
    form: Form,
    pumps: Vec<Pump>,
    wire: Wire,
    input: Vec<u8>,
    is_alive: bool,
    /// The last request was not heard.
    is_unheard: bool,
    /// Since when the ComDevice is on.
    on_since_s: u64,
    reckoned_s: u64,
    /// What is still to come of this answer.
    queue: VecDeque<Part>,
    /// The block that waits for its acknowledgement.
    waiting: Option<Sent>,
    next_cycle_s: u64,
    off: bool,
}

/// A block of an answer.
#[derive(Clone, Copy, Debug)]
enum Part {
    General,
    Pump(usize),
    NoPumps,
}

/// A block on its way.
#[derive(Debug)]
struct Sent {
    frame: Vec<u8>,
    /// As it went out last.
    is_sound: bool,
    facts: Vec<Truth>,
    alarms: Option<(usize, Vec<&'static str>)>,
}

impl Station {
    /// A station that was just switched on.
    #[must_use]
    pub fn new(setup: Setup) -> Self {
        let temper = Temper::new(setup.seed);
        let config = setup.patient.scenario.station.unwrap_or_else(|| configured(setup.seed));
        let count = usize::from(config.pumps).min(PUMPS.len());
        let is_plain = count == 1;
        let pump = |model: &Model| {
            let mut pump = Pump::new(&setup.device, *model, is_plain, &temper);
            pump.follow(&setup.patient.scenario, 0);
            pump
        };
        Self {
            notes: Notebook::new(&setup.device, setup.clock),
            form: match config.bit_fields {
                true => Form::Bits(temper.property(34, 3)),
                false => Form::Flags,
            },
            pumps: PUMPS.iter().take(count).map(pump).collect(),
            config,
            temper,
            wire: Wire::default(),
            input: Vec::new(),
            is_alive: false,
            is_unheard: false,
            on_since_s: 0,
            reckoned_s: 0,
            queue: VecDeque::new(),
            waiting: None,
            next_cycle_s: 0,
            off: false,
            setup,
        }
    }

    fn is_away_at(&self, second: u64) -> bool {
        let spans = &self.setup.patient.scenario.pump_away;
        let own = [AWAY];
        let spans = match spans.is_empty() && !self.temper.is_polite() {
            true => own.as_slice(),
            false => spans.as_slice(),
        };
        Scenario::during(spans, self.setup.patient.scenario.second(second))
    }

    /// Lets every second up to now happen.
    fn reckon(&mut self, now: SimTime) {
        while self.reckoned_s < now.0 / 1_000_000 {
            self.reckoned_s += 1;
            let at = SimTime(self.reckoned_s * 1_000_000);
            self.wire.advance(at, &mut self.notes);
            for pump in &mut self.pumps {
                pump.pass(self.reckoned_s, &self.setup.patient.scenario);
            }
            let is_away = self.is_away_at(self.reckoned_s);
            if let Some(last) = self.pumps.last_mut() {
                if last.is_away && !is_away {
                    // It is new to the station, and so are its alarms.
                    (last.is_seen, last.is_missed) = (false, false);
                    last.told.clear();
                }
                last.is_away = is_away;
            }
            if self.reckoned_s == REBOOT_S && self.temper.property(35, 2) == 1 {
                self.reboot(at);
            }
            self.push(at);
        }
    }

    /// "Time goes backwards → ComDevice rebooted", §10.
    fn reboot(&mut self, at: SimTime) {
        self.last_said(at);
        (self.is_alive, self.on_since_s) = (false, self.reckoned_s);
        (self.waiting, self.queue) = (None, VecDeque::new());
        self.wire.clear();
        self.input.clear();
        for pump in &mut self.pumps {
            (pump.is_seen, pump.is_missed) = (false, pump.is_away);
            pump.told.clear();
        }
    }

    /// "Pushes all pumps every cycle time and, within 1 s, the block of any pump whose trigger
    /// parameter changed", §6.
    fn push(&mut self, at: SimTime) {
        let Some(cycle_s) = self.config.cycle_s.filter(|_| self.is_alive) else { return };
        if self.waiting.is_some() || self.wire.next_due().is_some() {
            return;
        }
        if self.reckoned_s >= self.next_cycle_s {
            self.next_cycle_s = self.reckoned_s + cycle_s;
            self.start_cycle();
        } else {
            let changed =
                |pump: &Pump| pump.is_seen && !pump.is_away && pump.trigger != pump.state();
            let changed = self.pumps.iter().position(changed);
            self.queue.extend(changed.map(Part::Pump));
        }
        self.send_next(at);
    }

    fn start_cycle(&mut self) {
        self.queue = [Part::General].into();
        let told = |pump: &Pump| !pump.is_away || (pump.is_seen && !pump.is_missed);
        let pumps = self.pumps.iter().enumerate().filter(|(_, pump)| told(pump));
        self.queue.extend(pumps.map(|(number, _)| Part::Pump(number)));
        if self.queue.len() == 1 {
            self.queue.push_back(Part::NoPumps);
        }
    }

    fn request(&mut self, now: SimTime, raw: &[u8]) {
        if self.wire.next_due().is_some() {
            return;
        }
        // "Retry once, then LINK LOST", §6: never twice in a row.
        let was_unheard = std::mem::take(&mut self.is_unheard);
        self.is_unheard = !was_unheard && self.temper.once_in(20);
        if self.is_unheard {
            return;
        }
        let plain = decode(raw);
        let asked = match self.config.stuffing {
            // A host finds out by the answer to ALIVE, §3.1, so that one is taken either way.
            true => destuff(raw)
                .and_then(|frame| decode(&frame))
                .or(plain.filter(|(_, command)| command == "ADMIN:ALIVE")),
            false => plain,
        };
        match asked {
            Some((_, command)) if command == "ADMIN:ALIVE" => {
                (self.is_alive, self.queue) = (true, VecDeque::new());
                self.next_cycle_s = self.reckoned_s;
                self.say(now, "50100,GNACK,0");
            }
            _ if !self.is_alive => {}
            Some((bed, command)) if bed == BED => self.command(now, &command),
            // "68 syntax or checksum error in the request", §7.4; suggested for a wrong bed, §11.
            _ => self.say(now, "50100,GNERR,68"),
        }
    }

    fn command(&mut self, now: SimTime, command: &str) {
        let slot =
            command.strip_prefix("MEM:GETSLOT#").map(|slot| slot.chars().collect::<Vec<_>>());
        match (command, slot.as_deref()) {
            ("ADMIN:VERSION", _) => self.say(now, "50100,V3.30"),
            // A new request restarts at the first block.
            ("MEM:GET", _) => {
                self.start_cycle();
                self.send_next(now);
            }
            (_, Some(&[pillar, slot])) => self.slot(now, (pillar, slot)),
            _ => {
                // What is no question of the sheet might be an order of a station we do not know.
                self.notes.forbidden(now, command);
                self.say(now, "50100,GNERR,68");
            }
        }
    }

    fn slot(&mut self, now: SimTime, place: (char, char)) {
        let there = |pump: &Pump| pump.place == place && (!pump.is_away || !pump.is_missed);
        match self.pumps.iter().position(there) {
            Some(number) => {
                self.queue = [Part::Pump(number)].into();
                self.send_next(now);
            }
            None => self.say(now, &format!("501{}{},GNERR,811", place.0, place.1)),
        }
    }

    /// An answer of one record.
    fn say(&mut self, now: SimTime, record: &str) {
        self.queue.clear();
        self.send(now, &[record.to_owned()], Vec::new(), None);
    }

    fn send_next(&mut self, now: SimTime) {
        let Some(part) = self.queue.pop_front() else { return };
        let general = |records: &[&str]| -> Vec<String> {
            records.iter().map(|record| format!("50100,{record}")).collect()
        };
        match part {
            Part::General if self.pumps.len() > 2 => {
                let records = ["FMNOR,2", "FMSTAT,00051", "FMRT,FMS3S2NS", "FMBANY,_NV"];
                self.send(now, &general(&records), Vec::new(), None);
            }
            Part::General => {
                let records = ["FMNOR,1", "FMSTAT,00051", "FMRT,FMS3NSNS"];
                self.send(now, &general(&records), Vec::new(), None);
            }
            Part::NoPumps => self.send(now, &general(&["GNERR,11"]), Vec::new(), None),
            Part::Pump(number) => self.send_pump(now, number),
        }
    }

    fn send_pump(&mut self, now: SimTime, number: usize) {
        let Some(pump) = self.pumps.get_mut(number) else { return };
        if pump.is_away {
            // "39 pump removed or unreachable (once)", §7.4.
            pump.is_missed = true;
            pump.told.clear();
            let record = format!("{},GNERR,39", pump.address);
            self.send(now, &[record], Vec::new(), None);
            return;
        }
        pump.trigger = pump.state().to_owned();
        let said = pump.block(now, &self.notes, self.form, &mut self.temper);
        self.send(now, &said.records, said.facts, Some((number, said.alarms)));
    }

    fn send(
        &mut self,
        now: SimTime,
        records: &[String],
        facts: Vec<Truth>,
        alarms: Option<(usize, Vec<&'static str>)>,
    ) {
        let time = (now.0 / 1_000_000).saturating_sub(self.on_since_s);
        let records: Vec<String> =
            records.iter().map(|record| format!("{time},{record}")).collect();
        let information = records.join(&char::from(RS).to_string());
        let end = if self.queue.is_empty() { ETX } else { ETB };
        let frame = encode(BED, information.as_bytes(), end);
        let frame = if self.config.stuffing { stuff(&frame) } else { frame };
        if self.temper.once_in(10) {
            self.wire.send(now, 0, 0, HALF_FRAME, Vec::new());
        }
        let damaged = self.temper.once_in(16).then(|| damaged(&frame));
        self.put(now, damaged.as_ref().unwrap_or(&frame));
        let is_sound = damaged.is_none();
        // Whether the block before arrived nobody knows; the next one says what holds then.
        for fact in
            self.waiting.take().filter(|sent| sent.is_sound).into_iter().flat_map(|sent| sent.facts)
        {
            self.notes.unheard(now, fact);
        }
        self.waiting = Some(Sent { frame, is_sound, facts, alarms });
    }

    fn put(&mut self, now: SimTime, frame: &[u8]) {
        let late_ms = if self.temper.once_in(12) { LATE_MS } else { 100 };
        let delay_ms = if self.temper.is_polite() { 0 } else { self.temper.below(late_ms) };
        let byte_us = if self.temper.property(36, 2) == 1 { SLOW_BYTE_US } else { 0 };
        self.wire.send(now, delay_ms, byte_us, frame, Vec::new());
    }

    fn acknowledged(&mut self, now: SimTime) {
        if self.wire.next_due().is_some() {
            return;
        }
        let Some(sent) = self.waiting.take() else { return };
        sent.facts.into_iter().for_each(|fact| self.notes.said(now, fact));
        if let Some((number, alarms)) = sent.alarms {
            self.alarms(now, number, alarms);
        }
        self.send_next(now);
    }

    /// A block that went out whole is read, though its acknowledgement is not heard any more.
    fn last_said(&mut self, now: SimTime) {
        if self.waiting.as_ref().is_some_and(|sent| sent.is_sound) {
            self.queue.clear();
            self.acknowledged(now);
        }
    }

    fn alarms(&mut self, now: SimTime, number: usize, alarms: Vec<&'static str>) {
        let Some(pump) = self.pumps.get_mut(number) else { return };
        let before = std::mem::replace(&mut pump.told, alarms);
        let ended = before.iter().filter(|name| !pump.told.contains(name));
        let started = pump.told.iter().filter(|name| !before.contains(name));
        let changes = ended.map(|name| (name, "end")).chain(started.map(|name| (name, "start")));
        for (name, phase) in changes {
            let mut fact = self.notes.fact(now);
            fact.device.clone_from(&pump.device);
            (fact.alarm, fact.phase) = (Some((*name).to_owned()), Some(phase));
            self.notes.push(fact);
        }
    }
}

/// How a station of that seed is configured.
fn configured(seed: u64) -> scenario::Station {
    let (pumps, bit_fields, stuffing, is_cyclic) = match seed % 8 {
        0 => (3, false, false, false),
        1 => (1, false, false, false),
        2 => (3, true, false, false),
        3 => (3, false, true, false),
        4 => (3, true, true, false),
        5 => (3, false, false, true),
        6 => (3, true, true, true),
        _ => (2, false, false, false),
    };
    let cycle_s = is_cyclic.then_some(CYCLE_S);
    scenario::Station { pumps, bit_fields, stuffing, cycle_s }
}

/// The frame with another byte in its middle.
fn damaged(frame: &[u8]) -> Vec<u8> {
    let mut damaged = frame.to_vec();
    if let Some(byte) = damaged.get_mut(frame.len() / 2) {
        *byte = if *byte == b'7' { b'3' } else { b'7' };
    }
    damaged
}

impl VirtualDevice for Station {
    fn receive(&mut self, now: SimTime, bytes: &[u8]) {
        if self.off {
            return;
        }
        self.advance(now);
        for byte in bytes {
            match (*byte, self.input.is_empty()) {
                (ACK, true) => self.acknowledged(now),
                (NAK, true) if self.wire.next_due().is_none() => {
                    if let Some(mut sent) = self.waiting.take() {
                        self.put(now, &sent.frame);
                        sent.is_sound = true;
                        self.waiting = Some(sent);
                    }
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
        self.wire.advance(now, &mut self.notes);
    }

    fn advance(&mut self, now: SimTime) {
        if self.off {
            return;
        }
        self.reckon(now);
        self.wire.advance(now, &mut self.notes);
    }

    fn next_due(&self) -> Option<SimTime> {
        let pushes = self.config.cycle_s.is_some() && self.is_alive && !self.off;
        let next_second = pushes.then_some(SimTime((self.reckoned_s + 1) * 1_000_000));
        self.wire.next_due().into_iter().chain(next_second).min()
    }

    fn take_output(&mut self) -> Vec<u8> {
        self.wire.take_output()
    }

    fn take_truth(&mut self) -> Vec<Truth> {
        self.notes.take()
    }

    fn switch_off(&mut self, now: SimTime) {
        self.advance(now);
        self.last_said(now);
        self.wire.clear();
        self.off = true;
    }
}

#[cfg(test)]
mod tests;
