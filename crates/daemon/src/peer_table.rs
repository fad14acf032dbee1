//! The state of each peer and its session, for display and for the retention policy.

use crate::convert;
use crate::events::timestamp;
use crate::state_file::RetainedFamily;
use api::PeerView;
use bgp::{AfiSafi, DownReason, FamilySet, Negotiated, State, Update};
use engine::{PeerId, Retention, RouteFamily, Timestamp};
use flowspec::{Disposition, RuleId};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::net::IpAddr;
use std::time::SystemTime;

/// The configured peers.
#[derive(Debug, Default)]
pub(crate) struct PeerTable {
    peers: Vec<PeerEntry>,
    by_id: HashMap<PeerId, usize>,
    /// The addresses of peers that were removed from the configuration while rules were retained.
    removed: BTreeSet<IpAddr>,
}

/// One peer.
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
    /// The last error is about the configuration of the two sides: it is shown until there is a
    /// session, whatever ends later attempts.
    last_error_is_configuration: bool,
    /// Why the latest attempt failed, as it was reported.
    last_attempt: Option<String>,
    next_try: Option<SystemTime>,
    /// The excess over `max-rules` was reported in this session.
    excess_recorded: bool,
    /// The families whose End-of-RIB was received in this session.
    synchronized: FamilySet,
    /// The framing of a family's rules was lost in this session, which ends because of that; the
    /// reason.
    framing_lost: Option<String>,
    /// Sessions that ended because of that.
    framing_resets: u64,
    /// For how long the rules of the last session are retained, until the peer confirms them.
    retained: Vec<RetainedFamily>,
    /// `retained` has changed since it was saved.
    retained_is_unsaved: bool,
    /// The rules that were too long to be advertised in this session.
    too_long: HashSet<RuleId>,
}

impl PeerTable {
    /// Applies a configuration; the state of peers that remain is kept.
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
                    excess_recorded: false,
                    synchronized: FamilySet::EMPTY,
                    framing_lost: None,
                    framing_resets: 0,
                    retained: Vec::new(),
                    retained_is_unsaved: false,
                    too_long: HashSet::new(),
                },
            };
            if let Some(why) = &peer.md5_error {
                entry.last_error = Some(format!("md5-file: {why}"));
                entry.last_error_is_configuration = true;
            }
            self.peers.push(entry);
        }
        let retained = old.into_values().filter(|entry| !entry.retained.is_empty());
        self.removed.extend(retained.map(|entry| entry.config.address));
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

    /// For how long the rules of lost sessions are retained, as far as that has changed since the
    /// last call; an empty list for a peer without such rules.
    pub(crate) fn take_unsaved_retention(&mut self) -> Vec<(IpAddr, Vec<RetainedFamily>)> {
        let mut unsaved: Vec<_> =
            std::mem::take(&mut self.removed).into_iter().map(|address| (address, Vec::new())).collect();
        for entry in &mut self.peers {
            if std::mem::take(&mut entry.retained_is_unsaved) {
                unsaved.push((entry.config.address, entry.retained.clone()));
            }
        }
        unsaved
    }

    /// For how long the rules of lost sessions are retained: the peers with such rules.
    pub(crate) fn retention(&self) -> impl Iterator<Item = (IpAddr, &[RetainedFamily])> {
        let retained = self.peers.iter().filter(|entry| !entry.retained.is_empty());
        retained.map(|entry| (entry.config.address, entry.retained.as_slice()))
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

    /// The negotiated parameters; `None` without a session.
    pub(crate) const fn negotiated(&self) -> Option<&Negotiated> {
        self.negotiated.as_ref()
    }

    /// Whether the End-of-RIB of a family was received in this session.
    pub(crate) const fn is_synchronized(&self, family: AfiSafi) -> bool {
        self.synchronized.contains(family)
    }

    /// The End-of-RIB of a family was received.
    pub(crate) fn end_of_rib(&mut self, family: AfiSafi) {
        self.synchronized.insert(family);
    }

    /// Its session is lost; the rules of these families are retained.
    pub(crate) fn retain(&mut self, retention: &[Retention], now: Timestamp) {
        let retained = retention.iter().map(|retention| RetainedFamily {
            family: retention.family,
            since: now,
            until: retention.until,
            long_lived_until: retention.long_lived_until,
        });
        self.retained_is_unsaved |= !retention.is_empty() || !self.retained.is_empty();
        self.retained = retained.collect();
    }

    /// The same for a loss before the daemon was restarted.
    pub(crate) fn restore_retention(&mut self, retained: Vec<RetainedFamily>) {
        self.retained = retained;
    }

    /// The peer has sent all its rules of a family, or those that it has not sent are gone.
    pub(crate) fn confirmed(&mut self, family: RouteFamily) {
        let before = self.retained.len();
        self.retained.retain(|retained| retained.family != family);
        self.retained_is_unsaved |= self.retained.len() != before;
    }

    /// It announced more rules than `max-rules`; true for the first time in this session.
    pub(crate) fn is_first_excess(&mut self) -> bool {
        !std::mem::replace(&mut self.excess_recorded, true)
    }

    pub(crate) fn up(&mut self, negotiated: Negotiated) {
        self.negotiated = Some(negotiated);
        self.established_count += 1;
        self.last_error_is_configuration = false;
        (self.last_attempt, self.next_try) = (None, None);
        self.excess_recorded = false;
        self.synchronized = FamilySet::EMPTY;
        self.too_long.clear();
    }

    pub(crate) fn down(&mut self, why: String) {
        self.negotiated = None;
        self.last_error = Some(why);
    }

    pub(crate) fn failed(&mut self, why: String) {
        self.last_error = Some(why);
    }

    /// A connection attempt failed; true if the reason differs from the last one. While a session
    /// is established, an attempt says nothing about the peer: anybody may have made it.
    pub(crate) fn attempt_failed(&mut self, reason: &DownReason) -> bool {
        let text = reason.to_string();
        if self.negotiated.is_none() && (reason.is_configuration() || !self.last_error_is_configuration) {
            self.last_error = Some(text.clone());
            self.last_error_is_configuration = reason.is_configuration();
        }
        let before = self.last_attempt.replace(text);
        before != self.last_attempt
    }

    /// When we connect next, or accept connections again.
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

    pub(crate) fn count_parse_error(&mut self) {
        *self.malformed.entry("exabgp-json").or_default() += 1;
    }

    /// The families in which locally originated rules are advertised to it now; `None` if it is not
    /// to get any.
    pub(crate) fn advertised_families(&self) -> Option<FamilySet> {
        let families = self.negotiated.as_ref().map_or(FamilySet::EMPTY, |negotiated| negotiated.families);
        self.config.advertises_local().then_some(families.intersection(FamilySet::FLOW))
    }

    /// A rule does not fit into a message for it; true for the first time in this session.
    pub(crate) fn cannot_advertise(&mut self, rule: RuleId) -> bool {
        self.too_long.insert(rule)
    }

    /// The rules that do not fit into a message for it.
    pub(crate) const fn too_long(&self) -> &HashSet<RuleId> {
        &self.too_long
    }

    /// Why the framing of its rules was lost; returned once, for the end of that session.
    pub(crate) fn take_framing_lost(&mut self) -> Option<String> {
        self.framing_lost.take()
    }

    /// A message that RFC 7313 says to ignore was received; true for the first in this session,
    /// which is logged.
    pub(crate) fn count_early_refresh(&mut self) -> bool {
        let count = self.malformed.entry("refresh-before-end-of-rib").or_default();
        *count += 1;
        *count == 1
    }

    pub(crate) fn view(&self, rules: u64, stale: u64, advertised: Option<u64>) -> PeerView {
        PeerView {
            name: self.config.name.clone(),
            address: match (&self.config.bind_interface, self.config.address) {
                (Some(interface), IpAddr::V6(address)) if address.is_unicast_link_local() => {
                    format!("{address}%{interface}")
                }
                (_, address) => address.to_string(),
            },
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
            rule_states: BTreeMap::new(),
            updates: self.updates,
            malformed: self.malformed.iter().map(|(kind, count)| ((*kind).to_owned(), *count)).collect(),
            established_count: self.established_count,
            framing_resets: self.framing_resets,
            last_error: self.last_error.clone(),
            next_try: self.next_try.map(timestamp),
            advertised,
        }
    }
}
