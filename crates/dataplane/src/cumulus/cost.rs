//! Entries of the switch's table that rules take.

use super::settings::Settings;
use engine::plan::CompiledRule;
use flowspec::{Effect, Space};

/// Entries of the switch's table that a rule takes.
pub fn cost(rule: &CompiledRule, settings: &Settings) -> u64 {
    settings.entry_cost().of(&rule.entries, &rule.effect)
}

/// Entries that a protected space takes.
pub(super) fn protected_cost(space: &Space, settings: &Settings) -> u64 {
    settings.entry_cost().of(std::slice::from_ref(space), &Effect::ACCEPT)
}
