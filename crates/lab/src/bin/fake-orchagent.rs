//! The emulator of SONiC's orchagent, for tests on machines that are not switches. See
//! `lab::orchagent`.

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    lab::orchagent::run(&arguments)
}
