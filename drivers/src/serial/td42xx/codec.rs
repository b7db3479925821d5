//! Codec of the TaiDoc TD-42xx family: bytes to frames, frames to replies, nothing more.
//!
//! Read first: `src/taidoc/td42xx.md` in glucometers-tech/glucometer-protocols; for the cuffs,
//! `measure/taidoc` in advmeds-service/advmeds-bluetooth-lib.

use model::time::civil_ms;
use std::{collections::VecDeque, fmt, iter};
use thiserror::Error;

/// Facts from the protocol sheet. No number of the protocol stands anywhere else.
mod spec {
    /// "Always 8 bytes", §2.
    pub(super) const FRAME_LEN: usize = 8;
    /// "51 start", §2.
    pub(super) const START: u8 = 0x51;
    /// "A3 host to meter, A5 meter to host", §2.
    pub(super) const TO_METER: u8 = 0xA3;
    pub(super) const TO_HOST: u8 = 0xA5;
    /// Commands, §3. Those that set the clock (33), switch off (50) and clear the memory (52) are
    /// not here.
    pub(super) const CONNECT: u8 = 0x22;
    pub(super) const CLOCK: u8 = 0x23;
    pub(super) const MODEL: u8 = 0x24;
    pub(super) const TIME: u8 = 0x25;
    pub(super) const VALUE: u8 = 0x26;
    pub(super) const COUNT: u8 = 0x2B;
    /// "Connect; reply command may be 22, 24 or 54", §3.
    pub(super) const CONNECTED: [u8; 3] = [CONNECT, MODEL, 0x54];
    /// "Record count + 2 unknown (FF FF when empty)", §3. Four times FF is an erased memory too, and
    /// not 65535 records.
    pub(super) const EMPTY: [u8; 2] = [0xFF, 0xFF];
    /// "Day word: bits 15-9 year-2000, 8-5 month, 4-0 day", §3.
    pub(super) const YEAR_0: u16 = 2000;
    pub(super) const YEAR_SHIFT: u16 = 9;
    pub(super) const MONTH_SHIFT: u16 = 5;
    pub(super) const MONTH_MASK: u16 = 0x0F;
    pub(super) const DAY_MASK: u16 = 0x1F;
    /// "Meal 00 none / 40 before / 80 after", §3.
    pub(super) const MEAL_NONE: u8 = 0x00;
    pub(super) const MEAL_BEFORE: u8 = 0x40;
    pub(super) const MEAL_AFTER: u8 = 0x80;
    /// "77 42 = TD-4277", §3; the protocol "is compatible with both TD-4277 and TD-4235B": first
    /// source.
    pub(super) const GLUCOSE_METERS: [u16; 2] = [0x4277, 0x4235];
    /// "Cuff members (TD-3128, FORA D40, P30 Plus)", §3; the model number of the other two is not
    /// known.
    pub(super) const CUFFS: [u16; 1] = [0x3128];

    const _: () = assert!(u16::MAX >> YEAR_SHIFT == 0x7F);
    const _: () = assert!(MONTH_MASK << MONTH_SHIFT | DAY_MASK == (1 << YEAR_SHIFT) - 1);
}

/// Which way a frame goes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Direction {
    /// A request. Coming in, it is an echo.
    ToMeter,
    /// A reply.
    ToHost,
}

/// One frame.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Frame {
    /// What is asked or answered.
    pub command: u8,
    /// Its argument or content.
    pub data: [u8; 4],
    /// Request or reply.
    pub direction: Direction,
}

/// Why bytes gave no frame.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum FrameError {
    /// Wrong sum, or a direction that does not exist.
    #[error("checksum is {got:#04x}, computed {want:#04x}; check the plug if this repeats")]
    Checksum {
        /// As received.
        got: u8,
        /// As computed.
        want: u8,
    },
    /// A right sum over a direction that does not exist.
    #[error("direction {got:#04x} is neither request nor reply; check the plug if this repeats")]
    Direction {
        /// As received.
        got: u8,
    },
    /// Bytes before a start byte.
    #[error("{count} bytes make no frame; check speed and cable if this repeats (19200 8N1)")]
    Noise {
        /// How many were skipped.
        count: usize,
    },
}

/// Cuts a byte stream into frames.
///
/// Invariant: once `decode` is drained, fewer than `FRAME_LEN` bytes stay buffered.
#[derive(Debug, Default)]
pub struct Decoder {
    buffer: VecDeque<u8>,
}

impl Decoder {
    /// Takes `bytes` in and yields every frame or error they complete.
    ///
    /// An iterator dropped early loses nothing: what it did not yield comes out of the next call.
    pub fn decode(&mut self, bytes: &[u8]) -> impl Iterator<Item = Result<Frame, FrameError>> {
        self.buffer.extend(bytes);
        iter::from_fn(|| self.next_frame())
    }

    /// Drops a frame that never became whole; how many bytes of it had come.
    pub fn give_up(&mut self) -> usize {
        std::mem::take(&mut self.buffer).len()
    }

    fn next_frame(&mut self) -> Option<Result<Frame, FrameError>> {
        let noise = self.buffer.iter().take_while(|byte| **byte != spec::START).count();
        if noise > 0 {
            self.buffer.drain(..noise);
            return Some(Err(FrameError::Noise { count: noise }));
        }
        let raw: [u8; spec::FRAME_LEN] = *self.buffer.make_contiguous().first_chunk()?;
        let [covered @ .., got] = raw;
        let [_, command, data @ .., direction] = covered;
        let want = check_byte(&covered);
        let direction = match direction {
            _ if got != want => return self.skip_one(FrameError::Checksum { got, want }),
            spec::TO_METER => Direction::ToMeter,
            spec::TO_HOST => Direction::ToHost,
            got => return self.skip_one(FrameError::Direction { got }),
        };
        self.buffer.drain(..spec::FRAME_LEN);
        Some(Ok(Frame { command, data, direction }))
    }

    /// "Resync: drop one byte and search 51 with valid checksum", §5.
    fn skip_one(&mut self, error: FrameError) -> Option<Result<Frame, FrameError>> {
        self.buffer.pop_front();
        Some(Err(error))
    }
}

/// "Sum of bytes 0..6, low 8 bits", §2.
fn check_byte(covered: &[u8]) -> u8 {
    covered.iter().fold(0, |sum: u8, byte| sum.wrapping_add(*byte))
}

/// What we ask the meter.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Request {
    /// Is anybody there?
    Connect,
    /// Which model it is.
    Model,
    /// Its clock.
    Clock,
    /// How many records it has.
    Count,
    /// Date and time of the record at that place in memory, 0 the newest.
    Time(u16),
    /// Value of that record.
    Value(u16),
}

impl Request {
    /// The bytes that ask it.
    #[must_use]
    pub fn bytes(self) -> Vec<u8> {
        let place = match self {
            Self::Time(place) | Self::Value(place) => place,
            Self::Connect | Self::Model | Self::Clock | Self::Count => 0,
        };
        let [low, high] = place.to_le_bytes();
        let covered = [spec::START, self.command(), low, high, 0, 0, spec::TO_METER];
        [&covered[..], &[check_byte(&covered)]].concat()
    }

    const fn command(self) -> u8 {
        match self {
            Self::Connect => spec::CONNECT,
            Self::Model => spec::MODEL,
            Self::Clock => spec::CLOCK,
            Self::Count => spec::COUNT,
            Self::Time(_) => spec::TIME,
            Self::Value(_) => spec::VALUE,
        }
    }
}

/// What the meter answers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Reply {
    /// Somebody is there.
    Connected,
    /// Which model it is.
    Model(Model),
    /// Its clock.
    Clock(DateTime),
    /// How many records it has.
    Count(u16),
    /// Date and time of a record.
    Time(DateTime),
    /// Value of a record; what it means depends on the model.
    Value([u8; 4]),
}

/// A frame that does not answer what was asked.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[error("a frame with command {:#04x} is no reply to what was asked; it is skipped", .0.command)]
pub struct NoReply(pub Frame);

impl Reply {
    /// Reads the frame that answers `request`. A reply does not say which record it is about.
    ///
    /// # Errors
    /// [`NoReply`] if it does not answer it.
    pub fn decode(request: Request, frame: Frame) -> Result<Self, NoReply> {
        let answers = match request {
            Request::Connect => spec::CONNECTED.contains(&frame.command),
            _ => frame.command == request.command(),
        };
        if frame.direction != Direction::ToHost || !answers {
            return Err(NoReply(frame));
        }
        let [low, high, unknown @ ..] = frame.data;
        let word = u16::from_le_bytes([low, high]);
        Ok(match request {
            Request::Connect => Self::Connected,
            Request::Model => Self::Model(Model(word)),
            Request::Clock => Self::Clock(DateTime(frame.data)),
            Request::Count if [low, high] == spec::EMPTY && unknown == spec::EMPTY => {
                Self::Count(0)
            }
            Request::Count => Self::Count(word),
            Request::Time(_) => Self::Time(DateTime(frame.data)),
            Request::Value(_) => Self::Value(frame.data),
        })
    }
}

/// Model number, in BCD as sent.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Model(pub u16);

/// What a model measures.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Measures {
    /// Glucose, from a strip.
    Glucose,
    /// Blood pressure.
    Pressure,
}

impl Model {
    /// What it measures, if the model is known: the same bytes mean glucose or pressures.
    #[must_use]
    pub fn measures(self) -> Option<Measures> {
        if spec::GLUCOSE_METERS.contains(&self.0) {
            Some(Measures::Glucose)
        } else if spec::CUFFS.contains(&self.0) {
            Some(Measures::Pressure)
        } else {
            None
        }
    }
}

/// "77 42 = TD-4277", §3.
impl fmt::Display for Model {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "TD-{:04X}", self.0)
    }
}

/// Date and time of the meter's local clock, as sent: minute resolution.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct DateTime(pub [u8; 4]);

impl DateTime {
    /// Civil milliseconds; `None` for a date or a time that does not exist.
    #[must_use]
    pub fn civil_ms(self) -> Option<i64> {
        let (year, month, day) = self.date();
        let [.., minute, hour] = self.0;
        civil_ms(year.into(), month.into(), day.into(), hour.into(), minute.into(), 0)
    }

    fn date(self) -> (u16, u16, u16) {
        let [low, high, ..] = self.0;
        let word = u16::from_le_bytes([low, high]);
        let month = word >> spec::MONTH_SHIFT & spec::MONTH_MASK;
        (spec::YEAR_0 + (word >> spec::YEAR_SHIFT), month, word & spec::DAY_MASK)
    }
}

impl fmt::Display for DateTime {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = self.date();
        let [.., minute, hour] = self.0;
        write!(out, "{year}-{month:02}-{day:02} {hour:02}:{minute:02}")
    }
}

/// Value of a record of a glucose meter.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Glucose {
    /// As sent.
    pub mg_per_dl: u16,
    /// Before or after a meal, if somebody marked it.
    pub meal: Option<Meal>,
}

/// What a person marked on the meter.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Meal {
    /// Before a meal.
    Before,
    /// After a meal.
    After,
}

impl Glucose {
    /// Reads the value of a record; `None` if its mark is none of the three that are known.
    ///
    /// Related meters put there what the number is (ketone, uric acid: advmeds, `decoder/mix`), so
    /// with an unknown mark it may be no glucose.
    #[must_use]
    pub fn from_value(value: [u8; 4]) -> Option<Self> {
        let [low, high, _unknown, mark] = value;
        let meal = match mark {
            spec::MEAL_NONE => None,
            spec::MEAL_BEFORE => Some(Meal::Before),
            spec::MEAL_AFTER => Some(Meal::After),
            _ => return None,
        };
        Some(Self { mg_per_dl: u16::from_le_bytes([low, high]), meal })
    }
}

/// Value of a record of a cuff.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Pressure {
    /// mmHg.
    pub systolic: u16,
    /// mmHg.
    pub diastolic: u8,
    /// Beats per minute.
    pub pulse: u8,
}

impl Pressure {
    /// "Systolic uint16 LE (bytes 2-3), diastolic byte 4, pulse byte 5", §3.
    #[must_use]
    pub fn from_value(value: [u8; 4]) -> Self {
        let [low, high, diastolic, pulse] = value;
        Self { systolic: u16::from_le_bytes([low, high]), diastolic, pulse }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::{collection::vec, prelude::*};

    fn frames(chunks: &[&[u8]]) -> Vec<Result<Frame, FrameError>> {
        let mut decoder = Decoder::default();
        chunks.iter().flat_map(|chunk| decoder.decode(chunk).collect::<Vec<_>>()).collect()
    }

    fn good(chunks: &[&[u8]]) -> Vec<Frame> {
        frames(chunks).into_iter().flatten().collect()
    }

    fn framed(command: u8, data: [u8; 4], direction: u8) -> Vec<u8> {
        let covered = [&[spec::START, command], &data[..], &[direction]].concat();
        [&covered[..], &[check_byte(&covered)]].concat()
    }

    fn reply(command: u8, data: [u8; 4]) -> Frame {
        Frame { command, data, direction: Direction::ToHost }
    }

    #[test]
    fn a_frame_inside_a_damaged_one_is_found() {
        let bytes = [&[0x51, 0x26, 0x68][..], &framed(0x25, [1, 2, 3, 4], 0xA5)].concat();
        assert_eq!(good(&[&bytes]), [reply(0x25, [1, 2, 3, 4])]);
    }

    #[test]
    fn another_direction_is_no_frame() {
        let errors: Vec<_> = frames(&[&framed(0x22, [0; 4], 0xA4)]);
        assert_eq!(errors[0], Err(FrameError::Direction { got: 0xA4 }));
        assert!(errors.iter().all(Result::is_err));
    }

    #[test]
    fn a_frame_answers_only_what_was_asked() {
        for command in [0x22, 0x24, 0x54] {
            let frame = reply(command, [0; 4]);
            assert_eq!(Reply::decode(Request::Connect, frame), Ok(Reply::Connected));
        }
        for (request, command) in [
            (Request::Connect, 0x23),
            (Request::Model, 0x22),
            (Request::Time(0), 0x26),
            (Request::Value(0), 0x25),
            (Request::Count, 0x26),
        ] {
            let frame = reply(command, [0; 4]);
            assert_eq!(Reply::decode(request, frame), Err(NoReply(frame)));
        }
        let echo = Frame { direction: Direction::ToMeter, ..reply(0x22, [0; 4]) };
        assert_eq!(Reply::decode(Request::Connect, echo), Err(NoReply(echo)));
    }

    #[test]
    fn an_empty_memory_has_no_records() {
        let count = |data| Reply::decode(Request::Count, reply(0x2B, data));
        assert_eq!(count([0, 0, 0xFF, 0xFF]), Ok(Reply::Count(0)));
        assert_eq!(count([0xFF; 4]), Ok(Reply::Count(0)));
        assert_eq!(count([0x02, 0x01, 0xFF, 0xFF]), Ok(Reply::Count(258)));
    }

    /// glucometers-tech/glucometerutils: drivers/tests/test_td42xx.py.
    #[test]
    fn dates_are_those_of_the_public_tests() {
        for (raw, text) in [
            ([0x21, 0x24, 0x0E, 0x15], "2018-01-01 21:14"),
            ([0x21, 0x26, 0x0E, 0x15], "2019-01-01 21:14"),
            ([0x04, 0x27, 0x25, 0x0D], "2019-08-04 13:37"),
        ] {
            assert_eq!(DateTime(raw).to_string(), text);
        }
        let civil_ms = civil_ms(2019, 8, 4, 13, 37, 0);
        assert_eq!(DateTime([0x04, 0x27, 0x25, 0x0D]).civil_ms(), civil_ms);
    }

    #[test]
    fn a_date_or_time_that_does_not_exist_is_none() {
        for raw in [
            [0, 0, 0, 0],             // month 0, day 0
            [0xA1, 0x35, 0, 0],       // 2026-13-01
            [0x60, 0x35, 0, 0],       // 2026-11-00
            [0x5F, 0x34, 0, 0],       // 2026-02-31
            [0x76, 0x35, 60, 8],      // minute 60
            [0x76, 0x35, 15, 24],     // hour 24
            [0xFF, 0xFF, 0xFF, 0xFF], // erased
        ] {
            assert_eq!(DateTime(raw).civil_ms(), None, "{}", DateTime(raw));
        }
    }

    #[test]
    fn models_are_known_by_number_only() {
        assert_eq!(Model(0x4277).measures(), Some(Measures::Glucose));
        assert_eq!(Model(0x4235).measures(), Some(Measures::Glucose));
        assert_eq!(Model(0x3128).measures(), Some(Measures::Pressure));
        for other in [0x4216, 0x1241, 0x8255, 0, 0xFFFF, 0x427A] {
            assert_eq!(Model(other).measures(), None, "{}", Model(other));
        }
        assert_eq!(Model(0x4277).to_string(), "TD-4277");
    }

    #[test]
    fn values_are_read_as_the_model_means_them() {
        let value = [0x68, 0x01, 0x00, 0x80];
        let meal = Some(Meal::After);
        assert_eq!(Glucose::from_value(value), Some(Glucose { mg_per_dl: 360, meal }));
        for mark in [0xC0, 0x20, 0x1C, 0x01, 0xFF] {
            assert_eq!(Glucose::from_value([0x68, 0, 0, mark]), None);
        }
        let read = Pressure { systolic: 260, diastolic: 86, pulse: 72 };
        assert_eq!(Pressure::from_value([0x04, 0x01, 0x56, 0x48]), read);
    }

    proptest! {
        #[test]
        fn cutting_does_not_matter(
            bytes in vec(prop_oneof![Just(0x51_u8), Just(0xA5), Just(0), any::<u8>()], 0..200),
            cut in 0_usize..200,
        ) {
            let bytes = [&bytes[..], &framed(0x25, [1, 2, 3, 4], 0xA5)].concat();
            let (head, tail) = bytes.split_at(cut.min(bytes.len()));
            prop_assert_eq!(good(&[&bytes]), good(&[head, tail]));
        }

        #[test]
        fn what_stays_buffered_is_bounded(
            bytes in vec(prop_oneof![Just(0x51_u8), any::<u8>()], 0..2000),
        ) {
            let mut decoder = Decoder::default();
            decoder.decode(&bytes).for_each(drop);
            prop_assert!(decoder.buffer.len() < spec::FRAME_LEN);
        }

        #[test]
        fn a_damaged_byte_never_gives_another_frame(
            command in any::<u8>(), data in any::<[u8; 4]>(), at in 0_usize..8, flip in 1_u8..=255,
        ) {
            let mut bytes = framed(command, data, spec::TO_HOST);
            bytes[at] ^= flip;
            prop_assert!(good(&[&bytes]).is_empty());
        }

        #[test]
        fn a_good_frame_after_noise_is_found(
            noise in vec(any::<u8>(), 0..40), data in any::<[u8; 4]>(),
        ) {
            let bytes = [noise, vec![0; 8], framed(0x26, data, spec::TO_HOST)].concat();
            prop_assert!(good(&[&bytes]).contains(&reply(0x26, data)));
        }

        /// Only the six requests, and no other command, whatever the place.
        #[test]
        fn what_is_sent_reads_and_does_nothing_else(place in any::<u16>()) {
            for request in [
                Request::Connect, Request::Model, Request::Clock, Request::Count,
                Request::Time(place), Request::Value(place),
            ] {
                let sent = good(&[&request.bytes()]);
                let commands: Vec<_> = sent.iter().map(|frame| frame.command).collect();
                prop_assert_eq!(sent.len(), 1);
                prop_assert!(sent.iter().all(|frame| frame.direction == Direction::ToMeter));
                prop_assert!(![0x33, 0x50, 0x52].contains(&commands[0]));
            }
        }
    }
}
