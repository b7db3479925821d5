//! An input of a driver of Bluetooth LE, read as the story of a device that comes by.
//!
//! The first byte chooses options; then each step is a byte, modulo twelve, and its argument. A
//! place is a number in the list of `device.rs`, modulo its length.
//!
//! | step | argument | what happens |
//! | --- | --- | --- |
//! | 0 | place, length in two bytes, bytes | the device notifies or indicates this value |
//! | 1 | two bytes | it is connected; a bit that is set is a place that it does not have |
//! | 2 | length in two bytes, bytes | the oldest request succeeds; a read gives these bytes |
//! | 3 | one byte | the oldest request is refused |
//! | 4 | – | everything that is asked succeeds, as a good device answers |
//! | 5 | two bytes | so many times 4 ms pass |
//! | 6 | – | time passes until the moment the driver asked for |
//! | 7 | – | the connection is lost |
//! | 8 | – | the driver is told that we are about to end the connection |
//! | 9 | – | the program starts again, with the newest cursor |
//! | 10 | one byte | the newest value comes so often again, its second and third byte counted up |
//! | 11 | one byte, signed | the wall clock jumps by so many minutes |

use super::super::story::{byte, bytes, word};

/// What happens to a device.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Step {
    Value(u8, Vec<u8>),
    Connect(u16),
    Answer(Vec<u8>),
    Refuse(u8),
    AnswerAll,
    Pass(u16),
    Wait,
    Disconnect,
    Leave,
    Restart,
    Again(u8),
    Jump(i8),
}

/// The whole input.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Story {
    pub(crate) options: u8,
    pub(crate) steps: Vec<Step>,
}

impl Story {
    /// Any input is a story; one that breaks off inside a step ends there.
    pub(crate) fn read(input: &[u8]) -> Self {
        let mut rest = input;
        let options = byte(&mut rest).unwrap_or_default();
        Self { options, steps: std::iter::from_fn(|| step(&mut rest)).collect() }
    }

    /// The same with the values that follow a connection at once before it: a bonded device says
    /// what it has as soon as the link is there.
    pub(super) fn early(&self) -> Self {
        let mut steps = self.steps.clone();
        for at in (0..steps.len()).rev() {
            if !matches!(steps[at], Step::Connect(_)) {
                continue;
            }
            let is_value = |step: &&Step| matches!(step, Step::Value(..) | Step::Again(_));
            let values = steps[at + 1..].iter().take_while(is_value).count();
            steps[at..=at + values].rotate_left(1);
        }
        Self { options: self.options, steps }
    }

    /// The same with a new program after every connection.
    pub(super) fn restarting(&self) -> Self {
        let steps = self.steps.iter().flat_map(|step| match step {
            Step::Disconnect => vec![Step::Disconnect, Step::Restart],
            step => vec![step.clone()],
        });
        Self { options: self.options, steps: steps.collect() }
    }

    /// The input that is this story.
    #[cfg(test)]
    pub(crate) fn input(&self) -> Vec<u8> {
        use super::super::story::put_bytes;
        let mut input = vec![self.options];
        for step in &self.steps {
            match step {
                Step::Value(place, value) => {
                    let mut tail = Vec::new();
                    put_bytes(&mut tail, *place, value);
                    input.extend([&[0], tail.as_slice()].concat());
                }
                Step::Connect(missing) => {
                    input.extend([&[1][..], &missing.to_le_bytes()].concat());
                }
                Step::Answer(value) => put_bytes(&mut input, 2, value),
                Step::Refuse(why) => input.extend([3, *why]),
                Step::AnswerAll => input.push(4),
                Step::Pass(ticks) => input.extend([&[5][..], &ticks.to_le_bytes()].concat()),
                Step::Wait => input.push(6),
                Step::Disconnect => input.push(7),
                Step::Leave => input.push(8),
                Step::Restart => input.push(9),
                Step::Again(count) => input.extend([10, *count]),
                Step::Jump(minutes) => input.extend([11, minutes.cast_unsigned()]),
            }
        }
        input
    }
}

fn step(rest: &mut &[u8]) -> Option<Step> {
    Some(match byte(rest)? % 12 {
        0 => Step::Value(byte(rest)?, bytes(rest)?),
        1 => Step::Connect(word(rest)?),
        2 => Step::Answer(bytes(rest)?),
        3 => Step::Refuse(byte(rest)?),
        4 => Step::AnswerAll,
        5 => Step::Pass(word(rest)?),
        6 => Step::Wait,
        7 => Step::Disconnect,
        8 => Step::Leave,
        9 => Step::Restart,
        10 => Step::Again(byte(rest)?),
        _ => Step::Jump(byte(rest)?.cast_signed()),
    })
}
