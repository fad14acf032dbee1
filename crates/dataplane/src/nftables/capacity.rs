//! Limits the number of rules that a packet is compared with one after the other
//! (`docs/decisions/0034`).

use super::program::Program;
use super::template::{GroupKey, Member};
use crate::RuleFailure;

impl Program {
    /// A packet is compared with the rules of a chain one after the other, so their number is
    /// limited: in the base chain, which every packet traverses, and in each chain of a single
    /// destination.
    pub(super) fn full_chain(
        &self,
        key: GroupKey,
        bits: u128,
        members: &[Member],
        in_chain: bool,
    ) -> Option<RuleFailure> {
        let most = self.options().max_chain_rules;
        let group = self.groups().get(&key);
        let over = |what: &str| {
            Some(RuleFailure::OverCapacity(format!(
                "{what} would be compared with more than {most} rules one after the other (max-chain-rules in [dataplane.nftables])"
            )))
        };
        let new = if key.mask.is_some() { usize::from(group.is_none()) } else { self.new_slots(key, members) };
        if new > 0 && self.base_chain_rules() + new > most {
            return over("every packet");
        }
        // Without a destination there is no other chain.
        key.mask?;
        let bucket = group.and_then(|group| group.buckets.get(&bits));
        let weight = bucket.map_or(0, |bucket| bucket.weight);
        let own = in_chain || bucket.is_some_and(|bucket| bucket.own.is_some()) || !self.has_room(key, members);
        // A single rule may take what is allowed for any rule.
        if own && weight > 0 && weight + members.len() > most { over("a packet to its destination") } else { None }
    }

    /// Rules of the base chain: a lookup for each destination mask, and each kind of rule without
    /// destination.
    fn base_chain_rules(&self) -> usize {
        self.groups().iter().map(|(key, group)| if key.mask.is_some() { 1 } else { group.slots.0.len() }).sum()
    }
}
