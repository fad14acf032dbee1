//! `floodgate`: the program. The work is in the library; this only reads the command line and turns the outcome into an exit status.

use clap::Parser;
use floodgate::cli::{self, Cli};
use std::process::ExitCode;

fn main() -> ExitCode {
    cli::run(Cli::parse())
}
