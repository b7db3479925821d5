//! What is inside an observation: numbers, samples, scales, time stamps, labels, alarms.
//!
//! Read first: the protocol sheet, §5 (encodings), §6.9 (attributes) and §8 (alarms).
//!
//! Not here: what a physio-id or a state means to us (see [`super::nomenclature`]).
//!
//! # Invariants
//! - an attribute that is not known is skipped by its length
//! - NaN, infinities and what no [`Decimal`] holds are never a number

use super::reader::Reader;
use crate::medfloat;
use model::{decimal::Decimal, reading::shortened, time::civil_ms};
use std::{collections::BTreeMap, fmt};
use thiserror::Error;

/// Ids of attributes, §6.4, §6.9.
mod spec {
    pub(super) const LABEL: u16 = 0x0924;
    pub(super) const LABEL_STRING: u16 = 0x0927;
    pub(super) const NUMERIC: u16 = 0x0950;
    pub(super) const COMPOUND_NUMERIC: u16 = 0x094B;
    pub(super) const SAMPLE_ARRAY: u16 = 0x096E;
    pub(super) const COMPOUND_SAMPLE_ARRAY: u16 = 0x0967;
    pub(super) const SAMPLE_SPEC: u16 = 0x096D;
    pub(super) const SCALE: u16 = 0x096F;
    pub(super) const FIXED_VALUES: u16 = 0x0A16;
    pub(super) const SAMPLE_PERIOD: u16 = 0x098D;
    pub(super) const STAMP_ABSOLUTE: u16 = 0x0990;
    pub(super) const STAMP_RELATIVE: u16 = 0x0991;
    pub(super) const UNIT: u16 = 0x0996;
    pub(super) const ALERT_CONDITION: u16 = 0x0916;
    pub(super) const PATIENT_ALARMS: u16 = 0x0902;
    pub(super) const TECHNICAL_ALARMS: u16 = 0x0904;
    pub(super) const SYSTEM_ID: u16 = 0x0984;
    /// "EUI-64 style, 8 bytes"; more than twice of that is none.
    pub(super) const SYSTEM_ID_LEN_MAX: usize = 16;
    pub(super) const SYSTEM_MODEL: u16 = 0x0928;
    pub(super) const ABSOLUTE_TIME: u16 = 0x0987;
    pub(super) const RELATIVE_TIME: u16 = 0x098F;
    /// FLOAT specials, §5; 0x800001 is reserved by IEEE 11073-20601.
    pub(super) const NO_NUMBER: [u32; 5] = [0x7F_FFFF, 0x80_0000, 0x80_0001, 0x80_0002, 0x7F_FFFE];
    pub(super) const MANTISSA: u32 = 0x00FF_FFFF;
    /// "516 general + string", §8.
    pub(super) const WITH_STRING: u16 = 516;
}

/// Attributes that are read.
pub(super) const READ: [u16; 20] = [
    spec::LABEL,
    spec::LABEL_STRING,
    spec::NUMERIC,
    spec::COMPOUND_NUMERIC,
    spec::SAMPLE_ARRAY,
    spec::COMPOUND_SAMPLE_ARRAY,
    spec::SAMPLE_SPEC,
    spec::SCALE,
    spec::FIXED_VALUES,
    spec::SAMPLE_PERIOD,
    spec::STAMP_ABSOLUTE,
    spec::STAMP_RELATIVE,
    spec::UNIT,
    spec::ALERT_CONDITION,
    spec::PATIENT_ALARMS,
    spec::TECHNICAL_ALARMS,
    spec::SYSTEM_ID,
    spec::SYSTEM_MODEL,
    spec::ABSOLUTE_TIME,
    spec::RELATIVE_TIME,
];

/// The bytes of an attribute do not fit its type.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[error("attribute {id:#06x} of an object is malformed; it is skipped")]
pub struct AttributeError {
    /// The attribute.
    pub id: u16,
}

/// The attributes of one object, as sent.
#[derive(Clone, Default, Eq, PartialEq)]
pub struct Attributes(BTreeMap<u16, Vec<u8>>);

impl fmt::Debug for Attributes {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:04x?}", self.0.keys())
    }
}

impl Attributes {
    /// Reads an attribute list; `None` if it does not fit into what is around it.
    pub(super) fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let (count, mut list) = reader.list()?;
        let mut attributes = BTreeMap::new();
        for _ in 0..count {
            let id = list.u16()?;
            attributes.insert(id, list.layer()?.rest().to_vec());
        }
        Some(Self(attributes))
    }

    pub(super) fn get(&self, id: u16) -> Option<Reader<'_>> {
        self.0.get(&id).map(|value| Reader::new(value))
    }

    /// Bytes that are kept for them, roughly.
    pub(super) fn weight(&self) -> usize {
        self.0.values().map(|value| size_of_val(value) + value.len()).sum()
    }

    /// Reads one attribute, if it is there.
    fn parsed<T>(
        &self,
        id: u16,
        parse: impl FnOnce(&mut Reader<'_>) -> Option<T>,
    ) -> Result<Option<T>, AttributeError> {
        let Some(mut reader) = self.get(id) else { return Ok(None) };
        parse(&mut reader).map(Some).ok_or(AttributeError { id })
    }

    /// Reads one attribute that holds one thing, or one that holds a list of them.
    fn single_or_compound<T>(
        &self,
        single: u16,
        compound: u16,
        parse: fn(&mut Reader<'_>) -> Option<T>,
    ) -> Result<Vec<T>, AttributeError> {
        let one = self.parsed(single, parse)?;
        let many = self.parsed(compound, |reader| items(reader, parse))?;
        Ok(one.into_iter().chain(many.into_iter().flatten()).collect())
    }

    /// The numbers of a numeric object: one, or the parts of a compound.
    ///
    /// # Errors
    /// One of the two attributes is malformed.
    pub fn numerics(&self) -> Result<Vec<Numeric>, AttributeError> {
        self.single_or_compound(spec::NUMERIC, spec::COMPOUND_NUMERIC, Numeric::read)
    }

    /// The samples of a wave object.
    ///
    /// # Errors
    /// One of the two attributes is malformed.
    pub fn sample_arrays(&self) -> Result<Vec<SampleArray>, AttributeError> {
        let (single, compound) = (spec::SAMPLE_ARRAY, spec::COMPOUND_SAMPLE_ARRAY);
        self.single_or_compound(single, compound, SampleArray::read)
    }

    /// How samples are packed.
    ///
    /// # Errors
    /// The attribute is malformed.
    pub fn sample_spec(&self) -> Result<Option<SampleSpec>, AttributeError> {
        self.parsed(spec::SAMPLE_SPEC, |reader| {
            Some(SampleSpec {
                array_len: reader.u16()?,
                bits: reader.u8()?,
                significant_bits: reader.u8()?,
                flags: reader.u16()?,
            })
        })
    }

    /// What samples mean.
    ///
    /// # Errors
    /// The attribute is malformed.
    pub fn scale(&self) -> Result<Option<ScaleRange>, AttributeError> {
        self.parsed(spec::SCALE, |reader| {
            Some(ScaleRange {
                lower: float(reader.u32()?),
                upper: float(reader.u32()?),
                raw_lower: reader.u16()?,
                raw_upper: reader.u16()?,
            })
        })
    }

    /// Which samples mean something else than a height.
    ///
    /// # Errors
    /// The attribute is malformed.
    pub fn fixed_values(&self) -> Result<Option<Vec<FixedValue>>, AttributeError> {
        self.parsed(spec::FIXED_VALUES, |reader| {
            items(reader, |item| Some(FixedValue { id: item.u16()?, mask: item.u16()? }))
        })
    }

    /// Ticks of 125 µs from one sample to the next.
    #[must_use]
    pub fn sample_period(&self) -> Option<u32> {
        self.get(spec::SAMPLE_PERIOD)?.u32()
    }

    /// The object's unit.
    #[must_use]
    pub fn unit(&self) -> Option<u16> {
        self.get(spec::UNIT)?.u16()
    }

    /// The object's label and how the monitor writes it.
    #[must_use]
    pub fn label(&self) -> Option<Label> {
        let code = self.get(spec::LABEL)?.u32()?;
        let text = self.get(spec::LABEL_STRING).and_then(|mut reader| string(&mut reader));
        Some(Label { code, text: text.unwrap_or_default() })
    }

    /// When the object's value was measured, civil milliseconds of the monitor's clock.
    #[must_use]
    pub fn stamp_absolute(&self) -> Option<i64> {
        absolute_time(self.get(spec::STAMP_ABSOLUTE)?.array()?)
    }

    /// When the object's value was measured, ticks of the monitor.
    #[must_use]
    pub fn stamp_relative(&self) -> Option<u32> {
        self.get(spec::STAMP_RELATIVE)?.u32()
    }

    /// What alarms stand, in a few numbers.
    #[must_use]
    pub fn alert_condition(&self) -> Option<AlertCondition> {
        let mut reader = self.get(spec::ALERT_CONDITION)?;
        let [_state, _counter, patient, technical] = [(); 4].map(|()| reader.u16());
        Some(AlertCondition { patient: patient?, technical: technical? })
    }

    /// The patient's alarms that stand.
    ///
    /// # Errors
    /// The attribute is malformed.
    pub fn patient_alarms(&self) -> Result<Option<Vec<AlarmEntry>>, AttributeError> {
        self.parsed(spec::PATIENT_ALARMS, |reader| items(reader, AlarmEntry::read))
    }

    /// The monitor's own alarms that stand.
    ///
    /// # Errors
    /// The attribute is malformed.
    pub fn technical_alarms(&self) -> Result<Option<Vec<AlarmEntry>>, AttributeError> {
        self.parsed(spec::TECHNICAL_ALARMS, |reader| items(reader, AlarmEntry::read))
    }

    /// The monitor's identity, as hexadecimal digits.
    #[must_use]
    pub fn system_id(&self) -> Option<String> {
        let id = self.get(spec::SYSTEM_ID)?.layer()?.rest();
        let digits = id.iter().take(spec::SYSTEM_ID_LEN_MAX).map(|byte| format!("{byte:02x}"));
        (!id.is_empty()).then(|| digits.collect())
    }

    /// Manufacturer and model.
    #[must_use]
    pub fn system_model(&self) -> Option<(String, String)> {
        let mut reader = self.get(spec::SYSTEM_MODEL)?;
        let mut text = || {
            let letters = reader.layer()?.rest();
            let printable = letters.iter().filter(|byte| byte.is_ascii_graphic() || **byte == b' ');
            let text: String = printable.map(|&byte| char::from(byte)).collect();
            Some(shortened(text.trim()))
        };
        Some((text()?, text()?))
    }

    /// The monitor's clock, civil milliseconds.
    #[must_use]
    pub fn absolute_time(&self) -> Option<i64> {
        absolute_time(self.get(spec::ABSOLUTE_TIME)?.array()?)
    }

    /// The monitor's ticks at [`Self::absolute_time`].
    #[must_use]
    pub fn relative_time(&self) -> Option<u32> {
        self.get(spec::RELATIVE_TIME)?.u32()
    }
}

/// The items of a list.
fn items<T>(
    reader: &mut Reader<'_>,
    parse: impl Fn(&mut Reader<'_>) -> Option<T>,
) -> Option<Vec<T>> {
    let (count, mut list) = reader.list()?;
    (0..count).map(|_| parse(&mut list)).collect()
}

/// A number, or that there is none.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Float {
    /// With the digits as sent.
    Number(Decimal),
    /// NaN, not at this resolution, an infinity.
    Absent,
    /// An exponent beyond what anybody measures; as sent.
    Outside(u32),
}

impl Float {
    /// The number, if it is one.
    #[must_use]
    pub const fn number(self) -> Option<Decimal> {
        match self {
            Self::Number(number) => Some(number),
            Self::Absent | Self::Outside(_) => None,
        }
    }
}

/// "Top byte = signed exponent, low 24 bits = signed mantissa", §5.
#[must_use]
pub fn float(raw: u32) -> Float {
    // Here a special value is one with any exponent.
    if spec::NO_NUMBER.contains(&(raw & spec::MANTISSA)) {
        return Float::Absent;
    }
    medfloat::float(raw).number().map_or(Float::Outside(raw), Float::Number)
}

/// "8 BCD bytes: century, year, month, day, hour, minute, second, fraction; all 0xFF = not
/// available", §5. The fraction is left out: its unit is not confirmed.
#[must_use]
pub fn absolute_time(bytes: [u8; 8]) -> Option<i64> {
    let digits = |byte: u8| {
        let (tens, ones) = (byte >> 4, byte & 0x0F);
        (tens < 10 && ones < 10).then_some(u32::from(tens * 10 + ones))
    };
    let [century, year, month, day, hour, minute, second, _] = bytes.map(digits);
    let year = i32::try_from(century? * 100 + year?).ok()?;
    civil_ms(year, month?, day?, hour?, minute?, second?)
}

/// "u16 byte length, then UTF-16BE characters, usually NUL-terminated", §5.
fn string(reader: &mut Reader<'_>) -> Option<String> {
    let (pairs, _) = reader.layer()?.rest().as_chunks::<2>();
    let letters: Vec<_> =
        pairs.iter().map(|pair| u16::from_be_bytes(*pair)).take_while(|&unit| unit != 0).collect();
    Some(shortened(String::from_utf16_lossy(&letters).trim()))
}

/// One number of a numeric object.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Numeric {
    /// What was measured.
    pub physio_id: u16,
    /// How it is doing, §8.
    pub state: u16,
    /// Its unit.
    pub unit: u16,
    /// The value.
    pub value: Float,
}

impl Numeric {
    fn read(reader: &mut Reader<'_>) -> Option<Self> {
        Some(Self {
            physio_id: reader.u16()?,
            state: reader.u16()?,
            unit: reader.u16()?,
            value: float(reader.u32()?),
        })
    }
}

/// Some samples of a wave.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SampleArray {
    /// What was measured.
    pub physio_id: u16,
    /// How it is doing, §8.
    pub state: u16,
    /// Packed as the [`SampleSpec`] says.
    pub bytes: Vec<u8>,
}

impl SampleArray {
    fn read(reader: &mut Reader<'_>) -> Option<Self> {
        Some(Self {
            physio_id: reader.u16()?,
            state: reader.u16()?,
            bytes: reader.layer()?.rest().to_vec(),
        })
    }
}

/// How the samples of a wave are packed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SampleSpec {
    /// Samples in an array, usually.
    pub array_len: u16,
    /// Bits a sample takes: 8 or 16.
    pub bits: u8,
    /// Bits of them that are the height.
    pub significant_bits: u8,
    /// Smooth, delayed, static scale, extended value range.
    pub flags: u16,
}

/// What the samples of a wave mean: two points of a straight line.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ScaleRange {
    /// The value at `raw_lower`.
    pub lower: Float,
    /// The value at `raw_upper`.
    pub upper: Float,
    /// A sample.
    pub raw_lower: u16,
    /// Another sample.
    pub raw_upper: u16,
}

/// A mark in samples.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct FixedValue {
    /// 1 invalid, 2 pacer, 3 defibrillator, 4 saturation, 5 QRS.
    pub id: u16,
    /// A sample with these bits has it.
    pub mask: u16,
}

/// What an object is called on the monitor.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Label {
    /// The label's number.
    pub code: u32,
    /// As shown on the monitor; empty where it was not sent.
    pub text: String,
}

/// The highest alarms that stand; 0 where none does.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct AlertCondition {
    /// Of the patient.
    pub patient: u16,
    /// Of the monitor.
    pub technical: u16,
}

/// One alarm that stands, §8.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AlarmEntry {
    /// Physio-id of what it is about.
    pub source: u16,
    /// What it says.
    pub code: u16,
    /// How urgent, and of which kind.
    pub kind: u16,
    /// Inhibited, suspended, latched, silenced, new.
    pub state: u16,
    /// Handle of the object it is about.
    pub handle: u16,
    /// Number of the text.
    pub text_id: Option<u32>,
    /// The device's own rank.
    pub priority: Option<u16>,
    /// Where it can be heard, what latches.
    pub flags: u16,
    /// The text, where it was sent.
    pub text: String,
}

impl AlarmEntry {
    fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let [source, code, kind, state] =
            [reader.u16()?, reader.u16()?, reader.u16()?, reader.u16()?];
        let [_class, _context, handle] = [reader.u16()?, reader.u16()?, reader.u16()?];
        let info_id = reader.u16()?;
        let mut info = reader.layer()?;
        let _instance = info.u16();
        let (text_id, priority) = (info.u32(), info.u16());
        let flags = info.u16().unwrap_or_default();
        let text = (info_id == spec::WITH_STRING).then(|| string(&mut info)).flatten();
        let text = text.unwrap_or_default();
        Some(Self { source, code, kind, state, handle, text_id, priority, flags, text })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_float(raw: u32, expected: &str) {
        assert_eq!(float(raw).number().unwrap().to_string(), expected, "{raw:#010x}");
    }

    /// Sheet §5, check vectors of a public unit test.
    #[test]
    fn floats_keep_their_digits() {
        check_float(0xFD00_7D00, "32.000");
        check_float(0xFF00_0140, "32.0");
        check_float(0x0100_0140, "3200");
        check_float(0x0200_0020, "3200");
        check_float(0xFEFF_F000, "-40.96");
    }

    #[test]
    fn what_is_no_number_never_becomes_one() {
        for mantissa in spec::NO_NUMBER {
            for exponent in [0, 0xFF00_0000, 0x0200_0000] {
                assert_eq!(float(exponent | mantissa), Float::Absent);
            }
        }
        assert_eq!(float(0x7F00_0001), Float::Outside(0x7F00_0001));
    }

    #[test]
    fn a_time_that_is_not_there_is_none() {
        let time = [0x20, 0x26, 0x11, 0x22, 0x08, 0x30, 0x00, 0x99];
        assert_eq!(absolute_time(time), Some(1_795_336_200_000));
        assert_eq!(absolute_time([0xFF; 8]), None);
        assert_eq!(absolute_time([0x20, 0x26, 0x02, 0x30, 0, 0, 0, 0]), None);
        assert_eq!(absolute_time([0x20, 0x2A, 0x01, 0x01, 0, 0, 0, 0]), None);
    }

    #[test]
    fn a_list_that_says_more_than_it_holds_is_refused() {
        let mut short = Reader::new(&[0, 2, 0, 6, 0x09, 0x21, 0, 2, 0, 1]);
        assert!(Attributes::read(&mut short).is_none());
        let mut beyond = Reader::new(&[0, 1, 0, 7, 0x09, 0x21, 0, 2, 0, 1]);
        assert!(Attributes::read(&mut beyond).is_none());
    }

    #[test]
    fn a_malformed_attribute_is_named() {
        let bytes = [0, 1, 0, 8, 0x09, 0x50, 0, 4, 0x41, 0x82, 0, 0];
        let attributes = Attributes::read(&mut Reader::new(&bytes)).unwrap();
        assert_eq!(attributes.numerics(), Err(AttributeError { id: 0x0950 }));
    }

    #[test]
    fn a_label_is_read_up_to_its_end() {
        let text: Vec<u8> = "Tesoph\0".encode_utf16().flat_map(u16::to_be_bytes).collect();
        let value = [&[0, 14][..], &text].concat();
        let bytes =
            [&[0, 2, 0, 28, 0x09, 0x24, 0, 4, 0, 2, 0xE0, 0x14, 0x09, 0x27, 0, 16][..], &value];
        let attributes = Attributes::read(&mut Reader::new(&bytes.concat())).unwrap();
        let label = Label { code: 0x0002_E014, text: "Tesoph".to_owned() };
        assert_eq!(attributes.label(), Some(label));
    }
}
