//! The input of a data plane: compiled rules, the desired state as a whole, or the difference to
//! what is applied.

use flowspec::space::Space;
use flowspec::{Effect, Nlri, RuleId};
use std::sync::Arc;

/// A rule that a data plane can enforce exactly, in compiled form.
#[derive(Clone, Debug, PartialEq)]
pub struct CompiledRule {
    /// The rule's match part: its key, and its place in the order (`Ord`: less = enforced earlier).
    pub nlri: Arc<Nlri>,
    /// Short stable name.
    pub id: RuleId,
    /// The effect to enforce: monitor mode and policy are already taken into account.
    pub effect: Effect,
    /// The packets, as the union of these; each one is within what one entry of the data plane can
    /// express, and they are pairwise disjoint, so that no packet is counted or policed twice,
    /// unless [`overlap`](crate::capability::Capabilities::overlap) says that it does not matter.
    /// Empty if the rule can never match (it is then installed by doing nothing).
    pub entries: Vec<Space>,
}

/// All that is to be enforced: the form for a full load.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ruleset {
    /// Packets that are accepted ahead of every rule: protected prefixes, our own BGP sessions,
    /// management ports.
    pub protected: Arc<Vec<Space>>,
    /// The rules, in enforcement order; IPv4 before IPv6.
    pub rules: Vec<Arc<CompiledRule>>,
}

/// The difference between two rule sets: the form for a change.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// Rules to add, or to replace the rule with the same key.
    pub upsert: Vec<Arc<CompiledRule>>,
    /// Keys of the rules to remove.
    pub remove: Vec<Arc<Nlri>>,
    /// The new protected packets, where they changed.
    pub protected: Option<Arc<Vec<Space>>>,
}

impl Plan {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.upsert.is_empty() && self.remove.is_empty() && self.protected.is_none()
    }
}

/// Why a single rule is not in force although the rest is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RuleFailure {
    /// Its table is full; its message.
    OverCapacity(String),
    /// The data plane failed to install it; its message.
    Failed(String),
}

impl RuleFailure {
    /// The message of the data plane.
    pub fn message(&self) -> &str {
        match self {
            RuleFailure::OverCapacity(message) | RuleFailure::Failed(message) => message,
        }
    }
}

/// The outcome of a transaction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// Rules of the desired state that are not in force, with the reason: of this transaction, or
    /// of an earlier one if they lost their room. All others are in force.
    pub failures: Vec<(Arc<Nlri>, RuleFailure)>,
}
