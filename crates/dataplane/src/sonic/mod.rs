//! SONiC: rules become rules of ACL tables, through the databases of the switch, and are in force when the switch says so.
//!
//! Each IP version has a table with a type of its own ([`table_name`]). What of a rule an entry of it matches exactly is decided by
//! [`capabilities()`]. ACL rules have names made from what is in them and are never written over: new ones go in, the switch tells that they are
//! active, and then old ones go out. `docs/manual/sonic.md` tells the whole.

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
pub use profile::{facts, unfit};
pub use release::{Feature, InvalidRelease, Release};
pub use settings::{Address, CAUTIOUS_ENTRIES, Database, InvalidAddress, Settings};
pub use tables::table_name;
