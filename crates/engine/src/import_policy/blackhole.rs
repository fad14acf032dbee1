//! Which unicast routes of a peer are blackholes (RFC 7999, RFC 5635), and what they drop.

use super::statement::RouteCommunity;
use crate::prefix_list::PrefixList;
use crate::route::Route;
use ipnet::IpNet;
use std::fmt;

/// What makes a unicast route of a peer a rule that discards.
#[derive(Clone, Debug, PartialEq)]
pub struct Blackhole {
    /// Marks of a route, each with what it drops. One is enough; of several, all apply.
    pub triggers: Vec<(Trigger, Dropped)>,
    /// Shortest IPv4 prefix.
    pub shortest_v4: u8,
    /// Shortest IPv6 prefix.
    pub shortest_v6: u8,
    /// The sources for which the peer may drop packets; `None` for none.
    pub sources: PrefixList,
    /// Addresses whose packets no blackhole of a source may drop.
    pub guarded_sources: Vec<GuardedSource>,
}

/// Addresses that a blackhole of a source must not contain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GuardedSource {
    /// The addresses.
    pub net: IpNet,
    /// Their description, for people.
    pub what: String,
}

/// A mark of a unicast route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trigger {
    /// It carries this community.
    Community(RouteCommunity),
    /// Its next hop is one of these addresses.
    NextHop(IpNet),
}

impl fmt::Display for Trigger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trigger::Community(community) => write!(f, "community {community}"),
            Trigger::NextHop(net) => write!(f, "next hop {net}"),
        }
    }
}

/// What a blackhole drops.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    /// Packets to its prefix.
    pub destination: bool,
    /// Packets from its prefix.
    pub source: bool,
}

impl Dropped {
    /// Packets to the prefix.
    pub const DESTINATION: Dropped = Dropped { destination: true, source: false };
    /// Packets from the prefix.
    pub const SOURCE: Dropped = Dropped { destination: false, source: true };
    /// Packets to the prefix and from it.
    pub const BOTH: Dropped = Dropped { destination: true, source: true };

    /// Whether it drops anything.
    pub const fn is_any(self) -> bool {
        self.destination || self.source
    }
}

impl Blackhole {
    /// The marks that a route has.
    pub fn triggers_of<'a>(&'a self, route: &'a Route) -> impl Iterator<Item = &'a (Trigger, Dropped)> + 'a {
        self.triggers.iter().filter(|(trigger, _)| match trigger {
            Trigger::Community(community) => community.is_on(route),
            Trigger::NextHop(net) => route.next_hop.is_some_and(|next_hop| net.contains(&next_hop)),
        })
    }

    /// What a route drops; nothing if it has no mark.
    pub fn dropped_by(&self, route: &Route) -> Dropped {
        self.triggers_of(route).fold(Dropped::default(), |all, (_, dropped)| Dropped {
            destination: all.destination || dropped.destination,
            source: all.source || dropped.source,
        })
    }
}
