//! Unicast routes that are blackholes: each is a rule that discards what goes to its prefix, or comes from it, beside the rules that came
//! as traffic filters.

use super::{AdjRibIn, AnnounceOutcome, Announcement};
use crate::import_policy::{Blackhole, Dropped};
use crate::key::RuleKey;
use crate::path::Path;
use crate::path_key::{PathKey, PathKind};
use crate::peers::Peer;
use crate::prefix_list::{destination, source};
use crate::route::{PeerId, Route, Timestamp};
use crate::rule_table::RuleTable;
use crate::unknown_actions::is_action;
use flowspec::{Action, ComponentType, Family, Ipv6Pattern, Nlri, PathId, Prefix, Rate};
use ipnet::IpNet;
use std::collections::HashSet;
use std::sync::Arc;

/// A route to a unicast prefix, as announced.
pub(crate) struct UnicastRoute {
    pub(crate) peer: PeerId,
    pub(crate) net: IpNet,
    pub(crate) path_id: Option<PathId>,
    pub(crate) route: Arc<Route>,
    /// When it was announced.
    pub(crate) received: Timestamp,
}

/// The rules that a unicast route made or ended: those of blackholes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct UnicastChange {
    /// The rules that it is, with their actions.
    pub announced: Vec<(Arc<Nlri>, Arc<Route>, AnnounceOutcome)>,
    /// The rules that it was, and is no longer.
    pub withdrawn: Vec<Arc<Nlri>>,
}

/// The prefixes of peers of which blackholes may be among the rules: most routes of a full table are none, and are not looked up. There may
/// be more than there are blackholes; not many more.
#[derive(Debug, Default)]
pub(super) struct BlackholePrefixes {
    prefixes: HashSet<(PeerId, IpNet)>,
    trim_at: usize,
}

/// So few prefixes are never trimmed.
const FEW: usize = 4096;

impl AdjRibIn {
    /// A peer announces a unicast route: it is kept as far as rules are validated by it, and where it is a blackhole it becomes rules.
    pub(crate) fn announce_unicast_route(&mut self, rules: &mut RuleTable, announced: UnicastRoute) -> UnicastChange {
        let UnicastRoute { peer, net, path_id, route, received } = announced;
        let Some(known_peer) = self.peers.get(peer) else { return UnicastChange::default() };
        let dropped = known_peer.blackhole().map(|blackhole| blackhole.dropped_by(&route)).unwrap_or_default();
        self.announce_unicast(peer, net, PathKey::flow(path_id), route.clone());
        if dropped.is_any() {
            let route = Arc::new(blackhole_route(&route));
            self.trim_blackholes(rules);
            self.blackholes.prefixes.insert((peer, net));
            self.set_blackhole(rules, peer, net, path_id, dropped, Some((route, received)))
        } else if self.blackholes.prefixes.contains(&(peer, net)) {
            self.set_blackhole(rules, peer, net, path_id, dropped, None)
        } else {
            UnicastChange::default()
        }
    }

    /// A peer withdraws a unicast route.
    pub(crate) fn withdraw_unicast_route(
        &mut self,
        rules: &mut RuleTable,
        peer: PeerId,
        net: IpNet,
        path_id: Option<PathId>,
    ) -> UnicastChange {
        self.withdraw_unicast(peer, net, PathKey::flow(path_id));
        if self.blackholes.prefixes.contains(&(peer, net)) {
            self.set_blackhole(rules, peer, net, path_id, Dropped::default(), None)
        } else {
            UnicastChange::default()
        }
    }

    fn set_blackhole(
        &mut self,
        rules: &mut RuleTable,
        peer: PeerId,
        net: IpNet,
        path_id: Option<PathId>,
        dropped: Dropped,
        route: Option<(Arc<Route>, Timestamp)>,
    ) -> UnicastChange {
        let mut change = UnicastChange::default();
        let path = PathKey::blackhole(path_id);
        for (kind, is_dropped) in
            [(ComponentType::Destination, dropped.destination), (ComponentType::Source, dropped.source)]
        {
            let Some(nlri) = rule_of(kind, net).map(Arc::new) else { continue };
            match &route {
                Some((route, received)) if is_dropped => {
                    let announcement = Announcement {
                        peer,
                        nlri: nlri.clone(),
                        path,
                        route: route.clone(),
                        received: *received,
                        expires: None,
                    };
                    let outcome = self.announce(rules, announcement);
                    change.announced.push((nlri, route.clone(), outcome));
                }
                _ => {
                    if self.withdraw(rules, peer, &RuleKey::new(nlri.clone()), path) {
                        change.withdrawn.push(nlri);
                    }
                }
            }
        }
        if !dropped.is_any() && path_id.is_none() {
            self.blackholes.prefixes.remove(&(peer, net));
        }
        change
    }

    /// Takes back a blackhole of an earlier run, or of the state file: later routes to its prefix are to end it.
    pub(crate) fn note_blackhole(&mut self, rules: &RuleTable, peer: PeerId, nlri: &Nlri) {
        self.trim_blackholes(rules);
        self.blackholes.prefixes.extend(prefix_of(nlri).map(|net| (peer, net)));
    }

    /// Whether the configuration makes a blackhole of it.
    pub(crate) fn is_blackhole(&self, announcement: &Announcement) -> bool {
        let peer = self.peers.get(announcement.peer);
        peer.is_some_and(|peer| is_dropped(peer, &announcement.nlri, &announcement.route))
    }

    /// What flapping peers leave behind goes.
    fn trim_blackholes(&mut self, rules: &RuleTable) {
        let known = &mut self.blackholes;
        if known.prefixes.len() < known.trim_at.max(FEW) {
            return;
        }
        known.prefixes = rules
            .iter()
            .flat_map(|(key, entry)| entry.paths.iter().map(move |path| (key, path)))
            .filter(|(_, path)| path.key.kind == PathKind::Blackhole)
            .filter_map(|(key, path)| Some((path.peer, prefix_of(key.nlri()?)?)))
            .collect();
        known.trim_at = known.prefixes.len() * 2;
    }

    /// After another configuration: of peers with blackholes, unicast routes are only kept where something is validated by them.
    pub(super) fn forget_unneeded_unicast(&mut self) {
        self.validates = self.peers.values().any(|peer| peer.policy().is_some_and(|policy| policy.validate));
        if self.validates {
            return;
        }
        for id in self.peers.ids() {
            let Some(peer) = self.peers.get_mut(id) else { continue };
            if peer.blackhole().is_none() || peer.counts().unicast == 0 {
                continue;
            }
            for version in [flowspec::IpVersion::V4, flowspec::IpVersion::V6] {
                let (_, removed) = self.unicast.retain(id, version, |_| false);
                peer.release_unicast(removed);
            }
        }
    }

    #[cfg(test)]
    pub(crate) fn blackhole_prefixes(&self) -> usize {
        self.blackholes.prefixes.len()
    }
}

/// The rules that a unicast route is, with their route; none if it has no mark.
pub fn blackhole_rules(net: IpNet, route: &Route, blackhole: &Blackhole) -> Vec<(Nlri, Route)> {
    let dropped = blackhole.dropped_by(route);
    let kinds = [(ComponentType::Destination, dropped.destination), (ComponentType::Source, dropped.source)];
    let rules = kinds.into_iter().filter(|(_, is_dropped)| *is_dropped).filter_map(|(kind, _)| rule_of(kind, net));
    rules.map(|nlri| (nlri, blackhole_route(route))).collect()
}

/// Whether a path is still one under the configuration of its peer: a blackhole needs its trigger.
pub(super) fn is_still_announced(peer: &Peer, nlri: &Nlri, path: &Path) -> bool {
    path.key.kind == PathKind::Flow || is_dropped(peer, nlri, path.announced_route())
}

fn is_dropped(peer: &Peer, nlri: &Nlri, route: &Route) -> bool {
    let dropped = peer.blackhole().map(|blackhole| blackhole.dropped_by(route)).unwrap_or_default();
    if nlri.destination().is_some() { dropped.destination } else { dropped.source }
}

/// The rule for packets to a prefix, or from it. The first address of an IPv6 prefix of any length is a pattern of that length.
fn rule_of(kind: ComponentType, net: IpNet) -> Option<Nlri> {
    let (family, prefix) = match net {
        IpNet::V4(net) => (Family::Ipv4, Prefix::V4(net.trunc())),
        IpNet::V6(net) => (Family::Ipv6, Prefix::V6(Ipv6Pattern::new(net.network(), 0, net.prefix_len())?)),
    };
    Nlri::builder(family).prefix(kind, prefix).build().ok()
}

fn prefix_of(nlri: &Nlri) -> Option<IpNet> {
    destination(nlri).or_else(|| source(nlri))
}

/// The route of the rule: it discards. What else the communities say of the route is kept, and what they would ask of a traffic filter is
/// not: on a unicast route it means nothing.
fn blackhole_route(route: &Route) -> Route {
    let discard = Action::RateBytes { asn: 0, rate: Rate::ZERO };
    let kept = route.actions.iter().filter(|action| !is_action(action)).copied();
    Route { actions: [discard].into_iter().chain(kept).collect(), ..route.clone() }
}
