//! Cumulus Linux: rules become hardware ACLs, through a policy file in netfilter's syntax and the
//! switch's own cl-acltool.
//!
//! One file contains all our rules, in enforcement order; one run of cl-acltool installs it in the
//! kernel and in the ASIC. [`capabilities()`] says what the hardware matches exactly, [`cost()`]
//! how many entries a rule takes; rules without room are left out and reported. If cl-acltool
//! refuses, the last good file is restored. `docs/manual/cumulus.md` describes all of it.

mod apply;
mod asic;
mod capabilities;
mod chains;
mod comments;
mod cost;
mod counters;
mod installation;
mod kernel_check;
mod line;
mod place;
mod preview;
mod profile;
mod refusals;
mod release;
mod render;
mod resources;
mod search;
mod selftest;
mod settings;
mod shape;
mod store;
mod switch;
mod tool;
mod transcript;

pub use apply::Cumulus;
pub use asic::{Asic, UnknownAsic, Vendor};
pub use capabilities::capabilities;
pub use cost::cost;
pub use preview::preview;
pub use profile::facts;
pub use release::{InvalidRelease, Known, Release};
pub use render::render;
pub use selftest::{ProbeOutcome, SelfTest, self_test};
pub use settings::Settings;
