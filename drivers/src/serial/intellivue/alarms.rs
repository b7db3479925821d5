//! Alarms that stand on the monitor: which began, changed and ended since the last answer.
//!
//! Read first: the protocol sheet, §8 and "Our metrics"; the metric catalogue, "Event codes".
//!
//! # Invariants
//! - an alarm ends when the monitor no longer lists it, never because nothing is heard
//! - at most [`STANDING_MAX`] alarms are kept

use super::{
    attributes::{AlarmEntry, Attributes},
    nomenclature::{Sensor, alarm_metric, sensor},
};
use crate::reporter::Reporter;
use model::{
    alarm::{AlarmKind, AlarmPhase, DeviceAlarm, Priority},
    id::Channel,
    reading::{NoData, shortened},
    record::Record,
    time::{DeviceTime, Now},
};
use std::collections::BTreeMap;

/// Facts from the sheet and the catalogue.
mod spec {
    use super::{AlarmKind, Priority};

    /// "Type: 1/2/4 low/medium/high technical; 0x0100/0x0200/0x0400 patient", §8; the most urgent
    /// first.
    pub(super) const PRIORITIES: [(u16, Priority); 3] =
        [(0x0404, Priority::High), (0x0202, Priority::Medium), (0x0101, Priority::Low)];
    /// "State", §8.
    pub(super) const STATES: [(u16, &str); 5] = [
        (0x8000, "inhibited"),
        (0x4000, "suspended"),
        (LATCHED, "latched"),
        (0x1000, "silenced"),
        (0x0008, "new"),
    ];
    /// The condition is over, and the monitor keeps its alarm until somebody has seen it. That one
    /// *would* latch is a flag, which says nothing of what became of it.
    pub(super) const LATCHED: u16 = 0x2000;
    /// "Flags", §8.
    pub(super) const FLAGS: [(u16, &str); 4] = [
        (0x4000, "audible at the bedside"),
        (0x2000, "audible at the central station"),
        (0x1000, "latches visibly"),
        (0x0800, "latches audibly"),
    ];
    /// Event codes, partition 3 of the catalogue.
    pub(super) const KINDS: [(u16, AlarmKind); 23] = [
        (40, AlarmKind::High),
        (42, AlarmKind::High),
        (62, AlarmKind::Low),
        (64, AlarmKind::Low),
        (268, AlarmKind::LeadOff),
        (274, AlarmKind::LeadOff),
        (308, AlarmKind::ProbeOff),
        (APNOEA, AlarmKind::Apnoea),
        (ASYSTOLE, AlarmKind::Asystole),
        (3086, AlarmKind::BradycardiaExtreme),
        (3122, AlarmKind::TachycardiaExtreme),
        (3128, AlarmKind::AtrialFibrillation),
        (3078, AlarmKind::Pause),
        (3108, AlarmKind::Pause),
        (3158, AlarmKind::Irregular),
        (3206, AlarmKind::ROnT),
        (3210, AlarmKind::PvcPair),
        (3212, AlarmKind::PvcRun),
        (3224, AlarmKind::VentricularTachycardia),
        (3226, AlarmKind::NonSustainedTachycardia),
        (3246, AlarmKind::Desaturation),
        (3252, AlarmKind::PvcRate),
        (61_444, AlarmKind::VentricularFibrillation),
    ];
    pub(super) const ASYSTOLE: u16 = 3076;
    pub(super) const APNOEA: u16 = 3072;
}

/// A monitor shows a few at a time.
const STANDING_MAX: usize = 128;

/// Whose alarm it is.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum List {
    Patient,
    Technical,
}

/// Which alarm: list, source, code, handle of its object.
type Key = (List, u16, u16, u16);

/// The alarms that stand.
#[derive(Debug, Default)]
pub(super) struct Alarms {
    standing: BTreeMap<Key, AlarmEntry>,
}

impl Alarms {
    /// Takes in what the alert monitor says.
    pub(super) fn take(
        &mut self,
        now: Now,
        device_time: Option<DeviceTime>,
        attributes: &Attributes,
        reporter: &mut Reporter,
    ) {
        let condition = attributes.alert_condition();
        // Where a list is left out, the condition says whether it is empty.
        let none = |highest: Option<u16>| (highest == Some(0)).then(Vec::new);
        let patient = attributes.patient_alarms();
        let technical = attributes.technical_alarms();
        for (list, entries, highest) in [
            (List::Patient, patient, condition.map(|condition| condition.patient)),
            (List::Technical, technical, condition.map(|condition| condition.technical)),
        ] {
            match entries {
                Ok(Some(entries)) => self.replace(now, device_time, list, entries, reporter),
                Ok(None) => {
                    if let Some(empty) = none(highest) {
                        self.replace(now, device_time, list, empty, reporter);
                    }
                }
                Err(error) => reporter.note(now, "malformed", error),
            }
        }
    }

    /// Forgets what stands: nobody knows whether it is over.
    pub(super) fn clear(&mut self) {
        self.standing.clear();
    }

    /// "While a matching technical alarm stands": why a value of that id is not there.
    pub(super) fn reason(&self, physio_id: u16) -> Option<NoData> {
        let matching = |key: &&Key| {
            let (list, source, ..) = **key;
            list == List::Technical && (source == physio_id || sensor(source) == sensor(physio_id))
        };
        self.standing.keys().find(matching).map(|_| match sensor(physio_id) {
            Sensor::Ecg => NoData::LeadOff,
            _ => NoData::SensorOff,
        })
    }

    /// Whether the monitor says that the heart stands still: then 0 is a heart rate.
    pub(super) fn asystole(&self) -> bool {
        self.patient_has(spec::ASYSTOLE)
    }

    /// Whether the monitor says that there is no breath: then 0 is a respiration rate.
    pub(super) fn apnoea(&self) -> bool {
        self.patient_has(spec::APNOEA)
    }

    fn patient_has(&self, code: u16) -> bool {
        self.standing
            .keys()
            .any(|(list, _, standing, _)| (*list, *standing) == (List::Patient, code))
    }

    fn replace(
        &mut self,
        now: Now,
        device_time: Option<DeviceTime>,
        list: List,
        entries: Vec<AlarmEntry>,
        reporter: &mut Reporter,
    ) {
        let key = |entry: &AlarmEntry| (list, entry.source, entry.code, entry.handle);
        let mut listed: BTreeMap<Key, AlarmEntry> =
            entries.into_iter().map(|entry| (key(&entry), entry)).collect();
        if listed.len() > STANDING_MAX {
            let text = format!("more than {STANDING_MAX} alarms stand; the rest is left out");
            reporter.note(now, "too_many", text);
            listed = listed.into_iter().take(STANDING_MAX).collect();
        }
        let before = std::mem::take(&mut self.standing);
        let mut emit = |phase, key: &Key, entry: &AlarmEntry| {
            reporter.emit(Record::Alarm(DeviceAlarm {
                device: reporter.device().clone(),
                channel: Channel::default(),
                phase,
                kind: kind(list, entry),
                code: code(key),
                text: text(entry),
                priority: priority(entry.kind),
                latched: entry.state & spec::LATCHED != 0,
                source: alarm_metric(entry.source),
                device_time,
                observed: now.observed(),
            }));
        };
        for (key, entry) in &before {
            if key.0 == list && !listed.contains_key(key) {
                emit(AlarmPhase::End, key, entry);
            }
        }
        for (key, entry) in &listed {
            match before.get(key) {
                None => emit(AlarmPhase::Start, key, entry),
                Some(known) if known != entry => emit(AlarmPhase::Update, key, entry),
                Some(_) => {}
            }
        }
        self.standing = before.into_iter().filter(|(key, _)| key.0 != list).chain(listed).collect();
    }
}

/// Source, code and object as sent; the letter tells the lists apart.
fn code((list, source, code, handle): &Key) -> String {
    let letter = match list {
        List::Patient => 'p',
        List::Technical => 't',
    };
    format!("{letter}:{source:04x}:{code:04x}:{handle:04x}")
}

/// The text as sent, then what the monitor says beside it.
fn text(entry: &AlarmEntry) -> String {
    let set = |bits: u16, names: &[(u16, &'static str)]| -> Vec<String> {
        names
            .iter()
            .filter(|(bit, _)| bits & bit != 0)
            .map(|(_, name)| (*name).to_owned())
            .collect()
    };
    let mut details = set(entry.state, &spec::STATES);
    details.extend(set(entry.flags, &spec::FLAGS));
    details.extend(entry.priority.map(|priority| format!("priority {priority}")));
    details.extend(entry.text_id.map(|id| format!("text {id:08x}")));
    let details = details.join(", ");
    shortened(
        match entry.text.as_str() {
            "" => details,
            said => format!("{said} ({details})"),
        }
        .as_str(),
    )
}

fn priority(kind: u16) -> Option<Priority> {
    spec::PRIORITIES.iter().find(|(bits, _)| kind & bits != 0).map(|(_, priority)| *priority)
}

fn kind(list: List, entry: &AlarmEntry) -> AlarmKind {
    let known = spec::KINDS.iter().find(|(code, _)| *code == entry.code).map(|(_, kind)| *kind);
    match (known, list, sensor(entry.source)) {
        (Some(kind), ..) => kind,
        (None, List::Technical, Sensor::Cuff) => AlarmKind::CuffError,
        _ => AlarmKind::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{bench::now_at, serial::SerialOutput};
    use model::{device::DeviceKind, id::DeviceId};

    fn entry(source: u16, code: u16, kind: u16) -> AlarmEntry {
        let (text_id, priority) = (Some(0x0005_0001), Some(3));
        let (text, flags) = ("**HR LOW".to_owned(), 0x5000);
        AlarmEntry { source, code, kind, state: 0x2008, handle: 1, text_id, priority, flags, text }
    }

    #[test]
    fn an_alarm_is_what_its_code_says() {
        for (code, source, list, expected) in [
            (3076, 0x4182, List::Patient, AlarmKind::Asystole),
            (3072, 0x500A, List::Patient, AlarmKind::Apnoea),
            (61_444, 0x0100, List::Patient, AlarmKind::VentricularFibrillation),
            (274, 0x0100, List::Technical, AlarmKind::LeadOff),
            (38, 0x4A04, List::Technical, AlarmKind::CuffError),
            (38, 0x4BB8, List::Technical, AlarmKind::Other),
            (194, 0x4182, List::Technical, AlarmKind::Other),
        ] {
            assert_eq!(kind(list, &entry(source, code, 1)), expected, "{code}");
        }
    }

    #[test]
    fn priority_is_that_of_the_type() {
        for (kind, expected) in [
            (0x0400, Some(Priority::High)),
            (0x0200, Some(Priority::Medium)),
            (0x0001, Some(Priority::Low)),
            (0x0104, Some(Priority::High)),
            (0x0000, None),
        ] {
            assert_eq!(priority(kind), expected, "{kind:04x}");
        }
    }

    #[test]
    fn what_the_monitor_latched_is_told_so_until_it_is_gone_and_what_only_would_latch_is_not() {
        let device = DeviceId::new("mon-01").unwrap();
        let mut reporter = Reporter::new(device, DeviceKind::Monitor, "intellivue");
        let mut alarms = Alarms::default();
        let holds = AlarmEntry { state: 0x0008, flags: 0x5000, ..entry(0x4182, 62, 0x0200) };
        let latched = AlarmEntry { state: 0x2000, ..holds.clone() };
        for entries in [vec![holds], vec![latched], vec![]] {
            alarms.replace(now_at(0), None, List::Patient, entries, &mut reporter);
        }
        let mut told = Vec::new();
        while let Some(output) = reporter.next() {
            let SerialOutput::Emit(Record::Alarm(alarm)) = output else { panic!("{output:?}") };
            told.push((alarm.phase, alarm.latched));
        }
        let (start, update, end) = (AlarmPhase::Start, AlarmPhase::Update, AlarmPhase::End);
        assert_eq!(told, [(start, false), (update, true), (end, true)]);
    }

    #[test]
    fn latching_and_silence_are_told_with_the_text() {
        let mut standing = entry(0x4182, 62, 0x0200);
        let expected = "**HR LOW (latched, new, audible at the bedside, latches visibly, \
                        priority 3, text 00050001)";
        assert_eq!(text(&standing), expected);
        (standing.state, standing.flags, standing.text) = (0x1000, 0, String::new());
        assert_eq!(text(&standing), "silenced, priority 3, text 00050001");
    }
}
