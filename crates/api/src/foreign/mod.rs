//! Rules as other programs print them and write them into their configuration, over several lines
//! where they do: BIRD, Junos, IOS XR, FRR, GoBGP, ExaBGP, FastNetMon.
//!
//! [`Reader`] takes a text line by line. What it knows as part of another program's form it reads;
//! all other lines it gives back, for [`flowspec::text::parse_line`].
//!
//! Each form is translated to Floodgate's own words, and read as these. What a program prints the
//! same way for two different rules is refused, with both meanings.

mod bird;
mod block;
mod braces;
mod draft;
mod exabgp;
mod fastnetmon;
mod frr;
mod gobgp;
mod ios_xr;
mod ios_xr_configuration;
mod joined;
mod junos;
mod junos_configuration;
mod model;
mod reader;
mod tokens;

#[cfg(test)]
mod print;
#[cfg(test)]
mod tests;

pub use model::{Entry, ForeignError, ForeignRule, Form};
pub use reader::{Reader, read};
