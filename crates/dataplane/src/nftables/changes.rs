//! The changes of the kernel's tables for a change of the program.

use super::field::KeyPart;
use super::limit::{Limit, Unit};
use super::names::Counts;
use super::statement::Verdict;
use super::template::GroupKey;
use flowspec::{IpVersion, Nlri, RuleId};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

/// The changes of the kernel's tables. Objects that are added and removed within one change are
/// left out. Plain data: the program fills it in, the transaction's builder reads it.
#[derive(Debug, Default)]
pub(super) struct Changes {
    pub(super) new_chains: BTreeSet<String>,
    pub(super) new_sets: Vec<SetSpec>,
    /// Named counters, with their rule, and what they count of it.
    pub(super) new_counters: BTreeMap<String, (RuleId, Counts)>,
    /// Elements by set and key.
    pub(super) add: BTreeMap<String, HashMap<Vec<u8>, Element>>,
    pub(super) delete: BTreeMap<String, Vec<(Vec<u8>, Element)>>,
    /// Chains whose rules are rewritten.
    pub(super) rewrite: BTreeSet<Chain>,
    pub(super) dead_chains: BTreeSet<String>,
    pub(super) dead_sets: BTreeSet<String>,
    pub(super) dead_counters: BTreeSet<String>,
    /// Removed elements and counters whose rule stays: their counts have to be kept.
    pub(super) transfers: Vec<(RuleId, CounterTransfer)>,
}

impl Changes {
    pub(super) fn add_element(&mut self, set: &str, key: Vec<u8>, element: Element) {
        match self.add.get_mut(set) {
            Some(elements) => elements.insert(key, element),
            None => self.add.entry(set.to_owned()).or_default().insert(key, element),
        };
    }

    /// Removes `element`; returns whether it was in the kernel.
    pub(super) fn delete_element(&mut self, set: &str, key: Vec<u8>, element: Element) -> bool {
        if self.add.get_mut(set).is_some_and(|elements| elements.remove(&key).is_some()) {
            return false;
        }
        match self.delete.get_mut(set) {
            Some(elements) => elements.push((key, element)),
            None => self.delete.entry(set.to_owned()).or_default().push((key, element)),
        }
        true
    }

    /// A counter that was to be removed simply stays.
    pub(super) fn add_counter(&mut self, name: String, rule: RuleId, counts: Counts) {
        if !self.dead_counters.remove(&name) {
            self.new_counters.insert(name, (rule, counts));
        }
    }

    pub(super) fn delete_counter(&mut self, name: String) {
        if self.new_counters.remove(&name).is_none() {
            self.dead_counters.insert(name);
        }
    }

    /// A chain that was to be removed simply stays; its rules are rewritten in any case.
    pub(super) fn add_chain(&mut self, name: String) {
        if !self.dead_chains.remove(&name) {
            self.new_chains.insert(name);
        }
    }

    pub(super) fn delete_chain(&mut self, name: String) {
        if !self.new_chains.remove(&name) {
            self.dead_chains.insert(name);
        }
    }

    /// The elements are removed with the set.
    pub(super) fn delete_set(&mut self, name: String) {
        self.add.remove(&name);
        self.delete.remove(&name);
        let before = self.new_sets.len();
        self.new_sets.retain(|set| set.name != name);
        if self.new_sets.len() == before {
            self.dead_sets.insert(name);
        }
    }
}

/// Names a chain, whose rules follow from the program.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Chain {
    Base,
    /// The protected packets of one source, or of one destination.
    Protected(KeyPart, u128),
    Group(GroupKey),
    Destination(GroupKey, u128),
    Police(Arc<Nlri>),
}

/// The location of a count that has to be kept.
#[derive(Clone, Debug)]
pub(super) enum CounterTransfer {
    Element {
        set: String,
        key: Vec<u8>,
    },
    Counter(String),
    /// The counter of packets that a policer dropped; they were counted as matched, too.
    DroppedCounter(String),
    /// An element that counts packets that a policer dropped, which were counted as matched, too.
    Dropped {
        set: String,
        key: Vec<u8>,
    },
}

/// A set to create.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct SetSpec {
    pub(super) name: String,
    pub(super) version: IpVersion,
    pub(super) key: Vec<KeyPart>,
    pub(super) kind: SetKind,
}

/// The contents of a set's elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SetKind {
    /// Key only: the destinations of a group.
    Plain,
    /// A counter each.
    Counted,
    /// A limit each.
    Limits(Unit),
    /// A verdict each.
    Verdicts,
    /// Interface names.
    Interfaces,
}

/// An element to add.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Element {
    /// Key only.
    Plain,
    Verdict(Verdict),
    /// It counts packets of this rule.
    Counted(RuleId, Counted),
    /// It matches packets over the limit.
    OverLimit(Limit),
}

/// What an element counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Counted {
    /// Matched packets.
    Matched,
    /// Matched packets that passed the policer.
    Passed,
    /// Matched packets that the policer dropped.
    Dropped,
}
