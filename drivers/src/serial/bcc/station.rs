//! A station and its pumps: what its blocks say, and who is not heard any more.
//!
//! Not here: the session, that is what is asked, acknowledged and asked again.
//!
//! # Invariants
//! - each pump is a device of its own, told apart by its serial number, never by its slot
//! - what was online and is not heard for long is said to be silent, whatever the session does

use super::{
    block::Block,
    codec::{Entry, Frame, Slot, entries},
    pump::{Identity, Pump},
};
use crate::reporter::Reporter;
use model::{
    device::DeviceState,
    id::DeviceId,
    time::{MonoTime, Now},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// Facts about answers.
mod spec {
    use super::Duration;

    /// "3 pillars × 24 slots", §1, and some that were exchanged within a cycle.
    pub(super) const PUMPS_MAX: usize = 96;
    /// A pump is in the station until this many whole answers came without it: what a station in
    /// cyclic mode sends of one pump looks like a whole answer.
    pub(super) const MISSED_MAX: u8 = 3;
    /// The answer that a pump is waited for in may still come: "no answer in 3 s", §6.8.
    pub(super) const GRACE: Duration = Duration::from_secs(3);
    /// "ADMIN:ALIVE → t,50100,GNACK,0", §5.
    pub(super) const OPENED: &str = "GNACK";
    /// "ADMIN:VERSION → t,50100,V3.30 (three fields only)", §5.
    pub(super) const VERSION: char = 'V';
    /// What the station says of itself, §7, under which name. The last bar code (FMBANY) is not
    /// here: it may be a patient's.
    pub(super) const ABOUT: [(&str, &str); 5] = [
        ("COMSERIALNO", "serial"),
        ("COMSWVERSION", "software"),
        ("FMNOR", "pillars"),
        ("FMRT", "layout"),
        ("FMSTAT", "status"),
    ];
    /// Errors, §7.4.
    pub(super) const ERROR: &str = "GNERR";
    pub(super) const NO_MORE_DATA: &str = "11";
    pub(super) const REMOVED: &str = "39";
    pub(super) const SYNTAX: &str = "68";
    /// "4x pump communication error for that slot", §7.4.
    pub(super) const PUMP_FAILED: char = '4';
    pub(super) const PUMP_FAILED_LEN: usize = 2;
}

/// What a block was about, as far as the session must know.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Said {
    /// The session is open.
    pub(super) opened: bool,
    /// The protocol version.
    pub(super) version: bool,
    /// Pumps, the station itself, or that there are none.
    pub(super) data: bool,
    /// The parameters of a pump.
    pub(super) pump: bool,
    /// The last request was not understood.
    pub(super) refused: bool,
    /// The station was switched on anew.
    pub(super) restarted: bool,
}

/// A station and its pumps.
#[derive(Debug)]
pub(super) struct Station {
    pub(super) reporter: Reporter,
    /// Its own seconds: backwards means that it started anew.
    time: u32,
    about: BTreeMap<String, String>,
    /// What was told of the station; `None` before anything, or when it was silent.
    told: Option<BTreeMap<String, String>>,
    silent: bool,
    last_data: MonoTime,
    pumps: BTreeMap<DeviceId, Pump>,
    /// Pumps that were heard in this answer.
    seen: BTreeSet<DeviceId>,
}

impl Station {
    pub(super) fn new(reporter: Reporter) -> Self {
        Self {
            reporter,
            time: 0,
            about: BTreeMap::new(),
            told: None,
            silent: false,
            last_data: MonoTime::START,
            pumps: BTreeMap::new(),
            seen: BTreeSet::new(),
        }
    }

    /// The port was opened: from then on the station is waited for.
    pub(super) fn begin_waiting(&mut self, now: Now) {
        self.last_data = now.mono;
    }

    /// A session begins: the station may have been switched on anew.
    pub(super) fn begin_session(&mut self) {
        self.time = 0;
    }

    /// An answer of all pumps begins.
    pub(super) fn begin_answer(&mut self) {
        self.seen.clear();
    }

    /// An answer of all pumps is whole: those that are missing for long are not in the station.
    pub(super) fn end_answer(&mut self, now: Now, patience: Duration) {
        let missing = self.pumps.iter_mut().filter(|(device, _)| !self.seen.contains(*device));
        let gone = missing.filter_map(|(device, pump)| {
            let often = pump.miss() >= spec::MISSED_MAX;
            (often && now.mono.since(pump.last_heard()) >= patience).then(|| device.clone())
        });
        for device in gone.collect::<Vec<_>>() {
            self.remove(now, &device);
        }
        self.begin_answer();
    }

    /// Whether a pump was heard in this answer.
    pub(super) fn has_seen_pumps(&self) -> bool {
        !self.seen.is_empty()
    }

    /// Slots of the pumps that were not heard in this answer.
    pub(super) fn unseen(&self) -> impl Iterator<Item = Slot> {
        let unseen = self.pumps.iter().filter(|(device, _)| !self.seen.contains(*device));
        unseen.map(|(_, pump)| pump.slot())
    }

    /// Who was not heard for so long, and who asks, is silent: the session may go round in
    /// circles meanwhile.
    pub(super) fn check_silence(&mut self, now: Now, patience: Duration) {
        let patience = patience + spec::GRACE;
        if now.mono.since(self.last_data) >= patience {
            let reason = "the pump station says nothing of its pumps; see the notes of this link";
            self.fall_silent(now, reason);
        }
        for pump in self.pumps.values_mut() {
            if pump.is_online() && now.mono.since(pump.last_heard()) >= patience {
                let reason = "its block does not come any more";
                pump.lose(now, DeviceState::Silent, reason, &mut self.reporter);
            }
        }
    }

    /// The station says nothing any more.
    pub(super) fn fall_silent(&mut self, now: Now, reason: &str) {
        if self.silent {
            return;
        }
        (self.silent, self.told) = (true, None);
        self.reporter.status(now, DeviceState::Silent, reason, BTreeMap::new());
        for pump in self.pumps.values_mut() {
            pump.lose(now, DeviceState::Silent, "the pump station is silent", &mut self.reporter);
        }
    }

    /// The port is gone.
    pub(super) fn close(&mut self, now: Now) {
        for pump in self.pumps.values_mut() {
            let reason = "the port of the pump station is closed";
            pump.lose(now, DeviceState::LinkDown, reason, &mut self.reporter);
        }
    }

    /// Takes the entries of a block in.
    pub(super) fn take(&mut self, now: Now, frame: &Frame) -> Said {
        let mut said = Said::default();
        let mut blocks: BTreeMap<Slot, Block> = BTreeMap::new();
        let mut failures = Vec::new();
        for entry in entries(&frame.information) {
            let Some(Entry { time, slot, parameter, value }) = entry else {
                self.reporter.note(now, "malformed", "an entry is malformed; it is skipped");
                continue;
            };
            said.restarted |= time < self.time;
            self.time = time;
            match slot {
                _ if parameter == spec::ERROR => failures.push((slot, value)),
                Some(slot) => blocks.entry(slot).or_default().insert(parameter, value),
                None => self.take_general(parameter, value, &mut said),
            }
        }
        if said.restarted {
            let text = "the station started anew; the session begins again";
            self.reporter.note(now, "restarted", text);
        }
        said.pump = !blocks.is_empty();
        said.refused = failures.iter().any(|(_, code)| code == spec::SYNTAX);
        said.data |= said.pump || failures.iter().any(|(_, code)| code != spec::SYNTAX);
        self.about.insert("bed".to_owned(), frame.bed_id.clone());
        if said.data {
            self.hear(now);
        }
        for (slot, block) in blocks {
            self.take_pump(now, slot, &block);
        }
        for (slot, code) in failures {
            self.take_failure(now, slot, &code);
        }
        said
    }

    fn hear(&mut self, now: Now) {
        (self.last_data, self.silent) = (now.mono, false);
        if self.told.as_ref() != Some(&self.about) {
            self.told = Some(self.about.clone());
            self.reporter.status(now, DeviceState::Online, "", self.about.clone());
        }
    }

    fn take_general(&mut self, parameter: String, value: String, said: &mut Said) {
        let named = spec::ABOUT.iter().find(|(name, _)| *name == parameter);
        if parameter == spec::OPENED {
            said.opened = true;
        } else if parameter.starts_with(spec::VERSION) && value.is_empty() {
            said.version = true;
            self.about.insert("version".to_owned(), parameter);
        } else {
            said.data = true;
            if let Some((_, name)) = named {
                self.about.insert((*name).to_owned(), value);
            }
        }
    }

    fn take_pump(&mut self, now: Now, slot: Slot, block: &Block) {
        let Some(device) = self.device_of(now, Identity::of(block)) else {
            let text = format!(
                "the pump in slot {slot} sends no INSERNUM; switch it on in the station's web page"
            );
            return self.reporter.note(now, "nameless", text);
        };
        if !self.pumps.contains_key(&device) && self.pumps.len() >= spec::PUMPS_MAX {
            let text = format!("more than {} pumps; the rest is left out", spec::PUMPS_MAX);
            return self.reporter.note(now, "too_many", text);
        }
        self.seen.insert(device.clone());
        let pump = self.pumps.entry(device.clone()).or_insert_with(|| Pump::new(device, slot));
        pump.take(now, slot, block, &mut self.reporter);
    }

    /// "Device id = link id + serial number (INSERNUM, else INNR)".
    fn device_of(&mut self, now: Now, identity: Identity<'_>) -> Option<DeviceId> {
        let link = self.reporter.device();
        let by_number = identity.number.map(|number| link.behind(number));
        let Some(serial) = identity.serial else {
            // INSERNUM may be not available for a moment: the pump stays who it is.
            let mut pumps = self.pumps.iter();
            let known = pumps
                .find(|(_, pump)| identity.number.is_some() && pump.number() == identity.number);
            return known.map(|(device, _)| device.clone()).or(by_number);
        };
        let device = link.behind(serial);
        let known = self.pumps.get(&device).and_then(Pump::number);
        if let (Some(number), Some(known)) = (identity.number, known)
            && number != known
        {
            let text = format!("two pumps have the serial number {serial}; INNR tells them apart");
            self.reporter.note(now, "same_serial", text);
            return by_number;
        }
        Some(device)
    }

    fn take_failure(&mut self, now: Now, slot: Option<Slot>, code: &str) {
        let failed = code.len() == spec::PUMP_FAILED_LEN && code.starts_with(spec::PUMP_FAILED);
        match (code, slot.and_then(|slot| self.device_at(slot))) {
            (spec::NO_MORE_DATA, _) | (spec::REMOVED, None) => {}
            (spec::REMOVED, Some(device)) => self.remove(now, &device),
            (spec::SYNTAX, _) => {
                let text = "the station does not understand our request";
                self.reporter.note(now, "refused", text);
            }
            (code, Some(device)) if failed => {
                if let Some(pump) = self.pumps.get_mut(&device) {
                    pump.fail(now, code, &mut self.reporter);
                }
                self.seen.insert(device);
            }
            (code, _) => {
                let place = slot.map(|slot| format!(" for slot {slot}")).unwrap_or_default();
                let text = format!("the station reports error {code}{place}; see its manual");
                self.reporter.note(now, "station_error", text);
            }
        }
    }

    /// The pump that was heard last from that slot: pumps change their places.
    fn device_at(&self, slot: Slot) -> Option<DeviceId> {
        let there = self.pumps.iter().filter(|(_, pump)| pump.slot() == slot);
        Some(there.max_by_key(|(_, pump)| pump.last_heard())?.0.clone())
    }

    fn remove(&mut self, now: Now, device: &DeviceId) {
        if let Some(mut pump) = self.pumps.remove(device) {
            let reason = "taken out of the station";
            pump.lose(now, DeviceState::Removed, reason, &mut self.reporter);
        }
    }
}
