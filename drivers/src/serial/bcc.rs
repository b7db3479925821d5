//! B. Braun Space and compactplus infusion pumps in a station, over BCC.
//!
//! Read first: the protocol sheet of BCC, §6 (session) and §7 (parameters).
//!
//! BCC has no command that changes an infusion. The bit fields ALARM1, ALARM2, PREALARM and STATUS1
//! are not read: a station that sends them instead of the flags INA* gives the state "unknown".
//!
//! # Invariants
//! - each pump is a device of its own, told apart by its serial number, never by its slot
//! - a good block is acknowledged once, a bad one is asked for again at most three times

pub mod codec;
mod pump;
pub(crate) mod redaction;
mod unit;

use super::{SerialDriver, SerialEvent, SerialOutput};
use crate::reporter::Reporter;
use codec::{Decoder, Entry, Frame, FrameError, Request, Slot, entries, request};
use model::{
    device::{DeviceKind, DeviceState},
    id::DeviceId,
    time::{MonoTime, Now},
};
use pump::{Block, Pump, identity};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// Facts about the session; those about blocks are in [`codec`].
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
    pub(super) const BEFORE_ACK: Duration = Duration::from_millis(100);
    /// "Bad block → NAK (limit 3, then reopen)", §6.4.
    pub(super) const NAK_MAX: u8 = 3;
    /// "Leave ≥ 0.5 s between the end of one cycle and the next MEM:GET", §6.6.
    pub(super) const BETWEEN_CYCLES: Duration = Duration::from_millis(500);
    /// "3 pillars × 24 slots", §1, and some that were exchanged within a cycle.
    pub(super) const PUMPS_MAX: usize = 96;
    /// A pump that is missing from whole answers for three cyclic periods of 5 s is not in the
    /// station. One answer is not enough: what a station sends by itself may look like one.
    pub(super) const GONE_AFTER: Duration = Duration::from_secs(15);
    /// Errors, §7.4.
    pub(super) const ERROR: &str = "GNERR";
    pub(super) const NO_MORE_DATA: &str = "11";
    pub(super) const REMOVED: &str = "39";
    pub(super) const SYNTAX: &str = "68";
    pub(super) const PUMP_FAILED: char = '4';
    /// What the station says of itself, §7.
    pub(super) const ABOUT: [(&str, &str); 2] =
        [("COMSERIALNO", "serial"), ("COMSWVERSION", "software")];
    /// "ADMIN:VERSION → t,50100,V3.30 (three fields only)", §5.
    pub(super) const VERSION: char = 'V';
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Phase {
    Closed,
    /// This was asked, then; whether for the second time.
    Asked {
        request: Request,
        at: MonoTime,
        again: bool,
    },
    /// A good block came: ACK is sent then.
    Acking {
        at: MonoTime,
        next: Next,
    },
    /// A bad block came: NAK is sent then.
    Naking {
        at: MonoTime,
        request: Request,
    },
    /// This is asked then.
    Resting {
        until: MonoTime,
        request: Request,
    },
}

/// What comes after an ACK.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Next {
    /// The next block of the same answer.
    More,
    /// The answer is complete.
    Finished,
    /// This is asked then.
    Ask { until: MonoTime, request: Request },
    /// The session begins anew.
    Reopen,
}

/// Driver of the BCC protocol.
#[derive(Debug)]
pub struct Bcc {
    poll_interval: Duration,
    reporter: Reporter,
    decoder: Decoder,
    last_byte: MonoTime,
    phase: Phase,
    bed_id: String,
    stuffed: bool,
    open_tries: u8,
    naks: u8,
    cycle_start: MonoTime,
    /// The station's own seconds: backwards means that it started anew.
    station_time: u32,
    about: BTreeMap<String, String>,
    /// What was told of the station; `None` before anything, or when it was silent.
    told: Option<BTreeMap<String, String>>,
    silent: bool,
    pumps: BTreeMap<DeviceId, Pump>,
    /// Pumps whose block came in this cycle.
    seen: BTreeSet<DeviceId>,
}

impl Bcc {
    /// A driver that reads all pumps every `poll_interval`.
    #[must_use]
    pub fn new(device: DeviceId, poll_interval: Duration) -> Self {
        Self {
            poll_interval,
            reporter: Reporter::new(device, DeviceKind::Pump, "bcc"),
            decoder: Decoder::default(),
            last_byte: MonoTime::START,
            phase: Phase::Closed,
            bed_id: spec::FIRST_BED.to_owned(),
            stuffed: false,
            open_tries: 0,
            naks: 0,
            cycle_start: MonoTime::START,
            station_time: 0,
            about: BTreeMap::new(),
            told: None,
            silent: false,
            pumps: BTreeMap::new(),
            seen: BTreeSet::new(),
        }
    }

    fn open(&mut self, now: Now) {
        self.bed_id = spec::FIRST_BED.to_owned();
        (self.station_time, self.naks) = (0, 0);
        self.ask(now, Request::Alive, false);
    }

    fn ask(&mut self, now: Now, asked: Request, again: bool) {
        if asked == Request::Get {
            self.cycle_start = now.mono;
            self.seen.clear();
        }
        self.decoder.give_up();
        self.reporter.send(request(&self.bed_id, asked, self.stuffed));
        self.phase = Phase::Asked { request: asked, at: now.mono, again };
    }

    fn time_out(&mut self, now: Now) {
        let due = self.next_timeout().is_some_and(|at| now.mono >= at);
        match self.phase {
            _ if !due => {}
            Phase::Closed => {}
            Phase::Asked { request, again, .. } => self.miss(now, request, again),
            Phase::Acking { next, .. } => {
                self.reporter.send(vec![codec::ACK]);
                match next {
                    Next::More => {
                        let (request, again) = (Request::Get, false);
                        self.phase = Phase::Asked { request, at: now.mono, again };
                    }
                    Next::Finished => self.finish_cycle(now),
                    Next::Ask { until, request } => {
                        self.phase = Phase::Resting { until, request };
                    }
                    Next::Reopen => self.open(now),
                }
            }
            Phase::Naking { request, .. } => {
                self.reporter.send(vec![codec::NAK]);
                self.phase = Phase::Asked { request, at: now.mono, again: false };
            }
            Phase::Resting { request, .. } => self.ask(now, request, false),
        }
    }

    /// Nothing came in time.
    fn miss(&mut self, now: Now, request: Request, again: bool) {
        let count = self.decoder.give_up();
        if count > 0 {
            self.reporter.note(now, "cut_off", FrameError::CutOff { count });
        }
        match request {
            Request::Alive => {
                self.open_tries += 1;
                if self.open_tries >= spec::OPEN_TRIES {
                    self.fall_silent(now);
                }
                // The station may expect the letters the other way.
                self.stuffed = !self.stuffed;
                self.open(now);
            }
            // Nothing depends on it.
            Request::Version => self.ask(now, Request::Get, false),
            Request::Get if again => {
                self.fall_silent(now);
                self.open(now);
            }
            Request::Get => self.ask(now, Request::Get, true),
        }
    }

    fn fall_silent(&mut self, now: Now) {
        if self.silent {
            return;
        }
        self.silent = true;
        self.told = None;
        let reason = "the pump station does not answer; check its cable and that BCC is on";
        self.reporter.status(now, DeviceState::Silent, reason, BTreeMap::new());
        for pump in self.pumps.values_mut() {
            let reason = "the pump station does not answer";
            pump.lose(now, DeviceState::Silent, reason, &mut self.reporter);
        }
    }

    fn finish_cycle(&mut self, now: Now) {
        let gone = self.pumps.iter().filter(|(device, pump)| {
            !self.seen.contains(*device) && now.mono.since(pump.last_seen()) >= spec::GONE_AFTER
        });
        let gone: Vec<_> = gone.map(|(device, _)| device.clone()).collect();
        for device in gone {
            self.remove(now, &device);
        }
        let until = (self.cycle_start + self.poll_interval).max(now.mono + spec::BETWEEN_CYCLES);
        self.phase = Phase::Resting { until, request: Request::Get };
    }

    fn remove(&mut self, now: Now, device: &DeviceId) {
        if let Some(mut pump) = self.pumps.remove(device) {
            let reason = "taken out of the station";
            pump.lose(now, DeviceState::Removed, reason, &mut self.reporter);
        }
    }

    fn take(&mut self, now: Now, frame: &Frame) {
        if let Some(stuffed) = frame.stuffed {
            self.stuffed = stuffed;
        }
        self.bed_id.clone_from(&frame.bed_id);
        (self.naks, self.open_tries) = (0, 0);
        let sound = self.take_entries(now, frame);
        let at = now.mono + spec::BEFORE_ACK;
        let soon = now.mono + spec::BETWEEN_CYCLES;
        let next = match self.phase {
            Phase::Closed => return,
            _ if !sound => Next::Reopen,
            Phase::Asked { request: Request::Alive, .. }
            | Phase::Naking { request: Request::Alive, .. } => {
                Next::Ask { until: soon, request: Request::Version }
            }
            Phase::Asked { request: Request::Version, .. }
            | Phase::Naking { request: Request::Version, .. } => {
                Next::Ask { until: soon, request: Request::Get }
            }
            Phase::Asked { .. } | Phase::Naking { .. } => match frame.more {
                true => Next::More,
                false => Next::Finished,
            },
            // A station in cyclic mode sends by itself.
            Phase::Acking { next, .. } => next,
            Phase::Resting { until, request } => Next::Ask { until, request },
        };
        self.phase = Phase::Acking { at, next };
    }

    /// Takes the entries of a block in; whether the session may go on.
    fn take_entries(&mut self, now: Now, frame: &Frame) -> bool {
        let mut sound = true;
        let mut blocks: BTreeMap<Slot, Block> = BTreeMap::new();
        let mut failures = Vec::new();
        for entry in entries(&frame.information) {
            let Some(Entry { time, slot, parameter, value }) = entry else {
                self.reporter.note(now, "malformed", "an entry is malformed; it is skipped");
                continue;
            };
            if time < self.station_time && sound {
                sound = false;
                let text = "the station started anew; the session begins again";
                self.reporter.note(now, "restarted", text);
            }
            self.station_time = time;
            match slot {
                _ if parameter == spec::ERROR => failures.push((slot, value)),
                Some(slot) => {
                    blocks.entry(slot).or_default().insert(parameter, value);
                }
                None => self.take_general(parameter, value),
            }
        }
        let refused = |(_, code): &(Option<Slot>, String)| code == spec::SYNTAX;
        let answers = !blocks.is_empty() || failures.iter().any(|failure| !refused(failure));
        if answers && self.told.as_ref() != Some(&self.about) {
            self.silent = false;
            self.told = Some(self.about.clone());
            self.reporter.status(now, DeviceState::Online, "", self.about.clone());
        }
        for (slot, block) in blocks {
            self.take_pump(now, slot, &block);
        }
        for (slot, code) in failures {
            sound &= self.take_failure(now, slot, &code);
        }
        sound
    }

    fn take_general(&mut self, parameter: String, value: String) {
        let named = spec::ABOUT.iter().find(|(name, _)| *name == parameter);
        if let Some((_, key)) = named {
            self.about.insert((*key).to_owned(), value);
        } else if parameter.starts_with(spec::VERSION) && value.is_empty() {
            self.about.insert("version".to_owned(), parameter);
        }
    }

    fn take_pump(&mut self, now: Now, slot: Slot, block: &Block) {
        let Some(identity) = identity(block) else {
            let place = &slot.0;
            let text = format!(
                "the pump in slot {place} sends no INSERNUM; switch it on in the station's web page"
            );
            return self.reporter.note(now, "nameless", text);
        };
        let device = self.reporter.device().behind(identity);
        if !self.pumps.contains_key(&device) && self.pumps.len() >= spec::PUMPS_MAX {
            let text = format!("more than {} pumps; the rest is left out", spec::PUMPS_MAX);
            return self.reporter.note(now, "too_many", text);
        }
        self.seen.insert(device.clone());
        let pump =
            self.pumps.entry(device.clone()).or_insert_with(|| Pump::new(device, slot.clone()));
        pump.take(now, slot, block, &mut self.reporter);
    }

    /// Whether the session may go on.
    fn take_failure(&mut self, now: Now, slot: Option<Slot>, code: &str) -> bool {
        let at_slot = slot.and_then(|slot| {
            let (device, _) = self.pumps.iter().find(|(_, pump)| *pump.slot() == slot)?;
            Some(device.clone())
        });
        match (code, at_slot) {
            (spec::NO_MORE_DATA, _) => {}
            (spec::REMOVED, Some(device)) => self.remove(now, &device),
            (spec::REMOVED, None) => {}
            (spec::SYNTAX, _) => {
                let text = "the station does not understand our requests; the session begins again";
                self.reporter.note(now, "refused", text);
                self.stuffed = !self.stuffed;
                return false;
            }
            (code, Some(device)) if code.starts_with(spec::PUMP_FAILED) => {
                self.seen.insert(device.clone());
                if let Some(pump) = self.pumps.get_mut(&device) {
                    pump.fail(now, code, &mut self.reporter);
                }
            }
            (code, _) => {
                let text = format!("the station reports error {code}; see its manual");
                self.reporter.note(now, "station_error", text);
            }
        }
        true
    }

    fn take_error(&mut self, now: Now, error: FrameError) {
        let kind = match error {
            FrameError::Noise { .. } => "noise",
            FrameError::CutOff { .. } => "cut_off",
            FrameError::Length { .. } | FrameError::Form { .. } => "malformed",
            FrameError::Checksum { .. } => "checksum",
        };
        self.reporter.note(now, kind, error);
        let bad_block = !matches!(error, FrameError::Noise { .. } | FrameError::CutOff { .. });
        if let (true, Phase::Asked { request, .. }) = (bad_block, self.phase) {
            self.naks += 1;
            if self.naks > spec::NAK_MAX {
                self.open(now);
            } else {
                let at = now.mono + spec::BEFORE_ACK;
                self.phase = Phase::Naking { at, request };
            }
        }
    }

    fn close(&mut self, now: Now) {
        for pump in self.pumps.values_mut() {
            let reason = "the port of the pump station is closed";
            pump.lose(now, DeviceState::LinkDown, reason, &mut self.reporter);
        }
        let fresh = Self::new(self.reporter.device().clone(), self.poll_interval);
        let closed = std::mem::replace(self, fresh);
        self.reporter = closed.reporter;
    }
}

impl SerialDriver for Bcc {
    fn handle(&mut self, now: Now, event: SerialEvent<'_>) {
        match event {
            SerialEvent::Opened => self.open(now),
            SerialEvent::Received(bytes) => {
                self.last_byte = now.mono;
                let mut decoder = std::mem::take(&mut self.decoder);
                let found: Vec<_> = decoder.decode(bytes).collect();
                self.decoder = decoder;
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
        self.reporter.next()
    }

    fn next_timeout(&self) -> Option<MonoTime> {
        match self.phase {
            Phase::Closed => None,
            Phase::Asked { request, at, .. } => {
                let limit = match request {
                    Request::Alive => spec::OPEN_WITHIN,
                    Request::Version | Request::Get => spec::ANSWER_WITHIN,
                };
                Some((at.max(self.last_byte) + limit).min(at + spec::BLOCK_WITHIN))
            }
            Phase::Acking { at, .. } | Phase::Naking { at, .. } => Some(at),
            Phase::Resting { until, .. } => Some(until),
        }
    }
}

#[cfg(test)]
mod tests;
