//! A recording from files: a WFDB header and its signal file, formats 212 and 16.
//!
//! Read first: WFDB Applications Guide, header(5) and signal(5), PhysioNet.
//!
//! Not here: opening files; annotations; records of several segments or several signal files.
//!
//! # Invariants
//! - a record that exists is complete and calibrated: every signal has its samples, and they are
//!   those of the header's checksum if it has one
//! - what a header promises is never reserved before the bytes are there

mod header;

use header::Header;
use thiserror::Error;

/// Facts from signal(5).
mod spec {
    /// "Each sample is represented by a 16-bit two's complement amplitude stored least significant
    /// byte first", "Format 16".
    pub(super) const FORMAT_16: &str = "16";
    /// "Each sample is represented by a 12-bit two's complement amplitude", "Format 212".
    pub(super) const FORMAT_212: &str = "212";
    /// The lowest value of a format stands for a sample that is missing, as the WFDB library reads
    /// it (`WFDB_INVALID_SAMPLE`, Programmer's Guide).
    pub(super) const MISSING_16: i16 = i16::MIN;
    pub(super) const MISSING_212: i16 = -2048;
}

/// A header with comments has some hundred bytes.
const HEADER_BYTES_MAX: usize = 64 * 1024;
/// Two leads for a day at 360 Hz are 62 million samples: half a day of them, 64 MB in memory.
const SAMPLES_MAX: usize = 32_000_000;
/// Microvolts: what no electrode has.
const VOLTAGE_UV_MAX: f64 = 1e6;

/// Why a recording cannot be played.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum RecordError {
    /// It is no header.
    #[error("the header has {bytes} bytes, more than {HEADER_BYTES_MAX}; is it a .hea file?")]
    HeaderTooLong {
        /// Its length.
        bytes: usize,
    },
    /// The guide's limit.
    #[error("line {line} of the header is longer than 255 bytes; is it a .hea file?")]
    LineTooLong {
        /// Its number, from 1.
        line: usize,
    },
    /// There are only comments.
    #[error("the header has no record line; is it a .hea file?")]
    NoRecordLine,
    /// A field is not what the guide says.
    #[error("line {line} of the header has {found:?} as {field}; it must be {expected}")]
    Field {
        /// Number of the line, from 1.
        line: usize,
        /// The guide's name of the field.
        field: &'static str,
        /// What is there.
        found: String,
        /// What may be there.
        expected: &'static str,
    },
    /// A header of headers.
    #[error("this is a record of several segments; name the header of one of them")]
    Segments,
    /// Fewer signal lines than promised.
    #[error("the header promises {promised} signals and describes {found}")]
    SignalsMissing {
        /// In the record line.
        promised: usize,
        /// Signal specification lines.
        found: usize,
    },
    /// Signals in several files.
    #[error("its signals are in several files ({one}, {other}); only one signal file is supported")]
    SeveralFiles {
        /// The first.
        one: String,
        /// The next.
        other: String,
    },
    /// A format that is not read.
    #[error("signal format {found:?} is not supported; convert it to 212 or 16, with `xform`")]
    Format {
        /// As in the header.
        found: String,
    },
    /// Samples without a voltage.
    #[error("signal {signal} has no gain; an uncalibrated ECG is not played")]
    Uncalibrated {
        /// Its place, from 1.
        signal: usize,
    },
    /// The signal file ends early.
    #[error("the signal file has {found} bytes, the header promises {promised}; copy it again")]
    Truncated {
        /// Bytes needed.
        promised: u64,
        /// Bytes there.
        found: usize,
    },
    /// Nothing to play.
    #[error("the record has no samples")]
    Empty,
    /// More than fits.
    #[error("the record has more than {SAMPLES_MAX} samples; cut it, with `snip`")]
    TooLong,
    /// Other samples than the header was written for.
    #[error("the samples of signal {signal} have checksum {computed}, the header says {promised}")]
    Checksum {
        /// Its place, from 1.
        signal: usize,
        /// In the header.
        promised: i16,
        /// Of the file.
        computed: i16,
    },
}

/// A recording, in memory.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    rate_nhz: u64,
    signals: Vec<Signal>,
}

#[derive(Clone, Debug, PartialEq)]
struct Signal {
    /// "Description": for an ECG, its lead.
    name: String,
    /// Steps in a microvolt.
    gain: f64,
    baseline: i32,
    checksum: Option<i16>,
    samples: Vec<i16>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Format {
    Sixteen,
    TwoTwelve,
}

impl Record {
    /// A recording, from the text of its header and the bytes of its signal file.
    ///
    /// # Errors
    /// When the header is not one that can be played, or the bytes are not those it promises.
    pub fn parse(header: &str, signals: &[u8]) -> Result<Self, RecordError> {
        let mut header = Header::parse(header)?;
        let count = header.signals.len();
        let body = signals.get(header.offset..).unwrap_or_default();
        let length = match header.length {
            Some(length) => length,
            None => header.format.samples_in(body.len()) / count.max(1),
        };
        let total = length.checked_mul(count).filter(|total| *total <= SAMPLES_MAX);
        let total = total.ok_or(RecordError::TooLong)?;
        if total == 0 {
            return Err(RecordError::Empty);
        }
        let promised = header.format.bytes_of(total);
        let Some(body) = body.get(..promised) else {
            let promised = u64::try_from(promised.saturating_add(header.offset));
            let promised = promised.unwrap_or(u64::MAX);
            return Err(RecordError::Truncated { promised, found: signals.len() });
        };
        let mut samples = header.format.samples(body);
        for _ in 0..length {
            for (signal, sample) in header.signals.iter_mut().zip(&mut samples) {
                signal.samples.push(sample);
            }
        }
        for (signal, place) in header.signals.iter_mut().zip(1..) {
            if header.length.is_some() {
                signal.check(place)?;
            }
            signal.fill(header.format.missing());
        }
        Ok(Self { rate_nhz: header.rate_nhz, signals: header.signals })
    }

    /// The name of its signal file, which lies beside the header.
    ///
    /// # Errors
    /// When the header is not one that can be played.
    pub fn signal_file(header: &str) -> Result<String, RecordError> {
        Header::parse(header).map(|header| header.file)
    }

    /// Samples a second, as whole as they are.
    #[must_use]
    pub fn rate_hz(&self) -> u64 {
        self.rate_nhz / 1_000_000_000
    }

    /// The name of each signal, and its samples as they are in the file.
    pub fn signals(&self) -> impl Iterator<Item = (&str, &[i16])> {
        self.signals.iter().map(|signal| (signal.name.as_str(), signal.samples.as_slice()))
    }

    /// A recording of two leads as one byte a sample, as `ecg/README.md` describes it.
    pub(super) fn of_bytes(bytes: &[u8], names: [&str; 2]) -> Self {
        let signals = names.into_iter().enumerate().map(|(place, name)| Signal {
            name: name.to_owned(),
            gain: 0.04,
            baseline: 128,
            checksum: None,
            samples: bytes.iter().skip(place).step_by(2).copied().map(i16::from).collect(),
        });
        Self { rate_nhz: 250_000_000_000, signals: signals.collect() }
    }

    /// The signal that one of the tests likes first.
    pub(super) fn find(&self, is_it: impl Fn(&str) -> bool) -> Option<usize> {
        self.signals.iter().position(|signal| is_it(&signal.name))
    }

    /// Microvolts of a signal, so long after the start; begins anew after the last sample.
    ///
    /// In between, a straight line.
    pub(super) fn at(&self, signal: usize, at_us: u64) -> Option<f64> {
        // Nanohertz and microseconds: 10^15 of their product are a sample.
        const SAMPLE: u128 = 1_000_000_000_000_000;
        let signal = self.signals.get(signal)?;
        let passed = u128::from(at_us) * u128::from(self.rate_nhz);
        let length = u128::try_from(signal.samples.len()).ok().filter(|length| *length > 0)?;
        let place = |place: u128| {
            let sample = signal.samples.get(usize::try_from(place % length).ok()?)?;
            Some(f64::from(i32::from(*sample) - signal.baseline))
        };
        let (here, next) = (place(passed / SAMPLE)?, place(passed / SAMPLE + 1)?);
        // Parts in a million of the way to the next.
        let part = u32::try_from(passed % SAMPLE / 1_000_000_000).ok()?;
        let steps = here + (next - here) * (f64::from(part) / 1e6);
        Some((steps / signal.gain).clamp(-VOLTAGE_UV_MAX, VOLTAGE_UV_MAX))
    }
}

impl Signal {
    /// "A 16-bit signed checksum of all samples in the signal", header(5), "checksum".
    fn check(&self, place: usize) -> Result<(), RecordError> {
        let computed = self.samples.iter().fold(0_i16, |sum, sample| sum.wrapping_add(*sample));
        match self.checksum {
            Some(promised) if promised != computed => {
                Err(RecordError::Checksum { signal: place, promised, computed })
            }
            _ => Ok(()),
        }
    }

    /// Where a sample is missing the last one stands: nothing says that the line fell.
    fn fill(&mut self, missing: i16) {
        let mut last = i16::try_from(self.baseline).unwrap_or_default();
        for sample in &mut self.samples {
            if *sample == missing {
                *sample = last;
            }
            last = *sample;
        }
    }
}

impl Format {
    fn named(found: &str) -> Option<Self> {
        match found {
            spec::FORMAT_16 => Some(Self::Sixteen),
            spec::FORMAT_212 => Some(Self::TwoTwelve),
            _ => None,
        }
    }

    fn missing(self) -> i16 {
        match self {
            Self::Sixteen => spec::MISSING_16,
            Self::TwoTwelve => spec::MISSING_212,
        }
    }

    /// Bytes of so many samples; a last one without a second has two.
    fn bytes_of(self, samples: usize) -> usize {
        match self {
            Self::Sixteen => samples.saturating_mul(2),
            Self::TwoTwelve => (samples / 2).saturating_mul(3) + samples % 2 * 2,
        }
    }

    fn samples_in(self, bytes: usize) -> usize {
        match self {
            Self::Sixteen => bytes / 2,
            Self::TwoTwelve => bytes / 3 * 2 + usize::from(bytes % 3 == 2),
        }
    }

    /// The samples of all signals, in turns.
    fn samples(self, bytes: &[u8]) -> impl Iterator<Item = i16> {
        let group = if self == Self::Sixteen { 2 } else { 3 };
        bytes.chunks(group).flat_map(move |group| {
            let pair = match (self, group) {
                (Self::Sixteen, &[low, high]) => [Some(i16::from_le_bytes([low, high])), None],
                (Self::TwoTwelve, &[one, nibbles, two]) => {
                    [Some(twelve(one, nibbles)), Some(twelve(two, nibbles >> 4))]
                }
                (Self::TwoTwelve, &[one, nibbles]) => [Some(twelve(one, nibbles)), None],
                _ => [None, None],
            };
            pair.into_iter().flatten()
        })
    }
}

/// "The first sample is obtained from the 12 least significant bits of the first byte pair (stored
/// least significant byte first). The second sample is formed from the 4 remaining bits … (which
/// are the 4 high bits of the 12-bit sample) and the next byte", signal(5), "Format 212".
fn twelve(low: u8, nibble: u8) -> i16 {
    // Shifted to the sign bit and back.
    i16::from_le_bytes([low << 4, (nibble << 4) | (low >> 4)]) >> 4
}

#[cfg(test)]
mod tests;
