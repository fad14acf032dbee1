//! UPDATE messages: what they announce and withdraw, and what to do about what is wrong with them (RFC 4271 §4.3, RFC 4760, RFC 7606).

mod attributes;
mod cache;
mod decode;
mod encode;
mod error;
mod field;
mod view;

pub use error::{UpdateError, UpdateErrorKind};
pub use view::{DecodeOptions, DecodedNlri, DecodedUpdate, NotAnUpdate, decode_update};

pub(crate) use attributes::Context;
pub(crate) use cache::AttributeCache;
pub(crate) use decode::{Decoded, decode};
pub(crate) use encode::{Encoding, encode_announcements, encode_end_of_rib, encode_withdrawals};

use crate::afi_safi::AfiSafi;
use crate::attribute::{PathAttributes, RouteLoop};
use crate::route::RouteKey;
use std::net::IpAddr;
use std::sync::Arc;

/// What an UPDATE comes to, after error handling. First the withdrawals count, then the announcements.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Update {
    /// Routes that are gone; also those that had to be treated as withdrawn.
    pub withdrawn: Vec<RouteKey>,
    /// Routes announced: at most two groups, one of MP_REACH_NLRI and one of the IPv4 unicast field.
    pub announced: Vec<Announced>,
    /// What was wrong, with what was done about it. One for each malformed NLRI that was left out.
    pub errors: Vec<UpdateError>,
    /// The whole message, header included, where `errors` is not empty: RFC 7606 §8 wants it logged. Otherwise empty.
    pub octets: Vec<u8>,
}

/// Routes announced together.
#[derive(Clone, Debug, PartialEq)]
pub struct Announced {
    /// Family of all of them.
    pub family: AfiSafi,
    /// Next hop; FlowSpec usually has none. For IPv6 the global address.
    pub next_hop: Option<IpAddr>,
    /// Path attributes, shared.
    pub attributes: Arc<PathAttributes>,
    /// They came back to us: to be kept, and never to be selected.
    pub route_loop: Option<RouteLoop>,
    /// The routes.
    pub routes: Vec<RouteKey>,
}

#[cfg(test)]
mod tests;
