//! B. Braun Space and compactplus infusion pumps in a station, over BCC: the session.
//!
//! Read first: the protocol sheet of BCC, §6 (session) and §7 (parameters).
//!
//! - `codec`: bytes to blocks, blocks to entries; requests
//! - `station`: what blocks say; who is not heard any more
//! - `pump`: one pump, from its `block` through `reading`, `alarm` and `state`; `unit` names units
//!
//! BCC has no command that changes an infusion. A station over TCP is the same as one on a cable.
//!
//! # Invariants
//! - a good block is acknowledged once, a bad one is asked for again at most three times
//! - a station that sends by itself is not asked

mod alarm;
mod block;
pub mod codec;
mod pump;
mod reading;
pub(crate) mod redaction;
mod state;
mod station;
mod unit;

use super::{SerialDriver, SerialEvent, SerialOutput};
use crate::reporter::Reporter;
use codec::{Decoder, Frame, FrameError, Request, Slot, request};
use model::{
    device::DeviceKind,
    id::DeviceId,
    time::{MonoTime, Now},
};
use station::{Said, Station};
use std::{collections::VecDeque, time::Duration};

/// Facts about the session; those about blocks are in [`codec`], about answers in [`station`].
mod spec {
    use super::Duration;

    /// "ADMIN:ALIVE, sent with bed-ID 1", §5.
    pub(super) const FIRST_BED: &str = "1";
    /// "Wait 5 s for GNACK, retry every 5–10 s", §6.1.
    pub(super) const OPEN_WITHIN: Duration = Duration::from_secs(5);
    /// Plain and stuffed were tried: then it is silence.
    pub(super) const OPEN_TRIES: u8 = 2;
    /// "No answer to a request in 3 s → retry once, then state LINK LOST", §6.8. A block of a pump
    /// takes 1.15 s at 9600 baud, so the time counts from the last byte.
    pub(super) const ANSWER_WITHIN: Duration = Duration::from_secs(3);
    /// The longest block takes less at 38400 baud; bytes without an end are noise.
    pub(super) const BLOCK_WITHIN: Duration = Duration::from_secs(30);
    /// "After each good block wait ≈ 0.1 s, send ACK", §6.3.
    pub(super) const BEFORE_REPLY: Duration = Duration::from_millis(100);
    /// "Bad block → NAK (limit 3, then reopen)", §6.4.
    pub(super) const NAK_MAX: u8 = 3;
    /// "Leave ≥ 0.5 s between the end of one cycle and the next MEM:GET", §6.6.
    pub(super) const BETWEEN_CYCLES: Duration = Duration::from_millis(500);
    /// A station does not say that it is in cyclic mode: once in a session it is left alone for a
    /// cycle, and this much longer.
    pub(super) const LEFT_ALONE: Duration = Duration::from_secs(1);
    /// "The device pushes all pumps every cycle time (default 5 s)", §6.7: what is missing for
    /// three of them is gone, and for three of our own cycles where those take longer.
    pub(super) const GONE_AFTER: Duration = Duration::from_secs(15);
    pub(super) const GONE_CYCLES: u32 = 3;
}

/// Where the session is. ACK and NAK go beside it: see `Bcc::reply`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Phase {
    Closed,
    /// This was asked, or a block of its answer was acknowledged, then.
    Asked {
        request: Request,
        at: MonoTime,
    },
    /// This is asked then.
    Resting {
        until: MonoTime,
        request: Request,
    },
    /// The station sends by itself ("cyclic mode", §6.7): whether it did so since we listen, and
    /// whether it was told to go on.
    Listening {
        since: MonoTime,
        heard: bool,
        urged: bool,
    },
}

/// Driver of the BCC protocol.
#[derive(Debug)]
pub struct Bcc {
    poll_interval: Duration,
    station: Station,
    decoder: Decoder,
    last_byte: MonoTime,
    phase: Phase,
    /// ACK or NAK, sent then.
    reply: Option<(MonoTime, u8)>,
    bed_id: String,
    stuffed: bool,
    open_tries: u8,
    naks: u8,
    cycle_start: MonoTime,
    /// How long the last whole answer took.
    cycle_took: Duration,
    /// In this cycle something was asked twice, or one pump in vain.
    retried: bool,
    /// The last answer came whole at once: what comes after it is not a late part of it.
    settled: bool,
    /// The station was left alone for a cycle in this session.
    left_alone: bool,
    /// The station sends by itself.
    cyclic: bool,
    /// Pumps that an answer which broke off did not reach: asked for one by one.
    left_out: VecDeque<Slot>,
}

impl Bcc {
    /// A driver that reads all pumps every `poll_interval`.
    #[must_use]
    pub fn new(device: DeviceId, poll_interval: Duration) -> Self {
        Self {
            poll_interval,
            station: Station::new(Reporter::new(device, DeviceKind::Pump, "bcc")),
            decoder: Decoder::default(),
            last_byte: MonoTime::START,
            phase: Phase::Closed,
            reply: None,
            bed_id: spec::FIRST_BED.to_owned(),
            stuffed: false,
            open_tries: 0,
            naks: 0,
            cycle_start: MonoTime::START,
            cycle_took: Duration::ZERO,
            retried: false,
            settled: true,
            left_alone: false,
            cyclic: false,
            left_out: VecDeque::new(),
        }
    }

    fn open(&mut self, now: Now) {
        self.bed_id = spec::FIRST_BED.to_owned();
        (self.naks, self.retried, self.settled, self.left_alone) = (0, false, true, false);
        self.station.begin_session();
        self.ask(now, Request::Alive);
    }

    fn ask(&mut self, now: Now, asked: Request) {
        self.give_up_block(now);
        self.check_silence(now);
        self.reply = None;
        self.station.reporter.send(request(&self.bed_id, asked, self.stuffed));
        self.phase = Phase::Asked { request: asked, at: now.mono };
    }

    /// What is asked once the session is open: pumps that were left out, then all of them.
    fn ask_next(&mut self, now: Now) {
        if let Some(slot) = self.left_out.pop_front() {
            return self.ask(now, Request::Slot(slot));
        }
        self.retried = false;
        self.station.begin_answer();
        if self.cyclic {
            self.phase = Phase::Listening { since: now.mono, heard: false, urged: false };
        } else {
            self.cycle_start = now.mono;
            self.ask(now, Request::Get);
        }
    }

    fn time_out(&mut self, now: Now) {
        if self.next_timeout().is_none_or(|at| now.mono < at) {
            return;
        }
        if let Some((_, byte)) = self.reply.take() {
            return self.station.reporter.send(vec![byte]);
        }
        match self.phase {
            Phase::Closed => {}
            Phase::Asked { request, at } => self.miss(now, request, at),
            Phase::Resting { request: Request::Alive, .. } => self.open(now),
            Phase::Resting { request: Request::Version, .. } => self.ask(now, Request::Version),
            Phase::Resting { .. } => self.ask_next(now),
            // "Every block must be ACKed or the flow stops; recovery = send ACK or reopen", §6.7.
            Phase::Listening { .. } if self.decoder.is_inside() => {
                self.give_up_block(now);
                self.refuse(now);
            }
            Phase::Listening { heard, urged: false, .. } => {
                self.check_silence(now);
                self.station.reporter.send(vec![codec::ACK]);
                self.phase = Phase::Listening { since: now.mono, heard, urged: true };
            }
            Phase::Listening { heard, .. } => {
                self.cyclic = heard;
                self.open(now);
            }
        }
    }

    /// No whole block came in time.
    fn miss(&mut self, now: Now, request: Request, at: MonoTime) {
        self.check_silence(now);
        let damaged = self.last_byte > at;
        match request {
            Request::Alive => {
                self.open_tries = self.open_tries.saturating_add(1);
                if self.open_tries >= spec::OPEN_TRIES {
                    self.lose_link(now);
                }
                // The station may expect the letters the other way.
                self.stuffed = !self.stuffed;
                self.open(now);
            }
            // Nothing depends on it.
            Request::Version => self.ask_next(now),
            // Its end was lost: a new request would begin at the first pump.
            Request::Get | Request::Slot(_) if damaged => {
                self.give_up_block(now);
                self.refuse(now);
            }
            Request::Get if !self.retried => {
                self.retried = true;
                self.ask(now, Request::Get);
            }
            Request::Get if self.station.has_seen_pumps() => self.break_off(now),
            Request::Get => {
                self.lose_link(now);
                self.open(now);
            }
            Request::Slot(_) => {
                // One pump may have a reason of its own, two have the link's.
                if self.retried {
                    self.left_out.clear();
                }
                self.retried = true;
                self.ask_next(now);
            }
        }
    }

    fn lose_link(&mut self, now: Now) {
        let reason = "the pump station does not answer; check its cable and that BCC is on";
        self.station.fall_silent(now, reason);
    }

    /// An answer cannot be had whole. The session begins anew, and if it was that of all pumps,
    /// those that it did not reach are asked for one by one.
    fn break_off(&mut self, now: Now) {
        if let Phase::Asked { request: Request::Get, .. } = self.phase {
            self.left_out = self.station.unseen().collect();
        }
        self.open(now);
    }

    /// A block is bad: it is asked for again.
    fn refuse(&mut self, now: Now) {
        self.naks = self.naks.saturating_add(1);
        if self.naks > spec::NAK_MAX {
            return self.break_off(now);
        }
        self.check_silence(now);
        self.answer(now, codec::NAK);
        self.wait_on(now);
    }

    fn answer(&mut self, now: Now, byte: u8) {
        self.reply = Some((now.mono + spec::BEFORE_REPLY, byte));
    }

    /// The session stays where it is, and waits from the reply on.
    fn wait_on(&mut self, now: Now) {
        let at = now.mono + spec::BEFORE_REPLY;
        self.phase = match self.phase {
            Phase::Closed => Phase::Closed,
            Phase::Asked { request, .. } => Phase::Asked { request, at },
            Phase::Resting { until, request } => {
                Phase::Resting { until: until.max(at + spec::BETWEEN_CYCLES), request }
            }
            Phase::Listening { heard, .. } => Phase::Listening { since: at, heard, urged: false },
        };
    }

    fn rest(&mut self, now: Now, request: Request) {
        let until = now.mono + spec::BEFORE_REPLY + spec::BETWEEN_CYCLES;
        self.phase = Phase::Resting { until, request };
    }

    fn take(&mut self, now: Now, frame: &Frame) {
        if self.phase == Phase::Closed {
            return;
        }
        if let Some(stuffed) = frame.stuffed {
            self.stuffed = stuffed;
        }
        self.bed_id.clone_from(&frame.bed_id);
        (self.naks, self.open_tries) = (0, 0);
        let said = self.station.take(now, frame);
        self.answer(now, codec::ACK);
        if said.restarted {
            let until = now.mono + spec::BEFORE_REPLY;
            self.phase = Phase::Resting { until, request: Request::Alive };
            return;
        }
        match self.phase {
            Phase::Asked { request, .. } => self.go_on(now, request, said, frame.more),
            // Nobody asked for it.
            Phase::Resting { request: Request::Get, .. } if said.pump && self.settled => {
                let text = "the station sends by itself (cyclic mode); it is not asked any more";
                self.station.reporter.note(now, "cyclic", text);
                self.cyclic = true;
                self.listen(now, false, frame.more);
            }
            Phase::Listening { .. } if said.data => self.listen(now, true, frame.more),
            Phase::Closed | Phase::Resting { .. } | Phase::Listening { .. } => self.wait_on(now),
        }
    }

    /// What follows a good block after this was asked.
    fn go_on(&mut self, now: Now, request: Request, said: Said, more: bool) {
        match request {
            Request::Alive if said.opened => self.rest(now, Request::Version),
            // How it wants its letters, its answer has shown.
            Request::Alive if said.refused => {
                let until = now.mono + spec::OPEN_WITHIN;
                self.phase = Phase::Resting { until, request };
            }
            Request::Version if said.version || said.refused => self.rest(now, Request::Get),
            Request::Slot(_) if said.data || said.refused => self.rest(now, Request::Get),
            Request::Get if said.refused => {
                let until = now.mono + spec::BEFORE_REPLY;
                self.phase = Phase::Resting { until, request: Request::Alive };
            }
            Request::Get if said.data && !more => self.finish_cycle(now),
            // More is to come, or what came was not the answer.
            _ => self.wait_on(now),
        }
    }

    fn finish_cycle(&mut self, now: Now) {
        self.cycle_took = now.mono.since(self.cycle_start);
        self.settled = !self.retried;
        self.station.end_answer(now, self.patience());
        let soonest = now.mono + spec::BEFORE_REPLY + spec::BETWEEN_CYCLES;
        let mut until = soonest.max(self.cycle_start + self.poll_interval);
        if !self.left_alone {
            self.left_alone = true;
            until = now.mono + self.poll_interval + spec::LEFT_ALONE;
        }
        self.phase = Phase::Resting { until, request: Request::Get };
    }

    /// A block came that was not asked for.
    fn listen(&mut self, now: Now, heard: bool, more: bool) {
        let since = now.mono + spec::BEFORE_REPLY;
        self.phase = Phase::Listening { since, heard, urged: false };
        if !more {
            self.station.end_answer(now, self.patience());
        }
        self.check_silence(now);
    }

    fn take_error(&mut self, now: Now, error: FrameError) {
        let kind = match error {
            FrameError::Noise { .. } => "noise",
            FrameError::CutOff { .. } => "cut_off",
            FrameError::Length { .. } | FrameError::Form { .. } => "malformed",
            FrameError::Checksum { .. } => "checksum",
        };
        self.station.reporter.note(now, kind, error);
        let bad_block = !matches!(error, FrameError::Noise { .. } | FrameError::CutOff { .. });
        if bad_block && self.phase != Phase::Closed {
            self.refuse(now);
        }
    }

    fn give_up_block(&mut self, now: Now) {
        let count = self.decoder.give_up();
        if count > 0 {
            self.station.reporter.note(now, "cut_off", FrameError::CutOff { count });
        }
    }

    fn check_silence(&mut self, now: Now) {
        self.station.check_silence(now, self.patience());
    }

    /// How long a pump may be missing: a slow station needs long for all of them.
    fn patience(&self) -> Duration {
        let cycle = self.poll_interval.max(self.cycle_took);
        spec::GONE_AFTER.max(cycle * spec::GONE_CYCLES)
    }

    /// Until when something is waited for that was due to begin then.
    fn deadline(&self, since: MonoTime, limit: Duration) -> MonoTime {
        (since.max(self.last_byte) + limit).min(since + limit.max(spec::BLOCK_WITHIN))
    }

    fn close(&mut self, now: Now) {
        self.station.close(now);
        let fresh = Self::new(self.station.reporter.device().clone(), self.poll_interval);
        let closed = std::mem::replace(self, fresh);
        self.station.reporter = closed.station.reporter;
    }
}

impl SerialDriver for Bcc {
    fn handle(&mut self, now: Now, event: SerialEvent<'_>) {
        match event {
            SerialEvent::Opened => {
                self.station.begin_waiting(now);
                self.open(now);
            }
            SerialEvent::Received(bytes) => {
                self.last_byte = now.mono;
                let found: Vec<_> = self.decoder.decode(bytes).collect();
                for frame in found {
                    match frame {
                        Ok(frame) => self.take(now, &frame),
                        Err(error) => self.take_error(now, error),
                    }
                }
            }
            SerialEvent::TimedOut => self.time_out(now),
            SerialEvent::Committed => {}
            SerialEvent::Closed => self.close(now),
        }
    }

    fn poll_output(&mut self) -> Option<SerialOutput> {
        self.station.reporter.next()
    }

    fn next_timeout(&self) -> Option<MonoTime> {
        if let Some((at, _)) = self.reply {
            return Some(at);
        }
        match self.phase {
            Phase::Closed => None,
            Phase::Asked { request: Request::Alive, at } => {
                Some(self.deadline(at, spec::OPEN_WITHIN))
            }
            Phase::Asked { at, .. } => Some(self.deadline(at, spec::ANSWER_WITHIN)),
            // A block that comes by itself is heard to its end.
            Phase::Resting { until, .. } if self.decoder.is_inside() => {
                Some(until.max(self.last_byte + spec::ANSWER_WITHIN))
            }
            Phase::Resting { until, .. } => Some(until),
            Phase::Listening { since, urged: false, .. } if !self.decoder.is_inside() => {
                Some(self.deadline(since, self.poll_interval + spec::ANSWER_WITHIN))
            }
            Phase::Listening { since, .. } => Some(self.deadline(since, spec::ANSWER_WITHIN)),
        }
    }
}

#[cfg(test)]
mod tests;
