//! ExaBGP's JSON (versions 4, 5 and 6) as sessions and routes. Pure: octets in, values out.
//!
//! A line that cannot be parsed is an error with its place, and so is a single rule of a line; the
//! rest of the line is used. `docs/manual/exabgp.md` is the page for operators; it lists what each
//! version of ExaBGP leaves out.

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
