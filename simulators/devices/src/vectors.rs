//! The golden vectors, for tests: what the sheets' examples look like on the wire.

use serde::Deserialize;

#[derive(Deserialize)]
struct File {
    vector: Vec<Vector>,
}

#[derive(Deserialize)]
struct Vector {
    from: String,
    bytes: String,
}

/// The bytes of every vector, or of those that one side sends.
pub(crate) fn frames(toml: &str, from: Option<&str>) -> Vec<Vec<u8>> {
    let file: File = toml::from_str(toml).unwrap();
    let byte = |hex: &str| u8::from_str_radix(hex, 16).unwrap();
    let wanted = file.vector.iter().filter(|one| from.is_none_or(|from| one.from == from));
    let frames = wanted.map(|one| one.bytes.split_whitespace().map(byte).collect());
    let frames: Vec<Vec<u8>> = frames.collect();
    assert!(!frames.is_empty());
    frames
}
