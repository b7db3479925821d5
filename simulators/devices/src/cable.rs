//! The cable between a device and its host: what of the catalogue of faults happens there, by seed.
//!
//! Each fault comes once in every round of the catalogue, in an order that follows from the seed; one
//! that finds no bytes to damage comes later.
//! What the host says is never damaged: it is lost only while the cable is out. A cable is pulled in
//! a pause: what the host answers to the last bytes it had is still heard.
//!
//! # Invariants
//! - same seed, same calls: same faults
//! - every fault that happened is one line of the truth
//! - what was said within reach of a fault is marked: it may arrive or not, never as something else
//! - what is not marked arrives

use crate::{
    ClockJump, Scenario, Setup, SimTime, VirtualDevice,
    faults::{self, Fault, FaultPlan, Reach},
    scenario::variation,
    truth::{Notebook, Truth},
};
use std::{collections::BTreeMap, ops::Range};

/// A device and its cable.
pub struct Cable {
    device: Box<dyn VirtualDevice>,
    plan: Option<FaultPlan>,
    reach: Reach,
    /// When the story has the cable out, from and until (seconds), and its length.
    unplugged: Vec<(u64, u64)>,
    repeat_s: u64,
    notes: Notebook,
    thrown: u64,
    /// What is left of this round.
    round: Vec<Fault>,
    /// When the next fault happens.
    due: Option<SimTime>,
    state: State,
    now: SimTime,
    out: Vec<u8>,
    truth: Vec<Truth>,
    /// The line that is being said, of a text protocol.
    line: Vec<u8>,
    mark: Option<Mark>,
    /// When something was last within reach of a fault.
    marked: Option<SimTime>,
    /// When the last block of each wave was said.
    blocks: BTreeMap<Wave, SimTime>,
}

/// Device, channel, metric.
type Wave = (String, &'static str, &'static str);

/// What the cable does to bytes.
#[derive(Debug)]
enum State {
    Sound,
    /// It waits for bytes to damage.
    Waiting(Fault),
    /// So many bytes are still to be damaged; so many were.
    Damaging {
        fault: Fault,
        left: u64,
        done: u64,
    },
    Stalled {
        since: SimTime,
        until: SimTime,
        held: Vec<u8>,
    },
    Unplugged {
        since: SimTime,
        until: SimTime,
        lost: u64,
    },
}

/// What the last fault may hide.
#[derive(Clone, Copy, Debug)]
struct Mark {
    fault: Fault,
    /// So many bytes from now on…
    bytes: u64,
    /// …and what is said up to here.
    until: SimTime,
}

impl Cable {
    /// A cable to the device of that name. Faults happen by plan; what the story has unplugged is
    /// unplugged without one.
    #[must_use]
    pub fn new(
        device: Box<dyn VirtualDevice>,
        name: &str,
        setup: &Setup,
        plan: Option<FaultPlan>,
    ) -> Self {
        let scenario = &setup.patient.scenario;
        // For the host a device that is off is one that is away.
        let away = scenario.unplugged.iter().chain(&scenario.switched_off);
        let mut cable = Self {
            device,
            plan,
            reach: faults::reach(name),
            unplugged: away.copied().collect(),
            repeat_s: scenario.repeat_s.max(1),
            notes: Notebook::new(&setup.device, setup.clock),
            thrown: 0,
            round: Vec::new(),
            due: None,
            state: State::Sound,
            now: SimTime(0),
            out: Vec::new(),
            truth: Vec::new(),
            line: Vec::new(),
            mark: None,
            marked: None,
            blocks: BTreeMap::new(),
        };
        cable.plan_next();
        cable
    }

    /// A throw of the dice in a range.
    fn throw(&mut self, range: Range<u64>) -> u64 {
        self.thrown += 1;
        let seed = self.plan.map_or(0, |plan| plan.seed);
        let span = range.end.saturating_sub(range.start).saturating_sub(1);
        range.start + variation(seed, self.thrown, 0xFA, span)
    }

    /// A place in something of that length.
    fn place(&mut self, len: usize) -> usize {
        let place = self.throw(0..u64::try_from(len).unwrap_or(u64::MAX));
        usize::try_from(place).unwrap_or_default()
    }

    fn garbage(&mut self) -> u8 {
        let place = self.place(faults::GARBAGE.len());
        faults::GARBAGE.get(place).copied().unwrap_or_default()
    }

    fn plan_next(&mut self) {
        let Some(plan) = self.plan else { return };
        let gap_ms = self.throw(plan.every_ms / 2..plan.every_ms + plan.every_ms / 2 + 1);
        let due = self.now.plus_millis(gap_ms.max(1));
        self.due = Some(due).filter(|due| plan.until.is_none_or(|until| *due < until));
    }

    /// The next fault of the round, in an order by seed.
    fn draw(&mut self) -> Fault {
        if self.round.is_empty() {
            self.round = Fault::ALL.to_vec();
        }
        let place = self.place(self.round.len());
        self.round.swap_remove(place)
    }

    fn begin(&mut self, fault: Fault) {
        self.due = None;
        let since = self.now;
        match fault {
            Fault::Drop | Fault::Double | Fault::Corrupt | Fault::Baud => {
                self.state = State::Waiting(fault);
                self.plan_next();
            }
            Fault::Stall => {
                let until = since.plus_millis(self.throw(faults::STALL_MS));
                self.state = State::Stalled { since, until, held: Vec::new() };
            }
            Fault::Unplug => {
                let ms = faults::LAST_WORD_MS + self.throw(faults::UNPLUGGED_MS);
                self.state = State::Unplugged { since, until: since.plus_millis(ms), lost: 0 };
            }
            Fault::ClockJump => self.jump(),
        }
    }

    /// A device without a clock has no such fault.
    fn jump(&mut self) {
        let place = self.place(faults::JUMPS.len() + 1);
        let minutes = faults::JUMPS.get(place).copied();
        let jump = minutes.map_or(ClockJump::To2000, |minutes| ClockJump::By { minutes });
        if self.device.jump_clock(self.now, jump) {
            self.happened(Fault::ClockJump, None, minutes.map(|minutes| minutes * 60_000));
        }
        self.plan_next();
    }

    /// A fault is a line of the truth.
    fn happened(&mut self, fault: Fault, bytes: Option<u64>, ms: Option<i64>) {
        let mut fact = self.notes.fact(self.now);
        (fact.fault, fact.bytes, fact.ms) = (Some(fault.name()), bytes, ms);
        self.truth.push(fact);
    }

    /// Ends what the cable does to bytes; it has an effect as far as it reaches.
    fn end(&mut self) {
        let (fault, bytes, since) = match std::mem::replace(&mut self.state, State::Sound) {
            State::Sound | State::Waiting(_) => return,
            State::Damaging { fault, done, .. } => (fault, done, None),
            State::Stalled { since, held, .. } => {
                let count = u64::try_from(held.len()).unwrap_or(u64::MAX);
                self.out.extend(held);
                (Fault::Stall, count, Some(since))
            }
            State::Unplugged { since, lost, .. } => (Fault::Unplug, lost, Some(since)),
        };
        let lasted = since.map(|since| self.now.millis().saturating_sub(since.millis()));
        let ms = lasted.map(|ms| i64::try_from(ms).unwrap_or(i64::MAX));
        self.happened(fault, Some(bytes), ms);
        let after_ms = match fault {
            Fault::Stall => faults::AFTER_STALL_MS,
            Fault::Unplug => self.reach.restart_ms,
            _ => 0,
        };
        let before = self.mark.map_or(SimTime(0), |mark| mark.until);
        let until = self.now.plus_millis(after_ms).max(before);
        self.mark = Some(Mark { fault, bytes: self.reach.bytes, until });
        self.plan_next();
    }

    /// What ends or begins by now, whatever is said.
    fn pass_time(&mut self) {
        let pulled = Scenario::during(&self.unplugged, self.now.0 / 1_000_000 % self.repeat_s);
        match self.state {
            State::Unplugged { until, .. } if until <= self.now && !pulled => {
                self.end();
                for _ in 0..self.throw(1..6) {
                    let byte = self.garbage();
                    self.out.push(byte);
                }
            }
            State::Stalled { until, .. } if until <= self.now => self.end(),
            _ => {}
        }
        if pulled && !matches!(self.state, State::Unplugged { .. }) {
            self.end();
            self.state = State::Unplugged { since: self.now, until: self.now, lost: 0 };
        }
        if self.due.is_none_or(|due| due > self.now) {
            return;
        }
        match self.state {
            State::Sound => {}
            // A device that says little has none of these at its turn: another time.
            State::Waiting(fault) => self.round.push(fault),
            State::Damaging { .. } | State::Stalled { .. } | State::Unplugged { .. } => return,
        }
        self.state = State::Sound;
        let fault = self.draw();
        self.begin(fault);
    }

    /// The fault within whose reach the cable is.
    fn hit(&self) -> Option<Fault> {
        match &self.state {
            State::Damaging { fault, .. } => Some(*fault),
            State::Stalled { .. } => Some(Fault::Stall),
            State::Unplugged { .. } => Some(Fault::Unplug),
            State::Sound | State::Waiting(_) => {
                let mark = self.mark.filter(|mark| mark.bytes > 0 || self.now < mark.until);
                mark.map(|mark| mark.fault)
            }
        }
    }

    /// Takes from the device what it said, and does to it what the cable does.
    fn carry(&mut self) {
        let (bytes, facts) = (self.device.take_output(), self.device.take_truth());
        let before = self.hit();
        if let Some(mark) = &mut self.mark {
            mark.bytes = mark.bytes.saturating_sub(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        }
        self.pass(&bytes);
        let hit = self.hit().or(before);
        if hit.is_some() {
            self.marked = Some(self.now);
        }
        for fact in facts {
            let fact = self.marked(fact, hit);
            // What was said twice is true twice; some devices know what they said only later.
            if hit == Some(Fault::Double) && fact.metric.is_some() {
                self.truth.push(fact.clone());
            }
            self.truth.push(fact);
        }
    }

    /// A fact with the mark of what may have hidden it.
    fn marked(&mut self, mut fact: Truth, mut hit: Option<Fault>) -> Truth {
        if self.plan.is_none() && self.unplugged.is_empty() {
            fact.wave.clear();
        }
        if let (Some(metric), Some(_)) = (fact.metric, &fact.sha256) {
            // A block began where the one before ended.
            let wave = (fact.device.clone(), fact.channel, metric);
            let began = self.blocks.insert(wave, self.now).unwrap_or_default();
            let since = self.marked.filter(|at| *at >= began);
            hit = hit.or(since.and(self.mark).map(|mark| mark.fault));
        }
        if fact.metric.is_some() || fact.alarm.is_some() {
            fact.faulted = fact.faulted.or(hit.map(Fault::name));
        }
        fact
    }

    fn pass(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        match &mut self.state {
            State::Unplugged { lost, .. } => {
                *lost += u64::try_from(bytes.len()).unwrap_or(u64::MAX);
            }
            State::Stalled { held, .. } => held.extend(bytes),
            State::Damaging { .. } => self.damage(bytes),
            State::Sound => self.out.extend(bytes),
            State::Waiting(Fault::Double) => return self.double(bytes),
            State::Waiting(fault) => {
                let fault = *fault;
                let left = match fault {
                    Fault::Corrupt => 1,
                    _ => self.throw(faults::HIT),
                };
                self.due = None;
                let (spared, hit) = bytes.split_at(self.place(bytes.len()));
                self.out.extend(spared);
                self.state = State::Damaging { fault, left, done: 0 };
                self.damage(hit);
            }
        }
        self.follow_line(bytes);
    }

    fn damage(&mut self, bytes: &[u8]) {
        let is_text = self.reach.is_text;
        for byte in bytes {
            let State::Damaging { fault, left, done } = &mut self.state else {
                self.out.push(*byte);
                continue;
            };
            let fault = *fault;
            *done += 1;
            *left = match (fault, is_text) {
                // A line without its end ends in the next one, and neither can be read.
                (Fault::Drop, true) => u64::from(*byte != b'\n'),
                _ => left.saturating_sub(1),
            };
            let is_over = *left == 0;
            match fault {
                Fault::Drop => {}
                Fault::Corrupt if is_text => self.out.push(byte | 0x80),
                Fault::Corrupt => {
                    let bits = u8::try_from(self.throw(1..256)).unwrap_or(1);
                    self.out.push(byte ^ bits);
                }
                _ => {
                    let byte = self.garbage();
                    self.out.push(byte);
                }
            }
            if is_over {
                self.end();
            }
        }
    }

    /// Part of a piece comes twice, or all of it; of lines, the next one that is whole.
    fn double(&mut self, bytes: &[u8]) {
        if self.reach.is_text {
            let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else {
                self.out.extend(bytes);
                return self.follow_line(bytes);
            };
            let (first, rest) = bytes.split_at(end + 1);
            self.line.extend(first);
            let line = std::mem::take(&mut self.line);
            self.out.extend(first);
            self.doubled(&line);
            self.out.extend(rest);
            return self.follow_line(rest);
        }
        let (mut from, mut count) = (0, bytes.len());
        if self.throw(0..2) == 1 {
            from = self.place(bytes.len());
            count = 1 + self.place(bytes.len() - from);
        }
        let (first, rest) = bytes.split_at(from + count.min(faults::DOUBLED_MAX));
        self.out.extend(first);
        self.doubled(first.get(from..).unwrap_or_default());
        self.out.extend(rest);
    }

    fn doubled(&mut self, piece: &[u8]) {
        self.out.extend(piece);
        let done = u64::try_from(piece.len()).unwrap_or(u64::MAX);
        self.state = State::Damaging { fault: Fault::Double, left: 0, done };
        self.end();
    }

    /// Keeps what was said of a line of text since it began.
    fn follow_line(&mut self, bytes: &[u8]) {
        if !self.reach.is_text {
            return;
        }
        match bytes.iter().rposition(|byte| *byte == b'\n') {
            Some(end) => self.line = bytes.get(end + 1..).unwrap_or_default().to_vec(),
            None => self.line.extend(bytes),
        }
        self.line.truncate(faults::LINE_MAX);
    }
}

impl VirtualDevice for Cable {
    fn receive(&mut self, now: SimTime, bytes: &[u8]) {
        self.now = now;
        if !self.is_unplugged() {
            self.device.receive(now, bytes);
        } else if let State::Unplugged { lost, .. } = &mut self.state {
            *lost += u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        }
    }

    fn advance(&mut self, now: SimTime) {
        self.now = now;
        self.device.advance(now);
        self.carry();
        self.pass_time();
    }

    fn next_due(&self) -> Option<SimTime> {
        let of_state = match &self.state {
            State::Stalled { until, .. } => Some(*until),
            State::Unplugged { since, until, .. } => {
                let last_word = since.plus_millis(faults::LAST_WORD_MS);
                Some(if self.now < last_word { last_word } else { *until })
            }
            State::Sound | State::Waiting(_) => self.due,
            State::Damaging { .. } => None,
        };
        let next_second = SimTime((self.now.0 / 1_000_000 + 1) * 1_000_000);
        let of_story = (!self.unplugged.is_empty()).then_some(next_second);
        // The end of a story's unplugging may be long ago by its own account: then it is of_story.
        let of_state = of_state.filter(|at| of_story.is_none() || *at > self.now);
        self.device.next_due().into_iter().chain(of_state).chain(of_story).min()
    }

    fn take_output(&mut self) -> Vec<u8> {
        self.carry();
        std::mem::take(&mut self.out)
    }

    fn take_truth(&mut self) -> Vec<Truth> {
        self.carry();
        std::mem::take(&mut self.truth)
    }

    fn switch_off(&mut self, now: SimTime) {
        self.now = now;
        self.carry();
        self.device.switch_off(now);
        self.carry();
        // What is under way has happened; nothing comes behind it.
        self.end();
        self.due = None;
    }

    fn jump_clock(&mut self, now: SimTime, jump: ClockJump) -> bool {
        self.device.jump_clock(now, jump)
    }

    fn is_unplugged(&self) -> bool {
        match &self.state {
            State::Unplugged { since, .. } => self.now >= since.plus_millis(faults::LAST_WORD_MS),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests;
