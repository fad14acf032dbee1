//! A stand-in for Cumulus Linux's cl-acltool, and a namespace as the switch that it belongs to.
//!
//! **This is not cl-acltool.** It does what the vendor's manual says of it: reads the policy files in the order of their names, expands
//! variables, chains and interfaces, takes only what the hardware is said to take, loads the kernel part (here into a network namespace whose
//! interfaces are called swp1, swp2 and so on), programs an "ASIC" that counts entries and range checkers, prints what the manuals and release
//! notes print, and rolls back. POLICE and SETQOS, which no ordinary kernel has, become what comes closest: hashlimit, and DSCP followed by
//! ACCEPT.

mod hardware;
mod kernel;
mod policy;
mod program;
mod rule;
mod setting;
mod switch;

pub use program::{Run, run};
pub use switch::Switch;

use anyhow::Result;

/// The stand-in as a program; built first where it is not there.
///
/// # Errors
/// When it cannot be built.
pub fn stand_in() -> Result<String> {
    Ok(crate::built::built("lab", "cl-acltool")?.display().to_string())
}
