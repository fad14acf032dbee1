//! What is known of each peer and its session, for people and for the policy on its loss.

use crate::convert;
use crate::events::timestamp;
use crate::net::PeerId;
use api::PeerView;
use bgp::{AfiSafi, DownReason, FamilySet, Negotiated, State, Update};
use flowspec::Disposition;
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::time::SystemTime;

/// The configured peers.
#[derive(Debug, Default)]
pub(crate) struct PeerTable {
    peers: Vec<PeerEntry>,
    by_id: HashMap<PeerId, usize>,
}

/// One of them.
#[derive(Debug)]
pub(crate) struct PeerEntry {
    id: PeerId,
    config: config::Peer,
    external: bool,
    negotiated: Option<Negotiated>,
    state: State,
    since: SystemTime,
    updates: u64,
    malformed: BTreeMap<&'static str, u64>,
    established_count: u64,
    last_error: Option<String>,
    /// The last error is about how the two sides are configured: it is shown until there is a session, whatever else ends attempts.
    last_error_is_configuration: bool,
    /// Why the latest attempt failed, as it was told.
    last_attempt: Option<String>,
    next_try: Option<SystemTime>,
    /// That there are more rules than there may be was told in this session.
    excess_told: bool,
    /// The families whose End-of-RIB came in this session.
    synchronized: FamilySet,
    /// The boundaries of a family's rules were lost in this session, which ends by that; in words.
    framing_lost: Option<String>,
    /// Sessions that ended by that.
    framing_resets: u64,
}

impl PeerTable {
    /// Takes over a configuration; what is known of peers that stay is kept.
    pub(crate) fn configure(&mut self, config: &config::Config, ids: &[PeerId]) {
        let mut old: HashMap<PeerId, PeerEntry> = self.peers.drain(..).map(|entry| (entry.id, entry)).collect();
        for (peer, id) in config.peers.iter().zip(ids) {
            let external = peer.asn != peer.local_as.unwrap_or(config.router.asn);
            let mut entry = match old.remove(id) {
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
                    last_error_is_configuration: false,
                    last_attempt: None,
                    next_try: None,
                    excess_told: false,
                    synchronized: FamilySet::EMPTY,
                    framing_lost: None,
                    framing_resets: 0,
                },
            };
            if let Some(why) = &peer.md5_error {
                entry.last_error = Some(format!("md5-file: {why}"));
                entry.last_error_is_configuration = true;
            }
            self.peers.push(entry);
        }
        self.by_id = self.peers.iter().enumerate().map(|(index, entry)| (entry.id, index)).collect();
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &PeerEntry> {
        self.peers.iter()
    }

    pub(crate) fn get(&self, id: PeerId) -> Option<&PeerEntry> {
        self.by_id.get(&id).map(|index| &self.peers[*index])
    }

    pub(crate) fn get_mut(&mut self, id: PeerId) -> Option<&mut PeerEntry> {
        self.by_id.get(&id).map(|index| &mut self.peers[*index])
    }

    /// The name of a peer, if it is configured.
    pub(crate) fn name(&self, id: PeerId) -> Option<&str> {
        self.get(id).map(|entry| entry.config.name.as_str())
    }

    pub(crate) fn by_address(&self, address: IpAddr) -> Option<&PeerEntry> {
        self.peers.iter().find(|entry| entry.config.address == address)
    }

    pub(crate) fn established(&self) -> usize {
        self.peers.iter().filter(|entry| entry.negotiated.is_some()).count()
    }
}

impl PeerEntry {
    pub(crate) const fn id(&self) -> PeerId {
        self.id
    }

    pub(crate) const fn config(&self) -> &config::Peer {
        &self.config
    }

    /// Whether it is in another AS.
    pub(crate) const fn is_external(&self) -> bool {
        self.external
    }

    /// What the session was agreed to be; `None` without a session.
    pub(crate) const fn negotiated(&self) -> Option<&Negotiated> {
        self.negotiated.as_ref()
    }

    /// Whether the End-of-RIB of a family came in this session.
    pub(crate) const fn is_synchronized(&self, family: AfiSafi) -> bool {
        self.synchronized.contains(family)
    }

    /// The End-of-RIB of a family came.
    pub(crate) fn end_of_rib(&mut self, family: AfiSafi) {
        self.synchronized.insert(family);
    }

    /// It announced more rules than it may; true for the first time in this session.
    pub(crate) fn is_first_excess(&mut self) -> bool {
        !std::mem::replace(&mut self.excess_told, true)
    }

    pub(crate) fn up(&mut self, negotiated: Negotiated) {
        self.negotiated = Some(negotiated);
        self.established_count += 1;
        self.last_error_is_configuration = false;
        (self.last_attempt, self.next_try) = (None, None);
        self.excess_told = false;
        self.synchronized = FamilySet::EMPTY;
    }

    pub(crate) fn down(&mut self, why: String) {
        self.negotiated = None;
        self.last_error = Some(why);
    }

    pub(crate) fn failed(&mut self, why: String) {
        self.last_error = Some(why);
    }

    /// An attempt at a session failed; whether for another reason than the one before. While a session is up, an attempt says nothing
    /// about the peer: it may be anybody's.
    pub(crate) fn attempt_failed(&mut self, reason: &DownReason) -> bool {
        let text = reason.to_string();
        if self.negotiated.is_none() && (reason.is_configuration() || !self.last_error_is_configuration) {
            self.last_error = Some(text.clone());
            self.last_error_is_configuration = reason.is_configuration();
        }
        let before = self.last_attempt.replace(text);
        before != self.last_attempt
    }

    /// When we connect next, or take connections again.
    pub(crate) fn next_try(&mut self, at: Option<SystemTime>) {
        self.next_try = at;
    }

    pub(crate) fn state(&mut self, state: State) {
        if state != self.state {
            self.state = state;
            self.since = SystemTime::now();
        }
    }

    pub(crate) fn count(&mut self, update: &Update) {
        self.updates += 1;
        for error in &update.errors {
            *self.malformed.entry(error.kind.name()).or_default() += 1;
            if error.disposition() == Disposition::DisableFamily && self.framing_lost.is_none() {
                self.framing_lost = Some(error.to_string());
                self.framing_resets += 1;
            }
        }
    }

    pub(crate) fn count_misread(&mut self) {
        *self.malformed.entry("exabgp-json").or_default() += 1;
    }

    /// Why the boundaries of its rules were lost, once: where the session ended by that.
    pub(crate) fn take_framing_lost(&mut self) -> Option<String> {
        self.framing_lost.take()
    }

    /// Something that RFC 7313 says to ignore came: the first in this session is worth a line.
    pub(crate) fn count_early_refresh(&mut self) -> bool {
        let count = self.malformed.entry("refresh-before-end-of-rib").or_default();
        *count += 1;
        *count == 1
    }

    pub(crate) fn view(&self, rules: u64, stale: u64) -> PeerView {
        PeerView {
            name: self.config.name.clone(),
            address: self.config.address.to_string(),
            asn: self.config.asn,
            state: convert::session_state(self.state).into(),
            since: timestamp(self.since),
            hold_time: self.negotiated.as_ref().map(|negotiated| negotiated.hold_time),
            families: self
                .negotiated
                .iter()
                .flat_map(|negotiated| negotiated.families.iter().map(|family| convert::address_family(family).into()))
                .collect(),
            rules,
            stale,
            updates: self.updates,
            malformed: self.malformed.iter().map(|(kind, count)| ((*kind).to_owned(), *count)).collect(),
            established_count: self.established_count,
            framing_resets: self.framing_resets,
            last_error: self.last_error.clone(),
            next_try: self.next_try.map(timestamp),
        }
    }
}
