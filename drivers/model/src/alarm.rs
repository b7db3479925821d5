//! Device alarms: what a device itself signals. Ours are alerts and live elsewhere.

use crate::{
    id::{Channel, DeviceId},
    metric::Metric,
    time::{DeviceTime, Observed},
};
use serde::{Deserialize, Serialize};

/// Whether the alarm begins, goes on or ends.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum AlarmPhase {
    /// It was not there before.
    Start,
    /// It is still there, and something about it changed.
    Update,
    /// It is over.
    End,
}

impl AlarmPhase {
    /// Every phase.
    pub const ALL: [Self; 3] = [Self::Start, Self::Update, Self::End];

    /// The name in records and in the API.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Update => "update",
            Self::End => "end",
        }
    }
}

/// How urgent (IEC 60601-1-8). The order is by urgency: `High` is the greatest.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Priority {
    /// Somebody should know.
    Low,
    /// Somebody must look soon.
    Medium,
    /// Somebody must go now.
    High,
}

impl Priority {
    /// Every priority, lowest first.
    pub const ALL: [Self; 3] = [Self::Low, Self::Medium, Self::High];

    /// The name in records and in the API.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
        }
    }

    /// The priority of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|priority| priority.name() == name)
    }
}

macro_rules! alarm_kinds {
    ($($(#[$doc:meta])* $name:ident = $rule:literal, $code:expr;)*) => {
        /// What a device alarm is about, whatever the device calls it.
        ///
        /// Each kind is matched by one rule of the rule set; where a public IEEE 11073 event number
        /// is known it goes with the record (metric catalogue, "Event codes").
        #[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
        pub enum AlarmKind { $($(#[$doc])* $name,)* }

        impl AlarmKind {
            /// Every kind.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// Id of the rule that takes this kind up; also its name in records.
            #[must_use]
            pub const fn rule_id(self) -> &'static str {
                match self { $(Self::$name => $rule,)* }
            }

            /// IEEE 11073-10101 event number (partition 3 × 65536 + code), where a public one is known.
            #[must_use]
            pub const fn mdc_code32(self) -> Option<u32> {
                match self { $(Self::$name => $code,)* }
            }
        }
    };
}

alarm_kinds! {
    /// The heart stands still.
    Asystole = "DEV-ASYSTOLE", Some(199_684);
    /// Ventricular fibrillation or tachycardia.
    VentricularFibrillation = "DEV-VFVT", Some(258_052);
    /// Sustained ventricular tachycardia.
    VentricularTachycardia = "DEV-VT", Some(199_832);
    /// Ventricular tachycardia that ends by itself.
    NonSustainedTachycardia = "DEV-VT-NONSUST", Some(199_834);
    /// The heart beats far too slowly.
    BradycardiaExtreme = "DEV-BRADY-EXTREME", Some(199_694);
    /// The heart beats far too fast.
    TachycardiaExtreme = "DEV-TACHY-EXTREME", Some(199_730);
    /// Atrial fibrillation.
    AtrialFibrillation = "DEV-AF", Some(199_736);
    /// There is no breath.
    Apnoea = "DEV-APNOEA", Some(199_680);
    /// The oxygen saturation falls.
    Desaturation = "DEV-DESAT", Some(199_854);
    /// Run of premature ventricular contractions.
    PvcRun = "DEV-PVC-RUN", Some(199_820);
    /// Pair of premature ventricular contractions.
    PvcPair = "DEV-PVC-PAIR", Some(199_818);
    /// Premature beat on the T wave.
    ROnT = "DEV-RONT", Some(199_814);
    /// Too many premature ventricular contractions.
    PvcRate = "DEV-PVC-RATE", Some(199_860);
    /// A pause or a missed beat.
    Pause = "DEV-PAUSE", Some(199_716);
    /// The pacemaker's beats have no effect.
    Pacer = "DEV-PACER", None;
    /// Irregular rhythm.
    Irregular = "DEV-IRREGULAR", Some(199_766);
    /// The device's own upper limit was passed.
    High = "DEV-HI", Some(196_648);
    /// The device's own lower limit was passed.
    Low = "DEV-LO", Some(196_670);
    /// An ECG lead is off.
    LeadOff = "TECH-LEADOFF", Some(196_882);
    /// A sensor is off or unplugged.
    ProbeOff = "TECH-PROBEOFF", None;
    /// A cuff measurement failed.
    CuffError = "TECH-CUFF", None;
    /// The line behind the pump is blocked.
    OcclusionDownstream = "DEV-OCCL-DOWN", Some(196_940);
    /// The line before the pump is blocked.
    OcclusionUpstream = "DEV-OCCL-UP", None;
    /// Air in the line.
    AirInLine = "DEV-AIR", None;
    /// Drops missing, too few or too many; free flow.
    FreeFlow = "DEV-FREE-FLOW", None;
    /// The pump's door is open.
    DoorOpen = "DEV-DOOR", None;
    /// The syringe is not captured.
    Syringe = "DEV-SYRINGE", Some(197_218);
    /// The volume or the time is over.
    InfusionComplete = "DEV-INF-COMPLETE", Some(197_292);
    /// The infusion ends soon.
    NearEnd = "PUMP-NEAR-END", Some(197_334);
    /// The battery is low.
    BatteryLow = "DEV-PUMP-BATT-LOW", Some(196_802);
    /// The battery is empty.
    BatteryEmpty = "DEV-PUMP-BATT-DEPL", None;
    /// The pump stands still with volume left, or its standby time is over.
    Stopped = "PUMP-STOPPED", None;
    /// Anything else; shown as sent.
    Other = "DEV-OTHER", None;
}

impl AlarmKind {
    /// The kind whose rule has that id.
    #[must_use]
    pub fn from_rule_id(id: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.rule_id() == id)
    }
}

/// A device's own alarm, passed on.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DeviceAlarm {
    /// The device.
    pub device: DeviceId,
    /// Which of several like sources; mostly empty.
    pub channel: Channel,
    /// Begin, change, end.
    pub phase: AlarmPhase,
    /// What it is about.
    pub kind: AlarmKind,
    /// The device's own code or flag: with device and channel it names one alarm.
    pub code: String,
    /// The device's own text; empty if it sends none.
    pub text: String,
    /// The device's own priority, if it has one.
    pub priority: Option<Priority>,
    /// It is over, and the device goes on with it until somebody there has seen it.
    pub latched: bool,
    /// The metric it is about, if it is about one.
    pub source: Option<Metric>,
    /// Device time, as the device said it.
    pub device_time: Option<DeviceTime>,
    /// The agent's clock when it was decoded.
    pub observed: Observed,
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_kind_has_a_rule_and_a_number_of_its_own() {
        let ids: BTreeSet<_> = AlarmKind::ALL.iter().map(|kind| kind.rule_id()).collect();
        assert_eq!(ids.len(), AlarmKind::ALL.len());
        let codes: Vec<_> = AlarmKind::ALL.iter().filter_map(|kind| kind.mdc_code32()).collect();
        assert_eq!(codes.iter().collect::<BTreeSet<_>>().len(), codes.len());
    }

    #[test]
    fn high_is_the_greatest_priority() {
        assert!(Priority::High > Priority::Medium && Priority::Medium > Priority::Low);
    }
}
