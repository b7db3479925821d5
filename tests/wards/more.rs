//! What wards have from [`FROM_SEED`] on: patients who are no adults, pumps, and what monitors signal
//! themselves and latch; from [`MOVES_FROM_SEED`] on also devices that somebody puts on another
//! patient.

use crate::script::{LENGTHS, Said, Script, between, chance, pick};
use e2e::dice::Dice;
use model::{
    alarm::{AlarmKind, AlarmPhase},
    device::DeviceKind,
};

/// The wards before that one are as they were when there was nothing of this.
const FROM_SEED: u64 = 1000;
/// Nobody put a device on somebody else before that one.
const MOVES_FROM_SEED: u64 = 2000;

/// A pump says how it stands this often.
const PUMP_S: i64 = 5;
/// What monitors signal: of each priority, of those that are told once in a time, and limits of
/// their own.
const SIGNALS: [AlarmKind; 6] = [
    AlarmKind::VentricularTachycardia,
    AlarmKind::Asystole,
    AlarmKind::Desaturation,
    AlarmKind::Pause,
    AlarmKind::AtrialFibrillation,
    AlarmKind::High,
];
/// A monitor that was heard so near says what it signals.
const HEARD_S: i64 = 4;

/// What decides what a ward has of that.
#[derive(Clone, Debug)]
pub(crate) struct More {
    pub(crate) dice: Dice,
    has_moves: bool,
}

impl More {
    pub(crate) fn of(seed: u64) -> Option<Self> {
        let more = Self { dice: Dice::new(!seed), has_moves: seed >= MOVES_FROM_SEED };
        (seed >= FROM_SEED).then_some(more)
    }
}

/// Somebody puts a device on another patient, or takes it off.
#[derive(Clone, Debug)]
pub(crate) struct Move {
    pub(crate) at: i64,
    /// Place among the devices.
    pub(crate) device: usize,
    pub(crate) to: Option<String>,
}

/// How an infusion stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Infusion {
    pub(crate) state: &'static str,
    /// In tenths of a millilitre.
    pub(crate) left: i32,
    pub(crate) minutes: i32,
}

impl Script {
    pub(crate) fn add_more(&mut self, More { dice, has_moves }: &mut More, drama: i64) {
        let patients = self.patients.clone();
        for (number, patient) in (1..).zip(&patients) {
            if chance(dice, 60) {
                let pump = self.add("pump", DeviceKind::Pump, number, &Some(patient.key.clone()));
                self.infuse(dice, pump, drama);
            }
        }
        let monitors: Vec<usize> = self.of_kind(DeviceKind::Monitor).collect();
        for monitor in monitors {
            self.signal(dice, monitor, drama);
        }
        if *has_moves {
            self.move_devices(dice, drama);
        }
    }

    fn of_kind(&self, kind: DeviceKind) -> impl Iterator<Item = usize> {
        let devices = self.devices.iter().enumerate();
        devices.filter(move |(_, device)| device.kind == kind).map(|(place, _)| place)
    }

    /// A pump gives what it has, is stopped with something left, is blocked, and comes to its end.
    fn infuse(&mut self, dice: &mut Dice, pump: usize, drama: i64) {
        let mut second = PUMP_S;
        while second < drama {
            let minutes = pick(dice, &[5, 12, 34]);
            // A tenth of a millilitre a second: what is left are the seconds that it takes.
            let mut left = minutes * 60;
            while second < drama && left > 0 {
                let length = i64::from(pick(dice, &[60, 150, 400]));
                let (state, alarm) = match dice.below(4) {
                    0 => ("paused", None),
                    1 => ("paused", Some(AlarmKind::OcclusionDownstream)),
                    _ => ("infusing", None),
                };
                second =
                    self.stand(pump, (second, second + length, drama), (state, alarm), &mut left);
            }
            let empty = (second, second + i64::from(pick(dice, &[20, 90])), drama);
            second = self.stand(pump, empty, ("kvo", Some(AlarmKind::InfusionComplete)), &mut 0);
        }
        // A new syringe, and no trouble with it.
        self.stand(pump, (second, self.end, self.end), ("infusing", None), &mut 3600);
    }

    /// It stands so from then until then, or until nothing is left; when that was.
    fn stand(
        &mut self,
        pump: usize,
        (from, until, drama): (i64, i64, i64),
        (state, alarm): (&'static str, Option<AlarmKind>),
        left: &mut i32,
    ) -> i64 {
        let mut second = from;
        if let Some(kind) = alarm {
            self.say(from, pump, Said::Alarm(kind, AlarmPhase::Start));
        }
        while second < until.min(drama) {
            let infusion = Infusion { state, left: *left, minutes: (*left + 59) / 60 };
            self.say(second, pump, Said::Infusion(infusion));
            second += PUMP_S;
            if state == "infusing" {
                *left -= i32::try_from(PUMP_S).unwrap();
                if *left <= 0 {
                    break;
                }
            }
        }
        if let Some(kind) = alarm {
            self.say(second, pump, Said::Alarm(kind, AlarmPhase::End));
        }
        second
    }

    /// A monitor signals something, now and then; some of it until somebody there has seen it.
    fn signal(&mut self, dice: &mut Dice, monitor: usize, drama: i64) {
        let mut second = between(dice, 20, 400);
        while second < drama - 100 {
            let (kind, length) = (pick(dice, &SIGNALS), pick(dice, &LENGTHS));
            let over = second + length;
            let seen = over + if chance(dice, 40) { pick(dice, &LENGTHS) } else { 0 };
            if [second, over, seen].iter().all(|at| self.is_heard(monitor, *at)) {
                self.say(second, monitor, Said::Alarm(kind, AlarmPhase::Start));
                if seen > over {
                    self.say(over, monitor, Said::Latched(kind));
                }
                self.say(seen, monitor, Said::Alarm(kind, AlarmPhase::End));
            }
            second = seen + pick(dice, &LENGTHS) + between(dice, 20, 300);
        }
    }

    fn is_heard(&self, device: usize, at: i64) -> bool {
        self.words.iter().any(|word| {
            let counts = matches!(word.said, Said::Vital(_));
            word.device == device && counts && (at - HEARD_S..=at).contains(&word.at)
        })
    }

    fn move_devices(&mut self, dice: &mut Dice, drama: i64) {
        let mut second = 5 * between(dice, 12, drama / 5);
        for _ in 0..=dice.below(2) {
            let count = u64::try_from(self.devices.len()).unwrap();
            let device = usize::try_from(dice.below(count)).unwrap();
            let moved = self.moves.iter().rev().find(|known| known.device == device);
            let present = match moved {
                Some(moved) => &moved.to,
                None => &self.devices[device].patient,
            };
            let others = self.patients.iter().map(|patient| Some(patient.key.clone()));
            let others: Vec<Option<String>> =
                others.chain([None]).filter(|other| other != present).collect();
            let count = u64::try_from(others.len()).unwrap();
            let to = others[usize::try_from(dice.below(count)).unwrap()].clone();
            self.moves.push(Move { at: second, device, to });
            second += 5 * between(dice, 4, 120);
        }
        self.moves.retain(|moved| moved.at < drama);
    }

    /// Whether all that was measured of somebody is of the same devices.
    pub(crate) fn is_settled(&self, subject: &str) -> bool {
        !self.moves.iter().any(|moved| {
            let device = &self.devices[moved.device];
            device.subject() == subject
                || device.id == subject
                || moved.to.as_deref() == Some(subject)
        })
    }
}
