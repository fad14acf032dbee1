//! The decision on one rule: import policy and validation for each of its paths, best-path
//! selection, and the compiler.

use crate::capability::Capabilities;
use crate::compile::{self, Refusal};
use crate::enforcement::RuleInstallation;
use crate::import_policy::{InterfaceSets, PolicyRejection};
use crate::path::Path;
use crate::path_key::PathKind;
use crate::peers::Peers;
use crate::protection::Protection;
use crate::received_paths::ReceivedPaths;
use crate::rule_decision::RuleDecision;
use crate::select;
use crate::unicast::UnicastRib;
use crate::validate::{self, Infeasible};
use flowspec::{Nlri, Space};
use std::sync::Arc;

/// Why a path is not accepted.
enum ImportRejection {
    /// By import policy.
    Policy(PolicyRejection),
    /// By validation.
    Infeasible(Infeasible),
}

/// What a decision on one rule depends on, apart from its paths.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DecisionContext<'a> {
    pub(crate) capabilities: &'a Capabilities,
    pub(crate) protection: &'a Protection,
    pub(crate) peers: &'a Peers,
    pub(crate) unicast: &'a UnicastRib,
}

impl DecisionContext<'_> {
    /// The decision on a rule for itself, with its entries. Of the accepted paths, the best one
    /// that the data plane can enforce is selected; one that the data plane failed to install only
    /// if there is no other.
    pub(crate) fn decide(
        &self,
        nlri: &Arc<Nlri>,
        paths: &ReceivedPaths,
        installation: &RuleInstallation,
    ) -> (RuleDecision, Option<Vec<Space>>) {
        let paths = paths.as_slice();
        if let [path] = paths
            && self.accept(nlri, path).is_ok()
        {
            return self.compile(nlri, path, 0);
        }
        let rejections: Vec<_> = paths.iter().map(|path| self.accept(nlri, path).err()).collect();
        let accepted = (0..).zip(paths).zip(&rejections).filter(|(_, rejection)| rejection.is_none());
        let mut candidates: Vec<(u16, &Path)> = accepted.map(|(path, _)| path).collect();
        let mut best_refused = None;
        let mut last_resort = None;
        while let Some(best) = select::best(candidates.iter().map(|(_, path)| *path), self.peers) {
            let index = candidates.iter().find(|(_, path)| std::ptr::eq(*path, best)).map_or(0, |(index, _)| *index);
            match self.compile(nlri, best, index) {
                (refused @ RuleDecision::Refused { .. }, _) => {
                    best_refused.get_or_insert(refused);
                }
                decision if installation.avoids(&best.route) => {
                    last_resort.get_or_insert(decision);
                }
                decision => return decision,
            }
            // Equal routes are compiled to the same, unless the policies of their peers differ.
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
        let why = paths.iter().zip(rejections).find(|(path, _)| best.is_some_and(|best| std::ptr::eq(best, *path)));
        match why.and_then(|(_, why)| why) {
            Some(ImportRejection::Policy(why)) => (RuleDecision::RejectedByPolicy(Box::new(why)), None),
            Some(ImportRejection::Infeasible(why)) => (RuleDecision::Infeasible(Box::new(why)), None),
            None => (RuleDecision::Undecided, None),
        }
    }

    /// The decision on a rule if this path, which is accepted, is selected. `best` is its index.
    fn compile(&self, nlri: &Arc<Nlri>, path: &Path, best: u16) -> (RuleDecision, Option<Vec<Space>>) {
        let space = Space::of(nlri);
        if let Some(what) = self.protection.covers(&space) {
            let rejection = PolicyRejection::Protected(what.to_owned());
            return (RuleDecision::RejectedByPolicy(Box::new(rejection)), None);
        }
        let effect = compile::enforced(path.route.effect());
        let route = path.route.clone();
        let entries = compile::check_interface_sets(&route.actions, || self.interface_sets(path))
            .map_err(|kind| Refusal::new(kind, self.capabilities))
            .and_then(|()| compile::entries(nlri, space, &effect, self.capabilities));
        match entries {
            Ok(entries) => {
                let count = u32::try_from(self.capabilities.cost.of(&entries, &effect)).unwrap_or(u32::MAX);
                let stale = path.stale || path.long_lived;
                (RuleDecision::Enforce { route, entries: count, stale, best }, Some(entries))
            }
            Err(refusal) => (RuleDecision::Refused { route, refusal: Box::new(refusal), best }, None),
        }
    }

    /// What the policy of the path's peer says of interface sets.
    pub(crate) fn interface_sets(&self, path: &Path) -> InterfaceSets {
        let policy = self.peers.get(path.peer).and_then(|peer| peer.policy());
        policy.map_or(InterfaceSets::Refuse, |policy| policy.interface_sets)
    }

    /// Why a path cannot be selected whatever the other paths are, for people: it is not accepted,
    /// or the data plane cannot enforce it.
    pub(crate) fn objection(&self, nlri: &Arc<Nlri>, path: &Path) -> Option<String> {
        match self.accept(nlri, path) {
            Err(ImportRejection::Policy(why)) => Some(why.to_string()),
            Err(ImportRejection::Infeasible(why)) => Some(why.to_string()),
            Ok(()) => match self.compile(nlri, path, 0) {
                (RuleDecision::Refused { refusal, .. }, _) => Some(refusal.to_string()),
                _ => None,
            },
        }
    }

    /// Whether import policy and validation accept a path.
    fn accept(&self, nlri: &Nlri, path: &Path) -> Result<(), ImportRejection> {
        let rejected = |why| Err(ImportRejection::Policy(why));
        let Some(peer) = self.peers.get(path.peer) else { return rejected(PolicyRejection::NoPolicy) };
        if let Some(route_loop) = path.route.facts.route_loop {
            return Err(ImportRejection::Infeasible(Infeasible::Loop(route_loop)));
        }
        let Some(policy) = peer.policy() else {
            return if peer.config().external { rejected(PolicyRejection::NoPolicy) } else { Ok(()) };
        };
        validate::check_first_as(path, policy.first_as).map_err(ImportRejection::Infeasible)?;
        // A blackhole is a unicast route itself: only `allow.destinations` and the sources decide
        // (RFC 7999 §3.3).
        if policy.validate && !path.presumed_feasible && path.key.kind == PathKind::Flow {
            validate::validate(nlri, path, self.unicast, self.peers, policy.without_destination)
                .map_err(ImportRejection::Infeasible)?;
        }
        if let Some(why) = path.policy.as_ref().and_then(|outcome| outcome.rejection.clone()) {
            return rejected(why);
        }
        if path.excess {
            return rejected(PolicyRejection::Excess { limit: policy.max_rules.unwrap_or(0) });
        }
        if path.expired {
            let seconds = path.deadline.map_or(0, |deadline| deadline.0.saturating_sub(path.received.0));
            return rejected(PolicyRejection::Lifetime { seconds });
        }
        Ok(())
    }
}
