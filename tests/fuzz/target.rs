//! Every fuzz target: the name of the program says which body runs.

#![no_main]

#[path = "bodies/body.rs"]
mod body;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    body::run(env!("CARGO_BIN_NAME"), input);
});
