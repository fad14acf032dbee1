//! The contents of our tables as we left them, to detect changes by other programs.

use super::changes::{Changes, Element, SetKind};
use super::names::rule_of_comment;
use super::nf_tables::*;
use crate::netlink::Attributes;
use std::collections::{BTreeMap, HashMap};

/// One of our tables as we left it: rules of each chain, elements of each set. Plain data, compared
/// with the kernel's dump.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Inventory {
    /// The handle of the table, and the highest in it, if the kernel echoed them.
    pub(super) handles: (Option<u64>, Option<u64>),
    pub(super) chains: BTreeMap<String, ChainInventory>,
    pub(super) sets: BTreeMap<String, SetInventory>,
    pub(super) counters: usize,
}

/// A set of the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SetInventory {
    /// Its elements have counters.
    pub(super) counts: bool,
    pub(super) elements: usize,
    /// The sum of the elements' fingerprints, which does not depend on their order.
    pub(super) fingerprints: u64,
}

/// Rules of a chain. Plain data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct ChainInventory {
    pub(super) rules: usize,
    /// The sum of the rules' fingerprints; each includes the rule's handle, and so its position.
    /// `None` if the handle was not echoed.
    pub(super) fingerprints: Option<u64>,
}

/// The handles of the objects that the kernel created in one of our tables, as it echoed them.
///
/// The kernel numbers tables, and in each table chains, sets, rules and counters together, in
/// ascending order. Anything with a handle above our last one is not ours. Plain data.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct EchoedHandles {
    pub(super) table: Option<u64>,
    /// The highest in the table.
    pub(super) last: Option<u64>,
    /// New rules by their chain.
    pub(super) chains: HashMap<String, ChainInventory>,
}

impl EchoedHandles {
    /// Handles a message about a created object.
    pub(super) fn note(&mut self, kind: u8, attributes: Attributes<'_>) {
        let handle = handle(kind, attributes);
        match kind {
            msg::NEWTABLE => self.table = handle,
            _ => self.last = self.last.max(handle),
        }
        if kind == msg::NEWRULE
            && let Some(chain) = attributes.str(NFTA_RULE_CHAIN)
        {
            self.chains.entry(chain).or_default().add(attributes);
        }
    }
}

impl ChainInventory {
    /// Adds a rule, as the kernel shows it. A rule may be replaced by another that has its handle.
    pub(super) fn add(&mut self, rule: Attributes<'_>) {
        let handle = rule.find(NFTA_RULE_HANDLE).unwrap_or_default();
        let fingerprint = Fingerprint::of_key(handle).and(rule.find(NFTA_RULE_EXPRESSIONS).unwrap_or_default());
        self.rules += 1;
        self.fingerprints = Some(self.fingerprints.unwrap_or_default().wrapping_add(fingerprint.0));
    }
}

/// The handle of the object in a message.
pub(super) fn handle(kind: u8, attributes: Attributes<'_>) -> Option<u64> {
    let attribute = match kind {
        msg::NEWTABLE => NFTA_TABLE_HANDLE,
        msg::NEWCHAIN => NFTA_CHAIN_HANDLE,
        msg::NEWRULE => NFTA_RULE_HANDLE,
        msg::NEWSET => NFTA_SET_HANDLE,
        msg::NEWOBJ => NFTA_OBJ_HANDLE,
        _ => return None,
    };
    attributes.u64(attribute)
}

/// A hash that identifies an element, its key and its contents. Not a secret: whoever could forge
/// it may change the table anyway.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fingerprint(u64);

impl Fingerprint {
    pub(super) fn of_key(key: &[u8]) -> Self {
        Fingerprint(0x9e37_79b9_7f4a_7c15).and(key)
    }

    pub(super) fn and(self, octets: &[u8]) -> Self {
        let mix = |hash: u64, number: u64| {
            let product = u128::from(hash ^ number) * 0xa076_1d64_78bd_642f;
            (product >> 64) as u64 ^ product as u64 // both halves
        };
        let (chunks, rest) = octets.as_chunks::<8>();
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        let hash = chunks.iter().fold(self.0, |hash, chunk| mix(hash, u64::from_le_bytes(*chunk)));
        // The length, so that trailing zeros count.
        Fingerprint(mix(mix(hash, u64::from_le_bytes(last)), octets.len() as u64))
    }

    fn of(key: &[u8], element: &Element) -> u64 {
        let fingerprint = Fingerprint::of_key(key);
        match element {
            Element::Plain => fingerprint,
            Element::Verdict(verdict) => fingerprint.and_verdict(verdict.code(), verdict.chain().unwrap_or_default()),
            Element::Counted(rule, _) => fingerprint.and(&rule.to_digits()),
            Element::OverLimit(limit) => fingerprint.and_limit(limit.numbers()),
        }
        .0
    }

    /// From an element's attributes as the kernel shows it.
    pub(super) fn shown(element: Attributes<'_>) -> u64 {
        let key = element.inside(NFTA_SET_ELEM_KEY).and_then(|key| key.find(NFTA_DATA_VALUE)).unwrap_or_default();
        let mut fingerprint = Fingerprint::of_key(key);
        if let Some(verdict) = element.inside(NFTA_SET_ELEM_DATA).and_then(|data| data.inside(NFTA_DATA_VERDICT)) {
            let chain = verdict.str(NFTA_VERDICT_CHAIN).unwrap_or_default();
            fingerprint = fingerprint.and_verdict(verdict.u32(NFTA_VERDICT_CODE).unwrap_or_default(), &chain);
        }
        if let Some(rule) = element.find(NFTA_SET_ELEM_USERDATA).and_then(rule_of_comment) {
            fingerprint = fingerprint.and(&rule.to_digits());
        }
        let is_limit = |expression: &Attributes<'_>| expression.str(NFTA_EXPR_NAME).as_deref() == Some("limit");
        if let Some(limit) = element.inside(NFTA_SET_ELEM_EXPR).filter(is_limit) {
            let limit = limit.inside(NFTA_EXPR_DATA);
            let number = |kind| limit.and_then(|limit| limit.u64(kind)).unwrap_or_default();
            let burst = limit.and_then(|limit| limit.u32(NFTA_LIMIT_BURST)).unwrap_or_default();
            fingerprint = fingerprint.and_limit([number(NFTA_LIMIT_RATE), number(NFTA_LIMIT_UNIT), burst.into()]);
        }
        fingerprint.0
    }

    fn and_verdict(self, code: u32, chain: &str) -> Self {
        self.and(&code.to_be_bytes()).and(chain.as_bytes())
    }

    fn and_limit(self, numbers: [u64; 3]) -> Self {
        numbers.into_iter().fold(self, |fingerprint, number| fingerprint.and(&number.to_be_bytes()))
    }
}

fn sum<'a>(elements: impl Iterator<Item = (&'a Vec<u8>, &'a Element)>) -> u64 {
    elements.fold(0, |sum, (key, element)| sum.wrapping_add(Fingerprint::of(key, element)))
}

impl Inventory {
    /// Applies a committed change.
    pub(super) fn apply(&mut self, changes: &Changes, rewritten: Vec<(String, usize)>, echoed: &EchoedHandles) {
        self.handles = (echoed.table.or(self.handles.0), echoed.last.or(self.handles.1));
        self.counters = (self.counters + changes.new_counters.len()).saturating_sub(changes.dead_counters.len());
        for set in &changes.new_sets {
            let counts = set.kind == SetKind::Counted;
            self.sets.insert(set.name.clone(), SetInventory { counts, elements: 0, fingerprints: 0 });
        }
        let empty = ChainInventory { rules: 0, fingerprints: Some(0) };
        self.chains.extend(changes.new_chains.iter().map(|name| (name.clone(), empty)));
        self.chains.extend(rewritten.into_iter().map(|(name, rules)| {
            let echoed = echoed.chains.get(&name).copied().unwrap_or(empty);
            let fingerprints = echoed.fingerprints.filter(|_| echoed.rules == rules);
            (name, ChainInventory { rules, fingerprints })
        }));
        for (set, gone) in &changes.delete {
            if let Some(set) = self.sets.get_mut(set) {
                set.elements = set.elements.saturating_sub(gone.len());
                set.fingerprints = set.fingerprints.wrapping_sub(sum(gone.iter().map(|(key, element)| (key, element))));
            }
        }
        for (set, elements) in &changes.add {
            if let Some(set) = self.sets.get_mut(set) {
                set.elements += elements.len();
                set.fingerprints = set.fingerprints.wrapping_add(sum(elements.iter()));
            }
        }
        for name in &changes.dead_sets {
            self.sets.remove(name);
        }
        for name in &changes.dead_chains {
            self.chains.remove(name);
        }
    }
}
