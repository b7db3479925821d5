//! Cuts big-endian fields and nested parts off a message, never beyond its end.

/// What is left of a message or of one of its layers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(super) fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(count)?;
        self.rest = rest;
        Some(taken)
    }

    pub(super) fn u8(&mut self) -> Option<u8> {
        let (&byte, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(byte)
    }

    pub(super) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.rest.split_first_chunk()?;
        self.rest = rest;
        Some(*taken)
    }

    /// A layer: its length in two bytes, then the layer. "Each length counts the bytes after
    /// itself in that layer", §6.3.
    pub(super) fn layer(&mut self) -> Option<Self> {
        let len = self.u16()?;
        self.take(len.into()).map(Self::new)
    }

    /// A list: the number of its items, and the layer that holds them.
    pub(super) fn list(&mut self) -> Option<(u16, Self)> {
        let count = self.u16()?;
        Some((count, self.layer()?))
    }

    pub(super) fn rest(self) -> &'a [u8] {
        self.rest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layer_ends_inside_the_layer_around_it() {
        let mut reader = Reader::new(&[0, 2, 0xAA, 0xBB, 0, 3, 0xCC, 0xDD]);
        assert_eq!(reader.layer().and_then(|mut layer| layer.u16()), Some(0xAABB));
        assert!(reader.layer().is_none(), "three bytes are said, two are there");
    }
}
