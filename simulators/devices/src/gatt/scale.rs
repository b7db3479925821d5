//! A weight scale, from the protocol sheet alone (§5).

use super::{
    Flag, Pairing, Uuid,
    kit::Kit,
    peripheral::{Air, Inside, Peripheral},
    spot::{self, Kind, Record, every},
    value::{decimal, flags},
};
use crate::{Setup, SimTime, scenario::variation, truth::Notebook};

mod spec {
    use super::Uuid;
    pub(super) const SERVICE: Uuid = Uuid::short(0x181D);
    pub(super) const MEASUREMENT: Uuid = Uuid::short(0x2A9D);
    pub(super) const FEATURE: Uuid = Uuid::short(0x2A9E);
    pub(super) const IMPERIAL: u8 = 1 << 0;
    pub(super) const TIME: u8 = 1 << 1;
    pub(super) const USER: u8 = 1 << 2;
    pub(super) const BMI_AND_HEIGHT: u8 = 1 << 3;
    /// "Weight 0xFFFF = measurement unsuccessful".
    pub(super) const UNSUCCESSFUL: u16 = 0xFFFF;
    /// Time stamp, users, BMI, weight of 0.005 kg, height of 0.001 m.
    pub(super) const FEATURES: u32 = 0b01_1011_1111;
}

/// For play: somebody steps on it every three minutes.
const EVERY_S: u64 = 180;
const FIRST_S: u64 = 40;
/// For play: a person of 1.700 m.
const HEIGHT_MM: u16 = 1700;

struct Scale {
    kit: Kit,
}

pub(super) fn device(setup: Setup) -> Peripheral<impl Inside> {
    let kit = Kit::new(&setup, "WS-LE", true);
    let own: [(Uuid, &[Flag]); 2] =
        [(spec::MEASUREMENT, &[Flag::Indicate]), (spec::FEATURE, &[Flag::Read])];
    let profile = kit.profile("Virtual Scale", spec::SERVICE, &own, Pairing::JustWorks);
    spot::device(profile, Scale { kit }, Notebook::new(&setup.device, setup.clock))
}

/// A value of 2A9D.
fn encode(
    imperial: bool,
    weight: u16,
    time: Option<[u8; 7]>,
    user: Option<u8>,
    bmi_and_height: Option<[u16; 2]>,
) -> Vec<u8> {
    let mut bytes = vec![flags([
        (spec::IMPERIAL, imperial),
        (spec::TIME, time.is_some()),
        (spec::USER, user.is_some()),
        (spec::BMI_AND_HEIGHT, bmi_and_height.is_some()),
    ])];
    bytes.extend(weight.to_le_bytes());
    bytes.extend(time.into_iter().flatten());
    bytes.extend(user);
    bytes.extend(bmi_and_height.into_iter().flatten().flat_map(u16::to_le_bytes));
    bytes
}

impl Kind for Scale {
    const RESULT: Uuid = spec::MEASUREMENT;

    fn kit(&self) -> &Kit {
        &self.kit
    }

    fn next(&self, after: SimTime) -> Option<SimTime> {
        Some(every(after, FIRST_S, EVERY_S))
    }

    fn stored(&self) -> u64 {
        2
    }

    fn feature(&self, uuid: Uuid) -> Option<Vec<u8>> {
        (uuid == spec::FEATURE).then(|| spec::FEATURES.to_le_bytes().to_vec())
    }

    fn measure(&self, at: SimTime, number: u64, stamp: [u8; 7], air: &Air) -> Record {
        let seed = self.kit.setup().seed;
        let person = variation(seed, 0, 0x54, 6000) + variation(seed, number, 0x55, 80);
        let weight = 11_000 + u16::try_from(person).unwrap_or_default();
        let imperial = self.kit.temper.property(37, 2) == 1;
        let failed = !self.kit.temper.is_polite() && number % 4 == 3;
        let fact = |metric, unit, text: Result<String, &'static str>| {
            air.notes.reading(at, metric, Some(unit), text)
        };
        if failed {
            let value = encode(imperial, spec::UNSUCCESSFUL, Some(stamp), None, None);
            return Record { value, facts: vec![fact("weight", "kg", Err("not_available"))] };
        }
        if imperial {
            let pounds = decimal(weight.into(), -2);
            let value = encode(imperial, weight, Some(stamp), Some(1), None);
            return Record { value, facts: vec![fact("weight", "[lb_av]", Ok(pounds))] };
        }
        // kg / m², in tenths: grams of the weight against square millimetres.
        let bmi = u64::from(weight) * 5 * 10_000 / (u64::from(HEIGHT_MM) * u64::from(HEIGHT_MM));
        let bmi = u16::try_from(bmi).unwrap_or_default();
        let value = encode(imperial, weight, Some(stamp), Some(1), Some([bmi, HEIGHT_MM]));
        let facts = vec![
            fact("weight", "kg", Ok(decimal(i64::from(weight) * 5, -3))),
            fact("bmi", "kg/m2", Ok(decimal(bmi.into(), -1))),
            fact("height", "m", Ok(decimal(HEIGHT_MM.into(), -3))),
        ];
        Record { value, facts }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vectors::frames;

    #[test]
    fn the_values_of_the_sheet_come_out() {
        let sent = [
            encode(false, 14_000, None, None, None),
            encode(false, 13_410, Some([0xEA, 7, 11, 22, 8, 22, 0]), Some(1), Some([232, 1700])),
            encode(true, 10_000, None, None, None),
        ];
        let vectors = include_str!("../../../../tests/vectors/weight-scale/values.toml");
        assert_eq!(frames(vectors, None), sent);
    }
}
