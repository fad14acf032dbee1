//! The configuration of one peer.

use crate::afi_safi::{AfiSafi, FamilySet};
use crate::message::{GracefulRestart, Role};
use flowspec::Family;
use std::net::Ipv4Addr;
use std::time::Duration;

/// Which AS numbers a peer may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "arbitrary", derive(::arbitrary::Arbitrary))]
pub enum PeerAs {
    /// This one; our own makes it an iBGP session.
    Exactly(u32),
    /// Any but our own.
    External,
    /// Any.
    Any,
}

impl PeerAs {
    /// Whether a peer with this AS number is accepted.
    #[must_use]
    pub const fn accepts(self, peer: u32, local: u32) -> bool {
        match self {
            PeerAs::Exactly(asn) => asn == peer,
            PeerAs::External => peer != local,
            PeerAs::Any => true,
        }
    }
}

/// Long-lived graceful restart as we announce it (RFC 9494).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "arbitrary", derive(::arbitrary::Arbitrary))]
pub struct LongLived {
    /// The families that are offered, as far as they are families of the session. Their F bits are
    /// those of graceful restart.
    pub families: FamilySet,
    /// Long-lived stale time in seconds, 24 bits, the same for every family.
    pub stale_time: u32,
}

/// The configuration of one session. Start from [`PeerConfig::new`] and change what differs.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "arbitrary", derive(::arbitrary::Arbitrary))]
pub struct PeerConfig {
    /// Our AS number.
    pub local_as: u32,
    /// The AS number of the router itself, if `local_as` is one that it uses with this peer only:
    /// it makes a loop, too.
    pub router_as: Option<u32>,
    /// Our BGP identifier.
    pub router_id: Ipv4Addr,
    /// The AS numbers that the peer may have.
    pub peer_as: PeerAs,
    /// Hold time that we offer, in seconds: 0 (none) or at least 3.
    pub hold_time: u16,
    /// Families that we offer.
    pub families: FamilySet,
    /// Families for which we offer to receive several paths (RFC 7911).
    pub add_path_receive: FamilySet,
    /// Families for which we offer to send several paths (RFC 7911).
    pub add_path_send: FamilySet,
    /// Never open a connection (PassiveTcpEstablishment).
    pub passive: bool,
    /// Time between two connection attempts; random jitter reduces it by up to a quarter.
    pub connect_retry: Duration,
    /// Time until we connect again after a first failure; doubled after each further one up to
    /// `connect_back_off_max`. Also the time that connections are refused after a short session,
    /// doubled likewise up to `idle_hold_max`.
    pub idle_hold: Duration,
    /// Longest time between two connection attempts to a peer that closes each.
    pub connect_back_off_max: Duration,
    /// Longest time that connections are refused (DampPeerOscillations of RFC 4271 §8.1.1); zero:
    /// never. Attempts that never became a session do not count, and neither does a session whose
    /// routes are retained.
    pub idle_hold_max: Duration,
    /// The routes are retained after every loss, whatever was negotiated: so connections of the
    /// peer are never refused.
    pub retained_on_loss: bool,
    /// How long a peer may accept none of our octets before the session is closed (RFC 9687);
    /// `None`: the greater of 8 minutes and twice the hold time.
    pub send_hold: Option<Duration>,
    /// Offer 4-octet AS numbers (RFC 6793).
    pub four_octet_as: bool,
    /// Offer route refresh (RFC 2918).
    pub route_refresh: bool,
    /// Offer demarcated route refresh (RFC 7313).
    pub enhanced_route_refresh: bool,
    /// Offer messages up to 65535 octets (RFC 8654).
    pub extended_message: bool,
    /// Offer graceful restart (RFC 4724). Its `families` are what is sent, with their F bits. An R
    /// bit announces a restart that ends with the first session or with the restart time; its F
    /// bits end with it.
    pub graceful_restart: Option<GracefulRestart>,
    /// Offer long-lived graceful restart (RFC 9494); needs `graceful_restart`.
    pub long_lived: Option<LongLived>,
    /// Our role (RFC 9234).
    pub role: Option<Role>,
    /// Refuse a peer that does not announce its role (RFC 9234 §4.2).
    pub role_strict: bool,
    /// The peer is in another AS of our confederation: confederation segments in its AS_PATH are
    /// valid (RFC 5065).
    pub confederation_peer: bool,
    /// How often our own AS number may occur in a received AS_PATH.
    pub allow_own_as: usize,
    /// Seed of the jitter of timers; give each session its own.
    pub seed: u64,
}

impl PeerConfig {
    /// IPv4 and IPv6 FlowSpec, hold time 90 s, all capabilities without a cost.
    #[must_use]
    pub fn new(local_as: u32, router_id: Ipv4Addr, peer_as: PeerAs) -> Self {
        PeerConfig {
            local_as,
            router_as: None,
            router_id,
            peer_as,
            hold_time: 90,
            families: [AfiSafi::Flow(Family::Ipv4), AfiSafi::Flow(Family::Ipv6)].into_iter().collect(),
            add_path_receive: FamilySet::EMPTY,
            add_path_send: FamilySet::EMPTY,
            passive: false,
            connect_retry: Duration::from_secs(15),
            idle_hold: Duration::from_secs(1),
            connect_back_off_max: Duration::from_secs(60),
            idle_hold_max: Duration::from_secs(60),
            retained_on_loss: false,
            send_hold: None,
            four_octet_as: true,
            route_refresh: true,
            enhanced_route_refresh: true,
            extended_message: true,
            graceful_restart: None,
            long_lived: None,
            role: None,
            role_strict: false,
            confederation_peer: false,
            allow_own_as: 0,
            seed: u64::from(u32::from(router_id)) << 32 | u64::from(local_as),
        }
    }
}
