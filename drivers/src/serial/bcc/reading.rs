//! The parameters of a block as readings.
//!
//! Not here: state and alarms of the pump.
//!
//! # Invariants
//! - a parameter that is not in the block gives no reading; one without a value says so
//! - numbers are taken from the text as sent

use super::{
    block::{Bits, Block, Flag},
    unit::unit,
};
use model::{
    decimal::Decimal,
    metric::{Kind, Metric},
    reading::{NoData, Reading},
    units::Unit,
};

/// Facts about parameters.
mod spec {
    use super::{Metric, Unit};

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
    pub(super) const NO_DOSE: &str = "0";
    pub(super) const DRUG: [&str; 2] = ["INSOL", "INSOLSN"];
    /// "INM8 0 battery/1 mains", §7; "STATUS1 bit 1 mains", §7.2. Words of the metric catalogue.
    pub(super) const POWER: &str = "INM8";
    pub(super) const STATUS: &str = "STATUS1";
    pub(super) const STATUS_MAINS: u32 = 1;
    pub(super) const ON_BATTERY: &str = "onBattery";
    pub(super) const ON_MAINS: &str = "onMains";
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
    pub(super) const SWITCHED: &str = "DSSTATUS";
    /// "Shown, not stored": levels, percentages, averages, boluses. Every other parameter is shown
    /// by its name alone: nobody knows whether its value is about a patient.
    pub(super) const SHOWN: [&str; 10] = [
        "INP2",
        "INAVRT",
        "INVOLACT",
        "INTIME",
        "TIMEOFINF",
        "INBORT",
        "INBOVAL",
        "INBOCNT",
        "BOLTYPE",
        "INSTBY",
    ];
}

/// Something in a block that an engineer should see.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Problem {
    pub(super) kind: &'static str,
    pub(super) text: String,
}

/// Reads a block.
struct Reader<'a> {
    block: &'a Block,
    readings: Vec<Reading>,
    problems: Vec<Problem>,
}

/// The readings of a block, and what was wrong with it.
pub(super) fn readings(block: &Block) -> (Vec<Reading>, Vec<Problem>) {
    let mut reader = Reader { block, readings: Vec::new(), problems: Vec::new() };
    reader.numbers();
    reader.doses();
    reader.drug();
    reader.power();
    reader.mode();
    (reader.readings, reader.problems)
}

impl Reader<'_> {
    fn numbers(&mut self) {
        for (name, metric, unit) in spec::NUMBERS {
            let Some(value) = self.block.sent(name) else { continue };
            let undefined = name == spec::TIME_LEFT && value == Some(spec::TIME_UNDEFINED);
            let value = value.filter(|_| !undefined).and_then(|text| self.number(name, text));
            self.add(metric, value.map(|value| (value, unit)).ok_or(NoData::NotAvailable));
        }
    }

    fn doses(&mut self) {
        let no_dose = self.block.is(spec::DOSE_MODE, spec::NO_DOSE);
        for (name, unit_name, metric) in spec::DOSES {
            let Some(value) = self.block.sent(name) else { continue };
            if no_dose {
                self.add(metric, Err(NoData::Off));
                continue;
            }
            let value = value.and_then(|text| self.number(name, text));
            let unit = value.and_then(|_| self.unit(unit_name));
            self.add(metric, value.zip(unit).ok_or(NoData::NotAvailable));
        }
    }

    fn drug(&mut self) {
        let drugs: Vec<_> = spec::DRUG.iter().filter_map(|name| self.block.sent(name)).collect();
        if !drugs.is_empty() {
            self.add_text(Metric::PUMP_DRUG, drugs.into_iter().flatten().next());
        }
    }

    /// "If both forms appear, OR them", §7.2.
    fn power(&mut self) {
        let (flag, status) = (self.block.flag(spec::POWER), self.block.bits(spec::STATUS));
        let word = match (flag, status) {
            (Flag::Up, _) => Some(spec::ON_MAINS),
            _ if status.has(spec::STATUS_MAINS) => Some(spec::ON_MAINS),
            (Flag::Down, _) | (_, Bits::Known(_)) => Some(spec::ON_BATTERY),
            (Flag::Absent, Bits::Absent) => return,
            _ => None,
        };
        self.add_text(Metric::POWER, word);
    }

    fn mode(&mut self) {
        let Some(value) = self.block.sent(spec::MODE) else { return };
        self.add_text(Metric::PUMP_MODE, value.map(mode));
    }

    fn add(&mut self, metric: Metric, found: Result<(Decimal, Unit), NoData>) {
        let off = self.block.is_off() && metric.row().kind == Kind::Stream;
        self.readings.push(match found {
            _ if off => Reading::no_data(metric, NoData::Off),
            Ok((number, unit)) => Reading::number(metric, number, unit),
            Err(reason) => Reading::no_data(metric, reason),
        });
    }

    fn add_text(&mut self, metric: Metric, text: Option<&str>) {
        self.readings.push(match text {
            Some(text) => Reading::text(metric, text),
            None => Reading::no_data(metric, NoData::NotAvailable),
        });
    }

    fn number(&mut self, name: &str, text: &str) -> Option<Decimal> {
        let number = text.parse();
        if number.is_err() {
            let text = format!("{name} is \"{text}\" and no number; it is not used");
            self.problems.push(Problem { kind: "malformed", text });
        }
        number.ok()
    }

    fn unit(&mut self, name: &str) -> Option<Unit> {
        let code = self.block.sent(name).flatten();
        let found = code.and_then(unit);
        if let (None, Some(code)) = (&found, code) {
            let text = format!("{name} is {code} and no unit of a dose; the value is left out");
            self.problems.push(Problem { kind: "unknown_unit", text });
        }
        found
    }
}

/// An unknown code stays as sent.
fn mode(code: &str) -> &str {
    spec::MODES.iter().find(|(known, _)| *known == code).map_or(code, |(_, word)| word)
}

/// Whether this module reads that parameter.
pub(super) fn reads(name: &str) -> bool {
    let mut doses = spec::DOSES.iter().flat_map(|(value, unit, _)| [*value, *unit]);
    spec::NUMBERS.iter().any(|(known, ..)| *known == name)
        || doses.any(|known| known == name)
        || spec::DRUG.contains(&name)
        || [spec::DOSE_MODE, spec::POWER, spec::MODE, spec::SWITCHED].contains(&name)
}

/// A parameter that is shown and not stored, with its value where that may be shown.
pub(super) fn shown(name: &str, value: &str) -> String {
    if spec::SHOWN.contains(&name) { format!("{name}={value}") } else { name.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::{super::block::tests::block, *};
    use model::reading::Value;

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
            ]
        );
    }

    #[test]
    fn no_value_is_never_zero() {
        assert_eq!(
            shown("INRT=_NV INVI=_NA INRMT=65535 INSOL=_NV INVTB=5,0 INM8=_NA OPMODE=_NV"),
            [
                "pump_rate not_available",
                "pump_vtbi not_available",
                "pump_vi not_available",
                "pump_time_rem not_available",
                "pump_drug not_available",
                "power not_available",
                "pump_mode not_available",
            ]
        );
        assert_eq!(readings(&block("INVTB=5,0")).1[0].kind, "malformed");
    }

    #[test]
    fn a_dose_has_the_unit_the_pump_names() {
        let dose = "INDORT=4.2 INDORTU=71 INDCON=4.00 INDCONU=31";
        assert_eq!(
            shown(&format!("INDOCAL=1 {dose}")),
            ["pump_dose_rate 4.2 ug/kg/min", "pump_conc 4.00 mg/mL"]
        );
        assert_eq!(shown(&format!("INDOCAL=0 {dose}")), ["pump_dose_rate off", "pump_conc off"]);
        assert_eq!(shown("INDCON=20 INDCONU=15"), ["pump_conc 20 %"]);
    }

    #[test]
    fn a_dose_of_unknown_unit_is_left_out_and_said() {
        for text in ["INDORT=4.2 INDORTU=14", "INDORT=4.2 INDORTU=92", "INDORT=4.2 INDORTU=x"] {
            assert_eq!(shown(text), ["pump_dose_rate not_available"]);
            assert_eq!(readings(&block(text)).1[0].kind, "unknown_unit", "{text}");
        }
        assert_eq!(readings(&block("INDORT=4.2 INDORTU=_NV")).1, []);
        assert_eq!(readings(&block("INDORT=0 INDORTU=14 INDOCAL=0")).1, []);
    }

    #[test]
    fn a_pump_that_is_off_has_no_numbers() {
        for off in ["DSSTATUS=00050", "STATUS1=00000002"] {
            assert_eq!(
                shown(&format!("{off} INRT=0 INVI=1.4 INSOL=Dopamine INM8=1 INM1=1 INA1=0")),
                ["pump_rate off", "pump_vi off", "pump_drug Dopamine", "power onMains"]
            );
        }
    }

    #[test]
    fn the_short_drug_name_stands_in_for_the_long_one() {
        assert_eq!(shown("INSOL=多巴胺 INSOLSN=DA"), ["pump_drug 多巴胺"]);
        assert_eq!(shown("INSOL=_NV INSOLSN=DA"), ["pump_drug DA"]);
        assert_eq!(shown("INSOLSN=DA"), ["pump_drug DA"]);
    }

    #[test]
    fn modes_have_names_and_unknown_codes_stay_as_sent() {
        assert_eq!(shown("OPMODE=4"), ["pump_mode pca"]);
        assert_eq!(shown("OPMODE=6"), ["pump_mode 6"]);
    }

    #[test]
    fn either_form_says_what_feeds_the_pump() {
        for (text, expected) in [
            ("INM8=1", "power onMains"),
            ("INM8=0", "power onBattery"),
            ("STATUS1=00000083", "power onMains"),
            ("STATUS1=00000081", "power onBattery"),
            ("INM8=0 STATUS1=00000083", "power onMains"),
            ("INM8=_NA STATUS1=00000081", "power onBattery"),
            ("STATUS1=_NA", "power not_available"),
        ] {
            assert_eq!(shown(text), [expected], "{text}");
        }
    }

    #[test]
    fn only_values_that_are_surely_about_the_pump_are_shown() {
        assert_eq!(super::shown("INP2", "35"), "INP2=35");
        assert_eq!(super::shown("PATNAME", "Zhang"), "PATNAME");
    }
}
