//! Which conditions the module reports: each is a device alarm with a begin and an end (§8).

use super::spec;
use crate::reporter::Reporter;
use model::{
    alarm::{AlarmKind, AlarmPhase, DeviceAlarm, Priority},
    id::Channel,
    metric::Metric,
    record::Record,
    time::Now,
};
use std::collections::BTreeMap;

/// One thing that can be wrong in one way at a time.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Subject {
    Leads,
    Signal,
    Rhythm,
    Oximeter,
    Temperature(Channel),
    Cuff,
}

/// In which way it is wrong.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Condition {
    kind: AlarmKind,
    code: String,
    priority: Option<Priority>,
    source: Metric,
}

impl Condition {
    pub(super) fn leads_off() -> Self {
        Self::technical(AlarmKind::LeadOff, "lead_off", Metric::HR)
    }

    pub(super) fn weak_signal() -> Self {
        let priority = Some(Priority::Low);
        Self { priority, ..Self::technical(AlarmKind::Other, "weak_signal", Metric::HR) }
    }

    /// "Arrhythmia 02–04 → critical, 05–0C → advisory", §8.
    pub(super) fn arrhythmia(code: u8) -> Self {
        let (kind, priority) = match code {
            spec::ASYSTOLE => (AlarmKind::Asystole, Priority::High),
            spec::FIBRILLATION => (AlarmKind::VentricularFibrillation, Priority::High),
            spec::R_ON_T => (AlarmKind::ROnT, Priority::High),
            spec::PVC_FIRST..=spec::TRIGEMINY => (AlarmKind::PvcRate, Priority::Low),
            spec::TACHYCARDIA => (AlarmKind::High, Priority::Low),
            spec::BRADYCARDIA => (AlarmKind::Low, Priority::Low),
            spec::MISSED_BEAT => (AlarmKind::Pause, Priority::Low),
            _ => (AlarmKind::Other, Priority::Low),
        };
        let code = format!("{code:02x}");
        Self { kind, code, priority: Some(priority), source: Metric::HR }
    }

    /// "SpO2 status 1/2/4 → probe off / no finger / search timeout", §8.
    pub(super) fn oximeter(status: u8) -> Option<Self> {
        let code = match status {
            spec::PROBE_OFF => "spo2_probe_off",
            spec::NO_FINGER => "spo2_no_finger",
            spec::SEARCH_TOO_LONG => "spo2_search_timeout",
            _ => return None,
        };
        Some(Self::technical(AlarmKind::ProbeOff, code, Metric::SPO2))
    }

    pub(super) fn temperature_probe() -> Self {
        Self::technical(AlarmKind::ProbeOff, "temp_probe_off", Metric::TEMP)
    }

    /// "NIBP states 3–8 → technical failure", §8.
    pub(super) fn cuff(state: u8) -> Self {
        Self::technical(AlarmKind::CuffError, &format!("nibp_{state}"), Metric::NIBP)
    }

    fn technical(kind: AlarmKind, code: &str, source: Metric) -> Self {
        Self { kind, code: code.to_owned(), priority: None, source }
    }
}

/// What is wrong.
#[derive(Debug, Default)]
pub(super) struct Alarms {
    up: BTreeMap<Subject, Condition>,
}

impl Alarms {
    /// Says what changed about a subject.
    pub(super) fn set(
        &mut self,
        now: Now,
        reporter: &mut Reporter,
        subject: Subject,
        condition: Option<Condition>,
    ) {
        if self.up.get(&subject) == condition.as_ref() {
            return;
        }
        let channel = match &subject {
            Subject::Temperature(channel) => channel.clone(),
            _ => Channel::default(),
        };
        let mut say = |condition: Condition, phase| {
            let Condition { kind, code, priority, source } = condition;
            reporter.emit(Record::Alarm(DeviceAlarm {
                device: reporter.device().clone(),
                channel: channel.clone(),
                phase,
                kind,
                code,
                text: String::new(),
                priority,
                latched: false,
                source: Some(source),
                device_time: None,
                observed: now.observed(),
            }));
        };
        if let Some(before) = self.up.remove(&subject) {
            say(before, AlarmPhase::End);
        }
        if let Some(condition) = condition {
            say(condition.clone(), AlarmPhase::Start);
            self.up.insert(subject, condition);
        }
    }

    /// The module is silent: nobody knows what is over. What is still up is said again when the
    /// module is heard again; the county ends what is not.
    pub(super) fn forget(&mut self) {
        self.up.clear();
    }
}
