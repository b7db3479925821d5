//! Health Thermometer Service (0x1809): takes what a thermometer measured.
//!
//! Read first: the protocol sheet of Heart Rate, Pulse Oximeter, Health Thermometer and Weight
//! Scale, §4 and "Our metrics".
//!
//! # Invariants
//! - a temperature while the thermometer still measures is never a reading

use super::{
    Characteristic, Cursor, GattDriver, GattEvent, GattOutput, Request,
    fields::Fields,
    services::ClockOptions,
    visit::{Visit, spot_group},
};
use crate::{
    medfloat::{Medfloat, float},
    reporter::Reporter,
};
use model::{
    device::DeviceKind,
    id::DeviceId,
    metric::Metric,
    reading::{NoData, Reading},
    record::Record,
    time::{MonoTime, Now},
    units::Unit,
};

/// The service, as it stands in advertisements.
pub const SERVICE: u16 = 0x1809;
/// Temperature Measurement: final results, indicated.
pub const MEASUREMENT: Characteristic = Characteristic::sig(SERVICE, 0x2A1C);
/// Intermediate Temperature, "same layout, never file".
pub const INTERMEDIATE: Characteristic = Characteristic::sig(SERVICE, 0x2A1E);
/// Temperature Type, "used when the type byte is absent".
pub const TYPE: Characteristic = Characteristic::sig(SERVICE, 0x2A1D);

mod spec {
    pub(super) const FAHRENHEIT: u8 = 1 << 0;
    pub(super) const TIME: u8 = 1 << 1;
    pub(super) const TYPE: u8 = 1 << 2;
}

/// A Temperature Measurement.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Measurement {
    /// In degrees Celsius or Fahrenheit.
    pub value: Medfloat,
    /// Whether it is in degrees Fahrenheit.
    pub fahrenheit: bool,
    /// The thermometer's own civil time; `None` where it has none or none that exists.
    pub civil_ms: Option<i64>,
    /// Where it was measured: 1 armpit, …
    pub site: Option<u8>,
}

impl Measurement {
    /// The measurement; `None` where it is shorter than its flags say.
    #[must_use]
    pub fn decode(value: &[u8]) -> Option<Self> {
        let mut fields = Fields(value);
        let flags = fields.u8()?;
        let has = |flag| flags & flag != 0;
        let value = float(fields.take().map(u32::from_le_bytes)?);
        let civil_ms = fields.date_time(has(spec::TIME))?;
        let site = if has(spec::TYPE) { Some(fields.u8()?) } else { None };
        let fahrenheit = has(spec::FAHRENHEIT);
        Some(Self { value, fahrenheit, civil_ms, site })
    }
}

/// The metric of a site, and the site's name where the metric does not say it.
const fn metric(site: Option<u8>) -> (Metric, Option<&'static str>) {
    match site {
        Some(1) => (Metric::TEMP_AXILLA, None),
        Some(3) => (Metric::TEMP_EAR, None),
        Some(4) => (Metric::TEMP_BODY, Some("finger")),
        Some(5) => (Metric::TEMP_BODY, Some("gastro_intestinal")),
        Some(6) => (Metric::TEMP_ORAL, None),
        Some(7) => (Metric::TEMP_RECT, None),
        Some(8) => (Metric::TEMP_BODY, Some("toe")),
        Some(9) => (Metric::TEMP_TYMP, None),
        _ => (Metric::TEMP_BODY, None),
    }
}

/// Driver of any thermometer with the Health Thermometer Service.
#[derive(Debug)]
pub struct Thermometer {
    reporter: Reporter<Request>,
    visit: Visit,
    /// Where it always measures, once it said so.
    site: Option<u8>,
}

impl Thermometer {
    /// A driver that waits for its thermometer. The cursor is where it always measures.
    #[must_use]
    pub fn new(device: DeviceId, clock: ClockOptions, cursor: Option<Cursor>) -> Self {
        Self {
            reporter: Reporter::new(device, DeviceKind::Thermometer, "thermometer"),
            visit: Visit::new(clock),
            site: cursor.and_then(|cursor| cursor.0.first().copied()),
        }
    }

    fn measured(&mut self, now: Now, value: &[u8]) {
        let Some(measured) = Measurement::decode(value) else {
            let text =
                format!("a temperature of {} byte(s) breaks off; it is skipped", value.len());
            return self.reporter.note(now, "malformed", text);
        };
        if measured.civil_ms.is_none() && self.visit.is_repeat(value) {
            return;
        }
        let (metric, site) = metric(measured.site.or(self.site));
        let unit = if measured.fahrenheit { Unit::FAHRENHEIT } else { Unit::CELSIUS };
        let reading = match measured.value.number() {
            Some(number) => Reading::number(metric, number, unit),
            None => Reading::no_data(metric, NoData::NotAvailable),
        };
        let device = self.reporter.device().clone();
        let mut group = spot_group(device, now, vec![reading], measured.civil_ms);
        if let Some(site) = site {
            group = group.with_context("site", site);
        }
        self.reporter.emit(Record::Readings(group));
    }
}

impl GattDriver for Thermometer {
    fn handle(&mut self, now: Now, event: GattEvent<'_>) {
        match event {
            GattEvent::Connected(found) => {
                // The intermediate one is only a sign that it still measures.
                let subscribe = [MEASUREMENT, INTERMEDIATE];
                self.visit.begin(now, found, &subscribe, &[TYPE], &mut self.reporter);
            }
            GattEvent::Received(MEASUREMENT, value) => {
                self.visit.heard(now);
                self.measured(now, value);
            }
            GattEvent::Received(INTERMEDIATE, _) => self.visit.heard(now),
            GattEvent::Answered(Request::Read(TYPE), Ok(value)) => {
                let site = value.first().copied();
                if site.is_some() && site != self.site {
                    self.site = site;
                    self.reporter.remember(Cursor(site.into_iter().collect()));
                }
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

    fn thermometer(cursor: Option<Cursor>) -> GattBench<Thermometer> {
        let device = DeviceId::new("temp-01").unwrap();
        let driver = Thermometer::new(device, ClockOptions::default(), cursor);
        GattBench::new(driver, vec![(MEASUREMENT, vec![]), (INTERMEDIATE, vec![]), (TYPE, vec![1])])
    }

    const PLAIN: &[u8] = &[0, 0x70, 1, 0, 0xFF];

    #[test]
    fn a_thermometer_that_always_measures_in_the_armpit_says_so_once() {
        let mut bench = thermometer(None);
        bench.receive(MEASUREMENT, PLAIN);
        bench.connect();
        bench.handle(GattEvent::Disconnected);
        bench.receive(MEASUREMENT, PLAIN);
        assert_eq!(bench.values(), ["temp_body 36.8", "temp_axilla 36.8"]);
        let mut again = thermometer(bench.remembered.last().cloned());
        again.receive(MEASUREMENT, PLAIN);
        again.connect();
        assert_eq!(again.values(), ["temp_axilla 36.8"]);
        assert!(again.remembered.is_empty());
    }

    #[test]
    fn a_fahrenheit_number_under_the_celsius_flag_is_no_temperature() {
        let mut bench = thermometer(None);
        bench.receive(MEASUREMENT, &[0, 0xD8, 3, 0, 0xFF]);
        bench.receive(MEASUREMENT, &[1, 0xD8, 3, 0, 0xFF]);
        assert_eq!(bench.values(), ["temp_body rejected:98.4", "temp_body 98.4"]);
        assert_eq!(bench.groups()[1].readings[0].canonical().unwrap().0.to_string(), "36.9");
    }

    #[test]
    fn what_is_still_being_measured_is_no_reading() {
        let mut bench = thermometer(None);
        bench.connect();
        bench.receive(INTERMEDIATE, PLAIN);
        assert!(bench.groups().is_empty());
        bench.receive(MEASUREMENT, PLAIN);
        bench.receive(MEASUREMENT, PLAIN);
        assert_eq!(bench.groups().len(), 1, "a repeat on one connection");
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(value in vec(any::<u8>(), 0..20)) {
            let mut bench = thermometer(None);
            bench.receive(MEASUREMENT, &value);
            prop_assert_eq!(bench.groups().len() + bench.notes.len(), 1);
        }
    }
}
