//! The emulator of Cumulus Linux's cl-acltool, for tests on machines that are not switches. See
//! `lab::acltool`.

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    lab::acltool::run(&arguments)
}
