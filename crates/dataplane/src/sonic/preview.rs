//! The ACL rules that a rule set would become, without a switch.

use super::place::{Limits, PlacedOwner};
use super::rendered::Rendered;
use super::settings::Settings;
use super::{place, render};
use crate::Preview;
use crate::kernel::{DesiredState, PerVersion};
use engine::plan::Ruleset;
use flowspec::Space;
use std::collections::{BTreeMap, HashMap};

/// The ACL rules for a rule set, as far as the switch's tables have room.
pub fn preview(rules: &Ruleset, settings: &Settings) -> Preview {
    let budget = (settings.budget(), settings.why_budget());
    let limits = Limits { entries: PerVersion::new(|_| budget.clone()), ..Limits::default() };
    let wanted = DesiredState::from(rules);
    let placement = place::place(&wanted, &limits, &HashMap::new(), &mut Rendered::default(), settings);
    let mut protected: BTreeMap<String, (Space, u64)> = BTreeMap::new();
    let mut neighbor_discovery = 0;
    for placed in &placement.entries {
        match &placed.owner {
            PlacedOwner::Rule(_) => {}
            PlacedOwner::Protected(space) if **space == place::neighbor_discovery() => neighbor_discovery += 1,
            PlacedOwner::Protected(space) => {
                let known = protected.entry(format!("{space:?}"));
                known.or_insert_with(|| (space.as_ref().clone(), 0)).1 += 1;
            }
        }
    }
    let text = render::text(&placement, &settings.interfaces, settings);
    let entries = (placement.used.v4, placement.used.v6);
    let protected = protected.into_values().collect();
    Preview { text, entries, protected, neighbor_discovery, failures: placement.failures }
}
