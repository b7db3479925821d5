//! An input of a driver's target, read as the story of a link.
//!
//! The first byte chooses options, the second how bytes are cut; then each step is a byte, modulo
//! nine, and its argument:
//!
//! | step | argument | what happens |
//! | --- | --- | --- |
//! | 0 | length in two bytes, bytes | the device sends these bytes |
//! | 1 | length in two bytes, bytes | the device sends a good frame with this content |
//! | 2 | two bytes | so many times 4 ms pass |
//! | 3 | – | time passes until the moment the driver asked for |
//! | 4 | – | everything is on disk |
//! | 5 | – | the port closes and opens again |
//! | 6 | – | the program starts again, with the newest cursor |
//! | 7 | one byte | the newest bytes come so often again, at once |
//! | 8 | one byte, signed | the wall clock jumps by so many minutes |

/// What happens on a link.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Step {
    Bytes(Vec<u8>),
    Frame(Vec<u8>),
    Pass(u16),
    Wait,
    Commit,
    Reopen,
    Restart,
    Again(u8),
    Jump(i8),
}

/// The whole input.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Story {
    pub(crate) options: u8,
    pub(crate) cut: u8,
    pub(crate) steps: Vec<Step>,
}

impl Story {
    /// Any input is a story; one that breaks off inside a step ends there.
    pub(crate) fn read(input: &[u8]) -> Self {
        let mut rest = input;
        let (options, cut) =
            (byte(&mut rest).unwrap_or_default(), byte(&mut rest).unwrap_or_default());
        let steps = std::iter::from_fn(|| step(&mut rest)).collect();
        Self { options, cut, steps }
    }

    /// The input that is this story.
    #[cfg(test)]
    pub(crate) fn input(&self) -> Vec<u8> {
        let mut input = vec![self.options, self.cut];
        for step in &self.steps {
            match step {
                Step::Bytes(bytes) => put_bytes(&mut input, 0, bytes),
                Step::Frame(content) => put_bytes(&mut input, 1, content),
                Step::Pass(ticks) => input.extend([&[2][..], &ticks.to_le_bytes()].concat()),
                Step::Wait => input.push(3),
                Step::Commit => input.push(4),
                Step::Reopen => input.push(5),
                Step::Restart => input.push(6),
                Step::Again(count) => input.extend([7, *count]),
                Step::Jump(minutes) => input.extend([8, minutes.cast_unsigned()]),
            }
        }
        input
    }
}

fn step(rest: &mut &[u8]) -> Option<Step> {
    Some(match byte(rest)? % 9 {
        0 => Step::Bytes(bytes(rest)?),
        1 => Step::Frame(bytes(rest)?),
        2 => Step::Pass(word(rest)?),
        3 => Step::Wait,
        4 => Step::Commit,
        5 => Step::Reopen,
        6 => Step::Restart,
        7 => Step::Again(byte(rest)?),
        _ => Step::Jump(byte(rest)?.cast_signed()),
    })
}

pub(super) fn byte(rest: &mut &[u8]) -> Option<u8> {
    let (first, later) = rest.split_first()?;
    *rest = later;
    Some(*first)
}

pub(super) fn word(rest: &mut &[u8]) -> Option<u16> {
    Some(u16::from_le_bytes([byte(rest)?, byte(rest)?]))
}

/// As many as it says, or as there are: a fuzzer that cuts an input keeps its meaning.
pub(super) fn bytes(rest: &mut &[u8]) -> Option<Vec<u8>> {
    let len = usize::from(word(rest)?).min(rest.len());
    let (bytes, later) = rest.split_at(len);
    *rest = later;
    Some(bytes.to_vec())
}

#[cfg(test)]
pub(super) fn put_bytes(input: &mut Vec<u8>, step: u8, bytes: &[u8]) {
    input.push(step);
    input.extend(u16::try_from(bytes.len()).unwrap().to_le_bytes());
    input.extend(bytes);
}
