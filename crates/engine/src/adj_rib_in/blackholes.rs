//! Unicast routes that are blackholes: each becomes a rule that discards packets to or from its
//! prefix, in addition to rules announced as traffic filters.

use super::{AdjRibIn, AnnounceOutcome, Announcement};
use crate::blackhole_rules::{blackhole_route, is_dropped, prefix_of, rule_of};
use crate::import_policy::Dropped;
use crate::key::RuleKey;
use crate::path_key::PathKey;
use crate::route::{PeerId, Route, Timestamp};
use crate::rule_table::RuleTable;
use flowspec::{ComponentType, Nlri, PathId};
use ipnet::IpNet;
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

/// The rules that a unicast route created or ended: those of blackholes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct UnicastChange {
    /// The rules that it is, with their actions.
    pub announced: Vec<(Arc<Nlri>, Arc<Route>, AnnounceOutcome)>,
    /// The rules that it was, and is no longer.
    pub withdrawn: Vec<Arc<Nlri>>,
}

impl AdjRibIn {
    /// A peer announces a unicast route: it is kept if rules are validated by it, and becomes rules
    /// if it is a blackhole.
    pub(crate) fn announce_unicast_route(&mut self, rules: &mut RuleTable, announced: UnicastRoute) -> UnicastChange {
        let UnicastRoute { peer, net, path_id, route, received } = announced;
        let Some(known_peer) = self.peers.get(peer) else { return UnicastChange::default() };
        let dropped = known_peer.blackhole().map(|blackhole| blackhole.dropped_by(&route)).unwrap_or_default();
        self.announce_unicast(peer, net, PathKey::flow(path_id), route.clone());
        if dropped.is_any() {
            let route = Arc::new(blackhole_route(&route));
            self.blackholes.trim(rules);
            self.blackholes.insert(peer, net);
            self.set_blackhole(rules, peer, net, path_id, dropped, Some((route, received)))
        } else if self.blackholes.contains(peer, net) {
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
        if self.blackholes.contains(peer, net) {
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
            self.blackholes.remove(peer, net);
        }
        change
    }

    /// Restores a blackhole of an earlier run, or of the state file: later routes to its prefix
    /// will end it.
    pub(crate) fn note_blackhole(&mut self, rules: &RuleTable, peer: PeerId, nlri: &Nlri) {
        self.blackholes.trim(rules);
        if let Some(net) = prefix_of(nlri) {
            self.blackholes.insert(peer, net);
        }
    }

    /// Whether the configuration makes a blackhole of it.
    pub(crate) fn is_blackhole(&self, announcement: &Announcement) -> bool {
        let peer = self.peers.get(announcement.peer);
        peer.is_some_and(|peer| is_dropped(peer, &announcement.nlri, &announcement.route))
    }

    /// After another configuration: of peers with blackholes, unicast routes are only kept if
    /// something is validated by them.
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
        self.blackholes.len()
    }
}
