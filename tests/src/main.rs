//! Agent, gateway and bench in one program, for stories that start them as real processes.

use std::process::ExitCode;

fn main() -> ExitCode {
    simulators::main_from(std::env::args_os())
}
