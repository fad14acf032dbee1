//! Removes many rules at once: a lost session removes hundreds of thousands.

use super::changes::{Chain, Changes, Element, SetKind, SetSpec};
use super::groups::{Group, Placed, single};
use super::names::Role;
use super::program::Program;
use super::template::{GroupKey, destination_key, destination_part};
use engine::plan::CompiledRule;
use flowspec::Nlri;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// From this many rules on, objects that can be removed as a whole are searched for.
const MANY: usize = 1000;

/// The removed objects.
#[derive(Debug, Default)]
pub(super) struct Removed {
    /// The rules that were there.
    pub(super) rules: Vec<Arc<CompiledRule>>,
    /// The groups that were removed as a whole; to be freed later.
    pub(super) groups: Vec<Group>,
}

impl Program {
    /// Removes rules. A group of destinations that loses all its rules is removed with its sets,
    /// without processing their elements.
    pub(super) fn remove<'a>(&mut self, gone: impl Iterator<Item = &'a Arc<Nlri>>, changes: &mut Changes) -> Removed {
        let gone: Vec<Placed> = gone.filter_map(|nlri| self.forget_placement(nlri)).collect();
        let closed = self.close_emptied_groups(&gone, changes);
        for placed in &gone {
            if closed.is_empty() || !is_plain(placed) || !closed.contains_key(&GroupKey::of(&placed.rule.nlri).0) {
                self.clear_place(placed, false, changes);
            }
        }
        if gone.len() >= MANY {
            self.renew_destinations(changes);
        }
        let rules = gone.into_iter().map(|placed| placed.rule).collect();
        Removed { rules, groups: closed.into_values().collect() }
    }

    /// Rewrites a set of destinations if most of its elements are removed. Sets whose elements
    /// count are never rewritten: what is counted between the reading of a counter and its removal
    /// would be lost.
    fn renew_destinations(&mut self, changes: &mut Changes) {
        let version = self.version();
        let (groups, names) = self.groups_and_names();
        for (key, group) in groups {
            let gone = changes.delete.get(&group.destinations).map_or(0, Vec::len);
            let Some(mask) = key.mask.filter(|_| gone >= MANY && gone > 2 * group.buckets.len()) else { continue };
            let name = names.next(Role::Destinations);
            changes.delete_set(std::mem::replace(&mut group.destinations, name.clone()));
            let spec = SetSpec { name, version, key: destination_part(mask), kind: SetKind::Plain };
            changes.new_sets.push(spec);
            for bits in group.buckets.keys() {
                changes.add_element(&group.destinations, destination_key(version, mask, *bits), Element::Plain);
            }
            changes.rewrite.insert(Chain::Base);
        }
    }

    /// Removes the groups all of whose rules are removed, if their rules are only set elements.
    fn close_emptied_groups(&mut self, gone: &[Placed], changes: &mut Changes) -> BTreeMap<GroupKey, Group> {
        let mut losses: HashMap<GroupKey, usize> = HashMap::new();
        // A group with more destinations than removed rules keeps some.
        let may_empty = |(key, group): (&GroupKey, &Group)| key.mask.is_some() && group.buckets.len() <= gone.len();
        if gone.len() > 1 && self.groups().iter().any(may_empty) {
            for placed in gone.iter().filter(|placed| is_plain(placed)) {
                *losses.entry(GroupKey::of(&placed.rule.nlri).0).or_default() += 1;
            }
        }
        let mut closed = BTreeMap::new();
        for (key, lost) in losses {
            if self.groups().get(&key).is_some_and(|group| key.mask.is_some() && loses_all(group, lost)) {
                closed.extend(self.close_group(key, changes).map(|group| (key, group)));
            }
        }
        closed
    }
}

/// Whether a rule has no chain of its own, and at least one element.
fn is_plain(placed: &Placed) -> bool {
    placed.police.is_none() && placed.members > 0
}

fn loses_all(group: &Group, lost: usize) -> bool {
    lost >= group.buckets.len()
        && group.own == 0
        && !group.slots.0.keys().any(|slot| single(slot))
        && lost == group.buckets.values().map(|bucket| bucket.count).sum()
}
