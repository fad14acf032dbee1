//! `floodgate exabgp`: ExaBGP's JSON on standard input in the place of BGP sessions.
//!
//! ```text
//!   ExaBGP ──lines──▶ reader ──▶ read: line to Message ──▶ Feed: whose ──▶ NeighborMessage
//! ```
//!
//! Who takes the events says what they become ([`Neighbors::start`]); everything behind that is what `floodgate run` has. A line that cannot be read is reported and skipped, and so is a single rule of
//! a line; what was announced counts exactly or not at all. `docs/manual/exabgp.md` is the page for operators, with what the versions of
//! ExaBGP leave out.

mod default;
mod event;
mod feed;
mod hold_off;
mod neighbors;
mod port;
mod reader;

pub(crate) use default::config as built_in;
pub(crate) use event::{Introduced, NeighborEvent, NeighborId, NeighborMessage, Request};
pub(crate) use hold_off::{HOLD_OFF, hold_off};
pub(crate) use neighbors::{Neighbors, successor_file, wait_for_predecessor};
