//! SONiC: rules become rules of ACL tables, through the databases of the switch, and are in force
//! when the switch reports that they are active.
//!
//! Each IP version has a table with its own type ([`table_name`]). [`capabilities()`] says what an
//! entry of it matches exactly. The names of ACL rules are made from their contents, and a rule is
//! never written over: new ones are written, the switch reports that they are active, and then old
//! ones are deleted. `docs/manual/sonic.md` describes all of it.

mod acl;
mod apply;
mod capabilities;
mod capacity;
mod counters;
mod databases;
mod entry;
mod place;
mod preview;
mod producer;
mod profile;
mod release;
mod render;
mod rendered;
mod rows;
mod schedule;
mod settings;
mod switch;
mod tables;

pub use apply::Sonic;
pub use capabilities::capabilities;
pub use entry::Unwritable;
pub use preview::preview;
pub use profile::{facts, unfit, unknown};
pub use release::{Feature, InvalidRelease, Release};
pub use settings::{Address, CAUTIOUS_ENTRIES, Database, InvalidAddress, Settings};
pub use tables::table_name;
