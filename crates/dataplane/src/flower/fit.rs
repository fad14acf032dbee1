//! Which rules have filters when there is not room for all: in enforcement order as long as they
//! fit, and none whose exception has no room (decision 0020).

use super::capabilities::capabilities;
use super::settings::Settings;
use crate::kernel::Unenforced;
use engine::plan::{CompiledRule, RuleFailure};
use flowspec::Nlri;
use std::sync::Arc;

/// Rules that fit, and why the others do not.
#[derive(Debug, Default)]
pub(super) struct Fitted {
    pub(super) rules: Vec<Arc<CompiledRule>>,
    pub(super) failures: Vec<(Arc<Nlri>, RuleFailure)>,
}

/// Filters that a rule takes.
pub fn cost(rule: &CompiledRule, settings: &Settings) -> u64 {
    capabilities(settings).cost.of(&rule.entries, &rule.effect)
}

/// Those of the rules, given in enforcement order, that fit beside `others` filters.
pub(super) fn fit(rules: &[Arc<CompiledRule>], others: u64, settings: &Settings) -> Fitted {
    let Some(most) = settings.max_filters else { return Fitted { rules: rules.to_vec(), failures: Vec::new() } };
    let entry_cost = capabilities(settings).cost;
    let mut used = others;
    let mut unenforced = Unenforced::default();
    let mut fitting = Vec::with_capacity(rules.len());
    for rule in rules {
        let needed = entry_cost.of(&rule.entries, &rule.effect);
        let failure = unenforced.blocks(rule).or_else(|| no_room(needed, used, most));
        match failure {
            Some(failure) => unenforced.insert(rule, failure),
            None => {
                used += needed;
                fitting.push(rule.clone());
            }
        }
    }
    Fitted { rules: fitting, failures: unenforced.applied().failures }
}

/// Why so many filters have no room.
pub(super) fn no_room(needed: u64, used: u64, most: u64) -> Option<RuleFailure> {
    let left = most.saturating_sub(used);
    (needed > left)
        .then(|| RuleFailure::OverCapacity(format!("it takes {needed} filters, and {left} of {most} are left")))
}
