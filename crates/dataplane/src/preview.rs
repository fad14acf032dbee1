//! What a switch would install for a rule set, without a switch.

use engine::plan::RuleFailure;
use flowspec::{Nlri, Space};
use std::sync::Arc;

/// What a back end with a table of entries would install.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preview {
    /// In the switch's own form: the policy file, or a line for each key and its fields.
    pub text: String,
    /// Entries taken of IPv4 and of IPv6.
    pub entries: (u64, u64),
    /// Protected packets that a rule would otherwise act on, and the entries that they take.
    pub protected: Vec<(Space, u64)>,
    /// Entries that accept IPv6 neighbour discovery first; none if no rule would act on it.
    pub neighbor_discovery: u64,
    /// Rules without room in the table, and why.
    pub failures: Vec<(Arc<Nlri>, RuleFailure)>,
}
