//! The program `clinic-sim`.

use std::process::ExitCode;

fn main() -> ExitCode {
    simulators::main_from(std::env::args_os())
}
