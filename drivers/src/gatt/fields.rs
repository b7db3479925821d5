//! The fields of a value, little-endian, one after the other.

use super::date_time::civil_ms_of;

/// What is left of a value.
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl Fields<'_> {
    /// The next bytes; `None` when there are not so many.
    pub(super) fn take<const LEN: usize>(&mut self) -> Option<[u8; LEN]> {
        let (head, tail) = self.0.split_first_chunk()?;
        self.0 = tail;
        Some(*head)
    }

    pub(super) fn u8(&mut self) -> Option<u8> {
        self.take::<1>().map(|[byte]| byte)
    }

    /// A Date Time, where the field is there; `Some(None)` where it is not, or says nothing.
    pub(super) fn date_time(&mut self, is_there: bool) -> Option<Option<i64>> {
        if is_there { self.take().map(civil_ms_of) } else { Some(None) }
    }

    pub(super) fn u16(&mut self) -> Option<u16> {
        self.take().map(u16::from_le_bytes)
    }
}
