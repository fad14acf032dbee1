//! The policy file that a rule set would become, without a switch.

use super::cost::protected_cost;
use super::line::NEIGHBOR_DISCOVERY_ENTRIES;
use super::place::{Limits, place};
use super::render::PolicyFile;
use super::settings::Settings;
use crate::Preview;
use engine::plan::{RuleFailure, Ruleset};
use std::sync::Arc;

/// The policy file for a rule set, as far as the switch's table has room.
pub fn preview(rules: &Ruleset, settings: &Settings) -> Preview {
    let limits = Limits::of(settings);
    let placement = place(&rules.protected, rules.rules.iter(), &limits, settings);
    let page = PolicyFile::new(&placement.protected, placement.neighbor_discovery, placement.placed.iter(), settings);
    let inexpressible =
        page.inexpressible().iter().map(|(nlri, error)| (Arc::clone(nlri), RuleFailure::Failed(error.to_string())));
    let failures = placement.failures.into_iter().chain(inexpressible).collect();
    let protected =
        placement.protected.into_iter().map(|space| (space.clone(), protected_cost(&space, settings))).collect();
    let discovery = if placement.neighbor_discovery { NEIGHBOR_DISCOVERY_ENTRIES } else { 0 };
    let neighbor_discovery = discovery * settings.interfaces.len() as u64;
    Preview { text: page.into_text(), entries: placement.entries, protected, neighbor_discovery, failures }
}
