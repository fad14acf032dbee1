//! What a rule set would make of a machine, without one.

use super::filter::{Filter, Purpose};
use super::fit::{Fitted, fit};
use super::numbers::{FIRST_CHAIN, FIRST_POLICER, FIRST_RULE_CHAIN, chain_of};
use super::render::{
    DISPATCH_PRIORITY, PROTECTED_PRIORITY, dispatchers, neighbor_discovery, protected_keys, protocol, template,
};
use super::settings::Settings;
use super::table::Table;
use super::text::Line;
use crate::kernel::VERSIONS;
use engine::plan::{RuleFailure, Ruleset};
use flowspec::{IpVersion, Nlri};
use std::fmt::Write;
use std::sync::Arc;

/// What would be installed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preview {
    /// The filters, in tc's words.
    pub text: String,
    /// Filters of rules.
    pub entries: u64,
    /// Filters of protected packets, of neighbour discovery, and those that send packets to the
    /// rules.
    pub others: u64,
    /// Rules without a place, and why.
    pub failures: Vec<(Arc<Nlri>, RuleFailure)>,
}

/// The filters for a rule set.
pub fn preview(rules: &Ruleset, settings: &Settings) -> Preview {
    let mut text = String::new();
    let (mut entries, mut policers) = (0, FIRST_POLICER);
    let first = first_chain(&rules.protected, settings, FIRST_RULE_CHAIN);
    let (first, problem) = match first {
        Ok(filters) => (filters, None),
        Err(error) => (Vec::new(), Some(format!("what is protected cannot be written: {error}"))),
    };
    let Fitted { rules: fitting, mut failures } = fit(&rules.rules, first.len() as u64, settings);
    for version in VERSIONS {
        let of_version: Vec<_> =
            fitting.iter().filter(|rule| rule.nlri.family().version() == version).cloned().collect();
        let chain = chain_of(FIRST_RULE_CHAIN, version);
        let next = |_| {
            policers += 1;
            policers - 1
        };
        if let (Some(template), false) = (template(version, settings), of_version.is_empty()) {
            let words = template.to_string();
            let eth_type = if version == IpVersion::V4 { "ip" } else { "ipv6" };
            let _ =
                writeln!(text, "chain add block {} chain {chain} protocol {eth_type} flower{words}", settings.block);
        }
        match Table::build(version, chain, &of_version, settings, next) {
            Ok((table, unwritable)) => {
                entries += table.len();
                for filter in table.filters() {
                    let _ = writeln!(text, "{}", Line { filter, block: settings.block });
                }
                let failed = |error: &dyn std::error::Error| RuleFailure::Failed(error.to_string());
                failures.extend(unwritable.into_iter().map(|(rule, error)| (rule.nlri.clone(), failed(&error))));
            }
            Err(error) => {
                let failure = || RuleFailure::OverCapacity(error.to_string());
                failures.extend(of_version.iter().map(|rule| (rule.nlri.clone(), failure())));
            }
        }
    }
    for filter in &first {
        let _ = writeln!(text, "{}", Line { filter, block: settings.block });
    }
    if let Some(problem) = problem {
        failures.extend(fitting.iter().map(|rule| (rule.nlri.clone(), RuleFailure::Failed(problem.clone()))));
    }
    Preview { text, entries, others: first.len() as u64, failures }
}

/// How many filters there are beside those of rules, when rules of both IP versions are there.
///
/// # Errors
/// The compiler let something through that no filter can say.
pub(super) fn others(protected: &[flowspec::Space], settings: &Settings) -> Result<u64, super::key::Unwritable> {
    Ok(first_chain(protected, settings, FIRST_RULE_CHAIN)?.len() as u64)
}

/// The filters of the chain where packets begin: what is protected, and what sends packets to the
/// rules.
pub(super) fn first_chain(
    protected: &[flowspec::Space],
    settings: &Settings,
    chain: u32,
) -> Result<Vec<Filter>, super::key::Unwritable> {
    let mut filters = protected_filters(protected, settings)?;
    for version in VERSIONS {
        filters.extend(dispatch_filters(version, chain_of(chain, version), settings));
    }
    Ok(filters)
}

/// The filters of what is never filtered. Their numbers follow from what they compare, so that each
/// has its place whatever else is protected.
pub(super) fn protected_filters(
    protected: &[flowspec::Space],
    settings: &Settings,
) -> Result<Vec<Filter>, super::key::Unwritable> {
    let mut keys = neighbor_discovery(settings);
    let version_is_filtered = |version| version == IpVersion::V4 || super::capabilities::capabilities(settings).ipv6;
    let wanted: Vec<_> = protected.iter().filter(|space| version_is_filtered(space.version())).cloned().collect();
    for key in protected_keys(&wanted, settings)? {
        if !keys.contains(&key) {
            keys.push(key);
        }
    }
    let filters = keys.into_iter().zip(1..).map(|(key, handle)| Filter {
        chain: FIRST_CHAIN,
        priority: PROTECTED_PRIORITY + u16::from(key.version == IpVersion::V6),
        handle,
        protocol: protocol(settings, key.version),
        key,
        actions: vec![super::filter::Action::Pass],
        purpose: Purpose::Protected,
        hardware: settings.driver.is_hardware(),
    });
    Ok(filters.collect())
}

/// The filters that send packets of an IP version to a chain.
pub(super) fn dispatch_filters(version: IpVersion, chain: u32, settings: &Settings) -> Vec<Filter> {
    if version == IpVersion::V6 && !super::capabilities::capabilities(settings).ipv6 {
        return Vec::new();
    }
    let filter = |(protocol, key, offset): (u16, _, u16)| Filter {
        chain: FIRST_CHAIN,
        priority: DISPATCH_PRIORITY + offset,
        handle: 1,
        protocol,
        key,
        actions: vec![super::filter::Action::Goto(chain)],
        purpose: Purpose::Dispatch,
        hardware: settings.driver.is_hardware(),
    };
    dispatchers(version, settings).into_iter().map(filter).collect()
}
