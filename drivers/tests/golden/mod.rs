//! Where golden vectors are and how they are written. What one means, only its test knows.

use serde::{Deserialize, de::DeserializeOwned};
use std::{fs, path::Path};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File<V> {
    vector: Vec<V>,
}

/// All vectors of the driver of that name.
pub(crate) fn vectors<V: DeserializeOwned>(driver: &str) -> Vec<V> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/vectors").join(driver);
    let mut vectors = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let file: File<V> = toml::from_str(&fs::read_to_string(&path).unwrap())
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        vectors.extend(file.vector);
    }
    vectors
}

/// Hexadecimal, with white space.
pub(crate) fn bytes_of(hex: &str) -> Vec<u8> {
    hex.split_whitespace().map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect()
}
