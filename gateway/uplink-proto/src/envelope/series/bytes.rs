//! Numbers and texts in the bytes of a series.
//!
//! A number is 7 bits a byte, lowest first; the highest bit says that more follow. A signed number
//! is its zigzag: 0, -1, 1, -2 … are 0, 1, 2, 3 …. A text is told once and numbered: 0 and its
//! length and bytes where it is told, its number and 1 afterwards.

use crate::samples::{unzigzag, zigzag};
use model::reading::{TEXT_LEN_MAX, shortened};

/// Ten times 7 bits hold 64.
const NUMBER_LEN_MAX: usize = 10;

/// Bytes that grow.
#[derive(Clone, Debug)]
pub(super) struct Writer {
    bytes: Vec<u8>,
    /// The first is empty and needs no telling.
    texts: Vec<String>,
    told: usize,
}

impl Writer {
    pub(super) fn new() -> Self {
        Self { bytes: Vec::new(), texts: vec![String::new()], told: 1 }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(super) fn truncate(&mut self, len: usize) {
        self.bytes.truncate(len);
    }

    pub(super) fn number(&mut self, mut number: u64) {
        while let Some(more) = Some(number >> 7).filter(|more| *more > 0) {
            self.bytes.push(low_bits(number) | 0x80);
            number = more;
        }
        self.bytes.push(low_bits(number));
    }

    pub(super) fn signed(&mut self, number: i64) {
        self.number(zigzag(number));
    }

    /// The number of a text, which has to be written next if it is new.
    pub(super) fn number_of(&mut self, text: &str) -> u64 {
        let known = self.texts.iter().position(|known| known == text);
        let place = known.unwrap_or_else(|| {
            self.texts.push(text.to_owned());
            self.texts.len() - 1
        });
        u64::try_from(place).unwrap_or(u64::MAX)
    }

    pub(super) fn text(&mut self, number: u64) {
        let place = usize::try_from(number).unwrap_or(usize::MAX);
        match self.texts.get(place) {
            Some(text) if place >= self.told => {
                let text = text.clone();
                self.told += 1;
                self.number(0);
                self.number(u64::try_from(text.len()).unwrap_or(u64::MAX));
                self.bytes.extend_from_slice(text.as_bytes());
            }
            _ => self.number(number.saturating_add(1)),
        }
    }
}

/// Bytes that are read.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
    texts: Vec<String>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, texts: vec![String::new()] }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(super) fn number(&mut self) -> Option<u64> {
        let mut number = 0;
        for place in 0..NUMBER_LEN_MAX {
            let (&byte, rest) = self.rest.split_first()?;
            self.rest = rest;
            let bits = u64::from(byte & 0x7f);
            let shift = u32::try_from(7 * place).ok()?;
            let shifted = bits << shift;
            if shifted >> shift != bits {
                return None;
            }
            number |= shifted;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    pub(super) fn signed(&mut self) -> Option<i64> {
        self.number().map(unzigzag)
    }

    /// A number that is a place in memory.
    pub(super) fn count(&mut self) -> Option<usize> {
        usize::try_from(self.number()?).ok()
    }

    /// The number of the text that is told or named here.
    pub(super) fn text(&mut self) -> Option<u64> {
        if let Some(number) = self.number()?.checked_sub(1) {
            self.told(number)?;
            return Some(number);
        }
        let len = self.count().filter(|len| *len <= TEXT_LEN_MAX)?;
        let (text, rest) = self.rest.split_at_checked(len)?;
        self.rest = rest;
        self.texts.push(shortened(std::str::from_utf8(text).ok()?));
        u64::try_from(self.texts.len() - 1).ok()
    }

    pub(super) fn told(&self, number: u64) -> Option<&str> {
        self.texts.get(usize::try_from(number).ok()?).map(String::as_str)
    }
}

fn low_bits(number: u64) -> u8 {
    u8::try_from(number & 0x7f).unwrap_or_default()
}
