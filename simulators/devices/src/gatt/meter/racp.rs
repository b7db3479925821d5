//! The record access control point (§5): what is asked, which records that are, what is answered.

pub(super) const REPORT: u8 = 1;
pub(super) const DELETE: u8 = 2;
pub(super) const ABORT: u8 = 3;
pub(super) const COUNT: u8 = 4;
const COUNT_RESPONSE: u8 = 5;
const RESPONSE: u8 = 6;

pub(super) const SUCCESS: u8 = 1;
pub(super) const NOT_SUPPORTED: u8 = 2;
const INVALID_OPERATOR: u8 = 3;
const INVALID_OPERAND: u8 = 5;
pub(super) const NO_RECORDS: u8 = 6;
const OPERAND_NOT_SUPPORTED: u8 = 9;
pub(super) const BUSY: u8 = 10;

const ALL: u8 = 1;
const UP_TO: u8 = 2;
const FROM: u8 = 3;
const WITHIN: u8 = 4;
const FIRST: u8 = 5;
const LAST: u8 = 6;
const BY_SEQUENCE: u8 = 1;
const BY_TIME: u8 = 2;

/// What the host wrote.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Asked {
    pub(super) op: u8,
    operator: u8,
    operand: Vec<u8>,
}

impl Asked {
    pub(super) fn decode(value: &[u8]) -> Option<Self> {
        let (&[op, operator], operand) = value.split_first_chunk()?;
        Some(Self { op, operator, operand: operand.to_vec() })
    }

    /// Places of the records that are meant, oldest first, or the code of what is wrong.
    pub(super) fn select(&self, sequences: impl Iterator<Item = u16>) -> Result<Vec<usize>, u8> {
        let numbered: Vec<(usize, u16)> = sequences.enumerate().collect();
        let (from, until) = match (self.operator, self.operand.as_slice()) {
            (ALL, []) => (u16::MIN, u16::MAX),
            (FIRST, []) => {
                return Ok(numbered.first().map(|(place, _)| *place).into_iter().collect());
            }
            (LAST, []) => {
                return Ok(numbered.last().map(|(place, _)| *place).into_iter().collect());
            }
            (UP_TO | FROM | WITHIN, [BY_TIME, ..]) => return Err(OPERAND_NOT_SUPPORTED),
            (UP_TO, [BY_SEQUENCE, low, high]) => (u16::MIN, u16::from_le_bytes([*low, *high])),
            (FROM, [BY_SEQUENCE, low, high]) => (u16::from_le_bytes([*low, *high]), u16::MAX),
            (WITHIN, [BY_SEQUENCE, a, b, c, d]) => {
                (u16::from_le_bytes([*a, *b]), u16::from_le_bytes([*c, *d]))
            }
            (ALL..=LAST, _) => return Err(INVALID_OPERAND),
            _ => return Err(INVALID_OPERATOR),
        };
        let meant = numbered.into_iter().filter(|(_, sequence)| (from..=until).contains(sequence));
        Ok(meant.map(|(place, _)| place).collect())
    }
}

/// What the meter answers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Answer {
    Count(u16),
    Done { asked: u8, code: u8 },
}

impl Answer {
    pub(super) fn encode(self) -> Vec<u8> {
        match self {
            Self::Count(count) => {
                let [low, high] = count.to_le_bytes();
                vec![COUNT_RESPONSE, 0, low, high]
            }
            Self::Done { asked, code } => vec![RESPONSE, 0, asked, code],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_frames_of_the_sheet_mean_what_it_says() {
        let select = |value: &[u8]| Asked::decode(value).unwrap().select(18..=32);
        let all: Vec<usize> = (0..15).collect();
        assert_eq!(select(&[1, 1]), Ok(all.clone()));
        assert_eq!(select(&[1, 6]), Ok(vec![14]));
        assert_eq!(select(&[1, 5]), Ok(vec![0]));
        assert_eq!(select(&[1, 3, 1, 0x16, 0]), Ok((4..15).collect()), "sequence >= 22");
        assert_eq!(select(&[1, 2, 1, 0x16, 0]), Ok((0..5).collect()), "sequence <= 22");
        assert_eq!(select(&[4, 4, 1, 0x14, 0, 0x1E, 0]), Ok((2..13).collect()), "20..30");
        assert_eq!(select(&[1, 0]), Err(INVALID_OPERATOR));
        assert_eq!(select(&[1, 3, 1]), Err(INVALID_OPERAND));
        assert_eq!(select(&[1, 3, 2, 0, 0, 0, 0, 0, 0, 0]), Err(OPERAND_NOT_SUPPORTED));
        assert_eq!(Asked::decode(&[1]), None);
        assert_eq!(Answer::Count(3).encode(), [5, 0, 3, 0]);
        assert_eq!(Answer::Done { asked: REPORT, code: SUCCESS }.encode(), [6, 0, 1, 1]);
        assert_eq!(Answer::Done { asked: REPORT, code: NO_RECORDS }.encode(), [6, 0, 1, 6]);
        assert_eq!(Answer::Done { asked: ABORT, code: SUCCESS }.encode(), [6, 0, 3, 1]);
    }
}
