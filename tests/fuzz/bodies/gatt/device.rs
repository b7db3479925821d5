//! What is known of each Bluetooth LE device here: its places, what a good one answers, how long
//! its values are, and the few things that may be asked of it.
//!
//! Written from the profiles alone, without the codecs of the drivers.

use drivers::{
    gatt::{Characteristic, Cursor, GattDriver, Request, Uuid, services::ClockOptions},
    registry::{GattName, create_gatt},
};
use model::{id::DeviceId, time::Now};

/// Measured values, by service and characteristic.
const PRESSURE: Characteristic = Characteristic::sig(0x1810, 0x2A35);
const CUFF_PRESSURE: Characteristic = Characteristic::sig(0x1810, 0x2A36);
pub(super) const GLUCOSE: Characteristic = Characteristic::sig(0x1808, 0x2A18);
const GLUCOSE_CONTEXT: Characteristic = Characteristic::sig(0x1808, 0x2A34);
const SPOT_CHECK: Characteristic = Characteristic::sig(0x1822, 0x2A5E);
const CONTINUOUS: Characteristic = Characteristic::sig(0x1822, 0x2A5F);
const TEMPERATURE: Characteristic = Characteristic::sig(0x1809, 0x2A1C);
const WARMING: Characteristic = Characteristic::sig(0x1809, 0x2A1E);
const WEIGHT: Characteristic = Characteristic::sig(0x181D, 0x2A9D);
const HEART_RATE: Characteristic = Characteristic::sig(0x180D, 0x2A37);
const PMD: Uuid = Uuid::vendor(0xFB00_5C80_02E7_F387_1CAD_8ACD_2D8D_F0C8);
const PMD_DATA: Characteristic =
    Characteristic { service: PMD, uuid: Uuid::vendor(0xFB00_5C82_02E7_F387_1CAD_8ACD_2D8D_F0C8) };

/// Control points, and what else is read.
const RECORDS: Characteristic = Characteristic::sig(0x1808, 0x2A52);
pub(super) const PMD_CONTROL: Characteristic =
    Characteristic { service: PMD, uuid: Uuid::vendor(0xFB00_5C81_02E7_F387_1CAD_8ACD_2D8D_F0C8) };
const PRESSURE_FEATURE: Characteristic = Characteristic::sig(0x1810, 0x2A49);
const TEMPERATURE_TYPE: Characteristic = Characteristic::sig(0x1809, 0x2A1D);
const SENSOR_LOCATION: Characteristic = Characteristic::sig(0x180D, 0x2A38);
const BATTERY: Characteristic = Characteristic::sig(0x180F, 0x2A19);
const CURRENT_TIME: Characteristic = Characteristic::sig(0x1805, 0x2A2B);
const DATE_TIME: Uuid = Uuid::sig(0x2A08);
/// Manufacturer, model, serial number, firmware, hardware, software.
const ABOUT: [Characteristic; 6] = [
    Characteristic::sig(0x180A, 0x2A29),
    Characteristic::sig(0x180A, 0x2A24),
    Characteristic::sig(0x180A, 0x2A25),
    Characteristic::sig(0x180A, 0x2A26),
    Characteristic::sig(0x180A, 0x2A27),
    Characteristic::sig(0x180A, 0x2A28),
];

/// What the byte of options chooses.
#[derive(Clone, Copy)]
pub(super) struct Options(pub(super) u8);

impl Options {
    const fn bit(self, bit: u8) -> bool {
        self.0 >> bit & 1 == 1
    }

    /// The site's zone, and whether the device's clock is set.
    pub(super) fn clock(self) -> ClockOptions {
        let zone = if self.bit(1) { -12_600 } else { 28_800 };
        ClockOptions { zone_offset_s: self.bit(0).then_some(zone), set: self.bit(2) }
    }

    /// Whether the box knows the time.
    pub(super) const fn knows_the_time(self) -> bool {
        !self.bit(3)
    }

    pub(super) fn driver(self, name: GattName, cursor: Option<Cursor>) -> Box<dyn GattDriver> {
        let device = DeviceId::new("x-01").expect("it is a name");
        create_gatt(name, device, self.clock(), cursor)
    }
}

/// Everything such a device has: its own, what most have, and a place that nobody knows.
pub(crate) fn places(name: GattName) -> Vec<Characteristic> {
    let own: &[Characteristic] = match name {
        GattName::BloodPressure => &[PRESSURE, CUFF_PRESSURE, PRESSURE_FEATURE],
        GattName::Glucose => &[GLUCOSE, GLUCOSE_CONTEXT, RECORDS],
        GattName::PulseOximeter => &[SPOT_CHECK, CONTINUOUS],
        GattName::Thermometer => &[TEMPERATURE, WARMING, TEMPERATURE_TYPE],
        GattName::WeightScale => &[WEIGHT],
        GattName::HeartRate => &[HEART_RATE, SENSOR_LOCATION],
        GattName::PolarEcg => &[HEART_RATE, PMD_CONTROL, PMD_DATA, SENSOR_LOCATION],
    };
    let clock = Characteristic { service: name.service(), uuid: DATE_TIME };
    let most = [BATTERY, CURRENT_TIME, clock, Characteristic::sig(0x1234, 0x5678)];
    own.iter().copied().chain(most).chain(ABOUT).collect()
}

/// What a good device has to read at that place.
pub(super) fn read(place: Characteristic) -> &'static [u8] {
    match place {
        PRESSURE_FEATURE => &[0x1F, 0],
        TEMPERATURE_TYPE | SENSOR_LOCATION => &[1],
        // Capture of an H10: ECG and acceleration.
        PMD_CONTROL => &[0x0F, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        BATTERY => &[80],
        CURRENT_TIME => &[0xEA, 7, 11, 22, 8, 15, 0, 7, 0, 0],
        _ => b"ACME\0",
    }
}

/// What happens to a value that is as long as its flags say.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Fate {
    /// It is a reading, each time.
    Reading,
    /// It is a reading; without a time of its own the same again may be a repeat.
    Spot,
    /// Shown while the device works, never stored.
    Shown,
}

/// What becomes of that value; `None` where it is too short, or no measurement.
pub(super) fn fate(place: Characteristic, value: &[u8]) -> Option<Fate> {
    let flags = usize::from(*value.first()?);
    let bit = |bit: usize| flags >> bit & 1;
    let (least, fate) = match place {
        PRESSURE => (7 + 7 * bit(1) + 2 * bit(2) + bit(3) + 2 * bit(4), Fate::Spot),
        CUFF_PRESSURE | WARMING => (0, Fate::Shown),
        GLUCOSE => (10 + 2 * bit(0) + 3 * bit(1) + 2 * bit(3), Fate::Spot),
        SPOT_CHECK => (5 + 7 * bit(0) + 2 * bit(1) + 3 * bit(2) + 2 * bit(3), Fate::Spot),
        CONTINUOUS => {
            (5 + 4 * bit(0) + 4 * bit(1) + 2 * bit(2) + 3 * bit(3) + 2 * bit(4), Fate::Reading)
        }
        TEMPERATURE => (5 + 7 * bit(1) + bit(2), Fate::Spot),
        WEIGHT => (3 + 7 * bit(1) + bit(2) + 4 * bit(3), Fate::Spot),
        HEART_RATE => (2 + bit(0) + 2 * bit(3), Fate::Reading),
        _ => return None,
    };
    (value.len() >= least).then_some(fate)
}

/// Whether this is one of the few things that may be asked of the device.
pub(super) fn may_be_asked(name: GattName, options: Options, now: Now, request: &Request) -> bool {
    let most = || [BATTERY, CURRENT_TIME].into_iter().chain(ABOUT);
    match request {
        Request::Disconnect => true,
        Request::Subscribe(place) => match name {
            GattName::BloodPressure => [PRESSURE, CUFF_PRESSURE].contains(place),
            GattName::Glucose => [GLUCOSE, GLUCOSE_CONTEXT, RECORDS].contains(place),
            GattName::PulseOximeter => [SPOT_CHECK, CONTINUOUS].contains(place),
            GattName::Thermometer => [TEMPERATURE, WARMING].contains(place),
            GattName::WeightScale => *place == WEIGHT,
            GattName::HeartRate => *place == HEART_RATE,
            GattName::PolarEcg => [HEART_RATE, PMD_CONTROL, PMD_DATA].contains(place),
        },
        Request::Read(place) => {
            let own = match name {
                GattName::BloodPressure => Some(PRESSURE_FEATURE),
                GattName::Thermometer => Some(TEMPERATURE_TYPE),
                GattName::HeartRate => Some(SENSOR_LOCATION),
                GattName::PolarEcg if *place == PMD_CONTROL => Some(PMD_CONTROL),
                GattName::PolarEcg => Some(SENSOR_LOCATION),
                _ => None,
            };
            own.into_iter().chain(most()).any(|known| known == *place)
        }
        // Report and count: all, from a number on, the newest. Abort. Nothing that deletes (op code
        // 2), and no time as a filter.
        Request::Write(RECORDS, value) if name == GattName::Glucose => {
            matches!(value.as_slice(), [1 | 4, 1] | [1 | 4, 3, 1, _, _] | [1, 6] | [3, 0])
        }
        // Settings, start at 130 Hz and 14 bit, stop: of the ECG.
        Request::Write(PMD_CONTROL, value) if name == GattName::PolarEcg => {
            matches!(value.as_slice(), [1 | 3, 0] | [2, 0, 0, 1, 0x82, 0, 1, 1, 0x0E, 0])
        }
        Request::Write(place, value) => {
            let clock = options.clock();
            let (true, Some(zone_s)) = (clock.set, clock.zone_offset_s) else { return false };
            let civil_s = now.wall.unix_ms().div_euclid(1000) + i64::from(zone_s);
            let shown = shown(civil_s);
            let is_date = value.as_slice() == shown.get(..7).unwrap_or_default();
            let is_time = value.get(..8) == Some(&shown) && matches!(value[8..], [_, 1]);
            let is_right = match *place {
                CURRENT_TIME => is_time,
                place => place.service == name.service() && place.uuid == DATE_TIME && is_date,
            };
            options.knows_the_time() && is_right
        }
    }
}

/// Year, month, day, hour, minute, second, weekday, as Current Time begins.
fn shown(civil_s: i64) -> [u8; 8] {
    let (days, second) = (civil_s.div_euclid(86_400), civil_s.rem_euclid(86_400));
    // Days of 400 years that begin on 1 March.
    let day = days + 719_468;
    let (era, day) = (day.div_euclid(146_097), day.rem_euclid(146_097));
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let from_march = (5 * day + 2) / 153;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = year + era * 400 + i64::from(month <= 2);
    let small = |number: i64| u8::try_from(number).expect("it is a part of a date");
    let [low, high] = u16::try_from(year).expect("a year of our days").to_le_bytes();
    // 1970-01-01 was a Thursday; Monday is 1.
    let weekday = (days + 3).rem_euclid(7) + 1;
    [
        low,
        high,
        small(month),
        small(day - (153 * from_march + 2) / 5 + 1),
        small(second / 3600),
        small(second / 60 % 60),
        small(second % 60),
        small(weekday),
    ]
}
