//! A thermometer, from the protocol sheet alone (§4).

use super::{
    Flag, Pairing, Uuid, bedside,
    kit::Kit,
    peripheral::{Air, Inside, Peripheral},
    spot::{self, Kind, Record, every},
    value::{decimal, flags, float32},
};
use crate::{Setup, SimTime, truth::Notebook};

mod spec {
    use super::Uuid;
    pub(super) const SERVICE: Uuid = Uuid::short(0x1809);
    pub(super) const MEASUREMENT: Uuid = Uuid::short(0x2A1C);
    pub(super) const TYPE: Uuid = Uuid::short(0x2A1D);
    pub(super) const FAHRENHEIT: u8 = 1 << 0;
    pub(super) const TIME: u8 = 1 << 1;
    pub(super) const HAS_TYPE: u8 = 1 << 2;
    /// Armpit, ear lobe, mouth, ear drum, body.
    pub(super) const SITES: [(u8, &str); 5] =
        [(1, "temp_axilla"), (3, "temp_ear"), (6, "temp_oral"), (9, "temp_tymp"), (2, "temp_body")];
}

/// For play: somebody takes the temperature every two minutes.
const EVERY_S: u64 = 120;
const FIRST_S: u64 = 25;

struct Thermometer {
    kit: Kit,
}

pub(super) fn device(setup: Setup) -> Peripheral<impl Inside> {
    let kit = Kit::new(&setup, "TH-LE", true);
    let own: [(Uuid, &[Flag]); 2] =
        [(spec::MEASUREMENT, &[Flag::Indicate]), (spec::TYPE, &[Flag::Read])];
    let profile = kit.profile("Virtual Temp", spec::SERVICE, &own, Pairing::JustWorks);
    spot::device(profile, Thermometer { kit }, Notebook::new(&setup.device, setup.clock))
}

/// A value of 2A1C.
fn encode(fahrenheit: bool, value: [u8; 4], time: Option<[u8; 7]>, site: Option<u8>) -> Vec<u8> {
    let mut bytes = vec![flags([
        (spec::FAHRENHEIT, fahrenheit),
        (spec::TIME, time.is_some()),
        (spec::HAS_TYPE, site.is_some()),
    ])];
    bytes.extend(value);
    bytes.extend(time.into_iter().flatten());
    bytes.extend(site);
    bytes
}

impl Thermometer {
    fn site(&self) -> (u8, &'static str) {
        let place = usize::try_from(self.kit.temper.property(35, 5)).unwrap_or_default();
        spec::SITES.get(place).copied().unwrap_or((2, "temp_body"))
    }
}

impl Kind for Thermometer {
    const RESULT: Uuid = spec::MEASUREMENT;

    fn kit(&self) -> &Kit {
        &self.kit
    }

    fn next(&self, after: SimTime) -> Option<SimTime> {
        Some(every(after, FIRST_S, EVERY_S))
    }

    fn stored(&self) -> u64 {
        1
    }

    fn feature(&self, uuid: Uuid) -> Option<Vec<u8>> {
        (uuid == spec::TYPE).then(|| vec![self.site().0])
    }

    fn measure(&self, at: SimTime, _: u64, stamp: [u8; 7], air: &Air) -> Record {
        let [celsius, _] = bedside::vitals(self.kit.setup(), at).temperature;
        let celsius = i32::from(celsius);
        let fahrenheit = self.kit.temper.property(36, 2) == 1;
        let tenths = if fahrenheit { (celsius * 18 + 5) / 10 + 320 } else { celsius };
        let unit = if fahrenheit { "[degF]" } else { "Cel" };
        let (site, metric) = self.site();
        let text = Ok(decimal(tenths.into(), -1));
        let fact = air.notes.reading(at, metric, Some(unit), text);
        let value = encode(fahrenheit, float32(tenths, -1), Some(stamp), Some(site));
        Record { value, facts: vec![fact] }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::value::NAN_32, *};
    use crate::vectors::frames;

    #[test]
    fn the_values_of_the_sheet_come_out() {
        let sent = [
            encode(false, float32(368, -1), None, None),
            encode(false, float32(3672, -2), Some([0xEA, 7, 11, 22, 8, 21, 0]), Some(9)),
            encode(true, float32(984, -1), None, None),
            encode(false, NAN_32, None, None),
        ];
        let vectors = include_str!("../../../../tests/vectors/thermometer/values.toml");
        assert_eq!(frames(vectors, None), sent);
    }
}
