//! Pulse Oximeter Service (0x1822): spot checks and continuous measurement.
//!
//! Read first: the protocol sheet of Heart Rate, Pulse Oximeter, Health Thermometer and Weight
//! Scale, §3 and "Our metrics"; its codec is [`codec`].
//!
//! # Invariants
//! - demo and test data are never a patient's value

pub mod codec;

use super::{
    Characteristic, GattDriver, GattEvent, GattOutput, Request,
    services::ClockOptions,
    stream::Stream,
    visit::{Visit, spot_group},
};
use crate::{medfloat::Medfloat, reporter::Reporter};
use codec::{Continuous, DeviceStatus, MeasurementStatus, Pair, SpotCheck};
use model::{
    decimal::Decimal,
    device::DeviceKind,
    id::DeviceId,
    metric::Metric,
    reading::{NoData, Reading, ReadingGroup},
    record::Record,
    time::{MonoTime, Now},
    units::Unit,
};

/// The service, as it stands in advertisements.
pub const SERVICE: u16 = 0x1822;
/// PLX Spot-Check Measurement, indicated.
pub const SPOT_CHECK: Characteristic = Characteristic::sig(SERVICE, 0x2A5E);
/// PLX Continuous Measurement, notified about once a second.
pub const CONTINUOUS: Characteristic = Characteristic::sig(SERVICE, 0x2A5F);
/// What is silent when the oximeter is.
const METRICS: &[Metric] = &[Metric::SPO2, Metric::PULSE_OXIM];

/// Driver of any oximeter with the Pulse Oximeter Service.
#[derive(Debug)]
pub struct PulseOximeter {
    reporter: Reporter<Request>,
    visit: Visit,
    stream: Stream,
}

impl PulseOximeter {
    /// A driver that waits for its oximeter. It remembers nothing.
    #[must_use]
    pub fn new(device: DeviceId, clock: ClockOptions) -> Self {
        Self {
            reporter: Reporter::new(device, DeviceKind::Oximeter, "pulse-oximeter"),
            visit: Visit::new(clock),
            stream: Stream::new(METRICS),
        }
    }

    fn spot_check(&mut self, now: Now, value: &[u8]) {
        let Some(measured) = SpotCheck::decode(value) else { return self.malformed(now, value) };
        let civil_ms = measured.civil_ms.filter(|_| !measured.clock_not_set);
        if civil_ms.is_none() && self.visit.is_repeat(value) {
            return;
        }
        let readings =
            readings(measured.pair, measured.status, measured.device, measured.amplitude);
        let group = spot_group(self.reporter.device().clone(), now, readings, civil_ms);
        self.emit(group, measured.device);
    }

    fn continuous(&mut self, now: Now, value: &[u8]) {
        let Some(measured) = Continuous::decode(value) else { return self.malformed(now, value) };
        self.visit.stay();
        self.stream.heard(now, &mut self.reporter);
        let readings =
            readings(measured.pair, measured.status, measured.device, measured.amplitude);
        let group = ReadingGroup::new(self.reporter.device().clone(), now.observed(), readings);
        self.emit(group, measured.device);
    }

    /// What the device says of its sensor beside a value is context.
    fn emit(&mut self, group: ReadingGroup, device: DeviceStatus) {
        let text = device.text();
        let group = match text.is_empty() {
            true => group,
            false => group.with_context("sensor", &text),
        };
        self.reporter.emit(Record::Readings(group));
    }

    fn malformed(&mut self, now: Now, value: &[u8]) {
        let text = format!("a measurement of {} byte(s) breaks off; it is skipped", value.len());
        self.reporter.note(now, "malformed", text);
    }
}

/// Saturation and pulse, amplitude where there is one, and the status where it says anything.
fn readings(
    pair: Pair,
    status: MeasurementStatus,
    device: DeviceStatus,
    amplitude: Option<Medfloat>,
) -> Vec<Reading> {
    let reading = |metric, value: Medfloat, unit| match judged(status, device, value.number()) {
        Ok(number) => Reading::number(metric, number, unit),
        Err(reason) => Reading::no_data(metric, reason),
    };
    let mut readings = vec![
        reading(Metric::SPO2, pair.saturation, Unit::PERCENT),
        reading(Metric::PULSE_OXIM, pair.pulse, Unit::PER_MINUTE),
    ];
    if status.is_doubted() || device.is_doubted() {
        for reading in readings.iter_mut().filter(|reading| reading.value.is_ok()) {
            *reading = reading.clone().doubted();
        }
    }
    readings.extend(amplitude.map(|value| reading(Metric::PERF_INDEX, value, Unit::PERCENT)));
    if !device.is_good() {
        readings.push(Reading::text(Metric::OXIM_DEV_STATUS, &device.raw()));
    }
    readings
}

/// The number, or why there is none: the sensor's reason where the number is missing or void, then
/// the measurement's ("Our metrics").
fn judged(
    status: MeasurementStatus,
    device: DeviceStatus,
    number: Option<Decimal>,
) -> Result<Decimal, NoData> {
    let void = number.is_none() || status.is_unavailable() || status.is_invalid();
    if let Some(reason) = device.reason().filter(|_| void) {
        return Err(reason);
    }
    match number {
        _ if status.is_unavailable() => Err(NoData::NotAvailable),
        _ if status.is_calibrating() => Err(NoData::Calibrating),
        None => Err(NoData::NotAvailable),
        // Invalid, demo and test data: what was sent is kept as rejected.
        Some(number) if status.is_invalid() || status.is_not_of_a_patient() => {
            Err(NoData::Rejected(number.to_string()))
        }
        Some(number) => Ok(number),
    }
}

impl GattDriver for PulseOximeter {
    fn handle(&mut self, now: Now, event: GattEvent<'_>) {
        match event {
            GattEvent::Connected(found) => {
                // A spot-check oximeter is sent away like a cuff; one that streams stays.
                let subscribe = [SPOT_CHECK, CONTINUOUS];
                self.visit.begin(now, found, &subscribe, &[], &mut self.reporter);
            }
            GattEvent::Received(SPOT_CHECK, value) => {
                self.visit.heard(now);
                self.spot_check(now, value);
            }
            GattEvent::Received(CONTINUOUS, value) => self.continuous(now, value),
            GattEvent::TimedOut => {
                self.visit.time_out(now, &mut self.reporter);
                self.stream.time_out(now, &mut self.reporter);
            }
            GattEvent::Disconnected => match self.stream.end(now, &mut self.reporter) {
                true => self.visit.end_as_told(),
                false => self.visit.end(),
            },
            event => self.visit.handle(now, event, &mut self.reporter),
        }
    }

    fn poll_output(&mut self) -> Option<GattOutput> {
        self.reporter.next()
    }

    fn next_timeout(&self) -> Option<MonoTime> {
        self.visit.next_timeout().into_iter().chain(self.stream.next_timeout()).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::GattBench;
    use model::reading::{Occurrence, Validity};
    use proptest::{collection::vec, prelude::*};

    fn oximeter() -> GattBench<PulseOximeter> {
        let device = DeviceId::new("oxi-01").unwrap();
        let driver = PulseOximeter::new(device, ClockOptions::default());
        GattBench::new(driver, vec![(SPOT_CHECK, vec![]), (CONTINUOUS, vec![])])
    }

    /// Continuous 97 %, 72/min with these two status fields.
    fn continuous(measurement: u16, device: u32) -> Vec<u8> {
        let [d0, d1, d2, _] = device.to_le_bytes();
        let [m0, m1] = measurement.to_le_bytes();
        vec![0x0C, 97, 0, 72, 0, m0, m1, d0, d1, d2]
    }

    #[track_caller]
    fn check(measurement: u16, device: u32, expected: &str) {
        let mut bench = oximeter();
        bench.receive(CONTINUOUS, &continuous(measurement, device));
        assert_eq!(bench.values()[0], expected, "{measurement:#06x} {device:#08x}");
    }

    #[test]
    fn a_status_that_voids_a_value_says_why() {
        check(0, 0, "spo2 97");
        check(1 << 13, 0, "spo2 not_available");
        check(1 << 12, 0, "spo2 calibrating");
        check(1 << 15, 0, "spo2 rejected:97");
        check(1 << 10, 0, "spo2 rejected:97");
        check(1 << 11, 0, "spo2 rejected:97");
        check(1 << 13, 1 << 11, "spo2 sensor_off");
        check(1 << 15, 1 << 15, "spo2 sensor_off");
        check(1 << 13, 1 << 9, "spo2 searching");
        check(1 << 13, 1 << 5, "spo2 low_signal");
        check(1 << 13, 1 << 14, "spo2 device_error:0x004000");
        // Beside a good value they only doubt it.
        check(0, 1 << 5, "spo2 97");
    }

    #[test]
    fn an_amplitude_of_no_patient_is_no_value() {
        let mut bench = oximeter();
        // Demo data with an amplitude of 3.5 %.
        bench.receive(CONTINUOUS, &[0x14, 97, 0, 72, 0, 0, 4, 0x23, 0xF0]);
        assert_eq!(bench.values()[2], "perf_index rejected:3.5");
    }

    #[test]
    fn a_doubted_value_is_marked() {
        for (measurement, device) in [(1 << 6, 0), (1 << 14, 0), (0, 1 << 3), (0, 1 << 12)] {
            let mut bench = oximeter();
            bench.receive(CONTINUOUS, &continuous(measurement, device));
            let validity = bench.groups()[0].readings[0].validity;
            assert_eq!(validity, Validity::Questionable, "{measurement:#06x} {device:#08x}");
        }
    }

    #[test]
    fn a_spot_check_is_an_event_of_its_own() {
        let mut bench = oximeter();
        bench.connect();
        // 98 %, 61/min, 2026-11-22 08:20:05 (protocol sheet, §3).
        let value = [3, 98, 0, 61, 0, 0xEA, 7, 0x0B, 0x16, 8, 0x14, 5, 0x80, 1];
        bench.receive(SPOT_CHECK, &value);
        let group = bench.groups()[0];
        assert_eq!((group.occurrence, group.device_time.is_some()), (Occurrence::Spot, true));
        bench.pass(30_000);
        assert_eq!(bench.sent.last(), Some(&Request::Disconnect));
        // With a clock that was never set, the time is unknown.
        let mut unset = value.to_vec();
        unset[0] |= 1 << 4;
        bench.receive(SPOT_CHECK, &unset);
        assert_eq!(bench.groups()[1].device_time, None);
    }

    #[test]
    fn one_that_streams_stays_and_its_silence_is_news() {
        let mut bench = oximeter();
        bench.connect();
        for _ in 0..40 {
            bench.pass(1_000);
            bench.receive(CONTINUOUS, &continuous(0, 0));
        }
        assert!(!bench.sent.contains(&Request::Disconnect));
        bench.pass(60_000);
        assert_eq!(bench.values()[80..], ["spo2 silent", "pulse_oxim silent"]);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(value in vec(any::<u8>(), 0..24)) {
            for from in [SPOT_CHECK, CONTINUOUS] {
                let mut bench = oximeter();
                bench.receive(from, &value);
                prop_assert_eq!(bench.groups().len() + bench.notes.len(), 1);
            }
        }
    }
}
