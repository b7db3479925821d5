//! A blood-pressure cuff, from the protocol sheet alone.

use super::{
    Flag, Pairing, Uuid, bedside,
    kit::Kit,
    peripheral::{Air, Inside, Peripheral},
    spot::{self, Kind, Record},
    value::{Sfloat, flags},
};
use crate::{Setup, SimTime, scenario::Cuff as Measured, scenario::variation, truth::Notebook};

/// §2 and §3.
mod spec {
    use super::Uuid;
    pub(super) const SERVICE: Uuid = Uuid::short(0x1810);
    pub(super) const MEASUREMENT: Uuid = Uuid::short(0x2A35);
    pub(super) const INTERMEDIATE: Uuid = Uuid::short(0x2A36);
    pub(super) const FEATURE: Uuid = Uuid::short(0x2A49);
    pub(super) const KILOPASCAL: u8 = 1 << 0;
    pub(super) const TIME: u8 = 1 << 1;
    pub(super) const PULSE: u8 = 1 << 2;
    pub(super) const USER: u8 = 1 << 3;
    pub(super) const STATUS: u8 = 1 << 4;
    /// "A real capture has bits 6 and 7 set", §3.
    pub(super) const RESERVED: u8 = 0xC0;
    pub(super) const IRREGULAR_PULSE: u16 = 1 << 2;
    /// "Capture below has bit 7 set", §3.
    pub(super) const RESERVED_STATUS: u16 = 1 << 7;
    /// Movement, cuff fit, irregular pulse and position are watched.
    pub(super) const FEATURES: u16 = 0x17;
}

/// For play: how long a cuff works, and what it shows by the second before it is done.
const MEASURING_MS: u64 = 20_000;
const LOWEST_MMHG: u16 = 40;
const FALLS_MMHG: u16 = 6;

/// A value of 2A35 or 2A36.
#[derive(Clone, Copy, Debug)]
struct Measurement {
    kilopascal: bool,
    /// Systolic, diastolic, mean.
    pressures: [Sfloat; 3],
    time: Option<[u8; 7]>,
    pulse: Option<Sfloat>,
    user: Option<u8>,
    status: Option<u16>,
    reserved: u8,
}

/// Flags of 0 and no pressure.
const NOTHING: Measurement = Measurement {
    kilopascal: false,
    pressures: [Sfloat::NAN; 3],
    time: None,
    pulse: None,
    user: None,
    status: None,
    reserved: 0,
};

impl Measurement {
    fn encode(&self) -> Vec<u8> {
        let known = flags([
            (spec::KILOPASCAL, self.kilopascal),
            (spec::TIME, self.time.is_some()),
            (spec::PULSE, self.pulse.is_some()),
            (spec::USER, self.user.is_some()),
            (spec::STATUS, self.status.is_some()),
        ]);
        let mut bytes = vec![self.reserved | known];
        bytes.extend(self.pressures.iter().flat_map(|pressure| pressure.bytes()));
        bytes.extend(self.time.into_iter().flatten());
        bytes.extend(self.pulse.into_iter().flat_map(Sfloat::bytes));
        bytes.extend(self.user);
        bytes.extend(self.status.into_iter().flat_map(u16::to_le_bytes));
        bytes
    }
}

/// A cuff.
struct Cuff {
    kit: Kit,
}

/// A cuff that was used before.
pub(super) fn device(setup: Setup) -> Peripheral<impl Inside> {
    let kit = Kit::new(&setup, "BP-LE", true);
    let pairing = match kit.temper.property(31, 2) {
        1 => Pairing::Passkey(kit.passkey()),
        _ => Pairing::JustWorks,
    };
    let own: [(Uuid, &[Flag]); 3] = [
        (spec::MEASUREMENT, &[Flag::Indicate]),
        (spec::INTERMEDIATE, &[Flag::Notify]),
        (spec::FEATURE, &[Flag::Read]),
    ];
    let profile = kit.profile("Virtual BP", spec::SERVICE, &own, pairing);
    spot::device(profile, Cuff { kit }, Notebook::new(&setup.device, setup.clock))
}

impl Cuff {
    fn measured(&self, at: SimTime, number: u64) -> Measured {
        let story = bedside::scenario(self.kit.setup());
        let second = story.second(bedside::elapsed_s(at));
        let now = story.kiosk.iter().find(|cuff| at > SimTime(0) && cuff.at_s == second);
        now.copied().unwrap_or_else(|| {
            let more = |salt, span| {
                u8::try_from(variation(self.kit.setup().seed, number, salt, span))
                    .unwrap_or_default()
            };
            let (systolic, diastolic) = (118 + more(0x51, 30), 72 + more(0x52, 16));
            let mean = diastolic + (systolic - diastolic) / 3;
            let pulse = 64 + more(0x53, 20);
            Measured { at_s: 0, pressure: [systolic, mean, diastolic], pulse }
        })
    }
}

impl Kind for Cuff {
    const RESULT: Uuid = spec::MEASUREMENT;

    fn kit(&self) -> &Kit {
        &self.kit
    }

    fn next(&self, after: SimTime) -> Option<SimTime> {
        let story = bedside::scenario(self.kit.setup());
        story.next(&story.kiosk, |cuff| cuff.at_s, after).map(|(at, _)| at)
    }

    /// The pressure of a cuff that works, which is never stored.
    fn live(&self, now: SimTime, air: &mut Air) {
        let Some(ends) = self.next(now).filter(|ends| *ends <= now.plus_millis(MEASURING_MS))
        else {
            return;
        };
        let left = u16::try_from((ends.0 - now.0) / 1_000_000).unwrap_or_default();
        let pressure = Sfloat::whole(LOWEST_MMHG + left * FALLS_MMHG);
        let pressures = [pressure, Sfloat::NAN, Sfloat::NAN];
        air.notify(spec::INTERMEDIATE, Measurement { pressures, ..NOTHING }.encode(), Vec::new());
    }

    fn stored(&self) -> u64 {
        3 + self.kit.temper.property(32, 3)
    }

    fn feature(&self, uuid: Uuid) -> Option<Vec<u8>> {
        (uuid == spec::FEATURE).then(|| spec::FEATURES.to_le_bytes().to_vec())
    }

    fn measure(&self, at: SimTime, number: u64, stamp: [u8; 7], air: &Air) -> Record {
        let temper = &self.kit.temper;
        let cuff = self.measured(at, number);
        let [systolic, mean, diastolic] = cuff.pressure;
        let kilopascal = temper.property(33, 4) == 3;
        let pressure = |mmhg: u8| match kilopascal {
            true => Sfloat::new(tenths_of_kilopascal(mmhg), -1),
            false => Sfloat::whole(mmhg),
        };
        // "NaN mean with good pressures is normal".
        let mean = if temper.property(34, 2) == 1 { Sfloat::NAN } else { pressure(mean) };
        let pulse = if cuff.pulse == 0 { Sfloat::NAN } else { Sfloat::whole(cuff.pulse) };
        let irregular = if number % 5 == 4 { spec::IRREGULAR_PULSE } else { 0 };
        let reserved = !temper.is_polite();
        let measurement = Measurement {
            kilopascal,
            pressures: [pressure(systolic), pressure(diastolic), mean],
            time: Some(stamp),
            pulse: Some(pulse),
            user: Some(1),
            status: Some(irregular | if reserved { spec::RESERVED_STATUS } else { 0 }),
            reserved: if reserved { spec::RESERVED } else { 0 },
        };
        let unit = if kilopascal { "kPa" } else { "mm[Hg]" };
        let [systolic, diastolic, mean] = measurement.pressures;
        let facts = [
            ("nibp_sys", unit, systolic),
            ("nibp_dia", unit, diastolic),
            ("nibp_mean", unit, mean),
            ("pulse_nibp", "/min", pulse),
        ]
        .map(|(metric, unit, value)| {
            let text = value.text(0).ok_or("not_available");
            air.notes.reading(at, metric, Some(unit), text)
        });
        Record { value: measurement.encode(), facts: facts.to_vec() }
    }
}

/// 1 mmHg is 0.133322 kPa.
fn tenths_of_kilopascal(mmhg: u8) -> i16 {
    i16::try_from((i32::from(mmhg) * 133_322 + 50_000) / 100_000).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vectors::frames;

    #[test]
    fn the_values_of_the_sheet_come_out() {
        let tenths = |number: i16| Sfloat::new(number, -1);
        let whole = |number: u16| Sfloat::whole(number);
        let captured = Measurement { user: Some(1), reserved: 0xC0, ..NOTHING };
        let sent = [
            Measurement {
                pressures: [tenths(1270), tenths(790), Sfloat::NAN],
                time: Some([0xE4, 7, 1, 20, 8, 43, 0]),
                pulse: Some(tenths(690)),
                status: Some(0x80),
                ..captured
            },
            Measurement {
                pressures: [tenths(1160), tenths(800), Sfloat::NAN],
                time: Some([0xE4, 7, 1, 19, 22, 55, 0]),
                pulse: Some(tenths(700)),
                status: Some(0x144),
                ..captured
            },
            Measurement { pressures: [whole(120), whole(80), whole(93)], ..NOTHING },
            Measurement {
                pressures: [whole(138), whole(86), whole(103)],
                time: Some([0xEA, 7, 11, 22, 8, 15, 30]),
                pulse: Some(whole(72)),
                user: Some(1),
                status: Some(spec::IRREGULAR_PULSE),
                ..NOTHING
            },
            Measurement {
                kilopascal: true,
                pressures: [tenths(176), tenths(107), tenths(130)],
                pulse: Some(whole(68)),
                status: Some(0x21),
                ..NOTHING
            },
            Measurement {
                pressures: [whole(131), whole(84), Sfloat::NAN],
                pulse: Some(whole(77)),
                ..NOTHING
            },
            Measurement { pressures: [whole(156), Sfloat::NAN, Sfloat::NAN], ..NOTHING },
        ];
        let vectors = include_str!("../../../../tests/vectors/blood-pressure/values.toml");
        // Behind these stand values that are no measurement.
        let expected = frames(vectors, None);
        for (number, measurement) in sent.iter().enumerate() {
            assert_eq!(measurement.encode(), expected[number], "vector {number}");
        }
    }

    #[test]
    fn kilopascals_are_rounded_as_printed() {
        assert_eq!([132, 80, 98].map(tenths_of_kilopascal), [176, 107, 131]);
    }
}
