//! What a pump does, from its flags INM* or its bit fields STATUS1 and RUNSTATE.

use super::{
    alarm::{Alarming, Alarms},
    block::{Block, Flag},
};

/// Facts about states.
mod spec {
    use super::Sign;

    pub(super) const STATUS: &str = "STATUS1";
    pub(super) const RUN: &str = "RUNSTATE";
    /// "RUNSTATE bit 2", §7.3.
    pub(super) const RUN_ALARM: u32 = 2;
    pub(super) const STANDBY: Sign =
        Sign { state: "standby", flags: &["INM6"], status: &[2], run: &[] };
    /// "First match wins", §7.3, after off, standby and alarm. RUNSTATE names the KVO as well, §7.
    pub(super) const STATES: [Sign; 5] = [
        Sign { state: "kvo", flags: &["INM10"], status: &[13], run: &[3] },
        Sign { state: "bolus", flags: &["INM2"], status: &[10, 11], run: &[] },
        Sign { state: "prime", flags: &[], status: &[4], run: &[] },
        Sign { state: "infusing", flags: &["INM3"], status: &[7], run: &[1] },
        Sign { state: "ready", flags: &["INM1"], status: &[6], run: &[] },
    ];
}

/// What shows that a pump is in a state: any of these.
struct Sign {
    state: &'static str,
    flags: &'static [&'static str],
    /// Bits of STATUS1.
    status: &'static [u32],
    /// Bits of RUNSTATE.
    run: &'static [u32],
}

impl Sign {
    fn is_in(&self, block: &Block) -> bool {
        let (status, run) = (block.bits(spec::STATUS), block.bits(spec::RUN));
        self.flags.iter().any(|flag| block.flag(flag) == Flag::Up)
            || self.status.iter().any(|bit| status.has(*bit))
            || self.run.iter().any(|bit| run.has(*bit))
    }
}

/// "First match wins", §7.3. While nobody knows whether the pump is in alarm, nobody knows its
/// state: "absence of both sets must be shown as such", §7.2.
pub(super) fn state(block: &Block, alarms: &Alarms) -> &'static str {
    let run = block.bits(spec::RUN);
    if block.is_off() {
        return "off";
    }
    if spec::STANDBY.is_in(block) {
        return spec::STANDBY.state;
    }
    match alarms.alarming() {
        Alarming::Yes => "alarm",
        _ if run.has(spec::RUN_ALARM) => "alarm",
        Alarming::InDoubt => "unknown",
        Alarming::Untold if run.known().is_none() => "unknown",
        Alarming::Untold | Alarming::No => {
            spec::STATES.iter().find(|sign| sign.is_in(block)).map_or("unknown", |sign| sign.state)
        }
    }
}

/// Whether this module reads that parameter.
pub(super) fn reads(name: &str) -> bool {
    let mut flags = spec::STATES.iter().chain([&spec::STANDBY]).flat_map(|sign| sign.flags);
    [spec::STATUS, spec::RUN].contains(&name) || flags.any(|flag| *flag == name)
}

#[cfg(test)]
mod tests {
    use super::{super::block::tests::block, *};

    /// The states of one pump, block by block.
    #[track_caller]
    fn check(blocks: &[(&str, &str)]) {
        let mut alarms = Alarms::default();
        for (text, expected) in blocks {
            alarms.take(&block(text));
            assert_eq!(state(&block(text), &alarms), *expected, "{text}");
        }
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
            ("INA3=_NA INM3=1", "unknown"),
        ] {
            check(&[(text, expected)]);
        }
    }

    #[test]
    fn the_first_bit_that_matches_is_the_pumps() {
        for (text, expected) in [
            ("STATUS1=00000084 DSSTATUS=00050 ALARM1=400", "off"),
            ("STATUS1=00000084 ALARM1=00000400", "off"),
            ("STATUS1=00000085 ALARM1=00000400", "standby"),
            ("STATUS1=00002081 ALARM1=00000401", "alarm"),
            ("STATUS1=00000081 ALARM1=00000001 ALARM2=00000002", "alarm"),
            ("STATUS1=00002481 ALARM1=00000001", "kvo"),
            ("STATUS1=00000491 ALARM1=00000001", "bolus"),
            ("STATUS1=00000891 ALARM1=00000001", "bolus"),
            ("STATUS1=00000091 ALARM1=00000001", "prime"),
            ("STATUS1=000000C1 ALARM1=00000001 PREALARM=00000004", "infusing"),
            ("STATUS1=00000041 ALARM1=00000000", "ready"),
            ("STATUS1=00000001 ALARM1=00000000", "unknown"),
            ("STATUS1=00000081", "unknown"),
            ("STATUS1=00000081 ALARM1=_NV", "unknown"),
            ("STATUS1=00000081 PREALARM=0", "unknown"),
            ("RUNSTATE=00000002", "infusing"),
            ("RUNSTATE=00000006", "alarm"),
            ("RUNSTATE=0000000A", "kvo"),
            ("RUNSTATE=00000002 STATUS1=00000001", "infusing"),
        ] {
            check(&[(text, expected)]);
        }
    }

    #[test]
    fn both_forms_together_are_one() {
        for (text, expected) in [
            ("INA3=0 INM3=1 ALARM1=00000400", "alarm"),
            ("INA3=1 INM3=1 ALARM1=00000001", "alarm"),
            ("INA3=0 INM3=0 STATUS1=00000081", "infusing"),
            ("INA3=0 INM3=1 STATUS1=00000005", "standby"),
            ("ALARM1=1 INM3=1", "infusing"),
        ] {
            check(&[(text, expected)]);
        }
    }

    #[test]
    fn an_alarm_that_is_not_told_any_more_makes_the_state_unknown() {
        check(&[
            ("INA3=1 INA15=0 INM3=1", "alarm"),
            ("INA3=_NA INA15=0 INM3=1", "unknown"),
            ("INA15=0 INM3=1", "unknown"),
            ("INA3=_NA INA15=1 INM3=1", "alarm"),
            ("INA3=0 INA15=0 INM3=1", "infusing"),
        ]);
        check(&[("INA12=1 INA3=0 INM3=1", "infusing"), ("INA12=_NA INA3=0 INM3=1", "infusing")]);
    }
}
