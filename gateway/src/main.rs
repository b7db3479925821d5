//! The program `clinic-gateway`.

use std::process::ExitCode;

fn main() -> ExitCode {
    gateway::main_from(std::env::args_os())
}
