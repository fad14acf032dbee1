//! Number of TCAM entries of a rule.

use super::settings::Settings;
use engine::plan::CompiledRule;
use flowspec::{Effect, Space};

/// TCAM entries of a rule.
pub fn cost(rule: &CompiledRule, settings: &Settings) -> u64 {
    settings.entry_cost().of(&rule.entries, &rule.effect)
}

/// TCAM entries of a protected space.
pub(super) fn protected_cost(space: &Space, settings: &Settings) -> u64 {
    settings.entry_cost().of(std::slice::from_ref(space), &Effect::ACCEPT)
}
