//! The alarms of one pump, in either form: flags INA*, or the bit fields ALARM1, ALARM2, PREALARM.
//!
//! Not here: the state of the pump.
//!
//! # Invariants
//! - an alarm ends only when the pump says so; what it does not say leaves an alarm as it was
//! - both forms are read; what one form said ends when the pump speaks the other one instead
//! - a bit that no table names is passed on all the same

use super::block::{Bits, Block, Flag};
use model::alarm::{AlarmKind, AlarmPhase, Priority};
use std::collections::{BTreeMap, BTreeSet};

/// Facts about alarms. The words are the vendor's names of flags and bits: a pump sends none, and
/// a number says nothing to a nurse.
mod spec {
    use super::{AlarmKind, Field, Named, Priority};

    const fn flag(name: &'static str, kind: AlarmKind, words: &'static str) -> Named {
        Named { name, kind, words }
    }

    /// "Alarm flags", §7.1. INA4 is always 0, INA10 is unused.
    pub(super) const FLAGS: [Named; 14] = [
        flag("INA1", AlarmKind::BatteryEmpty, "battery empty"),
        flag("INA2", AlarmKind::InfusionComplete, "syringe empty"),
        flag("INA3", AlarmKind::OcclusionDownstream, "pressure alarm"),
        flag("INA5", AlarmKind::Stopped, "standby over"),
        flag("INA6", AlarmKind::Other, "CC alarm"),
        flag("INA7", AlarmKind::InfusionComplete, "VTBI delivered"),
        flag("INA8", AlarmKind::InfusionComplete, "time over"),
        flag("INA9", AlarmKind::Syringe, "syringe alarm"),
        flag("INA11", AlarmKind::BatteryLow, "battery pre-alarm"),
        flag("INA12", AlarmKind::NearEnd, "syringe nearly empty"),
        flag("INA13", AlarmKind::DoorOpen, "door open"),
        flag("INA14", AlarmKind::FreeFlow, "drop alarm"),
        flag("INA15", AlarmKind::AirInLine, "air alarm"),
        flag("INA16", AlarmKind::InfusionComplete, "KVO end"),
    ];
    pub(super) const FLAGS_UNUSED: [&str; 2] = ["INA4", "INA10"];
    /// "Alarm (any INA1,2,3,5,6,7,8,9,13,14,15,16 = 1)", §7.3: all but these.
    pub(super) const PRE_ALARM_FLAGS: [&str; 2] = ["INA11", "INA12"];

    pub(super) const ALARM1: &str = "ALARM1";
    /// "Bit fields (BCC 3.3x)" and their canonical mapping, §7.2. Bit 0 of ALARM1 is "no alarm";
    /// bit 21 of ALARM1 and bit 0 of ALARM2 are "dummy" in the public documentation of another
    /// reader (docs.elipse.com.br, BCCProtocol, tables of alarms).
    pub(super) const FIELDS: [Field; 3] = [
        Field {
            name: ALARM1,
            pre_alarm: false,
            unused: &[0, 21],
            bits: &[
                (1, AlarmKind::Other, "calibration data corrupt"),
                (2, AlarmKind::BatteryEmpty, "battery alarm"),
                (3, AlarmKind::Other, "therapy data corrupt"),
                (4, AlarmKind::Other, "therapy data and settings corrupt"),
                (5, AlarmKind::BatteryEmpty, "battery voltage low"),
                (6, AlarmKind::Other, "battery missing"),
                (7, AlarmKind::BatteryEmpty, "battery flat at start"),
                (8, AlarmKind::Other, "battery cover open"),
                (9, AlarmKind::InfusionComplete, "syringe empty"),
                (10, AlarmKind::OcclusionDownstream, "pressure high"),
                (11, AlarmKind::OcclusionDownstream, "pressure high, drive blocked"),
                (12, AlarmKind::Stopped, "standby time expired"),
                (13, AlarmKind::InfusionComplete, "volume infused"),
                (14, AlarmKind::InfusionComplete, "infusion time expired"),
                (15, AlarmKind::Syringe, "claw malfunction"),
                (16, AlarmKind::Other, "pressure sensor"),
                (17, AlarmKind::Syringe, "syringe holder open"),
                (18, AlarmKind::Syringe, "syringe not seated"),
                (19, AlarmKind::InfusionComplete, "KVO end"),
                (20, AlarmKind::OcclusionUpstream, "upstream pressure"),
                (22, AlarmKind::FreeFlow, "drop alarm"),
                (23, AlarmKind::FreeFlow, "no drops"),
                (24, AlarmKind::FreeFlow, "too few drops"),
                (25, AlarmKind::FreeFlow, "too many drops"),
                (26, AlarmKind::FreeFlow, "free flow"),
                (27, AlarmKind::FreeFlow, "drop sensor required"),
                (28, AlarmKind::AirInLine, "air alarm"),
                (29, AlarmKind::AirInLine, "air bubble above 0.3 ml"),
                (30, AlarmKind::AirInLine, "air rate above 4 ml/h"),
                (31, AlarmKind::AirInLine, "air sensor fault"),
            ],
        },
        Field {
            name: "ALARM2",
            pre_alarm: false,
            unused: &[0],
            bits: &[
                (1, AlarmKind::Other, "data lock tampered with"),
                (2, AlarmKind::Other, "PCA time limit"),
                (3, AlarmKind::Other, "SGC end"),
                (4, AlarmKind::Other, "take-over: syringe end"),
                (5, AlarmKind::Other, "take-over failed"),
                (6, AlarmKind::Other, "take-over: slave"),
                (7, AlarmKind::FreeFlow, "danger of free flow"),
                (29, AlarmKind::Other, "occlusion test error"),
                (30, AlarmKind::DoorOpen, "door opened while infusing"),
                (31, AlarmKind::Syringe, "syringe not secure"),
            ],
        },
        Field {
            name: "PREALARM",
            pre_alarm: true,
            // By the pattern of the other two.
            unused: &[0],
            bits: &[
                (1, AlarmKind::Other, "disposable not inserted"),
                (2, AlarmKind::NearEnd, "volume near end"),
                (3, AlarmKind::NearEnd, "time near end"),
                (4, AlarmKind::BatteryLow, "battery nearly flat"),
                (5, AlarmKind::Other, "KVO running"),
                (6, AlarmKind::Other, "data lock tampered with"),
                (7, AlarmKind::Other, "CAN device incompatible"),
                (8, AlarmKind::Other, "secondary volume infused"),
                (9, AlarmKind::Other, "SGC"),
                (10, AlarmKind::OcclusionDownstream, "pressure guard: occlusion"),
                (11, AlarmKind::Other, "pressure guard: leap up"),
                (12, AlarmKind::Other, "pressure guard: leap down"),
                (13, AlarmKind::Other, "take-over: master syringe"),
                (14, AlarmKind::Other, "take-over: slave failure"),
                (15, AlarmKind::Other, "battery defect"),
            ],
        },
    ];
    /// "PREALARM 10 as warning", §7.2.
    pub(super) const WARNING: Priority = Priority::Medium;
}

/// A flag of its own.
struct Named {
    name: &'static str,
    kind: AlarmKind,
    words: &'static str,
}

/// 32 flags in one number.
struct Field {
    name: &'static str,
    /// The pump goes on.
    pre_alarm: bool,
    /// Bits that are no alarm.
    unused: &'static [u32],
    bits: &'static [(u32, AlarmKind, &'static str)],
}

/// One alarm of a pump.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Alarm {
    source: Source,
    pub(super) kind: AlarmKind,
    pub(super) words: &'static str,
    pub(super) priority: Option<Priority>,
    pre_alarm: bool,
}

/// A flag, or a bit of a field.
type Source = (&'static str, Option<u32>);

impl Alarm {
    /// The flag's name, or field and bit: `INA3`, `ALARM1.10`.
    pub(super) fn code(&self) -> String {
        match self.source {
            (flag, None) => flag.to_owned(),
            (field, Some(bit)) => format!("{field}.{bit}"),
        }
    }

    fn of_flag(flag: &Named) -> Self {
        Self {
            source: (flag.name, None),
            kind: flag.kind,
            words: flag.words,
            priority: None,
            pre_alarm: spec::PRE_ALARM_FLAGS.contains(&flag.name),
        }
    }

    fn of_bit(field: &Field, bit: u32) -> Self {
        let named = field.bits.iter().find(|(known, ..)| *known == bit);
        let (_, kind, words) = named.copied().unwrap_or((bit, AlarmKind::Other, ""));
        let warns = field.pre_alarm && kind == AlarmKind::OcclusionDownstream;
        Self {
            source: (field.name, Some(bit)),
            kind,
            words,
            priority: warns.then_some(spec::WARNING),
            pre_alarm: field.pre_alarm,
        }
    }
}

/// What is known of a pump's alarms, pre-alarms left aside.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Alarming {
    /// One is up.
    Yes,
    /// None is.
    No,
    /// One was up, and the pump does not say whether it still is.
    InDoubt,
    /// The pump says nothing of alarms.
    Untold,
}

/// The alarms of one pump.
#[derive(Debug, Default)]
pub(super) struct Alarms {
    up: BTreeMap<Source, Alarm>,
    /// Up before, and not told by the last block.
    in_doubt: BTreeSet<Source>,
    told: bool,
}

impl Alarms {
    /// Takes a block in; hands out what began and ended.
    pub(super) fn take(&mut self, block: &Block) -> Vec<(AlarmPhase, Alarm)> {
        let flags: Vec<_> = spec::FLAGS.iter().map(|flag| (flag, block.flag(flag.name))).collect();
        let flags_told = flags.iter().any(|(_, says)| matches!(says, Flag::Up | Flag::Down));
        let bits_told = block.bits(spec::ALARM1).known().is_some();
        let applicable = flags.iter().any(|(_, says)| *says == Flag::NotApplicable);
        self.told = flags_told || applicable || bits_told;
        self.in_doubt.clear();
        let mut changes = Vec::new();
        for (flag, says) in flags {
            let up = match says {
                Flag::Up => Some(true),
                Flag::Down | Flag::NotApplicable => Some(false),
                // "Either/or", §7.2.
                Flag::Absent if bits_told => Some(false),
                Flag::Absent | Flag::Unknown => None,
            };
            changes.extend(self.set(Alarm::of_flag(flag), up));
        }
        for field in &spec::FIELDS {
            let says = block.bits(field.name);
            for bit in (0..u32::BITS).filter(|bit| !field.unused.contains(bit)) {
                let up = match says {
                    Bits::Known(_) => Some(says.has(bit)),
                    Bits::NotApplicable => Some(false),
                    Bits::Absent if flags_told => Some(false),
                    Bits::Absent | Bits::Unknown => None,
                };
                changes.extend(self.set(Alarm::of_bit(field, bit), up));
            }
        }
        changes
    }

    /// Nobody knows any more: what is up when the pump is heard again begins again.
    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }

    pub(super) fn alarming(&self) -> Alarming {
        let mut stopping = self.up.values().filter(|alarm| !alarm.pre_alarm).peekable();
        if stopping.peek().is_none() {
            return if self.told { Alarming::No } else { Alarming::Untold };
        }
        match stopping.all(|alarm| self.in_doubt.contains(&alarm.source)) {
            true => Alarming::InDoubt,
            false => Alarming::Yes,
        }
    }

    /// `None`: the pump does not say.
    fn set(&mut self, alarm: Alarm, up: Option<bool>) -> Option<(AlarmPhase, Alarm)> {
        match up {
            Some(true) => {
                let before = self.up.insert(alarm.source, alarm);
                before.is_none().then_some((AlarmPhase::Start, alarm))
            }
            Some(false) => {
                let before = self.up.remove(&alarm.source);
                before.map(|alarm| (AlarmPhase::End, alarm))
            }
            None => {
                if self.up.contains_key(&alarm.source) {
                    self.in_doubt.insert(alarm.source);
                }
                None
            }
        }
    }
}

/// Whether this module reads that parameter.
pub(super) fn reads(name: &str) -> bool {
    spec::FLAGS.iter().any(|flag| flag.name == name)
        || spec::FLAGS_UNUSED.contains(&name)
        || spec::FIELDS.iter().any(|field| field.name == name)
}

/// Values that are neither a flag nor bits.
pub(super) fn problems(block: &Block) -> Vec<String> {
    let flags = spec::FLAGS.iter().map(|flag| flag.name);
    let flags = flags.filter(|name| block.flag(name) == Flag::Unknown);
    let fields = spec::FIELDS.iter().map(|field| field.name);
    let fields = fields.filter(|name| block.bits(name) == Bits::Unknown);
    let unread = flags.chain(fields).filter_map(|name| Some((name, block.sent(name)??)));
    let said = |(name, text)| format!("{name} is \"{text}\" and no alarm flag; it is not used");
    unread.map(said).collect()
}

#[cfg(test)]
mod tests {
    use super::{super::block::tests::block, *};

    /// What each block of this pump began and ended.
    #[track_caller]
    fn check(blocks: &[(&str, &[&str])]) {
        let mut alarms = Alarms::default();
        for (text, expected) in blocks {
            let changes = alarms.take(&block(text)).into_iter();
            let said = changes.map(|(phase, alarm)| format!("{} {}", alarm.code(), phase.name()));
            assert_eq!(said.collect::<Vec<_>>(), *expected, "{text}");
        }
    }

    fn only(text: &str) -> Alarm {
        let changes = Alarms::default().take(&block(text));
        assert_eq!(changes.len(), 1, "{text}: {changes:?}");
        changes[0].1
    }

    #[test]
    fn bits_begin_and_end_alarms_as_flags_do() {
        check(&[
            ("ALARM1=00000001 ALARM2=00000000 PREALARM=00000000", &[]),
            (
                "ALARM1=00000400 PREALARM=0000000C",
                &["ALARM1.10 start", "PREALARM.2 start", "PREALARM.3 start"],
            ),
            ("ALARM1=00000C00 PREALARM=00000008", &["ALARM1.11 start", "PREALARM.2 end"]),
            (
                "ALARM1=0x01 ALARM2=40000000h PREALARM=_NV",
                &["ALARM1.10 end", "ALARM1.11 end", "ALARM2.30 start", "PREALARM.3 end"],
            ),
        ]);
    }

    #[test]
    fn what_a_pump_does_not_say_ends_nothing() {
        check(&[
            ("ALARM1=00000400 INA15=1", &["INA15 start", "ALARM1.10 start"]),
            ("ALARM1=_NA INA15=_NA", &[]),
            ("ALARM1=what INA15=x", &[]),
            ("INRT=5.00", &[]),
            ("ALARM1=00000001 INA15=0", &["INA15 end", "ALARM1.10 end"]),
        ]);
        assert_eq!(problems(&block("ALARM1=what ALARM2=_NA INA15=x INA3=_NV")).len(), 2);
    }

    #[test]
    fn a_pump_that_changes_its_form_leaves_no_alarm_behind() {
        check(&[
            ("INA3=1 INA12=1", &["INA3 start", "INA12 start"]),
            ("ALARM1=00000400", &["INA3 end", "INA12 end", "ALARM1.10 start"]),
            ("INA3=1 INA12=0", &["INA3 start", "ALARM1.10 end"]),
        ]);
    }

    #[test]
    fn bits_that_are_no_alarm_are_none_and_unknown_ones_are_passed_on() {
        assert_eq!(Alarms::default().take(&block("ALARM1=00200001 ALARM2=1 PREALARM=1")), []);
        for (text, code) in [("ALARM2=00000100", "ALARM2.8"), ("PREALARM=80000000", "PREALARM.31")]
        {
            assert_eq!((only(text).code().as_str(), only(text).kind), (code, AlarmKind::Other));
        }
    }

    /// "Canonical mapping of the bits", §7.2.
    #[test]
    fn bits_mean_what_the_sheet_says() {
        let kinds = |field: &str, kind| -> Vec<u32> {
            let is = |bit: &u32| only(&format!("{field}={:x}", 1_u64 << bit)).kind == kind;
            let alarms = spec::FIELDS.iter().find(|known| known.name == field).unwrap();
            (0..32).filter(|bit| !alarms.unused.contains(bit)).filter(is).collect()
        };
        assert_eq!(kinds("ALARM1", AlarmKind::OcclusionDownstream), [10, 11]);
        assert_eq!(kinds("ALARM1", AlarmKind::OcclusionUpstream), [20]);
        assert_eq!(kinds("ALARM1", AlarmKind::AirInLine), [28, 29, 30, 31]);
        assert_eq!(kinds("ALARM1", AlarmKind::InfusionComplete), [9, 13, 14, 19]);
        assert_eq!(kinds("ALARM1", AlarmKind::BatteryEmpty), [2, 5, 7]);
        assert_eq!(kinds("ALARM1", AlarmKind::Syringe), [15, 17, 18]);
        assert_eq!(kinds("ALARM1", AlarmKind::FreeFlow), [22, 23, 24, 25, 26, 27]);
        assert_eq!(kinds("ALARM1", AlarmKind::Stopped), [12]);
        assert_eq!(kinds("ALARM1", AlarmKind::Other), [1, 3, 4, 6, 8, 16]);
        assert_eq!(kinds("ALARM2", AlarmKind::DoorOpen), [30]);
        assert_eq!(kinds("PREALARM", AlarmKind::NearEnd), [2, 3]);
        assert_eq!(kinds("PREALARM", AlarmKind::BatteryLow), [4]);
        assert_eq!(kinds("PREALARM", AlarmKind::OcclusionDownstream), [10]);
        assert_eq!(only("PREALARM=400").priority, Some(Priority::Medium));
        assert_eq!(only("ALARM1=400").priority, None);
    }

    #[test]
    fn every_bit_is_named_once() {
        for field in &spec::FIELDS {
            assert!(field.bits.windows(2).all(|pair| pair[0].0 < pair[1].0), "{}", field.name);
            assert!(field.bits.iter().all(|(bit, ..)| !field.unused.contains(bit)));
        }
    }
}
