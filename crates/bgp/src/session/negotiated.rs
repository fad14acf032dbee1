//! What the two OPENs of a session come to.

use crate::afi_safi::FamilySet;
use crate::message::Open;
use std::net::Ipv4Addr;

/// The outcome of capability negotiation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Negotiated {
    /// The peer's AS number.
    pub peer_as: u32,
    /// The peer's BGP identifier.
    pub peer_id: Ipv4Addr,
    /// Different AS numbers.
    pub external: bool,
    /// Hold time in seconds; 0 means no keepalives.
    pub hold_time: u16,
    /// Families that both offered.
    pub families: FamilySet,
    /// AS numbers have four octets in UPDATEs.
    pub four_octet_as: bool,
    /// Most octets of a message that we may send.
    pub max_message: usize,
    /// The peer takes ROUTE-REFRESH.
    pub route_refresh: bool,
    /// Both mark begin and end of a refresh (RFC 7313).
    pub enhanced_route_refresh: bool,
    /// The peer's NLRIs of these families have path identifiers.
    pub add_path_receive: FamilySet,
    /// Our NLRIs of these families have path identifiers.
    pub add_path_send: FamilySet,
    /// The peer's OPEN, with all its capabilities.
    pub open: Open,
}
