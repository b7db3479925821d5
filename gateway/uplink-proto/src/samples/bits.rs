//! Bits in bytes, highest first.

/// Puts bits into bytes.
#[derive(Debug, Default)]
pub(super) struct BitWriter {
    bytes: Vec<u8>,
    /// Bits of the last byte that are not written yet.
    free: u32,
}

impl BitWriter {
    /// The `count` low bits of `value`.
    pub(super) fn write(&mut self, value: u64, count: u32) {
        for place in (0..count).rev() {
            self.push(value >> place & 1 == 1);
        }
    }

    pub(super) fn write_zeros(&mut self, count: u64) {
        for _ in 0..count {
            self.push(false);
        }
    }

    fn push(&mut self, bit: bool) {
        if self.free == 0 {
            self.bytes.push(0);
            self.free = u8::BITS;
        }
        self.free -= 1;
        if let Some(last) = self.bytes.last_mut() {
            *last |= u8::from(bit) << self.free;
        }
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

/// Takes bits out of bytes.
#[derive(Debug)]
pub(super) struct BitReader<'b> {
    bytes: &'b [u8],
    /// Bits that were read.
    at: usize,
}

impl<'b> BitReader<'b> {
    pub(super) fn new(bytes: &'b [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// A number of `count` bits, 64 at most; `None` at the end.
    pub(super) fn read(&mut self, count: u32) -> Option<u64> {
        (0..count).try_fold(0_u64, |value, _| Some(value << 1 | u64::from(self.next()?)))
    }

    /// How many zeros come before the next one, which is read too.
    ///
    /// # Errors
    /// How many come before the end, if there is no more one.
    pub(super) fn read_zeros(&mut self) -> Result<u64, u64> {
        let mut zeros = 0;
        while !self.next().ok_or(zeros)? {
            zeros += 1;
        }
        Ok(zeros)
    }

    fn next(&mut self) -> Option<bool> {
        let byte = self.bytes.get(self.at / 8)?;
        let bit = byte >> (7 - self.at % 8) & 1;
        self.at += 1;
        Some(bit == 1)
    }
}
