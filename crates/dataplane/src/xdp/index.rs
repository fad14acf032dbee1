//! The classifier's lists in user space: which records are where. `commit` writes them into the
//! tables.

use super::full::Full;
use super::layout::{Hash, NodeLine, Record, TUPLES, TupleLine, node_protected, node_wide};
use super::list::{Item, List};
use super::mix_hasher::MixHasher;
use super::pool::Runs;
use super::record::Network;
use super::slots::Slots;
use super::split::{CLASSES, TupleMask, source_class};
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::BuildHasherDefault;

/// A bucket longer than this becomes a node.
const BUCKET_MAX: usize = 24;
/// A list of one source longer than this becomes a node.
const SOURCE_MAX: usize = 16;
/// A tuple's list longer than this gets no more records that a finer tuple can distinguish.
const TUPLE_LIST_MAX: usize = 12;
/// Most tuples that split lists which others leave too long.
const FINE_TUPLES: usize = 6;
/// Number of record kinds that get a tuple which separates them from all others at once: each is
/// the whole lookup for its kind.
const KINDS: usize = 3;

/// Identifies a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum ListId {
    /// Of a destination.
    Bucket(Network),
    /// Of a node; its id in the hash table.
    Part(u32, u64),
}

/// The rules for one destination prefix.
#[derive(Debug)]
struct Bucket {
    list: List,
    /// Instead of the list.
    node: Option<u32>,
}

/// A long list split into parts.
#[derive(Debug, Default)]
struct Node {
    tuples: Vec<Tuple>,
    parts: HashMap<u64, Part, BuildHasherDefault<MixHasher>>,
    /// How many lists each class of sources has.
    classes: [u32; CLASSES],
    /// Records in the tuples that may come before one with a source.
    early: u32,
    /// A node of one source: all records are in tuples.
    of_source: bool,
    /// Records, each as often as it is in a list.
    records: usize,
}

#[derive(Debug)]
struct Tuple {
    mask: TupleMask,
    /// Lists in it, including those being removed.
    lists: u32,
    /// One of the first choice for some kind of record; slots are reserved for all of those.
    coarse: bool,
}

/// A list of a node.
#[derive(Debug)]
struct Part {
    list: List,
    split: Split,
    hash: u64,
    /// Instead of the list, for a source with many rules.
    node: Option<u32>,
}

/// The key of a node's list.
#[derive(Clone, Copy, Debug)]
enum Split {
    /// A class of sources.
    Source(usize),
    /// The number of a tuple.
    Tuple(usize),
}

/// Resources shared by both IP versions.
#[derive(Debug)]
pub(super) struct Pools {
    pub(super) slots: Slots,
    pub(super) chunks: Runs,
    pub(super) nodes: Runs,
}

/// What the lists of both IP versions share during a transaction.
#[derive(Debug)]
pub(super) struct IndexContext<'a> {
    /// By rule number: the label.
    pub(super) labels: &'a [u64],
    pub(super) pools: &'a mut Pools,
    pub(super) hash: Hash,
}

/// The lists of one IP version.
#[derive(Debug)]
pub(super) struct Index {
    ipv6: bool,
    buckets: BTreeMap<Network, Bucket>,
    nodes: HashMap<u32, Node>,
    /// Number of buckets of each prefix length.
    lengths: [u32; 129],
    /// Lists to be written with the next commit.
    touched: HashSet<ListId>,
    /// Nodes with new tuples.
    changed_nodes: HashSet<u32>,
}

/// A list to be written, and its circumstances.
#[derive(Debug)]
pub(super) struct Touched<'a> {
    pub(super) list: &'a mut List,
    /// Instead of the list.
    pub(super) node: Option<u32>,
    /// Of a part: its hash in the filter.
    pub(super) hash: u64,
}

/// A list whose last record is gone.
#[derive(Debug)]
pub(super) struct Removed {
    pub(super) list: List,
    /// The node in its place, which is gone as well.
    pub(super) node: Option<u32>,
    /// Of a part: its hash in the filter.
    pub(super) hash: u64,
}

impl Index {
    pub(super) fn new(ipv6: bool) -> Self {
        let fixed = [node_protected(ipv6), node_wide(ipv6)];
        Index {
            ipv6,
            buckets: BTreeMap::new(),
            nodes: fixed.into_iter().map(|number| (number, Node::default())).collect(),
            lengths: [0; 129],
            touched: HashSet::new(),
            changed_nodes: HashSet::new(),
        }
    }

    pub(super) const fn is_ipv6(&self) -> bool {
        self.ipv6
    }

    /// Whether a bucket has this prefix length.
    pub(super) fn has_length(&self, length: u8) -> bool {
        self.lengths[usize::from(length)] > 0
    }

    /// Whether there are protected packets.
    pub(super) fn has_protected(&self) -> bool {
        self.nodes.get(&node_protected(self.ipv6)).is_some_and(|node| !node.parts.is_empty())
    }

    /// The lists to write with a commit, including the buckets whose parent changes; and the
    /// buckets without records, which are removed.
    pub(super) fn take_touched(&mut self) -> (HashSet<ListId>, Vec<(Network, Removed)>) {
        let mut touched = std::mem::take(&mut self.touched);
        // New and removed buckets change the parents of those inside.
        let mut inside = Vec::new();
        let mut removed = Vec::new();
        for id in &touched {
            let ListId::Bucket(network) = *id else { continue };
            let Some(bucket) = self.buckets.get(&network) else { continue };
            if bucket.list.items().is_empty() && self.is_empty_node(bucket.node) {
                let Some(Bucket { list, node }) = self.buckets.remove(&network) else { continue };
                self.lengths[usize::from(network.length)] -= 1;
                inside.extend(self.inside(network));
                removed.push((network, Removed { list, node, hash: 0 }));
            } else if !bucket.list.is_published() {
                inside.extend(self.inside(network));
            }
        }
        touched.extend(inside.into_iter().map(ListId::Bucket));
        (touched, removed)
    }

    /// Whether there is no node, or it has no records.
    fn is_empty_node(&self, node: Option<u32>) -> bool {
        node.and_then(|node| self.nodes.get(&node)).is_none_or(|node| node.records == 0)
    }

    /// The list of a bucket.
    pub(super) fn bucket(&mut self, network: Network) -> Option<Touched<'_>> {
        let bucket = self.buckets.get_mut(&network)?;
        Some(Touched { list: &mut bucket.list, node: bucket.node, hash: 0 })
    }

    /// A list of a node.
    pub(super) fn part_of(&mut self, number: u32, id: u64) -> Option<Touched<'_>> {
        let part = self.nodes.get_mut(&number)?.parts.get_mut(&id)?;
        Some(Touched { list: &mut part.list, node: part.node, hash: part.hash })
    }

    /// Removes a list from a node, if it has no records.
    pub(super) fn remove_empty_part(&mut self, number: u32, id: u64) -> Option<Removed> {
        let part = self.nodes.get(&number)?.parts.get(&id)?;
        if !part.list.items().is_empty() || !self.is_empty_node(part.node) {
            return None;
        }
        let node = self.nodes.get_mut(&number)?;
        let Part { list, split, hash, node: inner } = node.parts.remove(&id)?;
        match split {
            Split::Tuple(tuple) => node.tuples[tuple].lists -= 1,
            Split::Source(class) => {
                node.classes[class] -= 1;
                if node.classes[class] == 0 {
                    self.changed_nodes.insert(number);
                }
            }
        }
        Some(Removed { list, node: inner, hash })
    }

    /// Removes a node without records.
    pub(super) fn remove_node(&mut self, number: u32) {
        self.nodes.remove(&number);
    }

    /// The nodes to write with a commit.
    pub(super) fn take_changed_nodes(&mut self) -> Vec<(u32, NodeLine)> {
        let changed = std::mem::take(&mut self.changed_nodes);
        changed.into_iter().filter_map(|number| Some((number, self.nodes.get(&number)?.line()))).collect()
    }

    /// Adds a record to the bucket of a destination.
    pub(super) fn add_to_bucket(
        &mut self,
        network: Network,
        item: Item,
        context: &mut IndexContext<'_>,
    ) -> Result<(), Full> {
        if !self.buckets.contains_key(&network) {
            let slot = take_bucket_slot(network, self.ipv6, context)?;
            self.buckets.insert(network, Bucket { list: List::new(slot), node: None });
            self.lengths[usize::from(network.length)] += 1;
            self.touched.insert(ListId::Bucket(network));
        }
        let Some(bucket) = self.buckets.get_mut(&network) else { return Err(Full::Inconsistent("bucket")) };
        if let Some(node) = bucket.node {
            return self.add_to_node(node, item, context);
        }
        if bucket.list.items().len() >= BUCKET_MAX {
            let items = bucket.list.items().to_vec();
            if let Some(node) = self.node_of(items, false, context) {
                if let Some(bucket) = self.buckets.get_mut(&network) {
                    bucket.node = Some(node);
                    bucket.list.clear();
                }
                self.touched.insert(ListId::Bucket(network));
                return self.add_to_node(node, item, context);
            }
        }
        let Some(bucket) = self.buckets.get_mut(&network) else { return Err(Full::Inconsistent("bucket")) };
        bucket.list.insert(item, context.labels, &mut context.pools.chunks)?;
        self.touched.insert(ListId::Bucket(network));
        Ok(())
    }

    /// Makes a node of a list's records. `None` if there is no room for it.
    fn node_of(&mut self, items: Vec<Item>, of_source: bool, context: &mut IndexContext<'_>) -> Option<u32> {
        let number = context.pools.nodes.take(1)?;
        self.nodes.insert(number, Node { of_source, ..Node::default() });
        self.changed_nodes.insert(number);
        let all = items.into_iter().all(|item| self.add_to_node(number, item, context).is_ok());
        if !all {
            self.drop_unpublished_node(number, context.pools);
            return None;
        }
        Some(number)
    }

    fn drop_unpublished_node(&mut self, number: u32, pools: &mut Pools) {
        for (id, part) in self.nodes.remove(&number).unwrap_or_default().parts {
            let (slot, _, _, (start, count)) = part.list.into_parts();
            pools.chunks.release(start, count);
            pools.slots.release(slot);
            self.touched.remove(&ListId::Part(number, id));
            if let Some(node) = part.node {
                self.drop_unpublished_node(node, pools);
            }
        }
        self.changed_nodes.remove(&number);
        pools.nodes.release(number, 1);
    }

    /// Adds a record to a node. On failure some of its lists may have it: the caller removes the
    /// rule.
    pub(super) fn add_to_node(&mut self, number: u32, item: Item, context: &mut IndexContext<'_>) -> Result<(), Full> {
        let ipv6 = self.ipv6;
        let node = self.nodes.entry(number).or_default();
        if let Some((class, source)) = node.class_of(&item, ipv6) {
            return self.add_to_source(number, class, source, item, context);
        }
        let (tuple, is_new) = node.tuple_for(number, &item.record, ipv6, context.hash);
        if is_new || (item.early && node.early == 0) {
            self.changed_nodes.insert(number);
        }
        let values = node.tuples[tuple].mask.values(&item.record).ok_or(Full::Inconsistent("part of a list"))?;
        for &lanes in values.lanes() {
            let value = context.hash.tuple(ipv6, lanes, values.t, values.source);
            let id = Hash::tuple_id(number, tuple, value);
            let part = node.part(id, value, Split::Tuple(tuple), context.pools)?;
            self.touched.insert(ListId::Part(number, id));
            part.list.insert(item, context.labels, &mut context.pools.chunks)?;
            node.records += 1;
            node.early += u32::from(item.early);
        }
        Ok(())
    }

    fn add_to_source(
        &mut self,
        number: u32,
        class: usize,
        source: [u64; 2],
        item: Item,
        context: &mut IndexContext<'_>,
    ) -> Result<(), Full> {
        let value = context.hash.source(self.ipv6, number, class, source);
        let id = Hash::source_id(number, class, value);
        let node = self.nodes.entry(number).or_default();
        let is_new_class = node.classes[class] == 0;
        let part = node.part(id, value, Split::Source(class), context.pools)?;
        if is_new_class {
            self.changed_nodes.insert(number);
        }
        self.touched.insert(ListId::Part(number, id));
        let inner = if part.node.is_none() && part.list.items().len() >= SOURCE_MAX {
            let items = part.list.items().to_vec();
            self.node_of(items, true, context)
        } else {
            part.node
        };
        let inner_records = inner.and_then(|inner| self.nodes.get(&inner)).map_or(0, |node| node.records);
        let Some(node) = self.nodes.get_mut(&number) else { return Err(Full::Inconsistent("node")) };
        let Some(part) = node.parts.get_mut(&id) else { return Err(Full::Inconsistent("list")) };
        if inner.is_some() && part.node.is_none() {
            part.node = inner;
            node.records = node.records + inner_records - part.list.items().len();
            part.list.clear();
        }
        match inner {
            None => {
                part.list.insert(item, context.labels, &mut context.pools.chunks)?;
                node.records += 1;
            }
            Some(inner) => self.add_counted(number, inner, item, context)?,
        }
        Ok(())
    }

    /// Adds a record to the node of one source in another node.
    fn add_counted(&mut self, outer: u32, inner: u32, item: Item, context: &mut IndexContext<'_>) -> Result<(), Full> {
        let records = |index: &Self| index.nodes.get(&inner).map_or(0, |node| node.records);
        let before = records(self);
        let added = self.add_to_node(inner, item, context);
        let after = records(self);
        if let Some(node) = self.nodes.get_mut(&outer) {
            node.records += after - before;
        }
        added
    }

    /// Removes a rule's records from where `record` would be, if they are there.
    ///
    /// # Errors
    /// There is no room to write the shorter list.
    pub(super) fn remove(
        &mut self,
        home: Option<Network>,
        fixed: u32,
        item: Item,
        context: &mut IndexContext<'_>,
    ) -> Result<(), Full> {
        let Some(network) = home else { return self.remove_from_node(fixed, item, context) };
        let Some(bucket) = self.buckets.get_mut(&network) else { return Ok(()) };
        self.touched.insert(ListId::Bucket(network));
        match bucket.node {
            Some(node) => self.remove_from_node(node, item, context),
            None => bucket.list.remove_records(item.number, &mut context.pools.chunks).map(|_| ()),
        }
    }

    fn remove_from_node(&mut self, number: u32, item: Item, context: &mut IndexContext<'_>) -> Result<(), Full> {
        let ipv6 = self.ipv6;
        let Some(node) = self.nodes.get_mut(&number) else { return Ok(()) };
        if let Some((class, source)) = node.class_of(&item, ipv6) {
            let id = Hash::source_id(number, class, context.hash.source(ipv6, number, class, source));
            let Some(part) = node.parts.get_mut(&id) else { return Ok(()) };
            self.touched.insert(ListId::Part(number, id));
            let Some(inner) = part.node else {
                node.records -= part.list.remove_records(item.number, &mut context.pools.chunks)?;
                return Ok(());
            };
            let records = |index: &Self| index.nodes.get(&inner).map_or(0, |node| node.records);
            let before = records(self);
            let removed = self.remove_from_node(inner, item, context);
            let after = records(self);
            if let Some(node) = self.nodes.get_mut(&number) {
                node.records -= before - after;
            }
            return removed;
        }
        for tuple in 0..node.tuples.len() {
            let Some(values) = node.tuples[tuple].mask.values(&item.record) else { continue };
            for &lanes in values.lanes() {
                let value = context.hash.tuple(ipv6, lanes, values.t, values.source);
                let id = Hash::tuple_id(number, tuple, value);
                if let Some(part) = node.parts.get_mut(&id)
                    && part.list.items().iter().any(|other| other.number == item.number)
                {
                    let gone = part.list.remove_records(item.number, &mut context.pools.chunks)?;
                    node.records -= gone;
                    if item.early {
                        node.early -= gone as u32;
                        self.changed_nodes.insert(number);
                    }
                    self.touched.insert(ListId::Part(number, id));
                }
            }
        }
        Ok(())
    }

    /// The slot of the next shorter prefix with rules.
    pub(super) fn parent_slot(&self, network: Network) -> Option<u32> {
        let (mut nearest, mut bucket) = self.buckets.range(..network).next_back()?;
        while !nearest.contains(network) {
            // A prefix that contains `network` sorts before `nearest`, and contains that, too: it
            // is no longer than what both share.
            let shared = (nearest.bits ^ network.bits).leading_zeros() as u8;
            (nearest, bucket) = self.buckets.range(..=Network::truncated(network.bits, shared)).next_back()?;
        }
        (nearest.length > 0).then_some(bucket.list.slot())
    }

    /// The prefixes inside of one, without itself.
    fn inside(&self, network: Network) -> Vec<Network> {
        if network.length >= 128 {
            return Vec::new();
        }
        let first = Network { bits: network.bits, length: network.length + 1 };
        let last = Network { bits: network.last(), length: 128 };
        self.buckets.range(first..=last).map(|(network, _)| *network).collect()
    }
}

impl Node {
    fn line(&self) -> NodeLine {
        let mut line = NodeLine { count: self.tuples.len() as u32, early: u32::from(self.early > 0), ..NodeLine::ZERO };
        for (n, &lists) in self.classes.iter().enumerate() {
            line.classes |= u32::from(lists > 0) << n;
        }
        for (to, tuple) in line.tuple.iter_mut().zip(&self.tuples) {
            *to = TupleLine { k: tuple.mask.k, t: tuple.mask.t, source: tuple.mask.source };
        }
        line
    }

    /// The key for a record with a source, unless all are in tuples or another order counts.
    fn class_of(&self, item: &Item, ipv6: bool) -> Option<(usize, [u64; 2])> {
        if self.of_source || item.early { None } else { source_class(&item.record, ipv6) }
    }

    /// The list with this id, created if it does not exist.
    fn part(&mut self, id: u64, hash: u64, split: Split, pools: &mut Pools) -> Result<&mut Part, Full> {
        match self.parts.entry(id) {
            Entry::Occupied(part) => Ok(part.into_mut()),
            Entry::Vacant(place) => {
                let slot = pools.slots.take(Hash::part_index(id, hash)).ok_or(Full::Slots)?;
                match split {
                    Split::Source(class) => self.classes[class] += 1,
                    Split::Tuple(tuple) => self.tuples[tuple].lists += 1,
                }
                Ok(place.insert(Part { list: List::new(slot), split, hash, node: None }))
            }
        }
    }

    /// The length of the longest list that a record would be in under a mask; `None` if it cannot
    /// be looked up by that mask.
    fn length(&self, number: u32, tuple: usize, record: &Record, ipv6: bool, hash: Hash) -> Option<usize> {
        let values = self.tuples[tuple].mask.values(record)?;
        let length = |&lanes: &u64| {
            let value = hash.tuple(ipv6, lanes, values.t, values.source);
            self.parts.get(&Hash::tuple_id(number, tuple, value)).map_or(0, |part| part.list.items().len())
        };
        values.lanes().iter().map(length).max()
    }

    /// The tuple for a record, and whether it is new.
    fn tuple_for(&mut self, number: u32, record: &Record, ipv6: bool, hash: Hash) -> (usize, bool) {
        let choices = TupleMask::choices(record, ipv6, self.of_source);
        let fine = choices[2];
        let kind = TupleMask::kind(record, ipv6);
        let in_use = self.tuples.iter().filter(|tuple| tuple.lists > 0).count();
        let takes_kind = self.position(&kind).is_some() || in_use < KINDS;
        for mask in takes_kind.then_some(kind).into_iter().chain(choices) {
            if let Some(tuple) = self.position(&mask) {
                let length = self.length(number, tuple, record, ipv6, hash);
                if length.is_some_and(|length| length < TUPLE_LIST_MAX || mask == fine) {
                    return (tuple, false);
                }
            } else if mask.values(record).is_some()
                && let Some(tuple) = self.new_tuple(mask, mask == choices[0])
            {
                return (tuple, true);
            }
        }
        // No more lookup kinds: of the existing ones that fit this record, the one with the fewest
        // lists.
        let fitting =
            (0..self.tuples.len()).filter_map(|tuple| Some((self.length(number, tuple, record, ipv6, hash)?, tuple)));
        if let Some((_, tuple)) = fitting.min() {
            return (tuple, false);
        }
        // The last place is reserved for the tuple that fits all.
        self.tuples.push(Tuple { mask: TupleMask::NONE, lists: 0, coarse: true });
        (self.tuples.len() - 1, true)
    }

    fn position(&self, mask: &TupleMask) -> Option<usize> {
        self.tuples.iter().position(|tuple| tuple.mask == *mask)
    }

    fn new_tuple(&mut self, mask: TupleMask, coarse: bool) -> Option<usize> {
        let is_unused = |tuple: &Tuple| tuple.lists == 0 && tuple.mask != TupleMask::NONE;
        let fine = self.tuples.iter().filter(|tuple| !tuple.coarse && !is_unused(tuple)).count();
        if !coarse && fine >= FINE_TUPLES {
            return None;
        }
        // The tuple that fits all stays: there may be no other place for its records.
        if let Some(unused) = self.tuples.iter().position(is_unused) {
            (self.tuples[unused].mask, self.tuples[unused].coarse) = (mask, coarse);
            return Some(unused);
        }
        let has_none = mask == TupleMask::NONE || self.position(&TupleMask::NONE).is_some();
        if self.tuples.len() + usize::from(!has_none) >= TUPLES {
            return None;
        }
        self.tuples.push(Tuple { mask, lists: 0, coarse });
        Some(self.tuples.len() - 1)
    }
}

fn take_bucket_slot(network: Network, ipv6: bool, context: &mut IndexContext<'_>) -> Result<u32, Full> {
    let hash = context.hash;
    let place = if ipv6 {
        let (hi, lo) = ((network.bits >> 64) as u64, network.bits as u64);
        hash.bucket6(hi, lo, network.length)
    } else {
        hash.mix(Hash::bucket4_id((network.bits >> 96) as u32, network.length))
    };
    context.pools.slots.take(place as u32).ok_or(Full::Slots)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parent_is_the_next_shorter_prefix_around() {
        let mut seed = flowspec::testing::Seed::new(4);
        for _ in 0..200 {
            let mut index = Index::new(true);
            // Few bits, so that many are inside of others.
            for slot in 0..40 {
                let length = 1 + seed.below(7) as u8 * if seed.percent(50) { 1 } else { 18 };
                let bits = u128::from(seed.below(256)) << 120 | u128::from(seed.below(4));
                let network = Network::truncated(bits, length.min(128));
                index.buckets.insert(network, Bucket { list: List::new(slot), node: None });
            }
            for &network in index.buckets.keys() {
                let around = index.buckets.iter().filter(|(other, _)| **other != network && other.contains(network));
                let nearest = around.max_by_key(|(other, _)| other.length).map(|(_, bucket)| bucket.list.slot());
                assert_eq!(index.parent_slot(network), nearest, "{network:?}");
            }
        }
    }
}
