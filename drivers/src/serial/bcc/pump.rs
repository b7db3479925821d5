//! One pump behind a station: what it is, how it is doing, what its block becomes.
//!
//! Not here: how blocks are asked for.
//!
//! # Invariants
//! - a pump that is not heard is never online: its numbers are silent and its alarms forgotten

use super::{
    alarm::{self, Alarm, Alarms},
    block::Block,
    codec::Slot,
    reading::{Problem, readings, reads, shown},
    state::{self, state},
};
use crate::reporter::Reporter;
use model::{
    alarm::{AlarmPhase, DeviceAlarm},
    device::DeviceState,
    id::{Channel, DeviceId},
    metric::{Kind, Metric},
    reading::{NoData, Reading, ReadingGroup},
    record::Record,
    time::{MonoTime, Now},
};
use std::collections::{BTreeMap, BTreeSet};

/// Facts about pumps.
mod spec {
    /// "Device id = link id + serial number (INSERNUM, else INNR)".
    pub(super) const SERIAL: &str = "INSERNUM";
    pub(super) const NUMBER: &str = "INNR";
    /// What a pump says of itself, §7, under which name.
    pub(super) const ABOUT: [(&str, &str); 7] = [
        (SERIAL, "serial"),
        (NUMBER, "number"),
        ("INDTNR", "type"),
        ("GNNEW", MODEL),
        ("GNMODEL", MODEL),
        ("INPSOLL", "pressure_level"),
        ("INP1", "pressure_level"),
    ];
    pub(super) const MODEL: &str = "model";
    pub(super) const PRODUCT: &str = "product";
    /// "Prefix 686 Infusomat Space, …; 586/587/588 US variants", §7.
    pub(super) const PRODUCTS: [(&str, &str); 8] = [
        ("686", "Infusomat Space"),
        ("687", "Infusomat Space P"),
        ("688", "Perfusor Space"),
        ("586", "Infusomat Space (US)"),
        ("587", "Infusomat Space P (US)"),
        ("588", "Perfusor Space (US)"),
        ("I0002", "Perfusor compactplus"),
        ("I0003", "Infusomat compactplus"),
    ];
    /// Parameters that are "counted and shown, not stored".
    pub(super) const NOT_STORED: &str = "not_stored";
}

/// What tells this pump from all others.
#[derive(Clone, Copy, Debug)]
pub(super) struct Identity<'a> {
    pub(super) serial: Option<&'a str>,
    pub(super) number: Option<&'a str>,
}

impl<'a> Identity<'a> {
    /// An empty number and zero are none: pumps without one must not become one pump.
    pub(super) fn of(block: &'a Block) -> Self {
        let named = |name| {
            let text = block.sent(name).flatten()?;
            text.chars()
                .any(|letter| letter.is_ascii_alphanumeric() && letter != '0')
                .then_some(text)
        };
        Self { serial: named(spec::SERIAL), number: named(spec::NUMBER) }
    }
}

/// One pump.
#[derive(Debug)]
pub(super) struct Pump {
    device: DeviceId,
    slot: Slot,
    about: BTreeMap<String, String>,
    /// As last told.
    state: Option<DeviceState>,
    last_heard: MonoTime,
    /// Whole answers without it, one after the other.
    missed: u8,
    /// Stream metrics it sent: silent or failed when the pump is.
    heard: BTreeSet<Metric>,
    alarms: Alarms,
}

impl Pump {
    pub(super) fn new(device: DeviceId, slot: Slot) -> Self {
        Self {
            device,
            slot,
            about: BTreeMap::new(),
            state: None,
            last_heard: MonoTime::START,
            missed: 0,
            heard: BTreeSet::new(),
            alarms: Alarms::default(),
        }
    }

    /// Takes its block in.
    pub(super) fn take(&mut self, now: Now, slot: Slot, block: &Block, reporter: &mut Reporter) {
        self.slot = slot;
        self.hear(now);
        self.tell_online(now, block, reporter);
        let changes = self.alarms.take(block);
        let (mut said, mut problems) = readings(block);
        said.push(Reading::text(Metric::PUMP_STATE, state(block, &self.alarms)));
        let unread = alarm::problems(block).into_iter();
        problems.extend(unread.map(|text| Problem { kind: "malformed", text }));
        for problem in problems {
            reporter.note(now, problem.kind, problem.text);
        }
        let streams = said.iter().map(|reading| reading.metric);
        self.heard.extend(streams.filter(|metric| metric.row().kind == Kind::Stream));
        self.emit(now, said, reporter);
        for (phase, alarm) in changes {
            reporter.emit(Record::Alarm(self.device_alarm(now, phase, &alarm)));
        }
    }

    /// The station says that it cannot reach it.
    pub(super) fn fail(&mut self, now: Now, code: &str, reporter: &mut Reporter) {
        self.hear(now);
        self.emit_absent(now, &NoData::DeviceError(code.to_owned()), reporter);
    }

    /// It cannot be heard any more. Its alarms are forgotten, not ended: nobody knows. Those that
    /// are up when it is heard again begin again.
    pub(super) fn lose(
        &mut self,
        now: Now,
        state: DeviceState,
        reason: &str,
        reporter: &mut Reporter,
    ) {
        let before = self.state.replace(state);
        if before == Some(state) {
            return;
        }
        if before == Some(DeviceState::Online) {
            self.emit_absent(now, &NoData::Silent, reporter);
        }
        self.alarms.forget();
        let about = self.about.clone();
        reporter.status_of(self.device.clone(), now, state, reason, about);
    }

    /// A whole answer came without it; how many did so far.
    pub(super) fn miss(&mut self) -> u8 {
        self.missed = self.missed.saturating_add(1);
        self.missed
    }

    pub(super) fn slot(&self) -> Slot {
        self.slot
    }

    pub(super) fn is_online(&self) -> bool {
        self.state == Some(DeviceState::Online)
    }

    pub(super) fn last_heard(&self) -> MonoTime {
        self.last_heard
    }

    /// The unique number it said.
    pub(super) fn number(&self) -> Option<&str> {
        let (_, name) = spec::ABOUT.iter().find(|(parameter, _)| *parameter == spec::NUMBER)?;
        self.about.get(*name).map(String::as_str)
    }

    fn hear(&mut self, now: Now) {
        (self.last_heard, self.missed) = (now.mono, 0);
    }

    fn tell_online(&mut self, now: Now, block: &Block, reporter: &mut Reporter) {
        let mut about = self.about.clone();
        for (parameter, name) in spec::ABOUT {
            if let Some(value) = block.sent(parameter).flatten() {
                about.insert(name.to_owned(), value.to_owned());
            }
        }
        if let Some(product) = about.get(spec::MODEL).and_then(|model| product(model)) {
            about.insert(spec::PRODUCT.to_owned(), product.to_owned());
        }
        let others: Vec<_> = not_stored(block).collect();
        if !others.is_empty() {
            let names: Vec<_> = others.iter().map(|(name, _)| *name).collect();
            let text = format!("{}: {}", names.len(), names.join(" "));
            if about.insert(spec::NOT_STORED.to_owned(), text.clone()) != Some(text) {
                let shown: Vec<_> = others.iter().map(|(name, value)| shown(name, value)).collect();
                let (slot, shown) = (self.slot, shown.join(" "));
                let text = format!("the pump in slot {slot} also says {shown}; none is stored");
                reporter.note(now, spec::NOT_STORED, text);
            }
        }
        let state = Some(DeviceState::Online);
        if self.state != state || about != self.about {
            (self.state, self.about) = (state, about.clone());
            reporter.status_of(self.device.clone(), now, DeviceState::Online, "", about);
        }
    }

    fn emit_absent(&self, now: Now, reason: &NoData, reporter: &mut Reporter) {
        let absent = self.heard.iter().map(|metric| Reading::no_data(*metric, reason.clone()));
        let absent: Vec<_> = absent.collect();
        if !absent.is_empty() {
            self.emit(now, absent, reporter);
        }
    }

    fn emit(&self, now: Now, readings: Vec<Reading>, reporter: &mut Reporter) {
        let group = ReadingGroup::new(self.device.clone(), now.observed(), readings);
        reporter.emit(Record::Readings(group.with_context("slot", &self.slot.to_string())));
    }

    fn device_alarm(&self, now: Now, phase: AlarmPhase, alarm: &Alarm) -> DeviceAlarm {
        DeviceAlarm {
            device: self.device.clone(),
            channel: Channel::default(),
            phase,
            kind: alarm.kind,
            code: alarm.code(),
            text: alarm.words.to_owned(),
            priority: alarm.priority,
            latched: false,
            source: None,
            device_time: None,
            observed: now.observed(),
        }
    }
}

fn product(model: &str) -> Option<&'static str> {
    let known = spec::PRODUCTS.iter().find(|(prefix, _)| model.starts_with(prefix))?;
    Some(known.1)
}

/// Parameters that become neither a reading, nor a state, an alarm or a word of the pump on itself.
fn not_stored(block: &Block) -> impl Iterator<Item = (&str, &str)> {
    block.parameters().filter(|(name, _)| {
        let about = spec::ABOUT.iter().any(|(known, _)| known == name);
        !(about || reads(name) || state::reads(name) || alarm::reads(name))
    })
}

#[cfg(test)]
mod tests {
    use super::{super::block::tests::block, *};

    #[test]
    fn a_number_that_tells_no_pump_from_another_is_none() {
        for (text, expected) in [
            ("INSERNUM=40864 INNR=60009FA0", (Some("40864"), Some("60009FA0"))),
            ("INSERNUM= INNR=00000000", (None, None)),
            ("INSERNUM=0 INNR=_NV", (None, None)),
            ("INSERNUM=_NA INNR=--", (None, None)),
        ] {
            let block = block(text);
            let identity = Identity::of(&block);
            assert_eq!((identity.serial, identity.number), expected, "{text}");
        }
    }

    #[test]
    fn models_have_names() {
        assert_eq!(product("688F030006"), Some("Perfusor Space"));
        assert_eq!(product("I0003xx"), Some("Infusomat compactplus"));
        assert_eq!(product("900"), None);
    }

    #[test]
    fn what_is_not_stored_is_counted() {
        let block = block("INRT=5 INRT2=1 INA3=0 INA4=0 INM3=1 INM7=0 ALARM1=1 INNR=1 INSOLID=x");
        let names: Vec<_> = not_stored(&block).map(|(name, _)| name).collect();
        assert_eq!(names, ["INM7", "INRT2", "INSOLID"]);
    }
}
