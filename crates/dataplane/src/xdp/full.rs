//! Why a rule does not fit into the tables.

use super::layout::{LIST_MAX, MATCHES};

/// Why a rule does not fit into the tables.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Full {
    /// As many rules as were asked for.
    #[error("the capacity is {0} rules")]
    Rules(u32),
    /// A packet passes through no more.
    #[error("at most {} rules of an IP version may let the search go on", MATCHES - 1)]
    ContinuingRules,
    /// All numbers of rules are in use.
    #[error("no rule number is free")]
    RuleNumbers,
    /// Rules that compare with lists.
    #[error("no room for more rules with lists of values")]
    Extras,
    /// Their lists.
    #[error("no room for more lists of values")]
    Intervals,
    /// Addresses to redirect to.
    #[error("rules may redirect to at most {0} different addresses")]
    Targets(u32),
    /// The longest list.
    #[error("{LIST_MAX} rules here differ only in what cannot be looked up")]
    ListLength,
    /// Chunks, of which lists are made.
    #[error("no room for more lists of rules")]
    Chunks,
    /// As many chunks side by side as the list needs.
    #[error("no room in one piece for a list of rules")]
    ChunksSideBySide,
    /// The hash table.
    #[error("the hash table is too crowded")]
    Slots,
    /// A list that should be there is not: a mistake of ours.
    #[error("the index has lost the {0} for a rule")]
    Inconsistent(&'static str),
}
