//! A home-made source of `json-lines`, version 1, from the document of the format alone: one JSON
//! object a line.
//!
//! It greets and waits a moment for an answer. Where none comes it talks alone, and whoever listens,
//! listens. Where it is acknowledged it counts: it asks with an empty line whether anybody is there
//! before it says what it will not say twice, keeps results and alarms until they are safe, and
//! sends them again after the port came back. A rude one is cut off in the middle of a line, makes
//! typing mistakes, is slow, and has a clock that is wrong or begins anew.
//!
//! - `report`: what there is to say, second by second
//!
//! # Invariants
//! - a line that must be refused says nothing
//! - alone, a line is truth when its last byte is out; counted, when it is acknowledged
//! - a result is truth once, however often it is sent

mod report;

use super::wire::Wire;
use crate::{
    ClockJump, Setup, SimTime, VirtualDevice,
    temper::Temper,
    truth::{Notebook, Truth},
};
use report::{Line, Reporter};
use std::collections::VecDeque;

/// Results and alarms that are kept until they are acknowledged; a small machine has no more room.
const KEPT_MAX: usize = 32;
/// Answers of an agent are shorter than this.
const INPUT_MAX: usize = 1024;
/// Without an answer for this long the source talks alone.
const ALONE_MS: u64 = 2_000;
/// An agent that opens the port and reads an old greeting answers twice, shortly after another.
const SETTLE_MS: u64 = 500;
/// Without an answer for this long a source that was acknowledged greets again.
const AGAIN_MS: u64 = 10_000;
/// Streams of longer ago are not sent any more.
const LATE_MAX_MS: u64 = 2_000;
/// 19200 baud, in a slow source.
const SLOW_BYTE_US: u64 = 520;
/// What a reset has left of a line.
const CUT_OFF: &[u8] = b"lue\":72,\"unit\":\"/min\"}";
/// "Begin with one after a reset", an empty line, and "{"hello":1}".
const GREETING: &[u8] = b"\n{\"hello\":1}\n";

/// The source.
#[derive(Debug)]
pub struct Source {
    reporter: Reporter,
    notes: Notebook,
    temper: Temper,
    wire: Wire,
    input: Vec<u8>,
    link: Link,
    ever_counted: bool,
    /// What is said once, with the number of its line, until that is acknowledged.
    streams: VecDeque<(u64, Vec<Truth>)>,
    kept: VecDeque<Kept>,
    next_second: SimTime,
    off: bool,
}

#[derive(Clone, Debug)]
enum Link {
    /// Nobody answered.
    Alone,
    /// The greeting is out; when its answer came, if it did.
    Greeting { since: SimTime, answered: Option<SimTime> },
    /// Lines sent since.
    Counting { sent: u64, asked: Option<Question> },
}

/// Whether anybody is there, with what is said if so.
#[derive(Clone, Debug)]
struct Question {
    number: u64,
    since: SimTime,
    then: Vec<Line>,
}

/// A result or an alarm that is not acknowledged.
#[derive(Debug)]
struct Kept {
    line: Line,
    is_sent: bool,
    /// The number of its line, where lines are counted.
    number: Option<u64>,
}

impl Source {
    /// A source that was just switched on.
    #[must_use]
    pub fn new(setup: Setup) -> Self {
        let temper = Temper::new(setup.seed);
        let mut source = Self {
            notes: Notebook::new(&setup.device, setup.clock),
            reporter: Reporter::new(setup, &temper),
            temper,
            wire: Wire::default(),
            input: Vec::new(),
            link: Link::Alone,
            ever_counted: false,
            streams: VecDeque::new(),
            kept: VecDeque::new(),
            next_second: SimTime(1_000_000),
            off: false,
        };
        if source.temper.once_in(2) {
            source.put(SimTime(0), CUT_OFF, Vec::new());
        }
        source.greet(SimTime(0));
        source
    }

    fn put(&mut self, now: SimTime, bytes: &[u8], facts: Vec<Truth>) {
        // Counted, a line goes out at once: whether one that was half out when the port went has
        // arrived, nobody could say.
        let is_slow = self.temper.property(20, 2) == 1 && !self.ever_counted;
        let byte_us = if is_slow { SLOW_BYTE_US } else { 0 };
        self.wire.send(now, 0, byte_us, bytes, facts);
    }

    fn put_line(&mut self, now: SimTime, line: &Line, facts: Vec<Truth>) {
        let end: &[u8] = if self.temper.property(21, 2) == 1 { b"\r\n" } else { b"\n" };
        self.put(now, &[line.bytes.as_slice(), end].concat(), facts);
    }

    /// "Sends an empty line and {"hello":1} when it starts and whenever an {"ack":0} comes unasked."
    fn greet(&mut self, now: SimTime) {
        self.put(now, GREETING, Vec::new());
        self.link = Link::Greeting { since: now, answered: None };
        // Whether these arrived nobody knows; they are not said again.
        for fact in std::mem::take(&mut self.streams).into_iter().flat_map(|(_, facts)| facts) {
            self.notes.unheard(now, fact);
        }
        for kept in &mut self.kept {
            kept.number = None;
        }
    }

    fn acknowledged(&mut self, now: SimTime, number: u64) {
        match (&mut self.link, number) {
            (Link::Greeting { answered, .. }, 0) => *answered = Some(now),
            // Of lines before the greeting.
            (Link::Greeting { .. }, _) | (Link::Alone, 1..) => {}
            (_, 0) => self.greet(now),
            (Link::Counting { sent, .. }, number) if number > *sent => {}
            (Link::Counting { asked, .. }, number) => {
                let answered = asked.take_if(|question| question.number <= number);
                self.safe(now, number);
                for line in answered.into_iter().flat_map(|question| question.then) {
                    let facts = line.facts.clone();
                    if let Some(number) = self.count(now, &line) {
                        self.streams.push_back((number, facts));
                    }
                }
            }
        }
    }

    /// Lines up to this one are on the agent's disk.
    fn safe(&mut self, now: SimTime, number: u64) {
        while let Some((_, facts)) = self.streams.pop_front_if(|(sent, _)| *sent <= number) {
            facts.into_iter().for_each(|fact| self.notes.said(now, fact));
        }
        let (safe, kept) = std::mem::take(&mut self.kept)
            .into_iter()
            .partition(|kept| kept.number.is_some_and(|sent| sent <= number));
        self.kept = kept;
        let safe: VecDeque<Kept> = safe;
        for fact in safe.into_iter().flat_map(|kept| kept.line.facts) {
            self.notes.said(now, fact);
        }
    }

    /// Sends a line that is counted; its number, if lines are counted.
    fn count(&mut self, now: SimTime, line: &Line) -> Option<u64> {
        let Link::Counting { sent, .. } = &mut self.link else { return None };
        *sent += 1;
        let number = *sent;
        self.put_line(now, line, Vec::new());
        Some(number)
    }

    /// Sends what is kept and was not sent since the last greeting, or never, if it talks alone.
    fn send_kept(&mut self, now: SimTime) {
        let mut all = std::mem::take(&mut self.kept);
        for kept in &mut all {
            match self.link {
                Link::Counting { .. } if kept.number.is_none() => {
                    kept.number = self.count(now, &kept.line);
                    kept.is_sent = true;
                }
                Link::Alone if !kept.is_sent => {
                    let facts = std::mem::take(&mut kept.line.facts);
                    self.put_line(now, &kept.line, facts);
                    kept.is_sent = true;
                }
                _ => {}
            }
        }
        self.kept = all;
    }

    fn second(&mut self, at: SimTime, now: SimTime) {
        let (results, mut streams) = self.reporter.second(at, &self.notes, &mut self.temper);
        for line in results {
            self.kept.push_back(Kept { line, is_sent: false, number: None });
        }
        let excess = self.kept.len().saturating_sub(KEPT_MAX);
        self.kept.drain(..excess);
        if now > at.plus_millis(LATE_MAX_MS) {
            streams.clear();
        }
        self.send_kept(at);
        match self.link {
            Link::Alone => {
                for mut line in streams {
                    let facts = std::mem::take(&mut line.facts);
                    self.put_line(at, &line, facts);
                }
            }
            Link::Counting { asked: None, .. } => {
                if let Some(number) = self.count(at, &Line::default())
                    && let Link::Counting { asked, .. } = &mut self.link
                {
                    *asked = Some(Question { number, since: at, then: streams });
                }
            }
            // Nobody may be there: what would not be said twice is not said.
            Link::Counting { .. } | Link::Greeting { .. } => {}
        }
    }

    /// When something happens though nobody says anything.
    fn deadline(&self) -> Option<SimTime> {
        match &self.link {
            Link::Alone | Link::Counting { asked: None, .. } => None,
            Link::Greeting { answered: Some(at), .. } => Some(at.plus_millis(SETTLE_MS)),
            Link::Greeting { since, .. } if self.ever_counted => Some(since.plus_millis(AGAIN_MS)),
            Link::Greeting { since, .. } => Some(since.plus_millis(ALONE_MS)),
            Link::Counting { asked: Some(asked), .. } => Some(asked.since.plus_millis(AGAIN_MS)),
        }
    }

    fn pass_deadline(&mut self, at: SimTime) {
        match self.link {
            Link::Greeting { answered: Some(_), .. } => {
                self.link = Link::Counting { sent: 0, asked: None };
                self.ever_counted = true;
                // "After a silence, send the alarms that are up again with start."
                let lines = self.reporter.alarms_up();
                let again = lines.into_iter().filter(|line| {
                    let mut kept = self.kept.iter().map(|kept| &kept.line.bytes);
                    kept.all(|bytes| *bytes != line.bytes)
                });
                let again: Vec<Line> = again.collect();
                self.send_kept(at);
                for line in again {
                    self.count(at, &line);
                }
            }
            Link::Greeting { .. } if !self.ever_counted => {
                self.link = Link::Alone;
                self.send_kept(at);
            }
            _ => self.greet(at),
        }
    }

    fn line(&mut self, now: SimTime, line: &[u8]) {
        let answer = serde_json::from_slice::<serde_json::Value>(line).unwrap_or_default();
        if let Some(number) = answer.get("ack").and_then(serde_json::Value::as_u64) {
            self.acknowledged(now, number);
        } else if answer.get("refused").is_none() {
            // A refusal "counts in ack all the same": there is nothing to do about it.
            self.notes.forbidden(now, &String::from_utf8_lossy(line));
        }
    }
}

impl VirtualDevice for Source {
    fn receive(&mut self, now: SimTime, bytes: &[u8]) {
        if self.off {
            return;
        }
        self.advance(now);
        for byte in bytes {
            match byte {
                b'\n' => {
                    let line = std::mem::take(&mut self.input);
                    self.line(now, &line);
                }
                byte if self.input.len() < INPUT_MAX => self.input.push(*byte),
                _ => {}
            }
        }
        self.wire.advance(now, &mut self.notes);
    }

    fn advance(&mut self, now: SimTime) {
        if self.off {
            return;
        }
        loop {
            let deadline = self.deadline();
            let next = deadline.map_or(self.next_second, |at| at.min(self.next_second));
            self.wire.advance(now.min(next), &mut self.notes);
            if next > now {
                return;
            }
            if deadline == Some(next) {
                self.pass_deadline(next);
            } else {
                self.next_second = next.plus_millis(1_000);
                self.second(next, now);
            }
        }
    }

    fn next_due(&self) -> Option<SimTime> {
        if self.off {
            return None;
        }
        self.wire.next_due().into_iter().chain(self.deadline()).chain([self.next_second]).min()
    }

    fn take_output(&mut self) -> Vec<u8> {
        self.wire.take_output()
    }

    fn take_truth(&mut self) -> Vec<Truth> {
        self.notes.take()
    }

    /// What was counted and is on the wire is read, though no acknowledgement is heard any more.
    fn switch_off(&mut self, now: SimTime) {
        self.advance(now);
        if let (Link::Counting { sent, .. }, None) = (&self.link, self.wire.next_due()) {
            self.safe(now, *sent);
        }
        self.wire.clear();
        self.off = true;
    }

    fn jump_clock(&mut self, now: SimTime, jump: ClockJump) -> bool {
        self.advance(now);
        self.reporter.jump_clock(now, jump);
        true
    }
}

#[cfg(test)]
mod tests;
