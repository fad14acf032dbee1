//! The decision on one rule, and its reason: the rule's part of the Loc-RIB.

use crate::compile::Refusal;
use crate::import_policy::PolicyRejection;
use crate::route::Route;
use crate::validate::Infeasible;
use flowspec::RuleId;
use std::sync::Arc;

/// The decision on a rule by itself.
#[derive(Debug)]
pub(crate) enum RuleDecision {
    /// None yet.
    Undecided,
    /// It is to be enforced.
    Enforce {
        /// The route of the selected path.
        route: Arc<Route>,
        /// Entries of the data plane that it takes.
        entries: u32,
        /// The selected path is stale.
        stale: bool,
        /// Index of the selected path.
        best: u16,
    },
    /// The data plane cannot enforce what any accepted path asks for.
    Refused {
        /// The route of the best accepted path.
        route: Arc<Route>,
        /// Why it is refused.
        refusal: Box<Refusal>,
        /// Index of that path.
        best: u16,
    },
    /// Import policy accepts no path; why not the best.
    RejectedByPolicy(Box<PolicyRejection>),
    /// No path is feasible; why not the best.
    Infeasible(Box<Infeasible>),
}

/// Why a rule that is to be enforced is left out because of another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Suppression {
    /// It would act on packets that this earlier rule exempts, which is not in force.
    BlockedByException(RuleId),
    /// This earlier rule takes all its packets.
    Shadowed(RuleId),
}

/// The decision on a rule, together with the effects of other rules on it.
#[derive(Debug)]
pub(crate) struct RuleSelection {
    decision: RuleDecision,
    suppression: Option<Suppression>,
}

impl Default for RuleSelection {
    fn default() -> Self {
        RuleSelection { decision: RuleDecision::Undecided, suppression: None }
    }
}

impl RuleSelection {
    pub(crate) const fn decision(&self) -> &RuleDecision {
        &self.decision
    }

    /// Records a decision.
    pub(crate) fn decide(&mut self, decision: RuleDecision) {
        self.decision = decision;
    }

    /// The route by which it is to be enforced, without the effects of other rules.
    pub(crate) const fn selected_route(&self) -> Option<&Arc<Route>> {
        match &self.decision {
            RuleDecision::Enforce { route, .. } => Some(route),
            RuleDecision::Undecided
            | RuleDecision::Refused { .. }
            | RuleDecision::RejectedByPolicy(_)
            | RuleDecision::Infeasible(_) => None,
        }
    }

    pub(crate) const fn suppression(&self) -> Option<Suppression> {
        self.suppression
    }

    /// Whether an exempting rule that is not in force blocks it.
    pub(crate) const fn is_blocked(&self) -> bool {
        matches!(self.suppression, Some(Suppression::BlockedByException(_)))
    }

    /// Records the effects of other rules on it; true if they changed.
    pub(crate) fn suppress(&mut self, suppression: Option<Suppression>) -> bool {
        let changed = self.suppression != suppression;
        self.suppression = suppression;
        changed
    }
}
