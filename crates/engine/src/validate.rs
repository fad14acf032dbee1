//! Validation of a traffic filter against unicast routes: RFC 8955 §6 as changed by RFC 9117 §4.

use crate::import_policy::FirstAs;
use crate::path::Path;
use crate::peers::Peers;
use crate::prefix_list::destination;
use crate::route::RouteLoop;
use crate::select;
use crate::unicast::UnicastRib;
use flowspec::Nlri;
use ipnet::IpNet;
use std::fmt;
use std::net::IpAddr;

/// Why a rule is not feasible.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Infeasible {
    /// It is a loop.
    Loop(RouteLoop),
    /// It has no destination prefix (an IPv6 prefix with an offset is none).
    NoDestination,
    /// No unicast route covers its destination.
    NoRoute,
    /// The unicast route to its destination is from another originator.
    Originator {
        /// The originator of the rule.
        rule: Option<IpAddr>,
        /// The originator of the route.
        route: Option<IpAddr>,
    },
    /// The left-most AS of its path is not that of the unicast route.
    LeftmostAs {
        /// Of the rule.
        rule: Option<u32>,
        /// Of the route.
        route: Option<u32>,
    },
    /// Its AS_PATH is empty, although the peer is in another AS.
    EmptyPath,
    /// Its AS_PATH does not begin with the AS of the peer.
    FirstAs {
        /// What it begins with; `None` for a set.
        path: Option<u32>,
        /// The AS of the peer.
        peer: u32,
    },
    /// Another neighbouring AS has a route to a part of its destination.
    MoreSpecific {
        /// That part.
        prefix: IpNet,
        /// The AS; `None` for our own.
        neighbour: Option<u32>,
    },
}

impl Infeasible {
    /// A short stable name for JSON and metrics.
    pub const fn name(&self) -> &'static str {
        match self {
            Infeasible::Loop(_) => "loop",
            Infeasible::NoDestination => "no-destination",
            Infeasible::NoRoute => "no-route",
            Infeasible::Originator { .. } => "originator",
            Infeasible::LeftmostAs { .. } => "leftmost-as",
            Infeasible::EmptyPath => "empty-path",
            Infeasible::FirstAs { .. } => "first-as",
            Infeasible::MoreSpecific { .. } => "more-specific",
        }
    }
}

impl fmt::Display for Infeasible {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = |address: &Option<IpAddr>| address.map_or("here".to_owned(), |address| address.to_string());
        let neighbour = |asn: &Option<u32>| asn.map_or("our own AS".to_owned(), |asn| format!("AS {asn}"));
        match self {
            Infeasible::Loop(RouteLoop::OwnAs(asn)) => write!(f, "a loop: our own AS {asn} is in its AS_PATH"),
            Infeasible::Loop(RouteLoop::Originator(id)) => write!(f, "a loop: our own id {id} is its ORIGINATOR_ID"),
            Infeasible::Loop(RouteLoop::Cluster(id)) => write!(f, "a loop: our own id {id} is in its CLUSTER_LIST"),
            Infeasible::NoDestination => f.write_str("it has no destination prefix to validate"),
            Infeasible::NoRoute => f.write_str("no unicast route covers its destination"),
            Infeasible::Originator { rule, route } => {
                write!(f, "it comes from {}, the route to its destination from {}", address(rule), address(route))
            }
            Infeasible::LeftmostAs { rule, route } => {
                write!(f, "it comes by {}, the route to its destination by {}", neighbour(rule), neighbour(route))
            }
            Infeasible::EmptyPath => f.write_str("its AS_PATH is empty, although the peer is in another AS"),
            Infeasible::FirstAs { path, peer } => {
                let path = path.map_or("a set of ASes".to_owned(), |asn| format!("AS {asn}"));
                write!(f, "its AS_PATH begins with {path}, not with the peer's AS {peer} (see route-server)")
            }
            Infeasible::MoreSpecific { prefix, neighbour: asn } => {
                write!(f, "{prefix}, a part of its destination, is routed by {}", neighbour(asn))
            }
        }
    }
}

/// Whether the AS_PATH of a route begins as required.
pub(crate) fn check_first_as(path: &Path, first: FirstAs) -> Result<(), Infeasible> {
    let as_path = &path.route.facts.as_path;
    match first {
        FirstAs::Any => Ok(()),
        FirstAs::Some | FirstAs::Is(_) if as_path.internal => Err(Infeasible::EmptyPath),
        FirstAs::Some => Ok(()),
        FirstAs::Is(peer) if as_path.leftmost == Some(peer) => Ok(()),
        FirstAs::Is(peer) => Err(Infeasible::FirstAs { path: as_path.leftmost, peer }),
    }
}

/// Whether the rule of `path` is feasible. Without a destination it is, if policy allows that
/// (`without_destination`): then there is nothing to compare.
pub(crate) fn validate(
    nlri: &Nlri,
    path: &Path,
    unicast: &UnicastRib,
    peers: &Peers,
    without_destination: bool,
) -> Result<(), Infeasible> {
    let Some(destination) = destination(nlri) else {
        return if without_destination { Ok(()) } else { Err(Infeasible::NoDestination) };
    };
    let best = unicast.best_match(destination, peers);
    // RFC 9117 §4.1 b.2: originated in our own AS, which no external peer can claim.
    let own_as = path.route.facts.as_path.internal && !peers.is_external(path.peer);
    let Some(best) = best else {
        return if own_as { Ok(()) } else { Err(Infeasible::NoRoute) };
    };
    let (rule, route) = (select::originator(path, peers), select::originator(best, peers));
    if !own_as && rule != route {
        return Err(Infeasible::Originator { rule, route });
    }
    let leftmost = |path: &Path| path.route.facts.as_path.leftmost;
    if peers.is_external(path.peer) && leftmost(path) != leftmost(best) {
        return Err(Infeasible::LeftmostAs { rule: leftmost(path), route: leftmost(best) });
    }
    match unicast.more_specific(destination, peers).find(|(_, route)| leftmost(route) != leftmost(best)) {
        Some((prefix, route)) => Err(Infeasible::MoreSpecific { prefix, neighbour: leftmost(route) }),
        None => Ok(()),
    }
}
