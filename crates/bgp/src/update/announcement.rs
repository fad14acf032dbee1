//! What an UPDATE comes to.

use crate::afi_safi::AfiSafi;
use crate::attribute::{PathAttributes, RouteLoop};
use crate::route::RouteKey;
use crate::update::error::UpdateError;
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
