//! Blood Pressure Service (0x1810): takes what a cuff measured.
//!
//! Read first: the protocol sheet of the Blood Pressure Service; its codec is [`codec`].
//!
//! # Invariants
//! - the cuff is never started, and nothing in it is deleted: it deletes what was confirmed
//! - the pressure while the cuff works is never a reading
//! - a cuff that is away is the normal case and no news

pub mod codec;

use super::{
    Characteristic, Cursor, GattDriver, GattEvent, GattOutput, Request,
    services::ClockOptions,
    visit::{Visit, spot_group},
};
use crate::{medfloat::Medfloat, reporter::Reporter};
use codec::{Feature, Measurement, PulseRange};
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
pub const SERVICE: u16 = 0x1810;
/// Blood Pressure Measurement: final results, indicated.
pub const MEASUREMENT: Characteristic = Characteristic::sig(SERVICE, 0x2A35);
/// Intermediate Cuff Pressure: notified while the cuff works.
pub const INTERMEDIATE: Characteristic = Characteristic::sig(SERVICE, 0x2A36);
/// Blood Pressure Feature.
pub const FEATURE: Characteristic = Characteristic::sig(SERVICE, 0x2A49);

/// Driver of any cuff with the Blood Pressure Service.
#[derive(Debug)]
pub struct BloodPressure {
    reporter: Reporter<Request>,
    visit: Visit,
    /// Which status bits mean something, once the cuff said so.
    feature: Option<Feature>,
}

impl BloodPressure {
    /// A driver that waits for its cuff. The cursor is what the cuff said it can detect.
    #[must_use]
    pub fn new(device: DeviceId, clock: ClockOptions, cursor: Option<Cursor>) -> Self {
        Self {
            reporter: Reporter::new(device, DeviceKind::Cuff, "blood-pressure"),
            visit: Visit::new(clock),
            feature: cursor.and_then(|cursor| Feature::decode(&cursor.0)),
        }
    }

    fn measured(&mut self, now: Now, value: &[u8]) {
        let (measured, tail) = match Measurement::decode(value) {
            Ok(decoded) => decoded,
            Err(error) => return self.reporter.note(now, "malformed", error),
        };
        if tail > 0 {
            let text = format!("{tail} byte(s) behind a measurement are skipped");
            self.reporter.note(now, "tail", text);
        }
        if measured.civil_ms.is_none() && self.visit.is_repeat(value) {
            return;
        }
        let group = self.group(now, &measured);
        self.reporter.emit(Record::Readings(group));
    }

    fn group(&self, now: Now, measured: &Measurement) -> ReadingGroup {
        let status = measured.status.unwrap_or_default();
        let detected = |detects: fn(Feature) -> bool| self.feature.is_none_or(detects);
        let moved = status.body_moved() && detected(Feature::detects_movement);
        let loose = status.cuff_loose() && detected(Feature::detects_fit);
        let position = status.wrong_position() && detected(Feature::detects_position);
        let irregular = status.irregular_pulse() && detected(Feature::detects_irregular_pulse);
        let range = status.pulse_range().filter(|_| detected(Feature::detects_pulse_range));

        let unit = if measured.kilopascal { Unit::KILOPASCAL } else { Unit::MM_HG };
        let pressures = [Metric::NIBP_SYS, Metric::NIBP_DIA, Metric::NIBP_MEAN];
        let mut readings: Vec<_> = pressures
            .into_iter()
            .zip(measured.pressures)
            .map(|(metric, value)| match positive(value) {
                Some(number) => Reading::number(metric, number, unit.clone()),
                None if moved => Reading::no_data(metric, NoData::Motion),
                None => Reading::no_data(metric, NoData::NotAvailable),
            })
            .collect();
        readings.extend(measured.pulse.map(|pulse| match positive(pulse) {
            Some(number) => Reading::number(Metric::PULSE_NIBP, number, Unit::PER_MINUTE),
            None => Reading::no_data(Metric::PULSE_NIBP, NoData::NotAvailable),
        }));
        if moved || loose || position {
            readings = readings.into_iter().map(Reading::doubted).collect();
        }

        let device = self.reporter.device().clone();
        let mut group = spot_group(device, now, readings, measured.civil_ms).as_group(Metric::NIBP);
        if let Some(user) = measured.user {
            group = group.with_context("user", &user.to_string());
        }
        for (key, holds) in [
            ("body_moved", moved),
            ("cuff_loose", loose),
            ("wrong_position", position),
            ("irregular_pulse", irregular),
        ] {
            if holds {
                group = group.with_context(key, "yes");
            }
        }
        match range {
            Some(PulseRange::Above) => group.with_context("pulse_range", "above"),
            Some(PulseRange::Below) => group.with_context("pulse_range", "below"),
            None => group,
        }
    }
}

/// "0 is no value for … NIBP" (metric catalogue).
fn positive(value: Medfloat) -> Option<Decimal> {
    value.number().filter(|number| *number != Decimal::ZERO)
}

impl GattDriver for BloodPressure {
    fn handle(&mut self, now: Now, event: GattEvent<'_>) {
        match event {
            GattEvent::Connected(found) => {
                let subscribe = [MEASUREMENT, INTERMEDIATE];
                self.visit.begin(now, found, &subscribe, &[FEATURE], &mut self.reporter);
            }
            GattEvent::Received(MEASUREMENT, value) => {
                self.visit.heard(now);
                self.measured(now, value);
            }
            // "Shown while it runs, never stored", §3.
            GattEvent::Received(INTERMEDIATE, _) => self.visit.heard(now),
            GattEvent::Answered(Request::Read(FEATURE), Ok(value)) => {
                let feature = Feature::decode(value);
                if feature.is_some() && feature != self.feature {
                    self.feature = feature;
                    self.reporter.remember(Cursor(value.to_vec()));
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
mod tests;
