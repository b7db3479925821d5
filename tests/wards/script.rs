//! What happens in a ward, from a seed: plain values, which the oracle judges as they are, and the
//! records that a box makes of them.

use crate::{
    more::{Infusion, More, Move},
    patient::{Patient, Who},
};
use e2e::dice::Dice;
use model::{
    alarm::{AlarmKind, AlarmPhase, DeviceAlarm},
    decimal::Decimal,
    device::{DeviceKind, DeviceState, DeviceStatus},
    id::{Channel, DeviceId, SiteId},
    metric::Metric,
    reading::{NoData, Reading, ReadingGroup},
    record::Record,
    time::{ClockQuality, DeviceTime, Observed, WallTime},
    units::Unit,
};
use std::collections::BTreeMap;

/// 2026-11-22T08:15:00Z.
const BASE_MS: i64 = 1_795_335_300_000;
/// A monitor that is not heard for so long is silent, as its driver says.
const SILENT_S: i64 = 10;
/// Before a lead is on again nothing is counted for so long.
const LEAD_S: i64 = 5;
/// After all that happens the values are normal for so long.
const QUIET_S: i64 = 150;

/// A moment, in seconds since the ward was opened.
pub(crate) fn at(second: i64) -> WallTime {
    WallTime::from_unix_ms(BASE_MS + second * 1000)
}

/// The second of a moment.
pub(crate) fn second(at: WallTime) -> i64 {
    (at.unix_ms() - BASE_MS).div_euclid(1000)
}

pub(crate) fn site() -> SiteId {
    SiteId::new("heping").unwrap()
}

/// A device of the ward, and whose it is.
#[derive(Clone, Debug)]
pub(crate) struct Device {
    pub(crate) id: String,
    pub(crate) kind: DeviceKind,
    pub(crate) patient: Option<String>,
}

impl Device {
    /// Whom its alerts are about.
    pub(crate) fn subject(&self) -> &str {
        self.patient.as_ref().unwrap_or(&self.id)
    }
}

/// What a device says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Said {
    /// Heart rate, saturation, respiration; none while its sensor is off.
    Vital([Option<i32>; 3]),
    /// Systolic and diastolic pressure.
    Pressure(i32, i32),
    /// In mg/dL, and when it was measured.
    Glucose(i32, i64),
    /// In tenths of a degree.
    Temperature(i32),
    /// A lead came off, or is on again; or what else it signals.
    Alarm(AlarmKind, AlarmPhase),
    /// What it signals is over, and it goes on with that until somebody there has seen it.
    Latched(AlarmKind),
    /// How a pump stands.
    Infusion(Infusion),
    /// How it is.
    Status(DeviceState),
}

/// Something that was said.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Word {
    pub(crate) at: i64,
    /// Place among the devices.
    pub(crate) device: usize,
    pub(crate) said: Said,
}

/// What happens in a ward.
#[derive(Debug)]
pub(crate) struct Script {
    pub(crate) devices: Vec<Device>,
    pub(crate) patients: Vec<Patient>,
    /// In the order in which they are heard.
    pub(crate) words: Vec<Word>,
    pub(crate) moves: Vec<Move>,
    /// When nothing more happens.
    pub(crate) end: i64,
}

/// Values of a stream: usual ones, those at and beyond limits, those between limit and clearing.
pub(crate) struct Pool {
    pub(crate) usual: &'static [i32],
    pub(crate) outside: &'static [i32],
    pub(crate) between: &'static [i32],
}

const PRESSURES: [(i32, i32); 12] = [
    (120, 75),
    (130, 80),
    (118, 70),
    (179, 90),
    (180, 95),
    (186, 109),
    (170, 110),
    (221, 100),
    (200, 131),
    (90, 60),
    (89, 55),
    (79, 50),
];
const GLUCOSES: [i32; 12] = [90, 100, 110, 70, 69, 54, 53, 299, 301, 398, 401, 620];
const TEMPERATURES: [i32; 9] = [366, 370, 368, 350, 351, 390, 391, 409, 410];

/// Of those who are pregnant, for whom less is much, and of a child.
const MORE_PRESSURES: [(i32, i32); 10] = [
    (110, 70),
    (118, 75),
    (139, 89),
    (140, 85),
    (130, 90),
    (159, 100),
    (160, 95),
    (130, 110),
    (80, 50),
    (79, 50),
];
const MORE_TEMPERATURES: [i32; 7] = [366, 370, 380, 381, 389, 390, 410];

/// Around sustain, hold, and what counts as the same episode.
pub(crate) const LENGTHS: [i64; 18] =
    [5, 9, 10, 11, 14, 15, 16, 20, 29, 30, 31, 33, 45, 60, 90, 150, 299, 303];
/// Around what counts as a gap, and what counts as silence.
const GAPS: [i64; 7] = [2, 3, 4, 5, 8, 25, 70];

pub(crate) fn pick<T: Copy>(dice: &mut Dice, from: &[T]) -> T {
    from[usize::try_from(dice.below(u64::try_from(from.len()).unwrap())).unwrap()]
}

pub(crate) fn chance(dice: &mut Dice, percent: u64) -> bool {
    dice.below(100) < percent
}

pub(crate) fn between(dice: &mut Dice, from: i64, until: i64) -> i64 {
    from + i64::try_from(dice.below(u64::try_from(until - from).unwrap())).unwrap()
}

impl Script {
    /// `more` decides what wards had not at first.
    pub(crate) fn new(dice: &mut Dice, mut more: Option<More>) -> Self {
        let patients = i64::try_from(1 + dice.below(2)).unwrap();
        let mut patient = |number| Patient {
            key: format!("p-{number}"),
            who: more.as_mut().map_or(Who::Adult, |more| Who::any(&mut more.dice)),
        };
        let drama = between(dice, 300, 2100);
        let mut script = Self {
            devices: Vec::new(),
            patients: (1..=patients).map(&mut patient).collect(),
            words: Vec::new(),
            moves: Vec::new(),
            end: drama + QUIET_S,
        };
        for number in 1..=patients + 1 {
            // The last ones are on nobody.
            let patient = (number <= patients).then(|| format!("p-{number}"));
            if patient.is_some() || chance(dice, 40) {
                let monitor = script.add("mon", DeviceKind::Monitor, number, &patient);
                script.monitor(dice, monitor, drama);
            }
            let results: [(&str, DeviceKind, u64); 3] = [
                ("cuff", DeviceKind::Cuff, 60),
                ("meter", DeviceKind::GlucoseMeter, 50),
                ("therm", DeviceKind::Thermometer, 40),
            ];
            for (name, kind, percent) in results {
                if chance(dice, percent) {
                    let device = script.add(name, kind, number, &patient);
                    script.results(dice, device, drama);
                }
            }
        }
        if let Some(more) = &mut more {
            script.add_more(more, drama);
        }
        script.words.sort_by_key(|word| word.at);
        script
    }

    /// By whose lines what a device measures is judged.
    pub(crate) fn who(&self, device: usize) -> Who {
        let of = self.devices[device].patient.as_ref();
        let patient = self.patients.iter().find(|patient| Some(&patient.key) == of);
        patient.map_or(Who::Adult, |patient| patient.who)
    }

    pub(crate) fn add(
        &mut self,
        name: &str,
        kind: DeviceKind,
        number: i64,
        patient: &Option<String>,
    ) -> usize {
        let id = format!("{name}-{number}");
        self.devices.push(Device { id, kind, patient: patient.clone() });
        let device = self.devices.len() - 1;
        self.say(0, device, Said::Status(DeviceState::Online));
        device
    }

    pub(crate) fn say(&mut self, at: i64, device: usize, said: Said) {
        self.words.push(Word { at, device, said });
    }

    fn monitor(&mut self, dice: &mut Dice, device: usize, drama: i64) {
        let period = between(dice, 1, 4);
        let mut levels: Vec<Vec<Option<i32>>> = Vec::new();
        for pool in self.who(device).pools() {
            let mut level = Vec::new();
            while i64::try_from(level.len()).unwrap() < drama {
                let value = match dice.below(20) {
                    0..=8 => Some(pick(dice, pool.usual)),
                    9..=14 => Some(pick(dice, pool.outside)),
                    15..=18 => Some(pick(dice, pool.between)),
                    _ => None,
                };
                let length = match value {
                    Some(_) => pick(dice, &LENGTHS),
                    None => pick(dice, &GAPS),
                };
                level.extend((0..length).map(|_| value));
            }
            let drama = usize::try_from(drama).unwrap();
            level.truncate(drama);
            level.extend((drama..usize::try_from(self.end).unwrap()).map(|_| Some(pool.usual[0])));
            levels.push(level);
        }
        // Now and then nothing is heard of it, or a lead is off while it goes on counting.
        let mut silent_until = 0;
        let mut off_until = 0;
        for second in 1..self.end {
            let goes_on = second < drama - 100;
            if goes_on
                && second >= silent_until
                && second > off_until
                && chance(dice, 1)
                && chance(dice, 30)
            {
                silent_until = second + pick(dice, &GAPS);
                if silent_until - second > SILENT_S {
                    self.say(second + SILENT_S, device, Said::Status(DeviceState::Silent));
                    self.say(silent_until, device, Said::Status(DeviceState::Online));
                }
            }
            if goes_on
                && second >= silent_until
                && second > off_until
                && chance(dice, 1)
                && chance(dice, 20)
            {
                off_until = second + pick(dice, &LENGTHS);
                let alarm = |phase| Said::Alarm(AlarmKind::LeadOff, phase);
                self.say(second, device, alarm(AlarmPhase::Start));
                self.say(off_until, device, alarm(AlarmPhase::End));
            }
            // What it counts at the end of that is committed after the news that the lead is on
            // again; the box would not know that it was off.
            let is_ending = (1..=LEAD_S).contains(&(off_until - second));
            if second % period == 0 && second >= silent_until && !is_ending {
                let values = [0, 1, 2].map(|place| levels[place][usize::try_from(second).unwrap()]);
                self.say(second, device, Said::Vital(values));
            }
        }
    }

    fn results(&mut self, dice: &mut Dice, device: usize, drama: i64) {
        let (pressures, temperatures): (&[(i32, i32)], &[i32]) = match self.who(device) {
            Who::Adult | Who::Elderly => (&PRESSURES, &TEMPERATURES),
            Who::Pregnant | Who::Child => (&MORE_PRESSURES, &MORE_TEMPERATURES),
        };
        let mut second = between(dice, 5, 400);
        while second < drama {
            let said = match self.devices[device].kind {
                DeviceKind::Cuff => {
                    let (sys, dia) = pick(dice, pressures);
                    Said::Pressure(sys, dia)
                }
                DeviceKind::GlucoseMeter => {
                    Said::Glucose(pick(dice, &GLUCOSES), second - between(dice, 1, 4))
                }
                _ => Said::Temperature(pick(dice, temperatures)),
            };
            self.say(second, device, said);
            second += pick(dice, &[20, 59, 60, 61, 130, 299, 301, 700]);
        }
    }

    /// What a box makes of it.
    pub(crate) fn record(&self, word: &Word) -> Record {
        let Device { id, kind, .. } = &self.devices[word.device];
        let device = DeviceId::new(id).unwrap();
        let observed = Observed { at: at(word.at), quality: ClockQuality::Synchronised };
        let group = |readings| ReadingGroup::new(device.clone(), observed, readings);
        match word.said {
            Said::Vital([hr, spo2, rr]) => {
                let reading = |metric, value: Option<i32>, unit, off| match value {
                    Some(value) => Reading::number(metric, value, unit),
                    None => Reading::no_data(metric, off),
                };
                Record::Readings(group(vec![
                    reading(Metric::HR, hr, Unit::PER_MINUTE, NoData::LeadOff),
                    reading(Metric::SPO2, spo2, Unit::PERCENT, NoData::Searching),
                    reading(Metric::RR_IMP, rr, Unit::PER_MINUTE, NoData::Motion),
                ]))
            }
            Said::Pressure(sys, dia) => Record::Readings(
                group(vec![
                    Reading::number(Metric::NIBP_SYS, sys, Unit::MM_HG),
                    Reading::number(Metric::NIBP_DIA, dia, Unit::MM_HG),
                ])
                .as_group(Metric::NIBP),
            ),
            Said::Glucose(value, measured) => {
                let civil_ms = at(measured).unix_ms();
                let stamp = DeviceTime::Zoned { civil_ms, offset_s: 0 };
                let value = Reading::number(Metric::GLU_CAP_PL, value, Unit::MG_PER_DL);
                Record::Readings(group(vec![value]).at_device_time(Some(stamp)))
            }
            Said::Temperature(tenths) => {
                let value = Decimal::new(i64::from(tenths), -1).unwrap();
                let value = Reading::number(Metric::TEMP_EAR, value, Unit::CELSIUS);
                Record::Readings(group(vec![value]))
            }
            Said::Infusion(Infusion { state, left, minutes }) => {
                let left = Decimal::new(i64::from(left), -1).unwrap();
                Record::Readings(group(vec![
                    Reading::text(Metric::PUMP_STATE, state),
                    Reading::number(Metric::PUMP_VTBI_REM, left, Unit::MILLILITRE),
                    Reading::number(Metric::PUMP_TIME_REM, minutes, Unit::MINUTE),
                ]))
            }
            Said::Alarm(kind, phase) => alarm(device, observed, kind, phase),
            Said::Latched(kind) => match alarm(device, observed, kind, AlarmPhase::Update) {
                Record::Alarm(alarm) => Record::Alarm(DeviceAlarm { latched: true, ..alarm }),
                other => other,
            },
            Said::Status(state) => Record::Status(DeviceStatus {
                device,
                kind: *kind,
                driver: "script".to_owned(),
                state,
                reason: String::new(),
                about: BTreeMap::new(),
                expected_interval_ms: None,
                observed,
            }),
        }
    }
}

fn alarm(device: DeviceId, observed: Observed, kind: AlarmKind, phase: AlarmPhase) -> Record {
    Record::Alarm(DeviceAlarm {
        device,
        channel: Channel::default(),
        phase,
        kind,
        code: kind.rule_id().to_owned(),
        text: String::new(),
        priority: None,
        latched: false,
        source: None,
        device_time: None,
        observed,
    })
}
