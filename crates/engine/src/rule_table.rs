//! The ordered table: every announced rule, in the order in which packets are compared with them
//! (RFC 8955 §5.1).
//!
//! Adj-RIB-In, Loc-RIB and reconciler share it, so that a rule is looked up once: each has a part
//! of every [`RuleEntry`]. The table keeps the list of the rules to decide on again, and of those
//! whose routes have to be written to the state file.

use crate::key::RuleKey;
use crate::rule_entry::RuleEntry;
use crate::shadow_groups::Groups;
use flowspec::Prefix;
use ipnet::IpNet;
use std::collections::BTreeMap;
use std::ops::{Bound, RangeBounds};

#[derive(Debug, Default)]
pub(crate) struct RuleTable {
    rules: BTreeMap<RuleKey, RuleEntry>,
    groups: Groups,
    dirty: DirtyRules,
    all_dirty: bool,
    /// Rules whose routes changed since they were returned for the state file; some of them twice.
    unsaved: Vec<RuleKey>,
}

/// The rules to decide on again, each once.
#[derive(Debug, Default)]
pub(crate) struct DirtyRules(Vec<RuleKey>);

impl DirtyRules {
    /// Marks the rule to be decided on again.
    pub(crate) fn mark(&mut self, key: &RuleKey, entry: &mut RuleEntry) {
        if entry.mark_dirty() {
            self.0.push(key.clone());
        }
    }
}

impl RuleTable {
    /// The rule, created if it does not exist; and the list on which to [mark](DirtyRules::mark)
    /// it. A rule that was created without getting a path has to be marked, so that it is removed.
    pub(crate) fn entry(&mut self, key: &RuleKey) -> (&mut RuleEntry, &mut DirtyRules) {
        let groups = &mut self.groups;
        let entry = self.rules.entry(key.clone()).or_insert_with_key(|key| {
            groups.enter(key);
            RuleEntry::default()
        });
        (entry, &mut self.dirty)
    }

    pub(crate) fn len(&self) -> usize {
        self.rules.len()
    }

    pub(crate) fn get(&self, key: &RuleKey) -> Option<&RuleEntry> {
        self.rules.get(key)
    }

    pub(crate) fn get_key_value(&self, key: &RuleKey) -> Option<(&RuleKey, &RuleEntry)> {
        self.rules.get_key_value(key)
    }

    pub(crate) fn get_mut(&mut self, key: &RuleKey) -> Option<&mut RuleEntry> {
        self.rules.get_mut(key)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&RuleKey, &RuleEntry)> {
        self.rules.iter()
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = &RuleEntry> {
        self.rules.values()
    }

    pub(crate) fn values_mut(&mut self) -> impl Iterator<Item = &mut RuleEntry> {
        self.rules.values_mut()
    }

    /// The rules after `after`, in order.
    pub(crate) fn iter_after(&self, after: Option<RuleKey>) -> impl Iterator<Item = (&RuleKey, &RuleEntry)> {
        self.rules.range((after.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded))
    }

    pub(crate) fn range(
        &self,
        keys: impl RangeBounds<RuleKey>,
    ) -> impl DoubleEndedIterator<Item = (&RuleKey, &RuleEntry)> {
        self.rules.range(keys)
    }

    pub(crate) fn range_mut(
        &mut self,
        keys: impl RangeBounds<RuleKey>,
    ) -> impl Iterator<Item = (&RuleKey, &mut RuleEntry)> {
        self.rules.range_mut(keys)
    }

    pub(crate) const fn groups(&self) -> &Groups {
        &self.groups
    }

    pub(crate) const fn groups_mut(&mut self) -> &mut Groups {
        &mut self.groups
    }

    /// Marks a rule to be decided on anew.
    pub(crate) fn touch(&mut self, key: &RuleKey) {
        if let Some(entry) = self.rules.get_mut(key) {
            self.dirty.mark(key, entry);
        }
    }

    /// Calls `visit` for all rules; those for which it returns true are marked to be decided on
    /// again.
    pub(crate) fn touch_where(&mut self, mut visit: impl FnMut(&RuleKey, &mut RuleEntry) -> bool) {
        for (key, entry) in &mut self.rules {
            if visit(key, entry) {
                self.dirty.mark(key, entry);
            }
        }
    }

    /// Marks all rules to be decided on anew.
    pub(crate) const fn touch_all(&mut self) {
        self.all_dirty = true;
    }

    pub(crate) fn is_dirty(&self) -> bool {
        self.all_dirty || !self.dirty.0.is_empty()
    }

    /// The rules to be decided on anew, in order; none are left on the list.
    pub(crate) fn take_dirty(&mut self) -> Vec<RuleKey> {
        let mut dirty = std::mem::take(&mut self.dirty.0);
        self.unsaved.extend(dirty.iter().cloned());
        if std::mem::take(&mut self.all_dirty) {
            dirty = self.rules.keys().cloned().collect();
        }
        dirty.sort_unstable();
        dirty
    }

    /// The rules whose routes may have changed since the last call, in order; the decisions on them
    /// are made.
    pub(crate) fn take_unsaved(&mut self) -> Vec<RuleKey> {
        let mut unsaved = std::mem::take(&mut self.unsaved);
        unsaved.sort_unstable();
        unsaved.dedup();
        unsaved
    }

    /// Removes rules that nobody announces any longer.
    pub(crate) fn remove<'a>(&mut self, gone: impl ExactSizeIterator<Item = &'a RuleKey>) {
        let many = gone.len() > self.rules.len() / 4;
        for key in gone {
            self.groups.leave(key);
            if !many {
                self.rules.remove(key);
            }
        }
        if many {
            self.rules.retain(|_, entry| !entry.paths.is_empty());
        }
    }

    /// Calls `visit` with the rules of `keys`, which are in order; missing ones are skipped.
    pub(crate) fn visit<'a>(
        &mut self,
        keys: impl ExactSizeIterator<Item = &'a RuleKey>,
        mut visit: impl FnMut(&RuleKey, &mut RuleEntry),
    ) {
        self.visit_with_groups(keys, |key, entry, _| visit(key, entry));
    }

    /// The same, with the groups of the rules.
    pub(crate) fn visit_with_groups<'a>(
        &mut self,
        keys: impl ExactSizeIterator<Item = &'a RuleKey>,
        mut visit: impl FnMut(&RuleKey, &mut RuleEntry, &Groups),
    ) {
        if keys.len() < self.rules.len() / 4 {
            for key in keys {
                if let Some(entry) = self.rules.get_mut(key) {
                    visit(key, entry, &self.groups);
                }
            }
            return;
        }
        // For many keys iterating over the whole table is faster than looking each up.
        let mut keys = keys.peekable();
        for (key, entry) in &mut self.rules {
            while keys.next_if(|next| *next < key).is_some() {}
            if keys.next_if(|next| *next == key).is_some() {
                visit(key, entry, &self.groups);
            }
        }
    }

    /// The rules whose destination is within `net`, or contains `net`.
    pub(crate) fn overlapping(&self, net: IpNet) -> Vec<RuleKey> {
        let prefix = |net: IpNet| match net {
            IpNet::V4(net) => Some(Prefix::V4(net)),
            IpNet::V6(net) => flowspec::Ipv6Pattern::new(net.network(), 0, net.prefix_len()).map(Prefix::V6),
        };
        let Some(own) = prefix(net) else { return Vec::new() };
        let within = RuleKey::start_within(&own)..RuleKey::end_within(&own);
        let mut keys: Vec<_> = self
            .rules
            .range(within)
            .filter(|(key, _)| has_destination(key, |destination| own.covers(&destination)))
            .map(|(key, _)| key.clone())
            .collect();
        let mut outer = net.supernet();
        while let Some(net) = outer {
            outer = net.supernet();
            let Some(prefix) = prefix(net) else { break };
            let (start, end) = RuleKey::around(&prefix);
            let exact = self.rules.range(start..end);
            let exact = exact.filter(|(key, _)| has_destination(key, |destination| destination == prefix));
            keys.extend(exact.map(|(key, _)| key.clone()));
        }
        keys
    }
}

fn has_destination(key: &RuleKey, accept: impl Fn(Prefix) -> bool) -> bool {
    key.nlri().and_then(|nlri| nlri.destination()).is_some_and(accept)
}
