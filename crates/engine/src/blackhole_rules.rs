//! The rules that a unicast route with a mark becomes, and the prefixes of peers with such routes.

use crate::import_policy::Blackhole;
use crate::path::Path;
use crate::path_key::PathKind;
use crate::peers::Peer;
use crate::prefix_list::{destination, source};
use crate::route::{PeerId, Route};
use crate::rule_table::RuleTable;
use crate::unknown_actions::is_action;
use flowspec::{Action, ComponentType, Family, Ipv6Pattern, Nlri, Prefix, Rate};
use ipnet::IpNet;
use std::collections::HashSet;

/// Prefixes of peers that may be blackholes: most routes of a full table are not, and need no
/// lookup. There may be more than there are blackholes, but not many more.
#[derive(Debug, Default)]
pub(crate) struct BlackholePrefixes {
    prefixes: HashSet<(PeerId, IpNet)>,
    trim_at: usize,
}

/// With fewer prefixes it is never trimmed.
const FEW: usize = 4096;

impl BlackholePrefixes {
    pub(crate) fn contains(&self, peer: PeerId, net: IpNet) -> bool {
        self.prefixes.contains(&(peer, net))
    }

    pub(crate) fn insert(&mut self, peer: PeerId, net: IpNet) {
        self.prefixes.insert((peer, net));
    }

    pub(crate) fn remove(&mut self, peer: PeerId, net: IpNet) {
        self.prefixes.remove(&(peer, net));
    }

    /// What flapping peers leave is removed.
    pub(crate) fn trim(&mut self, rules: &RuleTable) {
        if self.prefixes.len() < self.trim_at.max(FEW) {
            return;
        }
        self.prefixes = rules
            .iter()
            .flat_map(|(key, entry)| entry.paths.iter().map(move |path| (key, path)))
            .filter(|(_, path)| path.key.kind == PathKind::Blackhole)
            .filter_map(|(key, path)| Some((path.peer, prefix_of(key.nlri()?)?)))
            .collect();
        self.trim_at = self.prefixes.len() * 2;
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.prefixes.len()
    }
}

/// The rules that a unicast route is, with their route; none if it has no mark.
pub fn blackhole_rules(net: IpNet, route: &Route, blackhole: &Blackhole) -> Vec<(Nlri, Route)> {
    let dropped = blackhole.dropped_by(route);
    let kinds = [(ComponentType::Destination, dropped.destination), (ComponentType::Source, dropped.source)];
    let rules = kinds.into_iter().filter(|(_, is_dropped)| *is_dropped).filter_map(|(kind, _)| rule_of(kind, net));
    rules.map(|nlri| (nlri, blackhole_route(route))).collect()
}

/// Whether a path is still a blackhole under the configuration of its peer: it needs its trigger.
pub(crate) fn is_still_announced(peer: &Peer, nlri: &Nlri, path: &Path) -> bool {
    path.key.kind == PathKind::Flow || is_dropped(peer, nlri, path.announced_route())
}

pub(crate) fn is_dropped(peer: &Peer, nlri: &Nlri, route: &Route) -> bool {
    let dropped = peer.blackhole().map(|blackhole| blackhole.dropped_by(route)).unwrap_or_default();
    if nlri.destination().is_some() { dropped.destination } else { dropped.source }
}

/// The rule for packets to a prefix, or from it. The first address of an IPv6 prefix of any length
/// is a pattern of that length.
pub(crate) fn rule_of(kind: ComponentType, net: IpNet) -> Option<Nlri> {
    let (family, prefix) = match net {
        IpNet::V4(net) => (Family::Ipv4, Prefix::V4(net.trunc())),
        IpNet::V6(net) => (Family::Ipv6, Prefix::V6(Ipv6Pattern::new(net.network(), 0, net.prefix_len())?)),
    };
    Nlri::builder(family).prefix(kind, prefix).build().ok()
}

pub(crate) fn prefix_of(nlri: &Nlri) -> Option<IpNet> {
    destination(nlri).or_else(|| source(nlri))
}

/// The route of the rule: it discards. What else the communities say of the route is kept; actions
/// of traffic filters are dropped: they have no meaning on a unicast route.
pub(crate) fn blackhole_route(route: &Route) -> Route {
    let discard = Action::RateBytes { asn: 0, rate: Rate::ZERO };
    let kept = route.actions.iter().filter(|action| !is_action(action)).copied();
    Route { actions: [discard].into_iter().chain(kept).collect(), ..route.clone() }
}
