//! `floodgate`: the command line. Offline commands answer from their arguments; live ones send
//! requests to the running daemon through its HTTP interface; `run` and `exabgp` are the daemon.

#![warn(clippy::print_stdout, clippy::print_stderr)] // They panic when the reader went away.

mod capture;
mod command_line;
mod compile;
mod cumulus;
mod decode;
mod dump;
mod encode;
mod exit_status;
mod explain;
mod flower;
mod foreign;
mod input;
mod inspect;
mod live;
mod markdown;
mod output;
mod pages;
mod policy_trace;
mod preview;
#[cfg(test)]
mod reference;
mod rules;
mod segments;
mod selftest;
mod sonic;
mod switch;
mod token;
mod version;

use clap::Parser;
use command_line::{Cli, Command};
use exit_status::{NEGATIVE, OK};
use std::process::ExitCode;

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Decode(args) => decode::run(&args),
        Command::Encode(args) => encode::run(&args),
        Command::Explain(args) => explain::run(&args),
        Command::Compile(args) => compile::run(&args),
        Command::Selftest(args) => selftest::run(&args),
        Command::Exabgp(args) => daemon::run_exabgp(args.config.as_deref(), inspect::PROGRAM).map(|()| OK),
        Command::Token(args) => token::run(&args),
        Command::Completions(args) => pages::completions(&args),
        Command::Man(args) => pages::man(&args),
        Command::Live(command) => live::run(&command),
    };
    match outcome {
        Ok(status) => ExitCode::from(status),
        Err(error) if output::is_broken_pipe(&error) => ExitCode::from(OK),
        Err(error) => {
            output::print_error(format_args!("floodgate: {error:#}"));
            ExitCode::from(NEGATIVE)
        }
    }
}
