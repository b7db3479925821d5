//! An oximeter, from the protocol sheet alone (§3): spot checks, and continuous while it is
//! connected.

use super::{
    Flag, Pairing, Uuid, bedside,
    kit::Kit,
    peripheral::{Air, Inside, Peripheral},
    spot::{self, Kind, Record, every},
    value::{Sfloat, flags},
};
use crate::{Setup, SimTime, Truth, truth::Notebook};

mod spec {
    use super::Uuid;
    pub(super) const SERVICE: Uuid = Uuid::short(0x1822);
    pub(super) const SPOT_CHECK: Uuid = Uuid::short(0x2A5E);
    pub(super) const CONTINUOUS: Uuid = Uuid::short(0x2A5F);
    pub(super) const FEATURES: Uuid = Uuid::short(0x2A60);
    pub(super) const SPOT_TIME: u8 = 1 << 0;
    pub(super) const SPOT_STATUS: u8 = 1 << 1;
    pub(super) const STATUS: u8 = 1 << 2;
    pub(super) const SENSOR: u8 = 1 << 3;
    pub(super) const AMPLITUDE: u8 = 1 << 4;
    pub(super) const ONGOING: u16 = 1 << 5;
    /// Validated and fully qualified.
    pub(super) const GOOD: u16 = (1 << 7) | (1 << 8);
    pub(super) const UNAVAILABLE: u16 = 1 << 13;
    pub(super) const LOW_PERFUSION: u32 = 1 << 5;
    pub(super) const SENSOR_OFF: u32 = 1 << 11;
    /// Measurement status, device and sensor status, time stamp, amplitude; then what of the two
    /// statuses is supported.
    pub(super) const SUPPORTED: [u8; 7] = [0x4B, 0x00, 0xA0, 0x21, 0x20, 0x08, 0x00];
}

/// For play: a spot check every two and a half minutes.
const EVERY_S: u64 = 150;
const FIRST_S: u64 = 30;

struct Oximeter {
    kit: Kit,
}

pub(super) fn device(setup: Setup) -> Peripheral<impl Inside> {
    let kit = Kit::new(&setup, "OX-LE", true);
    let own: [(Uuid, &[Flag]); 3] = [
        (spec::SPOT_CHECK, &[Flag::Indicate]),
        (spec::CONTINUOUS, &[Flag::Notify]),
        (spec::FEATURES, &[Flag::Read]),
    ];
    let profile = kit.profile("Virtual SpO2", spec::SERVICE, &own, Pairing::JustWorks);
    spot::device(profile, Oximeter { kit }, Notebook::new(&setup.device, setup.clock))
}

/// A value of 2A5E.
fn spot_check(values: [Sfloat; 2], time: Option<[u8; 7]>, status: Option<u16>) -> Vec<u8> {
    let mut bytes =
        vec![flags([(spec::SPOT_TIME, time.is_some()), (spec::SPOT_STATUS, status.is_some())])];
    bytes.extend(values.into_iter().flat_map(Sfloat::bytes));
    bytes.extend(time.into_iter().flatten());
    bytes.extend(status.into_iter().flat_map(u16::to_le_bytes));
    bytes
}

/// A value of 2A5F.
fn continuous(
    values: [Sfloat; 2],
    status: u16,
    sensor: Option<u32>,
    amplitude: Option<Sfloat>,
) -> Vec<u8> {
    let mut bytes = vec![
        spec::STATUS
            | flags([(spec::SENSOR, sensor.is_some()), (spec::AMPLITUDE, amplitude.is_some())]),
    ];
    bytes.extend(values.into_iter().flat_map(Sfloat::bytes));
    bytes.extend(status.to_le_bytes());
    bytes.extend(sensor.into_iter().flat_map(|sensor| sensor.to_le_bytes().into_iter().take(3)));
    bytes.extend(amplitude.into_iter().flat_map(Sfloat::bytes));
    bytes
}

impl Oximeter {
    fn is_off(&self, now: SimTime) -> bool {
        let setup = self.kit.setup();
        bedside::during(setup, &bedside::scenario(setup).probe_off, now)
    }

    /// Saturation and pulse rate.
    fn values(&self, now: SimTime) -> [Sfloat; 2] {
        let setup = self.kit.setup();
        let pulse = bedside::heart_rate(setup, now);
        if self.is_off(now) || pulse == 0 {
            return [Sfloat::NAN; 2];
        }
        [Sfloat::whole(bedside::vitals(setup, now).spo2), Sfloat::whole(pulse)]
    }

    fn facts(&self, now: SimTime, values: [Sfloat; 2], why: &'static str, air: &Air) -> [Truth; 2] {
        let [spo2, pulse] = values.map(|value| value.text(0).ok_or(why));
        [
            air.notes.reading(now, "spo2", Some("%"), spo2),
            air.notes.reading(now, "pulse_oxim", Some("/min"), pulse),
        ]
    }
}

impl Kind for Oximeter {
    const RESULT: Uuid = spec::SPOT_CHECK;

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
        (uuid == spec::FEATURES).then(|| spec::SUPPORTED.to_vec())
    }

    fn measure(&self, at: SimTime, _: u64, stamp: [u8; 7], air: &Air) -> Record {
        let values = self.values(at);
        let good = values.iter().all(|value| value.text(0).is_some());
        let status = if good { spec::GOOD } else { spec::UNAVAILABLE };
        let facts = self.facts(at, values, "not_available", air);
        Record { value: spot_check(values, Some(stamp), Some(status)), facts: facts.to_vec() }
    }

    fn live(&self, now: SimTime, air: &mut Air) {
        let values = self.values(now);
        if self.is_off(now) {
            let sensor = Some(spec::SENSOR_OFF);
            let mut facts = self.facts(now, values, "sensor_off", air).to_vec();
            facts.push(sensor_fact(now, spec::SENSOR_OFF, air));
            air.notify(spec::CONTINUOUS, continuous(values, spec::ONGOING, sensor, None), facts);
            return;
        }
        let mut facts = self.facts(now, values, "not_available", air).to_vec();
        let low = self.kit.temper.property(38, 2) == 1;
        let sensor = low.then_some(spec::LOW_PERFUSION);
        let amplitude = Sfloat::new(if low { 4 } else { 35 }, -1);
        let text = amplitude.text(0).ok_or("not_available");
        facts.push(air.notes.reading(now, "perf_index", Some("%"), text));
        facts.extend(sensor.map(|sensor| sensor_fact(now, sensor, air)));
        let value = continuous(values, spec::ONGOING, sensor, Some(amplitude));
        air.notify(spec::CONTINUOUS, value, facts);
    }

    fn stays(&self) -> bool {
        true
    }
}

fn sensor_fact(now: SimTime, sensor: u32, air: &Air) -> Truth {
    air.notes.reading(now, "oxim_dev_status", None, Ok(format!("{sensor:#08x}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vectors::frames;

    #[test]
    fn the_values_of_the_sheet_come_out() {
        let whole = |number: u16| Sfloat::whole(number);
        let time = Some([0xEA, 7, 11, 22, 8, 20, 5]);
        let sent = [
            spot_check([whole(98), whole(61)], time, Some(spec::GOOD)),
            spot_check([Sfloat::NAN; 2], None, Some(spec::UNAVAILABLE)),
            continuous(
                [whole(97), whole(72)],
                spec::ONGOING,
                Some(spec::LOW_PERFUSION),
                Some(Sfloat::new(35, -1)),
            ),
        ];
        let vectors = include_str!("../../../../tests/vectors/pulse-oximeter/values.toml");
        assert_eq!(frames(vectors, None), sent);
    }
}
