//! One rule of the ordered table. Small: there may be 100,000 of them.

use crate::enforcement::{Enforcement, RuleInstallation};
use crate::key::RuleKey;
use crate::precedence;
use crate::received_paths::ReceivedPaths;
use crate::rule_decision::{RuleDecision, RuleSelection};
use std::sync::Arc;

/// What each stage stores for the rule. Open to the stages, each of which has a part with private
/// fields.
#[derive(Debug, Default)]
pub(crate) struct RuleEntry {
    /// The part of the Adj-RIB-In.
    pub(crate) paths: ReceivedPaths,
    /// The part of the Loc-RIB.
    pub(crate) selection: RuleSelection,
    /// The part of the reconciler.
    pub(crate) installation: RuleInstallation,
    /// The transaction that sent what is in force.
    sent_in_change: u32,
    /// It is on the list of the rules to be decided on anew.
    dirty: bool,
}

const _: () = assert!(size_of::<RuleEntry>() <= 104);

impl RuleEntry {
    /// Records what transaction number `change` puts in force; returns what was in force before.
    pub(crate) const fn send(&mut self, enforcement: Option<Enforcement>, change: u32) -> Option<Enforcement> {
        self.sent_in_change = change;
        self.installation.put_in_force(enforcement)
    }

    /// The transaction that sent what is in force.
    pub(crate) const fn sent_in_change(&self) -> u32 {
        self.sent_in_change
    }

    /// Whether it was not dirty before.
    pub(crate) const fn mark_dirty(&mut self) -> bool {
        !std::mem::replace(&mut self.dirty, true)
    }

    pub(crate) const fn clear_dirty(&mut self) {
        self.dirty = false;
    }

    /// How it is to be enforced; `None` if it is not to be in force.
    pub(crate) fn desired(&self, monitor: bool) -> Option<Enforcement> {
        let route = self.selection.selected_route().filter(|_| self.selection.suppression().is_none())?;
        (!self.installation.is_held_by_failure()).then(|| Enforcement { route: route.clone(), monitor })
    }

    /// Whether it exempts packets from later rules, and is not in force although it should be.
    pub(crate) fn is_missing_exception(&self, key: &RuleKey) -> bool {
        let route = match self.selection.decision() {
            RuleDecision::Enforce { route, .. } if self.installation.has_failed() || self.selection.is_blocked() => {
                route
            }
            RuleDecision::Refused { route, .. } => route,
            RuleDecision::Enforce { .. }
            | RuleDecision::Undecided
            | RuleDecision::RejectedByPolicy(_)
            | RuleDecision::Infeasible(_) => return false,
        };
        key.nlri().is_some_and(|nlri| precedence::exempts(nlri, &route.effect()))
    }

    /// After a decision: drops failures that are no longer relevant.
    pub(crate) fn update_failures(&mut self) {
        let (paths, selected) = (&self.paths, self.selection.selected_route());
        self.installation.update_failures(selected, |route| paths.iter().any(|path| Arc::ptr_eq(&path.route, route)));
    }

    /// The rule is to be tried with the next transaction: by the best path first, then by the
    /// others.
    pub(crate) fn retry(&mut self) {
        self.installation.retry_every_path(self.selection.selected_route());
    }
}
