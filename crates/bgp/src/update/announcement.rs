//! The routes that an UPDATE announces and withdraws.

use crate::afi_safi::AfiSafi;
use crate::attribute::{PathAttributes, RouteLoop};
use crate::route::RouteKey;
use crate::update::error::UpdateError;
use std::net::IpAddr;
use std::sync::Arc;

/// The result of an UPDATE after error handling. Withdrawals apply before announcements.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Update {
    /// Withdrawn routes, and those that error handling treats as withdrawn.
    pub withdrawn: Vec<RouteKey>,
    /// Routes announced: at most two groups, one of MP_REACH_NLRI and one of the IPv4 unicast
    /// field.
    pub announced: Vec<Announced>,
    /// The errors found; each has a disposition. One for each malformed NLRI that was discarded.
    pub errors: Vec<UpdateError>,
    /// The whole message, header included, where `errors` is not empty: RFC 7606 §8 asks for it to
    /// be logged. Otherwise empty.
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
    /// Set if this speaker is in their path: they are kept in the Adj-RIB-In and never selected.
    pub route_loop: Option<RouteLoop>,
    /// The routes.
    pub routes: Vec<RouteKey>,
}
