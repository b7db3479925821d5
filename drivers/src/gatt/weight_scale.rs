//! Weight Scale Service (0x181D): takes what a scale measured.
//!
//! Read first: the protocol sheet of Heart Rate, Pulse Oximeter, Health Thermometer and Weight
//! Scale, §5 and "Our metrics".

use super::{
    Characteristic, GattDriver, GattEvent, GattOutput, Request,
    fields::Fields,
    services::ClockOptions,
    visit::{Visit, spot_group},
};
use crate::reporter::Reporter;
use model::{
    decimal::Decimal,
    device::DeviceKind,
    id::DeviceId,
    metric::Metric,
    reading::{NoData, Reading},
    record::Record,
    time::{MonoTime, Now},
    units::Unit,
};

/// The service, as it stands in advertisements.
pub const SERVICE: u16 = 0x181D;
/// Weight Measurement, indicated.
pub const MEASUREMENT: Characteristic = Characteristic::sig(SERVICE, 0x2A9D);

mod spec {
    pub(super) const IMPERIAL: u8 = 1 << 0;
    pub(super) const TIME: u8 = 1 << 1;
    pub(super) const USER: u8 = 1 << 2;
    pub(super) const BMI_AND_HEIGHT: u8 = 1 << 3;
    /// "Measurement unsuccessful."
    pub(super) const UNSUCCESSFUL: u16 = 0xFFFF;
    pub(super) const UNKNOWN_USER: u8 = 0xFF;
}

/// A Weight Measurement.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Measurement {
    /// Whether weight and height are in pounds and inches.
    pub imperial: bool,
    /// In steps of 0.005 kg or 0.01 lb.
    pub weight: u16,
    /// The scale's own civil time; `None` where it has none or none that exists.
    pub civil_ms: Option<i64>,
    /// Which of the scale's users, where it knows.
    pub user: Option<u8>,
    /// Tenths of a BMI, and height in steps of 0.001 m or 0.1 inch.
    pub bmi_and_height: Option<(u16, u16)>,
}

impl Measurement {
    /// The measurement; `None` where it is shorter than its flags say.
    #[must_use]
    pub fn decode(value: &[u8]) -> Option<Self> {
        let mut fields = Fields(value);
        let flags = fields.u8()?;
        let has = |flag| flags & flag != 0;
        let weight = fields.u16()?;
        let civil_ms = fields.date_time(has(spec::TIME))?;
        let user = if has(spec::USER) { Some(fields.u8()?) } else { None };
        let bmi_and_height = match has(spec::BMI_AND_HEIGHT) {
            true => Some((fields.u16()?, fields.u16()?)),
            false => None,
        };
        Some(Self {
            imperial: has(spec::IMPERIAL),
            weight,
            civil_ms,
            user: user.filter(|user| *user != spec::UNKNOWN_USER),
            bmi_and_height,
        })
    }

    fn readings(&self) -> Vec<Reading> {
        let weight = i64::from(self.weight);
        let weight = match (self.weight, self.imperial) {
            (spec::UNSUCCESSFUL, _) => Reading::no_data(Metric::WEIGHT, NoData::NotAvailable),
            // "× 0.005 kg", "× 0.01 lb".
            (_, false) => measured(Metric::WEIGHT, weight * 5, -3, Unit::KILOGRAM),
            (_, true) => measured(Metric::WEIGHT, weight, -2, Unit::POUND),
        };
        let mut readings = vec![weight];
        if let Some((bmi, height)) = self.bmi_and_height {
            // "× 0.1", "× 0.001 m" and "× 0.1 in".
            readings.push(measured(Metric::BMI, bmi.into(), -1, Unit::KG_PER_M2));
            readings.push(match self.imperial {
                false => measured(Metric::HEIGHT, height.into(), -3, Unit::METRE),
                true => measured(Metric::HEIGHT, height.into(), -1, Unit::INCH),
            });
        }
        readings
    }
}

fn measured(metric: Metric, mantissa: i64, exponent: i8, unit: Unit) -> Reading {
    let number = Decimal::new(mantissa, exponent).unwrap_or(Decimal::ZERO);
    Reading::number(metric, number, unit)
}

/// Driver of any scale with the Weight Scale Service.
#[derive(Debug)]
pub struct WeightScale {
    reporter: Reporter<Request>,
    visit: Visit,
}

impl WeightScale {
    /// A driver that waits for its scale. It remembers nothing.
    #[must_use]
    pub fn new(device: DeviceId, clock: ClockOptions) -> Self {
        Self {
            reporter: Reporter::new(device, DeviceKind::Scale, "weight-scale"),
            visit: Visit::new(clock),
        }
    }

    fn measured(&mut self, now: Now, value: &[u8]) {
        let Some(measured) = Measurement::decode(value) else {
            let text = format!("a weight of {} byte(s) breaks off; it is skipped", value.len());
            return self.reporter.note(now, "malformed", text);
        };
        if measured.civil_ms.is_none() && self.visit.is_repeat(value) {
            return;
        }
        let device = self.reporter.device().clone();
        let mut group = spot_group(device, now, measured.readings(), measured.civil_ms);
        if let Some(user) = measured.user {
            group = group.with_context("user", &user.to_string());
        }
        self.reporter.emit(Record::Readings(group));
    }
}

impl GattDriver for WeightScale {
    fn handle(&mut self, now: Now, event: GattEvent<'_>) {
        match event {
            GattEvent::Connected(found) => {
                self.visit.begin(now, found, &[MEASUREMENT], &[], &mut self.reporter);
            }
            GattEvent::Received(MEASUREMENT, value) => {
                self.visit.heard(now);
                self.measured(now, value);
            }
            event => self.visit.handle(now, event, &mut self.reporter),
        }
    }

    fn poll_output(&mut self) -> Option<GattOutput> {
        self.reporter.next()
    }

    fn next_timeout(&self) -> Option<MonoTime> {
        self.visit.next_timeout()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::GattBench;
    use proptest::{collection::vec, prelude::*};

    fn scale() -> GattBench<WeightScale> {
        let device = DeviceId::new("scale-01").unwrap();
        let driver = WeightScale::new(device, ClockOptions::default());
        GattBench::new(driver, vec![(MEASUREMENT, vec![])])
    }

    #[test]
    fn a_weight_that_was_not_measured_is_no_weight() {
        let mut bench = scale();
        bench.receive(MEASUREMENT, &[0, 0xFF, 0xFF]);
        bench.receive(MEASUREMENT, &[0, 0, 0]);
        assert_eq!(bench.values(), ["weight not_available", "weight rejected:0.000"]);
    }

    #[test]
    fn pounds_and_inches_convert() {
        let mut bench = scale();
        // 150.00 lb, BMI 23.5, 67.0 inches.
        bench.receive(MEASUREMENT, &[9, 0x98, 0x3A, 235, 0, 0x9E, 2]);
        let readings = &bench.groups()[0].readings;
        let shown: Vec<_> =
            readings.iter().map(|one| one.canonical().unwrap().0.to_string()).collect();
        assert_eq!(shown, ["68.04", "23.5", "170.2"]);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(value in vec(any::<u8>(), 0..20)) {
            let mut bench = scale();
            bench.receive(MEASUREMENT, &value);
            prop_assert_eq!(bench.groups().len() + bench.notes.len(), 1);
        }
    }
}
