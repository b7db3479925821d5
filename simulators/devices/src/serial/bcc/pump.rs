//! A pump in the station: what it infuses, what is wrong with it, and its block of parameters, §7.

use crate::{
    Scenario, SimTime,
    temper::Temper,
    truth::{Notebook, Truth},
};

/// Somebody resets the pump this many seconds after its volume was in.
const RESET_S: u64 = 15;
/// Hundredths of a millilitre left when the end is near; the sheet names no volume.
const NEAR_END: u64 = 50;
/// "INSOL long name ≤ 25 characters", §7.
const LONGEST_NAME: &str = "注射用盐酸瑞芬太尼丙泊酚中长链脂肪乳注射液维持麻醉";
/// Seconds of the story in which these pumps have a trouble or a rest.
const BATTERY_LOW_S: std::ops::Range<u64> = 30..60;
const AIR_S: std::ops::Range<u64> = 70..90;
const STANDBY_S: std::ops::Range<u64> = 40..60;
const OFF_S: std::ops::Range<u64> = 130..150;

/// Which pump it is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Model {
    Perfusor,
    Infusomat,
    Compactplus,
}

/// What is wrong with a pump.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Trouble {
    Occlusion,
    VolumeIn,
    NearEnd,
    BatteryLow,
    Air,
}

/// How alarms and states are said: "either/or", §7.2.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Form {
    Flags,
    /// With what the sheet leaves open of hexadecimal: bare, `0x`, or a trailing `h`.
    Bits(u64),
}

/// A pump that stands, or stood, in the station.
#[derive(Debug)]
pub(super) struct Pump {
    /// As in the truth: link, and serial number or unique id.
    pub(super) device: String,
    pub(super) model: Model,
    /// Pillar, and slot from the bottom.
    pub(super) place: (char, char),
    pub(super) address: &'static str,
    /// Its block was sent since it came.
    pub(super) is_seen: bool,
    pub(super) is_away: bool,
    /// GNERR 39 was sent since it went.
    pub(super) is_missed: bool,
    /// Alarms that were told.
    pub(super) told: Vec<&'static str>,
    /// What would be pushed at once if it changed.
    pub(super) trigger: String,
    /// Hundredths of a millilitre: an hour; to be infused; and infused, in 1/3600 of it.
    rate: u64,
    vtbi: u64,
    infused: u64,
    done_s: Option<u64>,
    /// As the story has it.
    drug: Option<String>,
    is_bolus: bool,
    troubles: Vec<Trouble>,
    is_standby: bool,
    is_off: bool,
    may_be_off: bool,
    elapsed_s: u64,
}

/// What a block says.
#[derive(Debug, Default)]
pub(super) struct Said {
    /// `address,parameter,value`.
    pub(super) records: Vec<String>,
    pub(super) facts: Vec<Truth>,
    /// Names of the alarms that are up.
    pub(super) alarms: Vec<&'static str>,
}

impl Trouble {
    /// "First match wins", §7.3: alarms of this kind come before what the pump does.
    fn stops(self) -> bool {
        matches!(self, Self::Occlusion | Self::VolumeIn | Self::Air)
    }

    /// §7.1.
    fn flag(self) -> &'static str {
        match self {
            Self::Occlusion => "INA3",
            Self::VolumeIn => "INA7",
            Self::NearEnd => "INA12",
            Self::BatteryLow => "INA11",
            Self::Air => "INA15",
        }
    }

    /// Field, bit and name, §7.2.
    fn bit(self) -> (&'static str, u32, &'static str) {
        match self {
            Self::Occlusion => ("ALARM1", 10, "ALARM1.10"),
            Self::VolumeIn => ("ALARM1", 13, "ALARM1.13"),
            Self::NearEnd => ("PREALARM", 2, "PREALARM.2"),
            Self::BatteryLow => ("PREALARM", 4, "PREALARM.4"),
            Self::Air => ("ALARM1", 29, "ALARM1.29"),
        }
    }
}

impl Pump {
    /// A pump that infuses; `is_plain`: with everything before it.
    pub(super) fn new(link: &str, model: Model, is_plain: bool, temper: &Temper) -> Self {
        let decimal_slot = temper.property(31, 2) == 1;
        let (id, place, address) = match model {
            Model::Perfusor => ("40864", ('1', '1'), "50111"),
            // "A six-digit variant with a decimal slot has been observed", §5.1.
            Model::Infusomat if decimal_slot => ("130218", ('1', 'C'), "501112"),
            Model::Infusomat => ("130218", ('1', 'C'), "5011C"),
            Model::Compactplus => ("60001A2B3C4D", ('2', '4'), "50124"),
        };
        let (rate, vtbi, infused) = match model {
            Model::Perfusor if is_plain => (3_600, 5_000, 0),
            // The end of its syringe is part of a story of three minutes.
            Model::Perfusor => (3_600, 5_000, 4_860),
            Model::Infusomat => (12_000, 50_000, 1_250),
            Model::Compactplus => (450, 2_000, 0),
        };
        Self {
            device: format!("{link}-{id}"),
            model,
            place,
            address,
            is_seen: false,
            is_away: false,
            is_missed: false,
            told: Vec::new(),
            trigger: String::new(),
            rate,
            vtbi,
            infused: infused * 3_600,
            done_s: None,
            drug: None,
            is_bolus: false,
            troubles: Vec::new(),
            is_standby: false,
            is_off: false,
            may_be_off: temper.property(32, 2) == 1,
            elapsed_s: 0,
        }
    }

    /// A second passes: "advance INVI by INRT", §11; a blocked line lets nothing through.
    pub(super) fn pass(&mut self, elapsed_s: u64, scenario: &Scenario) {
        self.elapsed_s = elapsed_s;
        let second = scenario.second(elapsed_s);
        let is_told = self.drug.is_some();
        if !is_told && self.done_s.is_some_and(|done| elapsed_s >= done + RESET_S) {
            (self.done_s, self.infused) = (None, 0);
        }
        let occluded =
            self.model == Model::Perfusor && Scenario::during(&scenario.occlusion, second);
        let air = self.model == Model::Infusomat && AIR_S.contains(&second);
        let compactplus = self.model == Model::Compactplus;
        self.is_standby = compactplus && STANDBY_S.contains(&second);
        self.is_off = compactplus && self.may_be_off && OFF_S.contains(&second);
        if !occluded && !air && !self.is_resting() && self.done_s.is_none() {
            self.infused = (self.infused + self.rate).min(self.vtbi * 3_600);
        }
        // What is set now holds for the next second.
        self.follow(scenario, second);
        if self.left() == 0 && self.done_s.is_none() {
            self.done_s = Some(elapsed_s);
        }
        let near_end = self.left() < NEAR_END && self.done_s.is_none();
        let battery_low = self.model == Model::Infusomat && BATTERY_LOW_S.contains(&second);
        let troubles = [
            (Trouble::Occlusion, occluded),
            (Trouble::VolumeIn, self.done_s.is_some()),
            (Trouble::NearEnd, near_end),
            (Trouble::BatteryLow, battery_low),
            (Trouble::Air, air),
        ];
        self.troubles =
            troubles.into_iter().filter_map(|(trouble, is_up)| is_up.then_some(trouble)).collect();
    }

    /// What it is programmed to, where the story says so; then nobody resets it by himself.
    pub(super) fn follow(&mut self, scenario: &Scenario, second: u64) {
        let is_first = self.model == Model::Perfusor;
        let Some(infusion) = scenario.infusion.as_ref().filter(|_| is_first) else { return };
        let step = infusion.step(second);
        self.rate = step.map_or(0, |step| step.rate);
        self.is_bolus = step.is_some_and(|step| step.is_bolus);
        self.vtbi = infusion.volume(second);
        self.drug = Some(infusion.drug.zh.clone());
        if infusion.is_new(second) {
            (self.done_s, self.infused) = (None, 0);
        }
    }

    fn left(&self) -> u64 {
        self.vtbi.saturating_sub(self.infused / 3_600)
    }

    fn is_resting(&self) -> bool {
        self.is_standby || self.is_off
    }

    /// §7.3.
    pub(super) fn state(&self) -> &'static str {
        match self.troubles.iter().any(|trouble| trouble.stops()) {
            _ if self.is_off => "off",
            _ if self.is_standby => "standby",
            true => "alarm",
            false if self.rate == 0 => "ready",
            false if self.is_bolus => "bolus",
            false => "infusing",
        }
    }

    /// The drive turns.
    fn is_running(&self) -> bool {
        ["infusing", "bolus"].contains(&self.state())
    }

    /// Its parameters: which of them are enabled is the same for every pump of a station.
    pub(super) fn block(
        &mut self,
        now: SimTime,
        notes: &Notebook,
        form: Form,
        temper: &mut Temper,
    ) -> Said {
        let mut block = Block { pump: self, now, notes, said: Said::default() };
        let is_infusing = self.is_running();
        let rate = if is_infusing { hundredths(self.rate) } else { "0.00".to_owned() };
        // "Seconds, 65535 = longer/undefined", §7.
        let left_s = match is_infusing {
            true => (self.left() * 3_600 / self.rate).min(65_535),
            false => 65_535,
        };
        let firmware = match self.model {
            Model::Perfusor => "688N030003",
            Model::Infusomat => "686F030006\r",
            Model::Compactplus => "I0002",
        };
        block.shown(if self.is_seen { "GNMODEL" } else { "GNNEW" }, firmware);
        block.stream("INRT", &rate, "pump_rate", "mL/h");
        block.stream("INVTB", &tenths(self.vtbi), "pump_vtbi", "mL");
        if self.model != Model::Compactplus {
            block.stream("VOLREMAIN", &tenths(self.left()), "pump_vtbi_rem", "mL");
        }
        // "Temporarily not available", §5.1.
        let infused = if temper.once_in(8) { "_NA".into() } else { tenths(self.infused / 3_600) };
        block.stream("INVI", &infused, "pump_vi", "mL");
        block.remaining(left_s);
        block.drug(temper.property(33, 3));
        block.dose();
        let syringe = if self.model == Model::Infusomat { "_NV" } else { "50" };
        block.stream("INSYR", syringe, "pump_syr", "mL");
        let battery = match self.model {
            Model::Infusomat => 25 - (self.elapsed_s / 60).min(25),
            _ => 240,
        };
        block.stream("INAKKU", &battery.to_string(), "batt_min", "min");
        block.identity();
        block.alarms_and_states(form);
        let said = block.said;
        self.is_seen = true;
        said
    }
}

/// A block that is being written.
struct Block<'a> {
    pump: &'a Pump,
    now: SimTime,
    notes: &'a Notebook,
    said: Said,
}

impl Block<'_> {
    /// A parameter that is "shown, not stored".
    fn shown(&mut self, name: &str, value: &str) {
        self.said.records.push(format!("{},{name},{value}", self.pump.address));
    }

    fn fact(
        &mut self,
        metric: &'static str,
        unit: Option<&'static str>,
        value: Result<String, &'static str>,
    ) {
        let fact = self.notes.reading(self.now, metric, unit, value);
        self.said.facts.push(Truth { device: self.pump.device.clone(), ..fact });
    }

    /// A parameter that is a stream: without a value, `_NV` and `_NA`, and of a pump that is off.
    fn stream(&mut self, name: &str, value: &str, metric: &'static str, unit: &'static str) {
        self.shown(name, value);
        let value = match value {
            _ if self.pump.is_off => Err("off"),
            "_NV" | "_NA" => Err("not_available"),
            value => Ok(value.to_owned()),
        };
        self.fact(metric, Some(unit), value);
    }

    fn remaining(&mut self, left_s: u64) {
        self.shown("INRMT", &left_s.to_string());
        let value = match left_s {
            _ if self.pump.is_off => Err("off"),
            65_535 => Err("not_available"),
            left_s => Ok(left_s.to_string()),
        };
        self.fact("pump_time_rem", Some("s"), value);
    }

    fn drug(&mut self, style: u64) {
        // "Values may contain commas", and display symbols, §5.1.
        let (name, drug) = match (self.pump.model, style) {
            (Model::Perfusor, 1) => ("INSOL", LONGEST_NAME),
            (Model::Perfusor, _) => ("INSOL", "多巴胺"),
            (Model::Infusomat, 2) => ("INSOL", "_NV"),
            (Model::Infusomat, _) => ("INSOL", "氯化钠 0.9%, 500 ml"),
            (Model::Compactplus, 0) => ("INSOL", "Arterenol4mg/50"),
            (Model::Compactplus, _) => ("INSOLSN", "去甲\u{E021}"),
        };
        let drug = self.pump.drug.clone().unwrap_or_else(|| drug.to_owned());
        self.shown(name, &drug);
        let value = if drug == "_NV" { Err("not_available") } else { Ok(drug) };
        self.fact("pump_drug", None, value);
    }

    fn dose(&mut self) {
        let in_doses = self.pump.model == Model::Compactplus;
        self.shown("INDOCAL", if in_doses { "1" } else { "0" });
        if self.pump.model == Model::Perfusor {
            return;
        }
        // "31 mg/ml", "71 µg/kg/min", §8.
        let amounts = [
            ("INDCON", "0.08", "INDCONU", "31", "pump_conc", "mg/mL"),
            ("INDORT", "0.05", "INDORTU", "71", "pump_dose_rate", "ug/kg/min"),
        ];
        for (name, value, unit_name, code, metric, unit) in amounts {
            let value = if in_doses { value } else { "0.00" };
            self.shown(name, value);
            self.shown(unit_name, code);
            let is_said = in_doses && !self.pump.is_off;
            self.fact(metric, Some(unit), if is_said { Ok(value.to_owned()) } else { Err("off") });
        }
    }

    fn identity(&mut self) {
        let (unique, serial) = match self.pump.model {
            Model::Perfusor => ("60009FA0", "40864"),
            Model::Infusomat => ("6001FCAA", "130218"),
            Model::Compactplus => ("60001A2B3C4D", "_NV"),
        };
        self.shown("INNR", unique);
        self.shown("INSERNUM", serial);
        self.shown("DSSTATUS", if self.pump.is_off { "00050" } else { "00051" });
        if self.pump.model == Model::Infusomat {
            self.shown("OPMODE", "0");
            self.fact("pump_mode", None, Ok("continuous".to_owned()));
        }
        let pressed = self.pump.troubles.contains(&Trouble::Occlusion);
        self.shown("INP2", if pressed { "100" } else { "35" });
    }

    fn alarms_and_states(&mut self, form: Form) {
        match form {
            Form::Flags => self.flags(),
            Form::Bits(style) => self.bits(style),
        }
        self.fact("pump_state", None, Ok(self.pump.state().to_owned()));
    }

    /// INM8, or bit 1 of STATUS1 where there is no INM8.
    fn power(&mut self, on_mains: bool) {
        let power = if on_mains { "onMains" } else { "onBattery" };
        self.fact("power", None, Ok(power.to_owned()));
    }

    fn flags(&mut self) {
        let on_mains = self.pump.model != Model::Infusomat;
        let flag = |is_up: bool| if is_up { "1" } else { "0" };
        let is_infusing = self.pump.is_running();
        self.power(on_mains);
        for (name, is_up) in [
            ("INM1", self.pump.state() == "ready"),
            ("INM2", self.pump.state() == "bolus"),
            ("INM3", is_infusing),
            ("INM6", self.pump.is_standby),
            ("INM8", on_mains),
            ("INM10", false),
        ] {
            self.shown(name, flag(is_up));
        }
        self.said.alarms = self.pump.troubles.iter().map(|trouble| trouble.flag()).collect();
        let is_syringe = self.pump.model != Model::Infusomat;
        for name in ["INA1", "INA2", "INA3", "INA6", "INA7", "INA11", "INA12", "INA13", "INA15"] {
            // "_NV when not applicable", §7.1.
            let is_none = name == "INA6" || (is_syringe && ["INA13", "INA15"].contains(&name));
            let value = if is_none { "_NV" } else { flag(self.said.alarms.contains(&name)) };
            self.shown(name, value);
        }
    }

    /// §7.2: "when any is activated, all INA* and INM* are switched off".
    fn bits(&mut self, style: u64) {
        let field = |name: &str| {
            let bits = self.pump.troubles.iter().map(|trouble| trouble.bit());
            bits.filter(|(of, ..)| *of == name).fold(0_u32, |field, (_, bit, _)| field | (1 << bit))
        };
        let (alarm, pre_alarm) = (field("ALARM1"), field("PREALARM"));
        let is_infusing = self.pump.is_running();
        let bit = |is_up: bool, bit: u32| u32::from(is_up) << bit;
        let on_mains = self.pump.model != Model::Infusomat;
        let status = bit(!self.pump.is_off, 0)
            | bit(on_mains, 1)
            | bit(self.pump.is_standby, 2)
            | bit(self.pump.state() == "ready", 6)
            | bit(is_infusing, 7)
            | bit(self.pump.state() == "bolus", 11)
            | bit(self.pump.model == Model::Compactplus, 15);
        // "0 no alarm": the bit says that there is none.
        let alarm = if alarm == 0 { 1 } else { alarm };
        let fields =
            [("ALARM1", alarm), ("ALARM2", 0), ("PREALARM", pre_alarm), ("STATUS1", status)];
        for (name, field) in fields {
            let text = match style {
                1 => format!("0x{field:08X}"),
                2 => format!("{field:08X}h"),
                _ => format!("{field:08X}"),
            };
            self.shown(name, &text);
        }
        self.power(on_mains);
        let is_alarming = self.pump.state() == "alarm";
        let run = bit(!is_infusing, 0) | bit(is_infusing, 1) | bit(is_alarming, 2);
        self.shown("RUNSTATE", &run.to_string());
        self.said.alarms = self.pump.troubles.iter().map(|trouble| trouble.bit().2).collect();
    }
}

fn hundredths(value: u64) -> String {
    format!("{}.{:02}", value / 100, value % 100)
}

fn tenths(value: u64) -> String {
    format!("{}.{}", value / 100, value / 10 % 10)
}
