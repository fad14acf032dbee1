//! Why a rule does not fit into the tables.

use super::layout::{LIST_MAX, MATCHES};

/// Why a rule does not fit into the tables.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Full {
    /// The configured number of rules is reached.
    #[error("the capacity is {0} rules")]
    Rules(u32),
    /// The largest depth that a packet can traverse is reached.
    #[error("at most {} rules of an IP version may continue", MATCHES - 1)]
    ContinuingRules,
    /// All rule numbers are in use.
    #[error("no rule number is free")]
    RuleNumbers,
    /// Entries for rules that compare with lists.
    #[error("no room for more rules with lists of values")]
    Extras,
    /// The lists of those rules.
    #[error("no room for more lists of values")]
    Intervals,
    /// Redirect addresses.
    #[error("rules may redirect to at most {0} different addresses")]
    Targets(u32),
    /// The maximum length of a list.
    #[error("{LIST_MAX} rules here differ only in what cannot be looked up")]
    ListLength,
    /// Chunks, which lists consist of.
    #[error("no room for more lists of rules")]
    Chunks,
    /// As many adjacent chunks as the list needs.
    #[error("no room in one piece for a list of rules")]
    ChunksSideBySide,
    /// The hash table.
    #[error("the hash table is too crowded")]
    Slots,
    /// A list that should exist does not: a bug.
    #[error("the index has lost the {0} for a rule")]
    Inconsistent(&'static str),
}
