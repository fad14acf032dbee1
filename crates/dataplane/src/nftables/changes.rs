//! What a change of the program asks of the kernel's tables.

use super::field::KeyPart;
use super::limit::{Limit, Unit};
use super::names::Counts;
use super::statement::Verdict;
use super::template::GroupKey;
use flowspec::{IpVersion, Nlri, RuleId};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

/// What must be done to the kernel's tables. What comes and goes within one of these is not in it.
/// Plain data: the program fills it in, one transaction's builder reads it.
#[derive(Debug, Default)]
pub(super) struct Changes {
    pub(super) new_chains: BTreeSet<String>,
    pub(super) new_sets: Vec<SetSpec>,
    /// Named counters, with the rule that they count for, and what of it.
    pub(super) new_counters: BTreeMap<String, (RuleId, Counts)>,
    /// Elements by set and key.
    pub(super) add: BTreeMap<String, HashMap<Vec<u8>, Element>>,
    pub(super) delete: BTreeMap<String, Vec<(Vec<u8>, Element)>>,
    /// Chains whose rules are to be written anew.
    pub(super) rewrite: BTreeSet<Chain>,
    pub(super) dead_chains: BTreeSet<String>,
    pub(super) dead_sets: BTreeSet<String>,
    pub(super) dead_counters: BTreeSet<String>,
    /// Elements and counters that go while their rule stays: what they counted must be kept.
    pub(super) transfers: Vec<(RuleId, CounterTransfer)>,
}

impl Changes {
    pub(super) fn add_element(&mut self, set: &str, key: Vec<u8>, element: Element) {
        match self.add.get_mut(set) {
            Some(elements) => elements.insert(key, element),
            None => self.add.entry(set.to_owned()).or_default().insert(key, element),
        };
    }

    /// `element` is what is there; whether it was in the kernel.
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

    /// A counter that was to go simply stays.
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

    /// A chain that was to go simply stays; its rules are written anew in any case.
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

    /// With the set go its elements.
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
    /// What is protected of one source, or of one destination.
    Protected(KeyPart, u128),
    Group(GroupKey),
    Destination(GroupKey, u128),
    Police(Arc<Nlri>),
}

/// Where a count stands that is to be kept.
#[derive(Clone, Debug)]
pub(super) enum CounterTransfer {
    Element {
        set: String,
        key: Vec<u8>,
    },
    Counter(String),
    /// The counter of what a policer dropped; it has counted as matched, too.
    DroppedCounter(String),
    /// An element that counts what a policer dropped, and counts as matched, too.
    Dropped {
        set: String,
        key: Vec<u8>,
    },
}

/// A set to be made.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct SetSpec {
    pub(super) name: String,
    pub(super) version: IpVersion,
    pub(super) key: Vec<KeyPart>,
    pub(super) kind: SetKind,
}

/// What the elements of a set hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SetKind {
    /// Nothing: the destinations of a group.
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

/// An element to be added.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Element {
    /// It is in the set, and that is all.
    Plain,
    Verdict(Verdict),
    /// It counts packets of this rule.
    Counted(RuleId, Counted),
    /// It matches what is over the limit.
    OverLimit(Limit),
}

/// What an element counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Counted {
    /// What matched.
    Matched,
    /// What matched and passed the policer.
    Passed,
    /// What matched and was dropped by the policer.
    Dropped,
}
