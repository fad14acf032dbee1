//! The conformance suite: what every back end must do, as cases that are run with each of them.
//!
//! A back end gets the suite with a file here that implements [`Bench`] for it, and a line in
//! [`main`]. The program is its own test harness (with the options of Rust's), because it is the
//! emulator of the switch's cl-acltool as well.

mod bench;
mod cases;
mod cumulus;
mod flower;
mod nftables;
mod none;
mod scenario;
mod sonic;
#[cfg(xdp_program)]
mod xdp;

use bench::Bench;
use libtest_mimic::{Arguments, Trial};
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|first| first == "--switch") {
        return lab::acltool::run(&arguments);
    }
    let mut trials = Vec::new();
    trials.extend(suite::<none::None>());
    trials.extend(suite::<nftables::Nftables>());
    #[cfg(xdp_program)]
    trials.extend(suite::<xdp::Xdp>());
    trials.extend(suite::<cumulus::Cumulus>());
    trials.extend(suite::<sonic::Sonic>());
    trials.extend(suite::<flower::Flower>());
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

/// The cases for one back end.
fn suite<B: Bench>() -> impl Iterator<Item = Trial> {
    cases::all::<B>().into_iter().map(|(name, case)| {
        let name = format!("{}::{name}", B::NAME);
        Trial::test(name.clone(), move || {
            // A thread with the case's name: the message about a skipped test has it.
            let thread = std::thread::Builder::new().name(name).spawn(move || scenario::run(case))?;
            match thread.join() {
                Ok(outcome) => outcome.map_err(|error| format!("{error:?}").into()),
                Err(_) => Err("it panicked".into()),
            }
        })
    })
}
