//! The driver's name in `agent.toml` → the driver.

use crate::{
    gatt::{
        GattDriver, Uuid,
        blood_pressure::{self, BloodPressure},
        glucose::{self, Glucose},
        heart_rate::{self, HeartRate},
        polar_ecg::{self, PolarEcg},
        pulse_oximeter::{self, PulseOximeter},
        services::ClockOptions,
        thermometer::{self, Thermometer},
        weight_scale::{self, WeightScale},
    },
    redaction::{Mask, Redactor},
    serial::{
        Cursor, PortSettings, SerialDriver,
        asena::Asena,
        bcc::{self, Bcc},
        hbp9030::{self, Hbp9030},
        intellivue::{self, Intellivue},
        json_lines::{self, JsonLines, Settings},
        pm6750::Pm6750,
        td42xx::Td42xx,
        tm2655::{self, Tm2655},
        ultraeasy::Ultraeasy,
    },
};
use model::{decimal::Decimal, device::DeviceKind, id::DeviceId};
use std::{ops::RangeInclusive, time::Duration};

/// "5 s comfortable at 9600 baud" (BCC).
const BCC_POLL: Duration = Duration::from_secs(5);
/// "Poll INF every 1–2.5 s" (Asena).
const ASENA_POLL: Duration = Duration::from_secs(2);
/// `silent_after_s`: a source that speaks once a day is still watched.
pub const SILENT_AFTER_S: RangeInclusive<u64> = 1..=86_400;
/// No clock on earth is further from UTC: UTC−12 to UTC+14.
const ZONE_OFFSET_S: RangeInclusive<i32> = -12 * 3600..=14 * 3600;
/// A meter is put on its cable for a minute at least.
const METER_POLL: Duration = Duration::from_secs(30);

/// Every serial driver.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum DriverName {
    /// Berry PM6750 family, patient monitor module.
    Pm6750,
    /// B. Braun Space, infusion pumps.
    Bcc,
    /// A&D TM-2655 family, blood-pressure kiosk.
    Tm2655,
    /// LifeScan OneTouch UltraEasy, blood-glucose meter.
    Ultraeasy,
    /// Omron HBP-9030 family, blood-pressure kiosk.
    Hbp9030,
    /// TaiDoc TD-42xx family, blood-glucose meter or cuff.
    Td42xx,
    /// Philips IntelliVue, bedside monitor.
    Intellivue,
    /// Alaris / Asena, syringe pump.
    Asena,
    /// Home-made and unusual devices: one JSON object a line.
    JsonLines,
}

/// What a person may set for a driver, and what it must know of the site.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct DriverOptions {
    /// `pm6750`: counts per millivolt at gain ×1, measured on that unit with a 1 mV source.
    pub counts_per_mv: Option<Decimal>,
    /// How often the device is asked. Default: `asena` 2 s, `bcc` 5 s, `ultraeasy` and `td42xx`
    /// 30 s, `tm2655` only when the port opens. Brought into [`DriverName::poll_interval_s`].
    pub poll_interval: Option<Duration>,
    /// The site's time zone, seconds east of UTC: with it `ultraeasy` and `td42xx` say how far
    /// the meter's clock is off.
    pub zone_offset_s: Option<i32>,
    /// `json-lines`: what kind of device it is. Default: a monitor.
    pub kind: Option<DeviceKind>,
    /// `json-lines`: whether lines are acknowledged and refusals told to the source.
    pub acknowledge: bool,
    /// `json-lines`: after how long without a good line the source is silent. Default by kind.
    pub silent_after: Option<Duration>,
}

impl DriverOptions {
    /// What kind of device it is with these options.
    #[must_use]
    pub fn kind_of(&self, driver: DriverName) -> DeviceKind {
        self.kind.filter(|_| driver.takes("kind")).unwrap_or(driver.kind())
    }

    /// The options as texts, for the head of a recording: a driver made with them reads it alike.
    #[must_use]
    pub fn recorded(&self) -> Vec<(&'static str, String)> {
        let seconds = |time: Option<Duration>| time.map(|time| time.as_secs().to_string());
        let texts = [
            ("counts_per_mv", self.counts_per_mv.map(|counts| counts.to_string())),
            ("poll_interval_s", seconds(self.poll_interval)),
            ("zone_offset_s", self.zone_offset_s.map(|offset| offset.to_string())),
            ("kind", self.kind.map(|kind| kind.name().to_owned())),
            ("acknowledge", self.acknowledge.then(|| "true".to_owned())),
            ("silent_after_s", seconds(self.silent_after)),
        ];
        texts.into_iter().filter_map(|(name, text)| Some((name, text?))).collect()
    }

    /// Takes an option as [`recorded`](Self::recorded) wrote it. `Some(true)`: taken, `Some(false)`:
    /// not an option, `None`: one, with a text it cannot have.
    pub fn take_recorded(&mut self, name: &str, text: &str) -> Option<bool> {
        match name {
            "counts_per_mv" => self.counts_per_mv = Some(counts_per_mv(text)?),
            "poll_interval_s" => {
                self.poll_interval = Some(Duration::from_secs(text.parse().ok()?));
            }
            "zone_offset_s" => {
                let offset_s = text.parse().ok().filter(|offset| ZONE_OFFSET_S.contains(offset));
                self.zone_offset_s = Some(offset_s?);
            }
            "kind" => self.kind = Some(DeviceKind::from_name(text)?),
            "acknowledge" => self.acknowledge = text.parse().ok()?,
            "silent_after_s" => {
                let seconds = text.parse().ok().filter(|after| SILENT_AFTER_S.contains(after));
                self.silent_after = Some(Duration::from_secs(seconds?));
            }
            _ => return Some(false),
        }
        Some(true)
    }
}

/// Counts per millivolt as a person writes them; `None` if a signal cannot have so many.
#[must_use]
pub fn counts_per_mv(text: &str) -> Option<Decimal> {
    text.parse().ok().filter(|counts: &Decimal| counts.mantissa() > 0)
}

impl DriverName {
    /// Every driver, in the order in which they are listed.
    pub const ALL: [Self; 9] = [
        Self::Pm6750,
        Self::Bcc,
        Self::Tm2655,
        Self::Ultraeasy,
        Self::Hbp9030,
        Self::Td42xx,
        Self::Intellivue,
        Self::Asena,
        Self::JsonLines,
    ];

    /// The name in `agent.toml`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pm6750 => "pm6750",
            Self::Bcc => "bcc",
            Self::Tm2655 => "tm2655",
            Self::Ultraeasy => "ultraeasy",
            Self::Hbp9030 => "hbp9030",
            Self::Td42xx => "td42xx",
            Self::Intellivue => "intellivue",
            Self::Asena => "asena",
            Self::JsonLines => "json-lines",
        }
    }

    /// The driver of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|driver| driver.name() == name)
    }

    /// What kind of device it reads; of a family with several kinds, the usual one; unless its
    /// options say another.
    #[must_use]
    pub const fn kind(self) -> DeviceKind {
        match self {
            Self::Pm6750 | Self::Intellivue | Self::JsonLines => DeviceKind::Monitor,
            Self::Bcc | Self::Asena => DeviceKind::Pump,
            Self::Tm2655 | Self::Hbp9030 => DeviceKind::Cuff,
            Self::Ultraeasy | Self::Td42xx => DeviceKind::GlucoseMeter,
        }
    }

    /// Port settings of the device as it leaves the factory.
    #[must_use]
    pub const fn port_settings(self) -> PortSettings {
        PortSettings::eight_n_one(match self {
            Self::Pm6750 | Self::Intellivue => 115_200,
            // The port of the HBP-9030 is USB: its speed means nothing.
            Self::Bcc | Self::Ultraeasy | Self::Hbp9030 | Self::JsonLines => 9600,
            Self::Tm2655 => 2400,
            Self::Td42xx => 19_200,
            Self::Asena => 38_400,
        })
    }

    /// Whether the driver has that option.
    #[must_use]
    pub fn takes(self, option: &str) -> bool {
        match option {
            "counts_per_mv" => self == Self::Pm6750,
            "poll_interval_s" => self.poll_interval_s().is_some(),
            "kind" | "acknowledge" | "silent_after_s" => self == Self::JsonLines,
            _ => false,
        }
    }

    /// How often the device may be asked, in seconds; `None` if it is not asked.
    #[must_use]
    pub const fn poll_interval_s(self) -> Option<RangeInclusive<u64>> {
        match self {
            Self::Pm6750 | Self::Hbp9030 | Self::Intellivue | Self::JsonLines => None,
            // An infusion is looked at once a minute at least.
            Self::Bcc | Self::Asena => Some(1..=60),
            Self::Tm2655 | Self::Ultraeasy | Self::Td42xx => Some(1..=86_400),
        }
    }
}

/// A driver for one device, with what it remembered.
#[must_use]
pub fn create(
    name: DriverName,
    device: DeviceId,
    options: &DriverOptions,
    cursor: Option<Cursor>,
) -> Box<dyn SerialDriver> {
    let allowed = name.poll_interval_s().unwrap_or(0..=0);
    let (shortest, longest) = (Duration::from_secs(*allowed.start()), *allowed.end());
    let poll = options
        .poll_interval
        .map(|interval| interval.clamp(shortest, Duration::from_secs(longest)));
    match name {
        DriverName::Pm6750 => Box::new(Pm6750::new(device, options.counts_per_mv, cursor)),
        DriverName::Bcc => Box::new(Bcc::new(device, poll.unwrap_or(BCC_POLL))),
        DriverName::Asena => Box::new(Asena::new(device, poll.unwrap_or(ASENA_POLL))),
        DriverName::Hbp9030 => Box::new(Hbp9030::new(device)),
        DriverName::JsonLines => {
            let DriverOptions { acknowledge, silent_after, .. } = *options;
            let kind = options.kind_of(name);
            Box::new(JsonLines::new(device, Settings { kind, acknowledge, silent_after }))
        }
        DriverName::Tm2655 => Box::new(Tm2655::new(device, poll, cursor)),
        DriverName::Ultraeasy => Box::new(Ultraeasy::new(
            device,
            poll.unwrap_or(METER_POLL),
            options.zone_offset_s,
            cursor,
        )),
        DriverName::Intellivue => Box::new(Intellivue::new(device, cursor)),
        DriverName::Td42xx => {
            Box::new(Td42xx::new(device, poll.unwrap_or(METER_POLL), options.zone_offset_s, cursor))
        }
    }
}

/// Every driver of Bluetooth LE devices, named by the profile.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum GattName {
    /// Blood Pressure Profile: cuffs.
    BloodPressure,
    /// Glucose Profile: meters with stored records.
    Glucose,
    /// Pulse Oximeter Profile.
    PulseOximeter,
    /// Health Thermometer Profile.
    Thermometer,
    /// Weight Scale Profile.
    WeightScale,
    /// Heart Rate Profile: straps without an ECG.
    HeartRate,
    /// Polar chest straps: heart rate and ECG.
    PolarEcg,
}

impl GattName {
    /// Every driver, in the order in which they are listed.
    pub const ALL: [Self; 7] = [
        Self::BloodPressure,
        Self::Glucose,
        Self::PulseOximeter,
        Self::Thermometer,
        Self::WeightScale,
        Self::HeartRate,
        Self::PolarEcg,
    ];

    /// The name in `agent.toml`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::BloodPressure => "blood-pressure",
            Self::Glucose => "glucose",
            Self::PulseOximeter => "pulse-oximeter",
            Self::Thermometer => "thermometer",
            Self::WeightScale => "weight-scale",
            Self::HeartRate => "heart-rate",
            Self::PolarEcg => "polar-ecg",
        }
    }

    /// The driver of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|driver| driver.name() == name)
    }

    /// The driver for a device with these services, advertised or known from a connection, and
    /// that name.
    #[must_use]
    pub fn recognise(services: &[Uuid], name: &str) -> Option<Self> {
        let polar = [polar_ecg::ADVERTISED, polar_ecg::SERVICE];
        let is_polar = polar.iter().any(|service| services.contains(service));
        if is_polar || name.starts_with(polar_ecg::NAME) {
            return Some(Self::PolarEcg);
        }
        Self::ALL.into_iter().find(|driver| services.contains(&driver.service()))
    }

    /// What kind of device it reads.
    #[must_use]
    pub const fn kind(self) -> DeviceKind {
        match self {
            Self::BloodPressure => DeviceKind::Cuff,
            Self::Glucose => DeviceKind::GlucoseMeter,
            Self::PulseOximeter => DeviceKind::Oximeter,
            Self::Thermometer => DeviceKind::Thermometer,
            Self::WeightScale => DeviceKind::Scale,
            Self::HeartRate | Self::PolarEcg => DeviceKind::EcgStrap,
        }
    }

    /// Whether such a device stays connected for as long as it is worn; the others come by, say what
    /// they have, and go.
    #[must_use]
    pub const fn stays(self) -> bool {
        matches!(self, Self::PulseOximeter | Self::HeartRate | Self::PolarEcg)
    }

    /// The service by which such a device is found: it stands in the advertisement of most.
    #[must_use]
    pub const fn service(self) -> Uuid {
        Uuid::sig(match self {
            Self::BloodPressure => blood_pressure::SERVICE,
            Self::Glucose => glucose::SERVICE,
            Self::PulseOximeter => pulse_oximeter::SERVICE,
            Self::Thermometer => thermometer::SERVICE,
            Self::WeightScale => weight_scale::SERVICE,
            // "Service FEEE / 180D": the one of its ECG is not advertised.
            Self::HeartRate | Self::PolarEcg => heart_rate::SERVICE,
        })
    }
}

/// A driver for one Bluetooth LE device, with what it remembered.
#[must_use]
pub fn create_gatt(
    name: GattName,
    device: DeviceId,
    clock: ClockOptions,
    cursor: Option<Cursor>,
) -> Box<dyn GattDriver> {
    match name {
        GattName::BloodPressure => Box::new(BloodPressure::new(device, clock, cursor)),
        GattName::Glucose => Box::new(Glucose::new(device, clock, cursor)),
        GattName::PulseOximeter => Box::new(PulseOximeter::new(device, clock)),
        GattName::Thermometer => Box::new(Thermometer::new(device, clock, cursor)),
        GattName::WeightScale => Box::new(WeightScale::new(device, clock)),
        GattName::HeartRate => Box::new(HeartRate::new(device, clock)),
        GattName::PolarEcg => Box::new(PolarEcg::new(device, clock)),
    }
}

/// What takes out of the bytes of that driver's link what may tell who the patient is.
#[must_use]
pub fn redactor(name: DriverName) -> Redactor {
    let mask: Option<Box<dyn Mask>> = match name {
        DriverName::Bcc => Some(Box::new(bcc::redaction::BccMask)),
        DriverName::Tm2655 => Some(Box::new(tm2655::redaction::Tm2655Mask)),
        DriverName::Hbp9030 => Some(Box::new(hbp9030::redaction::Hbp9030Mask)),
        DriverName::Intellivue => Some(Box::new(intellivue::redaction::IntellivueMask)),
        DriverName::JsonLines => Some(Box::new(json_lines::redaction::JsonLinesMask)),
        // Their protocols have no place for a name or a number of a patient.
        DriverName::Pm6750 | DriverName::Ultraeasy | DriverName::Td42xx | DriverName::Asena => None,
    };
    Redactor::new(mask)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        bench::{Bench, now_at},
        serial::SerialEvent,
    };
    use model::alarm::AlarmPhase;
    use proptest::{collection::vec, prelude::*};

    #[test]
    fn names_lead_back_to_their_driver() {
        for driver in DriverName::ALL {
            assert_eq!(DriverName::from_name(driver.name()), Some(driver));
        }
        assert_eq!(DriverName::from_name("pm6100"), None);
    }

    #[test]
    fn every_driver_but_those_that_listen_speaks_when_its_port_opens() {
        for name in DriverName::ALL {
            let device = DeviceId::new("x-01").unwrap();
            let mut driver = create(name, device, &DriverOptions::default(), None);
            assert_eq!(driver.next_timeout(), None, "{name:?} waits for its port");
            driver.handle(now_at(0), SerialEvent::Opened);
            let speaks = !matches!(name, DriverName::Hbp9030 | DriverName::JsonLines);
            assert_eq!(driver.poll_output().is_some(), speaks, "{name:?}");
            driver.handle(now_at(1), SerialEvent::Closed);
            assert_eq!(driver.next_timeout(), None, "{name:?} is closed");
        }
    }

    #[test]
    fn a_device_is_recognised_by_its_services() {
        for driver in GattName::ALL.into_iter().filter(|driver| *driver != GattName::PolarEcg) {
            let services = [Uuid::sig(0x180A), driver.service()];
            assert_eq!(GattName::recognise(&services, ""), Some(driver));
        }
        let rate = Uuid::sig(heart_rate::SERVICE);
        let ecg = [
            (vec![rate, Uuid::sig(0xFEEE)], ""),
            (vec![polar_ecg::SERVICE], ""),
            (vec![rate], "Polar H10 12345678"),
        ];
        for (services, name) in ecg {
            assert_eq!(GattName::recognise(&services, name), Some(GattName::PolarEcg));
        }
        assert_eq!(GattName::recognise(&[Uuid::sig(0x180A)], "Thing"), None);
    }

    #[test]
    fn options_belong_to_their_drivers() {
        let taking = |option| DriverName::ALL.into_iter().filter(move |name| name.takes(option));
        assert_eq!(taking("counts_per_mv").collect::<Vec<_>>(), [DriverName::Pm6750]);
        assert_eq!(taking("poll_interval_s").count(), 5);
        assert_eq!(taking("zone_offset_s").count(), 0);
        for option in ["kind", "acknowledge", "silent_after_s"] {
            assert_eq!(taking(option).collect::<Vec<_>>(), [DriverName::JsonLines], "{option}");
        }
    }

    #[test]
    fn only_a_driver_for_any_device_takes_its_kind_from_the_options() {
        let options = DriverOptions { kind: Some(DeviceKind::Cuff), ..Default::default() };
        assert_eq!(options.kind_of(DriverName::JsonLines), DeviceKind::Cuff);
        assert_eq!(options.kind_of(DriverName::Bcc), DeviceKind::Pump);
        let default = DriverOptions::default();
        assert_eq!(default.kind_of(DriverName::JsonLines), DeviceKind::Monitor);
    }

    #[test]
    fn options_that_are_recorded_read_back() {
        let options = DriverOptions {
            counts_per_mv: Some("40.5".parse().unwrap()),
            poll_interval: Some(Duration::from_secs(7)),
            zone_offset_s: Some(-12_600),
            kind: Some(DeviceKind::Cuff),
            acknowledge: true,
            silent_after: Some(Duration::from_secs(90)),
        };
        let mut again = DriverOptions::default();
        for (name, text) in options.recorded() {
            assert_eq!(again.take_recorded(name, &text), Some(true), "{name}");
        }
        assert_eq!(again, options);
        assert_eq!(again.take_recorded("settings", "9600 8N1"), Some(false));
        let impossible = [
            ("kind", "ventilator"),
            ("counts_per_mv", "-40"),
            ("counts_per_mv", "0"),
            ("poll_interval_s", "-1"),
            ("silent_after_s", "0"),
            ("silent_after_s", "18446744073709551615"),
            ("zone_offset_s", "86400"),
        ];
        for (name, text) in impossible {
            assert_eq!(again.take_recorded(name, text), None, "{name}: {text}");
        }
        assert!(DriverOptions::default().recorded().is_empty());
    }

    fn likely_byte() -> impl Strategy<Value = u8> {
        let framing =
            [0x55, 0xAA, 0x01, 0x02, 0x03, 0x04, 0x06, 0x10, 0x16, 0x1E, 0x30, 0x51, 0xA5, 0x0A];
        prop_oneof![prop::sample::select(framing.to_vec()), any::<u8>()]
    }

    proptest! {
        /// The bench also checks that time goes on: no driver asks for one moment for ever.
        #[test]
        fn no_bytes_make_a_driver_panic_or_say_a_number(
            chunks in vec((vec(likely_byte(), 0..60), 0_u64..4000), 0..20),
        ) {
            for name in DriverName::ALL.into_iter().filter(|name| *name != DriverName::Pm6750) {
                let device = DeviceId::new("x-01").unwrap();
                let mut bench = Bench::new(create(name, device, &DriverOptions::default(), None));
                for (bytes, ms) in &chunks {
                    bench.receive(bytes);
                    bench.pass(*ms);
                }
                bench.handle(SerialEvent::Closed);
                prop_assert!(bench.groups().is_empty(), "{:?}", name);
            }
        }

        #[test]
        fn a_random_packet_never_makes_the_monitor_panic(
            packets in vec((vec(any::<u8>(), 1..10), 0_u64..1500), 0..40),
        ) {
            let device = DeviceId::new("x-01").unwrap();
            let options = DriverOptions { counts_per_mv: Some(40.into()), ..Default::default() };
            let mut bench = Bench::new(create(DriverName::Pm6750, device, &options, None));
            for (payload, ms) in &packets {
                let len = u8::try_from(payload.len() + 2).unwrap();
                let sum = !payload.iter().fold(len, |sum, byte| sum.wrapping_add(*byte));
                bench.receive(&[&[0x55, 0xAA, len][..], payload, &[sum]].concat());
                bench.pass(*ms);
            }
            bench.handle(SerialEvent::Closed);
            let alarms = bench.alarms();
            let of = |phase| alarms.iter().filter(|alarm| alarm.1 == phase).count();
            prop_assert!(of(AlarmPhase::Start) >= of(AlarmPhase::End));
        }
    }
}
