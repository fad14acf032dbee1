//! tc flower: rules become filters of a block that all interfaces share, in the kernel's own
//! classifier or in a switch whose driver takes them.
//!
//! Packets begin in chain 0: what is protected passes there, and the rest goes to a chain of rules
//! for its IP version. A full change fills new chains and then sends packets there; a small one
//! changes single filters. The kernel ignores what does not fit together without an error, and so
//! do drivers: all that was made is read back and compared. `docs/manual/flower.md` tells the
//! whole.

mod adopt;
mod backend;
mod bring;
mod capabilities;
mod change;
mod compare;
mod counts;
mod decode;
mod devlink;
mod driver;
mod encode;
mod filter;
mod first;
mod fit;
mod kernel;
mod key;
mod load;
mod numbers;
mod pkt_cls;
mod ports;
mod preview;
mod render;
mod settings;
#[cfg(test)]
mod stand_in;
mod table;
mod text;

pub use backend::Flower;
pub use capabilities::{capabilities, protection_capabilities, unknown};
pub use driver::{Driver, UnsupportedDriver};
pub use fit::cost;
pub use preview::{Preview, preview};
pub use settings::{FIRST_KERNEL, Settings};
