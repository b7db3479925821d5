//! Heart Rate Service (0x180D): straps and other sensors that tell rate and RR intervals.
//!
//! Read first: the protocol sheet of Heart Rate, Pulse Oximeter, Health Thermometer and Weight
//! Scale, §2 and "Our metrics".
//!
//! # Invariants
//! - no rate is made of RR intervals

use super::{
    Characteristic, GattDriver, GattEvent, GattOutput, Request, fields::Fields,
    services::ClockOptions, stream::Stream, visit::Visit,
};
use crate::reporter::Reporter;
use model::{
    device::DeviceKind,
    id::DeviceId,
    metric::Metric,
    reading::{GROUP_LEN_MAX, NoData, Reading, ReadingGroup},
    record::Record,
    time::{MonoTime, Now},
    units::Unit,
};

/// The service, as it stands in advertisements.
pub const SERVICE: u16 = 0x180D;
/// Heart Rate Measurement, notified about once a second.
pub const MEASUREMENT: Characteristic = Characteristic::sig(SERVICE, 0x2A37);
/// Body Sensor Location.
pub const LOCATION: Characteristic = Characteristic::sig(SERVICE, 0x2A38);
/// What is silent when the sensor is.
pub(super) const METRICS: &[Metric] = &[Metric::HR];

mod spec {
    pub(super) const WIDE: u8 = 1 << 0;
    pub(super) const CONTACT: u8 = 1 << 1;
    pub(super) const CONTACT_SUPPORTED: u8 = 1 << 2;
    pub(super) const ENERGY: u8 = 1 << 3;
    pub(super) const INTERVALS: u8 = 1 << 4;
    /// "0 other, 1 chest, …", §2.
    pub(super) const LOCATIONS: [&str; 7] =
        ["other", "chest", "wrist", "finger", "hand", "ear_lobe", "foot"];
}

/// A Heart Rate Measurement.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Measurement {
    /// Beats a minute; 0 for none.
    pub rate: u16,
    /// Whether the sensor touches the skin, where it can tell.
    pub contact: Option<bool>,
    /// RR intervals in 1/1024 s, oldest first; 0 for no beat.
    pub intervals: Vec<u16>,
    /// Whether a byte was left over behind them.
    pub has_tail: bool,
}

impl Measurement {
    /// The measurement; `None` where it is shorter than its flags say.
    #[must_use]
    pub fn decode(value: &[u8]) -> Option<Self> {
        let mut fields = Fields(value);
        let flags = fields.u8()?;
        let has = |flag| flags & flag != 0;
        let rate = if has(spec::WIDE) { fields.u16()? } else { u16::from(fields.u8()?) };
        if has(spec::ENERGY) {
            fields.u16()?;
        }
        let mut intervals = Vec::new();
        while let (true, Some(interval)) = (has(spec::INTERVALS), fields.u16()) {
            intervals.push(interval);
        }
        let has_tail = has(spec::INTERVALS) && !fields.0.is_empty();
        // "Bit 1 without bit 2: contact unknown, not ok."
        let contact = has(spec::CONTACT_SUPPORTED).then(|| has(spec::CONTACT));
        Some(Self { rate, contact, intervals, has_tail })
    }
}

/// What a strap says of the heart, for every driver of one.
#[derive(Debug, Default)]
pub(super) struct Heart {
    location: Option<&'static str>,
}

impl Heart {
    /// Takes a measurement; whether it was one.
    pub(super) fn measured(
        &self,
        now: Now,
        value: &[u8],
        reporter: &mut Reporter<Request>,
    ) -> bool {
        let Some(measured) = Measurement::decode(value) else {
            let text = format!("a heart rate of {} byte(s) breaks off; it is skipped", value.len());
            reporter.note(now, "malformed", text);
            return false;
        };
        if measured.has_tail {
            reporter.note(now, "tail", "half an RR interval is skipped");
        }
        let rate = match (measured.contact, measured.rate) {
            (Some(false), _) => Reading::no_data(Metric::HR, NoData::SensorOff),
            (_, 0) => Reading::no_data(Metric::HR, NoData::NotAvailable),
            (_, rate) => Reading::number(Metric::HR, u32::from(rate), Unit::PER_MINUTE),
        };
        let beats = measured.intervals.iter().filter(|interval| **interval != 0);
        let intervals = beats.map(|interval| {
            Reading::number(Metric::RR_INTERVAL, u32::from(*interval), Unit::SECOND_1024)
        });
        let readings: Vec<_> = [rate].into_iter().chain(intervals).collect();
        // A strap has a few beats to tell; a notification has room for 255.
        for readings in readings.chunks(GROUP_LEN_MAX) {
            let device = reporter.device().clone();
            let mut group = ReadingGroup::new(device, now.observed(), readings.to_vec());
            if let Some(location) = self.location {
                group = group.with_context("sensor_location", location);
            }
            reporter.emit(Record::Readings(group));
        }
        true
    }

    /// Takes what was read of the sensor's place.
    pub(super) fn located(&mut self, value: &[u8]) {
        let place = value.first().and_then(|place| spec::LOCATIONS.get(usize::from(*place)));
        self.location = place.copied();
    }
}

/// Driver of any sensor with the Heart Rate Service.
#[derive(Debug)]
pub struct HeartRate {
    reporter: Reporter<Request>,
    visit: Visit,
    stream: Stream,
    heart: Heart,
}

impl HeartRate {
    /// A driver that waits for its sensor. It remembers nothing.
    #[must_use]
    pub fn new(device: DeviceId, clock: ClockOptions) -> Self {
        Self {
            reporter: Reporter::new(device, DeviceKind::EcgStrap, "heart-rate"),
            visit: Visit::new(clock),
            stream: Stream::new(METRICS),
            heart: Heart::default(),
        }
    }
}

impl GattDriver for HeartRate {
    fn handle(&mut self, now: Now, event: GattEvent<'_>) {
        let reporter = &mut self.reporter;
        match event {
            GattEvent::Connected(found) => {
                self.visit.begin(now, found, &[MEASUREMENT], &[LOCATION], reporter);
                self.visit.stay();
                self.stream.heard(now, reporter);
            }
            GattEvent::Received(MEASUREMENT, value) => {
                if self.heart.measured(now, value, reporter) {
                    self.stream.heard(now, reporter);
                }
            }
            GattEvent::Answered(Request::Read(LOCATION), Ok(value)) => self.heart.located(value),
            GattEvent::Answered(request, answer) => {
                self.visit.answered(now, request, answer, reporter);
            }
            GattEvent::TimedOut => self.stream.time_out(now, reporter),
            GattEvent::Received(..) | GattEvent::Leaving => {}
            GattEvent::Disconnected => {
                self.stream.end(now, reporter);
                self.visit.end_as_told();
            }
        }
    }

    fn poll_output(&mut self) -> Option<GattOutput> {
        self.reporter.next()
    }

    fn next_timeout(&self) -> Option<MonoTime> {
        self.stream.next_timeout()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::GattBench;
    use proptest::{collection::vec, prelude::*};

    fn strap() -> GattBench<HeartRate> {
        let device = DeviceId::new("strap-01").unwrap();
        let driver = HeartRate::new(device, ClockOptions::default());
        GattBench::new(driver, vec![(MEASUREMENT, vec![]), (LOCATION, vec![1])])
    }

    #[test]
    fn rate_and_intervals_are_one_group_with_the_sensors_place() {
        let mut bench = strap();
        bench.connect();
        bench.receive(MEASUREMENT, &[0x16, 0x4B, 0x33, 3, 0x42, 3]);
        assert_eq!(bench.values(), ["hr 75", "rr_interval 819", "rr_interval 834"]);
        assert_eq!(bench.groups()[0].context["sensor_location"], "chest");
        let interval = &bench.groups()[0].readings[1];
        assert_eq!(interval.canonical().unwrap().0.to_string(), "800");
    }

    /// Found by fuzzing: an envelope carries no more than that of a group, and dropped the rest.
    #[test]
    fn more_beats_than_a_group_holds_are_several_groups() {
        let mut bench = strap();
        let beats: Vec<u8> = (0..40).flat_map(|beat: u16| (800 + beat).to_le_bytes()).collect();
        bench.receive(MEASUREMENT, &[&[0x10, 75], beats.as_slice()].concat());
        assert_eq!(bench.values().len(), 41);
        assert!(bench.groups().iter().all(|group| group.readings.len() <= GROUP_LEN_MAX));
    }

    #[test]
    fn a_strap_off_the_skin_has_no_rate() {
        let mut bench = strap();
        bench.receive(MEASUREMENT, &[4, 60]);
        bench.receive(MEASUREMENT, &[6, 0]);
        // Contact without the bit that says that it can be told.
        bench.receive(MEASUREMENT, &[2, 61]);
        assert_eq!(bench.values(), ["hr sensor_off", "hr not_available", "hr 61"]);
    }

    #[test]
    fn silence_and_absence_are_told_once() {
        let mut bench = strap();
        bench.connect();
        bench.receive(MEASUREMENT, &[0, 72]);
        bench.pass(10_000);
        bench.handle(GattEvent::Disconnected);
        assert_eq!(bench.values(), ["hr 72", "hr silent"]);
        bench.connect();
        bench.receive(MEASUREMENT, &[0, 73]);
        bench.handle(GattEvent::Disconnected);
        assert_eq!(bench.values()[2..], ["hr 73", "hr silent"]);
        let states =
            ["online", "silent", "online", "silent"].map(|state| format!("strap-01 {state}"));
        assert_eq!(bench.states(), states);
    }

    #[test]
    fn half_an_interval_is_dropped() {
        let mut bench = strap();
        bench.receive(MEASUREMENT, &[0x10, 60, 0x11, 4, 7]);
        bench.receive(MEASUREMENT, &[0x10, 60]);
        bench.receive(MEASUREMENT, &[0x01, 60]);
        bench.receive(MEASUREMENT, &[0x08, 60, 1]);
        assert_eq!(bench.values(), ["hr 60", "rr_interval 1041", "hr 60"]);
        let kinds: Vec<_> = bench.notes.iter().map(|note| note.kind).collect();
        assert_eq!(kinds, ["tail", "malformed"]);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(value in vec(any::<u8>(), 0..300)) {
            let mut bench = strap();
            bench.receive(MEASUREMENT, &value);
            let readings = bench.groups().into_iter().map(|group| group.readings.len());
            prop_assert!(readings.sum::<usize>() <= 1 + value.len() / 2);
        }
    }
}
