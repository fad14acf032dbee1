//! The visible state of a rule, and the reason for it. Every rule has exactly one.

use crate::compile::Refusal;
use crate::import_policy::PolicyRejection;
use crate::validate::Infeasible;
use flowspec::RuleId;

/// The state of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RuleState {
    /// It is not enforced yet.
    Pending {
        /// Filtering is paused.
        paused: bool,
    },
    /// It is enforced.
    Installed {
        /// Entries that it takes; none for a rule that can never match.
        entries: u64,
    },
    /// It is enforced although its session is lost.
    Stale {
        /// Entries that it takes.
        entries: u64,
    },
    /// The data plane cannot enforce it exactly.
    Refused(Refusal),
    /// Import policy or protection rejects it.
    RejectedByPolicy(PolicyRejection),
    /// Validation failed.
    Infeasible(Infeasible),
    /// An earlier rule takes all its packets, so that it is not installed.
    Shadowed {
        /// The earlier rule.
        by: RuleId,
    },
    /// The table of the data plane is full; its message.
    OverCapacity(String),
    /// The data plane failed to install it; its message. It is tried again.
    Failed(String),
}

impl RuleState {
    /// The names of all states, in display order.
    pub const NAMES: [&'static str; 9] =
        ["installed", "stale", "pending", "shadowed", "refused", "guarded", "infeasible", "over-capacity", "failed"];

    /// The state's name, for JSON, metrics and people.
    pub const fn name(&self) -> &'static str {
        match self {
            RuleState::Pending { .. } => "pending",
            RuleState::Installed { .. } => "installed",
            RuleState::Stale { .. } => "stale",
            RuleState::Refused(_) => "refused",
            RuleState::RejectedByPolicy(_) => "guarded",
            RuleState::Infeasible(_) => "infeasible",
            RuleState::Shadowed { .. } => "shadowed",
            RuleState::OverCapacity(_) => "over-capacity",
            RuleState::Failed(_) => "failed",
        }
    }

    /// The reason, for people; `None` if the name says everything.
    pub fn reason(&self) -> Option<String> {
        match self {
            RuleState::Pending { paused: true } => Some("filtering is paused".to_owned()),
            RuleState::Stale { .. } => {
                Some("its peer has not sent it since the session was lost, or since the daemon started".to_owned())
            }
            RuleState::Pending { paused: false } | RuleState::Installed { .. } => None,
            RuleState::Refused(refusal) => Some(refusal.to_string()),
            RuleState::RejectedByPolicy(why) => Some(why.to_string()),
            RuleState::Infeasible(why) => Some(why.to_string()),
            RuleState::Shadowed { by } => Some(format!("the earlier rule {by} takes all its packets")),
            RuleState::OverCapacity(message) | RuleState::Failed(message) => Some(message.clone()),
        }
    }

    /// A short stable name of the reason, for JSON and metrics.
    pub fn reason_code(&self) -> Option<&'static str> {
        match self {
            RuleState::Refused(refusal) => Some(refusal.kind.name()),
            RuleState::RejectedByPolicy(why) => Some(why.name()),
            RuleState::Infeasible(why) => Some(why.name()),
            RuleState::Pending { paused: true } => Some("paused"),
            RuleState::Pending { paused: false }
            | RuleState::Installed { .. }
            | RuleState::Stale { .. }
            | RuleState::Shadowed { .. }
            | RuleState::OverCapacity(_)
            | RuleState::Failed(_) => None,
        }
    }

    /// Entries in the data plane.
    pub const fn entries(&self) -> u64 {
        match self {
            RuleState::Installed { entries } | RuleState::Stale { entries } => *entries,
            _ => 0,
        }
    }
}
