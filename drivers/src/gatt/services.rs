//! What a device says beside its measurements: Device Information, Battery, and its clock.
//!
//! Source: the protocol sheet of Heart Rate, Pulse Oximeter, Health Thermometer and Weight Scale, §6.
//!
//! # Invariants
//! - a clock is set only where the configuration says so, and that it was set is a record

use super::{
    Characteristic, Refusal, Request, Uuid,
    date_time::{DATE_TIME_LEN, civil_ms_of_current_time, current_time},
};
use crate::{clock_offset::clock_offset, reporter::Reporter};
use model::{
    device::{DeviceAction, DeviceState},
    metric::Metric,
    reading::{Reading, ReadingGroup, shortened},
    record::Record,
    time::{ClockQuality, Now},
    units::Unit,
};
use std::collections::BTreeMap;

/// Device Information: what is read, and its name in the status.
const ABOUT: [(Characteristic, &str); 6] = [
    (Characteristic::sig(0x180A, 0x2A29), "manufacturer"),
    (Characteristic::sig(0x180A, 0x2A24), "model"),
    (Characteristic::sig(0x180A, 0x2A25), "serial"),
    (Characteristic::sig(0x180A, 0x2A26), "firmware"),
    (Characteristic::sig(0x180A, 0x2A27), "hardware"),
    (Characteristic::sig(0x180A, 0x2A28), "software"),
];
/// Battery Level: "uint8 percent, 0..100 (others invalid)".
pub const BATTERY: Characteristic = Characteristic::sig(0x180F, 0x2A19);
const PERCENT_MAX: u8 = 100;
/// Current Time.
pub const CURRENT_TIME: Characteristic = Characteristic::sig(0x1805, 0x2A2B);
/// "Vendor use, e.g. A&D puts it inside 0x1810" (protocol sheet of the Blood Pressure Service, §2).
const DATE_TIME: Uuid = Uuid::sig(0x2A08);

/// What a person decided about the device's clock, and what is known of the site's.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct ClockOptions {
    /// The site's time zone, seconds east of UTC.
    pub zone_offset_s: Option<i32>,
    /// Whether the device's clock is set on each connection. Off by default.
    pub set: bool,
}

/// The helper services of one device.
#[derive(Debug)]
pub(super) struct Services {
    clock: ClockOptions,
    /// What it said of itself in this connection.
    about: BTreeMap<String, String>,
    /// What it said of itself when it was told of last.
    told: Option<BTreeMap<String, String>>,
    /// What is asked and not answered.
    asked: usize,
}

impl Services {
    pub(super) fn new(clock: ClockOptions) -> Self {
        Self { clock, about: BTreeMap::new(), told: None, asked: 0 }
    }

    /// Sets the clock, where that is wanted: before the device is asked for what it has.
    pub(super) fn set_clock(
        &mut self,
        now: Now,
        found: &[Characteristic],
        reporter: &mut Reporter<Request>,
    ) {
        let (true, Some(zone_s)) = (self.clock.set, self.clock.zone_offset_s) else { return };
        if now.quality == ClockQuality::Unknown {
            reporter.note(
                now,
                "clock_not_set",
                "the device's clock is left: the box does not know the time",
            );
            return;
        }
        let civil_ms = now.wall.unix_ms().saturating_add(i64::from(zone_s) * 1000);
        let Some(value) = current_time(civil_ms) else { return };
        let date_time = found.iter().find(|found| found.uuid == DATE_TIME);
        let request = match (found.contains(&CURRENT_TIME), date_time) {
            (true, _) => Request::Write(CURRENT_TIME, value.to_vec()),
            (false, Some(place)) => {
                let short = value.first_chunk::<DATE_TIME_LEN>().map(|bytes| bytes.to_vec());
                Request::Write(*place, short.unwrap_or_default())
            }
            (false, None) => return,
        };
        reporter.send(request);
    }

    /// The device is there: says so, and asks what it is.
    pub(super) fn connected(
        &mut self,
        now: Now,
        found: &[Characteristic],
        reporter: &mut Reporter<Request>,
    ) {
        if self.told.is_none() {
            reporter.status(now, DeviceState::Online, "", BTreeMap::new());
            self.told = Some(BTreeMap::new());
        }
        self.about.clear();
        let ask = ABOUT.iter().map(|(place, _)| *place).chain([BATTERY, CURRENT_TIME]);
        let ask: Vec<_> = ask.filter(|place| found.contains(place)).collect();
        self.asked = ask.len();
        ask.into_iter().for_each(|place| reporter.send(Request::Read(place)));
    }

    /// Takes an answer, if it is to one of these services.
    pub(super) fn answered(
        &mut self,
        now: Now,
        request: &Request,
        answer: Result<&[u8], &Refusal>,
        reporter: &mut Reporter<Request>,
    ) {
        let place = match request {
            Request::Read(place) => *place,
            Request::Write(place, _) if *place == CURRENT_TIME || place.uuid == DATE_TIME => {
                match answer {
                    Ok(_) => clock_set(now, request, reporter),
                    Err(refusal) => reporter.note(now, "clock_not_set", refusal),
                }
                return;
            }
            _ => return,
        };
        let name = ABOUT.iter().find(|(about, _)| *about == place).map(|(_, name)| *name);
        if name.is_none() && place != BATTERY && place != CURRENT_TIME {
            return;
        }
        // What a device does not tell of itself is no trouble.
        if let Ok(value) = answer {
            match name {
                Some(name) => self.learn(name, value),
                None if place == BATTERY => battery(now, value, reporter),
                None => self.clock_read(now, value, reporter),
            }
        }
        self.asked = self.asked.saturating_sub(1);
        if self.asked == 0 && self.told.as_ref() != Some(&self.about) {
            reporter.status(now, DeviceState::Online, "", self.about.clone());
            self.told = Some(self.about.clone());
        }
    }

    /// It is away, and that was told: when it is back, that is news.
    pub(super) fn forget(&mut self) {
        self.told = None;
    }

    /// "UTF-8, trim NUL and spaces."
    fn learn(&mut self, name: &str, value: &[u8]) {
        let text = String::from_utf8_lossy(value);
        let text = shortened(text.trim_matches(['\0', ' ']));
        if !text.is_empty() {
            self.about.insert(name.to_owned(), text);
        }
    }

    fn clock_read(&mut self, now: Now, value: &[u8], reporter: &mut Reporter<Request>) {
        let Some(civil_ms) = civil_ms_of_current_time(value) else { return };
        let shows = civil_ms.div_euclid(1000);
        let reading = clock_offset(now, self.clock.zone_offset_s, shows..=shows);
        reading.into_iter().for_each(|reading| emit(now, reading, reporter));
    }
}

/// The device took the time it was given; its first seven bytes are a Date Time.
fn clock_set(now: Now, request: &Request, reporter: &mut Reporter<Request>) {
    let Request::Write(_, value) = request else { return };
    let Some([low, high, month, day, hour, minute, second]) = value.first_chunk() else { return };
    let year = u16::from_le_bytes([*low, *high]);
    let shown = format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}");
    let action = DeviceAction {
        device: reporter.device().clone(),
        action: "clock_set".to_owned(),
        text: format!("set to {shown} local time, as the configuration says"),
        observed: now.observed(),
    };
    reporter.emit(Record::Action(action));
}

/// A battery level.
fn battery(now: Now, value: &[u8], reporter: &mut Reporter<Request>) {
    match value {
        [percent @ 0..=PERCENT_MAX] => {
            let percent = u32::from(*percent);
            emit(now, Reading::number(Metric::BATT_PCT, percent, Unit::PERCENT), reporter);
        }
        _ => reporter.note(now, "malformed", format!("a battery level of {value:?} is skipped")),
    }
}

fn emit(now: Now, reading: Reading, reporter: &mut Reporter<Request>) {
    let device = reporter.device().clone();
    reporter.emit(Record::Readings(ReadingGroup::new(device, now.observed(), vec![reading])));
}
