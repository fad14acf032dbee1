//! Cumulus Linux: rules become hardware ACLs, through a policy file in netfilter's syntax and the switch's own cl-acltool.
//!
//! One file holds all our rules, in enforcement order; one run of cl-acltool installs it, in the kernel and in the ASIC. What of a rule the
//! hardware matches exactly is decided by [`capabilities()`], what it costs by [`cost()`], and what has no room stays out, visibly. When
//! cl-acltool refuses, the last good file is put back. `docs/manual/cumulus.md` tells the whole.

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
pub use asic::{Asic, Maker, UnknownAsic};
pub use capabilities::capabilities;
pub use cost::cost;
pub use preview::preview;
pub use profile::facts;
pub use release::{InvalidRelease, Known, Release};
pub use render::render;
pub use selftest::{ProbeOutcome, SelfTest, self_test};
pub use settings::Settings;
