//! The sources of routes: who they are, what they may do, and how much they sent.

use crate::import_policy::ImportPolicy;
use crate::key::RuleKey;
use crate::route::PeerId;
use flowspec::PathId;
use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr};

/// What the configuration says of a peer.
#[derive(Clone, Debug, PartialEq)]
pub struct PeerConfig {
    /// Its address; `None` for rules that are made here.
    pub address: Option<IpAddr>,
    /// It is in another AS (and not of our confederation).
    pub external: bool,
    /// What it may ask for. Without one, an external peer gives nothing (RFC 8212), and another may do anything.
    pub policy: Option<ImportPolicy>,
}

impl PeerConfig {
    /// A source of rules that are made here: no session, no policy, and its rules are preferred to those of others.
    pub const fn local() -> Self {
        PeerConfig { address: None, external: false, policy: None }
    }
}

/// How much a peer has sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PeerCounts {
    /// Rules that are held, those beyond the limit included.
    pub rules: u64,
    /// Of those, the ones beyond the limit.
    pub excess: u64,
    /// Rules that were not even held, since the peer went so far beyond its limit; counted since the start.
    pub dropped: u64,
    /// Unicast routes that are held.
    pub unicast: u64,
}

#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) config: PeerConfig,
    pub(crate) router_id: Ipv4Addr,
    pub(crate) counts: PeerCounts,
    /// Paths that were beyond the limit when they came, in that order; some may have gone since.
    pub(crate) waiting: VecDeque<(RuleKey, Option<PathId>)>,
}

#[derive(Debug, Default)]
pub(crate) struct Peers(pub(crate) BTreeMap<PeerId, Peer>);

impl Peers {
    pub(crate) fn set(&mut self, peers: BTreeMap<PeerId, PeerConfig>) {
        self.0.retain(|id, _| peers.contains_key(id));
        for (id, config) in peers {
            match self.0.get_mut(&id) {
                Some(peer) => peer.config = config,
                None => {
                    let peer = Peer {
                        config,
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

    pub(crate) fn counts_mut(&mut self, id: PeerId) -> Option<&mut PeerCounts> {
        self.0.get_mut(&id).map(|peer| &mut peer.counts)
    }
}
