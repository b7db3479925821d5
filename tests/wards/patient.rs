//! Who lies in a ward, and by which lines of the tables each of them is judged.

use crate::script::{Pool, chance, pick};
use e2e::dice::Dice;
use serde_json::{Value, json};

/// Somebody whom rules judge in their own way.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Who {
    Adult,
    /// Of 78 years.
    Elderly,
    Pregnant,
    /// Of five years.
    Child,
}

/// A patient of the ward.
#[derive(Clone, Debug)]
pub(crate) struct Patient {
    pub(crate) key: String,
    pub(crate) who: Who,
}

impl Who {
    pub(crate) fn any(dice: &mut Dice) -> Self {
        match chance(dice, 25) {
            true => Self::Adult,
            false => pick(dice, &[Self::Elderly, Self::Pregnant, Self::Child]),
        }
    }

    /// What the county knows of them.
    pub(crate) fn about(self) -> Value {
        match self {
            Self::Adult => json!({"born": "1971-03", "monitored": true}),
            Self::Elderly => json!({"born": "1948-03", "monitored": true}),
            Self::Pregnant => json!({"born": "1996-03", "sex": "female", "monitored": true,
                "pregnancy": {"registered": "2026-05-01"}}),
            Self::Child => json!({"born": "2021-06", "monitored": true}),
        }
    }

    /// Heart rate, saturation, respiration.
    pub(crate) const fn pools(self) -> &'static [Pool; 3] {
        match self {
            Self::Adult | Self::Elderly => &ADULT,
            Self::Pregnant => &PREGNANT,
            Self::Child => &CHILD,
        }
    }
}

const ADULT: [Pool; 3] = [
    Pool {
        usual: &[66, 72, 80],
        outside: &[30, 38, 39, 40, 49, 50, 120, 121, 150, 151, 180, 181],
        between: &[44, 45, 52, 53, 115, 116, 140, 141, 170, 171],
    },
    Pool { usual: &[95, 97, 99], outside: &[80, 84, 85, 89, 90], between: &[87, 88, 91, 92] },
    Pool { usual: &[14, 16], outside: &[8, 9, 24, 25, 35, 36], between: &[9, 10, 22, 23, 30, 31] },
];
const PREGNANT: [Pool; 3] = [
    Pool {
        usual: &[72, 80, 90],
        outside: &[38, 49, 120, 121, 130, 150, 151, 181],
        between: &[44, 53, 115, 116, 140, 170],
    },
    Pool { usual: &[97, 98, 99], outside: &[84, 89, 90, 94], between: &[87, 88, 92, 95, 96] },
    Pool { usual: &[14, 16], outside: &[8, 24, 25, 30, 31, 36], between: &[10, 22, 26, 27] },
];
const CHILD: [Pool; 3] = [
    Pool {
        usual: &[85, 95, 105],
        outside: &[50, 59, 60, 65, 66, 131, 132, 157, 158, 181],
        between: &[64, 65, 69, 70, 126, 127, 145, 146],
    },
    Pool { usual: &[97, 99], outside: &[80, 87, 88, 91], between: &[89, 90, 92, 93, 94] },
    Pool { usual: &[21, 23], outside: &[8, 16, 29, 30, 36], between: &[17, 18, 19, 26, 27] },
];

/// One line of the tables: outside below or above a limit for so long, clear from a value on for
/// so long.
pub(crate) struct Line {
    /// Heart rate, saturation, respiration.
    pub(crate) vital: usize,
    pub(crate) family: &'static str,
    pub(crate) is_high: bool,
    /// Outside from that value on, downwards or upwards.
    pub(crate) outside: Side,
    pub(crate) sustain_s: i64,
    pub(crate) clear: Side,
    pub(crate) hold_s: i64,
}

/// Values on one side of a limit, the limit included.
#[derive(Clone, Copy)]
pub(crate) enum Side {
    UpTo(i32),
    From(i32),
}

impl Side {
    pub(crate) fn has(self, value: i32) -> bool {
        match self {
            Self::UpTo(limit) => value <= limit,
            Self::From(limit) => value >= limit,
        }
    }
}

const fn line(
    (vital, family, is_high): (usize, &'static str, bool),
    outside: Side,
    sustain_s: i64,
    clear: Side,
    hold_s: i64,
) -> Line {
    Line { vital, family, is_high, outside, sustain_s, clear, hold_s }
}

use Side::{From, UpTo};
const SLOW: Line = line((0, "hr_low", false), UpTo(49), 30, From(53), 30);
const FAST: Line = line((0, "hr_high", false), From(121), 30, UpTo(115), 30);
/// What is as for adults but for the two lines above.
const OF_ALL_ADULTS: [Line; 8] = [
    line((0, "hr_low", true), UpTo(39), 10, From(45), 30),
    line((0, "hr_high", true), From(151), 15, UpTo(140), 30),
    line((0, "hr_high", true), From(181), 10, UpTo(170), 30),
    line((1, "spo2_low", false), UpTo(89), 15, From(92), 15),
    line((1, "spo2_low", true), UpTo(84), 10, From(88), 15),
    line((2, "rr_low", true), UpTo(8), 20, From(10), 30),
    line((2, "rr_high", false), From(25), 30, UpTo(22), 30),
    line((2, "rr_high", true), From(36), 30, UpTo(30), 30),
];
const OF_ADULTS: [Line; 2] = [SLOW, FAST];
const OF_ELDERLY: [Line; 2] = [line((0, "hr_low", false), UpTo(44), 30, From(48), 30), FAST];
const OF_PREGNANT: [Line; 4] = [
    SLOW,
    line((0, "hr_high", true), From(121), 30, UpTo(115), 30),
    line((1, "spo2_low", false), UpTo(94), 30, From(96), 30),
    line((2, "rr_high", true), From(31), 30, UpTo(26), 30),
];
const OF_CHILD: [Line; 8] = [
    line((0, "hr_low", true), UpTo(59), 10, From(65), 20),
    line((0, "hr_low", false), UpTo(65), 20, From(70), 20),
    line((0, "hr_high", false), From(132), 30, UpTo(126), 30),
    line((0, "hr_high", true), From(158), 15, UpTo(145), 30),
    line((1, "spo2_low", false), UpTo(91), 15, From(94), 15),
    line((1, "spo2_low", true), UpTo(87), 10, From(90), 15),
    line((2, "rr_low", false), UpTo(16), 20, From(19), 20),
    line((2, "rr_high", false), From(30), 30, UpTo(26), 30),
];

impl Who {
    /// The lines of what is measured all the time.
    pub(crate) fn lines(self) -> Vec<&'static Line> {
        let (own, others): (&[Line], &[Line]) = match self {
            Self::Adult => (&OF_ADULTS, &OF_ALL_ADULTS),
            Self::Elderly => (&OF_ELDERLY, &OF_ALL_ADULTS),
            Self::Pregnant => (&OF_PREGNANT, &OF_ALL_ADULTS),
            Self::Child => (&OF_CHILD, &[]),
        };
        own.iter().chain(others).collect()
    }

    /// From which pressure on a line waits to be confirmed by a second: systolic, diastolic.
    pub(crate) const fn confirmed_from(self) -> Option<[i32; 2]> {
        match self {
            Self::Adult | Self::Elderly => Some([180, 110]),
            Self::Pregnant | Self::Child => None,
        }
    }

    /// Family, whether it holds, whether it is high.
    pub(crate) const fn pressure(self, sys: i32, dia: i32) -> [(&'static str, bool, bool); 2] {
        let (high, low) = match self {
            Self::Adult => ((sys >= 180 || dia >= 110, sys >= 220 || dia >= 130), sys < 90),
            Self::Elderly => ((sys >= 180 || dia >= 110, sys >= 220 || dia >= 130), sys < 100),
            Self::Pregnant => ((sys >= 140 || dia >= 90, sys >= 160 || dia >= 110), sys < 90),
            // 70 + 2 × 5 years, and nothing above.
            Self::Child => ((false, false), sys < 80),
        };
        [("bp_high", high.0, high.1), ("bp_low", low, sys < 80)]
    }

    /// The same of a glucose in tenths of mmol/L.
    pub(crate) const fn glucose(self, tenths: i64) -> [(&'static str, bool, bool); 2] {
        let low_is_high = match self {
            Self::Adult => tenths < 30,
            Self::Pregnant => tenths < 33,
            Self::Elderly | Self::Child => tenths < 39,
        };
        let has_upper = !matches!(self, Self::Child);
        [
            ("glucose_low", tenths < 39, low_is_high),
            ("glucose_high", has_upper && tenths >= 167, has_upper && tenths >= 222),
        ]
    }

    /// The same of a temperature in tenths of a degree.
    pub(crate) const fn temperature(self, tenths: i32) -> [(&'static str, bool, bool); 2] {
        let is_child = matches!(self, Self::Child);
        let fever = match self {
            Self::Adult | Self::Elderly => 391,
            Self::Pregnant => 381,
            Self::Child => 390,
        };
        [
            ("temp_low", !is_child && tenths <= 350, !is_child && tenths <= 350),
            ("temp_high", tenths >= fever, !is_child && tenths >= 410),
        ]
    }
}
