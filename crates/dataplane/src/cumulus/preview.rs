//! What a rule set would make of a switch, without one.

use super::cost::protected_cost;
use super::line::NEIGHBOR_DISCOVERY_ENTRIES;
use super::place::{Limits, place};
use super::render::PolicyFile;
use super::settings::Settings;
use engine::plan::{RuleFailure, Ruleset};
use flowspec::{Nlri, Space};
use std::sync::Arc;

/// What would be installed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preview {
    /// The policy file.
    pub text: String,
    /// Entries taken of IPv4 and of IPv6.
    pub entries: (u64, u64),
    /// Protected packets that a rule would otherwise do something to, and the entries that they take.
    pub protected: Vec<(Space, u64)>,
    /// Entries that let IPv6 neighbour discovery through first; none where no rule would touch it.
    pub neighbor_discovery: u64,
    /// Rules without a place in the table, and why.
    pub failures: Vec<(Arc<Nlri>, RuleFailure)>,
}

/// The policy file for a rule set, as far as the switch's table has room.
pub fn preview(rules: &Ruleset, settings: &Settings) -> Preview {
    let limits = Limits::of(settings);
    let placement = place(&rules.protected, rules.rules.iter(), &limits, settings);
    let page = PolicyFile::new(&placement.protected, placement.neighbor_discovery, placement.placed.iter(), settings);
    let unwritable =
        page.unwritable().iter().map(|(nlri, error)| (Arc::clone(nlri), RuleFailure::Failed(error.to_string())));
    let failures = placement.failures.into_iter().chain(unwritable).collect();
    let protected =
        placement.protected.into_iter().map(|space| (space.clone(), protected_cost(&space, settings))).collect();
    let discovery = if placement.neighbor_discovery { NEIGHBOR_DISCOVERY_ENTRIES } else { 0 };
    let neighbor_discovery = discovery * settings.interfaces.len() as u64;
    Preview { text: page.into_text(), entries: placement.entries, protected, neighbor_discovery, failures }
}
