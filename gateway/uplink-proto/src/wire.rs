//! Reading and writing positional CBOR arrays.
//!
//! Not here: what the positions mean (see [`crate::envelope`]).

use ciborium::Value;
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

/// Encodes one value. Writing to memory cannot fail.
pub(crate) fn to_bytes(value: &Value) -> Vec<u8> {
    let mut bytes = Vec::new();
    let written = ciborium::into_writer(value, &mut bytes);
    debug_assert!(written.is_ok());
    bytes
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

/// A map with text keys.
pub(crate) fn map<'a>(entries: impl IntoIterator<Item = (&'a str, Value)>) -> Value {
    Value::Map(entries.into_iter().map(|(key, value)| (text(key), value)).collect())
}
