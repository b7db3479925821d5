//! What kind of device it is and how it is doing.

use crate::{id::DeviceId, time::Observed};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Kinds of devices, as the rule set names them.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DeviceKind {
    /// Bedside monitor.
    Monitor,
    /// Infusion pump.
    Pump,
    /// Blood-pressure cuff.
    Cuff,
    /// Blood-glucose meter.
    GlucoseMeter,
    /// Pulse oximeter.
    Oximeter,
    /// ECG or heart-rate strap.
    EcgStrap,
    /// Thermometer.
    Thermometer,
    /// Weight scale.
    Scale,
}

impl DeviceKind {
    /// Every kind.
    pub const ALL: [Self; 8] = [
        Self::Monitor,
        Self::Pump,
        Self::Cuff,
        Self::GlucoseMeter,
        Self::Oximeter,
        Self::EcgStrap,
        Self::Thermometer,
        Self::Scale,
    ];

    /// The name in rules, records and the API.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Monitor => "monitor",
            Self::Pump => "pump",
            Self::Cuff => "cuff",
            Self::GlucoseMeter => "glucose_meter",
            Self::Oximeter => "oximeter",
            Self::EcgStrap => "ecg_strap",
            Self::Thermometer => "thermometer",
            Self::Scale => "scale",
        }
    }

    /// The kind of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// How a device is doing, as the edge sees it.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum DeviceState {
    /// Valid frames arrive, or the last session with it was good.
    Online,
    /// The link is open and nothing valid comes.
    Silent,
    /// It was taken away from its station.
    Removed,
    /// The port cannot be opened or was unplugged.
    LinkDown,
    /// The port is open again, and nothing has come yet. A cuff or meter speaks only when it is
    /// used.
    Waiting,
}

impl DeviceState {
    /// Every state.
    pub const ALL: [Self; 5] =
        [Self::Online, Self::Silent, Self::Removed, Self::LinkDown, Self::Waiting];

    /// The name in records and in the API.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Online => "online",
            Self::Silent => "silent",
            Self::Removed => "removed",
            Self::LinkDown => "link_down",
            Self::Waiting => "waiting",
        }
    }
}

/// Something was done to a device, because a person or the configuration said so: for the audit.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DeviceAction {
    /// The device.
    pub device: DeviceId,
    /// What was done, as a constant name: `clock_set`.
    pub action: String,
    /// How, and why, in a few English words.
    pub text: String,
    /// The agent's clock when it was done.
    pub observed: Observed,
}

/// In [`DeviceStatus::about`]: what the cuff of a monitor does, where it does anything.
pub const CUFF: &str = "cuff";
/// It measures: an oximeter on the same limb has no pulse meanwhile.
pub const CUFF_MEASURES: &str = "measuring";

/// A change in how a device is doing, or what it said of itself.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DeviceStatus {
    /// The device.
    pub device: DeviceId,
    /// What kind it is.
    pub kind: DeviceKind,
    /// The driver's name.
    pub driver: String,
    /// How it is doing.
    pub state: DeviceState,
    /// Why, in a few English words; empty when online.
    pub reason: String,
    /// What it said of itself: serial number, version, unit setting, clock, that its cuff measures.
    pub about: BTreeMap<String, String>,
    /// How often it speaks, where the configuration of its box says so; else as its kind does.
    pub expected_interval_ms: Option<u32>,
    /// The agent's clock at the change.
    pub observed: Observed,
}
