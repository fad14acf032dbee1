//! The filters of the rules of one IP version, each with its place: the lower priority decides.

use super::filter::{Filter, Limit};
use super::key::Unwritable;
use super::render::{RuleFilter, protocol, rule_filters};
use super::settings::Settings;
use crate::kernel::priority::{OrderedEntry, TooFewNumbers, assign};
use engine::plan::CompiledRule;
use flowspec::{IpVersion, Nlri, Prefix, Space};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::sync::Arc;

/// Priorities of a chain.
const PRIORITIES: RangeInclusive<u32> = 1..=65_535;

/// A filter with its place, and the packets that it is for.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct PlacedFilter {
    pub(super) filter: Filter,
    space: Space,
}

/// A rule with its filters.
#[derive(Clone, Debug)]
pub(super) struct PlacedRule {
    pub(super) rule: Arc<CompiledRule>,
    pub(super) filters: Vec<PlacedFilter>,
}

/// A destination; patterns with an offset, and rules without one, count as the one of length 0.
type Network = (u128, u8);

/// The rules of one IP version that have filters in a chain.
#[derive(Clone, Debug)]
pub(super) struct Table {
    version: IpVersion,
    chain: u32,
    rules: BTreeMap<Arc<Nlri>, PlacedRule>,
    by_destination: BTreeMap<Network, BTreeSet<Arc<Nlri>>>,
    next_handle: u32,
    filters: u64,
}

/// A rule with its filters, as rendered and as the kernel has them.
pub(super) type FoundRule = (Arc<CompiledRule>, Vec<(RuleFilter, Filter)>);

/// Rules that cannot be written as filters, and why.
pub(super) type Unwritten = Vec<(Arc<CompiledRule>, Unwritable)>;

/// Why a rule has no place in the chain.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoPlace {
    /// It cannot be written.
    #[error(transparent)]
    Unwritable(#[from] Unwritable),
    /// Other filters would have to move.
    #[error(transparent)]
    TooFewNumbers(#[from] TooFewNumbers),
}

impl Table {
    /// Without a rule.
    pub(super) fn new(version: IpVersion, chain: u32) -> Self {
        let (rules, by_destination) = (BTreeMap::new(), BTreeMap::new());
        Table { version, chain, rules, by_destination, next_handle: 1, filters: 0 }
    }

    /// With all of these rules, given in enforcement order. Those that cannot be written are left
    /// out and returned.
    ///
    /// # Errors
    /// There are not enough priorities.
    pub(super) fn build(
        version: IpVersion,
        chain: u32,
        rules: &[Arc<CompiledRule>],
        settings: &Settings,
        mut policer: impl FnMut(Limit) -> u32,
    ) -> Result<(Self, Unwritten), TooFewNumbers> {
        let mut table = Table::new(version, chain);
        let mut unwritable = Vec::new();
        let mut rendered = Vec::with_capacity(rules.len());
        for rule in rules {
            match rule_filters(rule, settings, &mut policer) {
                Ok(filters) => rendered.push((rule, filters)),
                Err(error) => unwritable.push((rule.clone(), error)),
            }
        }
        let groups = (0u32..).zip(&rendered);
        let entries: Vec<OrderedEntry<'_>> = groups
            .flat_map(|(group, (_, filters))| {
                filters.iter().map(move |filter| OrderedEntry { space: &filter.space, group, number: None })
            })
            .collect();
        let mut numbers = assign(&entries, PRIORITIES)?.into_iter();
        drop(entries);
        for (rule, filters) in rendered {
            let count = filters.len();
            let priorities: Vec<u32> = numbers.by_ref().take(count).collect();
            table.insert(rule, filters, &priorities, settings);
        }
        Ok((table, unwritable))
    }

    /// With these rules, given in enforcement order, whose filters the kernel has; `None` if their
    /// priorities do not put them into that order.
    pub(super) fn of_kernel(version: IpVersion, chain: u32, rules: Vec<FoundRule>) -> Option<Self> {
        let groups = (0u32..).zip(&rules);
        let entries: Vec<OrderedEntry<'_>> = groups
            .flat_map(|(group, (_, filters))| {
                filters.iter().map(move |(filter, there)| OrderedEntry {
                    space: &filter.space,
                    group,
                    number: Some(u32::from(there.priority)),
                })
            })
            .collect();
        let numbers = assign(&entries, PRIORITIES).ok()?;
        if entries.iter().zip(numbers).any(|(entry, number)| entry.number != Some(number)) {
            return None;
        }
        drop(entries);
        let mut table = Table::new(version, chain);
        for (rule, filters) in rules {
            let placed = filters.into_iter().map(|(RuleFilter { space, purpose, .. }, there)| {
                table.next_handle = table.next_handle.max(there.handle.saturating_add(1));
                PlacedFilter { filter: Filter { purpose, ..there }, space }
            });
            let filters = placed.collect();
            table.restore(PlacedRule { rule, filters });
        }
        Some(table)
    }

    pub(super) const fn chain(&self) -> u32 {
        self.chain
    }

    pub(super) fn rules(&self) -> impl DoubleEndedIterator<Item = &PlacedRule> {
        self.rules.values()
    }

    pub(super) fn get(&self, nlri: &Nlri) -> Option<&PlacedRule> {
        self.rules.get(nlri)
    }

    /// How many filters there are.
    pub(super) const fn len(&self) -> u64 {
        self.filters
    }

    /// The filters, in enforcement order of their rules.
    pub(super) fn filters(&self) -> impl Iterator<Item = &Filter> {
        self.rules.values().flat_map(|rule| &rule.filters).map(|placed| &placed.filter)
    }

    /// Takes a rule out; what was there of it.
    pub(super) fn remove(&mut self, nlri: &Nlri) -> Option<PlacedRule> {
        let (nlri, removed) = self.rules.remove_entry(nlri)?;
        self.filters -= removed.filters.len() as u64;
        let network = network_of(&removed.rule);
        if let Some(others) = self.by_destination.get_mut(&network) {
            others.remove(&nlri);
            if others.is_empty() {
                self.by_destination.remove(&network);
            }
        }
        Some(removed)
    }

    /// Puts a rule in, or in the place of itself; what was there of it. A filter that compares what
    /// one of its old ones does keeps the place of that one.
    ///
    /// # Errors
    /// It cannot be written, or others would have to move: then it is as before.
    pub(super) fn put(
        &mut self,
        rule: &Arc<CompiledRule>,
        settings: &Settings,
        policer: impl FnMut(Limit) -> u32,
    ) -> Result<Option<PlacedRule>, NoPlace> {
        let filters = rule_filters(rule, settings, policer)?;
        let old = self.remove(&rule.nlri);
        match self.priorities(rule, &filters, old.as_ref()) {
            Ok(priorities) => {
                self.insert(rule, filters, &priorities, settings);
                if let (Some(old), Some(new)) = (&old, self.rules.get_mut(&rule.nlri)) {
                    keep_places(old, new);
                }
                Ok(old)
            }
            Err(error) => {
                if let Some(old) = old {
                    self.restore(old);
                }
                Err(error.into())
            }
        }
    }

    /// Puts back what was taken out.
    pub(super) fn restore(&mut self, rule: PlacedRule) {
        self.remove(&rule.rule.nlri);
        self.filters += rule.filters.len() as u64;
        self.by_destination.entry(network_of(&rule.rule)).or_default().insert(rule.rule.nlri.clone());
        self.rules.insert(rule.rule.nlri.clone(), rule);
    }

    /// Priorities for the filters of a rule among those that are there, none of which moves.
    fn priorities(
        &self,
        rule: &CompiledRule,
        filters: &[RuleFilter],
        old: Option<&PlacedRule>,
    ) -> Result<Vec<u32>, TooFewNumbers> {
        let others = self.neighbours(rule);
        let touched: Vec<(&PlacedRule, Vec<&PlacedFilter>)> = others
            .iter()
            .filter_map(|nlri| self.rules.get(*nlri))
            .map(|other| {
                let touched = |placed: &&PlacedFilter| filters.iter().any(|new| new.space.overlaps(&placed.space));
                (other, other.filters.iter().filter(touched).collect::<Vec<_>>())
            })
            .filter(|(_, touched)| !touched.is_empty())
            .collect();
        let before = touched.partition_point(|(other, _)| other.rule.nlri < rule.nlri);
        let of = |group: u32, placed: &[&'_ PlacedFilter]| -> Vec<(usize, u32, u32)> {
            placed.iter().enumerate().map(|(at, placed)| (at, group, u32::from(placed.filter.priority))).collect()
        };
        let mut entries: Vec<OrderedEntry<'_>> = Vec::new();
        let mut own_at = 0;
        for (group, at) in (0u32..).zip(0..=touched.len()) {
            if at == before {
                own_at = entries.len();
                let number = |new: &RuleFilter| {
                    let same = |placed: &&PlacedFilter| placed.filter.key == new.key;
                    let old = old.and_then(|old| old.filters.iter().find(same));
                    old.map(|placed| u32::from(placed.filter.priority))
                };
                let own =
                    filters.iter().map(|new| OrderedEntry { space: &new.space, group: u32::MAX, number: number(new) });
                entries.extend(own);
            }
            if let Some((_, placed)) = touched.get(at) {
                for (index, group, number) in of(group, placed) {
                    entries.push(OrderedEntry { space: &placed[index].space, group, number: Some(number) });
                }
            }
        }
        let numbers = assign(&entries, PRIORITIES)?;
        let own = own_at..own_at + filters.len();
        let moved = |at: usize| !own.contains(&at) && entries[at].number != Some(numbers[at]);
        if (0..entries.len()).any(moved) {
            return Err(TooFewNumbers { numbers: *PRIORITIES.end() });
        }
        Ok(numbers[own].to_vec())
    }

    /// Rules whose destinations overlap this one's, in enforcement order.
    fn neighbours(&self, rule: &CompiledRule) -> Vec<&Arc<Nlri>> {
        let (bits, length) = network_of(rule);
        let last = bits | u128::MAX.checked_shr(u32::from(length)).unwrap_or(0);
        let within = self.by_destination.range((bits, length)..=(last, 128)).map(|(_, rules)| rules);
        let wider = (0..length).filter_map(|shorter| {
            let mask = !u128::MAX.checked_shr(u32::from(shorter)).unwrap_or(0);
            self.by_destination.get(&(bits & mask, shorter))
        });
        let mut found: Vec<&Arc<Nlri>> = within.chain(wider).flatten().collect();
        found.sort_unstable();
        found
    }

    fn insert(&mut self, rule: &Arc<CompiledRule>, filters: Vec<RuleFilter>, priorities: &[u32], settings: &Settings) {
        let placed = filters.into_iter().zip(priorities).map(|(filter, priority)| {
            let handle = self.next_handle;
            self.next_handle += 1;
            let RuleFilter { space, key, actions, purpose } = filter;
            let filter = Filter {
                chain: self.chain,
                priority: *priority as u16,
                handle,
                protocol: protocol(settings, self.version),
                key,
                actions,
                purpose,
                hardware: settings.driver.is_hardware(),
            };
            PlacedFilter { filter, space }
        });
        let filters: Vec<PlacedFilter> = placed.collect();
        self.restore(PlacedRule { rule: rule.clone(), filters });
    }
}

/// Filters that compare the same, with the same priority, have the numbers of the old ones: the
/// kernel puts the one in the place of the other.
fn keep_places(old: &PlacedRule, new: &mut PlacedRule) {
    for placed in &mut new.filters {
        let same =
            |old: &&PlacedFilter| old.filter.key == placed.filter.key && old.filter.priority == placed.filter.priority;
        if let Some(old) = old.filters.iter().find(same) {
            placed.filter.handle = old.filter.handle;
        }
    }
}

fn network_of(rule: &CompiledRule) -> Network {
    match rule.nlri.destination() {
        Some(Prefix::V4(net)) => (u128::from(u32::from(net.network())) << 96, net.prefix_len()),
        Some(Prefix::V6(pattern)) if pattern.offset() == 0 => (pattern.bits(), pattern.length()),
        Some(Prefix::V6(_)) | None => (0, 0),
    }
}
