//! The key of a route: an announcement and its withdrawal have the same.

use crate::afi_safi::AfiSafi;
use flowspec::{Nlri, PathId};
use ipnet::IpNet;

/// The destination of a route: a traffic filter or an address prefix.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Destination {
    /// A FlowSpec rule's match part, canonical.
    Flow(Nlri),
    /// A unicast prefix; host bits are zero.
    Unicast(IpNet),
}

impl Destination {
    /// The family it is announced in.
    #[must_use]
    pub const fn family(&self) -> AfiSafi {
        match self {
            Destination::Flow(nlri) => AfiSafi::Flow(nlri.family()),
            Destination::Unicast(IpNet::V4(_)) => AfiSafi::Ipv4Unicast,
            Destination::Unicast(IpNet::V6(_)) => AfiSafi::Ipv6Unicast,
        }
    }
}

/// Destination and, where add-path was negotiated, the path (RFC 7911): it identifies a route among
/// those of one peer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "arbitrary", derive(::arbitrary::Arbitrary))]
pub struct RouteKey {
    /// The traffic filter or prefix.
    pub destination: Destination,
    /// Path identifier; `None` without add-path.
    #[cfg_attr(feature = "serde", serde(with = "crate::serialize::path_id"))]
    #[cfg_attr(feature = "arbitrary", arbitrary(with = crate::arbitrary::path_id::optional))]
    pub path_id: Option<PathId>,
}

impl RouteKey {
    /// The family it is announced in.
    #[must_use]
    pub const fn family(&self) -> AfiSafi {
        self.destination.family()
    }
}

impl From<Nlri> for RouteKey {
    fn from(nlri: Nlri) -> Self {
        RouteKey { destination: Destination::Flow(nlri), path_id: None }
    }
}

impl From<IpNet> for RouteKey {
    fn from(net: IpNet) -> Self {
        RouteKey { destination: Destination::Unicast(net.trunc()), path_id: None }
    }
}
