//! The Adj-RIB-In of all peers: their routes as received, their limits, and how long routes are
//! retained (RFC 4271 §3.2; graceful restart of RFC 4724 and RFC 9494; route refresh of RFC 7313).
//!
//! The paths of traffic filters are in the table, the unicast routes here. A route may wait for two
//! separate events: for its peer to send it again after a session loss (stale), and for the end of
//! a route refresh. Only the first is visible from outside.

use crate::blackhole_rules::{BlackholePrefixes, is_still_announced};
use crate::import_policy::{Evaluation, OnExcess};
use crate::interner::RouteInterner;
use crate::key::RuleKey;
use crate::path::{Path, PolicyOutcome};
use crate::path_key::PathKey;
use crate::peers::{Admission, Peer, PeerConfig, Peers};
use crate::route::{PeerId, Route, RouteFamily, Timestamp};
use crate::rule_table::RuleTable;
use crate::unicast::UnicastRib;
use expiry::{Expiry, ExpiryTimers};
use flowspec::{IpVersion, Nlri};
use ipnet::IpNet;
use losses::Due;
use stale_paths::StalePaths;
use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::Arc;

pub(crate) mod blackholes;
mod expiry;
mod losses;
mod stale_paths;

pub use losses::Retention;

/// With this many changed unicast prefixes, all rules are validated again instead of only those
/// concerned.
const MANY_PREFIXES: usize = 64;

/// How an announcement changed the Adj-RIB-In.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnnounceOutcome {
    /// It is new, or differs from what the peer announced before.
    Changed,
    /// The peer had announced exactly this before.
    Unchanged,
    /// It is beyond the peer's maximum-prefix limit; policy decides what happens.
    OverLimit(OnExcess),
    /// It is so far beyond the peer's limit that it is not kept.
    Dropped,
    /// The peer is not configured: nothing was done.
    UnknownPeer,
}

/// A route to a traffic filter, as announced.
pub(crate) struct Announcement {
    pub(crate) peer: PeerId,
    pub(crate) nlri: Arc<Nlri>,
    pub(crate) path: PathKey,
    pub(crate) route: Arc<Route>,
    /// When it was announced.
    pub(crate) received: Timestamp,
    /// When it expires, if the announcement says so; import policy may shorten that.
    pub(crate) expires: Option<Timestamp>,
}

/// How an event changes one path.
enum PathChange {
    None,
    Updated,
    Removed,
}

/// Counts of a peer are those of its paths in the table and of its unicast routes; every stale path
/// belongs to a loss.
#[derive(Debug, Default)]
pub(crate) struct AdjRibIn {
    peers: Peers,
    interner: RouteInterner,
    unicast: UnicastRib,
    /// Prefixes whose unicast routes changed since the last decisions.
    unicast_changes: Vec<IpNet>,
    stale_paths: StalePaths,
    expiry: ExpiryTimers,
    blackholes: BlackholePrefixes,
    /// Some peer's rules are validated by the unicast routes.
    validates: bool,
    /// The latest time passed in.
    now: Timestamp,
}

impl AdjRibIn {
    pub(crate) const fn peers(&self) -> &Peers {
        &self.peers
    }

    pub(crate) const fn unicast(&self) -> &UnicastRib {
        &self.unicast
    }

    /// Applies another configuration of peers: routes of peers that are no longer in it are
    /// deleted, and all rules are decided on again.
    pub(crate) fn configure(&mut self, rules: &mut RuleTable, peers: BTreeMap<PeerId, PeerConfig>) {
        self.peers.set(peers);
        let (peers, interner, expiry, now) = (&self.peers, &mut self.interner, &mut self.expiry, self.now);
        rules.touch_where(|key, entry| {
            let Some(nlri) = key.nlri() else { return false };
            let mut changed = false;
            entry.paths.retain_mut(|path| {
                let Some(peer) = peers.get(path.peer) else { return false };
                if !is_still_announced(peer, nlri, path) {
                    return false;
                }
                let (route_changed, deadline) = evaluate_again(peer, interner, nlri, path, now);
                changed |= route_changed;
                expiry.schedule(deadline, key, path.peer, path.key);
                true
            });
            entry.installation.retry_if(changed);
            true
        });
        self.stale_paths.retain_peers(|peer| peers.get(peer).is_some());
        self.recount(rules);
        self.forget_unneeded_unicast();
    }

    pub(crate) fn announce(&mut self, rules: &mut RuleTable, announcement: Announcement) -> AnnounceOutcome {
        let Announcement { peer, nlri, path: path_key, route, received: now, expires } = announcement;
        self.now = self.now.max(now);
        let Some(known_peer) = self.peers.get_mut(peer) else { return AnnounceOutcome::UnknownPeer };
        let evaluation = known_peer.evaluate(&nlri, path_key.kind, &route);
        let lifetime = evaluation.lifetime;
        let deadline = expires.into_iter().chain(lifetime.map(|seconds| now.plus(seconds))).min();
        let key = RuleKey::new(nlri);
        let announced = self.interner.intern(route);
        let (entry, dirty) = rules.entry(&key);
        if let Some(path) = entry.paths.find_mut(peer, path_key) {
            let was_stale = path.stale || path.long_lived;
            let was_awaited = path.mark_received();
            let changed = !Arc::ptr_eq(path.announced_route(), &announced);
            if changed {
                (path.route, path.policy) = after_policy(&mut self.interner, announced, evaluation);
                path.presumed_feasible = false;
            }
            // A new announcement restarts its timers. A route sent again after a session loss or in
            // a refresh is not a new announcement: its timers continue.
            let prolonged = (changed || !was_awaited) && (path.deadline != deadline || path.expired);
            if changed || prolonged {
                path.received = now;
            }
            if prolonged {
                // An earlier timer of the same route reschedules itself when it is due.
                let timed = !path.expired && path.deadline.is_some_and(|old| deadline.is_some_and(|new| old <= new));
                path.expired = false;
                path.deadline = deadline;
                if !timed {
                    self.expiry.schedule(deadline, &key, peer, path_key);
                }
            }
            entry.installation.retry_if(changed);
            if changed || was_stale || prolonged {
                dirty.mark(&key, entry);
            }
            return if changed { AnnounceOutcome::Changed } else { AnnounceOutcome::Unchanged };
        }
        dirty.mark(&key, entry);
        let admission = known_peer.admit(&key, path_key);
        let outcome = match admission {
            Admission::Dropped => return AnnounceOutcome::Dropped,
            Admission::Within => AnnounceOutcome::Changed,
            Admission::Warn => AnnounceOutcome::OverLimit(OnExcess::Warn),
            Admission::Excess(on_excess) => AnnounceOutcome::OverLimit(on_excess),
        };
        let (route, policy) = after_policy(&mut self.interner, announced, evaluation);
        let mut path = Path::new(peer, path_key, route, now);
        path.policy = policy;
        path.deadline = deadline;
        path.excess = matches!(admission, Admission::Excess(_));
        entry.paths.push(path);
        self.expiry.schedule(deadline, &key, peer, path_key);
        outcome
    }

    /// Whether the peer had announced it.
    pub(crate) fn withdraw(&mut self, rules: &mut RuleTable, peer: PeerId, key: &RuleKey, path: PathKey) -> bool {
        let Some(path) = rules.get_mut(key).and_then(|entry| entry.paths.remove(peer, path)) else { return false };
        rules.touch(key);
        if let Some(peer) = self.peers.get_mut(peer) {
            peer.release(path.excess);
        }
        self.admit_waiting(rules, peer);
        true
    }

    /// A route that is a loop does not serve for validation, and replaces the previous one. Of a
    /// peer with blackholes, routes are only kept if something is validated by them.
    pub(crate) fn announce_unicast(&mut self, peer: PeerId, net: IpNet, path: PathKey, route: Arc<Route>) {
        let Some(known_peer) = self.peers.get_mut(peer) else { return };
        if route.facts.route_loop.is_some() {
            self.withdraw_unicast(peer, net, path);
            return;
        }
        if !self.validates && known_peer.blackhole().is_some() {
            return;
        }
        let route = self.interner.intern(route);
        let added = self.unicast.announce(net, Path::new(peer, path, route, Timestamp(0)));
        known_peer.count_unicast(u64::from(added));
        self.unicast_changed(net);
    }

    pub(crate) fn withdraw_unicast(&mut self, peer: PeerId, net: IpNet, path: PathKey) {
        if self.unicast.withdraw(net, peer, path) {
            self.unicast_changed(net);
            if let Some(peer) = self.peers.get_mut(peer) {
                peer.release_unicast(1);
            }
        }
    }

    /// Records a prefix whose validation results may change; not each of a full table, since many
    /// have the effect of all.
    fn unicast_changed(&mut self, net: IpNet) {
        if self.unicast_changes.len() < MANY_PREFIXES {
            self.unicast_changes.push(net);
        }
    }

    pub(crate) fn has_unicast_changes(&self) -> bool {
        !self.unicast_changes.is_empty()
    }

    /// Marks the rules whose validation result may change since unicast routes changed.
    pub(crate) fn touch_validated(&mut self, rules: &mut RuleTable) {
        let changes = std::mem::take(&mut self.unicast_changes);
        if changes.is_empty() || !self.validates {
            return;
        }
        if changes.len() >= MANY_PREFIXES {
            rules.touch_all();
            return;
        }
        for net in changes {
            for key in rules.overlapping(net) {
                rules.touch(&key);
            }
        }
    }

    pub(crate) fn session_established(&mut self, peer: PeerId, router_id: Ipv4Addr) {
        if let Some(peer) = self.peers.get_mut(peer) {
            peer.set_router_id(router_id);
        }
    }

    /// The session is lost: the peer's routes are deleted, except those of the families in
    /// `retain`.
    pub(crate) fn session_lost(&mut self, rules: &mut RuleTable, peer: PeerId, retain: &[Retention]) {
        let losses: Vec<(Retention, u16)> = retain
            .iter()
            .filter_map(|retention| Some((*retention, self.stale_paths.add_loss(peer, retention)?)))
            .collect();
        let loss = |family| losses.iter().find(|(retention, _)| retention.family == family);
        self.stale_paths.session_lost(peer, |family| loss(family).is_some());
        let mut used = BTreeSet::new();
        self.for_each_path(rules, peer, None, |family, path| {
            path.unrefreshed = false;
            let Some((retention, number)) = loss(family) else { return PathChange::Removed };
            if path.stale && !retention.renews {
                used.insert((family, path.loss));
                return PathChange::None;
            }
            path.mark_stale(*number);
            used.insert((family, *number));
            if retention.until.is_none() { make_long_lived(path) } else { PathChange::Updated }
        });
        self.stale_paths.forget_unused_losses(peer, |family, number| used.contains(&(family, number)));
    }

    /// The routes that are restored from the state file are stale by this loss. `None` if the
    /// family is not retained.
    pub(crate) fn add_loss(&mut self, peer: PeerId, retention: &Retention) -> Option<u16> {
        self.stale_paths.add_loss(peer, retention)
    }

    /// The peer has sent all its routes of a family: those that are still stale are deleted.
    pub(crate) fn end_of_rib(&mut self, rules: &mut RuleTable, peer: PeerId, family: RouteFamily) {
        if self.stale_paths.forget_losses(peer, family) {
            self.delete_where(rules, peer, family, |path| path.stale);
        }
    }

    pub(crate) fn begin_refresh(&mut self, rules: &mut RuleTable, peer: PeerId, family: RouteFamily, until: Timestamp) {
        if self.stale_paths.begin_refresh(peer, family, until) {
            self.for_each_path(rules, peer, Some(family), |_, path| {
                path.unrefreshed = true;
                PathChange::None
            });
        }
    }

    pub(crate) fn end_refresh(&mut self, rules: &mut RuleTable, peer: PeerId, family: RouteFamily) -> bool {
        let begun = self.stale_paths.end_refresh(peer, family);
        if begun {
            self.delete_where(rules, peer, family, |path| path.unrefreshed);
        }
        begun
    }

    pub(crate) fn next_deadline(&self) -> Option<Timestamp> {
        self.stale_paths.next_deadline().into_iter().chain(self.expiry.next_deadline()).min()
    }

    pub(crate) fn start_end_of_rib_timer(&mut self, peer: PeerId, family: RouteFamily, until: Timestamp) {
        self.stale_paths.start_end_of_rib_timer(peer, family, until);
    }

    pub(crate) fn overdue_end_of_rib(&self, now: Timestamp) -> Vec<(PeerId, RouteFamily)> {
        self.stale_paths.overdue(now)
    }

    /// Deletes what is due. Returns the rules whose own timer expired, and who announced them.
    pub(crate) fn expire(&mut self, rules: &mut RuleTable, now: Timestamp) -> Vec<(PeerId, Arc<Nlri>)> {
        self.now = self.now.max(now);
        for ((peer, family), due) in self.stale_paths.expire(now) {
            self.expire_stale(rules, peer, family, &due);
        }
        for (peer, family) in self.stale_paths.overdue_refreshes(now) {
            self.end_refresh(rules, peer, family);
        }
        self.trim_timers(rules);
        let mut expired = Vec::new();
        while let Some(expiry) = self.expiry.pop_due(now) {
            let (_, key, peer, _) = &expiry;
            if self.expire_path(rules, &expiry) {
                expired.extend(key.nlri().map(|nlri| (*peer, Arc::clone(nlri))));
            }
        }
        expired
    }

    /// A locally originated rule is deleted; another stays visible until its peer withdraws it.
    /// False if it has another deadline now.
    fn expire_path(&mut self, rules: &mut RuleTable, (deadline, key, peer, path_key): &Expiry) -> bool {
        let path = rules.get_mut(key).and_then(|entry| entry.paths.find_mut(*peer, *path_key));
        let Some(path) = path.filter(|path| !path.expired) else { return false };
        if path.deadline.is_none_or(|due| due > *deadline) {
            // It was announced again meanwhile: the timer is set to the new deadline.
            self.expiry.schedule(path.deadline, key, *peer, *path_key);
            return false;
        }
        path.expired = true;
        rules.touch(key);
        if self.peers.is_local(*peer) {
            self.withdraw(rules, *peer, key, *path_key);
        }
        true
    }

    /// Rules that come and go leave timers behind.
    fn trim_timers(&mut self, rules: &RuleTable) {
        if !self.expiry.is_trim_due() {
            return;
        }
        self.expiry.rebuild(rules.iter().flat_map(|(key, entry)| {
            let limited = entry.paths.iter().filter(|path| !path.expired);
            limited.filter_map(move |path| Some((path.deadline?, key.clone(), path.peer, path.key)))
        }));
    }

    /// Number of timers of single routes.
    #[cfg(test)]
    pub(crate) fn timers(&self) -> usize {
        self.expiry.len()
    }

    fn expire_stale(&mut self, rules: &mut RuleTable, peer: PeerId, family: RouteFamily, due: &Due) {
        if due.all {
            self.end_of_rib(rules, peer, family);
            return;
        }
        self.for_each_path(rules, peer, Some(family), |_, path| match path.loss {
            _ if !path.stale => PathChange::None,
            loss if due.expired.contains(&loss) => PathChange::Removed,
            loss if due.long_lived.contains(&loss) => make_long_lived(path),
            _ => PathChange::None,
        });
    }

    /// The data plane has rules in force since before a restart, which were feasible then: those of
    /// a single, stale path count as feasible until the unicast routes are received again.
    pub(crate) fn presume_feasible(rules: &mut RuleTable, is_in_force: impl Fn(&Nlri) -> bool) {
        rules.touch_where(|key, entry| match (entry.paths.as_mut_slice(), key.nlri()) {
            ([path], Some(nlri)) if path.stale && is_in_force(nlri) => {
                path.presumed_feasible = true;
                true
            }
            _ => false,
        });
    }

    /// Paths are no longer presumed feasible.
    pub(crate) fn validate_presumed(rules: &mut RuleTable) {
        rules.touch_where(|_, entry| {
            let paths = entry.paths.as_mut_slice().iter_mut();
            let presumed = paths.map(|path| std::mem::take(&mut path.presumed_feasible));
            presumed.fold(false, |any, presumed| any | presumed)
        });
    }

    fn delete_where(
        &mut self,
        rules: &mut RuleTable,
        peer: PeerId,
        family: RouteFamily,
        is_deleted: impl Fn(&Path) -> bool,
    ) {
        let change = |_, path: &mut Path| if is_deleted(path) { PathChange::Removed } else { PathChange::None };
        self.for_each_path(rules, peer, Some(family), change);
    }

    /// Visits a peer's routes, of one family or of all.
    fn for_each_path(
        &mut self,
        rules: &mut RuleTable,
        peer: PeerId,
        only: Option<RouteFamily>,
        mut visit: impl FnMut(RouteFamily, &mut Path) -> PathChange,
    ) {
        let is_visited = |family| only.is_none_or(|only| only == family);
        rules.touch_where(|key, entry| {
            let Some(nlri) = key.nlri() else { return false };
            let mut changed = false;
            entry.paths.retain_mut(|path| {
                if path.peer != peer {
                    return true;
                }
                let family = path.key.kind.family(nlri);
                if !is_visited(family) {
                    return true;
                }
                let change = visit(family, path);
                changed |= !matches!(change, PathChange::None);
                !matches!(change, PathChange::Removed)
            });
            changed
        });
        for version in [IpVersion::V4, IpVersion::V6] {
            let family = RouteFamily::Unicast(version);
            if is_visited(family) {
                let keep = |path: &mut Path| !matches!(visit(family, path), PathChange::Removed);
                let (touched, removed) = self.unicast.retain(peer, version, keep);
                self.unicast_changes.extend(touched);
                if let Some(peer) = self.peers.get_mut(peer) {
                    peer.release_unicast(removed);
                }
            }
        }
        self.recount(rules);
    }

    /// Recounts the rules of all peers, after many routes were deleted at once.
    fn recount(&mut self, rules: &mut RuleTable) {
        self.peers.values_mut().for_each(|peer| peer.reset_rule_counts());
        for path in rules.values().flat_map(|entry| entry.paths.iter()) {
            if let Some(peer) = self.peers.get_mut(path.peer) {
                peer.count_rule(path.excess);
            }
        }
        for peer in self.peers.ids() {
            self.admit_waiting(rules, peer);
        }
    }

    /// Rules that were beyond the peer's limit and fit now, in the order in which they were
    /// announced.
    fn admit_waiting(&mut self, rules: &mut RuleTable, id: PeerId) {
        let Some(peer) = self.peers.get_mut(id) else { return };
        while let Some((key, path)) = peer.next_waiting() {
            let path = rules.get_mut(&key).and_then(|entry| entry.paths.find_mut(id, path));
            if let Some(path) = path.filter(|path| path.excess) {
                path.excess = false;
                peer.admit_waiting();
                rules.touch(&key);
            }
        }
    }
}

/// The route after import policy, and what policy did, if it changed or rejected the route.
fn after_policy(
    interner: &mut RouteInterner,
    announced: Arc<Route>,
    evaluation: Evaluation,
) -> (Arc<Route>, Option<Box<PolicyOutcome>>) {
    let Evaluation { rejection, actions, lifetime: _ } = evaluation;
    let route = match actions {
        Some(actions) => interner.intern(Arc::new(Route { actions, ..Route::clone(&announced) })),
        None if rejection.is_none() => return (announced, None),
        None => announced.clone(),
    };
    (route, Some(Box::new(PolicyOutcome { announced, rejection })))
}

/// Policy may have changed. Returns whether the route changed, and its deadline if that has to be
/// set.
fn evaluate_again(
    peer: &Peer,
    interner: &mut RouteInterner,
    nlri: &Nlri,
    path: &mut Path,
    now: Timestamp,
) -> (bool, Option<Timestamp>) {
    if peer.config().address.is_none() {
        return (false, None);
    }
    let announced = path.announced_route().clone();
    let evaluation = peer.evaluate(nlri, path.key.kind, &announced);
    let deadline = evaluation.lifetime.map(|seconds| path.received.plus(seconds));
    let before = path.route.clone();
    (path.route, path.policy) = after_policy(interner, announced, evaluation);
    let changed = !Arc::ptr_eq(&before, &path.route);
    if deadline == path.deadline {
        return (changed, None);
    }
    path.deadline = deadline;
    path.expired = deadline.is_some_and(|deadline| deadline <= now);
    (changed, deadline.filter(|_| !path.expired))
}

/// Long-lived stale: used only if there is no better route, and deleted at once if the route has
/// NO_LLGR (RFC 9494 §4.2, §4.6).
fn make_long_lived(path: &mut Path) -> PathChange {
    path.long_lived = true;
    if path.route.facts.no_llgr { PathChange::Removed } else { PathChange::Updated }
}
