//! The origins of routes: who they are, their import policy, and their numbers of routes.

use crate::import_policy::{Blackhole, Evaluation, ImportPolicy, OnExcess, PolicyChain};
use crate::key::RuleKey;
use crate::path_key::{PathKey, PathKind};
use crate::route::{PeerId, Route};
use flowspec::Nlri;
use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr};

/// The configuration of a peer.
#[derive(Clone, Debug, PartialEq)]
pub struct PeerConfig {
    /// Its address; `None` for the source of locally originated rules.
    pub address: Option<IpAddr>,
    /// It is in another AS (and not of our confederation).
    pub external: bool,
    /// Its import policy. Without one, nothing of an external peer is accepted (RFC 8212), and
    /// everything of another.
    pub policy: Option<ImportPolicy>,
}

impl PeerConfig {
    /// The origin of locally originated rules: no session, no policy, and its rules are preferred
    /// to those of peers.
    pub const fn local() -> Self {
        PeerConfig { address: None, external: false, policy: None }
    }
}

/// Numbers of routes of a peer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PeerCounts {
    /// Rules in its Adj-RIB-In, those beyond its maximum-prefix limit included.
    pub rules: u64,
    /// Of those, the ones beyond the limit.
    pub excess: u64,
    /// Rules that were not kept, since the peer is so far beyond its limit; counted since the
    /// start.
    pub dropped: u64,
    /// Unicast routes in its Adj-RIB-In.
    pub unicast: u64,
}

/// The result of the maximum-prefix limit for one more route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    /// Within the limit.
    Within,
    /// Beyond it, and accepted like the others.
    Warn,
    /// Beyond it: kept, and not accepted until there is room.
    Excess(OnExcess),
    /// So far beyond it that the route is not kept.
    Dropped,
}

/// One source of routes. Its counts are those of the routes that are kept, so every route is
/// counted in and out here.
#[derive(Debug)]
pub(crate) struct Peer {
    config: PeerConfig,
    /// What the policy of `config` says, as statements.
    chain: Option<PolicyChain>,
    router_id: Ipv4Addr,
    counts: PeerCounts,
    /// Paths that were beyond the limit when they were announced, in that order; some may be
    /// withdrawn by now.
    waiting: VecDeque<(RuleKey, PathKey)>,
}

impl Peer {
    pub(crate) const fn config(&self) -> &PeerConfig {
        &self.config
    }

    pub(crate) const fn policy(&self) -> Option<&ImportPolicy> {
        self.config.policy.as_ref()
    }

    /// The result of its policy for a route. Without a policy the route is unchanged.
    pub(crate) fn evaluate(&self, nlri: &Nlri, kind: PathKind, route: &Route) -> Evaluation {
        self.chain.as_ref().map(|chain| chain.run(nlri, kind, route, |_| {})).unwrap_or_default()
    }

    pub(crate) const fn chain(&self) -> Option<&PolicyChain> {
        self.chain.as_ref()
    }

    /// Which of its unicast routes are blackholes.
    pub(crate) fn blackhole(&self) -> Option<&Blackhole> {
        self.policy().and_then(|policy| policy.blackhole.as_ref())
    }

    pub(crate) const fn counts(&self) -> PeerCounts {
        self.counts
    }

    pub(crate) const fn set_router_id(&mut self, router_id: Ipv4Addr) {
        self.router_id = router_id;
    }

    /// Counts one more rule, unless it is dropped.
    pub(crate) fn admit(&mut self, key: &RuleKey, path: PathKey) -> Admission {
        let counts = &mut self.counts;
        let limit = self.config.policy.as_ref().and_then(|policy| Some((policy.on_excess, policy.max_rules?)));
        let admission = match limit {
            Some((on_excess, limit)) if counts.rules - counts.excess >= limit => {
                if on_excess == OnExcess::Warn {
                    Admission::Warn
                } else if counts.rules >= limit.saturating_mul(2).saturating_add(1000) {
                    counts.dropped += 1;
                    return Admission::Dropped;
                } else {
                    counts.excess += 1;
                    self.waiting.push_back((key.clone(), path));
                    Admission::Excess(on_excess)
                }
            }
            _ => Admission::Within,
        };
        self.counts.rules += 1;
        admission
    }

    /// Counts one rule less.
    pub(crate) const fn release(&mut self, excess: bool) {
        self.counts.rules -= 1;
        self.counts.excess -= excess as u64;
    }

    /// The next path that was beyond the limit, if there is room for one now. It may be withdrawn.
    pub(crate) fn next_waiting(&mut self) -> Option<(RuleKey, PathKey)> {
        let limit = self.policy().and_then(|policy| policy.max_rules).unwrap_or(u64::MAX);
        if self.counts.excess == 0 {
            self.waiting.clear();
            return None;
        }
        if self.counts.rules - self.counts.excess < limit { self.waiting.pop_front() } else { None }
    }

    /// A path that was beyond the limit is within it now.
    pub(crate) const fn admit_waiting(&mut self) {
        self.counts.excess -= 1;
    }

    pub(crate) const fn reset_rule_counts(&mut self) {
        (self.counts.rules, self.counts.excess) = (0, 0);
    }

    pub(crate) const fn count_rule(&mut self, excess: bool) {
        self.counts.rules += 1;
        self.counts.excess += excess as u64;
    }

    pub(crate) const fn count_unicast(&mut self, added: u64) {
        self.counts.unicast += added;
    }

    pub(crate) const fn release_unicast(&mut self, removed: u64) {
        self.counts.unicast -= removed;
    }
}

/// All sources of routes, by number.
#[derive(Debug, Default)]
pub(crate) struct Peers(BTreeMap<PeerId, Peer>);

impl Peers {
    /// Applies another configuration; counts of peers that remain are kept.
    pub(crate) fn set(&mut self, peers: BTreeMap<PeerId, PeerConfig>) {
        self.0.retain(|id, _| peers.contains_key(id));
        for (id, config) in peers {
            let chain = config.policy.as_ref().map(PolicyChain::new);
            match self.0.get_mut(&id) {
                Some(peer) => (peer.config, peer.chain) = (config, chain),
                None => {
                    let peer = Peer {
                        config,
                        chain,
                        router_id: Ipv4Addr::UNSPECIFIED,
                        counts: PeerCounts::default(),
                        waiting: VecDeque::new(),
                    };
                    self.0.insert(id, peer);
                }
            }
        }
    }

    pub(crate) fn get(&self, id: PeerId) -> Option<&Peer> {
        self.0.get(&id)
    }

    pub(crate) fn get_mut(&mut self, id: PeerId) -> Option<&mut Peer> {
        self.0.get_mut(&id)
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = &Peer> {
        self.0.values()
    }

    pub(crate) fn values_mut(&mut self) -> impl Iterator<Item = &mut Peer> {
        self.0.values_mut()
    }

    pub(crate) fn ids(&self) -> Vec<PeerId> {
        self.0.keys().copied().collect()
    }

    pub(crate) fn is_local(&self, id: PeerId) -> bool {
        self.get(id).is_some_and(|peer| peer.config.address.is_none())
    }

    pub(crate) fn is_external(&self, id: PeerId) -> bool {
        self.get(id).is_some_and(|peer| peer.config.external)
    }

    pub(crate) fn router_id(&self, id: PeerId) -> Ipv4Addr {
        self.get(id).map_or(Ipv4Addr::UNSPECIFIED, |peer| peer.router_id)
    }

    pub(crate) fn address(&self, id: PeerId) -> Option<IpAddr> {
        self.get(id).and_then(|peer| peer.config.address)
    }
}
