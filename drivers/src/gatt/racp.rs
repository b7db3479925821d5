//! Record Access Control Point (0x2A52): asks a device for what it stored.
//!
//! Source: the protocol sheet of the Glucose Service, §5.
//!
//! # Invariants
//! - the op code that deletes records does not exist here

use thiserror::Error;

/// Numbers of the sheet.
mod spec {
    pub(super) const REPORT: u8 = 1;
    pub(super) const ABORT: u8 = 3;
    pub(super) const COUNT: u8 = 4;
    pub(super) const COUNT_RESPONSE: u8 = 5;
    pub(super) const RESPONSE: u8 = 6;

    pub(super) const NULL: u8 = 0;
    pub(super) const ALL: u8 = 1;
    pub(super) const AT_LEAST: u8 = 3;
    pub(super) const LAST: u8 = 6;
    pub(super) const BY_SEQUENCE: u8 = 1;
}

/// Which stored records.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Which {
    /// Every one.
    All,
    /// Those of this sequence number and above.
    From(u16),
    /// The newest.
    Last,
}

/// What is asked of the control point.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Command {
    /// "Report stored records."
    Report(Which),
    /// "Report number of records."
    Count(Which),
    /// "Abort."
    Abort,
}

impl Command {
    /// The value to write: op code, operator, operand.
    #[must_use]
    pub fn bytes(self) -> Vec<u8> {
        match self {
            Self::Report(which) => with(spec::REPORT, which),
            Self::Count(which) => with(spec::COUNT, which),
            Self::Abort => vec![spec::ABORT, spec::NULL],
        }
    }

    const fn op_code(self) -> u8 {
        match self {
            Self::Report(_) => spec::REPORT,
            Self::Count(_) => spec::COUNT,
            Self::Abort => spec::ABORT,
        }
    }
}

fn with(op_code: u8, which: Which) -> Vec<u8> {
    match which {
        Which::All => vec![op_code, spec::ALL],
        Which::Last => vec![op_code, spec::LAST],
        Which::From(sequence) => {
            let [low, high] = sequence.to_le_bytes();
            vec![op_code, spec::AT_LEAST, spec::BY_SEQUENCE, low, high]
        }
    }
}

/// How a procedure ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// "Number-of-records response."
    Number(u16),
    /// Code 1.
    Success,
    /// Code 6.
    NoRecords,
    /// Codes 2 to 5 and 9: the device cannot do what was asked, in this form.
    NotSupported(u8),
    /// Any other code: not completed, busy, abort unsuccessful.
    Failed(u8),
}

/// Why an indication answers nothing.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum ResponseError {
    /// Wrong length, an operator that is not null, or an op code that is no response.
    #[error("an answer of the record access control point is malformed; it is skipped")]
    Malformed,
    /// It answers something else.
    #[error("the device answers op code {0}, which was not asked")]
    Other(u8),
}

impl Outcome {
    /// The answer to `asked` in an indication.
    ///
    /// # Errors
    /// When the indication does not answer it.
    pub fn decode(asked: Command, value: &[u8]) -> Result<Self, ResponseError> {
        match *value {
            [spec::COUNT_RESPONSE, spec::NULL, low, high] => match asked {
                Command::Count(_) => Ok(Self::Number(u16::from_le_bytes([low, high]))),
                _ => Err(ResponseError::Other(spec::COUNT)),
            },
            [spec::RESPONSE, spec::NULL, op_code, _] if op_code != asked.op_code() => {
                Err(ResponseError::Other(op_code))
            }
            [spec::RESPONSE, spec::NULL, _, code] => Ok(match code {
                1 => Self::Success,
                6 => Self::NoRecords,
                2..=5 | 9 => Self::NotSupported(code),
                _ => Self::Failed(code),
            }),
            _ => Err(ResponseError::Malformed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The computed frames of the sheet, §5.
    #[test]
    fn commands_are_those_of_the_sheet() {
        assert_eq!(Command::Report(Which::All).bytes(), [1, 1]);
        assert_eq!(Command::Report(Which::Last).bytes(), [1, 6]);
        assert_eq!(Command::Count(Which::All).bytes(), [4, 1]);
        assert_eq!(Command::Report(Which::From(22)).bytes(), [1, 3, 1, 0x16, 0]);
        assert_eq!(Command::Abort.bytes(), [3, 0]);
    }

    #[test]
    fn answers_are_those_of_the_sheet() {
        let (report, count) = (Command::Report(Which::All), Command::Count(Which::All));
        assert_eq!(Outcome::decode(count, &[5, 0, 3, 0]), Ok(Outcome::Number(3)));
        assert_eq!(Outcome::decode(report, &[6, 0, 1, 1]), Ok(Outcome::Success));
        assert_eq!(Outcome::decode(report, &[6, 0, 1, 6]), Ok(Outcome::NoRecords));
        assert_eq!(Outcome::decode(Command::Abort, &[6, 0, 3, 1]), Ok(Outcome::Success));
        assert_eq!(Outcome::decode(report, &[6, 0, 1, 9]), Ok(Outcome::NotSupported(9)));
        assert_eq!(Outcome::decode(report, &[6, 0, 1, 8]), Ok(Outcome::Failed(8)));
        assert_eq!(Outcome::decode(report, &[6, 0, 4, 1]), Err(ResponseError::Other(4)));
        assert_eq!(Outcome::decode(report, &[5, 0, 3, 0]), Err(ResponseError::Other(4)));
        for value in [&[][..], &[6, 0, 1], &[6, 1, 1, 1], &[7, 0, 1, 1], &[6, 0, 1, 1, 0]] {
            assert_eq!(Outcome::decode(report, value), Err(ResponseError::Malformed));
        }
    }
}
