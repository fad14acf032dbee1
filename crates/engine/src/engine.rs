//! The engine: route changes go in, and transactions for the data plane come out; in between, every
//! rule has one state with a reason.
//!
//! Nothing is decided when a route arrives. Decisions are made when the next transaction is
//! requested, once for everything that happened since: a burst of updates is one transaction. The
//! order in which routes arrived does not matter, except for which of them reached a limit first.

use crate::adj_rib_in::blackholes::{UnicastChange, UnicastRoute};
use crate::adj_rib_in::{AdjRibIn, AnnounceOutcome, Announcement, Retention};
use crate::capability::Capabilities;
use crate::decision_context::DecisionContext;
use crate::import_policy::{Evaluation, Step};
use crate::key::RuleKey;
use crate::loc_rib::LocRib;
use crate::newly_rejected::NewlyRejected;
use crate::path_key::{PathKey, PathKind};
use crate::peers::{PeerConfig, PeerCounts};
use crate::plan::{Applied, Ruleset};
use crate::protection::{Protected, ProtectedEntries, Protection};
use crate::reconciler::{Reconciler, Target, Transaction};
use crate::route::{PeerId, Route, RouteFamily, Timestamp};
use crate::rule_entry::RuleEntry;
use crate::rule_table::RuleTable;
use crate::snapshot::SnapshotPath;
use crate::state::RuleState;
use crate::view::RuleRef;
use flowspec::{Nlri, Packet, PathId, RuleId};
use ipnet::IpNet;
use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::Arc;

#[cfg(test)]
mod tests;

/// The configuration, and the data plane's capabilities.
#[derive(Clone, Debug)]
pub struct EngineConfig {
    /// The data plane's capabilities.
    pub capabilities: Capabilities,
    /// Protected packets.
    pub protection: Protection,
    /// The sources of routes.
    pub peers: BTreeMap<PeerId, PeerConfig>,
    /// Count only: what rules match is counted, and nothing is done to it. Which rules are in
    /// force, and that the first match ends the evaluation, is unchanged.
    pub monitor: bool,
}

/// Routes pass from the Adj-RIB-In through import policy and best-path selection into the Loc-RIB,
/// and from there through the reconciler to the data plane. Each stage is a type of its own; they
/// share the table of rules.
#[derive(Debug)]
pub struct Engine {
    capabilities: Capabilities,
    protection: Protection,
    /// The protected packets as entries of the data plane.
    protected: ProtectedEntries,
    rules: RuleTable,
    adj_rib_in: AdjRibIn,
    loc_rib: LocRib,
    reconciler: Reconciler,
}

impl Engine {
    /// Without routes. The first transaction is a full load, so that leftovers of an earlier run
    /// are removed.
    pub fn new(config: EngineConfig) -> Self {
        let EngineConfig { capabilities, protection, peers, monitor } = config;
        let mut engine = Engine {
            protected: ProtectedEntries::compile(&protection, &capabilities),
            capabilities,
            protection,
            rules: RuleTable::default(),
            adj_rib_in: AdjRibIn::default(),
            loc_rib: LocRib::default(),
            reconciler: Reconciler::new(monitor),
        };
        engine.adj_rib_in.configure(&mut engine.rules, peers);
        engine
    }

    /// Applies another configuration. Routes of peers that are no longer in it are deleted; all
    /// rules are decided on again.
    pub fn reconfigure(&mut self, config: EngineConfig) {
        let EngineConfig { capabilities, protection, peers, monitor } = config;
        self.adj_rib_in.configure(&mut self.rules, peers);
        if capabilities != self.capabilities {
            self.reconciler.reload();
        }
        if capabilities != self.capabilities || protection != self.protection {
            self.protected = ProtectedEntries::compile(&protection, &capabilities);
            (self.capabilities, self.protection) = (capabilities, protection);
            self.rules.touch_all();
        }
        self.reconciler.set_monitor(monitor);
    }

    /// A peer announces a traffic filter. `expires` ends it; import policy may shorten that.
    pub fn announce(
        &mut self,
        peer: PeerId,
        nlri: impl Into<Arc<Nlri>>,
        path_id: Option<PathId>,
        route: Arc<Route>,
        now: Timestamp,
        expires: Option<Timestamp>,
    ) -> AnnounceOutcome {
        let announcement =
            Announcement { peer, nlri: nlri.into(), path: PathKey::flow(path_id), route, received: now, expires };
        self.adj_rib_in.announce(&mut self.rules, announcement)
    }

    /// A peer withdraws a traffic filter; true if it had announced it.
    pub fn withdraw(&mut self, peer: PeerId, nlri: impl Into<Arc<Nlri>>, path_id: Option<PathId>) -> bool {
        self.adj_rib_in.withdraw(&mut self.rules, peer, &RuleKey::new(nlri.into()), PathKey::flow(path_id))
    }

    /// A peer announces a route to a unicast prefix. If it is a blackhole it becomes rules, and
    /// rules that it was are withdrawn.
    pub fn announce_unicast(
        &mut self,
        peer: PeerId,
        net: IpNet,
        path_id: Option<PathId>,
        route: Arc<Route>,
        now: Timestamp,
    ) -> UnicastChange {
        let announced = UnicastRoute { peer, net, path_id, route, received: now };
        self.adj_rib_in.announce_unicast_route(&mut self.rules, announced)
    }

    /// A peer withdraws a route to a unicast prefix, and the rules that it was.
    pub fn withdraw_unicast(&mut self, peer: PeerId, net: IpNet, path_id: Option<PathId>) -> UnicastChange {
        self.adj_rib_in.withdraw_unicast_route(&mut self.rules, peer, net, path_id)
    }

    /// Evaluates the policy of a peer for a route, step by step; `None` if the peer has no policy.
    pub fn trace_policy(
        &self,
        peer: PeerId,
        nlri: &Nlri,
        route: &Route,
        is_blackhole: bool,
        each: impl FnMut(Step<'_>),
    ) -> Option<Evaluation> {
        let chain = self.adj_rib_in.peers().get(peer)?.chain()?;
        Some(match is_blackhole {
            true => chain.trace_blackhole(nlri, route, each),
            false => chain.trace(nlri, route, each),
        })
    }

    /// A peer's session is established: its BGP identifier is known.
    pub fn peer_up(&mut self, peer: PeerId, router_id: Ipv4Addr) {
        self.adj_rib_in.session_established(peer, router_id);
    }

    /// A peer's session is lost. Its routes are deleted, except those of the families in `retain`.
    /// A route refresh in progress is dropped.
    pub fn peer_down(&mut self, peer: PeerId, retain: &[Retention], _now: Timestamp) {
        self.adj_rib_in.session_lost(&mut self.rules, peer, retain);
    }

    /// A peer has sent all its routes of a family: those that are still stale are deleted.
    pub fn end_of_rib(&mut self, peer: PeerId, family: RouteFamily) {
        self.adj_rib_in.end_of_rib(&mut self.rules, peer, family);
    }

    /// A peer's session is established again, and the peer will not send its routes of a family
    /// again: the stale ones are deleted at once.
    pub fn delete_stale(&mut self, peer: PeerId, family: RouteFamily) {
        self.end_of_rib(peer, family);
    }

    /// A peer's session is established again, and End-of-RIB of a family is due by `until`: what is
    /// still stale then is deleted. From now on this deadline replaces the restart timer, the first
    /// time after each loss; what that loss would have retained longer than `until` is retained.
    pub fn start_end_of_rib_timer(&mut self, peer: PeerId, family: RouteFamily, until: Timestamp) {
        self.adj_rib_in.start_end_of_rib_timer(peer, family, until);
    }

    /// All routes of a peer will be sent again (RFC 7313 §4): those that are not until the
    /// [end](Self::end_refresh), and until `until` at the latest, are deleted. They stay in force
    /// meanwhile. A further begin before that end only moves the deadline: what was sent since the
    /// first begin counts, so that begins without end cost next to nothing.
    pub fn begin_refresh(&mut self, peer: PeerId, family: RouteFamily, until: Timestamp) {
        self.adj_rib_in.begin_refresh(&mut self.rules, peer, family, until);
    }

    /// A peer has sent all its routes again: those that it did not send since the
    /// [begin](Self::begin_refresh) are deleted. False, and nothing is done, if there was no begin.
    pub fn end_refresh(&mut self, peer: PeerId, family: RouteFamily) -> bool {
        self.adj_rib_in.end_refresh(&mut self.rules, peer, family)
    }

    /// When to call [`expire`](Self::expire) next.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        self.adj_rib_in.next_deadline()
    }

    /// The peers and families whose End-of-RIB, or end of a route refresh, has not come in time:
    /// [`expire`](Self::expire) deletes what they have not sent.
    pub fn overdue_end_of_rib(&self, now: Timestamp) -> Vec<(PeerId, RouteFamily)> {
        self.adj_rib_in.overdue_end_of_rib(now)
    }

    /// Deletes the routes whose deadline has passed. Returns the rules whose own timer expired, and
    /// who announced them.
    pub fn expire(&mut self, now: Timestamp) -> Vec<(PeerId, Arc<Nlri>)> {
        self.adj_rib_in.expire(&mut self.rules, now)
    }

    /// Removes all filters, until [`resume`](Self::resume).
    pub fn pause(&mut self) {
        self.reconciler.set_paused(true);
    }

    /// Installs the filters again.
    pub fn resume(&mut self) {
        self.reconciler.set_paused(false);
    }

    /// Whether filtering is paused.
    pub const fn is_paused(&self) -> bool {
        self.reconciler.is_paused()
    }

    /// Why no packet reaches the rules although the data plane has them: they are then shown as
    /// failed. `None`: packets reach them.
    pub fn set_unfiltered(&mut self, why: Option<String>) {
        self.reconciler.set_unfiltered(why);
    }

    /// Why no packet reaches the rules, if so.
    pub fn unfiltered(&self) -> Option<&str> {
        self.reconciler.unfiltered()
    }

    /// Count only, or enforce; see [`EngineConfig::monitor`].
    pub fn set_monitor(&mut self, monitor: bool) {
        if self.reconciler.set_monitor(monitor) {
            self.rules.touch_all();
        }
    }

    /// Whether rules only count.
    pub const fn is_monitoring(&self) -> bool {
        self.reconciler.is_monitoring()
    }

    /// Number of routes of a peer.
    pub fn counts(&self, peer: PeerId) -> PeerCounts {
        self.adj_rib_in.peers().get(peer).map(|peer| peer.counts()).unwrap_or_default()
    }

    /// The protected packets that the data plane cannot accept ahead of the rules, and why. Rules
    /// may act on them.
    pub fn unprotected(&self) -> &[(Protected, String)] {
        self.protected.impossible()
    }

    /// What protects a packet, if something does.
    pub fn protecting(&self, packet: &Packet) -> Option<&Protected> {
        self.protection.items().iter().find(|item| item.space.matches(packet))
    }

    /// The desired state as of the last decisions.
    pub fn full(&self) -> Ruleset {
        self.reconciler.desired_state(&self.rules, self.target())
    }

    /// The next transaction for the data plane. None while nothing is to be done, and until the
    /// last one is [applied](Self::applied) or [failed](Self::apply_failed).
    pub fn next_transaction(&mut self) -> Option<Transaction> {
        if self.reconciler.is_in_flight() {
            return None;
        }
        self.reconciler.retry_substituted(&mut self.rules);
        self.adj_rib_in.touch_validated(&mut self.rules);
        let context = DecisionContext {
            capabilities: &self.capabilities,
            protection: &self.protection,
            peers: self.adj_rib_in.peers(),
            unicast: self.adj_rib_in.unicast(),
        };
        let decided = self.loc_rib.decide(&mut self.rules, &context);
        let target = Target { capabilities: &self.capabilities, protected: self.protected.entries() };
        self.reconciler.next_transaction(&mut self.rules, decided, target)
    }

    /// Whether there may be a transaction to take.
    pub fn has_pending_changes(&self) -> bool {
        let pending = self.reconciler.needs_full() || self.rules.is_dirty() || self.adj_rib_in.has_unicast_changes();
        pending && !self.reconciler.is_in_flight()
    }

    /// The last transaction is applied, except for some rules.
    pub fn applied(&mut self, applied: &Applied) {
        self.reconciler.applied(&mut self.rules, applied);
    }

    /// The last transaction could not be applied at all, for the reason in `message`. The previous
    /// state is still in force. The next transaction tries again: it should not be taken at once.
    pub fn apply_failed(&mut self, message: &str) {
        let target = Target { capabilities: &self.capabilities, protected: self.protected.entries() };
        self.reconciler.apply_failed(&mut self.rules, target, message);
    }

    /// Tries again, with the next transaction, the rules that the data plane could not install.
    pub fn retry(&mut self) {
        self.reconciler.retry(&mut self.rules);
    }

    /// Whether there are rules that the data plane could not install.
    pub fn has_failures(&self) -> bool {
        self.reconciler.has_failures()
    }

    /// The next transaction is a full load: for when the data plane lost what it had.
    pub const fn reload(&mut self) {
        self.reconciler.reload();
    }

    /// The rules that were rejected since the last call: by the data plane, by policy or by
    /// validation.
    pub fn take_newly_rejected(&mut self) -> NewlyRejected {
        self.loc_rib.take_newly_rejected()
    }

    /// The rules that somebody announces, in enforcement order, VPN rules among them; IPv4 before
    /// IPv6.
    pub fn rules(&self) -> impl Iterator<Item = RuleRef<'_>> {
        self.rules_after(None)
    }

    /// The same, starting after a rule, to read them page by page; that rule may have been removed.
    pub fn rules_after(&self, after: Option<&Arc<Nlri>>) -> impl Iterator<Item = RuleRef<'_>> {
        let context = self.decision_context();
        let rules = self.rules.iter_after(after.map(|nlri| RuleKey::new(nlri.clone())));
        rules.filter_map(move |(key, entry)| self.view(context, key, entry))
    }

    /// The rule with this match part.
    pub fn rule(&self, nlri: &Arc<Nlri>) -> Option<RuleRef<'_>> {
        let (key, entry) = self.rules.get_key_value(&RuleKey::new(nlri.clone()))?;
        self.view(self.decision_context(), key, entry)
    }

    /// The first rule with this short name.
    pub fn rule_by_id(&self, id: RuleId) -> Option<RuleRef<'_>> {
        self.rules().find(|rule| rule.id() == id)
    }

    /// The rules that the data plane has, in enforcement order: those that packets meet now.
    pub fn rules_in_force(&self) -> impl Iterator<Item = RuleRef<'_>> {
        self.rules().filter(|rule| rule.enforced().is_some())
    }

    /// How many rules are in each state, in the order of [`RuleState::NAMES`].
    pub fn rules_by_state(&self) -> [(&'static str, u64); RuleState::NAMES.len()] {
        let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
        self.rules().for_each(|rule| *counts.entry(rule.state().name()).or_default() += 1);
        RuleState::NAMES.map(|name| (name, counts.get(name).copied().unwrap_or(0)))
    }

    /// Approximate number of rules.
    pub fn rule_count(&self) -> usize {
        self.rules.len()
    }

    /// The rules of all peers, to be kept over a restart.
    pub fn snapshot(&self) -> impl Iterator<Item = (PeerId, SnapshotPath)> + '_ {
        self.snapshot_after(None)
    }

    /// The same, starting after a match part, in enforcement order, to write them in parts.
    pub fn snapshot_after(&self, after: Option<&Arc<Nlri>>) -> impl Iterator<Item = (PeerId, SnapshotPath)> + '_ {
        let rules = self.rules.iter_after(after.map(|nlri| RuleKey::new(nlri.clone())));
        rules.flat_map(|(key, entry)| key.nlri().into_iter().flat_map(move |nlri| snapshot_paths(nlri, entry)))
    }

    /// Returns the rules whose routes have changed since they were last returned, to be kept over a
    /// restart: what each matches, and all its routes; none if nobody announces it any longer.
    /// Those that changed since the last [transaction](Self::next_transaction) was taken are not
    /// among them, and routes that only became stale have not changed.
    pub fn take_unsaved(&mut self, mut each: impl FnMut(&Arc<Nlri>, &[(PeerId, SnapshotPath)])) {
        let keys = self.rules.take_unsaved();
        let mut found = keys.iter().peekable();
        let mut paths = Vec::new();
        self.rules.visit(keys.iter(), |key, entry| {
            // Those in between are not in the table any longer.
            while let Some(gone) = found.next_if(|next| *next < key) {
                gone.nlri().into_iter().for_each(|nlri| each(nlri, &[]));
            }
            found.next_if(|next| *next == key);
            if let Some(nlri) = key.nlri()
                && entry.paths.mark_written()
            {
                paths.clear();
                paths.extend(snapshot_paths(nlri, entry));
                each(nlri, &paths);
            }
        });
        found.filter_map(|gone| gone.nlri()).for_each(|nlri| each(nlri, &[]));
    }

    /// The same for one rule, as it is now; its routes, if somebody announces it.
    pub fn snapshot_rule(&mut self, nlri: &Arc<Nlri>) -> Vec<(PeerId, SnapshotPath)> {
        let Some(entry) = self.rules.get_mut(&RuleKey::new(Arc::clone(nlri))) else { return Vec::new() };
        entry.paths.mark_written();
        snapshot_paths(nlri, entry).collect()
    }

    /// All rules have been saved as they are now.
    pub fn mark_all_saved(&mut self) {
        for entry in self.rules.values_mut() {
            entry.paths.mark_written();
        }
    }

    /// Restores the saved rules of a peer, before its session is established. They are stale until
    /// the peer sends them again, and are deleted as `retain` says; those of a family without
    /// retention are not restored. Locally originated rules are as before.
    pub fn restore(&mut self, peer: PeerId, paths: impl IntoIterator<Item = SnapshotPath>, retain: &[Retention]) {
        let local = self.adj_rib_in.peers().is_local(peer);
        let losses: Vec<_> = match local {
            true => Vec::new(),
            false => retain.iter().filter_map(|r| Some((r.family, self.adj_rib_in.add_loss(peer, r)?))).collect(),
        };
        for path in paths {
            let key =
                PathKey { id: path.path_id, kind: if path.blackhole { PathKind::Blackhole } else { PathKind::Flow } };
            let family = key.kind.family(&path.nlri);
            let loss = losses.iter().find(|(retained, _)| *retained == family).map(|(_, loss)| *loss);
            if !local && loss.is_none() {
                continue;
            }
            let nlri = path.nlri.clone();
            let announcement = Announcement {
                peer,
                nlri: path.nlri,
                path: key,
                route: path.route,
                received: path.received,
                expires: path.deadline,
            };
            if path.blackhole && !self.adj_rib_in.is_blackhole(&announcement) {
                continue;
            }
            self.adj_rib_in.announce(&mut self.rules, announcement);
            if path.blackhole {
                self.adj_rib_in.note_blackhole(&self.rules, peer, &nlri);
            }
            let entry = self.rules.get_mut(&RuleKey::new(nlri));
            let restored = entry.and_then(|entry| entry.paths.find_mut(peer, key));
            if let Some((restored, loss)) = restored.zip(loss) {
                restored.mark_stale(loss);
            }
        }
    }

    /// The data plane has had these rules in force since an earlier run. Those of them that were
    /// restored were feasible then, and unicast routes are not saved: until
    /// [`validate_presumed`](Self::validate_presumed) they count as feasible, unless several peers
    /// announce one of them.
    pub fn presume_feasible(&mut self, in_force: &BTreeSet<RuleId>) {
        AdjRibIn::presume_feasible(&mut self.rules, |nlri| in_force.contains(&nlri.id()));
    }

    /// The unicast routes were received again, or had the time to: nothing is presumed any longer.
    pub fn validate_presumed(&mut self) {
        AdjRibIn::validate_presumed(&mut self.rules);
    }

    const fn target(&self) -> Target<'_> {
        Target { capabilities: &self.capabilities, protected: self.protected.entries() }
    }

    const fn decision_context(&self) -> DecisionContext<'_> {
        DecisionContext {
            capabilities: &self.capabilities,
            protection: &self.protection,
            peers: self.adj_rib_in.peers(),
            unicast: self.adj_rib_in.unicast(),
        }
    }

    fn view<'a>(&'a self, context: DecisionContext<'a>, key: &'a RuleKey, entry: &'a RuleEntry) -> Option<RuleRef<'a>> {
        RuleRef::new(context, &self.reconciler, key.nlri()?, entry)
    }
}

/// The routes of a rule that are kept over a restart.
fn snapshot_paths<'a>(nlri: &'a Arc<Nlri>, entry: &'a RuleEntry) -> impl Iterator<Item = (PeerId, SnapshotPath)> + 'a {
    entry.paths.persistent().map(move |path| (path.peer, SnapshotPath::new(nlri, path)))
}
