//! Deciding on the rules that something happened to: which route counts, whether it is let in, whether the data plane can do it, and
//! what that means for the rules behind.

use super::Engine;
use crate::capability::Capabilities;
use crate::compile;
use crate::import_policy::{InterfaceSets, PolicyRejection};
use crate::key::RuleKey;
use crate::peer::{Peer, Peers};
use crate::precedence;
use crate::protection::Protection;
use crate::route::Path;
use crate::select;
use crate::shadow;
use crate::table::{self, Aside, Base, InForce, Record};
use crate::unicast::UnicastRib;
use crate::validate;
use flowspec::{Nlri, Prefix, Space};
use std::sync::Arc;

/// From so many changed unicast prefixes on, all rules are validated anew instead of those that they touch.
pub(super) const MANY_PREFIXES: usize = 64;
/// From so many changed exceptions on, all later rules are looked at instead of those whose destination overlaps.
const MANY_EXCEPTIONS: usize = 16;

/// The rules that were decided on.
#[derive(Default)]
pub(super) struct Decided {
    /// In order; with their entries where those are at hand.
    pub(super) rules: Vec<(RuleKey, Option<Vec<Space>>)>,
    /// Rules that nobody announces any longer, and what the data plane has of them.
    pub(super) gone: Vec<(RuleKey, Option<InForce>)>,
    /// Some of the rules let packets off and are not in force.
    has_exception: bool,
    /// The rules that are not alone with their destination and source.
    in_groups: Vec<RuleKey>,
}

/// Why a route is not let in.
enum Out {
    PolicyRejection(PolicyRejection),
    Infeasible(validate::Infeasible),
}

/// What a decision on one rule is made from, apart from its routes.
pub(super) struct DecisionContext<'a> {
    capabilities: &'a Capabilities,
    protection: &'a Protection,
    peers: &'a Peers,
    unicast: &'a UnicastRib,
}

impl DecisionContext<'_> {
    /// The decision on a rule for itself, with its entries: of the paths that policy and validation let in, the best one that the data plane can
    /// enforce counts, and before one that it could not take when it came to it any other.
    fn decide(&self, nlri: &Arc<Nlri>, record: &Record) -> (Base, Option<Vec<Space>>) {
        let paths = &record.paths[..];
        if let [path] = paths
            && self.let_in(nlri, path).is_ok()
        {
            return self.compile(nlri, path, 0);
        }
        let refusals: Vec<_> = paths.iter().map(|path| self.let_in(nlri, path).err()).collect();
        let mut candidates: Vec<(u16, &Path)> =
            (0..).zip(paths).zip(&refusals).filter(|(_, out)| out.is_none()).map(|(path, _)| path).collect();
        let mut best_refused = None;
        let mut last_resort = None;
        while let Some(best) = select::best(candidates.iter().map(|(_, path)| *path), self.peers) {
            let index = candidates.iter().find(|(_, path)| std::ptr::eq(*path, best)).map_or(0, |(index, _)| *index);
            match self.compile(nlri, best, index) {
                (refused @ Base::Refused { .. }, _) => {
                    best_refused.get_or_insert(refused);
                }
                decision if record.avoids(&best.route) => {
                    last_resort.get_or_insert(decision);
                }
                decision => return decision,
            }
            // What asks for the same comes to the same, unless another peer's policy is not that of this one.
            let sets = self.interface_sets(best);
            candidates.retain(|(_, path)| !Arc::ptr_eq(&path.route, &best.route) || self.interface_sets(path) != sets);
        }
        if let Some(decision) = last_resort {
            return decision;
        }
        if let Some(refused) = best_refused {
            return (refused, None);
        }
        let best = select::best(paths.iter(), self.peers);
        let why = paths.iter().zip(refusals).find(|(path, _)| best.is_some_and(|best| std::ptr::eq(best, *path)));
        match why.and_then(|(_, why)| why) {
            Some(Out::PolicyRejection(why)) => (Base::PolicyRejection(Box::new(why)), None),
            Some(Out::Infeasible(why)) => (Base::Infeasible(Box::new(why)), None),
            None => (Base::Undecided, None),
        }
    }

    /// The decision on a rule if this path, which is let in, counts.
    fn compile(&self, nlri: &Arc<Nlri>, path: &Path, best: u16) -> (Base, Option<Vec<Space>>) {
        let space = Space::of(nlri);
        if let Some(what) = self.protection.covers(&space) {
            return (Base::PolicyRejection(Box::new(PolicyRejection::Protected(what.to_owned()))), None);
        }
        let effect = compile::enforced(path.route.effect());
        let route = path.route.clone();
        let entries = compile::check_interface_sets(&route.actions, self.interface_sets(path))
            .map_err(|kind| compile::Refusal::new(kind, self.capabilities))
            .and_then(|()| compile::entries(nlri, space, &effect, self.capabilities));
        match entries {
            Ok(entries) => {
                let count = u32::try_from(self.capabilities.cost.of(&entries, &effect)).unwrap_or(u32::MAX);
                (Base::Wanted { route, entries: count, stale: path.stale || path.long_lived, best }, Some(entries))
            }
            Err(refusal) => (Base::Refused { route, refusal: Box::new(refusal), best }, None),
        }
    }

    /// What the policy of the path's peer says of interface sets.
    pub(super) fn interface_sets(&self, path: &Path) -> InterfaceSets {
        let policy = self.peers.get(path.peer).and_then(|peer| peer.config.policy.as_ref());
        policy.map_or(InterfaceSets::Refuse, |policy| policy.interface_sets)
    }

    /// Why a path does not count although it is there: it is not let in, or the data plane refuses what it asks for; in words.
    pub(super) fn objection(&self, nlri: &Arc<Nlri>, path: &Path) -> Option<String> {
        match self.let_in(nlri, path) {
            Err(Out::PolicyRejection(why)) => Some(why.to_string()),
            Err(Out::Infeasible(why)) => Some(why.to_string()),
            Ok(()) => match self.compile(nlri, path, 0) {
                (Base::Refused { refusal, .. }, _) => Some(refusal.to_string()),
                _ => None,
            },
        }
    }

    /// Whether policy and validation let a route in.
    fn let_in(&self, nlri: &Nlri, path: &Path) -> Result<(), Out> {
        let Some(peer) = self.peers.get(path.peer) else { return Err(Out::PolicyRejection(PolicyRejection::NoPolicy)) };
        if let Some(route_loop) = path.route.facts.route_loop {
            return Err(Out::Infeasible(validate::Infeasible::Loop(route_loop)));
        }
        let Some(policy) = &peer.config.policy else {
            return if peer.config.external { Err(Out::PolicyRejection(PolicyRejection::NoPolicy)) } else { Ok(()) };
        };
        validate::check_first_as(path, policy.first_as).map_err(Out::Infeasible)?;
        if policy.validate && !path.presumed_feasible {
            validate::validate(nlri, path, self.unicast, self.peers, policy.without_destination)
                .map_err(Out::Infeasible)?;
        }
        policy.check(nlri, &path.route.effect()).map_err(Out::PolicyRejection)?;
        policy.check_actions(&path.route.actions).map_err(Out::PolicyRejection)?;
        if path.excess {
            return Err(Out::PolicyRejection(PolicyRejection::Excess { limit: policy.max_rules.unwrap_or(0) }));
        }
        if path.expired {
            return Err(Out::PolicyRejection(PolicyRejection::Lifetime { seconds: policy.max_lifetime.unwrap_or(0) }));
        }
        Ok(())
    }
}

impl Engine {
    pub(super) fn decision_context(&self) -> DecisionContext<'_> {
        DecisionContext {
            capabilities: &self.capabilities,
            protection: &self.protection,
            peers: &self.peers,
            unicast: &self.unicast,
        }
    }

    /// Decides on every rule that something happened to. Afterwards the decisions are those that would have been made on the same routes
    /// in any other order.
    pub(super) fn decide(&mut self) -> Decided {
        let mut decided = self.decide_once();
        // What was no trouble any longer may have been one for the rules behind.
        while self.table.is_dirty() {
            let again = self.decide_once();
            decided.gone.extend(again.gone);
            decided.rules.splice(0..0, again.rules);
            decided.rules.sort_by(|(a, _), (b, _)| a.cmp(b));
            decided.rules.dedup_by(|(a, _), (b, _)| a == b);
        }
        decided
    }

    fn decide_once(&mut self) -> Decided {
        self.touch_validated();
        let dirty = self.table.take_dirty();
        let mut decided = Decided::default();
        decided.rules.reserve_exact(dirty.len());
        let context = DecisionContext {
            capabilities: &self.capabilities,
            protection: &self.protection,
            peers: &self.peers,
            unicast: &self.unicast,
        };
        let groups = &self.table.groups;
        table::visit(&mut self.table.rules, dirty.iter(), |key, record| {
            let Some(nlri) = key.nlri() else { return };
            record.dirty = false;
            if record.paths.is_empty() {
                decided.gone.push((key.clone(), record.in_force.take()));
                return;
            }
            let (base, entries) = context.decide(nlri, record);
            self.rejected.note(key, &record.base, &base);
            record.base = base;
            record.settle_trouble();
            decided.has_exception |= record.is_exception(key);
            if groups.has_work(key) {
                decided.in_groups.push(key.clone());
            }
            decided.rules.push((key.clone(), entries));
        });
        self.table.remove(decided.gone.iter().map(|(key, _)| key));
        let held = self.hold_back(&decided);
        let shadowed = self.shadow(&decided, &held);
        for key in &shadowed {
            if let Some(record) = self.table.rules.get_mut(key)
                && record.aside.is_some()
                && record.trouble.take().is_some()
            {
                self.table.touch(key);
            }
        }
        let mut more: Vec<_> = held.into_iter().chain(shadowed).collect();
        if !more.is_empty() {
            more.sort_unstable();
            more.dedup();
            more.retain(|key| decided.rules.binary_search_by(|(decided, _)| decided.cmp(key)).is_err());
            decided.rules.extend(more.into_iter().map(|key| (key, None)));
            decided.rules.sort_by(|(a, _), (b, _)| a.cmp(b));
        }
        decided
    }

    /// Unicast routes changed: the rules whose validation may come out otherwise are to be decided on.
    fn touch_validated(&mut self) {
        let changes = std::mem::take(&mut self.unicast_changes);
        let validates = |peer: &Peer| peer.config.policy.as_ref().is_some_and(|policy| policy.validate);
        if changes.is_empty() || !self.peers.0.values().any(validates) {
            return;
        }
        if changes.len() >= MANY_PREFIXES {
            self.table.touch_all();
            return;
        }
        for net in changes {
            for key in self.table.overlapping(net) {
                self.table.touch(&key);
            }
        }
    }

    /// Holds back, or lets go, rules behind exceptions that came or went. Returns those for which that changed.
    fn hold_back(&mut self, decided: &Decided) -> Vec<RuleKey> {
        let mut changed_rules = Vec::new();
        let mut exceptions = ChangedExceptions::default();
        for (key, _) in &decided.gone {
            if self.exceptions.remove(key) {
                exceptions.note(key);
            }
        }
        if self.exceptions.is_empty() && exceptions.is_empty() && !decided.has_exception {
            return changed_rules;
        }
        let mut decided = decided.rules.iter().map(|(key, _)| key).peekable();
        let first = [decided.peek().copied(), exceptions.first.as_ref()].into_iter().flatten().min().cloned();
        let Some(first) = first else { return changed_rules };
        for (key, record) in self.table.rules.range_mut(first..) {
            let is_decided = decided.next_if(|next| *next == key).is_some();
            if !is_decided && exceptions.is_empty() && decided.peek().is_none() {
                break;
            }
            let Some(nlri) = key.nlri() else { continue };
            if nlri.family().is_vpn() || !(is_decided || exceptions.may_concern(nlri)) {
                continue;
            }
            let by = record.wanted().and_then(|route| self.exceptions.in_the_way(nlri, &route.effect()));
            let aside = match (by, record.aside) {
                (Some(by), _) => Some(Aside::Held(by)),
                (None, Some(Aside::Held(_))) => None,
                (None, aside) => aside,
            };
            if matches!(aside, Some(Aside::Held(_))) {
                record.trouble = None;
            }
            if aside != record.aside {
                if matches!(aside, Some(Aside::Held(_))) && !matches!(record.aside, Some(Aside::Held(_))) {
                    self.rejected.add(key);
                }
                record.aside = aside;
                changed_rules.push(key.clone());
            }
            update_exception(&mut self.exceptions, &mut exceptions, key, nlri, record);
        }
        changed_rules
    }

    fn shadow(&mut self, decided: &Decided, held: &[RuleKey]) -> Vec<RuleKey> {
        if self.table.groups.all_single() {
            return Vec::new();
        }
        let groups = &self.table.groups;
        let gone = decided.gone.iter().map(|(key, _)| key).filter(|key| groups.has_work(key));
        let mut keys: Vec<RuleKey> = decided.in_groups.iter().chain(gone).chain(held).cloned().collect();
        keys.sort_unstable();
        shadow::mark(&mut self.table.rules, &mut self.table.groups, keys.into_iter())
    }
}

/// The exceptions that came or went.
#[derive(Default)]
struct ChangedExceptions {
    first: Option<RuleKey>,
    destinations: Vec<Option<Prefix>>,
}

impl ChangedExceptions {
    fn note(&mut self, key: &RuleKey) {
        if self.first.as_ref().is_none_or(|first| key < first) {
            self.first = Some(key.clone());
        }
        self.destinations.push(key.nlri().and_then(|nlri| nlri.destination()));
    }

    fn is_empty(&self) -> bool {
        self.destinations.is_empty()
    }

    fn may_concern(&self, nlri: &Nlri) -> bool {
        let overlap = |a: Option<Prefix>, b: Option<Prefix>| match (a, b) {
            (Some(a), Some(b)) => a.overlaps(&b),
            _ => true,
        };
        let own = nlri.destination();
        !self.is_empty()
            && (self.destinations.len() > MANY_EXCEPTIONS || self.destinations.iter().any(|&other| overlap(own, other)))
    }
}

fn update_exception(
    exceptions: &mut precedence::Exceptions,
    changed: &mut ChangedExceptions,
    key: &RuleKey,
    nlri: &Nlri,
    record: &Record,
) {
    let is_exception = record.is_exception(key);
    if is_exception == exceptions.contains(key) {
        return;
    }
    if is_exception {
        exceptions.insert_key(key.clone(), nlri);
    } else {
        exceptions.remove(key);
    }
    changed.note(key);
}
