//! What is known of each peer and its session, for people and for the policy on its loss.

use super::convert;
use crate::api::PeerView;
use crate::config;
use crate::events::timestamp;
use crate::net::PeerId;
use bgp::{AfiSafi, Negotiated, StaleFamily, State, Update};
use engine::{Retention, Timestamp};
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::time::SystemTime;

/// The configured peers.
#[derive(Debug, Default)]
pub(super) struct PeerTable {
    peers: Vec<PeerEntry>,
    by_id: HashMap<PeerId, usize>,
}

/// One of them.
#[derive(Debug)]
pub(super) struct PeerEntry {
    pub(super) id: PeerId,
    pub(super) config: config::Peer,
    pub(super) external: bool,
    pub(super) negotiated: Option<Negotiated>,
    state: State,
    since: SystemTime,
    updates: u64,
    malformed: BTreeMap<&'static str, u64>,
    established_count: u64,
    last_error: Option<String>,
    /// Told once a session.
    pub(super) excess_told: bool,
}

impl PeerTable {
    /// Takes over a configuration; what is known of peers that stay is kept.
    pub(super) fn configure(&mut self, config: &config::Config, ids: &[PeerId]) {
        let mut old: HashMap<PeerId, PeerEntry> = self.peers.drain(..).map(|entry| (entry.id, entry)).collect();
        for (peer, id) in config.peers.iter().zip(ids) {
            let external = peer.asn != peer.local_as.unwrap_or(config.router.asn);
            let entry = match old.remove(id) {
                Some(entry) => PeerEntry { config: peer.clone(), external, ..entry },
                None => PeerEntry {
                    id: *id,
                    config: peer.clone(),
                    external,
                    negotiated: None,
                    state: State::Idle,
                    since: SystemTime::now(),
                    updates: 0,
                    malformed: BTreeMap::new(),
                    established_count: 0,
                    last_error: None,
                    excess_told: false,
                },
            };
            self.peers.push(entry);
        }
        self.by_id = self.peers.iter().enumerate().map(|(index, entry)| (entry.id, index)).collect();
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &PeerEntry> {
        self.peers.iter()
    }

    pub(super) fn get(&self, id: PeerId) -> Option<&PeerEntry> {
        self.by_id.get(&id).map(|index| &self.peers[*index])
    }

    pub(super) fn get_mut(&mut self, id: PeerId) -> Option<&mut PeerEntry> {
        self.by_id.get(&id).map(|index| &mut self.peers[*index])
    }

    pub(super) fn by_address(&self, address: IpAddr) -> Option<&PeerEntry> {
        self.peers.iter().find(|entry| entry.config.address == address)
    }

    pub(super) fn established(&self) -> usize {
        self.peers.iter().filter(|entry| entry.negotiated.is_some()).count()
    }
}

impl PeerEntry {
    pub(super) fn up(&mut self, negotiated: Negotiated) {
        self.negotiated = Some(negotiated);
        self.established_count += 1;
        self.excess_told = false;
    }

    pub(super) fn down(&mut self, why: String) {
        self.negotiated = None;
        self.last_error = Some(why);
    }

    pub(super) fn failed(&mut self, why: String) {
        self.last_error = Some(why);
    }

    pub(super) fn last_error(&self) -> Option<&str> {
        self.last_error.as_deref()
    }

    pub(super) fn state(&mut self, state: State) {
        if state != self.state {
            self.state = state;
            self.since = SystemTime::now();
        }
    }

    pub(super) fn count(&mut self, update: &Update) {
        self.updates += 1;
        for error in &update.errors {
            *self.malformed.entry(error.kind.name()).or_default() += 1;
        }
    }

    pub(super) fn count_misread(&mut self) {
        *self.malformed.entry("exabgp-json").or_default() += 1;
    }

    /// The families whose routes outlive the session, and for how long: what the operator says (`hold-on-loss`) and what was negotiated
    /// (graceful restart), the longer of the two.
    pub(super) fn retention(&self, graceful: &[StaleFamily], now: Timestamp) -> Vec<Retention> {
        let Some(negotiated) = &self.negotiated else { return Vec::new() };
        let retention = |family| {
            let graceful = graceful.iter().find(|stale| stale.family == family);
            let restart = graceful.map_or(0, |stale| u64::from(stale.restart_time));
            let long_lived = graceful.map_or(0, |stale| u64::from(stale.long_lived));
            // Unicast routes serve validation alone; they follow the session, unless it restarts gracefully.
            let hold = if matches!(family, AfiSafi::Flow(_)) { self.config.hold_on_loss.0.as_secs() } else { 0 };
            let until = restart.max(hold);
            (until > 0 || long_lived > 0).then(|| Retention {
                family: convert::family(family),
                until: (until > 0).then(|| now.plus(until)),
                long_lived_until: (long_lived > 0).then(|| now.plus(until).plus(long_lived)),
                keep_stale: hold > 0,
            })
        };
        negotiated.families.iter().filter_map(retention).collect()
    }

    pub(super) fn view(&self, rules: u64, stale: u64) -> PeerView {
        PeerView {
            name: self.config.name.clone(),
            address: self.config.address.to_string(),
            asn: self.config.asn,
            state: self.state.name().to_owned(),
            since: timestamp(self.since),
            hold_time: self.negotiated.as_ref().map(|negotiated| negotiated.hold_time),
            families: self
                .negotiated
                .iter()
                .flat_map(|negotiated| negotiated.families.iter().map(|family| family.name().to_owned()))
                .collect(),
            rules,
            stale,
            updates: self.updates,
            malformed: self.malformed.iter().map(|(kind, count)| ((*kind).to_owned(), *count)).collect(),
            established_count: self.established_count,
            last_error: self.last_error.clone(),
        }
    }
}
