//! Replays the corpus of the fuzz targets (`tests/fuzz` of the repository), and feeds them every
//! vector and every trace, from which the corpus grew.
//!
//! `FUZZ_SEEDS=FOLDER` writes vectors and traces as inputs into `FOLDER/TARGET/`.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test stops where an input shows a mistake"
)]

#[path = "../../tests/fuzz/bodies/body.rs"]
mod body;
#[path = "corpus/content.rs"]
mod content;
#[path = "corpus/gatt_seed.rs"]
mod gatt_seed;
#[path = "corpus/seed.rs"]
mod seed;

use drivers::registry::{DriverName, GattName};
use seed::seeds;
use std::{
    env, fs,
    panic::catch_unwind,
    path::{Path, PathBuf},
};

/// So that the corpus stays a corpus: what does not fit is for `cargo fuzz cmin`.
const FILES_MAX: usize = 200;
const BYTES_MAX: usize = 320 * 1024;

fn targets() -> impl Iterator<Item = &'static str> {
    let serial = DriverName::ALL.into_iter().map(DriverName::name);
    let gatt = GattName::ALL.into_iter().map(GattName::name);
    serial.chain(gatt).chain([body::GATT_VALUES, body::TRACE_READER])
}

fn fuzz_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fuzz")
}

/// How much was read.
#[track_caller]
fn check(target: &'static str, name: &str, input: &[u8]) -> usize {
    let read = catch_unwind(|| body::run(target, input));
    read.unwrap_or_else(|_| panic!("{target}: {name} shows a mistake, told above"))
}

#[test]
fn every_input_of_the_corpus_holds() {
    for target in targets() {
        let dir = fuzz_dir().join("corpus").join(target);
        let entries = fs::read_dir(&dir).unwrap_or_else(|error| panic!("{dir:?}: {error}"));
        let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        assert!((1..=FILES_MAX).contains(&paths.len()), "{dir:?} has {} files", paths.len());
        let mut bytes = 0;
        for path in paths {
            let input = fs::read(&path).unwrap();
            bytes += input.len();
            check(target, &path.display().to_string(), &input);
        }
        assert!(bytes <= BYTES_MAX, "{dir:?} has {bytes} bytes");
    }
}

#[test]
fn every_vector_and_trace_holds() {
    for target in targets() {
        let seeds = seeds(target);
        let mut read = 0;
        for (name, input) in seeds {
            read += check(target, &name, &input);
            if let Some(dir) = env::var_os("FUZZ_SEEDS") {
                let dir = Path::new(&dir).join(target);
                fs::create_dir_all(&dir).unwrap();
                fs::write(dir.join(name), &input).unwrap();
            }
        }
        assert!(read > 0, "{target}: nothing is read of what its device says");
    }
}

#[test]
fn every_target_is_a_program() {
    let manifest = fs::read_to_string(fuzz_dir().join("Cargo.toml")).unwrap();
    let manifest: toml::Table = manifest.parse().unwrap();
    let programs = manifest.get("bin").and_then(toml::Value::as_array).unwrap();
    let mut programs: Vec<_> =
        programs.iter().map(|program| program.get("name").unwrap().as_str().unwrap()).collect();
    programs.sort_unstable();
    let mut targets: Vec<_> = targets().collect();
    targets.sort_unstable();
    assert_eq!(programs, targets, "a driver without a fuzz target, or the other way round");
}
