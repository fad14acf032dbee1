//! Cumulus Linux: rules become hardware ACLs, through a policy file in netfilter's syntax and the switch's own cl-acltool.
//!
//! One file holds all our rules, in enforcement order; one run of cl-acltool installs it, in the kernel and in the ASIC. What of a rule the
//! hardware matches exactly is decided by [`capabilities()`], what it costs by [`cost`], and what has no room stays out, visibly. When
//! cl-acltool refuses, the last good file is put back. `docs/manual/cumulus.md` tells the whole.

mod apply;
mod capabilities;
mod complaint;
mod counters;
mod line;
mod place;
mod preview;
mod profile;
mod render;
mod settings;
mod store;
mod tool;

pub use apply::Cumulus;
pub use capabilities::capabilities;
pub use preview::{Preview, preview};
pub use profile::{Asic, InvalidRelease, Release, UnknownAsic};
pub use render::{cost, render};
pub use settings::Settings;
