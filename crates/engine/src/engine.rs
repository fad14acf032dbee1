//! The engine: route changes go in, and changes for the data plane come out; in between, every rule has one state with a reason.
//!
//! Nothing is decided when a route comes in. Decisions are made when the next change is asked for, once for all that happened since: a
//! burst of updates is one change. The order in which routes came does not matter, except for who was first to reach a limit.

use crate::capability::Capabilities;
use crate::compile;
use crate::import_policy::OnExcess;
use crate::key::RuleKey;
use crate::peer::{PeerConfig, PeerCounts, Peers};
use crate::plan::Ruleset;
use crate::precedence::Exceptions;
use crate::protection::{Protected, Protection};
use crate::route::{Path, PeerId, Route, RouteFamily, Routes, Timestamp};
use crate::table::Table;
use crate::unicast::UnicastRib;
use flowspec::{Nlri, PathId, Space};
use ipnet::IpNet;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;

mod change;
mod decide;
mod losses;
mod rejected;
mod snapshot;
mod stale;
#[cfg(test)]
mod tests;
mod view;

pub use change::Transaction;
pub use rejected::Rejected;
pub use snapshot::{InvalidSnapshot, SnapshotPath};
pub use stale::Retention;
pub use view::{PathRef, RuleRef};

/// What the engine is told by the configuration and by the data plane.
#[derive(Clone, Debug)]
pub struct EngineConfig {
    /// What the data plane can do.
    pub capabilities: Capabilities,
    /// What stays reachable.
    pub protection: Protection,
    /// Who may send routes.
    pub peers: BTreeMap<PeerId, PeerConfig>,
    /// Count only: what rules match is counted, and nothing is done to it. Which rules are in force, and that the first match ends the
    /// search, is as without.
    pub monitor: bool,
}

/// How an announcement changed the Adj-RIB-In.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnnounceOutcome {
    /// It is new, or differs from what the peer announced before.
    Changed,
    /// The peer had announced exactly this before.
    Unchanged,
    /// It is beyond the peer's limit; what happens now is policy.
    OverLimit(OnExcess),
    /// It is so far beyond the peer's limit that it is not kept.
    Dropped,
    /// The peer is not configured: nothing was done.
    UnknownPeer,
}

/// Its parts are told at the top of the file.
#[derive(Debug)]
pub struct Engine {
    capabilities: Capabilities,
    protection: Protection,
    /// Packets accepted ahead of every rule, as entries.
    protected: Arc<Vec<Space>>,
    /// The protected packets that the data plane cannot let through exactly.
    unprotected: Vec<(Protected, String)>,
    peers: Peers,
    routes: Routes,
    table: Table,
    unicast: UnicastRib,
    /// Prefixes whose unicast routes changed since the last decisions.
    unicast_changes: Vec<IpNet>,
    exceptions: Exceptions,
    stale: stale::Deadlines,
    monitor: bool,
    paused: bool,
    rejected: Rejected,
    /// Why no packet meets the rules, although the data plane has them.
    unfiltered: Option<String>,
    change: change::Progress,
}

impl Engine {
    /// Without a route. The first change is a full load, so that leftovers of an earlier run go.
    pub fn new(config: EngineConfig) -> Self {
        let mut engine = Engine {
            capabilities: config.capabilities,
            protection: Protection::default(),
            protected: Arc::default(),
            unprotected: Vec::new(),
            peers: Peers::default(),
            routes: Routes::default(),
            table: Table::default(),
            unicast: UnicastRib::default(),
            unicast_changes: Vec::new(),
            exceptions: Exceptions::default(),
            stale: stale::Deadlines::default(),
            monitor: config.monitor,
            paused: false,
            rejected: Rejected::default(),
            unfiltered: None,
            change: change::Progress::default(),
        };
        engine.peers.set(config.peers);
        engine.protect(config.protection);
        engine
    }

    /// Takes another configuration. Routes of peers that are no longer in it go; all else is decided anew.
    pub fn reconfigure(&mut self, config: EngineConfig) {
        let EngineConfig { capabilities, protection, peers, monitor } = config;
        self.peers.set(peers);
        let peers = &self.peers;
        self.table.touch_where(|_, record| {
            record.paths.retain(|path| peers.get(path.peer).is_some());
            true
        });
        self.stale.keep_peers(|peer| peers.get(peer).is_some());
        self.recount();
        if capabilities != self.capabilities {
            self.capabilities = capabilities;
            self.protected = Arc::default();
            self.reload();
            self.protect(protection);
        } else if protection != self.protection {
            self.protect(protection);
        }
        self.monitor = monitor;
    }

    /// A peer's route to a traffic filter. `expires` ends it; for a peer's own rules that is policy's business.
    pub fn announce(
        &mut self,
        peer: PeerId,
        nlri: impl Into<Arc<Nlri>>,
        path_id: Option<PathId>,
        route: Arc<Route>,
        now: Timestamp,
        expires: Option<Timestamp>,
    ) -> AnnounceOutcome {
        let Some(known_peer) = self.peers.0.get_mut(&peer) else { return AnnounceOutcome::UnknownPeer };
        let policy = known_peer.config.policy.as_ref();
        let lifetime = policy.and_then(|policy| policy.max_lifetime);
        let deadline = expires.into_iter().chain(lifetime.map(|seconds| now.plus(seconds))).min();
        let key = RuleKey::new(nlri.into());
        let route = self.routes.share(route);
        let (record, dirty) = self.table.entry(&key);
        if let Some(old) = record.paths.iter_mut().find(|path| path.is(peer, path_id)) {
            let was_stale = old.stale || old.long_lived;
            let was_awaited = old.confirm();
            let changed = !Arc::ptr_eq(&old.route, &route);
            if changed {
                old.route = route;
                old.presumed_feasible = false;
            }
            // Announcing it again starts its life anew. What is sent again after a session loss or a refresh is no new wish: its life
            // goes on as it was.
            let anew = changed || !was_awaited;
            let prolonged = anew && (old.deadline != deadline || old.expired);
            if changed || prolonged {
                old.received = now;
            }
            if prolonged {
                // An earlier timer of the same route moves on by itself when it is due.
                let timed = !old.expired && old.deadline.is_some_and(|old| deadline.is_some_and(|new| old <= new));
                old.expired = false;
                old.deadline = deadline;
                if !timed {
                    self.stale.lives_until(deadline, &key, peer, path_id);
                }
            }
            if let Some(trouble) = &mut record.trouble {
                trouble.retry |= changed;
            }
            if changed || was_stale || prolonged {
                record.mark(&key, dirty);
            }
            return if changed { AnnounceOutcome::Changed } else { AnnounceOutcome::Unchanged };
        }
        // Even without a path: a record that was only just made has to go again.
        record.mark(&key, dirty);
        let mut path = Path::new(peer, path_id, route, now);
        path.deadline = deadline;
        let mut outcome = AnnounceOutcome::Changed;
        let counts = &mut known_peer.counts;
        if let Some((policy, limit)) = policy.and_then(|policy| Some((policy, policy.max_rules?)))
            && counts.rules - counts.excess >= limit
        {
            outcome = AnnounceOutcome::OverLimit(policy.on_excess);
            if policy.on_excess != OnExcess::Warn {
                if counts.rules >= limit.saturating_mul(2).saturating_add(1000) {
                    counts.dropped += 1;
                    return AnnounceOutcome::Dropped;
                }
                path.excess = true;
                counts.excess += 1;
                known_peer.waiting.push_back((key.clone(), path_id));
            }
        }
        counts.rules += 1;
        record.paths.reserve_exact(1);
        record.paths.push(path);
        self.stale.lives_until(deadline, &key, peer, path_id);
        outcome
    }

    /// A peer withdraws a traffic filter; whether it had announced it.
    pub fn withdraw(&mut self, peer: PeerId, nlri: impl Into<Arc<Nlri>>, path_id: Option<PathId>) -> bool {
        self.withdraw_key(peer, &RuleKey::new(nlri.into()), path_id)
    }

    fn withdraw_key(&mut self, peer: PeerId, key: &RuleKey, path_id: Option<PathId>) -> bool {
        let Some(record) = self.table.rules.get_mut(key) else { return false };
        let Some(at) = record.paths.iter().position(|path| path.is(peer, path_id)) else { return false };
        let path = record.paths.remove(at);
        self.table.touch(key);
        if let Some(counts) = self.peers.counts_mut(peer) {
            counts.rules -= 1;
            counts.excess -= u64::from(path.excess);
        }
        self.let_in_waiting(peer);
        true
    }

    /// A peer's route to a unicast prefix.
    pub fn announce_unicast(&mut self, peer: PeerId, net: IpNet, path_id: Option<PathId>, route: Arc<Route>) {
        let Some(counts) = self.peers.counts_mut(peer) else { return };
        let route = self.routes.share(route);
        counts.unicast += u64::from(self.unicast.announce(net, Path::new(peer, path_id, route, Timestamp(0))));
        self.unicast_changed(net);
    }

    /// A peer withdraws a route to a unicast prefix.
    pub fn withdraw_unicast(&mut self, peer: PeerId, net: IpNet, path_id: Option<PathId>) {
        if self.unicast.withdraw(net, peer, path_id) {
            self.unicast_changed(net);
            if let Some(counts) = self.peers.counts_mut(peer) {
                counts.unicast -= 1;
            }
        }
    }

    /// Notes a prefix for which validation may come out otherwise; not each of a full table, since many come to the same as all.
    fn unicast_changed(&mut self, net: IpNet) {
        if self.unicast_changes.len() < decide::MANY_PREFIXES {
            self.unicast_changes.push(net);
        }
    }

    /// Takes all filtering out, until [`resume`](Self::resume).
    pub fn pause(&mut self) {
        if !std::mem::replace(&mut self.paused, true) {
            self.reload();
        }
    }

    /// Puts filtering back.
    pub fn resume(&mut self) {
        if std::mem::replace(&mut self.paused, false) {
            self.reload();
        }
    }

    /// Tells that no packet meets the rules although the data plane has them, and why: they are then shown as failed. `None`, that packets
    /// do.
    pub fn set_unfiltered(&mut self, why: Option<String>) {
        self.unfiltered = why;
    }

    /// Why no packet meets the rules, if that is so.
    pub fn unfiltered(&self) -> Option<&str> {
        self.unfiltered.as_deref()
    }

    /// Whether filtering is paused.
    pub const fn is_paused(&self) -> bool {
        self.paused
    }

    /// Count only, or enforce; see [`EngineConfig::monitor`].
    pub fn set_monitor(&mut self, monitor: bool) {
        if std::mem::replace(&mut self.monitor, monitor) != monitor {
            self.table.touch_all();
        }
    }

    /// Whether rules only count.
    pub const fn is_monitoring(&self) -> bool {
        self.monitor
    }

    /// How much a peer has sent.
    pub fn counts(&self, peer: PeerId) -> PeerCounts {
        self.peers.get(peer).map(|peer| peer.counts).unwrap_or_default()
    }

    /// The protected packets that the data plane cannot let through, and why. Rules may hit them.
    pub fn unprotected(&self) -> &[(Protected, String)] {
        &self.unprotected
    }

    /// All that is to be in force as of the last decisions.
    pub fn full(&self) -> Ruleset {
        if self.paused {
            return Ruleset::default();
        }
        let rules = self.table.rules.iter().filter_map(|(key, record)| {
            let want = record.want(self.monitor)?;
            let nlri = key.nlri()?;
            let entries = change::entries_of(nlri, &want, &self.capabilities)?;
            Some(change::compiled(nlri, &want, entries))
        });
        Ruleset { protected: self.protected.clone(), rules: rules.collect() }
    }

    /// Sets what stays reachable, as entries of the data plane.
    fn protect(&mut self, protection: Protection) {
        self.protection = protection;
        self.unprotected.clear();
        let mut entries = Vec::new();
        for item in self.protection.items() {
            match compile::split_into_entries(item.space.clone(), &self.capabilities) {
                Ok(parts) => entries.extend(parts),
                Err(kind) => {
                    let refusal = compile::Refusal::new(kind, &self.capabilities);
                    self.unprotected.push((item.clone(), refusal.to_string()));
                }
            }
        }
        self.protected = Arc::new(entries);
        self.table.touch_all();
    }

    /// A peer's session is up: its BGP identifier is known.
    pub fn peer_up(&mut self, peer: PeerId, router_id: Ipv4Addr) {
        if let Some(known) = self.peers.0.get_mut(&peer) {
            known.router_id = router_id;
        }
    }

    /// Counts anew what peers have sent, after many routes went at once.
    fn recount(&mut self) {
        self.peers.0.values_mut().for_each(|peer| (peer.counts.rules, peer.counts.excess) = (0, 0));
        for path in self.table.rules.values().flat_map(|record| &record.paths) {
            if let Some(counts) = self.peers.counts_mut(path.peer) {
                counts.rules += 1;
                counts.excess += u64::from(path.excess);
            }
        }
        let peers: Vec<_> = self.peers.0.keys().copied().collect();
        peers.into_iter().for_each(|peer| self.let_in_waiting(peer));
    }

    /// Lets in rules that were beyond the peer's limit, in the order in which they came, as far as there is room now.
    fn let_in_waiting(&mut self, id: PeerId) {
        let Some(peer) = self.peers.0.get_mut(&id) else { return };
        let limit = peer.config.policy.as_ref().and_then(|policy| policy.max_rules).unwrap_or(u64::MAX);
        while peer.counts.excess > 0 && peer.counts.rules - peer.counts.excess < limit {
            let Some((key, path_id)) = peer.waiting.pop_front() else { return };
            let path = self
                .table
                .rules
                .get_mut(&key)
                .and_then(|record| record.paths.iter_mut().find(|path| path.is(id, path_id) && path.excess));
            if let Some(path) = path {
                path.excess = false;
                peer.counts.excess -= 1;
                self.table.touch(&key);
            }
        }
        if peer.counts.excess == 0 {
            peer.waiting.clear();
        }
    }
}

impl From<flowspec::Family> for RouteFamily {
    fn from(family: flowspec::Family) -> Self {
        RouteFamily::Flow(family)
    }
}
