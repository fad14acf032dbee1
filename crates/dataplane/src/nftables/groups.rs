//! Groups of destinations, their slots and their buckets, as values.

use super::changes::{Chain, Changes};
use super::template::{GroupKey, SlotKey};
use engine::plan::CompiledRule;
use flowspec::Nlri;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

#[derive(Debug, Default)]
pub(super) struct Slots(pub(super) BTreeMap<Arc<SlotKey>, Slot>);

#[derive(Debug)]
pub(super) struct Slot {
    /// The set's name; for a slot without key, the name of its rule's counter.
    pub(super) name: String,
    /// If the slot's rules limit: the sets of the limits, and of the counters of packets over them.
    pub(super) over: Option<OverLimitSets>,
    pub(super) members: usize,
}

/// Additional sets of a slot, with the same keys.
#[derive(Clone, Debug)]
pub(super) struct OverLimitSets {
    pub(super) limits: String,
    pub(super) dropped: String,
}

#[derive(Debug)]
pub(super) struct Group {
    /// Empty if every destination matches: its rules are in the base chain.
    pub(super) chain: String,
    pub(super) destinations: String,
    pub(super) map: String,
    pub(super) slots: Slots,
    pub(super) buckets: HashMap<u128, Bucket>,
    /// Number of buckets with a chain of their own.
    pub(super) own: usize,
}

/// The rules of one destination.
#[derive(Debug, Default)]
pub(super) struct Bucket {
    pub(super) count: usize,
    /// Their number of nf_tables rules if they have a chain of their own.
    pub(super) weight: usize,
    /// In order; not kept for rules without destination, which are never moved.
    pub(super) rules: Vec<Arc<Nlri>>,
    pub(super) own: Option<String>,
}

#[derive(Debug)]
pub(super) struct Placed {
    pub(super) rule: Arc<CompiledRule>,
    /// The policer's chain.
    pub(super) police: Option<Box<str>>,
    /// Its number of nf_tables rules, or elements.
    pub(super) members: u16,
}

pub(super) fn delete_sets(slot: Slot, changes: &mut Changes) {
    changes.delete_set(slot.name);
    if let Some(OverLimitSets { limits, dropped }) = slot.over {
        changes.delete_set(limits);
        changes.delete_set(dropped);
    }
}

/// The chain with the rules of a group.
pub(super) const fn chain_of(key: GroupKey) -> Chain {
    match key.mask {
        Some(_) => Chain::Group(key),
        None => Chain::Base,
    }
}

/// A slot for a single rule: there is no lookup.
pub(super) fn single(slot: &SlotKey) -> bool {
    slot.key.is_empty()
}
