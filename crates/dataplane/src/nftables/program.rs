//! The rule set as chains and sets of our table, kept so that a change of a few rules is a change of a few elements. Pure.
//!
//! ```text
//! prerouting: interfaces; ipv4 -> ipv4; ipv6 -> ipv6
//! ipv4:       protected packets are accepted; then for each mask of destinations, the longest first:
//!               destination in the group's set of destinations -> the group's chain
//!               destination in the group's map -> that destination's own chain
//!             where every destination matches, the group's chain at once
//! group:      one lookup for each slot (`template.rs`), in the order of the rules
//! own chain:  the rules of one destination, one after the other, in their order
//! ```
//!
//! A destination has its rules in the group's slots, or, where they do not fit there (a policer, too many templates), all of them in a
//! chain of its own. So a packet meets the rules of a destination in their order; and more specific destinations come first in the
//! order of rules. A chain that ends without a verdict returns here, to the next group.

use super::conjunction::conjunctions;
use super::field::{Field, KeyPart, Test};
use super::limit::{Limit, Unit};
use super::statement::{Rule, Statement, Verdict};
use super::template::{Deed, End, GroupKey, Member, SlotKey, destination_key, members};
use super::{Options, RuleFailure};
use engine::plan::{CompiledRule, Ruleset};
use flowspec::space::Space;
use flowspec::{Effect, IpVersion, Nlri, Policing, RuleId};
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

/// Most slots of a group of destinations: what a packet to a destination with rules may have to be looked up in. Rules of further
/// templates go to chains of their destination.
const MAX_SLOTS: usize = 16;
/// Most rules of nf_tables, or elements, that one rule may become.
pub(super) const MAX_MEMBERS: usize = 4096;
/// The chain that the kernel calls.
pub(super) const BASE: &str = "prerouting";

/// A set to be made.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct SetSpec {
    pub(super) name: String,
    pub(super) version: IpVersion,
    pub(super) key: Vec<KeyPart>,
    pub(super) kind: SetKind,
}

/// What the elements of a set carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SetKind {
    /// Nothing: the destinations of a group.
    Plain,
    /// A counter each.
    Counted,
    /// A verdict each.
    Verdicts,
    /// Interface names.
    Interfaces,
}

/// An element to be added.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Element {
    /// The rule that it counts for.
    pub(super) rule: Option<RuleId>,
    pub(super) verdict: Option<Verdict>,
}

/// Names a chain, whose rules follow from the program.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Chain {
    Base,
    Version(IpVersion),
    Group(IpVersion, GroupKey),
    Destination(IpVersion, GroupKey, u128),
    Police(Arc<Nlri>),
}

/// What must be done to the kernel's tables. What comes and goes within one of these is not in it.
#[derive(Debug, Default)]
pub(super) struct Changes {
    pub(super) new_chains: BTreeSet<String>,
    pub(super) new_sets: Vec<SetSpec>,
    /// Named counters, with the rule that they count for.
    pub(super) new_counters: BTreeMap<String, RuleId>,
    /// Elements by set and key.
    pub(super) add: BTreeMap<String, HashMap<Vec<u8>, Element>>,
    pub(super) delete: BTreeMap<String, Vec<Vec<u8>>>,
    /// Chains whose rules are to be written anew.
    pub(super) rewrite: BTreeSet<Chain>,
    pub(super) dead_chains: BTreeSet<String>,
    pub(super) dead_sets: BTreeSet<String>,
    pub(super) dead_counters: BTreeSet<String>,
    /// Elements and counters that go while their rule stays: what they counted must be kept.
    pub(super) carry: Vec<(RuleId, Carry)>,
}

impl Changes {
    fn add_element(&mut self, set: &str, key: Vec<u8>, rule: Option<RuleId>, verdict: Option<Verdict>) {
        self.add.entry(set.to_owned()).or_default().insert(key, Element { rule, verdict });
    }

    /// Whether the element was in the kernel.
    fn delete_element(&mut self, set: &str, key: Vec<u8>) -> bool {
        if self.add.get_mut(set).is_some_and(|elements| elements.remove(&key).is_some()) {
            return false;
        }
        self.delete.entry(set.to_owned()).or_default().push(key);
        true
    }

    /// A counter that was to go simply stays.
    fn add_counter(&mut self, name: String, rule: RuleId) {
        if !self.dead_counters.remove(&name) {
            self.new_counters.insert(name, rule);
        }
    }

    fn delete_counter(&mut self, name: String) {
        if self.new_counters.remove(&name).is_none() {
            self.dead_counters.insert(name);
        }
    }

    /// A chain that was to go simply stays; its rules are written anew in any case.
    fn add_chain(&mut self, name: String) {
        if !self.dead_chains.remove(&name) {
            self.new_chains.insert(name);
        }
    }

    fn delete_chain(&mut self, name: String) {
        if !self.new_chains.remove(&name) {
            self.dead_chains.insert(name);
        }
    }

    /// With the set go its elements.
    fn delete_set(&mut self, name: String) {
        self.add.remove(&name);
        self.delete.remove(&name);
        let before = self.new_sets.len();
        self.new_sets.retain(|set| set.name != name);
        if self.new_sets.len() == before {
            self.dead_sets.insert(name);
        }
    }
}

/// Where a count stands that is to be kept.
#[derive(Clone, Debug)]
pub(super) enum Carry {
    Element { set: String, key: Vec<u8> },
    Counter(String),
}

#[derive(Debug, Default)]
struct Slots(BTreeMap<SlotKey, Slot>);

#[derive(Debug)]
struct Slot {
    /// The set's name; for a slot without key, the name of its rule's counter.
    name: String,
    members: usize,
}

#[derive(Debug)]
struct Group {
    chain: String,
    destinations: String,
    map: String,
    slots: Slots,
    buckets: HashMap<u128, Bucket>,
    /// How many buckets have a chain of their own.
    own: usize,
}

/// The rules of one destination.
#[derive(Debug, Default)]
struct Bucket {
    count: usize,
    /// In their order; not kept for rules without destination, which are never moved.
    rules: Vec<Arc<Nlri>>,
    own: Option<String>,
}

#[derive(Debug)]
struct Placed {
    rule: Arc<CompiledRule>,
    /// The chain that polices.
    police: Option<String>,
}

/// The program of one generation.
#[derive(Debug)]
pub(super) struct Program {
    options: Options,
    generation: u32,
    serial: u64,
    protected: Arc<Vec<Space>>,
    groups: BTreeMap<(IpVersion, GroupKey), Group>,
    versions: BTreeSet<IpVersion>,
    rules: HashMap<Arc<Nlri>, Placed>,
    ids: HashMap<RuleId, Arc<Nlri>>,
}

impl Program {
    /// An empty program, whose base chain is to be written.
    pub(super) fn new(options: Options, generation: u32, changes: &mut Changes) -> Self {
        let program = Program {
            options,
            generation,
            serial: 0,
            protected: Arc::default(),
            groups: BTreeMap::new(),
            versions: BTreeSet::new(),
            rules: HashMap::new(),
            ids: HashMap::new(),
        };
        if !program.options.interfaces.is_empty() {
            let name = program.interfaces_set();
            changes.new_sets.push(SetSpec {
                name: name.clone(),
                version: IpVersion::V4,
                key: Vec::new(),
                kind: SetKind::Interfaces,
            });
            for interface in &program.options.interfaces {
                let mut key = interface.clone().into_bytes();
                key.resize(16, 0);
                changes.add_element(&name, key, None, None);
            }
        }
        changes.rewrite.insert(Chain::Base);
        program
    }

    /// The program of a whole rule set, all of it new, and the rules that did not find a place.
    pub(super) fn build(
        options: Options,
        generation: u32,
        ruleset: &Ruleset,
    ) -> (Self, Changes, Vec<(Arc<Nlri>, RuleFailure)>) {
        let mut changes = Changes::default();
        let mut program = Program::new(options, generation, &mut changes);
        program.protect(ruleset.protected.clone(), &mut changes);
        program.reserve_popular_slots(&ruleset.rules, &mut changes);
        let failures = ruleset
            .rules
            .iter()
            .filter_map(|rule| program.add(rule, &mut changes).err().map(|failure| (rule.nlri.clone(), failure)))
            .collect();
        program.drop_empty_slots(&mut changes);
        changes.carry.clear();
        (program, changes, failures)
    }

    /// Gives each group's slots to the templates that most of its rules have.
    fn reserve_popular_slots(&mut self, rules: &[Arc<CompiledRule>], changes: &mut Changes) {
        let mut count: HashMap<(IpVersion, GroupKey), HashMap<SlotKey, usize>> = HashMap::new();
        for rule in rules {
            let version = rule.nlri.family().version();
            let group = GroupKey::of(&rule.nlri).0;
            if group.mask.is_none() || refuse(rule).is_some() {
                continue;
            }
            let slots = count.entry((version, group)).or_default();
            for member in members(rule) {
                *slots.entry(member.slot).or_default() += 1;
            }
        }
        for ((version, key), slots) in count {
            let mut slots: Vec<_> = slots.into_iter().filter(|(slot, _)| !single(slot)).collect();
            slots.sort_by(|(a, x), (b, y)| y.cmp(x).then_with(|| a.cmp(b)));
            if slots.len() <= MAX_SLOTS {
                continue;
            }
            self.open_group(version, key, changes);
            for (slot, _) in slots.into_iter().take(MAX_SLOTS) {
                self.open_slot(version, key, &slot, changes);
            }
        }
    }

    fn drop_empty_slots(&mut self, changes: &mut Changes) {
        for ((version, key), group) in &mut self.groups {
            let empty: Vec<_> =
                group.slots.0.iter().filter(|(_, slot)| slot.members == 0).map(|(key, _)| key.clone()).collect();
            for slot in empty {
                if let Some(slot) = group.slots.0.remove(&slot) {
                    changes.delete_set(slot.name);
                    changes.rewrite.insert(Chain::Group(*version, *key));
                }
            }
        }
    }

    /// The rule with this key.
    pub(super) fn compiled(&self, nlri: &Nlri) -> Option<&Arc<CompiledRule>> {
        self.rules.get(nlri).map(|placed| &placed.rule)
    }

    /// What is accepted ahead of every rule.
    pub(super) fn protected(&self) -> &Arc<Vec<Space>> {
        &self.protected
    }

    pub(super) fn rules(&self) -> impl Iterator<Item = &Arc<CompiledRule>> {
        self.rules.values().map(|placed| &placed.rule)
    }

    /// Accepts these packets ahead of every rule.
    pub(super) fn protect(&mut self, protected: Arc<Vec<Space>>, changes: &mut Changes) {
        self.protected = protected;
        changes.rewrite.extend(self.versions.iter().map(|&version| Chain::Version(version)));
    }

    /// Adds a rule, or puts it in the place of the one with its key.
    pub(super) fn add(&mut self, rule: &Arc<CompiledRule>, changes: &mut Changes) -> Result<(), RuleFailure> {
        if let Some(placed) = self.rules.get(&rule.nlri) {
            if placed.rule.effect == rule.effect && placed.rule.entries == rule.entries {
                return Ok(());
            }
            self.take_out(&rule.nlri.clone(), true, changes);
        }
        if let Some(failure) = refuse(rule) {
            return Err(failure);
        }
        let members = members(rule);
        if members.len() > MAX_MEMBERS {
            return Err(RuleFailure::OverCapacity(format!(
                "it takes {} nftables rules, {MAX_MEMBERS} are allowed",
                members.len()
            )));
        }
        match self.ids.entry(rule.id) {
            std::collections::hash_map::Entry::Occupied(other) if *other.get() != rule.nlri => {
                return Err(RuleFailure::Failed(
                    "another rule has the same id, so its counters would be mixed up".to_owned(),
                ));
            }
            entry => entry.insert_entry(rule.nlri.clone()),
        };
        let mut placed = Placed { rule: rule.clone(), police: None };
        if members.is_empty() {
            self.rules.insert(rule.nlri.clone(), placed);
            return Ok(());
        }
        let polices = matches!(rule.effect.policing, Policing::Limit { .. });
        if polices {
            let name = self.name("police");
            changes.add_chain(name.clone());
            changes.rewrite.insert(Chain::Police(rule.nlri.clone()));
            changes.add_counter(self.dropped_counter(rule.id), rule.id);
            placed.police = Some(name);
        }
        self.rules.insert(rule.nlri.clone(), placed);

        let version = rule.nlri.family().version();
        let (key, bits) = GroupKey::of(&rule.nlri);
        self.open_group(version, key, changes);
        let needs_own = key.mask.is_some() && (polices || !self.have_room(version, key, &members));
        let Some(group) = self.groups.get_mut(&(version, key)) else { return Ok(()) };
        let bucket = group.buckets.entry(bits).or_default();
        let is_new = bucket.count == 0;
        bucket.count += 1;
        if key.mask.is_some() {
            let at = bucket.rules.partition_point(|other| **other < *rule.nlri);
            bucket.rules.insert(at, rule.nlri.clone());
        }
        match (&bucket.own, needs_own, key.mask) {
            (Some(_), ..) => {
                changes.add_counter(self.counter(rule.id), rule.id);
                changes.rewrite.insert(Chain::Destination(version, key, bits));
            }
            (None, true, Some(mask)) => self.give_own_chain(version, key, mask, bits, is_new, &rule.nlri, changes),
            (None, _, mask) => {
                if let (true, Some(mask)) = (is_new, mask) {
                    changes.add_element(&group.destinations, destination_key(version, mask, bits), None, None);
                }
                if members.iter().any(|member| single(&member.slot)) {
                    changes.add_counter(self.counter(rule.id), rule.id);
                }
                for member in members {
                    self.add_member(version, key, member, rule.id, changes);
                }
            }
        }
        Ok(())
    }

    /// Takes a rule out; whether it was there.
    pub(super) fn remove(&mut self, nlri: &Nlri, changes: &mut Changes) -> bool {
        self.take_out(nlri, false, changes)
    }

    fn take_out(&mut self, nlri: &Nlri, keep_count: bool, changes: &mut Changes) -> bool {
        let Some((nlri, placed)) = self.rules.remove_entry(nlri) else { return false };
        let id = placed.rule.id;
        self.ids.remove(&id);
        let version = nlri.family().version();
        let (key, bits) = GroupKey::of(&nlri);
        let members = members(&placed.rule);
        if let Some(police) = placed.police {
            changes.rewrite.remove(&Chain::Police(nlri.clone()));
            changes.delete_counter(self.dropped_counter(id));
            changes.delete_chain(police);
        }
        if members.is_empty() {
            return true;
        }
        let own_counter = self.counter(id);
        let Some(group) = self.groups.get_mut(&(version, key)) else { return true };
        let Some(bucket) = group.buckets.get_mut(&bits) else { return true };
        bucket.count -= 1;
        bucket.rules.retain(|other| *other != nlri);
        let (own, is_last) = (bucket.own.clone(), bucket.count == 0);
        let element = key.mask.map(|mask| destination_key(version, mask, bits));
        if is_last {
            group.buckets.remove(&bits);
        }
        if let Some(chain) = own {
            if keep_count {
                changes.carry.push((id, Carry::Counter(own_counter.clone())));
            }
            changes.delete_counter(own_counter);
            if is_last {
                group.own -= 1;
                if group.own == 0 {
                    changes.rewrite.insert(Chain::Version(version));
                }
                if let Some(element) = element {
                    changes.delete_element(&group.map, element);
                }
                changes.rewrite.remove(&Chain::Destination(version, key, bits));
                changes.delete_chain(chain);
            } else {
                changes.rewrite.insert(Chain::Destination(version, key, bits));
            }
        } else {
            if let (true, Some(element)) = (is_last, element) {
                changes.delete_element(&group.destinations, element);
            }
            if members.iter().any(|member| single(&member.slot)) {
                if keep_count {
                    changes.carry.push((id, Carry::Counter(own_counter.clone())));
                }
                changes.delete_counter(own_counter);
            }
            for member in members {
                self.remove_member(version, key, member, id, keep_count, changes);
            }
        }
        self.close_group_if_empty(version, key, changes);
        true
    }

    fn close_group_if_empty(&mut self, version: IpVersion, key: GroupKey, changes: &mut Changes) {
        let Entry::Occupied(group) = self.groups.entry((version, key)) else { return };
        if !group.get().buckets.is_empty() {
            return;
        }
        let group = group.remove();
        changes.rewrite.remove(&Chain::Group(version, key));
        changes.delete_chain(group.chain);
        if key.mask.is_some() {
            changes.delete_set(group.destinations);
            changes.delete_set(group.map);
        }
        for (_, slot) in group.slots.0 {
            changes.delete_set(slot.name);
        }
        changes.rewrite.insert(Chain::Version(version));
        if !self.groups.keys().any(|(other, _)| *other == version) {
            self.versions.remove(&version);
            changes.rewrite.remove(&Chain::Version(version));
            changes.delete_chain(self.version_chain(version));
            changes.rewrite.insert(Chain::Base);
        }
    }

    fn open_group(&mut self, version: IpVersion, key: GroupKey, changes: &mut Changes) {
        if self.groups.contains_key(&(version, key)) {
            return;
        }
        if self.versions.insert(version) {
            changes.add_chain(self.version_chain(version));
            changes.rewrite.insert(Chain::Base);
        }
        let group = Group {
            chain: self.name("rules"),
            destinations: self.name("destinations"),
            map: self.name("chains"),
            slots: Slots::default(),
            buckets: HashMap::new(),
            own: 0,
        };
        changes.add_chain(group.chain.clone());
        if let Some(mask) = key.mask {
            let part = vec![KeyPart { field: Field::Destination, mask }];
            for (name, kind) in [(&group.destinations, SetKind::Plain), (&group.map, SetKind::Verdicts)] {
                changes.new_sets.push(SetSpec { name: name.clone(), version, key: part.clone(), kind });
            }
        }
        changes.rewrite.extend([Chain::Version(version), Chain::Group(version, key)]);
        self.groups.insert((version, key), group);
    }

    /// Whether every member finds a slot, or room for a new one.
    fn have_room(&self, version: IpVersion, key: GroupKey, members: &[Member]) -> bool {
        let Some(group) = self.groups.get(&(version, key)) else { return false };
        let new: BTreeSet<_> =
            members.iter().map(|member| &member.slot).filter(|slot| !group.slots.0.contains_key(slot)).collect();
        group.slots.0.len() + new.len() <= MAX_SLOTS
    }

    fn open_slot(&mut self, version: IpVersion, key: GroupKey, slot: &SlotKey, changes: &mut Changes) {
        let name = self.name("match");
        let Some(group) = self.groups.get_mut(&(version, key)) else { return };
        if let Entry::Vacant(entry) = group.slots.0.entry(slot.clone()) {
            changes.new_sets.push(SetSpec {
                name: name.clone(),
                version,
                key: slot.key.clone(),
                kind: SetKind::Counted,
            });
            entry.insert(Slot { name, members: 0 });
            changes.rewrite.extend([Chain::Group(version, key), Chain::Version(version)]);
        }
    }

    fn add_member(&mut self, version: IpVersion, key: GroupKey, member: Member, id: RuleId, changes: &mut Changes) {
        let counter = self.counter(id);
        let is_single = single(&member.slot);
        let known = self.groups.get(&(version, key)).is_some_and(|group| group.slots.0.contains_key(&member.slot));
        if !known && !is_single {
            self.open_slot(version, key, &member.slot, changes);
        }
        let Some(group) = self.groups.get_mut(&(version, key)) else { return };
        if is_single {
            if !group.slots.0.contains_key(&member.slot) {
                changes.rewrite.insert(Chain::Version(version));
            }
            group.slots.0.entry(member.slot).or_insert(Slot { name: counter, members: 0 }).members += 1;
            changes.rewrite.insert(Chain::Group(version, key));
        } else if let Some(slot) = group.slots.0.get_mut(&member.slot) {
            slot.members += 1;
            changes.add_element(&slot.name, member.key, Some(id), None);
        }
    }

    fn remove_member(
        &mut self,
        version: IpVersion,
        key: GroupKey,
        member: Member,
        id: RuleId,
        keep_count: bool,
        changes: &mut Changes,
    ) {
        let Some(group) = self.groups.get_mut(&(version, key)) else { return };
        let Entry::Occupied(mut entry) = group.slots.0.entry(member.slot) else { return };
        let is_single = single(entry.key());
        let slot = entry.get_mut();
        slot.members -= 1;
        let (name, is_empty) = (slot.name.clone(), slot.members == 0);
        if is_empty {
            entry.remove();
            changes.rewrite.insert(Chain::Group(version, key));
            if group.slots.0.is_empty() {
                changes.rewrite.insert(Chain::Version(version));
            }
        }
        if is_single {
            return;
        }
        if changes.delete_element(&name, member.key.clone()) && keep_count {
            changes.carry.push((id, Carry::Element { set: name.clone(), key: member.key }));
        }
        if is_empty {
            changes.delete_set(name);
        }
    }

    /// Moves all rules of a destination out of the slots into a chain of its own.
    #[allow(clippy::too_many_arguments)]
    fn give_own_chain(
        &mut self,
        version: IpVersion,
        key: GroupKey,
        mask: u128,
        bits: u128,
        is_new: bool,
        newcomer: &Arc<Nlri>,
        changes: &mut Changes,
    ) {
        let chain = self.name("destination");
        let element = destination_key(version, mask, bits);
        changes.add_chain(chain.clone());
        changes.rewrite.insert(Chain::Destination(version, key, bits));
        let Some(group) = self.groups.get_mut(&(version, key)) else { return };
        group.own += 1;
        if group.own == 1 {
            changes.rewrite.insert(Chain::Version(version));
        }
        if !is_new {
            changes.delete_element(&group.destinations, element.clone());
        }
        changes.add_element(&group.map, element, None, Some(Verdict::Jump(chain.clone())));
        let Some(bucket) = group.buckets.get_mut(&bits) else { return };
        bucket.own = Some(chain);
        for nlri in bucket.rules.clone() {
            let Some(placed) = self.rules.get(&nlri) else { continue };
            let rule = placed.rule.clone();
            changes.add_counter(self.counter(rule.id), rule.id);
            if nlri != *newcomer {
                for member in members(&rule) {
                    self.remove_member(version, key, member, rule.id, true, changes);
                }
            }
        }
    }

    fn name(&mut self, what: &str) -> String {
        self.serial += 1;
        format!("g{}_{what}_{}", self.generation, self.serial)
    }

    /// The name of a rule's counter, where it is not in an element.
    fn counter(&self, id: RuleId) -> String {
        format!("g{}_rule_{id}", self.generation)
    }

    fn version_chain(&self, version: IpVersion) -> String {
        match version {
            IpVersion::V4 => format!("g{}_ipv4", self.generation),
            IpVersion::V6 => format!("g{}_ipv6", self.generation),
        }
    }

    fn interfaces_set(&self) -> String {
        format!("g{}_interfaces", self.generation)
    }

    /// The chain's name and rules; `None` when it is not there any more.
    pub(super) fn chain(&self, chain: &Chain) -> Option<(String, Vec<Rule>)> {
        match chain {
            Chain::Base => Some((BASE.to_owned(), self.base_rules())),
            Chain::Version(version) => {
                self.versions.contains(version).then(|| (self.version_chain(*version), self.version_rules(*version)))
            }
            Chain::Group(version, key) => {
                let group = self.groups.get(&(*version, *key))?;
                Some((group.chain.clone(), self.group_rules(*version, group)))
            }
            Chain::Destination(version, key, bits) => {
                let bucket = self.groups.get(&(*version, *key))?.buckets.get(bits)?;
                Some((bucket.own.clone()?, self.destination_rules(*version, bucket)))
            }
            Chain::Police(nlri) => {
                let placed = self.rules.get(nlri)?;
                let name = placed.police.clone()?;
                Some((name, self.police_rules(&placed.rule)))
            }
        }
    }

    fn base_rules(&self) -> Vec<Rule> {
        let from = match self.options.interfaces.is_empty() {
            true => Statement::FromLoopback,
            false => Statement::FromOther { set: self.interfaces_set() },
        };
        let mut rules = vec![vec![from, Statement::Verdict(Verdict::Accept)]];
        rules.extend(self.versions.iter().map(|&version| {
            vec![Statement::Version(version), Statement::Verdict(Verdict::Goto(self.version_chain(version)))]
        }));
        rules
    }

    fn version_rules(&self, version: IpVersion) -> Vec<Rule> {
        let protected = self.protected.iter().filter(|space| space.version() == version).flat_map(conjunctions);
        let mut rules: Vec<Rule> = protected
            .map(|tests| {
                let tests = tests.into_iter().map(|test| Statement::Test(version, test));
                tests.chain([Statement::Verdict(Verdict::Accept)]).collect()
            })
            .collect();
        for ((_, key), group) in self.groups.iter().filter(|((of, _), _)| *of == version) {
            let Some(mask) = key.mask else {
                rules.push(vec![Statement::Verdict(Verdict::Jump(group.chain.clone()))]);
                continue;
            };
            let key = vec![KeyPart { field: Field::Destination, mask }];
            if !group.slots.0.is_empty() {
                rules.push(vec![
                    Statement::Lookup { version, key: key.clone(), set: group.destinations.clone() },
                    Statement::Verdict(Verdict::Jump(group.chain.clone())),
                ]);
            }
            if group.own > 0 {
                rules.push(vec![Statement::VerdictMap { version, key, map: group.map.clone() }]);
            }
        }
        rules
    }

    fn group_rules(&self, version: IpVersion, group: &Group) -> Vec<Rule> {
        let rule = |(key, slot): (&SlotKey, &Slot)| {
            let mut rule: Rule = key.fixed.iter().map(|&test| Statement::Test(version, test)).collect();
            if single(key) {
                rule.push(Statement::Counter(slot.name.clone()));
            } else {
                rule.push(Statement::Lookup { version, key: key.key.clone(), set: slot.name.clone() });
            }
            rule.extend(self.deed(version, &key.deed));
            rule
        };
        group.slots.0.iter().map(rule).collect()
    }

    fn destination_rules(&self, version: IpVersion, bucket: &Bucket) -> Vec<Rule> {
        let placed = bucket.rules.iter().filter_map(|nlri| self.rules.get(nlri));
        placed.flat_map(|placed| self.rule_in_chain(version, placed)).collect()
    }

    /// A rule as it stands in a chain whose packets have its destination.
    fn rule_in_chain(&self, version: IpVersion, placed: &Placed) -> Vec<Rule> {
        let counter = self.counter(placed.rule.id);
        let deed = Deed::of(&placed.rule);
        let one = |tests: Vec<Test>| {
            let tests = tests.into_iter().filter(|test| test.field() != Field::Destination);
            let mut rule: Rule = tests.map(|test| Statement::Test(version, test)).collect();
            rule.push(Statement::Counter(counter.clone()));
            rule.extend(self.deed(version, &deed));
            rule
        };
        placed.rule.entries.iter().flat_map(conjunctions).map(one).collect()
    }

    fn deed(&self, version: IpVersion, deed: &Deed) -> Rule {
        let mut rule = Rule::new();
        if deed.sample {
            rule.push(self.options.log());
        }
        rule.extend(deed.mark.map(|dscp| Statement::SetDscp(version, dscp)));
        rule.extend(match deed.end {
            End::Drop => Some(Statement::Verdict(Verdict::Drop)),
            End::Accept => Some(Statement::Verdict(Verdict::Accept)),
            End::Continue => None,
            End::Police(id) => {
                let placed = self.ids.get(&id).and_then(|nlri| self.rules.get(nlri));
                placed.and_then(|placed| placed.police.clone()).map(|chain| Statement::Verdict(Verdict::Jump(chain)))
            }
        });
        rule
    }

    /// The rest of a policed rule. The chain ends in a verdict unless the search goes on.
    fn police_rules(&self, rule: &CompiledRule) -> Vec<Rule> {
        let Policing::Limit { bytes, packets } = rule.effect.policing else { return Vec::new() };
        let mut rules = Vec::new();
        if rule.effect.sample {
            rules.push(vec![self.options.log()]);
        }
        let limits = [(Unit::Bytes, bytes), (Unit::Packets, packets)];
        for (unit, rate) in limits {
            rules.extend(rate.map(|rate| {
                vec![
                    Statement::Over(Limit::new(unit, rate)),
                    Statement::Counter(self.dropped_counter(rule.id)),
                    Statement::Verdict(Verdict::Drop),
                ]
            }));
        }
        if !rule.effect.continues {
            let version = rule.nlri.family().version();
            let mark = rule.effect.mark.map(|dscp| Statement::SetDscp(version, dscp));
            rules.push(mark.into_iter().chain([Statement::Verdict(Verdict::Accept)]).collect());
        }
        rules
    }

    /// The name of the counter of what a rule's policer dropped.
    fn dropped_counter(&self, id: RuleId) -> String {
        format!("g{}_dropped_{id}", self.generation)
    }
}

/// A slot that is a single rule's: nothing is looked up.
fn single(slot: &SlotKey) -> bool {
    slot.key.is_empty()
}

/// What cannot be done exactly.
fn refuse(rule: &CompiledRule) -> Option<RuleFailure> {
    let Effect { policing, mark, redirect, continues, .. } = rule.effect;
    let reason = if rule.nlri.family().is_vpn() {
        "nftables filters packets before they belong to a VRF, so a VPN rule cannot be told from another"
    } else if redirect.is_some() {
        "nftables cannot redirect before the routing decision"
    } else if continues && mark.is_some() && policing != Policing::Discard {
        "nftables would show the new DSCP to the rules that follow, so a mark must end the search"
    } else {
        return None;
    };
    Some(RuleFailure::Failed(reason.to_owned()))
}
