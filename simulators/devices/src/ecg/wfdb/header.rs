//! The text of a WFDB header: header(5).
//!
//! Not here: the samples.

use super::{Format, HEADER_BYTES_MAX, RecordError, Signal};
use crate::ecg::rounding::whole;

/// Facts from header(5).
mod spec {
    /// "Lines (which may not contain more than 255 characters each, including the linefeed)",
    /// "Description".
    pub(super) const LINE_BYTES_MAX: usize = 255;
    /// "If it is missing, a value of 250 … is assumed", "sampling frequency".
    pub(super) const RATE_DEFAULT: &str = "250";
    /// "If the units field is absent, the physical unit may be assumed to be one millivolt",
    /// "units".
    pub(super) const UNITS_DEFAULT: &str = "mV";
}

/// Twelve leads, and what else a bedside monitor records.
const SIGNALS_MAX: usize = 32;
/// No ECG is sampled faster.
const RATE_HZ_MAX: f64 = 100_000.0;
/// A baseline is within this, so that its difference from a sample is a number.
const BASELINE_MAX: i32 = 1_000_000_000;

/// What a header says.
#[derive(Debug)]
pub(super) struct Header {
    pub(super) rate_nhz: u64,
    /// Samples a signal, if it says so.
    pub(super) length: Option<usize>,
    pub(super) file: String,
    pub(super) format: Format,
    /// Bytes of the file before the first sample.
    pub(super) offset: usize,
    pub(super) signals: Vec<Signal>,
}

impl Header {
    /// A header that can be played.
    pub(super) fn parse(text: &str) -> Result<Self, RecordError> {
        if text.len() > HEADER_BYTES_MAX {
            return Err(RecordError::HeaderTooLong { bytes: text.len() });
        }
        let mut lines = Vec::new();
        for (line, number) in text.lines().zip(1..) {
            if line.len() >= spec::LINE_BYTES_MAX {
                return Err(RecordError::LineTooLong { line: number });
            }
            let line = line.trim();
            if !line.is_empty() && !line.starts_with('#') {
                lines.push(Line { number, fields: line.split_ascii_whitespace().collect() });
            }
        }
        let (record, signals) = lines.split_first().ok_or(RecordError::NoRecordLine)?;
        if record.field(0).contains('/') {
            return Err(RecordError::Segments);
        }
        let count = record.number(1, "number of signals").and_then(|count| match count {
            1..=SIGNALS_MAX => Ok(count),
            _ => Err(record.wrong("number of signals", record.field(1), "1 to 32")),
        })?;
        // Without the counter's own frequency.
        let rate = record.fields.get(2).copied().unwrap_or(spec::RATE_DEFAULT);
        let rate = rate.split_once('/').map_or(rate, |(rate, _counter)| rate);
        let rate_nhz = nanohertz(rate).ok_or_else(|| {
            record.wrong("sampling frequency", rate, "a number above 0 and up to 100000")
        })?;
        let length = match record.fields.get(3) {
            Some(_) => Some(record.number(3, "number of samples")?).filter(|length| *length > 0),
            None => None,
        };
        let signals = signals
            .get(..count)
            .ok_or(RecordError::SignalsMissing { promised: count, found: signals.len() })?;
        let described = signals.iter().zip(1..).map(|(line, place)| line.signal(place));
        let described = described.collect::<Result<Vec<Described>, RecordError>>()?;
        let Some(Described { file, format, offset, .. }) = described.first().cloned() else {
            return Err(RecordError::NoRecordLine);
        };
        for (line, signal) in signals.iter().zip(&described) {
            if signal.file != file {
                return Err(RecordError::SeveralFiles { one: file, other: signal.file.clone() });
            }
            if (signal.format, signal.offset) != (format, offset) {
                return Err(line.wrong("format", line.field(1), "that of the first signal"));
            }
        }
        let signals = described.into_iter().map(|described| described.signal).collect();
        Ok(Self { rate_nhz, length, file, format, offset, signals })
    }
}

/// What a signal specification line says.
#[derive(Clone, Debug)]
struct Described {
    file: String,
    format: Format,
    offset: usize,
    signal: Signal,
}

/// A line of the header that is no comment.
struct Line<'a> {
    number: usize,
    fields: Vec<&'a str>,
}

impl Line<'_> {
    fn field(&self, place: usize) -> &str {
        self.fields.get(place).copied().unwrap_or_default()
    }

    fn wrong(&self, field: &'static str, found: &str, expected: &'static str) -> RecordError {
        RecordError::Field { line: self.number, field, found: found.to_owned(), expected }
    }

    fn number(&self, place: usize, field: &'static str) -> Result<usize, RecordError> {
        let found = self.field(place);
        found.parse().map_err(|_| self.wrong(field, found, "a whole number"))
    }

    /// File name, format, ADC gain, ADC resolution, ADC zero, initial value, checksum, block size,
    /// description: header(5), "Signal specification lines".
    fn signal(&self, place: usize) -> Result<Described, RecordError> {
        let file = self.field(0);
        let beside = !file.contains(['/', '\\']) && !["-", "~", ".", ".."].contains(&file);
        if !beside {
            return Err(self.wrong("file name", file, "the name of a file beside the header"));
        }
        let (format, offset) = self.format()?;
        let gain =
            self.fields.get(2).copied().ok_or(RecordError::Uncalibrated { signal: place })?;
        let (gain, units) = gain.split_once('/').unwrap_or((gain, spec::UNITS_DEFAULT));
        let (gain, baseline) = match gain.split_once('(') {
            Some((gain, baseline)) => (gain, Some(baseline.trim_end_matches(')'))),
            None => (gain, None),
        };
        let steps: Option<f64> = gain.parse().ok();
        let steps = steps.filter(|steps| steps.is_finite());
        let steps = steps.ok_or_else(|| self.wrong("ADC gain", gain, "steps in a unit"))?;
        let per_unit = match units {
            "mV" => 1e3,
            "uV" => 1.0,
            "V" => 1e6,
            _ => return Err(self.wrong("units", units, "mV, uV or V")),
        };
        let gain = steps / per_unit;
        // "If the gain is zero or missing, this indicates that the signal amplitude is
        // uncalibrated; … 200 … may be assumed": not where a number on a monitor follows from it.
        if gain == 0.0 {
            return Err(RecordError::Uncalibrated { signal: place });
        }
        // "If absent, the baseline is taken to be equal to the ADC zero", and that to be zero.
        let zero = baseline.or(self.fields.get(4).copied()).unwrap_or("0");
        let baseline: Option<i32> = zero.parse().ok();
        let baseline = baseline.filter(|zero| (-BASELINE_MAX..=BASELINE_MAX).contains(zero));
        let baseline = baseline.ok_or_else(|| self.wrong("baseline", zero, "a whole number"))?;
        let checksum = match self.fields.get(6) {
            Some(found) => Some(self.checksum(found)?),
            None => None,
        };
        let name = self.fields.get(8..).map(|words| words.join(" ")).unwrap_or_default();
        let signal = Signal { name, gain, baseline, checksum, samples: Vec::new() };
        Ok(Described { file: file.to_owned(), format, offset, signal })
    }

    /// A format may have samples per frame, skew and byte offset behind it: `16x2:100+512`.
    fn format(&self) -> Result<(Format, usize), RecordError> {
        let found = self.field(1);
        let (layout, offset) = found.split_once('+').unwrap_or((found, "0"));
        let offset = offset
            .parse()
            .map_err(|_| self.wrong("byte offset", found, "a whole number of bytes"))?;
        let layout = layout.strip_suffix(":0").unwrap_or(layout);
        let layout = layout.strip_suffix("x1").unwrap_or(layout);
        if layout.contains(['x', ':']) {
            let expected = "one sample a frame, and no skew";
            return Err(self.wrong("format", found, expected));
        }
        let format = Format::named(layout);
        format
            .map(|format| (format, offset))
            .ok_or_else(|| RecordError::Format { found: layout.to_owned() })
    }

    /// Written as a signed number, by some as an unsigned one.
    fn checksum(&self, found: &str) -> Result<i16, RecordError> {
        let number: i32 =
            found.parse().map_err(|_| self.wrong("checksum", found, "a whole number"))?;
        let unsigned = u16::try_from(number).map(u16::cast_signed);
        i16::try_from(number).or(unsigned).map_err(|_| self.wrong("checksum", found, "of 16 bits"))
    }
}

/// "In any format legal for scanf(3) input of floating point numbers (thus `360', `360.', `360.0',
/// and `3.6e2' are all legal)", header(5).
fn nanohertz(text: &str) -> Option<u64> {
    let hz: f64 = text.parse().ok().filter(|hz| *hz <= RATE_HZ_MAX)?;
    u64::try_from(whole(hz * 1e9)).ok().filter(|nhz| *nhz > 0)
}
