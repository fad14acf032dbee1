//! Rules that no packet reaches, since an earlier one takes all of theirs. They are not installed, and come back when the earlier one goes.
//!
//! An earlier rule that covers a later one has the same destination and source: of nested prefixes the longer comes first, so that the
//! covering one would be the later. Only rules with the same destination and source are compared, therefore, and only where there are
//! at most [`MOST`] of them; in larger groups nothing counts as shadowed, which costs room and no correctness.

use crate::key::RuleKey;
use crate::table::{Aside, Base, Record};
use flowspec::{Component, ComponentType, IpVersion, Nlri, Prefix, Space};
use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, BuildHasherDefault, Hasher, RandomState};

/// Largest group whose rules are compared with each other.
pub(crate) const MOST: u32 = 32;

/// How many rules there are with each destination and source. By hash: two groups that share one are counted together, which only makes
/// them too large earlier.
#[derive(Debug, Default)]
pub(crate) struct Groups {
    counts: HashMap<u64, Group, BuildHasherDefault<AsItIs>>,
    hashes: RandomState,
    /// Groups of more than one.
    crowds: usize,
    /// Groups with `compared`.
    compared: usize,
}

#[derive(Debug, Default)]
struct Group {
    rules: u32,
    /// Some rule in it may be marked as shadowed.
    compared: bool,
}

/// Keys that are hashes already.
#[derive(Debug, Default)]
struct AsItIs(u64);

impl Hasher for AsItIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, octets: &[u8]) {
        // Only whole numbers come here; anything else would still be a hash, if not a good one.
        self.0 = octets.iter().fold(self.0, |hash, &octet| hash.rotate_left(8) ^ u64::from(octet));
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

/// What is to be done about a group.
enum Work {
    Nothing,
    Compare,
    /// It has become too large.
    Forget,
}

impl Groups {
    pub(crate) fn enter(&mut self, key: &RuleKey) {
        if let Some(hash) = self.group_hash(key) {
            let group = self.counts.entry(hash).or_default();
            group.rules += 1;
            self.crowds += usize::from(group.rules == 2);
        }
    }

    pub(crate) fn leave(&mut self, key: &RuleKey) {
        let Some(hash) = self.group_hash(key) else { return };
        let Some(group) = self.counts.get_mut(&hash) else { return };
        group.rules -= 1;
        self.crowds -= usize::from(group.rules == 1);
        if group.rules == 0 {
            self.compared -= usize::from(group.compared);
            self.counts.remove(&hash);
        }
    }

    /// Whether no two rules have the same destination and source.
    pub(crate) fn all_single(&self) -> bool {
        // The last of a group may still be marked as shadowed by one that left.
        self.crowds == 0 && self.compared == 0
    }

    fn group_hash(&self, key: &RuleKey) -> Option<u64> {
        let nlri = key.nlri().filter(|nlri| !nlri.family().is_vpn())?;
        Some(self.hashes.hash_one(place(nlri)))
    }

    /// Whether the rule is not alone with its destination and source, or was not before.
    pub(crate) fn has_work(&self, key: &RuleKey) -> bool {
        let group = self.group_hash(key).and_then(|hash| self.counts.get(&hash));
        group.is_some_and(|group| group.compared || (2..=MOST).contains(&group.rules))
    }

    fn work(&mut self, key: &RuleKey) -> Work {
        let Some(group) = self.group_hash(key).and_then(|hash| self.counts.get_mut(&hash)) else {
            return Work::Nothing;
        };
        let compared = group.compared;
        group.compared = (2..=MOST).contains(&group.rules);
        match (compared, group.compared) {
            (false, true) => self.compared += 1,
            (true, false) => self.compared -= 1,
            (true, true) | (false, false) => {}
        }
        match (compared, group.compared) {
            (_, true) => Work::Compare,
            (true, false) => Work::Forget,
            (false, false) => Work::Nothing,
        }
    }
}

/// Marks anew which rules are shadowed in the groups of `keys`; those for which that changed are given back.
pub(crate) fn mark(
    rules: &mut BTreeMap<RuleKey, Record>,
    groups: &mut Groups,
    keys: impl Iterator<Item = RuleKey>,
) -> Vec<RuleKey> {
    let mut changed = Vec::new();
    let mut done: Option<RuleKey> = None;
    for key in keys {
        if done.as_ref().is_some_and(|done| same_group(done, &key)) {
            continue;
        }
        match groups.work(&key) {
            Work::Nothing => {}
            Work::Compare => compare(rules, &key, &mut changed),
            Work::Forget => {
                for member in members(rules, &key) {
                    set(rules, &member, None, &mut changed);
                }
            }
        }
        done = Some(key);
    }
    changed
}

fn compare(rules: &mut BTreeMap<RuleKey, Record>, key: &RuleKey, changed: &mut Vec<RuleKey>) {
    let members = members(rules, key);
    let spaces: Vec<Option<Space>> = members
        .iter()
        .map(|member| rules.get(member).filter(|record| in_play(record)).and(member.nlri()).map(|nlri| Space::of(nlri)))
        .collect();
    for (at, member) in members.iter().enumerate() {
        let by = spaces[at].as_ref().filter(|space| !space.is_empty()).and_then(|space| {
            let mut earlier = members.iter().zip(&spaces).take(at);
            earlier.find(|(earlier, cover)| {
                cover.as_ref().is_some_and(|cover| cover.covers(space)) && rules.get(earlier).is_some_and(takes_all)
            })
        });
        let by = by.and_then(|(earlier, _)| earlier.nlri()).map(|nlri| Aside::Shadowed(nlri.id()));
        set(rules, member, by, changed);
    }
}

/// Wanted, and not held back for another reason.
fn in_play(record: &Record) -> bool {
    matches!(record.base, Base::Wanted { .. }) && !matches!(record.aside, Some(Aside::Held(_)))
}

/// Whether it is in force, or will be, and ends the search for its packets.
fn takes_all(record: &Record) -> bool {
    record.trouble().is_none() && record.wanted().is_some_and(|route| !route.effect().continues)
}

fn set(rules: &mut BTreeMap<RuleKey, Record>, key: &RuleKey, aside: Option<Aside>, changed: &mut Vec<RuleKey>) {
    if let Some(record) = rules.get_mut(key)
        && !matches!(record.aside, Some(Aside::Held(_)))
        && record.aside != aside
    {
        record.aside = aside;
        changed.push(key.clone());
    }
}

/// The rules with the destination and source of `key`, in order; they stand together. VPN rules among them are none of them.
fn members(rules: &BTreeMap<RuleKey, Record>, key: &RuleKey) -> Vec<RuleKey> {
    let before = rules.range(..key).rev().map(|(other, _)| other).take_while(|other| same_place(other, key));
    let mut members: Vec<RuleKey> = before.cloned().collect();
    members.reverse();
    members.extend(rules.range(key..).map(|(other, _)| other).take_while(|other| same_place(other, key)).cloned());
    members.retain(|member| same_group(member, key));
    members
}

fn same_group(a: &RuleKey, b: &RuleKey) -> bool {
    same_place(a, b) && [a, b].into_iter().all(|key| key.nlri().is_some_and(|nlri| !nlri.family().is_vpn()))
}

fn same_place(a: &RuleKey, b: &RuleKey) -> bool {
    matches!((a.nlri(), b.nlri()), (Some(a), Some(b)) if place(a) == place(b))
}

type Place = (IpVersion, Option<Prefix>, Option<Prefix>);

fn place(nlri: &Nlri) -> Place {
    let mut place = (nlri.family().version(), None, None);
    for component in nlri.components().take(2) {
        match component {
            Component::Prefix(ComponentType::Destination, prefix) => place.1 = Some(prefix),
            Component::Prefix(_, prefix) => place.2 = Some(prefix),
            Component::Numeric(..) | Component::Bitmask(..) => break,
        }
    }
    place
}
