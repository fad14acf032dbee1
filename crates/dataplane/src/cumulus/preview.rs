//! What a rule set would make of a switch, without one.

use super::place::{Limits, place};
use super::render::Page;
use super::settings::Settings;
use engine::plan::{RuleFailure, Ruleset};
use flowspec::Nlri;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What would be installed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preview {
    /// The policy file.
    pub text: String,
    /// Entries taken of IPv4 and of IPv6.
    pub entries: (u64, u64),
    /// Rules without a place in the table, and why.
    pub failures: Vec<(Arc<Nlri>, RuleFailure)>,
}

/// The policy file for a rule set, as far as the switch's table has room.
///
/// # Errors
/// Not even what is protected has room; in words.
pub fn preview(rules: &Ruleset, settings: &Settings) -> Result<Preview, String> {
    let limits = Limits { budget: settings.budget(), ceiling: None, refused: BTreeMap::new() };
    let placement = place(&rules.protected, rules.rules.iter(), &limits, settings)?;
    let page = Page::new(&placement.protected, placement.placed.iter(), settings);
    let unwritable =
        page.unwritable.iter().map(|(nlri, error)| (Arc::clone(nlri), RuleFailure::Failed(error.to_string())));
    let failures = placement.failures.into_iter().chain(unwritable).collect();
    Ok(Preview { text: page.text, entries: placement.entries, failures })
}
