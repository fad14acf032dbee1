//! Takes over the filters that an earlier run left in force, where they are what is wanted: packets
//! meet no change, and what was counted stays.

use super::backend::Flower;
use super::counts::told;
use super::decode::Told;
use super::filter::{Action, Filter, Purpose};
use super::numbers::{chain_of, version_of_chain};
use super::ports::io;
use super::render::{RuleFilter, rule_filters};
use super::settings::Settings;
use super::table::{FoundRule, Table};
use crate::DataplaneError;
use crate::kernel::{PerVersion, VERSIONS};
use engine::plan::CompiledRule;
use flowspec::IpVersion;
use std::collections::HashMap;
use std::sync::Arc;

impl Flower {
    /// The tables of these rules, given in enforcement order, in the chains that packets are sent
    /// to; `None` unless the kernel has exactly their filters there, in an order that will do.
    pub(super) fn adopt(
        &mut self,
        dispatched: &[u32],
        rules: &[Arc<CompiledRule>],
    ) -> Result<Option<PerVersion<Table>>, DataplaneError> {
        let Some(base) = base_of(dispatched) else { return Ok(None) };
        let mut adopted = Vec::with_capacity(VERSIONS.len());
        for version in VERSIONS {
            let chain = chain_of(base, version);
            let there = told(&mut *self.kernel, chain, self.settings.block).map_err(io("listing filters"))?;
            let of_version: Vec<_> =
                rules.iter().filter(|rule| rule.nlri.family().version() == version).cloned().collect();
            let Some(placed) = matching(&of_version, &there, &self.settings) else { return Ok(None) };
            let Some(table) = Table::of_kernel(version, chain, placed) else { return Ok(None) };
            adopted.push(table);
        }
        let mut adopted = adopted.into_iter();
        Ok(adopted.next().zip(adopted.next()).map(|(first, second)| {
            let (v4, v6) = if VERSIONS[0] == IpVersion::V4 { (first, second) } else { (second, first) };
            PerVersion { v4, v6 }
        }))
    }
}

/// The first of the two chains that packets are sent to, if it is one set of rules.
fn base_of(dispatched: &[u32]) -> Option<u32> {
    let base = |chain: &u32| match version_of_chain(*chain)? {
        IpVersion::V4 => Some(*chain),
        IpVersion::V6 => chain.checked_sub(1),
    };
    let first = dispatched.first().and_then(base)?;
    dispatched.iter().all(|chain| base(chain) == Some(first)).then_some(first)
}

/// Each rule with its filters; `None` unless these are all filters that there are.
fn matching(rules: &[Arc<CompiledRule>], there: &[Told], settings: &Settings) -> Option<Vec<FoundRule>> {
    let mut by_purpose: HashMap<Purpose, Vec<&Told>> = HashMap::new();
    for told in there {
        by_purpose.entry(told.purpose?).or_default().push(told);
    }
    let mut placed = Vec::with_capacity(rules.len());
    for rule in rules {
        let filters = rule_filters(rule, settings, |_| 0).ok()?;
        let mut found = Vec::with_capacity(filters.len());
        for filter in filters {
            let candidates = by_purpose.get_mut(&filter.purpose)?;
            let at = candidates.iter().position(|told| is_same(&filter, told, settings))?;
            let told = candidates.swap_remove(at);
            found.push((filter, told.filter.clone()?));
        }
        // All filters of a rule share its policers.
        let policers = |filter: &Filter| -> Vec<u32> { filter.actions.iter().filter_map(policer).collect() };
        let limited = || found.iter().map(|(_, filter)| policers(filter)).filter(|policers| !policers.is_empty());
        if limited().zip(limited().skip(1)).any(|(one, next)| one != next) {
            return None;
        }
        placed.push((rule.clone(), found));
    }
    by_purpose.into_values().all(|left| left.is_empty()).then_some(placed)
}

const fn policer(action: &Action) -> Option<u32> {
    match action {
        Action::Police { index, .. } => Some(*index),
        _ => None,
    }
}

/// Whether the kernel's filter is this one, wherever it stands and whatever its policers' numbers.
fn is_same(wanted: &RuleFilter, told: &Told, settings: &Settings) -> bool {
    let Some(there) = &told.filter else { return false };
    let same = |(wanted, there): (&Action, &Action)| match (wanted, there) {
        (Action::Police { limit, ends, .. }, Action::Police { limit: there, ends: there_ends, .. }) => {
            limit == there && ends == there_ends
        }
        _ => wanted == there,
    };
    let is_hardware = settings.driver.is_hardware();
    there.key == wanted.key
        && there.protocol == super::render::protocol(settings, wanted.key.version)
        && there.actions.len() == wanted.actions.len()
        && wanted.actions.iter().zip(&there.actions).all(same)
        && there.hardware == is_hardware
        && (told.in_hardware || !is_hardware)
}
