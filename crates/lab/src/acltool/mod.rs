//! An emulation of Cumulus Linux's cl-acltool, and a namespace as its switch.
//!
//! **This is not cl-acltool.** It does what the vendor's manual describes: reads the policy files
//! in the order of their names, expands variables, chains and interfaces, accepts only what the
//! hardware is documented to accept, loads the kernel part (here into a network namespace whose
//! interfaces are called swp1, swp2 and so on), programs an "ASIC" that counts entries and range
//! checkers, prints what the manuals and release notes show, and rolls back. POLICE and SETQOS,
//! which no ordinary kernel has, become the closest equivalent: hashlimit, and DSCP followed by
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

/// Path of the emulator; builds it first if it does not exist.
///
/// # Errors
/// It cannot be built.
pub fn stand_in() -> Result<String> {
    Ok(crate::built::built("lab", "cl-acltool")?.display().to_string())
}
