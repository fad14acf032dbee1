//! ExaBGP's JSON (versions 4, 5 and 6) as sessions and routes. Pure: octets in, values out.
//!
//! A line that cannot be read is an error with its place, and so is a single rule of a line; the rest of the line counts.
//! `docs/manual/exabgp.md` is the page for operators, with what the versions of ExaBGP leave out.

#![forbid(unsafe_code)]

mod attribute;
mod error;
mod flow;
mod json;
mod line;
mod names;
mod octets;
mod operators;
mod version;

pub use error::ParseError;
pub use line::{Message, Neighbor, SessionState, read};
