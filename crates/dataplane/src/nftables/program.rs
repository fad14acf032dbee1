//! The rules of one IP version as chains and sets of our table, kept so that a change of a few
//! rules is a change of a few elements. Pure.
//!
//! ```text
//! prerouting: other interfaces, IPv6 neighbour discovery, and protected packets, are accepted (`prologue.rs`); then for each mask of destinations, the longest first:
//!               destination in the group's set of destinations -> the group's chain
//!             where every destination matches, what would be in the group's chain
//! group:      destination in the group's map -> that destination's own chain, and no further here
//!             one lookup for each slot (`template.rs`), in the order of the rules
//! own chain:  the rules of one destination, one after the other, in their order
//! ```
//!
//! The rules of a destination are in the group's slots, or, if they do not fit there (a policer
//! that several of them would share, too many templates), all of them in a chain of its own. So a
//! packet is compared with the rules of a destination in their order; and more specific
//! destinations come first in the order of rules. A chain that ends without a verdict returns to
//! the next group.
//!
//! There is one program for each IP version, with a table of its own.

use super::capabilities::{MAX_MEMBERS, refuse};
use super::changes::{Chain, Changes, Counted, CounterTransfer, Element, SetKind, SetSpec};
use super::groups::{Group, OverLimitSets, Placed, Slot, Slots, chain_of, delete_sets, single};
use super::limit::countable;
use super::names::{Counts, Names, Role};
use super::options::Options;
use super::prologue::ProtectedPrologue;
use super::statement::Verdict;
use super::template::{GroupKey, Member, SlotKey, Terminal, destination_key, destination_part, members, only_limit};
use crate::RuleFailure;
use crate::kernel::Unenforced;
use engine::plan::{CompiledRule, Ruleset};
use flowspec::space::Space;
use flowspec::{IpVersion, Nlri, Policing, RuleId};
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, btree_map};
use std::sync::Arc;

/// Most slots of a group of destinations: the number of lookups for a packet to a destination with
/// rules. Rules of further templates go to chains of their destination.
const MAX_SLOTS: usize = 16;

/// The program of one generation for one IP version.
#[derive(Debug)]
pub(super) struct Program {
    version: IpVersion,
    options: Options,
    names: Names,
    protected: Arc<Vec<Space>>,
    prologue: ProtectedPrologue,
    groups: BTreeMap<GroupKey, Group>,
    /// Two rules with one id cannot both be in force: they would share counters.
    rules: HashMap<RuleId, Placed>,
}

impl Program {
    /// An empty program, whose base chain has to be written.
    pub(super) fn new(version: IpVersion, options: Options, generation: u32, changes: &mut Changes) -> Self {
        let program = Program {
            version,
            options,
            names: Names::new(generation),
            protected: Arc::default(),
            prologue: ProtectedPrologue::default(),
            groups: BTreeMap::new(),
            rules: HashMap::new(),
        };
        if !program.options.interfaces.is_empty() {
            let name = program.names.interfaces();
            changes.new_sets.push(SetSpec { name: name.clone(), version, key: Vec::new(), kind: SetKind::Interfaces });
            for interface in &program.options.interfaces {
                let mut key = interface.clone().into_bytes();
                key.resize(16, 0);
                changes.add_element(&name, key, Element::Plain);
            }
        }
        changes.rewrite.insert(Chain::Base);
        program
    }

    /// The program for all rules of this version in a rule set, all of it new; rules without a
    /// place go to `unenforced`.
    pub(super) fn build(
        version: IpVersion,
        options: Options,
        generation: u32,
        ruleset: &Ruleset,
        unenforced: &mut Unenforced,
    ) -> (Self, Changes) {
        let mut changes = Changes::default();
        let mut program = Program::new(version, options, generation, &mut changes);
        program.protect(ruleset.protected.clone(), &mut changes);
        // Rules share few slots: each is stored once.
        let mut slots: HashSet<Arc<SlotKey>> = HashSet::new();
        let mut intern = |mut member: Member| {
            match slots.get(&member.slot) {
                Some(slot) => member.slot = slot.clone(),
                None => drop(slots.insert(member.slot.clone())),
            }
            member
        };
        let rules: Vec<_> = ruleset.rules.iter().filter(|rule| rule.nlri.family().version() == version).collect();
        let members: Vec<Vec<Member>> =
            rules.iter().map(|rule| members(rule).into_iter().map(&mut intern).collect()).collect();
        program.reserve_popular_slots(&rules, &members, &mut changes);
        for (rule, members) in rules.into_iter().zip(members) {
            // In enforcement order, so an exempting rule comes before the rules that it exempts
            // from.
            if let Some(failure) = unenforced.blocks(rule) {
                unenforced.insert(rule, failure);
                continue;
            }
            // A ruleset has each key once; otherwise the last one counts.
            let added = match program.placed(&rule.nlri).is_some() {
                true => program.add(rule, &mut changes),
                false => program.add_members(rule, members, &mut changes),
            };
            if let Err(failure) = added {
                unenforced.insert(rule, failure);
            }
        }
        program.drop_empty_slots(&mut changes);
        changes.transfers.clear();
        (program, changes)
    }

    /// Assigns each group's slots to the templates that most of its rules have.
    fn reserve_popular_slots(&mut self, rules: &[&Arc<CompiledRule>], members: &[Vec<Member>], changes: &mut Changes) {
        type SlotUses<'a> = HashMap<*const SlotKey, (&'a Arc<SlotKey>, usize)>;
        let mut count: HashMap<GroupKey, SlotUses<'_>> = HashMap::new();
        for (rule, members) in rules.iter().zip(members) {
            let group = GroupKey::of(&rule.nlri).0;
            if group.mask.is_none() || refuse(rule).is_some() {
                continue;
            }
            let slots = count.entry(group).or_default();
            for Member { slot, .. } in members {
                slots.entry(Arc::as_ptr(slot)).or_insert((slot, 0)).1 += 1;
            }
        }
        for (key, slots) in count {
            let mut slots: Vec<_> = slots.into_values().filter(|(slot, _)| !single(slot)).collect();
            if slots.len() <= MAX_SLOTS {
                continue;
            }
            slots.sort_by(|(a, x), (b, y)| y.cmp(x).then_with(|| a.cmp(b)));
            self.open_group(key, changes);
            for (slot, _) in slots.into_iter().take(MAX_SLOTS) {
                self.open_slot(key, slot, changes);
            }
        }
    }

    fn drop_empty_slots(&mut self, changes: &mut Changes) {
        for (key, group) in &mut self.groups {
            let empty: Vec<_> =
                group.slots.0.iter().filter(|(_, slot)| slot.members == 0).map(|(key, _)| key.clone()).collect();
            for slot in empty {
                if let Some(slot) = group.slots.0.remove(&slot) {
                    delete_sets(slot, changes);
                    changes.rewrite.insert(chain_of(*key));
                }
            }
        }
    }

    /// The placement of the rule with this key.
    pub(super) fn placed(&self, nlri: &Nlri) -> Option<&Placed> {
        self.rules.get(&nlri.id()).filter(|placed| *placed.rule.nlri == *nlri)
    }

    /// The rule with this key.
    pub(super) fn compiled(&self, nlri: &Nlri) -> Option<&Arc<CompiledRule>> {
        self.placed(nlri).map(|placed| &placed.rule)
    }

    pub(super) const fn version(&self) -> IpVersion {
        self.version
    }

    pub(super) const fn options(&self) -> &Options {
        &self.options
    }

    pub(super) const fn names(&self) -> &Names {
        &self.names
    }

    pub(super) const fn prologue(&self) -> &ProtectedPrologue {
        &self.prologue
    }

    pub(super) const fn groups(&self) -> &BTreeMap<GroupKey, Group> {
        &self.groups
    }

    /// The groups, to be changed, and new names for their objects.
    pub(super) const fn groups_and_names(&mut self) -> (&mut BTreeMap<GroupKey, Group>, &mut Names) {
        (&mut self.groups, &mut self.names)
    }

    /// The policer's chain of the rule with this id.
    pub(super) fn police_chain(&self, id: RuleId) -> Option<&str> {
        self.rules.get(&id)?.police.as_deref()
    }

    /// The packets that are accepted ahead of every rule.
    pub(super) fn protected(&self) -> &Arc<Vec<Space>> {
        &self.protected
    }

    pub(super) fn rules(&self) -> impl Iterator<Item = &Arc<CompiledRule>> {
        self.rules.values().map(|placed| &placed.rule)
    }

    /// Accepts these packets ahead of every rule.
    pub(super) fn protect(&mut self, protected: Arc<Vec<Space>>, changes: &mut Changes) {
        std::mem::take(&mut self.prologue).remove(changes);
        let name = |role: Role| self.names.next(role);
        self.prologue = ProtectedPrologue::new(self.version, &protected, name, changes);
        self.protected = protected;
        changes.rewrite.insert(Chain::Base);
    }

    /// Adds a rule, or replaces the one with its key, unless it must not be in force or finds no
    /// place: then no rule with its key is in force, and `unenforced` has it.
    pub(super) fn add_unless_blocked(
        &mut self,
        rule: &Arc<CompiledRule>,
        changes: &mut Changes,
        unenforced: &mut Unenforced,
    ) {
        let outcome = match unenforced.blocks(rule) {
            Some(failure) => {
                self.remove(std::iter::once(&rule.nlri), changes);
                Err(failure)
            }
            None => self.add(rule, changes),
        };
        if let Err(failure) = outcome {
            unenforced.insert(rule, failure);
        }
    }

    /// Adds a rule, or replaces the one with its key.
    pub(super) fn add(&mut self, rule: &Arc<CompiledRule>, changes: &mut Changes) -> Result<(), RuleFailure> {
        if let Some(placed) = self.placed(&rule.nlri) {
            if placed.rule.effect == rule.effect && placed.rule.entries == rule.entries {
                return Ok(());
            }
            self.remove_placed(&rule.nlri, true, changes);
        }
        self.add_members(rule, members(rule), changes)
    }

    /// Adds a new rule.
    fn add_members(
        &mut self,
        rule: &Arc<CompiledRule>,
        members: Vec<Member>,
        changes: &mut Changes,
    ) -> Result<(), RuleFailure> {
        if let Some(failure) = refuse(rule) {
            return Err(failure);
        }
        if members.len() > MAX_MEMBERS {
            return Err(RuleFailure::OverCapacity(format!(
                "it takes {} nftables rules, {MAX_MEMBERS} are allowed",
                members.len()
            )));
        }
        if self.rules.contains_key(&rule.id) {
            return Err(RuleFailure::Failed(
                "another rule has the same id, so its counters would be mixed up".to_owned(),
            ));
        }
        let count = members.len() as u16; // at most MAX_MEMBERS
        let mut placed = Placed { rule: rule.clone(), police: None, members: count };
        if members.is_empty() {
            self.rules.insert(rule.id, placed);
            return Ok(());
        }
        let (key, bits) = GroupKey::of(&rule.nlri);
        let in_chain = members.iter().any(|member| matches!(member.slot.actions.terminal, Terminal::Police(_)));
        if let Some(full) = self.full_chain(key, bits, &members, in_chain) {
            return Err(full);
        }
        if in_chain {
            placed.police = Some(self.add_police(rule, changes).into());
        }
        self.rules.insert(rule.id, placed);

        self.open_group(key, changes);
        let needs_own = key.mask.is_some() && (in_chain || !self.has_room(key, &members));
        let Some(group) = self.groups.get_mut(&key) else { return Ok(()) };
        let bucket = group.buckets.entry(bits).or_default();
        let is_new = bucket.count == 0;
        bucket.count += 1;
        bucket.weight += members.len();
        if key.mask.is_some() {
            let at = bucket.rules.partition_point(|other| **other < *rule.nlri);
            bucket.rules.insert(at, rule.nlri.clone());
        }
        if let (true, Some(mask)) = (is_new, key.mask) {
            changes.add_element(&group.destinations, destination_key(self.version, mask, bits), Element::Plain);
        }
        match (&bucket.own, needs_own, key.mask) {
            (Some(_), ..) => {
                self.add_policer(rule, changes);
                changes.add_counter(self.names.rule_counter(rule.id), rule.id, Counts::Matched);
                changes.rewrite.insert(Chain::Destination(key, bits));
            }
            (None, true, Some(mask)) => self.give_own_chain(key, mask, bits, &rule.nlri, changes),
            (None, ..) => {
                if members.iter().any(|member| single(&member.slot)) {
                    changes.add_counter(self.names.rule_counter(rule.id), rule.id, Counts::Matched);
                }
                for member in members {
                    self.add_member(key, member, rule, changes);
                }
            }
        }
        Ok(())
    }

    /// Adds the policer's chain of a rule.
    fn add_police(&mut self, rule: &CompiledRule, changes: &mut Changes) -> String {
        let name = self.names.next(Role::Police);
        changes.add_chain(name.clone());
        changes.rewrite.insert(Chain::Police(rule.nlri.clone()));
        changes.add_counter(self.names.dropped_counter(rule.id), rule.id, Counts::Dropped);
        name
    }

    /// A rule in a chain has its policer in a chain, too.
    fn add_policer(&mut self, rule: &CompiledRule, changes: &mut Changes) {
        let polices = matches!(countable(rule.effect.policing), Policing::Limit { .. });
        if polices && self.rules.get(&rule.id).is_some_and(|placed| placed.police.is_none()) {
            let chain = self.add_police(rule, changes);
            if let Some(placed) = self.rules.get_mut(&rule.id) {
                placed.police = Some(chain.into());
            }
        }
    }

    /// Forgets the placement of a rule; its objects in chains and sets stay.
    pub(super) fn forget_placement(&mut self, nlri: &Nlri) -> Option<Placed> {
        let Entry::Occupied(entry) = self.rules.entry(nlri.id()) else { return None };
        (*entry.get().rule.nlri == *nlri).then(|| entry.remove())
    }

    fn remove_placed(&mut self, nlri: &Nlri, keep_count: bool, changes: &mut Changes) {
        if let Some(placed) = self.forget_placement(nlri) {
            self.clear_place(&placed, keep_count, changes);
        }
    }

    /// Removes a rule from chains and sets.
    pub(super) fn clear_place(&mut self, placed: &Placed, keep_count: bool, changes: &mut Changes) {
        let (id, nlri) = (placed.rule.id, &placed.rule.nlri);
        let (key, bits) = GroupKey::of(nlri);
        let members = members(&placed.rule);
        if let Some(police) = &placed.police {
            changes.rewrite.remove(&Chain::Police(nlri.clone()));
            let dropped = self.names.dropped_counter(id);
            if keep_count {
                changes.transfers.push((id, CounterTransfer::DroppedCounter(dropped.clone())));
            }
            changes.delete_counter(dropped);
            changes.delete_chain(police.to_string());
        }
        if members.is_empty() {
            return;
        }
        let Some(group) = self.groups.get_mut(&key) else { return };
        let Entry::Occupied(mut entry) = group.buckets.entry(bits) else { return };
        let bucket = entry.get_mut();
        bucket.count -= 1;
        bucket.weight = bucket.weight.saturating_sub(members.len());
        let is_last = bucket.count == 0;
        let own = if is_last {
            entry.remove().own
        } else {
            bucket.rules.retain(|other| !Arc::ptr_eq(other, nlri));
            bucket.own.clone()
        };
        let element = |mask| destination_key(self.version, mask, bits);
        if let (true, Some(mask)) = (is_last, key.mask) {
            changes.delete_element(&group.destinations, element(mask), Element::Plain);
        }
        if let Some(chain) = own {
            let own_counter = self.names.rule_counter(id);
            if keep_count {
                changes.transfers.push((id, CounterTransfer::Counter(own_counter.clone())));
            }
            changes.delete_counter(own_counter);
            if is_last {
                group.own -= 1;
                if group.own == 0 {
                    changes.rewrite.insert(chain_of(key));
                }
                if let Some(mask) = key.mask {
                    changes.delete_element(&group.map, element(mask), Element::Verdict(Verdict::Goto(chain.clone())));
                }
                changes.rewrite.remove(&Chain::Destination(key, bits));
                changes.delete_chain(chain);
            } else {
                changes.rewrite.insert(Chain::Destination(key, bits));
            }
        } else {
            if members.iter().any(|member| single(&member.slot)) {
                let own_counter = self.names.rule_counter(id);
                if keep_count {
                    changes.transfers.push((id, CounterTransfer::Counter(own_counter.clone())));
                }
                changes.delete_counter(own_counter);
            }
            for member in members {
                self.remove_member(key, member, &placed.rule, keep_count, changes);
            }
        }
        if is_last && self.groups.get(&key).is_some_and(|group| group.buckets.is_empty()) {
            self.close_group(key, changes);
        }
    }

    /// Removes a group's chain and sets, with all elements.
    pub(super) fn close_group(&mut self, key: GroupKey, changes: &mut Changes) -> Option<Group> {
        let mut group = self.groups.remove(&key)?;
        changes.rewrite.remove(&Chain::Group(key));
        if key.mask.is_some() {
            changes.delete_chain(std::mem::take(&mut group.chain));
            changes.delete_set(std::mem::take(&mut group.destinations));
            changes.delete_set(std::mem::take(&mut group.map));
        }
        for (_, slot) in std::mem::take(&mut group.slots.0) {
            delete_sets(slot, changes);
        }
        changes.rewrite.insert(Chain::Base);
        Some(group)
    }

    fn open_group(&mut self, key: GroupKey, changes: &mut Changes) {
        if self.groups.contains_key(&key) {
            return;
        }
        let mut group = Group {
            chain: String::new(),
            destinations: self.names.next(Role::Destinations),
            map: self.names.next(Role::Chains),
            slots: Slots::default(),
            buckets: HashMap::new(),
            own: 0,
        };
        if let Some(mask) = key.mask {
            group.chain = self.names.next(Role::Rules);
            changes.add_chain(group.chain.clone());
            let part = destination_part(mask);
            for (name, kind) in [(&group.destinations, SetKind::Plain), (&group.map, SetKind::Verdicts)] {
                changes.new_sets.push(SetSpec { name: name.clone(), version: self.version, key: part.clone(), kind });
            }
        }
        changes.rewrite.extend([Chain::Base, chain_of(key)]);
        self.groups.insert(key, group);
    }

    /// Whether every member finds a slot, or room for a new one.
    pub(super) fn has_room(&self, key: GroupKey, members: &[Member]) -> bool {
        let slots = self.groups.get(&key).map_or(0, |group| group.slots.0.len());
        slots + self.new_slots(key, members) <= MAX_SLOTS.max(slots)
    }

    /// Number of slots that the members would add to the group.
    pub(super) fn new_slots(&self, key: GroupKey, members: &[Member]) -> usize {
        let slots = self.groups.get(&key).map(|group| &group.slots.0);
        let is_new = |slot: &&Arc<SlotKey>| slots.is_none_or(|slots| !slots.contains_key(*slot));
        match members {
            [member] => usize::from(is_new(&&member.slot)),
            members => members.iter().map(|member| &member.slot).filter(is_new).collect::<BTreeSet<_>>().len(),
        }
    }

    fn open_slot(&mut self, key: GroupKey, slot: &Arc<SlotKey>, changes: &mut Changes) {
        if self.groups.get(&key).is_none_or(|group| group.slots.0.contains_key(slot)) {
            return;
        }
        let mut new_set = |role: Role, kind: SetKind| {
            let name = self.names.next(role);
            let spec = SetSpec { name: name.clone(), version: self.version, key: slot.key.clone(), kind };
            changes.new_sets.push(spec);
            name
        };
        let name = new_set(Role::Match, SetKind::Counted);
        let over = match slot.actions.terminal {
            Terminal::Limit { unit, .. } => Some(OverLimitSets {
                limits: new_set(Role::OverLimit, SetKind::Limits(unit)),
                dropped: new_set(Role::Dropped, SetKind::Counted),
            }),
            Terminal::Drop | Terminal::Accept | Terminal::Continue | Terminal::Police(_) => None,
        };
        if let Some(group) = self.groups.get_mut(&key) {
            group.slots.0.insert(slot.clone(), Slot { name, over, members: 0 });
            changes.rewrite.insert(chain_of(key));
        }
    }

    fn add_member(&mut self, key: GroupKey, member: Member, rule: &CompiledRule, changes: &mut Changes) {
        if single(&member.slot) {
            let counter = self.names.rule_counter(rule.id);
            let Some(group) = self.groups.get_mut(&key) else { return };
            let empty = || Slot { name: counter, over: None, members: 0 };
            group.slots.0.entry(member.slot).or_insert_with(empty).members += 1;
            changes.rewrite.insert(chain_of(key));
            return;
        }
        self.open_slot(key, &member.slot, changes);
        let Some(slot) = self.groups.get_mut(&key).and_then(|group| group.slots.0.get_mut(&member.slot)) else {
            return;
        };
        slot.members += 1;
        let mut counted = Counted::Matched;
        if let (Some(over), Some((_, limit))) = (&slot.over, only_limit(rule)) {
            counted = Counted::Passed;
            changes.add_element(&over.limits, member.key.clone(), Element::OverLimit(limit));
            changes.add_element(&over.dropped, member.key.clone(), Element::Counted(rule.id, Counted::Dropped));
        }
        changes.add_element(&slot.name, member.key, Element::Counted(rule.id, counted));
    }

    fn remove_member(
        &mut self,
        key: GroupKey,
        member: Member,
        rule: &CompiledRule,
        keep_count: bool,
        changes: &mut Changes,
    ) {
        let Some(group) = self.groups.get_mut(&key) else { return };
        let btree_map::Entry::Occupied(mut entry) = group.slots.0.entry(member.slot) else { return };
        let is_single = single(entry.key());
        let slot = entry.get_mut();
        slot.members -= 1;
        let is_empty = slot.members == 0;
        if is_empty {
            changes.rewrite.insert(chain_of(key));
        }
        if !is_single {
            let Slot { name, over, .. } = &*slot;
            let counted = |counted| Element::Counted(rule.id, counted);
            if let (Some(OverLimitSets { limits, dropped }), Some((_, limit))) = (over, only_limit(rule)) {
                changes.delete_element(limits, member.key.clone(), Element::OverLimit(limit));
                if changes.delete_element(dropped, member.key.clone(), counted(Counted::Dropped)) && keep_count {
                    let transfer = CounterTransfer::Dropped { set: dropped.clone(), key: member.key.clone() };
                    changes.transfers.push((rule.id, transfer));
                }
            }
            let kept = keep_count.then(|| member.key.clone());
            if changes.delete_element(name, member.key, counted(Counted::Matched))
                && let Some(key) = kept
            {
                changes.transfers.push((rule.id, CounterTransfer::Element { set: name.clone(), key }));
            }
        }
        if is_empty {
            let slot = entry.remove();
            if !is_single {
                delete_sets(slot, changes);
            }
        }
    }

    /// Moves all rules of a destination out of the slots into a chain of its own.
    fn give_own_chain(&mut self, key: GroupKey, mask: u128, bits: u128, newcomer: &Arc<Nlri>, changes: &mut Changes) {
        let chain = self.names.next(Role::Destination);
        let element = destination_key(self.version, mask, bits);
        changes.add_chain(chain.clone());
        changes.rewrite.insert(Chain::Destination(key, bits));
        let Some(group) = self.groups.get_mut(&key) else { return };
        group.own += 1;
        if group.own == 1 {
            changes.rewrite.insert(chain_of(key));
        }
        // From there back to where the group was called: none of its slots has rules of this
        // destination.
        changes.add_element(&group.map, element, Element::Verdict(Verdict::Goto(chain.clone())));
        let Some(bucket) = group.buckets.get_mut(&bits) else { return };
        bucket.own = Some(chain);
        for nlri in bucket.rules.clone() {
            let Some(placed) = self.placed(&nlri) else { continue };
            let rule = placed.rule.clone();
            self.add_policer(&rule, changes);
            changes.add_counter(self.names.rule_counter(rule.id), rule.id, Counts::Matched);
            if nlri != *newcomer {
                for member in members(&rule) {
                    self.remove_member(key, member, &rule, true, changes);
                }
            }
        }
    }
}
