//! `floodgate selftest`: tests what a switch really accepts and matches, and prints a report.

mod cumulus;
mod frame;
mod interruptible;
mod measure;
mod report;
mod rows;
mod switch;

use crate::command_line::{SelfTestArgs, SelfTestTarget};
use anyhow::{Result, ensure};

/// Runs it; `NEGATIVE` when it was ended early, when something of it may be left on the switch, or
/// when a row of the table does not hold.
pub(crate) fn run(args: &SelfTestArgs) -> Result<u8> {
    match args.backend {
        SelfTestTarget::Cumulus => {
            ensure!(
                !args.json && args.send_on.is_none() && args.driver.is_none() && args.release.is_none(),
                "--json, --send-on, --arrive-on, --driver and --release are for sonic and flower"
            );
            cumulus::run(args)
        }
        SelfTestTarget::Sonic | SelfTestTarget::Flower => switch::run(args),
    }
}
