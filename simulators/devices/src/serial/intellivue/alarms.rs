//! The monitor's own alarms: which stand, in which state, and how they are listed (§8).
//!
//! Codes and text ids are placeholders: the sheet has no list of them.

use super::{
    messages::{attribute, list, observation, sized, string, words},
    moment::{Moment, Sensor, is_off},
    spec,
};
use crate::Patient;

/// Sources of technical alarms: the physio id of what is measured.
pub(super) const ECG: u16 = 0x4182;
pub(super) const RESPIRATION: u16 = 0x500A;
pub(super) const OXIMETER: u16 = 0x4BB8;

/// Handle of the alert monitor, §9.8.
pub(super) const HANDLE: u16 = 0x0301;
/// The monitor's limits.
const HR_LOW: u8 = 50;
const HR_HIGH: u8 = 120;
const SPO2_LOW: u8 = 90;
/// An alarm is marked new for so long; then somebody silences it.
const NEW_S: u64 = 5;
const SILENCED_AFTER_S: u64 = 10;
/// A patient alarm that is over is shown for so long.
const LATCHED_S: u64 = 10;

/// Types, §8.
const PATIENT_MEDIUM: u16 = 0x0200;
const PATIENT_HIGH: u16 = 0x0400;
const TECHNICAL_LOW: u16 = 1;
const TECHNICAL_MEDIUM: u16 = 2;
/// States, §8.
const NEW: u16 = 0x0008;
const SILENCED: u16 = 0x1000;
const LATCHED: u16 = 0x2000;
/// Flags, §8.
const BEDSIDE_AUDIBLE: u16 = 0x4000;
const VISUAL_LATCHING: u16 = 0x1000;
/// Info ids, §8.
const GENERAL: u16 = 513;
const GENERAL_AND_STRING: u16 = 516;

/// A kind of alarm.
#[derive(Debug)]
struct Kind {
    source: u16,
    code: u16,
    severity: u16,
    /// Handle of the numeric it is about.
    handle: u16,
    text_id: u32,
    text: Option<&'static str>,
    priority: u16,
    holds: fn(&Patient, u64) -> bool,
}

/// Every kind; patient alarms have a type above 255.
const KINDS: [Kind; 6] = [
    Kind {
        source: 0x4182,
        code: 8,
        severity: PATIENT_HIGH,
        handle: 0x0101,
        text_id: 0x0005_0001,
        text: Some("HR LOW"),
        priority: 3,
        holds: |patient, at| heart_rate(patient, at).is_some_and(|hr| hr < HR_LOW),
    },
    Kind {
        source: 0x4182,
        code: 6,
        severity: PATIENT_MEDIUM,
        handle: 0x0101,
        text_id: 0x0005_0002,
        text: Some("HR HIGH"),
        priority: 2,
        holds: |patient, at| heart_rate(patient, at).is_some_and(|hr| hr > HR_HIGH),
    },
    Kind {
        source: 0x4BB8,
        code: 8,
        severity: PATIENT_HIGH,
        handle: 0x0102,
        text_id: 0x0005_0003,
        text: None,
        priority: 3,
        holds: |patient, at| {
            let low = patient.vitals(patient.scenario.second(at)).spo2 < SPO2_LOW;
            low && !is_off(&patient.scenario, Sensor::Oximeter, at)
        },
    },
    Kind {
        source: ECG,
        code: 22,
        severity: TECHNICAL_MEDIUM,
        handle: 0x0101,
        text_id: 0x0005_0011,
        text: Some("ECG LEADS OFF"),
        priority: 2,
        holds: |patient, at| is_off(&patient.scenario, Sensor::Ecg, at),
    },
    Kind {
        source: RESPIRATION,
        code: 22,
        severity: TECHNICAL_LOW,
        handle: 0x0106,
        text_id: 0x0005_0012,
        text: Some("RESP LEADS OFF"),
        priority: 1,
        holds: |patient, at| is_off(&patient.scenario, Sensor::Respiration, at),
    },
    Kind {
        source: OXIMETER,
        code: 22,
        severity: TECHNICAL_LOW,
        handle: 0x0102,
        text_id: 0x0005_0013,
        text: Some("SpO2 SENSOR OFF"),
        priority: 1,
        holds: |patient, at| is_off(&patient.scenario, Sensor::Oximeter, at),
    },
];

fn heart_rate(patient: &Patient, elapsed_s: u64) -> Option<u8> {
    let off = is_off(&patient.scenario, Sensor::Ecg, elapsed_s);
    (!off).then(|| patient.vitals(patient.scenario.second(elapsed_s)).hr)
}

/// Whether the monitor's own limit of the heart rate is passed.
pub(super) fn hr_in_alarm(moment: &Moment<'_>) -> bool {
    let hr = heart_rate(&moment.setup.patient, moment.elapsed_s());
    hr.is_some_and(|hr| !(HR_LOW..=HR_HIGH).contains(&hr))
}

/// An alarm that stands, or is latched.
#[derive(Clone, Copy, Debug)]
pub(super) struct Alarm {
    kind: &'static Kind,
    state: u16,
}

impl Alarm {
    /// What the alarm is called in the truth: its list, and source, code and object as sent, which
    /// together are one entry of §8.
    pub(super) fn name(&self) -> String {
        let list = if self.is_technical() { 't' } else { 'p' };
        let Kind { source, code, handle, .. } = self.kind;
        format!("{list}:{source:04x}:{code:04x}:{handle:04x}")
    }

    /// Source of a technical alarm.
    pub(super) fn technical_source(&self) -> Option<u16> {
        self.is_technical().then_some(self.kind.source)
    }

    /// What the host sees change.
    pub(super) fn seen(&self) -> (u32, u16) {
        (self.kind.text_id, self.state)
    }

    fn is_technical(&self) -> bool {
        self.kind.severity < 0x0100
    }

    fn is_audible(&self) -> bool {
        self.state & (SILENCED | LATCHED) == 0
    }
}

/// Every alarm in the lists of that second.
pub(super) fn standing(patient: &Patient, elapsed_s: u64) -> Vec<Alarm> {
    let listed = KINDS.iter().filter_map(|kind| {
        let held =
            |back: &u64| elapsed_s.checked_sub(*back).is_some_and(|at| (kind.holds)(patient, at));
        let patient = kind.severity >= 0x0100;
        // How many seconds it has held, the present one included.
        let age = (0..=SILENCED_AFTER_S).take_while(held).map(|back| back + 1).last();
        let latched = patient && (1..=LATCHED_S).any(|back| held(&back));
        let state = match age {
            Some(..=NEW_S) => NEW,
            Some(age) if patient && age > SILENCED_AFTER_S => SILENCED,
            Some(_) => 0,
            None if latched => LATCHED,
            None => return None,
        };
        Some(Alarm { kind, state })
    });
    listed.collect()
}

/// The alert monitor's condition and lists. Both lists are always there: an empty one says that
/// nothing stands.
pub(super) fn observe(standing: &[Alarm], changes: u16) -> Vec<u8> {
    let entries = |technical: bool| -> Vec<Vec<u8>> {
        let listed = standing.iter().filter(|alarm| alarm.is_technical() == technical);
        listed.map(|alarm| entry(alarm, flags(alarm))).collect()
    };
    observation(
        HANDLE,
        &[
            attribute(spec::ALERT_CONDITION, &condition(standing, changes)),
            attribute(spec::PATIENT_ALARMS, &list(&entries(false))),
            attribute(spec::TECHNICAL_ALARMS, &list(&entries(true))),
        ],
    )
}

/// "State u16, change counter u16, max patient alarm u16, max technical alarm u16, max audible
/// u16", §8.
fn condition(standing: &[Alarm], changes: u16) -> Vec<u8> {
    let max = |technical: bool| {
        let listed = standing.iter().filter(|alarm| alarm.is_technical() == technical);
        listed.map(|alarm| alarm.kind.severity).max().unwrap_or_default()
    };
    let audible = standing.iter().filter(|alarm| alarm.is_audible());
    let audible = audible.map(|alarm| alarm.kind.severity).max().unwrap_or_default();
    words(&[0, changes, max(false), max(true), audible])
}

fn flags(alarm: &Alarm) -> u16 {
    let audible = if alarm.is_audible() { BEDSIDE_AUDIBLE } else { 0 };
    let latching = if alarm.is_technical() { 0 } else { VISUAL_LATCHING };
    audible | latching
}

/// "Source u16, code u16, type u16, state u16, managed object (6), info id u16, length u16, info =
/// instance u16, text id u32, priority u16, flags u16 [, string]", §8.
fn entry(alarm: &Alarm, flags: u16) -> Vec<u8> {
    let kind = alarm.kind;
    let head = [kind.source, kind.code, kind.severity, alarm.state, spec::NUMERICS, 0, kind.handle];
    let (id, text) = match kind.text {
        Some(text) => (GENERAL_AND_STRING, string(text)),
        None => (GENERAL, Vec::new()),
    };
    let info =
        [words(&[1]), kind.text_id.to_be_bytes().to_vec(), words(&[kind.priority, flags]), text];
    [words(&head), words(&[id]), sized(&info.concat())].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Scenario;
    use crate::serial::intellivue::messages::{Closing, NO_ABSOLUTE, Reply};

    /// The alarm of §9.8: HR LOW without its text.
    const EXAMPLE: Kind = Kind { text: None, ..KINDS[0] };

    #[test]
    fn an_alert_result_is_that_of_the_sheet() {
        static KIND: Kind = EXAMPLE;
        let alarm = Alarm { kind: &KIND, state: NEW };
        // §9.8 has no list of technical alarms and no latching.
        let found = observation(
            HANDLE,
            &[
                attribute(spec::ALERT_CONDITION, &condition(&[alarm], 7)),
                attribute(spec::PATIENT_ALARMS, &list(&[entry(&alarm, BEDSIDE_AUDIBLE)])),
            ],
        );
        let reply = Reply {
            invoke: 5,
            number: 4,
            sequence: None,
            ticks: 0x0007_9180,
            absolute: NO_ABSOLUTE,
            object: spec::ALERT_MONITOR,
            group: spec::GROUP_ALERTS,
        };
        let messages = reply.messages(&[found], spec::MTU, Closing::Empty);
        assert_eq!(messages.len(), 1);
        crate::serial::intellivue::tests::check(
            &messages[0],
            "C0 11 01 00 74 E1 00 00 02 00 02 00 6C 00 05 00 07 00 66 00 21 00 00 00 00 0C 16 00 \
             5C 00 04 00 07 91 80 FF FF FF FF FF FF FF FF 00 01 00 36 08 01 00 01 00 44 00 00 00 \
             01 00 3E 03 01 00 03 00 38 09 21 00 02 03 01 09 16 00 0A 00 00 00 07 04 00 00 00 04 \
             00 09 02 00 20 00 01 00 1C 41 82 00 08 04 00 00 08 00 06 00 00 01 01 02 01 00 0A 00 \
             01 00 05 00 01 00 03 40 00 48 79 C1",
        );
    }

    #[test]
    fn an_alarm_is_new_then_silenced_and_latched_when_it_is_over() {
        // "clinic-day": HR 36 from 110 to 140, leads off from 90 to 105.
        let scenario = Scenario::built_in("clinic-day").unwrap();
        let patient = Patient::new(1, scenario, crate::EcgSource::Synthetic);
        let states = |second| -> Vec<(u16, u16)> {
            let alarms = standing(&patient, second);
            alarms.iter().map(|alarm| (alarm.kind.severity, alarm.state)).collect()
        };
        assert_eq!(states(89), []);
        assert_eq!(states(90), [(TECHNICAL_MEDIUM, NEW), (TECHNICAL_LOW, NEW)]);
        assert_eq!(states(104), [(TECHNICAL_MEDIUM, 0), (TECHNICAL_LOW, 0)]);
        assert_eq!(states(105), []);
        assert_eq!(states(110), [(PATIENT_HIGH, NEW)]);
        assert_eq!(states(116), [(PATIENT_HIGH, 0)]);
        assert_eq!(states(139), [(PATIENT_HIGH, SILENCED)]);
        assert_eq!(states(140), [(PATIENT_HIGH, LATCHED)]);
        assert_eq!(states(149), [(PATIENT_HIGH, LATCHED)]);
        assert_eq!(states(150), []);
    }
}
