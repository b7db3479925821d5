//! Reading and writing positional CBOR arrays.
//!
//! Not here: what the positions mean (see [`crate::envelope`]).

use ciborium::Value;
use model::time::Uptime;
use thiserror::Error;

/// Why bytes are no message of this protocol.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum DecodeError {
    /// More bytes than any message has.
    #[error("the message has {len} bytes, more than the {max} allowed; it is kept aside")]
    TooLong {
        /// Bytes received.
        len: usize,
        /// Bytes allowed.
        max: usize,
    },
    /// No CBOR, or bytes after its end.
    #[error("the message is not one CBOR item; it is kept aside")]
    NotCbor,
    /// CBOR of another shape.
    #[error("the message lacks {0} in the form of protocol version 1; it is kept aside")]
    Shape(&'static str),
}

/// Major types whose items are written one by one (RFC 8949, section 3.1).
pub(crate) const BYTES: u8 = 2;
pub(crate) const ARRAY: u8 = 4;
pub(crate) const MAP: u8 = 5;

/// Encodes one value.
pub(crate) fn to_bytes(value: &Value) -> Vec<u8> {
    let mut bytes = Vec::new();
    write(&mut bytes, value);
    bytes
}

/// Encodes one value behind what is there. Writing to memory cannot fail.
pub(crate) fn write(bytes: &mut Vec<u8>, value: &Value) {
    let written = ciborium::into_writer(value, bytes);
    debug_assert!(written.is_ok());
}

/// Encodes how many items or bytes of a major type follow.
pub(crate) fn write_head(bytes: &mut Vec<u8>, major: u8, len: usize) {
    /// "The additional information": the length itself, or that it has so many bytes.
    const IN_1_BYTE: u8 = 24;
    const IN_2_BYTES: u8 = 25;
    const IN_4_BYTES: u8 = 26;
    let major = major << 5;
    match (u8::try_from(len), u16::try_from(len)) {
        (Ok(len @ 0..IN_1_BYTE), _) => bytes.push(major | len),
        (Ok(len), _) => bytes.extend([major | IN_1_BYTE, len]),
        (_, Ok(len)) => {
            bytes.push(major | IN_2_BYTES);
            bytes.extend(len.to_be_bytes());
        }
        // Nothing that is written is longer than 4 GiB.
        _ => {
            bytes.push(major | IN_4_BYTES);
            bytes.extend(u32::try_from(len).unwrap_or(u32::MAX).to_be_bytes());
        }
    }
}

/// Decodes exactly one value of at most `max` bytes.
pub(crate) fn from_bytes(bytes: &[u8], max: usize) -> Result<Value, DecodeError> {
    if bytes.len() > max {
        return Err(DecodeError::TooLong { len: bytes.len(), max });
    }
    let (value, rest) = first_item(bytes)?;
    if rest.is_empty() { Ok(value) } else { Err(DecodeError::NotCbor) }
}

/// Decodes the value at the beginning; what comes after it.
pub(crate) fn first_item(bytes: &[u8]) -> Result<(Value, &[u8]), DecodeError> {
    let mut rest = bytes;
    let value = ciborium::from_reader(&mut rest).map_err(|_| DecodeError::NotCbor)?;
    Ok((value, rest))
}

/// The value under a text key of a map.
pub(crate) fn field<'a>(map: &'a Value, key: &'static str) -> Result<&'a Value, DecodeError> {
    let entries = map.as_map().ok_or(DecodeError::Shape("a map"))?;
    let entry = entries.iter().find(|(name, _)| name.as_text() == Some(key));
    entry.map(|(_, value)| value).ok_or(DecodeError::Shape(key))
}

/// Takes the positions of an array one by one; positions nobody asks for are of the future.
pub(crate) struct Positions<'a> {
    rest: std::slice::Iter<'a, Value>,
}

impl<'a> Positions<'a> {
    pub(crate) fn of(value: &'a Value) -> Option<Self> {
        Some(Self { rest: value.as_array()?.iter() })
    }

    pub(crate) fn next(&mut self) -> Option<&'a Value> {
        self.rest.next()
    }

    pub(crate) fn int<T: TryFrom<i128>>(&mut self) -> Option<T> {
        int(self.next()?)
    }

    pub(crate) fn text(&mut self) -> Option<&'a str> {
        self.next()?.as_text()
    }
}

/// An integer in the range of `T`.
pub(crate) fn int<T: TryFrom<i128>>(value: &Value) -> Option<T> {
    T::try_from(i128::from(value.as_integer()?)).ok()
}

/// An integer as a value.
pub(crate) fn number(value: impl Into<ciborium::value::Integer>) -> Value {
    Value::Integer(value.into())
}

/// A text as a value.
pub(crate) fn text(value: &str) -> Value {
    Value::Text(value.to_owned())
}

/// An uptime as a value.
pub(crate) fn uptime(Uptime { boot, ms }: Uptime) -> Value {
    Value::Array(vec![number(boot), number(ms)])
}

/// The uptime under the key `k` of a map, if there is one.
pub(crate) fn read_uptime(map: &Value) -> Result<Option<Uptime>, DecodeError> {
    let Ok(value) = field(map, "k") else { return Ok(None) };
    let read = |mut at: Positions<'_>| Some(Uptime { boot: at.int()?, ms: at.int()? });
    Positions::of(value).and_then(read).map(Some).ok_or(DecodeError::Shape("k"))
}

/// A map with text keys.
pub(crate) fn map<const N: usize>(entries: [(&str, Value); N]) -> Value {
    Value::Map(entries.into_iter().map(|(key, value)| (text(key), value)).collect())
}
