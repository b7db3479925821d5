//! One pump behind a station: the parameters of its block as readings, state and device alarms.
//!
//! Not here: how blocks are asked for.
//!
//! # Invariants
//! - a parameter that is not in the block gives no reading; one without a value says so
//! - numbers are taken from the text as sent

use super::{codec::Slot, unit::unit};
use crate::reporter::Reporter;
use model::{
    alarm::{AlarmKind, AlarmPhase, DeviceAlarm},
    decimal::Decimal,
    device::DeviceState,
    id::{Channel, DeviceId},
    metric::{Kind, Metric},
    reading::{NoData, Reading, ReadingGroup},
    record::Record,
    time::{MonoTime, Now},
    units::Unit,
};
use std::collections::{BTreeMap, BTreeSet};

/// Facts about parameters.
mod spec {
    use super::{AlarmKind, Metric, Unit};

    /// "_NV = no value; _NA = temporarily not available", §5.1.
    pub(super) const NO_VALUE: [&str; 2] = ["_NV", "_NA"];
    /// Numbers with a fixed unit, §7.
    pub(super) const NUMBERS: [(&str, Metric, Unit); 7] = [
        ("INRT", Metric::PUMP_RATE, Unit::ML_PER_HOUR),
        ("INVTB", Metric::PUMP_VTBI, Unit::MILLILITRE),
        ("VOLREMAIN", Metric::PUMP_VTBI_REM, Unit::MILLILITRE),
        ("INVI", Metric::PUMP_VI, Unit::MILLILITRE),
        (TIME_LEFT, Metric::PUMP_TIME_REM, Unit::SECOND),
        ("INSYR", Metric::PUMP_SYR, Unit::MILLILITRE),
        ("INAKKU", Metric::BATT_MIN, Unit::MINUTE),
    ];
    /// "INRMT s 0–65535 (65535 = longer/undefined)", §7.
    pub(super) const TIME_LEFT: &str = "INRMT";
    pub(super) const TIME_UNDEFINED: &str = "65535";
    /// Numbers with a unit code of their own, §7.
    pub(super) const DOSES: [(&str, &str, Metric); 2] =
        [("INDORT", "INDORTU", Metric::PUMP_DOSE_RATE), ("INDCON", "INDCONU", Metric::PUMP_CONC)];
    pub(super) const DOSE_MODE: &str = "INDOCAL";
    pub(super) const DRUG: [&str; 2] = ["INSOL", "INSOLSN"];
    /// "INM8 0 battery/1 mains", §7; words of the metric catalogue.
    pub(super) const POWER: &str = "INM8";
    pub(super) const POWERS: [(&str, &str); 2] = [("0", "onBattery"), ("1", "onMains")];
    /// "OPMODE", §7.
    pub(super) const MODE: &str = "OPMODE";
    pub(super) const MODES: [(&str, &str); 7] = [
        ("0", "continuous"),
        ("1", "ramp"),
        ("2", "program"),
        ("3", "piggyback"),
        ("4", "pca"),
        ("5", "tci"),
        ("7", "interval_bolus"),
    ];
    /// "DSSTATUS 00050 off, 00051 on", §7.
    pub(super) const SWITCHED: &str = "DSSTATUS";
    pub(super) const SWITCHED_OFF: &str = "00050";
    pub(super) const STANDBY: &str = "INM6";
    /// "KVO (INM10) → bolus (INM2) → infusing (INM3) → ready (INM1)", §7.3.
    pub(super) const STATES: [(&str, &str); 4] =
        [("INM10", "kvo"), ("INM2", "bolus"), ("INM3", "infusing"), ("INM1", "ready")];
    /// "Alarm flags", §7.1; whether the pump's state is then "alarm", §7.3.
    pub(super) const ALARMS: [(&str, AlarmKind, bool); 14] = [
        ("INA1", AlarmKind::BatteryEmpty, true),
        ("INA2", AlarmKind::InfusionComplete, true),
        ("INA3", AlarmKind::OcclusionDownstream, true),
        ("INA5", AlarmKind::Stopped, true),
        ("INA6", AlarmKind::Other, true),
        ("INA7", AlarmKind::InfusionComplete, true),
        ("INA8", AlarmKind::InfusionComplete, true),
        ("INA9", AlarmKind::Syringe, true),
        ("INA11", AlarmKind::BatteryLow, false),
        ("INA12", AlarmKind::NearEnd, false),
        ("INA13", AlarmKind::DoorOpen, true),
        ("INA14", AlarmKind::FreeFlow, true),
        ("INA15", AlarmKind::AirInLine, true),
        ("INA16", AlarmKind::InfusionComplete, true),
    ];
    /// What a pump says of itself, §7: "serial", "number", "type", "model".
    pub(super) const ABOUT: [(&str, &str); 5] = [
        ("INSERNUM", "serial"),
        ("INNR", "number"),
        ("INDTNR", "type"),
        ("GNNEW", "model"),
        ("GNMODEL", "model"),
    ];
    /// "Device id = link id + serial number (INSERNUM, else INNR)".
    pub(super) const IDENTITY: [&str; 2] = ["INSERNUM", "INNR"];
}

/// Names of all parameters that are read.
#[cfg(test)]
pub(super) fn parameters() -> impl Iterator<Item = &'static str> {
    let numbers = spec::NUMBERS.into_iter().map(|(name, ..)| name);
    let doses = spec::DOSES.into_iter().flat_map(|(name, unit, _)| [name, unit]);
    let states = spec::STATES.into_iter().chain(spec::ABOUT).map(|(name, _)| name);
    let alarms = spec::ALARMS.into_iter().map(|(name, ..)| name);
    let one = [spec::DOSE_MODE, spec::POWER, spec::MODE, spec::SWITCHED, spec::STANDBY];
    let several = spec::DRUG.into_iter().chain(spec::IDENTITY);
    numbers.chain(doses).chain(states).chain(alarms).chain(one).chain(several)
}

/// The parameters of one pump, as sent.
pub(super) type Block = BTreeMap<String, String>;

/// `None`: not in the block; `Some(None)`: without a value.
fn sent<'a>(block: &'a Block, name: &str) -> Option<Option<&'a str>> {
    let value = block.get(name)?.as_str();
    Some((!spec::NO_VALUE.contains(&value)).then_some(value))
}

fn is(block: &Block, name: &str, value: &str) -> bool {
    block.get(name).is_some_and(|sent| sent == value)
}

/// What tells this pump from all others, if the block says it.
pub(super) fn identity(block: &Block) -> Option<&str> {
    spec::IDENTITY.iter().find_map(|name| sent(block, name).flatten())
}

/// One pump.
#[derive(Debug)]
pub(super) struct Pump {
    device: DeviceId,
    slot: Slot,
    about: BTreeMap<String, String>,
    online: bool,
    last_seen: MonoTime,
    /// Stream metrics it sent: silent or failed when the pump is.
    heard: BTreeSet<Metric>,
    /// Names of the flags that are up.
    alarms: BTreeSet<&'static str>,
}

impl Pump {
    pub(super) fn new(device: DeviceId, slot: Slot) -> Self {
        Self {
            device,
            slot,
            about: BTreeMap::new(),
            online: false,
            last_seen: MonoTime::START,
            heard: BTreeSet::new(),
            alarms: BTreeSet::new(),
        }
    }

    pub(super) fn slot(&self) -> &Slot {
        &self.slot
    }

    pub(super) fn last_seen(&self) -> MonoTime {
        self.last_seen
    }

    /// Takes its block in.
    pub(super) fn take(&mut self, now: Now, slot: Slot, block: &Block, reporter: &mut Reporter) {
        (self.slot, self.last_seen) = (slot, now.mono);
        let about = spec::ABOUT
            .iter()
            .filter_map(|(name, key)| Some(((*key).to_owned(), sent(block, name)??.to_owned())));
        let mut known = self.about.clone();
        known.extend(about);
        if !self.online || known != self.about {
            self.about = known;
            self.online = true;
            let about = self.about.clone();
            reporter.status_of(self.device.clone(), now, DeviceState::Online, "", about);
        }
        let (readings, problems) = readings(block);
        for problem in problems {
            reporter.note(now, "malformed", problem);
        }
        self.heard.extend(
            readings
                .iter()
                .map(|reading| reading.metric)
                .filter(|metric| metric.row().kind == Kind::Stream),
        );
        self.emit(now, readings, reporter);
        for (flag, kind, _) in spec::ALARMS {
            match block.get(flag).map(String::as_str) {
                Some("1") => self.set_alarm(now, (flag, kind), AlarmPhase::Start, reporter),
                Some(_) => self.set_alarm(now, (flag, kind), AlarmPhase::End, reporter),
                None => {}
            }
        }
    }

    /// The station cannot reach it.
    pub(super) fn fail(&mut self, now: Now, code: &str, reporter: &mut Reporter) {
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
        if !self.online {
            return;
        }
        self.online = false;
        self.emit_absent(now, &NoData::Silent, reporter);
        self.alarms.clear();
        let about = self.about.clone();
        reporter.status_of(self.device.clone(), now, state, reason, about);
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
        reporter.emit(Record::Readings(group.with_context("slot", &self.slot.0)));
    }

    fn set_alarm(
        &mut self,
        now: Now,
        (flag, kind): (&'static str, AlarmKind),
        phase: AlarmPhase,
        reporter: &mut Reporter,
    ) {
        let changed = match phase {
            AlarmPhase::End => self.alarms.remove(flag),
            _ => self.alarms.insert(flag),
        };
        if changed {
            reporter.emit(Record::Alarm(DeviceAlarm {
                device: self.device.clone(),
                channel: Channel::default(),
                phase,
                kind,
                code: flag.to_owned(),
                text: String::new(),
                priority: None,
                source: None,
                device_time: None,
                observed: now.observed(),
            }));
        }
    }
}

/// The readings of a block, and what was wrong with it.
fn readings(block: &Block) -> (Vec<Reading>, Vec<String>) {
    let mut problems = Vec::new();
    let off = is(block, spec::SWITCHED, spec::SWITCHED_OFF);
    let mut readings = Vec::new();
    let mut add = |metric: Metric, found: Result<Option<(Decimal, Unit)>, NoData>| {
        let stream = metric.row().kind == Kind::Stream;
        readings.push(match found {
            _ if off && stream => Reading::no_data(metric, NoData::Off),
            Ok(Some((number, unit))) => Reading::number(metric, number, unit),
            Ok(None) => Reading::no_data(metric, NoData::NotAvailable),
            Err(reason) => Reading::no_data(metric, reason),
        });
    };
    let mut number = |name: &str, text: &str| -> Option<Decimal> {
        let parsed = text.parse();
        if parsed.is_err() {
            problems.push(format!("{name} is \"{text}\" and no number; it is not used"));
        }
        parsed.ok()
    };
    for (name, metric, unit) in spec::NUMBERS {
        let Some(value) = sent(block, name) else { continue };
        let undefined = name == spec::TIME_LEFT && value == Some(spec::TIME_UNDEFINED);
        let value = value.filter(|_| !undefined).and_then(|text| number(name, text));
        add(metric, Ok(value.map(|value| (value, unit))));
    }
    let no_dose = is(block, spec::DOSE_MODE, "0");
    for (name, unit_name, metric) in spec::DOSES {
        let Some(value) = sent(block, name) else { continue };
        let code = sent(block, unit_name).flatten().unwrap_or_default();
        match (no_dose, value.and_then(|text| number(name, text)), unit(code)) {
            (true, ..) => add(metric, Err(NoData::Off)),
            (_, Some(value), Some(unit)) => add(metric, Ok(Some((value, unit)))),
            _ => add(metric, Ok(None)),
        }
    }
    let drugs: Vec<_> = spec::DRUG.iter().filter_map(|name| sent(block, name)).collect();
    if !drugs.is_empty() {
        readings.push(match drugs.into_iter().flatten().next() {
            Some(drug) => Reading::text(Metric::PUMP_DRUG, drug),
            None => Reading::no_data(Metric::PUMP_DRUG, NoData::NotAvailable),
        });
    }
    for (name, metric, words) in [
        (spec::POWER, Metric::POWER, &spec::POWERS[..]),
        (spec::MODE, Metric::PUMP_MODE, &spec::MODES[..]),
    ] {
        let Some(value) = sent(block, name) else { continue };
        let word =
            |code: &str| words.iter().find(|(known, _)| *known == code).map(|(_, word)| *word);
        readings.push(match value {
            Some(code) => Reading::text(metric, word(code).unwrap_or(code)),
            None => Reading::no_data(metric, NoData::NotAvailable),
        });
    }
    readings.push(Reading::text(Metric::PUMP_STATE, state(block)));
    (readings, problems)
}

/// "First match wins", §7.3. Without any alarm flag nobody knows whether the pump is in alarm.
fn state(block: &Block) -> &'static str {
    let mut alarms = spec::ALARMS.iter();
    let up = |name: &str| is(block, name, "1");
    let flags_sent = spec::ALARMS.iter().any(|(flag, ..)| block.contains_key(*flag));
    if is(block, spec::SWITCHED, spec::SWITCHED_OFF) {
        "off"
    } else if up(spec::STANDBY) {
        "standby"
    } else if alarms.any(|(flag, _, stops)| *stops && up(flag)) {
        "alarm"
    } else if !flags_sent {
        "unknown"
    } else {
        spec::STATES.iter().find(|(flag, _)| up(flag)).map_or("unknown", |(_, state)| state)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::reading::Value;

    fn block(text: &str) -> Block {
        let pairs = text.split_whitespace().filter_map(|pair| pair.split_once('='));
        pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    fn shown(text: &str) -> Vec<String> {
        let shown = readings(&block(text)).0.into_iter().map(|reading| {
            let unit = reading.unit.map(|unit| format!(" {unit}")).unwrap_or_default();
            match reading.value {
                Ok(Value::Number { number, .. }) => format!("{} {number}{unit}", reading.metric),
                Ok(Value::Text(text)) => format!("{} {text}", reading.metric),
                Err(reason) => format!("{} {reason}", reading.metric),
            }
        });
        shown.collect()
    }

    #[test]
    fn numbers_keep_their_digits_and_get_their_units() {
        assert_eq!(
            shown("INRT=5.00 INVTB=50.0 INVI=12.5 INRMT=27000 INSYR=50 INAKKU=300 VOLREMAIN=37.5"),
            [
                "pump_rate 5.00 mL/h",
                "pump_vtbi 50.0 mL",
                "pump_vtbi_rem 37.5 mL",
                "pump_vi 12.5 mL",
                "pump_time_rem 27000 s",
                "pump_syr 50 mL",
                "batt_min 300 min",
                "pump_state unknown",
            ]
        );
    }

    #[test]
    fn no_value_is_never_zero() {
        assert_eq!(
            shown("INRT=_NV INVI=_NA INRMT=65535 INSOL=_NV INVTB=5,0"),
            [
                "pump_rate not_available",
                "pump_vtbi not_available",
                "pump_vi not_available",
                "pump_time_rem not_available",
                "pump_drug not_available",
                "pump_state unknown",
            ]
        );
        assert_eq!(readings(&block("INVTB=5,0")).1.len(), 1);
    }

    #[test]
    fn a_dose_has_the_unit_the_pump_names() {
        let dose = "INDORT=4.2 INDORTU=71 INDCON=4.00 INDCONU=31";
        assert_eq!(
            shown(&format!("INDOCAL=1 {dose}"))[..2],
            ["pump_dose_rate 4.2 ug/kg/min", "pump_conc 4.00 mg/mL"]
        );
        assert_eq!(
            shown(&format!("INDOCAL=0 {dose}"))[..2],
            ["pump_dose_rate off", "pump_conc off"]
        );
        assert_eq!(shown("INDORT=4.2 INDORTU=14")[0], "pump_dose_rate not_available");
    }

    #[test]
    fn a_pump_that_is_off_has_no_numbers() {
        assert_eq!(
            shown("DSSTATUS=00050 INRT=0 INVI=1.4 INSOL=Dopamine INM8=1 INM1=1 INA1=0"),
            [
                "pump_rate off",
                "pump_vi off",
                "pump_drug Dopamine",
                "power onMains",
                "pump_state off"
            ]
        );
    }

    #[test]
    fn the_short_drug_name_stands_in_for_the_long_one() {
        assert_eq!(shown("INSOL=多巴胺 INSOLSN=DA")[0], "pump_drug 多巴胺");
        assert_eq!(shown("INSOL=_NV INSOLSN=DA")[0], "pump_drug DA");
        assert_eq!(shown("INSOLSN=DA")[0], "pump_drug DA");
    }

    #[test]
    fn the_first_state_that_matches_is_the_pumps() {
        for (text, expected) in [
            ("DSSTATUS=00050 INM6=1 INA3=1", "off"),
            ("DSSTATUS=00051 INM6=1 INA3=1", "standby"),
            ("INA3=1 INM10=1 INM3=1", "alarm"),
            ("INA3=0 INM10=1 INM3=1", "kvo"),
            ("INA3=0 INM2=1 INM3=1", "bolus"),
            ("INA3=_NV INM3=1 INM1=0", "infusing"),
            ("INA11=1 INM3=1", "infusing"),
            ("INA3=0 INM1=1", "ready"),
            ("INA3=0", "unknown"),
            ("INM3=1", "unknown"),
            ("INM3=1 ALARM1=00000401", "unknown"),
        ] {
            assert_eq!(state(&block(text)), expected, "{text}");
        }
    }

    #[test]
    fn modes_and_power_have_names_and_unknown_codes_stay_as_sent() {
        assert_eq!(shown("OPMODE=4 INM8=0")[..2], ["power onBattery", "pump_mode pca"]);
        assert_eq!(shown("OPMODE=6")[0], "pump_mode 6");
    }
}
