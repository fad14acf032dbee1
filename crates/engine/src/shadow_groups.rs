//! The number of rules with each destination and source: only those can shadow each other.

use crate::key::RuleKey;
use flowspec::{Component, ComponentType, IpVersion, Nlri, Prefix};
use std::collections::HashMap;
use std::hash::{BuildHasher, BuildHasherDefault, Hasher, RandomState};

/// Largest group whose rules are compared with each other.
const MOST: u32 = 32;

/// The number of rules with each destination and source. By hash: two groups with the same hash are
/// counted together, so that they only become too large earlier.
#[derive(Debug, Default)]
pub(crate) struct Groups {
    counts: HashMap<u64, Group, BuildHasherDefault<IdentityHasher>>,
    hashes: RandomState,
    /// Groups of more than one.
    shared: usize,
    /// Groups with `compared`.
    compared: usize,
}

#[derive(Debug, Default)]
struct Group {
    rules: u32,
    /// Some rule in it may be marked as shadowed.
    compared: bool,
}

/// For keys that are hashes already.
#[derive(Debug, Default)]
struct IdentityHasher(u64);

impl Hasher for IdentityHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, octets: &[u8]) {
        // Only integers come here; anything else would still be a hash, if not a good one.
        self.0 = octets.iter().fold(self.0, |hash, &octet| hash.rotate_left(8) ^ u64::from(octet));
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

/// What to do about a group after a change.
pub(crate) enum GroupWork {
    Nothing,
    /// Its rules are to be compared with each other.
    Compare,
    /// It has become too large to be compared: no rule in it counts as shadowed.
    Forget,
}

impl Groups {
    /// A rule was added.
    pub(crate) fn enter(&mut self, key: &RuleKey) {
        if let Some(hash) = self.group_hash(key) {
            let group = self.counts.entry(hash).or_default();
            group.rules += 1;
            self.shared += usize::from(group.rules == 2);
        }
    }

    /// A rule was removed.
    pub(crate) fn leave(&mut self, key: &RuleKey) {
        let Some(hash) = self.group_hash(key) else { return };
        let Some(group) = self.counts.get_mut(&hash) else { return };
        group.rules -= 1;
        self.shared -= usize::from(group.rules == 1);
        if group.rules == 0 {
            self.compared -= usize::from(group.compared);
            self.counts.remove(&hash);
        }
    }

    /// Whether no two rules have the same destination and source.
    pub(crate) fn all_single(&self) -> bool {
        // The last of a group may still be marked as shadowed by one that was removed.
        self.shared == 0 && self.compared == 0
    }

    fn group_hash(&self, key: &RuleKey) -> Option<u64> {
        let nlri = key.nlri().filter(|nlri| !nlri.family().is_vpn())?;
        Some(self.hashes.hash_one(addresses(nlri)))
    }

    /// Whether the rule is not alone with its destination and source, or was not before.
    pub(crate) fn has_work(&self, key: &RuleKey) -> bool {
        let group = self.group_hash(key).and_then(|hash| self.counts.get(&hash));
        group.is_some_and(|group| group.compared || (2..=MOST).contains(&group.rules))
    }

    /// What to do about the group of the rule; it is recorded as done.
    pub(crate) fn take_work(&mut self, key: &RuleKey) -> GroupWork {
        let Some(group) = self.group_hash(key).and_then(|hash| self.counts.get_mut(&hash)) else {
            return GroupWork::Nothing;
        };
        let compared = group.compared;
        group.compared = (2..=MOST).contains(&group.rules);
        match (compared, group.compared) {
            (false, true) => self.compared += 1,
            (true, false) => self.compared -= 1,
            (true, true) | (false, false) => {}
        }
        match (compared, group.compared) {
            (_, true) => GroupWork::Compare,
            (true, false) => GroupWork::Forget,
            (false, false) => GroupWork::Nothing,
        }
    }
}

/// Whether two rules have the same destination and source, and are none of a VPN.
pub(crate) fn same_group(a: &RuleKey, b: &RuleKey) -> bool {
    have_equal_addresses(a, b) && [a, b].into_iter().all(|key| key.nlri().is_some_and(|nlri| !nlri.family().is_vpn()))
}

/// Whether two rules have the same destination and source. Such rules are adjacent in the order.
pub(crate) fn have_equal_addresses(a: &RuleKey, b: &RuleKey) -> bool {
    matches!((a.nlri(), b.nlri()), (Some(a), Some(b)) if addresses(a) == addresses(b))
}

type Addresses = (IpVersion, Option<Prefix>, Option<Prefix>);

/// IP version, destination and source.
fn addresses(nlri: &Nlri) -> Addresses {
    let mut found = (nlri.family().version(), None, None);
    for component in nlri.components().take(2) {
        match component {
            Component::Prefix(ComponentType::Destination, prefix) => found.1 = Some(prefix),
            Component::Prefix(_, prefix) => found.2 = Some(prefix),
            Component::Numeric(..) | Component::Bitmask(..) => break,
        }
    }
    found
}
