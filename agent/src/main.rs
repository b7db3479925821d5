//! The program `clinic-agent`.

use std::process::ExitCode;

fn main() -> ExitCode {
    agent::main_from(std::env::args_os())
}
