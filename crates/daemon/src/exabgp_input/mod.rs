//! `floodgate exabgp`: ExaBGP's JSON on standard input in the place of BGP sessions.
//!
//! ```text
//!   ExaBGP ──lines──▶ reader ──▶ read: line to Message ──▶ Feed: whose ──▶ NeighborMessage
//! ```
//!
//! The caller of [`Neighbors::start`] decides what the events become; everything after that is
//! shared with `floodgate run`. A line that cannot be parsed is reported and skipped, and so is a
//! single rule of a line; a rule is taken exactly or not at all. `docs/manual/exabgp.md` is the
//! page for operators; it lists what each version of ExaBGP leaves out.

mod default;
mod event;
mod feed;
mod hold_off;
mod neighbors;
mod port;
mod reader;

pub(crate) use default::config as built_in;
pub(crate) use event::{NeighborEvent, NeighborId, NeighborMessage, RegisteredNeighbor, Request};
pub(crate) use hold_off::{HOLD_OFF, hold_off};
pub(crate) use neighbors::{Neighbors, successor_file, wait_for_predecessor};
pub(crate) use reader::LONGEST;
